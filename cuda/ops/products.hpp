// SPDX-License-Identifier: Apache-2.0
#pragma once
// Products of matrices through cuBLASLt, with a plan for each kind. Sums are float32, and their order depends only on
// the shapes, the alignments and the algorithm.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "device/queue.hpp"
#include "tensor/dtype.hpp"

namespace penstock::ops {

/// What follows a product u = A B: y = u + bias; y = gelu(u), y = gelu(u + bias), both of which also store the
/// pre-activation; y = u * gelu'(pre-activation).
enum class Epilogue : std::uint8_t { none, bias, gelu, bias_gelu, slope };

constexpr bool has_bias(Epilogue epilogue) { return epilogue == Epilogue::bias || epilogue == Epilogue::bias_gelu; }
constexpr bool activates(Epilogue epilogue) { return epilogue == Epilogue::gelu || epilogue == Epilogue::bias_gelu; }
/// Whether a pre-activation is written or read.
constexpr bool has_gelu(Epilogue epilogue) { return activates(epilogue) || epilogue == Epilogue::slope; }

/// D = A B, or D += A B, in the column-major terms of cuBLASLt: A is [m, k], B [k, n], D [m, n]. All are dense. Memory
/// of a row-major matrix is that of its transpose in column-major order.
struct Product {
  std::int64_t m, n, k;
  bool transpose_a;  ///< memory of A holds [k, m] column-major
  bool transpose_b;  ///< memory of B holds [n, k] column-major
  DType type;        ///< of A and B
  DType result;      ///< of D, and of a pre-activation [m, n]
  bool accumulate = false;
  Epilogue epilogue = Epilogue::none;

  bool operator==(const Product&) const = default;
};

struct Operands {
  const void* a;
  const void* b;
  void* d;
  const void* bias = nullptr;      ///< [m], type of D; if the epilogue has one
  void* pre_activation = nullptr;  ///< [m, n], type of D, not D; if the epilogue has one
};

/// The alignments of A, B and D, in bytes.
using Alignments = std::array<std::uint32_t, 3>;

/// Operands in an arena lie at multiples of this many bytes. Algorithms are chosen for that.
inline constexpr std::uint32_t arena_alignment = 128;

/// The largest power of two, up to that of an arena, that divides the address; cuBLASLt asks for it.
inline std::uint32_t alignment_of(const void* address) {
  const auto number = reinterpret_cast<std::uintptr_t>(address) | arena_alignment;
  return static_cast<std::uint32_t>(number & (~number + 1));
}

/// More than any of cuBLASLt's kernels needs on today's devices.
inline constexpr std::size_t most_product_workspace = std::size_t{32} << 20;

/// How a product is computed.
struct ProductPlan;

/// The plan of a product without epilogue for operands with these alignments: the first algorithm of cuBLASLt's
/// heuristic. Made at the first call; the queue owns it.
ProductPlan& plan_of(Queue& queue, const Product& product, const Alignments& alignments);

/// cuBLASLt's own description of an algorithm, valid for the same version on the same card.
using Algorithm = std::array<std::uint64_t, 8>;

/// At most `count` algorithms for operands of arena_alignment, with their epilogue, the most promising by cuBLASLt's
/// heuristic first. None: the library has none.
std::vector<Algorithm> algorithms_of(Queue& queue, const Product& product, int count);

/// A plan that uses this algorithm; it has a refusal if cuBLASLt does not accept the algorithm for the product, or if
/// sums would not be float32 or not in a fixed order.
std::shared_ptr<ProductPlan> plan_with(Queue& queue, const Product& product, const Algorithm& algorithm);

/// Why the algorithm of a plan_with was refused, when its plan was made or at the last call; empty if it was not.
const std::string& refusal_of(const ProductPlan& plan);

/// Bytes of workspace that the plan's algorithm needs: at most most_product_workspace.
std::size_t workspace_bytes(const ProductPlan& plan);

/// cuBLASLt's version.
std::size_t library_version();

/// Enqueues the product; `workspace`, 256-byte aligned, has the plan's bytes and is no operand. False, without a
/// result, if cuBLASLt cannot compute it with the algorithm of a plan_with, for whatever reason (see refusal_of); a
/// plan_of takes another way if its algorithm is not supported. Throws SystemError for other failures, and for failures
/// of the device after which nothing runs.
bool multiply(Queue& queue, ProductPlan& plan, const Product& product, const Operands& operands, std::byte* workspace);

}  // namespace penstock::ops

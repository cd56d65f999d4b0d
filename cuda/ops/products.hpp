#pragma once
// Products of matrices through cuBLASLt, with a plan for each kind that is kept in the queue. Sums are float32, and
// their order depends on the shapes (and alignments) only.

#include <array>
#include <cstddef>
#include <cstdint>

#include "device/queue.hpp"
#include "tensor/dtype.hpp"

namespace penstock::ops {

/// D = A B, or D += A B, in the column-major terms of cuBLASLt: A is [m, k], B [k, n], D [m, n]. All are dense. Memory
/// of a row-major matrix is that of its transpose in column-major order.
struct Product {
  std::int64_t m, n, k;
  bool transpose_a;  ///< memory of A holds [k, m] column-major
  bool transpose_b;  ///< memory of B holds [n, k] column-major
  DType type;        ///< of A and B
  DType result;      ///< of D
  bool accumulate = false;
};

struct Operands {
  const void* a;
  const void* b;
  void* d;
};

/// The alignments of A, B and D, in bytes.
using Alignments = std::array<std::uint32_t, 3>;

/// The largest power of two, up to 256, that divides the address: what cuBLASLt asks for.
inline std::uint32_t alignment_of(const void* address) {
  const auto number = reinterpret_cast<std::uintptr_t>(address) | 256U;
  return static_cast<std::uint32_t>(number & (~number + 1));
}

/// How a product is made; the queue owns it.
struct ProductPlan;

/// The plan for operands at such places, made at the first call.
ProductPlan& plan_of(Queue& queue, const Product& product, const Alignments& alignments);

/// Bytes of workspace that the plan's algorithm needs: at most 32 MiB.
std::size_t workspace_bytes(const ProductPlan& plan);

/// Enqueues the product; `workspace`, 256-byte aligned, has the plan's bytes and is no operand.
void multiply(Queue& queue, ProductPlan& plan, const Product& product, const Operands& operands, std::byte* workspace);

}  // namespace penstock::ops

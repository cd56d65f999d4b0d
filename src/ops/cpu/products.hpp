// SPDX-License-Identifier: Apache-2.0
#pragma once
// Matrix products through oneDNN: cached primitives, weights packed once for each call, rows in blocks that one thread
// computes from beginning to end, so that the next operation finds the block in its cache.

#include <cstdint>

#include "device/queue.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock::ops {

/// The weight matrix W [M, K] as the right-hand side of a product: x W^T (transposed) or dy W (plain).
enum class WeightUse : std::uint8_t { transposed, plain };

/// y [rows, outputs] = x [rows, inputs] times a weight, plus a bias.
struct RowProduct {
  std::int64_t rows = 0;
  std::int64_t inputs = 0;
  std::int64_t outputs = 0;
  DType type = DType::float32;         ///< of x and the weight
  DType output_type = DType::float32;  ///< of y
  WeightUse use = WeightUse::transposed;
  bool bias = false;
};

/// Whether its operands are converted to float32 first: oneDNN multiplies bfloat16 only on CPUs with AVX-512. Sums are
/// in float32 either way.
bool is_widened(const RowProduct& product);

/// The primitive that computes `block_rows` rows of a RowProduct on one thread, and the weight packed for it.
class BlockedProduct {
 public:
  /// Rows of a block: as many as keep a block's output near 384 KiB, at least 128 (so that the weight is read seldom)
  /// and at most 256.
  static std::int64_t block_rows(std::int64_t outputs, DType output_type);
  /// Workspace bytes of the packed weight and of what each thread needs.
  static std::int64_t workspace_bytes(Queue& queue, const RowProduct& product);

  /// Packs the weight to `workspace`; `bias` may be null if the product has none.
  BlockedProduct(Queue& queue, const RowProduct& product, const void* weight, const float* bias, std::byte* workspace);

  std::int64_t block_rows() const { return block_rows_; }
  /// y = x W + bias for `rows` rows: block_rows(), or what is left of the matrix. Called from inside a parallel region.
  void multiply(const void* x, void* y, std::int64_t rows) const;

 private:
  struct Primitive;
  static Primitive& primitive(Queue& queue, const RowProduct& product, std::int64_t rows);
  /// The primitives of the whole blocks and of the shorter last one (the same where there is none).
  struct Primitives {
    Primitive& whole;
    Primitive& rest;

    std::int64_t packed_bytes() const;
    std::int64_t scratch_bytes() const;  ///< of one thread
  };
  static Primitives primitives(Queue& queue, const RowProduct& product);

  Queue* queue_;
  RowProduct product_;  ///< as requested
  std::int64_t block_rows_;
  Primitives primitives_;
  const float* bias_;
  std::byte* scratch_;  ///< of thread 0; the others' follow
  std::byte* widened_;  ///< likewise, after the widened weight
};

/// Whether the bits of a float32 product of oneDNN depend on the number of threads: without AVX-512 it divides the sums
/// of small products among them (2.6.3, `gemm:jit`). Such products are divided here, by their shapes, into pieces for
/// one thread each.
bool library_cuts_sums_for_threads();

/// c [m, n] (+)= a^T b with a [k, m], b [k, n], on all threads of the queue; c float32.
struct SumProduct {
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  DType type = DType::float32;  ///< of a and b
  DType output_type = DType::float32;
  bool accumulate = true;
};
void multiply_transposed(Queue& queue, const SumProduct& product, const void* a, const void* b, void* c,
                         std::byte* workspace);
/// Bytes of its workspace, possibly 0.
std::size_t workspace_bytes(Queue& queue, const SumProduct& product);

/// One product on all threads without packing: for few rows, where packing the weight would cost as much as the
/// product. Not for operands that are widened.
void multiply_few_rows(Queue& queue, const RowProduct& product, const void* x, const void* weight, const float* bias,
                       void* y);

}  // namespace penstock::ops

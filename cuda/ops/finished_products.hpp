// SPDX-License-Identifier: Apache-2.0
#pragma once
// Products and what follows them (bias, GELU, its slope), in one of two variants: cuBLASLt's epilogue, or the plain
// product and a kernel of ours. The queue knows the chosen variant and algorithm; without a choice it is our kernel
// after the heuristic's first algorithm.

#include <memory>

#include "ops/products.hpp"

namespace penstock::ops {

enum class Variant : std::uint8_t { separate, fused };

/// D = epilogue(A B), with the bias as the model has it.
struct FinishedOperands {
  const void* a;
  const void* b;
  void* d;
  const float* bias = nullptr;     ///< [m]; if the epilogue has one
  void* pre_activation = nullptr;  ///< [m, n], type of D; if the epilogue has one. May be D with a slope.
};

/// Whether cuBLASLt may compute the epilogue. GELU only in bfloat16, because nothing promises its digits in float32.
/// Rows of a pre-activation must have a multiple of 8 elements.
bool may_be_fused(const Product& product);

/// The product that cuBLASLt computes in this variant.
Product product_of(const Product& product, Variant variant);

/// The most workspace in bytes that the product needs, in either variant; `in_place`: D replaces a slope's
/// pre-activation.
std::size_t finished_product_workspace(const Product& product, bool in_place);

/// Enqueues the product by this plan of product_of(product, variant). False if cuBLASLt cannot compute it with the
/// plan's algorithm (see refusal_of): then there is no result.
bool enqueue(Queue& queue, const Product& product, const FinishedOperands& operands, Variant variant,
             ProductPlan& plan);

/// Enqueues the product as chosen for operands of arena_alignment, otherwise by default. Throws SystemError if cuBLASLt
/// refuses the chosen way.
void multiply_and_finish(Queue& queue, const Product& product, const FinishedOperands& operands);

/// Makes the plan that multiply_and_finish uses for operands aligned as in an arena, unless it exists.
void prepare_product(Queue& queue, const Product& product);

/// How a product is computed.
struct ProductWay {
  Variant variant = Variant::separate;
  std::shared_ptr<ProductPlan> plan;
};

/// From here on the queue computes this product in this way.
void choose_way(Queue& queue, const Product& product, const ProductWay& way);

/// The queue computes all products by default again.
void forget_ways(Queue& queue);

}  // namespace penstock::ops

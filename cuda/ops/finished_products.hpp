// SPDX-License-Identifier: Apache-2.0
#pragma once
// Products with what follows them (bias, GELU, its slope), in one of two variants: cuBLASLt's epilogue, or the plain
// product and a kernel of ours. The queue knows which one was chosen, and with which algorithm; without a choice it is
// our kernel behind the first algorithm of the heuristic.

#include <memory>

#include "ops/products.hpp"

namespace penstock::ops {

enum class Variant : std::uint8_t { separate, fused };

/// D = epilogue(A B), with the bias as the model has it.
struct FinishedOperands {
  const void* a;
  const void* b;
  void* d;
  const float* bias = nullptr;     ///< [m]; where the epilogue has one
  void* pre_activation = nullptr;  ///< [m, n], type of D; where the epilogue has one. May be D with a slope.
};

/// Whether cuBLASLt may make the epilogue. GELU in bfloat16 only: nothing promises float32's digits of it. Rows of a
/// pre-activation are of a multiple of 8 elements.
bool may_be_fused(const Product& product);

/// What cuBLASLt is asked for in this variant.
Product product_of(const Product& product, Variant variant);

/// Bytes of the queue's workspace that making the product needs at most, in either variant; `in_place`: D takes the
/// place of a slope's pre-activation.
std::size_t finished_product_workspace(const Product& product, bool in_place);

/// Enqueues the product by this plan of product_of(product, variant). False when cuBLASLt does not make it with the
/// plan's algorithm (see refusal_of): the result is not there then.
bool enqueue(Queue& queue, const Product& product, const FinishedOperands& operands, Variant variant,
             ProductPlan& plan);

/// Enqueues the product as the queue has chosen it for operands of arena_alignment, else as by default. Throws
/// SystemError when cuBLASLt refuses what was chosen.
void multiply_and_finish(Queue& queue, const Product& product, const FinishedOperands& operands);

/// Makes the plan that multiply_and_finish takes for operands that lie as in an arena, unless it is there.
void prepare_product(Queue& queue, const Product& product);

/// How a product is made.
struct ProductWay {
  Variant variant = Variant::separate;
  std::shared_ptr<ProductPlan> plan;
};

/// From here on the queue makes this product so.
void choose_way(Queue& queue, const Product& product, const ProductWay& way);

/// All products of the queue are made as by default again.
void forget_ways(Queue& queue);

}  // namespace penstock::ops

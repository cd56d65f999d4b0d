// SPDX-License-Identifier: Apache-2.0
#include "ops/activation.hpp"

#include "base/error.hpp"
#include "ops/gelu.hpp"
#include "ops/swiglu.hpp"

namespace penstock::ops {

void activate(Queue& queue, Activation activation, TensorView x, TensorView y) {
  if (activation == Activation::swiglu)
    swiglu(queue, {.gate_up = x, .y = y});
  else
    gelu(queue, {.pre_activation = x, .y = y});
}

void activation_gradient(Queue& queue, Activation activation, TensorView x, TensorView dy, TensorView dx) {
  ensure(!fits_in_products(activation), "the gradient of this activation is a product's");
  swiglu_gradient(queue, {.gate_up = x, .dy = dy, .dgate_up = dx});
}

}  // namespace penstock::ops

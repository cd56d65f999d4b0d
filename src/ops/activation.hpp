// SPDX-License-Identifier: Apache-2.0
#pragma once
// The activations of an MLP by kind: the one place that maps a kind to its operation. N rows (tokens), F hidden
// channels.

#include "device/queue.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock::ops {

enum class Activation {
  gelu,    ///< tanh form, of [N, F] (gelu.hpp)
  swiglu,  ///< silu(gate) * up, of [N, 2 * F]: gate first (swiglu.hpp)
};

/// Whether the products around it can include it, forwards and backwards (Linear::pre_activation).
constexpr bool fits_in_products(Activation activation) { return activation == Activation::gelu; }

/// y [N, F] = activation(x).
void activate(Queue& queue, Activation activation, TensorView x, TensorView y);

/// dx from dy [N, F], for activations that no product can include; dx may be x. Ends the program for others.
void activation_gradient(Queue& queue, Activation activation, TensorView x, TensorView dy, TensorView dx);

}  // namespace penstock::ops

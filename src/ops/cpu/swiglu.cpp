// SPDX-License-Identifier: Apache-2.0
#include "ops/swiglu.hpp"

#include <numbers>

#include "ops/cpu/parallel.hpp"
#include "ops/cpu/width.hpp"

namespace penstock::ops::PENSTOCK_WIDTH {
namespace {

/// 1 / (1 + e^-x); 0 and 1 far from zero, where the exponential is infinite or zero.
PENSTOCK_INLINE Floats logistic(Floats x) { return 1.0F / (1.0F + exp2_of(x * -std::numbers::log2e_v<float>)); }

}  // namespace

void swiglu(Queue& queue, const Swiglu& arguments) {
  const TensorView& y = arguments.y;
  ensure(arguments.gate_up.elements() == 2 * y.elements() && arguments.gate_up.type() == y.type(),
         "swiglu: gate_up is not of twice the size of y, or of another type");
  const std::int64_t channels = y.shape()[1];
  with_type(y.type(), [&]<typename T>(T) {
    for_rows(queue, y.shape()[0], [&](std::int64_t r) {
      const T* gate = arguments.gate_up.data<T>() + r * 2 * channels;
      const T* up = gate + channels;
      T* to = y.data<T>() + r * channels;
      for_vectors(channels, [&](std::int64_t c, auto part) {
        const Floats g = load(gate + c, part);
        store(to + c, g * logistic(g) * load(up + c, part), part);
      });
    });
  });
}

void swiglu_gradient(Queue& queue, const SwigluGradient& arguments) {
  const TensorView& dy = arguments.dy;
  ensure(arguments.gate_up.elements() == 2 * dy.elements() && arguments.dgate_up.elements() == 2 * dy.elements() &&
             arguments.gate_up.type() == dy.type() && arguments.dgate_up.type() == dy.type(),
         "swiglu_gradient: gate_up or dgate_up is not of twice the size of dy, or of another type");
  const std::int64_t channels = dy.shape()[1];
  with_type(dy.type(), [&]<typename T>(T) {
    for_rows(queue, dy.shape()[0], [&](std::int64_t r) {
      const T* gate = arguments.gate_up.data<T>() + r * 2 * channels;
      const T* slope = dy.data<T>() + r * channels;
      T* dgate = arguments.dgate_up.data<T>() + r * 2 * channels;
      for_vectors(channels, [&](std::int64_t c, auto part) {
        const Floats g = load(gate + c, part);
        const Floats u = load(gate + channels + c, part);
        const Floats d = load(slope + c, part);
        const Floats s = logistic(g);
        store(dgate + c, d * u * s * (1.0F + g * (1.0F - s)), part);
        store(dgate + channels + c, d * g * s, part);
      });
    });
  });
}

}  // namespace penstock::ops::PENSTOCK_WIDTH

PENSTOCK_OPERATION(swiglu, Swiglu)
PENSTOCK_OPERATION(swiglu_gradient, SwigluGradient)

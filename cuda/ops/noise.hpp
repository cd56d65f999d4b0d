// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "device/queue.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock::ops {

/// Fills a float32 or bfloat16 tensor with numbers between -1 and 1 that look random. A card's power depends on the
/// bits that flip: with zeros it would be faster than in a step.
void fill_with_noise(Queue& queue, const TensorView& tensor);

}  // namespace penstock::ops

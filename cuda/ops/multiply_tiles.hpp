// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/products.hpp"

namespace penstock::ops {

/// A product that cuBLASLt has no algorithm for (bfloat16 at odd places, an empty sum), without an epilogue.
void multiply_by_tiles(Queue& queue, const Product& product, const Operands& operands);

}  // namespace penstock::ops

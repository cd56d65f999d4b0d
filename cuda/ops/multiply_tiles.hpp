// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/products.hpp"

namespace penstock::ops {

/// A product without an epilogue for which cuBLASLt has no algorithm (bfloat16 at odd addresses, an empty sum).
void multiply_by_tiles(Queue& queue, const Product& product, const Operands& operands);

}  // namespace penstock::ops

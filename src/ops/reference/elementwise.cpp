// SPDX-License-Identifier: Apache-2.0
#include "ops/elementwise.hpp"

#include <cstring>

#include "ops/reference/reference.hpp"
#include "ops/reference/values.hpp"

namespace penstock::reference {

// A float32 is unchanged in double, so the only rounding is that to the result's type.
void cast(TensorView from, TensorView to) { write(to, read(from)); }

void zero(TensorView tensor) { std::memset(tensor.raw(), 0, tensor.bytes()); }

}  // namespace penstock::reference

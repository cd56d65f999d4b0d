// SPDX-License-Identifier: Apache-2.0
#pragma once
// Float32 numbers after rounding to T.

#include <type_traits>

#include "ops/cpu/vector_math.hpp"

namespace penstock::ops::PENSTOCK_WIDTH {

template <typename T>
PENSTOCK_INLINE Floats rounded(Floats values) {
  if constexpr (std::is_same_v<T, float>) {
    return values;
  } else {
    T near[lanes];
    store(near, values, All{});
    return load(near, All{});
  }
}

}  // namespace penstock::ops::PENSTOCK_WIDTH

// SPDX-License-Identifier: Apache-2.0
#pragma once
// The number of float32 lanes in the vectors of this process's operations.

#include <cstdint>

namespace penstock {

/// 16 if the build has operations of this width and the CPU has AVX-512, otherwise 8. The environment variable
/// PENSTOCK_LANES (8 or 16) overrides it, for tests and for equal bits on different kinds of CPU. Decided once in a
/// process: all its operations have one width. InputError if PENSTOCK_LANES asks for a width that is not available.
std::int64_t vector_lanes();

}  // namespace penstock

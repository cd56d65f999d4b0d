// SPDX-License-Identifier: Apache-2.0
#pragma once
// How many float32 numbers the vectors hold that this process' operations work with.

#include <cstdint>

namespace penstock {

/// 16 where the build has operations of this width and the CPU AVX-512, else 8; the environment's PENSTOCK_LANES (8 or
/// 16) chooses for tests, and where ranks on unlike CPUs are to compute the same bits. Decided once in a process: all
/// its operations have one width. InputError where PENSTOCK_LANES asks for what there is not.
std::int64_t vector_lanes();

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once
// The world of a test that runs under mpiexec.

#include "comm/world.hpp"

namespace penstock {

World& test_world();

}  // namespace penstock

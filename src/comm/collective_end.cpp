// SPDX-License-Identifier: Apache-2.0
#include "comm/collective_end.hpp"

#include <cstdio>

namespace penstock {

// Rank 0 alone returns the code, because mpiexec ORs and srun takes the highest (and may see 137 when a rank ends while
// others finalize).
int exit_code_of_failure(World& world) {
  try {
    throw;
  } catch (const CollectiveFailure& failure) {
    if (world.rank() != 0) return 0;
    std::fprintf(stderr, "penstock: %s\n", failure.what());
    return failure.exit_code();
  } catch (const std::exception& error) {
    world.abort(failure_of(error).message);  // in the middle of a step: the others wait for this rank
  }
}

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#include "app/collective_command.hpp"

#include <cstdio>

#include "base/log.hpp"

namespace penstock {

namespace {

// Errors before MPI starts, and errors that all ranks share, are printed once. Rank 0 alone returns the code, because
// mpiexec ORs codes and srun takes the highest (and may see 137 if a rank ends while others finalize).
int end(const World& world, const Failure& failure) {
  if (world.rank() == 0) std::fprintf(stderr, "penstock: %s\n", failure.message.c_str());
  return world.rank() == 0 ? failure.exit_code : 0;
}

}  // namespace

int run_collectively(const std::function<int(World&)>& command) {
  World world;
  start_log(world.rank(), world.size());
  try {
    return command(world);
  } catch (const CollectiveFailure& failure) {
    return end(world, {failure.exit_code(), failure.what()});
  } catch (const std::exception& error) {
    world.abort(failure_of(error).message);  // an error of one rank in the middle of a step: the others wait for it
  }
}

}  // namespace penstock

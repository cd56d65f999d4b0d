// SPDX-License-Identifier: Apache-2.0
#include "app/collective_command.hpp"

#include "base/log.hpp"
#include "comm/collective_end.hpp"

namespace penstock {

int run_collectively(const std::function<int(World&)>& command) {
  World world;
  start_log(world.rank(), world.size());
  try {
    return command(world);
  } catch (...) {
    return exit_code_of_failure(world);
  }
}

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#include "base/usable_cores.hpp"

#include <sched.h>

#include <algorithm>
#include <numeric>
#include <thread>

namespace penstock {

std::vector<std::size_t> usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<std::size_t> cores;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (std::size_t core = 0; core < CPU_SETSIZE; ++core)
      if (CPU_ISSET(core, &set)) cores.push_back(core);
  if (!cores.empty()) return cores;
  cores.resize(std::max(1U, std::thread::hardware_concurrency()));
  std::iota(cores.begin(), cores.end(), std::size_t{0});
  return cores;
}

}  // namespace penstock

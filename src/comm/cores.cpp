// SPDX-License-Identifier: Apache-2.0
#include "comm/cores.hpp"

#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/usable_cores.hpp"

namespace penstock {

namespace {

// One character for each core: '1' if this process may run there.
std::string allowed_cores() {
  const std::vector<std::size_t> usable = usable_cores();
  std::string cores(usable.back() + 1, '0');
  for (const std::size_t core : usable) cores[core] = '1';
  return cores;
}

}  // namespace

double share_of_cores(World& world) {
  const std::vector<std::string> allowed = world.gather(allowed_cores());
  const auto may_use = [&](std::size_t rank, std::size_t core) {
    return core < allowed[rank].size() && allowed[rank][core] == '1';
  };
  double share = 0;
  const auto mine = static_cast<std::size_t>(world.rank());
  for (std::size_t core = 0; core < allowed[mine].size(); ++core) {
    if (!may_use(mine, core)) continue;
    int users = 0;
    for (std::size_t rank = 0; rank < allowed.size(); ++rank)
      users += world.node_of(static_cast<int>(rank)) == world.node() && may_use(rank, core) ? 1 : 0;
    share += 1.0 / users;
  }
  return share;
}

int cores_of_rank(World& world) { return std::max(1, static_cast<int>(share_of_cores(world) + 1e-6)); }

int threads_of_rank(World& world, std::int64_t wanted) {
  const int share = cores_of_rank(world);  // all ranks call it, whatever a rank's own environment says
  if (wanted > 0) return static_cast<int>(wanted);
  return std::getenv("OMP_NUM_THREADS") ? omp_get_max_threads() : share;
}

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#include "train/memory_check.hpp"

#include <algorithm>
#include <sstream>

#include "base/log.hpp"
#include "plan/fit.hpp"
#include "plan/make_plan.hpp"
#include "plan/memory_text.hpp"
#include "plan/recompute_choice.hpp"

namespace penstock {

namespace {

std::string line_of(const MemoryDemand& demand) {
  const DeviceRoom& room = demand.room;
  return fmt::format("{} {} {} {} {}", demand.planned, room.device, room.free, room.total, room.may_be_freed ? 1 : 0);
}

std::vector<MemoryDemand> demands_of_all(World& world, const RunSetup& setup) {
  MemoryDemand mine;
  world.together([&] {
    mine.planned = planned_bytes(setup.deck.config, setup.plan, MeshPlace(setup.mesh, world.rank()), setup.threads);
    mine.room = device_room();
  });
  std::vector<MemoryDemand> demands;
  for (const std::string& line : world.gather(line_of(mine))) {
    MemoryDemand demand;
    demand.rank = static_cast<int>(demands.size());
    demand.node = world.node_of(demand.rank);
    std::istringstream words(line);
    words >> demand.planned >> demand.room.device >> demand.room.free >> demand.room.total >> demand.room.may_be_freed;
    demands.push_back(demand);
  }
  return demands;
}

// "data 1, pipeline 0, tensor 1"
std::string place_text(const RunConfig& config, const MeshPlace& place) {
  std::string text;
  for (const auto& [axis, size] : config.mesh.by_axis())
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", axis, place.at(axis));
  return text;
}

std::string shortage_text(const MemoryShortage& shortage, const RunSetup& setup, const MemoryBesidePlan& beside) {
  std::string text = fmt::format("rank {} ({}) plans {}", shortage.largest.rank,
                                 place_text(setup.deck.config, MeshPlace(setup.mesh, shortage.largest.rank)),
                                 bytes_text(shortage.largest.planned));
  if (shortage.ranks > 1)
    text += fmt::format(", the {} ranks that share its memory {}", shortage.ranks, bytes_text(shortage.planned));
  return text +
         fmt::format("; of the {} there are, {} can be had for it (each process holds about {} more than its plan)",
                     bytes_text(shortage.largest.room.total), bytes_text(shortage.room), bytes_text(beside.bytes));
}

// "none block": the words of what rank 0 chose, which the other ranks take over.
std::string words_of(const std::vector<Recompute>& policies) {
  std::string words;
  for (const Recompute policy : policies) words += fmt::format("{} ", text(policy));
  return words;
}

std::vector<Recompute> policies_of(const std::string& words) {
  std::istringstream in(words);
  std::vector<Recompute> policies;
  for (std::string word; in >> word;) policies.push_back(parse_recompute(word));
  return policies;
}

}  // namespace

void choose_recomputation(World& world, RunSetup& setup) {
  if (setup.deck.config.recompute.policy) return;
  const std::vector<MemoryDemand> demands = demands_of_all(world, setup);
  const auto threads = static_cast<int>(world.largest(setup.threads));  // the workspace grows with them
  std::string words;
  world.together([&] {
    if (world.rank() != 0) return;
    const std::size_t room = least_room(demands, memory_beside_plan().bytes, RoomToday::with_what_others_hold);
    const RecomputeChoice choice = choose_recomputation(setup.deck.config, setup.plan, room, threads);
    for (const std::string& line : choice_lines(choice)) log_info("{}", line);
    words = words_of(choice.policies());
  });
  setup.plan.recompute = policies_of(world.broadcast(words));
}

void refuse_what_does_not_fit(World& world, const RunSetup& setup) {
  const std::vector<MemoryDemand> demands = demands_of_all(world, setup);
  const MemoryBesidePlan beside = memory_beside_plan();
  world.together([&] {
    if (world.rank() != 0) return;
    if (const auto shortage = worst_shortage(demands, beside.bytes, RoomToday::with_what_others_hold))
      throw_input_error(
          "the deck does not fit into memory: {}; {}", shortage_text(*shortage, setup, beside),
          advice_text(smallest_fitting_change(setup.deck, shortage->room_each(), setup.threads), setup.mesh.size()));
    if (const auto shortage = worst_shortage(demands, beside.bytes, RoomToday::free))
      log_warning("memory is short: {}; others hold the rest", shortage_text(*shortage, setup, beside));
  });
}

}  // namespace penstock

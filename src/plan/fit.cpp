// SPDX-License-Identifier: Apache-2.0
#include "plan/fit.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <utility>

#include "plan/make_plan.hpp"
#include "plan/memory_text.hpp"

namespace penstock {

namespace {

constexpr std::int64_t most_times_as_many_ranks = 16;

std::size_t less(std::size_t a, std::size_t b) { return a - std::min(a, b); }

MemoryShortage sum_up(const std::vector<const MemoryDemand*>& sharing, std::size_t beside, RoomToday today) {
  MemoryShortage sum;
  sum.largest = *sharing.front();
  sum.ranks = static_cast<int>(sharing.size());
  std::size_t free = sum.largest.room.free, total = sum.largest.room.total;
  for (const MemoryDemand* demand : sharing) {
    sum.planned += demand->planned;
    if (demand->planned > sum.largest.planned) sum.largest = *demand;
    free = std::min(free, demand->room.free);  // one may see less, because another's context took memory meanwhile
    total = std::min(total, demand->room.total);
  }
  // Memory that processes hold outside their plans is already missing in `free`, as far as it was taken.
  sum.room = less(total, beside * sharing.size());
  const bool others_give_back = sum.largest.room.may_be_freed && today == RoomToday::with_what_others_hold;
  if (!others_give_back) sum.room = std::min(sum.room, free);
  return sum;
}

using Settings = std::vector<std::string>;

Settings both(const Settings& one, const Settings& other) {
  Settings all = one;
  all.insert(all.end(), other.begin(), other.end());
  return all;
}

// Each change by itself, the smallest first.
std::vector<Settings> other_policies(const RunConfig& config) {
  // By what they cost: element-wise operations, the attention core, most of a block without and with its messages.
  std::vector policies{Recompute::none, Recompute::elementwise, Recompute::attention, Recompute::block_local,
                       Recompute::block};
  if (config.mesh.tensor == 1) std::erase(policies, Recompute::block_local);  // it is block
  std::vector<Settings> found;
  const auto now = std::find(policies.begin(), policies.end(), config.recompute.policy);
  for (auto policy = now; policy != policies.end(); ++policy)
    if (*policy != config.recompute.policy) found.push_back({fmt::format("recompute.policy = \"{}\"", text(*policy))});
  return found;
}

std::vector<Settings> smaller_microbatches(const RunConfig& config) {
  std::vector<Settings> found;
  for (std::int64_t micro = config.batch.micro / 2; micro > 0; --micro)
    if (config.batch.micro % micro == 0) found.push_back({fmt::format("batch.micro = {}", micro)});
  return found;
}

std::vector<Settings> sharding(const RunConfig& config) {
  if (config.optimizer.shard || config.mesh.data == 1) return {};
  return {{"optimizer.shard = true"}};
}

std::vector<Settings> of_two(const std::vector<Settings>& one, const std::vector<Settings>& other) {
  std::vector<Settings> pairs;
  for (const Settings& a : one)
    for (const Settings& b : other) pairs.push_back(both(a, b));
  return pairs;
}

std::vector<Settings> changes_on_the_same_ranks(const RunConfig& config) {
  const std::vector<Settings> policies = other_policies(config), micros = smaller_microbatches(config),
                              shards = sharding(config);
  std::vector<Settings> all;
  for (const std::vector<Settings>& more :
       {policies, micros, shards, of_two(policies, micros), of_two(policies, shards), of_two(micros, shards),
        of_two(of_two(policies, micros), shards)})
    all.insert(all.end(), more.begin(), more.end());
  return all;
}

Settings mesh_of(const RunConfig& config, std::int64_t pipeline, std::int64_t tensor, std::int64_t data) {
  Settings settings;
  if (pipeline > 1) settings.push_back(fmt::format("mesh.pipeline = {}", config.mesh.pipeline * pipeline));
  if (tensor > 1) settings.push_back(fmt::format("mesh.tensor = {}", config.mesh.tensor * tensor));
  if (data > 1) settings.push_back(fmt::format("mesh.data = {}", config.mesh.data * data));
  return settings;
}

// If the data axis grows, moments can be cut over it; otherwise a rank would not hold less.
std::vector<Settings> larger_meshes(const RunConfig& config) {
  std::vector<Settings> meshes;
  for (std::int64_t times = 2; times <= most_times_as_many_ranks; ++times)
    for (std::int64_t data = 1; data <= times; ++data)
      for (std::int64_t tensor = 1; tensor <= times / data; ++tensor) {
        if (times % (data * tensor) != 0) continue;
        Settings mesh = mesh_of(config, times / (data * tensor), tensor, data);
        if (data > 1 && !config.optimizer.shard) mesh.emplace_back("optimizer.shard = true");
        meshes.push_back(std::move(mesh));
      }
  return meshes;
}

std::vector<Settings> changes_with_more_ranks(const RunConfig& config) {
  const std::vector<Settings> meshes = larger_meshes(config), policies = other_policies(config),
                              micros = smaller_microbatches(config);
  // With the strongest recomputation and the smallest microbatches.
  const Settings most =
      both(policies.empty() ? Settings{} : policies.back(), micros.empty() ? Settings{} : micros.back());
  std::vector<Settings> all = meshes;
  if (!most.empty())
    for (const Settings& mesh : meshes) all.push_back(both(most, mesh));
  return all;
}

// The plan of the changed deck, if it is valid.
std::optional<FittingChange> planned_with(const Deck& deck, const RunConfig& was, const Settings& settings,
                                          int threads) {
  try {
    Deck changed = deck;
    for (const std::string& setting : settings) changed.set(setting);
    RunConfig config = read_run_deck(changed).config;
    config.schedule.table = was.schedule.table;
    return FittingChange{.settings = settings,
                         .ranks = config.make_mesh().size(),
                         .planned = most_planned_bytes(config, make_plan(config), threads)};
  } catch (const InputError&) {
    return std::nullopt;
  }
}

}  // namespace

std::optional<MemoryShortage> worst_shortage(const std::vector<MemoryDemand>& demands, std::size_t beside,
                                             RoomToday today) {
  std::map<std::pair<int, std::string>, std::vector<const MemoryDemand*>> devices;
  for (const MemoryDemand& demand : demands) devices[{demand.node, demand.room.device}].push_back(&demand);
  std::optional<MemoryShortage> worst;
  for (const auto& [device, sharing] : devices) {
    const MemoryShortage here = sum_up(sharing, beside, today);
    if (less(here.planned, here.room) > (worst ? less(worst->planned, worst->room) : 0)) worst = here;
  }
  return worst;
}

std::size_t planned_bytes(const RunConfig& config, const ModelPlan& plan, const MeshPlace& place, int threads) {
  return planned_bytes(plan_memory(plan, place, threads), staging_bytes(plan, place, config.saves_behind_training()));
}

std::size_t planned_bytes(const MemoryPlan& memory, std::size_t staging) {
  return memory.total() + (memory_beside_plan().host_copies ? staging : 0);
}

std::size_t most_planned_bytes(const RunConfig& config, const ModelPlan& plan, int threads) {
  const Mesh mesh = config.make_mesh();
  std::size_t most = 0;  // ranks that differ along other axes hold equal pieces
  for (const int rank : mesh.group(0, {Axis::pipeline}))
    most = std::max(most, planned_bytes(config, plan, MeshPlace(mesh, rank), threads));
  return most;
}

std::optional<FittingChange> smallest_fitting_change(const RunDeck& deck, std::size_t room, int threads) {
  const Deck as_read = Deck::parse(deck.effective, "deck");
  for (const auto& changes : {changes_on_the_same_ranks, changes_with_more_ranks})
    for (const Settings& settings : changes(deck.config))
      if (const auto change = planned_with(as_read, deck.config, settings, threads); change && change->planned <= room)
        return change;
  return std::nullopt;
}

std::string advice_text(const std::optional<FittingChange>& change, std::int64_t ranks) {
  if (!change)
    return fmt::format(
        "neither recomputation, smaller microbatches and optimizer.shard nor up to {} times as many ranks make it fit: "
        "use a smaller model, a shorter data.sequence, or devices with more memory",
        most_times_as_many_ranks);
  return fmt::format("{}{} would need {}", fmt::join(change->settings, " and "),
                     change->ranks == ranks ? "" : fmt::format(" on {} ranks with as much memory each", change->ranks),
                     bytes_text(change->planned));
}

}  // namespace penstock

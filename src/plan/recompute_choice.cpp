// SPDX-License-Identifier: Apache-2.0
#include "plan/recompute_choice.hpp"

#include <algorithm>
#include <limits>
#include <tuple>

#include "plan/fit.hpp"
#include "plan/make_plan.hpp"
#include "plan/memory_text.hpp"

namespace penstock {

namespace {

std::int64_t blocks_of(const ModelPlan& plan, int pipeline_rank) {
  std::int64_t blocks = 0;
  for (const int stage : plan.schedule.stages_of_rank(pipeline_rank))
    blocks += plan.parts.at(static_cast<std::size_t>(stage)).blocks;
  return blocks;
}

bool is_cheaper(const RecomputeCandidate& one, const RecomputeCandidate& other) {
  const auto price = [](const RecomputeCandidate& candidate) {
    return std::tuple(candidate.cost.flops, candidate.cost.bytes_sent, candidate.cost.bytes_moved);
  };
  return price(one) < price(other);
}

std::vector<RecomputeCandidate> candidates_of(const RunConfig& config, ModelPlan& plan, const MeshPlace& place,
                                              int threads) {
  std::vector policies{Recompute::none, Recompute::elementwise, Recompute::attention, Recompute::block_local,
                       Recompute::block};
  if (plan.cut.tensor == 1) std::erase(policies, Recompute::block_local);  // it is block
  const int rank = place.at(Axis::pipeline);
  Recompute& policy = plan.recompute.at(static_cast<std::size_t>(rank));
  std::vector<RecomputeCandidate> candidates;
  for (const Recompute candidate : policies) {
    policy = candidate;
    candidates.push_back({.policy = candidate,
                          .planned = planned_bytes(config, plan, place, threads),
                          .cost = recompute_cost(plan, rank) * (blocks_of(plan, rank) * plan.microbatches())});
  }
  std::stable_sort(candidates.begin(), candidates.end(), is_cheaper);
  return candidates;
}

std::size_t cheapest_that_fits(const std::vector<RecomputeCandidate>& candidates, std::size_t room) {
  auto chosen = std::find_if(candidates.begin(), candidates.end(),
                             [&](const RecomputeCandidate& candidate) { return candidate.planned <= room; });
  if (chosen == candidates.end())
    chosen = std::min_element(candidates.begin(), candidates.end(),
                              [](const auto& one, const auto& other) { return one.planned < other.planned; });
  return static_cast<std::size_t>(chosen - candidates.begin());
}

}  // namespace

std::vector<Recompute> RecomputeChoice::policies() const {
  std::vector<Recompute> policies;
  for (const OfRank& rank : ranks) policies.push_back(rank.candidates.at(rank.chosen).policy);
  return policies;
}

RecomputeChoice choose_recomputation(const RunConfig& config, const ModelPlan& plan, std::size_t room, int threads) {
  RecomputeChoice choice{.room = room, .ranks = {}};
  ModelPlan tried = plan;
  const Mesh mesh = config.make_mesh();
  for (const int rank : mesh.group(0, {Axis::pipeline})) {  // ranks that differ along other axes hold equal pieces
    const std::vector<RecomputeCandidate> candidates = candidates_of(config, tried, MeshPlace(mesh, rank), threads);
    choice.ranks.push_back({.candidates = candidates, .chosen = cheapest_that_fits(candidates, room)});
  }
  return choice;
}

ModelPlan make_plan_within(const RunConfig& config, std::size_t room, int threads) {
  ModelPlan plan = make_plan(config);
  if (!config.recompute.policy) plan.recompute = choose_recomputation(config, plan, room, threads).policies();
  return plan;
}

std::vector<std::string> choice_lines(const RecomputeChoice& choice) {
  constexpr double mebibyte = 1 << 20;
  const bool limited = choice.room < std::numeric_limits<std::size_t>::max();
  std::vector<std::string> lines{
      fmt::format("recompute.policy = \"auto\" with {} for what a rank plans; memory, computing and communication of a "
                  "step, against \"none\":",
                  limited ? bytes_text(choice.room) : "no limit")};
  for (std::size_t rank = 0; rank < choice.ranks.size(); ++rank) {
    const RecomputeChoice::OfRank& here = choice.ranks[rank];
    for (std::size_t i = 0; i < here.candidates.size(); ++i) {
      const auto& [policy, planned, cost] = here.candidates[i];
      lines.push_back(
          fmt::format("  pipeline {} {:>11}: {} planned, {:+.4g} operations, {:+.1f} MiB read and written, "
                      "{:+.1f} MiB sent{}{}",
                      rank, text(policy), bytes_text(planned), cost.flops,
                      static_cast<double>(cost.bytes_moved) / mebibyte, static_cast<double>(cost.bytes_sent) / mebibyte,
                      planned <= choice.room ? "" : " (does not fit)", i == here.chosen ? " <- chosen" : ""));
    }
  }
  return lines;
}

}  // namespace penstock

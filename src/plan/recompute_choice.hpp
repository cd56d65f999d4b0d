// SPDX-License-Identifier: Apache-2.0
#pragma once
// recompute.policy = "auto": the cheapest recomputation that fits into memory, chosen for each pipeline rank.

#include <cstddef>
#include <string>
#include <vector>

#include "pipeline/rank_model.hpp"
#include "plan/run_config.hpp"

namespace penstock {

/// What a policy asks of a rank: the three costs.
struct RecomputeCandidate {
  Recompute policy = Recompute::none;
  std::size_t planned = 0;  ///< memory: bytes of its device that the rank plans
  RecomputeCost cost;       ///< computing and communication: what a step adds, against none
};

struct RecomputeChoice {
  struct OfRank {
    std::vector<RecomputeCandidate> candidates;  ///< the cheapest first
    std::size_t chosen = 0;                      ///< among them
  };
  std::size_t room = 0;       ///< bytes that a rank may plan
  std::vector<OfRank> ranks;  ///< [pipeline]

  std::vector<Recompute> policies() const;
};

/// For each pipeline rank the cheapest candidate that plans at most `room` bytes; if none does, the one that plans
/// least. The cheapest recomputes the fewest operations, then sends and moves the fewest bytes. A rank's plan depends
/// only on its own policy, so the best choice of each rank also minimizes the slowest rank's work and the sum over
/// ranks. A pure function: equal arguments give equal choices on all ranks.
RecomputeChoice choose_recomputation(const RunConfig& config, const ModelPlan& plan, std::size_t room, int threads);

/// make_plan with the policies that are chosen for `room` where the deck leaves them to memory.
ModelPlan make_plan_within(const RunConfig& config, std::size_t room, int threads);

/// One line for each candidate of each pipeline rank; the chosen ones are marked.
std::vector<std::string> choice_lines(const RecomputeChoice& choice);

}  // namespace penstock

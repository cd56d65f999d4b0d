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

/// For each pipeline rank the candidate that computes least again (then sends, then moves least) of those that plan no
/// more than `room` bytes; where none does, the one that plans least. What a rank plans depends on its own policy
/// alone, so that the step's slowest rank and the sum over ranks are as cheap as they can be, too. The same on every
/// rank that asks with the same values.
RecomputeChoice choose_recomputation(const RunConfig& config, const ModelPlan& plan, std::size_t room, int threads);

/// make_plan with the policies that are chosen for `room` where the deck leaves them to memory.
ModelPlan make_plan_within(const RunConfig& config, std::size_t room, int threads);

/// A line a candidate and group of ranks with equal costs; the chosen one is marked.
std::vector<std::string> choice_lines(const RecomputeChoice& choice);

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Costs that were measured: medians over what the actions of some steps took.

#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "schedule/schedule.hpp"
#include "schedule/simulate.hpp"

namespace penstock {

/// One rank's measured actions, gathered step by step.
class MeasuredCosts {
 public:
  /// Times of one step of this rank's row, as the spans of its actions without what they waited for, seconds.
  void add(const std::vector<Action>& row, std::span<const Span> spans);

  /// Medians of all steps so far, "2F0 0.0013 2I0 0.0012 U 0.0004" (microbatch 0 stands for all): for the
  /// other ranks.
  std::string text() const;

 private:
  std::map<std::pair<int, Work>, std::vector<double>> seconds_;  ///< by stage and work
};

/// The costs of all stages, from the texts of all ranks. Ranks that compute the same stage wait for each other: the
/// longest counts. In a sum across ranks the last to come does not wait: of the gathering the shortest counts, and of
/// the sums that follow one another at the step's end those of the one rank that spent the least in all of them (a rank
/// that was first in one of them waits there for what the others do in the next). A fused backward was not measured in
/// halves: they share it equally. Stages that nobody measured cost nothing. At least one text.
Costs costs_of(const Schedule& schedule, std::span<const std::string> texts);

}  // namespace penstock

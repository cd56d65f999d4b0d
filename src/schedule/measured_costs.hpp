// SPDX-License-Identifier: Apache-2.0
#pragma once
// Measured costs: medians of the times of the actions of some steps.

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
  /// Adds one step of this rank's row: the spans of its actions without their waits, seconds.
  void add(const std::vector<Action>& row, std::span<const Span> spans);

  /// Medians of all steps so far, "2F0 0.0013 2I0 0.0012 U 0.0004" (microbatch 0 represents all), to be sent to the
  /// other ranks.
  std::string text() const;

 private:
  std::map<std::pair<int, Work>, std::vector<double>> seconds_;  ///< by stage and work
};

/// The costs of all stages, from the texts of all ranks. Ranks that compute the same stage wait for each other, so the
/// longest time counts. In a sum across ranks the last rank to come does not wait. So the shortest time counts for the
/// gathering, and for the sums that follow one another at the step's end those of the rank that spent the least time in
/// all of them together (a rank that is early in one of them also waits there for the others' work in the next). A
/// fused backward is not measured in halves: each gets an equal share. Stages that nobody measured cost nothing. At
/// least one text.
Costs costs_of(const Schedule& schedule, std::span<const std::string> texts);

}  // namespace penstock

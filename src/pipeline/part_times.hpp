// SPDX-License-Identifier: Apache-2.0
#pragma once
// Measured seconds of the parts of stages: the measurements of one schedule's run predict another's.

#include <map>
#include <string>
#include <vector>

#include "model/partition.hpp"
#include "schedule/simulate.hpp"

namespace penstock {

/// Seconds of one microbatch.
struct PartTimes {
  StageCosts block{0, 0, 0};
  StageCosts embedding{0, 0, 0};  ///< the first stage's time beyond its blocks
  StageCosts head{0, 0, 0};       ///< the last stage's time beyond its blocks
  std::map<Work, double> whole_step;
  double hop = 0;       ///< of a transfer between two ranks
  double overhead = 0;  ///< of a transfer, at either end
};

/// A block's time is the mean over the stages between the first and the last, or over the first if there are none
/// between. If one stage is both, its time is divided among its blocks and head in proportion to `operations`.
PartTimes part_times(const std::vector<StagePart>& parts, const PartCosts& operations, const Costs& measured);

/// The costs of stages of another partition.
Costs costs_of(const std::vector<StagePart>& parts, const PartTimes& times);

/// To JSON and back; `subject` says what the times are valid for. Throws InputError for text that is no such JSON, or
/// of another subject.
std::string part_times_json(const PartTimes& times, const std::string& subject);
PartTimes read_part_times(const std::string& json, const std::string& subject);

}  // namespace penstock

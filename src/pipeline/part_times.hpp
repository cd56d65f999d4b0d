// SPDX-License-Identifier: Apache-2.0
#pragma once
// Measured seconds of the parts that stages are made of: what one schedule's run measured foretells another's.

#include <map>
#include <string>
#include <vector>

#include "model/partition.hpp"
#include "schedule/simulate.hpp"

namespace penstock {

/// Seconds of one microbatch.
struct PartTimes {
  StageCosts block{0, 0, 0};
  StageCosts embedding{0, 0, 0};  ///< what the first stage takes beyond its blocks
  StageCosts head{0, 0, 0};       ///< what the last stage takes beyond its blocks
  std::map<Work, double> whole_step;
  double hop = 0;       ///< of a transfer between two ranks
  double overhead = 0;  ///< of a transfer, at either end
};

/// A block is the mean of the stages between the first and the last, else of the first; where one stage is both, its
/// blocks and head share its time as `operations` do.
PartTimes part_times(const std::vector<StagePart>& parts, const PartCosts& operations, const Costs& measured);

/// The costs of stages that are cut in another way.
Costs costs_of(const std::vector<StagePart>& parts, const PartTimes& times);

/// JSON, and back; `subject` says what the times hold for, and they are refused for another one. Throws InputError for
/// text that is no such JSON, or of another subject.
std::string part_times_json(const PartTimes& times, const std::string& subject);
PartTimes read_part_times(const std::string& json, const std::string& subject);

}  // namespace penstock

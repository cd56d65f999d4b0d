// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tables that several tests of the schedule share.

#include <sstream>
#include <string>
#include <vector>

#include "schedule/generate.hpp"

namespace penstock::test {

/// Every schedule, with one chunk a rank where it has a choice.
inline std::vector<ScheduleRequest> all_schedules(const std::vector<int>& chunks) {
  std::vector<ScheduleRequest> out;
  for (const ScheduleName name : {ScheduleName::fifo, ScheduleName::one_forward_one_backward})
    for (const Backward backward : {Backward::fused, Backward::split})
      out.push_back({.name = name, .chunks = 1, .backward = backward});
  for (const ScheduleName name : {ScheduleName::ring, ScheduleName::breadth_first})
    for (const Backward backward : {Backward::fused, Backward::split})
      for (const int v : chunks) out.push_back({.name = name, .chunks = v, .backward = backward});
  for (const ScheduleName name : {ScheduleName::zb_h1, ScheduleName::zb_h2}) out.push_back({.name = name, .chunks = 1});
  out.push_back({.name = ScheduleName::zb_v, .chunks = 2});
  return out;
}

/// Every schedule for a few sizes.
inline std::vector<ScheduleRequest> requests(const std::vector<int>& pipelines, int most_microbatches,
                                             const std::vector<int>& chunks = {1, 2, 3}) {
  std::vector<ScheduleRequest> out;
  for (ScheduleRequest request : all_schedules(chunks))
    for (const int pipeline : pipelines)
      for (int m = 1; m <= most_microbatches; ++m) {
        request.pipeline = pipeline;
        request.microbatches = m;
        out.push_back(request);
      }
  return out;
}

inline std::string title(const ScheduleRequest& r) {
  return std::string(text(r.name)) + " " + std::string(text(r.backward)) + " p " + std::to_string(r.pipeline) + " v " +
         std::to_string(r.chunks) + " m " + std::to_string(r.microbatches);
}

/// "0F0 0B0" -> a row.
inline std::vector<Action> row(const std::string& text) {
  std::istringstream words(text);
  std::vector<Action> out;
  for (std::string word; words >> word;) out.push_back(parse_action(word));
  return out;
}

/// Rows over a looped placement.
inline Schedule table(int stages, int microbatches, const std::vector<std::string>& rows, bool lowered) {
  Schedule schedule;
  schedule.name = "table";
  schedule.stages = stages;
  schedule.pipeline = static_cast<int>(rows.size());
  schedule.microbatches = microbatches;
  schedule.lowered = lowered;
  schedule.placement = looped_placement(stages, schedule.pipeline);
  for (const std::string& r : rows) schedule.rows.push_back(row(r));
  return schedule;
}

/// A table with several stages a rank, written down apart from `generate`: all forwards chunk by chunk, then all
/// backwards from the last chunk to the first.
inline Schedule looped_table(int pipeline, int chunks, int microbatches, bool fused) {
  Schedule schedule =
      table(pipeline * chunks, microbatches, std::vector<std::string>(static_cast<std::size_t>(pipeline)), false);
  for (int rank = 0; rank < pipeline; ++rank) {
    std::vector<Action>& out = schedule.rows[static_cast<std::size_t>(rank)];
    for (int c = 0; c < chunks; ++c)
      for (int m = 0; m < microbatches; ++m) out.push_back({Work::forward, c * pipeline + rank, m});
    for (int c = chunks - 1; c >= 0; --c)
      for (int m = 0; m < microbatches; ++m) {
        const int stage = c * pipeline + rank;
        if (fused) {
          out.push_back({Work::backward, stage, m});
          continue;
        }
        out.push_back({Work::input_gradient, stage, m});
        out.push_back({Work::weight_gradient, stage, m});
      }
  }
  return schedule;
}

}  // namespace penstock::test

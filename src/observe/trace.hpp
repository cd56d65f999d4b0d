// SPDX-License-Identifier: Apache-2.0
#pragma once
// trace.json: predicted and measured times of traced steps, as Chrome trace events (the Trace Event Format that
// Perfetto and chrome://tracing read).

#include <cstdint>
#include <string>
#include <vector>

#include "mesh/mesh.hpp"
#include "schedule/schedule.hpp"
#include "schedule/simulate.hpp"

namespace penstock {

/// One rank's row of a step.
struct TracedRow {
  std::vector<Span> spans;           ///< each action without its waits; seconds since the step began
  std::vector<std::uint64_t> bytes;  ///< that each moved between ranks
};

/// One traced step.
struct TracedStep {
  std::int64_t step = 0;                    ///< its number, from 1 on
  double begin = 0;                         ///< seconds since the first traced step began
  std::vector<TracedRow> measured;          ///< [ranks of the world]
  std::vector<std::vector<Span>> foretold;  ///< [pipeline][row]; empty before the prediction
};

/// What events contain besides times.
struct TraceSubject {
  const Schedule* schedule = nullptr;  ///< outlives it
  const Mesh* mesh = nullptr;          ///< outlives it
};

/// The events as JSON: process "measured" with a thread for each rank, process "predicted" with a thread for each
/// pipeline rank. An event's args are step, rank, stage, microbatch, action (its text form), and bytes if it moves any.
std::string trace_json(const TraceSubject& subject, const std::vector<TracedStep>& steps);

}  // namespace penstock

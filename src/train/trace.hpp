#pragma once
// trace.json: what was foretold of traced steps beside what was measured, as Chrome trace events (the Trace Event
// Format that Perfetto and chrome://tracing read).

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mesh/mesh.hpp"
#include "schedule/schedule.hpp"
#include "schedule/simulate.hpp"

namespace penstock {

/// One traced step. Times are seconds since the step began.
struct TracedStep {
  std::int64_t step = 0;                    ///< its number, from 1 on
  double begin = 0;                         ///< seconds since the first traced step began
  std::vector<std::vector<Span>> measured;  ///< [ranks of the world][row]: each action without what it waited for
  std::vector<std::vector<Span>> foretold;  ///< [pipeline][row]; empty where nothing was foretold yet
};

/// What the events say besides times.
struct TraceSubject {
  const Schedule* schedule = nullptr;  ///< outlives it
  const Mesh* mesh = nullptr;          ///< outlives it
  std::size_t transfer_bytes = 0;      ///< of one activation or gradient between two stages
};

/// The events as JSON: process "measured" with a thread a rank, process "foretold" with a thread a pipeline rank. An
/// event's args are step, rank, stage, microbatch, action (its text form), and bytes where it moves any.
std::string trace_json(const TraceSubject& subject, const std::vector<TracedStep>& steps);

}  // namespace penstock

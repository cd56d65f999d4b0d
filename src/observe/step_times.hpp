// SPDX-License-Identifier: Apache-2.0
#pragma once
// StepTimes: everything that observes the duration of steps: forecast, watch for slow ranks and links, trace.

#include <cstdint>
#include <optional>
#include <vector>

#include "base/clock.hpp"
#include "observe/link_probe.hpp"
#include "observe/speed_watch.hpp"
#include "observe/step_forecast.hpp"
#include "observe/step_log.hpp"
#include "observe/step_tracer.hpp"
#include "pipeline/engine.hpp"
#include "plan/run_config.hpp"

namespace penstock {

/// The times of a finished step on this rank.
struct StepFacts {
  std::int64_t step = 0;
  Clock::time_point begin;
  double seconds = 0;                                 ///< of the whole step
  double waited = 0;                                  ///< seconds of these spent waiting for other ranks
  std::vector<Span> spans;                            ///< of the row's actions
  const std::vector<std::uint64_t>* bytes = nullptr;  ///< that each of them moved between ranks
};

class StepTimes {
 public:
  /// All references outlive it.
  struct Subject {
    World& world;
    const RunConfig& config;
    const ModelPlan& plan;
    const Mesh& mesh;
    int pipeline_rank;
    Engine& engine;
    const RunFolder& folder;
    StepLog& log;
  };
  explicit StepTimes(const Subject& subject);

  /// Collective, once, before the first step: compares the speeds of ranks and links, and watches them from then on.
  /// Does nothing if ranks share cores, because times would mean nothing.
  void watch_speeds();
  /// Collective, once a step.
  void see(const StepFacts& facts);

  /// Whether the step under way must be finished and seen before the next step is launched.
  bool wants_a_pause() const { return !forecast_.foretold() || (speeds_ && speeds_->ends_window()); }
  /// Seconds that `see` has spent on measuring since the last call. Ordinary steps do not need them.
  double take_measuring_seconds();
  /// This rank's line at the end: what its steps took compared with the forecast; empty where there were too few.
  std::string line() const { return forecast_.line(); }

 private:
  void compare_with_forecast(const StepFacts& facts);
  void trace(const StepFacts& facts);
  void write_costs() const;

  Subject on_;
  StepForecast forecast_;
  StepTracer tracer_;
  std::optional<LinkProbe> links_;
  std::optional<SpeedWatch> speeds_;  ///< none if ranks share cores
  double measuring_seconds_ = 0;
};

}  // namespace penstock

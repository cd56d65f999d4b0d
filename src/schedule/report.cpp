// SPDX-License-Identifier: Apache-2.0
#include "schedule/report.hpp"

#include <fmt/core.h>

namespace penstock {

ScheduleReport report(const Schedule& schedule, const Simulation& simulation) {
  return {.name = schedule.name,
          .ranks = schedule.pipeline,
          .stages = schedule.stages,
          .microbatches = schedule.microbatches,
          .makespan = simulation.makespan,
          .bubble_rate = simulation.bubble_rate,
          .idle = simulation.idle,
          .peak_activations = schedule.peak_activations(),
          .peak_deferred = schedule.peak_deferred(),
          .hash = schedule.hash()};
}

std::string text(const ScheduleReport& report) {
  std::string out =
      fmt::format("{}: {} ranks, {} stages, {} microbatches; makespan {:.6g}, bubble rate {:.4f}\n", report.name,
                  report.ranks, report.stages, report.microbatches, report.makespan, report.bubble_rate);
  for (std::size_t rank = 0; rank < report.idle.size(); ++rank)
    out += fmt::format("  rank {}: idle {:.6g}, peak activations {}, held for W {}\n", rank, report.idle[rank],
                       report.peak_activations[rank], report.peak_deferred[rank]);
  return out;
}

}  // namespace penstock

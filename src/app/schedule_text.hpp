// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>

#include "schedule/draw.hpp"
#include "schedule/report.hpp"
#include "schedule/simulate.hpp"

namespace penstock {

/// The firm keys makespan, bubble_rate, peak_activations and ranks, and the rest of the report.
inline nlohmann::json report_json(const ScheduleReport& report) {
  return {{"name", report.name},
          {"ranks", report.ranks},
          {"stages", report.stages},
          {"microbatches", report.microbatches},
          {"makespan", report.makespan},
          {"bubble_rate", report.bubble_rate},
          {"idle", report.idle},
          {"peak_activations", report.peak_activations},
          {"peak_deferred", report.peak_deferred}};
}

}  // namespace penstock

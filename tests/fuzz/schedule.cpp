// SPDX-License-Identifier: Apache-2.0
// Tables of schedules as CSV, and all that `penstock schedule --file` does with one that is taken.

#include "app/schedule_text.hpp"
#include "fuzz/harness.hpp"
#include "fuzz/harnesses.hpp"
#include "schedule/csv.hpp"
#include "schedule/lower.hpp"
#include "schedule/validate.hpp"

namespace penstock::fuzz {

void feed_schedule(std::string_view bytes) {
  Schedule table;
  if (!accepts([&] { table = schedule_from_csv(bytes, "table.csv", "table"); })) return;
  promise(schedule_from_csv(to_csv(table), "again.csv", "table") == table, "a table reads back as itself");
  const Schedule lowered = lower(table, {.tied = true});
  validate(lowered);
  const Simulation simulation = simulate(lowered, equal_costs(lowered, {1, 1, 1}, 0.1));
  const ScheduleReport summary = report(lowered, simulation);
  report_json(summary).dump();
  draw_text(lowered, simulation);
  draw_svg(lowered, simulation);
}

}  // namespace penstock::fuzz

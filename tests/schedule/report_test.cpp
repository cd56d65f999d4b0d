// SPDX-License-Identifier: Apache-2.0
#include "schedule/report.hpp"

#include <gtest/gtest.h>

#include "schedule/generate.hpp"
#include "schedule/lower.hpp"

namespace penstock::report_test {
namespace {

TEST(ScheduleReport, HoldsWhatProgramsAskFor) {
  const Schedule lowered = lower(generate({.pipeline = 4, .microbatches = 8}));
  const ScheduleReport r = report(lowered, simulate(lowered, equal_costs(lowered, {1, 1, 1}, 0)));
  EXPECT_EQ(r.name, "1f1b");
  EXPECT_EQ(r.ranks, 4);
  EXPECT_EQ(r.stages, 4);
  EXPECT_EQ(r.microbatches, 8);
  EXPECT_DOUBLE_EQ(r.makespan, 8 * 3 + 3 * 2);
  EXPECT_DOUBLE_EQ(r.bubble_rate, 1 - 24.0 / 30.0);
  EXPECT_EQ(r.peak_activations, (std::vector<int>{4, 3, 2, 1}));
  EXPECT_EQ(r.peak_deferred, (std::vector<int>{0, 1, 1, 1}));
  EXPECT_EQ(r.idle.size(), 4U);
  EXPECT_EQ(r.hash, lowered.hash());
  EXPECT_NE(text(r).find("makespan 30, bubble rate 0.2000"), std::string::npos) << text(r);
  EXPECT_NE(text(r).find("rank 3: idle 6, peak activations 1, held for W 1"), std::string::npos) << text(r);
}

}  // namespace
}  // namespace penstock::report_test

// SPDX-License-Identifier: Apache-2.0
#include "schedule/schedule.hpp"

#include <gtest/gtest.h>

#include <set>

#include "schedule/tables.hpp"

namespace penstock::schedule_test {
namespace {

using test::table;

Schedule small() { return table(2, 2, {"0F0 0F1 0B0 0B1", "1F0 1I0 1W0 1F1 1I1 1W1"}, false); }

TEST(Schedule, StagesLiveWhereThePlacementSays) {
  const Schedule looped = test::looped_table(3, 2, 2, true);
  EXPECT_EQ(looped.chunks(), 2);
  EXPECT_EQ(looped.rank_of_stage(4), 1);
  EXPECT_EQ(looped.stages_of_rank(1), (std::vector<int>{1, 4}));
  Schedule v_shaped = looped;
  v_shaped.placement = {0, 1, 2, 2, 1, 0};
  EXPECT_EQ(v_shaped.stages_of_rank(0), (std::vector<int>{0, 5}));
}

TEST(Schedule, TheTiedSumIsOfTheTwoEndsUnlessTheyMeet) {
  Schedule schedule = test::looped_table(3, 2, 2, true);
  EXPECT_FALSE(schedule.sums_tied(0));  // not tied
  schedule.tied = true;
  EXPECT_TRUE(schedule.sums_tied(0));
  EXPECT_FALSE(schedule.sums_tied(1));
  EXPECT_TRUE(schedule.sums_tied(2));
  schedule.placement = {0, 1, 2, 2, 1, 0};  // first and last stage on rank 0: one buffer
  EXPECT_FALSE(schedule.sums_tied(0));
}

TEST(Schedule, HashFollowsTheContent) {
  const Schedule schedule = small();
  EXPECT_EQ(schedule.hash(), small().hash());
  std::set<std::uint64_t> hashes{schedule.hash()};
  const auto expect_new = [&](const Schedule& changed) {
    EXPECT_NE(changed, schedule);
    EXPECT_TRUE(hashes.insert(changed.hash()).second);
  };
  Schedule s = schedule;
  s.name = "other";
  expect_new(s);
  s = schedule;
  s.microbatches = 3;
  expect_new(s);
  s = schedule;
  s.lowered = true;
  expect_new(s);
  s = schedule;
  s.tied = true;
  expect_new(s);
  s = schedule;
  s.placement = {1, 0};
  expect_new(s);
  s = schedule;
  std::swap(s.rows[0][0], s.rows[0][1]);
  expect_new(s);
  s = schedule;
  s.rows[1].push_back(s.rows[0].back());  // the same actions, cut into rows elsewhere
  s.rows[0].pop_back();
  expect_new(s);
}

TEST(Schedule, HashIsTheSameOnEveryMachine) {
  // FNV-1a of the content's text, then SplitMix64's finalizer, worked out apart from this code.
  EXPECT_EQ(small().hash(), 0x6612da54ae60226fULL);
}

TEST(Schedule, PeaksCountWhatIsHeldAtOnce) {
  EXPECT_EQ(small().peak_activations(), (std::vector<int>{2, 1}));
  EXPECT_EQ(small().peak_deferred(), (std::vector<int>{0, 1}));
  const Schedule deferred = table(1, 3, {"0F0 0I0 0F1 0I1 0W0 0F2 0I2 0W1 0W2"}, false);
  EXPECT_EQ(deferred.peak_activations(), std::vector<int>{1});
  EXPECT_EQ(deferred.peak_deferred(), std::vector<int>{2});
}

TEST(Schedule, TextHasALineARank) {
  EXPECT_EQ(text(small()), "rank 0: 0F0 0F1 0B0 0B1\nrank 1: 1F0 1I0 1W0 1F1 1I1 1W1\n");
}

TEST(Schedule, RowWithMarkShowsAWindow) {
  EXPECT_EQ(row_with_mark(small(), 1, 2), "rank 1 at 2: 1F0 1I0 [1W0] 1F1 1I1 1W1");
  EXPECT_EQ(row_with_mark(small(), 0, 4), "rank 0 at 4: 0F0 0F1 0B0 0B1 [end of the row]");
  EXPECT_EQ(row_with_mark(small(), 0, 99), "rank 0 at 99: 0F0 0F1 0B0 0B1 [end of the row]");
  const Schedule longer = table(1, 8, {"0F0 0F1 0F2 0F3 0F4 0F5 0F6 0F7 0B0 0B1 0B2 0B3 0B4 0B5 0B6 0B7"}, false);
  EXPECT_EQ(row_with_mark(longer, 0, 8), "rank 0 at 8: ... 0F2 0F3 0F4 0F5 0F6 0F7 [0B0] 0B1 0B2 0B3 0B4 0B5 0B6 ...");
  EXPECT_EQ(row_with_mark(longer, 0, 16), "rank 0 at 16: ... 0B2 0B3 0B4 0B5 0B6 0B7 [end of the row]");
  EXPECT_EQ(row_with_mark(longer, 0, 0), "rank 0 at 0: [0F0] 0F1 0F2 0F3 0F4 0F5 0F6 ...");
}

}  // namespace
}  // namespace penstock::schedule_test

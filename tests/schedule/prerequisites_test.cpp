// SPDX-License-Identifier: Apache-2.0
#include "schedule/prerequisites.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "schedule/tables.hpp"

namespace penstock::prerequisites_test {
namespace {

/// "0:0F0 1:1F0<0 posted": needs as rank:action, in the order of the text.
std::set<std::string> needs(const Schedule& schedule, int rank, const std::string& action) {
  std::set<std::string> out;
  for (const Need& need : prerequisites(parse_action(action), rank, schedule))
    out.insert(std::to_string(need.rank) + ":" + need.action.text() + (need.until == Until::posted ? " posted" : ""));
  return out;
}

using Texts = std::set<std::string>;

/// 4 stages on 2 ranks; 1 and 2 share a rank, and so do 0 and 3.
Schedule v_shaped(bool lowered) {
  Schedule s;
  s.stages = 4;
  s.pipeline = 2;
  s.microbatches = 2;
  s.lowered = lowered;
  s.placement = {0, 1, 1, 0};
  s.rows.resize(2);
  return s;
}

TEST(Prerequisites, Forward) {
  const Schedule s = v_shaped(true);
  EXPECT_EQ(needs(s, 0, "0F1"), (Texts{"0:G"}));
  EXPECT_EQ(needs(s, 1, "1F1"), (Texts{"1:G", "1:1F1<0"}));
  EXPECT_EQ(needs(s, 1, "2F1"), (Texts{"1:G", "1:1F1"}));  // same rank: nothing travels
}

TEST(Prerequisites, Backward) {
  const Schedule s = v_shaped(true);
  EXPECT_EQ(needs(s, 0, "3I0"), (Texts{"0:3F0"}));
  EXPECT_EQ(needs(s, 1, "2I0"), (Texts{"1:2F0", "1:2I0<3"}));
  EXPECT_EQ(needs(s, 1, "1I0"), (Texts{"1:1F0", "1:2I0"}));
  EXPECT_EQ(needs(s, 1, "1B0"), needs(s, 1, "1I0"));
  EXPECT_EQ(needs(s, 1, "1W0"), (Texts{"1:1I0"}));
}

TEST(Prerequisites, TransfersMeetUnderRendezvous) {
  const Schedule s = v_shaped(true);
  EXPECT_EQ(needs(s, 0, "0F1>1"), (Texts{"0:0F1", "1:1F1<0 posted"}));
  EXPECT_EQ(needs(s, 1, "1F1<0"), (Texts{"0:0F1>1 posted"}));
  EXPECT_EQ(needs(s, 1, "1I1>0"), (Texts{"1:1I1", "0:0I1<1 posted"}));
  EXPECT_EQ(needs(s, 0, "0I1<1"), (Texts{"1:1I1>0 posted"}));
}

TEST(Prerequisites, WholeStep) {
  Schedule s = v_shaped(true);
  EXPECT_EQ(needs(s, 0, "G"), Texts{});
  EXPECT_EQ(needs(s, 0, "R"), (Texts{"0:0W0", "0:0W1", "0:3W0", "0:3W1"}));
  EXPECT_EQ(needs(s, 0, "N"), (Texts{"0:R", "1:N posted"}));
  EXPECT_EQ(needs(s, 1, "U"), (Texts{"1:N"}));
  s.tied = true;
  EXPECT_EQ(needs(s, 0, "N"), (Texts{"0:R", "1:N posted"}));  // both ends on rank 0: one buffer, no sum
  s.placement = {0, 1, 0, 1};
  EXPECT_EQ(needs(s, 0, "N"), (Texts{"0:T", "1:N posted"}));
  EXPECT_EQ(needs(s, 0, "T"), (Texts{"0:R", "1:T posted"}));
  EXPECT_EQ(needs(s, 1, "T"), (Texts{"1:R", "0:T posted"}));
}

TEST(Prerequisites, ATableThatIsNotLoweredReachesAcrossRanks) {
  const Schedule s = v_shaped(false);
  EXPECT_EQ(needs(s, 0, "0F1"), Texts{});
  EXPECT_EQ(needs(s, 1, "1F1"), (Texts{"0:0F1"}));
  EXPECT_EQ(needs(s, 1, "2I1"), (Texts{"1:2F1", "0:3I1"}));
}

TEST(Prerequisites, ANeedNeverNamesAFusedBackward) {
  const Schedule s = v_shaped(true);
  for (int w = 0; w < work_count; ++w)
    for (const Need& need : prerequisites(
             is_whole_step(static_cast<Work>(w)) ? Action{static_cast<Work>(w)} : Action{static_cast<Work>(w), 1, 0}, 1,
             s))
      EXPECT_NE(need.action.work, Work::backward);
}

TEST(ActionIds, AreDistinct) {
  const Schedule s = v_shaped(true);
  const ActionIds ids(s);
  std::set<std::size_t> seen;
  std::size_t actions = 0;
  for (int w = 0; w < work_count; ++w) {
    const Work work = static_cast<Work>(w);
    for (int i = 0; i < (is_whole_step(work) ? s.pipeline : s.stages * s.microbatches); ++i, ++actions) {
      const Action action = is_whole_step(work) ? Action{work} : Action{work, i / s.microbatches, i % s.microbatches};
      const std::size_t id = ids.id(is_whole_step(work) ? i : s.rank_of_stage(action.stage), action);
      EXPECT_LT(id, ids.size());
      seen.insert(id);
    }
  }
  EXPECT_EQ(seen.size(), actions);
}

TEST(ActionIds, CoverTheTableOnly) {
  const ActionIds ids(v_shaped(true));
  for (const char* text : {"3F1", "0B0", "2F0>3", "1I0>0", "R"}) EXPECT_TRUE(ids.covers(parse_action(text))) << text;
  for (const char* text : {"4F0", "0F2", "3F0>4", "3I0<4", "4F0<3"})
    EXPECT_FALSE(ids.covers(parse_action(text))) << text;
  EXPECT_FALSE(ids.covers({Work::send_gradient, 0, 0}));  // to stage -1
  EXPECT_FALSE(ids.covers({Work::norm, 0, 0}));
}

}  // namespace
}  // namespace penstock::prerequisites_test

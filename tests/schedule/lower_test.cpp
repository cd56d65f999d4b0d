// SPDX-License-Identifier: Apache-2.0
#include "schedule/lower.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.hpp"
#include "schedule/csv.hpp"
#include "schedule/tables.hpp"
#include "schedule/validate.hpp"

namespace penstock::lower_test {
namespace {

int count(const Schedule& s, int rank, Work work) {
  return static_cast<int>(
      std::count_if(s.row(rank).begin(), s.row(rank).end(), [&](const Action& a) { return a.work == work; }));
}

TEST(Lower, OneRankHasNoTransfersAndNoTiedSum) {
  EXPECT_EQ(text(lower(generate({.pipeline = 1, .microbatches = 2}), {.tied = true})),
            "rank 0: G 0F0 0B0 0F1 0B1 R N U\n");
}

TEST(Lower, SteadyStateExchangesWhatIsMadeAtOnce) {
  EXPECT_EQ(text(lower(generate({.pipeline = 2, .microbatches = 3}), {.tied = true})),
            "rank 0: G 0F0 0F0>1 0F1 0F1>1 0I0<1 0B0 0F2 0F2>1 +0I1<1 0B1 0I2<1 0B2 R T N U\n"
            "rank 1: G 1F0<0 1F0 1F1<0 1I0 1I0>0 1W0 1F1 1I1 1F2<0 +1I1>0 1W1 1F2 1I2 1I2>0 1W2 R T N U\n");
}

TEST(Lower, FifoStaysAsOneWouldWriteIt) {
  EXPECT_EQ(text(lower(
                generate({.name = ScheduleName::fifo, .pipeline = 2, .microbatches = 2, .backward = Backward::fused}))),
            "rank 0: G 0F0 0F0>1 0F1 0F1>1 0I0<1 0B0 0I1<1 0B1 R N U\n"
            "rank 1: G 1F0<0 1F0 1F1<0 1F1 1B0 1I0>0 1B1 1I1>0 R N U\n");
}

TEST(Lower, ARingHandsOnAllAtOnce) {
  // In a ring's steady state every rank sends an activation to the next one and receives one from the one before.
  const Schedule lowered =
      lower(generate({.name = ScheduleName::ring, .pipeline = 4, .microbatches = 4, .chunks = 2}), {.tied = true});
  for (int rank = 0; rank < 4; ++rank) {
    int both = 0;
    const std::vector<Action>& row = lowered.row(rank);
    for (std::size_t i = 0; i + 1 < row.size(); ++i)
      if (lowered.launch_end(rank, i) == i + 2) both += row[i].work != row[i + 1].work;
    EXPECT_GE(both, 2) << text(lowered);
  }
}

TEST(Lower, WithoutLaunchingTogetherItWouldEndToo) {
  // The proof does not rest on joined transfers: they only make it faster.
  for (const ScheduleRequest& request : test::requests({2, 3, 4}, 6)) {
    Schedule lowered = lower(generate(request), {.tied = true});
    for (std::vector<Action>& row : lowered.rows)
      for (Action& action : row) action.joined = false;
    EXPECT_FALSE(find_problem(lowered)) << test::title(request);
  }
}

TEST(Lower, EveryTableComesOutValidWithItsComputingUntouched) {
  for (const ScheduleRequest& request : test::requests({1, 2, 3, 4, 8}, 16))
    for (const bool tied : {false, true}) {
      const Schedule s = generate(request);
      const Schedule lowered = lower(s, {.tied = tied});
      EXPECT_EQ(to_csv(lowered), to_csv(s)) << test::title(request);
      EXPECT_EQ(lowered.peak_activations(), s.peak_activations());
      const auto problem = find_problem(lowered);
      ASSERT_FALSE(problem) << test::title(request) << problem->message;
      int transfers = 0;
      for (int stage = 1; stage < s.stages; ++stage) transfers += s.rank_of_stage(stage) != s.rank_of_stage(stage - 1);
      int sends = 0;
      int receives = 0;
      for (int rank = 0; rank < s.pipeline; ++rank) {
        sends += count(lowered, rank, Work::send_activation);
        receives += count(lowered, rank, Work::receive_gradient);
        EXPECT_EQ(count(lowered, rank, Work::tied_sum), lowered.sums_tied(rank));
      }
      EXPECT_EQ(sends, transfers * request.microbatches);
      EXPECT_EQ(receives, transfers * request.microbatches);
    }
}

TEST(Lower, SeveralChunksARank) {
  for (const int pipeline : {1, 2, 3, 4})
    for (const int chunks : {2, 3})
      for (const int microbatches : {1, 2, 4, 7})
        for (const bool fused : {false, true}) {
          const Schedule lowered = lower(test::looped_table(pipeline, chunks, microbatches, fused), {.tied = true});
          const auto problem = find_problem(lowered);
          ASSERT_FALSE(problem) << pipeline << chunks << microbatches << problem->message;
          EXPECT_EQ(count(lowered, 0, Work::send_activation), pipeline > 1 ? chunks * microbatches : 0);
        }
}

TEST(Lower, NothingTravelsWithinARank) {
  const Schedule lowered = lower(schedule_from_csv("0F0,3F0,3B0,0B0\n1F0,2F0,2B0,1B0\n", "f", "v"), {.tied = true});
  EXPECT_EQ(text(lowered),
            "rank 0: G 0F0 0F0>1 3F0<2 3F0 3B0 3I0>2 0I0<1 0B0 R N U\n"
            "rank 1: G 1F0<0 1F0 2F0 2F0>3 2I0<3 2B0 1B0 1I0>0 R N U\n");
}

TEST(Lower, RefusesWrongTablesAndLoweredOnes) {
  EXPECT_THROW(lower(test::table(1, 1, {"0B0 0F0"}, false)), InputError);
  EXPECT_THROW(lower(lower(generate({}))), LogicError);
}

}  // namespace
}  // namespace penstock::lower_test

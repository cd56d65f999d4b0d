#include "pipeline/slots.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/error.hpp"
#include "schedule/generate.hpp"
#include "schedule/lower.hpp"
#include "schedule/tables.hpp"

namespace penstock {
namespace {

TEST(SlotPool, HandsOutTheSlotThatWasFreedFirst) {
  SlotPool pool;
  EXPECT_EQ(pool.take(10), 0);
  EXPECT_EQ(pool.take(11), 1);
  EXPECT_EQ(pool.take(12), 2);
  pool.release(11);
  pool.release(10);
  EXPECT_EQ(pool.take(13), 1);
  EXPECT_EQ(pool.take(14), 0);
  EXPECT_EQ(pool.take(15), 3);
  EXPECT_EQ(pool.slots(), 4);
}

TEST(SlotPool, LetsASlotRestWhileAnotherIsUsed) {
  SlotPool pool(1);
  EXPECT_EQ(pool.take(10), 0);
  pool.release(10);
  EXPECT_EQ(pool.take(11), 1) << "slot 0 may still be on its way";
  pool.release(11);
  EXPECT_EQ(pool.take(12), 0);
  pool.release(12);
  EXPECT_EQ(pool.take(13), 1);
  EXPECT_EQ(pool.slots(), 2);
}

TEST(SlotPool, NoSlotRestsWhereThereAreNoMore) {
  SlotPool pool(1);
  pool.limit(1);
  EXPECT_EQ(pool.take(10), 0);
  EXPECT_THROW(pool.take(11), LogicError);
  pool.release(10);
  EXPECT_EQ(pool.take(11), 0) << "whoever takes it waits for what is sent from it";
}

TEST(SlotPool, AKeyKeepsItsSlot) {
  SlotPool pool;
  pool.take(3);
  EXPECT_EQ(pool.take(5), 1);
  EXPECT_EQ(pool.take(5), 1) << "taking again takes nothing";
  EXPECT_EQ(pool.of(5), 1);
  EXPECT_TRUE(pool.has(5));
  EXPECT_FALSE(pool.has(4));
  EXPECT_EQ(pool.slots(), 2);
}

TEST(SlotPool, RefusesWhatWasNotTaken) {
  SlotPool pool;
  EXPECT_THROW(pool.of(1), LogicError);
  EXPECT_THROW(pool.release(1), LogicError);
  pool.take(1);
  pool.release(1);
  EXPECT_THROW(pool.release(1), LogicError) << "released twice";
  EXPECT_THROW(pool.of(1), LogicError);
}

// The largest number of intervals [first, last] of a row that.
int overlap(const std::map<int, std::pair<int, int>>& interval_of_microbatch) {
  int most = 0;
  for (const auto& [key, at] : interval_of_microbatch) {
    int here = 0;
    for (const auto& [other, interval] : interval_of_microbatch)
      here += interval.first <= at.first && at.first <= interval.second;
    most = std::max(most, here);
  }
  return most;
}

/// The first and the last place of those launched together with a place of the row.
std::pair<int, int> launch_of(const Schedule& schedule, int rank, int place) {
  const std::vector<Action>& row = schedule.row(rank);
  int first = place;
  while (row[static_cast<std::size_t>(first)].joined) --first;
  return {first, static_cast<int>(schedule.launch_end(rank, static_cast<std::size_t>(first))) - 1};
}

/// For each microbatch of a stage: the places in the row of the first and the last of some kinds of work. What is
/// launched together begins and ends together.
std::map<int, std::pair<int, int>> intervals(const Schedule& schedule, int stage, const std::vector<Work>& from,
                                             const std::vector<Work>& to) {
  const auto among = [](const std::vector<Work>& works, Work work) {
    return std::find(works.begin(), works.end(), work) != works.end();
  };
  const int rank = schedule.rank_of_stage(stage);
  const std::vector<Action>& row = schedule.row(rank);
  std::map<int, std::pair<int, int>> found;
  for (int i = static_cast<int>(row.size()) - 1; i >= 0; --i)
    if (row[static_cast<std::size_t>(i)].stage == stage && among(from, row[static_cast<std::size_t>(i)].work))
      found[row[static_cast<std::size_t>(i)].microbatch].first = launch_of(schedule, rank, i).first;
  for (int i = 0; i < static_cast<int>(row.size()); ++i)
    if (row[static_cast<std::size_t>(i)].stage == stage && among(to, row[static_cast<std::size_t>(i)].work))
      found[row[static_cast<std::size_t>(i)].microbatch].second = launch_of(schedule, rank, i).second;
  return found;
}

std::vector<Schedule> lowered_schedules() {
  std::vector<Schedule> all;
  for (const ScheduleRequest& request : test::requests({1, 2, 3, 5}, 7, {1, 2, 3}))
    all.push_back(lower(generate(request), {.tied = true}));
  for (const bool fused : {true, false})
    for (const int microbatches : {1, 2, 5})
      all.push_back(lower(test::looped_table(3, 2, microbatches, fused), {.tied = true}));
  return all;
}

TEST(StageNeeds, ArePeaksOfTheBuffersLives) {
  for (const Schedule& schedule : lowered_schedules())
    for (int rank = 0; rank < schedule.pipeline; ++rank)
      for (const StageNeeds& needs : stage_needs(schedule, rank)) {
        const auto is_here = [&](int stage) {
          return stage >= 0 && stage < schedule.stages && schedule.rank_of_stage(stage) == rank;
        };
        if (is_here(needs.stage - 1) || is_here(needs.stage + 1)) continue;  // these hand buffers on: the test below
        const std::string where = schedule.name + " stage " + std::to_string(needs.stage) + "\n" + text(schedule);
        const std::vector<Work> backward{Work::input_gradient, Work::backward};
        EXPECT_EQ(needs.activations, overlap(intervals(schedule, needs.stage, {Work::receive_activation, Work::forward},
                                                       {Work::weight_gradient, Work::backward})))
            << where;
        EXPECT_EQ(needs.held,
                  overlap(intervals(schedule, needs.stage, backward, {Work::weight_gradient, Work::backward})))
            << where;
        const bool sends = needs.stage + 1 < schedule.stages;
        // A buffer that is sent from rests while others are used: one more than the peak, unless several are free at
        // once whenever one is wanted, or there are no more microbatches.
        const auto expect_resting = [&](int slots, int peak) {
          EXPECT_GE(slots, peak) << where;
          EXPECT_LE(slots, std::min(peak + 1, schedule.microbatches)) << where;
        };
        const int outputs = overlap(intervals(schedule, needs.stage, {Work::forward}, {Work::send_activation}));
        if (sends)
          expect_resting(needs.outputs, outputs);
        else
          EXPECT_EQ(needs.outputs, 0) << where;
        const int gradients =
            overlap(intervals(schedule, needs.stage, {Work::receive_gradient, Work::input_gradient, Work::backward},
                              {Work::send_gradient, Work::input_gradient, Work::backward}));
        if (needs.stage > 0)
          expect_resting(needs.gradients, gradients);
        else
          EXPECT_EQ(needs.gradients, gradients) << where;
      }
}

TEST(StageNeeds, FifoKeepsEveryMicrobatch) {
  for (const ScheduleRequest& request : test::requests({1, 2, 4}, 6)) {
    if (request.name != ScheduleName::fifo && request.name != ScheduleName::breadth_first) continue;
    const Schedule schedule = lower(generate(request));
    for (int rank = 0; rank < request.pipeline; ++rank)
      EXPECT_EQ(stage_needs(schedule, rank).front().activations, request.microbatches) << test::title(request);
  }
}

TEST(StageNeeds, OneForwardOneBackwardKeepsAsManyAsStagesBehind) {
  for (const ScheduleRequest& request : test::requests({1, 2, 4, 6}, 9)) {
    if (request.name != ScheduleName::one_forward_one_backward) continue;
    const Schedule schedule = lower(generate(request));
    for (int rank = 0; rank < request.pipeline; ++rank) {
      const int needed = stage_needs(schedule, rank).front().activations;
      const int computing = std::min(request.pipeline - rank, request.microbatches);
      EXPECT_GE(needed, computing) << test::title(request);
      // An input may come in while the microbatches that are counted are still here; on rank 0 nothing comes in.
      EXPECT_LE(needed, std::min(computing + (rank > 0 ? 1 : 0), request.microbatches))
          << test::title(request) << " rank " << rank;
    }
  }
}

TEST(StageNeeds, WeightGradientsRightBehindHoldOne) {
  for (const ScheduleRequest& request : test::requests({1, 2, 4}, 5)) {
    if (request.name >= ScheduleName::zb_h1) continue;
    const Schedule schedule = lower(generate(request));
    for (int rank = 0; rank < request.pipeline; ++rank)
      EXPECT_EQ(stage_needs(schedule, rank).front().held, 1) << test::title(request);
  }
}

TEST(StageNeeds, DeferredWeightGradientsAreHeld) {
  const Schedule schedule =
      lower(test::table(2, 3, {"0F0 0F1 0F2 0I0 0I1 0I2 0W0 0W1 0W2", "1F0 1B0 1F1 1B1 1F2 1B2"}, false));
  EXPECT_EQ(stage_needs(schedule, 0).front().held, 3);
  EXPECT_EQ(stage_needs(schedule, 0).front().activations, 3);
  EXPECT_EQ(stage_needs(schedule, 1).front().held, 1);
}

TEST(StageNeeds, SayEachStageOfARank) {
  const Schedule schedule = lower(test::looped_table(2, 3, 2, true));
  const std::vector<StageNeeds> needs = stage_needs(schedule, 1);
  ASSERT_EQ(needs.size(), 3U);
  EXPECT_EQ(needs[0].stage, 1);
  EXPECT_EQ(needs[1].stage, 3);
  EXPECT_EQ(needs[2].stage, 5);
  EXPECT_EQ(needs[2].outputs, 0) << "the last stage sends no activations";
}

TEST(StageNeeds, AChainHandsItsBuffersOn) {
  // Stages 1 and 2 share rank 1: 1 writes its output into 2's input, and the gradient stays in one buffer of stage 2.
  const Schedule v = lower(generate({.name = ScheduleName::zb_v, .pipeline = 2, .microbatches = 6}), {.tied = true});
  const std::vector<StageNeeds> turn = stage_needs(v, 1);
  ASSERT_EQ(turn.size(), 2U);
  EXPECT_EQ(turn[0].outputs, 0);
  EXPECT_EQ(turn[0].gradients, 0);
  EXPECT_GT(turn[1].gradients, 0);
  EXPECT_GT(turn[1].outputs, 0);
  const std::vector<StageNeeds> ends = stage_needs(v, 0);
  EXPECT_GT(ends[0].outputs, 0);
  EXPECT_GT(ends[0].gradients, 0);
  EXPECT_EQ(ends[1].outputs, 0) << "the last stage";
  // All stages on one rank: one buffer goes down the whole chain.
  const std::vector<StageNeeds> alone =
      stage_needs(lower(generate({.name = ScheduleName::ring, .pipeline = 1, .microbatches = 3, .chunks = 3})), 0);
  ASSERT_EQ(alone.size(), 3U);
  for (const StageNeeds& needs : alone) EXPECT_EQ(needs.outputs, 0);
  EXPECT_EQ(alone[0].gradients + alone[1].gradients, 0);
}

TEST(StageNeeds, DeferredWeightGradientsAreHeldAsLongAsTheScheduleSays) {
  for (const int m : {4, 9})
    for (const ScheduleName name : {ScheduleName::zb_h1, ScheduleName::zb_h2}) {
      const Schedule schedule = lower(generate({.name = name, .pipeline = 4, .microbatches = m}), {.tied = true});
      const int times = name == ScheduleName::zb_h2 ? 2 : 1;
      for (int rank = 0; rank < 4; ++rank)
        EXPECT_EQ(stage_needs(schedule, rank).front().held, std::min(times * rank + 1, m)) << text(schedule);
    }
}

TEST(Slots, AreAllFreeAtTheEndOfEveryRow) {
  for (const Schedule& schedule : lowered_schedules())
    for (int rank = 0; rank < schedule.pipeline; ++rank) {
      RankPools pools(schedule, rank);
      for (const Action& action : schedule.row(rank)) {
        pools.take(action);
        pools.release(action);
      }
      for (const auto& [stage, p] : pools.stages())
        for (int m = 0; m < schedule.microbatches; ++m)
          EXPECT_FALSE(p.activations.has(m) || p.held.has(m) || p.outputs.has(m) || p.gradients.has(m))
              << text(schedule);
    }
}

}  // namespace
}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#include "pipeline/row_plan.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "pipeline/evaluation_schedule.hpp"
#include "schedule/generate.hpp"
#include "schedule/lower.hpp"
#include "schedule/tables.hpp"

namespace penstock::row_plan_test {
namespace {

/// From the first to the last place in a row.
using Life = std::pair<int, int>;

/// The largest number of lifetimes that share a place.
int overlap(const std::vector<Life>& lives) {
  int most = 0;
  for (const Life& at : lives)
    most = std::max(most, static_cast<int>(std::count_if(lives.begin(), lives.end(), [&](const Life& life) {
                      return life.first <= at.first && at.first <= life.second;
                    })));
  return most;
}

/// Stages of one block and of several.
std::vector<StagePart> parts_of_stages(int stages, int most_blocks) {
  std::vector<StagePart> parts;
  for (int stage = 0; stage < stages; ++stage)
    parts.push_back(
        {.stage = stage, .blocks = 1 + stage % most_blocks, .embedding = stage == 0, .head = stage + 1 == stages});
  return parts;
}

RowPlan plan_of(const Schedule& schedule, int rank, int most_blocks = 1) {
  return {schedule, rank, parts_of_stages(schedule.stages, most_blocks)};
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

/// The same, without the microbatches.
std::vector<Life> lives(const Schedule& schedule, int stage, const std::vector<Work>& from,
                        const std::vector<Work>& to) {
  std::vector<Life> all;
  for (const auto& [microbatch, life] : intervals(schedule, stage, from, to)) all.push_back(life);
  return all;
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

const std::vector<Work> any_backward{Work::input_gradient, Work::backward};
const std::vector<Work> last_use{Work::weight_gradient, Work::backward};

bool is_here(const Schedule& schedule, int rank, int stage) {
  return stage >= 0 && stage < schedule.stages && schedule.rank_of_stage(stage) == rank;
}

/// Lives of the memories of blocks, written down apart from the planner.
struct BlockLives {
  std::vector<Life> activations, held;
};
BlockLives block_lives(const Schedule& schedule, int rank, const std::vector<StagePart>& parts) {
  BlockLives all;
  for (const int stage : schedule.stages_of_rank(rank)) {
    const int blocks = parts[static_cast<std::size_t>(stage)].blocks;
    const auto arrivals = intervals(schedule, stage, {Work::receive_activation, Work::forward}, last_use);
    for (auto [microbatch, life] : intervals(schedule, stage, {Work::forward}, last_use)) {
      all.activations.insert(all.activations.end(), static_cast<std::size_t>(blocks - 1), life);
      life.first = arrivals.at(microbatch).first;
      if (is_here(schedule, rank, stage - 1))  // the stage before writes its output there
        life.first = intervals(schedule, stage - 1, {Work::forward}, last_use).at(microbatch).first;
      all.activations.push_back(life);
    }
    for (const auto& [microbatch, life] : intervals(schedule, stage, {Work::input_gradient}, {Work::weight_gradient}))
      all.held.insert(all.held.end(), static_cast<std::size_t>(blocks), life);
    for (const Life& life : lives(schedule, stage, {Work::backward}, {Work::backward})) all.held.push_back(life);
  }
  return all;
}

TEST(RowPlan, BlocksNeedThePeakOfTheirLives) {
  for (const Schedule& schedule : lowered_schedules())
    for (const int most_blocks : {1, 3})
      for (int rank = 0; rank < schedule.pipeline; ++rank) {
        const std::vector<StagePart> parts = parts_of_stages(schedule.stages, most_blocks);
        const RowNeeds needs = RowPlan(schedule, rank, parts).needs();
        const BlockLives blocks = block_lives(schedule, rank, parts);
        EXPECT_EQ(needs.activations, overlap(blocks.activations)) << text(schedule) << " rank " << rank;
        EXPECT_EQ(needs.held, overlap(blocks.held)) << text(schedule) << " rank " << rank;
      }
}

TEST(RowPlan, TheHeadNeedsThePeakOfItsLives) {
  for (const Schedule& schedule : lowered_schedules())
    for (int rank = 0; rank < schedule.pipeline; ++rank) {
      const RowNeeds needs = plan_of(schedule, rank).needs();
      const int last = schedule.stages - 1;
      const bool here = schedule.rank_of_stage(last) == rank;
      const auto peak = [&](const std::vector<Work>& from, const std::vector<Work>& to) {
        return here ? overlap(lives(schedule, last, from, to)) : 0;
      };
      EXPECT_EQ(needs.head.ends, peak({Work::forward}, any_backward)) << text(schedule);
      EXPECT_EQ(needs.head.held, peak(any_backward, last_use)) << text(schedule);
    }
}

TEST(RowPlan, BuffersNeedThePeakOfTheirLivesAndOneThatRests) {
  for (const Schedule& schedule : lowered_schedules())
    for (int rank = 0; rank < schedule.pipeline; ++rank) {
      const RowNeeds needs = plan_of(schedule, rank).needs();
      for (const auto& [stage, buffers] : needs.buffers) {
        if (is_here(schedule, rank, stage - 1) || is_here(schedule, rank, stage + 1)) continue;  // handed on: see below
        const std::string where = schedule.name + " stage " + std::to_string(stage) + "\n" + text(schedule);
        // A buffer that is sent from rests while others are used: one more than the peak, unless several are free at
        // once whenever one is wanted, or there are no more microbatches.
        const auto expect_resting = [&](int slots, int peak) {
          EXPECT_GE(slots, peak) << where;
          EXPECT_LE(slots, std::min(peak + 1, schedule.microbatches)) << where;
        };
        if (stage + 1 < schedule.stages)
          expect_resting(buffers.outputs, overlap(lives(schedule, stage, {Work::forward}, {Work::send_activation})));
        else
          EXPECT_EQ(buffers.outputs, 0) << where;
        const int gradients =
            overlap(lives(schedule, stage, {Work::receive_gradient, Work::input_gradient, Work::backward},
                          {Work::send_gradient, Work::input_gradient, Work::backward}));
        if (stage > 0)
          expect_resting(buffers.gradients, gradients);
        else
          EXPECT_EQ(buffers.gradients, gradients) << where;
      }
    }
}

TEST(RowPlan, StagesOfARankShareWhatTheyNeedAtDifferentTimes) {
  const Schedule ring = lower(generate({.name = ScheduleName::ring, .pipeline = 4, .microbatches = 8, .chunks = 2}));
  for (int rank = 0; rank < 4; ++rank) {
    int apart = 0;
    for (const int stage : ring.stages_of_rank(rank))
      apart += overlap(lives(ring, stage, {Work::receive_activation, Work::forward}, last_use));
    const int shared = plan_of(ring, rank).needs().activations;
    EXPECT_LE(shared, apart);
    if (rank > 0) {
      EXPECT_LT(shared, apart) << "rank " << rank;
    }
    // An input may come in one action before the microbatches that are counted are fewer again.
    EXPECT_GE(shared, ring.peak_activations()[static_cast<std::size_t>(rank)]);
    EXPECT_LE(shared, ring.peak_activations()[static_cast<std::size_t>(rank)] + 2);
  }
}

TEST(RowPlan, NoMemoryHasTwoMicrobatchesAtOnce) {
  using Owner = std::tuple<int, int, std::size_t>;  // stage, microbatch, block
  for (const Schedule& schedule : lowered_schedules())
    for (int rank = 0; rank < schedule.pipeline; ++rank) {
      const RowPlan plan = plan_of(schedule, rank, 3);
      std::map<int, Owner> owners;
      for (std::size_t i = 0; i < plan.size(); ++i) {
        const auto& [work, stage, microbatch, joined] = plan[i].action;
        const std::vector<int>& blocks = plan[i].at.activations;
        for (std::size_t block = 0; block < blocks.size(); ++block) {
          const Owner owner{stage, microbatch, block};
          const auto found = owners.emplace(blocks[block], owner).first;
          ASSERT_EQ(found->second, owner) << text(schedule) << " rank " << rank << " at " << i;
          if (work == Work::weight_gradient || work == Work::backward) owners.erase(found);
        }
      }
      EXPECT_TRUE(owners.empty()) << "all are free at the end of the row";
    }
}

TEST(RowPlan, ActionsAwaitTheTransfersOfTheirBuffers) {
  for (const Schedule& schedule : lowered_schedules())
    for (int rank = 0; rank < schedule.pipeline; ++rank) {
      const RowPlan plan = plan_of(schedule, rank);
      std::map<std::tuple<bool, int, int>, std::size_t> sent;  // gradients or outputs, stage, buffer
      std::map<std::tuple<Work, int, int>, std::size_t> places;
      for (std::size_t i = 0; i < plan.size(); ++i) {
        const PlannedAction& planned = plan[i];
        const auto& [work, stage, microbatch, joined] = planned.action;
        const auto expect_awaited = [&, i = i](const auto& transfers, const auto& key) {
          const auto found = transfers.find(key);
          if (found == transfers.end()) return;
          EXPECT_EQ(std::count(planned.awaits.begin(), planned.awaits.end(), found->second), 1)
              << text(schedule) << " rank " << rank << " at " << i;
        };
        const bool goes_back = work == Work::input_gradient || work == Work::backward;
        if (work == Work::forward) {
          expect_awaited(places, std::tuple(Work::receive_activation, stage, microbatch));
          if (const auto* output = std::get_if<OutputBuffer>(&planned.output))
            expect_awaited(sent, std::tuple(false, stage, output->buffer));
        }
        if (goes_back) expect_awaited(places, std::tuple(Work::receive_gradient, stage, microbatch));
        if (goes_back || work == Work::receive_gradient)
          expect_awaited(sent, std::tuple(true, planned.gradient.value().stage, planned.gradient.value().buffer));
        for (const std::size_t place : planned.awaits) {
          EXPECT_LT(place, i);
          EXPECT_TRUE(is_transfer(plan[place].action.work));
        }
        places[{work, stage, microbatch}] = i;
        if (work == Work::send_activation) sent[{false, stage, std::get<OutputBuffer>(planned.output).buffer}] = i;
        if (work == Work::send_gradient)
          sent[{true, planned.gradient.value().stage, planned.gradient.value().buffer}] = i;
      }
    }
}

TEST(RowPlan, AnEvaluationFitsIntoTheTrainingsMemory) {
  for (const Schedule& schedule : lowered_schedules())
    for (int rank = 0; rank < schedule.pipeline; ++rank) {
      const std::vector<StagePart> parts = parts_of_stages(schedule.stages, 3);
      const RowNeeds needs = RowPlan(schedule, rank, parts).needs();
      const Schedule evaluation = evaluation_schedule(schedule, schedule.microbatches);
      EXPECT_NO_THROW(RowPlan(evaluation, rank, parts, needs)) << text(schedule);
    }
}

TEST(RowPlan, RefusesTooLittleMemory) {
  const Schedule schedule = lower(generate({.name = ScheduleName::fifo, .pipeline = 2, .microbatches = 3}));
  const std::vector<StagePart> parts = parts_of_stages(2, 1);
  RowNeeds needs = RowPlan(schedule, 0, parts).needs();
  EXPECT_NO_THROW(RowPlan(schedule, 0, parts, needs));
  --needs.activations;
  EXPECT_THROW(RowPlan(schedule, 0, parts, needs), LogicError);
}

TEST(RowPlan, FifoKeepsEveryMicrobatch) {
  for (const ScheduleRequest& request : test::requests({1, 2, 4}, 6)) {
    if (request.name != ScheduleName::fifo && request.name != ScheduleName::breadth_first) continue;
    const Schedule schedule = lower(generate(request));
    for (int rank = 0; rank < request.pipeline; ++rank)
      EXPECT_EQ(plan_of(schedule, rank).needs().activations, request.microbatches * request.chunks)
          << test::title(request);
  }
}

TEST(RowPlan, OneForwardOneBackwardKeepsAsManyAsStagesBehind) {
  for (const ScheduleRequest& request : test::requests({1, 2, 4, 6}, 9)) {
    if (request.name != ScheduleName::one_forward_one_backward) continue;
    const Schedule schedule = lower(generate(request));
    for (int rank = 0; rank < request.pipeline; ++rank) {
      const int needed = plan_of(schedule, rank).needs().activations;
      const int computing = std::min(request.pipeline - rank, request.microbatches);
      EXPECT_GE(needed, computing) << test::title(request);
      // An input may come in while the microbatches that are counted are still here; on rank 0 nothing comes in.
      EXPECT_LE(needed, std::min(computing + (rank > 0 ? 1 : 0), request.microbatches))
          << test::title(request) << " rank " << rank;
    }
  }
}

TEST(RowPlan, WeightGradientsRightBehindHoldOne) {
  for (const ScheduleRequest& request : test::requests({1, 2, 4}, 5)) {
    if (request.name >= ScheduleName::zb_h1) continue;
    const Schedule schedule = lower(generate(request));
    for (int rank = 0; rank < request.pipeline; ++rank)
      EXPECT_EQ(plan_of(schedule, rank).needs().held, 1) << test::title(request);
  }
}

TEST(RowPlan, DeferredWeightGradientsAreHeld) {
  const Schedule schedule =
      lower(test::table(2, 3, {"0F0 0F1 0F2 0I0 0I1 0I2 0W0 0W1 0W2", "1F0 1B0 1F1 1B1 1F2 1B2"}, false));
  EXPECT_EQ(plan_of(schedule, 0).needs().held, 3);
  EXPECT_EQ(plan_of(schedule, 0).needs().activations, 3);
  EXPECT_EQ(plan_of(schedule, 1).needs().held, 1);
}

TEST(RowPlan, AChainHandsItsBuffersOn) {
  // Stages 1 and 2 share rank 1: 1 writes its output into 2's input, and the gradient stays in one buffer of stage 2.
  const Schedule v = lower(generate({.name = ScheduleName::zb_v, .pipeline = 2, .microbatches = 6}), {.tied = true});
  const RowNeeds turn = plan_of(v, 1).needs();
  EXPECT_EQ(turn.buffers.at(1), (RowNeeds::Buffers{0, 0}));
  EXPECT_GT(turn.buffers.at(2).gradients, 0);
  EXPECT_GT(turn.buffers.at(2).outputs, 0);
  const RowNeeds ends = plan_of(v, 0).needs();
  EXPECT_GT(ends.buffers.at(0).outputs, 0);
  EXPECT_GT(ends.buffers.at(0).gradients, 0);
  EXPECT_EQ(ends.buffers.at(3).outputs, 0) << "the last stage";
  // All stages on one rank: one buffer goes down the whole chain.
  const Schedule ring = lower(generate({.name = ScheduleName::ring, .pipeline = 1, .microbatches = 3, .chunks = 3}));
  const RowNeeds alone = plan_of(ring, 0).needs();
  ASSERT_EQ(alone.buffers.size(), 3U);
  for (const auto& [stage, buffers] : alone.buffers) EXPECT_EQ(buffers.outputs, 0);
  EXPECT_EQ(alone.buffers.at(0).gradients + alone.buffers.at(1).gradients, 0);
}

TEST(RowPlan, DeferredWeightGradientsAreHeldAsLongAsTheScheduleSays) {
  for (const int m : {4, 9})
    for (const ScheduleName name : {ScheduleName::zb_h1, ScheduleName::zb_h2}) {
      const Schedule schedule = lower(generate({.name = name, .pipeline = 4, .microbatches = m}), {.tied = true});
      const int times = name == ScheduleName::zb_h2 ? 2 : 1;
      for (int rank = 0; rank < 4; ++rank)
        EXPECT_EQ(plan_of(schedule, rank).needs().held, std::min(times * rank + 1, m)) << text(schedule);
    }
}

TEST(RowPlan, AStageOpensWithItsFirstForwardAndClosesWithItsLastWeightGradient) {
  for (const Schedule& schedule : lowered_schedules())
    for (int rank = 0; rank < schedule.pipeline; ++rank) {
      const RowPlan plan(schedule, rank, parts_of_stages(schedule.stages, 1));
      std::map<int, int> opened, closed;
      for (std::size_t i = 0; i < plan.size(); ++i) {
        const auto& [work, stage, microbatch, joined] = plan[i].action;
        if (is_compute(work)) {
          EXPECT_EQ(opened[stage], plan[i].opens_stage ? 0 : 1) << text(schedule) << " rank " << rank << " place " << i;
          EXPECT_EQ(closed[stage], 0) << "nothing touches the gradients behind it; " << text(schedule);
        }
        opened[stage] += plan[i].opens_stage;
        closed[stage] += plan[i].closes_stage;
      }
      for (const int stage : schedule.stages_of_rank(rank)) {
        EXPECT_EQ(opened[stage], 1);
        EXPECT_EQ(closed[stage], 1);
      }
    }
}

TEST(RowPlan, TheFirstGradientsOfAStageInTheRowOverwrite) {
  const auto accumulates = [](const std::string& row) {
    std::vector<Accumulate> all;
    const Schedule schedule = test::table(1, 3, {row}, false);
    const RowPlan plan = plan_of(schedule, 0);
    for (std::size_t i = 0; i < plan.size(); ++i)
      if (plan[i].action.work != Work::forward) all.push_back(plan[i].accumulate);
    return all;
  };
  constexpr Accumulate none{.norms = false, .products = false}, norms{.norms = true, .products = false}, all;
  EXPECT_EQ(accumulates("0F0 0B0 0F1 0B1 0F2 0B2"), (std::vector{none, all, all}));
  // Another microbatch than 0 may come first, and not the same one with both kinds of gradients.
  EXPECT_EQ(accumulates("0F0 0F1 0F2 0I2 0B1 0I0 0W0 0W2"), (std::vector{none, norms, all, all, all}));
  EXPECT_EQ(accumulates("0F0 0F1 0F2 0I1 0I2 0W2 0W1 0B0"), (std::vector{none, norms, norms, all, all}));
}

}  // namespace
}  // namespace penstock::row_plan_test

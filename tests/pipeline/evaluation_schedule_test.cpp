// SPDX-License-Identifier: Apache-2.0
#include "pipeline/evaluation_schedule.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "schedule/generate.hpp"
#include "schedule/lower.hpp"
#include "schedule/tables.hpp"

namespace penstock::evaluation_schedule_test {
namespace {

std::vector<Schedule> training_schedules() {
  std::vector<Schedule> all;
  for (const ScheduleRequest& request : test::requests({1, 2, 3, 4}, 3))
    all.push_back(lower(generate(request), {.tied = true}));
  all.push_back(lower(test::looped_table(2, 2, 3, false), {.tied = true}));
  return all;
}

/// Whether all rows come to their ends when a send completes only once its receive is posted.
bool ends_under_rendezvous(const Schedule& schedule) {
  std::vector<std::size_t> at(static_cast<std::size_t>(schedule.pipeline), 0);
  const auto current = [&](int rank) -> const Action* {
    const std::vector<Action>& row = schedule.row(rank);
    const std::size_t place = at[static_cast<std::size_t>(rank)];
    return place < row.size() ? &row[place] : nullptr;
  };
  for (bool moved = true; moved;) {
    moved = false;
    for (int rank = 0; rank < schedule.pipeline; ++rank) {
      const Action* action = current(rank);
      if (!action || is_receive(action->work)) continue;  // a receive moves with its send
      if (is_send(action->work)) {
        const int peer = schedule.rank_of_stage(peer_stage(*action));
        const Action* other = current(peer);
        if (!other || *other != counterpart(*action)) continue;
        ++at[static_cast<std::size_t>(peer)];
      }
      ++at[static_cast<std::size_t>(rank)];
      moved = true;
    }
  }
  for (int rank = 0; rank < schedule.pipeline; ++rank)
    if (current(rank)) return false;
  return true;
}

TEST(EvaluationSchedule, ForwardsEveryMicrobatchThroughEveryStageOnce) {
  for (const Schedule& training : training_schedules())
    for (const int microbatches : {1, 2, 6}) {
      const Schedule schedule = evaluation_schedule(training, microbatches);
      EXPECT_EQ(schedule.microbatches, microbatches);
      std::map<Action, int> forwards;
      for (int rank = 0; rank < schedule.pipeline; ++rank)
        for (const Action& action : schedule.row(rank)) {
          if (action.work != Work::forward) continue;
          EXPECT_EQ(schedule.rank_of_stage(action.stage), rank);
          ++forwards[action];
        }
      EXPECT_EQ(forwards.size(), static_cast<std::size_t>(schedule.stages * microbatches));
      for (const auto& [action, count] : forwards) EXPECT_EQ(count, 1) << action.text();
    }
}

TEST(EvaluationSchedule, HoldsNoBackwardSumOrUpdate) {
  const std::set<Work> allowed{Work::gather_parameters, Work::forward, Work::send_activation, Work::receive_activation,
                               Work::norm};
  for (const Schedule& training : training_schedules()) {
    const Schedule schedule = evaluation_schedule(training, 3);
    for (const std::vector<Action>& row : schedule.rows) {
      for (const Action& action : row) EXPECT_TRUE(allowed.contains(action.work)) << action.text();
      EXPECT_EQ(row.front().work, Work::gather_parameters);
      EXPECT_EQ(row.back().work, Work::norm);
    }
  }
}

TEST(EvaluationSchedule, ReceivesBeforeAndSendsBehindEveryForward) {
  for (const Schedule& training : training_schedules()) {
    const Schedule schedule = evaluation_schedule(training, 2);
    for (const std::vector<Action>& row : schedule.rows)
      for (std::size_t i = 0; i < row.size(); ++i) {
        if (row[i].work != Work::forward) continue;
        const auto elsewhere = [&](int neighbour) {
          return neighbour >= 0 && neighbour < schedule.stages &&
                 schedule.rank_of_stage(neighbour) != schedule.rank_of_stage(row[i].stage);
        };
        if (elsewhere(row[i].stage - 1)) {
          EXPECT_EQ(row[i - 1], (Action{Work::receive_activation, row[i].stage, row[i].microbatch}));
        }
        if (elsewhere(row[i].stage + 1)) {
          EXPECT_EQ(row[i + 1], (Action{Work::send_activation, row[i].stage, row[i].microbatch}));
        }
      }
  }
}

TEST(EvaluationSchedule, EndsUnderRendezvous) {
  for (const Schedule& training : training_schedules())
    for (const int microbatches : {1, 2, 5})
      EXPECT_TRUE(ends_under_rendezvous(evaluation_schedule(training, microbatches)))
          << text(evaluation_schedule(training, microbatches));
}

}  // namespace
}  // namespace penstock::evaluation_schedule_test

// SPDX-License-Identifier: Apache-2.0
#include "schedule/lower.hpp"

#include <algorithm>
#include <tuple>
#include <vector>

#include "base/error.hpp"
#include "schedule/prerequisites.hpp"
#include "schedule/simulate.hpp"
#include "schedule/validate.hpp"

namespace penstock {
namespace {

using Times = std::vector<std::vector<Span>>;  // [pipeline][row]

/// One end of a transfer, for a row.
struct TransferEnd {
  double moment = 0;  // when its data is made
  Action action;
  /// Both ends of a transfer have the same sort key: the moment, then what the sender does.
  auto order() const {
    const Action send = is_send(action.work) ? action : counterpart(action);
    return std::tuple(moment, send.work, send.stage, send.microbatch);
  }
};

/// When what is sent is made, by ActionIds: the ends of F, I and B.
std::vector<double> ends_of_parts(const Schedule& schedule, const Times& times, const ActionIds& ids) {
  std::vector<double> ends(ids.size(), 0);
  for (int rank = 0; rank < schedule.pipeline; ++rank)
    for (std::size_t i = 0; i < schedule.row(rank).size(); ++i)
      for (const Action& part : parts_of(schedule.row(rank)[i]))
        ends[ids.id(rank, part)] = times[static_cast<std::size_t>(rank)][i].end;
  return ends;
}

/// What must be done before a send is launched.
Need made_before(const Action& send, int sender, const Schedule& schedule) {
  Need made;
  const bool nothing = every_prerequisite(send, sender, schedule, [&](const Need& need) {
    made = need;
    return need.until != Until::done;
  });
  ensure(!nothing, "lower: a send of nothing");
  return made;
}

/// The transfers of each rank, in the order in which it launches them.
std::vector<std::vector<TransferEnd>> find_transfers(const Schedule& schedule, const Times& times) {
  const ActionIds ids(schedule);
  const std::vector<double> ends = ends_of_parts(schedule, times, ids);
  std::vector<std::vector<TransferEnd>> transfers(static_cast<std::size_t>(schedule.pipeline));
  for (int rank = 0; rank < schedule.pipeline; ++rank)
    for (const Action& action : schedule.row(rank))
      every_prerequisite(action, rank, schedule, [&](const Need& need) {
        if (!is_receive(need.action.work)) return true;
        const Action send = counterpart(need.action);
        const int sender = schedule.rank_of_stage(send.stage);
        const Need made = made_before(send, sender, schedule);
        const double moment = ends[ids.id(made.rank, made.action)];
        transfers[static_cast<std::size_t>(rank)].push_back({moment, need.action});
        transfers[static_cast<std::size_t>(sender)].push_back({moment, send});
        return true;
      });
  for (std::vector<TransferEnd>& of_rank : transfers)
    std::sort(of_rank.begin(), of_rank.end(),
              [](const TransferEnd& a, const TransferEnd& b) { return a.order() < b.order(); });
  return transfers;
}

/// A row with its transfers: each before the first action that does not begin before the transfer's moment.
std::vector<Action> with_transfers(const std::vector<Action>& computing, const std::vector<Span>& times,
                                   const std::vector<TransferEnd>& transfers) {
  std::vector<Action> row;
  row.reserve(computing.size() + transfers.size() + 5);
  auto next = transfers.begin();
  const auto launch_until = [&](auto&& due) {
    for (double last = -1; next != transfers.end() && due(next->moment); ++next) {
      row.push_back(next->action);
      row.back().joined = next->moment == last;
      last = next->moment;
    }
  };
  for (std::size_t i = 0; i < computing.size(); ++i) {
    launch_until([&](double moment) { return moment <= times[i].start; });
    row.push_back(computing[i]);
  }
  launch_until([](double) { return true; });
  return row;
}

void add_whole_step(Schedule& schedule, int rank) {
  std::vector<Action>& row = schedule.rows[static_cast<std::size_t>(rank)];
  const auto once = [](Work work) { return Action{work, whole_step, whole_step}; };
  row.insert(row.begin(), once(Work::gather_parameters));
  row.push_back(once(Work::reduce_gradients));
  if (schedule.sums_tied(rank)) row.push_back(once(Work::tied_sum));
  row.push_back(once(Work::norm));
  row.push_back(once(Work::update));
}

}  // namespace

Schedule lower(const Schedule& schedule, const LowerOptions& options) {
  ensure(!schedule.lowered, "lower: the table is lowered already");
  validate(schedule);
  const Times times = computing_times(schedule);
  Schedule lowered = schedule;
  lowered.lowered = true;
  lowered.tied = options.tied;
  const std::vector<std::vector<TransferEnd>> transfers = find_transfers(lowered, times);
  for (int rank = 0; rank < lowered.pipeline; ++rank) {
    const auto r = static_cast<std::size_t>(rank);
    lowered.rows[r] = with_transfers(schedule.row(rank), times[r], transfers[r]);
    add_whole_step(lowered, rank);
  }
  return lowered;
}

}  // namespace penstock

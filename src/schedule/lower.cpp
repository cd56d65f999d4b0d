#include "schedule/lower.hpp"

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "schedule/prerequisites.hpp"
#include "schedule/validate.hpp"
#include "schedule/walk.hpp"

namespace penstock {
namespace {

/// Sends by the work that makes what they carry: F or I.
using SendsOf = std::map<Action, Action>;

std::vector<Action> receives_of(const Action& action, int rank, const Schedule& schedule) {
  std::vector<Action> receives;
  for (const Need& need : prerequisites(action, rank, schedule))
    if (is_receive(need.action.work)) receives.push_back(need.action);
  return receives;
}

SendsOf find_sends(const Schedule& schedule) {
  SendsOf sends;
  for (int rank = 0; rank < schedule.pipeline; ++rank)
    for (const Action& action : schedule.row(rank))
      for (const Action& receive : receives_of(action, rank, schedule)) {
        const Action send = counterpart(receive);
        const int sender = schedule.rank_of_stage(send.stage);
        for (const Need& need : prerequisites(send, sender, schedule))
          if (need.until == Until::done) sends.emplace(need.action, send);
      }
  return sends;
}

/// Receives right before their use, sends right behind their work: what one would write down first.
std::vector<Action> with_transfers(const Schedule& schedule, int rank, const SendsOf& sends) {
  std::vector<Action> row;
  for (const Action& action : schedule.row(rank)) {
    for (const Action& receive : receives_of(action, rank, schedule)) row.push_back(receive);
    row.push_back(action);
    for (const Action& part : parts_of(action))
      if (const auto send = sends.find(part); send != sends.end()) row.push_back(send->second);
  }
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

/// The send of a circle of waits whose receive shall be taken early.
std::optional<Action> send_to_meet(const Walk& walk) {
  const WaitChain chain = walk.wait_chain();
  std::optional<Action> chosen;
  for (std::size_t i = chain.cycle; i < chain.waits.size(); ++i) {
    const Wait& wait = chain.waits[i];
    const Action& stuck = walk.schedule().row(wait.rank)[wait.index];
    if (is_send(stuck.work) && (!chosen || stuck < *chosen)) chosen = stuck;  // activations stand before gradients
  }
  return chosen;
}

Schedule untangle(Schedule schedule) {
  Walk walk(std::move(schedule));
  for (walk.run(); !walk.finished(); walk.run()) {
    const std::optional<Action> send = send_to_meet(walk);
    // A circle without a send would be one of the computing alone, and that was checked before.
    ensure(send.has_value(), "lower: a circle of waits without a send");
    const Action receive = counterpart(*send);
    walk.move_here(walk.schedule().rank_of_stage(receive.stage), receive);
  }
  return walk.schedule();
}

}  // namespace

Schedule lower(const Schedule& schedule, const LowerOptions& options) {
  ensure(!schedule.lowered, "lower: the table is lowered already");
  validate(schedule);
  Schedule lowered = schedule;
  lowered.lowered = true;
  lowered.tied = options.tied;
  const SendsOf sends = find_sends(lowered);
  for (int rank = 0; rank < lowered.pipeline; ++rank) {
    lowered.rows[static_cast<std::size_t>(rank)] = with_transfers(lowered, rank, sends);
    add_whole_step(lowered, rank);
  }
  return untangle(std::move(lowered));
}

}  // namespace penstock

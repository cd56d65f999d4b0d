// SPDX-License-Identifier: Apache-2.0
#include "schedule/validate.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <vector>

#include "base/error.hpp"
#include "base/fault.hpp"
#include "schedule/prerequisites.hpp"
#include "schedule/walk.hpp"

namespace penstock {
namespace {

/// How often each action is in the table, by ActionIds; B counts as I and W.
using Counts = std::vector<char>;

std::string title(const Schedule& s) {
  return fmt::format("schedule {} ({} stages on {} ranks, {} microbatches)", s.name, s.stages, s.pipeline,
                     s.microbatches);
}

Problem problem_at(const Schedule& schedule, int rank, std::size_t index, const std::string& what) {
  return {rank, index, fmt::format("{}: {}\n  {}", title(schedule), what, row_with_mark(schedule, rank, index))};
}

std::optional<Problem> check_dimensions(const Schedule& s) {
  const auto wrong = [&](const std::string& what) { return Problem{-1, 0, fmt::format("{}: {}", title(s), what)}; };
  if (s.pipeline < 1 || s.microbatches < 1 || s.stages < s.pipeline || s.stages % s.pipeline != 0)
    return wrong(
        "a table has at least one rank and one microbatch, and each rank holds the same number of stages; "
        "change the number of stages, or leave ranks out");
  if (s.rows.size() != static_cast<std::size_t>(s.pipeline))
    return wrong(fmt::format("{} rows; a table has one row a rank: {}", s.rows.size(), s.pipeline));
  if (s.placement.size() != static_cast<std::size_t>(s.stages))
    return wrong(fmt::format("{} stages are placed; place all {}", s.placement.size(), s.stages));
  for (int stage = 0; stage < s.stages; ++stage)
    if (const int rank = s.rank_of_stage(stage); rank < 0 || rank >= s.pipeline)
      return wrong(fmt::format("stage {} is placed on rank {}; ranks go from 0 to {}", stage, rank, s.pipeline - 1));
  for (int rank = 0; rank < s.pipeline; ++rank)
    if (const std::size_t held = s.stages_of_rank(rank).size(); held != static_cast<std::size_t>(s.chunks()))
      return wrong(fmt::format("rank {} holds {} stages; each rank holds the same number: {}", rank, held, s.chunks()));
  return std::nullopt;
}

std::optional<std::string> wrong_cell(const Schedule& s, int rank, std::size_t index) {
  const Action& action = s.row(rank)[index];
  if (!s.lowered && !is_compute(action.work))
    return "a table that is not lowered holds F, I, W and B only: leave it out, lower adds it";
  if (!ActionIds(s).covers(action))
    return fmt::format("stages go from 0 to {}, microbatches from 0 to {}: correct the numbers", s.stages - 1,
                       s.microbatches - 1);
  if (!is_whole_step(action.work) && s.rank_of_stage(action.stage) != rank)
    return fmt::format("stage {} is on rank {}: move it there", action.stage, s.rank_of_stage(action.stage));
  if (action.joined && (!is_transfer(action.work) || index == 0 || !is_transfer(s.row(rank)[index - 1].work)))
    return "it is launched together with the transfer before it (+), but there is none: leave the + out";
  return std::nullopt;
}

std::optional<Problem> check_cells(const Schedule& s) {
  for (int rank = 0; rank < s.pipeline; ++rank)
    for (std::size_t i = 0; i < s.row(rank).size(); ++i)
      if (const auto wrong = wrong_cell(s, rank, i))
        return problem_at(s, rank, i, fmt::format("{} in the row of rank {}: {}", s.row(rank)[i].text(), rank, *wrong));
  return std::nullopt;
}

/// All cells must be present before anything of size stages * microbatches is allocated: one mistyped number in a
/// user's file would take all memory.
std::optional<Problem> check_size(const Schedule& s) {
  std::size_t cells = 0;
  for (const std::vector<Action>& row : s.rows) cells += row.size();
  const std::size_t least = 2 * static_cast<std::size_t>(s.stages) * static_cast<std::size_t>(s.microbatches);
  if (cells >= least) return std::nullopt;
  return Problem{
      -1, 0,
      fmt::format("{}: {} cells, but each stage and microbatch has at least F and B: {}; add what is missing, "
                  "or correct the highest stage or microbatch",
                  title(s), cells, least)};
}

std::optional<Problem> count_cells(const Schedule& s, Counts& counts) {
  const ActionIds ids(s);
  for (int rank = 0; rank < s.pipeline; ++rank)
    for (std::size_t i = 0; i < s.row(rank).size(); ++i)
      for (const Action& part : parts_of(s.row(rank)[i]))
        if (counts[ids.id(rank, part)]++ > 0)
          return problem_at(s, rank, i,
                            fmt::format("{} of rank {} does {} a second time; each action stands in the table once "
                                        "(B does I and W): leave one out",
                                        s.row(rank)[i].text(), rank, part.text()));
  return std::nullopt;
}

/// The last actions of a step; `prerequisites` reaches all others from here.
std::vector<Need> ends_of_step(const Schedule& s) {
  std::vector<Need> ends;
  if (s.lowered)
    for (int rank = 0; rank < s.pipeline; ++rank) ends.push_back({rank, {Work::update, whole_step, whole_step}, {}});
  else
    for (int stage = 0; stage < s.stages; ++stage)
      for (int m = 0; m < s.microbatches; ++m)
        ends.push_back({s.rank_of_stage(stage), {Work::weight_gradient, stage, m}, {}});
  return ends;
}

/// Marks the actions that the step needs; the first need that no cell meets is the problem.
std::optional<Problem> check_missing(const Schedule& s, const Counts& counts, std::vector<char>& needed) {
  const ActionIds ids(s);
  std::vector<Need> open = ends_of_step(s);
  while (!open.empty()) {
    const Need need = open.back();
    open.pop_back();
    char& seen = needed[ids.id(need.rank, need.action)];
    if (seen) continue;
    seen = 1;
    if (counts[ids.id(need.rank, need.action)] == 0)
      return problem_at(s, need.rank, s.row(need.rank).size(),
                        fmt::format("rank {} lacks {} ({}): add it to its row", need.rank, need.action.text(),
                                    name(need.action.work)));
    every_prerequisite(need.action, need.rank, s, [&](const Need& next) {
      if (!needed[ids.id(next.rank, next.action)]) open.push_back(next);
      return true;
    });
  }
  return std::nullopt;
}

std::optional<Problem> check_needless(const Schedule& s, const std::vector<char>& needed) {
  const ActionIds ids(s);
  for (int rank = 0; rank < s.pipeline; ++rank)
    for (std::size_t i = 0; i < s.row(rank).size(); ++i)
      for (const Action& part : parts_of(s.row(rank)[i]))
        if (!needed[ids.id(rank, part)])
          return problem_at(s, rank, i,
                            fmt::format("nothing needs {} of rank {} (a transfer within a rank, or a sum that it takes "
                                        "no part in): leave it out",
                                        part.text(), rank));
  return std::nullopt;
}

std::optional<Problem> check_each_once(const Schedule& s) {
  Counts counts(ActionIds(s).size(), 0);
  if (auto problem = count_cells(s, counts)) return problem;
  std::vector<char> needed(counts.size(), 0);
  if (auto problem = check_missing(s, counts, needed)) return problem;
  return check_needless(s, needed);
}

/// The place of the cell that meets a need: B counts as I and W.
std::size_t index_of(const Schedule& s, const Need& need) {
  const std::vector<Action>& row = s.row(need.rank);
  const auto found = std::find_if(row.begin(), row.end(), [&](const Action& action) {
    const Parts parts = parts_of(action);
    return std::any_of(parts.begin(), parts.end(), [&](const Action& part) { return same_work(part, need.action); });
  });
  return static_cast<std::size_t>(found - row.begin());
}

std::string chain_text(const Schedule& s, const WaitChain& chain) {
  std::string out;
  for (const Wait& wait : chain.waits) {
    const std::size_t there = index_of(s, wait.need);
    out += fmt::format("\n  rank {} at {}: {} waits for rank {} at {}: {}", wait.rank, wait.index,
                       s.row(wait.rank)[wait.index].text(), wait.need.rank, there, s.row(wait.need.rank)[there].text());
  }
  out += fmt::format("\n  and so rank {} waits for itself: a circle. The rows:", chain.waits[chain.cycle].rank);
  for (std::size_t i = chain.cycle; i < chain.waits.size(); ++i)
    out += "\n  " + row_with_mark(s, chain.waits[i].rank, chain.waits[i].index);
  return out;
}

std::optional<Problem> check_deadlock(const Schedule& s) {
  Walk walk(s);
  walk.run();
  if (walk.finished() || planted(Fault::cyclic_table)) return std::nullopt;
  const WaitChain chain = walk.wait_chain();
  // Each action is there once, so a rank at the end of its row has done everything that others can wait for.
  ensure(chain.cycle < chain.waits.size(), "check_deadlock: a chain of waits without a circle");
  const Wait& root = chain.waits[chain.cycle];
  return Problem{
      root.rank, root.index,
      fmt::format("{}: deadlock{}:{}\n  {}", title(s),
                  s.lowered ? ", as a send completes only when its receive is posted" : "", chain_text(s, chain),
                  s.lowered ? "Hand the table to lower without its transfers: it finds an order of them "
                              "that ends."
                            : "Move one of the awaited actions before the one that waits in its row.")};
}

struct Place {
  int rank = 0;
  std::size_t index = 0;
};

/// The transfers of a row, by the rank at their other end.
using PlacesByPeer = std::map<int, std::vector<Place>>;
PlacesByPeer transfers_by_peer(const Schedule& s, int rank, bool (*wanted)(Work)) {
  PlacesByPeer places;
  for (std::size_t i = 0; i < s.row(rank).size(); ++i)
    if (const Action& action = s.row(rank)[i]; wanted(action.work))
      places[s.rank_of_stage(peer_stage(action))].push_back({rank, i});
  return places;
}

/// Messages of a pair of ranks do not always carry names (NCCL's do not): they are received in the order in which they
/// are sent. Only transfers that are launched together could have another order without hanging.
std::optional<Problem> check_message_order(const Schedule& s) {
  if (!s.lowered) return std::nullopt;
  std::vector<PlacesByPeer> receives;  // [receiver]
  for (int rank = 0; rank < s.pipeline; ++rank) receives.push_back(transfers_by_peer(s, rank, is_receive));
  for (int sender = 0; sender < s.pipeline; ++sender) {
    for (const auto& [receiver, sends] : transfers_by_peer(s, sender, is_send)) {
      const std::vector<Place>& arrivals = receives[static_cast<std::size_t>(receiver)][sender];
      for (std::size_t i = 0; i < sends.size(); ++i) {
        const Action& send = s.row(sender)[sends[i].index];
        const Action& receive = s.row(arrivals[i].rank)[arrivals[i].index];
        if (!same_work(counterpart(send), receive))
          return problem_at(
              s, arrivals[i].rank, arrivals[i].index,
              fmt::format("message {} from rank {} to rank {} is sent as {} (place {}) and received as {}; a "
                          "pair's messages are received in the order in which they are sent: swap receives",
                          i, sender, receiver, send.text(), sends[i].index, receive.text()));
      }
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<Problem> find_problem(const Schedule& schedule) {
  for (const auto check :
       {check_dimensions, check_cells, check_size, check_each_once, check_deadlock, check_message_order})
    if (auto problem = check(schedule)) return problem;
  return std::nullopt;
}

void validate(const Schedule& schedule) {
  if (const std::optional<Problem> problem = find_problem(schedule)) throw InputError(problem->message);
}

}  // namespace penstock

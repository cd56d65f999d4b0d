// SPDX-License-Identifier: Apache-2.0
#pragma once
// A judge of tables that shares nothing with the validator.

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "schedule/schedule.hpp"

namespace penstock::test {

/// An independent judge, which knows nothing of `prerequisites`: it really runs the table. Ranks hold named values,
/// computing turns values into values, a transfer copies one when BOTH ends stand at it, sums meet likewise. Transfers
/// that are launched together are stood at together. Messages between two ranks carry no names: the first receive gets
/// what was sent first.
class Machine {
 public:
  explicit Machine(const Schedule& schedule)
      : schedule_(&schedule),
        values_(schedule.rows.size()),
        at_(schedule.rows.size(), 0),
        open_(schedule.rows.size()),
        posted_(schedule.rows.size(), false) {}

  /// Runs to the end by taking whatever move comes first.
  bool accepts() {
    if (!launches_are_whole()) return false;
    const auto take = [this](auto&& move) { return move(*this); };
    while (any_move(take)) {
    }
    return ended_well();
  }

  /// What becomes of the table over ALL interleavings of its ranks.
  struct Outcomes {
    bool ends_well = false;  // some interleaving comes to the end with everything right
    bool stops = false;      // some interleaving comes to where nobody can go on, or goes wrong
  };
  Outcomes all_interleavings() const {
    Outcomes outcomes;
    if (!launches_are_whole()) return {.ends_well = false, .stops = true};
    std::vector<Machine> open{*this};
    std::set<std::string> seen{key()};
    while (!open.empty()) {
      const Machine here = open.back();
      open.pop_back();
      const std::vector<Machine> next = here.successors();
      if (next.empty()) (here.ended_well() ? outcomes.ends_well : outcomes.stops) = true;
      for (const Machine& machine : next)
        if (seen.insert(machine.key()).second) open.push_back(machine);
    }
    return outcomes;
  }

 private:
  const Schedule& table() const { return *schedule_; }
  const std::vector<Action>& row(std::size_t rank) const { return schedule_->rows[rank]; }

  bool ended_well() const {
    for (std::size_t r = 0; r < at_.size(); ++r)
      if (at_[r] != row(r).size()) return false;
    return !wrong_ && complete();
  }

  std::string key() const {
    std::string out = wrong_ ? "wrong" : "";
    for (std::size_t r = 0; r < at_.size(); ++r) {
      out += ' ' + std::to_string(at_[r]) + (posted_[r] ? "+" : "");
      for (const Posted& p : open_[r]) out += ',' + p.value + (p.sends ? '>' : '<');
    }
    return out;
  }
  static std::string value(const char* kind, int stage, int microbatch) {
    return kind + std::to_string(stage) + "." + std::to_string(microbatch);
  }
  bool has(std::size_t rank, const std::string& v) const { return values_[rank].contains(v); }
  /// A value is made and received once a rank.
  void put(std::size_t rank, const std::string& v) { wrong_ |= !values_[rank].insert(v).second; }
  bool stands_at(std::size_t rank, const std::string& action) const {
    return at_[rank] < row(rank).size() && row(rank)[at_[rank]].text() == action;
  }
  bool next(std::size_t rank) {
    ++at_[rank];
    return true;
  }

  /// "+" is only at a transfer after a transfer.
  bool launches_are_whole() const {
    for (const std::vector<Action>& actions : table().rows)
      for (std::size_t i = 0; i < actions.size(); ++i)
        if (actions[i].joined && (i == 0 || !is_transfer(actions[i].work) || !is_transfer(actions[i - 1].work)))
          return false;
    return true;
  }

  /// Offers every move of every rank to `take`, until it takes one. A move that cannot be made changes nothing.
  template <typename Take>
  bool any_move(Take&& take) const {
    for (std::size_t rank = 0; rank < at_.size() && !wrong_; ++rank) {
      if (at_[rank] == row(rank).size()) continue;
      const Action& action = row(rank)[at_[rank]];
      if (!is_transfer(action.work)) {
        if (take([&](Machine& m) { return m.step(rank, action); })) return true;
        continue;
      }
      if (take([&](Machine& m) { return m.post_launch(rank); })) return true;
      for (std::size_t peer = 0; peer < at_.size(); ++peer)
        if (take([&](Machine& m) { return m.meet(rank, peer); })) return true;
      if (take([&](Machine& m) { return m.leave_launch(rank); })) return true;
    }
    return false;
  }

  std::vector<Machine> successors() const {
    std::vector<Machine> out;
    any_move([&](auto&& move) {
      Machine copy = *this;
      if (move(copy)) out.push_back(std::move(copy));
      return false;
    });
    return out;
  }

  std::size_t launch_end(std::size_t rank) const {
    std::size_t end = at_[rank] + 1;
    while (end < row(rank).size() && row(rank)[end].joined) ++end;
    return end;
  }
  bool post_launch(std::size_t rank) {
    if (posted_[rank]) return false;
    for (std::size_t i = at_[rank]; i < launch_end(rank); ++i) post(rank, row(rank)[i]);
    posted_[rank] = true;
    return true;
  }
  bool leave_launch(std::size_t rank) {
    if (!posted_[rank] || !open_[rank].empty()) return false;
    at_[rank] = launch_end(rank);
    posted_[rank] = false;
    return true;
  }

  void post(std::size_t rank, const Action& a) {
    const int peer = peer_stage(a);
    wrong_ |= peer < 0 || peer >= table().stages ||
              table().placement[static_cast<std::size_t>(a.stage)] != static_cast<int>(rank);
    if (wrong_) return;
    const auto to = static_cast<std::size_t>(table().placement[static_cast<std::size_t>(peer)]);
    const char* kind = letter(a.work) == 'F' ? "activation" : "gradient";
    wrong_ |= to == rank || (is_send(a.work) && !has(rank, value(kind, a.stage, a.microbatch)));
    open_[rank].push_back({to, is_send(a.work), value(kind, is_send(a.work) ? a.stage : peer, a.microbatch)});
  }

  /// The first open send of `from` to `to` meets the first open receive there.
  bool meet(std::size_t from, std::size_t to) {
    const auto first = [&](std::size_t rank, std::size_t peer, bool sends) {
      return std::find_if(open_[rank].begin(), open_[rank].end(),
                          [&](const Posted& p) { return p.peer == peer && p.sends == sends; });
    };
    const auto send = first(from, to, true);
    const auto receive = first(to, from, false);
    if (send == open_[from].end() || receive == open_[to].end()) return false;
    wrong_ |= send->value != receive->value;
    put(to, receive->value);
    open_[from].erase(send);
    open_[to].erase(receive);
    return true;
  }

  bool step(std::size_t rank, const Action& a) {
    const int s = a.stage;
    const int m = a.microbatch;
    if (!is_whole_step(a.work) && table().placement[static_cast<std::size_t>(s)] != static_cast<int>(rank))
      return false;
    switch (letter(a.work)) {
      case 'F':
        if (!has(rank, "parameters") || (s > 0 && !has(rank, value("activation", s - 1, m)))) return false;
        put(rank, value("activation", s, m));
        put(rank, value("kept", s, m));
        return next(rank);
      case 'I':
        return input_gradient(rank, s, m) && next(rank);
      case 'B':
        return input_gradient(rank, s, m) && weight_gradient(rank, s, m) && next(rank);
      case 'W':
        return weight_gradient(rank, s, m) && next(rank);
      default:
        return once(rank, letter(a.work));
    }
  }

  bool input_gradient(std::size_t rank, int s, int m) {
    if (!has(rank, value("kept", s, m))) return false;
    if (s + 1 < table().stages && !has(rank, value("gradient", s + 1, m))) return false;
    put(rank, value("gradient", s, m));
    return true;
  }

  bool weight_gradient(std::size_t rank, int s, int m) {
    if (!has(rank, value("gradient", s, m)) || !has(rank, value("kept", s, m))) return false;
    put(rank, value("weights", s, m));
    return true;
  }

  bool all_weights(std::size_t rank) const {
    for (int s = 0; s < table().stages; ++s)
      for (int m = 0; m < table().microbatches; ++m)
        if (table().placement[static_cast<std::size_t>(s)] == static_cast<int>(rank) &&
            !has(rank, value("weights", s, m)))
          return false;
    return true;
  }

  bool sums_tied(std::size_t rank) const {
    const auto first = static_cast<std::size_t>(table().placement.front());
    const auto last = static_cast<std::size_t>(table().placement.back());
    return table().tied && first != last && (rank == first || rank == last);
  }

  bool together(const std::vector<std::size_t>& ranks, const char* action, const char* before, const char* after) {
    for (const std::size_t r : ranks)
      if (!stands_at(r, action) || !has(r, sums_tied(r) && *action == 'N' ? "tied" : before)) return false;
    for (const std::size_t r : ranks) {
      put(r, after);
      next(r);
    }
    return true;
  }

  bool once(std::size_t rank, char what) {
    if (what == 'G') return put(rank, "parameters"), next(rank);
    if (what == 'R') return all_weights(rank) && (put(rank, "reduced"), next(rank));
    if (what == 'U') return has(rank, "norm") && (put(rank, "updated"), next(rank));
    std::vector<std::size_t> ranks;
    for (std::size_t r = 0; r < at_.size(); ++r)
      if (what == 'N' || sums_tied(r)) ranks.push_back(r);
    if (std::find(ranks.begin(), ranks.end(), rank) == ranks.end()) return false;
    return what == 'N' ? together(ranks, "N", "reduced", "norm") : together(ranks, "T", "reduced", "tied");
  }

  bool complete() const {
    for (std::size_t rank = 0; rank < at_.size(); ++rank)
      if (!has(rank, "updated") || !all_weights(rank)) return false;
    return true;
  }

  struct Posted {
    std::size_t peer;
    bool sends;
    std::string value;
  };
  const Schedule* schedule_;
  std::vector<std::set<std::string>> values_;
  std::vector<std::size_t> at_;
  std::vector<std::vector<Posted>> open_;  // of each rank, in the order in which they were posted
  std::vector<char> posted_;
  bool wrong_ = false;
};

}  // namespace penstock::test

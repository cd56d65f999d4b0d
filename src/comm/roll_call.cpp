// SPDX-License-Identifier: Apache-2.0
#include "comm/roll_call.hpp"

#include <fmt/core.h>

#include <algorithm>

namespace penstock {

std::string text(const Place& place) {
  if (place.step == 0) return "before the first step";
  if (place.actions == 0) return fmt::format("after step {}", place.step);
  if (place.name.empty()) return fmt::format("step {}, after its last action", place.step);
  return fmt::format("step {}, action {} of {}: {}", place.step, place.action + 1, place.actions, place.name.text());
}

RollCall::RollCall(int rank, int size, double now) : rank_(rank), states_(static_cast<std::size_t>(size)) {
  for (RankState& state : states_) state.heard = state.moved = now;
}

std::vector<RankState> RollCall::beat(double now) {
  ++own().beats;
  own().heard = now;
  std::vector<RankState> ages = states_;
  for (RankState& state : ages)
    for (double* time : {&state.heard, &state.moved, &state.waits_since}) *time = now - *time;
  return ages;
}

void RollCall::hear(const std::vector<RankState>& states, double now) {
  for (std::size_t rank = 0; rank < states_.size(); ++rank) {
    if (static_cast<int>(rank) == rank_ || states[rank].beats <= states_[rank].beats) continue;
    RankState& known = states_[rank] = states[rank];
    for (double* time : {&known.heard, &known.moved, &known.waits_since}) *time = now - *time;
  }
}

double RollCall::last_move() const {
  return std::max_element(states_.begin(), states_.end(),
                          [](const RankState& a, const RankState& b) { return a.moved < b.moved; })
      ->moved;
}

bool RollCall::is_silent(int rank, double now, double patience) const {
  return rank != rank_ && now - of(rank).heard > patience;
}

std::vector<int> beat_steps(int size) {
  std::vector<int> steps;
  for (int step = 1; step < size; step *= 2)
    for (const int one_way : {step, size - step})
      if (std::find(steps.begin(), steps.end(), one_way) == steps.end()) steps.push_back(one_way);
  return steps;
}

int RollCall::first_ending() const {
  const auto found = std::find_if(states_.begin(), states_.end(), [](const RankState& state) { return state.ending; });
  return found == states_.end() ? -1 : static_cast<int>(found - states_.begin());
}

}  // namespace penstock

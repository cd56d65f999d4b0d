// SPDX-License-Identifier: Apache-2.0
#include "comm/failure_report.hpp"

#include <fmt/core.h>

namespace penstock {

namespace {

std::string place_of(const RollCall& roll, int rank, const FailureFacts& facts) {
  const RankState& state = roll.of(rank);
  const bool silent = roll.is_silent(rank, facts.now, facts.patience_seconds);
  if (silent && state.beats == 0) return "never heard of";
  if (silent)
    return fmt::format("silent for {:.0f} s; last known: {}{}{}", facts.now - state.heard, text(state.place),
                       state.waits_for.empty() ? "" : ", waiting for ", state.waits_for.text());
  if (state.waits_for.empty()) return text(state.place) + ", waited for nobody";
  return fmt::format("{}, waited {:.0f} s for {}", text(state.place), facts.now - state.waits_since,
                     state.waits_for.text());
}

std::string silent_ranks(const RollCall& roll, const FailureFacts& facts) {
  std::string silent;
  for (int rank = 0; rank < roll.size(); ++rank)
    if (roll.is_silent(rank, facts.now, facts.patience_seconds))
      silent += (silent.empty() ? "" : "; ") + facts.names[static_cast<std::size_t>(rank)];
  return silent;
}

// If all ranks are heard from, those that wait for nobody keep the others waiting.
std::string busy_ranks(const RollCall& roll) {
  std::string busy;
  for (int rank = 0; rank < roll.size(); ++rank)
    if (const RankState& state = roll.of(rank); state.waits_for.empty())
      busy += fmt::format("{}rank {} ({})", busy.empty() ? "" : "; ", rank, text(state.place));
  return busy;
}

}  // namespace

FailureReport failure_report(const RollCall& roll, const FailureFacts& facts) {
  const Place& place = roll.of(facts.rank).place;
  const bool done = place.action >= place.actions;
  FailureReport report{.steps_done = done ? place.step : place.step - 1, .message = {}, .text = {}};
  report.message = fmt::format("{}: {}", facts.names[static_cast<std::size_t>(facts.rank)], facts.what);
  if (const std::string silent = silent_ranks(roll, facts); !silent.empty())
    report.message += fmt::format("\nsilent: {}", silent);
  else if (const std::string busy = busy_ranks(roll); !busy.empty() && roll.size() > 1)
    report.message += fmt::format("\nat work, waiting for nobody: {}", busy);
  report.text = report.message + "\n";
  if (!facts.row.empty()) report.text += facts.row + "\n";
  if (roll.size() > 1) report.text += "the last known place of each rank:\n";
  for (int rank = 0; roll.size() > 1 && rank < roll.size(); ++rank)
    report.text += fmt::format("  {}: {}\n", facts.names[static_cast<std::size_t>(rank)], place_of(roll, rank, facts));
  return report;
}

}  // namespace penstock

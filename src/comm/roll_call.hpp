// SPDX-License-Identifier: Apache-2.0
#pragma once
// RollCall: what one rank knows about all ranks: where each is, what it waits for, when it was last heard from. A value
// that the ranks' heartbeats exchange.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace penstock {

/// Text of bounded length that can be sent as raw memory; longer texts are cut off.
template <std::size_t size>
class ShortText {
 public:
  ShortText() = default;
  explicit ShortText(std::string_view text) { text.copy(letters_.data(), size - 1); }
  std::string_view text() const { return letters_.data(); }
  bool empty() const { return letters_.front() == '\0'; }

 private:
  std::array<char, size> letters_{};
};

using ActionName = ShortText<24>;
using Awaited = ShortText<160>;

/// Where a rank is in its work.
struct Place {
  std::int64_t step = 0;    ///< 0: before the first
  std::int32_t action = 0;  ///< actions of its row that it has completed
  std::int32_t actions = 0;
  ActionName name;  ///< of the present action, "2F0"; empty after the last
};

/// "step 12, action 5 of 40: 2F0".
std::string text(const Place& place);

/// What is known about one rank. Times are seconds of the owner's steady clock; in messages they are ages.
struct RankState {
  std::uint64_t beats = 0;  ///< its number of heartbeats; 0: never heard from
  double heard = 0;         ///< when it made the last one
  double moved = 0;         ///< when it last made progress: a wait that ended
  double waits_since = 0;   ///< the beginning of the wait that `waits_for` names
  Awaited waits_for;        ///< empty: it waits for nobody
  Place place;
  bool ending = false;  ///< its deadline has passed
};

class RollCall {
 public:
  RollCall(int rank, int size, double now);

  int size() const { return static_cast<int>(states_.size()); }
  int rank() const { return rank_; }
  RankState& own() { return states_[static_cast<std::size_t>(rank_)]; }
  const RankState& own() const { return of(rank_); }
  const RankState& of(int rank) const { return states_[static_cast<std::size_t>(rank)]; }

  /// A heartbeat of this rank: everything that it knows, with ages instead of times.
  std::vector<RankState> beat(double now);
  /// Takes the newer facts from another rank's heartbeat.
  void hear(const std::vector<RankState>& states, double now);

  /// When any rank last made progress, as far as is known here.
  double last_move() const;
  /// Whether a rank has not been heard from for longer than `patience` seconds.
  bool is_silent(int rank, double now, double patience) const;
  /// The lowest rank whose deadline has passed; -1: none is known.
  int first_ending() const;

 private:
  int rank_;
  std::vector<RankState> states_;
};

/// At each beat a rank sends everything that it knows to two others: the next two of these distances from itself on the
/// ring, in turn: 1, 2, 4, ... forwards and backwards. There is no central rank whose loss would silence others, and
/// news reaches all in about as many beats as the number of ranks has binary digits, also within the half that a cut
/// link leaves.
std::vector<int> beat_steps(int size);
inline constexpr int letters_a_beat = 2;

}  // namespace penstock

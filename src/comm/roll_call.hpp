// SPDX-License-Identifier: Apache-2.0
#pragma once
// RollCall: what one rank knows of all ranks: where each is, for what it waits, when it was last heard of. A value; the
// heartbeats of the ranks carry it round.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace penstock {

/// Text of bounded length that can travel as it lies in memory; what does not fit is cut off.
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
  std::int32_t action = 0;  ///< actions of its row that it has passed
  std::int32_t actions = 0;
  ActionName name;  ///< of the action it is at, "2F0"; empty behind the last
};

/// "step 12, action 5 of 40: 2F0".
std::string text(const Place& place);

/// What is known of one rank. Times are seconds of the steady clock of whoever keeps it; ages while it travels.
struct RankState {
  std::uint64_t beats = 0;  ///< it has counted so many heartbeats; 0: never heard of
  double heard = 0;         ///< when it made the last of them
  double moved = 0;         ///< when it last got something done: a wait that ended
  double waits_since = 0;   ///< of the wait that `waits_for` names
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

  /// A heartbeat of this rank: all that it knows, with ages in the place of times.
  std::vector<RankState> beat(double now);
  /// Takes from another rank's heartbeat what is newer than what is known.
  void hear(const std::vector<RankState>& states, double now);

  /// When any rank last got something done, as far as is known here.
  double last_move() const;
  /// Whether a rank has not been heard of for longer than `patience` seconds.
  bool is_silent(int rank, double now, double patience) const;
  /// The lowest rank whose deadline has passed; -1: none is known.
  int first_ending() const;

 private:
  int rank_;
  std::vector<RankState> states_;
};

/// At each beat a rank sends all that it knows to two others, the next two of these steps on from itself (round the
/// ring, again and again): 1, 2, 4, ... on and back. Nobody is in the middle whose loss would silence others, and news
/// is everywhere in about as many beats as the number of ranks has binary digits, also among the half that a cut link
/// leaves.
std::vector<int> beat_steps(int size);
inline constexpr int letters_a_beat = 2;

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once
// SlotPool: numbers of memory places that are taken and freed, and how many are needed.

#include <cstddef>
#include <deque>
#include <limits>
#include <vector>

#include "base/error.hpp"

namespace penstock {

/// Slots freed in any order. A freed slot is reused when more than `resting` are free, the one freed first before the
/// others, so that a message still being sent from a slot has time to leave it. There are at most `most` slots: once
/// all were taken, free ones do not rest.
class SlotPool {
 public:
  explicit SlotPool(int resting = 0, int most = std::numeric_limits<int>::max()) : resting_(resting), most_(most) {}

  int take() {
    const bool all_used = slots_ == most_;
    if (static_cast<int>(free_.size()) <= resting_ && !(all_used && !free_.empty())) {
      ensure(!all_used, "the schedule uses more slots than were planned");
      is_free_.push_back(false);
      return slots_++;
    }
    const int slot = free_.front();
    free_.pop_front();
    is_free_[static_cast<std::size_t>(slot)] = false;
    return slot;
  }
  void release(int slot) {
    ensure(slot >= 0 && slot < slots_ && !is_free_[static_cast<std::size_t>(slot)],
           "the schedule frees a slot that was not taken");
    is_free_[static_cast<std::size_t>(slot)] = true;
    free_.push_back(slot);
  }
  /// Slots that were ever taken.
  int slots() const { return slots_; }

 private:
  int resting_;
  int most_;
  int slots_ = 0;
  std::deque<int> free_;       ///< in the order in which they were freed
  std::vector<bool> is_free_;  ///< by slot
};

}  // namespace penstock

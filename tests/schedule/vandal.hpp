// SPDX-License-Identifier: Apache-2.0
#pragma once
// Damages tables, the same way for the same seed.

#include <algorithm>
#include <array>
#include <random>
#include <utility>
#include <vector>

#include "schedule/schedule.hpp"

namespace penstock::test {

enum class Damage { swap, drop, move, twice, swap_transfers, launch };
inline constexpr int damages = 6;
inline constexpr std::array<const char*, damages> damage_names{"swap",  "drop",           "move",
                                                               "twice", "swap transfers", "launch together or apart"};

class Vandal {
 public:
  explicit Vandal(unsigned seed) : random_(seed) {}

  /// Whether the row had something to damage.
  bool damage(Schedule& schedule, Damage kind) {
    std::vector<Action>& row = schedule.rows[below(schedule.rows.size())];
    if (row.size() < 2) return false;
    const std::size_t i = below(row.size());
    const std::size_t j = other_than(i, row.size());
    const auto at = [&](std::size_t k) { return row.begin() + static_cast<std::ptrdiff_t>(k); };
    switch (kind) {
      case Damage::swap:
        std::swap(row[i], row[below(2) == 0 ? j : i + 1 < row.size() ? i + 1 : i - 1]);
        return true;
      case Damage::drop:
        row.erase(at(i));
        return true;
      case Damage::twice:
        row.insert(at(j), row[i]);
        return true;
      case Damage::move: {
        const Action moved = row[i];
        row.erase(at(i));
        row.insert(at(std::min(j, row.size())), moved);
        return true;
      }
      case Damage::swap_transfers:
        return swap_transfers(row);
      case Damage::launch:
        if (!is_transfer(row[i].work)) return false;
        row[i].joined = !row[i].joined;
        return true;
    }
    return false;
  }

 private:
  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }
  std::size_t other_than(std::size_t i, std::size_t n) { return (i + 1 + below(n - 1)) % n; }

  bool swap_transfers(std::vector<Action>& row) {
    std::vector<std::size_t> transfers;
    for (std::size_t k = 0; k < row.size(); ++k)
      if (is_transfer(row[k].work)) transfers.push_back(k);
    if (transfers.size() < 2) return false;
    const std::size_t i = below(transfers.size());
    std::swap(row[transfers[i]], row[transfers[other_than(i, transfers.size())]]);
    return true;
  }

  std::mt19937 random_;
};

}  // namespace penstock::test

// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a life's deck says otherwise than the one that its checkpoint was written with.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/deck.hpp"

namespace penstock {

/// A checkpoint's deck beside that of the life that goes on from it: both effective decks, which say all keys. A value.
class RestartCheck {
 public:
  /// Throws InputError where the checkpoint's deck is no TOML.
  RestartCheck(std::filesystem::path checkpoint, const std::string& deck_of_checkpoint, const std::string& deck);

  /// Throws InputError where the weights would mean another function although their shapes fit.
  void ensure_same_function() const;
  /// A line for each key that makes the data go on otherwise than they would have; for a warning.
  std::vector<std::string> changes_of_data() const;
  /// Where the learning rate of the first step after `step` is another than with the checkpoint's deck: both, and the
  /// keys that make it so; for a warning.
  std::optional<std::string> change_of_rate(std::int64_t step) const;
  /// The checkpoint's value of a key that lists steps; empty where its deck does not say it.
  std::vector<std::int64_t> steps_before(std::string_view key) const;
  /// data.sequence of the checkpoint; nothing where its deck does not say it.
  std::optional<std::int64_t> earlier_sequence() const;

 private:
  std::filesystem::path checkpoint_;
  Deck before_, now_;
};

}  // namespace penstock

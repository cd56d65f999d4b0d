// SPDX-License-Identifier: Apache-2.0
#pragma once
// The differences between a run attempt's deck and data and those of its checkpoint.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/deck.hpp"
#include "plan/data_identity.hpp"

namespace penstock {

/// A run's record of itself: in a checkpoint, or in the run attempt that continues from it.
struct RunRecord {
  std::string deck;       ///< the effective one, with all keys; TOML
  std::string data = {};  ///< json_of its DataIdentity; empty in checkpoints that do not record it
};

/// A checkpoint's record compared with that of the run attempt that continues from it. A value.
class RestartCheck {
 public:
  /// Throws InputError if the checkpoint's deck is not TOML, or its data cannot be read.
  RestartCheck(std::filesystem::path checkpoint, const RunRecord& before, const RunRecord& now);

  /// Throws InputError if the weights would mean another function although their shapes fit.
  void ensure_same_function() const;
  /// Throws InputError where data.train holds other data than the checkpoint was trained on, unless the deck says
  /// data.changed = "continue"; another tokenizer is named as such. The names of files do not matter.
  void ensure_same_data() const;
  /// For warnings: one line for each change that makes the data continue differently. If the checkpoint does not record
  /// its data, the name of data.train decides, and a line says so.
  std::vector<std::string> changes_of_data() const;
  /// For a warning: if the learning rate of the first step after `step` differs from that of the checkpoint's deck,
  /// both rates and the keys that cause the difference.
  std::optional<std::string> change_of_rate(std::int64_t step) const;
  /// The checkpoint's value of a key that lists steps; empty if its deck does not have it.
  std::vector<std::int64_t> steps_before(std::string_view key) const;
  /// data.sequence of the checkpoint; nothing if its deck does not have it.
  std::optional<std::int64_t> earlier_sequence() const;

 private:
  bool records_data() const { return !data_before_.empty(); }
  bool data_changed() const;
  std::string change_of_data() const;
  std::optional<std::string> change_of_tokenizer() const;
  bool may_continue() const;

  std::filesystem::path checkpoint_;
  Deck before_, now_;
  DataIdentity data_before_, data_now_;
};

}  // namespace penstock

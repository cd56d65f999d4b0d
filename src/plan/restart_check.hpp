// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a run attempt's deck and data say otherwise than those that its checkpoint was written with.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/deck.hpp"
#include "plan/data_identity.hpp"

namespace penstock {

/// What a run says of itself: in a checkpoint, or in the run attempt that goes on from it.
struct RunRecord {
  std::string deck;       ///< the effective one, which says all keys; TOML
  std::string data = {};  ///< json_of its DataIdentity; empty in checkpoints that do not record it
};

/// A checkpoint's record compared with that of the run attempt that goes on from it. A value.
class RestartCheck {
 public:
  /// Throws InputError where the checkpoint's deck is no TOML, or its data cannot be read.
  RestartCheck(std::filesystem::path checkpoint, const RunRecord& before, const RunRecord& now);

  /// Throws InputError where the weights would mean another function although their shapes fit.
  void ensure_same_function() const;
  /// Throws InputError where data.train holds other data than the checkpoint was trained on, unless the deck says
  /// data.changed = "continue"; another tokenizer is named as such. The names of files do not matter.
  void ensure_same_data() const;
  /// A line for each thing that makes the data go on otherwise than they would have; for warnings. Where the checkpoint
  /// does not record its data, the name of data.train decides, and a line says so.
  std::vector<std::string> changes_of_data() const;
  /// Where the learning rate of the first step after `step` is another than with the checkpoint's deck: both, and the
  /// keys that make it so; for a warning.
  std::optional<std::string> change_of_rate(std::int64_t step) const;
  /// The checkpoint's value of a key that lists steps; empty where its deck does not say it.
  std::vector<std::int64_t> steps_before(std::string_view key) const;
  /// data.sequence of the checkpoint; nothing where its deck does not say it.
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

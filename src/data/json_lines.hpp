// SPDX-License-Identifier: Apache-2.0
#pragma once
// Texts of a JSONL file: an object a line.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "data/text_source.hpp"

namespace penstock {

/// The text of one line.
struct TextRecord {
  std::optional<std::string> prompt = std::nullopt;  ///< what the text goes on from; it does not count in the loss
  std::string text;
};

/// Whether a file's name says that it is one: *.jsonl, also compressed (*.jsonl.gz, *.jsonl.zst).
bool is_named_as_json_lines(const std::filesystem::path& path);

/// Reads a line at a time.
class JsonLines {
 public:
  /// `field`: the key of the text, where dots lead into objects unless a key holds them itself. Without it a line has
  /// "text", or "prompt" and "completion". Errors as TextSource.
  JsonLines(const std::filesystem::path& path, std::optional<std::string> field);

  /// None at the end; blank lines are passed over. Throws InputError, with file and line, for what is no JSON object in
  /// UTF-8, lacks the text, or is longer than longest_line.
  std::optional<TextRecord> next();

  static constexpr std::size_t longest_line = std::size_t{1} << 30;

 private:
  std::optional<std::string> next_line();
  TextRecord record_of(const std::string& line) const;
  std::string place() const;

  TextSource source_;
  std::optional<std::string> field_;
  std::string ahead_;
  std::size_t begin_ = 0;  // of ahead_: what has not been taken
  bool complete_ = false;
  std::uint64_t line_ = 0;
};

}  // namespace penstock

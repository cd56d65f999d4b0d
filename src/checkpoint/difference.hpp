// SPDX-License-Identifier: Apache-2.0
#pragma once
// How two checkpoints, or two captures, differ: `penstock checkpoint diff`.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "checkpoint/io_thread.hpp"

namespace penstock {

/// One array of both files, or NamedRows of it.
struct DifferenceLine {
  std::string name;
  std::string problem;  ///< "only in <file>", "[3, 4] and [3, 5]"; empty: both can be compared
  bool equal_bits = false;
  double largest = 0;        ///< largest absolute difference; infinite if a value is not a number
  double relative_norm = 0;  ///< ||a - b|| / max(||a||, ||b||), Euclidean; 0 if both are zero
  bool left_out = false;     ///< by a pattern: shown, but not counted
};

struct AttributeDifference {
  std::string name;
  std::string in_a, in_b;  ///< as text; "-" if it is missing
};

struct Difference {
  std::filesystem::path a, b;
  /// First lines that cannot be compared, then by `largest`, the largest first; left-out lines last.
  std::vector<DifferenceLine> lines;
  std::vector<AttributeDifference> attributes;  ///< those that differ; they do not count for `equal_bits`
  bool equal_bits = true;                       ///< of every line that is not left out: exit code 0, otherwise 1
  double largest = 0;                           ///< of all counted lines
  double relative_norm = 0;                     ///< the largest of all counted lines
};

/// Rows of arrays that form a line of their own, "<array> <name>".
struct NamedRows {
  std::string arrays;  ///< whose paths end with this: "blocks.0.attention.qkv.bias", and its moments
  std::int64_t begin = 0, end = 0;
  std::string name;
};

struct DiffOptions {
  /// Shell patterns of lines that are shown and not counted: {"*key rows"}, {"/optimizer/*"}.
  std::vector<std::string> leave_out = {};
  std::vector<NamedRows> named_rows = {};
  double quiet_seconds = default_quiet_seconds;
};

/// Compares two files, both checkpoints or both captures, array by array, in blocks of rows. Throws InputError for a
/// file that cannot be read or is damaged.
Difference diff_files(IoThread& io, const std::filesystem::path& a, const std::filesystem::path& b,
                      const DiffOptions& options = {});
/// With at most this number of differing lines.
std::string text_of(const Difference& difference, std::size_t most_lines);
nlohmann::ordered_json json_of(const Difference& difference);

}  // namespace penstock

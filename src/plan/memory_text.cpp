// SPDX-License-Identifier: Apache-2.0
#include "plan/memory_text.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/error.hpp"

namespace penstock {

namespace {

// A number above 0 and a unit, with or without a blank.
std::optional<double> bytes_said(std::string_view text) {
  constexpr std::pair<std::string_view, double> units[] = {{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
                                                           {"TiB", 0x1p40},  {"kB", 1e3},      {"MB", 1e6},
                                                           {"GB", 1e9},      {"TB", 1e12}};
  double number = 0;
  const auto [behind, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string_view word = text.substr(static_cast<std::size_t>(behind - text.data()));
  word.remove_prefix(std::min(word.find_first_not_of(' '), word.size()));
  for (const auto& [unit, bytes] : units)
    if (error == std::errc() && word == unit && number > 0 && number * bytes < 0x1p63) return number * bytes;
  return std::nullopt;
}

std::optional<std::uint64_t> whole_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [behind, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || behind != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

std::int64_t total_parameters(const ModelPlan& plan) {
  std::int64_t total = 0;
  for (const ParameterSpec& spec : plan.parameters) total += spec.shape.elements();
  return total;
}

std::vector<std::string> stage_lines(const ModelPlan& plan) {
  std::map<int, std::int64_t> parameters_of_stage;
  for (const ParameterSpec& spec : plan.parameters)
    for (const int stage : std::set<int>(spec.stages.begin(), spec.stages.end()))
      parameters_of_stage[stage] += spec.shape.elements();
  std::vector<std::string> lines;
  for (const StagePart& part : plan.parts) {
    const std::int64_t parameters = parameters_of_stage[part.stage];
    std::string blocks = part.blocks == 1
                             ? fmt::format("block {}", part.first_block)
                             : fmt::format("blocks {} to {}", part.first_block, part.first_block + part.blocks - 1);
    lines.push_back(fmt::format("stage {} on pipeline rank {}: {}{}{}, {} parameters", part.stage,
                                plan.schedule.rank_of_stage(part.stage), part.embedding ? "embedding, " : "", blocks,
                                part.head ? ", head and loss" : "", parameters));
  }
  return lines;
}

std::string bytes_text(std::size_t bytes) {
  const double mebibytes = static_cast<double>(bytes) / (1 << 20);
  return mebibytes < 1024 ? fmt::format("{:.1f} MiB", mebibytes) : fmt::format("{:.2f} GiB", mebibytes / 1024);
}

std::size_t parse_bytes(std::string_view text) {
  const std::optional<double> bytes = bytes_said(text);
  if (!bytes)
    throw_input_error(
        "\"{}\" is not a size of memory; write a number above 0 and its unit, MiB, GiB, TiB, MB, GB or TB, "
        "such as 80GiB",
        text);
  if (*bytes < 1 << 20)
    throw_input_error(
        "\"{}\" is {:.6g} bytes, less than 1 MiB: no rank fits into that; write what a device has, such as 80GiB", text,
        *bytes);
  return static_cast<std::size_t>(*bytes);
}

std::uint64_t parse_file_bytes(std::string_view text) {
  if (const std::optional<std::uint64_t> number = whole_number(text); number && *number > 0) return *number;
  const std::optional<double> bytes = bytes_said(text);
  if (!bytes || *bytes < 1)
    throw_input_error(
        "\"{}\" is no size of a file; write a whole number of bytes above 0, or a number and its unit, kB, KiB, MB, "
        "MiB, GB, GiB, TB or TiB, such as 5GB",
        text);
  return static_cast<std::uint64_t>(*bytes);
}

std::string memory_text(const MemoryPlan& memory) {
  std::string text = bytes_text(memory.total()) + ":";
  for (int u = 0; u < memory_uses; ++u) {
    const auto use = static_cast<MemoryUse>(u);
    text += fmt::format("{} {} {}", u ? "," : "", name_of(use), bytes_text(memory.of(use)));
  }
  return text;
}

}  // namespace penstock

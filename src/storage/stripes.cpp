// SPDX-License-Identifier: Apache-2.0
#include "storage/stripes.hpp"

#include <fmt/ranges.h>

#include <charconv>

#include "base/child_process.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "storage/durable_file.hpp"

namespace penstock {

namespace {

std::int64_t number(const std::string& name, const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw_input_error("checkpoint.mpi_io_hints: {}={} is no number; write one such as {}=4", name, text, name);
  return value;
}

// lfs makes files with mode 0644. All others here have what umask and folder leave of 0666; one of them shows that
// mode.
void take_usual_mode(const std::filesystem::path& file) {
  const std::filesystem::path usual = temporary_name(file.parent_path() / "mode");
  make_empty(usual);
  std::error_code error;
  std::filesystem::permissions(file, std::filesystem::status(usual, error).permissions(), error);
  if (error) log_warning("{}: its permissions cannot be set: {}", file.string(), error.message());
  discard(usual);
}

}  // namespace

Stripes Stripes::from(const std::vector<std::pair<std::string, std::string>>& hints) {
  Stripes stripes;
  for (const auto& [name, value] : hints) {
    if (name == "striping_factor") stripes.count = number(name, value);
    if (name == "striping_unit") stripes.bytes = number(name, value);
  }
  return stripes;
}

void make_striped(const std::filesystem::path& file, const Stripes& stripes) {
  if (!stripes.any()) return;
  std::vector<std::string> words{"lfs", "setstripe"};
  if (stripes.count) words.insert(words.end(), {"-c", std::to_string(*stripes.count)});
  if (stripes.bytes) words.insert(words.end(), {"-S", std::to_string(*stripes.bytes)});
  words.push_back(file.string());
  const std::string why = run_program(words);
  if (why.empty()) return take_usual_mode(file);
  log_warning("{}: cannot be striped as checkpoint.mpi_io_hints says: {}: {}", file.string(), fmt::join(words, " "),
              why);
}

}  // namespace penstock

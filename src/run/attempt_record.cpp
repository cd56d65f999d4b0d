// SPDX-License-Identifier: Apache-2.0
#include "run/attempt_record.hpp"

#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace penstock {

namespace {

constexpr std::array ends{AttemptEnd::running, AttemptEnd::done, AttemptEnd::stopped, AttemptEnd::failed};

nlohmann::ordered_json json_of(const AttemptRecord& record) {
  return {{"ended", name_of(record.end)}, {"step", record.step},       {"exit_code", record.exit_code},
          {"reason", record.reason},      {"message", record.message}, {"life", record.attempt}};
}

// Nothing for a real number, which may not fit into an integer, and for numbers to which 1 cannot be added.
std::optional<std::int64_t> count_in(const nlohmann::json& json) {
  constexpr std::int64_t most = std::int64_t{1} << 53;
  const auto value = json.get_ref<const std::int64_t&>();
  return value >= -most && value <= most ? std::optional(value) : std::nullopt;
}

// Records of earlier versions have neither reason nor life.
std::optional<AttemptRecord> record_of(const nlohmann::json& json) {
  const std::string name = json.at("ended");
  const auto step = count_in(json.at("step")), exit_code = count_in(json.at("exit_code"));
  const auto attempt = json.contains("life") ? count_in(json.at("life")) : 1;
  if (!step || !exit_code || !attempt) return std::nullopt;
  for (const AttemptEnd end : ends)
    if (name_of(end) == name)
      return AttemptRecord{.end = end,
                           .step = *step,
                           .exit_code = static_cast<int>(*exit_code),
                           .reason = json.value("reason", ""),
                           .message = json.at("message"),
                           .attempt = *attempt};
  return std::nullopt;
}

}  // namespace

std::string_view name_of(AttemptEnd end) {
  switch (end) {
    case AttemptEnd::running:
      return "running";
    case AttemptEnd::done:
      return "done";
    case AttemptEnd::stopped:
      return "stopped";
    case AttemptEnd::failed:
      return "failed";
  }
  return "?";
}

std::string AttemptRecords::json() const {
  nlohmann::ordered_json json = json_of(last);
  if (before) json["before"] = json_of(*before);
  // A message may contain a file name that is not UTF-8.
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::optional<AttemptRecords> AttemptRecords::parse(const std::string& text) try {
  const nlohmann::json json = nlohmann::json::parse(text);
  const std::optional<AttemptRecord> last = record_of(json);
  if (!last) return std::nullopt;
  return AttemptRecords{*last, json.contains("before") ? record_of(json.at("before")) : std::nullopt};
} catch (const nlohmann::json::exception&) {
  return std::nullopt;
}

std::optional<AttemptRecords> AttemptRecords::read(const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) return std::nullopt;  // opening a pipe would wait
  std::ifstream stream(file);
  std::stringstream text;
  text << stream.rdbuf();
  return parse(text.str());
}

}  // namespace penstock

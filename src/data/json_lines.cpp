// SPDX-License-Identifier: Apache-2.0
#include "data/json_lines.hpp"

#include <nlohmann/json.hpp>
#include <span>

#include "base/error.hpp"

namespace penstock {
namespace {

constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

/// The value that a field names: the whole name first, then what its dots lead to. Null where there is none.
const nlohmann::json* value_at(const nlohmann::json& object, std::string_view field) {
  if (!object.is_object()) return nullptr;
  if (const auto found = object.find(std::string(field)); found != object.end()) return &*found;
  for (std::size_t dot = field.find('.'); dot != std::string_view::npos; dot = field.find('.', dot + 1)) {
    const auto found = object.find(std::string(field.substr(0, dot)));
    if (found == object.end()) continue;
    if (const nlohmann::json* value = value_at(*found, field.substr(dot + 1))) return value;
  }
  return nullptr;
}

const std::string* text_at(const nlohmann::json& object, std::string_view field) {
  const nlohmann::json* value = value_at(object, field);
  return value ? value->get_ptr<const std::string*>() : nullptr;
}

std::string keys_of(const nlohmann::json& object) {
  constexpr std::size_t most_named = 10;
  std::string keys;
  std::size_t count = 0;
  for (const auto& entry : object.items()) {
    if (++count > most_named) return keys + ", ...";
    keys += (keys.empty() ? "" : ", ") + entry.key();
  }
  return keys.empty() ? "none" : keys;
}

}  // namespace

bool is_named_as_json_lines(const std::filesystem::path& path) {
  const std::string extension = path.extension().string();
  const bool is_compressed = extension == ".gz" || extension == ".zst";
  return (is_compressed ? path.stem().extension().string() : extension) == ".jsonl";
}

JsonLines::JsonLines(const std::filesystem::path& path, std::optional<std::string> field)
    : source_(path), field_(std::move(field)) {}

std::string JsonLines::place() const { return fmt::format("{}, line {}", source_.path().string(), line_); }

std::optional<std::string> JsonLines::next_line() {
  constexpr std::size_t bytes_at_once = std::size_t{1} << 20;
  std::size_t searched = begin_;
  while (true) {
    const std::size_t end = ahead_.find('\n', searched);
    if (end != std::string::npos || (complete_ && begin_ < ahead_.size())) {
      ++line_;
      std::string line = ahead_.substr(begin_, std::min(end, ahead_.size()) - begin_);
      begin_ = std::min(end, ahead_.size() - 1) + 1;
      if (line_ == 1 && line.starts_with(byte_order_mark)) line.erase(0, byte_order_mark.size());
      return line;
    }
    if (complete_) return std::nullopt;
    ahead_.erase(0, begin_);
    begin_ = 0;
    searched = ahead_.size();
    if (searched > longest_line)
      throw_input_error(
          "{}, line {}: is longer than {} bytes; is this a file of JSON lines? A *.jsonl file has an object a line",
          source_.path().string(), line_ + 1, longest_line);
    ahead_.resize(searched + bytes_at_once);
    const std::size_t present = source_.read(std::as_writable_bytes(std::span(ahead_)).subspan(searched));
    ahead_.resize(searched + present);
    complete_ = present < bytes_at_once;
  }
}

std::optional<TextRecord> JsonLines::next() {
  while (const auto line = next_line())
    if (line->find_first_not_of(" \t\r") != std::string::npos) return record_of(*line);
  return std::nullopt;
}

TextRecord JsonLines::record_of(const std::string& line) const {
  nlohmann::json object;
  try {
    object = nlohmann::json::parse(line);
  } catch (const nlohmann::json::exception& error) {
    throw_input_error("{}: is no JSON ({}); a *.jsonl file has an object a line: mend the line, or leave it out",
                      place(), error.what());
  }
  if (!object.is_object())
    throw_input_error("{}: is no JSON object ({}); a line is one, such as {{\"text\": \"...\"}}", place(),
                      object.type_name());
  if (field_) {
    if (const std::string* text = text_at(object, *field_)) return {.text = *text};
    throw_input_error("{}: has no text in the field \"{}\" (its keys: {}); name another with --field", place(), *field_,
                      keys_of(object));
  }
  if (const std::string* text = text_at(object, "text")) return {.text = *text};
  const std::string *prompt = text_at(object, "prompt"), *completion = text_at(object, "completion");
  if (prompt && completion) return {.prompt = *prompt, .text = *completion};
  if (object.contains("messages"))
    throw_input_error(
        "{}: holds a conversation (\"messages\"), and chat templates are not applied here; write each one as "
        "{{\"prompt\": \"...\", \"completion\": \"...\"}}, with the template of your model",
        place());
  throw_input_error(
      "{}: has neither \"text\" nor \"prompt\" and \"completion\" as texts (its keys: {}); name its field with --field",
      place(), keys_of(object));
}

}  // namespace penstock

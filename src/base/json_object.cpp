// SPDX-License-Identifier: Apache-2.0
#include "base/json_object.hpp"

#include <optional>
#include <unordered_set>
#include <vector>

#include "base/error.hpp"

namespace penstock {
namespace {

/// Looks at the keys of every object while it is parsed.
class KeyWatch {
 public:
  bool operator()(int /*depth*/, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    switch (event) {
      case nlohmann::json::parse_event_t::object_start:
        open_.emplace_back();
        break;
      case nlohmann::json::parse_event_t::object_end:
        open_.pop_back();
        break;
      case nlohmann::json::parse_event_t::key:
        if (!open_.back().insert(parsed.get_ref<const std::string&>()).second && !twice_)
          twice_ = parsed.get_ref<const std::string&>();
        break;
      default:
        break;
    }
    return true;
  }
  /// The first key that came twice.
  const std::optional<std::string>& twice() const { return twice_; }

 private:
  std::vector<std::unordered_set<std::string>> open_;
  std::optional<std::string> twice_;
};

// "[json.exception.parse_error.101] parse error at line 1, ...": what is after the brackets.
std::string reason_of(const nlohmann::json::exception& error) {
  const std::string_view words = error.what();
  const std::size_t end = words.find("] ");
  return std::string(end == std::string_view::npos ? words : words.substr(end + 2));
}

}  // namespace

nlohmann::json parse_json_object(std::string_view text, std::string_view where, std::string_view cure) {
  KeyWatch keys;
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(text, [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
      return keys(depth, event, parsed);
    });
  } catch (const nlohmann::json::exception& error) {
    throw_input_error("{}: is not JSON ({}); {}", where, reason_of(error), cure);
  }
  if (!json.is_object()) throw_input_error("{}: is {}, and must be a JSON object; {}", where, shown(json), cure);
  if (keys.twice()) throw_input_error("{}: names \"{}\" twice; {}", where, *keys.twice(), cure);
  return json;
}

std::string shown(const nlohmann::json& value) {
  constexpr std::size_t longest = 80;
  if (value.is_object()) return value.empty() ? "{}" : "an object";
  if (value.is_array()) return value.empty() ? "[]" : fmt::format("a list of {}", value.size());
  const std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  return text.size() <= longest ? text : text.substr(0, longest) + "...";
}

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once
// JSON on standard output: all of it (--json), or the values of one key (--get KEY).

#include <nlohmann/json.hpp>
#include <string>

#include "base/error.hpp"

namespace penstock {

/// Paths need not be UTF-8, which JSON has to be: what is not becomes U+FFFD.
template <typename Json>
std::string json_text(const Json& json, int indent = 2) {
  return json.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// For shell scripts: what stands at `key`, "state", "last_end.reason" or "ranks.*.process.total" (* is every element
/// of a list), a line each. Texts stand there as they are; all else is JSON. A value that is null has no parts. Throws
/// InputError where there is no such key.
template <typename Json>
std::string json_lines(const Json& json, const std::string& key) {
  const std::size_t dot = key.find('.');
  const std::string name = key.substr(0, dot);
  const auto below = [&](const Json& value) {
    if (dot != std::string::npos) return value.is_null() ? "" : json_lines(value, key.substr(dot + 1));
    return (value.is_string() ? value.template get<std::string>() : json_text(value, -1)) + "\n";
  };
  std::string lines;
  if (name == "*" && json.is_array()) {
    for (const Json& element : json) lines += below(element);
    return lines;
  }
  if (json.is_object() && json.contains(name)) return below(json.at(name));
  std::string known = json.is_array() ? "*" : "";
  if (json.is_object())
    for (const auto& item : json.items()) known += (known.empty() ? "" : ", ") + item.key();
  throw_input_error("--get: there is no key {} here; use {}", name, known.empty() ? "the key above it" : known);
}

}  // namespace penstock

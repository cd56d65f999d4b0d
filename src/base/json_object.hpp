// SPDX-License-Identifier: Apache-2.0
#pragma once
// JSON of other programs: nlohmann-json silently takes the last of two equal keys; here they are a mistake.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace penstock {

/// Reads an object. Throws InputError "<where>: <what is wrong>; <cure>" if the text is not JSON in UTF-8, is no
/// object, or contains an object with a key twice.
nlohmann::json parse_json_object(std::string_view text, std::string_view where, std::string_view cure);

/// A value for a message: numbers, words and short strings unchanged, "a list of 3", "an object". Never descends,
/// because foreign JSON may be nested as deeply as it is long.
std::string shown(const nlohmann::json& value);

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once
// JSON that somebody else wrote: nlohmann-json takes the last of two equal keys without a word; here they are a
// mistake.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace penstock {

/// Reads an object. Throws InputError "<where>: <what is wrong>; <cure>" where the text is not JSON in UTF-8, is no
/// object, or an object in it names a key twice.
nlohmann::json parse_json_object(std::string_view text, std::string_view where, std::string_view cure);

/// A value for a message: numbers, words and short strings as they stand, "a list of 3", "an object". Never descends,
/// for a stranger's JSON may be nested as deep as it is long.
std::string shown(const nlohmann::json& value);

}  // namespace penstock

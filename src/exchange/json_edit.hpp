// SPDX-License-Identifier: Apache-2.0
#pragma once
// Changes a JSON object as text, so that everything else keeps its bytes.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace penstock {

using JsonMembers = std::vector<std::pair<std::string, nlohmann::ordered_json>>;

/// `object` (a JSON object, as parse_json_object takes it) with these members of its own: the value of an existing key
/// is replaced; other keys are added after the last one, in the same layout.
std::string with_members(std::string_view object, const JsonMembers& members);

}  // namespace penstock

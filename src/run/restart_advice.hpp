// SPDX-License-Identifier: Apache-2.0
#pragma once
// What to do after a step that was not finite: which checkpoint a restart can do better from.

#include <cstdint>
#include <filesystem>
#include <string>

namespace penstock {

/// `unchanged_since`: the step whose weights the failing step began with; what is saved of it and later is the state
/// that fails.
std::string restart_advice(const std::filesystem::path& checkpoints, std::int64_t unchanged_since);

}  // namespace penstock

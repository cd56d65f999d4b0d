// SPDX-License-Identifier: Apache-2.0
#pragma once
// Advice after a step that was not finite: the checkpoint from which a restart can succeed.

#include <cstdint>
#include <filesystem>
#include <string>

namespace penstock {

/// `unchanged_since`: the step whose weights the failing step began with; checkpoints of it and later contain the
/// failing state.
std::string restart_advice(const std::filesystem::path& checkpoints, std::int64_t unchanged_since);

}  // namespace penstock

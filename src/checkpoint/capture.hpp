// SPDX-License-Identifier: Apache-2.0
#pragma once
// Captures: what went through the model at one step, in global sample order, one file for each step.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "checkpoint/array_file.hpp"

namespace penstock {

/// The arrays that every capture holds: /tokens and /targets, [sample, position] int32. A piece is the box of samples
/// of one rank.
ArraySpec captured_tokens(std::int64_t samples, std::int64_t positions, std::vector<Piece> pieces);
ArraySpec captured_targets(std::int64_t samples, std::int64_t positions, std::vector<Piece> pieces);

/// /taps/<tap>, float32: "blocks.0.attention" with dimensions {"sample", "position", "channel"}, say.
ArraySpec captured_tap(const std::string& tap, const Shape& shape, std::vector<std::string> dimension_names,
                       std::vector<Piece> pieces);

/// Collective: writes `folder`/step-XXXXXXXX.h5, whole or not at all, with the attribute `step`. The folder must exist.
/// `local_data` counts in `arrays`. See SaveOutcome for failures.
SaveOutcome save_capture(World& world, Writers& writers, const std::filesystem::path& folder, std::int64_t step,
                         std::vector<ArraySpec> arrays, LocalData local_data, std::function<void()> ensure_mine = {});

}  // namespace penstock

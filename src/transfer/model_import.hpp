// SPDX-License-Identifier: Apache-2.0
#pragma once
// `penstock import`: a Hugging Face directory as a checkpoint.

#include <filesystem>
#include <optional>

#include "comm/world.hpp"

namespace penstock {

struct ImportRequest {
  std::filesystem::path directory;
  std::filesystem::path output;               ///< the checkpoint; must not exist yet
  std::optional<std::filesystem::path> deck;  ///< gets a [model] section; must not exist yet
};

/// Collective: writes a checkpoint of step 0 with parameters only, in float32. Rank 0 reads and writes, block by block:
/// no process holds the whole model. The ranks share only one check, that of a tied model's spare head. Throws
/// CollectiveFailure.
void import_model(World& world, const ImportRequest& request);

}  // namespace penstock

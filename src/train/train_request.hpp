// SPDX-License-Identifier: Apache-2.0
#pragma once
// What `penstock train` is asked for.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace penstock {

/// What the command line says.
struct TrainRequest {
  std::filesystem::path deck;
  std::vector<std::string> settings;         ///< "mesh.tensor=2"
  std::optional<std::filesystem::path> run;  ///< default: runs/<the deck's stem>
  std::optional<std::string> restart;        ///< a checkpoint file, or "latest"
  std::optional<std::string> weights;        ///< what step 0 begins with (run/weights_source.hpp)
};

}  // namespace penstock

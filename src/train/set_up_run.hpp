// SPDX-License-Identifier: Apache-2.0
#pragma once
// Setting a run up: all that is read and checked before anything is written.

#include <filesystem>
#include <optional>
#include <string>

#include "comm/world.hpp"
#include "data/token_file_header.hpp"
#include "mesh/mesh.hpp"
#include "pipeline/rank_model.hpp"
#include "plan/run_config.hpp"
#include "run/weights_source.hpp"
#include "train/train_request.hpp"

namespace penstock {

/// What a run is made of; the same on every rank.
struct RunSetup {
  RunDeck deck;
  Mesh mesh{{}};
  ModelPlan plan;
  int threads = 1;  ///< of this rank; the only value that differs between ranks
  TokenFileHeader train_header;
  std::string data;  ///< json_of its DataIdentity
  std::optional<TokenFileHeader> validation_header;
  std::filesystem::path train_file, validation_file;  ///< where tokens are read: data.stage puts them on the node
  std::filesystem::path run;
  std::optional<WeightsSource> weights;  ///< for step 0; none: drawn from run.seed

  const RunConfig& config() const { return deck.config; }
};

/// Collective. Throws CollectiveFailure with one message.
RunSetup set_up_run(World& world, const TrainRequest& request);

}  // namespace penstock

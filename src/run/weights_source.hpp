// SPDX-License-Identifier: Apache-2.0
#pragma once
// WeightsSource: weights that were made elsewhere, for `--weights` and `penstock export`.

#include <cstdint>
#include <filesystem>
#include <string>

#include "checkpoint/io_thread.hpp"
#include "comm/world.hpp"
#include "model/model_config.hpp"
#include "parameter/parameter_set.hpp"

namespace penstock {

/// A value: what was found at a path, and the model that it states. No weights are read yet.
struct WeightsSource {
  enum class Kind {
    directory,   ///< of Hugging Face
    checkpoint,  ///< a file
    run_folder,  ///< its newest whole checkpoint counts
  };
  Kind kind = Kind::directory;
  std::filesystem::path path;  ///< of a run: the folder of its checkpoints
  ModelConfig model;
  std::string model_place;  ///< the source of the model: "DIR/config.json"
};

/// Finds what is at the path. A Hugging Face directory is checked except for its numbers; for a run folder the newest
/// checkpoint that opens states the model. Throws InputError if there are no weights; see also HuggingFaceModel,
/// ArrayReader.
WeightsSource find_weights(IoThread& io, const WaitUntil& wait, const std::filesystem::path& path);

/// Collective: rank 0 looks for all. Throws CollectiveFailure.
WeightsSource find_weights(World& world, const std::filesystem::path& path);

/// Collective: the file of a checkpoint, or the newest whole one of a run folder, and whether it was just verified.
struct WholeCheckpoint {
  std::filesystem::path file;
  bool verified = false;
};
WholeCheckpoint whole_checkpoint(World& world, IoThread& io, const WeightsSource& source);

/// Collective: every rank reads the master weights that it owns, on whatever mesh; moments begin at zero. They take
/// effect by Optimizer::publish. The log says what was read. Throws CollectiveFailure if the weights cannot be read,
/// are damaged, or belong to another model than `parameters`.
void load_weights(World& world, IoThread& io, const WeightsSource& source, const ParameterSet& parameters);

}  // namespace penstock

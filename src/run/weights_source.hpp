// SPDX-License-Identifier: Apache-2.0
#pragma once
// WeightsSource: weights that were made elsewhere, as `--weights` and `penstock export` name them.

#include <cstdint>
#include <filesystem>
#include <string>

#include "checkpoint/io_thread.hpp"
#include "comm/world.hpp"
#include "model/model_config.hpp"
#include "parameter/parameter_set.hpp"

namespace penstock {

/// A value: what was found by a path, and the model that it says it holds. Of the weights nothing is read yet.
struct WeightsSource {
  enum class Kind {
    directory,   ///< of Hugging Face
    checkpoint,  ///< a file
    run_folder,  ///< of whose checkpoints the newest whole one counts
  };
  Kind kind = Kind::directory;
  std::filesystem::path path;  ///< of a run: the folder of its checkpoints
  ModelConfig model;
  std::string model_place;  ///< where that stands: "DIR/config.json"
};

/// Looks what is by the path; a Hugging Face directory is checked but for its numbers, of a run folder the newest
/// checkpoint that opens says the model. Throws InputError where there are no weights, and see HuggingFaceModel,
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

/// Collective: every rank reads the master weights that it owns, on whatever mesh; moments begin at zero. In force
/// after Optimizer::publish. The log tells what was read. Throws CollectiveFailure where the weights cannot be read,
/// are damaged, or of another model than `parameters`.
void load_weights(World& world, IoThread& io, const WeightsSource& source, const ParameterSet& parameters);

}  // namespace penstock

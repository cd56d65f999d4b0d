// SPDX-License-Identifier: Apache-2.0
#pragma once
// `penstock export`: weights as a Hugging Face directory.

#include <cstdint>
#include <filesystem>
#include <optional>

#include "comm/world.hpp"
#include "exchange/hugging_face_export.hpp"
#include "tensor/dtype.hpp"

namespace penstock {

struct ExportRequest {
  std::filesystem::path source;  ///< a checkpoint, a run folder, or a Hugging Face directory
  std::filesystem::path target;  ///< an empty or new folder
  std::optional<DType> type;     ///< none: a directory's own if it can be written, otherwise float32
  std::uint64_t shard_bytes = HuggingFaceExport::usual_shard_bytes;
  /// A directory whose tokenizer, other keys of config.json and tensor names are copied; none: the source itself if it
  /// is a directory.
  std::optional<std::filesystem::path> like;
};

/// Collective: the ranks share the blocks of all parameters; the bytes do not depend on the number of ranks. No process
/// holds the whole model. Files have temporary names until all of them are whole. Throws CollectiveFailure.
void export_model(World& world, const ExportRequest& request);

}  // namespace penstock

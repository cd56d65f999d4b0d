// SPDX-License-Identifier: Apache-2.0
#pragma once
// A Hugging Face directory: config.json, and the tensors of model.safetensors or of the shards that
// model.safetensors.index.json names. hugging_face_model.hpp interprets the tensors.

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "exchange/safetensors_file.hpp"

namespace penstock {

/// A tensor of a directory, and the file that holds it. Both live as long as the directory.
struct PlacedTensor {
  const SafetensorsFile* file = nullptr;
  const StoredTensor* tensor = nullptr;

  /// "DIR/model-00001-of-00002.safetensors: tensor model.norm.weight"
  std::string text() const;
};

/// Opened to read; moves, is not copied.
class ModelDirectory {
 public:
  /// Reads config.json and the headers of all tensor files. Throws InputError if the directory or a file is missing or
  /// damaged, if it has weights only in another format, and if index and shards disagree: a shard that is
  /// not there, a tensor that is in the index and not in its shard, or the reverse, or in two shards.
  explicit ModelDirectory(std::filesystem::path path);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config_path() const { return path_ / "config.json"; }
  const std::string& config_text() const { return config_text_; }
  /// Of all files, by name.
  const std::vector<PlacedTensor>& tensors() const { return tensors_; }
  std::optional<PlacedTensor> find(std::string_view name) const;
  /// Existing files next to the weights that a copy of the model should also have: tokenizer, generation settings,
  /// license. Names, not paths.
  std::vector<std::string> files_to_carry_along() const;

 private:
  std::filesystem::path path_;
  std::string config_text_;
  std::vector<SafetensorsFile> files_;
  std::vector<PlacedTensor> tensors_;
};

/// All of a small file. Throws InputError "<path>: <problem>; <cure>" if it cannot be read or is longer than 64 MiB.
std::string read_small_file(const std::filesystem::path& path, std::string_view cure);

}  // namespace penstock

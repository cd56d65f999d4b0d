// SPDX-License-Identifier: Apache-2.0
#pragma once
// HuggingFaceModel: a Hugging Face directory as the parameters of a Penstock model.

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "exchange/exchanged_parameter.hpp"
#include "exchange/model_directory.hpp"
#include "parameter/box.hpp"

namespace penstock {

/// Opens the directory for reading; no weights are read yet. Every rank opens it for itself.
class HuggingFaceModel {
 public:
  /// Throws InputError: see ModelDirectory and parse_hugging_face_config; besides, one message with all tensors that
  /// are missing, left over, of a wrong shape, or of a type that is not read.
  explicit HuggingFaceModel(std::filesystem::path path);

  const ModelDirectory& directory() const { return directory_; }
  const HuggingFaceConfig& config() const { return config_; }
  /// Whether names of tensors begin with the family's prefix ("model.", "transformer.").
  bool prefixed() const { return prefixed_; }
  /// In Penstock's order.
  const std::vector<ExchangedParameter>& parameters() const { return parameters_; }
  /// Index into parameters().
  std::optional<std::size_t> find(std::string_view name) const;
  /// The type of the weights in the files, if all have the same.
  std::optional<StoredType> stored_type() const;

  /// Reads a box of a parameter as float32, dense, from `values` on (box.local_begin is the caller's). Several threads
  /// may call it. Throws SystemError if reading fails.
  void read_box(std::size_t parameter, const Box& box, float* values) const;

  /// If a tied model's files contain a head nevertheless: throws InputError unless it is the token embedding, bit for
  /// bit. Compares part `part` of `parts` of the rows, so that ranks can share the work. Does nothing if there is no
  /// such tensor.
  void check_tied_head(int part = 0, int parts = 1) const;

 private:
  void check_tensors();

  ModelDirectory directory_;
  HuggingFaceConfig config_;
  bool prefixed_ = true;
  std::vector<ExchangedParameter> parameters_;
  std::vector<std::vector<PlacedTensor>> tensors_;  ///< of each parameter's pieces
  std::optional<PlacedTensor> spare_head_;          ///< of a tied model
};

}  // namespace penstock

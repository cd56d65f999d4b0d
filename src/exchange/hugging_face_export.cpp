// SPDX-License-Identifier: Apache-2.0
#include "exchange/hugging_face_export.hpp"

#include "exchange/box_pieces.hpp"

namespace penstock {
namespace {

std::vector<PlannedTensor> planned_tensors(const std::vector<ExchangedParameter>& parameters) {
  std::vector<PlannedTensor> tensors;
  for (const ExchangedParameter& parameter : parameters)
    for (const ExchangedPiece& piece : parameter.pieces)
      tensors.push_back({.name = piece.tensor, .shape = parameter.stored_shape(piece)});
  return tensors;
}

}  // namespace

HuggingFaceExport::HuggingFaceExport(const HuggingFaceConfig& config, DType type, std::uint64_t most_shard_bytes,
                                     bool prefixed)
    : parameters_(exchanged_parameters(config, prefixed)),
      plan_(planned_tensors(parameters_), type, most_shard_bytes) {}

void HuggingFaceExport::write_box(SafetensorsWriter& writer, std::size_t index, const Box& box,
                                  const float* values) const {
  for (const BoxPiece& part : pieces_of_box(parameters_[index], box)) {
    const ExchangedPiece& piece = parameters_[index].pieces[part.piece];
    if (piece.transposed)
      writer.write_transposed(piece.tensor, part.stored, values + part.first, part.stride);
    else
      writer.write(piece.tensor, part.stored, values + part.first, part.stride);
  }
}

}  // namespace penstock

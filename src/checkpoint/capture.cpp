// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/capture.hpp"

#include "checkpoint/array_reader.hpp"
#include "checkpoint/checkpoint.hpp"

namespace penstock {

namespace {

ArraySpec captured_ids(std::string path, std::int64_t samples, std::int64_t positions, std::vector<Piece> pieces) {
  return {std::move(path), {samples, positions}, DType::int32, {"sample", "position"}, std::move(pieces)};
}

}  // namespace

ArraySpec captured_tokens(std::int64_t samples, std::int64_t positions, std::vector<Piece> pieces) {
  return captured_ids("/tokens", samples, positions, std::move(pieces));
}

ArraySpec captured_targets(std::int64_t samples, std::int64_t positions, std::vector<Piece> pieces) {
  return captured_ids("/targets", samples, positions, std::move(pieces));
}

ArraySpec captured_tap(const std::string& tap, const Shape& shape, std::vector<std::string> dimension_names,
                       std::vector<Piece> pieces) {
  return {"/taps/" + tap, shape, DType::float32, std::move(dimension_names), std::move(pieces)};
}

SaveOutcome save_capture(World& world, Writers& writers, const std::filesystem::path& folder, std::int64_t step,
                         std::vector<ArraySpec> arrays, LocalData local_data, std::function<void()> ensure_mine) {
  ArrayFile file;
  file.path = folder / checkpoint_name(step);
  file.attributes = format_attributes(capture_format);
  file.attributes.push_back({"step", step});
  file.arrays = std::move(arrays);
  file.local_data = std::move(local_data);
  file.ensure_mine = std::move(ensure_mine);
  return save_arrays(world, writers, file);
}

}  // namespace penstock

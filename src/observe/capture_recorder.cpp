// SPDX-License-Identifier: Apache-2.0
#include "observe/capture_recorder.hpp"

#include <algorithm>

#include "device/copy.hpp"
#include "plan/make_plan.hpp"

namespace penstock {

namespace {

constexpr std::size_t token_arrays = 2;  // /tokens and /targets come first

bool is_logits(std::string_view tap) { return tap.starts_with("logits"); }

// The layout of the rows that a rank records of a tap.
struct Extent {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t first_row = 0;
  std::int64_t first_column = 0;
};

Extent extent_of(std::string_view tap, const ModelShape& shape) {
  if (is_logits(tap)) return {shape.tokens(), shape.vocabulary_columns(), 0, shape.first_token()};
  if (tap == "loss") return {shape.tokens(), 1, 0, 0};
  return {shape.rows(), shape.width(), shape.first_row(), 0};
}

// If tensor ranks have equal copies, the first one writes them.
bool brings(std::string_view tap, const ModelShape& shape) {
  const bool copies = !is_logits(tap) && (tap == "loss" || !shape.cut_rows());
  return !copies || shape.tensor_coordinate == 0;
}

}  // namespace

CaptureRecorder::CaptureRecorder(const ModelPlan& plan, const Mesh& mesh, int rank,
                                 const std::vector<std::string>& taps)
    : plan_(&plan), mesh_(mesh), rank_(rank), taps_(taps) {
  add_tokens();
  for (const std::string& tap : taps) add_tap(tap);
}

ModelShape CaptureRecorder::shape_at(const MeshPlace& place) const {
  return {.model = plan_->model.get(),
          .cut = plan_->cut,
          .tensor_coordinate = place.tensor,
          .samples = plan_->micro,
          .sequence = plan_->sequence};
}

std::int64_t CaptureRecorder::first_sample(const MeshPlace& place, std::int64_t microbatch) const {
  return (place.data * plan_->microbatches() + microbatch) * plan_->micro;
}

int CaptureRecorder::pipeline_rank_of(const std::string& tap) const {
  if (tap.starts_with("embedding")) return plan_->schedule.rank_of_stage(0);
  int stage = plan_->schedule.stages - 1;
  if (tap.starts_with("blocks.")) {
    const int block = std::stoi(tap.substr(std::string_view("blocks.").size()));
    for (const StagePart& part : plan_->parts)
      if (block >= part.first_block && block < part.first_block + part.blocks) stage = part.stage;
  }
  return plan_->schedule.rank_of_stage(stage);
}

void CaptureRecorder::add_tokens() {
  std::vector<Piece> pieces;
  for (int rank = 0; rank < mesh_.size(); ++rank) {
    const MeshPlace place = place_of(mesh_, rank);
    if (place.pipeline != 0 || place.tensor != 0) continue;
    for (std::int64_t m = 0; m < plan_->microbatches(); ++m) {
      Box box;
      box.offset[0] = first_sample(place, m);
      box.extent = {plan_->micro, plan_->sequence};
      box.local_begin = m;  // each microbatch is an array of its own
      pieces.push_back({rank, box});
    }
  }
  const std::int64_t samples = plan_->micro * plan_->microbatches() * mesh_.size_of("data");
  arrays_.push_back(captured_tokens(samples, plan_->sequence, pieces));
  arrays_.push_back(captured_targets(samples, plan_->sequence, pieces));
}

void CaptureRecorder::add_tap(const std::string& tap) {
  const std::int64_t samples = plan_->micro * plan_->microbatches() * mesh_.size_of("data");
  Shape shape{samples, plan_->sequence, is_logits(tap) ? plan_->model->vocabulary : plan_->model->width};
  std::vector<std::string> names{"sample", "position", is_logits(tap) ? "vocabulary" : "channel"};
  if (tap == "loss") {
    shape = {samples, plan_->sequence};
    names.pop_back();
  }
  arrays_.push_back(captured_tap(tap, shape, names, pieces(tap)));
  const MeshPlace place = place_of(mesh_, rank_);
  const ModelShape here = shape_at(place);
  if (place.pipeline != pipeline_rank_of(tap) || !brings(tap, here)) return;
  const Extent extent = extent_of(tap, here);
  recorded_[tap] = {
      .rows = extent.rows,
      .columns = extent.columns,
      .values = std::vector<float>(static_cast<std::size_t>(plan_->microbatches() * extent.rows * extent.columns))};
}

std::vector<Piece> CaptureRecorder::pieces(const std::string& tap) const {
  std::vector<Piece> pieces;
  for (int rank = 0; rank < mesh_.size(); ++rank) {
    const MeshPlace place = place_of(mesh_, rank);
    const ModelShape shape = shape_at(place);
    if (place.pipeline != pipeline_rank_of(tap) || !brings(tap, shape)) continue;
    const Extent extent = extent_of(tap, shape);
    if (extent.columns == 0) continue;
    for (std::int64_t m = 0; m < plan_->microbatches(); ++m) {
      // Rows are cut as tokens; in (sample, position) consecutive tokens are at most three boxes.
      Box microbatch;
      microbatch.offset[0] = first_sample(place, m);
      microbatch.extent = {plan_->micro, plan_->sequence};
      for (Box box : boxes_of_range(microbatch, extent.first_row, extent.first_row + extent.rows)) {
        box.local_begin = (m * extent.rows + box.local_begin) * extent.columns;
        if (tap != "loss") {
          box.offset[2] = extent.first_column;
          box.extent = {box.extent[0], box.extent[1], extent.columns};
        }
        pieces.push_back({rank, box});
      }
    }
  }
  return pieces;
}

bool CaptureRecorder::wants(std::string_view tap) const { return recorded_.contains(tap); }

void CaptureRecorder::record(Queue& queue, std::string_view tap, int microbatch, TensorView values) {
  if (landing_.bytes() < values.bytes()) landing_ = HostMemory(values.bytes());
  copy_to_host(queue, values.raw(), landing_.data(), values.bytes());
  queue.drain(fmt::format("the captured {}", tap));
  const TensorView seen(landing_.data(), values.type(), values.shape());
  Recorded& recorded = recorded_.find(tap)->second;
  const std::int64_t width = values.elements() / recorded.rows;  // including padding columns, which are left out
  float* to = recorded.values.data() + microbatch * recorded.rows * recorded.columns;
  const auto copy = [&](const auto* from) {
    for (std::int64_t r = 0; r < recorded.rows; ++r)
      for (std::int64_t c = 0; c < recorded.columns; ++c)
        to[r * recorded.columns + c] = static_cast<float>(from[r * width + c]);
  };
  if (values.type() == DType::bfloat16)
    copy(seen.data<bfloat16>());
  else
    copy(seen.data<float>());
}

LocalData CaptureRecorder::local_data(const StepTokens& tokens) const {
  return [this, &tokens](std::size_t array, std::size_t piece) -> const std::byte* {
    const Box& box = arrays_[array].pieces[piece].box;
    if (array < token_arrays) {
      const StepTokens::Microbatch& microbatch = tokens.microbatches[static_cast<std::size_t>(box.local_begin)];
      return reinterpret_cast<const std::byte*>(array == 0 ? microbatch.tokens : microbatch.targets);
    }
    const Recorded& recorded = recorded_.find(taps_[array - token_arrays])->second;
    return reinterpret_cast<const std::byte*>(recorded.values.data() + box.local_begin);
  };
}

}  // namespace penstock

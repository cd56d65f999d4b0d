// SPDX-License-Identifier: Apache-2.0
#include "observe/capture_recorder.hpp"

#include <algorithm>
#include <optional>

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

// Of a tap of rotated heads.
struct TapHeads {
  const AttentionCore* attention;
  bool keys;

  std::int64_t heads() const { return keys ? attention->kv_heads : attention->heads; }
  std::int64_t local(const ModelShape& shape) const {
    return keys ? shape.kv_heads(*attention) : shape.heads(*attention);
  }
  // Neighbouring tensor ranks that hold the same ones.
  int copies(const ModelShape& shape) const { return static_cast<int>(shape.cut.tensor * local(shape) / heads()); }
};

constexpr std::string_view of_a_block = "blocks.";

int block_of(std::string_view tap) { return std::stoi(std::string(tap.substr(of_a_block.size()))); }

std::optional<TapHeads> heads_of(std::string_view tap, const ModelDescription& model) {
  if (!tap.starts_with(of_a_block) || !(tap.ends_with(query_tap) || tap.ends_with(key_tap))) return std::nullopt;
  for (const BranchDescription& branch : model.block(block_of(tap)).branches)
    if (branch.attention()) return TapHeads{branch.attention(), tap.ends_with(key_tap)};
  return std::nullopt;
}

Extent extent_of(std::string_view tap, const ModelShape& shape) {
  if (const auto tapped = heads_of(tap, *shape.model)) {
    const std::int64_t columns = tapped->local(shape) * tapped->attention->head_channels;
    return {shape.tokens(), columns, 0, shape.tensor_coordinate / tapped->copies(shape) * columns};
  }
  if (is_logits(tap)) return {shape.tokens(), shape.vocabulary_columns(), 0, shape.first_token()};
  if (tap == "loss") return {shape.tokens(), 1, 0, 0};
  return {shape.rows(), shape.width(), shape.first_row(), 0};
}

// If tensor ranks have equal copies, the first one writes them.
bool brings(std::string_view tap, const ModelShape& shape) {
  if (const auto tapped = heads_of(tap, *shape.model)) return shape.tensor_coordinate % tapped->copies(shape) == 0;
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
          .tensor_coordinate = place.at(Axis::tensor),
          .samples = plan_->micro,
          .sequence = plan_->sequence};
}

std::int64_t CaptureRecorder::first_sample(const MeshPlace& place, std::int64_t microbatch) const {
  return (place.at(Axis::data) * plan_->microbatches() + microbatch) * plan_->micro;
}

int CaptureRecorder::pipeline_rank_of(const std::string& tap) const {
  if (tap.starts_with("embedding")) return plan_->schedule.rank_of_stage(0);
  int stage = plan_->schedule.stages - 1;
  if (tap.starts_with(of_a_block)) {
    const int block = block_of(tap);
    for (const StagePart& part : plan_->parts)
      if (block >= part.first_block && block < part.first_block + part.blocks) stage = part.stage;
  }
  return plan_->schedule.rank_of_stage(stage);
}

void CaptureRecorder::add_tokens() {
  std::vector<Piece> pieces;
  for (const int rank : mesh_.group(0, {Axis::data})) {  // the others have the same samples as one of these
    const MeshPlace place(mesh_, rank);
    for (std::int64_t m = 0; m < plan_->microbatches(); ++m) {
      Box box;
      box.offset[0] = first_sample(place, m);
      box.extent = {plan_->micro, plan_->sequence};
      box.local_begin = m;  // each microbatch is an array of its own
      pieces.push_back({rank, box});
    }
  }
  const std::int64_t samples = plan_->micro * plan_->microbatches() * mesh_.size_of(Axis::data);
  arrays_.push_back(captured_tokens(samples, plan_->sequence, pieces));
  arrays_.push_back(captured_targets(samples, plan_->sequence, pieces));
}

void CaptureRecorder::add_tap(const std::string& tap) {
  const std::int64_t samples = plan_->micro * plan_->microbatches() * mesh_.size_of(Axis::data);
  Shape shape{samples, plan_->sequence, is_logits(tap) ? plan_->model->vocabulary : plan_->model->width};
  std::vector<std::string> names{"sample", "position", is_logits(tap) ? "vocabulary" : "channel"};
  if (tap == "loss") {
    shape = {samples, plan_->sequence};
    names.pop_back();
  }
  if (const auto tapped = heads_of(tap, *plan_->model)) {
    shape = {samples, plan_->sequence, tapped->heads(), tapped->attention->head_channels};
    names = {"sample", "position", "head", "channel"};
  }
  arrays_.push_back(captured_tap(tap, shape, names, pieces(tap)));
  const MeshPlace place(mesh_, rank_);
  const ModelShape here = shape_at(place);
  if (place.at(Axis::pipeline) != pipeline_rank_of(tap) || !brings(tap, here)) return;
  const Extent extent = extent_of(tap, here);
  recorded_[tap] = {
      .rows = extent.rows,
      .columns = extent.columns,
      .values = std::vector<float>(static_cast<std::size_t>(plan_->microbatches() * extent.rows * extent.columns))};
}

std::vector<Piece> CaptureRecorder::pieces(const std::string& tap) const {
  std::vector<Piece> pieces;
  for (int rank = 0; rank < mesh_.size(); ++rank) {
    const MeshPlace place(mesh_, rank);
    const ModelShape shape = shape_at(place);
    if (place.at(Axis::pipeline) != pipeline_rank_of(tap) || !brings(tap, shape)) continue;
    const Extent extent = extent_of(tap, shape);
    if (extent.columns == 0) continue;
    for (std::int64_t m = 0; m < plan_->microbatches(); ++m) {
      // Rows are cut as tokens; in (sample, position) consecutive tokens are at most three boxes.
      Box microbatch;
      microbatch.offset[0] = first_sample(place, m);
      microbatch.extent = {plan_->micro, plan_->sequence};
      for (Box box : boxes_of_range(microbatch, extent.first_row, extent.first_row + extent.rows)) {
        box.local_begin = (m * extent.rows + box.local_begin) * extent.columns;
        if (const auto tapped = heads_of(tap, *plan_->model)) {
          const std::int64_t channels = tapped->attention->head_channels;
          box.offset[2] = extent.first_column / channels;
          box.extent = {box.extent[0], box.extent[1], extent.columns / channels, channels};
        } else if (tap != "loss") {
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
  keep(queue, tap, microbatch, values, 0);
}

void CaptureRecorder::record_columns(Queue& queue, std::string_view tap, int microbatch, TensorView rows,
                                     std::int64_t first, std::int64_t columns) {
  ensure(columns == recorded_.find(tap)->second.columns, "record_columns: the columns of the tap");
  keep(queue, tap, microbatch, rows, first);
}

// From column `first` on: padding columns and others are left out.
void CaptureRecorder::keep(Queue& queue, std::string_view tap, int microbatch, TensorView values, std::int64_t first) {
  if (landing_.bytes() < values.bytes()) landing_ = HostMemory(values.bytes());
  copy_to_host(queue, values.raw(), landing_.data(), values.bytes());
  queue.drain(fmt::format("the captured {}", tap));
  const TensorView seen(landing_.data(), values.type(), values.shape());
  Recorded& recorded = recorded_.find(tap)->second;
  const std::int64_t width = values.elements() / recorded.rows;
  float* to = recorded.values.data() + microbatch * recorded.rows * recorded.columns;
  const auto copy = [&](const auto* from) {
    for (std::int64_t r = 0; r < recorded.rows; ++r)
      for (std::int64_t c = 0; c < recorded.columns; ++c)
        to[r * recorded.columns + c] = static_cast<float>(from[r * width + first + c]);
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

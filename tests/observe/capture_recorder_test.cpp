// SPDX-License-Identifier: Apache-2.0
#include "observe/capture_recorder.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "pipeline/tiny_model.hpp"
#include "plan/make_plan.hpp"
#include "plan/taps.hpp"

namespace penstock::capture_recorder_test {
namespace {

using test::TinySetup;

constexpr int global_microbatches = 8;

std::vector<TinySetup> setups() {
  std::vector<TinySetup> all;
  for (const int data : {1, 2, 4})
    for (const int pipeline : {1, 2, 4})
      for (const int tensor : {1, 2, 4})
        for (const bool sequence_parallel : {true, false})
          all.push_back({.data = data,
                         .pipeline = pipeline,
                         .tensor = tensor,
                         .sequence_parallel = sequence_parallel,
                         .microbatches = global_microbatches});
  return all;
}

/// Every global index of a box, as offsets into the array, in the box's order.
std::vector<std::int64_t> elements_of(const Box& box, const Shape& shape) {
  std::vector<std::int64_t> elements{0};
  for (int d = 0; d < shape.dimensions(); ++d) {
    std::vector<std::int64_t> next;
    for (const std::int64_t base : elements)
      for (std::int64_t i = 0; i < box.extent[d]; ++i)
        next.push_back(base * shape[d] + box.offset[static_cast<std::size_t>(d)] + i);
    elements = std::move(next);
  }
  return elements;
}

TEST(CaptureRecorder, PiecesCoverEveryArrayExactlyOnce) {
  for (TinySetup setup : setups()) {
    setup.family = setup.pipeline == 2 ? "qwen2" : setup.pipeline == 4 ? "llama" : "gpt2";  // 1 and 2 heads of keys
    const ModelPlan plan = test::tiny_plan(setup);
    const std::vector<std::string> taps = all_taps(*plan.model);
    const Mesh mesh = test::tiny_mesh(setup);
    const CaptureRecorder recorder(plan, mesh, 0, taps);
    ASSERT_EQ(recorder.arrays().size(), 2 + taps.size());
    for (const ArraySpec& array : recorder.arrays()) {
      std::vector<int> seen(static_cast<std::size_t>(array.shape.elements()), 0);
      for (const Piece& piece : array.pieces) {
        ASSERT_EQ(piece.box.extent.dimensions(), array.shape.dimensions());
        ASSERT_GE(piece.rank, 0);
        ASSERT_LT(piece.rank, mesh.size());
        for (int d = 0; d < array.shape.dimensions(); ++d)
          ASSERT_LE(piece.box.offset[static_cast<std::size_t>(d)] + piece.box.extent[d], array.shape[d]) << array.path;
        for (const std::int64_t element : elements_of(piece.box, array.shape))
          ++seen[static_cast<std::size_t>(element)];
      }
      EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), array.shape.elements())
          << array.path << " on " << setup.text();
      EXPECT_EQ(array.dimension_names.size(), static_cast<std::size_t>(array.shape.dimensions()));
    }
  }
}

TEST(CaptureRecorder, ArraysAreTheSameOnEveryRank) {
  const TinySetup setup{.data = 2, .pipeline = 2, .tensor = 2, .microbatches = global_microbatches};
  const ModelPlan plan = test::tiny_plan(setup);
  const Mesh mesh = test::tiny_mesh(setup);
  const CaptureRecorder first(plan, mesh, 0, all_taps(*plan.model));
  for (int rank = 1; rank < mesh.size(); ++rank) {
    const CaptureRecorder recorder(plan, mesh, rank, all_taps(*plan.model));
    for (std::size_t a = 0; a < first.arrays().size(); ++a) {
      EXPECT_EQ(recorder.arrays()[a].path, first.arrays()[a].path);
      ASSERT_EQ(recorder.arrays()[a].pieces.size(), first.arrays()[a].pieces.size());
      for (std::size_t p = 0; p < first.arrays()[a].pieces.size(); ++p) {
        EXPECT_EQ(recorder.arrays()[a].pieces[p].rank, first.arrays()[a].pieces[p].rank);
        EXPECT_EQ(recorder.arrays()[a].pieces[p].box, first.arrays()[a].pieces[p].box);
      }
    }
  }
}

TEST(CaptureRecorder, ArraysHaveTheContractsNamesAndShapes) {
  const TinySetup setup{.data = 2, .tensor = 2, .microbatches = global_microbatches};
  const ModelPlan plan = test::tiny_plan(setup);
  const CaptureRecorder recorder(plan, test::tiny_mesh(setup), 0,
                                 {"embedding", "blocks.3.mlp.gradient", "logits", "loss"});
  const std::int64_t samples = global_microbatches * test::tiny_micro, positions = test::tiny_sequence;
  const auto expect = [&](std::size_t array, const std::string& path, const Shape& shape, DType type) {
    EXPECT_EQ(recorder.arrays()[array].path, path);
    EXPECT_EQ(recorder.arrays()[array].shape, shape) << path;
    EXPECT_EQ(recorder.arrays()[array].type, type) << path;
  };
  expect(0, "/tokens", {samples, positions}, DType::int32);
  expect(1, "/targets", {samples, positions}, DType::int32);
  expect(2, "/taps/embedding", {samples, positions, 16}, DType::float32);
  expect(3, "/taps/blocks.3.mlp.gradient", {samples, positions, 16}, DType::float32);
  expect(4, "/taps/logits", {samples, positions, 40}, DType::float32);
  expect(5, "/taps/loss", {samples, positions}, DType::float32);
}

/// A made-up value of a tap; exact in bfloat16 as well.
float value_at(std::int64_t tap, std::int64_t sample, std::int64_t position, std::int64_t channel) {
  return static_cast<float>((tap * 7 + sample * 31 + position * 5 + channel * 3) % 251);
}

/// What the model records of a tap on one rank: its rows, all columns that it holds, NaN in those that are padding.
Tensor recorded_values(const ModelShape& shape, std::int64_t tap_number, const std::string& tap,
                       std::int64_t first_sample, DType type) {
  const bool logits = tap.starts_with("logits"), loss = tap == "loss";
  const std::int64_t rows = logits || loss ? shape.tokens() : shape.rows(),
                     first_row = logits || loss ? 0 : shape.first_row();
  const std::int64_t columns = loss ? 1 : logits ? shape.vocabulary_rows() : shape.width();
  const std::int64_t first_column = logits ? shape.first_token() : 0;
  Tensor tensor(type, loss ? Shape{rows} : Shape{rows, columns});
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c) {
      const std::int64_t token = first_row + r;
      const bool padding = logits && c >= shape.vocabulary_columns();
      const float value = padding ? std::numeric_limits<float>::quiet_NaN()
                                  : value_at(tap_number, first_sample + token / shape.sequence, token % shape.sequence,
                                             first_column + c);
      if (type == DType::bfloat16)
        tensor.view().data<bfloat16>()[r * columns + c] = bfloat16(value);
      else
        tensor.view().data<float>()[r * columns + c] = value;
    }
  return tensor;
}

void expect_values_in_global_order(const TinySetup& setup) {
  const std::vector<std::string> taps = all_taps(*test::tiny_plan({}).model);
  const ModelPlan plan = test::tiny_plan(setup);
  const Mesh mesh = test::tiny_mesh(setup);
  std::vector<std::vector<int>> brought;  // of each array's elements
  for (int rank = 0; rank < mesh.size(); ++rank) {
    const MeshPlace place(mesh, rank);
    CaptureRecorder recorder(plan, mesh, rank, taps);
    const ModelShape shape{.model = plan.model.get(),
                           .cut = plan.cut,
                           .tensor_coordinate = place.at(Axis::tensor),
                           .samples = plan.micro,
                           .sequence = plan.sequence};

    std::vector<std::vector<std::int32_t>> tokens, targets;
    StepTokens step;
    Queue queue;
    for (std::int64_t m = 0; m < plan.microbatches(); ++m) {
      const std::int64_t first_sample = (place.at(Axis::data) * plan.microbatches() + m) * plan.micro;
      auto& own_tokens = tokens.emplace_back();
      auto& own_targets = targets.emplace_back();
      for (std::int64_t token = 0; token < shape.tokens(); ++token) {
        const std::int64_t sample = first_sample + token / shape.sequence, position = token % shape.sequence;
        own_tokens.push_back(static_cast<std::int32_t>(value_at(100, sample, position, 0)));
        own_targets.push_back(static_cast<std::int32_t>(value_at(101, sample, position, 0)));
      }
      step.microbatches.push_back({static_cast<std::uint64_t>(first_sample), own_tokens.data(), own_targets.data()});
      for (std::size_t t = 0; t < taps.size(); ++t)
        if (recorder.wants(taps[t])) {
          const DType type = taps[t] == "loss" ? DType::float32 : setup.compute;
          recorder.record(queue, taps[t], static_cast<int>(m),
                          recorded_values(shape, static_cast<std::int64_t>(t), taps[t], first_sample, type).view());
        }
    }

    const LocalData data = recorder.local_data(step);
    brought.resize(recorder.arrays().size());
    for (std::size_t a = 0; a < recorder.arrays().size(); ++a) {
      const ArraySpec& array = recorder.arrays()[a];
      brought[a].resize(static_cast<std::size_t>(array.shape.elements()));
      const std::int64_t columns = array.shape.dimensions() == 3 ? array.shape[2] : 1;
      int wrong = 0;
      for (std::size_t p = 0; p < array.pieces.size(); ++p) {
        if (array.pieces[p].rank != rank) continue;
        const std::byte* from = data(a, p);
        for (const std::int64_t element : elements_of(array.pieces[p].box, array.shape)) {
          const std::int64_t token = element / columns;
          const std::int64_t tap = a < 2 ? 100 + static_cast<std::int64_t>(a) : static_cast<std::int64_t>(a) - 2;
          const float expected = value_at(tap, token / shape.sequence, token % shape.sequence, element % columns);
          wrong += a < 2 ? *reinterpret_cast<const std::int32_t*>(from) != static_cast<std::int32_t>(expected)
                         : *reinterpret_cast<const float*>(from) != expected;
          from += 4;
          ++brought[a][static_cast<std::size_t>(element)];
        }
      }
      EXPECT_EQ(wrong, 0) << array.path << " of rank " << rank << " on " << setup.text();
    }
  }
  for (const std::vector<int>& counts : brought)
    EXPECT_EQ(std::count(counts.begin(), counts.end(), 1), static_cast<std::ptrdiff_t>(counts.size())) << setup.text();
}

TEST(CaptureRecorder, BringsWhatTheModelRecordedInGlobalOrder) {
  for (const TinySetup& setup : setups()) expect_values_in_global_order(setup);
}

TEST(CaptureRecorder, TakesBfloat16) {
  expect_values_in_global_order(
      {.data = 2, .tensor = 2, .microbatches = global_microbatches, .compute = DType::bfloat16});
}

/// Packed rows [tokens, heads of q, then of k, then of v] as a tensor rank has them, with NaN for v.
Tensor packed_heads(const ModelShape& shape, std::int64_t first_sample) {
  const AttentionCore& attention = *shape.branches().front().attention();
  const std::int64_t channels = attention.head_channels, queries = shape.heads(attention),
                     keys = shape.kv_heads(attention);
  const std::int64_t columns = (queries + 2 * keys) * channels;
  const std::int64_t first_query = shape.tensor_coordinate * queries * channels;
  const std::int64_t first_key = shape.tensor_coordinate * attention.kv_heads / shape.cut.tensor * channels;
  Tensor tensor(DType::float32, {shape.tokens(), columns});
  for (std::int64_t r = 0; r < shape.tokens(); ++r)
    for (std::int64_t c = 0; c < columns; ++c) {
      const std::int64_t key = c - queries * channels;
      const std::int64_t sample = first_sample + r / shape.sequence, position = r % shape.sequence;
      tensor.view().data<float>()[r * columns + c] = key < 0 ? value_at(0, sample, position, first_query + c)
                                                     : key < keys * channels
                                                         ? value_at(1, sample, position, first_key + key)
                                                         : std::numeric_limits<float>::quiet_NaN();
    }
  return tensor;
}

TEST(CaptureRecorder, BringsRotatedHeadsInGlobalOrderAndCopiesOnce) {
  const std::vector<std::string> taps{"blocks.1.attention.query", "blocks.1.attention.key"};
  for (const char* family : {"llama", "qwen2", "qwen3"})  // 2 heads of keys, 1, and 2 with 6 channels
    for (const int tensor : {1, 2, 4}) {
      const TinySetup setup{.data = 2, .tensor = tensor, .microbatches = global_microbatches, .family = family};
      const ModelPlan plan = test::tiny_plan(setup);
      const Mesh mesh = test::tiny_mesh(setup);
      std::vector<std::int64_t> elements(2);
      for (int rank = 0; rank < mesh.size(); ++rank) {
        CaptureRecorder recorder(plan, mesh, rank, taps);
        const MeshPlace place = MeshPlace(mesh, rank);
        const ModelShape shape{.model = plan.model.get(),
                               .cut = plan.cut,
                               .tensor_coordinate = place.at(Axis::tensor),
                               .samples = plan.micro,
                               .sequence = plan.sequence};
        const AttentionCore& attention = *shape.branches().front().attention();
        const std::int64_t columns[] = {shape.heads(attention) * attention.head_channels,
                                        shape.kv_heads(attention) * attention.head_channels};
        Queue queue;
        for (std::int64_t m = 0; m < plan.microbatches(); ++m)
          for (std::size_t t = 0; t < taps.size(); ++t)
            if (recorder.wants(taps[t]))
              recorder.record_columns(
                  queue, taps[t], static_cast<int>(m),
                  packed_heads(shape, (place.at(Axis::data) * plan.microbatches() + m) * plan.micro).view(),
                  t == 0 ? 0 : columns[0], columns[t]);
        const StepTokens none;
        const LocalData data = recorder.local_data(none);
        for (std::size_t t = 0; t < taps.size(); ++t) {
          const ArraySpec& array = recorder.arrays()[t + 2];
          EXPECT_EQ(array.shape, Shape({global_microbatches * test::tiny_micro, test::tiny_sequence,
                                        t == 0 ? attention.heads : attention.kv_heads, attention.head_channels}));
          const std::int64_t whole = array.shape[2] * array.shape[3];
          for (std::size_t p = 0; p < array.pieces.size(); ++p) {
            if (array.pieces[p].rank != rank) continue;
            const auto* from = reinterpret_cast<const float*>(data(t + 2, p));
            for (const std::int64_t element : elements_of(array.pieces[p].box, array.shape)) {
              const std::int64_t token = element / whole;
              ASSERT_EQ(*from++, value_at(static_cast<std::int64_t>(t), token / shape.sequence, token % shape.sequence,
                                          element % whole))
                  << array.path << " of rank " << rank << " on " << setup.text();
              ++elements[t];
            }
          }
        }
      }
      const CaptureRecorder any(plan, mesh, 0, taps);
      for (std::size_t t = 0; t < taps.size(); ++t) EXPECT_EQ(elements[t], any.arrays()[t + 2].shape.elements());
    }
}

TEST(CaptureRecorder, WantsOnlyChosenTapsOnTheRanksThatBringThem) {
  const TinySetup setup{.pipeline = 2, .tensor = 2, .sequence_parallel = false, .microbatches = global_microbatches};
  const ModelPlan plan = test::tiny_plan(setup);
  const Mesh mesh = test::tiny_mesh(setup);
  for (int rank = 0; rank < mesh.size(); ++rank) {
    const MeshPlace place(mesh, rank);
    const CaptureRecorder recorder(plan, mesh, rank, {"embedding", "logits", "loss"});
    EXPECT_EQ(recorder.wants("embedding"), place.at(Axis::pipeline) == 0 && place.at(Axis::tensor) == 0)
        << "equal copies come from one";
    EXPECT_EQ(recorder.wants("logits"), place.at(Axis::pipeline) == 1) << "each has columns of its own";
    EXPECT_EQ(recorder.wants("loss"), place.at(Axis::pipeline) == 1 && place.at(Axis::tensor) == 0);
    EXPECT_FALSE(recorder.wants("blocks.0"));
  }
}

}  // namespace
}  // namespace penstock::capture_recorder_test

// SPDX-License-Identifier: Apache-2.0
#include "exchange/hugging_face_export.hpp"

#include <gtest/gtest.h>

#include "exchange/hugging_face_model.hpp"
#include "exchange/sample_models.hpp"

namespace penstock::hugging_face_export_test {
namespace {

using nlohmann::json;

/// Cuts a parameter into boxes: `parts` by rows, each again by columns.
std::vector<Box> boxes_of(const ExchangedParameter& parameter, std::int64_t parts) {
  std::vector<Box> boxes;
  const bool matrix = parameter.shape.dimensions() == 2;
  for (std::int64_t r = 0; r < parts; ++r)
    for (std::int64_t c = 0; c < (matrix ? parts : 1); ++c) {
      const std::int64_t row = parameter.shape[0] * r / parts, rows = parameter.shape[0] * (r + 1) / parts - row;
      const std::int64_t column = parameter.columns() * c / parts;
      const std::int64_t columns = parameter.columns() * (c + 1) / parts - column;
      if (matrix)
        boxes.push_back({.offset = {row, column}, .extent = {rows, columns}});
      else
        boxes.push_back({.offset = {row}, .extent = {rows}});
    }
  return boxes;
}

/// Copies a directory by way of Penstock's parameters, as `writers` processes would.
void copy_model(const HuggingFaceModel& from, const std::filesystem::path& to, DType type, std::uint64_t shard_bytes,
                int writers) {
  const HuggingFaceExport out(from.config(), type, shard_bytes, from.prefixed());
  prepare_safetensors(to, out.plan(), "7");
  std::vector<SafetensorsWriter> ranks;
  for (int i = 0; i < writers; ++i) ranks.emplace_back(to, out.plan(), "7");
  std::size_t next = 0;
  for (std::size_t p = 0; p < out.parameters().size(); ++p)
    for (const Box& box : boxes_of(out.parameters()[p], writers)) {
      std::vector<float> values(static_cast<std::size_t>(box.elements()));
      from.read_box(p, box, values.data());
      out.write_box(ranks[next++ % ranks.size()], p, box, values.data());
    }
  for (SafetensorsWriter& rank : ranks) rank.finish();
  const std::string config =
      hugging_face_config_like(from.directory().config_text(), "config.json", from.config(), type);
  publish_safetensors(to, out.plan(), "7", {{"config.json", config}});
}

std::string stored_bytes(const PlacedTensor& placed) {
  const std::string file = test::read_file(placed.file->path());
  return file.substr(placed.file->header_bytes() + placed.tensor->begin, placed.tensor->end - placed.tensor->begin);
}

TEST(HuggingFaceExportTest, ADirectoryComesBackWithEqualBytes) {
  const test::TemporaryFolder folder;
  int count = 0;
  for (const std::string type : {"F32", "BF16"})
    for (const test::SampleModel& model :
         {test::sample_gpt2(type), test::sample_gpt2(type, ""), test::sample_llama("llama", false, type),
          test::sample_llama("mistral", true, type), test::sample_llama("qwen2", false, type, ""),
          test::sample_llama("qwen3", true, type)})
      for (const int writers : {1, 2, 3}) {
        const std::filesystem::path from = folder / ("from" + std::to_string(count));
        const std::filesystem::path to = folder / ("to" + std::to_string(count++));
        test::write_model(from, model, writers);
        copy_model(HuggingFaceModel(from), to, type == "F32" ? DType::float32 : DType::bfloat16,
                   writers == 1 ? 1U << 30 : 6000, writers);
        const ModelDirectory copy(to);
        EXPECT_EQ(test::read_file(to / "config.json"), test::read_file(from / "config.json"));
        EXPECT_EQ(std::filesystem::exists(to / "model.safetensors"), writers == 1);
        ASSERT_EQ(copy.tensors().size(), model.tensors.size());
        for (const PlacedTensor& placed : copy.tensors()) {
          const test::SampleTensor& original = model.tensors.at(placed.tensor->name);
          EXPECT_EQ(placed.tensor->type.name, original.type);
          EXPECT_EQ(placed.tensor->shape, original.shape);
          EXPECT_EQ(stored_bytes(placed), original.bytes) << placed.tensor->name;
        }
        // Nothing but the model is left.
        for (const auto& entry : std::filesystem::directory_iterator(to))
          EXPECT_NE(entry.path().filename().string().front(), '.') << entry.path();
      }
}

TEST(HuggingFaceExportTest, AnotherTypeIsRoundedAndNamed) {
  const test::TemporaryFolder folder;
  test::write_model(folder / "from", test::sample_llama());
  copy_model(HuggingFaceModel(folder / "from"), folder / "to", DType::bfloat16, 1U << 30, 2);
  EXPECT_EQ(json::parse(test::read_file(folder / "to" / "config.json"))["torch_dtype"], "bfloat16");
  const HuggingFaceModel copy(folder / "to");
  EXPECT_EQ(copy.stored_type(), StoredType::bfloat16);
  std::vector<float> values(51 * 24);
  copy.read_box(0, {.offset = {}, .extent = {51, 24}}, values.data());
  for (std::int64_t i = 0; i < 51 * 24; ++i)
    EXPECT_EQ(values[static_cast<std::size_t>(i)],
              static_cast<float>(bfloat16(test::sample_value("model.embed_tokens.weight", i, "F32"))));
}

TEST(HuggingFaceExportTest, ShardsHoldAtMostTheirBytesAndKeepTheOrder) {
  HuggingFaceConfig config = parse_hugging_face_config(test::sample_llama().config.dump(), "c");
  for (const std::uint64_t most : {1U, 3000U, 6000U, 20000U}) {
    const HuggingFaceExport out(config, DType::float32, most);
    const auto& shards = out.plan().shards();
    std::size_t tensors = 0;
    for (std::size_t s = 0; s < shards.size(); ++s) {
      const std::uint64_t data = shards[s].bytes - shards[s].header.size();
      EXPECT_TRUE(data <= most || shards[s].tensors.size() == 1) << data;
      EXPECT_EQ(shards[s].header.size() % 8, 0U);
      EXPECT_EQ(shards[s].file, fmt::format("model-{:05}-of-{:05}.safetensors", s + 1, shards.size()));
      tensors += shards[s].tensors.size();
    }
    EXPECT_EQ(tensors, test::sample_llama().tensors.size());
    EXPECT_EQ(shards.front().tensors.front().name, "model.embed_tokens.weight");
    EXPECT_EQ(out.plan().find("lm_head.weight").shard, shards.size() - 1);
    const json index = json::parse(out.plan().index_text());
    EXPECT_EQ(index["weight_map"]["model.norm.weight"], shards[out.plan().find("model.norm.weight").shard].file);
    EXPECT_EQ(index["weight_map"].size(), tensors);
  }
  EXPECT_TRUE(HuggingFaceExport(config, DType::float32).plan().index_text().empty());
  EXPECT_EQ(HuggingFaceExport(config, DType::float32).plan().shards()[0].file, "model.safetensors");
}

}  // namespace
}  // namespace penstock::hugging_face_export_test

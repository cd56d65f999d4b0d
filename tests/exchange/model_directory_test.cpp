// SPDX-License-Identifier: Apache-2.0
#include "exchange/model_directory.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <functional>

#include "exchange/sample_models.hpp"

namespace penstock::model_directory_test {
namespace {

using nlohmann::json;

std::string message_of(const std::filesystem::path& path) {
  return test::input_error([&] { ModelDirectory directory(path); });
}

TEST(ModelDirectoryTest, ListsTheTensorsOfAllShards) {
  const test::TemporaryFolder folder;
  const test::SampleModel model = test::sample_llama();
  for (const int shards : {1, 2, 5}) {
    const std::filesystem::path path = folder / std::to_string(shards);
    test::write_model(path, model, shards);
    ModelDirectory first(path);
    const ModelDirectory directory = std::move(first);  // what find() returns points into it
    ASSERT_EQ(directory.tensors().size(), model.tensors.size());
    auto expected = model.tensors.begin();
    for (const PlacedTensor& placed : directory.tensors()) {
      EXPECT_EQ(placed.tensor->name, expected->first);
      EXPECT_EQ(placed.tensor->shape, expected->second.shape);
      std::vector<float> values(static_cast<std::size_t>(placed.tensor->elements()));
      const StoredTensor& tensor = *placed.tensor;
      placed.file->read(tensor, {.rows = tensor.rows(), .columns = tensor.columns()}, values.data(), tensor.columns());
      for (std::size_t i = 0; i < values.size(); ++i)
        ASSERT_EQ(values[i], test::sample_value(tensor.name, static_cast<std::int64_t>(i), "F32")) << tensor.name;
      ++expected;
    }
    EXPECT_TRUE(directory.find("lm_head.weight"));
    EXPECT_FALSE(directory.find("lm_head"));
    EXPECT_EQ(json::parse(directory.config_text()), model.config);
  }
}

TEST(ModelDirectoryTest, OneFileComesBeforeAnIndexAsInTransformers) {
  const test::TemporaryFolder folder;
  test::write_model(folder / "m", test::sample_llama(), 2);
  test::write_model(folder / "m", test::sample_llama("llama", true));
  EXPECT_FALSE(ModelDirectory(folder / "m").find("lm_head.weight"));
}

TEST(ModelDirectoryTest, NamesWhatACopyShouldHave) {
  const test::TemporaryFolder folder;
  test::write_model(folder / "m", test::sample_llama());
  for (const std::string name : {"tokenizer.json", "generation_config.json", "README.md"})
    test::write_file(folder / "m" / name, "x");
  EXPECT_EQ(ModelDirectory(folder / "m").files_to_carry_along(),
            (std::vector<std::string>{"tokenizer.json", "generation_config.json"}));
}

struct Damage {
  std::string name;
  std::function<void(const std::filesystem::path&)> damage;  ///< to a good directory of two shards
  std::vector<std::string> words;
};

/// Changes the index.
std::function<void(const std::filesystem::path&)> index(const std::function<void(json&)>& change) {
  return [change](const std::filesystem::path& path) {
    const std::filesystem::path file = path / "model.safetensors.index.json";
    json text = json::parse(test::read_file(file));
    change(text);
    test::write_file(file, text.dump());
  };
}

std::vector<Damage> damages() {
  const std::string norm = "model.norm.weight", one = "model-00001.safetensors", two = "model-00002.safetensors";
  const auto other = [=](const json& map) { return map[norm] == one ? two : one; };
  return {
      {"no config.json",
       [](const auto& path) { std::filesystem::remove(path / "config.json"); },
       {"config.json: does not exist", "save_pretrained"}},
      {"config.json is a folder",
       [](const auto& path) {
         std::filesystem::remove(path / "config.json");
         std::filesystem::create_directory(path / "config.json");
       },
       {"config.json: is a folder"}},
      {"no weights",
       [](const auto& path) { std::filesystem::remove(path / "model.safetensors.index.json"); },
       {"has neither model.safetensors nor model.safetensors.index.json"}},
      {"pickled weights",
       [](const auto& path) {
         std::filesystem::remove(path / "model.safetensors.index.json");
         test::write_file(path / "pytorch_model.bin", "x");
       },
       {"has pytorch_model.bin", "safe_serialization=True"}},
      {"pickled shards",
       [](const auto& path) {
         std::filesystem::remove(path / "model.safetensors.index.json");
         test::write_file(path / "pytorch_model.bin.index.json", "x");
       },
       {"has pytorch_model.bin.index.json"}},
      {"a shard is missing",
       [=](const auto& path) { std::filesystem::remove(path / two); },
       {two + ": does not exist", "index.json places", "the first is"}},
      {"a shard is a link to nothing",
       [=](const auto& path) {
         std::filesystem::remove(path / two);
         std::filesystem::create_symlink("nowhere", path / two);
       },
       {two + ": does not exist"}},
      {"a shard is empty", [=](const auto& path) { test::write_file(path / one, ""); }, {one, "cut short"}},
      {"a shard is cut",
       [=](const auto& path) { std::filesystem::resize_file(path / one, std::filesystem::file_size(path / one) - 4); },
       {one, "data_offsets", "bytes after its header"}},
      {"a tensor in two shards",
       [=](const auto& path) { test::write_file(path / two, test::safetensors_bytes(test::sample_llama().tensors)); },
       {"is in " + one + ", too", two + ": has tensor"}},
      {"a tensor in the wrong shard",
       index([=](json& text) { text["weight_map"][norm] = other(text["weight_map"]); }),
       {"has no tensor " + norm + ", which", "has tensor " + norm + ", which"}},
      {"in the index and in no shard",
       index([=](json& text) { text["weight_map"]["model.extra"] = one; }),
       {one + ": has no tensor model.extra"}},
      {"in a shard and not in the index",
       index([=](json& text) { text["weight_map"].erase(norm); }),
       {"has tensor " + norm + ", which model.safetensors.index.json does not place in it"}},
      {"no weight_map", index([](json& text) { text.erase("weight_map"); }), {"weight_map is missing"}},
      {"weight_map is a list",
       index([](json& text) {
         text["weight_map"] = {1, 2};
       }),
       {"weight_map is a list of 2"}},
      {"weight_map is empty", index([](json& text) { text["weight_map"] = json::object(); }), {"weight_map is empty"}},
      {"a number for a shard",
       index([=](json& text) { text["weight_map"][norm] = 1; }),
       {"places tensor " + norm + " in 1"}},
      {"a shard elsewhere",
       index([=](json& text) { text["weight_map"][norm] = "../other.safetensors"; }),
       {"in \"../other.safetensors\"", "a file of this directory"}},
      {"a shard with an absolute path",
       index([=](json& text) { text["weight_map"][norm] = "/etc/passwd"; }),
       {"in \"/etc/passwd\""}},
      {"the index is no JSON",
       [](const auto& path) { test::write_file(path / "model.safetensors.index.json", "{\"weight_map\""); },
       {"index.json: is not JSON"}},
      {"a tensor twice in the index",
       [](const auto& path) {
         test::write_file(path / "model.safetensors.index.json", R"({"weight_map": {"a": "b", "a": "c"}})");
       },
       {"names \"a\" twice"}},
  };
}

TEST(ModelDirectoryTest, EveryDamageIsNamedWithACure) {
  const test::TemporaryFolder folder;
  int count = 0;
  for (const Damage& damage : damages()) {
    const std::filesystem::path path = folder / std::to_string(count++);
    test::write_model(path, test::sample_llama(), 2);
    ASSERT_NO_THROW(ModelDirectory{path});
    damage.damage(path);
    const std::string message = message_of(path);
    EXPECT_NE(message.find(path.string()), std::string::npos) << damage.name << "\n" << message;
    EXPECT_NE(message.find("; "), std::string::npos) << damage.name << "\n" << message;
    for (const std::string& words : damage.words)
      EXPECT_NE(message.find(words), std::string::npos) << damage.name << " lacks " << words << "\n" << message;
  }
}

TEST(ModelDirectoryTest, APathThatIsNoDirectoryIsRefused) {
  const test::TemporaryFolder folder;
  test::write_file(folder / "file", "x");
  EXPECT_NE(message_of(folder / "file").find("is a file, not a directory"), std::string::npos);
  EXPECT_NE(message_of(folder / "none").find("does not exist"), std::string::npos);
}

TEST(ModelDirectoryTest, NamesAFileWithoutPermission) {
  const test::TemporaryFolder folder;
  test::write_model(folder / "m", test::sample_llama());
  ::chmod((folder / "m" / "config.json").c_str(), 0);
  ::chmod(folder.path().c_str(), 0755);
  const test::WithoutPrivileges nobody;
  EXPECT_NE(message_of(folder / "m").find("Permission denied"), std::string::npos) << message_of(folder / "m");
}

}  // namespace
}  // namespace penstock::model_directory_test

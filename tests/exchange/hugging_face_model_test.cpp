// SPDX-License-Identifier: Apache-2.0
#include "exchange/hugging_face_model.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "exchange/sample_models.hpp"

namespace penstock::hugging_face_model_test {
namespace {

using nlohmann::json;

Box whole(const Shape& shape) { return {.offset = {}, .extent = shape}; }

std::vector<float> read(const HuggingFaceModel& model, const std::string& name, const Box& box) {
  std::vector<float> values(static_cast<std::size_t>(box.elements()));
  model.read_box(model.find(name).value(), box, values.data());
  return values;
}
std::vector<float> read(const HuggingFaceModel& model, const std::string& name) {
  return read(model, name, whole(model.parameters()[model.find(name).value()].shape));
}

/// The values of a sample tensor; `columns` > 0: of its transpose, where it has as many columns.
std::vector<float> stored(const std::string& tensor, std::int64_t elements, std::int64_t columns = 0) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < elements; ++i) {
    const std::int64_t rows = columns > 0 ? elements / columns : 0;
    values.push_back(test::sample_value(tensor, columns > 0 ? i % rows * columns + i / rows : i, "F32"));
  }
  return values;
}

std::vector<float> joined(const std::vector<std::vector<float>>& parts) {
  std::vector<float> all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

TEST(HuggingFaceModelTest, GivesEachParameterOfLlamaItsTensors) {
  const test::TemporaryFolder folder;
  test::write_model(folder / "m", test::sample_llama(), 3);
  const HuggingFaceModel model(folder / "m");
  EXPECT_TRUE(model.prefixed());
  EXPECT_EQ(model.stored_type(), StoredType::float32);
  const std::string layer = "model.layers.1.", attention = layer + "self_attn.";
  EXPECT_EQ(read(model, "embedding.token.weight"), stored("model.embed_tokens.weight", 51 * 24));
  EXPECT_EQ(read(model, "blocks.1.attention_norm.weight"), stored(layer + "input_layernorm.weight", 24));
  EXPECT_EQ(read(model, "blocks.1.mlp_norm.weight"), stored(layer + "post_attention_layernorm.weight", 24));
  EXPECT_EQ(read(model, "blocks.1.attention.qkv.weight"),
            joined({stored(attention + "q_proj.weight", 32 * 24), stored(attention + "k_proj.weight", 16 * 24),
                    stored(attention + "v_proj.weight", 16 * 24)}));
  EXPECT_EQ(read(model, "blocks.1.attention.qkv.bias"),
            joined({stored(attention + "q_proj.bias", 32), stored(attention + "k_proj.bias", 16),
                    stored(attention + "v_proj.bias", 16)}));
  EXPECT_EQ(read(model, "blocks.1.attention.output.weight"), stored(attention + "o_proj.weight", 24 * 32));
  EXPECT_EQ(read(model, "blocks.1.mlp.gate.weight"), stored(layer + "mlp.gate_proj.weight", 40 * 24));
  EXPECT_EQ(read(model, "blocks.1.mlp.up.weight"), stored(layer + "mlp.up_proj.weight", 40 * 24));
  EXPECT_EQ(read(model, "blocks.1.mlp.down.bias"), stored(layer + "mlp.down_proj.bias", 24));
  EXPECT_EQ(read(model, "final_norm.weight"), stored("model.norm.weight", 24));
  EXPECT_EQ(read(model, "head.weight"), stored("lm_head.weight", 51 * 24));
  EXPECT_EQ(model.parameters().size(), 3U + 2 * 12);
}

TEST(HuggingFaceModelTest, GivesEachParameterOfGpt2ItsTensorTurned) {
  const test::TemporaryFolder folder;
  test::write_model(folder / "m", test::sample_gpt2());
  const HuggingFaceModel model(folder / "m");
  const std::string layer = "transformer.h.1.";
  EXPECT_EQ(read(model, "embedding.token.weight"), stored("transformer.wte.weight", 51 * 24));
  EXPECT_EQ(read(model, "embedding.position.weight"), stored("transformer.wpe.weight", 16 * 24));
  EXPECT_EQ(read(model, "blocks.1.attention_norm.bias"), stored(layer + "ln_1.bias", 24));
  EXPECT_EQ(read(model, "blocks.1.attention.qkv.weight"), stored(layer + "attn.c_attn.weight", 24 * 72, 72));
  EXPECT_EQ(read(model, "blocks.1.attention.qkv.bias"), stored(layer + "attn.c_attn.bias", 72));
  EXPECT_EQ(read(model, "blocks.1.attention.output.weight"), stored(layer + "attn.c_proj.weight", 24 * 24, 24));
  EXPECT_EQ(read(model, "blocks.1.mlp_norm.weight"), stored(layer + "ln_2.weight", 24));
  EXPECT_EQ(read(model, "blocks.1.mlp.up.weight"), stored(layer + "mlp.c_fc.weight", 24 * 40, 40));
  EXPECT_EQ(read(model, "blocks.1.mlp.down.weight"), stored(layer + "mlp.c_proj.weight", 40 * 24, 24));
  EXPECT_EQ(read(model, "final_norm.weight"), stored("transformer.ln_f.weight", 24));
  EXPECT_FALSE(model.find("head.weight"));
  EXPECT_EQ(model.parameters().size(), 4U + 2 * 12);
}

TEST(HuggingFaceModelTest, EachFamilyHasItsOwnBiasesAndNorms) {
  const test::TemporaryFolder folder;
  for (const std::string family : {"llama", "mistral", "qwen2", "qwen3"})
    for (const std::string prefix : {"model.", ""})
      for (const bool tied : {false, true}) {
        const std::filesystem::path path = folder / (family + prefix + std::to_string(tied));
        test::write_model(path, test::sample_llama(family, tied, "BF16", prefix));
        const HuggingFaceModel model(path);
        EXPECT_EQ(model.prefixed(), !prefix.empty());
        EXPECT_EQ(model.stored_type(), StoredType::bfloat16);
        const auto has = [&](const std::string& name) { return model.find("blocks.0." + name).has_value(); };
        EXPECT_EQ(has("attention.qkv.bias"), family != "mistral");
        EXPECT_EQ(has("attention.output.bias"), family == "llama" || family == "qwen3");
        EXPECT_EQ(has("mlp.gate.bias"), family == "llama");
        EXPECT_EQ(has("attention.query_norm.weight"), family == "qwen3");
        EXPECT_EQ(model.find("head.weight").has_value(), !tied);
      }
}

TEST(HuggingFaceModelTest, EveryBoxIsThatOfTheWholeParameter) {
  const test::TemporaryFolder folder;
  test::write_model(folder / "gpt2", test::sample_gpt2("BF16", ""), 2);
  test::write_model(folder / "qwen3", test::sample_llama("qwen3"), 2);
  std::int64_t boxes = 0;
  for (const std::string name : {"gpt2", "qwen3"}) {
    const HuggingFaceModel model(folder / name);
    for (const ExchangedParameter& parameter : model.parameters()) {
      const std::vector<float> all = read(model, parameter.name);
      const bool matrix = parameter.shape.dimensions() == 2;
      const std::int64_t rows = parameter.shape[0], columns = parameter.columns();
      for (const std::int64_t parts : {1, 2, 3})
        for (const std::int64_t column_parts : {1, 4})
          for (std::int64_t p = 0; p < parts * (matrix ? column_parts : 1); ++p) {
            const std::int64_t r = rows * (p % parts) / parts, c = matrix ? columns * (p / parts) / column_parts : 0;
            const std::int64_t r_end = rows * (p % parts + 1) / parts;
            const std::int64_t c_end = matrix ? columns * (p / parts + 1) / column_parts : 1;
            const Box box{.offset = {r, matrix ? c : 0},
                          .extent = matrix ? Shape{r_end - r, c_end - c} : Shape{r_end - r}};
            std::vector<float> expected;
            for (std::int64_t i = r; i < r_end; ++i)
              for (std::int64_t j = c; j < c_end; ++j)
                expected.push_back(all[static_cast<std::size_t>(i * columns + j)]);
            ASSERT_EQ(read(model, parameter.name, box), expected) << parameter.name << " " << p << "/" << parts;
            ++boxes;
          }
    }
  }
  EXPECT_GT(boxes, 1000);
}

TEST(HuggingFaceModelTest, ABoxThatLeavesItsParameterIsALogicError) {
  const test::TemporaryFolder folder;
  test::write_model(folder / "m", test::sample_llama());
  const HuggingFaceModel model(folder / "m");
  std::vector<float> values(10000);
  EXPECT_THROW(model.read_box(0, {.offset = {50, 0}, .extent = {2, 24}}, values.data()), LogicError);
  EXPECT_THROW(model.read_box(0, {.offset = {0, 1}, .extent = {2, 24}}, values.data()), LogicError);
  EXPECT_THROW(model.read_box(0, {.offset = {0}, .extent = {24}}, values.data()), LogicError);
}

TEST(HuggingFaceModelTest, MasksAndComputedTablesAreLeftOut) {
  const test::TemporaryFolder folder;
  test::SampleModel gpt2 = test::sample_gpt2("F32", "");
  gpt2.tensors["h.0.attn.bias"] = {"BOOL", {1, 1, 16, 16}, std::string(256, '\1')};
  gpt2.tensors["h.1.attn.masked_bias"] = {"F32", {}, std::string(4, '\0')};
  test::write_model(folder / "gpt2", gpt2);
  EXPECT_NO_THROW(HuggingFaceModel(folder / "gpt2"));
  test::SampleModel llama = test::sample_llama();
  llama.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {"F32", {4}, std::string(16, '\0')};
  test::write_model(folder / "llama", llama);
  EXPECT_NO_THROW(HuggingFaceModel(folder / "llama"));
}

TEST(HuggingFaceModelTest, ATiedHeadInTheFilesMustBeTheEmbedding) {
  const test::TemporaryFolder folder;
  test::SampleModel model = test::sample_llama("llama", true);
  EXPECT_NO_THROW([&] {
    test::write_model(folder / "none", model);
    HuggingFaceModel(folder / "none").check_tied_head();
  }());
  model.tensors["lm_head.weight"] = model.tensors["model.embed_tokens.weight"];
  test::write_model(folder / "equal", model, 2);
  for (int part = 0; part < 60; ++part) EXPECT_NO_THROW(HuggingFaceModel(folder / "equal").check_tied_head(part, 60));
  model.tensors["lm_head.weight"].bytes[(40 * 24 + 3) * 4] ^= 1;
  test::write_model(folder / "other", model, 2);
  const HuggingFaceModel other(folder / "other");
  const std::string message = test::input_error([&] { other.check_tied_head(); });
  for (const std::string words : {"tensor lm_head.weight and model.embed_tokens.weight differ", "tie_word_embeddings"})
    EXPECT_NE(message.find(words), std::string::npos) << message;
  EXPECT_NO_THROW(other.check_tied_head(0, 2));  // rows 0 to 24
  EXPECT_THROW(other.check_tied_head(1, 2), InputError);
}

struct Damage {
  std::string name;
  std::function<void(test::SampleModel&)> damage;
  std::vector<std::string> words;
};

std::vector<Damage> damages() {
  const std::string k = "model.layers.0.self_attn.k_proj.weight";
  return {
      {"missing",
       [=](auto& m) { m.tensors.erase(k); },
       {"has no tensor " + k, "of which blocks.0.attention.qkv.weight is made"}},
      {"no head",
       [](auto& m) { m.tensors.erase("lm_head.weight"); },
       {"has no tensor lm_head.weight", "tie_word_embeddings = false"}},
      {"left over",
       [](auto& m) {
         m.tensors["model.layers.2.mlp.up_proj.weight"] = {"F32", {0}, ""};
       },
       {"tensor model.layers.2.mlp.up_proj.weight is no part of a llama model"}},
      {"another head",
       [](auto& m) {
         m.tensors["score.weight"] = {"F32", {1}, "1234"};
       },
       {"tensor score.weight is no part"}},
      {"a mask of another family",
       [](auto& m) {
         m.tensors["model.layers.0.attn.bias"] = {"F32", {1}, "1234"};
       },
       {"tensor model.layers.0.attn.bias is no part"}},
      {"a scale of quantized weights",
       [=](auto& m) {
         m.tensors[k + "_scale"] = {"F32", {1}, "1234"};
       },
       {k + "_scale is no part"}},
      {"rows for columns",
       [=](auto& m) { std::swap(m.tensors[k].shape[0], m.tensors[k].shape[1]); },
       {"tensor " + k + " has the shape [24, 16], and blocks.0.attention.qkv.weight needs [16, 24]"}},
      {"three dimensions",
       [=](auto& m) {
         m.tensors[k].shape = {2, 8, 24};
       },
       {"has the shape [2, 8, 24]"}},
      {"flat", [=](auto& m) { m.tensors[k].shape = {384}; }, {"has the shape [384]"}},
      {"padded vocabulary",
       [](auto& m) {
         m.tensors["lm_head.weight"] = test::sample_tensor("lm_head.weight", {64, 24}, "F32");
       },
       {"lm_head.weight has the shape [64, 24], and head.weight needs [51, 24]"}},
      {"quantized",
       [=](auto& m) {
         m.tensors[k] = {"I8", {16, 24}, std::string(384, 'x')};
       },
       {"tensor " + k + " is stored as I8", "not quantized"}},
      {"float8",
       [=](auto& m) {
         m.tensors[k] = {"F8_E4M3", {16, 24}, std::string(384, 'x')};
       },
       {"stored as F8_E4M3"}},
      {"more kv heads in config.json",
       [](auto& m) { m.config["num_key_value_heads"] = 4; },
       {"k_proj.weight has the shape [16, 24]", "needs [32, 24]", "k_proj.bias"}},
      {"fewer layers in config.json",
       [](auto& m) { m.config["num_hidden_layers"] = 1; },
       {"tensor model.layers.1.input_layernorm.weight is no part"}},
      {"more layers than tensors",
       [](auto& m) { m.config["num_hidden_layers"] = 1 << 30; },
       {"num_hidden_layers = 1073741824", "35 tensors in all"}},
      {"no biases in config.json",
       [](auto& m) { m.config["attention_bias"] = false; },
       {"q_proj.bias is no part of a llama model"}},
      {"another family in config.json",
       [](auto& m) {
         for (const char* key : {"attention_bias", "mlp_bias"}) m.config.erase(key);
         m.config["model_type"] = "qwen3";
       },
       {"has no tensor model.layers.0.self_attn.q_norm.weight", "mlp.gate_proj.bias is no part of a qwen3 model"}},
      {"names with two prefixes",
       [=](auto& m) {
         m.tensors["layers.0.self_attn.k_proj.weight"] = m.tensors[k];
         m.tensors.erase(k);
       },
       {"has no tensor " + k, "tensor layers.0.self_attn.k_proj.weight is no part"}},
      {"config.json of something else",
       [](auto& m) {
         m.config = {{"model_type", "t5"}};
       },
       {"config.json: model_type = \"t5\""}},
  };
}

TEST(HuggingFaceModelTest, EveryDamageIsNamedWithACure) {
  const test::TemporaryFolder folder;
  int count = 0;
  for (const Damage& damage : damages()) {
    const std::filesystem::path path = folder / std::to_string(count++);
    test::SampleModel model = test::sample_llama();
    damage.damage(model);
    test::write_model(path, model);
    const std::string message = test::input_error([&] { HuggingFaceModel opened(path); });
    EXPECT_NE(message.find(path.string()), std::string::npos) << damage.name << "\n" << message;
    EXPECT_NE(message.find("; "), std::string::npos) << damage.name << "\n" << message;
    for (const std::string& words : damage.words)
      EXPECT_NE(message.find(words), std::string::npos) << damage.name << " lacks " << words << "\n" << message;
  }
}

TEST(HuggingFaceModelTest, ReportsAllTensorsAtOnceAndNotWithoutEnd) {
  const test::TemporaryFolder folder;
  test::SampleModel model = test::sample_llama();
  model.tensors.erase("model.norm.weight");
  model.tensors["model.layers.0.input_layernorm.weight"].shape = {4, 6};
  for (int i = 0; i < 300; ++i) model.tensors["extra." + std::to_string(i)] = {"F32", {1}, "1234"};
  test::write_model(folder / "m", model);
  const std::string message = test::input_error([&] { HuggingFaceModel opened(folder / "m"); });
  for (const std::string words : {"has no tensor model.norm.weight", "has the shape [4, 6]",
                                  "tensor extra.0 is no part", "and 280 more tensors are left over"})
    EXPECT_NE(message.find(words), std::string::npos) << message;
  EXPECT_LT(message.size(), 10000U);
}

}  // namespace
}  // namespace penstock::hugging_face_model_test

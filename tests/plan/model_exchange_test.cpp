// SPDX-License-Identifier: Apache-2.0
#include "plan/model_exchange.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "exchange/exchanged_parameter.hpp"
#include "exchange/sample_models.hpp"
#include "model/model_parameters.hpp"
#include "model/partition.hpp"
#include "plan/model_section.hpp"

namespace penstock::model_exchange_test {
namespace {

using nlohmann::json;

/// config.json of each family, with all that it can say, and other numbers everywhere.
std::vector<json> sample_configs() {
  std::vector<json> configs{test::sample_gpt2().config};
  for (const std::string family : {"llama", "mistral", "qwen2", "qwen3"})
    for (const bool tied : {false, true}) {
      json config = test::sample_llama(family, tied).config;
      config["rms_norm_eps"] = 3e-6;
      if (family == "mistral") config["sliding_window"] = 7;
      configs.push_back(config);
    }
  for (const json& rope : {json{{"rope_type", "linear"}, {"factor", 2.5}},
                           json{{"rope_type", "llama3"},
                                {"factor", 32},
                                {"low_freq_factor", 1.5},
                                {"high_freq_factor", 3.5},
                                {"original_max_position_embeddings", 48}},
                           json{{"rope_type", "yarn"}, {"factor", 4}, {"original_max_position_embeddings", 24}}}) {
    configs.push_back(test::sample_llama("llama").config);
    configs.back()["rope_scaling"] = rope;
  }
  json plain = test::sample_llama("llama").config;
  plain["attention_bias"] = plain["mlp_bias"] = false;
  configs.push_back(plain);
  return configs;
}

HuggingFaceConfig parsed(const json& config) { return parse_hugging_face_config(config.dump(), "config.json"); }

TEST(ModelExchange, EveryFieldComesBack) {
  for (const json& config : sample_configs()) {
    const HuggingFaceConfig theirs = parsed(config);
    const ModelConfig ours = model_config_of(theirs, "config.json");
    EXPECT_EQ(hugging_face_config_of(ours), theirs) << config;
    // By way of a deck's text, too.
    const ModelConfig read = read_model_section(Deck::parse(model_section(ours), "deck"));
    EXPECT_EQ(hugging_face_config_of(read), theirs) << model_section(ours);
  }
}

TEST(ModelExchange, BothSidesHaveTheSameParameters) {
  for (const json& config : sample_configs()) {
    const HuggingFaceConfig theirs = parsed(config);
    const ModelDescription model = describe_model(model_config_of(theirs, "config.json"));
    const std::vector<StagePart> parts{
        {.stage = 0, .first_block = 0, .blocks = static_cast<int>(theirs.layers), .embedding = true, .head = true}};
    std::map<std::string, std::string> in_decks, in_directories;
    for (const ParameterSpec& spec : model_parameters(model, {}, parts)) in_decks[spec.name] = spec.shape.text();
    for (const ExchangedParameter& parameter : exchanged_parameters(theirs))
      in_directories[parameter.name] = parameter.shape.text();
    EXPECT_EQ(in_decks, in_directories) << config;
  }
}

TEST(ModelExchange, ZerosOfADeckAreSpelledOut) {
  const HuggingFaceConfig config = hugging_face_config_of({.layers = 2, .width = 24, .heads = 3, .positions = 16});
  EXPECT_EQ(config.kv_heads, 3);
  EXPECT_EQ(config.head_channels, 8);
  EXPECT_EQ(config.hidden, 96);
}

TEST(ModelExchange, WhatAFamilyOfOursDoesNotComputeIsRefused) {
  json head = test::sample_gpt2().config, epsilon = head, window = test::sample_llama("qwen2").config;
  head["tie_word_embeddings"] = false;
  epsilon["layer_norm_epsilon"] = 1e-6;
  window["use_sliding_window"] = true;
  window["sliding_window"] = 16;
  window["max_window_layers"] = 0;
  for (const json& config : {head, epsilon, window}) try {
      model_config_of(parsed(config), "DIR/config.json");
      ADD_FAILURE() << config;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("DIR/config.json: Penstock's"), std::string::npos) << error.what();
    }
}

}  // namespace
}  // namespace penstock::model_exchange_test

// SPDX-License-Identifier: Apache-2.0
#include "plan/model_section.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"

namespace penstock::model_section_test {
namespace {

const ModelConfig weights{.family = "llama",
                          .layers = 4,
                          .width = 32,
                          .heads = 4,
                          .kv_heads = 2,
                          .head_channels = 8,
                          .hidden = 88,
                          .positions = 64,
                          .norm_epsilon = static_cast<double>(1e-5F),
                          .rope_theta = 5e5,
                          .tied = true};
constexpr const char* place = "DIR/config.json";

Deck completed(const std::string& text, const std::vector<std::string>& settings = {}) {
  Deck deck = Deck::parse(text, "deck.toml");
  for (const std::string& setting : settings) deck.set(setting);
  take_model_of_weights(deck, weights, place);
  return deck;
}

std::string refusal(const std::string& text, const std::vector<std::string>& settings = {}) {
  try {
    completed(text, settings);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(ModelSection, ADeckWithoutOneTakesAllOfIt) {
  const Deck deck = completed("[run]\nsteps = 3\n");
  const ModelConfig model = read_model_section(deck);
  EXPECT_EQ(model_section(model), model_section(weights));
  EXPECT_TRUE(deck.says("run.steps"));
  EXPECT_FALSE(deck.says("model.window"));  // of another family
  EXPECT_FALSE(deck.says("model.dropout_residual"));
}

TEST(ModelSection, WhatIsSaidStaysWhereItAgrees) {
  // Elsewhere 0 means 4 * width; here the weights' own number counts.
  const ModelConfig model = read_model_section(completed(
      "[model]\nfamily = \"llama\"\nheads = 4\npositions = 16\nnorm_epsilon = 1e-5\ndropout_residual = 0.25\n"));
  EXPECT_EQ(model.positions, 16);
  EXPECT_EQ(model.dropout_residual, 0.25);
  EXPECT_EQ(model.norm_epsilon, 1e-5);
  EXPECT_EQ(model.hidden, 88);
}

TEST(ModelSection, AnotherModelIsRefusedWithAllKeys) {
  const std::string message = refusal("[model]\nheads = 8\npositions = 65\n", {"model.hidden=0"});
  for (const char* part : {"deck.toml:2: model.heads = 8, and model.heads = 4 in DIR/config.json",
                           "deck.toml:3: model.positions = 65, and model.positions = 64",
                           "--set model.hidden=0: model.hidden = 128, and model.hidden = 88"})
    EXPECT_NE(message.find(part), std::string::npos) << part << "\n" << message;
}

TEST(ModelSection, OfAnotherFamilyThatAloneIsSaid) {
  const std::string message = refusal("[model]\nfamily = \"gpt2\"\nheads = 8\n");
  EXPECT_NE(message.find("model.family = \"gpt2\", and model.family = \"llama\" in DIR/config.json"), std::string::npos)
      << message;
  EXPECT_EQ(message.find("model.heads"), std::string::npos) << message;
}

TEST(ModelSection, LearnedPositionsAreAllThere) {
  Deck deck = Deck::parse("[model]\npositions = 8\n", "deck.toml");
  EXPECT_THROW(take_model_of_weights(deck, {.layers = 2, .width = 8, .heads = 2, .positions = 16}, place), InputError);
}

TEST(ModelSection, ADeckThatHasNoneIsNoModel) {
  EXPECT_THROW(read_model_section(Deck::parse("[run]\nsteps = 3\n", "deck.toml")), InputError);
}

}  // namespace
}  // namespace penstock::model_section_test

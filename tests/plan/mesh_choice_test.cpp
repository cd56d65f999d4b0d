// SPDX-License-Identifier: Apache-2.0
#include "plan/mesh_choice.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"

namespace penstock::mesh_choice_test {
namespace {

Deck deck_with(const std::vector<std::string>& settings) {
  Deck deck = Deck::parse(R"(
[run]
steps = 10
[data]
train = "train.tok"
sequence = 64
[model]
layers = 8
width = 96
heads = 12
positions = 128
[batch]
global = 16
micro = 2
[optimizer]
learning_rate = 1e-3
[mesh]
auto = true
)",
                          "small.toml");
  for (const std::string& setting : settings) deck.set(setting);
  return deck;
}

std::string mesh_of(const std::vector<std::string>& settings, int ranks) {
  return text_of(fit_mesh(deck_with(settings), ranks).config.mesh);
}

TEST(MeshChoice, TheDecksOwnMeshStaysWhereItFits) {
  EXPECT_EQ(mesh_of({"mesh.data=2", "mesh.pipeline=2", "mesh.tensor=4"}, 16), "data 2 x pipeline 2 x tensor 4");
}

TEST(MeshChoice, TheDataAxisShrinksAndGrowsFirst) {
  const std::vector<std::string> deck{"mesh.data=2", "mesh.pipeline=2", "mesh.tensor=2"};
  EXPECT_EQ(mesh_of(deck, 4), "data 1 x pipeline 2 x tensor 2");
  EXPECT_EQ(mesh_of(deck, 16), "data 4 x pipeline 2 x tensor 2");
}

TEST(MeshChoice, ThenThePipelineAndLastTheTensorAxis) {
  const std::vector<std::string> deck{"mesh.pipeline=4", "mesh.tensor=2"};
  EXPECT_EQ(mesh_of(deck, 4), "data 1 x pipeline 2 x tensor 2");
  EXPECT_EQ(mesh_of(deck, 2), "data 1 x pipeline 1 x tensor 2");
  EXPECT_EQ(mesh_of(deck, 1), "data 1 x pipeline 1 x tensor 1");
  EXPECT_EQ(mesh_of({"mesh.tensor=4"}, 2), "data 1 x pipeline 1 x tensor 2");
}

TEST(MeshChoice, WhatTheBatchOrTheModelRefusesIsPassedOver) {
  // 3 replicas do not divide 16 samples; 3 stages of 8 blocks are allowed.
  EXPECT_EQ(mesh_of({}, 3), "data 1 x pipeline 3 x tensor 1");
  // 16 replicas of microbatches of 2 samples need 32.
  EXPECT_EQ(mesh_of({"mesh.data=8"}, 16), "data 8 x pipeline 2 x tensor 1");
}

TEST(MeshChoice, TheEffectiveDeckSaysTheMesh) {
  const RunDeck deck = fit_mesh(deck_with({"mesh.data=4"}), 2);
  EXPECT_NE(deck.effective.find("data = 2"), std::string::npos);
}

TEST(MeshChoice, WhereNoneFitsTheNearestNumbersAreNamed) {
  try {
    mesh_of({}, 13);  // neither 16 samples, 8 blocks nor 12 heads are cut by 13
    FAIL() << "a mesh of 13 ranks was found";
  } catch (const InputError& error) {
    const std::string message = error.what();
    for (const char* part : {"no mesh of 13 ranks", "start 12 or 14 ranks", "mesh.data = 2 * 13"})
      EXPECT_NE(message.find(part), std::string::npos) << part << " in: " << message;
  }
}

TEST(MeshChoice, NumbersBeyondAllMeshesAreNotTried) {
  try {
    mesh_of({}, 1 << 20);  // one at a time they would take minutes
    FAIL() << "a mesh was found";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("no mesh of 1048576 ranks fits the deck; start 256 ranks"),
              std::string::npos)
        << error.what();
  }
}

TEST(MeshChoice, EveryMeshIsTriedOnce) {
  EXPECT_EQ(meshes_near({}, 12).size(), 18U);  // ordered factorizations of 12 into three
  for (const auto& mesh : meshes_near({}, 12)) EXPECT_EQ(mesh.data * mesh.pipeline * mesh.tensor, 12);
}

}  // namespace
}  // namespace penstock::mesh_choice_test

// SPDX-License-Identifier: Apache-2.0
#include "observe/speed_watch.hpp"

#include <gtest/gtest.h>

#include "plan/make_plan.hpp"

namespace penstock::speed_watch_test {
namespace {

std::vector<int> kinds_with(const std::vector<std::string>& settings) {
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
)",
                          "small.toml");
  for (const std::string& setting : settings) deck.set(setting);
  const RunConfig config = read_run_deck(deck).config;
  return kinds_of_work(make_plan(config), config.make_mesh());
}

using Kinds = std::vector<int>;

TEST(KindsOfWork, PeersOfTheDataAndTensorAxesHaveEqualWork) {
  EXPECT_EQ(kinds_with({"mesh.data=2", "mesh.tensor=2"}), (Kinds{0, 0, 0, 0}));
}

TEST(KindsOfWork, TheFirstAndTheLastStageHaveMoreThanBlocks) {
  EXPECT_EQ(kinds_with({"mesh.pipeline=2"}), (Kinds{0, 1}));
  EXPECT_EQ(kinds_with({"mesh.pipeline=4", "schedule.partition=[2, 2, 2, 2]"}), (Kinds{0, 1, 1, 2}));
  EXPECT_EQ(kinds_with({"mesh.pipeline=2", "mesh.data=2"}), (Kinds{0, 0, 1, 1}));
}

TEST(KindsOfWork, BlocksAreCounted) {
  EXPECT_EQ(kinds_with({"mesh.pipeline=4", "schedule.partition=[2, 3, 2, 1]"}), (Kinds{0, 1, 2, 3}));
}

TEST(KindsOfWork, ARanksStagesCountTogether) {
  // Rank 0 has stages 0 and 3, with embedding and head, rank 1 those in between.
  EXPECT_EQ(kinds_with({"mesh.pipeline=2", "schedule.name=zb-v", "schedule.partition=[2, 2, 2, 2]"}), (Kinds{0, 1}));
}

}  // namespace
}  // namespace penstock::speed_watch_test

// SPDX-License-Identifier: Apache-2.0
#include "plan/fit.hpp"
#include "plan/make_plan.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace penstock::fit_test {
namespace {

constexpr std::size_t mebibyte = 1 << 20;

RunDeck deck_with(const std::vector<std::string>& settings) {
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
micro = 8
[optimizer]
learning_rate = 1e-3
)",
                          "tiny.toml");
  for (const std::string& setting : settings) deck.set(setting);
  return read_run_deck(deck);
}

std::size_t planned(const std::vector<std::string>& settings) {
  const RunConfig config = deck_with(settings).config;
  return most_planned_bytes(config, make_plan(config), 1);
}

std::vector<std::string> settings_for(const std::vector<std::string>& settings, std::size_t room) {
  const auto change = smallest_fitting_change(deck_with(settings), room, 1);
  return change ? change->settings : std::vector<std::string>{};
}

using Settings = std::vector<std::string>;

TEST(SmallestFittingChange, IsTheCheapestPolicyThatFits) {
  EXPECT_EQ(settings_for({}, planned({}) - 1), Settings{"recompute.policy = \"elementwise\""});
  EXPECT_EQ(settings_for({}, planned({"recompute.policy=elementwise"})),
            Settings{"recompute.policy = \"elementwise\""});
  EXPECT_EQ(settings_for({}, planned({"recompute.policy=block"})), Settings{"recompute.policy = \"block\""});
  EXPECT_EQ(settings_for({"mesh.tensor=2"}, planned({"mesh.tensor=2", "recompute.policy=block-local"})),
            Settings{"recompute.policy = \"block-local\""});
}

TEST(SmallestFittingChange, TellsWhatTheChangedDeckPlans) {
  const auto change = smallest_fitting_change(deck_with({}), planned({"recompute.policy=block"}), 1);
  ASSERT_TRUE(change);
  EXPECT_EQ(change->planned, planned({"recompute.policy=block"}));
  EXPECT_EQ(change->ranks, 1);
  EXPECT_EQ(advice_text(change, 1), fmt::format("recompute.policy = \"block\" would need {:.1f} MiB",
                                                static_cast<double>(change->planned) / mebibyte));
}

TEST(SmallestFittingChange, CutsMicrobatchesWhereRecomputationIsNotEnough) {
  const Settings block{"recompute.policy=block"};
  EXPECT_EQ(settings_for(block, planned({"recompute.policy=block", "batch.micro=4"})), Settings{"batch.micro = 4"});
  EXPECT_EQ(settings_for(block, planned({"recompute.policy=block", "batch.micro=1"})), Settings{"batch.micro = 1"});
}

TEST(SmallestFittingChange, ShardsTheOptimizerWhereThereAreReplicas) {
  const Settings whole{"mesh.data=2", "recompute.policy=block", "batch.micro=1", "optimizer.shard=false"};
  const Settings sharded{"mesh.data=2", "recompute.policy=block", "batch.micro=1", "optimizer.shard=true"};
  ASSERT_LT(planned(sharded), planned(whole));
  EXPECT_EQ(settings_for(whole, planned(sharded)), Settings{"optimizer.shard = true"});
}

TEST(SmallestFittingChange, JoinsSeveralBeforeItAsksForRanks) {
  const std::size_t both = planned({"recompute.policy=block", "batch.micro=1"});
  ASSERT_LT(both, std::min(planned({"recompute.policy=block"}), planned({"batch.micro=1"})));
  EXPECT_EQ(settings_for({}, both), (Settings{"recompute.policy = \"block\"", "batch.micro = 1"}));
}

TEST(SmallestFittingChange, AsksForTheFewestRanksThenForThePipelineFirst) {
  const Settings least{"recompute.policy=block", "batch.micro=1"};
  const auto on = [&](const std::string& mesh) { return planned({least[0], least[1], mesh}); };
  const std::size_t pipeline = on("mesh.pipeline=2"), tensor = on("mesh.tensor=2");
  ASSERT_LT(std::max(pipeline, tensor), planned(least));
  const auto change = smallest_fitting_change(deck_with(least), std::max(pipeline, tensor), 1);
  ASSERT_TRUE(change);
  EXPECT_EQ(change->settings, Settings{"mesh.pipeline = 2"});
  EXPECT_EQ(change->ranks, 2);
  EXPECT_EQ(advice_text(change, 1),
            fmt::format("mesh.pipeline = 2 on 2 ranks with as much memory each would need {:.1f} MiB",
                        static_cast<double>(pipeline) / mebibyte));
}

TEST(SmallestFittingChange, NamesOnlyDecksThatAreTaken) {
  // With 5 samples of validation no smaller microbatch but one divides, and no second replica.
  const Settings settings{"batch.global=10", "batch.micro=5", "data.validation=x", "validation.samples=5",
                          "recompute.policy=block"};
  const auto change = smallest_fitting_change(deck_with(settings), planned(settings) - 1, 1);
  ASSERT_TRUE(change);
  EXPECT_EQ(change->settings, Settings{"batch.micro = 1"});
}

TEST(SmallestFittingChange, IsNoneWhereNothingFits) {
  EXPECT_FALSE(smallest_fitting_change(deck_with({}), 1000, 1));
  EXPECT_NE(advice_text(std::nullopt, 1).find("smaller model"), std::string::npos);
}

MemoryDemand demand(int rank, int node, std::size_t planned, const std::string& device, std::size_t free,
                    bool may_be_freed = false) {
  return {.rank = rank,
          .node = node,
          .planned = planned,
          .room = {.device = device, .free = free, .total = 1000, .may_be_freed = may_be_freed}};
}

TEST(WorstShortage, IsNoneWhereEachDeviceHoldsItsRanks) {
  EXPECT_FALSE(worst_shortage({demand(0, 0, 900, "a", 950), demand(1, 0, 950, "b", 950), demand(2, 1, 950, "a", 950)},
                              50, RoomToday::free));
}

TEST(WorstShortage, LeavesRoomForWhatAProcessHoldsBesideItsPlan) {
  const auto shortage = worst_shortage({demand(0, 0, 951, "a", 1000)}, 50, RoomToday::free);
  ASSERT_TRUE(shortage);
  EXPECT_EQ(shortage->room, 950U);
}

TEST(WorstShortage, NamesTheLargestRankOfTheDeviceThatMissesMost) {
  const auto shortage = worst_shortage({demand(0, 0, 960, "a", 950), demand(1, 1, 500, "a", 900),
                                        demand(2, 1, 600, "a", 890), demand(3, 1, 600, "b", 900)},
                                       50, RoomToday::free);
  ASSERT_TRUE(shortage);
  EXPECT_EQ(shortage->largest.rank, 2);
  EXPECT_EQ(shortage->ranks, 2);
  EXPECT_EQ(shortage->planned, 1100U);
  EXPECT_EQ(shortage->room, 890U);
  EXPECT_EQ(shortage->room_each(), 445U);
}

TEST(WorstShortage, CountsOnWhatOthersHoldOnlyWhereItMayBeFreed) {
  const RoomToday later = RoomToday::with_what_others_hold;
  EXPECT_TRUE(worst_shortage({demand(0, 0, 500, "gpu", 400, false)}, 50, later));
  EXPECT_FALSE(worst_shortage({demand(0, 0, 500, "memory", 400, true)}, 50, later));
  EXPECT_TRUE(worst_shortage({demand(0, 0, 500, "memory", 400, true)}, 50, RoomToday::free));
  EXPECT_TRUE(worst_shortage({demand(0, 0, 960, "memory", 400, true)}, 50, later));
}

}  // namespace
}  // namespace penstock::fit_test

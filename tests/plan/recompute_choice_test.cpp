// SPDX-License-Identifier: Apache-2.0
#include "plan/recompute_choice.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <tuple>

#include "plan/fit.hpp"
#include "plan/make_plan.hpp"

namespace penstock::recompute_choice_test {
namespace {

RunConfig config_with(const std::vector<std::string>& settings) {
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
micro = 4
[optimizer]
learning_rate = 1e-3
[recompute]
policy = "auto"
)",
                          "tiny.toml");
  for (const std::string& setting : settings) deck.set(setting);
  return read_run_deck(deck).config;
}

const std::vector<std::vector<std::string>> decks{
    {},
    {"mesh.pipeline=2"},
    {"mesh.pipeline=3"},
    {"mesh.pipeline=4", "schedule.backward=fused"},
    {"mesh.pipeline=2", "mesh.tensor=2"},
    {"mesh.pipeline=2", "schedule.name=ring", "schedule.chunks=2"},
    {"mesh.pipeline=3", "schedule.partition=[1, 2, 5]", "mesh.data=2"},
    {"mesh.pipeline=2", "mesh.tensor=2", "precision.compute=bfloat16", "schedule.name=zb-h1"}};

/// What a step costs under these policies: the slowest rank's operations, and over all ranks what is computed again,
/// sent and moved.
using Price = std::tuple<double, double, std::int64_t, std::int64_t>;

Price price_of(const ModelPlan& plan) {
  const PartCosts operations = part_costs(*plan.model, plan.sequence);
  const auto tokens = static_cast<double>(plan.micro * plan.sequence * plan.microbatches());
  double slowest = 0, again = 0;
  std::int64_t sent = 0, moved = 0;
  for (int rank = 0; rank < plan.schedule.pipeline; ++rank) {
    std::int64_t blocks = 0;
    double own = 0;
    for (const int stage : plan.schedule.stages_of_rank(rank)) {
      const StagePart& part = plan.parts[static_cast<std::size_t>(stage)];
      blocks += part.blocks;
      own += 3 * part.blocks * operations.blocks.front() + (part.head ? 3 * operations.head : 0);
    }
    const RecomputeCost cost = recompute_cost(plan, rank) * (blocks * plan.microbatches());
    slowest = std::max(slowest, own * tokens / plan.cut.tensor + cost.flops);
    again += cost.flops;
    sent += cost.bytes_sent;
    moved += cost.bytes_moved;
  }
  return {slowest, again, sent, moved};
}

std::vector<Recompute> every_policy(const ModelPlan& plan) {
  std::vector all{Recompute::none, Recompute::elementwise, Recompute::attention, Recompute::block};
  if (plan.cut.tensor > 1) all.push_back(Recompute::block_local);
  return all;
}

/// Calls visit(plan) with every policy on every pipeline rank.
template <typename Visit>
void for_all_policies(ModelPlan& plan, const Visit& visit, std::size_t rank = 0) {
  if (rank == plan.recompute.size()) return visit(plan);
  for (const Recompute policy : every_policy(plan)) {
    plan.recompute[rank] = policy;
    for_all_policies(plan, visit, rank + 1);
  }
}

struct Found {
  Price price;
  std::vector<Recompute> policies;
  std::size_t planned = 0;
};

/// Every assignment of policies to ranks, with what its largest rank plans.
std::vector<Found> all_plans(const RunConfig& config) {
  std::vector<Found> all;
  ModelPlan tried = make_plan(config);
  for_all_policies(tried, [&](const ModelPlan& plan) {
    all.push_back({price_of(plan), plan.recompute, most_planned_bytes(config, plan, 1)});
  });
  return all;
}

std::optional<Found> cheapest_within(const std::vector<Found>& all, std::size_t room) {
  std::optional<Found> cheapest;
  for (const Found& found : all)
    if (found.planned <= room && (!cheapest || found.price < cheapest->price)) cheapest = found;
  return cheapest;
}

/// Limits between what the most frugal and the most lavish plan want, both included.
std::vector<std::size_t> limits_of(const std::vector<Found>& all) {
  const auto [least, most] =
      std::minmax_element(all.begin(), all.end(), [](const Found& a, const Found& b) { return a.planned < b.planned; });
  std::vector<std::size_t> limits;
  for (std::size_t part = 0; part <= 8; ++part)
    limits.push_back(least->planned + (most->planned - least->planned) * part / 8);
  return limits;
}

TEST(ChooseRecomputation, IsWhatASearchOfAllPoliciesFinds) {
  bool differ_by_rank = false;
  for (const std::vector<std::string>& settings : decks) {
    const RunConfig config = config_with(settings);
    const std::vector<Found> all = all_plans(config);
    for (const std::size_t room : limits_of(all)) {
      const std::optional<Found> cheapest = cheapest_within(all, room);
      ASSERT_TRUE(cheapest);
      const std::vector<Recompute> chosen = choose_recomputation(config, make_plan(config), room, 1).policies();
      EXPECT_EQ(chosen, cheapest->policies) << ::testing::PrintToString(settings) << ", room " << room;
      differ_by_rank |= std::adjacent_find(chosen.begin(), chosen.end(), std::not_equal_to<>()) != chosen.end();
    }
  }
  EXPECT_TRUE(differ_by_rank);
}

TEST(ChooseRecomputation, TakesWhatPlansLeastWhereNothingFits) {
  const RunConfig config = config_with({"mesh.pipeline=2"});
  EXPECT_EQ(choose_recomputation(config, make_plan(config), 0, 1).policies(), std::vector(2, Recompute::block));
}

TEST(ChooseRecomputation, ListsTheCostsOfEveryCandidateAndMarksTheChosen) {
  const RunConfig config = config_with({"mesh.pipeline=2"});
  const std::vector<std::string> lines = choice_lines(choose_recomputation(config, make_plan(config), 1, 1));
  EXPECT_EQ(lines.size(), 1U + 2 * 4);
  const auto with = [&](const char* part) {
    return std::count_if(lines.begin(), lines.end(),
                         [&](const std::string& line) { return line.find(part) != std::string::npos; });
  };
  EXPECT_EQ(with("<- chosen"), 2);
  EXPECT_EQ(with("does not fit"), 8);
  EXPECT_EQ(with("MiB sent"), 8);
}

TEST(MakePlanWithin, KeepsThePolicyThatADeckNames) {
  const RunConfig config = config_with({"recompute.policy=attention"});
  EXPECT_EQ(make_plan_within(config, 1, 1).recompute, std::vector{Recompute::attention});
}

}  // namespace
}  // namespace penstock::recompute_choice_test

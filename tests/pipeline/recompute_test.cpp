// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 1 2 4 LABELS parity
// Training steps under every recomputation policy: the bits of `none`, and the predicted messages.

#include <gtest/gtest.h>

#include <map>

#include "pipeline/tiny_model.hpp"
#include "schedule/tables.hpp"
#include "support/test_world.hpp"

namespace penstock::recompute_test {
namespace {

using test::TinyBatch;
using test::TinyRank;
using test::TinySetup;

constexpr int updates = 2;
constexpr int microbatches = 4;
constexpr Recompute policies[] = {Recompute::elementwise, Recompute::attention, Recompute::block,
                                  Recompute::block_local};

/// Every mesh of this world along pipeline and tensor, with cut and with whole rows, in both types, with a fused and a
/// split backward. Dropout everywhere.
std::vector<TinySetup> setups_of_this_world() {
  std::vector<TinySetup> all;
  for (const int tensor : {1, 2, 4})
    for (const bool sequence_parallel : {true, false})
      for (const DType compute : {DType::float32, DType::bfloat16})
        for (const Backward backward : {Backward::fused, Backward::split})
          if (test_world().size() % tensor == 0 && (tensor > 1 || sequence_parallel))
            all.push_back({.pipeline = test_world().size() / tensor,
                           .tensor = tensor,
                           .sequence_parallel = sequence_parallel,
                           .dropout = 0.1,
                           .microbatches = microbatches,
                           .compute = compute,
                           .backward = backward});
  return all;
}

struct Outcome {
  std::vector<StepResult> results;
  std::vector<std::vector<std::byte>> gradients;  ///< this rank's buffers after the last step
  std::uint64_t bytes_sent = 0;                   ///< by this rank on the tensor axis, in the steps
  int blocks = 0;                                 ///< on this rank
};

/// One stage has nobody to send its input gradient to, so the generator fuses its halves; this table parts them.
Schedule parted_halves() {
  return test::table(1, microbatches, {"0F0 0F1 0I0 0W0 0F2 0I1 0W1 0F3 0I2 0W2 0I3 0W3"}, false);
}

Outcome outcome_of(TinyRank& rank);

Outcome train(const TinySetup& setup, const Schedule* computing = nullptr) {
  const Schedule parted = parted_halves();
  if (!computing && setup.pipeline == 1 && setup.backward == Backward::split) computing = &parted;
  TinyRank rank(test_world(), setup, computing);
  return outcome_of(rank);
}

Outcome outcome_of(TinyRank& rank) {
  const std::uint64_t before = rank.communicators().group({Axis::tensor}).bytes_sent();
  Outcome outcome;
  for (const auto& [number, memory] : rank.model().stages()) outcome.blocks += memory.stage.part().blocks;
  for (int update = 1; update <= updates; ++update)
    outcome.results.push_back(rank.train({microbatches, static_cast<std::uint64_t>(100 * update)}, update));
  outcome.bytes_sent = rank.communicators().group({Axis::tensor}).bytes_sent() - before;
  for (std::size_t b = 0; b < rank.parameters().layout().buckets().size(); ++b)
    for (const TensorView& gradient : rank.parameters().memory(b).gradients) {
      const auto* first = static_cast<const std::byte*>(gradient.raw());
      outcome.gradients.emplace_back(first, first + gradient.bytes());
    }
  return outcome;
}

void expect_same_bits(const Outcome& found, const Outcome& expected, const std::string& where) {
  for (std::size_t step = 0; step < updates; ++step) {
    EXPECT_EQ(found.results[step].loss, expected.results[step].loss) << where;
    EXPECT_EQ(found.results[step].gradient_norm, expected.results[step].gradient_norm) << where;
  }
  ASSERT_EQ(found.gradients.size(), expected.gradients.size());
  for (std::size_t buffer = 0; buffer < found.gradients.size(); ++buffer)
    EXPECT_EQ(found.gradients[buffer], expected.gradients[buffer]) << "gradient buffer " << buffer << ", " << where;
}

TEST(Recompute, EveryPolicyHasTheBitsOfNone) {
  for (TinySetup setup : setups_of_this_world()) {
    const Outcome none = train(setup);
    EXPECT_GT(none.results.front().gradient_norm, 0);
    for (const Recompute policy : policies) {
      setup.recompute = policy;
      expect_same_bits(train(setup), none, setup.text());
    }
  }
}

TEST(Recompute, ADifferentPolicyOnEachPipelineRankHasTheBitsOfNone) {
  if (test_world().size() == 1) GTEST_SKIP() << "needs two pipeline ranks";
  for (const TinySetup& setup : setups_of_this_world()) {
    if (setup.pipeline == 1) continue;
    const Outcome none = train(setup);
    ModelPlan plan = test::tiny_plan(setup);
    for (std::size_t rank = 0; rank < plan.recompute.size(); ++rank) plan.recompute[rank] = policies[rank];
    TinyRank mixed(test_world(), plan, test::tiny_mesh(setup));
    expect_same_bits(outcome_of(mixed), none, setup.text());
  }
}

TEST(Recompute, EveryPolicyHasTheBitsOfNoneInEveryFamily) {
  for (const std::string& family : test::rotary_families)
    for (const Backward backward : {Backward::fused, Backward::split}) {
      TinySetup setup{.pipeline = test_world().size() > 2 ? 2 : 1,
                      .tensor = std::min(test_world().size(), 2),
                      .dropout = 0.1,
                      .microbatches = microbatches,
                      .compute = backward == Backward::fused ? DType::float32 : DType::bfloat16,
                      .backward = backward,
                      .family = family};
      const Outcome none = train(setup);
      EXPECT_GT(none.results.front().gradient_norm, 0);
      for (const Recompute policy : policies) {
        setup.recompute = policy;
        expect_same_bits(train(setup), none, setup.text());
      }
    }
}

TEST(Recompute, DeferredWeightGradientsReadWhatIsHeld) {
  if (test_world().size() == 1) GTEST_SKIP() << "needs two pipeline ranks";
  // Input gradients of several microbatches before the first weight gradient; a stage that does both I and B.
  const Schedule computing = test::table(
      2, microbatches, {"0F0 0F1 0F2 0F3 0I0 0I1 0W0 0I2 0I3 0W1 0W2 0W3", "1F0 1B0 1F1 1I1 1W1 1F2 1F3 1B2 1I3 1W3"},
      false);
  TinySetup setup{.pipeline = 2, .tensor = test_world().size() / 2, .dropout = 0.1, .microbatches = microbatches};
  for (const bool sequence_parallel : {true, false}) {
    setup.sequence_parallel = sequence_parallel;
    setup.recompute = Recompute::none;
    const Outcome none = train(setup, &computing);
    for (const Recompute policy : policies) {
      setup.recompute = policy;
      expect_same_bits(train(setup, &computing), none, setup.text());
    }
  }
}

TEST(Recompute, SeveralStagesOnARankShareOneBlocksBuffers) {
  if (test_world().size() != 2) GTEST_SKIP() << "two ranks with two stages each";
  for (const bool fused : {true, false}) {
    const Schedule computing = test::looped_table(2, 2, microbatches, fused);
    TinySetup setup{.pipeline = 2, .stages = 4, .dropout = 0.1, .microbatches = microbatches};
    const Outcome none = train(setup, &computing);
    for (const Recompute policy : policies) {
      setup.recompute = policy;
      expect_same_bits(train(setup, &computing), none, setup.text());
    }
  }
}

TEST(Recompute, SendsWhatIsForetold) {
  for (TinySetup setup : setups_of_this_world()) {
    const auto none = static_cast<std::int64_t>(train(setup).bytes_sent);
    for (const Recompute policy : policies) {
      setup.recompute = policy;
      const Outcome outcome = train(setup);
      const auto sent = static_cast<std::int64_t>(outcome.bytes_sent);
      const std::int64_t of_one = recompute_cost(test::tiny_plan(setup), 0).bytes_sent;
      EXPECT_EQ(sent - none, of_one * outcome.blocks * microbatches * updates) << setup.text();
      if (policy == Recompute::block && setup.tensor > 1)
        EXPECT_GT(sent, none) << setup.text();
      else
        EXPECT_EQ(sent, none) << setup.text();
    }
  }
}

TEST(Recompute, IsNotRecordedTwice) {
  struct Counts : TapSink {
    std::map<std::string, int> records;
    bool wants(std::string_view) const override { return true; }
    void record(Queue&, std::string_view tap, int, TensorView) override { ++records[std::string(tap)]; }
  };
  const auto records = [](Recompute policy) {
    TinyRank rank(test_world(), {.tensor = test_world().size(), .microbatches = microbatches, .recompute = policy});
    Counts counts;
    const auto tapped = rank.model().context().tapped_by(counts);
    rank.train({microbatches, 100}, 1);
    return counts.records;
  };
  const std::map<std::string, int> none = records(Recompute::none);
  EXPECT_EQ(none.at("blocks.0.attention"), microbatches);
  for (const Recompute policy : policies) EXPECT_EQ(records(policy), none) << text(policy);
}

}  // namespace
}  // namespace penstock::recompute_test

// SPDX-License-Identifier: Apache-2.0
#include "pipeline/rank_model.hpp"

#include <gtest/gtest.h>

#include "pipeline/tiny_model.hpp"
#include "schedule/tables.hpp"

namespace penstock::rank_model_test {
namespace {

using test::TinySetup;

std::vector<TinySetup> setups() {
  std::vector<TinySetup> all;
  for (const int data : {1, 2})
    for (const int pipeline : {1, 2, 4})
      for (const int tensor : {1, 2, 4})
        for (const bool sequence_parallel : {true, false})
          for (const bool shard : {true, false})
            for (const DType compute : {DType::float32, DType::bfloat16})
              for (const Recompute recompute : {Recompute::none, Recompute::elementwise, Recompute::attention,
                                                Recompute::block, Recompute::block_local})
                all.push_back({.data = data,
                               .pipeline = pipeline,
                               .tensor = tensor,
                               .sequence_parallel = sequence_parallel,
                               .shard = shard,
                               .microbatches = 8,
                               .compute = compute,
                               .recompute = recompute});
  return all;
}

/// Sizes that are multiples of 128 bytes however they are cut, so that padding does not blur what they are.
ModelPlan round_plan(int tensor, bool sequence_parallel, std::int64_t micro = 4) {
  ModelPlan plan = test::tiny_plan({.tensor = tensor, .sequence_parallel = sequence_parallel});
  plan.model = std::make_shared<const ModelDescription>(
      describe_model({.layers = 4, .width = 128, .heads = 4, .vocabulary = 256, .positions = 64}));
  plan.micro = micro;
  plan.sequence = 64;
  plan.parameters = model_parameters(*plan.model, plan.cut, plan.parts);
  return plan;
}

std::size_t activations(const ModelPlan& plan, const std::string& part) {
  return plan_memory(plan, {}, 1).activations.at(part);
}

TEST(RankModel, HoldsWhatThePlanForetold) {
  for (const TinySetup& setup : setups()) {
    const ModelPlan plan = test::tiny_plan(setup);
    const Mesh mesh = test::tiny_mesh(setup);
    for (int rank = 0; rank < mesh.size(); ++rank) {
      const MeshPlace place(mesh, rank);
      const MemoryPlan foretold = plan_memory(plan, place, 1);
      Arena arena(foretold.total());
      const RankModel model(plan, place, 1, nullptr, nullptr, arena);
      EXPECT_EQ(arena.bytes_taken(), foretold.total()) << setup.text();
      EXPECT_EQ(foretold.activations, arena.plan().activations) << setup.text();
      EXPECT_EQ(foretold.bytes, arena.plan().bytes) << setup.text();
      EXPECT_GT(foretold.of(MemoryUse::workspace), 0U);
    }
  }
}

TEST(RankModel, ActivationsOutsideFallAsOneOverTensor) {
  const std::size_t whole = activations(round_plan(1, true), "outside");
  EXPECT_EQ(activations(round_plan(2, true), "outside") * 2, whole);
  EXPECT_EQ(activations(round_plan(4, true), "outside") * 4, whole);
  for (const int tensor : {2, 4})
    EXPECT_EQ(activations(round_plan(tensor, false), "outside"), whole)
        << "without sequence parallelism every rank keeps all rows";
}

TEST(RankModel, ActivationsInsideFallAsOneOverTensorEitherWay) {
  for (const char* part : {"attention", "mlp"}) {
    const std::size_t whole = activations(round_plan(1, true), part);
    for (const int tensor : {2, 4})
      for (const bool sequence_parallel : {true, false})
        EXPECT_EQ(activations(round_plan(tensor, sequence_parallel), part) * static_cast<std::size_t>(tensor), whole)
            << part;
  }
}

TEST(RankModel, ActivationsAreTheFormula) {
  const ModelPlan plan = round_plan(1, true);
  const std::size_t tokens = 4 * 64, width = 128, blocks = 4, heads = 4;
  EXPECT_EQ(activations(plan, "attention"), blocks * tokens * (3 * width + width + heads) * 4)
      << "qkv, output, log-sum-exp";
  EXPECT_EQ(activations(plan, "mlp"), blocks * tokens * (4 * width + 4 * width) * 4) << "before and after GELU";
  // x, its norm, the middle, its norm, two statistics each; and the last block's output.
  EXPECT_EQ(activations(plan, "outside"), (blocks * tokens * (4 * width + 4) + tokens * width) * 4);
}

/// Bytes of the blocks: activations without the head's, and what is computed again or held instead, as the buffers
/// that the policy adds.
struct BlockBytes {
  std::size_t kept = 0;
  std::size_t buffers = 0;
};
BlockBytes block_bytes(ModelPlan plan, Recompute policy) {
  plan.recompute = {policy};
  const MemoryPlan memory = plan_memory(plan, {}, 1);
  plan.recompute = {Recompute::none};
  const std::size_t without = plan_memory(plan, {}, 1).of(MemoryUse::buffers);
  return {.kept = memory.of(MemoryUse::activations) - memory.activations.at("head"),
          .buffers = memory.of(MemoryUse::buffers) - without};
}

ModelPlan plan_with_four_in_flight(Backward backward) {
  const std::string backwards = backward == Backward::fused ? "0B0 0B1 0B2 0B3" : "0I0 0W0 0I1 0W1 0I2 0W2 0I3 0W3";
  ModelPlan plan = round_plan(1, true);
  plan.schedule = lower(test::table(1, 4, {"0F0 0F1 0F2 0F3 " + backwards}, false), {.tied = true});
  return plan;
}

TEST(RankModel, RecomputedBlocksKeepTheirInputsAndShareOneBlocksBuffers) {
  const ModelPlan plan = plan_with_four_in_flight(Backward::fused);
  const std::size_t row = 128 * 4, tokens = 4 * 64, blocks = 4, in_flight = 4, statistics = 4 * 4, log_sum_exp = 4 * 4;
  const BlockBytes none = block_bytes(plan, Recompute::none), attention = block_bytes(plan, Recompute::attention),
                   block = block_bytes(plan, Recompute::block), elementwise = block_bytes(plan, Recompute::elementwise);
  EXPECT_EQ(none.buffers, 0U);
  EXPECT_EQ(attention.buffers, tokens * (row + log_sum_exp));
  EXPECT_EQ(elementwise.buffers, tokens * (6 * row + statistics)) << "two norms, the MLP after GELU";
  EXPECT_EQ(none.kept - elementwise.kept, in_flight * blocks * tokens * (6 * row + statistics));
  EXPECT_EQ(none.kept - attention.kept, in_flight * blocks * tokens * (row + log_sum_exp));
  EXPECT_EQ(block.kept, in_flight * tokens * (blocks + 1) * row) << "inputs of the blocks, output of the last";
  EXPECT_EQ(block.buffers, tokens * (15 * row + statistics + log_sum_exp)) << "all else, of one block";
  EXPECT_LE(static_cast<double>(block.kept + block.buffers), 0.35 * static_cast<double>(none.kept));
}

TEST(RankModel, ASplitBackwardHoldsWhatItsWeightGradientsRead) {
  const std::size_t row = 128 * 4, tokens = 4 * 64, blocks = 4, statistics = 4 * 4, log_sum_exp = 4 * 4;
  const BlockBytes fused = block_bytes(plan_with_four_in_flight(Backward::fused), Recompute::block),
                   split = block_bytes(plan_with_four_in_flight(Backward::split), Recompute::block);
  EXPECT_EQ(split.kept, fused.kept);
  // Two norms, the attention's output, the MLP before and after GELU; what belongs to the same parts comes with them.
  EXPECT_EQ(split.buffers - fused.buffers, blocks * tokens * (11 * row + statistics + log_sum_exp));
}

TEST(RankModel, ASplitBackwardHoldsWhatElementwiseMakes) {
  const std::size_t row = 128 * 4, tokens = 4 * 64, blocks = 4, statistics = 4 * 4;
  const BlockBytes fused = block_bytes(plan_with_four_in_flight(Backward::fused), Recompute::elementwise),
                   split = block_bytes(plan_with_four_in_flight(Backward::split), Recompute::elementwise);
  EXPECT_EQ(split.kept, fused.kept);
  EXPECT_EQ(split.buffers - fused.buffers, blocks * tokens * (6 * row + statistics));
}

TEST(RankModel, AFusedBackwardHoldsOneBlocksGradients) {
  const auto buffers = [](Backward backward) {
    return plan_memory(plan_with_four_in_flight(backward), {}, 1).of(MemoryUse::buffers);
  };
  const std::size_t row = 128 * 4, tokens = 4 * 64, blocks = 4;
  EXPECT_EQ(buffers(Backward::split) - buffers(Backward::fused), (blocks * 5 - 4) * tokens * row)
      << "of each block's branches and qkv, against one hidden layer that all share";
}

TEST(RankModel, ActivationsGrowWithTheMicrobatch) {
  for (const char* part : {"attention", "mlp", "outside"})
    EXPECT_EQ(activations(round_plan(1, true, 8), part), 2 * activations(round_plan(1, true, 4), part)) << part;
}

TEST(RankModel, ShardedOptimizerFallsWithTheDataRanks) {
  const auto optimizer_bytes = [](int data, bool shard) {
    const ModelPlan plan = test::tiny_plan({.data = data, .shard = shard, .compute = DType::bfloat16});
    return plan_memory(plan, {Mesh({{"data", data}}), 0}, 1).of(MemoryUse::optimizer);
  };
  // Buckets are padded to whole lines a rank: at most 128 bytes a rank, bucket and array more than the equal share.
  constexpr std::size_t buckets = 3, arrays = 3;
  EXPECT_LE(optimizer_bytes(4, true) * 4, optimizer_bytes(1, true) + 4 * 4 * 128 * buckets * arrays);
  EXPECT_GE(optimizer_bytes(4, true) * 4, optimizer_bytes(1, true));
  EXPECT_GE(optimizer_bytes(4, false), optimizer_bytes(1, false));
}

TEST(RankModel, SchedulesDecideHowManyMicrobatchesAreKept) {
  const auto bytes = [](ScheduleName name, int microbatches) {
    const TinySetup setup{.pipeline = 2, .microbatches = microbatches, .schedule = name};
    return plan_memory(test::tiny_plan(setup), {}, 1).of(MemoryUse::activations);
  };
  EXPECT_EQ(bytes(ScheduleName::fifo, 8), 4 * bytes(ScheduleName::fifo, 2)) << "all of them";
  EXPECT_EQ(bytes(ScheduleName::one_forward_one_backward, 8), bytes(ScheduleName::one_forward_one_backward, 2))
      << "two of any number";
}

TEST(RankModel, TheHeadKeepsLogitsOfEveryDeferredWeightGradient) {
  const auto head = [](ScheduleName name) {
    const TinySetup setup{.pipeline = 4, .microbatches = 8, .schedule = name};
    return plan_memory(test::tiny_plan(setup), {test::tiny_mesh(setup), 3}, 1).activations.at("head");
  };
  const std::size_t one = head(ScheduleName::one_forward_one_backward);
  const std::size_t four = head(ScheduleName::zb_h1);  // the last rank of four is three microbatches late
  const std::size_t seven = head(ScheduleName::zb_h2);
  EXPECT_GT(four, one);
  EXPECT_EQ(seven - four, four - one) << "three more of logits and normalized rows each";
}

TEST(RankModel, APlaceHoldsItsStagesOnly) {
  const ModelPlan plan = test::tiny_plan({.pipeline = 4});
  Arena arena;
  RankModel model(plan, {Mesh({{"pipeline", 4}}), 2}, 1, nullptr, nullptr, arena);
  ASSERT_EQ(model.stages().size(), 1U);
  EXPECT_EQ(model.stage(2).stage.part().stage, 2);
  EXPECT_EQ(model.parameters().weight("blocks.2.mlp.up.weight").shape(), (Shape{64, 16}));
  EXPECT_THROW(model.parameters().weight("blocks.1.mlp.up.weight"), LogicError);
  EXPECT_THROW(model.parameters().weight("embedding.token.weight"), LogicError);
}

}  // namespace
}  // namespace penstock::rank_model_test

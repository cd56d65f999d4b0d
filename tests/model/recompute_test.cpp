// SPDX-License-Identifier: Apache-2.0
#include "model/recompute.hpp"

#include <gtest/gtest.h>

#include "model/block_activations.hpp"
#include "model/partition.hpp"

namespace penstock::recompute_test {
namespace {

constexpr std::size_t attention = 0, mlp = 1;

constexpr Recompute policies[] = {Recompute::none, Recompute::elementwise, Recompute::attention, Recompute::block,
                                  Recompute::block_local};

// 2 samples of 64 tokens, 128 channels, 4 heads.
ModelShape shape_of(Recompute policy, int tensor = 1, bool sequence_parallel = true) {
  static const ModelDescription model =
      describe_model({.layers = 2, .width = 128, .heads = 4, .vocabulary = 256, .positions = 64});
  return {.model = &model,
          .cut = {.tensor = tensor, .sequence_parallel = sequence_parallel, .compute = DType::bfloat16},
          .recompute = policy,
          .samples = 2,
          .sequence = 64};
}

std::size_t bytes_of_parts(const ModelShape& shape, BlockParts parts) {
  Arena arena;
  take_activations(shape, parts, MemoryUse::activations, arena);
  return arena.bytes_taken();
}

TEST(Recompute, AWordForEveryPolicy) {
  for (const Recompute policy : policies) EXPECT_EQ(parse_recompute(text(policy)), policy);
  EXPECT_EQ(text(Recompute::block_local), "block-local");
  EXPECT_THROW(parse_recompute("blocks"), InputError);
}

TEST(Recompute, APartIsKeptOrMadeAgain) {
  for (const Recompute policy : policies)
    for (const int tensor : {1, 2})
      for (const bool sequence_parallel : {true, false}) {
        const ModelShape shape = shape_of(policy, tensor, sequence_parallel);
        EXPECT_EQ(kept_parts(shape) | remade_parts(shape), all_parts(shape)) << text(policy);
        EXPECT_EQ(kept_parts(shape) & remade_parts(shape), BlockParts{}) << text(policy);
        EXPECT_EQ(held_parts(shape) & remade_parts(shape), held_parts(shape)) << text(policy);
        EXPECT_TRUE(kept_parts(shape).has({attention, BranchPart::input})) << "from nothing nothing comes";
      }
  EXPECT_EQ(remade_parts(shape_of(Recompute::none, 2)), BlockParts{});
  EXPECT_EQ(remade_parts(shape_of(Recompute::attention, 2)), (BlockParts{{attention, BranchPart::core}}));
  EXPECT_EQ(remade_parts(shape_of(Recompute::elementwise, 2)),
            (BlockParts{{attention, BranchPart::norm}, {mlp, BranchPart::norm}, {mlp, BranchPart::core}}));
}

TEST(Recompute, ElementwiseHoldsAllThatItMakes) {
  for (const int tensor : {1, 2})  // where rows are cut, the weight gradient gathers them as it does with `none`
    EXPECT_EQ(held_parts(shape_of(Recompute::elementwise, tensor)),
              remade_parts(shape_of(Recompute::elementwise, tensor)));
}

TEST(Recompute, TheActivationIsApartWhereItAloneOfTheMlpIsMadeAgain) {
  for (const Recompute policy : policies)
    EXPECT_EQ(has_activation_apart(shape_of(policy), mlp), policy == Recompute::elementwise) << text(policy);
}

TEST(Recompute, BlockLocalKeepsWhatWasSummed) {
  const auto kept = [](int tensor, bool sequence_parallel) {
    return kept_parts(shape_of(Recompute::block_local, tensor, sequence_parallel));
  };
  EXPECT_EQ(kept(1, true), kept_parts(shape_of(Recompute::block))) << "nothing was";
  EXPECT_EQ(kept(2, true), (BlockParts{{attention, BranchPart::input}, {mlp, BranchPart::input}}));
  EXPECT_EQ(kept(2, false), (BlockParts{{attention, BranchPart::input}, {mlp, BranchPart::input}}));
}

TEST(Recompute, BytesKeptAreTheFormula) {
  // A row of C channels of bfloat16 is 2 C bytes; a whole block keeps 16 C, 4 statistics, H log-sum-exps.
  const std::size_t tokens = 128, width = 128, row = 2 * width, heads = 4;
  const auto kept = [](Recompute policy, int tensor, bool sequence_parallel) {
    const ModelShape shape = shape_of(policy, tensor, sequence_parallel);
    return bytes_of_parts(shape, kept_parts(shape));
  };
  const std::size_t none = tokens * (16 * row + 4 * (4 + heads));
  EXPECT_EQ(kept(Recompute::none, 1, true), none);
  EXPECT_EQ(kept(Recompute::elementwise, 1, true), tokens * (10 * row + 4 * heads));
  EXPECT_EQ(kept(Recompute::elementwise, 2, true), tokens * (10 * row + 4 * heads) / 2);
  EXPECT_EQ(kept(Recompute::attention, 1, true), none - tokens * (row + 4 * heads));
  EXPECT_EQ(kept(Recompute::block, 1, true), tokens * row);
  EXPECT_EQ(kept(Recompute::block_local, 1, true), tokens * row);
  EXPECT_EQ(kept(Recompute::none, 2, true), none / 2) << "rows and heads are cut";
  EXPECT_EQ(kept(Recompute::block, 2, true), tokens * row / 2);
  EXPECT_EQ(kept(Recompute::block_local, 2, true), tokens * row) << "input and middle, a half each";
  EXPECT_EQ(kept(Recompute::block_local, 2, false), tokens * row * 2);
}

TEST(Recompute, LaidOverReplacesWhatIsThere) {
  float below = 0, above = 0;
  BlockActivations low, high;
  low[attention].x = {&below, DType::float32, {1}};
  low[attention].inner = {&below, DType::float32, {1}};
  high[attention].inner = {&above, DType::float32, {1}};
  const BlockActivations both = laid_over(low, high);
  EXPECT_EQ(both[attention].x.raw(), &below);
  EXPECT_EQ(both[attention].inner.raw(), &above);
  EXPECT_FALSE(both[mlp].core.present());
}

TEST(Recompute, OperationsAreTheForwardPassWithoutItsLastProduct) {
  const ModelShape whole = shape_of(Recompute::block);
  const double tokens = 128, width = 128, block = part_costs(*whole.model, whole.sequence).blocks.front();
  EXPECT_DOUBLE_EQ(recompute_cost(whole).flops, tokens * (block - 8 * width * width));
  EXPECT_DOUBLE_EQ(recompute_cost(shape_of(Recompute::none)).flops, 0);
  EXPECT_DOUBLE_EQ(recompute_cost(shape_of(Recompute::elementwise)).flops, 0);
  EXPECT_DOUBLE_EQ(recompute_cost(shape_of(Recompute::attention)).flops, tokens * 2 * (64 + 1) * width);
  for (const int tensor : {2, 4})
    for (const Recompute policy : {Recompute::attention, Recompute::block})
      EXPECT_DOUBLE_EQ(recompute_cost(shape_of(policy, tensor)).flops * tensor, recompute_cost(shape_of(policy)).flops);
  EXPECT_DOUBLE_EQ(recompute_cost(shape_of(Recompute::block_local, 2)).flops * 2,
                   recompute_cost(whole).flops - tokens * 2 * width * width)
      << "the output product's sum is kept";
}

TEST(Recompute, BytesMovedAreThoseOfElementwiseOperations) {
  const std::int64_t row = 128 * 128 * 2;  // of all tokens, bfloat16
  const auto moved = [](Recompute policy, int tensor) { return recompute_cost(shape_of(policy, tensor)).bytes_moved; };
  EXPECT_EQ(moved(Recompute::none, 1), 0);
  EXPECT_EQ(moved(Recompute::attention, 1), 0);
  EXPECT_EQ(moved(Recompute::elementwise, 1), (2 + 2 + 3 * 4) * row) << "two norms, GELU, and GELU's input before";
  EXPECT_EQ(moved(Recompute::elementwise, 2) * 2, moved(Recompute::elementwise, 1));
  EXPECT_EQ(moved(Recompute::block, 1), (2 + 4) * row) << "a norm, and a sum with its norm";
  EXPECT_EQ(moved(Recompute::block, 2) * 2, (2 + 3 + 2) * row) << "partial sums are float32";
  EXPECT_EQ(moved(Recompute::block_local, 2) * 2, (2 + 2) * row);
}

TEST(Recompute, MessagesAreThoseOfTheCollectivesAgain) {
  const std::int64_t elements = 128 * 128, reduce_scatter = 4 * elements / 2;
  const auto sent = [](Recompute policy, int tensor, bool sequence_parallel) {
    return recompute_cost(shape_of(policy, tensor, sequence_parallel)).bytes_sent;
  };
  for (const Recompute policy : policies) EXPECT_EQ(sent(policy, 1, true), 0) << text(policy);
  EXPECT_EQ(sent(Recompute::attention, 2, true), 0);
  EXPECT_EQ(sent(Recompute::elementwise, 2, true), 0);
  EXPECT_EQ(sent(Recompute::block, 2, true), reduce_scatter) << "its gathers are those of the weight gradient";
  EXPECT_EQ(sent(Recompute::block, 2, false), 2 * reduce_scatter) << "an all-reduce";
  for (const bool sequence_parallel : {true, false})
    EXPECT_EQ(sent(Recompute::block_local, 4, sequence_parallel), 0) << "the sum is kept";
}

}  // namespace
}  // namespace penstock::recompute_test

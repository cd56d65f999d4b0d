// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 4 LABELS parity
// What a model whose blocks are of two kinds takes: its description, and nothing else. Even blocks see a window of
// positions, odd ones see all and rotate by other angles.

#include <gtest/gtest.h>

#include <cmath>

#include "checkpoint/checkpoint.hpp"
#include "checkpoint/difference.hpp"
#include "pipeline/tiny_model.hpp"
#include "storage/shared_folder.hpp"

namespace penstock::alternating_blocks_test {
namespace {

using test::TinyBatch;
using test::TinyRank;
using test::TinySetup;

constexpr std::size_t local = 0, global = 1;

ModelDescription two_kinds(const std::vector<std::size_t>& blocks) {
  ModelDescription model = describe_model(test::tiny_config(0, static_cast<int>(blocks.size()), "llama"));
  model.kinds.push_back(model.kinds.front());
  const auto attention = [&](std::size_t kind) -> AttentionCore& {
    return std::get<AttentionCore>(model.kinds[kind].branches.front().core);
  };
  attention(local).window = 3;
  attention(global).rotation->theta = 1e6;
  model.blocks = blocks;
  ensure_kinds_are_alike(model);
  return model;
}

const std::vector<std::size_t> alternating{local, global, local, global};

ModelPlan plan_of(const TinySetup& setup, const std::vector<std::size_t>& blocks = alternating) {
  ModelPlan plan = test::tiny_plan(setup);
  plan.model = std::make_shared<const ModelDescription>(two_kinds(blocks));
  plan.parts = balanced_partition(plan.schedule.stages, part_costs(*plan.model, plan.sequence));
  plan.parameters = model_parameters(*plan.model, plan.cut, plan.parts);
  return plan;
}

TinySetup setup_of(int data, int pipeline, int tensor, Recompute recompute = Recompute::none) {
  return {.data = data, .pipeline = pipeline, .tensor = tensor, .recompute = recompute, .family = "llama"};
}

TinyRank on_mesh(const TinySetup& setup) { return {test_world(), plan_of(setup), test::tiny_mesh(setup)}; }
TinyRank alone(const std::vector<std::size_t>& blocks) {
  return {test_world(), plan_of(setup_of(1, 1, 1), blocks), Mesh()};
}

TinyBatch batch_of(std::int64_t update) { return {4, 100 + static_cast<std::uint64_t>(update) * 8}; }

std::vector<ParameterLayout> layouts_of(const TinyRank& rank) {
  std::vector<ParameterLayout> layouts;
  const Mesh& mesh = rank.place().mesh();
  for (int r = 0; r < mesh.size(); ++r) layouts.push_back(parameter_layout(rank.plan(), MeshPlace(mesh, r)));
  return layouts;
}

const std::vector<TinySetup> cuts{setup_of(2, 1, 2), setup_of(1, 2, 2), setup_of(1, 1, 4), setup_of(2, 2, 1),
                                  setup_of(1, 4, 1, Recompute::block)};

TEST(AlternatingBlocks, TrainAlikeOnEveryCut) {
  TinyRank whole = alone(alternating);
  std::vector<StepResult> expected;
  for (int update = 1; update <= 2; ++update) expected.push_back(whole.train(batch_of(update), update));
  for (const TinySetup& setup : cuts) {
    TinyRank rank = on_mesh(setup);
    for (int update = 1; update <= 2; ++update) {
      const StepResult result = rank.train(batch_of(update), update);
      const StepResult& plain = expected[static_cast<std::size_t>(update - 1)];
      // Sums are grouped otherwise: float32 keeps seven digits, and the second step sees the first one's rounding.
      EXPECT_NEAR(result.loss, plain.loss, 1e-5 * plain.loss) << setup.text();
      EXPECT_NEAR(result.gradient_norm, plain.gradient_norm, 1e-4 * plain.gradient_norm) << setup.text();
    }
  }
}

// Or the test above would hold a model of one kind against itself.
TEST(AlternatingBlocks, EachComputeWhatTheirKindSays) {
  std::vector<double> losses;
  for (const auto& blocks :
       {alternating, {global, local, global, local}, {local, local, local, local}, {global, global, global, global}})
    losses.push_back(alone(blocks).train(batch_of(1), 1).loss);
  for (std::size_t i = 0; i < losses.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) EXPECT_GT(std::abs(losses[i] - losses[j]), 1e-6) << i << " and " << j;
}

TEST(AlternatingBlocks, ACheckpointGoesFromOneCutToAnother) {
  World& world = test_world();
  IoThread io;
  Writers writers(world, io, {});
  for (std::size_t from = 0; from < cuts.size(); ++from) {
    const TinySetup &one = cuts[from], &other = cuts[(from + 1) % cuts.size()];
    SharedFolder written(world), again(world);
    TinyRank writing = on_mesh(one), reading = on_mesh(other);
    writing.train(batch_of(1), 1);
    const auto first_file = written.path() / checkpoint_name(1), second_file = again.path() / checkpoint_name(1);
    const auto save = [&](TinyRank& rank, const SharedFolder& folder) {
      return save_checkpoint(world, writers, folder.path(), {.step = 1, .deck = "[run]\n"}, rank.plan().parameters,
                             layouts_of(rank), memory_of(rank.parameters()));
    };
    const SaveOutcome outcome = save(writing, written);
    ASSERT_TRUE(outcome.ok) << outcome.message;
    load_checkpoint(world, io, first_file, reading.plan().parameters, reading.parameters().layout(),
                    memory_of(reading.parameters()));
    const SaveOutcome second = save(reading, again);
    ASSERT_TRUE(second.ok) << second.message;
    if (world.rank() == 0) {
      EXPECT_TRUE(diff_files(io, first_file, second_file).equal_bits) << one.text() << " to " << other.text();
    }
    reading.model().optimizer().publish(reading.queue());
    const double loss = writing.train(batch_of(2), 2).loss;
    EXPECT_NEAR(reading.train(batch_of(2), 2).loss, loss, 1e-5 * loss) << one.text() << " to " << other.text();
  }
}

TEST(AlternatingBlocks, AreRefusedWhereOnePlanCannotServeBoth) {
  ModelDescription model = two_kinds(alternating);
  std::get<AttentionCore>(model.kinds.back().branches.front().core).query_key_norm = true;
  EXPECT_THROW(ensure_kinds_are_alike(model), LogicError);
}

}  // namespace
}  // namespace penstock::alternating_blocks_test

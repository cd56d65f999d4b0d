// SPDX-License-Identifier: Apache-2.0
#include "parameter/parameter_set.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "parameter/random_model.hpp"

namespace penstock::parameter_set_test {
namespace {

using test::RandomMesh;
using test::RandomModels;

/// A ParameterSet with memory of its own, exactly as much as a planning arena predicted.
struct Held {
  Held(const std::vector<ParameterSpec>& specs, const ParameterPlace& place)
      : arena(planned(specs, place)), set(specs, ParameterLayout(specs, place), arena) {}

  static std::size_t planned(const std::vector<ParameterSpec>& specs, const ParameterPlace& place) {
    Arena planning;
    const ParameterSet set(specs, ParameterLayout(specs, place), planning);
    return planning.bytes_taken();
  }

  Arena arena;
  ParameterSet set;
};

std::vector<ParameterSpec> two_types() {
  return {{.name = "matrix",
           .shape = {40, 24},
           .init = Init::normal,
           .deviation = 0.02,
           .type = DType::bfloat16,
           .stages = {0}},
          {.name = "norm", .shape = {24}, .init = Init::ones, .type = DType::float32, .stages = {0}},
          {.name = "bias", .shape = {24}, .init = Init::zeros, .type = DType::float32, .stages = {0}}};
}

TEST(ParameterSet, PlanningTakesWhatARealArenaTakes) {
  const std::vector<ParameterSpec> specs = two_types();
  Arena planning;
  const ParameterSet planned(specs, ParameterLayout(specs, {.stages = {0}}), planning);
  Held held(specs, {.stages = {0}});
  EXPECT_EQ(planning.plan().bytes, held.arena.plan().bytes);
  // One data rank: 960 bfloat16 weights; 24 + 8 padding, twice, in float32. Gradients float32. The float32 bucket's
  // weights are their own master. The arena gives whole 256 bytes: 2048 for the 1920 of the bfloat16 weights.
  EXPECT_EQ(planning.plan().of(MemoryUse::parameters), 2048U + 64U * 4);
  EXPECT_EQ(planning.plan().of(MemoryUse::gradients), (960U + 64U) * 4);
  EXPECT_EQ(planning.plan().of(MemoryUse::optimizer), 960U * 4 * 3 + 64U * 4 * 2);
}

TEST(ParameterSet, Float32WeightsAreTheirOwnMasterAndBfloat16OnesAreNot) {
  const std::vector<ParameterSpec> specs = two_types();
  Held held(specs, {.stages = {0}, .mesh = {Mesh({{"data", 2}}), 1}});
  const auto& buckets = held.set.layout().buckets();
  ASSERT_EQ(buckets.size(), 2U);
  for (std::size_t b = 0; b < buckets.size(); ++b) {
    const BucketMemory& memory = held.set.memory(b);
    const std::int64_t own = buckets[b].own_end - buckets[b].own_begin;
    EXPECT_EQ(memory.master.elements(), own);
    EXPECT_EQ(memory.first_moment.elements(), own);
    EXPECT_EQ(memory.second_moment.elements(), own);
    EXPECT_EQ(memory.weights.elements(), buckets[b].elements);
    ASSERT_EQ(memory.gradients.size(), 1U);
    EXPECT_EQ(memory.gradients.front().type(), DType::float32);
    EXPECT_EQ(memory.gradients.front().elements(), buckets[b].elements);
    const auto* weights = static_cast<const std::byte*>(memory.weights.raw());
    const auto* master = static_cast<const std::byte*>(memory.master.raw());
    if (buckets[b].type == DType::float32)
      EXPECT_EQ(master, weights + buckets[b].own_begin * 4);
    else
      EXPECT_TRUE(master < weights || master >= weights + memory.weights.bytes());
  }
}

TEST(ParameterSet, AWeightOfFloat32ChangesWithItsMaster) {
  const std::vector<ParameterSpec> specs = two_types();
  Held held(specs, {.stages = {0}});
  for (const OwnedBox& owned : held.set.layout().owned())
    if (specs[owned.parameter].name == "bias") held.set.master(owned)[3] = 42;
  EXPECT_EQ(held.set.weight("bias").data<float>()[3], 42);
  EXPECT_EQ(held.set.weight("bias").data<float>()[4], 0);
}

TEST(ParameterSet, TensorsHaveTheirLocalShapeAndLieApart) {
  const std::vector<ParameterSpec> specs = {
      {.name = "a", .shape = {10, 6}, .split = {.dimension = 1, .parts = 2}, .stages = {0}},
      {.name = "b", .shape = {100, 5}, .split = {.parts = 2, .padded_extent = 128}, .stages = {0}},
      {.name = "c", .shape = {7}, .stages = {0}}};
  Held held(specs, {.stages = {0}, .mesh = {Mesh({{"tensor", 2}}), 1}});
  EXPECT_EQ(held.set.weight("a").shape(), (Shape{10, 3}));
  EXPECT_EQ(held.set.weight("b").shape(), (Shape{64, 5}));
  EXPECT_EQ(held.set.weight("c").shape(), (Shape{7}));
  for (const char* name : {"a", "b", "c"}) {
    EXPECT_EQ(held.set.gradient(name).shape(), held.set.weight(name).shape());
    const TensorView weight = held.set.weight(name), gradient = held.set.gradient(name);
    std::memset(weight.raw(), name[0], weight.bytes());
    std::memset(gradient.raw(), name[0] + 100, gradient.bytes());
  }
  for (const char* name : {"a", "b", "c"})
    for (const auto& [view, byte] : {std::pair{held.set.weight(name), name[0]},
                                     std::pair{held.set.gradient(name), static_cast<char>(name[0] + 100)}})
      for (std::size_t i = 0; i < view.bytes(); ++i) ASSERT_EQ(static_cast<const char*>(view.raw())[i], byte) << name;
}

TEST(ParameterSet, AParameterThatIsNotHereIsRefused) {
  const std::vector<ParameterSpec> specs = {{.name = "here", .shape = {4}, .stages = {0}},
                                            {.name = "elsewhere", .shape = {4}, .stages = {1}}};
  Held held(specs, {.stages = {0}});
  EXPECT_NO_THROW(held.set.weight("here"));
  EXPECT_THROW(held.set.weight("elsewhere"), LogicError);
  EXPECT_THROW(held.set.gradient("elsewhere"), LogicError);
  EXPECT_THROW(held.set.gradient("here", 1), LogicError) << "it has one use";
}

TEST(ParameterSet, TiedStagesOnOneRankShareTheWeightAndNotTheGradient) {
  const std::vector<ParameterSpec> specs = {{.name = "embedding", .shape = {16, 4}, .stages = {0, 3}},
                                            {.name = "norm", .shape = {4}, .stages = {3}}};
  Held both(specs, {.stages = {0, 3}});
  const TensorView first = both.set.gradient("embedding", 0), last = both.set.gradient("embedding", 1);
  ASSERT_EQ(first.shape(), last.shape());
  std::memset(first.raw(), 1, first.bytes());
  std::memset(last.raw(), 2, last.bytes());
  EXPECT_EQ(*static_cast<const char*>(first.raw()), 1) << "two buffers";
  EXPECT_THROW(both.set.gradient("embedding", 2), LogicError);

  Held end(specs, {.stages = {2, 3}});
  EXPECT_TRUE(end.set.gradient("embedding", 1).present());
  EXPECT_THROW(end.set.gradient("embedding", 0), LogicError) << "that use is on another rank";
}

TEST(ParameterSet, InitializeSetsMomentsToZero) {
  const std::vector<ParameterSpec> specs = two_types();
  Held held(specs, {.stages = {0}});
  for (const OwnedBox& owned : held.set.layout().owned()) {
    std::fill_n(held.set.first_moment(owned), owned.box.elements(), 1.0F);
    std::fill_n(held.set.second_moment(owned), owned.box.elements(), 1.0F);
  }
  held.set.initialize(3);
  for (const OwnedBox& owned : held.set.layout().owned())
    for (std::int64_t i = 0; i < owned.box.elements(); ++i) {
      ASSERT_EQ(held.set.first_moment(owned)[i], 0);
      ASSERT_EQ(held.set.second_moment(owned)[i], 0);
    }
}

std::vector<float> initial_state(const std::vector<ParameterSpec>& specs, int threads) {
  Held held(specs, {.stages = {0}, .mesh = {Mesh({{"data", 2}}), 1}});
  held.set.initialize(3, threads);
  std::vector<float> state;
  for (const OwnedBox& owned : held.set.layout().owned())
    for (const float* values : {held.set.master(owned), held.set.first_moment(owned), held.set.second_moment(owned)})
      state.insert(state.end(), values, values + owned.box.elements());
  return state;
}

TEST(ParameterSet, ThreadsDoNotChangeABitOfTheInitialState) {
  const std::vector<float> alone = initial_state(two_types(), 1);
  EXPECT_FALSE(alone.empty());
  EXPECT_EQ(initial_state(two_types(), 4), alone);
}

std::vector<float> whole_initial(const ParameterSpec& spec, std::uint64_t seed) {
  std::vector<float> values(static_cast<std::size_t>(spec.shape.elements()));
  fill_initial(spec, seed, {.offset = {}, .extent = spec.shape}, values.data());
  return values;
}

// What the data ranks of one place own, gathered as an all-gather of the buckets' ranges would.
std::vector<std::vector<float>> gathered_masters(const std::vector<ParameterSpec>& specs, const RandomMesh& mesh,
                                                 int pipeline, int tensor, std::uint64_t seed) {
  std::vector<std::vector<float>> buckets;
  for (int d = 0; d < mesh.data; ++d) {
    Held held(specs, mesh.place(d, pipeline, tensor));
    held.set.initialize(seed);
    buckets.resize(held.set.layout().buckets().size());
    for (std::size_t b = 0; b < buckets.size(); ++b) {
      const Bucket& bucket = held.set.layout().buckets()[b];
      buckets[b].resize(static_cast<std::size_t>(bucket.elements));
      std::memcpy(buckets[b].data() + bucket.own_begin, held.set.memory(b).master.raw(),
                  held.set.memory(b).master.bytes());
    }
  }
  return buckets;
}

// The tensor that the model reads holds, at each place, the initial weight of the global element that belongs there,
// and zero where there is padding.
void expect_initial_weights(const std::vector<ParameterSpec>& specs, const ParameterPlace& place,
                            const std::vector<std::vector<float>>& buckets, std::uint64_t seed) {
  const ParameterLayout layout(specs, place);
  for (std::size_t b = 0; b < buckets.size(); ++b)
    for (const BucketEntry& entry : layout.buckets()[b].entries) {
      const ParameterSpec& spec = specs[entry.parameter];
      const std::vector<float> whole = whole_initial(spec, seed);
      std::vector<float> expected(static_cast<std::size_t>(entry.elements), 0.0F);
      for (const Box& box : local_boxes(spec, place.mesh)) {
        const bool matrix = spec.shape.dimensions() == 2;
        const std::int64_t columns = matrix ? box.extent[1] : 1;
        for (std::int64_t i = 0; i < box.elements(); ++i) {
          const std::int64_t row = box.offset[0] + i / columns, column = (matrix ? box.offset[1] : 0) + i % columns;
          expected[static_cast<std::size_t>(box.local_begin + i)] =
              whole[static_cast<std::size_t>(matrix ? row * spec.shape[1] + column : row)];
        }
      }
      const auto first = buckets[b].begin() + entry.begin;
      ASSERT_EQ(std::vector<float>(first, first + entry.elements), expected) << spec.name;
    }
}

TEST(ParameterSet, InitialWeightsAreTheSameOnEveryLayout) {
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    RandomModels random(seed);
    const RandomMesh mesh = random.mesh();
    const std::vector<ParameterSpec> specs = random.specs(mesh);
    SCOPED_TRACE(fmt::format("model {}: {}", seed, mesh.text()));
    for (int p = 0; p < mesh.pipeline; ++p)
      for (int t = 0; t < mesh.tensor; ++t) {
        const std::vector<std::vector<float>> buckets = gathered_masters(specs, mesh, p, t, seed);
        ASSERT_NO_FATAL_FAILURE(expect_initial_weights(specs, mesh.place(0, p, t), buckets, seed));
      }
  }
}

TEST(ParameterSet, WhatIsStagedStaysWhileTheStateGoesOn) {
  const std::vector<ParameterSpec> specs = two_types();
  Held held(specs, {.stages = {0}});
  Queue queue({.threads = 2, .wait = {}});
  const auto fill = [&](float value) {
    for (const OwnedBox& owned : held.set.layout().owned())
      for (std::int64_t i = 0; i < owned.box.elements(); ++i) {
        held.set.master(owned)[i] = value;
        held.set.first_moment(owned)[i] = value + 1;
        held.set.second_moment(owned)[i] = value + 2;
      }
  };
  held.set.prepare_staging();
  fill(5);
  held.set.stage_state(queue);
  held.set.hold_for_staging(queue);
  ASSERT_TRUE(held.set.is_staged());
  fill(7);
  for (const OwnedBox& owned : held.set.layout().owned())
    for (std::int64_t i = 0; i < owned.box.elements(); ++i) {
      ASSERT_EQ(held.set.staged_master(owned)[i], 5);
      ASSERT_EQ(held.set.staged_first_moment(owned)[i], 6);
      ASSERT_EQ(held.set.staged_second_moment(owned)[i], 7);
    }
}

TEST(ParameterSet, WithoutStagingASaveReadsTheStateItself) {
  const std::vector<ParameterSpec> specs = two_types();
  Held held(specs, {.stages = {0}});
  Queue queue;
  held.set.stage_state(queue);
  for (const OwnedBox& owned : held.set.layout().owned())
    EXPECT_EQ(held.set.staged_master(owned), held.set.master(owned));
}

}  // namespace
}  // namespace penstock::parameter_set_test

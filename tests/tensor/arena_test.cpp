// SPDX-License-Identifier: Apache-2.0
#include "tensor/arena.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

namespace penstock::arena_test {
namespace {

struct Ask {
  MemoryUse use;
  DType type;
  Shape shape;
  std::string part;
};

std::vector<Ask> random_asks(std::uint32_t seed, int count) {
  std::mt19937 generator(seed);
  const auto below = [&](std::uint32_t end) { return static_cast<int>(generator() % end); };
  std::vector<Ask> asks;
  for (int i = 0; i < count; ++i) {
    const auto use = static_cast<MemoryUse>(below(memory_uses));
    asks.push_back({use,
                    static_cast<DType>(below(5)),
                    {below(40), below(9) + 1},
                    use == MemoryUse::activations ? "part " + std::to_string(below(3)) : ""});
  }
  return asks;
}

std::vector<TensorView> take_all(Arena& arena, const std::vector<Ask>& asks) {
  std::vector<TensorView> tensors;
  for (const Ask& ask : asks) tensors.push_back(arena.take(ask.use, ask.type, ask.shape, ask.part));
  return tensors;
}

TEST(Arena, PlansExactlyWhatIsTaken) {
  for (std::uint32_t seed = 0; seed < 50; ++seed) {
    const std::vector<Ask> asks = random_asks(seed, 60);
    Arena planning;
    for (const TensorView& tensor : take_all(planning, asks)) ASSERT_FALSE(tensor.present());
    Arena real(planning.bytes_taken());
    take_all(real, asks);
    EXPECT_EQ(real.bytes_taken(), planning.bytes_taken());
    EXPECT_EQ(real.plan().bytes, planning.plan().bytes);
    EXPECT_EQ(real.plan().activations, planning.plan().activations);
    EXPECT_EQ(planning.plan().total(), planning.bytes_taken()) << "every byte has a use";
  }
}

TEST(Arena, TensorsAreAlignedZeroedAndApart) {
  const std::vector<Ask> asks = random_asks(7, 100);
  Arena planning;
  take_all(planning, asks);
  Arena real(planning.bytes_taken());
  const std::vector<TensorView> tensors = take_all(real, asks);
  const std::byte* end_of_last = nullptr;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto* first = static_cast<const std::byte*>(tensors[i].raw());
    ASSERT_EQ(tensors[i].shape(), asks[i].shape);
    ASSERT_EQ(tensors[i].type(), asks[i].type);
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(first) % 256, 0U);
    ASSERT_GE(first, end_of_last);
    end_of_last = first + tensors[i].bytes();
    ASSERT_TRUE(std::all_of(first, end_of_last, [](std::byte b) { return b == std::byte{0}; }));
  }
}

TEST(Arena, ExhaustedIsAMistakeOfThePlan) {
  Arena arena(512);
  EXPECT_NO_THROW(arena.take(MemoryUse::buffers, DType::float32, {32}));
  EXPECT_NO_THROW(arena.take(MemoryUse::buffers, DType::float32, {1}));
  EXPECT_THROW(arena.take(MemoryUse::buffers, DType::uint8, {1}), LogicError);
}

TEST(Arena, CountsUsesAndPartsOfActivations) {
  Arena arena;
  arena.take(MemoryUse::activations, DType::float32, {64}, "mlp");
  arena.take(MemoryUse::activations, DType::float32, {65}, "mlp");  // padded to 512 bytes
  arena.take(MemoryUse::activations, DType::uint8, {1}, "attention");
  arena.take(MemoryUse::gradients, DType::bfloat16, {128});
  arena.take(MemoryUse::workspace, DType::uint8, {1024});
  const MemoryPlan& plan = arena.plan();
  EXPECT_EQ(plan.activations.at("mlp"), 768U);
  EXPECT_EQ(plan.activations.at("attention"), 256U);
  EXPECT_EQ(plan.of(MemoryUse::activations), 1024U);
  EXPECT_EQ(plan.of(MemoryUse::gradients), 256U);
  EXPECT_EQ(plan.of(MemoryUse::workspace), 1024U);
  EXPECT_EQ(plan.total(), 2304U);
  EXPECT_EQ(arena.bytes_taken(), plan.total());
}

TEST(Arena, UsesHaveNames) {
  EXPECT_EQ(name_of(MemoryUse::parameters), "parameters");
  EXPECT_EQ(name_of(MemoryUse::gradients), "gradients");
  EXPECT_EQ(name_of(MemoryUse::optimizer), "optimizer");
  EXPECT_EQ(name_of(MemoryUse::activations), "activations");
  EXPECT_EQ(name_of(MemoryUse::buffers), "buffers");
  EXPECT_EQ(name_of(MemoryUse::workspace), "workspace");
}

TEST(Tensor, OwnsZeroedElements) {
  const Tensor tensor(DType::float32, {3, 5});
  EXPECT_EQ(tensor.view().shape(), (Shape{3, 5}));
  const float* values = tensor.view().data<float>();
  EXPECT_TRUE(std::all_of(values, values + 15, [](float x) { return x == 0.0F; }));
  EXPECT_FALSE(Tensor().view().present());
}

TEST(Arena, LendsAPieceToAnother) {
  Arena owner(4096);
  owner.take(MemoryUse::parameters, DType::float32, {10});
  const std::size_t before = owner.bytes_taken();
  const TensorView first = owner.take(MemoryUse::buffers, DType::float32, {64});
  owner.take(MemoryUse::buffers, DType::float32, {65});
  const TensorView lent = owner.taken_since(before);
  EXPECT_EQ(lent.raw(), first.raw());
  EXPECT_EQ(lent.bytes(), 256U + 512U);
  Arena borrower(lent);
  EXPECT_EQ(borrower.take(MemoryUse::buffers, DType::float32, {128}).raw(), first.raw());
  borrower.take(MemoryUse::buffers, DType::uint8, {256});
  EXPECT_THROW(borrower.take(MemoryUse::buffers, DType::uint8, {1}), LogicError);
  EXPECT_FALSE(Arena().taken_since(0).present());
}

}  // namespace
}  // namespace penstock::arena_test

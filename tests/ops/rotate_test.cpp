// SPDX-License-Identifier: Apache-2.0
// CTest: BACKENDS cpu cuda
#include "ops/rotate.hpp"

#include <gtest/gtest.h>

#include "ops/reference/reference.hpp"
#include "ops/rotary_table.hpp"
#include "support/finite_differences.hpp"
#include "support/random_tensor.hpp"

namespace penstock::rotate_test {
namespace {

using ops::AttentionShape;
using test::is_close;
using test::RandomTensors;
using test::TestTensor;
using test::tolerance_of;

struct Size {
  std::int64_t N, T, H, K, D;

  AttentionShape shape() const { return {.sequence = T, .heads = H, .channels = D, .kv_heads = K}; }
  Shape rows() const { return {N, (H + 2 * K) * D}; }
};
// Heads of few channels and of many, halves that 8 divides and others; rows of one sample and of several, also of a
// part of one; as many heads of k as of q, and fewer.
constexpr Size sizes[] = {{1, 1, 1, 1, 2},     {6, 3, 2, 1, 6},      {33, 11, 3, 3, 64},  {20, 16, 6, 2, 80},
                          {64, 32, 8, 2, 128}, {9, 9, 9, 3, 64},     {5, 5, 2, 1, 256},   {3, 3, 2, 2, 512},
                          {40, 10, 4, 2, 18},  {500, 100, 3, 1, 16}, {60, 30, 32, 8, 64}, {30, 30, 5, 5, 96}};
constexpr DType types[] = {DType::float32, DType::bfloat16};

std::string describe(const Size& size, DType type, bool norms) {
  return fmt::format("N {} T {} H {} K {} D {} {}{}", size.N, size.T, size.H, size.K, size.D, name_of(type),
                     norms ? ", norms" : "");
}

TestTensor table_of(DType type, std::int64_t positions, std::int64_t channels) {
  const std::vector<float> numbers = ops::rotary_table({.theta = 100}, positions, channels);
  TestTensor table(type, {positions, channels});
  reference::write(table, {numbers.begin(), numbers.end()});
  return table;
}

// Inputs and outputs of both passes.
struct Tensors {
  Size size;
  bool norms;
  TestTensor table, qkv, query_norm, key_norm, rstd, out, dout, dqkv, dquery_norm, dkey_norm;

  Tensors(RandomTensors& random, const Size& of, DType type, bool with_norms) : size(of), norms(with_norms) {
    const DType exact = type == DType::float64 ? type : DType::float32;
    table = table_of(exact, size.T + 3, size.D);
    qkv = random.normal(type, size.rows(), 1, 0.5);
    dout = random.normal(type, size.rows());
    out = dqkv = TestTensor(type, size.rows());
    if (!norms) return;
    rstd = TestTensor(exact, {size.N, size.H + size.K});
    query_norm = random.normal(exact, {size.D}), key_norm = random.normal(exact, {size.D});
    dquery_norm = random.normal(exact, {size.D}), dkey_norm = random.normal(exact, {size.D});
  }

  ops::Rotate forward() const {
    return {.shape = size.shape(),
            .qkv = qkv,
            .table = table,
            .query_norm = query_norm,
            .key_norm = key_norm,
            .rstd = rstd,
            .out = out,
            .epsilon = 1e-3F};
  }
  ops::RotateGradient backward() const {
    return {.shape = size.shape(),
            .dout = dout,
            .table = table,
            .qkv = norms ? qkv.view() : TensorView(),
            .query_norm = query_norm,
            .key_norm = key_norm,
            .rstd = rstd,
            .dquery_norm = dquery_norm,
            .dkey_norm = dkey_norm,
            .dqkv = dqkv};
  }
};

void for_each_case(const std::function<void(const Size&, DType, bool)>& act) {
  for (const Size& size : sizes)
    for (const DType type : types)
      for (const bool norms : {false, true}) {
        SCOPED_TRACE(describe(size, type, norms));
        act(size, type, norms);
      }
}

TEST(Rotate, IsTheReference) {
  RandomTensors random;
  Queue queue;
  for_each_case([&](const Size& size, DType type, bool norms) {
    const Tensors expected(random, size, type, norms), apart = expected, in_place = expected;
    reference::rotate(expected.forward());
    ops::rotate(queue, apart.forward());
    ops::Rotate arguments = in_place.forward();
    arguments.out = in_place.qkv;
    ops::rotate(queue, arguments);
    EXPECT_TRUE(is_close(apart.out, expected.out, tolerance_of(type)));
    EXPECT_TRUE(test::same_bits(in_place.qkv, apart.out));
    // Sums are float32 whatever the type is.
    if (norms) {
      EXPECT_TRUE(is_close(apart.rstd, expected.rstd, tolerance_of(DType::float32)));
    }
  });
}

TEST(RotateGradient, IsTheReference) {
  RandomTensors random;
  for_each_case([&](const Size& size, DType type, bool norms) {
    for (const bool accumulate : {false, true}) {
      Queue queue;
      const Tensors expected(random, size, type, norms);
      reference::rotate(expected.forward());  // for rstd
      const Tensors apart = expected, in_place = expected;
      ops::RotateGradient arguments = expected.backward();
      arguments.accumulate = accumulate;
      reference::rotate_gradient(arguments);
      arguments = apart.backward();
      arguments.accumulate = accumulate;
      ops::rotate_gradient(queue, arguments);
      arguments = in_place.backward();
      arguments.accumulate = accumulate;
      arguments.dqkv = in_place.dout;
      ops::rotate_gradient(queue, arguments);
      EXPECT_TRUE(is_close(apart.dqkv, expected.dqkv, tolerance_of(type)));
      EXPECT_TRUE(test::same_bits(in_place.dout, apart.dqkv));
      EXPECT_EQ(queue.workspace_bytes(), norms ? ops::rotate_workspace(size.N, size.D, queue.threads()) : 0);
      if (!norms) continue;
      // Sums of float32 products of what both read.
      EXPECT_TRUE(is_close(apart.dquery_norm, expected.dquery_norm, tolerance_of(DType::float32)));
      EXPECT_TRUE(is_close(apart.dkey_norm, expected.dkey_norm, tolerance_of(DType::float32)));
      EXPECT_TRUE(test::same_bits(in_place.dquery_norm, apart.dquery_norm));
      EXPECT_TRUE(test::same_bits(in_place.dkey_norm, apart.dkey_norm));
    }
  });
}

TEST(Rotate, ByARightAngleExchangesHalves) {
  // Hugging Face's order: pair c is (c, c + D / 2), not (2 c, 2 c + 1); v stays.
  Queue queue;
  const TestTensor qkv(DType::float32, {1, 12}), table(DType::float32, {1, 4}), expected(DType::float32, {1, 12});
  reference::write(qkv, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  reference::write(table, {0, 1, 1, 0});  // pair 0 by a right angle, pair 1 by none
  reference::write(expected, {-3, 2, 1, 4, -7, 6, 5, 8, 9, 10, 11, 12});
  ops::rotate(queue, {.shape = {.sequence = 1, .heads = 1, .channels = 4},
                      .qkv = qkv,
                      .table = table,
                      .query_norm = {},
                      .key_norm = {},
                      .rstd = {},
                      .out = qkv});
  EXPECT_TRUE(test::same_bits(qkv, expected));
}

TEST(Rotate, MakesScoresOfTheDistanceAlone) {
  RandomTensors random;
  Queue queue;
  const std::int64_t T = 12, D = 32;
  const TestTensor one = random.normal(DType::float32, {1, 3 * D}), rows(DType::float32, {T, 3 * D});
  for (std::int64_t t = 0; t < T; ++t) std::memcpy(rows.view().rows(t, 1).raw(), one.view().raw(), one.view().bytes());
  const TestTensor table = table_of(DType::float32, T, D);
  ops::rotate(queue, {.shape = {.sequence = T, .heads = 1, .channels = D},
                      .qkv = rows,
                      .table = table,
                      .query_norm = {},
                      .key_norm = {},
                      .rstd = {},
                      .out = rows});
  const auto score = [&](std::int64_t query, std::int64_t key) {
    double sum = 0;
    for (std::int64_t c = 0; c < D; ++c)
      sum += static_cast<double>(rows.view().data<float>()[query * 3 * D + c]) *
             static_cast<double>(rows.view().data<float>()[key * 3 * D + D + c]);
    return sum;
  };
  double different = 0;
  for (std::int64_t distance = 0; distance < 6; ++distance) {
    for (std::int64_t key = 1; key + distance < T; ++key)
      EXPECT_NEAR(score(key + distance, key), score(distance, 0), 1e-4);  // 64 products, each of a few roundings
    different = std::max(different, std::abs(score(distance, 0) - score(0, 0)));
  }
  EXPECT_GT(different, 1e-2);
}

TEST(RotateGradient, WithoutNormsTurnsBack) {
  RandomTensors random;
  Queue queue;
  const Tensors tensors(random, {64, 16, 4, 2, 64}, DType::float32, false);
  ops::rotate(queue, tensors.forward());
  ops::RotateGradient back = tensors.backward();
  back.dout = tensors.out;
  ops::rotate_gradient(queue, back);
  EXPECT_TRUE(is_close(tensors.dqkv, tensors.qkv, 1e-6));  // some roundings of 6e-8 each
}

TEST(RotateGradient, HasTheSameBitsOnAnyNumberOfThreads) {
  RandomTensors random;
  const Tensors first(random, {700, 70, 4, 2, 40}, DType::bfloat16, true);
  reference::rotate(first.forward());
  for (const int threads : {1, 2, 3, 5}) {
    Queue queue({.threads = threads});
    const Tensors& expected = first;
    const Tensors tensors = first;
    ops::rotate(queue, tensors.forward());
    ops::RotateGradient arguments = tensors.backward();
    arguments.accumulate = false;
    ops::rotate_gradient(queue, arguments);
    if (threads == 1) {
      for (const auto& [to, from] : {std::pair{&expected.out, &tensors.out},
                                     {&expected.dqkv, &tensors.dqkv},
                                     {&expected.dquery_norm, &tensors.dquery_norm},
                                     {&expected.dkey_norm, &tensors.dkey_norm}})
        std::memcpy(to->view().raw(), from->view().raw(), from->view().bytes());
      continue;
    }
    EXPECT_TRUE(test::same_bits(tensors.out, expected.out)) << threads;
    EXPECT_TRUE(test::same_bits(tensors.dqkv, expected.dqkv)) << threads;
    EXPECT_TRUE(test::same_bits(tensors.dquery_norm, expected.dquery_norm)) << threads;
    EXPECT_TRUE(test::same_bits(tensors.dkey_norm, expected.dkey_norm)) << threads;
  }
}

TEST(Rotate, BitsIgnoreOldMemory) {
  RandomTensors random;
  Queue queue;
  for (const DType type : types)
    for (const bool norms : {false, true}) {
      Tensors tensors(random, {100, 25, 3, 1, 18}, type, norms);
      std::vector<TestTensor*> written{&tensors.out}, gradients{&tensors.dqkv};
      if (norms) written.push_back(&tensors.rstd);
      if (norms) gradients.insert(gradients.end(), {&tensors.dquery_norm, &tensors.dkey_norm});
      EXPECT_TRUE(test::ignores_old_memory(queue, written, [&] { ops::rotate(queue, tensors.forward()); }));
      EXPECT_TRUE(test::ignores_old_memory(queue, gradients, [&] {
        ops::RotateGradient arguments = tensors.backward();
        arguments.accumulate = false;
        ops::rotate_gradient(queue, arguments);
      }));
    }
}

TEST(RotateReference, GradientsAreThoseOfFiniteDifferences) {
  RandomTensors random;
  for (const bool norms : {false, true}) {
    const Tensors tensors(random, {5, 4, 4, 2, 6}, DType::float64, norms);
    const auto value = [&] {
      reference::rotate(tensors.forward());
      return test::inner_product(tensors.out, tensors.dout);
    };
    value();
    ops::RotateGradient arguments = tensors.backward();
    arguments.accumulate = false;
    reference::rotate_gradient(arguments);
    EXPECT_LT(relative_difference(tensors.dqkv, central_differences(tensors.qkv, value)), test::difference_tolerance);
    if (!norms) continue;
    EXPECT_LT(relative_difference(tensors.dquery_norm, central_differences(tensors.query_norm, value)),
              test::difference_tolerance);
    EXPECT_LT(relative_difference(tensors.dkey_norm, central_differences(tensors.key_norm, value)),
              test::difference_tolerance);
  }
}

}  // namespace
}  // namespace penstock::rotate_test

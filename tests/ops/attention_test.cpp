// SPDX-License-Identifier: Apache-2.0
// CTest: BACKENDS cpu cuda
#include "ops/attention.hpp"

#include <gtest/gtest.h>

#include "ops/reference/reference.hpp"
#include "support/finite_differences.hpp"
#include "support/random_tensor.hpp"

namespace penstock::attention_test {
namespace {

using ops::AttentionShape;
using test::is_close;
using test::RandomTensors;
using test::Shared;
using test::TestTensor;
using test::tolerance_of;

// Beyond 32 bits, so that the upper half of the sample number must reach the masks.
const std::uint64_t far_sample = (7ULL << 32) + 4294967290ULL;

// Inputs and outputs of forward and backward of one shape.
struct Tensors {
  AttentionShape shape;
  TestTensor qkv, out, log_sum_exp, dout, dqkv;
  ops::Dropout dropout;
  Shared<std::uint64_t> sample{far_sample};

  Tensors(RandomTensors& random, const AttentionShape& of, DType type, double probability)
      : shape(of),
        qkv(random.normal(type, {of.samples * of.sequence, of.packed_width()}, 1.5)),  // scores of size 2
        out(type, {of.samples * of.sequence, of.heads * of.channels}),
        log_sum_exp(type == DType::float64 ? type : DType::float32, {of.samples, of.heads, of.sequence}),
        dout(random.normal(type, out.view().shape())),
        dqkv(type, qkv.view().shape()),
        dropout{.probability = probability, .key = random.next_key()} {}

  ops::Attention forward() const { return forward(sample.get()); }
  ops::Attention forward(const std::uint64_t* first_sample) const {
    return {.shape = shape,
            .qkv = qkv,
            .out = out,
            .log_sum_exp = log_sum_exp,
            .dropout = dropout,
            .first_sample = first_sample};
  }
  ops::AttentionGradient backward() const { return backward(sample.get()); }
  ops::AttentionGradient backward(const std::uint64_t* first_sample) const {
    return {.shape = shape,
            .qkv = qkv,
            .out = out,
            .log_sum_exp = log_sum_exp,
            .dout = dout,
            .dqkv = dqkv,
            .dropout = dropout,
            .first_sample = first_sample};
  }
};

std::string describe(const AttentionShape& shape, DType type, double probability) {
  return fmt::format("B {} T {} H {} K {} D {} window {} first head {} {} dropout {}", shape.samples, shape.sequence,
                     shape.heads, shape.key_heads(), shape.channels, shape.window, shape.first_head, name_of(type),
                     probability);
}

// Sequences of 1, of an odd number, of less and more than a block of 64, and of whole blocks; channels of all sorts;
// fewer heads of k and v; windows of one position, within a block, over block borders, and wider than the sequence.
constexpr AttentionShape shapes[] = {
    {.samples = 1, .sequence = 1, .heads = 1, .channels = 1},
    {.samples = 3, .sequence = 1, .heads = 2, .channels = 16},
    {.samples = 2, .sequence = 7, .heads = 3, .channels = 20, .first_head = 5},
    {.samples = 1, .sequence = 64, .heads = 2, .channels = 32},
    {.samples = 1, .sequence = 65, .heads = 1, .channels = 12},
    {.samples = 2, .sequence = 100, .heads = 2, .channels = 16, .first_head = 2},
    {.samples = 1, .sequence = 128, .heads = 2, .channels = 64},
    {.samples = 1, .sequence = 200, .heads = 2, .channels = 64},
    {.samples = 1, .sequence = 200, .heads = 1, .channels = 7},
    {.samples = 2, .sequence = 7, .heads = 6, .channels = 20, .first_head = 6, .kv_heads = 3},
    {.samples = 2, .sequence = 100, .heads = 4, .channels = 16, .kv_heads = 1},
    {.samples = 1, .sequence = 130, .heads = 9, .channels = 64, .kv_heads = 3},
    {.samples = 2, .sequence = 40, .heads = 1, .channels = 16, .window = 1},
    {.samples = 1, .sequence = 200, .heads = 2, .channels = 12, .window = 5},
    {.samples = 1, .sequence = 300, .heads = 2, .channels = 16, .window = 64},
    {.samples = 1, .sequence = 330, .heads = 4, .channels = 32, .kv_heads = 2, .window = 65},
    {.samples = 2, .sequence = 150, .heads = 2, .channels = 24, .kv_heads = 1, .window = 149},
    {.samples = 1, .sequence = 90, .heads = 2, .channels = 16, .kv_heads = 2, .window = 4096},
};

// What a backend may leave to a library's fused attention: bfloat16 without dropout, in heads of 8 to 128 channels.
// Sequences of 1, below and above a tile of 64 or 128, and of whole tiles; samples and heads by themselves and
// together.
constexpr AttentionShape fused_shapes[] = {
    {.samples = 2, .sequence = 1, .heads = 2, .channels = 64},
    {.samples = 1, .sequence = 2, .heads = 1, .channels = 64},
    {.samples = 1, .sequence = 63, .heads = 1, .channels = 64},
    {.samples = 3, .sequence = 64, .heads = 2, .channels = 64},
    {.samples = 2, .sequence = 100, .heads = 3, .channels = 40},
    {.samples = 2, .sequence = 100, .heads = 2, .channels = 128},
    {.samples = 1, .sequence = 257, .heads = 2, .channels = 80, .first_head = 3},
    {.samples = 2, .sequence = 257, .heads = 3, .channels = 64},
    {.samples = 1, .sequence = 256, .heads = 2, .channels = 128},
    {.samples = 1, .sequence = 192, .heads = 5, .channels = 8},
    {.samples = 2, .sequence = 100, .heads = 6, .channels = 64, .kv_heads = 2},
    {.samples = 1, .sequence = 257, .heads = 8, .channels = 128, .kv_heads = 1},
    {.samples = 2, .sequence = 256, .heads = 4, .channels = 64, .window = 100},
    {.samples = 1, .sequence = 384, .heads = 4, .channels = 128, .kv_heads = 2, .window = 128},
};

TEST(Attention, IsTheReference) {
  RandomTensors random;
  Queue queue;
  for (const AttentionShape& shape : shapes)
    for (const DType type : {DType::float32, DType::bfloat16})
      for (const double probability : {0.0, 0.1}) {
        SCOPED_TRACE(describe(shape, type, probability));
        const Tensors got(random, shape, type, probability), expected = got;
        const std::uint64_t* sample = probability > 0 ? got.sample.get() : nullptr;  // not looked at without dropout
        ops::attention(queue, got.forward(sample));
        reference::attention(expected.forward(sample));
        EXPECT_TRUE(is_close(got.out, expected.out, tolerance_of(type)));
        EXPECT_TRUE(is_close(got.log_sum_exp, expected.log_sum_exp, tolerance_of(type)));
      }
}

// The gradient of a score is p (dp - dout . out), of which a backend takes the last from the rounded `out` of the
// forward pass. With one key in sight the two are equal and the gradients of q and k are nothing: what is left is the
// rounding of a bfloat16, 0.004 |dp| times |k| or |q|, which may be 5, beside the gradient of v.
double gradient_tolerance(const AttentionShape& shape, DType type) {
  const bool one_key = shape.sequence == 1 || shape.window == 1;
  return one_key && type == DType::bfloat16 ? 5e-2 : tolerance_of(type);
}

TEST(AttentionGradient, IsTheReference) {
  RandomTensors random;
  Queue queue;
  for (const AttentionShape& shape : shapes)
    for (const DType type : {DType::float32, DType::bfloat16})
      for (const double probability : {0.0, 0.1}) {
        SCOPED_TRACE(describe(shape, type, probability));
        const Tensors expected(random, shape, type, probability);
        const std::uint64_t* sample = probability > 0 ? expected.sample.get() : nullptr;
        reference::attention(expected.forward(sample));
        const Tensors got = expected;
        ops::attention_gradient(queue, got.backward(sample));
        reference::attention_gradient(expected.backward(sample));
        EXPECT_TRUE(is_close(got.dqkv, expected.dqkv, gradient_tolerance(shape, type)));
      }
}

TEST(Attention, InBfloat16WithoutDropoutIsTheReference) {
  RandomTensors random;
  Queue queue;
  for (const AttentionShape& shape : fused_shapes) {
    SCOPED_TRACE(describe(shape, DType::bfloat16, 0));
    const Tensors got(random, shape, DType::bfloat16, 0), expected = got;
    ops::attention(queue, got.forward(nullptr));
    reference::attention(expected.forward(nullptr));
    EXPECT_TRUE(is_close(got.out, expected.out, tolerance_of(DType::bfloat16)));
    // float32 sums of exact products: a library that kept another number (in base 2, say) would be seen.
    EXPECT_TRUE(is_close(got.log_sum_exp, expected.log_sum_exp, 1e-3));
  }
}

TEST(AttentionGradient, InBfloat16WithoutDropoutIsTheReference) {
  RandomTensors random;
  Queue queue;
  for (const AttentionShape& shape : fused_shapes) {
    SCOPED_TRACE(describe(shape, DType::bfloat16, 0));
    const Tensors expected(random, shape, DType::bfloat16, 0);
    reference::attention(expected.forward(nullptr));
    const Tensors got = expected;
    ops::attention_gradient(queue, got.backward(nullptr));
    reference::attention_gradient(expected.backward(nullptr));
    EXPECT_TRUE(is_close(got.dqkv, expected.dqkv, gradient_tolerance(shape, DType::bfloat16)));
  }
}

// Queries that all keys are against: scores of -100, whose log-sum-exp is so small that exp(0 - log-sum-exp) overflows.
// What lies beyond the end of a sequence has the score 0, and must not count.
TEST(AttentionGradient, SurvivesVeryNegativeScores) {
  RandomTensors random;
  Queue queue;
  for (const std::int64_t sequence : {64, 100, 128, 192}) {
    const AttentionShape shape{.samples = 2, .sequence = sequence, .heads = 2, .channels = 64};
    SCOPED_TRACE(describe(shape, DType::bfloat16, 0));
    Tensors expected(random, shape, DType::bfloat16, 0);
    reference::Values values = reference::read(expected.qkv);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::size_t part = i % (3 * 128) / 128;  // q, k, v
      if (part < 2) values[i] = (part == 0 ? 3.53 : -3.53) + 0.05 * values[i];
    }
    reference::write(expected.qkv, values);
    reference::attention(expected.forward(nullptr));
    const Tensors got = expected;
    ops::attention_gradient(queue, got.backward(nullptr));
    reference::attention_gradient(expected.backward(nullptr));
    for (const double value : reference::read(got.dqkv)) ASSERT_TRUE(std::isfinite(value));
    EXPECT_TRUE(is_close(got.dqkv, expected.dqkv, tolerance_of(DType::bfloat16)));
  }
}

TEST(Attention, RepeatsItsBits) {
  RandomTensors random;
  for (const AttentionShape& shape : {AttentionShape{.samples = 2, .sequence = 257, .heads = 3, .channels = 64},
                                      AttentionShape{.samples = 1, .sequence = 300, .heads = 2, .channels = 128}})
    for (const double probability : {0.0, 0.1}) {
      SCOPED_TRACE(describe(shape, DType::bfloat16, probability));
      const Tensors first(random, shape, DType::bfloat16, probability), again = first;
      for (const Tensors* tensors : {&first, &again}) {
        Queue queue;  // chooses anew how it computes, as a restart does
        ops::attention(queue, tensors->forward());
        ops::attention_gradient(queue, tensors->backward());
      }
      EXPECT_TRUE(test::same_bits(first.out, again.out));
      EXPECT_TRUE(test::same_bits(first.log_sum_exp, again.log_sum_exp));
      EXPECT_TRUE(test::same_bits(first.dqkv, again.dqkv));
    }
}

TEST(AttentionGradient, IsTheReferenceWhereBitsNeedNotRepeat) {
  RandomTensors random;
  for (AttentionShape shape : fused_shapes) {
    Queue queue;
    shape.repeatable = false;
    SCOPED_TRACE(describe(shape, DType::bfloat16, 0));
    const Tensors expected(random, shape, DType::bfloat16, 0);
    reference::attention(expected.forward());
    const Tensors got = expected;
    ops::attention_gradient(queue, got.backward());
    reference::attention_gradient(expected.backward());
    EXPECT_TRUE(is_close(got.dqkv, expected.dqkv, gradient_tolerance(shape, DType::bfloat16)));
    EXPECT_LE(queue.workspace_bytes(), ops::attention_workspace(shape, DType::bfloat16, queue.threads()));
  }
}

void expect_workspace_as_said(RandomTensors& random, const AttentionShape& shape, DType type) {
  SCOPED_TRACE(describe(shape, type, 0));
  Queue queue;
  const Tensors tensors(random, shape, type, 0);
  ops::attention(queue, tensors.forward());
  ops::attention_gradient(queue, tensors.backward());
  EXPECT_LE(queue.workspace_bytes(), ops::attention_workspace(shape, type, queue.threads()));
}

TEST(Attention, TakesNoMoreWorkspaceThanItSays) {
  RandomTensors random;
  for (const AttentionShape& shape : shapes)
    for (const DType type : {DType::float32, DType::bfloat16}) expect_workspace_as_said(random, shape, type);
  for (const AttentionShape& shape : fused_shapes) expect_workspace_as_said(random, shape, DType::bfloat16);
}

TEST(Attention, SurvivesLargeScores) {
  // Scores of some hundreds: exp overflows unless the largest is taken off first.
  RandomTensors random;
  Queue queue;
  const AttentionShape shape{.samples = 1, .sequence = 70, .heads = 1, .channels = 16};
  Tensors got(random, shape, DType::float32, 0);
  got.qkv = random.normal(DType::float32, {70, 48}, 15);
  const Tensors expected = got;
  ops::attention(queue, got.forward());
  reference::attention(expected.forward());
  // A score of 1000 is a float32 to within 6e-5, and so is the logarithm of a probability.
  EXPECT_TRUE(is_close(got.out, expected.out, 1e-3));
  EXPECT_TRUE(is_close(got.log_sum_exp, expected.log_sum_exp, 1e-5));
}

TEST(Attention, IgnoresLaterPositions) {
  RandomTensors random;
  Queue queue;
  const AttentionShape shape{.samples = 1, .sequence = 90, .heads = 2, .channels = 16};
  Tensors tensors(random, shape, DType::float32, 0.1);
  ops::attention(queue, tensors.forward());
  const TestTensor before = tensors.out;
  const TestTensor other_end = random.normal(DType::float32, {20, 96});
  std::memcpy(tensors.qkv.view().rows(70, 20).raw(), other_end.view().raw(), other_end.view().bytes());
  ops::attention(queue, tensors.forward());
  EXPECT_TRUE(test::same_bits(tensors.out.view().rows(0, 70), before.view().rows(0, 70)));
  EXPECT_FALSE(test::same_bits(tensors.out.view().rows(70, 20), before.view().rows(70, 20)));
}

// Heads [first, first + count) of a packed array of `parts` (3: qkv, 1: out) as an array of their own.
TestTensor heads_of(const TensorView& packed, int parts, std::int64_t heads, std::int64_t channels, std::int64_t first,
                    std::int64_t count) {
  const std::int64_t rows = packed.shape()[0];
  const reference::Values from = reference::read(packed);
  reference::Values to;
  for (std::int64_t row = 0; row < rows; ++row)
    for (int part = 0; part < parts; ++part)
      for (std::int64_t i = first * channels; i < (first + count) * channels; ++i)
        to.push_back(from[static_cast<std::size_t>((row * parts + part) * heads * channels + i)]);
  TestTensor piece(packed.type(), {rows, parts * count * channels});
  reference::write(piece, to);
  return piece;
}

TEST(Attention, CutByHeadsIsTheWhole) {
  RandomTensors random;
  Queue queue;
  const AttentionShape shape{.samples = 2, .sequence = 75, .heads = 4, .channels = 20, .first_head = 8};
  const Tensors whole(random, shape, DType::float32, 0.2);
  ops::attention(queue, whole.forward());
  ops::attention_gradient(queue, whole.backward());
  for (const auto& [first, count] : {std::pair<std::int64_t, std::int64_t>{0, 1}, {1, 3}, {2, 2}}) {
    SCOPED_TRACE(fmt::format("heads {} to {}", first, first + count - 1));
    AttentionShape cut = shape;
    cut.heads = count, cut.first_head += first;
    Tensors piece(random, cut, DType::float32, 0.2);
    piece.qkv = heads_of(whole.qkv, 3, 4, 20, first, count);
    piece.dout = heads_of(whole.dout, 1, 4, 20, first, count);
    piece.dropout = whole.dropout;
    ops::attention(queue, piece.forward());
    ops::attention_gradient(queue, piece.backward());
    // A dropped element more or less would be seen at 1e-2; a backend may add in another order for another shape.
    EXPECT_TRUE(is_close(piece.out, heads_of(whole.out, 1, 4, 20, first, count), 1e-5));
    EXPECT_TRUE(is_close(piece.dqkv, heads_of(whole.dqkv, 3, 4, 20, first, count), 1e-5));
  }
}

// q, k and v of the shape's heads as those of a shape in which each head of q has k and v of its own.
TestTensor repeated_keys(const TensorView& packed, const AttentionShape& shape) {
  const std::int64_t rows = packed.shape()[0], D = shape.channels, H = shape.heads, K = shape.key_heads();
  const reference::Values from = reference::read(packed);
  reference::Values to;
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t head = 0; head < 3 * H; ++head) {
      const std::int64_t part = head / H, source = part == 0 ? head : H + (part - 1) * K + head % H / (H / K);
      for (std::int64_t c = 0; c < D; ++c)
        to.push_back(from[static_cast<std::size_t>(row * shape.packed_width() + source * D + c)]);
    }
  TestTensor repeated(packed.type(), {rows, 3 * H * D});
  reference::write(repeated, to);
  return repeated;
}

// What grouped queries mean: k and v repeated for each head of q give the same output, and their gradients are summed.
TEST(Attention, OfGroupedQueriesIsThatOfRepeatedKeys) {
  RandomTensors random;
  Queue queue;
  const AttentionShape shape{.samples = 2, .sequence = 75, .heads = 6, .channels = 20, .first_head = 8, .kv_heads = 2};
  const Tensors grouped(random, shape, DType::float32, 0.2);
  ops::attention(queue, grouped.forward());
  ops::attention_gradient(queue, grouped.backward());
  AttentionShape plain = shape;
  plain.kv_heads = 6;
  Tensors repeated(random, plain, DType::float32, 0.2);
  repeated.qkv = repeated_keys(grouped.qkv, shape);
  repeated.dout = grouped.dout, repeated.dropout = grouped.dropout;
  ops::attention(queue, repeated.forward());
  ops::attention_gradient(queue, repeated.backward());
  // A backend may add in another order for another shape.
  EXPECT_TRUE(is_close(grouped.out, repeated.out, 1e-5));
  EXPECT_TRUE(is_close(grouped.log_sum_exp, repeated.log_sum_exp, 1e-5));
  reference::Values summed(static_cast<std::size_t>(grouped.dqkv.view().elements()));
  const reference::Values from = reference::read(repeated.dqkv);
  for (std::size_t row = 0; row < 150; ++row)
    for (std::size_t head = 0; head < 18; ++head) {
      const std::size_t part = head / 6, to = part == 0 ? head : 6 + (part - 1) * 2 + head % 6 / 3;
      for (std::size_t c = 0; c < 20; ++c) summed[(row * 10 + to) * 20 + c] += from[(row * 18 + head) * 20 + c];
    }
  const TestTensor expected(DType::float32, grouped.dqkv.view().shape());
  reference::write(expected, summed);
  EXPECT_TRUE(is_close(grouped.dqkv, expected, 1e-5));
}

TEST(Attention, WithAWindowIgnoresEarlierPositions) {
  RandomTensors random;
  Queue queue;
  const AttentionShape shape{.samples = 1, .sequence = 150, .heads = 2, .channels = 16, .kv_heads = 1, .window = 20};
  Tensors tensors(random, shape, DType::float32, 0.1);
  ops::attention(queue, tensors.forward());
  const TestTensor before = tensors.out;
  const TestTensor other = random.normal(DType::float32, {1, 64});
  std::memcpy(tensors.qkv.view().rows(70, 1).raw(), other.view().raw(), other.view().bytes());
  ops::attention(queue, tensors.forward());
  // Position 70 is seen by 70 to 89.
  EXPECT_TRUE(test::same_bits(tensors.out.view().rows(0, 70), before.view().rows(0, 70)));
  for (std::int64_t t = 70; t < 90; ++t)
    EXPECT_FALSE(test::same_bits(tensors.out.view().rows(t, 1), before.view().rows(t, 1))) << t;
  EXPECT_TRUE(test::same_bits(tensors.out.view().rows(90, 60), before.view().rows(90, 60)));
}

TEST(Attention, OfFewerKeyHeadsHasTheSameBitsOnAnyNumberOfThreads) {
  RandomTensors random;
  const AttentionShape shape{.samples = 2, .sequence = 200, .heads = 6, .channels = 24, .kv_heads = 2, .window = 90};
  for (const DType type : {DType::float32, DType::bfloat16}) {
    const Tensors first(random, shape, type, 0.1);
    Queue one({.threads = 1});
    ops::attention(one, first.forward());
    ops::attention_gradient(one, first.backward());
    for (const int threads : {2, 3, 7}) {
      const Tensors again = first;
      std::memset(again.out.view().raw(), 0xff, again.out.view().bytes());
      std::memset(again.dqkv.view().raw(), 0xff, again.dqkv.view().bytes());
      Queue queue({.threads = threads});
      ops::attention(queue, again.forward());
      ops::attention_gradient(queue, again.backward());
      EXPECT_TRUE(test::same_bits(again.out, first.out)) << threads;
      EXPECT_TRUE(test::same_bits(again.dqkv, first.dqkv)) << threads;
    }
  }
}

TEST(Attention, OfASampleByItselfIsThatOfTheMicrobatch) {
  RandomTensors random;
  Queue queue;
  const AttentionShape shape{.samples = 3, .sequence = 33, .heads = 2, .channels = 16};
  const Tensors whole(random, shape, DType::float32, 0.2);
  ops::attention(queue, whole.forward());
  AttentionShape one = shape;
  one.samples = 1;
  Tensors piece(random, one, DType::float32, 0.2);
  piece.dropout = whole.dropout;
  const TensorView last = whole.qkv.view().rows(66, 33);
  std::memcpy(piece.qkv.view().raw(), last.raw(), last.bytes());
  const Shared number(far_sample + 2);
  ops::attention(queue, piece.forward(number.get()));
  EXPECT_TRUE(is_close(piece.out, whole.out.view().rows(66, 33), 1e-5));
}

void expect_bits_ignore_old_memory(RandomTensors& random, Queue& queue, const AttentionShape& shape, DType type,
                                   double probability) {
  SCOPED_TRACE(describe(shape, type, probability));
  Tensors tensors(random, shape, type, probability);
  EXPECT_TRUE(test::ignores_old_memory(queue, {&tensors.out, &tensors.log_sum_exp},
                                       [&] { ops::attention(queue, tensors.forward()); }));
  EXPECT_TRUE(
      test::ignores_old_memory(queue, {&tensors.dqkv}, [&] { ops::attention_gradient(queue, tensors.backward()); }));
}

TEST(Attention, PreparedIsTheSameInBits) {
  RandomTensors random;
  for (const double probability : {0.0, 0.1})
    for (const AttentionShape& shape : fused_shapes) {
      SCOPED_TRACE(describe(shape, DType::bfloat16, probability));
      const Tensors got(random, shape, DType::bfloat16, probability), expected = got;
      Queue prepared, other;
      ops::prepare_attention(prepared, shape, DType::bfloat16, got.dropout);
      const std::size_t workspace = prepared.workspace_bytes();
      ops::attention(prepared, got.forward());
      ops::attention_gradient(prepared, got.backward());
      // A backend that prepares (the CPU's does not) leaves nothing to allocate inside a step.
      if (workspace > 0) {
        EXPECT_EQ(prepared.workspace_bytes(), workspace);
      }
      ops::attention(other, expected.forward());
      ops::attention_gradient(other, expected.backward());
      EXPECT_EQ(test::relative_difference(got.out, expected.out), 0);
      EXPECT_EQ(test::relative_difference(got.dqkv, expected.dqkv), 0);
    }
}

TEST(Attention, BitsIgnoreOldMemory) {
  RandomTensors random;
  Queue queue;
  for (const AttentionShape& shape : shapes)
    for (const DType type : {DType::float32, DType::bfloat16})
      expect_bits_ignore_old_memory(random, queue, shape, type, 0.1);
  for (const AttentionShape& shape : fused_shapes)
    expect_bits_ignore_old_memory(random, queue, shape, DType::bfloat16, 0);
}

TEST(AttentionReference, IsTheFormulaForTwoPositions) {
  // D = 1, q = 2, k = (1, 3), v = (5, 7): position 0 gives 5; position 1 weighs with exp(2) and exp(6).
  const AttentionShape shape{.samples = 1, .sequence = 2, .heads = 1, .channels = 1};
  const TestTensor qkv(DType::float64, {2, 3}), out(DType::float64, {2, 1}), log_sum_exp(DType::float64, {1, 1, 2});
  reference::write(qkv, {2, 1, 5, 2, 3, 7});
  reference::attention({.shape = shape, .qkv = qkv, .out = out, .log_sum_exp = log_sum_exp, .dropout = {}});
  const double a = std::exp(2.0), b = std::exp(6.0);
  EXPECT_DOUBLE_EQ(reference::read(out)[0], 5);
  EXPECT_DOUBLE_EQ(reference::read(out)[1], (5 * a + 7 * b) / (a + b));
  EXPECT_DOUBLE_EQ(reference::read(log_sum_exp)[0], 2);
  EXPECT_DOUBLE_EQ(reference::read(log_sum_exp)[1], std::log(a + b));
}

TEST(AttentionReference, WithAWindowOfTwoIsTheFormula) {
  // D = 1, two heads share k = (1, 3, 2) and v = (5, 7, 9); with q = 1 position 2 weighs keys 1 and 2 only.
  const AttentionShape shape{.samples = 1, .sequence = 3, .heads = 2, .channels = 1, .kv_heads = 1, .window = 2};
  const TestTensor qkv(DType::float64, {3, 4}), out(DType::float64, {3, 2}), log_sum_exp(DType::float64, {1, 2, 3});
  reference::write(qkv, {1, 0, 1, 5, 1, 0, 3, 7, 1, 0, 2, 9});
  reference::attention({.shape = shape, .qkv = qkv, .out = out, .log_sum_exp = log_sum_exp, .dropout = {}});
  const double a = std::exp(3.0), b = std::exp(2.0);
  EXPECT_DOUBLE_EQ(reference::read(out)[4], (7 * a + 9 * b) / (a + b));
  EXPECT_DOUBLE_EQ(reference::read(out)[5], 8);  // q = 0 weighs both alike
  EXPECT_DOUBLE_EQ(reference::read(log_sum_exp)[2], std::log(a + b));
  EXPECT_DOUBLE_EQ(reference::read(log_sum_exp)[5], std::log(2.0));
}

TEST(AttentionReference, GradientIsThatOfFiniteDifferences) {
  RandomTensors random;
  for (const double probability : {0.0, 0.3})
    for (const AttentionShape& shape :
         {AttentionShape{.samples = 2, .sequence = 5, .heads = 2, .channels = 3, .first_head = 1},
          AttentionShape{.samples = 2, .sequence = 6, .heads = 4, .channels = 3, .kv_heads = 2, .window = 3}}) {
      const Tensors tensors(random, shape, DType::float64, probability);
      const auto value = [&] {
        reference::attention(tensors.forward());
        return test::inner_product(tensors.out, tensors.dout);
      };
      value();
      reference::attention_gradient(tensors.backward());
      EXPECT_LT(relative_difference(tensors.dqkv, central_differences(tensors.qkv, value)), test::difference_tolerance);
    }
}

}  // namespace
}  // namespace penstock::attention_test

// SPDX-License-Identifier: Apache-2.0
// CTest: BACKENDS cpu cuda
#include "ops/adamw.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <random>

#include "ops/reference/reference.hpp"
#include "support/random_tensor.hpp"

namespace penstock::adamw_test {
namespace {

using test::is_close;
using test::RandomTensors;
using test::Shared;
using test::TestTensor;
using test::tolerance_of;

constexpr ops::AdamWConstants constants{.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8F, .weight_decay = 0.1F};

// The tensors of one piece; copied for the reference.
struct PieceTensors {
  TestTensor master, gradient, addend, first_moment, second_moment, weight;
  bool decay;

  PieceTensors(RandomTensors& random, std::int64_t n, bool has_weight, bool decays)
      : master(random.normal(DType::float32, {n})),
        gradient(random.normal(DType::float32, {n}, 0.3)),
        first_moment(random.normal(DType::float32, {n}, 0.1)),
        second_moment(random.normal(DType::float32, {n}, 0.1)),
        weight(has_weight ? TestTensor(DType::bfloat16, {n}) : TestTensor()),
        decay(decays) {
    for (std::int64_t i = 0; i < n; ++i) second_moment.view().data<float>()[i] *= second_moment.view().data<float>()[i];
  }
  ops::AdamWPiece piece() const {
    return {.master = master,
            .gradient = gradient,
            .addend = addend,
            .first_moment = first_moment,
            .second_moment = second_moment,
            .weight = weight,
            .decay = decay};
  }
};

TEST(AdamW, IsTheReference) {
  RandomTensors random;
  Queue queue;
  const Shared step(ops::AdamWStep{.learning_rate = 0.02F,
                                   .gradient_scale = 0.37F,
                                   .first_correction = 1 / 0.271F,
                                   .second_correction = 1 / 0.142625F});
  std::vector<PieceTensors> got;
  for (const std::int64_t n : {1, 7, 8, 100, 5000, 20011})
    for (const bool has_weight : {false, true})
      for (const bool decays : {false, true}) got.emplace_back(random, n, has_weight, decays);
  const std::vector<PieceTensors> expected = got;
  std::vector<ops::AdamWPiece> got_pieces, expected_pieces;
  for (const PieceTensors& tensors : got) got_pieces.push_back(tensors.piece());
  for (const PieceTensors& tensors : expected) expected_pieces.push_back(tensors.piece());
  ops::adamw(queue, constants, step.get(), got_pieces);
  reference::adamw(constants, step.get(), expected_pieces);
  for (std::size_t i = 0; i < got.size(); ++i) {
    SCOPED_TRACE(fmt::format("n {} weight {} decay {}", got[i].master.view().elements(), got_pieces[i].weight.present(),
                             got[i].decay));
    // One element may happen to be near 0; its error is that of its terms, whose sizes are 1 and 0.1.
    EXPECT_TRUE(is_close(got[i].master, expected[i].master, tolerance_of(DType::float32), 1));
    EXPECT_TRUE(is_close(got[i].first_moment, expected[i].first_moment, tolerance_of(DType::float32), 0.1));
    EXPECT_TRUE(is_close(got[i].second_moment, expected[i].second_moment, tolerance_of(DType::float32)));
    EXPECT_TRUE(test::same_bits(got[i].gradient, expected[i].gradient));
    if (got_pieces[i].weight.present()) {
      const TestTensor rounded(DType::bfloat16, got[i].weight.view().shape());
      reference::cast(got[i].master, rounded);
      EXPECT_TRUE(test::same_bits(got[i].weight, rounded));  // the copy is the rounded master, exactly
    }
  }
}

TEST(AdamW, OfGradientsOfEitherTypeInTwoPartsHasTheBitsOfTheirFloat32Sum) {
  RandomTensors random;
  Queue queue;
  const Shared step(ops::AdamWStep{.learning_rate = 0.02F, .gradient_scale = 0.37F, .first_correction = 2});
  for (const DType type : {DType::float32, DType::bfloat16})
    for (const auto& addend_type : {std::optional<DType>{}, {DType::float32}, {DType::bfloat16}})
      for (const std::int64_t n : {1, 8, 100, 20011}) {
        SCOPED_TRACE(fmt::format("{} {} addend {}", n, name_of(type), addend_type ? name_of(*addend_type) : "absent"));
        PieceTensors got(random, n, true, true), whole = got;
        got.gradient = random.normal(type, {n}, 0.3);
        if (addend_type) got.addend = random.normal(*addend_type, {n}, 0.3);
        const reference::Values first = reference::read(got.gradient), second = reference::read_or_zeros(got.addend, n);
        for (std::size_t i = 0; i < first.size(); ++i)
          whole.gradient.view().data<float>()[i] = static_cast<float>(first[i]) + static_cast<float>(second[i]);
        const ops::AdamWPiece got_piece = got.piece(), whole_piece = whole.piece();
        ops::adamw(queue, constants, step.get(), std::span(&got_piece, 1));
        ops::adamw(queue, constants, step.get(), std::span(&whole_piece, 1));
        EXPECT_TRUE(test::same_bits(got.master, whole.master));
        EXPECT_TRUE(test::same_bits(got.first_moment, whole.first_moment));
        EXPECT_TRUE(test::same_bits(got.second_moment, whole.second_moment));
        EXPECT_TRUE(test::same_bits(got.weight, whole.weight));
      }
}

TEST(AdamW, UpdatesOfTinyGradientsAreTheReference) {
  // The first update from zero moments: g / (|g| + epsilon), where epsilon is as large as g.
  RandomTensors random;
  Queue queue;
  const Shared step(
      ops::AdamWStep{.learning_rate = 1, .gradient_scale = 1, .first_correction = 10, .second_correction = 20});
  PieceTensors got(random, 64, false, false);
  got.gradient = random.normal(DType::float32, {64}, 1e-8);
  got.master.fill(0), got.first_moment.fill(0), got.second_moment.fill(0);
  const PieceTensors expected = got;
  const ops::AdamWPiece got_piece = got.piece(), expected_piece = expected.piece();
  ops::adamw(queue, constants, step.get(), std::span(&got_piece, 1));
  reference::adamw(constants, step.get(), std::span(&expected_piece, 1));
  EXPECT_TRUE(is_close(got.master, expected.master, tolerance_of(DType::float32)));
}

TEST(AdamW, TheFirstSecondMomentHasTheDigitsOfItsBeta) {
  // From zero moments: (1 - beta) g and (1 - beta) g^2. 1 - 0.9999F is 1.7e-4 too large, 1 - 0.9F only 1e-7.
  Queue queue;
  RandomTensors random;
  const Shared step(ops::AdamWStep{.learning_rate = 0.1F});
  for (const double beta : {0.9, 0.95, 0.999, 0.9999, 0.999999, 0.99999994}) {
    PieceTensors got(random, 40, false, false);
    got.first_moment.fill(0), got.second_moment.fill(0);
    std::fill_n(got.gradient.view().data<float>(), 40, 2.0F);
    const ops::AdamWPiece piece = got.piece();
    ops::adamw(queue, {.beta1 = beta, .beta2 = beta}, step.get(), std::span(&piece, 1));
    for (const double m : reference::read(got.first_moment)) EXPECT_NEAR(m, (1 - beta) * 2, (1 - beta) * 1e-6) << beta;
    for (const double v : reference::read(got.second_moment)) EXPECT_NEAR(v, (1 - beta) * 4, (1 - beta) * 1e-6) << beta;
  }
}

TEST(AdamW, ALongMeanOfSquaresIsNotBiased) {
  // 0.9999 rounds to 0.99989998: with that factor alone, and the right complement, the mean would come out 1e-4 too
  // small. An element's own rounding is as large, but has either sign.
  constexpr std::int64_t n = 256;
  constexpr double beta = 0.9999;
  Queue queue({.threads = 1});
  RandomTensors random;
  const Shared step(ops::AdamWStep{.learning_rate = 0});
  PieceTensors got(random, n, false, false);
  got.first_moment.fill(0), got.second_moment.fill(0);
  const ops::AdamWPiece piece = got.piece();
  float* gradient = got.gradient.view().data<float>();
  reference::Values expected(n, 0);
  std::minstd_rand numbers(1);
  for (int update = 0; update < 20000; ++update) {
    for (std::size_t i = 0; i < n; ++i) {
      gradient[i] = 0.5F + static_cast<float>(numbers()) * 0x1p-31F;
      const auto g = static_cast<double>(gradient[i]);
      expected[i] = beta * expected[i] + (1 - beta) * g * g;
    }
    ops::adamw(queue, {.beta1 = beta, .beta2 = beta}, step.get(), std::span(&piece, 1));
  }
  const reference::Values values = reference::read(got.second_moment);
  double mean = 0;
  for (std::size_t i = 0; i < n; ++i) mean += values[i] / expected[i] / n;
  EXPECT_NEAR(mean, 1, 1e-5);
}

TEST(AdamW, OfARangeInPiecesHasTheBitsOfTheWhole) {
  // The sharded optimizer updates any part of a tensor.
  RandomTensors random;
  const Shared step(
      ops::AdamWStep{.learning_rate = 0.02F, .gradient_scale = 1, .first_correction = 2, .second_correction = 3});
  const PieceTensors whole(random, 1003, true, true), cut = whole;
  std::vector<ops::AdamWPiece> pieces;
  for (const auto& [begin, count] : {std::pair{0, 5}, {5, 500}, {505, 498}})
    pieces.push_back({.master = cut.master.view().range(begin, count),
                      .gradient = cut.gradient.view().range(begin, count),
                      .addend = {},
                      .first_moment = cut.first_moment.view().range(begin, count),
                      .second_moment = cut.second_moment.view().range(begin, count),
                      .weight = cut.weight.view().range(begin, count),
                      .decay = true});
  const ops::AdamWPiece one = whole.piece();
  Queue one_thread({.threads = 1});
  ops::adamw(one_thread, constants, step.get(), std::span(&one, 1));
  Queue three_threads({.threads = 3});
  ops::adamw(three_threads, constants, step.get(), pieces);
  EXPECT_TRUE(test::same_bits(cut.master, whole.master));
  EXPECT_TRUE(test::same_bits(cut.first_moment, whole.first_moment));
  EXPECT_TRUE(test::same_bits(cut.second_moment, whole.second_moment));
  EXPECT_TRUE(test::same_bits(cut.weight, whole.weight));
}

TEST(AdamW, ChangesNothingUnlessItApplies) {
  RandomTensors random;
  Queue queue;
  const Shared step(ops::AdamWStep{.learning_rate = 0.02F, .apply = false});
  const PieceTensors got(random, 300, true, true), before = got;
  const ops::AdamWPiece piece = got.piece();
  ops::adamw(queue, constants, step.get(), std::span(&piece, 1));
  reference::adamw(constants, step.get(), std::span(&piece, 1));
  EXPECT_TRUE(test::same_bits(got.master, before.master));
  EXPECT_TRUE(test::same_bits(got.first_moment, before.first_moment));
  EXPECT_TRUE(test::same_bits(got.second_moment, before.second_moment));
  EXPECT_TRUE(test::same_bits(got.weight, before.weight));
}

TEST(AdamW, OfManyPiecesIsTheReference) {
  // More pieces than a backend may take at once, some of them empty.
  RandomTensors random;
  Queue queue;
  const Shared step(ops::AdamWStep{.learning_rate = 0.02F, .first_correction = 2, .second_correction = 3});
  std::vector<PieceTensors> got;
  for (int i = 0; i < 150; ++i) got.emplace_back(random, 1 + 37 * i % 5000, i % 2 == 0, i % 3 == 0);
  const std::vector<PieceTensors> expected = got;
  std::vector<ops::AdamWPiece> got_pieces, expected_pieces;
  for (const PieceTensors& tensors : got) {
    got_pieces.push_back(tensors.piece());
    const auto empty = [](const TensorView& view) { return view.present() ? view.range(1, 0) : view; };
    const ops::AdamWPiece& last = got_pieces.back();
    got_pieces.push_back({.master = empty(last.master),
                          .gradient = empty(last.gradient),
                          .addend = {},
                          .first_moment = empty(last.first_moment),
                          .second_moment = empty(last.second_moment),
                          .weight = empty(last.weight)});
  }
  for (const PieceTensors& tensors : expected) expected_pieces.push_back(tensors.piece());
  ops::adamw(queue, constants, step.get(), got_pieces);
  reference::adamw(constants, step.get(), expected_pieces);
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_TRUE(is_close(got[i].master, expected[i].master, tolerance_of(DType::float32), 1)) << "piece " << i;
    EXPECT_TRUE(is_close(got[i].second_moment, expected[i].second_moment, tolerance_of(DType::float32))) << i;
  }
}

TEST(AdamWReference, IsTheFormulaForOneElement) {
  const TestTensor w(DType::float64, {1}), g(DType::float64, {1}), m(DType::float64, {1}), v(DType::float64, {1});
  reference::write(w, {2});
  reference::write(g, {6});
  reference::write(m, {1});
  reference::write(v, {4});
  // g = 3; m = 0.5 * 1 + 0.5 * 3 = 2; v = 0.75 * 4 + 0.25 * 9 = 5.25; w = 2 - 0.5 (2 * 2 / (sqrt(21) + 0.25) + 0.125 *
  // 2).
  const ops::AdamWConstants binary{.beta1 = 0.5, .beta2 = 0.75, .epsilon = 0.25F, .weight_decay = 0.125F};
  const Shared step(
      ops::AdamWStep{.learning_rate = 0.5F, .gradient_scale = 0.5F, .first_correction = 2, .second_correction = 4});
  const ops::AdamWPiece piece{
      .master = w, .gradient = g, .addend = {}, .first_moment = m, .second_moment = v, .weight = {}, .decay = true};
  reference::adamw(binary, step.get(), std::span(&piece, 1));
  EXPECT_DOUBLE_EQ(reference::read(m)[0], 2);
  EXPECT_DOUBLE_EQ(reference::read(v)[0], 5.25);
  EXPECT_DOUBLE_EQ(reference::read(w)[0], 2 - 0.5 * (4 / (std::sqrt(21.0) + 0.25) + 0.25));
}

}  // namespace
}  // namespace penstock::adamw_test

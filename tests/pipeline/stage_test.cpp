// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 1 2
// The whole model's forward and backward pass, by stages: gradients against central differences of the loss, the two
// ways through the backward pass against each other, evaluation against training. With n ranks the model is cut in n
// along the tensor axis.

#include "model/stage.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <optional>

#include "ops/sum.hpp"
#include "pipeline/tiny_model.hpp"
#include "schedule/tables.hpp"
#include "support/test_world.hpp"

namespace penstock::stage_test {
namespace {

using test::TinyBatch;
using test::TinyRank;
using test::TinySetup;

constexpr int microbatches = 2;

TinySetup setup_with(double dropout, bool sequence_parallel = true, const std::string& family = "gpt2") {
  return {.tensor = test_world().size(),
          .sequence_parallel = sequence_parallel,
          .dropout = dropout,
          .microbatches = microbatches,
          .family = family};
}

enum class Halves { together, apart };

/// All microbatches forwards and backwards; the mean loss. Gradients are sums over this rank's uses and rows only until
/// `reduce_gradients`.
double forward_and_backward(TinyRank& rank, const TinyBatch& batch, Halves halves = Halves::together) {
  RankModel& model = rank.model();
  RankModel::StageMemory& memory = model.stage(0);
  model.optimizer().gather_parameters(rank.queue());
  const StepTokens tokens = batch.all();
  double loss = 0;
  for (int m = 0; m < microbatches; ++m) {
    const MicrobatchView view = rank.load(tokens, m);
    const float scale = 1.0F / static_cast<float>(batch.tokens());
    memory.stage.forward(view, rank.places(0), {}, Purpose::training, nullptr);
    const Accumulate accumulate{.norms = m > 0, .products = m > 0};
    const auto wanted = halves == Halves::together ? BackwardHalves::fused : BackwardHalves::input_only;
    memory.stage.input_gradient(view, rank.places(0), memory.gradients.front(), wanted, accumulate, scale, &loss);
    if (halves == Halves::apart) memory.stage.weight_gradient(rank.places(0), accumulate);
  }
  return loss / static_cast<double>(batch.tokens());
}

double evaluate(TinyRank& rank, const TinyBatch& batch) {
  double loss = 0;
  const StepTokens tokens = batch.all();
  for (int m = 0; m < microbatches; ++m)
    rank.model().stage(0).stage.forward(rank.load(tokens, m), rank.places(0), {}, Purpose::evaluation, &loss);
  return loss / static_cast<double>(batch.tokens());
}

/// Weights ten times as large as initial ones, biases that are not zero, norms that are not one: every term of the
/// gradient counts. The same on every mesh.
void set_lively_weights(TinyRank& rank) {
  for (const ParameterSpec& spec : rank.parameters().specs()) {
    ParameterSpec lively = spec;
    lively.init = Init::normal;
    lively.deviation = spec.shape.dimensions() == 2 ? 0.25 : 0.2;
    const TensorView weight = rank.parameters().weight(spec.name);
    for (const Box& box : local_boxes(spec, rank.place())) {
      float* values = weight.data<float>() + box.local_begin;
      fill_initial(lively, 3, box, values);
      if (spec.init == Init::ones)
        for (std::int64_t i = 0; i < box.elements(); ++i) values[i] += 1.0F;
    }
  }
}

/// Where a global element stands in this rank's local tensor.
std::optional<std::int64_t> local_index(const ParameterSpec& spec, const MeshPlace& place, std::int64_t element) {
  const bool matrix = spec.shape.dimensions() == 2;
  const std::int64_t row = matrix ? element / spec.shape[1] : element, column = matrix ? element % spec.shape[1] : 0;
  for (const Box& box : local_boxes(spec, place)) {
    const std::int64_t r = row - box.offset[0], c = matrix ? column - box.offset[1] : 0;
    const std::int64_t columns = matrix ? box.extent[1] : 1;
    if (r >= 0 && r < box.extent[0] && c >= 0 && c < columns) return box.local_begin + r * columns + c;
  }
  return std::nullopt;
}

// Four points, (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h: wrong by h^4/30 of the fifth derivative and by rounding.
// The loss bends most over the embeddings, which a LayerNorm divides by their deviation of about 0.35: at h = 0.02 up
// to 2e-5. A token's loss has an error of a few float32 roundings of numbers up to 8 (1e-6 in all), which the mean over
// 32 tokens makes 2e-7; 1.5 times that over h is again 2e-5. The bound has room for both; the gradients that are looked
// at have a root mean square of 1e-2 and more, so a wrong or missing term stands out by a factor of hundreds.
double step_of(const std::string& family) {
  // Without a table of positions the embedding's rows are what the first norm divides by: it bends more. At h = 0.01
  // the differences are up to 1.2e-4 from the gradients and at 0.005 a sixteenth of that, as h^4 goes.
  return family == "gpt2" ? 0.02 : 0.005;
}
constexpr double tolerance = 5e-5;

void expect_gradients_are_differences(double dropout, bool sequence_parallel, const std::string& family = "gpt2") {
  SCOPED_TRACE(family);
  TinyRank rank(test_world(), setup_with(dropout, sequence_parallel, family));
  const TinyBatch batch(microbatches, 1000);
  set_lively_weights(rank);
  forward_and_backward(rank, batch);
  rank.model().optimizer().reduce_gradients(rank.queue());  // rows of all tensor ranks

  const std::vector<ParameterSpec> specs = rank.parameters().specs();
  const double step = step_of(family);
  std::vector<Tensor> gradients;  // of the weights as they are, before anything is moved
  for (const ParameterSpec& spec : specs) {
    const TensorView from = rank.parameters().gradient(spec.name);
    gradients.emplace_back(DType::float32, from.shape());
    std::memcpy(gradients.back().view().raw(), from.raw(), from.bytes());
    if (spec.stages.size() == 2)
      ops::add(rank.queue(), from, rank.parameters().gradient(spec.name, 1), gradients.back().view());
  }
  const std::uint64_t choices = test_world().size() == 1 ? 4 : 2;  // where ranks share cores a step takes far longer
  double squares = 0, error_squares = 0;
  int looked_at = 0;
  for (std::size_t p = 0; p < specs.size(); ++p) {
    const ParameterSpec& spec = specs[p];
    const RandomKey key = random_key(29, spec.name);
    for (std::uint64_t choice = 0; choice < choices; ++choice) {
      const auto element =
          static_cast<std::int64_t>(random_words(key, choice)[0] % static_cast<std::uint64_t>(spec.shape.elements()));
      const std::optional<std::int64_t> here = local_index(spec, rank.place(), element);
      float* const weight = rank.parameters().weight(spec.name).data<float>();
      const float kept = here ? weight[*here] : 0;
      const auto loss_at = [&](double offset) {
        if (here) weight[*here] = kept + static_cast<float>(offset);
        return forward_and_backward(rank, batch);
      };
      const double near = loss_at(step) - loss_at(-step), far = loss_at(2 * step) - loss_at(-2 * step);
      if (!here) continue;
      weight[*here] = kept;
      const double expected = (8 * near - far) / (12 * step);
      const auto found = static_cast<double>(gradients[p].view().data<float>()[*here]);
      EXPECT_NEAR(found, expected, tolerance) << spec.name << " " << spec.shape.text() << " element " << element;
      squares += expected * expected;
      error_squares += (found - expected) * (found - expected);
      ++looked_at;
    }
  }
  ASSERT_GT(looked_at, 0);
  EXPECT_GT(std::sqrt(squares / looked_at), 200 * tolerance) << "gradients too small for the tolerance to say anything";
  EXPECT_LT(std::sqrt(error_squares / squares), 2e-3);
}

TEST(Stage, GradientsAreTheLosssDifferences) { expect_gradients_are_differences(0, true); }
// Masks are pure functions of seed, site, sample and position: with them the loss is as smooth as without.
TEST(Stage, GradientsAreTheLosssDifferencesWithDropout) { expect_gradients_are_differences(0.2, true); }
TEST(Stage, GradientsAreTheLosssDifferencesWithWholeRows) { expect_gradients_are_differences(0.2, false); }

TEST(Stage, GradientsAreTheLosssDifferencesInEveryFamily) {
  for (const std::string& family : test::rotary_families)
    expect_gradients_are_differences(0.2, family != "qwen3", family);
}

void expect_halves_have_the_same_bits(double dropout, bool sequence_parallel, DType compute,
                                      const std::string& family) {
  SCOPED_TRACE(family);
  TinySetup setup = setup_with(dropout, sequence_parallel, family);
  setup.compute = compute;
  // One stage alone would be planned with a fused backward.
  const Schedule computing = test::table(1, microbatches, {"0F0 0I0 0W0 0F1 0I1 0W1"}, false);
  TinyRank rank(test_world(), setup, &computing);
  const TinyBatch batch(microbatches, 1000);
  const double together = forward_and_backward(rank, batch, Halves::together);
  std::vector<std::vector<std::byte>> kept;
  const auto for_each_gradient = [&](auto visit) {
    for (std::size_t b = 0; b < rank.parameters().layout().buckets().size(); ++b)
      for (const TensorView& gradient : rank.parameters().memory(b).gradients) visit(gradient);
  };
  for_each_gradient([&](const TensorView& gradient) {
    const auto* first = static_cast<const std::byte*>(gradient.raw());
    kept.emplace_back(first, first + gradient.bytes());
  });
  for (const ParameterSpec& spec : rank.parameters().specs())  // the first microbatch overwrites all but the padding
    for (std::size_t use = 0; use < spec.stages.size(); ++use) {
      const TensorView gradient = rank.parameters().gradient(spec.name, use);
      std::memset(gradient.raw(), 0xff, gradient.bytes());
    }
  const double apart = forward_and_backward(rank, batch, Halves::apart);
  EXPECT_EQ(together, apart);
  std::size_t buffer = 0;
  for_each_gradient([&](const TensorView& gradient) {
    EXPECT_EQ(std::memcmp(gradient.raw(), kept[buffer].data(), gradient.bytes()), 0) << "gradient buffer " << buffer;
    ++buffer;
  });
  EXPECT_GE(buffer, 2U);
}

TEST(Stage, FusedBackwardHasTheBitsOfTheSplitOne) {
  for (const bool sequence_parallel : {true, false})
    for (const DType compute : {DType::float32, DType::bfloat16})
      expect_halves_have_the_same_bits(0.1, sequence_parallel, compute, "gpt2");
  for (const std::string& family : test::rotary_families)
    for (const DType compute : {DType::float32, DType::bfloat16})
      expect_halves_have_the_same_bits(0.1, true, compute, family);
}

TEST(Stage, EvaluationIsTheTrainingLossWithoutDropout) {
  const TinyBatch batch(microbatches, 1000);
  TinyRank with(test_world(), setup_with(0.3)), without(test_world(), setup_with(0));
  set_lively_weights(with);
  set_lively_weights(without);
  const double loss = forward_and_backward(without, batch);
  EXPECT_EQ(evaluate(without, batch), loss);
  EXPECT_EQ(evaluate(with, batch), loss) << "evaluation draws no masks";
  EXPECT_GT(std::abs(forward_and_backward(with, batch) - loss), 1e-3) << "training does";
}

TEST(Stage, LossOfInitialWeightsIsThatOfGuessing) {
  TinyRank rank(test_world(), setup_with(0));
  // Logits of size 0.02 * sqrt(16) = 0.1 add about half their variance, 0.003, to the logarithm of 40 tokens.
  EXPECT_NEAR(evaluate(rank, TinyBatch(microbatches, 0)), std::log(40.0), 0.05);
}

TEST(Stage, DropoutDependsOnTheSampleNumber) {
  TinyRank rank(test_world(), setup_with(0.3));
  const TinyBatch batch(microbatches, 1000);
  StepTokens tokens = batch.all();
  const auto loss_from = [&](std::uint64_t first_sample) {
    tokens.microbatches[0].first_sample = first_sample;
    double loss = 0;
    RankModel::StageMemory& memory = rank.model().stage(0);
    const MicrobatchView view = rank.load(tokens, 0);
    memory.stage.forward(view, rank.places(0), {}, Purpose::training, nullptr);
    memory.stage.input_gradient(view, rank.places(0), memory.gradients.front(), BackwardHalves::fused, {}, 1, &loss);
    return loss;
  };
  const double first = loss_from(1000);
  EXPECT_NE(loss_from(1002), first);
  EXPECT_EQ(loss_from(1000), first);
}

}  // namespace
}  // namespace penstock::stage_test

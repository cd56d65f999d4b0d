// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 1 2 4 LABELS parity TIMEOUT 600
#include "pipeline/executor.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <utility>

#include "ops/reference/values.hpp"
#include "pipeline/evaluation_schedule.hpp"
#include "pipeline/tiny_model.hpp"
#include "schedule/prerequisites.hpp"
#include "schedule/tables.hpp"
#include "schedule/validate.hpp"
#include "schedule/vandal.hpp"
#include "support/depth.hpp"
#include "support/test_world.hpp"

namespace penstock::executor_test {
namespace {

using test::TinyBatch;
using test::TinyRank;
using test::TinySetup;

constexpr int updates = 3;
constexpr int global_microbatches = 4;
constexpr std::uint64_t first_sample = 500;

TinyBatch batch_of(int update) {
  return {global_microbatches,
          first_sample + static_cast<std::uint64_t>((update - 1) * global_microbatches * test::tiny_micro)};
}

/// What a step leaves on the rank that has the whole model: loss, norm and, by global element, the summed gradients.
struct PlainStep {
  StepResult result;
  std::vector<std::vector<float>> gradients;  ///< of each parameter
};

/// The plain loop: no schedule, no executor, no mesh. Microbatches one after the other, forwards and backwards.
std::vector<PlainStep> plain_loop(const TinySetup& setup) {
  TinyRank rank = TinyRank::alone(test_world(), setup);
  RankModel& model = rank.model();
  Optimizer& optimizer = model.optimizer();
  RankModel::StageMemory& memory = model.stage(0);
  std::vector<PlainStep> steps;
  for (int update = 1; update <= updates; ++update) {
    const TinyBatch batch = batch_of(update);
    const StepTokens tokens = batch.all();
    optimizer.gather_parameters(rank.queue());
    for (int m = 0; m < global_microbatches; ++m) {
      const MicrobatchView view = rank.load(tokens, m);
      memory.stage.forward(view, rank.places(0), {}, Purpose::training, nullptr);
      memory.stage.input_gradient(view, rank.places(0), memory.gradients.front(), BackwardHalves::fused,
                                  {.norms = m > 0, .products = m > 0}, 1.0F / static_cast<float>(batch.tokens()),
                                  optimizer.loss_sum());
    }
    optimizer.reduce_gradients(rank.queue());
    optimizer.begin_step(
        rank.queue(),
        {.number = update, .learning_rate = rank.plan().optimizer.learning_rate, .loss_tokens = batch.tokens()});
    optimizer.norm(rank.queue());
    optimizer.bring_result(rank.queue());
    PlainStep done{.result = optimizer.result(update), .gradients = {}};
    for (const ParameterSpec& spec : rank.parameters().specs()) {
      const float* gradient = rank.parameters().gradient(spec.name).data<float>();
      std::vector<float>& sum = done.gradients.emplace_back(gradient, gradient + spec.shape.elements());
      if (spec.stages.size() == 2)  // both uses are here: norm and update add them as they read them
        for (std::size_t i = 0; i < sum.size(); ++i)
          sum[i] += rank.parameters().gradient(spec.name, 1).data<float>()[i];
    }
    optimizer.update(rank.queue());
    steps.push_back(std::move(done));
  }
  return steps;
}

/// Calls visit(parameter, global element, gradient) for all that this rank owns after a step.
template <typename Visit>
void for_each_gradient(TinyRank& rank, const Visit& visit) {
  const ParameterSet& parameters = rank.parameters();
  for (const OwnedBox& owned : parameters.layout().owned()) {
    const Bucket& bucket = parameters.layout().buckets()[owned.bucket];
    const std::vector<TensorView>& gradients = parameters.memory(owned.bucket).gradients;
    const auto gradient = [&](std::int64_t element) {
      const std::int64_t at = bucket.own_begin + owned.box.local_begin + element;
      const float first = gradients.front().data<float>()[at];
      return gradients.size() == 1 ? first : first + gradients.back().data<float>()[at];
    };
    const Shape& shape = parameters.specs()[owned.parameter].shape;
    const bool matrix = shape.dimensions() == 2;
    const std::int64_t rows = matrix ? owned.box.extent[0] : 1,
                       columns = matrix ? owned.box.extent[1] : owned.box.extent[0];
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < columns; ++c)
        visit(owned.parameter,
              matrix ? (owned.box.offset[0] + r) * shape[1] + owned.box.offset[1] + c : owned.box.offset[0] + c,
              gradient(r * columns + c));
  }
}

/// Losses, norms and gradients of all steps are the plain loop's, bit for bit.
void expect_bits_of_the_plain_loop(const TinySetup& setup, const Schedule* computing = nullptr) {
  const std::vector<PlainStep> plain = plain_loop(setup);
  TinyRank rank(test_world(), setup, computing);
  validate(rank.plan().schedule);
  const std::string where = setup.text() + "\n" + text(rank.plan().schedule);
  for (int update = 1; update <= updates; ++update) {
    const PlainStep& expected = plain[static_cast<std::size_t>(update - 1)];
    const StepResult result = rank.train(batch_of(update), update);
    EXPECT_EQ(result.loss, expected.result.loss) << "step " << update << " " << where;
    EXPECT_EQ(result.gradient_norm, expected.result.gradient_norm) << "step " << update << " " << where;
    int wrong = 0;
    for_each_gradient(rank, [&](std::size_t parameter, std::int64_t element, float gradient) {
      const float want = expected.gradients[parameter][static_cast<std::size_t>(element)];
      wrong += std::memcmp(&gradient, &want, sizeof gradient) != 0;
    });
    EXPECT_EQ(wrong, 0) << "gradients of step " << update << " " << where;
  }
}

// Cut along the data or the tensor axis, sums are taken in other orders: float32 roundings of 6e-8, some ten to a
// hundred of them on the way through four blocks. The gradient of a parameter is looked at as a whole, by its norm.
constexpr double loss_tolerance = 1e-6;
constexpr double gradient_tolerance = 1e-5;

/// Losses, norms and gradients of all steps are the plain loop's up to rounding.
void expect_numbers_of_the_plain_loop(const TinySetup& setup) {
  const std::vector<PlainStep> plain = plain_loop(setup);
  TinyRank rank(test_world(), setup);
  for (int update = 1; update <= updates; ++update) {
    const PlainStep& expected = plain[static_cast<std::size_t>(update - 1)];
    const StepResult result = rank.train(batch_of(update), update);
    EXPECT_NEAR(result.loss, expected.result.loss, loss_tolerance * expected.result.loss)
        << "step " << update << " " << setup.text();
    EXPECT_NEAR(result.gradient_norm, expected.result.gradient_norm, gradient_tolerance * expected.result.gradient_norm)
        << "step " << update << " " << setup.text();
    std::vector<double> errors(expected.gradients.size(), 0);
    for_each_gradient(rank, [&](std::size_t parameter, std::int64_t element, float gradient) {
      const auto error = static_cast<double>(gradient) -
                         static_cast<double>(expected.gradients[parameter][static_cast<std::size_t>(element)]);
      errors[parameter] += error * error;
    });
    for (std::size_t p = 0; p < errors.size(); ++p) {
      double squares = 0;
      for (const float g : expected.gradients[p]) squares += static_cast<double>(g) * static_cast<double>(g);
      EXPECT_LE(std::sqrt(errors[p]), gradient_tolerance * std::sqrt(squares))
          << rank.parameters().specs()[p].name << " of step " << update << " " << setup.text();
    }
  }
}

std::vector<TinySetup> setups_of_this_world() {
  std::vector<TinySetup> all;
  for (const int data : {1, 2, 4})
    for (const int pipeline : {1, 2, 4})
      for (const int tensor : {1, 2, 4})
        if (data * pipeline * tensor == test_world().size())
          all.push_back({.data = data,
                         .pipeline = pipeline,
                         .tensor = tensor,
                         .dropout = 0.1,
                         .microbatches = global_microbatches});
  return all;
}

/// Every schedule, with enough layers for its stages and one more: uneven stages.
std::vector<TinySetup> every_schedule(TinySetup setup) {
  std::vector<TinySetup> all;
  for (const ScheduleRequest& request : test::all_schedules({2, 3})) {
    setup.schedule = request.name;
    setup.backward = request.backward;
    setup.chunks = request.chunks;
    setup.layers = std::max(4, setup.pipeline * request.chunks + 1);
    all.push_back(setup);
  }
  return all;
}

TEST(Executor, AnyScheduleOnAPipelineHasTheBitsOfThePlainLoop) {
  for (const bool shard : {true, false})
    for (const TinySetup& setup : every_schedule(
             {.pipeline = test_world().size(), .shard = shard, .dropout = 0.1, .microbatches = global_microbatches}))
      expect_bits_of_the_plain_loop(setup);
}

TEST(Executor, BfloatPipelineHasTheBitsOfThePlainLoop) {
  expect_bits_of_the_plain_loop({.pipeline = test_world().size(),
                                 .dropout = 0.1,
                                 .microbatches = global_microbatches,
                                 .compute = DType::bfloat16});
}

TEST(Executor, GradientsInBfloat16AreThoseInFloat32RoundedOnce) {
  const TinySetup setup{.tensor = test_world().size(), .dropout = 0.1, .microbatches = 1, .compute = DType::bfloat16};
  TinySetup rounded = setup;
  rounded.gradient = DType::bfloat16;
  TinyRank exact(test_world(), setup), rough(test_world(), rounded);
  const TinyBatch batch(1, 1000);
  const StepResult expected = exact.train(batch, 1), result = rough.train(batch, 1);
  EXPECT_EQ(result.loss, expected.loss);
  EXPECT_NE(result.gradient_norm, expected.gradient_norm);
  EXPECT_NEAR(result.gradient_norm, expected.gradient_norm, 0x1p-9 * expected.gradient_norm);
  int in_bfloat16 = 0;
  for (const ParameterSpec& spec : exact.parameters().specs())
    for (std::size_t use = 0; use < spec.stages.size(); ++use) {
      const reference::Values want = reference::read(exact.parameters().gradient(spec.name, use));
      const TensorView gradient = rough.parameters().gradient(spec.name, use);
      in_bfloat16 += gradient.type() == DType::bfloat16;
      const reference::Values got = reference::read(gradient);
      // The product may be cut otherwise for another result: beside the rounding, float32 roundings of its terms.
      const double rounding = gradient.type() == DType::bfloat16 ? 0x1p-8 : 0;
      for (std::size_t i = 0; i < got.size(); ++i)
        EXPECT_NEAR(got[i], want[i], rounding * std::abs(want[i]) + (rounding > 0 ? 1e-6 : 0)) << spec.name;
    }
  EXPECT_EQ(in_bfloat16, 4 * 4 + 1) << "four products a block, and the head's use of the token table";
}

TEST(Executor, SeveralStagesOnARankHaveTheBitsOfThePlainLoop) {
  if (test_world().size() != 2) GTEST_SKIP() << "two ranks with two stages each";
  for (const bool fused : {true, false}) {
    const Schedule computing = test::looped_table(2, 2, global_microbatches, fused);
    expect_bits_of_the_plain_loop({.pipeline = 2, .stages = 4, .dropout = 0.1, .microbatches = global_microbatches},
                                  &computing);
  }
}

TEST(Executor, DeferredWeightGradientsHaveTheBitsOfThePlainLoop) {
  if (test_world().size() != 2) GTEST_SKIP() << "needs two pipeline ranks";
  const Schedule computing = test::table(
      2, global_microbatches,
      {"0F0 0F1 0F2 0F3 0I0 0I1 0W0 0I2 0I3 0W1 0W2 0W3", "1F0 1B0 1F1 1I1 1W1 1F2 1F3 1B2 1I3 1W3"}, false);
  expect_bits_of_the_plain_loop({.pipeline = 2, .dropout = 0.1, .microbatches = global_microbatches}, &computing);
}

/// Whether each stage adds its gradients in the microbatches' order: only then the bits are the plain loop's.
bool adds_in_order(const Schedule& schedule) {
  std::map<std::pair<Work, int>, int> last;
  for (const std::vector<Action>& row : schedule.rows)
    for (const Action& action : row)
      for (const Action& part : parts_of(action))
        if (part.work == Work::input_gradient || part.work == Work::weight_gradient)
          if (std::exchange(last[std::pair(part.work, part.stage)], part.microbatch) > part.microbatch) return false;
  return true;
}

TEST(Executor, DamagedTablesThatAreAcceptedComeToTheSameResult) {
  if (test_world().size() != 4) GTEST_SKIP() << "four ranks";
  test::Vandal vandal(41);  // the same on all ranks
  const TinyBatch batch = batch_of(1);
  const int wanted = test::deep() ? 14 : 4;  // of each schedule
  int run = 0;
  for (const TinySetup& setup : every_schedule({.pipeline = 4, .dropout = 0.1, .microbatches = global_microbatches})) {
    TinyRank plain = TinyRank::alone(test_world(), setup);
    const StepResult expected = plain.train(batch, 1);
    const Schedule whole = lower(generate(setup.request()), {.tied = true});
    for (int accepted = 0; accepted < wanted;) {
      Schedule table = whole;
      for (const test::Damage kind : {test::Damage::swap, test::Damage::move, test::Damage::launch})
        vandal.damage(table, kind);
      if (table == whole || find_problem(table)) continue;
      ++accepted;
      ++run;
      TinyRank rank(test_world(), setup, nullptr, &table);
      const StepResult result = rank.train(batch, 1);
      const std::string where = setup.text() + "\n" + text(table);
      EXPECT_NEAR(result.loss, expected.loss, loss_tolerance * expected.loss) << where;
      EXPECT_NEAR(result.gradient_norm, expected.gradient_norm, gradient_tolerance * expected.gradient_norm) << where;
      if (!adds_in_order(table)) continue;
      EXPECT_EQ(result.loss, expected.loss) << where;
      EXPECT_EQ(result.gradient_norm, expected.gradient_norm) << where;
    }
  }
  EXPECT_GE(run, 15 * wanted);
}

TEST(Executor, EveryMeshHasTheNumbersOfThePlainLoop) {
  for (TinySetup setup : setups_of_this_world())
    for (const bool sequence_parallel : {true, false})
      for (const bool shard : {true, false}) {
        setup.sequence_parallel = sequence_parallel;
        setup.shard = shard;
        expect_numbers_of_the_plain_loop(setup);
      }
}

TEST(Executor, SchedulesHaveTheSameBitsOnEveryMesh) {
  for (const TinySetup& mesh : setups_of_this_world()) {
    std::map<int, StepResult> results;  // by layers
    for (const TinySetup& setup : every_schedule(mesh)) {
      TinyRank rank(test_world(), setup);
      for (int update = 1; update < updates; ++update) rank.train(batch_of(update), update);
      const StepResult result = rank.train(batch_of(updates), updates);
      const StepResult& first = results.emplace(setup.layers, result).first->second;
      EXPECT_EQ(result.loss, first.loss) << setup.text();
      EXPECT_EQ(result.gradient_norm, first.gradient_norm) << setup.text();
    }
  }
}

TEST(Executor, OtherNumbersOfMicrobatchesHaveTheBitsOfThePlainLoop) {
  // Fewer than stages, and not divisible by them. One step of each.
  for (const int microbatches : {1, 2, 3, 7})
    for (const TinySetup& setup :
         every_schedule({.pipeline = test_world().size(), .dropout = 0.1, .microbatches = microbatches})) {
      const TinyBatch batch(microbatches, first_sample);
      TinyRank plain = TinyRank::alone(test_world(), setup), rank(test_world(), setup);
      const StepResult expected = plain.train(batch, 1), result = rank.train(batch, 1);
      EXPECT_EQ(result.loss, expected.loss) << setup.text() << " microbatches " << microbatches;
      EXPECT_EQ(result.gradient_norm, expected.gradient_norm) << setup.text() << " microbatches " << microbatches;
    }
}

TEST(Executor, AStepCanBeRepeated) {
  for (const TinySetup& setup : setups_of_this_world()) {
    TinyRank first(test_world(), setup), second(test_world(), setup);
    for (int update = 1; update <= updates; ++update) {
      const StepResult a = first.train(batch_of(update), update), b = second.train(batch_of(update), update);
      EXPECT_EQ(a.loss, b.loss) << setup.text();
      EXPECT_EQ(a.gradient_norm, b.gradient_norm) << setup.text();
    }
  }
}

TEST(Executor, EvaluationIsTheLossWithoutDropoutAndChangesNothing) {
  for (const TinySetup& setup : setups_of_this_world()) {
    TinySetup without = setup;
    without.dropout = 0;
    TinyRank plain = TinyRank::alone(test_world(), without);
    const double expected = plain.train(batch_of(1), 1).loss;
    TinyRank rank(test_world(), setup);
    const int own = global_microbatches / setup.data;
    const Schedule schedule = evaluation_schedule(rank.plan().schedule, own);
    const TinyBatch batch = batch_of(1);
    const auto evaluate = [&] {
      return rank.evaluate(schedule, rank.part_of(batch), {.update = 0, .learning_rate = 1, .tokens = batch.tokens()});
    };
    const double loss = evaluate();
    EXPECT_NEAR(loss, expected, loss_tolerance * expected) << setup.text();
    EXPECT_EQ(evaluate(), loss) << "nothing changed, " << setup.text();
    TinyRank untouched(test_world(), setup);
    EXPECT_EQ(rank.train(batch, 1).loss, untouched.train(batch, 1).loss)
        << "training goes on as if there had been none, " << setup.text();
    EXPECT_LT(evaluate(), loss) << "the weights after the update are evaluated, " << setup.text();
  }
}

TEST(Executor, EvaluationOnEverySchedulesStages) {
  for (const TinySetup& setup :
       every_schedule({.pipeline = test_world().size(), .microbatches = global_microbatches})) {
    TinyRank rank(test_world(), setup), plain = TinyRank::alone(test_world(), setup);
    const TinyBatch batch = batch_of(1);
    const auto loss = [&](TinyRank& of) {
      const Schedule schedule = evaluation_schedule(of.plan().schedule, global_microbatches);
      return of.evaluate(schedule, batch.all(), {.tokens = batch.tokens()});
    };
    EXPECT_EQ(loss(rank), loss(plain)) << setup.text();
  }
}

TEST(Executor, EvaluationOfFewerMicrobatchesThanAStep) {
  for (const TinySetup& setup : setups_of_this_world()) {
    if (setup.data > 2) continue;
    TinyRank rank(test_world(), setup);
    const Schedule schedule = evaluation_schedule(rank.plan().schedule, 1);
    const TinyBatch batch(setup.data, first_sample);
    const double loss = rank.evaluate(schedule, rank.part_of(batch), {.tokens = batch.tokens()});
    EXPECT_NEAR(loss, std::log(40.0), 0.1) << setup.text();
  }
}

TEST(Executor, WorkspaceIsThePlans) {
  for (const TinySetup& setup : setups_of_this_world()) {
    TinyRank rank(test_world(), setup);
    rank.train(batch_of(1), 1);
    EXPECT_EQ(rank.queue().workspace_bytes(),
              plan_memory(rank.plan(), rank.place(), rank.queue().threads()).of(MemoryUse::workspace))
        << setup.text();
  }
}

TEST(Executor, LossFallsOverSteps) {
  TinySetup setup = setups_of_this_world().front();
  setup.dropout = 0;
  TinyRank rank(test_world(), setup);
  const TinyBatch batch = batch_of(1);
  const double first = rank.train(batch, 1).loss;
  double last = first;
  for (int update = 2; update <= 30; ++update) last = rank.train(batch, update).loss;
  EXPECT_LT(last, 0.9 * first) << "thirty steps on one batch learn some of it";
}

// A device that runs behind the host is given a step before the one ahead of it was read.

StepValues values_of(const TinyRank& rank, const TinyBatch& batch, std::int64_t update) {
  return {.update = update, .learning_rate = rank.plan().optimizer.learning_rate, .tokens = batch.tokens()};
}

void launch(TinyRank& rank, const TinyBatch& batch, const StepValues& values) {
  rank.executor().launch(rank.part_of(batch), values);
}

TEST(Executor, TwoStepsUnderWayHaveTheBitsOfOneByOne) {
  for (const TinySetup& setup : setups_of_this_world()) {
    TinyRank one_by_one(test_world(), setup), ahead(test_world(), setup);
    constexpr int steps = 6;
    launch(ahead, batch_of(1), values_of(ahead, batch_of(1), 1));
    for (int update = 1; update <= steps; ++update) {
      if (update < steps) launch(ahead, batch_of(update + 1), values_of(ahead, batch_of(update + 1), update + 1));
      const StepResult expected = one_by_one.train(batch_of(update), update), result = ahead.executor().finish();
      EXPECT_EQ(result.loss, expected.loss) << "step " << update << " " << setup.text();
      EXPECT_EQ(result.gradient_norm, expected.gradient_norm) << "step " << update << " " << setup.text();
      EXPECT_EQ(ahead.executor().spans().size(), one_by_one.executor().spans().size());
      EXPECT_EQ(ahead.executor().place().step, std::min(update + 1, steps)) << "the oldest under way";
    }
  }
}

TEST(Executor, AStepLaunchedBehindOneThatIsNotFiniteChangesNothing) {
  for (const TinySetup& setup : setups_of_this_world()) {
    TinyRank rank(test_world(), setup), untouched(test_world(), setup);
    StepValues broken = values_of(rank, batch_of(1), 1);
    broken.tokens = 0;  // the mean loss of no tokens
    launch(rank, batch_of(1), broken);
    launch(rank, batch_of(2), values_of(rank, batch_of(2), 2));
    EXPECT_FALSE(std::isfinite(rank.executor().finish().loss));
    EXPECT_TRUE(std::isfinite(rank.executor().finish().loss)) << "it is sound itself";
    for (int update = 1; update <= updates; ++update) {
      const StepResult result = rank.train(batch_of(update), update),
                       expected = untouched.train(batch_of(update), update);
      EXPECT_EQ(result.loss, expected.loss) << "step " << update << " " << setup.text();
      EXPECT_EQ(result.gradient_norm, expected.gradient_norm) << "step " << update << " " << setup.text();
    }
  }
}

TEST(Executor, RefusesAThirdStepAndAnEvaluationBesideAStep) {
  const TinySetup setup = setups_of_this_world().front();
  TinyRank rank(test_world(), setup);
  const TinyBatch batch = batch_of(1);
  EXPECT_THROW(rank.executor().finish(), LogicError);
  launch(rank, batch, values_of(rank, batch, 1));
  const Schedule schedule = evaluation_schedule(rank.plan().schedule, 1);
  EXPECT_THROW(rank.evaluate(schedule, batch.all(), {.tokens = batch.tokens()}), LogicError);
  launch(rank, batch, values_of(rank, batch, 2));
  EXPECT_THROW(launch(rank, batch, values_of(rank, batch, 3)), LogicError);
  rank.executor().finish();
  rank.executor().finish();
}

TEST(Executor, KnowsWhatEachActionMoved) {
  for (const TinySetup& setup : setups_of_this_world()) {
    TinyRank rank(test_world(), setup);
    const std::uint64_t before = rank.communicators().bytes_sent();
    rank.train(batch_of(1), 1);
    const std::vector<Action>& row = rank.plan().schedule.row(rank.place().at(Axis::pipeline));
    const std::vector<std::uint64_t>& bytes = rank.executor().bytes();
    ASSERT_EQ(bytes.size(), row.size()) << setup.text();
    std::uint64_t sent = 0;
    const auto message = static_cast<std::uint64_t>(rank.model().shape().rows() * 16) * sizeof(float);
    for (std::size_t i = 0; i < row.size(); ++i) {
      const Work work = row[i].work;
      if (!is_receive(work)) sent += bytes[i];
      const bool moves = is_transfer(work) || (work == Work::forward && setup.tensor > 1) ||
                         (work == Work::reduce_gradients && setup.data * setup.tensor > 1);
      if (moves || work == Work::forward || work == Work::update) {
        EXPECT_EQ(bytes[i] > 0, moves) << row[i].text() << " " << setup.text();
      }
      if (is_transfer(work)) {
        EXPECT_EQ(bytes[i], message) << row[i].text() << " " << setup.text();
      }
    }
    EXPECT_EQ(sent, rank.communicators().bytes_sent() - before) << setup.text();
  }
}

TEST(Executor, KnowsItsPlace) {
  TinyRank rank(test_world(), setups_of_this_world().front());
  EXPECT_EQ(text(rank.executor().place()), "before the first step");
  rank.train(batch_of(1), 7);
  EXPECT_EQ(text(rank.executor().place()), "step 7, after its last action");
  const std::string row = rank.executor().row();
  EXPECT_TRUE(row.starts_with("pipeline rank " + std::to_string(rank.place().at(Axis::pipeline)))) << row;
  EXPECT_TRUE(row.ends_with("[end of the row]")) << row;
}

}  // namespace
}  // namespace penstock::executor_test

// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 1 2 4 LABELS parity
#include "optim/optimizer.hpp"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>

#include "optim/optimizer_run.hpp"
#include "support/test_world.hpp"

namespace penstock::optimizer_test {
namespace {

using test::Elements;
using test::OptimizerMesh;
using test::OptimizerRun;

std::vector<OptimizerMesh> meshes() {
  std::vector<OptimizerMesh> all;
  for (const bool shard : {true, false})
    for (const int data : {1, 2, 4})
      for (const int pipeline : {1, 2, 4})
        for (const int tensor : {1, 2, 4})
          if (data * pipeline * tensor == test_world().size()) all.push_back({data, pipeline, tensor, shard});
  return all;
}

OptimizerConfig config_with(double clip) {
  OptimizerConfig config;
  config.learning_rate = 0.01;
  config.clip = clip;
  return config;
}

/// Every element of `part` has the bits that `whole` has there.
void expect_same_bits(const std::map<std::string, Elements>& part, const std::map<std::string, Elements>& whole,
                      const std::string& where) {
  EXPECT_FALSE(part.empty()) << where;
  for (const auto& [name, elements] : part) {
    int wrong = 0;
    for (const auto& [element, value] : elements)
      if (std::bit_cast<std::uint32_t>(value) != std::bit_cast<std::uint32_t>(whole.at(name).at(element))) ++wrong;
    EXPECT_EQ(wrong, 0) << name << ": elements of " << elements.size() << " differ, " << where;
  }
}

TEST(Optimizer, UpdatesOnEveryMeshAreThoseOfOneRankAlone) {
  // Gradients whose sums are exact: nothing but a wrong sum can make a difference.
  for (const OptimizerMesh& mesh : meshes()) {
    OptimizerRun on_mesh(test_world(), mesh, config_with(0));
    OptimizerRun alone = OptimizerRun::alone(test_world(), config_with(0));
    for (int step = 1; step <= 3; ++step) {
      on_mesh.step(step, mesh, test::exact_gradient, 0.01);
      alone.step(step, mesh, test::exact_gradient, 0.01);
    }
    expect_same_bits(on_mesh.owned(), alone.owned(), mesh.text());
    expect_same_bits(on_mesh.weights(), alone.weights(), mesh.text());
  }
}

TEST(Optimizer, ShardedUpdatesHaveTheBitsOfUnshardedOnes) {
  // Gradients whose sums depend on the order in which ranks are added: it must be the same one.
  for (OptimizerMesh mesh : meshes()) {
    if (!mesh.shard) continue;
    OptimizerRun sharded(test_world(), mesh, config_with(0));
    mesh.shard = false;
    OptimizerRun whole(test_world(), mesh, config_with(0));
    for (int step = 1; step <= 3; ++step) {
      sharded.step(step, mesh, test::rounded_gradient, 0.01);
      whole.step(step, mesh, test::rounded_gradient, 0.01);
    }
    expect_same_bits(sharded.owned(), whole.owned(), mesh.text());
    expect_same_bits(sharded.weights(), whole.weights(), mesh.text());
  }
}

TEST(Optimizer, SumsThatBeginBlockByBlockHaveTheSameBits) {
  for (OptimizerMesh mesh : meshes()) {
    OptimizerMesh plain = mesh;
    plain.shard = false;  // owns all that other cuts of the buckets own
    OptimizerRun at_once(test_world(), plain, config_with(0));
    mesh.full_bucket = 100, mesh.followed = true;
    OptimizerRun followed(test_world(), mesh, config_with(0));
    if (mesh.pipeline == 1) {  // else a rank may have too little to cut
      EXPECT_GT(followed.parameters().layout().buckets().size(), at_once.parameters().layout().buckets().size());
    }
    for (int step = 1; step <= 3; ++step) {
      at_once.step(step, plain, test::rounded_gradient, 0.01);
      followed.step(step, mesh, test::rounded_gradient, 0.01);
    }
    expect_same_bits(followed.owned(), at_once.owned(), mesh.text());
    expect_same_bits(followed.weights(), at_once.weights(), mesh.text());
  }
}

/// The norm by a plain loop over global elements; sums of these gradients are exact.
double plain_norm(const OptimizerMesh& mesh, int step) {
  double squares = 0;
  for (const ParameterSpec& spec : test::optimizer_specs(mesh)) {
    const int tensor_ranks = spec.sums.inside.empty() ? 1 : mesh.tensor;
    for (std::int64_t i = 0; i < spec.shape.elements(); ++i) {
      double gradient = 0;
      for (std::size_t use = 0; use < spec.stages.size(); ++use)
        for (int d = 0; d < mesh.data; ++d)
          for (int t = 0; t < tensor_ranks; ++t)
            gradient +=
                static_cast<double>(test::exact_gradient({.step = step, .data = d, .tensor = t, .use = use}, spec, i));
      squares += gradient * gradient;
    }
  }
  return std::sqrt(squares);
}

TEST(Optimizer, NormCountsEveryGlobalElementOnce) {
  for (const OptimizerMesh& mesh : meshes()) {
    OptimizerRun run(test_world(), mesh, config_with(0));
    for (int step = 1; step <= 2; ++step) {
      const double expected = plain_norm(mesh, step);
      // Squares of multiples of 1/16 and their sums are exact in float64; one rounding of the root remains.
      EXPECT_NEAR(run.step(step, mesh, test::exact_gradient, 0.01).gradient_norm, expected, 1e-15 * expected)
          << mesh.text();
    }
  }
}

TEST(Optimizer, NormBringsTheMeanLossToEveryRank) {
  for (const OptimizerMesh& mesh : meshes()) {
    OptimizerRun run(test_world(), mesh, config_with(0));
    run.optimizer().gather_parameters(run.queue());
    const int ranks = test_world().size();
    *run.optimizer().loss_sum() = test_world().rank() + 0.5;
    run.optimizer().begin_step(run.queue(), {.loss_tokens = 8});
    run.optimizer().norm(run.queue());
    const StepResult result = run.result(1);
    EXPECT_EQ(result.loss, (0.5 * ranks * (ranks - 1) + 0.5 * ranks) / 8) << mesh.text();
    EXPECT_EQ(result.gradient_norm, 0.0);
  }
}

TEST(Optimizer, ClippingScalesTheGradientsToTheClip) {
  for (const OptimizerMesh& mesh : meshes()) {
    const double norm = plain_norm(mesh, 1);
    OptimizerRun clipped(test_world(), mesh, config_with(norm / 2));
    OptimizerRun halved(test_world(), mesh, config_with(0));
    const StepResult result = clipped.step(1, mesh, test::exact_gradient, 0.01);
    halved.step(1, mesh, test::exact_gradient, 0.01, 0.5F);
    EXPECT_NEAR(result.gradient_norm, norm, 1e-15 * norm) << "the norm before clipping is reported";
    expect_same_bits(clipped.owned(), halved.owned(), mesh.text());
  }
}

TEST(Optimizer, ANormBelowTheClipChangesNothing) {
  const OptimizerMesh mesh = meshes().front();
  OptimizerRun clipped(test_world(), mesh, config_with(plain_norm(mesh, 1) * 1.001));
  OptimizerRun free(test_world(), mesh, config_with(0));
  clipped.step(1, mesh, test::exact_gradient, 0.01);
  free.step(1, mesh, test::exact_gradient, 0.01);
  expect_same_bits(clipped.owned(), free.owned(), mesh.text());
}

TEST(Optimizer, UpdateIsAdamWWithTheConfigsConstants) {
  OptimizerConfig config = config_with(0);
  config.beta1 = 0.8;
  config.beta2 = 0.9;
  config.epsilon = 1e-3;
  config.weight_decay = 0.3;
  OptimizerRun run = OptimizerRun::alone(test_world(), config);
  const OptimizerMesh one;
  std::map<std::string, std::array<double, 3>>
      expected;  // of each parameter's element 3: weight, first and second moment
  constexpr std::int64_t element = 3;
  for (auto& [name, elements] : run.owned())
    if (name.ends_with(" master"))
      expected[name.substr(0, name.size() - 7)] = {static_cast<double>(elements.at(element)), 0, 0};
  for (int step = 1; step <= 3; ++step) {
    run.step(step, one, test::exact_gradient, 0.02);
    for (const ParameterSpec& spec : test::optimizer_specs(one)) {
      double g = 0;
      for (std::size_t use = 0; use < spec.stages.size(); ++use)
        g += static_cast<double>(test::exact_gradient({.step = step, .use = use}, spec, element));
      auto& [w, m, v] = expected.at(spec.name);
      m = 0.8 * m + 0.2 * g;
      v = 0.9 * v + 0.1 * g * g;
      const double direction = m / (1 - std::pow(0.8, step)) / (std::sqrt(v / (1 - std::pow(0.9, step))) + 1e-3);
      w -= 0.02 * (direction + (spec.shape.dimensions() == 2 ? 0.3 * w : 0.0));
    }
  }
  const auto owned = run.owned();
  for (const auto& [name, values] : expected) {
    // About ten float32 roundings of numbers of size 1 (moments: of size 4): 1e-6 and 4e-6.
    EXPECT_NEAR(static_cast<double>(owned.at(name + " master").at(element)), values[0], 2e-6) << name;
    EXPECT_NEAR(static_cast<double>(owned.at(name + " first moment").at(element)), values[1], 5e-6) << name;
    EXPECT_NEAR(static_cast<double>(owned.at(name + " second moment").at(element)), values[2], 2e-5) << name;
  }
}

}  // namespace
}  // namespace penstock::optimizer_test

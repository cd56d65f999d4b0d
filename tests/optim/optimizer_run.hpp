// SPDX-License-Identifier: Apache-2.0
#pragma once
// An Optimizer on one rank of a mesh, with made-up parameters whose gradients are pure functions of where they come
// from: the sums over a mesh are known, and one rank alone can make them, too.

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "comm/communicators.hpp"
#include "optim/optimizer.hpp"

namespace penstock::test {

struct OptimizerMesh {
  int data = 1;
  int pipeline = 1;
  int tensor = 1;
  bool shard = true;
  std::int64_t full_bucket = ParameterLayout::full_bucket;
  bool followed = false;  ///< the optimizer is notified of each block whose gradients are complete

  int ranks() const { return data * pipeline * tensor; }
  std::string text() const {
    return fmt::format("data {} pipeline {} tensor {} shard {}", data, pipeline, tensor, shard);
  }
};

/// Copies, cut rows and columns, q, k, v sections, a padded and tied table; float32 and bfloat16; odd sizes.
inline std::vector<ParameterSpec> optimizer_specs(const OptimizerMesh& mesh) {
  const int t = mesh.tensor, last = mesh.pipeline - 1, middle = mesh.pipeline / 2, second = std::min(1, last);
  const auto spec = [](std::string name, Shape shape, Split split, DType type, const AxisSet& inside,
                       std::vector<int> stages, int block = outside_blocks) {
    return ParameterSpec{.name = std::move(name),
                         .shape = shape,
                         .split = split,
                         .init = Init::normal,
                         .deviation = 0.5,
                         .decay = shape.dimensions() == 2,
                         .type = type,
                         .sums = {.inside = inside},
                         .stages = std::move(stages),
                         .block = block};
  };
  const AxisSet whole, partial{Axis::tensor};
  const Split padded{.dimension = 0, .parts = t, .padded_extent = 128}, rows{.dimension = 0, .parts = t};
  const Split columns{.dimension = 1, .parts = t}, sections{.dimension = 0, .parts = t, .sections = {{12}, {12}, {12}}};
  return {
      spec("table", {70, 12}, padded, DType::bfloat16, whole, {0, last}),
      spec("positions", {19, 12}, {}, DType::float32, partial, {0}),
      spec("norm", {37}, {}, DType::float32, partial, {0}),
      spec("qkv", {36, 12}, sections, DType::bfloat16, whole, {middle}, 0),
      spec("qkv bias", {36}, sections, DType::float32, whole, {middle}, 0),
      spec("output", {11, 28}, columns, DType::bfloat16, whole, {second}, 1),
      spec("output bias", {11}, {}, DType::float32, whole, {second}, 1),
      spec("up", {44, 12}, rows, DType::bfloat16, whole, {last}, 2),
      spec("end", {13}, {}, DType::float32, partial, {last}),
  };
}

/// Which backward pass a gradient comes from.
struct Contribution {
  int step = 1;
  int data = 0;
  int tensor = 0;  ///< of partial gradients; else 0
  std::size_t use = 0;
};

/// Multiples of 1/16 up to 4: sums of many are exact in float32, in any order.
inline float exact_gradient(const Contribution& from, const ParameterSpec& spec, std::int64_t element) {
  const RandomKey key =
      random_key(17, fmt::format("{} {} {} {} {}", spec.name, from.step, from.data, from.tensor, from.use));
  return static_cast<float>(static_cast<int>(random_words(key, static_cast<std::uint64_t>(element))[0] % 129) - 64) /
         16.0F;
}

/// Normal numbers, whose sums depend on their order.
inline float rounded_gradient(const Contribution& from, const ParameterSpec& spec, std::int64_t element) {
  const RandomKey key =
      random_key(18, fmt::format("{} {} {} {} {}", spec.name, from.step, from.data, from.tensor, from.use));
  return static_cast<float>(random_normal(key, static_cast<std::uint64_t>(element)));
}

using GradientOf = float (*)(const Contribution&, const ParameterSpec&, std::int64_t);

/// A global array, or the part of it that a rank has: global element -> value.
using Elements = std::map<std::int64_t, float>;

class OptimizerRun {
 public:
  /// The world's ranks on `mesh`.
  OptimizerRun(World& world, const OptimizerMesh& sizes, const OptimizerConfig& config)
      : OptimizerRun(world, sizes, config,
                     Mesh({{"pipeline", sizes.pipeline}, {"data", sizes.data}, {"tensor", sizes.tensor}})) {}

  /// Every rank for itself: the whole model without a mesh.
  static OptimizerRun alone(World& world, const OptimizerConfig& config) {
    return {world, {.shard = config.shard}, config, Mesh()};
  }

  Optimizer& optimizer() { return *optimizer_; }
  const ParameterSet& parameters() const { return *parameters_; }
  Queue& queue() { return queue_; }

  /// Leaves the gradients of the replicas and tensor ranks of `of`: its own on a mesh, all of them alone.
  void set_gradients(int step, const OptimizerMesh& of, GradientOf gradient_of, float scale = 1) {
    for (const ParameterSpec& spec : parameters_->specs()) {
      const ParameterPlace& place = parameters_->layout().place();
      for (std::size_t use = 0; use < spec.stages.size(); ++use) {
        if (std::find(place.stages.begin(), place.stages.end(), spec.stages[use]) == place.stages.end()) continue;
        const TensorView gradient = parameters_->gradient(spec.name, use);
        for_each_local(spec, place.mesh, [&](std::int64_t global, std::int64_t local) {
          gradient.data<float>()[local] = scale * sum_of(spec, use, step, of, gradient_of, global);
        });
      }
    }
  }

  StepResult step(int number, const OptimizerMesh& of, GradientOf gradient_of, double learning_rate, float scale = 1) {
    optimizer_->gather_parameters(queue_);
    set_gradients(number, of, gradient_of, scale);
    if (followed_)
      for (const int block : {2, 1, 0}) optimizer_->behind_gradients(block);
    optimizer_->reduce_gradients(queue_);
    optimizer_->sum_tied(queue_);
    optimizer_->begin_step(queue_, {.number = number, .learning_rate = learning_rate});
    optimizer_->norm(queue_);
    optimizer_->update(queue_);
    return result(number);
  }

  /// Of the step that was begun last.
  StepResult result(int number) {
    optimizer_->bring_result(queue_);
    queue_.drain("a step's result");
    return optimizer_->result(number);
  }

  /// What this rank owns of each parameter's master weights and moments.
  std::map<std::string, Elements> owned() const {
    std::map<std::string, Elements> all;
    for (const OwnedBox& owned : parameters_->layout().owned()) {
      const ParameterSpec& spec = parameters_->specs()[owned.parameter];
      for_each_element(spec, owned.box, [&](std::int64_t global, std::int64_t i) {
        all[spec.name + " master"][global] = parameters_->master(owned)[i];
        all[spec.name + " first moment"][global] = parameters_->first_moment(owned)[i];
        all[spec.name + " second moment"][global] = parameters_->second_moment(owned)[i];
      });
    }
    return all;
  }

  /// What this rank computes with, after an all-gather.
  std::map<std::string, Elements> weights() {
    optimizer_->gather_parameters(queue_);
    std::map<std::string, Elements> all;
    for (const ParameterSpec& spec : parameters_->specs()) {
      const ParameterPlace& place = parameters_->layout().place();
      if (std::none_of(spec.stages.begin(), spec.stages.end(),
                       [&](int stage) { return stage == place.stages.front(); }))
        continue;
      const TensorView weight = parameters_->weight(spec.name);
      for_each_local(spec, place.mesh, [&](std::int64_t global, std::int64_t local) {
        all[spec.name][global] = weight.type() == DType::float32 ? weight.data<float>()[local]
                                                                 : static_cast<float>(weight.data<bfloat16>()[local]);
      });
    }
    return all;
  }

 private:
  OptimizerRun(World& world, const OptimizerMesh& sizes, const OptimizerConfig& config, const Mesh& mesh)
      : place_{.stages = {mesh.coordinate(world.rank(), Axis::pipeline)},
               .mesh = {mesh, world.rank() % mesh.size()},
               .shard = sizes.shard},
        followed_(sizes.followed),
        specs_(std::make_unique<const std::vector<ParameterSpec>>(optimizer_specs(sizes))),
        communicators_(std::make_unique<Communicators>(world, queue_, mesh, Optimizer::groups(*specs_))) {
    const std::vector<ParameterSpec>& specs = *specs_;
    const ParameterLayout layout(specs, place_, sizes.full_bucket);
    const TiedPeers tied{.first = 0, .last = sizes.pipeline - 1};
    Arena planning;
    ParameterSet planned(specs, layout, planning);
    const Optimizer counted(config, planned, nullptr, tied, planning);
    arena_ = std::make_unique<Arena>(planning.bytes_taken());
    parameters_ = std::make_unique<ParameterSet>(specs, layout, *arena_);
    optimizer_.emplace(config, *parameters_, communicators_.get(), tied, *arena_);
    parameters_->initialize(5);
    optimizer_->publish(queue_);
  }

  // On a mesh this rank's own contribution; alone the sum of all that the mesh `of` would bring.
  float sum_of(const ParameterSpec& spec, std::size_t use, int step, const OptimizerMesh& of, GradientOf gradient_of,
               std::int64_t element) const {
    const bool alone = communicators_->all().size() == 1;
    const bool partial = !spec.sums.inside.empty();
    const auto at = [&](int data, int tensor) {
      return gradient_of({.step = step, .data = data, .tensor = partial ? tensor : 0, .use = use}, spec, element);
    };
    if (!alone) return at(place_.mesh.at(Axis::data), place_.mesh.at(Axis::tensor));
    float sum = 0;
    for (int d = 0; d < of.data; ++d)
      for (int t = 0; t < (partial ? of.tensor : 1); ++t) sum += at(d, t);
    return sum;
  }

  template <typename Visit>
  static void for_each_element(const ParameterSpec& spec, const Box& box, const Visit& visit) {
    const bool matrix = spec.shape.dimensions() == 2;
    const std::int64_t rows = matrix ? box.extent[0] : 1, columns = matrix ? box.extent[1] : box.extent[0];
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < columns; ++c)
        visit(matrix ? (box.offset[0] + r) * spec.shape[1] + box.offset[1] + c : box.offset[0] + c, r * columns + c);
  }
  template <typename Visit>
  static void for_each_local(const ParameterSpec& spec, const MeshPlace& place, const Visit& visit) {
    for (const Box& box : local_boxes(spec, place))
      for_each_element(spec, box, [&](std::int64_t global, std::int64_t i) { visit(global, box.local_begin + i); });
  }

  ParameterPlace place_;
  bool followed_;
  Queue queue_;
  std::unique_ptr<const std::vector<ParameterSpec>> specs_;
  std::unique_ptr<Communicators> communicators_;
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<ParameterSet> parameters_;
  std::optional<Optimizer> optimizer_;
};

}  // namespace penstock::test

// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 4 8 LABELS parity
// What a fourth axis of the mesh takes: its name, its place in the order, and parameters that say what it means to
// them. Here experts: ranks of one expert axis share out the experts of every block and see other samples than each
// other, so that what they hold in common has its gradients summed over data and expert ranks, and an expert's over
// data ranks.

#include <gtest/gtest.h>

#include <bit>
#include <map>

#include "checkpoint/checkpoint.hpp"
#include "checkpoint/difference.hpp"
#include "pipeline/tiny_model.hpp"
#include "storage/shared_folder.hpp"

namespace penstock::expert_axis_test {
namespace {

constexpr std::string_view expert = "expert";
constexpr int experts = 4;
constexpr std::int64_t width = 16, hidden = 12;

struct Sizes {
  int data = 1, pipeline = 1, expert = 1, tensor = 1;
  bool shard = true;

  Mesh mesh() const { return Mesh({{"pipeline", pipeline}, {"data", data}, {"expert", expert}, {"tensor", tensor}}); }
  std::string text() const { return fmt::format("{} shard {}", mesh().text(), shard); }
};

/// In the place of a block's MLP: a router that every rank has, and experts.
std::vector<ParameterSpec> mixture(const std::string& block, const ParameterSpec& norm, const Sizes& sizes) {
  const auto weight = [&](const std::string& name, Shape shape) {
    return ParameterSpec{.name = block + name,
                         .shape = shape,
                         .init = Init::normal,
                         .deviation = 0.02,
                         .decay = true,
                         .sums = norm.sums,
                         .stages = norm.stages,
                         .block = norm.block};
  };
  const auto expert_weight = [&](const std::string& name, Shape shape, int cut_dimension) {
    ParameterSpec spec = weight(name, shape);
    spec.stack = {.arrays = experts, .parts = sizes.expert, .axis = std::string(expert)};
    spec.split = {.dimension = cut_dimension, .parts = sizes.tensor};
    spec.sums = {.across = {Axis::data}};
    return spec;
  };
  std::vector<ParameterSpec> specs{weight("mlp.router.weight", {experts, width}),
                                   expert_weight("mlp.experts.gate.weight", {experts * hidden, width}, 0),
                                   expert_weight("mlp.experts.up.weight", {experts * hidden, width}, 0),
                                   expert_weight("mlp.experts.down.weight", {experts * width, hidden}, 1)};
  specs[2].follows = true;
  return specs;
}

/// Of Qwen 2, whose table is tied, and whose one head of keys tensor ranks hold copies of.
ModelPlan plan_of(const Sizes& sizes) {
  ModelPlan plan = test::tiny_plan({.data = sizes.data,
                                    .pipeline = sizes.pipeline,
                                    .tensor = sizes.tensor,
                                    .shard = sizes.shard,
                                    .family = "qwen2"});
  std::vector<ParameterSpec> specs;
  for (ParameterSpec& spec : plan.parameters) {
    if (spec.name.find(".mlp.") != std::string::npos) continue;
    spec.sums.across = {Axis::data, expert};
    specs.push_back(spec);
    if (const std::size_t end = spec.name.find("mlp_norm"); end != std::string::npos)
      for (ParameterSpec& more : mixture(spec.name.substr(0, end), spec, sizes)) specs.push_back(std::move(more));
  }
  plan.parameters = std::move(specs);
  return plan;
}

std::vector<ParameterLayout> layouts_of(const ModelPlan& plan, const Mesh& mesh) {
  std::vector<ParameterLayout> layouts;
  for (int rank = 0; rank < mesh.size(); ++rank) layouts.push_back(parameter_layout(plan, MeshPlace(mesh, rank)));
  return layouts;
}

/// Calls visit(element of the global array, element of the box).
template <typename Visit>
void for_each_element(const Shape& shape, const Box& box, const Visit& visit) {
  const bool matrix = shape.dimensions() == 2;
  const std::int64_t columns = matrix ? box.extent[1] : 1;
  for (std::int64_t i = 0; i < box.elements(); ++i)
    visit(matrix ? (box.offset[0] + i / columns) * shape[1] + box.offset[1] + i % columns : box.offset[0] + i, i);
}

/// What a rank's backward pass leaves: multiples of 1/16, whose sums are exact in any order. Ranks along the axes that
/// a parameter's gradient is summed over bring parts of their own, all others equal ones.
RandomKey contribution(const ParameterSpec& spec, std::size_t use, const MeshPlace& place, int step) {
  std::string name = fmt::format("{} {} {}", spec.name, use, step);
  for (const AxisSet& axes : {spec.sums.inside, spec.sums.across})
    for (const std::string& axis : axes) name += fmt::format(" {} {}", axis, place.at(axis));
  return random_key(31, name);
}
float value_of(const RandomKey& contribution, std::int64_t element) {
  return static_cast<float>(static_cast<int>(random_words(contribution, static_cast<std::uint64_t>(element))[0] % 65) -
                            32) /
         16;
}

/// Parameters and optimizer of one rank.
class ExpertRank {
 public:
  ExpertRank(World& world, const Sizes& sizes, const Mesh& mesh)
      : plan_(plan_of(sizes)),
        place_(mesh, world.rank() % mesh.size()),
        communicators_(communicators_of(plan_, world, queue_, mesh)) {
    const ParameterLayout layout = parameter_layout(plan_, place_);
    const TiedPeers tied{.first = 0, .last = sizes.pipeline - 1};
    Arena planning;
    ParameterSet planned(plan_.parameters, layout, planning);
    const Optimizer counted(plan_.optimizer, planned, nullptr, tied, planning);
    arena_ = std::make_unique<Arena>(planning.bytes_taken());
    parameters_.emplace(plan_.parameters, layout, *arena_);
    optimizer_.emplace(plan_.optimizer, *parameters_, &communicators_, tied, *arena_);
    parameters_->initialize(plan_.seed);
    optimizer_->publish(queue_);
  }
  ExpertRank(World& world, const Sizes& sizes) : ExpertRank(world, sizes, sizes.mesh()) {}
  /// The whole model on this rank alone.
  static std::unique_ptr<ExpertRank> alone(World& world) {
    return std::make_unique<ExpertRank>(world, Sizes{}, Mesh());
  }

  const ModelPlan& plan() const { return plan_; }
  const MeshPlace& place() const { return place_; }
  ParameterSet& parameters() { return *parameters_; }
  Communicators& communicators() { return communicators_; }

  /// An update with this rank's own gradients, or, alone, with the sums of what all ranks of `of` bring.
  StepResult step(int number, const ModelPlan& plan, const Mesh& of) {
    optimizer_->gather_parameters(queue_);
    set_gradients(number, plan.parameters, of);
    optimizer_->reduce_gradients(queue_);
    optimizer_->sum_tied(queue_);
    optimizer_->begin_step(queue_, {.number = number, .learning_rate = 0.01});
    optimizer_->norm(queue_);
    optimizer_->update(queue_);
    optimizer_->bring_result(queue_);
    queue_.drain("a step's result");
    return optimizer_->result(number);
  }
  StepResult step(int number) { return step(number, plan_, place_.mesh()); }

  /// Every element that this rank owns of a state, by parameter and global element.
  std::map<std::pair<std::string, std::int64_t>, float> owned(State state) const {
    std::map<std::pair<std::string, std::int64_t>, float> all;
    for (const OwnedBox& owned : parameters_->layout().owned()) {
      const ParameterSpec& spec = plan_.parameters[owned.parameter];
      const float* values = memory_of(*parameters_)(state, owned);
      for_each_element(spec.shape, owned.box, [&](std::int64_t global, std::int64_t i) {
        all[{spec.name, global}] = values[i];
      });
    }
    return all;
  }

 private:
  void set_gradients(int number, const std::vector<ParameterSpec>& specs, const Mesh& of) {
    for (std::size_t p = 0; p < specs.size(); ++p)
      for (std::size_t use = 0; use < specs[p].stages.size(); ++use) {
        const ParameterSpec& own = plan_.parameters[p];
        const std::vector<int>& stages = parameters_->layout().place().stages;
        if (own.follows || std::find(stages.begin(), stages.end(), own.stages[use]) == stages.end()) continue;
        float* gradient = parameters_->gradient(own.name, use).data<float>();
        for (std::size_t q = p; q == p || (q < specs.size() && specs[q].follows); ++q) {
          set_gradient(plan_.parameters[q], specs[q], use, number, of, gradient);
          gradient += local_shape(plan_.parameters[q]).elements();
        }
      }
  }

  // Of the holders of a copied section one brings all, the others nothing.
  void set_gradient(const ParameterSpec& own, const ParameterSpec& spec, std::size_t use, int number, const Mesh& of,
                    float* gradient) {
    std::vector<RandomKey> parts;
    if (place_.mesh() == of)
      parts = {contribution(spec, use, place_, number)};
    else
      for (const int replica : of.group(0, spec.sums.across))
        for (const int rank : of.group(replica, spec.sums.inside))
          parts.push_back(contribution(spec, use, MeshPlace(of, rank), number));
    for (const LocalBox& held : sections_held(own, place_))
      for_each_element(own.shape, held.box, [&](std::int64_t global, std::int64_t i) {
        float sum = 0;
        for (const RandomKey& part : parts) sum += held.first ? value_of(part, global) : 0;
        gradient[held.box.local_begin + i] = sum;
      });
  }

  ModelPlan plan_;
  MeshPlace place_;
  Queue queue_;
  Communicators communicators_;
  std::unique_ptr<Arena> arena_;
  std::optional<ParameterSet> parameters_;
  std::optional<Optimizer> optimizer_;
};

std::vector<Sizes> meshes(int ranks) {
  if (ranks == 8)
    return {{.data = 2, .expert = 2, .tensor = 2},
            {.data = 2, .expert = 4},
            {.pipeline = 2, .expert = 2, .tensor = 2},
            {.expert = 4, .tensor = 2, .shard = false}};
  return {{.data = 2, .expert = 2},
          {.data = 2, .expert = 2, .shard = false},
          {.expert = 4},
          {.expert = 2, .tensor = 2},
          {.pipeline = 2, .expert = 2},
          {.data = 2, .tensor = 2}};
}

/// Bits of what a rank owns, against the whole.
void expect_part_of(const ExpertRank& whole, const ExpertRank& rank, const std::string& where) {
  for (const State state : states) {
    const auto all = whole.owned(state);
    std::size_t wrong = 0;
    for (const auto& [element, value] : rank.owned(state))
      wrong += std::bit_cast<std::uint32_t>(all.at(element)) != std::bit_cast<std::uint32_t>(value);
    EXPECT_EQ(wrong, 0U) << where;
  }
}

TEST(ExpertAxis, EveryElementIsWrittenByOneRank) {
  for (int layout = 0; layout < 32; ++layout) {
    const auto size = [&](int bit) { return (layout >> bit) % 2 + 1; };
    const Sizes sizes{size(0), size(1), 2 * size(2), size(3), size(4) == 2};
    const ModelPlan plan = plan_of(sizes);
    std::vector<std::vector<int>> writers;
    for (const ParameterSpec& spec : plan.parameters)
      writers.emplace_back(static_cast<std::size_t>(spec.shape.elements()), 0);
    for (const ParameterLayout& rank : layouts_of(plan, sizes.mesh()))
      for (const OwnedBox& owned : rank.owned())
        if (owned.counted)
          for_each_element(plan.parameters[owned.parameter].shape, owned.box, [&](std::int64_t global, std::int64_t) {
            ++writers[owned.parameter][static_cast<std::size_t>(global)];
          });
    for (std::size_t p = 0; p < writers.size(); ++p)
      EXPECT_EQ(std::count(writers[p].begin(), writers[p].end(), 1), plan.parameters[p].shape.elements())
          << plan.parameters[p].name << ", " << sizes.text();
  }
}

TEST(ExpertAxis, RanksHoldTheirExpertsAndShareOutTheRest) {
  const Sizes sizes{.data = 2, .expert = 2};
  const ModelPlan plan = plan_of(sizes);
  const auto find = [&](std::string_view name) -> const ParameterSpec& {
    return *std::find_if(plan.parameters.begin(), plan.parameters.end(), [&](const auto& s) { return s.name == name; });
  };
  const ParameterSpec& down = find("blocks.1.mlp.experts.down.weight");
  for (int rank = 0; rank < 4; ++rank) {
    const MeshPlace place(sizes.mesh(), rank);
    const std::vector<Box> boxes = local_boxes(down, place);
    ASSERT_EQ(boxes.size(), 2U);
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(boxes[static_cast<std::size_t>(i)].offset[0], width * (2 * place.at(expert) + i));
      EXPECT_EQ(boxes[static_cast<std::size_t>(i)].extent, (Shape{width, hidden}));
    }
    EXPECT_EQ(local_boxes(find("blocks.1.mlp.router.weight"), place).front().extent, (Shape{experts, width}));
    const ParameterLayout layout = parameter_layout(plan, place);
    for (const Bucket& bucket : layout.buckets()) {
      const bool of_experts = bucket.sums.across == AxisSet{Axis::data};
      EXPECT_EQ(bucket.own_end - bucket.own_begin, bucket.elements / (of_experts ? 2 : 4));
      for (const BucketEntry& entry : bucket.entries)
        EXPECT_EQ(plan.parameters[entry.parameter].name.find(".experts.") != std::string::npos, of_experts);
    }
  }
}

TEST(ExpertAxis, GradientsAreSummedAlongTheAxesThatParametersName) {
  for (const Sizes& sizes : meshes(test_world().size())) {
    ExpertRank rank(test_world(), sizes);
    EXPECT_EQ(rank.communicators().group({Axis::data, expert}).size(), sizes.data * sizes.expert);
    const auto whole = ExpertRank::alone(test_world());
    for (int step = 1; step <= 2; ++step) {
      const StepResult expected = whole->step(step, rank.plan(), sizes.mesh());
      EXPECT_EQ(rank.step(step).gradient_norm, expected.gradient_norm) << "squares of such numbers add up exactly";
    }
    expect_part_of(*whole, rank, sizes.text());
  }
}

TEST(ExpertAxis, ACheckpointGoesFromOneMeshToAnother) {
  World& world = test_world();
  IoThread io;
  Writers writers(world, io, {});
  const std::vector<Sizes> all = meshes(world.size());
  for (std::size_t from = 0; from < all.size(); ++from) {
    const Sizes &one = all[from], &other = all[(from + 1) % all.size()];
    const std::string where = one.text() + " to " + other.text();
    SharedFolder written(world), again(world);
    const auto first_file = written.path() / checkpoint_name(1), second_file = again.path() / checkpoint_name(1);
    ExpertRank writing(world, one), reading(world, other);
    const auto whole = ExpertRank::alone(world), read_whole = ExpertRank::alone(world);
    whole->step(1, writing.plan(), one.mesh());
    writing.step(1);
    const auto save = [&](ExpertRank& rank, const SharedFolder& folder) {
      return save_checkpoint(world, writers, folder.path(), {.step = 1, .deck = "[run]\n"}, rank.plan().parameters,
                             layouts_of(rank.plan(), rank.place().mesh()), memory_of(rank.parameters()));
    };
    const SaveOutcome outcome = save(writing, written);
    ASSERT_TRUE(outcome.ok) << outcome.message;
    for (ExpertRank* rank : {&reading, read_whole.get()})
      load_checkpoint(world, io, first_file, rank->plan().parameters, rank->parameters().layout(),
                      memory_of(rank->parameters()));
    expect_part_of(*whole, reading, where);
    expect_part_of(*whole, *read_whole, where);
    const SaveOutcome second = save(reading, again);
    ASSERT_TRUE(second.ok) << second.message;
    if (world.rank() == 0) {
      EXPECT_TRUE(diff_files(io, first_file, second_file).equal_bits) << where;
    }
  }
}

}  // namespace
}  // namespace penstock::expert_axis_test

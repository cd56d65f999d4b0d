// SPDX-License-Identifier: Apache-2.0
#pragma once
// A made-up model with everything that makes a layout hard: q, k, v sections, a padded and tied vocabulary, cuts in
// both dimensions, copies, and an array of several chunks. Its values are pure functions of name, state and global
// index.

#include <string>
#include <vector>

#include "checkpoint/checkpoint.hpp"

namespace penstock {

/// Ranks are numbered data outermost, then stage, then tensor.
struct SampleMesh {
  int data = 1;
  int stages = 1;
  int tensor = 1;
  bool shard = true;
  int ranks() const { return data * stages * tensor; }
};

inline std::vector<ParameterSpec> sample_specs(const SampleMesh& mesh) {
  const int last = mesh.stages - 1, t = mesh.tensor;
  std::vector<int> both{0};
  if (last > 0) both.push_back(last);
  const auto normal = [](std::string name, Shape shape, Split split, std::vector<int> stages) {
    return ParameterSpec{.name = std::move(name),
                         .shape = shape,
                         .split = split,
                         .init = Init::normal,
                         .deviation = 1,
                         .stages = std::move(stages)};
  };
  return {
      normal("embedding.token.weight", {50, 24}, {0, t, {}, 64}, both),
      normal("embedding.position.weight", {16, 24}, {}, {0}),
      normal("blocks.0.attention.qkv.weight", {72, 24}, {0, t, {{24}, {24}, {24}}, 0}, {0}),
      normal("blocks.0.attention.qkv.bias", {72}, {0, t, {{24}, {24}, {24}}, 0}, {0}),
      normal("blocks.0.attention.output.weight", {24, 24}, {1, t, {}, 0}, {0}),
      normal("blocks.0.attention.output.bias", {24}, {}, {0}),
      normal("blocks.1.mlp.up.weight", {1100, 257}, {0, t, {}, 0}, {last}),  // 1.1 MB: two chunks
      normal("blocks.1.mlp.down.weight", {33, 600}, {1, t, {}, 0}, {last}),
      normal("final_norm.weight", {24}, {}, {last}),
  };
}

inline std::vector<ParameterLayout> sample_layouts(const SampleMesh& mesh, const std::vector<ParameterSpec>& specs) {
  const Mesh axes({{"data", mesh.data}, {"pipeline", mesh.stages}, {"tensor", mesh.tensor}});
  std::vector<ParameterLayout> layouts;
  for (int d = 0; d < mesh.data; ++d)
    for (int s = 0; s < mesh.stages; ++s)
      for (int t = 0; t < mesh.tensor; ++t)
        layouts.emplace_back(specs, ParameterPlace{{s}, {axes, (d * mesh.stages + s) * mesh.tensor + t}, mesh.shard});
  return layouts;
}

inline std::uint64_t sample_seed(State state) { return 7 + static_cast<std::uint64_t>(state); }

/// What the whole array holds.
inline std::vector<float> sample_values(const ParameterSpec& spec, State state) {
  std::vector<float> values(static_cast<std::size_t>(spec.shape.elements()));
  fill_initial(spec, sample_seed(state), Box{{}, spec.shape, 0}, values.data());
  return values;
}

/// A rank's memory of the model.
class SampleState {
 public:
  SampleState(const std::vector<ParameterSpec>& specs, const ParameterLayout& layout)
      : arena_(bytes_for(specs, layout)), parameters_(specs, layout, arena_) {}

  const ParameterSet& parameters() const { return parameters_; }
  ParameterSet& parameters() { return parameters_; }
  StateMemory memory() const { return memory_of(parameters_); }

  void fill() {
    for (const State state : states)
      for (const OwnedBox& owned : parameters_.layout().owned())
        fill_initial(parameters_.specs()[owned.parameter], sample_seed(state), owned.box, memory()(state, owned));
  }

  /// Elements that are not what `fill` sets, bit for bit.
  std::int64_t wrong() const {
    std::int64_t count = 0;
    for (const State state : states)
      for (const OwnedBox& owned : parameters_.layout().owned()) {
        std::vector<float> expected(static_cast<std::size_t>(owned.box.elements()));
        fill_initial(parameters_.specs()[owned.parameter], sample_seed(state), owned.box, expected.data());
        const float* found = memory()(state, owned);
        for (std::size_t i = 0; i < expected.size(); ++i)
          if (std::bit_cast<std::uint32_t>(found[i]) != std::bit_cast<std::uint32_t>(expected[i])) ++count;
      }
    return count;
  }

 private:
  static std::size_t bytes_for(const std::vector<ParameterSpec>& specs, const ParameterLayout& layout) {
    Arena planning;
    const ParameterSet set(specs, layout, planning);
    return planning.bytes_taken();
  }
  Arena arena_;
  ParameterSet parameters_;
};

}  // namespace penstock

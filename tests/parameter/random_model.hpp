// SPDX-License-Identifier: Apache-2.0
#pragma once
// Random sets of parameters and meshes, for the properties that must hold on all of them.

#include <random>
#include <vector>

#include "parameter/parameter_layout.hpp"

namespace penstock::test {

/// How many ranks along each axis, and how many stages each pipeline rank holds (stage s is on rank s % pipeline).
struct RandomMesh {
  int data = 1;
  int pipeline = 1;
  int tensor = 1;
  int chunks = 1;
  bool shard = true;

  int stages() const { return pipeline * chunks; }
  ParameterPlace place(int data_coordinate, int pipeline_coordinate, int tensor_coordinate) const {
    const Mesh mesh({{"pipeline", pipeline}, {"data", data}, {"tensor", tensor}});
    const int rank = (pipeline_coordinate * data + data_coordinate) * tensor + tensor_coordinate;
    ParameterPlace place{.stages = {}, .mesh = {mesh, rank}, .shard = shard};
    for (int stage = pipeline_coordinate; stage < stages(); stage += pipeline) place.stages.push_back(stage);
    return place;
  }
  std::string text() const {
    return fmt::format("data {} pipeline {} tensor {} chunks {} shard {}", data, pipeline, tensor, chunks, shard);
  }
};

class RandomModels {
 public:
  explicit RandomModels(std::uint32_t seed) : generator_(seed) {}

  RandomMesh mesh() {
    return {.data = below(5) + 1,
            .pipeline = below(3) + 1,
            .tensor = below(4) + 1,
            .chunks = below(2) + 1,
            .shard = coin()};
  }

  /// Copies, cut rows, cut columns, sections, padding and ties, float32 and bfloat16, in shapes from one element to
  /// some hundred rows.
  std::vector<ParameterSpec> specs(const RandomMesh& mesh) {
    std::vector<ParameterSpec> specs;
    const int count = below(12) + 1;
    for (int p = 0; p < count; ++p) specs.push_back(spec(p, mesh));
    return specs;
  }

 private:
  ParameterSpec spec(int number, const RandomMesh& mesh) {
    ParameterSpec spec{.name = "parameter." + std::to_string(number),
                       .shape = {},
                       .init = Init::normal,
                       .deviation = 0.02,
                       .stages = {}};
    const bool matrix = coin();
    std::int64_t rows = below(200) + 1, columns = below(70) + 1;
    Split& split = spec.split;
    switch (below(5)) {
      case 0:
        break;  // a copy
      case 1:
        split.parts = mesh.tensor;
        break;  // rows, perhaps uneven
      case 2:
        rows = 3 * (below(60) + 1);
        split = {.dimension = 0, .parts = mesh.tensor, .sections = {{rows / 3}, {rows / 3}, {rows / 3}}};
        if (coin()) split.sections = {{rows / 3 + 1}, {rows / 3 - 1, 1}, {rows / 3, 1}};
        break;
      case 3:
        split = {.dimension = 0, .parts = mesh.tensor, .padded_extent = (rows + 127) / 128 * 128};
        break;
      case 4:
        if (!matrix) break;
        split = {.dimension = 1, .parts = mesh.tensor};
        columns = mesh.tensor * (below(20) + 1);
        break;
    }
    spec.shape = matrix ? Shape{rows, columns} : Shape{rows};
    spec.type = coin() ? DType::float32 : DType::bfloat16;
    if (split.parts == 1 && coin()) spec.sums.inside = {Axis::tensor};
    spec.stages = {below(mesh.stages())};
    if (coin() && mesh.stages() > 1) spec.stages = {0, mesh.stages() - 1};
    return spec;
  }

  int below(int end) { return static_cast<int>(generator_() % static_cast<std::uint32_t>(end)); }
  bool coin() { return below(2) == 0; }

  std::mt19937 generator_;
};

}  // namespace penstock::test

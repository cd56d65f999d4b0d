// SPDX-License-Identifier: Apache-2.0
#pragma once
// A small checkpoint written by one process without MPI.

#include <functional>
#include <string>
#include <vector>

#include "checkpoint/array_writer.hpp"
#include "checkpoint/checkpoint.hpp"
#include "storage/durable_file.hpp"

namespace penstock {

struct SampleArray {
  std::string name;
  Shape shape;
};

inline const std::vector<SampleArray>& small_model() {
  static const std::vector<SampleArray> arrays{{"embedding.token.weight", {20, 6}},
                                               {"blocks.0.attention.qkv.weight", {18, 6}},
                                               {"blocks.0.attention.qkv.bias", {18}},
                                               {"final_norm.weight", {6}}};
  return arrays;
}

/// What element `index` of an array holds.
using ElementValue = std::function<float(State state, const std::string& name, std::int64_t index)>;
inline float usual_value(State state, const std::string& name, std::int64_t index) {
  return static_cast<float>(static_cast<int>(state) + 1) + static_cast<float>(name.size()) / 64 +
         static_cast<float>(index) / 1024;
}

inline std::vector<ArraySpec> small_arrays(const std::vector<SampleArray>& model = small_model()) {
  std::vector<ArraySpec> arrays;
  for (const State state : states)
    for (const SampleArray& array : model)
      arrays.push_back({path_of(state, array.name), array.shape, DType::float32, {}, {{0, Box{{}, array.shape, 0}}}});
  return arrays;
}

inline void write_small_checkpoint(const std::filesystem::path& path, std::int64_t step = 100,
                                   const ElementValue& value = usual_value,
                                   const std::vector<SampleArray>& model = small_model(), bool finish = true) {
  std::vector<Attribute> attributes = format_attributes(checkpoint_format);
  for (const Attribute& attribute : {Attribute{"step", step},
                                     {"samples", 16 * step},
                                     {"seed", std::int64_t{3}},
                                     {"deck", std::string("[run]\nsteps = 200\nseed = 3\n")}})
    attributes.push_back(attribute);
  const std::vector<ArraySpec> arrays = small_arrays(model);
  ArrayWriter writer(path);
  writer.create(attributes, arrays);
  for (std::size_t a = 0; a < arrays.size(); ++a) {
    std::vector<float> values;
    for (std::int64_t i = 0; i < arrays[a].shape.elements(); ++i)
      values.push_back(value(states[a / model.size()], model[a % model.size()].name, i));
    writer.write(arrays[a], {0, arrays[a].shape[0], 0}, reinterpret_cast<const std::byte*>(values.data()));
  }
  if (finish)
    writer.complete();
  else
    writer.hand_over();  // closed, and not complete
}

}  // namespace penstock

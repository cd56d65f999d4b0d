// SPDX-License-Identifier: Apache-2.0
#include "parameter/parameter_spec.hpp"

#include <algorithm>

#include "base/random.hpp"

namespace penstock {

namespace {

std::int64_t extent_in_memory(const ParameterSpec& spec) {
  return spec.split.padded_extent > 0 ? spec.split.padded_extent : spec.shape[spec.split.dimension];
}

// A box must be dense in the memory of its rank: only the first dimension may leave rows of padding behind.
void ensure_cuttable(const ParameterSpec& spec) {
  const Split& split = spec.split;
  const std::int64_t extent = extent_in_memory(spec);
  ensure(extent >= spec.shape[split.dimension], "a padded extent below the global one");
  ensure(extent % split.sections == 0, "the sections of a dimension are not equal");
  ensure(split.sections == 1 || split.padded_extent == 0, "sections are not padded");
  ensure(split.dimension == 0 || (split.sections == 1 && split.padded_extent == 0 && extent % split.parts == 0),
         "the second dimension is cut in equal parts, without sections and padding");
}

// Of one section, on one rank; the last ranks may hold padding only.
std::int64_t part_of_section(const ParameterSpec& spec) {
  const std::int64_t section = extent_in_memory(spec) / spec.split.sections;
  return (section + spec.split.parts - 1) / spec.split.parts;
}

}  // namespace

Shape local_shape(const ParameterSpec& spec) {
  ensure_cuttable(spec);
  const std::int64_t cut = part_of_section(spec) * spec.split.sections;
  if (spec.shape.dimensions() == 1) return {cut};
  return spec.split.dimension == 0 ? Shape{cut, spec.shape[1]} : Shape{spec.shape[0], cut};
}

std::vector<Box> local_boxes(const ParameterSpec& spec, int coordinate) {
  const int dimension = spec.split.dimension;
  ensure_cuttable(spec);
  const std::int64_t global = spec.shape[dimension];
  const std::int64_t section = extent_in_memory(spec) / spec.split.sections;
  const std::int64_t part = part_of_section(spec);
  const std::int64_t width = spec.shape.dimensions() == 2 && dimension == 0 ? spec.shape[1] : 1;
  const int place = spec.split.parts == 1 ? 0 : coordinate;  // copies are all alike
  std::vector<Box> boxes;
  for (int s = 0; s < spec.split.sections; ++s) {
    const std::int64_t begin = section * s + part * place;
    const std::int64_t end = std::min({begin + part, section * (s + 1), global});
    if (begin >= end) continue;
    Box box;
    box.offset[static_cast<std::size_t>(dimension)] = begin;
    if (spec.shape.dimensions() == 1)
      box.extent = {end - begin};
    else
      box.extent = dimension == 0 ? Shape{end - begin, spec.shape[1]} : Shape{spec.shape[0], end - begin};
    box.local_begin = part * s * width;
    boxes.push_back(box);
  }
  return boxes;
}

// A random number is a function of its element alone, and so each thread may fill any part.
void fill_initial(const ParameterSpec& spec, std::uint64_t seed, const Box& box, float* values, int threads) {
  const bool matrix = box.extent.dimensions() == 2;
  const std::int64_t rows = matrix ? box.extent[0] : 1, columns = matrix ? box.extent[1] : box.extent[0];
  const std::int64_t width = matrix ? spec.shape[1] : 0;
  const std::int64_t first = matrix ? box.offset[0] * width + box.offset[1] : box.offset[0];
  if (spec.init != Init::normal) {
    fill_with(spec.init == Init::ones ? 1.0F : 0.0F, values, rows * columns, threads);
    return;
  }
  const RandomKey key = random_key(seed, "initial " + spec.name);
  const double deviation = spec.deviation;
  // Both loops as one: a box of one long row is shared as evenly as one of many short rows.
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c) {
      const auto element = static_cast<std::uint64_t>(first + r * width + c);
      values[r * columns + c] = static_cast<float>(deviation * random_normal(key, element));
    }
}

void fill_with(float value, float* values, std::int64_t elements, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (std::int64_t i = 0; i < elements; ++i) values[i] = value;
}

}  // namespace penstock

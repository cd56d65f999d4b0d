// SPDX-License-Identifier: Apache-2.0
#include "parameter/parameter_spec.hpp"

#include <algorithm>

#include "base/random.hpp"

namespace penstock {

namespace {

/// Of one array of the stack: what its Split cuts.
Shape array_shape(const ParameterSpec& spec) {
  const std::int64_t rows = spec.shape[0] / spec.stack.arrays;
  return spec.shape.dimensions() == 1 ? Shape{rows} : Shape{rows, spec.shape[1]};
}

int arrays_held(const Stack& stack) { return stack.arrays / stack.parts; }

std::int64_t extent_in_memory(const ParameterSpec& spec) {
  return spec.split.padded_extent > 0 ? spec.split.padded_extent : array_shape(spec)[spec.split.dimension];
}

/// One of the sections of a dimension: its elements over all ranks (padding included), and on each.
struct Run {
  std::int64_t extent;
  int parts;
  std::int64_t local() const { return (extent + parts - 1) / parts; }
};

std::vector<Run> runs_of(const ParameterSpec& spec) {
  const Split& split = spec.split;
  if (split.sections.empty()) return {{extent_in_memory(spec), split.parts}};
  std::vector<Run> runs;
  for (const Section& section : split.sections)
    runs.push_back({section.extent, section.parts > 0 ? section.parts : split.parts});
  return runs;
}

// A box must be dense in the memory of its rank, so only the first dimension may end with rows of padding.
void ensure_cuttable(const ParameterSpec& spec) {
  const Stack& stack = spec.stack;
  const Split& split = spec.split;
  ensure(spec.shape[0] % stack.arrays == 0, "the arrays of a stack are not of one shape");
  ensure(stack.arrays % stack.parts == 0, "the parts of a stack do not divide its arrays");
  const std::int64_t extent = extent_in_memory(spec);
  ensure(extent >= array_shape(spec)[split.dimension], "a padded extent below the global one");
  ensure(split.dimension == 0 || (split.sections.empty() && split.padded_extent == 0 && extent % split.parts == 0),
         "the second dimension is cut in equal parts, without sections and padding");
  if (split.sections.empty()) return;
  ensure(split.padded_extent == 0, "sections are not padded");
  std::int64_t covered = 0;
  for (const Run& run : runs_of(spec)) {
    ensure(split.parts % run.parts == 0, "the parts of a section do not divide the ranks");
    covered += run.extent;
  }
  ensure(covered == extent, "the sections of a dimension do not cover it");
}

// The part of one array that a rank holds.
Shape local_array_shape(const ParameterSpec& spec) {
  std::int64_t cut = 0;
  for (const Run& run : runs_of(spec)) cut += run.local();
  if (spec.shape.dimensions() == 1) return {cut};
  return spec.split.dimension == 0 ? Shape{cut, spec.shape[1]} : Shape{array_shape(spec)[0], cut};
}

// The boxes of one array; offsets and local_begin count in it alone. `coordinate`: on the axis of the Split.
std::vector<LocalBox> sections_of_array(const ParameterSpec& spec, int coordinate) {
  const Shape array = array_shape(spec);
  const int dimension = spec.split.dimension;
  const std::int64_t width = array.dimensions() == 2 && dimension == 0 ? array[1] : 1;
  std::vector<LocalBox> held;
  std::int64_t before = 0, local_before = 0;
  for (const Run& run : runs_of(spec)) {
    const int copies = spec.split.parts / run.parts;
    const std::int64_t begin = before + run.local() * (coordinate / copies);
    const std::int64_t end = std::min({begin + run.local(), before + run.extent, array[dimension]});
    if (begin < end) {
      LocalBox& local = held.emplace_back();
      local.copies = copies;
      local.first = coordinate % copies == 0;
      local.box.offset[static_cast<std::size_t>(dimension)] = begin;
      if (array.dimensions() == 1)
        local.box.extent = {end - begin};
      else
        local.box.extent = dimension == 0 ? Shape{end - begin, array[1]} : Shape{array[0], end - begin};
      local.box.local_begin = local_before * width;
    }
    before += run.extent;
    local_before += run.local();
  }
  return held;
}

// Whoever holds a copy of the whole holds what coordinate 0 of one part does.
int part_of(const MeshPlace& place, std::string_view axis, int parts) {
  const int part = parts == 1 ? 0 : place.at(axis);
  ensure(part < parts, "a parameter is cut in fewer parts than its axis has ranks");
  return part;
}

}  // namespace

Shape local_shape(const ParameterSpec& spec) {
  ensure_cuttable(spec);
  const Shape shape = local_array_shape(spec);
  const std::int64_t rows = shape[0] * arrays_held(spec.stack);
  return shape.dimensions() == 1 ? Shape{rows} : Shape{rows, shape[1]};
}

std::vector<LocalBox> sections_held(const ParameterSpec& spec, const MeshPlace& place) {
  ensure_cuttable(spec);
  const int arrays = arrays_held(spec.stack);
  const int first = arrays * part_of(place, spec.stack.axis, spec.stack.parts);
  const std::int64_t rows = array_shape(spec)[0], local_elements = local_array_shape(spec).elements();
  std::vector<LocalBox> held;
  for (int array = 0; array < arrays; ++array)
    for (LocalBox local : sections_of_array(spec, part_of(place, spec.split.axis, spec.split.parts))) {
      local.box.offset[0] += rows * (first + array);
      local.box.local_begin += local_elements * array;
      held.push_back(local);
    }
  return held;
}

std::vector<Box> local_boxes(const ParameterSpec& spec, const MeshPlace& place) {
  std::vector<Box> boxes;
  for (const LocalBox& held : sections_held(spec, place)) boxes.push_back(held.box);
  return boxes;
}

// A random number depends only on its element, so each thread may fill any part.
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
  // Both loops as one, so that a box of one long row is divided as evenly as one of many short rows.
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

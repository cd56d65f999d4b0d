// SPDX-License-Identifier: Apache-2.0
#include "mesh/mesh.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace penstock {

Mesh::Mesh(std::vector<Axis> outermost_first) : axes_(std::move(outermost_first)) {
  for (std::size_t i = 0; i < axes_.size(); ++i) {
    if (axes_[i].size < 1)
      throw_input_error("mesh.{} = {}: an axis has at least one rank; use 1 or more", axes_[i].name, axes_[i].size);
    for (std::size_t j = 0; j < i; ++j)
      if (axes_[i].name == axes_[j].name) throw_input_error("the mesh has two axes named {}", axes_[i].name);
    size_ *= axes_[i].size;
  }
}

Mesh Mesh::factored(std::string_view axis, std::string_view factor, int size) const {
  ensure(!has(factor), "factored: the mesh has an axis of that name");
  ensure(size >= 1 && size_of(axis) % size == 0, "factored: the axis does not consist of such runs");
  for (const Factor& other : factors_) ensure(other.axis != axis, "factored: an axis has one factor");
  Mesh mesh = *this;
  if (has(axis)) mesh.factors_.push_back({std::string(axis), std::string(factor), size});
  return mesh;
}

// A factor is the innermost part of its axis: from one of its coordinates to the next it is as far.
std::optional<Mesh::Steps> Mesh::find(std::string_view axis_or_factor) const {
  int stride = 1;
  for (auto axis = axes_.rbegin(); axis != axes_.rend(); ++axis) {
    if (axis->name == axis_or_factor) return Steps{stride, axis->size};
    for (const Factor& factor : factors_)
      if (factor.axis == axis->name && factor.name == axis_or_factor) return Steps{stride, factor.size};
    stride *= axis->size;
  }
  return std::nullopt;
}

int Mesh::size_of(std::string_view axis) const { return find(axis).value_or(Steps{}).size; }

int Mesh::coordinate(int rank, std::string_view axis) const {
  const Steps steps = find(axis).value_or(Steps{});
  return rank / steps.stride % steps.size;
}

int Mesh::neighbour(int rank, std::string_view axis, int coordinate) const {
  const std::optional<Steps> steps = find(axis);
  ensure(steps || coordinate == 0, "neighbour: the mesh has no such axis");
  return rank + (coordinate - this->coordinate(rank, axis)) * steps.value_or(Steps{}).stride;
}

std::vector<std::string> Mesh::spanned(const AxisSet& axes) const {
  std::vector<std::string> names;
  for (const Axis& axis : axes_) {
    if (axes.contains(axis.name)) {
      names.push_back(axis.name);
      continue;  // with its factors
    }
    for (const Factor& factor : factors_)
      if (factor.axis == axis.name && axes.contains(factor.name)) names.push_back(factor.name);
  }
  return names;
}

std::vector<int> Mesh::group(int rank, const AxisSet& spanned) const {
  std::vector<int> ranks{rank};
  for (const std::string& axis : this->spanned(spanned)) {
    std::vector<int> wider;
    for (const int r : ranks)
      for (int c = 0; c < size_of(axis); ++c) wider.push_back(neighbour(r, axis, c));
    ranks = std::move(wider);
  }
  return ranks;
}

std::string Mesh::text() const {
  std::string out;
  for (const Axis& axis : axes_) out += (out.empty() ? "" : " x ") + axis.name + " " + std::to_string(axis.size);
  return out;
}

}  // namespace penstock

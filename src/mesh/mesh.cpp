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

int Mesh::stride_of(std::size_t axis) const {
  int stride = 1;
  for (std::size_t i = axis + 1; i < axes_.size(); ++i) stride *= axes_[i].size;
  return stride;
}

int Mesh::size_of(std::string_view axis) const {
  for (const Axis& a : axes_)
    if (a.name == axis) return a.size;
  return 1;
}

int Mesh::coordinate(int rank, std::string_view axis) const {
  for (std::size_t i = 0; i < axes_.size(); ++i)
    if (axes_[i].name == axis) return rank / stride_of(i) % axes_[i].size;
  return 0;
}

int Mesh::neighbour(int rank, std::string_view axis, int coordinate) const {
  for (std::size_t i = 0; i < axes_.size(); ++i)
    if (axes_[i].name == axis) return rank + (coordinate - this->coordinate(rank, axis)) * stride_of(i);
  ensure(coordinate == 0, "neighbour: the mesh has no such axis");
  return rank;
}

std::vector<int> Mesh::group(int rank, const std::vector<std::string>& spanned) const {
  std::vector<int> ranks{rank};
  for (const Axis& axis : axes_) {
    if (std::find(spanned.begin(), spanned.end(), axis.name) == spanned.end()) continue;
    std::vector<int> wider;
    for (const int r : ranks)
      for (int c = 0; c < axis.size; ++c) wider.push_back(neighbour(r, axis.name, c));
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

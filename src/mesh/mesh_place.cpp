// SPDX-License-Identifier: Apache-2.0
#include "mesh/mesh_place.hpp"

#include <utility>

#include "base/error.hpp"

namespace penstock {

MeshPlace::MeshPlace(Mesh mesh, int rank) : mesh_(std::move(mesh)), rank_(rank) {
  ensure(rank >= 0 && rank < mesh_.size(), "MeshPlace: the mesh has no such rank");
}

int MeshPlace::group_size(const AxisSet& axes) const {
  int size = 1;
  for (const std::string& axis : mesh_.spanned(axes)) size *= mesh_.size_of(axis);
  return size;
}

// As Mesh::group orders them: the innermost axis runs fastest.
int MeshPlace::index_in_group(const AxisSet& axes) const {
  int index = 0;
  for (const std::string& axis : mesh_.spanned(axes)) index = index * mesh_.size_of(axis) + at(axis);
  return index;
}

}  // namespace penstock

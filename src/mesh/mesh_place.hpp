// SPDX-License-Identifier: Apache-2.0
#pragma once
// MeshPlace: where a rank stands.

#include <string_view>

#include "mesh/mesh.hpp"

namespace penstock {

/// A rank of a mesh, as a value: its coordinates, and the sizes of its groups, by the names of axes.
class MeshPlace {
 public:
  /// The one rank of a mesh of one.
  MeshPlace() = default;
  /// Throws LogicError for a rank that the mesh does not have.
  MeshPlace(Mesh mesh, int rank);

  const Mesh& mesh() const { return mesh_; }
  int rank() const { return rank_; }
  /// The coordinate; 0 on an axis that the mesh does not have.
  int at(std::string_view axis) const { return mesh_.coordinate(rank_, axis); }
  /// How many ranks the axis has; 1 where the mesh does not have it.
  int ranks_along(std::string_view axis) const { return mesh_.size_of(axis); }
  /// How many ranks there are in the group along `axes`, and which of them this is (Mesh::group).
  int group_size(const AxisSet& axes) const;
  int index_in_group(const AxisSet& axes) const;

  bool operator==(const MeshPlace&) const = default;

 private:
  Mesh mesh_;
  int rank_ = 0;
};

}  // namespace penstock

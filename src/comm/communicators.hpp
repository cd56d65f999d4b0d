// SPDX-License-Identifier: Apache-2.0
#pragma once
// The groups of one rank on the mesh.

#include "comm/communicator.hpp"

namespace penstock {

struct Communicators {
  /// `holders_of_a_part`: neighbours on the tensor axis that hold copies of the same part (ParameterSpec's Section), a
  /// divisor of its size.
  Communicators(World& world, Queue& queue, const Mesh& mesh, int holders_of_a_part = 1)
      : all(world, queue, mesh, {"pipeline", "data", "tensor"}),
        data(all.split(mesh, {"data"})),
        pipeline(all.split(mesh, {"pipeline"})),
        tensor(all.split(mesh, {"tensor"})),
        copies(all.split(with_copies(mesh, holders_of_a_part), {"copies"})) {
    pipeline.connect_ring();
  }

  /// That this rank has handed over so far, in all its groups.
  std::uint64_t bytes_sent() const {
    return all.bytes_sent() + data.bytes_sent() + pipeline.bytes_sent() + tensor.bytes_sent() + copies.bytes_sent();
  }

  Communicator all;
  Communicator data;      ///< replicas of the model
  Communicator pipeline;  ///< stages of one replica
  Communicator tensor;    ///< slices of one stage
  Communicator copies;    ///< of the tensor axis, those that hold equal parts; this rank alone where there are none

 private:
  // The tensor axis as two: runs of neighbours that hold copies are the inner one.
  static Mesh with_copies(const Mesh& mesh, int copies) {
    std::vector<Axis> axes;
    for (const Axis& axis : mesh.axes())
      if (axis.name == "tensor")
        axes.insert(axes.end(), {{"tensor", axis.size / copies}, {"copies", copies}});
      else
        axes.push_back(axis);
    return Mesh(axes);
  }
};

}  // namespace penstock

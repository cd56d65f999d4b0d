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

  /// Bytes that this rank has sent so far, in all its groups.
  std::uint64_t bytes_sent() const {
    return all.bytes_sent() + data.bytes_sent() + pipeline.bytes_sent() + tensor.bytes_sent() + copies.bytes_sent();
  }

  Communicator all;
  Communicator data;      ///< replicas of the model
  Communicator pipeline;  ///< stages of one replica
  Communicator tensor;    ///< slices of one stage
  Communicator copies;    ///< ranks of the tensor axis with equal parts; this rank alone if there are none

 private:
  // The tensor axis split in two: runs of neighbours that hold copies are the inner axis.
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

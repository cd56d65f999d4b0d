// SPDX-License-Identifier: Apache-2.0
#pragma once
// The groups of one rank on the mesh.

#include "comm/communicator.hpp"

namespace penstock {

struct Communicators {
  Communicators(World& world, Queue& queue, const Mesh& mesh)
      : all(world, queue, mesh, {"pipeline", "data", "tensor"}),
        data(all.split(mesh, {"data"})),
        pipeline(all.split(mesh, {"pipeline"})),
        tensor(all.split(mesh, {"tensor"})) {
    pipeline.connect_ring();
  }

  /// That this rank has handed over so far, in all its groups.
  std::uint64_t bytes_sent() const {
    return all.bytes_sent() + data.bytes_sent() + pipeline.bytes_sent() + tensor.bytes_sent();
  }

  Communicator all;
  Communicator data;      ///< replicas of the model
  Communicator pipeline;  ///< stages of one replica
  Communicator tensor;    ///< slices of one stage
};

}  // namespace penstock

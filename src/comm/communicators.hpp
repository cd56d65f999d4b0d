#pragma once
// The groups of one rank on the mesh.

#include "comm/communicator.hpp"

namespace penstock {

struct Communicators {
  Communicators(World& world, Queue& queue, const Mesh& mesh)
      : data(world, queue, mesh, {"data"}),
        pipeline(world, queue, mesh, {"pipeline"}),
        tensor(world, queue, mesh, {"tensor"}),
        all(world, queue, mesh, {"pipeline", "data", "tensor"}) {}

  Communicator data;      ///< replicas of the model
  Communicator pipeline;  ///< stages of one replica
  Communicator tensor;    ///< slices of one stage
  Communicator all;
};

}  // namespace penstock

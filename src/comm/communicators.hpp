#pragma once
// The groups of one rank on the mesh.

#include "comm/communicator.hpp"

namespace penstock {

struct Communicators {
  Communicators(World& world, const Mesh& mesh)
      : data(world, mesh, {"data"}),
        pipeline(world, mesh, {"pipeline"}),
        tensor(world, mesh, {"tensor"}),
        all(world, mesh, {"pipeline", "data", "tensor"}) {}

  Communicator data;      ///< replicas of the model
  Communicator pipeline;  ///< stages of one replica
  Communicator tensor;    ///< slices of one stage
  Communicator all;
};

}  // namespace penstock

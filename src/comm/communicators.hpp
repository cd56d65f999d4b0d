// SPDX-License-Identifier: Apache-2.0
#pragma once
// The groups of one rank on the mesh, by the axes that they span.

#include <map>
#include <string>
#include <vector>

#include "comm/communicator.hpp"

namespace penstock {

/// Made once, before step 1. Who speaks in a group asks for it when it is built: a name is not looked up in a step.
class Communicators {
 public:
  /// Collective over the world: the group of all ranks, one along each axis of the mesh, and one along each of `sets`.
  /// Messages follow what was enqueued on `queue` before them; the queue outlives the groups.
  Communicators(World& world, Queue& queue, const Mesh& mesh, const std::vector<AxisSet>& sets = {});

  Communicator& all() { return all_; }
  /// The ranks that differ from this one along `axes`: this rank alone where the mesh has none of them. It stays where
  /// it is for as long as these Communicators live. Throws LogicError for a set that nobody named when they were made.
  Communicator& group(const AxisSet& axes);

  const Mesh& mesh() const { return mesh_; }
  /// What this rank has handed over so far, in all its groups.
  std::uint64_t bytes_sent() const;

 private:
  void make(const AxisSet& axes);

  Mesh mesh_;
  Communicator all_;
  std::map<std::vector<std::string>, Communicator> groups_;  ///< by Mesh::spanned
};

}  // namespace penstock

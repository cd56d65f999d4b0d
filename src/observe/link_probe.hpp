// SPDX-License-Identifier: Apache-2.0
#pragma once
// LinkProbe: times a message between neighbours on each axis of the mesh, and finds slow links.

#include <string>
#include <vector>

#include "base/warning_limit.hpp"
#include "comm/communicators.hpp"
#include "mesh/mesh.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock {

class LinkProbe {
 public:
  /// A message of half a MiB, if there is room for it: it takes some 90 ms at 50 Mbit/s.
  static constexpr std::int64_t message_bytes = 512 << 10;
  /// Links slower than the median by more than this are named; links within hosts are compared with each other, and
  /// links between hosts with each other. A difference of less than a tenth of a millisecond is noise.
  static constexpr double tolerance = 1.1;
  static constexpr double noise_seconds = 1e-4;

  /// All references must outlive it. Messages use `idle`, memory that is free whenever links are timed, of the same
  /// size on every rank.
  LinkProbe(World& world, Queue& queue, Communicators& communicators, const Mesh& mesh, TensorView idle);

  /// Collective: on each axis every coordinate in turn sends to the next one, a few times; the shortest counts. Returns
  /// a warning for each slow link, the same on every rank.
  std::vector<Warning> slow_links();

 private:
  struct Link {
    int from = 0, to = 0;
    double seconds = 0;
    std::string axis;
  };
  /// The time of the link from this rank to the next; 0 in a group of one.
  double time_axis(Communicator& axis);
  double time_message(Communicator& axis, bool sends);
  std::vector<Link> links();

  World* world_;
  Queue* queue_;
  Communicators* communicators_;
  Mesh mesh_;
  TensorView message_, answer_;
  std::vector<std::string> hosts_;
};

}  // namespace penstock

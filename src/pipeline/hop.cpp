#include "pipeline/hop.hpp"

#include <algorithm>
#include <vector>

#include "base/clock.hpp"
#include "base/median.hpp"
#include "tensor/arena.hpp"

namespace penstock {

namespace {

/// Keeps the core busy, and MPI waiting.
void compute(double seconds) {
  for (const auto start = Clock::now(); seconds_since(start) < seconds;) {
  }
}

}  // namespace

// The lower rank of a pair asks, the upper one answers after it has computed: what the round trip takes beyond that is
// two hops. Pairs are (0, 1), (2, 3), ...
double measure_hop(Communicators& communicators, Queue& queue, const RankModel& model, double computing_seconds) {
  constexpr std::size_t round_trips = 15;
  constexpr double longest_computing_seconds = 0.01;  // a wait sleeps as deep as it ever does after half of that
  constexpr int tag = 0;                              // transfers between stages use tags from 2 on
  Communicator& pipeline = communicators.pipeline;
  const int own = pipeline.coordinate(), peer = own ^ 1;
  if (peer >= pipeline.size()) return 0;
  computing_seconds = std::min(computing_seconds, longest_computing_seconds);
  Arena memory(model.idle());
  const auto take = [&] {
    return memory.take(MemoryUse::buffers, model.shape().cut.compute, {model.shape().rows(), model.shape().width()});
  };
  const TensorView asked = take(), answer = take();
  const auto finish = [&](Event event) {
    pipeline.wait(event);
    queue.drain("a transfer that is measured");
  };
  std::vector<double> hops(round_trips);
  for (double& hop : hops) {
    if (own < peer) {
      compute(computing_seconds);
      const auto start = Clock::now();
      const Event sent = pipeline.send(asked, peer, tag), arrives = pipeline.receive(answer, peer, tag);
      compute(computing_seconds / 2);
      finish(arrives);
      hop = std::max(0.0, (seconds_since(start) - computing_seconds) / 2);
      finish(sent);
    } else {
      finish(pipeline.receive(asked, peer, tag));
      compute(computing_seconds);
      const Event sent = pipeline.send(answer, peer, tag);
      compute(computing_seconds);
      finish(sent);
    }
  }
  return median_of(std::move(hops));
}

}  // namespace penstock

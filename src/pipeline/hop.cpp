#include "pipeline/hop.hpp"

#include <algorithm>
#include <array>
#include <chrono>

#include "tensor/arena.hpp"

namespace penstock {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Keeps the core busy, and MPI waiting.
void compute(double seconds) {
  for (const auto start = Clock::now(); seconds_since(start) < seconds;) {
  }
}

}  // namespace

// The lower rank of a pair asks, the upper one answers after it has computed: what the round trip takes beyond that is
// two hops. Pairs are (0, 1), (2, 3), ...
double measure_hop(Communicators& communicators, Queue& queue, const ModelShape& shape, double computing_seconds) {
  constexpr std::size_t round_trips = 15;
  constexpr int tag = 0;  // transfers between stages use tags from 2 on
  Communicator& pipeline = communicators.pipeline;
  const int own = pipeline.coordinate(), peer = own ^ 1;
  if (peer >= pipeline.size()) return 0;
  const Tensor asked(shape.cut.compute, {shape.rows(), shape.width()}),
      answer(asked.view().type(), asked.view().shape());
  const auto finish = [&](Event event) {
    pipeline.wait(event);
    queue.drain("a transfer that is measured");
  };
  std::array<double, round_trips> hops{};
  for (double& hop : hops) {
    if (own < peer) {
      compute(computing_seconds);
      const auto start = Clock::now();
      const Event sent = pipeline.send(asked.view(), peer, tag), arrives = pipeline.receive(answer.view(), peer, tag);
      compute(computing_seconds / 2);
      finish(arrives);
      hop = std::max(0.0, (seconds_since(start) - computing_seconds) / 2);
      finish(sent);
    } else {
      finish(pipeline.receive(asked.view(), peer, tag));
      compute(computing_seconds);
      const Event sent = pipeline.send(answer.view(), peer, tag);
      compute(computing_seconds);
      finish(sent);
    }
  }
  std::nth_element(hops.begin(), hops.begin() + round_trips / 2, hops.end());
  return hops[round_trips / 2];
}

}  // namespace penstock

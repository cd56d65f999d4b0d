// SPDX-License-Identifier: Apache-2.0
#include "pipeline/transfer_times.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "base/median.hpp"
#include "tensor/arena.hpp"

namespace penstock {

namespace {

/// Keeps the core busy, so that MPI waits.
void compute(double seconds) {
  for (const auto start = Clock::now(); seconds_since(start) < seconds;) {
  }
}

/// Two neighbours; the lower one asks.
class Pair {
 public:
  Pair(Communicator& pipeline, Queue& queue, const RankModel& model, double computing_seconds)
      : pipeline_(&pipeline),
        queue_(&queue),
        peer_(pipeline.coordinate() ^ 1),
        computing_seconds_(computing_seconds),
        memory_(model.idle()),
        asked_(message(model)),
        answer_(message(model)),
        early_(message(model)) {}

  /// The round trip, minus the other's computing, is two hops. The second answer comes while this rank computes, so its
  /// time is only overhead; so is the launch of the question.
  TransferTimes ask() {
    compute(computing_seconds_);
    const auto start = Clock::now();
    const Event sent = pipeline_->send(asked_, peer_, tag);
    const double sending = seconds_since(start);
    const Event arrives = pipeline_->receive(answer_, peer_, tag);
    compute(computing_seconds_ / 2);
    finish(arrives);
    const double hop = std::max(0.0, (seconds_since(start) - computing_seconds_) / 2);
    const Event arrived = pipeline_->receive(early_, peer_, tag);
    compute(2 * (computing_seconds_ + hop));
    const auto late = Clock::now();
    finish(arrived);
    const double receiving = seconds_since(late);
    finish(sent);
    return {.hop = hop, .overhead = Queue::runs_behind_host() ? 0 : (sending + receiving) / 2};
  }

  void answer() {
    finish(pipeline_->receive(asked_, peer_, tag));
    compute(computing_seconds_);
    const Event sent = pipeline_->send(answer_, peer_, tag);
    compute(computing_seconds_);
    finish(sent);
    finish(pipeline_->send(early_, peer_, tag));
  }

 private:
  static constexpr int tag = 0;  // transfers between stages use tags from 2 on

  TensorView message(const RankModel& model) {
    return memory_.take(MemoryUse::buffers, model.shape().cut.compute, {model.shape().rows(), model.shape().width()});
  }

  void finish(Event event) {
    pipeline_->wait(event);
    queue_->drain("a transfer that is measured");
  }

  Communicator* pipeline_;
  Queue* queue_;
  int peer_;
  double computing_seconds_;
  Arena memory_;
  TensorView asked_, answer_, early_;
};

}  // namespace

// Pairs are (0, 1), (2, 3), ...
TransferTimes measure_transfers(Communicators& communicators, Queue& queue, const RankModel& model,
                                double computing_seconds) {
  constexpr std::size_t round_trips = 15;
  constexpr double longest_computing_seconds = 0.01;  // a wait sleeps as deep as it ever does after half of that
  Communicator& pipeline = communicators.group({Axis::pipeline});
  const int own = pipeline.coordinate(), peer = own ^ 1;
  if (peer >= pipeline.size()) return {};
  Pair pair(pipeline, queue, model, std::min(computing_seconds, longest_computing_seconds));
  std::vector<double> hops, overheads;
  for (std::size_t i = 0; i < round_trips; ++i)
    if (own < peer) {
      const TransferTimes times = pair.ask();
      hops.push_back(times.hop);
      overheads.push_back(times.overhead);
    } else {
      pair.answer();
    }
  if (hops.empty()) return {};
  return {.hop = median_of(std::move(hops)), .overhead = median_of(std::move(overheads))};
}

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#include "observe/link_probe.hpp"

#include <algorithm>
#include <sstream>

#include "base/clock.hpp"
#include "base/median.hpp"
#include "observe/outliers.hpp"

namespace penstock {

namespace {

constexpr int messages = 4;  // the first one sets up the connection
constexpr int tag = 0;

}  // namespace

LinkProbe::LinkProbe(World& world, Queue& queue, Communicators& communicators, const Mesh& mesh, TensorView idle)
    : world_(&world),
      queue_(&queue),
      communicators_(&communicators),
      mesh_(mesh),
      message_(idle.range(0, std::min(message_bytes, idle.elements() - 1))),
      answer_(idle.range(message_.elements(), 1)),
      hosts_(world.gather(World::host())) {}

// The answer is short, so the time is that of the message.
double LinkProbe::time_message(Communicator& axis, bool sends) {
  const int next = (axis.coordinate() + 1) % axis.size();
  const int before = (axis.coordinate() + axis.size() - 1) % axis.size();
  const auto start = Clock::now();
  if (sends) {
    axis.wait(axis.send(message_, next, tag));
    axis.wait(axis.receive(answer_, next, tag));
  } else {
    axis.wait(axis.receive(message_, before, tag));
    axis.wait(axis.send(answer_, before, tag));
  }
  queue_->drain("a message that is timed");
  return seconds_since(start);
}

// No rank sends and receives at the same time, so the two directions of a link are timed separately. Even coordinates
// send first, then odd ones; of an odd number the last one sends alone.
double LinkProbe::time_axis(Communicator& axis) {
  if (axis.size() == 1) return 0;
  const auto turn_of = [&](int sender) { return sender == axis.size() - 1 && axis.size() % 2 == 1 ? 2 : sender % 2; };
  const int before = (axis.coordinate() + axis.size() - 1) % axis.size();
  double shortest = 0;
  for (int turn = 0; turn < 3; ++turn) {
    world_->barrier();
    for (int repeat = 0; repeat < messages; ++repeat) {
      if (turn_of(before) == turn) time_message(axis, false);
      if (turn_of(axis.coordinate()) != turn) continue;
      const double took = time_message(axis, true);
      if (repeat > 0) shortest = shortest == 0 ? took : std::min(shortest, took);
    }
  }
  return shortest;
}

std::vector<LinkProbe::Link> LinkProbe::links() {
  std::vector<Link> links;
  for (const auto& [name, size] : mesh_.axes()) {
    const std::vector<std::string> all =
        world_->gather(fmt::format("{:.9g}", time_axis(communicators_->group({name}))));
    for (int rank = 0; rank < world_->size(); ++rank) {
      const std::vector<int> group = mesh_.group(rank, {name});
      const auto here = std::find(group.begin(), group.end(), rank) - group.begin();
      const int to = group[static_cast<std::size_t>(here + 1) % group.size()];
      if (to != rank) links.push_back({rank, to, std::stod(all[static_cast<std::size_t>(rank)]), name});
    }
  }
  return links;
}

std::vector<Warning> LinkProbe::slow_links() {
  std::vector<Warning> warnings;
  const std::vector<Link> all = links();
  for (const bool between_hosts : {false, true}) {
    std::vector<Link> alike;
    std::vector<double> seconds;
    for (const Link& link : all)
      if ((hosts_[static_cast<std::size_t>(link.from)] != hosts_[static_cast<std::size_t>(link.to)]) == between_hosts) {
        alike.push_back(link);
        seconds.push_back(link.seconds);
      }
    const double median = median_of(seconds);
    for (const Outlier& outlier : outliers(seconds, tolerance)) {
      const Link& link = alike[outlier.index];
      if (link.seconds - median < noise_seconds) continue;
      const std::string name = fmt::format("slow link: rank {} on {} to rank {} on {} ({} axis)", link.from,
                                           hosts_[static_cast<std::size_t>(link.from)], link.to,
                                           hosts_[static_cast<std::size_t>(link.to)], link.axis);
      warnings.push_back(
          {fmt::format("{}, {}", name, outlier.doublings()),
           fmt::format("{}: {:.1f} Mbit/s, {:.2f} times as long a message as the median of {} links {} hosts", name,
                       static_cast<double>(message_.bytes()) * 8e-6 / link.seconds, outlier.times_the_median,
                       alike.size(), between_hosts ? "between" : "inside")});
    }
  }
  return warnings;
}

}  // namespace penstock

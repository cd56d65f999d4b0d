// SPDX-License-Identifier: Apache-2.0
// Whether a message travels while its sender and its receiver compute: two ranks, a message alone, a computation alone,
// and both at once. scripts/bench_overlap runs it on two hosts with a link between them.
//     overlap_bench [BYTES] [COMPUTE_MILLISECONDS]

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <vector>

#include "comm/communicator.hpp"
#include "tensor/arena.hpp"

namespace penstock {
namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// A chain of multiplications that no compiler shortens.
double compute(std::int64_t rounds) {
  double value = 1;
  for (std::int64_t i = 0; i < rounds; ++i) value = value * 1.0000001 + 1e-9;
  return value;
}

volatile double kept = 0;

std::int64_t rounds_of(double milliseconds) {
  std::int64_t rounds = 1 << 16;
  for (;;) {
    const auto start = Clock::now();
    kept = compute(rounds);
    const double took = milliseconds_since(start);
    if (took > milliseconds) return static_cast<std::int64_t>(static_cast<double>(rounds) * milliseconds / took);
    rounds *= 2;
  }
}

double median_milliseconds(World& world, const std::function<void()>& work) {
  constexpr int repetitions = 21;
  std::vector<double> times;
  for (int i = 0; i < repetitions; ++i) {
    world.barrier();
    const auto start = Clock::now();
    work();
    times.push_back(milliseconds_since(start));
  }
  std::nth_element(times.begin(), times.begin() + repetitions / 2, times.end());
  return times[repetitions / 2];
}

int run(int argc, char** argv) {
  const std::int64_t bytes = argc > 1 ? std::atoll(argv[1]) : 2'200'000;
  const double wanted = argc > 2 ? std::atof(argv[2]) : 20;
  World world;
  if (world.size() != 2) throw_input_error("overlap_bench: {} ranks; start two", world.size());
  Queue queue;
  Communicator pipeline(world, queue, Mesh({{"pipeline", 2}}), {"pipeline"});
  const Tensor message(DType::uint8, {bytes});
  const std::int64_t rounds = rounds_of(wanted);

  const auto begin_transfer = [&] {
    return world.rank() == 0 ? pipeline.send(message.view(), 1, 2) : pipeline.receive(message.view(), 0, 2);
  };
  const double alone = median_milliseconds(world, [&] { pipeline.wait(begin_transfer()); });
  const double computing = median_milliseconds(world, [&] { kept = compute(rounds); });
  const double both = median_milliseconds(world, [&] {
    const Event transfer = begin_transfer();
    kept = compute(rounds);
    pipeline.wait(transfer);
  });
  const std::vector<std::string> lines = world.gather(
      fmt::format("{} on {}: message of {:.1f} MB alone {:.1f} ms, computing alone {:.1f} ms, both {:.1f} ms",
                  world.rank() == 0 ? "sender  " : "receiver", World::host(), static_cast<double>(bytes) * 1e-6, alone,
                  computing, both));
  if (world.rank() == 0)
    for (const std::string& line : lines) fmt::print("{}\n", line);
  return 0;
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) {
  try {
    return penstock::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return penstock::failure_of(error).exit_code;
  }
}

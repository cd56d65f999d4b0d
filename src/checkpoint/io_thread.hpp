// SPDX-License-Identifier: Apache-2.0
#pragma once
// The only thread of a process that calls HDF5, and how others wait for it.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <string_view>
#include <thread>
#include <type_traits>

#include "base/clock.hpp"
#include "comm/world.hpp"

namespace penstock {

/// Runs functions one after the other, in the order of submission, on a thread of its own. All HDF5 calls of a process
/// come from its one IoThread. The destructor runs what is queued and then ends the thread.
class IoThread {
 public:
  IoThread();
  ~IoThread();
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  /// The future gets the result or exception of `function`. Throws SystemError if the thread was abandoned.
  template <typename Function>
  auto run(Function function) -> std::future<std::invoke_result_t<Function&>> {
    using Result = std::invoke_result_t<Function&>;
    auto task = std::make_shared<std::packaged_task<Result()>>(std::move(function));
    std::future<Result> result = task->get_future();
    add([task] { (*task)(); });
    return result;
  }

  /// Gives up a job that does not end (a damaged file made HDF5 loop): the thread is left running, and this IoThread
  /// runs nothing more. The lost job must own what it uses.
  void abandon();
  bool abandoned() const { return !thread_.joinable(); }

 private:
  struct Jobs;
  static void work(const std::shared_ptr<Jobs>& jobs);
  void add(std::function<void()> job);

  std::shared_ptr<Jobs> jobs_;  // shared with the thread, which may outlive this object when abandoned
  std::jthread thread_;
};

template <typename T>
bool is_ready(const std::future<T>& result) {
  return result.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

/// Whether the future is ready, now or after a short sleep of this thread. Spinning would only take the core of the
/// thread that it waits for. Messages in flight may wait that long.
template <typename T>
bool gets_ready(const std::future<T>& result) {
  return result.wait_for(std::chrono::microseconds(200)) == std::future_status::ready;
}

/// Waits for a job through World::wait_until and returns its value or throws its exception.
template <typename T>
T wait_for(World& world, std::future<T> result, std::string_view what) {
  world.wait_until([&] { return gets_ready(result); }, what);
  return result.get();
}

/// The progress of a reading job, in bytes; a reader without progress for long is stuck in a damaged file.
class Progress {
 public:
  void advance(std::uint64_t bytes) { bytes_.fetch_add(bytes, std::memory_order_relaxed); }
  std::uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> bytes_{0};
};

/// How the caller's thread waits: through a rank's World, or, without MPI, by sleeping.
using WaitUntil = std::function<void(const std::function<bool()>& done)>;
WaitUntil wait_under(World& world, std::string_view what);
WaitUntil wait_by_sleeping();

inline constexpr double default_quiet_seconds = 60;

/// Throws InputError: reading `file` made no progress for so long that the file must be damaged.
[[noreturn]] void throw_stuck_reader(const std::filesystem::path& file, double quiet_seconds);

/// Runs `read(Progress&)` on the I/O thread and returns its value. One flipped bit can make HDF5 loop forever: after
/// `quiet_seconds` without progress the thread is abandoned, and InputError says that `file` is damaged. `read` is
/// copied; it must own what it uses, or use objects that live until the process ends.
template <typename Function>
auto run_reading(IoThread& io, const std::filesystem::path& file, const WaitUntil& wait_until, Function read,
                 double quiet_seconds = default_quiet_seconds) -> std::invoke_result_t<Function&, Progress&> {
  auto progress = std::make_shared<Progress>();
  auto result = io.run([progress, read]() mutable { return read(*progress); });
  while (!is_ready(result)) {
    const std::uint64_t seen = progress->bytes();
    const auto since = Clock::now();
    const auto quiet = [&] { return seconds_since(since) > quiet_seconds; };
    wait_until([&] { return is_ready(result) || progress->bytes() != seen || quiet(); });
    if (!is_ready(result) && progress->bytes() == seen) {
      io.abandon();
      throw_stuck_reader(file, quiet_seconds);
    }
  }
  return result.get();
}

}  // namespace penstock

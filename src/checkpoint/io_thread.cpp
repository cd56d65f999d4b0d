// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/io_thread.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>

namespace penstock {

struct IoThread::Jobs {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> queue;
  bool ended = false;
};

IoThread::IoThread() : jobs_(std::make_shared<Jobs>()), thread_([jobs = jobs_] { work(jobs); }) {}

IoThread::~IoThread() {
  const std::lock_guard lock(jobs_->mutex);
  jobs_->ended = true;
  jobs_->changed.notify_all();
}  // thread_ joins, unless it was abandoned

void IoThread::work(const std::shared_ptr<Jobs>& jobs) {
  for (;;) {
    std::unique_lock lock(jobs->mutex);
    jobs->changed.wait(lock, [&] { return jobs->ended || !jobs->queue.empty(); });
    if (jobs->queue.empty()) return;
    const std::function<void()> job = std::move(jobs->queue.front());
    jobs->queue.pop_front();
    lock.unlock();
    job();
  }
}

void IoThread::add(std::function<void()> job) {
  if (abandoned())
    throw SystemError("the I/O thread of this process was given up in a damaged file; start the program again");
  const std::lock_guard lock(jobs_->mutex);
  jobs_->queue.push_back(std::move(job));
  jobs_->changed.notify_all();
}

void IoThread::abandon() {
  if (abandoned()) return;
  const std::lock_guard lock(jobs_->mutex);
  jobs_->queue.clear();
  jobs_->ended = true;
  thread_.detach();
}

WaitUntil wait_under(World& world, std::string_view what) {
  return [&world, text = std::string(what)](const std::function<bool()>& done) { world.wait_until(done, text); };
}

WaitUntil wait_by_sleeping() {
  return [](const std::function<bool()>& done) {
    while (!done()) std::this_thread::sleep_for(std::chrono::microseconds(200));
  };
}

void throw_stuck_reader(const std::filesystem::path& file, double quiet_seconds) {
  throw_input_error(
      "{}: damaged: HDF5 read nothing for {:.0f} s and was given up; use another checkpoint (`penstock checkpoint "
      "list` "
      "shows them)",
      file.string(), quiet_seconds);
}

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#include "comm/watchdog.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <utility>

#include "base/fault.hpp"

namespace penstock {

namespace {

constexpr double others_wait_seconds = 1.2;   // the time rank 0 has to report before another rank does
constexpr double words_travel_seconds = 0.5;  // the time printed text has to reach the launcher's output
constexpr double leave_seconds = 2.5;         // the time MPI_Abort has to end the job
constexpr double worth_telling_seconds = 0.01;

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::chrono::duration<double> seconds(double count) { return std::chrono::duration<double>(count); }

// Exiting from here runs no destructor: other threads may be stuck anywhere.
void exit_soon() {
  std::thread([] {
    std::this_thread::sleep_for(seconds(leave_seconds));
    _exit(1);
  }).detach();
}

}  // namespace

Watchdog::Wait::Wait(Watchdog& watchdog, Kind kind) : watchdog_(&watchdog), kind_(kind) {
  watchdog.note_place();
  const std::lock_guard lock(watchdog.mutex_);
  since_ = now_seconds();
  watchdog.waits_.push_back(this);
}

Watchdog::Wait::~Wait() {
  const std::lock_guard lock(watchdog_->mutex_);
  std::erase(watchdog_->waits_, this);
  watchdog_->roll_.own().moved = now_seconds();
}

void Watchdog::Wait::tell(const Awaited& what) {
  watchdog_->note_place();
  const bool has_row = std::this_thread::get_id() == watchdog_->owner_ && watchdog_->place_.row;
  std::string row = has_row ? watchdog_->place_.row() : std::string();
  const std::lock_guard lock(watchdog_->mutex_);
  what_ = what;
  if (has_row) watchdog_->row_ = std::move(row);
}

void Watchdog::Wait::renew() {
  const std::lock_guard lock(watchdog_->mutex_);
  since_ = watchdog_->roll_.own().moved = now_seconds();
}

Watchdog::Watchdog(int rank, int size, std::function<void()> abort_job)
    : abort_job_(std::move(abort_job)), roll_(rank, size, now_seconds()), awake_since_(now_seconds()) {
  for (int r = 0; r < size; ++r) names_.push_back(fmt::format("rank {}", r));
  thread_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
}

Watchdog::~Watchdog() {
  thread_.request_stop();
  thread_.join();
}

void Watchdog::moved() {
  note_place();
  const std::lock_guard lock(mutex_);
  const double now = roll_.own().moved = now_seconds();
  for (Wait* wait : waits_)
    if (wait->kind_ == Wait::Kind::enclosing) wait->since_ = now;
}

void Watchdog::set_deadline(double seconds) {
  const std::lock_guard lock(mutex_);
  deadline_seconds_ = seconds;
  stopped_.notify_all();
}

double Watchdog::deadline() const {
  const std::lock_guard lock(mutex_);
  return deadline_seconds_;
}

void Watchdog::set_names(std::vector<std::string> names) {
  const std::lock_guard lock(mutex_);
  names_ = std::move(names);
}

void Watchdog::set_place(PlaceSource source) { place_ = std::move(source); }

void Watchdog::set_keeper(FailureKeeper keeper) {
  const std::lock_guard lock(mutex_);
  keeper_ = std::move(keeper);
}

// The source reads what its thread is changing, so no other thread may ask it.
void Watchdog::note_place() {
  if (std::this_thread::get_id() != owner_ || !place_.place) return;
  const Place place = place_.place();
  const std::lock_guard lock(mutex_);
  roll_.own().place = place;
}

// The oldest wait is reported, except waits that enclose others.
void Watchdog::note_wait(double now) {
  const auto oldest = std::min_element(waits_.begin(), waits_.end(), [](const Wait* a, const Wait* b) {
    return std::pair(a->kind_, a->since_) < std::pair(b->kind_, b->since_);
  });
  RankState& own = roll_.own();
  own.waits_for = {};
  if (oldest == waits_.end() || now - (*oldest)->since_ < worth_telling_seconds) return;
  own.waits_for = (*oldest)->what_.empty() ? Awaited("another rank") : (*oldest)->what_;
  own.waits_since = (*oldest)->since_;
}

std::vector<RankState> Watchdog::beat() {
  const std::lock_guard lock(mutex_);
  const double now = now_seconds();
  note_wait(now);
  return roll_.beat(now);
}

void Watchdog::hear(const std::vector<RankState>& states) {
  const std::lock_guard lock(mutex_);
  roll_.hear(states, now_seconds());
  if (planted(Fault::silent_watchdog)) roll_.own().moved = now_seconds();
}

bool Watchdog::ending() const {
  const std::lock_guard lock(mutex_);
  return roll_.own().ending;
}

// A twentieth of the deadline, at most a second; less often with many ranks, so that the traffic stays small.
double Watchdog::beat_seconds() const {
  const std::lock_guard lock(mutex_);
  return std::clamp(deadline_seconds_ / 20, 0.05, 1.0) * std::max(1.0, roll_.size() / 1000.0);
}

// News reaches all ranks in about as many beats as their number has binary digits; a few may be late.
double Watchdog::patience_seconds() const {
  return beat_seconds() * (5 + std::ceil(std::log2(static_cast<double>(roll_.size()))));
}

void Watchdog::watch(const std::stop_token& stop) {
  double looked = now_seconds();
  while (!stop.stop_requested()) {
    std::unique_lock lock(mutex_);
    const double pause = std::clamp(deadline_seconds_ / 40, 0.02, 0.25);
    stopped_.wait_for(lock, stop, seconds(pause), [] { return false; });
    const double now = now_seconds();
    if (now - looked > 2 + 10 * pause) awake_since_ = now;  // the process was stopped, so its waits do not count
    looked = now;
    const std::optional<Trouble> trouble = look(now);
    lock.unlock();
    if (trouble) report(*trouble);
  }
}

// What this rank must report now.
std::optional<Watchdog::Trouble> Watchdog::look(double now) {
  for (const Wait* wait : waits_) {
    const double alone = now - std::max({wait->since_, roll_.last_move(), awake_since_});
    if (alone > deadline_seconds_) roll_.own().ending = true;
  }
  const int rank = roll_.own().ending ? roll_.rank() : roll_.first_ending();
  if (rank < 0) return std::nullopt;
  if (ending_since_ == 0) ending_since_ = now;
  if (roll_.rank() != 0 && now - ending_since_ < others_wait_seconds) return std::nullopt;
  note_wait(now);
  const RankState& state = roll_.of(rank);
  return Trouble{rank, fmt::format("waited {:.0f} s (watchdog.seconds = {:g}) for {}", now - state.waits_since,
                                   deadline_seconds_, state.waits_for.text())};
}

void Watchdog::report(const Trouble& trouble) {
  {
    const std::lock_guard lock(mutex_);
    if (leaving_) return;  // another thread does
    leaving_ = true;
  }
  exit_soon();
  const double patience = patience_seconds();
  std::unique_lock lock(mutex_);
  const double now = now_seconds();
  note_wait(now);
  const FailureReport report = failure_report(roll_, {.rank = trouble.rank,
                                                      .what = trouble.what,
                                                      .row = trouble.rank == roll_.rank() ? row_ : "",
                                                      .names = names_,
                                                      .now = now,
                                                      .patience_seconds = patience});
  const FailureKeeper keeper = keeper_;
  lock.unlock();
  const auto print = [&] {
    std::fprintf(stderr, "penstock: %s", report.text.c_str());
    std::fflush(stderr);
  };
  const bool speaks = roll_.rank() == 0 && trouble.of_wait;  // even if the file fails: no other rank came first
  if (speaks) print();
  bool first = true;
  try {
    if (keeper) first = keeper(report);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "penstock: the report could not be kept: %s\n", error.what());
  }
  if (!speaks && first) print();
  // An abort ends the launcher's proxies, and loses what they have not yet passed on of this or another rank's report.
  std::this_thread::sleep_for(seconds(words_travel_seconds));
  abort_job_();
}

void Watchdog::end_job(const std::string& what) {
  note_place();
  const bool has_row = std::this_thread::get_id() == owner_ && place_.row;
  const std::string row = has_row ? place_.row() : std::string();
  {
    const std::lock_guard lock(mutex_);
    if (has_row) row_ = row;
  }
  report({.rank = roll_.rank(), .what = what, .of_wait = false});
  for (;;) pause();  // the process ends within seconds
}

}  // namespace penstock

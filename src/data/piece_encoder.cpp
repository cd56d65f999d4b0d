// SPDX-License-Identifier: Apache-2.0
#include "data/piece_encoder.hpp"

#include <sched.h>

#include <algorithm>

namespace penstock {

std::size_t usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return std::max(1U, std::thread::hardware_concurrency());
  return static_cast<std::size_t>(std::max(1, CPU_COUNT(&set)));
}

PieceEncoder::PieceEncoder(const Tokenizer& tokenizer, std::size_t threads, Take take)
    : tokenizer_(tokenizer), take_(std::move(take)) {
  for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { serve(); });
}

PieceEncoder::~PieceEncoder() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  to_do_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void PieceEncoder::serve() {
  EncoderScratch scratch;
  std::unique_lock lock(mutex_);
  while (true) {
    to_do_.wait(lock, [&] { return closing_ || next_ < works_.size(); });
    if (closing_) return;
    Work& work = works_[next_++];
    lock.unlock();
    try {
      work.losses = tokenizer_.encode(work.piece.text, work.piece.goes_on, work.ids, scratch);
    } catch (...) {
      work.failure = std::current_exception();
    }
    lock.lock();
    work.done = true;
    done_.notify_one();
  }
}

void PieceEncoder::take_oldest() {
  std::unique_lock lock(mutex_);
  done_.wait(lock, [&] { return works_.front().done; });
  Work work = std::move(works_.front());
  works_.pop_front();
  --next_;
  lock.unlock();
  if (work.failure) std::rethrow_exception(work.failure);
  take_(work.piece, std::move(work.ids), work.losses);
}

void PieceEncoder::add(TextPiece piece) {
  {
    const std::lock_guard lock(mutex_);
    works_.push_back({std::move(piece)});
  }
  to_do_.notify_one();
  while (works_.size() > most_under_way * threads_.size()) take_oldest();  // only this thread adds and takes
}

void PieceEncoder::finish() {
  while (!works_.empty()) take_oldest();
}

}  // namespace penstock

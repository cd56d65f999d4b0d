// SPDX-License-Identifier: Apache-2.0
#include "data/piece_encoder.hpp"

#include <system_error>

#include "base/error.hpp"
#include "base/log.hpp"

namespace penstock {

PieceEncoder::PieceEncoder(const Tokenizer& tokenizer, std::size_t threads, Take take, const Start& start)
    : tokenizer_(tokenizer), take_(std::move(take)) {
  start_threads(threads, start);
}

// A limit on processes or memory may allow fewer threads than there are cores.
void PieceEncoder::start_threads(std::size_t wanted, const Start& start) {
  threads_.reserve(wanted);  // nothing but `start` throws once a thread runs
  try {
    while (threads_.size() < wanted) threads_.push_back(start([this] { serve(); }));
  } catch (const std::system_error& error) {
    if (threads_.empty())
      throw SystemError(fmt::format(
          "cannot start a thread that encodes text ({}), not one of {}; raise the limits on processes (ulimit -u, "
          "pids.max) and memory (ulimit -v)",
          error.code().message(), wanted));
    log_warning("text is encoded by {} threads, not {}: the system starts no more ({})", threads_.size(), wanted,
                error.code().message());
  }
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

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Text to ids on several threads, piece by piece, in order.

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tokenizer/tokenizer.hpp"

namespace penstock {

/// A piece of text: a text's beginning, or the right side of a cut.
struct TextPiece {
  std::string text;
  bool goes_on = false;
  bool begins_document = false;
  bool ends_document = false;
  bool counted = true;     // its tokens, in the loss
  bool held_back = false;  // from the file of the others
};

/// Threads encode; the caller's thread takes what is done. At most `most_under_way` pieces a thread are in memory.
class PieceEncoder {
 public:
  using Take = std::function<void(const TextPiece& piece, std::vector<TokenId>&& ids, const TextLosses& losses)>;

  /// Makes a thread of what it is to run, or throws std::system_error; tests put another one here.
  using Start = std::function<std::thread(std::function<void()> run)>;

  /// `take` is called for each piece, in the order in which they were added, from within add and finish. Where the
  /// system starts fewer than `threads` threads, those that it starts do the work; throws SystemError where it starts
  /// none.
  PieceEncoder(const Tokenizer& tokenizer, std::size_t threads, Take take, const Start& start = start_thread);
  ~PieceEncoder();
  PieceEncoder(const PieceEncoder&) = delete;
  PieceEncoder& operator=(const PieceEncoder&) = delete;

  /// Waits where too many pieces are under way. Rethrows what an earlier piece threw.
  void add(TextPiece piece);
  /// Waits for all pieces.
  void finish();

 private:
  struct Work {
    TextPiece piece;
    std::vector<TokenId> ids = {};
    TextLosses losses = {};
    std::exception_ptr failure = nullptr;
    bool done = false;
  };

  static std::thread start_thread(std::function<void()> run) { return std::thread(std::move(run)); }
  void start_threads(std::size_t wanted, const Start& start);
  void serve();
  void take_oldest();

  static constexpr std::size_t most_under_way = 8;

  Tokenizer tokenizer_;
  Take take_;
  std::mutex mutex_;
  std::condition_variable to_do_, done_;
  std::deque<Work> works_;  // the oldest first; its entries stay where they are
  std::size_t next_ = 0;    // of works_: the first that no thread has begun
  bool closing_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace penstock

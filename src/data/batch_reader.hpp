// SPDX-License-Identifier: Apache-2.0
#pragma once
// Brings the tokens of the coming steps into memory while the present one computes.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "data/batch_plan.hpp"
#include "data/microbatch.hpp"
#include "data/token_file.hpp"

namespace penstock {

/// The samples of one data coordinate in one step.
struct StepBatch {
  std::vector<Microbatch> microbatches;
  bool operator==(const StepBatch&) const = default;
};

struct BatchReaderOptions {
  int data_coordinate = 0;
  int sequence = 0;                 // tokens of a sample, without the last target
  std::uint64_t samples_drawn = 0;  // before the first step to read
  int steps_ahead = 2;              // the most that memory holds, besides the one being read
};

/// Owns the file and a thread that reads ahead. One thread calls batch(); neither copied nor moved.
class BatchReader {
 public:
  BatchReader(TokenFile file, const BatchPlan& plan, const BatchReaderOptions& options);
  /// Ends the thread, at the latest after the sample that it is reading.
  ~BatchReader() = default;
  BatchReader(const BatchReader&) = delete;
  BatchReader& operator=(const BatchReader&) = delete;

  /// The batch of the step that begins after `samples_drawn` samples. Expects consecutive steps (each samples_per_step
  /// further); any other step is allowed, too, and reading ahead restarts there. Waits for the disk if it is slower
  /// than the steps. Throws the error of reading this step (see TokenFile::read).
  StepBatch batch(std::uint64_t samples_drawn);

  const BatchPlan& plan() const { return plan_; }
  const TokenFile& file() const { return file_; }

 private:
  void read_ahead(const std::stop_token& stop);
  /// None if it was asked to stop before the end.
  std::optional<StepBatch> read_step(std::uint64_t samples_drawn, const std::stop_token& stop) const;
  bool may_read() const { return !error_ && ready_.size() < steps_ahead_; }
  void restart(std::uint64_t samples_drawn);

  const TokenFile file_;
  const BatchPlan plan_;
  const int data_coordinate_;
  const int sequence_;
  const std::size_t steps_ahead_;

  std::mutex mutex_;  // guards the following members
  std::condition_variable_any changed_;
  std::deque<StepBatch> ready_;
  std::uint64_t ready_from_;            // samples_drawn of the first step in ready_
  std::uint64_t read_from_;             // samples_drawn of the step that is read next
  std::uint64_t restarts_ = 0;          // a step read before the last restart is discarded
  std::exception_ptr error_ = nullptr;  // of the step after ready_

  std::jthread reader_;  // last, so that it ends before what it uses
};

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#include "data/batch_reader.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"
#include "base/fault.hpp"

namespace penstock {

BatchReader::BatchReader(TokenFile file, const BatchPlan& plan, const BatchReaderOptions& options)
    : file_(std::move(file)),
      plan_(plan),
      data_coordinate_(options.data_coordinate),
      sequence_(options.sequence),
      steps_ahead_(static_cast<std::size_t>(std::max(options.steps_ahead, 1))),
      ready_from_(options.samples_drawn),
      read_from_(planted(Fault::lost_offset) ? 0 : options.samples_drawn) {
  ensure(data_coordinate_ >= 0 && data_coordinate_ < plan_.options().data_ranks,
         "BatchReader: no such data coordinate");
  ensure(plan_.options().samples_in_file <= samples_in_file(file_.header(), file_.path(), sequence_),
         "BatchReader: the plan counts more samples than the file holds");
  reader_ = std::jthread([this](const std::stop_token& stop) { read_ahead(stop); });
}

StepBatch BatchReader::batch(std::uint64_t samples_drawn) {
  std::unique_lock lock(mutex_);
  if (samples_drawn != ready_from_) restart(samples_drawn);
  changed_.wait(lock, [this] { return !ready_.empty() || error_; });
  if (ready_.empty()) std::rethrow_exception(error_);
  StepBatch batch = std::move(ready_.front());
  ready_.pop_front();
  ready_from_ += plan_.samples_per_step();
  changed_.notify_all();
  return batch;
}

void BatchReader::restart(std::uint64_t samples_drawn) {
  ready_.clear();
  error_ = nullptr;
  ready_from_ = read_from_ = samples_drawn;
  ++restarts_;
  changed_.notify_all();
}

void BatchReader::read_ahead(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return may_read(); }) && !stop.stop_requested()) {
    const std::uint64_t samples_drawn = read_from_;
    const std::uint64_t restarts = restarts_;
    std::optional<StepBatch> step;
    std::exception_ptr error;
    lock.unlock();
    try {
      step = read_step(samples_drawn, stop);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (restarts != restarts_) continue;
    error_ = error;
    if (step) ready_.push_back(std::move(*step));
    if (step) read_from_ += plan_.samples_per_step();
    changed_.notify_all();
  }
}

std::optional<StepBatch> BatchReader::read_step(std::uint64_t samples_drawn, const std::stop_token& stop) const {
  const int samples = plan_.options().micro_batch;
  const std::size_t tokens = static_cast<std::size_t>(samples) * static_cast<std::size_t>(sequence_);
  StepBatch step;
  step.microbatches.resize(static_cast<std::size_t>(plan_.microbatches()));
  for (int b = 0; b < plan_.microbatches(); ++b) {
    Microbatch& microbatch = step.microbatches[static_cast<std::size_t>(b)];
    microbatch.first_sample = plan_.first_sample(samples_drawn, data_coordinate_, b);
    microbatch.tokens.reserve(tokens);
    microbatch.targets.reserve(tokens);
    for (int i = 0; i < samples; ++i) {
      if (stop.stop_requested()) return std::nullopt;
      const std::uint64_t number = microbatch.first_sample + static_cast<std::uint64_t>(i);
      append_samples(file_, plan_.file_sample(number), 1, sequence_, microbatch);
    }
  }
  return step;
}

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#include "train/steps_under_way.hpp"

#include <utility>

#include "base/fault.hpp"

namespace penstock {

void StepsUnderWay::begin(const TrainingPosition& position, std::unique_ptr<BatchReader> reader) {
  position_ = position;
  reader_ = std::move(reader);
}

const LaunchedStep& StepsUnderWay::read_next() {
  const auto ahead = static_cast<std::int64_t>(launched_.size());
  const std::int64_t update = position_.step + ahead + 1;
  const std::int64_t horizon = planted(Fault::rate_of_attempt) ? last_step_ : config_->run.steps;
  LaunchedStep next{.batch = {},
                    .values = {.update = update,
                               .learning_rate = learning_rate(config_->optimizer, update, horizon),
                               .tokens = config_->tokens_per_step()}};
  const std::uint64_t samples = position_.samples + static_cast<std::uint64_t>(ahead * config_->batch.global);
  world_->together([&] { next.batch = reader_->batch(samples); });
  return launched_.emplace_back(std::move(next));
}

FinishedStep StepsUnderWay::finish() {
  const StepResult result = executor_->finish();
  LaunchedStep oldest = std::move(launched_.front());
  launched_.pop_front();
  return {.batch = std::move(oldest.batch), .values = oldest.values, .result = result};
}

void StepsUnderWay::drop() {
  for (; !launched_.empty(); launched_.pop_front()) executor_->finish();
}

MetricsRow StepsUnderWay::count(const FinishedStep& step, double seconds) {
  position_.step = step.values.update;
  position_.samples += static_cast<std::uint64_t>(config_->batch.global);
  position_.tokens += config_->tokens_per_step();
  return {.step = position_.step,
          .tokens = position_.tokens,
          .loss = step.result.loss,
          .gradient_norm = step.result.gradient_norm,
          .learning_rate = step.values.learning_rate,
          .seconds = seconds,
          .tokens_per_second = static_cast<double>(config_->tokens_per_step()) / seconds,
          .validation_loss = {},
          .skipped = false};
}

}  // namespace penstock

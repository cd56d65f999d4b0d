// SPDX-License-Identifier: Apache-2.0
#include "data/batch_plan.hpp"

#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/suggest.hpp"
#include "data/permutation.hpp"

namespace penstock {
namespace {

void check_at_least_one(std::string_view name, int value) {
  if (value < 1) throw_input_error("{} = {}: must be at least 1", name, value);
}

/// The multiples of `unit` on both sides of `number`: "12 or 18"; 0 does not count.
std::string multiples_beside(std::int64_t number, std::int64_t unit) {
  const std::int64_t below = number / unit * unit;
  return below == 0 ? fmt::format("{}", unit) : fmt::format("{} or {}", below, below + unit);
}

void check_division(std::int64_t global, std::int64_t micro, std::int64_t data) {
  if (global % (micro * data) == 0) return;
  std::string cures = fmt::format("use batch.global = {}", multiples_beside(global, micro * data));
  if (global % data == 0) cures += fmt::format(", or batch.micro = {}", divisors_text(global / data));
  if (global % micro == 0) cures += fmt::format(", or mesh.data = {}", divisors_text(global / micro));
  throw_input_error(
      "batch.global = {} is not divisible by batch.micro * mesh.data = {} * {} = {}: every data rank works "
      "through the same number of whole microbatches; {}",
      global, micro, data, micro * data, cures);
}

}  // namespace

BatchPlan::BatchPlan(const BatchPlanOptions& options) : options_(options) {
  check_at_least_one("batch.global", options.global_batch);
  check_at_least_one("batch.micro", options.micro_batch);
  check_at_least_one("mesh.data", options.data_ranks);
  check_division(options.global_batch, options.micro_batch, options.data_ranks);
  ensure(options.samples_in_file >= 1, "BatchPlan: the file holds no sample");
}

std::uint64_t BatchPlan::first_sample(std::uint64_t samples_drawn, int data_coordinate, int microbatch) const {
  ensure(data_coordinate >= 0 && data_coordinate < options_.data_ranks, "BatchPlan: no such data coordinate");
  ensure(microbatch >= 0 && microbatch < microbatches(), "BatchPlan: no such microbatch");
  const int microbatches_before = data_coordinate * microbatches() + microbatch;
  return samples_drawn +
         static_cast<std::uint64_t>(microbatches_before) * static_cast<std::uint64_t>(options_.micro_batch);
}

std::uint64_t BatchPlan::file_sample(std::uint64_t sample_number) const {
  const std::uint64_t n = options_.samples_in_file;
  return Permutation(options_.seed, sample_number / n, n)(sample_number % n);
}

}  // namespace penstock

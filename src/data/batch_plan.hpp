// SPDX-License-Identifier: Apache-2.0
#pragma once
// The samples of a step: a pure function of (seed, sample number), whatever the mesh.

#include <cstdint>

namespace penstock {

struct BatchPlanOptions {
  std::uint64_t seed = 0;
  std::uint64_t samples_in_file = 0;  // n
  int global_batch = 0;               // samples of a step, all data ranks together
  int micro_batch = 0;                // samples of a microbatch
  int data_ranks = 1;                 // size of the mesh's data axis
  bool operator==(const BatchPlanOptions&) const = default;
};

/// Samples are numbered as they are drawn, 0, 1, 2, ..., over all steps and epochs. A step that begins after
/// `samples_drawn` takes the next `global_batch` numbers; a step may span two epochs. Since only numbers count, a run
/// that continues with another batch size or mesh continues with the next unseen sample.
class BatchPlan {
 public:
  /// Throws InputError if a number is below 1 or batch.global is no multiple of batch.micro * mesh.data.
  explicit BatchPlan(const BatchPlanOptions& options);

  /// Microbatches of a data rank in a step: global / (micro * data).
  int microbatches() const { return options_.global_batch / (options_.micro_batch * options_.data_ranks); }
  std::uint64_t samples_per_step() const { return static_cast<std::uint64_t>(options_.global_batch); }
  /// Number of the first sample of a microbatch; the others follow it. Data coordinate d has the d-th contiguous block
  /// of the step's numbers, and microbatch b the b-th run of `micro_batch` in it.
  std::uint64_t first_sample(std::uint64_t samples_drawn, int data_coordinate, int microbatch) const;
  /// The place in the file of the sample with this number: epoch = number / n, and the epoch's permutation of [0, n) at
  /// number % n. Every sample of the file comes once an epoch.
  std::uint64_t file_sample(std::uint64_t sample_number) const;

  const BatchPlanOptions& options() const { return options_; }
  bool operator==(const BatchPlan&) const = default;

 private:
  BatchPlanOptions options_;
};

}  // namespace penstock

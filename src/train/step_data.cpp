// SPDX-License-Identifier: Apache-2.0
#include "train/step_data.hpp"

#include "plan/make_plan.hpp"
#include "run/data_stage.hpp"

namespace penstock {

void stage_data(World& world, RunSetup& setup) {
  const RunConfig& config = setup.config();
  if (config.data.stage.empty()) return;
  std::vector<std::filesystem::path> files{setup.train_file};
  if (setup.validation_header) files.push_back(setup.validation_file);
  files = stage_files(world, files, config.data.stage, config.watchdog.seconds);
  setup.train_file = files.front();
  if (setup.validation_header) setup.validation_file = files.back();
}

std::unique_ptr<BatchReader> open_reader(World& world, const RunSetup& setup, std::uint64_t samples) {
  const RunConfig& config = setup.config();
  const int sequence = static_cast<int>(config.data.sequence);
  return world.make_together([&] {
    const BatchPlan plan({.seed = static_cast<std::uint64_t>(config.run.seed),
                          .samples_in_file = samples_in_file(setup.train_header, config.data.train, sequence),
                          .global_batch = static_cast<int>(config.batch.global),
                          .micro_batch = static_cast<int>(config.batch.micro),
                          .data_ranks = static_cast<int>(config.mesh.data)});
    return std::make_unique<BatchReader>(
        TokenFile(setup.train_file, setup.train_header), plan,
        BatchReaderOptions{.data_coordinate = MeshPlace(setup.mesh, world.rank()).at(Axis::data),
                           .sequence = sequence,
                           .samples_drawn = samples});
  });
}

StepTokens tokens_of(const StepBatch& batch) {
  StepTokens tokens;
  for (const Microbatch& m : batch.microbatches)
    tokens.microbatches.push_back({m.first_sample, m.tokens.data(), m.targets.data()});
  return tokens;
}

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#include "train/evaluation.hpp"

#include <algorithm>
#include <optional>

#include "pipeline/evaluation_schedule.hpp"
#include "plan/make_plan.hpp"
#include "train/step_data.hpp"

namespace penstock {

// Data rank d takes the d-th contiguous part of the samples, in rounds of as many microbatches as the training step has
// room for.
double evaluate(World& world, const RunSetup& setup, Engine& engine, std::int64_t step) {
  const RunConfig& config = setup.config();
  const std::int64_t share = config.validation.samples / config.mesh.data, micro = config.batch.micro;
  const std::int64_t first = MeshPlace(setup.mesh, world.rank()).at(Axis::data) * share;
  const std::int64_t tokens_in_all = config.validation.samples * config.data.sequence;
  std::optional<TokenFile> file;
  world.together([&] { file.emplace(setup.validation_file, *setup.validation_header); });
  double loss = 0;
  for (std::int64_t done = 0; done < share;) {
    const std::int64_t microbatches = std::min(setup.plan.microbatches(), (share - done) / micro);
    StepBatch batch;
    world.together([&] {
      for (std::int64_t m = 0; m < microbatches; ++m)
        batch.microbatches.push_back(read_samples(*file, static_cast<std::uint64_t>(first + done + m * micro),
                                                  static_cast<int>(micro), static_cast<int>(config.data.sequence)));
    });
    const Schedule schedule = evaluation_schedule(setup.plan.schedule, static_cast<int>(microbatches));
    const RowPlan row = engine.model().row_of(schedule);
    loss += engine.executor().evaluate(row, tokens_of(batch),
                                       {.update = step, .learning_rate = 0, .tokens = tokens_in_all});
    done += microbatches * micro;
  }
  return loss;
}

}  // namespace penstock

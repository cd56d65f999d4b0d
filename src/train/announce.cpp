// SPDX-License-Identifier: Apache-2.0
#include "train/announce.hpp"

#include <unistd.h>

#include <algorithm>

#include "base/log.hpp"
#include "device/device.hpp"
#include "plan/make_plan.hpp"
#include "plan/memory_text.hpp"

namespace penstock {

namespace {

constexpr std::size_t most_lines = 8;  // of ranks

}  // namespace

void list_ranks(World& world, const RunFolder& folder) {
  const std::vector<std::string> lines =
      world.gather(fmt::format("{},{},{},{}", world.rank(), World::host(), getpid(), device_text()));
  world.together([&] {
    if (world.rank() == 0) folder.write_ranks(lines);
  });
}

void introduce(const World& world, const RunSetup& setup, const Queue& queue, const ProductChoices& products) {
  const RunConfig& config = setup.config();
  const ModelPlan& plan = setup.plan;
  const MeshPlace place = MeshPlace(setup.mesh, world.rank());
  log_info("Penstock trains {} parameters on {} rank{}, {} node{}: {}", total_parameters(plan), world.size(),
           world.size() == 1 ? "" : "s", world.nodes(), world.nodes() == 1 ? "" : "s", setup.mesh.text());
  for (const std::string& line : stage_lines(plan)) log_info("  {}", line);
  log_info(
      "  schedule {}, {} microbatches of {} x {} tokens a replica, {} thread{} a rank, {} with gradients in {} on {}",
      plan.schedule.name, plan.microbatches(), config.batch.micro, config.data.sequence, queue.threads(),
      queue.threads() == 1 ? "" : "s", name_of(config.precision.compute), name_of(plan.cut.gradient), device_text());
  if (!products.sources.empty()) log_info("  products: {}", products.sources);
  const std::size_t staging = staging_bytes(plan, place, config.saves_behind_training());
  log_info("  rank 0 holds {}{}", memory_text(plan_memory(plan, place, queue.threads())),
           staging > 0 ? fmt::format("; {} of staging for saves", bytes_text(staging)) : "");
  if (world.rank() == 0)
    for (const std::string& warning : deck_warnings(config)) log_warning("{}", warning);
}

void announce_end(const RunConfig& config, const RunFolder& folder, std::int64_t step, StopReason reason, int signal) {
  if (step >= config.run.steps)
    log_info("done: {} steps", step);
  else
    log_info("stopped {} after step {} of {}; go on with --restart latest", words_of(reason, signal), step,
             config.run.steps);
  log_info("  metrics      {}", folder.metrics().string());
  log_info("  checkpoints  {}", folder.checkpoints().string());
  if (!config.capture.steps.empty()) log_info("  captures     {}", folder.captures().string());
  if (!config.trace.steps.empty()) log_info("  trace        {}", folder.trace().string());
}

void announce_memory(World& world, const RunSetup& setup, const Queue& queue) {
  const MeshPlace place = MeshPlace(setup.mesh, world.rank());
  const std::size_t planned = plan_memory(setup.plan, place, queue.threads()).total();
  const std::size_t staging = staging_bytes(setup.plan, place, setup.config().saves_behind_training());
  const std::vector<std::string> texts = world.gather(
      fmt::format("planned {}{}, {}", bytes_text(planned),
                  staging > 0 ? fmt::format(" and {} of staging", bytes_text(staging)) : "", memory_in_use_text()));
  for (std::size_t rank = 0; rank < std::min(texts.size(), most_lines); ++rank)
    log_info("  memory of rank {}: {}", rank, texts[rank]);
}

void announce_times(World& world, const std::string& mine) {
  const std::vector<std::string> lines = world.gather(mine);
  for (std::size_t rank = 0; rank < std::min(lines.size(), most_lines); ++rank)
    if (!lines[rank].empty()) log_info("  rank {}: {}", rank, lines[rank]);
}

}  // namespace penstock

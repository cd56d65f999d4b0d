// SPDX-License-Identifier: Apache-2.0
#include "pipeline/engine.hpp"

namespace penstock {

namespace {

// The host waits for the device as for other ranks: with the watchdog's deadline and report.
HostWait wait_of(World& world) {
  return [&world](const std::function<bool()>& done, std::string_view what,
                  const std::function<std::uint64_t()>& progress) { world.wait_until(done, what, progress); };
}

}  // namespace

Engine::Engine(World& world, const ModelPlan& plan, const Mesh& mesh, const MeshPlace& place,
               const EngineOptions& options)
    : world_(&world), plan_(&plan), place_(place) {
  queue_.emplace(Queue::Options{.threads = options.threads, .wait = wait_of(world), .records = options.records});
  groups_.emplace(communicators_of(plan, world, *queue_, mesh));
}

void Engine::take_memory() {
  const int threads = queue_->threads();
  arena_.emplace(world_->make_together([&] { return Arena(plan_memory(*plan_, place_, threads).total()); }));
  model_ = world_->make_together(
      [&] { return std::make_unique<RankModel>(*plan_, place_, threads, &*queue_, &*groups_, *arena_); });
  executor_.emplace(*world_, *model_, *groups_, *queue_);
  world_->together([&] { prepare_operations(*queue_, *plan_, place_); });
}

}  // namespace penstock

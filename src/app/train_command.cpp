// SPDX-License-Identifier: Apache-2.0
#include "app/collective_command.hpp"
#include "app/commands.hpp"
#include "train/trainer.hpp"

namespace penstock {

namespace {

int train(World& world, StopRequest& stop, const TrainRequest& request) {
  Trainer trainer(world, stop, set_up_run(world, request), request.restart);
  const int code = trainer.run();
  world.barrier();
  return world.rank() == 0 ? code : 0;
}

}  // namespace

int train_command(const TrainRequest& request) {
  StopRequest stop;  // first: MPI and all threads inherit its blocked signals
  return run_collectively([&](World& world) { return train(world, stop, request); });
}

}  // namespace penstock

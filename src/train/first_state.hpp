// SPDX-License-Identifier: Apache-2.0
#pragma once
// The state that a run attempt begins with: of a checkpoint, of other weights, or drawn from the seed.

#include <cstdint>
#include <string>

#include "checkpoint/io_thread.hpp"
#include "pipeline/engine.hpp"
#include "run/run_session.hpp"
#include "train/set_up_run.hpp"

namespace penstock {

/// How far training has come.
struct TrainingPosition {
  std::int64_t step = 0;      ///< updates done
  std::uint64_t samples = 0;  ///< that they have seen
  std::int64_t tokens = 0;    ///< likewise; samples of earlier run attempts may have been shorter or longer
};

struct FirstState {
  TrainingPosition position;
  bool from_checkpoint = false;
  std::string products;  ///< the choices of products that the checkpoint holds
};

/// Collective: fills the engine's parameters and moments. Says in the log where they come from, and warns of what the
/// deck says otherwise than that of the checkpoint. Throws CollectiveFailure.
FirstState bring_first_state(World& world, IoThread& io, RunSession& session, const RunSetup& setup, Engine& engine);

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once
// The state with which a run attempt begins: from a checkpoint, from other weights, or from the seed.

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
  std::uint64_t samples = 0;  ///< in these updates
  std::int64_t tokens = 0;    ///< likewise; samples of earlier run attempts may have been shorter or longer
};

struct FirstState {
  TrainingPosition position;
  bool from_checkpoint = false;
  std::string products;  ///< the choices of products that the checkpoint holds
};

/// Collective: fills the engine's parameters and moments. Logs their source, and warns of differences between the deck
/// and the checkpoint's. Throws CollectiveFailure.
FirstState bring_first_state(World& world, IoThread& io, RunSession& session, const RunSetup& setup, Engine& engine);

}  // namespace penstock

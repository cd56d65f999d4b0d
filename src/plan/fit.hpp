// SPDX-License-Identifier: Apache-2.0
#pragma once
// Whether a deck fits into memory, and the smallest change with which it would. Only plans: takes no memory.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "device/device.hpp"
#include "plan/run_config.hpp"
#include "tensor/arena.hpp"

namespace penstock {

/// The memory that one rank plans to hold, and that its device has.
struct MemoryDemand {
  int rank = 0;
  int node = 0;
  std::size_t planned = 0;
  DeviceRoom room;
};

/// A device into which its ranks do not fit together.
struct MemoryShortage {
  MemoryDemand largest;     ///< of its ranks that plan most, the lowest
  int ranks = 0;            ///< that share it
  std::size_t planned = 0;  ///< by all of them
  std::size_t room = 0;     ///< for their plans
  std::size_t room_each() const { return room / static_cast<std::size_t>(ranks); }
};

/// Memory that is free now, or also memory that others may free.
enum class RoomToday { free, with_what_others_hold };

/// The device with the largest shortage, if any. `beside`: memory of each process outside its plan.
std::optional<MemoryShortage> worst_shortage(const std::vector<MemoryDemand>& demands, std::size_t beside,
                                             RoomToday today);

/// Settings of deck keys that make it fit.
struct FittingChange {
  std::vector<std::string> settings;  ///< as in a deck or `--set`: `recompute.policy = "block"`
  std::int64_t ranks = 1;             ///< of its mesh
  std::size_t planned = 0;            ///< by its largest rank
};

/// The smallest change with which no rank plans more than `room` bytes. Changes that cost least time come first:
/// recomputation (the cheaper policy first), a smaller batch.micro (batch.global stays), optimizer.shard, then several
/// of these together; then more ranks, up to 16 times as many, the fewest first, on the pipeline before the tensor and
/// the data axis; then both. None if nothing of this fits.
std::optional<FittingChange> smallest_fitting_change(const RunDeck& deck, std::size_t room, int threads);

/// "recompute.policy = "block" would need 61.20 GiB", or that nothing helps. `ranks`: of the unchanged deck.
std::string advice_text(const std::optional<FittingChange>& change, std::int64_t ranks);

/// Bytes of its device that a rank plans to hold: the memory plan, and on the CPU also the copy for saves.
std::size_t planned_bytes(const RunConfig& config, const ModelPlan& plan, const MeshPlace& place, int threads);
/// The same for a rank whose memory plan and staging are known.
std::size_t planned_bytes(const MemoryPlan& memory, std::size_t staging);
/// The same for the rank that plans most.
std::size_t most_planned_bytes(const RunConfig& config, const ModelPlan& plan, int threads);

}  // namespace penstock

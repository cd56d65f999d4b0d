// SPDX-License-Identifier: Apache-2.0
#pragma once
// Whether a deck fits into memory, and the smallest change of it that would. All of it is planning: no memory is taken.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "device/device.hpp"
#include "plan/run_config.hpp"
#include "tensor/arena.hpp"

namespace penstock {

/// What one rank plans to hold, and what its device has.
struct MemoryDemand {
  int rank = 0;
  int node = 0;
  std::size_t planned = 0;
  DeviceRoom room;
};

/// A device whose ranks do not fit into it together.
struct MemoryShortage {
  MemoryDemand largest;     ///< of its ranks, the lowest of those that plan most
  int ranks = 0;            ///< that share it
  std::size_t planned = 0;  ///< by all of them
  std::size_t room = 0;     ///< for what they plan
  std::size_t room_each() const { return room / static_cast<std::size_t>(ranks); }
};

/// Memory that is free now, or also what others may give back.
enum class RoomToday { free, with_what_others_hold };

/// What the rank with least room may plan, where the ranks of each device have equal shares of it.
std::size_t least_room(const std::vector<MemoryDemand>& demands, std::size_t beside, RoomToday today);

/// Where the most is missing, if any is. `beside`: what each process holds beside its plan.
std::optional<MemoryShortage> worst_shortage(const std::vector<MemoryDemand>& demands, std::size_t beside,
                                             RoomToday today);

/// Keys of a deck, set in a way that makes it fit.
struct FittingChange {
  std::vector<std::string> settings;  ///< as a deck and `--set` say them: `recompute.policy = "block"`
  std::int64_t ranks = 1;             ///< of its mesh
  std::size_t planned = 0;            ///< by its largest rank
};

/// The smallest change with which no rank plans more than `room` bytes. Small is first what costs least time:
/// recomputation (the cheaper policy first), a smaller batch.micro (batch.global stays), optimizer.shard, then several
/// of these together; then more ranks, up to 16 times as many, the fewest first, on the pipeline before the tensor and
/// the data axis; then both. None where nothing of this fits.
std::optional<FittingChange> smallest_fitting_change(const RunDeck& deck, std::size_t room, int threads);

/// "recompute.policy = "block" would need 61.20 GiB", or that nothing would do. `ranks`: of the deck as it is.
std::string advice_text(const std::optional<FittingChange>& change, std::int64_t ranks);

/// Bytes of its device that a rank plans to hold: the memory plan, and on the CPU what saves are written from.
std::size_t planned_bytes(const RunConfig& config, const ModelPlan& plan, const MeshPlace& place, int threads);
/// The same of a rank whose memory plan and staging are known.
std::size_t planned_bytes(const MemoryPlan& memory, std::size_t staging);
/// The same of the rank that plans most.
std::size_t most_planned_bytes(const RunConfig& config, const ModelPlan& plan, int threads);

}  // namespace penstock

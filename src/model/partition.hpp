// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which blocks a stage holds: contiguous runs, balanced by cost, the embedding's and the head's counted.

#include <cstdint>
#include <vector>

#include "model/description.hpp"

namespace penstock {

/// What one pipeline stage computes.
struct StagePart {
  int stage = 0;
  int first_block = 0;
  int blocks = 0;
  bool embedding = false;  ///< the first stage
  bool head = false;       ///< the last: final norm, logits, loss
  bool operator==(const StagePart&) const = default;
};

/// The partition whose costliest stage is cheapest; among equals the one whose stages are most even (least sum of
/// squared costs). Every stage holds at least one block. Throws InputError if there are more stages than blocks.
std::vector<StagePart> balanced_partition(int stages, const PartCosts& costs);

/// The partition given in a deck: blocks of each stage. Throws InputError if it does not fit.
std::vector<StagePart> given_partition(int blocks, int stages, const std::vector<std::int64_t>& blocks_of_stage);

}  // namespace penstock

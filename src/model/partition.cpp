// SPDX-License-Identifier: Apache-2.0
#include "model/partition.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/error.hpp"

namespace penstock {

namespace {

std::vector<StagePart> parts_of(const std::vector<int>& blocks_of_stage) {
  std::vector<StagePart> parts;
  int first = 0;
  const int stages = static_cast<int>(blocks_of_stage.size());
  for (int s = 0; s < stages; ++s) {
    const int blocks = blocks_of_stage[static_cast<std::size_t>(s)];
    parts.push_back({s, first, blocks, s == 0, s == stages - 1});
    first += blocks;
  }
  return parts;
}

void refuse_more_stages_than_blocks(int blocks, int stages) {
  if (stages > blocks)
    throw_input_error(
        "mesh.pipeline and schedule.chunks ask for {} stages, but model.layers = {}: every stage holds at least one "
        "block; use at most {} stages, or more layers",
        stages, blocks, blocks);
}

}  // namespace

std::vector<StagePart> balanced_partition(int stages, const PartCosts& costs) {
  const int blocks = static_cast<int>(costs.blocks.size());
  refuse_more_stages_than_blocks(blocks, stages);
  struct Best {
    double largest = std::numeric_limits<double>::infinity();
    double squares = 0;
    int blocks_of_last = 0;
    bool better_than(const Best& other) const {
      return largest < other.largest || (largest == other.largest && squares < other.squares);
    }
  };
  std::vector<double> sums{0};  // of the first b blocks
  for (const double cost : costs.blocks) sums.push_back(sums.back() + cost);
  const auto cost_of_run = [&](int begin, int end) {
    return sums[static_cast<std::size_t>(end)] - sums[static_cast<std::size_t>(begin)];
  };
  // best[s][b]: the first s + 1 stages hold b blocks.
  std::vector<std::vector<Best>> best(static_cast<std::size_t>(stages),
                                      std::vector<Best>(static_cast<std::size_t>(blocks) + 1));
  for (int s = 0; s < stages; ++s)
    for (int b = s + 1; b <= blocks - (stages - 1 - s); ++b)
      for (int own = 1; own <= b - s; ++own) {
        if (s == 0 && own != b) continue;
        const double cost =
            cost_of_run(b - own, b) + (s == 0 ? costs.embedding : 0) + (s == stages - 1 ? costs.head : 0);
        Best& known = best[static_cast<std::size_t>(s)][static_cast<std::size_t>(b)];
        if (cost > known.largest) break;  // and so are those of more blocks
        const Best before =
            s == 0 ? Best{0, 0, 0} : best[static_cast<std::size_t>(s) - 1][static_cast<std::size_t>(b - own)];
        const Best candidate{std::max(before.largest, cost), before.squares + cost * cost, own};
        if (candidate.better_than(known)) known = candidate;
      }
  std::vector<int> blocks_of_stage(static_cast<std::size_t>(stages));
  for (int s = stages - 1, left = blocks; s >= 0; --s) {
    blocks_of_stage[static_cast<std::size_t>(s)] =
        best[static_cast<std::size_t>(s)][static_cast<std::size_t>(left)].blocks_of_last;
    left -= blocks_of_stage[static_cast<std::size_t>(s)];
  }
  return parts_of(blocks_of_stage);
}

std::vector<StagePart> given_partition(int blocks, int stages, const std::vector<std::int64_t>& blocks_of_stage) {
  refuse_more_stages_than_blocks(blocks, stages);
  const bool in_range = std::all_of(blocks_of_stage.begin(), blocks_of_stage.end(),
                                    [&](std::int64_t b) { return b >= 1 && b <= blocks; });
  const std::int64_t sum =
      !in_range ? -1 : std::accumulate(blocks_of_stage.begin(), blocks_of_stage.end(), std::int64_t{0});
  if (static_cast<int>(blocks_of_stage.size()) != stages || sum != blocks)
    throw_input_error(
        "schedule.partition = [{}] must name {} stages of at least one block each, {} blocks in all; correct it, or "
        "leave "
        "it out for a balanced partition",
        fmt::join(blocks_of_stage, ", "), stages, blocks);
  return parts_of({blocks_of_stage.begin(), blocks_of_stage.end()});
}

}  // namespace penstock

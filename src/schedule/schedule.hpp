// SPDX-License-Identifier: Apache-2.0
#pragma once
// The schedule: one table that is planned, proved, priced, drawn, executed and compared with the measured trace.
//
//   generate ---+                                +--> simulate --> report, draw
//   CSV file ---+--> lower --> validate ---------+
//                                                +--> the executor (pipeline/) walks its rank's row
//
// `generate` and CSV give tables of computing only (F, I, W, B). `lower` adds what moves data: transfers, sums, norm,
// update. ONE function, `prerequisites`, says what an action waits for; all others ask it.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "schedule/action.hpp"

namespace penstock {

/// A value: one row of actions for each pipeline rank, in the order in which the host launches them. All replicas of
/// the data axis and all peers of the tensor axis run the same rows.
struct Schedule {
  std::string name;
  int stages = 1;    // of the whole model: pipeline * chunks
  int pipeline = 1;  // ranks of the pipeline axis
  int microbatches = 1;
  bool lowered = false;                   // the rows hold transfers and whole-step actions
  bool tied = false;                      // stages 0 and last share the embedding: its gradients are summed (T)
  std::vector<int> placement;             // [stages], the pipeline rank of each stage
  std::vector<std::vector<Action>> rows;  // [pipeline]

  int rank_of_stage(int stage) const { return placement.at(static_cast<std::size_t>(stage)); }
  const std::vector<Action>& row(int rank) const { return rows.at(static_cast<std::size_t>(rank)); }
  /// The place after the last action that is launched together with `index` of a row: a transfer's joined transfers,
  /// otherwise the next place.
  std::size_t launch_end(int rank, std::size_t index) const;
  /// Stages per rank.
  int chunks() const { return stages / pipeline; }
  /// In ascending order: a rank's chunk c is the c-th of them.
  std::vector<int> stages_of_rank(int rank) const;
  /// Whether `rank` takes part in the tied embedding's sum. Where the first and the last stage meet on one rank they
  /// share one buffer, and there is nothing to sum.
  bool sums_tied(int rank) const;

  /// [pipeline], the most microbatch-chunks whose activations are held at once: from F to the end of I (or B).
  std::vector<int> peak_activations() const;
  /// [pipeline], the most microbatch-chunks that are held from I to W at once; 0 with a fused backward.
  std::vector<int> peak_deferred() const;

  /// 64 bits over the whole content, the same on every rank and machine: ranks compare it before step 1.
  std::uint64_t hash() const;
  bool operator==(const Schedule&) const = default;
};

/// Stage s on rank s % pipeline: [stages].
std::vector<int> looped_placement(int stages, int pipeline);
/// Stages s and 2 * pipeline - 1 - s on rank s, there and back: [2 * pipeline].
std::vector<int> folded_placement(int pipeline);

/// One line for each rank: "rank 0: G 0F0 0F0>1 ...". For people and logs; the form for files is CSV (csv.hpp).
std::string text(const Schedule& schedule);

/// A window of `rank`'s row with the place `index` in brackets: "rank 1 at 3: G 1F0<0 1F0 [1I0>0] 1W0 ...".
/// An index beyond the row's end marks the end.
std::string row_with_mark(const Schedule& schedule, int rank, std::size_t index);

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Predicts a lowered table's times: start and end of every action, from the costs of each stage.

#include <map>
#include <vector>

#include "schedule/schedule.hpp"

namespace penstock {

/// Seconds for one microbatch (or any other unit: results have the same). B costs I + W.
struct StageCosts {
  double forward = 1;
  double input_gradient = 1;
  double weight_gradient = 1;
  double sum() const { return forward + input_gradient + weight_gradient; }
};

/// With costs up to here, sums over a whole table stay finite and exact enough.
inline constexpr double most_cost = 1e12;

struct Costs {
  std::vector<StageCosts> stages;       // [stages], separately for each chunk of a rank
  double hop = 0;                       // seconds from the end of a send's work until the receiver can use it
  double overhead = 0;                  // seconds of either end's computing that a transfer takes (LogP's o)
  std::map<Work, double> whole_step{};  // of G, R, T, N, U; missing ones take no time
};

/// Equal stages: `whole` is the cost of all chunks of a rank together, so each costs 1/chunks of it.
Costs equal_costs(const Schedule& schedule, const StageCosts& whole, double hop);

struct Span {
  double start = 0;  // seconds since the step began
  double end = 0;
};

struct Simulation {
  std::vector<std::vector<Span>> spans;  // [pipeline][row]
  double makespan = 0;                   // from the step's begin to its last end
  std::vector<double> busy;              // [pipeline], in F, I, W and B
  std::vector<double> idle;              // [pipeline], makespan - busy
  /// The share of idle rank-time. With equal stages this is 1 - m(F+I+W)/makespan, F, I, W of a whole rank's stages.
  double bubble_rate = 0;
};

/// Every rank computes in its row's order, each action as soon as its prerequisites are done. A transfer begins when
/// its data is made, takes one hop, and delays only its receiver. A send takes only the overhead of its sender's time;
/// so does a message of its receiver's time if it arrived before it was needed. Transfers do not wait for each other:
/// `validate` proves that their order cannot hang, and here that order costs nothing. Work of the whole step occupies
/// its rank but does not count as busy. (The rules of the Zero Bubble paper's figures, arXiv 2401.10241.) The table
/// must be lowered and valid. Throws InputError for costs that are not finite numbers of at least 0, or whose sum is 0.
Simulation simulate(const Schedule& schedule, const Costs& costs);

/// Start and end of every action of a valid table that is not lowered, if F, I and W of every stage take one unit of
/// time and transfers none: whole numbers, the same on every machine. [pipeline][row]
std::vector<std::vector<Span>> computing_times(const Schedule& schedule);

}  // namespace penstock

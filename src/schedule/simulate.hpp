// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a lowered table should take: start and end of every action from costs a stage.

#include <map>
#include <vector>

#include "schedule/schedule.hpp"

namespace penstock {

/// Seconds for one microbatch (any unit of time will do: what comes out has the same). B costs I + W.
struct StageCosts {
  double forward = 1;
  double input_gradient = 1;
  double weight_gradient = 1;
  double sum() const { return forward + input_gradient + weight_gradient; }
};

/// Sums of as many as a table holds stay exact enough, and finite.
inline constexpr double most_cost = 1e12;

struct Costs {
  std::vector<StageCosts> stages;       // [stages], each of a rank's chunks for itself
  double hop = 0;                       // seconds from the end of a send's work until the receiver can use it
  double overhead = 0;                  // seconds of either end's computing that a transfer takes (LogP's o)
  std::map<Work, double> whole_step{};  // of G, R, T, N, U; what is not there takes no time
};

/// Equal stages: `whole` is what a rank's chunks cost together, so each costs 1/chunks of it.
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
/// the work behind it ends, takes one hop and delays only its receiver; a send takes no more of its sender's time than
/// the overhead, which is what a message takes of its receiver's that came before it is wanted. Transfers do not wait
/// for each other: what `validate` proves of their order keeps them from hanging, here it costs
/// nothing. Work of the whole step keeps its rank, and is not counted as busy. (The rules of the Zero Bubble paper's
/// figures, arXiv 2401.10241.) The table is lowered and valid. Throws InputError for costs that are no finite numbers
/// of at least 0 or whose sum is 0.
Simulation simulate(const Schedule& schedule, const Costs& costs);

/// Start and end of every action of a valid table that is not lowered, where F, I and W of every stage take one unit of
/// time and transfers none: whole numbers, the same on every machine. [pipeline][row]
std::vector<std::vector<Span>> computing_times(const Schedule& schedule);

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Actions: what a pipeline rank does, one cell of the schedule's table.

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace penstock {

/// What is done. The letter is the text form's; transfers borrow the letter of what they carry.
enum class Work : std::uint8_t {
  gather_parameters,   // G  all-gather of the updated parameters along the data axis; once per rank and step
  forward,             // F  of one microbatch through one stage
  input_gradient,      // I  first half of the backward: the gradient of the stage's input
  weight_gradient,     // W  second half: matrix products with the kept activations and gradients, and their bias
  backward,            // B  fused: I and W in one, each product's W right after its own I
  send_activation,     // F> the stage's output to the next stage
  receive_activation,  // F< the stage's input from the stage before
  send_gradient,       // I> the gradient of the stage's input to the stage before
  receive_gradient,    // I< the gradient of the stage's output from the next stage
  reduce_gradients,    // R  sum of the gradients along the data axis; once per rank and step, like all below
  tied_sum,            // T  sum of the tied embedding's gradients of the first and the last stage
  norm,                // N  global gradient norm
  update,              // U  the optimizer's step
};
inline constexpr int work_count = 13;

/// `stage` and `microbatch` of an action that is done once per rank and step (G, R, T, N, U).
inline constexpr int whole_step = -1;

/// One cell of the table. A transfer names the stage at its own end: `send_activation` of stage 2 is received as
/// `receive_activation` of stage 3, `send_gradient` of stage 2 as `receive_gradient` of stage 1.
struct Action {
  Work work = Work::forward;
  int stage = whole_step;
  int microbatch = whole_step;
  /// A transfer that is launched together with the one before it in the row: all transfers of such a group are posted
  /// at once, and the rank continues when all are done. So a ring of ranks that all send at the same time takes one
  /// hop.
  bool joined = false;

  /// The text form; its grammar (no blanks; numbers are decimal, from 0):
  ///   action     = compute | transfer | once
  ///   compute    = stage ("F" | "I" | "W" | "B") microbatch             "2F0": stage 2, forward, microbatch 0
  ///   transfer   = ["+"] stage ("F" | "I") microbatch (">" | "<") peer-stage
  ///                                                "2F0>3" is received as "3F0<2": an activation
  ///                                                "2I0>1" is received as "1I0<2": a gradient
  ///                                                "+2I0>1" is launched together with the transfer before it
  ///   once       = "G" | "R" | "T" | "N" | "U"     of the whole step, without stage and microbatch
  /// Activations go from a stage to the next one, gradients to the one before: any other peer is an error.
  std::string text() const;
  /// Appends the same to a text: a table has millions of actions.
  void append_to(std::string& text) const;

  auto operator<=>(const Action&) const = default;
};

/// The inverse of `Action::text`. Throws InputError (what, the rule, the cure) for anything outside the grammar.
Action parse_action(std::string_view text);

constexpr bool is_send(Work work) { return work == Work::send_activation || work == Work::send_gradient; }
constexpr bool is_receive(Work work) { return work == Work::receive_activation || work == Work::receive_gradient; }
constexpr bool is_transfer(Work work) { return is_send(work) || is_receive(work); }
/// F, I, W, B: the work of the compute lane, and the only actions of a table without transfers.
constexpr bool is_compute(Work work) {
  return work == Work::forward || work == Work::input_gradient || work == Work::weight_gradient ||
         work == Work::backward;
}
/// G, R, T, N, U: once per rank and step.
constexpr bool is_whole_step(Work work) { return !is_compute(work) && !is_transfer(work); }

/// The letter of the text form.
char letter(Work work);
/// "forward", "input gradient", ...
std::string_view name(Work work);

/// The stage at a transfer's other end.
int peer_stage(const Action& transfer);
/// The receive of a send, the send of a receive; not joined.
Action counterpart(const Action& transfer);
/// Whether both do the same, joined or not.
constexpr bool same_work(const Action& a, const Action& b) {
  return a.work == b.work && a.stage == b.stage && a.microbatch == b.microbatch;
}

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#include "schedule/action.hpp"

#include <array>
#include <charconv>
#include <optional>

#include "base/error.hpp"

namespace penstock {
namespace {

struct WorkText {
  char letter;
  std::string_view name;
};

/// In the order of `Work`.
constexpr std::array<WorkText, work_count> work_texts{{{'G', "gather parameters"},
                                                       {'F', "forward"},
                                                       {'I', "input gradient"},
                                                       {'W', "weight gradient"},
                                                       {'B', "backward"},
                                                       {'F', "send activation"},
                                                       {'F', "receive activation"},
                                                       {'I', "send gradient"},
                                                       {'I', "receive gradient"},
                                                       {'R', "reduce gradients"},
                                                       {'T', "tied sum"},
                                                       {'N', "norm"},
                                                       {'U', "update"}}};

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
  throw_input_error(
      "'{}' is no action: {}; write <stage><F|I|W|B><microbatch> like 2F0, a transfer like 2F0>3, 3F0<2, 2I0>1 or "
      "1I0<2, or one of G, R, T, N, U",
      text, why);
}

/// Takes a number off the front. Six digits at most: more is a typing error, and would overflow later.
std::optional<int> take_number(std::string_view& rest) {
  int number = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  const auto digits = static_cast<std::size_t>(end - rest.data());
  if (error != std::errc() || digits > 6 || number < 0) return std::nullopt;
  rest.remove_prefix(digits);
  return number;
}

std::optional<Work> compute_work(char letter) {
  switch (letter) {
    case 'F':
      return Work::forward;
    case 'I':
      return Work::input_gradient;
    case 'W':
      return Work::weight_gradient;
    case 'B':
      return Work::backward;
    default:
      return std::nullopt;
  }
}

std::optional<Work> whole_step_work(char letter) {
  switch (letter) {
    case 'G':
      return Work::gather_parameters;
    case 'R':
      return Work::reduce_gradients;
    case 'T':
      return Work::tied_sum;
    case 'N':
      return Work::norm;
    case 'U':
      return Work::update;
    default:
      return std::nullopt;
  }
}

Action parse_transfer(std::string_view text, const Action& carried, std::string_view rest) {
  const bool sends = rest.front() == '>';
  if (!sends && rest.front() != '<') refuse(text, "there is something after the microbatch");
  if (carried.work != Work::forward && carried.work != Work::input_gradient)
    refuse(text, "only activations (F) and gradients (I) travel");
  const bool activation = carried.work == Work::forward;
  const Work work = activation ? (sends ? Work::send_activation : Work::receive_activation)
                               : (sends ? Work::send_gradient : Work::receive_gradient);
  const Action action{work, carried.stage, carried.microbatch};
  rest.remove_prefix(1);
  const std::optional<int> peer = take_number(rest);
  if (!peer || !rest.empty()) refuse(text, "the peer's stage is no number");
  if (*peer != peer_stage(action) || *peer < 0)
    refuse(text, activation ? "activations go from a stage to the next one" : "gradients go to the stage before");
  return action;
}

}  // namespace

char letter(Work work) { return work_texts[static_cast<std::size_t>(work)].letter; }
std::string_view name(Work work) { return work_texts[static_cast<std::size_t>(work)].name; }

int peer_stage(const Action& transfer) {
  ensure(is_transfer(transfer.work), "peer_stage: not a transfer");
  const bool up = transfer.work == Work::send_activation || transfer.work == Work::receive_gradient;
  return transfer.stage + (up ? 1 : -1);
}

Action counterpart(const Action& transfer) {
  const int stage = peer_stage(transfer);
  switch (transfer.work) {
    case Work::send_activation:
      return {Work::receive_activation, stage, transfer.microbatch};
    case Work::receive_activation:
      return {Work::send_activation, stage, transfer.microbatch};
    case Work::send_gradient:
      return {Work::receive_gradient, stage, transfer.microbatch};
    default:
      return {Work::send_gradient, stage, transfer.microbatch};
  }
}

std::string Action::text() const {
  std::string text;
  append_to(text);
  return text;
}

void Action::append_to(std::string& text) const {
  const auto add_number = [&](int number) {
    std::array<char, 12> digits;
    text.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr);
  };
  if (is_whole_step(work)) {
    text += letter(work);
    return;
  }
  if (is_transfer(work) && joined) text += '+';
  add_number(stage);
  text += letter(work);
  add_number(microbatch);
  if (is_compute(work)) return;
  text += is_send(work) ? '>' : '<';
  add_number(peer_stage(*this));
}

Action parse_action(std::string_view text) {
  if (text.size() == 1)
    if (const std::optional<Work> once = whole_step_work(text.front())) return {*once, whole_step, whole_step};
  std::string_view rest = text;
  const bool joined = rest.starts_with('+');
  if (joined) rest.remove_prefix(1);
  const std::optional<int> stage = take_number(rest);
  if (!stage) refuse(text, "it does not begin with the number of a stage");
  const std::optional<Work> work = rest.empty() ? std::nullopt : compute_work(rest.front());
  if (!work) refuse(text, "no F, I, W or B follows the stage");
  rest.remove_prefix(1);
  const std::optional<int> microbatch = take_number(rest);
  if (!microbatch) refuse(text, "no number of a microbatch follows the letter");
  Action action{*work, *stage, *microbatch};
  if (!rest.empty()) action = parse_transfer(text, action, rest);
  if (joined && !is_transfer(action.work)) refuse(text, "only transfers are launched together (+)");
  action.joined = joined;
  return action;
}

}  // namespace penstock

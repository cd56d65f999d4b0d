// SPDX-License-Identifier: Apache-2.0
#include "observe/nonfinite_steps.hpp"

namespace penstock {

NonfiniteSteps::Verdict NonfiniteSteps::judge(std::int64_t step, StepResult& result, const StepTokens& tokens,
                                              const std::function<StepResult()>& again) {
  const std::string what =
      fmt::format("step {}: the loss is {} and the gradient norm {}", step, result.loss, result.gradient_norm);
  std::string first;
  bool in_weights = false;
  if (in_a_row_ == 0) {
    const NonfiniteFind found = search_.find(result, tokens, again);
    if (is_finite(found.result)) {
      why_ = fmt::format(
          "{}, but computed again from the same state they are {} and {}: memory or a processor of one of the ranks "
          "makes errors; training continues with the second result",
          what, found.result.loss, found.result.gradient_norm);
      result = found.result;
      return Verdict::done;
    }
    first = "; the first value that is not finite: " + found.text;
    in_weights = found.in_weights;
  }
  why_ = what + first;
  if (policy_ == NonfinitePolicy::skip && in_weights) {
    why_ += "; it is a weight, so that no later step would be finite: none is skipped";
    return Verdict::stop;
  }
  if (policy_ == NonfinitePolicy::skip && in_a_row_ < most_in_a_row) {
    ++in_a_row_;
    why_ += "; the update is skipped (watchdog.nonfinite = \"skip\")";
    return Verdict::skipped;
  }
  if (policy_ == NonfinitePolicy::skip) why_ += fmt::format("; {} updates in a row were skipped before", most_in_a_row);
  return Verdict::stop;
}

}  // namespace penstock

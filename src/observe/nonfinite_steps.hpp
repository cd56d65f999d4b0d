// SPDX-License-Identifier: Apache-2.0
#pragma once
// NonfiniteSteps: decides what to do about a step whose loss or gradient norm is infinite or NaN.

#include <cstdint>
#include <functional>
#include <string>

#include "observe/nonfinite_search.hpp"
#include "plan/run_config.hpp"

namespace penstock {

class NonfiniteSteps {
 public:
  static constexpr int most_in_a_row = 10;

  enum class Verdict {
    done,     ///< the step was computed again and was finite, and its update was made
    skipped,  ///< weights and moments are unchanged
    stop,     ///< the run must end; `why` gives the reason
  };

  NonfiniteSteps(NonfiniteSearch search, NonfinitePolicy policy) : search_(search), policy_(policy) {}

  /// Collective. If the step is done, `result` becomes that of the repeated computation. Of consecutive skipped steps
  /// only the first is searched.
  Verdict judge(std::int64_t step, StepResult& result, const StepTokens& tokens,
                const std::function<StepResult()>& again);
  /// A step was finite.
  void passed() { in_a_row_ = 0; }
  /// Skipped steps in a row up to now: weights and moments are those before that many steps.
  int skipped_in_a_row() const { return in_a_row_; }
  /// The log text of the last verdict.
  const std::string& why() const { return why_; }

 private:
  NonfiniteSearch search_;
  NonfinitePolicy policy_;
  int in_a_row_ = 0;
  std::string why_;
};

}  // namespace penstock

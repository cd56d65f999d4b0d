// SPDX-License-Identifier: Apache-2.0
#pragma once
// NonfiniteSteps: what becomes of a step whose loss or gradient norm is infinite or NaN.

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
    done,     ///< computed again, the step was finite, and its update was made
    skipped,  ///< weights and moments are what they were before the step
    stop,     ///< the run has to end; `why` says the reason
  };

  NonfiniteSteps(NonfiniteSearch search, NonfinitePolicy policy) : search_(search), policy_(policy) {}

  /// Collective. `result` becomes that of the step computed again where it is done. Where steps are skipped in a row
  /// only the first is searched.
  Verdict judge(std::int64_t step, StepResult& result, const StepTokens& tokens,
                const std::function<StepResult()>& again);
  /// A step was finite.
  void passed() { in_a_row_ = 0; }
  /// Up to now: weights and moments are what they were before so many steps.
  int skipped_in_a_row() const { return in_a_row_; }
  /// Of the last verdict: what a log says.
  const std::string& why() const { return why_; }

 private:
  NonfiniteSearch search_;
  NonfinitePolicy policy_;
  int in_a_row_ = 0;
  std::string why_;
};

}  // namespace penstock

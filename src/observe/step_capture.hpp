// SPDX-License-Identifier: Apache-2.0
#pragma once
// StepCapture: the capture of one step: its taps are set for as long as it lives.

#include <string>
#include <vector>

#include "base/scoped_value.hpp"
#include "checkpoint/writers.hpp"
#include "observe/capture_recorder.hpp"
#include "run/run_session.hpp"

namespace penstock {

class StepCapture {
 public:
  /// `taps`: as the deck names them. `model` outlives the capture.
  StepCapture(World& world, const ModelPlan& plan, const Mesh& mesh, const std::vector<std::string>& taps,
              ModelContext& model);
  StepCapture(const StepCapture&) = delete;
  StepCapture& operator=(const StepCapture&) = delete;

  /// Collective, after the step: writes the file; no other may be under way. A file that cannot
  /// be written costs a warning, not the run.
  void write(Writers& writers, const RunSession& session, std::int64_t step, const StepTokens& tokens) const;

 private:
  World* world_;
  CaptureRecorder recorder_;
  ScopedValue<TapSink*> tapped_;
};

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once
// StepCapture: captures one step. Its taps are set until it is written or destroyed.

#include <memory>
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

  /// Collective, after the step: writes the file. No other file may be under way. A file that cannot be written causes
  /// a warning and does not end the run.
  void write(Writers& writers, const RunSession& session, std::int64_t step, const StepTokens& tokens);

 private:
  World* world_;
  CaptureRecorder recorder_;
  std::unique_ptr<ScopedValue<TapSink*>> tapped_;
};

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#include "observe/step_capture.hpp"

#include "base/log.hpp"
#include "plan/taps.hpp"

namespace penstock {

StepCapture::StepCapture(World& world, const ModelPlan& plan, const Mesh& mesh, const std::vector<std::string>& taps,
                         ModelContext& model)
    : world_(&world),
      recorder_(plan, mesh, world.rank(), expand_taps(taps, *plan.model)),
      tapped_(new ScopedValue<TapSink*>(model.tapped_by(recorder_))) {}

void StepCapture::write(Writers& writers, const RunSession& session, std::int64_t step, const StepTokens& tokens) {
  tapped_.reset();  // the validation that may follow is not captured
  const SaveOutcome outcome = save_capture(*world_, writers, session.folder().captures(), step, recorder_.arrays(),
                                           recorder_.local_data(tokens), [&session] { session.ensure_mine(); });
  if (outcome.ok)
    log_info("captured step {}: {:.1f} MB", step, static_cast<double>(outcome.bytes) * 1e-6);
  else if (world_->rank() == 0)
    log_warning("the capture of step {} was not written: {}; training goes on", step, outcome.message);
}

}  // namespace penstock

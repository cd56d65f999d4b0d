// SPDX-License-Identifier: Apache-2.0
#pragma once
// The parts of a run attempt.

#include <vector>

#include "checkpoint/writers.hpp"
#include "observe/step_log.hpp"
#include "observe/step_times.hpp"
#include "pipeline/engine.hpp"
#include "plan/step_agenda.hpp"
#include "run/product_choices.hpp"
#include "run/run_session.hpp"
#include "run/saver.hpp"
#include "run/stop_check.hpp"
#include "train/set_up_run.hpp"
#include "train/steps_under_way.hpp"

namespace penstock {

/// References to what `train` makes (train/train.cpp), in that order.
struct RunParts {
  World& world;
  RunSetup& setup;
  const StepAgenda& agenda;
  IoThread& io;
  RunSession& session;
  StopCheck& stop_check;
  Engine& engine;
  Writers& writers;
  ProductChoices& products;
  StepLog& log;
  StepTimes& times;
  const std::vector<ParameterLayout>& layouts;  ///< of every rank
  const Saver::Options& saving;
  Saver& saver;
  StepsUnderWay& steps;
};

}  // namespace penstock

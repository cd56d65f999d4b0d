// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 1 2
// A run attempt's folder says how the attempt ended, whatever ended it; nothing in it changes before it begins.

#include "run/run_session.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "run/attempt_record.hpp"
#include "storage/shared_folder.hpp"
#include "support/test_world.hpp"

namespace penstock::run_session_test {
namespace {

class RunSessionTest : public testing::Test {
 protected:
  RunSessionTest() { config.run.steps = 10; }

  std::filesystem::path run() const { return shared.path() / "runs" / "tiny"; }
  bool leads() const { return world.rank() == 0; }

  /// Of the last attempt; on rank 0, which alone is sure to see it at once.
  AttemptEnd recorded_end() const { return AttemptRecords::read(RunFolder(run()).end()).value().last.end; }

  /// On rank 0, with the folders above it.
  void write(const std::filesystem::path& file, const std::string& text) {
    if (leads()) {
      std::filesystem::create_directories(file.parent_path());
      std::ofstream(file) << text;
    }
    world.barrier();
  }

  World& world = test_world();
  SharedFolder shared{world};
  RunConfig config;
  const StepAgenda agenda{config, false};
};

TEST_F(RunSessionTest, ChangesNothingBeforeItBegins) {
  const RunSession session(world, run(), std::nullopt, agenda);
  EXPECT_FALSE(leads() && std::filesystem::exists(run()));
}

TEST_F(RunSessionTest, RecordsThatItRunsAndHowItEnded) {
  RunSession session(world, run(), std::nullopt, agenda);
  session.begin(0);
  EXPECT_TRUE(!leads() || recorded_end() == AttemptEnd::running);
  session.record({.end = AttemptEnd::stopped, .step = 4, .exit_code = 75, .reason = "signal"});
  session.leave();
  if (!leads()) return;
  const AttemptRecord last = AttemptRecords::read(session.folder().end()).value().last;
  EXPECT_EQ(last.end, AttemptEnd::stopped);
  EXPECT_EQ(last.step, 4);
  EXPECT_EQ(last.exit_code, 75);
  EXPECT_EQ(last.reason, "signal");
  EXPECT_FALSE(std::filesystem::exists(run() / "guard"));
}

TEST_F(RunSessionTest, RecordsAFailureBeforeTheFirstStep) {
  write(run() / "note.txt", "somebody's");
  RunSession session(world, run(), std::nullopt, agenda);
  session.begin(0);
  session.end_before_first_step(0, CollectiveFailure({2, "no room"}));
  if (!leads()) return;
  EXPECT_EQ(recorded_end(), AttemptEnd::failed);
  EXPECT_FALSE(std::filesystem::exists(session.folder().checkpoints())) << "made by the attempt, and empty";
  EXPECT_TRUE(std::filesystem::exists(run() / "note.txt"));
}

TEST_F(RunSessionTest, RefusesTheStepsOfAnotherRun) {
  write(RunFolder(run()).checkpoints() / "step-00000003.h5", "");
  EXPECT_THROW(RunSession(world, run(), std::nullopt, agenda), CollectiveFailure);
  EXPECT_THROW(RunSession(world, run(), "elsewhere.h5", agenda), CollectiveFailure);
  EXPECT_NO_THROW(RunSession(world, run(), "latest", agenda));
}

TEST_F(RunSessionTest, RefusesARestartThatHasNoStepToDo) {
  write(RunFolder(run()).checkpoints() / "step-00000012.h5", "");
  EXPECT_THROW(RunSession(world, run(), "latest", agenda), CollectiveFailure);
}

TEST_F(RunSessionTest, AnAttemptThatFindsAllStepsDoneIsDone) {
  write(RunFolder(run()).checkpoints() / "step-00000010.h5", "");
  const RunSession session(world, run(), "latest", agenda);
  EXPECT_NO_THROW(session.ensure_steps_are_left(10));
  EXPECT_THROW(session.ensure_steps_are_left(11), InputError);
}

TEST_F(RunSessionTest, BeginsAtStepZeroWhereThereIsNoCheckpoint) {
  IoThread io;
  RunSession session(world, run(), "latest", agenda);
  EXPECT_EQ(session.checkpoint_to_load(io), std::nullopt);
  RunSession named(world, shared.path() / "other", "some/file.h5", agenda);
  EXPECT_EQ(named.checkpoint_to_load(io), "some/file.h5");
}

TEST_F(RunSessionTest, SeesThatAnotherAttemptHasSaved) {
  IoThread io;
  write(run() / "note.txt", "");
  RunSession session(world, run(), "latest", agenda);
  EXPECT_EQ(session.checkpoint_to_load(io), std::nullopt);
  EXPECT_FALSE(session.others_saved_meanwhile(0, {}));
  write(session.folder().checkpoints() / "step-00000005.h5", "");
  EXPECT_TRUE(session.others_saved_meanwhile(0, {}));
}

}  // namespace
}  // namespace penstock::run_session_test

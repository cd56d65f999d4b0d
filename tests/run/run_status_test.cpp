// SPDX-License-Identifier: Apache-2.0
#include "run/run_status.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "data/temporary_folder.hpp"
#include "run/run_folder.hpp"

namespace penstock::run_status_test {
namespace {

MetricsRow row_of(std::int64_t step, double seconds) {
  return {.step = step,
          .tokens = step * 100,
          .loss = 5.0 - 0.01 * static_cast<double>(step),
          .gradient_norm = 1,
          .learning_rate = 1e-3,
          .seconds = seconds,
          .tokens_per_second = 100 / seconds,
          .validation_loss = {}};
}

class RunStatusTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_.create();
    folder_.write_deck("[run]\nsteps = 1000\n[a_section]\nof_another_version = true\n");
  }
  void write_rows(std::int64_t from, std::int64_t to) {
    for (std::int64_t step = from; step <= to; ++step)
      std::ofstream(folder_.metrics(), std::ios::app) << text(row_of(step, step % 7 == 0 ? 9.0 : 0.5)) << "\n";
  }
  RunStatus status() {
    IoThread io;
    return read_status(io, folder_.path());
  }

  test::TemporaryFolder parent_;
  RunFolder folder_{parent_.path() / "run"};
};

TEST_F(RunStatusTest, AFolderThatIsNotThereIsRefused) {
  IoThread io;
  EXPECT_THROW(read_status(io, parent_.path() / "nowhere"), InputError);
}

TEST_F(RunStatusTest, BeforeTheFirstLifeItIsNew) {
  const RunStatus s = status();
  EXPECT_EQ(s.state, "new");
  EXPECT_EQ(s.recent.last.step, 0);
  EXPECT_FALSE(s.checkpoint);
  EXPECT_FALSE(s.seconds_left());
  EXPECT_NE(text_of(s).find("none yet"), std::string::npos);
}

TEST_F(RunStatusTest, SpeedIsTheMedianOfTheLastSteps) {
  std::ofstream(folder_.metrics()) << Metrics::header << "\n";
  write_rows(1, 400);  // more than is read at once
  std::ofstream(folder_.metrics(), std::ios::app) << text(row_of(401, 0.5)).substr(0, 9);
  const RunStatus s = status();
  EXPECT_EQ(s.recent.last.step, 400) << "half a line is no row";
  EXPECT_EQ(s.recent.seconds_per_step, 0.5) << "each seventh step took 9 s";
  EXPECT_EQ(s.seconds_left(), 300.0);
  EXPECT_EQ(s.steps, 1000);
}

TEST_F(RunStatusTest, OnlyARunThatRunsHasTimeLeft) {
  std::ofstream(folder_.metrics()) << Metrics::header << "\n";
  write_rows(1, 400);
  folder_.record(AttemptEnd::running, 0, 0, "");
  EXPECT_NE(text_of(status()).find("to go       5:00 min at that speed"), std::string::npos) << text_of(status());
  const RunGuard guard(folder_.path());
  EXPECT_NE(text_of(status()).find("time left   5:00 min\n"), std::string::npos) << text_of(status());
}

TEST_F(RunStatusTest, ALifeThatSaidNothingAndIsGoneWasKilled) {
  folder_.record(AttemptEnd::running, 20, 0, "");
  EXPECT_EQ(status().state, "killed");
  const RunGuard guard(folder_.path());
  EXPECT_EQ(status().state, "running");
}

TEST_F(RunStatusTest, WhileALifeRunsTheLastEndIsThatOfTheOneBefore) {
  folder_.record(AttemptEnd::running, 0, 0, "");
  folder_.record(AttemptEnd::stopped, 20, 75, "", "signal");
  EXPECT_EQ(status().last_end->reason, "signal");
  folder_.record(AttemptEnd::running, 20, 0, "");
  const RunGuard guard(folder_.path());
  const RunStatus s = status();
  ASSERT_TRUE(s.last_end);
  EXPECT_EQ(s.last_end->reason, "signal");
  EXPECT_EQ(s.last_end->attempt, 1);
  EXPECT_EQ(s.attempts, 2);
}

TEST_F(RunStatusTest, AFileThatIsNotWholeIsNoCheckpoint) {
  std::ofstream(folder_.checkpoints() / "step-00000007.h5") << "not HDF5";
  EXPECT_FALSE(status().checkpoint);
}

TEST_F(RunStatusTest, ARunWithStepsIsNeverNew) {
  std::ofstream(folder_.metrics()) << Metrics::header << "\n";
  write_rows(1, 3);
  EXPECT_EQ(status().state, "unknown") << "end.json is gone";
}

TEST_F(RunStatusTest, ADamagedEndIsTold) {
  for (const char* text : {"", "garbage", "[]", "3", R"({"ended": 3})", R"({"ended": "done", "step": "x"})"}) {
    std::ofstream(folder_.end()) << text;
    const RunStatus s = status();
    EXPECT_EQ(s.state, "unknown") << text;
    EXPECT_NE(text_of(s).find("end.json is damaged"), std::string::npos) << text_of(s);
    EXPECT_EQ(json_of(s).at("end_damaged"), true);
  }
  folder_.record(AttemptEnd::running, 3, 0, "");
  EXPECT_EQ(status().state, "killed") << "the next run attempt replaces it";
  EXPECT_FALSE(status().end_damaged);
}

TEST_F(RunStatusTest, AGuardThatNamesNobodyIsToldAsSuch) {
  std::ofstream(folder_.path() / "guard").flush();
  for (const double age_seconds : {0.0, 1000.0}) {
    std::filesystem::last_write_time(folder_.path() / "guard", std::filesystem::file_time_type::clock::now() -
                                                                   std::chrono::seconds(static_cast<int>(age_seconds)));
    const std::string told = text_of(status());
    EXPECT_NE(told.find("a run attempt that its guard does not name"), std::string::npos) << told;
    EXPECT_EQ(told.find("process 0"), std::string::npos) << told;
    EXPECT_TRUE(json_of(status()).at("holder").is_null());
  }
}

TEST_F(RunStatusTest, JsonHasTheSameFacts) {
  std::ofstream(folder_.metrics()) << Metrics::header << "\n";
  write_rows(1, 12);
  folder_.record(AttemptEnd::running, 0, 0, "");
  folder_.record(AttemptEnd::failed, 12, 1, "the disk is full");
  const nlohmann::json json = json_of(status());
  EXPECT_EQ(json.at("state"), "failed");
  EXPECT_EQ(json.at("step"), 12);
  EXPECT_EQ(json.at("steps"), 1000);
  EXPECT_EQ(json.at("loss"), row_of(12, 1).loss);
  EXPECT_EQ(json.at("seconds_left"), 494.0);
  EXPECT_EQ(json.at("alive"), false);
  EXPECT_TRUE(json.at("checkpoint_step").is_null());
  EXPECT_EQ(json.at("last_end").at("message"), "the disk is full");
}

}  // namespace
}  // namespace penstock::run_status_test

// SPDX-License-Identifier: Apache-2.0
#include "run/job_end.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

#include "data/temporary_folder.hpp"

namespace penstock::job_end_test {
namespace {

std::optional<std::int64_t> seconds_in(std::string_view text, std::string_view job) {
  const auto end = job_end_in(text, job);
  if (!end) return std::nullopt;
  return std::chrono::duration_cast<std::chrono::seconds>(end->time_since_epoch()).count();
}

TEST(JobEnd, IsReadFromALineOfScontrol) {
  EXPECT_EQ(seconds_in("JobId=7 JobName=EndTime=1 RunTime=00:00:00 EndTime=1795572211 Deadline=N/A \n", "7"),
            1795572211);
}

TEST(JobEnd, OfAnArrayIsThatOfTheNamedJob) {
  const char* text =
      "JobId=9 ArrayJobId=9 ArrayTaskId=1 EndTime=200 Partition=a\n"
      "JobId=10 ArrayJobId=9 ArrayTaskId=0 EndTime=300 Partition=a\n";
  EXPECT_EQ(seconds_in(text, "10"), 300);
  EXPECT_EQ(seconds_in(text, "9"), 200);
  EXPECT_EQ(seconds_in(text, "1"), std::nullopt);
}

TEST(JobEnd, WithoutALimitThereIsNone) {
  EXPECT_FALSE(job_end_in("JobId=7 EndTime=Unknown Deadline=N/A\n", "7"));
  EXPECT_FALSE(job_end_in("JobId=7 EndTime=2026-11-25T03:00:00\n", "7"))
      << "a scontrol that knows no SLURM_TIME_FORMAT";
  EXPECT_FALSE(job_end_in("", "7"));
}

// A made-up scontrol, first in the path.
class AskJobEnd : public testing::Test {
 protected:
  void SetUp() override {
    setenv("PATH", (folder_.path().string() + ":" + path_).c_str(), 1);
    setenv("SLURM_JOB_ID", "7", 1);
  }
  void TearDown() override {
    setenv("PATH", path_.c_str(), 1);
    unsetenv("SLURM_JOB_ID");
  }
  void scontrol(const std::string& body) {
    const auto program = folder_.path() / "scontrol";
    std::ofstream(program) << "#!/bin/sh\n" << body << "\n";
    chmod(program.c_str(), 0755);
  }
  test::TemporaryFolder folder_;
  std::string path_ = std::getenv("PATH");
};

TEST_F(AskJobEnd, AsksScontrolForItsOwnJobInSeconds) {
  scontrol(R"([ "$SLURM_TIME_FORMAT $*" = "%s show job --oneliner 7" ] && echo "JobId=7 EndTime=300 X=1")");
  const auto end = ask_job_end();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->time_since_epoch(), std::chrono::seconds(300));
}

TEST_F(AskJobEnd, KnowsNothingWhereScontrolFails) {
  scontrol("exit 1");
  EXPECT_FALSE(ask_job_end());
}

TEST_F(AskJobEnd, AsksNobodyOutsideAJob) {
  scontrol("echo JobId=7 EndTime=300");
  unsetenv("SLURM_JOB_ID");
  EXPECT_FALSE(ask_job_end());
  setenv("SLURM_JOB_ID", "7; rm -r /", 1);
  EXPECT_FALSE(ask_job_end());
}

}  // namespace
}  // namespace penstock::job_end_test

// SPDX-License-Identifier: Apache-2.0
#include "run/stop_check.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <fstream>

#include "data/temporary_folder.hpp"

namespace penstock::stop_check_test {
namespace {

WallTime in(double seconds) {
  return std::chrono::system_clock::now() +
         std::chrono::duration_cast<WallTime::duration>(std::chrono::duration<double>(seconds));
}

TEST(StopCheck, NothingAsksAtFirst) {
  StopRequest request;
  EXPECT_EQ(StopCheck(request, {.file = "no/such/file", .job_end = in(1e6)}).asked(), StopReason::none);
}

TEST(StopCheck, AFileAsks) {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "stop";
  std::ofstream(file) << "";
  StopRequest request;
  StopCheck check(request, {.file = file, .job_end = {}});
  EXPECT_EQ(check.asked(), StopReason::stop_file);
  std::filesystem::remove(file);
  EXPECT_EQ(check.asked(), StopReason::stop_file) << "it stays";
}

TEST(StopCheck, ASignalIsTheStrongestReason) {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "stop";
  std::ofstream(file) << "";
  StopRequest request;
  StopCheck check(request, {.file = file, .job_end = {}});
  EXPECT_EQ(check.asked(), StopReason::stop_file);
  std::raise(SIGUSR1);
  EXPECT_EQ(check.asked(), StopReason::signal);
  EXPECT_EQ(check.asked(), StopReason::signal);
}

TEST(StopCheck, TheJobsEndAsksAMarginBefore) {
  StopRequest request;
  EXPECT_EQ(StopCheck(request, {.file = {}, .job_end = in(100), .reserve_seconds = 30}).asked(), StopReason::none);
  EXPECT_EQ(StopCheck(request, {.file = {}, .job_end = in(100), .reserve_seconds = 110}).asked(), StopReason::job_end);
  EXPECT_EQ(StopCheck(request, {.file = {}, .job_end = in(-5), .reserve_seconds = 0}).asked(), StopReason::job_end);
}

TEST(StopCheck, TheMarginLearnsFromStepsAndSaves) {
  StopRequest request;
  StopCheck check(request, {.file = {}, .job_end = in(100), .reserve_seconds = 30, .save_seconds = 60});
  EXPECT_EQ(check.margin_seconds(), 150) << "what is foretold counts until something was measured";
  check.save_took(4);
  check.save_took(2);
  check.step_took(1.5);
  EXPECT_EQ(check.margin_seconds(), 30 + 2 * 4 + 2 * 1.5);
  EXPECT_EQ(check.asked(), StopReason::none);
  check.save_took(40);
  EXPECT_EQ(check.asked(), StopReason::job_end);
}

TEST(StopReason, HasTheNamesOfTheRecord) {
  EXPECT_EQ(name_of(StopReason::none), "");
  EXPECT_EQ(name_of(StopReason::run_stop), "run.stop");
  EXPECT_EQ(name_of(StopReason::stop_file), "stop file");
  EXPECT_EQ(name_of(StopReason::job_end), "job end");
  EXPECT_EQ(name_of(StopReason::signal), "signal");
}

TEST(StopReason, OfASignalNamesItInTheLog) {
  EXPECT_EQ(words_of(StopReason::signal, SIGHUP), "on request (SIGHUP)");
  EXPECT_EQ(words_of(StopReason::run_stop), "at run.stop");
}

}  // namespace
}  // namespace penstock::stop_check_test

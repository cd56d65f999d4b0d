// SPDX-License-Identifier: Apache-2.0
#include "run/failure_record.hpp"

#include <gtest/gtest.h>

#include "data/temporary_folder.hpp"
#include "storage/run_guard.hpp"

namespace penstock::failure_record_test {
namespace {

const FailureReport first{.steps_done = 6, .message = "rank 1 waited", .text = "rank 1 waited\nlast known places\n"};
const FailureReport second{.steps_done = 7, .message = "rank 2 waited", .text = "rank 2 waited\n"};

TEST(FailureRecord, TheFirstReportIsTheOneThatIsKept) {
  const test::TemporaryFolder folder;
  const RunFolder run(folder.path());
  const RunGuard guard(folder.path());
  const FailureRecord record(folder.path(), guard.holder().attempt);
  EXPECT_TRUE(record.keep(first));
  EXPECT_FALSE(record.keep(second));
  EXPECT_EQ(read_text(run.report()), first.text);
  const std::string end = read_text(run.end());
  for (const char* part : {"\"failed\"", "\"step\": 6", "\"exit_code\": 1", "rank 1 waited"})
    EXPECT_NE(end.find(part), std::string::npos) << end;
}

TEST(FailureRecord, TheNextLifeSetsTheReportAside) {
  const test::TemporaryFolder folder;
  const RunFolder run(folder.path());
  run.set_report_aside();  // none is there
  const RunGuard guard(folder.path());
  const FailureRecord record(folder.path(), guard.holder().attempt);
  EXPECT_TRUE(record.keep(first));
  run.set_report_aside();
  EXPECT_TRUE(record.keep(second));
  EXPECT_EQ(read_text(run.earlier_report()), first.text);
  EXPECT_EQ(read_text(run.report()), second.text);
}

TEST(FailureRecord, AFolderOfAnotherLifeIsLeftAlone) {
  const test::TemporaryFolder folder;
  const RunFolder run(folder.path());
  const RunGuard guard(folder.path());
  EXPECT_TRUE(FailureRecord(folder.path(), "an earlier life").keep(first)) << "the report is printed all the same";
  EXPECT_FALSE(std::filesystem::exists(run.report()));
  EXPECT_FALSE(std::filesystem::exists(run.end()));
}

}  // namespace
}  // namespace penstock::failure_record_test

// SPDX-License-Identifier: Apache-2.0
#include "schedule/csv.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "schedule/lower.hpp"
#include "schedule/tables.hpp"

namespace penstock::csv_test {
namespace {

std::string message(std::string_view csv) {
  try {
    schedule_from_csv(csv, "my.csv", "mine");
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

void expect_in(std::string_view part, std::string_view csv) {
  EXPECT_NE(message(csv).find(part), std::string::npos) << csv << "\n" << message(csv);
}

TEST(Csv, ALineARank) {
  const Schedule s = generate({.pipeline = 2, .microbatches = 2});
  EXPECT_EQ(to_csv(s), "0F0,0F1,0B0,0B1\n1F0,1I0,1W0,1F1,1I1,1W1\n");
}

TEST(Csv, EveryGeneratedTableReadsBack) {
  for (const ScheduleRequest& request : test::requests({1, 2, 3, 4, 8}, 9)) {
    const Schedule s = generate(request);
    EXPECT_EQ(schedule_from_csv(to_csv(s), "f", s.name), s) << test::title(request);
    EXPECT_EQ(to_csv(lower(s, {.tied = true})), to_csv(s)) << test::title(request);
  }
}

TEST(Csv, PlacementIsReadFromTheLines) {
  const Schedule looped = test::looped_table(3, 2, 4, false);
  EXPECT_EQ(schedule_from_csv(to_csv(looped), "f", "table"), looped);
  const Schedule v_shaped = schedule_from_csv("0F0,3F0,3B0,0B0\n1F0,2F0,2B0,1B0\n", "f", "v");
  EXPECT_EQ(v_shaped.placement, (std::vector<int>{0, 1, 1, 0}));
  EXPECT_EQ(v_shaped.chunks(), 2);
  const Schedule uneven = schedule_from_csv("0F0,1F0,1B0,0B0\n2F0,2B0\n", "f", "uneven");
  EXPECT_EQ(uneven.placement, (std::vector<int>{0, 0, 1}));
  EXPECT_EQ(uneven.chunks(), std::nullopt);
}

TEST(Csv, BlanksEmptyCellsAndLineEndsArePassedOver) {
  EXPECT_EQ(schedule_from_csv(" 0F0 ,,0B0,\r\n\r\n\t,1F0,1B0", "f", "n"),
            schedule_from_csv("0F0,0B0\n1F0,1B0\n", "f", "n"));
}

TEST(Csv, ErrorsNameFileLineAndCell) {
  expect_in("my.csv:2: cell 3: '1X0'", "0F0,0B0\n1F0, ,1X0\n");
  expect_in("my.csv:1: cell 2: 0F0>1: a file holds F, I, W and B only", "0F0,0F0>1,0B0\n1F0,1B0\n");
  expect_in("my.csv:1: cell 1: G: ", "G,0F0,0B0\n");
  expect_in("my.csv:3: cell 2: 0B0: stage 0 is in the row of rank 0 too", "0F0\n\n1F0,0B0,1B0\n");
  expect_in("my.csv:1: cell 3: ", "0F0,0B0,0B0\n");
  expect_in("a second time", "0F0,0I0,0B0\n");
  expect_in("my.csv:1: cell 1: 0F0: its backward is missing", "0F0,0I0\n");
  expect_in("add 0W0 to this line", "0F0,0I0\n");
  expect_in(
      "my.csv:2: cell 1: 1F0: its backward is missing: each microbatch goes forwards and backwards through each "
      "stage, add 1B0, or 1I0 and 1W0 to this line",
      "0F0,0B0\n1F0\n");
  expect_in("my.csv:2: cell 1: 1B0: its forward is missing", "0F0,0B0\n1B0\n");
  expect_in("my.csv:1: cell 3: stage 2 is missing, but there is a stage 7", "0F0,0B0,7F0\n1F0,1B0\n");
  expect_in("my.csv:2: cell 3: ", "0F0,0B0,0F1,0B1\n1F0,1B0,1F2,1B2\n");
  expect_in("my.csv: no rows", "\n \n");
  expect_in("stage 1 is missing", "0F0,0B0\n2F0,2B0\n");
  expect_in("schedule mine (1 stages on 2 ranks, 1 microbatches): a table has at least", "0F0,0B0\n,\n");
}

TEST(Csv, AMistypedNumberDoesNotAskForAllMemory) {
  expect_in("my.csv:1: cell 3: 0F999999: its backward is missing", "0F0,0B0,0F999999\n");
  expect_in("my.csv:1: cell 3: ", "0F0,0B0,0F999999,0B999999\n");
  expect_in("correct the highest", "0F0,0B0,0F999999,0B999999\n");
}

TEST(Csv, AnOrderThatCannotEndIsRefusedWithItsChain) {
  expect_in("my.csv:1: cell 1: ", "0B0,0F0\n");
  expect_in("rank 0 at 0: 0B0 waits for rank 0 at 1: 0F0", "0B0,0F0\n");
  // Across ranks: each waits for something after the other's place.
  expect_in("rank 0 at 1: 0B0 waits for rank 1 at 2: 1B0", "0F0,0B0,0F1,0B1\n1F0,1F1,1B0,1B1\n");
  expect_in("rank 1 at 1: 1F1 waits for rank 0 at 2: 0F1", "0F0,0B0,0F1,0B1\n1F0,1F1,1B0,1B1\n");
}

}  // namespace
}  // namespace penstock::csv_test

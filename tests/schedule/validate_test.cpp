// SPDX-License-Identifier: Apache-2.0
#include "schedule/validate.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "schedule/lower.hpp"
#include "schedule/machine.hpp"
#include "schedule/tables.hpp"

namespace penstock::validate_test {
namespace {

std::string message(const Schedule& schedule) {
  const auto problem = find_problem(schedule);
  return problem ? problem->message : "";
}

void expect_in(std::string_view part, const Schedule& schedule) {
  EXPECT_NE(message(schedule).find(part), std::string::npos) << text(schedule) << message(schedule);
}

TEST(Validate, AcceptsWhatTheMachineRuns) {
  for (const ScheduleRequest& request : test::requests({1, 2, 3, 4, 8}, 10)) {
    const Schedule lowered = lower(generate(request), {.tied = true});
    EXPECT_EQ(message(lowered), "") << test::title(request);
    EXPECT_TRUE(test::Machine(lowered).accepts()) << test::title(request);
  }
}

TEST(Validate, ASendWithoutItsPartnersOrderIsADeadlock) {
  // The obvious table for 1F1B: sends right after, receives right before.
  Schedule naive = test::table(2, 2,
                               {"G 0F0 0F0>1 0F1 0F1>1 0I0<1 0B0 0I1<1 0B1 R N U",  //
                                "G 1F0<0 1F0 1B0 1I0>0 1F1<0 1F1 1B1 1I1>0 R N U"},
                               true);
  EXPECT_FALSE(test::Machine(naive).accepts());
  EXPECT_EQ(message(naive),
            "schedule table (2 stages on 2 ranks, 2 microbatches): deadlock, as a send completes only when its receive "
            "is posted:\n"
            "  rank 0 at 4: 0F1>1 waits for rank 1 at 5: 1F1<0\n"
            "  rank 1 at 4: 1I0>0 waits for rank 0 at 5: 0I0<1\n"
            "  and so rank 0 waits for itself: a circle. The rows:\n"
            "  rank 0 at 4: G 0F0 0F0>1 0F1 [0F1>1] 0I0<1 0B0 0I1<1 0B1 R N ...\n"
            "  rank 1 at 4: G 1F0<0 1F0 1B0 [1I0>0] 1F1<0 1F1 1B1 1I1>0 R N ...\n"
            "  Hand the table to lower without its transfers: it finds an order of them that ends.");
}

TEST(Validate, TheChainGoesToItsRoot) {
  // Ranks 1 and 2 hang on each other; rank 0 only waits for them.
  const Schedule table = test::table(3, 2,
                                     {"G 0F0 0F0>1 0F1 0F1>1 0I0<1 0B0 0I1<1 0B1 R N U",
                                      "G 1F0<0 1F0 1F0>2 1F1<0 1F1 1F1>2 1I0<2 1B0 1I0>0 1I1<2 1B1 1I1>0 R N U",
                                      "G 2F0<1 2F0 2B0 2I0>1 2F1<1 2F1 2B1 2I1>1 R N U"},
                                     true);
  const auto problem = find_problem(table);
  ASSERT_TRUE(problem);
  EXPECT_EQ(problem->rank, 1);
  EXPECT_EQ(problem->index, 6U);
  EXPECT_NE(problem->message.find("\n  rank 0 at 5: 0I0<1 waits for rank 1 at 9: 1I0>0"
                                  "\n  rank 1 at 6: 1F1>2 waits for rank 2 at 5: 2F1<1"
                                  "\n  rank 2 at 4: 2I0>1 waits for rank 1 at 7: 1I0<2"
                                  "\n  and so rank 1 waits for itself"),
            std::string::npos)
      << problem->message;
}

TEST(Validate, SumsAreMetLikeTransfers) {
  // Rank 0 stands at the norm of all before its backward, which the others' norm cannot wait for.
  expect_in("rank 0 at 4: N waits for rank 0 at 6: R",
            test::table(2, 1, {"G 0F0 0F0>1 0I0<1 N 0B0 R U", "G 1F0<0 1F0 1B0 1I0>0 R N U"}, true));
}

TEST(Validate, NamesWhatIsMissingDoubledOrNeedless) {
  const std::string good = "G 1F0<0 1F0 1B0 1I0>0 R N U";
  const auto with = [&](const std::string& first) { return test::table(2, 1, {first, good}, true); };
  EXPECT_EQ(message(with("G 0F0 0F0>1 0I0<1 0B0 R N U")), "");
  expect_in("rank 0 lacks 0F0>1 (send activation): add it", with("G 0F0 0I0<1 0B0 R N U"));
  expect_in("rank 0 lacks G (gather parameters)", with("0F0 0F0>1 0I0<1 0B0 R N U"));
  expect_in("rank 0 lacks U", with("G 0F0 0F0>1 0I0<1 0B0 R N"));
  expect_in("rank 0 lacks 0W0 (weight gradient)", with("G 0F0 0F0>1 0I0<1 0I0 R N U"));
  expect_in("0I0 of rank 0 does 0I0 a second time", with("G 0F0 0F0>1 0I0<1 0B0 0I0 R N U"));
  expect_in("nothing needs T of rank 0", with("G 0F0 0F0>1 0I0<1 0B0 R T N U"));
  expect_in("microbatches from 0 to 0", with("G 0F0 0F0>1 0I0<1 0B0 0F1 R N U"));
  expect_in("stages go from 0 to 1", with("G 0F0 0F0>1 0I0<1 0B0 2F0 R N U"));
  expect_in("1W0 in the row of rank 0: stage 1 is on rank 1: move it there", with("G 0F0 0F0>1 0I0<1 0B0 1W0 R N U"));
  expect_in("[1W0]", with("G 0F0 0F0>1 0I0<1 0B0 1W0 R N U"));
  EXPECT_THROW(validate(with("G 0F0 R N U")), InputError);
}

TEST(Validate, ATransferWithinARankIsNeedless) {
  expect_in("nothing needs", test::table(2, 1, {"G 0F0 0F0>1 1F0<0 1F0 1B0 0B0 R N U"}, true));
}

TEST(Validate, TheTiedSumIsOfBothEnds) {
  Schedule s = lower(generate({.pipeline = 2, .microbatches = 1}), {.tied = true});
  EXPECT_EQ(message(s), "");
  s.rows[0].erase(std::find(s.rows[0].begin(), s.rows[0].end(), Action{Work::tied_sum}));
  expect_in("rank 0 lacks T", s);
  s.rows[1].erase(std::find(s.rows[1].begin(), s.rows[1].end(), Action{Work::tied_sum}));
  expect_in("lacks T", s);
  s.tied = false;
  EXPECT_EQ(message(s), "");
}

TEST(Validate, Dimensions) {
  const Schedule good = generate({.pipeline = 2, .microbatches = 2});
  Schedule s = good;
  s.rows.pop_back();
  expect_in("one row a rank: 2", s);
  s = good;
  s.stages = 3;
  expect_in("each rank holds the same number of stages", s);
  s = good;
  s.placement = {0, 2};
  expect_in("stage 1 is placed on rank 2; ranks go from 0 to 1", s);
  s.placement = {0, 0};
  expect_in("rank 0 holds 2 stages", s);
  s.placement = {0};
  expect_in("1 stages are placed", s);
  s = good;
  s.microbatches = 0;
  expect_in("at least one rank and one microbatch", s);
  s = good;
  s.microbatches = 1000000000;
  expect_in("correct the highest stage or microbatch", s);
}

TEST(Validate, TransfersAreLaunchedTogetherBehindTransfersOnly) {
  expect_in("0F0>1 in the row of rank 0: it is launched together with the transfer before it (+), but there is none",
            test::table(2, 1, {"G 0F0 +0F0>1 0I0<1 0B0 R N U", "G 1F0<0 1F0 1B0 1I0>0 R N U"}, true));
}

TEST(Validate, TransfersThatAreLaunchedTogetherDoNotWaitForEachOther) {
  // Both ranks send first: only together with their receives does this end.
  const auto with = [](const std::string& plus) {
    return test::table(2, 2,
                       {"G 0F0 0F0>1 0F1 0F1>1 " + plus + "0I0<1 0B0 0I1<1 0B1 R N U",
                        "G 1F0<0 1F0 1B0 1I0>0 " + plus + "1F1<0 1F1 1B1 1I1>0 R N U"},
                       true);
  };
  EXPECT_EQ(message(with("+")), "");
  EXPECT_TRUE(test::Machine(with("+")).accepts());
  expect_in("deadlock", with(""));
}

TEST(Validate, MessagesOfAPairKeepTheirOrder) {
  const Schedule swapped = test::table(
      2, 2, {"G 0F0 0F1 0F0>1 +0F1>1 0I0<1 0B0 0I1<1 0B1 R N U", "G 1F1<0 +1F0<0 1F0 1B0 1I0>0 1F1 1B1 1I1>0 R N U"},
      true);
  expect_in("message 0 from rank 0 to rank 1 is sent as 0F0>1 (place 3) and received as 1F1<0", swapped);
  EXPECT_FALSE(test::Machine(swapped).accepts());
}

TEST(Validate, TransfersDoNotBelongIntoATableThatIsNotLowered) {
  expect_in("leave it out, lower adds it", test::table(2, 1, {"0F0 0F0>1 0B0", "1F0 1B0"}, false));
  expect_in("leave it out, lower adds it", test::table(1, 1, {"G 0F0 0B0"}, false));
}

}  // namespace
}  // namespace penstock::validate_test

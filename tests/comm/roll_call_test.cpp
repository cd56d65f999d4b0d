// SPDX-License-Identifier: Apache-2.0
#include "comm/roll_call.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "comm/failure_report.hpp"

namespace penstock::roll_call_test {
namespace {

Place place(std::int64_t step) { return {.step = step, .action = 4, .actions = 10, .name = ActionName("2F0")}; }

TEST(RollCall, WhatARankSaysArrivesWithItsAge) {
  RollCall here(0, 2, 100), there(1, 2, 7000);  // two hosts: two clocks
  there.own().place = place(5);
  there.own().moved = 7001;
  here.hear(there.beat(7003), 110);
  EXPECT_EQ(here.of(1).beats, 1U);
  EXPECT_EQ(here.of(1).place.step, 5);
  EXPECT_DOUBLE_EQ(here.of(1).heard, 110);
  EXPECT_DOUBLE_EQ(here.of(1).moved, 108);
  EXPECT_DOUBLE_EQ(here.last_move(), 108);
}

TEST(RollCall, OldNewsAndWhatOthersSayOfThisRankChangeNothing) {
  RollCall here(0, 3, 0), next(1, 3, 0), last(2, 3, 0);
  last.own().place = place(1);
  next.hear(last.beat(1), 1);
  last.own().place = place(2);
  here.hear(last.beat(2), 2);
  here.own().place = place(9);
  here.hear(next.beat(3), 3);  // knows the third rank's first beat only
  EXPECT_EQ(here.of(2).place.step, 2);
  EXPECT_EQ(here.own().place.step, 9);
  EXPECT_EQ(here.of(1).beats, 1U);
}

// Lets all ranks beat at once, `beats` times; letters between the sides of a cut are lost.
std::vector<RollCall> beat_together(int ranks, int beats, const std::function<bool(int, int)>& is_cut) {
  std::vector<RollCall> all;
  for (int rank = 0; rank < ranks; ++rank) all.emplace_back(rank, ranks, 0);
  const std::vector<int> steps = beat_steps(ranks);
  std::size_t next = 0;
  for (int beat = 1; beat <= beats; ++beat) {
    std::vector<std::vector<RankState>> letters;
    for (RollCall& roll : all) letters.push_back(roll.beat(beat));
    for (int letter = 0; letter < letters_a_beat; ++letter, ++next)
      for (int from = 0; from < ranks; ++from) {
        const int to = (from + steps[next % steps.size()]) % ranks;
        if (!is_cut(from, to)) all[static_cast<std::size_t>(to)].hear(letters[static_cast<std::size_t>(from)], beat);
      }
  }
  return all;
}

TEST(RollCall, EverybodyHearsOfEverybodySoon) {
  for (const int ranks : {2, 3, 4, 8, 100}) {
    const int digits = static_cast<int>(std::ceil(std::log2(ranks)));
    for (const RollCall& roll : beat_together(ranks, digits, [](int, int) { return false; }))
      for (int rank = 0; rank < ranks; ++rank) EXPECT_GE(roll.of(rank).beats, 1U) << rank << " of " << ranks;
  }
}

TEST(RollCall, ACutSilencesTheOtherSideAndNobodyElse) {
  for (const int ranks : {4, 8, 16, 64}) {
    const auto is_cut = [&](int a, int b) { return (a < ranks / 2) != (b < ranks / 2); };
    constexpr int beats = 40;
    const double patience = 5 + std::ceil(std::log2(ranks));
    for (const RollCall& roll : beat_together(ranks, beats, is_cut))
      for (int rank = 0; rank < ranks; ++rank)
        EXPECT_EQ(roll.is_silent(rank, beats, patience), is_cut(roll.rank(), rank)) << rank << " of " << ranks;
  }
}

TEST(RollCall, ARankIsSilentWhenItWasNotHeardOfForTooLong) {
  RollCall here(0, 2, 0), there(1, 2, 0);
  here.hear(there.beat(10), 10);
  EXPECT_FALSE(here.is_silent(1, 14, 5));
  EXPECT_TRUE(here.is_silent(1, 16, 5));
  EXPECT_FALSE(here.is_silent(0, 1000, 5)) << "no rank is silent to itself";
}

TEST(RollCall, TheEndOfOneIsHeardByAll) {
  RollCall here(0, 2, 0), there(1, 2, 0);
  EXPECT_EQ(here.first_ending(), -1);
  there.own().ending = true;
  here.hear(there.beat(1), 1);
  EXPECT_EQ(here.first_ending(), 1);
}

TEST(RollCall, LongTextsAreCutOff) {
  EXPECT_EQ(ActionName("2F0").text(), "2F0");
  EXPECT_EQ(ActionName(std::string(100, 'x')).text(), std::string(23, 'x'));
  EXPECT_TRUE(ActionName().empty());
}

FailureFacts facts() {
  return {.rank = 0,
          .what = "waited 9 s for 64 bytes from rank 1",
          .row = "rank 0 at 4: 0F0 [0B0]",
          .names = {"rank 0 on a, process 1", "rank 1 on b, process 2", "rank 2 on b, process 3"},
          .now = 20,
          .patience_seconds = 5};
}

TEST(FailureReport, NamesTheSilentAndWhereEachRankWas) {
  RollCall roll(0, 3, 0), second(1, 3, 0), third(2, 3, 0);
  second.own().place = place(6);
  third.own().place = place(7);
  third.own().waits_for = Awaited("8 bytes from rank 1");
  third.own().waits_since = 12;
  roll.hear(second.beat(11), 11);
  roll.hear(third.beat(19), 19);
  roll.own().place = place(7);
  roll.own().waits_for = Awaited("64 bytes from rank 1");
  roll.own().waits_since = 11;
  const FailureReport report = failure_report(roll, facts());
  EXPECT_EQ(report.steps_done, 6);
  EXPECT_EQ(report.message,
            "rank 0 on a, process 1: waited 9 s for 64 bytes from rank 1\nsilent: rank 1 on b, process 2");
  EXPECT_EQ(report.text,
            report.message +
                "\nrank 0 at 4: 0F0 [0B0]\nthe last known place of each rank:\n"
                "  rank 0 on a, process 1: step 7, action 5 of 10: 2F0, waited 9 s for 64 bytes from rank 1\n"
                "  rank 1 on b, process 2: silent for 9 s; last known: step 6, action 5 of 10: 2F0\n"
                "  rank 2 on b, process 3: step 7, action 5 of 10: 2F0, waited 8 s for 8 bytes from rank 1\n");
}

TEST(FailureReport, WhereNobodyIsSilentNamesWhoeverWaitsForNobody) {
  RollCall roll(0, 3, 19), second(1, 3, 19), third(2, 3, 19);
  second.own().waits_for = Awaited("rank 2");
  third.own().place = place(7);
  roll.hear(second.beat(19), 19);
  roll.hear(third.beat(19), 19);
  roll.own().waits_for = Awaited("rank 2");
  EXPECT_NE(
      failure_report(roll, facts()).message.find("\nat work, waiting for nobody: rank 2 (step 7, action 5 of 10: 2F0)"),
      std::string::npos);
}

}  // namespace
}  // namespace penstock::roll_call_test

// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/name_list.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.hpp"

namespace penstock::name_list_test {
namespace {

std::vector<std::string> sorted(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  return names;
}

TEST(NameList, NumbersThatFollowOneAnotherShareALine) {
  std::vector<std::string> names{"step", "deck", "/parameters/final_norm.bias"};
  for (int block = 0; block < 96; ++block) names.push_back(fmt::format("/parameters/blocks.{}.mlp.up.weight", block));
  const std::string text = folded(names);
  EXPECT_EQ(text, "/parameters/blocks.{0..95}.mlp.up.weight\n/parameters/final_norm.bias\ndeck\nstep");
  EXPECT_EQ(sorted(unfolded(text).value()), sorted(names));
}

TEST(NameList, WhatDoesNotFollowStandsAlone) {
  const std::vector<std::string> names{"a.0", "a.2", "a.3", "a.007", "b1c2", "b1c3", "v12345678901"};
  EXPECT_EQ(folded(names), "a.0\na.007\na.{2..3}\nb1c2\nb1c3\nv12345678901");
  EXPECT_EQ(sorted(unfolded(folded(names)).value()), sorted(names));
}

TEST(NameList, ADeepModelFitsIntoAnAttribute) {
  std::vector<std::string> names;
  for (const char* group : {"/parameters", "/optimizer/first_moment", "/optimizer/second_moment"})
    for (int block = 0; block < 1000; ++block)
      for (const char* part : {"attention.qkv.weight", "attention.output.bias", "mlp.up.weight", "mlp_norm.bias"})
        names.push_back(fmt::format("{}/blocks.{}.{}", group, block, part));
  EXPECT_LT(folded(names).size(), 1000U);
  EXPECT_EQ(sorted(unfolded(folded(names)).value()), sorted(names));
}

TEST(NameList, OtherTextsAreNone) {
  for (const char* text : {"", "a\n", "\na", "a\n\nb", "a{0..1", "a{0.1}", "a{..1}", "a{0..}", "a{3..2}", "a}0..1{",
                           "a{0..1}{0..1}", "a{x..y}", "a{-1..1}", "a{0..1}}", "a{0..99999999999}"})
    EXPECT_FALSE(unfolded(text)) << text;
}

TEST(NameList, AFewBytesDoNotTakeAllMemory) {
  EXPECT_FALSE(unfolded("a{0..999999999}"));
  EXPECT_FALSE(unfolded(std::string(60000, 'a') + "{0..99999}"));
}

TEST(NameList, NamesThatCannotBeFoldedAreOurMistake) {
  for (const char* name : {"", "a{", "a}", "a\nb"}) EXPECT_THROW(folded({name}), LogicError) << name;
}

}  // namespace
}  // namespace penstock::name_list_test

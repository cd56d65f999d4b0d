// SPDX-License-Identifier: Apache-2.0
#include "run/restart_advice.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "checkpoint/checkpoint.hpp"
#include "data/temporary_folder.hpp"

namespace penstock::restart_advice_test {
namespace {

std::string advice(const std::vector<std::int64_t>& saved, std::int64_t unchanged_since) {
  const test::TemporaryFolder folder;
  for (const std::int64_t step : saved) std::ofstream(folder.path() / checkpoint_name(step)) << "a checkpoint";
  return restart_advice(folder.path(), unchanged_since);
}

bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(RestartAdvice, LatestIsRightWhereItIsOlderThanTheStateThatFails) {
  EXPECT_TRUE(says(advice({10, 20}, 25), "restart from step 20 (--restart latest"));
}

TEST(RestartAdvice, AnOlderOneIsNamedWhereLatestIsTheStateThatFails) {
  const std::string text = advice({10, 20}, 20);
  EXPECT_TRUE(says(text, "of step 20, is the state that fails")) << text;
  EXPECT_TRUE(says(text, "--restart /")) << text;
  EXPECT_TRUE(says(text, "step-00000010.h5 with a lower")) << text;
}

TEST(RestartAdvice, WhatWasSavedOfSkippedStepsIsTheSameState) {
  const std::string text = advice({10, 20, 25, 30}, 20);
  EXPECT_TRUE(says(text, "of step 30, is the state that fails")) << text;
  EXPECT_TRUE(says(text, "step-00000010.h5")) << text;
}

TEST(RestartAdvice, WithoutAnOlderOneNoRestartIsAdvised) {
  for (const std::vector<std::int64_t>& saved : {std::vector<std::int64_t>{}, {20}, {20, 30}}) {
    const std::string text = advice(saved, 20);
    EXPECT_TRUE(says(text, "no older checkpoint")) << text;
    EXPECT_FALSE(says(text, "latest")) << text;
  }
}

}  // namespace
}  // namespace penstock::restart_advice_test

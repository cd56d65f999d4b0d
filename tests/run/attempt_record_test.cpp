// SPDX-License-Identifier: Apache-2.0
#include "run/attempt_record.hpp"

#include <gtest/gtest.h>

namespace penstock::attempt_record_test {
namespace {

TEST(AttemptRecords, ComeBackAsTheyWereWritten) {
  AttemptRecords records{
      .last = {.end = AttemptEnd::stopped, .step = 17, .exit_code = 75, .reason = "signal", .attempt = 3},
      .before = AttemptRecord{.end = AttemptEnd::failed, .exit_code = 1, .message = "a \"quoted\"\nmessage"}};
  const auto read = AttemptRecords::parse(records.json());
  ASSERT_TRUE(read && read->before);
  EXPECT_EQ(read->last.end, AttemptEnd::stopped);
  EXPECT_EQ(read->last.step, 17);
  EXPECT_EQ(read->last.exit_code, 75);
  EXPECT_EQ(read->last.reason, "signal");
  EXPECT_EQ(read->last.attempt, 3);
  EXPECT_EQ(read->before->end, AttemptEnd::failed);
  EXPECT_EQ(read->before->message, "a \"quoted\"\nmessage");
}

TEST(AttemptRecords, OfEarlierVersionsAreRead) {
  const auto read = AttemptRecords::parse(R"({"ended": "done", "step": 20, "exit_code": 0, "message": ""})");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->last.end, AttemptEnd::done);
  EXPECT_EQ(read->last.attempt, 1);
  EXPECT_FALSE(read->before);
}

TEST(AttemptRecords, NothingElseIsARecord) {
  for (const char* text : {"", "{", "[]", "{}", R"({"ended": "slept", "step": 1, "exit_code": 0, "message": ""})"})
    EXPECT_FALSE(AttemptRecords::parse(text)) << text;
  EXPECT_FALSE(AttemptRecords::read("no/such/end.json"));
}

}  // namespace
}  // namespace penstock::attempt_record_test

// SPDX-License-Identifier: Apache-2.0
#include "run/life_record.hpp"

#include <gtest/gtest.h>

namespace penstock::life_record_test {
namespace {

TEST(LifeRecords, ComeBackAsTheyWereWritten) {
  LifeRecords records{.last = {.end = LifeEnd::stopped, .step = 17, .exit_code = 75, .reason = "signal", .life = 3},
                      .before = LifeRecord{.end = LifeEnd::failed, .exit_code = 1, .message = "a \"quoted\"\nmessage"}};
  const auto read = LifeRecords::parse(records.json());
  ASSERT_TRUE(read && read->before);
  EXPECT_EQ(read->last.end, LifeEnd::stopped);
  EXPECT_EQ(read->last.step, 17);
  EXPECT_EQ(read->last.exit_code, 75);
  EXPECT_EQ(read->last.reason, "signal");
  EXPECT_EQ(read->last.life, 3);
  EXPECT_EQ(read->before->end, LifeEnd::failed);
  EXPECT_EQ(read->before->message, "a \"quoted\"\nmessage");
}

TEST(LifeRecords, OfEarlierVersionsAreRead) {
  const auto read = LifeRecords::parse(R"({"ended": "done", "step": 20, "exit_code": 0, "message": ""})");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->last.end, LifeEnd::done);
  EXPECT_EQ(read->last.life, 1);
  EXPECT_FALSE(read->before);
}

TEST(LifeRecords, NothingElseIsARecord) {
  for (const char* text : {"", "{", "[]", "{}", R"({"ended": "slept", "step": 1, "exit_code": 0, "message": ""})"})
    EXPECT_FALSE(LifeRecords::parse(text)) << text;
  EXPECT_FALSE(LifeRecords::read("no/such/end.json"));
}

}  // namespace
}  // namespace penstock::life_record_test

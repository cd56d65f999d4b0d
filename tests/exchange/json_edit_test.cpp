// SPDX-License-Identifier: Apache-2.0
#include "exchange/json_edit.hpp"

#include <gtest/gtest.h>

namespace penstock::json_edit_test {
namespace {

TEST(JsonEditTest, NoMembersAreNoChange) {
  for (const std::string text :
       {"{}", " {\n}\n", "{\"a\":1}", "\xef\xbb\xbf{ \"a\" : [1, {\"b\": \"}\\\"\"}] , \"c\":null }\n\n"})
    EXPECT_EQ(with_members(text, {}), text);
}

TEST(JsonEditTest, ReplacesAValueAndNothingElse) {
  const std::string text = "{\n  \"a\": 1.50,\n  \"b\" : {\"a\": [1, 2, \"]\"]},\n\t\"c\": \"x\\\\\"\n}\n";
  EXPECT_EQ(with_members(text, {{"a", 2}}),
            "{\n  \"a\": 2,\n  \"b\" : {\"a\": [1, 2, \"]\"]},\n\t\"c\": \"x\\\\\"\n}\n");
  EXPECT_EQ(with_members(text, {{"c", nullptr}, {"b", 3}}), "{\n  \"a\": 1.50,\n  \"b\" : 3,\n\t\"c\": null\n}\n");
  EXPECT_EQ(with_members("{\"a\":true}", {{"a", false}}), "{\"a\":false}");
}

TEST(JsonEditTest, FindsAKeyHoweverItIsWritten) {
  EXPECT_EQ(with_members("{\"\\u0061\": 1}", {{"a", 2}}), "{\"\\u0061\": 2}");
}

TEST(JsonEditTest, AddsAfterTheLastAndLikeIt) {
  EXPECT_EQ(with_members("{\n    \"a\": 1\n}\n", {{"b", 2}, {"c", "x"}}),
            "{\n    \"a\": 1,\n    \"b\": 2,\n    \"c\": \"x\"\n}\n");
  EXPECT_EQ(with_members("{\"a\": 1, \"b\": 2}", {{"c", 3}, {"a", 0}}), "{\"a\": 0, \"b\": 2, \"c\": 3}");
  EXPECT_EQ(with_members("{}\n", {{"a", 1}, {"b", 2}}), "{\n  \"a\": 1,\n  \"b\": 2\n}\n");
}

TEST(JsonEditTest, LaysOutObjectsAsDeepAsTheirKeyStands) {
  const nlohmann::ordered_json object = {{"x", 1}, {"y", {1, 2}}};
  EXPECT_EQ(with_members("{\n \"a\": 1\n}", {{"a", object}}),
            "{\n \"a\": {\n   \"x\": 1,\n   \"y\": [\n     1,\n     2\n   ]\n }\n}");
  EXPECT_EQ(with_members("{\"a\": 1}", {{"a", object}}), "{\"a\": {\"x\":1,\"y\":[1,2]}}");
}

}  // namespace
}  // namespace penstock::json_edit_test

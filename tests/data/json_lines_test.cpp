// SPDX-License-Identifier: Apache-2.0
#include "data/json_lines.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "data/compressed.hpp"
#include "data/temporary_folder.hpp"

namespace penstock::json_lines_test {
namespace {

class JsonLinesTest : public ::testing::Test {
 protected:
  std::vector<std::string> texts(const std::string& bytes, std::optional<std::string> field = std::nullopt) {
    test::write_file(path_, bytes);
    JsonLines lines(path_, std::move(field));
    std::vector<std::string> all;
    while (const auto record = lines.next()) all.push_back(record->prompt.value_or("") + record->text);
    return all;
  }
  void expect_error(const std::string& bytes, const std::vector<std::string>& parts,
                    std::optional<std::string> field = std::nullopt) {
    const std::string message = test::input_error([&] { texts(bytes, field); });
    for (const std::string& part : parts) EXPECT_NE(message.find(part), std::string::npos) << part << "\n" << message;
    EXPECT_EQ(message.find(path_.string() + ", line "), 0U) << message;
  }

  test::TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_ / "texts.jsonl";
};

using Texts = std::vector<std::string>;

TEST_F(JsonLinesTest, ReadsALineATime) {
  EXPECT_EQ(texts("{\"text\": \"a\"}\n{\"text\": \"b\\n\", \"id\": 3}\n"), (Texts{"a", "b\n"}));
  EXPECT_EQ(texts("\xef\xbb\xbf{\"text\": \"a\"}\r\n \t\r\n\n{\"text\": \"last\"}"), (Texts{"a", "last"}));
  EXPECT_EQ(texts(""), Texts{});
  EXPECT_EQ(texts("\n\n"), Texts{});
  EXPECT_EQ(texts(test::gzipped("{\"text\": \"\\u00e4\"}\n")), Texts{"\xc3\xa4"});
}

TEST_F(JsonLinesTest, ALineMayBeLongerThanWhatIsReadAtOnce) {
  const std::string text(5'000'000, 't');
  EXPECT_TRUE(texts("{\"text\": \"" + text + "\"}\n{\"text\": \"b\"}\n") == (Texts{text, "b"}));
}

TEST_F(JsonLinesTest, DotsLeadIntoObjectsUnlessAKeyHoldsThem) {
  EXPECT_EQ(texts("{\"a\": {\"b\": {\"c\": \"deep\"}}}\n{\"a.b.c\": \"flat\", \"a\": {\"b.c\": \"half\"}}\n"
                  "{\"a\": {\"b.c\": \"half\"}}\n",
                  "a.b.c"),
            (Texts{"deep", "flat", "half"}));
}

TEST_F(JsonLinesTest, TakesPairs) {
  test::write_file(path_, "{\"prompt\": \"p\", \"completion\": \"c\"}\n");
  const auto record = JsonLines(path_, std::nullopt).next();
  ASSERT_TRUE(record && record->prompt);
  EXPECT_EQ(*record->prompt, "p");
  EXPECT_EQ(record->text, "c");
  EXPECT_FALSE(JsonLines(path_, "completion").next()->prompt) << "a field is a whole text";
}

TEST_F(JsonLinesTest, NamesFileAndLineOfWhatCannotBeTaken) {
  const std::string good = "{\"text\": \"a\"}\n\n";
  for (const std::string& bad :
       {std::string("{\"text\": \"a\""), std::string("text"), std::string("{\"text\": \"\xff\"}"),
        std::string("{\"text\": \"\\ud800\"}"), std::string("{} {}")})
    expect_error(good + bad, {"line 3: is no JSON"});
  expect_error(good + "[1]", {"line 3: is no JSON object (array)"});
  expect_error(good + "{\"body\": \"a\", \"id\": 1}", {"line 3: has neither", "keys: body, id", "--field"});
  expect_error(good + "{\"text\": 3}", {"line 3: has neither"});
  expect_error(good, {"line 1: has no text in the field \"body.en\"", "keys: text"}, "body.en");
  expect_error("{\"messages\": []}", {"line 1: holds a conversation", "\"completion\""});
}

TEST_F(JsonLinesTest, AreKnownByTheirNames) {
  for (const char* name : {"a.jsonl", "a.jsonl.gz", "b/a.b.jsonl.zst"})
    EXPECT_TRUE(is_named_as_json_lines(name)) << name;
  for (const char* name : {"a.json", "jsonl", "a.gz", "a.jsonl.xz", "a.jsonl/b", ".gz"})
    EXPECT_FALSE(is_named_as_json_lines(name)) << name;
}

}  // namespace
}  // namespace penstock::json_lines_test

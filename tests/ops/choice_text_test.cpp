// SPDX-License-Identifier: Apache-2.0
// CTest: BACKENDS cuda
#include "ops/choice_text.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "base/error.hpp"

namespace penstock::choice_text_test {
namespace {

using ops::ChoiceTable;

const ops::ChoiceOrigin here{.card = "A card", .library = "130000"};
const ops::ChoiceOrigin elsewhere{.card = "Another card", .library = "130000"};
const ops::ChoiceOrigin updated{.card = "A card", .library = "130100"};

ops::ProductChoice choice_of(std::int64_t rows) {
  ops::ProductChoice choice;
  choice.product = {.m = 24,
                    .n = rows,
                    .k = 32,
                    .transpose_a = true,
                    .transpose_b = false,
                    .type = DType::bfloat16,
                    .result = DType::float32};
  choice.variant = ops::Variant::separate;
  choice.separate = {.microseconds = 1.25, .algorithm = {1, 2, 3, 4, 5, 6, 7, 0xffff}};
  return choice;
}

std::string text_at(const ops::ChoiceOrigin& origin, const std::string& known, std::int64_t rows) {
  ChoiceTable table = ops::choices_in(known, origin);
  table.own.push_back(choice_of(rows));
  return ops::text_of(origin, table);
}

std::string message_of(const std::string& text) {
  try {
    ops::choices_in(text, here);
  } catch (const InputError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

void expect_refused(const std::string& text, const std::string& why) {
  const std::string message = message_of(text);
  EXPECT_NE(message.find(why), std::string::npos) << message;
  EXPECT_NE(message.find("delete the file"), std::string::npos) << message;
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n') + 1); }
std::string without_last_line(const std::string& text) { return text.substr(0, text.rfind('\n', text.size() - 2) + 1); }

TEST(ChoiceText, IsReadAsItWasWritten) {
  const std::string text = text_at(here, text_at(here, "", 16), 32);
  const ChoiceTable table = ops::choices_in(text, here);
  ASSERT_EQ(table.own.size(), 2);
  EXPECT_TRUE(table.foreign.empty());
  EXPECT_EQ(table.own[1].product, choice_of(32).product);
  EXPECT_EQ(table.own[1].variant, ops::Variant::separate);
  EXPECT_EQ(table.own[1].separate->algorithm, choice_of(32).separate->algorithm);
  EXPECT_FALSE(table.own[1].fused);
  EXPECT_EQ(table.own[1].line, 3);
  EXPECT_EQ(ops::text_of(here, table), text);
  EXPECT_TRUE(text.ends_with("\nend\t2\n")) << text;
}

TEST(ChoiceText, OfNothingIsEmpty) {
  EXPECT_EQ(ops::text_of(here, {}), "");
  EXPECT_TRUE(ops::choices_in("", here).own.empty());
}

TEST(ChoiceText, LinesOfOthersStayAsTheyAre) {
  const std::string first = text_at(here, "", 16);
  const std::string second = text_at(elsewhere, first, 16);
  const std::string third = text_at(updated, second, 16);
  const ChoiceTable table = ops::choices_in(third, here);
  ASSERT_EQ(table.own.size(), 1);
  EXPECT_EQ(table.own[0].product, choice_of(16).product);
  ASSERT_EQ(table.foreign.size(), 2);
  EXPECT_TRUE(table.foreign[0].starts_with("A card\t130100\t")) << "the last writer's come first";
  EXPECT_TRUE(table.foreign[1].starts_with("Another card\t"));
  const ChoiceTable back = ops::choices_in(ops::text_of(here, table), updated);
  EXPECT_EQ(ops::text_of(here, ops::choices_in(ops::text_of(updated, back), here)), ops::text_of(here, table));
  EXPECT_EQ(ops::choices_in(first, elsewhere).foreign.size(), 1);
}

TEST(ChoiceText, StaysSmall) {
  ChoiceTable table;
  for (std::int64_t rows = 1; rows <= 1200; ++rows) table.own.push_back(choice_of(rows));
  const ChoiceTable seen = ops::choices_in(ops::text_of(elsewhere, table), here);
  EXPECT_EQ(seen.foreign.size(), 1200);
  const ChoiceTable kept = ops::choices_in(ops::text_of(here, seen), here);
  ASSERT_EQ(kept.foreign.size(), ops::most_foreign_lines);
  EXPECT_EQ(kept.foreign.back(), seen.foreign[ops::most_foreign_lines - 1]);
}

TEST(ChoiceText, ThatIsNotWholeIsRefused) {
  const std::string text = text_at(elsewhere, text_at(here, "", 16), 32);
  expect_refused("\n", "line 1 ");
  expect_refused(first_line(text), "line 1 of the choices of matrix products is damaged: the text ends with it");
  expect_refused(without_last_line(text), "line 3 of the choices of matrix products is damaged: the text ends with it");
  expect_refused(without_last_line(without_last_line(text)), "line 2 ");
  expect_refused(text.substr(0, text.size() - 1), "the text ends inside it");
  expect_refused(without_last_line(text) + "end\t3\n", "there are 3 products, and there are 2 before it");
  expect_refused(without_last_line(text) + "end\tmany\n", "line 4 ");
  expect_refused(text + text, "there are 2 products, and there are 6 before it");
  expect_refused(text.substr(1), "line 1 ");
}

TEST(ChoiceText, ForeignLinesAreHeldToTheirCells) {
  const std::string text = text_at(elsewhere, "", 16);
  expect_refused(first_line(text) + "Another card\t130000\t24\nend\t1\n", "line 2 ");
}

}  // namespace
}  // namespace penstock::choice_text_test

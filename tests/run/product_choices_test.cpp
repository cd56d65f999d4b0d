// SPDX-License-Identifier: Apache-2.0
#include "run/product_choices.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/log.hpp"
#include "data/temporary_folder.hpp"

namespace penstock::product_choices_test {
namespace {

using test::TemporaryFolder;

const std::string columns = "card\tlibrary\tm\tway\tmicroseconds";

std::string name(int m, const std::string& card = "A") { return card + "\t13\t" + std::to_string(m); }

std::string line(int m, const std::string& way, const std::string& card = "A") { return name(m, card) + "\t" + way; }

std::string text_of(const std::vector<std::string>& lines) {
  std::string text = columns + "\n";
  for (const std::string& each : lines) text += each + "\n";
  return text + "end\t" + std::to_string(lines.size()) + "\n";
}

/// A run with three products on card A, and a device that takes its own way in every run.
class MadeUpRun {
 public:
  explicit MadeUpRun(std::filesystem::path cache, std::string way)
      : cache_(std::move(cache), "A"), way_(std::move(way)) {}

  std::string folder, checkpoint;
  int measured = 0, looks_at_checkpoint = 0;
  bool damaged = false;

  ProductChoices choose() {
    return find_product_choices(names(), {.folder = folder,
                                          .checkpoint =
                                              [this] {
                                                ++looks_at_checkpoint;
                                                return checkpoint;
                                              },
                                          .cache = &cache_,
                                          .measure = [this](const std::string& known) { return measure(known); },
                                          .check = [this](const std::string& text) { return check(text); }});
  }

 private:
  static ops::LinearChoiceNames names() {
    return {.origin = "A", .columns = columns, .products = {name(1), name(2), name(3)}};
  }

  static std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    for (std::size_t begin = text.find('\n') + 1; !text.substr(begin).starts_with("end\t");) {
      const std::size_t end = text.find('\n', begin);
      lines.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
    return lines;
  }

  std::string measure(const std::string& known) {
    std::vector<std::string> lines = known.empty() ? std::vector<std::string>() : lines_of(known);
    for (const std::string& product : names().products)
      if (std::none_of(lines.begin(), lines.end(), [&](const auto& l) { return l.starts_with(product + "\t"); })) {
        lines.push_back(product + "\t" + way_);
        ++measured;
      }
    return text_of(lines);
  }

  static std::string check(const std::string& text) {
    if (text.find("damaged") != std::string::npos) throw InputError("line 2 is damaged");
    return text;
  }

  ProductCache cache_;
  std::string way_;
};

class ProductChoicesTest : public testing::Test {
 protected:
  TemporaryFolder temporary;
  const std::filesystem::path cache = temporary.path() / "cache";
};

TEST_F(ProductChoicesTest, ASecondRunTakesWhatTheFirstMeasured) {
  MadeUpRun first(cache, "fused"), second(cache, "separate");
  const ProductChoices chosen = first.choose();
  EXPECT_EQ(chosen.text, text_of({line(1, "fused"), line(2, "fused"), line(3, "fused")}));
  EXPECT_EQ(chosen.sources, "3 measured");
  const ProductChoices again = second.choose();
  EXPECT_EQ(again.text, chosen.text);
  EXPECT_EQ(again.sources, "3 from the cache");
  EXPECT_EQ(second.measured, 0);
}

TEST_F(ProductChoicesTest, WithCachesOfTheirOwnTwoRunsMayDiffer) {
  MadeUpRun first(cache, "fused"), second(temporary.path() / "another", "separate");
  EXPECT_NE(first.choose().text, second.choose().text);
}

TEST_F(ProductChoicesTest, TheFolderComesBeforeTheCheckpointAndThatBeforeTheCache) {
  MadeUpRun(cache, "from the cache").choose();
  MadeUpRun run(cache, "measured");
  run.folder = text_of({line(1, "of the folder")});
  run.checkpoint = text_of({line(1, "of the checkpoint"), line(2, "of the checkpoint")});
  const ProductChoices chosen = run.choose();
  EXPECT_EQ(chosen.text, text_of({line(1, "of the folder"), line(2, "of the checkpoint"), line(3, "from the cache")}));
  EXPECT_EQ(chosen.sources, "1 from the run folder, 1 from the checkpoint, 1 from the cache");
  EXPECT_EQ(run.measured, 0);
}

TEST_F(ProductChoicesTest, OnlyWhatIsMissingIsMeasured) {
  MadeUpRun run(cache, "measured");
  run.folder = text_of({line(2, "of the folder")});
  const ProductChoices chosen = run.choose();
  EXPECT_EQ(chosen.text, text_of({line(1, "measured"), line(2, "of the folder"), line(3, "measured")}))
      << "in the order of the products, so that two runs have one text";
  EXPECT_EQ(chosen.sources, "1 from the run folder, 2 measured");
  EXPECT_EQ(MadeUpRun(cache, "again").choose().sources, "2 from the cache, 1 measured")
      << "what came from the folder is of one run";
}

TEST_F(ProductChoicesTest, AFolderThatHasAllNeedsNothingElse) {
  MadeUpRun run(cache, "measured");
  run.folder = text_of({line(3, "a"), line(2, "b"), line(1, "c")});
  EXPECT_EQ(run.choose().sources, "3 from the run folder");
  EXPECT_EQ(run.looks_at_checkpoint, 0);
  EXPECT_FALSE(std::filesystem::exists(cache));
}

TEST_F(ProductChoicesTest, WhatAnotherRunKeptMeanwhileHolds) {
  ProductCache own(cache, "A"), other(cache, "A");
  const ProductChoices chosen = find_product_choices({.origin = "A", .columns = columns, .products = {name(1)}},
                                                     {.folder = "",
                                                      .checkpoint = [] { return ""; },
                                                      .cache = &own,
                                                      .measure =
                                                          [&](const std::string&) {
                                                            other.keep(name(1), line(1, "of the other run"));
                                                            return text_of({line(1, "of this run")});
                                                          },
                                                      .check = [](const std::string& text) { return text; }});
  EXPECT_EQ(chosen.text, text_of({line(1, "of the other run")}));
  EXPECT_EQ(chosen.sources, "1 from the cache");
}

TEST_F(ProductChoicesTest, LinesOfOtherCardsAndShapesStay) {
  MadeUpRun run(cache, "measured");
  run.folder = text_of({line(1, "here", "B"), line(1, "here"), line(9, "here")});
  run.checkpoint = text_of({line(1, "there", "B"), line(2, "there", "B"), line(2, "there")});
  EXPECT_EQ(run.choose().text, text_of({line(1, "here"), line(2, "there"), line(3, "measured"), line(1, "here", "B"),
                                        line(9, "here"), line(2, "there", "B")}));
}

TEST_F(ProductChoicesTest, AWayThatWasNotChosenIsOfThisRunAlone) {
  EXPECT_EQ(MadeUpRun(cache, "default\t-").choose().sources, "3 measured");
  EXPECT_EQ(MadeUpRun(cache, "fused").choose().sources, "3 measured");
  EXPECT_EQ(MadeUpRun(cache, "default\t-").choose().sources, "3 from the cache");
}

TEST_F(ProductChoicesTest, ADamagedFileOfTheFolderIsRefusedAndThatOfACheckpointLeftOut) {
  MadeUpRun run(cache, "measured");
  run.folder = text_of({"damaged"});
  EXPECT_THROW(run.choose(), InputError);
  run.folder = "";
  run.checkpoint = text_of({"damaged"});
  start_log(0, 1);
  testing::internal::CaptureStderr();
  EXPECT_EQ(run.choose().sources, "3 measured");
  EXPECT_NE(testing::internal::GetCapturedStderr().find("came with the checkpoint are left out: line 2 is damaged"),
            std::string::npos);
}

TEST_F(ProductChoicesTest, WithNothingToChooseTheTextOfTheFolderIsCarriedAlong) {
  const ProductChoices chosen = find_product_choices(
      {}, {.folder = text_of({line(1, "elsewhere")}), .checkpoint = {}, .cache = nullptr, .measure = {}, .check = {}});
  EXPECT_EQ(chosen.text, text_of({line(1, "elsewhere")}));
  EXPECT_EQ(chosen.sources, "");
}

TEST(ChoicesForCheckpoint, AreTheTextOrItsFirstLines) {
  const std::string small = text_of({line(1, "fused"), line(2, "fused")});
  EXPECT_EQ(choices_for_checkpoint(small), small);
  EXPECT_EQ(choices_for_checkpoint(""), "");
  EXPECT_EQ(choices_for_checkpoint("no choices\n"), "");
  EXPECT_EQ(choices_for_checkpoint(small.substr(0, small.size() - 1)), "");
  std::vector<std::string> lines;
  for (int m = 0; m < 1000; ++m) lines.push_back(line(m, std::string(300, 'f')));
  const std::string cut = choices_for_checkpoint(text_of(lines));
  EXPECT_GT(cut.size(), 45000U);
  EXPECT_LE(cut.size(), 49152U) << "an attribute holds 64 KiB";
  lines.resize(static_cast<std::size_t>(std::count(cut.begin(), cut.end(), '\n')) - 2);
  EXPECT_EQ(cut, text_of(lines));
}

}  // namespace
}  // namespace penstock::product_choices_test

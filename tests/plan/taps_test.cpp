// SPDX-License-Identifier: Apache-2.0
#include "plan/taps.hpp"

#include <gtest/gtest.h>

namespace penstock::taps_test {
namespace {

using Names = std::vector<std::string>;

ModelDescription model_of(std::int64_t layers) { return describe_model({.layers = layers, .width = 8, .heads = 2}); }

TEST(Taps, AreThoseOfEveryBlock) {
  EXPECT_EQ(all_taps(model_of(2)),
            (Names{"embedding", "embedding.gradient", "blocks.0.attention", "blocks.0.attention.gradient",
                   "blocks.0.mlp", "blocks.0.mlp.gradient", "blocks.0", "blocks.0.gradient", "blocks.1.attention",
                   "blocks.1.attention.gradient", "blocks.1.mlp", "blocks.1.mlp.gradient", "blocks.1",
                   "blocks.1.gradient", "logits", "logits.gradient", "loss"}));
}

TEST(Taps, RotatedHeadsAreThoseOfFamiliesThatRotate) {
  const ModelDescription llama = describe_model({.family = "llama", .layers = 2, .width = 8, .heads = 2});
  EXPECT_EQ(expand_taps({"blocks.*.attention.query", "blocks.*.attention.key"}, llama),
            (Names{"blocks.0.attention.query", "blocks.0.attention.key", "blocks.1.attention.query",
                   "blocks.1.attention.key"}));
  EXPECT_EQ(unknown_taps({"blocks.0.attention.key.gradient"}, llama), Names{"blocks.0.attention.key.gradient"});
  EXPECT_NE(taps_text(llama).find("blocks.i.attention.query, blocks.i.attention.key"), std::string::npos);
  EXPECT_EQ(unknown_taps({"blocks.*.attention.query"}, model_of(2)), Names{"blocks.*.attention.query"});
  EXPECT_EQ(taps_text(model_of(2)).find("query"), std::string::npos);
}

TEST(ExpandTaps, ANameIsItself) {
  for (const std::string& tap : all_taps(model_of(3))) EXPECT_EQ(expand_taps({tap}, model_of(3)), Names{tap});
}

TEST(ExpandTaps, AStarIsEveryBlock) {
  EXPECT_EQ(expand_taps({"blocks.*"}, model_of(3)), (Names{"blocks.0", "blocks.1", "blocks.2"}))
      << "the blocks alone, not what is in them";
  EXPECT_EQ(expand_taps({"blocks.*.mlp"}, model_of(2)), (Names{"blocks.0.mlp", "blocks.1.mlp"}));
  EXPECT_EQ(expand_taps({"blocks.*.gradient"}, model_of(2)), (Names{"blocks.0.gradient", "blocks.1.gradient"}));
  EXPECT_EQ(expand_taps({"blocks.*.attention.gradient"}, model_of(1)), Names{"blocks.0.attention.gradient"});
  EXPECT_EQ(expand_taps({"blocks.*"}, model_of(12)).size(), 12U) << "numbers of two digits, too";
}

TEST(ExpandTaps, EachOnceInTheModelsOrder) {
  EXPECT_EQ(expand_taps({"loss", "blocks.1", "blocks.*", "embedding", "loss"}, model_of(2)),
            (Names{"embedding", "blocks.0", "blocks.1", "loss"}));
}

TEST(ExpandTaps, AnUnknownNameIsNothing) {
  for (const char* name : {"", "block.0", "blocks.2", "blocks.01", "blocks.*.norm", "loss.gradient", "blocks.0.*", "*"})
    EXPECT_TRUE(expand_taps({name}, model_of(2)).empty()) << name;
}

TEST(TapsText, NamesTheLastBlock) {
  EXPECT_NE(taps_text(model_of(8)).find("0 to 7"), std::string::npos) << taps_text(model_of(8));
}

}  // namespace
}  // namespace penstock::taps_test

// SPDX-License-Identifier: Apache-2.0
#include "data/microbatch.hpp"

#include <gtest/gtest.h>

#include "data/temporary_folder.hpp"
#include "data/token_samples.hpp"

namespace penstock::microbatch_test {
namespace {

TEST(MicrobatchTest, SampleIIsTokensFromIT) {
  const test::TemporaryFolder folder;
  test::write_known_tokens(folder / "train.tok", 101);
  const TokenFile file = test::open_token_file(folder / "train.tok");
  const Microbatch microbatch = read_samples(file, 3, 2, 20);  // up to the last token of the file
  EXPECT_EQ(microbatch.first_sample, 3U);
  EXPECT_EQ(microbatch.tokens, test::known_tokens(60, 40));
  EXPECT_EQ(microbatch.targets, test::known_tokens(61, 40));
}

TEST(MicrobatchTest, SamplesInARunEqualSamplesOneByOne) {
  const test::TemporaryFolder folder;
  test::write_known_tokens(folder / "train.tok", 200, {.bytes_per_token = 2, .vocabulary = 50257});
  const TokenFile file = test::open_token_file(folder / "train.tok");
  Microbatch one_by_one{.first_sample = 2};
  for (std::uint64_t sample = 2; sample < 7; ++sample) append_samples(file, sample, 1, 24, one_by_one);
  EXPECT_EQ(one_by_one, read_samples(file, 2, 5, 24));
  EXPECT_EQ(read_samples(file, 2, 0, 24).tokens.size(), 0U);
}

TEST(MicrobatchTest, CountsWholeSamplesWithTheirLastTarget) {
  const auto samples = [](std::uint64_t tokens) { return samples_in_file({.tokens = tokens}, "train.tok", 64); };
  EXPECT_EQ(samples(65), 1U);
  EXPECT_EQ(samples(128), 1U);
  EXPECT_EQ(samples(129), 2U);
  EXPECT_EQ(samples(64 * 1000 + 1), 1000U);
}

TEST(MicrobatchTest, NamesWhatASampleNeeds) {
  const std::string message = test::input_error([] { samples_in_file({.tokens = 64}, "train.tok", 64); });
  for (const std::string part : {"train.tok", "64 tokens", "data.sequence = 64", "needs 65", "63 or less"})
    EXPECT_NE(message.find(part), std::string::npos) << part << "\n" << message;
  EXPECT_THROW(samples_in_file({.tokens = 1}, "train.tok", 1), InputError);
  EXPECT_THROW(samples_in_file({.tokens = 10}, "train.tok", 0), InputError);
}

}  // namespace
}  // namespace penstock::microbatch_test

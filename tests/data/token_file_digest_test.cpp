// SPDX-License-Identifier: Apache-2.0
#include "data/token_file_digest.hpp"

#include <gtest/gtest.h>

#include "data/temporary_folder.hpp"
#include "data/token_samples.hpp"

namespace penstock::token_file_digest_test {
namespace {

constexpr std::uint64_t block = 65536, most_whole = 64 * block;

class TokenFileDigestTest : public ::testing::Test {
 protected:
  std::string digest_of_text(const std::string& bytes) {
    test::write_file(path_, bytes);
    return token_file_digest(path_);
  }

  test::TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_ / "train.tok";
};

TEST_F(TokenFileDigestTest, IsFnvOfAWholeSmallFile) {
  EXPECT_EQ(digest_of_text("foobar"), "fnv1a64-85944171f73967e8") << "the published value of FNV-1a for \"foobar\"";
  const std::string text(most_whole + 64, 't');
  EXPECT_EQ(digest_of_text(text), fmt::format("fnv1a64-{:016x}", hash_text(text)));
}

TEST_F(TokenFileDigestTest, DoesNotDependOnTheName) {
  test::write_known_tokens(path_, 1000);
  std::filesystem::copy_file(path_, folder_ / "copy.tok");
  EXPECT_EQ(token_file_digest(folder_ / "copy.tok"), token_file_digest(path_));
}

TEST_F(TokenFileDigestTest, SeesMoreText) {
  test::write_known_tokens(path_, most_whole + 5);
  test::write_known_tokens(folder_ / "more.tok", most_whole + 6);
  EXPECT_NE(token_file_digest(folder_ / "more.tok"), token_file_digest(path_));
}

TEST_F(TokenFileDigestTest, BlocksAreEvenlySpacedFromTheHeaderToTheEnd) {
  for (const std::uint64_t tokens : {most_whole + 1, most_whole + 12345, 100 * most_whole, std::uint64_t{1} << 62}) {
    const std::vector<FileStretch> stretches = digested_stretches(64 + tokens);
    ASSERT_EQ(stretches.size(), 65U);
    EXPECT_EQ(stretches[0], (FileStretch{0, 64}));
    EXPECT_EQ(stretches[1].first, 64U);
    EXPECT_EQ(stretches[64].first + block, 64 + tokens);
    const std::uint64_t spacing = (tokens - block) / 63;
    for (std::size_t i = 1; i < 64; ++i) {
      EXPECT_EQ(stretches[i].bytes, block);
      const std::uint64_t gap = stretches[i + 1].first - stretches[i].first;
      EXPECT_GE(gap, block) << "blocks overlap";
      EXPECT_TRUE(gap == spacing || gap == spacing + 1) << gap << ", not " << spacing;
    }
  }
  EXPECT_EQ(digested_stretches(64 + most_whole), (std::vector<FileStretch>{{0, 64}, {64, most_whole}}));
}

TEST_F(TokenFileDigestTest, SeesAByteInEachBlockAndNoneBetweenThem) {
  const std::string text(most_whole + 64 * 1000, 't');
  const std::string digest = digest_of_text(text);
  const auto changed_at = [&](std::uint64_t byte) {
    std::string changed = text;
    changed[byte] = 'T';
    return digest_of_text(changed);
  };
  const std::vector<FileStretch> stretches = digested_stretches(text.size());
  for (const std::size_t i : {0, 1, 17, 64}) {
    EXPECT_NE(changed_at(stretches[i].first), digest) << "stretch " << i;
    EXPECT_NE(changed_at(stretches[i].first + stretches[i].bytes - 1), digest) << "stretch " << i;
  }
  EXPECT_EQ(changed_at(stretches[17].first + block), digest) << "the limit that the header states";
}

TEST_F(TokenFileDigestTest, RefusesWhatIsNotThere) {
  EXPECT_NE(test::input_error([&] { token_file_digest(path_); }).find("does not exist"), std::string::npos);
}

}  // namespace
}  // namespace penstock::token_file_digest_test

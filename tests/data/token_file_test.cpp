// SPDX-License-Identifier: Apache-2.0
#include "data/token_file.hpp"

#include <gtest/gtest.h>

#include <type_traits>

#include "data/temporary_folder.hpp"
#include "data/token_samples.hpp"

namespace penstock::token_file_test {
namespace {

static_assert(std::is_nothrow_move_constructible_v<TokenFile> && !std::is_copy_constructible_v<TokenFile>);

class TokenFileTest : public ::testing::Test {
 protected:
  test::TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_ / "train.tok";
};

TEST_F(TokenFileTest, ReadsAnyPlaceInEveryWidth) {
  const TokenFileFormat formats[] = {{1, 256}, {2, 65536}, {4, 100000}, {4, 1ULL << 31}};
  for (const TokenFileFormat& format : formats) {
    test::write_known_tokens(path_, 5000, format);
    const TokenFile file = test::open_token_file(path_);
    for (const std::uint64_t first : {0, 1, 17, 4096})
      for (const std::uint64_t count : {0, 1, 2, 3, 64, 904}) {
        std::vector<std::int32_t> tokens(count, -7);
        file.read(first, tokens);
        EXPECT_EQ(tokens, test::known_tokens(first, count, format.vocabulary)) << format.bytes_per_token << " bytes";
      }
  }
}

TEST_F(TokenFileTest, IsStillOpenAfterAMove) {
  test::write_known_tokens(path_, 50);
  TokenFile first = test::open_token_file(path_);
  const TokenFile second = std::move(first);
  std::vector<std::int32_t> tokens(50);
  second.read(0, tokens);
  EXPECT_EQ(tokens, test::known_tokens(0, 50));
  EXPECT_EQ(second.path(), path_);
}

TEST_F(TokenFileTest, ReadingBehindTheEndIsALogicError) {
  test::write_known_tokens(path_, 50);
  const TokenFile file = test::open_token_file(path_);
  std::vector<std::int32_t> tokens(2);
  EXPECT_NO_THROW(file.read(48, tokens));
  EXPECT_THROW(file.read(49, tokens), LogicError);
  EXPECT_THROW(file.read(~std::uint64_t{0}, tokens), LogicError);
}

TEST_F(TokenFileTest, NamesATokenAboveTheLargestOfTheHeader) {
  TokenFileWriter writer(path_, {.bytes_per_token = 2, .vocabulary = 1000});
  writer.append(std::vector<std::int32_t>(100, 999));
  writer.publish();
  std::string bytes = test::read_file(path_);
  bytes[64 + 2 * 70 + 1] = '\x40';  // token 70 becomes 0x40e7
  test::write_file(path_, bytes);
  const TokenFile file = test::open_token_file(path_);
  std::vector<std::int32_t> tokens(60);
  EXPECT_NO_THROW(file.read(0, tokens));
  const std::string message = test::input_error([&] { file.read(20, tokens); });
  for (const std::string& part : {path_.string(), std::string("token 16615"), std::string("index 70"),
                                  std::string("byte 204"), std::string("names, 999")})
    EXPECT_NE(message.find(part), std::string::npos) << part << "\n" << message;
}

TEST_F(TokenFileTest, AFourByteTokenWithTheTopBitIsLargeNotNegative) {
  test::write_known_tokens(path_, 10, {.bytes_per_token = 4, .vocabulary = 100});
  std::string bytes = test::read_file(path_);
  bytes[64 + 4 * 3 + 3] = '\xff';
  test::write_file(path_, bytes);
  std::vector<std::int32_t> tokens(10);
  const std::string message = test::input_error([&] { test::open_token_file(path_).read(0, tokens); });
  EXPECT_NE(message.find("index 3 (byte 76)"), std::string::npos) << message;
}

TEST_F(TokenFileTest, RefusesAFileThatDiffersFromTheHeaderOfAnotherRank) {
  test::write_known_tokens(path_, 50);
  TokenFileHeader header = read_token_header(path_);
  header.tokens = 51;
  const std::string message = test::input_error([&] { TokenFile(path_, header); });
  EXPECT_NE(message.find("114 bytes here, and 115"), std::string::npos) << message;
  EXPECT_THROW(TokenFile(folder_ / "missing", header), InputError);
}

TEST_F(TokenFileTest, SaysSoWhenTheFileShrinksUnderTheRun) {
  test::write_known_tokens(path_, 50);
  const TokenFile file = test::open_token_file(path_);
  std::filesystem::resize_file(path_, 100);
  std::vector<std::int32_t> tokens(50);
  EXPECT_THROW(file.read(0, tokens), SystemError);
}

}  // namespace
}  // namespace penstock::token_file_test

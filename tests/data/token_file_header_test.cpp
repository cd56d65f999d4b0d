// SPDX-License-Identifier: Apache-2.0
#include "data/token_file_header.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>

#include "data/temporary_folder.hpp"
#include "data/token_samples.hpp"

namespace penstock::token_file_header_test {
namespace {

std::string as_text(const EncodedTokenFileHeader& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class TokenFileHeaderTest : public ::testing::Test {
 protected:
  std::string error_of(const std::filesystem::path& path) {
    return test::input_error([&] { read_token_header(path); });
  }
  void expect_error(const std::filesystem::path& path, const std::vector<std::string>& parts) {
    const std::string message = error_of(path);
    EXPECT_NE(message.find(path.string()), std::string::npos) << message;
    for (const std::string& part : parts) EXPECT_NE(message.find(part), std::string::npos) << part << "\n" << message;
  }

  test::TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_ / "train.tok";
};

TEST_F(TokenFileHeaderTest, BytesStandWhereTheLayoutSays) {
  const TokenFileHeader header{.bytes_per_token = 2, .vocabulary = 50257, .tokens = 0x0102030405, .largest = 50256};
  const std::string bytes = as_text(encode(header));
  EXPECT_EQ(bytes.substr(0, 8), "\x89PSTOK\r\n");
  EXPECT_EQ(bytes.substr(8, 4), std::string("\x01\0\0\0", 4));
  EXPECT_EQ(bytes.substr(12, 4), std::string("\x02\0\0\0", 4));
  EXPECT_EQ(bytes.substr(16, 8), std::string("\x51\xc4\0\0\0\0\0\0", 8));
  EXPECT_EQ(bytes.substr(24, 8), std::string("\x05\x04\x03\x02\x01\0\0\0", 8));
  EXPECT_EQ(bytes.substr(32, 8), std::string("\x50\xc4\0\0\0\0\0\0", 8));
  EXPECT_EQ(bytes.substr(40, 16), std::string(16, '\0'));
}

TEST_F(TokenFileHeaderTest, IsReadAsItWasWritten) {
  test::write_known_tokens(path_, 1000, {.bytes_per_token = 2, .vocabulary = 5000});
  const TokenFileHeader header = read_token_header(path_);
  const auto tokens = test::known_tokens(0, 1000, 5000);
  EXPECT_EQ(header.version, 1U);
  EXPECT_EQ(header.bytes_per_token, 2U);
  EXPECT_EQ(header.vocabulary, 5000U);
  EXPECT_EQ(header.tokens, 1000U);
  EXPECT_EQ(header.largest, static_cast<std::uint64_t>(*std::max_element(tokens.begin(), tokens.end())));
  EXPECT_EQ(header.file_bytes(), 64U + 2000U);
}

TEST_F(TokenFileHeaderTest, NamesWhatCannotBeOpened) {
  expect_error(path_, {"does not exist", "penstock tokenize -o"});
  expect_error(folder_.path(), {"is a folder"});
  EXPECT_NE(error_of("").find("does not exist"), std::string::npos);
  ASSERT_EQ(mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  expect_error(folder_ / "pipe", {"not a regular file"});
}

TEST_F(TokenFileHeaderTest, NamesAFileWithoutReadPermission) {
  test::write_known_tokens(path_, 10);
  std::filesystem::permissions(folder_.path(), std::filesystem::perms::all);
  std::filesystem::permissions(path_, std::filesystem::perms::none);
  const test::WithoutPrivileges nobody;
  expect_error(path_, {"cannot be read", "Permission denied"});
}

TEST_F(TokenFileHeaderTest, RefusesAnEmptyFile) {
  test::write_file(path_, "");
  expect_error(path_, {"is empty", "penstock tokenize -o"});
}

TEST_F(TokenFileHeaderTest, RefusesTextWhateverItsLength) {
  for (const std::size_t length : {1, 7, 8, 63, 64, 5000}) {
    test::write_file(path_, std::string(length, 't'));
    expect_error(path_, {"not a token file", "penstock tokenize -o FILE " + path_.string()});
  }
}

TEST_F(TokenFileHeaderTest, RefusesAnotherVersion) {
  TokenFileHeader header{.vocabulary = 256, .tokens = 3, .largest = 99};
  header.version = 3;
  test::write_file(path_, as_text(encode(header)) + "abc");
  expect_error(path_, {"version 3", "versions 1 and 2"});
}

TEST_F(TokenFileHeaderTest, FindsEveryFlippedBitOfTheHeader) {
  test::write_known_tokens(path_, 200);
  const std::string whole = test::read_file(path_);
  for (std::size_t bit = 0; bit < 64 * 8; ++bit) {
    std::string damaged = whole;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    test::write_file(path_, damaged);
    const std::string expected = bit < 64 ? "not a token file" : "header is damaged";
    EXPECT_NE(error_of(path_).find(expected), std::string::npos) << "bit " << bit << ": " << error_of(path_);
  }
}

TEST_F(TokenFileHeaderTest, NamesBothSizesOfACutFile) {
  test::write_known_tokens(path_, 1000, {.bytes_per_token = 4, .vocabulary = 70000});
  std::filesystem::resize_file(path_, 4063);
  expect_error(path_, {"cut short", "4063 bytes", "1000 tokens", "4064 bytes"});
  std::filesystem::resize_file(path_, 30);
  expect_error(path_, {"cut short", "30 bytes", "64"});
  std::filesystem::resize_file(path_, 4);
  expect_error(path_, {"not a token file"});
}

TEST_F(TokenFileHeaderTest, RefusesAFileThatIsTooLong) {
  test::write_known_tokens(path_, 1000);
  std::filesystem::resize_file(path_, 1065);
  expect_error(path_, {"too long", "1065 bytes", "1064 bytes"});
}

TEST_F(TokenFileHeaderTest, RefusesAFileWithoutTokens) {
  test::write_file(path_, as_text(encode({.vocabulary = 256})));
  expect_error(path_, {"holds no token"});
}

TEST_F(TokenFileHeaderTest, RefusesNumbersThatMakeNoSense) {
  const TokenFileHeader bad[] = {{.bytes_per_token = 3, .vocabulary = 256, .tokens = 1},
                                 {.bytes_per_token = 0, .vocabulary = 256, .tokens = 1},
                                 {.bytes_per_token = 1, .vocabulary = 256, .tokens = 1, .largest = 256},
                                 {.bytes_per_token = 4, .vocabulary = 256, .tokens = 1, .largest = 1ULL << 31},
                                 {.bytes_per_token = 4, .vocabulary = 256, .tokens = 1ULL << 62}};
  for (const TokenFileHeader& header : bad) {
    test::write_file(path_, as_text(encode(header)) + "abc");
    expect_error(path_, {"is inconsistent"});
  }
}

TEST_F(TokenFileHeaderTest, KnowsTokenFilesByTheirStart) {
  test::write_known_tokens(path_, 10);
  EXPECT_TRUE(looks_like_a_token_file(path_));
  std::filesystem::resize_file(path_, 8);
  EXPECT_TRUE(looks_like_a_token_file(path_));
  std::filesystem::resize_file(path_, 7);
  EXPECT_FALSE(looks_like_a_token_file(path_));
  EXPECT_FALSE(looks_like_a_token_file(folder_.path()));
  EXPECT_FALSE(looks_like_a_token_file(folder_ / "missing"));
}

TEST_F(TokenFileHeaderTest, ChecksTheVocabulary) {
  const TokenFileHeader header{.vocabulary = 256, .tokens = 10, .largest = 200};
  EXPECT_NO_THROW(check_vocabulary(header, path_, 201));
  const std::string message = test::input_error([&] { check_vocabulary(header, path_, 200); });
  for (const std::string& part : {path_.string(), std::string("token 200"), std::string("model.vocabulary = 200"),
                                  std::string("0 to 199"), std::string("use model.vocabulary = 256")})
    EXPECT_NE(message.find(part), std::string::npos) << part << "\n" << message;
}

}  // namespace
}  // namespace penstock::token_file_header_test

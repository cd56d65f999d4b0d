// SPDX-License-Identifier: Apache-2.0
#include "data/token_file_writer.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "data/temporary_folder.hpp"
#include "data/token_samples.hpp"

namespace penstock::token_file_writer_test {
namespace {

class TokenFileWriterTest : public ::testing::Test {
 protected:
  test::TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_ / "train.tok";
};

/// While it exists the process cannot write files longer than `bytes`: like a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit before_{};
};

TEST_F(TokenFileWriterTest, PiecesMakeTheSameFileAsOneRun) {
  const auto tokens = test::known_tokens(0, 3'000'000);  // more than the writer keeps waiting
  TokenFileWriter whole(path_, {});
  whole.append(tokens);
  whole.publish();
  TokenFileWriter pieces(folder_ / "pieces.tok", {});
  const std::span<const std::int32_t> all(tokens);
  for (std::size_t from = 0; from < all.size(); from += 70'001)
    pieces.append(all.subspan(from, std::min<std::size_t>(70'001, all.size() - from)));
  pieces.publish();
  const std::string bytes = test::read_file(path_);
  EXPECT_EQ(bytes.size(), 64U + 3'000'000U);
  EXPECT_EQ(bytes, test::read_file(folder_ / "pieces.tok"));
}

TEST_F(TokenFileWriterTest, TheNameAppearsOnlyWhenPublished) {
  TokenFileWriter writer(path_, {});
  writer.append(test::known_tokens(0, 100));
  writer.seal();
  EXPECT_FALSE(std::filesystem::exists(path_));
  writer.publish();
  EXPECT_TRUE(std::filesystem::exists(path_));
  EXPECT_EQ(folder_.entries(), 1U);
}

TEST_F(TokenFileWriterTest, NothingStaysWithoutPublish) {
  { TokenFileWriter(path_, {}).append(test::known_tokens(0, 100)); }
  EXPECT_EQ(folder_.entries(), 0U);
}

TEST_F(TokenFileWriterTest, APartialFileDoesNotPassForWhole) {
  TokenFileWriter writer(path_, {});
  writer.append(test::known_tokens(0, 3'000'000));
  const auto partial = std::filesystem::directory_iterator(folder_.path())->path();
  EXPECT_GT(std::filesystem::file_size(partial), 64U);
  EXPECT_TRUE(looks_like_a_token_file(partial));
  EXPECT_THROW(read_token_header(partial), InputError);
}

TEST_F(TokenFileWriterTest, ReplacesATokenFileAndGoesRoundAForeignPartialFile) {
  test::write_known_tokens(path_, 10);
  test::write_file(folder_ / "train.tok.partial-0", "left by a killed process");
  test::write_known_tokens(path_, 20);
  EXPECT_EQ(read_token_header(path_).tokens, 20U);
  EXPECT_EQ(folder_.entries(), 2U);
}

TEST_F(TokenFileWriterTest, RefusesToReplaceWhatIsNoTokenFile) {
  test::write_file(path_, "a text that took years to write");
  const std::string message = test::input_error([&] { TokenFileWriter(path_, {}); });
  EXPECT_NE(message.find("is not a token file, and would be lost"), std::string::npos) << message;
  EXPECT_EQ(test::read_file(path_), "a text that took years to write");
  EXPECT_EQ(folder_.entries(), 1U);
  EXPECT_THROW(TokenFileWriter(folder_.path(), {}), InputError);
  EXPECT_THROW(TokenFileWriter("/dev/null", {}), InputError);
  EXPECT_THROW(TokenFileWriter(folder_ / "missing/train.tok", {}), InputError);
}

TEST_F(TokenFileWriterTest, WritesThroughALink) {
  test::write_known_tokens(folder_ / "real.tok", 5);
  std::filesystem::create_symlink("real.tok", path_);
  test::write_known_tokens(path_, 7);
  EXPECT_TRUE(std::filesystem::is_symlink(path_));
  EXPECT_EQ(read_token_header(folder_ / "real.tok").tokens, 7U);
}

TEST_F(TokenFileWriterTest, AFullDiskIsASystemErrorAndLeavesNothing) {
  test::write_known_tokens(path_, 10);
  const auto tokens = test::known_tokens(0, 3'000'000);
  const FileSizeLimit full(100'000);
  const auto write = [&] {
    TokenFileWriter writer(path_, {});
    writer.append(tokens);
    writer.publish();
  };
  EXPECT_THROW(write(), SystemError);
  EXPECT_EQ(folder_.entries(), 1U);
  EXPECT_EQ(read_token_header(path_).tokens, 10U);
}

TEST_F(TokenFileWriterTest, RefusesTokensOutsideTheVocabulary) {
  TokenFileWriter writer(path_, {.bytes_per_token = 2, .vocabulary = 500});
  EXPECT_THROW(writer.append(std::vector<std::int32_t>{500}), LogicError);
  EXPECT_THROW(writer.append(std::vector<std::int32_t>{-1}), LogicError);
  EXPECT_THROW(TokenFileWriter(path_, {.bytes_per_token = 1, .vocabulary = 257}), LogicError);
}

}  // namespace
}  // namespace penstock::token_file_writer_test

// SPDX-License-Identifier: Apache-2.0
#include "data/text_source.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <thread>

#include "data/compressed.hpp"
#include "data/temporary_folder.hpp"

namespace penstock::text_source_test {
namespace {

std::string long_text() {
  std::string text;
  for (int i = 0; i < 200'000; ++i) text += std::to_string(i * 7919LL) + '\n';
  return text;
}

class TextSourceTest : public ::testing::Test {
 protected:
  std::string read_all(std::size_t at_once = 65536) {
    TextSource source(path_);
    std::string text, piece(at_once, '\0');
    while (const std::size_t present = source.read(std::as_writable_bytes(std::span(piece)))) {
      text += piece.substr(0, present);
      if (present < at_once) break;
    }
    return text;
  }
  std::string read(const std::string& bytes, std::size_t at_once = 65536) {
    test::write_file(path_, bytes);
    return read_all(at_once);
  }
  std::string error(const std::string& bytes) {
    return test::input_error([&] { read(bytes); });
  }

  test::TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_ / "text";
};

TEST_F(TextSourceTest, ReadsWhatWasCompressedInPiecesOfAnySize) {
  const std::string text = long_text();
  for (const std::string& bytes : {text, test::gzipped(text), test::zstandard(text)})
    for (const std::size_t at_once : {1'000U, 65'536U, 4'000'000U})
      EXPECT_TRUE(read(bytes, at_once) == text) << at_once;
  for (const std::string& bytes : {std::string(), test::gzipped(""), test::zstandard("")}) EXPECT_EQ(read(bytes), "");
}

TEST_F(TextSourceTest, ReadsSeveralJoined) {
  EXPECT_EQ(read(test::gzipped("one ") + test::gzipped("") + test::gzipped("two") + std::string(512, '\0')), "one two");
  EXPECT_EQ(read(test::zstandard("one ") + test::zstandard("") + test::zstandard("two")), "one two");
}

TEST_F(TextSourceTest, TellsCompressionInAPipe) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  const std::string text = long_text();
  std::jthread writer([&] { test::write_file(path_, test::gzipped(text)); });
  EXPECT_TRUE(read_all() == text);
}

TEST_F(TextSourceTest, RefusesWhatIsNoTextAlsoInAPipe) {
  EXPECT_NE(error("PK\x03\x04rest").find("is compressed (zip)"), std::string::npos);
  ASSERT_EQ(mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  std::jthread writer([&] { test::write_file(folder_ / "pipe", "\x89PSTOK\r\nrest"); });
  const std::string message = test::input_error([&] { TextSource{folder_ / "pipe"}; });
  EXPECT_NE(message.find("is a token file already"), std::string::npos) << message;
}

TEST_F(TextSourceTest, NamesWhatIsCutShort) {
  for (const std::string& whole : {test::gzipped(long_text()), test::zstandard(long_text())})
    for (const std::size_t bytes : {std::size_t{5}, whole.size() / 2, whole.size() - 1}) {
      const std::string message = error(whole.substr(0, bytes));
      EXPECT_NE(message.find(path_.string() + ": is cut short"), std::string::npos) << bytes << " " << message;
    }
}

TEST_F(TextSourceTest, NamesWhatIsDamaged) {
  std::string bytes = test::gzipped(long_text());
  bytes[bytes.size() - 6] = static_cast<char>(bytes[bytes.size() - 6] ^ 1);  // of the checksum
  EXPECT_NE(error(bytes).find("(gzip) is damaged (incorrect data check)"), std::string::npos) << error(bytes);
  EXPECT_NE(error(test::gzipped("a") + "text").find("(gzip) is damaged"), std::string::npos);
  std::string frame = test::zstandard(long_text());
  for (std::size_t i = 100; i < 200; ++i) frame[i] = '\xff';
  EXPECT_NE(error(frame).find("(zstd) is damaged"), std::string::npos) << error(frame);
}

}  // namespace
}  // namespace penstock::text_source_test

// SPDX-License-Identifier: Apache-2.0
#include "data/file_start.hpp"

#include <gtest/gtest.h>

#include "data/temporary_folder.hpp"

namespace penstock::file_start_test {
namespace {

using namespace std::string_literals;

std::string_view name_of_compression(const std::string& start) {
  const auto compression = compression_of(start);
  return compression ? compression->name : "";
}

TEST(FileStartTest, KnowsCompressedFiles) {
  const std::pair<std::string, std::string> files[] = {
      {"\x1f\x8b\x08\0\0"s, "gzip"},    {"\x1f\x9d\x90"s, "compress"},      {"\x28\xb5\x2f\xfd\x04"s, "zstd"},
      {"\xfd"s + "7zXZ\0\0"s, "xz"},    {"BZh91AY&SY"s, "bzip2"},           {"PK\x03\x04\x14\0"s, "zip"},
      {"\x04\x22\x4d\x18\x64"s, "LZ4"}, {"7z\xbc\xaf\x27\x1c\0"s, "7-Zip"},
  };
  for (const auto& [start, name] : files) EXPECT_EQ(name_of_compression(start), name);
}

TEST(FileStartTest, TextsAreNotTakenForCompressed) {
  for (const char* text : {"", "B", "BZh", "BZh9", "BZhengzhou", "BZh0", "BZh91AY", "PK", "7z", "\x1f", "plain text"})
    EXPECT_EQ(name_of_compression(text), "") << text;
}

TEST(FileStartTest, AZeroByteIsBinary) {
  EXPECT_TRUE(is_binary("ELF\0"s));
  EXPECT_FALSE(is_binary("\xc3\xa4\r\n\x1b[0m"));
}

TEST(FileStartTest, ReadsTheFirst64KiB) {
  const test::TemporaryFolder folder;
  test::write_file(folder / "long", std::string(65536, 'a') + "b");
  test::write_file(folder / "short", "s");
  EXPECT_EQ(start_of_file(folder / "long"), std::string(65536, 'a'));
  EXPECT_EQ(start_of_file(folder / "short"), "s");
  EXPECT_NE(test::input_error([&] { start_of_file(folder / "missing"); }).find("does not exist"), std::string::npos);
}

}  // namespace
}  // namespace penstock::file_start_test

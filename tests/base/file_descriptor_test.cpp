// SPDX-License-Identifier: Apache-2.0
#include "base/file_descriptor.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string_view>

#include "base/error.hpp"
#include "data/temporary_folder.hpp"

namespace penstock::file_descriptor_test {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

TEST(FileDescriptorTest, SeveralWriteInOneFileOfAFixedSize) {
  const test::TemporaryFolder folder;
  const std::filesystem::path path = folder / "file";
  FileDescriptor first = FileDescriptor::create(path).value();
  first.write(bytes_of("head"));
  first.resize(12);
  FileDescriptor second = FileDescriptor::open_to_write(path), third = FileDescriptor::open_to_write(path);
  third.write_at(10, bytes_of("cd"));
  second.write_at(4, bytes_of("ab"));
  for (FileDescriptor* file : {&first, &second, &third}) {
    file->sync();
    file->close();
  }
  EXPECT_EQ(test::read_file(path), std::string("headab\0\0\0\0cd", 12));
}

TEST(FileDescriptorTest, WhatCannotBeOpenedToBeWrittenIsASystemError) {
  const test::TemporaryFolder folder;
  EXPECT_THROW(FileDescriptor::open_to_write(folder / "none"), SystemError);
  EXPECT_THROW(FileDescriptor::open_to_write(folder.path()), SystemError);
}

TEST(FileDescriptorTest, ReadsUpToTheEnd) {
  const test::TemporaryFolder folder;
  test::write_file(folder / "file", "0123456789");
  const FileDescriptor file = FileDescriptor::open_to_read(folder / "file", "");
  std::array<std::byte, 4> bytes{};
  EXPECT_EQ(file.size_in_bytes(), 10U);
  EXPECT_EQ(file.read_at(3, bytes), 4U);
  EXPECT_EQ(static_cast<char>(bytes[0]), '3');
  EXPECT_EQ(file.read_at(8, bytes), 2U);
  EXPECT_EQ(file.read_at(10, bytes), 0U);
}

}  // namespace
}  // namespace penstock::file_descriptor_test

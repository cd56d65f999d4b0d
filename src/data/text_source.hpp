// SPDX-License-Identifier: Apache-2.0
#pragma once
// The text of a file, a pipe or standard input, decompressed where it is gzip or zstd.

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace penstock {

/// Move-only. Memory does not grow with the text.
class TextSource {
 public:
  /// Looks at the first bytes: text compressed by gzip or zstd is told by them, also in a pipe. Throws InputError where
  /// the file cannot be opened, is compressed in another way or is a token file, SystemError where reading fails.
  explicit TextSource(const std::filesystem::path& path);
  ~TextSource();
  TextSource(TextSource&&) noexcept;
  TextSource& operator=(TextSource&&) noexcept;

  const std::filesystem::path& path() const;
  /// Fills `bytes` with the text that follows; returns how many came before its end. Throws InputError where compressed
  /// text is damaged or cut short, SystemError where reading fails.
  std::size_t read(std::span<std::byte> bytes);

 private:
  class StoredBytes;
  struct Stream;
  struct Plain;
  struct Gzip;
  struct Zstd;
  std::unique_ptr<Stream> stream_;
};

/// The first 64 KiB of its text, or all of a shorter one. Errors as TextSource.
std::string start_of_text(const std::filesystem::path& path);

}  // namespace penstock

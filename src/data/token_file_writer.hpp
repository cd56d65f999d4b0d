// SPDX-License-Identifier: Apache-2.0
#pragma once
// Writes a token file that is there whole or not at all.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "base/file_descriptor.hpp"
#include "data/token_file_header.hpp"

namespace penstock {

struct TokenFileFormat {
  std::uint32_t bytes_per_token = 1;  // 1, 2 or 4
  std::uint64_t vocabulary = 256;
};

/// Tokens go to `<path>.partial-<n>`; publish() gives them their name. Without it nothing stays: the partial file goes
/// with the writer. A partial file that a killed process left begins with the magic and does not pass for whole.
class TokenFileWriter {
 public:
  /// Throws InputError where `path` cannot be created, is no regular file, or holds something that is no token file:
  /// a slip in a command line shall not cost a text.
  TokenFileWriter(const std::filesystem::path& path, const TokenFileFormat& format);
  ~TokenFileWriter();
  TokenFileWriter(const TokenFileWriter&) = delete;
  TokenFileWriter& operator=(const TokenFileWriter&) = delete;

  /// Tokens in [0, vocabulary). Throws SystemError where the system does not take the bytes (a full disk).
  void append(std::span<const std::int32_t> tokens);
  const TokenFileHeader& header() const { return header_; }

  /// All bytes and the header on the device, still under the temporary name. Throws SystemError.
  void seal();
  /// seal(), unless done; then renames to `path` and syncs the folder. A file of that name is replaced.
  void publish();

 private:
  void flush();

  std::filesystem::path path_;
  TokenFileHeader header_;
  std::vector<std::byte> waiting_;  // bytes not yet handed to the system
  FileDescriptor file_;             // made last: nothing after it can fail and leave the partial file behind
  bool sealed_ = false;
  bool published_ = false;
};

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Writes a token file that exists whole or not at all.

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

/// Tokens go to `<path>.partial-<n>`; publish() gives the file its name. Without it nothing stays: the writer removes
/// the partial file. A partial file left by a killed process begins with the magic and does not count as whole.
class TokenFileWriter {
 public:
  /// Throws InputError if `path` cannot be created, is no regular file, or is not a token file: a slip in a command
  /// line must not cost a text.
  TokenFileWriter(const std::filesystem::path& path, const TokenFileFormat& format);
  ~TokenFileWriter();
  TokenFileWriter(const TokenFileWriter&) = delete;
  TokenFileWriter& operator=(const TokenFileWriter&) = delete;

  /// Tokens in [0, vocabulary). Throws SystemError if the system does not accept the bytes (a full disk).
  void append(std::span<const std::int32_t> tokens);
  const TokenFileHeader& header() const { return header_; }

  /// Brings all bytes and the header to the device, still under the temporary name. Throws SystemError.
  void seal();
  /// seal(), unless done; then renames to `path` and syncs the folder. A file of that name is replaced.
  void publish();

 private:
  void flush();

  std::filesystem::path path_;
  TokenFileHeader header_;
  std::vector<std::byte> waiting_;  // bytes not yet handed to the system
  FileDescriptor file_;             // made last, so that no later failure can leave the partial file behind
  bool sealed_ = false;
  bool published_ = false;
};

}  // namespace penstock

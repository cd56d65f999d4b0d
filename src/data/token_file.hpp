// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reads tokens at any place of a token file.

#include <cstdint>
#include <filesystem>
#include <span>

#include "base/file_descriptor.hpp"
#include "data/token_file_header.hpp"

namespace penstock {

/// An open token file; move-only. `read` may be called from several threads at once.
class TokenFile {
 public:
  /// `header` comes from read_token_header, perhaps of another rank. Throws InputError if this rank cannot open the
  /// file or sees another size than the header says.
  TokenFile(const std::filesystem::path& path, const TokenFileHeader& header);

  const TokenFileHeader& header() const { return header_; }
  const std::filesystem::path& path() const { return file_.path(); }

  /// Tokens first_token, first_token + 1, ... into `tokens` [any length that the file holds]. Throws InputError for a
  /// token above the header's largest (its value, index and byte offset named), SystemError if reading fails.
  void read(std::uint64_t first_token, std::span<std::int32_t> tokens) const;

 private:
  void check_tokens(std::uint64_t first_token, std::span<const std::int32_t> tokens) const;

  FileDescriptor file_;
  TokenFileHeader header_;
};

}  // namespace penstock

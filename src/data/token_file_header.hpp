// SPDX-License-Identifier: Apache-2.0
#pragma once
// The header of a token file. A token file is 64 bytes of header and then the tokens, unsigned, with nothing between.
// In version 2 what is known of the tokens follows them (data/token_file_table.hpp).
// All numbers are little endian:
//
//   byte  0   8 bytes   the magic 89 50 53 54 4f 4b 0d 0a ("\x89PSTOK\r\n": no text begins so, and a transfer that
//                       changes line ends breaks it)
//   byte  8   uint32    format version, 1 or 2
//   byte 12   uint32    bytes a token: 1, 2 or 4
//   byte 16   uint64    vocabulary of the tokenizer that made the file (256 for bytes); a hint for people
//   byte 24   uint64    number of tokens
//   byte 32   uint64    largest token
//   byte 40   uint64    version 2: offset of the table at the end of the file, 0 for none; version 1: reserved, zero
//   byte 48   uint64    version 2: bytes of that table; version 1: reserved, zero
//   byte 56   uint64    checksum of bytes 0 to 55: FNV-1a (64 bits); stands here in every version
//   byte 64             the first token

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>
#include <type_traits>

namespace penstock {

/// The header as a value; rank 0 reads it and broadcasts it as bytes.
struct TokenFileHeader {
  static constexpr std::uint64_t header_bytes = 64;
  static constexpr std::uint32_t first_version = 1, version_with_table = 2;

  std::uint32_t version = first_version;
  std::uint32_t bytes_per_token = 1;
  std::uint64_t vocabulary = 0;
  std::uint64_t tokens = 0;
  std::uint64_t largest = 0;
  std::uint64_t table = 0;  // its offset; 0: there is none
  std::uint64_t table_bytes = 0;

  /// The offset of the token `index` in the file.
  std::uint64_t byte_offset(std::uint64_t index) const { return header_bytes + index * bytes_per_token; }
  std::uint64_t file_bytes() const { return table == 0 ? byte_offset(tokens) : table + table_bytes; }
  /// Of a table of so many sections.
  static constexpr std::uint64_t table_bytes_of(std::uint64_t sections) { return 16 + 32 * sections; }
  static constexpr std::uint64_t most_sections = 64;
  bool operator==(const TokenFileHeader&) const = default;
};
static_assert(std::is_trivially_copyable_v<TokenFileHeader>);
static_assert(std::has_unique_object_representations_v<TokenFileHeader>, "no padding: it is sent as bytes");

/// The 64 bytes of the header in a file.
using EncodedTokenFileHeader = std::array<std::byte, TokenFileHeader::header_bytes>;
EncodedTokenFileHeader encode(const TokenFileHeader& header);

/// Reads and checks the header of `path`, and the file's size against it. Throws InputError for a name that is missing,
/// a folder, no regular file or unreadable, and for a file that is empty, no token file, damaged, of another version,
/// cut short, too long or without a token.
TokenFileHeader read_token_header(const std::filesystem::path& path);

/// Whether a file's first bytes are the magic of a token file.
bool starts_as_a_token_file(std::string_view start);

/// Whether the file begins with the magic, whole or not. Never throws: false if it cannot be read.
bool looks_like_a_token_file(const std::filesystem::path& path);

/// Throws InputError unless every token of the file is below the model's vocabulary.
void check_vocabulary(const TokenFileHeader& header, const std::filesystem::path& path, std::uint64_t vocabulary);

}  // namespace penstock

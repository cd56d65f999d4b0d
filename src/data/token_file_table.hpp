// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a token file of version 2 says of its tokens. Behind the tokens come sections, each at a multiple of 8 bytes,
// and last the table, with which the file ends. All numbers are little endian:
//
//   8 bytes      uint64   number of sections, at most 64
//   32 bytes     4 uint64 of each section: id, offset in the file, bytes, FNV-1a (64 bits) of those bytes
//   8 bytes      uint64   FNV-1a (64 bits) of the table's bytes before
//
// Sections, by id; each is there once or not at all, and ids that a reader does not know are no error:
//   1  documents   uint64 of each document: the index of its first token, ascending
//   2  mask        1 bit of each token, from the lowest bit of a byte on: 1 where it counts in the loss as a target;
//                  without the section all do
//   3  tokenizer   uint64 digest of the tokenizer's file (FNV-1a, 64 bits), then int64 end-of-text id (-1: none)

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/token_file_header.hpp"

namespace penstock {

/// The tokenizer that made a token file.
struct TokenizerMark {
  std::uint64_t digest = 0;
  std::optional<std::int32_t> end_of_text = std::nullopt;
  bool operator==(const TokenizerMark&) const = default;
};
/// "fnv1a64-0123456789abcdef".
std::string digest_text(const TokenizerMark& tokenizer);

struct TokenFileSection {
  enum class Id : std::uint64_t { documents = 1, mask = 2, tokenizer = 3 };
  Id id = Id::documents;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint64_t checksum = 0;
  bool operator==(const TokenFileSection&) const = default;
};

/// The table's bytes, as they stand in a file.
std::vector<std::byte> encode_table(const std::vector<TokenFileSection>& sections);

struct TokenFileTable {
  std::optional<TokenFileSection> documents = std::nullopt;
  std::optional<TokenFileSection> mask = std::nullopt;
  std::optional<TokenizerMark> tokenizer = std::nullopt;

  std::uint64_t document_count() const { return documents ? documents->bytes / sizeof(std::uint64_t) : 0; }
};

/// `header` is that of the file. Without a table (version 1) all is empty. Throws InputError for a table that is
/// damaged, or whose sections overlap, lie outside the file's end, come twice or have an impossible length; SystemError
/// where reading fails.
TokenFileTable read_token_table(const std::filesystem::path& path, const TokenFileHeader& header);

/// Reads documents and mask in constant memory. Throws InputError where a checksum is wrong, the starts of documents do
/// not ascend or lie outside the tokens, or the mask has bits after the last token.
void check_sections(const std::filesystem::path& path, const TokenFileHeader& header, const TokenFileTable& table);

/// Index of the first token of each document; empty where the file does not say. Errors as check_sections.
std::vector<std::uint64_t> read_document_starts(const std::filesystem::path& path, const TokenFileHeader& header,
                                                const TokenFileTable& table);

/// Whether the tokens first_token, first_token + 1, ... count in the loss, `count` of them. The section's checksum is
/// not read: see check_sections.
std::vector<bool> read_counted(const std::filesystem::path& path, const TokenFileHeader& header,
                               const TokenFileTable& table, std::uint64_t first_token, std::uint64_t count);

}  // namespace penstock

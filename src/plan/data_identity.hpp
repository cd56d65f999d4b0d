// SPDX-License-Identifier: Apache-2.0
#pragma once
// The identity of a run's data: a checkpoint's attribute `data`.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/token_file_header.hpp"

namespace penstock {

/// What is known of the tokenizer of files of version 1 with more tokens than bytes have: nothing.
inline constexpr std::string_view unknown_tokenizer = "unknown";

/// One token file of data.train. Its name is no part of it.
struct DataSource {
  std::uint64_t tokens = 0;
  std::string digest;               ///< token_file_digest
  std::string tokenizer = "bytes";  ///< else the digest of its file, or unknown_tokenizer
  double weight = 1;
  bool operator==(const DataSource&) const = default;
};

/// The files of data.train, in their order.
using DataIdentity = std::vector<DataSource>;

/// The tokenizer that made a file: "bytes", the digest of the tokenizer's file, or unknown_tokenizer. Reads the table
/// of the file; errors as read_token_table.
std::string tokenizer_of(const std::filesystem::path& token_file, const TokenFileHeader& header);

/// Whether ids mean other tokens: both are known, and differ.
bool are_different_tokenizers(std::string_view one, std::string_view other);

/// Throws InputError where the files of data.train and data.validation were made with different tokenizers.
void ensure_one_tokenizer(const std::filesystem::path& train, const TokenFileHeader& train_header,
                          const std::filesystem::path& validation, const TokenFileHeader& validation_header);

/// Throws InputError for a file with a mask of counted tokens: training counts all of them.
void ensure_all_tokens_count(const std::filesystem::path& token_file, const TokenFileHeader& header);

/// Reads up to 4 MiB of the file; `header` is its own.
DataSource identify(const std::filesystem::path& token_file, const TokenFileHeader& header);

/// A list of {tokens, digest, tokenizer, weight}.
std::string json_of(const DataIdentity& data);
/// Parses such a list; further keys are ignored. Throws InputError that begins with `where`.
DataIdentity parse_data_identity(const std::string& json, const std::string& where);

/// "20000 tokens (fnv1a64-0123456789abcdef)", for each file.
std::string text_of(const DataIdentity& data);

}  // namespace penstock

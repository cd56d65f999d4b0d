// SPDX-License-Identifier: Apache-2.0
#pragma once
// The identity of a run's data: a checkpoint's attribute `data`.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/token_file_header.hpp"

namespace penstock {

/// One token file of data.train. Its name does not belong to the identity.
struct DataSource {
  std::uint64_t tokens = 0;
  std::string digest;  ///< token_file_digest
  std::string tokenizer = "bytes";
  double weight = 1;
  bool operator==(const DataSource&) const = default;
};

/// The files of data.train, in their order.
using DataIdentity = std::vector<DataSource>;

/// Reads up to 4 MiB of the file; `header` is its own.
DataSource identify(const std::filesystem::path& token_file, const TokenFileHeader& header);

/// A list of {tokens, digest, tokenizer, weight}.
std::string json_of(const DataIdentity& data);
/// Parses such a list; further keys are ignored. Throws InputError that begins with `where`.
DataIdentity parse_data_identity(const std::string& json, const std::string& where);

/// "20000 tokens (fnv1a64-0123456789abcdef)", for each file.
std::string text_of(const DataIdentity& data);

}  // namespace penstock

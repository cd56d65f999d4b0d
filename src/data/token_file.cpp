// SPDX-License-Identifier: Apache-2.0
#include "data/token_file.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.hpp"

namespace penstock {
namespace {

/// Widens the numbers at the *end* of the span's own bytes to its elements, from the front: element i is written at
/// byte 4i, and later elements are at 4(i+1) or later, so nothing is overwritten before it is read.
template <typename Stored>
void widen_in_place(std::span<std::int32_t> tokens) {
  static_assert(std::endian::native == std::endian::little, "token files are little endian");
  const std::byte* stored = std::as_bytes(tokens).last(tokens.size() * sizeof(Stored)).data();
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    Stored value;
    std::memcpy(&value, stored + i * sizeof(Stored), sizeof(Stored));
    tokens[i] = static_cast<std::int32_t>(value);
  }
}

}  // namespace

TokenFile::TokenFile(const std::filesystem::path& path, const TokenFileHeader& header)
    : file_(FileDescriptor::open_to_read(path, "every rank reads it: put it where every node sees it")),
      header_(header) {
  if (const std::uint64_t size = file_.size_in_bytes(); size != header_.file_bytes())
    throw_input_error(
        "{}: has {} bytes here, and {} where its header was read: the nodes see different files, or it is "
        "being written; put one whole file where every node sees it",
        path.string(), size, header_.file_bytes());
}

void TokenFile::read(std::uint64_t first_token, std::span<std::int32_t> tokens) const {
  ensure(first_token <= header_.tokens && tokens.size() <= header_.tokens - first_token,
         "TokenFile::read: tokens behind the end of the file");
  const auto stored = std::as_writable_bytes(tokens).last(tokens.size() * header_.bytes_per_token);
  const std::size_t present = file_.read_at(header_.byte_offset(first_token), stored);
  if (present < stored.size())
    throw SystemError(fmt::format("{}: ends at byte {} and had {} when the run began: it was changed under the run",
                                  path().string(), header_.byte_offset(first_token) + present, header_.file_bytes()));
  switch (header_.bytes_per_token) {
    case 1:
      widen_in_place<std::uint8_t>(tokens);
      break;
    case 2:
      widen_in_place<std::uint16_t>(tokens);
      break;
    default:
      break;  // four bytes need no change
  }
  check_tokens(first_token, tokens);
}

void TokenFile::check_tokens(std::uint64_t first_token, std::span<const std::int32_t> tokens) const {
  // As unsigned numbers: four stored bytes with the top bit set are a large token, not a negative one.
  const auto is_too_large = [largest = static_cast<std::uint32_t>(header_.largest)](std::int32_t token) {
    return static_cast<std::uint32_t>(token) > largest;
  };
  const auto worse = std::find_if(tokens.begin(), tokens.end(), is_too_large);
  if (worse == tokens.end()) return;
  const std::uint64_t index = first_token + static_cast<std::uint64_t>(worse - tokens.begin());
  throw_input_error(
      "{}: the token {} at index {} (byte {}) is above the largest one that the header names, {}: the "
      "file is damaged; copy it again, or make it again with `penstock tokenize -o {} TEXT...`",
      path().string(), static_cast<std::uint32_t>(*worse), index, header_.byte_offset(index), header_.largest,
      path().string());
}

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#include "data/token_file_header.hpp"

#include <algorithm>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/file_descriptor.hpp"
#include "base/random.hpp"

namespace penstock {
namespace {

constexpr std::string_view magic = "\x89PSTOK\r\n";
constexpr std::size_t version_at = 8, bytes_per_token_at = 12, vocabulary_at = 16, tokens_at = 24, largest_at = 32,
                      table_at = 40, table_bytes_at = 48, checksum_at = 56;

template <typename Number>
void put(EncodedTokenFileHeader& bytes, std::size_t at, Number value) {
  for (std::size_t i = 0; i < sizeof value; ++i) bytes[at + i] = static_cast<std::byte>(value >> (8 * i));
}

template <typename Number>
Number get(const EncodedTokenFileHeader& bytes, std::size_t at) {
  Number value = 0;
  for (std::size_t i = 0; i < sizeof value; ++i) value |= static_cast<Number>(bytes[at + i]) << (8 * i);
  return value;
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::uint64_t checksum(const EncodedTokenFileHeader& bytes) { return hash_text(as_text(bytes).substr(0, checksum_at)); }

TokenFileHeader decode(const EncodedTokenFileHeader& bytes) {
  TokenFileHeader header{.version = get<std::uint32_t>(bytes, version_at),
                         .bytes_per_token = get<std::uint32_t>(bytes, bytes_per_token_at),
                         .vocabulary = get<std::uint64_t>(bytes, vocabulary_at),
                         .tokens = get<std::uint64_t>(bytes, tokens_at),
                         .largest = get<std::uint64_t>(bytes, largest_at)};
  if (header.version < TokenFileHeader::version_with_table) return header;  // what is reserved there does not matter
  header.table = get<std::uint64_t>(bytes, table_at);
  header.table_bytes = get<std::uint64_t>(bytes, table_bytes_at);
  return header;
}

// Its size is held against the file's by check_size.
bool has_a_sound_table(const TokenFileHeader& header) {
  if (header.table == 0) return header.table_bytes == 0;
  return header.table >= header.byte_offset(header.tokens) && header.table <= std::uint64_t{1} << 62 &&
         header.table_bytes >= TokenFileHeader::table_bytes_of(0) &&
         header.table_bytes <= TokenFileHeader::table_bytes_of(TokenFileHeader::most_sections);
}

bool is_sound(const TokenFileHeader& header) {
  const std::uint32_t width = header.bytes_per_token;
  if (width != 1 && width != 2 && width != 4) return false;
  const std::uint64_t most = (std::uint64_t{1} << (8 * width)) - 1;
  return header.largest <= std::min<std::uint64_t>(most, std::numeric_limits<std::int32_t>::max()) &&
         header.tokens <= (std::uint64_t{1} << 62) / width;
}

std::string cure_for(const std::filesystem::path& path) {
  return fmt::format("give a token file, made by `penstock tokenize -o {} TEXT...`",
                     path.empty() ? "FILE" : path.string());
}

/// Checks that the bytes are an intact header of this version.
void check_bytes(const EncodedTokenFileHeader& bytes, std::size_t present, const std::filesystem::path& path) {
  const std::string name = path.string();
  if (present == 0) throw_input_error("{}: is empty; {}", name, cure_for(path));
  if (!as_text(bytes).substr(0, present).starts_with(magic))
    throw_input_error(
        "{}: is not a token file (it does not begin with the magic bytes of one); text becomes one with "
        "`penstock tokenize -o FILE {}`",
        name, name);
  if (present < bytes.size())
    throw_input_error("{}: is cut short: it has {} bytes and the header alone needs {}; copy it again, or {}", name,
                      present, bytes.size(), cure_for(path));
  if (checksum(bytes) != get<std::uint64_t>(bytes, checksum_at))
    throw_input_error("{}: its header is damaged (checksum {:#018x}, should be {:#018x}); copy it again, or {}", name,
                      get<std::uint64_t>(bytes, checksum_at), checksum(bytes), cure_for(path));
}

void check_values(const TokenFileHeader& header, const std::filesystem::path& path) {
  if (header.version < TokenFileHeader::first_version || header.version > TokenFileHeader::version_with_table)
    throw_input_error(
        "{}: has format version {}, and this program reads versions {} and {}; use the Penstock that made it, or "
        "make it again with `penstock tokenize -o {} TEXT...`",
        path.string(), header.version, TokenFileHeader::first_version, TokenFileHeader::version_with_table,
        path.string());
  if (!is_sound(header))
    throw_input_error("{}: its header is inconsistent ({} bytes a token, largest token {}, {} tokens); {}",
                      path.string(), header.bytes_per_token, header.largest, header.tokens, cure_for(path));
  if (!has_a_sound_table(header))
    throw_input_error(
        "{}: its header makes no sense (a table of {} bytes from byte {} on, where the tokens end at byte {}); {}",
        path.string(), header.table_bytes, header.table, header.byte_offset(header.tokens), cure_for(path));
  if (header.tokens == 0)
    throw_input_error("{}: holds no token; make it again from text that is not empty: {}", path.string(),
                      cure_for(path));
}

void check_size(const TokenFileHeader& header, std::uint64_t size, const std::filesystem::path& path) {
  if (size == header.file_bytes()) return;
  throw_input_error(
      "{}: {}: it has {} bytes, and its header promises {} tokens of {} bytes{}, {} bytes in all; copy it "
      "again, or make it again with `penstock tokenize -o {} TEXT...`",
      path.string(), size < header.file_bytes() ? "is cut short" : "is too long", size, header.tokens,
      header.bytes_per_token, header.table == 0 ? "" : " and a table", header.file_bytes(), path.string());
}

}  // namespace

EncodedTokenFileHeader encode(const TokenFileHeader& header) {
  EncodedTokenFileHeader bytes{};
  std::transform(magic.begin(), magic.end(), bytes.begin(), [](char c) { return static_cast<std::byte>(c); });
  put(bytes, version_at, header.version);
  put(bytes, bytes_per_token_at, header.bytes_per_token);
  put(bytes, vocabulary_at, header.vocabulary);
  put(bytes, tokens_at, header.tokens);
  put(bytes, largest_at, header.largest);
  if (header.version >= TokenFileHeader::version_with_table) {
    put(bytes, table_at, header.table);
    put(bytes, table_bytes_at, header.table_bytes);
  }
  put(bytes, checksum_at, checksum(bytes));
  return bytes;
}

TokenFileHeader read_token_header(const std::filesystem::path& path) {
  // Opening a pipe would wait for its writer, so check before.
  if (!reading_problem(path) && !std::filesystem::is_regular_file(path))
    throw_input_error("{}: is not a regular file, and samples are read at any place of it; {}", path.string(),
                      cure_for(path));
  const FileDescriptor file = FileDescriptor::open_to_read(path, cure_for(path));
  EncodedTokenFileHeader bytes{};
  check_bytes(bytes, file.read_at(0, bytes), path);
  const TokenFileHeader header = decode(bytes);
  check_values(header, path);
  check_size(header, file.size_in_bytes(), path);
  return header;
}

bool starts_as_a_token_file(std::string_view start) { return start.starts_with(magic); }

bool looks_like_a_token_file(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored) || reading_problem(path)) return false;
  try {
    std::array<std::byte, magic.size()> start{};
    const std::size_t present = FileDescriptor::open_to_read(path, "").read_at(0, start);
    return starts_as_a_token_file(as_text(start).substr(0, present));
  } catch (const std::exception&) {
    return false;
  }
}

void check_vocabulary(const TokenFileHeader& header, const std::filesystem::path& path, std::uint64_t vocabulary) {
  if (header.largest < vocabulary) return;
  throw_input_error(
      "{}: holds the token {}, and model.vocabulary = {} knows tokens 0 to {}; use model.vocabulary = {} "
      "(the file's tokenizer has {}), or another data file",
      path.string(), header.largest, vocabulary, static_cast<std::int64_t>(vocabulary) - 1,
      std::max(header.largest + 1, header.vocabulary), header.vocabulary);
}

}  // namespace penstock

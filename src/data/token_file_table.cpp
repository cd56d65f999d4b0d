// SPDX-License-Identifier: Apache-2.0
#include "data/token_file_table.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <string_view>

#include "base/error.hpp"
#include "base/file_descriptor.hpp"
#include "base/random.hpp"

namespace penstock {
namespace {

constexpr std::size_t number_bytes = sizeof(std::uint64_t);
constexpr std::uint64_t tokenizer_bytes = 2 * number_bytes;
constexpr std::string_view cure = "copy it again, or make it again with `penstock tokenize`";

std::string_view characters(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::uint64_t number_at(std::span<const std::byte> bytes, std::size_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < number_bytes; ++i) value |= std::to_integer<std::uint64_t>(bytes[at + i]) << (8 * i);
  return value;
}

void append_number(std::vector<std::byte>& bytes, std::uint64_t value) {
  for (std::size_t i = 0; i < number_bytes; ++i) bytes.push_back(static_cast<std::byte>(value >> (8 * i)));
}

std::string_view name_of(TokenFileSection::Id id) {
  switch (id) {
    case TokenFileSection::Id::documents:
      return "documents";
    case TokenFileSection::Id::mask:
      return "mask";
    case TokenFileSection::Id::tokenizer:
      return "tokenizer";
  }
  return "unknown";
}

std::string words_of(const TokenFileSection& section) {
  return fmt::format("section {} ({}; {} bytes from byte {} on)", static_cast<std::uint64_t>(section.id),
                     name_of(section.id), section.bytes, section.offset);
}

FileDescriptor open(const std::filesystem::path& path) {
  return FileDescriptor::open_to_read(path, "put it where every node sees it");
}

void read_exactly(const FileDescriptor& file, std::uint64_t offset, std::span<std::byte> bytes) {
  if (file.read_at(offset, bytes) < bytes.size())
    throw SystemError(
        fmt::format("{}: became shorter while it was read: it is being written; start again when it is whole",
                    file.path().string()));
}

std::vector<TokenFileSection> decode(std::span<const std::byte> bytes, const std::filesystem::path& path) {
  const std::size_t end = bytes.size() - number_bytes;
  const std::uint64_t stored = number_at(bytes, end), found = hash_text(characters(bytes.first(end)));
  if (stored != found)
    throw_input_error("{}: the table at its end is damaged (checksum {:#018x}, should be {:#018x}); {}", path.string(),
                      stored, found, cure);
  std::vector<TokenFileSection> sections;
  const std::uint64_t count = number_at(bytes, 0);
  if (TokenFileHeader::table_bytes_of(count) != bytes.size())
    throw_input_error("{}: the table at its end names {} sections and has {} bytes; {}", path.string(), count,
                      bytes.size(), cure);
  for (std::size_t at = number_bytes; at < end; at += 4 * number_bytes)
    sections.push_back({.id = static_cast<TokenFileSection::Id>(number_at(bytes, at)),
                        .offset = number_at(bytes, at + number_bytes),
                        .bytes = number_at(bytes, at + 2 * number_bytes),
                        .checksum = number_at(bytes, at + 3 * number_bytes)});
  return sections;
}

void check_places(std::vector<TokenFileSection> sections, const TokenFileHeader& header,
                  const std::filesystem::path& path) {
  const std::uint64_t first = header.byte_offset(header.tokens), end = header.table;
  for (const TokenFileSection& section : sections)
    if (section.offset < first || section.offset > end || section.bytes > end - section.offset)
      throw_input_error("{}: {} lies outside bytes {} to {}, between tokens and table; {}", path.string(),
                        words_of(section), first, end, cure);
  std::sort(sections.begin(), sections.end(), [](const TokenFileSection& a, const TokenFileSection& b) {
    return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes);
  });
  for (std::size_t i = 1; i < sections.size(); ++i)
    if (sections[i - 1].offset + sections[i - 1].bytes > sections[i].offset)
      throw_input_error("{}: {} overlaps {}; {}", path.string(), words_of(sections[i - 1]), words_of(sections[i]),
                        cure);
}

std::optional<TokenFileSection> find(const std::vector<TokenFileSection>& sections, TokenFileSection::Id id,
                                     const std::filesystem::path& path) {
  const auto is_it = [id](const TokenFileSection& section) { return section.id == id; };
  const auto count = std::count_if(sections.begin(), sections.end(), is_it);
  if (count == 0) return std::nullopt;
  if (count > 1)
    throw_input_error("{}: has section {} ({}) {} times; {}", path.string(), static_cast<std::uint64_t>(id),
                      name_of(id), count, cure);
  return *std::find_if(sections.begin(), sections.end(), is_it);
}

void check_length(const std::optional<TokenFileSection>& section, bool right, std::string_view rule,
                  const std::filesystem::path& path) {
  if (section && !right)
    throw_input_error("{}: {} has an impossible length: {}; {}", path.string(), words_of(*section), rule, cure);
}

void check_checksum(const TokenFileSection& section, std::uint64_t found, const std::filesystem::path& path) {
  if (section.checksum != found)
    throw_input_error("{}: {} is damaged (checksum {:#018x}, should be {:#018x}); {}", path.string(), words_of(section),
                      found, section.checksum, cure);
}

TokenizerMark read_tokenizer(const FileDescriptor& file, const TokenFileSection& section) {
  std::array<std::byte, tokenizer_bytes> bytes{};
  read_exactly(file, section.offset, bytes);
  check_checksum(section, hash_text(characters(bytes)), file.path());
  TokenizerMark tokenizer{.digest = number_at(bytes, 0)};
  const auto end_of_text = static_cast<std::int64_t>(number_at(bytes, number_bytes));
  if (end_of_text < -1 || end_of_text > std::numeric_limits<std::int32_t>::max())
    throw_input_error("{}: {} names the end-of-text token {}, which no tokenizer has; {}", file.path().string(),
                      words_of(section), end_of_text, cure);
  if (end_of_text >= 0) tokenizer.end_of_text = static_cast<std::int32_t>(end_of_text);
  return tokenizer;
}

/// The section's bytes, a block at a time; then its checksum is compared.
void read_through(const FileDescriptor& file, const TokenFileSection& section,
                  const std::function<void(std::span<const std::byte>)>& take) {
  constexpr std::uint64_t block_bytes = std::uint64_t{1} << 20;
  std::vector<std::byte> block;
  std::uint64_t hash = hash_text("");
  for (std::uint64_t at = 0; at < section.bytes; at += block.size()) {
    block.resize(std::min(block_bytes, section.bytes - at));
    read_exactly(file, section.offset + at, block);
    hash = hash_text(characters(block), hash);
    take(block);
  }
  check_checksum(section, hash, file.path());
}

/// Takes the starts one by one.
class StartCheck {
 public:
  StartCheck(const TokenFileHeader& header, const std::filesystem::path& path) : tokens_(header.tokens), path_(path) {}

  void add(std::uint64_t start) {
    if (!problem_ && start >= tokens_) problem_ = fmt::format("{}, and the file has {} tokens", start, tokens_);
    if (!problem_ && before_ && start <= *before_) problem_ = fmt::format("{}, after one at {}", start, *before_);
    before_ = start;
  }
  /// After the checksum: damage is told by its name.
  void finish() const {
    if (problem_)
      throw_input_error(
          "{}: a document begins at token {}; starts of documents ascend and lie below the number of "
          "tokens; {}",
          path_.string(), *problem_, cure);
  }

 private:
  std::uint64_t tokens_;
  const std::filesystem::path& path_;
  std::optional<std::uint64_t> before_;
  std::optional<std::string> problem_;
};

void for_each_start(const FileDescriptor& file, const TokenFileHeader& header, const TokenFileSection& section,
                    const std::function<void(std::uint64_t)>& take) {
  StartCheck check(header, file.path());
  read_through(file, section, [&](std::span<const std::byte> bytes) {
    for (std::size_t at = 0; at < bytes.size(); at += number_bytes) {
      check.add(number_at(bytes, at));
      take(number_at(bytes, at));
    }
  });
  check.finish();
}

void check_mask(const FileDescriptor& file, const TokenFileHeader& header, const TokenFileSection& section) {
  std::byte last{0};
  read_through(file, section, [&](std::span<const std::byte> bytes) { last = bytes.back(); });
  if (header.tokens % 8 != 0 && (last >> (header.tokens % 8)) != std::byte{0})
    throw_input_error("{}: {} has bits after the last token; {}", file.path().string(), words_of(section), cure);
}

}  // namespace

std::string digest_text(const TokenizerMark& tokenizer) { return fmt::format("fnv1a64-{:016x}", tokenizer.digest); }

std::vector<std::byte> encode_table(const std::vector<TokenFileSection>& sections) {
  std::vector<std::byte> bytes;
  append_number(bytes, sections.size());
  for (const TokenFileSection& section : sections)
    for (const std::uint64_t number :
         {static_cast<std::uint64_t>(section.id), section.offset, section.bytes, section.checksum})
      append_number(bytes, number);
  append_number(bytes, hash_text(characters(bytes)));
  return bytes;
}

TokenFileTable read_token_table(const std::filesystem::path& path, const TokenFileHeader& header) {
  if (header.table == 0) return {};
  const FileDescriptor file = open(path);
  std::vector<std::byte> bytes(header.table_bytes);
  read_exactly(file, header.table, bytes);
  const std::vector<TokenFileSection> sections = decode(bytes, path);
  check_places(sections, header, path);
  TokenFileTable table{.documents = find(sections, TokenFileSection::Id::documents, path),
                       .mask = find(sections, TokenFileSection::Id::mask, path)};
  const auto tokenizer = find(sections, TokenFileSection::Id::tokenizer, path);
  check_length(table.documents, table.documents && table.documents->bytes % number_bytes == 0,
               "a document has 8 bytes there", path);
  check_length(table.mask, table.mask && table.mask->bytes == (header.tokens + 7) / 8,
               fmt::format("{} tokens have one bit each", header.tokens), path);
  check_length(tokenizer, tokenizer && tokenizer->bytes == tokenizer_bytes, "it has 16 bytes", path);
  if (tokenizer) table.tokenizer = read_tokenizer(file, *tokenizer);
  return table;
}

void check_sections(const std::filesystem::path& path, const TokenFileHeader& header, const TokenFileTable& table) {
  if (!table.documents && !table.mask) return;
  const FileDescriptor file = open(path);
  if (table.documents) for_each_start(file, header, *table.documents, [](std::uint64_t) {});
  if (table.mask) check_mask(file, header, *table.mask);
}

std::vector<std::uint64_t> read_document_starts(const std::filesystem::path& path, const TokenFileHeader& header,
                                                const TokenFileTable& table) {
  std::vector<std::uint64_t> starts;
  if (!table.documents) return starts;
  starts.reserve(table.document_count());
  for_each_start(open(path), header, *table.documents, [&](std::uint64_t start) { starts.push_back(start); });
  return starts;
}

std::vector<bool> read_counted(const std::filesystem::path& path, const TokenFileHeader& header,
                               const TokenFileTable& table, std::uint64_t first_token, std::uint64_t count) {
  ensure(first_token <= header.tokens && count <= header.tokens - first_token,
         "read_counted: tokens after the end of the file");
  std::vector<bool> counted(count, true);
  if (!table.mask || count == 0) return counted;
  const std::uint64_t first = first_token / 8, last = (first_token + count - 1) / 8;
  std::vector<std::byte> bytes(last - first + 1);
  read_exactly(open(path), table.mask->offset + first, bytes);
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t bit = first_token + i - 8 * first;
    counted[i] = (bytes[bit / 8] >> (bit % 8) & std::byte{1}) != std::byte{0};
  }
  return counted;
}

}  // namespace penstock

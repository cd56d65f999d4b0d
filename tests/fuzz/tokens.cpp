// SPDX-License-Identifier: Apache-2.0
// Token files: the header and the table as they are and with their checksums mended (no fuzzer guesses 64 bits), then
// all tokens, the starts of documents and the mask.

#include <algorithm>
#include <cstring>

#include "base/random.hpp"
#include "data/token_file.hpp"
#include "data/token_file_table.hpp"
#include "fuzz/harness.hpp"
#include "fuzz/harnesses.hpp"

namespace penstock::fuzz {

namespace {

void read_sections(const std::filesystem::path& path, const TokenFileHeader& header) {
  const TokenFileTable table = read_token_table(path, header);
  promise(read_counted(path, header, table, 0, header.tokens).size() == header.tokens, "each token counts or does not");
  const std::vector<std::uint64_t> starts = read_document_starts(path, header, table);
  promise(starts.size() == table.document_count(), "each document has a start");
  promise(starts.empty() || starts.back() < header.tokens, "a document begins below the number of tokens");
  promise(std::is_sorted(starts.begin(), starts.end()), "documents ascend");
  check_sections(path, header, table);
}

void read_tokens(std::string_view bytes) {
  const MemoryFile file(bytes);
  accepts([&] {
    const TokenFileHeader header = read_token_header(file.path());
    promise(header.file_bytes() == bytes.size(), "a header that is taken is of a file of this size");
    accepts([&] { check_vocabulary(header, file.path(), 256); });
    accepts([&] { read_sections(file.path(), header); });
    const TokenFile tokens(file.path(), header);
    std::vector<std::int32_t> values(header.tokens);
    tokens.read(0, values);
    promise(std::all_of(values.begin(), values.end(), [](std::int32_t token) { return token >= 0; }),
            "a token is not negative");
  });
}

void mend(std::string& bytes, std::uint64_t at, std::string_view covered) {
  const std::uint64_t checksum = hash_text(covered);
  std::memcpy(bytes.data() + at, &checksum, sizeof checksum);
}

std::uint64_t number_at(std::string_view bytes, std::uint64_t at) {
  std::uint64_t number = 0;
  std::memcpy(&number, bytes.data() + at, sizeof number);
  return number;
}

/// The checksums of the table at the end and of the sections that it names, as far as they lie in the file.
void mend_table(std::string& bytes) {
  constexpr std::uint64_t table_at = 40, number = 8, entry = 32;
  const std::uint64_t table = number_at(bytes, table_at), size = bytes.size();
  if (table < TokenFileHeader::header_bytes || table > size || size - table < 2 * number) return;
  for (std::uint64_t at = table + number; at + entry + number <= size; at += entry) {
    const std::uint64_t offset = number_at(bytes, at + number), length = number_at(bytes, at + 2 * number);
    if (offset <= size && length <= size - offset)
      mend(bytes, at + 3 * number, std::string_view(bytes).substr(offset, length));
  }
  mend(bytes, size - number, std::string_view(bytes).substr(table, size - number - table));
}

}  // namespace

void feed_tokens(std::string_view bytes) {
  read_tokens(bytes);
  constexpr std::size_t checksum_at = 56;
  if (bytes.size() < TokenFileHeader::header_bytes) return;
  std::string mended(bytes);
  mend_table(mended);
  mend(mended, checksum_at, bytes.substr(0, checksum_at));
  read_tokens(mended);
}

}  // namespace penstock::fuzz

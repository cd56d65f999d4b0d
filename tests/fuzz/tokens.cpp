// SPDX-License-Identifier: Apache-2.0
// Token files: the header as it is and with its checksum mended (no fuzzer guesses 64 bits), then all tokens.

#include <algorithm>
#include <cstring>

#include "base/random.hpp"
#include "data/token_file.hpp"
#include "fuzz/harness.hpp"
#include "fuzz/harnesses.hpp"

namespace penstock::fuzz {

namespace {

void read_tokens(std::string_view bytes) {
  const MemoryFile file(bytes);
  accepts([&] {
    const TokenFileHeader header = read_token_header(file.path());
    promise(header.file_bytes() == bytes.size(), "a header that is taken is of a file of this size");
    accepts([&] { check_vocabulary(header, file.path(), 256); });
    const TokenFile tokens(file.path(), header);
    std::vector<std::int32_t> values(header.tokens);
    tokens.read(0, values);
    promise(std::all_of(values.begin(), values.end(), [](std::int32_t token) { return token >= 0; }),
            "a token is not negative");
  });
}

}  // namespace

void feed_tokens(std::string_view bytes) {
  read_tokens(bytes);
  constexpr std::size_t checksum_at = 56;
  if (bytes.size() < TokenFileHeader::header_bytes) return;
  std::string mended(bytes);
  const std::uint64_t checksum = hash_text(bytes.substr(0, checksum_at));
  std::memcpy(mended.data() + checksum_at, &checksum, sizeof checksum);
  read_tokens(mended);
}

}  // namespace penstock::fuzz

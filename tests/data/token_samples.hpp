// SPDX-License-Identifier: Apache-2.0
#pragma once
// Token files with known content.

#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/random.hpp"
#include "data/token_file.hpp"
#include "data/token_file_writer.hpp"

namespace penstock::test {

/// The token at `index`: no run of them comes twice in a short file, so a wrong place shows.
inline std::int32_t known_token(std::uint64_t index, std::uint64_t vocabulary = 256) {
  return static_cast<std::int32_t>(mix_bits(index) % vocabulary);
}

inline std::vector<std::int32_t> known_tokens(std::uint64_t first, std::uint64_t count,
                                              std::uint64_t vocabulary = 256) {
  std::vector<std::int32_t> tokens;
  for (std::uint64_t i = 0; i < count; ++i) tokens.push_back(known_token(first + i, vocabulary));
  return tokens;
}

inline void write_known_tokens(const std::filesystem::path& path, std::uint64_t count,
                               const TokenFileFormat& format = {}) {
  TokenFileWriter writer(path, format);
  writer.append(known_tokens(0, count, format.vocabulary));
  writer.publish();
}

inline TokenFile open_token_file(const std::filesystem::path& path) { return {path, read_token_header(path)}; }

}  // namespace penstock::test

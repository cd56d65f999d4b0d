// SPDX-License-Identifier: Apache-2.0
#include "data/token_file_digest.hpp"

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "base/error.hpp"
#include "base/file_descriptor.hpp"
#include "base/random.hpp"
#include "data/token_file_header.hpp"

namespace penstock {

std::vector<FileStretch> digested_stretches(std::uint64_t file_bytes) {
  constexpr std::uint64_t blocks = 64, block_bytes = 65536, gaps = blocks - 1;
  const std::uint64_t header = std::min(file_bytes, TokenFileHeader::header_bytes), tokens = file_bytes - header;
  std::vector<FileStretch> stretches{{0, header}};
  if (tokens <= blocks * block_bytes) {
    stretches.push_back({header, tokens});
    return stretches;
  }
  const std::uint64_t last = tokens - block_bytes;
  for (std::uint64_t i = 0; i < blocks; ++i)  // floor(i * last / gaps), which must not wrap
    stretches.push_back({header + i * (last / gaps) + i * (last % gaps) / gaps, block_bytes});
  return stretches;
}

std::string token_file_digest(const std::filesystem::path& path) {
  const FileDescriptor file = FileDescriptor::open_to_read(path, "the data of a run are identified by what it holds");
  std::uint64_t hash = hash_text("");
  std::vector<std::byte> bytes;
  for (const FileStretch& stretch : digested_stretches(file.size_in_bytes())) {
    bytes.resize(stretch.bytes);
    if (file.read_at(stretch.first, bytes) < bytes.size())
      throw SystemError(fmt::format(
          "{}: became shorter while it was read: it is being written; start again when it is whole", path.string()));
    hash = hash_text({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, hash);
  }
  return fmt::format("fnv1a64-{:016x}", hash);
}

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#include "fuzz/hdf5_checksums.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

namespace penstock::fuzz {

namespace {

// B. Jenkins, lookup3 (2006), as "HDF5 File Format Specification", version 3, names it for its structures.
std::uint32_t lookup3(std::string_view bytes) {
  std::uint32_t a = 0xdeadbeef + static_cast<std::uint32_t>(bytes.size()), b = a, c = a;
  const auto add_block = [&](std::string_view block) {
    unsigned char padded[12] = {};
    std::memcpy(padded, block.data(), block.size());
    std::uint32_t words[3] = {};
    std::memcpy(words, padded, sizeof words);
    a += words[0];
    b += words[1];
    c += words[2];
  };
  for (; bytes.size() > 12; bytes.remove_prefix(12)) {
    add_block(bytes.substr(0, 12));
    a -= c, a ^= std::rotl(c, 4), c += b;
    b -= a, b ^= std::rotl(a, 6), a += c;
    c -= b, c ^= std::rotl(b, 8), b += a;
    a -= c, a ^= std::rotl(c, 16), c += b;
    b -= a, b ^= std::rotl(a, 19), a += c;
    c -= b, c ^= std::rotl(b, 4), b += a;
  }
  if (bytes.empty()) return c;
  add_block(bytes);
  c ^= b, c -= std::rotl(b, 14);
  a ^= c, a -= std::rotl(c, 11);
  b ^= a, b -= std::rotl(a, 25);
  c ^= b, c -= std::rotl(b, 16);
  a ^= c, a -= std::rotl(c, 4);
  b ^= a, b -= std::rotl(a, 14);
  c ^= b, c -= std::rotl(b, 24);
  return c;
}

// Little endian, of 1 to 8 bytes; 0 after the end.
std::uint64_t number_at(std::string_view file, std::size_t at, std::size_t bytes) {
  std::uint64_t number = 0;
  if (at < file.size()) std::memcpy(&number, file.data() + at, std::min(bytes, file.size() - at));
  return number;
}

bool lies_in(std::string_view file, std::uint64_t begin, std::uint64_t length) {
  constexpr std::uint64_t checksum_bytes = 4;
  return begin < file.size() && length <= file.size() - begin && checksum_bytes <= file.size() - begin - length;
}

constexpr std::string_view superblock_mark = "\x89HDF\r\n\x1a\n", header_mark = "OHDR", continuation_mark = "OCHK";

// Messages of an object header that say where it continues.
void add_continuations(std::string_view file, std::size_t at, std::size_t end, bool ordered,
                       std::vector<Checksummed>& found) {
  constexpr std::uint64_t continuation = 0x10;
  const std::size_t prefix = ordered ? 6 : 4;
  while (at + prefix <= end) {
    const std::uint64_t type = number_at(file, at, 1), size = number_at(file, at + 1, 2);
    const std::uint64_t begin = number_at(file, at + prefix, 8), length = number_at(file, at + prefix + 8, 8);
    if (type == continuation && length > 8 && lies_in(file, begin, length - 4) &&
        file.substr(begin, 4) == continuation_mark)
      found.push_back({begin, length - 4});
    at += prefix + size;
  }
}

void add_header(std::string_view file, std::size_t at, std::vector<Checksummed>& found) {
  const std::uint64_t version = number_at(file, at + 4, 1), flags = number_at(file, at + 5, 1);
  if (version != 2) return;
  const std::size_t size_bytes = std::size_t{1} << (flags & 3);
  const std::size_t size_at = at + 6 + ((flags & 0x20) != 0 ? 16 : 0) + ((flags & 0x10) != 0 ? 4 : 0);
  const std::size_t messages = size_at + size_bytes;
  const std::uint64_t size = number_at(file, size_at, size_bytes);
  if (!lies_in(file, messages, size)) return;
  found.push_back({at, messages + size - at});
  add_continuations(file, messages, messages + size, (flags & 4) != 0, found);
}

}  // namespace

std::vector<Checksummed> checksummed_structures(std::string_view file) {
  std::vector<Checksummed> found;
  constexpr std::size_t superblock_bytes = 44;
  if (file.starts_with(superblock_mark) && number_at(file, 8, 1) >= 2 && lies_in(file, 0, superblock_bytes))
    found.push_back({0, superblock_bytes});
  for (std::size_t at = file.find(header_mark); at != file.npos; at = file.find(header_mark, at + 1))
    add_header(file, at, found);
  return found;
}

std::size_t root_group(std::string_view file) { return number_at(file, 36, 8); }

void mend_checksums(std::string& file, const std::vector<Checksummed>& structures) {
  for (const Checksummed& structure : structures) {
    if (!lies_in(file, structure.begin, structure.length)) continue;
    const std::uint32_t checksum = lookup3(std::string_view(file).substr(structure.begin, structure.length));
    std::memcpy(file.data() + structure.begin + structure.length, &checksum, sizeof checksum);
  }
}

std::string with_digest_found(std::string_view file, std::string_view refusal) {
  constexpr std::string_view mark = "fnv1a64-";
  constexpr std::size_t length = mark.size() + 16;
  const std::size_t found = refusal.find(mark), stated = refusal.find(mark, found + 1);
  if (found == refusal.npos || stated == refusal.npos || stated + length > refusal.size()) return {};
  const std::size_t at = file.find(refusal.substr(stated, length));
  if (at == file.npos) return {};
  std::string forged(file);
  forged.replace(at, length, refusal.substr(found, length));
  mend_checksums(forged, checksummed_structures(forged));
  return forged;
}

}  // namespace penstock::fuzz

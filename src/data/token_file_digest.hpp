// SPDX-License-Identifier: Apache-2.0
#pragma once
// Identifies the contents of a token file without reading all of it.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace penstock {

/// Bytes `first` to `first + bytes - 1` of a file.
struct FileStretch {
  std::uint64_t first = 0;
  std::uint64_t bytes = 0;
  bool operator==(const FileStretch&) const = default;
};

/// The parts that the digest of a token file of this size covers, in this order:
///   the header, bytes 0 to 63;
///   of the N bytes after the header, all of them where N <= 64 * 65536 (4 MiB);
///   else 64 blocks of 65536 bytes, where block i (0 to 63) begins at byte 64 + floor(i * (N - 65536) / 63): the first
///   one begins right after the header, the last one ends with the file, and no two overlap.
std::vector<FileStretch> digested_stretches(std::uint64_t file_bytes);

/// "fnv1a64-0123456789abcdef": 64-bit FNV-1a (base/random.hpp) over the digested stretches, joined. The file's name,
/// place, owner and times do not matter. The header contains the number of tokens, so a file that grew has another
/// digest. Two files of more than 4 MiB and equal length that differ only between the blocks have the same digest.
/// Throws InputError if the file cannot be opened, SystemError if reading fails or the file becomes shorter.
std::string token_file_digest(const std::filesystem::path& path);

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once
// What identifies the contents of a token file, without reading all of it.

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

/// What the digest of a token file of so many bytes is taken of, in this order:
///   the header, bytes 0 to 63;
///   of the N bytes after the header, all of them where N <= 64 * 65536 (4 MiB);
///   else 64 blocks of 65536 bytes, where block i (0 to 63) begins at byte 64 + floor(i * (N - 65536) / 63): the first
///   one begins right after the header, the last one ends with the file, and no two overlap.
std::vector<FileStretch> digested_stretches(std::uint64_t file_bytes);

/// "fnv1a64-0123456789abcdef": 64-bit FNV-1a (base/random.hpp) over the digested stretches, joined. The file's name,
/// place, owner and times do not enter. The header holds the number of tokens, so that a file that grew has another
/// digest; a file of more than 4 MiB that differs from another one of the same length only between the blocks has the
/// same. Throws InputError where the file cannot be opened, SystemError where reading fails or the file becomes
/// shorter.
std::string token_file_digest(const std::filesystem::path& path);

}  // namespace penstock

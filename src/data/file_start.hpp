// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the first bytes of a file reveal.

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace penstock {

/// A compression format.
struct Compression {
  std::string_view name;     ///< "gzip"
  std::string_view to_text;  ///< command that writes a file's contents to stdout: "zcat"
};

/// The compression whose files begin like this: gzip, compress, zstd, xz, bzip2, zip, LZ4 and 7-Zip are known.
std::optional<Compression> compression_of(std::string_view start);

/// Whether there is a zero byte: no text in UTF-8 or in a one-byte encoding has one, nearly everything else has one
/// soon.
bool is_binary(std::string_view start);

/// The first 64 KiB of a regular file, or all of a shorter one. Throws InputError if it cannot be opened, SystemError
/// if reading fails.
std::string start_of_file(const std::filesystem::path& path);

}  // namespace penstock

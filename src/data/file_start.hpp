// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the first bytes of a file tell of it.

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace penstock {

/// A way of compressing files.
struct Compression {
  std::string_view name;     ///< "gzip"
  std::string_view to_text;  ///< command that writes a file's contents to stdout: "zcat"
};

/// The compression whose files begin so: gzip, compress, zstd, xz, bzip2, zip, LZ4 and 7-Zip are known.
std::optional<Compression> compression_of(std::string_view start);

/// Whether there is a zero byte: in no text in UTF-8 or in one byte a character, and soon in nearly everything else.
bool is_binary(std::string_view start);

/// The first 64 KiB of a regular file, or all of a shorter one. Throws InputError where it cannot be opened,
/// SystemError where reading fails.
std::string start_of_file(const std::filesystem::path& path);

}  // namespace penstock

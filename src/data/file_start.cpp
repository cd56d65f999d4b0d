// SPDX-License-Identifier: Apache-2.0
#include "data/file_start.hpp"

#include <algorithm>
#include <array>
#include <span>

#include "base/file_descriptor.hpp"

namespace penstock {
namespace {

using namespace std::string_view_literals;

struct KnownStart {
  std::string_view bytes;
  Compression compression;
};

constexpr std::array known_starts{
    KnownStart{"\x1f\x8b"sv, {"gzip", "zcat"}},
    KnownStart{"\x1f\x9d"sv, {"compress", "zcat"}},
    KnownStart{"\x28\xb5\x2f\xfd"sv, {"zstd", "zstdcat"}},
    KnownStart{"\xfd"
               "7zXZ\0"sv,
               {"xz", "xzcat"}},
    KnownStart{"PK\x03\x04"sv, {"zip", "unzip -p"}},
    KnownStart{"\x04\x22\x4d\x18"sv, {"LZ4", "lz4cat"}},
    KnownStart{"7z\xbc\xaf\x27\x1c"sv, {"7-Zip", "7z x -so"}},
};

// A text, too, could begin with three letters and a digit, so the magic of the first block must follow.
bool is_bzip2(std::string_view start) {
  constexpr std::string_view stream = "BZh", block = "1AY&SY";
  return start.starts_with(stream) && start.substr(stream.size()).substr(0, 1).find_first_of("123456789") == 0 &&
         start.substr(stream.size() + 1).starts_with(block);
}

}  // namespace

std::optional<Compression> compression_of(std::string_view start) {
  const auto known = std::find_if(known_starts.begin(), known_starts.end(),
                                  [&](const KnownStart& k) { return start.starts_with(k.bytes); });
  if (known != known_starts.end()) return known->compression;
  if (start.size() > 3 && is_bzip2(start)) return Compression{"bzip2", "bzcat"};
  return std::nullopt;
}

bool is_binary(std::string_view start) { return start.find('\0') != std::string_view::npos; }

std::string start_of_file(const std::filesystem::path& path) {
  constexpr std::size_t most_bytes = 65536;
  const FileDescriptor file = FileDescriptor::open_to_read(path, "make it readable, or leave it out");
  std::string start(most_bytes, '\0');
  start.resize(file.read_at(0, std::as_writable_bytes(std::span(start))));
  return start;
}

}  // namespace penstock

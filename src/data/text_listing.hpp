// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which files are the texts that a person names: files, pipes, and what lies below folders.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace penstock {

/// Files in folders that are no text; only counted, because there may be very many.
struct LeftOut {
  struct Kind {
    std::uint64_t count = 0;
    std::filesystem::path first = {};  ///< of their paths, compared byte by byte
  };
  Kind hidden;      ///< names that begin with a dot, such as .git; nothing below a hidden folder is counted
  Kind dangling;    ///< links that lead nowhere
  Kind compressed;  ///< by their first bytes (data/file_start.hpp), in another way than gzip and zstd
  Kind binary;      ///< with a zero byte in the first 64 KiB of their text

  bool any() const { return hidden.count + dangling.count + compressed.count + binary.count > 0; }
};
/// "left out: 2 hidden files or folders (a/.git, ...), 1 compressed file (a/b.gz); ...": one line.
std::string text_of(const LeftOut& left_out);

struct TextListing {
  std::vector<std::filesystem::path> texts;    ///< to be joined in this order
  std::vector<std::filesystem::path> skipped;  ///< token files, links to folders, devices and pipes below folders
  LeftOut left_out;
  std::vector<std::string> problems;  ///< none after list_texts
};

/// The texts of files, pipes, folders and "-" (standard input), as TokenizeRequest says. Throws InputError for names
/// that are missing, unreadable, token files or compressed in a way that is not read (all together), or if none is
/// left.
TextListing list_texts(const std::vector<std::filesystem::path>& inputs);

/// The file that "-" stands for.
std::filesystem::path standard_input();

}  // namespace penstock

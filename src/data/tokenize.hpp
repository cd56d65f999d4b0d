// SPDX-License-Identifier: Apache-2.0
#pragma once
// Text to token files. Without a tokenizer a token is a byte. Texts are joined with nothing between, or as documents.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/text_listing.hpp"
#include "tokenizer/tokenizer.hpp"

namespace penstock {

struct TokenizeRequest {
  /// Files, pipes, folders or "-" (standard input), joined in this order. What is compressed by gzip or zstd is read as
  /// its text, and a *.jsonl file (data/json_lines.hpp) line by line, each a text of its own. A folder stands for the
  /// texts below it, at any depth, in the order of their full paths compared byte by byte; links to files count, links
  /// to folders are not followed. What no person means by "the texts of this folder" is left out (LeftOut). A file that
  /// is named itself is taken whatever it holds, for a model of bytes can learn any format, unless it is compressed in
  /// another way: such bytes are as good as random, and to name the file instead of its text is a slip.
  std::vector<std::filesystem::path> inputs;
  std::filesystem::path output;
  /// The file for the held-back part (for validation); without it nothing is held back.
  std::optional<std::filesystem::path> held_back = std::nullopt;
  /// The key of the text in JSON lines; without it "text", or "prompt" and "completion".
  std::optional<std::string> field = std::nullopt;
  /// Each file and each JSON line is a document: the output says where it begins, and a tokenizer's end-of-text token
  /// ends it. Such texts, and JSON lines in any case, are held back whole: a piece ends with the one that fills it.
  bool documents = false;
  /// In (0, 1), taken to six decimals. The joined text is cut into pieces of held_back_piece_bytes; piece i is held
  /// back when round((i + 1) * fraction) > round(i * fraction), which is every k-th piece for a fraction of 1 / k.
  double held_back_fraction = 0.1;
  /// Each file is a text of its own to it: no token spans two files. A piece that is held back, or kept, then goes on
  /// from held_back_piece_bytes to the next place where a cut changes no token, and a file ends one.
  std::optional<Tokenizer> tokenizer = std::nullopt;
};

inline constexpr std::uint64_t held_back_piece_bytes = 65536;

struct TokenizeReport {
  std::uint64_t files = 0;  // that were read
  std::uint64_t bytes = 0;
  std::uint64_t tokens = 0;            // in output
  std::uint64_t held_back_tokens = 0;  // in held_back
  std::uint64_t largest = 0;           // token, of both
  std::uint64_t documents = 0;         // where the request says so
  std::uint64_t without_text = 0;      // files or lines that would be documents, and lines without a document
  std::uint64_t not_counted = 0;       // tokens of prompts
  TextLosses losses = {};              // where there is a tokenizer
  /// What a folder holds and was left out: token files (also older outputs), links to folders, devices and pipes.
  std::vector<std::filesystem::path> skipped = {};
  LeftOut left_out = {};
  std::vector<std::filesystem::path> replaced = {};  ///< existing token files with the name of an output
};

/// Writes the token file(s); they appear whole, at the end, or not at all. Throws InputError for inputs that are
/// missing or unreadable (all named together), compressed in a way that is not read, damaged, without text, already
/// tokens, or too small for the held-back part, and for outputs that may not be written or would take the place of
/// other files than token files; SystemError where reading or writing fails.
TokenizeReport tokenize(const TokenizeRequest& request);

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Writes a token file that exists whole or not at all.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "base/file_descriptor.hpp"
#include "data/token_file_header.hpp"
#include "data/token_file_table.hpp"

namespace penstock {

struct TokenFileFormat {
  std::uint32_t bytes_per_token = 1;  // 1, 2 or 4
  std::uint64_t vocabulary = 256;
  std::optional<TokenizerMark> tokenizer = std::nullopt;  // none: bytes
};

/// Numbers that may be many, and are read once, at the end: the first ones in memory, all of them in a file without a
/// name, which goes with the process, where they become more.
class NumberSpool {
 public:
  /// `beside`: a file to be, in whose folder there is room.
  explicit NumberSpool(std::filesystem::path beside) : beside_(std::move(beside)) {}
  void append(std::uint64_t number, std::size_t bytes);
  std::uint64_t bytes() const { return stored_ + waiting_.size(); }
  /// Appends all to `file`; returns their checksum.
  std::uint64_t write_to(FileDescriptor& file);

 private:
  void store();

  std::filesystem::path beside_;
  std::vector<std::byte> waiting_;
  std::uint64_t stored_ = 0;
  std::optional<FileDescriptor> in_, out_;  // two ends of one file
};

/// Tokens go to `<path>.partial-<n>`; publish() gives the file its name. Without it nothing stays: the writer removes
/// the partial file. A partial file left by a killed process begins with the magic and does not count as whole.
class TokenFileWriter {
 public:
  /// Throws InputError if `path` cannot be created, is no regular file, or is not a token file: a slip in a command
  /// line must not cost a text.
  TokenFileWriter(const std::filesystem::path& path, const TokenFileFormat& format);
  ~TokenFileWriter();
  TokenFileWriter(const TokenFileWriter&) = delete;
  TokenFileWriter& operator=(const TokenFileWriter&) = delete;

  /// The next token is the first one of a document. A document without a token is none.
  void begin_document();
  enum class Counted { yes, no };
  /// Tokens in [0, vocabulary); whether they count in the loss as targets. Throws SystemError where the system does not
  /// take the bytes (a full disk).
  void append(std::span<const std::int32_t> tokens, Counted counted = Counted::yes);
  const TokenFileHeader& header() const { return header_; }

  /// Brings all bytes and the header to the device, still under the temporary name. Throws SystemError.
  void seal();
  /// seal(), unless done; then renames to `path` and syncs the folder. A file of that name is replaced.
  void publish();

 private:
  void flush();
  void mark(std::uint64_t tokens, bool counted);
  void write_table();
  TokenFileSection write_section(TokenFileSection::Id id, NumberSpool& numbers);

  std::filesystem::path path_;
  TokenFileHeader header_;
  std::vector<std::byte> waiting_;  // bytes not yet handed to the system
  std::optional<TokenizerMark> tokenizer_;
  NumberSpool starts_, mask_;
  bool begins_document_ = false;
  bool all_counted_ = true;
  std::uint8_t mask_byte_ = 0;  // of the tokens after the last multiple of 8
  FileDescriptor file_;         // made last: nothing after it can fail and leave the partial file behind
  bool sealed_ = false;
  bool published_ = false;
};

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#include "data/token_file_writer.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "base/error.hpp"
#include "base/random.hpp"
#include "base/sync_folder.hpp"

namespace penstock {
namespace {

constexpr std::size_t most_waiting_bytes = std::size_t{1} << 20;

/// The path that is really written: a link stays a link, and its target is replaced.
std::filesystem::path resolve(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_symlink(path, error)) return path;
  const std::filesystem::path real = std::filesystem::weakly_canonical(path, error);
  if (error)
    throw_input_error("{}: cannot be created ({}); name a file in a folder that exists and may be written to",
                      path.string(), error.message());
  return real;
}

void check_may_replace(const std::filesystem::path& path) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  if (!std::filesystem::exists(status)) return;
  if (!std::filesystem::is_regular_file(status))
    throw_input_error("{}: cannot become a token file: it exists and is not a regular file; use another name",
                      path.string());
  const bool holds_something = std::filesystem::file_size(path, ignored) > 0;
  if (holds_something && !looks_like_a_token_file(path))
    throw_input_error("{}: exists and is not a token file, and would be lost; use another name, or remove it first",
                      path.string());
}

FileDescriptor create_partial(const std::filesystem::path& path) {
  check_may_replace(path);
  for (int number = 0;; ++number) {
    std::filesystem::path partial = path;
    partial += fmt::format(".partial-{}", number);
    if (auto file = FileDescriptor::create(partial)) return std::move(*file);
  }
}

/// A header without tokens at the start of a partial file, so that no reader takes it for whole.
TokenFileHeader provisional_header(const TokenFileFormat& format) {
  const std::uint32_t width = format.bytes_per_token;
  ensure(width == 1 || width == 2 || width == 4, "TokenFileWriter: a token has 1, 2 or 4 bytes");
  ensure(format.vocabulary <= std::uint64_t{1} << std::min(8 * width, 31U),
         "TokenFileWriter: the vocabulary does not fit the width of a token");
  return {.bytes_per_token = width, .vocabulary = format.vocabulary};
}

std::vector<std::byte> bytes_of(const EncodedTokenFileHeader& header) {
  std::vector<std::byte> bytes;
  bytes.reserve(most_waiting_bytes + sizeof(std::int32_t));
  bytes.assign(header.begin(), header.end());
  return bytes;
}

/// Written and read through two descriptors, under no name.
std::pair<FileDescriptor, FileDescriptor> nameless_file(const std::filesystem::path& beside) {
  for (int number = 0;; ++number) {
    std::filesystem::path name = beside;
    name += fmt::format(".spool-{}", number);
    auto out = FileDescriptor::create(name);
    if (!out) continue;
    FileDescriptor in = FileDescriptor::open_to_read(name, "it was made a moment ago; run tokenize again");
    std::filesystem::remove(name);
    return {std::move(in), std::move(*out)};
  }
}

}  // namespace

void NumberSpool::append(std::uint64_t number, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) waiting_.push_back(static_cast<std::byte>(number >> (8 * i)));
  if (waiting_.size() >= most_waiting_bytes) store();
}

void NumberSpool::store() {
  if (!out_) {
    auto [in, out] = nameless_file(beside_);
    in_ = std::move(in);
    out_ = std::move(out);
  }
  out_->write(waiting_);
  stored_ += waiting_.size();
  waiting_.clear();
}

std::uint64_t NumberSpool::write_to(FileDescriptor& file) {
  std::uint64_t checksum = hash_text("");
  const auto put = [&](std::span<const std::byte> bytes) {
    checksum = hash_text({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, checksum);
    file.write(bytes);
  };
  std::vector<std::byte> block;
  for (std::uint64_t at = 0; at < stored_; at += block.size()) {
    block.resize(std::min<std::uint64_t>(most_waiting_bytes, stored_ - at));
    if (in_->read_at(at, block) < block.size())
      throw SystemError(
          fmt::format("{}: a file next to it, which nobody else knows, became shorter", beside_.string()));
    put(block);
  }
  put(waiting_);
  return checksum;
}

TokenFileWriter::TokenFileWriter(const std::filesystem::path& path, const TokenFileFormat& format)
    : path_(resolve(path)),
      header_(provisional_header(format)),
      waiting_(bytes_of(encode(header_))),
      tokenizer_(format.tokenizer),
      starts_(path_),
      mask_(path_),
      file_(create_partial(path_)) {}

TokenFileWriter::~TokenFileWriter() {
  std::error_code ignored;
  if (!published_) std::filesystem::remove(file_.path(), ignored);
}

void TokenFileWriter::begin_document() { begins_document_ = true; }

void TokenFileWriter::append(std::span<const std::int32_t> tokens, Counted counted) {
  ensure(!sealed_, "TokenFileWriter::append: the file is sealed");
  if (begins_document_ && !tokens.empty()) {
    starts_.append(header_.tokens, sizeof(std::uint64_t));
    begins_document_ = false;
  }
  mark(tokens.size(), counted == Counted::yes);
  for (const std::int32_t token : tokens) {
    ensure(token >= 0 && static_cast<std::uint64_t>(token) < header_.vocabulary,
           "TokenFileWriter::append: a token outside the vocabulary");
    for (std::uint32_t i = 0; i < header_.bytes_per_token; ++i)
      waiting_.push_back(static_cast<std::byte>(static_cast<std::uint32_t>(token) >> (8 * i)));
    header_.largest = std::max(header_.largest, static_cast<std::uint64_t>(token));
    if (waiting_.size() >= most_waiting_bytes) flush();
  }
  header_.tokens += tokens.size();
}

void TokenFileWriter::flush() {
  file_.write(waiting_);
  waiting_.clear();
}

void TokenFileWriter::mark(std::uint64_t tokens, bool counted) {
  if (tokens == 0 || (all_counted_ && counted)) return;
  if (all_counted_) {  // all that were written until now do
    for (std::uint64_t i = 0; i < header_.tokens / 8; ++i) mask_.append(0xff, 1);
    mask_byte_ = static_cast<std::uint8_t>((1U << header_.tokens % 8) - 1);
    all_counted_ = false;
  }
  for (std::uint64_t token = header_.tokens; token < header_.tokens + tokens; ++token) {
    if (counted) mask_byte_ = static_cast<std::uint8_t>(mask_byte_ | 1U << token % 8);
    if (token % 8 != 7) continue;
    mask_.append(mask_byte_, 1);
    mask_byte_ = 0;
  }
}

TokenFileSection TokenFileWriter::write_section(TokenFileSection::Id id, NumberSpool& numbers) {
  constexpr std::uint64_t alignment = 8;
  std::uint64_t offset = file_.size_in_bytes();
  const std::vector<std::byte> padding((alignment - offset % alignment) % alignment);
  file_.write(padding);
  offset += padding.size();
  return {.id = id, .offset = offset, .bytes = numbers.bytes(), .checksum = numbers.write_to(file_)};
}

void TokenFileWriter::write_table() {
  std::vector<TokenFileSection> sections;
  if (starts_.bytes() > 0) sections.push_back(write_section(TokenFileSection::Id::documents, starts_));
  if (!all_counted_) {
    if (header_.tokens % 8 != 0) mask_.append(mask_byte_, 1);
    sections.push_back(write_section(TokenFileSection::Id::mask, mask_));
  }
  if (tokenizer_) {
    NumberSpool numbers(path_);
    numbers.append(tokenizer_->digest, sizeof(std::uint64_t));
    const std::int64_t end_of_text = tokenizer_->end_of_text ? *tokenizer_->end_of_text : -1;
    numbers.append(static_cast<std::uint64_t>(end_of_text), sizeof(std::uint64_t));
    sections.push_back(write_section(TokenFileSection::Id::tokenizer, numbers));
  }
  if (sections.empty()) return;  // version 1, which older programs read, too
  const std::vector<std::byte> table = encode_table(sections);
  const std::uint64_t end = file_.size_in_bytes();
  const std::vector<std::byte> padding((8 - end % 8) % 8);
  file_.write(padding);
  file_.write(table);
  header_.version = TokenFileHeader::version_with_table;
  header_.table = end + padding.size();
  header_.table_bytes = table.size();
}

void TokenFileWriter::seal() {
  ensure(header_.tokens > 0, "TokenFileWriter::seal: no token was written");
  flush();
  write_table();
  file_.sync();  // the tokens first: the header that counts them shall not be on the device before they are
  file_.write_at(0, encode(header_));
  file_.sync();
  file_.close();
  sealed_ = true;
}

void TokenFileWriter::publish() {
  if (!sealed_) seal();
  if (std::rename(file_.path().c_str(), path_.c_str()) != 0)
    throw SystemError(fmt::format("{}: cannot be renamed to {}: {}", file_.path().string(), path_.string(),
                                  std::system_category().message(errno)));
  published_ = true;
  sync_folder(path_.parent_path());
}

}  // namespace penstock

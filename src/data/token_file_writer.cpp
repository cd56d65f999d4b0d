// SPDX-License-Identifier: Apache-2.0
#include "data/token_file_writer.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "base/error.hpp"
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

}  // namespace

TokenFileWriter::TokenFileWriter(const std::filesystem::path& path, const TokenFileFormat& format)
    : path_(resolve(path)),
      header_(provisional_header(format)),
      waiting_(bytes_of(encode(header_))),
      file_(create_partial(path_)) {}

TokenFileWriter::~TokenFileWriter() {
  std::error_code ignored;
  if (!published_) std::filesystem::remove(file_.path(), ignored);
}

void TokenFileWriter::append(std::span<const std::int32_t> tokens) {
  ensure(!sealed_, "TokenFileWriter::append: the file is sealed");
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

void TokenFileWriter::seal() {
  ensure(header_.tokens > 0, "TokenFileWriter::seal: no token was written");
  flush();
  file_.sync();  // the tokens first: the header that counts them must not reach the device before they do
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

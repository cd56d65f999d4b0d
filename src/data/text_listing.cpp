// SPDX-License-Identifier: Apache-2.0
#include "data/text_listing.hpp"

#include <algorithm>
#include <system_error>

#include "base/error.hpp"
#include "base/file_descriptor.hpp"
#include "data/file_start.hpp"
#include "data/text_source.hpp"
#include "data/token_file_header.hpp"

namespace penstock {
namespace {

namespace fs = std::filesystem;

void add_problem(TextListing& listing, const fs::path& path, const std::string& problem) {
  listing.problems.push_back(path.string() + ": " + problem);
}

void leave_out(LeftOut::Kind& kind, const fs::path& path) {
  if (kind.count++ == 0 || path.native() < kind.first.native()) kind.first = path;
}

bool is_hidden(const fs::path& path) { return path.filename().native().starts_with('.'); }

// A link to a file that may not be reached is another matter: that is a problem.
bool leads_nowhere(const fs::directory_entry& entry) {
  std::error_code error;
  if (!entry.is_symlink(error)) return false;
  const fs::file_type type = fs::status(entry.path(), error).type();
  return type == fs::file_type::not_found || error == std::errc::too_many_symbolic_link_levels;
}

// By TextSource.
bool is_read(const Compression& compression) { return compression.name == "gzip" || compression.name == "zstd"; }

void list_regular_file(const fs::path& path, TextListing& listing) try {
  const std::string start = start_of_file(path);
  if (starts_as_a_token_file(start)) return listing.skipped.push_back(path);
  const auto compression = compression_of(start);
  if (compression && !is_read(*compression)) return leave_out(listing.left_out.compressed, path);
  if (is_binary(compression ? start_of_text(path) : start)) return leave_out(listing.left_out.binary, path);
  listing.texts.push_back(path);
} catch (const InputError& error) {
  listing.problems.emplace_back(error.what());
}

void list_folder(const fs::path& folder, TextListing& listing);

void list_folder_entry(const fs::directory_entry& entry, TextListing& listing) {
  std::error_code ignored;
  const fs::path& path = entry.path();
  if (is_hidden(path)) return leave_out(listing.left_out.hidden, path);
  if (entry.is_directory(ignored) && !entry.is_symlink(ignored)) return list_folder(path, listing);
  if (entry.is_directory(ignored) || entry.is_other(ignored)) return listing.skipped.push_back(path);
  if (leads_nowhere(entry)) return leave_out(listing.left_out.dangling, path);
  if (const auto problem = reading_problem(path)) return add_problem(listing, path, *problem);
  list_regular_file(path, listing);
}

void list_folder(const fs::path& folder, TextListing& listing) {
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) list_folder_entry(*entry, listing);
  if (error) add_problem(listing, folder, "cannot be listed (" + error.message() + ")");
}

// For a file that was named itself. Pipes are not checked, because reading would consume their bytes.
std::optional<Compression> compression_of_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored) ? compression_of(start_of_file(path)) : std::nullopt;
}

void list_name(const fs::path& named, TextListing& listing) {
  const fs::path name = named == "-" ? standard_input() : named;
  std::error_code ignored;
  if (fs::is_directory(name, ignored)) {
    const auto first = static_cast<std::ptrdiff_t>(listing.texts.size());
    list_folder(name, listing);
    std::sort(listing.texts.begin() + first, listing.texts.end(),
              [](const fs::path& a, const fs::path& b) { return a.native() < b.native(); });
  } else if (const auto problem = reading_problem(name)) {
    add_problem(listing, name, *problem);
  } else if (looks_like_a_token_file(name)) {
    add_problem(listing, name, "is a token file already");
  } else if (const auto compression = compression_of_file(name); compression && !is_read(*compression)) {
    add_problem(listing, name,
                fmt::format("is compressed ({}), and its bytes are not its text: decompress it first, as in "
                            "`{} {} | penstock tokenize -o FILE -`",
                            compression->name, compression->to_text, name.string()));
  } else {
    listing.texts.push_back(name);
  }
}

void refuse_problems(const TextListing& listing) {
  if (listing.problems.empty()) return;
  constexpr std::size_t most_named = 50;  // more would hide the first ones
  std::string lines;
  for (std::size_t i = 0; i < std::min(most_named, listing.problems.size()); ++i) lines += "\n  " + listing.problems[i];
  if (listing.problems.size() > most_named)
    lines += fmt::format("\n  and {} more", listing.problems.size() - most_named);
  throw_input_error(
      "tokenize: {} of the inputs cannot be taken as text; name text files or folders that can be read:{}",
      listing.problems.size(), lines);
}

std::string words_of(const LeftOut::Kind& kind, std::string_view one, std::string_view many) {
  if (kind.count == 0) return "";
  return fmt::format(", {} {} ({}{})", kind.count, kind.count == 1 ? one : many, kind.first.string(),
                     kind.count == 1 ? "" : ", ...");
}

}  // namespace

fs::path standard_input() { return "/dev/stdin"; }

TextListing list_texts(const std::vector<fs::path>& inputs) {
  if (inputs.empty()) throw_input_error("tokenize: no text was named; name one or more files or folders");
  TextListing listing;
  for (const fs::path& name : inputs) list_name(name, listing);
  refuse_problems(listing);
  if (listing.texts.empty() && listing.left_out.any())
    throw_input_error("tokenize: the folders hold no text; name files, or other folders; {}",
                      text_of(listing.left_out));
  return listing;
}

std::string text_of(const LeftOut& left_out) {
  const std::string kinds = words_of(left_out.hidden, "hidden file or folder", "hidden files or folders") +
                            words_of(left_out.dangling, "link that leads nowhere", "links that lead nowhere") +
                            words_of(left_out.compressed, "compressed file", "compressed files") +
                            words_of(left_out.binary, "file with zero bytes", "files with zero bytes");
  return fmt::format("left out: {}; name a file itself to take it as it is; decompress compressed ones",
                     std::string_view(kinds).substr(std::min<std::size_t>(2, kinds.size())));
}

}  // namespace penstock

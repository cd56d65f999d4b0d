// SPDX-License-Identifier: Apache-2.0
#include "run/product_cache.hpp"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>
#include <utility>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/random.hpp"

namespace penstock {

namespace {

constexpr std::string_view first_line = "penstock: how a matrix product is made, version 1\n";
constexpr int most_versions = 100;              // of a product's file: one more if the one before is damaged
constexpr std::uintmax_t most_bytes = 1 << 16;  // of an entry; one has a few hundred

std::optional<std::filesystem::path> absolute_folder_in(const char* variable) {
  const char* value = std::getenv(variable);
  if (!value || *value != '/') return std::nullopt;
  return value;
}

std::string text_of_entry(const std::string& origin, const std::string& line) {
  const std::string text = fmt::format("{}{}\n{}\n", first_line, origin, line);
  return fmt::format("{}{:016x}\n", text, hash_text(text));
}

enum class EntryState { absent, unreadable, damaged, whole };

struct Entry {
  EntryState state = EntryState::absent;
  std::string line = {};
};

// The text must be, byte for byte, what would be written for the line in it.
Entry read_entry(const std::filesystem::path& file, const std::string& origin, const std::string& product) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(file, error);
  if (status.type() == std::filesystem::file_type::not_found) return {EntryState::absent};
  if (error) return {EntryState::unreadable};
  if (!std::filesystem::is_regular_file(status)) return {EntryState::damaged};  // opening a pipe would wait
  if (std::filesystem::file_size(file, error) > most_bytes) return {EntryState::damaged};
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return {EntryState::unreadable};
  std::ostringstream text;
  text << stream.rdbuf();
  const std::string start = fmt::format("{}{}\n", first_line, origin);
  if (!text.view().starts_with(start)) return {EntryState::damaged};
  const std::string line(text.view().substr(start.size(), text.view().find('\n', start.size()) - start.size()));
  if (text.view() != text_of_entry(origin, line) || !line.starts_with(product + "\t")) return {EntryState::damaged};
  return {EntryState::whole, line};
}

// A new name in every call, because process numbers repeat in containers that share a home.
std::filesystem::path temporary_of_entry(const std::filesystem::path& file) {
  std::random_device random;
  return file.parent_path() / fmt::format(".{}.tmp-{:08x}{:08x}", file.stem().string(), random(), random());
}

// A file under a temporary name, removed with this object.
class UnnamedEntry {
 public:
  UnnamedEntry(const std::filesystem::path& file, const std::string& text) : path_(temporary_of_entry(file)) {
    std::ofstream stream(path_, std::ios::binary);
    stream << text;
    stream.close();
    if (stream) return;
    const int reason = errno;
    unlink(path_.c_str());
    throw SystemError(std::strerror(reason));
  }
  ~UnnamedEntry() { unlink(path_.c_str()); }
  UnnamedEntry(const UnnamedEntry&) = delete;
  UnnamedEntry& operator=(const UnnamedEntry&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Whether the file got the name; not if something already has it. Over NFS a link may be made and its answer lost: then
// the name belongs to a file with the same text.
bool name_first(const std::filesystem::path& unnamed, const std::filesystem::path& name) {
  if (link(unnamed.c_str(), name.c_str()) == 0) return true;
  if (errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS) {  // a file system without links
    if (renameat2(AT_FDCWD, unnamed.c_str(), AT_FDCWD, name.c_str(), RENAME_NOREPLACE) == 0) return true;
    if (errno == EINVAL || errno == ENOSYS) {  // nor this; two runs at the same moment may differ there
      if (access(name.c_str(), F_OK) == 0) return false;
      if (rename(unnamed.c_str(), name.c_str()) == 0) return true;
    }
  }
  if (errno == EEXIST) return false;
  throw SystemError(std::strerror(errno));
}

}  // namespace

std::optional<std::filesystem::path> users_cache_folder() {
  if (const char* own = std::getenv("PENSTOCK_CACHE"); own && *own != '\0') return own;
  if (const auto caches = absolute_folder_in("XDG_CACHE_HOME")) return *caches / "penstock";
  if (const auto home = absolute_folder_in("HOME")) return *home / ".cache/penstock";
  return std::nullopt;
}

ProductCache::ProductCache(std::optional<std::filesystem::path> folder, std::string origin)
    : folder_(std::move(folder)), origin_(std::move(origin)) {
  if (folder_) *folder_ /= fmt::format("products/{:016x}", hash_text(origin_));
}

std::filesystem::path ProductCache::file_of(const std::string& product, int version) const {
  return folder_.value_or("") / fmt::format("{:016x}.{}.tsv", hash_text(product), version);
}

std::optional<std::string> ProductCache::find(const std::string& product) const {
  if (!folder_) return std::nullopt;
  for (int version = 0; version < most_versions; ++version) {
    Entry entry = read_entry(file_of(product, version), origin_, product);
    if (entry.state == EntryState::whole) return std::move(entry.line);
    if (entry.state == EntryState::damaged) continue;
    if (entry.state == EntryState::absent && version > 0)
      log_warning("{}: damaged; it is left out, and its product measured again",
                  file_of(product, version - 1).string());
    break;
  }
  return std::nullopt;
}

std::string ProductCache::keep(const std::string& product, const std::string& line) {
  if (!folder_) return line;
  try {
    std::filesystem::create_directories(*folder_);
    const UnnamedEntry entry(file_of(product, 0), text_of_entry(origin_, line));
    for (int version = 0; version < most_versions; ++version) {
      if (name_first(entry.path(), file_of(product, version))) return line;
      Entry first = read_entry(file_of(product, version), origin_, product);
      if (first.state == EntryState::whole) return std::move(first.line);
      if (first.state != EntryState::damaged) throw SystemError("a file in it cannot be read");
    }
  } catch (const std::exception& error) {
    report_unusable(error.what());
  }
  return line;
}

// Only once: the other products would fail in the same way.
void ProductCache::report_unusable(const std::string& why) {
  log_info("measured products are not kept for other runs: {}: {}; PENSTOCK_CACHE names another folder",
           folder_->string(), why);
  folder_.reset();
}

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#include "fuzz/harness.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace penstock::fuzz {

namespace {

[[noreturn]] void give_up(const char* what) {
  std::perror(what);
  std::_Exit(1);
}

}  // namespace

void note_refusal(const std::exception& refusal) {
  static const bool shown = std::getenv("PENSTOCK_FUZZ_SHOW") != nullptr;
  if (shown) std::fprintf(stderr, "refused: %s\n", refusal.what());
}

void promise(bool holds, std::string_view what) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

// A name of its own for each: HDF5 may take a file whose name it knows for one that it has open.
MemoryFile::MemoryFile(std::string_view bytes) {
  static const MemoryFolder folder;
  static int count = 0;
  path_ = folder.path() + "/" + std::to_string(++count);
  const int file = open(path_.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
  if (file < 0 || write(file, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
    give_up("a file in memory");
  close(file);
}

MemoryFile::~MemoryFile() { unlink(path_.c_str()); }

MemoryFolder::MemoryFolder() {
  const std::filesystem::path memory = "/dev/shm";
  const bool in_memory = std::getenv("TMPDIR") == nullptr && access(memory.c_str(), W_OK) == 0;
  path_ = ((in_memory ? memory : std::filesystem::temp_directory_path()) / "penstock-fuzz-XXXXXX").string();
  if (mkdtemp(path_.data()) == nullptr) give_up("a folder in memory");
}

MemoryFolder::~MemoryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

}  // namespace penstock::fuzz

// SPDX-License-Identifier: Apache-2.0
#pragma once
// What every harness does: it hands bytes of any kind to a reader of ours. The reader returns, or answers with
// InputError or SystemError. Another exception, a broken promise, a sanitizer's report, more than 10 s or 2 GiB are
// defects.

#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/error.hpp"

namespace penstock::fuzz {

/// Takes note of a refusal: prints it where PENSTOCK_FUZZ_SHOW is set.
void note_refusal(const std::exception& refusal);

/// Calls `read`. True: it returned, false: it refused the input. Anything else passes through and ends the program.
template <typename Function>
bool accepts(Function read) {
  try {
    read();
    return true;
  } catch (const InputError& refusal) {
    note_refusal(refusal);
  } catch (const SystemError& refusal) {
    note_refusal(refusal);
  }
  return false;
}

/// Ends the program with `what` on stderr unless `holds`: an input was read, and a promise about it does not hold.
void promise(bool holds, std::string_view what);

/// A file of these bytes in a MemoryFolder, which readers open by its path like any other.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes);
  ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// A folder below TMPDIR, or else in memory (/dev/shm) where that is; removed at the end.
class MemoryFolder {
 public:
  MemoryFolder();
  ~MemoryFolder();
  MemoryFolder(const MemoryFolder&) = delete;
  MemoryFolder& operator=(const MemoryFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::vector<std::string_view> lines_of(std::string_view text);

}  // namespace penstock::fuzz

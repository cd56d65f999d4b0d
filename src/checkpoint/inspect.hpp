// SPDX-License-Identifier: Apache-2.0
#pragma once
// Looking at checkpoints and captures from one process, without MPI: `penstock checkpoint list | verify | show | diff`.
// Results are values, with a text for people and JSON for programs. All throw InputError, with the path, for a file
// that cannot be read. If HDF5 was given up in a damaged file (`IoThread::abandoned`), end the process without waiting
// for it.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_folder.hpp"
#include "checkpoint/io_thread.hpp"

namespace penstock {

/// A line of `list`.
struct ListedCheckpoint {
  CheckpointFile file;
  std::uint64_t bytes = 0;
  std::string problem = {};  ///< empty: it opens as a whole checkpoint (only `verify` reads chunks)
  bool opened = true;        ///< false: it cannot be opened now, and may be whole
  CheckpointMeta meta = {};  ///< valid without a problem
};

/// The checkpoints of a folder, or of the run folder above it, the newest first. Throws InputError if there is no
/// folder.
std::vector<ListedCheckpoint> list_checkpoints(IoThread& io, const std::filesystem::path& folder,
                                               double quiet_seconds = default_quiet_seconds);
std::string text_of(const std::vector<ListedCheckpoint>& list);
nlohmann::ordered_json json_of(const std::vector<ListedCheckpoint>& list);

/// Why the exit code of `list` is 2: the first file that cannot be opened; empty if all can.
std::string what_cannot_be_opened(const std::vector<ListedCheckpoint>& list);

/// The outcome of `verify`: exit code 0 if `whole`, otherwise 2.
struct Verification {
  std::filesystem::path path;
  bool whole = false;
  bool opened = true;  ///< false: it cannot be opened now, and may be whole
  std::string problem = {};
  std::uint64_t arrays = 0;
  std::uint64_t bytes = 0;  ///< of the file
  double seconds = 0;
};

/// Checks every chunk of a checkpoint or capture against its checksum. Damage is an outcome, not an exception.
Verification verify_file(IoThread& io, const std::filesystem::path& path, double quiet_seconds = default_quiet_seconds);
std::string text_of(const Verification& verification);
nlohmann::ordered_json json_of(const Verification& verification);

/// The output of `show`: all attributes and arrays of a checkpoint or capture.
struct Shown {
  std::filesystem::path path;
  std::uint64_t bytes = 0;
  FileContents contents;
};
Shown show_file(IoThread& io, const std::filesystem::path& path, double quiet_seconds = default_quiet_seconds);
std::string text_of(const Shown& shown);
nlohmann::ordered_json json_of(const Shown& shown);

}  // namespace penstock

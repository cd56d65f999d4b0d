// SPDX-License-Identifier: Apache-2.0
#pragma once
// A file that is whole or not there: written under a temporary name (with its space reserved, unless it is written in
// one piece), synced, then renamed. All functions throw SystemError with the path and the system's reason.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace penstock {

/// ".step-00000100.h5.tmp-<host>-<process>-<a random mark of this process>" next to the file.
std::filesystem::path temporary_name(const std::filesystem::path& file);

/// Removes unfinished files of other run attempts: everything with a temporary name in the folder. Returns their
/// number; 0 if there is no folder. Only for the one process that may write in the folder.
int remove_temporaries(const std::filesystem::path& folder);

/// Reserves space for a file that will grow to `bytes`, so that a full disk is known before the first byte: MPI-IO
/// hangs if one of several writers meets it. The file's size does not change. If the file system cannot reserve, its
/// free space is checked instead.
void reserve_space(const std::filesystem::path& file, std::uint64_t bytes);
/// Returns the reserved space beyond the end of the file.
void give_back_space(const std::filesystem::path& file);

/// Creates a file with the text; it is on the device when this returns.
void write_file(const std::filesystem::path& file, const std::string& text);

/// Makes an empty file.
void make_empty(const std::filesystem::path& file);
/// Writes the bytes of an empty file, which must still exist; they are on the device when this returns.
void fill_file(const std::filesystem::path& file, std::span<const std::byte> bytes);

/// Returns when the file's bytes are on the device.
void sync(const std::filesystem::path& file);

/// Gives the temporary file its final name, replacing a file of that name, and makes the change durable.
void publish(const std::filesystem::path& temporary, const std::filesystem::path& file);

/// Removes files of one folder by moving them into a temporary folder. If another run attempt has taken the folder
/// meanwhile, that temporary folder is gone, and SystemError is thrown before a file is lost. `ensure_mine` throws if
/// this run attempt may no longer write.
void remove_guarded(const std::vector<std::filesystem::path>& files, const std::function<void()>& ensure_mine);

/// Removes a file if it is there; a failure is logged.
void discard(const std::filesystem::path& file) noexcept;

}  // namespace penstock

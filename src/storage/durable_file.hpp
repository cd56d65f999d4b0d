// SPDX-License-Identifier: Apache-2.0
#pragma once
// A file that is whole or not there: written under a temporary name (with its space reserved, unless it comes in one
// piece), synced, then renamed.
// All functions throw SystemError with the path and the system's reason.

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

/// Removes what other lives have begun: everything with a temporary name in the folder. Returns how many. Nothing in a
/// folder that is not there. Only for the one process that may write in the folder.
int remove_temporaries(const std::filesystem::path& folder);

/// Holds space for a file that is going to grow to `bytes`, so that a full disk is known before the first byte: MPI-IO
/// hangs when one of several writers meets it. The file's size stays. File systems that cannot reserve are asked for
/// their free space instead.
void reserve_space(const std::filesystem::path& file, std::uint64_t bytes);
/// Gives back what lies reserved behind the end of the file.
void give_back_space(const std::filesystem::path& file);

/// Makes a file that holds the text, on the device when this returns.
void write_file(const std::filesystem::path& file, const std::string& text);

/// Makes an empty file.
void make_empty(const std::filesystem::path& file);
/// Gives an empty file, which must be there still, its bytes; they are on the device when this returns.
void fill_file(const std::filesystem::path& file, std::span<const std::byte> bytes);

/// Returns when the file's bytes are on the device.
void sync(const std::filesystem::path& file);

/// Gives the temporary its final name, replacing a file of that name, and makes the change lasting.
void publish(const std::filesystem::path& temporary, const std::filesystem::path& file);

/// Removes files of one folder by way of a temporary one: when another life has taken the folder meanwhile, that is
/// gone, and SystemError is thrown before a file is. `ensure_mine` throws when this life may not write any more.
void remove_guarded(const std::vector<std::filesystem::path>& files, const std::function<void()>& ensure_mine);

/// Removes a file if it is there; a failure is logged.
void discard(const std::filesystem::path& file) noexcept;

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once
// A POSIX file descriptor with an owner, whose system calls are checked here.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace penstock {

/// Why `path` cannot be opened to read as a file ("does not exist", "is a folder, not a file", ...); none if it can.
std::optional<std::string> reading_problem(const std::filesystem::path& path);

/// Owns a descriptor and closes it at its end. Every call throws SystemError, with path and reason, if the system
/// fails, and continues after interruptions (EINTR) and short transfers.
class FileDescriptor {
 public:
  /// Opens what exists. Throws InputError "<path>: <problem>; <cure>".
  static FileDescriptor open_to_read(const std::filesystem::path& path, std::string_view cure);
  /// Creates a file that does not exist yet, to be written. No value if the name is taken. Throws InputError where the
  /// name cannot be made (no such folder, no permission).
  static std::optional<FileDescriptor> create(const std::filesystem::path& path);
  /// Opens an existing file for writing while other processes write it, too: its bytes stay.
  static FileDescriptor open_to_write(const std::filesystem::path& path);

  FileDescriptor(FileDescriptor&& other) noexcept;
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  ~FileDescriptor();

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size_in_bytes() const;
  /// Fills `bytes` from where the last read ended; returns how many were read before the end of the file.
  std::size_t read(std::span<std::byte> bytes);
  /// Fills `bytes` from `offset` on; returns how many were read before the end of the file. Several threads may call
  /// it.
  std::size_t read_at(std::uint64_t offset, std::span<std::byte> bytes) const;
  void write(std::span<const std::byte> bytes);
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  /// Truncates the file, or extends it by a hole that reads as zeros.
  void resize(std::uint64_t bytes);
  /// Asks the system to begin writing to the device, so that sync() has little left to wait for. Only a hint: errors
  /// show in sync().
  void begin_writing_back() noexcept;
  /// Returns when the bytes are on the device.
  void sync();
  /// Closes early, to learn of errors that some file systems report only now.
  void close();

 private:
  FileDescriptor(int descriptor, std::filesystem::path path) : descriptor_(descriptor), path_(std::move(path)) {}
  [[noreturn]] void fail(std::string_view what) const;

  static constexpr int closed = -1;
  int descriptor_ = closed;
  std::filesystem::path path_;
};

}  // namespace penstock

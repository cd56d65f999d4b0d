// SPDX-License-Identifier: Apache-2.0
#include "base/file_descriptor.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/error.hpp"

namespace penstock {
namespace {

std::string reason(int error) { return std::system_category().message(error); }

/// Calls `transfer(done)` until `size` bytes are moved or it moves none; returns the bytes moved, or nothing on an
/// error, which is then in errno.
template <typename Transfer>
std::optional<std::size_t> transfer_all(std::size_t size, Transfer transfer) {
  std::size_t done = 0;
  while (done < size) {
    const ssize_t moved = transfer(done);
    if (moved == 0) break;
    if (moved > 0)
      done += static_cast<std::size_t>(moved);
    else if (errno != EINTR)
      return std::nullopt;
  }
  return done;
}

bool is_a_wrong_name(int error) {
  return error == ENOENT || error == ENOTDIR || error == EACCES || error == EPERM || error == EROFS ||
         error == ENAMETOOLONG || error == ELOOP;
}

}  // namespace

std::optional<std::string> reading_problem(const std::filesystem::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return "does not exist";
    return "cannot be reached (" + reason(errno) + ")";
  }
  if (S_ISDIR(status.st_mode)) return "is a folder, not a file";
  if (::faccessat(AT_FDCWD, path.c_str(), R_OK, AT_EACCESS) != 0) return "cannot be read (" + reason(errno) + ")";
  return std::nullopt;
}

FileDescriptor FileDescriptor::open_to_read(const std::filesystem::path& path, std::string_view cure) {
  if (const auto problem = reading_problem(path)) throw_input_error("{}: {}; {}", path.string(), *problem, cure);
  int descriptor = closed;
  do descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  while (descriptor < 0 && errno == EINTR);
  // A server, for instance, can still refuse what faccessat allows.
  if (descriptor < 0) throw_input_error("{}: cannot be read ({}); {}", path.string(), reason(errno), cure);
  return {descriptor, path};
}

std::optional<FileDescriptor> FileDescriptor::create(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor >= 0) return FileDescriptor(descriptor, path);
  if (errno == EEXIST) return std::nullopt;
  if (is_a_wrong_name(errno))
    throw_input_error("{}: cannot be created ({}); name a file in a folder that exists and may be written to",
                      path.string(), reason(errno));
  throw SystemError(fmt::format("{}: cannot be created: {}", path.string(), reason(errno)));
}

FileDescriptor FileDescriptor::open_to_write(const std::filesystem::path& path) {
  int descriptor = closed;
  do descriptor = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  while (descriptor < 0 && errno == EINTR);
  if (descriptor < 0)
    throw SystemError(fmt::format("{}: cannot be opened to be written: {}", path.string(), reason(errno)));
  return {descriptor, path};
}

FileDescriptor::FileDescriptor(FileDescriptor&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, closed)), path_(std::move(other.path_)) {}

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(path_, other.path_);
  return *this;
}

FileDescriptor::~FileDescriptor() {
  // An error is lost here: a writer that needs it calls close() first.
  if (descriptor_ != closed) ::close(descriptor_);
}

std::uint64_t FileDescriptor::size_in_bytes() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) fail("asking for its size failed");
  return static_cast<std::uint64_t>(status.st_size);
}

std::size_t FileDescriptor::read(std::span<std::byte> bytes) {
  const auto done = transfer_all(
      bytes.size(), [&](std::size_t from) { return ::read(descriptor_, bytes.data() + from, bytes.size() - from); });
  if (!done) fail("reading failed");
  return *done;
}

std::size_t FileDescriptor::read_at(std::uint64_t offset, std::span<std::byte> bytes) const {
  const auto done = transfer_all(bytes.size(), [&](std::size_t from) {
    return ::pread(descriptor_, bytes.data() + from, bytes.size() - from, static_cast<off_t>(offset + from));
  });
  if (!done) fail("reading failed");
  return *done;
}

void FileDescriptor::write(std::span<const std::byte> bytes) {
  const auto done = transfer_all(
      bytes.size(), [&](std::size_t from) { return ::write(descriptor_, bytes.data() + from, bytes.size() - from); });
  if (!done || *done < bytes.size()) fail("writing failed");
}

void FileDescriptor::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  const auto done = transfer_all(bytes.size(), [&](std::size_t from) {
    return ::pwrite(descriptor_, bytes.data() + from, bytes.size() - from, static_cast<off_t>(offset + from));
  });
  if (!done || *done < bytes.size()) fail("writing failed");
}

void FileDescriptor::resize(std::uint64_t bytes) {
  int result = 0;
  do result = ::ftruncate(descriptor_, static_cast<off_t>(bytes));
  while (result != 0 && errno == EINTR);
  if (result != 0) fail("setting its size failed");
}

void FileDescriptor::begin_writing_back() noexcept { sync_file_range(descriptor_, 0, 0, SYNC_FILE_RANGE_WRITE); }

void FileDescriptor::sync() {
  if (::fsync(descriptor_) != 0) fail("bringing it to the device (fsync) failed");
}

void FileDescriptor::close() {
  // Linux frees the descriptor even if close() reports an error: never close it twice.
  if (::close(std::exchange(descriptor_, closed)) != 0) fail("closing failed");
}

void FileDescriptor::fail(std::string_view what) const {
  throw SystemError(fmt::format("{}: {}: {}", path_.string(), what, reason(errno)));
}

}  // namespace penstock

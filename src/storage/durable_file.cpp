// SPDX-License-Identifier: Apache-2.0
#include "storage/durable_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <random>
#include <string_view>

#include "base/error.hpp"
#include "base/fault.hpp"
#include "base/log.hpp"
#include "base/sync_folder.hpp"

namespace penstock {

namespace {

constexpr std::string_view temporary_mark = ".tmp-";

// Containers may have the same process numbers, and machines the same host name: an old run attempt must not find a
// file of a later one under its own temporary name.
const std::string& mark_of_this_process() {
  static const std::string mark = fmt::format("{:08x}", std::random_device()());
  return mark;
}

[[noreturn]] void fail(const std::filesystem::path& path, std::string_view what, int reason) {
  throw SystemError(fmt::format("{}: {}: {}", path.string(), what, std::strerror(reason)));
}

class Descriptor {
 public:
  Descriptor(const std::filesystem::path& path, int flags) : descriptor_(open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (descriptor_ < 0) fail(path, "cannot be opened", errno);
  }
  ~Descriptor() { close(descriptor_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

void ask_for_free_space(const Descriptor& file, const std::filesystem::path& path, std::uint64_t bytes) {
  struct statvfs system {};
  if (fstatvfs(file.get(), &system) != 0) fail(path, "the file system does not tell its free space", errno);
  if (static_cast<std::uint64_t>(system.f_bavail) * system.f_frsize < bytes)
    fail(path, fmt::format("{} bytes are wanted", bytes), ENOSPC);
}

void write_and_sync(const Descriptor& file, const std::filesystem::path& path, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(file.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(path, "cannot be written", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  if (planted(Fault::unsynced_rename)) return;
  if (fsync(file.get()) != 0) fail(path, "cannot be written to the device", errno);
}

}  // namespace

std::filesystem::path temporary_name(const std::filesystem::path& file) {
  char host[256] = "host";
  gethostname(host, sizeof(host) - 1);
  return file.parent_path() /
         fmt::format(".{}.tmp-{}-{}-{}", file.filename().string(), host, getpid(), mark_of_this_process());
}

int remove_temporaries(const std::filesystem::path& folder) {
  std::error_code error;
  int removed = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.front() != '.' || name.find(temporary_mark) == std::string::npos) continue;
    std::filesystem::remove_all(entry.path(), error);
    if (error) log_warning("{}: cannot be removed: {}", entry.path().string(), error.message());
    ++removed;
  }
  return removed;
}

void remove_guarded(const std::vector<std::filesystem::path>& files, const std::function<void()>& ensure_mine) {
  if (files.empty()) return;
  const std::filesystem::path going = temporary_name(files.front().parent_path() / "going");
  std::error_code error;
  std::filesystem::create_directory(going, error);
  if (error) throw SystemError(fmt::format("{}: cannot be made: {}", going.string(), error.message()));
  const auto move_away = [&] {
    if (ensure_mine) ensure_mine();
    for (const std::filesystem::path& file : files)
      if (rename(file.c_str(), (going / file.filename()).c_str()) != 0) fail(file, "cannot be removed", errno);
  };
  try {
    move_away();
  } catch (...) {
    std::filesystem::remove_all(going, error);
    throw;
  }
  std::filesystem::remove_all(going, error);
}

void reserve_space(const std::filesystem::path& path, std::uint64_t bytes) {
  const Descriptor file(path, O_WRONLY);
  int result = 0;
  do result = fallocate(file.get(), FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes));
  while (result != 0 && errno == EINTR);
  if (result == 0) return;
  if (errno != EOPNOTSUPP && errno != ENOSYS) fail(path, fmt::format("{} bytes cannot be reserved", bytes), errno);
  ask_for_free_space(file, path, bytes);
}

void give_back_space(const std::filesystem::path& path) {
  const Descriptor file(path, O_WRONLY);
  struct stat status {};
  if (fstat(file.get(), &status) != 0) fail(path, "cannot be looked at", errno);
  if (ftruncate(file.get(), status.st_size) != 0) fail(path, "the reserved space cannot be given back", errno);
}

void write_file(const std::filesystem::path& path, const std::string& text) {
  write_and_sync(Descriptor(path, O_CREAT | O_TRUNC | O_WRONLY), path, std::as_bytes(std::span(text)));
}

void make_empty(const std::filesystem::path& path) { Descriptor(path, O_CREAT | O_TRUNC | O_WRONLY); }

void fill_file(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  write_and_sync(Descriptor(path, O_WRONLY), path, bytes);
}

void sync(const std::filesystem::path& path) {
  const Descriptor file(path, O_RDONLY);
  if (fsync(file.get()) != 0) fail(path, "cannot be written to the device", errno);
}

void publish(const std::filesystem::path& temporary, const std::filesystem::path& file) {
  if (rename(temporary.c_str(), file.c_str()) != 0) fail(file, "cannot be given its name", errno);
  sync_folder(file.parent_path());
}

void discard(const std::filesystem::path& file) noexcept {
  if (unlink(file.c_str()) == 0 || errno == ENOENT || errno == ENOTDIR) return;
  try {
    log_warning("{}: cannot be removed: {}", file.string(), std::strerror(errno));
  } catch (...) {  // nobody can be notified
  }
}

}  // namespace penstock

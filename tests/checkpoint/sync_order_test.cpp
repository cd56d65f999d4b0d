// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 1 2 ALONE
// A file's bytes are on the device before it gets its name, and the name when the save returns: what a machine that
// loses power leaves is a whole file or none. No file shows that afterwards, so the system calls are watched.

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <mutex>
#include <numeric>
#include <string>
#include <vector>

#include "checkpoint/array_file.hpp"
#include "checkpoint/array_reader.hpp"
#include "storage/durable_file.hpp"
#include "storage/shared_folder.hpp"

namespace penstock::sync_order_test {
namespace {

/// What a file is like: any write after a sync shows in one of these.
struct FileState {
  ino_t inode = 0;
  off_t bytes = 0;
  timespec changed{};
  bool operator==(const FileState& other) const {
    return inode == other.inode && bytes == other.bytes && changed.tv_sec == other.changed.tv_sec &&
           changed.tv_nsec == other.changed.tv_nsec;
  }
};

FileState state_of(const struct stat& status) { return {status.st_ino, status.st_size, status.st_mtim}; }

struct Call {
  std::string renamed_to;  ///< empty: a sync
  FileState file;
};

/// The calls of this process since `clear`, in order.
class Calls {
 public:
  static Calls& instance() {
    static Calls calls;
    return calls;
  }
  void clear() {
    const std::lock_guard lock(mutex_);
    calls_.clear();
  }
  void add(Call call) {
    const std::lock_guard lock(mutex_);
    calls_.push_back(std::move(call));
  }
  std::vector<Call> get() {
    const std::lock_guard lock(mutex_);
    return calls_;
  }

 private:
  std::mutex mutex_;
  std::vector<Call> calls_;
};

}  // namespace
}  // namespace penstock::sync_order_test

// In the place of the C library's, in the whole program.
extern "C" {

int fsync(int descriptor) {
  using namespace penstock::sync_order_test;
  const int result = static_cast<int>(syscall(SYS_fsync, descriptor));
  struct stat status {};
  if (result == 0 && fstat(descriptor, &status) == 0) Calls::instance().add({"", state_of(status)});
  return result;
}

int rename(const char* from, const char* to) noexcept {
  using namespace penstock::sync_order_test;
  struct stat status {};
  const bool known = stat(from, &status) == 0;
  const int result = static_cast<int>(syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
  if (result == 0 && known) Calls::instance().add({to, state_of(status)});
  return result;
}

}  // extern "C"

namespace penstock::sync_order_test {
namespace {

FileState state_of(const std::filesystem::path& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 ? state_of(status) : FileState{};
}

void expect_synced_name(const std::filesystem::path& path) {
  const std::vector<Call> calls = Calls::instance().get();
  const auto naming = std::find_if(calls.begin(), calls.end(), [&](const Call& c) { return c.renamed_to == path; });
  ASSERT_NE(naming, calls.end()) << path << " was not named by a rename";
  const auto synced = [&](auto begin, auto end, const FileState& file) {
    return std::any_of(begin, end, [&](const Call& c) { return c.renamed_to.empty() && c.file == file; });
  };
  EXPECT_TRUE(synced(calls.begin(), naming, naming->file)) << path << " got its name before it was synced";
  EXPECT_TRUE(synced(naming, calls.end(), state_of(path.parent_path()))) << path << ": its folder was not synced";
  EXPECT_EQ(state_of(path), naming->file) << path << " was written to after it got its name";
}

class SyncOrderTest : public testing::Test {
 protected:
  // A block of rows a rank.
  ArrayFile file_at(const std::filesystem::path& path) {
    const std::int64_t rows = 100, columns = 500;
    values.resize(static_cast<std::size_t>(rows * columns));
    std::iota(values.begin(), values.end(), static_cast<float>(world.rank()));
    ArraySpec array{"/rows", {world.size() * rows, columns}, DType::float32, {"row", "column"}, {}};
    for (int r = 0; r < world.size(); ++r) array.pieces.push_back({r, Box{{r * rows, 0}, {rows, columns}, 0}});
    ArrayFile file;
    file.path = path;
    file.attributes = format_attributes(checkpoint_format);
    file.arrays = {array, array};
    file.arrays[1].path = "/more";
    file.local_data = [this](std::size_t, std::size_t) { return reinterpret_cast<const std::byte*>(values.data()); };
    return file;
  }

  World& world = test_world();
  SharedFolder folder{world};
  IoThread io;
  std::vector<float> values;
};

TEST_F(SyncOrderTest, ArraysAreOnTheDeviceBeforeTheirFileHasItsName) {
  for (int count = 1; count <= world.size(); ++count) {
    for (const std::size_t round_bytes : {std::size_t{64} << 20, std::size_t{1}}) {  // made in memory, and on the disk
      SCOPED_TRACE(fmt::format("{} writers, {} bytes a round", count, round_bytes));
      Writers writers(world, io, {.count = count});
      ArrayFile file = file_at(folder.path() / fmt::format("step-{}-{}.h5", count, round_bytes));
      file.round_bytes = round_bytes;
      Calls::instance().clear();
      const SaveOutcome outcome = save_arrays(world, writers, file);
      ASSERT_TRUE(outcome.ok) << outcome.message;
      if (world.rank() == 0) expect_synced_name(file.path);
      world.barrier();
    }
  }
}

TEST_F(SyncOrderTest, SoAreTexts) {
  if (world.rank() != 0) return;
  const std::filesystem::path path = folder.path() / "deck.toml", temporary = temporary_name(path);
  Calls::instance().clear();
  write_file(temporary, "text");
  publish(temporary, path);
  expect_synced_name(path);
}

}  // namespace
}  // namespace penstock::sync_order_test

// SPDX-License-Identifier: Apache-2.0
// CTest: RANKS 1 4 LABELS exactness
// Saves that must fail leave nothing behind and hang nobody; captures hold global order.

#include "checkpoint/array_file.hpp"

#include <gtest/gtest.h>
#include <sys/mount.h>

#include <atomic>
#include <fstream>
#include <numeric>

#include "checkpoint/array_reader.hpp"
#include "checkpoint/capture.hpp"
#include "storage/durable_file.hpp"
#include "storage/shared_folder.hpp"

namespace penstock::array_file_test {
namespace {

// A tmpfs of its own, mounted by rank 0 while this exists. Collective.
class SmallDisk {
 public:
  SmallDisk(World& world, const std::filesystem::path& folder, std::string size)
      : world_(world), folder_(folder / "disk") {
    if (world.rank() == 0) {
      std::filesystem::create_directory(folder_);
      mounted_ = mount("tmpfs", folder_.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0;
    }
    mounted_ = world.broadcast(std::string(mounted_ ? "yes" : "no")) == "yes";
  }
  ~SmallDisk() {
    world_.barrier();
    if (world_.rank() == 0 && mounted_) umount2(folder_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool mounted() const { return mounted_; }
  const std::filesystem::path& folder() const { return folder_; }

 private:
  World& world_;
  std::filesystem::path folder_;
  bool mounted_ = false;
};

class ArrayFileTest : public testing::Test {
 protected:
  // [ranks * 100, 1000] float32, a block of rows a rank, and an array that rank 0 brings alone: 0.4 MB a rank.
  ArrayFile file_at(const std::filesystem::path& path) {
    ArrayFile file;
    file.path = path;
    file.attributes = format_attributes(checkpoint_format);
    const std::int64_t ranks = world.size();
    ArraySpec rows{"/rows", {ranks * 100, 1000}, DType::float32, {"row", "column"}, {}};
    for (int r = 0; r < world.size(); ++r) rows.pieces.push_back({r, Box{{r * 100, 0}, {100, 1000}, 0}});
    file.arrays = {rows, {"/group/ids", {50}, DType::int32, {}, {{0, Box{{}, {50}, 0}}}}};
    values.resize(100 * 1000);
    std::iota(values.begin(), values.end(), static_cast<float>(world.rank() * 100000));
    ids.resize(50);
    std::iota(ids.begin(), ids.end(), -10);
    file.local_data = [this](std::size_t array, std::size_t) {
      return array == 0 ? reinterpret_cast<const std::byte*>(values.data())
                        : reinterpret_cast<const std::byte*>(ids.data());
    };
    return file;
  }

  // Rank 0 alone.
  void expect_whole(const std::filesystem::path& path) {
    io.run([&] {
        ArrayReader reader(path, {checkpoint_format});
        const std::int64_t elements = world.size() * 100000;
        std::vector<float> found(static_cast<std::size_t>(elements)), expected(found.size());
        std::iota(expected.begin(), expected.end(), 0.0F);  // exact: below 2^24
        reader.read(*reader.contents().find("/rows"), Box{{}, {elements / 1000, 1000}, 0}, found.data());
        EXPECT_EQ(found, expected);
        std::vector<std::int32_t> found_ids(50);
        reader.read(*reader.contents().find("/group/ids"), Box{{}, {50}, 0}, found_ids.data());
        EXPECT_EQ(found_ids, ids);
      }).get();
  }

  std::size_t entries(const std::filesystem::path& in) {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(in), std::filesystem::directory_iterator()));
  }

  // All ranks get the same outcome: a failure whose message holds `part`; nothing is left in the folder.
  void expect_failure(const SaveOutcome& outcome, const std::string& part) {
    EXPECT_FALSE(outcome.ok);
    EXPECT_NE(outcome.message.find(part), std::string::npos) << outcome.message;
    for (const std::string& message : world.gather(outcome.message)) EXPECT_EQ(message, outcome.message);
  }

  World& world = test_world();
  SharedFolder folder{world};
  IoThread io;
  std::vector<float> values;
  std::vector<std::int32_t> ids;
};

std::vector<int> writer_counts(const World& world) {
  return world.size() > 1 ? std::vector<int>{1, 2} : std::vector<int>{1};
}

TEST_F(ArrayFileTest, FullDiskFailsAtOnceOnAllRanks) {
  SmallDisk disk(world, folder.path(), "1m");  // 4 ranks want 1.6 MB; one rank gets a third array below
  if (!disk.mounted()) GTEST_SKIP() << "only root mounts a tmpfs";
  for (const int count : writer_counts(world)) {
    Writers writers(world, io, {.count = count});
    ArrayFile file = file_at(disk.folder() / "step.h5");
    file.arrays.push_back({"/more", {1000000}, DType::float32, {}, {{0, Box{{}, {1000000}, 0}}}});
    const std::vector<float> more(1000000);
    const LocalData rest = file.local_data;
    file.local_data = [&](std::size_t array, std::size_t piece) {
      return array == 2 ? reinterpret_cast<const std::byte*>(more.data()) : rest(array, piece);
    };
    expect_failure(save_arrays(world, writers, file), "No space left");
    if (world.rank() == 0) {
      EXPECT_EQ(entries(disk.folder()), 0U) << count << " writers";
    }
    world.barrier();
    // The space was given back, and the writers still work.
    const SaveOutcome next = save_arrays(world, writers, file_at(folder.path() / "good.h5"));
    EXPECT_TRUE(next.ok) << next.message;
    if (world.rank() == 0) expect_whole(folder.path() / "good.h5");
  }
}

TEST_F(ArrayFileTest, DiskThatFillsWhileOneWritesFailsOnAllRanks) {
  SmallDisk disk(world, folder.path(), "12m");
  if (!disk.mounted()) GTEST_SKIP() << "only root mounts a tmpfs";
  Writers writers(world, io, {.count = 1});
  ArrayFile file = file_at(disk.folder() / "step.h5");
  file.round_bytes = 1 << 20;
  file.arrays.push_back({"/more", {2000, 1000}, DType::float32, {}, {{0, Box{{}, {2000, 1000}, 0}}}});
  const std::vector<float> more(2000000);
  const LocalData rest = file.local_data;
  std::atomic<int> asked = 0;
  file.local_data = [&](std::size_t array, std::size_t piece) {
    // Somebody takes the reserved space away and fills the disk, when the save is half done: each of the eight rounds
    // asks three times when it is posted and once when it is written, and the fifth waits for the first to be written.
    if (array == 2 && ++asked == 16) {
      for (const auto& entry : std::filesystem::directory_iterator(disk.folder())) give_back_space(entry.path());
      std::ofstream other(disk.folder() / "other");
      const std::vector<char> block(1 << 16);
      while (other.write(block.data(), 1 << 16).flush()) {
      }
    }
    return array == 2 ? reinterpret_cast<const std::byte*>(more.data()) : rest(array, piece);
  };
  const SaveOutcome outcome = save_arrays(world, writers, file);
  expect_failure(outcome, "No space left");
  if (world.rank() == 0) {
    EXPECT_EQ(entries(disk.folder()), 1U) << "but for the other's file: " << outcome.message;
  }
  world.barrier();
  const SaveOutcome next = save_arrays(world, writers, file_at(folder.path() / "good.h5"));
  EXPECT_TRUE(next.ok) << next.message;
  if (world.rank() == 0) expect_whole(folder.path() / "good.h5");
}

TEST_F(ArrayFileTest, FolderThatIsGoneOrNoFolderFails) {
  for (const int count : writer_counts(world)) {
    Writers writers(world, io, {.count = count});
    expect_failure(save_arrays(world, writers, file_at(folder.path() / "gone" / "step.h5")), "gone");
    if (world.rank() == 0) std::ofstream(folder.path() / "file") << "no folder";
    world.barrier();
    expect_failure(save_arrays(world, writers, file_at(folder.path() / "file" / "step.h5")), "");
  }
}

TEST_F(ArrayFileTest, LostFolderStopsTheRenameAndKeepsTheEarlierFile) {
  Writers writers(world, io, {});
  ArrayFile file = file_at(folder.path() / "step.h5");
  ASSERT_TRUE(save_arrays(world, writers, file).ok);
  file.ensure_mine = [] { throw SystemError("this run has lost its folder"); };
  for (float& value : values) value = 0;
  expect_failure(save_arrays(world, writers, file), "lost its folder");
  if (world.rank() == 0) {
    EXPECT_EQ(entries(folder.path()), 1U);
    file_at(folder.path() / "step.h5");
    expect_whole(folder.path() / "step.h5");
  }
}

TEST_F(ArrayFileTest, EmptyRanksAndManyRoundsAreFine) {
  for (const int count : writer_counts(world)) {
    Writers writers(world, io, {.count = count});
    ArrayFile file = file_at(folder.path() / "step.h5");
    file.round_bytes = 1;
    const SaveOutcome outcome = save_arrays(world, writers, file);
    ASSERT_TRUE(outcome.ok) << outcome.message;
    EXPECT_EQ(outcome.bytes, std::filesystem::file_size(file.path));
    EXPECT_GT(outcome.seconds, 0);
    if (world.rank() == 0) expect_whole(file.path);
    world.barrier();
  }
}

// A run attempt that takes the folder over removes them: what an earlier one still holds in memory gets no name.
TEST_F(ArrayFileTest, FileWhoseTemporaryIsGoneIsNotSaved) {
  for (const std::size_t round_bytes : {std::size_t{64} << 20, std::size_t{1}}) {  // made in memory, and on the disk
    Writers writers(world, io, {.count = 1});
    ArrayFile file = file_at(folder.path() / "step.h5");
    file.round_bytes = round_bytes;
    file.sync_others = [&] { remove_temporaries(folder.path()); };
    const SaveOutcome outcome = save_arrays(world, writers, file);
    expect_failure(outcome, "step.h5");
    if (world.rank() == 0) {
      EXPECT_EQ(entries(folder.path()), 0U) << outcome.message;
    }
    world.barrier();
  }
}

TEST_F(ArrayFileTest, FileMadeInMemoryIsTheOneMadeOnTheDisk) {
  Writers writers(world, io, {.count = 1});
  const std::filesystem::path in_memory = folder.path() / "memory.h5", on_disk = folder.path() / "disk.h5";
  ASSERT_TRUE(save_arrays(world, writers, file_at(in_memory)).ok);
  ArrayFile file = file_at(on_disk);
  file.round_bytes = 1;  // a round an array
  ASSERT_TRUE(save_arrays(world, writers, file).ok);
  if (world.rank() != 0) return;
  expect_whole(in_memory);
  expect_whole(on_disk);
  EXPECT_LE(std::filesystem::file_size(in_memory), std::filesystem::file_size(on_disk) + 4096);
}

// Columns are put in their place among the others', of several arrays in one message.
TEST_F(ArrayFileTest, BlocksOfColumnsComeToTheirPlace) {
  const std::int64_t ranks = world.size(), rows = 3, own = 2;
  ArrayFile file = file_at(folder.path() / "step.h5");
  file.arrays.clear();
  for (const char* path : {"/first", "/second"}) {
    ArraySpec array{path, {rows, ranks * own}, DType::float32, {}, {}};
    for (int r = 0; r < world.size(); ++r) array.pieces.push_back({r, Box{{0, r * own}, {rows, own}, 0}});
    file.arrays.push_back(array);
  }
  std::vector<float> mine;
  for (int array = 0; array < 2; ++array)
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t c = 0; c < own; ++c)
        mine.push_back(static_cast<float>(100 * array + row * ranks * own + world.rank() * own + c));
  file.local_data = [&](std::size_t array, std::size_t) {
    return reinterpret_cast<const std::byte*>(mine.data() + static_cast<std::int64_t>(array) * rows * own);
  };
  for (const int count : writer_counts(world)) {
    Writers writers(world, io, {.count = count});
    const SaveOutcome outcome = save_arrays(world, writers, file);
    ASSERT_TRUE(outcome.ok) << outcome.message;
    if (world.rank() == 0)
      io.run([&] {
          ArrayReader reader(file.path, {checkpoint_format});
          for (int array = 0; array < 2; ++array) {
            std::vector<float> found(static_cast<std::size_t>(rows * ranks * own)), expected(found.size());
            std::iota(expected.begin(), expected.end(), static_cast<float>(100 * array));
            reader.read(*reader.contents().find(file.arrays[static_cast<std::size_t>(array)].path),
                        Box{{}, {rows, ranks * own}, 0}, found.data());
            EXPECT_EQ(found, expected);
          }
        }).get();
    world.barrier();
  }
}

TEST_F(ArrayFileTest, StaleTemporariesAreRemoved) {
  if (world.rank() != 0) return;
  for (const char* name : {".step-00000100.h5.tmp-host-1", "step-00000100.h5", ".hidden"})
    std::ofstream(folder.path() / name) << "x";
  EXPECT_EQ(remove_temporaries(folder.path()), 1);
  EXPECT_EQ(entries(folder.path()), 2U);
  EXPECT_EQ(remove_temporaries(folder.path() / "nowhere"), 0);
  EXPECT_TRUE(temporary_name("/a/step-00000100.h5").filename().string().starts_with(".step-00000100.h5.tmp-"));
}

TEST_F(ArrayFileTest, CaptureHoldsSamplesInGlobalOrder) {
  // Samples are dealt out to the ranks in turn: rank r brings samples r, r + ranks, ...; the tap's channels are whole.
  const std::int64_t samples = 8, positions = 6, channels = 4;
  std::vector<Piece> pieces, tap_pieces;
  for (std::int64_t s = 0; s < samples; ++s) {
    const auto rank = static_cast<int>(s % world.size());
    pieces.push_back({rank, Box{{s, 0}, {1, positions}, 0}});
    tap_pieces.push_back({rank, Box{{s, 0, 0}, {1, positions, channels}, 0}});
  }
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(samples * positions));
  std::iota(tokens.begin(), tokens.end(), 1000);
  std::vector<float> tap(static_cast<std::size_t>(samples * positions * channels));
  std::iota(tap.begin(), tap.end(), 0.5F);
  const auto local = [&](std::size_t array, std::size_t sample) {
    return array < 2 ? reinterpret_cast<const std::byte*>(tokens.data() + sample * 6)
                     : reinterpret_cast<const std::byte*>(tap.data() + sample * 24);
  };
  Writers writers(world, io, {});
  const SaveOutcome outcome =
      save_capture(world, writers, folder.path(), 12,
                   {captured_tokens(samples, positions, pieces), captured_targets(samples, positions, pieces),
                    captured_tap("blocks.0.attention.gradient", {samples, positions, channels},
                                 {"sample", "position", "channel"}, tap_pieces)},
                   local);
  ASSERT_TRUE(outcome.ok) << outcome.message;
  if (world.rank() != 0) return;
  io.run([&] {
      ArrayReader reader(folder.path() / "step-00000012.h5", {capture_format});
      EXPECT_EQ(integer_attribute(reader.contents(), "step"), 12);
      const ArrayInfo* found = reader.contents().find("/taps/blocks.0.attention.gradient");
      ASSERT_TRUE(found);
      EXPECT_EQ(found->attributes, (std::vector<Attribute>{{"dimensions", std::string("sample,position,channel")}}));
      std::vector<float> tap_found(tap.size());
      reader.read(*found, Box{{}, found->shape, 0}, tap_found.data());
      EXPECT_EQ(tap_found, tap);
      std::vector<std::int32_t> tokens_found(tokens.size());
      reader.read(*reader.contents().find("/targets"), Box{{}, {samples, positions}, 0}, tokens_found.data());
      EXPECT_EQ(tokens_found, tokens);
    }).get();
}

}  // namespace
}  // namespace penstock::array_file_test

// SPDX-License-Identifier: Apache-2.0
// A damaged file is never loaded silently: every flipped bit is either noticed or does not matter.

#include <gtest/gtest.h>

#include <fstream>
#include <numeric>
#include <optional>
#include <random>

#include "checkpoint/array_reader.hpp"
#include "checkpoint/sample_file.hpp"
#include "storage/temporary_folder.hpp"

namespace penstock::damage_test {
namespace {

std::vector<char> bytes_of_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_bytes(const std::filesystem::path& path, const std::vector<char>& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// All that a load would take from a file.
struct Loaded {
  std::string digest;  // of attributes, names, shapes and types
  std::vector<std::vector<float>> arrays;
  bool operator==(const Loaded&) const = default;
};

Loaded load_all(const std::filesystem::path& path, Progress& progress) {
  ArrayReader reader(path, {checkpoint_format});
  Loaded loaded{digest_of(reader.contents()), {}};
  for (const ArrayInfo& array : reader.contents().arrays) {
    auto& values = loaded.arrays.emplace_back(static_cast<std::size_t>(array.shape.elements()));
    reader.read(array, Box{{}, array.shape, 0}, values.data());
    progress.advance(1);
  }
  return loaded;
}

class DamageTest : public testing::Test {
 protected:
  void SetUp() override { write_small_checkpoint(path); }

  // Nothing when the file is refused, by an InputError that names it.
  std::optional<Loaded> try_to_load() {
    if (!io || io->abandoned()) io = std::make_unique<IoThread>();
    try {
      return run_reading(
          *io, path, wait_by_sleeping(), [p = path](Progress& progress) { return load_all(p, progress); }, 10);
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos) << error.what();
      message = error.what();
    }
    return std::nullopt;
  }

  std::vector<std::size_t> every_byte() const {
    std::vector<std::size_t> bytes(std::filesystem::file_size(path));
    std::iota(bytes.begin(), bytes.end(), std::size_t{0});
    return bytes;
  }

  // Flips random bits of the bytes, one at a time.
  void flip_bits(const std::vector<std::size_t>& bytes, int flips) {
    const std::vector<char> whole = bytes_of_file(path);
    const auto before = try_to_load();
    ASSERT_TRUE(before) << message;
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    const auto put = [&](std::size_t byte, char value) {
      file.seekp(static_cast<std::streamoff>(byte));
      file.put(value).flush();
    };
    std::mt19937 random(20261123);
    std::uniform_int_distribution<std::size_t> any(0, bytes.size() * 8 - 1);
    int refused = 0, harmless = 0, given_up = 0;
    for (int flip = 0; flip < flips; ++flip) {
      const std::size_t bit = any(random) % 8, byte = bytes[any(random) / 8];
      put(byte, static_cast<char>(whole[byte] ^ (1 << bit)));
      const auto after = try_to_load();
      ++(after ? harmless : refused);
      given_up += io->abandoned();
      if (after) {
        ASSERT_EQ(*after, *before) << "bit " << bit << " of byte " << byte << " was loaded silently wrong";
      }
      put(byte, whole[byte]);
      if (flip % 25 != 0) continue;
      // A refusal leaves nothing behind that would refuse the next file too.
      ASSERT_EQ(try_to_load(), before) << "after bit " << bit << " of byte " << byte << ": " << message;
    }
    std::printf("%zu of %zu bytes: %d flips refused (%d by the deadline), %d in bytes that hold nothing\n",
                bytes.size(), whole.size(), refused, given_up, harmless);
    EXPECT_GT(refused, flips / 10);
  }

  TemporaryFolder folder;
  std::filesystem::path path = folder.path() / "step-00000100.h5";
  std::unique_ptr<IoThread> io;
  std::string message;
};

TEST_F(DamageTest, EveryFlippedBitOfASmallFileIsNoticedOrDoesNotMatter) { flip_bits(every_byte(), 500); }

TEST_F(DamageTest, EveryFlippedBitOfAFileOfManyArraysIsNoticedOrDoesNotMatter) {
  // More than 8 links in a group: HDF5 then keeps them in a heap with a tree.
  std::vector<SampleArray> many;
  for (int i = 0; i < 24; ++i) many.push_back({fmt::format("blocks.{}.mlp.up.weight", i), {2, 3}});
  write_small_checkpoint(path, 100, usual_value, many);
  flip_bits(every_byte(), 500);
}

TEST_F(DamageTest, EveryFlippedBitAroundLargeArraysIsNoticedOrDoesNotMatter) {
  // Arrays of several chunks, full of one value, so that HDF5's own structures between them can be told apart.
  write_small_checkpoint(path, 100, [](State, const std::string&, std::int64_t) { return 1.0F; },
                         {{"up", {768, 1024}}, {"bias", {524288}}});
  const std::vector<char> file = bytes_of_file(path);
  std::vector<std::size_t> structures;
  for (std::size_t i = 0; i < file.size(); ++i) {
    const std::size_t begin = i < 16 ? 0 : i - 16, end = std::min(file.size(), i + 16);
    const auto ones = std::count(file.begin() + static_cast<std::ptrdiff_t>(begin),
                                 file.begin() + static_cast<std::ptrdiff_t>(end), '\x3f');
    if (ones < 4) structures.push_back(i);
  }
  ASSERT_LT(structures.size(), file.size() / 10);
  flip_bits(structures, 200);
}

TEST_F(DamageTest, CutOffFilesAreRefused) {
  const std::vector<char> whole = bytes_of_file(path);
  for (std::size_t length = 0; length < whole.size(); length += 97) {
    write_bytes(path, {whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)});
    EXPECT_FALSE(try_to_load()) << length << " of " << whole.size() << " bytes";
  }
  write_bytes(path, {whole.begin(), whole.end() - 1});
  EXPECT_FALSE(try_to_load()) << "all but the last byte";
}

TEST_F(DamageTest, ZeroedPagesAreRefused) {
  // What a crashed machine leaves of a file that was not synced.
  const std::vector<char> whole = bytes_of_file(path);
  const auto before = try_to_load();
  for (std::size_t page = 0; page < whole.size(); page += 512) {
    std::vector<char> damaged = whole;
    std::fill(damaged.begin() + static_cast<std::ptrdiff_t>(page),
              damaged.begin() + static_cast<std::ptrdiff_t>(std::min(whole.size(), page + 512)), '\0');
    if (damaged == whole) continue;
    write_bytes(path, damaged);
    if (const auto after = try_to_load()) {
      EXPECT_EQ(*after, *before) << "the page at " << page;
    }
  }
}

TEST_F(DamageTest, WhatIsNotCompleteIsRefused) {
  write_small_checkpoint(path, 100, usual_value, small_model(), false);
  EXPECT_FALSE(try_to_load());
  EXPECT_NE(message.find("not complete"), std::string::npos) << message;
}

TEST_F(DamageTest, OtherFormatsAndVersionsAreRefused) {
  const auto change = [&](const char* name, std::int64_t value) {
    start_hdf5();
    const Hdf5File file(check_hdf5(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), "opening"));
    rewrite_attribute(file.id(), name, value);
  };
  change("step", 101);
  EXPECT_FALSE(try_to_load());
  EXPECT_NE(message.find("digest"), std::string::npos) << message;
  change("format_version", 3);
  EXPECT_FALSE(try_to_load());
  EXPECT_NE(message.find("format_version = 3"), std::string::npos) << message;
  change("format_version", 1);
  EXPECT_FALSE(try_to_load());
  EXPECT_NE(message.find("digest"), std::string::npos) << message;
  { const Hdf5File file(check_hdf5(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), "creating")); }
  EXPECT_FALSE(try_to_load());
  EXPECT_NE(message.find("not a penstock checkpoint"), std::string::npos) << message;
}

TEST_F(DamageTest, ReaderThatNeverEndsIsGivenUp) {
  IoThread stuck;
  const auto release = std::make_shared<std::atomic<bool>>(false);
  const auto endless = [release](Progress&) {
    while (!*release) std::this_thread::yield();
    return 0;
  };
  EXPECT_THROW(run_reading(stuck, path, wait_by_sleeping(), endless, 0.1), InputError);
  EXPECT_TRUE(stuck.abandoned());
  EXPECT_THROW(stuck.run([] { return 0; }), SystemError);
  *release = true;
}

TEST_F(DamageTest, SlowReaderThatGoesOnIsNotGivenUp) {
  IoThread slow;
  const auto steps = [](Progress& progress) {
    for (int step = 0; step < 6; ++step) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      progress.advance(1);
    }
    return 6;
  };
  EXPECT_EQ(run_reading(slow, path, wait_by_sleeping(), steps, 0.4), 6);
}

}  // namespace
}  // namespace penstock::damage_test

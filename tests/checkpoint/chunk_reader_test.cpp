// SPDX-License-Identifier: Apache-2.0
// Boxes of arrays that are cut into chunks of any shape, against the array itself; and what is left to HDF5.

#include "checkpoint/chunk_reader.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <numeric>
#include <vector>

#include "checkpoint/hdf5.hpp"
#include "storage/temporary_folder.hpp"

namespace penstock::chunk_reader_test {
namespace {

struct Stored {
  Hdf5File file;
  Hdf5Dataset dataset;
  std::vector<float> values;
};

struct Options {
  bool checksums = true;
  bool deflated = false;
  bool written = true;
};

/// Element i of the array is i.
Stored store(const std::filesystem::path& path, const Shape& shape, const Shape& chunk, const Options& options = {}) {
  start_hdf5();
  Stored stored;
  stored.file = Hdf5File(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT));
  const Hdf5Properties creation = make_properties(H5P_DATASET_CREATE);
  std::array<hsize_t, Shape::most_dimensions> extents{};
  for (int d = 0; d < chunk.dimensions(); ++d) extents[static_cast<std::size_t>(d)] = static_cast<hsize_t>(chunk[d]);
  H5Pset_chunk(creation.id(), chunk.dimensions(), extents.data());
  if (options.deflated) H5Pset_deflate(creation.id(), 1);
  if (options.checksums) H5Pset_fletcher32(creation.id());
  const Hdf5Space space = make_space(shape);
  stored.dataset = Hdf5Dataset(H5Dcreate2(stored.file.id(), "/a", file_type(DType::float32), space.id(), H5P_DEFAULT,
                                          creation.id(), H5P_DEFAULT));
  stored.values.resize(static_cast<std::size_t>(shape.elements()));
  std::iota(stored.values.begin(), stored.values.end(), 1.0F);
  if (options.written)
    check_hdf5(H5Dwrite(stored.dataset.id(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, stored.values.data()),
               "writing");
  check_hdf5(H5Fflush(stored.file.id(), H5F_SCOPE_LOCAL), "flushing");
  return stored;
}

std::vector<float> part_of(const std::vector<float>& values, const Shape& shape, const Box& box) {
  std::vector<std::int64_t> elements{0};
  for (int d = 0; d < shape.dimensions(); ++d) {
    std::vector<std::int64_t> next;
    for (const std::int64_t base : elements)
      for (std::int64_t i = 0; i < box.extent[d]; ++i)
        next.push_back(base * shape[d] + box.offset[static_cast<std::size_t>(d)] + i);
    elements = std::move(next);
  }
  std::vector<float> part;
  for (const std::int64_t element : elements) part.push_back(values[static_cast<std::size_t>(element)]);
  return part;
}

std::vector<float> read(ChunkReader& reader, const Stored& stored, const Box& box) {
  constexpr float untouched = -1;
  std::vector<float> values(static_cast<std::size_t>(box.elements()) + 1, untouched);
  EXPECT_TRUE(reader.read(stored.dataset, box, reinterpret_cast<std::byte*>(values.data())));
  EXPECT_EQ(values.back(), untouched) << "a checksum stays in the box";
  values.pop_back();
  return values;
}

/// Boxes that begin and end anywhere.
std::vector<Box> boxes_of(const Shape& shape) {
  std::vector<Box> boxes{{{}, shape, 0}};
  for (const std::int64_t seed : {1, 2, 3, 5, 8, 13, 21, 34}) {
    Box box;
    std::array<std::int64_t, Shape::most_dimensions> e{1, 1, 1, 1, 1};
    for (int d = 0; d < shape.dimensions(); ++d) {
      const auto i = static_cast<std::size_t>(d);
      box.offset[i] = seed * (d + 3) % shape[d];
      e[i] = 1 + seed * (7 - d) % (shape[d] - box.offset[i]);
    }
    box.extent = shape.dimensions() == 1   ? Shape{e[0]}
                 : shape.dimensions() == 2 ? Shape{e[0], e[1]}
                                           : Shape{e[0], e[1], e[2]};
    boxes.push_back(box);
  }
  return boxes;
}

TEST(ChunkReader, ReadsAnyBoxOfAnyChunks) {
  const TemporaryFolder folder;
  const std::pair<Shape, Shape> cuts[] = {{{100}, {100}},           {{100}, {7}},
                                          {{31, 17}, {4, 17}},      {{31, 17}, {31, 17}},
                                          {{31, 17}, {5, 6}},       {{31, 17}, {1, 17}},
                                          {{31, 17}, {1, 4}},       {{4, 9, 11}, {1, 3, 11}},
                                          {{4, 9, 11}, {2, 9, 11}}, {{4, 9, 11}, {1, 1, 5}},
                                          {{4, 9, 11}, {3, 2, 4}}};
  for (const auto& [shape, chunk] : cuts) {
    const Stored stored = store(folder.path() / "a.h5", shape, chunk);
    std::optional<ChunkReader> reader = ChunkReader::of(stored.dataset, shape);
    ASSERT_TRUE(reader);
    for (const Box& box : boxes_of(shape))  // one reader: what it keeps of the last box serves the next
      EXPECT_EQ(read(*reader, stored, box), part_of(stored.values, shape, box))
          << shape.text() << " in " << chunk.text() << ", " << box.extent.text() << " from " << box.offset[0];
  }
}

TEST(ChunkReader, LeavesOtherFiltersToHdf5) {
  const TemporaryFolder folder;
  EXPECT_FALSE(ChunkReader::of(store(folder.path() / "a.h5", {20}, {10}, {.checksums = false}).dataset, {20}));
  EXPECT_FALSE(ChunkReader::of(store(folder.path() / "b.h5", {20}, {10}, {.deflated = true}).dataset, {20}));
}

TEST(ChunkReader, LeavesMissingChunksToHdf5) {
  const TemporaryFolder folder;
  const Stored stored = store(folder.path() / "a.h5", {20}, {10}, {.written = false});
  std::optional<ChunkReader> reader = ChunkReader::of(stored.dataset, {20});
  std::vector<float> values(20);
  EXPECT_FALSE(reader->read(stored.dataset, {{}, {20}, 0}, reinterpret_cast<std::byte*>(values.data())));
}

TEST(ChunkReader, TakesNoChunkThatSkippedTheFilterOrHasAnotherLengthOrAWrongSum) {
  const TemporaryFolder folder;
  const Stored stored = store(folder.path() / "a.h5", {20}, {20});
  const hsize_t offset[] = {0};
  std::uint32_t left_out = 0;
  std::vector<std::byte> chunk(20 * 4 + 4);
  check_hdf5(H5Dread_chunk(stored.dataset.id(), H5P_DEFAULT, offset, &left_out, chunk.data()), "reading");
  const auto reads = [&](const char* name, std::uint32_t mask, const std::vector<std::byte>& bytes) {
    Stored other = store(folder.path() / name, {20}, {20}, {.written = false});
    check_hdf5(H5Dwrite_chunk(other.dataset.id(), H5P_DEFAULT, mask, offset, bytes.size(), bytes.data()), "writing");
    other.dataset = {};  // HDF5 1.10 knows the mask only after the dataset was opened again
    other.dataset = Hdf5Dataset(H5Dopen2(other.file.id(), "/a", H5P_DEFAULT));
    std::optional<ChunkReader> reader = ChunkReader::of(other.dataset, {20});
    std::vector<float> values(20 + 1);  // and the checksum's place
    return reader->read(other.dataset, {{}, {20}, 0}, reinterpret_cast<std::byte*>(values.data()));
  };
  EXPECT_TRUE(reads("whole.h5", 0, chunk));
  EXPECT_FALSE(reads("skipped.h5", 1, chunk));
  std::vector<std::byte> longer = chunk;
  longer.resize(longer.size() + 4);
  EXPECT_FALSE(reads("longer.h5", 0, longer));
  chunk.back() ^= std::byte{1};
  EXPECT_FALSE(reads("sum.h5", 0, chunk));
}

TEST(ChunkReader, FindsAWrongBitInEveryChunk) {
  const TemporaryFolder folder;
  const Stored stored = store(folder.path() / "a.h5", {40, 3}, {10, 3});
  for (hsize_t row = 0; row < 40; row += 10) {
    const hsize_t offset[] = {row, 0};
    std::uint32_t left_out = 0;
    std::vector<std::byte> chunk(10 * 3 * 4 + 4);
    check_hdf5(H5Dread_chunk(stored.dataset.id(), H5P_DEFAULT, offset, &left_out, chunk.data()), "reading");
    const auto write = [&] {
      check_hdf5(H5Dwrite_chunk(stored.dataset.id(), H5P_DEFAULT, 0, offset, chunk.size(), chunk.data()), "writing");
    };
    chunk[17] ^= std::byte{4};
    write();
    std::optional<ChunkReader> reader = ChunkReader::of(stored.dataset, {40, 3});
    std::vector<float> values(40 * 3);
    EXPECT_FALSE(reader->read(stored.dataset, {{}, {40, 3}, 0}, reinterpret_cast<std::byte*>(values.data()))) << row;
    chunk[17] ^= std::byte{4};
    write();
    EXPECT_TRUE(reader->read(stored.dataset, {{}, {40, 3}, 0}, reinterpret_cast<std::byte*>(values.data()))) << row;
    EXPECT_EQ(values, stored.values);
  }
}

}  // namespace
}  // namespace penstock::chunk_reader_test

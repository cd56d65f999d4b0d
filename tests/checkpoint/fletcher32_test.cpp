// SPDX-License-Identifier: Apache-2.0
// The checksum has the bits that HDF5 stores after a chunk.

#include "checkpoint/fletcher32.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "checkpoint/array_writer.hpp"
#include "checkpoint/file_contents.hpp"
#include "storage/temporary_folder.hpp"

namespace penstock::fletcher32_test {
namespace {

using Bytes = std::vector<std::byte>;

// What HDF5's own filter writes for one chunk of so many bytes, checksum included.
Bytes stored_by_hdf5(const std::filesystem::path& path, const Bytes& bytes) {
  start_hdf5();
  const Hdf5File file(check_hdf5(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), "creating"));
  const hsize_t extent[] = {bytes.size()}, origin[] = {0};
  const Hdf5Space space(check_hdf5(H5Screate_simple(1, extent, nullptr), "making a space"));
  const Hdf5Properties creation = make_properties(H5P_DATASET_CREATE);
  check_hdf5(H5Pset_chunk(creation.id(), 1, extent), "setting chunks");
  check_hdf5(H5Pset_fletcher32(creation.id()), "asking for checksums");
  const Hdf5Dataset dataset(check_hdf5(
      H5Dcreate2(file.id(), "x", H5T_STD_U8LE, space.id(), H5P_DEFAULT, creation.id(), H5P_DEFAULT), "creating x"));
  check_hdf5(H5Dwrite(dataset.id(), H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()), "writing");
  check_hdf5(H5Dflush(dataset.id()), "flushing");
  Bytes stored(bytes.size() + 4);
  std::uint32_t filters = 0;
  check_hdf5(H5Dread_chunk(dataset.id(), H5P_DEFAULT, origin, &filters, stored.data()), "reading a chunk");
  return stored;
}

std::uint32_t checksum_of(const Bytes& stored) {
  std::uint32_t checksum = 0;
  std::memcpy(&checksum, stored.data() + stored.size() - 4, 4);
  return checksum;
}

TEST(Fletcher32Test, HasTheBitsOfHdf5) {
  const TemporaryFolder folder;
  std::mt19937 random(3);
  for (const std::size_t size : {2, 4, 6, 62, 64, 66, 128, 718, 720, 722, 23038, 23040, 23042, 50000, 1 << 20}) {
    Bytes bytes(size);
    for (const int kind : {0, 1, 2, 3}) {  // random; all bits; none; words whose sums come out at multiples of 65535
      for (std::size_t i = 0; i < size; ++i)
        bytes[i] = static_cast<std::byte>(kind == 0 ? random() : kind == 1 ? 255 : kind == 2 ? 0 : i % 4 / 2 * 255);
      EXPECT_EQ(fletcher32(bytes), checksum_of(stored_by_hdf5(folder.path() / "x.h5", bytes)))
          << size << " bytes of kind " << kind;
    }
  }
}

TEST(Fletcher32Test, KnowsZeroFromNothing) {
  EXPECT_EQ(fletcher32(Bytes(64, std::byte{0})), 0U);
  EXPECT_EQ(fletcher32(Bytes(64, std::byte{255})), 0xFFFFFFFFU) << "65535 is 0, but not of nothing";
}

}  // namespace
}  // namespace penstock::fletcher32_test

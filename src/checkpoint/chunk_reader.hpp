// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reading chunks as they are stored, past HDF5's filters: HDF5's own sum over a chunk takes longer than copying it.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "checkpoint/hdf5.hpp"
#include "parameter/box.hpp"
#include "tensor/shape.hpp"

namespace penstock {

/// Reads boxes of one array of 4-byte elements. All calls come from the I/O thread.
class ChunkReader {
 public:
  /// None unless the array is stored as Penstock stores it: in chunks whose only filter is Fletcher32. Throws
  /// Hdf5Error.
  static std::optional<ChunkReader> of(const Hdf5Dataset& dataset, const Shape& shape);

  /// Reads a box, dense, into `values`, and checks each chunk against its checksum. False if a chunk is missing, has
  /// another size, or has a wrong checksum: then `values` is undefined, and the caller lets HDF5 decide. Throws
  /// Hdf5Error.
  bool read(const Hdf5Dataset& dataset, const Box& box, std::byte* values);

 private:
  using Index = std::array<std::int64_t, Shape::most_dimensions>;
  struct Part;

  ChunkReader(const Shape& shape, const Index& chunk);
  Part part_of(const Box& box, const Index& origin) const;
  bool lies_dense(const Part& part, const Box& box) const;
  bool is_stored_whole(const Hdf5Dataset& dataset, const Index& origin) const;
  bool fetch(const Hdf5Dataset& dataset, const Index& origin, std::byte* to) const;
  bool fetch_aside(const Hdf5Dataset& dataset, const Index& origin);
  void copy(const Part& part, const Box& box, std::byte* values, int dimension, std::int64_t from,
            std::int64_t to) const;

  int dimensions_;
  Index shape_{}, chunk_{};
  std::size_t chunk_bytes_;
  std::vector<std::byte> aside_;       ///< a chunk and its checksum
  std::optional<Index> aside_origin_;  ///< whose: boxes that follow each other share a chunk
};

}  // namespace penstock

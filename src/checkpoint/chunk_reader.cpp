// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/chunk_reader.hpp"

#include <algorithm>
#include <cstring>

#include "base/fault.hpp"
#include "checkpoint/fletcher32.hpp"

namespace penstock {

namespace {

constexpr std::int64_t element_bytes = 4;
constexpr std::size_t bytes_of_checksum = sizeof(std::uint32_t);

bool only_checksums(const Hdf5Properties& creation) {
  if (check_hdf5(H5Pget_nfilters(creation.id()), "looking at filters") != 1) return false;
  unsigned flags = 0, configuration = 0;
  std::size_t values = 0;
  return H5Pget_filter2(creation.id(), 0, &flags, &values, nullptr, 0, nullptr, &configuration) ==
         H5Z_FILTER_FLETCHER32;
}

std::array<hsize_t, Shape::most_dimensions> offset_of(const std::array<std::int64_t, Shape::most_dimensions>& origin) {
  std::array<hsize_t, Shape::most_dimensions> offset{};
  std::copy(origin.begin(), origin.end(), offset.begin());
  return offset;
}

}  // namespace

// What of a box lies in one chunk.
struct ChunkReader::Part {
  Index begin{};  // in the array
  Index extent{};
  std::int64_t in_chunk = 0, in_box = 0;  // elements before its first one
};

ChunkReader::ChunkReader(const Shape& shape, const Index& chunk) : dimensions_(shape.dimensions()), chunk_(chunk) {
  std::int64_t elements = 1;
  for (int d = 0; d < dimensions_; ++d) {
    const auto i = static_cast<std::size_t>(d);
    shape_[i] = shape[d];
    elements *= chunk_[i];
  }
  chunk_bytes_ = static_cast<std::size_t>(elements * element_bytes);
}

std::optional<ChunkReader> ChunkReader::of(const Hdf5Dataset& dataset, const Shape& shape) {
  constexpr hsize_t most_bytes = hsize_t{1} << 30;  // Penstock's have a thousandth of it
  const Hdf5Properties creation(check_hdf5(H5Dget_create_plist(dataset.id()), "reading how an array is stored"));
  if (!only_checksums(creation)) return std::nullopt;
  std::array<hsize_t, Shape::most_dimensions> extents{};
  if (check_hdf5(H5Pget_chunk(creation.id(), Shape::most_dimensions, extents.data()), "reading the shape of chunks") !=
      shape.dimensions())
    return std::nullopt;
  Index chunk{};
  hsize_t bytes = element_bytes;
  for (int d = 0; d < shape.dimensions(); ++d) {
    const auto i = static_cast<std::size_t>(d);
    if (extents[i] == 0 || extents[i] > most_bytes / bytes) return std::nullopt;
    bytes *= extents[i];
    chunk[i] = static_cast<std::int64_t>(extents[i]);
  }
  return ChunkReader(shape, chunk);
}

ChunkReader::Part ChunkReader::part_of(const Box& box, const Index& origin) const {
  Part part;
  for (int d = 0; d < dimensions_; ++d) {
    const auto i = static_cast<std::size_t>(d);
    part.begin[i] = std::max(origin[i], box.offset[i]);
    part.extent[i] = std::min(origin[i] + chunk_[i], box.offset[i] + box.extent[d]) - part.begin[i];
    part.in_chunk = part.in_chunk * chunk_[i] + part.begin[i] - origin[i];
    part.in_box = part.in_box * box.extent[d] + part.begin[i] - box.offset[i];
  }
  return part;
}

// Whether the box contains the whole chunk contiguously, followed by elements that are read later. Then the chunk's
// checksum may be read into their place for a moment.
bool ChunkReader::lies_dense(const Part& part, const Box& box) const {
  bool one_outside = true;
  for (int d = 0; d < dimensions_; ++d) {
    const auto i = static_cast<std::size_t>(d);
    if (part.extent[i] != chunk_[i]) return false;
    if (!one_outside && part.extent[i] != box.extent[d]) return false;
    one_outside = one_outside && part.extent[i] == 1;
  }
  const auto chunk_elements = static_cast<std::int64_t>(chunk_bytes_) / element_bytes;
  return part.in_box + chunk_elements < box.extent.elements();
}

// Whether the file holds as many bytes of it as a chunk and its checksum have.
bool ChunkReader::is_stored_whole(const Hdf5Dataset& dataset, const Index& origin) const {
  const std::array<hsize_t, Shape::most_dimensions> offset = offset_of(origin);
  hsize_t bytes = 0;
  check_hdf5(H5Dget_chunk_storage_size(dataset.id(), offset.data(), &bytes), "looking for a chunk");
  return bytes == chunk_bytes_ + bytes_of_checksum;
}

// The chunk and its checksum; whether it has the one that belongs to it.
bool ChunkReader::fetch(const Hdf5Dataset& dataset, const Index& origin, std::byte* to) const {
  if (!is_stored_whole(dataset, origin)) return false;
  const std::array<hsize_t, Shape::most_dimensions> offset = offset_of(origin);
  std::uint32_t left_out = 0;  // filters
  check_hdf5(H5Dread_chunk(dataset.id(), H5P_DEFAULT, offset.data(), &left_out, to), "reading a chunk");
  std::uint32_t stated = 0;
  std::memcpy(&stated, to + chunk_bytes_, sizeof stated);
  return left_out == 0 && (planted(Fault::unchecked_checksum) || fletcher32({to, chunk_bytes_}) == stated);
}

bool ChunkReader::fetch_aside(const Hdf5Dataset& dataset, const Index& origin) {
  if (aside_origin_ == origin) return true;
  if (!is_stored_whole(dataset, origin)) return false;
  aside_origin_.reset();
  aside_.resize(chunk_bytes_ + bytes_of_checksum);
  if (!fetch(dataset, origin, aside_.data())) return false;
  aside_origin_ = origin;
  return true;
}

// From one dimension on; `from` and `to` are elements of the chunk and of the box.
void ChunkReader::copy(const Part& part, const Box& box, std::byte* values, int dimension, std::int64_t from,
                       std::int64_t to) const {
  std::int64_t from_stride = 1, to_stride = 1;
  bool dense = true;  // whole inner dimensions in both
  for (int d = dimension + 1; d < dimensions_; ++d) {
    const auto i = static_cast<std::size_t>(d);
    from_stride *= chunk_[i];
    to_stride *= box.extent[d];
    dense = dense && part.extent[i] == chunk_[i] && part.extent[i] == box.extent[d];
  }
  const std::int64_t extent = part.extent[static_cast<std::size_t>(dimension)];
  if (dense) {
    std::memcpy(values + to * element_bytes, aside_.data() + from * element_bytes,
                static_cast<std::size_t>(extent * from_stride * element_bytes));
    return;
  }
  for (std::int64_t i = 0; i < extent; ++i)
    copy(part, box, values, dimension + 1, from + i * from_stride, to + i * to_stride);
}

bool ChunkReader::read(const Hdf5Dataset& dataset, const Box& box, std::byte* values) {
  if (box.elements() == 0) return true;
  Index first{}, origin{};
  for (int d = 0; d < dimensions_; ++d) {
    const auto i = static_cast<std::size_t>(d);
    first[i] = origin[i] = box.offset[i] / chunk_[i] * chunk_[i];
  }
  for (;;) {
    const Part part = part_of(box, origin);
    if (aside_origin_ != origin && lies_dense(part, box)) {
      if (!fetch(dataset, origin, values + part.in_box * element_bytes)) return false;
    } else {
      if (!fetch_aside(dataset, origin)) return false;
      copy(part, box, values, 0, part.in_chunk, part.in_box);
    }
    int d = dimensions_ - 1;
    for (; d >= 0; --d) {  // the next chunk, in the order of the box's elements
      const auto i = static_cast<std::size_t>(d);
      origin[i] += chunk_[i];
      if (origin[i] < box.offset[i] + box.extent[d]) break;
      origin[i] = first[i];
    }
    if (d < 0) return true;
  }
}

}  // namespace penstock

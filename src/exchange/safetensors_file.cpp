// SPDX-License-Identifier: Apache-2.0
#include "exchange/safetensors_file.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <span>

#include "base/error.hpp"
#include "exchange/safetensors_header.hpp"
#include "exchange/transpose.hpp"

namespace penstock {
namespace {

constexpr std::string_view cure_of_a_name = "name a .safetensors file that you may read";
constexpr std::size_t length_bytes = 8;
constexpr std::int64_t chunk_bytes = std::int64_t{256} << 10;  // what is converted is still in the core's cache
// The gap between two parts of rows that is read along: reading so many unneeded bytes takes about as long as another
// system call.
constexpr std::int64_t gap_worth_reading = std::int64_t{4} << 10;

std::uint64_t length_in(const std::array<std::byte, length_bytes>& bytes) {
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) length |= static_cast<std::uint64_t>(bytes[i]) << (8 * i);
  return length;
}

// Opening a pipe would wait for its writer: look before.
FileDescriptor open_regular(const std::filesystem::path& path) {
  if (!reading_problem(path) && !std::filesystem::is_regular_file(path))
    throw_input_error("{}: is not a regular file, and tensors are read at any place of it; {}", path.string(),
                      cure_of_a_name);
  return FileDescriptor::open_to_read(path, cure_of_a_name);
}

std::unique_ptr<std::byte[]> raw_bytes(std::int64_t count) {
  return std::make_unique_for_overwrite<std::byte[]>(static_cast<std::size_t>(count));
}

}  // namespace

std::int64_t StoredTensor::elements() const {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

std::string StoredTensor::shape_text() const { return fmt::format("[{}]", fmt::join(shape, ", ")); }

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(open_regular(path)) {
  constexpr std::string_view copy_again = "copy the file again, or write it again with the safetensors library";
  const std::uint64_t size = file_.size_in_bytes();
  std::array<std::byte, length_bytes> first{};
  if (file_.read_at(0, first) < first.size())
    throw_input_error("{}: is cut short: it has {} bytes, and the length of a safetensors header alone needs {}; {}",
                      path.string(), size, length_bytes, copy_again);
  const std::uint64_t length = length_in(first);
  if (length > longest_header)
    throw_input_error(
        "{}: is no safetensors file, or its first bytes are damaged: they say that its header has {} bytes, and the "
        "longest has {}; {}",
        path.string(), length, longest_header, copy_again);
  if (length > size - length_bytes)
    throw_input_error("{}: is cut short: its header has {} bytes, and the file {} in all; {}", path.string(), length,
                      size, copy_again);
  std::string header(length, '\0');
  data_begin_ = length_bytes + length;
  read_bytes(length_bytes, reinterpret_cast<std::byte*>(header.data()), header.size());
  tensors_ = parse_safetensors_header(header, size - data_begin_, path.string());
  by_name_.resize(tensors_.size());
  std::iota(by_name_.begin(), by_name_.end(), std::size_t{0});
  std::sort(by_name_.begin(), by_name_.end(),
            [&](std::size_t a, std::size_t b) { return tensors_[a].name < tensors_[b].name; });
}

const StoredTensor* SafetensorsFile::find(std::string_view name) const {
  const auto found =
      std::lower_bound(by_name_.begin(), by_name_.end(), name,
                       [&](std::size_t index, std::string_view key) { return tensors_[index].name < key; });
  return found != by_name_.end() && tensors_[*found].name == name ? &tensors_[*found] : nullptr;
}

void SafetensorsFile::read_bytes(std::uint64_t offset, std::byte* bytes, std::size_t count) const {
  const std::size_t present = file_.read_at(offset, std::span(bytes, count));
  if (present < count)
    throw SystemError(fmt::format("{}: ends at byte {}, and was longer when it was opened: somebody changes it",
                                  path().string(), offset + present));
}

void SafetensorsFile::read_run(const StoredTensor& tensor, std::int64_t first, std::int64_t count,
                               float* values) const {
  const std::int64_t element = bytes_of(tensor.type.type);
  std::uint64_t offset = data_begin_ + tensor.begin + static_cast<std::uint64_t>(first * element);
  if (tensor.type.type == StoredType::float32) {
    read_bytes(offset, reinterpret_cast<std::byte*>(values), static_cast<std::size_t>(count) * sizeof(float));
    return;
  }
  const std::int64_t at_once = std::min(count, chunk_bytes / element);
  const auto stored = raw_bytes(at_once * element);
  for (std::int64_t done = 0; done < count; done += at_once) {
    const std::int64_t now = std::min(at_once, count - done);
    read_bytes(offset, stored.get(), static_cast<std::size_t>(now * element));
    widen(tensor.type.type, stored.get(), values + done, now);
    offset += static_cast<std::uint64_t>(now * element);
  }
}

void SafetensorsFile::read(const StoredTensor& tensor, const MatrixPart& part, float* values,
                           std::int64_t stride) const {
  const std::int64_t element = bytes_of(tensor.type.type), width = tensor.columns();
  ensure(element > 0 && tensor.shape.size() <= 2, "SafetensorsFile::read: a matrix of a type that is read");
  ensure(part.first_row >= 0 && part.first_column >= 0 && part.rows >= 0 && part.columns >= 0 &&
             part.first_row + part.rows <= tensor.rows() && part.first_column + part.columns <= width,
         "SafetensorsFile::read: a part of the tensor");
  if (part.rows == 0 || part.columns == 0) return;
  const std::int64_t first = part.first_row * width + part.first_column;
  if (part.columns == width && stride == width) return read_run(tensor, first, part.rows * width, values);
  if ((width - part.columns) * element > gap_worth_reading || width * element > chunk_bytes) {
    for (std::int64_t r = 0; r < part.rows; ++r) read_run(tensor, first + r * width, part.columns, values + r * stride);
    return;
  }
  const std::int64_t at_once = std::min(part.rows, chunk_bytes / (width * element));
  const auto stored = raw_bytes(at_once * width * element);
  for (std::int64_t done = 0; done < part.rows; done += at_once) {
    const std::int64_t now = std::min(at_once, part.rows - done);
    read_bytes(data_begin_ + tensor.begin + static_cast<std::uint64_t>((first + done * width) * element), stored.get(),
               static_cast<std::size_t>(((now - 1) * width + part.columns) * element));
    for (std::int64_t r = 0; r < now; ++r)
      widen(tensor.type.type, stored.get() + r * width * element, values + (done + r) * stride, part.columns);
  }
}

void SafetensorsFile::read_transposed(const StoredTensor& tensor, const MatrixPart& part, float* values,
                                      std::int64_t stride) const {
  for_each_tile(part, [&](const MatrixPart& tile, float* memory, std::int64_t tile_stride) {
    read(tensor, tile, memory, tile_stride);
    transpose(memory, tile_stride, tile.rows, tile.columns,
              values + (tile.first_column - part.first_column) * stride + (tile.first_row - part.first_row), stride);
  });
}

}  // namespace penstock

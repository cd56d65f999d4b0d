// SPDX-License-Identifier: Apache-2.0
#pragma once
// A file of named tensors as the safetensors library writes it: 8 bytes with the header's length (little endian), the
// header (JSON), the tensors' bytes without gaps. The header is read whole, of the tensors what is asked for.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_descriptor.hpp"
#include "exchange/stored_type.hpp"

namespace penstock {

/// What a header says of one tensor.
struct StoredTensor {
  std::string name;
  StoredTypeName type = {};
  std::vector<std::int64_t> shape = {};  ///< row-major; may have no dimension (one element) and extents of 0
  std::uint64_t begin = 0;               ///< first byte, after the header
  std::uint64_t end = 0;                 ///< the byte after the last one

  std::int64_t elements() const;
  /// "[50257, 768]"
  std::string shape_text() const;
  /// As a matrix: a tensor of one dimension is a column.
  std::int64_t rows() const { return shape.empty() ? 1 : shape.front(); }
  std::int64_t columns() const { return shape.size() == 2 ? shape[1] : 1; }
};

/// A part of a tensor of one or two dimensions, seen as a matrix.
struct MatrixPart {
  std::int64_t first_row = 0;
  std::int64_t first_column = 0;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};

/// Opened to read. Reading parts may go on from several threads.
class SafetensorsFile {
 public:
  static constexpr std::uint64_t longest_header = 100'000'000;  ///< bytes; the reference library's limit, too

  /// Throws InputError where the file cannot be read, or where its header is damaged or does not fit the file: too
  /// short or long, no JSON object, a name twice, an unknown type, an impossible shape, offsets that overlap, leave
  /// gaps, leave the file or do not fit type and shape. All that is wrong with its tensors is reported at once.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  /// In the order of their bytes.
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  /// Null where there is none of this name.
  const StoredTensor* find(std::string_view name) const;
  std::uint64_t header_bytes() const { return data_begin_; }

  /// Reads a part of one of tensors() as float32: element (r, c) of the part becomes values[r * stride + c]. The tensor
  /// has one or two dimensions and a type that is read (LogicError). Throws SystemError where reading fails.
  void read(const StoredTensor& tensor, const MatrixPart& part, float* values, std::int64_t stride) const;
  /// The same, transposed: element (r, c) of the part becomes values[c * stride + r].
  void read_transposed(const StoredTensor& tensor, const MatrixPart& part, float* values, std::int64_t stride) const;

 private:
  void read_run(const StoredTensor& tensor, std::int64_t first, std::int64_t count, float* values) const;
  void read_bytes(std::uint64_t offset, std::byte* bytes, std::size_t count) const;

  FileDescriptor file_;
  std::uint64_t data_begin_ = 0;
  std::vector<StoredTensor> tensors_;
  std::vector<std::size_t> by_name_;
};

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reading array files: read-only, serial driver, no locks. Nothing damaged is given out: checksums guard chunks and
// HDF5's structures, the digest guards the rest.

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "checkpoint/chunk_reader.hpp"
#include "checkpoint/file_contents.hpp"
#include "checkpoint/io_thread.hpp"
#include "parameter/box.hpp"

namespace penstock {

/// The kind of an array file, stored in the attributes `format` and `format_version`.
struct FileFormat {
  std::string_view name;  ///< "penstock checkpoint"
  std::int64_t version = 2;
};
inline constexpr FileFormat checkpoint_format{"penstock checkpoint"};
inline constexpr FileFormat capture_format{"penstock capture"};
/// The oldest version that can be read. Files of version 1 do not list what their digest covers: everything that
/// Penstock wrote.
inline constexpr std::int64_t oldest_version = 1;

/// A file that cannot be opened or read now, whatever its contents: no permission, open for writing elsewhere, a file
/// system that does not answer, a newer format. That is no damage: such a file must not be skipped, moved or removed.
class CannotOpen : public InputError {
 public:
  using InputError::InputError;
};

/// The attributes that every file of the format has first.
std::vector<Attribute> format_attributes(const FileFormat& format);

/// An open array file of one of the formats. Call all methods on the I/O thread (or in a process that has none).
class ArrayReader {
 public:
  /// Opens the file and reads what its digest covers; additions of others are ignored. Throws CannotOpen, or InputError
  /// if it is not an HDF5 file, truncated, not of a format in `allowed`, not complete, or if digest or structure is
  /// damaged; always with the path.
  ArrayReader(const std::filesystem::path& path, const std::vector<FileFormat>& allowed);

  const std::filesystem::path& path() const { return path_; }
  const FileContents& contents() const { return contents_; }
  std::uint64_t file_bytes() const { return file_bytes_; }

  /// Reads a box of an array, dense, into `values` of its type. Throws InputError if a checksum is wrong, and
  /// CannotOpen if the file system does not answer.
  void read(const ArrayInfo& array, const Box& box, void* values);

 private:
  const Hdf5Dataset& opened(const ArrayInfo& array);

  std::filesystem::path path_;
  Hdf5File file_;
  FileContents contents_;
  std::uint64_t file_bytes_ = 0;
  std::string current_;  ///< the array that was read last
  Hdf5Dataset dataset_;
  std::optional<ChunkReader> chunks_;  ///< of the current array; HDF5 reads what is stored otherwise
};

/// A box to read: dense, float32 or int32 like the array.
struct BoxRequest {
  std::string array;
  Box box;
  void* destination = nullptr;
};

/// Reads all requested boxes of a file.
void read_boxes(ArrayReader& reader, const std::vector<BoxRequest>& requests, Progress& progress);

/// Cuts every array into blocks of rows of about 16 MiB and reads every `readers`-th of them, from the
/// `reader_index`-th on: together the readers check every chunk against its checksum. Throws InputError.
void verify_share(ArrayReader& reader, int reader_index, int readers, Progress& progress);

/// Blocks of rows of about `bytes`, as boxes of the array.
std::vector<Box> row_blocks(const ArrayInfo& array, std::int64_t bytes = std::int64_t{16} << 20);

}  // namespace penstock

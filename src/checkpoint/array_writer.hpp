// SPDX-License-Identifier: Apache-2.0
#pragma once
// Writing an array file, on one writer's I/O thread.

#include <mpi.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/array_plan.hpp"
#include "checkpoint/file_image.hpp"
#include "checkpoint/hdf5.hpp"

namespace penstock {

/// An array file that is being written. The leading writer creates it with HDF5's serial driver. Then it either
/// continues alone, or closes the file and several writers open it together over MPI-IO. All methods throw Hdf5Error or
/// SystemError; the destructor closes a failed file, whatever the state of the disk.
class ArrayWriter {
 public:
  explicit ArrayWriter(std::filesystem::path path) : path_(std::move(path)) {}
  ~ArrayWriter();
  ArrayWriter(const ArrayWriter&) = delete;
  ArrayWriter& operator=(const ArrayWriter&) = delete;

  /// Creates the file with all attributes and empty arrays, `complete` = 0, and reserves the space of its chunks. It
  /// stays open, to be written alone.
  void create(const std::vector<Attribute>& attributes, const std::vector<ArraySpec>& arrays);
  /// The same for a small file of a single writer: it is made in memory and goes to the disk in one piece instead of
  /// array by array.
  void create_in_memory(const std::vector<Attribute>& attributes, const std::vector<ArraySpec>& arrays);
  /// Closes the created file, for several writers to open together.
  void hand_over();
  /// Collective over the writers: opens it over MPI-IO.
  void open_shared(MPI_Comm writers, MPI_Info hints);
  /// Writes whole chunks' rows, dense in `values`. Collective when opened together, also for empty rows. Alone, chunks
  /// and their checksums go to the file directly, past HDF5's filters.
  void write(const ArraySpec& array, const Rows& rows, const std::byte* values);
  /// Collective: closes what was opened together, and syncs what this writer has brought.
  void close_shared();
  /// Writes `complete` = 1, the last of all, closes the file, gives back unused space, and syncs. Returns its bytes.
  std::uint64_t complete();

 private:
  void make(const Hdf5Properties& access, const std::vector<Attribute>& attributes,
            const std::vector<ArraySpec>& arrays);
  void write_chunks(const Hdf5Dataset& dataset, const ArraySpec& array, const Rows& rows, const std::byte* values);
  static void ask_for_collective_writes(const Hdf5Properties& transfer);
  void write_shared(const ArraySpec& array, const Rows& rows, const std::byte* values);
  void begin_writing_back(std::size_t more_bytes);
  void flush_and_close();
  void divert_to_memory() noexcept;

  std::filesystem::path path_;
  std::optional<FileImage> image_;  ///< for a file that is made in memory
  Hdf5File file_;
  std::map<std::string, Hdf5Dataset> arrays_;  ///< by path, as created: opening one again takes as long
  bool shared_ = false;
  std::uint64_t wanted_bytes_ = 0;   ///< so many are reserved
  std::vector<std::byte> chunk_;     ///< one chunk and its checksum
  std::size_t in_memory_bytes_ = 0;  ///< written since the system was last asked to bring them to the device
};

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once
// A file that HDF5 makes in memory.

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <span>

#include "checkpoint/hdf5.hpp"

namespace penstock {

/// The memory of one file. HDF5 fills it while the file is open, and it stays after closing. HDF5 keeps its address, so
/// it must outlive the file.
class FileImage {
 public:
  FileImage() = default;
  FileImage(const FileImage&) = delete;
  FileImage& operator=(const FileImage&) = delete;

  /// A file created with `access` is in this memory, which has the expected size and grows if necessary.
  void hold(const Hdf5Properties& access, std::size_t expected);
  /// Reads the length of the open, flushed file.
  void measure(const Hdf5File& file);
  /// The bytes of the file, once it is closed.
  std::span<const std::byte> bytes() const { return {memory_.get(), bytes_}; }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };

  void* resize(std::size_t bytes) noexcept;

  std::unique_ptr<std::byte, Free> memory_;  // from malloc, because it is resized
  std::size_t capacity_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace penstock

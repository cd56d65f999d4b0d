// SPDX-License-Identifier: Apache-2.0
#pragma once
// A file that HDF5 makes in memory.

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <span>

#include "checkpoint/hdf5.hpp"

namespace penstock {

/// The memory of one file, which HDF5 fills while the file is open and which stays when it is closed. HDF5 holds its
/// address: it outlives the file.
class FileImage {
 public:
  FileImage() = default;
  FileImage(const FileImage&) = delete;
  FileImage& operator=(const FileImage&) = delete;

  /// A file that is created with `access` lies in this memory, which is made for so many bytes and grows when it must.
  void hold(const Hdf5Properties& access, std::size_t expected);
  /// Takes from the open file, flushed, how long it is.
  void measure(const Hdf5File& file);
  /// Of the file, once it is closed.
  std::span<const std::byte> bytes() const { return {memory_.get(), bytes_}; }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };

  void* resize(std::size_t bytes) noexcept;

  std::unique_ptr<std::byte, Free> memory_;  // of malloc: it is resized
  std::size_t capacity_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/file_image.hpp"

#include <fmt/core.h>

#include <cstring>

namespace penstock {

// HDF5's own memory would be freed with the file, and while the file is open its superblock says that somebody writes.
void FileImage::hold(const Hdf5Properties& access, std::size_t expected) {
  H5FD_file_image_callbacks_t memory{};
  memory.image_malloc = [](std::size_t bytes, H5FD_file_image_op_t, void* self) {
    return static_cast<FileImage*>(self)->resize(bytes);
  };
  memory.image_realloc = [](void*, std::size_t bytes, H5FD_file_image_op_t, void* self) {
    return static_cast<FileImage*>(self)->resize(bytes);
  };
  memory.image_memcpy = [](void* to, const void* from, std::size_t bytes, H5FD_file_image_op_t, void*) {
    return std::memcpy(to, from, bytes);
  };
  memory.image_free = [](void*, H5FD_file_image_op_t, void*) -> herr_t { return 0; };
  memory.udata_copy = [](void* self) { return self; };
  memory.udata_free = [](void*) -> herr_t { return 0; };
  memory.udata = this;
  constexpr bool on_disk_too = false;
  constexpr std::size_t at_a_time = std::size_t{64} << 10;  // HDF5 clears each growth, which fits into the cache
  check_hdf5(H5Pset_fapl_core(access.id(), at_a_time, on_disk_too), "asking for a file in memory");
  check_hdf5(H5Pset_file_image_callbacks(access.id(), &memory), "lending memory to a file");
  if (resize(expected) == nullptr) throw SystemError(fmt::format("no memory for a file of {} bytes", expected));
}

void FileImage::measure(const Hdf5File& file) {
  bytes_ = static_cast<std::size_t>(check_hdf5(H5Fget_file_image(file.id(), nullptr, 0), "measuring a file in memory"));
}

void* FileImage::resize(std::size_t bytes) noexcept {
  if (bytes <= capacity_) return memory_.get();
  void* memory = std::realloc(memory_.get(), bytes);
  if (memory == nullptr) return nullptr;  // the old memory stays valid
  static_cast<void>(memory_.release());
  memory_.reset(static_cast<std::byte*>(memory));
  capacity_ = bytes;
  return memory;
}

}  // namespace penstock

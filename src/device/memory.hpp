// SPDX-License-Identifier: Apache-2.0
#pragma once
// SEAM 1, memory: owners of bytes. src/device/cpu/ defines them (host memory, aligned to a page), and
// cuda/device/.

#include <cstddef>
#include <utility>

namespace penstock {

/// The common part of the two owners below.
class OwnedBytes {
 public:
  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 protected:
  OwnedBytes() = default;
  explicit OwnedBytes(std::size_t bytes) : bytes_(bytes) {}
  ~OwnedBytes() = default;
  OwnedBytes(OwnedBytes&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  OwnedBytes& operator=(OwnedBytes&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Owns `bytes` of device memory, zeroed. Move-only. Throws SystemError with the requested size if there is not enough.
class DeviceMemory : public OwnedBytes {
 public:
  DeviceMemory() = default;
  explicit DeviceMemory(std::size_t bytes);
  ~DeviceMemory();
  DeviceMemory(DeviceMemory&&) noexcept = default;
  DeviceMemory& operator=(DeviceMemory&&) noexcept = default;
};

/// Owns `bytes` of host memory, zeroed, that the device can also read and write (pinned, if that makes a difference).
/// Move-only. Throws SystemError when there is not enough.
class HostMemory : public OwnedBytes {
 public:
  HostMemory() = default;
  explicit HostMemory(std::size_t bytes);
  ~HostMemory();
  HostMemory(HostMemory&&) noexcept = default;
  HostMemory& operator=(HostMemory&&) noexcept = default;
};

}  // namespace penstock

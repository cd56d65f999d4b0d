#pragma once
// SEAM 1, copies between the host's memory and the device's; on the CPU backend they are the same memory.

#include <cstddef>
#include <utility>

#include "device/memory.hpp"
#include "device/queue.hpp"

namespace penstock {

/// Enqueues a copy inside the device's memory.
void copy_on_device(Queue& queue, const void* from, void* to, std::size_t bytes);

/// Enqueues a copy of `bytes` to the host: there once the queue was drained.
void copy_to_host(Queue& queue, const void* device, void* host, std::size_t bytes);

/// What the host sees of a piece of device memory: on the CPU backend that memory itself, else a pinned copy, which
/// `fetch` and `publish` bring up to date. A mirror of no memory (nullptr) is empty. The memory must outlive it.
class HostMirror {
 public:
  HostMirror() = default;
  HostMirror(void* device, std::size_t bytes);

  std::byte* data() const { return host_.data() ? host_.data() : device_; }
  /// Enqueues a copy from device to host: up to date once the queue was drained.
  void fetch(Queue& queue) const;
  /// Enqueues a copy from host to device: the host's view may not change before the queue was drained.
  void publish(Queue& queue) const;

 private:
  std::byte* device_ = nullptr;
  std::size_t bytes_ = 0;
  HostMemory host_;
};

}  // namespace penstock

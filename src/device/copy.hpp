// SPDX-License-Identifier: Apache-2.0
#pragma once
// SEAM 1, copies between the host's memory and the device's; on the CPU backend they are the same memory.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "device/memory.hpp"
#include "device/queue.hpp"

namespace penstock {

/// Enqueues a copy inside the device's memory.
void copy_on_device(Queue& queue, const void* from, void* to, std::size_t bytes);

/// Enqueues a copy of `bytes` to the host; complete once the queue was drained.
void copy_to_host(Queue& queue, const void* device, void* host, std::size_t bytes);

/// The host's view of a piece of device memory: on the CPU backend that memory itself, otherwise a pinned copy, which
/// `publish` copies to the device. A mirror of no memory (nullptr) is empty. The memory must outlive it.
///
/// A save writes the contents of the memory at one moment while work goes on; `stage` copies them.
class HostMirror {
 public:
  HostMirror();
  HostMirror(void* device, std::size_t bytes);
  ~HostMirror();
  HostMirror(HostMirror&&) noexcept;
  HostMirror& operator=(HostMirror&&) noexcept;

  std::byte* data() const { return host_.data() ? host_.data() : device_; }
  /// Enqueues a copy from host to device. The host's view must not change before the queue was drained.
  void publish(Queue& queue) const;

  /// Allocates what `stage` needs in addition: on the CPU backend memory for a copy; a GPU already has the pinned copy.
  /// Without it `staged` is the mirrored memory itself on the CPU, which must not change meanwhile.
  void prepare_staging();
  /// Host memory of a mirror of this size in bytes, with staging or without.
  static std::size_t host_bytes(std::size_t bytes, bool staging);
  /// Begins to copy the memory when the queue comes to this point. On a GPU, work enqueued afterwards runs during the
  /// copy.
  void stage(Queue& queue);
  /// Enqueues a wait for that copy, to be called before work that changes the memory.
  void hold_for_staging(Queue& queue) const;
  /// Whether the copy is complete, and the copy. From any thread.
  bool is_staged() const;
  const std::byte* staged() const;

 private:
  struct Staging;
  std::byte* device_ = nullptr;
  std::size_t bytes_ = 0;
  HostMemory host_;
  std::unique_ptr<Staging> staging_;
};

/// Mirrors of memory through which every step passes something to the device: two that take turns, because a step may
/// be enqueued while the device still works on the one before.
class StepMirror {
 public:
  StepMirror() = default;
  StepMirror(void* device, std::size_t bytes) : mirrors_{HostMirror(device, bytes), HostMirror(device, bytes)} {}

  const HostMirror& of(std::int64_t step) const { return mirrors_[static_cast<std::size_t>(step % 2)]; }

 private:
  std::array<HostMirror, 2> mirrors_;
};

}  // namespace penstock

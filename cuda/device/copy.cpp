// SPDX-License-Identifier: Apache-2.0
#include "device/copy.hpp"

#include <atomic>

#include "device/backend.hpp"

namespace penstock {

void copy_on_device(Queue& queue, const void* from, void* to, std::size_t bytes) {
  check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_of(queue)));
}

void copy_to_host(Queue& queue, const void* device, void* host, std::size_t bytes) {
  if (bytes > 0) check_cuda(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream_of(queue)));
}

// The event is for the queue. The flag is for threads that have no device: asking an event would give them one.
struct HostMirror::Staging {
  cudaEvent_t reached = nullptr, copied = nullptr;
  std::atomic<bool> there{true};

  Staging() {
    check_cuda(cudaEventCreateWithFlags(&reached, cudaEventDisableTiming));
    check_cuda(cudaEventCreateWithFlags(&copied, cudaEventDisableTiming));
  }
  ~Staging() {
    cudaEventDestroy(reached);
    cudaEventDestroy(copied);
  }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
};

HostMirror::HostMirror() = default;
HostMirror::~HostMirror() = default;
HostMirror::HostMirror(HostMirror&&) noexcept = default;
HostMirror& HostMirror::operator=(HostMirror&&) noexcept = default;

HostMirror::HostMirror(void* device, std::size_t bytes)
    : device_(static_cast<std::byte*>(device)), bytes_(device ? bytes : 0), host_(bytes_) {}

void HostMirror::publish(Queue& queue) const {
  if (bytes_ == 0) return;
  check_cuda(cudaMemcpyAsync(device_, host_.data(), bytes_, cudaMemcpyHostToDevice, stream_of(queue)));
}

void HostMirror::prepare_staging() {
  if (!staging_) staging_ = std::make_unique<Staging>();
}

std::size_t HostMirror::host_bytes(std::size_t bytes, bool) { return bytes; }

void HostMirror::stage(Queue& queue) {
  if (bytes_ == 0) return;
  prepare_staging();
  cudaStream_t copies = copy_stream_of(queue);
  staging_->there = false;
  check_cuda(cudaEventRecord(staging_->reached, stream_of(queue)));
  check_cuda(cudaStreamWaitEvent(copies, staging_->reached));
  check_cuda(cudaMemcpyAsync(host_.data(), device_, bytes_, cudaMemcpyDeviceToHost, copies));
  check_cuda(cudaEventRecord(staging_->copied, copies));
  check_cuda(cudaLaunchHostFunc(
      copies, [](void* there) { *static_cast<std::atomic<bool>*>(there) = true; }, &staging_->there));
}

void HostMirror::hold_for_staging(Queue& queue) const {
  if (staging_) check_cuda(cudaStreamWaitEvent(stream_of(queue), staging_->copied));
}

bool HostMirror::is_staged() const { return !staging_ || staging_->there; }
const std::byte* HostMirror::staged() const { return data(); }

}  // namespace penstock

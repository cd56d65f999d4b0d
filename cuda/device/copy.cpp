#include "device/copy.hpp"

#include "device/backend.hpp"

namespace penstock {

void copy_on_device(Queue& queue, const void* from, void* to, std::size_t bytes) {
  check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_of(queue)));
}

void copy_to_host(Queue& queue, const void* device, void* host, std::size_t bytes) {
  if (bytes > 0) check_cuda(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream_of(queue)));
}

HostMirror::HostMirror(void* device, std::size_t bytes)
    : device_(static_cast<std::byte*>(device)), bytes_(device ? bytes : 0), host_(bytes_) {}

void HostMirror::fetch(Queue& queue) const { copy_to_host(queue, device_, host_.data(), bytes_); }

void HostMirror::publish(Queue& queue) const {
  if (bytes_ == 0) return;
  check_cuda(cudaMemcpyAsync(device_, host_.data(), bytes_, cudaMemcpyHostToDevice, stream_of(queue)));
}

}  // namespace penstock

#include "device/copy.hpp"

#include "device/backend.hpp"

namespace penstock {

void copy_to_device(Queue& queue, const void* host, void* device, std::size_t bytes) {
  check_cuda(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream_of(queue)));
}

void copy_on_device(Queue& queue, const void* from, void* to, std::size_t bytes) {
  check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_of(queue)));
}

HostMirror::HostMirror(void* device, std::size_t bytes)
    : device_(static_cast<std::byte*>(device)), bytes_(device ? bytes : 0), host_(bytes_) {}

void HostMirror::fetch(Queue& queue) const {
  check_cuda(cudaMemcpyAsync(host_.data(), device_, bytes_, cudaMemcpyDeviceToHost, stream_of(queue)));
  check_cuda(cudaStreamSynchronize(stream_of(queue)));
}

void HostMirror::publish(Queue& queue) const {
  check_cuda(cudaMemcpyAsync(device_, host_.data(), bytes_, cudaMemcpyHostToDevice, stream_of(queue)));
  check_cuda(cudaStreamSynchronize(stream_of(queue)));
}

}  // namespace penstock

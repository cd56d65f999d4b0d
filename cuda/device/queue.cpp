#include "device/queue.hpp"

#include "device/backend.hpp"

namespace penstock {

Queue::Queue(const Options& options) : backend_(std::make_unique<Backend>()) {
  backend_->threads = options.threads > 0 ? options.threads : 1;
  check_cuda(cudaStreamCreateWithFlags(&backend_->stream, cudaStreamNonBlocking));
}

Queue::~Queue() = default;
Queue::Queue(Queue&&) noexcept = default;
Queue& Queue::operator=(Queue&&) noexcept = default;

int Queue::threads() const { return backend_->threads; }

// What still runs may use the old workspace: growing waits for it. It happens in the first step only.
std::byte* Queue::workspace(std::size_t bytes) {
  if (backend_->workspace.bytes() < bytes) {
    check_cuda(cudaStreamSynchronize(backend_->stream));
    backend_->workspace = {};
    backend_->workspace = DeviceMemory(bytes);
  }
  return backend_->workspace.data();
}

std::size_t Queue::workspace_bytes() const { return backend_->workspace.bytes(); }

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#include "device/queue.hpp"

#include <omp.h>

#include "device/cpu/backend.hpp"

namespace penstock {

Queue::Queue(const Options& options) {
  if (options.threads > 0) omp_set_num_threads(options.threads);
  backend_ = std::make_unique<Backend>();
  backend_->threads = omp_get_max_threads();
}

Queue::~Queue() = default;
Queue::Queue(Queue&&) noexcept = default;
Queue& Queue::operator=(Queue&&) noexcept = default;

int Queue::threads() const { return backend_->threads; }

void Queue::drain(std::string_view) {}  // the queue has already run everything

std::byte* Queue::workspace(std::size_t bytes) {
  if (backend_->workspace.size() < bytes) {
    backend_->own_workspace = DeviceMemory(bytes);
    backend_->workspace = {backend_->own_workspace.data(), bytes};
  }
  return backend_->workspace.data();
}

void Queue::use_workspace(std::byte* memory, std::size_t bytes) {
  backend_->workspace = {memory, bytes};
  backend_->own_workspace = {};
}

std::size_t Queue::workspace_bytes() const { return backend_->workspace.size(); }

}  // namespace penstock

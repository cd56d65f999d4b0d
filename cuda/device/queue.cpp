// SPDX-License-Identifier: Apache-2.0
#include "device/queue.hpp"

#include <sched.h>

#include "device/backend.hpp"

namespace penstock {

namespace {

void wait_without_deadline(const std::function<bool()>& done, std::string_view, const std::function<std::uint64_t()>&) {
  while (!done()) sched_yield();
}

/// Whether the device has run the whole stream; throws its error.
bool is_idle(cudaStream_t stream) {
  const cudaError_t code = cudaStreamQuery(stream);
  if (code == cudaErrorNotReady) {
    cudaGetLastError();  // otherwise the next kernel's launch would seem to have failed with it
    return false;
  }
  check_cuda(code);
  return true;
}

}  // namespace

void wait_on_device(Queue& queue, const std::function<bool()>& done, std::string_view what,
                    const std::function<std::uint64_t()>& progress) {
  const Queue::Backend& b = queue.backend();
  b.wait(
      [&] {
        for (const auto& [owner, watch] : b.watchers) watch();
        return done();
      },
      what, progress);
}

Queue::Queue(const Options& options) : backend_(std::make_unique<Backend>()) {
  backend_->threads = options.threads > 0 ? options.threads : 1;
  backend_->wait = options.wait ? options.wait : wait_without_deadline;
  backend_->records = options.records;
  check_cuda(cudaStreamCreateWithFlags(&backend_->stream, cudaStreamNonBlocking));
  check_cuda(cudaStreamCreateWithFlags(&backend_->copies, cudaStreamNonBlocking));
}

Queue::~Queue() = default;
Queue::Queue(Queue&&) noexcept = default;
Queue& Queue::operator=(Queue&&) noexcept = default;

int Queue::threads() const { return backend_->threads; }

void Queue::drain(std::string_view what) {
  wait_on_device(*this, [this] { return is_idle(backend_->stream); }, what, {});
}

bool Queue::runs_behind_host() { return true; }

// Running work may still use the old workspace, so a new one waits for it.
std::byte* Queue::workspace(std::size_t bytes) {
  if (backend_->workspace.size() < bytes) {
    use_workspace(nullptr, 0);
    backend_->own_workspace = DeviceMemory(bytes);
    backend_->workspace = {backend_->own_workspace.data(), bytes};
  }
  return backend_->workspace.data();
}

void Queue::use_workspace(std::byte* memory, std::size_t bytes) {
  ensure(reinterpret_cast<std::uintptr_t>(memory) % 256 == 0, "a workspace does not lie as libraries want it");
  drain("another workspace");
  backend_->workspace = {memory, bytes};
  backend_->own_workspace = {};
  ++backend_->workspace_number;
}

std::size_t Queue::workspace_bytes() const { return backend_->workspace.size(); }

}  // namespace penstock

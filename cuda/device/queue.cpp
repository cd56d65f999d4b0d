#include "device/queue.hpp"

#include <sched.h>

#include "device/backend.hpp"

namespace penstock {

namespace {

void wait_without_deadline(const std::function<bool()>& done, std::string_view, const std::function<std::uint64_t()>&) {
  while (!done()) sched_yield();
}

/// Whether the device has run all of the stream; throws what went wrong on it.
bool is_idle(cudaStream_t stream) {
  const cudaError_t code = cudaStreamQuery(stream);
  if (code == cudaErrorNotReady) {
    cudaGetLastError();  // else the next kernel's launch would seem to have failed with it
    return false;
  }
  check_cuda(code);
  return true;
}

}  // namespace

Queue::Queue(const Options& options) : backend_(std::make_unique<Backend>()) {
  backend_->threads = options.threads > 0 ? options.threads : 1;
  backend_->wait = options.wait ? options.wait : wait_without_deadline;
  check_cuda(cudaStreamCreateWithFlags(&backend_->stream, cudaStreamNonBlocking));
  check_cuda(cudaStreamCreateWithFlags(&backend_->copies, cudaStreamNonBlocking));
}

Queue::~Queue() = default;
Queue::Queue(Queue&&) noexcept = default;
Queue& Queue::operator=(Queue&&) noexcept = default;

int Queue::threads() const { return backend_->threads; }

// A wait that lasts sleeps between its looks, and would find the end late, with the device idle meanwhile. So there are
// two: until the device is at its last action, and, from then on with looks that follow each other, until it is done.
void Queue::drain(std::string_view what) {
  Backend& b = *backend_;
  const auto wait_until = [&](const auto& done) {
    b.wait(
        [&] {
          for (const auto& [owner, watch] : b.watchers) watch();
          return done();
        },
        what, [this] { return marks_passed(); });
  };
  wait_until([&] { return marks_passed() + 1 >= b.marks_set || is_idle(b.stream); });
  wait_until([&] { return is_idle(b.stream); });
}

void Queue::mark() {
  Backend& b = *backend_;
  if (b.marks_set == b.marks.size()) {
    cudaEvent_t event = nullptr;
    check_cuda(cudaEventCreate(&event));
    b.marks.push_back(event);
  }
  check_cuda(cudaEventRecord(b.marks[b.marks_set++], b.stream));
}

void Queue::clear_marks() { backend_->marks_set = backend_->marks_passed = 0; }

// Asked for reports of failures, too: does not throw.
std::uint64_t Queue::marks_passed() {
  Backend& b = *backend_;
  while (b.marks_passed < b.marks_set && cudaEventQuery(b.marks[b.marks_passed]) == cudaSuccess) ++b.marks_passed;
  cudaGetLastError();
  return b.marks_passed;
}

std::vector<double> Queue::mark_seconds() const {
  std::vector<double> seconds;
  for (std::size_t mark = 0; mark < backend_->marks_set; ++mark) {
    float milliseconds = 0;
    check_cuda(cudaEventElapsedTime(&milliseconds, backend_->marks.front(), backend_->marks[mark]));
    seconds.push_back(milliseconds * 1e-3);
  }
  return seconds;
}

// What still runs may use the old workspace: another one waits for it.
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
}

std::size_t Queue::workspace_bytes() const { return backend_->workspace.size(); }

}  // namespace penstock

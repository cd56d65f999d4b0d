// SPDX-License-Identifier: Apache-2.0
#include "device/marks.hpp"

#include "device/backend.hpp"

namespace penstock {

struct Marks::Backend {
  Queue* queue = nullptr;
  std::vector<cudaEvent_t> events;  ///< made once, then reused
  std::size_t count = 0;
  std::size_t passed = 0;

  explicit Backend(Queue& of) : queue(&of) {}

  /// Advances to the first mark that the device has not passed, and returns what CUDA says about it.
  cudaError_t look() {
    while (passed < count) {
      const cudaError_t code = cudaEventQuery(events[passed]);
      cudaGetLastError();  // otherwise "not ready" would look like a failure of the next launch
      if (code != cudaSuccess) return code;
      ++passed;
    }
    return cudaSuccess;
  }

  ~Backend() {
    for (cudaEvent_t event : events) cudaEventDestroy(event);
  }
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
};

Marks::Marks(Queue& queue) : backend_(std::make_unique<Backend>(queue)) {}
Marks::~Marks() = default;
Marks::Marks(Marks&&) noexcept = default;
Marks& Marks::operator=(Marks&&) noexcept = default;

void Marks::set() {
  Backend& b = *backend_;
  if (b.count == b.events.size()) {
    cudaEvent_t event = nullptr;
    check_cuda(cudaEventCreate(&event));
    b.events.push_back(event);
  }
  check_cuda(cudaEventRecord(b.events[b.count++], stream_of(*b.queue)));
}

void Marks::clear() { backend_->count = backend_->passed = 0; }

// Reports of failures call this, too, so it does not throw.
std::size_t Marks::passed() {
  backend_->look();
  return backend_->passed;
}

std::vector<double> Marks::seconds() const {
  std::vector<double> seconds;
  for (std::size_t mark = 0; mark < backend_->count; ++mark) {
    float milliseconds = 0;
    check_cuda(cudaEventElapsedTime(&milliseconds, backend_->events.front(), backend_->events[mark]));
    seconds.push_back(milliseconds * 1e-3);
  }
  return seconds;
}

// A long wait sleeps between its checks, and would notice the end late. So there are two waits: until the device is at
// its last action, and from then on, with checks in a row, until it is done. Throws the device's error: no mark after
// that is ever passed.
void Marks::wait(std::string_view what) {
  Backend& b = *backend_;
  const auto until = [&](std::size_t left) {
    const auto done = [&] {
      const cudaError_t code = b.look();
      if (code != cudaErrorNotReady) check_cuda(code);
      return b.passed + left >= b.count;
    };
    wait_on_device(*b.queue, done, what, [this] { return passed(); });
  };
  until(1);
  until(0);
}

}  // namespace penstock

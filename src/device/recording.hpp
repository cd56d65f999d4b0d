// SPDX-License-Identifier: Apache-2.0
#pragma once
// SEAM 1, repetition: work that is enqueued again and again as it was the first time.

#include <functional>
#include <memory>

#include "device/queue.hpp"

namespace penstock {

/// Work that a queue gets many times: the same operations, shapes and memory each time; what changes is in that memory.
/// A GPU records it the second time (CUDA graphs) and launches the record from then on, which costs the host one call
/// and the device less time between two kernels. The CPU, and a queue that does not record, do the work each time.
/// Move-only.
class Recording {
 public:
  explicit Recording(Queue& queue);  ///< which outlives it
  ~Recording();
  Recording(Recording&&) noexcept;
  Recording& operator=(Recording&&) noexcept;

  /// `work` enqueues on the queue only, waits for nothing and for nobody, and takes no memory the second time.
  void run(const std::function<void()>& work);

 private:
  struct Backend;
  std::unique_ptr<Backend> backend_;
};

}  // namespace penstock

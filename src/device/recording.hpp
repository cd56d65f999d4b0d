// SPDX-License-Identifier: Apache-2.0
#pragma once
// SEAM 1, repetition: work that is enqueued many times unchanged.

#include <functional>
#include <memory>

#include "device/queue.hpp"

namespace penstock {

/// Work that is enqueued many times, with the same operations, shapes and memory; only the contents of that memory
/// change. A GPU records it the second time (CUDA graphs) and launches the recording from then on: one call for the
/// host, and less time between two kernels. The CPU, and a queue that does not record, do the work each time.
/// Move-only.
class Recording {
 public:
  explicit Recording(Queue& queue);  ///< outlives it
  ~Recording();
  Recording(Recording&&) noexcept;
  Recording& operator=(Recording&&) noexcept;

  /// `work` must only enqueue on the queue, must not wait, and must not take memory the second time.
  void run(const std::function<void()>& work);

 private:
  struct Backend;
  std::unique_ptr<Backend> backend_;
};

}  // namespace penstock

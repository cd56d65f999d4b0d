#pragma once
// SEAM 1, work: operations are enqueued on a Queue and run in its order. The CPU's queue runs each at once.

#include <cstddef>
#include <memory>

namespace penstock {

/// One lane of computing on this rank's device. Owns the handles, the compiled primitives and the one workspace of the
/// operations that run on it. Move-only; not for use by two threads at once.
class Queue {
 public:
  struct Options {
    int threads = 0;  ///< OpenMP threads of this rank's operations; 0: what OpenMP takes by itself
  };

  explicit Queue(const Options& options);
  Queue() : Queue(Options{}) {}
  ~Queue();
  Queue(Queue&&) noexcept;
  Queue& operator=(Queue&&) noexcept;

  int threads() const;

  /// Scratch memory for the operation that runs now; what it held before is lost. Grows to the largest ask.
  std::byte* workspace(std::size_t bytes);

  /// Bytes that the workspace holds now.
  std::size_t workspace_bytes() const;

  /// Handles of the backend, for its own operations only.
  struct Backend;
  Backend& backend() { return *backend_; }

 private:
  std::unique_ptr<Backend> backend_;
};

}  // namespace penstock

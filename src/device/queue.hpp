// SPDX-License-Identifier: Apache-2.0
#pragma once
// SEAM 1, work: operations are enqueued on a Queue and run in its order. The CPU's queue runs each at once.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

namespace penstock {

/// How a host thread waits: returns when `done` returns true. `progress`, if given, changes as long as work proceeds;
/// `what` is for the report of a wait that lasts too long.
using HostWait = std::function<void(const std::function<bool()>& done, std::string_view what,
                                    const std::function<std::uint64_t()>& progress)>;

/// One lane of computing on this rank's device. Owns the handles, the compiled primitives and the workspace of its
/// operations. Move-only; not for use by two threads at once.
class Queue {
 public:
  struct Options {
    int threads = 0;      ///< OpenMP threads of this rank's operations; 0: OpenMP's default
    HostWait wait{};      ///< how `drain` waits (World::wait); absent: without a deadline
    bool records = true;  ///< on a GPU: whether a Recording records
  };

  explicit Queue(const Options& options);
  Queue() : Queue(Options{}) {}
  ~Queue();
  Queue(Queue&&) noexcept;
  Queue& operator=(Queue&&) noexcept;

  int threads() const;

  /// The host waits until everything enqueued has run.
  void drain(std::string_view what);

  /// Whether enqueued work runs later than the call, so that the host can prepare the next work meanwhile.
  static bool runs_behind_host();

  /// Scratch memory for the operation that runs now; earlier contents are lost. If an operation asks for more than
  /// there is, the queue takes memory of its own (and drains).
  std::byte* workspace(std::size_t bytes);
  /// Lends planned memory, which must outlive all later operations.
  void use_workspace(std::byte* memory, std::size_t bytes);

  /// The present size of the workspace in bytes.
  std::size_t workspace_bytes() const;

  /// Handles of the backend, for its own operations only.
  struct Backend;
  Backend& backend() { return *backend_; }

 private:
  std::unique_ptr<Backend> backend_;
};

}  // namespace penstock

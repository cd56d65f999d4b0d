// SPDX-License-Identifier: Apache-2.0
#pragma once
// SEAM 1, time: marks in a queue's work.

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "device/queue.hpp"

namespace penstock {

/// Marks that a queue's device passes one by one: how far it is, when it came by, and a wait for the last of them. Set
/// and cleared again and again without taking memory once there were as many. Move-only.
class Marks {
 public:
  explicit Marks(Queue& queue);  ///< which outlives them
  ~Marks();
  Marks(Marks&&) noexcept;
  Marks& operator=(Marks&&) noexcept;

  /// Behind what was enqueued so far.
  void set();
  /// Only where the device has passed all of them.
  void clear();
  std::size_t passed();
  /// Seconds from the first mark until the device came past each; all of them were passed.
  std::vector<double> seconds() const;
  /// The host waits until the device has passed the last one. Throws SystemError where the device has failed.
  void wait(std::string_view what);

 private:
  struct Backend;
  std::unique_ptr<Backend> backend_;
};

}  // namespace penstock

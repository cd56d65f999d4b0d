// SPDX-License-Identifier: Apache-2.0
#pragma once
// SEAM 1, time: marks in a queue's work.

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "device/queue.hpp"

namespace penstock {

/// Marks that a queue's device passes one by one: how far it is, when it passed each, and a wait for the last. They can
/// be cleared and set again without taking memory, up to the number set before. Move-only.
class Marks {
 public:
  explicit Marks(Queue& queue);  ///< outlives them
  ~Marks();
  Marks(Marks&&) noexcept;
  Marks& operator=(Marks&&) noexcept;

  /// After everything enqueued so far.
  void set();
  /// Only if the device has passed all of them.
  void clear();
  std::size_t passed();
  /// Seconds from the first mark until the device passed each; all must have been passed.
  std::vector<double> seconds() const;
  /// The host waits until the device has passed the last one. Throws SystemError if the device has failed.
  void wait(std::string_view what);

 private:
  struct Backend;
  std::unique_ptr<Backend> backend_;
};

}  // namespace penstock

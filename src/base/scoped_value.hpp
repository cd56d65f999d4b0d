// SPDX-License-Identifier: Apache-2.0
#pragma once
// ScopedValue: a value that stands in a variable for as long as a scope lasts.

#include <utility>

namespace penstock {

/// Puts a value into a variable, and on destruction the one that was there before, also when something throws. The
/// variable outlives it.
template <typename Value>
class ScopedValue {
 public:
  ScopedValue(Value& variable, Value value)
      : variable_(&variable), before_(std::exchange(variable, std::move(value))) {}
  ~ScopedValue() { *variable_ = std::move(before_); }
  ScopedValue(const ScopedValue&) = delete;
  ScopedValue& operator=(const ScopedValue&) = delete;

 private:
  Value* variable_;
  Value before_;
};

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "base/error.hpp"

namespace penstock {

/// Extents of a dense row-major array, the slowest dimension first; up to five dimensions.
class Shape {
 public:
  static constexpr int most_dimensions = 5;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents) {
    ensure(extents.size() <= most_dimensions, "a Shape has at most 5 dimensions");
    for (const std::int64_t extent : extents) extents_[static_cast<std::size_t>(dimensions_++)] = extent;
  }

  int dimensions() const { return dimensions_; }
  std::int64_t operator[](int dimension) const { return extents_[static_cast<std::size_t>(dimension)]; }
  std::int64_t elements() const {
    std::int64_t product = 1;
    for (int d = 0; d < dimensions_; ++d) product *= (*this)[d];
    return product;
  }
  bool operator==(const Shape&) const = default;

  /// "[2, 64, 256]"
  std::string text() const {
    std::string out = "[";
    for (int d = 0; d < dimensions_; ++d) out += (d ? ", " : "") + std::to_string((*this)[d]);
    return out + "]";
  }

 private:
  std::array<std::int64_t, most_dimensions> extents_{};
  int dimensions_ = 0;
};

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "tensor/dtype.hpp"
#include "tensor/shape.hpp"

namespace penstock {

/// Borrows a dense row-major array on the device (on the CPU backend: host memory). A view without data is "absent":
/// an operation that allows it says so. Copying a view copies no elements.
class TensorView {
 public:
  TensorView() = default;
  TensorView(void* data, DType type, const Shape& shape) : data_(data), shape_(shape), type_(type) {}

  /// The elements as T; T must be the view's type.
  template <typename T>
  T* data() const {
    ensure(DTypeOf<T>::value == type_, "a TensorView was asked for elements of another type than it holds");
    return static_cast<T*>(data_);
  }
  void* raw() const { return data_; }
  bool present() const { return data_ != nullptr; }

  DType type() const { return type_; }
  const Shape& shape() const { return shape_; }
  std::int64_t elements() const { return shape_.elements(); }
  std::size_t bytes() const { return static_cast<std::size_t>(elements()) * bytes_of(type_); }

  /// The same elements in another shape of as many elements.
  TensorView reshaped(const Shape& shape) const {
    ensure(shape.elements() == elements(), "reshaped: another number of elements");
    return {data_, type_, shape};
  }

  /// Elements [begin, begin + count) as a one-dimensional view.
  TensorView range(std::int64_t begin, std::int64_t count) const {
    ensure(begin >= 0 && count >= 0 && begin + count <= elements(), "range: outside the tensor");
    auto* first = static_cast<std::byte*>(data_);
    if (first) first += static_cast<std::size_t>(begin) * bytes_of(type_);
    return {first, type_, {count}};
  }

  /// Rows [begin, begin + count) of a two-dimensional view.
  TensorView rows(std::int64_t begin, std::int64_t count) const {
    ensure(shape_.dimensions() == 2, "rows: the view is not two-dimensional");
    return range(begin * shape_[1], count * shape_[1]).reshaped({count, shape_[1]});
  }

 private:
  void* data_ = nullptr;
  Shape shape_;
  DType type_ = DType::float32;
};

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tensors in the reference operations: whole arrays of doubles, read before anything is written, so that views may
// share memory.

#include <vector>

#include "tensor/tensor_view.hpp"

namespace penstock::reference {

using Values = std::vector<double>;

/// All elements of a float32, bfloat16 or float64 view (the last for finite differences). The view must be present.
inline Values read(const TensorView& view) {
  ensure(view.present(), "reference: a tensor that may not be absent is absent");
  const auto count = static_cast<std::size_t>(view.elements());
  Values values(count);
  switch (view.type()) {
    case DType::float32:
      for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<double>(view.data<float>()[i]);
      return values;
    case DType::bfloat16:
      for (std::size_t i = 0; i < count; ++i)
        values[i] = static_cast<double>(static_cast<float>(view.data<bfloat16>()[i]));
      return values;
    case DType::float64:
      for (std::size_t i = 0; i < count; ++i) values[i] = view.data<double>()[i];
      return values;
    default:
      ensure(false, "reference: a tensor of this type has no real elements");
      return {};
  }
}

/// The elements of a view that may be absent; then `count` zeros.
inline Values read_or_zeros(const TensorView& view, std::int64_t count) {
  return view.present() ? read(view) : Values(static_cast<std::size_t>(count));
}

/// Stores the values, rounded to the view's type. The view must be present and hold as many elements.
inline void write(const TensorView& view, const Values& values) {
  ensure(view.present(), "reference: an output is absent");
  ensure(static_cast<std::size_t>(view.elements()) == values.size(),
         "reference: an output has another number of elements");
  for (std::size_t i = 0; i < values.size(); ++i) {
    switch (view.type()) {
      case DType::float32:
        view.data<float>()[i] = static_cast<float>(values[i]);
        break;
      case DType::bfloat16:
        view.data<bfloat16>()[i] = bfloat16(static_cast<float>(values[i]));
        break;
      case DType::float64:
        view.data<double>()[i] = values[i];
        break;
      default:
        ensure(false, "reference: a tensor of this type has no real elements");
    }
  }
}

/// The number rounded to bfloat16 if the type is that; otherwise unchanged.
inline double rounded_to(DType type, double value) {
  return type == DType::bfloat16 ? static_cast<double>(static_cast<float>(bfloat16(static_cast<float>(value)))) : value;
}

/// Index of an element of a row-major [rows, columns] array.
inline std::size_t at(std::int64_t row, std::int64_t column, std::int64_t columns) {
  return static_cast<std::size_t>(row * columns + column);
}

inline std::size_t at(std::int64_t index) { return static_cast<std::size_t>(index); }

}  // namespace penstock::reference

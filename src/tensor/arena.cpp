// SPDX-License-Identifier: Apache-2.0
#include "tensor/arena.hpp"

#include <numeric>

namespace penstock {

std::string_view name_of(MemoryUse use) {
  switch (use) {
    case MemoryUse::parameters:
      return "parameters";
    case MemoryUse::gradients:
      return "gradients";
    case MemoryUse::optimizer:
      return "optimizer";
    case MemoryUse::activations:
      return "activations";
    case MemoryUse::buffers:
      return "buffers";
    case MemoryUse::workspace:
      return "workspace";
  }
  return "?";
}

std::size_t MemoryPlan::total() const { return std::accumulate(bytes.begin(), bytes.end(), std::size_t{0}); }

TensorView Arena::take(MemoryUse use, DType type, const Shape& shape, std::string_view part) {
  constexpr std::size_t alignment = 256;  // also what cuBLASLt and cuDNN require of their workspace
  const std::size_t wanted = static_cast<std::size_t>(shape.elements()) * bytes_of(type);
  const std::size_t padded = (wanted + alignment - 1) / alignment * alignment;
  std::byte* first = nullptr;
  if (real_) {
    ensure(taken_ + padded <= bytes_, "the arena is smaller than what is taken from it");
    first = first_ + taken_;
  }
  taken_ += padded;
  plan_.bytes[static_cast<std::size_t>(use)] += padded;
  if (use == MemoryUse::activations) plan_.activations[std::string(part)] += padded;
  return {first, type, shape};
}

TensorView Arena::taken_since(std::size_t bytes) const {
  return {real_ ? first_ + bytes : nullptr, DType::uint8, {static_cast<std::int64_t>(taken_ - bytes)}};
}

}  // namespace penstock

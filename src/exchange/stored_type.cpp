// SPDX-License-Identifier: Apache-2.0
#include "exchange/stored_type.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.hpp"

namespace penstock {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files are little endian");

// Stored numbers begin at any byte; memcpy of a known size is a plain load, and the loop becomes one of vectors.
template <typename Stored>
Stored stored_at(const std::byte* stored, std::int64_t index) {
  Stored value;
  std::memcpy(&value, stored + index * static_cast<std::int64_t>(sizeof value), sizeof value);
  return value;
}

/// All bits set if a < b, else none. Written without a comparison, because the compiler would turn that into a branch.
std::uint32_t bits_if_less(std::int32_t a, std::int32_t b) { return static_cast<std::uint32_t>((a - b) >> 31); }

// All three cases are computed and one is chosen by its bits: a loop over this becomes one of vectors.
float half_to_float(std::uint16_t half) {
  constexpr std::uint32_t bias_difference = 112U << 23;
  constexpr float smallest = 0x1p-24F;  // the unit of subnormal halves
  const std::int32_t magnitude = half & 0x7fff;
  // By way of an integer: a float32 below its normal range could be flushed to zero.
  const auto subnormal = std::bit_cast<std::uint32_t>(static_cast<float>(magnitude) * smallest);
  const std::uint32_t is_subnormal = bits_if_less(magnitude, 0x400), is_finite = bits_if_less(magnitude, 0x7c00);
  const std::uint32_t larger =
      (static_cast<std::uint32_t>(magnitude) << 13) + bias_difference + (bias_difference & ~is_finite);
  return std::bit_cast<float>((subnormal & is_subnormal) | (larger & ~is_subnormal) |
                              static_cast<std::uint32_t>(half & 0x8000) << 16);
}

}  // namespace

std::optional<StoredTypeName> stored_type_named(std::string_view name) {
  const auto* found = std::find_if(stored_types.begin(), stored_types.end(),
                                   [&](const StoredTypeName& known) { return known.name == name; });
  return found == stored_types.end() ? std::nullopt : std::optional(*found);
}

std::string_view stored_name_of(DType type) {
  ensure(type == DType::float32 || type == DType::bfloat16, "safetensors files are written in float32 or bfloat16");
  return type == DType::float32 ? "F32" : "BF16";
}

void widen(StoredType type, const std::byte* stored, float* values, std::int64_t count) {
  switch (type) {
    case StoredType::float32:
      std::memcpy(values, stored, static_cast<std::size_t>(count) * sizeof(float));
      return;
    case StoredType::bfloat16:
      for (std::int64_t i = 0; i < count; ++i)
        values[i] = std::bit_cast<float>(static_cast<std::uint32_t>(stored_at<std::uint16_t>(stored, i)) << 16);
      return;
    case StoredType::float16:
      for (std::int64_t i = 0; i < count; ++i) values[i] = half_to_float(stored_at<std::uint16_t>(stored, i));
      return;
    case StoredType::float64:
      for (std::int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(stored_at<double>(stored, i));
      return;
    case StoredType::other:
      break;
  }
  ensure(false, "widen: a type that is not read");
}

void narrow(DType type, const float* values, std::byte* stored, std::int64_t count) {
  if (type == DType::float32) {
    std::memcpy(stored, values, static_cast<std::size_t>(count) * sizeof(float));
    return;
  }
  ensure(type == DType::bfloat16, "narrow: float32 or bfloat16");
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint16_t bits = bfloat16(values[i]).bits;
    std::memcpy(stored + i * static_cast<std::int64_t>(sizeof bits), &bits, sizeof bits);
  }
}

}  // namespace penstock

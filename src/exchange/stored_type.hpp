// SPDX-License-Identifier: Apache-2.0
#pragma once
// The types of numbers that a safetensors file may hold, and their conversion to and from float32.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "tensor/dtype.hpp"

namespace penstock {

/// As the header of a safetensors file names it: index into stored_types.
enum class StoredType : std::uint8_t { float32, bfloat16, float16, float64, other };

/// What a header may say, and what it takes.
struct StoredTypeName {
  std::string_view name;  ///< "BF16"
  int bits = 0;           ///< of one element
  StoredType type = StoredType::other;
};

/// All types of the format; those of StoredType::other have a size, and are not read.
inline constexpr std::array stored_types{
    StoredTypeName{"F32", 32, StoredType::float32},  StoredTypeName{"BF16", 16, StoredType::bfloat16},
    StoredTypeName{"F16", 16, StoredType::float16},  StoredTypeName{"F64", 64, StoredType::float64},
    StoredTypeName{"BOOL", 8, StoredType::other},    StoredTypeName{"U8", 8, StoredType::other},
    StoredTypeName{"I8", 8, StoredType::other},      StoredTypeName{"F8_E5M2", 8, StoredType::other},
    StoredTypeName{"F8_E4M3", 8, StoredType::other}, StoredTypeName{"F8_E8M0", 8, StoredType::other},
    StoredTypeName{"I16", 16, StoredType::other},    StoredTypeName{"U16", 16, StoredType::other},
    StoredTypeName{"I32", 32, StoredType::other},    StoredTypeName{"U32", 32, StoredType::other},
    StoredTypeName{"I64", 64, StoredType::other},    StoredTypeName{"U64", 64, StoredType::other},
    StoredTypeName{"C64", 64, StoredType::other},    StoredTypeName{"F4", 4, StoredType::other},
    StoredTypeName{"F6_E2M3", 6, StoredType::other}, StoredTypeName{"F6_E3M2", 6, StoredType::other},
};

/// None for a name that the format does not know.
std::optional<StoredTypeName> stored_type_named(std::string_view name);

/// The name of what is written: "F32" or "BF16" (LogicError for other types).
std::string_view stored_name_of(DType type);

constexpr std::int64_t bytes_of(StoredType type) {
  switch (type) {
    case StoredType::float64:
      return 8;
    case StoredType::float32:
      return 4;
    case StoredType::bfloat16:
    case StoredType::float16:
      return 2;
    case StoredType::other:
      break;
  }
  return 0;
}

/// Turns `count` stored little-endian numbers, at any address, into float32. Every bfloat16 and float16 has one float32
/// of its value; not-a-numbers keep their sign and payload, quiet or not. A float64 is rounded to nearest even.
void widen(StoredType type, const std::byte* stored, float* values, std::int64_t count);

/// Turns float32 into `count` stored numbers of type float32 (the same bits) or bfloat16 (rounded to nearest even;
/// a not-a-number stays one), at any address.
void narrow(DType type, const float* values, std::byte* stored, std::int64_t count);

}  // namespace penstock

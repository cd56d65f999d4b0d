// SPDX-License-Identifier: Apache-2.0
#include "device/cpu/vector_lanes.hpp"

#include <cstdlib>
#include <string_view>

#include "base/error.hpp"

namespace penstock {
namespace {

#if defined PENSTOCK_BOTH_WIDTHS
constexpr bool has_8 = true;
bool has_16() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#elif defined __AVX512F__
constexpr bool has_8 = false;
bool has_16() { return true; }
#else
constexpr bool has_8 = true;
bool has_16() { return false; }
#endif

std::int64_t choose_lanes() {
  const char* wish = std::getenv("PENSTOCK_LANES");
  const std::string_view wanted = wish ? wish : "";
  if (wanted.empty()) return has_16() ? 16 : 8;
  if (wanted == "8" && has_8) return 8;
  if (wanted == "16" && has_16()) return 16;
  throw_input_error("PENSTOCK_LANES = {}: this build on this CPU has vectors of {} floats; unset it, or say {}", wanted,
                    has_8 && has_16() ? "8 and 16"
                    : has_16()        ? "16"
                                      : "8",
                    has_8 && has_16() ? "8 or 16"
                    : has_16()        ? "16"
                                      : "8");
}

}  // namespace

std::int64_t vector_lanes() {
  static const std::int64_t lanes = choose_lanes();
  return lanes;
}

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Whether the tests run under the address sanitizer, where everything takes ten times as long: loops that try the same
// code on many values try fewer there, since memory errors do not hide in the values.

namespace penstock::test {

#ifdef __SANITIZE_ADDRESS__
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

/// So many rounds, or a tenth of them under the sanitizers.
constexpr int rounds(int count) { return sanitized ? count / 10 : count; }

}  // namespace penstock::test

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Texts for the cure in a message: the nearest known word, choices and divisors as text.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace penstock {

/// How many letters must be inserted, deleted, replaced or swapped with their neighbour to turn one word into the
/// other; capitals count as small letters. The optimal string alignment distance (F. J. Damerau, CACM 7(3), 1964).
std::size_t edit_distance(std::string_view from, std::string_view to);

/// The known word with the smallest edit distance from `word`, the first of several; empty when `known` is.
std::string nearest(std::string_view word, std::span<const std::string> known);

/// Like nearest(), for dotted keys: the name after the first dot and whether the section is the same count first; an
/// unknown section, probably misspelt, then decides by its letters. So `optimizer.steps` is nearest to `run.steps`.
std::string nearest_key(std::string_view key, std::span<const std::string> known);

/// "a, b or c"
std::string choice_text(std::span<const std::string> words);

/// The divisors of n >= 1 for a message: "1, 2, 3, 4, 6 or 12".
std::string divisors_text(std::int64_t n);

}  // namespace penstock

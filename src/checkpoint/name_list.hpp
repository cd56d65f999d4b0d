// SPDX-License-Identifier: Apache-2.0
#pragma once
// A list of names as one short text. The names of a model's arrays differ in the number of the block: written out,
// those of a deep model are longer than the 64 KiB that an attribute may have in its object's header, where a checksum
// of HDF5 protects it.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace penstock {

/// The names in order, one on each line; names that differ only in their first number share a line if the numbers are
/// consecutive: "blocks.{0..11}.mlp.up.weight", as a shell expands it. Names contain neither braces nor line ends.
std::string folded(const std::vector<std::string>& names);

/// The names of such a text, in any order; nothing if it is not one, or if it would take more than 64 MiB.
std::optional<std::vector<std::string>> unfolded(std::string_view text);

}  // namespace penstock

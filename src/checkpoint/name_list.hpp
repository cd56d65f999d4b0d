// SPDX-License-Identifier: Apache-2.0
#pragma once
// A list of names as one short text. The names of a model's arrays differ in the number of the block: written out,
// those of a deep model are longer than the 64 KiB that an attribute may hold in its object's header, where HDF5 guards
// it with a checksum.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace penstock {

/// The names in order, one a line; those that differ only in their first number share a line if the numbers follow one
/// another: "blocks.{0..11}.mlp.up.weight", as a shell expands it. Names hold neither braces nor ends of lines.
std::string folded(const std::vector<std::string>& names);

/// The names of such a text, in any order; nothing when it is not one, or when it would take more than 64 MiB.
std::optional<std::vector<std::string>> unfolded(std::string_view text);

}  // namespace penstock

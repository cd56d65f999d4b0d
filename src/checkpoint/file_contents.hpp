// SPDX-License-Identifier: Apache-2.0
#pragma once
// What an array file says it holds, and the digest that guards it: HDF5's checksums cover what is in a chunk, the
// digest covers attributes, names, shapes and types.

#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/array_plan.hpp"
#include "checkpoint/hdf5.hpp"

namespace penstock {

struct ArrayInfo {
  std::string path;
  Shape shape;
  DType type = DType::float32;
  std::vector<Attribute> attributes;
};

struct FileContents {
  std::vector<Attribute> attributes;  ///< of the file: those that the digest covers
  std::vector<ArrayInfo> arrays;

  /// Null when there is none of this name.
  const ArrayInfo* find(std::string_view path) const;
  const Attribute* attribute(std::string_view name) const;
};

/// Names of the attributes that every array file has besides its own.
inline constexpr std::string_view digest_name = "digest";      ///< text
inline constexpr std::string_view complete_name = "complete";  ///< integer, 1 when the file is whole; written last
/// Text (name_list.hpp): the names of what the digest covers, its own among them. Whatever else somebody adds to the
/// file is not ours, and does not count. Files of version 1 have none.
inline constexpr std::string_view covered_name = "digest_names";

/// The attributes that the array is given in the file.
std::vector<Attribute> attributes_of(const ArraySpec& array);

/// What a file of these will hold, `digest_names` included.
FileContents contents_of(const std::vector<Attribute>& attributes, const std::vector<ArraySpec>& arrays);

/// What the digest covers of them: attributes by their names, arrays by their paths, an array's attributes as
/// "/tokens@dimensions".
std::vector<std::string> covered_names(const FileContents& contents);

/// "fnv1a64-0123456789abcdef": 64-bit FNV-1a of all of it, in an order of its own. Any single changed byte changes it.
std::string digest_of(const FileContents& contents);

/// The attribute's value; throws LogicError when the file has none of this name and type (read before: checked).
std::int64_t integer_attribute(const FileContents& contents, std::string_view name);
std::string text_attribute(const FileContents& contents, std::string_view name);

}  // namespace penstock

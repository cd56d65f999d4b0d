// SPDX-License-Identifier: Apache-2.0
#pragma once
// The stated contents of an array file, and the digest that protects them: HDF5's checksums cover the contents of
// chunks, the digest covers attributes, names, shapes and types.

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
  std::vector<Attribute> attributes;  ///< of the file, as far as the digest covers them
  std::vector<ArrayInfo> arrays;

  /// Null if there is none of this name.
  const ArrayInfo* find(std::string_view path) const;
  const Attribute* attribute(std::string_view name) const;
};

/// Names of the attributes that every array file has besides its own.
inline constexpr std::string_view digest_name = "digest";      ///< text
inline constexpr std::string_view complete_name = "complete";  ///< integer, 1 when the file is whole; written last
/// Text (name_list.hpp): the names that the digest covers, its own among them. Anything else that is added to the file
/// does not count. Files of version 1 have no such list.
inline constexpr std::string_view covered_name = "digest_names";

/// The attributes of the array in the file.
std::vector<Attribute> attributes_of(const ArraySpec& array);

/// The contents of a file with these, `digest_names` included.
FileContents contents_of(const std::vector<Attribute>& attributes, const std::vector<ArraySpec>& arrays);

/// The names that the digest covers: attributes by name, arrays by path, an array's attributes as "/tokens@dimensions".
std::vector<std::string> covered_names(const FileContents& contents);

/// "fnv1a64-0123456789abcdef": 64-bit FNV-1a of everything, in a fixed order. Any single changed byte changes it.
std::string digest_of(const FileContents& contents);

/// The attribute's value; throws LogicError if the file has none of this name and type (checked when it was read).
std::int64_t integer_attribute(const FileContents& contents, std::string_view name);
std::string text_attribute(const FileContents& contents, std::string_view name);

}  // namespace penstock

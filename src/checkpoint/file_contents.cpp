// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/file_contents.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <bit>

#include "base/random.hpp"
#include "checkpoint/name_list.hpp"

namespace penstock {

namespace {

std::string digested_text(const Attribute& attribute) {
  const auto body = [&]() -> std::string {
    if (const auto* integer = std::get_if<std::int64_t>(&attribute.value)) return fmt::format("integer {}", *integer);
    if (const auto* real = std::get_if<double>(&attribute.value))
      return fmt::format("real {:016x}", std::bit_cast<std::uint64_t>(*real));
    const auto& text = std::get<std::string>(attribute.value);
    return fmt::format("text {} {}", text.size(), text);
  };
  return fmt::format("attribute {} {}\n", attribute.name, body());
}

std::string digested_text(std::vector<Attribute> attributes) {
  std::sort(attributes.begin(), attributes.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  std::string text;
  for (const Attribute& attribute : attributes) text += digested_text(attribute);
  return text;
}

template <typename T>
const T& value_of(const FileContents& contents, std::string_view name) {
  const Attribute* attribute = contents.attribute(name);
  ensure(attribute && std::holds_alternative<T>(attribute->value),
         fmt::format("the file has no such attribute {}", name));
  return std::get<T>(attribute->value);
}

}  // namespace

const ArrayInfo* FileContents::find(std::string_view path) const {
  const auto found =
      std::find_if(arrays.begin(), arrays.end(), [&](const ArrayInfo& array) { return array.path == path; });
  return found == arrays.end() ? nullptr : &*found;
}

const Attribute* FileContents::attribute(std::string_view name) const {
  const auto found =
      std::find_if(attributes.begin(), attributes.end(), [&](const Attribute& a) { return a.name == name; });
  return found == attributes.end() ? nullptr : &*found;
}

std::vector<Attribute> attributes_of(const ArraySpec& array) {
  if (array.dimension_names.empty()) return {};
  return {{"dimensions", fmt::format("{}", fmt::join(array.dimension_names, ","))}};
}

FileContents contents_of(const std::vector<Attribute>& attributes, const std::vector<ArraySpec>& arrays) {
  FileContents contents{attributes, {}};
  for (const ArraySpec& array : arrays)
    contents.arrays.push_back({array.path, array.shape, array.type, attributes_of(array)});
  std::vector<std::string> names = covered_names(contents);
  names.emplace_back(covered_name);
  contents.attributes.push_back({std::string(covered_name), folded(names)});
  return contents;
}

std::vector<std::string> covered_names(const FileContents& contents) {
  std::vector<std::string> names;
  for (const Attribute& attribute : contents.attributes) names.push_back(attribute.name);
  for (const ArrayInfo& array : contents.arrays) {
    names.push_back(array.path);
    for (const Attribute& attribute : array.attributes) names.push_back(array.path + "@" + attribute.name);
  }
  return names;
}

std::string digest_of(const FileContents& contents) {
  std::string text = digested_text(contents.attributes);
  std::vector<const ArrayInfo*> arrays;
  for (const ArrayInfo& array : contents.arrays) arrays.push_back(&array);
  std::sort(arrays.begin(), arrays.end(), [](const auto* a, const auto* b) { return a->path < b->path; });
  for (const ArrayInfo* array : arrays)
    text += fmt::format("array {} {} {}\n", array->path, name_of(array->type), array->shape.text()) +
            digested_text(array->attributes);
  return fmt::format("fnv1a64-{:016x}", hash_text(text));
}

std::int64_t integer_attribute(const FileContents& contents, std::string_view name) {
  return value_of<std::int64_t>(contents, name);
}

std::string text_attribute(const FileContents& contents, std::string_view name) {
  return value_of<std::string>(contents, name);
}

}  // namespace penstock

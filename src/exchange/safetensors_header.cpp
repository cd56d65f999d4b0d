// SPDX-License-Identifier: Apache-2.0
#include "exchange/safetensors_header.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <tuple>

#include "base/json_object.hpp"
#include "config/mistakes.hpp"

namespace penstock {
namespace {

constexpr std::string_view metadata_key = "__metadata__";
constexpr std::string_view copy_again = "copy the file again, or write it again with the safetensors library";
constexpr std::size_t most_mistakes = 20;  // of a file: the first ones say enough

/// A count or an offset: a whole number from 0 to 2^62.
std::optional<std::int64_t> count_in(const nlohmann::json& value) {
  constexpr std::uint64_t most = std::uint64_t{1} << 62;
  if (!value.is_number_unsigned()) return std::nullopt;
  const auto count = value.get<std::uint64_t>();
  return count <= most ? std::optional(static_cast<std::int64_t>(count)) : std::nullopt;
}

/// The bytes of a tensor; none where that is more than there can be, or no whole number of bytes.
std::optional<std::uint64_t> bytes_needed(const StoredTensor& tensor) {
  std::uint64_t bits = static_cast<std::uint64_t>(tensor.type.bits);
  for (const std::int64_t extent : tensor.shape)
    if (__builtin_mul_overflow(bits, static_cast<std::uint64_t>(extent), &bits)) return std::nullopt;
  return bits % 8 == 0 ? std::optional(bits / 8) : std::nullopt;
}

class HeaderReader {
 public:
  HeaderReader(std::string_view where, std::uint64_t data_bytes) : where_(where), data_bytes_(data_bytes) {}

  std::vector<StoredTensor> read(const nlohmann::json& header) {
    check_metadata(header);
    for (const auto& [name, entry] : header.items())
      if (name != metadata_key) read_tensor(name, entry);
    mistakes_.throw_if_any();
    check_layout();
    mistakes_.throw_if_any();
    return std::move(tensors_);
  }

 private:
  template <typename... Arguments>
  void add(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    if (mistakes_.lines().size() < most_mistakes)
      mistakes_.add("{}: {}; {}", where_, fmt::format(format, std::forward<Arguments>(arguments)...), copy_again);
  }

  void check_metadata(const nlohmann::json& header) {
    const auto metadata = header.find(metadata_key);
    if (metadata == header.end()) {
      if (header.empty()) add("holds no tensor");
      return;
    }
    if (header.size() == 1) add("has {} and no tensor", metadata_key);
    if (!metadata->is_object()) {
      add("{} is {}, and must be an object of strings", metadata_key, shown(*metadata));
      return;
    }
    for (const auto& [key, value] : metadata->items())
      if (!value.is_string()) add("{}.{} is {}, and must be a string", metadata_key, key, shown(value));
  }

  void read_tensor(const std::string& name, const nlohmann::json& entry) {
    if (!entry.is_object()) {
      add("tensor {} is {}, and must be an object with dtype, shape and data_offsets", name, shown(entry));
      return;
    }
    for (const auto& [key, value] : entry.items())
      if (key != "dtype" && key != "shape" && key != "data_offsets")
        add("tensor {} has the key \"{}\", and the format knows dtype, shape and data_offsets", name, key);
    StoredTensor tensor{.name = name};
    const bool typed = read_type(entry, tensor), shaped = read_shape(entry, tensor), placed = read_place(entry, tensor);
    if (typed && shaped) check_size(tensor, placed);
    tensors_.push_back(std::move(tensor));
  }

  bool read_type(const nlohmann::json& entry, StoredTensor& tensor) {
    const auto value = entry.find("dtype");
    const auto known = value != entry.end() && value->is_string()
                           ? stored_type_named(value->get_ref<const std::string&>())
                           : std::nullopt;
    if (known) {
      tensor.type = *known;
      return true;
    }
    std::vector<std::string_view> names;
    for (const StoredTypeName& type : stored_types) names.push_back(type.name);
    add("tensor {} has dtype {}, and the format knows {}", tensor.name, value == entry.end() ? "(none)" : shown(*value),
        fmt::join(names, ", "));
    return false;
  }

  bool read_shape(const nlohmann::json& entry, StoredTensor& tensor) {
    const auto value = entry.find("shape");
    if (value == entry.end() || !value->is_array()) {
      add("tensor {} has shape {}, and needs a list of extents", tensor.name,
          value == entry.end() ? "(none)" : shown(*value));
      return false;
    }
    for (const nlohmann::json& extent : *value) {
      const auto count = count_in(extent);
      if (!count) {
        add("tensor {} has the extent {} in its shape, and an extent is a whole number from 0 to 2^62", tensor.name,
            shown(extent));
        return false;
      }
      tensor.shape.push_back(*count);
    }
    return true;
  }

  bool read_place(const nlohmann::json& entry, StoredTensor& tensor) {
    const auto value = entry.find("data_offsets");
    const bool pair = value != entry.end() && value->is_array() && value->size() == 2;
    const auto begin = pair ? count_in((*value)[0]) : std::nullopt, end = pair ? count_in((*value)[1]) : std::nullopt;
    if (!begin || !end) {
      add("tensor {} has data_offsets {}, and needs two whole numbers from 0 to 2^62", tensor.name,
          !pair ? (value == entry.end() ? "(none)" : shown(*value))
                : fmt::format("[{}, {}]", shown((*value)[0]), shown((*value)[1])));
      return false;
    }
    if (*begin > *end) {
      add("tensor {} has data_offsets [{}, {}]: it ends before it begins", tensor.name, *begin, *end);
      return false;
    }
    tensor.begin = static_cast<std::uint64_t>(*begin);
    tensor.end = static_cast<std::uint64_t>(*end);
    if (tensor.end <= data_bytes_) return true;
    add("tensor {} has data_offsets [{}, {}], and the file has {} bytes after its header", tensor.name, *begin, *end,
        data_bytes_);
    return false;
  }

  void check_size(const StoredTensor& tensor, bool placed) {
    const auto bytes = bytes_needed(tensor);
    if (!bytes)
      add("tensor {} of dtype {} has the shape {}, which no file can hold", tensor.name, tensor.type.name,
          tensor.shape_text());
    else if (placed && *bytes != tensor.end - tensor.begin)
      add("tensor {} has data_offsets [{}, {}], which are {} bytes, and its dtype {} and shape {} need {}", tensor.name,
          tensor.begin, tensor.end, tensor.end - tensor.begin, tensor.type.name, tensor.shape_text(), *bytes);
  }

  void check_layout() {
    std::sort(tensors_.begin(), tensors_.end(), [](const StoredTensor& a, const StoredTensor& b) {
      return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
    });
    std::uint64_t end = 0;
    std::string_view before;
    for (const StoredTensor& tensor : tensors_) {
      if (tensor.begin < end)
        add("tensor {} begins at byte {}, where tensor {} goes on to byte {}: they overlap", tensor.name, tensor.begin,
            before, end);
      else if (tensor.begin > end)
        add("bytes {} to {} before tensor {} belong to no tensor: the format has no holes", end, tensor.begin,
            tensor.name);
      if (tensor.end >= end) before = tensor.name;
      end = std::max(end, tensor.end);
    }
    if (end < data_bytes_)
      add("{} bytes after the last tensor belong to none: the file has {} bytes after its header, and its tensors end "
          "at "
          "{}",
          data_bytes_ - end, data_bytes_, end);
  }

  std::string_view where_;
  std::uint64_t data_bytes_;
  Mistakes mistakes_;
  std::vector<StoredTensor> tensors_;
};

}  // namespace

std::vector<StoredTensor> parse_safetensors_header(std::string_view text, std::uint64_t data_bytes,
                                                   std::string_view where) {
  const nlohmann::json header = parse_json_object(text, fmt::format("{}: the header", where), copy_again);
  return HeaderReader(where, data_bytes).read(header);
}

std::string safetensors_header(const std::vector<StoredTensor>& tensors) {
  nlohmann::ordered_json header;
  header[std::string(metadata_key)] = {{"format", "pt"}};
  for (const StoredTensor& tensor : tensors)
    header[tensor.name] = {
        {"dtype", tensor.type.name}, {"shape", tensor.shape}, {"data_offsets", {tensor.begin, tensor.end}}};
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(text.size() >> (8 * i));
  return bytes + text;
}

}  // namespace penstock

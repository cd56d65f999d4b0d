// SPDX-License-Identifier: Apache-2.0
#pragma once
// Safetensors files and Hugging Face directories of a test's own making, whole and damaged.

#include <bit>
#include <cstdint>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.hpp"
#include "data/temporary_folder.hpp"
#include "tensor/dtype.hpp"

namespace penstock::test {

/// A safetensors file with this header text and these bytes after it, right or wrong.
inline std::string safetensors_bytes(std::string_view header, std::string_view data) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(std::uint64_t{header.size()} >> (8 * i));
  return bytes.append(header).append(data);
}

/// A tensor to be written, its numbers as the file stores them.
struct SampleTensor {
  std::string type;
  std::vector<std::int64_t> shape;
  std::string bytes;
};
using SampleTensors = std::map<std::string, SampleTensor>;

inline std::string safetensors_bytes(const SampleTensors& tensors) {
  nlohmann::ordered_json header;
  header["__metadata__"] = {{"format", "pt"}};
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    const std::size_t begin = data.size();
    data += tensor.bytes;
    header[name] = {{"dtype", tensor.type}, {"shape", tensor.shape}, {"data_offsets", {begin, data.size()}}};
  }
  return safetensors_bytes(header.dump(), data);
}

inline std::int64_t elements_of(const std::vector<std::int64_t>& shape) {
  std::int64_t elements = 1;
  for (const std::int64_t extent : shape) elements *= extent;
  return elements;
}

/// The value of element `index` of a tensor: as good as no two alike, and each one a bfloat16 where `type` is BF16.
inline float sample_value(std::string_view tensor, std::int64_t index, std::string_view type) {
  const std::uint64_t bits = mix_bits(hash_text(tensor) + static_cast<std::uint64_t>(index));
  const float value = static_cast<float>(static_cast<std::int64_t>(bits % 2000001) - 1000000) * 0x1p-20F;
  return type == "BF16" ? static_cast<float>(bfloat16(value)) : value;
}

/// A tensor of F32 or BF16 with sample values.
inline SampleTensor sample_tensor(const std::string& name, const std::vector<std::int64_t>& shape,
                                  const std::string& type) {
  SampleTensor tensor{type, shape, {}};
  for (std::int64_t i = 0; i < elements_of(shape); ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(sample_value(name, i, type));
    char bytes[4];
    std::memcpy(bytes, &bits, sizeof bytes);
    tensor.bytes.append(type == "BF16" ? bytes + 2 : bytes, type == "BF16" ? 2 : 4);
  }
  return tensor;
}

}  // namespace penstock::test

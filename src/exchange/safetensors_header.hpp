// SPDX-License-Identifier: Apache-2.0
#pragma once
// The header of a safetensors file as text.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "exchange/safetensors_file.hpp"

namespace penstock {

/// Reads the header's JSON. `data_bytes`: what the file has after the header. Returns the tensors in the order of their
/// bytes. Throws InputError (see SafetensorsFile), which begins with `where`.
std::vector<StoredTensor> parse_safetensors_header(std::string_view text, std::uint64_t data_bytes,
                                                   std::string_view where);

/// The first bytes of a file with these tensors, length and padding included, byte for byte as the reference library
/// writes them with `__metadata__` = {"format": "pt"}: without that transformers refuses a file. `tensors` are in the
/// order of their bytes.
std::string safetensors_header(const std::vector<StoredTensor>& tensors);

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once
// The plan in words: stages, parameters, memory.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/rank_model.hpp"

namespace penstock {

/// Elements of all parameters, each counted once.
std::int64_t total_parameters(const ModelPlan& plan);

/// One line for each stage: its rank, blocks and parameters.
std::vector<std::string> stage_lines(const ModelPlan& plan);

/// "412.3 MiB: parameters 40.1, gradients 80.2, ..."
std::string memory_text(const MemoryPlan& memory);

/// "412.3 MiB" or "1.2 GiB".
std::string bytes_text(std::size_t bytes);

/// Reads "80GiB", "1.5 TiB" or "80GB" as bytes of a device's memory. Throws InputError for another text.
std::size_t parse_bytes(std::string_view text);

/// The bytes of a file that "5GB", "64 MiB", "20kB" or "5000000" says. Throws InputError for another text.
std::uint64_t parse_file_bytes(std::string_view text);

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Samples in the form that the model takes. Sample i of a file with sequence length T is its tokens [iT, iT + T], T + 1
// of them: the first T are the inputs, the last T the targets, so neighbouring samples share one token.

#include <cstdint>
#include <filesystem>
#include <vector>

#include "data/token_file.hpp"

namespace penstock {

/// Whole samples, one after the other.
struct Microbatch {
  std::uint64_t first_sample = 0;          // its number; the others follow it
  std::vector<std::int32_t> tokens = {};   // [sample, position]
  std::vector<std::int32_t> targets = {};  // [sample, position]: the token after the one at this place
  bool operator==(const Microbatch&) const = default;
};

/// Whole samples in the file, at least 1. Throws InputError if the file is too short for one.
std::uint64_t samples_in_file(const TokenFileHeader& header, const std::filesystem::path& path, int sequence);

/// Reads the file's samples first, first + 1, ... (`count` of them), in the order of the file, and appends them to
/// `microbatch`. Errors like TokenFile::read.
void append_samples(const TokenFile& file, std::uint64_t first, int count, int sequence, Microbatch& microbatch);

/// The file's samples first, first + 1, ... in the order of the file: the order of an evaluation.
Microbatch read_samples(const TokenFile& file, std::uint64_t first, int count, int sequence);

}  // namespace penstock

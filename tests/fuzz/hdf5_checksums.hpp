// SPDX-License-Identifier: Apache-2.0
#pragma once
// The checksums of an HDF5 file's own structures. They stop nearly every made-up change before libhdf5 reads it: a
// fuzzer must fix them to get past them.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::fuzz {

/// A structure of the file: `length` bytes, and its checksum in the four after them.
struct Checksummed {
  std::size_t begin = 0;
  std::size_t length = 0;
};

/// Superblock (versions 2 and 3), object headers (version 2) and their continuations: all that a file of ours has
/// besides its chunks, as long as it is small.
std::vector<Checksummed> checksummed_structures(std::string_view file);

/// Where the root group begins, by a superblock of these versions.
std::size_t root_group(std::string_view file);

/// Writes the right checksum after each of the structures.
void mend_checksums(std::string& file, const std::vector<Checksummed>& structures);

/// The file as it would be if its digest were the one that a reader found in it (`refusal` is its message) and all
/// checksums right; empty where the refusal is not about a digest.
std::string with_digest_found(std::string_view file, std::string_view refusal);

}  // namespace penstock::fuzz

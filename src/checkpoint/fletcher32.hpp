// SPDX-License-Identifier: Apache-2.0
#pragma once
// Fletcher's checksum as HDF5's filter of that name stores it after each chunk (J. Fletcher, IEEE Transactions on
// Communications 30, 1982), so that finished chunks can go to the file: HDF5's own loop takes longer than the disk.

#include <cstddef>
#include <cstdint>
#include <span>

namespace penstock {

/// For an even number of bytes, with the bits of HDF5's H5_checksum_fletcher32: two sums modulo 65535 over 16-bit words
/// (big-endian), of the words and of their running sums; a sum is 0 only if all words are.
std::uint32_t fletcher32(std::span<const std::byte> bytes);

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/fletcher32.hpp"

#include <array>
#include <bit>
#include <cstring>

#include "base/error.hpp"

namespace penstock {

namespace {

static_assert(std::endian::native == std::endian::little, "words are read as the machine stores them");

constexpr std::uint64_t modulus = 65535;
constexpr std::size_t lanes = 32;
// The running sums of this number of words of one lane stay below 2^32.
constexpr std::size_t most_rows = 360;

using Row = std::array<std::uint16_t, lanes>;

struct BlockSums {
  std::uint64_t words = 0;    // sum of the words
  std::uint64_t running = 0;  // sum of the sums up to each word

  // Words in rows, lane by lane, so that the compiler uses vector instructions. A word of row r and lane j counts (rows
  // - r) * lanes - j times in the running sum.
  void add_rows(const std::byte* first, std::size_t rows) {
    std::array<std::uint32_t, lanes> sum{}, sum_of_sums{};
    for (std::size_t r = 0; r < rows; ++r) {
      Row row;
      std::memcpy(row.data(), first + r * sizeof(Row), sizeof(Row));
      for (std::size_t j = 0; j < lanes; ++j) {
        sum[j] += row[j];
        sum_of_sums[j] += sum[j];
      }
    }
    running += rows * lanes * words;
    for (std::size_t j = 0; j < lanes; ++j) {
      running += lanes * std::uint64_t{sum_of_sums[j]} - j * std::uint64_t{sum[j]};
      words += sum[j];
    }
    fold();
  }

  void add_word(std::uint16_t word) {
    words += word;
    running += words;
  }

  // Keeps a sum that is not 0 from becoming 0.
  void fold() {
    for (std::uint64_t* sum : {&words, &running})
      if (*sum > modulus) *sum = (*sum - 1) % modulus + 1;
  }
};

// The same sum over words with swapped bytes: 256 times as much.
std::uint32_t swapped(std::uint64_t sum) {
  return sum == 0 ? 0 : static_cast<std::uint32_t>((sum * 256 - 1) % modulus + 1);
}

}  // namespace

std::uint32_t fletcher32(std::span<const std::byte> bytes) {
  ensure(bytes.size() % 2 == 0, "fletcher32: whole words");
  BlockSums sums;
  const std::byte* next = bytes.data();
  for (std::size_t rows = bytes.size() / sizeof(Row); rows > 0;) {
    const std::size_t now = std::min(rows, most_rows);
    sums.add_rows(next, now);
    next += now * sizeof(Row);
    rows -= now;
  }
  for (; next != bytes.data() + bytes.size(); next += 2) {
    std::uint16_t word = 0;
    std::memcpy(&word, next, 2);
    sums.add_word(word);
  }
  sums.fold();
  return swapped(sums.running) << 16 | swapped(sums.words);
}

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
// libFuzzer does not see into libhdf5, and its own changes would end at HDF5's checksums: this mutator changes bytes in
// place, most of them inside HDF5's structures, and mostly mends the checksums afterwards.

#include <algorithm>
#include <cstring>
#include <random>

#include "fuzz/harnesses.hpp"
#include "fuzz/hdf5_checksums.hpp"

namespace penstock::fuzz {

namespace {

using Random = std::minstd_rand;

std::size_t below(Random& random, std::size_t bound) { return bound == 0 ? 0 : random() % bound; }

// Any place, but more often one inside a structure: most of a file is numbers of arrays.
std::size_t place_in(const std::string& file, const std::vector<Checksummed>& structures, Random& random) {
  if (structures.empty() || below(random, 4) == 0) return below(random, file.size());
  const Checksummed& chosen = structures[below(random, structures.size())];
  return std::min(chosen.begin + below(random, chosen.length), file.size() - 1);
}

void overwrite(std::string& file, std::size_t at, std::uint64_t number, std::size_t bytes) {
  std::memcpy(file.data() + at, &number, std::min(bytes, file.size() - at));
}

// What often stands for a size, an address, a count, or none.
std::uint64_t telling_number(const std::string& file, Random& random) {
  const std::uint64_t numbers[] = {0,
                                   1,
                                   2,
                                   0x7f,
                                   0xff,
                                   0x7fff,
                                   0xffff,
                                   0x7fffffff,
                                   0x80000000,
                                   0xffffffff,
                                   0x7fffffffffffffff,
                                   0x8000000000000000,
                                   0xffffffffffffffff,
                                   file.size(),
                                   file.size() - 1,
                                   file.size() + 1,
                                   below(random, file.size()),
                                   below(random, 64)};
  return numbers[below(random, std::size(numbers))];
}

void change_once(std::string& file, const std::vector<Checksummed>& structures, Random& random) {
  const std::size_t at = place_in(file, structures, random), width = std::size_t{1} << below(random, 4);
  switch (below(random, 8)) {
    case 0:
    case 1:
      file[at] = static_cast<char>(file[at] ^ (1 << below(random, 8)));
      break;
    case 2:
      file[at] = static_cast<char>(below(random, 256));
      break;
    case 3:
      file[at] = static_cast<char>(file[at] + (below(random, 2) == 0 ? 1 : -1));
      break;
    case 4:
    case 5:
      overwrite(file, at, telling_number(file, random), width);
      break;
    case 6: {  // something from elsewhere in the file
      const std::size_t from = place_in(file, structures, random);
      const std::size_t length = std::min({below(random, 32) + 1, file.size() - at, file.size() - from});
      std::memmove(file.data() + at, file.data() + from, length);
      break;
    }
    default:
      std::fill_n(file.begin() + static_cast<std::ptrdiff_t>(at), std::min(below(random, 64), file.size() - at), '\0');
  }
}

}  // namespace

std::size_t mutate_checkpoint(std::uint8_t* bytes, std::size_t size, std::size_t most, unsigned seed) {
  Random random(seed);
  std::string file(reinterpret_cast<const char*>(bytes), size);
  if (file.empty()) file.assign(1, '\0');
  const std::vector<Checksummed> structures = checksummed_structures(file);
  for (std::size_t change = 0; change <= below(random, 4); ++change) change_once(file, structures, random);
  if (below(random, 32) == 0) file.resize(below(random, file.size()) + 1);
  if (below(random, 64) == 0) file.append(below(random, 600), '\0');
  if (below(random, 4) != 0) mend_checksums(file, structures);
  const std::size_t length = std::min(file.size(), most);
  std::memcpy(bytes, file.data(), length);
  return length;
}

}  // namespace penstock::fuzz

// SPDX-License-Identifier: Apache-2.0
// What libFuzzer calls. PENSTOCK_FUZZ names the harness, so that one program serves all.

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "fuzz/harnesses.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* bytes, std::size_t size, std::size_t most);

namespace {

const penstock::fuzz::Harness& chosen() {
  static const penstock::fuzz::Harness* const harness = [] {
    const char* name = std::getenv("PENSTOCK_FUZZ");
    return penstock::fuzz::find_harness(name ? name : "");
  }();
  if (harness) return *harness;
  std::fprintf(stderr, "PENSTOCK_FUZZ has to name a harness (scripts/fuzz --list)\n");
  std::_Exit(2);
}

}  // namespace

// The longest input is the harness's, unless the command line says -max_len: the last word counts, so ours comes first.
extern "C" int LLVMFuzzerInitialize(int* count, char*** words) {
  static std::string longest = "-max_len=" + std::to_string(chosen().longest);
  static std::vector<char*> all{(*words)[0], longest.data()};
  all.insert(all.end(), *words + 1, *words + *count);
  *count = static_cast<int>(all.size());
  all.push_back(nullptr);
  *words = all.data();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  chosen().feed({reinterpret_cast<const char*>(bytes), size});
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* bytes, std::size_t size, std::size_t most, unsigned seed) {
  const auto mutate = chosen().mutate;
  return mutate ? mutate(bytes, size, most, seed) : LLVMFuzzerMutate(bytes, size, most);
}

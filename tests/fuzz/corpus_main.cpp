// SPDX-License-Identifier: Apache-2.0
// main of the builds without libFuzzer: feeds one harness the files of some folders, so that every build reads the
// seeds and all inputs that once were defects.
//
//   test.fuzz HARNESS FOLDER-OR-FILE...

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "fuzz/harnesses.hpp"

namespace {

std::vector<std::filesystem::path> files_in(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return {path};
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(path)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

int main(int count, char** words) {
  const penstock::fuzz::Harness* harness = count > 2 ? penstock::fuzz::find_harness(words[1]) : nullptr;
  if (!harness) {
    std::fprintf(stderr, "usage: %s HARNESS FOLDER-OR-FILE...; harnesses:", words[0]);
    for (const auto& known : penstock::fuzz::harnesses) std::fprintf(stderr, " %s", std::string(known.name).c_str());
    std::fprintf(stderr, "\n");
    return 2;
  }
  std::size_t inputs = 0;
  for (int w = 2; w < count; ++w)
    for (const std::filesystem::path& file : files_in(words[w])) {
      std::fprintf(stderr, "%s\n", file.c_str());  // the last line before a crash
      harness->feed(bytes_of(file));
      ++inputs;
    }
  std::printf("%s: %zu inputs\n", words[1], inputs);
  return inputs > 0 ? 0 : 1;
}

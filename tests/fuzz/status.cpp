// SPDX-License-Identifier: Apache-2.0
// A run folder that `penstock status` reads: guard, end.json, deck.toml and metrics.csv. A line "== NAME" begins a
// file.

#include <cstdio>
#include <nlohmann/json.hpp>

#include "fuzz/harness.hpp"
#include "fuzz/harnesses.hpp"
#include "run/run_status.hpp"

namespace penstock::fuzz {

namespace {

constexpr std::string_view names[] = {"guard", "end.json", "deck.toml", "metrics.csv"};

void write_whole(const std::string& path, std::string_view bytes) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  promise(file != nullptr, "a file of the run folder can be made");
  std::fwrite(bytes.data(), 1, bytes.size(), file);
  std::fclose(file);
}

void fill(const std::string& folder, std::string_view bytes) {
  for (const std::string_view name : names) {
    const std::string path = folder + "/" + std::string(name), mark = "== " + std::string(name) + "\n";
    const std::size_t found = bytes.find(mark);
    if (found == std::string_view::npos) {
      std::remove(path.c_str());
      continue;
    }
    const std::size_t begin = found + mark.size();
    write_whole(path, bytes.substr(begin, bytes.find("== ", begin) - begin));
  }
}

}  // namespace

void feed_status(std::string_view bytes) {
  static const MemoryFolder folder;
  static IoThread io;
  fill(folder.path(), bytes);
  accepts([&] {
    const RunStatus status = read_status(io, folder.path());
    text_of(status);
    json_of(status).dump(2);
  });
}

}  // namespace penstock::fuzz

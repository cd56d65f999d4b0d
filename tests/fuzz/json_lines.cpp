// SPDX-License-Identifier: Apache-2.0
// JSON lines as `penstock tokenize` reads them, plain or compressed: the usual fields, then a nested one.

#include "data/json_lines.hpp"

#include "fuzz/harness.hpp"
#include "fuzz/harnesses.hpp"
#include "tokenizer/utf8.hpp"

namespace penstock::fuzz {

namespace {

void read_lines(const std::string& path, const std::optional<std::string>& field) {
  accepts([&] {
    JsonLines lines(path, field);
    while (const auto record = lines.next()) {
      promise(first_broken_byte(record->text) == record->text.size(), "a text that is taken is UTF-8");
      promise(!field || !record->prompt, "a field is a whole text");
    }
  });
}

}  // namespace

void feed_json_lines(std::string_view bytes) {
  const MemoryFile file(bytes);
  read_lines(file.path(), std::nullopt);
  read_lines(file.path(), "a.b");
}

}  // namespace penstock::fuzz

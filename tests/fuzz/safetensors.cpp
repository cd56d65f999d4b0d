// SPDX-License-Identifier: Apache-2.0
// Safetensors files: the header, then all that can be read, plain and transposed.

#include "exchange/safetensors_file.hpp"

#include <cstring>

#include "exchange/safetensors_header.hpp"
#include "fuzz/harness.hpp"
#include "fuzz/harnesses.hpp"

namespace penstock::fuzz {

namespace {

void read_both_ways(const SafetensorsFile& file, const StoredTensor& tensor) {
  const std::int64_t rows = tensor.rows(), columns = tensor.columns();
  std::vector<float> plain(static_cast<std::size_t>(tensor.elements())), turned(plain.size());
  const MatrixPart whole{.rows = rows, .columns = columns};
  file.read(tensor, whole, plain.data(), columns);
  file.read_transposed(tensor, whole, turned.data(), rows);
  for (std::int64_t i = 0; i < tensor.elements(); ++i)
    promise(std::memcmp(&plain[static_cast<std::size_t>(i)],
                        &turned[static_cast<std::size_t>(i % columns * rows + i / columns)], sizeof(float)) == 0,
            "a transposed read has the elements of a plain one");
}

void read_safetensors(std::string_view bytes) {
  const MemoryFile file(bytes);
  accepts([&] {
    const SafetensorsFile tensors(file.path());
    std::uint64_t end = 0;
    for (const StoredTensor& tensor : tensors.tensors()) {
      promise(tensor.begin == end, "tensors follow each other");
      end = tensor.end;
      promise(tensors.find(tensor.name) == &tensor, "a tensor is found by its name");
      if (tensor.type.type != StoredType::other && tensor.shape.size() <= 2) read_both_ways(tensors, tensor);
    }
    promise(tensors.header_bytes() + end == bytes.size(), "header and tensors are the whole file");
    const std::string again = safetensors_header(tensors.tensors());
    promise(
        parse_safetensors_header(std::string_view(again).substr(8), end, "again").size() == tensors.tensors().size(),
        "a header that is written again is read again");
  });
}

}  // namespace

void feed_safetensors(std::string_view bytes) {
  read_safetensors(bytes);
  // The header's length set right for a header that goes to the last brace: no fuzzer guesses both.
  constexpr std::size_t length_bytes = 8;
  const std::size_t brace = bytes.rfind('}');
  if (bytes.size() < length_bytes || brace == std::string_view::npos || brace < length_bytes) return;
  std::string mended(bytes);
  const std::uint64_t length = brace + 1 - length_bytes;
  std::memcpy(mended.data(), &length, sizeof length);
  read_safetensors(mended);
}

}  // namespace penstock::fuzz

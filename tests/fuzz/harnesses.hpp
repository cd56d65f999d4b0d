// SPDX-License-Identifier: Apache-2.0
#pragma once
// All harnesses. To add one: a file here with its function, a line in this table, and seeds in corpus/<name>/.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace penstock::fuzz {

void feed_checkpoint(std::string_view bytes);
void feed_costs(std::string_view bytes);
void feed_deck(std::string_view bytes);
void feed_end(std::string_view bytes);
void feed_guard(std::string_view bytes);
void feed_huggingface_config(std::string_view bytes);
void feed_json_lines(std::string_view bytes);
void feed_metrics(std::string_view bytes);
void feed_products(std::string_view bytes);
void feed_safetensors(std::string_view bytes);
void feed_schedule(std::string_view bytes);
void feed_status(std::string_view bytes);
void feed_tokenizer_json(std::string_view bytes);
void feed_tokens(std::string_view bytes);
void feed_words(std::string_view bytes);

/// Changes an HDF5 file and, most of the time, mends the checksums of HDF5's own structures: see
/// checkpoint_mutator.cpp.
std::size_t mutate_checkpoint(std::uint8_t* bytes, std::size_t size, std::size_t most, unsigned seed);

struct Harness {
  std::string_view name;
  void (*feed)(std::string_view bytes);
  std::size_t longest;  ///< bytes of an input that libFuzzer makes up
  std::size_t (*mutate)(std::uint8_t* bytes, std::size_t size, std::size_t most, unsigned seed) = nullptr;
};

inline constexpr Harness harnesses[] = {
    {"checkpoint", feed_checkpoint, 32768, mutate_checkpoint},
    {"costs", feed_costs, 4096},
    {"deck", feed_deck, 8192},
    {"end", feed_end, 4096},
    {"guard", feed_guard, 4096},
    {"huggingface_config", feed_huggingface_config, 4096},
    {"json_lines", feed_json_lines, 4096},
    {"metrics", feed_metrics, 4096},
    {"products", feed_products, 8192},
    {"safetensors", feed_safetensors, 4096},
    {"schedule", feed_schedule, 4096},
    {"status", feed_status, 4096},
    {"tokenizer_json", feed_tokenizer_json, 8192},
    {"tokens", feed_tokens, 4096},
    {"words", feed_words, 1024},
};

/// Null where there is none of this name.
inline const Harness* find_harness(std::string_view name) {
  const auto* found = std::find_if(std::begin(harnesses), std::end(harnesses),
                                   [&](const Harness& harness) { return harness.name == name; });
  return found == std::end(harnesses) ? nullptr : found;
}

}  // namespace penstock::fuzz

// SPDX-License-Identifier: Apache-2.0
// tokenizer.json of a Hugging Face directory, and a text encoded and decoded with what was read.

#include "fuzz/harness.hpp"
#include "fuzz/harnesses.hpp"
#include "tokenizer/byte_level_tokenizer.hpp"

namespace penstock::fuzz {

void feed_tokenizer_json(std::string_view bytes) {
  TokenizerJson json;
  if (!accepts([&] { json = parse_tokenizer_json(bytes, "tokenizer.json"); })) return;
  const ByteLevelTokenizer tokenizer(std::move(json));
  const std::string text = repaired(bytes.substr(0, 500)).text;
  std::vector<TokenId> whole, parts;
  EncoderScratch scratch;
  if (!accepts([&] { tokenizer.encode(text, whole, scratch); })) return;
  for (const TokenId id : whole) promise(tokenizer.bytes_of(id) != nullptr, "an id is a token");
  const auto cut = tokenizer.find_cut(text, text.size() / 2, true);
  if (!cut) return;
  tokenizer.encode(std::string_view(text).substr(0, *cut), parts, scratch);
  tokenizer.encode(std::string_view(text).substr(*cut), parts, scratch);
  promise(parts == whole, "a cut changes no id");
}

}  // namespace penstock::fuzz

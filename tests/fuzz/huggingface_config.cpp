// SPDX-License-Identifier: Apache-2.0
// config.json of a Hugging Face directory: read, written again, and written like the one that was read.

#include "exchange/exchanged_parameter.hpp"
#include "fuzz/harness.hpp"
#include "fuzz/harnesses.hpp"

namespace penstock::fuzz {

void feed_huggingface_config(std::string_view bytes) {
  HuggingFaceConfig config;
  if (!accepts([&] { config = parse_hugging_face_config(bytes, "config.json"); })) return;
  const auto read_again = [&](std::string_view text) {
    HuggingFaceConfig again;
    promise(accepts([&] { again = parse_hugging_face_config(text, "config.json"); }), "what is written is read");
    promise(again == config, "and says the same");
  };
  std::string text;
  promise(accepts([&] { text = hugging_face_config_text(config, DType::bfloat16); }), "what is read can be written");
  read_again(text);
  promise(accepts([&] { text = hugging_face_config_like(bytes, "config.json", config, DType::float32); }),
          "what is read is like itself");
  read_again(text);
  if (bytes.find("type") == std::string_view::npos || bytes.find("\\u") != std::string_view::npos) return;
  if (bytes.find("dtype") == std::string_view::npos) promise(text == bytes, "and has the same bytes");
  constexpr std::int64_t few = 8;
  if (config.layers > few) return;
  for (const bool prefixed : {false, true})
    for (const ExchangedParameter& parameter : exchanged_parameters(config, prefixed)) {
      std::int64_t rows = 0;
      for (const ExchangedPiece& piece : parameter.pieces) {
        promise(piece.first_row == rows, "pieces follow each other");
        rows += piece.rows;
      }
      promise(rows == parameter.shape[0], "and are the whole parameter");
    }
}

}  // namespace penstock::fuzz

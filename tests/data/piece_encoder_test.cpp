// SPDX-License-Identifier: Apache-2.0
#include "data/piece_encoder.hpp"

#include <gtest/gtest.h>

#include <system_error>

#include "base/error.hpp"
#include "tokenizer/samples.hpp"

namespace penstock::piece_encoder_test {
namespace {

/// What the system does where only `allowed` threads may be started.
PieceEncoder::Start start_at_most(int allowed) {
  return [left = allowed](std::function<void()> run) mutable {
    if (left-- == 0) throw std::system_error(EAGAIN, std::generic_category());
    return std::thread(std::move(run));
  };
}

TEST(PieceEncoderTest, FewerThreadsThanWantedGiveAllPiecesInOrder) {
  const Tokenizer tokenizer = Tokenizer::load(test::sample_path("small.json"));
  for (const int allowed : {1, 2, 8}) {
    std::vector<TokenId> found, wanted;
    PieceEncoder encoder(
        tokenizer, 4,
        [&](const TextPiece&, std::vector<TokenId>&& ids, const TextLosses&) {
          found.insert(found.end(), ids.begin(), ids.end());
        },
        start_at_most(allowed));
    for (int i = 0; i < 100; ++i) {
      const std::string text = "the river " + std::to_string(i);
      for (const TokenId id : tokenizer.encode(text)) wanted.push_back(id);
      encoder.add({.text = text});
    }
    encoder.finish();
    EXPECT_EQ(found, wanted);
  }
}

TEST(PieceEncoderTest, NoThreadAtAllIsAnError) {
  const Tokenizer tokenizer = Tokenizer::load(test::sample_path("small.json"));
  try {
    PieceEncoder(
        tokenizer, 4, [](const TextPiece&, std::vector<TokenId>&&, const TextLosses&) {}, start_at_most(0));
    FAIL() << "nothing was thrown";
  } catch (const SystemError& error) {
    EXPECT_NE(std::string(error.what()).find("cannot start a thread"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace penstock::piece_encoder_test

// SPDX-License-Identifier: Apache-2.0
#pragma once
// A SentencePiece model (tokenizer.model), by libsentencepiece.

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/byte_pair_encoder.hpp"

namespace penstock {

/// Never changes once it is made; threads share it.
class SentencePieceModel {
 public:
  /// `bytes` are those of the file. Throws InputError "<where>: ..." for what is no model.
  SentencePieceModel(std::string_view bytes, std::string_view where);
  ~SentencePieceModel();

  /// Appends the ids that SentencePieceProcessor::Encode gives. `goes_on`: the text is the right side of a cut.
  void encode(std::string_view text, bool goes_on, std::vector<TokenId>& ids) const;

  /// As Tokenizer::find_cut: before a single space between two letters or digits, where no piece goes across words
  /// and the library keeps that space.
  std::optional<std::size_t> find_cut(std::string_view bytes, std::size_t from) const;

  std::size_t vocabulary() const { return pieces_.size(); }
  std::optional<TokenId> begin_of_text() const;
  std::optional<TokenId> end_of_text() const;

  /// The bytes of a piece. `at_start`: no text has been decoded yet; set to false once some has been.
  std::string bytes_of(TokenId id, bool& at_start) const;
  bool is_control(TokenId id) const;

 private:
  enum class Kind : unsigned char { text, unknown, control, byte };
  struct Piece {
    std::string text;  // spaces are spaces
    Kind kind = Kind::text;
  };
  struct Library;

  void read_pieces();
  void learn_spaces();
  bool ids_survive_a_cut() const;

  std::unique_ptr<Library> library_;
  std::vector<Piece> pieces_;     // [id]
  bool words_apart_ = true;       // no piece holds a space after another character
  bool cuttable_ = false;         // before a space between two words
  bool adds_space_ = false;       // a text is taken as if it began with a space
  bool drops_one_space_ = false;  // decoding leaves out the one that a text begins with
  bool drops_all_spaces_ = false;
};

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/sentence_piece_model.hpp"

#include <sentencepiece_processor.h>

#include <algorithm>

#include "base/error.hpp"

namespace penstock {
namespace {

constexpr std::string_view space_symbol = "\xe2\x96\x81";  // U+2581

std::string with_spaces(std::string_view piece) {
  std::string text;
  for (std::size_t at = 0; at < piece.size();) {
    const std::size_t symbol = std::min(piece.find(space_symbol, at), piece.size());
    text.append(piece.substr(at, symbol - at));
    if (symbol < piece.size()) text.push_back(' ');
    at = symbol + space_symbol.size();
  }
  return text;
}

bool space_after_another(std::string_view text) {
  const std::size_t other = text.find_first_not_of(' ');
  return other != std::string_view::npos && text.find(' ', other) != std::string_view::npos;
}

bool is_letter_or_digit(char byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9');
}

}  // namespace

struct SentencePieceModel::Library {
  sentencepiece::SentencePieceProcessor processor;
};

SentencePieceModel::SentencePieceModel(std::string_view bytes, std::string_view where)
    : library_(std::make_unique<Library>()) {
  const auto status = library_->processor.LoadFromSerializedProto(bytes);
  if (!status.ok())
    throw_input_error(
        "{}: is no SentencePiece model ({}); name a tokenizer.json or a tokenizer.model, or the folder of one", where,
        status.ToString());
  if (library_->processor.GetPieceSize() == 0)
    throw_input_error("{}: is a SentencePiece model without pieces; take the tokenizer.model of the model's folder",
                      where);
  read_pieces();
  learn_spaces();
  cuttable_ = words_apart_ && ids_survive_a_cut();
}

SentencePieceModel::~SentencePieceModel() = default;

void SentencePieceModel::read_pieces() {
  const auto& processor = library_->processor;
  for (int id = 0; id < processor.GetPieceSize(); ++id) {
    Piece piece;
    if (processor.IsControl(id)) {
      piece.kind = Kind::control;
    } else if (processor.IsUnknown(id)) {
      piece.kind = Kind::unknown;
      // The model's own text for it, which only decoding reveals.
      std::string surface;
      if (processor.Decode(std::vector<int>{id}, &surface).ok()) piece.text = surface;
    } else if (processor.IsByte(id)) {
      piece.kind = Kind::byte;
      const std::string& name = processor.IdToPiece(id);  // <0x0A>
      piece.text = std::string(1, static_cast<char>(std::stoi(name.substr(3, 2), nullptr, 16)));
    } else {
      piece.text = with_spaces(processor.IdToPiece(id));
      words_apart_ = words_apart_ && !space_after_another(piece.text);
    }
    pieces_.push_back(std::move(piece));
  }
}

// The library does not expose these options of a model; its results for small texts show them.
void SentencePieceModel::learn_spaces() {
  const auto& processor = library_->processor;
  std::vector<std::string> pieces;
  if (processor.Encode("a", &pieces).ok() && !pieces.empty()) adds_space_ = pieces.front().starts_with(space_symbol);
  for (std::size_t id = 0; id < pieces_.size(); ++id) {
    const Piece& piece = pieces_[id];
    if (piece.kind != Kind::text || piece.text.size() < 2 || piece.text[0] != ' ' || piece.text[1] == ' ') continue;
    std::string text;
    if (!processor.Decode(std::vector<int>{static_cast<int>(id)}, &text).ok()) continue;
    drops_one_space_ = !text.starts_with(' ');
    break;
  }
  const int space = processor.PieceToId(space_symbol);
  std::string two;
  if (drops_one_space_ && !processor.IsUnknown(space) && processor.Decode(std::vector<int>{space, space}, &two).ok())
    drops_all_spaces_ = two.empty();
}

// Not where the library strips the space that the right side begins with and puts none in its place.
bool SentencePieceModel::ids_survive_a_cut() const {
  constexpr std::string_view text = "a b";
  std::vector<TokenId> whole, parts;
  encode(text, false, whole);
  encode(text.substr(0, 1), false, parts);
  encode(text.substr(1), true, parts);
  return whole == parts;
}

void SentencePieceModel::encode(std::string_view text, bool goes_on, std::vector<TokenId>& ids) const {
  if (goes_on && adds_space_ && text.starts_with(' ')) text.remove_prefix(1);  // the library adds it again
  std::vector<int> found;
  const auto status = library_->processor.Encode(text, &found);
  if (!status.ok()) throw SystemError(fmt::format("SentencePiece cannot encode a text: {}", status.ToString()));
  ids.insert(ids.end(), found.begin(), found.end());
}

std::optional<std::size_t> SentencePieceModel::find_cut(std::string_view bytes, std::size_t from) const {
  if (!cuttable_) return std::nullopt;
  for (std::size_t at = std::max<std::size_t>(from, 1); at + 1 < bytes.size(); ++at)
    if (bytes[at] == ' ' && is_letter_or_digit(bytes[at - 1]) && is_letter_or_digit(bytes[at + 1])) return at;
  return std::nullopt;
}

std::optional<TokenId> SentencePieceModel::begin_of_text() const {
  const int id = library_->processor.bos_id();
  return id < 0 ? std::nullopt : std::optional<TokenId>(id);
}

std::optional<TokenId> SentencePieceModel::end_of_text() const {
  const int id = library_->processor.eos_id();
  return id < 0 ? std::nullopt : std::optional<TokenId>(id);
}

bool SentencePieceModel::is_control(TokenId id) const {
  return pieces_[static_cast<std::size_t>(id)].kind == Kind::control;
}

std::string SentencePieceModel::bytes_of(TokenId id, bool& at_start) const {
  const Piece& piece = pieces_[static_cast<std::size_t>(id)];
  if (piece.kind == Kind::control) return "";
  std::string text = piece.text;
  if (at_start && piece.kind == Kind::text && drops_one_space_ && text.starts_with(' ')) {
    text.erase(0, 1);
    at_start = drops_all_spaces_ && text.empty();
    return text;
  }
  at_start = at_start && text.empty();
  return text;
}

}  // namespace penstock

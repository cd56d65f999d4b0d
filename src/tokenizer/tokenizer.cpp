// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/tokenizer.hpp"

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/file_descriptor.hpp"
#include "base/random.hpp"
#include "tokenizer/byte_level_tokenizer.hpp"
#include "tokenizer/sentence_piece_model.hpp"

namespace penstock {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view name_a_tokenizer =
    "name a tokenizer.json, a tokenizer.model of SentencePiece, or the folder of one";
constexpr std::uint64_t largest_tokenizer = std::uint64_t{1} << 30;

fs::path tokenizer_file(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) return path;
  for (const char* name : {"tokenizer.json", "tokenizer.model"})
    if (fs::exists(path / name, ignored)) return path / name;
  if (fs::exists(path / "vocab.json", ignored) && fs::exists(path / "merges.txt", ignored))
    throw_input_error(
        "{}: has vocab.json and merges.txt and no tokenizer.json, and those do not say how text is cut; save "
        "the tokenizer again with the tokenizers library",
        path.string());
  throw_input_error("{}: holds no tokenizer.json and no tokenizer.model; {}", path.string(), name_a_tokenizer);
}

std::string content_of(const fs::path& path) {
  std::error_code ignored;  // of what is missing or closed to this user, open_to_read says more
  if (fs::is_other(path, ignored)) throw_input_error("{}: is a pipe or a device; {}", path.string(), name_a_tokenizer);
  FileDescriptor file = FileDescriptor::open_to_read(path, name_a_tokenizer);
  const std::uint64_t size = file.size_in_bytes();
  if (size > largest_tokenizer)
    throw_input_error("{}: has {} bytes, and no tokenizer has more than {}; {}", path.string(), size, largest_tokenizer,
                      name_a_tokenizer);
  std::string content(size, '\0');
  content.resize(file.read_at(0, std::as_writable_bytes(std::span(content))));
  if (content.empty()) throw_input_error("{}: is empty; {}", path.string(), name_a_tokenizer);
  return content;
}

// A SentencePiece model begins with a line feed and the length of its first piece, a few bytes.
bool is_json(const fs::path& path, std::string_view content) {
  constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
  const std::size_t first = content.find_first_not_of(" \t\r\n");
  return path.extension() == ".json" || content.starts_with(byte_order_mark) ||
         (first != std::string_view::npos && (content[first] == '{' || content[first] == '['));
}

/// What a tokenizer_config.json says of the token; none where it is not there, or says nothing.
std::optional<std::string> configured_end_of_text(const fs::path& config) {
  std::error_code ignored;
  if (!fs::exists(config, ignored)) return std::nullopt;
  const nlohmann::json json = nlohmann::json::parse(content_of(config), nullptr, false);
  if (!json.is_object())
    throw_input_error("{}: is no JSON object, and it may name the end-of-text token; copy it again, or remove it",
                      config.string());
  const nlohmann::json token = json.value("eos_token", nlohmann::json());
  if (token.is_string()) return token.get<std::string>();
  if (token.is_object() && token.contains("content") && token["content"].is_string())
    return token["content"].get<std::string>();
  return std::nullopt;
}

std::optional<TokenId> usual_end_of_text(const ByteLevelTokenizer& tokenizer) {
  std::optional<TokenId> found;
  for (const char* name : {"<|endoftext|>", "<|end_of_text|>", "</s>"}) {
    const auto id = tokenizer.id_of_special(name);
    if (id && found) return std::nullopt;
    if (id) found = id;
  }
  return found;
}

}  // namespace

Tokenizer Tokenizer::load(const fs::path& file_or_folder) {
  Tokenizer tokenizer;
  tokenizer.path_ = tokenizer_file(file_or_folder);
  const std::string content = content_of(tokenizer.path_);
  tokenizer.digest_ = hash_text(content);
  const std::string where = tokenizer.path_.string();
  if (is_json(tokenizer.path_, content)) {
    tokenizer.byte_level_ = std::make_shared<const ByteLevelTokenizer>(parse_tokenizer_json(content, where));
  } else {
    tokenizer.pieces_ = std::make_shared<const SentencePieceModel>(content, where);
  }
  return tokenizer;
}

std::size_t Tokenizer::vocabulary() const { return byte_level_ ? byte_level_->vocabulary() : pieces_->vocabulary(); }

TextLosses Tokenizer::encode(std::string_view text, bool goes_on, std::vector<TokenId>& ids,
                             EncoderScratch& scratch) const {
  RepairedText mended;
  if (first_broken_byte(text) < text.size()) {
    mended = repaired(text);
    text = mended.text;
  }
  const std::uint64_t left_out_before = scratch.bytes_without_token();
  if (byte_level_) {
    byte_level_->encode(text, ids, scratch);
  } else {
    pieces_->encode(text, goes_on, ids);
  }
  return {mended.broken_parts, scratch.bytes_without_token() - left_out_before};
}

std::vector<TokenId> Tokenizer::encode(std::string_view text) const {
  std::vector<TokenId> ids;
  EncoderScratch scratch;
  encode(text, false, ids, scratch);
  return ids;
}

std::optional<std::size_t> Tokenizer::find_cut(std::string_view bytes, std::size_t from, bool complete) const {
  return byte_level_ ? byte_level_->find_cut(bytes, from, complete) : pieces_->find_cut(bytes, from);
}

std::vector<TokenId> Tokenizer::before() const {
  if (byte_level_) return byte_level_->before();
  const auto begin = pieces_->begin_of_text();
  return begin ? std::vector<TokenId>{*begin} : std::vector<TokenId>{};
}

std::vector<TokenId> Tokenizer::after() const { return byte_level_ ? byte_level_->after() : std::vector<TokenId>{}; }

std::optional<TokenId> Tokenizer::end_of_text() const {
  if (!byte_level_) return pieces_->end_of_text();
  const fs::path config = path_.parent_path() / "tokenizer_config.json";
  const auto name = configured_end_of_text(config);
  if (!name) return usual_end_of_text(*byte_level_);
  if (const auto id = byte_level_->id_of_special(*name)) return id;
  throw_input_error("{}: its eos_token, {}, is no special token of {}; take both files from one model", config.string(),
                    *name, path_.string());
}

std::string Tokenizer::decode(std::span<const TokenId> ids, SpecialTokens special) const {
  TokenStream stream(*this, special);
  std::string text;
  for (const TokenId id : ids) text += stream.add(id);
  return text += stream.finish();
}

TokenStream::TokenStream(Tokenizer tokenizer, SpecialTokens special)
    : tokenizer_(std::move(tokenizer)),
      special_(special),
      text_(tokenizer_.pieces_ ? Utf8Stream::Broken::one_for_a_byte : Utf8Stream::Broken::one_for_a_part) {}

std::string TokenStream::add(TokenId id) {
  const std::string* bytes = tokenizer_.byte_level_ ? tokenizer_.byte_level_->bytes_of(id) : nullptr;
  const bool is_piece =
      tokenizer_.pieces_ && id >= 0 && static_cast<std::size_t>(id) < tokenizer_.pieces_->vocabulary();
  if (!bytes && !is_piece)
    throw_input_error("{}: has no token {}; its ids lie below {}: are these ids of another tokenizer?",
                      tokenizer_.path_.string(), id, tokenizer_.vocabulary());
  if (is_piece) return text_.add(tokenizer_.pieces_->bytes_of(id, at_start_));
  if (special_ == SpecialTokens::leave_out && tokenizer_.byte_level_->is_special(id)) return "";
  return text_.add(*bytes);
}

}  // namespace penstock

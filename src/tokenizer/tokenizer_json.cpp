// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/tokenizer_json.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "base/error.hpp"
#include "base/json_object.hpp"
#include "tokenizer/nfc.hpp"
#include "tokenizer/utf8.hpp"

namespace penstock {
namespace {

using Json = nlohmann::json;

constexpr std::string_view tokenizer_cure =
    "Penstock reads the byte-level BPE of GPT-2, Llama-3, Qwen2 and their like; save the tokenizer again with the "
    "tokenizers library, name a SentencePiece tokenizer.model, or make the token file with another program";
constexpr std::int64_t most_tokens = std::int64_t{1} << 22;

/// A value of the file and its path: "model.merges[3]".
class Node {
 public:
  Node(const Json& value, std::string way, std::string_view file) : value_(&value), way_(std::move(way)), file_(file) {}

  template <typename... Arguments>
  [[noreturn]] void refuse(fmt::format_string<Arguments...> what, Arguments&&... arguments) const {
    throw_input_error("{}: {} {}; {}", file_, way_.empty() ? "the file" : way_,
                      fmt::format(what, std::forward<Arguments>(arguments)...), tokenizer_cure);
  }

  const Json& json() const { return *value_; }
  std::string_view file() const { return file_; }
  const std::string& way() const { return way_; }
  bool is_null() const { return value_->is_null(); }

  /// An object with these keys and no others. Keys that may be missing begin with '?'.
  void expect_keys(std::initializer_list<std::string_view> keys) const {
    if (!value_->is_object()) refuse("is {}, and must be an object", shown(*value_));
    for (std::string_view key : keys)
      if (key.front() != '?' && !value_->contains(std::string(key))) refuse("has no \"{}\"", key);
    for (const auto& entry : value_->items()) {
      const bool known = std::any_of(keys.begin(), keys.end(), [&](std::string_view key) {
        return (key.front() == '?' ? key.substr(1) : key) == entry.key();
      });
      if (!known) refuse("has \"{}\" = {}, whose meaning is not known", entry.key(), shown(entry.value()));
    }
  }
  /// Null where it is missing.
  Node at(const std::string& key) const {
    static const Json missing;
    const auto found = value_->find(key);
    return {found == value_->end() ? missing : *found, way_.empty() ? key : way_ + "." + key, file_};
  }
  Node at(std::size_t index) const { return {(*value_)[index], fmt::format("{}[{}]", way_, index), file_}; }
  std::size_t list_size() const {
    if (!value_->is_array()) refuse("is {}, and must be a list", shown(*value_));
    return value_->size();
  }
  const std::string& text() const {
    if (!value_->is_string()) refuse("is {}, and must be a text", shown(*value_));
    return value_->get_ref<const std::string&>();
  }
  bool flag(bool if_missing) const {
    if (is_null()) return if_missing;
    if (!value_->is_boolean()) refuse("is {}, and must be true or false", shown(*value_));
    return value_->get<bool>();
  }
  TokenId id() const {
    const bool whole =
        value_->is_number_integer() &&
        (!value_->is_number_unsigned() || value_->get<std::uint64_t>() < static_cast<std::uint64_t>(most_tokens));
    const std::int64_t id = whole ? value_->get<std::int64_t>() : -1;
    if (id < 0 || id >= most_tokens)
      refuse("is {}, and must be an id: a whole number from 0 to {}", shown(*value_), most_tokens - 1);
    return static_cast<TokenId>(id);
  }
  const std::string& type() const {
    if (!value_->is_object()) refuse("is {}, and must be an object with a \"type\"", shown(*value_));
    return at("type").text();
  }
  /// The value changes nothing: null, or one of these.
  void expect_neutral(std::initializer_list<Json> neutral) const {
    if (is_null() || std::find(neutral.begin(), neutral.end(), *value_) != neutral.end()) return;
    refuse("is {}, which Penstock does not do", shown(*value_));
  }

 private:
  const Json* value_;
  std::string way_;
  std::string_view file_;
};

/// The ids of the model's tokens and of those that are added.
class Vocabulary {
 public:
  explicit Vocabulary(TokenizerJson& result) : result_(&result) {}

  void read(const Node& vocabulary) {
    if (!vocabulary.json().is_object()) vocabulary.refuse("is {}, and must be an object", shown(vocabulary.json()));
    if (vocabulary.json().empty()) vocabulary.refuse("is empty");
    ids_.reserve(2 * vocabulary.json().size());
    for (const auto& entry : vocabulary.json().items()) {
      if (put_good(entry.key(), entry.value())) continue;
      const Node token(entry.value(), fmt::format("{}[\"{}\"]", vocabulary.way(), entry.key()), vocabulary.file());
      if (entry.key().empty()) token.refuse("is a token without text");
      put(token, token.id(), entry.key());
    }
    model_size_ = ids_.size();
    for (const std::string& token : result_->tokens) result_->of_model.push_back(!token.empty());
  }

  std::size_t model_size() const { return model_size_; }

  TokenId find(const Node& place, const std::string& token) const {
    const auto found = ids_.find(token);
    if (found == ids_.end()) place.refuse("names the token \"{}\", which model.vocab lacks", token);
    return found->second;
  }
  /// False if something is wrong. Paths are written out only for messages, because there are very many tokens and
  /// nearly all are right.
  bool put_good(const std::string& token, const Json& id) {
    if (token.empty() || !id.is_number_unsigned() || id.get<std::uint64_t>() >= static_cast<std::uint64_t>(most_tokens))
      return false;
    const auto index = id.get<std::size_t>();
    auto& tokens = result_->tokens;
    if (index >= tokens.size()) tokens.resize(index + 1);
    if (!tokens[index].empty()) return false;
    tokens[index] = token;
    ids_.emplace(token, static_cast<TokenId>(index));
    return true;
  }

  /// -1: none.
  TokenId find(const std::string& token) const {
    const auto found = ids_.find(token);
    return found == ids_.end() ? -1 : found->second;
  }

  void put(const Node& place, TokenId id, const std::string& token) {
    auto& tokens = result_->tokens;
    const auto index = static_cast<std::size_t>(id);
    if (index >= tokens.size()) tokens.resize(index + 1);
    if (!tokens[index].empty()) place.refuse("has the id {} of \"{}\"", id, tokens[index]);
    tokens[index] = token;
    ids_.emplace(token, id);
  }

 private:
  TokenizerJson* result_;
  std::unordered_map<std::string, TokenId> ids_;
  std::size_t model_size_ = 0;
};

/// Whether a byte has no token. Many vocabularies lack those that no UTF-8 holds, and some a few more.
bool lacks_bytes(const TokenizerJson& result) {
  std::array<bool, 256> present{};
  for (const std::string& token : result.tokens)
    if (!token.empty())
      if (const CodePoint point = code_point_at(token.data()); point.bytes == token.size())
        if (const int byte = byte_of_character(point.value); byte >= 0) present[static_cast<std::size_t>(byte)] = true;
  return std::find(present.begin(), present.end(), false) != present.end();
}

std::pair<std::string, std::string> halves_of(const Node& merges, std::size_t index) {
  const Json& json = merges.json()[index];
  if (json.is_array()) {
    if (json.size() != 2) merges.at(index).refuse("is {}, and must be a pair of tokens", shown(json));
    if (json[0].is_string() && json[1].is_string()) return {json[0].get<std::string>(), json[1].get<std::string>()};
    return {merges.at(index).at(std::size_t{0}).text(), merges.at(index).at(std::size_t{1}).text()};
  }
  const std::string& text = json.is_string() ? json.get_ref<const std::string&>() : merges.at(index).text();
  const std::size_t space = text.find(' ');
  if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos)
    merges.at(index).refuse("is {}, and must be two tokens with one space between", shown(json));
  return {text.substr(0, space), text.substr(space + 1)};
}

void read_merges(const Node& merges, const Vocabulary& vocabulary, TokenizerJson& result) {
  std::unordered_set<std::uint64_t> seen(2 * merges.list_size());
  result.merges.reserve(merges.list_size());
  for (std::size_t i = 0; i < merges.list_size(); ++i) {
    const Json& json = merges.json()[i];
    if (json.is_string() && json.get_ref<const std::string&>().starts_with("#version"))
      continue;  // tokenizers leaves it out, too
    const auto [left, right] = halves_of(merges, i);
    MergeRule rule{vocabulary.find(left), vocabulary.find(right), vocabulary.find(left + right)};
    if (rule.left < 0 || rule.right < 0 || rule.merged < 0)
      for (const std::string& token : {left, right, left + right}) vocabulary.find(merges.at(i), token);
    const std::uint64_t key =
        std::uint64_t{static_cast<std::uint32_t>(rule.left)} << 32 | static_cast<std::uint32_t>(rule.right);
    if (!seen.insert(key).second) merges.at(i).refuse("merges \"{}\" and \"{}\" a second time", left, right);
    result.merges.push_back(rule);
  }
}

void read_model(const Node& model, Vocabulary& vocabulary, TokenizerJson& result) {
  if (!model.json().is_object()) model.refuse("is {}, and must be an object", shown(model.json()));
  // Old files have no type; the library tries one model after the other then.
  if (!model.at("type").is_null() && model.type() != "BPE")
    model.at("type").refuse("is \"{}\", and must be \"BPE\"", model.type());
  model.expect_keys({"?type", "?dropout", "?unk_token", "?continuing_subword_prefix", "?end_of_word_suffix",
                     "?fuse_unk", "?byte_fallback", "?ignore_merges", "vocab", "merges"});
  model.at("dropout").expect_neutral({0, 0.0});
  model.at("continuing_subword_prefix").expect_neutral({""});
  model.at("end_of_word_suffix").expect_neutral({""});
  model.at("byte_fallback").expect_neutral({false});
  result.ignore_merges = model.at("ignore_merges").flag(false);
  vocabulary.read(model.at("vocab"));
  const bool fuses = model.at("fuse_unk").flag(false);
  if (const Node unknown = model.at("unk_token"); !unknown.is_null()) {
    result.unknown = vocabulary.find(unknown, unknown.text());
    if (fuses && lacks_bytes(result))
      unknown.refuse("and fuse_unk: unknown bytes would become one token, which Penstock does not do");
  }
  read_merges(model.at("merges"), vocabulary, result);
}

// The library gives an added token the id of its text in the vocabulary, or else the next free id. The file must state
// the same id.
void read_added_tokens(const Node& list, Vocabulary& vocabulary, TokenizerJson& result) {
  if (list.is_null()) return;
  auto next = static_cast<TokenId>(vocabulary.model_size());
  std::unordered_set<std::string> seen;
  for (std::size_t i = 0; i < list.list_size(); ++i) {
    const Node node = list.at(i);
    node.expect_keys({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
    AddedToken token{.id = node.at("id").id(), .content = node.at("content").text()};
    if (token.content.empty()) node.at("content").refuse("is empty");
    if (token.content.size() > longest_added_token)
      node.at("content").refuse("has {} bytes, and an added token has at most {}", token.content.size(),
                                longest_added_token);
    if (!seen.insert(token.content).second) node.at("content").refuse("comes a second time: \"{}\"", token.content);
    token.single_word = node.at("single_word").flag(false);
    token.lstrip = node.at("lstrip").flag(false);
    token.rstrip = node.at("rstrip").flag(false);
    token.normalized = node.at("normalized").flag(true);
    token.special = node.at("special").flag(false);
    const TokenId known = vocabulary.find(token.content);
    if (known >= 0 && known != token.id)
      node.at("id").refuse("is {}, and \"{}\" is the token {} of model.vocab", token.id, token.content, known);
    if (known < 0) {
      if (token.id != next)
        node.at("id").refuse("is {}, and tokenizers would number \"{}\" {}: ids follow those of model.vocab", token.id,
                             token.content, next);
      vocabulary.put(node.at("id"), token.id, token.content);
    }
    if (token.id >= next) next = token.id + 1;
    result.added.push_back(std::move(token));
  }
}

// Which of two such tokens the library finds changes from run to run: it looks for them in the order of a hash map.
void check_normalized_tokens(const Node& list, const TokenizerJson& result) {
  if (!result.nfc) return;
  const UnicodeTable table;
  std::unordered_map<std::string, std::size_t> seen;
  for (std::size_t i = 0; i < result.added.size(); ++i) {
    if (!result.added[i].normalized) continue;
    const auto [first, is_new] = seen.emplace(nfc(result.added[i].content, table), i);
    if (!is_new)
      list.at(i).at("content").refuse("is \"{}\", which NFC makes equal to added_tokens[{}], \"{}\"",
                                      result.added[i].content, first->second, result.added[first->second].content);
  }
}

void read_normalizer(const Node& node, TokenizerJson& result) {
  if (node.is_null()) return;
  const std::string& type = node.type();
  if (type == "NFC") {
    node.expect_keys({"type"});
    result.nfc = true;
  } else if (type == "Sequence") {
    node.expect_keys({"type", "normalizers"});
    const Node list = node.at("normalizers");
    for (std::size_t i = 0; i < list.list_size(); ++i) {
      if (list.at(i).type() == "Sequence") list.at(i).refuse("is a Sequence in a Sequence, which Penstock does not do");
      read_normalizer(list.at(i), result);
    }
  } else {
    node.refuse("is {}, which Penstock does not do (NFC, or none)", type);
  }
}

SplitStage split_stage(const Node& node) {
  node.expect_keys({"type", "pattern", "behavior", "?invert"});
  const Node pattern = node.at("pattern");
  if (!pattern.json().is_object() || pattern.json().size() != 1)
    pattern.refuse("is {}, and must be {{\"Regex\": ...}} or {{\"String\": ...}}", shown(pattern.json()));
  const std::string kind = pattern.json().begin().key();
  if (kind != "Regex" && kind != "String") pattern.refuse("is a {}, and must be a Regex or a String", kind);
  const std::string& expression = pattern.at(kind).text();
  if (expression.empty()) pattern.at(kind).refuse("is empty");
  const auto known = kind == "Regex" ? known_split_pattern(expression) : std::nullopt;
  const std::string& behavior = node.at("behavior").text();
  const bool invert = node.at("invert").flag(false);
  // The known patterns match the whole text, so removing what they do not match removes nothing.
  if (behavior != "Isolated" && !(behavior == "Removed" && invert && known))
    node.at("behavior")
        .refuse("is \"{}\" with invert = {}, which Penstock does not do (\"Isolated\")", behavior, invert);
  if (known) return *known;
  const std::string where = fmt::format("{}: {}", node.file(), pattern.way());
  return ExpressionSplit{kind == "Regex" ? RegularExpression(expression, where)
                                         : RegularExpression::literal(expression, where)};
}

/// Whether the stages end here: with ByteLevel.
bool read_pre_tokenizer(const Node& node, TokenizerJson& result) {
  const std::string& type = node.type();
  if (type == "ByteLevel") {
    node.expect_keys({"type", "?add_prefix_space", "?trim_offsets", "?use_regex"});
    node.at("trim_offsets").flag(true);
    if (node.at("add_prefix_space").flag(true))
      node.at("add_prefix_space")
          .refuse("is true: texts would begin with a space that they do not have, which Penstock does not do");
    if (node.at("use_regex").flag(true)) result.stages.emplace_back(SplitPattern::gpt2);
    return true;
  }
  if (type == "Digits") {
    node.expect_keys({"type", "?individual_digits"});
    result.stages.emplace_back(DigitSplit{node.at("individual_digits").flag(false)});
    return false;
  }
  if (type == "Split") {
    result.stages.push_back(split_stage(node));
    return false;
  }
  node.refuse("is {}, which Penstock does not do (Sequence, Split, Digits, ByteLevel)", type);
}

void read_pre_tokenizers(const Node& node, TokenizerJson& result) {
  if (node.is_null()) node.refuse("is missing; a byte-level tokenizer has ByteLevel there");
  bool ended = false;
  if (node.type() == "Sequence") {
    node.expect_keys({"type", "pretokenizers"});
    const Node list = node.at("pretokenizers");
    for (std::size_t i = 0; i < list.list_size(); ++i) {
      if (ended) list.at(i).refuse("comes after ByteLevel, which must be the last");
      ended = read_pre_tokenizer(list.at(i), result);
    }
  } else {
    ended = read_pre_tokenizer(node, result);
  }
  if (!ended) node.refuse("does not end with ByteLevel; only byte-level tokenizers are read");
}

/// The ids of a template's special token.
std::vector<TokenId> special_ids(const Node& node, const std::string& name, const TokenizerJson& result) {
  const Node token = node.at("special_tokens").at(name);
  token.expect_keys({"id", "ids", "tokens"});
  std::vector<TokenId> ids;
  for (std::size_t i = 0; i < token.at("ids").list_size(); ++i) {
    const Node id = token.at("ids").at(i);
    ids.push_back(id.id());
    const auto index = static_cast<std::size_t>(ids.back());
    if (index >= result.tokens.size() || result.tokens[index].empty())
      id.refuse("is {}, the id of no token", ids.back());
  }
  return ids;
}

void read_template(const Node& node, TokenizerJson& result) {
  node.expect_keys({"type", "single", "?pair", "special_tokens"});
  if (!node.at("special_tokens").json().is_object()) node.at("special_tokens").refuse("is no object");
  const Node single = node.at("single");
  bool text_came = false;
  for (std::size_t i = 0; i < single.list_size(); ++i) {
    const Node part = single.at(i);
    part.expect_keys({"?SpecialToken", "?Sequence"});
    if (part.json().size() != 1) part.refuse("is no template of a text and tokens around it");
    const bool is_text = part.json().contains("Sequence");
    const Node inner = part.at(is_text ? "Sequence" : "SpecialToken");
    inner.expect_keys({"id", "?type_id"});
    const std::string& id = inner.at("id").text();
    if (is_text) {
      if (text_came || id != "A") part.refuse("is a second text; a template of one text adds tokens around it");
      text_came = true;
    } else {
      std::vector<TokenId>& side = text_came ? result.after : result.before;
      for (const TokenId token : special_ids(node, id, result)) side.push_back(token);
    }
  }
  if (!text_came) single.refuse("is a template without the text");
}

void read_post_processor(const Node& node, TokenizerJson& result, bool inside = false) {
  if (node.is_null()) return;
  const std::string& type = node.type();
  if (type == "ByteLevel") {
    node.expect_keys({"type", "?add_prefix_space", "?trim_offsets", "?use_regex"});  // all about offsets
  } else if (type == "TemplateProcessing") {
    if (!result.before.empty() || !result.after.empty())
      node.refuse("is a second template, which Penstock does not do");
    read_template(node, result);
  } else if (type == "Sequence" && !inside) {
    node.expect_keys({"type", "processors"});
    const Node list = node.at("processors");
    for (std::size_t i = 0; i < list.list_size(); ++i) read_post_processor(list.at(i), result, true);
  } else {
    node.refuse("is {}, which Penstock does not do (ByteLevel, TemplateProcessing, a Sequence of them)", type);
  }
}

void check_decoder(const Node& node) {
  if (node.is_null()) node.refuse("is missing; a byte-level tokenizer has ByteLevel there");
  if (node.type() == "Sequence") {
    node.expect_keys({"type", "decoders"});
    const Node list = node.at("decoders");
    if (list.list_size() != 1 || list.at(std::size_t{0}).type() == "Sequence") list.refuse("is no single ByteLevel");
    return check_decoder(list.at(std::size_t{0}));
  }
  if (node.type() != "ByteLevel") node.refuse("is {}, which Penstock does not do (ByteLevel)", node.type());
  node.expect_keys({"type", "?add_prefix_space", "?trim_offsets", "?use_regex"});  // not used when decoding
}

struct ByteCharacters {
  std::array<char32_t, 256> of_byte{};
  std::array<int, 512> of_character{};
};

constexpr ByteCharacters byte_characters = [] {
  ByteCharacters table;
  table.of_character.fill(-1);
  char32_t moved = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
    const char32_t character = printable ? static_cast<char32_t>(byte) : moved++;
    table.of_byte[static_cast<std::size_t>(byte)] = character;
    table.of_character[character] = byte;
  }
  return table;
}();

}  // namespace

int byte_of_character(char32_t character) {
  return character < byte_characters.of_character.size() ? byte_characters.of_character[character] : -1;
}

std::string bytes_of_token(std::string_view token) {
  std::string bytes;
  for (std::size_t at = 0; at < token.size();) {
    const CodePoint point = code_point_at(token.data() + at);
    const int byte = byte_of_character(point.value);
    if (byte < 0) return std::string(token);
    bytes.push_back(static_cast<char>(byte));
    at += point.bytes;
  }
  return bytes;
}

TokenizerJson parse_tokenizer_json(std::string_view text, std::string_view where) {
  const Json json = parse_json_object(text, where, tokenizer_cure);
  const Node file(json, "", where);
  file.expect_keys({"?version", "?truncation", "?padding", "?added_tokens", "?normalizer", "pre_tokenizer",
                    "?post_processor", "decoder", "model"});
  file.at("version").expect_neutral({"1.0"});
  file.at("truncation").expect_neutral({});
  file.at("padding").expect_neutral({});
  TokenizerJson result;
  Vocabulary vocabulary(result);
  read_model(file.at("model"), vocabulary, result);
  read_added_tokens(file.at("added_tokens"), vocabulary, result);
  read_normalizer(file.at("normalizer"), result);
  check_normalized_tokens(file.at("added_tokens"), result);
  read_pre_tokenizers(file.at("pre_tokenizer"), result);
  read_post_processor(file.at("post_processor"), result);
  check_decoder(file.at("decoder"));
  return result;
}

}  // namespace penstock

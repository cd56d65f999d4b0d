// SPDX-License-Identifier: Apache-2.0
#include "plan/data_identity.hpp"

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "data/token_file_digest.hpp"
#include "data/token_file_table.hpp"

namespace penstock {

DataSource identify(const std::filesystem::path& token_file, const TokenFileHeader& header) {
  return {
      .tokens = header.tokens, .digest = token_file_digest(token_file), .tokenizer = tokenizer_of(token_file, header)};
}

std::string tokenizer_of(const std::filesystem::path& token_file, const TokenFileHeader& header) {
  constexpr std::uint64_t different_bytes = 256;
  if (const auto tokenizer = read_token_table(token_file, header).tokenizer) return digest_text(*tokenizer);
  return header.vocabulary <= different_bytes ? "bytes" : std::string(unknown_tokenizer);
}

bool are_different_tokenizers(std::string_view one, std::string_view other) {
  return one != other && one != unknown_tokenizer && other != unknown_tokenizer;
}

void ensure_one_tokenizer(const std::filesystem::path& train, const TokenFileHeader& train_header,
                          const std::filesystem::path& validation, const TokenFileHeader& validation_header) {
  const std::string one = tokenizer_of(train, train_header), other = tokenizer_of(validation, validation_header);
  if (are_different_tokenizers(one, other))
    throw_input_error(
        "data.train = {} and data.validation = {} were made with different tokenizers ({} and {}): a number means "
        "another "
        "token in each; make both with one, `penstock tokenize --tokenizer FILE`",
        train.string(), validation.string(), one, other);
}

void ensure_all_tokens_count(const std::filesystem::path& token_file, const TokenFileHeader& header) {
  if (read_token_table(token_file, header).mask)
    throw_input_error(
        "{}: has a mask of counted tokens (it was made of prompts and completions), and training counts all tokens in "
        "the loss: it does not read the mask yet; make the file of whole texts, as in `penstock tokenize --field text`",
        token_file.string());
}

std::string json_of(const DataIdentity& data) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const DataSource& source : data)
    json.push_back({{"tokens", source.tokens},
                    {"digest", source.digest},
                    {"tokenizer", source.tokenizer},
                    {"weight", source.weight}});
  return json.dump();
}

DataIdentity parse_data_identity(const std::string& json, const std::string& where) try {
  const nlohmann::json list = nlohmann::json::parse(json);
  DataIdentity data;
  for (const nlohmann::json& entry : list.get_ref<const nlohmann::json::array_t&>())
    data.push_back({.tokens = entry.at("tokens").get_ref<const nlohmann::json::number_unsigned_t&>(),
                    .digest = entry.at("digest").get<std::string>(),
                    .tokenizer = entry.at("tokenizer").get<std::string>(),
                    .weight = entry.at("weight").get<double>()});
  return data;
} catch (const nlohmann::json::exception& error) {
  throw_input_error(
      "{} is not a list of token files that this program can read ({}); use the Penstock that wrote the checkpoint, or "
      "another checkpoint",
      where, error.what());
}

std::string text_of(const DataIdentity& data) {
  std::string text;
  for (const DataSource& source : data)
    text += fmt::format("{}{} tokens ({}{}{})", text.empty() ? "" : " and ", source.tokens, source.digest,
                        source.tokenizer == "bytes" ? "" : ", tokenizer " + source.tokenizer,
                        source.weight == 1 ? "" : fmt::format(", weight {:g}", source.weight));
  return text;
}

}  // namespace penstock

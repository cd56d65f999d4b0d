// SPDX-License-Identifier: Apache-2.0
#include "plan/data_identity.hpp"

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "data/token_file_digest.hpp"

namespace penstock {

DataSource identify(const std::filesystem::path& token_file, const TokenFileHeader& header) {
  return {.tokens = header.tokens, .digest = token_file_digest(token_file)};
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

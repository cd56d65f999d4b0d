// SPDX-License-Identifier: Apache-2.0
// Mistral (Jiang et al., arXiv 2310.06825): Llama with a sliding window.

#include <algorithm>

#include "model/families/llama.hpp"

namespace penstock {

namespace {

ModelDescription describe_mistral(const ModelConfig& config) {
  return describe_llama(config, {.window = config.window});
}

constexpr auto mistral_keys = llama_keys_and("model.window");
constexpr auto mistral_function_keys = [] {
  std::array<std::string_view, llama_function_keys.size() + 1> keys{};
  std::copy(llama_function_keys.begin(), llama_function_keys.end(), keys.begin());
  keys.back() = "model.window";
  return keys;
}();

}  // namespace

const Family mistral_family{
    .name = "mistral", .describe = describe_mistral, .keys_of_function = mistral_function_keys, .keys = mistral_keys};

}  // namespace penstock

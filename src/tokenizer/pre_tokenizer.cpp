// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/pre_tokenizer.hpp"

#include <algorithm>

namespace penstock {

bool PreTokenizer::ends_words_after_letters() const {
  const auto is = [](auto test) { return [test](const SplitStage& stage) { return test(stage); }; };
  return std::none_of(stages_.begin(), stages_.end(),
                      is([](const SplitStage& stage) { return std::holds_alternative<ExpressionSplit>(stage); })) &&
         std::any_of(stages_.begin(), stages_.end(),
                     is([](const SplitStage& stage) { return std::holds_alternative<SplitPattern>(stage); }));
}

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#include "plan/data_identity.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"

namespace penstock::data_identity_test {
namespace {

TEST(DataIdentity, SurvivesItsText) {
  const DataIdentity data{{.tokens = 20000, .digest = "fnv1a64-0123456789abcdef"},
                          {.tokens = 1ULL << 62, .digest = "fnv1a64-2", .tokenizer = "gpt2", .weight = 0.25}};
  EXPECT_EQ(parse_data_identity(json_of(data), "step.h5"), data);
  EXPECT_EQ(json_of({data[0]}),
            R"([{"tokens":20000,"digest":"fnv1a64-0123456789abcdef","tokenizer":"bytes","weight":1.0}])");
  EXPECT_EQ(text_of({data[0]}), "20000 tokens (fnv1a64-0123456789abcdef)");
}

TEST(DataIdentity, FurtherKeysDoNotMatter) {
  EXPECT_EQ(
      parse_data_identity(R"([{"weight": 1, "tokens": 3, "digest": "x", "tokenizer": "bytes", "name": "a"}])", ""),
      (DataIdentity{{.tokens = 3, .digest = "x"}}));
}

TEST(DataIdentity, RefusesWhatIsNoListOfTokenFiles) {
  for (const char* text :
       {"", "[", "{}", "3", "[3]", "[{}]", R"([{"tokens": -1, "digest": "x", "tokenizer": "bytes", "weight": 1}])",
        R"([{"tokens": 1.5, "digest": "x", "tokenizer": "bytes", "weight": 1}])",
        R"([{"tokens": 1, "digest": 7, "tokenizer": "bytes", "weight": 1}])"})
    try {
      parse_data_identity(text, "step.h5: the attribute data");
      ADD_FAILURE() << text;
    } catch (const InputError& error) {
      EXPECT_EQ(std::string(error.what()).find("step.h5: the attribute data is not a list"), 0u) << error.what();
    }
}

}  // namespace
}  // namespace penstock::data_identity_test

// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"

#include <gtest/gtest.h>

namespace penstock::error_test {
namespace {

template <typename Error, typename Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Error, EnsureIsSilentWhereTheInvariantHolds) { EXPECT_NO_THROW(ensure(true, "never shown")); }

TEST(Error, EnsureNamesThePlaceOfTheCallAndTheInvariant) {
  const int line = __LINE__ + 1;
  const std::string message = message_of<LogicError>([] { ensure(false, "two is less than three"); });
  EXPECT_NE(message.find(fmt::format("tests/base/error_test.cpp:{}: ", line)), std::string::npos) << message;
  EXPECT_NE(message.find("two is less than three"), std::string::npos) << message;
}

TEST(Error, InputErrorsAreFormatted) {
  EXPECT_EQ(message_of<InputError>([] { throw_input_error("mesh.{} = {}: use 1 or more", "tensor", 0); }),
            "mesh.tensor = 0: use 1 or more");
}

TEST(Error, TheThreeKindsAreToldApart) {
  // Exit codes hang on the kind: what the user can mend must not be caught as what he cannot, nor the other way round.
  EXPECT_FALSE((std::is_base_of_v<InputError, SystemError>));
  EXPECT_FALSE((std::is_base_of_v<SystemError, InputError>));
  EXPECT_FALSE((std::is_base_of_v<std::runtime_error, LogicError>));
}

}  // namespace
}  // namespace penstock::error_test

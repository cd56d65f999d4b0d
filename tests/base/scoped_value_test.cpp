// SPDX-License-Identifier: Apache-2.0
#include "base/scoped_value.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

namespace penstock::scoped_value_test {
namespace {

TEST(ScopedValue, StandsAsLongAsItsScopeLasts) {
  int variable = 1;
  {
    const ScopedValue outer(variable, 2);
    EXPECT_EQ(variable, 2);
    {
      const ScopedValue inner(variable, 3);
      EXPECT_EQ(variable, 3);
    }
    EXPECT_EQ(variable, 2);
  }
  EXPECT_EQ(variable, 1);
}

TEST(ScopedValue, GoesWhenSomethingThrows) {
  const char* variable = nullptr;
  const auto act = [&] {
    const ScopedValue<const char*> scope(variable, "set");
    throw std::runtime_error("in the scope");
  };
  EXPECT_THROW(act(), std::runtime_error);
  EXPECT_EQ(variable, nullptr);
}

}  // namespace
}  // namespace penstock::scoped_value_test

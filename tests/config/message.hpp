// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the tests of config/ share: the message of an expected InputError.

#include <gtest/gtest.h>

#include <string>

#include "base/error.hpp"

namespace penstock {

/// The message of the InputError that `act` throws; a failure of the test when it throws none.
template <typename Act>
std::string message_of(Act act) {
  try {
    act();
  } catch (const InputError& error) {
    return error.what();
  }
  ADD_FAILURE() << "no InputError was thrown";
  return {};
}

inline void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "looked for: " << part << "\nin: " << text;
}

}  // namespace penstock

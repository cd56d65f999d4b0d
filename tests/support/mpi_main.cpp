// SPDX-License-Identifier: Apache-2.0
// main of tests that run under mpiexec: every rank runs all tests; a rank's failures fail the program.

#include <gtest/gtest.h>

#include <cstdio>

#include "support/test_world.hpp"

namespace penstock {

World& test_world() {
  static World world;
  return world;
}

}  // namespace penstock

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (GTEST_FLAG_GET(list_tests)) return RUN_ALL_TESTS();
  GTEST_FLAG_SET(fail_fast, false);  // a rank that ends early would leave the others waiting
  try {
    penstock::test_world().set_deadline(60);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "no world: %s\n", error.what());
    return penstock::failure_of(error).exit_code;
  }
  return RUN_ALL_TESTS();
}

// SPDX-License-Identifier: Apache-2.0
#include "base/usable_cores.hpp"

#include <gtest/gtest.h>
#include <sched.h>

#include <thread>

namespace penstock::usable_cores_test {
namespace {

TEST(UsableCoresTest, AreThoseOfTheAffinity) {
  const std::vector<std::size_t> all = usable_cores();
  ASSERT_FALSE(all.empty());
  std::vector<std::size_t> found;
  // The affinity is a thread's own: it ends with the thread.
  std::thread([&] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(all.back(), &one);
    if (sched_setaffinity(0, sizeof one, &one) == 0) found = usable_cores();
  }).join();
  EXPECT_EQ(found, std::vector<std::size_t>{all.back()});
}

}  // namespace
}  // namespace penstock::usable_cores_test

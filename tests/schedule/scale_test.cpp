// SPDX-License-Identifier: Apache-2.0
// CTest: LABELS scale
// A table far larger than today's machines: made, proved and priced within seconds on one core.

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdio>

#include "schedule/lower.hpp"
#include "schedule/simulate.hpp"
#include "schedule/tables.hpp"
#include "schedule/validate.hpp"

namespace penstock::scale_test {
namespace {

TEST(Scale, SixtyFourRanksFiveHundredTwelveMicrobatchesFourChunks) {
  using Clock = std::chrono::steady_clock;
  for (ScheduleRequest request : test::all_schedules({4})) {
    request.pipeline = 64;
    request.microbatches = 512;
    const auto start = Clock::now();
    const Schedule lowered = lower(generate(request), {.tied = true});
    validate(lowered);
    const Simulation result = simulate(lowered, equal_costs(lowered, {1, 1, 1}, 0));
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const double mib = static_cast<double>(usage.ru_maxrss) / 1024;
    std::printf("%-40s %.2f s, %.0f MiB, bubble rate %.4f\n", test::title(request).c_str(), seconds, mib,
                result.bubble_rate);
    // A third of a second and 70 MiB where this was written. (Sanitizers are far beyond both, so it is no unit test.)
    EXPECT_LT(seconds, 5) << test::title(request);
    EXPECT_LT(mib, 1024);
    EXPECT_GT(result.makespan, 3 * 512);
  }
}

}  // namespace
}  // namespace penstock::scale_test

// SPDX-License-Identifier: Apache-2.0
// Damaged tables: each is refused with a root cause, or it really runs. Judges that know nothing of the validator say
// which: a machine that runs the table, and on small tables a search over all interleavings of the ranks.

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "schedule/lower.hpp"
#include "schedule/machine.hpp"
#include "schedule/simulate.hpp"
#include "schedule/tables.hpp"
#include "schedule/validate.hpp"
#include "schedule/vandal.hpp"
#include "support/sanitized.hpp"

namespace penstock::mutation_test {
namespace {

using test::Damage;
using test::damage_names;
using test::damages;
using test::Vandal;

std::vector<Schedule> valid_tables(const std::vector<int>& pipelines, int most_microbatches,
                                   const std::vector<int>& chunks) {
  std::vector<Schedule> tables;
  for (const ScheduleRequest& request : test::requests(pipelines, most_microbatches, chunks))
    tables.push_back(lower(generate(request), {.tied = request.microbatches % 2 == 0}));
  return tables;
}

/// What is said of a table that is refused: where, what, and for a deadlock the circle at its root.
bool has_root_cause(const Problem& problem) {
  const auto says = [&](const char* part) { return problem.message.find(part) != std::string::npos; };
  if (says("deadlock")) return says("waits for rank") && says("waits for itself: a circle");
  return says(": ") && (says("lacks") || says("a second time") || says("leave it out") || says("move it there") ||
                        says("leave the + out") || says("swap receives"));
}

TEST(Mutation, DamagedTablesAreRefusedWithARootCauseOrRun) {
  Vandal vandal(20261124);
  const std::vector<Schedule> tables = valid_tables({2, 3, 4}, 5, {1, 2});
  std::map<Damage, int> done;
  std::map<Damage, int> accepted;
  int tried = 0;
  for (int round = 0; tried < test::rounds(15000); ++round) {
    Schedule table = tables[static_cast<std::size_t>(round) % tables.size()];
    const auto kind = static_cast<Damage>(round % damages);
    if (!vandal.damage(table, kind)) continue;
    const auto problem = find_problem(table);
    const bool runs = test::Machine(table).accepts();
    ASSERT_EQ(!problem, runs) << text(table) << (problem ? problem->message : "");
    if (problem) {
      ASSERT_TRUE(has_root_cause(*problem)) << problem->message;
    } else {  // it can be priced, too
      ASSERT_GT(simulate(table, equal_costs(table, {1, 1, 1}, 0.1)).makespan, 0);
    }
    ++tried;
    ++done[kind];
    accepted[kind] += !problem;
  }
  for (const auto& [kind, count] : done) {
    EXPECT_GE(count, test::rounds(1000)) << damage_names[static_cast<std::size_t>(kind)];
    RecordProperty(damage_names[static_cast<std::size_t>(kind)], count);
    std::printf("%-26s %5d damages, %5d refused, %5d run\n", damage_names[static_cast<std::size_t>(kind)], count,
                count - accepted[kind], accepted[kind]);
  }
}

TEST(Mutation, SeveralDamagesAtOnce) {
  Vandal vandal(7);
  const std::vector<Schedule> tables = valid_tables({2, 3}, 4, {1, 2, 3});
  for (int round = 0; round < test::rounds(6000); ++round) {
    Schedule table = tables[static_cast<std::size_t>(round) % tables.size()];
    for (int k = 0; k < 2 + round % 2; ++k) vandal.damage(table, static_cast<Damage>((round / 3 + k) % damages));
    const auto problem = find_problem(table);
    ASSERT_EQ(!problem, test::Machine(table).accepts()) << text(table) << (problem ? problem->message : "");
  }
}

TEST(Mutation, ASearchOverAllInterleavingsAgrees) {
  Vandal vandal(3);
  const std::vector<Schedule> tables = valid_tables({2, 3}, 2, {1, 2});
  std::map<bool, int> verdicts;
  std::map<bool, int> deadlocks;
  for (int round = 0; round < test::rounds(3000); ++round) {
    Schedule table = tables[static_cast<std::size_t>(round) % tables.size()];
    for (int k = 0; k < round % 3; ++k) vandal.damage(table, static_cast<Damage>((round / 3 + k) % damages));
    const auto problem = find_problem(table);
    const test::Machine::Outcomes outcomes = test::Machine(table).all_interleavings();
    ASSERT_NE(outcomes.ends_well, outcomes.stops) << "all interleavings come to the same\n" << text(table);
    ASSERT_EQ(!problem, outcomes.ends_well) << text(table) << (problem ? problem->message : "");
    ++verdicts[!problem];
    if (problem && problem->message.find("deadlock") != std::string::npos) ++deadlocks[true];
  }
  EXPECT_GT(verdicts[true], test::rounds(1000));
  EXPECT_GT(verdicts[false], test::rounds(1000));
  EXPECT_GT(deadlocks[true], test::rounds(200));
  std::printf("searched: %d run, %d refused, of these %d deadlocks\n", verdicts[true], verdicts[false],
              deadlocks[true]);
}

}  // namespace
}  // namespace penstock::mutation_test

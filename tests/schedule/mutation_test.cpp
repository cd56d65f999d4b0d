// Damaged tables: each is refused with a root cause, or it really runs. Judges that know nothing of the validator say
// which: a machine that runs the table, and on small tables a search over all interleavings of the ranks.

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "schedule/lower.hpp"
#include "schedule/machine.hpp"
#include "schedule/simulate.hpp"
#include "schedule/tables.hpp"
#include "schedule/validate.hpp"

namespace penstock {
namespace {

enum class Damage { swap, drop, move, twice, swap_transfers, launch };
constexpr int damages = 6;
constexpr std::array<const char*, damages> damage_names{"swap",  "drop",           "move",
                                                        "twice", "swap transfers", "launch together or apart"};

class Vandal {
 public:
  explicit Vandal(unsigned seed) : random_(seed) {}

  /// Whether the row had something to damage.
  bool damage(Schedule& schedule, Damage kind) {
    std::vector<Action>& row = schedule.rows[below(schedule.rows.size())];
    if (row.size() < 2) return false;
    const std::size_t i = below(row.size());
    const std::size_t j = other_than(i, row.size());
    const auto at = [&](std::size_t k) { return row.begin() + static_cast<std::ptrdiff_t>(k); };
    switch (kind) {
      case Damage::swap:
        std::swap(row[i], row[below(2) == 0 ? j : i + 1 < row.size() ? i + 1 : i - 1]);
        return true;
      case Damage::drop:
        row.erase(at(i));
        return true;
      case Damage::twice:
        row.insert(at(j), row[i]);
        return true;
      case Damage::move: {
        const Action moved = row[i];
        row.erase(at(i));
        row.insert(at(std::min(j, row.size())), moved);
        return true;
      }
      case Damage::swap_transfers:
        return swap_transfers(row);
      case Damage::launch:
        if (!is_transfer(row[i].work)) return false;
        row[i].joined = !row[i].joined;
        return true;
    }
    return false;
  }

 private:
  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }
  std::size_t other_than(std::size_t i, std::size_t n) { return (i + 1 + below(n - 1)) % n; }

  bool swap_transfers(std::vector<Action>& row) {
    std::vector<std::size_t> transfers;
    for (std::size_t k = 0; k < row.size(); ++k)
      if (is_transfer(row[k].work)) transfers.push_back(k);
    if (transfers.size() < 2) return false;
    const std::size_t i = below(transfers.size());
    std::swap(row[transfers[i]], row[transfers[other_than(i, transfers.size())]]);
    return true;
  }

  std::mt19937 random_;
};

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
  int rounds = 0;
  for (int round = 0; rounds < 15000; ++round) {
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
    ++rounds;
    ++done[kind];
    accepted[kind] += !problem;
  }
  for (const auto& [kind, count] : done) {
    EXPECT_GE(count, 1000) << damage_names[static_cast<std::size_t>(kind)];
    RecordProperty(damage_names[static_cast<std::size_t>(kind)], count);
    std::printf("%-26s %5d damages, %5d refused, %5d run\n", damage_names[static_cast<std::size_t>(kind)], count,
                count - accepted[kind], accepted[kind]);
  }
}

TEST(Mutation, SeveralDamagesAtOnce) {
  Vandal vandal(7);
  const std::vector<Schedule> tables = valid_tables({2, 3}, 4, {1, 2, 3});
  for (int round = 0; round < 6000; ++round) {
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
  for (int round = 0; round < 3000; ++round) {
    Schedule table = tables[static_cast<std::size_t>(round) % tables.size()];
    for (int k = 0; k < round % 3; ++k) vandal.damage(table, static_cast<Damage>((round / 3 + k) % damages));
    const auto problem = find_problem(table);
    const test::Machine::Outcomes outcomes = test::Machine(table).all_interleavings();
    ASSERT_NE(outcomes.ends_well, outcomes.stops) << "all interleavings come to the same\n" << text(table);
    ASSERT_EQ(!problem, outcomes.ends_well) << text(table) << (problem ? problem->message : "");
    ++verdicts[!problem];
    if (problem && problem->message.find("deadlock") != std::string::npos) ++deadlocks[true];
  }
  EXPECT_GT(verdicts[true], 1000);
  EXPECT_GT(verdicts[false], 1000);
  EXPECT_GT(deadlocks[true], 200);
  std::printf("searched: %d run, %d refused, of these %d deadlocks\n", verdicts[true], verdicts[false],
              deadlocks[true]);
}

}  // namespace
}  // namespace penstock

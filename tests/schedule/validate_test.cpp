#include "schedule/validate.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "schedule/lower.hpp"
#include "schedule/tables.hpp"

namespace penstock {
namespace {

std::string message(const Schedule& schedule) {
  const auto problem = find_problem(schedule);
  return problem ? problem->message : "";
}

void expect_in(std::string_view part, const Schedule& schedule) {
  EXPECT_NE(message(schedule).find(part), std::string::npos) << text(schedule) << message(schedule);
}

/// An independent judge, which knows nothing of `prerequisites`: it really runs the table. Ranks hold named values,
/// computing turns values into values, a transfer copies one when BOTH ends stand at it, sums meet likewise. Transfers
/// that are launched together are stood at together. Messages between two ranks carry no names: the first receive gets
/// what was sent first.
class Machine {
 public:
  explicit Machine(const Schedule& schedule)
      : s_(schedule), values_(schedule.rows.size()), at_(schedule.rows.size(), 0), open_(at_.size()), posted_(at_.size(), false) {}

  bool accepts() {
    if (!launches_are_whole()) return false;
    while (progress()) {
    }
    for (std::size_t r = 0; r < at_.size(); ++r)
      if (at_[r] != s_.rows[r].size()) return false;
    return !wrong_ && complete();
  }

 private:
  static std::string value(const char* kind, int stage, int microbatch) {
    return kind + std::to_string(stage) + "." + std::to_string(microbatch);
  }
  bool has(std::size_t rank, const std::string& v) const { return values_[rank].contains(v); }
  /// A value is made and received once a rank.
  void put(std::size_t rank, const std::string& v) { wrong_ |= !values_[rank].insert(v).second; }
  bool stands_at(std::size_t rank, const std::string& action) const {
    return at_[rank] < s_.rows[rank].size() && s_.rows[rank][at_[rank]].text() == action;
  }
  bool next(std::size_t rank) {
    ++at_[rank];
    return true;
  }

  /// "+" stands at a transfer behind a transfer.
  bool launches_are_whole() const {
    for (const std::vector<Action>& row : s_.rows)
      for (std::size_t i = 0; i < row.size(); ++i)
        if (row[i].joined && (i == 0 || !is_transfer(row[i].work) || !is_transfer(row[i - 1].work))) return false;
    return true;
  }

  bool progress() {
    for (std::size_t rank = 0; rank < at_.size() && !wrong_; ++rank) {
      if (at_[rank] == s_.rows[rank].size()) continue;
      const Action& a = s_.rows[rank][at_[rank]];
      if (is_transfer(a.work) ? launch(rank) : step(rank, a)) return true;
    }
    return false;
  }

  /// Posts what is launched here, once; copies what has met; goes on when all of it has.
  bool launch(std::size_t rank) {
    std::size_t end = at_[rank] + 1;
    while (end < s_.rows[rank].size() && s_.rows[rank][end].joined) ++end;
    bool moved = false;
    if (open_[rank].empty() && !posted_[rank]) {
      for (std::size_t i = at_[rank]; i < end; ++i) post(rank, s_.rows[rank][i]);
      posted_[rank] = moved = true;
    }
    for (std::size_t peer = 0; peer < at_.size(); ++peer) moved |= meet(rank, peer);
    if (!open_[rank].empty()) return moved;
    posted_[rank] = false;
    at_[rank] = end;
    return true;
  }

  void post(std::size_t rank, const Action& a) {
    const int peer = peer_stage(a);
    wrong_ |= peer < 0 || peer >= s_.stages || s_.placement[static_cast<std::size_t>(a.stage)] != static_cast<int>(rank);
    if (wrong_) return;
    const auto to = static_cast<std::size_t>(s_.placement[static_cast<std::size_t>(peer)]);
    const char* kind = letter(a.work) == 'F' ? "activation" : "gradient";
    wrong_ |= to == rank || (is_send(a.work) && !has(rank, value(kind, a.stage, a.microbatch)));
    open_[rank].push_back({to, is_send(a.work), value(kind, is_send(a.work) ? a.stage : peer, a.microbatch)});
  }

  /// The first open send of `from` to `to` meets the first open receive there.
  bool meet(std::size_t from, std::size_t to) {
    const auto first = [&](std::size_t rank, std::size_t peer, bool sends) {
      return std::find_if(open_[rank].begin(), open_[rank].end(),
                          [&](const Posted& p) { return p.peer == peer && p.sends == sends; });
    };
    const auto send = first(from, to, true);
    const auto receive = first(to, from, false);
    if (send == open_[from].end() || receive == open_[to].end()) return false;
    wrong_ |= send->value != receive->value;
    put(to, receive->value);
    open_[from].erase(send);
    open_[to].erase(receive);
    return true;
  }

  bool step(std::size_t rank, const Action& a) {
    const int s = a.stage;
    const int m = a.microbatch;
    if (!is_whole_step(a.work) && s_.placement[static_cast<std::size_t>(s)] != static_cast<int>(rank)) return false;
    switch (letter(a.work)) {
      case 'F':
        if (!has(rank, "parameters") || (s > 0 && !has(rank, value("activation", s - 1, m)))) return false;
        put(rank, value("activation", s, m));
        put(rank, value("kept", s, m));
        return next(rank);
      case 'I':
        return input_gradient(rank, s, m) && next(rank);
      case 'B':
        return input_gradient(rank, s, m) && weight_gradient(rank, s, m) && next(rank);
      case 'W':
        return weight_gradient(rank, s, m) && next(rank);
      default:
        return once(rank, letter(a.work));
    }
  }

  bool input_gradient(std::size_t rank, int s, int m) {
    if (!has(rank, value("kept", s, m))) return false;
    if (s + 1 < s_.stages && !has(rank, value("gradient", s + 1, m))) return false;
    put(rank, value("gradient", s, m));
    return true;
  }

  bool weight_gradient(std::size_t rank, int s, int m) {
    if (!has(rank, value("gradient", s, m)) || !has(rank, value("kept", s, m))) return false;
    put(rank, value("weights", s, m));
    return true;
  }

  bool all_weights(std::size_t rank) const {
    for (int s = 0; s < s_.stages; ++s)
      for (int m = 0; m < s_.microbatches; ++m)
        if (s_.placement[static_cast<std::size_t>(s)] == static_cast<int>(rank) && !has(rank, value("weights", s, m)))
          return false;
    return true;
  }

  bool sums_tied(std::size_t rank) const {
    const auto first = static_cast<std::size_t>(s_.placement.front());
    const auto last = static_cast<std::size_t>(s_.placement.back());
    return s_.tied && first != last && (rank == first || rank == last);
  }

  bool together(const std::vector<std::size_t>& ranks, const char* action, const char* before, const char* after) {
    for (const std::size_t r : ranks)
      if (!stands_at(r, action) || !has(r, sums_tied(r) && *action == 'N' ? "tied" : before)) return false;
    for (const std::size_t r : ranks) {
      put(r, after);
      next(r);
    }
    return true;
  }

  bool once(std::size_t rank, char what) {
    if (what == 'G') return put(rank, "parameters"), next(rank);
    if (what == 'R') return all_weights(rank) && (put(rank, "reduced"), next(rank));
    if (what == 'U') return has(rank, "norm") && (put(rank, "updated"), next(rank));
    std::vector<std::size_t> ranks;
    for (std::size_t r = 0; r < at_.size(); ++r)
      if (what == 'N' || sums_tied(r)) ranks.push_back(r);
    if (std::find(ranks.begin(), ranks.end(), rank) == ranks.end()) return false;
    return what == 'N' ? together(ranks, "N", "reduced", "norm") : together(ranks, "T", "reduced", "tied");
  }

  bool complete() const {
    for (std::size_t rank = 0; rank < at_.size(); ++rank)
      if (!has(rank, "updated") || !all_weights(rank)) return false;
    return true;
  }

  struct Posted {
    std::size_t peer;
    bool sends;
    std::string value;
  };
  const Schedule& s_;
  std::vector<std::set<std::string>> values_;
  std::vector<std::size_t> at_;
  std::vector<std::vector<Posted>> open_;  // of each rank, in the order in which they were posted
  std::vector<char> posted_;
  bool wrong_ = false;
};

/// Swaps, drops, doubles, moves, or swaps two transfers of one row.
void damage(Schedule& schedule, std::mt19937& random) {
  const auto below = [&](std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random); };
  std::vector<Action>& row = schedule.rows[below(schedule.rows.size())];
  if (row.empty()) return;
  const std::size_t i = below(row.size());
  const std::size_t j = below(row.size());
  const auto at = [&](std::size_t k) { return row.begin() + static_cast<std::ptrdiff_t>(k); };
  switch (below(6)) {
    case 0:
      std::swap(row[i], row[j]);
      return;
    case 1:
      row.erase(at(i));
      return;
    case 2:
      row.insert(at(j), row[i]);
      return;
    case 3: {
      const Action moved = row[i];
      row.erase(at(i));
      row.insert(at(std::min(j, row.size())), moved);
      return;
    }
    case 4:
      if (i + 1 < row.size()) std::swap(row[i], row[i + 1]);
      return;
    default: {
      std::vector<std::size_t> transfers;
      for (std::size_t k = 0; k < row.size(); ++k)
        if (is_transfer(row[k].work)) transfers.push_back(k);
      if (!transfers.empty())
        std::swap(row[transfers[below(transfers.size())]], row[transfers[below(transfers.size())]]);
    }
  }
}

TEST(Validate, AcceptsWhatTheMachineRuns) {
  for (const ScheduleRequest& request : test::requests({1, 2, 3, 4, 8}, 16)) {
    const Schedule lowered = lower(generate(request), {.tied = true});
    EXPECT_EQ(message(lowered), "") << test::title(request);
    EXPECT_TRUE(Machine(lowered).accepts()) << test::title(request);
  }
}

TEST(Validate, AgreesWithTheMachineOnDamagedTables) {
  std::mt19937 random(20240607);
  std::vector<Schedule> tables;
  for (const ScheduleRequest& request : test::requests({1, 2, 3, 4}, 5))
    tables.push_back(lower(generate(request), {.tied = request.microbatches % 2 == 0}));
  for (const bool fused : {false, true}) {
    tables.push_back(lower(test::looped_table(2, 2, 3, fused), {.tied = true}));
    tables.push_back(lower(test::looped_table(3, 2, 2, fused), {.tied = false}));
  }
  std::map<bool, int> verdicts;
  for (int round = 0; round < 20000; ++round) {
    Schedule table = tables[static_cast<std::size_t>(round) % tables.size()];
    for (int k = 0; k <= round % 2; ++k) damage(table, random);
    const bool runs = Machine(table).accepts();
    ++verdicts[runs];
    ASSERT_EQ(message(table).empty(), runs) << text(table) << message(table);
  }
  EXPECT_GT(verdicts[true], 500);  // harmless damage, such as a receive taken earlier
  EXPECT_GT(verdicts[false], 5000);
}

TEST(Validate, ASendWithoutItsPartnersOrderIsADeadlock) {
  // What one would write down first for 1F1B: sends right behind, receives right before.
  Schedule naive = test::table(2, 2,
                               {"G 0F0 0F0>1 0F1 0F1>1 0I0<1 0B0 0I1<1 0B1 R N U",  //
                                "G 1F0<0 1F0 1B0 1I0>0 1F1<0 1F1 1B1 1I1>0 R N U"},
                               true);
  EXPECT_FALSE(Machine(naive).accepts());
  EXPECT_EQ(message(naive),
            "schedule table (2 stages on 2 ranks, 2 microbatches): deadlock, as a send completes only when its receive "
            "is posted:\n"
            "  rank 0 at 4: 0F1>1 waits for rank 1 at 5: 1F1<0\n"
            "  rank 1 at 4: 1I0>0 waits for rank 0 at 5: 0I0<1\n"
            "  and so rank 0 waits for itself: a circle. The rows:\n"
            "  rank 0 at 4: G 0F0 0F0>1 0F1 [0F1>1] 0I0<1 0B0 0I1<1 0B1 R N ...\n"
            "  rank 1 at 4: G 1F0<0 1F0 1B0 [1I0>0] 1F1<0 1F1 1B1 1I1>0 R N ...\n"
            "  Hand the table to lower without its transfers: it finds an order of them that ends.");
}

TEST(Validate, TheChainGoesToItsRoot) {
  // Ranks 1 and 2 hang on each other; rank 0 only waits for them.
  const Schedule table = test::table(3, 2,
                                     {"G 0F0 0F0>1 0F1 0F1>1 0I0<1 0B0 0I1<1 0B1 R N U",
                                      "G 1F0<0 1F0 1F0>2 1F1<0 1F1 1F1>2 1I0<2 1B0 1I0>0 1I1<2 1B1 1I1>0 R N U",
                                      "G 2F0<1 2F0 2B0 2I0>1 2F1<1 2F1 2B1 2I1>1 R N U"},
                                     true);
  const auto problem = find_problem(table);
  ASSERT_TRUE(problem);
  EXPECT_EQ(problem->rank, 1);
  EXPECT_EQ(problem->index, 6U);
  EXPECT_NE(problem->message.find("\n  rank 0 at 5: 0I0<1 waits for rank 1 at 9: 1I0>0"
                                  "\n  rank 1 at 6: 1F1>2 waits for rank 2 at 5: 2F1<1"
                                  "\n  rank 2 at 4: 2I0>1 waits for rank 1 at 7: 1I0<2"
                                  "\n  and so rank 1 waits for itself"),
            std::string::npos)
      << problem->message;
}

TEST(Validate, SumsAreMetLikeTransfers) {
  // Rank 0 stands at the norm of all before its backward, which the others' norm cannot wait for.
  expect_in("rank 0 at 4: N waits for rank 0 at 6: R",
            test::table(2, 1, {"G 0F0 0F0>1 0I0<1 N 0B0 R U", "G 1F0<0 1F0 1B0 1I0>0 R N U"}, true));
}

TEST(Validate, NamesWhatIsMissingDoubledOrNeedless) {
  const std::string good = "G 1F0<0 1F0 1B0 1I0>0 R N U";
  const auto with = [&](const std::string& first) { return test::table(2, 1, {first, good}, true); };
  EXPECT_EQ(message(with("G 0F0 0F0>1 0I0<1 0B0 R N U")), "");
  expect_in("rank 0 lacks 0F0>1 (send activation): add it", with("G 0F0 0I0<1 0B0 R N U"));
  expect_in("rank 0 lacks G (gather parameters)", with("0F0 0F0>1 0I0<1 0B0 R N U"));
  expect_in("rank 0 lacks U", with("G 0F0 0F0>1 0I0<1 0B0 R N"));
  expect_in("rank 0 lacks 0W0 (weight gradient)", with("G 0F0 0F0>1 0I0<1 0I0 R N U"));
  expect_in("0I0 of rank 0 does 0I0 a second time", with("G 0F0 0F0>1 0I0<1 0B0 0I0 R N U"));
  expect_in("nothing needs T of rank 0", with("G 0F0 0F0>1 0I0<1 0B0 R T N U"));
  expect_in("microbatches from 0 to 0", with("G 0F0 0F0>1 0I0<1 0B0 0F1 R N U"));
  expect_in("stages go from 0 to 1", with("G 0F0 0F0>1 0I0<1 0B0 2F0 R N U"));
  expect_in("1W0 in the row of rank 0: stage 1 lives on rank 1: move it there",
            with("G 0F0 0F0>1 0I0<1 0B0 1W0 R N U"));
  expect_in("[1W0]", with("G 0F0 0F0>1 0I0<1 0B0 1W0 R N U"));
  EXPECT_THROW(validate(with("G 0F0 R N U")), InputError);
}

TEST(Validate, ATransferWithinARankIsNeedless) {
  expect_in("nothing needs", test::table(2, 1, {"G 0F0 0F0>1 1F0<0 1F0 1B0 0B0 R N U"}, true));
}

TEST(Validate, TheTiedSumIsOfBothEnds) {
  Schedule s = lower(generate({.pipeline = 2, .microbatches = 1}), {.tied = true});
  EXPECT_EQ(message(s), "");
  s.rows[0].erase(std::find(s.rows[0].begin(), s.rows[0].end(), Action{Work::tied_sum}));
  expect_in("rank 0 lacks T", s);
  s.rows[1].erase(std::find(s.rows[1].begin(), s.rows[1].end(), Action{Work::tied_sum}));
  expect_in("lacks T", s);
  s.tied = false;
  EXPECT_EQ(message(s), "");
}

TEST(Validate, Dimensions) {
  const Schedule good = generate({.pipeline = 2, .microbatches = 2});
  Schedule s = good;
  s.rows.pop_back();
  expect_in("one row a rank: 2", s);
  s = good;
  s.stages = 3;
  expect_in("each rank holds the same number of stages", s);
  s = good;
  s.placement = {0, 2};
  expect_in("stage 1 is placed on rank 2; ranks go from 0 to 1", s);
  s.placement = {0, 0};
  expect_in("rank 0 holds 2 stages", s);
  s.placement = {0};
  expect_in("1 stages are placed", s);
  s = good;
  s.microbatches = 0;
  expect_in("at least one rank and one microbatch", s);
  s = good;
  s.microbatches = 1000000000;
  expect_in("correct the highest stage or microbatch", s);
}

TEST(Validate, TransfersDoNotBelongIntoATableThatIsNotLowered) {
  expect_in("leave it out, lower adds it", test::table(2, 1, {"0F0 0F0>1 0B0", "1F0 1B0"}, false));
  expect_in("leave it out, lower adds it", test::table(1, 1, {"G 0F0 0B0"}, false));
}

}  // namespace
}  // namespace penstock

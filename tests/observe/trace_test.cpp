// SPDX-License-Identifier: Apache-2.0
#include "observe/trace.hpp"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "schedule/generate.hpp"
#include "schedule/lower.hpp"

namespace penstock::trace_test {
namespace {

std::uint64_t bytes_of(const Action& action) {
  return is_transfer(action.work) ? 640 : action.work == Work::reduce_gradients ? 2560 : 0;
}

TEST(Trace, HoldsEveryActionOfEveryRankOnceMeasuredAndOnceForetold) {
  const Mesh mesh({{"pipeline", 2}, {"data", 2}});
  const Schedule schedule = lower(generate({.pipeline = 2, .microbatches = 3}), {});
  TracedStep step{
      .step = 12, .begin = 1.5, .measured = {}, .foretold = simulate(schedule, equal_costs(schedule, {}, 0)).spans};
  for (int rank = 0; rank < mesh.size(); ++rank) {
    TracedRow traced;
    for (const Action& action : schedule.row(mesh.coordinate(rank, "pipeline"))) {
      const double start = 0.25 * static_cast<double>(traced.spans.size());
      traced.spans.push_back({start, start + 0.125});
      traced.bytes.push_back(bytes_of(action));
    }
    step.measured.push_back(traced);
  }

  const auto json = nlohmann::json::parse(trace_json({.schedule = &schedule, .mesh = &mesh}, {step}));
  std::map<std::string, int> process;
  std::map<std::pair<int, int>, std::vector<std::string>> seen;  // by process and thread
  for (const auto& event : json.at("traceEvents")) {
    if (event.at("name") == "process_name") process[event.at("args").at("name")] = event.at("pid");
    if (event.at("ph") != "X") continue;
    const auto& arguments = event.at("args");
    EXPECT_EQ(arguments.at("step"), 12);
    EXPECT_EQ(arguments.at("action"), event.at("name"));
    const Action action = parse_action(event.at("name").get<std::string>());
    EXPECT_EQ(arguments.value("bytes", std::uint64_t{0}), bytes_of(action));
    EXPECT_EQ(arguments.value("stage", whole_step), action.stage);
    EXPECT_EQ(arguments.value("microbatch", whole_step), action.microbatch);
    auto& actions = seen[{event.at("pid"), event.at("tid")}];
    if (event.at("pid") == process.at("measured")) {
      EXPECT_DOUBLE_EQ(event.at("ts"), (1.5 + 0.25 * static_cast<double>(actions.size())) * 1e6);
      EXPECT_DOUBLE_EQ(event.at("dur"), 125000);
    }
    actions.push_back(event.at("name"));
  }
  const auto names = [&](int rank) {
    std::vector<std::string> texts;
    for (const Action& action : schedule.row(rank)) texts.push_back(action.text());
    return texts;
  };
  ASSERT_EQ(seen.size(), 6U);
  for (int rank = 0; rank < mesh.size(); ++rank)
    EXPECT_EQ((seen[{process.at("measured"), rank}]), names(mesh.coordinate(rank, "pipeline")));
  for (int rank = 0; rank < 2; ++rank) EXPECT_EQ((seen[{process.at("predicted"), rank}]), names(rank));
}

}  // namespace
}  // namespace penstock::trace_test

// SPDX-License-Identifier: Apache-2.0
#include "observe/trace.hpp"

#include <nlohmann/json.hpp>

#include "base/error.hpp"

namespace penstock {

namespace {

constexpr int measured_process = 1;
constexpr int foretold_process = 2;

nlohmann::json name_of_lane(const char* what, int process, int thread, const std::string& name) {
  return {{"name", what}, {"ph", "M"}, {"pid", process}, {"tid", thread}, {"args", {{"name", name}}}};
}

std::string rank_name(const Mesh& mesh, int rank) {
  std::string name = fmt::format("rank {} (", rank);
  const char* separator = "";
  for (const Axis& axis : mesh.axes()) {
    name += fmt::format("{}{} {}", separator, axis.name, mesh.coordinate(rank, axis.name));
    separator = ", ";
  }
  return name + ")";
}

struct Lane {
  int process;
  int thread;
};

nlohmann::json event_of(const TracedStep& step, const Action& action, const Span& span, std::uint64_t bytes,
                        const Lane& lane) {
  constexpr double microseconds = 1e6;
  nlohmann::json arguments = {{"step", step.step}, {"rank", lane.thread}, {"action", action.text()}};
  if (!is_whole_step(action.work)) {
    arguments["stage"] = action.stage;
    arguments["microbatch"] = action.microbatch;
  }
  if (bytes > 0) arguments["bytes"] = bytes;
  return {{"name", action.text()},
          {"cat", name(action.work)},
          {"ph", "X"},
          {"ts", (step.begin + span.start) * microseconds},
          {"dur", (span.end - span.start) * microseconds},
          {"pid", lane.process},
          {"tid", lane.thread},
          {"args", arguments}};
}

void add_row(nlohmann::json& events, const TracedStep& step, const std::vector<Action>& row,
             const std::vector<Span>& spans, const std::vector<std::uint64_t>& bytes, const Lane& lane) {
  ensure(spans.size() == row.size() && bytes.size() == row.size(), "a traced row is not as long as the table's");
  for (std::size_t i = 0; i < row.size(); ++i) events.push_back(event_of(step, row[i], spans[i], bytes[i], lane));
}

}  // namespace

std::string trace_json(const TraceSubject& subject, const std::vector<TracedStep>& steps) {
  const Schedule& schedule = *subject.schedule;
  nlohmann::json events = nlohmann::json::array();
  events.push_back(name_of_lane("process_name", measured_process, 0, "measured"));
  events.push_back(name_of_lane("process_name", foretold_process, 0, "predicted"));
  for (int rank = 0; rank < subject.mesh->size(); ++rank)
    events.push_back(name_of_lane("thread_name", measured_process, rank, rank_name(*subject.mesh, rank)));
  for (int rank = 0; rank < schedule.pipeline; ++rank)
    events.push_back(name_of_lane("thread_name", foretold_process, rank, fmt::format("pipeline rank {}", rank)));
  for (const TracedStep& step : steps) {
    std::vector<const std::vector<std::uint64_t>*> bytes(static_cast<std::size_t>(schedule.pipeline));
    for (std::size_t rank = 0; rank < step.measured.size(); ++rank) {
      const int pipeline = subject.mesh->coordinate(static_cast<int>(rank), Axis::pipeline);
      const auto& [spans, moved] = step.measured[rank];
      bytes[static_cast<std::size_t>(pipeline)] = &moved;
      add_row(events, step, schedule.row(pipeline), spans, moved, {measured_process, static_cast<int>(rank)});
    }
    for (std::size_t rank = 0; rank < step.foretold.size(); ++rank)
      add_row(events, step, schedule.row(static_cast<int>(rank)), step.foretold[rank], *bytes[rank],
              {foretold_process, static_cast<int>(rank)});
  }
  return nlohmann::json{{"displayTimeUnit", "ms"}, {"traceEvents", std::move(events)}}.dump() + "\n";
}

}  // namespace penstock

#include <charconv>
#include <cstdio>
#include <fstream>

#include "app/commands.hpp"
#include "app/schedule_text.hpp"
#include "schedule/csv.hpp"
#include "schedule/generate.hpp"
#include "schedule/lower.hpp"
#include "schedule/validate.hpp"

namespace penstock {

namespace {

std::vector<double> parse_costs(const std::string& text) {
  std::vector<double> costs;
  const char* at = text.data();
  const char* end = at + text.size();
  while (costs.size() < 4) {
    double value = 0;
    const auto [rest, error] = std::from_chars(at, end, value);
    if (error != std::errc() || value < 0) break;
    costs.push_back(value);
    at = rest;
    if (at == end || *at != ',') break;
    ++at;
  }
  if (costs.size() != 4 || at != end)
    throw_input_error("--costs {}: four numbers of at least 0 are wanted, F,I,W,HOP, such as 18.5,18.1,9.3,0.6", text);
  return costs;
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::trunc);
  file << text;
  if (!file.flush())
    throw_input_error("{} cannot be written; name a file in a folder that is there, on a disk with space", path);
}

}  // namespace

void schedule_command(const ScheduleCommand& command) {
  const Schedule computing = generate({.name = parse_schedule_name(command.name),
                                       .pipeline = command.stages,
                                       .microbatches = command.microbatches,
                                       .chunks = command.chunks,
                                       .backward = parse_backward(command.backward)});
  const std::vector<double> costs = parse_costs(command.costs);
  const Schedule schedule = lower(computing, {.tied = true});
  validate(schedule);
  const Simulation simulation = simulate(schedule, equal_costs(schedule, {costs[0], costs[1], costs[2]}, costs[3]));
  const ScheduleReport summary = report(schedule, simulation);
  if (!command.csv.empty()) write_file(command.csv, to_csv(schedule));
  if (!command.svg.empty()) write_file(command.svg, draw_svg(schedule, simulation));
  if (command.json)
    fmt::print("{}\n", report_json(summary).dump(2));
  else
    fmt::print("{}{}", text(summary), draw_text(schedule, simulation));
}

}  // namespace penstock

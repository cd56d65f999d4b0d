// SPDX-License-Identifier: Apache-2.0
#include <fmt/ranges.h>

#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "app/commands.hpp"
#include "app/json_text.hpp"
#include "app/schedule_text.hpp"
#include "plan/make_plan.hpp"
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
    throw_input_error("--costs {}: needs four numbers of at least 0, F,I,W,HOP, such as 18.5,18.1,9.3,0.6", text);
  return costs;
}

Schedule read_table(const ScheduleCommand& command) {
  const Schedule table = schedule_from_csv(read_schedule_file(command.file), command.file,
                                           std::filesystem::path(command.file).stem().string());
  const auto check = [&](const char* option, std::optional<int> asked, int found) {
    if (asked && *asked != found)
      throw_input_error("{} {}: {} has {}; leave the option out, or change the table", option, *asked, command.file,
                        found);
  };
  check("--stages", command.stages, table.pipeline);
  check("--microbatches", command.microbatches, table.microbatches);
  if (command.chunks != 0) check("--chunks", command.chunks, table.chunks());
  return table;
}

Schedule computing_table(const ScheduleCommand& command) {
  if (command.name.empty() == command.file.empty())
    throw_input_error("penstock schedule needs either the name of a schedule ({}) or --file with a CSV table",
                      fmt::join(schedule_names(), ", "));
  if (!command.file.empty()) return read_table(command);
  const ScheduleName name = parse_schedule_name(command.name);
  if (!command.stages || !command.microbatches)
    throw_input_error("schedule {}: {} is missing; give the size of the table, such as --stages 4 --microbatches 8",
                      command.name, command.stages ? "--microbatches" : "--stages");
  return generate({.name = name,
                   .pipeline = *command.stages,
                   .microbatches = *command.microbatches,
                   .chunks = command.chunks,
                   .backward = parse_backward(command.backward)});
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::trunc);
  file << text;
  if (!file.flush())
    throw_input_error("{} cannot be written; name a file in an existing folder, on a disk with space", path);
}

}  // namespace

void schedule_command(const ScheduleCommand& command) {
  const Schedule computing = computing_table(command);
  const std::vector<double> costs = parse_costs(command.costs);
  const Schedule schedule = lower(computing, {.tied = true});
  validate(schedule);
  const Simulation simulation = simulate(schedule, equal_costs(schedule, {costs[0], costs[1], costs[2]}, costs[3]));
  const ScheduleReport summary = report(schedule, simulation);
  if (!command.csv.empty()) write_file(command.csv, to_csv(schedule));
  if (!command.svg.empty()) write_file(command.svg, draw_svg(schedule, simulation));
  if (command.json)
    fmt::print("{}\n", json_text(report_json(summary)));
  else
    fmt::print("{}{}", text(summary), draw_text(schedule, simulation));
}

}  // namespace penstock

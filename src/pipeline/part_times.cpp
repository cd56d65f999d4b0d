// SPDX-License-Identifier: Apache-2.0
#include "pipeline/part_times.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.hpp"

namespace penstock {

namespace {

constexpr double StageCosts::*all_costs[] = {&StageCosts::forward, &StageCosts::input_gradient,
                                             &StageCosts::weight_gradient};

StageCosts mean_block(const std::vector<const StagePart*>& parts, const Costs& measured) {
  StageCosts block{0, 0, 0};
  double blocks = 0;
  for (const StagePart* part : parts) {
    for (const auto cost : all_costs) block.*cost += measured.stages[static_cast<std::size_t>(part->stage)].*cost;
    blocks += part->blocks;
  }
  for (const auto cost : all_costs) block.*cost /= blocks;
  return block;
}

StageCosts block_of_one_stage(const StagePart& part, const PartCosts& operations, const StageCosts& measured) {
  const double blocks = std::accumulate(operations.blocks.begin(), operations.blocks.end(), 0.0);
  const double whole = operations.embedding + blocks + operations.head;
  StageCosts block;
  for (const auto cost : all_costs) block.*cost = measured.*cost * (blocks / part.blocks) / whole;
  return block;
}

// The time of a stage beyond its blocks.
StageCosts rest(const StagePart& part, const StageCosts& block, const Costs& measured) {
  StageCosts rest;
  for (const auto cost : all_costs)
    rest.*cost =
        std::max(0.0, measured.stages[static_cast<std::size_t>(part.stage)].*cost - part.blocks * (block.*cost));
  return rest;
}

nlohmann::json json_of(const StageCosts& costs) {
  return {
      {"forward", costs.forward}, {"input_gradient", costs.input_gradient}, {"weight_gradient", costs.weight_gradient}};
}

double seconds_in(const nlohmann::json& json, const std::string& key) {
  const auto seconds = json.get<double>();
  if (!(seconds >= 0 && seconds <= most_cost))
    throw_input_error("{} = {}: a time is a number of seconds from 0 to {:g}; name the costs.json of a run", key,
                      seconds, most_cost);
  return seconds;
}

StageCosts costs_in(const nlohmann::json& json, const std::string& part) {
  const auto seconds = [&](const char* half) { return seconds_in(json.at(part).at(half), part + "." + half); };
  return {seconds("forward"), seconds("input_gradient"), seconds("weight_gradient")};
}

}  // namespace

PartTimes part_times(const std::vector<StagePart>& parts, const PartCosts& operations, const Costs& measured) {
  ensure(parts.size() == measured.stages.size(), "part_times: costs for each stage");
  PartTimes times;
  times.whole_step = measured.whole_step;
  times.hop = measured.hop;
  times.overhead = measured.overhead;
  std::vector<const StagePart*> between;
  for (const StagePart& part : parts)
    if (!part.embedding && !part.head) between.push_back(&part);
  if (between.empty() && !parts.front().head) between.push_back(&parts.front());
  times.block = between.empty() ? block_of_one_stage(parts.front(), operations, measured.stages.front())
                                : mean_block(between, measured);
  if (!parts.front().head) times.embedding = rest(parts.front(), times.block, measured);
  times.head = rest(parts.back(), times.block, measured);
  return times;
}

Costs costs_of(const std::vector<StagePart>& parts, const PartTimes& times) {
  Costs costs;
  costs.whole_step = times.whole_step;
  costs.hop = times.hop;
  costs.overhead = times.overhead;
  for (const StagePart& part : parts) {
    StageCosts stage;
    for (const auto cost : all_costs)
      stage.*cost = part.blocks * (times.block.*cost) + (part.embedding ? times.embedding.*cost : 0) +
                    (part.head ? times.head.*cost : 0);
    costs.stages.push_back(stage);
  }
  return costs;
}

std::string part_times_json(const PartTimes& times, const std::string& subject) {
  nlohmann::json json = {{"subject", subject},
                         {"unit", "seconds a microbatch"},
                         {"block", json_of(times.block)},
                         {"embedding", json_of(times.embedding)},
                         {"head", json_of(times.head)},
                         {"hop", times.hop},
                         {"overhead", times.overhead},
                         {"whole_step", nlohmann::json::object()}};
  for (const auto& [work, seconds] : times.whole_step) json["whole_step"][std::string(1, letter(work))] = seconds;
  return json.dump(2) + "\n";
}

PartTimes read_part_times(const std::string& text, const std::string& subject) {
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    const auto found = json.at("subject").get<std::string>();
    if (found != subject)
      throw_input_error("the times were measured for {}, and this deck is {}; measure them with a run of this deck",
                        found, subject);
    PartTimes times{.block = costs_in(json, "block"),
                    .embedding = costs_in(json, "embedding"),
                    .head = costs_in(json, "head"),
                    .whole_step = {},
                    .hop = seconds_in(json.at("hop"), "hop"),
                    .overhead = 0};
    if (json.contains("overhead")) times.overhead = seconds_in(json.at("overhead"), "overhead");  // not in older files
    if (times.block.sum() <= 0)
      throw_input_error("the times of block are all 0: nothing was measured; name the costs.json of a run");
    for (const auto& [work, seconds] : json.at("whole_step").items()) {
      const Action action = parse_action(work);
      if (!is_whole_step(action.work))
        throw_input_error("whole_step names {}, which is not done once a step; name the costs.json of a run", work);
      times.whole_step[action.work] = seconds_in(seconds, "whole_step." + work);
    }
    return times;
  } catch (const nlohmann::json::exception& error) {
    throw_input_error("is not the costs.json of a run ({}); name the one in a run folder", error.what());
  }
}

}  // namespace penstock

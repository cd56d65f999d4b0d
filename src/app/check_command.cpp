// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "app/commands.hpp"
#include "app/json_text.hpp"
#include "app/schedule_text.hpp"
#include "base/user_path.hpp"
#include "device/device.hpp"
#include "observe/step_forecast.hpp"
#include "pipeline/part_times.hpp"
#include "plan/fit.hpp"
#include "plan/make_plan.hpp"
#include "plan/memory_text.hpp"
#include "plan/mesh_choice.hpp"
#include "plan/model_section.hpp"
#include "run/run_folder.hpp"
#include "run/weights_source.hpp"
#include "schedule/report.hpp"

namespace penstock {

namespace {

nlohmann::json bytes_json(const MemoryPlan& memory, std::size_t staging) {
  nlohmann::json bytes = {{"total", memory.total()}, {"staging", staging}};
  for (int u = 0; u < memory_uses; ++u)
    bytes[std::string(name_of(static_cast<MemoryUse>(u)))] = memory.bytes[static_cast<std::size_t>(u)];
  bytes["activation_parts"] = memory.activations;
  return bytes;
}

struct RankPlan {
  MeshPlace place;
  std::vector<int> layers;
  std::int64_t parameters = 0;
  MemoryPlan memory;
  std::size_t staging = 0;
  std::size_t planned = 0;  ///< of its device
  // The recomputation policy compared with none: bytes of memory, and the costs of a step.
  std::int64_t recompute_bytes = 0;
  RecomputeCost recompute;
};

RankPlan plan_rank(const RunConfig& config, const ModelPlan& plan, const MeshPlace& place, int threads) {
  RankPlan r;
  r.place = place;
  for (const int stage : plan.schedule.stages_of_rank(place.at(Axis::pipeline))) {
    const StagePart& part = plan.parts[static_cast<std::size_t>(stage)];
    for (int i = 0; i < part.blocks; ++i) r.layers.push_back(part.first_block + i);
  }
  const ParameterLayout layout = parameter_layout(plan, place);
  r.parameters = layout.parameters_held();
  r.memory = plan_memory(plan, place, threads);
  r.staging = staging_bytes(layout, config.saves_behind_training());
  r.planned = planned_bytes(r.memory, r.staging);
  if (plan.recompute != Recompute::none) {
    ModelPlan plain = plan;
    plain.recompute = Recompute::none;
    r.recompute_bytes = static_cast<std::int64_t>(r.memory.total()) -
                        static_cast<std::int64_t>(plan_memory(plain, place, threads).total());
  }
  r.recompute = recompute_cost(plan) * (static_cast<std::int64_t>(r.layers.size()) * plan.microbatches());
  return r;
}

std::vector<int> coordinates_but_data(const MeshPlace& place) {
  std::vector<int> coordinates;
  for (const Axis& axis : place.mesh().axes())
    if (axis.name != Axis::data) coordinates.push_back(place.at(axis.name));
  return coordinates;
}

// Replicas plan alike, as every data rank owns an equal range of each bucket: one of them is planned.
std::vector<RankPlan> plan_ranks(const RunConfig& config, const ModelPlan& plan, const Mesh& mesh, int threads) {
  std::map<std::vector<int>, RankPlan> replicas;
  std::vector<RankPlan> ranks;
  for (int rank = 0; rank < mesh.size(); ++rank) {
    const MeshPlace place(mesh, rank);
    const std::vector<int> coordinates = coordinates_but_data(place);
    auto replica = replicas.find(coordinates);
    if (replica == replicas.end())
      replica = replicas.emplace(coordinates, plan_rank(config, plan, place, threads)).first;
    ranks.push_back(replica->second);
    ranks.back().place = place;
  }
  return ranks;
}

// Without measured times: floating-point operations, in units of the first block's forward pass of a microbatch. Each
// half of the backward pass costs as much as the forward pass; the head and recomputed parts run with the input
// gradient.
Costs counted_costs(const ModelPlan& plan) {
  const PartCosts parts = part_costs(*plan.model, plan.sequence);
  const double unit = parts.blocks.front();
  const double again =
      recompute_cost(plan).flops * plan.cut.tensor / (unit * static_cast<double>(plan.micro * plan.sequence));
  Costs costs;
  for (const StagePart& part : plan.parts) {
    const double embedding = part.embedding ? parts.embedding / unit : 0;
    const double head = part.head ? parts.head / unit : 0;
    double blocks = 0;
    for (int b = part.first_block; b < part.first_block + part.blocks; ++b)
      blocks += parts.blocks[static_cast<std::size_t>(b)] / unit;
    costs.stages.push_back({.forward = blocks + embedding,
                            .input_gradient = blocks + part.blocks * again + embedding + 2 * head,
                            .weight_gradient = blocks + head});
  }
  return costs;
}

Costs measured_costs(const std::string& path, const RunConfig& config, const ModelPlan& plan) {
  if (!std::filesystem::exists(status_of_path(path, "name the costs.json of a run")))
    throw_input_error("{} does not exist; a run of more than {} steps writes costs.json into its folder", path,
                      StepForecast::last_timed);
  const std::string text = read_text(path);
  try {
    return costs_of(plan.parts, read_part_times(text, times_subject(config)));
  } catch (const InputError& error) {
    throw_input_error("{}: {}", path, error.what());
  }
}

// Whether every rank's process fits into a device of this size, and what would make it fit.
struct Fit {
  std::size_t memory = 0;
  std::size_t wanted = 0;  ///< needed by the largest rank's process
  std::optional<FittingChange> change;
  bool fits() const { return wanted <= memory; }
};

std::size_t largest_planned(const std::vector<RankPlan>& ranks) {
  std::size_t most = 0;
  for (const RankPlan& r : ranks) most = std::max(most, r.planned);
  return most;
}

std::optional<Fit> fit_into(const std::optional<std::string>& memory, const RunDeck& deck,
                            const std::vector<RankPlan>& ranks, int threads) {
  if (!memory) return std::nullopt;
  const std::size_t beside = memory_beside_plan().bytes;
  Fit fit{.memory = parse_bytes(*memory), .wanted = largest_planned(ranks) + beside, .change = {}};
  if (!fit.fits() && fit.memory > beside) fit.change = smallest_fitting_change(deck, fit.memory - beside, threads);
  return fit;
}

nlohmann::json fit_json(const Fit& fit) {
  nlohmann::json json = {{"memory", fit.memory}, {"wanted", fit.wanted}, {"fits", fit.fits()}, {"change", nullptr}};
  if (fit.change)
    json["change"] = {
        {"set", fit.change->settings}, {"ranks", fit.change->ranks}, {"largest_plan", fit.change->planned}};
  return json;
}

void refuse_misfit(const Fit& fit, const std::string& deck, std::int64_t ranks) {
  if (fit.fits()) return;
  const std::size_t beside = memory_beside_plan().bytes;
  throw_input_error(
      "{} does not fit into {}: its largest rank plans {}, and its process holds about {} in addition; {}", deck,
      bytes_text(fit.memory), bytes_text(fit.wanted - beside), bytes_text(beside), advice_text(fit.change, ranks));
}

nlohmann::json plan_json(const RunConfig& config, const ModelPlan& plan, const Mesh& mesh,
                         const std::vector<RankPlan>& ranks, const ScheduleReport& report,
                         const std::optional<Fit>& fit) {
  const std::size_t beside = memory_beside_plan().bytes;
  nlohmann::json json;
  if (fit) json["fit"] = fit_json(*fit);
  json["mesh_auto"] = config.mesh.fitted;
  json["training_file"] = config.data.train;
  json["validation_file"] = config.data.validation;
  json["parameters"] = total_parameters(plan);
  json["tokens_per_step"] = config.tokens_per_step();
  json["microbatches"] = plan.microbatches();
  for (const Axis& axis : mesh.axes()) json["mesh"][axis.name] = axis.size;
  json["schedule"] = report_json(report);
  json["recompute"] = text(plan.recompute);
  json["warnings"] = deck_warnings(config);
  for (const RankPlan& r : ranks) {
    nlohmann::json& rank = json["ranks"].emplace_back();
    for (const Axis& axis : mesh.axes()) rank[axis.name] = r.place.at(axis.name);
    rank["layers"] = r.layers;
    rank["parameters"] = r.parameters;
    rank["bytes"] = bytes_json(r.memory, r.staging);
    rank["process"] = {{"beside", beside}, {"total", r.planned + beside}};
    rank["recompute"] = {{"bytes", r.recompute_bytes},
                         {"flops", r.recompute.flops},
                         {"bytes_moved", r.recompute.bytes_moved},
                         {"bytes_sent", r.recompute.bytes_sent}};
  }
  return json;
}

std::string memory_columns(const RankPlan& rank) {
  std::string columns = fmt::format("{:>12}", rank.parameters);
  for (int u = 0; u < memory_uses; ++u)
    columns += fmt::format("  {:>11}", bytes_text(rank.memory.of(static_cast<MemoryUse>(u))));
  return columns + fmt::format("  {:>11}  {:>11}", bytes_text(rank.memory.total()), bytes_text(rank.staging));
}

// One line for equal ranks of one pipeline rank, so that thousands of ranks need no more lines than a few.
struct MemoryLine {
  std::size_t first_rank = 0;
  int ranks = 0;
  std::string columns;
};

std::vector<MemoryLine> memory_lines(const std::vector<RankPlan>& ranks) {
  std::vector<MemoryLine> lines;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    std::string columns = memory_columns(ranks[rank]);
    const auto alike = std::find_if(lines.begin(), lines.end(), [&](const MemoryLine& line) {
      return ranks[line.first_rank].place.at(Axis::pipeline) == ranks[rank].place.at(Axis::pipeline) &&
             line.columns == columns;
    });
    if (alike != lines.end())
      ++alike->ranks;
    else
      lines.push_back({rank, 1, std::move(columns)});
  }
  return lines;
}

void print_text(const RunConfig& config, const ModelPlan& plan, const Mesh& mesh, const std::vector<RankPlan>& ranks,
                int threads, const std::string& table) {
  fmt::print("{} parameters on {} ranks: {}\n", total_parameters(plan), mesh.size(), mesh.text());
  for (const std::string& line : stage_lines(plan)) fmt::print("  {}\n", line);
  fmt::print("\n{} samples of {} tokens a step, {} microbatches of {} a replica, {}\n", config.batch.global,
             config.data.sequence, plan.microbatches(), config.batch.micro, name_of(config.precision.compute));
  fmt::print("\n rank");
  for (const auto& [axis, size] : config.mesh.by_axis()) fmt::print("  {}", axis);
  fmt::print("  ranks  {:>12}", "held");
  for (int u = 0; u < memory_uses; ++u) fmt::print("  {:>11}", name_of(static_cast<MemoryUse>(u)));
  fmt::print("  {:>11}  {:>11}\n", "total", "staging");
  for (const MemoryLine& line : memory_lines(ranks)) {
    const MeshPlace& place = ranks[line.first_rank].place;
    fmt::print("{:>5}", line.first_rank);
    for (const auto& [axis, size] : config.mesh.by_axis()) fmt::print("  {:>{}}", place.at(axis), axis.size());
    fmt::print("  {:>5}  {}\n", line.ranks, line.columns);
  }
  fmt::print(
      "(ranks: so many ranks of this pipeline rank are alike, and the first of them is named. held: elements of "
      "parameters; the others are memory of the plan, the workspace for {} thread{} a rank. Beside the total the host "
      "holds what saves are written from (staging), and, where a rank writes, up to 192 MiB while it saves.)\n",
      threads, threads == 1 ? "" : "s");
  const MemoryBesidePlan beside = memory_beside_plan();
  fmt::print("Beside that a process holds about {} ({}): {} shows about {} for the largest rank.\n",
             bytes_text(beside.bytes), beside.what, beside.shown_by, bytes_text(largest_planned(ranks) + beside.bytes));
  fmt::print("activations of rank 0:");
  for (const auto& [part, bytes] : ranks.front().memory.activations) fmt::print("  {} {}", part, bytes_text(bytes));
  const RankPlan& first = ranks.front();
  constexpr double mebibyte = 1 << 20;
  fmt::print("\nrecomputation \"{}\" on rank 0, against \"none\": {:+.1f} MiB of memory; {:+.4g} operations",
             text(plan.recompute), static_cast<double>(first.recompute_bytes) / mebibyte, first.recompute.flops);
  fmt::print(", {:+.1f} MiB read and written and {:+.1f} MiB sent a step\n\n{}",
             static_cast<double>(first.recompute.bytes_moved) / mebibyte,
             static_cast<double>(first.recompute.bytes_sent) / mebibyte, table);
}

}  // namespace

void check_command(const CheckRequest& request) {
  Deck deck = Deck::load(request.deck);
  for (const std::string& setting : request.settings) deck.set(setting);
  if (request.weights) {
    IoThread io;
    const WeightsSource weights = find_weights(io, wait_by_sleeping(), *request.weights);
    take_model_of_weights(deck, weights.model, weights.model_place);
  }
  const bool names_text = deck.says("data.train");
  if (!names_text) deck.set("data.train=FILE");  // no plan depends on it, and nothing opens it here
  RunDeck read = request.ranks > 0 ? fit_mesh(deck, request.ranks, false) : read_run_deck(deck);
  RunConfig& config = read.config;
  config.schedule.table = read_schedule_file(config.schedule.file);
  const ModelPlan plan = make_plan(config);
  const Mesh mesh = config.make_mesh();
  const int threads = config.device.threads > 0 ? static_cast<int>(config.device.threads) : 1;
  const std::vector<RankPlan> ranks = plan_ranks(config, plan, mesh, threads);
  const Simulation simulation =
      simulate(plan.schedule, request.costs ? measured_costs(*request.costs, config, plan) : counted_costs(plan));
  const ScheduleReport costs = report(plan.schedule, simulation);
  const std::string unit =
      request.costs ? fmt::format("schedule, in seconds, from {}:\n", *request.costs)
                    : "schedule, in forward passes of one block (floating-point operations counted, not measured):\n";
  const std::optional<Fit> fit = fit_into(request.memory, read, ranks, threads);
  if (!names_text) config.data.train.clear();
  const bool for_programs = request.json || request.get;
  if (request.get)
    fmt::print("{}", json_lines(plan_json(config, plan, mesh, ranks, costs, fit), *request.get));
  else if (request.json)
    fmt::print("{}\n", json_text(plan_json(config, plan, mesh, ranks, costs, fit)));
  else
    print_text(config, plan, mesh, ranks, threads, unit + text(costs) + draw_text(plan.schedule, simulation));
  if (!for_programs)
    for (const std::string& warning : deck_warnings(config)) fmt::print("warning: {}\n", warning);
  if (!names_text && !for_programs) fmt::print("data.train is missing: `train` wants --set data.train=FILE\n");
  if (fit) refuse_misfit(*fit, request.deck, mesh.size());
  if (fit && !for_programs)
    fmt::print("fits into {}: the largest rank's process takes about {}\n", bytes_text(fit->memory),
               bytes_text(fit->wanted));
}

}  // namespace penstock

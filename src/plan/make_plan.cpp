// SPDX-License-Identifier: Apache-2.0
#include "plan/make_plan.hpp"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/user_path.hpp"
#include "schedule/csv.hpp"
#include "schedule/generate.hpp"
#include "schedule/lower.hpp"
#include "schedule/validate.hpp"

namespace penstock {

std::string read_schedule_file(const std::string& path) {
  if (path.empty()) return "";
  std::error_code error;
  const std::filesystem::file_status status = status_of_path(path, "name a CSV file, or a schedule instead");
  if (!std::filesystem::is_regular_file(status))
    throw_input_error("the schedule's file {} {}; name a CSV file, or a schedule instead", path,
                      std::filesystem::exists(status) ? "is not a file" : "does not exist");
  constexpr std::uintmax_t most_bytes = 256 << 20;
  if (std::filesystem::file_size(path, error) > most_bytes)
    throw_input_error("the schedule's file {} is larger than any table that Penstock plans; name a CSV file", path);
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) throw_input_error("the schedule's file {} cannot be read; check its permissions", path);
  return text.str();
}

namespace {

// A user's table must have the deck's sizes.
void check_table(const RunConfig& config, const Schedule& table) {
  const std::string& file = config.schedule.file;
  if (table.pipeline != config.mesh.pipeline)
    throw_input_error(
        "{}: the table has {} line{}, one a pipeline rank, but mesh.pipeline = {}; set mesh.pipeline = {}, or "
        "write a line a rank",
        file, table.pipeline, table.pipeline == 1 ? "" : "s", config.mesh.pipeline, table.pipeline);
  if (table.microbatches != config.microbatches())
    throw_input_error(
        "{}: the table has {} microbatch{}, but batch.global / (batch.micro * mesh.data) = {} / ({} * {}) = "
        "{}; write a table of {} microbatches, or change the batch",
        file, table.microbatches, table.microbatches == 1 ? "" : "es", config.batch.global, config.batch.micro,
        config.mesh.data, config.microbatches(), config.microbatches());
  if (config.schedule.chunks != 0 && table.chunks() != config.schedule.chunks)
    throw_input_error("{}: the table has {} stages a rank, but schedule.chunks = {}; leave schedule.chunks out", file,
                      table.chunks(), config.schedule.chunks);
  if (table.stages > config.model.layers)
    throw_input_error(
        "{}: the table has {} stages, but model.layers = {}: every stage holds at least one block; write a "
        "table of at most {} stages, or use more layers",
        file, table.stages, config.model.layers, config.model.layers);
}

Schedule computing_table(const RunConfig& config) {
  if (config.schedule.file.empty()) return generate(config.schedule_request());
  const Schedule table = schedule_from_csv(config.schedule.table, config.schedule.file,
                                           std::filesystem::path(config.schedule.file).stem().string());
  check_table(config, table);
  return table;
}

}  // namespace

ModelPlan make_plan(const RunConfig& config) {
  ModelPlan plan;
  plan.model = std::make_shared<const ModelDescription>(describe_model(config.model));
  plan.cut = {.tensor = static_cast<int>(config.mesh.tensor),
              .sequence_parallel = config.mesh.sequence_parallel,
              .compute = config.compute_type(),
              .gradient = config.gradient_type(),
              .repeatable_attention = config.device.repeatable};
  plan.recompute = config.recompute.policy;
  plan.optimizer = config.optimizer;
  plan.seed = static_cast<std::uint64_t>(config.run.seed);
  plan.micro = config.batch.micro;
  plan.sequence = config.data.sequence;
  const Schedule computing = computing_table(config);
  plan.parts =
      config.schedule.partition.empty()
          ? balanced_partition(computing.stages, part_costs(*plan.model, config.data.sequence))
          : given_partition(static_cast<int>(config.model.layers), computing.stages, config.schedule.partition);
  plan.schedule = lower(computing, {.tied = plan.model->tied});
  validate(plan.schedule);
  plan.parameters = model_parameters(*plan.model, plan.cut, plan.parts);
  return plan;
}

}  // namespace penstock

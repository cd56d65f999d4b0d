// SPDX-License-Identifier: Apache-2.0
// Rules that span keys of a deck.

#include <algorithm>
#include <cmath>

#include "base/suggest.hpp"
#include "checkpoint/writers.hpp"
#include "model/families/families.hpp"
#include "plan/run_config.hpp"
#include "plan/taps.hpp"
#include "schedule/generate.hpp"
#include "storage/stripes.hpp"

namespace penstock {

namespace {

// Bounds of single keys; products of several have bounds of their own in check_products.
constexpr std::int64_t largest_mesh = 1 << 20;
constexpr std::int64_t most_layers = RunConfig::most_layers;
constexpr std::int64_t most_extent = 1 << 30;
constexpr std::int64_t most_width = 1 << 24;

bool usable_mesh(const RunConfig& c, const FieldTable& table) {
  const auto axes = c.mesh.by_axis();
  return std::all_of(axes.begin(), axes.end(),
                     [&](const auto& axis) { return table.usable({fmt::format("mesh.{}", axis.first)}); });
}

bool has_sizes_of_heads(const RunConfig& c, const FieldTable& table) {
  return table.usable({"model.width", "model.heads", "model.kv_heads", "model.head_channels", "model.hidden"}) &&
         std::max({c.model.width, c.model.heads, c.model.kv_heads, c.model.head_channels, c.model.hidden}) <=
             most_width &&
         c.model.layers <= most_layers;
}

void check_family(const RunConfig& c, const FieldTable& table, Mistakes& mistakes) {
  if (!table.usable({"model.family"})) return;
  for (const Field& field : table.fields()) {
    if (!table.given(field.key()) || has_key(c.model, field.key())) continue;
    std::string owners;
    for (const Family& family : families())
      if (std::find(family.keys.begin(), family.keys.end(), field.key()) != family.keys.end())
        owners += fmt::format("{}{}", owners.empty() ? "" : ", ", family.name);
    mistakes.add("{}: {} is a key of the families {}, and model.family = \"{}\"; leave it out, or change the family",
                 table.where(field.key()), field.key(), owners, c.model.family);
  }
}

void check_heads(const RunConfig& c, const FieldTable& table, Mistakes& mistakes) {
  if (!has_sizes_of_heads(c, table)) return;  // check_sizes reports what is too large
  if (c.model.head_channels == 0 && c.model.width % c.model.heads != 0)
    mistakes.add("{}: model.heads = {} does not divide model.width = {}; use {}, or change model.width",
                 table.where("model.heads"), c.model.heads, c.model.width, divisors_text(c.model.width));
  if (c.model.heads % c.model.heads_of_keys() != 0)
    mistakes.add("{}: model.kv_heads = {} does not divide model.heads = {}; use {}, or change model.heads",
                 table.where("model.kv_heads"), c.model.kv_heads, c.model.heads, divisors_text(c.model.heads));
  const ModelDescription model = describe_model(c.model);
  for (const BranchDescription& branch : model.kinds.front().branches)
    if (const AttentionCore* attention = branch.attention();
        attention && attention->rotation && attention->head_channels % 2 != 0)
      mistakes.add(
          "{}: a head has {} channels, but rotary positions turn pairs of them; use an even number of channels",
          table.where(c.model.head_channels > 0 ? "model.head_channels" : "model.heads"), attention->head_channels);
}

// Ranks of the tensor axis get whole units: heads, or hidden channels. If there are fewer heads of keys than ranks,
// neighbours hold copies.
void check_tensor_axis(const RunConfig& c, const FieldTable& table, Mistakes& mistakes) {
  if (!has_sizes_of_heads(c, table) || !table.usable({"mesh.tensor"})) return;
  std::vector<std::string_view> seen;
  const ModelDescription model = describe_model(c.model);
  for (const BranchDescription& branch : model.kinds.front().branches)
    for (const InWeight& weight : branch.in.weights)
      for (const OutputSection& section : weight.sections) {
        const bool shared =
            section.units % c.mesh.tensor == 0 || (section.copied && c.mesh.tensor % section.units == 0);
        if (shared || section.key.empty() || std::find(seen.begin(), seen.end(), section.key) != seen.end()) continue;
        seen.push_back(section.key);
        mistakes.add("{}: mesh.tensor = {} does not divide {} = {}{}; use {}{}, or change {}",
                     table.where("mesh.tensor"), c.mesh.tensor, section.key, section.units,
                     section.copied ? ", nor is it a multiple" : "", divisors_text(section.units),
                     section.copied ? ", or a multiple of all" : "", section.key);
      }
}

void check_rotation(const RunConfig& c, const FieldTable& table, Mistakes& mistakes) {
  if (!has_key(c.model, "model.rope_scaling")) return;
  if (!table.usable({"model.rope_scaling", "model.rope_low", "model.rope_high", "model.rope_factor"})) return;
  if (c.model.rope_scaling == ops::RotaryScaling::llama3 && c.model.rope_high <= c.model.rope_low)
    mistakes.add("{}: model.rope_high = {} is not above model.rope_low = {}; name the two factors in their order",
                 table.where("model.rope_high"), c.model.rope_high, c.model.rope_low);
  if (c.model.rope_scaling == ops::RotaryScaling::none && c.model.rope_factor != 1)
    mistakes.add(
        "{}: model.rope_factor = {}, but model.rope_scaling = \"none\"; name the scaling, or leave the factor out",
        table.where("model.rope_factor"), c.model.rope_factor);
}

void check_batch(const RunConfig& c, const FieldTable& table, Mistakes& mistakes) {
  if (!table.usable({"batch.global", "batch.micro", "mesh.data"})) return;
  if (c.mesh.data > largest_mesh || c.batch.micro > (std::int64_t{1} << 31)) return;
  if (c.batch.global % (c.batch.micro * c.mesh.data) != 0)
    mistakes.add(
        "{}: batch.global = {} is not divisible by batch.micro * mesh.data = {} * {} = {}; use a multiple of {}, or "
        "change "
        "batch.micro or mesh.data",
        table.where("batch.global"), c.batch.global, c.batch.micro, c.mesh.data, c.batch.micro * c.mesh.data,
        c.batch.micro * c.mesh.data);
  const bool validates = !c.data.validation.empty() && table.usable({"validation.samples"});
  if (validates && c.validation.samples % (c.batch.micro * c.mesh.data) != 0)
    mistakes.add(
        "{}: validation.samples = {} is not divisible by batch.micro * mesh.data = {} * {} = {}; use a multiple of {}",
        table.where("validation.samples"), c.validation.samples, c.batch.micro, c.mesh.data,
        c.batch.micro * c.mesh.data, c.batch.micro * c.mesh.data);
}

void check_sequence(const RunConfig& c, const FieldTable& table, Mistakes& mistakes) {
  if (!table.usable({"data.sequence"})) return;
  if (table.usable({"model.positions"}) && c.data.sequence > c.model.positions)
    mistakes.add(
        "{}: data.sequence = {} is longer than the model's positions, model.positions = {}; use at most {}, or more "
        "positions",
        table.where("data.sequence"), c.data.sequence, c.model.positions, c.model.positions);
  if (c.batch.micro > most_extent || c.data.sequence > most_extent) return;  // reported by check_sizes
  if (table.usable({"mesh.tensor", "batch.micro"}) && c.mesh.sequence_parallel &&
      c.batch.micro * c.data.sequence % c.mesh.tensor != 0)
    mistakes.add(
        "{}: mesh.tensor = {} does not divide the tokens of a microbatch, batch.micro * data.sequence = {} * {}; "
        "change one of "
        "them, or say mesh.sequence_parallel = false",
        table.where("mesh.tensor"), c.mesh.tensor, c.batch.micro, c.data.sequence);
}

void check_stages(const RunConfig& c, const FieldTable& table, Mistakes& mistakes) {
  if (!table.usable({"model.layers", "mesh.pipeline"})) return;
  if (c.mesh.pipeline > largest_mesh || c.model.layers > most_layers) return;  // reported by check_sizes
  // The contents of a schedule file are not known here: make_plan checks its stages.
  const bool generated = c.schedule.file.empty();
  const bool chosen = table.usable({"schedule.name", "schedule.chunks", "schedule.backward"});
  const std::int64_t chunks =
      generated && chosen ? chunks_of({.name = c.schedule.name, .chunks = static_cast<int>(c.schedule.chunks)}) : 1;
  const std::int64_t stages = c.mesh.pipeline * chunks;
  if (c.mesh.pipeline > c.model.layers)
    mistakes.add(
        "{}: mesh.pipeline = {} is more stages than blocks, model.layers = {}; every stage holds at least one block: "
        "use at most {}",
        table.where("mesh.pipeline"), c.mesh.pipeline, c.model.layers, c.model.layers);
  else if (stages > c.model.layers)
    mistakes.add(
        "{}: mesh.pipeline * schedule.chunks = {} * {} = {} is more stages than blocks, model.layers = {}; every stage "
        "holds at least one block: use {}, fewer pipeline ranks, or more layers",
        table.where("schedule.chunks"), c.mesh.pipeline, chunks, stages, c.model.layers,
        c.schedule.name == ScheduleName::zb_v ? "another schedule, as zb-v has two chunks a rank"
                                              : fmt::format("at most {} chunks", c.model.layers / c.mesh.pipeline));
  else if (generated && table.usable({"schedule.partition"}) && !c.schedule.partition.empty()) {
    try {
      given_partition(static_cast<int>(c.model.layers), static_cast<int>(stages), c.schedule.partition);
    } catch (const InputError& error) {
      mistakes.add("{}: {}", table.where("schedule.partition"), error.what());
    }
  }
}

// For schedules with a fixed number of chunks.
bool has_chunks_of_schedule(const RunConfig& c, const FieldTable& table, Mistakes& mistakes) {
  const std::optional<int> only = only_chunks(c.schedule.name);
  if (!only || c.schedule.chunks == 0 || c.schedule.chunks == *only) return true;
  std::vector<std::string> others;
  for (const std::string& name : schedule_names())
    if (const auto chunks = only_chunks(parse_schedule_name(name)); !chunks || *chunks == c.schedule.chunks)
      others.push_back(name);
  mistakes.add(
      "{}: schedule.chunks = {}, but schedule.name = \"{}\" runs {} stage{} a rank; use schedule.chunks = {}, or "
      "schedule.name = {}",
      table.where("schedule.chunks"), c.schedule.chunks, text(c.schedule.name), *only, *only == 1 ? "" : "s", *only,
      choice_text(others));
  return false;
}

// Whether the named schedule runs with these chunks and this backward.
void check_schedule(const RunConfig& c, const FieldTable& table, Mistakes& mistakes) {
  if (!c.schedule.file.empty() || !table.usable({"schedule.name", "schedule.chunks", "schedule.backward"})) return;
  if (!has_chunks_of_schedule(c, table, mistakes)) return;
  try {
    check_request(
        {.name = c.schedule.name, .chunks = static_cast<int>(c.schedule.chunks), .backward = c.schedule.backward});
  } catch (const InputError& error) {
    mistakes.add("{}: {}", table.where("schedule.name"), error.what());
  }
}

void check_sizes(const RunConfig& c, const FieldTable& table, Mistakes& mistakes) {
  const auto at_most = [&](std::string_view key, std::int64_t value, std::int64_t limit) {
    if (table.usable({key}) && value > limit)
      mistakes.add("{}: {} = {} is beyond what Penstock counts; use at most {}", table.where(key), key, value, limit);
  };
  for (const auto& [axis, size] : c.mesh.by_axis()) at_most(fmt::format("mesh.{}", axis), size, largest_mesh);
  at_most("model.layers", c.model.layers, most_layers);
  at_most("model.width", c.model.width, most_width);
  at_most("model.heads", c.model.heads, most_width);
  at_most("model.kv_heads", c.model.kv_heads, most_width);
  at_most("model.head_channels", c.model.head_channels, most_width);
  at_most("model.hidden", c.model.hidden, most_width);
  at_most("model.window", c.model.window, most_extent);
  at_most("model.rope_original", c.model.rope_original, most_extent);
  at_most("model.positions", c.model.positions, most_extent);
  at_most("batch.global", c.batch.global, most_extent);
  at_most("batch.micro", c.batch.micro, most_extent);
  at_most("data.sequence", c.data.sequence, most_extent);
}

// Later products are checked here in double, which does not overflow.
void check_products(const RunConfig& c, const FieldTable& table, Mistakes& mistakes) {
  const auto at_most = [&](const std::string& what, double value, double limit, std::string_view key) {
    if (value > limit)
      mistakes.add("{}: {} = {:.0f} is beyond what Penstock counts; use sizes whose product is at most {:.0f}",
                   table.where(key), what, value, limit);
  };
  const auto number = [](std::int64_t value) { return static_cast<double>(value); };
  if (usable_mesh(c, table)) {
    double ranks = 1;
    for (const auto& [axis, size] : c.mesh.by_axis()) ranks *= number(size);
    at_most(c.mesh.keys(), ranks, largest_mesh, "mesh.data");
  }
  if (table.usable({"batch.global", "batch.micro", "mesh.data", "mesh.pipeline"}))
    at_most("microbatches * mesh.pipeline * schedule.chunks",
            number(c.batch.global) / (number(c.batch.micro) * number(c.mesh.data)) * number(c.mesh.pipeline) *
                number(std::max(c.schedule.chunks, std::int64_t{c.schedule.name == ScheduleName::zb_v ? 2 : 1})),
            1 << 20, "batch.global");
  if (!table.usable({"model.width", "model.heads", "model.layers", "model.vocabulary", "model.positions"})) return;
  if (c.model.layers > most_layers || !has_sizes_of_heads(c, table)) return;
  const ModelDescription model = describe_model(c.model);
  at_most("the number of parameters", matrix_elements(model), 1e13, "model.width");
  if (!table.usable({"batch.micro", "data.sequence"})) return;
  const double tokens = number(c.batch.micro) * number(c.data.sequence);
  at_most("batch.micro * data.sequence", tokens, 1 << 30, "batch.micro");
  double widest = number(model.vocabulary);  // the largest share of one tensor, and of its gradients, for a token
  for (const BranchDescription& branch : model.kinds.front().branches)
    widest = std::max({widest, 3 * number(branch.in.outputs()), 3 * number(branch.core_channels())});
  at_most("elements of a microbatch's largest activation", tokens * widest, 1e13, "batch.micro");
}

void refuse_steps_beyond_the_end(const char* key, const std::vector<std::int64_t>& steps, const RunConfig& c,
                                 const FieldTable& table, Mistakes& mistakes) {
  if (!table.usable({key, "run.steps"})) return;
  for (const std::int64_t step : steps)
    if (step > c.run.steps)
      mistakes.add("{}: {} names step {}, but the run ends at run.steps = {}; name an earlier step", table.where(key),
                   key, step, c.run.steps);
}

void check_writing(const RunConfig& c, const FieldTable& table, Mistakes& mistakes) {
  refuse_steps_beyond_the_end("trace.steps", c.trace.steps, c, table, mistakes);
  for (const auto& [axis, size] : c.mesh.by_axis())
    if (size > largest_mesh) return;  // check_sizes reports it
  const std::int64_t ranks = c.mesh.ranks();
  if (table.usable({"checkpoint.writers"}) && usable_mesh(c, table) && c.checkpoint.writers > ranks)
    mistakes.add(
        "{}: checkpoint.writers = {}, but the mesh has {} rank{}; use at most that many, or 0 for one for each GiB of "
        "state",
        table.where("checkpoint.writers"), c.checkpoint.writers, ranks, ranks == 1 ? "" : "s");
  if (c.checkpoint.writers > 1 && !several_can_write())
    mistakes.add(
        "{}: checkpoint.writers = {}, but this program was built with an HDF5 without MPI support: one rank writes; "
        "use 1 or 0, or build with parallel HDF5 (Debian: libhdf5-mpich-dev)",
        table.where("checkpoint.writers"), c.checkpoint.writers);
  try {
    Stripes::from(c.mpi_io_hints());
  } catch (const InputError& error) {
    mistakes.add("{}: {}", table.where("checkpoint.mpi_io_hints"), error.what());
  }
}

void check_capture(const RunConfig& c, const FieldTable& table, Mistakes& mistakes) {
  if (!table.usable({"capture.taps", "capture.steps"})) return;
  if (!c.capture.steps.empty() && c.capture.taps.empty())
    mistakes.add("{}: capture.steps names steps, but capture.taps is empty; name taps such as \"blocks.*\" or \"loss\"",
                 table.where("capture.steps"));
  refuse_steps_beyond_the_end("capture.steps", c.capture.steps, c, table, mistakes);
  if (!table.usable({"model.layers"}) || c.model.layers > most_layers) return;
  const ModelDescription model = describe_model(c.model);
  for (const std::string& pattern : unknown_taps(c.capture.taps, model))
    mistakes.add("{}: capture.taps names \"{}\", which the model does not have; {}", table.where("capture.taps"),
                 pattern, taps_text(model));
}

void check_decay(const RunConfig& c, const FieldTable& table, Mistakes& mistakes) {
  if (!table.usable({"optimizer.decay", "optimizer.decay_steps", "optimizer.decay_shape"})) return;
  const std::int64_t decay_steps = c.optimizer.decay_steps;
  if (!has_plateau(c.optimizer)) {
    if (decay_steps > 0 || c.optimizer.decay_shape != OptimizerConfig{}.decay_shape)
      mistakes.add(
          "{}: optimizer.decay_steps = {} and optimizer.decay_shape = \"{}\" are of optimizer.decay = \"wsd\", and it "
          "is "
          "\"{}\"; leave them out, or use \"wsd\"",
          table.where("optimizer.decay"), decay_steps, c.optimizer.decay_shape, c.optimizer.decay);
    return;
  }
  if (decay_steps < 1)
    mistakes.add(
        "{}: optimizer.decay = \"wsd\" falls over the last optimizer.decay_steps steps, which is {}; name at least 1, "
        "for "
        "instance a fifth of run.steps",
        table.where("optimizer.decay"), decay_steps);
  if (table.usable({"run.steps", "optimizer.warmup"}) && decay_steps > c.run.steps - c.optimizer.warmup)
    mistakes.add(
        "{}: optimizer.warmup = {} and optimizer.decay_steps = {} do not fit into run.steps = {}; use fewer of them, "
        "or "
        "more steps",
        table.where("optimizer.decay_steps"), c.optimizer.warmup, decay_steps, c.run.steps);
}

// Masks compare 16 random bits: a probability is used as a multiple of 1/65536 (ops/dropout.hpp).
void check_dropout(const RunConfig& c, const FieldTable& table, Mistakes& mistakes) {
  constexpr double parts = 65536;
  const auto check = [&](std::string_view key, double probability) {
    if (!table.usable({key}) || probability == 0) return;
    const double used = std::floor(probability * parts + 0.5);
    if (used >= 1 && used < parts) return;
    mistakes.add("{}: {} = {} becomes {} as a multiple of 1/65536, which is what it is used as; use {}",
                 table.where(key), key, probability, used / parts,
                 used < 1 ? fmt::format("0, or at least {}", 1 / parts) : fmt::format("at most {}", 1 - 1 / parts));
  };
  check("model.dropout_embedding", c.model.dropout_embedding);
  check("model.dropout_residual", c.model.dropout_residual);
  check("model.dropout_attention", c.model.dropout_attention);
}

// Whether sizes are refused that are too large for the loops of other checks.
bool is_too_large(const RunConfig& c, const FieldTable& table, Mistakes& mistakes) {
  const std::size_t before = mistakes.lines().size();
  check_sizes(c, table, mistakes);
  if (mistakes.lines().size() == before) check_products(c, table, mistakes);
  return mistakes.lines().size() > before;
}

}  // namespace

void check_across_keys(const RunConfig& config, const FieldTable& table, Mistakes& mistakes) {
  check_family(config, table, mistakes);
  check_heads(config, table, mistakes);
  check_tensor_axis(config, table, mistakes);
  check_rotation(config, table, mistakes);
  check_batch(config, table, mistakes);
  check_sequence(config, table, mistakes);
  check_stages(config, table, mistakes);
  check_schedule(config, table, mistakes);
  check_writing(config, table, mistakes);
  check_dropout(config, table, mistakes);
  check_decay(config, table, mistakes);
  if (!is_too_large(config, table, mistakes)) check_capture(config, table, mistakes);
}

std::vector<std::string> deck_warnings(const RunConfig& config) {
  const std::int64_t warmup = config.optimizer.warmup, steps = config.run.steps;
  if (warmup == 0 || warmup < steps) return {};
  const double highest = learning_rate(config.optimizer, steps, steps);
  return {fmt::format(
      "optimizer.warmup = {} is not below run.steps = {}: the learning rate only rises, to {:.4g} of the {:.4g} of "
      "optimizer.learning_rate in the last step; use a shorter warmup, or more steps",
      warmup, steps, highest, config.optimizer.learning_rate)};
}

}  // namespace penstock

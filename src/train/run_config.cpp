#include "train/run_config.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "config/suggest.hpp"
#include "schedule/csv.hpp"
#include "schedule/generate.hpp"
#include "schedule/lower.hpp"
#include "schedule/validate.hpp"
#include "train/taps.hpp"

namespace penstock {

namespace {

// Bounds of single keys; products of several have bounds of their own in check_products.
constexpr std::int64_t most_ranks = 1 << 20;
constexpr std::int64_t most_layers = 4096;
constexpr std::int64_t most_extent = 1 << 30;
constexpr std::int64_t most_width = 1 << 24;

}  // namespace

void RunConfig::describe(FieldTable& table) {
  table.add("run.steps", run.steps, "updates in all lives together; the learning rate ends there")
      .unit("steps")
      .required()
      .at_least(1);
  table.add("run.seed", run.seed, "of initial weights, data order and dropout").at_least(0);
  table.add("run.stop", run.stop, "end this life after that step, saved, with exit code 75; 0: at run.steps")
      .unit("steps")
      .at_least(0);
  table
      .add(
          "run.reserve", run.reserve,
          "to be free before the end of a Slurm job, beside twice the longest step and save so far: then the run saves "
          "itself and stops; 0: the job's end is not asked for")
      .unit("seconds")
      .at_least(0);

  table.add("run.preflight", run.preflight,
            "before step 1 time a product on each rank and a message on each axis, and name what stands out");

  table.add("data.train", data.train, "token file to train on (made by penstock tokenize)").required().not_empty();
  table.add("data.validation", data.validation, "token file of held-back text; empty: none");
  table.add("data.stage", data.stage,
            "folder on a disk of each node's own, such as \"/tmp\": token files are copied there and read from there; "
            "empty: they are read where they are");
  table.add("data.sequence", data.sequence, "tokens of a sample").unit("tokens").required().at_least(1);

  model.describe(table);

  table.add("mesh.data", mesh.data, "replicas of the model, each with a part of the batch").unit("ranks").at_least(1);
  table.add("mesh.pipeline", mesh.pipeline, "ranks the layers are cut over").unit("ranks").at_least(1);
  table.add("mesh.tensor", mesh.tensor, "ranks every layer's matrices are cut over").unit("ranks").at_least(1);
  table.add("mesh.sequence_parallel", mesh.sequence_parallel,
            "cut the tokens between attention and MLP over the tensor axis, too");

  table
      .add("mesh.auto", mesh.fitted,
           "where the job has another number of ranks than the mesh, train on the nearest mesh that fits")
      .advanced(
          "The tensor and pipeline axes are kept where that can be, and the data axis takes what is left; else the "
          "nearest sizes that model, batch and schedule allow. The log says which mesh it is. Losses are those of the "
          "deck's own mesh, but for the order of sums.");

  table.add("batch.global", batch.global, "samples of a step, over all replicas")
      .unit("samples")
      .required()
      .at_least(1);
  table.add("batch.micro", batch.micro, "samples of a microbatch").unit("samples").required().at_least(1);

  table.add("schedule.name", schedule.name, "order of forward and backward passes in the pipeline")
      .one_of(schedule_names())
      .advanced(
          "fifo: all forwards, then all backwards. 1f1b: in turn, with least memory. ring: 1f1b with several stages a "
          "rank. breadth-first: fifo with several. zb-h1: 1f1b's memory, with weight gradients where ranks would wait. "
          "zb-h2: less waiting, about twice the memory. zb-v: least waiting with 1f1b's memory, two stages a rank. "
          "`penstock schedule` draws them.");
  table
      .add("schedule.chunks", schedule.chunks,
           "stages a pipeline rank holds; 0: what the schedule is made for, two with zb-v, else one")
      .unit("stages")
      .at_least(0)
      .at_most(most_layers);
  table
      .add("schedule.backward", schedule.backward,
           "split: a stage sends its input gradient before it computes weight gradients; fused: after")
      .one_of({"split", "fused"});
  table.add(
      "schedule.file", schedule.file,
      "CSV file with a table of your own, in place of schedule.name: a line a pipeline rank, cells 2F0 2I0 2W0 2B0");
  table.add("schedule.partition", schedule.partition, "blocks of each stage; empty: balanced by cost")
      .unit("blocks")
      .at_least(1);
  table.add("recompute.policy", recompute.policy, "what the backward pass computes again instead of keeping it")
      .one_of({"none", "elementwise", "attention", "block", "block-local"})
      .advanced(
          "none: nothing; all activations are kept from the forward pass of a microbatch to its backward pass. "
          "elementwise: normalized rows and the MLP after GELU (six sixteenths of the bytes); no product is made "
          "again, "
          "so that it costs least for what it saves. attention: the attention core alone (its output and log-sum-exp, "
          "a "
          "sixteenth of the bytes); its time is the core's. block: all but a block's input (15 sixteenths); it costs "
          "two thirds of a forward pass, and with "
          "mesh.tensor above 1 one more sum a block across those ranks. block-local: as block, but what was summed "
          "across tensor ranks is kept (14 sixteenths are not), so that as many bytes are sent as with none; with "
          "mesh.tensor = 1 it is block. Losses and gradients have the same bits with all of them (on a GPU with "
          "elementwise only where the product in "
          "front of GELU does not have it in its epilogue: GELU is then an operation of its own, and may round another "
          "way). What is computed again "
          "lies in one block's buffers a rank. With schedule.backward = \"split\" what weight gradients read of it is "
          "held until they come, in buffers of every block: where memory is short, choose \"fused\". penstock check "
          "prints the bytes, operations and messages of the policy.");

  optimizer.describe(table);
  table
      .add("precision.compute", precision.compute,
           "type of matrices and activations; master weights, moments and sums are float32")
      .one_of({"float32", "bfloat16"});
  table.add("precision.gradients", precision.gradients, "type of the gradients of products' weights")
      .one_of({"auto", "float32"})
      .advanced(
          "auto: that of precision.compute where nothing is added to them, which is with one microbatch a step, "
          "mesh.data = 1 and mesh.pipeline = 1; else float32. In bfloat16 they take half the memory and half the time "
          "of "
          "reading them, and an update sees each one rounded once. All others (of biases, norms and embeddings) are "
          "float32.");

  table
      .add("validation.every", validation.every,
           "steps between evaluations on data.validation; 0: after the last step only")
      .unit("steps")
      .at_least(0);
  table.add("validation.samples", validation.samples, "samples of an evaluation, from the beginning of the file")
      .unit("samples")
      .at_least(1);

  table.add("checkpoint.every", checkpoint.every, "steps between checkpoints; 0: after the last step only")
      .unit("steps")
      .at_least(0);
  table.add("checkpoint.keep", checkpoint.keep, "newest checkpoints to keep; 0: all")
      .unit("files")
      .at_least(0)
      .at_most(1 << 20);
  table.add("checkpoint.initial", checkpoint.initial, "also write step 0");
  table
      .add("checkpoint.background", checkpoint.background,
           "copy the state and write it while training goes on; false: training waits")
      .advanced(
          "The copy is as large as master weights and moments together (penstock check prints it). On a GPU it is the "
          "pinned memory that is there in any case. At most one save is in flight; a later one waits for it.");
  table.add("checkpoint.retries", checkpoint.retries, "how often a save that failed is tried again")
      .at_least(0)
      .at_most(20);
  table.add("checkpoint.writers", checkpoint.writers, "ranks that write files; 0: one a node")
      .unit("ranks")
      .at_least(0)
      .at_most(1 << 20);
  table.add("checkpoint.mpi_io_hints", checkpoint.mpi_io_hints,
            "\"name=value\" hints for MPI-IO, where several ranks write");

  table.add("capture.steps", capture.steps, "steps whose values are captured").at_least(1);
  table.add("capture.taps", capture.taps, "places of the model to capture, such as \"blocks.*.mlp\" or \"loss\"");

  table
      .add("trace.steps", trace.steps,
           "steps whose actions go to trace.json, foretold (from step 11 of a life on) beside measured")
      .at_least(1);
  table.add("watchdog.seconds", watchdog.seconds, "longest time in which no rank gets on before the job is ended")
      .unit("seconds")
      .above(0);
  table
      .add("watchdog.nonfinite", watchdog.nonfinite,
           "what follows a step whose loss or gradient norm is infinite or NaN: stop the run, or skip the update")
      .one_of({"stop", "skip"})
      .advanced(
          "Either way the log names the first value that is not finite: tensor, layer, microbatch and rank. stop: the "
          "state before the step goes into the run folder's evidence/ with the samples' numbers in report.txt. skip: "
          "weights and moments stay as they are on all ranks, metrics.csv says so, and the run goes on with the next "
          "samples; after 10 steps in a row it stops.");
  table
      .add("device.threads", device.threads,
           "OpenMP threads of a rank; 0: OMP_NUM_THREADS, or else the node's cores shared by its ranks")
      .unit("threads")
      .at_least(0)
      .at_most(1 << 16);
  table.add("device.share", device.share, "let several ranks compute on one GPU, for tests; the CPU is always shared");
  table.add("device.measure", device.measure,
            "on a GPU: time before step 1 how each matrix product is made fastest, and keep it in the run folder "
            "(products.tsv), where restarts find it; false: the library's first choice, the same in every run");
  table.add("device.repeatable", device.repeatable,
            "on a GPU: only algorithms whose bits repeat; false: cuDNN may add attention's gradient in the order that "
            "comes, which is faster, and a run that is repeated or restarted then differs in its last digits");
  table.add("device.graphs", device.graphs,
            "on a GPU: record each pass of a microbatch through a stage as a CUDA graph and launch that from step 3 on; "
            "false: launch every kernel by itself, for debuggers and profilers");
}

Mesh RunConfig::make_mesh() const {
  return Mesh({{"pipeline", static_cast<int>(mesh.pipeline)},
               {"data", static_cast<int>(mesh.data)},
               {"tensor", static_cast<int>(mesh.tensor)}});
}

std::vector<std::pair<std::string, std::string>> RunConfig::mpi_io_hints() const {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const std::string& hint : checkpoint.mpi_io_hints) {
    const std::size_t equals = hint.find('=');
    if (equals == std::string::npos || equals == 0)
      throw_input_error(
          "checkpoint.mpi_io_hints holds \"{}\"; a hint is \"name=value\", such as \"striping_factor=16\"", hint);
    pairs.emplace_back(hint.substr(0, equals), hint.substr(equals + 1));
  }
  return pairs;
}

ScheduleRequest RunConfig::schedule_request() const {
  return {.name = parse_schedule_name(schedule.name),
          .pipeline = static_cast<int>(mesh.pipeline),
          .microbatches = static_cast<int>(microbatches()),
          .chunks = static_cast<int>(schedule.chunks),
          .backward = parse_backward(schedule.backward)};
}

namespace {

void check_heads(const RunConfig& c, const FieldTable& table, Mistakes& mistakes) {
  if (!table.usable({"model.heads"})) return;
  if (c.model.heads > most_width || c.model.width > most_width) return;  // told of by check_sizes
  if (table.usable({"model.width"}) && c.model.width % c.model.heads != 0)
    mistakes.add("{}: model.heads = {} does not divide model.width = {}; use {}, or change model.width",
                 table.where("model.heads"), c.model.heads, c.model.width, divisors_text(c.model.width));
  if (table.usable({"mesh.tensor"}) && c.model.heads % c.mesh.tensor != 0)
    mistakes.add("{}: mesh.tensor = {} does not divide model.heads = {}; use {}, or change model.heads",
                 table.where("mesh.tensor"), c.mesh.tensor, c.model.heads, divisors_text(c.model.heads));
}

void check_batch(const RunConfig& c, const FieldTable& table, Mistakes& mistakes) {
  if (!table.usable({"batch.global", "batch.micro", "mesh.data"})) return;
  if (c.mesh.data > most_ranks || c.batch.micro > (std::int64_t{1} << 31)) return;
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
  if (c.batch.micro > most_extent || c.data.sequence > most_extent) return;  // told of by check_sizes
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
  // What a file holds is not known here: make_plan looks at its stages.
  const bool generated = c.schedule.file.empty();
  const bool chosen = table.usable({"schedule.name", "schedule.chunks", "schedule.backward"});
  const std::int64_t chunks =
      generated && chosen
          ? chunks_of({.name = parse_schedule_name(c.schedule.name), .chunks = static_cast<int>(c.schedule.chunks)})
          : 1;
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
        c.schedule.name == "zb-v" ? "another schedule, as zb-v has two chunks a rank"
                                  : fmt::format("at most {} chunks", c.model.layers / c.mesh.pipeline));
  else if (generated && table.usable({"schedule.partition"}) && !c.schedule.partition.empty()) {
    try {
      given_partition(static_cast<int>(c.model.layers), static_cast<int>(stages), c.schedule.partition);
    } catch (const InputError& error) {
      mistakes.add("{}: {}", table.where("schedule.partition"), error.what());
    }
  }
}

// Whether the named schedule runs with these chunks and this backward.
void check_schedule(const RunConfig& c, const FieldTable& table, Mistakes& mistakes) {
  if (!c.schedule.file.empty() || !table.usable({"schedule.name", "schedule.chunks", "schedule.backward"})) return;
  try {
    check_request({.name = parse_schedule_name(c.schedule.name),
                   .chunks = static_cast<int>(c.schedule.chunks),
                   .backward = parse_backward(c.schedule.backward)});
  } catch (const InputError& error) {
    mistakes.add("{}: {}", table.where("schedule.name"), error.what());
  }
}

void check_sizes(const RunConfig& c, const FieldTable& table, Mistakes& mistakes) {
  const auto at_most = [&](std::string_view key, std::int64_t value, std::int64_t limit) {
    if (table.usable({key}) && value > limit)
      mistakes.add("{}: {} = {} is beyond what Penstock counts; use at most {}", table.where(key), key, value, limit);
  };
  at_most("mesh.data", c.mesh.data, most_ranks);
  at_most("mesh.pipeline", c.mesh.pipeline, most_ranks);
  at_most("mesh.tensor", c.mesh.tensor, most_ranks);
  at_most("model.layers", c.model.layers, most_layers);
  at_most("model.width", c.model.width, most_width);
  at_most("model.heads", c.model.heads, most_width);
  at_most("model.positions", c.model.positions, most_extent);
  at_most("batch.global", c.batch.global, most_extent);
  at_most("batch.micro", c.batch.micro, most_extent);
  at_most("data.sequence", c.data.sequence, most_extent);
}

// What is multiplied later is checked here in double, which does not wrap.
void check_products(const RunConfig& c, const FieldTable& table, Mistakes& mistakes) {
  const auto at_most = [&](const std::string& what, double value, double limit, std::string_view key) {
    if (value > limit)
      mistakes.add("{}: {} = {:.4g} is beyond what Penstock counts; use sizes whose product is at most {:.4g}",
                   table.where(key), what, value, limit);
  };
  const auto number = [](std::int64_t value) { return static_cast<double>(value); };
  if (table.usable({"mesh.data", "mesh.pipeline", "mesh.tensor"}))
    at_most("mesh.data * mesh.pipeline * mesh.tensor",
            number(c.mesh.data) * number(c.mesh.pipeline) * number(c.mesh.tensor), most_ranks, "mesh.data");
  if (table.usable({"batch.global", "batch.micro", "mesh.data", "mesh.pipeline"}))
    at_most("microbatches * mesh.pipeline * schedule.chunks",
            number(c.batch.global) / (number(c.batch.micro) * number(c.mesh.data)) * number(c.mesh.pipeline) *
                number(std::max(c.schedule.chunks, std::int64_t{c.schedule.name == "zb-v" ? 2 : 1})),
            1 << 20, "batch.global");
  if (!table.usable({"model.width", "model.layers", "model.vocabulary", "model.positions"})) return;
  const double width = number(c.model.width);
  at_most("the number of parameters",
          12 * width * width * number(c.model.layers) + width * number(c.model.vocabulary + c.model.positions), 1e13,
          "model.width");
  if (!table.usable({"batch.micro", "data.sequence"})) return;
  const double tokens = number(c.batch.micro) * number(c.data.sequence);
  at_most("batch.micro * data.sequence", tokens, 1 << 30, "batch.micro");
  at_most("elements of a microbatch's largest activation", tokens * std::max(12 * width, number(c.model.vocabulary)),
          1e13, "batch.micro");
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
  if (std::max({c.mesh.data, c.mesh.pipeline, c.mesh.tensor}) > most_ranks) return;  // told of by check_sizes
  const std::int64_t ranks = c.mesh.data * c.mesh.pipeline * c.mesh.tensor;
  if (table.usable({"checkpoint.writers", "mesh.data", "mesh.pipeline", "mesh.tensor"}) && c.checkpoint.writers > ranks)
    mistakes.add("{}: checkpoint.writers = {}, but the mesh has {} rank{}; use at most that many, or 0 for one a node",
                 table.where("checkpoint.writers"), c.checkpoint.writers, ranks, ranks == 1 ? "" : "s");
  try {
    c.mpi_io_hints();
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
  if (!table.usable({"model.layers"})) return;
  for (const std::string& pattern : c.capture.taps)
    if (expand_taps({pattern}, c.model.layers).empty())
      mistakes.add("{}: capture.taps names \"{}\", which the model does not have; {}", table.where("capture.taps"),
                   pattern, taps_text(c.model.layers));
}

// Whether sizes are refused, which other checks would have to loop over.
bool is_too_large(const RunConfig& c, const FieldTable& table, Mistakes& mistakes) {
  const std::size_t before = mistakes.lines().size();
  check_sizes(c, table, mistakes);
  if (mistakes.lines().size() == before) check_products(c, table, mistakes);
  return mistakes.lines().size() > before;
}

}  // namespace

RunDeck read_run_deck(const Deck& deck) {
  RunDeck result;
  RunConfig& config = result.config;
  FieldTable table;
  config.describe(table);
  Mistakes mistakes;
  table.read(deck, mistakes);
  check_heads(config, table, mistakes);
  check_batch(config, table, mistakes);
  check_sequence(config, table, mistakes);
  check_stages(config, table, mistakes);
  check_schedule(config, table, mistakes);
  check_writing(config, table, mistakes);
  if (!is_too_large(config, table, mistakes)) check_capture(config, table, mistakes);
  mistakes.throw_if_any();
  result.effective = table.echo();
  return result;
}

std::string read_schedule_file(const std::string& path) {
  if (path.empty()) return "";
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error))
    throw_input_error("the schedule's file {} {}; name a CSV file, or a schedule instead", path,
                      std::filesystem::exists(path, error) ? "is not a file" : "does not exist");
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

// A user's table has to be of the deck's sizes.
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

DType RunConfig::gradient_type() const {
  const bool are_sums = microbatches() > 1 || mesh.data > 1 || mesh.pipeline > 1;
  return precision.gradients == "auto" && !are_sums ? compute_type() : DType::float32;
}

ModelPlan make_plan(const RunConfig& config) {
  ModelPlan plan;
  plan.config = config.model;
  plan.cut = {.tensor = static_cast<int>(config.mesh.tensor),
              .sequence_parallel = config.mesh.sequence_parallel,
              .compute = config.compute_type(),
              .gradient = config.gradient_type(),
              .repeatable_attention = config.device.repeatable};
  plan.recompute = parse_recompute(config.recompute.policy);
  plan.optimizer = config.optimizer;
  plan.seed = static_cast<std::uint64_t>(config.run.seed);
  plan.micro = config.batch.micro;
  plan.sequence = config.data.sequence;
  const Schedule computing = computing_table(config);
  const int blocks = static_cast<int>(config.model.layers);
  plan.parts = config.schedule.partition.empty()
                   ? balanced_partition(blocks, computing.stages, part_costs(config.model, config.data.sequence))
                   : given_partition(blocks, computing.stages, config.schedule.partition);
  plan.schedule = lower(computing, {.tied = true});
  validate(plan.schedule);
  plan.parameters = gpt2_parameters(config.model, plan.cut, plan.parts);
  return plan;
}

std::string times_subject(const RunConfig& config) {
  return fmt::format("width {}, {} heads, vocabulary {}, {} x {} tokens a microbatch, {}, tensor {}, recomputation {}",
                     config.model.width, config.model.heads, config.model.vocabulary, config.batch.micro,
                     config.data.sequence, config.precision.compute, config.mesh.tensor, config.recompute.policy);
}

MeshPlace place_of(const Mesh& mesh, int rank) {
  return {.data = mesh.coordinate(rank, "data"),
          .pipeline = mesh.coordinate(rank, "pipeline"),
          .tensor = mesh.coordinate(rank, "tensor"),
          .data_ranks = mesh.size_of("data")};
}

}  // namespace penstock

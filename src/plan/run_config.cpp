// SPDX-License-Identifier: Apache-2.0
#include "plan/run_config.hpp"

#include "model/families/families.hpp"
#include "schedule/generate.hpp"

namespace penstock {

namespace {

template <typename Enum>
Words<Enum> words_of(const std::vector<std::string>& names, Enum (*parse)(std::string_view)) {
  Words<Enum> words;
  for (const std::string& name : names) words.emplace_back(name, parse(name));
  return words;
}

}  // namespace

void RunConfig::Run::describe(FieldTable& table) {
  table.add("run.steps", steps, "updates in all run attempts together; the learning rate's curve ends there")
      .unit("steps")
      .required()
      .at_least(1);
  table.add("run.seed", seed, "of initial weights, data order and dropout").at_least(0);
  table.add("run.stop", stop, "end this run attempt after that step, saved, with exit code 75; 0: at run.steps")
      .unit("steps")
      .at_least(0);
  table
      .add("run.reserve", reserve,
           "time to keep before the end of a Slurm job, in addition to twice the longest step and save so far: then "
           "the run saves itself and stops; 0: does not ask for the job's end")
      .unit("seconds")
      .at_least(0);
  table.add("run.preflight", preflight,
            "before step 1 time a product on each rank and a message on each axis, and name slow ranks and links");
}

void RunConfig::Data::describe(FieldTable& table) {
  table.add("data.train", train, "token file to train on (made by penstock tokenize)").required().not_empty();
  table.add("data.validation", validation, "token file of held-back text; empty: none");
  table.add("data.stage", stage,
            "folder on a local disk of each node, such as \"/tmp\": token files are copied there and read from there; "
            "empty: they are read where they are");
  table
      .add("data.changed", changed,
           "what a restart does where data.train holds other data than its checkpoint was trained on",
           {{"refuse", ChangedData::refuse}, {"continue", ChangedData::go_on}})
      .advanced(
          "Data are identified by the contents of the file, not by its name: by its header and up to 4 MiB of its "
          "tokens. refuse: the restart ends with exit code 2 before anything is written. continue: a warning says what "
          "changed, samples are counted on in the new data, and some may come again. Checkpoints of earlier versions "
          "do not record their data: then the name of the file decides, and the restart warns.");
  table.add("data.sequence", sequence, "tokens of a sample").unit("tokens").required().at_least(1);
}

void RunConfig::MeshSizes::describe(FieldTable& table) {
  table.add("mesh.data", data, "replicas of the model, each with a part of the batch").unit("ranks").at_least(1);
  table.add("mesh.pipeline", pipeline, "ranks the layers are cut over").unit("ranks").at_least(1);
  table.add("mesh.tensor", tensor, "ranks every layer's matrices are cut over").unit("ranks").at_least(1);
  table.add("mesh.sequence_parallel", sequence_parallel,
            "cut the tokens between attention and MLP over the tensor axis, too");
  table
      .add("mesh.auto", fitted,
           "if the job has another number of ranks than the mesh, train on the nearest mesh that fits")
      .advanced(
          "Keeps the tensor and pipeline axes if possible, and gives the rest to the data axis; otherwise takes the "
          "nearest sizes that model, batch and schedule allow. The log says which mesh it is. Losses are those of the "
          "deck's own mesh, except for the order of sums.");
}

void RunConfig::Batch::describe(FieldTable& table) {
  table.add("batch.global", global, "samples of a step, over all replicas").unit("samples").required().at_least(1);
  table.add("batch.micro", micro, "samples of a microbatch").unit("samples").required().at_least(1);
}

// Not `table`: that is a member.
void RunConfig::ScheduleChoice::describe(FieldTable& keys) {
  keys.add("schedule.name", name, "order of forward and backward passes in the pipeline",
           words_of(schedule_names(), parse_schedule_name))
      .advanced(
          "fifo: all forwards, then all backwards. 1f1b: forwards and backwards in turn, with least memory. ring: 1f1b "
          "with several stages on each rank. breadth-first: fifo with several stages. zb-h1: 1f1b's memory, with "
          "weight gradients while ranks would wait. zb-h2: less waiting, about twice the memory. zb-v: least waiting "
          "with 1f1b's memory, two stages on each rank. `penstock schedule` draws them.");
  keys.add("schedule.chunks", chunks,
           "stages of each pipeline rank; 0: the schedule's default, two with zb-v, otherwise one")
      .unit("stages")
      .at_least(0)
      .at_most(most_layers);
  keys.add("schedule.backward", backward,
           "split: a stage sends its input gradient before it computes weight gradients; fused: after",
           {{"split", Backward::split}, {"fused", Backward::fused}});
  keys.add(
      "schedule.file", file,
      "CSV file with a table of your own, in place of schedule.name: a line a pipeline rank, cells 2F0 2I0 2W0 2B0");
  keys.add("schedule.partition", partition, "blocks of each stage; empty: balanced by cost").unit("blocks").at_least(1);
}

void RunConfig::Recompute::describe(FieldTable& table) {
  table
      .add("recompute.policy", policy, "what the backward pass computes again instead of keeping it",
           words_of({"none", "elementwise", "attention", "block", "block-local"}, parse_recompute))
      .advanced(
          "none: nothing; all activations are kept from a microbatch's forward pass to its backward pass. elementwise: "
          "normalized rows and the MLP after its activation (in GPT-2 six sixteenths of the bytes). It repeats no "
          "product, so it costs least for what it saves. attention: only the attention core (its output and "
          "log-sum-exp, a sixteenth of the bytes); it costs the core's time. block: all but a block's input (15 "
          "sixteenths); it costs two thirds of a forward pass, and with mesh.tensor above 1 one more sum across those "
          "ranks for each block. block-local: like block, but sums across tensor ranks are kept (14 sixteenths are "
          "not), so that it sends no more than none; with mesh.tensor = 1 it is block. Losses and gradients have the "
          "same bits with all of them. (On a GPU elementwise makes the activation an operation of its own, which may "
          "round differently from a product's epilogue.) Recomputed parts are in buffers of one block on each rank. "
          "With schedule.backward = \"split\" the parts that weight gradients read are kept until then, in buffers of "
          "every block: if memory is short, choose \"fused\". penstock check prints the bytes, operations and messages "
          "of the policy.");
}

void RunConfig::Precision::describe(FieldTable& table) {
  table.add("precision.compute", compute,
            "type of matrices and activations; master weights, moments and sums are float32",
            {{"float32", DType::float32}, {"bfloat16", DType::bfloat16}});
  table
      .add("precision.gradients", gradients, "type of the gradients of products' weights",
           {{"auto", GradientType::automatic}, {"float32", GradientType::float32}})
      .advanced(
          "auto: that of precision.compute if nothing is added to them (one microbatch in a step, mesh.data = 1 and "
          "mesh.pipeline = 1), otherwise float32. In bfloat16 they take half the memory and half the time to read, and "
          "an update sees each one rounded once. All others (of biases, norms and embeddings) are float32.");
}

void RunConfig::Validation::describe(FieldTable& table) {
  table.add("validation.every", every, "steps between evaluations on data.validation; 0: after the last step only")
      .unit("steps")
      .at_least(0);
  table.add("validation.samples", samples, "samples of an evaluation, from the beginning of the file")
      .unit("samples")
      .at_least(1);
}

void RunConfig::Checkpoint::describe(FieldTable& table) {
  table.add("checkpoint.every", every, "steps between checkpoints; 0: after the last step only")
      .unit("steps")
      .at_least(0);
  table.add("checkpoint.keep", keep, "newest checkpoints to keep; 0: all").unit("files").at_least(0).at_most(1 << 20);
  table.add("checkpoint.initial", initial, "also write step 0");
  table
      .add("checkpoint.background", background,
           "copy the state and write it while training goes on; false: training waits")
      .advanced(
          "The copy is as large as master weights and moments together (penstock check prints it). On a GPU it is the "
          "pinned memory that exists anyway. At most one save is in flight; a later one waits for it.");
  table.add("checkpoint.retries", retries, "how often a save that failed is tried again").at_least(0).at_most(20);
  table.add("checkpoint.writers", writers, "ranks that write files; 0: one for each GiB of state, at most one a node")
      .unit("ranks")
      .at_least(0)
      .at_most(1 << 20);
  table
      .add("checkpoint.mpi_io_hints", mpi_io_hints,
           "\"name=value\" hints for MPI-IO, where several ranks write; striping_factor and striping_unit always")
      .advanced(
          "Stripes are set when a file is created, and one rank creates files without MPI-IO: by Lustre's `lfs "
          "setstripe`, with the number of targets and the bytes on one of them. On other file systems the log says "
          "that they have no effect.");
}

void RunConfig::Capture::describe(FieldTable& table) {
  table.add("capture.steps", steps, "steps whose values are captured").at_least(1);
  table.add("capture.taps", taps, "places of the model to capture, such as \"blocks.*.mlp\" or \"loss\"");
}

void RunConfig::Trace::describe(FieldTable& table) {
  table
      .add("trace.steps", steps,
           "steps whose actions go to trace.json, measured and (from step 11 of a run attempt on) predicted")
      .at_least(1);
}

void RunConfig::Watchdog::describe(FieldTable& table) {
  table.add("watchdog.seconds", seconds, "longest time without progress of any rank before the job is ended")
      .unit("seconds")
      .above(0);
  table
      .add("watchdog.nonfinite", nonfinite,
           "what follows a step whose loss or gradient norm is infinite or NaN: stop the run, or skip the update",
           {{"stop", NonfinitePolicy::stop}, {"skip", NonfinitePolicy::skip}})
      .advanced(
          "Either way the log names the first value that is not finite: tensor, layer, microbatch and rank. stop: the "
          "state before the step goes into the run folder's evidence/ with the samples' numbers in report.txt. skip: "
          "weights and moments stay unchanged on all ranks, metrics.csv says so, and the run continues with the next "
          "samples; after 10 steps in a row it stops.");
}

void RunConfig::Device::describe(FieldTable& table) {
  table
      .add("device.threads", threads,
           "OpenMP threads of a rank; 0: OMP_NUM_THREADS, or else the node's cores shared by its ranks")
      .unit("threads")
      .at_least(0)
      .at_most(1 << 16);
  table.add("device.share", share, "let several ranks compute on one GPU, for tests; the CPU is always shared");
  table.add(
      "device.measure", measure,
      "on a GPU: measure before step 1 the fastest way to compute each matrix product, and keep it in the run folder "
      "(products.tsv), in checkpoints, and in $PENSTOCK_CACHE (~/.cache/penstock), for restarts and other runs; "
      "false: the library's first choice, the same in every run");
  table.add(
      "device.repeatable", repeatable,
      "on a GPU: only algorithms whose bits repeat; false: cuDNN may add attention's gradient in any order, which is "
      "faster, but then a repeated or restarted run differs in its last digits");
  table.add("device.graphs", graphs,
            "on a GPU: record each pass of a microbatch through a stage as a CUDA graph, and launch the graph from "
            "step 3 on; false: launch every kernel by itself, for debuggers and profilers");
}

void RunConfig::describe(FieldTable& table) {
  run.describe(table);
  data.describe(table);
  model.describe(table);
  mesh.describe(table);
  batch.describe(table);
  schedule.describe(table);
  recompute.describe(table);
  optimizer.describe(table);
  precision.describe(table);
  validation.describe(table);
  checkpoint.describe(table);
  capture.describe(table);
  trace.describe(table);
  watchdog.describe(table);
  device.describe(table);
}

DType RunConfig::gradient_type() const {
  const bool are_sums = microbatches() > 1 || mesh.data > 1 || mesh.pipeline > 1;
  return precision.gradients == GradientType::automatic && !are_sums ? compute_type() : DType::float32;
}

std::string RunConfig::MeshSizes::keys() const {
  std::string keys;
  for (const auto& [axis, size] : by_axis()) keys += fmt::format("{}mesh.{}", keys.empty() ? "" : " * ", axis);
  return keys;
}

Mesh RunConfig::make_mesh() const {
  const auto axis = [](std::string_view name, std::int64_t size) {
    return Axis{std::string(name), static_cast<int>(size)};
  };
  return Mesh({axis(Axis::pipeline, mesh.pipeline), axis(Axis::data, mesh.data), axis(Axis::tensor, mesh.tensor)});
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
  return {.name = schedule.name,
          .pipeline = static_cast<int>(mesh.pipeline),
          .microbatches = static_cast<int>(microbatches()),
          .chunks = static_cast<int>(schedule.chunks),
          .backward = schedule.backward};
}

RunDeck read_run_deck(const Deck& deck) {
  RunDeck result;
  RunConfig& config = result.config;
  FieldTable table;
  config.describe(table);
  Mistakes mistakes;
  table.read(deck, mistakes);
  check_across_keys(config, table, mistakes);
  mistakes.throw_if_any();
  result.effective = table.echo([&](std::string_view key) { return has_key(config.model, key); });
  return result;
}

std::string times_subject(const RunConfig& config) {
  const ModelConfig& model = config.model;
  return fmt::format(
      "{}, width {}, {} heads, {} of keys, {} channels a head, {} hidden, window {}, vocabulary {}, {} x {} tokens a "
      "microbatch, {}, tensor {}, recomputation {}",
      model.family, model.width, model.heads, model.heads_of_keys(), model.channels_of_a_head(),
      model.hidden_channels(), model.window, model.vocabulary, config.batch.micro, config.data.sequence,
      name_of(config.precision.compute), config.mesh.tensor, text(config.recompute.policy));
}

}  // namespace penstock

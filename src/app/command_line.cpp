// SPDX-License-Identifier: Apache-2.0
#include "app/command_line.hpp"

#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <functional>

#include "app/commands.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "base/program_version.hpp"
#include "base/suggest.hpp"
#include "comm/world.hpp"
#include "config/deck_value.hpp"
#include "schedule/generate.hpp"
#include "train/train.hpp"

namespace penstock {

namespace {

constexpr const char* weights_of_step_0 =
    "begin at step 0 with these weights: a Hugging Face directory, a checkpoint, or a run folder (its newest whole "
    "one); without [model] in the deck the model comes from them";

constexpr const char* get_meaning =
    "a key of that JSON, such as state, last_end.reason or ranks.*.process.total: its values alone, a line each";

void add_train(CLI::App& app, std::function<int()>& chosen) {
  auto* command = app.add_subcommand(
      "train", "train the model of a deck; under mpiexec or srun with as many ranks as its mesh has");
  auto request = std::make_shared<TrainRequest>();
  auto deck = std::make_shared<std::string>(), run = std::make_shared<std::string>(),
       restart = std::make_shared<std::string>(), weights = std::make_shared<std::string>();
  command->add_option("DECK", *deck, "TOML file; `penstock explain` lists its keys")->required();
  command->add_option("--set", request->settings, "KEY=VALUE in place of what the deck says")->expected(1)->take_all();
  auto* run_option = command->add_option("--run", *run, "run folder (default: runs/<the deck's stem>)");
  auto* restart_option =
      command->add_option("--restart", *restart, "go on from this checkpoint, or from the run folder's `latest`");
  auto* weights_option = command->add_option("--weights", *weights, weights_of_step_0);
  command->callback([=, &chosen] {
    request->deck = *deck;
    if (run_option->count()) request->run = *run;
    if (restart_option->count()) request->restart = *restart;
    if (weights_option->count()) request->weights = *weights;
    chosen = std::bind_front(train, *request);
  });
}

void add_check(CLI::App& app, std::function<int()>& chosen) {
  auto* command = app.add_subcommand(
      "check", "read a deck and print its mesh, partition, memory plan and schedule; needs no ranks");
  auto request = std::make_shared<CheckRequest>();
  command->add_option("DECK", request->deck, "TOML file")->required();
  command->add_option("--set", request->settings, "KEY=VALUE in place of what the deck says")->expected(1)->take_all();
  command->add_option("--weights", request->weights, weights_of_step_0);
  command->add_option("--costs", request->costs, "costs.json of a run: price the schedule in seconds");
  command->add_option("--memory", request->memory,
                      "memory of each rank's device, such as 80GiB: does the deck fit, and with which change would it");
  command
      ->add_option("--ranks", request->ranks,
                   "ranks of a job: plan the mesh that mesh.auto = true would choose for them")
      ->check(CLI::Range(1, 1 << 20));
  command->add_flag("--json", request->json, "the same facts as JSON");
  command->add_option("--get", request->get, get_meaning);
  command->callback([=, &chosen] { chosen = [request] { return check_command(*request), 0; }; });
}

void add_schedule(CLI::App& app, std::function<int()>& chosen) {
  auto* command = app.add_subcommand("schedule", "generate (or read), prove, simulate and draw a pipeline schedule");
  auto request = std::make_shared<ScheduleCommand>();
  command->add_option("NAME", request->name, fmt::format("one of {}", fmt::join(schedule_names(), ", ")));
  command->add_option("--file", request->file, "instead: a CSV file with a table of your own, a line for each rank");
  command->add_option("--stages", request->stages, "pipeline ranks");
  command->add_option("--microbatches", request->microbatches, "microbatches of a step");
  command->add_option("--chunks", request->chunks, "stages of each rank; 0: two with zb-v, otherwise one");
  command->add_option("--backward", request->backward, "split or fused");
  command->add_option("--costs", request->costs,
                      "F,I,W,HOP: times of a rank's forward, input gradient and weight gradient, and of a transfer");
  command->add_option("--csv", request->csv, "write the table to this file");
  command->add_option("--svg", request->svg, "draw the timeline into this file");
  command->add_flag("--json", request->json, "the figures as JSON");
  command->callback([=, &chosen] { chosen = [request] { return schedule_command(*request), 0; }; });
}

/// A script's unset variable is not "none".
CLI::Validator named_file() {
  return {[](std::string& name) {
            return std::string(name.empty() ? "the name is empty; name a file, or leave the option out" : "");
          },
          std::string()};
}

void add_tokenize(CLI::App& app, std::function<int()>& chosen) {
  auto* command = app.add_subcommand("tokenize", "make a token file of text: files, or the texts below folders");
  auto request = std::make_shared<TokenizeCommand>();
  command->add_option("TEXT", request->inputs, "files and folders, joined in this order; - is standard input")
      ->required();
  command->add_option("-o,--output", request->output, "the token file; one that is there is replaced")->required();
  command
      ->add_option(
          "--tokenizer", request->tokenizer,
          "a tokenizer.json, a SentencePiece tokenizer.model, or the folder of one; without it a token is a byte")
      ->check(named_file());
  command->add_option("--field", request->field,
                      "the key of the text in *.jsonl files, such as a.b; without it text, or prompt and completion");
  command->add_flag("--documents", request->documents,
                    "each file or JSON line is a document: its start is recorded, and an end-of-text token ends it");
  auto* held_back = command
                        ->add_option("--held-back", request->held_back,
                                     "token file for a part that is kept out of the output (validation)")
                        ->check(named_file());
  command->add_option("--fraction", request->fraction, "the share that is held back")
      ->capture_default_str()
      ->needs(held_back);
  command->callback([=, &chosen] { chosen = [request] { return tokenize_command(*request), 0; }; });
}

void add_checkpoint(CLI::App& app, std::function<int()>& chosen) {
  auto* command = app.add_subcommand("checkpoint", "look at checkpoints: list a folder; verify, show or diff files");
  auto request = std::make_shared<CheckpointCommand>();
  command->add_option("VERB", request->verb, "list, verify, show or diff")
      ->required()
      ->check(CLI::IsMember({"list", "verify", "show", "diff"}));
  command->add_option("PATH", request->paths, "a folder (list), a file (verify, show), two files (diff)")
      ->required()
      ->expected(1, 2);
  command->add_option("--leave-out", request->leave_out, "diff: lines of this shell pattern are shown but do not count")
      ->expected(1)
      ->take_all();
  command->add_flag("--leave-key-rows", request->leave_key_rows,
                    "diff: judge without the key rows of qkv.bias, whose gradient is mathematically zero (GPT-2)");
  command->add_flag("--all", request->all, "diff: list all datasets that differ, not the 20 that differ most");
  command->add_flag("--json", request->json, "the same facts as JSON");
  command->callback([=, &chosen] { chosen = [request] { return checkpoint_command(*request); }; });
}

void add_import(CLI::App& app, std::function<int()>& chosen) {
  auto* command =
      app.add_subcommand("import", "make a checkpoint, with parameters only, from a Hugging Face directory");
  auto request = std::make_shared<ImportRequest>();
  auto deck = std::make_shared<std::string>();
  command->add_option("HF_DIR", request->directory, "a directory with config.json and safetensors files")->required();
  command->add_option("-o,--output", request->output, "the checkpoint")->required();
  auto* deck_option = command->add_option("--deck", *deck, "write a [model] section for decks to this file");
  command->callback([=, &chosen] {
    if (deck_option->count()) request->deck = *deck;
    chosen = [request] { return import_command(*request); };
  });
}

void add_export(CLI::App& app, std::function<int()>& chosen) {
  auto* command = app.add_subcommand("export", "make a Hugging Face directory from weights");
  auto request = std::make_shared<ExportCommand>();
  command
      ->add_option("PATH", request->source, "a checkpoint, a run folder (its newest whole one), or another directory")
      ->required();
  command->add_option("-o,--output", request->target, "the directory; empty or new")->required();
  command->add_option("--dtype", request->type, "float32 or bfloat16; default: float32, or as a directory has it")
      ->check(CLI::IsMember({"float32", "bfloat16"}));
  command->add_option("--shard-size", request->shard_size,
                      "most bytes of a file, such as 5GB, which is the default, or 5000000000");
  command->add_option("--like", request->like,
                      "a Hugging Face directory whose tokenizer and other keys of config.json are copied");
  command->callback([=, &chosen] { chosen = [request] { return export_command(*request); }; });
}

void add_status(CLI::App& app, std::function<int()>& chosen) {
  auto* command = app.add_subcommand(
      "status", "the state of a run, from any node, also while it runs: step, loss, time left, checkpoint, last end");
  auto request = std::make_shared<StatusCommand>();
  command->add_option("RUN", request->run, "the run folder")->required();
  command->add_flag("--json", request->json, "the same facts as JSON");
  command->add_option("--get", request->get, get_meaning);
  command->callback([=, &chosen] { chosen = [request] { return status_command(*request), 0; }; });
}

void add_explain(CLI::App& app, std::function<int()>& chosen) {
  auto* command = app.add_subcommand("explain", "the keys of a deck: all, one section, or one key");
  auto key = std::make_shared<std::string>();
  command->add_option("KEY", *key, "such as mesh or mesh.tensor");
  command->callback([=, &chosen] { chosen = [key] { return explain_command(*key), 0; }; });
}

// CLI11 would only say that a subcommand is required.
void ensure_command(const CLI::App& app, const std::string& word) {
  if (word.empty()) return;
  if (word.front() == '-') {
    if (word == "-h" || word == "--help" || word == "--version") return;
    throw CLI::ParseError(fmt::format("there is no option {}", shortened(word)), 2);
  }
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  if (std::find(names.begin(), names.end(), word) == names.end())
    throw CLI::ParseError(
        fmt::format("there is no command {}; did you mean {}?", shortened(word), nearest(word, names)), 2);
}

}  // namespace

ChosenCommand read_command_line(int argc, char** argv) {
  CLI::App app("Penstock trains transformers on meshes of MPI ranks.", "penstock");
  const std::string version = fmt::format("penstock {}", program_version());
  app.set_version_flag("--version", version);
  app.require_subcommand(1);
  ChosenCommand chosen;
  add_train(app, chosen.run);
  add_check(app, chosen.run);
  add_schedule(app, chosen.run);
  add_tokenize(app, chosen.run);
  add_checkpoint(app, chosen.run);
  add_import(app, chosen.run);
  add_export(app, chosen.run);
  add_status(app, chosen.run);
  add_explain(app, chosen.run);
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; }))
    command->set_version_flag("--version", version);
  try {
    ensure_command(app, argc > 1 ? argv[1] : "");
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return {.run = {}, .exit_code = app.exit(error)};  // --help, --version
    if (!is_first_task()) return {};  // all ranks of a job have the same command line: one of them speaks
    std::fprintf(stderr, "penstock: %s; `penstock --help` and `penstock COMMAND --help` list the options\n",
                 error.what());
    return {.run = {}, .exit_code = 2};
  }
  chosen.prints_result = !app.got_subcommand("train");
  return chosen;
}

void ensure_output_is_written() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout)) throw SystemError("the output could not be written");
}

int report_failure(const std::exception& error) {
  const Failure failure = failure_of(error);
  std::fprintf(stderr, "penstock: %s\n", failure.message.c_str());
  return failure.exit_code;
}

}  // namespace penstock

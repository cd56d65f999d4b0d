// SPDX-License-Identifier: Apache-2.0
#pragma once
// The subcommands: what each is asked for. `app/command_line.hpp` reads the words and chooses one. (`penstock train` is
// `train` in train/train.hpp.)

#include <optional>
#include <string>
#include <vector>

#include "data/tokenize.hpp"
#include "transfer/model_export.hpp"
#include "transfer/model_import.hpp"

namespace penstock {

struct CheckRequest {
  std::string deck;
  std::vector<std::string> settings;
  std::optional<std::string> weights;  ///< that step 0 would begin with
  std::optional<std::string> costs;    ///< costs.json of a run, for times in seconds
  std::optional<std::string> memory;   ///< "80GiB": of each rank's device: whether the deck fits
  int ranks = 0;                       ///< of a job: the mesh that mesh.auto would choose; 0: the deck's own
  bool json = false;
  std::optional<std::string> get;  ///< a key of that JSON: its values alone
};
/// `penstock check`: reads the deck; prints mesh, partition, memory plan and schedule. Needs no ranks. Throws
/// InputError after printing if the deck does not fit into `memory`.
void check_command(const CheckRequest& request);

struct ScheduleCommand {
  std::string name;  ///< of a schedule that is generated, unless a file is read
  std::string file;  ///< CSV of a table
  std::optional<int> stages, microbatches;
  int chunks = 0;
  std::string backward = "split";
  std::string costs = "1,1,1,0";
  std::string csv;
  std::string svg;
  bool json = false;
};
/// `penstock schedule`: generates or reads, proves, simulates and draws a table.
void schedule_command(const ScheduleCommand& command);

struct TokenizeCommand {
  std::vector<std::string> inputs;
  std::string output;
  std::string held_back;
  double fraction = TokenizeRequest{}.held_back_fraction;
  std::string tokenizer;  ///< a file or a folder; empty: bytes
  std::string field;      ///< of JSON lines; empty: the usual ones
  bool documents = false;
};
/// `penstock tokenize`.
void tokenize_command(const TokenizeCommand& command);

struct CheckpointCommand {
  std::string verb;  ///< list, verify, show or diff
  std::vector<std::string> paths;
  std::vector<std::string> leave_out;  ///< diff: shell patterns of lines that do not count
  bool leave_key_rows = false;
  bool all = false;  ///< diff: every line, not only those that differ most
  bool json = false;
};
/// `penstock checkpoint`. The exit code: diff 0 for equal bits and 1 for different.
int checkpoint_command(const CheckpointCommand& command);

struct StatusCommand {
  std::string run;
  bool json = false;
  std::optional<std::string> get;  ///< a key of that JSON: its value alone
};
/// `penstock status`: the state of a run, from any node and without MPI.
void status_command(const StatusCommand& command);

/// `penstock import`, under any number of ranks; the exit code.
int import_command(const ImportRequest& request);

struct ExportCommand {
  std::string source, target;
  std::optional<std::string> type;        ///< float32 or bfloat16
  std::optional<std::string> shard_size;  ///< "5GB"
  std::optional<std::string> like;
};
/// `penstock export`, under any number of ranks; the exit code.
int export_command(const ExportCommand& command);

/// `penstock explain`.
void explain_command(const std::string& key);

}  // namespace penstock

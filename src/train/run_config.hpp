#pragma once
// RunConfig: all that a deck says; the sum of the layers' configs.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "config/field_table.hpp"
#include "mesh/mesh.hpp"
#include "model/model_config.hpp"
#include "optim/optimizer_config.hpp"
#include "pipeline/rank_model.hpp"
#include "schedule/generate.hpp"

namespace penstock {

struct RunConfig {
  struct Run {
    std::int64_t steps = 0, seed = 1, stop = 0;
    double reserve = 30;
    bool preflight = true;
  } run;
  struct Data {
    std::string train, validation, stage;
    std::int64_t sequence = 0;
  } data;
  ModelConfig model;
  struct MeshSizes {
    std::int64_t data = 1, pipeline = 1, tensor = 1;
    bool sequence_parallel = true;
    bool fitted = false;  ///< mesh.auto
  } mesh;
  struct Batch {
    std::int64_t global = 0, micro = 0;
  } batch;
  struct ScheduleChoice {
    std::string name = "1f1b";
    std::int64_t chunks = 0;
    std::string backward = "split";
    std::string file;
    std::string table;  ///< what the file holds (read_schedule_file); no key of a deck
    std::vector<std::int64_t> partition;
  } schedule;
  struct Recompute {
    std::string policy = "none";
  } recompute;
  OptimizerConfig optimizer;
  struct Precision {
    std::string compute = "float32";
    std::string gradients = "auto";
  } precision;
  struct Validation {
    std::int64_t every = 0, samples = 64;
  } validation;
  struct Checkpoint {
    std::int64_t every = 0, keep = 3, writers = 0, retries = 2;
    bool initial = false, background = true;
    std::vector<std::string> mpi_io_hints;
  } checkpoint;
  struct Capture {
    std::vector<std::int64_t> steps;
    std::vector<std::string> taps;
  } capture;
  struct Trace {
    std::vector<std::int64_t> steps;
  } trace;
  struct Watchdog {
    double seconds = 600;
    std::string nonfinite = "stop";
  } watchdog;
  struct Device {
    std::int64_t threads = 0;
    bool share = false;
    bool measure = true;
    bool repeatable = true;
    bool graphs = true;
  } device;

  void describe(FieldTable& table);

  DType compute_type() const { return precision.compute == "bfloat16" ? DType::bfloat16 : DType::float32; }
  /// Of the gradients of products' weights.
  DType gradient_type() const;
  /// Axes from the outermost: pipeline, data, tensor (tensor ranks talk most and stand closest).
  Mesh make_mesh() const;
  std::int64_t microbatches() const { return batch.global / (batch.micro * mesh.data); }
  /// checkpoint.mpi_io_hints as pairs. Throws InputError for one that is not "name=value".
  std::vector<std::pair<std::string, std::string>> mpi_io_hints() const;
  /// Whether state is copied and written while training goes on; where only the last step is saved nothing goes on.
  bool saves_behind_training() const { return checkpoint.background && checkpoint.every > 0; }
  /// What is asked of `generate`, unless the deck names a file.
  ScheduleRequest schedule_request() const;
  std::int64_t tokens_per_step() const { return batch.global * data.sequence; }
};

/// A deck that was read and checked.
struct RunDeck {
  RunConfig config;
  std::string effective;  ///< TOML of everything in force, defaults and overrides included
};

/// Throws one InputError that holds every mistake: of single keys, and of keys that do not fit each other.
RunDeck read_run_deck(const Deck& deck);

/// The text of a schedule.file; empty without one. Throws InputError where it cannot be read.
std::string read_schedule_file(const std::string& path);

/// What measured times of a deck's parts hold for: all that decides how long a block takes, in words.
std::string times_subject(const RunConfig& config);

/// Everything that follows from the config and is the same on every rank: partition, schedule (lowered and proved),
/// parameters. With a schedule.file its text is in `schedule.table`. Throws InputError.
ModelPlan make_plan(const RunConfig& config);

MeshPlace place_of(const Mesh& mesh, int rank);

}  // namespace penstock

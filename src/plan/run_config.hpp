// SPDX-License-Identifier: Apache-2.0
#pragma once
// RunConfig: all settings of a deck; the sum of the layers' configs.

#include <array>
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

/// data.changed.
enum class ChangedData { refuse, go_on };
/// precision.gradients.
enum class GradientType { automatic, float32 };
/// watchdog.nonfinite: what follows a step whose loss or gradient norm is not finite.
enum class NonfinitePolicy { stop, skip };

struct RunConfig {
  static constexpr std::int64_t most_layers = 4096;

  struct Run {
    std::int64_t steps = 0, seed = 1, stop = 0;
    double reserve = 30;
    bool preflight = true;
    void describe(FieldTable& table);
  } run;
  struct Data {
    std::string train, validation, stage;
    ChangedData changed = ChangedData::refuse;
    std::int64_t sequence = 0;
    void describe(FieldTable& table);
  } data;
  ModelConfig model;
  struct MeshSizes {
    std::int64_t data = 1, pipeline = 1, tensor = 1;
    bool sequence_parallel = true;
    bool fitted = false;  ///< mesh.auto
    void describe(FieldTable& table);
    /// Name and size, as decks and messages list them.
    auto by_axis() const {
      return std::array{std::pair(Axis::data, data), std::pair(Axis::pipeline, pipeline),
                        std::pair(Axis::tensor, tensor)};
    }
    std::int64_t ranks() const {
      std::int64_t product = 1;
      for (const auto& [axis, size] : by_axis()) product *= size;
      return product;
    }
    /// "mesh.data * mesh.pipeline * mesh.tensor"
    std::string keys() const;
  } mesh;
  struct Batch {
    std::int64_t global = 0, micro = 0;
    void describe(FieldTable& table);
  } batch;
  struct ScheduleChoice {
    ScheduleName name = ScheduleName::one_forward_one_backward;
    std::int64_t chunks = 0;
    Backward backward = Backward::split;
    std::string file;
    std::string table;  ///< the contents of the file (read_schedule_file); no key of a deck
    std::vector<std::int64_t> partition;
    void describe(FieldTable& table);
  } schedule;
  struct Recompute {
    penstock::Recompute policy = penstock::Recompute::none;
    void describe(FieldTable& table);
  } recompute;
  OptimizerConfig optimizer;
  struct Precision {
    DType compute = DType::float32;
    GradientType gradients = GradientType::automatic;
    void describe(FieldTable& table);
  } precision;
  struct Validation {
    std::int64_t every = 0, samples = 64;
    void describe(FieldTable& table);
  } validation;
  struct Checkpoint {
    std::int64_t every = 0, keep = 3, writers = 0, retries = 2;
    bool initial = false, background = true;
    std::vector<std::string> mpi_io_hints;
    void describe(FieldTable& table);
  } checkpoint;
  struct Capture {
    std::vector<std::int64_t> steps;
    std::vector<std::string> taps;
    void describe(FieldTable& table);
  } capture;
  struct Trace {
    std::vector<std::int64_t> steps;
    void describe(FieldTable& table);
  } trace;
  struct Watchdog {
    double seconds = 600;
    NonfinitePolicy nonfinite = NonfinitePolicy::stop;
    void describe(FieldTable& table);
  } watchdog;
  struct Device {
    std::int64_t threads = 0;
    bool share = false;
    bool measure = true;
    bool repeatable = true;
    bool graphs = true;

    void describe(FieldTable& table);
  } device;

  void describe(FieldTable& table);

  DType compute_type() const { return precision.compute; }
  /// Of the gradients of products' weights.
  DType gradient_type() const;
  /// Axes from the outermost: pipeline, data, tensor (tensor ranks communicate most and are closest).
  Mesh make_mesh() const;
  std::int64_t microbatches() const { return batch.global / (batch.micro * mesh.data); }
  /// checkpoint.mpi_io_hints as pairs. Throws InputError for one that is not "name=value".
  std::vector<std::pair<std::string, std::string>> mpi_io_hints() const;
  /// Whether state is copied and written during training; not if only the last step is saved.
  bool saves_behind_training() const { return checkpoint.background && checkpoint.every > 0; }
  /// The request for `generate`, unless the deck names a file.
  ScheduleRequest schedule_request() const;
  std::int64_t tokens_per_step() const { return batch.global * data.sequence; }
};

/// A deck that was read and checked.
struct RunDeck {
  RunConfig config;
  std::string effective;  ///< TOML of everything in force, defaults and overrides included
};

/// Throws one InputError with every mistake: of single keys, and of keys that do not match.
RunDeck read_run_deck(const Deck& deck);

/// Adds what is wrong with keys that do not fit each other.
void check_across_keys(const RunConfig& config, const FieldTable& table, Mistakes& mistakes);

/// Warnings about a valid deck that probably says something unintended: one line each.
std::vector<std::string> deck_warnings(const RunConfig& config);

/// What measured times of a deck's parts are valid for: everything that determines the time of a block, in words.
std::string times_subject(const RunConfig& config);

}  // namespace penstock

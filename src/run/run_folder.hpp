// SPDX-License-Identifier: Apache-2.0
#pragma once
// The run folder: where everything of a run lies. Rank 0 makes and writes it; the other ranks only name its files.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "run/attempt_record.hpp"

namespace penstock {

/// A file's text. Throws SystemError when it cannot be read.
std::string read_text(const std::filesystem::path& path);

/// Removes those of the folders that hold nothing, the last of them first.
void remove_empty_folders(const std::vector<std::filesystem::path>& folders);

class RunFolder {
 public:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}

  /// The one that a checkpoint lies in.
  static RunFolder of_checkpoint(const std::filesystem::path& file);

  const std::filesystem::path& path() const { return path_; }
  /// What is asked before a file gets its name: throws when this life may not write any more (RunGuard::ensure_mine).
  void ask_before_naming(std::function<void()> ensure_mine) { ensure_mine_ = std::move(ensure_mine); }
  std::filesystem::path deck() const { return path_ / "deck.toml"; }
  std::filesystem::path metrics() const { return path_ / "metrics.csv"; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  std::filesystem::path captures() const { return path_ / "captures"; }
  /// Chrome trace events of the traced steps.
  std::filesystem::path trace() const { return path_ / "trace.json"; }
  /// Measured seconds of the model's parts (pipeline/part_times.hpp).
  std::filesystem::path costs() const { return path_ / "costs.json"; }
  /// Which process each rank of this life is: rank,host,process,device.
  std::filesystem::path ranks() const { return path_ / "ranks.csv"; }
  /// How the products of this run are made (ops/linear_choices.hpp), where that was measured.
  std::filesystem::path product_choices() const { return path_ / "products.tsv"; }
  /// A file that a person puts there to stop the life that runs.
  std::filesystem::path stop() const { return path_ / "stop"; }
  /// How the last life ended (AttemptRecords).
  std::filesystem::path end() const { return path_ / "end.json"; }

  /// What a job says that ended by itself; of the last life. The one before is kept aside.
  std::filesystem::path report() const { return path_ / "report.txt"; }
  std::filesystem::path earlier_report() const { return path_ / "report.earlier.txt"; }

  /// Checkpoints of states that a step failed from; no restart takes them by itself.
  std::filesystem::path evidence() const { return path_ / "evidence"; }

  /// Whether the file lies in this folder or below it.
  bool contains(const std::filesystem::path& file) const;
  /// Whether the folder holds rows of metrics or checkpoints. Throws InputError where that cannot be seen.
  bool holds_steps() const;
  /// Throws InputError when the folder cannot be one: it is a file, lies below a file, or may not be written. Makes
  /// nothing.
  void check() const;
  /// Throws InputError where a run attempt would replace something that this user may not read or write: it is another
  /// user's, or its owner wants it to stay.
  void ensure_changeable() const;
  /// Makes the folder and those in it, and adds to `made` those that were not there, outermost first. Throws
  /// InputError.
  void create(std::vector<std::filesystem::path>& made) const;
  void create() const {
    std::vector<std::filesystem::path> made;
    create(made);
  }
  /// Throws SystemError.
  void create_evidence() const;
  void set_report_aside() const;
  void write_report(const std::string& text) const;
  void write_deck(const std::string& toml) const;
  /// What that file says, from the life before or put there by a person; empty where there is none. Throws InputError
  /// when it is empty.
  std::string read_product_choices() const;
  void write_costs(const std::string& json) const;
  void write_trace(const std::string& json) const;
  void write_product_choices(const std::string& text) const;
  /// `lines`: "rank,host,process,device" of each rank.
  void write_ranks(const std::vector<std::string>& lines) const;
  /// What a scheduler's job decides by, whatever became of the exit code. `running` begins a life; all else ends it.
  void record(AttemptEnd end, std::int64_t step, int exit_code, const std::string& message,
              std::string_view reason = "") const;

 private:
  [[noreturn]] void refuse(const std::filesystem::path& part, const std::error_code& error) const;
  void write_text(const std::filesystem::path& path, const std::string& text) const;

  std::filesystem::path path_;
  std::function<void()> ensure_mine_;
};

}  // namespace penstock

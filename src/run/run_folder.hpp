// SPDX-License-Identifier: Apache-2.0
#pragma once
// The run folder: the place of all files of a run. Rank 0 creates and writes it; the other ranks only name its files.

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

/// A file's text. Throws SystemError if it cannot be read.
std::string read_text(const std::filesystem::path& path);

/// Removes those of the folders that are empty, the last one first.
void remove_empty_folders(const std::vector<std::filesystem::path>& folders);

class RunFolder {
 public:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}

  /// The run folder of a checkpoint.
  static RunFolder of_checkpoint(const std::filesystem::path& file);

  const std::filesystem::path& path() const { return path_; }
  /// Called before a file gets its name; throws if this run attempt may no longer write (RunGuard::ensure_mine).
  void ask_before_naming(std::function<void()> ensure_mine) { ensure_mine_ = std::move(ensure_mine); }
  std::filesystem::path deck() const { return path_ / "deck.toml"; }
  std::filesystem::path metrics() const { return path_ / "metrics.csv"; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  std::filesystem::path captures() const { return path_ / "captures"; }
  /// Chrome trace events of the traced steps.
  std::filesystem::path trace() const { return path_ / "trace.json"; }
  /// Measured seconds of the model's parts (pipeline/part_times.hpp).
  std::filesystem::path costs() const { return path_ / "costs.json"; }
  /// The process of each rank of this run attempt: rank,host,process,device.
  std::filesystem::path ranks() const { return path_ / "ranks.csv"; }
  /// How the products of this run are computed (ops/linear_choices.hpp), if that was measured.
  std::filesystem::path product_choices() const { return path_ / "products.tsv"; }
  /// A file that a person puts there to stop the run.
  std::filesystem::path stop() const { return path_ / "stop"; }
  /// How the last life ended (AttemptRecords).
  std::filesystem::path end() const { return path_ / "end.json"; }

  /// The report of a job that ended by itself, of the last run attempt. The one before is kept under another name.
  std::filesystem::path report() const { return path_ / "report.txt"; }
  std::filesystem::path earlier_report() const { return path_ / "report.earlier.txt"; }

  /// Checkpoints of states from which a step failed; no restart uses them by itself.
  std::filesystem::path evidence() const { return path_ / "evidence"; }

  /// Whether the file is in this folder or below it.
  bool contains(const std::filesystem::path& file) const;
  /// Whether the folder has rows of metrics or checkpoints. Throws InputError if that cannot be seen.
  bool holds_steps() const;
  /// Throws InputError if the path cannot be a run folder: it is a file, is below a file, or may not be written.
  /// Creates nothing.
  void check() const;
  /// Throws InputError if a run attempt would replace something that this user may not read or write, because it
  /// belongs to another user or its owner protects it.
  void ensure_changeable() const;
  /// Creates the folder and those in it, and adds the new ones to `made`, outermost first. Throws InputError.
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
  /// The text of that file, from the run attempt before or put there by a person; empty if there is none. Throws
  /// InputError if the file is empty.
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

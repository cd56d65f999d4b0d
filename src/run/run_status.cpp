// SPDX-License-Identifier: Apache-2.0
#include "run/run_status.hpp"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.hpp"
#include "base/median.hpp"
#include "base/user_path.hpp"
#include "config/deck.hpp"
#include "plan/time_text.hpp"
#include "run/run_folder.hpp"

namespace penstock {

namespace {

constexpr std::size_t recent_rows = 20;

double age_of(const std::filesystem::path& file) {
  std::error_code error;
  const auto written = std::filesystem::last_write_time(file, error);
  if (error) return 0;
  return std::chrono::duration<double>(std::filesystem::file_time_type::clock::now() - written).count();
}

// The last whole lines: files of long runs are not read from their beginning.
std::vector<std::string> last_lines(const std::filesystem::path& path) {
  constexpr std::streamoff tail_bytes = 16 << 10;
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return {};  // opening a pipe would wait
  std::ifstream file(path, std::ios::binary);
  file.seekg(0, std::ios::end);
  const std::streamoff size = file.tellg();
  const std::streamoff begin = std::max<std::streamoff>(0, size - tail_bytes);
  file.seekg(begin);
  std::vector<std::string> lines;
  std::string line;
  if (begin > 0) std::getline(file, line);  // a part of one
  while (std::getline(file, line) && !file.eof()) lines.push_back(line);
  return lines;
}

// The deck may be of another version: looks for one key, and does not check the others.
std::int64_t steps_of_deck(const std::filesystem::path& path) try {
  const Deck deck = Deck::load(path.string());
  for (const DeckEntry& entry : deck.entries())
    if (entry.key == "run.steps" && entry.value)
      if (const auto* steps = std::get_if<std::int64_t>(&entry.value->value)) return *steps;
  return 0;
} catch (const InputError&) {
  return 0;
}

// Like a restart, skips one that disappears meanwhile or is not whole; not one that cannot be opened.
std::optional<CheckpointFile> newest_whole(IoThread& io, const std::filesystem::path& folder, std::string& problem) {
  for (const CheckpointFile& file : checkpoint_files(folder)) {
    try {
      run_reading(io, file.path, wait_by_sleeping(), [path = file.path](Progress&) {
        const ArrayReader opened(path, {checkpoint_format});
        return true;
      });
      return file;
    } catch (const CannotOpen& reason) {
      std::error_code error;
      if (!std::filesystem::exists(std::filesystem::symlink_status(file.path, error))) continue;
      problem = reason.what();
      return std::nullopt;
    } catch (const InputError&) {
      if (io.abandoned()) throw;
    }
  }
  return std::nullopt;
}

std::string state_of(const std::optional<AttemptRecords>& records, bool alive, bool has_lived) {
  if (alive) return "running";
  if (!records) return has_lived ? "unknown" : "new";
  return records->last.end == AttemptEnd::running ? "killed" : std::string(name_of(records->last.end));
}

// While a life runs, the last end is that of the life before; a life that was killed has written none.
std::optional<AttemptRecord> last_end_of(const std::optional<AttemptRecords>& records, bool alive) {
  if (!records) return std::nullopt;
  return alive && records->last.end == AttemptEnd::running ? records->before : records->last;
}

std::string end_text(const AttemptRecord& end) {
  std::string text = end.end == AttemptEnd::running
                         ? fmt::format("killed, having begun at step {}", end.step)
                         : fmt::format("{} after step {} (exit code {})", name_of(end.end), end.step, end.exit_code);
  if (!end.reason.empty()) text += ": " + end.reason;
  if (!end.message.empty()) text += ": " + end.message;
  return text;
}

nlohmann::ordered_json json_of_end(const AttemptRecord& end) {
  return {{"ended", end.end == AttemptEnd::running ? "killed" : name_of(end.end)},
          {"step", end.step},
          {"exit_code", end.exit_code},
          {"reason", end.reason},
          {"message", end.message},
          {"life", end.attempt}};
}

template <typename Value>
nlohmann::ordered_json or_null(const std::optional<Value>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
}

}  // namespace

RecentSteps read_recent_steps(const std::filesystem::path& metrics) {
  RecentSteps recent;
  std::vector<double> seconds, speeds;
  const std::vector<std::string> lines = last_lines(metrics);
  for (std::size_t l = lines.size() - std::min(lines.size(), recent_rows); l < lines.size(); ++l)
    if (const std::optional<MetricsRow> row = parse_row(lines[l])) {
      recent.last = *row;
      seconds.push_back(row->seconds);
      speeds.push_back(row->tokens_per_second);
    }
  if (seconds.empty()) return recent;
  recent.seconds_per_step = median_of(seconds);
  recent.tokens_per_second = median_of(speeds);
  recent.age_seconds = age_of(metrics);
  return recent;
}

std::optional<double> RunStatus::seconds_left() const {
  if (steps == 0 || recent.last.step == 0) return std::nullopt;
  const double left =
      static_cast<double>(steps) - static_cast<double>(recent.last.step);  // files may contain any number
  return std::max(0.0, left) * recent.seconds_per_step;
}

RunStatus read_status(IoThread& io, const std::filesystem::path& path) {
  constexpr std::string_view advice = "name one, such as runs/<the deck's name>";
  if (!std::filesystem::is_directory(status_of_path(path, advice)))
    throw_input_error("{}: is not a run folder; {}", path.string(), advice);
  const RunFolder folder(path);
  RunStatus status;
  status.folder = path;
  status.guard = look_at_guard(path);
  const bool alive = status.guard && status.guard->alive;
  const std::optional<AttemptRecords> records = AttemptRecords::read(folder.end());
  std::error_code error;
  status.end_damaged = !records && std::filesystem::exists(folder.end(), error);
  status.state = state_of(records, alive, status.end_damaged || folder.holds_steps());
  status.last_end = last_end_of(records, alive);
  status.attempts = records ? records->last.attempt : 0;
  status.steps = steps_of_deck(folder.deck());
  status.recent = read_recent_steps(folder.metrics());
  status.checkpoint = newest_whole(io, folder.checkpoints(), status.checkpoint_problem);
  return status;
}

std::string text_of(const RunStatus& status) {
  const bool alive = status.guard && status.guard->alive;
  std::string text = fmt::format("{}: {}", status.folder.string(), status.state);
  if (status.attempts > 0) text += fmt::format(", run attempt {}", status.attempts);
  if (alive) text += ", " + words_of(status.guard->holder);
  text += "\n";
  const auto line = [&](const char* what, const std::string& value) {
    text += fmt::format("  {:<12}{}\n", what, value);
  };
  const MetricsRow& row = status.recent.last;
  if (row.step > 0) {
    line("step", fmt::format("{}{}, {} ago", row.step, status.steps > 0 ? fmt::format(" of {}", status.steps) : "",
                             short_time(status.recent.age_seconds)));
    line("loss", fmt::format("{:.4f}", row.loss));
    line("speed", fmt::format("{:.0f} tokens/s, {:.3g} s a step", status.recent.tokens_per_second,
                              status.recent.seconds_per_step));
    if (const auto left = status.seconds_left(); left > 0.0)
      line(alive ? "time left" : "to go", short_time(*left) + (alive ? "" : " at that speed"));
  } else {
    line("step", "none yet");
  }
  if (status.checkpoint)
    line("checkpoint", fmt::format("step {}, {}", status.checkpoint->step, status.checkpoint->path.string()));
  else
    line("checkpoint", status.checkpoint_problem.empty() ? "none yet" : status.checkpoint_problem);
  if (status.last_end) line("last end", end_text(*status.last_end));
  if (status.end_damaged) line("last end", "unknown: end.json is damaged; the next run attempt replaces it");
  if (status.guard && !alive)
    line("guard", fmt::format("left by {}, silent for {}; the next run attempt takes it over",
                              words_of(status.guard->holder), short_time(status.guard->silent_seconds)));
  return text;
}

nlohmann::ordered_json json_of(const RunStatus& status) {
  const MetricsRow& row = status.recent.last;
  nlohmann::ordered_json json{{"run", status.folder.string()},
                              {"state", status.state},
                              {"lives", status.attempts},
                              {"step", row.step},
                              {"steps", status.steps},
                              {"loss", nullptr},
                              {"gradient_norm", nullptr},
                              {"seconds_per_step", nullptr},
                              {"tokens_per_second", nullptr},
                              {"seconds_since_step", nullptr},
                              {"seconds_left", or_null(status.seconds_left())},
                              {"checkpoint_step", nullptr},
                              {"checkpoint_file", nullptr},
                              {"checkpoint_problem", nullptr},
                              {"alive", status.guard && status.guard->alive},
                              {"holder", nullptr},
                              {"last_end", nullptr},
                              {"end_damaged", status.end_damaged}};
  if (row.step > 0) {
    json["loss"] = row.loss;
    json["gradient_norm"] = row.gradient_norm;
    json["seconds_per_step"] = status.recent.seconds_per_step;
    json["tokens_per_second"] = status.recent.tokens_per_second;
    json["seconds_since_step"] = status.recent.age_seconds;
  }
  if (status.checkpoint) {
    json["checkpoint_step"] = status.checkpoint->step;
    json["checkpoint_file"] = status.checkpoint->path.string();
  }
  if (!status.checkpoint_problem.empty()) json["checkpoint_problem"] = status.checkpoint_problem;
  if (status.guard && status.guard->holder.is_named())
    json["holder"] = {{"host", status.guard->holder.host},
                      {"process", status.guard->holder.process},
                      {"since", status.guard->holder.started},
                      {"silent_seconds", status.guard->silent_seconds}};
  if (status.last_end) json["last_end"] = json_of_end(*status.last_end);
  return json;
}

}  // namespace penstock

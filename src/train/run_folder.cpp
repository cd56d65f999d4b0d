// SPDX-License-Identifier: Apache-2.0
#include "train/run_folder.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <sstream>

#include "base/error.hpp"
#include "checkpoint/durable_file.hpp"

namespace penstock {

std::string read_text(const std::filesystem::path& path) {
  if (std::filesystem::exists(path) && !std::filesystem::is_regular_file(path))  // opening a pipe would wait
    throw_input_error("{}: is not a regular file; name another", path.string());
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) throw SystemError(fmt::format("{} cannot be read; check its permissions", path.string()));
  return text.str();
}

RunFolder RunFolder::of_checkpoint(const std::filesystem::path& file) {
  return RunFolder(std::filesystem::absolute(file).parent_path().parent_path());
}

bool RunFolder::contains(const std::filesystem::path& file) const {
  const std::filesystem::path folder = std::filesystem::weakly_canonical(path_);
  const std::filesystem::path inside = std::filesystem::weakly_canonical(file);
  return std::mismatch(folder.begin(), folder.end(), inside.begin(), inside.end()).first == folder.end();
}

bool RunFolder::holds_steps() const {
  std::error_code error;
  if (std::filesystem::is_regular_file(metrics(), error)) {  // opening a pipe would wait
    std::ifstream file(metrics());
    std::string line;
    if (std::getline(file, line) && std::getline(file, line) && !line.empty()) return true;
  }
  for (const auto& entry : std::filesystem::directory_iterator(checkpoints(), error))
    if (entry.path().extension() == ".h5") return true;
  return false;
}

void RunFolder::check() const {
  if (path_.empty()) throw InputError("--run names no folder; name one, or leave --run out");
  std::error_code error;
  for (std::filesystem::path part = std::filesystem::absolute(path_); !part.empty(); part = part.parent_path()) {
    const auto status = std::filesystem::status(part, error);
    if (!std::filesystem::exists(status)) {  // not there, or not to be seen: the folder above it says why
      if (part == part.root_path()) break;
      continue;
    }
    if (!std::filesystem::is_directory(status))
      throw_input_error("the run folder {} cannot be made: {} is a file, not a folder; choose another with --run",
                        path_.string(), part.string());
    if (access(part.c_str(), W_OK | X_OK) != 0)
      throw_input_error("the run folder {} cannot be written: {} {}; choose another with --run", path_.string(),
                        errno == EROFS ? "a read-only file system holds" : "no permission in", part.string());
    return;
  }
}

void RunFolder::create() const {
  std::error_code error;
  for (const auto& folder : {checkpoints(), captures()}) {
    std::filesystem::create_directories(folder, error);
    if (error)
      throw_input_error("the run folder {} cannot be made: {}: {}; choose another with --run", path_.string(),
                        folder.string(), error.message());
  }
}

// Readers see the old text or the new one, never half of it.
void RunFolder::write_text(const std::filesystem::path& path, const std::string& text) const {
  const std::filesystem::path temporary = temporary_name(path);
  try {
    write_file(temporary, text);
    if (ensure_mine_) ensure_mine_();
    publish(temporary, path);
  } catch (const std::exception& error) {
    discard(temporary);
    throw SystemError(fmt::format("{}: could not be written: {}", path.string(), error.what()));
  }
}

void RunFolder::set_report_aside() const {
  std::error_code none_is_there;
  std::filesystem::rename(report(), earlier_report(), none_is_there);
}

void RunFolder::write_report(const std::string& text) const { write_text(report(), text); }

void RunFolder::write_deck(const std::string& toml) const { write_text(deck(), toml); }

std::string RunFolder::read_product_choices() const {
  std::error_code error;
  if (!std::filesystem::exists(product_choices(), error)) return "";
  std::string text = read_text(product_choices());
  if (text.empty())
    throw_input_error("{} is empty: a write did not come to its end; remove it, and products are measured again",
                      product_choices().string());
  return text;
}

void RunFolder::write_costs(const std::string& json) const { write_text(costs(), json); }

void RunFolder::write_trace(const std::string& json) const { write_text(trace(), json); }

void RunFolder::write_product_choices(const std::string& text) const { write_text(product_choices(), text); }

void RunFolder::write_ranks(const std::vector<std::string>& lines) const {
  std::string text = "rank,host,process,device\n";
  for (const std::string& line : lines) text += line + "\n";
  write_text(ranks(), text);
}

void RunFolder::record(LifeEnd end, std::int64_t step, int exit_code, const std::string& message,
                       std::string_view reason) const {
  const std::optional<LifeRecords> known = LifeRecords::read(this->end());
  LifeRecords records{.last = {.end = end,
                               .step = step,
                               .exit_code = exit_code,
                               .reason = std::string(reason),
                               .message = message,
                               .life = known ? known->last.life : 1},
                      .before = known ? known->before : std::nullopt};
  if (end == LifeEnd::running && known) {
    records.before = known->last;
    ++records.last.life;
  }
  write_text(this->end(), records.json());
}

}  // namespace penstock

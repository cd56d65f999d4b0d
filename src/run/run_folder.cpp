// SPDX-License-Identifier: Apache-2.0
#include "run/run_folder.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <fstream>
#include <sstream>

#include "base/error.hpp"
#include "base/user_path.hpp"
#include "storage/durable_file.hpp"
#include "storage/owner.hpp"

namespace penstock {

std::string read_text(const std::filesystem::path& path) {
  const std::filesystem::file_status status = status_of_path(path, "name another");
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))  // opening a pipe would wait
    throw_input_error("{}: is not a regular file; name another", path.string());
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) throw SystemError(fmt::format("{} cannot be read; check its permissions", path.string()));
  return text.str();
}

void remove_empty_folders(const std::vector<std::filesystem::path>& folders) {
  std::error_code not_empty;
  for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) std::filesystem::remove(*folder, not_empty);
}

namespace {

// Follows links, as far as the path exists.
std::filesystem::path real_path(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::path real = std::filesystem::weakly_canonical(absolute_path(path), error);
  if (error) throw_input_error("{}: cannot be looked at: {}; name another", path.string(), error.message());
  return real;
}

// One by one, so that it is known which were made if the next one fails.
std::error_code make_folders(const std::filesystem::path& folder, std::vector<std::filesystem::path>& made) {
  std::error_code error;
  std::filesystem::path part;
  for (const std::filesystem::path& name : folder) {
    part /= name;
    if (std::filesystem::is_directory(part, error)) continue;
    if (std::filesystem::create_directory(part, error)) made.push_back(part);
    if (error) break;
  }
  return error;
}

}  // namespace

RunFolder RunFolder::of_checkpoint(const std::filesystem::path& file) {
  return RunFolder(absolute_path(file).parent_path().parent_path());
}

bool RunFolder::contains(const std::filesystem::path& file) const {
  const std::filesystem::path folder = real_path(path_);
  const std::filesystem::path inside = real_path(file);
  return std::mismatch(folder.begin(), folder.end(), inside.begin(), inside.end()).first == folder.end();
}

bool RunFolder::holds_steps() const {
  std::error_code error;
  if (std::filesystem::is_regular_file(metrics(), error)) {  // opening a pipe would wait
    std::ifstream file(metrics());
    std::string line;
    if (std::getline(file, line) && std::getline(file, line) && !line.empty()) return true;
  }
  for (std::filesystem::directory_iterator entry(checkpoints(), error), end; !error && entry != end;
       entry.increment(error))
    if (entry->path().extension() == ".h5") return true;
  if (error && error != std::errc::no_such_file_or_directory && error != std::errc::not_a_directory)
    throw_input_error("{}: cannot be listed: {}: {}; or choose another folder with --run", checkpoints().string(),
                      error.message(), cure_of_no_permission(checkpoints(), "rx"));
  return false;
}

void RunFolder::check() const {
  if (path_.empty()) throw InputError("--run names no folder; name one, or leave --run out");
  constexpr std::size_t longest_inside = 128;  // bytes: "/checkpoints/" and the temporary name of a checkpoint
  if (path_.native().size() + longest_inside > PATH_MAX)
    refuse(path_, std::make_error_code(std::errc::filename_too_long));
  std::error_code error;
  for (std::filesystem::path part = absolute_path(path_); !part.empty(); part = part.parent_path()) {
    const auto status = std::filesystem::status(part, error);
    if (error == std::errc::filename_too_long || error == std::errc::too_many_symbolic_link_levels) refuse(part, error);
    if (!std::filesystem::exists(status)) {  // missing, or not visible: the folder above it gives the reason
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

// Everything but the guard: any user who may write in the folder may take over a left guard.
void RunFolder::ensure_changeable() const {
  std::error_code error;
  for (const auto& folder : {checkpoints(), captures()})
    if (std::filesystem::is_directory(folder, error) && (!may_read(folder) || !may_write(folder) || !may_enter(folder)))
      throw_input_error("the run folder {}: no permission in {}: {}; or choose another with --run", path_.string(),
                        folder.string(), cure_of_no_permission(folder, "rwx"));
  for (const auto& file :
       {end(), metrics(), deck(), product_choices(), ranks(), costs(), trace(), report(), earlier_report()})
    if (!may_read(file) || !may_change(file))
      throw_input_error(
          "the run folder {}: {} would be replaced, and this user may not {} it (Permission denied): {}; or go on in a "
          "folder of your own with --run DIR and --restart FILE",
          path_.string(), file.string(), may_read(file) ? "write" : "read", cure_of_no_permission(file, "rw"));
}

void RunFolder::create(std::vector<std::filesystem::path>& made) const {
  for (const auto& folder : {checkpoints(), captures()})
    if (const std::error_code error = make_folders(folder, made)) refuse(folder, error);
}

void RunFolder::refuse(const std::filesystem::path& part, const std::error_code& error) const {
  throw_input_error("the run folder {} cannot be made: {}: {}; choose another with --run", path_.string(),
                    part.string(), error.message());
}

void RunFolder::create_evidence() const {
  std::error_code error;
  std::filesystem::create_directories(evidence(), error);
  if (error) throw SystemError(fmt::format("{}: cannot be made: {}", evidence().string(), error.message()));
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

void RunFolder::record(AttemptEnd end, std::int64_t step, int exit_code, const std::string& message,
                       std::string_view reason) const {
  const std::optional<AttemptRecords> known = AttemptRecords::read(this->end());
  AttemptRecords records{.last = {.end = end,
                                  .step = step,
                                  .exit_code = exit_code,
                                  .reason = std::string(reason),
                                  .message = message,
                                  .attempt = known ? known->last.attempt : 1},
                         .before = known ? known->before : std::nullopt};
  if (end == AttemptEnd::running && known) {
    records.before = known->last;
    ++records.last.attempt;
  }
  write_text(this->end(), records.json());
}

}  // namespace penstock

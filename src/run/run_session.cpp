// SPDX-License-Identifier: Apache-2.0
#include "run/run_session.hpp"

#include "base/log.hpp"
#include "checkpoint/checkpoint_folder.hpp"
#include "run/failure_record.hpp"
#include "run/metrics_rows.hpp"
#include "storage/owner.hpp"

namespace penstock {

namespace {

// By the files' names; -1 where there is none.
std::int64_t newest_step(const std::filesystem::path& checkpoints) {
  const std::vector<CheckpointFile> files = checkpoint_files(checkpoints);
  return files.empty() ? -1 : files.front().step;
}

}  // namespace

RunSession::RunSession(World& world, std::filesystem::path folder, Restart restart, const StepAgenda& agenda)
    : world_(&world), folder_(std::move(folder)), restart_(std::move(restart)), agenda_(&agenda) {
  world.together([this] {
    if (world_->rank() == 0) take_guard_if_there();
  });
}

// Nothing is written until it is clear that the run may begin, not even the guard: perhaps every step is done, or files
// belong to another user. An existing folder is guarded before anything but names is read, because another attempt may
// still be writing there.
void RunSession::take_guard_if_there() {
  if (restart_ && restart_->empty())
    throw InputError("--restart names no file; name a checkpoint, or latest, or leave --restart out");
  folder_.check();
  refuse_steps_of_another_run();
  std::error_code error;
  if (!std::filesystem::exists(folder_.path(), error)) return;
  folder_.ensure_changeable();
  if (restarts_from_latest()) {  // by the files' names, the newest first: which of them is whole is not known yet
    const std::vector<CheckpointFile> files = checkpoint_files(folder_.checkpoints());
    if (!files.empty()) ensure_steps_are_left(files.back().step);
  }
  take_guard();
  refuse_steps_of_another_run();  // what another attempt wrote before it left
}

void RunSession::take_guard() {
  guard_ = std::make_unique<RunGuard>(folder_.path());
  guard_->end_by([world = world_](const std::string& message) { world->abort(message); });
  folder_.ask_before_naming([this] { ensure_mine(); });
}

// Nobody could distinguish the rows and checkpoints of two runs in one folder.
void RunSession::refuse_steps_of_another_run() const {
  if (restarts_from_latest() || (restart_ && folder_.contains(*restart_)) || !folder_.holds_steps()) return;
  if (restart_)
    throw_input_error(
        "the run folder {} holds the steps of another run than {}; go on from it in a folder of its own: choose "
        "another with --run",
        folder_.path().string(), *restart_);
  throw_input_error(
      "the run folder {} holds the steps of an earlier run; continue it with --restart latest, or choose another "
      "folder with --run",
      folder_.path().string());
}

std::optional<std::filesystem::path> RunSession::checkpoint_to_load(IoThread& io) {
  if (!restart_) return std::nullopt;
  if (!restarts_from_latest()) return *restart_;
  world_->together([&] {
    if (world_->rank() == 0) newest_seen_ = newest_step(folder_.checkpoints());
  });
  const Latest latest = find_latest(*world_, io, folder_.checkpoints());
  std::string reasons;
  for (const Latest::PassedOver& passed : latest.passed_over) {  // `why` begins with the file's path
    if (latest.file && world_->rank() == 0) log_warning("passed over {}", passed.why);
    reasons += "\n  " + passed.why;
  }
  if (latest.file) return latest.file->path;
  if (!latest.passed_over.empty())
    throw CollectiveFailure(
        {2, fmt::format("{} holds no whole checkpoint; put a whole copy of one there, or begin anew "
                        "in another folder with --run:{}",
                        folder_.checkpoints().string(), reasons)});
  log_info("--restart latest: {} holds no checkpoint yet, starting at step 0", folder_.checkpoints().string());
  return std::nullopt;
}

// An attempt that would do no step has nothing to save, and its end would point to a checkpoint that it does not have.
void RunSession::ensure_steps_are_left(std::int64_t step) const {
  if (step < agenda_->last_step()) return;
  const bool stops_earlier = agenda_->last_step() < agenda_->steps();
  if (!stops_earlier && step == agenda_->steps() && holds_checkpoint(step)) return;
  const char* key = stops_earlier ? "run.stop" : "run.steps";
  throw_input_error(
      "the checkpoint is of step {}, but {} = {}: there is no step left to do; use a larger {}, or an earlier "
      "checkpoint",
      step, key, agenda_->last_step(), key);
}

// An attempt that finds all steps done in its own folder is simply done.
bool RunSession::holds_checkpoint(std::int64_t step) const {
  std::error_code error;
  return std::filesystem::exists(folder_.checkpoints() / checkpoint_name(step), error);
}

bool RunSession::others_saved_meanwhile(std::int64_t step, const std::vector<std::int64_t>& capture_steps) {
  bool saved = false;
  world_->together([&] {
    if (world_->rank() != 0 || !guard_) return;
    refuse_to_change_what_is_anothers(step, capture_steps);
    guard_->remove_what_others_began();
    saved = restarts_from_latest() && newest_step(folder_.checkpoints()) != newest_seen_;
  });
  return world_->largest(saved ? 1 : 0) != 0;
}

// Files that this attempt would move or replace, and metrics.csv, whose rows it takes over.
void RunSession::refuse_to_change_what_is_anothers(std::int64_t step,
                                                   const std::vector<std::int64_t>& capture_steps) const {
  ensure_later_may_be_moved(folder_.checkpoints(), step);
  for (const std::int64_t captured : capture_steps) {
    const std::filesystem::path capture = folder_.captures() / checkpoint_name(captured);
    if (captured > step && !may_change(capture))
      throw_input_error("{}: the capture of step {} would replace it: {}, or leave the step out of capture.steps",
                        capture.string(), captured, cure_of_no_permission(capture, "w"));
  }
  if (step > 0) rows_up_to(folder_.metrics(), step);
}

void RunSession::begin(std::int64_t step) {
  try {
    world_->together([&] {
      if (world_->rank() != 0) return;
      folder_.create(made_);
      if (!guard_) {
        take_guard();
        guard_->remove_what_others_began();
      }
      refuse_steps_of_another_run();
      folder_.set_report_aside();
      folder_.record(AttemptEnd::running, step, 0, "");
    });
  } catch (const CollectiveFailure&) {
    remove_what_was_made();
    throw;
  }
}

void RunSession::end_before_first_step(std::int64_t step, const CollectiveFailure& failure) {
  record({.end = AttemptEnd::failed, .step = step, .exit_code = failure.exit_code(), .message = failure.what()});
  remove_what_was_made();
}

void RunSession::remove_what_was_made() {
  if (made_.empty()) return;
  leave();  // the guard lies in the outermost
  remove_empty_folders(made_);
}

void RunSession::keep_failures() {
  const std::string attempt = world_->broadcast(guard_ ? guard_->holder().attempt : "");
  world_->set_failure_keeper(
      [record = FailureRecord(folder_.path(), attempt)](const FailureReport& report) { return record.keep(report); });
}

void RunSession::record(const AttemptRecord& end) {
  if (world_->rank() != 0 || !guard_) return;
  try {
    ensure_mine();
    folder_.record(end.end, end.step, end.exit_code, end.message, end.reason);
    if (end.end == AttemptEnd::failed) folder_.write_report(end.message + "\n");
  } catch (const FolderLost&) {  // the record belongs to the new holder
  } catch (const std::exception& error) {
    log_warning("{}", error.what());
  }
}

void RunSession::end_without_folder() {
  world_->together([this] { ensure_mine(); });
  throw CollectiveFailure({1, fmt::format("{}: its guard could not be read for a while; this run has ended, and "
                                          "--restart latest goes on",
                                          folder_.path().string())});
}

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#include "run/saver.hpp"

#include <algorithm>
#include <thread>

#include "base/clock.hpp"
#include "base/log.hpp"
#include "checkpoint/checkpoint_folder.hpp"
#include "run/finite_state.hpp"
#include "storage/run_guard.hpp"

namespace penstock {

Saver::Saver(World& world, Writers& writers, const std::vector<ParameterSpec>& specs,
             const std::vector<ParameterLayout>& layouts, ParameterSet& parameters, Options options)
    : world_(world),
      writers_(writers),
      specs_(specs),
      layouts_(layouts),
      parameters_(parameters),
      options_(std::move(options)) {
  if (options_.behind) parameters_.prepare_staging();
}

Saver::~Saver() = default;  // the flight's future waits

void Saver::save(Queue& queue, CheckpointMeta meta) {
  look();
  if (flight_ && world_.rank() == 0) {
    options_.clear_line();
    log_info("step {} waits to be staged: step {} is still being written", meta.step, flight_->meta.step);
  }
  finish();
  tried_step_ = meta.step;
  flight_ = std::make_unique<Flight>();
  flight_->meta = std::move(meta);
  flight_->begin = Clock::now();
  parameters_.stage_state(queue);
  if (parameters_.is_staged()) flight_->staging_seconds = seconds_since(flight_->begin);
  flight_->ended = std::async(std::launch::async, [this, flight = flight_.get()] { write(*flight); });
  if (options_.behind)
    look();
  else
    finish();
}

void Saver::look() {
  if (!flight_) return;
  if (is_ready(flight_->ended))
    land();
  else
    tell_staged();
}

void Saver::finish() {
  if (!flight_) return;
  tell_staged();
  world_.wait_until([this] { return gets_ready(flight_->ended); },
                    fmt::format("the save of step {}", flight_->meta.step),
                    [this] { return flight_->progress.bytes(); });
  land();
}

// On the save's thread of every rank: all take the same decisions, because all know the same outcome.
void Saver::write(Flight& flight) {
  try {
    world_.wait_until([this] { return parameters_.is_staged(); }, "the copy of master weights and moments to the host");
    if (flight.staging_seconds < 0) flight.staging_seconds = seconds_since(flight.begin);
    if (!options_.whatever_the_state) flight.outcome.message = what_nothing_goes_on_from();
    flight.refused_state = !flight.outcome.message.empty();
    if (flight.refused_state) return;
    flight.outcome = try_once(flight);
    double seconds = options_.pause_seconds;
    for (int retry = 0; !flight.outcome.ok && retry < options_.retries; ++retry) {
      flight.told.push_back({"a save is tried again", fmt::format("saving step {}: {}; trying again in {:g} s",
                                                                  flight.meta.step, flight.outcome.message, seconds)});
      pause(flight, seconds);
      seconds *= 4;
      flight.outcome = try_once(flight);
    }
    if (flight.outcome.ok) remove_old(flight);
    flight.lost_folder = !flight.outcome.ok && !may_write();
  } catch (const std::exception& error) {
    world_.abort(error.what());  // the others wait for this rank's part of the file
  }
}

SaveOutcome Saver::try_once(Flight& flight) {
  std::error_code no_run_folder_either;  // a removed folder is made again
  if (world_.rank() == 0) std::filesystem::create_directory(options_.folder, no_run_folder_either);
  return save_checkpoint(
      world_, writers_, options_.folder, flight.meta, specs_, layouts_, staged_of(parameters_),
      {.ensure_mine = options_.ensure_mine, .sync_others = options_.sync_rows, .progress = &flight.progress});
}

// A state with such a weight would displace older ones, and no step from it is finite. Empty if there is none.
std::string Saver::what_nothing_goes_on_from() {
  const auto rank = static_cast<std::size_t>(world_.rank());
  const std::string mine = first_nonfinite_weight(specs_, layouts_[rank], staged_of(parameters_));
  if (world_.largest(mine.empty() ? 0 : 1, writers_.messages()) == 0) return "";
  const std::vector<std::string> all = world_.gather(mine, writers_.messages());
  const auto found = std::find_if(all.begin(), all.end(), [](const std::string& text) { return !text.empty(); });
  return fmt::format("{} on rank {}: no step goes on from there", *found, found - all.begin());
}

bool Saver::may_write() const {
  if (options_.ensure_mine) try {
      options_.ensure_mine();
    } catch (const FolderLost&) {
      return false;
    } catch (const std::exception&) {  // a guard that cannot be read now proves nothing
    }
  return true;
}

// Shows whoever waits for the save that it makes progress.
void Saver::pause(Flight& flight, double seconds) {
  for (const auto start = Clock::now(); seconds_since(start) < seconds;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    flight.progress.advance(1);
  }
}

void Saver::remove_old(Flight& flight) {
  if (world_.rank() != 0 || options_.keep < 1) return;
  try {
    wait_for(world_,
             writers_.io().run([this] { return keep_newest(options_.folder, options_.keep, options_.ensure_mine); }),
             "old checkpoints being removed");
  } catch (const std::exception& error) {
    flight.told.push_back(
        {"old checkpoints stay", fmt::format("old checkpoints could not be removed: {}", error.what())});
  }
}

void Saver::tell_staged() {
  if (world_.rank() != 0 || flight_->told_staged || flight_->staging_seconds < 0) return;
  flight_->told_staged = true;
  options_.clear_line();
  if (options_.behind)
    log_info("saving step {}: staged in {:.6f} s, being written while training goes on", flight_->meta.step,
             flight_->staging_seconds.load());
  else
    log_info("saving step {}", flight_->meta.step);
}

void Saver::warn(const Warning& warning) {
  if (options_.warn)
    options_.warn(warning);
  else
    log_warning("{}", warning.text);
}

void Saver::land() {
  tell_staged();
  flight_->ended.get();
  const std::unique_ptr<Flight> flight = std::move(flight_);
  const SaveOutcome& outcome = flight->outcome;
  if (outcome.ok) saved_step_ = flight->meta.step;
  why_not_ = outcome.message;
  if (outcome.ok && options_.took) options_.took(outcome.seconds);
  lost_folder_ = flight->lost_folder;
  refused_state_ = flight->refused_state;
  if (world_.rank() != 0) return;
  options_.clear_line();
  for (const Warning& warning : flight->told) warn(warning);
  const double megabytes = static_cast<double>(outcome.bytes) * 1e-6;
  if (outcome.ok)
    log_info("saved step {}: durable, {:.1f} MB in {:.3f} s ({:.0f} MB/s)", flight->meta.step, megabytes,
             outcome.seconds, megabytes / outcome.seconds);
  else if (!refused_state_)  // the end of the run gives the reason
    warn({"a step was not saved", fmt::format("step {} was not saved: {}; {}, training goes on", flight->meta.step,
                                              outcome.message, what_is_left())});
}

// About earlier checkpoints.
std::string Saver::what_is_left() const {
  std::error_code error;
  if (std::filesystem::status(options_.folder, error).type() == std::filesystem::file_type::not_found)
    return options_.folder.string() + " is gone, and the earlier checkpoints with it";
  try {
    if (!checkpoint_files(options_.folder).empty()) return "the earlier checkpoints are whole";
  } catch (const InputError&) {
    return options_.folder.string() + " cannot be looked at now";
  }
  return options_.folder.string() + " holds no earlier checkpoint";
}

}  // namespace penstock

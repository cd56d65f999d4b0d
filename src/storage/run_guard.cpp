// SPDX-License-Identifier: Apache-2.0
#include "storage/run_guard.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>
#include <random>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/fault.hpp"
#include "base/log.hpp"
#include "base/process.hpp"
#include "storage/durable_file.hpp"
#include "storage/folder_time.hpp"
#include "storage/guard_file.hpp"

namespace penstock {

namespace {

std::string local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  char text[64];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
  return text;
}

std::string new_attempt() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}{:08x}{:08x}", random(), random(), random(), random());
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// "cluster/4711"; job numbers are unique within a cluster.
std::string slurm_job() {
  const std::string job = variable("SLURM_JOB_ID");
  return job.empty() ? "" : variable("SLURM_CLUSTER_NAME") + "/" + job;
}

// A process number inside a container belongs to another process outside.
std::string_view place_to_kill(const GuardHolder& holder, const GuardHolder& me) {
  const bool in_a_container = holder.boot == me.boot && !holder.space.empty() && holder.space != me.space;
  return in_a_container ? "in its container" : "there";
}

[[noreturn]] void refuse(const std::filesystem::path& guard, const GuardHolder& holder, const GuardHolder& me) {
  if (!holder.is_named())
    throw_input_error(
        "{}: somebody holds this folder, but {} does not say who (it is empty or damaged): where no run writes there, "
        "remove that file; else end that run, or give this one its own folder with --run DIR",
        guard.parent_path().string(), guard.string());
  throw_input_error(
      "{}: another run writes in this folder: {}; two writers destroy each other's work: end that run "
      "(`kill {}` {}, or cancel its job), or give this one its own folder with --run DIR",
      guard.parent_path().string(), words_of(holder), holder.process, place_to_kill(holder, me));
}

// Reads a guard that is to be judged; nothing if there is none.
std::optional<std::string> text_to_judge(const std::filesystem::path& guard) {
  try {
    return read_guard(guard);
  } catch (const SystemError& error) {
    if (access(guard.c_str(), R_OK) == 0 || errno != EACCES) throw;
    throw_input_error(
        "{}: the run of another user holds this folder, or held it: ask the file's owner to end that run or, where "
        "none "
        "writes there, to remove the file; or give this run its own folder with --run DIR",
        error.what());
  }
}

// In doubt, no.
bool is_text_of(const std::filesystem::path& guard, const std::string& text) {
  try {
    return read_guard(guard) == text;
  } catch (const SystemError&) {
    return false;
  }
}

// Ranks of a killed job keep running for a few seconds, so a holder that can be seen gets time to leave. Returns
// whether it has left.
bool leaves(const GuardHolder& holder, const GuardTimes& times) {
  const auto start = Clock::now();
  while (see_process(holder.process).start_ticks == holder.start_ticks) {
    if (seconds_since(start) > times.leaving_seconds) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return true;
}

// Like a rename that replaces nothing. Over NFS a link may be made and its answer lost; the number of names shows it.
bool name_exclusively(const std::filesystem::path& unnamed, const std::filesystem::path& name, int descriptor) {
  if (link(unnamed.c_str(), name.c_str()) == 0) return true;
  const int reason = errno;
  if (reason == EPERM || reason == EOPNOTSUPP)  // a file system without links
    return renameat2(AT_FDCWD, unnamed.c_str(), AT_FDCWD, name.c_str(), RENAME_NOREPLACE) == 0;
  struct stat status {};
  const bool linked = fstat(descriptor, &status) == 0 && status.st_nlink == 2;
  errno = reason;
  return linked;
}

}  // namespace

std::string words_of(const GuardHolder& holder) {
  if (!holder.is_named()) return "a run attempt that its guard does not name";
  return fmt::format("process {} on {}, since {}", holder.process, holder.host, holder.started);
}

SeenProcess see_process(std::int64_t process) {
  if (!may_run(process)) return {};
  const std::optional<ProcessStat> stat = stat_of_process(process);
  return {.runs = true, .start_ticks = stat ? std::optional(stat->start_ticks) : std::nullopt};
}

std::string GuardHolder::json() const {
  return nlohmann::ordered_json{
             {"host", host},         {"boot", boot},       {"process", process}, {"start_ticks", start_ticks},
             {"life", attempt},      {"started", started}, {"epoch", epoch},     {"job", job},
             {"requeues", requeues}, {"space", space}}
             .dump() +
         "\n";
}

// Guards of earlier versions have no `space`.
std::optional<GuardHolder> GuardHolder::parse(const std::string& text) try {
  const nlohmann::json json = nlohmann::json::parse(text);
  for (const char* name : {"process", "start_ticks", "epoch", "requeues"}) {  // 1 is added to a count
    const auto number = json.at(name).get_ref<const std::int64_t&>();         // throws for a real number
    if (number < 0 || number >= std::int64_t{1} << 53) return std::nullopt;
  }
  return GuardHolder{json.at("host"),     json.at("boot"),        json.at("process"), json.at("start_ticks"),
                     json.at("life"),     json.at("started"),     json.at("epoch"),   json.at("job"),
                     json.at("requeues"), json.value("space", "")};
} catch (const nlohmann::json::exception&) {
  return std::nullopt;
}

GuardHolder GuardHolder::this_process() {
  char host[256] = "?";
  gethostname(host, sizeof(host) - 1);
  const std::string space = pid_namespace();
  const std::optional<ProcessStat> stat = space.empty() ? std::nullopt : stat_of_process(getpid());
  return {.host = host,
          .boot = boot_id(),
          .process = getpid(),
          .start_ticks = stat ? stat->start_ticks : 0,
          .attempt = new_attempt(),
          .started = local_time(),
          .epoch = 1,
          .job = slurm_job(),
          .requeues = std::atoll(variable("SLURM_RESTART_COUNT").c_str()),
          .space = space};
}

HolderState judge(const GuardHolder& other, const GuardHolder& me, const SeenProcess& seen) {
  const bool in_view = !me.boot.empty() && other.boot == me.boot && !me.space.empty() && other.space == me.space;
  if (!in_view || other.start_ticks == 0 || (seen.runs && !seen.start_ticks)) return HolderState::unknown;
  if (seen.runs && seen.start_ticks == other.start_ticks) return HolderState::alive;
  return other.host == me.host ? HolderState::dead : HolderState::unknown;
}

// Slurm counts the starts of a job, and begins the next one when it considers the last one ended.
bool supersedes(const GuardHolder& me, const GuardHolder& other) {
  return !me.job.empty() && me.job == other.job && me.requeues > other.requeues;
}

std::string attempt_of_guard(const std::filesystem::path& folder) {
  const auto holder = GuardHolder::parse(read_guard(folder / "guard").value_or(""));
  return holder ? holder->attempt : "";
}

RunGuard::RunGuard(const std::filesystem::path& folder, GuardTimes times, GuardHolder me)
    : file_(folder / "guard"), times_(times), me_(std::move(me)) {
  constexpr int attempts = 10;  // others may come and go meanwhile
  for (int attempt = 0; !try_to_take(); ++attempt) {
    if (attempt == attempts)
      throw SystemError(fmt::format("{}: changes its holder all the time; start again", file_.string()));
    const std::optional<std::string> text = text_to_judge(file_);
    if (text && may_be_taken(*text)) take_over(*text);
  }
  heart_ = std::jthread([this](const std::stop_token& stop) { beat(stop); });
}

RunGuard::SetAside::~SetAside() {
  if (!file.empty()) unlink(file.c_str());
}

// Whether the guard with this text belongs to a dead run attempt, or to one that this one supersedes. Waits until that
// is known, and throws if its holder is alive. False if the guard has changed meanwhile.
bool RunGuard::may_be_taken(const std::string& text) {
  const std::optional<GuardHolder> parsed = GuardHolder::parse(text);
  const GuardHolder holder = parsed.value_or(GuardHolder{});
  const HolderState state = parsed ? judge(holder, me_, see_process(holder.process)) : HolderState::unknown;
  const bool superseded = supersedes(me_, holder);
  if (state == HolderState::alive && !leaves(holder, times_) && !superseded) refuse(file_, holder, me_);
  if (state != HolderState::unknown || superseded) return true;
  const Pulse pulse = pulse_of(file_, folder_clock(file_.parent_path()), times_, [&] {
    log_warning("{}: held by {}: waiting up to {:.0f} s for its heartbeat", file_.string(), words_of(holder),
                times_.patience_seconds);
  });
  if (pulse == Pulse::beats && read_guard(file_) == text) refuse(file_, holder, me_);
  return pulse == Pulse::stale;
}

RunGuard::~RunGuard() {
  heart_.request_stop();
  if (heart_.joinable()) heart_.join();
  if (descriptor_ >= 0) close(descriptor_);  // first: the look below needs a descriptor, and there may be no other left
  if (still_mine() && rename(set_aside_.file.c_str(), file_.c_str()) != 0) unlink(file_.c_str());
}

// The guard has its text before it has its name, so that nobody finds an empty one.
bool RunGuard::try_to_take() {
  const std::filesystem::path unnamed = file_.parent_path() / (".guard.tmp-" + me_.attempt);
  descriptor_ = open(unnamed.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
  const std::string text = me_.json();
  const bool written = descriptor_ >= 0 &&
                       write(descriptor_, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                       fsync(descriptor_) == 0;
  const bool named = written && name_exclusively(unnamed, file_, descriptor_);
  const int reason = errno;
  unlink(unnamed.c_str());
  if (named) return true;
  if (descriptor_ >= 0) close(descriptor_);
  descriptor_ = -1;
  if (written && (reason == EEXIST || reason == ENOENT))
    return false;  // ENOENT: the new holder has removed the temporary file
  throw SystemError(fmt::format("{}: cannot be written: {}", file_.string(), std::strerror(reason)));
}

// Of several takers only one can rename the stale file; one that finds that it renamed somebody's new guard puts it
// back.
void RunGuard::take_over(const std::string& stale) {
  const std::filesystem::path aside = file_.parent_path() / (".guard.tmp-stale-" + me_.attempt);
  if (rename(file_.c_str(), aside.c_str()) != 0) {
    if (errno == ENOENT) return;
    throw SystemError(fmt::format("{}: cannot be taken over: {}", file_.string(), std::strerror(errno)));
  }
  if (is_text_of(aside, stale)) {
    const GuardHolder holder = GuardHolder::parse(stale).value_or(GuardHolder{});
    me_.epoch = holder.epoch + 1;
    log_warning("{}: taken over from {}, which {}", file_.string(), words_of(holder),
                supersedes(me_, holder) ? "is an earlier run attempt of this job and may no longer write"
                                        : "ended without leaving");
    set_aside_.file = aside;
    return;
  }
  if (link(aside.c_str(), file_.c_str()) != 0) {
    log_warning("{}: cannot be put back: {}", file_.string(), std::strerror(errno));
  }
  unlink(aside.c_str());
}

// In the folder and those in it: checkpoints, captures. The guard that was taken over has a temporary name, too.
void RunGuard::remove_what_others_began() {
  set_aside_.file.clear();
  const std::filesystem::path folder = file_.parent_path();
  remove_temporaries(folder);
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error))
    if (entry.is_directory(error)) remove_temporaries(entry.path());
}

void RunGuard::end_by(std::function<void(const std::string&)> end) {
  const std::lock_guard lock(mutex_);
  end_ = std::move(end);
}

void RunGuard::beat(const std::stop_token& stop) {
  const auto seconds = [](double count) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(count));
  };
  std::unique_lock lock(mutex_);
  Clock::time_point touch = Clock::now(), end = Clock::time_point::max();
  while (!stop.stop_requested()) {
    stopped_.wait_for(lock, stop, seconds(std::min(times_.look_seconds, times_.heartbeat_seconds)),
                      [] { return false; });
    if (Clock::now() >= touch) {
      futimens(descriptor_, nullptr);
      touch = Clock::now() + seconds(times_.heartbeat_seconds);
    }
    const Look seen = look();
    if (lost_ && end == Clock::time_point::max()) {
      log_error("{}", loss(seen));
      end = Clock::now() + seconds(times_.ending_seconds);
    }
    if (Clock::now() < end || !end_ || stop.stop_requested()) continue;
    end_(loss(seen));
    return;
  }
}

RunGuard::Look RunGuard::look() const {
  std::optional<std::string> text;
  try {
    text = read_guard(file_);
  } catch (const SystemError& error) {
    return {.standing = Standing::unreadable, .problem = error.what()};
  }
  if (!text) return {.standing = Standing::gone};
  const std::optional<GuardHolder> holder = GuardHolder::parse(*text);
  if (!holder) return {.standing = Standing::damaged};
  if (holder->attempt == me_.attempt || planted(Fault::stale_guard))
    return {.standing = Standing::mine, .holder = holder};
  lost_ = true;
  return {.standing = Standing::others, .holder = holder};
}

bool RunGuard::still_mine() const { return look().standing == Standing::mine && !lost_; }

// A missing guard may come back (a slow network file system); a guard of another holder does not.
std::string RunGuard::loss(const Look& seen) const {
  std::string why;
  if (seen.standing == Standing::others)
    why = fmt::format(" to {} (epoch {}, this run attempt has epoch {})", words_of(*seen.holder), seen.holder->epoch,
                      me_.epoch);
  else if (seen.standing == Standing::gone)
    why = ": the guard is gone";
  else if (seen.standing == Standing::damaged)
    why = ": the guard is empty or damaged";
  return fmt::format("{}: this run has lost its folder{}; it writes nothing more", file_.string(), why);
}

void RunGuard::ensure_mine() const {
  const Look seen = look();
  if (lost_ || seen.standing == Standing::gone || seen.standing == Standing::damaged) throw FolderLost(loss(seen));
  if (seen.standing == Standing::unreadable)
    throw SystemError(
        fmt::format("{}: so it is not known whether this run still holds its folder, and nothing gets a name there now",
                    seen.problem));
}

}  // namespace penstock

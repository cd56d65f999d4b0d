// SPDX-License-Identifier: Apache-2.0
#include "comm/world.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <thread>

#include "base/clock.hpp"
#include "base/process.hpp"

namespace penstock {

namespace {

// The variables in which a launcher passes the number of tasks, and the number of this one.
struct LauncherVariables {
  const char* size;
  const char* rank;
};
constexpr LauncherVariables pmi{"PMI_SIZE", "PMI_RANK"}, open_mpi{"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"},
    slurm{"SLURM_STEP_NUM_TASKS", "SLURM_PROCID"};

int number_in(const char* variable) {
  const char* value = std::getenv(variable);
  return value ? std::atoi(value) : 0;
}

// The launcher's number of tasks, if this MPI should know it. Slurm's is that of the step: mpiexec starts its proxies
// as a step, and then PMI_SIZE counts. PMIX_RANK says nothing about this MPI.
std::optional<LauncherVariables> launcher_of_several() {
  if (number_in(pmi.size) > 1) return pmi;
  if (number_in(open_mpi.size) > 1) return open_mpi;
  if (number_in(slurm.size) > 1 && !std::getenv(pmi.size)) return slurm;
  return std::nullopt;
}

// The launcher of another MPI, like `srun --mpi=none`, starts every task as a world of one: each would say that its
// mesh needs more ranks, or, with mesh.auto, all would train the same run at the same time and "succeed". The first
// task reports and fails for all.
void refuse_world_of_one() {
  const std::optional<LauncherVariables> launcher = launcher_of_several();
  if (!launcher) return;
  MPI_Finalize();
  if (!is_first_task()) _exit(0);
  throw_input_error(
      "{} tasks were started ({}) that do not know of each other: started by the launcher of another MPI, each would "
      "train alone; start them with the mpiexec of MPICH (`mpiexec --version` says HYDRA), or with `srun --mpi=pmi2`",
      std::getenv(launcher->size), launcher->size);
}

// The namespace in which a process number is valid; empty if unknown.
std::string process_space() {
  const std::string boot = boot_id(), pids = pid_namespace();
  return boot.empty() || pids.empty() ? "" : boot + " " + pids;
}

// In MPI_Finalize MPICH 4.0.2 asks every peer to acknowledge the end of its connection. It answers the requests of
// others only until its own are answered, and then waits in the launcher's barrier, where it answers nobody. UCX's TCP
// delivers in order, so a rank whose request comes before its answer gets its acknowledgement. But a rank that answers
// while it is still in a call before MPI_Finalize, such as a barrier that the other has left, asks too late, and waits
// forever (1 of 5 runs of 4 hosts with links of 10 Mbit/s). So between the last barrier and MPI_Finalize all ranks stay
// silent until all have left that barrier.
void fall_silent() {
  MPI_Request request = MPI_REQUEST_NULL;
  int done = 0;
  if (MPI_Ibarrier(MPI_COMM_WORLD, &request) != MPI_SUCCESS) return;
  while (!done && MPI_Test(&request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS) sched_yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
}

}  // namespace

bool is_first_task() {
  for (const LauncherVariables& launcher : {pmi, open_mpi, slurm})
    if (std::getenv(launcher.rank)) return number_in(launcher.rank) == 0;
  return true;
}

void check_mpi(int code, std::source_location where) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw SystemError(fmt::format("{}:{}: MPI: {}", where.file_name(), where.line(),
                                std::string_view(text, static_cast<std::size_t>(length))));
}

Failure failure_of(const std::exception& error) {
  if (const auto* collective = dynamic_cast<const CollectiveFailure*>(&error))
    return {collective->exit_code(), collective->what()};
  if (const auto* file = dynamic_cast<const std::filesystem::filesystem_error*>(&error)) {
    const std::string path = file->path1().empty() ? "the working folder" : file->path1().string();
    return {1, fmt::format("{}: {}", path, file->code().message())};
  }
  return {dynamic_cast<const InputError*>(&error) ? 2 : 1, error.what()};
}

std::string World::host() {
  char name[256] = "?";
  gethostname(name, sizeof(name) - 1);
  return name;
}

World::World() {
  int provided = 0;
  check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided));
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank_));
  check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size_));
  if (size_ == 1) refuse_world_of_one();
  if (provided != MPI_THREAD_MULTIPLE)
    throw SystemError("this MPI library does not grant MPI_THREAD_MULTIPLE; use an MPICH that was built with threads");
  watchdog_ = std::make_unique<Watchdog>(rank_, size_, [] { MPI_Abort(MPI_COMM_WORLD, 1); });
  find_nodes();
  find_neighbours();
  if (size_ > 1) heartbeat_ = std::make_unique<Heartbeat>(*watchdog_, rank_, size_);
}

void World::find_nodes() {
  // Ranks that share memory form a node; a node is identified by its lowest rank.
  MPI_Comm shared = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &shared));
  int lowest = rank_;
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibcast(&lowest, 1, MPI_INT, 0, shared, &request));
  wait(request, "the lowest rank of this node");
  check_mpi(MPI_Comm_free(&shared));
  std::vector<int> lowest_of(static_cast<std::size_t>(size_));
  check_mpi(MPI_Iallgather(&lowest, 1, MPI_INT, lowest_of.data(), 1, MPI_INT, MPI_COMM_WORLD, &request));
  wait(request, "the nodes of all ranks");
  std::map<int, int> number;
  for (const int l : lowest_of) number.emplace(l, 0);
  nodes_ = 0;
  for (auto& [l, n] : number) n = nodes_++;
  for (const int l : lowest_of) node_of_.push_back(number[l]);
}

void World::find_neighbours() {
  const std::vector<std::string> hosts = gather(host());
  const std::vector<std::string> spaces = gather(process_space());
  const std::vector<std::string> processes = gather(std::to_string(getpid()));
  const std::string& space = spaces[static_cast<std::size_t>(rank_)];
  std::vector<std::string> names;
  for (int r = 0; r < size_; ++r) {
    const auto i = static_cast<std::size_t>(r);
    names.push_back(fmt::format("rank {} on {}, process {}", r, hosts[i], processes[i]));
    const int process = std::stoi(processes[i]);
    if (r != rank_ && node_of(r) == node() && hosts[i] == host() && !space.empty() && spaces[i] == space &&
        may_run(process))
      neighbours_.push_back({r, process});
  }
  watchdog_->set_names(std::move(names));
}

std::string World::lost_ranks() const {
  std::string lost;
  for (const Neighbour& neighbour : neighbours_)
    if (!may_run(neighbour.process))
      lost += fmt::format("{}rank {} (process {})", lost.empty() ? "" : ", ", neighbour.rank, neighbour.process);
  return lost;
}

World::~World() {
  watchdog_->set_place({});
  heartbeat_.reset();
  Watchdog::Wait wait(*watchdog_);
  wait.tell(Awaited("all ranks to leave MPI"));
  if (nodes_ > 1) fall_silent();
  const int code = MPI_Finalize();
  if (code != MPI_SUCCESS) std::fprintf(stderr, "MPI_Finalize failed on rank %d with code %d\n", rank_, code);
}

void World::set_deadline(double seconds) {
  watchdog_->set_deadline(seconds);
  if (heartbeat_) heartbeat_->renew();
}

int World::rank_on_node() const {
  return static_cast<int>(std::count(node_of_.begin(), node_of_.begin() + rank_, node()));
}

// Spinning without yielding starves the ranks that share the core; yielding forever starves those that are inside a
// library that spins (HDF5 over MPI-IO). So: test and yield for about a millisecond, then sleep, each time a little
// longer.
template <typename Done>
void World::wait_loop(Done&& done, const WaitText& what, const std::function<std::uint64_t()>& progress) {
  constexpr int yields = 1000;
  constexpr int shortest_sleep = 50, longest_sleep = 300;  // microseconds
  constexpr int rounds_before_words = yields + 200;        // most waits end before they need words: 50 ms or more
  constexpr int rounds_between_looks = 2000;               // at neighbours: half a second or more
  if (done()) return watchdog_->moved();
  Watchdog::Wait wait(*watchdog_);
  std::uint64_t reached = 0;
  int sleep = shortest_sleep;
  for (int round = 1; !done(); ++round) {
    if (round < yields) {
      sched_yield();
      continue;
    }
    const bool looks = round % rounds_between_looks == 0;
    if (round == rounds_before_words || looks) wait.tell(what());
    const std::uint64_t reaches = progress ? progress() : 0;
    if (reaches != reached) wait.renew();
    reached = reaches;
    std::this_thread::sleep_for(std::chrono::microseconds(sleep));
    sleep = std::min(sleep + 10, longest_sleep);
    if (!looks) continue;
    const std::string lost = lost_ranks();
    if (!lost.empty() && !done()) abort(fmt::format("{} has ended while this rank waited for {}", lost, what().text()));
  }
}

void World::wait(std::span<MPI_Request> requests, const WaitText& what) {
  const Clock::time_point start = Clock::now();
  const auto count = static_cast<int>(requests.size());
  wait_loop(
      [&] {
        int done = 0;
        check_mpi(MPI_Testall(count, requests.data(), &done, MPI_STATUSES_IGNORE));
        return done != 0;
      },
      what, {});
  if (std::this_thread::get_id() == owner_) waited_seconds_ += seconds_since(start);
}

void World::wait_until(const std::function<bool()>& done, std::string_view what,
                       const std::function<std::uint64_t()>& progress) {
  wait_loop(
      done, [what] { return Awaited(what); }, progress);
}

std::vector<std::byte> World::broadcast(std::vector<std::byte> bytes, int root, MPI_Comm among) {
  auto size = static_cast<std::uint64_t>(bytes.size());
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibcast(&size, 1, MPI_UINT64_T, root, among, &request));
  wait(request, "a broadcast's size");
  ensure(size < (std::uint64_t{1} << 31), "broadcast: a control message of 2 GiB or more");
  bytes.resize(size);
  check_mpi(MPI_Ibcast(bytes.data(), static_cast<int>(size), MPI_BYTE, root, among, &request));
  wait(request, "a broadcast");
  return bytes;
}

std::string World::broadcast(const std::string& text, int root, MPI_Comm among) {
  const auto* first = reinterpret_cast<const std::byte*>(text.data());
  const std::vector<std::byte> bytes = broadcast(std::vector<std::byte>(first, first + text.size()), root, among);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<std::string> World::gather(const std::string& text, MPI_Comm among) {
  const auto ranks = static_cast<std::size_t>(size_);
  const auto mine = static_cast<int>(text.size());
  std::vector<int> sizes(ranks), offsets(ranks, 0);
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Iallgather(&mine, 1, MPI_INT, sizes.data(), 1, MPI_INT, among, &request));
  wait(request, "all ranks' text sizes");
  for (std::size_t r = 1; r < ranks; ++r) offsets[r] = offsets[r - 1] + sizes[r - 1];
  std::string all(static_cast<std::size_t>(offsets.back() + sizes.back()), '\0');
  check_mpi(MPI_Iallgatherv(text.data(), mine, MPI_CHAR, all.data(), sizes.data(), offsets.data(), MPI_CHAR, among,
                            &request));
  wait(request, "all ranks' texts");
  std::vector<std::string> texts;
  for (std::size_t r = 0; r < ranks; ++r)
    texts.push_back(all.substr(static_cast<std::size_t>(offsets[r]), static_cast<std::size_t>(sizes[r])));
  return texts;
}

std::int64_t World::largest(std::int64_t value, MPI_Comm among) {
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Iallreduce(MPI_IN_PLACE, &value, 1, MPI_INT64_T, MPI_MAX, among, &request));
  wait(request, "the largest of all ranks' values");
  return value;
}

void World::barrier() {
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibarrier(MPI_COMM_WORLD, &request));
  wait(request, "a barrier");
}

void World::agree(const std::optional<Failure>& mine) {
  if (largest(mine ? 1 : 0) == 0) return;
  const std::vector<std::string> messages = gather(mine ? fmt::format("{} {}", mine->exit_code, mine->message) : "");
  for (const std::string& message : messages) {
    if (message.empty()) continue;
    const std::size_t space = message.find(' ');
    throw CollectiveFailure({std::stoi(message.substr(0, space)), message.substr(space + 1)});
  }
}

void World::together(const std::function<void()>& action) {
  std::optional<Failure> failure;
  try {
    action();
  } catch (const CollectiveFailure&) {
    throw;  // all ranks have agreed on it
  } catch (const std::exception& error) {
    failure = failure_of(error);
  } catch (...) {
    failure = Failure{1, "an exception of an unknown type"};
  }
  agree(failure);
}

void World::abort(std::string_view message) {
  std::string report(message);
  const std::string lost = lost_ranks();
  if (!lost.empty() && report.find(lost) == std::string::npos) report += fmt::format("\nhas ended before: {}", lost);
  watchdog_->end_job(report);
}

}  // namespace penstock

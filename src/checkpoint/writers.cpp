// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/writers.hpp"

#include <algorithm>
#include <numeric>
#include <set>

#include "checkpoint/hdf5.hpp"

namespace penstock {

namespace {

// Writers of one file stay in step for each array, inside MPI: below this size a single writer is faster.
constexpr std::uint64_t bytes_of_a_writer = std::uint64_t{1} << 30;

std::vector<int> first_of_each_node(const std::vector<int>& node_of_rank) {
  std::vector<int> first;
  std::set<int> seen;
  for (std::size_t r = 0; r < node_of_rank.size(); ++r)
    if (seen.insert(node_of_rank[r]).second) first.push_back(static_cast<int>(r));
  return first;
}

std::vector<int> spread(const std::vector<int>& ranks, std::size_t count) {
  std::vector<int> chosen;
  for (std::size_t w = 0; w < count; ++w) chosen.push_back(ranks[w * ranks.size() / count]);
  return chosen;
}

}  // namespace

bool several_can_write() {
#ifdef H5_HAVE_PARALLEL
  return true;
#else
  return false;
#endif
}

std::vector<int> choose_writers(const std::vector<int>& node_of_rank, const WriterOptions& options) {
  const auto ranks = static_cast<int>(node_of_rank.size());
  if (options.count < 0 || options.count > ranks)
    throw_input_error("checkpoint.writers = {}: there are {} ranks; use 1 to {}, or 0 to let Penstock choose",
                      options.count, ranks, ranks);
  if (options.count > 1 && !several_can_write())
    throw_input_error(
        "checkpoint.writers = {}: this program was built with an HDF5 without MPI support, and one rank writes; use 1, "
        "or build with parallel HDF5 (Debian: libhdf5-mpich-dev)",
        options.count);
  if (options.count == 0 && !several_can_write()) return {0};
  if (options.count == 0) {
    const std::vector<int> nodes = first_of_each_node(node_of_rank);
    const std::uint64_t busy = std::max<std::uint64_t>(1, options.bytes / bytes_of_a_writer);
    return spread(nodes, static_cast<std::size_t>(std::min<std::uint64_t>(busy, nodes.size())));
  }

  std::vector<int> by_node(node_of_rank.size());
  std::iota(by_node.begin(), by_node.end(), 0);
  std::stable_sort(by_node.begin(), by_node.end(), [&](int a, int b) {
    return node_of_rank[static_cast<std::size_t>(a)] < node_of_rank[static_cast<std::size_t>(b)];
  });
  return spread(by_node, static_cast<std::size_t>(options.count));
}

// Data sieving reads, changes and writes back under an fcntl lock, and ROMIO ends the process if the file system has
// none (ENOLCK: Lustre without flock, NFS without a lock daemon). Our writers write whole chunks, so nothing needs
// sieving.
std::vector<std::pair<std::string, std::string>> mpi_io_hints(const WriterOptions& options) {
  std::vector<std::pair<std::string, std::string>> hints = options.hints;
  const std::string sieving = "romio_ds_write";
  if (std::none_of(hints.begin(), hints.end(), [&](const auto& hint) { return hint.first == sieving; }))
    hints.emplace_back(sieving, "disable");
  return hints;
}

Writers::Writers(World& world, IoThread& io, const WriterOptions& options)
    : io_(io), stripes_(Stripes::from(options.hints)) {
  std::vector<int> nodes;
  for (int r = 0; r < world.size(); ++r) nodes.push_back(world.node_of(r));
  ranks_ = choose_writers(nodes, options);
  const auto mine = std::find(ranks_.begin(), ranks_.end(), world.rank());
  if (mine != ranks_.end()) index_ = static_cast<int>(mine - ranks_.begin());

  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Comm_idup(world.handle(), &messages_, &request));
  world.wait(request, "a communicator for checkpoints");
  if (count() > 1) check_mpi(MPI_Comm_split(world.handle(), writes() ? 0 : MPI_UNDEFINED, index_, &among_writers_));
  if (count() == 1) return;
  check_mpi(MPI_Info_create(&hints_));
  for (const auto& [key, value] : mpi_io_hints(options)) check_mpi(MPI_Info_set(hints_, key.c_str(), value.c_str()));
}

Writers::~Writers() {
  if (hints_ != MPI_INFO_NULL) MPI_Info_free(&hints_);
  if (among_writers_ != MPI_COMM_NULL) MPI_Comm_free(&among_writers_);
  if (messages_ != MPI_COMM_NULL) MPI_Comm_free(&messages_);
}

}  // namespace penstock

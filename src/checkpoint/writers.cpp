#include "checkpoint/writers.hpp"

#include <algorithm>
#include <numeric>
#include <set>

namespace penstock {

std::vector<int> choose_writers(const std::vector<int>& node_of_rank, int count) {
  const auto ranks = static_cast<int>(node_of_rank.size());
  if (count < 0 || count > ranks)
    throw_input_error("checkpoint.writers = {}: there are {} ranks; use 1 to {}, or 0 for one a node", count, ranks,
                      ranks);
  std::vector<int> writers;
  if (count == 0) {
    std::set<int> seen;
    for (int r = 0; r < ranks; ++r)
      if (seen.insert(node_of_rank[static_cast<std::size_t>(r)]).second) writers.push_back(r);
    return writers;
  }

  std::vector<int> by_node(node_of_rank.size());
  std::iota(by_node.begin(), by_node.end(), 0);
  std::stable_sort(by_node.begin(), by_node.end(), [&](int a, int b) {
    return node_of_rank[static_cast<std::size_t>(a)] < node_of_rank[static_cast<std::size_t>(b)];
  });
  for (std::int64_t w = 0; w < count; ++w) writers.push_back(by_node[static_cast<std::size_t>(w * ranks / count)]);
  return writers;
}

Writers::Writers(World& world, IoThread& io, const WriterOptions& options) : io_(io) {
  std::vector<int> nodes;
  for (int r = 0; r < world.size(); ++r) nodes.push_back(world.node_of(r));
  ranks_ = choose_writers(nodes, options.count);
  const auto mine = std::find(ranks_.begin(), ranks_.end(), world.rank());
  if (mine != ranks_.end()) index_ = static_cast<int>(mine - ranks_.begin());

  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Comm_idup(world.handle(), &messages_, &request));
  world.wait(request, "a communicator for checkpoints");
  if (count() > 1) check_mpi(MPI_Comm_split(world.handle(), writes() ? 0 : MPI_UNDEFINED, index_, &together_));
  if (options.hints.empty()) return;
  check_mpi(MPI_Info_create(&hints_));
  for (const auto& [key, value] : options.hints) check_mpi(MPI_Info_set(hints_, key.c_str(), value.c_str()));
}

Writers::~Writers() {
  if (hints_ != MPI_INFO_NULL) MPI_Info_free(&hints_);
  if (together_ != MPI_COMM_NULL) MPI_Comm_free(&together_);
  if (messages_ != MPI_COMM_NULL) MPI_Comm_free(&messages_);
}

}  // namespace penstock

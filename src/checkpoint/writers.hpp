// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which ranks write files, and the communicators for that.

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/io_thread.hpp"
#include "comm/world.hpp"
#include "storage/stripes.hpp"

namespace penstock {

struct WriterOptions {
  int count = 0;  ///< ranks that write; 0: as many as `bytes` keep busy, at most one on each node
  std::uint64_t bytes = std::numeric_limits<std::uint64_t>::max();  ///< of the largest file
  /// Hints for MPI-IO if several ranks write one file: ("cb_nodes", "4"), ...; they override our own (`mpi_io_hints`).
  /// Stripes are used in any case: ("striping_factor", "16"), ("striping_unit", "4194304").
  std::vector<std::pair<std::string, std::string>> hints = {};
};

/// Whether several ranks can write one file, which needs an HDF5 built for MPI.
bool several_can_write();

/// The ranks that write, given the node of each rank: evenly spread over the ranks in the order of their nodes, or over
/// the nodes if `count` is 0. Then each has a GiB to write, or one writes everything if several cannot. The first is
/// rank 0. Throws InputError if `count` is below 0, above the number of ranks, or above 1 where only one can write.
std::vector<int> choose_writers(const std::vector<int>& node_of_rank, const WriterOptions& options);

/// The hints with which several writers open a file: the deck's, and ours where the deck has none.
std::vector<std::pair<std::string, std::string>> mpi_io_hints(const WriterOptions& options);

/// The writers of the job. HDF5 and MPI-IO block inside MPI, where World::wait cannot help, so few ranks write and all
/// send to them. One writer uses HDF5's serial driver; several write one file collectively. Construction is collective;
/// the World must outlive it.
class Writers {
 public:
  Writers(World& world, IoThread& io, const WriterOptions& options);
  ~Writers();
  Writers(const Writers&) = delete;
  Writers& operator=(const Writers&) = delete;

  int count() const { return static_cast<int>(ranks_.size()); }
  int rank_of(int writer) const { return ranks_[static_cast<std::size_t>(writer)]; }
  /// This rank's number among the writers, or -1.
  int index() const { return index_; }
  bool writes() const { return index_ >= 0; }
  /// Creates, finishes and renames files: rank 0.
  bool leads() const { return index_ == 0; }

  IoThread& io() { return io_; }
  /// Of all ranks: for the pieces in flight, and for agreements of the ranks of a save. For one save at a time.
  MPI_Comm messages() const { return messages_; }
  /// Of the writers alone; MPI_COMM_NULL elsewhere.
  MPI_Comm among_writers() const { return among_writers_; }
  MPI_Info hints() const { return hints_; }
  const Stripes& stripes() const { return stripes_; }

 private:
  IoThread& io_;
  std::vector<int> ranks_;
  int index_ = -1;
  MPI_Comm messages_ = MPI_COMM_NULL;
  MPI_Comm among_writers_ = MPI_COMM_NULL;
  MPI_Info hints_ = MPI_INFO_NULL;
  Stripes stripes_;
};

}  // namespace penstock

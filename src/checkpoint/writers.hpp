// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which ranks write files, and the communicators that takes.

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
  int count = 0;  ///< ranks that write; 0: as many as `bytes` keep busy, at most one a node
  std::uint64_t bytes = std::numeric_limits<std::uint64_t>::max();  ///< of the largest file
  /// Hints for MPI-IO where several write one file: ("cb_nodes", "4"), ...; they go before our own (`mpi_io_hints`).
  /// Stripes are heeded in any case: ("striping_factor", "16"), ("striping_unit", "4194304").
  std::vector<std::pair<std::string, std::string>> hints = {};
};

/// Whether several ranks can write one file: with an HDF5 that was built for MPI.
bool several_can_write();

/// The ranks that write, given the node of each rank: evenly spread over the ranks in the order of their nodes, or over
/// the nodes where `count` is 0: then each has a GiB to write, or one writes all where several cannot. The first is
/// rank 0. Throws InputError when `count` is below 0, above the number of ranks, or more than can write.
std::vector<int> choose_writers(const std::vector<int>& node_of_rank, const WriterOptions& options);

/// The hints that several writers open a file with: the deck's, and ours where it says nothing.
std::vector<std::pair<std::string, std::string>> mpi_io_hints(const WriterOptions& options);

/// The writers of the job. HDF5 and MPI-IO wait inside MPI, where the one wait cannot reach, so few ranks write and all
/// send to them. One writer uses HDF5's serial driver; several write one file collectively among themselves.
/// Constructing is collective; dies before the World.
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
  /// Of the pieces on their way, and of what the ranks of a save agree on; all ranks. For one save at a time.
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

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Parcel: what goes from one rank to one writer in a round of a save, as one message.

#include <mpi.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "checkpoint/array_file.hpp"
#include "checkpoint/array_plan.hpp"

namespace penstock {

/// Its pieces may lie anywhere: MPI gathers them on one side and puts them in their places on the other. One message
/// for each piece would be hundreds of messages for a file of a few MiB. Move-only.
class Parcel {
 public:
  Parcel() = default;
  ~Parcel();
  Parcel(Parcel&&) = default;
  Parcel& operator=(Parcel&&) = default;

  void add_dense(const std::byte* first, DType type, std::int64_t elements);
  /// A part of the rows that begin at `rows_begin`.
  void add_in_rows(const std::byte* rows_begin, const ArraySpec& array, const Rows& rows, const Box& part);
  bool empty() const { return counts_.empty(); }

  /// To be sent from, or received at, MPI_BOTTOM. Valid as long as the parcel exists; messages under way no longer need
  /// it.
  MPI_Datatype type();

 private:
  void add(const std::byte* first, MPI_Datatype type, int count);

  std::vector<int> counts_;
  std::vector<MPI_Aint> places_;
  std::vector<MPI_Datatype> types_, made_;
};

/// A rank, and its number among the writers; -1: it is none.
struct RankOfSave {
  int rank = 0;
  int writer = -1;
};

/// The rows that writer `writer` writes in a step, if they already lie densely in its own memory: they are written from
/// there and do not travel. Otherwise nullptr.
const std::byte* rows_in_own_memory(const ArrayFile& file, const WriteStep& step, int rank, int writer);

/// What this rank sends in a round, by writer; empty where it sends nothing.
std::vector<Parcel> parcels_to_send(const ArrayFile& file, const Round& round, RankOfSave me, int writers);
/// What this writer receives in a round, by rank, into `buffer`.
std::vector<Parcel> parcels_to_receive(const ArrayFile& file, const Round& round, RankOfSave me, int ranks,
                                       const std::byte* buffer);

}  // namespace penstock

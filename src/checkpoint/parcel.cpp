// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/parcel.hpp"

#include <array>

namespace penstock {

namespace {

MPI_Datatype message_type(DType type) { return type == DType::float32 ? MPI_FLOAT : MPI_INT32_T; }

// Where a part lies among the rows that a writer takes.
MPI_Datatype type_in_rows(const ArraySpec& array, const Rows& rows, const Box& part) {
  std::array<int, Shape::most_dimensions> whole{}, extent{}, begin{};
  for (int d = 0; d < array.shape.dimensions(); ++d) {
    const auto i = static_cast<std::size_t>(d);
    whole[i] = static_cast<int>(d == 0 ? rows.end - rows.begin : array.shape[d]);
    extent[i] = static_cast<int>(part.extent[d]);
    begin[i] = static_cast<int>(part.offset[i] - (d == 0 ? rows.begin : 0));
  }
  MPI_Datatype type = MPI_DATATYPE_NULL;
  check_mpi(MPI_Type_create_subarray(array.shape.dimensions(), whole.data(), extent.data(), begin.data(), MPI_ORDER_C,
                                     message_type(array.type), &type));
  return type;
}

const Rows& rows_of(const WriteStep& step, int writer) { return step.of_writer[static_cast<std::size_t>(writer)]; }

std::int64_t elements_of_row(const ArraySpec& array) { return array.shape.elements() / array.shape[0]; }

void add_part(const ArrayFile& file, const WriteStep& step, std::size_t piece, int writer, Parcel& parcel) {
  const ArraySpec& array = file.arrays[step.array];
  const Box part = part_in_rows(array.pieces[piece].box, rows_of(step, writer));
  if (part.elements() == 0) return;
  const std::byte* first = file.local_data(step.array, piece);
  parcel.add_dense(first + static_cast<std::size_t>(part.local_begin) * bytes_of(array.type), array.type,
                   part.elements());
}

void expect(const ArraySpec& array, const Rows& rows, const std::byte* buffer, std::vector<Parcel>& from) {
  for (const Piece& piece : array.pieces) {
    const Box part = part_in_rows(piece.box, rows);
    Parcel& parcel = from[static_cast<std::size_t>(piece.rank)];
    if (part.elements() == 0) continue;
    if (part.elements() == part.extent[0] * elements_of_row(array)) {
      const std::int64_t before = (part.offset[0] - rows.begin) * elements_of_row(array);
      parcel.add_dense(buffer + rows.offset + static_cast<std::size_t>(before) * bytes_of(array.type), array.type,
                       part.elements());
    } else {
      parcel.add_in_rows(buffer + rows.offset, array, rows, part);
    }
  }
}

}  // namespace

Parcel::~Parcel() {
  for (MPI_Datatype& type : made_) MPI_Type_free(&type);  // MPI keeps what is under way
}

void Parcel::add_dense(const std::byte* first, DType type, std::int64_t elements) {
  add(first, message_type(type), static_cast<int>(elements));
}

void Parcel::add_in_rows(const std::byte* rows_begin, const ArraySpec& array, const Rows& rows, const Box& part) {
  add(rows_begin, made_.emplace_back(type_in_rows(array, rows, part)), 1);
}

MPI_Datatype Parcel::type() {
  MPI_Datatype& whole = made_.emplace_back(MPI_DATATYPE_NULL);
  check_mpi(
      MPI_Type_create_struct(static_cast<int>(counts_.size()), counts_.data(), places_.data(), types_.data(), &whole));
  check_mpi(MPI_Type_commit(&whole));
  return whole;
}

void Parcel::add(const std::byte* first, MPI_Datatype type, int count) {
  check_mpi(MPI_Get_address(first, &places_.emplace_back()));
  types_.push_back(type);
  counts_.push_back(count);
}

const std::byte* rows_in_own_memory(const ArrayFile& file, const WriteStep& step, int rank, int writer) {
  const ArraySpec& array = file.arrays[step.array];
  const Rows& rows = rows_of(step, writer);
  for (std::size_t p = 0; p < array.pieces.size(); ++p) {
    if (array.pieces[p].rank != rank) continue;
    const Box part = part_in_rows(array.pieces[p].box, rows);
    if (part.elements() == (rows.end - rows.begin) * elements_of_row(array))
      return file.local_data(step.array, p) + static_cast<std::size_t>(part.local_begin) * bytes_of(array.type);
  }
  return nullptr;
}

std::vector<Parcel> parcels_to_send(const ArrayFile& file, const Round& round, RankOfSave me, int writers) {
  std::vector<Parcel> to(static_cast<std::size_t>(writers));
  for (const WriteStep& step : round.steps) {
    const ArraySpec& array = file.arrays[step.array];
    const bool writes_own = me.writer >= 0 && rows_in_own_memory(file, step, me.rank, me.writer);
    for (std::size_t p = 0; p < array.pieces.size(); ++p) {
      if (array.pieces[p].rank != me.rank) continue;
      for (int writer = 0; writer < writers; ++writer)
        if (!(writes_own && writer == me.writer)) add_part(file, step, p, writer, to[static_cast<std::size_t>(writer)]);
    }
  }
  return to;
}

std::vector<Parcel> parcels_to_receive(const ArrayFile& file, const Round& round, RankOfSave me, int ranks,
                                       const std::byte* buffer) {
  std::vector<Parcel> from(static_cast<std::size_t>(ranks));
  for (const WriteStep& step : round.steps) {
    const Rows& rows = rows_of(step, me.writer);
    if (!rows.empty() && !rows_in_own_memory(file, step, me.rank, me.writer))
      expect(file.arrays[step.array], rows, buffer, from);
  }
  return from;
}

}  // namespace penstock

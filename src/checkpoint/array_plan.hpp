// SPDX-License-Identifier: Apache-2.0
#pragma once
// What an array file holds, who brings which piece of it, and in which order the pieces travel to the writers. All of
// it is a value that every rank computes alike.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "parameter/box.hpp"
#include "tensor/dtype.hpp"
#include "tensor/shape.hpp"

namespace penstock {

/// A part of an array that one rank brings. The rank's memory of it is dense and row-major.
struct Piece {
  int rank = 0;
  Box box;
};

/// One array of a file.
struct ArraySpec {
  std::string path;             ///< "/parameters/embedding.token.weight": groups, then one link name
  Shape shape;                  ///< global; at least one dimension, no empty one
  DType type = DType::float32;  ///< float32 or int32
  std::vector<std::string>
      dimension_names;        ///< empty, or one a dimension; the attribute `dimensions` joins them with ","
  std::vector<Piece> pieces;  ///< cover every element exactly once
};

/// How an array is stored: whole inner dimensions and as many rows of the next as make at most 1 MiB, or somewhat
/// fewer, of at least 64 KiB, where the last chunk would be much emptier than the others: it takes as many bytes.
Shape chunk_shape(const Shape& shape, DType type);

/// Bytes the array takes in a file: whole chunks with their checksums.
std::uint64_t stored_bytes(const ArraySpec& array);

/// Indices [begin, end) of an array's first dimension, and where they stand in a writer's buffer.
struct Rows {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::size_t offset = 0;  ///< bytes
  bool empty() const { return begin == end; }
};

/// One write of one array, in which every writer takes part, be it with no rows. Rows are whole chunks, so that no
/// chunk is written twice, or by two writers.
struct WriteStep {
  std::size_t array = 0;
  std::vector<Rows> of_writer;
};

/// Steps that travel together.
struct Round {
  std::vector<WriteStep> steps;
  std::vector<std::size_t> bytes;  ///< of each writer's buffer
  std::uint64_t all_bytes = 0;
};

/// Cuts all arrays, in their order, into rounds of at most about `round_bytes` a writer (at least one chunk's rows).
std::vector<Round> plan_rounds(const std::vector<ArraySpec>& arrays, int writers, std::size_t round_bytes);

/// The part of `box` within the rows; extent [0] is 0 where they do not meet. Dense in the box's memory: it begins
/// `local_begin` (of the result) elements after the box's first element.
Box part_in_rows(const Box& box, const Rows& rows);

}  // namespace penstock

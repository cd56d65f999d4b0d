// SPDX-License-Identifier: Apache-2.0
#pragma once
// The contents of an array file, which rank has which piece of it, and in which order the pieces travel to the writers.
// A value that every rank computes identically.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "parameter/box.hpp"
#include "tensor/dtype.hpp"
#include "tensor/shape.hpp"

namespace penstock {

/// A part of an array from one rank, dense and row-major in that rank's memory.
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
      dimension_names;        ///< empty, or one for each dimension; the attribute `dimensions` joins them with ","
  std::vector<Piece> pieces;  ///< cover every element exactly once
};

/// How an array is stored: whole inner dimensions and as many rows of the next as make at most 1 MiB, or somewhat
/// fewer, of at least 64 KiB, where the last chunk would be much emptier than the others: it takes as many bytes.
Shape chunk_shape(const Shape& shape, DType type);

/// Bytes of the array in a file: whole chunks with their checksums.
std::uint64_t stored_bytes(const ArraySpec& array);

/// Indices [begin, end) of an array's first dimension, and their place in a writer's buffer.
struct Rows {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::size_t offset = 0;  ///< bytes
  bool empty() const { return begin == end; }
};

/// One write of one array, in which every writer takes part, possibly without rows. Rows form whole chunks, so that no
/// chunk is written twice or by two writers.
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

/// Cuts all arrays, in order, into rounds of at most about `round_bytes` for each writer (at least one chunk's rows).
std::vector<Round> plan_rounds(const std::vector<ArraySpec>& arrays, int writers, std::size_t round_bytes);

/// The part of `box` within the rows; extent [0] is 0 if they do not meet. Dense in the box's memory: it begins
/// `local_begin` (of the result) elements after the box's first element.
Box part_in_rows(const Box& box, const Rows& rows);

}  // namespace penstock

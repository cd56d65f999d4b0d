// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/array_plan.hpp"

#include <algorithm>
#include <array>

#include "base/error.hpp"

namespace penstock {

namespace {

constexpr std::int64_t most_chunk_bytes = std::int64_t{1} << 20, least_chunk_bytes = std::int64_t{64} << 10;
constexpr std::uint64_t checksum_bytes = 4;

Shape with_extent(const Shape& shape, int dimension, std::int64_t extent) {
  std::array<std::int64_t, Shape::most_dimensions> e{};
  for (int d = 0; d < shape.dimensions(); ++d) e[static_cast<std::size_t>(d)] = d == dimension ? extent : shape[d];
  switch (shape.dimensions()) {
    case 1:
      return {e[0]};
    case 2:
      return {e[0], e[1]};
    case 3:
      return {e[0], e[1], e[2]};
    case 4:
      return {e[0], e[1], e[2], e[3]};
    default:
      return {e[0], e[1], e[2], e[3], e[4]};
  }
}

// HDF5 stores the last chunk as large as the others: the most indices that fit and leave at most a hundredth of it all
// empty; where chunks would be too small before, those that leave least.
std::int64_t extent_of_chunks(std::int64_t extent, std::int64_t bytes_of_one) {
  const std::int64_t most = std::clamp<std::int64_t>(most_chunk_bytes / bytes_of_one, 1, extent);
  const std::int64_t least = std::min(most, (least_chunk_bytes + bytes_of_one - 1) / bytes_of_one);
  std::int64_t best = most, best_empty = extent;
  for (std::int64_t chunks = (extent + most - 1) / most;; ++chunks) {
    const std::int64_t rows = (extent + chunks - 1) / chunks;
    if (rows < least) return best;
    const std::int64_t empty = (extent + rows - 1) / rows * rows - extent;
    if (empty < best_empty) {
      best = rows;
      best_empty = empty;
    }
    if (empty * 100 <= extent || rows == 1) return best;
  }
}

std::int64_t bytes_of_row(const ArraySpec& array) {
  return array.shape.elements() / array.shape[0] * static_cast<std::int64_t>(bytes_of(array.type));
}

// The rows of each writer: contiguous, whole chunks. Arrays of one chunk go to the writers by turns.
std::vector<Rows> share_out(std::size_t index, const ArraySpec& array, int writers) {
  const std::int64_t rows = array.shape[0], chunk_rows = chunk_shape(array.shape, array.type)[0];
  const std::int64_t chunks = (rows + chunk_rows - 1) / chunk_rows;
  std::vector<Rows> regions(static_cast<std::size_t>(writers));
  for (std::int64_t share = 0; share < writers; ++share) {
    const auto writer = (static_cast<std::size_t>(share) + index) % regions.size();
    regions[writer].begin = std::min(rows, chunks * share / writers * chunk_rows);
    regions[writer].end = std::min(rows, chunks * (share + 1) / writers * chunk_rows);
  }
  return regions;
}

class Planner {
 public:
  Planner(int writers, std::size_t round_bytes) : writers_(writers), round_bytes_(round_bytes) {}

  void add(std::size_t index, const ArraySpec& array) {
    const auto row_bytes = static_cast<std::size_t>(bytes_of_row(array));
    const std::int64_t chunk_rows = chunk_shape(array.shape, array.type)[0];
    const auto unit_bytes = static_cast<std::size_t>(chunk_rows) * row_bytes;
    const std::int64_t most_rows =
        static_cast<std::int64_t>(std::max<std::size_t>(1, round_bytes_ / unit_bytes)) * chunk_rows;
    for (std::vector<Rows> left = share_out(index, array, writers_); any(left);) {
      WriteStep step{index, {}};
      for (Rows& rows : left) {
        const std::int64_t end = std::min(rows.end, rows.begin + most_rows);
        step.of_writer.push_back({rows.begin, end, 0});
        rows.begin = end;
      }
      place(std::move(step), row_bytes);
    }
  }

  std::vector<Round> take() { return std::move(rounds_); }

 private:
  static bool any(const std::vector<Rows>& left) {
    return std::any_of(left.begin(), left.end(), [](const Rows& rows) { return !rows.empty(); });
  }

  bool fits(const WriteStep& step, std::size_t row_bytes) const {
    if (rounds_.empty()) return false;
    for (std::size_t w = 0; w < step.of_writer.size(); ++w) {
      const auto more = static_cast<std::size_t>(step.of_writer[w].end - step.of_writer[w].begin) * row_bytes;
      if (rounds_.back().bytes[w] + more > round_bytes_) return false;
    }
    return true;
  }

  void place(WriteStep step, std::size_t row_bytes) {
    if (!fits(step, row_bytes))
      rounds_.push_back({{}, std::vector<std::size_t>(static_cast<std::size_t>(writers_)), 0});
    Round& round = rounds_.back();
    for (std::size_t w = 0; w < step.of_writer.size(); ++w) {
      Rows& rows = step.of_writer[w];
      rows.offset = round.bytes[w];
      const auto bytes = static_cast<std::size_t>(rows.end - rows.begin) * row_bytes;
      round.bytes[w] += bytes;
      round.all_bytes += bytes;
    }
    round.steps.push_back(std::move(step));
  }

  int writers_;
  std::size_t round_bytes_;
  std::vector<Round> rounds_;
};

void ensure_covered(const ArraySpec& array) {
  ensure(array.shape.dimensions() >= 1 && array.shape.elements() > 0, array.path + ": an array has elements");
  ensure(array.dimension_names.empty() ||
             array.dimension_names.size() == static_cast<std::size_t>(array.shape.dimensions()),
         array.path + ": a name for every dimension, or none");
  std::int64_t elements = 0;
  for (const Piece& piece : array.pieces) elements += piece.box.elements();
  ensure(elements == array.shape.elements(),
         fmt::format("{}: the pieces hold {} elements, the array {}", array.path, elements, array.shape.elements()));
}

}  // namespace

Shape chunk_shape(const Shape& shape, DType type) {
  Shape chunk = shape;
  auto bytes = shape.elements() * static_cast<std::int64_t>(bytes_of(type));
  for (int d = 0; d < shape.dimensions() && bytes > most_chunk_bytes; ++d) {
    const std::int64_t inner = bytes / shape[d];
    const std::int64_t extent = extent_of_chunks(shape[d], inner);
    chunk = with_extent(chunk, d, extent);
    bytes = inner * extent;
  }
  return chunk;
}

std::uint64_t stored_bytes(const ArraySpec& array) {
  const Shape chunk = chunk_shape(array.shape, array.type);
  std::uint64_t chunks = 1;
  for (int d = 0; d < array.shape.dimensions(); ++d)
    chunks *= static_cast<std::uint64_t>((array.shape[d] + chunk[d] - 1) / chunk[d]);
  return chunks * (static_cast<std::uint64_t>(chunk.elements()) * bytes_of(array.type) + checksum_bytes);
}

std::vector<Round> plan_rounds(const std::vector<ArraySpec>& arrays, int writers, std::size_t round_bytes) {
  ensure(writers >= 1, "plan_rounds: somebody must write");
  Planner planner(writers, round_bytes);
  for (std::size_t a = 0; a < arrays.size(); ++a) {
    ensure_covered(arrays[a]);
    planner.add(a, arrays[a]);
  }
  return planner.take();
}

Box part_in_rows(const Box& box, const Rows& rows) {
  const std::int64_t begin = std::max(box.offset[0], rows.begin);
  const std::int64_t end = std::max(begin, std::min(box.offset[0] + box.extent[0], rows.end));
  Box part = box;
  part.offset[0] = begin;
  part.extent = with_extent(box.extent, 0, end - begin);
  part.local_begin = (begin - box.offset[0]) * (box.extent.elements() / box.extent[0]);
  return part;
}

}  // namespace penstock

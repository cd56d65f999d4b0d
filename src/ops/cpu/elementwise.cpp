#include "ops/elementwise.hpp"

#include <cstring>

#include "ops/cpu/parallel.hpp"

namespace penstock::ops {
namespace {

constexpr std::int64_t elements_of_a_piece = 16384;
constexpr std::int64_t norm_block = 4096;

double sum_of_squares(const float* from, std::int64_t n) {
  using Doubles [[gnu::vector_size(64)]] = double;
  using HalfFloats [[gnu::vector_size(32)]] = float;
  Doubles sums[2] = {};
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    for (int half = 0; half < 2; ++half) {
      HalfFloats values;
      std::memcpy(&values, from + i + 8 * half, sizeof values);
      const Doubles wide = __builtin_convertvector(values, Doubles);
      sums[half] += wide * wide;
    }
  const Doubles both = sums[0] + sums[1];
  double sum = ((both[0] + both[4]) + (both[2] + both[6])) + ((both[1] + both[5]) + (both[3] + both[7]));
  for (; i < n; ++i) sum += static_cast<double>(from[i]) * static_cast<double>(from[i]);
  return sum;
}

}  // namespace

void cast(Queue& queue, TensorView from, TensorView to) {
  ensure(from.elements() == to.elements(), "cast: another number of elements");
  with_type(from.type(), [&]<typename From>(From) {
    with_type(to.type(), [&]<typename To>(To) {
      for_pieces(queue, from.elements(), elements_of_a_piece, [&](std::int64_t, Piece piece) {
        const From* source = from.data<From>() + piece.begin;
        To* target = to.data<To>() + piece.begin;
        const std::int64_t n = piece.end - piece.begin;
        if constexpr (std::is_same_v<From, To>)
          std::memmove(target, source, static_cast<std::size_t>(n) * sizeof(To));
        else
          for_vectors(n, [&](std::int64_t i, auto part) { store(target + i, load(source + i, part), part); });
      });
    });
  });
}

void zero(Queue& queue, TensorView tensor) {
  constexpr std::int64_t bytes_of_a_piece = 1 << 18;
  auto* first = static_cast<std::byte*>(tensor.raw());
  for_pieces(queue, static_cast<std::int64_t>(tensor.bytes()), bytes_of_a_piece, [&](std::int64_t, Piece piece) {
    std::memset(first + piece.begin, 0, static_cast<std::size_t>(piece.end - piece.begin));
  });
}

void add_squared_norm(Queue& queue, TensorView tensor, double* sum) {
  const std::int64_t blocks = pieces_of(tensor.elements(), norm_block);
  auto* sums = reinterpret_cast<double*>(queue.workspace(squared_norm_workspace(tensor.elements())));
  const float* from = tensor.data<float>();
  constexpr std::int64_t blocks_of_a_piece = 8;
  for_pieces(queue, blocks, blocks_of_a_piece, [&](std::int64_t, Piece piece) {
    for (std::int64_t block = piece.begin; block < piece.end; ++block)
      sums[block] =
          sum_of_squares(from + block * norm_block, std::min(norm_block, tensor.elements() - block * norm_block));
  });
  double total = 0;
  for (std::int64_t block = 0; block < blocks; ++block) total += sums[block];
  *sum += total;
}

std::size_t squared_norm_workspace(std::int64_t elements) {
  return static_cast<std::size_t>(pieces_of(elements, norm_block)) * sizeof(double);
}

}  // namespace penstock::ops

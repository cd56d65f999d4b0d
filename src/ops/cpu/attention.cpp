// SPDX-License-Identifier: Apache-2.0
#include "ops/attention.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/cpu/attention_head.hpp"
#include "ops/cpu/width.hpp"

namespace penstock::ops::PENSTOCK_WIDTH {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

/// Greatest of a row's scores from `begin` up to its reach; -infinity if there is none.
float greatest_score(const float* scores, std::int64_t begin, std::int64_t reach) {
  Floats greatest = splat(-infinity);
  for_vectors(reach, [&](std::int64_t c, auto part) {
    Floats score = fill_behind(load(scores + c, All{}), part, -infinity);
    if (c < begin) score = lane_numbers(static_cast<std::int32_t>(c - begin)) < 0 ? splat(-infinity) : score;
    greatest = greater_of(score, greatest);
  });
  return greatest_of(greatest);
}

/// p = exp(score - greatest) of one row from `begin` up to its reach, zero before and up to `held`; returns the sum.
/// With dropout p is multiplied after.
template <bool dropout>
float exponentials(const float* scores, float* p, std::int64_t begin, std::int64_t reach, std::int64_t held,
                   float log2_scale, float greatest, const std::uint16_t* bits, const Dropout& options) {
  const Floats offset = splat(-greatest * log2_scale);
  const std::uint32_t threshold = options.threshold();
  const float scale = options.scale();
  Floats sum{};
  std::int64_t c = 0;
  const auto one = [&](Floats value) __attribute__((always_inline)) {
    sum += value;
    if constexpr (dropout) value *= dropout_factors(bits + c, threshold, scale);
    store(p + c, value, All{});
  };
  for (; c < std::min(begin, held); c += lanes) {
    const Ints key = lane_numbers(static_cast<std::int32_t>(c));
    const Floats value = exp2_of(load(scores + c, All{}) * log2_scale + offset);
    const Floats reached = key < static_cast<std::int32_t>(reach) ? value : Floats{};
    one(key < static_cast<std::int32_t>(begin) ? Floats{} : reached);
  }
  for (; c + lanes <= reach; c += lanes) one(exp2_of(load(scores + c, All{}) * log2_scale + offset));
  for (; c < held; c += lanes) {
    const Floats value = exp2_of(load(scores + c, All{}) * log2_scale + offset);
    one(lane_numbers(static_cast<std::int32_t>(c)) < static_cast<std::int32_t>(reach) ? value : Floats{});
  }
  return sum_of(sum);
}

/// Turns the scores of one block of keys into p, and updates greatest, sum and out.
template <bool dropout, typename T>
void softmax_block(const Head<T>& head, const HeadExtents& extents, const ForwardScratch& scratch, std::int64_t rows,
                   const CausalReach& reach) {
  for (std::int64_t row = 0; row < rows; ++row) {
    const float before = scratch.greatest[row];
    const float now =
        std::max(before, greatest_score(scratch.scores + row * key_block, reach.begin(row), reach.reach(row)));
    scratch.greatest[row] = now;
    // A window's row may see none of these keys, and none so far: -infinity twice.
    scratch.rescale[row] = now == -infinity ? 0.0F : (before - now) * head.log2_scale;
  }
  for (std::int64_t row = 0; row < rows; row += lanes)
    store(scratch.rescale + row, exp2_of(load(scratch.rescale + row, All{})), All{});
  alignas(64) std::uint16_t bits[neighbours_at_once];
  for (std::int64_t row = 0; row < rows; ++row) {
    if constexpr (dropout) head.dropout.bits(reach.first_query + row, reach.first_key, bits);
    const float sum = exponentials<dropout>(scratch.scores + row * key_block, scratch.p + row * key_block,
                                            reach.begin(row), reach.reach(row), reach.held(row), head.log2_scale,
                                            scratch.greatest[row], bits, *head.dropout.dropout);
    scratch.sum[row] = scratch.sum[row] * scratch.rescale[row] + sum;
    if (reach.first_block) continue;
    float* out = scratch.out + row * extents.width;
    for (std::int64_t c = 0; c < extents.width; c += lanes)
      store(out + c, load(out + c, All{}) * scratch.rescale[row], All{});
  }
}

template <typename T>
void finish_queries(const Head<T>& head, const HeadExtents& extents, const ForwardScratch& scratch,
                    std::int64_t first_query, std::int64_t rows) {
  for (std::int64_t row = 0; row < rows; ++row) {
    const float factor = 1.0F / scratch.sum[row];
    const float* from = scratch.out + row * extents.width;
    T* to = head.out + (first_query + row) * head.out_stride;
    ask_for_row<true>(to, head.out_stride, head.shape->channels);
    for_vectors(head.shape->channels,
                [&](std::int64_t c, auto part) { store(to + c, load(from + c, part) * factor, part); });
    head.log_sum_exp[first_query + row] =
        scratch.greatest[row] * (head.log2_scale * std::numbers::ln2_v<float>)+std::log(scratch.sum[row]);
  }
}

/// Every `stride`-th block of queries of one head, from block `first` on.
template <bool dropout, typename T>
void attend(const Head<T>& head, std::byte* memory, std::int64_t first, std::int64_t stride) {
  const HeadExtents extents(*head.shape);
  Carver carver(memory);
  const ForwardScratch scratch(carver, extents);
  const std::int64_t sequence = head.shape->sequence;
  const std::int64_t channels = head.shape->channels;

  pack_rows(head.k, head.qkv_stride, sequence, channels, scratch.rows, extents.width, extents.sequence);
  pack_columns(scratch.rows, extents.sequence, extents.width, scratch.k_columns);
  pack_rows(head.v, head.qkv_stride, sequence, channels, scratch.rows, extents.width, extents.sequence);

  for (std::int64_t block = first; block * query_block < sequence; block += stride) {
    const std::int64_t first_query = block * query_block;
    const std::int64_t rows = std::min(query_block, sequence - first_query);
    const std::int64_t padded_rows = rounded_up(rows, lanes);
    pack_rows(head.q + first_query * head.qkv_stride, head.qkv_stride, rows, channels, scratch.q, extents.width,
              padded_rows);
    std::fill_n(scratch.greatest, query_block, -infinity);
    std::fill_n(scratch.sum, query_block, 0.0F);
    for_key_blocks(*head.shape, first_query, rows, [&](const CausalReach& reach) {
      multiply_by_columns(extents, scratch.q, padded_rows, scratch.k_columns, reach, scratch.scores);
      softmax_block<dropout>(head, extents, scratch, padded_rows, reach);
      multiply_rows(extents, scratch.p, padded_rows, scratch.rows, reach, scratch.out);
    });
    finish_queries(head, extents, scratch, first_query, rows);
  }
}

}  // namespace

void attention(Queue& queue, const Attention& arguments) {
  const AttentionShape& shape = arguments.shape;
  const std::int64_t heads = shape.samples * shape.heads;
  const std::int64_t blocks = pieces_of(shape.sequence, query_block);
  const std::int64_t parts = std::min(blocks, pieces_of(queue.threads(), std::max<std::int64_t>(heads, 1)));
  with_type(arguments.qkv.type(), [&]<typename T>(T) {
    const std::int64_t bytes = scratch_bytes<ForwardScratch>(shape);
    std::byte* memory = queue.workspace(static_cast<std::size_t>(bytes * queue.threads()));
    for_pieces(queue, heads * parts, 1, [&](std::int64_t work, Piece) {
      const std::int64_t number = work / parts;
      const Head<T> head(arguments, number / shape.heads, number % shape.heads);
      std::byte* own = memory + omp_get_thread_num() * bytes;
      if (arguments.dropout.active())
        attend<true>(head, own, work % parts, parts);
      else
        attend<false>(head, own, work % parts, parts);
    });
  });
}

void prepare_attention(Queue&, const AttentionShape&, DType, const Dropout&) {}

std::size_t attention_workspace(const AttentionShape& shape, DType, int threads) {
  const std::int64_t bytes = std::max(scratch_bytes<ForwardScratch>(shape), scratch_bytes<BackwardScratch>(shape));
  return static_cast<std::size_t>(bytes) * static_cast<std::size_t>(threads);
}

}  // namespace penstock::ops::PENSTOCK_WIDTH

PENSTOCK_OPERATION(attention, Attention)
PENSTOCK_FUNCTION(void, prepare_attention,
                  (Queue & queue, const AttentionShape& shape, DType type, const Dropout& dropout),
                  (queue, shape, type, dropout))
PENSTOCK_FUNCTION(std::size_t, attention_workspace, (const AttentionShape& shape, DType type, int threads),
                  (shape, type, threads))

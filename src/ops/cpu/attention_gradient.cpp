// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "ops/attention.hpp"
#include "ops/cpu/attention_head.hpp"
#include "ops/cpu/width.hpp"

namespace penstock::ops::PENSTOCK_WIDTH {
namespace {

/// Places of the gradients of one head.
template <typename T>
struct HeadGradient {
  const T* dout;
  T* dq;
  T* dk;
  T* dv;

  HeadGradient(const AttentionGradient& arguments, const Head<T>& head) {
    dout = arguments.dout.data<T>() + (head.out - arguments.out.data<T>());
    const auto place_of = [&](const T* in_qkv) {
      return arguments.dqkv.data<T>() + (in_qkv - arguments.qkv.data<T>());
    };
    dq = place_of(head.q);
    dk = place_of(head.k);
    dv = place_of(head.v);
  }
};

template <typename T>
float dot(const T* a, const T* b, std::int64_t n) {
  Floats sum{};
  for_vectors(n, [&](std::int64_t c, auto part) { sum += load(a + c, part) * load(b + c, part); });
  return sum_of(sum);
}

template <typename T>
void store_rows(const float* from, std::int64_t width, std::int64_t rows, std::int64_t channels, float scale, T* to,
                std::int64_t stride) {
  for (std::int64_t row = 0; row < rows; ++row) {
    ask_for_row<true>(to + row * stride, stride, channels);
    for_vectors(channels, [&](std::int64_t c, auto part) {
      store(to + row * stride + c, load(from + row * width + c, part) * scale, part);
    });
  }
}

/// The keys of a block that a query sees.
struct KeyRange {
  std::int32_t begin;
  std::int32_t end;
};

/// p and ds of a vector of keys: p = exp(score - log sum exp), ds = p (dp * factor - delta), and p times the dropout
/// factor.
struct ScoreGradient {
  Floats p;
  Floats ds;
};

PENSTOCK_INLINE ScoreGradient score_gradient(Floats score, Floats dp, float log2_scale, float log2_sum, float delta,
                                             Ints key, KeyRange range) {
  const Floats p = exp2_of(score * log2_scale - log2_sum);
  const Floats reached = key < range.end ? p : Floats{};
  const Floats seen = key < range.begin ? Floats{} : reached;
  return {seen, seen * (dp - delta)};
}

PENSTOCK_INLINE ScoreGradient score_gradient(Floats score, Floats dp, float log2_scale, float log2_sum, float delta,
                                             Ints key, KeyRange range, Floats factor) {
  ScoreGradient gradient = score_gradient(score, dp * factor, log2_scale, log2_sum, delta, key, range);
  gradient.p *= factor;
  return gradient;
}

/// Turns the scores and gradients of p of one block into p and ds, in place.
template <bool dropout, typename T>
void softmax_gradient_block(const Head<T>& head, const BackwardScratch& scratch, std::int64_t rows,
                            const CausalReach& reach) {
  alignas(64) std::uint16_t bits[2][neighbours_at_once];
  const std::uint32_t threshold = head.dropout.dropout->threshold();
  const float scale = head.dropout.dropout->scale();
  for (std::int64_t row = 0; row < rows; row += 2) {
    if constexpr (dropout)
      for (std::int64_t r = 0; r < 2; ++r) head.dropout.bits(reach.first_query + row + r, reach.first_key, bits[r]);
    const std::int64_t held = reach.held(row);
    for (std::int64_t c = 0; c < held; c += lanes) {
      ScoreGradient gradients[2];
#pragma GCC unroll 2
      for (std::int64_t r = 0; r < 2; ++r) {
        const std::int64_t at = (row + r) * key_block + c;
        const Floats score = load(scratch.scores + at, All{});
        const Floats dp = load(scratch.dp + at, All{});
        const Ints key = lane_numbers(static_cast<std::int32_t>(c));
        const float log2_sum = scratch.log2_sum[row + r];
        const float delta = scratch.delta[row + r];
        const KeyRange seen{static_cast<std::int32_t>(reach.begin(row + r)),
                            static_cast<std::int32_t>(reach.reach(row + r))};
        if constexpr (dropout)
          gradients[r] = score_gradient(score, dp, head.log2_scale, log2_sum, delta, key, seen,
                                        dropout_factors(bits[r] + c, threshold, scale));
        else
          gradients[r] = score_gradient(score, dp, head.log2_scale, log2_sum, delta, key, seen);
      }
      for (std::int64_t r = 0; r < 2; ++r) {
        store(scratch.scores + (row + r) * key_block + c, gradients[r].p, All{});
        store(scratch.dp + (row + r) * key_block + c, gradients[r].ds, All{});
      }
    }
  }
}

/// Packs one block of queries: q, dout, log-sum-exp and delta.
template <typename T>
void pack_queries(const Head<T>& head, const HeadGradient<T>& gradient, const HeadExtents& extents,
                  const BackwardScratch& scratch, std::int64_t first, std::int64_t rows, std::int64_t padded_rows) {
  const std::int64_t channels = head.shape->channels;
  const T* dout = gradient.dout + first * head.out_stride;
  pack_rows(head.q + first * head.qkv_stride, head.qkv_stride, rows, channels, scratch.q, extents.width, padded_rows);
  pack_rows(dout, head.out_stride, rows, channels, scratch.dout, extents.width, padded_rows);
  for (std::int64_t row = 0; row < padded_rows; ++row) {
    const bool real = row < rows;  // padded rows: p = exp(-infinity) = 0
    scratch.log2_sum[row] =
        real ? head.log_sum_exp[first + row] * std::numbers::log2e_v<float> : std::numeric_limits<float>::infinity();
    scratch.delta[row] =
        real ? dot(dout + row * head.out_stride, head.out + (first + row) * head.out_stride, channels) : 0.0F;
  }
}

/// dq of one head, and its share of dk and dv, which is added to the sums in `scratch`.
template <bool dropout, typename T>
void attend_backward(const Head<T>& head, const HeadGradient<T>& gradient, const HeadExtents& extents,
                     const BackwardScratch& scratch) {
  const std::int64_t sequence = head.shape->sequence;
  const std::int64_t channels = head.shape->channels;
  const float score_scale = head.log2_scale * std::numbers::ln2_v<float>;
  for (std::int64_t first_query = 0; first_query < sequence; first_query += query_block) {
    const std::int64_t rows = std::min(query_block, sequence - first_query);
    const std::int64_t padded_rows = rounded_up(rows, tile_rows);
    pack_queries(head, gradient, extents, scratch, first_query, rows, padded_rows);
    for_key_blocks(*head.shape, first_query, rows, [&](const CausalReach& reach) {
      multiply_by_columns(extents, scratch.q, padded_rows, scratch.k_columns, reach, scratch.scores);
      multiply_by_columns(extents, scratch.dout, padded_rows, scratch.v_columns, reach, scratch.dp);
      softmax_gradient_block<dropout>(head, scratch, padded_rows, reach);
      multiply_columns(extents, scratch.scores, padded_rows, scratch.dout, reach, scratch.dv);
      multiply_columns(extents, scratch.dp, padded_rows, scratch.q, reach, scratch.dk);
      multiply_rows(extents, scratch.dp, padded_rows, scratch.rows, reach, scratch.dq);
    });
    store_rows(scratch.dq, extents.width, rows, channels, score_scale, gradient.dq + first_query * head.qkv_stride,
               head.qkv_stride);
  }
}

/// The heads of q that share one of k and v, one after the other.
template <bool dropout, typename T>
void attend_backward_to_keys(const AttentionGradient& arguments, std::int64_t sample, std::int64_t key_head,
                             std::byte* memory) {
  const AttentionShape& shape = arguments.shape;
  const HeadExtents extents(shape);
  Carver carver(memory);
  const BackwardScratch scratch(carver, extents);
  const std::int64_t sequence = shape.sequence;
  const std::int64_t channels = shape.channels;
  const std::int64_t sharing = shape.heads_of_a_key();
  const Head<T> head(arguments, sample, key_head * sharing);
  const HeadGradient<T> gradient(arguments, head);

  pack_rows(head.v, head.qkv_stride, sequence, channels, scratch.rows, extents.width, extents.sequence);
  pack_columns(scratch.rows, extents.sequence, extents.width, scratch.v_columns);
  pack_rows(head.k, head.qkv_stride, sequence, channels, scratch.rows, extents.width, extents.sequence);
  pack_columns(scratch.rows, extents.sequence, extents.width, scratch.k_columns);
  std::fill_n(scratch.dk, extents.sequence * extents.width, 0.0F);
  std::fill_n(scratch.dv, extents.sequence * extents.width, 0.0F);

  for (std::int64_t shared = 0; shared < sharing; ++shared) {
    const Head<T> own(arguments, sample, key_head * sharing + shared);
    attend_backward<dropout>(own, HeadGradient<T>(arguments, own), extents, scratch);
  }
  const float score_scale = head.log2_scale * std::numbers::ln2_v<float>;
  store_rows(scratch.dk, extents.width, sequence, channels, score_scale, gradient.dk, head.qkv_stride);
  store_rows(scratch.dv, extents.width, sequence, channels, 1.0F, gradient.dv, head.qkv_stride);
}

}  // namespace

void attention_gradient(Queue& queue, const AttentionGradient& arguments) {
  const AttentionShape& shape = arguments.shape;
  with_type(arguments.qkv.type(), [&]<typename T>(T) {
    const std::int64_t bytes = scratch_bytes<BackwardScratch>(shape);
    std::byte* memory = queue.workspace(static_cast<std::size_t>(bytes * queue.threads()));
    const std::int64_t key_heads = shape.key_heads();
    for_pieces(queue, shape.samples * key_heads, 1, [&](std::int64_t number, Piece) {
      std::byte* own = memory + omp_get_thread_num() * bytes;
      if (arguments.dropout.active())
        attend_backward_to_keys<true, T>(arguments, number / key_heads, number % key_heads, own);
      else
        attend_backward_to_keys<false, T>(arguments, number / key_heads, number % key_heads, own);
    });
  });
}

}  // namespace penstock::ops::PENSTOCK_WIDTH

PENSTOCK_OPERATION(attention_gradient, AttentionGradient)

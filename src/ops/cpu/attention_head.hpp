// SPDX-License-Identifier: Apache-2.0
#pragma once
// One head of attention, and the products of its forward and backward passes.

#include <algorithm>
#include <cmath>
#include <numbers>

#include "ops/cpu/attention_scratch.hpp"

namespace penstock::ops::PENSTOCK_WIDTH {

/// One head of one sample, in the forward or the backward pass: where its rows begin, and the factor of its scores.
template <typename T>
struct Head {
  const AttentionShape* shape;
  const T* q;
  const T* k;
  const T* v;
  T* out;
  float* log_sum_exp;
  HeadDropout dropout;
  std::int64_t qkv_stride;
  std::int64_t out_stride;
  float log2_scale;  ///< log2(e) / sqrt(D): scores to the base of exp2

  template <typename Arguments>
  Head(const Arguments& arguments, std::int64_t sample, std::int64_t head) : shape(&arguments.shape) {
    const std::int64_t channels = shape->channels;
    out_stride = shape->heads * channels;
    qkv_stride = shape->packed_width();
    const T* row = arguments.qkv.template data<T>() + sample * shape->sequence * qkv_stride;
    q = row + head * channels;
    k = row + out_stride + head / shape->heads_of_a_key() * channels;
    v = k + shape->key_heads() * channels;
    out = arguments.out.template data<T>() + sample * shape->sequence * out_stride + head * channels;
    log_sum_exp = arguments.log_sum_exp.template data<float>() + (sample * shape->heads + head) * shape->sequence;
    log2_scale = std::numbers::log2e_v<float> / std::sqrt(static_cast<float>(channels));
    dropout = {&arguments.dropout,
               arguments.dropout.active() ? *arguments.first_sample + static_cast<std::uint64_t>(sample) : 0,
               shape->first_head + head};
  }
};

/// scores = q k^T for the keys within reach; also dout v^T.
inline void multiply_by_columns(const HeadExtents& extents, const float* queries, std::int64_t rows,
                                const float* columns, const CausalReach& reach, float* scores) {
  const float* panel = columns + reach.first_key * extents.width;
  multiply(
      {queries, extents.width, 1}, {panel, panel_columns}, extents.width * panel_columns, {scores, key_block}, rows,
      reach.columns, false,
      [&](std::int64_t) {
        return Steps{0, extents.channels};
      },
      [&](std::int64_t row) { return reach.held(row); });
}

/// result (+)= p v for the keys within reach, p in rows; also ds k.
inline void multiply_rows(const HeadExtents& extents, const float* p, std::int64_t rows, const float* values,
                          const CausalReach& reach, float* result) {
  const float* first = values + reach.first_key * extents.width;
  multiply(
      {p, key_block, 1}, {first, extents.width}, panel_columns, {result, extents.width}, rows, extents.width,
      !reach.first_block,
      [&](std::int64_t row) {
        return Steps{reach.begin(row), reach.reach(row + tile_rows - 1)};
      },
      [&](std::int64_t) { return extents.width; });
}

/// result += p^T dout for the keys of the block, p in columns; also ds^T q.
inline void multiply_columns(const HeadExtents& extents, const float* p, std::int64_t rows, const float* values,
                             const CausalReach& reach, float* result) {
  multiply(
      {p, 1, key_block}, {values, extents.width}, panel_columns,
      {result + reach.first_key * extents.width, extents.width}, reach.columns, extents.width, true,
      [&](std::int64_t key) {
        const std::int64_t first_seen = std::max<std::int64_t>(0, reach.first_key + key - reach.first_query);
        return Steps{first_seen, rows};
      },
      [&](std::int64_t) { return extents.width; });
}

}  // namespace penstock::ops::PENSTOCK_WIDTH

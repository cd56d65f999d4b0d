// SPDX-License-Identifier: Apache-2.0
#pragma once
// One head of attention, and the products that its forward and backward passes are made of.

#include <algorithm>
#include <cmath>
#include <numbers>

#include "ops/cpu/attention_scratch.hpp"

namespace penstock::ops::PENSTOCK_WIDTH {

/// One head of one sample, in the forward or the backward pass: where its rows begin, and what its scores are
/// multiplied with.
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

template <typename Units>
const typename Units::Unit* as_units(const typename Units::Element* elements) {
  return reinterpret_cast<const typename Units::Unit*>(elements);
}

/// scores = q k^T for the keys within reach; also dout v^T.
template <typename Units>
void multiply_by_columns(const HeadExtents<Units>& extents, const typename Units::Element* queries, std::int64_t rows,
                         const typename Units::Unit* columns, const CausalReach& reach, float* scores) {
  const typename Units::Unit* panel = columns + reach.first_key * extents.units;
  multiply<Units>(
      {as_units<Units>(queries), extents.units, 1}, {panel, panel_columns}, extents.units * panel_columns,
      {scores, key_block}, rows, reach.columns, false,
      [&](std::int64_t) {
        return Steps{0, extents.steps};
      },
      [&](std::int64_t row) { return reach.held(row); });
}

/// result (+)= p v for the keys within reach, p in rows; also ds k.
template <typename Units>
void multiply_rows(const HeadExtents<Units>& extents, const typename Units::Unit* p, std::int64_t rows,
                   const typename Units::Unit* values, const CausalReach& reach, float* result) {
  const typename Units::Unit* first = values + reach.first_key / Units::depth * extents.width;
  multiply<Units>(
      {p, key_block / Units::depth, 1}, {first, extents.width}, panel_columns, {result, extents.width}, rows,
      extents.columns, !reach.first_block,
      [&](std::int64_t row) {
        return Steps{reach.begin(row) / Units::depth, pieces_of(reach.reach(row + tile_rows - 1), Units::depth)};
      },
      [&](std::int64_t) { return extents.columns; });
}

/// result += p^T dout for the keys of the block, p in columns; also ds^T q.
template <typename Units>
void multiply_columns(const HeadExtents<Units>& extents, const typename Units::Unit* p, std::int64_t rows,
                      const typename Units::Unit* values, const CausalReach& reach, float* result) {
  multiply<Units>(
      {p, 1, key_block}, {values, extents.width}, panel_columns,
      {result + reach.first_key * extents.width, extents.width}, reach.columns, extents.columns, true,
      [&](std::int64_t key) {
        const std::int64_t first_seen = std::max<std::int64_t>(0, reach.first_key + key - reach.first_query);
        return Steps{first_seen / Units::depth, rows / Units::depth};
      },
      [&](std::int64_t) { return extents.columns; });
}

}  // namespace penstock::ops::PENSTOCK_WIDTH

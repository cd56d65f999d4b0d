// SPDX-License-Identifier: Apache-2.0
#pragma once
// What one thread holds while it works on one head of attention.

#include <cstddef>
#include <cstdint>

#include "ops/attention.hpp"
#include "ops/cpu/dropout_mask.hpp"
#include "ops/cpu/head_packing.hpp"
#include "ops/cpu/parallel.hpp"

namespace penstock::ops::PENSTOCK_WIDTH {

inline constexpr std::int64_t query_block = 64;  ///< queries that are worked on together
inline constexpr std::int64_t key_block = 128;   ///< keys whose scores are held at once
static_assert(query_block % tile_rows == 0 && key_block % query_block == 0 && key_block % panel_columns == 0);
static_assert(key_block == neighbours_at_once, "one call of random_bits covers a query's keys of a block");

/// Cuts pieces, aligned to 128 bytes, from a block of memory; from null it only counts.
class Carver {
 public:
  explicit Carver(std::byte* base) : base_(base) {}
  template <typename T>
  T* take(std::int64_t count) {
    auto* piece = base_ ? reinterpret_cast<T*>(base_ + taken_) : nullptr;
    taken_ += static_cast<std::size_t>(rounded_up(count * static_cast<std::int64_t>(sizeof(T)), 128));
    return piece;
  }
  std::size_t taken() const { return taken_; }

 private:
  std::byte* base_;
  std::size_t taken_ = 0;
};

/// Padded extents of a head, in elements and in units of the products.
template <typename Units>
struct HeadExtents {
  std::int64_t sequence;  ///< T, up to a multiple of 64
  std::int64_t width;     ///< D, up to a multiple of the lanes, in units
  std::int64_t units;     ///< units in `width` elements
  std::int64_t steps;     ///< units that hold the D channels
  std::int64_t columns;   ///< D, up to a multiple of the lanes

  explicit HeadExtents(const AttentionShape& shape)
      : sequence(rounded_up(shape.sequence, panel_columns)),
        width(rounded_up(shape.channels, lanes * Units::depth)),
        units(width / Units::depth),
        steps(pieces_of(shape.channels, Units::depth)),
        columns(rounded_up(shape.channels, lanes)) {}
};

/// Unit buffers that only the pairs of bfloat16 need: float units are used where their numbers stand.
template <typename Units>
typename Units::Unit* take_units(Carver& carver, std::int64_t elements) {
  return Units::depth == 1 ? nullptr : carver.take<typename Units::Unit>(elements / Units::depth);
}

template <typename Units>
struct ForwardScratch {
  using Element = typename Units::Element;
  using Unit = typename Units::Unit;

  Element* rows;    ///< [sequence, width] k, then v, as packed rows
  Unit* k_columns;  ///< k^T in panels of 64 keys
  Unit* v_units;    ///< [sequence / depth, width]
  Element* q;       ///< [query_block, width]
  float* scores;    ///< [query_block, key_block]
  Unit* p;          ///< [query_block, key_block / depth] exp(score - greatest), times dropout
  float* out;       ///< [query_block, width]
  float* greatest;  ///< [query_block] of the scores so far
  float* rescale;   ///< [query_block]
  float* sum;       ///< [query_block] of exp(score - greatest)

  ForwardScratch(Carver& carver, const HeadExtents<Units>& extents)
      : rows(carver.take<Element>(extents.sequence * extents.width)),
        k_columns(carver.take<Unit>(extents.sequence * extents.units)),
        v_units(take_units<Units>(carver, extents.sequence * extents.width)),
        q(carver.take<Element>(query_block * extents.width)),
        scores(carver.take<float>(query_block * key_block)),
        p(carver.take<Unit>(query_block * key_block / Units::depth)),
        out(carver.take<float>(query_block * extents.width)),
        greatest(carver.take<float>(query_block)),
        rescale(carver.take<float>(query_block)),
        sum(carver.take<float>(query_block)) {}
};

template <typename Units>
struct BackwardScratch {
  using Element = typename Units::Element;
  using Unit = typename Units::Unit;

  Element* rows;     ///< [sequence, width] v, then k, as packed rows
  Unit* v_columns;   ///< v^T in panels of 64 keys
  Unit* k_columns;   ///< k^T in panels of 64 keys
  Unit* k_units;     ///< [sequence / depth, width]
  Element* q;        ///< [query_block, width]
  Element* dout;     ///< [query_block, width]
  Unit* q_units;     ///< [query_block / depth, width]
  Unit* dout_units;  ///< [query_block / depth, width]
  float* scores;     ///< [query_block, key_block]; float units: p stands in their place
  float* dp;         ///< [query_block, key_block] gradient of p; float units: ds stands in its place
  Unit* p_columns;   ///< [query_block / depth, key_block] p times dropout, units along the queries
  Unit* ds_columns;  ///< [query_block / depth, key_block] gradient of the scores, units along the queries
  Unit* ds_rows;     ///< [query_block, key_block / depth] the same, units along the keys
  float* dq;         ///< [query_block, width]
  float* dk;         ///< [sequence, width]
  float* dv;         ///< [sequence, width]
  float* log2_sum;   ///< [query_block] log-sum-exp to base 2
  float* delta;      ///< [query_block] sum of dout * out

  BackwardScratch(Carver& carver, const HeadExtents<Units>& extents)
      : rows(carver.take<Element>(extents.sequence * extents.width)),
        v_columns(carver.take<Unit>(extents.sequence * extents.units)),
        k_columns(carver.take<Unit>(extents.sequence * extents.units)),
        k_units(take_units<Units>(carver, extents.sequence * extents.width)),
        q(carver.take<Element>(query_block * extents.width)),
        dout(carver.take<Element>(query_block * extents.width)),
        q_units(take_units<Units>(carver, query_block * extents.width)),
        dout_units(take_units<Units>(carver, query_block * extents.width)),
        scores(carver.take<float>(query_block * key_block)),
        dp(carver.take<float>(query_block * key_block)),
        p_columns(take_units<Units>(carver, query_block * key_block)),
        ds_columns(take_units<Units>(carver, query_block * key_block)),
        ds_rows(take_units<Units>(carver, query_block * key_block)),
        dq(carver.take<float>(query_block * extents.width)),
        dk(carver.take<float>(extents.sequence * extents.width)),
        dv(carver.take<float>(extents.sequence * extents.width)),
        log2_sum(carver.take<float>(query_block)),
        delta(carver.take<float>(query_block)) {
    if constexpr (Units::depth == 1) {
      p_columns = scores;
      ds_columns = ds_rows = dp;
    }
  }
};

/// Bytes that one thread's scratch takes.
template <template <typename> typename Scratch, typename Units>
std::int64_t scratch_bytes(const AttentionShape& shape) {
  Carver carver(nullptr);
  Scratch<Units>(carver, HeadExtents<Units>(shape));
  return rounded_up(static_cast<std::int64_t>(carver.taken()), 4096);
}

/// Which keys of a key block the queries of a query block see: query `row` of the block sees those from begin(row) up
/// to reach(row).
struct CausalReach {
  std::int64_t first_query;
  std::int64_t first_key;
  std::int64_t columns;  ///< of the scores held, a multiple of the lanes
  std::int64_t window;   ///< of the attention; 0: none
  bool first_block;      ///< of those that the queries see: what sums over keys held before is overwritten

  std::int64_t begin(std::int64_t row) const {
    return window > 0 ? std::clamp<std::int64_t>(first_query + row + 1 - window - first_key, 0, columns) : 0;
  }
  std::int64_t reach(std::int64_t row) const { return std::min(first_query + row + 1 - first_key, columns); }
  /// Columns that the 8 rows from `row` on hold: what is beyond a row's own reach is zero.
  std::int64_t held(std::int64_t row) const {
    return rounded_up(reach(row / tile_rows * tile_rows + tile_rows - 1), lanes);
  }
};

/// Calls f(reach) for the blocks of keys that `rows` queries from `first_query` on see, in their order.
template <typename F>
void for_key_blocks(const AttentionShape& shape, std::int64_t first_query, std::int64_t rows, F&& f) {
  const std::int64_t first_block = shape.first_key(first_query) / key_block * key_block;
  for (std::int64_t key = first_block; key < first_query + rows; key += key_block)
    f(CausalReach{first_query, key, rounded_up(std::min(key_block, first_query + rows - key), lanes), shape.window,
                  key == first_block});
}

/// The dropout of the attention of one head.
struct HeadDropout {
  const Dropout* dropout;
  std::uint64_t sample;
  std::int64_t head;  ///< global

  void bits(std::int64_t query, std::int64_t first_key, std::uint16_t* to) const {
    const auto head_and_sample = static_cast<std::uint32_t>(head) | static_cast<std::uint32_t>(sample >> 32) << 16;
    random_bits(dropout->key, static_cast<std::uint32_t>(first_key / 8),
                {static_cast<std::uint32_t>(query), head_and_sample, static_cast<std::uint32_t>(sample)}, to);
  }
};

}  // namespace penstock::ops::PENSTOCK_WIDTH

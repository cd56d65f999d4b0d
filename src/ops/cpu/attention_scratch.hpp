// SPDX-License-Identifier: Apache-2.0
#pragma once
// The memory of one thread while it works on one head of attention.

#include <cstddef>
#include <cstdint>

#include "ops/attention.hpp"
#include "ops/cpu/dropout_mask.hpp"
#include "ops/cpu/head_packing.hpp"
#include "ops/cpu/parallel.hpp"

namespace penstock::ops::PENSTOCK_WIDTH {

inline constexpr std::int64_t query_block = 64;  ///< queries that are processed together
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

/// Padded extents of a head.
struct HeadExtents {
  std::int64_t sequence;  ///< T, up to a multiple of 64
  std::int64_t channels;  ///< D
  std::int64_t width;     ///< D, up to a multiple of the lanes

  explicit HeadExtents(const AttentionShape& shape)
      : sequence(rounded_up(shape.sequence, panel_columns)),
        channels(shape.channels),
        width(rounded_up(shape.channels, lanes)) {}
};

struct ForwardScratch {
  float* rows;       ///< [sequence, width] k, then v, as packed rows
  float* k_columns;  ///< k^T in panels of 64 keys
  float* q;          ///< [query_block, width]
  float* scores;     ///< [query_block, key_block]
  float* p;          ///< [query_block, key_block] exp(score - greatest), times dropout
  float* out;        ///< [query_block, width]
  float* greatest;   ///< [query_block] of the scores so far
  float* rescale;    ///< [query_block]
  float* sum;        ///< [query_block] of exp(score - greatest)

  ForwardScratch(Carver& carver, const HeadExtents& extents)
      : rows(carver.take<float>(extents.sequence * extents.width)),
        k_columns(carver.take<float>(extents.sequence * extents.width)),
        q(carver.take<float>(query_block * extents.width)),
        scores(carver.take<float>(query_block * key_block)),
        p(carver.take<float>(query_block * key_block)),
        out(carver.take<float>(query_block * extents.width)),
        greatest(carver.take<float>(query_block)),
        rescale(carver.take<float>(query_block)),
        sum(carver.take<float>(query_block)) {}
};

struct BackwardScratch {
  float* rows;       ///< [sequence, width] v, then k, as packed rows
  float* v_columns;  ///< v^T in panels of 64 keys
  float* k_columns;  ///< k^T in panels of 64 keys
  float* q;          ///< [query_block, width]
  float* dout;       ///< [query_block, width]
  float* scores;     ///< [query_block, key_block], then p times dropout
  float* dp;         ///< [query_block, key_block] gradient of p, then that of the scores
  float* dq;         ///< [query_block, width]
  float* dk;         ///< [sequence, width]
  float* dv;         ///< [sequence, width]
  float* log2_sum;   ///< [query_block] log-sum-exp to base 2
  float* delta;      ///< [query_block] sum of dout * out

  BackwardScratch(Carver& carver, const HeadExtents& extents)
      : rows(carver.take<float>(extents.sequence * extents.width)),
        v_columns(carver.take<float>(extents.sequence * extents.width)),
        k_columns(carver.take<float>(extents.sequence * extents.width)),
        q(carver.take<float>(query_block * extents.width)),
        dout(carver.take<float>(query_block * extents.width)),
        scores(carver.take<float>(query_block * key_block)),
        dp(carver.take<float>(query_block * key_block)),
        dq(carver.take<float>(query_block * extents.width)),
        dk(carver.take<float>(extents.sequence * extents.width)),
        dv(carver.take<float>(extents.sequence * extents.width)),
        log2_sum(carver.take<float>(query_block)),
        delta(carver.take<float>(query_block)) {}
};

/// Bytes that one thread's scratch takes.
template <typename Scratch>
std::int64_t scratch_bytes(const AttentionShape& shape) {
  Carver carver(nullptr);
  Scratch(carver, HeadExtents(shape));
  return rounded_up(static_cast<std::int64_t>(carver.taken()), 4096);
}

/// The keys of a key block that the queries of a query block see: query `row` sees those from begin(row) up to
/// reach(row).
struct CausalReach {
  std::int64_t first_query;
  std::int64_t first_key;
  std::int64_t columns;  ///< of the scores held, a multiple of the lanes
  std::int64_t window;   ///< of the attention; 0: none
  bool first_block;      ///< the first one that the queries see: sums over keys are overwritten

  std::int64_t begin(std::int64_t row) const {
    return window > 0 ? std::clamp<std::int64_t>(first_query + row + 1 - window - first_key, 0, columns) : 0;
  }
  std::int64_t reach(std::int64_t row) const { return std::min(first_query + row + 1 - first_key, columns); }
  /// Columns of the 8 rows from `row` on; beyond a row's own reach they are zero.
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

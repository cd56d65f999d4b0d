// SPDX-License-Identifier: Apache-2.0
#include "ops/adamw.hpp"

#include <algorithm>

#include "ops/kernel.cuh"
#include "ops/piece_list.cuh"

namespace penstock::ops {
namespace {

constexpr int groups_of_a_thread = 2;
constexpr std::int64_t elements_of_a_block = groups_of_a_thread * four * block_threads;

/// A piece in the kernel.
struct DevicePiece {
  float* master;
  DeviceElements gradient;
  DeviceElements addend;
  float* first_moment;
  float* second_moment;
  __nv_bfloat16* weight;  ///< or null
  std::int64_t elements;
  std::int32_t first_block;
  float decay;
  bool aligned;
};

/// The pieces of one launch, within the 4 KiB of a kernel's arguments.
struct PieceList {
  static constexpr int most = 40;
  DevicePiece pieces[most];
  int count = 0;
  std::int64_t blocks = 0;
};
static_assert(sizeof(PieceList) < 3900);

/// AdamW for one element.
struct Element {
  float w, m, v;
};

/// Sums of products use explicit fused operations, so that an element's bits do not depend on where a piece begins.
/// This one: beta * moment + (1 - beta) * news.
__device__ float decayed(float moment, const MomentDecay& beta, float news) {
  return fmaf(moment, beta.factor, fmaf(moment, beta.rest, news * beta.complement));
}

__device__ Element updated(const AdamWConstants& constants, const AdamWStep& step, float decay, float gradient,
                           const Element& old) {
  const float g = gradient * step.gradient_scale;
  const float m = decayed(old.m, constants.beta1, g);
  const float v = decayed(old.v, constants.beta2, g * g);
  const float direction = m * step.first_correction / (sqrtf(v * step.second_correction) + constants.epsilon);
  return {fmaf(-step.learning_rate, fmaf(decay, old.w, direction), old.w), m, v};
}

/// Each thread handles some groups of four neighbours, a block's width apart. Code that depends on the gradient's type
/// comes after the loads that do not, so that all loads are in flight at once.
__global__ void __launch_bounds__(block_threads)
    update(const __grid_constant__ PieceList list, AdamWConstants constants, const AdamWStep* step_values) {
  const AdamWStep step = *step_values;
  if (!step.apply) return;
  const auto block = static_cast<int>(blockIdx.x);
  const DevicePiece& piece = list.pieces[piece_of_block(list.pieces, list.count, block)];
  const std::int64_t begin =
      static_cast<std::int64_t>(block - piece.first_block) * elements_of_a_block + threadIdx.x * four;
  const bool aligned = piece.aligned;
  PackedFour<float> w[groups_of_a_thread], m[groups_of_a_thread], v[groups_of_a_thread];
  float gradient[groups_of_a_thread][four];
#pragma unroll
  for (int group = 0; group < groups_of_a_thread; ++group) {
    const std::int64_t at = begin + group * four * block_threads, count = piece.elements - at;
    w[group] = load_four(piece.master + at, count, aligned);
    m[group] = load_four(piece.first_moment + at, count, aligned);
    v[group] = load_four(piece.second_moment + at, count, aligned);
  }
#pragma unroll
  for (int group = 0; group < groups_of_a_thread; ++group) {
    const std::int64_t at = begin + group * four * block_threads, count = piece.elements - at;
    piece.gradient.load(at, count, aligned, gradient[group]);
    if (!piece.addend.present()) continue;
    float addend[four];
    piece.addend.load(at, count, aligned, addend);
#pragma unroll
    for (int i = 0; i < four; ++i) gradient[group][i] += addend[i];
  }
#pragma unroll
  for (int group = 0; group < groups_of_a_thread; ++group) {
    const std::int64_t at = begin + group * four * block_threads, count = piece.elements - at;
    float new_w[four], new_m[four], new_v[four];
#pragma unroll
    for (int i = 0; i < four; ++i) {
      const Element element = updated(constants, step, piece.decay, gradient[group][i],
                                      {.w = w[group][i], .m = m[group][i], .v = v[group][i]});
      new_w[i] = element.w, new_m[i] = element.m, new_v[i] = element.v;
    }
    store_four(piece.master + at, new_w, count, aligned);
    store_four(piece.first_moment + at, new_m, count, aligned);
    store_four(piece.second_moment + at, new_v, count, aligned);
    if (piece.weight) store_four(piece.weight + at, new_w, count, aligned);
  }
}

void launch(Queue& queue, const PieceList& list, const AdamWConstants& constants, const AdamWStep* step) {
  if (list.count == 0) return;
  update<<<grid_of(list.blocks, 1), block_threads, 0, stream_of(queue)>>>(list, constants, step);
  check_launch();
}

}  // namespace

void adamw(Queue& queue, const AdamWConstants& constants, const AdamWStep* step, std::span<const AdamWPiece> pieces) {
  PieceList list;
  for (const AdamWPiece& piece : pieces) {
    const std::int64_t n = piece.master.elements();
    if (n == 0) continue;
    if (list.count == PieceList::most) {
      launch(queue, list, constants, step);
      list.count = 0, list.blocks = 0;
    }
    list.pieces[list.count++] = {
        .master = piece.master.data<float>(),
        .gradient = DeviceElements(piece.gradient),
        .addend = DeviceElements(piece.addend),
        .first_moment = piece.first_moment.data<float>(),
        .second_moment = piece.second_moment.data<float>(),
        .weight = device_data<__nv_bfloat16>(piece.weight),
        .elements = n,
        .first_block = static_cast<std::int32_t>(list.blocks),
        .decay = piece.decay ? constants.weight_decay : 0.0F,
        .aligned = rows_are_aligned(eight, eight,
                                    {piece.master.raw(), piece.gradient.raw(), piece.addend.raw(),
                                     piece.first_moment.raw(), piece.second_moment.raw(), piece.weight.raw()})};
    list.blocks += parts_of(n, elements_of_a_block);
    ensure(list.blocks <= std::numeric_limits<std::int32_t>::max(), "adamw: too many elements for one launch");
  }
  launch(queue, list, constants, step);
}

}  // namespace penstock::ops

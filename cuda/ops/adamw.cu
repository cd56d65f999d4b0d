#include "ops/adamw.hpp"

#include <algorithm>

#include "ops/kernel.cuh"
#include "ops/piece_list.cuh"

namespace penstock::ops {
namespace {

constexpr std::int64_t elements_of_a_block = eight * block_threads;

/// A piece as the kernel sees it.
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

/// As many pieces as one launch takes, within the 4 KiB of a kernel's arguments.
struct PieceList {
  static constexpr int most = 40;
  DevicePiece pieces[most];
  int count = 0;
  std::int64_t blocks = 0;
};
static_assert(sizeof(PieceList) < 3900);

/// What AdamW makes of one element.
struct Element {
  float w, m, v;
};

/// Sums of products name their fused operations, so that an element's bits do not depend on where a piece begins.
__device__ Element updated(const AdamWConstants& constants, const AdamWStep& step, float decay, float gradient,
                           const Element& old) {
  const float g = gradient * step.gradient_scale;
  const float m = fmaf(old.m, constants.beta1, g * (1.0F - constants.beta1));
  const float v = fmaf(old.v, constants.beta2, g * g * (1.0F - constants.beta2));
  const float direction = m * step.first_correction / (sqrtf(v * step.second_correction) + constants.epsilon);
  return {fmaf(-step.learning_rate, fmaf(decay, old.w, direction), old.w), m, v};
}

/// One thread eight neighbours.
__global__ void __launch_bounds__(block_threads)
    update(const __grid_constant__ PieceList list, AdamWConstants constants, const AdamWStep* step_values) {
  const AdamWStep step = *step_values;
  if (!step.apply) return;
  const auto block = static_cast<int>(blockIdx.x);
  const DevicePiece& piece = list.pieces[piece_of_block(list.pieces, list.count, block)];
  const std::int64_t at =
      static_cast<std::int64_t>(block - piece.first_block) * elements_of_a_block + threadIdx.x * eight;
  const std::int64_t count = piece.elements - at;
  if (count <= 0) return;
  const bool aligned = piece.aligned;
  Eight gradient = piece.gradient.load(at, count, aligned);
  if (piece.addend.present()) {
    const Eight addend = piece.addend.load(at, count, aligned);
#pragma unroll
    for (int i = 0; i < eight; ++i) gradient[i] += addend[i];
  }
  Eight w = load_eight(piece.master + at, count, aligned);
  Eight m = load_eight(piece.first_moment + at, count, aligned);
  Eight v = load_eight(piece.second_moment + at, count, aligned);
#pragma unroll
  for (int i = 0; i < eight; ++i) {
    const Element element = updated(constants, step, piece.decay, gradient[i], {.w = w[i], .m = m[i], .v = v[i]});
    w[i] = element.w, m[i] = element.m, v[i] = element.v;
  }
  store_eight(piece.master + at, w, count, aligned);
  store_eight(piece.first_moment + at, m, count, aligned);
  store_eight(piece.second_moment + at, v, count, aligned);
  if (piece.weight) store_eight(piece.weight + at, w, count, aligned);
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

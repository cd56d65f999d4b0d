#include "ops/adamw.hpp"

#include <algorithm>

#include "ops/kernel.cuh"
#include "ops/piece_list.cuh"

namespace penstock::ops {
namespace {

constexpr std::int64_t elements_of_a_block = 8 * block_threads;

/// A piece as the kernel sees it.
struct DevicePiece {
  float* master;
  const float* gradient;
  float* first_moment;
  float* second_moment;
  __nv_bfloat16* weight;  ///< or null
  std::int64_t elements;
  std::int32_t first_block;
  float decay;
};

/// As many pieces as one launch takes, within the 4 KiB of a kernel's arguments.
struct PieceList {
  static constexpr int most = 56;
  DevicePiece pieces[most];
  int count = 0;
  std::int64_t blocks = 0;
};
static_assert(sizeof(PieceList) < 3900);

/// Sums of products name their fused operations, so that an element's bits do not depend on where a piece begins.
__global__ void update(const __grid_constant__ PieceList list, AdamWConstants constants, const AdamWStep* step_values) {
  const AdamWStep step = *step_values;
  if (!step.apply) return;
  const auto block = static_cast<int>(blockIdx.x);
  const DevicePiece& piece = list.pieces[piece_of_block(list.pieces, list.count, block)];
  const std::int64_t begin = static_cast<std::int64_t>(block - piece.first_block) * elements_of_a_block;
  const std::int64_t end = begin + elements_of_a_block < piece.elements ? begin + elements_of_a_block : piece.elements;
#pragma unroll 4
  for (std::int64_t i = begin + threadIdx.x; i < end; i += block_threads) {
    const float g = piece.gradient[i] * step.gradient_scale;
    const float m = fmaf(piece.first_moment[i], constants.beta1, g * (1.0F - constants.beta1));
    const float v = fmaf(piece.second_moment[i], constants.beta2, g * g * (1.0F - constants.beta2));
    const float w = piece.master[i];
    const float direction = m * step.first_correction / (sqrtf(v * step.second_correction) + constants.epsilon);
    const float updated = fmaf(-step.learning_rate, fmaf(piece.decay, w, direction), w);
    piece.first_moment[i] = m;
    piece.second_moment[i] = v;
    piece.master[i] = updated;
    if (piece.weight) store(piece.weight + i, updated);
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
    list.pieces[list.count++] = {.master = piece.master.data<float>(),
                                 .gradient = piece.gradient.data<float>(),
                                 .first_moment = piece.first_moment.data<float>(),
                                 .second_moment = piece.second_moment.data<float>(),
                                 .weight = device_data<__nv_bfloat16>(piece.weight),
                                 .elements = n,
                                 .first_block = static_cast<std::int32_t>(list.blocks),
                                 .decay = piece.decay ? constants.weight_decay : 0.0F};
    list.blocks += parts_of(n, elements_of_a_block);
    ensure(list.blocks <= std::numeric_limits<std::int32_t>::max(), "adamw: too many elements for one launch");
  }
  launch(queue, list, constants, step);
}

}  // namespace penstock::ops

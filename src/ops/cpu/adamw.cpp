// SPDX-License-Identifier: Apache-2.0
#include "ops/adamw.hpp"

#include "ops/cpu/parallel.hpp"
#include "ops/cpu/width.hpp"

namespace penstock::ops::PENSTOCK_WIDTH {
namespace {

/// beta * moment + (1 - beta) * news
PENSTOCK_INLINE Floats decayed(Floats moment, const MomentDecay& beta, Floats news) {
  return moment * beta.factor + (moment * beta.rest + news * beta.complement);
}

/// Elements [begin, end) of one piece.
template <typename Gradient, typename Addend>
void update(const AdamWConstants& constants, const AdamWStep& step, const AdamWPiece& piece, Piece range) {
  float* master = piece.master.data<float>() + range.begin;
  const Gradient* gradient = piece.gradient.data<Gradient>() + range.begin;
  const Addend* addend = piece.addend.present() ? piece.addend.data<Addend>() + range.begin : nullptr;
  float* first_moment = piece.first_moment.data<float>() + range.begin;
  float* second_moment = piece.second_moment.data<float>() + range.begin;
  bfloat16* weight = piece.weight.present() ? piece.weight.data<bfloat16>() + range.begin : nullptr;
  const float decay = piece.decay ? constants.weight_decay : 0.0F;
  for_vectors(range.end - range.begin, [&](std::int64_t i, auto part) {
    Floats g = load(gradient + i, part);
    if (addend) g += load(addend + i, part);
    g *= step.gradient_scale;
    const Floats m = decayed(load(first_moment + i, part), constants.beta1, g);
    const Floats v = decayed(load(second_moment + i, part), constants.beta2, g * g);
    const Floats w = load(master + i, part);
    const Floats direction = m * step.first_correction / (square_root(v * step.second_correction) + constants.epsilon);
    const Floats updated = w - step.learning_rate * (direction + decay * w);
    store(first_moment + i, m, part);
    store(second_moment + i, v, part);
    store(master + i, updated, part);
    if (weight) store(weight + i, updated, part);
  });
}

}  // namespace

void adamw(Queue& queue, const AdamWConstants& constants, const AdamWStep* step, std::span<const AdamWPiece> pieces) {
  if (!step->apply) return;
  constexpr std::int64_t elements_at_once = 16384;
#pragma omp parallel num_threads(queue.threads())
  for (const AdamWPiece& piece : pieces) {  // no wait between pieces: no element belongs to two of them
    const std::int64_t n = piece.master.elements();
#pragma omp for schedule(dynamic) nowait
    for (std::int64_t first = 0; first < n; first += elements_at_once)
      with_type(piece.gradient.type(), [&]<typename Gradient>(Gradient) {
        with_type(piece.addend.type(), [&]<typename Addend>(Addend) {
          update<Gradient, Addend>(constants, *step, piece, {first, std::min(n, first + elements_at_once)});
        });
      });
  }
}

}  // namespace penstock::ops::PENSTOCK_WIDTH

PENSTOCK_FUNCTION(void, adamw,
                  (Queue & queue, const AdamWConstants& constants, const AdamWStep* step,
                   std::span<const AdamWPiece> pieces),
                  (queue, constants, step, pieces))

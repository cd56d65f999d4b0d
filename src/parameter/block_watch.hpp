// SPDX-License-Identifier: Apache-2.0
#pragma once
// BlockWatch: whoever moves parameters between ranks follows the computing block by block.

namespace penstock {

/// Told while a stage walks its blocks, in the order of the queue's work: before what reads a block's weights for the
/// first time in a step, and behind what makes its gradients whole. What it enqueues on lanes of their own runs beside
/// the computing of other blocks.
class BlockWatch {
 public:
  virtual ~BlockWatch() = default;
  virtual void before_weights(int block) = 0;
  virtual void behind_gradients(int block) = 0;
};

}  // namespace penstock

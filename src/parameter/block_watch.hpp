// SPDX-License-Identifier: Apache-2.0
#pragma once
// BlockWatch: lets the code that moves parameters between ranks follow the computing block by block.

namespace penstock {

/// Called while a stage walks its blocks, in the order of the queue's work: before a block's weights are read for the
/// first time in a step, and after its gradients are complete. Work that it enqueues on other lanes overlaps the
/// computing of other blocks.
class BlockWatch {
 public:
  virtual ~BlockWatch() = default;
  virtual void before_weights(int block) = 0;
  virtual void behind_gradients(int block) = 0;
};

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once
// The parts of a CUDA queue: its stream, the handles and plans of the libraries, and the workspace.

#include <cuda_runtime_api.h>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>

#include "device/check.hpp"
#include "device/memory.hpp"
#include "device/queue.hpp"

namespace penstock {

/// Everything that a library's plan depends on, as numbers; the first one is a PlanKind.
using PlanKey = std::array<std::int64_t, 10>;

/// The first number of a PlanKey: each kind of handle and plan has one of its own.
enum PlanKind : std::int64_t {
  cublas_handle = 1,
  cublas_product,
  chosen_product_way,
  cudnn_handle,
  cudnn_attention,
  cudnn_attention_gradient
};

struct PlanKeyHash {
  std::size_t operator()(const PlanKey& key) const {
    std::uint64_t hash = 14695981039346656037ULL;
    for (const std::int64_t value : key) hash = (hash ^ static_cast<std::uint64_t>(value)) * 1099511628211ULL;
    return static_cast<std::size_t>(hash ^ (hash >> 32));
  }
};

struct Queue::Backend {
  int threads = 1;
  HostWait wait;
  cudaStream_t stream = nullptr;
  cudaStream_t copies = nullptr;  ///< to the host, in parallel to the stream
  std::span<std::byte> workspace;
  DeviceMemory own_workspace;          ///< if no memory was lent, or too little
  std::uint64_t workspace_number = 0;  ///< changes with the workspace: a recording contains its address
  bool records = true;
  /// Handles and plans of libraries; the operation that made one knows its type.
  std::unordered_map<PlanKey, std::shared_ptr<void>, PlanKeyHash> plans;

  /// Called while the host waits, by owner. Each throws if what it watches has failed in the background.
  std::map<const void*, std::function<void()>> watchers;

  ~Backend() {
    plans.clear();
    if (copies) cudaStreamDestroy(copies);
    if (stream) cudaStreamDestroy(stream);
  }
};

/// The host waits until `done`, and meanwhile checks whether something has failed in the background.
void wait_on_device(Queue& queue, const std::function<bool()>& done, std::string_view what,
                    const std::function<std::uint64_t()>& progress);

/// The stream of a queue's operations, and the one for copies in parallel.
inline cudaStream_t stream_of(Queue& queue) { return queue.backend().stream; }
inline cudaStream_t copy_stream_of(Queue& queue) { return queue.backend().copies; }

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once
// The parts of a CPU queue: oneDNN's engine and stream, the primitives made so far, and the workspace.

#include <array>
#include <cstdint>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <span>
#include <unordered_map>

#include "device/memory.hpp"
#include "device/queue.hpp"

namespace penstock {

/// Everything that a compiled primitive depends on, as numbers; the first one says which operation it belongs to.
using PrimitiveKey = std::array<std::int64_t, 8>;

struct PrimitiveKeyHash {
  std::size_t operator()(const PrimitiveKey& key) const {
    std::uint64_t hash = 14695981039346656037ULL;
    for (const std::int64_t value : key) hash = (hash ^ static_cast<std::uint64_t>(value)) * 1099511628211ULL;
    return static_cast<std::size_t>(hash ^ (hash >> 32));
  }
};

struct Queue::Backend {
  int threads = 1;
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::span<std::byte> workspace;
  DeviceMemory own_workspace;  ///< if no memory was lent, or too little
  /// Compiled primitives; the operation that made one knows its type.
  std::unordered_map<PrimitiveKey, std::shared_ptr<void>, PrimitiveKeyHash> primitives;
};

}  // namespace penstock

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Memory is planned before it is taken: the code that builds a model on a planning arena (which only counts bytes)
// builds it on a real one, too. So `penstock check` predicts what a rank holds.

#include <array>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "device/memory.hpp"
#include "tensor/tensor_view.hpp"

namespace penstock {

/// The use of memory; the columns of the memory plan.
enum class MemoryUse { parameters, gradients, optimizer, activations, buffers, workspace };
inline constexpr int memory_uses = 6;
std::string_view name_of(MemoryUse use);

/// Bytes by use; activations also by the part of a block that keeps them.
struct MemoryPlan {
  std::array<std::size_t, memory_uses> bytes{};
  std::map<std::string, std::size_t> activations;  ///< "attention", "mlp", "outside" (between them), "head", ...

  std::size_t of(MemoryUse use) const { return bytes[static_cast<std::size_t>(use)]; }
  std::size_t total() const;
};

/// Hands out tensors from one block of device memory, each aligned to 256 bytes; nothing is returned to it. Move-only.
class Arena {
 public:
  /// An arena that only counts: its tensors have shapes and no data.
  Arena() = default;
  /// An arena over `bytes` of zeroed device memory.
  explicit Arena(std::size_t bytes) : Arena(DeviceMemory(bytes)) {}
  /// The same over existing memory, whatever its contents.
  explicit Arena(DeviceMemory memory)
      : memory_(std::move(memory)), first_(memory_.data()), bytes_(memory_.bytes()), real_(true) {}
  /// The same over lent memory, which must outlive the tensors taken.
  explicit Arena(TensorView lent) : first_(static_cast<std::byte*>(lent.raw())), bytes_(lent.bytes()), real_(true) {}

  /// A tensor of this use. `part` names the share of the activations it belongs to; empty for the other uses.
  /// Throws LogicError if a real arena is exhausted: then the plan was wrong.
  TensorView take(MemoryUse use, DType type, const Shape& shape, std::string_view part = {});

  const MemoryPlan& plan() const { return plan_; }
  /// Bytes that a real arena needs for everything taken so far.
  std::size_t bytes_taken() const { return taken_; }
  /// Everything taken since that number of bytes, as one piece; without data on a planning arena.
  TensorView taken_since(std::size_t bytes) const;

 private:
  DeviceMemory memory_;  ///< none if the memory is lent
  std::byte* first_ = nullptr;
  std::size_t bytes_ = 0;
  bool real_ = false;
  std::size_t taken_ = 0;
  MemoryPlan plan_;
};

/// Owns one tensor; for tests and for buffers that live outside the plan.
class Tensor {
 public:
  Tensor() = default;
  Tensor(DType type, const Shape& shape)
      : memory_(static_cast<std::size_t>(shape.elements()) * bytes_of(type)), type_(type), shape_(shape) {}
  TensorView view() const { return {memory_.data(), type_, shape_}; }

 private:
  DeviceMemory memory_;
  DType type_ = DType::float32;
  Shape shape_;
};

}  // namespace penstock

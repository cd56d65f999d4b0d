// SPDX-License-Identifier: Apache-2.0
#include "ops/finished_products.hpp"

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <memory>

#include "device/backend.hpp"
#include "device/check.hpp"
#include "ops/gelu.cuh"
#include "ops/kernel.cuh"
#include "ops/linear_products.hpp"

namespace penstock::ops {
namespace {

/// Neighbours that a thread loads and stores together.
template <typename T, int count>
struct alignas(std::min<std::size_t>(sizeof(T) * count, 16)) Pack {
  T values[count];
};

constexpr std::int64_t rows_of_a_block = 8;

/// u += bias if there is a bias; y = gelu(u), with u as stored, if there is a y.
template <int count, typename T>
__global__ void __launch_bounds__(block_threads)
    finish_rows(T* u, const float* bias, T* y, std::int64_t rows, std::int64_t columns) {
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.y) * block_threads + threadIdx.x) * count;
  if (column >= columns) return;
  float offsets[count] = {};
  if (bias)
    for (int i = 0; i < count; ++i) offsets[i] = bias[column + i];
  const std::int64_t first = blockIdx.x * rows_of_a_block;
  const std::int64_t end = min(first + rows_of_a_block, rows);
  for (std::int64_t row = first; row < end; ++row) {
    const std::int64_t place = row * columns + column;
    auto pack = *reinterpret_cast<const Pack<T, count>*>(u + place);
    for (int i = 0; i < count; ++i) store(&pack.values[i], load(&pack.values[i]) + offsets[i]);
    if (bias) *reinterpret_cast<Pack<T, count>*>(u + place) = pack;
    if (!y) continue;
    Pack<T, count> activated;
    for (int i = 0; i < count; ++i) store(&activated.values[i], gelu(load(&pack.values[i])));
    *reinterpret_cast<Pack<T, count>*>(y + place) = activated;
  }
}

/// dx = product * gelu'(u); either may be dx, because a thread reads its own elements before it writes them.
template <int count, typename T>
__global__ void __launch_bounds__(block_threads)
    multiply_by_gelu_slope(const T* product, const T* u, T* dx, std::int64_t elements) {
  const std::int64_t place = (static_cast<std::int64_t>(blockIdx.x) * block_threads + threadIdx.x) * count;
  if (place >= elements) return;
  const auto factors = *reinterpret_cast<const Pack<T, count>*>(product + place);
  const auto inputs = *reinterpret_cast<const Pack<T, count>*>(u + place);
  Pack<T, count> results;
  for (int i = 0; i < count; ++i)
    store(&results.values[i], load(&factors.values[i]) * gelu_slope(load(&inputs.values[i])));
  *reinterpret_cast<Pack<T, count>*>(dx + place) = results;
}

constexpr int neighbours = eight;

/// Whether threads may take 8 neighbours at once, in loads of 16 bytes.
bool allows_packs(std::int64_t columns, std::initializer_list<const void*> addresses) {
  return columns % neighbours == 0 &&
         std::all_of(addresses.begin(), addresses.end(), [](const void* p) { return alignment_of(p) >= 16; });
}

/// Adds the bias to u, and writes gelu(u) to y, as far as these are present.
void finish(Queue& queue, const Product& product, void* u, const float* bias, void* y) {
  const std::int64_t rows = product.n, columns = product.m;
  const bool packed = allows_packs(columns, {u, y});
  const dim3 grid =
      grid_of_blocks(parts_of(rows, rows_of_a_block),
                     parts_of(columns, static_cast<std::int64_t>(block_threads) * (packed ? neighbours : 1)));
  with_device_type(product.result, [&]<typename T>(T) {
    const auto kernel = packed ? finish_rows<neighbours, T> : finish_rows<1, T>;
    kernel<<<grid, block_threads, 0, stream_of(queue)>>>(static_cast<T*>(u), bias, static_cast<T*>(y), rows, columns);
    check_launch();
  });
}

/// dx = product * gelu'(u), element by element; `landed` is the product.
void apply_gelu_slope(Queue& queue, const Product& product, const void* landed, const void* u, void* dx) {
  const std::int64_t elements = product.m * product.n;
  const bool packed = allows_packs(elements, {landed, u, dx});
  const unsigned grid = grid_of(elements, static_cast<std::int64_t>(block_threads) * (packed ? neighbours : 1));
  with_device_type(product.result, [&]<typename T>(T) {
    const auto kernel = packed ? multiply_by_gelu_slope<neighbours, T> : multiply_by_gelu_slope<1, T>;
    kernel<<<grid, block_threads, 0, stream_of(queue)>>>(static_cast<const T*>(landed), static_cast<const T*>(u),
                                                         static_cast<T*>(dx), elements);
    check_launch();
  });
}

template <typename T>
__global__ void __launch_bounds__(block_threads) copy_bias(const float* from, T* to, std::int64_t n) {
  const std::int64_t i = grid_thread();
  if (i < n) store(to + i, from[i]);
}

/// cuBLASLt takes a bias of D's type, with the alignment for which the plan was made.
void take_bias(Queue& queue, const Product& product, const float* from, std::byte* to) {
  with_device_type(product.result, [&]<typename T>(T) {
    copy_bias<T><<<grid_of(product.m), block_threads, 0, stream_of(queue)>>>(from, reinterpret_cast<T*>(to), product.m);
    check_launch();
  });
}

/// Bytes of the queue's workspace before the library's own: for a bias, or, if D replaces the pre-activation, for the
/// product or a copy of the pre-activation.
std::size_t landing_bytes(const Product& product, bool in_place) {
  if (in_place) return rounded_to_256(static_cast<std::size_t>(product.m * product.n) * bytes_of(product.result));
  if (has_bias(product.epilogue)) return rounded_to_256(static_cast<std::size_t>(product.m) * sizeof(float));
  return 0;
}

bool is_in_place(const Product& product, const FinishedOperands& operands) {
  return product.epilogue == Epilogue::slope && operands.pre_activation == operands.d;
}

bool enqueue_separate(Queue& queue, const Product& product, const FinishedOperands& operands, ProductPlan& plan) {
  const bool in_place = is_in_place(product, operands);
  const std::size_t landing = landing_bytes(product, in_place);
  std::byte* workspace = queue.workspace(landing + workspace_bytes(plan));
  const bool activate = activates(product.epilogue);
  void* first_result = in_place ? workspace : activate ? operands.pre_activation : operands.d;
  if (!multiply(queue, plan, product_of(product, Variant::separate), {operands.a, operands.b, first_result},
                workspace + landing))
    return false;
  if (product.epilogue == Epilogue::slope)
    apply_gelu_slope(queue, product, first_result, operands.pre_activation, operands.d);
  else if (product.epilogue != Epilogue::none)
    finish(queue, product, first_result, has_bias(product.epilogue) ? operands.bias : nullptr,
           activate ? operands.d : nullptr);
  return true;
}

bool enqueue_fused(Queue& queue, const Product& product, const FinishedOperands& operands, ProductPlan& plan) {
  const bool in_place = is_in_place(product, operands);
  const std::size_t landing = landing_bytes(product, in_place);
  std::byte* workspace = queue.workspace(landing + workspace_bytes(plan));
  Operands given{operands.a, operands.b, operands.d, nullptr, operands.pre_activation};
  if (has_bias(product.epilogue)) {
    take_bias(queue, product, operands.bias, workspace);
    given.bias = workspace;
  }
  if (in_place) {
    // The library promises nothing if an epilogue's input is overwritten.
    const std::size_t bytes = static_cast<std::size_t>(product.m * product.n) * bytes_of(product.result);
    check_cuda(cudaMemcpyAsync(workspace, operands.d, bytes, cudaMemcpyDefault, stream_of(queue)));
    given.pre_activation = workspace;
  }
  return multiply(queue, plan, product, given, workspace + landing);
}

PlanKey key_of_way(const Product& product) {
  return {chosen_product_way,
          product.m,
          product.n,
          product.k,
          product.transpose_a + 2 * product.transpose_b + 4 * product.accumulate,
          static_cast<std::int64_t>(product.type),
          static_cast<std::int64_t>(product.result),
          static_cast<std::int64_t>(product.epilogue)};
}

const ProductWay* way_of(Queue& queue, const Product& product) {
  const auto found = queue.backend().plans.find(key_of_way(product));
  return found == queue.backend().plans.end() ? nullptr : static_cast<const ProductWay*>(found->second.get());
}

bool lie_as_chosen(const FinishedOperands& operands) {
  for (const void* place : {operands.a, operands.b, static_cast<const void*>(operands.d),
                            static_cast<const void*>(operands.pre_activation)})
    if (alignment_of(place) < arena_alignment) return false;
  return true;
}

std::string text_of(const Product& product) {
  return "m " + std::to_string(product.m) + ", n " + std::to_string(product.n) + ", k " + std::to_string(product.k) +
         ", " + std::string(name_of(product.type)) + " to " + std::string(name_of(product.result)) + ", epilogue " +
         std::to_string(static_cast<int>(product.epilogue));
}

}  // namespace

bool may_be_fused(const Product& product) {
  if (product.epilogue == Epilogue::none || product.accumulate) return false;
  if (!has_gelu(product.epilogue)) return true;
  return product.type == DType::bfloat16 && product.result == DType::bfloat16 && product.m % 8 == 0;
}

Product product_of(const Product& product, Variant variant) {
  if (variant == Variant::fused) return product;
  Product plain = product;
  plain.epilogue = Epilogue::none;
  return plain;
}

std::size_t finished_product_workspace(const Product& product, bool in_place) {
  return product.m * product.n == 0 ? 0 : landing_bytes(product, in_place) + most_product_workspace;
}

bool enqueue(Queue& queue, const Product& product, const FinishedOperands& operands, Variant variant,
             ProductPlan& plan) {
  return variant == Variant::fused ? enqueue_fused(queue, product, operands, plan)
                                   : enqueue_separate(queue, product, operands, plan);
}

void multiply_and_finish(Queue& queue, const Product& product, const FinishedOperands& operands) {
  const ProductWay* way = lie_as_chosen(operands) ? way_of(queue, product) : nullptr;
  if (way) {
    if (!enqueue(queue, product, operands, way->variant, *way->plan))
      throw SystemError("cuBLASLt " + std::to_string(library_version()) + " does not make the product " +
                        text_of(product) + ", " + (way->variant == Variant::fused ? "fused" : "separate") +
                        ", with the algorithm that was chosen for it: " + refusal_of(*way->plan) +
                        "; where it says so at every start, delete the run's file of choices: they are measured again "
                        "then, and bits may change");
    return;
  }
  const void* first_result = is_in_place(product, operands) ? nullptr  // the workspace, with the best alignment
                             : activates(product.epilogue)  ? operands.pre_activation
                                                            : operands.d;
  ProductPlan& plan = plan_of(queue, product_of(product, Variant::separate),
                              {alignment_of(operands.a), alignment_of(operands.b), alignment_of(first_result)});
  enqueue(queue, product, operands, Variant::separate, plan);
}

void prepare_product(Queue& queue, const Product& product) {
  if (product.m * product.n == 0 || way_of(queue, product)) return;
  plan_of(queue, product_of(product, Variant::separate), {arena_alignment, arena_alignment, arena_alignment});
}

void choose_way(Queue& queue, const Product& product, const ProductWay& way) {
  queue.backend().plans[key_of_way(product)] = std::make_shared<ProductWay>(way);
}

void forget_ways(Queue& queue) {
  std::erase_if(queue.backend().plans, [](const auto& entry) { return entry.first[0] == chosen_product_way; });
}

}  // namespace penstock::ops

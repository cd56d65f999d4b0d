#include "ops/products.hpp"

#include <cublasLt.h>

#include <memory>
#include <source_location>
#include <string>
#include <utility>

#include "device/backend.hpp"
#include "device/check.hpp"
#include "ops/kernel.cuh"

namespace penstock::ops {

/// How cuBLASLt makes one product; without an algorithm the kernel `multiply_tiles` makes it.
struct ProductPlan {
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, d = nullptr;
  cublasLtMatmulAlgo_t algorithm{};
  std::size_t workspace_bytes = 0;
  bool has_algorithm = false;

  ProductPlan() = default;
  ProductPlan(const ProductPlan&) = delete;
  ProductPlan& operator=(const ProductPlan&) = delete;
  ~ProductPlan() {
    if (d) cublasLtMatrixLayoutDestroy(d);
    if (b) cublasLtMatrixLayoutDestroy(b);
    if (a) cublasLtMatrixLayoutDestroy(a);
    if (operation) cublasLtMatmulDescDestroy(operation);
  }
};

namespace {

void check_cublas(cublasStatus_t status, std::source_location where = std::source_location::current()) {
  if (status != CUBLAS_STATUS_SUCCESS) [[unlikely]]
    throw SystemError(std::string(where.file_name()) + ":" + std::to_string(where.line()) +
                      ": cuBLASLt: " + cublasLtGetStatusString(status));
}

/// First numbers of this file's keys in the queue's plans.
enum PlanKind : std::int64_t { cublas_handle = 1, cublas_product = 2 };

/// More than any of cuBLASLt's kernels asks for on today's devices.
constexpr std::size_t most_product_workspace = std::size_t{32} << 20;

cublasLtHandle_t handle_of(Queue& queue) {
  std::shared_ptr<void>& place = queue.backend().plans[PlanKey{cublas_handle}];
  if (!place) {
    cublasLtHandle_t handle = nullptr;
    check_cublas(cublasLtCreate(&handle));
    place.reset(static_cast<void*>(handle), [](void* p) { cublasLtDestroy(static_cast<cublasLtHandle_t>(p)); });
  }
  return static_cast<cublasLtHandle_t>(place.get());
}

cudaDataType_t cuda_type(DType type) { return type == DType::float32 ? CUDA_R_32F : CUDA_R_16BF; }

cublasLtMatrixLayout_t make_layout(DType type, std::int64_t rows, std::int64_t columns, bool transposed) {
  if (transposed) std::swap(rows, columns);
  cublasLtMatrixLayout_t layout = nullptr;
  check_cublas(cublasLtMatrixLayoutCreate(&layout, cuda_type(type), static_cast<std::uint64_t>(rows),
                                          static_cast<std::uint64_t>(columns), rows));
  return layout;
}

void set_transpose(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t which, bool transposed) {
  const cublasOperation_t value = transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
  check_cublas(cublasLtMatmulDescSetAttribute(operation, which, &value, sizeof value));
}

template <typename Value>
void set_preference(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t which, Value value) {
  check_cublas(cublasLtMatmulPreferenceSetAttribute(preference, which, &value, sizeof value));
}

/// Takes the first of the heuristic's algorithms: a choice by measuring would differ from one run to the next.
void choose_algorithm(cublasLtHandle_t handle, const Alignments& alignments, ProductPlan& plan) {
  cublasLtMatmulPreference_t preference = nullptr;
  check_cublas(cublasLtMatmulPreferenceCreate(&preference));
  const std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, cublasStatus_t (*)(cublasLtMatmulPreference_t)> owner(
      preference, &cublasLtMatmulPreferenceDestroy);
  set_preference(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, most_product_workspace);
  // Pieces of a split K are added in their order, in float32; "in place" would add them in the order they finish in.
  set_preference(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                 static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set_preference(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignments[0]);
  set_preference(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignments[1]);
  set_preference(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignments[2]);
  set_preference(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignments[2]);

  std::array<cublasLtMatmulHeuristicResult_t, 8> candidates{};
  int found = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(handle, plan.operation, plan.a, plan.b, plan.d, plan.d, preference,
                                     static_cast<int>(candidates.size()), candidates.data(), &found);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) return;
  check_cublas(status);
  for (int i = 0; i < found; ++i) {
    const cublasLtMatmulHeuristicResult_t& candidate = candidates[static_cast<std::size_t>(i)];
    if (candidate.state != CUBLAS_STATUS_SUCCESS || candidate.workspaceSize > most_product_workspace) continue;
    plan.algorithm = candidate.algo;
    plan.workspace_bytes = candidate.workspaceSize;
    plan.has_algorithm = true;
    return;
  }
}

std::shared_ptr<ProductPlan> make_plan(Queue& queue, const Product& product, const Alignments& alignments) {
  auto plan = std::make_shared<ProductPlan>();
  if (product.k == 0) return plan;  // an empty sum
  // COMPUTE_32F: float32 products stay float32 (no TF32), bfloat16 ones are added in float32.
  check_cublas(cublasLtMatmulDescCreate(&plan->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  set_transpose(plan->operation, CUBLASLT_MATMUL_DESC_TRANSA, product.transpose_a);
  set_transpose(plan->operation, CUBLASLT_MATMUL_DESC_TRANSB, product.transpose_b);
  plan->a = make_layout(product.type, product.m, product.k, product.transpose_a);
  plan->b = make_layout(product.type, product.k, product.n, product.transpose_b);
  plan->d = make_layout(product.result, product.m, product.n, false);
  choose_algorithm(handle_of(queue), alignments, *plan);
  return plan;
}

constexpr int tile = 32;
constexpr int tile_lines = 8;  ///< lines of threads that work on a tile

/// Products that cuBLASLt has no algorithm for (bfloat16 at odd places). A block makes 32 x 32 of D; a thread 4 of
/// them.
template <typename T, typename Result>
__global__ void __launch_bounds__(tile* tile_lines)
    multiply_tiles(const T* a, const T* b, Result* d, Product product, std::int64_t tiles_m) {
  __shared__ float a_tile[tile][tile + 1];  // [step, row of D]
  __shared__ float b_tile[tile][tile + 1];  // [step, column of D]
  const std::int64_t first_i = blockIdx.x % tiles_m * tile;
  const std::int64_t first_j = blockIdx.x / tiles_m * tile;
  const int x = static_cast<int>(threadIdx.x);
  float sums[tile / tile_lines] = {};

  for (std::int64_t first_l = 0; first_l < product.k; first_l += tile) {
    for (int y = static_cast<int>(threadIdx.y); y < tile; y += tile_lines) {
      // Neighbouring threads read neighbours in memory, whichever way round that is.
      const int a_i = product.transpose_a ? y : x, a_l = product.transpose_a ? x : y;
      const std::int64_t i = first_i + a_i, l = first_l + a_l;
      const bool a_inside = i < product.m && l < product.k;
      a_tile[a_l][a_i] = a_inside ? load(a + (product.transpose_a ? i * product.k + l : l * product.m + i)) : 0.0F;
      const int b_j = product.transpose_b ? x : y, b_l = product.transpose_b ? y : x;
      const std::int64_t j = first_j + b_j, s = first_l + b_l;
      const bool b_inside = j < product.n && s < product.k;
      b_tile[b_l][b_j] = b_inside ? load(b + (product.transpose_b ? s * product.n + j : j * product.k + s)) : 0.0F;
    }
    __syncthreads();
    for (int l = 0; l < tile; ++l)
      for (int part = 0; part < tile / tile_lines; ++part)
        sums[part] += a_tile[l][x] * b_tile[l][static_cast<int>(threadIdx.y) + part * tile_lines];
    __syncthreads();
  }
  for (int part = 0; part < tile / tile_lines; ++part) {
    const std::int64_t i = first_i + x, j = first_j + threadIdx.y + part * tile_lines;
    if (i >= product.m || j >= product.n) continue;
    Result* to = d + j * product.m + i;
    store(to, product.accumulate ? load(to) + sums[part] : sums[part]);
  }
}

void multiply_by_tiles(Queue& queue, const Product& product, const Operands& operands) {
  const std::int64_t tiles_m = parts_of(product.m, tile), tiles_n = parts_of(product.n, tile);
  with_device_type(product.type, [&]<typename T>(T) {
    with_device_type(product.result, [&]<typename Result>(Result) {
      multiply_tiles<T, Result><<<grid_of(tiles_m * tiles_n, 1), dim3(tile, tile_lines), 0, stream_of(queue)>>>(
          static_cast<const T*>(operands.a), static_cast<const T*>(operands.b), static_cast<Result*>(operands.d),
          product, tiles_m);
      check_launch();
    });
  });
}

}  // namespace

ProductPlan& plan_of(Queue& queue, const Product& product, const Alignments& alignments) {
  const PlanKey key{cublas_product,
                    product.m,
                    product.n,
                    product.k,
                    product.transpose_a + 2 * product.transpose_b + 4 * product.accumulate,
                    static_cast<std::int64_t>(product.type),
                    static_cast<std::int64_t>(product.result),
                    alignments[0],
                    alignments[1],
                    alignments[2]};
  auto found = queue.backend().plans.find(key);
  if (found == queue.backend().plans.end())
    found = queue.backend().plans.emplace(key, make_plan(queue, product, alignments)).first;
  return *static_cast<ProductPlan*>(found->second.get());
}

std::size_t workspace_bytes(const ProductPlan& plan) { return plan.workspace_bytes; }

void multiply(Queue& queue, ProductPlan& plan, const Product& product, const Operands& operands, std::byte* workspace) {
  if (plan.has_algorithm) {
    const float alpha = 1, beta = product.accumulate ? 1 : 0;
    const cublasStatus_t status = cublasLtMatmul(handle_of(queue), plan.operation, &alpha, operands.a, plan.a,
                                                 operands.b, plan.b, &beta, operands.d, plan.d, operands.d, plan.d,
                                                 &plan.algorithm, workspace, plan.workspace_bytes, stream_of(queue));
    if (status == CUBLAS_STATUS_SUCCESS) return;
    if (status != CUBLAS_STATUS_NOT_SUPPORTED) check_cublas(status);
    plan.has_algorithm = false;  // the heuristic promised too much; it will do so on a restart too
  }
  multiply_by_tiles(queue, product, operands);
}

}  // namespace penstock::ops

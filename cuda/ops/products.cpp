// SPDX-License-Identifier: Apache-2.0
#include "ops/products.hpp"

#include <cublasLt.h>

#include <cstring>
#include <memory>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

#include "device/backend.hpp"
#include "device/check.hpp"
#include "ops/multiply_tiles.hpp"

namespace penstock::ops {

static_assert(sizeof(Algorithm) == sizeof(cublasLtMatmulAlgo_t));

/// How cuBLASLt computes one product; without an algorithm the kernel `multiply_tiles` does it.
struct ProductPlan {
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, d = nullptr;
  cublasLtMatmulAlgo_t algorithm{};
  std::size_t workspace_bytes = 0;
  bool has_epilogue = false;
  bool has_algorithm = false;
  bool given = false;   ///< by the caller, not by the heuristic
  std::string refusal;  ///< of a given algorithm

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
    throw SystemError(
        fmt::format("{}:{}: cuBLASLt: {}", where.file_name(), where.line(), cublasLtGetStatusString(status)));
}

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

/// Before they are read, only the alignment of an epilogue's operands matters to cuBLASLt.
const void* some_place(std::uint32_t alignment) {
  return reinterpret_cast<const void*>(static_cast<std::uintptr_t>(alignment));
}

void set_pointer(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t which, const void* pointer) {
  check_cublas(cublasLtMatmulDescSetAttribute(operation, which, &pointer, sizeof pointer));
}

cublasLtEpilogue_t cublas_epilogue(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::none:
      return CUBLASLT_EPILOGUE_DEFAULT;
    case Epilogue::bias:
      return CUBLASLT_EPILOGUE_BIAS;
    case Epilogue::gelu:
      return CUBLASLT_EPILOGUE_GELU_AUX;
    case Epilogue::bias_gelu:
      return CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
    case Epilogue::slope:
      return CUBLASLT_EPILOGUE_DGELU;
  }
  throw_logic_error("an epilogue that cuBLASLt does not know", std::source_location::current());
}

/// The bias has the type of D, and so has the pre-activation, whose rows are as long as D's.
void set_epilogue(cublasLtMatmulDesc_t operation, const Product& product) {
  if (product.epilogue == Epilogue::none) return;
  const cublasLtEpilogue_t epilogue = cublas_epilogue(product.epilogue);
  check_cublas(cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
  if (has_bias(product.epilogue))
    set_pointer(operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, some_place(arena_alignment));
  if (!has_gelu(product.epilogue)) return;
  set_pointer(operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, some_place(arena_alignment));
  check_cublas(
      cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &product.m, sizeof product.m));
}

/// A plan that has no algorithm yet.
std::shared_ptr<ProductPlan> describe(const Product& product) {
  auto plan = std::make_shared<ProductPlan>();
  // COMPUTE_32F: float32 products stay float32 (no TF32), bfloat16 ones are added in float32.
  check_cublas(cublasLtMatmulDescCreate(&plan->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  set_transpose(plan->operation, CUBLASLT_MATMUL_DESC_TRANSA, product.transpose_a);
  set_transpose(plan->operation, CUBLASLT_MATMUL_DESC_TRANSB, product.transpose_b);
  set_epilogue(plan->operation, product);
  plan->has_epilogue = product.epilogue != Epilogue::none;
  plan->a = make_layout(product.type, product.m, product.k, product.transpose_a);
  plan->b = make_layout(product.type, product.k, product.n, product.transpose_b);
  plan->d = make_layout(product.result, product.m, product.n, false);
  return plan;
}

/// Pieces of a split K are added in order, in float32; "in place" would add them in the order in which they finish, and
/// in the type of D.
constexpr std::uint32_t allowed_schemes = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;

using Preference = std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, cublasStatus_t (*)(cublasLtMatmulPreference_t)>;

Preference make_preference(const Alignments& alignments) {
  cublasLtMatmulPreference_t made = nullptr;
  check_cublas(cublasLtMatmulPreferenceCreate(&made));
  Preference preference(made, &cublasLtMatmulPreferenceDestroy);
  set_preference(made, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, most_product_workspace);
  set_preference(made, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, allowed_schemes);
  set_preference(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignments[0]);
  set_preference(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignments[1]);
  set_preference(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignments[2]);
  set_preference(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignments[2]);
  return preference;
}

/// Whether cuBLASLt returned that the algorithm does not support the product.
bool refuses(cublasStatus_t status) {
  return status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE ||
         status == CUBLAS_STATUS_ARCH_MISMATCH;
}

/// The heuristic's algorithms, at most `count`, the most promising first.
std::vector<cublasLtMatmulHeuristicResult_t> ask_heuristic(cublasLtHandle_t handle, const ProductPlan& plan,
                                                           const Alignments& alignments, int count) {
  std::vector<cublasLtMatmulHeuristicResult_t> candidates(static_cast<std::size_t>(count));
  int found = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(handle, plan.operation, plan.a, plan.b, plan.d, plan.d,
                                     make_preference(alignments).get(), count, candidates.data(), &found);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || (plan.has_epilogue && refuses(status))) return {};
  check_cublas(status);
  candidates.resize(static_cast<std::size_t>(found));
  std::erase_if(candidates, [](const cublasLtMatmulHeuristicResult_t& candidate) {
    return candidate.state != CUBLAS_STATUS_SUCCESS || candidate.workspaceSize > most_product_workspace;
  });
  return candidates;
}

void take_algorithm(const cublasLtMatmulAlgo_t& algorithm, std::size_t workspace, ProductPlan& plan) {
  plan.algorithm = algorithm;
  plan.workspace_bytes = workspace;
  plan.has_algorithm = true;
}

/// Uses the heuristic's first algorithm: a measured choice here would differ from one run to the next.
std::shared_ptr<ProductPlan> make_plan(Queue& queue, const Product& product, const Alignments& alignments) {
  if (product.k == 0) return std::make_shared<ProductPlan>();  // an empty sum
  std::shared_ptr<ProductPlan> plan = describe(product);
  const auto candidates = ask_heuristic(handle_of(queue), *plan, alignments, 8);
  if (!candidates.empty()) take_algorithm(candidates.front().algo, candidates.front().workspaceSize, *plan);
  return plan;
}

/// cuBLASLt's reason for refusing an algorithm. Clears the error of its attempt, so that the next launch does not see
/// it; throws if the device has failed for good.
std::string refusal(Queue& queue, cublasStatus_t status) {
  cudaGetLastError();
  const cudaError_t code = cudaStreamQuery(stream_of(queue));
  if (code == cudaErrorNotReady)
    cudaGetLastError();
  else
    check_cuda(code);
  return cublasLtGetStatusString(status);
}

/// Penstock's own reason to refuse an algorithm that cuBLASLt accepts; empty: none.
std::string objection_to(const cublasLtMatmulAlgo_t& algorithm, std::size_t workspace) {
  std::uint32_t scheme = 0;
  std::size_t written = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoConfigGetAttribute(&algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME,
                                                                     &scheme, sizeof scheme, &written);
  if (status != CUBLAS_STATUS_SUCCESS)
    return fmt::format("its reduction scheme cannot be read: {}", cublasLtGetStatusString(status));
  if ((scheme & ~allowed_schemes) != 0)
    return fmt::format("its reduction scheme {} adds pieces of a sum as they come, or not in float32; {} and {} do not",
                       scheme, static_cast<int>(CUBLASLT_REDUCTION_SCHEME_NONE),
                       static_cast<int>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  if (workspace > most_product_workspace)
    return fmt::format("it asks for {} bytes of workspace, and {} are the most", workspace, most_product_workspace);
  return {};
}

}  // namespace

ProductPlan& plan_of(Queue& queue, const Product& product, const Alignments& alignments) {
  ensure(product.epilogue == Epilogue::none, "the heuristic's plan of a product is one without an epilogue");
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

std::vector<Algorithm> algorithms_of(Queue& queue, const Product& product, int count) {
  if (product.m == 0 || product.n == 0 || product.k == 0) return {};
  const std::shared_ptr<ProductPlan> plan = describe(product);
  std::vector<Algorithm> algorithms;
  for (const cublasLtMatmulHeuristicResult_t& candidate :
       ask_heuristic(handle_of(queue), *plan, {arena_alignment, arena_alignment, arena_alignment}, count))
    std::memcpy(algorithms.emplace_back().data(), &candidate.algo, sizeof candidate.algo);
  return algorithms;
}

std::shared_ptr<ProductPlan> plan_with(Queue& queue, const Product& product, const Algorithm& algorithm) {
  std::shared_ptr<ProductPlan> plan = describe(product);
  plan->given = true;
  cublasLtMatmulAlgo_t given;
  std::memcpy(&given, algorithm.data(), sizeof given);
  cublasLtMatmulHeuristicResult_t result{};
  const cublasStatus_t status =
      cublasLtMatmulAlgoCheck(handle_of(queue), plan->operation, plan->a, plan->b, plan->d, plan->d, &given, &result);
  plan->refusal = status == CUBLAS_STATUS_SUCCESS ? objection_to(given, result.workspaceSize) : refusal(queue, status);
  if (plan->refusal.empty()) take_algorithm(given, result.workspaceSize, *plan);
  return plan;
}

const std::string& refusal_of(const ProductPlan& plan) { return plan.refusal; }

std::size_t workspace_bytes(const ProductPlan& plan) { return plan.workspace_bytes; }

std::size_t library_version() { return cublasLtGetVersion(); }

bool multiply(Queue& queue, ProductPlan& plan, const Product& product, const Operands& operands, std::byte* workspace) {
  if (plan.given && !plan.has_algorithm) return false;
  if (plan.has_algorithm) {
    if (has_bias(product.epilogue)) set_pointer(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, operands.bias);
    if (has_gelu(product.epilogue))
      set_pointer(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, operands.pre_activation);
    const float alpha = 1, beta = product.accumulate ? 1 : 0;
    const cublasStatus_t status = cublasLtMatmul(handle_of(queue), plan.operation, &alpha, operands.a, plan.a,
                                                 operands.b, plan.b, &beta, operands.d, plan.d, operands.d, plan.d,
                                                 &plan.algorithm, workspace, plan.workspace_bytes, stream_of(queue));
    if (status == CUBLAS_STATUS_SUCCESS) return true;
    std::string said = refusal(queue, status);
    if (plan.given) {
      plan.refusal = std::move(said);
      return false;
    }
    if (status != CUBLAS_STATUS_NOT_SUPPORTED) check_cublas(status);
    plan.has_algorithm = false;  // the heuristic was wrong; it will be so on a restart, too
  }
  multiply_by_tiles(queue, product, operands);
  return true;
}

}  // namespace penstock::ops

// SPDX-License-Identifier: Apache-2.0
#include "ops/attention_cudnn.hpp"

#include <cudnn.h>
#include <cudnn_frontend.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/log.hpp"
#include "device/backend.hpp"
#include "device/check.hpp"

namespace penstock::ops {
namespace {

namespace frontend = cudnn_frontend;
using frontend::graph::Graph;
using Tensor = std::shared_ptr<frontend::graph::Tensor_attributes>;

/// Names of the tensors of both graphs.
enum Name : std::int64_t { q = 1, k, v, out, log_sum_exp, dout, dq, dk, dv };

// ---- Errors ---------------------------------------------------------------------------------------------------------

void check_cudnn(cudnnStatus_t status, std::source_location where = std::source_location::current()) {
  if (status == CUDNN_STATUS_SUCCESS) [[likely]]
    return;
  char more[512] = "";
  cudnnGetLastErrorString(more, sizeof more);
  throw SystemError(fmt::format(
      "{}:{}: cuDNN {}: {} {}; is all of cuDNN where the program finds it (LD_LIBRARY_PATH), of one version? A program "
      "built with -DPENSTOCK_CUDNN=OFF does without it",
      where.file_name(), where.line(), cudnnGetVersion(), cudnnGetErrorString(status), more));
}

void check_graph(frontend::error_t status, const std::string& what,
                 std::source_location where = std::source_location::current()) {
  if (status.is_good()) [[likely]]
    return;
  const cudaError_t code = cudaGetLastError();
  throw SystemError(fmt::format(
      "{}:{}: {}: cuDNN {}: {} (code {}; CUDA: {}); is the device's memory full, or a part of cuDNN missing or of "
      "another version (LD_LIBRARY_PATH)? A program built with -DPENSTOCK_CUDNN=OFF does without it",
      where.file_name(), where.line(), what, cudnnGetVersion(), status.get_message(),
      static_cast<int>(status.get_code()), cudaGetErrorName(code)));
}

// ---- Plans ----------------------------------------------------------------------------------------------------------

/// The work of one launch: some heads of some samples.
struct Part {
  std::int64_t samples, heads, sequence, channels;
  std::int64_t all_heads;  ///< of q in a packed row; more than `heads` only with one sample
  std::int64_t sharing;    ///< heads of q that share one of k and v
  std::int64_t window;     ///< 0: none
  bool repeatable;

  std::int64_t key_heads() const { return heads / sharing; }
  std::int64_t packed_row() const { return (all_heads + 2 * (all_heads / sharing)) * channels; }
  std::string text() const {
    std::string what =
        fmt::format("{} samples, {} positions, {} heads of {} channels", samples, sequence, heads, channels);
    if (sharing > 1) what += fmt::format(", {} of k and v", key_heads());
    if (window > 0) what += fmt::format(", a window of {}", window);
    return what;
  }
};

struct Plan {
  std::shared_ptr<void> handle;  ///< outlives the graph
  std::unique_ptr<Graph> graph;  ///< none: cuDNN has no plan for this
  std::size_t workspace_bytes = 0;
};

std::shared_ptr<void> handle_of(Queue& queue) {
  std::shared_ptr<void>& place = queue.backend().plans[PlanKey{cudnn_handle}];
  if (!place) {
    cudnnHandle_t handle = nullptr;
    check_cudnn(cudnnCreate(&handle));
    place.reset(static_cast<void*>(handle), [](void* p) { cudnnDestroy(static_cast<cudnnHandle_t>(p)); });
    check_cudnn(cudnnSetStream(handle, stream_of(queue)));
  }
  return place;
}

cudnnHandle_t raw(const std::shared_ptr<void>& handle) { return static_cast<cudnnHandle_t>(handle.get()); }

/// Describes the layout of a [samples, heads, sequence, channels] tensor: out and dout in rows of all heads' channels,
/// the others in packed rows.
void lay_in_rows(const Tensor& tensor, Name name, const Part& part) {
  const bool packed = name != out && name != dout, of_keys = packed && name != q && name != dq;
  const std::int64_t row = packed ? part.packed_row() : part.all_heads * part.channels;
  tensor->set_uid(name)
      .set_data_type(frontend::DataType_t::BFLOAT16)
      .set_dim({part.samples, of_keys ? part.key_heads() : part.heads, part.sequence, part.channels})
      .set_stride({part.sequence * row, part.channels, row, 1});
}

/// The same for the [samples, heads, sequence, 1] log-sum-exp.
void lay_densely(const Tensor& tensor, const Part& part) {
  tensor->set_uid(log_sum_exp)
      .set_data_type(frontend::DataType_t::FLOAT)
      .set_dim({part.samples, part.heads, part.sequence, 1})
      .set_stride({part.heads * part.sequence, part.sequence, 1, 1});
}

Tensor input_in_rows(Graph& graph, Name name, const Part& part) {
  Tensor tensor = graph.tensor(frontend::graph::Tensor_attributes());
  lay_in_rows(tensor, name, part);
  return tensor;
}

void output_in_rows(const Tensor& tensor, Name name, const Part& part) {
  lay_in_rows(tensor, name, part);
  tensor->set_output(true);
}

float score_scale(const Part& part) { return 1.0F / std::sqrt(static_cast<float>(part.channels)); }

/// The mask: the library keeps keys with key <= query and, with a left bound, key + bound > query.
template <typename Options>
void set_mask(Options& options, const Part& part) {
  options.set_causal_mask(true);
  if (part.window > 0) options.set_sliding_window_length(static_cast<int>(part.window));
}

void describe_forward(Graph& graph, const Part& part) {
  auto options = frontend::graph::SDPA_attributes();
  options.set_name("attention").set_generate_stats(true).set_attn_scale(score_scale(part));
  set_mask(options, part);
  const auto [result, numbers] =
      graph.sdpa(input_in_rows(graph, q, part), input_in_rows(graph, k, part), input_in_rows(graph, v, part), options);
  output_in_rows(result, out, part);
  lay_densely(numbers, part);
  numbers->set_output(true);
}

void describe_backward(Graph& graph, const Part& part) {
  auto options = frontend::graph::SDPA_backward_attributes();
  options.set_name("attention_gradient").set_attn_scale(score_scale(part)).set_deterministic_algorithm(part.repeatable);
  set_mask(options, part);
  const Tensor numbers = graph.tensor(frontend::graph::Tensor_attributes());
  lay_densely(numbers, part);
  const auto [of_q, of_k, of_v] =
      graph.sdpa_backward(input_in_rows(graph, q, part), input_in_rows(graph, k, part), input_in_rows(graph, v, part),
                          input_in_rows(graph, out, part), input_in_rows(graph, dout, part), numbers, options);
  output_in_rows(of_q, dq, part);
  output_in_rows(of_k, dk, part);
  output_in_rows(of_v, dv, part);
}

bool device_is_new_enough() {
  int device = 0, major = 0;
  check_cuda(cudaGetDevice(&device));
  check_cuda(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  return major >= 8;
}

frontend::error_t build(Graph& graph, cudnnHandle_t handle) {
  frontend::error_t status = graph.validate();
  if (status.is_good()) status = graph.build_operation_graph(handle);
  if (status.is_good()) status = graph.create_execution_plans({frontend::HeurMode_t::A});
  if (status.is_good()) status = graph.check_support(handle);
  if (status.is_good())
    status = graph.build_plans(handle);  // the heuristic's first that can be built: nothing is measured
  return status;
}

/// The library's statuses named in a text of the frontend, without their common prefix.
std::vector<std::string> statuses_in(const std::string& text) {
  static constexpr std::string_view begin = "CUDNN_STATUS_";
  static constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ_";
  std::vector<std::string> statuses;
  for (std::size_t at = text.find(begin); at != std::string::npos; at = text.find(begin, at)) {
    at += begin.size();
    const std::size_t end = std::min(text.find_first_not_of(letters, at), text.size());
    statuses.push_back(text.substr(at, end - at));
  }
  return statuses;
}

/// Whether every start on this device gets this status again, however much memory there is. A missing part of the
/// library may be there next time.
bool is_lasting(const std::string& status) {
  if (status.starts_with("NOT_SUPPORTED_SUBLIBRARY") || status.starts_with("NOT_SUPPORTED_RUNTIME")) return false;
  return status == "SUCCESS" || status.starts_with("NOT_SUPPORTED") || status.starts_with("BAD_PARAM") ||
         status == "ARCH_MISMATCH" || status == "INTERNAL_ERROR_COMPILATION_FAILED";
}

/// Whether cuDNN has said that it has nothing for such a graph on this device, and would say so at every start. The
/// frontend has one code for everything that prevents a plan; the library's own status is in the text.
bool is_not_supported(frontend::error_t status) {
  using Code = frontend::error_code_t;
  const std::vector<std::string> said = statuses_in(status.get_message());
  if (!std::ranges::all_of(said, is_lasting)) return false;
  switch (status.get_code()) {
    case Code::ATTRIBUTE_NOT_SET:
    case Code::SHAPE_DEDUCTION_FAILED:
    case Code::GRAPH_NOT_SUPPORTED:
    case Code::HEURISTIC_QUERY_FAILED:
    case Code::GRAPH_EXECUTION_PLAN_CREATION_FAILED:
      return true;
    case Code::CUDNN_BACKEND_API_FAILED:
      return !said.empty();
    default:
      return false;
  }
}

frontend::error_t describe_and_build(Graph& graph, PlanKind kind, const Part& part, cudnnHandle_t handle) {
  if (!device_is_new_enough())
    return {frontend::error_code_t::GRAPH_NOT_SUPPORTED, "it needs a device of compute capability 8.0 or newer"};
  graph.set_io_data_type(frontend::DataType_t::BFLOAT16)
      .set_intermediate_data_type(frontend::DataType_t::FLOAT)
      .set_compute_data_type(frontend::DataType_t::FLOAT);
  kind == cudnn_attention ? describe_forward(graph, part) : describe_backward(graph, part);
  try {
    return build(graph, handle);
  } catch (const frontend::cudnnException& error) {  // its text ends with the library's status
    return {frontend::error_code_t::CUDNN_BACKEND_API_FAILED, error.what()};
  }
}

/// Another path changes bits, and the next start must choose it again: it is taken only if that is certain.
std::shared_ptr<Plan> make_plan(Queue& queue, PlanKind kind, const Part& part) {
  auto plan = std::make_shared<Plan>();
  plan->handle = handle_of(queue);
  auto graph = std::make_unique<Graph>();
  frontend::error_t status = describe_and_build(*graph, kind, part, raw(plan->handle));
  const std::string what = fmt::format("attention{} of {}", kind == cudnn_attention ? "" : "_gradient", part.text());
  if (status.is_good()) {
    std::int64_t bytes = 0;
    check_graph(graph->get_workspace_size(bytes), what);
    plan->workspace_bytes = static_cast<std::size_t>(bytes);
    plan->graph = std::move(graph);
    return plan;
  }
  if (!is_not_supported(status) || cudaPeekAtLastError() == cudaErrorMemoryAllocation) check_graph(status, what);
  cudaGetLastError();  // a failed attempt of cuDNN is no error of the next launch
  log_info("{}: cuDNN has no plan ({}); Penstock's own kernels do it", what, status.get_message());
  return plan;
}

Plan& plan_of(Queue& queue, PlanKind kind, const Part& part) {
  const PlanKey key{kind,           part.samples, part.heads,  part.sequence,  part.channels,
                    part.all_heads, part.sharing, part.window, part.repeatable};
  auto found = queue.backend().plans.find(key);
  if (found == queue.backend().plans.end())
    found = queue.backend().plans.emplace(key, make_plan(queue, kind, part)).first;
  return *static_cast<Plan*>(found->second.get());
}

using Places = std::unordered_map<std::int64_t, void*>;

void execute(Queue& queue, Plan& plan, Places places) {
  std::byte* workspace = queue.workspace(plan.workspace_bytes);
  frontend::error_t status = plan.graph->execute(raw(plan.handle), places, workspace);
  if (status.is_bad()) [[unlikely]]
    check_graph(status, "attention");
}

// ---- Where it fits --------------------------------------------------------------------------------------------------

// One position alone is left out: cuDNN has no backward pass for it.
bool fits(const AttentionShape& shape, DType type) {
  return type == DType::bfloat16 && shape.samples > 0 && shape.heads > 0 && shape.sequence > 1 &&
         shape.channels % 8 == 0 && shape.channels <= 128;
}

bool are_aligned(std::initializer_list<const TensorView*> tensors) {
  return std::all_of(tensors.begin(), tensors.end(), [](const TensorView* tensor) {
    return reinterpret_cast<std::uintptr_t>(tensor->raw()) % 16 == 0;
  });
}

Part whole(const AttentionShape& shape) {
  const bool all_seen = shape.window <= 0 || shape.window >= shape.sequence;
  return {.samples = shape.samples,
          .heads = shape.heads,
          .sequence = shape.sequence,
          .channels = shape.channels,
          .all_heads = shape.heads,
          .sharing = shape.heads_of_a_key(),
          .window = all_seen ? 0 : shape.window,
          .repeatable = shape.repeatable};
}

constexpr std::int64_t rounded_up(std::int64_t n, std::int64_t step) { return (n + step - 1) / step * step; }

/// Bytes of the gradients of the scores of a head, in whole tiles of 64 queries and 128 keys.
std::int64_t score_bytes(const AttentionShape& shape) {
  return rounded_up(shape.sequence, 64) * rounded_up(shape.sequence, 128) * 2;
}

constexpr std::int64_t most_score_bytes = std::int64_t{1} << 30;

/// The most that one launch of the gradient works on: everything if no scores are kept, otherwise whole samples, or
/// some heads of one sample; heads that share a head of k and v stay together.
Part part_of_gradient(const AttentionShape& shape) {
  Part part = whole(shape);
  if (!shape.repeatable) return part;
  const std::int64_t heads = std::max<std::int64_t>(1, most_score_bytes / score_bytes(shape));
  part.samples = std::clamp<std::int64_t>(heads / shape.heads, 1, shape.samples);
  part.heads = std::clamp(heads / part.sharing * part.sharing, part.sharing, shape.heads);
  return part;
}

struct Launch {
  Plan* plan;
  std::int64_t sample, head;  ///< the first ones
};

/// The launches of a gradient, in order; none if cuDNN cannot do all of them.
std::vector<Launch> launches_of_gradient(Queue& queue, const AttentionShape& shape) {
  const Part most = part_of_gradient(shape);
  const bool one = most.samples == shape.samples && most.heads == shape.heads;
  if (!one && shape.sequence % 4 != 0) return {};  // the log-sum-exp of the second would not be aligned
  std::vector<Launch> launches;
  for (std::int64_t sample = 0; sample < shape.samples; sample += most.samples)
    for (std::int64_t head = 0; head < shape.heads; head += most.heads) {
      Part part = most;
      part.samples = std::min(most.samples, shape.samples - sample);
      part.heads = std::min(most.heads, shape.heads - head);
      Plan& plan = plan_of(queue, cudnn_attention_gradient, part);
      if (!plan.graph) return {};
      launches.push_back({&plan, sample, head});
    }
  return launches;
}

/// Address of an element of a bfloat16 tensor.
void* element(const TensorView& tensor, std::int64_t number) {
  return static_cast<std::byte*>(tensor.raw()) + number * 2;
}

void launch_gradient(Queue& queue, const AttentionGradient& arguments, const Launch& launch) {
  const AttentionShape& shape = arguments.shape;
  const std::int64_t width = shape.heads * shape.channels;
  const std::int64_t row = launch.sample * shape.sequence, column = launch.head * shape.channels;
  const std::int64_t packed = row * shape.packed_width(), plain = row * width + column, of_q = packed + column;
  const std::int64_t of_k = packed + width + launch.head / shape.heads_of_a_key() * shape.channels;
  const std::int64_t of_v = of_k + shape.key_heads() * shape.channels;
  const std::int64_t number = (launch.sample * shape.heads + launch.head) * shape.sequence;
  execute(queue, *launch.plan,
          {{q, element(arguments.qkv, of_q)},
           {k, element(arguments.qkv, of_k)},
           {v, element(arguments.qkv, of_v)},
           {out, element(arguments.out, plain)},
           {dout, element(arguments.dout, plain)},
           {log_sum_exp, arguments.log_sum_exp.data<float>() + number},
           {dq, element(arguments.dqkv, of_q)},
           {dk, element(arguments.dqkv, of_k)},
           {dv, element(arguments.dqkv, of_v)}});
}

}  // namespace

std::size_t cudnn_version() { return cudnnGetVersion(); }

bool attention_by_cudnn(Queue& queue, const Attention& arguments) {
  const AttentionShape& shape = arguments.shape;
  if (arguments.dropout.active() || !fits(shape, arguments.qkv.type())) return false;
  if (!are_aligned({&arguments.qkv, &arguments.out, &arguments.log_sum_exp})) return false;
  Plan& plan = plan_of(queue, cudnn_attention, whole(shape));
  if (!plan.graph) return false;
  const std::int64_t width = shape.heads * shape.channels;
  execute(queue, plan,
          {{q, element(arguments.qkv, 0)},
           {k, element(arguments.qkv, width)},
           {v, element(arguments.qkv, width + shape.key_heads() * shape.channels)},
           {out, element(arguments.out, 0)},
           {log_sum_exp, arguments.log_sum_exp.data<float>()}});
  return true;
}

bool attention_gradient_by_cudnn(Queue& queue, const AttentionGradient& arguments) {
  if (arguments.dropout.active() || !fits(arguments.shape, arguments.qkv.type())) return false;
  if (!are_aligned({&arguments.qkv, &arguments.out, &arguments.log_sum_exp, &arguments.dout, &arguments.dqkv}))
    return false;
  const std::vector<Launch> launches = launches_of_gradient(queue, arguments.shape);
  for (const Launch& launch : launches) launch_gradient(queue, arguments, launch);
  return !launches.empty();
}

std::size_t prepare_attention_by_cudnn(Queue& queue, const AttentionShape& shape, DType type, const Dropout& dropout) {
  if (dropout.active() || !fits(shape, type)) return 0;
  std::size_t bytes = plan_of(queue, cudnn_attention, whole(shape)).workspace_bytes;
  for (const Launch& launch : launches_of_gradient(queue, shape)) bytes = std::max(bytes, launch.plan->workspace_bytes);
  return bytes;
}

std::size_t attention_workspace_of_cudnn(const AttentionShape& shape, DType type) {
  if (!fits(shape, type)) return 0;
  constexpr std::int64_t alignment = 1024;  // that a library may add
  const Part part = part_of_gradient(shape);
  const std::int64_t of_rows = shape.sequence * std::int64_t{sizeof(float)};  // dout . out
  std::int64_t of_head = shape.repeatable ? score_bytes(shape) : of_rows * shape.channels;
  if (part.sharing > 1) of_head += 2 * shape.sequence * shape.channels * 2;  // bfloat16 dk and dv of each head of q
  return static_cast<std::size_t>(part.samples * part.heads * (of_head + of_rows) + alignment);
}

}  // namespace penstock::ops

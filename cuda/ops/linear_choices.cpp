// SPDX-License-Identifier: Apache-2.0
#include "ops/linear_choices.hpp"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "device/backend.hpp"
#include "device/check.hpp"
#include "ops/attention_cudnn.hpp"
#include "ops/choice_text.hpp"
#include "ops/linear_products.hpp"
#include "ops/noise.hpp"

namespace penstock::ops {
namespace {

using Clock = std::chrono::steady_clock;

ChoiceOrigin this_origin() {
  int device = 0;
  cudaDeviceProp properties{};
  check_cuda(cudaGetDevice(&device));
  check_cuda(cudaGetDeviceProperties(&properties, device));
  return {.card = properties.name, .library = std::to_string(library_version())};
}

// CUDA reports which CUDA the driver supports, not the driver's own version. The version is the first word of the
// driver's text that looks like one; "unknown" if a container does not show the file.
std::string driver_version() {
  std::ifstream file("/proc/driver/nvidia/version");
  for (std::string word; file >> word;)
    if (std::isdigit(static_cast<unsigned char>(word.front())) != 0 && word.find('.') != std::string::npos) return word;
  return "unknown";
}

std::string text_of_machine(const ChoiceOrigin& origin) {
  int driver = 0, runtime = 0;
  check_cuda(cudaDriverGetVersion(&driver));
  check_cuda(cudaRuntimeGetVersion(&runtime));
  return fmt::format("{}\tdriver {} (CUDA {})\tCUDA runtime {}\tcuBLASLt {}\tcuDNN {}", origin.card, driver_version(),
                     driver, runtime, origin.library, cudnn_version());
}

class Event {
 public:
  Event() { check_cuda(cudaEventCreate(&event_)); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(Queue& queue) { check_cuda(cudaEventRecord(event_, stream_of(queue))); }
  double microseconds_since(const Event& start) const {
    check_cuda(cudaEventSynchronize(event_));
    float milliseconds = 0;
    check_cuda(cudaEventElapsedTime(&milliseconds, start.event_, event_));
    return 1000.0 * static_cast<double>(milliseconds);
  }

 private:
  cudaEvent_t event_ = nullptr;
};

/// More than the device's second-level cache holds.
std::size_t bytes_beyond_cache() {
  int device = 0, cache = 0;
  check_cuda(cudaGetDevice(&device));
  check_cuda(cudaDeviceGetAttribute(&cache, cudaDevAttrL2CacheSize, device));
  return 2 * static_cast<std::size_t>(std::max(cache, 1 << 20));
}

std::size_t bytes_of_matrix(std::int64_t rows, std::int64_t columns, DType type) {
  return rounded_to_256(static_cast<std::size_t>(rows * columns) * bytes_of(type));
}

/// Device memory for trying a product, and for flushing the cache between two tries.
class TrialOperands {
 public:
  static std::size_t bytes_for(const Product& product) {
    return bytes_of_matrix(product.m, product.k, product.type) + bytes_of_matrix(product.k, product.n, product.type) +
           bytes_of_matrix(product.m, product.n, product.result) * (has_gelu(product.epilogue) ? 2 : 1) +
           bytes_of_matrix(product.m, 1, DType::float32) + bytes_beyond_cache();
  }

  TrialOperands(Queue& queue, const Product& product)
      : a_(make(queue, product.m, product.k, product.type)),
        b_(make(queue, product.k, product.n, product.type)),
        d_(make(queue, product.m, product.n, product.result)),
        bias_(make(queue, product.m, 1, DType::float32)),
        cache_(bytes_beyond_cache()),
        operands_{.a = a_.data(),
                  .b = b_.data(),
                  .d = d_.data(),
                  .bias = has_bias(product.epilogue) ? reinterpret_cast<const float*>(bias_.data()) : nullptr} {
    if (has_gelu(product.epilogue)) {
      pre_activation_ = make(queue, product.m, product.n, product.result);
      operands_.pre_activation = pre_activation_.data();
    }
  }

  const FinishedOperands& operands() const { return operands_; }

  void empty_cache(Queue& queue) const {
    check_cuda(cudaMemsetAsync(cache_.data(), 0, cache_.bytes(), stream_of(queue)));
  }

 private:
  static DeviceMemory make(Queue& queue, std::int64_t rows, std::int64_t columns, DType type) {
    DeviceMemory memory(bytes_of_matrix(rows, columns, type));
    fill_with_noise(queue, TensorView(memory.data(), type, {rows, columns}));
    return memory;
  }

  DeviceMemory a_, b_, d_, bias_, pre_activation_, cache_;
  FinishedOperands operands_;
};

/// Times products on one queue.
class Trials {
 public:
  explicit Trials(Queue& queue) : queue_(&queue) {}

  /// The faster variant with its fastest algorithm; neither if there is no memory or no algorithm.
  ProductChoice choose(const Product& product) {
    ProductChoice choice{
        .product = product, .variant = std::nullopt, .separate = std::nullopt, .fused = std::nullopt, .line = 0};
    if (!has_memory_for(product)) return choice;
    const TrialOperands operands(*queue_, product);
    choice.separate = fastest(product, operands, Variant::separate);
    if (may_be_fused(product)) choice.fused = fastest(product, operands, Variant::fused);
    if (choice.separate) choice.variant = Variant::separate;
    if (choice.fused && (!choice.separate || choice.fused->microseconds < choice.separate->microseconds))
      choice.variant = Variant::fused;
    // The timed work uses memory that is about to be freed.
    check_cuda(cudaStreamSynchronize(stream_of(*queue_)));
    return choice;
  }

 private:
  /// Allocates few large pieces, and leaves a little for what others take meanwhile.
  bool has_memory_for(const Product& product) const {
    constexpr std::size_t margin = std::size_t{256} << 20;
    std::size_t left = 0, all = 0;
    check_cuda(cudaMemGetInfo(&left, &all));
    return TrialOperands::bytes_for(product) + finished_product_workspace(product, false) + margin <= left;
  }

  /// Tries the heuristic's algorithms, the most promising first, until the time is over.
  std::optional<MeasuredAlgorithm> fastest(const Product& product, const TrialOperands& operands, Variant variant) {
    constexpr int most_algorithms = 32;
    constexpr std::chrono::milliseconds time_for_a_variant{150};
    const Product asked = product_of(product, variant);
    const std::vector<Algorithm> algorithms = algorithms_of(*queue_, asked, most_algorithms);
    if (!algorithms.empty()) warm_up(product, operands, variant, algorithms.front());
    std::optional<MeasuredAlgorithm> best;
    const Clock::time_point end = Clock::now() + time_for_a_variant;
    for (const Algorithm& algorithm : algorithms) {
      if (best && Clock::now() >= end) break;
      // An algorithm that cuBLASLt cannot run, for whatever reason, is skipped; only a failed device ends the search.
      const std::shared_ptr<ProductPlan> plan = plan_with(*queue_, asked, algorithm);
      const auto run = [&] { return enqueue(*queue_, product, operands.operands(), variant, *plan); };
      // The first call of a kernel loads it.
      if (!run()) continue;
      const std::optional<double> microseconds = median_time(run, operands, end, best ? best->microseconds : 0);
      if (microseconds && (!best || *microseconds < best->microseconds)) best = {*microseconds, algorithm};
    }
    return best;
  }

  /// An idle card takes a while to reach its clock.
  void warm_up(const Product& product, const TrialOperands& operands, Variant variant, const Algorithm& algorithm) {
    if (warm_) return;
    const std::shared_ptr<ProductPlan> plan = plan_with(*queue_, product_of(product, variant), algorithm);
    const Clock::time_point end = Clock::now() + std::chrono::milliseconds(100);
    while (Clock::now() < end) {
      if (!enqueue(*queue_, product, operands.operands(), variant, *plan)) return;
      check_cuda(cudaStreamSynchronize(stream_of(*queue_)));
    }
    warm_ = true;
  }

  /// The median of up to five runs from a cold cache; none if the first is clearly slower than the best so far, or one
  /// is refused.
  template <typename Run>
  std::optional<double> median_time(Run&& run, const TrialOperands& operands, Clock::time_point end, double best) {
    constexpr std::size_t runs = 5;
    constexpr double clearly_slower = 1.25;
    std::vector<double> times;
    while (times.empty() || (times.size() < runs && Clock::now() < end)) {
      operands.empty_cache(*queue_);
      start_.record(*queue_);
      if (!run()) return std::nullopt;
      stop_.record(*queue_);
      times.push_back(stop_.microseconds_since(start_));
      if (best > 0 && times.front() > clearly_slower * best) return std::nullopt;
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  }

  Queue* queue_;
  Event start_, stop_;
  bool warm_ = false;
};

bool is_empty(const Product& product) { return product.m == 0 || product.n == 0 || product.k == 0; }

bool is_among(const std::vector<ProductChoice>& choices, const Product& product) {
  return std::any_of(choices.begin(), choices.end(),
                     [&](const ProductChoice& choice) { return choice.product == product; });
}

/// The choice of a line. Throws InputError if the library refuses its algorithm.
ProductWay way_of(Queue& queue, const ProductChoice& choice) {
  const Variant variant = *choice.variant;
  ProductWay way{variant, plan_with(queue, product_of(choice.product, variant), choice.of(variant)->algorithm)};
  if (const std::string& refusal = refusal_of(*way.plan); !refusal.empty())
    throw_input_error(
        "line {} of the choices of matrix products is damaged: its algorithm is not one for the product m {}, n {}, k "
        "{} with cuBLASLt {} ({}); delete the file, and they are measured again",
        choice.line, choice.product.m, choice.product.n, choice.product.k, library_version(), refusal);
  return way;
}

}  // namespace

LinearChoiceNames linear_choice_names(std::span<const LinearShape> shapes) {
  const ChoiceOrigin origin = this_origin();
  LinearChoiceNames names{.origin = text_of_machine(origin), .columns = choice_columns(), .products = {}};
  std::vector<Product> products;
  for (const LinearShape& shape : shapes)
    for (const Product& product : linear_products(shape)) {
      if (is_empty(product) || std::find(products.begin(), products.end(), product) != products.end()) continue;
      products.push_back(product);
      names.products.push_back(choice_name(origin, product));
    }
  return names;
}

std::string measure_linear_choices(Queue& queue, std::span<const LinearShape> shapes, const std::string& known) {
  const ChoiceOrigin origin = this_origin();
  ChoiceTable choices = choices_in(known, origin);
  Trials trials(queue);
  for (const LinearShape& shape : shapes)
    for (const Product& product : linear_products(shape))
      if (!is_empty(product) && !is_among(choices.own, product)) choices.own.push_back(trials.choose(product));
  return text_of(origin, choices);
}

void use_linear_choices(Queue& queue, const std::string& choices) {
  std::vector<std::pair<Product, ProductWay>> ways;
  const ChoiceTable table = choices_in(choices, this_origin());
  for (const ProductChoice& choice : table.own)
    if (choice.variant) ways.emplace_back(choice.product, way_of(queue, choice));
  forget_ways(queue);
  for (const auto& [product, way] : ways) choose_way(queue, product, way);
}

}  // namespace penstock::ops

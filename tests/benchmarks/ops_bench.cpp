// SPDX-License-Identifier: Apache-2.0
// Speed of every operation at the shapes of two small models (L6 C384 H6 T256 B16, and L4 C256 H8 T256 B8), in float32
// and bfloat16. Counters: `flops` for products (a second), `bytes` for what a memory-bound operation must read and
// write at least; `shortest_ms` for the shortest call (with one thread in its CPU time). Bounds to hold them against:
// `product`, the model's own products by themselves, and `copy`. Threads: OMP_NUM_THREADS.
// scripts/bench_cpu_kernels makes a table of it.
//   OMP_NUM_THREADS=2 bench.ops --benchmark_filter=attention

#include <benchmark/benchmark.h>
#include <omp.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "ops/adamw.hpp"
#include "ops/attention.hpp"
#include "ops/elementwise.hpp"
#include "ops/embedding.hpp"
#include "ops/gelu.hpp"
#include "ops/layer_norm.hpp"
#include "ops/linear.hpp"
#include "ops/softmax_loss.hpp"
#include "ops/squared_norm.hpp"
#include "tensor/arena.hpp"

namespace penstock::ops {
namespace {

struct Model {
  const char* name;
  std::int64_t samples;
  std::int64_t sequence;
  std::int64_t width;
  std::int64_t heads;
  std::int64_t layers;
  std::int64_t tokens() const { return samples * sequence; }
};
constexpr Model models[] = {{"L6_C384", 16, 256, 384, 6, 6}, {"L4_C256", 8, 256, 256, 8, 4}};
constexpr std::int64_t vocabulary = 256;

/// Tensors of one benchmark, filled with small numbers of both signs.
class Tensors {
 public:
  TensorView make(DType type, const Shape& shape) {
    tensors_.emplace_back(type, shape);
    const TensorView view = tensors_.back().view();
    for (std::int64_t i = 0; i < view.elements(); ++i) {
      state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
      const float value = static_cast<float>(static_cast<std::int32_t>(state_ >> 32)) * 0x1p-32F;
      if (type == DType::float32) view.data<float>()[i] = value;
      if (type == DType::bfloat16) view.data<bfloat16>()[i] = bfloat16(value);
      if (type == DType::int32) view.data<std::int32_t>()[i] = static_cast<std::int32_t>((state_ >> 40) % vocabulary);
    }
    return view;
  }

 private:
  std::vector<Tensor> tensors_;
  std::uint64_t state_ = 1;
};

enum class Bound { flops, bytes };

/// Seconds of this thread's work where it works alone, which others on the machine do not lengthen; else of the clock.
double seconds_so_far() {
  if (omp_get_max_threads() > 1)
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// Runs `work` and says how much of the bounding thing it does a second, and how long the shortest call took: on a
/// machine that does something else, too, that one is nearest to what the work takes by itself.
void measure(benchmark::State& state, Bound bound, double amount, const std::function<void()>& work) {
  work();
  double shortest = 1e9;
  for (auto _ : state) {
    const double start = seconds_so_far();
    work();
    shortest = std::min(shortest, seconds_so_far() - start);
  }
  state.counters["shortest_ms"] = 1e3 * shortest;
  state.counters[bound == Bound::flops ? "flops" : "bytes"] =
      benchmark::Counter(amount, benchmark::Counter::kIsIterationInvariantRate);
}

void bench_product(benchmark::State& state, DType type, std::int64_t rows, std::int64_t inputs, std::int64_t outputs,
                   bool gelu) {
  Queue queue;
  Tensors tensors;
  const Linear linear_of{.x = tensors.make(type, {rows, inputs}),
                         .weight = tensors.make(type, {outputs, inputs}),
                         .bias = tensors.make(DType::float32, {outputs}),
                         .y = tensors.make(type, {rows, outputs}),
                         .pre_activation = gelu ? tensors.make(type, {rows, outputs}) : TensorView()};
  measure(state, Bound::flops, 2.0 * static_cast<double>(rows * inputs * outputs), [&] { linear(queue, linear_of); });
}

void bench_input_gradient(benchmark::State& state, DType type, std::int64_t rows, std::int64_t inputs,
                          std::int64_t outputs, bool gelu) {
  Queue queue;
  Tensors tensors;
  const TensorView dx = tensors.make(type, {rows, inputs});
  const LinearInputGradient gradient{.dy = tensors.make(type, {rows, outputs}),
                                     .weight = tensors.make(type, {outputs, inputs}),
                                     .dx = dx,
                                     .pre_activation = gelu ? tensors.make(type, {rows, inputs}) : TensorView()};
  measure(state, Bound::flops, 2.0 * static_cast<double>(rows * inputs * outputs),
          [&] { linear_input_gradient(queue, gradient); });
}

void bench_weight_gradient(benchmark::State& state, DType type, std::int64_t rows, std::int64_t inputs,
                           std::int64_t outputs, bool bias) {
  Queue queue;
  Tensors tensors;
  const LinearWeightGradient gradient{.dy = tensors.make(type, {rows, outputs}),
                                      .x = tensors.make(type, {rows, inputs}),
                                      .dweight = tensors.make(DType::float32, {outputs, inputs}),
                                      .dbias = bias ? tensors.make(DType::float32, {outputs}) : TensorView()};
  measure(state, Bound::flops, 2.0 * static_cast<double>(rows * inputs * outputs),
          [&] { linear_weight_gradient(queue, gradient); });
}

/// Of the pre-activations of one layer.
void bench_gelu(benchmark::State& state, DType type, const Model& model) {
  Queue queue;
  Tensors tensors;
  const Shape hidden{model.tokens(), 4 * model.width};
  const Gelu arguments{.pre_activation = tensors.make(type, hidden), .y = tensors.make(type, hidden)};
  measure(state, Bound::bytes, 2.0 * static_cast<double>(arguments.y.bytes()), [&] { gelu(queue, arguments); });
}

void bench_attention(benchmark::State& state, DType type, const Model& model, double dropout, bool backward) {
  Queue queue;
  Tensors tensors;
  const std::uint64_t first_sample = 7;
  const AttentionShape shape{model.samples, model.sequence, model.heads, model.width / model.heads, 0};
  const Shape stream{model.tokens(), model.width};
  const Attention forward{shape,
                          tensors.make(type, {model.tokens(), 3 * model.width}),
                          tensors.make(type, stream),
                          tensors.make(DType::float32, {model.samples, model.heads, model.sequence}),
                          Dropout{dropout, random_key(1, "attention")},
                          &first_sample};
  attention(queue, forward);
  const AttentionGradient gradient{shape,
                                   forward.qkv,
                                   forward.out,
                                   forward.log_sum_exp,
                                   tensors.make(type, stream),
                                   tensors.make(type, {model.tokens(), 3 * model.width}),
                                   forward.dropout,
                                   &first_sample};
  const auto products = backward ? 5.0 : 2.0;
  const double pairs = static_cast<double>(model.tokens()) * static_cast<double>(model.sequence + 1) / 2;
  measure(state, Bound::flops, products * 2.0 * pairs * static_cast<double>(model.width),
          [&] { backward ? attention_gradient(queue, gradient) : attention(queue, forward); });
}

void bench_layer_norm(benchmark::State& state, DType type, const Model& model) {
  Queue queue;
  Tensors tensors;
  const Shape stream{model.tokens(), model.width};
  const TensorView weight = tensors.make(DType::float32, {model.width});
  const LayerNorm arguments{.x = tensors.make(type, stream),
                            .weight = weight,
                            .bias = weight,
                            .y = tensors.make(type, stream),
                            .mean = tensors.make(DType::float32, {model.tokens()}),
                            .rstd = tensors.make(DType::float32, {model.tokens()})};
  measure(state, Bound::bytes, 2.0 * static_cast<double>(arguments.y.bytes()), [&] { layer_norm(queue, arguments); });
}

void bench_dropout_gradient(benchmark::State& state, DType type, const Model& model) {
  Queue queue;
  Tensors tensors;
  const std::uint64_t first_sample = 7;
  const Shape stream{model.tokens(), model.width};
  const DropoutGradient arguments{.dout = tensors.make(type, stream),
                                  .dbranch = tensors.make(type, stream),
                                  .dropout = Dropout{0.1, random_key(1, "residual")},
                                  .rows = TokenRows{&first_sample, 0, model.sequence}};
  measure(state, Bound::bytes, 2.0 * static_cast<double>(arguments.dout.bytes()),
          [&] { dropout_gradient(queue, arguments); });
}

void bench_residual_layer_norm(benchmark::State& state, DType type, const Model& model, double dropout) {
  Queue queue;
  Tensors tensors;
  const std::uint64_t first_sample = 7;
  const Shape stream{model.tokens(), model.width};
  const TensorView weight = tensors.make(DType::float32, {model.width});
  const Residual join{.residual = tensors.make(type, stream),
                      .branch = tensors.make(type, stream),
                      .bias = weight,
                      .out = tensors.make(type, stream),
                      .dropout = Dropout{dropout, random_key(1, "residual")},
                      .rows = TokenRows{&first_sample, 0, model.sequence}};
  const LayerNorm norm{.x = {},
                       .weight = weight,
                       .bias = weight,
                       .y = tensors.make(type, stream),
                       .mean = tensors.make(DType::float32, {model.tokens()}),
                       .rstd = tensors.make(DType::float32, {model.tokens()})};
  measure(state, Bound::bytes, 4.0 * static_cast<double>(join.out.bytes()), [&] {
    residual_layer_norm(queue, {join, norm});
  });
}

void bench_layer_norm_gradient(benchmark::State& state, DType type, const Model& model) {
  Queue queue;
  Tensors tensors;
  const Shape stream{model.tokens(), model.width};
  const LayerNormGradient gradient{.dy = tensors.make(type, stream),
                                   .x = tensors.make(type, stream),
                                   .weight = tensors.make(DType::float32, {model.width}),
                                   .mean = tensors.make(DType::float32, {model.tokens()}),
                                   .rstd = tensors.make(DType::float32, {model.tokens()}),
                                   .residual_gradient = tensors.make(type, stream),
                                   .dx = tensors.make(type, stream),
                                   .dweight = tensors.make(DType::float32, {model.width}),
                                   .dbias = tensors.make(DType::float32, {model.width})};
  measure(state, Bound::bytes, 4.0 * static_cast<double>(gradient.dx.bytes()),
          [&] { layer_norm_gradient(queue, gradient); });
}

void bench_embedding(benchmark::State& state, DType type, const Model& model, bool backward) {
  Queue queue;
  Tensors tensors;
  const TensorView tokens = tensors.make(DType::int32, {model.tokens()});
  const TensorView out = tensors.make(type, {model.tokens(), model.width});
  const Embedding forward{
      .tokens = tokens, .weight = tensors.make(type, {vocabulary, model.width}), .first_token = 0, .out = out};
  const EmbeddingGradient gradient{.tokens = tokens,
                                   .dout = out,
                                   .first_token = 0,
                                   .dweight = tensors.make(DType::float32, {vocabulary, model.width})};
  measure(state, Bound::bytes, static_cast<double>(out.bytes()),
          [&] { backward ? embedding_gradient(queue, gradient) : embedding(queue, forward); });
}

void bench_softmax(benchmark::State& state, DType type, const Model& model) {
  Queue queue;
  Tensors tensors;
  const TensorView logits = tensors.make(type, {model.tokens(), vocabulary});
  const TensorView targets = tensors.make(DType::int32, {model.tokens()});
  const TensorView statistics = tensors.make(DType::float32, {model.tokens(), 3});
  const SoftmaxStatistics first{
      .logits = logits, .targets = targets, .first_token = 0, .columns = vocabulary, .statistics = statistics};
  const SoftmaxLoss second{.logits = logits,
                           .targets = targets,
                           .first_token = 0,
                           .columns = vocabulary,
                           .statistics = statistics.reshaped({1, model.tokens(), 3}),
                           .loss = tensors.make(DType::float32, {model.tokens()}),
                           .scale = 1.0F,
                           .gradient = true};
  measure(state, Bound::bytes, 3.0 * static_cast<double>(logits.bytes()), [&] {
    softmax_statistics(queue, first);
    softmax_loss(queue, second);
  });
}

/// Loss and gradient, in place: a call overwrites the logits that the next one reads, which stay small numbers.
void bench_whole_softmax(benchmark::State& state, DType type, const Model& model) {
  Queue queue;
  Tensors tensors;
  const WholeSoftmaxLoss arguments{.logits = tensors.make(type, {model.tokens(), vocabulary}),
                                   .targets = tensors.make(DType::int32, {model.tokens()}),
                                   .columns = vocabulary,
                                   .loss = tensors.make(DType::float32, {model.tokens()}),
                                   .scale = 1.0F,
                                   .gradient = true};
  measure(state, Bound::bytes, 2.0 * static_cast<double>(arguments.logits.bytes()),
          [&] { whole_softmax_loss(queue, arguments); });
}

void bench_adamw(benchmark::State& state, const Model& model, bool copy) {
  Queue queue;
  Tensors tensors;
  const Shape all{12 * model.layers * model.width * model.width};
  const AdamWPiece piece{.master = tensors.make(DType::float32, all),
                         .gradient = tensors.make(DType::float32, all),
                         .addend = {},
                         .first_moment = tensors.make(DType::float32, all),
                         .second_moment = tensors.make(DType::float32, all),
                         .weight = copy ? tensors.make(DType::bfloat16, all) : TensorView(),
                         .decay = true};
  for (std::int64_t i = 0; i < all.elements(); ++i) piece.second_moment.data<float>()[i] = 1e-3F;
  const AdamWStep step{.learning_rate = 1e-4F};
  measure(state, Bound::bytes, (copy ? 30.0 : 28.0) * static_cast<double>(all.elements()),
          [&] { adamw(queue, {}, &step, std::span(&piece, 1)); });
}

void bench_squared_norm(benchmark::State& state, const Model& model) {
  Queue queue;
  Tensors tensors;
  const TensorView all = tensors.make(DType::float32, {12 * model.layers * model.width * model.width});
  const NormPiece piece{.tensor = all, .addend = {}, .sum = tensors.make(DType::float64, {1})};
  measure(state, Bound::bytes, static_cast<double>(all.bytes()),
          [&] { add_squared_norms(queue, std::span(&piece, 1)); });
}

/// The bound of the memory-bound operations: a copy of as many bytes as a stream of activations has.
void bench_copy(benchmark::State& state, std::int64_t bytes) {
  Queue queue;
  Tensors tensors;
  const TensorView from = tensors.make(DType::float32, {bytes / 4});
  const TensorView to = tensors.make(DType::float32, {bytes / 4});
  measure(state, Bound::bytes, 2.0 * static_cast<double>(bytes), [&] { cast(queue, from, to); });
}

template <typename Work>
void add(const std::string& name, Work&& work) {
  benchmark::RegisterBenchmark(name.c_str(), std::forward<Work>(work))->UseRealTime()->Unit(benchmark::kMillisecond);
}

void add_products(const Model& model, DType type, const std::string& suffix) {
  struct Layer {
    const char* name;
    std::int64_t inputs;
    std::int64_t outputs;
  };
  const Layer layers[] = {{"qkv", model.width, 3 * model.width},
                          {"output", model.width, model.width},
                          {"up", model.width, 4 * model.width},
                          {"down", 4 * model.width, model.width},
                          {"head", model.width, vocabulary}};
  const std::int64_t rows = model.tokens();
  for (const Layer& layer : layers) {
    const std::string plain = "product/" + std::string(layer.name);
    add(plain + "/forward/" + suffix,
        [=](benchmark::State& state) { bench_product(state, type, rows, layer.inputs, layer.outputs, false); });
    add(plain + "/input_gradient/" + suffix,
        [=](benchmark::State& state) { bench_input_gradient(state, type, rows, layer.inputs, layer.outputs, false); });
    add(plain + "/weight_gradient/" + suffix,
        [=](benchmark::State& state) { bench_weight_gradient(state, type, rows, layer.inputs, layer.outputs, false); });

    const bool up = layer.name == std::string("up");
    const bool down = layer.name == std::string("down");
    const std::string name = "linear/" + std::string(layer.name);
    add(name + (up ? "_gelu/forward/" : "/forward/") + suffix,
        [=](benchmark::State& state) { bench_product(state, type, rows, layer.inputs, layer.outputs, up); });
    add(name + (down ? "_gelu/input_gradient/" : "/input_gradient/") + suffix,
        [=](benchmark::State& state) { bench_input_gradient(state, type, rows, layer.inputs, layer.outputs, down); });
    add(name + "/weight_gradient/" + suffix,
        [=](benchmark::State& state) { bench_weight_gradient(state, type, rows, layer.inputs, layer.outputs, true); });
  }
}

void add_model(const Model& model, DType type) {
  const std::string suffix = std::string(model.name) + "/" + std::string(name_of(type));
  add_products(model, type, suffix);
  for (const double dropout : {0.0, 0.1}) {
    const std::string with = dropout > 0 ? "_dropout/" : "/";
    add("attention" + with + "forward/" + suffix,
        [=, &model](benchmark::State& state) { bench_attention(state, type, model, dropout, false); });
    add("attention" + with + "backward/" + suffix,
        [=, &model](benchmark::State& state) { bench_attention(state, type, model, dropout, true); });
    add("residual_layer_norm" + with + suffix,
        [=, &model](benchmark::State& state) { bench_residual_layer_norm(state, type, model, dropout); });
  }
  add("gelu/" + suffix, [=, &model](benchmark::State& state) { bench_gelu(state, type, model); });
  add("layer_norm/" + suffix, [=, &model](benchmark::State& state) { bench_layer_norm(state, type, model); });
  add("dropout_gradient/" + suffix,
      [=, &model](benchmark::State& state) { bench_dropout_gradient(state, type, model); });
  add("layer_norm_gradient/" + suffix,
      [=, &model](benchmark::State& state) { bench_layer_norm_gradient(state, type, model); });
  add("embedding/forward/" + suffix,
      [=, &model](benchmark::State& state) { bench_embedding(state, type, model, false); });
  add("embedding/backward/" + suffix,
      [=, &model](benchmark::State& state) { bench_embedding(state, type, model, true); });
  add("whole_softmax_loss/" + suffix,
      [=, &model](benchmark::State& state) { bench_whole_softmax(state, type, model); });
  add("softmax_loss/" + suffix, [=, &model](benchmark::State& state) { bench_softmax(state, type, model); });
  const bool copy = type == DType::bfloat16;
  add("adamw/" + suffix, [=, &model](benchmark::State& state) { bench_adamw(state, model, copy); });
}

void add_bounds() {
  for (const std::int64_t mebibytes : {2, 6, 12, 25, 100})
    add("copy/MiB_each_way/" + std::to_string(mebibytes),
        [=](benchmark::State& state) { bench_copy(state, mebibytes << 20); });
}

}  // namespace
}  // namespace penstock::ops

int main(int argc, char** argv) {
  using namespace penstock;
  ops::add_bounds();
  for (const ops::Model& model : ops::models)
    for (const DType type : {DType::float32, DType::bfloat16}) ops::add_model(model, type);
  for (const ops::Model& model : ops::models)
    ops::add(std::string("squared_norm/") + model.name,
             [&](benchmark::State& state) { ops::bench_squared_norm(state, model); });
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// Memory-bound operations at the shapes of five models, each with its limit: a copy of as many bytes on the same
// device, half of them read and half written. Timed by the queue's marks, over so many sets of tensors that no cache
// holds one until its next turn. The table's columns: MB that must be read or written, GB/s, the copy's GB/s, and the
// share of the copy's rate.
//   bench.memory --benchmark_filter=layer_norm
//   bench.memory --tokens=1024      fewer tokens, for a CPU

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <list>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "device/copy.hpp"
#include "device/marks.hpp"
#include "ops/adamw.hpp"
#include "ops/elementwise.hpp"
#include "ops/embedding.hpp"
#include "ops/layer_norm.hpp"
#include "ops/rms_norm.hpp"
#include "ops/rotate.hpp"
#include "ops/softmax_loss.hpp"
#include "ops/squared_norm.hpp"
#include "ops/sum.hpp"
#include "ops/swiglu.hpp"
#include "tensor/arena.hpp"

namespace penstock::ops {
namespace {

struct Model {
  const char* name;
  std::int64_t tokens, width, sequence;
};
std::vector<Model> models() {
  return {{"124M/32768x768", 32768, 768, 1024},
          {"1.3B/16384x2048", 16384, 2048, 2048},
          {"1.56B/16384x1600", 16384, 1600, 1024}};
}
/// A model of the Llama family: width, heads of q and of k and v, channels of a head, hidden channels.
struct LlamaModel {
  const char* name;
  std::int64_t tokens, width, sequence, heads, kv_heads, channels, hidden;

  AttentionShape attention() const {
    return {.sequence = sequence, .heads = heads, .channels = channels, .kv_heads = kv_heads};
  }
};
std::vector<LlamaModel> llama_models() {
  return {{"llama-1B/16384x2048", 16384, 2048, 2048, 32, 8, 64, 8192},
          {"llama-8B/8192x4096", 8192, 4096, 2048, 32, 8, 128, 14336}};
}
constexpr std::int64_t vocabulary = 50257, padded_vocabulary = 50304;
constexpr std::int64_t parameters = 124 << 20;

enum class Numbers { of_both_signs, positive };

/// Tensors of one set, filled with small numbers: one MiB of them, over and over.
class Tensors {
 public:
  explicit Tensors(Queue& queue) : queue_(&queue) {}

  TensorView make(DType type, const Shape& shape, Numbers numbers = Numbers::of_both_signs) {
    const TensorView view = tensors_.emplace_back(type, shape).view();
    const std::int64_t first =
        std::min<std::int64_t>(view.elements(), type == DType::int32 ? view.elements() : 1 << 20);
    const std::size_t bytes = static_cast<std::size_t>(first) * bytes_of(type);
    const HostMirror mirror(view.raw(), bytes);
    const TensorView host(mirror.data(), type, {first});
    for (std::int64_t i = 0; i < first; ++i) {
      state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
      const float value = static_cast<float>(static_cast<std::int32_t>(state_ >> 32)) * 0x1p-32F;
      const float number = numbers == Numbers::positive ? value * value + 1e-3F : value;
      if (type == DType::float32) host.data<float>()[i] = number;
      if (type == DType::bfloat16) host.data<bfloat16>()[i] = bfloat16(number);
      if (type == DType::int32) host.data<std::int32_t>()[i] = static_cast<std::int32_t>((state_ >> 33) % vocabulary);
    }
    if (type == DType::int32) distinct_ = std::set(host.data<std::int32_t>(), host.data<std::int32_t>() + first).size();
    mirror.publish(*queue_);
    for (std::size_t have = bytes; have < view.bytes(); have *= 2)
      copy_on_device(*queue_, view.raw(), static_cast<std::byte*>(view.raw()) + have,
                     std::min(have, view.bytes() - have));
    queue_->drain("a tensor's numbers");
    return view;
  }
  /// How many different tokens the last int32 tensor holds.
  std::size_t distinct_tokens() const { return distinct_; }
  /// Eight bytes of device memory for one number, which is 0.
  std::uint64_t* one_number() {
    return reinterpret_cast<std::uint64_t*>(tensors_.emplace_back(DType::uint8, Shape{8}).view().raw());
  }

 private:
  Queue* queue_;
  std::list<Tensor> tensors_;
  std::uint64_t state_ = 1;
  std::size_t distinct_ = 0;
};

/// What one set of tensors is for: the call, and the bytes that it must read or write.
struct Work {
  std::function<void()> run;
  double bytes;
};
using MakeWork = std::function<Work(Queue&, Tensors&)>;

/// Seconds that one of the calls takes on the device, all enqueued one after the other.
double seconds_of(Queue& queue, const std::vector<Work>& calls) {
  Marks marks(queue);
  marks.set();
  for (const Work& call : calls) call.run();
  marks.set();
  marks.wait("the benchmark");
  return marks.seconds()[1] / static_cast<double>(calls.size());
}

std::vector<Work> sets_of(Queue& queue, Tensors& tensors, const MakeWork& make) {
  constexpr double more_than_caches_hold = 512e6;
  std::vector<Work> calls{make(queue, tensors)};
  while (static_cast<double>(calls.size()) * calls[0].bytes < more_than_caches_hold && calls.size() < 64)
    calls.push_back(make(queue, tensors));
  return calls;
}

/// Bytes a second of a copy that moves so many, half of them read: the median of several.
double copied_bytes_per_second(double bytes) {
  static std::map<double, double> known;
  if (const auto found = known.find(bytes); found != known.end()) return found->second;
  Queue queue;
  Tensors tensors(queue);
  const auto half = static_cast<std::int64_t>(bytes / 2);
  const std::vector<Work> calls = sets_of(queue, tensors, [&](Queue& on, Tensors& from) {
    const TensorView read = from.make(DType::float32, {half / 4 + 1});
    const TensorView written = from.make(DType::float32, {half / 4 + 1});
    return Work{[=, &on] { copy_on_device(on, read.raw(), written.raw(), static_cast<std::size_t>(half)); }, bytes};
  });
  std::vector<double> seconds;
  for (int repetition = 0; repetition < 11; ++repetition) seconds.push_back(seconds_of(queue, calls));
  std::ranges::nth_element(seconds, seconds.begin() + 5);
  return known[bytes] = 2.0 * static_cast<double>(half) / seconds[5];
}

void measure(benchmark::State& state, const MakeWork& make) {
  Queue queue;
  Tensors tensors(queue);
  const std::vector<Work> calls = sets_of(queue, tensors, make);
  const double bytes = calls[0].bytes, copied = copied_bytes_per_second(bytes);
  seconds_of(queue, calls);
  double seconds = 0;
  for (auto _ : state) {
    const double one = seconds_of(queue, calls);
    state.SetIterationTime(one);
    seconds += one;
  }
  const double rate = bytes * static_cast<double>(state.iterations()) / seconds;
  state.counters["MB"] = bytes / 1e6;
  state.counters["GB/s"] = rate / 1e9;
  state.counters["copy_GB/s"] = copied / 1e9;
  state.counters["of_copy_%"] = 100 * rate / copied;
}

void add(const std::string& name, MakeWork make) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [make = std::move(make)](benchmark::State& state) { measure(state, make); })
      ->UseManualTime()
      ->Unit(benchmark::kMicrosecond);
}

double bytes_of_all(std::initializer_list<TensorView> tensors) {
  double bytes = 0;
  for (const TensorView& tensor : tensors) bytes += static_cast<double>(tensor.bytes());
  return bytes;
}

LayerNorm norm_of(Tensors& tensors, const TensorView& x) {
  const Shape rows{x.shape()[0]}, channels{x.shape()[1]};
  return {.x = x,
          .weight = tensors.make(DType::float32, channels),
          .bias = tensors.make(DType::float32, channels),
          .y = tensors.make(x.type(), x.shape()),
          .mean = tensors.make(DType::float32, rows),
          .rstd = tensors.make(DType::float32, rows, Numbers::positive)};
}

Residual residual_of(Tensors& tensors, const Model& model, DType type, double dropout) {
  const Shape stream{model.tokens, model.width};
  return {.residual = tensors.make(type, stream),
          .branch = tensors.make(type, stream),
          .bias = tensors.make(DType::float32, {model.width}),
          .out = tensors.make(type, stream),
          .dropout = {.probability = dropout, .key = random_key(1, "residual")},
          .rows = {tensors.one_number(), 0, model.sequence}};
}

void add_norms(const Model& model, DType type, const std::string& suffix) {
  const Shape stream{model.tokens, model.width};
  add("layer_norm/" + suffix, [=](Queue& queue, Tensors& tensors) {
    const LayerNorm norm = norm_of(tensors, tensors.make(type, stream));
    return Work{[=, &queue] { layer_norm(queue, norm); }, bytes_of_all({norm.x, norm.y, norm.mean, norm.rstd})};
  });
  for (const double dropout : {0.0, 0.1}) {
    const std::string with = dropout > 0 ? "_dropout/" : "/";
    add("residual" + with + suffix, [=](Queue& queue, Tensors& tensors) {
      const Residual join = residual_of(tensors, model, type, dropout);
      return Work{[=, &queue] { residual(queue, join); }, bytes_of_all({join.residual, join.branch, join.out})};
    });
    add("residual_layer_norm" + with + suffix, [=](Queue& queue, Tensors& tensors) {
      const ResidualLayerNorm both{residual_of(tensors, model, type, dropout),
                                   norm_of(tensors, tensors.make(type, stream))};
      return Work{[=, &queue] { residual_layer_norm(queue, both); },
                  bytes_of_all({both.residual.residual, both.residual.branch, both.residual.out, both.norm.y,
                                both.norm.mean, both.norm.rstd})};
    });
  }
  add("layer_norm_gradient/" + suffix, [=](Queue& queue, Tensors& tensors) {
    const LayerNorm norm = norm_of(tensors, tensors.make(type, stream));
    const TensorView gradient = tensors.make(type, stream);
    const LayerNormGradient back{.dy = norm.y,
                                 .x = norm.x,
                                 .weight = norm.weight,
                                 .mean = norm.mean,
                                 .rstd = norm.rstd,
                                 .residual_gradient = gradient,
                                 .dx = gradient,
                                 .dweight = tensors.make(DType::float32, {model.width}),
                                 .dbias = tensors.make(DType::float32, {model.width}),
                                 .accumulate = false};
    return Work{[=, &queue] { layer_norm_gradient(queue, back); },
                bytes_of_all({back.dy, back.x, gradient, gradient, back.mean, back.rstd})};
  });
}

void add_rms_norms(const LlamaModel& model, DType type, const std::string& suffix) {
  const Shape stream{model.tokens, model.width}, rows{model.tokens}, channels{model.width};
  const auto rms_norm_of = [=](Tensors& tensors, const TensorView& x) {
    return RmsNorm{.x = x,
                   .weight = tensors.make(DType::float32, channels),
                   .y = tensors.make(type, stream),
                   .rstd = tensors.make(DType::float32, rows, Numbers::positive)};
  };
  add("rms_norm/" + suffix, [=](Queue& queue, Tensors& tensors) {
    const RmsNorm norm = rms_norm_of(tensors, tensors.make(type, stream));
    return Work{[=, &queue] { rms_norm(queue, norm); }, bytes_of_all({norm.x, norm.y, norm.rstd})};
  });
  add("residual_rms_norm/" + suffix, [=](Queue& queue, Tensors& tensors) {
    const ResidualRmsNorm both{{.residual = tensors.make(type, stream),
                                .branch = tensors.make(type, stream),
                                .bias = {},
                                .out = tensors.make(type, stream),
                                .dropout = {},
                                .rows = {}},
                               rms_norm_of(tensors, {})};
    return Work{
        [=, &queue] { residual_rms_norm(queue, both); },
        bytes_of_all({both.residual.residual, both.residual.branch, both.residual.out, both.norm.y, both.norm.rstd})};
  });
  add("rms_norm_gradient/" + suffix, [=](Queue& queue, Tensors& tensors) {
    const RmsNorm norm = rms_norm_of(tensors, tensors.make(type, stream));
    const TensorView gradient = tensors.make(type, stream);
    const RmsNormGradient back{.dy = norm.y,
                               .x = norm.x,
                               .weight = norm.weight,
                               .rstd = norm.rstd,
                               .residual_gradient = gradient,
                               .dx = gradient,
                               .dweight = tensors.make(DType::float32, channels),
                               .accumulate = false};
    return Work{[=, &queue] { rms_norm_gradient(queue, back); },
                bytes_of_all({back.dy, back.x, gradient, gradient, back.rstd})};
  });
}

/// Rotation in place, as without norms; with norms to another tensor, for the gradient reads the first.
void add_rotations(const LlamaModel& model, DType type, const std::string& suffix) {
  const AttentionShape shape = model.attention();
  const Shape packed{model.tokens, shape.packed_width()}, weights{model.channels};
  const double turned =
      static_cast<double>(model.heads + model.kv_heads) / static_cast<double>(model.heads + 2 * model.kv_heads);
  const auto table_of = [=](Tensors& tensors) {
    return tensors.make(DType::float32, {model.sequence, model.channels});
  };
  add("rotate/" + suffix, [=](Queue& queue, Tensors& tensors) {
    const TensorView qkv = tensors.make(type, packed);
    const Rotate forward{.shape = shape,
                         .qkv = qkv,
                         .table = table_of(tensors),
                         .query_norm = {},
                         .key_norm = {},
                         .rstd = {},
                         .out = qkv};
    return Work{[=, &queue] { rotate(queue, forward); }, turned * bytes_of_all({qkv, qkv})};
  });
  const auto normed = [=](Tensors& tensors) {
    return Rotate{.shape = shape,
                  .qkv = tensors.make(type, packed),
                  .table = table_of(tensors),
                  .query_norm = tensors.make(DType::float32, weights),
                  .key_norm = tensors.make(DType::float32, weights),
                  .rstd = tensors.make(DType::float32, {model.tokens, model.heads + model.kv_heads}, Numbers::positive),
                  .out = tensors.make(type, packed)};
  };
  add("rotate_with_norms/" + suffix, [=](Queue& queue, Tensors& tensors) {
    const Rotate forward = normed(tensors);
    return Work{[=, &queue] { rotate(queue, forward); }, bytes_of_all({forward.qkv, forward.out, forward.rstd})};
  });
  add("rotate_gradient_with_norms/" + suffix, [=](Queue& queue, Tensors& tensors) {
    const Rotate forward = normed(tensors);
    const RotateGradient back{.shape = shape,
                              .dout = forward.out,
                              .table = forward.table,
                              .qkv = forward.qkv,
                              .query_norm = forward.query_norm,
                              .key_norm = forward.key_norm,
                              .rstd = forward.rstd,
                              .dquery_norm = tensors.make(DType::float32, weights),
                              .dkey_norm = tensors.make(DType::float32, weights),
                              .dqkv = forward.out,
                              .accumulate = false};
    return Work{[=, &queue] { rotate_gradient(queue, back); },
                turned * bytes_of_all({back.qkv, back.dout, back.dqkv}) + bytes_of_all({back.rstd})};
  });
}

void add_swiglus(const LlamaModel& model, DType type, const std::string& suffix) {
  const Shape hidden{model.tokens, model.hidden}, both{model.tokens, 2 * model.hidden};
  add("swiglu/" + suffix, [=](Queue& queue, Tensors& tensors) {
    const Swiglu forward{.gate_up = tensors.make(type, both), .y = tensors.make(type, hidden)};
    return Work{[=, &queue] { swiglu(queue, forward); }, bytes_of_all({forward.gate_up, forward.y})};
  });
  add("swiglu_gradient/" + suffix, [=](Queue& queue, Tensors& tensors) {
    const TensorView gate_up = tensors.make(type, both);
    const SwigluGradient back{.gate_up = gate_up, .dy = tensors.make(type, hidden), .dgate_up = gate_up};
    return Work{[=, &queue] { swiglu_gradient(queue, back); }, bytes_of_all({gate_up, back.dy, gate_up})};
  });
}

void add_losses(const Model& model, DType type, const std::string& suffix) {
  const auto whole = [=](Tensors& tensors, bool gradient) {
    return WholeSoftmaxLoss{.logits = tensors.make(type, {model.tokens, padded_vocabulary}),
                            .targets = tensors.make(DType::int32, {model.tokens}),
                            .columns = vocabulary,
                            .loss = tensors.make(DType::float32, {model.tokens}),
                            .scale = 1.0F / static_cast<float>(model.tokens),
                            .gradient = gradient};
  };
  for (const bool gradient : {true, false})
    add((gradient ? "whole_softmax_loss/" : "whole_softmax_loss_only/") + suffix, [=](Queue& queue, Tensors& tensors) {
      const WholeSoftmaxLoss loss = whole(tensors, gradient);
      return Work{[=, &queue] { whole_softmax_loss(queue, loss); },
                  gradient ? bytes_of_all({loss.logits, loss.logits}) : bytes_of_all({loss.logits})};
    });
  add("softmax_statistics_and_loss/" + suffix, [=](Queue& queue, Tensors& tensors) {
    const WholeSoftmaxLoss loss = whole(tensors, true);
    const TensorView statistics = tensors.make(DType::float32, {model.tokens, 3});
    const SoftmaxStatistics first{loss.logits, loss.targets, 0, vocabulary, statistics};
    const SoftmaxLoss second{loss.logits, loss.targets, 0, vocabulary, statistics.reshaped({1, model.tokens, 3}),
                             loss.loss,   loss.scale};
    return Work{[=, &queue] {
                  softmax_statistics(queue, first);
                  softmax_loss(queue, second);
                },
                bytes_of_all({loss.logits, loss.logits, loss.logits})};
  });
  add("add_sum/" + suffix, [=](Queue& queue, Tensors& tensors) {
    const TensorView losses = tensors.make(DType::float32, {model.tokens});
    auto* sum = reinterpret_cast<double*>(tensors.one_number());
    return Work{[=, &queue] { add_sum(queue, losses, sum); }, bytes_of_all({losses})};
  });
}

void add_embeddings(const Model& model, DType type, const std::string& suffix) {
  const Shape stream{model.tokens, model.width};
  add("embedding/" + suffix, [=](Queue& queue, Tensors& tensors) {
    const Embedding forward{.tokens = tensors.make(DType::int32, {model.tokens}),
                            .weight = tensors.make(type, {vocabulary, model.width}),
                            .first_token = 0,
                            .out = tensors.make(type, stream)};
    return Work{[=, &queue] { embedding(queue, forward); }, bytes_of_all({forward.out, forward.out})};
  });
  add("embedding_gradient/" + suffix, [=](Queue& queue, Tensors& tensors) {
    const EmbeddingGradient back{.tokens = tensors.make(DType::int32, {model.tokens}),
                                 .dout = tensors.make(type, stream),
                                 .first_token = 0,
                                 .dweight = tensors.make(DType::float32, {vocabulary, model.width})};
    const double rows = 8.0 * static_cast<double>(tensors.distinct_tokens()) * static_cast<double>(model.width);
    return Work{[=, &queue] { embedding_gradient(queue, back); }, bytes_of_all({back.dout}) + rows};
  });
  add("position_embedding/" + suffix, [=](Queue& queue, Tensors& tensors) {
    const TensorView token = tensors.make(type, stream);
    const PositionEmbedding forward{.token = token,
                                    .weight = tensors.make(DType::float32, {model.sequence, model.width}),
                                    .out = token,
                                    .dropout = {},
                                    .rows = {tensors.one_number(), 0, model.sequence}};
    return Work{[=, &queue] { position_embedding(queue, forward); }, bytes_of_all({token, token, forward.weight})};
  });
  add("position_embedding_gradient/" + suffix, [=](Queue& queue, Tensors& tensors) {
    const TensorView token = tensors.make(type, stream);
    const PositionEmbeddingGradient back{.dout = token,
                                         .dtoken = token,
                                         .dweight = tensors.make(DType::float32, {model.sequence, model.width}),
                                         .dropout = {},
                                         .rows = {tensors.one_number(), 0, model.sequence}};
    return Work{[=, &queue] { position_embedding_gradient(queue, back); },
                bytes_of_all({token, back.dweight, back.dweight})};
  });
}

void add_parameter_operations() {
  const Shape all{parameters};
  for (const DType type : {DType::bfloat16, DType::float32})
    add("adamw/parameters/" + std::string(name_of(type)), [=](Queue& queue, Tensors& tensors) {
      const AdamWPiece piece{.master = tensors.make(DType::float32, all),
                             .gradient = tensors.make(type, all),
                             .addend = {},
                             .first_moment = tensors.make(DType::float32, all),
                             .second_moment = tensors.make(DType::float32, all, Numbers::positive),
                             .weight = tensors.make(DType::bfloat16, all),
                             .decay = true};
      const AdamWStep values{.learning_rate = 1e-4F};
      const TensorView step = tensors.make(DType::uint8, {sizeof(AdamWStep)});
      const HostMirror mirror(step.raw(), step.bytes());
      std::memcpy(mirror.data(), &values, sizeof(values));
      mirror.publish(queue);
      queue.drain("the step's numbers");
      const auto* of_step = reinterpret_cast<const AdamWStep*>(step.raw());
      return Work{[=, &queue] { adamw(queue, {}, of_step, std::span(&piece, 1)); },
                  bytes_of_all({piece.gradient, piece.master, piece.master, piece.first_moment, piece.first_moment,
                                piece.second_moment, piece.second_moment, piece.weight})};
    });
  add("squared_norm/parameters", [=](Queue& queue, Tensors& tensors) {
    const NormPiece piece{
        .tensor = tensors.make(DType::float32, all), .addend = {}, .sum = {tensors.one_number(), DType::float64, {1}}};
    return Work{[=, &queue] { add_squared_norms(queue, std::span(&piece, 1)); }, bytes_of_all({piece.tensor})};
  });
  add("cast/float32_to_bfloat16", [=](Queue& queue, Tensors& tensors) {
    const TensorView from = tensors.make(DType::float32, all), to = tensors.make(DType::bfloat16, all);
    return Work{[=, &queue] { cast(queue, from, to); }, bytes_of_all({from, to})};
  });
}

/// The number after "--tokens=", which is removed from the arguments; 0 without one.
std::int64_t tokens_asked_for(int& argc, char** argv) {
  const std::string flag = "--tokens=";
  std::int64_t tokens = 0;
  int kept = 1;
  for (int i = 1; i < argc; ++i)
    if (std::string(argv[i]).starts_with(flag))
      tokens = std::stoll(argv[i] + flag.size());
    else
      argv[kept++] = argv[i];
  argc = kept;
  return tokens;
}

void add_all(std::int64_t tokens) {
  for (Model model : models()) {
    if (tokens > 0) model.tokens = tokens;
    for (const DType type : {DType::bfloat16, DType::float32}) {
      const std::string suffix = std::string(model.name) + "/" + std::string(name_of(type));
      add_norms(model, type, suffix);
      add_losses(model, type, suffix);
      add_embeddings(model, type, suffix);
    }
  }
  for (LlamaModel model : llama_models()) {
    if (tokens > 0) model.tokens = tokens;
    for (const DType type : {DType::bfloat16, DType::float32}) {
      const std::string suffix = std::string(model.name) + "/" + std::string(name_of(type));
      add_rms_norms(model, type, suffix);
      add_rotations(model, type, suffix);
      add_swiglus(model, type, suffix);
    }
  }
  add_parameter_operations();
}

}  // namespace
}  // namespace penstock::ops

int main(int argc, char** argv) {
  penstock::ops::add_all(penstock::ops::tokens_asked_for(argc, argv));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::ConsoleReporter table(benchmark::ConsoleReporter::OO_Tabular);
  benchmark::RunSpecifiedBenchmarks(&table);
  benchmark::Shutdown();
  return 0;
}

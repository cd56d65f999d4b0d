// SPDX-License-Identifier: Apache-2.0
#pragma once
// Small Hugging Face directories of each family, with the names and shapes that transformers gives their tensors and
// with values that are as good as distinct, everywhere.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "exchange/sample_files.hpp"

namespace penstock::test {

struct SampleModel {
  nlohmann::json config;
  SampleTensors tensors;
};

namespace sample {

/// Adds tensors with sample values.
class Tensors {
 public:
  Tensors(SampleModel& model, std::string prefix, std::string type)
      : model_(&model), prefix_(std::move(prefix)), type_(std::move(type)) {}
  void add(const std::string& name, const std::vector<std::int64_t>& shape) {
    model_->tensors[prefix_ + name] = sample_tensor(prefix_ + name, shape, type_);
  }
  void add_with_bias(const std::string& name, std::int64_t rows, std::int64_t columns, std::int64_t bias) {
    add(name + ".weight", {rows, columns});
    if (bias > 0) add(name + ".bias", {bias});
  }

 private:
  SampleModel* model_;
  std::string prefix_, type_;
};

}  // namespace sample

/// Two layers of width 24 with 3 heads and an MLP of 40 channels.
inline SampleModel sample_gpt2(const std::string& type = "F32", const std::string& prefix = "transformer.") {
  SampleModel model;
  model.config = {{"model_type", "gpt2"}, {"n_layer", 2},
                  {"n_embd", 24},         {"n_head", 3},
                  {"n_positions", 16},    {"n_inner", 40},
                  {"vocab_size", 51},     {"torch_dtype", type == "BF16" ? "bfloat16" : "float32"}};
  sample::Tensors tensors(model, prefix, type);
  tensors.add("wte.weight", {51, 24});
  tensors.add("wpe.weight", {16, 24});
  for (const std::string layer : {"h.0.", "h.1."}) {
    tensors.add_with_bias(layer + "attn.c_attn", 24, 72, 72);
    tensors.add_with_bias(layer + "attn.c_proj", 24, 24, 24);
    tensors.add_with_bias(layer + "mlp.c_fc", 24, 40, 40);
    tensors.add_with_bias(layer + "mlp.c_proj", 40, 24, 24);
    for (const std::string norm : {"ln_1", "ln_2"})
      for (const std::string end : {".weight", ".bias"}) tensors.add(layer + norm + end, {24});
  }
  tensors.add("ln_f.weight", {24});
  tensors.add("ln_f.bias", {24});
  return model;
}

/// Two layers of width 24 with 4 heads of 8 channels (not the width), 2 kv heads, an MLP of 40 channels. All biases
/// that the family can have.
inline SampleModel sample_llama(const std::string& family = "llama", bool tied = false, const std::string& type = "F32",
                                const std::string& prefix = "model.") {
  SampleModel model;
  model.config = {{"model_type", family},
                  {"num_hidden_layers", 2},
                  {"hidden_size", 24},
                  {"head_dim", 8},
                  {"num_attention_heads", 4},
                  {"num_key_value_heads", 2},
                  {"intermediate_size", 40},
                  {"max_position_embeddings", 64},
                  {"vocab_size", 51},
                  {"rope_theta", 5e5},
                  {"tie_word_embeddings", tied},
                  {"sliding_window", nullptr},
                  {"torch_dtype", type == "BF16" ? "bfloat16" : "float32"}};
  const bool qkv_bias = family != "mistral", output_bias = family == "llama" || family == "qwen3";
  const bool mlp_bias = family == "llama", norms = family == "qwen3";
  if (output_bias) model.config["attention_bias"] = true;
  if (mlp_bias) model.config["mlp_bias"] = true;
  sample::Tensors tensors(model, prefix, type);
  tensors.add("embed_tokens.weight", {51, 24});
  for (const std::string layer : {"layers.0.", "layers.1."}) {
    tensors.add(layer + "input_layernorm.weight", {24});
    tensors.add(layer + "post_attention_layernorm.weight", {24});
    tensors.add_with_bias(layer + "self_attn.q_proj", 32, 24, qkv_bias ? 32 : 0);
    tensors.add_with_bias(layer + "self_attn.k_proj", 16, 24, qkv_bias ? 16 : 0);
    tensors.add_with_bias(layer + "self_attn.v_proj", 16, 24, qkv_bias ? 16 : 0);
    tensors.add_with_bias(layer + "self_attn.o_proj", 24, 32, output_bias ? 24 : 0);
    for (const std::string norm : {"q_norm", "k_norm"})
      if (norms) tensors.add(layer + "self_attn." + norm + ".weight", {8});
    tensors.add_with_bias(layer + "mlp.gate_proj", 40, 24, mlp_bias ? 40 : 0);
    tensors.add_with_bias(layer + "mlp.up_proj", 40, 24, mlp_bias ? 40 : 0);
    tensors.add_with_bias(layer + "mlp.down_proj", 24, 40, mlp_bias ? 24 : 0);
  }
  tensors.add("norm.weight", {24});
  if (!tied) sample::Tensors(model, "", type).add("lm_head.weight", {51, 24});
  return model;
}

/// Writes the directory, its tensors dealt out to `shards` files in turn; one: model.safetensors.
inline void write_model(const std::filesystem::path& folder, const SampleModel& model, int shards = 1) {
  std::filesystem::create_directories(folder);
  write_file(folder / "config.json", model.config.dump(2) + "\n");
  if (shards == 1) return write_file(folder / "model.safetensors", safetensors_bytes(model.tensors));
  std::vector<SampleTensors> parts(static_cast<std::size_t>(shards));
  nlohmann::json index = {{"metadata", {{"total_size", 0}}}, {"weight_map", nlohmann::json::object()}};
  std::size_t next = 0;
  for (const auto& [name, tensor] : model.tensors) {
    const std::size_t shard = next++ % parts.size();
    parts[shard][name] = tensor;
    index["weight_map"][name] = "model-0000" + std::to_string(shard + 1) + ".safetensors";
  }
  for (std::size_t i = 0; i < parts.size(); ++i)
    write_file(folder / ("model-0000" + std::to_string(i + 1) + ".safetensors"), safetensors_bytes(parts[i]));
  write_file(folder / "model.safetensors.index.json", index.dump(2));
}

}  // namespace penstock::test

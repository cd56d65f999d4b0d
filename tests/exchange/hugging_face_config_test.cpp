// SPDX-License-Identifier: Apache-2.0
#include "exchange/hugging_face_config.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "data/temporary_folder.hpp"

namespace penstock::hugging_face_config_test {
namespace {

using nlohmann::json;
using Family = HuggingFaceFamily;

HuggingFaceConfig parse(const std::string& text) { return parse_hugging_face_config(text, "DIR/config.json"); }
HuggingFaceConfig parse(const char* text) { return parse(std::string(text)); }
HuggingFaceConfig parse(const json& config) { return parse(config.dump()); }

// A small model of each family with all keys that its class of transformers 5.24 writes.
json gpt2() {
  return {{"model_type", "gpt2"},
          {"n_layer", 2},
          {"n_embd", 24},
          {"n_head", 3},
          {"n_positions", 32},
          {"vocab_size", 101},
          {"activation_function", "gelu_new"},
          {"n_inner", nullptr},
          {"attn_pdrop", 0.1},
          {"scale_attn_weights", true},
          {"layer_norm_epsilon", 1e-5}};
}
json llama_like(const std::string& type) {
  return {{"model_type", type},
          {"num_hidden_layers", 2},
          {"hidden_size", 24},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"intermediate_size", 40},
          {"max_position_embeddings", 64},
          {"vocab_size", 101},
          {"hidden_act", "silu"},
          {"attention_dropout", 0.0},
          {"rms_norm_eps", 1e-5}};
}
json with(json config, const std::string& key, const json& value) {
  config[key] = value;
  return config;
}

TEST(HuggingFaceConfigTest, DefaultsAreThoseOfTransformers) {
  // GPT2Config(), LlamaConfig(), ... of transformers 5.24.0, printed.
  const HuggingFaceConfig g = parse(json{{"model_type", "gpt2"}});
  const HuggingFaceConfig expected_gpt2{.family = Family::gpt2,
                                        .layers = 12,
                                        .width = 768,
                                        .heads = 12,
                                        .kv_heads = 12,
                                        .head_channels = 64,
                                        .hidden = 3072,
                                        .vocabulary = 50257,
                                        .positions = 1024,
                                        .norm_epsilon = 1e-5,
                                        .tied = true,
                                        .attention_bias = true,
                                        .mlp_bias = true};
  EXPECT_EQ(g, expected_gpt2);
  HuggingFaceConfig expected{.family = Family::llama,
                             .layers = 32,
                             .width = 4096,
                             .heads = 32,
                             .kv_heads = 32,
                             .head_channels = 128,
                             .hidden = 11008,
                             .vocabulary = 32000,
                             .positions = 2048,
                             .norm_epsilon = 1e-6,
                             .rope_theta = 10000};
  EXPECT_EQ(parse(json{{"model_type", "llama"}}), expected);
  expected.family = Family::mistral;
  expected.kv_heads = 8;
  expected.hidden = 14336;
  expected.positions = 131072;
  expected.window = 4096;
  EXPECT_EQ(parse(json{{"model_type", "mistral"}}), expected);
  expected.family = Family::qwen2;
  expected.kv_heads = 32;
  expected.hidden = 22016;
  expected.vocabulary = 151936;
  expected.positions = 32768;
  expected.window = 0;
  expected.attention_bias = true;
  EXPECT_EQ(parse(json{{"model_type", "qwen2"}}), expected);
  EXPECT_FALSE(expected.attention_output_bias());
  expected.family = Family::qwen3;
  expected.attention_bias = false;
  expected.query_key_norm = true;
  EXPECT_EQ(parse(json{{"model_type", "qwen3"}}), expected);
}

TEST(HuggingFaceConfigTest, TakesTheKeysThatPublicFilesHave) {
  // Keys and sizes of the files beside GPT-2, SmolLM2-135M, Llama-3.2-1B, Qwen2.5-0.5B, Qwen3-0.6B and Mistral-7B-v0.1.
  const HuggingFaceConfig gpt2 = parse(R"({"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"],
    "attn_pdrop": 0.1, "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12,
    "n_positions": 1024, "resid_pdrop": 0.1, "summary_activation": null, "summary_first_dropout": 0.1,
    "summary_proj_to_labels": true, "summary_type": "cls_index", "summary_use_proj": true,
    "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}}, "vocab_size": 50257})");
  EXPECT_EQ(gpt2, parse(json{{"model_type", "gpt2"}}));
  const HuggingFaceConfig smollm2 = parse(R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false,
    "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 576,
    "initializer_range": 0.041666666666666664, "intermediate_size": 1536, "is_llama_config": true,
    "max_position_embeddings": 8192, "mlp_bias": false, "model_type": "llama", "num_attention_heads": 9,
    "num_hidden_layers": 30, "num_key_value_heads": 3, "pad_token_id": 2, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
    "rope_interleaved": false, "rope_scaling": null, "rope_theta": 100000, "tie_word_embeddings": true,
    "torch_dtype": "bfloat16", "transformers_version": "4.42.3", "transformers.js_config": {"kv_cache_dtype": "x"},
    "use_cache": true, "vocab_size": 49152})");
  EXPECT_EQ(smollm2.head_channels, 64);
  EXPECT_EQ(smollm2.kv_heads, 3);
  const HuggingFaceConfig llama = parse(R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false,
    "attention_dropout": 0.0, "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "head_dim": 64,
    "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 8192,
    "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama", "num_attention_heads": 32,
    "num_hidden_layers": 16, "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
    "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0,
    "tie_word_embeddings": true, "torch_dtype": "bfloat16", "transformers_version": "4.45.0.dev0", "use_cache": true,
    "vocab_size": 128256})");
  EXPECT_EQ(llama.rope_scaling.factor, 32);
  const HuggingFaceConfig qwen2 = parse(R"({"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0,
    "bos_token_id": 151643, "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 896,
    "initializer_range": 0.02, "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 24,
    "model_type": "qwen2", "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true,
    "torch_dtype": "bfloat16", "transformers_version": "4.40.1", "use_cache": true, "use_mrope": false,
    "use_sliding_window": false, "vocab_size": 151936})");
  EXPECT_EQ(qwen2.window, 0);
  const HuggingFaceConfig qwen3 = parse(R"({"architectures": ["Qwen3ForCausalLM"], "attention_bias": false,
    "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu",
    "hidden_size": 1024, "initializer_range": 0.02, "intermediate_size": 3072, "max_position_embeddings": 40960,
    "max_window_layers": 28, "model_type": "qwen3", "num_attention_heads": 16, "num_hidden_layers": 28,
    "num_key_value_heads": 8, "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1000000,
    "sliding_window": null, "tie_word_embeddings": true, "torch_dtype": "bfloat16", "transformers_version": "4.51.0",
    "use_cache": true, "use_sliding_window": false, "vocab_size": 151936})");
  EXPECT_EQ(qwen3.heads * qwen3.head_channels, 2 * qwen3.width);
  const HuggingFaceConfig mistral = parse(R"({"architectures": ["MistralForCausalLM"], "bos_token_id": 1,
    "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
    "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mistral", "num_attention_heads": 32,
    "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
    "sliding_window": 4096, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
    "transformers_version": "4.34.0.dev0", "use_cache": true, "vocab_size": 32000})");
  EXPECT_EQ(mistral.window, 4096);
}

TEST(HuggingFaceConfigTest, NullIsAsGoodAsAbsent) {
  EXPECT_EQ(parse(with(llama_like("llama"), "head_dim", nullptr)).head_channels, 6);
  EXPECT_EQ(parse(with(llama_like("llama"), "head_dim", 10)).head_channels, 10);
  EXPECT_EQ(parse(with(llama_like("qwen3"), "head_dim", nullptr)).head_channels, 128);
  EXPECT_EQ(parse(with(llama_like("llama"), "num_key_value_heads", nullptr)).kv_heads, 4);
  EXPECT_EQ(parse(with(llama_like("mistral"), "num_key_value_heads", nullptr)).kv_heads, 4);
  EXPECT_EQ(parse(with(llama_like("mistral"), "sliding_window", nullptr)).window, 0);
  EXPECT_EQ(parse(gpt2()).hidden, 96);
  EXPECT_EQ(parse(with(gpt2(), "n_inner", 50)).hidden, 50);
  EXPECT_EQ(parse(with(llama_like("llama"), "some_new_key", nullptr)), parse(llama_like("llama")));
}

TEST(HuggingFaceConfigTest, ReadsEveryFormOfRope) {
  const auto rope = [](const json& members) {
    json config = llama_like("llama");
    config.update(members);
    return parse(config);
  };
  EXPECT_EQ(rope({{"rope_theta", 500000}}).rope_theta, 500000);
  EXPECT_EQ(rope({{"rope_theta", 500000}, {"rope_scaling", nullptr}}).rope_scaling, RopeScaling{});
  EXPECT_EQ(rope({{"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 1e6}}}}).rope_theta, 1e6);
  const RopeScaling linear{.kind = RopeKind::linear, .factor = 2.5};
  EXPECT_EQ(rope({{"rope_scaling", {{"type", "linear"}, {"factor", 2.5}}}}).rope_scaling, linear);
  EXPECT_EQ(rope({{"rope_scaling", {{"rope_type", "linear"}, {"type", "linear"}, {"factor", 2.5}}}}).rope_scaling,
            linear);
  const RopeScaling llama3{.kind = RopeKind::llama3, .factor = 32, .low = 1, .high = 4, .original = 8192};
  const json llama3_members{{"rope_type", "llama3"},
                            {"factor", 32.0},
                            {"low_freq_factor", 1.0},
                            {"high_freq_factor", 4.0},
                            {"original_max_position_embeddings", 8192}};
  EXPECT_EQ(rope({{"rope_scaling", llama3_members}, {"rope_theta", 5e5}}).rope_scaling, llama3);
  json newer = llama3_members;
  newer["rope_theta"] = 5e5;
  EXPECT_EQ(rope({{"rope_parameters", newer}}).rope_scaling, llama3);
  EXPECT_EQ(rope({{"rope_parameters", newer}}).rope_theta, 5e5);
  EXPECT_EQ(rope({{"rope_parameters", newer}, {"rope_scaling", llama3_members}, {"rope_theta", 500000}}).rope_theta,
            5e5);
  const RopeScaling yarn{.kind = RopeKind::yarn, .factor = 4, .original = 64};
  EXPECT_EQ(rope({{"rope_scaling", {{"type", "yarn"}, {"factor", 4.0}}}}).rope_scaling, yarn);
  EXPECT_EQ(rope({{"rope_scaling",
                   {{"rope_type", "yarn"},
                    {"factor", 4.0},
                    {"original_max_position_embeddings", 64},
                    {"beta_fast", 32},
                    {"beta_slow", 1.0},
                    {"attention_factor", 1.1386294361119891},
                    {"truncate", true}}}})
                .rope_scaling,
            yarn);
}

TEST(HuggingFaceConfigTest, ReadsEveryFormOfWindow) {
  const auto window = [](const std::string& type, const json& members) {
    json config = llama_like(type);
    config.update(members);
    return parse(config).window;
  };
  EXPECT_EQ(window("mistral", {{"sliding_window", 7}}), 7);
  EXPECT_EQ(window("mistral", {{"sliding_window", 7}, {"layer_types", {"sliding_attention", "sliding_attention"}}}), 7);
  EXPECT_EQ(window("mistral", json{{"sliding_window", nullptr}, {"layer_types", {"full_attention", "full_attention"}}}),
            0);
  EXPECT_EQ(window("qwen2", {{"sliding_window", 7}}), 0);
  EXPECT_EQ(window("qwen2", {{"sliding_window", 7}, {"use_sliding_window", false}}), 0);
  EXPECT_EQ(window("qwen2", {{"sliding_window", 7}, {"use_sliding_window", true}}), 0);  // from layer 28 on
  EXPECT_EQ(window("qwen2", {{"sliding_window", 7}, {"use_sliding_window", true}, {"max_window_layers", 2}}), 0);
  EXPECT_EQ(window("qwen2", {{"sliding_window", 7}, {"use_sliding_window", true}, {"max_window_layers", 0}}), 7);
  EXPECT_EQ(window("qwen3", {{"sliding_window", 7},
                             {"use_sliding_window", true},
                             {"layer_types", {"sliding_attention", "sliding_attention"}}}),
            7);
  EXPECT_EQ(window("qwen3", {{"sliding_window", 7},
                             {"use_sliding_window", true},
                             {"max_window_layers", 1},
                             {"layer_types", {"full_attention", "full_attention"}}}),
            0);
  EXPECT_EQ(window("qwen3", json{{"sliding_window", nullptr}, {"use_sliding_window", true}, {"max_window_layers", 0}}),
            0);
}

struct Refusal {
  json config;
  std::vector<std::string> words;
};

std::vector<Refusal> refusals() {
  const json llama = llama_like("llama"), qwen = llama_like("qwen2"), mistral = llama_like("mistral");
  const auto rope = [&](const json& object) { return with(llama, "rope_scaling", object); };
  return {
      {json::object(), {"model_type = (none)", "gpt2, llama, mistral, qwen2, qwen3"}},
      {with(llama, "model_type", "gemma2"), {"model_type = \"gemma2\"", "one of these families"}},
      {with(llama, "model_type", 3), {"model_type = 3"}},
      {with(llama, "num_hidden_layers", 0), {"num_hidden_layers = 0", "whole number from 1"}},
      {with(llama, "num_hidden_layers", -2), {"num_hidden_layers = -2"}},
      {with(llama, "hidden_size", 24.5), {"hidden_size = 24.5"}},
      {with(llama, "hidden_size", "24"), {"hidden_size = \"24\""}},
      {with(llama, "vocab_size", 1e300), {"vocab_size = 1e+300"}},
      {with(llama, "vocab_size", 18446744073709551615U), {"vocab_size = 18446744073709551615"}},
      {with(llama, "intermediate_size", true), {"intermediate_size = true"}},
      {with(llama, "hidden_size", 25), {"hidden_size = 25 is no multiple of num_attention_heads = 4"}},
      {with(gpt2(), "n_head", 5), {"n_embd = 24 is no multiple of n_head = 5"}},
      {with(llama, "num_key_value_heads", 3), {"num_attention_heads = 4 is no multiple of num_key_value_heads = 3"}},
      {with(llama, "head_dim", 5), {"5 channels", "even"}},
      {with(llama, "rms_norm_eps", 0), {"rms_norm_eps = 0", "above 0"}},
      {with(llama, "rms_norm_eps", "1e-5"), {"rms_norm_eps = \"1e-5\""}},
      {with(llama, "tie_word_embeddings", 1), {"tie_word_embeddings = 1", "true or false"}},
      {with(llama, "hidden_act", "gelu"), {"hidden_act = \"gelu\"", "silu", "no such model"}},
      {with(gpt2(), "activation_function", "gelu"), {"activation_function = \"gelu\"", "gelu_new"}},
      {with(gpt2(), "scale_attn_weights", false), {"scale_attn_weights = false"}},
      {with(gpt2(), "scale_attn_by_inverse_layer_idx", true), {"scale_attn_by_inverse_layer_idx = true"}},
      {with(gpt2(), "add_cross_attention", true), {"add_cross_attention = true"}},
      {with(gpt2(), "n_ctx", 16), {"n_ctx = 16 and n_positions = 32 differ"}},
      {with(gpt2(), "rope_theta", 1e4), {"rope_theta = 10000.0", "does not know this key of gpt2"}},
      {with(llama, "attention_dropout", 0.1), {"attention_dropout = 0.1"}},
      {with(llama, "rope_interleaved", true), {"rope_interleaved = true"}},
      {with(llama, "partial_rotary_factor", 0.5), {"partial_rotary_factor = 0.5"}},
      {with(llama, "quantization_config", {{"bits", 4}}), {"quantization_config = an object"}},
      {with(llama, "num_local_experts", 8), {"num_local_experts = 8", "does not know this key of llama"}},
      {with(llama, "rms_norm_epsilon", 1e-5), {"rms_norm_epsilon = 1e-05", "set it to null"}},
      {with(llama, "rope_thetta", 1e6), {"rope_thetta", "is rope_theta meant?"}},
      {with(llama, "sliding_window", 16), {"sliding_window = 16", "does not know this key of llama"}},
      {with(qwen, "attention_bias", false), {"attention_bias = false", "true only"}},
      {with(mistral, "attention_bias", true), {"attention_bias = true", "false only"}},
      {with(mistral, "sliding_window", 0), {"sliding_window = 0"}},
      {with(llama, "rope_theta", 0), {"rope_theta = 0", "of 1 or more"}},
      {with(llama, "rope_theta", "10000"), {"rope_theta = \"10000\""}},
      {rope("linear"), {"rope_scaling = \"linear\"", "object or null"}},
      {rope({{"type", "dynamic"}, {"factor", 2.0}}), {"rope_scaling.type = \"dynamic\"", "linear, llama3 and yarn"}},
      {rope({{"rope_type", "longrope"}, {"factor", 2.0}}), {"rope_scaling.rope_type = \"longrope\""}},
      {rope({{"rope_type", "linear"}, {"type", "yarn"}, {"factor", 2.0}}), {"differ"}},
      {rope({{"type", "linear"}}), {"rope_scaling.factor is missing"}},
      {rope({{"type", "linear"}, {"factor", 0.5}}), {"rope_scaling.factor = 0.5", "of 1 or more"}},
      {rope({{"type", "linear"}, {"factor", 2.0}, {"base", 7}}), {"rope_scaling.base = 7"}},
      {rope({{"factor", 2.0}}), {"rope_scaling.factor = 2.0", "1 only"}},
      {rope({{"rope_type", "llama3"}, {"factor", 8.0}, {"low_freq_factor", 1.0}}), {"high_freq_factor is missing"}},
      {rope({{"rope_type", "llama3"}, {"factor", 8.0}, {"low_freq_factor", 4.0}, {"high_freq_factor", 1.0}}),
       {"must be larger than"}},
      {rope({{"rope_type", "llama3"},
             {"factor", 8.0},
             {"low_freq_factor", 1.0},
             {"high_freq_factor", 4.0},
             {"original_max_position_embeddings", 0.5}}),
       {"original_max_position_embeddings = 0.5"}},
      {rope({{"type", "yarn"}, {"factor", 4.0}, {"beta_fast", 16}}), {"beta_fast = 16", "32 only"}},
      {rope({{"type", "yarn"}, {"factor", 4.0}, {"attention_factor", 1.0}}), {"attention_factor = 1.0", "1.13862"}},
      {rope({{"type", "yarn"}, {"factor", 4.0}, {"mscale", 1.0}}), {"mscale = 1.0"}},
      {rope({{"type", "yarn"}, {"factor", 4.0}, {"truncate", false}}), {"truncate = false"}},
      {with(llama, "rope_parameters", {{"full_attention", {{"rope_theta", 1e4}}}}), {"full_attention"}},
      {with(with(llama, "rope_theta", 1e6), "rope_parameters", {{"rope_type", "default"}, {"rope_theta", 1e4}}),
       {"rope_theta is 1000000 in one place and 10000 in rope_parameters"}},
      {with(rope({{"type", "linear"}, {"factor", 2.0}}), "rope_parameters", {{"rope_type", "default"}}),
       {"rope_scaling and rope_parameters differ"}},
      {with(with(qwen, "use_sliding_window", true), "max_window_layers", 1), {"max_window_layers = 1", "some layers"}},
      {with(with(qwen, "use_sliding_window", true), "layer_types", {"full_attention", "sliding_attention"}),
       {"1 of full_attention and 1 of sliding_attention"}},
      {with(qwen, "layer_types", {"sliding_attention", "sliding_attention"}), {"no sliding_window is in use"}},
      {with(qwen, "layer_types", {"full_attention"}), {"layer_types has 1 entries, and num_hidden_layers = 2"}},
      {with(qwen, "layer_types", {"full_attention", "linear_attention"}), {"layer_types has \"linear_attention\""}},
      {with(mistral, "layer_types", {"full_attention", "full_attention"}), {"sliding_window = 4096 says otherwise"}},
  };
}

TEST(HuggingFaceConfigTest, RefusesByNameWithValueAndCure) {
  for (const Refusal& refusal : refusals()) {
    const std::string message = test::input_error([&] { parse(refusal.config); });
    EXPECT_TRUE(message.starts_with("DIR/config.json: ")) << refusal.config << "\n" << message;
    EXPECT_NE(message.find(';'), std::string::npos) << message;
    for (const std::string& words : refusal.words)
      EXPECT_NE(message.find(words), std::string::npos) << words << "\n" << refusal.config << "\n" << message;
  }
  for (const std::string text : {"", "{", "[]", "3", "{\"model_type\": \"gpt2\", \"model_type\": \"llama\"}", "\xff"})
    EXPECT_TRUE(test::input_error([&] { parse(text); }).starts_with("DIR/config.json: ")) << text;
}

TEST(HuggingFaceConfigTest, ReportsAllMistakesAtOnce) {
  json config = with(with(llama_like("llama"), "hidden_act", "gelu"), "num_local_experts", 8);
  config["vocab_size"] = 0;
  const std::string message = test::input_error([&] { parse(config); });
  EXPECT_TRUE(message.starts_with("3 mistakes in the input:")) << message;
  for (const std::string words : {"hidden_act", "num_local_experts", "vocab_size = 0"})
    EXPECT_NE(message.find(words), std::string::npos) << message;
}

TEST(HuggingFaceConfigTest, ATextSaysWhatItsValueSays) {
  std::vector<json> configs{gpt2(), with(gpt2(), "n_inner", 50), with(gpt2(), "tie_word_embeddings", false)};
  for (const std::string type : {"llama", "mistral", "qwen2", "qwen3"}) {
    const json config = llama_like(type);
    configs.insert(configs.end(), {config, with(config, "tie_word_embeddings", true), with(config, "head_dim", 10),
                                   with(config, "rope_theta", 123456.5),
                                   with(config, "rope_scaling", {{"type", "yarn"}, {"factor", 4.5}}),
                                   with(config, "rope_scaling", {{"type", "linear"}, {"factor", 3.0}}),
                                   with(config, "rope_scaling",
                                        {{"rope_type", "llama3"},
                                         {"factor", 8.0},
                                         {"low_freq_factor", 1.0},
                                         {"high_freq_factor", 4.0},
                                         {"original_max_position_embeddings", 32}})});
  }
  configs.push_back(with(with(llama_like("llama"), "attention_bias", true), "mlp_bias", true));
  configs.push_back(with(llama_like("qwen3"), "attention_bias", true));
  configs.push_back(with(llama_like("mistral"), "sliding_window", 9));
  configs.push_back(with(llama_like("mistral"), "sliding_window", nullptr));
  configs.push_back(with(with(llama_like("qwen2"), "use_sliding_window", true), "max_window_layers", 0));
  for (const json& config : configs) {
    const HuggingFaceConfig value = parse(config);
    const std::string text = hugging_face_config_text(value, DType::bfloat16);
    EXPECT_EQ(parse(text), value) << text;
    const json written = json::parse(text);
    EXPECT_EQ(written["torch_dtype"], "bfloat16");
    EXPECT_TRUE(written["architectures"].is_array());
    EXPECT_TRUE(written["eos_token_id"].is_null());
    EXPECT_EQ(text.back(), '\n');
  }
  EXPECT_EQ(json::parse(hugging_face_config_text(parse(llama_like("qwen3")), DType::float32))["architectures"],
            json::array({"Qwen3ForCausalLM"}));
}

TEST(HuggingFaceConfigTest, AFamilyWithoutTheKeyRefuses) {
  HuggingFaceConfig config = parse(llama_like("mistral"));
  config.query_key_norm = true;
  const std::string message = test::input_error([&] { hugging_face_config_text(config, DType::float32); });
  EXPECT_NE(message.find("model_type mistral has no keys"), std::string::npos) << message;
}

TEST(HuggingFaceConfigTest, LikeKeepsEveryByteWhereNothingChanged) {
  // Layout, order, forms of numbers and keys without meaning for us.
  const std::string text =
      "{\n    \"transformers_version\": \"4.42.3\",\n  \"model_type\": \"llama\", \"hidden_size\": 24,\n"
      "\"num_attention_heads\": 4, \"rms_norm_eps\": 0.00001, \"vocab_size\": 101, \"hidden_act\": \"swish\",\n"
      "\t\"rope_theta\": 100000, \"torch_dtype\": \"bfloat16\", \"eos_token_id\": [1, 2],\n \"id2label\": {\"0\": "
      "\"}\"}}";
  const HuggingFaceConfig config = parse(text);
  EXPECT_EQ(hugging_face_config_like(text, "c", config, DType::bfloat16), text);
  std::string expected = text;
  expected.replace(expected.find("\"bfloat16\""), 10, "\"float32\"");
  EXPECT_EQ(hugging_face_config_like(text, "c", config, DType::float32), expected);
}

TEST(HuggingFaceConfigTest, LikeChangesWhatIsOtherwise) {
  const auto changed = [&](json original, const auto& change) {
    original["eos_token_id"] = 17;
    HuggingFaceConfig config = parse(original);
    change(config);
    const std::string text = hugging_face_config_like(original.dump(1), "c", config, DType::float32);
    EXPECT_EQ(parse(text), config) << text;
    return json::parse(text);
  };
  const json longer = changed(with(gpt2(), "n_ctx", 32), [](HuggingFaceConfig& c) { c.positions = 48; });
  EXPECT_EQ(longer["n_ctx"], 48);
  EXPECT_EQ(longer["eos_token_id"], 17);
  EXPECT_EQ(longer["attn_pdrop"], 0.1);
  EXPECT_EQ(changed(with(gpt2(), "n_inner", 96),
                    [](HuggingFaceConfig& c) { c.width = 48, c.head_channels = 16, c.hidden = 192; })["n_inner"],
            192);
  const json llama = llama_like("llama");
  EXPECT_EQ(changed(llama, [](HuggingFaceConfig& c) { c.rope_theta = 5e5; })["rope_theta"], 5e5);
  const json newer = changed(with(llama, "rope_parameters", {{"rope_type", "default"}, {"rope_theta", 1e4}}),
                             [](HuggingFaceConfig& c) { c.rope_scaling = {.kind = RopeKind::linear, .factor = 2}; });
  EXPECT_EQ(newer["rope_parameters"]["rope_type"], "linear");
  EXPECT_FALSE(newer.contains("rope_scaling"));
  EXPECT_EQ(changed(llama, [](HuggingFaceConfig& c) { c.head_channels = 10; })["head_dim"], 10);
  EXPECT_EQ(changed(llama, [](HuggingFaceConfig& c) { c.tied = true; })["tie_word_embeddings"], true);
  const json types = with(llama_like("qwen3"), "layer_types", {"full_attention", "full_attention"});
  EXPECT_EQ(changed(types, [](HuggingFaceConfig& c) { c.window = 5, c.layers = 3; })["layer_types"],
            json::array({"sliding_attention", "sliding_attention", "sliding_attention"}));
  EXPECT_EQ(
      changed(with(with(types, "use_sliding_window", true), "layer_types", {"sliding_attention", "sliding_attention"}),
              [](HuggingFaceConfig& c) { c.window = 0; })["layer_types"][0],
      "full_attention");
}

TEST(HuggingFaceConfigTest, LikeAnotherFamilyIsRefused) {
  const std::string message = test::input_error(
      [&] { hugging_face_config_like(gpt2().dump(), "DIR/config.json", parse(llama_like("llama")), DType::float32); });
  EXPECT_NE(message.find("model_type gpt2, and the model to be written is of llama"), std::string::npos) << message;
}

}  // namespace
}  // namespace penstock::hugging_face_config_test

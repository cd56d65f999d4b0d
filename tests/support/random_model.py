#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes small Hugging Face directories with transformers: every tensor, norms and biases too, has random values of its own.

    tests/support/random_model.py FOLDER [VARIANT...]

Each variant becomes FOLDER/VARIANT; without names all of them do. What is silent elsewhere is loud in them: a head's channels
times heads are not the width, the vocabulary (1009) is a prime, scores spread so that softmax is far from uniform, epsilon
and rotary base are not the defaults, and every rope form changes angles within the few tokens of a sample.
"""

import sys
from pathlib import Path

VOCABULARY = 1009
TOKENS = 24  # of a sample: a window is shorter, and llama3's middle range of wavelengths lies around it
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}
LINEAR = {"rope_type": "linear", "factor": 3.0}
NONE = {"rope_type": "default"}
FOUR, SIX = {"heads": 4, "kv_heads": 2}, {"heads": 6, "kv_heads": 3}  # for 1, 2, 4 tensor ranks, and for 1, 3

# name: (family, heads, rope, keys of the config)
VARIANTS = {
    "gpt2": ("gpt2", FOUR, None, {}),
    "gpt2-three": ("gpt2", SIX, None, {"n_inner": None}),
    "llama": ("llama", FOUR, NONE, {}),
    "llama-linear": ("llama", FOUR, LINEAR, {"attention_bias": True, "tie_word_embeddings": True}),
    "llama-llama3": ("llama", FOUR, LLAMA3, {"mlp_bias": True}),
    "llama-yarn": ("llama", FOUR, YARN, {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    "llama-three": ("llama", SIX, LLAMA3, {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    "llama-all-heads": ("llama", {"heads": 4, "kv_heads": 4}, NONE, {}),
    "qwen2": ("qwen2", FOUR, NONE, {}),
    "qwen2-yarn": ("qwen2", FOUR, YARN, {"tie_word_embeddings": True}),
    "qwen2-window": ("qwen2", FOUR, NONE, {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 0}),
    "qwen2-three": ("qwen2", SIX, LINEAR, {"tie_word_embeddings": True}),
    "qwen3": ("qwen3", FOUR, NONE, {}),
    "qwen3-yarn": ("qwen3", FOUR, YARN, {"attention_bias": True, "tie_word_embeddings": True}),
    "qwen3-three": ("qwen3", SIX, LLAMA3, {"attention_bias": True}),
    "mistral": ("mistral", FOUR, NONE, {"sliding_window": 7}),
    "mistral-tied": ("mistral", FOUR, LINEAR, {"sliding_window": None, "tie_word_embeddings": True}),
    "mistral-three": ("mistral", SIX, YARN, {"sliding_window": 11}),
}  # fmt: skip


def make_config(variant):
    import transformers

    family, heads, rope, keys = VARIANTS[variant]
    if family == "gpt2":
        sizes = {"n_embd": 48, "n_head": heads["heads"], "n_layer": 3, "n_inner": 72, "n_positions": 40}
        return transformers.GPT2Config(vocab_size=VOCABULARY, **{**sizes, **keys})
    kind = {"llama": transformers.LlamaConfig, "qwen2": transformers.Qwen2Config, "qwen3": transformers.Qwen3Config,
            "mistral": transformers.MistralConfig}[family]  # fmt: skip
    return kind(**{
        "vocab_size": VOCABULARY, "hidden_size": 48, "intermediate_size": 84, "num_hidden_layers": 3,
        "num_attention_heads": heads["heads"], "num_key_value_heads": heads["kv_heads"], "head_dim": 20,
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-2, "rope_parameters": {"rope_theta": 3000.0, **rope},
        "tie_word_embeddings": False, **keys,
    })  # fmt: skip


def make(folder, variant, dtype="float32", seed=1, shard="200KB"):
    """Writes the directory of a variant; returns it. A weight's rows give sums of about one, so that scores, activations and
    logits are of a size at which a mistake shows."""
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(make_config(variant))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and not any(word in name for word in ("embed", "wte", "wpe", "lm_head")):
                fan_in = parameter.shape[0] if VARIANTS[variant][0] == "gpt2" else parameter.shape[1]
                parameter.normal_(0, 1.2 / fan_in**0.5)
            elif parameter.ndim == 2:
                parameter.normal_(0, 0.3)
            elif name.endswith("weight"):
                parameter.normal_(1, 0.3)
            else:
                parameter.normal_(0, 0.3)
    model.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size=shard)
    return Path(folder)


def main():
    folder, variants = Path(sys.argv[1]), sys.argv[2:] or list(VARIANTS)
    for variant in variants:
        print(make(folder / variant, variant))


if __name__ == "__main__":
    sys.exit(main())

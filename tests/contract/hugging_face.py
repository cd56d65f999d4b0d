# SPDX-License-Identifier: Apache-2.0
"""Hugging Face directories of a test's own making, and a reader of safetensors files."""
import json
import struct
from pathlib import Path

import numpy

VOCABULARY, WIDTH, HEADS, KV_HEADS, HEAD_CHANNELS, HIDDEN, LAYERS, POSITIONS = 97, 24, 4, 2, 8, 40, 2, 64
FAMILIES = ("gpt2", "llama", "mistral", "qwen2", "qwen3")
TOKENIZER = {"tokenizer.json": '{"version": "1.0"}\n', "LICENSE": "none\n"}


def gpt2(positions):
    """config.json, and the shapes of all tensors by name."""
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_layer": LAYERS, "n_embd": WIDTH, "n_head": HEADS,
              "n_positions": positions, "n_inner": HIDDEN, "vocab_size": VOCABULARY, "resid_pdrop": 0.1, "bos_token_id": 96}
    shapes = {"wte.weight": (VOCABULARY, WIDTH), "wpe.weight": (positions, WIDTH), "ln_f.weight": (WIDTH,), "ln_f.bias": (WIDTH,)}
    for layer in range(LAYERS):
        for norm in ("ln_1", "ln_2"):
            shapes |= {f"h.{layer}.{norm}.{end}": (WIDTH,) for end in ("weight", "bias")}
        for name, ins, outs in (("attn.c_attn", WIDTH, 3 * WIDTH), ("attn.c_proj", WIDTH, WIDTH), ("mlp.c_fc", WIDTH, HIDDEN),
                                ("mlp.c_proj", HIDDEN, WIDTH)):
            shapes |= {f"h.{layer}.{name}.weight": (ins, outs), f"h.{layer}.{name}.bias": (outs,)}
    return config, {"transformer." + name: shape for name, shape in shapes.items()}


def llama_like(family, positions, tied):
    config = {"model_type": family, "num_hidden_layers": LAYERS, "hidden_size": WIDTH, "num_attention_heads": HEADS,
              "num_key_value_heads": KV_HEADS, "head_dim": HEAD_CHANNELS, "intermediate_size": HIDDEN,
              "max_position_embeddings": positions, "vocab_size": VOCABULARY, "rms_norm_eps": 1e-05, "rope_theta": 50000.0,
              "tie_word_embeddings": tied, "bos_token_id": 1, "eos_token_id": [2, 3], "use_cache": True}
    qkv_bias, output_bias, mlp_bias = family != "mistral", family in ("llama", "qwen3"), family == "llama"
    if family == "llama":
        config |= {"attention_bias": True, "mlp_bias": True,
                   "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                    "original_max_position_embeddings": 32}}
    if family == "qwen3":
        config["attention_bias"] = True
    if family == "mistral":
        config["sliding_window"] = 12
    shapes = {"model.embed_tokens.weight": (VOCABULARY, WIDTH), "model.norm.weight": (WIDTH,)}
    if not tied:
        shapes["lm_head.weight"] = (VOCABULARY, WIDTH)
    queries, keys = HEADS * HEAD_CHANNELS, KV_HEADS * HEAD_CHANNELS
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        for name, outs, ins, bias in (("self_attn.q_proj", queries, WIDTH, qkv_bias), ("self_attn.k_proj", keys, WIDTH, qkv_bias),
                                      ("self_attn.v_proj", keys, WIDTH, qkv_bias), ("self_attn.o_proj", WIDTH, queries, output_bias),
                                      ("mlp.gate_proj", HIDDEN, WIDTH, mlp_bias), ("mlp.up_proj", HIDDEN, WIDTH, mlp_bias),
                                      ("mlp.down_proj", WIDTH, HIDDEN, mlp_bias)):
            shapes[f"{prefix}{name}.weight"] = (outs, ins)
            if bias:
                shapes[f"{prefix}{name}.bias"] = (outs,)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{prefix}{norm}.weight"] = (WIDTH,)
        if family == "qwen3":
            shapes |= {f"{prefix}self_attn.{name}.weight": (HEAD_CHANNELS,) for name in ("q_norm", "k_norm")}
    return config, shapes


def made_up(family, tied=None, dtype="float32", positions=POSITIONS, seed=1):
    """config.json and tensors (float32 arrays, for bfloat16 of numbers that it has) of a small model."""
    tied = family in ("qwen2", "qwen3") if tied is None else tied
    config, shapes = gpt2(positions) if family == "gpt2" else llama_like(family, positions, tied)
    config["torch_dtype"] = dtype
    source = numpy.random.default_rng(seed)
    tensors = {}
    for name, shape in sorted(shapes.items()):
        values = source.normal(0, 0.05, shape).astype(numpy.float32)
        if "norm" in name or "ln_" in name:
            values += numpy.float32(1)
        tensors[name] = (values.view(numpy.uint32) & 0xFFFF0000).view(numpy.float32) if dtype == "bfloat16" else values
    return config, tensors


def write_safetensors(path, tensors, dtype):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, values in tensors.items():
        stored = values.astype("<f4").tobytes() if dtype == "float32" else (values.view("<u4") >> 16).astype("<u2").tobytes()
        header[name] = {"dtype": "F32" if dtype == "float32" else "BF16", "shape": list(values.shape),
                        "data_offsets": [len(data), len(data) + len(stored)]}
        data += stored
    text = json.dumps(header).encode()
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_directory(folder, config, tensors, shards=1):
    """Tensors are dealt out to `shards` files."""
    folder = Path(folder)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for name, text in TOKENIZER.items():
        (folder / name).write_text(text)
    if shards == 1:
        write_safetensors(folder / "model.safetensors", tensors, config["torch_dtype"])
        return folder
    parts = [dict(list(tensors.items())[shard::shards]) for shard in range(shards)]
    files = [f"model-{shard + 1:05}-of-{shards:05}.safetensors" for shard in range(shards)]
    for file, part in zip(files, parts):
        write_safetensors(folder / file, part, config["torch_dtype"])
    places = {name: file for file, part in zip(files, parts) for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


def write_zeros(folder, config, shapes):
    """A directory of zeros in bfloat16, which take no room on the disk."""
    write_directory(folder, config, {})
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * int(numpy.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with open(Path(folder) / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return Path(folder)


def read_safetensors(path):
    """{name: (dtype, shape, bytes)}"""
    content = Path(path).read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8:8 + length]), content[8 + length:]
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], tuple(entry["shape"]), data[slice(*entry["data_offsets"])]) for name, entry in header.items()}


def read_directory(folder):
    """config.json's text, and all tensors as in read_safetensors."""
    tensors = {}
    for path in sorted(Path(folder).glob("*.safetensors")):
        tensors |= read_safetensors(path)
    return (Path(folder) / "config.json").read_text(), tensors

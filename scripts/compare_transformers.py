#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds Penstock against transformers in PyTorch: the same Hugging Face directory, the same tokens.

    scripts/compare_transformers.py DIRECTORY --text FILE... [--mesh 1x1x1 --mesh 2x2x2 ...]
    scripts/compare_transformers.py DIRECTORY --tokens FILE.tok ...

For each mesh (data x pipeline x tensor) Penstock trains some steps from the directory's weights. transformers computes the
same steps on the CPU in float32, and the two must agree, relative to the norm of what transformers gets, in
  - hidden states and logits of step 1 (--logits),
  - the gradient of every parameter in step 1: AdamW's first moment over 1 - beta1, with clipping off (--gradients),
  - the loss of each step (--loss),
  - every parameter after --steps steps of AdamW, decay of matrices only, the deck's learning rates (--parameters),
  - the loss of --loss-tokens tokens, in samples of --loss-sequence tokens, with precision.compute = float32 (--loss) and
    bfloat16 (--loss-bfloat16).
--text is tokenized with the directory's tokenizer.json, and by bytes where there is none. Decks' other keys come with --set.
Needs Python 3.11, torch, transformers, h5py and numpy; Penstock itself needs none of them. Exit code 0: all equal; 1: not;
2: nothing to compare.
"""

import argparse
import contextlib
import csv
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import compare_pytorch
from compare_pytorch import Table, global_norm, leave, learning_rate, make_adamw, read_capture

try:
    import h5py
    import numpy
    import torch
    import transformers

    MISSING = compare_pytorch.MISSING
except ModuleNotFoundError as missing:
    MISSING = missing.name  # reported once the command line was read: --help needs none of them

OPTIMIZER = {
    "learning_rate": 1e-3, "warmup": 2, "decay": "cosine", "final": 0.1, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8,
    "weight_decay": 0.1, "clip": 0.0,
}  # fmt: skip
MAGIC = b"\x89PSTOK\r\n"
HEADER_BYTES = 64

# What a block's parameters are called: Penstock's name, and the tensors whose rows it joins.
GPT2_BLOCK = {
    "attention_norm": ["ln_1"], "attention.qkv": ["attn.c_attn"], "attention.output": ["attn.c_proj"],
    "mlp_norm": ["ln_2"], "mlp.up": ["mlp.c_fc"], "mlp.down": ["mlp.c_proj"],
}  # fmt: skip
LLAMA_BLOCK = {
    "attention_norm": ["input_layernorm"], "attention.qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "attention.query_norm": ["self_attn.q_norm"], "attention.key_norm": ["self_attn.k_norm"],
    "attention.output": ["self_attn.o_proj"], "mlp_norm": ["post_attention_layernorm"], "mlp.gate": ["mlp.gate_proj"],
    "mlp.up": ["mlp.up_proj"], "mlp.down": ["mlp.down_proj"],
}  # fmt: skip
GPT2_OUTSIDE = {
    "embedding.token": "transformer.wte", "embedding.position": "transformer.wpe", "final_norm": "transformer.ln_f",
    "head": "lm_head",
}  # fmt: skip
LLAMA_OUTSIDE = {"embedding.token": "model.embed_tokens", "final_norm": "model.norm", "head": "lm_head"}


class Reference:
    """The directory's model in transformers, its parameters under Penstock's names."""

    def __init__(self, directory, dtype):
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            directory, dtype=dtype, attn_implementation="eager", local_files_only=True
        )
        self.model.eval()  # no dropout
        self.parameters = dict(self.model.named_parameters())
        self.is_gpt2 = self.model.config.model_type == "gpt2"

    def tensors_of(self, name):
        """The parameters that Penstock's `name` joins."""
        place, end = name.rsplit(".", 1)
        if block := re.fullmatch(r"blocks\.(\d+)\.(.+)", place):
            prefix = f"transformer.h.{block[1]}." if self.is_gpt2 else f"model.layers.{block[1]}."
            places = [prefix + tensor for tensor in (GPT2_BLOCK if self.is_gpt2 else LLAMA_BLOCK)[block[2]]]
        else:
            places = [(GPT2_OUTSIDE if self.is_gpt2 else LLAMA_OUTSIDE)[place]]
        return [self.parameters[f"{tensor}.{end}"] for tensor in places]

    def gather(self, name, value):
        """`value` of each parameter (itself, its gradient), joined and with the rows that Penstock has."""
        tensors = [value(parameter).detach() for parameter in self.tensors_of(name)]
        transposed = self.is_gpt2 and name.startswith("blocks.") and tensors[0].ndim == 2  # Conv1D is [in, out]
        return torch.cat([tensor.T if transposed else tensor for tensor in tensors])

    def check_names(self, names):
        """Every parameter of the model must be Penstock's, and the other way round."""
        met = {id(tensor) for name in names for tensor in self.tensors_of(name)}
        left = [name for name, tensor in self.parameters.items() if id(tensor) not in met]
        if left:
            leave(f"Penstock's checkpoint has no parameter for {', '.join(left)}")

    def forward(self, tokens, targets):
        """Mean loss, logits, hidden states: the embedding's, then each block's but the last (transformers norms that)."""
        out = self.model(input_ids=tokens, use_cache=False, output_hidden_states=True)
        loss = torch.nn.functional.cross_entropy(out.logits.float().flatten(0, 1), targets.flatten())
        return loss, out.logits, out.hidden_states[:-1]

    def text_loss(self, windows):
        """Mean loss of windows of tokens [sample, T + 1]; sums in double."""
        total = 0.0
        with torch.no_grad():
            for window in windows:
                logits = self.model(input_ids=window[None, :-1], use_cache=False).logits[0].float()
                total += torch.nn.functional.cross_entropy(logits, window[1:], reduction="sum").item()
        return total / (windows.shape[0] * (windows.shape[1] - 1))


def write_tokens(path, tokens, vocabulary):
    """A token file, format version 1 (src/data/token_file_header.hpp)."""
    size = 1 if vocabulary <= 1 << 8 else 2 if vocabulary <= 1 << 16 else 4
    tokens = numpy.asarray(tokens)
    head = MAGIC + numpy.array([1, size], "<u4").tobytes()
    head += numpy.array([vocabulary, len(tokens), tokens.max(), 0, 0], "<u8").tobytes()
    checksum = 0xCBF29CE484222325  # FNV-1a
    for byte in head:
        checksum = (checksum ^ byte) * 0x100000001B3 % 2**64
    path.write_bytes(head + numpy.uint64(checksum).astype("<u8").tobytes() + tokens.astype(f"<u{size}").tobytes())


def read_tokens(path):
    content = path.read_bytes()
    if not content.startswith(MAGIC):
        leave(f"{path} is no token file; give text with --text")
    size = int.from_bytes(content[12:16], "little")
    count = int.from_bytes(content[24:32], "little")
    return numpy.frombuffer(content, f"<u{size}", count, HEADER_BYTES)


def tokenize(directory, texts):
    tokenizer = directory / "tokenizer.json"
    if not tokenizer.exists():
        return numpy.frombuffer(b"".join(path.read_bytes() for path in texts), numpy.uint8)
    import tokenizers  # comes with transformers

    encoder = tokenizers.Tokenizer.from_file(str(tokenizer))
    text = "".join(path.read_text(errors="replace") for path in texts)
    return numpy.array(encoder.encode(text, add_special_tokens=False).ids)


class Penstock:
    """Runs the program on one mesh, in a folder."""

    def __init__(self, arguments, tokens, mesh, folder):
        self.arguments, self.tokens, self.mesh, self.folder = arguments, tokens, mesh, folder

    def train(self, run, settings):
        arguments, (data, pipeline, tensor) = self.arguments, self.mesh
        settings = {
            **{f"optimizer.{key}": value for key, value in OPTIMIZER.items()},
            "data.train": str(self.tokens), "mesh.data": data, "mesh.pipeline": pipeline, "mesh.tensor": tensor,
            "run.preflight": False, **settings,
        }  # fmt: skip
        deck = self.folder / "deck.toml"
        deck.write_text("")
        command = [*arguments.mpiexec.split(), "-n", str(data * pipeline * tensor), str(arguments.program.resolve()), "train"]
        command += [str(deck), "--weights", str(arguments.directory.resolve()), "--run", str(self.folder / run)]
        for key, value in settings.items():
            command += ["--set", f"{key}={json.dumps(value)}"]
        for setting in arguments.set:
            command += ["--set", setting]
        environment = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", **os.environ}
        end = subprocess.run(command, env=environment, capture_output=True, text=True)
        (self.folder / f"{run}.log").write_text(end.stderr)
        if end.returncode != 0:
            leave(f"Penstock ended with exit code {end.returncode}: {' '.join(command)}\n{end.stderr}")
        with open(self.folder / run / "metrics.csv") as file:
            return self.folder / run, list(csv.DictReader(file))

    def steps(self):
        arguments = self.arguments
        return self.train("steps", {
            "run.steps": arguments.steps, "data.sequence": arguments.sequence, "batch.global": arguments.batch,
            "batch.micro": arguments.micro, "checkpoint.every": 1, "checkpoint.keep": 0,
            "capture.steps": list(range(1, arguments.steps + 1)),
            "capture.taps": ["embedding", "blocks.*", "logits"] if not arguments.without_taps else ["logits"],
        })  # fmt: skip

    def text_loss(self, samples, compute):
        """Validation on the first samples of the tokens, after one step whose learning rate is too small to change any
        weight."""
        arguments, data = self.arguments, self.mesh[0]
        _, rows = self.train(f"loss-{compute}", {
            "run.steps": 1, "data.sequence": arguments.loss_sequence, "data.validation": str(self.tokens),
            "batch.global": data, "batch.micro": 1, "validation.samples": samples, "precision.compute": compute,
            "optimizer.learning_rate": 1e-30, "checkpoint.background": False,
        })  # fmt: skip
        return float(rows[0]["validation_loss"])


def read_group(path, group):
    with h5py.File(path) as file:
        return {name: torch.from_numpy(dataset[...]) for name, dataset in file[group].items()}


def without_keys(reference, name, tensor):
    """As compare_pytorch has it. Rotary positions and norms of keys leave a key's bias a gradient of its own."""
    return compare_pytorch.without_key_bias(name, tensor) if reference.is_gpt2 else tensor


class Worst:
    """The row of the largest difference over its limit, or all rows."""

    def __init__(self, table, every):
        self.table, self.every, self.rows = table, every, []

    def add(self, name, ours, theirs):
        if ours.shape != theirs.shape:
            leave(f"{name}: Penstock has the shape {tuple(ours.shape)}, transformers {tuple(theirs.shape)}")
        ours, theirs = ours.double(), theirs.detach().double()
        difference = ((ours - theirs).norm() / theirs.norm()).item()
        self.rows.append((difference, name, ours.norm().item(), theirs.norm().item()))

    def print(self, what, limit):
        """A difference that is no number is the worst."""
        rows = sorted(self.rows, key=lambda row: (row[0] != row[0], row[0]))
        for difference, name, ours, theirs in rows if self.every else rows[-1:]:
            self.table.row(f"{what} {name}", ours, theirs, difference, limit)


def compare_steps(arguments, penstock, table):
    run, metrics = penstock.steps()
    reference = Reference(arguments.directory, torch.float32)
    adamw = make_adamw(reference.parameters, OPTIMIZER)
    moments = read_group(run / "checkpoints/step-00000001.h5", "optimizer/first_moment")
    reference.check_names(moments)
    for step in range(1, arguments.steps + 1):
        tokens, targets, taps = read_capture(run / f"captures/step-{step:08}.h5")
        adamw.zero_grad()
        loss, logits, hidden = reference.forward(tokens, targets)
        loss.backward()
        table.numbers(f"step {step}, loss", float(metrics[step - 1]["loss"]), loss.item(), arguments.loss)
        if step == 1:
            states = Worst(table, arguments.all)
            for i, state in enumerate(hidden):
                if (tap := f"blocks.{i - 1}" if i else "embedding") in taps:
                    states.add(tap, taps[tap], state)
            if states.rows:
                states.print("hidden states, worst:" if not arguments.all else "hidden state", arguments.logits)
            table.tensors("logits", taps["logits"], logits, arguments.logits)
            table.numbers("gradient norm", float(metrics[0]["gradient_norm"]), global_norm(reference.parameters), arguments.gradients)
            gradients = Worst(table, arguments.all)
            for name, moment in moments.items():
                theirs = reference.gather(name, lambda parameter: parameter.grad)
                ours = moment.double() / (1 - OPTIMIZER["beta1"])
                gradients.add(name, without_keys(reference, name, ours), without_keys(reference, name, theirs))
            gradients.print("gradient, worst:" if not arguments.all else "gradient", arguments.gradients)
        for group in adamw.param_groups:
            group["lr"] = learning_rate(OPTIMIZER, step, arguments.steps)
        adamw.step()
    parameters = Worst(table, arguments.all)
    for name, ours in read_group(run / f"checkpoints/step-{arguments.steps:08}.h5", "parameters").items():
        theirs = reference.gather(name, lambda parameter: parameter)
        parameters.add(name, without_keys(reference, name, ours), without_keys(reference, name, theirs))
    parameters.print(f"after {arguments.steps} steps, worst:" if not arguments.all else "after the steps,", arguments.parameters)


def parse_mesh(text):
    match = re.fullmatch(r"(\d+)x(\d+)x(\d+)", text)
    if not match or min(map(int, match.groups())) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no mesh; write data x pipeline x tensor like 2x1x4")
    return tuple(map(int, match.groups()))


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="Hugging Face directory: config.json and *.safetensors")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--tokens", type=Path, help="token file")
    source.add_argument("--text", type=Path, nargs="+", help="text files")
    parser.add_argument("--mesh", type=parse_mesh, action="append", help="data x pipeline x tensor (default 1x1x1)")
    parser.add_argument("--program", type=Path, default=Path("build/cpu/penstock"))
    parser.add_argument("--mpiexec", default="mpiexec", help="what starts ranks; -n RANKS follows")
    parser.add_argument("--steps", type=int, default=5, help="steps of AdamW; 0: compare losses of the text only")
    parser.add_argument("--sequence", type=int, default=64, help="tokens of a sample in these steps")
    parser.add_argument("--batch", type=int, default=8, help="samples of a step")
    parser.add_argument("--micro", type=int, default=1, help="samples of a microbatch")
    parser.add_argument("--loss-tokens", type=int, default=4096, help="tokens whose loss is compared; 0: none")
    parser.add_argument("--loss-sequence", type=int, default=256, help="tokens of a sample there")
    parser.add_argument("--compute", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"],
                        help="types in which Penstock computes that loss")  # fmt: skip
    parser.add_argument("--logits", type=float, default=1e-5, help="largest relative difference (default %(default)s)")
    parser.add_argument("--gradients", type=float, default=1e-4, help="likewise")
    parser.add_argument("--parameters", type=float, default=1e-4, help="likewise")
    parser.add_argument("--loss", type=float, default=1e-5, help="likewise")
    parser.add_argument("--loss-bfloat16", type=float, default=1e-2, help="likewise")
    parser.add_argument("--all", action="store_true", help="a row for every tensor, not the worst ones only")
    parser.add_argument("--without-taps", action="store_true", help="logits only: hidden states of a large model are large")
    parser.add_argument("--keep", type=Path, help="folder for Penstock's runs (default: removed in the end)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="further deck keys of the runs")
    arguments = parser.parse_args()
    for path in [arguments.directory / "config.json", *(arguments.text or [arguments.tokens]), arguments.program]:
        if not path.is_file():
            parser.error(f"{path} is not there")
    arguments.mesh = arguments.mesh or [(1, 1, 1)]
    return arguments


def compare(arguments, folder):
    tokens = tokenize(arguments.directory, arguments.text) if arguments.text else read_tokens(arguments.tokens)
    config = json.loads((arguments.directory / "config.json").read_text())
    token_file = folder / "tokens.tok"
    write_tokens(token_file, tokens, config["vocab_size"])
    divisor = max(mesh[0] for mesh in arguments.mesh)
    samples = (min(arguments.loss_tokens, len(tokens) - 1) // arguments.loss_sequence) // divisor * divisor
    if arguments.loss_tokens and samples == 0:
        leave(f"{len(tokens)} tokens are less than {divisor} samples of {arguments.loss_sequence}; set --loss-sequence")
    if arguments.loss_tokens:
        starts = numpy.arange(samples)[:, None] * arguments.loss_sequence
        windows = torch.from_numpy(tokens[starts + numpy.arange(arguments.loss_sequence + 1)].astype(numpy.int64))
        theirs = Reference(arguments.directory, torch.float32).text_loss(windows)
    good = True
    for mesh in arguments.mesh:
        name = "x".join(map(str, mesh))
        print(f"\n{arguments.directory}, data x pipeline x tensor = {name}")
        (folder / name).mkdir(parents=True, exist_ok=True)
        penstock, table = Penstock(arguments, token_file, mesh, folder / name), Table("transformers", 62)
        if arguments.steps:
            compare_steps(arguments, penstock, table)
        if arguments.loss_tokens:
            for compute in arguments.compute:
                limit = arguments.loss if compute == "float32" else arguments.loss_bfloat16
                ours = penstock.text_loss(samples, compute)
                table.numbers(f"loss of {samples * arguments.loss_sequence} tokens, {compute}", ours, theirs, limit)
        good &= table.good
    return good


def main():
    arguments = read_arguments()
    if MISSING:
        leave(f"needs the Python module {MISSING}; run it with a Python that has torch, transformers, h5py and numpy")
    torch.set_num_threads(min(2, torch.get_num_threads()))
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with contextlib.ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-compare-")))
        folder.mkdir(parents=True, exist_ok=True)
        good = compare(arguments, folder.resolve())
    print("\ntransformers and Penstock agree" if good else "\ntransformers and Penstock DIFFER")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

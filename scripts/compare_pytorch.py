#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the first steps of a Penstock run against a plain PyTorch GPT-2.

    scripts/compare_pytorch.py RUN
    scripts/compare_pytorch.py RUN --program build/cpu/penstock --tokens TOKENS.tok [--ranks 4 --set mesh.pipeline=4 ...]

The first form takes a run folder that holds the checkpoint of step 0, captures of steps 1 to 5 and the checkpoint of step 5;
the second one makes it first (any mesh). PyTorch loads the weights of step 0 and the captured tokens, and must get
  - the loss and the gradient norm of step 1 as metrics.csv has them (1e-5 relative),
  - every tap captured in step 1, gradients of taps included (1e-5 of the tap's norm),
  - after 5 steps of AdamW the weights of the step-5 checkpoint (1e-4 of each tensor's norm).
Needs Python 3.11, PyTorch, h5py and numpy; Penstock itself needs none of them. Exit 0: all equal; 1: not; 2: nothing to compare.
"""

import argparse
import csv
import math
import subprocess
import sys
import tomllib
from pathlib import Path


def leave(message):
    """Nothing can be compared: says why, with exit code 2."""
    print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr)
    sys.exit(2)


try:
    import h5py
    import torch
    import torch.nn.functional as F

    MISSING = None
except ModuleNotFoundError as missing:
    MISSING = missing.name  # reported once the command line was read: --help needs none of them

STEPS = 5
LAYER_NORM_EPSILON = 1e-5


class GPT2:
    """GPT-2 as functions of a dictionary of weights under Penstock's names. B samples, T positions, C channels, H heads."""

    def __init__(self, weights, model):
        self.weights = weights
        self.layers, self.heads, self.width = model["layers"], model["heads"], model["width"]
        self.taps = {}

    def tap(self, name, tensor):
        if tensor.requires_grad and not tensor.is_leaf:
            tensor.retain_grad()
        self.taps[name] = tensor
        return tensor

    def linear(self, name, x):
        return F.linear(x, self.weights[name + ".weight"], self.weights[name + ".bias"])

    def norm(self, name, x):
        return F.layer_norm(x, (self.width,), self.weights[name + ".weight"], self.weights[name + ".bias"], LAYER_NORM_EPSILON)

    def attention(self, name, x):
        samples, positions, _ = x.shape
        q, k, v = (
            part.view(samples, positions, self.heads, -1).transpose(1, 2)  # [B, H, T, C / H]
            for part in self.linear(name + ".qkv", x).split(self.width, dim=-1)
        )
        scores = q @ k.transpose(-2, -1) / math.sqrt(self.width // self.heads)
        later = torch.ones(positions, positions, dtype=torch.bool).triu(1)
        probabilities = scores.masked_fill(later, -math.inf).softmax(dim=-1)
        attended = (probabilities @ v).transpose(1, 2).reshape(samples, positions, self.width)
        return self.linear(name + ".output", attended)

    def mlp(self, name, x):
        return self.linear(name + ".down", F.gelu(self.linear(name + ".up", x), approximate="tanh"))

    def block(self, name, x):
        x = x + self.tap(name + ".attention", self.attention(name + ".attention", self.norm(name + ".attention_norm", x)))
        x = x + self.tap(name + ".mlp", self.mlp(name + ".mlp", self.norm(name + ".mlp_norm", x)))
        return self.tap(name, x)

    def loss(self, tokens, targets):
        """Mean loss in nats a token; keeps the taps of this pass."""
        table = self.weights["embedding.token.weight"]
        x = self.tap("embedding", table[tokens] + self.weights["embedding.position.weight"][: tokens.shape[1]])
        for layer in range(self.layers):
            x = self.block(f"blocks.{layer}", x)
        logits = self.tap("logits", self.norm("final_norm", x) @ table.T)
        losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
        return self.tap("loss", losses).mean()


def learning_rate(optimizer, step, steps):
    """Of step `step`, counted from 1: warm-up, then cosine or linear down to optimizer.final * peak at run.steps."""
    peak, warmup, final = optimizer["learning_rate"], optimizer["warmup"], optimizer["final"]
    if step < warmup:
        return peak * step / warmup
    progress = min(1.0, max(0.0, (step - warmup) / max(1, steps - warmup)))
    left = 1 - progress if optimizer["decay"] == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return peak * (final + (1 - final) * left)


def make_adamw(weights, optimizer):
    """PyTorch's AdamW; weight decay on two-dimensional parameters only."""
    groups = [
        {"params": [w for w in weights.values() if w.ndim == 2], "weight_decay": optimizer["weight_decay"]},
        {"params": [w for w in weights.values() if w.ndim != 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=(optimizer["beta1"], optimizer["beta2"]), eps=optimizer["epsilon"])


def clip(weights, norm, limit):
    if limit > 0 and norm > limit:
        for weight in weights.values():
            weight.grad *= limit / norm


def global_norm(weights):
    return math.sqrt(sum(w.grad.double().square().sum().item() for w in weights.values()))


class Table:
    """Rows of (what, Penstock, PyTorch, difference, limit); remembers whether one went wrong."""

    def __init__(self, other="PyTorch", width=44):
        self.good, self.width = True, width
        print(f"{'what':<{width}}{'Penstock':>14}{other:>14}{'difference':>12}{'limit':>9}")

    def row(self, what, ours, theirs, difference, limit):
        good = difference <= limit  # false for NaN
        self.good &= good
        print(f"{what:<{self.width}}{ours:>14.8g}{theirs:>14.8g}{difference:>12.1e}{limit:>9.0e}{'' if good else '   <-- differs'}")

    def numbers(self, what, ours, theirs, limit):
        self.row(what, ours, theirs, abs(ours - theirs) / abs(theirs), limit)

    def tensors(self, what, ours, theirs, limit):
        """Norms, and the norm of the difference over PyTorch's norm."""
        ours, theirs = ours.double(), theirs.detach().double()
        if ours.shape != theirs.shape:
            leave(f"{what}: Penstock has the shape {tuple(ours.shape)}, PyTorch {tuple(theirs.shape)}")
        self.row(what, ours.norm().item(), theirs.norm().item(), ((ours - theirs).norm() / theirs.norm()).item(), limit)


def without_key_bias(name, tensor):
    """A key's bias adds the same number to all scores of a query, which softmax ignores: its gradient is zero but for
    rounding, and AdamW divides that noise by its own size. Those rows (the middle third) say nothing and are left out."""
    if not name.endswith("attention.qkv.bias"):
        return tensor
    q, _, v = tensor.chunk(3)
    return torch.cat([q, v])


def read_tensor(dataset):
    return torch.from_numpy(dataset[...])


def read_weights(path):
    with h5py.File(path) as file:
        return {name: read_tensor(dataset) for name, dataset in file["parameters"].items()}


def read_capture(path):
    with h5py.File(path) as file:
        taps = {name: read_tensor(dataset) for name, dataset in file["taps"].items()} if "taps" in file else {}
        return read_tensor(file["tokens"]).long(), read_tensor(file["targets"]).long(), taps


def compare_taps(table, model, captured):
    for name, ours in sorted(captured.items()):
        of_gradient = name.endswith(".gradient")
        tensor = model.taps[name.removesuffix(".gradient")]
        table.tensors("step 1, " + name, ours, tensor.grad if of_gradient else tensor, 1e-5)


def compare(run):
    deck = tomllib.loads((run / "deck.toml").read_text())
    if deck["precision"]["compute"] != "float32":
        leave(f"{run}: precision.compute is {deck['precision']['compute']}; only float32 runs can be compared this closely")
    dropouts = {key: value for key, value in deck["model"].items() if key.startswith("dropout") and value}
    if dropouts:
        leave(f"{run}: {dropouts}; PyTorch cannot draw Penstock's dropout masks, so a run to compare has dropout 0")
    weights = {name: w.requires_grad_() for name, w in read_weights(run / "checkpoints/step-00000000.h5").items()}
    model, adamw = GPT2(weights, deck["model"]), make_adamw(weights, deck["optimizer"])
    with open(run / "metrics.csv") as file:
        metrics = {int(row["step"]): row for row in csv.DictReader(file)}

    table = Table()
    for step in range(1, STEPS + 1):
        tokens, targets, captured = read_capture(run / f"captures/step-{step:08}.h5")
        adamw.zero_grad()
        loss = model.loss(tokens, targets)
        loss.backward()
        norm = global_norm(weights)
        # Later steps start from weights that already differ by rounding.
        table.numbers(f"step {step}, loss", float(metrics[step]["loss"]), loss.item(), 1e-5)
        table.numbers(f"step {step}, gradient norm", float(metrics[step]["gradient_norm"]), norm, 1e-5 if step == 1 else 1e-4)
        if step == 1:
            compare_taps(table, model, captured)
        clip(weights, norm, deck["optimizer"]["clip"])
        for group in adamw.param_groups:
            group["lr"] = learning_rate(deck["optimizer"], step, deck["run"]["steps"])
        adamw.step()

    for name, ours in read_weights(run / f"checkpoints/step-{STEPS:08}.h5").items():
        table.tensors(f"after step {STEPS}, {name}", without_key_bias(name, ours), without_key_bias(name, weights[name]), 1e-4)
    print("(of each qkv.bias without its key rows: their gradient is zero but for rounding, which AdamW amplifies)")
    return table.good


def make_run(arguments):
    settings = [
        f"data.train={arguments.tokens.resolve()}", f"run.stop={STEPS}", "checkpoint.initial=true", "checkpoint.keep=0",
        f"capture.steps={list(range(1, STEPS + 1))}",
        'capture.taps=["embedding", "blocks.*.attention", "blocks.*.mlp", "blocks.*", "blocks.*.gradient", "logits", "loss"]',
        *arguments.set,
    ]  # fmt: skip
    command = ["mpiexec", "-n", str(arguments.ranks), str(arguments.program.resolve()), "train", str(arguments.deck)]
    command += ["--run", str(arguments.run)]
    for setting in settings:
        command += ["--set", setting]
    end = subprocess.run(command).returncode
    if end not in (0, 75):  # 75: stopped at run.stop, saved
        leave(f"the run to compare with ended with exit code {end}")


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--program", type=Path, help="make the run first with this penstock program")
    parser.add_argument("--tokens", type=Path, help="token file to train on, with --program")
    parser.add_argument("--deck", type=Path, default=Path(__file__).parent.parent / "input/tiny.toml")
    parser.add_argument("--ranks", type=int, default=1, help="ranks of the run that is made (default 1)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="further settings of the run")
    arguments = parser.parse_args()
    if bool(arguments.program) != bool(arguments.tokens):
        parser.error("--program and --tokens go together: they make the run")
    return arguments


def main():
    arguments = read_arguments()
    if MISSING:
        leave(f"needs the Python module {MISSING}; run it with a Python that has torch, h5py and numpy")
    if arguments.program:
        make_run(arguments)
    torch.set_num_threads(min(2, torch.get_num_threads()))
    try:
        good = compare(arguments.run)
    except (FileNotFoundError, KeyError) as missing:
        leave(
            f"{arguments.run} lacks what is to be compared: {missing}. It needs checkpoint.initial = true, "
            "capture.steps = [1, 2, 3, 4, 5] and a checkpoint of step 5; --program and --tokens make such a run"
        )
    print("PyTorch and Penstock agree" if good else "PyTorch and Penstock DIFFER")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

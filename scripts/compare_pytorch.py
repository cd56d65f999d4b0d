#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the first steps of a Penstock run against a plain PyTorch GPT-2.

    scripts/compare_pytorch.py RUN
    scripts/compare_pytorch.py RUN --program build/cpu/penstock --tokens TOKENS.tok [--ranks 4 --set mesh.pipeline=4 ...]
    scripts/compare_pytorch.py RUN --ddp [--program build/cpu/penstock --tokens TOKENS.tok]

The first form takes a run folder that holds the checkpoint of step 0, captures of steps 1 to 5 and the checkpoint of step 5;
the second one makes it first (any mesh). PyTorch loads the weights of step 0 and the captured tokens, and must get
  - the loss and the gradient norm of step 1 as metrics.csv has them (1e-5 relative),
  - every tap captured in step 1, gradients of taps included (1e-5 of the tap's norm),
  - after 5 steps of AdamW the weights of the step-5 checkpoint (1e-4 of each tensor's norm).
The third form compares two meshes with the PyTorch program that a user of torchrun writes for each, scripts/pytorch_ddp.py on
two processes and gloo: RUN/2x1x1 with DistributedDataParallel, RUN/1x2x1 with a model cut by layers. From the weights of step
0 and the captured tokens PyTorch must get the loss of each of 20 steps (1e-5 relative) and the gradient norm of step 1 (1e-5).
Needs Python 3.11, PyTorch, h5py and numpy; Penstock itself needs none of them. Exit 0: all equal; 1: not; 2: nothing to compare.
"""

import argparse
import csv
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def leave(message):
    """Nothing can be compared: says why, with exit code 2."""
    print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr)
    sys.exit(2)


if sys.version_info < (3, 11):
    leave(f"needs Python 3.11 or later; {sys.executable} is Python {sys.version.split()[0]}. Start it with a newer one")

import tomllib  # noqa: E402

try:
    import h5py
    import torch
    import torch.nn.functional as F

    MISSING = None
except ModuleNotFoundError as missing:
    MISSING = missing.name  # reported once the command line was read: --help needs none of them

STEPS = 5
DDP_STEPS = 20
DDP_MESHES = {  # what PyTorch has for each, and the settings of the run
    "2x1x1": ("DistributedDataParallel", {"data": 2, "pipeline": 1, "tensor": 1}),
    "1x2x1": ("the model cut by layers", {"data": 1, "pipeline": 2, "tensor": 1}),
}
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


def read_deck(run):
    """The deck in force of a run that can be compared."""
    deck = tomllib.loads((run / "deck.toml").read_text())
    if deck["model"]["family"] != "gpt2":
        leave(f"{run}: model.family is {deck['model']['family']}; only gpt2 is compared here, others by compare_transformers.py")
    if deck["precision"]["compute"] != "float32":
        leave(f"{run}: precision.compute is {deck['precision']['compute']}; only float32 runs can be compared this closely")
    dropouts = {key: value for key, value in deck["model"].items() if key.startswith("dropout") and value}
    if dropouts:
        leave(f"{run}: {dropouts}; PyTorch cannot draw Penstock's dropout masks, so a run to compare has dropout 0")
    return deck


def read_metrics(path):
    """{step: (loss, gradient norm)} of a CSV file."""
    with open(path, newline="") as file:
        return {int(row["step"]): (float(row["loss"]), float(row["gradient_norm"])) for row in csv.DictReader(file)}


def compare(run):
    deck = read_deck(run)
    weights = {name: w.requires_grad_() for name, w in read_weights(run / "checkpoints/step-00000000.h5").items()}
    model, adamw = GPT2(weights, deck["model"]), make_adamw(weights, deck["optimizer"])
    metrics = read_metrics(run / "metrics.csv")

    table = Table()
    for step in range(1, STEPS + 1):
        tokens, targets, captured = read_capture(run / f"captures/step-{step:08}.h5")
        adamw.zero_grad()
        loss = model.loss(tokens, targets)
        loss.backward()
        norm = global_norm(weights)
        # Later steps start from weights that already differ by rounding.
        table.numbers(f"step {step}, loss", metrics[step][0], loss.item(), 1e-5)
        table.numbers(f"step {step}, gradient norm", metrics[step][1], norm, 1e-5 if step == 1 else 1e-4)
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


def compare_curves(what, ours, theirs, steps):
    """{step: (loss, gradient norm)} of both sides: every loss, and the norm of step 1, before weights differ by rounding."""
    for side, curve in (("Penstock", ours), ("PyTorch", theirs)):
        lacking = [step for step in range(1, steps + 1) if step not in curve]
        if lacking:
            leave(f"{what}: {side} has no loss of the steps {lacking}; all of 1 to {steps} are compared")
    table = Table()
    for step in range(1, steps + 1):
        table.numbers(f"{what}, step {step}, loss", ours[step][0], theirs[step][0], 1e-5)
        if step == 1:
            table.numbers(f"{what}, step 1, gradient norm", ours[step][1], theirs[step][1], 1e-5)
    differences = [abs(ours[step][0] - theirs[step][0]) / abs(theirs[step][0]) for step in range(1, steps + 1)]
    largest = math.nan if any(map(math.isnan, differences)) else max(differences)
    print(f"{what}: largest relative difference of the losses of {steps} steps: {largest:.1e}")
    return table.good


def train_twin(run):
    """Trains PyTorch's side of a run on two processes; {step: (loss, gradient norm)}. Where one of them fails, torchrun ends
    the other."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "steps.csv"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        command += [str(Path(__file__).with_name("pytorch_ddp.py")), str(run), "--output", str(output)]
        end = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode
        if end != 0:
            leave(f"{run}: PyTorch's two processes ended with exit code {end}; the first one to fail says above why")
        return read_metrics(output)


def check_distributed():
    distributed = torch.distributed
    if not distributed.is_available():
        leave(f"--ddp needs torch.distributed, which PyTorch {torch.__version__} of {sys.executable} was built without")
    if not distributed.is_gloo_available():
        leave(f"--ddp needs the gloo backend, which PyTorch {torch.__version__} of {sys.executable} was built without")


def compare_ddp(folder):
    good = True
    for mesh, (way, extents) in DDP_MESHES.items():
        run = folder / mesh
        deck = read_deck(run)
        if any(deck["mesh"][axis] != ranks for axis, ranks in extents.items()):
            leave(f"{run}: its mesh is {deck['mesh']}; --ddp compares {extents} in this folder")
        print(f"mesh {mesh}, PyTorch with {way}:", flush=True)
        good &= compare_curves(mesh, read_metrics(run / "metrics.csv"), train_twin(run), DDP_STEPS)
    return good


def make_run(arguments):
    train(arguments, arguments.run, arguments.ranks, STEPS, [
        'capture.taps=["embedding", "blocks.*.attention", "blocks.*.mlp", "blocks.*", "blocks.*.gradient", "logits", "loss"]',
    ])  # fmt: skip


def make_ddp_runs(arguments):
    for mesh, (_, extents) in DDP_MESHES.items():
        settings = [f"mesh.{axis}={ranks}" for axis, ranks in extents.items()]
        train(arguments, arguments.run / mesh, 2, DDP_STEPS, ['capture.taps=["loss"]', *settings])


def train(arguments, run, ranks, steps, settings):
    """Trains `steps` steps of the deck, and keeps what a comparison needs."""
    settings = [
        f"data.train={arguments.tokens.resolve()}", f"run.stop={steps}", "checkpoint.initial=true", "checkpoint.keep=0",
        f"capture.steps={list(range(1, steps + 1))}", *settings, *arguments.set,
    ]  # fmt: skip
    command = ["mpiexec", "-n", str(ranks), str(arguments.program.resolve()), "train", str(arguments.deck)]
    command += ["--run", str(run)]
    for setting in settings:
        command += ["--set", setting]
    end = subprocess.run(command).returncode
    if end not in (0, 75):  # 75: stopped at run.stop, saved
        leave(f"the run to compare with, {run}, ended with exit code {end}")


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--program", type=Path, help="make the run first with this penstock program")
    parser.add_argument("--tokens", type=Path, help="token file to train on, with --program")
    parser.add_argument("--deck", type=Path, default=Path(__file__).parent.parent / "input/tiny.toml")
    parser.add_argument("--ddp", action="store_true", help="compare RUN/2x1x1 and RUN/1x2x1 with two processes of PyTorch each")
    parser.add_argument("--ranks", type=int, help="ranks of the run that is made (default 1)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="further settings of the run")
    arguments = parser.parse_args()
    if bool(arguments.program) != bool(arguments.tokens):
        parser.error("--program and --tokens go together: they make the run")
    if arguments.ddp and arguments.ranks is not None:
        parser.error(f"--ranks {arguments.ranks} with --ddp: its two runs have two ranks each; leave --ranks out")
    if arguments.ddp and any(setting.startswith("mesh.") for setting in arguments.set):
        parser.error("--set mesh... with --ddp: its meshes are 2x1x1 and 1x2x1; leave the setting out")
    arguments.ranks = arguments.ranks or 1
    return arguments


def main():
    arguments = read_arguments()
    if MISSING:
        leave(f"needs the Python module {MISSING}; run it with a Python that has torch, h5py and numpy")
    if arguments.ddp:
        check_distributed()
    if arguments.program:
        (make_ddp_runs if arguments.ddp else make_run)(arguments)
    torch.set_num_threads(min(2, torch.get_num_threads()))
    steps = DDP_STEPS if arguments.ddp else STEPS
    try:
        good = (compare_ddp if arguments.ddp else compare)(arguments.run)
    except (FileNotFoundError, KeyError) as missing:
        leave(
            f"{arguments.run} lacks what is to be compared: {missing}. It needs checkpoint.initial = true, capture.steps = "
            f"[1, ..., {steps}] and {steps} steps; --program and --tokens make such a run"
        )
    print("PyTorch and Penstock agree" if good else "PyTorch and Penstock DIFFER")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

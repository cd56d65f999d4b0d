#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A GPT-2 training step in PyTorch on the CPU, timed on demand: the other side of scripts/bench_cpu, which starts this.

It tries every way in which PyTorch users run the step (eager and torch.compile; in bfloat16 with autocast, or with
bfloat16 weights and float32 master weights) and keeps the fastest. Then it reads lines from stdin, each a number of
steps, and answers each with a line of JSON: the seconds of each step (fewer steps if they would take longer than
--longest-turn). Between answers it sleeps.
Fused AdamW, clipping, scaled_dot_product_attention.

    scripts/bench_cpu_pytorch.py --layers 6 --width 384 --heads 6 --sequence 256 --batch 16 --type float32 --threads 2
"""

import argparse
import contextlib
import json
import statistics
import sys
import time

import torch
from pytorch_gpt2 import GPT2
from torch import nn


# Seconds of a step from which on it is not repeated more than it must be: bfloat16 without AVX-512 can take minutes a step.
SLOW = 10


class Training:
    """One way of running the step. `weights`: float32, autocast (bfloat16 products), or bfloat16 (with float32 masters)."""

    def __init__(self, arguments, weights, compiled):
        torch.manual_seed(1)
        self.name = f"{'torch.compile' if compiled else 'eager'}, {weights}"
        self.arguments, self.weights, self.compiled = arguments, weights, compiled
        self.model = GPT2(arguments)
        self.masters = list(self.model.parameters())
        if weights == "bfloat16":
            self.masters = [p.detach().clone().requires_grad_() for p in self.masters]
            self.model = self.model.to(torch.bfloat16)
        self.parameters = list(self.model.parameters())
        groups = [
            {"params": [p for p in self.masters if p.ndim == 2], "weight_decay": 0.1},
            {"params": [p for p in self.masters if p.ndim != 2], "weight_decay": 0.0},
        ]
        self.adamw = torch.optim.AdamW(groups, lr=3e-4, betas=(0.9, 0.95), fused=True)
        self.forward = torch.compile(self.model) if compiled else self.model

    def precision(self):
        return torch.autocast("cpu", dtype=torch.bfloat16) if self.weights == "autocast" else contextlib.nullcontext()

    def step(self):
        """Seconds of one step on new random tokens."""
        shape = (self.arguments.batch, self.arguments.sequence + 1)
        text = torch.randint(0, self.arguments.vocabulary, shape)
        start = time.perf_counter()
        with self.precision():
            loss = self.forward(text[:, :-1], text[:, 1:])
        loss.backward()
        if self.weights == "bfloat16":
            for master, parameter in zip(self.masters, self.parameters):
                master.grad = parameter.grad.float()
        nn.utils.clip_grad_norm_(self.masters, 1.0)
        self.adamw.step()
        if self.weights == "bfloat16":
            with torch.no_grad():
                torch._foreach_copy_(self.parameters, self.masters)
        self.model.zero_grad(set_to_none=True)
        loss.item()
        return time.perf_counter() - start


def warmed_up(ways, left_out):
    """{way: seconds of its last step} of the ways that run, after their warm-up, in which torch.compile compiles; those that
    take over ten times the fastest's time are not tried further. `left_out` gets their names and those of ways that do not run,
    with the reason."""
    seconds = {}
    for training in ways:
        try:
            seconds[training] = training.step()
            if seconds[training] < SLOW or training.compiled:
                seconds[training] = training.step()
        except Exception as error:  # no compiler on this machine, say: the other ways are compared
            left_out[training.name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    for training, time_taken in seconds.items():
        if time_taken > 10 * min(seconds.values()):
            left_out[training.name] = f"{time_taken / min(seconds.values()):.1f} times as slow"
    return {training: time_taken for training, time_taken in seconds.items() if training.name not in left_out}


def fastest(arguments):
    """(the best of all ways by the medians of a few steps, taken in turns; {name: why} of those that were not compared); says
    on stderr how the others did."""
    kinds = ["float32"] if arguments.type == "float32" else ["autocast", "bfloat16"]
    left_out = {}
    ways = warmed_up([Training(arguments, weights, compiled) for weights in kinds for compiled in (False, True)], left_out)
    for name, why in left_out.items():
        print(f"  PyTorch {torch.__version__}, {name}: left out, {why}", file=sys.stderr, flush=True)
    if not ways:
        sys.exit("PyTorch can train this model in no way")
    seconds = {training: [] for training in ways}
    trial_steps = arguments.trial_steps if min(ways.values()) < SLOW else 1
    for _ in range(trial_steps):
        for training in ways:
            seconds[training].append(training.step())
    medians = {training: statistics.median(times) for training, times in seconds.items()}
    for training, median in medians.items():
        rate = arguments.batch * arguments.sequence / median
        print(f"  PyTorch {torch.__version__}, {training.name}: {rate:.0f} tokens/s", file=sys.stderr, flush=True)
    return min(medians, key=medians.get), left_out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("layers", "width", "heads", "sequence", "batch"):
        parser.add_argument("--" + name, type=int, required=True)
    parser.add_argument("--vocabulary", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--trial-steps", type=int, default=5)
    parser.add_argument("--longest-turn", type=float, default=60, help="seconds; of a turn's steps at least one is taken")
    parser.add_argument("--type", choices=["float32", "bfloat16"], default="float32")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    training, left_out = fastest(arguments)
    about = {"version": torch.__version__, "way": training.name, "capability": torch.backends.cpu.get_cpu_capability(),
             "left_out": left_out}  # fmt: skip
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        times = [training.step()]
        while len(times) < int(line) and sum(times) + times[-1] < arguments.longest_turn:
            times.append(training.step())
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()

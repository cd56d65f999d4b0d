#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""GPT-2 on two processes of PyTorch, as scripts/compare_pytorch.py --ddp starts it: the counterpart of a Penstock run.

    torchrun --standalone --nproc-per-node 2 scripts/pytorch_ddp.py RUN --output steps.csv

RUN is the folder of a Penstock run of mesh 2x1x1 or 1x2x1 that holds the checkpoint of step 0 and a capture of every step.
This script takes its weights, its samples and its optimizer, and does in PyTorch what that mesh does:
  2x1x1  DistributedDataParallel: each process has the whole model and half of the samples; gradients are averaged.
  1x2x1  The model cut by layers: each process has half of the blocks. Activations are sent forward, gradients back.
Both work through microbatches of batch.micro samples and update once a step. The output has a row a step: the mean loss and
the norm of the gradient before clipping.
"""

import argparse
import csv
import datetime
import math
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.distributed as dist
from compare_pytorch import learning_rate, make_adamw, read_capture, read_deck, read_weights
from pytorch_gpt2 import GPT2
from torch import nn
from torch.nn.parallel import DistributedDataParallel

# Long enough for a busy machine, and short enough that a lost partner is noticed.
PATIENCE = datetime.timedelta(minutes=2)


def pytorch_name(name):
    """Of a parameter, from Penstock's name for it."""
    for ours, theirs in (("embedding.", ""), ("attention.qkv", "qkv"), ("attention.output", "output"), ("mlp.", "")):
        name = name.replace(ours, theirs)
    return name


def load_model(run, deck):
    shape = SimpleNamespace(**deck["model"], sequence=deck["model"]["positions"])
    model = GPT2(shape)
    weights = read_weights(run / "checkpoints/step-00000000.h5")
    model.load_state_dict({pytorch_name(name): weight for name, weight in weights.items()})
    return model


class DataParallel:
    """Each process has the whole model, and an equal share of the step's samples."""

    def __init__(self, model, clip):
        self.model, self.clip = DistributedDataParallel(model), clip

    def parameters(self):
        return dict(self.model.named_parameters())

    def forward_backward(self, tokens, targets, micro):
        """Mean loss of all samples [B, T] of the step; leaves its gradient in the parameters."""
        rank, ranks = dist.get_rank(), dist.get_world_size()
        tokens, targets = (part.chunk(ranks)[rank].split(micro) for part in (tokens, targets))
        mean = torch.zeros((), dtype=torch.float64)
        for index in range(len(tokens)):
            # DDP averages over the processes once, in the backward pass of the last microbatch.
            self.model.require_backward_grad_sync = index == len(tokens) - 1
            loss = self.model(tokens[index], targets[index]) / len(tokens)
            loss.backward()
            mean += loss.detach()
        dist.all_reduce(mean)
        return mean.item() / ranks

    def clip_gradients(self):
        """Norm before clipping. All processes have the same gradients by now."""
        limit = self.clip if self.clip > 0 else math.inf
        return nn.utils.clip_grad_norm_(self.model.parameters(), limit).item()


class CutByLayers:
    """The first process has the embedding and the first half of the blocks; the second one has the rest and the loss."""

    def __init__(self, model, clip):
        self.model, self.clip, self.width = model, clip, model.position.embedding_dim
        self.first = dist.get_rank() == 0
        cut = len(model.blocks) // 2
        self.blocks = list(model.blocks)[:cut] if self.first else list(model.blocks)[cut:]
        # The token table is the head's, too: both processes have it, and it stays the same on both.
        mine = [*self.blocks, model.token, model.position if self.first else model.final_norm]
        self.modules = nn.ModuleList(mine)

    def parameters(self):
        return dict(self.modules.named_parameters())

    def forward_backward(self, tokens, targets, micro):
        """Mean loss of all samples [B, T] of the step; leaves its gradient in the parameters."""
        tokens, targets = tokens.split(micro), targets.split(micro)
        work = self.first_half(tokens) if self.first else self.second_half(targets)
        dist.all_reduce(work)
        # Each process has the gradient of its own use of the table.
        dist.all_reduce(self.model.token.weight.grad)
        return work.item()

    def first_half(self, tokens):
        outputs = []
        for microbatch in tokens:
            x = self.through_blocks(self.model.embed(microbatch))
            dist.send(x.detach().contiguous(), dst=1)
            outputs.append(x)
        for x in outputs:
            gradient = torch.empty_like(x)
            dist.recv(gradient, src=1)
            x.backward(gradient)
        return torch.zeros((), dtype=torch.float64)  # the loss is the other process's

    def second_half(self, targets):
        inputs, losses = [], []
        for microbatch in targets:
            x = torch.empty(*microbatch.shape, self.width)
            dist.recv(x, src=0)
            inputs.append(x.requires_grad_())
            losses.append(self.model.loss(self.through_blocks(x), microbatch) / len(targets))
        for x, loss in zip(inputs, losses):
            loss.backward()
            dist.send(x.grad, dst=0)
        return sum(loss.detach().double() for loss in losses)

    def through_blocks(self, x):
        for block in self.blocks:
            x = block(x)
        return x

    def clip_gradients(self):
        """Norm before clipping, of the gradients of both processes; the table, which both have, counts once."""
        counted = [p for p in self.modules.parameters() if self.first or p is not self.model.token.weight]
        square = sum(p.grad.double().square().sum() for p in counted)
        dist.all_reduce(square)
        norm = square.sqrt().item()
        if 0 < self.clip < norm:
            for parameter in self.modules.parameters():
                parameter.grad *= self.clip / norm
        return norm


def train(run, deck):
    """Yields (step, loss, gradient norm)."""
    way = DataParallel if deck["mesh"]["data"] == 2 else CutByLayers
    training = way(load_model(run, deck), deck["optimizer"]["clip"])
    adamw = make_adamw(training.parameters(), deck["optimizer"])
    for step in range(1, (deck["run"]["stop"] or deck["run"]["steps"]) + 1):
        tokens, targets, _ = read_capture(run / f"captures/step-{step:08}.h5")
        adamw.zero_grad()
        loss = training.forward_backward(tokens, targets, deck["batch"]["micro"])
        norm = training.clip_gradients()
        for group in adamw.param_groups:
            group["lr"] = learning_rate(deck["optimizer"], step, deck["run"]["steps"])
        adamw.step()
        yield step, loss, norm


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a Penstock run of mesh 2x1x1 or 1x2x1")
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write: step, loss, gradient_norm")
    arguments = parser.parse_args()
    deck = read_deck(arguments.run)
    dist.init_process_group("gloo", init_method="env://", timeout=PATIENCE)  # RANK, WORLD_SIZE, ... are set by torchrun
    try:
        if dist.get_world_size() != 2:
            parser.error(f"{dist.get_world_size()} processes; this script is written for 2: torchrun --nproc-per-node 2")
        rows = list(train(arguments.run, deck))
        if dist.get_rank() == 0:
            with open(arguments.output, "w", newline="") as file:
                csv.writer(file).writerows([("step", "loss", "gradient_norm"), *rows])
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""PyTorch's side of scripts/bench_gpu, which starts this: GPT-2 from a Penstock checkpoint, and the card's ceilings.

It says hello with a line of JSON and then answers each line of stdin with lines of JSON:
  eager, default, max-autotune-no-cudagraphs (a mode of torch.compile; +padded after it pads the token table to a
  multiple of 128 rows)   {"warm": true} when the timed steps begin, then "seconds" and "losses" of all steps, or "error"
  ceilings       {"warm": true}, then each product, attention and copy bandwidth
The step: bfloat16 weights, gradients cast to float32 for float32 masters, clipping, fused AdamW. The host runs ahead of
the GPU, as in a training loop; steps are timed by events on the GPU.
"""

import argparse
import gc
import json
import re
import statistics
import sys
import time
import traceback

import h5py
import torch
import torch.nn.functional as F
from bench_gpu_step import OPTIMIZER, Model
from pytorch_gpt2 import GPT2
from torch import nn

TOKEN_FILE_HEADER = 64
MEASURED_SECONDS = 0.04  # of each of the groups that a ceiling is the median of


def say(**facts):
    print(json.dumps(facts), flush=True)


class Clock:
    """Marks among the device's work; the host does not wait for them."""

    def __init__(self, device):
        self.on_gpu = device == "cuda"
        self.marks = []

    def mark(self):
        if self.on_gpu:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.marks.append(event)
        else:
            self.marks.append(time.perf_counter())

    def wait(self):
        if self.on_gpu:
            torch.cuda.synchronize()

    def seconds(self):
        """Between each mark and the next."""
        self.wait()
        pairs = zip(self.marks, self.marks[1:])
        return [a.elapsed_time(b) * 1e-3 if self.on_gpu else b - a for a, b in pairs]


def our_name(name):
    """Of a dataset of /parameters, in GPT2."""
    return re.sub(r"\.(attention|mlp)\.", ".", name).removeprefix("embedding.")


def read_checkpoint(path):
    with h5py.File(path) as file:
        return {our_name(name): torch.from_numpy(dataset[...]) for name, dataset in file["parameters"].items()}


def read_batch(path, model, device):
    """Samples of a token file that holds just one batch: sample i is tokens [i T, i T + T]."""
    with open(path, "rb") as file:
        file.seek(TOKEN_FILE_HEADER)
        tokens = torch.frombuffer(bytearray(file.read()), dtype=torch.uint16).to(torch.int64)
    tokens = tokens.to(device)
    return tokens[:-1].view(model.batch, model.sequence), tokens[1:].view(model.batch, model.sequence)


class Training:
    def __init__(self, model, weights, mode, device):
        mode, _, padding = mode.partition("+")
        with torch.device(device):
            network = GPT2(model, model.table_rows() if padding == "padded" else model.vocabulary)
        rows = network.token.num_embeddings - model.vocabulary
        network.load_state_dict({**weights, "token.weight": F.pad(weights["token.weight"], (0, 0, 0, rows))})
        self.masters = [p.detach().clone().requires_grad_() for p in network.parameters()]
        self.network = network.to(torch.bfloat16)
        self.parameters = list(network.parameters())
        self.adamw = torch.optim.AdamW(
            [
                {"params": [p for p in self.masters if p.ndim == 2], "weight_decay": OPTIMIZER["weight_decay"]},
                {"params": [p for p in self.masters if p.ndim != 2], "weight_decay": 0.0},
            ],
            betas=(OPTIMIZER["beta1"], OPTIMIZER["beta2"]), eps=OPTIMIZER["epsilon"], fused=True,
        )  # fmt: skip
        self.forward = network if mode == "eager" else torch.compile(network, mode=mode)
        self.done = 0

    def step(self, tokens, targets):
        """The loss, where it is."""
        self.done += 1
        for group in self.adamw.param_groups:
            group["lr"] = OPTIMIZER["learning_rate"] * min(1, self.done / OPTIMIZER["warmup"])
        loss = self.forward(tokens, targets)
        loss.backward()
        for master, parameter in zip(self.masters, self.parameters):
            master.grad = parameter.grad.float()
        nn.utils.clip_grad_norm_(self.masters, OPTIMIZER["clip"])
        self.adamw.step()
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, self.masters)
        self.network.zero_grad(set_to_none=True)
        return loss.detach()


def train(model, arguments, weights, mode):
    begin = time.monotonic()
    batch = read_batch(arguments.tokens, model, arguments.device)
    training, clock, losses = Training(model, weights, mode, arguments.device), Clock(arguments.device), []
    clock.mark()
    for step in range(arguments.steps):
        if step == arguments.warm_up:
            clock.wait()
            say(warm=True, seconds_until=time.monotonic() - begin)
        losses.append(training.step(*batch))
        clock.mark()
    say(seconds=clock.seconds(), losses=torch.stack(losses).tolist())


def seconds_of(work, device):
    """Seconds of one call in a row of calls, after a few that warm up."""
    trial = Clock(device)
    for _ in range(3):
        trial.mark()
        work()
    trial.mark()
    calls = max(1, min(1000, int(MEASURED_SECONDS / max(1e-6, trial.seconds()[-1]))))
    clock = Clock(device)
    clock.mark()
    for _ in range(5):
        for _ in range(calls):
            work()
        clock.mark()
    return statistics.median(clock.seconds()) / calls


def product_ceilings(model, device):
    """Seconds of each product's three directions, in bfloat16 on random data."""
    seconds = {}
    rows = model.tokens()
    for product in model.products():
        x, y, dy, dx = (
            torch.randn(rows, columns, device=device, dtype=torch.bfloat16)
            for columns in (product.inputs, product.outputs, product.outputs, product.inputs)
        )
        w = 0.02 * torch.randn(product.outputs, product.inputs, device=device, dtype=torch.bfloat16)
        dw = torch.empty_like(w)
        seconds[product.name] = [
            seconds_of(lambda: torch.matmul(x, w.t(), out=y), device),
            seconds_of(lambda: torch.matmul(dy, w, out=dx), device),
            seconds_of(lambda: torch.matmul(dy.t(), x, out=dw), device),
        ]
    return seconds


def attention_ceilings(model, device):
    """Causal attention by cuDNN on q, k, v as they lie side by side in qkv, else FlashAttention; forward, backward."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    shape = (model.batch, model.sequence, 3, model.heads, model.width // model.heads)
    qkv = torch.randn(shape, device=device, dtype=torch.bfloat16)
    q, k, v = (part.transpose(1, 2).detach().requires_grad_() for part in qkv.unbind(2))
    failure = None
    for name, backend in (("cuDNN", SDPBackend.CUDNN_ATTENTION), ("FlashAttention", SDPBackend.FLASH_ATTENTION)):
        try:
            with sdpa_kernel(backend):
                with torch.no_grad():
                    forward = seconds_of(lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True), device)
                out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
                gradient = torch.randn_like(out)
                backward = seconds_of(lambda: torch.autograd.grad(out, (q, k, v), gradient, retain_graph=True), device)
            return [forward, backward], name
        except RuntimeError as error:
            failure = error
    raise failure


def copy_bandwidth(device):
    """Bytes/s, read and written, of a copy of 2 GB."""
    count = 2_000_000_000 if device == "cuda" else 20_000_000
    source = torch.randint(0, 255, (count,), device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * count / seconds_of(lambda: target.copy_(source), device)


def warm_up(device, seconds):
    a = torch.randn(4096, 4096, device=device, dtype=torch.bfloat16)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        seconds_of(lambda: a @ a, device)


def measure_ceilings(model, device):
    warm_up(device, 1.0 if device == "cuda" else 0.0)
    say(warm=True)
    products = product_ceilings(model, device)
    attention, attention_by = attention_ceilings(model, device)
    say(products=products, attention=attention, attention_by=attention_by, copy=copy_bandwidth(device))


def answer(request, model, arguments, kept):
    try:
        if request == "ceilings":
            measure_ceilings(model, arguments.device)
        else:
            if not kept:
                kept.update(read_checkpoint(arguments.checkpoint))
            train(model, arguments, kept, request)
    except Exception as error:  # whatever it was, the other modes still count; the log has it whole
        traceback.print_exc()
        reason = next((line for line in str(error).splitlines() if line.strip()), "")
        say(error=f"{type(error).__name__}: {reason}")


def forget():
    torch._dynamo.reset()
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("layers", "width", "heads", "sequence", "batch", "steps", "warm-up"):
        parser.add_argument("--" + name, type=int, required=True)
    parser.add_argument("--checkpoint", required=True, help="Penstock's of step 0; read when the first mode is asked for")
    parser.add_argument("--tokens", required=True, help="token file of 2 bytes a token that holds one batch")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: only to try this script")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("PyTorch sees no GPU here")
    model = Model("", *(getattr(arguments, name) for name in ("layers", "width", "heads", "sequence", "batch")))
    say(version=torch.__version__, cuda=torch.version.cuda)
    weights = {}
    for line in sys.stdin:
        answer(line.strip(), model, arguments, weights)
        forget()


if __name__ == "__main__":
    main()

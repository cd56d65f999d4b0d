# SPDX-License-Identifier: Apache-2.0
"""GPT-2 as PyTorch's users write it: what scripts/bench_cpu, scripts/bench_gpu and scripts/pytorch_ddp.py train."""

import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        samples, positions, width = x.shape
        q, k, v = (
            part.view(samples, positions, self.heads, -1).transpose(1, 2)
            for part in self.qkv(self.attention_norm(x)).split(width, dim=-1)
        )
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.output(attended.transpose(1, 2).reshape(samples, positions, width))
        return x + self.down(F.gelu(self.up(self.mlp_norm(x)), approximate="tanh"))


class GPT2(nn.Module):
    """Pre-norm blocks, learned positions, tied head; forward gives the mean loss. `table_rows`: of the token table, where it
    is padded for the products' sake; rows beyond the vocabulary have no part in the loss."""

    def __init__(self, model, table_rows=None):
        super().__init__()
        width = model.width
        self.vocabulary = model.vocabulary
        self.token = nn.Embedding(table_rows or model.vocabulary, width)
        self.position = nn.Embedding(model.sequence, width)
        self.blocks = nn.ModuleList(Block(width, model.heads) for _ in range(model.layers))
        self.final_norm = nn.LayerNorm(width)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.02) if parameter.ndim == 2 else None

    def embed(self, tokens):
        return self.token(tokens) + self.position.weight[: tokens.shape[1]]

    def loss(self, x, targets):
        logits = (self.final_norm(x) @ self.token.weight.T)[..., : self.vocabulary]
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())

    def forward(self, tokens, targets):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.loss(x, targets)

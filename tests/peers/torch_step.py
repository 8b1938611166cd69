#!/usr/bin/env python3
"""One training step of a nanoGPT-shaped network in PyTorch, for comparison on the same machine.

4 layers, 128 wide, 4 heads, learned positions, MLP of 512, no dropout: 0.81 M parameters; a batch of
12 windows of 64 tokens, AdamW, gradient clipping at 1.0. Prints
    peer torch step median 58.1 ms best 56.9 ms threads 1 params 818176
Usage: python3 torch_step.py [--threads N] [--repeat N] [--batch N] [--seq N] [--width N]
Needs PyTorch (Debian: apt-get install python3-torch).
"""

import argparse
import os

# OpenBLAS takes some cores with AVX-512 for older ones, and that would flatter us: whatever the
# environment says, its AVX-512 kernels (PEER_CORETYPE chooses others).
if os.path.exists("/proc/cpuinfo") and "avx512f" in open("/proc/cpuinfo").read():
    os.environ["OPENBLAS_CORETYPE"] = os.environ.get("PEER_CORETYPE", "SkylakeX")

parser = argparse.ArgumentParser()
for name, standard in (("threads", 1), ("repeat", 40), ("batch", 12), ("seq", 64), ("width", 128),
                       ("layers", 4), ("heads", 4), ("vocab", 65)):
    parser.add_argument("--" + name, type=int, default=standard)
options = parser.parse_args()
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(options.threads)

import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_num_threads(options.threads)
torch.manual_seed(1)
V, D, H, T, B = options.vocab, options.width, options.heads, options.seq, options.batch


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.qkv, self.out = nn.Linear(D, 3 * D), nn.Linear(D, D)
        self.up, self.down = nn.Linear(D, 4 * D), nn.Linear(4 * D, D)
        self.register_buffer("hidden", torch.ones(T, T, dtype=torch.bool).triu(1))

    def attention(self, x):
        q, k, v = (y.view(B, T, H, D // H).transpose(1, 2) for y in self.qkv(x).split(D, 2))
        scores = (q @ k.transpose(-2, -1)) * (D // H) ** -0.5
        weights = F.softmax(scores.masked_fill(self.hidden, float("-inf")), -1)
        return self.out((weights @ v).transpose(1, 2).reshape(B, T, D))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.position = nn.Embedding(V, D), nn.Embedding(T, D)
        self.blocks = nn.Sequential(*[Block() for _ in range(options.layers)])
        self.norm, self.head = nn.LayerNorm(D), nn.Linear(D, V, bias=False)

    def forward(self, tokens, targets):
        x = self.blocks(self.embed(tokens) + self.position.weight)
        return F.cross_entropy(self.head(self.norm(x)).view(-1, V), targets.view(-1))


model = Gpt()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1)
tokens, targets = torch.randint(V, (B, T)), torch.randint(V, (B, T))


def step():
    start = time.perf_counter()
    loss = model(tokens, targets)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    loss.item()
    return (time.perf_counter() - start) * 1e3


for _ in range(5):
    step()
times = [step() for _ in range(options.repeat)]
print("peer torch step median %.2f ms best %.2f ms threads %d params %d" % (
    statistics.median(times), min(times), options.threads, sum(p.numel() for p in model.parameters())))

#!/usr/bin/env python3
"""Training steps of our architectures in plain PyTorch on a GPU: f32, TF32 off, eager and compiled.

The wave-1 network (4 layers, 128 wide, 16 heads) on 64 windows of 256 tokens, and a
768-wide GPT of 12 layers on 16 windows of 256. Prints
    peer torch cuda wave-1 eager median 12.3 ms best 12.1 ms params 276424
Usage: python3 torch_cuda_step.py [--rounds N] [--no-compile] [--cpu]
Needs PyTorch with CUDA; --cpu only checks that the script runs (tiny shapes).
"""
import argparse
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=30)
parser.add_argument("--no-compile", action="store_true")
parser.add_argument("--cpu", action="store_true")
options = parser.parse_args()
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
torch.manual_seed(1)
device = "cpu" if options.cpu else "cuda"
V = 65


def sten(p):
    q = F.pad(p, (2, 2))
    return q[..., :-4] + q[..., 1:-3] + q[..., 3:-1] + q[..., 4:]


class Maestro(nn.Module):
    def __init__(self, width, narrow=16):
        super().__init__()
        self.squeeze, self.expand = nn.Linear(width, narrow), nn.Linear(narrow, width)

    def forward(self, x):
        return x + self.expand(F.gelu(self.squeeze(x), approximate="tanh"))


class Kerr(nn.Module):
    """The exact oscillators: theta = omega + alpha P + beta sten(P), P = |z|^2 (1 - e^-2g) / 2g."""

    def __init__(self, bands):
        super().__init__()
        self.gamma_raw = nn.Parameter(torch.full((bands,), -2.2521685))
        self.omega = nn.Parameter(torch.arange(1, bands + 1) / bands)
        self.alpha, self.beta = nn.Parameter(torch.tensor(0.1)), nn.Parameter(torch.tensor(0.2))

    def forward(self, x):
        r, s = x[..., 0::2], x[..., 1::2]
        gamma = F.softplus(self.gamma_raw)
        power = (r * r + s * s) * (-torch.expm1(-2 * gamma) / (2 * gamma))
        theta = self.omega + self.alpha * power + self.beta * sten(power)
        c, d, decay = torch.cos(theta), torch.sin(theta), torch.exp(-gamma)
        return torch.stack((decay * (r * c - s * d), decay * (r * d + s * c)), -1).flatten(-2)


class Coherence(nn.Module):
    def __init__(self, width, heads, seq):
        super().__init__()
        self.heads = heads
        self.phasors, self.value = nn.Linear(width, 4 * heads), nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.gain_raw = nn.Parameter(torch.full((heads,), 1.854587))
        self.carrier = nn.Parameter(torch.linspace(0, 0.5, heads))
        self.damping_raw = nn.Parameter(torch.linspace(-6, 0, heads))
        t = torch.arange(seq, dtype=torch.float32)
        self.register_buffer("away", t[:, None] - t[None, :])
        self.register_buffer("hidden", torch.ones(seq, seq, dtype=torch.bool).triu(1))

    def forward(self, x):
        B, T, D = x.shape
        p = self.phasors(x).view(B, T, 2, self.heads, 2).permute(2, 0, 3, 1, 4)
        u, w = F.normalize(p[0], dim=-1), F.normalize(p[1], dim=-1)
        angle = self.carrier[:, None, None] * self.away
        re = u @ w.transpose(-2, -1)
        im = u[..., 1:] * w[..., None, :, 0] - u[..., :1] * w[..., None, :, 1]
        score = F.softplus(self.gain_raw)[:, None, None] * (re * torch.cos(angle) - im * torch.sin(angle))
        score = score - F.softplus(self.damping_raw)[:, None, None] * self.away
        weight = F.softmax(score.masked_fill(self.hidden, float("-inf")), -1)
        v = self.value(x).view(B, T, self.heads, D // self.heads).transpose(1, 2)
        return self.out((weight @ v).transpose(1, 2).reshape(B, T, D))


class WaveBlock(nn.Module):
    def __init__(self, width, heads, seq):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Coherence(width, heads, seq)
        self.feed = nn.Sequential(Maestro(width), Kerr(width // 2), Maestro(width), nn.Linear(width, width))

    def forward(self, x):
        return x + self.attention(self.norm1(x)) + self.feed(self.norm2(x))


def attend(q, k, v):
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    hidden = torch.ones(q.shape[-2], q.shape[-2], dtype=torch.bool, device=q.device).triu(1)
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    return F.softmax(scores.masked_fill(hidden, float("-inf")), -1) @ v


class GptBlock(nn.Module):
    def __init__(self, width, heads, seq):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        B, T, D = x.shape
        q, k, v = (y.view(B, T, self.heads, -1).transpose(1, 2) for y in self.qkv(self.norm1(x)).split(D, 2))
        y = attend(q, k, v)
        x = x + self.out(y.transpose(1, 2).reshape(B, T, D))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Net(nn.Module):
    def __init__(self, block, width, heads, layers, seq, positions):
        super().__init__()
        self.embed = nn.Embedding(V, width)
        self.embed.weight.requires_grad_(positions)
        self.position = nn.Parameter(0.02 * torch.randn(seq, width)) if positions else None
        self.blocks = nn.Sequential(*[block(width, heads, seq) for _ in range(layers)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, V, bias=False)

    def forward(self, tokens, targets):
        x = self.embed(tokens)
        if self.position is not None:
            x = x + self.position
        return F.cross_entropy(self.head(self.norm(self.blocks(x))).view(-1, V), targets.view(-1))


def measure(name, net, batch, seq, compiled):
    params = [p for p in net.parameters() if p.requires_grad]
    fused = {"fused": True} if device == "cuda" else {}
    optimizer = torch.optim.AdamW(params, lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1, **fused)
    tokens = torch.randint(V, (batch, seq), device=device)
    forward = torch.compile(net) if compiled else net
    times = []
    for i in range(options.rounds + 5):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        loss = forward(tokens, tokens)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        loss.item()
        if i >= 5:
            times.append(1e3 * (time.perf_counter() - start))
    print("peer torch cuda %s %s median %.3f ms best %.3f ms params %d" % (
        name, "compiled" if compiled else "eager", statistics.median(times), min(times),
        sum(p.numel() for p in params)), flush=True)


def main():
    if not options.cpu and not torch.cuda.is_available():
        raise SystemExit("not run: PyTorch sees no CUDA device")
    print("peer torch %s on %s" % (torch.__version__, "cpu" if options.cpu else torch.cuda.get_device_name()))
    shapes = [("wave-1", WaveBlock, 128, 16, 4, 64, 256, False), ("gpt-768x12", GptBlock, 768, 12, 12, 16, 256, True)]
    if options.cpu:
        options.rounds = 1
        shapes = [("wave-1", WaveBlock, 128, 16, 4, 2, 32, False), ("gpt-tiny", GptBlock, 64, 4, 2, 2, 32, True)]
    for name, block, width, heads, layers, batch, seq, positions in shapes:
        for compiled in (False,) if options.no_compile or options.cpu else (False, True):
            torch.manual_seed(1)
            net = Net(block, width, heads, layers, seq, positions).to(device)
            measure(name, net, batch, seq, compiled)


main()

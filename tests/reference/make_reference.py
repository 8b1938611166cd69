#!/usr/bin/env python3
"""Makes the reference files of tests/test_reference.c: python3 make_reference.py [--check]

An independent implementation of every architecture setting in PyTorch, forward only, in float64;
autograd gives the gradients. Nothing here is translated from wavecoh.h: each op is written from its
formula in the plainest form (attention with the whole pair matrix, Runge-Kutta as its four stages).

One safetensors file for each configuration holds all parameters (frozen tables too), `tokens` and
`targets` [B,T], `logits` [B*T,V], `loss` [1] and `grad.NAME` for each trained parameter; its
metadata spells the settings as wcoh_field_set reads them ("model.bands": "8"), and of a curriculum
the trainer's ("trainer.curriculum") with "test.steps", after how many steps of its run this is. Parameters are
rounded to float32 before the forward pass, so that reader and writer compute the same function.
--check recomputes everything and compares it with the files that are there.

Needs numpy and PyTorch 1.10 or later (Debian: apt-get install python3-torch).
"""

import copy
import json
import math
import os
import struct
import sys

import numpy as np
import torch

torch.set_num_threads(1)
HERE = os.path.dirname(os.path.abspath(__file__))
REAL = torch.float64

DEFAULTS = dict(
    vocab=11, context=16, bands=8, layers=2, heads=4, maestro=5, embedding="harmonic",
    embedding_trained="auto", embedding_unit="auto", circles=2, position="none",
    attention="coherence", block="parallel", ffn="kerr", hidden=0, maestros="dual", solver="exact",
    rk4_steps=8, limiter="auto", alpha=0.1, beta=0.2, kerr_trained="auto", omega_trained="auto",
    corrector="auto", per_band_first="auto", groups=1, offset=0.0, head="dense", head_rank=3,
    forgetting="off", loudness="off", query_gain="off", gain_most=4.0, gate="off", value_gate="off",
    taps=0, ffn_taps=0, norm="layer", mixing=0.0, splits=4, reference_trained="off",
    phases=0, phase_input="off", phases_trained="on", key_width=0,
    rk4_weights="off", overtones=0, gain_control="off")


class Config:
    """One configuration: settings as attributes, plus the shape of the batch."""

    def __init__(self, name, B=2, T=7, gain_max=6.0, tweak=None, curriculum=None, **settings):
        unknown = set(settings) - set(DEFAULTS)
        assert not unknown, unknown
        self.name, self.B, self.T, self.gain_max, self.tweak = name, B, T, gain_max, tweak
        self.curriculum = curriculum  # kind, steps of the run, steps before
        self.given = settings
        self.__dict__.update(DEFAULTS)
        self.__dict__.update(settings)
        self.D = 2 * self.bands
        self.E = self.D // self.heads
        self.W = self.key_width or self.E  # of a head's queries and keys
        self.hidden = self.hidden or 4 * self.D
        auto = lambda setting, value: value if setting == "auto" else setting == "on"
        self.embedding_is_trained = auto(self.embedding_trained, False)
        self.kerr_is_trained = auto(self.kerr_trained, True)
        self.omega_is_trained = auto(self.omega_trained, self.kerr_is_trained)
        self.has_limiter = auto(self.limiter, self.solver == "perturbative" or self.mixing > 0
                                or self.gain_control == "on")
        self.ceiling = math.sqrt((math.pi / 2) / (self.alpha + 4 * self.beta))

    def of_block(self, block):
        """As one block has it: of patterns (attention="dot,frozen") the kind that is its turn."""
        one = copy.copy(self)
        for setting in ("attention", "ffn"):
            kinds = getattr(self, setting).split(",")
            setattr(one, setting, kinds[block % len(kinds)])
        return one

    def block_is_per_band(self, block):
        return block == 0 and self.per_band_first == "on"

    def metadata(self):
        text = {"model.vocab": str(self.vocab)}
        for key in DEFAULTS:
            if key in self.given or key in ("context", "bands", "layers", "heads", "maestro", "head_rank"):
                text["model." + key] = str(getattr(self, key))
        if self.curriculum:
            for key, value in zip(("trainer.curriculum", "trainer.steps", "test.steps"), self.curriculum):
                text[key] = str(value)
        return text

    def heard(self):
        """What the curriculum leaves of every band, [K]: at the input (on) or in front of feed-forward (soft)."""
        kind, steps, step = self.curriculum
        K, least = self.bands, lambda bands: min(self.bands, max(8, bands))
        if kind == "on":
            active = (least(8), least(K * 3 // 8), K)[3 * step // steps]
            return [1.0 if k < active else 0.0 for k in range(K)]
        stage = sum(step >= begin * steps for begin in (0.2, 0.45, 0.7))
        opening = [least(K // 8), least(K // 4), least(K // 2), K]
        share = 0.01 + 0.99 * min((step - math.ceil((0, 0.2, 0.45, 0.7)[stage] * steps)) / 200, 1)
        open_ = opening[max(stage - 1, 0)]
        return [1.0 if k < open_ else share if k < opening[stage] else 0.01 for k in range(K)]


# ---- parameters ---------------------------------------------------------------------------------


def harmonic_table(vocab, bands):
    angle = 2 * np.pi * np.outer(np.arange(vocab), np.arange(1, bands + 1)) / vocab
    return np.stack([np.cos(angle), np.sin(angle)], -1).reshape(vocab, 2 * bands)


def sinusoidal_table(count, D):
    angle = np.outer(np.arange(count), 10000.0 ** (-2 * np.arange(D // 2) / D))
    return np.stack([np.sin(angle), np.cos(angle)], -1).reshape(count, D)


class Parameters:
    """Random parameters, far enough from every start value that no gradient is trivially zero."""

    def __init__(self, config, seed):
        self.c, self.rng, self.table, self.trained = config, np.random.RandomState(seed), {}, {}

    def add(self, name, value, trained=True):
        self.table[name] = np.asarray(value, np.float64).astype(np.float32)
        self.trained[name] = trained

    def linear(self, name, shape, fan_in, bias, trained=True, scale=1.0):
        self.add(name + ".weight", scale * self.rng.randn(*shape) / math.sqrt(fan_in), trained)
        if bias:
            self.add(name + ".bias", 0.2 * scale * self.rng.randn(*bias), trained)

    def norm(self, name):
        self.add(name + ".weight", 1 + 0.2 * self.rng.randn(self.c.D))
        if self.c.norm == "layer":
            self.add(name + ".bias", 0.2 * self.rng.randn(self.c.D))

    def fill(self):
        c, rng = self.c, self.rng
        if c.embedding == "random" or c.embedding_is_trained:
            table = 0.7 * rng.randn(c.vocab, c.D)
        elif c.embedding == "circles":  # any table will do: the file holds it
            table = np.concatenate([harmonic_table(c.vocab, c.bands)[:, ::2],
                                    harmonic_table(c.vocab, c.bands)[:, 1::2]], 1)
        else:
            table = harmonic_table(c.vocab, c.bands)
            if c.embedding_unit == "on":
                table = table / math.sqrt(c.bands)
        self.add("embed.weight", table, c.embedding_is_trained)
        if c.position == "sinusoidal":
            scale = 1 / math.sqrt(c.bands) if c.embedding_unit == "on" else 1.0
            self.add("position.weight", scale * sinusoidal_table(c.context, c.D), False)
        if c.position == "learned":
            self.add("position.weight", 0.3 * rng.randn(c.context, c.D))
        if c.phases:
            self.add("phase.weight", 0.8 * rng.randn(c.vocab, c.phases), c.phases_trained == "on")
        if c.phase_input == "on":
            self.linear("phase.expand", (c.D, c.phases), c.phases, None)
            self.add("phase.blend", 0.3 + 0.4 * rng.randn(c.D))
        for block in range(c.layers):
            self.c = c.of_block(block)
            self.fill_attention("blocks.%d." % block)
            self.fill_ffn("blocks.%d." % block, c.block_is_per_band(block))
        self.c = c
        self.norm("norm_f")
        if c.head == "tied":
            self.add("head.scale", [0.8 + 0.1 * rng.randn()])
        elif c.head == "phase_native":
            self.add("head.corrector", 0.6 * rng.randn(c.bands))
            self.add("head.scale", [0.4 + 0.1 * rng.randn()])
        elif c.head == "wave_decode":
            self.add("head.bands", 1 + 0.3 * rng.randn(c.bands))
            self.add("head.phases", rng.uniform(-np.pi, np.pi, (c.vocab, c.bands)),
                     c.reference_trained == "on")
            self.add("head.scale", [0.4 + 0.1 * rng.randn()])
        elif c.head == "low_rank":
            self.linear("head.down", (c.head_rank, c.D), c.D, None)
            self.linear("head.up", (c.vocab, c.head_rank), c.head_rank, None)
        else:
            self.linear("head", (c.vocab, c.D), c.D, None)
        if c.tweak:
            c.tweak(self.table)
        return self

    def taps(self, p, taps, trained=True):
        self.add(p + "taps.weight", np.eye(taps, 1) + 0.4 * self.rng.randn(taps, self.c.D), trained)

    def fill_attention(self, p):
        c, rng, D, H = self.c, self.rng, self.c.D, self.c.heads
        self.norm(p + "norm1")
        if c.block != "parallel_shared":
            self.norm(p + "norm2")
        p += "attn."
        if c.value_gate == "on":
            self.linear(p + "gate", (D, D), D, (D,))
        if c.taps:
            self.taps(p, c.taps, c.attention != "frozen")
        if c.attention == "pope":
            self.add(p + "shift", 0.5 * rng.randn(H, c.W))
        if c.attention == "resonance":
            self.add(p + "lambda", 1.5 * rng.randn(H))
        if c.attention in ("dot", "rotary", "pope", "resonance"):
            parts = {"qkv": 3 * D} if c.W == c.E else {"query": H * c.W, "key": H * c.W, "value": D}
            for name, rows in parts.items():
                self.linear(p + name, (rows, D), D, (rows,), scale=1.3)
            self.linear(p + "out", (D, D), D, (D,))
            return
        trained = c.attention != "frozen"
        names = ("query_phasor", "key_phasor") if c.attention == "coherence" else ("phasor",)
        for name in names:
            self.linear(p + name, (2 * H, D), D, (2 * H,), trained)
        if c.attention == "frozen":
            self.add(p + "harmonic", np.log(1 + 0.5 * (np.arange(H) + 1)), False)
            self.linear(p + "value", (H, c.E, c.E), c.E, (D,), False)
        else:
            gain = np.linspace(0.4, c.gain_max, H)[rng.permutation(H)] if H > 1 else np.array([2.0])
            self.add(p + "gain_raw", np.log(np.expm1(gain)))
            self.add(p + "carrier", rng.uniform(0, 0.7, H))
            self.add(p + "damping_raw", rng.uniform(-5, 0, H))
            if c.overtones:  # 2 tanh(x / 2), tanh(2 x) / 2
                self.add(p + "overtone_raw", 0.7 * rng.randn(c.overtones, H))
            if c.query_gain == "on":
                self.linear(p + "query_gain", (H, D), D, None)
            if c.forgetting == "on":
                self.linear(p + "forgetting", (H, D), D, None)
            if c.loudness == "on":
                self.linear(p + "loudness", (H, D), D, (H,), scale=3.0)
            self.linear(p + "value", (D, D), D, (D,))
        self.linear(p + "out", (D, D), D, (D,), trained)

    def fill_ffn(self, p, per_band):
        c, rng, D, K = self.c, self.rng, self.c.D, self.c.bands
        p += "ffn."
        if c.ffn_taps:
            self.taps(p, c.ffn_taps)
        if c.ffn in ("mlp", "gated_mlp"):
            wide = c.hidden * (2 if c.ffn == "gated_mlp" else 1)
            self.linear(p + "up", (wide, D), D, (wide,))
            self.linear(p + "down", (D, c.hidden), c.hidden, (D,))
            return
        if c.gate == "on":
            self.linear(p + "gate", (D, D), D, (D,))
        if per_band:
            self.linear(p + "per_band", (K, 2, 2), 2, (K, 2))
        else:
            for name in ("maestro",) if c.maestros == "add" else ("maestro_in", "maestro_out"):
                self.linear(p + name + ".squeeze", (c.maestro, D), D, (c.maestro,))
                self.linear(p + name + ".expand", (D, c.maestro), c.maestro, (D,))
            if c.solver != "none":
                self.add(p + "kerr.gamma_raw", -2.25 + 0.6 * rng.randn(K), c.kerr_is_trained)
                self.add(p + "kerr.omega", (np.arange(K) + 1) / K + 0.1 * rng.randn(K),
                         c.omega_is_trained)
                self.add(p + "kerr.alpha", [c.alpha + 0.03 * rng.randn()], c.kerr_is_trained)
                self.add(p + "kerr.beta", [c.beta + 0.03 * rng.randn()], c.kerr_is_trained)
                if c.rk4_weights == "on":
                    self.add(p + "kerr.weights", np.array([1, 2, 2, 1]) / 6 + 0.05 * rng.randn(4), c.kerr_is_trained)
                if c.mixing > 0:
                    self.add(p + "kerr.chi", [c.mixing + 0.03 * rng.randn()], c.kerr_is_trained)
            if c.gain_control == "on":  # mean, variance, steps: of the second block's no step has been
                self.add(p + "seen", [0.6, 0.01, 5] if ".0." in p else [2.0, 0.5, 0], False)
            if c.corrector == "on":
                self.add(p + "corrector", 0.5 * rng.randn(K))
            if c.offset > 0:
                self.add(p + "offset", c.offset * rng.randn(D), False)
        if c.groups > 1:
            self.linear(p + "out", (c.groups, D // c.groups, D // c.groups), D // c.groups, (D,))
        else:
            self.linear(p + "out", (D, D), D, (D,))


# ---- the network --------------------------------------------------------------------------------


def softplus(x):
    return torch.where(x > 20, x, torch.log1p(torch.exp(torch.clamp(x, max=20))))


def gelu(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def layer_norm(x, w, b):
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-5) * w + b


def stencil(p):
    """Sum of the two neighbours on either side, zero outside the bands."""
    padded = torch.nn.functional.pad(p, (2, 2))
    K = p.shape[-1]
    return sum(padded[..., shift:shift + K] for shift in (0, 1, 3, 4))


class Network:
    def __init__(self, config, parameters):
        self.c = config
        self.p = {name: torch.tensor(value, dtype=REAL, requires_grad=parameters.trained[name])
                  for name, value in parameters.table.items()}
        self.margin = 1e9  # of phasors from zero and, in the frozen form, from the wrap
        self.beyond_knee = 0

    def affine(self, name, x):
        y = x @ self.p[name + ".weight"].T
        return y + self.p[name + ".bias"] if name + ".bias" in self.p else y

    def normed(self, name, x):
        if self.c.norm == "rms":
            return x / torch.sqrt((x ** 2).mean(-1, keepdim=True) + 1e-5) * self.p[name + ".weight"]
        return layer_norm(x, self.p[name + ".weight"], self.p[name + ".bias"])

    # attention: x [B,T,D] -> [B,T,D]

    def unit_phasor(self, raw):
        """raw [B,T,H,2] -> cos, sin of its angle; (1, 0) without a gradient below length 1e-6."""
        length = torch.sqrt((raw.detach() ** 2).sum(-1))
        given = length >= 1e-6
        if bool(given.any()):
            self.margin = min(self.margin, float(length[given].min()))
        one = torch.tensor([1.0, 0.0], dtype=REAL)
        safe = torch.where(given[..., None], raw, one)
        unit = safe / torch.sqrt((safe ** 2).sum(-1, keepdim=True))
        return unit[..., 0], unit[..., 1]

    def coherence_scores(self, p, x):
        c = self.c
        B, T = x.shape[:2]
        names = (p + "query_phasor", p + "key_phasor")
        if c.attention == "shared":
            names = (p + "phasor", p + "phasor")
        (qc, qs), (kc, ks) = (self.unit_phasor(self.affine(n, x).view(B, T, c.heads, 2)) for n in names)
        pair = lambda a, b: torch.einsum("bqh,bkh->bhqk", a, b)
        cosine, sine = pair(qc, kc) + pair(qs, ks), pair(qs, kc) - pair(qc, ks)  # of phi - psi
        t = torch.arange(T, dtype=REAL)
        distance = t[:, None] - t[None, :]
        turn = self.p[p + "carrier"][:, None, None] * distance
        coherence = cosine * torch.cos(turn) - sine * torch.sin(turn)
        by_head = lambda y: y.permute(0, 2, 1)  # [B,T,H] -> [B,H,T]
        asked = lambda name: by_head(x @ self.p[p + name + ".weight"].T)
        kappa, damping = self.p[p + "gain_raw"][:, None], self.p[p + "damping_raw"][:, None]
        if c.query_gain == "on":
            kappa = torch.clamp(softplus(kappa + asked("query_gain")), max=c.gain_most)
        else:
            kappa = softplus(kappa)
        scores = kappa[..., None] * coherence
        if c.overtones:
            raw = self.p[p + "overtone_raw"]
            sizes = [2 * torch.tanh(raw[0] / 2)] + [torch.tanh(2 * raw[1]) / 2] * (c.overtones - 1)
            for m, size in enumerate(sizes, 2):  # cos(m x), by its angle: m (phi - psi + omega distance)
                at = m * (torch.atan2(sine, cosine) + turn)
                scores = scores + size[:, None, None] * torch.cos(at)
        if c.forgetting == "on":  # the dampings of the rows between
            depth = torch.cumsum(softplus(damping + asked("forgetting")), -1)
            scores = scores - (depth[..., :, None] - depth[..., None, :])
        else:
            scores = scores - softplus(damping)[..., None] * distance
        if c.loudness == "on":
            loud = asked("loudness") + self.p[p + "loudness.bias"][:, None]
            scores = scores + 8 * torch.tanh(loud / 8)[..., None, :]
        return scores

    def frozen_scores(self, p, x):
        c = self.c
        B, T = x.shape[:2]
        raw = self.affine(p + "phasor", x).view(B, T, c.heads, 2)
        rho, sigma = raw[..., 0], raw[..., 1]
        phi = torch.atan2(sigma, rho)
        self.margin = min(self.margin, float(torch.sqrt(rho ** 2 + sigma ** 2).min()),
                          math.pi - float(phi.detach().abs().max()))
        turned = self.p[p + "harmonic"] * phi
        return torch.cos(turned.permute(0, 2, 1)[..., :, None] - turned.permute(0, 2, 1)[..., None, :])

    def rotate(self, x):
        """Rotary positions: interleaved pairs of x [B,H,T,E] turn by t * 10000^(-2i/E)."""
        T, E = x.shape[-2:]
        angle = torch.arange(T, dtype=REAL)[:, None] * \
            10000.0 ** (-2 * torch.arange(E // 2, dtype=REAL) / E)
        cos, sin, a, b = torch.cos(angle), torch.sin(angle), x[..., 0::2], x[..., 1::2]
        return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)

    def taps(self, p, taps, x):
        """sum_j w_j x_{t-j}, zeros before the first row"""
        if not taps:
            return x
        w, T = self.p[p + "taps.weight"], x.shape[1]
        before = torch.nn.functional.pad(x, (0, 0, taps - 1, 0))
        return sum(w[j] * before[:, taps - 1 - j:taps - 1 - j + T] for j in range(taps))

    def attention(self, p, x):
        c = self.c
        B, T, D = x.shape
        gate = 1
        if c.value_gate == "on":
            gate = 2 * torch.sigmoid(self.affine(p + "gate", x))
        x = self.taps(p, c.taps, x)
        split = lambda y: y.view(B, T, c.heads, -1).transpose(1, 2)  # [B,H,T,E], or W in place of E
        if c.attention in ("dot", "rotary", "pope", "resonance"):
            query, key, value = map(split, self.affine(p + "qkv", x).split(D, -1) if c.W == c.E else
                                    [self.affine(p + name, x) for name in ("query", "key", "value")])
        if c.attention in ("dot", "rotary"):
            if c.attention == "rotary":
                query, key = self.rotate(query), self.rotate(key)
            scores = query @ key.transpose(-1, -2) / math.sqrt(c.W)
        elif c.attention == "pope":
            t = torch.arange(T, dtype=REAL)
            rates = 10000.0 ** (-torch.arange(c.W, dtype=REAL) / c.W)
            angle = (t[None, :, None] - t[:, None, None]) * rates + self.p[p + "shift"][:, None, None, :]
            scores = torch.einsum("bhqc,bhkc,hqkc->bhqk", softplus(query), softplus(key),
                                  torch.cos(angle)) / math.sqrt(c.W)
        elif c.attention == "resonance":
            phi = self.p["phase.weight"][self.tokens]
            R = torch.cos(phi[:, :, None, :] - phi[:, None, :, :]).mean(-1)
            scores = query @ key.transpose(-1, -2) / math.sqrt(c.W) + \
                self.p[p + "lambda"][:, None, None] * R[:, None]
        elif c.attention == "frozen":
            scores = self.frozen_scores(p, x)
            value = torch.einsum("hoi,bhti->bhto", self.p[p + "value.weight"], split(x)) + \
                self.p[p + "value.bias"].view(1, c.heads, 1, c.E)
        else:
            scores, value = self.coherence_scores(p, x), split(self.affine(p + "value", x))
        hidden = torch.ones(T, T, dtype=torch.bool).triu(1)
        weights = torch.softmax(scores.masked_fill(hidden, -math.inf), -1)
        return self.affine(p + "out", gate * (weights @ value).transpose(1, 2).reshape(B, T, D))

    # feed-forward: x [B,T,D] -> [B,T,D]

    def maestro(self, name, x):
        return self.affine(name + ".expand", gelu(self.affine(name + ".squeeze", x)))

    def limit(self, r, s, ceiling):
        m = torch.sqrt(r ** 2 + s ** 2)
        above = m > ceiling
        self.beyond_knee += int(above.sum())
        kneed = ceiling + ceiling * torch.tanh((torch.where(above, m, ceiling + 0 * m) - ceiling) / ceiling)
        share = torch.where(above, kneed / m, torch.ones_like(m))
        return r * share, s * share

    def oscillators(self, p, r, s):
        c = self.c
        gamma, omega = softplus(self.p[p + "gamma_raw"]), self.p[p + "omega"]
        alpha, beta = self.p[p + "alpha"], self.p[p + "beta"]
        if c.solver == "rk4":
            def rate(r, s):
                power = r ** 2 + s ** 2
                phi = omega + alpha * power + beta * stencil(power)
                return -gamma * r - phi * s, -gamma * s + phi * r
            h = 1.0 / c.rk4_steps
            for _ in range(c.rk4_steps):
                a1, b1 = rate(r, s)
                a2, b2 = rate(r + h / 2 * a1, s + h / 2 * b1)
                a3, b3 = rate(r + h / 2 * a2, s + h / 2 * b2)
                a4, b4 = rate(r + h * a3, s + h * b3)
                if p + "weights" in self.p:
                    u = self.p[p + "weights"]
                    r = r + h * (u[0] * a1 + u[1] * a2 + u[2] * a3 + u[3] * a4)
                    s = s + h * (u[0] * b1 + u[1] * b2 + u[2] * b3 + u[3] * b4)
                    continue
                r = r + h / 6 * (a1 + 2 * a2 + 2 * a3 + a4)
                s = s + h / 6 * (b1 + 2 * b2 + 2 * b3 + b4)
            return r, s
        if c.solver == "perturbative":
            decay = torch.exp(-gamma)
            a = decay * (torch.cos(omega) * r - torch.sin(omega) * s)
            b = decay * (torch.sin(omega) * r + torch.cos(omega) * s)
            power = a ** 2 + b ** 2
            delta = alpha * power + beta * stencil(power)
            return a - delta * b, b + delta * a
        if c.mixing > 0:
            for split in range(c.splits):
                r, s = self.exact(p, r, s, 0.5 / c.splits)
                r, s = self.mix(self.p[p + "chi"], r, s, 1.0 / c.splits)
                r, s = self.exact(p, r, s, 0.5 / c.splits)
            return r, s
        if c.solver == "split":
            for half in range(2):
                r, s = self.exact(p, r, s, 0.5, stand_still=True)
            return r, s
        return self.exact(p, r, s, 1.0)

    def exact(self, p, r, s, time, stand_still=False):
        """The closed form of the flow from 0 to `time`; stand_still: neighbours' energies do."""
        gamma, omega = softplus(self.p[p + "gamma_raw"]), self.p[p + "omega"]
        decay = torch.exp(-gamma * time)
        energy = (r ** 2 + s ** 2) * -torch.expm1(-2 * gamma * time) / (2 * gamma)
        around = time * (r ** 2 + s ** 2) if stand_still else energy
        theta = omega * time + self.p[p + "alpha"] * energy + self.p[p + "beta"] * stencil(around)
        return (decay * (torch.cos(theta) * r - torch.sin(theta) * s),
                decay * (torch.sin(theta) * r + torch.cos(theta) * s))

    def mix(self, chi, r, s, time):
        """Four-wave mixing, one step of RK4: dz/dt = -i dH/dz*, H = chi sum 2 Re z_a z_b (z_c z_d)*
        over (a, b, c, d) = (k, k + 3, k + 1, k + 2); the derivative is written out quartet by quartet."""
        def rate(z):
            a, b, c, d = z[..., :-3], z[..., 3:], z[..., 1:-2], z[..., 2:-1]
            pad = torch.nn.functional.pad
            total = (pad(b.conj() * c * d, (0, 3)) + pad(a.conj() * c * d, (3, 0)) +
                     pad(d.conj() * a * b, (1, 2)) + pad(c.conj() * a * b, (2, 1)))
            return -1j * chi * total
        z = torch.complex(r, s)
        k1 = rate(z)
        k2 = rate(z + time / 2 * k1)
        k3 = rate(z + time / 2 * k2)
        k4 = rate(z + time * k3)
        z = z + time / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return z.real, z.imag

    def kerr(self, p, x):
        """limiter, offset, oscillators, corrector"""
        c = self.c
        r, s = x[..., 0::2], x[..., 1::2]
        if c.has_limiter:
            ceiling = c.ceiling
            if p + "seen" in self.p:
                mean, variance, steps = self.p[p + "seen"].tolist()
                low = min(ceiling, max(0.5, 0.3 * ceiling))
                knee = min(max(mean + 3 * max(math.sqrt(variance), 0.01), low), ceiling)
                ceiling = knee if steps else 0.75 * ceiling
            r, s = self.limit(r, s, ceiling)
        if p + "offset" in self.p:
            offset = self.p[p + "offset"]
            r, s = r + offset[0::2], s + offset[1::2]
        if c.solver != "none":
            r, s = self.oscillators(p + "kerr.", r, s)
        if p + "corrector" in self.p:
            angle = self.p[p + "corrector"]
            r, s = (torch.cos(angle) * r - torch.sin(angle) * s,
                    torch.sin(angle) * r + torch.cos(angle) * s)
        return torch.stack([r, s], -1).flatten(-2)

    def ffn(self, p, x, per_band):
        c = self.c
        x = self.taps(p, c.ffn_taps, x)
        if c.ffn == "gated_mlp":
            a, b = self.affine(p + "up", x).split(c.hidden, -1)
            return self.affine(p + "down", a * torch.sigmoid(a) * b)
        if c.ffn == "mlp":
            return self.affine(p + "down", gelu(self.affine(p + "up", x)))
        if per_band:
            bands = x.view(*x.shape[:-1], c.bands, 2)
            y = torch.einsum("koi,btki->btko", self.p[p + "per_band.weight"], bands)
            y = (y + self.p[p + "per_band.bias"]).flatten(-2)
        elif c.maestros == "add":
            y = self.kerr(p, x) + self.maestro(p + "maestro", x)
        else:
            y = self.kerr(p, x + self.maestro(p + "maestro_in", x))
            y = y + self.maestro(p + "maestro_out", y)
        if c.gate == "on":
            y = y * self.affine(p + "gate", x)
        if c.groups == 1:
            return self.affine(p + "out", y)
        grouped = y.view(*y.shape[:-1], c.groups, c.D // c.groups)
        y = torch.einsum("goi,btgi->btgo", self.p[p + "out.weight"], grouped).flatten(-2)
        return y + self.p[p + "out.bias"]

    # the whole

    def logits(self, tokens):
        c = self.c
        h = self.p["embed.weight"][tokens]
        self.tokens = tokens
        if c.phase_input == "on":
            share = torch.sigmoid(self.p["phase.blend"])
            h = (1 - share) * h + share * self.affine("phase.expand", self.p["phase.weight"][tokens])
        if c.position != "none":
            h = h + self.p["position.weight"][:tokens.shape[1]]
        mask = torch.tensor(c.heard(), dtype=REAL).repeat_interleave(2) if c.curriculum else 1
        if c.curriculum and c.curriculum[0] == "on":
            h, mask = mask * h, 1
        for block in range(c.layers):
            p, per_band = "blocks.%d." % block, c.block_is_per_band(block)
            self.c = c.of_block(block)
            x = self.normed(p + "norm1", h)
            if c.block == "sequential":
                h = h + self.attention(p + "attn.", x)
                h = h + self.ffn(p + "ffn.", mask * self.normed(p + "norm2", h), per_band)
            else:
                y = x if c.block == "parallel_shared" else self.normed(p + "norm2", h)
                h = h + self.attention(p + "attn.", x) + self.ffn(p + "ffn.", mask * y, per_band)
        self.c = c
        h = self.normed("norm_f", h)
        if c.head == "tied":
            return self.p["head.scale"] * (h @ self.p["embed.weight"].T)
        if c.head == "phase_native":
            z = torch.view_as_complex(h.unflatten(-1, (c.bands, 2)).contiguous())
            z = z * torch.exp(1j * self.p["head.corrector"])
            return self.p["head.scale"] * (torch.view_as_real(z).flatten(-2) @ self.p["embed.weight"].T)
        if c.head == "wave_decode":
            r, s = h[..., 0::2], h[..., 1::2]
            length = self.p["head.bands"] * torch.sqrt(r ** 2 + s ** 2)
            angle = torch.atan2(s, r)[..., None, :] - self.p["head.phases"]
            return self.p["head.scale"] * (length[..., None, :] * torch.cos(angle)).sum(-1)
        if c.head == "low_rank":
            return self.affine("head.up", self.affine("head.down", h))
        return self.affine("head", h)


# ---- configurations -----------------------------------------------------------------------------


def silence_a_head(table):
    """A phasor of length zero: the unit phasor is (1, 0) and passes no gradient."""
    for name in ("query_phasor", "key_phasor"):
        table["blocks.0.attn.%s.weight" % name][2:4] = 0
        table["blocks.0.attn.%s.bias" % name][2:4] = 0


def small_damping(table):
    """gamma on both sides of 1e-3, where its functions change from series to closed form."""
    for block in (0, 1):
        table["blocks.%d.ffn.kerr.gamma_raw" % block][:4] = [-12.0, -7.5, -6.95, -6.88]


CONFIGS = [
    Config("default"),
    Config("shared", attention="shared", block="parallel_shared"),
    Config("frozen", attention="frozen", block="parallel_shared", solver="perturbative",
           corrector="on", groups=2, position="sinusoidal", kerr_trained="off", bands=8),
    Config("dot", attention="dot", ffn="mlp", hidden=13, position="sinusoidal"),
    Config("rotary", attention="rotary", ffn="mlp", block="sequential"),
    Config("gpt", attention="dot", ffn="mlp", block="sequential", position="learned",
           embedding="random", embedding_trained="on"),
    Config("kerr_engine", attention="dot", block="sequential", maestros="add", solver="rk4",
           rk4_steps=8, per_band_first="on", embedding_unit="on", beta=0.1, position="sinusoidal"),
    Config("wave_engine_rk4", attention="frozen", block="parallel_shared", solver="rk4", limiter="on",
           corrector="on", groups=4, kerr_trained="on", omega_trained="off"),
    Config("rk4_3", solver="rk4", rk4_steps=3, offset=0.3, groups=2),
    Config("perturbative", solver="perturbative", corrector="on"),
    Config("exact_limited", limiter="on", offset=0.2, corrector="on", block="sequential",
           kerr_trained="off", omega_trained="on"),
    Config("per_band_dual", per_band_first="on", attention="shared", block="sequential"),
    Config("solver_none", solver="none", head="low_rank", embedding="circles", layers=1),
    Config("tied", head="tied", embedding_trained="on"),
    Config("tied_frozen_table", head="tied", embedding="random", layers=1, bands=5, heads=2),
    Config("add_exact", maestros="add", attention="rotary", block="parallel_shared", layers=1),
    Config("one_row", B=1, T=1, bands=3, heads=1, layers=1, vocab=3, maestro=1),
    Config("one_head", B=3, T=5, bands=3, heads=1, layers=2, vocab=7, maestro=3),
    Config("one_band", B=2, T=4, bands=1, heads=1, layers=2, vocab=5, maestro=2),
    Config("narrow_heads", B=1, T=9, bands=7, heads=7, layers=1, vocab=13, solver="rk4", rk4_steps=1),
    Config("silent_phasor", tweak=silence_a_head),
    Config("small_damping", tweak=small_damping),
    Config("long", B=1, T=300, bands=4, heads=4, layers=2, vocab=5, maestro=2, gain_max=11.9, context=300),
    Config("listening", forgetting="on", loudness="on", query_gain="on", gate="on", taps=3,
           block="sequential"),
    Config("both_taps", forgetting="on", loudness="on", gate="on", value_gate="on", taps=3, ffn_taps=3,
           block="sequential", layers=1),  # the default network
    Config("gates", attention="shared", forgetting="on", gate="on", value_gate="on", taps=2, norm="rms"),
    Config("mixing", mixing=0.2, splits=2, limiter="on", corrector="on", offset=0.2),
    Config("split", solver="split", corrector="on", offset=0.2),
    Config("rk4_weights", solver="rk4", rk4_steps=3, rk4_weights="on", alpha=0.05, beta=0.05),
    Config("gated_mlp", attention="rotary", ffn="gated_mlp", hidden=11, block="sequential",
           value_gate="on", taps=4),
    Config("long_listening", B=1, T=150, bands=4, heads=4, layers=1, vocab=5, maestro=2, context=150,
           forgetting="on", loudness="on", query_gain="on", gain_most=6.0),
    Config("pope", attention="pope", layers=1, ffn="mlp", hidden=9),
    Config("resonance", attention="resonance", phases=3, phase_input="on", position="learned",
           embedding="random", embedding_trained="on", ffn="mlp", hidden=9),
    Config("key_width", attention="dot,rotary,pope,resonance", key_width=6, phases=3, layers=4, bands=6,
           heads=3, ffn="mlp", hidden=9),
    Config("phase_native", head="phase_native", embedding_trained="on", layers=1),
    Config("wave_decode", head="wave_decode", reference_trained="on", layers=1),
    Config("overtones", overtones=2, forgetting="on", loudness="on", gain_max=5.0, layers=1),
    Config("gain_control", gain_control="on", offset=0.2, maestro=3),
    Config("mixed", attention="coherence,dot,frozen", ffn="kerr,gated_mlp", hidden=9, layers=3, bands=6,
           heads=3, vocab=7, gate="on", taps=2),
    Config("split_frozen", solver="split", kerr_trained="off", head="wave_decode", layers=1, bands=6, heads=3),
    Config("resonance_frozen", attention="resonance", phases=3, phases_trained="off", phase_input="on",
           position="learned", layers=1, bands=6, heads=3, ffn="mlp", hidden=9),
    Config("curriculum", B=1, curriculum=("on", 9, 2), bands=9, heads=2, position="learned", layers=1),
    Config("soft_curriculum", B=1, curriculum=("soft", 10, 9), bands=10, layers=1, gate="on"),
    Config("long_rotary", B=2, T=150, bands=4, heads=2, layers=1, vocab=5, attention="rotary",
           context=150, ffn="mlp", hidden=8),
]


def compute(config):
    """Tries seeds until phasors keep clear of zero and of the wrap: float32 must be able to follow."""
    least = 0.002 if config.T > 100 else 0.02
    for seed in range(1, 200):
        parameters = Parameters(config, seed).fill()
        network = Network(config, parameters)
        rng = np.random.RandomState(1000 + seed)
        tokens = rng.randint(0, config.vocab, (config.B, config.T))
        targets = rng.randint(0, config.vocab, (config.B, config.T))
        if config.curriculum:  # a text, of which that is the only window
            targets = np.concatenate([tokens[:, 1:], targets[:, -1:]], 1)
        logits = network.logits(torch.tensor(tokens)).reshape(-1, config.vocab)
        if network.margin < least or (config.has_limiter and not network.beyond_knee):
            continue
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(targets.reshape(-1)))
        loss.backward()
        tensors = {"loss": np.array([loss.item()], np.float64),
                   "tokens": tokens.astype(np.int32), "targets": targets.astype(np.int32),
                   "logits": logits.detach().numpy().astype(np.float32)}
        tensors.update(parameters.table)
        for name, tensor in network.p.items():
            if parameters.trained[name]:
                assert tensor.grad is not None, name
                tensors["grad." + name] = tensor.grad.numpy().astype(np.float32)
        return tensors
    raise SystemExit("%s: no seed keeps clear of the singular places" % config.name)


# ---- safetensors, by hand -----------------------------------------------------------------------

DTYPES = {"float64": "F64", "float32": "F32", "int32": "I32"}


def write_safetensors(path, tensors, metadata):
    """8 bytes of header length, the header in JSON padded with blanks, the data without holes."""
    header, data, offset = {"__metadata__": metadata}, [], 0
    for name in sorted(tensors, key=lambda n: (-tensors[n].dtype.itemsize, n)):
        array = np.ascontiguousarray(tensors[name])
        data.append(array.astype(array.dtype.newbyteorder("<")).tobytes())
        header[name] = {"dtype": DTYPES[str(array.dtype)], "shape": list(array.shape),
                        "data_offsets": [offset, offset + len(data[-1])]}
        offset += len(data[-1])
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=True).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(data))


def read_safetensors(path):
    kinds = {text: kind for kind, text in DTYPES.items()}
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        kind = np.dtype(kinds[entry["dtype"]]).newbyteorder("<")
        tensors[name] = np.frombuffer(data[begin:end], kind).reshape(entry["shape"])
    return tensors, metadata


def main():
    check = "--check" in sys.argv[1:]
    failed = 0
    for config in CONFIGS:
        tensors, path = compute(config), os.path.join(HERE, config.name + ".safetensors")
        if not check:
            write_safetensors(path, tensors, config.metadata())
            print("%-18s %7d bytes, loss %.6f" % (config.name, os.path.getsize(path), tensors["loss"][0]))
            continue
        stored, metadata = read_safetensors(path)
        good = metadata == config.metadata() and set(stored) == set(tensors) and all(
            np.allclose(stored[name], tensors[name], rtol=1e-5, atol=1e-7) for name in tensors)
        print("%-18s %s" % (config.name, "as stored" if good else "DIFFERS"))
        failed += not good
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

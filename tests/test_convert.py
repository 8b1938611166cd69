#!/usr/bin/env python3
"""examples/convert.c: checkpoints of kerr-engine in and out. The files are written here, from the
format's description, and the network is computed here once more, by RK4 in doubles.

python3 tests/test_convert.py    CC and CFLAGS choose the compiler; it needs nothing beyond Python;
ends with `N passed, N failed`.
"""
import json
import math
import os
import random
import shlex
import struct
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TEXT = "the cat sat on the mat; a tale of tea\n" * 30
passed = failed = 0


def check(ok, what):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print(f"FAILED: {what}", file=sys.stderr)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    return done.returncode, done.stdout, done.stderr


def write(name, data):
    with open(os.path.join(folder, name), "wb") as file:
        file.write(data)


def read(name):
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


# ---- the engine's file -----------------------------------------------------------------------------


def part_shapes(bands, layers, maestro, vocab, dual):
    """Names (ours) and shapes of the flat list, in its order."""
    wide = 2 * bands
    both = (maestro, wide), (maestro,), (wide, maestro), (wide,)
    kinds = ("squeeze.weight", "squeeze.bias", "expand.weight", "expand.bias")
    shapes = []
    for l in range(layers):
        rows = [("norm1.weight", (wide,)), ("norm1.bias", (wide,)),
                ("attn.qkv.weight", (3 * wide, wide)), ("attn.qkv.bias", (3 * wide,)),
                ("attn.out.weight", (wide, wide)), ("attn.out.bias", (wide,)),
                ("norm2.weight", (wide,)), ("norm2.bias", (wide,))]
        if l == 0:
            rows += [("ffn.per_band.weight", (bands, 2, 2)), ("ffn.per_band.bias", (bands, 2))]
        else:
            rows += [("ffn.kerr.gamma_raw", (bands,)), ("ffn.kerr.omega", (bands,)),
                     ("ffn.kerr.alpha", (1,)), ("ffn.kerr.beta", (1,))]
            for name in ("maestro_in", "maestro_out") if dual else ("maestro",):
                rows += [(f"ffn.{name}.{kind}", shape) for kind, shape in zip(kinds, both)]
        rows += [("ffn.out.weight", (wide, wide)), ("ffn.out.bias", (wide,))]
        shapes += [(f"blocks.{l}.{name}", shape) for name, shape in rows]
    return shapes + [("norm_f.weight", (wide,)), ("norm_f.bias", (wide,)),
                     ("head.weight", (vocab, wide))]


def random_parts(shapes, seed):
    """Numbers that a float holds exactly, norms near 1, small oscillators' settings."""
    source = random.Random(seed)
    parts = {}
    for name, shape in shapes:
        middle, spread = (1, 0.2) if "norm" in name and name.endswith("weight") else (0, 0.4)
        if name.endswith(("alpha", "beta")):
            middle, spread = 0.1, 0.05
        values = [middle + spread * source.uniform(-1, 1) for _ in range(math.prod(shape))]
        parts[name] = list(struct.unpack(f"<{len(values)}f", struct.pack(f"<{len(values)}f", *values)))
    return parts


def kchk(parts, sizes, vocab, version=2, iteration=7):
    flat = [x for values in parts.values() for x in values]
    data = b"KCHK" + struct.pack("<I", version)
    data += struct.pack("<6I", *sizes) if version == 2 else b""
    data += struct.pack("<QQfQQ", vocab, iteration, 3e-4, 1337, iteration)
    for values in ([0.5] * len(flat), [0.25] * len(flat), flat):
        data += struct.pack(f"<Q{len(values)}f", len(values), *values)
    return data


def tensors(name):
    data = read(name)
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    out = {}
    for key, entry in header.items():
        if key == "__metadata__":
            continue
        a, b = (8 + size + x for x in entry["data_offsets"])
        out[key] = list(struct.unpack(f"<{(b - a) // 4}f", data[a:b]))
    return out


# ---- the engine's network --------------------------------------------------------------------------


def linear(x, parts, name, turned=False):
    weight, bias = parts[name + ".weight"], parts[name + ".bias"]
    n = len(x)
    return [bias[o] + sum(weight[o * n + i] * x[i] for i in range(n)) for o in range(len(bias))]


def norm(x, parts, name):
    mean = sum(x) / len(x)
    scale = 1 / math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + 1e-5)
    return [(v - mean) * scale * w + b
            for v, w, b in zip(x, parts[name + ".weight"], parts[name + ".bias"])]


def gelu(x):
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def maestro(x, parts, name):
    return linear([gelu(v) for v in linear(x, parts, name + ".squeeze")], parts, name + ".expand")


def slope(z, gamma, omega, alpha, beta):
    power = [abs(v) ** 2 for v in z]
    get = lambda k: power[k] if 0 <= k < len(power) else 0.0
    return [(-gamma[k] + 1j * (omega[k] + alpha * power[k] + beta * (get(k - 2) + get(k - 1) + get(k + 1) + get(k + 2)))) * z[k]
            for k in range(len(z))]


def kerr(x, parts, name, steps):
    z = [complex(x[2 * k], x[2 * k + 1]) for k in range(len(x) // 2)]
    gamma = [math.log1p(math.exp(v)) for v in parts[name + ".gamma_raw"]]
    numbers = gamma, parts[name + ".omega"], parts[name + ".alpha"][0], parts[name + ".beta"][0]
    h = 1 / steps
    for _ in range(steps):
        a = slope(z, *numbers)
        b = slope([v + h / 2 * d for v, d in zip(z, a)], *numbers)
        c = slope([v + h / 2 * d for v, d in zip(z, b)], *numbers)
        d = slope([v + h * e for v, e in zip(z, c)], *numbers)
        z = [v + h / 6 * (p + 2 * q + 2 * r + s) for v, p, q, r, s in zip(z, a, b, c, d)]
    return [part for v in z for part in (v.real, v.imag)]


def attend(rows, parts, name, heads):
    wide = len(rows[0])
    e = wide // heads
    qkv = [linear(x, parts, name + ".qkv") for x in rows]
    out = []
    for t in range(len(rows)):
        y = []
        for h in range(heads):
            q = qkv[t][h * e : (h + 1) * e]
            scores = [sum(a * b for a, b in zip(q, qkv[s][wide + h * e :])) / math.sqrt(e) for s in range(t + 1)]
            top = max(scores)
            weights = [math.exp(s - top) for s in scores]
            y += [sum(w * qkv[s][2 * wide + h * e + i] for s, w in enumerate(weights)) / sum(weights) for i in range(e)]
        out.append(linear(y, parts, name + ".out"))
    return out


def per_band(x, parts, name):
    """The file's order: r' = w00 r + w10 s + b0, s' = w01 r + w11 s + b1."""
    w, b = parts[name + ".weight"], parts[name + ".bias"]
    out = []
    for k in range(len(x) // 2):
        r, s = x[2 * k], x[2 * k + 1]
        out += [w[4 * k] * r + w[4 * k + 2] * s + b[2 * k], w[4 * k + 1] * r + w[4 * k + 3] * s + b[2 * k + 1]]
    return out


def feed(x, parts, l, steps, dual):
    name = f"blocks.{l}.ffn"
    if l == 0:
        y = per_band(x, parts, name + ".per_band")
    elif dual:
        x = [a + b for a, b in zip(x, maestro(x, parts, name + ".maestro_in"))]
        o = kerr(x, parts, name + ".kerr", steps)
        y = [a + b for a, b in zip(o, maestro(o, parts, name + ".maestro_out"))]
    else:
        y = [a + b for a, b in zip(kerr(x, parts, name + ".kerr", steps), maestro(x, parts, name + ".maestro"))]
    return linear(y, parts, name + ".out")


def embedded(token, position, bands, vocab):
    out = []
    for h in range(bands):
        a, b = 2 * math.pi * token * (h + 1) / vocab, position * 10000 ** (-2 * h / (2 * bands))
        out += [(math.cos(a) + math.cos(b)) / math.sqrt(bands), (math.sin(a) + math.sin(b)) / math.sqrt(bands)]
    return out


def loss_of(tokens, parts, sizes, vocab, dual):
    bands, heads, layers, _, _, steps = sizes
    rows = [embedded(token, t, bands, vocab) for t, token in enumerate(tokens[:-1])]
    for l in range(layers):
        y = attend([norm(x, parts, f"blocks.{l}.norm1") for x in rows], parts, f"blocks.{l}.attn", heads)
        rows = [[a + b for a, b in zip(x, d)] for x, d in zip(rows, y)]
        y = [feed(norm(x, parts, f"blocks.{l}.norm2"), parts, l, steps, dual) for x in rows]
        rows = [[a + b for a, b in zip(x, d)] for x, d in zip(rows, y)]
    total = 0
    for x, wanted in zip(rows, tokens[1:]):
        x = norm(x, parts, "norm_f")
        logits = [sum(a * b for a, b in zip(x, parts["head.weight"][v * len(x) :])) for v in range(vocab)]
        top = max(logits)
        total += top + math.log(sum(math.exp(v - top) for v in logits)) - logits[wanted]
    return total / len(rows)


# ---- behaviours ------------------------------------------------------------------------------------


def both_ways(sizes, dual, what):
    letters = sorted(set(TEXT))
    vocab = len(letters)
    parts = random_parts(part_shapes(sizes[0], sizes[2], sizes[3], vocab, dual), 5)
    data = kchk(parts, sizes, vocab)
    write("a.kchk", data)
    for name in ("a.safetensors", "b.kchk"):
        if os.path.exists(os.path.join(folder, name)):
            os.remove(os.path.join(folder, name))
    code, out, err = run("./convert", "a.kchk", "a.safetensors", "--text", "text.txt")
    check(code == 0 and "iteration 7" in out, f"{what}: converted: {err}")
    ours = tensors("a.safetensors")
    same = all(ours[name] == values for name, values in parts.items() if "per_band.weight" not in name)
    check(same, f"{what}: every tensor by its name")
    band = parts["blocks.0.ffn.per_band.weight"]
    check(ours["blocks.0.ffn.per_band.weight"][:4] == [band[0], band[2], band[1], band[3]],
          f"{what}: the matrix of a band is turned")
    tokens = [letters.index(c) for c in TEXT[:17]]
    wanted = loss_of(tokens, parts, sizes, vocab, dual)
    write("short.txt", TEXT[:17].encode())
    code, out, err = run("./eval", "a.safetensors", "short.txt", "--seq", "16")
    check(code == 0 and abs(float(out.split()[1]) - wanted) < 2e-6,  # eval prints six digits
          f"{what}: its loss is {out.split()[1:2]}, by RK4 in doubles {wanted} {err}")
    code, out, err = run("./convert", "a.safetensors", "b.kchk")
    check(code == 0, f"{what}: back: {err}")
    back, count = read("b.kchk"), sum(map(len, parts.values()))
    check(back[-4 * count :] == data[-4 * count :], f"{what}: the same parameters come back")
    check(back[:40] == data[:40] and len(back) == len(data), f"{what}: the same head and length")


def refused(name, words, *options):
    before = sorted(os.listdir(folder))
    code, out, err = run("./convert", name, "never.safetensors", *options)
    lines = err.strip().split("\n")
    check(code == 1 and out == "" and len(lines) == 1 and all(w in err for w in words),
          f"{name}: refused in one sentence with {words}: {code} {out} {err}")
    check(sorted(os.listdir(folder)) == before, f"{name}: nothing was written")


def hostile():
    sizes, vocab = (4, 2, 2, 3, 16, 4), 5
    parts = random_parts(part_shapes(4, 2, 3, vocab, False), 6)
    data = kchk(parts, sizes, vocab)
    for cut in list(range(4, 84)) + [len(data) - 1, len(data) // 2]:
        write("cut.kchk", data[:cut])
        code, out, err = run("./convert", "cut.kchk", "never.safetensors")
        check(code == 1 and err.count("\n") == 1, f"cut at {cut}: {code} {err}")
    for bit in range(32, 8 * 32):  # version and sizes: another number is another length
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        write("flip.kchk", bytes(broken))
        code, out, err = run("./convert", "flip.kchk", "never.safetensors")
        context = 24 <= bit // 8 < 28 or 28 <= bit // 8 < 32  # context, steps: no length depends on them
        check(code == 1 or context and code == 0, f"bit {bit}: {code} {err}")
        check(code in (0, 1) and err.count("\n") == (code == 1), f"bit {bit}: {err}")
        for left in os.listdir(folder):
            if left.startswith("never"):
                os.remove(os.path.join(folder, left))
    write("long.kchk", data + b"x")
    refused("long.kchk", ["1 bytes follow"])
    broken = bytearray(data)
    broken[-4:] = struct.pack("<f", math.nan)
    write("nan.kchk", bytes(broken))
    refused("nan.kchk", ["head.weight", "not finite"])
    write("three.kchk", data[:4] + struct.pack("<I", 3) + data[8:])
    refused("three.kchk", ["version 3"])
    write("wave.kchk", b"WCHK" + data[4:])
    refused("wave.kchk", ["wave-engine"])
    write("good.kchk", data)
    refused("good.kchk", ["different characters", "trained on 5"], "--text", "text.txt")
    check(run("./convert", "good.kchk", "good.kchk")[0] == 2, "a file onto itself")
    check(run("./convert", "good.kchk")[0] == 2, "one file alone")


def what_cannot_go_back():
    code, out, err = run("./train", "--data", "text.txt", "--steps", "1", "--out", "wave.safetensors",
                         "--bands", "8", "--seq", "8", "--sample", "0")
    check(code == 0, f"trained: {err}")
    code, out, err = run("./convert", "wave.safetensors", "never.kchk")
    check(code == 1 and "kerr-engine has" in err, f"the default network is refused: {err}")
    code, out, err = run("./train", "--data", "text.txt", "--steps", "1", "--out", "kerr.safetensors",
                         "--preset", "kerr-engine", "--bands", "8", "--seq", "8", "--sample", "0")
    code, out, err = run("./convert", "kerr.safetensors", "never.kchk")
    check(code == 1 and "position table" in err, f"sine before cosine is refused: {err}")
    check(not os.path.exists(os.path.join(folder, "never.kchk")), "nothing is written then")


def version_1():
    letters = sorted(set(TEXT))
    parts = random_parts(part_shapes(64, 4, 16, len(letters), False), 8)
    write("one.kchk", kchk(parts, (), len(letters), version=1))
    code, out, err = run("./convert", "one.kchk", "one.safetensors", "--text", "text.txt")
    check(code == 0, f"version 1: {err}")
    check(tensors("one.safetensors")["blocks.3.ffn.kerr.omega"] == parts["blocks.3.ffn.kerr.omega"],
          "version 1 has four blocks of 64 bands")
    first = read("one.safetensors")
    code, out, err = run("./convert", "one.kchk", "one.safetensors")
    check(code == 0 and read("one.safetensors.old") == first, "what stood there is moved aside")


with tempfile.TemporaryDirectory() as folder:
    flags = shlex.split(os.environ.get("CFLAGS", "-std=c99 -O1"))
    for program in ("convert", "eval", "train"):
        source = os.path.join(ROOT, "examples", program + ".c")
        subprocess.run([os.environ.get("CC", "cc"), *flags, source, "-o", os.path.join(folder, program),
                        "-lm", "-lpthread"], check=True)
    write("text.txt", TEXT.encode())
    both_ways((4, 2, 3, 3, 16, 4), False, "one maestro")
    both_ways((6, 3, 2, 4, 32, 8), True, "two maestros")
    hostile()
    what_cannot_go_back()
    version_1()
print(f"{passed} passed, {failed} failed")
sys.exit(failed != 0)

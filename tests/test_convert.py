#!/usr/bin/env python3
"""examples/convert.c: checkpoints of kerr-engine and wave-engine in and out, GGUF in. The files are written here, from
the formats' descriptions, and the networks are computed here once more, in doubles.

python3 tests/test_convert.py [--every] [--kchk FILE]   CC and CFLAGS choose the compiler; it needs nothing beyond
Python; --every turns every bit of files (two minutes), --kchk takes the checkpoint that kerr-engine itself left after
the run of engine_run below. Ends with `N passed, N failed`.
"""
import cmath
import json
import math
import os
import random
import re
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


def slope(z, gamma, omega, alpha, beta, chi=0.0):
    power = [abs(v) ** 2 for v in z]
    get = lambda k: power[k] if 0 <= k < len(power) else 0.0
    out = [(-gamma[k] + 1j * (omega[k] + alpha * power[k] + beta * (get(k - 2) + get(k - 1) + get(k + 1) + get(k + 2)))) * z[k]
           for k in range(len(z))]
    families = [(k - 2, k + 1, k - 1, k) for k in range(2, len(z) - 1)] + [(k - 1, k + 2, k, k + 1) for k in range(1, len(z) - 2)]
    for a, b, c, d in families if chi else ():
        for to, one, two, three in (a, b, c, d), (b, a, c, d), (c, d, a, b), (d, c, a, b):
            out[to] -= 1j * chi * z[one].conjugate() * z[two] * z[three]
    return out


def kerr(x, parts, name, steps):
    z = [complex(x[2 * k], x[2 * k + 1]) for k in range(len(x) // 2)]
    gamma = [math.log1p(math.exp(v)) for v in parts[name + ".gamma_raw"]]
    numbers = gamma, parts[name + ".omega"], parts[name + ".alpha"][0], parts[name + ".beta"][0], parts.get(name + ".chi", 0.0)
    h, share = 1 / steps, parts.get(name + ".weights", [1 / 6, 1 / 3, 1 / 3, 1 / 6])
    for _ in range(steps):
        a = slope(z, *numbers)
        b = slope([v + h / 2 * d for v, d in zip(z, a)], *numbers)
        c = slope([v + h / 2 * d for v, d in zip(z, b)], *numbers)
        d = slope([v + h * e for v, e in zip(z, c)], *numbers)
        z = [v + h * sum(w * s for w, s in zip(share, slopes)) for v, *slopes in zip(z, a, b, c, d)]
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
    for name in ("b.kchk.99999999-0.tmp", "b.kchk.tmp"):
        write(name, b"left")
    code, out, err = run("./convert", "a.safetensors", "b.kchk")
    check(code == 0, f"{what}: back: {err}")
    check([name for name in sorted(os.listdir(folder)) if name.startswith("b.kchk.") and name.endswith("tmp")] == ["b.kchk.tmp"],
          f"{what}: what a killed process left is taken away, what is none of its own is not")
    back, count = read("b.kchk"), sum(map(len, parts.values()))
    check(back[-4 * count :] == data[-4 * count :], f"{what}: the same parameters come back")
    check(back[:40] == data[:40] and len(back) == len(data), f"{what}: the same head and length")
    code, out, err = run("./convert", "a.kchk", "run.safetensors", "--text", "text.txt", "--moments")
    check(code == 0 and set(tensors("run.safetensors")["adam.v.blocks.1.ffn.kerr.omega"]) == {0.25}, f"{what}: moments: {err}")
    code, out, err = run("./convert", "run.safetensors", "c.kchk")
    check(code == 0 and read("c.kchk") == data, f"{what}: with its moments every byte comes back: {err}")
    for optimiser, whole in ("adamw", True), ("muon", False):  # Muon's are for its matrices alone: half of a run is none
        code, out, err = run("./train", "--from", "a.safetensors", "--data", "text.txt", "--out", f"{optimiser}.safetensors",
                             "--optimizer", optimiser, "--steps", "4", "--seq", "8", "--batch", "2", "--eval-every", "-1",
                             "--sample", "0")
        check(code == 0, f"{what}: trained on with {optimiser}: {err}")
        code, out, err = run("./convert", f"{optimiser}.safetensors", f"{optimiser}.kchk")
        there = read(f"{optimiser}.kchk")
        moments = struct.unpack(f"<{count}f", there[76 : 76 + 4 * count])
        told = "its moments are not all AdamW's" in err
        check(code == 0 and told != whole and any(moments) == whole, f"{what}: moments of {optimiser}: {err}")
        check(struct.unpack("<Q", there[40:48])[0] == 4 * whole, f"{what}: the iteration of {optimiser}")
        check(len(there) == len(data) and there[-4 * count :] != data[-4 * count :], f"{what}: the weights of {optimiser}")
    code, out, err = run("./convert", "run.safetensors", "d.kchk", "--version", "1")
    check(code == 1 and f"bands is {sizes[0]}: KCHK of version 1 has 64" in err, f"{what}: no version 1: {err}")


def words_of_the_engine():
    lines = ["So, the moon: it's the moon.", "", "The tide; \"the\" moon, it's so", ""]
    told = "So , the moon : it's the moon . \\n \\n The tide ; \" the \" moon , it's so \\n".lower().split()
    told = ["\n" if word == "\\n" else word for word in told]
    known = ["<unk>"] + sorted(w for w in set(told) if told.count(w) >= 3)
    sizes = (4, 2, 2, 3, 32, 4)
    parts = random_parts(part_shapes(4, 2, 3, len(known), False), 9)
    write("words.kchk", kchk(parts, sizes, len(known)))
    write("words.txt", "\n".join(lines).encode())
    code, out, err = run("./convert", "words.kchk", "words.safetensors", "--text", "words.txt", "--words")
    check(code == 0 and known == ["<unk>", "\n", "moon", "the"], f"words: converted: {err} {known}")
    wanted = loss_of([known.index(w) if w in known else 0 for w in told], parts, sizes, len(known), False)
    code, out, err = run("./eval", "words.safetensors", "words.txt", "--seq", "21")
    check(code == 0 and len(told) == 22 and abs(float(out.split()[1]) - wanted) < 2e-6,
          f"words: the loss is {out.split()[1:2]}, of the engine's tokens {wanted} {err}")
    refused("words.kchk", ["19 different characters", "trained on 4"], "--text", "words.txt")
    check(run("./convert", "words.kchk", "no.safetensors", "--words")[0] == 2, "words of no text")


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
    giant = b"KCHK" + struct.pack("<7IQQfQQ", 2, 1, 1, 1000, 65536, 16, 4, vocab, 7, 3e-4, 1337, 7)  # by its maestros
    write("giant.kchk", giant + 3 * struct.pack("<Q30000f", 30000, *[0.1] * 30000))
    refused("giant.kchk", ["its sizes want more than its 30000 parameters"])
    write("good.kchk", data)
    refused("good.kchk", ["different characters", "trained on 5"], "--text", "text.txt")
    check(run("./convert", "good.kchk", "good.kchk")[0] == 2, "a file onto itself")
    check(run("./convert", "good.kchk")[0] == 2, "one file alone")
    broken = bytearray(data)
    at = data.index(struct.pack("<f", 0.25))
    broken[at : at + 4] = struct.pack("<f", -0.25)  # a mean of squares
    write("minus.kchk", bytes(broken))
    write("never.safetensors", b"stands")
    refused("minus.kchk", ["minus.kchk: adam.v.blocks.0.norm1.weight: number 0 is -0.25"], "--moments")
    check(read("never.safetensors") == b"stands", "what stands at the target stays where it is if nothing is written")
    os.remove(os.path.join(folder, "never.safetensors"))
    os.mkdir(os.path.join(folder, "never.safetensors"))
    refused("good.kchk", ["never.safetensors: cannot save there: it is a folder"])
    os.rmdir(os.path.join(folder, "never.safetensors"))


def from_standard_input():
    for name, out, options in ("words.kchk", "piped.safetensors", ("--text", "words.txt", "--words")), ("run.safetensors", "piped.kchk", ()):
        with open(os.path.join(folder, name), "rb") as file:
            done = subprocess.run(["./convert", "-", out, *options], stdin=file, capture_output=True, text=True, cwd=folder)
        other = "named" + out[5:]
        code = run("./convert", name, other, *options)[0]
        check(done.returncode == code == 0 and read(out) == read(other), f"{name} from standard input: {done}")
        done = subprocess.run(["./convert", "-", "never.safetensors"], input="none", capture_output=True, text=True, cwd=folder)
        check(done.returncode == 1 and done.stderr.startswith("convert: standard input: "), f"named in sentences: {done}")


def half_of_a_run():
    """Means of gradients without those of their squares are no run that could go on."""
    data = read("run.safetensors")
    size = struct.unpack("<Q", data[:8])[0]
    header, rest, kept = json.loads(data[8 : 8 + size]), b"", {}
    for key, entry in sorted(header.items(), key=lambda item: item[1].get("data_offsets", [0])):
        if key == "__metadata__":
            kept[key] = {name: value for name, value in entry.items() if name != "wavecoh.checksum"}
        elif not key.startswith("adam.v."):
            a, b = entry["data_offsets"]
            kept[key] = dict(entry, data_offsets=[len(rest), len(rest) + b - a])
            rest += data[8 + size + a : 8 + size + b]
    text = json.dumps(kept).encode()
    write("half.safetensors", struct.pack("<Q", len(text)) + text + rest)
    code, out, err = run("./convert", "half.safetensors", "half.kchk")
    there = read("half.kchk")
    count = struct.unpack("<Q", there[68:76])[0]
    check(code == 0 and "its moments are not all AdamW's" in err and not any(there[76 : 76 + 4 * count]), f"half of a run: {out} {err}")
    check(struct.unpack("<Q", there[40:48])[0] == 0, "and its iteration is 0")


def what_cannot_go_back():
    code, out, err = run("./train", "--data", "text.txt", "--steps", "1", "--out", "wave.safetensors",
                         "--bands", "8", "--seq", "8", "--sample", "0")
    check(code == 0, f"trained: {err}")
    code, out, err = run("./convert", "wave.safetensors", "never.kchk")
    check(code == 1 and "kerr-engine has" in err, f"the default network is refused: {err}")
    code, out, err = run("./train", "--data", "text.txt", "--steps", "1", "--out", "frozen.safetensors", "--preset",
                         "wave-engine", "--solver", "exact", "--bands", "8", "--heads", "4", "--seq", "8", "--sample", "0")
    code, out, err = run("./convert", "frozen.safetensors", "never.kchk")
    check(code == 1 and "wave-engine has perturbative" in err, f"the exact solver is not wave-engine's: {err}")
    code, out, err = run("./train", "--data", "text.txt", "--steps", "1", "--out", "kerr.safetensors",
                         "--preset", "kerr-engine", "--bands", "8", "--seq", "8", "--sample", "0")
    code, out, err = run("./convert", "kerr.safetensors", "never.kchk")
    check(code == 1 and "position table" in err, f"sine before cosine is refused: {err}")
    code, out, err = run("./train", "--data", "text.txt", "--steps", "1", "--out", "keys.safetensors",
                         "--preset", "kerr-engine", "--bands", "8", "--key-width", "3", "--seq", "8", "--sample", "0")
    code, out, err = run("./convert", "keys.safetensors", "never.kchk")
    check(code == 1 and "key_width is 3: kerr-engine has 4" in err, f"narrower keys are refused: {err}")
    check(not os.path.exists(os.path.join(folder, "never.kchk")), "nothing is written then")


def options_are_heeded():
    """An option that the file at hand does not heed is refused by name, before anything is written."""
    files = {"a KCHK": ("words.kchk", "--text words.txt --words --moments"), "ours": ("run.safetensors", "--version 2"),
             "a WCHK": ("wave.kchk", "--text text.txt"), "a GGUF file": ("words.gguf", "--text text.txt")}
    every = {"--text": "text.txt", "--tokenizer": "none.json", "--embedding": "harmonic", "--m1": "3", "--m2": "5", "--alpha": "0.2",
             "--beta": "0.2", "--ceiling": "2", "--gain-control": None, "--gain_control": None, "--symbols": "9", "--rank": "2",
             "--head-scale": "0.5", "--tier": "candle", "--flags": "1", "--moments": None, "--version": "2"}
    heeds = {"a KCHK": "--text --moments", "ours": "--version", "a GGUF file": "--text --tokenizer",
             "a WCHK": " ".join(set(every) - {"--tokenizer", "--version"})}
    before = sorted(os.listdir(folder))
    for what, (name, _) in files.items():
        for option, value in every.items():
            if option in heeds[what].split():
                continue
            code, out, err = run("./convert", name, "never.safetensors", option, *([value] if value else []))
            check(code == 2 and err == f"convert: {option.replace('_', '-')} is not for {name}, which is {what}\n",
                  f"{what} does not heed {option}: {code} {err}")
    check(sorted(os.listdir(folder)) == before, "and nothing was written")
    write("none.bin", b"KCH")
    refused("none.bin", ["none.bin"], "--moments")  # what it is comes first


def version_1():
    letters = sorted(set(TEXT))
    parts = random_parts(part_shapes(64, 4, 16, len(letters), False), 8)
    write("one.kchk", kchk(parts, (), len(letters), version=1))
    code, out, err = run("./convert", "one.kchk", "one.safetensors", "--text", "text.txt")
    check(code == 0, f"version 1: {err}")
    check(tensors("one.safetensors")["blocks.3.ffn.kerr.omega"] == parts["blocks.3.ffn.kerr.omega"],
          "version 1 has four blocks of 64 bands")
    code, out, err = run("./convert", "one.kchk", "run.safetensors", "--moments")
    for version, wanted in ((1, read("one.kchk")), (2, kchk(parts, (64, 4, 4, 16, 256, 8), len(letters)))):
        code, out, err = run("./convert", "run.safetensors", "back.kchk", "--version", str(version))
        check(code == 0 and read("back.kchk") == wanted, f"back as version {version}, every byte: {out} {err}")
    check(run("./convert", "run.safetensors", "no.kchk", "--version", "3")[0] == 2, "KCHK has no version 3")
    first = read("one.safetensors")
    code, out, err = run("./convert", "one.kchk", "one.safetensors")
    check(code == 0 and read("one.safetensors.old") == first, "what stood there is moved aside")


# ---- wave-engine -----------------------------------------------------------------------------------

ODE, SCALES, RK4, HARMONICS, ATTENTION = 1, 2, 4, 8, 16


def floats(values):
    return list(struct.unpack(f"<{len(values)}f", struct.pack(f"<{len(values)}f", *values)))


def wave_parts(sizes, flags, vocab, head, rank, seed):
    """The flat list in its order, by names of its own; nothing is as it starts."""
    bands, heads, layers, narrow, _, _, groups = sizes
    wide, source = 2 * bands, random.Random(seed)
    e, block = wide // heads, wide // groups
    parts = {}

    def add(name, count, middle=0.0, spread=0.4):
        parts[name] = floats([middle + spread * source.uniform(-1, 1) for _ in range(count)])

    def linear_part(name, out, count):
        add(name + ".w", out * count)
        add(name + ".b", out)

    for l in range(layers):
        n = f"{l}."
        for norm_name in ("ln", "ln_ffn"):
            add(n + norm_name + ".w", wide, 1, 0.2)
            add(n + norm_name + ".b", wide)
        parts[n + "ln_ffn.w"], parts[n + "ln_ffn.b"] = [1.0] * wide, [0.0] * wide  # never trained
        for side in ("in", "out"):
            linear_part(n + side + ".sq", narrow, wide)
            linear_part(n + side + ".pr", wide, narrow)
        for g in range(groups):
            linear_part(f"{n}out_proj{g}", block, block)
        if flags & ODE:
            add(n + "gamma_raw", bands, -2, 0.5)
            add(n + "alpha", 1, 0.1, 0.05)
            add(n + "beta", 1, 0.1, 0.05)
            add(n + "corrector", bands)
        if flags & RK4:
            add(n + "rk4", 4, 0.25, 0.05)
        if flags & HARMONICS:
            add(n + "harmonics", heads, 0, 1)
        if flags & ATTENTION:
            for h in range(heads):
                linear_part(f"{n}phase{h}", 2, wide)
                linear_part(f"{n}v{h}", e, e)
                if not flags & HARMONICS:
                    add(f"{n}harmonic{h}", 1, 0, 1)
            linear_part(n + "attn_out", wide, wide)
    if flags & SCALES:
        add("scales", layers, 1, 0.3)
    add("ln_f.w", wide, 1, 0.2)
    add("ln_f.b", wide)
    if head == "dense":
        add("head", vocab * wide)
    elif head == "tied":
        add("head", 1, 0.3, 0.1)
    elif head == "native":
        add("angles", bands)
    elif head == "bare":
        pass
    elif head in ("decode", "references"):
        add("bands", bands, 1, 0.3)
        add("head", 1, 0.2, 0.1)
        if head == "references":
            add("phases", vocab * bands, 0, 3)
    else:
        add("down", rank * wide)
        add("up", vocab * rank)
    return parts


def wchk(parts, sizes, vocab, version, flags=0, chi=0.0):
    moments = [[x * ("ln_ffn" not in name) for name, values in parts.items() for _ in values] for x in (0.5, 0.25)]
    flat = [x for values in parts.values() for x in values]
    data = b"WCHK" + struct.pack("<I6I", version, *sizes[:6])
    data += struct.pack("<I", sizes[6]) if version > 1 else b""
    data += struct.pack("<I", flags) if version > 2 else b""
    data += struct.pack("<f", chi) if version > 3 else b""
    data += struct.pack("<QQfQQ", vocab, 9, 3e-4, 1337, 9)
    for values in (*moments, flat):
        data += struct.pack(f"<{len(values)}f", *values)
    return data


class Drawn:
    """The engines' generator: xorshift64, 13 7 17, its upper 24 bits."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        s = self.state
        s ^= s << 13 & (1 << 64) - 1
        s ^= s >> 7
        s ^= s << 17 & (1 << 64) - 1
        self.state = s
        return s

    def uniform(self, count, fan_in):
        return [(2 * ((self.next() >> 40) / 2 ** 24) - 1) / math.sqrt(fan_in) for _ in range(count)]


def published_numbers():
    for seed, wanted in ((1, [1082269761, 1152992998833853505, 11177516664432764457]),
                         (42, [45454805674, 11532217803599905471, 10021416941527320954])):
        drawn = Drawn(seed)
        check([drawn.next() for _ in wanted] == wanted, f"the engines' generator from seed {seed}")


def wave_attention(parts, sizes, flags, tier):
    """Attention of every layer: what is in the list, or what the engine draws."""
    bands, heads, layers, narrow, _, _, groups = sizes
    wide = 2 * bands
    e, drawn, out = wide // heads, Drawn(42), []
    for l in range(layers):
        n, each = f"{l}.", []
        for h in range(heads):
            if flags & ATTENTION:
                p = [parts[f"{n}{name}{h}.{k}"] for name in ("phase", "v") for k in "wb"]
            else:
                p = [drawn.uniform(2 * wide, wide), [0, 0], drawn.uniform(e * e, e), [0] * e]
                if flags & ODE and tier == "cpu":
                    drawn.uniform(16 * wide, wide)
            raw = parts[n + "harmonics"][h] if flags & HARMONICS else None
            if flags & ATTENTION and raw is None:
                raw = parts[f"{n}harmonic{h}"][0]
            p.append(math.log1p(math.exp(raw)) if raw is not None else math.log(1 + 0.5 * (h + 1)))
            each.append(p)
        if flags & ATTENTION:
            last = parts[n + "attn_out.w"], parts[n + "attn_out.b"]
        else:
            last = drawn.uniform(wide * wide, wide), [0] * wide
            if tier == "cpu":
                drawn.uniform(4 * wide * narrow + wide * wide // groups, 1)
        out.append((each, last))
    return out


def moduli(vocab):
    first = math.isqrt(vocab - 1) + 1
    first += first % 2 == 0
    second = first + 2
    while math.gcd(first, second) > 1 or first * second < vocab:
        second += 1
    return first, second


def wave_symbol(token, bands, vocab, table):
    if table == "harmonic":
        return [cmath.exp(2j * math.pi * token * (n + 1) / vocab) for n in range(bands)]
    half, out = bands // 2, []
    for m in moduli(vocab):
        out += [cmath.exp(2j * math.pi * (n + 1) * (token % m) / m) for n in range(half)]
    if table == "pythagorean":
        out = [z / math.sqrt(i % half + 1) for i, z in enumerate(out)]
        scale = math.sqrt(bands / sum(abs(z) ** 2 for z in out))
        out = [scale * z for z in out]
    return out + [0j] * (bands - 2 * half)


def affine(x, weight, bias):
    return [b + sum(w * v for w, v in zip(weight[o * len(x) :], x)) for o, b in enumerate(bias)]


def wave_fed(x, parts, l, sizes, flags, couplings, ceiling, chi):
    bands, _, _, _, _, steps, groups = sizes
    n = f"{l}."

    def mixed(x, side):
        narrow = [gelu(v) for v in affine(x, parts[f"{n}{side}.sq.w"], parts[f"{n}{side}.sq.b"])]
        return [a + b for a, b in zip(x, affine(narrow, parts[f"{n}{side}.pr.w"], parts[f"{n}{side}.pr.b"]))]

    x = mixed(x, "in")
    if ceiling > 0:
        kept = []
        for k in range(bands):
            size = math.hypot(x[2 * k], x[2 * k + 1])
            f = 1 if size <= ceiling else (ceiling + ceiling * math.tanh((size - ceiling) / ceiling)) / size
            kept += [f * x[2 * k], f * x[2 * k + 1]]
        x = kept
    own = {"k.omega": [(k + 1) / bands for k in range(bands)], "k.chi": chi}
    if n + "rk4" in parts:
        own["k.weights"] = parts[n + "rk4"]
    own["k.gamma_raw"] = parts[n + "gamma_raw"] if flags & ODE else [math.log(math.expm1(0.1))] * bands
    for name, start in zip(("alpha", "beta"), couplings):
        own["k." + name] = parts[n + name] if flags & ODE else [start]
    x = kerr(x, own, "k", steps) if steps > 1 else perturbed(x, own)
    if flags & ODE:
        z = [complex(x[2 * k], x[2 * k + 1]) * cmath.exp(1j * parts[n + "corrector"][k]) for k in range(bands)]
        x = [part for v in z for part in (v.real, v.imag)]
    x, size, out = mixed(x, "out"), 2 * bands // groups, []
    for g in range(groups):
        out += affine(x[g * size : (g + 1) * size], parts[f"{n}out_proj{g}.w"], parts[f"{n}out_proj{g}.b"])
    return out


def perturbed(x, own):
    z = []
    for k in range(len(x) // 2):
        gamma = math.log1p(math.exp(own["k.gamma_raw"][k]))
        z.append(complex(x[2 * k], x[2 * k + 1]) * cmath.exp(-gamma + 1j * own["k.omega"][k]))
    power = [abs(v) ** 2 for v in z]
    out = []
    for k, v in enumerate(z):
        near = sum(power[j] for j in (k - 2, k - 1, k + 1, k + 2) if 0 <= j < len(z))
        v *= 1 + 1j * (own["k.alpha"][0] * power[k] + own["k.beta"][0] * near)
        out += [v.real, v.imag]
    return out


def wave_loss(tokens, parts, sizes, flags, vocab, tier="cpu", table="circles", couplings=(0.1, 0.1), ceiling=None, chi=0.0):
    bands, heads, layers = sizes[:3]
    wide = 2 * bands
    e = wide // heads
    if ceiling is None:
        ceiling = max(0.5, math.sqrt(math.pi / 2 / (couplings[0] + 4 * couplings[1])))
    attention = wave_attention(parts, sizes, flags, tier)
    flat = lambda z: [part for v in z for part in (v.real, v.imag)]
    symbols = [flat(wave_symbol(v, bands, vocab, table)) for v in range(vocab)]
    place = lambda t: [f(t * 10000 ** (-2 * k / wide)) for k in range(bands) for f in (math.sin, math.cos)]
    rows = [[a + b for a, b in zip(symbols[v], place(t))] for t, v in enumerate(tokens[:-1])]
    for l in range(layers):
        named = {"ln.weight": parts[f"{l}.ln.w"], "ln.bias": parts[f"{l}.ln.b"]}
        normed, (each, last) = [norm(x, named, "ln") for x in rows], attention[l]
        added = [[] for _ in rows]
        for h, (pw, pb, vw, vb, number) in enumerate(each):
            angles = [math.atan2(*reversed(affine(x, pw, pb))) for x in normed]
            values = [affine(x[h * e : (h + 1) * e], vw, vb) for x in normed]
            for t in range(len(rows)):
                weights = [math.exp(math.cos(number * (angles[t] - angles[s]))) for s in range(t + 1)]
                added[t] += [sum(w * values[s][i] for s, w in enumerate(weights)) / sum(weights) for i in range(e)]
        scale = parts["scales"][l] if flags & SCALES else 1
        branches = [zip(affine(a, *last), wave_fed(x, parts, l, sizes, flags, couplings, ceiling, chi))
                    for a, x in zip(added, normed)]
        rows = [[v + scale * (a + f) for v, (a, f) in zip(x, both)] for x, both in zip(rows, branches)]
    named = {"ln.weight": parts["ln_f.w"], "ln.bias": parts["ln_f.b"]}
    total = 0
    for x, wanted in zip(rows, tokens[1:]):
        x = norm(x, named, "ln")
        if "up" in parts:
            x = affine(x, parts["down"], [0] * (len(parts["down"]) // wide))
            logits = affine(x, parts["up"], [0] * vocab)
        elif "bands" in parts or "head" not in parts:
            logits = [compared(x, row, v, parts) for v, row in enumerate(symbols)]
        elif len(parts["head"]) == 1:
            logits = [parts["head"][0] * sum(a * b for a, b in zip(x, row)) for row in symbols]
        else:
            logits = affine(x, parts["head"], [0] * vocab)
        top = max(logits)
        total += top + math.log(sum(math.exp(v - top) for v in logits)) - logits[wanted]
    return total / len(rows)


def compared(x, row, v, parts):
    """Phase-native: the row turned, against the table, over the root of the width; wave-decode: by phases alone."""
    pairs = lambda y: [complex(y[2 * k], y[2 * k + 1]) for k in range(len(y) // 2)]
    x, row, n = pairs(x), pairs(row), len(row) // 2
    if "bands" not in parts:
        turned = [z * cmath.exp(1j * c) for z, c in zip(x, parts.get("angles", [0] * n))]
        return sum((z * e.conjugate()).real for z, e in zip(turned, row)) / math.sqrt(2 * n)
    phases = parts["phases"][n * v : n * (v + 1)] if "phases" in parts else [cmath.phase(e) for e in row]
    return parts["head"][0] * sum(w * (z * cmath.exp(-1j * p)).real for w, z, p in zip(parts["bands"], x, phases))


def wave_in(what, sizes, version, flags, head="dense", options=(), **told):
    letters = sorted(set(TEXT))
    vocab = len(letters)
    parts = wave_parts(sizes, flags, vocab, head, 3, 17 + version)
    write("wave.kchk", wchk(parts, sizes, vocab, version, flags, told.get("chi", 0.0)))
    for name in ("wave.safetensors", "back.safetensors", "back.wchk"):
        if os.path.exists(os.path.join(folder, name)):
            os.remove(os.path.join(folder, name))
    code, out, err = run("./convert", "wave.kchk", "wave.safetensors", "--text", "text.txt", *options)
    check(code == 0 and f"version {version} at iteration 9" in out, f"{what}: converted: {out} {err}")
    write("short.txt", TEXT[:13].encode())
    wanted = wave_loss([letters.index(c) for c in TEXT[:13]], parts, sizes, flags, vocab, **told)
    code, out, err = run("./eval", "wave.safetensors", "short.txt", "--seq", "12")
    near = 1e-4 if "chi" in told else 3e-6  # the splitting and RK4-16 differ; eval prints six digits
    check(code == 0 and abs(float(out.split()[1]) - wanted) < near,
          f"{what}: its loss is {out.split()[1:2]}, in doubles {wanted} {err}")
    if "chi" in told:
        without = wave_loss([letters.index(c) for c in TEXT[:13]], parts, sizes, flags, vocab, **dict(told, chi=0))
        check(abs(wanted - without) > 3e-3, f"{what}: mixing counts: {wanted} {without}")
    code, out, err = run("./convert", "wave.kchk", "run.safetensors", "--text", "text.txt", "--moments", *options)
    check(code == 0, f"{what}: moments: {err}")
    for l in range(sizes[2]):  # s went into the last matrices: means of their gradients are over s, over s^2
        ours, s = tensors("run.safetensors"), parts["scales"][l] if flags & SCALES else 1
        off = [abs(v * k / m - 1) for letter, k, m in (("m", s, 0.5), ("v", s * s, 0.25)) for v in ours[f"adam.{letter}.blocks.{l}.ffn.out.weight"]]
        check(max(off) < 1e-6, f"{what}: moments of block {l} are off by {max(off)}")
    wave_back(what, sizes, flags, told.get("chi", 0.0), parts)


def wave_back(what, sizes, flags, chi, parts):
    """Back in every version that holds it, with its moments, and in again with the options that were told: the same."""
    kept = ATTENTION if flags & (ATTENTION | SCALES) else flags & HARMONICS  # scales are in attention's last matrix
    kept |= flags & ODE | (flags & RK4 if not chi and sizes[5] > 1 else 0)
    least = 4 if chi else 3 if kept else 2 if sizes[6] > 1 else 1
    loss, first = run("./eval", "wave.safetensors", "short.txt", "--seq", "12")[1], tensors("wave.safetensors")
    for asked in range(5):
        fits = not asked or asked >= 3 + bool(chi) or asked >= 1 + (sizes[6] > 1) and not chi and not kept & ATTENTION
        code, out, err = run("./convert", "run.safetensors", "back.wchk", "--version", str(asked))
        if not fits:
            check(code == 1 and err.count("\n") == 1 and "WCHK" in err, f"{what}: version {asked} is refused: {code} {err}")
            continue
        version = asked or least
        check(code == 0 and f"WCHK, version {version}," in out, f"{what}: back as {version}: {out} {err}")
        data, size = read("back.wchk"), 68 + 4 * (version - 1)
        wide = 2 * sizes[0]
        check(version < 3 or struct.unpack("<I", data[36:40])[0] == kept, f"{what}: its flags are {kept}")
        check(version < 4 or struct.unpack("<f", data[40:44])[0] == floats([chi])[0], f"{what}: its chi is {chi}")
        count, run_of = (len(data) - size) // 12, struct.unpack("<QfQQ", data[size - 28 : size])
        lists = [struct.unpack(f"<{count}f", data[size + 4 * i * count :][: 4 * count]) for i in range(3)]
        check(run_of[::3] == (9, 9) and [set(x[: 2 * wide]) for x in lists[:2]] == [{0.5}, {0.25}], f"{what}: its run comes back")
        if kept == flags:
            flat = [x for values in parts.values() for x in values]
            near = 1e-6 if kept & (HARMONICS | ATTENTION) else 0  # softplus and back
            check(len(flat) == count and max(abs(a - b) for a, b in zip(flat, lists[2])) <= near, f"{what}: version {version} is the engine's file")
        options = shlex.split(out.split("it does not say")[1].split(";")[0]) if "it does not say" in out else []
        code, out, err = run("./convert", "back.wchk", "back.safetensors", *options)
        check(code == 0 and f"version {version} at iteration 9" in out, f"{what}: and in once more: {out} {err}")
        again = tensors("back.safetensors")
        off = {name: max(abs(a - b) for a, b in zip(first[name], again[name])) for name in first}
        check(first.keys() == again.keys() and max(off.values()) <= 1e-6, f"{what}: version {version} read back: {off}")
        run("./convert", "back.wchk", "back.safetensors", "--text", "text.txt", *options)
        code, out, err = run("./eval", "back.safetensors", "short.txt", "--seq", "12")
        check(code == 0 and abs(float(out.split()[1]) - float(loss.split()[1])) < 3e-6, f"{what}: as before: {out} {loss} {err}")


def wave_engine():
    wave_in("version 1", (4, 2, 2, 3, 16, 1, 1), 1, 0)
    wave_in("version 1 with one circle, RK4 and no ceiling", (4, 2, 2, 3, 16, 8, 1), 1, 0, table="harmonic",
            ceiling=-1, options=("--embedding", "harmonic", "--ceiling", "-1"))
    wave_in("version 2 in groups, drawn by the Candle tier", (6, 3, 2, 2, 16, 1, 2), 2, 0, tier="candle",
            couplings=(0.05, 0.2), options=("--tier", "candle", "--alpha", "0.05", "--beta", "0.2"))
    wave_in("version 2 that trained its oscillators", (5, 2, 2, 3, 16, 1, 1), 2, ODE)
    wave_in("version 3: oscillators, scales, RK4, harmonics", (4, 2, 2, 3, 16, 4, 2), 3, ODE | SCALES | RK4 | HARMONICS,
            couplings=(0.1, 0.2))
    wave_in("version 3: attention, low-rank head, Pythagorean", (4, 4, 1, 3, 16, 1, 1), 3, ATTENTION, head="low_rank",
            table="pythagorean", couplings=(0.1, 0.2), options=("--embedding", "pythagorean"))
    wave_in("version 4: attention and its harmonics, tied head", (4, 2, 2, 3, 16, 4, 1), 4, ODE | HARMONICS | ATTENTION,
            head="tied", couplings=(0.1, 0.2), ceiling=1.0, options=("--ceiling", "1"))
    for head in ("bare", "native", "decode", "references"):
        wave_in(f"version 3: phases alone, {head}", (5, 2, 1, 3, 16, 1, 1), 3, ODE, head=head, couplings=(0.1, 0.2))
    wave_in("version 4: four-wave mixing", (6, 2, 2, 3, 16, 16, 1), 4, ODE, couplings=(0.1, 0.2), chi=0.25)


def gain_control():
    """What it saw is in no file: it begins anew, at three quarters of the ceiling, as the engine's does."""
    sizes, letters = (4, 2, 2, 3, 16, 4, 1), sorted(set(TEXT))
    parts = wave_parts(sizes, ODE, len(letters), "dense", 0, 21)
    write("wave.wchk", wchk(parts, sizes, len(letters), 3, ODE))
    code, out, err = run("./convert", "wave.wchk", "control.safetensors", "--text", "text.txt", "--gain-control", "--ceiling", "1.2")
    check(code == 0 and tensors("control.safetensors")["blocks.1.ffn.seen"] == [0, 0, 0], f"gain control: {out} {err}")
    wanted = wave_loss([letters.index(c) for c in TEXT[:13]], parts, sizes, ODE, len(letters), couplings=(0.1, 0.2), ceiling=0.9)
    write("short.txt", TEXT[:13].encode())
    code, out, err = run("./eval", "control.safetensors", "short.txt", "--seq", "12")
    check(code == 0 and abs(float(out.split()[1]) - wanted) < 3e-6, f"gain control: its loss is {out.split()[1:2]}, in doubles {wanted} {err}")
    code, out, err = run("./convert", "control.safetensors", "control.wchk")
    check(code == 0 and "what its gain control saw has no place there" in out, f"gain control goes back: {out} {err}")


def wave_hostile():
    sizes, vocab, flags = (4, 2, 1, 2, 8, 4, 1), 6, ODE | RK4
    parts = wave_parts(sizes, flags, vocab, "dense", 0, 6)
    data = wchk(parts, sizes, vocab, 4, flags)
    for bit in range(8 * 80):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        write("flip.wchk", bytes(broken))
        code, out, err = run("./convert", "flip.wchk", "never.safetensors")
        # no length depends on block, steps, heads, chi, nor on how training stood
        free = any(a <= bit // 8 < b for a, b in ((12, 16), (24, 32), (40, 44), (52, 80)))
        check(code == 1 or free and code == 0, f"WCHK bit {bit}: {code} {err}")
        check(code in (0, 1) and err.count("\n") == (code == 1), f"WCHK bit {bit}: {err}")
        for left in os.listdir(folder):
            if left.startswith("never"):
                os.remove(os.path.join(folder, left))

    def no(words, *options, data=None, version=4, flags=flags, chi=0.0, parts=parts, sizes=sizes):
        write("no.wchk", data or wchk(parts, sizes, vocab, version, flags, chi))
        refused("no.wchk", words, *options)

    no(["version 5"], version=5)
    no(["chi is 60"], chi=60.0)
    no(["flags are 32"], flags=32)
    no(["learnt weights", "mixes four waves"], chi=0.1, sizes=(5,) + sizes[1:], parts=wave_parts((5,) + sizes[1:], flags, vocab, "dense", 0, 6))
    no(["learnt weights", "one step"], sizes=sizes[:5] + (1,) + sizes[6:])
    for head in "tied", "native", "decode":  # as long for any number of symbols
        own = wave_parts(sizes, flags, vocab, head, 0, 6)
        no(["says 6 symbols", "--symbols 6"], parts=own)
        no(["head says 6 symbols", "--symbols 7"], "--symbols", "7", parts=own)
        code, out, err = run("./convert", "no.wchk", "told.safetensors", "--symbols", "6")
        check(code == 0 and "6 symbols" in out, f"a {head} head whose symbols are told: {err}")
    no(["3 groups do not divide"], sizes=sizes[:6] + (3,))
    no(["a head of 6 symbols"], parts=dict(parts, more=[0.0]))
    no(["blocks.0.norm1.weight", "not finite"], parts=dict(parts, **{"0.ln.w": [math.nan] * 8}))
    no(["different characters", "trained on 6"], "--text", "text.txt")
    wide = sizes[:3] + (3,) + sizes[4:]
    low = wave_parts(wide, flags, vocab, "low_rank", 1, 6)  # with a maestro of 2, one bit off, a dense head
    no(["a head of rank 1", "--rank 1"], parts=low, sizes=wide)
    no(["a head of rank 1, --rank 2"], "--rank", "2", parts=low, sizes=wide)
    code, out, err = run("./convert", "no.wchk", "told.safetensors", "--rank", "1")
    check(code == 0, f"a low-rank head whose rank is told: {err}")
    four = wave_parts((4, 4, 4, 2, 8, 4, 1), RK4, vocab, "dense", 0, 7)  # 16 weights of RK4, or 16 harmonics
    no(["flags 4 or 8", "--flags tells"], parts=four, sizes=(4, 4, 4, 2, 8, 4, 1), version=2)
    code, out, err = run("./convert", "no.wchk", "told.safetensors", "--flags", "4")
    check(code == 0, f"told which: {err}")


# ---- kerr-engine's own run ------------------------------------------------------------------------


def rule_text():
    x, q, out = 12345, 1, ""
    for _ in range(20000):
        x = (1103515245 * x + 12345) % 2 ** 31
        q = (q + 1 + (x >> 16) % 3) % 24
        out += "abcdefghijklmnopqrstuvw\n"[q]
    return out


def engine_start(sizes, vocab):
    """kerr-engine's parameters before its first step, seed 42, in the order of its draws."""
    bands, heads, layers, narrow, _, _ = sizes
    drawn, parts = Drawn(42), {}
    for name, shape in part_shapes(bands, layers, narrow, vocab, False):
        count = math.prod(shape)
        if name.endswith("gamma_raw"):
            parts[name] = floats([math.log(math.expm1(0.1))] * count)
        elif name.endswith("omega"):
            parts[name] = floats([(k + 1) / bands for k in range(bands)])
        elif name.endswith(("alpha", "beta")):
            parts[name] = floats([0.1])
        elif "norm" in name or name.endswith("bias"):
            parts[name] = [float("norm" in name and name.endswith("weight"))] * count
        else:
            parts[name] = floats(drawn.uniform(count, shape[-1]))
    return parts


def engine_run():
    """A run of kerr-engine from its seed: what it printed of iterations 0, 50 .. and at the end (commit 46fd718, `train
    rule.txt 300 4 32 4e-3 --n-bands 8 --n-head 2 --n-layers 3 --maestro-dim 4 --block-size 64 --rk4-steps 4 --no-curriculum
    --threads 1`)."""
    sizes, text = (8, 2, 3, 4, 64, 4), rule_text()
    write("rule.txt", text.encode())
    write("start.kchk", kchk(engine_start(sizes, 24), sizes, 24, iteration=0))
    code, out, err = run("./convert", "start.kchk", "start.safetensors", "--text", "rule.txt")
    check(code == 0, f"the engine's start: {err}")
    code, out, err = run("./kerr_run", "start.safetensors", "rule.txt", "4e-3", "1337", "300")
    lines = out.split("\n")
    printed = {0: 3.3670, 50: 1.9874, 100: 1.4382, 150: 1.2964, 200: 1.2427, 250: 1.2661, 299: 1.1841}
    off = {i: abs(float(lines[i]) - loss) for i, loss in printed.items()}
    check(code == 0 and max(off.values()) < 1e-4, f"the engine's losses, off by {off} {err}")  # it prints four digits
    check(abs(float(lines[300].split()[1]) - 1.2210) < 1e-4, f"its validation loss is 1.2210: {lines[300]}")
    check(lines[301] == "state 9269762105197940598", f"the generator's state in its checkpoint: {lines[301]}")
    code, out, err = run("./kerr_run", "start.safetensors", "rule.txt", "4e-3", "1337", "290", "at290.safetensors")
    state = out.split()[-1]
    code, out, err = run("./convert", "at290.safetensors", "at290.kchk")
    check(code == 0 and struct.unpack("<QfQQ", read("at290.kchk")[40:68])[0] == 290, f"a run of ours as the engine's file: {err}")
    code, out, err = run("./convert", "at290.kchk", "on.safetensors", "--text", "rule.txt", "--moments")
    code, out, err = run("./kerr_run", "on.safetensors", "rule.txt", "4e-3", state, "10")
    off = [abs(float(a) - float(b)) for a, b in zip(out.split("\n")[:10], lines[290:300])]
    check(code == 0 and max(off) <= 1e-6, f"resumed with its moments for ten iterations: off by {off} {err}")
    if "--kchk" in sys.argv:  # the checkpoint that the engine itself left there after those 300 iterations
        engines_own(os.path.abspath(sys.argv[sys.argv.index("--kchk") + 1]))


def engines_own(path):
    """Ten iterations more from it are those of the run made here; back again it differs in its generator's state alone."""
    code, out, err = run("./convert", path, "own.safetensors", "--text", "rule.txt", "--moments")
    check(code == 0 and "at iteration 300" in out, f"the engine's own file: {out} {err}")
    on = run("./kerr_run", "own.safetensors", "rule.txt", "4e-3", "9269762105197940598", "10")[1].split("\n")
    lines = run("./kerr_run", "start.safetensors", "rule.txt", "4e-3", "1337", "310")[1].split("\n")
    off = [abs(float(a) - float(b)) for a, b in zip(on[:10], lines[300:310])]
    check(len(off) == 10 and max(off) <= 2e-6, f"resumed for ten iterations: off by {off}")
    code, out, err = run("./convert", "own.safetensors", "own.kchk")
    with open(path, "rb") as file:
        theirs, ours = file.read(), read("own.kchk")
    check(ours[:52] + theirs[52:60] + ours[60:] == theirs, "the engine's own file comes back, but for its generator's state")


# ---- GGUF ------------------------------------------------------------------------------------------

U32, I32, F32, STRING, ARRAY = 4, 5, 6, 8, 9


def half(values):
    return list(struct.unpack("<%de" % len(values), struct.pack("<%de" % len(values), *values)))


def text_of(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf(settings, parts, kinds=None, align=32, version=3):
    """parts: name -> (rows or 0, numbers); kinds: name -> type, 0 F32 and 1 F16."""
    out = b"GGUF" + struct.pack("<IQQ", version, len(parts), len(settings))
    for key, value in settings.items():
        out += text_of(key)
        if isinstance(value, str):
            out += struct.pack("<I", STRING) + text_of(value)
        elif isinstance(value, list) and isinstance(value[0], int):
            out += struct.pack("<IIQ%di" % len(value), ARRAY, I32, len(value), *value)
        elif isinstance(value, list):
            out += struct.pack("<IIQ", ARRAY, STRING, len(value)) + b"".join(map(text_of, value))
        elif isinstance(value, float):
            out += struct.pack("<If", F32, value)
        else:
            out += struct.pack("<II", U32, value)
    data = b""
    for name, (rows, numbers) in parts.items():
        kind = (kinds or {}).get(name, 0)
        data += b"\0" * (-len(data) % align)
        shape = (len(numbers) // rows, rows) if rows else (len(numbers),)
        out += text_of(name) + struct.pack("<I%dQIQ" % len(shape), len(shape), *shape, kind, len(data))
        data += struct.pack("<%d%s" % (len(numbers), "fe"[kind]), *numbers)
    return out + b"\0" * (-len(out) % align) + data


def gguf_network(llama, tied, vocab, width, layers, heads, hidden, context, seed, keys=0):
    """Settings, and their tensors as name -> (rows, numbers); keys: of a head, if they are not as wide as values."""
    rng = random.Random(seed)
    numbers = lambda count, scale: half([rng.gauss(0, scale) for _ in range(count)])
    kind = "llama" if llama else "gpt2"
    settings = {"general.architecture": kind, "general.name": "tiny", "tokenizer.ggml.tokens": ["a", "bc", ""],
                f"{kind}.context_length": context, f"{kind}.embedding_length": width, f"{kind}.block_count": layers,
                f"{kind}.feed_forward_length": hidden, f"{kind}.attention.head_count": heads,
                f"{kind}.attention.layer_norm_{'rms_' if llama else ''}epsilon": 1e-5}
    parts = {"token_embd.weight": (vocab, numbers(vocab * width, 0.5))}
    if llama:
        settings[f"{kind}.rope.dimension_count"] = keys or width // heads
        settings[f"{kind}.attention.head_count_kv"] = heads
        if keys:
            settings[f"{kind}.attention.key_length"], settings[f"{kind}.attention.value_length"] = keys, width // heads
    else:
        parts["position_embd.weight"] = (context, numbers(context * width, 0.3))
    matrices = [("attn_output", width, width)]
    all_keys = heads * keys or width
    matrices += ([("attn_q", all_keys, width), ("attn_k", all_keys, width), ("attn_v", width, width),
                  ("ffn_gate", hidden, width), ("ffn_up", hidden, width)] if llama
                 else [("attn_qkv", 3 * width, width), ("ffn_up", hidden, width)])
    matrices += [("ffn_down", width, hidden)]
    for l in range(layers):
        for name in ("attn_norm", "ffn_norm"):
            parts[f"blk.{l}.{name}.weight"] = (0, half([1 + v for v in numbers(width, 0.2)]))
            if not llama:
                parts[f"blk.{l}.{name}.bias"] = (0, numbers(width, 0.2))
        for name, rows, columns in matrices:
            parts[f"blk.{l}.{name}.weight"] = (rows, numbers(rows * columns, columns ** -0.5))
            if not llama or name == "attn_output":
                parts[f"blk.{l}.{name}.bias"] = (0, numbers(rows, 0.2))
    parts["output_norm.weight"] = (0, half([1 + v for v in numbers(width, 0.2)]))
    if not llama:
        parts["output_norm.bias"] = (0, numbers(width, 0.2))
    if not tied:
        parts["output.weight"] = (vocab, numbers(vocab * width, 0.5))
    return settings, parts


def gguf_surprise(tokens, settings, parts):
    """GPT-2 and Llama as their papers have them: -log p of every symbol, behind each of the tokens."""
    kind = settings["general.architecture"]
    llama, heads = kind == "llama", settings[f"{kind}.attention.head_count"]
    width = settings[f"{kind}.embedding_length"]
    e = width // heads
    wide = settings.get(f"{kind}.attention.key_length", e)
    part = lambda name: parts[name][1] if name in parts else None

    def line(x, name):
        w, b = part(name + ".weight"), part(name + ".bias")
        return [sum(a * v for a, v in zip(x, w[r * len(x) :])) + (b[r] if b else 0) for r in range(len(w) // len(x))]

    def normed(x, name):
        if llama:
            scale = 1 / math.sqrt(sum(v * v for v in x) / width + 1e-5)
            return [v * scale * w for v, w in zip(x, part(name + ".weight"))]
        mean = sum(x) / width
        scale = 1 / math.sqrt(sum((v - mean) ** 2 for v in x) / width + 1e-5)
        return [(v - mean) * scale * w + b for v, w, b in zip(x, part(name + ".weight"), part(name + ".bias"))]

    def turned(x, t):
        if not llama:
            return x
        out = []
        for c in range(0, heads * wide, 2):
            a = t * 10000 ** (-(c % wide) / wide)
            out += [x[c] * math.cos(a) - x[c + 1] * math.sin(a), x[c] * math.sin(a) + x[c + 1] * math.cos(a)]
        return out

    def attended(rows, name):
        if llama:
            q, k, v = ([line(x, name + "attn_" + c) for x in rows] for c in "qkv")
        else:
            qkv = [line(x, name + "attn_qkv") for x in rows]
            q, k, v = ([x[i * width : (i + 1) * width] for x in qkv] for i in range(3))
        q, k = ([turned(x, t) for t, x in enumerate(side)] for side in (q, k))
        out = []
        for t in range(len(rows)):
            y = []
            for h in range(heads):
                scores = [sum(q[t][h * wide + i] * k[s][h * wide + i] for i in range(wide)) for s in range(t + 1)]
                weights = [math.exp(score / math.sqrt(wide)) for score in scores]
                y += [sum(w * v[s][h * e + i] for s, w in enumerate(weights)) / sum(weights) for i in range(e)]
            out.append(line(y, name + "attn_output"))
        return out

    def fed(x, name):
        up = line(x, name + "ffn_up")
        if llama:
            up = [g / (1 + math.exp(-g)) * u for g, u in zip(line(x, name + "ffn_gate"), up)]
        else:
            up = [gelu(v) for v in up]
        return line(up, name + "ffn_down")

    table = part("token_embd.weight")
    rows = [table[v * width : (v + 1) * width] for v in tokens]
    if not llama:
        place = part("position_embd.weight")
        rows = [[a + b for a, b in zip(x, place[t * width :])] for t, x in enumerate(rows)]
    for l in range(settings[f"{kind}.block_count"]):
        y = attended([normed(x, f"blk.{l}.attn_norm") for x in rows], f"blk.{l}.")
        rows = [[a + b for a, b in zip(x, d)] for x, d in zip(rows, y)]
        rows = [[a + b for a, b in zip(x, fed(normed(x, f"blk.{l}.ffn_norm"), f"blk.{l}."))] for x in rows]
    head, out = part("output.weight") or table, []
    for x in rows:
        x = normed(x, "output_norm")
        logits = [sum(a * b for a, b in zip(x, head[v * width :])) for v in range(len(head) // width)]
        top = max(logits)
        whole = top + math.log(sum(math.exp(v - top) for v in logits))
        out.append([whole - v for v in logits])
    return out


def gguf_loss(tokens, settings, parts):
    rows = gguf_surprise(tokens[:-1], settings, parts)
    return sum(row[wanted] for row, wanted in zip(rows, tokens[1:])) / len(rows)


def gguf_in(llama, tied, halves, what, keys=0):
    letters = sorted(set(TEXT))
    settings, parts = gguf_network(llama, tied, len(letters), 12, 2, 3, 20, 32, 11 + llama, keys)
    write("in.gguf", gguf(settings, parts, {name: 1 for name in parts} if halves else None))
    if os.path.exists(os.path.join(folder, "in.safetensors")):
        os.remove(os.path.join(folder, "in.safetensors"))
    code, out, err = run("./convert", "in.gguf", "in.safetensors", "--text", "text.txt")
    check(code == 0 and settings["general.architecture"] in out, f"{what}: converted: {out} {err}")
    wanted = gguf_loss([letters.index(c) for c in TEXT[:17]], settings, parts)
    write("short.txt", TEXT[:17].encode())
    code, out, err = run("./eval", "in.safetensors", "short.txt", "--seq", "16")
    check(code == 0 and abs(float(out.split()[1]) - wanted) < 2e-6,  # numbers are halves: all files alike
          f"{what}: its loss is {out.split()[1:2]}, in doubles {wanted} {err}")
    wanted = gguf_surprise([letters.index(c) for c in "the cat"], settings, parts)[-1]
    code, out, err = run("./sample", "in.safetensors", "--prompt", "the cat", "--tokens", "1", "--best", str(len(letters)))
    told = {letter: float(number) for number, letter in re.findall(r"(\d+\.\d+) the cat(.)\n", out, re.DOTALL)}
    off = [abs(told.get(letter, math.inf) - w) for letter, w in zip(letters, wanted)]
    check(code == 0 and max(off) <= 1e-4, f"{what}: logits, but for what all have, are off by {max(off)} {err}")  # four digits


def gguf_with_subwords():
    """Letters in GPT-2's alphabet of bytes and two merges: the model that comes out knows its own words."""
    letters = [chr(b) for b in range(33, 127)] + ["\u0120", "\u010a", "th", "the"]
    settings, parts = gguf_network(False, True, len(letters), 8, 1, 2, 12, 32, 4)
    settings.update({"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2",
                     "tokenizer.ggml.tokens": letters, "tokenizer.ggml.merges": ["t h", "th e"]})
    write("words.gguf", gguf(settings, parts))
    code, out, err = run("./convert", "words.gguf", "words.safetensors")
    check(code == 0 and "no letters" not in out, f"subwords of the file: {out} {err}")
    tokens = [letters.index(c) for c in ("the", "\u0120", "c", "a", "t", "\u0120", '"', "\\", "the")]
    write("short.txt", b'the cat "\\the')
    code, out, err = run("./eval", "words.safetensors", "short.txt", "--seq", "8")
    check(code == 0 and abs(float(out.split()[1]) - gguf_loss(tokens, settings, parts)) < 2e-6,
          f"subwords: the loss of their tokens {out} {err}")
    settings["tokenizer.ggml.tokens"] = letters[:-1]
    write("no.gguf", gguf(settings, parts))
    refused("no.gguf", ["tokenizer.ggml.tokens has 97 tokens", "the network 98"])
    settings["tokenizer.ggml.tokens"], settings["tokenizer.ggml.merges"] = letters, ["t q"]
    write("no.gguf", gguf(settings, parts))
    refused("no.gguf", ["merge 0", "not in the vocabulary"])
    settings["tokenizer.ggml.merges"] = ["t h", "th e"]
    for pre, known in ("llama-bpe", False), ("default", False), (None, True):  # that of files from before there was a name
        settings["tokenizer.ggml.pre"] = pre
        write("other.gguf", gguf({key: value for key, value in settings.items() if value is not None}, parts))
        code, out, err = run("./convert", "other.gguf", "other.safetensors")
        check(code == 0 and ("knows no letters" not in out) == known, f"words cut in another way are left alone: {pre} {out} {err}")


def gguf_with_control_tokens():
    """Tokens that are found whole: one ends texts, one is the user's own; the first may begin every text too."""
    letters = [chr(b) for b in range(33, 127)] + ["\u0120", "th", "the", "<|end|>", "\u00e9 e"]
    settings, parts = gguf_network(False, True, len(letters), 8, 1, 2, 12, 32, 4)
    settings.update({"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.tokens": letters,
                     "tokenizer.ggml.merges": ["t h", "th e"], "tokenizer.ggml.token_type": [1] * 97 + [3, 4]})
    tokens = [letters.index(c) for c in ("the", "<|end|>", "the", "\u00e9 e", "a", "<", "|")]
    write("short.txt", "the<|end|>the\u00e9 ea<|".encode())
    for start in False, True:
        settings.update({"tokenizer.ggml.bos_token_id": 97, "tokenizer.ggml.add_bos_token": int(start)})
        write("control.gguf", gguf(settings, parts))
        code, out, err = run("./convert", "control.gguf", "control.safetensors")
        check(code == 0 and "no letters" not in out, f"control tokens: {out} {err}")
        code, out, err = run("./eval", "control.safetensors", "short.txt", "--seq", str(len(tokens) - 1 + start))
        wanted = gguf_loss([97] * start + tokens, settings, parts)
        check(code == 0 and abs(float(out.split()[1]) - wanted) < 2e-6, f"control tokens: a loss of {wanted}: {out} {err}")
    settings["tokenizer.ggml.bos_token_id"] = 99
    write("no.gguf", gguf(settings, parts))
    refused("no.gguf", ["tokenizer.ggml.bos_token_id is 99 of 99 tokens"])
    settings["tokenizer.ggml.token_type"] = [1] * 98
    write("no.gguf", gguf(settings, parts))
    refused("no.gguf", ["tokenizer.ggml.token_type is no list of 99 whole numbers"])


def gguf_refused(change, words, drop=None, kinds=None, version=3):
    settings, parts = gguf_network(True, False, 5, 8, 1, 2, 12, 16, 3)
    settings.update(change)
    for name in drop or ():
        del parts[name]
    if isinstance(kinds, dict) and any(kind > 1 for kind in kinds.values()):
        data = bytearray(gguf(settings, parts, version=version))
        name = next(iter(kinds))
        at = data.index(name.encode()) + len(name) + 4 + 16
        data[at : at + 4] = struct.pack("<I", kinds[name])
    else:
        data = gguf(settings, parts, kinds, version=version)
    write("no.gguf", bytes(data))
    refused("no.gguf", words)


def gguf_hostile():
    gguf_refused({"general.architecture": "mamba"}, ["mamba", "gpt2 and llama"])
    gguf_refused({"llama.attention.head_count_kv": 1}, ["llama.attention.head_count_kv is 1", "has 2"])
    gguf_refused({"llama.rope.freq_base": 500000.0}, ["freq_base is 500000"])
    gguf_refused({"llama.rope.scaling.factor": 8.0}, ["scaling.factor is 8"])
    gguf_refused({"llama.attention.layer_norm_rms_epsilon": 1e-6}, ["epsilon is 1e-06", "1e-05"])
    for key, value, ours in (("attention.value_length", 6, 4), ("rope.dimension_count", 2, 4), ("attention.sliding_window", 8, 0),
                             ("attention.causal", 0, 1), ("attention.scale", 0.25, 0.5), ("attention.clamp_kqv", 8.0, 0),
                             ("attention.max_alibi_bias", 8.0, 0), ("rope.scaling.attn_factor", 1.25, 1), ("logit_scale", 2.0, 1),
                             ("use_parallel_residual", 1, 0), ("embedding_scale", 12.0, 1), ("residual_scale", 0.25, 1),
                             ("attn_logit_softcapping", 50.0, 0), ("final_logit_softcapping", 30.0, 0)):
        gguf_refused({f"llama.{key}": value}, [f"llama.{key} is {value:g}: a wavecoh network has {ours:g}\n"])
    gguf_refused({"llama.attention.key_length": 6}, ["llama.rope.dimension_count is 4: a wavecoh network has 6"])
    gguf_refused({"llama.attention.key_length": 6, "llama.rope.dimension_count": 6},
                 ["blk.0.attn_q.weight gives blocks.0.attn.query.weight 64 numbers: it has 96"])
    gguf_refused({"llama.attention.key_length": 0.5}, ["llama.attention.key_length is 0.5"])
    gguf_refused({"llama.feed_forward_length": 1 << 23}, ["hidden 8388608", "more numbers than it has"])
    settings, parts = gguf_network(False, True, 5, 8, 1, 2, 12, 16, 3)
    write("no.gguf", gguf(dict(settings, **{"gpt2.context_length": 1 << 24}), parts))
    refused("no.gguf", ["context 16777216: that is more numbers than it has"])
    gguf_refused({"llama.block_count": 0}, ["llama.block_count is 0"])
    gguf_refused({"llama.block_count": 2}, ["blk.1.attn_norm.weight is not in the file"])
    gguf_refused({"llama.embedding_length": 12, "llama.rope.dimension_count": 6},
                 ["attn_norm.weight gives blocks.0.norm1.weight 8 numbers", "it has 12"])
    gguf_refused({"llama.feed_forward_length": 8}, ["blk.0.ffn_gate.weight has the shape [12, 8]", "blocks.0.ffn.up.weight [16, 8], as one of 2"])
    gguf_refused({"llama.attention.head_count": 3, "llama.attention.head_count_kv": 3}, ["3 heads"])
    gguf_refused({"llama.feed_forward_length": "x"}, ["feed_forward_length is no number"])
    gguf_refused({}, ["blk.0.ffn_up.weight is not in the file"], drop=["blk.0.ffn_up.weight"])
    gguf_refused({"general.alignment": 3}, ["general.alignment is 3"])
    gguf_refused({}, ["GGUF of version 1"], version=1)
    gguf_refused({}, ["its numbers have their highest byte first"], version=3 << 24)
    gguf_refused({"general.alignment": math.nan}, ["general.alignment is nan"])
    gguf_refused({"general.alignment": -8.0}, ["general.alignment is -8"])
    gguf_refused({"general.alignment": 32.5}, ["general.alignment is 32.5"])
    gguf_refused({}, ["token_embd.weight is of type Q4_K", "quantised"], kinds={"token_embd.weight": 12})
    gguf_refused({}, ["token_embd.weight is of type F64"], kinds={"token_embd.weight": 28})
    gguf_refused({}, ["token_embd.weight is of type 77"], kinds={"token_embd.weight": 77})
    settings, parts = gguf_network(True, False, 5, 8, 1, 2, 12, 16, 3)
    write("no.gguf", gguf(settings, dict(parts, **{"rope_freqs.weight": (0, [1.0] * 4)})))
    refused("no.gguf", ["rope_freqs.weight has no place"])
    write("no.gguf", gguf(settings, dict(parts, **{"blk.0.attn_q.weighs": parts["blk.0.attn_q.weight"]})).replace(b"weighs", b"weight"))
    refused("no.gguf", ["it has the tensor blk.0.attn_q.weight twice"])
    write("no.gguf", gguf(dict(settings, **{"llama.block_counu": 7}), parts).replace(b"counu", b"count"))
    refused("no.gguf", ["it has the setting llama.block_count twice"])
    data = bytearray(gguf(settings, parts))  # an offset that leads to the numbers of another
    name = "blk.0.attn_k.weight"
    at = data.index(name.encode()) + len(name) + 4 + 16 + 4
    data[at] ^= 64
    write("no.gguf", bytes(data))
    refused("no.gguf", [f"{name}: its numbers begin at", "those before it end at"])
    q, k, v = (f"blk.0.attn_{c}.weight" for c in "qkv")  # as many numbers in all, but others' rows
    write("no.gguf", gguf(settings, dict(parts, **{q: (16, 2 * parts[q][1]), k: (4, parts[k][1][:32]), v: (4, parts[v][1][:32])})))
    refused("no.gguf", [f"{q} has the shape [16, 8]", "blocks.0.attn.qkv.weight [24, 8], as one of 3"])
    write("no.gguf", gguf(settings, dict(parts, **{"blk.0.attn_norm.weight": (0, [1.0] * 9)})))
    refused("no.gguf", ["blk.0.attn_norm.weight has the shape [9]: it does not fit into blocks.0.norm1.weight [8]\n"])
    parts["output.weight"] = (5, [math.inf] + parts["output.weight"][1][1:])
    write("no.gguf", gguf(settings, parts))
    refused("no.gguf", ["output.weight", "not finite"])


def every_beginning_and_bit():
    """Every truncation of a file of each kind is refused, every turned bit ends in a network or a sentence: by the fuzzer of
    programs, in one process. Of the bits one in 41 (all places in a byte), all of them with --every (two minutes)."""
    both, wave = gguf_network(False, True, 3, 2, 1, 1, 2, 2, 3), gguf_network(True, False, 3, 2, 1, 1, 2, 2, 3)
    files = {"gpt2": gguf(*both), "llama": gguf(*wave, {name: 1 for name in wave[1]})}
    for dual in False, True:
        files[f"kerr{dual:d}"] = kchk(random_parts(part_shapes(1, 2, 1, 2, dual), 1), (1, 1, 2, 1, 1, 1), 2)
    for version, flags, head in ((1, 0, "dense"), (2, ODE, "dense"), (3, ODE | SCALES | RK4 | HARMONICS, "dense"),
                                 (4, ODE | ATTENTION, "low_rank"), (3, 0, "references"), (4, 0, "tied"), (3, ODE, "decode")):
        sizes = (2, 1, 1, 1, 1, 2, 1)
        files[f"wave{version}{head}"] = wchk(wave_parts(sizes, flags, 3, head, 1, 3), sizes, 3, version, flags)
    for name, data in files.items():
        write(name, data)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as memory:  # no disk is waited for
        for target, names in ("engine", files), ("moments", [name for name in files if name[0] in "kw"]):
            step = "1" if "--every" in sys.argv else "41" if target == "engine" else "73"
            done = subprocess.run([os.path.join(folder, "every"), "-e", step, target, *(os.path.join(folder, name) for name in names)],
                                  capture_output=True, text=True, cwd=memory)
            check(done.returncode == 0 and f"{target}: " in done.stdout, f"every truncation and bit, {target}: {done}")


with tempfile.TemporaryDirectory() as folder:
    flags = shlex.split(os.environ.get("CFLAGS", "-std=c99 -O1"))
    for program in ("convert", "eval", "sample", "train"):
        source = os.path.join(ROOT, "examples", program + ".c")
        subprocess.run([os.environ.get("CC", "cc"), *flags, source, "-o", os.path.join(folder, program),
                        "-lm", "-lpthread"], check=True)
    subprocess.run([os.environ.get("CC", "cc"), *flags, os.path.join(ROOT, "tests", "kerr_run.c"), "-o",
                    os.path.join(folder, "kerr_run"), "-lm", "-lpthread"], check=True)
    subprocess.run([os.environ.get("CC", "cc"), *flags, "-DCONVERT", os.path.join(ROOT, "tests", "fuzz_programs.c"), "-o",
                    os.path.join(folder, "every"), "-lm", "-lpthread"], check=True)
    write("text.txt", TEXT.encode())
    published_numbers()
    both_ways((4, 2, 3, 3, 16, 4), False, "one maestro")
    both_ways((6, 3, 2, 4, 32, 8), True, "two maestros")
    half_of_a_run()
    words_of_the_engine()
    hostile()
    what_cannot_go_back()
    version_1()
    engine_run()
    wave_engine()
    gain_control()
    wave_hostile()
    gguf_in(False, True, False, "GPT-2")
    gguf_in(False, False, True, "GPT-2 in halves with a head of its own")
    gguf_in(True, False, True, "Llama")
    gguf_in(True, True, False, "Llama with a tied head")
    gguf_in(True, False, False, "Llama with wider keys", 6)
    gguf_in(True, True, False, "Llama with narrower keys", 2)
    gguf_with_subwords()
    gguf_with_control_tokens()
    options_are_heeded()
    from_standard_input()
    gguf_hostile()
    every_beginning_and_bit()
print(f"{passed} passed, {failed} failed")
sys.exit(failed != 0)

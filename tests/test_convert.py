#!/usr/bin/env python3
"""examples/convert.c: checkpoints of kerr-engine in and out, GGUF in. The files are written here, from
the formats' descriptions, and the networks are computed here once more, in doubles.

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


# ---- GGUF ------------------------------------------------------------------------------------------

U32, F32, STRING, ARRAY = 4, 6, 8, 9


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


def gguf_network(llama, tied, vocab, width, layers, heads, hidden, context, seed):
    """Settings, and their tensors as name -> (rows, numbers)."""
    rng = random.Random(seed)
    numbers = lambda count, scale: half([rng.gauss(0, scale) for _ in range(count)])
    kind = "llama" if llama else "gpt2"
    settings = {"general.architecture": kind, "general.name": "tiny", "tokenizer.ggml.tokens": ["a", "bc", ""],
                f"{kind}.context_length": context, f"{kind}.embedding_length": width, f"{kind}.block_count": layers,
                f"{kind}.feed_forward_length": hidden, f"{kind}.attention.head_count": heads,
                f"{kind}.attention.layer_norm_{'rms_' if llama else ''}epsilon": 1e-5}
    parts = {"token_embd.weight": (vocab, numbers(vocab * width, 0.5))}
    if llama:
        settings[f"{kind}.rope.dimension_count"] = width // heads
        settings[f"{kind}.attention.head_count_kv"] = heads
    else:
        parts["position_embd.weight"] = (context, numbers(context * width, 0.3))
    matrices = [("attn_output", width, width)]
    matrices += ([("attn_q", width, width), ("attn_k", width, width), ("attn_v", width, width),
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


def gguf_loss(tokens, settings, parts):
    """GPT-2 and Llama as their papers have them."""
    kind = settings["general.architecture"]
    llama, heads = kind == "llama", settings[f"{kind}.attention.head_count"]
    width = settings[f"{kind}.embedding_length"]
    e = width // heads
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
        for c in range(0, width, 2):
            a = t * 10000 ** (-(c % e) / e)
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
            for h in range(0, width, e):
                weights = [math.exp(sum(q[t][h + i] * k[s][h + i] for i in range(e)) / math.sqrt(e)) for s in range(t + 1)]
                y += [sum(w * v[s][h + i] for s, w in enumerate(weights)) / sum(weights) for i in range(e)]
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
    rows = [table[v * width : (v + 1) * width] for v in tokens[:-1]]
    if not llama:
        place = part("position_embd.weight")
        rows = [[a + b for a, b in zip(x, place[t * width :])] for t, x in enumerate(rows)]
    for l in range(settings[f"{kind}.block_count"]):
        y = attended([normed(x, f"blk.{l}.attn_norm") for x in rows], f"blk.{l}.")
        rows = [[a + b for a, b in zip(x, d)] for x, d in zip(rows, y)]
        rows = [[a + b for a, b in zip(x, fed(normed(x, f"blk.{l}.ffn_norm"), f"blk.{l}."))] for x in rows]
    head, total = part("output.weight") or table, 0
    for x, wanted in zip(rows, tokens[1:]):
        x = normed(x, "output_norm")
        logits = [sum(a * b for a, b in zip(x, head[v * width :])) for v in range(len(head) // width)]
        top = max(logits)
        total += top + math.log(sum(math.exp(v - top) for v in logits)) - logits[wanted]
    return total / len(rows)


def gguf_in(llama, tied, halves, what):
    letters = sorted(set(TEXT))
    settings, parts = gguf_network(llama, tied, len(letters), 12, 2, 3, 20, 32, 11 + llama)
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
    settings["tokenizer.ggml.pre"] = "llama-bpe"
    write("other.gguf", gguf(settings, parts))
    code, out, err = run("./convert", "other.gguf", "other.safetensors")
    check(code == 0 and "knows no letters" in out, f"words cut in another way are left alone: {out} {err}")


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
    gguf_refused({"llama.block_count": 0}, ["llama.block_count is 0"])
    gguf_refused({"llama.block_count": 2}, ["blk.1.attn_norm.weight is not in the file"])
    gguf_refused({"llama.embedding_length": 12, "llama.rope.dimension_count": 6},
                 ["attn_norm.weight gives blocks.0.norm1.weight 8 numbers", "it has 12"])
    gguf_refused({"llama.feed_forward_length": 8}, ["blk.0.ffn_up.weight has the shape [12, 8]", "[16, 8]"])
    gguf_refused({"llama.attention.head_count": 3, "llama.attention.head_count_kv": 3}, ["3 heads"])
    gguf_refused({"llama.feed_forward_length": "x"}, ["feed_forward_length is no number"])
    gguf_refused({}, ["blk.0.ffn_up.weight is not in the file"], drop=["blk.0.ffn_up.weight"])
    gguf_refused({"general.alignment": 3}, ["general.alignment is 3"])
    gguf_refused({}, ["GGUF of version 1"], version=1)
    gguf_refused({}, ["token_embd.weight is of type 12", "quantised"], kinds={"token_embd.weight": 12})
    settings, parts = gguf_network(True, False, 5, 8, 1, 2, 12, 16, 3)
    write("no.gguf", gguf(settings, dict(parts, **{"rope_freqs.weight": (0, [1.0] * 4)})))
    refused("no.gguf", ["rope_freqs.weight has no place"])
    parts["output.weight"] = (5, [math.inf] + parts["output.weight"][1][1:])
    write("no.gguf", gguf(settings, parts))
    refused("no.gguf", ["output.weight", "not finite"])
    settings, parts = gguf_network(False, True, 5, 8, 1, 2, 12, 16, 3)
    data = gguf(settings, parts)
    head = len(data) - 4 * sum(len(numbers) for _, numbers in parts.values())
    for cut in list(range(4, head, 7)) + [len(data) - 1]:
        write("cut.gguf", data[:cut])
        code, out, err = run("./convert", "cut.gguf", "never.safetensors")
        check(code == 1 and err.count("\n") == 1, f"cut at {cut}: {code} {err}")
    for bit in range(32, 8 * head, 29):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        write("flip.gguf", bytes(broken))
        code, out, err = run("./convert", "flip.gguf", "never.safetensors")
        check(code in (0, 1) and err.count("\n") == code, f"bit {bit}: {code} {err}")
        for left in os.listdir(folder):
            if left.startswith("never"):
                os.remove(os.path.join(folder, left))


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
    gguf_in(False, True, False, "GPT-2")
    gguf_in(False, False, True, "GPT-2 in halves with a head of its own")
    gguf_in(True, False, True, "Llama")
    gguf_in(True, True, False, "Llama with a tied head")
    gguf_with_subwords()
    gguf_hostile()
print(f"{passed} passed, {failed} failed")
sys.exit(failed != 0)

#!/usr/bin/env python3
"""What the toolkit's programs make of files from elsewhere: arrays of every scale, shape and type,
names and pairs as editors and spreadsheets write them, words that are misspelt.

python3 tests/test_toolkit_inputs.py    CC and CFLAGS choose the compiler; BIN names a folder that
already holds the programs. It needs nothing beyond Python; ends with `N passed, N failed`.
"""
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
PROGRAMS = ("recall", "embed_report", "inspect")
passed = failed = 0


def check(ok, what):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print(f"FAILED: {what}", file=sys.stderr)


def near(a, b, tolerance, what):
    check(abs(a - b) <= tolerance, f"{what}: {a} and {b} differ by more than {tolerance}")


# ---- files -----------------------------------------------------------------------------------------


def flat(values):
    return [x for v in values for x in flat(v)] if isinstance(values, list) else [values]


def shape_of(values):
    return [len(values)] + shape_of(values[0]) if isinstance(values, list) else []


def packed(values, code):
    numbers = flat(values)
    return struct.pack(f"<{len(numbers)}{code}", *numbers)


def write(path, data):
    with open(path, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode("utf-8"))
    return path


def npy(path, values):
    shape = ", ".join(map(str, shape_of(values))) + ","
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}".ljust(117) + "\n"
    return write(path, b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() +
                 packed(values, "f"))


def tensors(path, table):
    """{name: (dtype, shape, bytes) or nested lists of numbers} as a safetensors file."""
    header, data = {}, b""
    for name, value in table.items():
        dtype, shape, raw = value if isinstance(value, tuple) else ("F32", shape_of(value),
                                                                    packed(value, "f"))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data),
                                                                         len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    return write(path, struct.pack("<Q", len(text)) + text + data)


def single(x):
    """x as a float of 32 bits."""
    return struct.unpack("<f", struct.pack("<f", x))[0]


def normals(rows, columns, seed, scale=1.0):
    rng = random.Random(seed)
    return [[single(rng.gauss(0, 1) * scale) for _ in range(columns)] for _ in range(rows)]


def cosine(a, b):
    dot = lambda x, y: math.fsum(p * q for p, q in zip(x, y))
    return dot(a, b) / math.sqrt(dot(a, a)) / math.sqrt(dot(b, b))


# ---- programs --------------------------------------------------------------------------------------


def run(program, *arguments):
    return subprocess.run([os.path.join(BIN, program), *arguments], capture_output=True)


def output(program, *arguments):
    """Standard output of a run that must succeed, valid UTF-8; as JSON where that was asked for."""
    done = run(program, *arguments)
    check(done.returncode == 0, f"{program} {arguments}: {done.returncode} {done.stderr!r}")
    try:
        text = done.stdout.decode("utf-8")
        return json.loads(text) if "--json" in arguments else text
    except ValueError as error:
        check(False, f"{program} {arguments}: {error}")
        return {} if "--json" in arguments else ""


def refused(status, part, program, *arguments):
    done = run(program, *arguments)
    sentence = done.stderr.decode("utf-8", "replace")
    check(done.returncode == status and sentence.count("\n") == 1 and part in sentence,
          f"{program} {arguments}: {done.returncode} {sentence!r}, wanted {status} {part!r}")


def report(*arguments):
    return {group["name"]: group for group in
            output("embed_report", "v.npy", "--draws", "4", "--json", *arguments).get("groups", [])}


# ---- behaviours ------------------------------------------------------------------------------------


def cosines_agree_at_every_scale():
    for scale in (1e-30, 1e-18, 1e-7, 1.0, 1e18, 1e30):
        rows = normals(3, 64, 7, scale)
        npy("v.npy", rows)
        write("pairs", "a 1 0\nb 1 1\nc 1 2\n")
        groups = report("--pairs", "pairs")
        for packet in ("sign", "dft"):
            output("recall", "build", "s.store", "v.npy", "--packet", packet)
            hits = output("recall", "ask", "s.store", "v.npy", "--row", "1", "--json")
            check(len(hits) == 3, f"scale {scale}: three hits")
            for hit in hits:
                right = cosine(rows[1], rows[hit["packet"]])
                near(hit["score"], right, 1e-6, f"recall {packet} at scale {scale}")
                near(groups["abc"[hit["packet"]]]["cosine"], right, 1e-6,
                     f"embed_report at scale {scale}")


def identical_vectors_are_as_chance():
    rows = normals(4, 96, 4)
    rows[1] = list(rows[0])
    rows[3] = [single(3 * x) for x in rows[2]]
    npy("v.npy", rows)
    for figures in report().values():
        for name in ("variance_rotation", "variance_permutation", "block_variance_rotation",
                     "cancellation", "positive"):
            check(figures[name]["z"] == 0 and figures[name]["percentile"] == 50,
                  f"{name} of identical vectors: {figures[name]}")


def names_are_positional():
    rows = [[float(i == k) for k in range(8)] for i in range(5)]
    rows[4] = rows[3]
    npy("v.npy", rows)
    write("pairs", "same man boy\n")
    write("names", "king\nqueen\n\nman\nboy\n")
    near(report("--names", "names", "--pairs", "pairs")["same"]["cosine"], 1, 1e-6, "a blank name")
    write("names", "king\nqueen\nman\nboy\n")
    refused(1, "4 lines for 5 vectors", "embed_report", "v.npy", "--names", "names")
    write("names", "a\nb\nc\nd\ne\nf\n")
    refused(1, "6 lines for 5 vectors", "embed_report", "v.npy", "--names", "names")
    write("names", "king\nman\nx\nman\nboy\n")
    refused(1, 'line 1: rows 1 and 3 are both named "man"', "embed_report", "v.npy", "--names",
            "names", "--pairs", "pairs")
    write("pairs", "same 3 boy\n")
    near(report("--names", "names", "--pairs", "pairs")["same"]["cosine"], 1, 1e-6, "a row's number")


def texts_come_as_editors_write_them():
    rows = [[float(i == k) for k in range(8)] for i in range(4)]
    rows[3] = rows[0]
    npy("v.npy", rows)
    for mark in (b"", b"\xef\xbb\xbf"):
        for end in (b"\n", b"\r\n"):
            for last in (b"", end):
                lines = lambda *texts: mark + end.join(texts) + last
                write("names", lines(b"one", b"two", b"three", b"last"))
                write("pairs", lines(b"syn one last", b"syn two last", b"", b"other two three"))
                groups = report("--names", "names", "--pairs", "pairs")
                check(list(groups) == ["syn", "other"], f"{mark} {end} {last}: {list(groups)}")
                check(groups["syn"]["pairs"] == 2, "two pairs in one group")
                near(groups["syn"]["cosine"], 0.5, 1e-6, "their mean")
    write("pairs", "syn 0 1\n\n\nsyn 0 nobody\n")
    refused(1, 'line 4: there is no vector named "nobody"', "embed_report", "v.npy", "--pairs",
            "pairs")
    for program_input in ("pairs", "names"):
        write(program_input, b"one\ntw\0o\nthree\nlast\n")
        refused(1, "NUL", "embed_report", "v.npy", f"--{program_input}", program_input)


def names_may_hold_blanks():
    rows = [[float(i == k) for k in range(8)] for i in range(3)]
    rows[2] = rows[0]
    npy("v.npy", rows)
    write("names", 'New York\nSan "F"\n  x \n')
    for pairs in ('"a group" "New York" "  x "\n', "a group\tNew York\t  x \n"):
        write("pairs", pairs)
        near(report("--names", "names", "--pairs", "pairs")["a group"]["cosine"], 1, 1e-6, pairs)
    write("pairs", 'g "San ""F""" 0\n')
    near(report("--names", "names", "--pairs", "pairs")["g"]["cosine"], 0, 1e-6, "quoted quotes")
    write("pairs", "g New York 1\n")
    refused(1, "needs quotes, or tabs", "embed_report", "v.npy", "--names", "names", "--pairs",
            "pairs")
    write("pairs", 'g "New York 1\n')
    refused(1, "a quote is not closed", "embed_report", "v.npy", "--names", "names", "--pairs",
            "pairs")


def many_names_are_found():
    """Two thousand million comparisons if each pair searched all names."""
    count, pairs = 100000, 20000
    npy("v.npy", normals(1, 2, 1) * count)
    write("names", "".join(f"name {i}\n" for i in range(count)))
    write("pairs", "".join(f"g\tname {count - 1 - i}\tname {i}\n" for i in range(pairs)))
    check(report("--names", "names", "--pairs", "pairs")["g"]["pairs"] == pairs, "all pairs are there")


def text_from_files_is_data():
    npy("v.npy", normals(4, 8, 1))
    write("names", b'\x1b[31mred\nq"uote\\\n\xff\xfe broken\n\xc3\xbc\n')
    write("pairs", b'\x1b]0;title\x07 0 1\n\xff\xff 1 2\n"a ""b""" 2 3\n')
    text = output("embed_report", "v.npy", "--draws", "4", "--names", "names", "--pairs", "pairs",
                  "--list")
    check("\x1b" not in text and "\x07" not in text, "no escape sequence reaches the terminal")
    check("red" in text and "\u00fc" in text, "but the letters do")
    check(len(report("--names", "names", "--pairs", "pairs")) == 3, "three groups in the JSON")
    eye = [[1.0, 0.0], [0.0, 1.0]]
    tensors("w.safetensors", {"\x1b[31mred": eye, 'q"\\': eye, "\u0085": eye})
    text = output("inspect", "--weights", "w.safetensors")
    check("\x1b" not in text and "\u0085" not in text and "red" in text, "tensor names are shown")
    names = [m["name"] for m in output("inspect", "--weights", "w.safetensors", "--json")["weights"]]
    check(sorted(names) == sorted(["\x1b[31mred", 'q"\\', "\u0085"]), f"JSON has them: {names}")


def the_order_of_columns_is_measured():
    """Rows that are slow waves have a low third that no other order of their columns has; those of noise have not."""
    source = random.Random(2)
    waves = [[math.cos(2 * math.pi * (1 + r % 3) * c / 24 + r) for c in range(24)] for r in range(24)]
    noise = [[source.gauss(0, 1) for _ in range(24)] for _ in range(24)]
    tensors("w.safetensors", {"waves": waves, "noise": noise})
    found = output("inspect", "--weights", "w.safetensors", "--draws", "99", "--json")["weights"]
    z = {m["name"]: m["low_third_z"] for m in found}
    check(z["waves"] > 6 and abs(z["noise"]) < 3, f"deviations of the low third: {z}")
    text = output("inspect", "--weights", "w.safetensors", "--draws", "99")
    check("the low third of 1 of 2 is beyond 95 % of 99 orders" in text, f"and how many: {text}")
    tensors("many.safetensors", {f"noise {i}": [[source.gauss(0, 1) for _ in range(8)] for _ in range(4)]
                                 for i in range(200)})
    for draws, by_hand in ((2, lambda x: 2 / math.pi * math.atan(x)), (3, lambda x: x / math.sqrt(2 + x * x))):
        many = output("inspect", "--weights", "many.safetensors", "--draws", str(draws))
        told = re.search(r"the low third of (\d+) of 200 is beyond .*; by chance ([0-9.]+) would be", many)
        chance = 1 - by_hand(1.96 / math.sqrt(1 + 1 / draws))  # Student's distribution of 1 and 2 degrees
        check(told and abs(float(told.group(2)) - 200 * chance) < 0.051, f"{draws} orders: {told and told.group(0)}")
        check(abs(int(told.group(1)) - 200 * chance) < 4 * math.sqrt(200 * chance * (1 - chance)), "and so it comes")
    found = output("inspect", "--weights", "w.safetensors", "--draws", "99", "--mixed", "--json")["weights"]
    z = {m["name"]: m["low_third_z"] for m in found}
    norm = math.sqrt(sum(x * x for row in waves for x in row))
    check(abs(z["waves"]) < 3 and abs({m["name"]: m["norm"] for m in found}["waves"] - norm) < 1e-3,
          f"the same numbers at random places have none: {z}")
    ranks = [float(r) for r in re.findall(r"effective ranks are ([0-9.]+) of those of noise, mean of 2", text)]
    mixed = output("inspect", "--weights", "w.safetensors", "--mixed")
    check(ranks and ranks[0] < 0.8 and "effective ranks are 1.0" in mixed, f"three waves are of low rank: {ranks} {mixed}")


def weights_that_cannot_be_read_are_passed_over():
    eye = [[1.0, 0.0], [0.0, 1.0]]
    tensors("w.safetensors", {
        "first": eye, "nan": [[1.0, math.nan], [0.0, 1.0]], "small": ("F8_E4M3", [2, 2], b"\0" * 4),
        "complex": ("C64", [2, 2], b"\0" * 32), "last": eye})
    text = output("inspect", "--weights", "w.safetensors")
    for name in ("nan", "small", "complex"):
        check(f"  {name} " in text and "passed over" in text, f"{name} is named")
    found = output("inspect", "--weights", "w.safetensors", "--json")
    check(sorted(m["name"] for m in found["weights"]) == ["first", "last"], "the rest is there")
    check({m["name"] for m in found["passed_over"]} == {"nan", "small", "complex"}, "with reasons")
    npy("w.npy", [[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]])
    matrix = output("inspect", "--weights", "w.npy", "--json")["weights"][0]
    check((matrix["rows"], matrix["columns"], matrix["largest"]) == (3, 2, 4), f"a .npy: {matrix}")
    tensors("w.safetensors", {"nan": [[math.nan]]})
    found = output("inspect", "--weights", "w.safetensors", "--json")
    check(found["weights"] == [] and len(found["passed_over"]) == 1, "nothing is left: still JSON")


def softmax_rows(seed, causal, *shape):
    if len(shape) > 1:
        return [softmax_rows(seed * 31 + i + 1, causal and (causal[0], i), *shape[1:])
                for i in range(shape[0])]
    rng = random.Random(seed)
    keys = causal[1] + 1 if causal else shape[0]
    weights = [math.exp(2 * rng.gauss(0, 1)) if k < keys else 0.0 for k in range(shape[0])]
    return [single(w / math.fsum(weights)) for w in weights]


def entropy(maps):
    """Mean over heads and rows of maps [heads][T][T]."""
    rows = [row for head in maps for row in head]
    return math.fsum(-p * math.log(p) for row in rows for p in row if p > 0) / len(rows)


def entropies(found, layers):
    heads = [[h["all"]["entropy"] for h in found["heads"] if h["layer"] == l] for l in range(layers)]
    return [math.fsum(h) / max(len(h), 1) for h in heads]


def maps_of_every_shape_are_measured_whole():
    layers, batch, heads, length = 11, 2, 3, 6
    maps = softmax_rows(1, None, layers, batch, heads, length, length)
    one = [layer[1] for layer in maps]
    files = [(tensors("a.safetensors", {"attention": maps}), 1),
             (tensors("b.safetensors", {f"layers.{l}.attn": m for l, m in enumerate(maps)}), 1),
             (tensors("c.safetensors", {"w": [[1.0]], "attention": one}), 0),
             (tensors("d.safetensors", {f"layers.{l}.attn": m for l, m in enumerate(one)}), 0)]
    for path, sequence in files:
        found = output("inspect", "--maps", path, "--json", "--sequence", str(sequence))
        check(found["causal"] is False and found["ahead"] > 0.1, f"{path} looks ahead")
        for ours, right in zip(entropies(found, layers), map(entropy, one)):
            near(ours, right, 1e-5, f"{path}: entropy of a layer")
    for path, values, count in ((npy("a.npy", maps), one, layers), (npy("c.npy", one), one, layers),
                                (npy("e.npy", one[2]), [one[2]], 1)):
        found = output("inspect", "--maps", path, "--json", *(["--sequence", "1"] * (path == "a.npy")))
        for ours, right in zip(entropies(found, count), map(entropy, values)):
            near(ours, right, 1e-5, f"{path}: entropy of a layer")
    tensors("e.safetensors", {"heads": one[0]})
    found = output("inspect", "--maps", "e.safetensors", "--json")
    near(entropies(found, 1)[0], entropy(one[0]), 1e-5, "[H,T,T] is one layer")
    check("measured whole" in output("inspect", "--maps", "e.safetensors"), "it is said")
    text = output("inspect", "--maps", "e.safetensors", "--causal")
    check("uniform causal rows" in text and "as --causal asks" in text, "--causal forces")
    refused(2, "--sequence is 2: the file has 2", "inspect", "--maps", "a.safetensors", "--sequence",
            "2")
    tensors("f.safetensors", {"x": one[0], "y": [[[1.0]]]})
    refused(1, "differ in shape", "inspect", "--maps", "f.safetensors")
    causal = softmax_rows(5, (0, 0), 2, 3, length, length)
    tensors("g.safetensors", {"a": causal})
    found = output("inspect", "--maps", "g.safetensors", "--json")
    check(found["causal"] is True and found["ahead"] == 0, "a causal map is found to be one")
    for ours, right in zip(entropies(found, 2), map(entropy, causal)):
        near(ours, right, 1e-5, "entropy of a causal layer")


def words_are_checked():
    npy("v.npy", normals(3, 8, 1))
    output("recall", "build", "s.store", "v.npy")
    refused(2, "resonance", "recall", "ask", "s.store", "v.npy", "--score", "resonace")
    refused(2, "did you mean dft", "recall", "build", "x.store", "v.npy", "--packet", "dtf")
    refused(2, "did you mean build", "recall", "biuld", "x.store", "v.npy")
    refused(2, "did you mean --score", "recall", "ask", "s.store", "v.npy", "--scor", "cosine")


def build():
    for program in PROGRAMS:
        command = shlex.split(os.environ.get("CC", "cc")) + shlex.split(
            os.environ.get("CFLAGS", "-O1")) + [
                os.path.join(ROOT, "examples", program + ".c"), "-o", os.path.join(BIN, program),
                "-lm", "-lpthread"]
        done = subprocess.run(command, capture_output=True)
        check(done.returncode == 0 and not done.stderr, f"{program} builds: {done.stderr.decode()}")


with tempfile.TemporaryDirectory() as folder:
    BIN = os.path.abspath(os.environ["BIN"]) if os.environ.get("BIN") else folder
    os.chdir(folder)
    if BIN == folder:
        build()
    for behaviour in (cosines_agree_at_every_scale, identical_vectors_are_as_chance,
                      names_are_positional, texts_come_as_editors_write_them, names_may_hold_blanks,
                      many_names_are_found, text_from_files_is_data, the_order_of_columns_is_measured,
                      weights_that_cannot_be_read_are_passed_over,
                      maps_of_every_shape_are_measured_whole, words_are_checked):
        behaviour()
    os.chdir(ROOT)
print(f"{passed} passed, {failed} failed")
sys.exit(failed != 0)

#!/usr/bin/env python3
"""Checkpoints and Python: a reader of thirty lines and, where they are installed, the safetensors
package and NumPy read what wavecoh.h wrote, and wavecoh.h reads what they wrote.

    python3 tests/test_python_roundtrip.py        (needs a C compiler: CC, default cc)
"""
import json
import os
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOOL = r"""
#define WAVECOH_IMPLEMENTATION
#include "wavecoh.h"

static wcoh_error error;
static int fail(void) { fprintf(stderr, "%s\n", error.text); return 1; }

static wcoh_model *make(uint64_t seed)
{
    static const char text[] = "ab\"\\\n\t \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80";
    wcoh_model_desc desc;
    wcoh_tokenizer *tokenizer;
    wcoh_model *model = NULL;
    memset(&desc, 0, sizeof desc);
    if (wcoh_tokenizer_create_chars(&tokenizer, text, sizeof text, NULL, &error) < 0) return NULL;
    desc.tokenizer = tokenizer; /* the zero character at the end is part of the alphabet */
    desc.vocab = wcoh_tokenizer_vocab(tokenizer);
    desc.bands = 4;
    desc.heads = 2;
    desc.layers = 2;
    desc.maestro = 3;
    desc.seed = seed;
    wcoh_model_create(&model, &desc, &error);
    wcoh_tokenizer_destroy(tokenizer);
    return model;
}

/* NAME SHAPE : the bits of every number as float */
static void dump(const wcoh_model *model)
{
    int i, k;
    size_t n;
    for (i = 0; i < wcoh_model_param_count(model); i++) {
        wcoh_param p;
        wcoh_model_param(model, i, &p, NULL);
        printf("%s", p.name);
        for (k = 0; k < p.dims; k++) printf(" %d", p.shape[k]);
        printf(" :");
        for (n = 0; n < p.count; n++) {
            uint32_t bits;
            memcpy(&bits, &p.data[n], 4);
            printf(" %08x", (unsigned)bits);
        }
        printf("\n");
    }
}

static int train(const char *path, const char *from, int steps)
{
    uint32_t text[400];
    wcoh_trainer_desc desc;
    wcoh_trainer *trainer;
    wcoh_model *model = NULL;
    size_t i;
    memset(&desc, 0, sizeof desc);
    desc.batch = 2;
    desc.seq = 8;
    desc.warmup = 2;
    if (!from) model = make(1);
    else if (wcoh_model_load_file(&model, from, NULL, &error) < 0) return fail();
    for (i = 0; i < 400; i++) text[i] = (uint32_t)(i * i % 11 % 5);
    if (wcoh_trainer_create(&trainer, model, &desc, &error) < 0) return fail();
    if (wcoh_trainer_set_data(trainer, text, 400, NULL, 0, &error) < 0) return fail();
    if (from && wcoh_trainer_resume_file(trainer, from, &error) < 0) return fail();
    while (steps-- > 0)
        if (wcoh_trainer_step(trainer, NULL, &error) < 0) return fail();
    if (wcoh_trainer_save_file(trainer, path, &error) < 0) return fail();
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    return 0;
}

int main(int count, char **a)
{
    wcoh_model *model = NULL;
    if (count > 2 && strcmp(a[1], "make") == 0) {
        model = make(1);
        if (!model || wcoh_model_save_file(model, a[2], &error) < 0) return fail();
    } else if (count > 3 && strcmp(a[1], "smaller") == 0) {
        model = make(1);
        if (!model || wcoh_model_save_as_file(model, (wcoh_weights)atoi(a[3]), a[2], &error) < 0) return fail();
    } else if (count > 2 && strcmp(a[1], "load") == 0) {
        if (wcoh_model_load_file(&model, a[2], NULL, &error) < 0) return fail();
    } else if (count > 2 && strcmp(a[1], "read") == 0) {
        model = make(2);
        if (!model || wcoh_model_read_file(model, a[2], &error) < 0) return fail();
    } else if (count > 3 && strcmp(a[1], "train") == 0) {
        return train(a[2], count > 4 ? a[4] : NULL, atoi(a[3]));
    }
    dump(model);
    wcoh_model_destroy(model);
    return 0;
}
"""

passed = failed = 0


def check(condition, what):
    global passed, failed
    if condition:
        passed += 1
    else:
        failed += 1
        print("FAILED:", what)


# ---- a whole reader and writer of safetensors ----------------------------------------------------

def read_file(path):
    """-> {name: (dtype, shape, bytes)}, metadata, offset of the data"""
    data = open(path, "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size].decode("utf-8"))
    metadata = header.pop("__metadata__", {})
    begin = 8 + size
    tensors = {name: (t["dtype"], t["shape"], data[begin + t["data_offsets"][0]:begin + t["data_offsets"][1]])
               for name, t in header.items()}
    return tensors, metadata, begin


def write_file(path, tensors, metadata=None):
    header, at, data = {}, 0, b""
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, (dtype, shape, values) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(values)]}
        at += len(values)
        data += values
    text = json.dumps(header).encode("utf-8")
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)


M = (1 << 64) - 1
P1, P2, P3, P4, P5 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
                      0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)


def rotate(x, n):
    return (x << n | x >> (64 - n)) & M


def turn(lane, word):
    return rotate((lane + word * P2) & M, 31) * P1 & M


def xxh64(data):
    lanes, at = [(P1 + P2) & M, P2, 0, -P1 & M], 0
    h = P5
    if len(data) >= 32:
        while at + 32 <= len(data):
            lanes = [turn(a, w) for a, w in zip(lanes, struct.unpack_from("<4Q", data, at))]
            at += 32
        h = sum(rotate(a, n) for a, n in zip(lanes, (1, 7, 12, 18))) & M
        for a in lanes:
            h = ((h ^ turn(0, a)) * P1 + P4) & M
    h = (h + len(data)) & M
    while at + 8 <= len(data):
        h = (rotate(h ^ turn(0, struct.unpack_from("<Q", data, at)[0]), 27) * P1 + P4) & M
        at += 8
    if at + 4 <= len(data):
        h = (rotate(h ^ struct.unpack_from("<I", data, at)[0] * P1 & M, 23) * P2 + P3) & M
        at += 4
    for byte in data[at:]:
        h = rotate(h ^ byte * P5 & M, 11) * P1 & M
    h = (h ^ h >> 33) * P2 & M
    h = (h ^ h >> 29) * P3 & M
    return h ^ h >> 32


# ---- the program ---------------------------------------------------------------------------------

folder = tempfile.mkdtemp(prefix="wavecoh-python-")


def path(name):
    return os.path.join(folder, name)


def tool(*arguments):
    """-> {name: (shape, bytes of the floats)}, or the sentence of the error"""
    run = subprocess.run([path("tool")] + list(arguments), stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)
    if run.returncode:
        return run.stderr.decode("utf-8").strip()
    tensors = {}
    for line in run.stdout.decode("utf-8").splitlines():
        head, values = line.split(" :")
        name, *shape = head.split(" ")
        tensors[name] = ([int(n) for n in shape], b"".join(struct.pack("<I", int(v, 16)) for v in values.split()))
    return tensors


def same(dumped, tensors):
    return isinstance(dumped, dict) and {n: (s, b) for n, (_, s, b) in tensors.items()} == dumped


def halves(values):
    return b"".join(struct.pack("<e", v) for v in struct.unpack("<%df" % (len(values) // 4), values))


def floats(values):
    return struct.unpack("<%df" % (len(values) // 4), values)


def smaller_files(tensors):
    """What Python makes of smaller numbers is what the library loads of them."""
    file = path("s.safetensors")
    for number, dtype in enumerate(("F32", "F16", "BF16", "I8")):
        tool("smaller", file, str(number))
        stored, _, _ = read_file(file)
        loaded = tool("load", file)
        check(isinstance(loaded, dict), "%s loads: %s" % (dtype, loaded if isinstance(loaded, str) else ""))
        wrong = []
        for name, (_, shape, original) in tensors.items():
            kind, there, values = stored[name]
            rows = len(original) // 4 // shape[-1]
            if len(shape) < 2 or dtype == "F32":
                ok = (kind, there, values) == ("F32", shape, original) and loaded[name][1] == original
            elif dtype == "F16":
                ok = (kind, there, values) == ("F16", shape, halves(original))
                ok = ok and loaded[name][1] == struct.pack("<%df" % (len(values) // 2),
                                                           *struct.unpack("<%de" % (len(values) // 2), values))
            elif dtype == "BF16":
                words = struct.unpack("<%dI" % (len(original) // 4), original)
                nearest = [w + 0x7fff + (w >> 16 & 1) >> 16 for w in words]
                ok = kind == "BF16" and values == struct.pack("<%dH" % len(words), *nearest)
                ok = ok and loaded[name][1] == struct.pack("<%dI" % len(words), *[n << 16 for n in nearest])
            else:
                scales = floats(stored[name + ".scale"][2])
                whole = struct.unpack("<%db" % len(values), values)
                ok = kind == "I8" and there == shape and stored[name + ".scale"][:2] == ("F32", [rows])
                for row in range(rows):
                    part = slice(row * shape[-1], (row + 1) * shape[-1])
                    most = max(abs(v) for v in floats(original)[part])
                    ok = ok and abs(scales[row] - most / 127) <= 1e-7 * most
                    ok = ok and loaded[name][1][4 * part.start:4 * part.stop] == struct.pack(
                        "<%df" % shape[-1], *[q * scales[row] for q in whole[part]])
            if not ok:
                wrong.append(name)
        check(not wrong, "%s: %s" % (dtype, " ".join(wrong)))


def build():
    with open(path("tool.c"), "w") as source:
        source.write(TOOL)
    command = [os.environ.get("CC", "cc"), "-std=c99", "-O1", "-I", os.path.join(HERE, ".."), "-o",
               path("tool"), path("tool.c"), "-lm", "-lpthread"]
    return subprocess.call(command) == 0


def model_files():
    written = tool("make", path("a.safetensors"))
    tensors, metadata, begin = read_file(path("a.safetensors"))
    check(same(written, tensors), "our reader sees the model's tensors")
    check(begin % 8 == 0, "the data begin at a multiple of 8")
    check(all(dtype == "F32" for dtype, _, _ in tensors.values()), "all tensors are F32")
    check(metadata["model.bands"] == "4" and metadata["wavecoh.kind"] == "model", "settings are metadata")
    check(metadata["tokenizer.alphabet"] == "".join(sorted("ab\"\\\n\t \u00e9\u20ac\U0001f600\0")),
          "the alphabet comes through JSON")
    data = open(path("a.safetensors"), "rb").read()
    digits = metadata["wavecoh.checksum"].encode()
    check("%016x" % xxh64(data.replace(digits, b"0" * 16)) == metadata["wavecoh.checksum"],
          "the checksum is XXH64 of the file with its digits as 0")
    check(same(tool("load", path("a.safetensors")), tensors), "the file loads")

    write_file(path("b.safetensors"), tensors)
    check(same(tool("read", path("b.safetensors")), tensors), "a file without metadata reads")
    check("make the model yourself" in tool("load", path("b.safetensors")), "but does not load")
    write_file(path("b.safetensors"), tensors, {"format": "pt"})
    check(same(tool("read", path("b.safetensors")), tensors), "metadata of others do no harm")
    turned = dict(reversed(list(tensors.items())))
    write_file(path("b.safetensors"), turned)
    check(same(tool("read", path("b.safetensors")), tensors), "the order is free")
    write_file(path("b.safetensors"), tensors, metadata)
    check("remove the metadata key wavecoh.checksum" in tool("load", path("b.safetensors")),
          "an edited file is noticed")
    del metadata["wavecoh.checksum"]
    write_file(path("b.safetensors"), tensors, metadata)
    check(same(tool("load", path("b.safetensors")), tensors), "and loads without the checksum")
    write_file(path("b.safetensors"), {n: ("F16", s, halves(b)) for n, (_, s, b) in tensors.items()})
    loaded = tool("read", path("b.safetensors"))
    check(isinstance(loaded, dict) and all(halves(loaded[n][1]) == halves(b) for n, (_, s, b) in tensors.items()),
          "half precision reads")
    one = dict(tensors)
    del one["norm_f.bias"]
    write_file(path("b.safetensors"), one)
    check("norm_f.bias is not in the file" in tool("read", path("b.safetensors")), "a missing tensor is named")
    return tensors, metadata


def trainer_files():
    # 3 steps, saved; 2 more after a resume; against 5 in one go
    check(tool("train", path("three.safetensors"), "3") == {}, "a trainer saves")
    check(tool("train", path("five.safetensors"), "2", path("three.safetensors")) == {}, "and resumes")
    check(tool("train", path("whole.safetensors"), "5") == {}, "five steps")
    five, whole = read_file(path("five.safetensors")), read_file(path("whole.safetensors"))
    check(five[0] == whole[0], "resumed parameters and moments are those of the whole run")
    check({k: v for k, v in five[1].items() if k not in ("train.seconds", "wavecoh.checksum")} ==
          {k: v for k, v in whole[1].items() if k not in ("train.seconds", "wavecoh.checksum")}, "and so is the state")
    trained = [n for n in five[0] if not n.startswith("adam.") and "adam.m." + n in five[0]]
    check(len(trained) > 10 and len(five[0]) > 3 * len(trained), "adam.m.NAME and adam.v.NAME")
    check(five[1]["train.step"] == "5" and "trainer.lr" in five[1], "step and settings are metadata")
    plain = {n: t for n, t in five[0].items() if not n.startswith("adam.")}
    check(same(tool("load", path("five.safetensors")), plain), "a trainer's file loads as a model")
    check(same(tool("read", path("five.safetensors")), plain), "and reads as tensors")


def package(tensors, metadata):
    try:
        import safetensors
    except ImportError:
        print("not run: the safetensors package is not installed")
        return
    for name in ("a.safetensors", "five.safetensors"):
        if not os.path.exists(path(name)):
            continue
        ours = read_file(path(name))[0]
        theirs = dict(safetensors.deserialize(open(path(name), "rb").read()))
        check({n: (t["dtype"], list(t["shape"]), bytes(t["data"])) for n, t in theirs.items()} == ours,
              "the package reads " + name)
    try:
        import numpy
        from safetensors import safe_open
        from safetensors.numpy import load_file, save_file
    except ImportError:
        print("not run: NumPy is not installed")
        return
    arrays = load_file(path("a.safetensors"))
    check({n: a.tobytes() for n, a in arrays.items()} == {n: b for n, (_, _, b) in tensors.items()}, "load_file")
    with safe_open(path("a.safetensors"), framework="numpy") as file:
        check(file.metadata()["tokenizer.alphabet"] == metadata["tokenizer.alphabet"], "safe_open's metadata")
    save_file(arrays, path("c.safetensors"))
    check(same(tool("read", path("c.safetensors")), tensors), "save_file without metadata reads")
    save_file(arrays, path("c.safetensors"), metadata=metadata)
    check(same(tool("load", path("c.safetensors")), tensors), "save_file with our metadata loads")
    save_file({n: a.astype(numpy.float64) for n, a in arrays.items()}, path("c.safetensors"))
    check(same(tool("read", path("c.safetensors")), tensors), "float64 reads")


if build():
    found, notes = model_files()
    smaller_files(found)
    if "--model" not in sys.argv:
        trainer_files()
    package(found, notes)
else:
    check(False, "the program compiles")
for entry in os.listdir(folder):
    os.remove(path(entry))
os.rmdir(folder)
print("%d passed, %d failed" % (passed, failed))
sys.exit(failed != 0)

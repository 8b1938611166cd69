#!/usr/bin/env python3
"""Subword tokenizers, token for token beside the `tokenizers` package: files of ten shapes (GPT-2,
Llama 3, Qwen, Llama 2, metaspace, o200k, unknown tokens, digits, small letters, words) that the
package trains here, merges that both learn from three texts, and kerr-engine's words.

    python3 tests/test_tokenizer.py [MEGABYTES] [FAMILY or FILE.json ..]     (pip install tokenizers)

Each family, and each file of somebody's model, reads all of that text (default 0.05; 10 take minutes): half of it made up in many scripts,
half of Python's own files, code and prose. CC and CFLAGS choose the compiler. Ends with `N passed,
N failed`.
"""
import glob
import json
import os
import random
import shlex
import struct
import subprocess
import sys
import tempfile
import unicodedata

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
passed = failed = 0
RANGES = [(0x20, 0x7e)] * 6 + [
    (0xa0, 0x24f), (0x300, 0x36f), (0x370, 0x52f), (0x590, 0x6ff), (0x900, 0xdff), (0xe00, 0xeff),
    (0x1100, 0x11ff), (0x1e00, 0x2bff), (0x3000, 0x30ff), (0x4e00, 0x9fff), (0xac00, 0xd7a3),
    (0xfb00, 0xfdff), (0x1f300, 0x1faff), (0x1d100, 0x1d7ff), (0x20000, 0x2a6df),
    (0x2f800, 0x2fa1d), (0, 0x10ffff)]
WORDS = ("the of and to wave don't we'll I'M it's 12345 0.5 3,141 na\u00efve Stra\u00dfe \u017f'\u017f "
         "don'T x = y[i] += 1; // #include <stdio.h> if (a && b) { return; } \u00e9t\u00e9 "
         "\u4e2d\u6587\u5b57\u7b26 \u65e5\u672c\u8a9e\u30c6\u30ad\u30b9\u30c8 "
         "\u0939\u093f\u0928\u094d\u0926\u0940 \u0627\u0644\u0639\u0631\u0628\u064a\u0629 "
         "\u05e2\u05d1\u05e8\u05d9\u05ea \u0440\u0443\u0441\u0441\u043a\u0438\u0439 \ud55c\uad6d\uc5b4 "
         "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd e\u0301 "
         "\u212b \u2126 <s> </s> <|endoftext|> <|im_start|> word <mask> \u2581 \u0120 \u010a").split()
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
ENDING = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{ENDING}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{ENDING}"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def check(ok, what):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print(f"FAILED: {what}")


def mixed(rng, size):
    out, length = [], 0
    while length < size:
        kind = rng.random()
        if kind < 0.6:
            word = rng.choice(WORDS)
        elif kind < 0.9:
            low, high = rng.choice(RANGES)
            word = "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 9)))
            word = "".join(c for c in word if not 0xd800 <= ord(c) < 0xe000)
        else:
            word = rng.choice([" ", "\n", "  ", "\t", "\u00a0", "\u2003", "\r\n", "a", "1", "."])
            word *= rng.randint(1, 6)
        out += [word, rng.choice([" ", " ", " ", "", "\n"])]
        length += len(word) + 1
    return "".join(out)


def texts_of(megabytes):
    """Texts of that many bytes in UTF-8, by turns made up and from a file."""
    rng, texts, left = random.Random(7), [], megabytes * 1e6
    files = sorted(glob.glob(os.path.join(os.path.dirname(os.__file__), "**", "*.py"), recursive=True))
    rng.shuffle(files)
    while left > 0:
        one = mixed(rng, rng.choice([3, 20, 200, 3000]))
        try:
            with open(files.pop(), encoding="utf-8", newline="") as file:
                two = file.read(rng.choice([3, 20, 200, 3000, len(one.encode())]))
        except (UnicodeDecodeError, IndexError):
            two = ""
        texts += [one, two]
        left -= len(one.encode()) + len(two.encode())
    return texts


def corpus():
    texts = [open(os.path.join(ROOT, name), encoding="utf-8").read()[:60000]
             for name in ("README.md", "examples/compare.c", "tests/test_compare.py")]
    return texts + [mixed(random.Random(1), 40000)]


def families():
    """(name, tokenizer) of the ten shapes."""
    from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                            pre_tokenizers as pre, processors, trainers)
    texts, letters = corpus(), pre.ByteLevel.alphabet()
    named_bytes = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]

    def made(model, pre_tokenizer, decoder, normalizer=None, **training):
        t = Tokenizer(model)
        t.pre_tokenizer, t.decoder = pre_tokenizer, decoder
        if normalizer:
            t.normalizer = normalizer
        t.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=1500, show_progress=False,
                                                         **training))
        return t

    def split(pattern, how="isolated", invert=False):
        return pre.Sequence([pre.Split(Regex(pattern), how, invert),
                             pre.ByteLevel(add_prefix_space=False, use_regex=False)])

    yield "gpt2", made(models.BPE(), pre.ByteLevel(add_prefix_space=False), decoders.ByteLevel(),
                       initial_alphabet=letters, special_tokens=["<|endoftext|>"])
    t = made(models.BPE(ignore_merges=True), split(LLAMA3), decoders.ByteLevel(),
             initial_alphabet=letters)
    t.add_special_tokens(["<|begin|>", "<|endoftext|>"] + [f"<|reserved_{i}|>" for i in range(300)])
    begin = ("<|begin|>", t.token_to_id("<|begin|>"))
    t.post_processor = processors.TemplateProcessing(single="<|begin|> $A", pair="<|begin|> $A $B",
                                                     special_tokens=[begin])
    yield "llama3", t
    t = made(models.BPE(), split(LLAMA3.replace("{1,3}", "")), decoders.ByteLevel(),
             normalizers.NFC(), initial_alphabet=letters)
    t.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    t.add_tokens([AddedToken("<s>", normalized=False), AddedToken("word", single_word=True),
                  AddedToken("<mask>", lstrip=True, rstrip=True, normalized=False)])
    yield "qwen", t
    t = made(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True),
             pre.Split("\u2581", "merged_with_next"),
             decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(),
                                decoders.Fuse(), decoders.Strip(" ", 1, 0)]),
             normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]),
             limit_alphabet=300, special_tokens=named_bytes)
    t.pre_tokenizer = None  # as Llama 2 has it: a text is one word
    yield "llama2", t
    yield "metaspace", made(
        models.BPE(unk_token="<unk>", byte_fallback=True), pre.Metaspace(prepend_scheme="first"),
        decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")]),
        limit_alphabet=300, special_tokens=named_bytes)
    yield "o200k", made(models.BPE(), split(O200K, "removed", True), decoders.ByteLevel(),
                        initial_alphabet=letters)
    yield "unknown", made(models.BPE(unk_token="<unk>"),
                          pre.Sequence([pre.Split(" ", "merged_with_previous"),
                                        pre.Digits(individual_digits=True)]), decoders.Fuse(),
                          limit_alphabet=200, special_tokens=["<unk>"])
    yield "digits", made(models.BPE(), pre.Sequence([pre.Digits(),
                                                     pre.ByteLevel(add_prefix_space=False)]),
                         decoders.ByteLevel(), initial_alphabet=letters)
    yield "small", made(models.BPE(), pre.ByteLevel(add_prefix_space=False), decoders.ByteLevel(),
                        normalizers.Lowercase(), initial_alphabet=letters)
    t = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    t.pre_tokenizer = pre.Split(Regex(r"\s+"), "removed")
    t.train_from_iterator(texts, trainers.WordLevelTrainer(vocab_size=3000, show_progress=False,
                                                           special_tokens=["[UNK]"]))
    yield "words", t


def given(wanted):
    """The families, and the files that were named."""
    from tokenizers import Tokenizer
    yield from families()
    for name in wanted:
        if name.endswith(".json"):
            yield name, Tokenizer.from_file(name)


def encoded(path, texts):
    """(tokens or None, what they decode to) of each text of bytes, by the library."""
    given = b"".join(struct.pack("=I", len(t)) + t for t in texts)
    done = subprocess.run([program, path], input=given, capture_output=True)
    if done.returncode:
        check(False, f"{path}: {done.stderr.decode()[:300]}")
        return []
    out, at, rows = done.stdout, 0, []
    while at < len(out):
        count, = struct.unpack_from("=I", out, at)
        tokens = None if count >> 31 else list(struct.unpack_from(f"={count}I", out, at + 4))
        at += 4 + 4 * len(tokens or [])
        size, = struct.unpack_from("=I", out, at)
        rows.append((tokens, out[at + 4:at + 4 + size]))
        at += 4 + size
    return rows


def families_are_equal(megabytes, wanted):
    odd = ["", "a", " ", "\u0301" * 40 + "e\u0323\u0302\u0323" * 20, "a" * 300 + " " * 200 + "1" * 50,
           "x<s>y </s> <mask>  word words word \u0120", "\n\n \n", "\u1100\u1161\u11a8\uac00\u11a8"]
    texts = odd + texts_of(megabytes)
    for name, package in given(wanted):
        path = os.path.join(folder, os.path.basename(name).removesuffix(".json") + ".json")
        package.save(path)
        if wanted and name not in wanted:
            continue
        rows = encoded(path, [t.encode() for t in texts])
        ids = package.encode_batch(texts, add_special_tokens=False)
        ids = [e.ids for e in ids]
        wrong = [t for t, row, want in zip(texts, rows, ids) if row[0] != want]
        check(len(rows) == len(texts) and not wrong,
              f"{name}: {len(wrong)} of {len(texts)} texts differ: {ascii(wrong[:1])[:200]}")
        if not package.normalizer and name != "unknown":  # those change the text
            wrong = [t for t, row in zip(texts, rows) if row[1] != t.encode()]
            if name == "metaspace":  # first and last of their kind: no blank is lost but in front
                wrong = [t for t in wrong if not t.startswith((" ", "\u2581")) and "\u2581" not in t]
            check(not wrong, f"{name}: {len(wrong)} do not come back: {ascii(wrong[:1])[:200]}")
        lossless = [package.decode(i, skip_special_tokens=False).encode() for i in ids]
        wrong = [t for t, row, want in zip(texts, rows, lossless) if row[1] != want]
        check(not wrong, f"{name}: {len(wrong)} decode otherwise: {ascii(wrong[:1])[:200]}")
        if megabytes >= 1:
            print(f"{name}: {sum(len(t.encode()) for t in texts) / 1e6:.1f} MB, "
                  f"{sum(map(len, ids))} tokens")


def small_letters_are_the_packages():
    from tokenizers import normalizers
    # of the characters that this Python knows: the package knows those of its own compiler
    points = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) not in ("Cn", "Cs")]
    texts = ["".join(points[i:i + 4096]) for i in range(0, len(points), 4096)]
    small = normalizers.Lowercase()
    rows = encoded(os.path.join(folder, "small.json"), [t.encode() for t in texts])
    wrong = [i for i, (t, row) in enumerate(zip(texts, rows)) if row[1].decode() != small.normalize_str(t)]
    check(len(rows) == len(texts) and not wrong, f"small letters of 4096 x {wrong[:5]}")


def engine_words(text):
    """kerr-engine's rule, as it is told: no pattern, no package."""
    marks, words = ".,;:!?'\"()[]-&", []
    for line in text.lower().split("\n"):
        for word in line.split():
            first, last = 0, len(word)
            while first < last and word[first] in marks:
                first += 1
            while last > first and word[last - 1] in marks:
                last -= 1
            words += [*word[:first], *([word[first:last]] if first < last else []), *word[last:]]
        words.append("\n")
    return words[:-1]  # behind the last end of a line there is no line


def words_are_the_engines():
    from tokenizers import Tokenizer
    told = ("It's (well-known): \"don't\" -- O'Neil's\t[2] & co.\n\n\u00c9T\u00c9 \u00e9t\u00e9 "
            "R&D ... 'tis x\u00a0y \\ \"\n")
    for number, text in enumerate((told * 3, corpus()[0], "a a a b b <unk> <unk> <unk> c")):
        source, out = os.path.join(folder, "learn.txt"), os.path.join(folder, "words.json")
        with open(source, "wb") as file:
            file.write(text.encode())
        done = subprocess.run([program, "--words", "3", source, out])
        counts = {}
        for word in engine_words(text):
            counts[word] = counts.get(word, 0) + 1
        known = ["<unk>"] + sorted((w for w, n in counts.items() if n >= 3 and w != "<unk>"), key=str.encode)
        ids = {word: i for i, word in enumerate(known)}
        learnt = json.load(open(out, encoding="utf-8"))["model"]["vocab"] if not done.returncode else {}
        check(learnt == ids, f"words of text {number}: {learnt} and not {ids}"[:500])
        package = Tokenizer.from_file(out)
        for some in (text, told + " never seen", "", "\n", " ", "a"):
            want = [ids.get(w, 0) for w in engine_words(some)]
            shown = " ".join(known[i] for i in want).encode()
            got = encoded(out, [some.encode()])[0]
            check(got == (want, shown), f"words of {some[:60]!r}: {got} and not {(want, shown)}"[:500])
            check(package.encode(some).ids == want and package.decode(want).encode() == shown,
                  f"words: the package reads {some[:60]!r} otherwise")


def broken_bytes_come_back():
    rng = random.Random(5)
    texts = [bytes(rng.randrange(256) for _ in range(rng.randint(1, 60))) for _ in range(200)]
    for name in ("gpt2", "llama3", "o200k", "llama2"):
        rows = encoded(os.path.join(folder, name + ".json"), texts)
        check(len(rows) == len(texts) and all(row[0] is not None for row in rows),
              f"{name} takes any bytes")
        shown = [t.decode(errors="replace") for t in texts]
        if name != "llama2":  # it puts a blank before the text
            check(all(row[1].decode() == want for row, want in zip(rows, shown)),
                  f"{name}: bytes come back, U+FFFD for what is no character")


def spoilt_files_are_refused():
    for name in ("gpt2", "qwen", "llama2", "small", "words"):
        done = subprocess.run([program, "--hostile", os.path.join(folder, name + ".json")],
                              capture_output=True, text=True)
        check(done.stdout == "ok\n", f"{name}: spoilt files: {done.returncode} {done.stderr[-500:]}")


def what_is_not_known_is_named():
    good = json.load(open(os.path.join(folder, "gpt2.json")))
    for where, what, name in (
            ("pre_tokenizer", {"type": "Whitespace"}, "Whitespace"),
            ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": r"\p{Han}"},
                               "behavior": "Isolated", "invert": False}, "property"),
            ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": "a+?"}, "behavior": "Isolated",
                               "invert": False}, "lazy"),
            ("normalizer", {"type": "StripAccents"}, "StripAccents"),
            ("decoder", {"type": "WordPiece", "prefix": "##", "cleanup": True}, "prefix"),
            ("decoder", None, "decoder"),
            ("post_processor", {"type": "BertProcessing"}, "BertProcessing"),
            ("model", dict(good["model"], type="Unigram"), "Unigram"),
            ("model", dict(good["model"], end_of_word_suffix="</w>"), "end_of_word_suffix"),
            ("model", dict(good["model"], merges=[["a", "nowhere"]]), "merge 0"),
            ("model", dict(good["model"], vocab={"a": 16000000}), "16000000")):
        path = os.path.join(folder, "odd.json")
        json.dump(dict(good, **{where: what}), open(path, "w"))
        done = subprocess.run([program, path], input=b"", capture_output=True, text=False)
        text = done.stderr.decode()
        check(done.returncode == 1 and name in text and text.count("\n") == 1,
              f"{where} {str(what)[:60]}: {text}")


def merges_are_the_packages():
    from tokenizers import Tokenizer, models, pre_tokenizers as pre, trainers
    texts = corpus()
    for number, text in enumerate((texts[0], texts[1], texts[3])):
        source, out = os.path.join(folder, "learn.txt"), os.path.join(folder, "learnt.json")
        open(source, "wb").write(text.encode())
        done = subprocess.run([program, "--learn", "1200", source, out])
        t = Tokenizer(models.BPE())
        t.pre_tokenizer = pre.ByteLevel(add_prefix_space=False)
        t.train_from_iterator([text], trainers.BpeTrainer(
            vocab_size=1200, show_progress=False, initial_alphabet=pre.ByteLevel.alphabet()))
        ours, theirs = json.load(open(out)), json.loads(t.to_str())
        for part in ("merges", "vocab"):
            check(done.returncode == 0 and ours["model"][part] == theirs["model"][part],
                  f"text {number}: {part} are the package's")
        loaded = Tokenizer.from_file(out)
        want = loaded.encode(text).ids
        check(encoded(out, [text.encode()])[0] == (want, text.encode()) and
              loaded.decode(want) == text, f"text {number}: the package reads what was learnt")


def a_long_word_takes_linear_time():
    out = subprocess.run([program, "--linear", os.path.join(folder, "gpt2.json")],
                         capture_output=True, text=True).stdout.split()
    check(len(out) == 2 and float(out[1]) < 20 * float(out[0]) + 0.2, f"8 times the word: {out}")


def learning_is_linear():
    """Time of its CPU and bytes held, of 20,000 distinct words and of twice as many."""
    out = subprocess.run([program, "--learning", "20000"], capture_output=True, text=True).stdout.split()
    check(len(out) == 4 and float(out[2]) < 2.3 * float(out[0]) + 0.02 and int(out[3]) < 2.3 * int(out[1]),
          f"twice the distinct words: {out}")


def main():
    global program, folder
    cc, flags = os.environ.get("CC", "cc"), os.environ.get("CFLAGS", "-O1 -w")
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "tokenize")
        done = subprocess.run([*shlex.split(cc), *shlex.split(flags), "-o", program,
                               os.path.join(ROOT, "tests", "tokenize.c"), "-lm", "-lpthread"],
                              capture_output=True, text=True)
        check(done.returncode == 0, done.stderr[:500])
        try:
            import tokenizers  # noqa: F401
        except ImportError:
            print("not run: subwords beside the tokenizers package (pip install tokenizers)")
        else:
            families_are_equal(float(sys.argv[1]) if len(sys.argv) > 1 else 0.05, sys.argv[2:])
            small_letters_are_the_packages()
            words_are_the_engines()
            broken_bytes_come_back()
            spoilt_files_are_refused()
            what_is_not_known_is_named()
            merges_are_the_packages()
            a_long_word_takes_linear_time()
            learning_is_linear()
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())

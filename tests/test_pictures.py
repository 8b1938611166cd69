#!/usr/bin/env python3
"""The pictures of the example programs, read as XML: that whatever numbers, names and paths come in,
each is well formed, small, complete and in a file of its own, and that marks stand where the numbers
on the axes say.

    python3 tests/test_pictures.py        (CC and CFLAGS choose the compiler; BIN: built programs)
"""
import json
import math
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unicodedata
import xml.etree.ElementTree as ET
import zlib

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HEAD = "step,train,val,lr,grad_norm,tokens,seconds\n"
passed = failed = 0
os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=0")  # programs leave their memory to the system


def check(ok, what):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print("FAILED:", what)
    return ok


# ---- programs and files --------------------------------------------------------------------------

def compiled(name, to, *flags):
    command = os.environ.get("CC", "cc").split() + os.environ.get("CFLAGS", "-O1").split() + list(flags)
    source = os.path.join(ROOT, "examples", name + ".c")
    done = subprocess.run(command + [source, "-o", to, "-lm", "-lpthread"], capture_output=True)
    return check(done.returncode == 0 and not done.stderr, name + " builds without a warning")


def build(*names):
    for name in names:
        compiled(name, os.path.join(bin_folder, name))


def run(name, *words):
    """Exit status, stdout, stderr as bytes; a program that does not end is killed and fails."""
    try:
        done = subprocess.run([os.path.join(bin_folder, name)] + list(words), capture_output=True,
                              timeout=60)
        return done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired:
        return None, b"", b""


def succeeds(name, *words):
    status, out, err = run(name, *words)
    check(status == 0, "%s %r succeeds: %r" % (name, words, err))
    return out


def refuses(pattern, name, *words):
    """One sentence on stderr, status 1, nothing drawn half."""
    status, _, err = run(name, *words)
    lines = err.decode("utf-8").splitlines()
    check(status == 1 and len(lines) == 1 and re.search(pattern, lines[0]),
          "%s is refused with %r: status %r, %r" % (name, pattern, status, err[:300]))


def write(path, text):
    with open(path, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def npy(path, rows):
    head = "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }" % (len(rows), len(rows[0]))
    data = b"".join(struct.pack("<%df" % len(row), *row) for row in rows)
    return write(path, b"\x93NUMPY\x01\x00v\x00" + (head.ljust(117) + "\n").encode() + data)


def safetensors(path, tensors):
    """{name: (shape, numbers)}"""
    head, data = {}, b""
    for name, (shape, numbers) in tensors.items():
        packed = struct.pack("<%df" % len(numbers), *numbers)
        head[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(packed)]}
        data += packed
    text = json.dumps(head).encode()
    return write(path, struct.pack("<Q", len(text)) + text + data)


def edited(path, to, change):
    """A copy of a model whose tensors change(name, numbers) may change; its checksum goes."""
    with open(path, "rb") as file:
        raw = file.read()
    length = struct.unpack("<Q", raw[:8])[0]
    head, data = json.loads(raw[8:8 + length]), bytearray(raw[8 + length:])
    for key in [k for k in head["__metadata__"] if "checksum" in k]:
        del head["__metadata__"][key]
    for name, info in head.items():
        if name != "__metadata__" and info["dtype"] == "F32":
            begin, end = info["data_offsets"]
            numbers = list(struct.unpack("<%df" % ((end - begin) // 4), data[begin:end]))
            data[begin:end] = struct.pack("<%df" % len(numbers), *(change(name, numbers) or numbers))
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    return write(to, struct.pack("<Q", len(text)) + text + bytes(data))


# ---- a picture -----------------------------------------------------------------------------------

class Picture:
    """Whatever a picture shows: rectangles, lines, discs, texts, each with its numbers."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.text = file.read()
        self.path, self.root = path, None
        check(len(self.text) < 4 << 20, path + " is of a decent size")
        try:
            self.root = ET.fromstring(self.text)
        except ET.ParseError as error:
            check(False, "%s is XML: %s" % (path, error))
            return
        self.elements = list(self.root.iter())
        self.width, self.height = float(self.root.get("width")), float(self.root.get("height"))
        self.inside()

    def all(self, tag):
        return [e for e in self.elements if e.tag.endswith("}" + tag)]

    def texts(self):
        return [t.text or "" for t in self.all("text")]

    def whole_texts(self):
        """With what an ellipsis stands for."""
        return [t[0].text if len(t) else t.text or "" for t in self.all("text")]

    def text_at(self, text):
        """x, y of the one text that reads like this, NaN if there is none."""
        found = [t for t in self.all("text") if t.text == text]
        if not found:
            check(False, "%s shows %r among %r" % (self.path, text, self.texts()))
            return math.nan, math.nan
        return float(found[0].get("x")), float(found[0].get("y"))

    def inside(self):
        """All marks are finite and within the picture, and so are the texts."""
        for e in self.elements:
            numbers = [e.get(k) for k in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r") if e.get(k)]
            numbers += re.findall(r"[^\sML,]+", (e.get("d") or "") + (e.get("points") or ""))
            values = [float(n) for n in numbers]
            if not all(-1 <= v <= max(self.width, self.height) + 1 for v in values):
                check(False, "%s: %s %s stands outside" % (self.path, e.tag, e.attrib))
        for e in self.all("text"):
            if e.get("transform"):
                continue
            wide = sum(1.0 if unicodedata.east_asian_width(c) in "WF" else 0.56 for c in e.text or "")
            wide *= float(e.get("font-size"))
            begin = float(e.get("x")) - {"start": 0, "middle": wide / 2, "end": wide}[e.get("text-anchor")]
            check(begin > -2 and begin + wide < self.width + 2,
                  "%s: %r fits into the picture" % (self.path, e.text))

    def ticks(self, side):
        """[(value, place)] of the numbers below ('x') or left ('y') of the frame."""
        units = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
        found = []
        for t in self.all("text"):
            below = t.get("text-anchor") == "middle" and t.get("font-size") == "13.0"
            left = t.get("text-anchor") == "end" and t.get("font-size") == "13.0"
            match = re.fullmatch(r"(-?[\d.]+(?:e-?\d+)?)([kMGT]?)", t.text or "")
            if match and (below if side == "x" else left):
                value = float(match[1]) * units.get(match[2], 1)
                found.append((value, float(t.get("x")) if side == "x" else float(t.get("y")) - 4))
        return sorted(found)

    def place(self, side, value, log=False):
        """Where the numbers of an axis say that a value stands."""
        ticks = self.ticks(side)
        (a, at_a), (b, at_b) = ticks[0], ticks[-1]
        share = math.log(value / a) / math.log(b / a) if log else (value - a) / (b - a)
        return at_a + share * (at_b - at_a)

    def curves(self):
        """Points of each curve, without its first move."""
        found = []
        for e in self.all("path"):
            numbers = [float(n) for n in re.findall(r"[^\sML]+", e.get("d"))][2:]
            found.append(list(zip(numbers[::2], numbers[1::2])))
        return found

    def discs(self):
        return [(float(e.get("cx")), float(e.get("cy")), float(e.get("r")), e.get("fill"))
                for e in self.all("circle")]


def near(a, b, tolerance=0.02):
    """Places are printed to 0.01, and read through two of them."""
    return abs(a - b) <= tolerance


def words_differ(picture, side):
    words = [v for v, _ in picture.ticks(side)]
    check(len(words) >= 2 and len(set(words)) == len(words),
          "%s: numbers of the %s axis differ: %r" % (picture.path, side, words))


# ---- plot ----------------------------------------------------------------------------------------

def shown_of(text):
    """As programs show controls."""
    return re.sub("[\x00-\x1f]", lambda c: "\\x%02x" % ord(c[0]), text)


def log_of(rows, name="c.csv"):
    return write(name, HEAD + "".join("%s,%s,%s,1,1,1,1\n" % row for row in rows))


def any_numbers_end_in_a_small_picture():
    for what, rows in {
        "nearly equal": [(1, "1e17", ""), (2, "1.00000000000000032e17", "")],
        "infinite": [(1, "inf", ""), (2, "2", "-inf"), (3, "1", "inf")],
        "all infinite": [(1, "inf", "inf"), (2, "inf", "inf")],
        "nan": [(1, "nan", ""), (2, "2", "nan"), (3, "1", "1")],
        "nothing but nan": [(1, "nan", "nan"), (2, "nan", "")],
        "one value": [(7, "2.5", "")],
        "equal values": [(1, "2.5", "2.5"), (2, "2.5", "2.5")],
        "zero": [(0, "0", "0")],
        "negative zero": [(-1, "-0.0", "-0"), (1, "-0.0", "0")],
        "empty training": [(1, "", "2"), (2, "", "1")],
        "empty columns": [(1, "", ""), (2, "", "")],
        "large": [(1, "1e308", ""), (2, "-1e308", "1.7e308"), (3, "0", "-1.7e308")],
        "beyond": [(1, "1e999", ""), (2, "1", "-1e999")],
        "small": [(1, "5e-324", "1e-320"), (2, "1e-310", "")],
        "far steps": [("1e15", "2", ""), ("1000000000000010", "1", "")],
        "large steps": [("-1e308", "2", ""), ("1e308", "1", "")],
    }.items():
        status, _, err = run("plot", "o", log_of(rows))
        if check(status == 0, "%s: plot ends: %r %r" % (what, status, err)):
            picture = Picture("o.svg")
            words_differ(picture, "x")
            words_differ(picture, "y")
            check("-0" not in picture.texts(), what + ": no negative zero")


def losses_stand_at_their_numbers():
    log_of([(10, 4, ""), (20, 3, 5), (30, 1, 1.5)])
    succeeds("plot", "o", "c.csv")
    picture = Picture("o.svg")
    train, val = picture.curves()
    for (step, loss), (x, y) in zip([(10, 4), (20, 3), (30, 1)], train):
        check(near(x, picture.place("x", step)) and near(y, picture.place("y", loss)),
              "a loss of %g at step %g stands there: %g, %g" % (loss, step, x, y))
    marks = [d for d in picture.discs() if d[2] > 3]
    check(near(val[0][1], picture.place("y", 5)), "a validation loss above all training losses too")
    check(any(near(d[0], picture.place("x", 20)) and near(d[1], picture.place("y", 5)) for d in marks),
          "and its mark")


def a_gap_is_no_line():
    log_of([(1, 4, ""), (2, "nan", ""), (3, 2, ""), (4, 1, "")])
    succeeds("plot", "o", "c.csv")
    path = Picture("o.svg").all("path")[0].get("d")
    check(path.count("M") == 3 and path.count("L") == 1, "a loss that is not finite leaves a gap: " + path)


def marks_of_editors_change_nothing():
    text = HEAD + "1,4,,1,1,1,1\n2,3,2.5,1,1,1,1\n3,1,,1,1,1,1\n"
    succeeds("plot", "plain", write("c.csv", text))
    with open("plain.svg", "rb") as file:
        plain = file.read()
    for what, other in {"a byte-order mark": "\ufeff" + text, "CR LF": text.replace("\n", "\r\n"),
                        "no last end of line": text[:-1], "blank lines at the end": text + "\n\r\n"}.items():
        succeeds("plot", "o", write("c.csv", other))
        with open("o.svg", "rb") as file:
            check(file.read() == plain, what + " draws the same")


def a_wrong_row_is_named_by_its_line():
    good = "1,4,,1,1,1,1\n"
    for what, rows, pattern in [
        ("short", good + "2,3\n3,1,,1,1,1,1\n", r"^plot: c.csv: line 3 has 2 fields: expected 7"),
        ("short, the last one", good + "2,3\n", r"line 3 has 2 fields: expected 7"),
        ("glued", good + "2,3,,1,13,2,,1,1,1,1\n", r"line 3 has 11 fields: expected 7"),
        ("behind a blank line", good + "\n2,3\n9,1,,1,1,1,1\n", r"line 4 has 2 fields"),
        ("a word", good + "2,three,,1,1,1,1\n", r'line 3: train is "three": expected a number'),
        ("half a number", good + "2,3,1.5x,1,1,1,1\n", r'line 3: val is "1.5x"'),
        ("no step", good + ",3,,1,1,1,1\n", r"line 3: its step is missing"),
        ("backwards", good + "9,3,,1,1,1,1\n5,3,,1,1,1,1\n", r"line 4: step 5 comes after step 9"),
        ("twice", good + good, r"line 3: step 1 comes after step 1"),
        ("controls", good + "2,\x1b[31m,,1,1,1,1\n", r'line 3: train is "\\x1b\[31m"'),
    ]:
        refuses(pattern, "plot", "o", write("c.csv", HEAD + rows))
        refuses(pattern, "plot", "o", write("c.csv", "\ufeff" + (HEAD + rows).replace("\n", "\r\n")))
    refuses(r"c.csv: it has no rows", "plot", "o", write("c.csv", HEAD))
    refuses(r"c.csv: it does not begin with step,train,val", "plot", "o", write("c.csv", "a,b\n"))
    status, _, err = run("plot", "o", write("c.csv", HEAD + good + "2,3,,1,1,1,1\n3,1"))
    check(status == 0 and err == b"plot: c.csv: line 4 is cut off and left out\n",
          "a run that goes on, or was killed, loses the row under way and says so: %r" % err)


def names_of_logs_are_text():
    for name in ["\u00fc" * 31, "a<b>&\"'.csv", "x" * 200, "\u540c\u4e49" * 30, "e\x1b[31m\x01.csv", "]]>"]:
        log_of([(1, 4, ""), (2, 3, 2)], name)
        succeeds("plot", "o", name)
        picture = Picture("o.svg")
        legend = picture.whole_texts()
        shown = shown_of(name)
        check(shown in legend, "the legend holds %r" % shown)
        check(any(t == shown or t.endswith("\u2026") for t in picture.texts()), "whole, or with an ellipsis")
    broken = b"broken-\xff\xc3.csv"
    os.rename("]]>", broken)
    succeeds("plot", "o", broken)
    check("broken-\\xff\\xc3.csv" in Picture("o.svg").texts(), "broken UTF-8 is shown as such")
    for folder in "ab":
        os.mkdir(folder)
        log_of([(1, 4, ""), (2, 3, 2)], folder + "/log.csv")
    succeeds("plot", "o", "a/log.csv", "b/log.csv")
    check({"a/log.csv", "b/log.csv"} <= set(Picture("o.svg").texts()), "logs of one name are told apart")


def long_names_are_told_apart_by_their_ends():
    names = ["a-long-name-that-says-nothing-of-run-%d-with-lr-0.%d.csv" % (i, i) for i in (1, 2, 3)]
    for name in names:
        log_of([(1, 4, ""), (2, 3, 2)], name)
    succeeds("plot", "o", *names)
    picture = Picture("o.svg")
    for i in (1, 2, 3):
        check("\u2026%d-with-lr-0.%d.csv" % (i, i) in picture.texts(), "what all begin with is left out")
    check(set(names) < set(picture.whole_texts()), "and shows under the pointer")
    matrix = [float(i == j) for i in range(9) for j in range(9)]
    weights = ["model.decoder.layers.0.self_attention.with_a_long_name.%s.weight" % w for w in ("query", "key")]
    safetensors("w.safetensors", {name: ([9, 9], matrix) for name in weights})
    succeeds("inspect", "--weights", "w.safetensors", "--plots", "w")
    check({"\u2026query.weight", "\u2026key.weight"} <= set(Picture("w-singular.svg").texts()), "matrices too")


def what_is_not_finite_is_counted():
    for rows, notes in [([(1, "inf", "nan"), (2, "nan", "")], {"not finite, left out: 3", "no loss is finite"}),
                        ([(1, "2", ""), (2, "-inf", "1")], {"not finite, left out: 1"}), ([(1, "2", "")], set())]:
        succeeds("plot", "o", log_of(rows))
        said = {t for t in Picture("o.svg").texts() if "finite" in t}
        check(said == notes, "%r: the legend says %r" % (rows, said))


def nothing_lies_on_an_edge_or_is_too_small_to_see():
    succeeds("plot", "o", log_of([(7, "2.5", "2.6")]))
    picture = Picture("o.svg")
    discs = {(d[0], d[1]): d[2] for d in picture.discs()}
    place = {v: (round(picture.place("x", 7), 2), round(picture.place("y", v), 2)) for v in (2.5, 2.6)}
    check(any(near(x, place[2.5][0]) and near(y, place[2.5][1]) and r > 2 for (x, y), r in discs.items()),
          "one loss alone is a disc: %r, wanted %r" % (discs, place[2.5]))
    top, bottom = (min(float(e.get(k)) for e in picture.all("line") for k in ("y1", "y2")),
                   max(float(e.get(k)) for e in picture.all("line") for k in ("y1", "y2")))
    check(top + 5 < place[2.6][1] < place[2.5][1] < bottom - 5, "with a margin: %r" % [top, place, bottom])


def numbers_are_as_short_as_they_can_be():
    for rows, side, wanted in [([(1, "1000050", ""), (2, "1000051.5", "")], "y", "1000051.0"),
                               ([(1000000, "1", ""), (1000001, "2", "")], "x", "1000001"),
                               ([(1, "1", ""), (2, "1", "")], "x", "2"),
                               ([(20000, "1", ""), (40000, "2", "")], "x", "30k"),
                               ([("0.1", "1", ""), ("0.9", "2", "")], "x", "0.6")]:
        succeeds("plot", "o", log_of(rows))
        picture = Picture("o.svg")
        check(wanted in picture.texts(), "%r: a tick %s among %r" % (rows, wanted, picture.texts()))
        words_differ(picture, side)
        if rows[0][0] == 1:
            check([v for v, _ in picture.ticks("x")] == [1, 2], "there is no step between 1 and 2")


def long_logs_are_thinned():
    log_of([(i, 3, 2) for i in range(1, 20001)])
    succeeds("plot", "o", "c.csv")
    picture = Picture("o.svg")
    train, val = picture.curves()
    check(len(train) <= 401 and len(val) <= 401 and len(picture.all("circle")) < 410, "20,000 rows")
    check(near(train[-1][0], picture.place("x", 20000)), "the last row is drawn")


def pixels_of(path):
    """Rows of a PNG of 8 bits a channel, RGB, each a list of colours (PNG 1.2, section 6)."""
    with open(path, "rb") as file:
        raw = file.read()
    at, data = 8, b""
    while at < len(raw):
        size, kind = struct.unpack(">I4s", raw[at:at + 8])
        chunk = raw[at + 8:at + 8 + size]
        data += chunk if kind == b"IDAT" else b""
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", chunk[:10])
        at += 12 + size
    check((depth, colour) == (8, 2), path + " is RGB")
    data, rows, above = zlib.decompress(data), [], bytearray(3 * width)
    for y in range(height):
        line = bytearray(data[y * (3 * width + 1):(y + 1) * (3 * width + 1)])
        kind, line = line[0], line[1:]
        for i in range(len(line)):
            left, up, corner = (line[i - 3], above[i], above[i - 3]) if i > 2 else (0, above[i], 0)
            near_of = sorted((left, up, corner), key=lambda v: abs(left + up - corner - v))[0]
            line[i] = (line[i] + (0, left, up, (left + up) // 2, near_of)[kind]) & 255
        rows.append(["#%02x%02x%02x" % tuple(line[3 * x:3 * x + 3]) for x in range(width)])
        above = line
    return rows


def a_png_shows_what_the_svg_shows():
    source = "#include <stb/stb_image_write.h>\n#include <stb/stb_easy_font.h>\n"
    done = subprocess.run(os.environ.get("CC", "cc").split() + ["-E", "-", "-o", os.devnull],
                          input=source.encode(), capture_output=True)
    if done.returncode:
        print("not run: PNG pictures (no stb_image_write.h and stb_easy_font.h: libstb-dev)")
        return
    compiled("plot", os.path.join(bin_folder, "plot_png"), "-DWAVECOH_PNG")
    log_of([(10, 4, 4.5), (20, 3, 3.5), (30, 1, 1.5)])
    succeeds("plot_png", "o", "c.csv")
    picture, rows = Picture("o.svg"), pixels_of("o.png")
    check((len(rows[0]), len(rows)) == (picture.width, picture.height), "the PNG is as large as the SVG")
    for x, y, r, colour in picture.discs():
        check(r < 2 or rows[int(y)][int(x)] == colour, "a disc at %g, %g is there: %s" % (x, y, rows[int(y)][int(x)]))
    x, y = picture.text_at("step")
    ink = sum(rows[j][i] != "#ffffff" for j in range(int(y) - 12, int(y) + 4) for i in range(int(x) - 30, int(x) + 30))
    check(ink > 40 and rows[2][2] == "#ffffff", "texts are written, and nothing else: %d" % ink)


# ---- embed_report --------------------------------------------------------------------------------

def wave(n, frequency, phase, amplitude=1.0):
    return [amplitude * math.cos(2 * math.pi * frequency * i / n + phase) for i in range(n)]


def noise(rows, n):
    state, found = 1, []
    for _ in range(rows * n):
        state = (state * 1103515245 + 12345) % (1 << 31)
        found.append(state / (1 << 30) - 1)
    return [found[i * n:(i + 1) * n] for i in range(rows)]


def pictures_of(prefix):
    return sorted(f for f in os.listdir(".") if f.startswith(prefix + "-"))


def every_group_has_a_picture_of_its_own():
    groups = ["\u540c\u4e49", "\u53cd\u4e49", "\u00fc", "\u00f6", "pairs", "PAIRS", "pairs-2", "spectrum",
              "wheel", "a/b", "a_b", "a b".replace(" ", "%20"), "A/B", ".", "..", "x" * 300, "x" * 299 + "y",
              "\u00fc" * 31, "<b>&\"'", "a\x1b[31m"]
    write("p", "".join("%s 0 %d\n" % (g, i % 7 + 1) for i, g in enumerate(groups)))
    npy("n.npy", noise(8, 16))
    succeeds("embed_report", "n.npy", "--draws", "4", "--pairs", "p", "--plots", "o")
    files = pictures_of("o")
    check(len(files) == len(groups) + 3, "%d pictures for %d groups: %r" % (len(files), len(groups), files))
    lower = [f.lower() for f in files]
    check(len(set(lower)) == len(lower), "also where the case of a letter does not count")
    titles = [Picture(f).texts()[0] for f in files]
    for group in groups:
        begin, cut = "Band coherence: " + shown_of(group), "\u2026, 1 pair, mean cosine "
        whole = [t for t in titles if t.startswith(begin + ", 1 pair, mean cosine ")]
        short = [t for t in titles if cut in t and begin.startswith(t.split(cut)[0])]
        check(len(whole) == 1 or short, "a title with the name, or its beginning and all numbers: %r" % group)
    check(not any(t.endswith("\u2026") for t in titles), "no number is cut: %r" % titles)
    out = succeeds("embed_report", "n.npy", "--draws", "4", "--pairs", "p", "--json")
    check([g["name"] for g in json.loads(out.decode("utf-8"))["groups"]] == groups, "the JSON has their names")


def two_names_of_one_file_are_not_written_twice():
    npy("n.npy", noise(8, 16))
    write("p", "near 0 1\nfar 2 3\n")
    os.symlink("l-near.svg", "l-far.svg")
    succeeds("embed_report", "n.npy", "--draws", "4", "--pairs", "p", "--plots", "l")
    check("l-far-2.svg" in pictures_of("l"), "a link to a picture of this run is seen: %r" % pictures_of("l"))
    titles = [Picture("l-%s.svg" % name).texts()[0] for name in ("near", "far-2")]
    check("near" in titles[0] and "far" in titles[1], "each picture is in its file: %r" % titles)
    write("h-near.svg", "before")
    os.link("h-near.svg", "h-far.svg")
    succeeds("embed_report", "n.npy", "--draws", "4", "--pairs", "p", "--plots", "h")
    titles = [Picture("h-%s.svg" % name).texts()[0] for name in ("near", "far")]
    check("near" in titles[0] and "far" in titles[1], "two names of one old file become two files: %r" % titles)


def a_picture_takes_the_place_of_an_old_one_whole():
    write("c.csv", HEAD + "1,4,,1,1,1,1\n")
    os.mkdir("elsewhere")
    write("elsewhere/old.svg", "old")
    os.chmod("elsewhere/old.svg", 0o640)
    os.symlink("elsewhere/old.svg", "led.svg")
    succeeds("plot", "led", "c.csv")
    check(os.path.islink("led.svg") and Picture("elsewhere/old.svg").texts(), "a link is followed, and stays")
    check(os.stat("elsewhere/old.svg").st_mode & 0o777 == 0o640, "permissions stay")
    check(os.listdir("elsewhere") == ["old.svg"], "nothing is left beside it: %r" % os.listdir("elsewhere"))


def texts_of_files_are_data():
    npy("n.npy", noise(8, 16))
    names = ["a<b", "c&d\"'", "\u00fc" * 31, "\x1b[31mred", "\u540c\u4e49", "]]>", "x" * 500, "last"]
    write("names", b"\n".join(n.encode() for n in names[:-1]) + b"\nbroken\xff\xc3\n")
    write("p", b"g\xff<& 0 1\ng\xff<& 2 3\nh 4 5\nh 6 7\n")
    out = succeeds("embed_report", "n.npy", "--names", "names", "--draws", "4", "--pairs", "p", "--list",
                   "--plots", "t")
    check(b"\x1b" not in out, "no escape sequence reaches the terminal")
    check(out.decode("utf-8"), "what is printed is UTF-8")
    for file in pictures_of("t"):
        Picture(file)
    texts = Picture("t-pairs.svg").texts()
    check("a<b \u2013 c&d\"'" in texts and "\u540c\u4e49 \u2013 ]]>" in texts, "pairs are named: %r" % texts)
    check("broken\\xff\\xc3" in " ".join(Picture("t-pairs.svg").whole_texts()), "broken UTF-8 is shown as such")
    check("Phase wheel of vector \"a<b\"" in Picture("t-wheel.svg").texts(), "the wheel names its vector")
    out = succeeds("embed_report", "n.npy", "--draws", "4", "--pairs", "p", "--json")
    check(json.loads(out.decode("utf-8"))["groups"][0]["name"] == "g\ufffd<&", "the JSON parses")


def pairs_say_what_is_drawn():
    npy("n.npy", noise(60, 16))
    write("p", "".join("large %d %d\n" % (i % 60, (i + 1 + i // 60) % 60) for i in range(100)) +
          "".join("small %d %d\n" % (i, i + 9) for i in range(4)))
    succeeds("embed_report", "n.npy", "--draws", "4", "--pairs", "p", "--plots", "s")
    picture = Picture("s-pairs.svg")
    texts = picture.texts()
    check(texts[0].endswith("64 of 104 pairs"), "the title says how many of how many: " + texts[0])
    check("60 of 100" in texts and "4 of 4" in texts, "and so does each group")
    rows = [float(t.get("y")) for t in picture.all("text") if " \u2013 " in (t.text or "")]
    check(len(rows) == 64, "each row has its pair: %d" % len(rows))
    slot = rows[1] - rows[0]
    borders = [float(e.get("y1")) for e in picture.all("line") if e.get("y1") == e.get("y2") and
               float(e.get("x2")) - float(e.get("x1")) > 300]
    check(any(near(b, (rows[59] + rows[60]) / 2 - 4) for b in borders), "a border between the groups")
    check(slot > 11, "rows are as high as their text: %g" % slot)
    write("p", "one 0 1\n")
    succeeds("embed_report", "n.npy", "--draws", "4", "--pairs", "p", "--plots", "s")
    texts = Picture("s-pairs.svg").texts()
    check(any("4 deviations and more" in t for t in texts) and not any("\u2026" in t for t in texts),
          "one pair has room for all texts: %r" % texts)
    picture = Picture("s-one.svg")
    boxes = [e for e in picture.all("rect") if e.get("fill") == "#cfd4da" and float(e.get("height")) > 12]
    top, bottom = picture.place("y", 1), picture.place("y", -1)
    check(len(boxes) == 8 and all(top - 1 < float(e.get("y")) and float(e.get("y")) + float(e.get("height"))
                                  < bottom + 1 for e in boxes), "the null of a cosine stays within -1 .. 1")
    write("names", "".join("a word of this number %d\n" % i for i in range(60)))
    succeeds("embed_report", "n.npy", "--names", "names", "--draws", "4", "--pairs", "p", "--plots", "s")
    check("a word of this number 0 \u2013 a word of this number 1" in Picture("s-pairs.svg").texts(),
          "words of 23 letters are shown whole")


def a_wheel_has_its_scale():
    npy("w.npy", [wave(32, 3, 1.0, 2.0), wave(32, 5, 0.2)])
    write("names", "first\nsecond\n")
    succeeds("embed_report", "w.npy", "--names", "names", "--draws", "4", "--plots", "w")
    picture = Picture("w-wheel.svg")
    spokes = [d for d in picture.discs() if d[2] == 3.0 and d[3] != "none"]
    x, y, _, _ = max(spokes, key=lambda d: math.hypot(d[0] - 300, d[1] - 310))
    check(near(math.atan2(310 - y, x - 300), 1.0, 1e-3), "bin 3 stands at its phase, 1 rad")
    circles = [e for e in picture.all("circle") if e.get("fill") == "none"]
    numbers = [t.text for t in picture.all("text") if t.get("font-size") == "11.0"]
    check(numbers[:3] == ["10", "20", "30"] and numbers[3] == "3", "amplitudes, and the bin: %r" % numbers)
    radius = [float(c.get("r")) for c in circles][1]  # of the circle 20
    check(near(math.hypot(x - 300, y - 310) * 20 / radius, 32, 0.05), "a wave of 2 over 32 has |X| = 32")
    check("bin 3: 32 at 57\u00b0" in picture.texts(), "the strongest in numbers (1 rad is 57 degrees)")
    check("Phase wheel of vector \"first\"" in picture.texts(), "the vector's name")


def a_spectrum_has_its_null():
    npy("w.npy", [wave(32, 3, 1.0, 2.0), wave(32, 3, 0.2, 2.0)])
    succeeds("embed_report", "w.npy", "--draws", "4", "--plots", "w")
    picture = Picture("w-spectrum.svg")
    peak = min(picture.curves()[0], key=lambda p: p[1])
    check(near(peak[0], picture.place("x", 3)) and near(peak[1], picture.place("y", 32, True), 0.05),
          "two waves of 2 have |X|^2 / n = 32 in bin 3: %r" % (peak,))
    null = [float(e.get("y1")) for e in picture.all("line")
            if e.get("stroke-dasharray") and float(e.get("x2")) - float(e.get("x1")) > 300]
    check(len(null) == 1 and near(null[0], picture.place("y", 2, True), 0.05), "and a null of |x|^2 / n = 2")
    check("null, 95 %" in picture.texts(), "with its interval")
    check("left out: 16 bins" in picture.texts(), "bins without power are not drawn as some")
    check(len(picture.curves()[0]) == 1 and any(near(d[0], peak[0]) and d[2] > 2 for d in picture.discs()),
          "the one with all of it is a disc")
    npy("w.npy", [[0.0] * 8, [0.0] * 8])
    succeeds("embed_report", "w.npy", "--draws", "4", "--plots", "w")
    check("all amplitudes are 0" in Picture("w-wheel.svg").texts(), "vectors of nothing are said to be that")


def the_null_of_a_spectrum_holds_95_of_100():
    """4000 bins of vectors with directions at random (normal by Box and Muller): the share inside is
    0.95 within 4 standard deviations of a count, and the 0.01 that the gamma form is off."""
    inside = count = 0
    numbers = [(x + 1) / 2 for row in noise(40, 2 * 800) for x in row]
    for vector in range(20):
        at = numbers[vector * 3200 // 2:(vector * 3200 // 2) + 800]
        normal = [math.sqrt(-2 * math.log(at[i] + 1e-12)) * math.cos(2 * math.pi * at[i + 400])
                  for i in range(400)]
        npy("w.npy", [normal, [0.0] * 399 + [1e-6]])
        succeeds("embed_report", "w.npy", "--draws", "2", "--plots", "w")
        picture = Picture("w-spectrum.svg")
        band = [float(n) for n in re.findall(r"[\d.]+", picture.all("polygon")[0].get("points"))]
        places = list(zip(band[::2], band[1::2]))
        high, low = places[:201], places[201:][::-1]
        for (_, y), (_, top), (_, bottom) in list(zip(picture.curves()[0], high, low))[1:200]:
            inside += top <= y <= bottom
            count += 1
    share = inside / count
    check(abs(share - 0.95) < 4 * math.sqrt(0.95 * 0.05 / count) + 0.01, "%.4f of %d" % (share, count))


# ---- inspect -------------------------------------------------------------------------------------

def maps_of(path, *maps):
    t = len(maps[0])
    safetensors(path, {"maps": ([1, len(maps), t, t], [w for m in maps for row in m for w in row])})
    return path


def one_hot(t, place):
    """Query q listens to place(q) alone."""
    return [[float(k == place(q)) for k in range(t)] for q in range(t)]


def even(t):
    return [[1 / (q + 1) if k <= q else 0.0 for k in range(t)] for q in range(t)]


def cells(picture):
    """{(x, y): colour} of the map's cells: those left of its scale."""
    groups = [g for g in picture.all("g")]
    return {(float(e.get("x")), float(e.get("y"))): e.get("fill") for e in groups[0]}


def the_most_telling_head_is_drawn():
    t = 12
    itself, sink, half = one_hot(t, lambda q: q), one_hot(t, lambda q: 0), one_hot(t, lambda q: (q + 1) // 2)
    blurred = [[0.6 * a + 0.4 * b for a, b in zip(x, y)] for x, y in zip(half, even(t))]
    for what, maps, wanted in [("sharpest: itself", (itself, even(t), blurred), 2),
                               ("sharpest: the sink", (blurred, sink, even(t)), 0),
                               ("sharper elsewhere", (blurred, half, itself), 1),
                               ("sharpest: the one before", (one_hot(t, lambda q: max(q - 1, 0)), blurred, itself), 1),
                               ("all alike", (itself, sink, even(t)), 0)]:
        succeeds("inspect", "--maps", maps_of("maps.safetensors", *maps), "--plots", "m")
        title = Picture("m-map-layer0.svg").texts()[0]
        check(title == "Attention of layer 0, head %d of 3" % wanted, "%s: %s" % (what, title))

def told_by(map_, causal):
    """Nats a query between a map and the nearest that looks at distances alone, key 0 left out: cells
    of query q at key k become a[q] b[q - k] whose sums over queries and over distances are the map's."""
    t = len(map_)
    cells_of = {(q, k): map_[q][k] for q in range(t) for k in range(1, q + 1 if causal else t) if map_[q][k]}
    a, b = [1.0] * t, {q - k: 1.0 for q in range(t) for k in range(1, q + 1 if causal else t)}
    places = [(q, k) for q in range(t) for k in range(1, q + 1 if causal else t)]
    for _ in range(500):
        for factors, key_of, other in ((a, lambda q, k: q, lambda q, k: b[q - k]),
                                       (b, lambda q, k: q - k, lambda q, k: a[q])):
            have, want = {}, {}
            for q, k in places:
                have[key_of(q, k)] = have.get(key_of(q, k), 0.0) + other(q, k)
                want[key_of(q, k)] = want.get(key_of(q, k), 0.0) + map_[q][k]
            for key in have:
                factors[key] = want[key] / have[key] if want[key] else 0.0
    return sum(w * math.log(w / (a[q] * b[q - k])) for (q, k), w in cells_of.items()) / (t - 2 if causal else t)


def what_a_head_tells_is_beyond_distance():
    t = 12
    shift = [[0.8 if k == max(q - 2, 0) else 0.2 if k == q else 0.0 for k in range(t)] for q in range(t)]
    shift[0] = [1.0] + [0.0] * (t - 1)
    decay = [[0.7 ** (q - k) if k <= q else 0.0 for k in range(t)] for q in range(t)]
    copy = [[0.9 if k == (5 * q) % (q + 1) else 0.1 / (q + 1) if k <= q else 0.0 for k in range(t)] for q in range(t)]
    around = [[math.exp(-abs(q - k + 1) / 2) for k in range(t)] for q in range(t)]  # an encoder's
    mixed = [[1.0 + (7 * q + 3 * k * k) % 5 for k in range(t)] for q in range(t)]  # and one that tells
    for what, map_, causal, silent in [("a fixed distance", shift, True, True), ("decay", decay, True, True),
                                       ("the text", copy, True, False), ("itself", one_hot(t, lambda q: q), True, True),
                                       ("distance, both sides", around, False, True),
                                       ("the text, both sides", mixed, False, False)]:
        map_ = [[w / sum(row) for w in row] for row in map_]
        succeeds("inspect", "--maps", maps_of("maps.safetensors", map_), "--plots", "m")
        line = [x for x in Picture("m-map-layer0.svg").texts() if " nats a query beyond what distance" in x]
        said = float(re.search(r"([\d.]+) nats", line[0])[1]) if line else math.nan
        right = told_by(map_, causal)
        check(abs(said - right) < 0.006, "%s: %g nats, right are %g" % (what, said, right))  # two digits
        check((right < 1e-3) == silent, "%s tells %g" % (what, right))
    both = [[0.5, 0, 0.5, 0], [0.5, 0, 0.5, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    succeeds("inspect", "--maps", maps_of("maps.safetensors", both), "--plots", "m")
    check(len(cells(Picture("m-map-layer0.svg"))) == 16, "a map that looks ahead is drawn whole")


def the_scale_of_a_map_holds_what_is_drawn():
    t = 10
    ramp = [[0.5 if k == 0 else 0.5 / q if k <= q else 0.0 for k in range(t)] for q in range(t)]
    succeeds("inspect", "--maps", maps_of("maps.safetensors", ramp), "--plots", "m")
    picture = Picture("m-map-layer0.svg")
    drawn = cells(picture)
    check(len(drawn) == t * (t + 1) // 2, "a causal map is a triangle: %d" % len(drawn))
    bar = [(float(e.get("y")) + float(e.get("height")) / 2, e.get("fill")) for e in picture.all("g")[1]]
    scale = sorted((float(x.text), float(x.get("y")) - 4) for x in picture.all("text")
                   if x.get("text-anchor") == "start" and re.fullmatch(r"[\d.]+", x.text or ""))
    (a, at_a), (b, at_b) = scale[0], scale[-1]
    for key, weight in [(0, 0.5), (3, 0.5 / 9)]:
        y = at_a + math.log(weight / a) / math.log(b / a) * (at_b - at_a)
        colour = min(bar, key=lambda c: abs(c[0] - y))[1]
        cell = drawn[sorted(p for p in drawn if p[1] == max(q[1] for q in drawn))[key]]
        far = max(abs(int(colour[i:i + 2], 16) - int(cell[i:i + 2], 16)) for i in (1, 3, 5))
        check(far <= 8, "a weight of %g has its colour (64 steps): %s, %s" % (weight, colour, cell))
    check(bar[-1][1] == drawn[min(drawn)] and bar[-1][1] == "#fde725", "the largest, on key 0, ends the scale")


def large_maps_are_drawn_in_blocks():
    succeeds("inspect", "--maps", maps_of("maps.safetensors", even(600)), "--plots", "b")
    picture = Picture("b-map-layer0.svg")
    check(len(cells(picture)) == 200 * 201 // 2, "600 tokens: %d cells" % len(cells(picture)))
    check("a cell shows the strongest of 3 x 3" in picture.texts(), "which is said")


def many_layers_are_counted():
    safetensors("deep.safetensors", {"maps": ([70, 1, 2, 2], [1.0, 0.0, 0.5, 0.5] * 70)})
    status, _, err = run("inspect", "--maps", "deep.safetensors", "--plots", "deep")
    check(status == 0 and err == b"inspect: maps of the first 64 of 70 layers are drawn\n", "it is said: %r" % err)
    check(len(pictures_of("deep")) == 65, "64 maps and the entropies")
    check("69" not in Picture("deep-entropy.svg").texts() and "60" in Picture("deep-entropy.svg").texts(),
          "rows are numbered where there is room")


def model():
    text = write("text", "".join("wave %d of the calm sea, and then?\n" % (i * 7919 % 263) for i in range(200)))
    succeeds("train", "--preset", "wave-1", "--data", text, "--steps", "2", "--bands", "16", "--layers", "3", "--heads", "4",
             "--sample", "0", "--out", "m.safetensors", "--threads", "1", "--eval-batches", "1")
    return text


def waves_stand_at_their_reach(text):
    def change(name, numbers):
        if name == "blocks.0.attn.damping_raw":  # softplus
            return [math.log(math.exp(1 / reach) - 1) for reach in (0.9, 5, 50)] + [-200]
        if name == "blocks.0.attn.carrier":
            return [2 * math.pi / 7, 0, 2 * math.pi / 70, 0.5]
        if name == "blocks.0.attn.gain_raw":
            return [math.log(math.exp(gain) - 1) for gain in (1, 4, 2, 2)]
        return None
    edited("m.safetensors", "waves.safetensors", change)
    told = succeeds("inspect", "waves.safetensors", text, "--tokens", "8", "--plots", "v").decode()
    rows = [re.split(r"  +", line.strip()) for line in told.split("waves\n")[1].split("depth")[0].splitlines()[1:5]]
    check([row[-3] for row in rows] == ["7.0", "no end", "70.0", "12.6"], "wavelengths: %r" % rows)
    check([row[-1] for row in rows] == ["0.9", "5.0", "50.0", "7.23e+86"], "reaches: %r" % rows)
    heads = json.loads(succeeds("inspect", "waves.safetensors", text, "--tokens", "8", "--json"))["heads"]
    check(heads[0]["wavelength"] == 7 and heads[1]["wavelength"] is None, "no end is null in JSON: %r" % heads[:2])
    picture = Picture("v-waves.svg")
    discs = [d for d in picture.discs() if d[3] == "#0072b2" and d[2] != 5.0]  # layer 0, no legend
    check(len(discs) == 4, "a disc a head")
    x, y = picture.place("x", 0.9, True), picture.place("y", 7, True)
    check(near(discs[0][0], x, 0.1) and near(discs[0][1], y, 0.1),
          "a reach of 0.9 is drawn at 0.9: %r, wanted %.2f %.2f" % (discs[0], x, y))
    endless = [t for t in picture.all("text") if t.text == "\u2265 1e6"]
    check(len(endless) == 2, "what has no end has its place on both axes")
    if len(endless) == 2:
        check(near(discs[3][0], float(endless[0].get("x"))), "no damping: no end of the reach")
        check(near(discs[1][1], float(endless[1].get("y")) - 4), "no carrier: no end of the wave")
    check(near((discs[1][2] / discs[0][2]) ** 2, 4, 0.02), "areas are gains")
    sizes = [d for d in picture.discs() if d[3] == "#9aa0a6"]
    numbers = [float(t) for t in picture.texts() if re.fullmatch(r"[\d.]+", t or "")]
    check(len(sizes) >= 2 and "area: gain \u03ba" in picture.texts(), "sizes have a legend")
    for _, at, radius, _ in sizes:
        gain = 4 * (radius / discs[1][2]) ** 2
        check(any(abs(gain - n) < 0.02 * n for n in numbers), "a size of the legend has its gain: %g" % gain)


def depth_has_whole_layers_and_marks(text):
    succeeds("inspect", "m.safetensors", text, "--tokens", "20", "--plots", "d")
    picture = Picture("d-depth.svg")
    check([v for v, _ in picture.ticks("x")] == [0, 1, 2, 3], "ticks at whole layers")
    report = json.loads(succeeds("inspect", "m.safetensors", text, "--tokens", "20", "--json").decode())
    marks = [(d[0], d[1]) for d in picture.discs() if d[2] == 4.2]
    for layer, lens in enumerate(report["lens"]):
        x, y = picture.place("x", layer), picture.place("y", lens["entropy"])
        check(any(near(a, x) and near(b, y, 0.05) for a, b in marks), "layer %d has its mark" % layer)


def singular_values_say_what_is_drawn(text):
    succeeds("inspect", "m.safetensors", text, "--tokens", "8", "--plots", "d")
    picture = Picture("d-singular.svg")
    match = re.fullmatch(r"Singular values: the first (\d+) of (\d+) matrices", picture.texts()[0])
    if check(match and int(match[1]) == 8 and int(match[2]) > 8, "how many of how many: " + picture.texts()[0]):
        check(len(picture.curves()) == 8, "eight curves")
    check("blocks.0.ffn.maestro_out.squeeze.weight" in picture.whole_texts(), "whole names")
    diagonal = [float(4 >> (i // 4)) if i == j else 0.0 for i in range(12) for j in range(12)]
    name = "a<b>&\"'\u00fc\u001b[31m" + "\u00fc" * 60
    safetensors("w.safetensors", {name: ([12, 12], diagonal)})
    status, out, err = run("inspect", "--weights", "w.safetensors", "--plots", "w")
    if check(status == 0, "a file with a hostile name is read: %r" % err):
        check(b"\x1b" not in out and out.decode("utf-8"), "no escape sequence reaches the terminal")
        picture = Picture("w-singular.svg")
        check(shown_of(name) in picture.whole_texts(), "its name stands in the legend")
        check("Singular values: 1 of 1 matrices" in picture.texts(), "one of one")
        for index, value in [(1, 4), (5, 2), (12, 1)]:
            x, y = picture.curves()[0][index - 1]
            check(near(x, picture.place("x", index)) and near(y, picture.place("y", value, True), 0.1),
                  "singular value %d is %g" % (index, value))
        large = [1e20 * float(i == j) for i in range(12) for j in range(12)]
        ones, nan = [1.0] * 144, [math.nan] * 144
        safetensors("v.safetensors", {"a": ([12, 12], diagonal), "large": ([12, 12], large), "one": ([12, 12], ones),
                                      "zero": ([12, 12], [0.0] * 144), "nan": ([12, 12], nan)})
        succeeds("inspect", "--weights", "v.safetensors", "--plots", "v")
        picture = Picture("v-singular.svg")
        check("Singular values: 4 of 5 matrices" in picture.texts(), "what cannot be drawn counts")
        check([len(c) for c in picture.curves()] == [12, 12, 1, 0], "each matrix by its own largest value")
        check("0, or below 1e-8 of the largest: 23 not drawn" in picture.texts(), "which is said")
        safetensors("v.safetensors", {"row": ([1, 12], [1.0] * 12)})
        status, _, err = run("inspect", "--weights", "v.safetensors", "--plots", "none")
        check(status == 0 and b"no matrix whose singular values" in err and not pictures_of("none"),
              "no picture of nothing, and a sentence: %r" % err)
        out = succeeds("inspect", "--weights", "w.safetensors", "--json")
        check(json.loads(out.decode("utf-8"))["weights"][0]["name"] == name, "the JSON has it too")


# ---- paths ---------------------------------------------------------------------------------------

def a_long_path_is_refused_or_followed_never_cut(text):
    npy("n.npy", noise(4, 16))
    maps_of("maps.safetensors", even(4))
    write("c.csv", HEAD + "1,4,,1,1,1,1\n")
    for length in (256, 700, 5000):
        long = "a" * length
        refuses(r"^embed_report: cannot write (\.\.\.)?a+-\w+.svg: ", "embed_report", "n.npy", "--draws", "4",
                "--plots", long)
        refuses(r"^inspect: cannot write (\.\.\.)?a+-map-layer0.svg: ", "inspect", "--maps", "maps.safetensors",
                "--plots", long)
        refuses(r"^plot: cannot write (\.\.\.)?a+.svg: ", "plot", long, "c.csv")
    there = "./" * 1000
    succeeds("embed_report", "n.npy", "--draws", "4", "--plots", there + "long")
    succeeds("inspect", "--maps", "maps.safetensors", "--plots", there + "long")
    succeeds("plot", there + "long-loss", "c.csv")
    check(pictures_of("long") == ["long-consecutive.svg", "long-entropy.svg", "long-loss.svg",
                                  "long-map-layer0.svg", "long-pairs.svg", "long-spectrum.svg",
                                  "long-wheel.svg"], "a path of 2,000 letters: %r" % pictures_of("long"))


def a_full_disk_is_said(text):
    if not os.path.exists("/dev/full"):
        return
    write("c.csv", HEAD + "1,4,,1,1,1,1\n")
    os.symlink("/dev/full", "full.svg")
    refuses(r"^plot: cannot write full.svg: ", "plot", "full", "c.csv")
    check(os.path.exists("full.svg"), "what leads to a device stays")

    def little_room():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))

    write("kept.svg", "old")
    for name in ("half", "kept"):
        done = subprocess.run([os.path.join(bin_folder, "plot"), name, "c.csv"], capture_output=True,
                              preexec_fn=little_room)
        check(done.returncode == 1 and b"cannot write " + name.encode() + b".svg: " in done.stderr,
              f"a picture that finds no room: {done.stderr!r}")
    check(not [f for f in os.listdir(".") if f.startswith("half")], "half a picture is taken away")
    check(open("kept.svg").read() == "old", "and the one that stood there stays")


start = os.getcwd()
work = tempfile.mkdtemp()
bin_folder = os.path.abspath(os.environ.get("BIN") or work)
os.chdir(work)
try:
    if not os.environ.get("BIN"):
        build("plot", "embed_report", "inspect", "train")
    if not failed:
        for behaviour in [any_numbers_end_in_a_small_picture, losses_stand_at_their_numbers,
                          a_gap_is_no_line, marks_of_editors_change_nothing,
                          a_wrong_row_is_named_by_its_line, names_of_logs_are_text, long_names_are_told_apart_by_their_ends,
                          what_is_not_finite_is_counted, nothing_lies_on_an_edge_or_is_too_small_to_see,
                          numbers_are_as_short_as_they_can_be, long_logs_are_thinned,
                          a_png_shows_what_the_svg_shows,
                          every_group_has_a_picture_of_its_own,
                          two_names_of_one_file_are_not_written_twice, a_picture_takes_the_place_of_an_old_one_whole,
                          texts_of_files_are_data,
                          pairs_say_what_is_drawn, a_wheel_has_its_scale, a_spectrum_has_its_null,
                          the_null_of_a_spectrum_holds_95_of_100, the_most_telling_head_is_drawn, what_a_head_tells_is_beyond_distance,
                          the_scale_of_a_map_holds_what_is_drawn, large_maps_are_drawn_in_blocks, many_layers_are_counted]:
            behaviour()
        sample = model()
        for behaviour in [waves_stand_at_their_reach, depth_has_whole_layers_and_marks,
                          singular_values_say_what_is_drawn, a_long_path_is_refused_or_followed_never_cut,
                          a_full_disk_is_said]:
            behaviour(sample)
finally:
    os.chdir(start)
    shutil.rmtree(work)
print("%d passed, %d failed" % (passed, failed))
sys.exit(failed != 0)

#!/usr/bin/env python3
"""Paired differences over a text: eval --against and --losses, compare's column over the text, against
this script's own figures from the files that they write.

python3 tests/test_pairs.py    CC and CFLAGS choose the compiler; BIN names a folder that already holds
the programs. It needs nothing beyond Python; ends with `N passed, N failed`.
"""
import csv
import math
import os
import random
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile

import program_tests
from program_tests import ROOT, check, equal, programs_in, read, write, write_seas

PROGRAMS = ("compare", "train", "eval")
SMALL = "--bands 8 --layers 1 --heads 4 --maestro 4 --batch 2 --seq 16 --lr 0.009 --eval-every 20"
LINE = re.compile(r"loss (\d+\.\d{6}) tokens (\d+)\n"
                  r"against (\S+) loss (\d+\.\d{6}) difference ([-+]\d+\.\d{6}) \+- (\d+\.\d{6}) "
                  r"\(95 %, of (\d+) blocks of (\d+) tokens\)\n")


def run(program, *arguments, **more):
    done = subprocess.run([os.path.join(BIN, program), *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, **more)
    return done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8", "replace")


def out_of(program, *arguments):
    code, out, err = run(program, *arguments)
    check(code == 0 and not err, f"{program} {arguments}: {code} {err!r}")
    return out


def refused(program, status, part, *arguments):
    code, out, err = run(program, *arguments)
    check(code == status and err.count("\n") == 1 and part in err and not out,
          f"{program} {arguments}: {code} {err!r} {out!r}, wanted {status} {part!r}")


# ---- an independent reader ---------------------------------------------------------------------------


def t_limit(freedom):
    """t with P(|T| <= t) = 0.95, by Simpson's rule and bisection."""
    scale = math.gamma((freedom + 1) / 2) / math.gamma(freedom / 2) / math.sqrt(freedom * math.pi)

    def within(t, n=4000):
        h = t / n
        return 2 * h / 3 * sum((1 if k in (0, n) else 4 if k % 2 else 2) * scale *
                               (1 + (k * h) ** 2 / freedom) ** (-(freedom + 1) / 2)
                               for k in range(n + 1))

    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle) < 0.95 else (low, middle)
    return low


def blocks_of(count):
    return min(16, max(1, count // 256))


def over_blocks(a, na, b, nb):
    """Mean of all of a less that of b, and the half width, of sums and counts by block."""
    keep = [k for k in range(len(a)) if na[k] and nb[k]]
    all_a, all_b = sum(na[k] for k in keep), sum(nb[k] for k in keep)
    mean_a, mean_b = sum(a[k] for k in keep) / all_a, sum(b[k] for k in keep) / all_b
    parts = [(a[k] - mean_a * na[k]) / all_a - (b[k] - mean_b * nb[k]) / all_b for k in keep]
    n = len(keep)
    return mean_a - mean_b, t_limit(n - 1) * math.sqrt(n / (n - 1) * sum(x * x for x in parts))


def hash_of(data):
    value = 14695981039346656037
    for byte in data:
        value = (value ^ byte) * 1099511628211 % 2**64
    return f"{value:016x}"


# ---- eval --------------------------------------------------------------------------------------------


def train(name, *words, data="text"):
    out_of("train", "--data", data, *SMALL.split(), "--sample", "0", "--threads", "1", "--steps", "40",
           "--out", name, *words)


def both(*words):
    """What eval prints of a model against another: losses, difference, half width, blocks."""
    out = out_of("eval", "a", *words)
    found = LINE.fullmatch(out)
    check(found, f"eval {words}: two lines: {out!r}")
    return (*map(float, found.group(1, 4, 5, 6)), int(found.group(7)), int(found.group(2)))


def eval_figures():
    train("a", "--seed", "1")
    train("b", "--seed", "2")
    train("long", "--seed", "3", "--seq", "40")
    train("short", "--seed", "3", "--attention", "dot", "--position", "learned", "--context", "16")
    for words in (["text"], ["text", "--seq", "9", "--batch", "3"], ["text", "--threads", "3"],
                  ["text", "--stream"], ["text", "other"], ["text", "other", "--stream"],
                  ["text", "--from", "700", "--to", "5000", "--seq", "300"]):
        alone = [float(out_of("eval", name, *words).split()[1]) for name in "ab"]
        own, other, difference, reach, blocks, scored = both(*words, "--against", "b", "--losses", "l.csv")
        check(abs(own - alone[0]) < 2e-6 and abs(other - alone[1]) < 2e-6,
              f"{words}: the losses of two evaluations: {own} {other} {alone}")
        check(abs(difference - (alone[0] - alone[1])) < 3e-6, f"{words}: their difference {difference}")
        rows = list(csv.DictReader(open("l.csv", newline="")))
        equal((list(rows[0]), len(rows)), (["text", "place", "symbol", "loss", "against"], scored),
              f"{words}: a row a token")
        equal(blocks, blocks_of(scored), f"{words}: blocks")
        sums = [[0.0] * blocks for _ in range(3)]
        for i, row in enumerate(rows):
            k = i * blocks // scored
            sums[0][k] += float(row["loss"])
            sums[1][k] += float(row["against"])
            sums[2][k] += 1
        mean, half = over_blocks(sums[0], sums[2], sums[1], sums[2])
        check(abs(mean - difference) < 1e-6 and abs(half - reach) < 1e-6,
              f"{words}: {mean} +- {half} is {difference} +- {reach}")
        check(reach > 0, "two models differ")
        places = [(int(row["text"]), int(row["place"])) for row in rows]
        check(places == sorted(set(places)) and min(p for _, p in places) == 1, f"{words}: places")
        single = out_of("eval", "a", *words, "--losses", "one.csv")
        check(abs(float(single.split()[1]) - own) < 2e-6, f"{words}: without another")
        equal([line.rsplit(b",", 1)[0] for line in read("l.csv").split(b"\n")[1:-1]],
              read("one.csv").split(b"\n")[1:-1], f"{words}: one model's losses")
    text = read("text").decode()
    alphabet = sorted(set(text))
    out_of("eval", "a", "text", "--seq", "9", "--from", "100", "--losses", "l.csv")
    for row in list(csv.DictReader(open("l.csv", newline="")))[::97]:
        equal(alphabet[int(row["symbol"])], text[100 + int(row["place"])], "a symbol stands at its place")
    equal(both("text", "--against", "a")[2:4], (0.0, 0.0), "a model against itself: 0 +- 0")
    equal(both("text", "--against", "a", "--stream")[2:4], (0.0, 0.0), "and in a stream")
    one, two = both("text", "--against", "b"), run("eval", "b", "text", "--against", "a")[1]
    found = LINE.fullmatch(two)
    check(found and float(found.group(5)) == -one[2] and float(found.group(6)) == one[3], "the other way round")
    equal(both("text", "--against", "short")[5], both("text", "--against", "b", "--seq", "16")[5],
          "windows that both can hear")
    plain = out_of("eval", "a", "text", "--threads", "1")
    check(out_of("eval", "a", "text", "--threads", "1", "--against", "b").startswith(plain), "the first line stays")


def eval_refusals():
    train("letters", "--seed", "1", data="zetas")
    train("bytes", "--seed", "1", "--tokenizer", "bytes")
    train("started", "--seed", "1", "--start")
    train("words", "--tokenizer", "bpe:300")
    train("words2", "--tokenizer", "bpe:300", data="zetas")
    for name in ("letters", "bytes", "started", "words"):
        refused("eval", 1, f"{name}: its tokens are not those of a:", "a", "text", "--against", name)
    refused("eval", 1, "words2: its tokens are not those of words:", "words", "text", "--against", "words2")
    check(" +0.000000 +- 0.000000 " in out_of("eval", "words", "text", "--against", "words"), "subwords agree")
    refused("eval", 1, "an interval takes two blocks of 256", "a", "text", "--to", "400", "--against", "b")
    refused("eval", 1, "nowhere: ", "a", "text", "--against", "nowhere")
    refused("eval", 2, "short: seq is 40: the model's context is 16", "a", "text", "--seq", "40", "--against", "short")
    kept = [read(name) for name in ("a", "b", "text")]
    for name in ("a", "b", "./text"):
        refused("eval", 2, "is to be read and cannot be written as well", "a", "text", "--against", "b", "--losses", name)
    refused("eval", 2, "b is to be read and cannot be written as well", "a", "text", "--against", "b", "--out", "b")
    refused("eval", 2, "--out and --losses are one file", "a", "text", "--losses", "x", "--out", "./x")
    equal([read(name) for name in ("a", "b", "text")], kept, "nothing is written over")
    code, out, err = run("eval", "a", "text", "--losses", "nowhere/l.csv")
    check(code == 1 and err == "eval: cannot write nowhere/l.csv: no such file or directory\n", err)
    if hasattr(signal, "SIGXFSZ"):
        def small_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
        write("l.csv", "what stood there\n")
        code, out, err = run("eval", "a", "text", "--losses", "l.csv", preexec_fn=small_files)
        check(code == 1 and "cannot write l.csv: the file would be larger than allowed" in err and out.startswith("loss "), err)
        equal((read("l.csv"), os.path.exists("l.csv.tmp")), (b"what stood there\n", False), "a full disk loses nothing")
    out = out_of("eval", "a", "text", "--losses", "/dev/stdout")
    check("text,place,symbol,loss\n1,1," in out, "a device is written to")


# ---- compare -----------------------------------------------------------------------------------------

PLAN = f"""data text
budget steps 60
seeds 1 2 3
all: {SMALL}
wave:
none: --solver none
longer: --seq 24
"""


def kept_of(path):
    """check of a run -> (tokens, sums at the end, at the best)."""
    lines = read(path).decode().split("\n")
    equal((lines[0], lines[-1]), ("run,tokens,end,best,check", ""), f"{path}: the head and the end")
    kept = {}
    for line in lines[1:-1]:
        body, mark = line.rsplit(",", 1)
        equal(mark, hash_of((body + ",").encode()), "the check of a line")
        name, *columns = body.split(",")
        kept[name] = [[float(x) for x in column.split()] for column in columns]
    return kept


def table_of(out):
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.split("\n") if line[:2] == "| "]
    return {row[0]: row for row in rows}


def check_over_text(out, path, seeds=("1", "2", "3"), column="val", against="wave", has=lambda row: True):
    """The column over the text, from the kept sums of the runs that have some."""
    kept, rows = kept_of(path + ".losses"), list(csv.DictReader(open(path, newline="")))
    which = 1 if column == "val" else 2
    table = table_of(out)
    for name in table:
        if name in ("contender", "---------", against) or name.startswith("-"):
            continue
        sums, pairs = None, []
        for seed in seeds:
            pair = [next(r for r in rows if (r["contender"], r["seed"]) == (n, seed)) for n in (name, against)]
            if not all(has(r) for r in pair):
                continue
            pairs.append([float(r[column]) for r in pair])
            found = [kept[r["check"]] for r in pair]
            for r, k in zip(pair, found):
                check(abs(sum(k[which]) / sum(k[0]) - float(r[column])) < 1e-6, f"the sums are those of {r[column]}")
            new = [found[0][which], found[0][0], found[1][which], found[1][0]]
            sums = new if not sums else [[x + y for x, y in zip(s, n)] for s, n in zip(sums, new)]
        if not sums:
            equal(table[name][7], "-", f"{name}: nothing is known")
            continue
        mean, half = over_blocks(*sums)
        share = f" ({len(pairs)} of {len(seeds)})" if len(pairs) < len(seeds) else ""
        equal(table[name][7], f"{mean:+.4f} ± {half:.4f}{share}", f"{name}: over the text")
        if len(pairs) == len(seeds):
            check(abs(mean - statistics.fmean(a - b for a, b in pairs)) < 1e-6, "the mean is that of the runs")
    return kept


def compare_figures():
    write("plan.txt", PLAN)
    out = out_of("compare", "plan.txt", "--jobs", "2")
    kept = check_over_text(out, "plan.csv")
    equal(len(kept), 9, "a line a run")
    size = len(read("text")) // 10
    for tokens, end, best in kept.values():
        equal((len(tokens), len(end), len(best)), (blocks_of(size),) * 3, "the blocks of the text")
    check(re.search(r"^over the text: .* over its \d+ blocks of \d+ tokens; what another seed", out, re.M), out)
    again = out_of("compare", "plan.txt")
    equal(again.split("\n\n", 1)[1], out.split("\n\n", 1)[1], "the second call prints the same table")
    write("one.txt", PLAN.replace("1 2 3", "2"))
    out = out_of("compare", "one.txt", "--csv", "seed.csv")
    check_over_text(out, "seed.csv", seeds=("2",))
    check(re.fullmatch(r"[-+]\d\.\d{4}", table_of(out)["none"][6]), "one seed has no interval over seeds,")
    check(" ± " in table_of(out)["none"][7], "and has one over the text")
    write("by.txt", PLAN.replace("data text", "data text\nagainst none"))
    check_over_text(out_of("compare", "by.txt", "--csv", "plan.csv"), "plan.csv", against="none")


def compare_scores():
    """The losses are those of the number that is compared."""
    write("ema.txt", PLAN.replace("all:", "all: --ema 10"))
    check_over_text(out_of("compare", "ema.txt"), "ema.csv")
    write("eval.txt", PLAN + "eval: --seq 8 --batch 3\n")
    kept = check_over_text(out_of("compare", "eval.txt"), "eval.csv")
    check(all(not best for _, _, best in kept.values()), "of another evaluation alone")
    write("none.txt", PLAN.replace("--eval-every 20", "--eval-every -1"))
    check_over_text(out_of("compare", "none.txt"), "none.csv")
    write("several.txt", PLAN.replace("data text", "data text other\nval third text"))
    check_over_text(out_of("compare", "several.txt"), "several.csv")
    rough = PLAN.replace("steps 60", "steps 300").replace("all:", "all: --lr-end -1 --clip -1 ").replace("0.009", "0.06")
    write("best.txt", rough.replace("data text", "data text\nscore best"))
    check_over_text(out_of("compare", "best.txt"), "best.csv", column="best")
    rows = list(csv.DictReader(open("best.csv", newline="")))
    check(any(r["best"] != r["val"] for r in rows), "the best is not the last somewhere")
    write("end.txt", rough)
    out = out_of("compare", "end.txt", "--csv", "best.csv")
    check("\nrun " not in out, "both are kept")
    check_over_text(out, "best.csv")


def compare_resumed():
    """Runs that were interrupted leave the losses of runs that were not, the best before it too."""
    write("long.txt", PLAN.replace("steps 60", "steps 900").replace("all:", "all: --lr-end -1 ").replace("0.009", "0.06")
          .replace("data text", "data text\nscore best"))
    whole = out_of("compare", "long.txt")

    def by_run(path):
        kept = kept_of(path + ".losses")
        return {(r["contender"], r["seed"]): kept[r["check"]] for r in csv.DictReader(open(path, newline=""))}

    went_on = 0
    for wait in (0, 1, 3, 5):
        process = subprocess.Popen([os.path.join(BIN, "compare"), "long.txt", "--csv", "int.csv", "--jobs", "3", "--keep", "0"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        lines = 0
        while lines <= wait and process.stdout.readline():
            lines += 1
        process.send_signal(signal.SIGINT if wait != 3 else signal.SIGKILL)
        process.communicate()
        out = run("compare", "long.txt", "--csv", "int.csv")[1]
        went_on += out.count("\non ")
        own, other = by_run("int.csv"), by_run("long.csv")
        check(own == other, f"the same losses after {wait} runs, but of {[k for k in other if own.get(k) != other[k]]}")
        equal([row[:8] for row in table_of(out).values() if row[0] != "---"],
              [row[:8] for row in table_of(whole).values() if row[0] != "---"], "and the same table")
        for name in ("int.csv", "int.csv.losses"):
            os.remove(name)
    check(went_on > 0, "some run went on from where it was kept")


def compare_without():
    """Files that lack losses, or have others: the runs count, and the table tells."""
    base, losses = read("plan.csv"), read("plan.csv.losses")
    lines = losses.decode().split("\n")
    rows = list(csv.DictReader(open("plan.csv", newline="")))

    def after(kept, lacking, said=""):
        write("w.csv", base)
        if os.path.exists("w.csv.losses"):
            os.remove("w.csv.losses")
        if kept is not None:
            write("w.csv.losses", kept)
        code, out, err = run("compare", "plan.txt", "--csv", "w.csv")
        equal(code, 0, f"it runs: {err}")
        check(said in err if said else not err, f"{err!r}, wanted {said!r}")
        check("\nrun " not in out and read("w.csv") == base, "no run is made again")
        told = re.search(r"w\.csv\.losses does not have the losses of (\d+) of these runs", out)
        equal(int(told.group(1)) if told else 0, lacking, "how many are told")
        if lacking < 9:
            there = kept_of("w.csv.losses")
            check_over_text(out, "w.csv", has=lambda row: row["check"] in there)
        else:
            equal({row[7] for row in table_of(out).values() if not row[0].startswith("-")} - {"over the text (95 %)"}, {"-"}, "nothing is known")

    after(losses, 0)
    after(None, 9)
    check(not os.path.exists("w.csv.losses"), "no file is made for no run")
    after("", 9)
    after(lines[0] + "\n", 9)
    after("\n".join(lines[:1] + lines[3:]), 2)
    after("\n".join(lines[:-2]) + "\n" + lines[-2][:-30], 1)  # torn: the rest is cut
    after(losses + b"half a li", 0)
    equal(read("w.csv.losses"), losses, "what a kill left is cut")
    write("w.csv", base)
    write("w.csv.losses", losses.replace(b",2", b",3", 1))
    code, out, err = run("compare", "plan.txt", "--csv", "w.csv")
    check(code == 0 and err == "compare: w.csv.losses: line 2 is not as it was written and is left out\n", err)
    check("does not have the losses of 1 of these runs" in out, "and its run is known to be lacking")
    body = re.sub(r",\d+ ", ",x ", lines[1].rsplit(",", 1)[0] + ",", count=1)
    write("w.csv.losses", "\n".join([lines[0], body + hash_of(body.encode())] + lines[2:]))
    check("does not have the losses of 1 of these" in out_of("compare", "plan.txt", "--csv", "w.csv"), "no numbers")
    write("w.csv.losses", "something else\n")
    refused("compare", 1, "w.csv.losses: it does not begin with run,tokens,end,best,check", "plan.txt", "--csv", "w.csv")
    equal(read("w.csv.losses"), b"something else\n", "and stays as it is")
    os.remove("w.csv.losses")
    os.mkdir("w.csv.losses")
    refused("compare", 1, "w.csv.losses: it is no file", "plan.txt", "--csv", "w.csv")
    os.rmdir("w.csv.losses")
    write("t.losses", read("text"))
    write("self.txt", PLAN.replace("data text", "data t.losses"))
    refused("compare", 2, "the file of losses beside --csv is t.losses, a text to learn", "self.txt", "--csv", "t")
    write("new.txt", PLAN.replace("none: --solver none", "none: --solver none --maestro 5"))
    write("w.csv", base)
    write("w.csv.losses", losses)
    code, out, err = run("compare", "new.txt", "--csv", "w.csv")
    check(code == 0 and out.count("\nrun ") == 3 and "maestro was 4 and is 5" in err, f"a changed line is run: {err}")
    check(read("w.csv.losses").startswith(losses) and len(kept_of("w.csv.losses")) == 12, "lines stay, new ones come")
    if hasattr(signal, "SIGXFSZ") and os.path.getsize("plan.csv.losses") > 1200:
        def small_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1200, 1200))
        code, out, err = run("compare", "plan.txt", "--csv", "full.csv", preexec_fn=small_files)
        check(code == 1 and "full.csv" in err and "cannot write it" in err, f"a full disk is told: {err}")
        out = run("compare", "plan.txt", "--csv", "full.csv")[1]
        check_over_text(out, "full.csv")


def compare_fuzz():
    """A damaged file of losses ends in a sentence or in a table, and no run is lost."""
    base, losses = read("plan.csv"), read("plan.csv.losses")
    rng = random.Random(1)
    for _ in range(40):
        text = bytearray(losses)
        for _ in range(rng.choice((1, 1, 3, 30))):
            text[rng.randrange(len(text))] = rng.randrange(256)
        write("f.csv", base)
        write("f.csv.losses", bytes(text))
        code, out, err = run("compare", "plan.txt", "--csv", "f.csv")
        check(code in (0, 1) and (err or bytes(text) == losses or "does not have" in out), f"{code} {err!r}")
        equal(read("f.csv"), base, "the runs stay")


def main():
    global BIN
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        BIN = programs_in(work, PROGRAMS)
        write_seas(text=1000, other=90, third=60)
        write("zetas", read("text").replace(b"w", b"z"))  # as many letters, others
        for test in (eval_figures, eval_refusals, compare_figures, compare_scores, compare_resumed, compare_without,
                     compare_fuzz):
            test()
        os.chdir(ROOT)
    print(f"{program_tests.passed} passed, {program_tests.failed} failed")
    return program_tests.failed != 0


if __name__ == "__main__":
    sys.exit(main())

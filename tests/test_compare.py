#!/usr/bin/env python3
"""examples/compare.c from the outside: its figures against this script's own, interruption, parallel
runs, plans and files that are wrong.

python3 tests/test_compare.py    CC and CFLAGS choose the compiler; BIN names a folder that already
holds the programs. It needs nothing beyond Python; ends with `N passed, N failed`.
"""
import csv
import glob
import io
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
import time
import xml.etree.ElementTree

import program_tests
from program_tests import ROOT, check, equal, programs_in, read, write, write_seas

PROGRAMS = ("compare", "train", "eval")
SMALL = "--bands 8 --layers 1 --heads 4 --maestro 4 --batch 2 --seq 16 --eval-every 20"
PLAN = f"""# a comment
data text
budget steps 50
seeds 1 2 5
lr 3e-3 0.009
all: {SMALL}
wave:
rotary | x: --attention rotary --lr 4e-3  # with a rate of its own
none: --solver "none"
"""
HEAD = ("contender,seed,lr,parameters,steps,tokens,val,best,best_step,train,seconds,curve,text,isa,"
        "settings,check")

# ---- programs --------------------------------------------------------------------------------------


def run(program, *arguments, **more):
    done = subprocess.run([os.path.join(BIN, program), *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, **more)
    return done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8", "replace")


def compare(*arguments, status=0, said=""):
    """Output of a run that must end with that status; `said` must stand in stderr, or nothing may."""
    code, out, err = run("compare", *arguments)
    check(code == status, f"compare {arguments}: status {code}, wanted {status}: {err}")
    check(said in err if said else not err, f"compare {arguments}: {err!r}, wanted {said!r}")
    return out


def refused(status, part, *arguments):
    code, out, err = run("compare", *arguments)
    check(code == status and err.count("\n") == 1 and part in err,
          f"compare {arguments}: {code} {err!r}, wanted {status} {part!r}")


# ---- an independent reader ---------------------------------------------------------------------------


def hash_of(data):
    value = 14695981039346656037
    for byte in data:
        value = (value ^ byte) * 1099511628211 % 2**64
    return f"{value:016x}"


def sealed(line):
    """A line whose check was taken off, with the right one."""
    return line + hash_of(line.encode())


def rows_of(path):
    text = read(path).decode("utf-8")
    lines = text.split("\n")
    equal(lines[0], HEAD, "the head")
    equal(lines[-1], "", "the last line ends")
    for line in lines[1:-1]:
        body, mark = line.rsplit(",", 1)
        equal(mark, hash_of((body + ",").encode()), "the check of a line")
    return list(csv.DictReader(io.StringIO(text)))


def runs_of(path):
    """What two files of the same runs share, whatever their order and how long they took."""
    keep = [k for k in HEAD.split(",") if k not in ("seconds", "check", "isa")]
    return sorted(tuple(row[k] for k in keep) for row in rows_of(path))


def t_limit(freedom):
    """t with P(|T| <= t) = 0.95, by Simpson's rule and bisection."""
    scale = math.gamma((freedom + 1) / 2) / math.gamma(freedom / 2) / math.sqrt(freedom * math.pi)
    density = lambda x: scale * (1 + x * x / freedom) ** (-(freedom + 1) / 2)

    def within(t, n=4000):
        h = t / n
        return 2 * h / 3 * sum((1 if k in (0, n) else 4 if k % 2 else 2) * density(k * h)
                               for k in range(n + 1))

    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle) < 0.95 else (low, middle)
    return low


def table_of(out):
    """Rows of the table by name, a list of cells."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in out.split("\n") if line[:2] == "| "]
    return {row[0].strip().replace("\\|", "|"): [cell.strip() for cell in row] for row in rows}


def expected(rows, seeds, column="val"):
    """name -> (rate, losses by seed): the rate with the lowest mean."""
    best = {}
    for name in dict.fromkeys(row["contender"] for row in rows):
        for rate in dict.fromkeys(row["lr"] for row in rows if row["contender"] == name):
            losses = [float(row[column]) for seed in seeds for row in rows
                      if (row["contender"], row["lr"], row["seed"]) == (name, rate, seed)]
            mean = statistics.fmean(losses)
            if name not in best or mean < statistics.fmean(best[name][1]):
                best[name] = (rate, losses)
    return best


def check_table(out, path, first="wave", seeds=("1", "2", "5"), column="val"):
    rows, table = rows_of(path), table_of(out)
    best, t = expected(rows, seeds, column), t_limit(len(seeds) - 1)
    for name, (rate, losses) in best.items():
        cells = table[name]
        equal(cells[3], rate, f"{name}: the rate taken")
        equal(cells[4], " ".join(f"{x:.4f}" for x in losses), f"{name}: losses")
        equal(cells[5], f"{statistics.fmean(losses):.4f} ± {statistics.stdev(losses):.4f}",
              f"{name}: mean and deviation")
        own = [row for row in rows if row["contender"] == name and row["lr"] == rate]
        equal(cells[2].replace(",", ""), own[0]["parameters"], f"{name}: parameters")
        equal(cells[8], f"{statistics.fmean(float(row['seconds']) for row in own):.1f}",
              f"{name}: seconds")
        pairs = [a - b for a, b in zip(losses, best[first][1])]
        reach = t * statistics.stdev(pairs) / math.sqrt(len(pairs))
        equal(cells[6], "-" if name == first else f"{statistics.fmean(pairs):+.4f} ± {reach:.4f}",
              f"{name}: difference and interval")


# ---- what is right -----------------------------------------------------------------------------------


def figures():
    out = compare("plan.txt", "--jobs", "2", "--plots", "p")
    rows = rows_of("plan.csv")
    equal(len(rows), 15, "a line a run")
    check_table(out, "plan.csv")
    check("rates of wave: 0.003 " in out and "(taken)" in out, "the rates are told")
    check("it is the highest one tried" in out, "a rate at the end of the list is told")
    check("rates of rotary" not in out, "a contender with its own rate has no search")
    for row in rows:
        steps = [point.split(":")[0] for point in row["curve"].split()]
        equal((row["steps"], row["tokens"], steps), ("50", "1600", ["20", "40", "50"]), "steps of a run")
        equal(f"{float(row['val']):.6f}", f"{float(row['curve'].split(':')[-1]):.6f}", "last point")
    for name in ("p-curves.svg", "p-losses.svg"):
        picture = xml.etree.ElementTree.parse(name).getroot()
        texts = [e.text for e in picture.iter() if e.tag.endswith("text")]
        check({"wave", "none", "rotary | x"} <= set(texts), f"{name} names the contenders: {texts}")
    before = read("plan.csv")
    again = compare("plan.txt")
    equal(again.split("\n\n", 1)[1], out.split("\n\n", 1)[1], "the second call prints the same table")
    check("\nrun " not in again and read("plan.csv") == before, "and makes no run")
    write("no.txt", PLAN.replace("lr 3e-3 0.009\n", "against none\n"))
    check_table(compare("no.txt"), "no.csv", first="none")


def same_as_train():
    """The harness trains as train does, and evaluates as eval does."""
    row = next(r for r in rows_of("plan.csv") if (r["contender"], r["seed"], r["lr"]) ==
               ("none", "5", "0.009"))
    words = SMALL.split() + ["--solver", "none", "--lr", "0.009", "--seed", "5", "--steps", "50"]
    code, out, err = run("train", "--data", "text", *words, "--eval-batches", "100000", "--out", "m",
                         "--sample", "0", "--threads", "1")
    equal(code, 0, f"train: {err}")
    check(f"done val {float(row['val']):.4f} steps 50" in out, f"train's loss is {row['val']}: {out}")
    check(f"params {row['parameters']}" in out, "train's parameters")
    cut = re.search(r"val (\d+)\.\.", out).group(1)
    write("eval.txt", PLAN.replace("lr 3e-3 0.009", "lr 0.009").replace("1 2 5", "5") +
          "eval: --seq 8 --batch 3\n")
    said = compare("eval.txt")
    check("nats a token, over all whole windows of the" in said, f"what is left of the last window is not in it: {said}")
    row = next(r for r in rows_of("eval.csv") if r["contender"] == "none")
    code, out, err = run("eval", "m", "text", "--from", cut, "--seq", "8", "--batch", "3")
    equal(f"loss {float(row['val']):.6f}", out.split(" tokens")[0], "the eval line is eval's loss")


def in_parallel():
    for words in (["--jobs", "1"], ["--jobs", "5"], ["--jobs", "2", "--threads", "2"]):
        compare("plan.txt", "--csv", "par.csv", *words)
        equal(runs_of("par.csv"), runs_of("plan.csv"), f"the same bits with {words}")
        os.remove("par.csv")


def started(name, done, *words):
    """A process that has finished `done` runs of the plan."""
    process = subprocess.Popen([os.path.join(BIN, "compare"), "long.txt", "--csv", name, "--jobs", "2",
                                *words],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for line in process.stdout:
        if line.startswith(b"run "):
            done -= 1
        if done == 0:
            break
    return process


def interrupted():
    write("long.txt", PLAN.replace("steps 50", "steps 400"))
    compare("long.txt")
    for done in (1, 4, 9):
        process = started("kill.csv", done)
        process.kill()
        process.communicate()
        kept = read("kill.csv")
        made = kept.count(b"\n") - 1
        check(made >= done, f"{done} runs are kept after a kill")
        out = compare("long.txt", "--csv", "kill.csv")
        check(f"15 runs, {made} of them in kill.csv" in out, "a finished run is not made again")
        check(read("kill.csv").startswith(kept), "what was there stays as it was")
        equal(runs_of("kill.csv"), runs_of("long.csv"), f"killed after {done}: as if it never was")
        os.remove("kill.csv")
    process = started("part.csv", 1, "--keep", "0") # runs under way are kept at every evaluation
    time.sleep(0.1)
    process.kill() # perhaps between the two files of a kept run, which then begins anew
    process.communicate()
    kept = read("part.csv")
    for path in glob.glob("part.csv.*.part")[1:]: # a damaged one is made from its beginning
        write(path, read(path)[:-1000])
    compare("long.txt", "--csv", "part.csv")
    equal(runs_of("part.csv"), runs_of("long.csv"), "the same bits after a kill")
    check(read("part.csv").startswith(kept) and not glob.glob("part.csv.*.part"),
          "nothing is left of it")
    process = started("int.csv", 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    equal(process.returncode, 1, "Ctrl-C: some runs are not there")
    check(re.search(rb"interrupted: \d+ of 15 runs are in int.csv; the same command goes on", err), err)
    check(re.search(rb"\| wave .* - ", out), "and the table shows what is")
    kept = glob.glob("int.csv.*.part") # none where it fell between runs
    check(("\non " in compare("long.txt", "--csv", "int.csv")) == bool(kept), f"goes on from {kept}")
    equal(runs_of("int.csv"), runs_of("long.csv"), "after Ctrl-C it goes on")


def torn():
    whole = read("plan.csv")
    last = whole[:-1].rindex(b"\n") + 1
    for cut in (last + 1, last + 40, len(whole) - 18, len(whole) - 2):
        write("torn.csv", whole[:cut])
        compare("plan.txt", "--csv", "torn.csv", "--dry", said="torn.csv: its last line is cut off")
        equal(read("torn.csv"), whole[:cut], "--dry writes nothing")
        compare("plan.txt", "--csv", "torn.csv", said="torn.csv: its last line is cut off")
        equal(runs_of("torn.csv"), runs_of("plan.csv"), f"a file torn at {cut} is made whole")
    write("torn.csv", whole[:-1])
    compare("plan.txt", "--csv", "torn.csv")
    equal(read("torn.csv"), whole, "a last line that only lacks its end gets it")
    write("torn.csv", whole.replace(b"\n", b"\r\n"))
    check("15 runs, 15 of them" in compare("plan.txt", "--csv", "torn.csv"), "CR LF is an end of line")
    write("torn.csv", b"")
    compare("plan.txt", "--csv", "torn.csv")
    equal(runs_of("torn.csv"), runs_of("plan.csv"), "an empty file is begun")


def changed():
    """A plan that changes after its runs: what still holds counts, the rest is told and stays."""
    base = read("plan.csv")

    def after(plan, said, runs, data="text"):
        write("new.txt", plan)
        write("new.csv", base)
        code, out, err = run("compare", "new.txt", "--data", data)
        equal(code, 0, f"a changed plan runs: {err}")
        check(err.startswith("compare: new.csv: line ") and said in err, f"{err!r}, wanted {said!r}")
        check(read("new.csv").startswith(base), "lines stay")
        equal(out.count("\nrun "), runs, f"{said}: runs that are made")

    after(PLAN.replace("wave:", "wave: --maestro 5"),
          "wave, does not count: maestro was 4 and is 5; 5 more lines of it do not", 6)
    after(PLAN.replace("steps 50", "steps 49"), "steps was 50 and is 49", 15)
    after(PLAN.replace("1 2 5", "1 2"), "wave, does not count: its seed 5 is none of the plan", 0)
    after(PLAN.replace("lr 3e-3 0.009", "lr 3e-3 0.008"), "its lr 0.009 is not tried any more", 6)
    after(PLAN.replace('none: --solver "none"\n', ""), "the plan has no such contender", 0)
    after(PLAN, "the text was another one", 15, data="other")
    write("new.csv", base)
    write("new.txt", PLAN.replace("wave:", "new name:").replace("all:", "all: --decay 0.1 "))
    check("\nrun " not in compare("new.txt"), "another name, and a default that is told, are no change")


def old_lines():
    """A line from before a setting existed counts if the plan has that setting's default."""
    lines = read("plan.csv").decode().split("\n")
    for word, runs in ((" norm=layer", 0), (" solver=exact", 0), (" attention=rotary", 1), (" bands=8", 1)):
        for i, line in enumerate(lines):
            if word in line:
                break
        old = lines[:i] + [sealed(line.replace(word, "").rsplit(",", 1)[0] + ",")] + lines[i + 1:]
        write("old.csv", "\n".join(old))
        code, out, err = run("compare", "plan.txt", "--csv", "old.csv")
        equal((code, out.count("\nrun ")), (0, runs), f"a line without{word}: {err}")
        check(runs == 0 or f"{word[1:].split('=')[0]} was not told" in err, err)
    line = lines[1].replace(" norm=layer", " norm=layer marvel=3")
    write("old.csv", "\n".join([lines[0], sealed(line.rsplit(",", 1)[0] + ","), ""]))
    compare("plan.txt", "--csv", "old.csv", "--dry", said="marvel was told and is not")


def budgets():
    write("b.txt", PLAN.replace("steps 50", "tokens 1e3").replace("1 2 5", "7"))
    compare("b.txt")
    equal({(r["steps"], r["tokens"]) for r in rows_of("b.csv")}, {("31", "992")}, "31.25 steps of 32")
    write("b.txt", PLAN.replace("steps 50", "seconds 0.3").replace("1 2 5", "7"))
    compare("b.txt", "--csv", "c.csv", "--jobs", "1")
    seconds = [float(row["seconds"]) for row in rows_of("c.csv")]
    check(0.05 < max(seconds) < 6, f"about 0.3 seconds, on a busy machine too: {seconds}")
    check("\nrun " not in compare("b.txt", "--csv", "c.csv"), "runs by time are kept too")


def dropout_auto():
    """--dropout auto is what train makes of it, and the same run as the number it comes to."""
    plan = PLAN.split("lr 3e-3")[0].replace("1 2 5", "5") + (
        f"all: {SMALL} --lr 0.009 --dropout auto\nauto:\ntold: --dropout 0.1\nnone: --dropout=0\n")
    out = compare(write("d.txt", plan), "--data", "third", "--csv", "d.csv")
    check(re.search(r"^auto: dropout 0\.00 of 0\.\d passes over the text, \d+\.\d\d parameters a symbol$", out,
                    re.M), f"few passes are learnt whole: {out}")
    equal(sorted(r["contender"] for r in rows_of("d.csv")), ["auto", "told"], "which is the run of 0")
    often = plan.replace("steps 50", "steps 320")
    out = compare(write("d.txt", often), "--data", "third", "--csv", "d4.csv")
    check(re.search(r"^auto: dropout 0\.10 of \d\.\d passes", out, re.M), f"a tenth is dropped: {out}")
    check("told: dropout" not in out, "where a number is told, nothing is chosen")
    rows = {r["contender"]: r for r in rows_of("d4.csv")}
    equal(sorted(rows), ["auto", "none"], "which is the run of 0.1")
    code, out, err = run("train", "--data", "third", *SMALL.split(), "--lr", "0.009", "--seed", "5", "--steps", "320",
                         "--dropout", "auto", "--eval-batches", "100000", "--out", "m", "--sample", "0",
                         "--threads", "1")
    equal(code, 0, f"train: {err}")
    check("dropout 0.10 of " in out and f"done val {float(rows['auto']['val']):.4f} " in out,
          f"train's loss is {rows['auto']['val']}: {out}")
    write("d.txt", plan.replace("steps 50", "seconds 0.3"))
    refused(2, "auto: --dropout auto counts passes over the text: the budget must be steps or tokens", "d.txt")


def best_score():
    write("s.txt", PLAN.replace("lr 3e-3 0.009", "score best").replace("steps 50", "steps 300")
          .replace("--eval-every 20", "--eval-every 20 --lr 0.05 --lr-end -1"))
    out = compare("s.txt")
    check_table(out, "s.csv", column="best")
    check(any(r["best"] != r["val"] for r in rows_of("s.csv")), "the best is not the last somewhere")
    check("of the best evaluation" in out, "and that is said")
    compare("s.txt", "--plots", "best")
    for name, title in (("best", "Loss of the best evaluation, by contender"), ("p", "Loss at the end, by contender")):
        check(title in read(f"{name}-losses.svg").decode(), f"the picture too: {title}")
    for row in rows_of("s.csv"):
        points = dict(point.split(":") for point in row["curve"].split())
        equal(f"{float(row['best']):.7g}", f"{float(points[row['best_step']]):.7g}", "best and its step")
        equal(float(points[row["best_step"]]), min(map(float, points.values())), "is the lowest")


def evaluated_once():
    """Without evaluations under way the one at the end is the best one."""
    write("once.txt", PLAN.replace("lr 3e-3 0.009", "score best\nlr 6e-3 9e-3 3e-3").replace("1 2 5", "1 2")
          .replace("--eval-every 20", "--eval-every -1"))
    out = compare("once.txt")
    rows = rows_of("once.csv")
    check(all(r["best"] == r["val"] != "nan" and r["best_step"] == "50" for r in rows), "its loss is the best")
    check_table(out, "once.csv", seeds=("1", "2"), column="best")
    check("losses of" not in out and re.search(r"\| none .*[+-]\d\.\d{4} ± \d\.\d{4} \|[^|]*\|$", out, re.M),
          f"its losses over the text are known: {out}")
    # as older versions wrote it
    lines = read("once.csv").decode().split("\n")
    for i, line in enumerate(lines[1:-1], 1):
        fields = line.rsplit(",", 1)[0].split(",")
        fields[7:9] = ["nan", "0"]
        lines[i] = sealed(",".join(fields) + ",")
    write("older.csv", "\n".join(lines))
    older = table_of(compare("once.txt", "--csv", "older.csv"))
    equal(older["wave"][:7], table_of(out)["wave"][:7], "lines that tell of no best one count with their loss")


def chosen_and_missing():
    """What was chosen by these losses is told, in whatever order it was tried, and what has fewer runs."""
    write("order.txt", PLAN.replace("lr 3e-3 0.009", "lr 4e-3 0.009 3e-3"))
    write("order.csv", "")
    out = compare("order.txt", "--csv", "order.csv")
    check("0.009 " in out and out.count("it is the highest one tried") == 2, f"rates stand in any order: {out}")
    told = "chosen by the losses that stand here"
    check("\nrates are " + told in out and told not in compare("no.txt"), "rates that are chosen are told")
    check("\nrates and evaluations are " + told in compare("once.txt") and "\nevaluations are " + told in
          compare("s.txt"), "and so are evaluations")
    text = read("no.csv").decode()
    line = next(row for row in text.split("\n") if row.startswith("wave,2,"))
    fields = line.rsplit(",", 1)[0].split(",")
    fields[6] = "nan"
    write("gone.csv", text.replace(line, sealed(",".join(fields) + ",")))
    table = table_of(compare("no.txt", "--csv", "gone.csv"))
    rows, seeds = rows_of("gone.csv"), ("1", "5")
    losses = {name: [float(r["val"]) for seed in seeds for r in rows if (r["contender"], r["seed"]) == (name, seed)]
              for name in ("wave", "none")}
    pairs = [a - b for a, b in zip(losses["wave"], losses["none"])]
    equal(table["wave"][5], f"{statistics.fmean(losses['wave']):.4f} ± {statistics.stdev(losses['wave']):.4f} (2 of 3)",
          "a mean of fewer runs")
    equal(table["wave"][6], f"{statistics.fmean(pairs):+.4f} ± {t_limit(1) * statistics.stdev(pairs) / 2**.5:.4f}"
          " (2 of 3)", "a difference of fewer pairs")
    check(table["none"][5].count("of") == 0, "where all are there nothing is added")


def two_at_once():
    """Two calls of plans that share a file: no line of either is lost."""
    plans = [PLAN.replace("steps 50", "steps 60").replace("1 2 5", "1 2 3 4").replace("lr 3e-3 0.009\n", "") + more
             for more in ("", "wide: --bands 12\n")]
    for i, plan in enumerate(plans):
        write(f"two{i}.txt", plan if i else plan.replace("wave:\n", ""))
    calls = [subprocess.Popen([os.path.join(BIN, "compare"), f"two{i}.txt", "--csv", "two.csv", "--jobs", "1"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) for i in (0, 1)]
    said = [call.communicate() for call in calls]
    check(not any(call.returncode for call in calls), f"both end well: {said}")
    out = compare("two1.txt", "--csv", "two.csv")
    check("\nrun " not in out and "left out" not in out, f"runs and their losses are all there: {out}")
    text = read("two.csv.losses").decode()
    check(text.startswith("run,tokens,end,best,check\n") and text.count("run,") == 1, "one first line")


def short_text():
    """Too few tokens for an interval over the text."""
    write("few", read("text")[:4000])
    out = compare(write("few.txt", PLAN), "--data", "few")
    check(not re.search(r"its \d+ blocks", out) and re.search(r"over the text: .*; 4\d\d tokens are too few for an interval, "
                                               r"which takes two blocks of 256$", out, re.M), out)
    check(re.search(r"\| none .*\| +[+-]\d\.\d{4} \| +\d+\.\d \|$", out, re.M), f"the difference alone: {out}")


def failures():
    """A run whose loss is no number is finished, and makes no figure."""
    write("f.txt", PLAN.replace('--solver "none"', "--lr 10 --clip -1 --warmup -1 --lr-end -1 --decay 10")
          .replace("steps 50", "steps 200"))
    out = compare("f.txt")
    rows = [r for r in rows_of("f.csv") if r["contender"] == "none"]
    equal(len(rows), 3, "it has its lines")
    if all(r["val"] == "nan" for r in rows):
        equal(table_of(out)["none"][4:7], ["nan nan nan", "-", "-"], "nan has no mean and no difference")
    else:
        check(all(float(r["val"]) > 5 for r in rows if r["val"] != "nan"), "it learnt nothing")
    check("\nrun " not in compare("f.txt"), "it is not made again")
    if resource and hasattr(signal, "SIGXFSZ"):
        def small_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
        code, out, err = run("compare", "plan.txt", "--csv", "full.csv", preexec_fn=small_files)
        equal(code, 1, "a full disk is a failure")
        check("full.csv: cannot write it: File too large" in err and "will be made again" in err, err)
        kept = rows_of("full.csv")
        check(0 < len(kept) < 15, f"what had room is whole: {len(kept)}")
        equal(table_of(out)["wave"], table_of(compare("plan.txt"))["wave"][:7] + table_of(out)["wave"][7:],
              "and the table is all the same")
        compare("plan.txt", "--csv", "full.csv")
        equal(runs_of("full.csv"), runs_of("plan.csv"), "with room again it is made whole")


def several_texts():
    plan = PLAN.replace("data text", "data text other\nval third\nstart\ntokenizer chars+bytes")
    compare(write("v.txt", plan))
    equal(len(rows_of("v.csv")), 15, "several texts, and one to validate on")
    compare(write("v.txt", plan), "--csv", "v1.csv", "--jobs", "1")
    equal(runs_of("v.csv"), runs_of("v1.csv"), "the same bits")


def prepared():
    """What is done to a network before its first step: by its seed, told in the file, and once more the same."""
    plan = f"""data words
tokenizer words
budget steps 20
seeds 1 2
all: {SMALL} --preset resonance-transformer --context 16
plain:
rhymes: --prepare rhymes
mixed rhymes: --prepare mixed-rhymes
mixed bands: --embedding harmonic --prepare mixed-bands
bands: --embedding harmonic
maestros: --ffn kerr
none before or after: --ffn kerr --prepare no-maestros
none beside: --ffn kerr --maestros add --prepare no-maestros
"""
    write("words", "a light night, the same name came; you, thou, fair hair. " * 40)
    out = compare(write("p.txt", plan)) # ight 2, am 3, ou 2, air 2; not a, the, commas, <unk>
    check("\nmixed rhymes: 9 of 15 symbols rhyme, in 4 groups\n" in "\n" + out, out)
    rows = rows_of("p.csv")
    losses = {(r["contender"], r["seed"]): r["val"] for r in rows}
    equal(len(set(losses.values())), 16, "each way makes another run")
    counts = [next(int(r["parameters"]) for r in rows if r["contender"] == name) for name in ("maestros", "none before or after")]
    equal(counts[0] - counts[1], 2 * (2 * 16 * 4 + 4 + 16), "maestros that are silent do not count")
    equal({r["contender"]: r["settings"].split()[-1] for r in rows if "prepare" in r["settings"]},
          {"rhymes": "prepare=rhymes", "mixed rhymes": "prepare=mixed_rhymes", "mixed bands": "prepare=mixed_bands",
           "none before or after": "prepare=no_maestros", "none beside": "prepare=no_maestros"},
          "the file tells it")
    compare("p.txt", "--csv", "p2.csv", "--jobs", "1")
    equal(runs_of("p2.csv"), runs_of("p.csv"), "the same bits")
    compare(write("q.txt", plan.replace("rhymes: --prepare rhymes\n", "rhymes:\n", 1)), "--csv", "p.csv",
            said="rhymes, does not count: prepare was told and is not")


def shipped_plans():
    """Plans of the repository are read; the small one is made."""
    folder = os.path.join(ROOT, "examples", "plans")
    claims = os.path.join(folder, "claims")
    for path in sorted(glob.glob(os.path.join(folder, "*.txt")) + glob.glob(os.path.join(claims, "*.txt"))):
        data = "words" if "tokenizer words" in read(path).decode() else "text" # of prepared()
        compare(path, "--data", data, "--csv", "none.csv", "--dry")
    check(not os.path.exists("none.csv"), "--dry makes no file")
    out = compare(os.path.join(folder, "small.txt"), "--data", "text", "--csv", "small.csv")
    check_table(out, "small.csv", seeds=("1", "2", "3"))
    done = subprocess.run(["sh", os.path.join(folder, "claims.sh"), "text", "claims"], capture_output=True, text=True,
                          env=dict(os.environ, BIN=BIN, STEPS="1", CLAIMS="kerr-2 noise"))
    made = sorted(name for name in os.listdir("claims") if name.endswith((".csv", "-losses.svg")))
    check(done.returncode == 0 and done.stdout.count("| minus") == 2, f"claims: {done.stdout} {done.stderr}")
    equal(made, ["kerr-2-losses.svg", "kerr-2.csv", "noise-losses.svg", "noise.csv"], "what the claims leave")


# ---- what is wrong -----------------------------------------------------------------------------------


def wrong_plans():
    def bad(part, plan):
        refused(2, part, write("bad.txt", plan), "--dry")

    bad('bad.txt: line 3: "sedes" is neither a word of a plan nor a contender, which has a colon; did '
        'you mean seeds?', PLAN.replace("budget steps 50", "sedes 1 2"))
    bad("line 7: wave: there is no setting bnads; did you mean bands?", PLAN.replace("wave:", "wave: --bnads 3"))
    bad("line 7: wave: bands is -3: allowed are", PLAN.replace("wave:", "wave: --bands -3"))
    bad('line 7: wave: solver is "exat": allowed are', PLAN.replace("wave:", "wave: --solver exat"))
    bad("line 7: wave: heads is 5: must divide", PLAN.replace("wave:", "wave: --heads 5"))
    bad("line 7: wave: bands needs a value", PLAN.replace("wave:", "wave: --bands"))
    bad('line 7: wave: "bands" is no setting: those begin with --', PLAN.replace("wave:", "wave: bands 3"))
    bad("line 7: wave: there is no setting help", PLAN.replace("wave:", "wave: --help x"))
    bad('line 7: wave: prepare is "rhyme": allowed are', PLAN.replace("wave:", "wave: --prepare rhyme"))
    bad("wave: prepare rhymes is for networks with phases of symbols", PLAN.replace("wave:", "wave: --prepare rhymes"))
    bad("wave: prepare no_maestros is for networks with maestros", PLAN.replace("wave:", "wave: --ffn mlp --prepare no-maestros"))
    bad("wave: prepare rhymes: no two symbols rhyme; try tokenizer words",
        PLAN.replace("wave:", "wave: --phases 4 --phase-input on --prepare rhymes"))
    bad("line 7: wave: there is no setting x", PLAN.replace("wave:", "wave: -x"))
    bad('line 7: wave: preset is "gtp": allowed are', PLAN.replace("wave:", "wave: --preset gtp"))
    bad('line 7: wave: --steps is no setting of one contender: the line "budget" gives them',
        PLAN.replace("wave:", "wave: --steps 3"))
    bad("--seed=3 is no setting of one contender", PLAN.replace("wave:", "wave: --seed=3"))
    bad("every evaluation takes the whole", PLAN.replace("wave:", "wave: --eval-batches 3"))
    bad("line 6: all: there is no setting bandz", PLAN.replace("all:", "all: --bandz 3"))
    bad("line 7: all: that line stands there already", PLAN.replace("wave:", "all:"))
    bad("line 9: wave: a contender of that name stands there already", PLAN.replace("none:", "wave:"))
    bad("line 4: seed 1 stands there twice", PLAN.replace("1 2 5", "1 2 1"))
    bad('line 4: seed is "x": expected', PLAN.replace("1 2 5", "x"))
    bad("line 4: more than 64 seeds", PLAN.replace("1 2 5", " ".join(map(str, range(65)))))
    bad("line 5: lr 0.009 stands there twice", PLAN.replace("0.009", "0.009 9e-3"))
    bad('line 5: lr is "fast"', PLAN.replace("0.009", "fast"))
    bad("line 5: lr is 0", PLAN.replace("0.009", "0"))
    bad("line 5: lr is -1: allowed are", PLAN.replace("0.009", "-1"))
    bad("line 4: budget stands in line 3 already", PLAN.replace("seeds 1 2 5", "budget steps 3"))
    bad('line 3: budget is "stesp": allowed are steps tokens seconds; did you mean steps?',
        PLAN.replace("budget steps", "budget stesp"))
    for word in ("0", "-1", "1.5", "nan", "inf", "x", "1e99"):
        bad(f'line 3: budget steps is "{word}": allowed are whole numbers',
            PLAN.replace("steps 50", f"steps {word}"))
    bad("budget takes two values", PLAN.replace("steps 50", "steps"))
    bad("line 3: budget takes one value or more, here are 0", PLAN.replace("budget steps 50", "budget"))
    bad("line 2: start takes no value, here are 1", PLAN.replace("data text", "start now"))
    bad("score takes one value, here are 2", PLAN.replace("data text", "score best end"))
    bad('line 2: score is "beste": allowed are end best', PLAN.replace("data text", "score beste"))
    bad("line 5: lr: every contender names a rate of its own, so that none of these is tried",
        PLAN.replace("all: ", "all: --lr 0.01 "))
    bad("line 2: val is a text of its own: val-share goes without it",
        PLAN.replace("data text", "val-share 0.2\nval other\ndata text"))
    bad('line 2: val-share is "2": allowed are', PLAN.replace("data text", "val-share 2"))
    bad('line 2: against "waves": there is no such contender; did you mean wave?',
        PLAN.replace("data text", "against waves\ndata text"))
    bad("line 4: eval: score best is the trainer's own evaluation",
        PLAN.replace("data text", "data text\nscore best\neval: --seq 8"))
    bad("line 2: eval: there is no setting layers", PLAN.replace("data text", "eval: --layers 8"))
    # windows that do not fit text or network are told before a run, not after it
    bad("line 3: eval: wave: evaluation data has", PLAN.replace("data text", "data text\neval: --seq 5000"))
    bad("line 3: eval: wave: seq is 64: the model's context is 32",
        PLAN.replace("data text", "data text\neval: --seq 64").replace("wave:", "wave: --position learned --context 32"))
    check(not os.path.exists("bad.csv"), "and nothing is written")
    refused(2, "--plots is for runs: --dry draws nothing", "plan.txt", "--csv", "bad.csv", "--dry", "--plots", "p")
    refused(1, "cannot write none/p-curves.svg: no such file or directory", "plan.txt", "--csv", "bad.csv", "--plots",
            "none/p")
    check(not os.path.exists("bad.csv"), "where no picture could be written, no run is made")
    bad("a quote is not closed", PLAN.replace('"none"', '"none'))
    bad("a name holds a control character", PLAN.replace("wave:", "wa\x1bve:"))
    bad("it has no line data FILE", PLAN.replace("data text\n", ""))
    bad("it has no contender", "data text\n")
    bad("it has no contender", "# nothing\n")
    bad("more than 256 contenders", "data text\n" + "".join(f"c{i}:\n" for i in range(300)))
    refused(1, "bad.txt: line 2 has a NUL byte", write("bad.txt", b"data text\na\0:\n"))
    refused(1, "bad.txt: the file is empty", write("bad.txt", ""))
    refused(1, "nowhere: cannot open it", "nowhere")
    refused(1, "nowhere: cannot open it", write("bad.txt", PLAN.replace("data text", "data nowhere")))
    refused(1, "too few", write("bad.txt", PLAN.replace("--seq 16", "--seq 99999 --context 99999")))
    refused(2, "a plan is needed")
    refused(2, "one argument too many", "plan.txt", "plan.txt")
    refused(2, "no option --jops; --help lists them; did you mean --jobs?", "plan.txt", "--jops", "3")
    refused(2, "--csv is ./plan.txt, the plan itself", "plan.txt", "--csv", "./plan.txt")
    refused(2, "--csv is text, a text to learn", "plan.txt", "--csv", "text")
    refused(2, "a plan from standard input needs --csv", "-", "--data", "text")


def wrong_files():
    whole = read("plan.csv")
    lines = whole.decode().split("\n")

    def bad(part, text):
        write("bad.csv", text)
        refused(1, part, "plan.txt", "--csv", "bad.csv")
        equal(read("bad.csv"), text if isinstance(text, bytes) else text.encode(), "the file stays")

    def with_line(line):
        return "\n".join([lines[0], sealed(line), ""])

    body = lines[1].rsplit(",", 1)[0] + ","
    fields = next(csv.reader([lines[1]]))
    bad("bad.csv: line 2 is not as it was written", whole.replace(b",50,", b",51,", 1))
    bad("bad.csv: line 3 is not as it was written",
        "\n".join(lines[:2] + [lines[2].replace("0", "1", 1)] + lines[3:]))
    bad("it does not begin with contender,seed,lr", PLAN)
    bad("it does not begin with contender,seed,lr", whole.replace(b"seed", b"sead", 1))
    bad("line 2 has a NUL byte", lines[0] + "\n\0\n")
    bad("line 2 has not the 16 fields", with_line("wave,1,"))
    bad("line 2 has not the 16 fields", with_line(body + "x,"))
    bad("line 2 has not the 16 fields", with_line('"' + body))
    bad('line 2: its steps is "many"', with_line(body.replace(",50,", ",many,", 1)))
    bad('line 2: its steps is "-50"', with_line(body.replace(",50,", ",-50,", 1)))
    bad('line 2: its val is "inf"', with_line(body.replace(fields[6], "inf", 1)))
    bad('line 2: its val is ""', with_line(body.replace(fields[6], "", 1)))
    refused(1, "folder: it is no file", "plan.txt", "--csv", "folder")
    refused(1, "cannot write nowhere/a.csv: no such file", "plan.txt", "--csv", "nowhere/a.csv")
    write("bad.csv", "\n".join(lines[:2] + [sealed(body.replace(fields[6], "1.5", 1))] + lines[2:]))
    compare("plan.txt", "--csv", "bad.csv", said="line 3 is the run of line 2 with another loss: the first")
    rng = random.Random(1)
    for _ in range(60):
        text = bytearray(whole)
        for _ in range(rng.choice((1, 1, 3, 30))):
            text[rng.randrange(len(text))] = rng.randrange(256)
        write("fuzz.csv", bytes(text))
        code, _, err = run("compare", "plan.txt", "--csv", "fuzz.csv", "--dry")
        check(code in (0, 1) and (err or bytes(text) == whole), f"a damaged file: {code} {err!r}")
        equal(read("fuzz.csv"), bytes(text), "it stays")
    for _ in range(60):
        text = bytearray(PLAN.encode())
        for _ in range(rng.choice((1, 2, 5))):
            text[rng.randrange(len(text))] = rng.choice(b'\0\n\t :"#-9az\xff')
        write("fuzz.txt", bytes(text))
        code, _, err = run("compare", "fuzz.txt", "--data", "text", "--csv", "none.csv", "--dry")
        check(code in (0, 1, 2) and err.count("\n") == (code != 0), f"a damaged plan: {code} {err!r}")


def help_is_whole():
    out = compare("--help")
    for word in ("--csv", "--jobs", "budget", "seeds", "against", "--bands", "--lr ", "--preset",
                 "--seq"):
        check(word in out, f"--help tells of {word}")
    check("--eval-batches" not in out and "--vocab" not in out, "and not of what is fixed")


def main():
    global BIN
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        BIN = programs_in(work, PROGRAMS)
        write_seas(text=260, other=90, third=60)
        os.mkdir("folder")
        write("plan.txt", PLAN)
        for test in (figures, same_as_train, in_parallel, interrupted, torn, changed, old_lines, budgets, dropout_auto,
                     best_score, evaluated_once, chosen_and_missing, two_at_once, short_text, failures, several_texts, prepared, shipped_plans, wrong_plans, wrong_files,
                     help_is_whole):
            test()
        os.chdir(ROOT)
    print(f"{program_tests.passed} passed, {program_tests.failed} failed")
    return program_tests.failed != 0


if __name__ == "__main__":
    sys.exit(main())

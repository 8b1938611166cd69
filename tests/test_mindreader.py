#!/usr/bin/env python3
"""examples/mindreader.c from the outside: its rivals against this script's own, the mind against
opponents, games that are saved and go on, the terminal, and input that is wrong.

python3 tests/test_mindreader.py    CC and CFLAGS choose the compiler; BIN names a folder that already
holds the program. It needs nothing beyond Python; ends with `N passed, N failed`.
"""
import math
import os
import random
import re
import signal
import subprocess

try:
    import pty
    import termios
except ImportError:
    pty = None

import program_tests
from program_tests import check, equal, refuses, run


# ---- the rivals ------------------------------------------------------------------------------------

def markov(order, moves):
    """What is certain: "L", "R", or "?" where chance decides."""
    counts, said = {}, []
    for i, move in enumerate(moves):
        # before there are enough moves the program counts nothing, and looks up as if all were left
        context = moves[max(0, i - order):i].rjust(order, "L")
        left, right = counts.get((context, "L"), 0), counts.get((context, "R"), 0)
        said.append("?" if left == right else "L" if left > right else "R")
        if i >= order:
            counts[context, move] = counts.get((context, move), 0) + 1
    return said


def situations(moves, guesses):
    """Of round i: the two results and the change before it, or None."""
    won = [m != g.upper() for m, g in zip(moves, guesses)]
    return [None if i < 2 else (won[i - 2], moves[i - 2] == moves[i - 1], won[i - 1]) for i in range(len(moves))]


def shannon(moves, guesses):
    did, said = {}, []
    for i, s in enumerate(situations(moves, guesses)):
        past = did.setdefault(s, [])
        known = s is not None and len(past) >= 2 and past[-1] == past[-2]
        other = "R" if moves[i - 1] == "L" else "L"
        said.append("?" if not known else moves[i - 1] if past[-1] else other)
        if i >= 2:
            past.append(moves[i] == moves[i - 1])
    return said


def hagelbarger(moves, guesses):
    balance, right, said = {}, {}, []
    for i, s in enumerate(situations(moves, guesses)):
        certain = s is not None and right.get(s, [])[-2:] == [True, True] and balance[s] != 0
        other = "R" if moves[i - 1] == "L" else "L"
        said.append("?" if not certain else moves[i - 1] if balance[s] > 0 else other)
        if s is not None:
            step = 1 if moves[i] == moves[i - 1] else -1
            balance[s] = max(-3, min(3, balance.get(s, 0) + step))
            right.setdefault(s, []).append(moves[i] == guesses[i].upper())
    return said


def judged(moves, seed=1):
    done = run("--judge", moves, "--seed", str(seed))
    return dict(line.split(": ") for line in done.out.splitlines())


def test_rivals():
    lines = judged("LRLRLRLR")
    equal(lines["order 1"][3:], "RLRLR", "order 1 has seen each way of an alternation once after 3 moves")
    equal(lines["order 2"][4:], "LRLR", "order 2 after 4 moves")
    equal(list(lines), ["Shannon", "Hagelbarger"] + [f"order {k}" for k in range(1, 9)], "who is judged")
    # always left, when it wins: the machine is sure at the third time of one situation
    generator = random.Random(5)
    for seed in (1, 2):
        for moves in ("".join(generator.choice("LR") for _ in range(300)), "LLRR" * 60, "L" * 100,
                      "".join(generator.choice("LLLR") for _ in range(300))):
            lines = judged(moves, seed)
            for k in range(1, 9):
                want = markov(k, moves)
                equal([g if g.isupper() else "?" for g in lines[f"order {k}"]], want, f"order {k} on {moves[:20]}")
            for name, machine in (("Shannon", shannon), ("Hagelbarger", hagelbarger)):
                said = lines[name]
                equal([g if g.isupper() else "?" for g in said], machine(moves, said), f"{name} on {moves[:20]}")
    check(judged("L" * 60)["Shannon"].endswith("L" * 20), "Shannon's machine knows who never changes")


# ---- the league ------------------------------------------------------------------------------------

def test_league():
    rounds, seeds = 1500, 2
    done = run("--selfplay", "--rounds", str(rounds), "--seeds", str(seeds), "--against", "order-2", "--against",
               "period-5", "--against", "random", "--against", "win-stay", "--threads", "2")
    rows = {}
    for line in done.out.splitlines()[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        rows[cells[0]] = [float(cell.split("±")[0]) if cell else None for cell in cells[1:]]
    equal(list(rows), ["order-2", "period-5", "random", "win-stay", "mean"], "the rows")
    noise = 100 * math.sqrt(0.25 / (rounds * seeds))
    ceiling, mind, _, _, *orders = rows["order-2"]
    equal(ceiling, 85.0, "the ceiling of a table that is heeded 85 times in 100")
    check(abs(orders[1] - ceiling) < 4 * noise, f"order 2 reaches the ceiling of order-2: {orders}")
    check(all(share < ceiling + 4 * noise for share in [mind] + orders), "nobody is above it but by noise")
    check(orders[0] < ceiling - 5, f"one move is too few: {orders}")
    check(mind > ceiling - 5, f"the mind comes near it in {rounds} rounds: {mind}")
    check(rows["period-5"][1] > 80, f"the mind foresees a period: {rows['period-5'][1]}")
    check(all(abs(share - 50) < 4 * noise for share in rows["random"]), f"nobody foresees a coin: {rows['random']}")
    check(rows["win-stay"][1] > max(rows["win-stay"][2:]), f"only the mind hears results and notes them: {rows}")
    check(abs(rows["mean"][1] - sum(rows[name][1] for name in list(rows)[:4]) / 4) < 0.1, "the mean of the rows")
    again = run("--selfplay", "--rounds", "200", "--seeds", "2", "--against", "shannon", "--threads", "1")
    other = run("--selfplay", "--rounds", "200", "--seeds", "2", "--against", "shannon", "--threads", "2")
    equal(again.out, other.out, "the table does not depend on threads")
    spent = re.search(r"([0-9.]+) ms of CPU time a round", done.err)
    check(spent, f"the league tells its time: {done.err}")


# ---- games -----------------------------------------------------------------------------------------

def test_games():
    keys = bytes(random.Random(2).choice(b"lr") for _ in range(60))
    whole = run("--save", "whole", given=keys)
    equal(whole.returncode, 0, "a game from a pipe ends well")
    equal(len(re.findall(r"you: (left|right)", whole.out)), 60, "a line a round")
    check("60 rounds:" in whole.out, "a summary")
    part = run("--save", "part", given=keys[:25])
    rest = run("--load", "part", "--save", "rest", given=keys[25:])
    lines = [line for line in whole.out.splitlines() if "you: " in line]
    equal([line for line in (part.out + rest.out).splitlines() if "you: " in line], lines,
          "a game that was saved goes on as if it had not been")
    equal(open("rest").read(), open("whole").read(), "and leaves the same file")
    equal(run(given=b"").returncode, 0, "no input")
    check("rounds:" not in run(given=b"").out, "no summary of no rounds")
    junk = run(given=b"x\0\xff\xfe\n\x1b[Zl\x1b[C\x1b[Dq" + b"l" * 9)
    equal(re.findall(r"you: (\w+)", junk.out), ["left", "right", "left"], "other keys are passed over, q ends")
    three = run("--choices", "3", given=b"rpsrps123")
    equal(re.findall(r"you: (\w+)", three.out), ["rock", "paper", "scissors"] * 3, "three choices")
    for foresaw, plays in re.findall(r"foresaw: (\w+).*I play (\w+)", three.out):
        equal(plays, {"rock": "paper", "paper": "scissors", "scissors": "rock"}[foresaw], "it plays what beats that")
    nine = run("--choices", "9", given=b"1239")
    equal(re.findall(r"you: (\w+)", nine.out), ["1", "2", "3", "9"], "nine choices")
    check("I listen most to" in run(given=b"lrlr?").out, "? tells what it knows")
    learnt = run(given=b"lr" * 60).out
    score = re.search(r"I foresaw what you did ([0-9.]+)", learnt)
    check(score and float(score.group(1)) > 75, f"an alternation is found out: {score and score.group(1)}")


def test_saving():
    """A link is followed, permissions stay, and a file that happens to be beside it is nobody's."""
    for name, leads in (("link", "there"), ("dangling", "folder/not yet")):
        os.makedirs("folder", exist_ok=True)
        os.symlink(leads, name)
        if name == "link":
            with open(leads, "w") as file:
                file.write("before")
            os.chmod(leads, 0o600)
        for beside in (name, leads):
            with open(beside + ".tmp", "w") as file:
                file.write("mine")
        equal(run("--save", name, given=b"lrl").returncode, 0, f"saved through a {name}")
        check(os.path.islink(name), f"{name} stays a link")
        equal(open(leads).read().splitlines()[0], "mindreader 1 choices 2 seed 1", f"the game is where {name} leads")
        equal([open(beside + ".tmp").read() for beside in (name, leads)], ["mine"] * 2, "what stands beside it stays")
    equal(os.stat("there").st_mode & 0o777, 0o600, "what was for nobody else still is")
    equal([name for name in os.listdir(".") + os.listdir("folder") if re.search(r"-[0-9]+\.tmp", name)], [], "no file is left over")
    os.symlink("round", "round")
    refuses(1, "^mindreader: round: ", "--save", "round", given=b"l")
    with open("keys", "w") as file:
        file.write("lrlrq")
    os.link("keys", "same keys")
    for name in ("keys", "same keys"):
        with open("keys") as file:
            done = subprocess.run([program_tests.program, "--save", name], stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        check(done.returncode == 2 and b"is to be read and cannot be written" in done.stderr, f"{name}: {done.stderr}")
        equal(open("keys").read(), "lrlrq", f"{name}: the keys are not overwritten")


def test_seeds():
    """The game goes on with the very seed that it began with, whatever its length."""
    for seed in ("0", "999999999999999", "1000000000000000"):
        run("--seed", seed, "--save", "seeded", given=b"lrlr")
        equal(run("--load", "seeded", "--save", "again", given=b"").returncode, 0, f"seed {seed} is read")
        equal(open("again").read(), open("seeded").read(), f"seed {seed}")
        equal(open("again").read().split()[5], seed, f"seed {seed} is in the file")
    with open("dos", "wb") as file:
        file.write(b"mindreader 1 choices 2 seed 5\r\n1112\r\n")
    equal(run("--load", "dos", "--save", "again", given=b"").returncode, 0, "ends of lines of Windows")
    equal(open("again").read(), "mindreader 1 choices 2 seed 5\n1112\n", "are none of the seed's")


def test_refusals():
    for text in (b"", b"nothing", b"mindreader 1 choices 2 seed 1", b"mindreader 1 choices 1 seed 1\n",
                 b"mindreader 1 choices 2 seed -1\n", b"mindreader 1 choices 2 seed 1\n111", b"\0" * 100,
                 b"mindreader 1 choices 2 seed 1 2\n", b"mindreader 1 choices 2 seed 0.5\n",
                 b"mindreader 1 choices 2 seed 1000000000000001\n", b"mindreader 1 choices 2 seed 10000000000000000\n",
                 b"mindreader 1 choices 2 seed\n1111\n", b"mindreader 1 choices 2 seed 1\n13\n", b"mindreader 1 choices 2 seed 1\n1\xff\n"):
        with open("bad", "wb") as file:
            file.write(text)
        if text == b"mindreader 1 choices 2 seed 1":
            equal(run("--load", "bad").returncode, 0, "a game of no rounds")
        else:
            refuses(1, "^mindreader: bad: ", "--load", "bad")
    refuses(1, "none.*No such file", "--load", "none")
    refuses(1, "nowhere/x", "--save", "nowhere/x")
    refuses(2, "did you mean --choices", "--choice", "3")
    refuses(2, "allowed are .* 2 to 9", "--choices", "10")
    refuses(2, "--judge is \"LX\"", "--judge", "LX")
    refuses(2, "--judge is about moves", "--judge", "LR", "--save", "x")
    refuses(2, "--judge is about moves", "--judge", "LR", "--selfplay")
    refuses(2, "in the file that --load names", "--load", "whole", "--choices", "3")
    refuses(2, "in the file that --load names", "--seed", "4", "--load", "whole")
    refuses(2, "--against order-2 is given twice", "--selfplay", "--against", "order-2", "--against", "order-2")
    refuses(2, "--against is \"zebra\"", "--selfplay", *[word for name in "random order-1 order-2 order-3 order-5 period-5 "
            "period-12 win-stay changer shannon hagelbarger zebra".split() for word in ("--against", name)])
    refuses(2, "hagelbarger; did you mean order-2", "--selfplay", "--against", "order2")
    refuses(2, "--rounds is for --selfplay alone", "--rounds", "5")
    refuses(2, "--selfplay is about left and right", "--selfplay", "--choices", "3")
    done = run("--help")
    for option in "choices seed save load selfplay against rounds seeds threads judge".split():
        check(re.search(f"^  --{option} ", done.out, re.M), f"--help lists --{option}")
    folder = os.open(".", os.O_RDONLY)
    done = subprocess.run([program_tests.program], stdin=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    os.close(folder)
    check(done.returncode == 1 and b"cannot read standard input" in done.stderr, f"no keys can come: {done.stderr}")
    if os.path.exists("/dev/full"):
        with open("/dev/full", "wb") as full:
            done = run(given=b"lrlr", stdout=full)
        check(done.returncode == 1 and "cannot write to stdout" in done.err, "a full disk is told")


# ---- the terminal ----------------------------------------------------------------------------------

def terminal_end(what, act):
    """Play two rounds in a terminal, end by `act`, and see that the terminal is as it was."""
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    child = subprocess.Popen([program_tests.program, "--save", "kept"], stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             preexec_fn=program_tests.heed_hup)
    child.stdout.readline()
    os.write(master, b"lr")
    child.stdout.readline()
    child.stdout.readline()
    check(not termios.tcgetattr(slave)[3] & termios.ICANON, f"{what}: keys come one by one")
    act(child, master)
    _, error = child.communicate(timeout=60)
    equal(child.returncode, 0, f"{what}: it ends well, {error!r}")
    equal(termios.tcgetattr(slave)[:4], before[:4], f"{what}: the terminal is as it was")
    equal(len(open("kept").read().splitlines()[1]), 4, f"{what}: the game is saved")
    os.close(master)
    os.close(slave)


def test_terminal():
    if not pty:
        print("not run: the terminal (no pty)")
        return
    terminal_end("q", lambda child, master: os.write(master, b"q"))
    terminal_end("Ctrl-D", lambda child, master: os.write(master, b"\4"))
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        terminal_end(name, lambda child, master: child.send_signal(getattr(signal, name)))


program_tests.run_tests("mindreader", test_rivals, test_league, test_games, test_saving, test_seeds, test_refusals, test_terminal)

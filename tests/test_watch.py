#!/usr/bin/env python3
"""examples/watch.c from the outside: planted lines are found, what is saved goes on bit for bit, and
input of any kind is borne.

python3 tests/test_watch.py    CC and CFLAGS choose the compiler; BIN names a folder that already holds
the program; WATCH_FULL=1 runs the README's measurement too. It needs nothing beyond Python; ends with
`N passed, N failed`.
"""
import os
import random
import re
import resource
import signal
import socket
import stat
import struct
import subprocess
import time

import program_tests
from program_tests import check, equal, refuses, run


def sound(generator):
    return generator.choice((f"disk {generator.choice('abc')} at {generator.randrange(30, 50)} C",
                             f"get /{generator.choice(('home', 'find', 'cart'))} ok"))


def log_of(lines):
    return "".join(line + "\n" for line in lines).encode()


def test_planted():
    generator = random.Random(1)
    lines = [sound(generator) for _ in range(900)]
    planted = {820: "get /zebu ok", 840: "disk at b 41 C", 860: "disk a at 97 C", 880: "get /homf ok"}
    for at, line in planted.items():
        lines[at - 1] = line
    done = run("--quiet-first", "800", given=log_of(lines))
    marked = {int(at): (word, line) for at, word, line in
              re.findall(r'^(\d+): [0-9.]+ bits, [0-9.]+ are usual, at (its end|"[^"]*"): (.*)$', done.out, re.M)}
    for at, line in planted.items():
        check(at in marked and marked[at][1] == line, f"line {at}, {line}, is marked: {done.out}")
    check(len(marked) <= len(planted) + 2, f"and hardly another of a hundred: {done.out}")
    equal(marked.get(820, ("", ""))[0], '"/zebu"', "the word that surprised it")
    equal(marked.get(860, ("", ""))[0], '"97"', "the value that did")
    equal(done.err, f"watch: 900 lines, {len(marked)} marked\n", "the last sentence")
    equal(done.returncode, 0, "and a good end")


def test_saved():
    generator = random.Random(2)
    log = log_of(sound(generator) for _ in range(150)) + b"a last line without an end"
    options = ("--all", "--quiet-first", "20", "--margin", "0.2")
    cut = log.index(b"\n", len(log) // 2) + 1
    whole = run(*options, "--save", "whole", given=log)
    part = run(*options, "--save", "part", given=log[:cut])
    rest = run(*options, "--load", "part", "--save", "rest", given=log[cut:])
    equal(part.out + rest.out, whole.out, "a watch that was saved goes on as if it had not been")
    equal(whole.out.count("\n"), 151, "--all prints every line, the last one too")
    check(re.search("^! ", whole.out, re.M) and re.search("^  ", whole.out, re.M), "with a mark where it is due")
    os.mkfifo("pipe")
    with open("through", "wb") as through, subprocess.Popen(["cat", "pipe"], stdout=through):
        run(*options, "--save", "pipe", given=log)
    check(stat.S_ISFIFO(os.stat("pipe").st_mode), "a pipe is written to and stays one")
    equal(os.path.getsize("through"), os.path.getsize("whole"), "and has the bytes of a file")
    more = log_of(sound(generator) for _ in range(40))
    equal(run(*options, "--load", "rest", given=more).out, run(*options, "--load", "whole", given=more).out,
          "and goes on alike again")
    with open("whole", "rb") as file:
        good = file.read()
    line = good.index(b"\n")
    for name, text in (("empty", b""), ("text", b"hello\n"), ("cut", good[:-9]), ("short", good[:40]),
                       ("torn", good[:line] + b" 1" + good[line:]), ("minus", good.replace(b" 151 ", b" -15 ", 1)),
                       ("place", good[:line + 1] + b"4096 1 1 1\n" + good[line + 1:]), ("places", good[:line + 1] + good[line + 2:]),
                       ("bytes", good[:line + 1] + b"\0" * 99), ("flipped", good[:-5] + b"\x55" + good[-4:])):
        with open("bad", "wb") as file:
            file.write(text)
        refuses(1, "^watch: bad: ", "--load", "bad", given=b"x\n")


def test_input():
    for log, lines in ((b"", 0), (b"\n", 1), (b"x", 1), (b"\n\n\n", 3), (b"a\r\nb\r\n", 2)):
        done = run(given=log)
        equal((done.returncode, done.err), (0, f"watch: {lines} lines, 0 marked\n"), f"{log!r}")
    done = run("--all", given=b"\0nul \xff\xfe\xc3 \x1b[31mred\x1b[0m \xc3\xa9\n")
    equal(done.out, "  \\x00nul \\xff\\xfe\\xc3 \\x1b[31mred\\x1b[0m é\n", "nothing steers the terminal")
    noise = bytes(random.Random(3).randrange(256) for _ in range(20000))
    equal(run("--quiet-first", "0", given=noise).returncode, 0, "noise")
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = run("--all", given=b"y" * 30000000)
    equal(done.out, "  " + "y" * 1000 + " .. and 29999000 bytes\n", "an endless line is heard at its beginning")
    check(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 5, "in no time")
    if os.path.exists("/dev/full"):
        with open("/dev/full", "wb") as full:
            done = run("--all", given=b"x\n", stdout=full)
        check(done.returncode == 1 and "cannot write to stdout" in done.err, f"a full disk is told: {done.err}")


def test_signals():
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        child = subprocess.Popen([program_tests.program, "--all", "--save", "kept"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, preexec_fn=program_tests.heed_hup)
        child.stdin.write(b"one line\n")
        child.stdin.flush()
        equal(child.stdout.readline(), b"  one line\n", "a line is shown when it comes")
        child.send_signal(getattr(signal, name))
        for _ in range(600):
            if child.poll() is not None:
                break
            time.sleep(0.1)
        equal(child.poll(), 0, f"{name} ends it, though its input goes on")
        equal(child.stderr.read(), b"watch: 1 lines, 0 marked\n", f"{name}: the last sentence")
        check(os.path.getsize("kept") > 1000, f"{name}: what it learnt is saved")
        child.communicate()


def test_input_breaks():
    """What comes can be read no longer: what was learnt is saved, and the end is told."""
    for lines in (1, 3):
        listener = socket.create_server(("127.0.0.1", 0))
        here = socket.create_connection(listener.getsockname())
        there, _ = listener.accept()
        child = subprocess.Popen([program_tests.program, "--all", "--save", f"broken{lines}"], stdin=there, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE)
        for _ in range(lines):
            here.sendall(b"a line\n")
            equal(child.stdout.readline(), b"  a line\n", "a line is heard")
        here.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        here.close()  # a reset, not an end
        error = child.communicate(timeout=60)[1].decode()
        check(child.returncode == 1 and "cannot read standard input: Connection reset" in error, f"{lines} lines: {error}")
        check(os.path.exists(f"broken{lines}"), f"{lines} lines: what was learnt is kept")
        equal(run("--load", f"broken{lines}", given=b"").err, f"watch: {lines} lines, 0 marked\n", "and goes on")
        there.close()
        listener.close()
    folder = os.open(".", os.O_RDONLY)
    done = subprocess.run([program_tests.program, "--save", "nothing"], stdin=folder, stderr=subprocess.PIPE)
    os.close(folder)
    check(done.returncode == 1 and b"cannot read standard input" in done.stderr, f"a folder is no log: {done.stderr}")
    check(os.path.exists("nothing"), "and what it had is kept")


def test_log_is_kept():
    with open("app.log", "w") as file:
        file.write("one line\n")
    os.symlink("app.log", "the log")
    for name in ("app.log", "./app.log", "the log"):
        with open("app.log") as log:
            done = subprocess.run([program_tests.program, "--save", name], stdin=log, stderr=subprocess.PIPE)
        check(done.returncode == 2 and b"is to be read and cannot be written" in done.stderr, f"{name}: {done.stderr}")
        equal(open("app.log").read(), "one line\n", f"{name}: the log is not overwritten")
    os.chmod("whole", 0o600)
    with open("app.log") as log:
        equal(subprocess.run([program_tests.program, "--load", "whole", "--save", "whole"], stdin=log, stderr=subprocess.PIPE)
              .returncode, 0, "but it may go on in its own file")
    equal(os.stat("whole").st_mode & 0o777, 0o600, "which stays the reader's alone")


def test_nobody_reads():
    """Whoever reads the marks goes away: what was learnt is saved all the same."""
    child = subprocess.Popen([program_tests.program, "--all", "--save", "left"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
    child.stdout.close()
    child.stdout = None
    error = child.communicate(b"one line\n" * 20)[1]
    check(child.returncode == 1 and b"cannot write to stdout: Broken pipe" in error, f"it is told: {error}")
    check(os.path.exists("left") and os.path.getsize("left") > 1000, "and saved")


def test_refusals():
    refuses(1, "none: .*No such file", "--load", "none")
    refuses(1, "nowhere/x", "--save", "nowhere/x")
    refuses(2, "did you mean --margin", "--margins", "3")
    refuses(2, "--margin is \"-1\": allowed are .* from 0 to 100", "--margin", "-1")
    refuses(2, "--lines is for --measure alone", "--lines", "5000")
    refuses(2, "--measure makes its own log", "--measure", "--save", "x")
    refuses(2, "--quiet-first leaves fewer", "--measure", "--lines", "2000", "--quiet-first", "1500")
    refuses(2, "--quiet-first leaves fewer", "--measure", "--lines", "2001", "--quiet-first", "1002")
    for lines, quiet in ((2000, 1000), (2500, 1500)):  # 1000 are not fewer than 1000
        child = subprocess.Popen([program_tests.program, "--measure", "--lines", str(lines), "--quiet-first", str(quiet)],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(0.5)
        child.terminate()
        equal(child.communicate()[1], b"watch: interrupted: no table\n", f"{lines} lines, {quiet} of them quiet, are measured")
    done = run("--help")
    for option in "quiet-first margin all save load seed measure lines seeds planted".split():
        check(re.search(f"^  --{option} ", done.out, re.M), f"--help lists --{option}")


def test_measure():
    if not os.environ.get("WATCH_FULL"):
        return
    done = run("--measure", "--seeds", "1")
    own = re.search(r"own limit \| ([0-9.]+) \| ([0-9.]+) \| ([0-9.]+)", done.out)
    found = own and [float(own.group(i)) for i in (1, 2, 3)]
    check(own and sum(found) / 3 >= 90, f"nine of ten planted lines are found: {done.out}")


program_tests.run_tests("watch", test_planted, test_saved, test_input, test_signals, test_input_breaks, test_log_is_kept, test_nobody_reads, test_refusals, test_measure)

"""What the tests of one program each share in Python: imported, not run. CC and CFLAGS choose the compiler;
BIN names a folder that already holds the program."""
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
passed = failed = 0
program = None  # its path


def heed_hup():
    """Of a process to be: a program started under nohup would ignore the signal."""
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def check(ok, what):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print(f"FAILED: {what}", file=sys.stderr)


def equal(a, b, what):
    check(a == b, f"{what}: {a!r} is not {b!r}")


def run(*options, given=b"", stdout=subprocess.PIPE):
    """The ended process, with its output as text in .out and .err; given: its standard input."""
    done = subprocess.run([program, *options], input=given, stdout=stdout, stderr=subprocess.PIPE, timeout=300)
    done.out = (done.stdout or b"").decode()  # whatever came in, what comes out is UTF-8
    done.err = done.stderr.decode()
    return done


def refuses(status, sentence, *options, given=b""):
    done = run(*options, given=given)
    lines = done.err.splitlines()
    check(done.returncode == status and len(lines) == 1 and re.search(sentence, lines[0]),
          f"{options} is refused with {status}, {sentence}: {done.returncode}, {done.err!r}")


def run_tests(name, *tests):
    """Build examples/NAME.c, call the tests in a folder of their own, print the count and end."""
    global program
    with tempfile.TemporaryDirectory() as folder:
        where = os.environ.get("BIN")
        program = os.path.join(os.path.abspath(where) if where else folder, name)
        os.chdir(folder)
        if not where:
            subprocess.check_call([*shlex.split(os.environ.get("CC", "cc")),
                                   *shlex.split(os.environ.get("CFLAGS", "-O1")),
                                   os.path.join(ROOT, "examples", name + ".c"), "-o", program, "-lm", "-lpthread"])
        for test in tests:
            test()
        os.chdir(ROOT)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


# ---- tests of several programs -----------------------------------------------------------------------


def write(path, text):
    with open(path, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape"))
    return path


def read(path):
    with open(path, "rb") as file:
        return file.read()


def programs_in(folder, names):
    """Build examples/NAME.c there, without a word of the compiler, unless BIN has them; the folder that has."""
    if "BIN" in os.environ:
        return os.path.abspath(os.environ["BIN"])
    for name in names:
        done = subprocess.run([*shlex.split(os.environ.get("CC", "cc")), *shlex.split(os.environ.get("CFLAGS", "-O1")),
                               os.path.join(ROOT, "examples", name + ".c"), "-o", os.path.join(folder, name), "-lm",
                               "-lpthread"], capture_output=True)
        check(done.returncode == 0 and not done.stderr, f"{name} builds: {done.stderr.decode()}")
    return folder


def write_seas(**lines):
    """Texts to learn: so many lines each, the same in every run."""
    rng = random.Random(3)
    word = ["calm", "rough", "deep", "wide"]
    for name, count in lines.items():
        write(name, "".join(f"wave {rng.randrange(99)} of the {rng.choice(word)} sea, and then?\n"
                            for _ in range(count)))

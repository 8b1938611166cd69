#!/usr/bin/env python3
"""The house is what its contents say: floors and chapters in order, every call to the same floor or
one below, nothing declared before its room, no chapter too long to read.

    python3 tests/test_floors.py [FILE]     (needs gcc 10 or later: -fcallgraph-info)

A floor's banner is `/* ======== 2 ground: files ====`: number, floor, chapter. Calls come from
gcc's call graph of the expanded text, kernels of every instruction set included; which function
stands on which floor comes from the line of its definition.
"""
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
FLOORS = {
    "wavecoh.h": ["surface", "ground", "ops", "model", "running", "training", "toolkit"],
    "wavecoh_vk.h": [],  # as its own contents say
}
CHAPTER_LINES = 1200
BANNER = re.compile(r"/\* =+ (\d) (\w+)(?:: ([^=]*?))? =+ ?(?:\*/)?$")
faults = []


def check(ok, text):
    if not ok:
        faults.append(text)


class House:
    """Where the floors and chapters of one header begin."""

    def __init__(self, name):
        self.name = name
        self.lines = open(os.path.join(ROOT, name), encoding="utf-8").read().split("\n")
        self.chapters = []  # (line, floor number, floor, chapter)
        for number, line in enumerate(self.lines, 1):
            banner = BANNER.match(line)
            if banner:
                floor, word, chapter = banner.groups()
                self.chapters.append((number, int(floor), word, chapter or ""))

    def floor_of(self, line):
        floor = 0
        for start, number, _, _ in self.chapters:
            if start > line:
                break
            floor = number
        return floor


def banners_are_in_order(house):
    names = FLOORS[house.name] or [word for _, word in sorted(
        {(number, word) for _, number, word, _ in house.chapters})]
    check(house.chapters, f"{house.name}: no floor has a banner")
    for line, number, word, _ in house.chapters:
        known = 1 <= number <= len(names)
        check(known and names[number - 1] == word,
              f"{house.name}:{line}: floor {number} is not called {word}")
    for before, after in zip(house.chapters, house.chapters[1:]):
        check(before[1] <= after[1],
              f"{house.name}:{after[0]}: floor {after[1]} comes after floor {before[1]}")
    for number, word in enumerate(names, 1):
        check(any(c[1] == number for c in house.chapters),
              f"{house.name}: floor {number} {word} has no banner")


def contents_name_every_chapter(house):
    """The manual's CONTENTS has a line a floor, and each chapter's words behind it."""
    text = " ".join(line.strip() for line in house.lines[:house.chapters[0][0]])
    contents = re.search(r"CONTENTS(.*?)(?: OPTIONS| \*/)", text)
    check(contents is not None, f"{house.name}: no CONTENTS before the first floor")
    words = re.sub(r"\s+", " ", contents.group(1)) if contents else ""
    for line, number, floor, chapter in house.chapters:
        check(f"{number} {floor}" in words, f"{house.name}:{line}: CONTENTS lacks {number} {floor}")
        check(chapter in words, f"{house.name}:{line}: CONTENTS lacks the chapter \"{chapter}\"")


def chapters_are_short(house):
    ends = [c[0] for c in house.chapters[1:]] + [len(house.lines)]
    for (line, number, floor, chapter), end in zip(house.chapters, ends):
        check(number == 1 or end - line <= CHAPTER_LINES,
              f"{house.name}:{line}: {number} {floor}: {chapter} has {end - line} lines")


def lines_say_something(house):
    for number, line in enumerate(house.lines, 1):
        check(line.strip() != "*/", f"{house.name}:{number}: a line that holds only */")


def nothing_is_declared_ahead(house):
    """No prototype of a static function: its room is above whoever calls it."""
    text = "\n".join(house.lines[house.chapters[0][0]:])
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), text, flags=re.S)
    for proto in re.finditer(r"^static [^;{}()=#]*\b(wcohi?_\w+)\([^;{}]*\)\s*;", text, flags=re.M):
        line = house.chapters[0][0] + text[:proto.start()].count("\n") + 1
        check(False, f"{house.name}:{line}: {proto.group(1)} is declared ahead of its room")


def call_graph(source, flags):
    """(caller, its line, callee, its line) of every direct call inside the headers, by gcc."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "house.c")
        with open(path, "w") as f:
            f.write(source)
        done = subprocess.run(
            ["gcc", "-std=c99", "-O0", "-w", "-fcallgraph-info", f"-I{ROOT}", "-c", path, "-o",
             os.path.join(folder, "house.o"), *flags], capture_output=True, text=True)
        if done.returncode:
            return None, done.stderr
        info = os.path.join(folder, "house.ci")
        if not os.path.exists(info):
            return None, "no call graph"
        text = open(info).read()
    where = {}
    for title, file, line in re.findall(
            r'node: \{ title: "([^"]*)" label: "[^"\\]*\\n([^":]*):(\d+):', text):
        where[title] = (os.path.basename(file), int(line))
    calls = []
    for source_name, target in re.findall(
            r'edge: \{ sourcename: "([^"]*)" targetname: "([^"]*)"', text):
        if source_name in where and target in where:
            calls.append((source_name, *where[source_name], target, *where[target]))
    return calls, ""


def calls_go_down(house, calls):
    seen = set()
    bare = lambda title: title.rsplit(":", 1)[-1]
    for caller, file, line, callee, other_file, other_line in calls:
        if file != house.name or other_file != house.name or (caller, callee) in seen:
            continue
        seen.add((caller, callee))
        here, there = house.floor_of(line), house.floor_of(other_line)
        public = re.match(r"wcoh_", bare(callee)) is not None
        if there == 1 and public:
            continue  # defined elsewhere: gcc names the declaration
        check(there <= here, f"{house.name}:{line}: {bare(caller)} on floor {here} calls "
                             f"{bare(callee)} on floor {there} (line {other_line})")
    check(len(seen) > 20, f"{house.name}: a call graph of {len(seen)} calls")


def behaviours(house, recent):
    """(name, function) of everything that must hold of one header."""
    yield "banners are in order", lambda: banners_are_in_order(house)
    yield "contents name every chapter", lambda: contents_name_every_chapter(house)
    yield "chapters are short", lambda: chapters_are_short(house)
    yield "lines say something", lambda: lines_say_something(house)
    yield "nothing is declared ahead", lambda: nothing_is_declared_ahead(house)
    if not recent:
        print("not run: calls between floors (no gcc 10 or later)")
        return
    calls, error = call_graph(f'#define WAVECOH_IMPLEMENTATION\n#include "{house.name}"\n', [])
    if calls is None and "vulkan" in error and "No such file" in error:
        print(f"not run: calls of {house.name} (no Vulkan headers)")
        return
    yield "gcc gives a call graph", lambda: check(calls is not None, error[:400])
    yield "calls go down", lambda: calls_go_down(house, calls or [])


def main():
    passed = failed = 0
    try:
        version = subprocess.run(["gcc", "-dumpversion"], capture_output=True, text=True).stdout
        recent = int(version.split(".")[0]) >= 10
    except (OSError, ValueError):
        recent = False
    for name in sys.argv[1:] or list(FLOORS):
        for behaviour, run in behaviours(House(name), recent):
            faults.clear()
            run()
            passed, failed = passed + (not faults), failed + bool(faults)
            for fault in faults[:20]:
                print(f"{behaviour}: {fault}")
            if len(faults) > 20:
                print(f"{behaviour}: and {len(faults) - 20} more")
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())

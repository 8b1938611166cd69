#!/usr/bin/env python3
"""Writes the tables of Unicode into wavecoh.h, between its two lines with their name.

    pip install unicodedata2==16.0.0; python3 tools/gen_unicode.py [--check]

Classes of code points for the patterns of subword tokenizers, canonical decompositions and combining
orders for their normalisation form C, small letters for their Lowercase. Version 16.0, as the `tokenizers` package has it: another one
is refused, since equal ids depend on it.
"""
import os
import sys

HEADER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "wavecoh.h")
FIRST = "/* tools/gen_unicode.py writes from here */"
LAST = "/* to here */"
NAMES = ["C", "Cw", "Z", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Nd", "Nl", "No", "P", "Pc", "S", "Sw"]
# Symbols that are letters to \w (Other_Alphabetic): letters in circles and squares.
WORDS = {*range(0x24B6, 0x24EA), *range(0x1F130, 0x1F14A), *range(0x1F150, 0x1F16A),
         *range(0x1F170, 0x1F18A)}
POINTS = range(0x110000)
# The package's normaliser is of Unicode 9: to it these have no combining class and do not come apart.
YOUNGER = [(0x7fd, 0x7fd), (0x897, 0x89f), (0x8ca, 0x8d3), (0x9fe, 0x9fe), (0xc3c, 0xc3c),
           (0xd3b, 0xd3c), (0xeba, 0xeba), (0x1715, 0x1715), (0x1abf, 0x1ace), (0x1df6, 0x1dfa),
           (0xa82c, 0xa82c), (0x105c9, 0x105c9), (0x105e4, 0x105e4), (0x10d24, 0x10d27),
           (0x10d69, 0x10d6d), (0x10eab, 0x10eac), (0x10efd, 0x10eff), (0x10f46, 0x10f50),
           (0x10f82, 0x10f85), (0x11070, 0x11070), (0x1133b, 0x1133b), (0x11383, 0x11391),
           (0x113c5, 0x113d0), (0x1145e, 0x1145e), (0x11839, 0x1183a), (0x11938, 0x1193e),
           (0x11943, 0x11943), (0x119e0, 0x119e0), (0x11a34, 0x11a34), (0x11a47, 0x11a47),
           (0x11a99, 0x11a99), (0x11d42, 0x11d45), (0x11d97, 0x11d97), (0x11f41, 0x11f42),
           (0x16121, 0x1612f), (0x16d68, 0x16d6a), (0x16ff0, 0x16ff1), (0x1e08f, 0x1e08f),
           (0x1e130, 0x1e136), (0x1e2ae, 0x1e2ae), (0x1e2ec, 0x1e2ef), (0x1e4ec, 0x1e4ef),
           (0x1e5ee, 0x1e5ef)]

# Small letters that came with Unicode 15 to 17 (the package has those of its compiler), which Python
# itself may not know: first, last, step, and how far away the small one is.
YOUNGER_SMALL = [(0x1c89, 0x1c89, 1, 1), (0xa7cb, 0xa7cb, 1, 0x264 - 0xa7cb), (0xa7cc, 0xa7cc, 1, 1),
                 (0xa7ce, 0xa7ce, 1, 1), (0xa7d2, 0xa7d4, 2, 1), (0xa7da, 0xa7da, 1, 1),
                 (0x16ea0, 0x16eb8, 1, 27), (0xa7dc, 0xa7dc, 1, 0x19b - 0xa7dc),
                 (0x10d50, 0x10d65, 1, 0x20)]


def is_younger(point):
    return any(first <= point <= last for first, last in YOUNGER)


def class_of(u, point):
    general = u.category(chr(point))
    if point in (9, 10, 11, 12, 13, 0x85):
        return NAMES.index("Cw")
    if general in NAMES:
        return NAMES.index(general)
    if general[0] == "S" and point in WORDS:
        return NAMES.index("Sw")
    return NAMES.index(general[0])


def runs(value, shift):
    """Where the value changes: first point << shift | value."""
    out, last = [], None
    for point in POINTS:
        now = value(point)
        if now != last:
            out.append(point << shift | now)
        last = now
    return out


def decompositions(u):
    """(point, first, second or 0, composes) of every canonical one but Hangul's."""
    out = []
    for point in POINTS:
        text = u.decomposition(chr(point))
        if text and text[0] != "<" and not is_younger(point):
            parts = [int(p, 16) for p in text.split()] + [0]
            composes = len(parts) == 3 and u.normalize("NFC", chr(point)) == chr(point)
            out.append((point, parts[0], parts[1], composes))
    return out


def small_letters():
    """[first, last, step, distance] of capital letters: each one's small letter; U+0130 has two points."""
    small = {point: ord(chr(point).lower()) - point for point in POINTS
             if len(chr(point).lower()) == 1 and chr(point).lower() != chr(point)}
    for first, last, step, away in YOUNGER_SMALL:
        small.update({point: away for point in range(first, last + 1, step)})
    rows = []
    for point in sorted(small):
        row = rows[-1] if rows else None
        step = point - row[1] if row else 0
        if row and row[3] == small[point] and (step == row[2] or (row[0] == row[1] and step <= 2)):
            row[1:3] = [point, step]
        else:
            rows.append([point, point, 1, small[point]])
    return rows


def table(name, kind, comment, values):
    lines = [f"/* {comment} */", f"static const {kind} {name}[{len(values)}] = {{"]
    row = "   "
    for value in values:
        text = f" {value:#x}," if kind == "uint32_t" else f" {value},"
        if len(row) + len(text) > 100:
            lines.append(row)
            row = "   "
        row += text
    lines += [row.rstrip(",") + "};"]
    return lines


def made(u):
    pairs = decompositions(u)
    seconds = sorted({p[2] for p in pairs if p[2]})
    place = {0: 0, **{point: i + 1 for i, point in enumerate(seconds)}}
    joined = sorted((i for i, p in enumerate(pairs) if p[3]), key=lambda i: pairs[i][1:3])
    lines = ["/* clang-format off */"]
    lines += table("wcohi_unicode_runs", "uint32_t",
                   f"Unicode {u.unidata_version}: first point of a run << 4 | wcohi_class",
                   runs(lambda x: class_of(u, x), 4))
    lines += table("wcohi_nfc_points", "uint32_t", "what comes apart, ascending",
                   [p[0] for p in pairs])
    lines += table("wcohi_nfc_parts", "uint32_t",
                   "the parts of each: the first | the second's place (1 ..) << 21, 0: it is one",
                   [p[1] | place[p[2]] << 21 for p in pairs])
    lines += table("wcohi_nfc_seconds", "uint32_t", "second parts, ascending", seconds)
    lines += table("wcohi_nfc_joined", "uint16_t",
                   "which of them come together again, by first and second part", joined)
    lines += table("wcohi_nfc_orders", "uint32_t", "first point << 8 | canonical combining class",
                   runs(lambda x: 0 if is_younger(x) else u.combining(chr(x)), 8))
    lines += table("wcohi_small_runs", "int32_t",
                   "capital letters: first, last << 1 | every other one alone, distance to the small",
                   [x for row in small_letters() for x in (row[0], row[1] << 1 | row[2] - 1, row[3])])
    return lines + ["/* clang-format on */"]


def main():
    import unicodedata2
    if unicodedata2.unidata_version != "16.0.0":
        sys.exit(f"gen_unicode: unicodedata2 has Unicode {unicodedata2.unidata_version}, not 16.0.0")
    text = open(HEADER, encoding="utf-8").read()
    before, rest = text.split(FIRST + "\n")
    old, after = rest.split(LAST + "\n")
    new = "\n".join(made(unicodedata2)) + "\n"
    if "--check" in sys.argv:
        print("the tables of Unicode are", "as made" if new == old else "DIFFERENT")
        return new != old
    open(HEADER, "w", encoding="utf-8").write(before + FIRST + "\n" + new + LAST + "\n" + after)
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Compile tools/shaders/*.comp to SPIR-V and write shaders.h.

    python3 tools/gen_shaders.py            write shaders.h
    python3 tools/gen_shaders.py --check    exit 1 if shaders.h is not what the sources give
    python3 tools/gen_shaders.py --help     this text

Needs glslangValidator, spirv-val and spirv-opt (Debian: glslang-tools spirv-tools); users of the
library need none of them. Same tools, same sources, same bytes: the word counts, bindings, push
block and workgroup of each row of the table are read from the SPIR-V itself, the hash is of the
source after its includes. A push block `uniform NormBack {..}` becomes the C struct
wcoh_push_norm_back, checked against the offsets in the SPIR-V.

Lines that a source may have, for this program:
    /* variants: name=MACRO,MACRO other=MACRO */   several shaders of one file; without it a file
                                                   makes one, of its own name
    /* part: training */                           left out with the macro that PARTS names; so is a
                                                   variant with the macro BACK
    /* target: vulkan1.3 */                        the version that it is compiled for
    /* tool: slangpy */                            takes a newer compiler (see Newer below)

Words are written in a text of our own (see Writer below), a fourth as long as numbers would be;
wcohi_vk_words in wavecoh_vk.h reads it.
"""
import ctypes
import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections import Counter

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCES = os.path.join(HERE, "shaders")
OUTPUT = os.path.join(os.path.dirname(HERE), "shaders.h")

# Only what makes the words fewer: optimising is the driver's work, after specialization, and `-O` of
# spirv-tools 2023.1 drops live loops of coherence_back_key.comp (its dead code pass, after inlining).
PASSES = ["--eliminate-dead-functions", "--strip-debug", "--compact-ids"]

# (part, the line that opens it in shaders.h): a program carries the shaders of the parts that it asks for.
PARTS = [("", ""), ("cooperative", "#ifndef WAVECOH_VK_NO_COOPERATIVE"), ("training", "#ifndef WAVECOH_NO_TRAINING"),
         ("tests", "#ifdef WAVECOH_VK_TEST_SHADERS")]

# Opcodes and decorations of the SPIR-V specification that the table is read from.
OP_EXECUTION_MODE, OP_SPEC_CONSTANT_COMPOSITE = 16, 51
OP_TYPE_FLOAT, OP_TYPE_INT = 22, 21
OP_TYPE_STRUCT, OP_TYPE_POINTER, OP_VARIABLE, OP_DECORATE, OP_MEMBER_DECORATE = 30, 32, 59, 71, 72
SPEC_ID, BUILT_IN, NON_WRITABLE, BINDING, OFFSET = 1, 11, 24, 33, 35
DEBUG = (3, 4, 5, 6, 7, 8) # OpSource to OpLine
PUSH_CONSTANT, LOCAL_SIZE, WORKGROUP_SIZE = 9, 17, 25


def include(path, seen):
    """The text of a file with its #include lines replaced by the files' texts, each once or where it says /* again */."""
    lines = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            match = re.match(r'\s*#include "([^"]+)"( /\* again \*/)?', line)
            if not match:
                lines.append(line)
            elif match.group(2) or match.group(1) not in seen:
                seen.add(match.group(1))
                lines.append(include(os.path.join(SOURCES, match.group(1)), seen))
    return "".join(lines)


def run(arguments):
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit("%s\n%s" % (" ".join(arguments), done.stdout))


def compile_shader(name, source, macros, target):
    """SPIR-V words of a source text."""
    head, rest = source.split("\n", 1)
    text = head + "\n" + "".join("#define %s\n" % macro for macro in macros) + rest
    with tempfile.TemporaryDirectory() as folder:
        glsl, raw, out = (os.path.join(folder, name + ext) for ext in (".comp", ".raw", ".spv"))
        with open(glsl, "w", encoding="utf-8") as file:
            file.write(text)
        run([os.environ.get("GLSLANG", "glslangValidator"), "-V", "--quiet", "--target-env", target, "-o", raw, glsl])
        run(["spirv-opt", *PASSES, raw, "-o", out])
        run(["spirv-val", "--target-env", target, out])
        with open(out, "rb") as file:
            data = file.read()
    return struct.unpack("<%dI" % (len(data) // 4), data)


class Newer:
    """glslang of 2026 out of the slangpy wheel, for what Debian's is too old for (KHR cooperative
    matrices): `python3 -m pip download --no-deps slangpy==0.43.1`, unzip it, and let
    WAVECOH_SLANGPY name the folder that then holds libslang-glslang-2026.12.so. Without it, the
    words that shaders.h already has are kept as long as the source is the same."""

    def __init__(self, folder):
        self.library = ctypes.CDLL(os.path.join(folder, "libslang-glslang-2026.12.so"))
        self.library.glslang_validateSPIRV.restype = ctypes.c_bool

    def compile(self, text):
        take = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)

        class Request(ctypes.Structure): # glslang_CompileRequest_1_1
            _fields_ = [("size", ctypes.c_size_t), ("path", ctypes.c_char_p), ("begin", ctypes.c_void_p),
                        ("end", ctypes.c_void_p), ("hear", take), ("hear_user", ctypes.c_void_p),
                        ("out", take), ("out_user", ctypes.c_void_p), ("stage", ctypes.c_int),
                        ("action", ctypes.c_uint), ("optimize", ctypes.c_uint), ("debug", ctypes.c_uint),
                        ("target", ctypes.c_char_p), ("version", ctypes.c_int * 3)]

        source = text.encode()
        buffer, code, heard = ctypes.create_string_buffer(source, len(source)), [], []
        out = take(lambda data, size, user: code.append(ctypes.string_at(data, size)))
        hear = take(lambda data, size, user: heard.append(ctypes.string_at(data, size)))
        start = ctypes.addressof(buffer)
        request = Request(ctypes.sizeof(Request), b"shader.comp", start, start + len(source), hear, None,
                          out, None, 6, 0, 0, 0, b"vulkan1.3", (ctypes.c_int * 3)(1, 6, 0))
        if self.library.glslang_compile_1_1(ctypes.byref(request)):
            sys.exit(b"".join(heard).decode())
        data = b"".join(code)
        if not self.library.glslang_validateSPIRV(ctypes.create_string_buffer(data, len(data)), len(data) // 4):
            sys.exit("the SPIR-V of the newer glslang is not valid")
        words = struct.unpack("<%dI" % (len(data) // 4), data)
        return words[:5] + tuple(word for first, operands in instructions(words)
                                 if first & 0xffff not in DEBUG for word in (first, *operands))


def newer_words(name, source, digest):
    """Words of a shader that needs the newer compiler: from it, or as shaders.h has them."""
    folder = os.environ.get("WAVECOH_SLANGPY")
    if folder:
        return Newer(folder).compile(source)
    words = stored(name, digest)
    if not words:
        sys.exit("%s needs slangpy==0.43.1: see Newer in tools/gen_shaders.py" % name)
    return words


def reflect(words):
    """Bindings, which of them are written, offsets and kinds of the push block's members ("u" or "f"),
    specialization constants, and the workgroup where it is fixed."""
    at, binding, read_only, members, structs, pointers, variables = 5, {}, set(), {}, {}, {}, []
    kinds, local, size, composites, specs = {}, (0, 0, 0), 0, set(), 0
    while at < len(words):
        count, op = words[at] >> 16, words[at] & 0xFFFF
        w = words[at:at + count]
        if op == OP_DECORATE and w[2] == BINDING:
            binding[w[1]] = w[3]
        elif op == OP_DECORATE and w[2] == SPEC_ID:
            specs = max(specs, w[3] + 1)
        elif op == OP_SPEC_CONSTANT_COMPOSITE:
            composites.add(w[2])
        elif op == OP_DECORATE and w[2] == BUILT_IN and w[3] == WORKGROUP_SIZE:
            size = w[1]
        elif op == OP_DECORATE and w[2] == NON_WRITABLE:
            read_only.add(w[1])
        elif op == OP_MEMBER_DECORATE and w[3] == NON_WRITABLE:
            read_only.add(w[1])
        elif op == OP_MEMBER_DECORATE and w[3] == OFFSET:
            members.setdefault(w[1], {})[w[2]] = w[4]
        elif op in (OP_TYPE_INT, OP_TYPE_FLOAT) and w[2] == 32:
            kinds[w[1]] = "f" if op == OP_TYPE_FLOAT else "i" if w[3] else "u"
        elif op == OP_TYPE_STRUCT:
            structs[w[1]] = w[2:]
        elif op == OP_TYPE_POINTER:
            pointers[w[1]] = (w[2], w[3])
        elif op == OP_VARIABLE:
            variables.append((w[1], w[2], w[3]))
        elif op == OP_EXECUTION_MODE and w[2] == LOCAL_SIZE:
            local = tuple(w[3:6])
        at += count
    push, writes = [], {}
    for kind, name, storage in variables:
        struct_id = pointers[kind][1]
        if storage == PUSH_CONSTANT:
            push = [(offset, kinds[structs[struct_id][i]]) for i, offset in sorted(members[struct_id].items())]
        elif name in binding:
            writable = struct_id not in read_only and name not in read_only
            writes[binding[name]] = writes.get(binding[name], False) or writable
    if sorted(writes) != list(range(len(writes))):
        sys.exit("bindings %s: must be 0, 1, 2 .. without a gap" % sorted(writes))
    return len(writes), sum(1 << i for i, written in writes.items() if written), push, specs, (0, 0, 0) if size in composites else local


def members(body):
    """The kind ("u" or "f") of every member of a GLSL block."""
    return [kind[0] for kind, names in re.findall(r"(uint|float)\s+([^;]+);", body) for _ in names.split(",")]


def struct_text(name, body):
    """A C struct of a GLSL block, line by line, and behind it what fails to compile where a compiler lays it
    out differently."""
    lines = re.sub(r" +/\*", " /*", re.sub(r"\buint\b", "uint32_t", body)).strip().splitlines()
    text = "\n".join("    " + line.strip() for line in lines)
    return "\ntypedef struct %s {\n%s\n} %s;\ntypedef char %s_size[sizeof(%s) == %d ? 1 : -1];\n" % (
        name, text, name, name, name, 4 * len(members(body)))


def push_struct(source, push):
    """(name, text) of the C struct of a shader's push block, whose members stand in the SPIR-V as the list
    `push` says."""
    block = re.search(r"layout\(push_constant\) uniform (\w+)\s*\{(.*?)\}", source, re.S)
    name = "wcoh_push" + re.sub("([A-Z])", lambda m: "_" + m.group(1).lower(), block.group(1))
    wanted = [(4 * i, kind) for i, kind in enumerate(members(block.group(2)))]
    if push != wanted:
        sys.exit("%s: the SPIR-V has members %s, the source %s" % (name, push, wanted))
    return name, struct_text(name, block.group(2))


class Writer:
    """Words as text. A number is a digit of 57 ('#' to '[', '!' for '?') after any number of digits of 34
    (']' to '~'), most significant first, the latter counting from 1. An instruction is the number of its
    form, most used first, then its operands. A form is a first word (length and opcode) and a mask of the
    operands that are ids and shorter as `largest id so far + 2 - id`."""

    def __init__(self, modules):
        used, plain, near = Counter(), Counter(), Counter()
        ids = self.id_operands(modules)
        for words in modules:
            most = 0
            for first, operands in instructions(words):
                used[first] += 1
                for i, word in enumerate(operands[:32]):
                    if (first, i) in ids:
                        plain[first, i] += len(number(word))
                        near[first, i] += len(number((most + 2 - word) & 0xffffffff))
                        most = max(most, word)
        self.forms = sorted(used, key=lambda first: (-used[first], first))
        self.index = {first: i for i, first in enumerate(self.forms)}
        self.masks = [sum(1 << i for i in range(32) if (first, i) in ids and near[first, i] <= plain[first, i])
                      for first in self.forms]

    @staticmethod
    def id_operands(modules):
        """(first word, operand) of every operand that is an id wherever it occurs, as spirv-dis says; it knows
        no cooperative matrices, so what only those have counts as none. A guess that is wrong costs
        characters, no more."""
        seen = {}
        for words in modules:
            with tempfile.NamedTemporaryFile(suffix=".spv") as file:
                file.write(struct.pack("<%dI" % len(words), *words))
                file.flush()
                text = subprocess.run(["spirv-dis", "--raw-id", "--no-header", "--no-indent", file.name],
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
            for line, (first, operands) in zip(text.splitlines(), instructions(words)):
                tokens = re.sub(r'"[^"]*"', "text", line).split()
                if len(tokens) > 1 and tokens[1] == "=":
                    result = tokens.pop(0)
                    tokens.pop(0)
                    tokens.insert(1 if operands[0] == int(result[1:]) else 2, result)
                for i, word in enumerate(operands):
                    is_id = i + 1 < len(tokens) and tokens[i + 1] == "%%%d" % word
                    seen[first, i] = seen.get((first, i), True) and is_id
        return {key for key, is_id in seen.items() if is_id}

    def text(self, words):
        out, most = [number(word) for word in words[:5]], 0
        for first, operands in instructions(words):
            index = self.index[first]
            out.append(number(index))
            for i, word in enumerate(operands):
                near = i < 32 and self.masks[index] >> i & 1
                out.append(number((most + 2 - word) & 0xffffffff if near else word))
                most = max(most, word) if near else most
        return "".join(out)


def instructions(words):
    at = 5
    while at < len(words):
        count = words[at] >> 16
        yield words[at], words[at + 1:at + count]
        at += count


def number(value):
    """A number as Writer has it."""
    text = chr(ord("#") + value % 57).replace("?", "!")
    value //= 57
    while value:
        text = chr(ord("]") + (value - 1) % 34) + text
        value = (value - 1) // 34
    return text


def read(text, forms):
    """The words of a Writer's text, with its (first word, mask) of every form."""
    at = 0

    def take():
        nonlocal at
        value = 0
        while text[at] > "[":
            value = value * 34 + ord(text[at]) - ord("]") + 1
            at += 1
        at += 1
        return value * 57 + ord(text[at - 1].replace("!", "?")) - ord("#")

    words, most = [take() for _ in range(5)], 0
    while at < len(text):
        first, mask = forms[take()]
        words.append(first)
        for i in range((first >> 16) - 1):
            word = take()
            if i < 32 and mask >> i & 1:
                word = (most + 2 - word) & 0xffffffff
                most = max(most, word)
            words.append(word)
    return tuple(words)


def stored(name, digest):
    """The words of a shader as shaders.h has them; None if they are of another source."""
    with open(OUTPUT, encoding="utf-8") as file:
        old = file.read()
    forms = [(int(first, 16), int(mask, 16)) for first, mask in re.findall(r"\{(0x\w+), (0x\w+)\}", old)]
    rows = re.search(r"wcoh_spv_%s\[\]\[\d+\] = \{\n(.*?)\};" % name, old, re.S)
    if not rows or '"%s"' % digest not in old:
        return None
    return read("".join(re.findall(r'"(.*)"', rows.group(1))), forms)


class Shader:
    def __init__(self, name, words, digest, file, source, part):
        self.name, self.words, self.digest, self.file, self.part = name, words, digest, file, part
        self.bindings, self.writes, push, self.specs, self.workgroup = reflect(words)
        self.push = 4 * len(push)
        self.struct, self.struct_text = push_struct(source, push)


def shaders():
    """Every shader, in the order of parts and names."""
    made = []
    for file in sorted(os.listdir(SOURCES)):
        if not file.endswith(".comp"):
            continue
        source = include(os.path.join(SOURCES, file), set())
        variants = re.search(r"/\* variants: (.*?) \*/", source)
        target = re.search(r"/\* target: (\S+) \*/", source)
        for variant in variants.group(1).split() if variants else [file[:-5] + "="]:
            name, macros = variant.split("=", 1)
            macros = [macro for macro in macros.split(",") if macro]
            digest = hashlib.sha256((" ".join(macros) + "\n" + source).encode()).hexdigest()[:16]
            if re.search(r"/\* tool: slangpy \*/", source):
                words = newer_words(name, source, digest)
            else:
                words = compile_shader(name, source, macros, target.group(1) if target else "vulkan1.1")
            part = re.search(r"/\* part: (\S+) \*/", source)
            part = part.group(1) if part else "training" if "BACK" in macros else ""
            made.append(Shader(name, words, digest, file, source, part))
    order = [part for part, _ in PARTS]
    return sorted(made, key=lambda shader: (order.index(shader.part), shader.name))


HEADER = """/* shaders.h - SPIR-V of wavecoh_vk.h. Generated by tools/gen_shaders.py from tools/shaders; do not edit.
   First the push constants of the shaders, one struct for each block of the GLSL, and the frame. Then
   one row of wcoh_spv_table for each shader: its words as text, how many storage buffers it binds (0,
   1, ..), which of them it writes (bit mask), bytes of its push constants, how many specialization
   constants (0, 1, ..), its workgroup (0: constant 0 gives it) and the hash of its source.
   The text of the words: tools/gen_shaders.py --help. SPDX-License-Identifier: see wavecoh.h */
#ifndef WAVECOH_SHADERS_H
#define WAVECOH_SHADERS_H

#include <stddef.h>
#include <stdint.h>
"""

WIDTH = 94  # of a row of text; rows are short since C promises no more than 4095 characters a literal

TYPES = """
typedef struct wcoh_spv_row {
    const char *name;
    const char *text; /* rows of %d characters and a 0 */
    size_t count;     /* of words */
    unsigned bindings, writes, push, specs, workgroup[3];
    const char *hash;
} wcoh_spv_row;

""" % WIDTH


def by_part(made, text):
    """The texts of shaders, each part between the lines that leave it out."""
    out = []
    for part, opening in PARTS:
        lines = [text(shader) for shader in made if shader.part == part]
        if opening and any(lines):
            lines = [opening + "\n"] + lines + ["#endif\n"]
        out.extend(lines)
    return "".join(out)


def structs(made):
    """The push structs, each once and in the part of the first shader that has it; then frame and member."""
    first = {}
    for shader in made:
        if first.setdefault(shader.struct, shader).struct_text != shader.struct_text:
            sys.exit("%s is not the same in every shader" % shader.struct)
    bodies = []
    for name, opening in (("frame.glsl", "buffer Frame"), ("members.glsl", "struct Member")):
        with open(os.path.join(SOURCES, name), encoding="utf-8") as file:
            bodies.append(re.search(opening + r"\s*\{(.*?)\}", file.read(), re.S).group(1))
    return (by_part(made, lambda shader: shader.struct_text if first[shader.struct] is shader else "") +
            "\n/* What changes from one run of a recorded pass to the next. */" +
            struct_text("wcoh_spv_frame", bodies[0]) +
            "\n/* Whose row a row of the batch is. */" + struct_text("wcoh_spv_member", bodies[1]))


def most_words(made):
    """WCOH_SPV_MOST, the words of the largest shader that a program carries, for each choice of parts."""
    most = lambda *parts: max(len(shader.words) for shader in made if shader.part in parts)
    return ("/* Words of the largest shader. */\n#if !defined(WAVECOH_NO_TRAINING)\n#define WCOH_SPV_MOST %d\n"
            "#elif !defined(WAVECOH_VK_NO_COOPERATIVE)\n#define WCOH_SPV_MOST %d\n#else\n#define WCOH_SPV_MOST %d\n#endif\n"
            % (most("", "cooperative", "training", "tests"), most("", "cooperative", "tests"), most("", "tests")))


def write():
    made = shaders()
    writer = Writer([shader.words for shader in made])
    forms = list(zip(writer.forms, writer.masks))

    def words(shader):
        text = writer.text(shader.words)
        assert read(text, forms) == shader.words, shader.name
        rows = "".join('"%s",\n' % text[i:i + WIDTH] for i in range(0, len(text), WIDTH))
        return "\n/* %s, of %s */\nstatic const char wcoh_spv_%s[][%d] = {\n%s};\n" % (
            shader.name, shader.file, shader.name, WIDTH + 1, rows)

    def row(shader):
        return '    {"%s", wcoh_spv_%s[0], %d, %d, 0x%x, %d, %d, {%d, %d, %d}, "%s"},\n' % (
            shader.name, shader.name, len(shader.words), shader.bindings, shader.writes, shader.push, shader.specs,
            *shader.workgroup, shader.digest)

    out = [HEADER, structs(made), "\nenum {\n"]
    out.append(by_part(made, lambda shader: "    WCOH_SPV_%s,\n" % shader.name.upper()))
    out.extend(["    WCOH_SPV_COUNT\n};\n", TYPES, most_words(made)])
    out.append("\n/* Forms of instructions, most used first: first word, mask of operands relative to the largest id. */\n"
               "static const uint32_t wcoh_spv_forms[%d][2] = {\n" % len(forms))
    pairs = ["{0x%x, 0x%x}," % form for form in forms]
    out.extend("    " + " ".join(pairs[i:i + 5]) + "\n" for i in range(0, len(pairs), 5))
    out.extend(["};\n", by_part(made, words), "\nstatic const wcoh_spv_row wcoh_spv_table[WCOH_SPV_COUNT] = {\n"])
    out.extend([by_part(made, row), "};\n\n#endif\n"])
    return "".join(out)


def main():
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return 0
    if set(sys.argv[1:]) - {"--check"}:
        print(__doc__, file=sys.stderr)
        return 2
    for tool in ("glslangValidator", "spirv-opt", "spirv-val", "spirv-dis"):
        if not shutil.which(tool):
            sys.exit("%s is not installed (Debian: apt-get install glslang-tools spirv-tools)" % tool)
    text = write()
    if "--check" in sys.argv:
        with open(OUTPUT, encoding="utf-8") as file:
            same = file.read() == text
        print("shaders.h is %s" % ("up to date" if same else "NOT what tools/shaders gives"))
        sys.exit(not same)
    with open(OUTPUT, "w", encoding="utf-8") as file:
        file.write(text)
    print("%s: %d bytes" % (OUTPUT, len(text)))


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Compile tools/shaders/*.comp to SPIR-V and write shaders.h.

    python3 tools/gen_shaders.py            write shaders.h
    python3 tools/gen_shaders.py --check    exit 1 if shaders.h is not what the sources give

Needs glslangValidator, spirv-val and spirv-opt (Debian: glslang-tools spirv-tools); users of the
library need none of them. Same tools, same sources, same bytes: the word counts, bindings, push
block and workgroup of each row of the table are read from the SPIR-V itself, the hash is of the
source after its includes. A line `/* variants: name=MACRO,MACRO other=MACRO */` makes several shaders
of one file; without it a file makes one, of its own name. A line `/* tool: slangpy */` takes a newer
compiler for that file (see Newer below).
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

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCES = os.path.join(HERE, "shaders")
OUTPUT = os.path.join(os.path.dirname(HERE), "shaders.h")

# Only what makes the words fewer: optimising is the driver's work, after specialization, and `-O` of
# spirv-tools 2023.1 drops live loops of attend_back_key.comp (its dead code pass, after inlining).
PASSES = ["--eliminate-dead-functions", "--strip-debug", "--compact-ids"]

# Opcodes and decorations of the SPIR-V specification that the table is read from.
OP_EXECUTION_MODE, OP_SPEC_CONSTANT_COMPOSITE = 16, 51
OP_TYPE_VECTOR, OP_TYPE_FLOAT, OP_TYPE_INT = 23, 22, 21
OP_TYPE_STRUCT, OP_TYPE_POINTER, OP_VARIABLE, OP_DECORATE, OP_MEMBER_DECORATE = 30, 32, 59, 71, 72
SPEC_ID, BUILT_IN, NON_WRITABLE, BINDING, OFFSET = 1, 11, 24, 33, 35
PUSH_CONSTANT, LOCAL_SIZE, WORKGROUP_SIZE = 9, 17, 25


def include(path, seen):
    """The text of a file with its #include lines replaced by the files' texts, each at most once."""
    lines = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            match = re.match(r'\s*#include "([^"]+)"', line)
            if not match:
                lines.append(line)
            elif match.group(1) not in seen:
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
        return struct.unpack("<%dI" % (len(data) // 4), data)


def newer_words(name, source, digest):
    """Words of a shader that needs the newer compiler: from it, or as shaders.h has them."""
    folder = os.environ.get("WAVECOH_SLANGPY")
    if folder:
        return Newer(folder).compile(source)
    with open(OUTPUT, encoding="utf-8") as file:
        old = file.read()
    words = re.search(r"wcoh_spv_%s\[\d+\] = \{([^}]*)\}" % name, old)
    if not words or '"%s"' % digest not in old:
        sys.exit("%s needs slangpy==0.43.1: see Newer in tools/gen_shaders.py" % name)
    return tuple(int(word, 16) for word in words.group(1).replace(",", " ").split())


def reflect(words):
    """Bindings, which of them are written, bytes of the push block, specialization constants, and the
    workgroup where it is fixed."""
    at, binding, read_only, members, structs, pointers, variables = 5, {}, set(), {}, {}, {}, []
    sizes, local, size, composites, specs = {}, (0, 0, 0), 0, set(), 0
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
        elif op in (OP_TYPE_INT, OP_TYPE_FLOAT):
            sizes[w[1]] = w[2] // 8
        elif op == OP_TYPE_VECTOR:
            sizes[w[1]] = sizes[w[2]] * w[3]
        elif op == OP_TYPE_STRUCT:
            structs[w[1]] = w[2:]
        elif op == OP_TYPE_POINTER:
            pointers[w[1]] = (w[2], w[3])
        elif op == OP_VARIABLE:
            variables.append((w[1], w[2], w[3]))
        elif op == OP_EXECUTION_MODE and w[2] == LOCAL_SIZE:
            local = tuple(w[3:6])
        at += count
    push, writes = 0, {}
    for kind, name, storage in variables:
        struct_id = pointers[kind][1]
        if storage == PUSH_CONSTANT:
            push = max(offset + sizes[structs[struct_id][i]] for i, offset in members[struct_id].items())
        elif name in binding:
            writable = struct_id not in read_only and name not in read_only
            writes[binding[name]] = writes.get(binding[name], False) or writable
    if sorted(writes) != list(range(len(writes))):
        sys.exit("bindings %s: must be 0, 1, 2 .. without a gap" % sorted(writes))
    return len(writes), sum(1 << i for i, written in writes.items() if written), push, specs, (0, 0, 0) if size in composites else local


def shaders():
    """(name, words, hash, source file) of every shader, in the order of names."""
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
            made.append((name, words, digest, file))
    return sorted(made)


HEADER = """/* shaders.h - SPIR-V of wavecoh_vk.h. Generated by tools/gen_shaders.py from tools/shaders; do not edit.
   One row of wcoh_spv_table for each shader: its words, how many storage buffers it binds (0, 1, ..),
   which of them it writes (bit mask), bytes of its push constants, how many specialization constants
   (0, 1, ..), its workgroup (0: constant 0 gives it) and the hash of its source. SPDX-License-Identifier: see wavecoh.h */
#ifndef WAVECOH_SHADERS_H
#define WAVECOH_SHADERS_H

#include <stddef.h>
#include <stdint.h>

typedef struct wcoh_spv_row {
    const char *name;
    const uint32_t *words;
    size_t count; /* of words */
    unsigned bindings, writes, push, specs, workgroup[3];
    const char *hash;
} wcoh_spv_row;

"""


def write():
    out, rows = [HEADER], []
    made = shaders()
    out.append("enum {\n")
    out.extend("    WCOH_SPV_%s,\n" % name.upper() for name, _, _, _ in made)
    out.append("    WCOH_SPV_COUNT\n};\n")
    for name, words, digest, file in made:
        out.append("\n/* %s, of %s */\nstatic const uint32_t wcoh_spv_%s[%d] = {\n" % (name, file, name, len(words)))
        for i in range(0, len(words), 9):
            out.append("    " + ", ".join("0x%x" % word for word in words[i:i + 9]) + ",\n")
        out.append("};\n")
        bindings, writes, push, specs, local = reflect(words)
        rows.append('    {"%s", wcoh_spv_%s, %d, %d, 0x%x, %d, %d, {%d, %d, %d},\n     "%s"},\n'
                    % (name, name, len(words), bindings, writes, push, specs, *local, digest))
    out.append("\nstatic const wcoh_spv_row wcoh_spv_table[WCOH_SPV_COUNT] = {\n")
    out.extend(rows)
    out.append("};\n\n#endif\n")
    return "".join(out)


def main():
    if set(sys.argv[1:]) - {"--check"}:
        print(__doc__)
        return 0 if {"-h", "--help"} & set(sys.argv) else 2
    for tool in ("glslangValidator", "spirv-opt", "spirv-val"):
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

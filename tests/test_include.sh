#!/bin/sh
# wavecoh.h includes itself once for every instruction set: by its own name, however it is called and
# found; a text that cannot find itself says so with #error. Kernels are ordinary lines.
#
# Run from anywhere: sh tests/test_include.sh. CC chooses the compiler (default cc).

cd "$(dirname "$0")/.." || exit 1
root=$PWD
CC=${CC:-cc}
work=$(mktemp -d "${TMPDIR:-/tmp}/wavecoh.XXXXXX") || exit 1
trap 'rm -rf "$work"' 0
passed=0
failed=0

# ok NAME COMMAND ..: the command succeeds
ok() {
    name=$1
    shift
    if "$@" > "$work/out" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $name"
        head -n 5 "$work/out"
    fi
}
# refused NAME PATTERN COMMAND ..: the command fails and says PATTERN
refused() {
    name=$1 pattern=$2
    shift 2
    if "$@" > "$work/out" 2>&1 || ! grep -Eq -- "$pattern" "$work/out"; then
        failed=$((failed + 1))
        echo "FAILED: $name"
        head -n 5 "$work/out"
    else
        passed=$((passed + 1))
    fi
}
have() { command -v "$1" > /dev/null 2>&1; }

mkdir -p "$work/lib/inner" "$work/program"
cp wavecoh.h "$work/lib/wavecoh.h"
cp wavecoh.h "$work/lib/renamed.h"
ln -s ../lib/wavecoh.h "$work/program/linked.h"
ln -s "$root/wavecoh.h" "$work/lib/inner/wavecoh.h"
program() { printf '#define WAVECOH_IMPLEMENTATION\n#include "%s"\nint main(void) { return 0; }\n' "$2" > "$work/program/$1"; }
program plain.c wavecoh.h
program renamed.c renamed.h
program linked.c linked.h
program relative.c ../lib/inner/wavecoh.h
printf '#define WAVECOH_IMPLEMENTATION\n#include "%s"\nint main(void) { return 0; }\n' \
    "$root/wavecoh_vk.h" > "$work/program/vulkan.c"
{ # the text in the middle of a program; and of a header with a guard
    printf '#define WAVECOH_IMPLEMENTATION\n'
    cat wavecoh.h
    printf 'int main(void) { return 0; }\n'
} > "$work/program/pasted.c"
{
    printf '#ifndef ALL_H\n#define ALL_H\n#define WAVECOH_IMPLEMENTATION\n'
    cat wavecoh.h
    printf '#endif\n'
} > "$work/lib/all.h"
printf '#include "all.h"\nint main(void) { return 0; }\n' > "$work/program/all.c"
echo 'int another_text;' > "$work/lib/another.h"

cd "$work/program" || exit 1
named() { # does the compiler know its file's name? (tcc and GCC before 12 do not)
    printf '#ifndef __FILE_NAME__\n#error no\n#endif\n' | $1 -x c -fsyntax-only - > "$work/out" 2>&1
}
for cc in $CC gcc clang g++ tcc x86_64-w64-mingw32-gcc emcc; do
    have "$cc" || { echo "not run: $cc is not here"; continue; }
    case " $done_with " in *" $cc "*) continue ;; esac
    done_with="$done_with $cc"
    case $cc in
    tcc) check="$cc -c -o $work/out.o -x c" compile="$cc -E -o $work/out.i -x c" ;;
    g++) check="$cc -fsyntax-only -x c++ -std=c++11" compile="$cc -E -o $work/out.i -x c++ -std=c++11" ;;
    *) check="$cc -fsyntax-only -std=c99 -x c" compile="$cc -E -o $work/out.i -std=c99 -x c" ;;
    esac
    ok "$cc: -I relative" $check -I../lib plain.c
    # What is found and what is refused the preprocessor alone decides.
    ok "$cc: -I absolute" $compile "-I$work/lib" plain.c
    ok "$cc: the file itself, as tools take it" $compile -DWAVECOH_IMPLEMENTATION "$work/lib/wavecoh.h"
    ok "$cc: a path to a link in another folder" $compile relative.c
    refused "$cc: WAVECOH_FILE is another text" '#error.*WAVECOH_FILE' \
        $compile -I../lib '-DWAVECOH_FILE="another.h"' plain.c
    ok "$cc: renamed, with WAVECOH_FILE" $compile -I../lib '-DWAVECOH_FILE="renamed.h"' renamed.c
    if named "$cc"; then
        ok "$cc: renamed" $compile -I../lib renamed.c
        ok "$cc: linked under another name" $compile linked.c
        refused "$cc: pasted into a program" '#error.*WAVECOH_FILE' $compile pasted.c
        refused "$cc: pasted into a header with a guard" '#error.*WAVECOH_FILE' $compile -I../lib all.c
        refused "$cc: WAVECOH_FILE is no file" '#error.*WAVECOH_FILE' \
            $compile -I../lib '-DWAVECOH_FILE="nowhere.h"' plain.c
    else # the compiler's own words and the line that it names
        refused "$cc: pasted into a program" 'wavecoh.h.*not found' $compile pasted.c
    fi
    case $cc in
    *mingw* | emcc) ;; # the Vulkan headers are the host's
    *) ok "$cc: wavecoh_vk.h" $compile vulkan.c ;;
    esac
done

# ---- what tools see of kernels --------------------------------------------------------------------

cat > "$work/longest.awk" << 'END'
length > longest { longest = length; line = $0 }
END { if (longest > 2000) { print longest ": " substr(line, 1, 100); exit 1 } }
END
for option in plain SCALAR NO_SIMD TEST_DOUBLE; do
    for form in "" -P; do
        for level in -O0 -O2; do
            ok "no line of preprocessed text is above 2,000 characters: $option $form $level" sh -c \
                "$CC -E $form $level -DWAVECOH_$option -I../lib plain.c > '$work/text' && awk -f '$work/longest.awk' '$work/text'"
        done
    done
done
ok "the include that may fail names WAVECOH_FILE" sh -c \
    "grep -E '^#include WAVECOH_FILE' '$root/wavecoh.h' | head -n 2 | grep -qc 'not found. WAVECOH_FILE must'"
ok "no macro holds a function's body" sh -c \
    "! grep -nE '^#define.*S_\\((fn|inline)\\).*[{]|WCOHI_INSTANTIATE|S##' '$root/wavecoh.h'"

# ---- one version ------------------------------------------------------------------------------------

number() { sed -n "s/^#define WCOH_VERSION_$1 //p" "$root/wavecoh.h"; }
version=$(number MAJOR).$(number MINOR).$(number PATCH)
ok "the first line, the numbers and the text of the version agree ($version)" sh -c \
    "head -n 1 '$root/wavecoh.h' | grep -qF ' - v$version - ' &&
     grep -qxF '#define WCOH_VERSION \"$version\"' '$root/wavecoh.h'"
ok "the README's list of changes knows it" grep -qF "New in $version:" "$root/README.md"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

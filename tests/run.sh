#!/bin/sh
# Builds and runs every test: sh tests/run.sh [NAME ...]
#
# Without names: all tests/test_*.c (one cc line each), tests/test_*.sh, tests/test_*.py and then the
# build matrix. With names, only those: `sh tests/run.sh model gradients` or `sh tests/run.sh matrix`.
# As many at once as there are CPUs; each says how many seconds of CPU it took. CC chooses the
# compiler (default cc), FAST=1 leaves the build matrix out, KEEP=1 keeps the build folder. The last
# line is `N passed, N failed`; the exit status is non-zero if anything failed.

cd "$(dirname "$0")/.." || exit 1
CC=${CC:-cc}
FLAGS=${FLAGS:--std=c99}
LIBS=${LIBS:--lm -lpthread}
CPUS=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
build=$(mktemp -d "${TMPDIR:-/tmp}/wavecoh.XXXXXX") || exit 1
export CC FLAGS LIBS CPUS build
if [ -z "$KEEP" ]; then trap 'rm -rf "$build" 2> /dev/null' 0; else echo "build folder: $build"; fi
trap 'exit 130' 1 2 15
passed=0
failed=0

# Is this test asked for? wanted NAME
wanted() {
    [ -z "$names" ] && return 0
    for asked in $names; do [ "$asked" = "$1" ] && return 0; done
    return 1
}
names="$*"
for asked in $names; do
    for file in tests/test_"$asked".*; do
        [ -e "$file" ] || [ "$asked" = matrix ] || { echo "no test is called $asked" >&2; exit 2; }
    done
done

# Add the last "N passed, N failed" of a log to the totals; a program that printed none, or ended
# with another status than its count says, has failed once more. count NAME LOG STATUS SECONDS
count() {
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$2" | tail -n 1)
    p=${line%% passed*}
    f=${line##*passed, }
    f=${f%% failed*}
    [ -n "$line" ] || { p=0 f=1; }
    if [ "$3" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
    passed=$((passed + p))
    failed=$((failed + f))
    grep '^not run' "$2" | sed "s/^/    /"
    if [ "$f" -ne 0 ]; then
        echo "FAILED: $1 (exit status $3): $p passed, $f failed"
        grep -vE '^[0-9]+ passed|^not run' "$2" | tail -n 40 | sed 's/^/    /'
    else
        echo "ok: $1: $p passed ($4 s of CPU)"
    fi
}

# The implementation as an object: what needs no more than the surface links it, and so every example
# program that a test builds takes a second instead of fifteen. (That each builds by its own cc line,
# the build matrix sees.) linked: makes it once, sets $object and CFLAGS
object=
linked() {
    [ -z "$object" ] || return 0
    object="-DWAVECOH_IMPLEMENTATION_DONE $build/wavecoh.o"
    printf '#define WAVECOH_IMPLEMENTATION\n#include "%s/wavecoh.h"\n' "$PWD" > "$build/object.c"
    $CC $FLAGS -O2 -c -o "$build/wavecoh.o" "$build/object.c" || exit 1
    CFLAGS=${CFLAGS:--O1 $object}
    export CFLAGS
}

# Note a command; all run in the end, as many at once as there are CPUs. job NAME COMMAND
jobs=0
job() {
    jobs=$((jobs + 1))
    file=$build/job.$(printf %03d $jobs)
    echo "$1" > "$file.name"
    printf '%s\n' "$2" > "$file.command"
}

# -O2, as users build, where numbers are computed; less where that takes longer to build than it saves
# to run. level NAME
level() {
    case $1 in
    attention | crowd | gemm | gradients | kernels | model | optimizer | plain | reference | simd | threads) echo -O2 ;;
    files | live | null | page_views | sequences | text | toolkit_sizes | vulkan_shipped) echo -O0 ;;
    *) echo -O1 ;;
    esac
}

# A test in C: a compiler that warns has failed. c_test NAME SOURCE EXTRA-FLAGS
c_test() {
    job "$1" "$CC $(level "$1") $FLAGS $3 -o $build/$1 $2 $LIBS > $build/$1.cc 2>&1 || { cat $build/$1.cc; exit 1; }
        [ ! -s $build/$1.cc ] || { echo 'the compiler warns'; cat $build/$1.cc; $build/$1; exit 1; }
        exec $build/$1"
}

start=$(date +%s)
for source in tests/test_*.c; do
    name=${source#tests/test_}
    name=${name%.c}
    wanted "$name" || continue
    case $name in
    gradients) c_test "$name" "$source" -DWAVECOH_TEST_DOUBLE ;;
    page_views | toolkit_sizes)
        linked
        c_test "$name" "$source" "$object"
        ;;
    reference)
        c_test "$name" "$source"
        c_test reference_double "$source" -DWAVECOH_TEST_DOUBLE
        ;;
    *) c_test "$name" "$source" ;;
    esac
done

# The reference files once more from PyTorch, where it is.
if wanted reference; then
    python=
    for candidate in python3 /usr/bin/python3; do
        "$candidate" -c 'import torch, numpy' 2> /dev/null && python=$candidate && break
    done
    if [ -n "$python" ]; then
        job "reference files against PyTorch" "$python tests/reference/make_reference.py --check > $build/pytorch.log 2>&1
            status=\$?
            cat $build/pytorch.log
            echo \"\$(grep -c 'as stored$' $build/pytorch.log) passed, \$(grep -c 'DIFFERS$' $build/pytorch.log) failed\"
            exit \$status"
    else
        echo "    not run: reference files against PyTorch (no python3-torch)"
    fi
fi

for script in tests/test_*.sh tests/test_*.py; do
    name=${script#tests/test_}
    name=${name%.*}
    wanted "$name" || continue
    case $script in
    *.sh) interpreter=sh ;;
    *) interpreter=python3 ;;
    esac
    command -v $interpreter > /dev/null || { echo "    not run: $script: no $interpreter"; continue; }
    grep -qE 'CFLAGS|program_tests' "$script" && linked
    job "$name" "exec $interpreter $script"
done

if wanted matrix && { [ -z "$FAST" ] || [ -n "$names" ]; }; then
    job matrix "exec sh tests/build_matrix.sh"
elif [ -z "$names" ]; then
    echo "    not run: the build matrix (FAST is set)"
fi

find "$build" -name 'job.*.command' | sort | xargs -P "$CPUS" -n 1 sh -c '
    job=${0%.command}
    sh "$0" > "$job.log" 2>&1 < /dev/null
    echo $? > "$job.status"
    times > "$job.times"'
for file in "$build"/job.*.name; do
    [ -e "$file" ] || continue
    job=${file%.name}
    # times prints the time of the shell, then of its children: user and system, as 1m2.5s
    seconds=$(awk 'NR == 2 { gsub(/[ms]/, " "); printf "%.0f", 60 * ($1 + $3) + $2 + $4 }' "$job.times")
    count "$(cat "$file")" "$job.log" "$(cat "$job.status")" "$seconds"
done

echo "$(($(date +%s) - start)) seconds"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

#!/bin/sh
# Builds and runs every test: sh tests/run.sh [NAME ...]
#
# Without names: all tests/test_*.c (one cc line each), tests/test_*.sh, tests/test_*.py and then the
# build matrix. With names, only those: `sh tests/run.sh model gradients` or `sh tests/run.sh matrix`.
# CC chooses the compiler (default cc), FAST=1 leaves the build matrix out, KEEP=1 keeps the build
# folder. The last line is `N passed, N failed`; the exit status is non-zero if anything failed.

cd "$(dirname "$0")/.." || exit 1
CC=${CC:-cc}
FLAGS=${FLAGS:--std=c99 -O2}
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

# Add the last "N passed, N failed" of a log to the totals; a program that printed none, or ended
# with another status than its count says, has failed once more. count NAME LOG STATUS
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
        echo "ok: $1: $p passed"
    fi
}

# Build one program into the build folder. compile NAME SOURCE EXTRA-FLAGS
compile() {
    # shellcheck disable=SC2086
    $CC $FLAGS $3 -o "$build/$1" "$2" $LIBS > "$build/$1.log" 2>&1
    echo $? > "$build/$1.built"
}

# The programs: NAME SOURCE EXTRA-FLAGS, one a line.
programs() {
    for source in tests/test_*.c; do
        [ -e "$source" ] || continue
        name=${source#tests/test_}
        name=${name%.c}
        case $name in
        gradients) extra=-DWAVECOH_TEST_DOUBLE ;;
        *) extra= ;;
        esac
        wanted "$name" && echo "$name $source $extra"
        if [ "$name" = reference ] && wanted reference; then
            echo "reference_double $source -DWAVECOH_TEST_DOUBLE"
        fi
    done
}

start=$(date +%s)
programs > "$build/programs"
lane=0
while read -r name source extra; do # CPUS compilers at a time
    compile "$name" "$source" "$extra" &
    lane=$((lane + 1))
    [ $((lane % CPUS)) -eq 0 ] && wait
done < "$build/programs"
wait

while read -r name source extra; do
    if [ "$(cat "$build/$name.built")" -ne 0 ]; then
        count "$name (build)" "$build/$name.log" 1
        continue
    fi
    if [ -s "$build/$name.log" ]; then
        echo "FAILED: $name: the compiler warns"
        head -n 20 "$build/$name.log"
        failed=$((failed + 1))
    fi
    "$build/$name" > "$build/$name.log" 2>&1 < /dev/null
    count "$name" "$build/$name.log" $?
done < "$build/programs"

# The reference files once more from PyTorch, where it is.
if wanted reference; then
    python=
    for candidate in python3 /usr/bin/python3; do
        "$candidate" -c 'import torch, numpy' 2> /dev/null && python=$candidate && break
    done
    if [ -n "$python" ]; then
        "$python" tests/reference/make_reference.py --check > "$build/pytorch.log" 2>&1
        status=$?
        echo "$(grep -c 'as stored$' "$build/pytorch.log") passed, $(grep -c 'DIFFERS$' "$build/pytorch.log") failed" >> "$build/pytorch.log"
        count "reference files against PyTorch" "$build/pytorch.log" $status
    else
        echo "    not run: reference files against PyTorch (no python3-torch)"
    fi
fi

for script in tests/test_*.sh tests/test_*.py; do
    [ -e "$script" ] || continue
    name=${script#tests/test_}
    name=${name%.*}
    wanted "$name" || continue
    case $script in
    *.sh) interpreter=sh ;;
    *) interpreter=python3 ;;
    esac
    command -v $interpreter > /dev/null || { echo "    not run: $script: no $interpreter"; continue; }
    $interpreter "$script" > "$build/$name.log" 2>&1 < /dev/null
    count "$name" "$build/$name.log" $?
done

if wanted matrix && { [ -z "$FAST" ] || [ -n "$names" ]; }; then
    sh tests/build_matrix.sh > "$build/matrix.log" 2>&1 < /dev/null
    count matrix "$build/matrix.log" $?
elif [ -z "$names" ]; then
    echo "    not run: the build matrix (FAST is set)"
fi

echo "$(($(date +%s) - start)) seconds"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

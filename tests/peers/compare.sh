#!/bin/sh
# Ours against PyTorch and OpenBLAS on this machine, in one run: sh tests/peers/compare.sh [ROUNDS]
#
# Each round measures ours and theirs one after the other, so that a change of the machine's speed
# meets both; the ratios are of the medians over all rounds. Needs python3-torch and
# libopenblas-dev; what is missing is said and left out.

cd "$(dirname "$0")/../.." || exit 1
rounds=${1:-3}
work=$(mktemp -d "${TMPDIR:-/tmp}/wavecoh.XXXXXX") || exit 1
trap 'rm -rf "$work"' 0
CC=${CC:-cc}
# OpenBLAS takes some cores with AVX-512 for older ones, and that would flatter us: whatever the
# environment says, its AVX-512 kernels (PEER_CORETYPE chooses others).
if grep -q avx512f /proc/cpuinfo 2> /dev/null; then
    OPENBLAS_CORETYPE=${PEER_CORETYPE:-SkylakeX}
    export OPENBLAS_CORETYPE
fi
OPENBLAS_NUM_THREADS=1
export OPENBLAS_NUM_THREADS

$CC -O2 -o "$work/bench" examples/bench.c -lm -lpthread || exit 1
if ! $CC -O2 -o "$work/openblas" tests/peers/openblas_gemm.c -lopenblas -lm 2> "$work/log"; then
    echo "not run: OpenBLAS (libopenblas-dev is missing)"
fi
python=python3
"$python" -c 'import torch' 2> "$work/log" || python=/usr/bin/python3
if ! "$python" -c 'import torch' 2> "$work/log"; then
    echo "not run: PyTorch (python3-torch is missing)"
    python=
fi

round=0
while [ $round -lt "$rounds" ]; do
    "$work/bench" gemm step >> "$work/ours"
    [ -x "$work/openblas" ] && "$work/openblas" >> "$work/theirs"
    [ -n "$python" ] && "$python" tests/peers/torch_step.py >> "$work/theirs"
    round=$((round + 1))
done

# The median over all rounds of the number after a word, in the lines that match a pattern.
# median PATTERN WORD FILE
median() {
    grep -E "$1" "$3" 2> /dev/null | sed -n "s/.*$2 *\([0-9.]*\).*/\1/p" | sort -g |
        awk '{ x[NR] = $1 } END { if (NR) print x[int((NR + 1) / 2)] }'
}
ratio() { # LABEL OURS THEIRS
    [ -n "$2" ] && [ -n "$3" ] &&
        awk -v a="$2" -v b="$3" -v l="$1" 'BEGIN { printf "%-36s ours %8.2f  theirs %8.2f  ratio %.3f\n", l, a, b, a / b }'
}
torch=$(median "^peer torch step" median "$work/theirs")
for preset in wave-1 default gpt; do
    ratio "step $preset against PyTorch, ms" "$(median "^step $preset " median "$work/ours")" "$torch"
done
for n in 64 128 256; do
    for isa in avx2 avx512 neon; do
        ratio "sgemm $n $isa against OpenBLAS, GFLOP/s" \
            "$(median "^gemm $isa +$n x +$n x +$n NT" NT "$work/ours")" \
            "$(median "^peer openblas sgemm $n " best "$work/theirs")"
    done
done
exit 0

#!/bin/sh
# The published claims, each beside its control: a table, a CSV file and plots for every plan of examples/plans/claims,
# then what is inside trained networks: the order of their matrices' columns beside the same numbers at random
# places, random memories of equal norm, errors of solvers on what their oscillators are given.
#
#   sh examples/plans/claims.sh shakespeare.txt claims        an hour or two of one core
#   STEPS=40 sh examples/plans/claims.sh shakespeare.txt small        the same in minutes
#
# It needs a C compiler (CC, CFLAGS) and a text: tiny Shakespeare, 1,115,394 bytes, is input.txt of
# github.com/karpathy/char-rnn, data/tinyshakespeare. Ctrl-C ends it; the same command goes on where it ended.
# CLAIMS="noise kerr-2" makes those alone; "trained" is the last part. BIN names a folder that holds compare,
# train, inspect, solvers and memory already; else they are built. WEIGHTS="a.safetensors b.npy" are other
# networks whose matrices are measured too (README: those of MiniLM).
set -e
[ $# -eq 2 ] || { echo "usage: [STEPS=N] sh examples/plans/claims.sh TEXT FOLDER" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
text=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
from=$PWD
mkdir -p "$2"
[ -z "$BIN" ] || BIN=$(cd "$BIN" && pwd)
cd "$2"
trap 'exit 130' INT
# built PROGRAM..: they are in $BIN, or in this folder
built() {
    [ -z "$BIN" ] || return 0
    for program; do
        [ -x "$program" ] && continue
        echo "== building $program"
        ${CC:-cc} ${CFLAGS:--O2} "$here/../$program.c" -o "$program.new" -lm -lpthread
        mv "$program.new" "$program"
    done
}
[ -z "$STEPS" ] || steps="s/^budget .*/budget steps $STEPS/; s/--eval-every [0-9]*/--eval-every $STEPS/"
wanted() { [ -z "$CLAIMS" ] || case " $CLAIMS " in *" $1 "*) ;; *) return 1 ;; esac; }
for plan in "$here"/claims/*.txt; do
    name=$(basename "$plan" .txt)
    wanted "$name" || continue
    sed "$steps" "$plan" > "$name.txt"
    built compare
    echo "== $name"
    "${BIN:-.}/compare" "$name.txt" --data "$text" --csv "$name.csv" --plots "$name" --threads 1
done
wanted trained || exit 0
built train inspect solvers memory
BIN=${BIN:-.}
# train NAME SETTINGS..: leaves NAME.safetensors unless it is there; of the text's last tenth, from byte 1003855 on, it
# has seen nothing
train() {
    name=$1
    shift
    [ ! -e "$name.safetensors" ] || return 0
    "$BIN/train" --data "$text" --lr 6e-3 --threads 1 --steps "${STEPS:-400}" --eval-every "${STEPS:-400}" \
        --sample 0 --out "new-$name.safetensors" "$@" > /dev/null
    mv "new-$name.safetensors" "$name.safetensors"
    rm -f "new-$name.best.safetensors"
}
weights() {
    echo "== order of columns: $1, and its numbers at random places"
    "$BIN/inspect" --weights "$1" --draws "${DRAWS:-99}" | tail -n 2
    "$BIN/inspect" --weights "$1" --draws "${DRAWS:-99}" --mixed | tail -n 2
}
for seed in 1 2 3; do
    wave=wave-$seed${STEPS:+-$STEPS} gpt=gpt-$seed${STEPS:+-$STEPS} # shorter ones are others
    train "$wave" --preset wave-1 --bands 32 --heads 8 --seed $seed
    train "$gpt" --preset gpt --bands 32 --heads 8 --seed $seed
    weights "$wave.safetensors"
    weights "$gpt.safetensors"
    echo "== solvers and memories, seed $seed"
    "$BIN/solvers" "$wave.safetensors" "$text" --from 1010000
    "$BIN/memory" "$wave.safetensors" "$text" --from 1010000 --draws "${MEMORIES:-50}" --strength 0.05 --length "${LENGTH:-1000}"
done
for path in $WEIGHTS; do
    case $path in /*) ;; *) path=$from/$path ;; esac
    weights "$path"
done

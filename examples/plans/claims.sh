#!/bin/sh
# The published claims, each beside its control: a table, a CSV file and plots for every plan of examples/plans/claims,
# then what is inside three trained networks (order of their columns, random memories of equal norm).
#
#   sh examples/plans/claims.sh shakespeare.txt claims        an hour or two of one core; goes on where it ended
#   STEPS=40 sh examples/plans/claims.sh shakespeare.txt small        the same in minutes
#
# CLAIMS="noise kerr-2" makes those alone; "trained" is the last part. BIN names a folder that holds compare,
# train, inspect and memory already; else they are built.
set -e
[ $# -eq 2 ] || { echo "usage: [STEPS=N] sh examples/plans/claims.sh TEXT FOLDER" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
text=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
mkdir -p "$2"
cd "$2"
if [ -z "$BIN" ]; then
    BIN=.
    for program in compare train inspect memory; do
        [ -x $program ] || ${CC:-cc} ${CFLAGS:--O2} "$here/../$program.c" -o $program -lm -lpthread
    done
fi
[ -z "$STEPS" ] || steps="s/^budget .*/budget steps $STEPS/; s/--eval-every [0-9]*/--eval-every $STEPS/"
wanted() { [ -z "$CLAIMS" ] || case " $CLAIMS " in *" $1 "*) ;; *) return 1 ;; esac; }
for plan in "$here"/claims/*.txt; do
    name=$(basename "$plan" .txt)
    wanted "$name" || continue
    sed "$steps" "$plan" > "$name.txt"
    echo "== $name"
    "$BIN/compare" "$name.txt" --data "$text" --csv "$name.csv" --plots "$name" --threads 1
done
wanted trained || exit 0
for seed in 1 2 3; do
    echo "== weights and memories, seed $seed"
    [ -e "model-$seed.safetensors" ] || "$BIN/train" --preset wave-1 --data "$text" --bands 32 --heads 8 --lr 6e-3 --threads 1 \
        --steps "${STEPS:-400}" --seed $seed --eval-every -1 --sample 0 --out "model-$seed.safetensors" > /dev/null
    "$BIN/inspect" --weights "model-$seed.safetensors" --draws "${DRAWS:-99}" | tail -n 1
    "$BIN/memory" "model-$seed.safetensors" "$text" --draws "${DRAWS:-50}" --strength 0.05 --length "${LENGTH:-1000}"
done

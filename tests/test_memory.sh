#!/bin/sh
# examples/memory.c: what a wave memory is compared with, on a model that was trained for a moment.
# The figures of the README come from the same program on larger models.

CFLAGS="-O0 -DWAVECOH_NO_SIMD -DWAVECOH_NO_TOOLKIT"
. "$(dirname "$0")/program_tests.sh"
build_programs train memory
memory=$bin/memory

head -c 40000 "$root/README.md" | LC_ALL=C tr -d "\200-\377" | head -c 30000 >text
size="--bands 8 --heads 4 --layers 2 --maestro 4 --batch 4 --seq 16"
succeeds "$bin/train" --data text $size --steps 40 --eval-every -1 --sample 0 --threads 1 --out m.safetensors
succeeds "$memory" m.safetensors text --from 20000 --length 200 --draws 6 --out all.kwmf
cp out first
ok "a text is told with what it was scored on" has '^text text: 25 conversations, 4975 symbols scored, strength 0.05: loss [0-9.]+ without memory$'
for name in real other shuffled flipped; do
    ok "$name has a difference and its interval" has "^$name +[+-]0.[0-9]{6}  interval [+-]0.[0-9]{6} to [+-]0.[0-9]{6}$"
done
ok "random memories have their range" has '^random +[+-]0.[0-9]{6}  6 draws from [+-]0.[0-9]{6} to [+-]0.[0-9]{6}$'
ok "and their rank" has '^the real memory is below [0-6] of 6 random ones$'
# 32 bytes, then 2 layers of 8 bands of two floats; number 28 counts the conversations.
ok "the KWMF file has its size" [ "$(wc -c <all.kwmf)" = 160 ]
ok "and its header" [ "$(od -An -tx1 -N16 all.kwmf | tr -d ' \n')" = 4b574d46010000000200000008000000 ]
ok "and counts its conversations" [ "$(od -An -tu1 -j28 -N4 all.kwmf | tr -d ' \n')" = 25000 ]
succeeds "$memory" m.safetensors text --from 20000 --length 200 --draws 6
ok "the same again" cmp -s first out
succeeds "$memory" m.safetensors text --from 20000 --length 200 --draws 6 --seed 1
grep '^text\|^real\|^other\|^flipped' first >wanted
grep '^text\|^real\|^other\|^flipped' out >found
ok "another seed draws others, and others alone" cmp -s wanted found
ok "and does draw others" [ "$(grep '^random' first)" != "$(grep '^random' out)" ]
succeeds "$memory" m.safetensors text --from 20000 --length 200 --draws 2 --strength 1e-30
ok "a memory of no strength changes nothing" [ "$(grep -c '+0.000000' out)" = 5 ]
ok "and is below none" has '^the real memory is below 0 of 2 random ones$'
refuses 1 '^memory: text: 1000 symbols are too few for two conversations of 2 x 1000' "$memory" m.safetensors text --to 1000
refuses 1 'outside' "$memory" m.safetensors text --from 40000
refuses 2 'a model and a text are needed' "$memory" m.safetensors
# kwmf FILE SPIKE: 3 layers of 64 bands, noise of length 1, band 32 SPIKE times as long.
kwmf() {
    python3 - "$@" <<'END'
import math, random, struct, sys
draw, spike = random.Random(5), float(sys.argv[2])
out = b"KWMF" + struct.pack("<3I3fI", 1, 3, 64, 0.05, 0.99, 0.95, 7)
for layer in range(3):
    turns = [draw.uniform(0, 2 * math.pi) for _ in range(64)]
    sizes = [spike if k == 32 else 1 for k in range(64)]
    out += struct.pack("<64f", *[s * math.cos(t) for s, t in zip(sizes, turns)])
    out += struct.pack("<64f", *[s * math.sin(t) for s, t in zip(sizes, turns)])
open(sys.argv[1], "wb").write(out)
END
}
if command -v python3 >/dev/null; then
    kwmf noise.kwmf 1
    ok "3 layers of 64 bands are 1,568 bytes" [ "$(wc -c <noise.kwmf)" = 1568 ]
    succeeds "$memory" --census noise.kwmf
    ok "a census has the file's numbers" has '^layers 3 bands 64 conversations 7 strength 0.05 keep 0.95 decay 0.99$'
    ok "noise has no band that sticks out" has '^0 bands stick out$'
    for angle in 'conjunction +0 .*chance 4.44' 'opposition +180 .*chance 4.44' 'trine +120 .*chance 4.44' \
        'square +90 .*chance 3.89' 'quintile +72 .*chance 1.11' 'sextile +60 .*chance 3.33' \
        'octile +45 .*chance 1.11' 'semisextile +30 .*chance 1.11' 'quincunx +150 .*chance 1.11' \
        'trioctile +135 .*chance 1.11' 'biquintile +144 .*chance 1.11'; do
        ok "angles of noise are as chance has them: $angle" has "^$angle, [+-][0-2]\.[0-9] deviations$"
    done
    kwmf spike.kwmf 50
    succeeds "$memory" --census spike.kwmf
    ok "a band that is 50 times as long is told in each layer" \
        [ "$(grep -c 'band 32 sticks out: 2500.0 times' out)" = 3 ]
    ok "and no other one" has '^3 bands stick out$'
else
    echo "not run: the census of a wave memory (no python3)"
fi
# KWDS: 32 bytes, then 9 rows of 16 floats and 9 more; with a position the input is another row.
succeeds "$bin/train" --data text $size --position sinusoidal --steps 1 --eval-every -1 --sample 0 --threads 1 --out p.safetensors
succeeds "$memory" p.safetensors text --to 10 --waves w.kwds
ok "waves are counted" has '^waves 9 of 8 bands in w.kwds$'
ok "KWDS has its size" [ "$(wc -c <w.kwds)" = $((32 + 8 * 9 * 16)) ]
ok "and its head" [ "$(od -An -tx1 -N32 w.kwds | tr -d ' \n')" = 5344574b01000000090000000000000008000000100000000000000000000000 ]
# row T FILE: 64 bytes of the T-th row of floats.
row() { tail -c +$((33 + 64 * $1)) "$2" | head -c 64 | od -An -tx1; }
succeeds "$memory" m.safetensors text --to 10 --waves plain.kwds
ok "a target is the row of the next symbol" [ "$(row 9 plain.kwds)" = "$(row 1 plain.kwds)" ]
ok "and the last one of the last" [ "$(row 16 plain.kwds)" = "$(row 8 plain.kwds)" ]
ok "targets have no position, inputs do" [ "$(row 9 w.kwds)" = "$(row 9 plain.kwds)" -a "$(row 1 w.kwds)" != "$(row 1 plain.kwds)" ]
refuses 1 'cannot write' "$memory" m.safetensors text --to 10 --waves /nowhere/w.kwds
mkfifo pipe
cat pipe >through &
succeeds "$memory" m.safetensors text --to 10 --waves pipe
wait
ok "a pipe is written to and stays one" [ -p pipe ]
ok "with the bytes of a file" cmp -s through plain.kwds
refuses 2 'is to be read' "$memory" m.safetensors text --waves text
refuses 1 'two symbols' "$memory" m.safetensors text --to 1 --waves w.kwds
refuses 1 'no wave memory' "$memory" --census text
refuses 2 'stands alone' "$memory" m.safetensors text --census all.kwmf
refuses 2 '^memory: --out is for a model and a text' "$memory" --census all.kwmf --out x.kwmf
refuses 2 '^memory: --draws is for a model and a text' "$memory" --census all.kwmf --draws 3
refuses 2 '^memory: --strength is for what is measured' "$memory" m.safetensors text --waves w.kwds --strength 2
refuses 2 '^memory: --out is for what is measured' "$memory" m.safetensors text --waves w.kwds --out x.kwmf
refuses 1 '^memory: /nowhere/x.kwmf: ' "$memory" m.safetensors text --out /nowhere/x.kwmf
ok "told before anything is measured" [ ! -s out ]
cp m.safetensors before
refuses 2 '^memory: m.safetensors is to be read and cannot be written as well' "$memory" m.safetensors text --out m.safetensors
refuses 2 '^memory: text is to be read and cannot be written as well' "$memory" m.safetensors text --out ./text
ok "and stands as it was" cmp -s before m.safetensors
succeeds "$bin/train" --data text $size --solver none --steps 2 --eval-every -1 --sample 0 --threads 1 --out none.safetensors
refuses 1 'a wave memory is for layers with oscillators: the model has none' "$memory" none.safetensors text --length 200
finish

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
cp m.safetensors before
refuses 2 '^memory: m.safetensors is to be read and cannot be written as well' "$memory" m.safetensors text --out m.safetensors
refuses 2 '^memory: text is to be read and cannot be written as well' "$memory" m.safetensors text --out ./text
ok "and stands as it was" cmp -s before m.safetensors
succeeds "$bin/train" --data text $size --solver none --steps 2 --eval-every -1 --sample 0 --threads 1 --out none.safetensors
refuses 1 'a wave memory is for layers with oscillators: the model has none' "$memory" none.safetensors text --length 200
finish

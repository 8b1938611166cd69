#!/bin/sh
# The toolkit's example programs from the outside: reports, JSON, pictures, files and refusals.
# Run from anywhere: sh tests/test_toolkit_programs.sh. CC and CFLAGS choose the compiler; BIN names
# a folder that already holds the programs. Ends with `N passed, N failed`.

. "$(dirname "$0")/program_tests.sh"
build_programs coherence recall embed_report inspect solvers train eval plot bench

# The output is JSON, where Python is there to tell.
is_json() {
    command -v python3 >/dev/null 2>&1 || return 0
    python3 -c 'import json,sys; json.load(open(sys.argv[1]))' out
}

# npy FILE ROWS COLUMNS BYTES-FILE: int8 vectors.
npy() {
    header=$(printf "{'descr': '|i1', 'fortran_order': False, 'shape': (%d, %d), }" "$2" "$3")
    { printf '\223NUMPY\001\000\166\000%-117s\n' "$header"; head -c $(($2 * $3)) "$4"; } >"$1"
}

# ---- coherence: the published experiments ----
succeeds "$bin/coherence"
ok "every number agrees" has '^([0-9]+) of \1 numbers agree; 0 index queries differ'
succeeds "$bin/coherence" --json
ok "its JSON parses" is_json

# ---- recall ----
npy v.npy 300 40 "$root/wavecoh.h"
succeeds "$bin/recall" build v.store v.npy --packet dft
succeeds "$bin/recall" ask v.store v.npy --row 17 --top 3
ok "a vector finds itself first" has '^ *17  1\.0000'
succeeds "$bin/recall" ask v.store v.npy --row 17 --first-bin 3 --bins 9 --json
ok "its JSON parses" is_json
ok "also by nine of its bins" has '^\[\{"packet":17,"score":1\.0000'
succeeds "$bin/recall" bench --packets 2000 --dimensions 24 --repeats 2 --json
ok "its JSON parses" is_json
succeeds "$bin/recall" bench --packets 200 --dimensions 24 --repeats 1
ok "its search is over all bins" has '^search over 13     bins  [0-9.]+ s'
succeeds "$bin/recall" bench --packets 200 --dimensions 24 --repeats 1 --first-bin 4 --bins 5
ok "or over those that are asked for" has '^search over 5      bins  [0-9.]+ s'
succeeds "$bin/recall" bench --packets 200 --dimensions 24 --repeats 1 --first-bin 4 --json
ok "to the last one" has '"bins":9,'
refuses 1 'bins is 3 and first_bin is 12: a packet has bins 0 to 12' "$bin/recall" bench --packets 200 --dimensions 24 --first-bin 12 --bins 3
refuses 1 'bins is 0 and first_bin is 13: a packet has bins 0 to 12' "$bin/recall" bench --packets 200 --dimensions 24 --first-bin 13
refuses 2 'packet is "wave": allowed are: sign dft phases' "$bin/recall" build v.store v.npy --packet wave
refuses 2 'packet is "phases": a file of vectors has none' "$bin/recall" build v.store v.npy --packet phases
refuses 2 'top is 1025: allowed are 1 to 1024' "$bin/recall" ask v.store v.npy --top 1025
refuses 2 'the file has 300' "$bin/recall" ask v.store v.npy --row 300
refuses 1 'no such file' "$bin/recall" ask none.store v.npy
refuses 1 'resonance store|safetensors' "$bin/recall" ask v.npy v.npy
head -c 3000 v.store >cut.store
refuses 1 'cut.store' "$bin/recall" ask cut.store v.npy
head -c 9000 v.npy >cut.npy
refuses 1 'cut.npy: npy: the shape needs' "$bin/recall" build x.store cut.npy

# ---- embed_report ----
{ printf 'zero\none\ntwo\nthree\n'; yes '' | head -n 296; } >names # the rest has none
printf 'near zero one\nnear two three\nfar zero 299\n' >pairs
succeeds "$bin/embed_report" v.npy --names names --pairs pairs --draws 50 --list --plots e
ok "groups have their null" has 'near: 2 pairs'
ok "and every figure a z" has 'spectral variance, rotations .* null .* z .* percentile'
for name in near far pairs spectrum wheel; do
    ok "e-$name.svg is a picture" has '^</svg>' "e-$name.svg"
done
yes '' | head -c 400 >alike.bytes
npy alike.npy 4 40 alike.bytes
succeeds "$bin/embed_report" alike.npy --draws 50
ok "draws that are all alike give no z" has 'cancellation .* \+- 0\.00000   z      -   percentile  50\.0'
succeeds "$bin/embed_report" v.npy --draws 20 --json
ok "its JSON parses" is_json
cp out without
succeeds "$bin/embed_report" v.npy --draws 20 --json --list --names names --pairs pairs
ok "its JSON lists the pairs where that is asked for" python3 -c 'import json
g = json.load(open("out"))["groups"]
assert g and all(len(x["list"]) == x["pairs"] for x in g)
assert all(abs(sum(p["cosine"] for p in x["list"]) / x["pairs"] - x["cosine"]) < 1e-7 for x in g)
assert all("list" not in x for x in json.load(open("without"))["groups"])'
refuses 2 'draws is 1: a null needs 2 to 10000' "$bin/embed_report" v.npy --draws 1
refuses 2 'bands is 129: allowed are 1 to 128' "$bin/embed_report" v.npy --bands 129
refuses 1 'no vector named "four"' sh -c "printf 'g zero four\n' >bad; '$bin/embed_report' v.npy \
--names names --pairs bad"
refuses 1 'line 1 is not' sh -c "echo nonsense >bad; '$bin/embed_report' v.npy --pairs bad"

# ---- inspect, plot ----
succeeds "$bin/train" --data "$root/LICENSE" --steps 3 --bands 16 --layers 2 --heads 4 --sample 0 \
    --out m.safetensors --log m.csv
succeeds "$bin/inspect" m.safetensors "$root/LICENSE" --tokens 20 --plots i
ok "heads have waves" has 'wavelength tokens'
ok "depth has a lens" has 'logit lens'
ok "matrices have figures" has 'blocks.1.attn.out.weight +32x32'
for name in map-layer0 map-layer1 entropy waves depth singular; do
    ok "i-$name.svg is a picture" has '^</svg>' "i-$name.svg"
done
succeeds "$bin/inspect" m.safetensors "$root/LICENSE" --tokens 20 --json
ok "its JSON parses" is_json
head -c 60 "$root/LICENSE" >sixty
for norm in layer rms; do # at the last depth the lens is the network
    succeeds "$bin/train" --data "$root/LICENSE" --steps 3 --bands 16 --layers 2 --heads 4 --sample 0 \
        --norm $norm --out $norm.safetensors
    succeeds "$bin/eval" $norm.safetensors sixty --seq 59
    loss=$(sed -n 's/^loss \([0-9]*\.[0-9][0-9][0-9]\).*/\1/p' out)
    succeeds "$bin/inspect" $norm.safetensors sixty --json
    ok "the lens of norm=$norm ends at the loss $loss" eval \
        "[ -n '$loss' ] && grep -o '\"loss\":[0-9.]*' out | tail -n 1 | grep -q '\"loss\":$loss'"
done
succeeds "$bin/recall" build m.store m.safetensors
ok "it is said which of several matrices is taken" has 'embed.weight is taken, one of [0-9]+ matrices' err
succeeds "$bin/recall" build m.store m.safetensors --tensor head.weight
ok "and not where one was named" [ ! -s err ]
refuses 1 'it has no tail.weight' "$bin/recall" build m.store m.safetensors --tensor tail.weight
succeeds "$bin/inspect" --weights m.safetensors --json
ok "its JSON parses" is_json
refuses 2 '--draws is 1: a deviation takes 2 orders' "$bin/inspect" --weights m.safetensors --draws 1
yes aeiou | head -n 200 >vowels
python3 -c 'open("many", "w").write("".join(map(chr, range(0x4e00, 0x4e00 + 3000))) * 2)'
for text in vowels many; do
    succeeds "$bin/train" --data $text --tokenizer chars --bands 4 --layers 1 --heads 2 --maestro 2 --batch 1 --seq 8 --steps 1 \
        --sample 0 --embedding random --threads 1 --out $text.safetensors
    succeeds "$bin/inspect" $text.safetensors $text --tokens 8
    cp out $text.said
    succeeds "$bin/inspect" $text.safetensors $text --tokens 8 --json
    mv out $text.json
done
ok "symbols that a model has not are not read back" python3 -c 'import json
assert [s["count"] for s in json.load(open("vowels.json"))["symbols"]["superposed"]] == [1, 2, 4]
assert len(json.load(open("many.json"))["symbols"]["superposed"]) == 6'
ok "interference is that of all symbols" python3 -c 'import json, math, struct
file = open("vowels.safetensors", "rb").read()
size = struct.unpack("<Q", file[:8])[0]
about = json.loads(file[8:8 + size])["embed.weight"]
v, w = about["shape"]
x = struct.unpack(f"<{v * w}f", file[8 + size + about["data_offsets"][0]:][:4 * v * w])
x = [x[i * w:i * w + w] for i in range(v)]
dot = lambda a, b: sum(p * q for p, q in zip(a, b))
c = [abs(dot(x[a], x[b])) / math.sqrt(dot(x[a], x[a]) * dot(x[b], x[b])) for a in range(v) for b in range(a)]
s = json.load(open("vowels.json"))["symbols"]
assert v == 6 == s["compared"] and abs(sum(c) / len(c) - s["interference"]) < 1e-5 and abs(max(c) - s["largest"]) < 1e-5'
ok "of many it is of some all over the table" has '"compared":2829,' many.json
ok "which is said" has 'interference: .*, of 2829 symbols evenly spaced$' many.said
ok "where it is so" [ "$(grep -c evenly vowels.said)" = 0 ]
refuses 1 'no tensor \[layers, heads, T, T\]' "$bin/inspect" --maps m.safetensors
refuses 2 'a model and a text' "$bin/inspect" m.safetensors
printf 'the 月 and \342\202\254\n' >foreign
refuses 1 'it has 2 letters that the model lacks' "$bin/inspect" m.safetensors foreign
succeeds "$bin/inspect" m.safetensors foreign --unknown skip
ok "letters that the model lacks are left out of what is looked at" has 'letters that the model lacks are left out' err
succeeds "$bin/inspect" m.safetensors foreign --unknown replace
refuses 2 '--unknown is "drop": allowed are refuse skip replace' "$bin/inspect" m.safetensors foreign --unknown drop
printf 'pre\303\251\r\nthe pub\342\202\254lic domain' >foreign
succeeds "$bin/inspect" m.safetensors foreign --unknown skip
ok "letters that the model lacks are left out, CR LF is one end of line" has 'over 21 tokens'
succeeds "$bin/inspect" m.safetensors foreign --unknown replace
ok "or replaced" has 'over 23 tokens'
succeeds "$bin/plot" loss m.csv
ok "loss.svg is a picture" has '^</svg>' loss.svg
run "$bin/plot" loss "$root/LICENSE"
ok "a file that is no log is refused" one_sentence 1 'no log of train'

# ---- solvers ----
succeeds "$bin/train" --preset wave-1 --data "$root/LICENSE" --steps 3 --bands 16 --layers 2 --heads 4 --sample 0 \
    --out w.safetensors
succeeds "$bin/eval" w.safetensors "$root/LICENSE"
loss=$(sed -n 's/^loss \([0-9]*\.[0-9][0-9][0-9][0-9]\).*/\1/p' out)
succeeds "$bin/solvers" w.safetensors "$root/LICENSE" --tokens 20
ok "the closed form is the flow" eval "[ \$(grep -cE '^ +exact +[0-9.]+e-1[0-9] +[0-9.]+e-1[0-9]' out) = 2 ]"
ok "first order is not" has '^ +perturbative +[0-9.]+e(-02|-01|\+00)'
ok "Runge-Kutta in 16 steps nearly is" has '^ +RK4-16 +[0-9.]+e-0[4-9]'
ok "its loss is that of eval, $loss" has "^ +exact +$loss"
succeeds "$bin/solvers" w.safetensors "$root/LICENSE" --tokens 20 --score 500 --json
ok "its JSON parses" is_json
ok "and tells the tokens that windows of 64 score" has '"solver":"exact","loss":[0-9.]+,"tokens":448,'
succeeds "$bin/eval" w.safetensors "$root/LICENSE" --to 40 --seq 39
loss=$(sed -n 's/^loss \([0-9]*\.[0-9][0-9][0-9][0-9]\).*/\1/p' out)
succeeds "$bin/solvers" w.safetensors "$root/LICENSE" --tokens 20 --score 40
ok "fewer are one window" has 'loss with the same weights, 39 tokens'
ok "whose loss is that of eval, $loss" has "^ +exact +$loss"
succeeds "$bin/train" --data "$root/LICENSE" --steps 1 --bands 8 --layers 1 --heads 4 --sample 0 --solver none \
    --out n.safetensors
refuses 1 'n.safetensors: it has no oscillators' "$bin/solvers" n.safetensors "$root/LICENSE"
# A network that has the limiter already: there "limited" changes nothing, of errors and of loss.
for offset in "" "--offset 0.2"; do
    succeeds "$bin/train" --preset wave-1 --data "$root/LICENSE" --steps 1 --bands 8 --layers 1 --heads 4 --sample 0 \
        --solver perturbative --ceiling 0.1 $offset --out p.safetensors
    succeeds "$bin/solvers" p.safetensors "$root/LICENSE" --tokens 20 --score 40
    sed -n 's/^ *perturbative \{1,\}\([0-9]\)/\1/p' out | awk '{ print $3 ? $0 : $1 }' > plain # without seconds
    sed -n 's/^ *perturbative, limited *//p' out | awk '{ print $3 ? $0 : $1 }' > limited
    ok "errors and losses are there" eval "[ \$(wc -l < plain) = 2 ]"
    ok "the limiter bends once $offset" cmp -s plain limited
done

# ---- every choice is checked, and a misspelt one names the nearest ----
for program in coherence recall embed_report inspect solvers bench plot; do
    refuses 2 'nonsense' "$bin/$program" --nonsense
    for help in -h --help; do
        succeeds "$bin/$program" $help
        ok "$program $help explains" has "^usage: $program "
    done
done
refuses 2 'no option --jsno; .*did you mean --json' "$bin/coherence" --jsno
refuses 2 'no option --scoer; .*did you mean --score' "$bin/recall" --scoer cosine ask v.store v.npy
refuses 2 'score is "resonace": allowed are:? .*did you mean resonance' "$bin/recall" ask v.store v.npy \
    --score resonace
refuses 2 'packet is "dtf".*did you mean dft' "$bin/recall" build x.store v.npy --packet dtf
refuses 2 'the action is "bulid".*did you mean build' "$bin/recall" bulid x.store v.npy
refuses 2 '"v.npy" is too much' "$bin/recall" bench v.npy
refuses 2 'no option --plot-s; .*did you mean --plots' "$bin/embed_report" v.npy --plot-s e
refuses 2 'no option --casual; .*did you mean --causal' "$bin/inspect" --maps m.safetensors --casual
refuses 2 'exclude each other' "$bin/inspect" --maps m.safetensors m.safetensors "$root/LICENSE"
refuses 2 'exclude each other' "$bin/inspect" --maps m.safetensors --weights m.safetensors
refuses 2 '--causal is for --maps' "$bin/inspect" m.safetensors "$root/LICENSE" --causal
refuses 2 'a part is "sesion".*did you mean session' "$bin/bench" gemm sesion
refuses 2 'isa is "sse3".*did you mean sse2' "$bin/bench" --isa sse3 gemm
refuses 2 'no option --ias; .*did you mean --isa' "$bin/bench" --ias scalar
refuses 2 'the option is "--hlep".*did you mean --help' "$bin/plot" --hlep
# ---- a closed stdout: what would be printed goes into no file ----
last='embed_report >&-'
"$bin/embed_report" v.npy --draws 2 --pairs pairs --names names --plots closed 2>err >&-
status=$?
ok "is one sentence" one_sentence 1 'cannot write to stdout'
ok "and the pictures are pictures" [ "$(head -c 5 closed-near.svg)" = '<svg ' ]

# ---- an option that this call would not heed is refused ----
refuses 2 '^recall: --row is for ask alone' "$bin/recall" build v.store v.npy --row 7
refuses 2 '^recall: --first-bin is for ask and bench alone' "$bin/recall" build v.store v.npy --first-bin 7
refuses 2 '^recall: --packets is for bench alone' "$bin/recall" ask v.store v.npy --packets 70
refuses 2 '^recall: --packet is for build and bench alone' "$bin/recall" ask v.store v.npy --packet dft
refuses 2 '^recall: --tensor is for build and ask alone' "$bin/recall" bench --tensor x
refuses 2 '^inspect: --tokens is for a model and a text alone' "$bin/inspect" --maps m.safetensors --tokens 9
refuses 2 '^inspect: --unknown is for a model and a text alone' "$bin/inspect" --weights m.safetensors --unknown skip
refuses 2 '^bench: --model is for the part session alone' "$bin/bench" gemm --model m.safetensors
refuses 2 '^bench: --seq is for the parts profile and tune alone' "$bin/bench" gemm --seq 8
refuses 2 '^bench: tuning is for a Vulkan device' "$bin/bench" tune

# ---- nothing of the user's is overwritten ----
cp v.npy both.npy
refuses 2 'the store is both.npy, the file of vectors: it would be overwritten' "$bin/recall" build both.npy ./both.npy
ok "and is not" cmp -s v.npy both.npy
cp m.safetensors notes
succeeds "$bin/recall" build notes v.npy
ok "what is no store is moved aside" cmp -s m.safetensors notes.old
succeeds "$bin/recall" build notes v.npy
ok "a store is made anew in its place" [ ! -e notes.old2 ]

refuses 2 '0 logs' "$bin/plot" loss
refuses 2 '9 logs' "$bin/plot" loss m.csv m.csv m.csv m.csv m.csv m.csv m.csv m.csv m.csv

finish

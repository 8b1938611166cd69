#!/bin/sh
# The example programs from the outside: formats, options, exit statuses, interruption, full disks.
# Run from anywhere: sh tests/test_cli.sh. CC and CFLAGS choose the compiler; BIN names a folder
# that already holds the programs. Ends with `N passed, N failed`.

. "$(dirname "$0")/program_tests.sh"
build_programs hello frames train sample eval
train=$bin/train sample=$bin/sample eval=$bin/eval

silent_out() { [ ! -s out ]; }
lacks() { ! grep -Eq -- "$1" "${2:-out}"; }
lines() { [ "$(grep -Ec -- "$1" out)" = "$2" ]; }
same() { [ "$1" = "$2" ]; }
absent() { [ ! -e "$1" ]; }

# ---- texts -------------------------------------------------------------------------------------

awk 'BEGIN { for (i = 0; i < 260; i++) printf "wave %d of the %s sea, and then?\n", i * 7919 % 263,
     i % 3 ? "calm" : "rough" }' >text
size=$(wc -c <text)
: >empty
head -c 120 text >short
head -c 10 text >tiny
awk 'BEGIN { printf "a"; for (i = 0; i < 500; i++) printf "\303\251" }' >accents # 1001 bytes
{ cat text; printf '\377\376 no UTF-8'; } >binary
{ printf '\357\273\277'; sed 's/$/\r/' text; } >dos
printf '\002\000\000\000\000\000\000\000{}' >bare.safetensors
mkdir folder
small="--bands 8 --layers 1 --heads 4 --maestro 4 --batch 2 --seq 16 --eval-batches 2 --threads 1"
number='[0-9]+\.[0-9]{4}'
step_line="^step [0-9]+ train $number( val $number)? lr [0-9]\.[0-9]e[-+][0-9]+ tok/s [0-9]+( eta ([0-9]+:)?[0-9][0-9]:[0-9][0-9])?\$"
done_line="^done( val $number)? steps [0-9]+ seconds [0-9]+\.[0-9] params [0-9]+\$"

# ---- hello -------------------------------------------------------------------------------------

succeeds "$bin/hello"
ok "hello writes a line of text" [ "$(wc -c <out)" -gt 100 ]

# ---- frames ------------------------------------------------------------------------------------

succeeds "$bin/frames" --fast --seconds 2 --characters 5
ok "frames counts its frames" has '^5 characters, 120 frames: [0-9.]+ ms a frame'
ok "frames saves and loads a mind" has '^a mind of [0-9]+ bytes was saved and loaded$'
ok "frames tells what was foreseen" has '^acts foreseen: [0-9.]+ % in the first'
"$bin/frames" --seconds 3600 >out 2>err &
sleep 2
kill -TERM $! && wait $!
status=$?
ok "frames ends well when it is told to" [ "$status" = 0 ]
ok "and tells what there was" has '^64 characters, [0-9]+ frames.*: [0-9.]+ ms a frame'
ok "and no more" has '^acts foreseen: .*, none in the last'

# ---- --help ------------------------------------------------------------------------------------

for program in train sample eval; do
    succeeds "$bin/$program" --help
    ok "$program --help says how to call it" has "^usage: $program "
    ok "$program --help keeps stderr empty" [ ! -s err ]
done
succeeds "$train" --help
for option in data out resume preset steps batch seq layers bands heads lr seed threads eval-every \
    log target-val isa device patience curriculum solver attention; do
    ok "train --help lists --$option" has "^  --$option "
done
ok "train --help shows defaults" has '^  --bands N +52 '
ok "train --help shows computed defaults" has '^  --hidden N +416 '
succeeds "$train" --preset gpt --help
ok "train --preset gpt --help shows the preset" has '^  --attention NAME +dot '
succeeds "$train" --help-markdown
ok "train --help-markdown is a table" has '^\| `--bands` \| 52 \| 1 to 65536 \|'
cp out settings.md
succeeds "$sample" --help-markdown
cat out >>settings.md
if grep -q '^| `--bands`' "$root/README.md" 2>/dev/null; then
    grep '^| `--' settings.md >wanted
    grep -F -x -f wanted "$root/README.md" >found
    ok "the README's tables of settings are those of --help-markdown" cmp -s wanted found
fi

# ---- usage -------------------------------------------------------------------------------------

for program in train sample eval; do
    refuses 2 "^$program: there is no option --wrong" "$bin/$program" --wrong 1
    refuses 2 "^$program: there is no option -x" "$bin/$program" -x
    refuses 2 "^$program: --threads needs a value" "$bin/$program" --threads
    refuses 2 "^$program: --threads is \"two\": allowed are whole numbers from 0 to 256" "$bin/$program" --threads two
    refuses 2 "^$program: --threads is \"1.5\"" "$bin/$program" --threads 1.5
done
refuses 2 '^train: --isa is "mmx": allowed are' "$train" --isa mmx
refuses 2 '^train: attention is "rotery,dot": allowed are: .*; did you mean rotary' "$train" --attention coherence,rotery,dot
refuses 2 '^sample: --isa is "mmx": allowed are' "$sample" m --isa mmx
refuses 2 '^eval: --isa is "mmx": allowed are' "$eval" m t --isa mmx
refuses 2 '^train: "word" is one argument too many' "$train" word
refuses 2 '^sample: "b" is one argument too many' "$sample" a b
refuses 2 '^sample: a model is needed' "$sample"
refuses 2 '^eval: a model and a text are needed' "$eval" model
refuses 2 '^train: --patience is for runs that are evaluated alone' "$train" --data text --eval-every -1 --patience 3
refuses 2 '^train: --val-share is for runs that are evaluated alone' "$train" --data text --eval-every -1 --val-share 0.2
refuses 2 '^train: bands is -3: allowed are 1 to 65536' "$train" --bands -3
refuses 2 '^train: lr is "fast": expected a number' "$train" --lr fast
refuses 2 '^train: steps is 1.5: expected a whole number' "$train" --steps 1.5
refuses 2 '^train: solver is "euler": allowed are' "$train" --solver euler
refuses 2 '^train: --preset is "bert": allowed are wave gpt' "$train" --preset bert
refuses 2 '^train: heads is 5: must divide' "$train" --data text --heads 5
refuses 2 '^train: --tokenizer is "letters": allowed are' "$train" --data text --tokenizer letters
refuses 2 '^train: there is no option --vocab' "$train" --vocab 65
refuses 2 '^train: --seconds chooses the steps' "$train" --seconds 3 --steps 5
refuses 2 '^train: --seconds is "-1": allowed are' "$train" --seconds -1
refuses 2 '^sample: top_p is 2: allowed are' "$sample" m --top-p 2
refuses 2 '^sample: temperature is -1: allowed are' "$sample" m --temperature -1
refuses 2 '^sample: top_k is -3: allowed are' "$sample" m --top-k=-3
refuses 2 '^eval: batch is -1: allowed are 1 to 1048576, 0 for the default' "$eval" m t --batch -1
refuses 2 '^sample: prefill is 70000: allowed are 1 to 65536' "$sample" m --prefill 70000
refuses 2 '^eval: --stream takes no value' "$eval" m t --stream=1
refuses 2 '^eval: --seq is for windows' "$eval" m t --stream --seq 9
refuses 2 '^eval: --to 5 is not after --from 10' "$eval" m t --from 10 --to 5
for program in "$train --data text $small --steps 1" "$sample m" "$eval m t"; do
    if ! strings "${program%% *}" 2>/dev/null | grep -q 'vkGetInstanceProcAddr'; then
        refuses 2 'vulkan:1: this program was built for the CPU alone' $program --device vulkan:1
    fi
    refuses 2 'device is "tpu": allowed are cpu, vulkan and vulkan:N' $program --device tpu
done

# ---- files that are not there or not right -----------------------------------------------------

refuses 1 '^train: nowhere: cannot open it' "$train" --data nowhere
refuses 1 '^train: folder: cannot read it' "$train" --data folder
refuses 1 '^train: empty: the file is empty' "$train" --data empty
refuses 1 '^train: tiny: [0-9]+ tokens to learn from are too few for a window of 64' "$train" --data tiny
refuses 1 '^train: short: its last tenth, 12 tokens, is too short' "$train" --data short --seq 64
refuses 1 '^train: binary: byte [0-9]+ of the text \(0xff\) is not UTF-8' "$train" --data binary --tokenizer chars
refuses 2 '^train: wavecoh.h is neither here nor one folder up' "$train"
refuses 1 '^train: nowhere/model: cannot save there' "$train" --data text --out nowhere/model
refuses 1 '^train: folder: cannot save there: it is a folder' "$train" --data text --out folder
refuses 2 '^train: --out needs the name of a file' "$train" --data text --out ''
refuses 2 '^train: --log needs the name of a file' "$train" --data text --log ''
ln -s circle2 circle1
ln -s circle1 circle2
refuses 1 '^train: circle1: cannot save there: its links lead in a circle' "$train" --data text --out circle1
ok "a refusal prints nothing on stdout" silent_out
for file in nowhere empty text bare.safetensors folder; do
    refuses 1 "^sample: $file: " "$sample" $file
    refuses 1 "^eval: $file: " "$eval" $file text
    refuses 1 "^train: $file: " "$train" --resume $file --data text
done

# ---- a training run ----------------------------------------------------------------------------

succeeds "$train" --data text --out m.safetensors $small --steps 60 --eval_every=20 --log log.csv
ok "the first line is the split" same "$(head -1 out)" \
    "split train 0..$((size * 9 / 10)) val $((size * 9 / 10))..$size"
ok "three evaluations, three lines" lines "$step_line" 3
ok "the steps are 20, 40, 60" same "$(sed -n 's/^step \([0-9]*\) .*/\1/p' out | tr '\n' ' ')" '20 40 60 '
ok "the best weights are named" lines "^best val $number step [0-9]+ file m.best.safetensors\$" 1
ok "the last line is done" same "$(tail -1 out | grep -Ec "$done_line")" 1
ok "a sample stands before it" has '^\| '
ok "the alphabet is named" lines '^tokenizer chars: [0-9]+ different characters$' 1
ok "nothing else is printed" lines '^(split|tokenizer|step|best|done|\|) ' "$(wc -l <out)"
ok "nothing on stderr where it is no terminal" [ ! -s err ]
ok "the checkpoint is there" [ -s m.safetensors ]
ok "the best weights are there" [ -s m.best.safetensors ]
ok "no other file is left" absent m.safetensors.probe
ok "no temporary file is left" same "$(ls | grep -c tmp)" 0
ok "the log has a head and a row a step" [ "$(wc -l <log.csv)" = 61 ]
ok "the log's head" same "$(head -1 log.csv)" 'step,train,val,lr,grad_norm,tokens,seconds'
ok "the log's rows" same "$(grep -Ec '^[0-9]+,[0-9.]+,[0-9.]*,[0-9.e+-]+,[0-9.]+,[0-9]+,[0-9.]+$' log.csv)" 60
ok "every 20th row has a validation loss" same "$(cut -d, -f1,3 log.csv | grep -c '0,[0-9.][0-9.]*$')" 3

result() { sed -n 's/^done val \([^ ]*\) .*/\1/p' out; }
first=$(result)
succeeds "$train" --data text --out again.safetensors $small --threads 3 --steps 60 --eval-every 20 --sample 0
ok "three threads give the loss of one" same "$(result)" "$first"
succeeds "$train" --data text --out again.safetensors $small --steps 12 --sample 0 --profile
ok "a profile names both passes" lines '^profile linear +(for|back)ward +[0-9]+ ops +[0-9.]+ ms +[0-9.]+ % .* GB/s .* GFLOP/s$' 2
ok "and the update, and all" lines '^profile (update +update .* GB/s|all [0-9.]+ ms a step, mean of 10)$' 2
succeeds "$train" --data text $small --out drops.safetensors --steps 1 --sample 0 --dropout auto
ok "a text that is hardly passed over is learnt whole" has '^dropout 0.00 of 0\.[0-9] passes over the text'
succeeds "$train" --data text $small --out drops2.safetensors --steps $((size / 6)) --sample 0 --dropout=auto --eval-every -1
ok "of one that is passed over often a tenth is dropped" has '^dropout 0.10 of [0-9.]* passes over the text'
ok "--sample 0 writes none" lacks '^\|'
for ends in --target-val --seconds; do # a run without end is passed over without end, another one so often
    steps=--steps=-1
    [ $ends = --seconds ] && steps=
    [ $ends = --seconds ] && wanted='[0-9.]*' || wanted=endless
    # shellcheck disable=SC2086
    succeeds "$train" --data text $small --out drops3.safetensors --sample 0 --dropout auto --eval-every 2 $steps \
        $ends $([ $ends = --seconds ] && echo 0.3 || echo 50)
    ok "dropout auto, $ends" has "^dropout 0\.[013]0 of $wanted passes over the text"
done
case $(uname -m) in
x86_64)
    succeeds "$train" --data text --out again.safetensors $small --isa sse2 --steps 5
    refuses 1 "--isa scalar: this machine or this build lacks it; compile with -DWAVECOH_SCALAR" "$train" --data text --out again.safetensors $small --isa scalar ;;
*) succeeds "$train" --data text --out again.safetensors $small --isa auto --steps 5 ;;
esac
succeeds "$train" --data text --out again.safetensors $small --steps 100 --target-val 50 --eval-every 2
ok "--target-val stops as soon as it is reached" has '^done val .* steps 2 '
succeeds "$train" --data text --out again.safetensors $small --steps 400 --lr 5 --patience 2 --eval-every 5 --warmup -1
ok "--patience stops early" lacks '^step 400 '
succeeds "$train" --data short --out again.safetensors $small --eval-every -1 --steps 100
ok "without validation all text is learnt" has '^split train 0..120 val 120..120$'
ok "no line tells of a loss on validation text" lacks '^(step|done) .* val '
ok "neither does the last" has '^done steps 100 seconds '
succeeds "$train" --data binary --out bytes.safetensors $small --steps 5
ok "what is no UTF-8 is learnt as bytes" has '^done '
succeeds "$train" --data accents --out accents.safetensors $small --steps 3
ok "a character is not cut" has '^split train 0..899 val 899..1001$'
for preset in wave gpt kerr-engine wave_engine; do
    succeeds "$train" --data text --out preset.safetensors --preset $preset $small --steps 2 --sample 20
    ok "preset $preset trains" has "$done_line"
done

# ---- the default run ---------------------------------------------------------------------------

mkdir home
cp "$root/wavecoh.h" home/
(cd home && "$train" --seconds 2 --eval-batches 1 >../out 2>../err)
status=$? last='train --seconds 2'
ok "without --data it learns wavecoh.h" [ "$status" = 0 ]
ok "the whole of it" same "$(sed -n '1s/.*\.\.//p' out)" "$(wc -c <home/wavecoh.h | tr -d ' ')"
ok "and leaves model.safetensors" [ -s home/model.safetensors ]
ok "and its lines" has "$done_line"

# Until $process has written such a line to `out`; five minutes at most. wait_for PATTERN
wait_for() {
    tries=0
    while ! grep -q "$1" out && kill -0 $process && [ $tries -lt 6000 ]; do
        tries=$((tries + 1))
        sleep 0.05
    done
}

# ---- interrupting and resuming -----------------------------------------------------------------

long="$small --steps 3000 --eval-every 100 --sample 0"
run "$train" --data text --out whole.safetensors $long
whole=$(result)
hup=HUP
if sh -c 'kill -HUP $$; exit 0'; then
    hup=
    echo "not run: SIGHUP ends train (it is ignored here, as under nohup)"
fi
for signal in INT TERM $hup; do
    rm -f part.*
    : >out # else what stands there from before is taken for the line that is waited for
    "$train" --data text --out part.safetensors $long --log part.csv >out 2>err &
    process=$!
    wait_for '^step 100 '
    kill -$signal $process
    wait $process
    status=$? last="kill -$signal"
    ok "$signal ends cleanly" [ "$status" = 0 ]
    ok "$signal saves and says how to go on" \
        one_sentence 0 '^train: interrupted: step [0-9]+ is saved; go on with --resume part.safetensors --data text --log part.csv$'
    ok "$signal keeps the last line" has "$done_line"
    ok "it stopped before the end" lacks '^step 3000 '
    succeeds "$train" --resume part.safetensors --data text --log part.csv --sample 0
    ok "resumed, it ends with the loss of the whole run" same "$(result)" "$whole"
    ok "the log goes on where it stopped" same "$(cut -d, -f1 part.csv | sed 1d | sort -n | uniq | wc -l | tr -d ' ')" 3000
    ok "and repeats no step" [ "$(wc -l <part.csv)" = 3001 ]
done

# Who was started to outlive its terminal does (nohup).
rm -f part.*
: >out
nohup "$train" --data text --out part.safetensors $long >out 2>err &
process=$!
wait_for '^step 100 '
kill -HUP $process
wait $process
status=$? last="kill -HUP, ignored"
ok "it goes on" [ "$status" = 0 ]
ok "to its end" same "$(result)" "$whole"

# An evaluation that was interrupted is made after the resume, and its loss has its place in the log. (The
# file and the log are made to be those of a run that ended in it.)
succeeds "$train" --data text --out late.safetensors $small --eval-every 1 --steps 1 --sample 0 --log late.csv
LC_ALL=C sed 's/"wavecoh.checksum"/"wavecoh_checksum"/;s/"train.evaluate":"0"/"train.evaluate":"1"/' late.safetensors >due.safetensors
sed 's/^\(1,[^,]*,\)[^,]*,/\1,/' late.csv >due.csv
ok "that log lacks the loss" [ "$(grep -cE '^1,[0-9.]+,,' due.csv)" = 1 ]
succeeds "$train" --resume due.safetensors --data text --out after.safetensors --log due.csv --steps 2 --sample 0
ok "the log has it" same "$(cut -d, -f1-3 due.csv | sed -n 2p)" "$(cut -d, -f1-3 late.csv | sed -n 2p)"
ok "and that of the next step, a row each" [ "$(grep -cE '^[12],[0-9.]+,[0-9.]+,' due.csv)$(wc -l <due.csv | tr -d ' ')" = 23 ]

# More steps fit into that time than a run can have.
: >out
"$train" --data text --out endless.safetensors $small --seconds 1000000 --sample 0 >out 2>err &
process=$!
wait_for '^split '
kill -TERM $process
wait $process
status=$? last="kill -TERM of --seconds 1000000"
ok "--seconds without a foreseeable end has one" grep -aqE '"trainer.steps":"[0-9]+"' endless.safetensors

# What it says goes on with the very run, whatever its files are called and wherever its texts end.
mkdir -p 'my files'
cp text 'my files/a text'
tail -c 3000 text >"my files/it's validated"
for validation in --val --val-share; do
    set -- --val "my files/it's validated"
    [ $validation = --val-share ] && set -- --val-share 0.25
    rm -f 'my files/model' 'my files/log'
    : >out
    "$train" --data 'my files/a text' "$@" --out 'my files/model' $long --unknown skip --log 'my files/log' >out 2>err &
    process=$!
    wait_for '^step 100 '
    kill -INT $process
    wait $process
    said=$(sed -n 's/.*; go on with //p' err)
    eval "run \"\$train\" $said --sample 0"
    ok "what it says goes on: $validation" [ "$status" = 0 ]
    ok "with the same texts: $validation" [ ! -s err ]
    ok "and the same log: $validation" [ "$(tail -n 1 'my files/log' | cut -d, -f1)" = 3000 ]
done
"$eval" whole.safetensors text >whole.loss
"$eval" part.safetensors text >part.loss
ok "and with the same weights" cmp -s whole.loss part.loss
succeeds "$train" --resume part.safetensors --data text --sample 0
ok "a finished run has nothing to do" lacks '^step '
ok "and still ends with its line" has '^done val .* steps 3000 '
succeeds "$train" --resume part.safetensors --data text --steps 3100 --out longer.safetensors --sample 0
ok "more steps go on" has '^done val .* steps 3100 '
refuses 2 '^train: --resume needs --data' "$train" --resume part.safetensors
refuses 2 '^train: --bands is fixed in part.safetensors' "$train" --resume part.safetensors --data text --bands 4
refuses 2 '^train: --preset and --resume exclude' "$train" --resume part.safetensors --preset gpt --data text
refuses 2 '^train: --tokenizer is fixed' "$train" --resume part.safetensors --tokenizer bytes --data text
refuses 1 '^train: part.best.safetensors: ' "$train" --resume part.best.safetensors --data text
refuses 1 "^train: accents: the character 'é' .U.00E9. at byte 1 is not in the alphabet" \
    "$train" --resume part.safetensors --data accents

# ---- sample ------------------------------------------------------------------------------------

succeeds "$sample" m.safetensors --prompt 'wave 1' --tokens 50 --seed 3
cp out first
ok "prompt, 50 characters, end of line" [ "$(wc -c <out)" = 57 ]
ok "the text starts with the prompt" has '^wave 1'
ok "the speed is on stderr" one_sentence 0 '^50 tokens, [0-9]+ tokens/s$'
succeeds "$sample" m.safetensors --prompt 'wave 1' --tokens 50 --seed 3
ok "the same seed writes the same" cmp -s first out
succeeds "$sample" m.safetensors --prompt 'wave 1' --tokens 50 --seed 4
ok "another seed writes something else" [ "$(cat out)" != "$(cat first)" ]
succeeds "$sample" m.safetensors --tokens 40 --temperature 0
cp out first
succeeds "$sample" m.safetensors --tokens 40 --temperature 1 --top_k 1 --seed 9
ok "top-k 1 is greedy" cmp -s first out
for dtype in f16 bf16 i8; do
    succeeds "$eval" m.safetensors text --out small.$dtype --dtype $dtype
    ok "$dtype: what the smaller weights lose" has '^wrote small.* loss [0-9.]+ difference [+-]0\.0'
    loss=$(sed -n 's/.* loss \([0-9.]*\) difference.*/\1/p' out)
    succeeds "$eval" small.$dtype text
    ok "$dtype: the file that was written has that loss" has "^loss $loss "
done
refuses 2 '^eval: text is to be read and cannot be written as well' "$eval" m.safetensors text --out text
succeeds "$sample" m.safetensors --tokens 40 --best 1
ok "the best of one beam is greedy" [ "$(sed '1s/^[0-9.]* //' out)" = "$(cat first)" ]
succeeds "$sample" m.safetensors --tokens 5 --best 3 --prompt wave
ok "the best of three: as many, with -log p" [ "$(grep -cE '^[0-9]+\.[0-9]{4} wave' out)" = 3 ]
succeeds "$sample" m.safetensors --prompt wave --tokens 9 --bias w=1000
ok "a bias rules" same "$(cat out)" wavewwwwwwwww
succeeds "$sample" m.safetensors --prompt wave --tokens 9 --bias w=1000 --stop www
ok "a stop sequence ends the text and is left out" same "$(cat out)" wave
ok "what is left out was drawn" one_sentence 0 '^3 tokens'
succeeds "$sample" m.safetensors --prompt wave --tokens 9 --bias w=1000 --stop wwa
ok "what may be a stop sequence waits and comes" same "$(cat out)" wavewwwwwwwww
succeeds "$sample" m.safetensors --prompt w --tokens 60 --temperature 5 --bias ea=-inf
ok "a bias of -inf forbids" [ "$(grep -c '[ea]' out)" = 0 ]
refuses 2 '^sample: --bias is "e": wanted are LETTERS=NUMBER' "$sample" m.safetensors --bias e
refuses 2 '^sample: --best wants --tokens from 1' "$sample" m.safetensors --best 2 --tokens -1
refuses 2 '^sample: --temperature is for what is drawn' "$sample" m.safetensors --best 2 --temperature 0.5
refuses 2 '^sample: --bias is for what is drawn' "$sample" m.safetensors --best 2 --bias w=1
refuses 2 '^sample: --seed is for what is drawn' "$sample" m.safetensors --best 2 --seed 3
refuses 2 '^eval: --dtype is for weights that are written' "$eval" m.safetensors text --dtype f16
# With subwords the letters of a stop sequence may come in any tokens, and end within one.
succeeds "$train" --data text --tokenizer bpe:290 --out words.safetensors $small --steps 300 --sample 0 --eval-every -1
for seed in 1 2; do
    succeeds "$sample" words.safetensors --tokens 60 --seed $seed --prompt wave
    cp out whole
    for stop in the 'e ' ' sea, a' "$(printf '?\nw')"; do
        wanted=$(STOP=$stop awk 'BEGIN { RS = "\001" } { text = substr($0, 5); at = index(text, ENVIRON["STOP"])
            printf "wave%s", at ? substr(text, 1, at - 1) : text }' whole)
        succeeds "$sample" words.safetensors --tokens 60 --seed $seed --prompt wave --stop "$stop"
        ok "with subwords it ends before '$stop', seed $seed" same "$(cat out)" "$wanted"
    done
done
refuses 2 '^sample: --best and --stop go together where a symbol is a letter' \
    "$sample" words.safetensors --best 2 --tokens 9 --stop the
refuses 1 "^sample: --stop: the character '%'" "$sample" m.safetensors --stop 'w%'
# A model whose symbols are no text: its numbers stand apart from those of the prompt.
LC_ALL=C sed 's/"wavecoh.checksum"/"wavecoh_checksum"/;s/"tokenizer.kind"/"tokenizer_kind"/' m.safetensors >numbers.safetensors
for best in '' '--best 1'; do
    # shellcheck disable=SC2086
    succeeds "$sample" numbers.safetensors --prompt '1 2' --tokens 3 $best
    ok "numbers after a prompt $best" has "^${best:+[0-9.]+ }1 2 [0-9]+ [0-9]+ [0-9]+ ?$"
done
refuses 1 '^sample: --prompt: "x": this model has no tokenizer' "$sample" numbers.safetensors --prompt x
succeeds "$sample" m.best.safetensors --tokens 20 --top-p 0.9 --min-p 0.05 --repetition-penalty 1.2
succeeds "$sample" m.safetensors --tokens 0 --prompt wave
ok "no tokens, only the prompt" same "$(cat out)" wave
refuses 1 "^sample: --prompt: the character '%' .U.0025. at byte 1 is not in the alphabet" \
    "$sample" m.safetensors --prompt 'w%'
succeeds "$train" --data text --out learned.safetensors --preset gpt $small --context 16 --steps 2 --sample 40
succeeds "$sample" learned.safetensors --tokens 100 --prompt 'wave 12 of the calm sea, and then?'
ok "past the learned positions it begins again and says so once" \
    same "$(grep -c 'the table of learned positions is full' err)" 1

# ---- eval --------------------------------------------------------------------------------------

loss_line() { grep -Eqx "loss [0-9]+\.[0-9]{6} tokens $1" out && [ ! -s err ]; }
succeeds "$eval" m.safetensors text --seq 16
ok "windows of 16, the incomplete one dropped" loss_line $(((size - 1) / 16 * 16))
succeeds "$eval" m.safetensors text
ok "windows of 64 without --seq" loss_line $(((size - 1) / 64 * 64))
succeeds "$eval" m.safetensors text --seq 16 --from 100 --to 149
ok "a range of bytes" loss_line 48
succeeds "$eval" m.safetensors text --stream --from 100 --to 149
ok "a stream predicts all but its first token" loss_line 48
succeeds "$eval" accents.safetensors accents --from 1 --to 101 --seq 7
ok "bytes on the command line, characters in windows" loss_line 49
refuses 1 '^eval: accents from byte 2: byte 0 of the text .0xa9. is not UTF-8' "$eval" accents.safetensors accents --from 2
refuses 1 '^eval: text: it has [0-9]+ bytes: --from 999999' "$eval" m.safetensors text --from 999999
refuses 1 '^eval: tiny: evaluation data has 10 tokens: one window of seq 64 needs 65' "$eval" m.safetensors tiny
refuses 1 "^eval: accents: the character 'a'|is not in the alphabet" "$eval" m.safetensors accents
refuses 1 '^eval: empty: the file is empty' "$eval" m.safetensors empty
refuses 1 '^eval: nowhere: cannot open it' "$eval" m.safetensors nowhere
refuses 2 '^eval: seq is 99: the model.s context is 16' "$eval" learned.safetensors text --seq 99
refuses 1 '^eval: text: position' "$eval" learned.safetensors text --stream

# ---- damaged checkpoints -----------------------------------------------------------------------

bytes=$(wc -c <m.safetensors)
head -c $((bytes - 1)) m.safetensors >cut.safetensors
refuses 1 '^sample: cut.safetensors: ' "$sample" cut.safetensors
{ head -c $((bytes - 5)) m.safetensors; printf '\125'; tail -c 4 m.safetensors; } >flip.safetensors
refuses 1 '^sample: flip.safetensors: .*checksum' "$sample" flip.safetensors

# ---- files of others ---------------------------------------------------------------------------

tiny="$small --steps 5 --eval-every 5 --sample 0"
cp text mine
refuses 2 '^train: --out is mine, the file of --data: it would be overwritten' "$train" --data mine --out mine $tiny
printf '{}' >mine.json
refuses 2 '^train: --out is ./mine.json, the file of --tokenizer: it would be overwritten' "$train" --data mine --tokenizer mine.json --out ./mine.json $tiny
refuses 2 '^train: --log is mine.json, the file of --tokenizer' "$train" --data mine --tokenizer mine.json --out x.safetensors --log mine.json $tiny
ok "the tokenizer is as it was" same "$(cat mine.json)" '{}'
ln -s mine mylink
ln mine myother
refuses 2 '^train: --out is mylink, the file of --data' "$train" --data mine --out mylink $tiny
refuses 2 '^train: --out is myother, the file of --data' "$train" --data mine --out myother $tiny
refuses 2 '^train: --log is ./mine, the file of --data' "$train" --data mine --out x.safetensors --log ./mine $tiny
cp text y.best.safetensors
refuses 2 "^train: the best weights. file is y.best.safetensors, the file of --data" "$train" --data y.best.safetensors --out y.safetensors $tiny
refuses 2 '^train: --log is x.safetensors, the file of --out' "$train" --data mine --out ./x.safetensors --log x.safetensors $tiny
ok "the text is as it was" cmp -s text mine
echo victim >victim
ln -s victim p.safetensors.probe
succeeds "$train" --data text --out p.safetensors $tiny
ok "no probe goes through a link" same "$(cat victim)" victim
ln -s nowhere/x.safetensors dangling
refuses 1 '^train: dangling: cannot save there' "$train" --data text --out dangling $tiny
refuses 1 '^train: nowhere/log.csv: cannot save there' "$train" --data text --out q.safetensors --log nowhere/log.csv $tiny
ok "and nothing was begun" absent q.safetensors
mkdir target
ln -s target/l.safetensors l.safetensors
succeeds "$train" --data text --out l.safetensors $tiny
ok "a link into a folder is followed" [ -s target/l.safetensors ]

# ---- runs over earlier runs --------------------------------------------------------------------

succeeds "$train" --data text --out o.safetensors $tiny --log o.csv
for file in o.safetensors o.best.safetensors o.csv; do cp $file first.$file; done
refuses 1 '^train: o.safetensors: a file stands there already \(--no-replace\)' \
    "$train" --data text --out o.safetensors $tiny --no-replace
succeeds "$train" --data text --out o.safetensors $tiny --log o.csv --seed 7
for file in o.safetensors o.best.safetensors o.csv; do
    ok "$file of the first run is moved aside" cmp -s first.$file $file.old
    ok "and that is said" has "^train: $file: a file of an earlier run stood there and is now $file.old\$" err
done
succeeds "$train" --data text --out o.safetensors $tiny --log o.csv
ok "a third run loses neither" cmp -s first.o.safetensors o.safetensors.old
ok "the second is there too" [ -s o.safetensors.old2 ]
: >o.safetensors.99999999-0.tmp
succeeds "$train" --data text --resume o.safetensors --steps 10 --log o.csv
ok "what a killed save left is taken away" absent o.safetensors.99999999-0.tmp
ok "a run that goes on moves nothing" absent o.safetensors.old3

# ---- the line of the best weights tells what is on disk ----------------------------------------

best_file() { sed -n 's/^best val .* file //p' out; }
succeeds "$train" --data text --out a.safetensors $small --steps 40 --eval-every 20 --sample 0
rm a.best.safetensors
succeeds "$train" --data text --resume a.safetensors --sample 0
ok "lost best weights are made again from the state that is the best" [ -s "$(best_file)" ]
"$eval" a.best.safetensors text >best.loss
"$eval" a.safetensors text >last.loss
ok "and are those of the state" cmp -s best.loss last.loss
cp o.best.safetensors a.best.safetensors
succeeds "$train" --data text --resume a.safetensors --sample 0
ok "those of another run are not taken for them" cmp -s o.best.safetensors a.best.safetensors.old
"$eval" a.best.safetensors text >best.loss
ok "they are made again too" cmp -s best.loss last.loss
# a run that was killed between its checkpoint and its best weights: these are of an older step
succeeds "$train" --data text --out k.safetensors $small --steps 20 --eval-every 20 --sample 0
cp k.best.safetensors older.safetensors
succeeds "$train" --data text --resume k.safetensors --steps 40 --sample 0
ok "the run went on to better weights" has '^best val .* step 40 '
cp k.best.safetensors newer.safetensors
cp older.safetensors k.best.safetensors
succeeds "$train" --data text --resume k.safetensors --sample 0
ok "older best weights of the same run are brought up to date" cmp -s newer.safetensors k.best.safetensors
ok "and not lost" cmp -s older.safetensors k.best.safetensors.old
ok "the line tells of the new ones" has '^best val .* step 40 file k.best.safetensors$'
worse="--steps 60 --eval-every 10 --lr 5 --lr-end -1 --clip -1 --warmup -1 --eval-batches 2 --sample 0"
run "$train" --data text --resume a.safetensors --out b.safetensors $worse
ok "under another name the best weights come along" has '^best val .* step 40 file b.best.safetensors$'
ok "and are the same" cmp -s a.best.safetensors b.best.safetensors
cp a.safetensors c.safetensors
run "$train" --data text --resume c.safetensors $worse
cp c.safetensors d.safetensors
run "$train" --data text --resume d.safetensors --steps 70
ok "what a later state cannot give back is said" \
    has '^train: d.best.safetensors: the best weights, of step 40, are not there' err
ok "and no line tells of it" lacks '^best val .* step 40 '
if cc -shared -fPIC -o fail_rename.so -x c - -ldl 2>/dev/null <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
int rename(const char *from, const char *to)
{
    static int left = -1;
    const char *name = getenv("FAIL_RENAME");
    if (left < 0) left = atoi(getenv("FAIL_TIMES"));
    if (name && strstr(to, name) && left > 0) return left--, errno = ENOSPC, -1;
    return ((int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename"))(from, to);
}
END
then
    broken() { # TIMES NAME COMMAND..: that many renames to NAME fail
        times=$1 name=$2
        shift 2
        ASAN_OPTIONS=verify_asan_link_order=0 LD_PRELOAD=$PWD/fail_rename.so FAIL_TIMES=$times FAIL_RENAME=$name "$@"
    }
    rising="$small --steps 60 --eval-every 10 --lr 3 --warmup -1 --sample 0"
    run broken 1 e.best "$train" --data text --out e.safetensors $rising
    ok "best weights that could not be written are written later" [ -s "$(best_file)" ]
    ok "and said so" has 'e.best.safetensors: .*; the next evaluation tries again' err
    run "$train" --data text --out f.safetensors $rising
    ok "they are the best ones, not later ones" cmp -s e.best.safetensors f.best.safetensors
    run broken 99 g.best "$train" --data text --out g.safetensors $tiny
    ok "best weights never written are a failure" [ "$status" = 1 ]
    ok "that no line tells of" lacks '^best '
    run broken 99 h.safetensors "$train" --data text --out h.safetensors $tiny
    ok "the best weights are written where the checkpoint fails" [ -s "$(best_file)" ]
    ok "which is still a failure" [ "$status" = 1 ]
else
    echo "not run: renames that fail (no shared library could be built)"
fi

# ---- logs that go on ---------------------------------------------------------------------------

succeeds "$train" --data text --out g2.safetensors $small --steps 4 --eval-every 4 --eval-batches 1 --sample 0
head='step,train,val,lr,grad_norm,tokens,seconds'
printf "$head\n1,2.5,,1e-3,1,768,0.1\n768,2.677" >g.csv
cp g2.safetensors g3.safetensors
cp g2.best.safetensors g3.best.safetensors
succeeds "$train" --data text --resume g2.safetensors --log g.csv --steps 8 --sample 0
ok "a half row is cut" same "$(cut -d, -f1 g.csv | tr '\n' ' ')" 'step 1 5 6 7 8 '
printf "$head\n3,2.5,,1e-3,1,768,0.1\n4,2,,1e-3,1,768,0.1\n5,2,,1e-3,1,768,0.1\n6,2,,1e-3,1,768,0.1\n" >g.csv
succeeds "$train" --data text --resume g3.safetensors --log g.csv --steps 6 --sample 0
ok "rows after the checkpoint are cut" same "$(cut -d, -f1 g.csv | tr '\n' ' ')" 'step 3 4 5 6 '
echo 'my notes' >notes
refuses 1 '^train: notes: it does not begin with step,train,val' \
    "$train" --data text --resume g3.safetensors --log notes --steps 8 --sample 0
ok "a file that is no log is left alone" same "$(cat notes)" 'my notes'

# ---- words -------------------------------------------------------------------------------------

refuses 2 'allowed are auto bytes chars chars.bytes bpe:N words FILE.json; did you mean bytes\?' "$train" --data text --tokenizer byte
refuses 2 'did you mean exact\?' "$train" --solver exat
refuses 2 'no option --setps; --help lists them; did you mean --steps\?' "$train" --setps 5
refuses 2 'no option --temprature; --help lists them; did you mean --temperature\?' "$sample" m --temprature 5
refuses 2 'heads is 4: must divide the width 2 x bands = 10' "$train" --data text --bands 5 --heads 4
printf '%0600d' 0 >zeros
refuses 1 '^train: zeros: it is one character again and again' "$train" --data zeros --seq 8
for program in train sample eval; do
    succeeds "$bin/$program" -h
    ok "$program -h is --help" has "^usage: $program "
done

# ---- letters -----------------------------------------------------------------------------------

awk 'BEGIN { for (i = 0; i < 613; i++) for (k = 0; k < 4; k++) printf "%c%c%c", 228 + int(i / 4096), 128 + int(i / 64) % 64, 128 + i % 64 }' |
    LC_ALL=C tr -d '\n' >many 2>/dev/null
if [ "$(wc -c <many)" != 7356 ]; then # an awk that writes characters
    LC_ALL=C awk 'BEGIN { for (i = 0; i < 613; i++) for (k = 0; k < 4; k++) printf "%c%c%c", 228, 128 + int(i / 64) % 64, 128 + i % 64 }' >many
fi
succeeds "$train" --data many --out many.safetensors $small --steps 5 --sample 50
ok "why bytes were taken is said" has '^tokenizer bytes: 613 different characters$'
succeeds "$train" --data binary --out bytes.safetensors $small --steps 5 --sample 50
ok "for a text that is no UTF-8 too" has '^tokenizer bytes: byte [0-9]+ of the text \(0xff\) is not UTF-8$'
if command -v iconv >/dev/null; then
    succeeds "$sample" many.safetensors --tokens 200 --temperature 3
    ok "a model of bytes prints whole characters" iconv -f UTF-8 -t UTF-8 out -o converted
    "$sample" many.safetensors --tokens 200 --temperature 3 --seed 2 >out 2>err
    ok "whatever the seed" iconv -f UTF-8 -t UTF-8 out -o converted
else
    echo "not run: valid UTF-8 (no iconv)"
fi
{ cat text; printf 'caf\303\251 \303\274\n'; } >foreign
refuses 1 "^eval: foreign: the character 'é' .* it has 2 letters that the model lacks, of these kinds: é ü; --unknown skip" "$eval" m.safetensors foreign
printf 'a\000\001a\000' >controls
refuses 1 'letters that the model lacks, of these kinds: \\x00 \\x01; --unknown' "$eval" m.safetensors controls
succeeds "$eval" m.safetensors foreign --seq 1 --unknown skip
ok "what is left out is no token" same "$(sed -n 's/.*tokens //p' out)" $((size + 4))
ok "what is left out is said" has 'letters that the model lacks are left out' err
succeeds "$eval" m.safetensors foreign --seq 1 --unknown replace
ok "a replaced letter is still one" same "$(sed -n 's/.*tokens //p' out)" $((size + 6))
succeeds "$sample" m.safetensors --prompt 'w%' --tokens 5 --unknown skip

# Subwords of a file: z is written out as 24 letters, a mark stands before each text, t h e join.
tokens_file() {
    printf '{"added_tokens":[],"normalizer":%s,"pre_tokenizer":null,"post_processor":null,' "$1"
    printf '"decoder":{"type":"Fuse"},"model":{"type":"BPE","merges":[["t","h"],["th","e"]],"vocab":{'
    awk 'BEGIN { n = split("\\n|_| |,|?|0|1|2|3|4|5|6|7|8|9|a|c|d|e|f|g|h|l|m|n|o|r|s|t|u|v|w|th|the", one, "|")
                 for (i = 1; i <= n; i++) printf("%s\"%s\":%d", i == 1 ? "" : ",", one[i], i - 1) }'
    printf '}}}'
}
tokens_file '{"type":"Replace","pattern":{"String":"z"},"content":"aaaaaaaaaaaaaaaaaaaaaaa"}' >long.json
tokens_file '{"type":"Prepend","prepend":"_"}' >marked.json
sed 's/?//' text >asks.not
for kind in long marked; do
    succeeds "$train" --data asks.not --tokenizer $kind.json --out $kind.safetensors $small --steps 2 --sample 0
done
printf zzzzzzzzzzzzzzzzzzzzzz >z
succeeds "$eval" long.safetensors z --stream
ok "a normalizer may write many times the text" has '^loss [0-9.]+ tokens 505$'
succeeds "$sample" long.safetensors --prompt zzzzzzzzzzzzzzzzzzzzzz --tokens 2 --stop zzzzz
succeeds "$sample" long.safetensors --tokens 20 --bias zz=99 --bias z=-1
ok "and the letters of a bias" has '^aaaaaaaaaaaaaaaaaaaa$'
succeeds "$train" --data z --data text --tokenizer long.json --out z.safetensors $small --steps 2 --sample 0
printf 'the sea the calm  the wave' >plain
printf 'the sea%% the\377 calm %% the wave' >odd
succeeds "$eval" marked.safetensors plain --stream
cp out plain.loss
succeeds "$eval" marked.safetensors odd --stream --unknown skip
ok "what is left out leaves a text as whole as if it had never stood there" cmp -s out plain.loss
printf 'the sea  the  calm   the wave' >plain
succeeds "$eval" marked.safetensors plain --stream
cp out plain.loss
succeeds "$eval" marked.safetensors odd --stream --unknown replace
ok "and so does a blank in its place" cmp -s out plain.loss
succeeds "$train" --data text --out mixed.safetensors $small --tokenizer chars+bytes --steps 20 --sample 50
ok "chars+bytes counts the characters" has '^tokenizer chars\+bytes: [0-9]+ different characters$'
succeeds "$eval" mixed.safetensors text --seq 1
ok "which are one token each" same "$(sed -n 's/.*tokens //p' out)" $((size - 1))
succeeds "$eval" mixed.safetensors foreign --seq 1
ok "and takes any text: a letter that it lacks is two bytes" \
    same "$(sed -n 's/.*tokens //p' out)" $((size + 8))
ok "without a word" [ ! -s err ]
succeeds "$eval" mixed.safetensors binary --seq 1
succeeds "$train" --data binary --out mixed2.safetensors $small --tokenizer chars+bytes --steps 5 --sample 50
ok "it learns a text that is no UTF-8" has '^done '
succeeds "$eval" mixed2.safetensors dos --seq 1
ok "the ends of lines are those of characters" same "$(sed -n 's/.*tokens //p' out)" $((size - 1))
succeeds "$sample" mixed.safetensors --prompt "$(printf 'w%% \303\251')" --tokens 5
if command -v iconv >/dev/null; then
    for seed in 1 2 3; do
        "$sample" mixed.safetensors --tokens 200 --temperature 1000 --seed $seed >out 2>err
        ok "bytes between characters are printed as whole characters" iconv -f UTF-8 -t UTF-8 out -o converted
    done
fi
cp m.safetensors u.safetensors
cp m.best.safetensors u.best.safetensors
succeeds "$train" --data foreign --resume u.safetensors --unknown replace --steps 65 --sample 0

# ---- texts as editors leave them ---------------------------------------------------------------

succeeds "$train" --data dos --out dos.safetensors $small --steps 20 --eval-every 20 --sample 0
dos=$(result)
ok "split counts the bytes of the file" has " val [0-9]+..$(wc -c <dos | tr -d ' ')\$"
succeeds "$train" --data text --out unix.safetensors $small --steps 1 --sample 0
succeeds "$eval" unix.safetensors text
cp out unix.loss
succeeds "$eval" unix.safetensors dos
ok "a mark and CR LF make no other text" cmp -s unix.loss out
succeeds "$train" --data dos --out dosb.safetensors $small --tokenizer bytes --steps 1 --sample 0
succeeds "$eval" dosb.safetensors dos --seq 1
ok "to a model of bytes they are bytes" same "$(sed -n 's/.*tokens //p' out)" $(($(wc -c <dos) - 1))
{ printf '\377\376'; sed 's/./&\n/g' text | tr '\n' '\000'; } >wide
refuses 1 '^train: wide: it is a text in UTF-16; save it as UTF-8' "$train" --data wide
last='train --data -'
"$train" --data - --out stdin.safetensors $small --steps 20 --eval-every 20 --sample 0 <text >out 2>err
status=$?
ok "- is standard input" [ "$status" = 0 ]
stdin=$(result)
succeeds "$train" --data text --out stdin.safetensors $small --steps 20 --eval-every 20 --sample 0
ok "and the same text" same "$(result)" "$stdin"

# ---- validation of one's own, weights of another run -------------------------------------------

tail -c 2000 text >end
head -c $((size - 2000)) text >begin
succeeds "$train" --data begin --val end --out v.safetensors $small --steps 5 --sample 0
ok "--val is a text of its own" has "^split train 0..$((size - 2000)) val 0..2000\$"
succeeds "$train" --data text --val-share 0.25 --out v2.safetensors $small --steps 5 --sample 0
ok "--val-share is the share of the end" has "^split train 0..$((size * 3 / 4)) val "
refuses 2 '^train: --val is a text of its own' "$train" --data begin --val end --val-share 0.2
refuses 1 '^train: tiny: [0-9]+ tokens are too few for a window' "$train" --data begin --val tiny $small
succeeds "$train" --from m.best.safetensors --data text --out tuned.safetensors --steps 1 --lr 1e-9 \
    --batch 2 --seq 16 --eval-every 1 --eval-batches 2 --threads 1 --sample 0 --seed 5
"$eval" m.best.safetensors text >from.loss
"$eval" tuned.safetensors text >tuned.loss
ok "--from begins with those weights" cmp -s from.loss tuned.loss
# frozen is all but the head, which a file has last
succeeds "$train" --from m.best.safetensors --data text --out head.safetensors --batch 2 --seq 16 --steps 6 --sample 0 \
    --eval-batches 2 --freeze 'blocks.*' --freeze '*norm*'
frozen=$(sed -n 's/^frozen \([0-9]*\) of [0-9]* parameters$/\1/p' out)
all=$(sed -n 's/^frozen [0-9]* of \([0-9]*\) parameters$/\1/p' out)
ok "--freeze says how much is frozen" [ "$frozen" -gt 0 -a "$frozen" -lt "$all" ]
tail -c $((4 * all)) m.best.safetensors >before
tail -c $((4 * all)) head.best.safetensors >after
ok "what is frozen stays" [ "$(cmp -l before after | awk 'NR == 1 { print $1 }')" -gt $((4 * frozen)) ]
succeeds "$train" --resume head.safetensors --data text --out head2.safetensors --steps 8 --sample 0
ok "a run that goes on keeps it frozen" has "^frozen $frozen of $all parameters"
refuses 2 '^train: --freeze: no trained parameter has a name like "block"' "$train" --from m.safetensors --data text --freeze block
refuses 2 '^train: --freeze: every parameter is frozen' "$train" --from m.safetensors --data text --freeze '*'
refuses 2 '^train: --bands is fixed in m.safetensors; with --from' "$train" --from m.safetensors --data text --bands 4
refuses 2 '^train: --from and --resume exclude' "$train" --from m.safetensors --resume m.safetensors --data text
refuses 1 'letters that the model lacks, of these kinds: é ü' "$train" --from m.safetensors --data foreign --seq 1 --eval-every -1

# ---- several texts -----------------------------------------------------------------------------

awk 'BEGIN { for (i = 0; i < 1000; i++) printf "%s", i % 2 ? "b" : "a" }' >one
awk 'BEGIN { for (i = 0; i < 500; i++) printf "%s", i % 2 ? "y" : "x" }' >two
succeeds "$train" --data one --data two --out s.safetensors $small --steps 60 --eval-every 20 --sample 0
ok "each text has its line" same "$(sed -n '/^split/p' out | tr '\n' ';')" \
    'split train 0..900 val 900..1000 file one;split train 0..450 val 450..500 file two;'
ok "the letters are those of both" has '^tokenizer chars: 4 different characters$'
ok "it trains" has "$done_line"
loss_of() { sed -n 's/^loss \([0-9.]*\) .*/\1/p' out; }
for how in "" --stream; do
    succeeds "$eval" s.safetensors one $how
    first=$(loss_of)
    succeeds "$eval" s.safetensors two $how
    second=$(loss_of)
    succeeds "$eval" s.safetensors one two $how
    ok "of both all tokens but two are predicted" has ' tokens 1498$'
done
ok "streams begin anew with each text" same \
    "$(echo "$(loss_of) $first $second" | awk '{ d = $1 - ($2 * 999 + $3 * 499) / 1498; print (d < 2e-6 && d > -2e-6) }')" 1
refuses 2 '^eval: --from is a place in one text' "$eval" s.safetensors one two --from 3
refuses 1 '^eval: nowhere: cannot open it' "$eval" s.safetensors one nowhere
succeeds "$train" --data one --data tiny --data two --out s2.safetensors $small --steps 5 --sample 0
ok "a text shorter than a window is learnt too" has '^split train 0..9 val 9..10 file tiny$'
succeeds "$train" --data one --data two --val end --val tiny --unknown skip --out s3.safetensors $small --steps 5 --sample 0
ok "several texts to validate on" same "$(sed -n '/^split val/p' out | tr '\n' ';')" \
    'split val 0..2000 file end;split val 0..10 file tiny;'
printf x >letter
refuses 1 '^train: letter: two tokens at least are needed' "$train" --data one --data letter $small
refuses 1 '^train: binary: byte [0-9]+ of the text .0xff. is not UTF-8' "$train" --data text --data binary --tokenizer chars
succeeds "$train" --data text --data binary --out s4.safetensors $small --steps 5 --sample 0
ok "which text made it bytes is said" has '^tokenizer bytes: binary: byte [0-9]+ of the text \(0xff\) is not UTF-8$'
succeeds "$train" --data one --data two --stages 0.4,0.6 --mix 0.2 --out s6.safetensors $small --steps 10 --eval-every 5 --sample 0
ok "the loss of each text ends a stage" has '^stage 1 step 4 val [0-9.]+ one val [0-9.]+ two$'
ok "and the last one" has '^stage 2 step 10 val [0-9.]+ one val [0-9.]+ two$'
succeeds "$train" --data one --data two --stages 0.4,0.6 --mix 0.2 --out s7.safetensors $small --steps 10 --eval-every 5 --sample 0 --target-val 9
succeeds "$train" --data one --data two --resume s7.safetensors --target-val 0 --sample 0
ok "a run in stages goes on in them, untold" has '^stage 2 step 10 val [0-9.]+ one val [0-9.]+ two$'
ok "and is the one that never stopped" cmp s6.best.safetensors s7.best.safetensors
refuses 1 '^train: s7.safetensors: the run in the file has other stages: it goes on in them alone' \
    "$train" --data one --data two --stages 0.5,0.5 --resume s7.safetensors --steps 12
refuses 2 '^train: --stages is "0.4": it needs 2 numbers with commas between' "$train" --data one --data two --stages 0.4 $small
refuses 2 '^train: the shares of the stages are 1.1 in all, not 1' "$train" --data one --data two --stages 0.4,0.7 $small --steps 5
refuses 2 '^train: --mix is for runs in stages' "$train" --data one --data two --mix 0.5 $small
refuses 2 '^train: --out is two, the file of --data' "$train" --data one --data two --out two $small
cp s.safetensors s5.safetensors
cp s.best.safetensors s5.best.safetensors
succeeds "$train" --data one --data two --resume s5.safetensors --steps 80 --sample 0
ok "the same texts are known again" lacks 'tokens' err

# ---- a start symbol ----------------------------------------------------------------------------

for i in 1 2 3 4 5 6; do
    { printf Q; awk "BEGIN { for (i = 0; i < 12; i++) printf \"%s\", (i * $i) % 7 ? \"a\" : \"b\" }"; } >q$i
done
many="--data q1 --data q2 --data q3 --data q4 --data q5 --data q6"
succeeds "$train" $many --start --out start.safetensors $small --steps 150 --eval-every -1 --sample 20
ok "the symbol is named" has '^tokenizer chars: 3 different characters and a start symbol$'
ok "the sample begins as the texts do" has '^\| Q'
succeeds "$sample" start.safetensors --tokens 3 --temperature 0
ok "so does what sample writes" has '^Q'
succeeds "$sample" start.safetensors --tokens 400 --temperature 1000
ok "the symbol itself is never written" same "$(tr -d 'Qab\n' <out | wc -c | tr -d ' ')" 0
ok "and stands for nothing" same "$(wc -c <out | tr -d ' ')" 401
succeeds "$eval" start.safetensors q1 --stream
ok "it predicts the first letter too" has ' tokens 13$'
refuses 2 '^train: --start is fixed in start.safetensors' "$train" --resume start.safetensors --data q1 --start

# ---- ends --------------------------------------------------------------------------------------

succeeds "$train" --data text --out end.safetensors $small --steps 50 --eval-every 25 --log end.csv --sample 0 --warmup -1
succeeds "$train" --data text --resume end.safetensors --sample 0
ok "a finished run says so" has '^train: nothing to do: steps is 50$' err
succeeds "$train" --data text --resume end.safetensors --steps 60 --log end.csv --sample 0
ok "more steps keep the rate that the run ended with, a tenth of the peak" \
    same "$(sed 1,51d end.csv | cut -d, -f4 | uniq -c | sed 's/^ *//')" '10 4.500000e-04'
rates() { sed 1,"$2"d "$1" | cut -d, -f4 | uniq -c | sed 's/^ *//'; } # LOG LINES: of the rows after them
cp end.safetensors rise.safetensors
cp end.best.safetensors rise.best.safetensors
succeeds "$train" --data text --resume rise.safetensors --steps 70 --lr 0.001 --lr-end -1 --warmup 4 --log rise.csv --sample 0
ok "another rate is warmed up to from the one at hand" same "$(rates rise.csv 1 | tr '\n' ' ')" \
    '1 5.875000e-04 1 7.250000e-04 1 8.625000e-04 7 1.000000e-03 '
refuses 2 '^train: --finish ends a run that is resumed' "$train" --data text --finish 5
refuses 2 '^train: --finish ends a run that is resumed' "$train" --data text --resume end.safetensors --finish 5 --steps 9
refuses 2 '^train: --finish is "0": allowed are' "$train" --data text --resume end.safetensors --finish 0
rm -f never.*
"$train" --data text --out never.safetensors $small --steps -1 --eval-every 20 --warmup 10 --log never.csv --sample 0 >out 2>err &
process=$!
wait_for '^step 40 '
kill -INT $process
wait $process
status=$? last='train --steps -1'
ok "a run without end ends cleanly with Ctrl-C" [ "$status" = 0 ]
ok "it has no time to go" lacks ' eta '
ok "and stays at its rate after the warm-up" same "$(rates never.csv 11 | cut -d' ' -f2)" 4.500000e-03
step=$(sed -n 's/^done .* steps \([0-9]*\) .*/\1/p' out)
succeeds "$train" --data text --resume never.safetensors --log never.csv --finish 8 --sample 0
ok "--finish ends it" has "^done .* steps $((step + 8)) "
ok "by half a cosine to a tenth of the rate" same "$(tail -n 8 never.csv | cut -d, -f4 | tr '\n' ' ')" \
    '4.500000e-03 4.345856e-03 3.906891e-03 3.249934e-03 2.475000e-03 1.700066e-03 1.043109e-03 6.041439e-04 '
succeeds "$train" --data text --resume never.safetensors --sample 0
ok "then there is nothing to do" has "^train: nothing to do: steps is $((step + 8))\$" err

# ---- another text ------------------------------------------------------------------------------

succeeds "$train" --data text --resume end.safetensors --steps 62 --sample 0
ok "the same text is nothing to tell" [ ! -s err ]
sed 's/calm/caml/' text >like
cp end.safetensors like.safetensors
cp end.best.safetensors like.best.safetensors
succeeds "$train" --data like --resume like.safetensors --steps 66 --sample 0 --eval-every 2
ok "one that looks like it is told apart" has '^train: like.safetensors: the training text has other tokens or boundaries than that of the steps before; the validation text has other tokens' err
ok "what was best on the other text is moved aside" cmp -s end.best.safetensors like.best.safetensors.old
ok "and the best on this one is found" has '^best val .* file like.best.safetensors$'
succeeds "$train" --data text --val like --resume end.safetensors --steps 64 --sample 0
ok "a shorter one too" has '^train: end.safetensors: the training text has [0-9]+ tokens, that of the steps before had [0-9]+; the validation' err

wild="--lr 3 --warmup -1 --lr-end -1 --clip -1 --sample 20"
succeeds "$train" --data text --out div.safetensors $small --steps 20 --eval-every 10 $wild
ok "a run that never learns says so and names a lower rate" \
    has '^train: the run diverged: .*; a lower rate may help: --lr 1.5$' err
succeeds "$train" --from m.safetensors --data text --out div.safetensors --batch 2 --seq 16 \
    --eval-batches 2 --threads 1 --steps 30 --eval-every 1 $wild
ok "so does one that forgets" has '^train: the run diverged: .*; a lower rate may help' err
ok "its best weights are not the last ones" lacks '^best val .* step 30 file'
sed -n 's/^| //p' out | tr -d '\n' >written
succeeds "$sample" "$(best_file)" --tokens 20
ok "and it samples from them" same "$(tr -d '\n' <out)" "$(cat written)"

awk 'BEGIN { x = 1; for (i = 0; i < 20000; i++) { x = x * 16807 % 2147483647
    printf "%s", substr("abcd", 1 + int(x / 536870912), 1) } }' >noise # 4 letters alike: ln 4 nats
succeeds "$train" --data noise --out noise.safetensors $small --steps 240 --eval-every 60 --sample 0
ok "a run that learns nothing but how often each letter stands says so" has \
    '^train: the run learnt no more than how often each letter stands: .* ends at 1\.[34][0-9]*, counting letters gives 1\.3862; a lower rate may help: --lr 0.00225$' err
succeeds "$train" --data text --out noise2.safetensors $small --steps 240 --eval-every 60 --sample 0
ok "one that learns more says nothing" [ ! -s err ]
succeeds "$train" --data noise --preset kerr-engine --out noise4.safetensors $small --steps 2 --sample 0
ok "a run of two steps, the first of them above guessing, has not diverged" [ ! -s err ]
succeeds "$train" --data noise --out noise3.safetensors $small --steps 120 --eval-every 60 --sample 0
ok "nor does one that had its full rate for twenty steps" [ ! -s err ]

# ---- nowhere left to write ---------------------------------------------------------------------

if [ -c /dev/full ]; then
    for program in "$train --help" "$sample m.safetensors" "$eval m.safetensors text"; do
        last="$program >/dev/full"
        $program >/dev/full 2>err
        status=$?
        ok "$last is one sentence" one_sentence 1 'cannot write to stdout'
    done
    last='train >/dev/full'
    "$train" --data text --out full.safetensors $small --steps 40 --eval-every 20 >/dev/full 2>err
    status=$?
    ok "train >/dev/full keeps the model" one_sentence 1 'cannot write to stdout; the model of step 0 is saved in full.safetensors'
    succeeds "$eval" full.safetensors text
    refuses 1 '^train: cannot write /dev/full; the model of step [0-9]+ is saved in log.safetensors' \
        "$train" --data text --out log.safetensors $small --steps 400 --eval-every 100 --log /dev/full
    succeeds "$eval" full.safetensors text
    refuses 1 '^train: /dev/full: ' "$train" --data text --out /dev/full $small --steps 2
    last='train >&-'
    "$train" --data text --out closed.safetensors $small --steps 40 --eval-every 20 --log closed.csv 2>err >&-
    status=$?
    ok "a closed stdout is one sentence" one_sentence 1 'cannot write to stdout; the model of step 0 is saved in closed.safetensors'
    ok "and what would be printed goes into no file" same "$(cat closed.csv)" 'step,train,val,lr,grad_norm,tokens,seconds'
    ok "/dev/full is still a device, alone" same "$(ls -d /dev/full* | wc -l | tr -d ' ')" 1
    succeeds "$train" --data text --out /dev/null $small --steps 2
    ok "/dev/null too" same "$(ls -d /dev/null* | wc -l | tr -d ' ')" 1
fi
cp m.safetensors kept.safetensors
cp m.best.safetensors kept.best.safetensors
last='train on a full disk'
(
    trap '' XFSZ
    ulimit -f 4
    exec "$train" --resume kept.safetensors --data text --steps 70 --sample 0 >out 2>err
)
status=$?
ok "a full disk is a sentence a file" same "$(grep -Ec '^train: kept(.best)?.safetensors: ' err)" "$(wc -l <err | tr -d ' ')"
ok "a failure" same $status 1
ok "the old checkpoint is untouched" cmp -s m.safetensors kept.safetensors
ok "and nothing else is left beside it" same "$(ls | grep -c '^kept')" 2

finish

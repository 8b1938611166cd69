#!/bin/sh
# Every fuzzer for a short while, with the loop of mutations in fuzz.h and the sanitizers that are
# here: sh tests/test_fuzz.sh. FUZZ_SECONDS (2) is the time of each target; for a long run take
# libFuzzer, by the lines in the fuzzers' first comments. Ends with `N passed, N failed`.

cd "$(dirname "$0")/.." || exit 1
root=$PWD
work=$(mktemp -d "${TMPDIR:-/tmp}/wavecoh.XXXXXX") || exit 1
trap 'rm -rf "$work"' 0
passed=0
failed=0
how="${CC:-cc} -O1"
echo 'int main(void) { return 0; }' > "$work/empty.c"
for cc in clang gcc; do # -O0, and the plain kernels: building takes longer than running
    san="$cc -O0 -g1 -DWAVECOH_NO_SIMD -fsanitize=address,undefined -fno-sanitize-recover=all"
    if $san -o "$work/empty" "$work/empty.c" 2> /dev/null && "$work/empty"; then how=$san && break; fi
done
[ "$how" = "$san" ] || echo "not run: sanitizers of the fuzzers (none here)"
ASAN_OPTIONS=detect_leaks=0 # a program that gives up leaves its memory to the system
export ASAN_OPTIONS

cd "$work" || exit 1
# build NAME SOURCE FLAGS
build() { $how $3 -w -o "$1" "$root/tests/$2.c" -lm -lpthread > "$1.log" 2>&1; }
# What needs no more than the surface shares one implementation.
printf '#define WAVECOH_IMPLEMENTATION\n#include "%s/wavecoh.h"\n' "$root" > wavecoh.c
$how -w -c wavecoh.c
shared="-DWAVECOH_IMPLEMENTATION_DONE wavecoh.o"
build files fuzz_files & build text fuzz_text & wait
build toolkit fuzz_toolkit "$shared" & build api fuzz_api & wait
for program in plot report inspect train compare convert; do
    build $program fuzz_programs "-D$(echo $program | tr a-z A-Z) $shared"
done
build requests fuzz_requests

mkdir seeds && ./files seeds
printf 'KCHK\002\000\000\000' > engine
head -c 2000 /dev/zero >> engine
{ # wave-engine's: one block of two bands, two symbols, parameters and moments
    printf 'WCHK\001\000\000\000\002\000\000\000\001\000\000\000\001\000\000\000\001\000\000\000'
    printf '\002\000\000\000\001\000\000\000\002\000\000\000\000\000\000\000'
    head -c 964 /dev/zero
} > wave
{ # one setting, one tensor and its numbers
    printf 'GGUF\003\000\000\000\001\000\000\000\000\000\000\000\001\000\000\000\000\000\000\000'
    printf '\024\000\000\000\000\000\000\000general.architecture\010\000\000\000\004\000\000\000\000\000\000\000gpt2'
    printf '\021\000\000\000\000\000\000\000token_embd.weight\001\000\000\000\002\000\000\000\000\000\000\000'
    head -c 200 /dev/zero
} > gguf
printf '1,2.5,,1e-3,0.5,768,0.1\n2,2.4,2.3,1e-3,0.5,768,0.1\n' > log
printf 'king\nqueen\n\n\303\251 man\r\nboy' > names
printf 'syn 0 1\nsyn 2 3\n\n"a b" "1" 2\nx\t3\t4\n' > pairs
printf '# a plan\nbudget steps 3\nseeds 1 2\nlr 3e-3 4e-3\nall: --batch 2\na: --bands 8\nb b: --lr 1e-3\n' > plan.txt
cat > chat.json << 'EOT'
{"model": "m", "messages": [{"role": "system", "content": "a"}, {"role": "user", "content": [{"type": "text", "text": "\u00e9 \ud83c\udf0a"}]}],
 "temperature": 0.7, "top_p": 1, "n": 2, "stop": ["a", "\n\n"], "stream": true, "stream_options": {"include_usage": true}, "seed": -5,
 "max_completion_tokens": 12, "logprobs": true, "top_logprobs": 3, "logit_bias": {"3": -100, "4": 1e1}, "presence_penalty": 0.5, "user": null}
EOT
printf '{"prompt": [[1, 2], [3]], "max_tokens": 5, "echo": true, "logprobs": null, "frequency_penalty": -2.0}' > prompt.json
printf '{"prompt": ["a", "b c"], "n": 2, "top_k": 40, "min_p": 0.1, "repetition_penalty": 1.2}' > prompts.json
printf '{"content": "a b\\u00e9", "tokens": [1, 2, 255], "with_pieces": true, "add_special": false}' > tokens.json
printf 'POST /v1/completions?x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer k\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\n{"a":\r\n02\r\n1}\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.0\r\nConnection: keep-alive, close\r\nContent-Length: 003\r\n\r\n123HEAD /a HTTP/1.1\r\nHost:\r\n\r\n' > http
printf '<s>{messages}{role}: {content}\n{reply}assistant: {stop}\nuser:{stop}x' > template
awk 'BEGIN { for (i = 0; i < 20; i++) printf "%d waves of the s\303\251a\r\n", i * 7919 % 263 }' > text.txt

# fuzz PROGRAM TARGET SEED ..: as long as it says so, nothing failed
fuzz() {
    program=$1 target=$2
    shift 2
    if "./$program" -t "${FUZZ_SECONDS:-2}" "$target" "$@" > out 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $program, $target"
        cat "$program.log"
        tail -n 20 out
        [ -e "$target.input" ] && od -An -tx1 "$target.input" | head -n 40
    fi
}
fuzz files file seeds/*
cat > subwords << 'EOT'
{"added_tokens": [{"id": 6, "content": "<s>", "single_word": false, "lstrip": true, "rstrip": false, "normalized": true, "special": true}],
 "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"String": " "}, "content": "_"}]},
 "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(?i:'s)|\\p{L}+|[^\\s_]{1,3}|\\s+(?!\\S)"}, "behavior": "MergedWithNext", "invert": false},
 "decoder": {"type": "Fuse"}, "model": {"type": "BPE", "unk_token": "T", "fuse_unk": true, "byte_fallback": true,
 "vocab": {"T": 0, "h": 1, "e": 2, "he": 3, "The": 4, "<0xFF>": 5}, "merges": ["h e", ["T", "he"]]}}
EOT
for target in tokenizer flow sequences json; do fuzz text $target text.txt; done
fuzz text json subwords
for target in circle texts; do fuzz toolkit $target pairs; done
for target in training inference toolkit; do fuzz api $target; done
fuzz plot plot log
fuzz report names names
fuzz report pairs pairs
for target in maps weights; do fuzz inspect $target seeds/model* seeds/foreign*; done
fuzz train text text.txt
fuzz train log log
fuzz compare plan plan.txt
fuzz compare runs log
fuzz convert engine engine wave gguf
fuzz requests chat chat.json
fuzz requests prompt prompt.json prompts.json
fuzz requests tokens prompt.json tokens.json
fuzz requests template template
fuzz requests http http

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

#!/bin/sh
# Ours on a Vulkan GPU against PyTorch CUDA on the same GPU, in one run of under ten minutes:
#     sh tests/peers/vulkan.sh [DEVICE]
#     sh tests/peers/vulkan.sh --shaders [FAMILY]     needs no card: what Mesa's RADV makes of the hot shaders
# Prints the rows of the README's GPU table: share of the device's own fp32 peak that the matrix
# products reach, training steps beside PyTorch's (eager and compiled), the host's share of a step,
# memory, dispatches and a profile of each network before and after its products were tuned, the tuning
# texts, and first of all whether the device gives the CPU's results. What is missing is said and left out.

cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d "${TMPDIR:-/tmp}/wavecoh.XXXXXX") || exit 1
trap 'rm -rf "$work"' 0
CC=${CC:-cc}

# Registers, spills, bytes of shared memory and code, subgroups a SIMD as RADV's null winsys tells them: a
# driver without hardware. FAMILY is its word for a card: gfx1100 is navi31. shaders FAMILY
shaders() {
    icd=$(ls /usr/share/vulkan/icd.d/radeon_icd*.json 2> /dev/null | head -n 1)
    [ -n "$icd" ] || { echo "not run: RADV is not installed (Debian: mesa-vulkan-drivers)"; return 0; }
    $CC -O1 -o "$work/shaders" tests/peers/vulkan_shaders.c -lm -lpthread || return 1
    VK_ICD_FILENAMES=$icd VK_DRIVER_FILES=$icd RADV_FORCE_FAMILY=$1 RADV_DEBUG=shaderstats,nocache \
        "$work/shaders" > "$work/stats" 2>&1 || { tail -n 1 "$work/stats"; return 1; }
    head -n 1 "$work/stats"
    awk '/^shader /{ names[++n] = substr($0, 8) }
        /^VGPRs:/{ registers[n] = $2 } /^Spilled [SV]GPRs:/{ spills[n] += $3 } /^LDS size:/{ shared[n] = $3 }
        /^Scratch size:/{ scratch[n] = $3 } /^Code size:/{ code[n] = $3 } /^Subgroups per SIMD:/{ waves[n] = $4 }
        END { print "| shader | registers | spills | scratch | shared memory | code | subgroups a SIMD |"
              print "| --- | --: | --: | --: | --: | --: | --: |"
              for (i = 1; i <= n; i++) { bad += spills[i] > 0
                  printf "| %s | %d | %d | %d | %d | %d | %d |\n", names[i], registers[i], spills[i],
                      scratch[i], shared[i], code[i], waves[i] }
              printf "%d shaders, %d with spills\n", n, bad }' "$work/stats"
}
if [ "$1" = --shaders ]; then
    shaders "${2:-gfx1100}"
    exit
fi
device=${1:-0}
$CC -O2 -o "$work/bench" tests/peers/vulkan_bench.c -lm -lpthread || exit 1
$CC -O2 -o "$work/test" tests/test_vulkan.c -lm -lpthread || exit 1
WAVECOH_VULKAN_DEVICE=$device timeout 240 "$work/test" | tail -n 7
timeout 300 "$work/bench" --device "$device" | tee "$work/ours"
timeout 60 "$work/bench" --device "$device" --attention
python=python3
"$python" -c 'import torch' 2> "$work/log" || python=/usr/bin/python3
if "$python" -c 'import torch; assert torch.cuda.is_available()' 2> "$work/log"; then
    timeout 170 "$python" tests/peers/torch_cuda_step.py | tee "$work/theirs"
else
    echo "not run: PyTorch with CUDA"
fi

# The number behind a word in the line that begins so. number TEXT WORD FILE
number() { grep "^$1" "$3" 2> /dev/null | sed -n "s/.*$2 \([0-9.]*\).*/\1/p" | head -n 1; }
for name in wave-1 wave-1-tuned wave-1-cooperative gpt-768x12 gpt-768x12-tuned gpt-768x12-cooperative; do
    ours=$(number "bench vulkan step $name" median "$work/ours")
    short=${name%-tuned}
    for mode in eager compiled; do
        theirs=$(number "peer torch cuda ${short%-cooperative} $mode" median "$work/theirs")
        [ -n "$ours" ] && [ -n "$theirs" ] && awk -v a="$ours" -v b="$theirs" -v n="$name" -v m="$mode" \
            'BEGIN { printf "%-22s step: ours %.3f ms, PyTorch %s %.3f ms: %.2fx\n", n, a, m, b, b / a }'
    done
done
# The cells that the README's table of before and after leaves open.
awk '/^bench vulkan gemm/{ f32[$4 + 0] = $(NF - 3) }
    /^bench vulkan cooperative gemm/{ units[$5 + 0] = $(NF - 3) }
    /^bench vulkan step (wave-1|gpt-768x12) /{ step[$4] = $10 }
    /^bench vulkan profile wave-1 coherence/{ share += $(NF - 5) }
    /^bench vulkan window/{ window[n++] = $7 }
    END { printf "after: fp32 products %s / %s %%, matrix units %s / %s %%\n", f32[1024], f32[4096], units[1024], units[4096]
          printf "after: step of wave-1 %s ms, of gpt 768 x 12 %s ms\n", step["wave-1"], step["gpt-768x12"]
          printf "after: coherence attention %s %% of the step of wave-1\n", share
          if (n > 1) printf "after: a token of 1 x 8,192 over one of 16 x 512: %.2f\n", window[1] / window[0] }' "$work/ours"
ours=$(number "bench vulkan step kerr-engine-768" median "$work/ours")
[ -n "$ours" ] && awk -v a="$ours" 'BEGIN { printf "kerr-engine 768 wide, batch 4 x 64: ours %.1f ms, published 1720 ms: %.1fx\n", a, 1720 / a }'
exit 0

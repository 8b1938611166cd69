#!/bin/sh
# examples/train_mpi.c in 1, 2 and 4 processes: the losses of one process, the same bits with
# --deterministic, going on in another number of processes, one sentence for all, a process that dies.
cd "$(dirname "$0")/.." || exit 1
if ! command -v mpicc > /dev/null || ! command -v mpirun > /dev/null; then
    echo "not run: training in several processes (no mpicc or mpirun; Debian: openmpi-bin libopenmpi-dev)"
    echo "0 passed, 0 failed"
    exit 0
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/wavecoh-mpi.XXXXXX") || exit 1
trap 'rm -rf "$work"' 0
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
passed=0
failed=0
check() { # NAME STATUS
    if [ "$2" -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $1"
        tail -n 12 out.txt err.txt 2> /dev/null
    fi
}

# One build for all: -O0, plain kernels, no toolkit.
flags="-std=c99 -D_GNU_SOURCE -O0 -DWAVECOH_NO_SIMD -DWAVECOH_NO_TOOLKIT -Wall -Wextra -Wpedantic -Wshadow -Wconversion"
mpicc $flags examples/train_mpi.c -o "$work/train_mpi" -lm -lpthread > "$work/build.txt" 2>&1
check "train_mpi builds" $?
cat "$work/build.txt"
test ! -s "$work/build.txt"
check "without a warning" $?
head -c 20000 README.md > "$work/text.txt"
cd "$work" || exit 1

options="--data text.txt --bands 8 --heads 4 --layers 2 --maestro 4 --batch 2 --seq 16 --steps 12
    --eval-every 6 --eval-batches 2 --sample 0 --threads 1 --accumulate 4 --dropout 0.1 --phase-noise 0.1"
ranks() { # NUMBER OPTIONS: in out.txt and err.txt
    number=$1
    shift
    timeout -k 5 120 mpirun -q -n "$number" ./train_mpi "$@" > out.txt 2> err.txt
}
sentences() { # those of ours
    grep -c '^train_mpi: ' err.txt
}

# The losses of 1, 2 and 4 processes, masks included, and with the fixed tree every bit of the weights.
for n in 1 2 4; do
    ranks $n $options --deterministic on --out "fixed$n.safetensors" --log "fixed$n.csv"
    check "$n processes train" $?
    cut -d, -f1-6 "fixed$n.csv" > "fixed$n.txt"
    ranks $n $options --out "free$n.safetensors" --log "free$n.csv"
    check "$n processes train without the tree" $?
    grep -q '^best val .* file free' out.txt
    check "$n processes have best weights" $?
done
for n in 2 4; do
    cmp "fixed1.best.safetensors" "fixed$n.best.safetensors"
    check "$n processes leave the bits of one" $?
    cmp "fixed1.txt" "fixed$n.txt"
    check "$n processes log the losses of one, digit for digit" $?
    paste -d, free1.csv "free$n.csv" | awk -F, 'NR > 1 { d = $2 - $9; n++; if (d < 0) d = -d; if (d > 2e-6) bad++ }
        END { exit !(n == 12 && !bad) }' # printed with six digits
    check "$n processes have the losses of one to rounding" $?
    cmp -s "free1.best.safetensors" "free$n.best.safetensors"
    test $? -eq 1
    check "without the tree the bits of $n processes are others" $?
done

# Half a run in 2 processes, the rest in 4, is the run in one.
half=$(echo $options | sed 's/--steps 12/--steps 6 --warmup -1/')
whole=$(echo $options | sed 's/--steps 12/--steps 12 --warmup -1/')
ranks 1 $whole --lr-end -1 --deterministic on --out whole.safetensors
ranks 2 $half --lr-end -1 --deterministic on --out half.safetensors
ranks 4 --data text.txt --resume half.safetensors --steps 12 --sample 0 --threads 1
check "a run goes on in another number of processes" $?
cmp whole.best.safetensors half.best.safetensors
check "and leaves the bits of one that never stopped" $?
cp half.safetensors before.safetensors
ranks 3 --data text.txt --resume half.safetensors --steps 14 --sample 0
test $? -ne 0 && grep -q 'accumulate is 4: it must be a multiple of the 3 processes' err.txt
check "a number of processes that does not divide the batch is refused" $?
cmp half.safetensors before.safetensors
check "and the checkpoint is as it was" $?

# Bad input: one sentence, all end, nothing is left.
refused() { # SENTENCE OPTIONS
    sentence=$1
    shift
    ranks 4 "$@"
    test $? -ne 0 && test "$(sentences)" = 1 && grep -q -e "$sentence" err.txt && test ! -e model.safetensors
    check "refused once: $sentence" $?
}
refused 'nowhere.txt' --data nowhere.txt --steps 3
refused 'unknown option\|--lrate' --data text.txt --steps 3 --lrate 1
refused 'accumulate is 6: it must be a multiple of the 4 processes' --data text.txt --steps 3 --accumulate 6
refused '--seconds is for one process' --data text.txt --seconds 3
refused 'standard input goes to one process' --data - --steps 3
refused 'cannot save there' --data text.txt --steps 3 --out nowhere/model.safetensors
head -c 15000 text.txt > other.txt
timeout -k 5 120 mpirun -q -n 1 ./train_mpi $options : -n 1 ./train_mpi $options --data other.txt > out.txt 2> err.txt
test $? -ne 0 && test "$(sentences)" = 1
check "processes with other texts are refused once" $?

# One of them is killed: the job ends, with a sentence and the last checkpoint whole.
timeout -k 5 120 mpirun -n 4 ./train_mpi $options --steps 1000000 --out "$work/killed.safetensors" > out.txt 2> err.txt &
job=$!
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    sleep 0.5
    test -e killed.safetensors && grep -q '^step 12' out.txt && break
done
victim=
for process in /proc/[0-9]*; do
    tr '\0' ' ' 2> /dev/null < "$process/environ" | grep -q 'OMPI_COMM_WORLD_RANK=2 ' || continue
    tr '\0' ' ' 2> /dev/null < "$process/cmdline" | grep -q "$work/killed" && victim=${process#/proc/}
done
if [ -n "$victim" ]; then
    kill -9 "$victim"
    wait $job
    test $? -ne 0
    check "a process that dies ends the job" $?
    grep -q 'process is gone and the job ends; .*/killed.safetensors holds step [1-9]\|signal 9' err.txt
    check "with a sentence" $?
    ranks 2 --data text.txt --resume killed.safetensors --finish 2 --sample 0 --threads 1
    check "and its last checkpoint goes on in 2 processes" $?
else
    kill $job
    wait $job
    echo "not run: a process that dies (no /proc, or no Open MPI)"
fi

echo "$passed passed, $failed failed"
test "$failed" -eq 0

#!/bin/sh
# A build without training, alone and with other parts left out, says the same of a trainer's
# checkpoint as a whole one, and has nothing of training in it.
#
# Run from anywhere: sh tests/test_shipped.sh. CC chooses the compiler (default cc).

. "$(dirname "$0")/program_tests.sh"
source=$root/tests/shipped.c

# build NAME OPTION ..: the program in $work/NAME, without a warning
build() {
    name=$1
    shift
    flags=
    for option in "$@"; do flags="$flags -DWAVECOH_$option"; done
    # shellcheck disable=SC2086
    run ${CC:-cc} -std=c99 -O0 -Wall -Wextra $flags "$source" -o "$work/$name" -lm -lpthread
    ok "$name builds with \"$*\" without a warning" [ "$status" = 0 -a ! -s err ]
}

build whole SCALAR
succeeds ./whole make model
for isa in auto scalar; do
    succeeds ./whole use model $isa
    cp out wanted.$isa
done
ok "ten presets have a loss" [ "$(grep -c '^[0-9 ]*loss [0-9.]* of 480$' wanted.auto)" = 10 ]

# shipped NAME ISA OPTION ..: built with these options it says what the whole build says
shipped() {
    name=$1 isa=$2
    shift 2
    build "$name" "$@"
    succeeds "./$name" use model
    ok "built with $*, it samples and scores as the whole does" cmp -s out "wanted.$isa"
}
shipped slim auto NO_TRAINING NO_TOOLKIT
shipped alone auto NO_TRAINING
shipped unthreaded auto NO_TRAINING NO_TOOLKIT NO_THREADS
shipped diskless auto NO_TRAINING NO_TOOLKIT NO_STDIO
shipped portable scalar NO_TRAINING NO_TOOLKIT NO_SIMD

# ---- what is not there --------------------------------------------------------------------------

printf '#include "%s/wavecoh.h"\nint main(void) { wcoh_trainer *t = NULL; return t != NULL; }\n' \
    "$root" > trains.c
run ${CC:-cc} -c trains.c -o trains.o
ok "a whole header declares the trainer" [ "$status" = 0 ]
run ${CC:-cc} -DWAVECOH_NO_TRAINING -c trains.c -o trains.o
ok "without training it does not" has 'wcoh_trainer' err
ok "and the compiler stops there" [ "$status" != 0 ]
if command -v nm > /dev/null 2>&1 && nm whole > symbols 2> err && grep -q wcoh_trainer_step symbols; then
    nm slim > symbols
    ok "the program keeps what it needs" has wcoh_session_step symbols
    ok "the program has no trainer" eval "! grep -i 'trainer' symbols"
    ok "it has no gradients and no optimiser" eval "! grep -E 'backward|gradient|adamw' symbols"
    nm whole > symbols
    ok "the whole program has both" eval "grep -q kerr_backward symbols && grep -q adamw symbols"
else
    echo "not run: symbols of the programs (no nm)"
fi

finish

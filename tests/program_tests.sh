# What the tests of the example programs share: sourced, not run. Leaves the shell in a temporary
# folder $work that goes at the end; $root is the repository, $bin the folder of the programs. CC and
# CFLAGS choose the compiler; BIN names a folder that already holds the programs.

root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
bin=$work
if [ -n "$BIN" ]; then bin=$(cd "$BIN" && pwd) || exit 1; fi
cd "$work" || exit 1
passed=0
failed=0

# ok DESCRIPTION COMMAND...: the command must succeed.
ok() {
    what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $what" >&2
        echo "  last command: $last (status $status)" >&2
        sed 's/^/  stderr: /' err >&2
    fi
}

# run COMMAND...: leaves out, err and $status.
run() {
    last="$*"
    "$@" >out 2>err
    status=$?
}

has() { grep -Eq -- "$1" "${2:-out}"; }
one_sentence() { [ "$status" = "$1" ] && [ "$(wc -l <err)" = 1 ] && grep -Eq -- "$2" err; }

# refuses STATUS REGEX COMMAND...: that status, and one sentence on stderr that matches. (A program
# that gives up leaves its memory to the system; a sanitizer build need not complain.)
refuses() {
    want=$1
    pattern=$2
    shift 2
    ASAN_OPTIONS=detect_leaks=0
    export ASAN_OPTIONS
    run "$@"
    unset ASAN_OPTIONS
    ok "$* is refused with $want: $pattern" one_sentence "$want" "$pattern"
}

succeeds() {
    run "$@"
    ok "$* succeeds" [ "$status" = 0 ]
}

# The last line; its status is the script's. finish
finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
}

# Build these programs into $bin, unless BIN has them. build_programs NAME...
build_programs() {
    [ -z "$BIN" ] || return 0
    for program in "$@"; do
        flags=${CFLAGS:--O1}
        grep -q WCOHI_ "$root/examples/$program.c" && # it looks inside: it is built whole
            flags=$(echo "$flags" | sed 's/-DWAVECOH_IMPLEMENTATION_DONE [^ ]*//')
        # shellcheck disable=SC2086
        run ${CC:-cc} $flags "$root/examples/$program.c" -o "$bin/$program" -lm -lpthread
        ok "$program builds without a warning" [ "$status" = 0 -a ! -s err ]
        [ "$status" = 0 ] || { finish; exit 1; }
    done
}

#!/bin/sh
# Builds wavecoh.h with every compiler, standard, option and machine that is here, and runs a smoke
# test on each: sh tests/build_matrix.sh [PATTERN]
#
# One row is one call of `row NAME COMMAND`; PATTERN (a grep expression) picks rows by name. A row
# passes when its command succeeds without a word on stderr. What cannot run says `not run: reason`.
# Ends with `N passed, N failed`.

cd "$(dirname "$0")/.." || exit 1
pattern=${1:-.}
if [ -z "$build" ]; then
    build=$(mktemp -d "${TMPDIR:-/tmp}/wavecoh.XXXXXX") || exit 1
    trap 'rm -rf "$build" 2> /dev/null' 0
fi
m=$build/matrix
mkdir -p "$m"
CPUS=${CPUS:-$(getconf _NPROCESSORS_ONLN 2> /dev/null || echo 2)}
WARN="-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror"
OPTIONS="STATIC NO_THREADS NO_SIMD NO_STDIO NO_TOOLKIT NO_SUBWORDS MALLOC"
SHIPPED="NO_TRAINING NO_TRAINING+NO_TOOLKIT NO_TRAINING+NO_SIMD NO_TRAINING+NO_STDIO
    NO_TRAINING+NO_THREADS NO_TRAINING+all"
rows=0

have() { command -v "$1" > /dev/null 2>&1; }

# Note a command; all run in the end, as many at once as there are CPUs. row NAME COMMAND
row() {
    echo "$1" | grep -q -e "$pattern" || return 0
    rows=$((rows + 1))
    file=$m/row.$(printf %04d $rows)
    echo "$1" > "$file.name"
    printf '%s\n' "$2" > "$file.command"
}

skip() { echo "$1" | grep -q -e "$pattern" && echo "not run: $1: $2"; }

# The -D flags of an option word, or of several with + between them; "all" is all of OPTIONS.
flags_of() {
    case $1 in
    *+*) flags_of "${1%%+*}"; flags_of "${1#*+}" ;;
    plain) ;;
    MALLOC) printf '%s ' -DWAVECOH_MALLOC=test_malloc -DWAVECOH_FREE=test_free ;;
    all) for o in $OPTIONS; do flags_of "$o"; done ;;
    *) printf '%s ' "-DWAVECOH_$1" ;;
    esac
}

# ---- sources ------------------------------------------------------------------------------------

cat > "$m/unit.c" << 'END'
#include <stddef.h>
#ifdef WAVECOH_MALLOC
#ifdef __cplusplus
extern "C" {
#endif
void *test_malloc(size_t size);
void test_free(void *pointer);
#ifdef __cplusplus
}
#endif
#endif
#define WAVECOH_IMPLEMENTATION
#include "wavecoh.h"
typedef int wcoh_not_empty;
END
cp "$m/unit.c" "$m/unit.cc"
printf '#include "wavecoh.h"\ntypedef int wcoh_not_empty;\n' > "$m/surface.c"
cp "$m/surface.c" "$m/surface.cc"
printf '#include "wavecoh.h"\n#define WAVECOH_IMPLEMENTATION\n#include "wavecoh.h"\n' > "$m/late.c"
cat > "$m/other.c" << 'END'
#include "wavecoh.h"
const char *other_name(void);
const char *other_name(void) { return wcoh_result_name(WCOH_OK); }
END

# ---- warnings: compiler x standard x option -------------------------------------------------------

warnings() { # COMPILER C++COMPILER
    if ! have "$1"; then skip "warnings of $1" "no $1"; return; fi
    for std in c99 c11 c++11; do
        case $std in
        c++*) cc=$2 ext=cc ;;
        *) cc=$1 ext=c ;;
        esac
        have "$cc" || { skip "warnings of $cc" "no $cc"; continue; }
        options="plain $OPTIONS all $SHIPPED PLAIN NO_TRAINING+PLAIN"
        [ "$std" = c11 ] && options="plain all" # c99's text, with the words of a newer compiler
        for option in $options; do
            # clang says all that it has to say when it parses, gcc some only when it optimises: -O2
            # for the two ends of the range
            case $std-$cc-$option in
            c11-* | *-clang*) level=-fsyntax-only ;;
            *-plain | *-all) level=-O2 ;;
            *) level=-fsyntax-only ;;
            esac
            row "warnings of $cc as $std, $option" \
                "$cc -std=$std $level $WARN -I. $(flags_of $option) -c -o $m/w.$cc.$std.$option.o $m/unit.$ext"
        done
        for option in plain STATIC NO_TRAINING+STATIC; do
            row "warnings of $cc as $std, surface alone, $option" \
                "$cc -std=$std $WARN -I. $(flags_of $option) -fsyntax-only $m/surface.$ext"
        done
    done
}
warnings gcc g++
warnings clang clang++
row "warnings of gcc as c++20" "g++ -std=c++20 -O0 $WARN -I. -c -o $m/w.cpp20.o $m/unit.cc"
# Tests and programs keep the same rules as the header.
for cc in gcc clang; do
    have $cc || continue
    for source in tests/*.c examples/*.c; do
        case $source in
        *server.c)
            [ -e /usr/include/microhttpd.h ] || { skip "warnings of $cc, $source" "no libmicrohttpd-dev"; continue; }
            kinds=-g ;;
        */train_mpi.c) continue ;; # tests/test_mpi.sh builds it
        *test_gradients.c) kinds=-DWAVECOH_TEST_DOUBLE ;;
        *fuzz_programs.c) kinds="-DPLOT -DREPORT -DINSPECT -DTRAIN -DCOMPARE -DCONVERT" ;;
        *) kinds=-g ;;
        esac
        for kind in $kinds; do
            row "warnings of $cc, $source $kind" "$cc -std=c99 $WARN $kind -fsyntax-only $source"
        done
    done
done
row "warnings with sign conversion and of what the surface lacks" \
    "gcc -std=c99 -O0 $WARN -Wsign-conversion -Wmissing-declarations -I. -c -o $m/w.sign.o $m/unit.c"

# ---- symbols --------------------------------------------------------------------------------------

symbols='
check() { # OBJECT STATIC?
    nm -g --defined-only "$1" | grep -vE "^$" > "$1.nm"
    if [ -n "$2" ]; then ! grep . "$1.nm"; else grep -q " T wcoh_" "$1.nm" && ! grep -vE " [TR] wcoh_" "$1.nm"; fi
}
# No mutable global: nothing in .data and .bss, thread-local ones included. (What nm marks `d` are
# constant tables of functions and descriptions in .data.rel.ro, read-only once they are linked.)
writable() {
    objdump -h "$1" | awk "\$2 ~ /^\\.(data|bss|tdata|tbss)\$/ || \$2 ~ /^\\.(data|bss)\\.[^r]/ { if (\$3 !~ /^0+\$/) { print; bad = 1 } } END { exit bad }"
}
'
if have nm && have objdump; then
    for cc in gcc clang; do
        have $cc || continue
        for option in plain STATIC; do
            static=; [ $option = STATIC ] && static=1
            row "symbols of $cc, $option" "$symbols
                $cc -std=c99 -O1 -I. $(flags_of $option) -c -o $m/s.$cc.$option.o $m/unit.c &&
                check $m/s.$cc.$option.o $static && writable $m/s.$cc.$option.o"
        done
    done
    api='__attribute__((visibility("default")))'
    row "a shared object exports what WAVECOH_API marks" \
        "gcc -std=c99 -O0 -fvisibility=hidden -fPIC -shared -I. '-DWAVECOH_API=$api' -o $m/marked.so $m/unit.c -lm -lpthread &&
         nm -D --defined-only $m/marked.so | grep -c ' T wcoh_' | awk '{ exit !(\$1 > 100) }' &&
         ! nm -D --defined-only $m/marked.so | grep -vE ' [TRw] (wcoh_|_init|_fini)'"
    row "a shared object hides what nothing marks" \
        "gcc -std=c99 -O0 -fvisibility=hidden -fPIC -shared -I. -o $m/hidden.so $m/unit.c -lm -lpthread &&
         ! nm -D --defined-only $m/hidden.so | grep wcoh"
else
    skip "symbols" "no nm or objdump"
fi
# Words that windows.h and its like (rpcndr.h, complex.h) put into every program that they are part of.
windows_words="-Dnear= -Dfar= -Dhuge= -Dpascal= -Dcdecl= -Dsmall=char -Dhyper=int -Dinterface=struct -DIN= -DOUT= -DERROR=0 -DCONST=const
    -DDELETE=1 -DTRUE=1 -DFALSE=0 -DI=1 '-Dmax(a,b)=((a)>(b)?(a):(b))' '-Dmin(a,b)=((a)<(b)?(a):(b))'"
# And Qt into what includes it.
qt_words="-Dslots= -Dsignals=public -Demit= '-Dforever=for(;;)' '-Dforeach(a,b)=for(a:b)'"
printf '#define WAVECOH_IMPLEMENTATION\n#include "wavecoh_vk.h"\n' > "$m/vulkan.c"
row "words of other headers" "gcc -std=c99 $WARN $(echo $windows_words $qt_words) -I. -fsyntax-only $m/unit.c"
if [ -e /usr/include/vulkan/vulkan_core.h ]; then
    row "words of other headers, wavecoh_vk.h" "gcc -std=c99 $WARN $(echo $windows_words $qt_words) -I. -fsyntax-only $m/vulkan.c"
else
    skip "words of other headers, wavecoh_vk.h" "no Vulkan headers"
fi
row "static, the surface before the implementation" \
    "gcc -std=c99 -O0 $WARN -DWAVECOH_STATIC -I. -c -o $m/late.o $m/late.c"
row "two files share one header" "gcc -std=c99 -O0 -I. -o $m/two $m/other.c $m/unit.c -shared -fPIC -lm -lpthread"
row "the header under another name" \
    "cp wavecoh.h $m/renamed.h && sed 's/wavecoh.h/renamed.h/' $m/unit.c > $m/renamed.c &&
     gcc -std=c99 -O0 -I$m -c -o $m/renamed.o $m/renamed.c"

# ---- smoke test: option x optimisation x machine ----------------------------------------------------

# smoke NAME COMPILER-WITH-FLAGS RUNNER: builds tests/smoke.c and runs it
smoke() { # emcc cuts the suffix off and calls its other files by the rest; without one MinGW adds its own
    out=$m/smoke_$(printf '%s' "$1" | tr -c 'A-Za-z0-9\n' _).run
    row "smoke: $1" "$2 -I. -o $out tests/smoke.c -lm ${4--lpthread} && $3 $out > $out.txt && tail -n 1 $out.txt | grep -q ' 0 failed'"
}
for option in $OPTIONS all $SHIPPED; do
    smoke "option $option" "cc -std=c99 -O0 $(flags_of $option)" ""
done
for level in -O0 -Ofast; do smoke "gcc $level" "gcc -std=c99 $level" ""; done
smoke "gcc with small enums and unsigned char, as bare ARM" "gcc -std=c99 -O0 -fshort-enums -funsigned-char" ""
have clang && smoke "clang -Ofast" "clang -std=c99 -Ofast" ""
have g++ && smoke "g++ as C++11" "g++ -std=c++11 -O0 -x c++" ""
printf '#include <errno.h>\nint main(void) { return errno = 0; }\n' > "$m/empty.c"
m32= # without Debian's gcc-multilib (it excludes the cross compilers) the kernel's headers need a hint
for flags in "-m32" "-m32 -idirafter /usr/include/x86_64-linux-gnu"; do
    # shellcheck disable=SC2086
    if [ -z "$m32" ] && gcc $flags -o "$m/m32" "$m/empty.c" 2> /dev/null && "$m/m32"; then m32=$flags; fi
done
if [ -n "$m32" ]; then
    smoke "32 bit" "gcc $m32 -std=c99 -O1" ""
    smoke "32 bit with SSE arithmetic, clean" "gcc $m32 -msse2 -mfpmath=sse -std=c99 -O1 $WARN" ""
    row "32 bit, toolkit with the digits of the x87" "gcc $m32 -std=c99 -O1 -DWAVECOH_NO_SIMD -o $m/toolkit32 tests/test_toolkit.c -lm -lpthread && (cd $m && ./toolkit32 > toolkit32.txt)"
    row "32 bit, axes of pictures" "gcc $m32 -std=c99 -O1 -o $m/plot32 tests/test_plot.c -lm && $m/plot32 > $m/plot32.txt"
    row "32 bit, sizes of the toolkit" "gcc $m32 -std=c99 -O1 -o $m/sizes32 tests/test_toolkit_sizes.c -lm -lpthread && $m/sizes32 > $m/sizes32.txt"
else
    skip "32 bit" "gcc -m32 cannot link and run (gcc-12-multilib, libc6-dev-i386)"
fi
if have tcc; then smoke "tcc" "tcc -std=c99" ""; else skip "tcc" "no tcc"; fi

mingw=x86_64-w64-mingw32-gcc
if have $mingw; then
    row "MinGW builds clean" "$mingw -std=c99 -O2 $WARN -I. -c -o $m/mingw.o $m/unit.c"
    if [ -e /usr/include/vulkan/vulkan_core.h ]; then # the same text on every machine
        mkdir -p "$m/vulkan_headers"
        ln -sfn /usr/include/vulkan /usr/include/vk_video "$m/vulkan_headers"
        row "MinGW builds wavecoh_vk.h clean" "$mingw -std=c99 $WARN -I$m/vulkan_headers -I. -fsyntax-only $m/vulkan.c"
    else
        skip "MinGW builds wavecoh_vk.h clean" "no Vulkan headers"
    fi
    for program in examples/*.c; do
        [ "$program" = examples/server.c ] && continue # it talks POSIX
        [ "$program" = examples/train_mpi.c ] && continue
        row "MinGW: $program" "$mingw -std=c99 -fsyntax-only $WARN $program"
    done
    if have wine; then
        export WINEPREFIX="$m/wine" WINEDEBUG=-all
        if wine cmd /c exit > /dev/null 2>&1; then
            smoke "MinGW under wine" "$mingw -std=c99 -O2 -static" "wine" ""
        else
            skip "MinGW under wine" "wine cannot start here"
        fi
    else
        skip "MinGW under wine" "no wine"
    fi
else
    skip "MinGW" "no $mingw"
fi

# clang-cl speaks MSVC's dialect; Wine's headers stand in for Microsoft's (one intrinsic of theirs
# clashes with clang's own). Nothing is linked: Microsoft's run-time library is not to be had.
winehdr=
for dir in /usr/include/wine/wine /usr/include/wine-development/wine; do [ -d "$dir/msvcrt" ] && winehdr=$dir; done
if have clang && [ -n "$winehdr" ]; then
    for option in plain all NO_TRAINING+NO_TOOLKIT; do
        row "clang-cl builds, $option" \
            "clang --driver-mode=cl --target=x86_64-pc-windows-msvc -fms-compatibility-version=19.29 /W3 /WX /O1 \
             -Wno-implicit-function-declaration -D_InterlockedCompareExchange128=unused_exchange128 \
             -imsvc $winehdr/msvcrt -imsvc $winehdr/windows -I. $(flags_of $option) /c $m/unit.c /Fo$m/cl.$option.obj"
    done
else
    skip "clang-cl" "no clang or no headers of Wine (Debian: libwine-dev)"
fi

for machine in aarch64 s390x; do
    cross=$machine-linux-gnu-gcc
    qemu=qemu-$machine
    have "$qemu" || qemu=qemu-$machine-static
    if have "$cross" && have "$qemu"; then
        smoke "$machine under qemu" "$cross -static -std=c99 -O2 $WARN" "$qemu"
        row "reference files on $machine under qemu" \
            "$cross -static -std=c99 -O2 -o $m/reference.$machine tests/test_reference.c -lm -lpthread &&
             $qemu $m/reference.$machine > $m/reference.$machine.txt"
    else
        skip "$machine" "no $cross or no $qemu"
    fi
done

if have emcc && have node; then # the file in one piece: older versions cannot find a .wasm under newer nodes
    export NODE_PATH="${NODE_PATH:-/usr/share/nodejs}" # where Debian's emcc finds acorn, whatever the node
    em="emcc -std=c99 -O1 -sALLOW_MEMORY_GROWTH=1 -sSINGLE_FILE=1"
    smoke "Emscripten under node" "$em" "node" ""
    smoke "Emscripten with four lanes under node" "$em -msimd128" "node" ""
    smoke "Emscripten with threads under node" \
        "$em -msimd128 -pthread -sPTHREAD_POOL_SIZE=8 -sPROXY_TO_PTHREAD=1 -sEXIT_RUNTIME=1 -sALLOW_MEMORY_GROWTH=0 -sINITIAL_MEMORY=256MB" \
        "node" ""
    row "reference files with Emscripten under node" \
        "$em -sNODERAWFS=1 -o $m/reference.js tests/test_reference.c -lm && node $m/reference.js > $m/reference.js.txt"
else
    skip "Emscripten" "no emcc or no node (Debian: emscripten)"
fi

# ---- sanitizers -------------------------------------------------------------------------------------

san="-std=c99 -g1"
if clang -fsanitize=address,undefined -o "$m/san" "$m/empty.c" 2> /dev/null; then sancc=clang; else sancc=gcc; fi
if $sancc -fsanitize=address,undefined -o "$m/san" "$m/empty.c" 2> /dev/null && "$m/san"; then
    for test in tests/test_*.c tests/smoke.c; do
        name=$(basename "$test" .c)
        case $name in test_gradients) extra=-DWAVECOH_TEST_DOUBLE ;; *) extra= ;; esac
        case $name in test_vulkan*) argument=--fake ;; *) argument= ;; esac
        case $name in *_double) continue ;; esac # the same text, and the scalar set alone
        case $name in test_vulkan_muon) leaks=0 ;; *) leaks=1 ;; esac # a driver's own are not ours
        # where no kernel is tested itself (test_kernels, test_gemm, test_simd) the plain ones do: a
        # third of the time to build
        case $name in
        test_attention | test_crowd | test_files | test_live | test_null | test_optimizer | test_page_views | test_plain | \
            test_sequences | test_text | test_threads | test_toolkit_sizes | test_vulkan*) extra=-DWAVECOH_NO_SIMD ;;
        esac
        # -O1 takes clang minutes over the inlined kernels, and gcc half of one: for what is slow
        case $name in test_toolkit | test_attention) how="gcc -O1" ;; *) how="$sancc -O0" ;; esac
        row "address and undefined: $name" \
            "$how $san $extra -fsanitize=address,undefined -fno-sanitize-recover=all -o $m/asan.$name $test -lm -lpthread &&
             ASAN_OPTIONS=detect_leaks=$leaks WAVECOH_TEST_SHORT=1 $m/asan.$name $argument > $m/asan.$name.txt"
    done
else
    skip "address and undefined" "no sanitizer here"
fi
if $sancc -fsanitize=thread -o "$m/tsan" "$m/empty.c" 2> /dev/null && "$m/tsan"; then
    row "thread sanitizer: smoke, a crowd beside a trainer" \
        "$sancc -O0 $san -DSMOKE_BESIDE -fsanitize=thread -o $m/tsan.smoke tests/smoke.c -lm -lpthread && $m/tsan.smoke > $m/tsan.smoke.txt"
else
    skip "thread sanitizer" "no sanitizer here"
fi

# ---- the account ------------------------------------------------------------------------------------

[ "$rows" -gt 0 ] || echo "no row of this machine is called $pattern" >&2
[ "$rows" -eq 0 ] || find "$m" -name 'row.*.command' | sort | xargs -P "$CPUS" -n 1 sh -c '
    row=${0%.command}
    sh "$0" > "$row.log" 2>&1 < /dev/null
    echo $? > "$row.status"
    times > "$row.times"'
passed=0
failed=0
for file in "$m"/row.*.name; do
    [ -e "$file" ] || continue
    base=${file%.name}
    if [ "$(cat "$base.status")" = 0 ] && [ ! -s "$base.log" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $(cat "$file") (status $(cat "$base.status"))"
        head -n 12 "$base.log"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

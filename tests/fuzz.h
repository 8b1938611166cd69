/* What the fuzzers share: loud checks, numbers taken from the input, and a loop of mutations for
   compilers without libFuzzer. */
#ifndef WAVECOH_TEST_FUZZ_H
#define WAVECOH_TEST_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Loud where a check fails: the fuzzer and -r see a crash. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#if defined(__GNUC__) || defined(__clang__)
#define FUZZ_UNUSED __attribute__((unused))
#else
#define FUZZ_UNUSED
#endif

/* An input read from its front; zeros follow its end. */
typedef struct input {
    const uint8_t *at, *end;
} input;

FUZZ_UNUSED static input input_of(const uint8_t *data, size_t size)
{
    input in;
    in.at = data;
    in.end = data + size;
    return in;
}

FUZZ_UNUSED static uint64_t take(input *in, int bytes)
{
    uint64_t value = 0;
    for (; bytes > 0; bytes--) value = value << 8 | (in->at < in->end ? *in->at++ : 0);
    return value;
}

/* Where inputs go, and what libFuzzer calls it by. */
typedef struct fuzz_target {
    const char *name;
    void (*use)(const uint8_t *data, size_t size);
} fuzz_target;

FUZZ_UNUSED static int fuzz_is_cut; /* 1: the input is the beginning of a file that is whole */

#ifdef FUZZ

static void FUZZ(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FUZZ(data, size);
    return 0;
}

#else

enum { FUZZ_ROOM = 1 << 16, FUZZ_FILES = 256 };

static struct {
    uint8_t *data;
    size_t size;
} fuzz_seeds[FUZZ_FILES];
static uint8_t fuzz_now[FUZZ_ROOM]; /* the input at hand */
static size_t fuzz_size;
static uint64_t fuzz_state = 1;

static uint64_t fuzz_random(uint64_t below) /* xorshift64* */
{
    fuzz_state ^= fuzz_state >> 12;
    fuzz_state ^= fuzz_state << 25;
    fuzz_state ^= fuzz_state >> 27;
    return below ? (fuzz_state * 2685821657736338717u >> 11) % below : 0;
}

static size_t fuzz_read(const char *path, uint8_t *data)
{
    FILE *file = fopen(path, "rb");
    size_t size;
    REQUIRE(file != NULL);
    size = fread(data, 1, FUZZ_ROOM, file);
    fclose(file);
    return size;
}

/* One change: a byte, a bit, a piece taken out, copied within, or put in from another seed. */
static void fuzz_mutate(int seeds)
{
    static const uint8_t telling[] = {0, 1, 0x7f, 0x80, 0xff, '\n', '\r', ' ', '"', ',', '-', '9'};
    size_t at = (size_t)fuzz_random(fuzz_size + 1), length = 1 + (size_t)fuzz_random(16);
    size_t from = (size_t)fuzz_random(fuzz_size + 1);
    uint64_t how = fuzz_random(8);
    int other = seeds ? (int)fuzz_random((uint64_t)seeds) : 0;
    if (at < fuzz_size && how < 2) fuzz_now[at] = (uint8_t)fuzz_random(256);
    else if (at < fuzz_size && how == 2) fuzz_now[at] ^= (uint8_t)(1u << fuzz_random(8));
    else if (at < fuzz_size && how == 3) fuzz_now[at] = telling[fuzz_random(sizeof telling)];
    else if (at + length <= fuzz_size && how == 4) {
        memmove(fuzz_now + at, fuzz_now + at + length, fuzz_size - at - length);
        fuzz_size -= length;
    } else if (from + length <= fuzz_size && at + length <= fuzz_size && how == 5) {
        memmove(fuzz_now + at, fuzz_now + from, length);
    } else if (fuzz_size + length <= FUZZ_ROOM) {
        size_t place = 0, i;
        memmove(fuzz_now + at + length, fuzz_now + at, fuzz_size - at);
        fuzz_size += length;
        if (how == 7 && seeds && fuzz_seeds[other].size > length)
            place = 1 + (size_t)fuzz_random(fuzz_seeds[other].size - length);
        for (i = 0; i < length; i++)
            fuzz_now[at + i] =
                place ? fuzz_seeds[other].data[place - 1 + i] : (uint8_t)fuzz_random(256);
    }
}

/* From a seed, or from random bytes where there is none. */
static void fuzz_make(int seeds)
{
    int other = seeds ? (int)fuzz_random((uint64_t)seeds) : 0;
    uint64_t changes = 1 + fuzz_random(8);
    size_t i;
    if (seeds) {
        fuzz_size = fuzz_seeds[other].size;
        memcpy(fuzz_now, fuzz_seeds[other].data, fuzz_size);
    } else {
        fuzz_size = (size_t)fuzz_random(600);
        for (i = 0; i < fuzz_size; i++) fuzz_now[i] = (uint8_t)fuzz_random(256);
    }
    while (changes-- > 0) fuzz_mutate(seeds);
}

/* Every beginning of the file at hand, then the file with one bit turned: every `step`th. */
static unsigned long fuzz_every(const fuzz_target *target, size_t step)
{
    size_t size = fuzz_size, bit;
    for (fuzz_is_cut = 1, fuzz_size = 0; fuzz_size < size; fuzz_size++)
        target->use(fuzz_now, fuzz_size);
    for (fuzz_is_cut = 0, bit = 0; bit < 8 * size; bit += step) {
        fuzz_now[bit / 8] ^= (uint8_t)(1u << bit % 8);
        target->use(fuzz_now, size);
        fuzz_now[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    return (unsigned long)(size + 8 * size / step);
}

/* PROGRAM [-r] FILE ..               runs files through every target
   PROGRAM -e N TARGET FILE ..        runs every truncation and every Nth turned bit of them through one
   PROGRAM -t SECONDS TARGET FILE ..  runs what mutations make of the files through one; the input at
                                      hand is left in TARGET.input, for a look after a crash */
FUZZ_UNUSED static int fuzz_main(const fuzz_target *targets, int count, int argc, char **argv)
{
    int i, k, seeds = 0;
    unsigned long runs = 0;
    time_t end;
    if (argc > 4 && strcmp(argv[1], "-e") == 0) {
        for (k = 0; k < count && strcmp(targets[k].name, argv[3]);) k++;
        REQUIRE(k < count && atoi(argv[2]) > 0);
        for (i = 4; i < argc; i++) {
            fuzz_size = fuzz_read(argv[i], fuzz_now);
            runs += fuzz_every(&targets[k], (size_t)atoi(argv[2]));
        }
        printf("%s: %lu inputs\n", argv[3], runs);
        return 0;
    }
    if (argc < 4 || strcmp(argv[1], "-t")) {
        for (i = argc > 1 && strcmp(argv[1], "-r") == 0 ? 2 : 1; i < argc; i++)
            for (k = 0; k < count; k++) {
                fuzz_size = fuzz_read(argv[i], fuzz_now);
                targets[k].use(fuzz_now, fuzz_size);
            }
        return 0;
    }
    for (k = 0; k < count && strcmp(targets[k].name, argv[3]);) k++;
    REQUIRE(k < count);
    for (i = 4; i < argc && seeds < FUZZ_FILES; i++, seeds++) {
        fuzz_seeds[seeds].data = (uint8_t *)malloc(FUZZ_ROOM);
        REQUIRE(fuzz_seeds[seeds].data != NULL);
        fuzz_seeds[seeds].size = fuzz_read(argv[i], fuzz_seeds[seeds].data);
    }
    for (end = time(NULL) + atoi(argv[2]); time(NULL) < end; runs++) {
        char name[64];
        FILE *file;
        fuzz_make(seeds);
        snprintf(name, sizeof name, "%.50s.input", argv[3]);
        file = fopen(name, "wb");
        REQUIRE(file && fwrite(fuzz_now, 1, fuzz_size, file) == fuzz_size && fclose(file) == 0);
        targets[k].use(fuzz_now, fuzz_size);
    }
    while (seeds-- > 0) free(fuzz_seeds[seeds].data);
    printf("%s: %lu inputs\n", argv[3], runs);
    return 0;
}

#endif
#endif

/* What the fuzzers share. */
#ifndef WAVECOH_TEST_FUZZ_H
#define WAVECOH_TEST_FUZZ_H

#include <stdio.h>
#include <stdlib.h>

/* Loud where a check fails: the fuzzer and -r see a crash. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif

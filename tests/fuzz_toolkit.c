/* Fuzzer of the toolkit beside its files (fuzz_files.c has those): the circle's index against full
   scans, and the texts that its programs read.
   clang -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ=use_circle -o fuzz tests/fuzz_toolkit.c -lm -lpthread
   clang -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ=use_texts -o fuzz tests/fuzz_toolkit.c -lm -lpthread
   ASAN_OPTIONS=detect_leaks=0 ./fuzz -max_len=4000 -close_fd_mask=2 -max_total_time=60
   Without -DFUZZ: cc -o once tests/fuzz_toolkit.c -lm -lpthread && ./once -t 60 circle (or FILE ..) */
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"
#include "fuzz.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

/* A refusal ends a program; here it ends an input. */
static jmp_buf refused;
#define exit(status) longjmp(refused, 1 + (status))
#include "../examples/common.h"
#include "../examples/vectors.h"
#undef exit

/* ---- the circle ------------------------------------------------------------------------------ */

/* Any double, a multiple of a bucket's width, or a number of ordinary size. */
static double take_phase(input *in, int buckets)
{
    uint64_t bits = take(in, 1);
    double phase;
    if (bits % 4 == 0)
        return wcoh_phase_id(take(in, 2), (uint64_t)buckets) * (1 + (double)(bits / 64));
    if (bits % 4 == 1) return ((double)take(in, 2) - 32768) * pow(10, (double)(bits / 16)) / 3;
    bits = take(in, 8);
    memcpy(&phase, &bits, sizeof phase);
    return phase;
}

/* What a query finds must be what wcoh_coherence_harmonic says of every entity. */
static void scan_whole(const wcoh_circle *circle, const wcoh_circle_query *query)
{
    static wcoh_circle_hit hits[4096];
    int axes = wcoh_circle_get_desc(circle)->axes, axis;
    uint64_t slot, slots = wcoh_circle_slots(circle);
    size_t count, found = 0, i;
    if (wcoh_circle_find(circle, query, hits, 4096, &count, NULL, NULL) < 0) return;
    for (slot = 0; slot < slots; slot++) {
        double phases[2];
        int keep = wcoh_circle_phases(circle, slot, phases);
        for (axis = 0; keep && axis < axes; axis++) {
            int n = query->harmonic[axis] ? query->harmonic[axis] : 1;
            keep = wcoh_coherence_harmonic(phases[axis], query->phase[axis], n) >=
                   query->threshold[axis];
        }
        for (i = 0; i < count && hits[i].slot != slot;) i++;
        REQUIRE(keep == (i < count));
        found += (size_t)keep;
    }
    REQUIRE(found == count);
}

static void use_circle(const uint8_t *data, size_t size)
{
    static const int buckets[8] = {1, 2, 7, 12, 60, 360, 4096, 1 << 16};
    wcoh_circle_desc desc;
    wcoh_circle_query query;
    wcoh_circle *circle;
    input in = input_of(data, size);
    uint64_t shape;
    memset(&desc, 0, sizeof desc);
    shape = take(&in, 1);
    desc.axes = 1 + (int)(shape / 8 % 2);
    desc.buckets = buckets[shape % (desc.axes == 2 ? 5 : 8)];
    REQUIRE(wcoh_circle_create(&circle, &desc, NULL) == WCOH_OK);
    while (in.at < in.end && wcoh_circle_slots(circle) < 500) {
        uint64_t what = take(&in, 1), slot = take(&in, 1);
        double phases[2];
        phases[0] = take_phase(&in, desc.buckets);
        phases[1] = take_phase(&in, desc.buckets);
        if (what % 8 < 4) wcoh_circle_insert(circle, phases, NULL, NULL);
        else if (what % 8 == 4) wcoh_circle_update(circle, slot, phases, NULL);
        else if (what % 8 == 5) wcoh_circle_remove(circle, slot);
        else {
            int axis;
            for (axis = 0; axis < 2; axis++) {
                query.phase[axis] = phases[axis];
                query.harmonic[axis] = (int)take(&in, 1) * (what % 16 == 15 ? 4097 : 1);
                query.threshold[axis] = what % 32 < 16 ? cos(take_phase(&in, desc.buckets))
                                                       : (double)take(&in, 2) / 30000 - 1.1;
            }
            scan_whole(circle, &query);
        }
    }
    wcoh_circle_destroy(circle);
}

/* ---- texts ----------------------------------------------------------------------------------- */

static const char *text_file;

static void write_text(const uint8_t *data, size_t size)
{
    FILE *file = fopen(text_file, "wb");
    REQUIRE(file && fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

/* The bytes as names of as many rows as they have lines, and as pairs of these. */
static void use_texts(const uint8_t *data, size_t size)
{
    static char path[L_tmpnam + 32];
    size_t count = 0, i;
    char **lines, *field[3];
    names n;
    if (!text_file) {
        sprintf(path, "fuzz_toolkit.%lu.tmp", (unsigned long)getpid());
        text_file = path;
    }
    write_text(data, size);
    if (setjmp(refused)) return;
    lines = file_lines(text_file, &count);
    n = names_read(text_file, count);
    for (i = 0; i < count; i++) {
        const char *json = text_json(lines[i]);
        int fields;
        REQUIRE(strlen(text_shown(lines[i])) >= strlen(lines[i]) / 4);
        REQUIRE(!strpbrk(json, "\n\r\t"));
        fields = line_fields(lines[i], field, 3);
        REQUIRE(fields >= -1);
        if (fields == 3) row_named(&n, field[1], count, text_file, i + 1);
    }
}

FUZZ_UNUSED static const fuzz_target targets[] = {{"circle", use_circle}, {"texts", use_texts}};

#ifndef FUZZ
int main(int argc, char **argv)
{
    int status = fuzz_main(targets, 2, argc, argv);
    if (text_file) remove(text_file);
    return status;
}
#endif

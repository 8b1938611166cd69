/* Fuzzer of texts on their way to tokens and back: tokenizers of every kind, what programs print of
   broken text, sequences in windows.
   clang -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ=use_tokenizer -o fuzz tests/fuzz_text.c -lm -lpthread
   clang -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ=use_flow -o fuzz tests/fuzz_text.c -lm -lpthread
   clang -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ=use_sequences -o fuzz tests/fuzz_text.c -lm -lpthread
   ./fuzz -max_len=4000 -max_total_time=60
   Without -DFUZZ: cc -o once tests/fuzz_text.c -lm -lpthread && ./once -t 60 flow (or FILE ..) */
#define _POSIX_C_SOURCE 200809L /* open_memstream */
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

#include "../examples/common.h"

enum { ROOM = 4096 };

/* ---- tokenizers ------------------------------------------------------------------------------ */

static size_t decoded(const wcoh_tokenizer *tokenizer, const uint32_t *tokens, size_t count,
                      char *text)
{
    size_t i, length = 0;
    for (i = 0; i < count; i++)
        length += (size_t)wcoh_tokenizer_decode(tokenizer, tokens[i], text + length, 4);
    return length;
}

/* The first byte gives kind, start and the share of the text that is the alphabet's. */
static void use_tokenizer(const uint8_t *data, size_t size)
{
    static uint32_t tokens[ROOM];
    static char back[4 * ROOM];
    const char *text = (const char *)data + 1, *rest;
    wcoh_tokenizer *tokenizer;
    wcoh_tokenizer_desc desc;
    size_t letters, count, i;
    wcoh_result result;
    if (size < 1 || size > ROOM) return;
    memset(&desc, 0, sizeof desc);
    desc.kind = (wcoh_tokenizer_kind)(data[0] % 3);
    desc.start = data[0] / 3 % 2;
    letters = (size - 1) * (data[0] / 8u) / 31;
    rest = text + letters;
    result = wcoh_tokenizer_create(&tokenizer, &desc, text, letters, NULL);
    REQUIRE(result == WCOH_OK || desc.kind == WCOH_TOKENIZER_CHARS);
    if (result) return;
    REQUIRE(wcoh_tokenizer_encode(tokenizer, text, letters, tokens, ROOM, &count, NULL) == WCOH_OK);
    REQUIRE(decoded(tokenizer, tokens, count, back) == letters && !memcmp(back, text, letters));
    result = wcoh_tokenizer_encode(tokenizer, rest, size - 1 - letters, tokens, ROOM, &count, NULL);
    REQUIRE(result == WCOH_OK || desc.kind == WCOH_TOKENIZER_CHARS);
    for (i = 0; i < count; i++) {
        REQUIRE(tokens[i] < (uint32_t)wcoh_tokenizer_vocab(tokenizer));
        REQUIRE((int)tokens[i] != wcoh_tokenizer_start(tokenizer));
    }
    i = decoded(tokenizer, tokens, count, back);
    REQUIRE(result != WCOH_OK || i == size - 1 - letters);
    REQUIRE(memcmp(back, rest, i) == 0);
    wcoh_tokenizer_destroy(tokenizer);
}

/* ---- what is printed ------------------------------------------------------------------------- */

/* Whatever bytes come, and however they are cut: valid UTF-8 leaves, and valid UTF-8 unchanged. */
static void use_flow(const uint8_t *data, size_t size)
{
    char *out = NULL;
    size_t length = 0, at = 0, step, whole = 1;
    unsigned long point;
    text_flow flow;
    FILE *file;
    if (size < 1 || size > ROOM) return;
    memset(&flow, 0, sizeof flow);
    file = open_memstream(&out, &length);
    REQUIRE(file != NULL);
    for (; at < size; at += step) {
        step = 1 + data[at] % 3;
        if (step > size - at) step = size - at;
        flow_write(&flow, (const char *)data + at, (int)step, file);
    }
    flow_out(&flow, 1, file);
    fclose(file);
    for (at = 0; at < length; at += step) {
        step = (size_t)utf8_length(out + at, length - at, &point);
        REQUIRE(step > 0);
    }
    for (at = 0; at < size && whole; at += whole)
        whole = (size_t)utf8_length((const char *)data + at, size - at, &point);
    if (whole) REQUIRE(length == size && memcmp(out, data, size) == 0);
    free(out);
}

/* ---- sequences in windows -------------------------------------------------------------------- */

/* The first byte gives the window, each other the length of a sequence. */
static void use_sequences(const uint8_t *data, size_t size)
{
    static uint32_t tokens[ROOM * 258];
    static size_t offsets[ROOM + 1];
    static unsigned char seen[ROOM * 258];
    wcoh_sequences s;
    wcohi_data all;
    wcohi_cursor cursor = {0, 0};
    wcoh_rng rng = wcoh_rng_seed(size);
    wcoh_trainer_desc desc = {0};
    size_t i, k, there;
    int seq;
    if (size < 2 || size > ROOM) return;
    seq = 1 + data[0];
    for (i = 1; i < size; i++) offsets[i] = offsets[i - 1] + 2 + data[i];
    s.count = size - 1;
    s.offsets = offsets;
    s.tokens = tokens;
    REQUIRE(wcohi_sequences_check(&s, 1, "fuzzed", NULL) == WCOH_OK);
    memset(seen, 0, offsets[s.count]);
    for (i = 0; i < wcohi_windows_of(&s, seq); i++) {
        const uint32_t *text = wcohi_cursor_at(&cursor, &s, seq, i, &there);
        for (k = 1; k <= there; k++) seen[(size_t)(text - tokens) + k]++;
    }
    for (i = 0; i < s.count; i++)
        for (k = offsets[i]; k < offsets[i + 1]; k++) REQUIRE(seen[k] == (k > offsets[i]));
    desc.seq = seq;
    desc.draw = (wcoh_draw)(data[0] & 1);
    wcohi_data_texts(&all, &s, seq);
    for (i = 0; i < 64; i++) {
        size_t at = wcohi_window_place(&all, &desc, &rng, &there);
        size_t of = wcohi_sequence_at(&s, at);
        REQUIRE(there >= 1 && there <= (size_t)seq && at + there < offsets[of + 1]);
        REQUIRE(there == (size_t)seq || (at == offsets[of] && at + there + 1 == offsets[of + 1]));
    }
}

/* ---- tokenizer.json -------------------------------------------------------------------------- */

/* A file; or subwords learnt from the bytes, which come back from their tokens. */
static void use_json(const uint8_t *data, size_t size)
{
    static uint32_t tokens[4 * ROOM];
    static char back[4 * ROOM];
    static const char probe[] = "The <s> caf\xc3\xa9 e\xcc\x81\xff 12";
    wcoh_tokenizer *tokenizer = NULL;
    wcoh_tokenizer_desc desc;
    const char *json;
    size_t count, length, i;
    if (size == 0 || size > ROOM) return;
    if (wcoh_tokenizer_create_json(&tokenizer, (const char *)data, size, NULL, NULL) == WCOH_OK) {
        wcoh_tokenizer_encode(tokenizer, probe, sizeof probe - 1, tokens, 4 * ROOM, &count, NULL);
        for (i = 0; i < count && i < 4 * ROOM; i++)
            wcoh_tokenizer_decode(tokenizer, tokens[i], back, ROOM);
        wcoh_tokenizer_destroy(tokenizer);
    }
    memset(&desc, 0, sizeof desc);
    desc.kind = WCOH_TOKENIZER_SUBWORDS;
    desc.vocab = 256 + data[0];
    REQUIRE(wcoh_tokenizer_create(&tokenizer, &desc, (const char *)data, size, NULL) == WCOH_OK);
    json = wcoh_tokenizer_json(tokenizer, &length);
    REQUIRE(json && length > 0 && json[length] == 0);
    REQUIRE(wcoh_tokenizer_encode(tokenizer, (const char *)data, size, tokens, 4 * ROOM, &count,
                                  NULL) == WCOH_OK);
    for (i = length = 0; i < count; i++)
        length += (size_t)wcoh_tokenizer_decode(tokenizer, tokens[i], back + length,
                                                sizeof back - length);
    REQUIRE(length == size && memcmp(back, data, size) == 0);
    wcoh_tokenizer_destroy(tokenizer);
}

FUZZ_UNUSED static const fuzz_target targets[] = {{"tokenizer", use_tokenizer},
                                                  {"flow", use_flow},
                                                  {"sequences", use_sequences},
                                                  {"json", use_json}};

#ifndef FUZZ
int main(int argc, char **argv) { return fuzz_main(targets, 4, argc, argv); }
#endif

/* What tests/test_tokenizer.py asks of the library's subwords.

   tokenize FILE.json          texts on stdin (4 bytes of size each, little endian, then the text);
                               on stdout for each the number of tokens, they, the size of what they
                               decode to, and that
   tokenize --learn N IN OUT   N subwords of a text as a tokenizer.json
   tokenize --words N IN OUT   words that stand there N times, likewise
   tokenize --hostile FILE     the file cut short and with bits turned: nothing crashes
   tokenize --linear FILE.json seconds for a word, and for one 8 times as long
   tokenize --learning WORDS   seconds and most bytes held while 2,000 subwords are learnt of so many
                               distinct words, and of twice as many

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#define WAVECOH_IMPLEMENTATION
#define WAVECOH_NO_TOOLKIT
#define WAVECOH_NO_TRAINING
#define WAVECOH_SCALAR
#include "../wavecoh.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static char *file_of(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    long length;
    if (!file || fseek(file, 0, SEEK_END) || (length = ftell(file)) < 0) exit(3);
    rewind(file);
    *size = (size_t)length;
    text = (char *)malloc(*size + 1);
    if (!text || fread(text, 1, *size, file) != *size) exit(3);
    fclose(file);
    return text;
}

static void put(const void *data, size_t size)
{
    if (fwrite(data, 1, size, stdout) != size) exit(3);
}

static void put_u32(size_t value)
{
    uint32_t word = (uint32_t)value;
    put(&word, sizeof word);
}

/* Tokens and what they decode to. A refused text has 2^31 more tokens. */
static void answer(const wcoh_tokenizer *tokenizer, const char *text, size_t size)
{
    size_t room = 3 * size + 64, count = 0, i, length = 0;
    size_t space = 3 * ((size_t)wcoh_tokenizer_longest(tokenizer) + 4);
    uint32_t *tokens = (uint32_t *)malloc(room * sizeof *tokens);
    char *back = (char *)malloc(8 * size + 2 * space + 4096);
    wcoh_decoder decoder;
    wcoh_error error;
    wcoh_result result;
    if (!tokens || !back) exit(3);
    memset(&decoder, 0, sizeof decoder);
    result = wcoh_tokenizer_encode(tokenizer, text, size, tokens, room, &count, &error);
    if (result) fprintf(stderr, "%s\n", error.text);
    put_u32(result ? 0x80000000u : count);
    if (!result) put(tokens, count * sizeof *tokens);
    for (i = 0; i < count && !result && length < 8 * size + 4096; i++)
        length += (size_t)wcoh_decoder_next(&decoder, tokenizer, tokens[i], back + length, space);
    length += (size_t)wcoh_decoder_end(&decoder, back + length, 3);
    put_u32(length);
    put(back, length);
    free(tokens);
    free(back);
}

static void answer_all(const wcoh_tokenizer *tokenizer)
{
    uint32_t size;
    while (fread(&size, sizeof size, 1, stdin) == 1) {
        char *text = (char *)malloc((size_t)size + 1);
        if (!text || fread(text, 1, size, stdin) != size) exit(3);
        answer(tokenizer, text, size);
        free(text);
    }
}

static int learn(wcoh_tokenizer_kind kind, int number, const char *in, const char *out)
{
    wcoh_tokenizer *tokenizer = NULL;
    wcoh_tokenizer_desc desc;
    wcoh_error error;
    size_t size;
    char *text = file_of(in, &size);
    const char *json;
    FILE *file = fopen(out, "wb");
    memset(&desc, 0, sizeof desc);
    desc.kind = kind;
    desc.vocab = desc.least = number;
    if (kind == WCOH_TOKENIZER_WORDS) desc.vocab = 0;
    if (!file || wcoh_tokenizer_create(&tokenizer, &desc, text, size, &error) < 0) return 1;
    json = wcoh_tokenizer_json(tokenizer, &size);
    if (fwrite(json, 1, size, file) != size || fclose(file)) return 1;
    wcoh_tokenizer_destroy(tokenizer);
    free(text);
    return 0;
}

/* Read a spoilt file and, where it still is one, encode with it. */
static void try_file(const char *json, size_t size)
{
    static const char text[] = "The caf\xc3\xa9 <s> 123 \xff x";
    wcoh_tokenizer *tokenizer = NULL;
    uint32_t tokens[128];
    char piece[8];
    size_t count = 0, i;
    if (wcoh_tokenizer_create_json(&tokenizer, json, size, NULL, NULL) < 0) return;
    wcoh_tokenizer_encode(tokenizer, text, sizeof text - 1, tokens, 128, &count, NULL);
    for (i = 0; i < count && i < 128; i++) wcoh_tokenizer_decode(tokenizer, tokens[i], piece, 8);
    wcoh_tokenizer_destroy(tokenizer);
}

static void hostile(const char *path)
{
    size_t size, at, step;
    char *json = file_of(path, &size);
    uint32_t random = 1;
    int i;
    step = size / 150 + 1;
    for (at = 0; at < size; at += step) {
        char *cut = (char *)malloc(at + 1); /* of its own size, so that a sanitizer sees the end */
        if (!cut) exit(3);
        memcpy(cut, json, at);
        try_file(cut, at);
        free(cut);
    }
    for (i = 0; i < 300; i++) {
        random = random * 1664525u + 1013904223u;
        at = (i & 1 ? random % (uint32_t)(size < 1200 ? size : 1200) : random % (uint32_t)size);
        json[at] = (char)(json[at] ^ (1 << (random >> 29)));
        try_file(json, size);
        json[at] = (char)(json[at] ^ (1 << (random >> 29)));
    }
    free(json);
    puts("ok");
}

static double seconds_for(const wcoh_tokenizer *tokenizer, size_t size)
{
    char *text = (char *)malloc(size);
    uint32_t *tokens = (uint32_t *)malloc((size + 8) * sizeof *tokens);
    clock_t start = clock();
    size_t i;
    if (!text || !tokens) exit(3);
    for (i = 0; i < size; i++) text[i] = "abcab"[i * i % 5];
    if (wcoh_tokenizer_encode(tokenizer, text, size, tokens, size + 8, &i, NULL)) exit(4);
    free(text);
    free(tokens);
    return (double)(clock() - start) / CLOCKS_PER_SEC;
}

/* Bytes that are held, and the most that were. */
typedef struct held {
    size_t now, most;
} held;

static void *held_alloc(size_t size, void *user)
{
    held *h = (held *)user;
    h->now += size;
    if (h->now > h->most) h->most = h->now;
    return malloc(size);
}

static void held_release(void *block, size_t size, void *user)
{
    ((held *)user)->now -= size;
    free(block);
}

/* Words of two to five syllables, each once. */
static void learning(int words)
{
    static const char syllables[] = "kalomiretunasovipedagu";
    char *text = (char *)malloc((size_t)words * 16);
    double best = 1e9;
    held h = {0, 0};
    size_t size = 0;
    int i, round;
    if (!text) exit(3);
    for (i = 0; i < words; i++) {
        int left = i + 11;
        for (; left; left /= 11, size += 2) memcpy(text + size, syllables + 2 * (left % 11), 2);
        text[size++] = ' ';
    }
    for (round = 0; round < 3; round++) {
        wcoh_tokenizer *tokenizer = NULL;
        wcoh_tokenizer_desc desc;
        clock_t start = clock();
        memset(&desc, 0, sizeof desc);
        desc.kind = WCOH_TOKENIZER_SUBWORDS;
        desc.vocab = 2256;
        desc.memory.alloc = held_alloc;
        desc.memory.release = held_release;
        desc.memory.user = &h;
        if (wcoh_tokenizer_create(&tokenizer, &desc, text, size, NULL) < 0) exit(4);
        wcoh_tokenizer_destroy(tokenizer);
        if ((double)(clock() - start) / CLOCKS_PER_SEC < best)
            best = (double)(clock() - start) / CLOCKS_PER_SEC;
    }
    printf("%g %lu\n", best, (unsigned long)h.most);
    if (h.now) exit(5);
    free(text);
}

int main(int argc, char **argv)
{
    wcoh_tokenizer *tokenizer = NULL;
    wcoh_error error;
    size_t size;
    char *json;
    if (argc == 5 && strcmp(argv[1], "--learn") == 0)
        return learn(WCOH_TOKENIZER_SUBWORDS, atoi(argv[2]), argv[3], argv[4]);
    if (argc == 5 && strcmp(argv[1], "--words") == 0)
        return learn(WCOH_TOKENIZER_WORDS, atoi(argv[2]), argv[3], argv[4]);
    if (argc < 2) return 2;
    if (strcmp(argv[1], "--learning") == 0) {
        learning(atoi(argv[argc - 1]));
        learning(2 * atoi(argv[argc - 1]));
        return 0;
    }
    if (strcmp(argv[1], "--hostile") == 0) {
        hostile(argv[argc - 1]);
        return 0;
    }
    json = file_of(argv[argc - 1], &size);
    wcoh_tokenizer_create_json(&tokenizer, json, size, NULL, &error);
    free(json);
    if (!tokenizer) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    if (strcmp(argv[1], "--linear") == 0)
        printf("%g %g\n", seconds_for(tokenizer, 200000), seconds_for(tokenizer, 1600000));
    else answer_all(tokenizer);
    wcoh_tokenizer_destroy(tokenizer);
    return 0;
}

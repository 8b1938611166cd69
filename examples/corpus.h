/* Texts for the programs that train: which files, what their letters are, which part of each is to
   learn from and which to validate on. Include it after wavecoh.h; it is no part of the library.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef WAVECOH_EXAMPLES_CORPUS_H
#define WAVECOH_EXAMPLES_CORPUS_H

#include "common.h"

/* The words of --tokenizer: auto, then the library's; bpe:N stands for subwords. */
#define TOKENIZER_WORDS "auto bytes chars chars+bytes bpe words"
enum { TOKENIZER_AUTO, TOKENIZER_FIRST };

/* What was asked for. */
typedef struct corpus_desc {
    text_list data, val;       /* files to learn, and to validate on; without the latter the end of
                                  each of the former */
    double val_share;          /* that end */
    const char *tokenizer;     /* a word of TOKENIZER_WORDS, "bpe:4096", or a tokenizer.json */
    choice unknown;            /* word of UNKNOWN_WORDS */
    int start;                 /* 1: a symbol of its own begins every text */
    int evaluated;             /* 0: all is to learn from */
    int seq;                   /* tokens a window */
} corpus_desc;

/* Options of a corpus_desc, for every program that has one. */
#define VAL_OPTION(corpus)                                                                         \
    {                                                                                              \
        "val", OPTION_LIST, &(corpus)->val, 0, 0,                                                  \
            "a text to validate on, again for more; the end of each --data if not given"           \
    }
#define VAL_SHARE_OPTION(corpus)                                                                   \
    {                                                                                              \
        "val_share", OPTION_REAL, &(corpus)->val_share, 0.001, 0.9, "share of that end"            \
    }
#define START_OPTION(corpus)                                                                       \
    {                                                                                              \
        "start", OPTION_FLAG, &(corpus)->start, 0, 0, "a symbol of its own begins every text"      \
    }
#define TOKENIZER_OPTION(corpus)                                                                   \
    {                                                                                              \
        "tokenizer", OPTION_TEXT, &(corpus)->tokenizer, 0, 0,                                      \
            "auto (chars up to 512 different ones, else bytes), bytes, chars, chars+bytes "        \
            "(spells "                                                                             \
            "others in bytes), bpe:N (N subwords, learnt), words (in small letters, those that "   \
            "stand three times), or a file tokenizer.json"                                         \
    }

/* One text and a tenth of it, whatever its letters. */
COMMON_USED(__unused__)
static corpus_desc corpus_standard(void)
{
    corpus_desc d;
    memset(&d, 0, sizeof d);
    d.val_share = 0.1;
    d.tokenizer = "auto";
    d.unknown.words = UNKNOWN_WORDS;
    d.evaluated = 1;
    return d;
}

/* A file, and where in it validation begins. */
typedef struct source {
    const char *name; /* as sentences have it */
    char *bytes;
    size_t size, cut;
} source;

typedef struct corpus {
    source *data, *val;    /* of --data, and of --val */
    texts train, validate; /* tokens to learn from and to validate on */
    const char **named;    /* [validate.count] the files of the latter */
    wcoh_tokenizer *made;  /* for these texts; NULL: the loaded model's is used */
    const char *why;       /* that one was made */
} corpus;

static source *sources_read(const text_list *files)
{
    source *list = (source *)calloc((size_t)files->count + 1, sizeof *list);
    int i;
    if (!list) fail(EXIT_FAILED, "no memory for %d texts", files->count);
    for (i = 0; i < files->count; i++) {
        list[i].name = file_named(files->items[i]);
        list[i].bytes = file_read(files->items[i], &list[i].size);
    }
    return list;
}

static void sources_free(source *list, int count)
{
    while (list && count-- > 0) free(list[count].bytes);
    free(list);
}

/* All texts to learn, as an alphabet of characters means them; NULL and the sentence where one cannot
   be given to such a tokenizer. *size is that of them all. */
static char *texts_joined(const corpus_desc *d, const corpus *text, const wcoh_tokenizer_desc *desc,
                          size_t *size, const char **why)
{
    wcoh_tokenizer *tried;
    wcoh_error error;
    size_t all = 1, piece;
    char *joined;
    int i;
    for (i = 0; i < d->data.count; i++) all += text->data[i].size;
    joined = (char *)malloc(all);
    if (!joined) fail(EXIT_FAILED, "no memory for %lu bytes", (unsigned long)all);
    for (i = 0, *size = 0; i < d->data.count; i++, *size += piece) {
        const source *s = &text->data[i];
        memcpy(joined + *size, s->bytes, s->size);
        piece = text_plain(joined + *size, s->size);
        if (!wcoh_tokenizer_create(&tried, desc, joined + *size, piece, &error)) {
            wcoh_tokenizer_destroy(tried);
            continue;
        }
        *why = text_made("%s: %s", s->name, error.text);
        free(joined);
        return NULL;
    }
    return joined;
}

/* The tokenizer of that kind for the texts; NULL and the sentence where it cannot be. */
static wcoh_tokenizer *tokenizer_of(const corpus_desc *d, wcoh_tokenizer_kind kind, const corpus *text,
                                    const char **why)
{
    wcoh_tokenizer *tokenizer = NULL;
    wcoh_tokenizer_desc desc;
    wcoh_error error;
    size_t size;
    char *joined;
    memset(&desc, 0, sizeof desc);
    desc.kind = kind;
    desc.start = d->start;
    joined = texts_joined(d, text, &desc, &size, why);
    if (joined) must(wcoh_tokenizer_create(&tokenizer, &desc, joined, size, &error), NULL, &error);
    free(joined);
    return tokenizer;
}

/* `vocab` subwords, or words, learnt from all texts to learn, as they are. */
static wcoh_tokenizer *subwords_learnt(const corpus_desc *d, const corpus *text,
                                       wcoh_tokenizer_kind kind, int vocab)
{
    wcoh_tokenizer *tokenizer = NULL;
    wcoh_tokenizer_desc desc;
    wcoh_error error;
    size_t all = 0;
    char *joined;
    int i;
    for (i = 0; i < d->data.count; i++) all += text->data[i].size;
    joined = (char *)malloc(all + 1);
    if (!joined) fail(EXIT_FAILED, "no memory for %lu bytes", (unsigned long)all);
    for (i = 0, all = 0; i < d->data.count; all += text->data[i++].size)
        memcpy(joined + all, text->data[i].bytes, text->data[i].size);
    memset(&desc, 0, sizeof desc);
    desc.kind = kind;
    desc.start = d->start;
    desc.vocab = vocab;
    if (wcoh_tokenizer_create(&tokenizer, &desc, joined, all, &error) < 0) {
        for (i = 0; i < d->data.count; i++) /* which of them it is */
            must(wcoh_tokenizer_create(&tokenizer, &desc, text->data[i].bytes, text->data[i].size,
                                       &error),
                 text->data[i].name, &error);
        fail(EXIT_FAILED, "%s", error.text);
    }
    free(joined);
    return tokenizer;
}

/* 1 if --tokenizer names a file. */
static int tokenizer_is_file(const char *given)
{
    size_t size = strlen(given);
    return size >= 5 && strcmp(given + size - 5, ".json") == 0;
}

/* The subwords that --tokenizer names: bpe, bpe:N, words or a file; NULL: it names another kind. */
static wcoh_tokenizer *subwords_given(const corpus_desc *d, const corpus *text)
{
    wcoh_tokenizer *tokenizer = NULL;
    const char *given = d->tokenizer;
    wcoh_error error;
    size_t size;
    char *json, *end = NULL;
    if (strncmp(given, "bpe", 3) == 0 && (given[3] == ':' || !given[3])) {
        long vocab = given[3] ? strtol(given + 4, &end, 10) : 4096;
        if ((end && (*end || end == given + 4)) || vocab < 256 || vocab > 1 << 20)
            fail(EXIT_USAGE, "--tokenizer bpe:N: N is \"%s\"; it is a number from 256 to 1048576",
                 given + 3 + !!given[3]);
        return subwords_learnt(d, text, WCOH_TOKENIZER_SUBWORDS, (int)vocab);
    }
    if (strcmp(given, "words") == 0) return subwords_learnt(d, text, WCOH_TOKENIZER_WORDS, 0);
    if (!tokenizer_is_file(given)) return NULL;
    if (d->start) fail(EXIT_USAGE, "--start: %s says itself how a text begins", given);
    json = file_read(given, &size);
    must(wcoh_tokenizer_create_json(&tokenizer, json, size, NULL, &error), given, &error);
    free(json);
    return tokenizer;
}

/* The tokenizer that was asked for, or that suits the texts. */
static void choose_tokenizer(const corpus_desc *d, corpus *text)
{
    const char *why = NULL;
    int word, given, letters, i;
    wcoh_tokenizer_kind kind;
    text->made = subwords_given(d, text);
    text->why = text_made(strcmp(d->tokenizer, "words") ? "%d subwords" : "%d words",
                          wcoh_tokenizer_vocab(text->made));
    if (text->made) return;
    word = word_choose("--tokenizer", d->tokenizer,
                       "auto bytes chars chars+bytes bpe:N words FILE.json");
    given = word != TOKENIZER_AUTO;
    kind = given ? (wcoh_tokenizer_kind)(word - TOKENIZER_FIRST) : WCOH_TOKENIZER_CHARS;
    for (i = 0; kind != WCOH_TOKENIZER_BYTES && i < d->data.count; i++)
        text_mark(d->data.items[i], text->data[i].bytes, text->data[i].size);
    text->made = tokenizer_of(d, kind, text, &why);
    if (!text->made && given) fail(EXIT_FAILED, "%s", why);
    letters = wcoh_tokenizer_characters(text->made);
    if (text->made) why = letters ? text_made("%d different characters", letters) : "256 symbols";
    else if (d->data.count == 1) why += strlen(text->data[0].name) + 2; /* it needs no name */
    if (kind == WCOH_TOKENIZER_CHARS && letters == 1)
        fail(EXIT_FAILED, "%s: it is one character again and again: there is nothing to learn",
             text->data[0].name);
    text->why = why;
    if (given || (text->made && letters <= 512)) return;
    wcoh_tokenizer_destroy(text->made);
    text->made = tokenizer_of(d, WCOH_TOKENIZER_BYTES, text, &why);
}

/* Where validation begins; a character of UTF-8 is not cut, nor the end of a line. */
static size_t source_cut(const source *s, const wcoh_tokenizer *tokenizer, const corpus_desc *d)
{
    size_t n = s->size, cut;
    if (!d->evaluated || d->val.count) return n;
    cut = d->val_share == 0.1 ? n / 10 * 9 + n % 10 * 9 / 10
                              : (size_t)((1 - d->val_share) * (double)n);
    if (wcoh_tokenizer_get_kind(tokenizer) == WCOH_TOKENIZER_BYTES) return cut;
    while (cut > 0 && cut < n && ((unsigned char)s->bytes[cut] & 0xc0) == 0x80) cut--;
    if (cut > 0 && cut < n && s->bytes[cut] == '\n' && s->bytes[cut - 1] == '\r') cut--;
    return cut;
}

/* Add the tokens of bytes [from, to) where there are two or more; returns their number. */
static size_t source_encode(const corpus_desc *d, const wcoh_tokenizer *tokenizer, const source *s,
                            size_t from, size_t to, texts *all)
{
    size_t size = text_plain_for(tokenizer, s->bytes + from, to - from), count;
    uint32_t *tokens = text_encode(d->unknown.index, tokenizer, s->bytes + from, size, s->name,
                                   from, &count);
    if (count >= 2) texts_add(all, tokens, count);
    else free(tokens);
    return count;
}

/* The sentences for one text that is too short for a window; several may be, they are padded. */
static void corpus_check(const corpus *text, const corpus_desc *d)
{
    size_t seq = (size_t)d->seq, learnt = texts_size(&text->train);
    size_t validated = texts_size(&text->validate);
    if (d->data.count == 1 && learnt < seq + 1)
        fail(EXIT_FAILED,
             "%s: %lu tokens to learn from are too few for a window of %lu and the one after it",
             text->data[0].name, (unsigned long)learnt, (unsigned long)seq);
    if (!d->evaluated) return;
    if (d->val.count == 1 && validated < seq + 1)
        fail(EXIT_FAILED,
             "%s: %lu tokens are too few for a window of %lu (--seq) and the one after it",
             text->val[0].name, (unsigned long)validated, (unsigned long)seq);
    if (d->val.count == 0 && d->data.count == 1 && validated < seq + 1)
        fail(EXIT_FAILED,
             "%s: its last %s, %lu tokens, is too short for a window of %lu (--seq) and the one "
             "after it; --eval-every -1 trains without validation",
             text->data[0].name, d->val_share == 0.1 ? "tenth" : "part", (unsigned long)validated,
             (unsigned long)seq);
    if (validated == 0)
        fail(EXIT_FAILED, "no text has an end of two tokens to validate on; --eval-every -1 trains "
                          "without validation");
}

/* Nine tenths of each text to learn from, the rest to validate, unless told otherwise. */
static void corpus_split(corpus *text, const wcoh_tokenizer *tokenizer, const corpus_desc *d)
{
    size_t most = (size_t)(d->data.count + d->val.count);
    int i;
    text->named = (const char **)(void *)text_keep((most + 1) * sizeof *text->named);
    for (i = 0; i < d->data.count; i++) {
        source *s = &text->data[i];
        s->cut = source_cut(s, tokenizer, d);
        if (source_encode(d, tokenizer, s, 0, s->cut, &text->train) < 2 && d->data.count > 1)
            fail(EXIT_FAILED, "%s: two tokens at least are needed to learn from", s->name);
        if (source_encode(d, tokenizer, s, s->cut, s->size, &text->validate) >= 2)
            text->named[text->validate.count - 1] = s->name;
    }
    for (i = 0; d->evaluated && i < d->val.count; i++)
        if (source_encode(d, tokenizer, &text->val[i], 0, text->val[i].size, &text->validate) >= 2)
            text->named[text->validate.count - 1] = text->val[i].name;
    corpus_check(text, d);
}

/* Read, choose an alphabet unless one is given, split and encode; returns the alphabet. */
COMMON_USED(__unused__)
static const wcoh_tokenizer *corpus_open(corpus *text, const corpus_desc *d,
                                         const wcoh_tokenizer *given)
{
    text->data = sources_read(&d->data);
    text->val = sources_read(&d->val);
    if (!given) choose_tokenizer(d, text);
    if (!given) given = text->made;
    corpus_split(text, given, d);
    return given;
}

/* 1 where the words say --dropout auto. The setting is a number, which is known when model and text
   are: "0" takes the place of each "auto" in the words. */
COMMON_USED(__unused__)
static int dropout_asked(const command *c, int argc, char **argv)
{
    const char *name, *value;
    size_t length;
    int i = 1, k, asked = 0;
    while (i < argc) {
        if (!option_next(c, argc, argv, &i, &name, &length, &value)) continue;
        if (!value || !option_is("dropout", name, length)) continue;
        asked = strcmp(value, "auto") == 0;
        for (k = 1; asked && k < argc; k++) /* "auto" alone, or at the end of --dropout=auto */
            if (value >= argv[k] && value <= argv[k] + strlen(argv[k]))
                memcpy(argv[k] + (value - argv[k]), "0", 2);
    }
    return asked;
}

/* What --dropout auto comes to, and a line about it: a text that is passed over a few times alone is
   learnt best whole (README: On your own text). */
#define DROPOUT_AUTO_IS "0.1 from four passes over the text on, 0.3 at ten parameters a symbol."
COMMON_USED(__unused__)
static double dropout_of(const corpus *text, double tokens, double parameters, const char **line)
{
    double symbols = (double)texts_size(&text->train);
    double passes = tokens / symbols, weight = parameters / symbols;
    double dropout = passes < 4 ? 0 : weight < 10 ? 0.1 : 0.3;
    *line = text_made("dropout %.2f of %s passes over the text, %.2f parameters a symbol", dropout,
                      passes < 1e15 ? text_made("%.1f", passes) : "endless", weight);
    return dropout;
}

/* One text is one unbroken stream; several are sequences. */
COMMON_USED(__unused__)
static wcoh_result corpus_give(const corpus *text, wcoh_trainer *trainer, wcoh_error *error)
{
    wcoh_sequences train = texts_sequences(&text->train), val = texts_sequences(&text->validate);
    if (train.count > 1 || val.count > 1)
        return wcoh_trainer_set_sequences(trainer, &train, val.count ? &val : NULL, error);
    return wcoh_trainer_set_data(trainer, train.tokens, texts_size(&text->train), val.tokens,
                                 texts_size(&text->validate), error);
}

COMMON_USED(__unused__)
static void corpus_close(corpus *text, const corpus_desc *d)
{
    wcoh_tokenizer_destroy(text->made);
    texts_free(&text->train);
    texts_free(&text->validate);
    sources_free(text->data, d->data.count);
    sources_free(text->val, d->val.count);
}

#endif

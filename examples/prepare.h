/* What compare does to a network before its first step where a claim is about its start: phases of
   symbols by how they rhyme, bands in another order, no maestros. Include it after wavecoh.h; it is no
   part of the library.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef WAVECOH_EXAMPLES_PREPARE_H
#define WAVECOH_EXAMPLES_PREPARE_H

#include "common.h"

/* rhymes: symbols that rhyme begin with nearly the same phases; mixed_rhymes, the control: so do as many
   groups of as many symbols, dealt out at random; mixed_bands: the tables of symbols and positions
   with their bands in a random order, so that the curriculum opens random ones; no_maestros: they are 0
   and stay so, so that nothing stands beside the oscillators. */
#define PREPARE_WORDS "as_made rhymes mixed_rhymes mixed_bands no_maestros"
enum {
    PREPARE_NOTHING,
    PREPARE_RHYMES,
    PREPARE_MIXED_RHYMES,
    PREPARE_MIXED_BANDS,
    PREPARE_NO_MAESTROS
};

/* ---- rhymes, by the letters alone ------------------------------------------------------------ */

static int letter_is_vowel(char letter) { return letter && strchr("aeiouy", letter) != NULL; }

/* Where the rhyme of a word begins: at its last group of vowels, an e that only ends it left out
   ("light" "ight", "name" "ame", "thou" and "you" "ou"); `size` where it has none. */
COMMON_USED(__unused__)
static size_t rhyme_begin(const char *word, size_t size)
{
    size_t end = size, i;
    for (i = 0; i < size; i++)
        if (word[i] < 'a' || word[i] > 'z') return size;
    if (size > 2 && word[size - 1] == 'e' && !letter_is_vowel(word[size - 2])) {
        for (i = 0; i < size - 2 && !letter_is_vowel(word[i]); i++) {}
        if (i < size - 2) end = size - 1;
    }
    for (i = end; i > 0 && !letter_is_vowel(word[i - 1]); i--) {}
    if (i == 0) return size;
    while (i > 0 && letter_is_vowel(word[i - 1]) &&
           !(word[i - 1] == 'y' && i < end && letter_is_vowel(word[i])))
        i--;
    return i < size ? i : size;
}

typedef struct rhyme {
    char ending[24]; /* "" where a symbol has none */
    int symbol;
} rhyme;

static int rhyme_order(const void *a, const void *b)
{
    const rhyme *x = (const rhyme *)a, *y = (const rhyme *)b;
    int order = strcmp(x->ending, y->ending);
    return order ? order : x->symbol - y->symbol;
}

/* The ending of a symbol, if it is a word of small letters and two or more of them. */
static void rhyme_read(rhyme *r, const wcoh_tokenizer *tokenizer, int symbol)
{
    char text[24], *word = text;
    int size = wcoh_tokenizer_decode(tokenizer, (uint32_t)symbol, text, sizeof text);
    size_t left = size > 0 && size <= (int)sizeof text ? (size_t)size : 0, at;
    r->symbol = symbol;
    if (left > 0 && *word == ' ') word++, left--; /* where one stands before each */
    if (left < 2 || left >= sizeof r->ending) return;
    at = rhyme_begin(word, left);
    memcpy(r->ending, word + at, left - at);
}

/* groups [vocab]: the group of each symbol, -1: it rhymes with none. Returns how many there are. */
COMMON_USED(__unused__)
static int rhymes_find(const wcoh_tokenizer *tokenizer, int *groups, int vocab)
{
    rhyme *all = (rhyme *)memory_of((size_t)vocab, sizeof *all);
    int i, k, count = 0;
    for (i = 0; i < vocab; i++) rhyme_read(&all[i], tokenizer, i);
    qsort(all, (size_t)vocab, sizeof *all, rhyme_order);
    for (i = 0; i < vocab; i = k) {
        for (k = i + 1; k < vocab && strcmp(all[i].ending, all[k].ending) == 0; k++) {}
        if (!all[i].ending[0] || k - i < 2) {
            for (; i < k; i++) groups[all[i].symbol] = -1;
            continue;
        }
        for (; i < k; i++) groups[all[i].symbol] = count;
        count++;
    }
    free(all);
    return count;
}

/* "12 of 15 symbols rhyme, in 5 groups" */
COMMON_USED(__unused__)
static const char *rhymes_text(const wcoh_tokenizer *tokenizer)
{
    int vocab = wcoh_tokenizer_vocab(tokenizer), count, some = 0, i;
    int *groups = (int *)memory_of((size_t)vocab, sizeof *groups);
    count = rhymes_find(tokenizer, groups, vocab);
    for (i = 0; i < vocab; i++) some += groups[i] >= 0;
    free(groups);
    return text_made("%d of %d symbols rhyme, in %d groups", some, vocab, count);
}

/* ---- what is written into a network ---------------------------------------------------------- */

/* Deal the numbers of `list` that are not negative out anew among their places. */
static void numbers_mix(int *list, int count, wcoh_rng *rng)
{
    int *places = (int *)memory_of((size_t)count, sizeof *places), n = 0, i;
    for (i = 0; i < count; i++)
        if (list[i] >= 0) places[n++] = i;
    for (; n > 1; n--) {
        int k = places[(int)(wcoh_rng_uniform(rng) * n)], kept = list[k];
        list[k] = list[places[n - 1]];
        list[places[n - 1]] = kept;
    }
    free(places);
}

/* Phases [F] of a group from a normal one of `deviation`, those of each of its members a tenth of that
   around them (Resonance Transformer: 0.3 and 0.03). */
static void phases_group(wcoh_param *phases, const int *groups, int count, double deviation,
                         wcoh_rng *rng)
{
    size_t wide = (size_t)phases->shape[1], i, k;
    double *centres = (double *)memory_of((size_t)count * wide, sizeof *centres);
    for (i = 0; i < (size_t)count * wide; i++) centres[i] = deviation * wcoh_rng_normal(rng);
    for (i = 0; i < (size_t)phases->shape[0]; i++)
        for (k = 0; groups[i] >= 0 && k < wide; k++)
            phases->data[i * wide + k] = (wcoh_real)(centres[(size_t)groups[i] * wide + k] +
                                                     0.1 * deviation * wcoh_rng_normal(rng));
    free(centres);
}

/* The table of that name with its bands, pairs of columns, in the order given; 0: there is none. */
static int table_reorder(const wcoh_model *model, const char *name, const int *order)
{
    wcoh_param table;
    int at = wcoh_model_param_find(model, name), row, band, bands;
    wcoh_real *kept;
    if (at < 0 || wcoh_model_param(model, at, &table, NULL) < 0) return 0;
    bands = table.shape[1] / 2;
    kept = (wcoh_real *)memory_of((size_t)table.shape[1], sizeof *kept);
    for (row = 0; row < table.shape[0]; row++) {
        wcoh_real *at_row = table.data + (size_t)row * (size_t)table.shape[1];
        memcpy(kept, at_row, (size_t)table.shape[1] * sizeof *kept);
        for (band = 0; band < bands; band++) {
            at_row[2 * band] = kept[2 * order[band]];
            at_row[2 * band + 1] = kept[2 * order[band] + 1];
        }
    }
    free(kept);
    return 1;
}

static void bands_mix(const wcoh_model *model, wcoh_rng *rng)
{
    int bands = wcoh_model_get_desc(model)->bands, i;
    int *order = (int *)memory_of((size_t)bands, sizeof *order);
    for (i = 0; i < bands; i++) order[i] = i;
    numbers_mix(order, bands, rng);
    table_reorder(model, "embed.weight", order);
    table_reorder(model, "position.weight", order);
    free(order);
}

/* Numbers that learn: those that are trained and not frozen. */
COMMON_USED(__unused__)
static size_t learning_count(const wcoh_model *model)
{
    size_t count = 0;
    wcoh_param param;
    int i;
    for (i = 0; i < wcoh_model_param_count(model); i++)
        if (wcoh_model_param(model, i, &param, NULL) == WCOH_OK && param.trained && !param.frozen)
            count += param.count;
    return count;
}

/* 0: there are none. */
static int maestros_silence(wcoh_model *model)
{
    wcoh_param param;
    int i;
    if (wcoh_model_freeze(model, "blocks.*.ffn.maestro*", 1, NULL) < 0) return 0;
    for (i = 0; i < wcoh_model_param_count(model); i++)
        if (wcoh_model_param(model, i, &param, NULL) == WCOH_OK && strstr(param.name, ".maestro"))
            memset(param.data, 0, param.count * sizeof *param.data);
    wcoh_model_touch(model);
    return 1;
}

/* Do what a word of PREPARE_WORDS says to a network that has not learned yet, by its own seed; NULL,
   or the sentence where it cannot be. */
COMMON_USED(__unused__)
static const char *network_prepare(int how, wcoh_model *model, const wcoh_tokenizer *tokenizer)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(model);
    wcoh_rng rng = wcoh_rng_seed(desc->seed + 7919), mixed = wcoh_rng_seed(desc->seed + 104729);
    int at = wcoh_model_param_find(model, "phase.weight"), count, *groups;
    wcoh_param phases;
    if (how == PREPARE_MIXED_BANDS) bands_mix(model, &rng);
    if (how == PREPARE_NO_MAESTROS && !maestros_silence(model))
        return "prepare no_maestros is for networks with maestros";
    if (how != PREPARE_RHYMES && how != PREPARE_MIXED_RHYMES) return NULL;
    if (at < 0 || wcoh_model_param(model, at, &phases, NULL) < 0)
        return "prepare rhymes is for networks with phases of symbols";
    groups = (int *)memory_of((size_t)desc->vocab, sizeof *groups);
    count = rhymes_find(tokenizer, groups, desc->vocab);
    if (how == PREPARE_MIXED_RHYMES) numbers_mix(groups, desc->vocab, &mixed);
    if (count > 0) phases_group(&phases, groups, count, desc->phase_deviation, &rng);
    free(groups);
    wcoh_model_touch(model);
    return count > 0 ? NULL : "prepare rhymes: no two symbols rhyme; try tokenizer words";
}

#endif

/* How often each byte stood at its place in the lines of a stream. A place is the word before (runs of
   digits are one digit there) and how far behind it the byte stands, so that "disk sda at 41 C" and
   "disk sdb at 9 C" share the places behind "at". It is no part of the library and needs nothing of
   it; examples/watch.c hears with it beside the network.

   Memory is bounded: PLACES places of 256 counts. A new place takes that of the least visited among
   PLACE_WAYS, and counts are halved where a place was visited PLACE_MOST times, so what happened once
   long ago is forgotten. Counts and sums are whole numbers: what is saved goes on bit for bit.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef WAVECOH_EXAMPLES_PLACES_H
#define WAVECOH_EXAMPLES_PLACES_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PLACES = 4096,
    PLACE_WAYS = 4,
    PLACE_MOST = 4096,
    PLACE_REACH = 15 /* bytes behind a word that are told apart */
};

typedef struct place {
    uint32_t key;          /* 0: nobody's */
    uint32_t visits, once; /* sum of the counts; bytes that stood there once */
    uint64_t spread;       /* sum of n log2 n over the counts n, in units of 2^-16 */
    uint16_t counts[256];
} place;

typedef struct places {
    place all[PLACES];
    uint32_t spreads[PLACE_MOST + 1]; /* n log2 n */
} places;

/* Where in a line one is: zeros at its beginning. */
typedef struct place_cursor {
    uint32_t before, word; /* hashes of the last whole word and of the one under way; 0: none */
    int behind, digit;     /* bytes since that word began, or ended; 1: the last one was a digit */
} place_cursor;

static void places_open(places *p)
{
    int n;
    memset(p, 0, sizeof *p);
    for (n = 2; n <= PLACE_MOST; n++)
        p->spreads[n] = (uint32_t)(n * log((double)n) / log(2.0) * 65536 + 0.5);
}

static uint32_t place_hash(uint32_t hash, unsigned byte)
{
    return ((hash ? hash : 2166136261u) ^ byte) * 16777619u;
}

/* Letters, digits, what is no ASCII, and _ - . are words. */
static int place_in_word(unsigned char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z') || byte >= 128 || byte == '_' || byte == '-' || byte == '.';
}

static void place_pass(place_cursor *c, unsigned char byte)
{
    int digit = byte >= '0' && byte <= '9';
    c->behind++;
    if (place_in_word(byte)) {
        if (!digit || !c->digit) c->word = place_hash(c->word, digit ? '0' : byte);
    } else if (c->word) {
        c->before = c->word;
        c->word = 0;
        c->behind = 0;
    }
    c->digit = digit;
}

/* Never 0. */
static uint32_t place_key(const place_cursor *c)
{
    int behind = c->behind < PLACE_REACH ? c->behind : PLACE_REACH;
    uint32_t key = place_hash(place_hash(c->before, 256u + (unsigned)behind), 0);
    key ^= key >> 15;
    return key ? key : 1;
}

static place *place_set(places *p, uint32_t key)
{
    return p->all + key % (PLACES / PLACE_WAYS) * PLACE_WAYS;
}

/* NULL: nobody was there. */
static place *place_find(places *p, uint32_t key)
{
    place *set = place_set(p, key);
    int i;
    for (i = 0; i < PLACE_WAYS; i++)
        if (set[i].key == key) return &set[i];
    return NULL;
}

static place *place_take(places *p, uint32_t key)
{
    place *set = place_set(p, key), *least = set;
    int i;
    for (i = 1; i < PLACE_WAYS; i++)
        if (set[i].visits < least->visits) least = &set[i];
    memset(least, 0, sizeof *least);
    least->key = key;
    return least;
}

/* The sums that follow from the counts. */
static void place_sum(const places *p, place *at)
{
    int i;
    at->visits = at->once = 0;
    at->spread = 0;
    for (i = 0; i < 256; i++) {
        at->visits += at->counts[i];
        at->once += at->counts[i] == 1;
        at->spread += p->spreads[at->counts[i]];
    }
}

static void place_count(places *p, uint32_t key, unsigned char byte)
{
    place *at = place_find(p, key);
    uint16_t *n;
    int i;
    if (!at) at = place_take(p, key);
    if (at->visits == PLACE_MOST) {
        for (i = 0; i < 256; i++) at->counts[i] = (uint16_t)(at->counts[i] / 2);
        place_sum(p, at);
    }
    n = &at->counts[byte];
    at->spread += p->spreads[*n + 1] - p->spreads[*n];
    at->once += *n == 0;
    at->once -= *n == 1;
    *n = (uint16_t)(*n + 1);
    at->visits++;
}

/* Bits by which a byte surprises more than is usual at its place: -log2(n / N) less the entropy of the
   counts. Of one that never stood there n is the share that all new ones have by Good and Turing, as
   many as stood there once (and a half: there is always something new). */
static double place_excess(places *p, uint32_t key, unsigned char byte)
{
    const place *at = place_find(p, key);
    double n, visits;
    if (!at || !at->visits) return 0;
    visits = at->visits;
    n = at->counts[byte] ? at->counts[byte] : (at->once + 0.5) * visits / (visits + 1);
    return (double)at->spread / 65536 / visits - log(n) / log(2.0);
}

/* ---- as text: a line for each place that was visited, its slot and key, then bytes and counts ------ */

/* Bytes that places_write may take. */
static size_t places_room(const places *p)
{
    size_t room = 2;
    int i, k;
    for (i = 0; i < PLACES; i++) {
        if (!p->all[i].visits) continue;
        room += 24;
        for (k = 0; k < 256; k++) room += p->all[i].counts[k] ? 9 : 0;
    }
    return room;
}

static size_t places_write(const places *p, char *out)
{
    size_t used = 0;
    int i, k;
    for (i = 0; i < PLACES; i++) {
        const place *at = &p->all[i];
        if (!at->visits) continue;
        used += (size_t)sprintf(out + used, "%d %lu", i, (unsigned long)at->key);
        for (k = 0; k < 256; k++)
            if (at->counts[k]) used += (size_t)sprintf(out + used, " %d %u", k, at->counts[k]);
        out[used++] = '\n';
    }
    out[used++] = '\n';
    return used;
}

/* A whole number up to `most` behind the blank that *text stands at, if it stands at one. */
static int place_number(const char **text, unsigned long most, unsigned long *number)
{
    const char *at = *text + (**text == ' ');
    *number = 0;
    if (*at < '0' || *at > '9') return 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        unsigned long digit = (unsigned long)(*at - '0');
        if (*number > (most - digit) / 10) return 0;
        *number = *number * 10 + digit;
    }
    *text = at;
    return 1;
}

static int place_read(places *p, const char **text)
{
    unsigned long slot, key, byte, count, sum = 0;
    place *at;
    if (!place_number(text, PLACES - 1, &slot) || !place_number(text, 0xffffffff, &key)) return 0;
    at = &p->all[slot];
    if (!key || at->key || place_find(p, (uint32_t)key)) return 0;
    if (place_set(p, (uint32_t)key) != p->all + slot / PLACE_WAYS * PLACE_WAYS) return 0;
    at->key = (uint32_t)key;
    while (**text == ' ') {
        if (!place_number(text, 255, &byte) || !place_number(text, PLACE_MOST, &count)) return 0;
        at->counts[byte] = (uint16_t)count;
        sum += count;
    }
    if (sum > PLACE_MOST || **text != '\n') return 0;
    ++*text;
    place_sum(p, at);
    return 1;
}

/* The text ends with a NUL. Returns what stands behind it, or NULL: it is not of places_write. */
static const char *places_read(places *p, const char *text)
{
    while (*text != '\n')
        if (!place_read(p, &text)) return NULL;
    return text + 1;
}

#endif

/* Checkpoints of wave-engine (WCHK, versions 1 to 4), from bytes to a model and back. What is wrong ends
   the program with a sentence (fail of common.h).

   The file holds what was trained and no more. The rest is made as the engine makes it: tables by
   their formulas, frozen attention from its generator (xorshift64, seed 42). What it was told on its
   command line (moduli, ceiling, couplings that were never trained, the tier that trained) is told
   here too: wchk_told.
   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef WCHK_H
#define WCHK_H

#include "kchk.h"

/* ---- what a file is -------------------------------------------------------------------------- */

enum { /* of version 3 on; before them the number of parameters told */
       WCHK_ODE = 1,
       WCHK_SCALES = 2,
       WCHK_RK4 = 4,
       WCHK_HARMONICS = 8,
       WCHK_ATTENTION = 16,
       WCHK_FLAGS = 32
};
static const char *const wchk_size_names[] = {"bands", "heads",     "layers", "maestro",
                                              "block", "rk4 steps", "groups"};
enum { WCHK_SIZES = sizeof wchk_size_names / sizeof *wchk_size_names };
enum { WCHK_BANDS, WCHK_HEADS, WCHK_LAYERS, WCHK_MAESTRO, WCHK_BLOCK, WCHK_STEPS, WCHK_GROUPS };

#define WCHK_EMBEDDING_WORDS "circles pythagorean harmonic"
enum { WCHK_CIRCLES, WCHK_PYTHAGOREAN, WCHK_HARMONIC };
#define WCHK_TIER_WORDS "cpu candle"
enum { WCHK_CPU, WCHK_CANDLE };
enum { WCHK_SPLITS = 16, WCHK_MIXED = 5 }; /* the engine mixes from so many bands on */

/* What no file says. */
typedef struct wchk_told {
    int embedding, tier;
    long long moduli[2], flags;  /* 0: automatic; flags of versions 1 and 2, -1: by the count */
    double alpha, beta, ceiling; /* 0: by the version, by the couplings; a negative ceiling: none */
    double scale;                /* of a phase-native head; 0: 1 / root of the width */
    long long symbols; /* what the vocabulary must be; 0: untold, -1: who calls will see */
    long long rank;    /* of a low-rank head; 0: by the length */
    int control;       /* 1: the knee of its amplitudes follows what training sees */
} wchk_told;

typedef struct wchk {
    unsigned version, flags;
    unsigned long sizes[WCHK_SIZES];
    double mixing; /* chi */
    unsigned long long vocab, count;
    wcoh_head head;
    unsigned long long rank;
    int sure;               /* 1: its flags were told */
    int angles, references; /* 1: of a phase-native, of a wave-decode head, are in the file */
    reader moments[2], params;
    progress run;
} wchk;

/* Parameters of a file with these flags, but for its head. */
static unsigned long long wchk_count(const wchk *k, unsigned flags)
{
    unsigned long long bands = k->sizes[WCHK_BANDS], d = 2 * bands, heads = k->sizes[WCHK_HEADS],
                       m = k->sizes[WCHK_MAESTRO], e = d / heads,
                       block = 4 * d + 2 * (2 * m * d + m + d) + d * d / k->sizes[WCHK_GROUPS] + d;
    if (flags & WCHK_ODE) block += 2 * bands + 2;
    if (flags & WCHK_RK4) block += 4;
    if (flags & WCHK_HARMONICS) block += heads;
    if (flags & WCHK_ATTENTION)
        block += heads * (2 * d + 2 + e * e + e + !(flags & WCHK_HARMONICS)) + d * d + d;
    return k->sizes[WCHK_LAYERS] * (block + ((flags & WCHK_SCALES) != 0)) + 2 * d;
}

/* The head that `rest` parameters are: 1 where one of ours has as many. */
static int wchk_head(wchk *k, unsigned long long rest)
{
    unsigned long long d = 2ull * k->sizes[WCHK_BANDS];
    k->rank = 0;
    if (rest == k->vocab * d) k->head = WCOH_HEAD_DENSE;
    else if (rest == 1) k->head = WCOH_HEAD_TIED;
    else if (rest > 0 && rest % (k->vocab + d) == 0 && rest / (k->vocab + d) <= KCHK_SIZE_MOST)
        k->head = WCOH_HEAD_LOW_RANK, k->rank = rest / (k->vocab + d);
    else if (rest == 0 || rest == d / 2) k->head = WCOH_HEAD_PHASE_NATIVE, k->angles = rest > 0;
    else if (rest == d / 2 + 1 || rest == d / 2 + 1 + k->vocab * d / 2)
        k->head = WCOH_HEAD_WAVE_DECODE, k->references = rest > d / 2 + 1;
    else return 0;
    return 1;
}

/* The flags of a dense network with k's sizes that make its count; they are so many, the first two. */
static int wchk_flags_of(const wchk *k, unsigned found[2])
{
    unsigned flags;
    int count = 0;
    found[0] = found[1] = 0;
    for (flags = 0; flags < WCHK_ATTENTION; flags++) { /* trained attention is younger */
        unsigned long long most = wchk_count(k, flags);
        wchk other = *k;
        if (most > k->count || !wchk_head(&other, k->count - most)) continue;
        if (other.head != WCOH_HEAD_DENSE) continue;
        if (count < 2) found[count] = flags;
        count++;
    }
    return count;
}

/* Flags of versions 1 and 2: those that were told, or the only ones that make the count. */
static void wchk_flags(wchk *k, const wchk_told *told)
{
    unsigned found[2];
    if (told->flags >= 0) k->flags = (unsigned)told->flags;
    else if (wchk_flags_of(k, found) < 2) k->flags = found[0];
    else
        fail(EXIT_FAILED,
             "%s: its %.0f parameters may be those of flags %u or %u: --flags tells which",
             k->params.path, (double)k->count, found[0], found[1]);
}

/* 1 if `rest` parameters make a head of `vocab` symbols whose size says so: dense, or low-rank and
   smaller than that. */
static int wchk_sized_by(const wchk *k, unsigned long long vocab, unsigned long long rest)
{
    unsigned long long d = 2ull * k->sizes[WCHK_BANDS];
    if (vocab < 1) return 0;
    return rest == vocab * d || (rest % (vocab + d) == 0 && rest < vocab * d && rest > d);
}

/* 1 if a head with one other bit would have such a length too: in its sizes, flags or vocabulary. */
static int wchk_one_bit_off(const wchk *k)
{
    int bit, bits = WCHK_SIZES * 17 + 5 + 25;
    for (bit = 0; bit < bits; bit++) {
        wchk other = *k;
        int part = bit / 17, at = bit - WCHK_SIZES * 17;
        unsigned long long most;
        if (part < WCHK_SIZES) other.sizes[part] ^= 1ul << bit % 17;
        else if (at < 5) other.flags ^= 1u << at;
        else other.vocab ^= 1ull << (at - 5);
        if (other.sizes[WCHK_BANDS] < 1 || other.sizes[WCHK_HEADS] < 1 ||
            other.sizes[WCHK_GROUPS] < 1)
            continue;
        most = wchk_count(&other, other.flags);
        if (most == wchk_count(k, k->flags) && other.vocab == k->vocab) continue; /* as it is */
        if (most <= k->count && wchk_sized_by(&other, other.vocab, k->count - most)) return 1;
    }
    return 0;
}

/* 1 if the head is as long for any other vocabulary. */
static int wchk_symbols_unsaid(const wchk *k, unsigned long long rest)
{
    return !k->references && !wchk_sized_by(k, k->vocab, rest);
}

static int wchk_rank_unsaid(const wchk *k)
{
    return k->head == WCOH_HEAD_LOW_RANK && wchk_one_bit_off(k);
}

/* What no length confirms must be told: such a vocabulary, and the rank of a head that may be another's
   with a bit turned. */
static void wchk_doubt(const wchk *k, unsigned long long rest, const wchk_told *told)
{
    const char *path = k->params.path;
    if (told->symbols > 0 && (unsigned long long)told->symbols != k->vocab)
        fail(EXIT_FAILED, "%s: its head says %.0f symbols, --symbols %.0f", path, (double)k->vocab,
             (double)told->symbols);
    if (told->rank > 0 && (unsigned long long)told->rank != k->rank)
        fail(EXIT_FAILED, "%s: its length makes a head of rank %.0f, --rank %.0f", path,
             (double)k->rank, (double)told->rank);
    if (!told->symbols && wchk_symbols_unsaid(k, rest))
        fail(EXIT_FAILED,
             "%s: it says %.0f symbols, and no length in it depends on that: --symbols %.0f, or "
             "--text, confirms them",
             path, (double)k->vocab, (double)k->vocab);
    if (!told->rank && wchk_rank_unsaid(k))
        fail(EXIT_FAILED,
             "%s: its length makes a head of rank %.0f, but another with one bit turned: --rank "
             "%.0f confirms it",
             path, (double)k->rank, (double)k->rank);
}

/* What the head is goes by the number of its parameters. */
static void wchk_rest(wchk *k, const wchk_told *told)
{
    unsigned long long most = wchk_count(k, k->flags), rest;
    if (most > k->count)
        fail(EXIT_FAILED, "%s: it has %.0f parameters, its sizes want %.0f and a head",
             k->params.path, (double)k->count, (double)most);
    rest = k->count - most;
    if (wchk_head(k, rest)) {
        wchk_doubt(k, rest, told);
        return;
    }
    fail(EXIT_FAILED, "%s: %.0f parameters are left for a head of %.0f symbols: none has as many",
         k->params.path, (double)rest, (double)k->vocab);
}

static void wchk_sizes(wchk *k, reader *in)
{
    int i;
    for (i = 0; i < WCHK_SIZES; i++) {
        unsigned long least = i == WCHK_STEPS ? 0 : 1;
        k->sizes[i] = i == WCHK_GROUPS && k->version == 1 ? 1 : (unsigned long)read_whole(in, 4);
        if (k->sizes[i] < least || k->sizes[i] > KCHK_SIZE_MOST)
            fail(EXIT_FAILED, "%s: %s is %lu, allowed are %lu to %d", in->path, wchk_size_names[i],
                 k->sizes[i], least, KCHK_SIZE_MOST);
    }
    for (i = 0; i < 2; i++) {
        int part = i ? WCHK_GROUPS : WCHK_HEADS;
        if (2 * k->sizes[WCHK_BANDS] % k->sizes[part])
            fail(EXIT_FAILED, "%s: %lu %s do not divide a width of %lu", in->path, k->sizes[part],
                 wchk_size_names[part], 2 * k->sizes[WCHK_BANDS]);
    }
}

static wchk wchk_open(const char *path, const char *bytes, size_t size, const wchk_told *told)
{
    reader in = reader_of(path, bytes, size);
    wchk k;
    memset(&k, 0, sizeof k);
    in.at += 4;
    k.version = (unsigned)read_whole(&in, 4);
    if (k.version < 1 || k.version > 4)
        fail(EXIT_FAILED, "%s: WCHK of version %u: 1 to 4 are known", path, k.version);
    wchk_sizes(&k, &in);
    if (k.version >= 3) k.flags = (unsigned)read_whole(&in, 4);
    if (k.flags >= WCHK_FLAGS)
        fail(EXIT_FAILED, "%s: its flags are %u: 0 to 31 are known", path, k.flags);
    if (k.version >= 4) k.mixing = (double)read_finite(&in, "chi");
    if (fabs(k.mixing) > 50)
        fail(EXIT_FAILED, "%s: chi is %g, at most 50 is known", path, k.mixing);
    if (k.sizes[WCHK_BANDS] < WCHK_MIXED) k.mixing = 0;
    k.run = read_progress(&in, &k.vocab);
    k.sure = told->flags >= 0;
    if (k.sure && k.version > 2 && (unsigned)told->flags != k.flags)
        fail(EXIT_FAILED, "%s: it says flags %u, --flags %u", path, k.flags, (unsigned)told->flags);
    k.count = (unsigned long long)(in.end - in.at) / 12;
    if ((in.end - in.at) % 12)
        fail(EXIT_FAILED, "%s: %.0f bytes are no three lists of floats: it is cut short", path,
             (double)(in.end - in.at));
    k.moments[0] = k.moments[1] = in;
    k.moments[1].at += 4 * k.count;
    in.at += 8 * k.count;
    k.params = in;
    if (k.version < 3) wchk_flags(&k, told);
    wchk_rest(&k, told);
    return k;
}

/* ---- the flat list --------------------------------------------------------------------------- */

/* One walk over the list reads it into a model, or writes it. */
typedef struct wchk_flow {
    const wcoh_model *model;
    reader *in;     /* or */
    bytes_out *out; /* one of them */
    const wchk *of;
    int moments; /* 1, 2: it is the list of m, of v; zeros of what is not trained here */
} wchk_flow;

/* The tensor "blocks.l.name" (l < 0: "name"). */
static wcoh_param wchk_param(const wcoh_model *model, int l, const char *name)
{
    char full[64];
    wcoh_param param;
    wcoh_error error;
    snprintf(full, sizeof full, "blocks.%d.%s", l, name);
    if (l < 0) snprintf(full, sizeof full, "%s", name);
    must(wcoh_model_param(model, wcoh_model_param_find(model, full), &param, &error), full, &error);
    return param;
}

/* `count` numbers of the tensor from `first` on; count 0: all. */
static void wchk_some(wchk_flow *f, int l, const char *name, size_t first, size_t count)
{
    wcoh_param param = wchk_param(f->model, l, name);
    size_t i, end = count ? first + count : param.count;
    for (i = first; i < end; i++)
        if (f->in) param.data[i] = read_finite(f->in, param.name);
        else put_float(f->out, (float)param.data[i]);
}

static void wchk_all(wchk_flow *f, int l, const char *name) { wchk_some(f, l, name, 0, 0); }

/* A norm that the engine keeps and never uses: no step moves its zeros. Where a file without lengths was
   cut, lists begin elsewhere, and others stand there. */
static void wchk_dead(wchk_flow *f, int width)
{
    int i;
    for (i = 0; i < 2 * width; i++) {
        int zero = i >= width || f->moments;
        if (!f->in) put_float(f->out, zero ? 0.0f : 1.0f);
        else if (fabsf(read_finite(f->in, "ln_ffn")) > 0 && zero && !f->of->sure)
            fail(
                EXIT_FAILED,
                "%s: ln_ffn, which the engine never trains, is not 0: it is cut short, or has more "
                "in it than its length told (--flags %u: that is what is in it)",
                f->in->path, f->of->flags);
    }
}

/* A harmonic number, of which the file has softplus^-1. */
static void wchk_harmonic(wchk_flow *f, int l, int head)
{
    wcoh_param param = wchk_param(f->model, l, "attn.harmonic");
    double raw;
    if (f->moments) {
        if (f->in) read_finite(f->in, param.name);
        else put_float(f->out, 0);
    } else if (f->in) {
        raw = (double)read_finite(f->in, param.name);
        param.data[head] = (wcoh_real)(raw > 20 ? raw : log1p(exp(raw)));
    } else {
        raw = (double)param.data[head];
        if (!(raw > 0))
            fail(EXIT_FAILED, "%s: number %d is %g: wave-engine's are above 0", param.name, head,
                 raw);
        put_float(f->out, (float)(raw > 20 ? raw : log(expm1(raw))));
    }
}

/* Weights of Runge and Kutta's four slopes. Where the solver is another they must be as at the start. */
static void wchk_slopes(wchk_flow *f, int l)
{
    int i;
    if (wcoh_model_get_desc(f->model)->rk4_weights == WCOH_SWITCH_ON) {
        wchk_all(f, l, "ffn.kerr.weights");
        return;
    }
    for (i = 0; i < 4; i++) {
        double weight = (double)read_finite(f->in, "a weight of RK4");
        if (!f->moments && !(fabs(weight - (i == 0 || i == 3 ? 1 : 2) / 6.0) <= 1e-6))
            fail(EXIT_FAILED, "%s: its RK4 has learnt weights, and %s", f->in->path,
                 wcoh_model_get_desc(f->model)->mixing > 0
                     ? "mixes four waves: a wavecoh network splits those from the closed form"
                     : "one step, which is solved to first order here");
    }
}

static void wchk_attention(wchk_flow *f, int l)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(f->model);
    size_t d = 2 * (size_t)desc->bands, heads = (size_t)desc->heads, e = d / heads, h;
    for (h = 0; h < heads; h++) {
        wchk_some(f, l, "attn.phasor.weight", 2 * d * h, 2 * d);
        wchk_some(f, l, "attn.phasor.bias", 2 * h, 2);
        wchk_some(f, l, "attn.value.weight", e * e * h, e * e);
        wchk_some(f, l, "attn.value.bias", e * h, e);
        if (!(f->of->flags & WCHK_HARMONICS)) wchk_harmonic(f, l, (int)h);
    }
    wchk_all(f, l, "attn.out.weight");
    wchk_all(f, l, "attn.out.bias");
}

static void wchk_oscillators(wchk_flow *f, int l)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(f->model);
    int i;
    wchk_all(f, l, "ffn.kerr.gamma_raw");
    wchk_all(f, l, "ffn.kerr.alpha");
    wchk_all(f, l, "ffn.kerr.beta");
    if (desc->corrector == WCOH_SWITCH_ON) wchk_all(f, l, "ffn.corrector");
    else
        for (i = 0; i < desc->bands; i++) put_float(f->out, 0);
}

static void wchk_layer(wchk_flow *f, int l)
{
    static const char *const maestros[] = {
        "ffn.maestro_in.squeeze.weight",  "ffn.maestro_in.squeeze.bias",
        "ffn.maestro_in.expand.weight",   "ffn.maestro_in.expand.bias",
        "ffn.maestro_out.squeeze.weight", "ffn.maestro_out.squeeze.bias",
        "ffn.maestro_out.expand.weight",  "ffn.maestro_out.expand.bias"};
    const wcoh_model_desc *desc = wcoh_model_get_desc(f->model);
    size_t d = 2 * (size_t)desc->bands, size = d / (size_t)desc->groups, g, i;
    wchk_all(f, l, "norm1.weight");
    wchk_all(f, l, "norm1.bias");
    wchk_dead(f, (int)d);
    for (i = 0; i < sizeof maestros / sizeof *maestros; i++) wchk_all(f, l, maestros[i]);
    for (g = 0; g < (size_t)desc->groups; g++) {
        wchk_some(f, l, "ffn.out.weight", size * size * g, size * size);
        wchk_some(f, l, "ffn.out.bias", size * g, size);
    }
    if (f->of->flags & WCHK_ODE) wchk_oscillators(f, l);
    if (f->of->flags & WCHK_RK4) wchk_slopes(f, l);
    for (i = 0; f->of->flags & WCHK_HARMONICS && i < (size_t)desc->heads; i++)
        wchk_harmonic(f, l, (int)i);
    if (f->of->flags & WCHK_ATTENTION) wchk_attention(f, l);
}

/* The scale of block l, which stands behind all blocks. */
static double wchk_scale_of(const wchk *k, int l)
{
    reader in = k->params;
    in.at += 4 * (wchk_count(k, k->flags) - 4 * k->sizes[WCHK_BANDS] - k->sizes[WCHK_LAYERS] +
                  (unsigned)l);
    return (double)read_finite(&in, "a layer's scale");
}

/* A block adds s times its branches: s goes into their last layers W, s W in place of W. The gradient
   of s W is that of W over s, and so are the means of gradients; those of s itself have no place. */
static void wchk_scale(wchk_flow *f, int l)
{
    static const char *const last[] = {"attn.out.weight", "attn.out.bias", "ffn.out.weight",
                                       "ffn.out.bias"};
    double scale = wchk_scale_of(f->of, l);
    size_t p, i;
    read_finite(f->in, "a layer's scale"); /* passes by */
    if (f->moments && !(fabs(scale) >= 1e-6))
        fail(EXIT_FAILED, "%s: the scale of block %d is %g: moments over that are none",
             f->in->path, l, scale);
    if (f->moments) scale = f->moments == 1 ? 1 / scale : 1 / (scale * scale);
    for (p = 0; p < sizeof last / sizeof *last; p++) {
        wcoh_param param = wchk_param(f->model, l, last[p]);
        for (i = 0; i < param.count; i++)
            param.data[i] = (wcoh_real)(scale * (double)param.data[i]);
    }
}

static void wchk_walk(wchk_flow *f)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(f->model);
    int l;
    for (l = 0; l < desc->layers; l++) wchk_layer(f, l);
    for (l = 0; f->of->flags & WCHK_SCALES && l < desc->layers; l++) wchk_scale(f, l);
    wchk_all(f, -1, "norm_f.weight");
    wchk_all(f, -1, "norm_f.bias");
    if (desc->head == WCOH_HEAD_DENSE) wchk_all(f, -1, "head.weight");
    if (desc->head == WCOH_HEAD_TIED) wchk_all(f, -1, "head.scale");
    if (desc->head == WCOH_HEAD_LOW_RANK) {
        wchk_all(f, -1, "head.down.weight");
        wchk_all(f, -1, "head.up.weight");
    }
    if (desc->head == WCOH_HEAD_PHASE_NATIVE && f->of->angles) wchk_all(f, -1, "head.corrector");
    if (desc->head == WCOH_HEAD_WAVE_DECODE) {
        wchk_all(f, -1, "head.bands");
        wchk_all(f, -1, "head.scale");
        if (desc->reference_trained == WCOH_SWITCH_ON) wchk_all(f, -1, "head.phases");
    }
}

/* ---- what the file leaves out ---------------------------------------------------------------- */

/* xorshift64, 13 7 17; a float from its upper 24 bits. */
static float wchk_uniform(unsigned long long *state, float limit)
{
    *state ^= *state << 13 & 0xffffffffffffffffull;
    *state ^= *state >> 7;
    *state ^= *state << 17 & 0xffffffffffffffffull;
    return (2.0f * ((float)(*state >> 40) / 16777216.0f) - 1.0f) * limit;
}

static void wchk_draw(const wcoh_model *model, int l, const char *name, size_t first, size_t count,
                      size_t fan_in, unsigned long long *state)
{
    wcoh_param param = wchk_param(model, l, name);
    float limit = 1.0f / sqrtf((float)fan_in);
    size_t i;
    for (i = 0; i < count; i++) param.data[first + i] = wchk_uniform(state, limit);
}

/* Attention that was never trained, in the order in which the engine draws; its biases are 0. The
   CPU tier draws the other weights too, one block after the other. */
static void wchk_frozen(const wcoh_model *model, const wchk *k, int tier)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(model);
    size_t d = 2 * (size_t)desc->bands, heads = (size_t)desc->heads, e = d / heads, h, skip;
    static const char *const biases[] = {"attn.phasor.bias", "attn.value.bias", "attn.out.bias"};
    unsigned long long state = 42;
    int l, i;
    for (l = 0; l < desc->layers; l++) {
        for (i = 0; i < 3; i++) {
            wcoh_param bias = wchk_param(model, l, biases[i]);
            memset(bias.data, 0, bias.count * sizeof *bias.data);
        }
        for (h = 0; h < heads; h++) {
            wchk_draw(model, l, "attn.phasor.weight", 2 * d * h, 2 * d, d, &state);
            wchk_draw(model, l, "attn.value.weight", e * e * h, e * e, e, &state);
            skip = tier == WCHK_CPU && k->flags & WCHK_ODE ? 16 * d : 0; /* of the content bias */
            while (skip-- > 0) wchk_uniform(&state, 1);
        }
        wchk_draw(model, l, "attn.out.weight", 0, d * d, d, &state);
        skip =
            tier == WCHK_CPU ? 4 * d * k->sizes[WCHK_MAESTRO] + d * (d / k->sizes[WCHK_GROUPS]) : 0;
        while (skip-- > 0) wchk_uniform(&state, 1);
    }
}

/* The engine's table of several circles: half of the bands each, an odd one is 0. Pythagorean: band n
   of a circle is 1/sqrt(n) as large, and a row's energy is as before. */
static void wchk_circles(const wcoh_model *model, const wchk_told *told)
{
    const double pi = 3.14159265358979323846;
    const wcoh_model_desc *desc = wcoh_model_get_desc(model);
    wcoh_param table = wchk_param(model, -1, "embed.weight");
    int half = desc->bands / 2, pythagorean = told->embedding == WCHK_PYTHAGOREAN, v, i;
    double energy = 0, scale;
    for (i = 0; i < half; i++) energy += 2 * (pythagorean ? 1.0 / (i + 1) : 1.0);
    scale = energy > 0 && pythagorean ? sqrt(desc->bands / energy) : 1;
    for (v = 0; v < desc->vocab; v++)
        for (i = 0; i < desc->bands; i++) {
            wcoh_real *z = table.data + 2 * ((size_t)v * (size_t)desc->bands + (size_t)i);
            int modulus = i < half ? desc->modulus1 : desc->modulus2, n = i % (half ? half : 1) + 1;
            double angle = 2 * pi * (double)((long long)n * (v % modulus) % modulus) / modulus;
            double amplitude = i >= 2 * half ? 0 : pythagorean ? scale / sqrt(n) : 1;
            z[0] = (wcoh_real)(amplitude > 0 ? amplitude * cos(angle)
                                             : 0); /* no -0: its phase is pi */
            z[1] = (wcoh_real)(amplitude > 0 ? amplitude * sin(angle) : 0);
        }
}

/* Reference phases that were never trained are those of the table. */
static void wchk_references(const wcoh_model *model)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(model);
    wcoh_param table, phases;
    size_t i;
    if (desc->head != WCOH_HEAD_WAVE_DECODE || desc->reference_trained == WCOH_SWITCH_ON) return;
    table = wchk_param(model, -1, "embed.weight");
    phases = wchk_param(model, -1, "head.phases");
    for (i = 0; i < phases.count; i++)
        phases.data[i] = (wcoh_real)atan2((double)table.data[2 * i + 1], (double)table.data[2 * i]);
}

/* ---- from WCHK ------------------------------------------------------------------------------- */

/* The engine has every quartet in two families and so adds it twice: chi is 2 chi here. Its RK4 of all
   becomes the closed form and mixing in turn, 16 times. */
static void wchk_mix(const wchk *k, wcoh_model_desc *desc)
{
    if (k->mixing == 0) return;
    desc->solver = WCOH_SOLVER_EXACT;
    desc->splits = WCHK_SPLITS;
    desc->mixing = fmax(1e-6, fabs(2 * k->mixing));
}

static void wchk_mixing(const wcoh_model *model, const wchk *k)
{
    int l;
    for (l = 0; k->mixing != 0 && l < wcoh_model_get_desc(model)->layers; l++)
        *wchk_param(model, l, "ffn.kerr.chi").data = (wcoh_real)(2 * k->mixing);
}

static wcoh_model_desc wchk_desc(const wchk *k, const wchk_told *told)
{
    wcoh_model_desc desc = wcoh_model_preset(WCOH_PRESET_WAVE_ENGINE, (int)k->vocab);
    int trained = (k->flags & WCHK_ODE) != 0;
    desc.bands = (int)k->sizes[WCHK_BANDS];
    desc.heads = (int)k->sizes[WCHK_HEADS];
    desc.layers = (int)k->sizes[WCHK_LAYERS];
    desc.maestro = (int)k->sizes[WCHK_MAESTRO];
    desc.context = (int)k->sizes[WCHK_BLOCK];
    desc.groups = (int)k->sizes[WCHK_GROUPS];
    desc.solver = k->sizes[WCHK_STEPS] > 1 ? WCOH_SOLVER_RK4 : WCOH_SOLVER_PERTURBATIVE;
    desc.rk4_steps = k->sizes[WCHK_STEPS] > 1 ? (int)k->sizes[WCHK_STEPS] : 0;
    if (k->flags & WCHK_RK4 && k->sizes[WCHK_STEPS] > 1 && k->mixing == 0)
        desc.rk4_weights = WCOH_SWITCH_ON;
    desc.alpha = told->alpha != 0 ? told->alpha : 0.1;
    desc.beta = told->beta != 0 ? told->beta : k->version > 2 ? 0.2 : 0.1;
    desc.limiter = told->ceiling < 0 ? WCOH_SWITCH_OFF : WCOH_SWITCH_ON;
    desc.ceiling = told->ceiling > 0
                       ? told->ceiling
                       : fmax(0.5, sqrt(1.57079632679 / (desc.alpha + 4 * desc.beta)));
    if (told->control) desc.gain_control = WCOH_SWITCH_ON; /* it begins to see anew, as there */
    desc.kerr_trained = desc.corrector = trained ? WCOH_SWITCH_ON : WCOH_SWITCH_OFF;
    wchk_mix(k, &desc);
    desc.head = k->head;
    desc.head_rank = (int)k->rank;
    desc.reference_trained = k->references ? WCOH_SWITCH_ON : WCOH_SWITCH_OFF;
    if (k->head == WCOH_HEAD_PHASE_NATIVE) desc.head_scale = told->scale;
    if (told->embedding != WCHK_HARMONIC) {
        desc.embedding = WCOH_EMBEDDING_CIRCLES;
        desc.circles = 2;
        desc.modulus1 = (int)told->moduli[0];
        desc.modulus2 = (int)told->moduli[1];
    }
    return desc;
}

/* The file's numbers from `in` on, parameters or moments, into a model's. */
static void wchk_take(const wchk *k, wcoh_model *model, reader in, int moments)
{
    wchk_flow flow;
    flow.model = model;
    flow.in = &in;
    flow.out = NULL;
    flow.of = k;
    flow.moments = moments;
    wchk_walk(&flow);
}

/* The network of the file; its symbols are those of `letters`, which may be NULL. */
static wcoh_model *wchk_model(const char *path, const wchk *k, const wchk_told *told,
                              const wcoh_tokenizer *letters)
{
    wcoh_model_desc desc = wchk_desc(k, told);
    wcoh_model *model = NULL;
    wcoh_error error;
    if (2.0 * desc.bands * ((double)desc.vocab + desc.context) > 4e8)
        fail(EXIT_FAILED, "%s: tables of %d symbols and %d positions are too large", path,
             desc.vocab, desc.context);
    desc.tokenizer = letters;
    must(wcoh_model_create(&model, &desc, &error), path, &error);
    if (!(k->flags & WCHK_ATTENTION)) wchk_frozen(model, k, told->tier);
    wchk_take(k, model, k->params, 0);
    wchk_mixing(model, k);
    if (told->embedding != WCHK_HARMONIC) wchk_circles(model, told);
    wchk_references(model);
    wcoh_model_touch(model);
    return model;
}

/* Its run, with its moments. */
static progress wchk_run(const wchk *k, const wcoh_model *model)
{
    progress run = k->run;
    int i;
    for (i = 0; i < 2; i++) {
        run.moments[i] = moments_new(model);
        wchk_take(k, run.moments[i], k->moments[i], 1 + i);
    }
    return run;
}

/* ---- to WCHK --------------------------------------------------------------------------------- */

static int wchk_is_one_of(const wcoh_param *param, const wcoh_param *wanted)
{
    size_t i;
    for (i = 0; i < param->count; i++)
        if (!(fabs((double)param->data[i] - (double)wanted->data[i]) <= 1e-5)) return 0;
    return 1;
}

/* 1 if a tensor that has no place in the file is as the engine makes it; told->embedding becomes which of
   its tables of circles it is. */
static int wchk_is_made(const wcoh_model *model, const wcoh_model *fresh, int l, const char *name,
                        wchk_told *told)
{
    wcoh_param own = wchk_param(model, l, name), wanted = wchk_param(fresh, l, name);
    int form;
    if (strcmp(name, "embed.weight") != 0) return wchk_is_one_of(&own, &wanted);
    told->embedding = WCHK_HARMONIC;
    if (wcoh_model_get_desc(model)->embedding != WCOH_EMBEDDING_CIRCLES)
        return wchk_is_one_of(&own, &wanted);
    for (form = WCHK_CIRCLES; form < WCHK_HARMONIC; form++) {
        told->embedding = form;
        wchk_circles(fresh, told);
        if (wchk_is_one_of(&own, &wanted)) return 1;
    }
    return 0;
}

/* Tables and frequencies must be those that the engine makes. */
static void wchk_must_make(const char *path, const wcoh_model *model, wchk_told *told)
{
    static const char *const made[] = {"embed.weight", "position.weight", "ffn.kerr.omega"};
    wcoh_model_desc desc = *wcoh_model_get_desc(model);
    wcoh_model *fresh = NULL;
    wcoh_error error;
    int i, l;
    must(wcoh_model_create(&fresh, &desc, &error), path, &error);
    for (i = 0; i < 3; i++)
        for (l = i < 2 ? -1 : 0; l < (i < 2 ? 0 : desc.layers); l++)
            if (!wchk_is_made(model, fresh, l, made[i], told))
                fail(EXIT_FAILED, "%s: %s is not wave-engine's: the file has no place for another",
                     path, wchk_param(model, l, made[i]).name);
    wcoh_model_destroy(fresh);
}

static void wchk_must_be(const char *path, const wcoh_model *model, wchk_told *told)
{
    const wcoh_model_desc *own = wcoh_model_get_desc(model);
    wcoh_model_desc wanted = wcoh_model_preset(WCOH_PRESET_WAVE_ENGINE, own->vocab);
    wanted.circles = own->circles;
    wanted.head = own->head;
    wanted.reference_trained = own->reference_trained;
    if (own->embedding == WCOH_EMBEDDING_CIRCLES) {
        wanted.embedding = WCOH_EMBEDDING_CIRCLES;
        wanted.circles = 2;
    }
    if (own->solver == WCOH_SOLVER_RK4 && own->rk4_steps > 1) wanted.solver = WCOH_SOLVER_RK4;
    if (own->mixing > 0) { /* the engine's RK4 of all is this here: wchk_mix */
        wanted.solver = WCOH_SOLVER_EXACT;
        wanted.splits = WCHK_SPLITS;
        wanted.mixing = own->mixing;
    }
    settings_must_equal(
        path, own, &wanted, "wave-engine",
        "seed init bands heads layers maestro context groups rk4_steps rk4_weights limiter "
        "ceiling gain_control gamma alpha beta kerr_trained corrector head_rank head_scale hidden "
        "modulus1 "
        "modulus2 modulus3 modulus4");
    wchk_must_make(path, model, told);
}

static unsigned long long wchk_head_count(const wchk *k)
{
    unsigned long long bands = k->sizes[WCHK_BANDS];
    if (k->head == WCOH_HEAD_DENSE) return 2 * k->vocab * bands;
    if (k->head == WCOH_HEAD_TIED) return 1;
    if (k->head == WCOH_HEAD_LOW_RANK) return k->rank * (k->vocab + 2 * bands);
    if (k->head == WCOH_HEAD_PHASE_NATIVE) return k->angles ? bands : 0;
    return bands + 1 + (k->references ? k->vocab * bands : 0);
}

/* 1 if `model` has other numbers in a tensor of a block than another model. */
static int wchk_differs(const wcoh_model *model, const wcoh_model *other, const char *name)
{
    int l;
    for (l = 0; l < wcoh_model_get_desc(model)->layers; l++) {
        wcoh_param a = wchk_param(model, l, name), b = wchk_param(other, l, name);
        if (memcmp(a.data, b.data, a.count * sizeof *a.data) != 0) return 1;
    }
    return 0;
}

/* What of the model is not as the engine makes it by itself, and so must stand in the file: flags. Sets
   the tier whose attention it is. */
static unsigned wchk_needs(const char *path, const wcoh_model *model, wchk *k, wchk_told *told)
{
    static const char *const trained[] = {"ffn.kerr.gamma_raw", "ffn.kerr.alpha", "ffn.kerr.beta"};
    static const char *const drawn[] = {"attn.phasor.weight", "attn.phasor.bias",
                                        "attn.value.weight",  "attn.value.bias",
                                        "attn.out.weight",    "attn.out.bias"};
    wcoh_model_desc desc = *wcoh_model_get_desc(model);
    wcoh_model *fresh = NULL;
    wcoh_error error;
    int ode = desc.kerr_trained == WCOH_SWITCH_ON || desc.corrector == WCOH_SWITCH_ON ||
              desc.alpha <= 0 || desc.beta <= 0,
        tier, i, others = 1;
    desc.gamma = 0.1;
    memset(&desc.memory, 0, sizeof desc.memory);
    must(wcoh_model_create(&fresh, &desc, &error), path, &error);
    for (i = 0; i < 3; i++) ode |= wchk_differs(model, fresh, trained[i]);
    k->flags = (ode ? WCHK_ODE : 0) | (desc.rk4_weights == WCOH_SWITCH_ON ? WCHK_RK4 : 0);
    for (tier = WCHK_CPU; tier <= WCHK_CANDLE && others; tier++) {
        wchk_frozen(fresh, k, told->tier = tier);
        for (i = others = 0; i < 6; i++) others |= wchk_differs(model, fresh, drawn[i]);
    }
    if (others) k->flags |= WCHK_ATTENTION, told->tier = WCHK_CPU;
    else if (wchk_differs(model, fresh, "attn.harmonic")) k->flags |= WCHK_HARMONICS;
    wcoh_model_destroy(fresh);
    return k->flags;
}

/* chi of the file: half of ours, which all blocks must share. */
static double wchk_chi(const char *path, const wcoh_model *model)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(model);
    wcoh_real chi;
    int l;
    if (!(desc->mixing > 0)) return 0;
    if (desc->bands < WCHK_MIXED)
        fail(EXIT_FAILED, "%s: it mixes %d bands: wave-engine mixes from %d on", path, desc->bands,
             (int)WCHK_MIXED);
    chi = *wchk_param(model, 0, "ffn.kerr.chi").data;
    for (l = 1; l < desc->layers; l++)
        if (*wchk_param(model, l, "ffn.kerr.chi").data < chi ||
            *wchk_param(model, l, "ffn.kerr.chi").data > chi)
            fail(EXIT_FAILED, "%s: its blocks mix with %g and %g: WCHK has one number for all",
                 path, (double)chi, (double)*wchk_param(model, l, "ffn.kerr.chi").data);
    return (double)chi / 2;
}

/* The first version that holds the network, or the one that was asked for if it does. */
static unsigned wchk_version(const char *path, const wchk *k, unsigned asked)
{
    unsigned least = k->flags ? 3 : k->sizes[WCHK_GROUPS] > 1 ? 2 : 1;
    if (k->mixing > 0 || k->mixing < 0) least = 4;
    if (!asked) return least;
    if (asked < 4 && least == 4)
        fail(EXIT_FAILED, "%s: it mixes four waves: WCHK has a place for chi from version 4 on",
             path);
    if (asked < 3 && k->flags & WCHK_ATTENTION)
        fail(
            EXIT_FAILED,
            "%s: its attention is not what wave-engine draws: WCHK has a place for it from version "
            "3 on",
            path);
    if (asked < 2 && k->sizes[WCHK_GROUPS] > 1)
        fail(EXIT_FAILED, "%s: its groups are %lu: WCHK of version 1 has one", path,
             k->sizes[WCHK_GROUPS]);
    return asked;
}

/* What the file holds of the model, as wchk_open will see it. */
static wchk wchk_plan(const char *path, const wcoh_model *model, unsigned asked, wchk_told *told)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(model);
    wcoh_param angles;
    size_t i;
    wchk k, seen;
    memset(&k, 0, sizeof k);
    k.sizes[WCHK_BANDS] = (unsigned)desc->bands, k.sizes[WCHK_HEADS] = (unsigned)desc->heads;
    k.sizes[WCHK_LAYERS] = (unsigned)desc->layers, k.sizes[WCHK_MAESTRO] = (unsigned)desc->maestro;
    k.sizes[WCHK_BLOCK] = (unsigned)desc->context, k.sizes[WCHK_GROUPS] = (unsigned)desc->groups;
    k.mixing = wchk_chi(path, model);
    k.sizes[WCHK_STEPS] =
        desc->solver == WCOH_SOLVER_RK4 || desc->mixing > 0 ? (unsigned)desc->rk4_steps : 1;
    k.vocab = (unsigned)desc->vocab;
    k.head = desc->head;
    k.rank = desc->head == WCOH_HEAD_LOW_RANK ? (unsigned)desc->head_rank : 0;
    k.references = desc->head == WCOH_HEAD_WAVE_DECODE && desc->reference_trained == WCOH_SWITCH_ON;
    if (desc->head == WCOH_HEAD_PHASE_NATIVE) {
        angles = wchk_param(model, -1, "head.corrector");
        for (i = 0; i < angles.count; i++) k.angles |= angles.data[i] < 0 || angles.data[i] > 0;
    }
    wchk_needs(path, model, &k, told);
    k.version = wchk_version(path, &k, asked);
    k.count = wchk_count(&k, k.flags) + wchk_head_count(&k);
    seen = k;
    if (!wchk_head(&seen, wchk_head_count(&k)) || seen.head != k.head || seen.rank != k.rank)
        fail(EXIT_FAILED, "%s: its head is as long as one of another form: WCHK cannot say which",
             path);
    return k;
}

static void wchk_tell(char *text, size_t room, const char *word, double number)
{
    size_t used = strlen(text);
    snprintf(text + used, room - used, " --%s %.9g", word, number);
}

/* The options with which it is read as it was: what no file says, where it is not as `convert` takes it
   without. */
static void wchk_tell_all(const wcoh_model *model, const wchk *k, wchk_told *told, char *text,
                          size_t room)
{
    const wcoh_model_desc *own = wcoh_model_get_desc(model);
    unsigned found[2];
    wcoh_model_desc read;
    wcoh_error error;
    int flags = k->version < 3 ? wchk_flags_of(k, found) : 0;
    *text = 0;
    if (told->embedding != WCHK_CIRCLES)
        snprintf(text, room, " --embedding %s",
                 told->embedding == WCHK_HARMONIC ? "harmonic" : "pythagorean");
    if (told->tier == WCHK_CANDLE) strcat(text, " --tier candle");
    if (!(k->flags & WCHK_ODE)) {
        read = wchk_desc(k, told);
        if (fabs(own->alpha - read.alpha) > 1e-9)
            wchk_tell(text, room, "alpha", told->alpha = own->alpha);
        if (fabs(own->beta - read.beta) > 1e-9)
            wchk_tell(text, room, "beta", told->beta = own->beta);
    }
    read = wchk_desc(k, told);
    must(wcoh_model_desc_resolve(&read, &error), "WCHK", &error);
    if (own->limiter == WCOH_SWITCH_OFF) wchk_tell(text, room, "ceiling", -1);
    else if (fabs(own->ceiling - read.ceiling) > 1e-7 * own->ceiling)
        wchk_tell(text, room, "ceiling", own->ceiling);
    if (told->embedding != WCHK_HARMONIC &&
        (own->modulus1 != read.modulus1 || own->modulus2 != read.modulus2)) {
        wchk_tell(text, room, "m1", own->modulus1);
        wchk_tell(text, room, "m2", own->modulus2);
    }
    if (own->gain_control == WCOH_SWITCH_ON) strcat(text, " --gain-control");
    if (k->head == WCOH_HEAD_PHASE_NATIVE)
        wchk_tell(text, room, "head-scale", (double)*wchk_param(model, -1, "head.scale").data);
    if (wchk_symbols_unsaid(k, wchk_head_count(k)))
        wchk_tell(text, room, "symbols", (double)k->vocab);
    if (wchk_rank_unsaid(k)) wchk_tell(text, room, "rank", (double)k->rank);
    if (k->version < 3 && (flags > 1 || (flags ? found[0] : 0) != k->flags))
        wchk_tell(text, room, "flags", k->flags);
}

static void wchk_put_head(bytes_out *out, const wchk *k, const progress *run)
{
    int i;
    memcpy(out->bytes, "WCHK", 4);
    out->used = 4;
    put_whole(out, k->version, 4);
    for (i = 0; i < WCHK_SIZES; i++)
        if (i != WCHK_GROUPS || k->version > 1) put_whole(out, k->sizes[i], 4);
    if (k->version > 2) put_whole(out, k->flags, 4);
    if (k->version > 3) put_float(out, (float)k->mixing);
    put_whole(out, k->vocab, 8);
    put_whole(out, run->step, 8);
    put_float(out, (float)run->rate);
    put_whole(out, 1337, 8);
    put_whole(out, run->adam, 8);
}

/* The model as a file of `version`, 0: the first that holds it. *version becomes that; `options` are
   those with which the file is read as it was. */
static bytes_out wchk_write(const char *path, const wcoh_model *model, const progress *run,
                            unsigned *version, char *options, size_t room)
{
    bytes_out out;
    wchk_flow flow;
    wchk_told told;
    wchk k;
    int i;
    memset(&told, 0, sizeof told);
    wchk_must_be(path, model, &told);
    k = wchk_plan(path, model, *version, &told);
    *version = k.version;
    wchk_tell_all(model, &k, &told, options, room);
    out = bytes_for(3 * k.count);
    wchk_put_head(&out, &k, run);
    flow.of = &k;
    flow.in = NULL;
    flow.out = &out;
    for (i = 0; i < 3; i++) {
        flow.moments = i < 2 ? 1 + i : 0;
        flow.model = i < 2 ? run->moments[i] : model;
        if (flow.model) wchk_walk(&flow);
        else out.used += 4 * (size_t)k.count; /* zeros */
    }
    out.parameters = k.count;
    return out;
}

#endif

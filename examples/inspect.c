/* What is inside a trained model: attention and its waves, depth, symbols, weights; a report, and
   pictures with --plots. Every figure of attention stands beside that of uniform rows.

   cc -O2 examples/inspect.c -o inspect -lm -lpthread
   cc -O2 -DWAVECOH_PNG ...                       (PNG beside each SVG; Debian: libstb-dev)
   ./inspect model.safetensors text.txt --plots out
   ./inspect --maps maps.safetensors              (attention of any model, .npy too)
   ./inspect --weights any.safetensors            (every matrix of any file, .npy too; --draws 200:
                                                   does the order of its columns mean anything?
                                                   --mixed: the same of numbers at random places)

   Maps: a tensor [layers, heads, T, T], [layers, batch, heads, T, T] or [heads, T, T], or one such
   tensor a layer, in the order of their names ("layer.2" before "layer.10"). Maps that look ahead
   are measured whole, and it is said; --causal ignores what lies after the query.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"

#include "common.h"
#include "plot.h"
#include "statistics.h"
#include "vectors.h"

typedef struct request {
    const char *model, *text, *maps, *weights, *plots;
    long long tokens, from, threads, sequence, draws;
    choice unknown;
    int json, causal, mixed;
} request;

/* What was seen of one text in one model, or of maps from a file. */
typedef struct look {
    int layers, heads, tokens;
    wcoh_map_keys keys;
    double ahead;             /* share of the weight that lies after the query */
    wcoh_map_figures *maps;   /* [layers, heads] */
    wcoh_heads_figures *step; /* [layers] */
    double *centroids;        /* [heads, T] of the layer under way */
    double *alignment;        /* [layers, heads, heads] */
    double *telling;          /* [layers, T, T] the head that map_tells most of */
    int *telling_head;        /* [layers] */
    double *told;             /* [layers] map_tells of it, nats */
    const wcoh_model *model;  /* NULL for maps from a file */
    const uint32_t *text;
    double *lens_entropy, *lens_loss; /* [layers + 1] */
    int *choice;                      /* [layers + 1, T] the likeliest next symbol at each depth */
} look;

static void request_read(request *r, int argc, char **argv)
{
    const option options[] = {
        {"tokens", OPTION_WHOLE, &r->tokens, 2, 4096, "tokens of the text to look at"},
        {"from", OPTION_WHOLE, &r->from, 0, 9e15, "first byte of the text"},
        UNKNOWN_OPTION(&r->unknown),
        {"maps", OPTION_TEXT, &r->maps, 0, 0, "instead of a model: attention [layers,heads,T,T]"},
        {"sequence", OPTION_WHOLE, &r->sequence, 0, 9e15, "maps: which one of a batch"},
        {"causal", OPTION_FLAG, &r->causal, 0, 0, "maps: ignore keys after the query"},
        {"weights", OPTION_TEXT, &r->weights, 0, 0, "instead of a model: the matrices of a file"},
        {"draws", OPTION_WHOLE, &r->draws, 0, 1e4,
         "weights: orders of their columns to compare with"},
        {"mixed", OPTION_FLAG, &r->mixed, 0, 0,
         "weights: the control, each matrix with its numbers at random places"},
        THREADS_OPTION(&r->threads),
        {"plots", OPTION_TEXT, &r->plots, 0, 0, "write pictures whose names begin like this"},
        {"json", OPTION_FLAG, &r->json, 0, 0, "print JSON"},
    };
    command c;
    memset(&c, 0, sizeof c);
    c.usage = "MODEL TEXT [options] | --maps FILE | --weights FILE\nAttention, depth, waves and "
              "weights of a trained model.";
    c.options = options;
    c.option_count = (int)(sizeof options / sizeof options[0]);
    c.word_limit = 2;
    options_read(&c, argc, argv);
    r->model = c.words[0];
    r->text = c.words[1];
    if ((c.word_count > 0) + (r->maps != NULL) + (r->weights != NULL) > 1)
        fail(EXIT_USAGE, "a model and a text, --maps and --weights exclude each other");
    if (c.word_count < 2 && !r->maps && !r->weights)
        fail(EXIT_USAGE, "a model and a text are needed; --help explains");
    if (!r->maps) options_only(&c, argc, argv, "causal sequence", "--maps");
    if (!r->weights) options_only(&c, argc, argv, "draws mixed", "--weights");
    if (r->draws == 1) fail(EXIT_USAGE, "--draws is 1: a deviation takes 2 orders");
    if (r->maps || r->weights)
        options_only(&c, argc, argv, "tokens from unknown threads", "a model and a text");
}

static void look_open(look *k, int layers, int heads, int tokens)
{
    size_t l = (size_t)layers, h = (size_t)heads, t = (size_t)tokens;
    memset(k, 0, sizeof *k);
    k->layers = layers;
    k->heads = heads;
    k->tokens = tokens;
    k->maps = (wcoh_map_figures *)memory_of(count_of(l, h), sizeof *k->maps);
    k->step = (wcoh_heads_figures *)memory_of(l, sizeof *k->step);
    k->centroids = (double *)memory_of(count_of(h, t), sizeof(double));
    k->alignment = (double *)memory_of(count_of(l, count_of(h, h)), sizeof(double));
    k->telling = (double *)memory_of(count_of(l, count_of(t, t)), sizeof(double));
    k->telling_head = (int *)memory_of(l, sizeof(int));
    k->told = (double *)memory_of(l, sizeof(double));
    k->lens_entropy = (double *)memory_of(l + 1, sizeof(double));
    k->lens_loss = (double *)memory_of(l + 1, sizeof(double));
    k->choice = (int *)memory_of(count_of(l + 1, t), sizeof(int));
}

/* A map that looks at distances alone: query q gives key k the weight a[q] b[q - k + T - 1]. */
typedef struct distance_map {
    double *a, *rows;      /* [T] and what the weights of a query must sum to */
    double *b, *diagonals; /* [2T] and those of a distance */
    double *sums;          /* [2T] */
} distance_map;

static distance_map distance_open(int tokens)
{
    size_t t = (size_t)tokens;
    distance_map d;
    d.a = (double *)memory_of(count_of(8, t), sizeof(double));
    d.rows = d.a + t;
    d.b = d.rows + t;
    d.diagonals = d.b + 2 * t;
    d.sums = d.diagonals + 2 * t;
    return d;
}

static double factor_of(double mass, double others) { return mass > 0 ? mass / others : 0; }

/* One round of fitting a and b in turn (Deming and Stephan 1940); query q meets b[q .. q + T - 2]. */
static void distance_round(distance_map *d, int t)
{
    double sum;
    int q, j;
    for (sum = 0, j = t - 2; j >= 0; j--) d->sums[j] = sum += d->b[j];
    for (sum = 0, j = t - 1; j < 2 * t - 2; j++) d->sums[j] = sum += d->b[j];
    for (q = 0; q < t; q++)
        d->a[q] =
            factor_of(d->rows[q], (q < t - 1 ? d->sums[q] : 0) + (q > 0 ? d->sums[q + t - 2] : 0));
    for (sum = 0, q = 0; q < t - 1; q++) {
        sum += d->a[q];
        d->b[q] = factor_of(d->diagonals[q], sum);
    }
    for (sum = 0, q = t - 1; q > 0; q--) {
        sum += d->a[q];
        d->b[q + t - 2] = factor_of(d->diagonals[q + t - 2], sum);
    }
}

/* How much a map [T,T] tells, in nats a query: how far (Kullback and Leibler 1951) it is from the
   nearest map that looks at distances alone, key 0 left out. A token that listens to itself, to the
   ones before it, to the sink or to all alike tells nothing of the text, however sharp it is. */
static double map_tells(const float *map, int tokens, wcoh_map_keys keys)
{
    enum { ROUNDS = 500 };
    distance_map d = distance_open(tokens);
    int q, key, i, queries = keys == WCOH_MAP_CAUSAL ? tokens - 2 : tokens;
    double told = 0;
    for (q = 0; q < tokens; q++) {
        const float *row = map + (size_t)q * (size_t)tokens;
        int last = keys == WCOH_MAP_CAUSAL ? q : tokens - 1;
        double all = 0;
        for (key = 0; key <= last; key++) all += (double)row[key];
        for (key = 1; key <= last; key++) {
            double w = (double)row[key] / all;
            if (!(w > 0)) continue;
            told += w * log(w);
            d.rows[q] += w;
            d.diagonals[q - key + tokens - 1] += w;
        }
    }
    for (i = 0; i < 2 * tokens; i++) d.b[i] = d.diagonals[i] > 0;
    for (i = 0; i < ROUNDS; i++) distance_round(&d, tokens);
    for (q = 0; q < tokens; q++)
        if (d.rows[q] > 0) told -= d.rows[q] * log(d.a[q]);
    for (i = 0; i < 2 * tokens; i++)
        if (d.diagonals[i] > 0) told -= d.diagonals[i] * log(d.b[i]);
    free(d.a);
    return told > 0 && queries > 0 ? told / queries : 0; /* no rounding below 0 */
}

/* Maps [heads,T,T] of one layer. */
static void look_maps(look *k, int layer, const float *maps, const char *about)
{
    size_t square = (size_t)k->tokens * (size_t)k->tokens, i;
    wcoh_map_figures *figures = k->maps + (size_t)layer * (size_t)k->heads;
    wcoh_error error;
    int head, best = 0;
    double told, most = -1;
    for (head = 0; head < k->heads; head++) {
        must(wcoh_map_measure(&figures[head], maps + (size_t)head * square, k->tokens, k->keys,
                              NULL, k->centroids + (size_t)head * (size_t)k->tokens, &error),
             about, &error);
        told = map_tells(maps + (size_t)head * square, k->tokens, k->keys);
        if (told > most) most = told, best = head;
    }
    k->telling_head[layer] = best;
    k->told[layer] = most;
    for (i = 0; i < square; i++)
        k->telling[(size_t)layer * square + i] = (double)maps[(size_t)best * square + i];
    k->step[layer] =
        wcoh_heads_measure(k->centroids, k->heads, k->tokens,
                           k->alignment + (size_t)layer * (size_t)k->heads * (size_t)k->heads);
}

/* ---- the logit lens: what each depth would say, final norm applied once ------------------- */

static const wcoh_real *param_data(const wcoh_model *model, const char *name, int *rows_of)
{
    wcoh_param p;
    if (wcoh_model_param(model, wcoh_model_param_find(model, name), &p, NULL) < 0) return NULL;
    if (rows_of) *rows_of = p.shape[0];
    return p.data;
}

/* y [rows] = w [rows,columns] x */
static void times(const wcoh_real *w, const double *x, int rows_of, int columns, double *y)
{
    int r, c;
    for (r = 0; r < rows_of; r++)
        for (y[r] = 0, c = 0; c < columns; c++)
            y[r] += (double)w[(size_t)r * (size_t)columns + (size_t)c] * x[c];
}

/* Bands of x [K complex] turned by the angles of the phase_native head. */
static void turn(const wcoh_real *angle, double *x, int bands)
{
    int k;
    for (k = 0; k < bands; k++) {
        double c = cos((double)angle[k]), s = sin((double)angle[k]), r = x[2 * k];
        x[2 * k] = c * r - s * x[2 * k + 1];
        x[2 * k + 1] = s * r + c * x[2 * k + 1];
    }
}

/* y [V] = sum over k of w_k (r_k cos + s_k sin) of the reference phases of the wave_decode head */
static void decode(const wcoh_model *model, const double *x, double *y)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(model);
    const wcoh_real *phase = param_data(model, "head.phases", NULL);
    const wcoh_real *band = param_data(model, "head.bands", NULL);
    int v, k;
    for (v = 0; v < desc->vocab; v++)
        for (y[v] = 0, k = 0; k < desc->bands; k++, phase++)
            y[v] += (double)band[k] *
                    (x[2 * k] * cos((double)*phase) + x[2 * k + 1] * sin((double)*phase));
}

/* Logits [V] of a row h [D] of the residual stream. room [D + V + rank]. */
static void lens_logits(const wcoh_model *model, const wcoh_real *h, double *room, double *logits)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(model);
    const wcoh_real *weight = param_data(model, "norm_f.weight", NULL);
    const wcoh_real *bias = param_data(model, "norm_f.bias", NULL), *scale;
    int width = 2 * desc->bands, i, rank;
    double mean = 0, variance = 0, *low = room + width;
    for (i = 0; bias && i < width; i++) mean += (double)h[i] / width; /* an RMS norm has neither */
    for (i = 0; i < width; i++) variance += ((double)h[i] - mean) * ((double)h[i] - mean) / width;
    for (i = 0; i < width; i++)
        room[i] = ((double)h[i] - mean) / sqrt(variance + 1e-5) * (double)weight[i] +
                  (bias ? (double)bias[i] : 0);
    if (desc->head == WCOH_HEAD_LOW_RANK) {
        const wcoh_real *down = param_data(model, "head.down.weight", &rank);
        times(down, room, rank, width, low);
        times(param_data(model, "head.up.weight", NULL), low, desc->vocab, rank, logits);
        return;
    }
    scale = param_data(model, "head.scale", NULL);
    if (desc->head == WCOH_HEAD_PHASE_NATIVE)
        turn(param_data(model, "head.corrector", NULL), room, desc->bands);
    if (desc->head == WCOH_HEAD_WAVE_DECODE) decode(model, room, logits);
    else
        times(param_data(model, scale ? "embed.weight" : "head.weight", NULL), room, desc->vocab,
              width, logits);
    for (i = 0; scale && i < desc->vocab; i++) logits[i] *= (double)scale[0];
}

static void look_lens(look *k, int layer, const wcoh_real *hidden)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(k->model);
    int vocab = desc->vocab, width = 2 * desc->bands, t, v;
    double *room = (double *)memory_of((size_t)(width + vocab + desc->head_rank), sizeof(double));
    double *logits = (double *)memory_of((size_t)vocab, sizeof(double));
    for (t = 0; t < k->tokens; t++) {
        double sum = 0, entropy = 0;
        int best = 0;
        lens_logits(k->model, hidden + (size_t)t * (size_t)width, room, logits);
        for (v = 1; v < vocab; v++)
            if (logits[v] > logits[best]) best = v;
        for (v = 0; v < vocab; v++) sum += exp(logits[v] - logits[best]);
        for (v = 0; v < vocab; v++) {
            double p = exp(logits[v] - logits[best]) / sum;
            if (p > 0) entropy -= p * log(p);
        }
        k->lens_entropy[layer] += entropy / k->tokens;
        if (t + 1 < k->tokens)
            k->lens_loss[layer] +=
                (log(sum) + logits[best] - logits[k->text[t + 1]]) / (k->tokens - 1);
        k->choice[(size_t)layer * (size_t)k->tokens + (size_t)t] = best;
    }
    free(room);
    free(logits);
}

/* Share of tokens whose likeliest symbol at that depth is already the final one. */
static double lens_agreement(const look *k, int layer)
{
    int t, same = 0;
    for (t = 0; t < k->tokens; t++)
        same += k->choice[layer * k->tokens + t] == k->choice[k->layers * k->tokens + t];
    return (double)same / k->tokens;
}

static void look_layer(int layer, const wcoh_real *hidden, const float *maps, void *user)
{
    look *k = (look *)user;
    if (maps) look_maps(k, layer, maps, "attention");
    look_lens(k, layer, hidden);
}

/* ---- symbols: waves of the text, and how many fit into one vector ------------------------- */

typedef struct symbols {
    double interference, largest;    /* mean and largest |cosine| of two symbols' vectors */
    int compared;                    /* symbols that these are of */
    double zipf, zipf_fit;           /* frequency ~ rank^-zipf, and its r^2 */
    double superposed[6], random[6]; /* share read back of 1, 2, 4 .. 32 superposed symbols */
    double encoded;                  /* Zipf wave: correlation of true and read-back frequencies */
} symbols;

static double row_dot(const wcoh_real *a, const wcoh_real *b, int n)
{
    double sum = 0;
    int i;
    for (i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

/* Of a large vocabulary as many symbols as take seconds, evenly spaced: often ones come first. */
static void symbol_interference(symbols *s, const wcoh_real *table, int vocab, int width)
{
    enum { MOST = 2829 };
    int a, b, pairs = 0, count = s->compared = vocab < MOST ? vocab : MOST;
    for (a = 0; a < count; a++)
        for (b = a + 1; b < count; b++, pairs++) {
            const wcoh_real *x = table + (size_t)a * (size_t)vocab / (size_t)count * (size_t)width;
            const wcoh_real *y = table + (size_t)b * (size_t)vocab / (size_t)count * (size_t)width;
            double norm = sqrt(row_dot(x, x, width) * row_dot(y, y, width));
            double c = norm > 0 ? fabs(row_dot(x, y, width)) / norm : 0;
            s->interference += c;
            s->largest = c > s->largest ? c : s->largest;
        }
    if (pairs) s->interference /= pairs;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* The line through log frequency over log rank. */
static void symbol_zipf(symbols *s, const uint32_t *text, size_t count, int vocab)
{
    double *often = (double *)memory_of((size_t)vocab, sizeof(double));
    double n = 0, sx = 0, sy = 0, sxx = 0, sxy = 0, syy = 0;
    size_t i;
    int rank;
    for (i = 0; i < count; i++) often[text[i]]++;
    qsort(often, (size_t)vocab, sizeof *often, by_size);
    for (rank = 0; rank < vocab && often[rank] > 0; rank++) {
        double x = log(rank + 1.0), y = log(often[rank]);
        n++;
        sx += x;
        sy += y;
        sxx += x * x;
        sxy += x * y;
        syy += y * y;
    }
    if (n > 2 && n * syy > sy * sy) {
        double covariance = n * sxy - sx * sy, spread = n * sxx - sx * sx;
        s->zipf = -covariance / spread;
        s->zipf_fit = covariance * covariance / (spread * (n * syy - sy * sy));
    }
    free(often);
}

/* The whole text as one vector, every symbol's wave weighted by its frequency; how well inner
   products with the table give the frequencies back (correlation). */
static double zipf_wave(const wcoh_real *table, int vocab, int width, const uint32_t *text,
                        size_t count)
{
    double *often = (double *)memory_of((size_t)vocab, sizeof(double));
    double *wave = (double *)memory_of((size_t)width, sizeof(double));
    double *back = (double *)memory_of((size_t)vocab, sizeof(double));
    double x = 0, y = 0, xx = 0, xy = 0, yy = 0, spread;
    size_t n;
    int v, i;
    for (n = 0; n < count; n++) often[text[n]] += 1.0 / (double)count;
    for (v = 0; v < vocab; v++)
        for (i = 0; i < width; i++)
            wave[i] += often[v] * (double)table[(size_t)v * (size_t)width + (size_t)i];
    times(table, wave, vocab, width, back);
    for (v = 0; v < vocab; v++) {
        x += often[v];
        y += back[v];
        xx += often[v] * often[v];
        xy += often[v] * back[v];
        yy += back[v] * back[v];
    }
    spread = (xx - x * x / vocab) * (yy - y * y / vocab);
    free(often);
    free(wave);
    free(back);
    return spread > 0 ? (xy - x * y / vocab) / sqrt(spread) : 0;
}

/* Share of `many` superposed symbols that are among the `many` best inner products with their sum,
   over 50 random sets. */
static double superposition(const wcoh_real *table, int vocab, int width, int many)
{
    double *sum = (double *)memory_of((size_t)width, sizeof(double));
    double *match = (double *)memory_of((size_t)vocab, sizeof(double)), kept = 0;
    int *chosen = (int *)memory_of((size_t)vocab, sizeof(int)), trial, i, k, v;
    wcoh_rng rng = wcoh_rng_seed(7);
    for (trial = 0; trial < 50; trial++) {
        memset(sum, 0, (size_t)width * sizeof *sum);
        memset(chosen, 0, (size_t)vocab * sizeof *chosen);
        for (k = 0; k < many;) {
            v = (int)(wcoh_rng_next(&rng) % (uint64_t)vocab);
            if (chosen[v]) continue;
            chosen[v] = 1;
            k++;
            for (i = 0; i < width; i++)
                sum[i] += (double)table[(size_t)v * (size_t)width + (size_t)i];
        }
        times(table, sum, vocab, width, match);
        for (k = 0; k < many; k++) {
            int best = 0;
            for (v = 1; v < vocab; v++)
                if (match[v] > match[best]) best = v;
            kept += chosen[best];
            match[best] = -1e300;
        }
    }
    free(sum);
    free(match);
    free(chosen);
    return kept / 50 / many;
}

static symbols look_symbols(const wcoh_model *model, const uint32_t *text, size_t count)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(model);
    const wcoh_real *table = param_data(model, "embed.weight", NULL);
    int vocab = desc->vocab, width = 2 * desc->bands, i, many;
    size_t total = (size_t)vocab * (size_t)width, n;
    wcoh_real *noise = (wcoh_real *)memory_of(total, sizeof *noise);
    wcoh_rng rng = wcoh_rng_seed(8);
    symbols s;
    memset(&s, 0, sizeof s);
    for (n = 0; n < total; n++) noise[n] = (wcoh_real)wcoh_rng_normal(&rng);
    symbol_interference(&s, table, vocab, width);
    symbol_zipf(&s, text, count, vocab);
    s.encoded = zipf_wave(table, vocab, width, text, count);
    for (i = 0, many = 1; i < 6; i++, many *= 2) {
        if (many > vocab) continue;
        s.superposed[i] = superposition(table, vocab, width, many);
        s.random[i] = superposition(noise, vocab, width, many);
    }
    free(noise);
    return s;
}

/* ---- printing ----------------------------------------------------------------------------- */

static double layer_entropy(const look *k, int layer, int rest)
{
    double sum = 0;
    int h;
    for (h = 0; h < k->heads; h++) {
        const wcoh_map_figures *f = &k->maps[layer * k->heads + h];
        sum += (rest ? f->rest.entropy : f->all.entropy) / k->heads;
    }
    return sum;
}

static wcoh_collapse look_collapse(const look *k)
{
    double entropy[1024];
    int l, layers = k->layers < 1024 ? k->layers : 1024;
    for (l = 0; l < layers; l++) entropy[l] = layer_entropy(k, l, 0);
    return wcoh_collapse_of(entropy, layers);
}

static void print_attention(const look *k)
{
    wcoh_collapse c = look_collapse(k);
    int l, h;
    printf("attention over %d tokens (uniform %srows: entropy %.3f nats, R %.3f; without key "
           "0: %.3f, %.3f)\n",
           k->tokens, k->keys == WCOH_MAP_CAUSAL ? "causal " : "", k->maps[0].all_uniform.entropy,
           k->maps[0].all_uniform.concentration, k->maps[0].rest_uniform.entropy,
           k->maps[0].rest_uniform.concentration);
    if (k->ahead > 0)
        printf("  %.1f %% of the weight is on keys after the query: %s\n", 100 * k->ahead,
               k->keys == WCOH_MAP_CAUSAL ? "ignored, as --causal asks"
                                          : "measured whole (--causal ignores it)");
    printf("  layer head   entropy       R  on key 0  centroid   without key 0: entropy       R\n");
    for (l = 0; l < k->layers; l++) {
        for (h = 0; h < k->heads; h++) {
            const wcoh_map_figures *f = &k->maps[l * k->heads + h];
            printf("  %5d %4d  %8.3f %7.3f  %8.3f  %8.2f %24.3f %7.3f\n", l, h, f->all.entropy,
                   f->all.concentration, f->all.first, f->all.centroid, f->rest.entropy,
                   f->rest.concentration);
        }
        printf("  layer %d: heads in step %.3f, dispersion %.2f rad; mean entropy %.3f (%.3f "
               "without key 0)\n",
               l, k->step[l].synchronisation, k->step[l].dispersion, layer_entropy(k, l, 0),
               layer_entropy(k, l, 1));
    }
    if (c.layer < 0) printf("  no collapse: entropy never falls from one layer to the next\n");
    else if (c.runner_up < 0)
        printf("  largest fall of entropy: into layer %d, by %.3f nats; no other\n", c.layer,
               c.drop);
    else
        printf("  largest fall of entropy: into layer %d, by %.3f nats; next: layer %d, %.3f\n",
               c.layer, c.drop, c.runner_up, c.runner_up_drop);
}

/* A length in tokens; the library's 0 is one without end. */
static const char *length_text(double tokens)
{
    return !(tokens > 0) ? "no end" : text_made(tokens < 1e9 ? "%.1f" : "%.3g", tokens);
}

static void json_length(const char *name, double tokens)
{
    printf(tokens > 0 ? ",\"%s\":%.6g" : ",\"%s\":null", name, tokens);
}

static void print_model(const look *k, const symbols *s)
{
    wcoh_wave w;
    int l, h, i;
    if (wcoh_model_wave(k->model, 0, 0, &w, NULL) == WCOH_OK)
        printf("waves\n  layer head    gain   carrier rad/token  wavelength tokens   damping "
               "nats/token   reach tokens\n");
    for (l = 0; l < k->layers; l++)
        for (h = 0; h < k->heads && wcoh_model_wave(k->model, l, h, &w, NULL) == WCOH_OK; h++)
            printf("  %5d %4d  %6.3f  %18.4f  %17s  %18.5f  %13s\n", l, h, w.gain, w.carrier,
                   length_text(w.wavelength), w.damping, length_text(w.reach));
    printf("depth (logit lens, final norm applied once)\n"
           "  after layer   entropy nats   loss nats   same choice as the end\n");
    for (l = 0; l <= k->layers; l++)
        printf("  %11d   %12.4f   %9.4f   %22.3f\n", l, k->lens_entropy[l], k->lens_loss[l],
               lens_agreement(k, l));
    printf("symbols\n  interference: mean |cosine| %.4f, largest %.4f%s\n", s->interference,
           s->largest,
           s->compared < wcoh_model_get_desc(k->model)->vocab
               ? text_made(", of %d symbols evenly spaced", s->compared)
               : "");
    printf(
        "  frequency ~ rank^-%.3f (r^2 %.3f); the text as one wave, each symbol weighted by its\n"
        "  frequency: read back with correlation %.4f\n",
        s->zipf, s->zipf_fit, s->encoded);
    printf("  superposed symbols read back (a random table of that shape):");
    for (i = 0; i < 6 && 1 << i <= wcoh_model_get_desc(k->model)->vocab; i++)
        printf(" %d: %.3f (%.3f)", 1 << i, s->superposed[i], s->random[i]);
    printf("\n");
}

static void json_mean(const char *name, const wcoh_map_mean *m)
{
    printf("\"%s\":{\"entropy\":%.6g,\"concentration\":%.6g,\"centroid\":%.6g,\"first\":%.6g,"
           "\"rows\":%lu,\"undefined\":%lu}",
           name, m->entropy, m->concentration, m->centroid, m->first, (unsigned long)m->rows,
           (unsigned long)m->undefined);
}

static void json_attention(const look *k)
{
    wcoh_collapse c = look_collapse(k);
    wcoh_wave w;
    int l, h;
    printf("\"tokens\":%d,\"causal\":%s,\"ahead\":%.6g,\"collapse\":{\"layer\":%d,\"drop\":%.6g,"
           "\"runner_up\":%d,"
           "\"runner_up_drop\":%.6g},\n\"heads\":[",
           k->tokens, k->keys == WCOH_MAP_CAUSAL ? "true" : "false", k->ahead, c.layer, c.drop,
           c.runner_up, c.runner_up_drop);
    for (l = 0; l < k->layers; l++)
        for (h = 0; h < k->heads; h++) {
            const wcoh_map_figures *f = &k->maps[l * k->heads + h];
            printf("%s\n{\"layer\":%d,\"head\":%d,", l + h ? "," : "", l, h);
            json_mean("all", &f->all);
            printf(",");
            json_mean("all_uniform", &f->all_uniform);
            printf(",");
            json_mean("rest", &f->rest);
            printf(",");
            json_mean("rest_uniform", &f->rest_uniform);
            if (k->model && wcoh_model_wave(k->model, l, h, &w, NULL) == WCOH_OK) {
                printf(",\"gain\":%.6g,\"carrier\":%.6g,\"damping\":%.6g", w.gain, w.carrier,
                       w.damping);
                json_length("wavelength", w.wavelength);
                json_length("reach", w.reach);
            }
            printf("}");
        }
    printf("],\n\"layers\":[");
    for (l = 0; l < k->layers; l++)
        printf("%s{\"synchronisation\":%.6g,\"dispersion\":%.6g}", l ? "," : "",
               k->step[l].synchronisation, k->step[l].dispersion);
    printf("]");
}

static void json_model(const look *k, const symbols *s)
{
    int l, i;
    printf(",\n\"lens\":[");
    for (l = 0; l <= k->layers; l++)
        printf("%s{\"entropy\":%.6g,\"loss\":%.6g,\"same\":%.6g}", l ? "," : "", k->lens_entropy[l],
               k->lens_loss[l], lens_agreement(k, l));
    printf("],\n\"symbols\":{\"interference\":%.6g,\"largest\":%.6g,\"compared\":%d,"
           "\"zipf\":%.6g,"
           "\"zipf_fit\":%.6g,\"zipf_wave\":%.6g,\"superposed\":[",
           s->interference, s->largest, s->compared, s->zipf, s->zipf_fit, s->encoded);
    for (i = 0; i < 6 && 1 << i <= wcoh_model_get_desc(k->model)->vocab; i++)
        printf("%s{\"count\":%d,\"read_back\":%.6g,\"random\":%.6g}", i ? "," : "", 1 << i,
               s->superposed[i], s->random[i]);
    printf("]}");
}

/* ---- weights ------------------------------------------------------------------------------ */

enum { SPECTRA = 8, LEAST_SPECTRUM = 2 };

typedef struct spectrum {
    const char *name;
    int count;
    double *values;
} spectrum;

/* For the picture: the first few of all matrices with a spectrum, not one value alone. */
typedef struct spectra {
    spectrum first[SPECTRA];
    int count, matrices;
} spectra;

static int is_drawn_size(const wcoh_tensor_info *info)
{
    return info->shape[0] >= LEAST_SPECTRUM && info->shape[1] >= LEAST_SPECTRUM;
}

/* Keep the spectrum of a matrix while there is room, or give it up. */
static void spectra_add(spectra *s, const wcoh_tensor_info *info, double *values)
{
    uint64_t least = info->shape[0] < info->shape[1] ? info->shape[0] : info->shape[1];
    spectrum *next = &s->first[s->count];
    s->matrices += is_drawn_size(info);
    if (!is_drawn_size(info) || s->count >= SPECTRA) {
        free(values);
        return;
    }
    next->name = text_made("%s", info->name);
    next->values = values;
    next->count = (int)least;
    s->count++;
}

/* A matrix of a file that could not be measured, and why. */
typedef struct passed {
    int tensor;
    wcoh_error error;
} passed;

/* What tells whether the order of columns means anything: the same matrices with their columns in
   other orders. */
typedef struct orders {
    int mixed;    /* 1: matrices have their numbers at random places */
    double ranks; /* sum of effective ranks over those of noise */
    int ranked;
    long long draws;      /* of them; 0: none */
    double z;             /* of the low third of the matrix at hand */
    int matrices, beyond; /* so far; those whose |z| is above 1.96 */
} orders;

/* Columns in another order, Fisher and Yates. */
static void columns_shuffle(float *w, size_t rows, size_t columns, wcoh_rng *rng)
{
    size_t i, j, r;
    for (i = columns; i > 1; i--) {
        j = (size_t)(wcoh_rng_uniform(rng) * (double)i);
        for (r = 0; r < rows; r++) {
            float kept = w[r * columns + j];
            w[r * columns + j] = w[r * columns + i - 1];
            w[r * columns + i - 1] = kept;
        }
    }
}

/* Share of the rows' energy in the low third: row by row, whose singular values cost nothing. */
static wcoh_result low_third(double *share, const float *w, const wcoh_tensor_info *info,
                             wcoh_error *error)
{
    size_t columns = (size_t)info->shape[1], r;
    double all = 0, low = 0;
    for (r = 0; r < (size_t)info->shape[0]; r++) {
        wcoh_matrix_figures f;
        wcoh_result result =
            wcoh_matrix_measure(&f, w + r * columns, 1, (int)columns, NULL, NULL, error);
        if (result) return result;
        all += f.norm * f.norm;
        low += f.norm * f.norm * f.thirds[0];
    }
    *share = all > 0 ? low / all : 0;
    return WCOH_OK;
}

/* How far the low third of `w` is from those of other orders, in their deviations; w is spoilt. */
static wcoh_result orders_measure(orders *o, float *w, const wcoh_tensor_info *info,
                                  wcoh_error *error)
{
    wcoh_rng rng = wcoh_rng_seed(1);
    double sum = 0, squares = 0, mean, deviation, own, share;
    long long i;
    wcoh_result result = WCOH_OK;
    o->z = 0;
    if (o->draws) result = low_third(&own, w, info, error);
    for (i = 0; !result && i < o->draws; i++) {
        columns_shuffle(w, (size_t)info->shape[0], (size_t)info->shape[1], &rng);
        result = low_third(&share, w, info, error);
        sum += share - own;
        squares += (share - own) * (share - own);
    }
    if (o->draws < 2 || result) return result;
    mean = sum / (double)o->draws;
    deviation = sqrt(fmax(0, squares - sum * mean) / (double)(o->draws - 1));
    if (deviation > 1e-9) o->z = -mean / deviation;
    o->matrices++;
    o->beyond += fabs(o->z) > 1.96;
    return WCOH_OK;
}

static void print_matrix(const char *name, const wcoh_tensor_info *info,
                         const wcoh_matrix_figures *f, const orders *o)
{
    const char *z = o->draws > 1 ? text_made("  low third: z %+.1f", o->z) : "";
    const char *identity = "";
    const char *shape = text_made("%.0fx%.0f", (double)info->shape[0], (double)info->shape[1]);
    if (f->identity >= 0) identity = text_made("%.3f (%.3f)", f->identity, f->identity_random);
    printf("  %-40s %11s %9.3f %9.3f %7.1f (%5.1f) %8.1f  %.2f %.2f %.2f (%.2f..) %15s%s\n",
           text_shown(name), shape, f->norm, f->largest, f->effective_rank, f->random_rank,
           f->stable_rank, f->thirds[0], f->thirds[1], f->thirds[2], f->thirds_random[0], identity, z);
}

static void json_matrix(const char *name, const wcoh_tensor_info *info,
                        const wcoh_matrix_figures *f, const orders *o)
{
    printf("\n{\"name\":");
    json_text(name);
    printf(",\"rows\":%.0f,\"columns\":%.0f,\"norm\":%.6g,\"largest\":%.6g,"
           "\"smallest\":%.6g,\"effective_rank\":%.6g,\"random_rank\":%.6g,"
           "\"stable_rank\":%.6g,\"thirds\":[%.6g,%.6g,%.6g],\"thirds_random\":[%.6g,"
           "%.6g,%.6g],\"identity\":%.6g,\"identity_random\":%.6g",
           (double)info->shape[0], (double)info->shape[1], f->norm, f->largest, f->smallest,
           f->effective_rank, f->random_rank, f->stable_rank, f->thirds[0], f->thirds[1],
           f->thirds[2], f->thirds_random[0], f->thirds_random[1], f->thirds_random[2], f->identity,
           f->identity_random);
    if (o->draws > 1) printf(",\"low_third_z\":%.6g", o->z);
    printf("}");
}

/* The share of matrices whose |z| is above 1.96 where the order of columns means nothing: mean and deviation
   are of so many orders alone, so that z has Student's distribution, sqrt(1 + 1 / draws) as wide. */
static double chance_beyond(int draws)
{
    return 1 - stat_t_within(1.96 / sqrt(1 + 1.0 / draws), draws - 1);
}

/* Figures of matrix i of a file and its singular values, *values [min(rows, columns)]. */
static wcoh_result matrix_look(const wcoh_tensors *t, int i, const wcoh_tensor_info *info,
                               wcoh_matrix_figures *f, double **values, orders *o,
                               wcoh_error *error)
{
    enum { LARGEST = 1 << 24 };
    size_t least = (size_t)(info->shape[0] < info->shape[1] ? info->shape[0] : info->shape[1]);
    wcoh_result result;
    float *w;
    *values = NULL;
    if (info->count > LARGEST) {
        sprintf(error->text, "more than %d numbers", (int)LARGEST);
        return error->code = WCOH_E_UNSUPPORTED;
    }
    w = (float *)memory_of((size_t)info->count, sizeof(float));
    *values = (double *)memory_of(least, sizeof(double));
    result = wcoh_tensors_read(t, i, 0, (size_t)info->count, w, error);
    if (!result && o->mixed) {
        wcoh_rng rng = wcoh_rng_seed(2);
        columns_shuffle(w, 1, (size_t)info->count, &rng);
    }
    if (!result)
        result = wcoh_matrix_measure(f, w, (int)info->shape[0], (int)info->shape[1], *values, NULL,
                                     error);
    if (!result && least > 1 && f->random_rank > 0) {
        o->ranks += f->effective_rank / f->random_rank;
        o->ranked++;
    }
    if (!result) result = orders_measure(o, w, info, error);
    free(w);
    return result;
}

static void print_passed(const wcoh_tensors *t, const passed *list, int count, int json)
{
    wcoh_tensor_info info;
    int i;
    if (json) printf("],\n\"passed_over\":[");
    for (i = 0; i < count; i++) {
        wcoh_tensors_info(t, list[i].tensor, &info, NULL);
        if (!json) {
            printf("  %-40s passed over: %s\n", text_shown(info.name),
                   text_shown(list[i].error.text));
            continue;
        }
        printf("%s\n{\"name\":", i ? "," : "");
        json_text(info.name);
        printf(",\"dtype\":\"%s\",\"reason\":", info.dtype);
        json_text(list[i].error.text);
        printf("}");
    }
    if (json) printf("]");
}

/* Every matrix of a file; the first few spectra are kept for the picture. One that cannot be
   measured is named and passed over. */
static void look_weights(const char *path, int json, spectra *kept, orders *o)
{
    wcoh_tensors *t;
    wcoh_tensor_info info;
    wcoh_error error;
    wcoh_matrix_figures f;
    int i, shown = 0, skipped = 0;
    passed *over;
    must(wcoh_tensors_open_file(&t, path, NULL, &error), NULL, &error);
    over = (passed *)memory_of((size_t)wcoh_tensors_count(t), sizeof *over);
    if (!json)
        printf(
            "weights (in brackets: what chance gives)\n  %-40s %11s %9s %9s %15s %8s %22s %15s\n",
            "matrix", "shape", "norm", "largest", "effective rank", "stable", "DFT thirds",
            "from identity");
    for (i = 0; i < wcoh_tensors_count(t); i++) {
        double *values;
        wcoh_tensors_info(t, i, &info, NULL);
        if (info.dims != 2 || strncmp(info.name, "adam.", 5) == 0 ||
            strncmp(info.name, "muon.", 5) == 0 || !info.count)
            continue;
        if (matrix_look(t, i, &info, &f, &values, o, &over[skipped].error)) {
            over[skipped++].tensor = i;
            kept->matrices += is_drawn_size(&info);
            free(values);
            continue;
        }
        if (json && shown++) printf(",");
        if (json) json_matrix(info.name, &info, &f, o);
        else print_matrix(info.name, &info, &f, o);
        spectra_add(kept, &info, values);
    }
    print_passed(t, over, skipped, json);
    if (!json && o->ranked)
        printf("  effective ranks are %.3f of those of noise, mean of %d matrices\n",
               o->ranks / o->ranked, o->ranked);
    if (!json && o->draws > 1)
        printf(
            "  the low third of %d of %d is beyond 95 %% of %lld orders of its columns; by chance "
            "%.1f would be\n",
            o->beyond, o->matrices, o->draws, chance_beyond((int)o->draws) * o->matrices);
    wcoh_tensors_close(t);
    free(over);
}

/* ---- pictures ----------------------------------------------------------------------------- */

/* Attention of a layer's most telling head. Weights span decades (row t of an even map has 1 / t), so
   do the colours: three below the largest weight that is drawn. */
static void plot_layer(const look *k, const char *prefix, int layer)
{
    size_t square = (size_t)k->tokens * (size_t)k->tokens;
    plot p;
    plot_frame f;
    plot_map map;
    double top = 0;
    int q, key;
    memset(&map, 0, sizeof map);
    map.values = k->telling + (size_t)layer * square;
    map.rows = map.columns = k->tokens;
    map.causal = k->keys == WCOH_MAP_CAUSAL;
    for (q = 0; q < k->tokens; q++)
        for (key = 0; key <= (map.causal ? q : k->tokens - 1); key++)
            top = fmax(top, map.values[(size_t)q * (size_t)k->tokens + (size_t)key]);
    map.scale = plot_axis_log(top / 1000, top);
    map.scale_name = "weight (log scale; darkest: less)";
    plot_open(
        &p, prefix, text_made("map-layer%d", layer), 660, 590,
        text_made("Attention of layer %d, head %d of %d", layer, k->telling_head[layer], k->heads));
    plot_subtitle(&p,
                  text_made("the most telling one: %.2f nats a query beyond what distance alone "
                            "explains, key 0 left out",
                            k->told[layer]));
    f = plot_frame_of(&p, plot_axis_of(0, k->tokens), plot_axis_of(0, k->tokens), 110);
    f.top += 8;
    f.height -= 8;
    plot_heat(&p, &f, &map, 18);
    plot_heat_numbers(&p, &f, k->tokens, k->tokens, "key (position in the text)",
                      "query (position)");
    plot_close(&p);
}

/* Entropy of every head as a share of the even one. */
static void plot_entropy(const look *k, const char *prefix)
{
    double *share = (double *)memory_of((size_t)k->layers * (size_t)k->heads, sizeof(double));
    plot p;
    plot_frame f;
    plot_map map;
    int i;
    for (i = 0; i < k->layers * k->heads; i++)
        share[i] = k->maps[i].all.entropy / (k->maps[i].all_uniform.entropy + 1e-300);
    memset(&map, 0, sizeof map);
    map.values = share;
    map.rows = k->layers;
    map.columns = k->heads;
    map.scale = plot_axis_of(0, 1);
    map.scale_name = "share of even";
    plot_open(&p, prefix, "entropy", 700, 130 + 34 * (k->layers < 16 ? k->layers + 2 : 18),
              "Entropy of each head, as a share of even attention");
    f = plot_frame_of(&p, plot_axis_of(0, k->heads), plot_axis_of(0, k->layers), 110);
    plot_heat(&p, &f, &map, 18);
    plot_heat_numbers(&p, &f, k->layers, k->heads, "head", "layer");
    plot_close(&p);
    free(share);
}

static void plot_attention(const look *k, const char *prefix)
{
    enum { MAPS = 64 };
    int l;
    for (l = 0; l < k->layers && l < MAPS; l++) plot_layer(k, prefix, l);
    if (l < k->layers) say("maps of the first %d of %d layers are drawn", l, k->layers);
    plot_entropy(k, prefix);
}

/* A log axis for lengths of which some have no end, or one beyond all texts: those stand a decade
   behind the rest. */
typedef struct lengths {
    double low, high; /* of the others; empty at first */
    int endless;      /* 1 if there are such */
    plot_axis axis;
} lengths;

static int is_endless(double length) { return !(length > 0 && length < 1e6); }

static void lengths_add(lengths *s, double length)
{
    if (is_endless(length)) s->endless = 1;
    else plot_span(&s->low, &s->high, length);
}

/* Whole decades. */
static void lengths_axis(lengths *s)
{
    int some = s->low <= s->high;
    s->axis = plot_axis_log(some ? pow(10, floor(log10(s->low) + 1e-9)) : 1,
                            some ? pow(10, ceil(log10(s->high) - 1e-9)) : 10);
    if (s->endless) s->axis.high *= 10;
}

static double length_place(const lengths *s, double length)
{
    return is_endless(length) ? s->axis.high : length;
}

#define ENDLESS "\342\211\245 1e6" /* the tick of what has no end */

static void plot_lengths(plot *p, const plot_frame *f, const lengths *x, const lengths *y)
{
    plot_ticks ticks = plot_ticks_of(&f->x, 6, 0);
    int i;
    plot_axes(p, f, "reach 1/damping (tokens, log scale)",
              "wavelength 2\317\200/|carrier| (tokens, log scale)", PLOT_X_BARE);
    for (i = 0; i < ticks.count; i++)
        if (!x->endless || ticks.at[i] < f->x.high * 0.99)
            plot_tick_x(p, f, plot_x(f, ticks.at[i]), ticks.text[i]);
    if (x->endless) plot_tick_x(p, f, f->left + f->width, ENDLESS);
    if (!y->endless) return;
    plot_rect(p, f->left - 48, f->top - 8, 46, 16, 0xffffff); /* over the number of that decade */
    plot_tick_y(p, f, f->top, ENDLESS);
}

enum { WAVE_LAYERS = 12 };
static const double wave_most = 11; /* pixels of the largest disc */

/* Pixels of a disc whose area is the gain. */
static double wave_radius(double gain, double largest)
{
    return gain > 0 && largest > 0 ? fmax(1.5, wave_most * sqrt(gain / largest)) : 1.5;
}

static int wave_colour(const look *k, int layer)
{
    return k->layers <= PLOT_COLOURS ? plot_colours[layer]
                                     : plot_shade(0.92 * layer / (k->layers - 1), 0);
}

/* Colours of the layers (the first and then every n-th of many) and three sizes. */
static void plot_waves_legend(plot *p, const plot_frame *f, const look *k, double largest)
{
    int each = (k->layers + WAVE_LAYERS - 1) / WAVE_LAYERS, row = 0, l, i;
    plot_axis gains = plot_axis_of(0, largest);
    plot_ticks ticks = plot_ticks_of(&gains, 3, 0);
    for (l = 0; l < k->layers; l += each, row++) {
        plot_disc(p, plot_legend_x(f) + 14, plot_legend_y(f, row), 5, wave_colour(k, l));
        plot_note(p, f, row, 36, text_made("layer %d", l));
    }
    plot_note(p, f, ++row, 0, "area: gain \316\272");
    for (i = 0; i < ticks.count; i++) {
        if (ticks.at[i] <= 0) continue;
        row++;
        plot_disc(p, plot_legend_x(f) + 14, plot_legend_y(f, row) + 6 * (i + 1),
                  wave_radius(ticks.at[i], largest), PLOT_GREY);
        plot_text(p, plot_legend_x(f) + 36, plot_legend_y(f, row) + 6 * (i + 1) + 4, 13, -1, 0,
                  PLOT_INK, ticks.text[i]);
    }
}

/* Each head as a disc: how far it listens and at which length. */
static void plot_waves(const look *k, const char *prefix)
{
    lengths x = {1, 0, 0, {0, 1, 0}}, y = x;
    double largest = 0, radius;
    plot p;
    plot_frame f;
    wcoh_wave w;
    int l, h;
    for (l = 0; l < k->layers; l++)
        for (h = 0; h < k->heads; h++) {
            if (wcoh_model_wave(k->model, l, h, &w, NULL) != WCOH_OK) return;
            lengths_add(&x, w.reach);
            lengths_add(&y, w.wavelength);
            largest = fmax(largest, w.gain);
        }
    lengths_axis(&x);
    lengths_axis(&y);
    plot_open(&p, prefix, "waves", 840, 520, "Heads: reach and wavelength");
    f = plot_frame_of(&p, x.axis, y.axis, 140);
    plot_lengths(&p, &f, &x, &y);
    for (l = 0; l < k->layers; l++)
        for (h = 0; h < k->heads; h++) {
            double at_x, at_y;
            wcoh_model_wave(k->model, l, h, &w, NULL);
            at_x = plot_x(&f, length_place(&x, w.reach));
            at_y = plot_y(&f, length_place(&y, w.wavelength));
            radius = wave_radius(w.gain, largest);
            plot_disc(&p, at_x, at_y, radius + 1, 0xffffff);
            plot_disc(&p, at_x, at_y, radius, wave_colour(k, l));
        }
    plot_waves_legend(&p, &f, k, largest);
    plot_close(&p);
}

static void plot_depth(const look *k, const char *prefix)
{
    int l, count = k->layers + 1;
    double *depth = (double *)memory_of((size_t)count, sizeof(double)), low = 0, high = 0;
    double guess = log((double)wcoh_model_get_desc(k->model)->vocab);
    plot_style entropy = plot_style_of(0), loss = plot_style_of(1), even = plot_style_of(2);
    plot p;
    plot_frame f;
    for (l = 0; l < count; l++) {
        depth[l] = l;
        plot_span(&low, &high, k->lens_entropy[l]);
        plot_span(&low, &high, k->lens_loss[l]);
    }
    plot_span(&low, &high, guess);
    plot_open(&p, prefix, "depth", 800, 430, "Logit lens: what each depth would predict");
    f = plot_frame_of(&p, plot_axis_of(0, k->layers), plot_axis_of(low, high * 1.05), 170);
    plot_axes(&p, &f, "after layer (0: the embedding)", "nats per token", PLOT_X_WHOLE);
    even.colour = PLOT_GREY;
    plot_line_dashed(&p, f.left, plot_y(&f, guess), f.left + f.width, plot_y(&f, guess), 1.6,
                     even.colour, even.dash);
    plot_curve(&p, &f, depth, k->lens_entropy, count, 2.4, entropy);
    plot_curve(&p, &f, depth, k->lens_loss, count, 2.4, loss);
    plot_points(&p, &f, depth, k->lens_entropy, count, 4.2, entropy);
    plot_points(&p, &f, depth, k->lens_loss, count, 4.2, loss);
    plot_legend(&p, &f, 0, "entropy", entropy, 1);
    plot_legend(&p, &f, 1, "loss", loss, 1);
    plot_legend(&p, &f, 2, "ln V: all alike", even, 0);
    plot_close(&p);
    free(depth);
}

/* Values below 1e-8 of the largest of their matrix are rounding: NaN, not drawn. Returns their
   number; low .. high: the span of the others. */
static int spectrum_clean(spectrum *s, double *low, double *high)
{
    int k, dropped = 0;
    double top = s->values[0];
    for (k = 0; k < s->count; k++) {
        if (s->values[k] <= top * 1e-8) s->values[k] = NAN, dropped++;
        plot_span(low, high, s->values[k]);
    }
    return dropped;
}

/* The first few matrices of the file at `path`. */
static void plot_weights(spectra *all, const char *path, const char *prefix)
{
    spectrum *s = all->first;
    const char *labels[SPECTRA];
    double *index, low = 1, high = 0;
    int count = all->count, i, most = 1, dropped = 0;
    plot p;
    plot_frame f;
    if (!count) {
        say("%s: it has no matrix whose singular values could be drawn", path);
        return;
    }
    for (i = 0; i < count; i++) {
        most = s[i].count > most ? s[i].count : most;
        labels[i] = s[i].name;
        dropped += spectrum_clean(&s[i], &low, &high);
    }
    index = (double *)memory_of((size_t)most, sizeof(double));
    for (i = 0; i < most; i++) index[i] = i + 1;
    plot_open(&p, prefix, "singular", 980, 470,
              text_made("Singular values: %s%d of %d matrices",
                        count == SPECTRA && all->matrices > count ? "the first " : "", count,
                        all->matrices));
    f = plot_frame_of(&p, plot_axis_of(1, most), plot_axis_log(low / 1.1, high * 1.1), 330);
    plot_axes(&p, &f, "index, largest first", "singular value (log scale)", PLOT_X_WHOLE);
    for (i = 0; i < count; i++)
        plot_curve(&p, &f, index, s[i].values, s[i].count, 1.8, plot_style_of(i));
    plot_legends(&p, &f, labels, count, 0);
    if (dropped)
        plot_note(&p, &f, count + 1, 0,
                  text_made("0, or below 1e-8 of the largest: %d not drawn", dropped));
    plot_close(&p);
    free(index);
}

/* ---- three ways in ------------------------------------------------------------------------ */

/* Attention in a file: one tensor of all layers, or one a layer. */
typedef struct map_file {
    wcoh_tensors *file;
    const char *path;
    int *tensors; /* [count], in the order of the layers */
    int count, dims;
    uint64_t layers, batch, heads, tokens, sequence;
} map_file;

/* 1 if a comes before b: runs of digits count as numbers, so layer.2 stands before layer.10. */
static int name_before(const char *a, const char *b)
{
    while (*a && *b) {
        size_t x = strspn(a, "0123456789"), y = strspn(b, "0123456789");
        if (x && y) {
            for (; x > 1 && *a == '0'; x--) a++;
            for (; y > 1 && *b == '0'; y--) b++;
            if (x != y) return x < y;
            if (strncmp(a, b, x) != 0) return strncmp(a, b, x) < 0;
            a += x;
            b += y;
        } else if (*a != *b) {
            return (unsigned char)*a < (unsigned char)*b;
        } else {
            a++;
            b++;
        }
    }
    return !*a && *b;
}

/* Put tensor `added` where its name belongs. */
static void maps_insert(map_file *m, int added)
{
    wcoh_tensor_info info, other;
    int i = m->count++;
    if (i == 1024) fail(EXIT_FAILED, "%s: more than 1024 layers", m->path);
    wcoh_tensors_info(m->file, added, &info, NULL);
    for (; i > 0; i--) {
        wcoh_tensors_info(m->file, m->tensors[i - 1], &other, NULL);
        if (!name_before(info.name, other.name)) break;
        m->tensors[i] = m->tensors[i - 1];
    }
    m->tensors[i] = added;
}

/* Which side is what: the last three are always heads, T, T. */
static void maps_shape(map_file *m, const wcoh_tensor_info *info)
{
    const uint64_t *side = info->shape + info->dims - 3;
    m->dims = info->dims;
    m->heads = side[0];
    m->tokens = side[1];
    m->batch = m->layers = 1;
    if (m->count > 1) m->layers = (uint64_t)m->count;
    else if (info->dims > 3) m->layers = info->shape[0];
    if (info->dims - 3 > (m->count == 1)) m->batch = info->shape[info->dims - 4];
    if (info->dims == 5 && m->count > 1)
        fail(EXIT_FAILED, "%s: several tensors [layers, batch, heads, T, T]; one is needed",
             m->path);
    if (m->layers > 1024 || m->heads > 4096 || m->tokens > 4096)
        fail(EXIT_FAILED, "%s: more than 1024 layers, 4096 heads or 4096 tokens", m->path);
}

static void maps_open(map_file *m, const char *path, uint64_t sequence)
{
    wcoh_tensor_info first, info;
    wcoh_error error;
    int i;
    memset(m, 0, sizeof *m);
    m->path = path;
    m->sequence = sequence;
    must(wcoh_tensors_open_file(&m->file, path, NULL, &error), NULL, &error);
    m->tensors = (int *)memory_of((size_t)wcoh_tensors_count(m->file), sizeof *m->tensors);
    for (i = 0; i < wcoh_tensors_count(m->file); i++) {
        wcoh_tensors_info(m->file, i, &info, NULL);
        if (info.dims < 3 || info.dims > 5 || !info.count) continue;
        if (info.shape[info.dims - 1] == info.shape[info.dims - 2]) maps_insert(m, i);
    }
    if (!m->count)
        fail(EXIT_FAILED,
             "%s: it has no tensor [layers, heads, T, T], [layers, batch, heads, T, T] or "
             "[heads, T, T]",
             path);
    wcoh_tensors_info(m->file, m->tensors[0], &first, NULL);
    for (i = 1; i < m->count; i++) {
        wcoh_tensors_info(m->file, m->tensors[i], &info, NULL);
        if (info.dims != first.dims ||
            memcmp(info.shape, first.shape, (size_t)info.dims * sizeof info.shape[0]) != 0)
            fail(EXIT_FAILED, "%s: \"%s\" and \"%s\" could be layers, but differ in shape", path,
                 first.name, info.name);
    }
    maps_shape(m, &first);
    if (sequence >= m->batch)
        fail(EXIT_USAGE, "--sequence is %.0f: the file has %.0f", (double)sequence,
             (double)m->batch);
}

/* Maps [heads,T,T] of one layer. */
static void maps_read(const map_file *m, int layer, float *maps)
{
    uint64_t size = m->heads * m->tokens * m->tokens, first = m->sequence;
    int tensor = m->tensors[m->count > 1 ? layer : 0];
    wcoh_error error;
    if (m->count == 1) first += (uint64_t)layer * m->batch;
    must(wcoh_tensors_read(m->file, tensor, first * size, (size_t)size, maps, &error), m->path,
         &error);
}

/* Share of all weight that lies after the query. */
static double maps_ahead(const map_file *m, float *maps)
{
    size_t t = (size_t)m->tokens, i, total = count_of((size_t)m->heads, count_of(t, t));
    double all = 0, ahead = 0;
    int l;
    for (l = 0; l < (int)m->layers; l++) {
        maps_read(m, l, maps);
        for (i = 0; i < total; i++) {
            all += (double)maps[i];
            if (i % t > i / t % t) ahead += (double)maps[i];
        }
    }
    return all > 0 ? ahead / all : 0;
}

static void from_maps(const request *r)
{
    const double rounding = 1e-6; /* of a causal softmax in half precision nothing is left there */
    map_file m;
    float *maps;
    look k;
    int l;
    maps_open(&m, r->maps, (uint64_t)r->sequence);
    look_open(&k, (int)m.layers, (int)m.heads, (int)m.tokens);
    maps = (float *)memory_of(
        count_of((size_t)m.heads, count_of((size_t)m.tokens, (size_t)m.tokens)), sizeof(float));
    k.ahead = maps_ahead(&m, maps);
    if (!(k.ahead > rounding)) k.ahead = 0;
    if (k.ahead > 0 && !r->causal) k.keys = WCOH_MAP_ALL;
    for (l = 0; l < k.layers; l++) {
        maps_read(&m, l, maps);
        look_maps(&k, l, maps, r->maps);
    }
    if (r->json) {
        printf("{\"sequence\":%.0f,\"sequences\":%.0f,", (double)m.sequence, (double)m.batch);
        json_attention(&k);
        printf("}\n");
    } else {
        if (m.batch > 1) printf("sequence %.0f of %.0f\n", (double)m.sequence, (double)m.batch);
        print_attention(&k);
    }
    if (r->plots) plot_attention(&k, r->plots);
    wcoh_tensors_close(m.file);
    free(m.tensors);
    free(maps);
}

static void from_weights(const char *path, const request *r)
{
    spectra kept;
    orders o;
    memset(&kept, 0, sizeof kept);
    memset(&o, 0, sizeof o);
    o.draws = r->draws;
    o.mixed = r->mixed;
    if (r->json) printf("\"weights\":[");
    look_weights(path, r->json, &kept, &o);
    if (r->json) printf("}\n");
    if (r->plots) plot_weights(&kept, path, r->plots);
}

static void from_model(const request *r)
{
    wcoh_model *model;
    wcoh_error error;
    wcoh_cpu_desc cpu;
    const wcoh_model_desc *desc;
    size_t size, count, used;
    char *text = file_read(r->text, &size);
    uint32_t *tokens;
    symbols s;
    look k;
    must(wcoh_model_load_file(&model, r->model, NULL, &error), NULL, &error);
    desc = wcoh_model_get_desc(model);
    if (!wcoh_model_tokenizer(model)) fail(EXIT_FAILED, "%s: it has no tokenizer", r->model);
    if (r->from >= (long long)size) fail(EXIT_USAGE, "--from is behind the end of %s", r->text);
    size = text_plain_for(wcoh_model_tokenizer(model), text + r->from, size - (size_t)r->from);
    tokens = text_encode(r->unknown.index, wcoh_model_tokenizer(model), text + r->from, size,
                         file_named(r->text), (size_t)r->from, &count);
    used = count < (size_t)r->tokens ? count : (size_t)r->tokens;
    if (used < 2) fail(EXIT_FAILED, "%s: two tokens are needed", r->text);
    look_open(&k, desc->layers, desc->heads, (int)used);
    k.model = model;
    k.text = tokens;
    memset(&cpu, 0, sizeof cpu);
    cpu.threads = (int)r->threads;
    must(wcoh_model_inspect(model, tokens, (int)used, &cpu, NULL, look_layer, &k, &error), r->text,
         &error);
    s = look_symbols(model, tokens, count);
    if (r->json) {
        printf("{");
        json_attention(&k);
        json_model(&k, &s);
        printf(",\n");
    } else {
        print_attention(&k);
        print_model(&k, &s);
    }
    if (r->plots) {
        plot_attention(&k, r->plots);
        plot_waves(&k, r->plots);
        plot_depth(&k, r->plots);
    }
    wcoh_model_destroy(model);
    free(tokens);
    free(text);
}

int main(int argc, char **argv)
{
    request r;
    program_begin("inspect");
    memset(&r, 0, sizeof r);
    r.tokens = 128;
    r.unknown.words = UNKNOWN_WORDS;
    request_read(&r, argc, argv);
    if (r.maps) {
        from_maps(&r);
    } else if (r.weights) {
        if (r.json) printf("{");
        from_weights(r.weights, &r);
    } else {
        from_model(&r);
        from_weights(r.model, &r);
    }
    stdout_check();
    return 0;
}

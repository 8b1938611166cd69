/* Spectral report of any embedding: band coherence, its variance, cancellation, energy, and beside
   every figure what chance gives (random rotations, and permutations of the dimensions).

   cc -O2 examples/embed_report.c -o embed_report -lm -lpthread
   cc -O2 -DWAVECOH_PNG ...                     (PNG beside each SVG; Debian: libstb-dev)
   ./embed_report vectors.npy --names names.txt --pairs pairs.txt --plots out

   vectors: a matrix in a .npy or safetensors file. names: line by line those of the rows, blank
   lines too. pairs: lines "group name name", or row numbers in place of names; fields with blanks in
   double quotes, or tabs between fields. Without --pairs: rows 0-1, 2-3, .. are a group.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"

#include "common.h"
#include "plot.h"
#include "vectors.h"

enum { GROUPS = 64, BANDS = 128 };

typedef struct request {
    const char *file, *tensor, *names, *pairs, *plots;
    long long bands, draws, seed, threads;
    int json, list;
} request;

typedef struct group {
    const char *name;
    uint32_t *pairs; /* [count, 2] */
    size_t count, room;
} group;

/* What one split and one null say about a group. */
typedef struct measured {
    wcoh_pair_figures mean, *each;      /* [count] */
    wcoh_figure profile[BANDS], *bands; /* [count, bands] */
} measured;

static void request_read(request *r, int argc, char **argv)
{
    const option options[] = {
        {"names", OPTION_TEXT, &r->names, 0, 0, "names of the rows: line i is that of row i - 1"},
        {"pairs", OPTION_TEXT, &r->pairs, 0, 0, "lines: group name name (quotes or tabs)"},
        {"tensor", OPTION_TEXT, &r->tensor, 0, 0, "name of the matrix in a safetensors file"},
        {"bands", OPTION_WHOLE, &r->bands, 1, BANDS, "bands of the split"},
        {"draws", OPTION_WHOLE, &r->draws, 2, 10000, "random draws of each null"},
        {"seed", OPTION_WHOLE, &r->seed, 0, 9e15, "of the draws"},
        THREADS_OPTION(&r->threads),
        {"list", OPTION_FLAG, &r->list, 0, 0, "a line for each pair too"},
        {"plots", OPTION_TEXT, &r->plots, 0, 0, "write pictures whose names begin like this"},
        {"json", OPTION_FLAG, &r->json, 0, 0, "print JSON"},
    };
    command c;
    memset(&c, 0, sizeof c);
    c.usage = "VECTORS [options]\nSpectral coherence of vectors, each figure beside its null.";
    c.options = options;
    c.option_count = (int)(sizeof options / sizeof options[0]);
    c.word_limit = 1;
    options_read(&c, argc, argv);
    if (!c.word_count) fail(EXIT_USAGE, "a file of vectors is needed; --help explains");
    r->file = c.words[0];
}

/* ---- names and pairs ---------------------------------------------------------------------- */

static void group_add(group *g, uint32_t a, uint32_t b)
{
    if (g->count == g->room) {
        g->room = g->room ? count_of(2, g->room) : 16;
        g->pairs = (uint32_t *)realloc(g->pairs, count_of(g->room, 2 * sizeof *g->pairs));
        if (!g->pairs) fail(EXIT_FAILED, "no memory for the pairs");
    }
    g->pairs[2 * g->count] = a;
    g->pairs[2 * g->count++ + 1] = b;
}

/* The group of that name, or a new one. */
static group *group_named(group *groups, int *count, const char *name, const char *path)
{
    int k;
    for (k = 0; k < *count; k++)
        if (strcmp(groups[k].name, name) == 0) return &groups[k];
    if (k == GROUPS) fail(EXIT_FAILED, "%s: more than %d groups", path, GROUPS);
    groups[k].name = name;
    ++*count;
    return &groups[k];
}

static int groups_read(const request *r, const names *n, group *groups, size_t rows_of)
{
    size_t line_count = 0, i;
    char **lines, *field[3];
    int count = 0, fields;
    if (!r->pairs) {
        groups[0].name = "consecutive";
        for (i = 0; i + 1 < rows_of; i += 2) group_add(&groups[0], (uint32_t)i, (uint32_t)i + 1);
        if (!groups[0].count) fail(EXIT_FAILED, "%s: two vectors are needed", r->file);
        return 1;
    }
    lines = file_lines(r->pairs, &line_count);
    for (i = 0; i < line_count; i++) {
        group *g;
        if (lines[i][strspn(lines[i], " \t")] == 0) continue;
        fields = line_fields(lines[i], field, 3);
        if (fields != 3 || !field[0][0])
            fail(EXIT_FAILED, "%s: line %lu is not \"group name name\"%s", r->pairs,
                 (unsigned long)i + 1,
                 fields < 0 ? ": a quote is not closed"
                            : "; a name with blanks needs quotes, or tabs between the fields");
        g = group_named(groups, &count, field[0], r->pairs);
        group_add(g, row_named(n, field[1], rows_of, r->pairs, i + 1),
                  row_named(n, field[2], rows_of, r->pairs, i + 1));
    }
    if (!count) fail(EXIT_FAILED, "%s: it names no pairs", r->pairs);
    return count;
}

/* ---- measuring ---------------------------------------------------------------------------- */

static wcoh_spectral *spectral_of(const request *r, int n, wcoh_split split, wcoh_null null)
{
    wcoh_spectral_desc desc;
    wcoh_spectral *s;
    wcoh_error error;
    int bins = split == WCOH_SPLIT_DFT ? n / 2 + 1 : n;
    memset(&desc, 0, sizeof desc);
    desc.dimensions = n;
    desc.bands = (int)r->bands < bins ? (int)r->bands : bins;
    desc.draws = (int)r->draws;
    desc.split = split;
    desc.null = null;
    desc.seed = (uint64_t)r->seed;
    desc.cpu.threads = (int)r->threads;
    must(wcoh_spectral_create(&s, &desc, &error), NULL, &error);
    return s;
}

static void measure(const request *r, const vectors *v, const group *g, int groups,
                    wcoh_split split, wcoh_null null, measured *out)
{
    wcoh_spectral *s = spectral_of(r, v->n, split, null);
    wcoh_error error;
    int i;
    for (i = 0; i < groups; i++) {
        out[i].each = (wcoh_pair_figures *)memory_of(g[i].count, sizeof *out[i].each);
        out[i].bands = (wcoh_figure *)memory_of(
            g[i].count * (size_t)wcoh_spectral_get_desc(s)->bands, sizeof *out[i].bands);
        must(wcoh_spectral_pairs(s, v->values, v->count, g[i].pairs, g[i].count, out[i].each,
                                 out[i].bands, &out[i].mean, out[i].profile, &error),
             r->file, &error);
    }
    wcoh_spectral_destroy(s);
}

/* ---- text --------------------------------------------------------------------------------- */

static void print_figure(const char *name, const wcoh_figure *f)
{
    printf("    %-34s %9.5f   null %9.5f +- %.5f   z %+6.2f   percentile %5.1f\n", name, f->value,
           f->mean, f->deviation, f->z, f->percentile);
}

/* "doctor", or its number where the rows have no names, or this one none. */
static const char *row_shown(const names *n, uint32_t row)
{
    if (row < n->count && n->of_row[row][0]) return text_shown(n->of_row[row]);
    return text_made("%lu", (unsigned long)row);
}

static void print_list(const names *n, const group *g, const measured *m)
{
    size_t i;
    for (i = 0; i < g->count; i++)
        printf("    %14s %-14s cosine %7.4f  variance %.5f  z %+6.2f  percentile %5.1f\n",
               row_shown(n, g->pairs[2 * i]), row_shown(n, g->pairs[2 * i + 1]), m->each[i].cosine,
               m->each[i].variance.value, m->each[i].variance.z, m->each[i].variance.percentile);
}

static void print_text(const request *r, const vectors *v, const names *n, const group *g,
                       int groups, int bands, measured all[3][GROUPS], const wcoh_figure *energy)
{
    int i, k;
    printf("%s: %lu vectors of %d dimensions, %d bands, %lld draws a null\n", text_shown(r->file),
           (unsigned long)v->count, v->n, bands, r->draws);
    printf("energy by band, share (null of random directions)\n   ");
    for (i = 0; i < bands; i++)
        printf(" %.4f(%+.1f)%s", energy[i].value, energy[i].z, i % 8 == 7 ? "\n   " : "");
    printf("  in brackets: z\n");
    for (i = 0; i < groups; i++) {
        const measured *rotation = &all[0][i];
        printf("%s: %lu pairs, mean cosine %.4f\n", text_shown(g[i].name),
               (unsigned long)g[i].count, rotation->mean.cosine);
        print_figure("spectral variance, rotations", &rotation->mean.variance);
        print_figure("spectral variance, permutations", &all[1][i].mean.variance);
        print_figure("block-cosine variance, rotations", &all[2][i].mean.variance);
        print_figure("cancellation |sum p|/sum|p|", &rotation->mean.cancellation);
        print_figure("share of p > 0", &rotation->mean.positive);
        printf("    band coherence (z):");
        for (k = 0; k < bands; k++)
            printf(" %.3f(%+.1f)", rotation->profile[k].value, rotation->profile[k].z);
        printf("\n");
        if (r->list) print_list(n, &g[i], rotation);
    }
    printf("a figure with |z| below 2 is what vectors of that cosine and no structure give\n");
}

/* ---- JSON --------------------------------------------------------------------------------- */

static void json_figure(const char *name, const wcoh_figure *f)
{
    printf("\"%s\":{\"value\":%.9g,\"null_mean\":%.9g,\"null_deviation\":%.9g,\"z\":%.5g,"
           "\"percentile\":%.5g}",
           name, f->value, f->mean, f->deviation, f->z, f->percentile);
}

static void json_figures(const char *name, const wcoh_figure *f, int count)
{
    int i;
    char number[16];
    printf("\"%s\":{", name);
    for (i = 0; i < count; i++) {
        sprintf(number, "%d", i);
        if (i) printf(",");
        json_figure(number, &f[i]);
    }
    printf("}");
}

static void print_json(const request *r, const vectors *v, const group *g, int groups, int bands,
                       measured all[3][GROUPS], const wcoh_figure *energy)
{
    int i;
    printf("{\"file\":");
    json_text(r->file);
    printf(",\"vectors\":%lu,\"dimensions\":%d,\"bands\":%d,\"draws\":%lld,\"seed\":%lld,\n",
           (unsigned long)v->count, v->n, bands, r->draws, r->seed);
    json_figures("energy", energy, bands);
    printf(",\n\"groups\":[");
    for (i = 0; i < groups; i++) {
        const measured *rotation = &all[0][i];
        printf("%s\n{\"name\":", i ? "," : "");
        json_text(g[i].name);
        printf(",\"pairs\":%lu,\"cosine\":%.9g,", (unsigned long)g[i].count, rotation->mean.cosine);
        json_figure("variance_rotation", &rotation->mean.variance);
        printf(",");
        json_figure("variance_permutation", &all[1][i].mean.variance);
        printf(",");
        json_figure("block_variance_rotation", &all[2][i].mean.variance);
        printf(",");
        json_figure("cancellation", &rotation->mean.cancellation);
        printf(",");
        json_figure("positive", &rotation->mean.positive);
        printf(",");
        json_figures("coherence", rotation->profile, bands);
        printf("}");
    }
    printf("]}\n");
}

/* ---- pictures ----------------------------------------------------------------------------- */

static void plot_name(char *path, size_t size, const char *prefix, const char *name)
{
    size_t i, length = strlen(prefix);
    snprintf(path, size, "%s-%s", prefix, name);
    for (i = length; path[i]; i++)
        if (!((path[i] >= 'a' && path[i] <= 'z') || (path[i] >= 'A' && path[i] <= 'Z') ||
              (path[i] >= '0' && path[i] <= '9') || path[i] == '-'))
            path[i] = '_';
}

/* Band coherences of a group as bars; behind each the middle 95 % of its null. */
static void plot_group(const char *prefix, const group *g, const measured *m, int bands)
{
    double value[BANDS], low[BANDS], high[BANDS], bottom = 0, top = 0;
    char path[600], title[160];
    plot p;
    plot_frame f;
    int i;
    for (i = 0; i < bands; i++) {
        value[i] = m->profile[i].value;
        low[i] = m->profile[i].mean - 1.96 * m->profile[i].deviation;
        high[i] = m->profile[i].mean + 1.96 * m->profile[i].deviation;
        bottom = fmin(bottom, fmin(value[i], low[i]));
        top = fmax(top, fmax(value[i], high[i]));
    }
    plot_name(path, sizeof path, prefix, g->name);
    snprintf(title, sizeof title, "Band coherence: %.40s, %lu pairs, mean cosine %.3f", g->name,
             (unsigned long)g->count, m->mean.cosine);
    if (!plot_open(&p, path, 780, 430, title)) fail(EXIT_FAILED, "%s: cannot write it", path);
    f = plot_frame_of(&p, 0, bands, bottom * 1.08, top > 0 ? top * 1.08 : 1, 150);
    plot_axes(&p, &f, "band (low to high frequency over the index)", "mean coherence", 0);
    plot_bars(&p, &f, value, low, high, bands, plot_colours[0]);
    plot_legend(&p, &f, 0, "measured", plot_colours[0]);
    plot_legend(&p, &f, 1, "null, 95 %", 0xcfd4da);
    snprintf(title, sizeof title, "variance z %+.2f", m->mean.variance.z);
    plot_text(&p, f.left + f.width + 14, f.top + 58, 13, -1, 0, PLOT_INK, title);
    if (!plot_close(&p)) fail(EXIT_FAILED, "%s: cannot write it", path);
}

/* z of each pair's coherence in each band; all groups one below the other, at most 64 rows. */
static void plot_pairs(const char *prefix, const group *g, int groups, const measured *m, int bands)
{
    static double z[64 * BANDS];
    char path[600];
    plot p;
    plot_frame f;
    int i, k, n = 0;
    size_t pair;
    for (i = 0; i < groups; i++)
        for (pair = 0; pair < g[i].count && n < 64; pair++, n++)
            for (k = 0; k < bands; k++)
                z[n * bands + k] = m[i].bands[pair * (size_t)bands + (size_t)k].z;
    plot_name(path, sizeof path, prefix, "pairs");
    if (!plot_open(&p, path, 680, 520, "Coherence of each pair in each band, against its null"))
        fail(EXIT_FAILED, "%s: cannot write it", path);
    f = plot_frame_of(&p, 0, bands, 0, n, 110);
    plot_heat(&p, &f, z, n, bands, -4, 4, 0, "z (white: as chance)");
    plot_heat_numbers(&p, &f, n, bands, "band", "pair, in the order of the groups");
    if (!plot_close(&p)) fail(EXIT_FAILED, "%s: cannot write it", path);
}

/* Amplitudes over frequency: the mean power of all vectors; and the first vector as a wheel. */
static void plot_spectrum(const request *r, const vectors *v)
{
    int bins = v->n / 2 + 1, k, shown;
    double *amplitude = (double *)memory_of((size_t)bins, sizeof(double));
    double *phase = (double *)memory_of((size_t)bins, sizeof(double));
    double *power = (double *)memory_of((size_t)bins, sizeof(double));
    double *at = (double *)memory_of((size_t)bins, sizeof(double)), top = 0;
    char path[600];
    wcoh_dft *dft;
    wcoh_error error;
    plot p;
    plot_frame f;
    size_t row;
    must(wcoh_dft_create(&dft, v->n, NULL, &error), NULL, &error);
    for (row = 0; row < v->count; row++) {
        wcoh_packet_dft(dft, v->values + row * (size_t)v->n, amplitude, phase);
        for (k = 0; k < bins; k++)
            power[k] += amplitude[k] * amplitude[k] / v->n / (double)v->count;
    }
    for (k = 0; k < bins; k++) {
        at[k] = k;
        top = fmax(top, power[k]);
    }
    plot_name(path, sizeof path, r->plots, "spectrum");
    if (!plot_open(&p, path, 780, 430, "Mean power spectrum of the vectors"))
        fail(EXIT_FAILED, "%s: cannot write it", path);
    f = plot_frame_of(&p, 0, bins - 1, 0, top > 0 ? top * 1.06 : 1, 0);
    plot_axes(&p, &f, "bin (cycles over the index)", "power (|X|^2 / n)", 1);
    plot_curve(&p, &f, at, power, bins, 1.6, plot_colours[0]);
    if (!plot_close(&p)) fail(EXIT_FAILED, "%s: cannot write it", path);
    wcoh_packet_dft(dft, v->values, amplitude, phase);
    plot_name(path, sizeof path, r->plots, "wheel");
    if (!plot_open(&p, path, 560, 600, "Phase wheel of vector 0: one spoke a DFT bin"))
        fail(EXIT_FAILED, "%s: cannot write it", path);
    shown = bins > 97 ? 97 : bins;
    plot_wheel(&p, 280, 300, 200, phase, amplitude, shown);
    snprintf(path, sizeof path, "angle: phase in degrees, length: amplitude, bins 0 (dark) to %d",
             shown - 1);
    plot_text(&p, 280, 575, 13, 0, 0, PLOT_INK, path);
    if (!plot_close(&p)) fail(EXIT_FAILED, "the wheel could not be written");
    wcoh_dft_destroy(dft);
    free(amplitude);
    free(phase);
    free(power);
    free(at);
}

int main(int argc, char **argv)
{
    static group groups[GROUPS];
    static measured all[3][GROUPS]; /* DFT by rotations, by permutations, blocks by rotations */
    wcoh_figure energy[BANDS];
    wcoh_spectral *s;
    wcoh_error error;
    vectors v;
    names n;
    request r;
    int count, bands, i;
    program_name = "embed_report";
    memset(&r, 0, sizeof r);
    r.bands = 8;
    r.draws = 200;
    r.seed = 1;
    request_read(&r, argc, argv);
    v = vectors_read(r.file, r.tensor);
    memset(&n, 0, sizeof n);
    if (r.names) n = names_read(r.names, v.count);
    count = groups_read(&r, &n, groups, v.count);
    measure(&r, &v, groups, count, WCOH_SPLIT_DFT, WCOH_NULL_ROTATION, all[0]);
    measure(&r, &v, groups, count, WCOH_SPLIT_DFT, WCOH_NULL_PERMUTATION, all[1]);
    measure(&r, &v, groups, count, WCOH_SPLIT_BLOCKS, WCOH_NULL_ROTATION, all[2]);
    s = spectral_of(&r, v.n, WCOH_SPLIT_DFT, WCOH_NULL_ROTATION);
    bands = wcoh_spectral_get_desc(s)->bands;
    must(wcoh_spectral_energy(s, v.values, v.count, energy, &error), r.file, &error);
    wcoh_spectral_destroy(s);
    if (r.json) print_json(&r, &v, groups, count, bands, all, energy);
    else print_text(&r, &v, &n, groups, count, bands, all, energy);
    for (i = 0; r.plots && i < count; i++) plot_group(r.plots, &groups[i], &all[0][i], bands);
    if (r.plots) plot_pairs(r.plots, groups, count, all[0], bands);
    if (r.plots) plot_spectrum(&r, &v);
    stdout_check();
    return 0;
}

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
    long long threads;
    int json, list;
    wcoh_spectral_desc spectral;
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
        THREADS_OPTION(&r->threads),
        {"list", OPTION_FLAG, &r->list, 0, 0, "a line for each pair too"},
        {"plots", OPTION_TEXT, &r->plots, 0, 0, "write pictures whose names begin like this"},
        {"json", OPTION_FLAG, &r->json, 0, 0, "print JSON"},
    };
    /* the file gives dimensions, the report takes each split and each null */
    settings spectral = settings_of("spectral coherence", WCOH_DESC_SPECTRAL, &r->spectral,
                                    "dimensions split null");
    command c;
    memset(&c, 0, sizeof c);
    c.usage = "VECTORS [options]\nSpectral coherence of vectors, each figure beside its null.";
    c.options = options;
    c.option_count = (int)(sizeof options / sizeof options[0]);
    c.descs = &spectral;
    c.desc_count = 1;
    c.word_limit = 1;
    options_read(&c, argc, argv);
    r->spectral.cpu.threads = (int)r->threads;
    if (r->spectral.draws < 0 || r->spectral.draws == 1)
        fail(EXIT_USAGE, "draws is %d: a null needs 2 to 10000", r->spectral.draws);
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
    wcoh_spectral_desc desc = r->spectral;
    wcoh_spectral *s;
    wcoh_error error;
    int bins = split == WCOH_SPLIT_DFT ? n / 2 + 1 : n;
    desc.dimensions = n;
    desc.split = split;
    desc.null = null;
    if (desc.bands > bins) desc.bands = bins;
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

/* z, or that there is none: draws that are all alike have no deviation to count in. */
static const char *z_shown(const wcoh_figure *f, int places)
{
    return f->deviation > 0 ? text_made("%+.*f", places, f->z) : "-";
}

static void print_figure(const char *name, const wcoh_figure *f)
{
    printf("    %-34s %9.5f   null %9.5f +- %.5f   z %6s   percentile %5.1f\n", name, f->value,
           f->mean, f->deviation, z_shown(f, 2), f->percentile);
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
        printf("    %14s %-14s cosine %7.4f  variance %.5f  z %6s  percentile %5.1f\n",
               row_shown(n, g->pairs[2 * i]), row_shown(n, g->pairs[2 * i + 1]), m->each[i].cosine,
               m->each[i].variance.value, z_shown(&m->each[i].variance, 2),
               m->each[i].variance.percentile);
}

static void print_text(const request *r, const vectors *v, const names *n, const group *g,
                       int groups, int bands, measured all[3][GROUPS], const wcoh_figure *energy)
{
    int i, k;
    printf("%s: %lu vectors of %d dimensions, %d bands, %d draws a null\n", text_shown(r->file),
           (unsigned long)v->count, v->n, bands, r->spectral.draws);
    printf("energy by band, share (null of random directions)\n   ");
    for (i = 0; i < bands; i++)
        printf(" %.4f(%s)%s", energy[i].value, z_shown(&energy[i], 1), i % 8 == 7 ? "\n   " : "");
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
            printf(" %.3f(%s)", rotation->profile[k].value, z_shown(&rotation->profile[k], 1));
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

/* The pairs of a group, by the numbers of their rows. */
static void json_pairs(const group *g, const measured *m)
{
    size_t i;
    printf(",\"list\":[");
    for (i = 0; i < g->count; i++) {
        printf("%s\n{\"rows\":[%lu,%lu],\"cosine\":%.9g,", i ? "," : "",
               (unsigned long)g->pairs[2 * i], (unsigned long)g->pairs[2 * i + 1],
               m->each[i].cosine);
        json_figure("variance_rotation", &m->each[i].variance);
        printf("}");
    }
    printf("]");
}

static void print_json(const request *r, const vectors *v, const group *g, int groups, int bands,
                       measured all[3][GROUPS], const wcoh_figure *energy)
{
    int i;
    printf("{\"file\":");
    json_text(r->file);
    printf(",\"vectors\":%lu,\"dimensions\":%d,\"bands\":%d,\"draws\":%d,\"seed\":%llu,\n",
           (unsigned long)v->count, v->n, bands, r->spectral.draws,
           (unsigned long long)r->spectral.seed);
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
        if (r->list) json_pairs(&g[i], rotation);
        printf("}");
    }
    printf("]}\n");
}

/* ---- pictures ----------------------------------------------------------------------------- */

/* The name takes what room the numbers leave. */
static const char *group_title(const group *g, const measured *m, double room)
{
    const char *rest = text_made(", %lu pair%s, mean cosine %.3f", (unsigned long)g->count,
                                 g->count == 1 ? "" : "s", m->mean.cosine);
    double taken =
        plot_text_width(rest, PLOT_TITLE) + plot_text_width("Band coherence: ", PLOT_TITLE);
    return text_made("Band coherence: %s%s", plot_fit(g->name, PLOT_TITLE, room - taken - 12),
                     rest);
}

/* Band coherences of a group as bars; behind each the mean of its null and 1.96 deviations, the
   middle 95 % of a normal one, as far as a cosine goes. */
static void plot_group(const char *prefix, const group *g, const measured *m, int bands)
{
    double value[BANDS], low[BANDS], high[BANDS], bottom = 0, top = 0;
    plot p;
    plot_frame f;
    int i;
    for (i = 0; i < bands; i++) {
        value[i] = m->profile[i].value;
        low[i] = fmax(-1, m->profile[i].mean - 1.96 * m->profile[i].deviation);
        high[i] = fmin(1, m->profile[i].mean + 1.96 * m->profile[i].deviation);
        plot_span(&bottom, &top, value[i]);
        plot_span(&bottom, &top, low[i]);
        plot_span(&bottom, &top, high[i]);
    }
    plot_open(&p, prefix, g->name, 780, 430, group_title(g, m, 780));
    f = plot_frame_of(&p, plot_axis_of(0, bands), plot_axis_of(bottom * 1.08, top * 1.08), 150);
    plot_axes(&p, &f, "band (low to high frequency over the index)", "mean coherence (cosine)",
              PLOT_X_BARE);
    plot_bars(&p, &f, value, low, high, bands, plot_colours[0]);
    plot_legend_area(&p, &f, 0, "measured", plot_colours[0]);
    plot_legend_area(&p, &f, 1, "null \302\261 1.96 dev.", PLOT_NULL);
    plot_note(&p, &f, 3, 0, text_made("variance z %s", z_shown(&m->mean.variance, 2)));
    plot_close(&p);
}

enum { PAIR_ROWS = 64, PAIR_NAME = 24 }; /* rows, characters */

/* How many pairs of each group are drawn, drawn [groups], of PAIR_ROWS rows: small groups whole, the
   large ones equal parts of what is left. Returns the sum. */
static int pairs_drawn(const group *g, int groups, int *drawn)
{
    int sum = 0, more = 1, i;
    memset(drawn, 0, (size_t)groups * sizeof *drawn);
    while (more)
        for (more = 0, i = 0; i < groups && sum < PAIR_ROWS; i++)
            if ((size_t)drawn[i] < g[i].count) drawn[i]++, sum++, more = 1;
    return sum;
}

/* The border of a group, its name, and how much of it is drawn. top .. bottom: its rows. */
static void plot_group_border(plot *p, const plot_frame *f, double top, double bottom,
                              const group *g, int drawn)
{
    double left = f->left - 6, right = f->left + f->width + 8, middle = (top + bottom) / 2 + 4;
    const char *part = text_made("%d of %lu", drawn, (unsigned long)g->count);
    plot_line(p, left, top, right, top, 1.4, PLOT_INK);
    plot_line(p, left, bottom, right, bottom, 1.4, PLOT_INK);
    plot_line(p, right, top, right, bottom, 1.4, PLOT_INK);
    if (drawn > 1) {
        plot_text_in(p, right + 6, middle - 7, 12, -1, 0, PLOT_INK, 124, g->name);
        plot_text_in(p, right + 6, middle + 7, 11, -1, 0, PLOT_INK, 124, part);
    } else {
        plot_text_in(p, right + 6, middle, 11, -1, 0, PLOT_INK, 124,
                     text_made("%s: %s", text_shortened(g->name, 10), part));
    }
}

/* A row's name, or its number where it has none. */
static const char *row_text(const names *n, uint32_t row)
{
    if (row < n->count && n->of_row[row][0]) return n->of_row[row];
    return text_made("%lu", (unsigned long)row);
}

/* "king – queen" */
static const char *pair_text(const names *n, const uint32_t *pair)
{
    return text_made("%s \342\200\223 %s", text_shortened(row_text(n, pair[0]), PAIR_NAME),
                     text_shortened(row_text(n, pair[1]), PAIR_NAME));
}

/* Pixels that the names of the drawn pairs take, within bounds. */
static double pairs_width(const names *n, const group *g, int groups, const int *drawn)
{
    double widest = 60;
    int i, pair;
    for (i = 0; i < groups; i++)
        for (pair = 0; pair < drawn[i]; pair++)
            widest =
                fmax(widest, plot_text_width(text_shown(pair_text(n, g[i].pairs + 2 * pair)), 11));
    return fmin(widest, 360);
}

/* The rows of a group from `row` on, by their names. */
static void plot_pair_names(plot *p, const plot_frame *f, const names *n, const group *g, int row,
                            int drawn, int rows)
{
    double slot = f->height / rows;
    int i;
    for (i = 0; i < drawn; i++)
        plot_text(p, f->left - 9, f->top + (row + i + 0.5) * slot + 4, 11, 1, 0, PLOT_INK,
                  pair_text(n, g->pairs + 2 * i));
    plot_group_border(p, f, f->top + row * slot, f->top + (row + drawn) * slot, g, drawn);
}

/* z of each pair's coherence in each band; all groups one below the other. */
static void plot_pairs(const char *prefix, const names *n, const group *g, int groups,
                       const measured *m, int bands)
{
    static double z[PAIR_ROWS * BANDS];
    int drawn[GROUPS], rows = pairs_drawn(g, groups, drawn), i, k, pair, row;
    size_t all = 0;
    double left;
    plot p;
    plot_frame f;
    plot_map map;
    for (row = 0, i = 0; i < groups; all += g[i].count, row += drawn[i++])
        for (pair = 0; pair < drawn[i]; pair++)
            for (k = 0; k < bands; k++)
                z[(row + pair) * bands + k] = m[i].bands[pair * bands + k].z;
    left = 30 + pairs_width(n, g, groups, drawn);
    plot_open(&p, prefix, "pairs", 670 + (int)left, 118 + (rows < 12 ? 30 * rows + 60 : 17 * rows),
              text_made("Coherence of each pair in each band, against its null: %d of %lu pairs",
                        rows, (unsigned long)all));
    plot_subtitle(&p, "white: as chance gives; the ends of the scale: 4 deviations and more");
    f = plot_frame_of(&p, plot_axis_of(0, bands), plot_axis_of(0, rows), 220);
    f.top += 8;
    f.height -= 8;
    f.width -= left - f.left;
    f.left = left;
    memset(&map, 0, sizeof map);
    map.values = z;
    map.rows = rows;
    map.columns = bands;
    map.scale = plot_axis_of(-4, 4);
    map.scale_name = "z";
    plot_heat(&p, &f, &map, 150);
    plot_heat_numbers(&p, &f, rows, bands, "band (low to high frequency over the index)", NULL);
    for (row = 0, i = 0; i < groups; row += drawn[i++])
        if (drawn[i]) plot_pair_names(&p, &f, n, &g[i], row, drawn[i], rows);
    plot_close(&p);
}

/* Quantile of a gamma distribution of that mean and deviation, z in standard deviations of a normal
   one (Wilson and Hilferty 1931). */
static double gamma_quantile(double mean, double deviation, double z)
{
    double ninth = mean > 0 ? deviation * deviation / (9 * mean * mean) : 0;
    double root = 1 - ninth + z * sqrt(ninth);
    return root > 0 ? mean * root * root * root : 0;
}

typedef struct power_spectrum {
    double *bin, *mean;        /* [bins] */
    double *low, *high;        /* [bins] the middle 95 % of the null */
    double *amplitude, *phase; /* [bins] of one vector */
    double null_mean;
    int bins;
} power_spectrum;

static power_spectrum spectrum_open(int n)
{
    power_spectrum s;
    s.bins = n / 2 + 1;
    s.null_mean = 0;
    s.bin = (double *)memory_of(6 * (size_t)s.bins, sizeof(double));
    s.mean = s.bin + s.bins;
    s.low = s.mean + s.bins;
    s.high = s.low + s.bins;
    s.amplitude = s.high + s.bins;
    s.phase = s.amplitude + s.bins;
    return s;
}

/* The null: as many vectors of the same lengths, each in a direction of its own at random. A bin
   then holds, with |x|^2 / n its mean, |x|^2 / 2 times a share Beta(1, n / 2 - 1), or where it has no
   sine |x|^2 times a share Beta(1 / 2, (n - 1) / 2). fourth: the mean of |x|^4. */
static void spectrum_null(power_spectrum *s, double n, double count, double fourth)
{
    int k;
    for (k = 0; k < s->bins; k++) {
        double spread = k == 0 || 2 * k == n ? 2 * (n - 1) / (n + 2) : (n - 2) / (n + 2);
        double deviation = sqrt(spread * fourth / count) / n;
        s->bin[k] = k;
        s->low[k] = gamma_quantile(s->null_mean, deviation, -1.96);
        s->high[k] = gamma_quantile(s->null_mean, deviation, 1.96);
    }
}

/* Mean power |X|^2 / n of all vectors, and its null. */
static power_spectrum spectrum_of_all(const vectors *v, wcoh_dft *dft)
{
    power_spectrum s = spectrum_open(v->n);
    double fourth = 0, n = v->n, count = (double)v->count;
    size_t row;
    int k;
    for (row = 0; row < v->count; row++) {
        const float *x = v->values + row * (size_t)v->n;
        double square = 0;
        for (k = 0; k < v->n; k++) square += (double)x[k] * (double)x[k];
        s.null_mean += square / n / count;
        fourth += square * square / count;
        wcoh_packet_dft(dft, x, s.amplitude, s.phase);
        for (k = 0; k < s.bins; k++) s.mean[k] += s.amplitude[k] * s.amplitude[k] / n / count;
    }
    spectrum_null(&s, n, count, fourth);
    return s;
}

/* The span of what is drawn; bins of nearly no power would take all room and are NaN instead.
   Returns their number. */
static int spectrum_span(power_spectrum *s, double *low, double *high)
{
    int k, left_out = 0;
    *low = *high = s->null_mean;
    for (k = 0; k < s->bins; k++) {
        if (s->low[k] > s->null_mean * 1e-2) plot_span(low, high, s->low[k]);
        plot_span(low, high, s->high[k]);
    }
    for (k = 0; k < s->bins; k++) {
        if (s->mean[k] > s->null_mean * 1e-4) plot_span(low, high, s->mean[k]);
        else s->mean[k] = NAN, left_out++;
    }
    return left_out;
}

static void plot_spectrum(const char *prefix, power_spectrum *s, size_t count)
{
    double low, high;
    int left_out = spectrum_span(s, &low, &high);
    plot_style style = plot_style_of(0), null = style;
    plot p;
    plot_frame f;
    plot_open(&p, prefix, "spectrum", 820, 430,
              text_made("Mean power spectrum of %lu vector%s", (unsigned long)count,
                        count == 1 ? "" : "s"));
    f = plot_frame_of(&p, plot_axis_of(0, s->bins - 1), plot_axis_log(low / 1.1, high * 1.1), 170);
    plot_axes(&p, &f, "frequency (cycles over the index)", "power |X|\302\262 / n (log scale)",
              PLOT_X_WHOLE);
    null.colour = PLOT_GREY;
    null.dash = 1;
    plot_band(&p, &f, s->bin, s->low, s->high, s->bins, PLOT_NULL);
    plot_line_dashed(&p, f.left, plot_y(&f, s->null_mean), f.left + f.width,
                     plot_y(&f, s->null_mean), 1.4, PLOT_GREY, 1);
    plot_curve(&p, &f, s->bin, s->mean, s->bins, 1.8, style);
    plot_legend(&p, &f, 0, "measured", style, 0);
    plot_legend(&p, &f, 1, "null, mean", null, 0);
    plot_legend_area(&p, &f, 2, "null, 95 %", PLOT_NULL);
    plot_note(&p, &f, 4, 0, "null: directions at");
    plot_note(&p, &f, 5, 0, "random, same lengths");
    if (left_out) {
        plot_note(&p, &f, 7, 0, text_made("below 1e-4 of the null,"));
        plot_note(&p, &f, 8, 0, text_made("left out: %d bin%s", left_out, left_out > 1 ? "s" : ""));
    }
    plot_close(&p);
}

enum { WHEEL_BINS = 97, WHEEL_NAMED = 5 };

static const double wheel_x = 300, wheel_y = 310, wheel_radius = 225; /* pixels */

/* The WHEEL_NAMED strongest bins, strongest first; returns how many have an amplitude at all. */
static int wheel_strongest(const power_spectrum *s, int shown, int *best)
{
    int count, i, k;
    for (count = 0; count < WHEEL_NAMED; count++) {
        best[count] = -1;
        for (k = 0; k < shown; k++) {
            for (i = 0; i < count && best[i] != k; i++) {}
            if (i == count && s->amplitude[k] > 0 &&
                (best[count] < 0 || s->amplitude[k] > s->amplitude[best[count]]))
                best[count] = k;
        }
        if (best[count] < 0) break;
    }
    return count;
}

/* Places that have a number already. */
typedef struct wheel_taken {
    double at[WHEEL_NAMED + PLOT_MOST_TICKS][2];
    int count;
} wheel_taken;

/* 1 if a small number can stand there; then it is taken. */
static int wheel_take(wheel_taken *t, double x, double y)
{
    int i;
    for (i = 0; i < t->count; i++)
        if (fabs(t->at[i][0] - x) < 22 && fabs(t->at[i][1] - y) < 13) return 0;
    t->at[t->count][0] = x;
    t->at[t->count++][1] = y;
    return 1;
}

static double spoke_x(double r, double phase) { return wheel_x + r * cos(phase); }
static double spoke_y(double r, double phase) { return wheel_y - r * sin(phase); }

/* Numbers of the strongest bins behind the ends of their spokes, where there is room. */
static void plot_wheel_bins(plot *p, const plot_axis *scale, const power_spectrum *s,
                            const int *best, int count)
{
    plot_ticks ticks = plot_ticks_of(scale, 4, 0);
    wheel_taken taken;
    int i;
    taken.count = 0;
    for (i = 0; i < ticks.count; i++) {
        double r = wheel_radius * plot_share(scale, ticks.at[i]);
        wheel_take(&taken, spoke_x(r, plot_pi / 12), spoke_y(r, plot_pi / 12));
    }
    for (i = 0; i < count; i++) {
        double r = wheel_radius * plot_share(scale, s->amplitude[best[i]]) + 12;
        double x = spoke_x(r, s->phase[best[i]]), y = spoke_y(r, s->phase[best[i]]);
        if (wheel_take(&taken, x, y))
            plot_text_over(p, x, y + 4, 11, PLOT_INK, text_made("%d", best[i]));
    }
}

/* The strongest bins in numbers. */
static void plot_wheel_names(plot *p, const plot_axis *scale, const power_spectrum *s, int shown)
{
    int best[WHEEL_NAMED], count = wheel_strongest(s, shown, best), i;
    const double x = 590, y = 110;
    plot_wheel_bins(p, scale, s, best, count);
    plot_text(p, x, y - 26, 13, -1, 0, PLOT_INK, count ? "strongest" : "all amplitudes are 0");
    for (i = 0; i < count; i++) {
        double degrees = fmod(s->phase[best[i]] * 180 / plot_pi + 360, 360);
        plot_disc(p, x + 6, y + 22 * i - 4, 5, plot_wheel_colour(best[i], shown));
        plot_text(
            p, x + 18, y + 22 * i, 13, -1, 0, PLOT_INK,
            text_made("bin %d: %.3g at %.0f\302\260", best[i], s->amplitude[best[i]], degrees));
    }
}

/* DFT of vector 0: a spoke a bin, as long as its amplitude, at its phase. */
static void plot_first_wheel(const char *prefix, const vectors *v, const names *n, wcoh_dft *dft,
                             power_spectrum *s)
{
    int shown = s->bins < WHEEL_BINS ? s->bins : WHEEL_BINS, k;
    const char *quote = n->count && n->of_row[0][0] ? "\"" : "";
    double low = 0, high = 0;
    plot_axis scale;
    plot p;
    wcoh_packet_dft(dft, v->values, s->amplitude, s->phase);
    for (k = 0; k < shown; k++) plot_span(&low, &high, s->amplitude[k]);
    scale = plot_axis_of(0, high * 1.1); /* room for the numbers of bins */
    plot_open(&p, prefix, "wheel", 790, 660,
              text_made("Phase wheel of vector %s%s%s", quote,
                        plot_fit(row_text(n, 0), PLOT_TITLE, 500), quote));
    plot_wheel(&p, wheel_x, wheel_y, wheel_radius, &scale, s->phase, s->amplitude, shown);
    plot_wheel_names(&p, &scale, s, shown);
    for (k = 0; k < 64; k++) plot_rect(&p, 172 + 4 * k, 596, 4.3, 12, plot_shade(0.92 * k / 63, 0));
    plot_text(&p, 164, 606, 12, 1, 0, PLOT_INK, "bin 0");
    plot_text(&p, 436, 606, 12, -1, 0, PLOT_INK, text_made("bin %d", shown - 1));
    plot_text(
        &p, wheel_x, 632, 13, 0, 0, PLOT_INK,
        text_made("a spoke a DFT bin, %d of %d; angle: phase (degrees); length: amplitude |X|",
                  shown, s->bins));
    plot_close(&p);
}

/* Pictures of fixed names come first: a group of that name then takes another one. */
static void plot_all(const char *prefix, const vectors *v, const names *n, const group *g,
                     int groups, const measured *m, int bands)
{
    power_spectrum s;
    wcoh_dft *dft;
    wcoh_error error;
    int i;
    must(wcoh_dft_create(&dft, v->n, NULL, &error), NULL, &error);
    s = spectrum_of_all(v, dft);
    plot_spectrum(prefix, &s, v->count);
    plot_first_wheel(prefix, v, n, dft, &s);
    plot_pairs(prefix, n, g, groups, m, bands);
    for (i = 0; i < groups; i++) plot_group(prefix, &g[i], &m[i], bands);
    wcoh_dft_destroy(dft);
    free(s.bin);
}

int main(int argc, char **argv)
{
    group *groups = (group *)memory_of(GROUPS, sizeof *groups);
    static measured all[3][GROUPS]; /* DFT by rotations, by permutations, blocks by rotations */
    wcoh_figure energy[BANDS];
    wcoh_spectral *s;
    wcoh_error error;
    vectors v;
    names n;
    request r;
    int count, bands;
    program_begin("embed_report");
    memset(&r, 0, sizeof r);
    r.spectral.seed = 1;
    request_read(&r, argc, argv);
    v = vectors_read(r.file, r.tensor);
    memset(&n, 0, sizeof n);
    if (r.names) n = names_read(r.names, v.count);
    count = groups_read(&r, &n, groups, v.count);
    measure(&r, &v, groups, count, WCOH_SPLIT_DFT, WCOH_NULL_ROTATION, all[0]);
    measure(&r, &v, groups, count, WCOH_SPLIT_DFT, WCOH_NULL_PERMUTATION, all[1]);
    measure(&r, &v, groups, count, WCOH_SPLIT_BLOCKS, WCOH_NULL_ROTATION, all[2]);
    s = spectral_of(&r, v.n, WCOH_SPLIT_DFT, WCOH_NULL_ROTATION);
    r.spectral = *wcoh_spectral_get_desc(s); /* with its defaults */
    bands = r.spectral.bands;
    must(wcoh_spectral_energy(s, v.values, v.count, energy, &error), r.file, &error);
    wcoh_spectral_destroy(s);
    if (r.json) print_json(&r, &v, groups, count, bands, all, energy);
    else print_text(&r, &v, &n, groups, count, bands, all, energy);
    if (r.plots) plot_all(r.plots, &v, &n, groups, count, all[0], bands);
    stdout_check();
    return 0;
}

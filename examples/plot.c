/* Loss curves of one or several runs from the trainer's CSV files (train --log FILE).

   cc -O2 examples/plot.c -o plot -lm                          (OUT.svg)
   cc -O2 -DWAVECOH_PNG examples/plot.c -o plot -lm            (OUT.png too; Debian: libstb-dev)
   ./plot OUT run.csv [other.csv ...]

   Thin lines: training loss, a running mean over 1 % of the run. Thick lines with marks: validation
   loss. A loss that is not finite leaves a gap.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#define WAVECOH_IMPLEMENTATION
#define WAVECOH_NO_TRAINING /* it takes the saving of files alone */
#define WAVECOH_NO_TOOLKIT
#define WAVECOH_NO_SUBWORDS
#define WAVECOH_NO_SIMD
#define WAVECOH_NO_THREADS
#include "../wavecoh.h"

#include "plot.h"

enum { RUNS = 8, PLOTTED = 400, FIELDS = 64 };

#define USAGE "usage: plot OUT run.csv [other.csv ..] draws OUT.svg from 1 to 8 logs of train"

typedef struct curve {
    double *step, *train, *val_step, *val;
    int count, val_count;
    int finite, gaps; /* losses that are, and that are not */
} curve;

/* ---- reading ------------------------------------------------------------------------------- */

static double *numbers(size_t count)
{
    if (count >= (size_t)-1 / sizeof(double)) fail(EXIT_FAILED, "a log is too long");
    return (double *)(void *)text_keep(count * sizeof(double));
}

/* Fields of a line, cut at its commas in place; at most FIELDS are kept, all are counted. */
static int csv_fields(char *line, char **fields)
{
    int count = 1;
    fields[0] = line;
    for (; *line; line++) {
        if (*line != ',') continue;
        *line = 0;
        if (count < FIELDS) fields[count] = line + 1;
        count++;
    }
    return count;
}

/* A field as a number, "nan" and "inf" too; NaN for an empty one. */
static double field_number(const char *path, size_t line, const char *name, const char *field)
{
    char *end;
    double value = strtod(field, &end);
    if (end == field) value = NAN;
    if (field[strspn(field, " ")] && (end == field || end[strspn(end, " ")]))
        fail(EXIT_FAILED, "%s: line %lu: %s is \"%s\": expected a number", path,
             (unsigned long)line, name, text_shortened(field, 40));
    return value;
}

static int is_given(const char *field) { return field[strspn(field, " ")] != 0; }

static void curve_tally(curve *c, const char *field, double loss)
{
    if (plot_is_finite(loss)) c->finite++;
    else c->gaps += is_given(field);
}

/* Row `line` of the file, "step,train,val,..", into the curve; an empty loss is none. */
static void curve_row(curve *c, const char *path, size_t line, char **fields)
{
    double step = field_number(path, line, "step", fields[0]), val;
    if (!plot_is_finite(step))
        fail(EXIT_FAILED, "%s: line %lu: its step is missing", path, (unsigned long)line);
    if (c->count && step <= c->step[c->count - 1])
        fail(EXIT_FAILED, "%s: line %lu: step %.10g comes after step %.10g: are these two logs?",
             path, (unsigned long)line, step, c->step[c->count - 1]);
    c->step[c->count] = step;
    c->train[c->count++] = field_number(path, line, "train", fields[1]);
    val = field_number(path, line, "val", fields[2]);
    curve_tally(c, fields[1], c->train[c->count - 1]);
    curve_tally(c, fields[2], val);
    if (!is_given(fields[2])) return;
    c->val_step[c->val_count] = step;
    c->val[c->val_count++] = val;
}

/* 1 if the file ends within a line: its run goes on, or was killed. */
static int ends_within_line(const char *path)
{
    FILE *file = fopen(path, "rb");
    int last = '\n';
    if (file && fseek(file, -1, SEEK_END) == 0) last = fgetc(file);
    if (file) fclose(file);
    return last != '\n';
}

static curve curve_read(const char *path)
{
    size_t count, line;
    char **lines = file_lines(path, &count), *fields[FIELDS];
    int wanted, found;
    curve c;
    memset(&c, 0, sizeof c);
    if (!count || strncmp(lines[0], "step,train,val", 14) != 0)
        fail(EXIT_FAILED, "%s: it does not begin with step,train,val: it is no log of train", path);
    wanted = csv_fields(lines[0], fields);
    c.step = numbers(count);
    c.train = numbers(count);
    c.val_step = numbers(count);
    c.val = numbers(count);
    for (line = 2; line <= count; line++) {
        if (!*lines[line - 1]) continue;
        found = csv_fields(lines[line - 1], fields);
        if (found < wanted && line == count && ends_within_line(path))
            say("%s: line %lu is cut off and left out", path, (unsigned long)line);
        else if (found != wanted)
            fail(EXIT_FAILED, "%s: line %lu has %d fields: expected %d, as in its first line", path,
                 (unsigned long)line, found, wanted);
        else curve_row(&c, path, line, fields);
    }
    if (c.count == 0) fail(EXIT_FAILED, "%s: it has no rows", path);
    return c;
}

/* ---- drawing ------------------------------------------------------------------------------- */

/* mean[i] of the finite among values[i - window + 1 .. i], NaN if there are none, in O(count) and
   without differences of large sums: what ends block by block plus what began the block before.
   Values are summed as shares, so that only a mean that overflows itself does. */
static void running_mean(const double *values, int count, int window, double *mean)
{
    double *tail = numbers((size_t)window + 1), head = 0; /* tail[k]: from k to its block's end */
    int *tail_count = (int *)(void *)text_keep(((size_t)window + 1) * sizeof(int)), head_count = 0;
    int i, k, begin = 0;
    memset(tail, 0, ((size_t)window + 1) * sizeof *tail);
    memset(tail_count, 0, ((size_t)window + 1) * sizeof *tail_count);
    for (i = 0; i < count; i++) {
        int finite = plot_is_finite(values[i]), inside, of;
        if (i == begin + window) {
            for (k = window - 1; k >= 0; k--) {
                int kept = plot_is_finite(values[begin + k]);
                tail[k] = tail[k + 1] + (kept ? values[begin + k] / window : 0);
                tail_count[k] = tail_count[k + 1] + kept;
            }
            begin = i;
            head = head_count = 0;
        }
        head += finite ? values[i] / window : 0;
        head_count += finite;
        inside = i - begin + 1;
        of = head_count + (begin ? tail_count[inside] : 0);
        mean[i] = of ? (head + (begin ? tail[inside] : 0)) * ((double)window / of) : NAN;
    }
}

/* Every n-th of the points and the last, at most PLOTTED + 1. */
static int thinned(double *x, double *y, int count)
{
    int keep = (count + PLOTTED - 1) / PLOTTED, i, n = 0;
    for (i = 0; i < count; i++) {
        if (i % keep && i + 1 < count) continue;
        x[n] = x[i];
        y[n++] = y[i];
    }
    return n;
}

static void curve_smooth(curve *c)
{
    double *mean = numbers((size_t)c->count);
    running_mean(c->train, c->count, c->count / 100 + 1, mean);
    c->count = thinned(c->step, mean, c->count);
    c->train = mean;
    c->val_count = c->val_count ? thinned(c->val_step, c->val, c->val_count) : 0;
}

static const char *file_part(const char *path)
{
    const char *name = strrchr(path, '/');
    return name ? name + 1 : path;
}

/* The file's name, or its whole path where another file of the picture has that name too. */
static const char *curve_name(char **paths, int runs, int i)
{
    int k;
    for (k = 0; k < runs; k++)
        if (k != i && strcmp(file_part(paths[k]), file_part(paths[i])) == 0) return paths[i];
    return file_part(paths[i]);
}

/* 1 if all steps are whole: then only whole ones are ticks. */
static int steps_are_whole(const curve *c, int runs)
{
    int i, k, whole = 1;
    for (i = 0; i < runs; i++)
        for (k = 0; k < c[i].count; k++) whole &= c[i].step[k] == floor(c[i].step[k]);
    return whole;
}

/* Steps from 0 where they begin near it; losses with a margin, so that none lies on an edge. */
static plot_frame frame_of(const plot *p, const curve *curves, int runs, double legend)
{
    double low = 1, high = 0, first = 1, last = 0, margin;
    int i, k;
    for (i = 0; i < runs; i++) {
        const curve *c = &curves[i];
        for (k = 0; k < c->count; k++) plot_span(&low, &high, c->train[k]);
        for (k = 0; k < c->val_count; k++) plot_span(&low, &high, c->val[k]);
        plot_span(&first, &last, c->step[0]);
        plot_span(&first, &last, c->step[c->count - 1]);
    }
    if (first > 0 && first < last / 2) first = 0;
    if (first == last) first -= 1, last += 1;
    margin = low < high ? 0.03 * (high / 2 - low / 2) * 2 : 0;
    return plot_frame_of(p, plot_axis_of(first, last),
                         plot_axis_of(plot_within(low - margin), plot_within(high + margin)),
                         legend);
}

/* Pixels of the legend: as many as the names want, within bounds. */
static double legend_width(const char *const *names, int runs)
{
    double widest = 0;
    int i;
    for (i = 0; i < runs; i++) widest = fmax(widest, plot_text_width(text_shown(names[i]), 13));
    return fmax(200, fmin(320, widest + 58));
}

static void draw(const char *out, const curve *curves, int runs, char **paths)
{
    const char *names[RUNS];
    double legend;
    plot p;
    plot_frame f;
    int i, gaps = 0, drawn = 0;
    for (i = 0; i < runs; i++) names[i] = curve_name(paths, runs, i);
    legend = legend_width(names, runs);
    plot_open(&p, out, NULL, (int)(700 + legend), 520, "Loss over training");
    f = frame_of(&p, curves, runs, legend);
    plot_axes(&p, &f, "step", "loss (nats per token)",
              steps_are_whole(curves, runs) ? PLOT_X_WHOLE : PLOT_X_REAL);
    for (i = 0; i < runs; i++) {
        const curve *c = &curves[i];
        plot_style style = plot_style_of(i), thin = style;
        if (i < PLOT_COLOURS) thin.dash = 0; /* a colour that comes again is dashed */
        plot_curve(&p, &f, c->step, c->train, c->count, 1, thin);
        plot_curve(&p, &f, c->val_step, c->val, c->val_count, 2.6, style);
        plot_points(&p, &f, c->val_step, c->val, c->val_count, 3.4, style);
        gaps += c->gaps;
        drawn += c->finite;
    }
    plot_legends(&p, &f, names, runs, 1);
    plot_note(&p, &f, runs + 1, 0, "thick, marked: validation");
    plot_note(&p, &f, runs + 2, 0, "thin: training, mean of 1 %");
    if (gaps) plot_note(&p, &f, runs + 3, 0, text_made("not finite, left out: %d", gaps));
    if (!drawn) plot_note(&p, &f, runs + 4, 0, "no loss is finite");
    plot_close(&p);
}

int main(int count, char **words)
{
    curve curves[RUNS];
    int runs = count - 2, i;
    program_begin("plot");
    for (i = 1; i < count; i++)
        if (words[i][0] == '-' && words[i][1]) {
            word_choose("the option", words[i], "--help -h");
            printf(USAGE "\n");
            stdout_check();
            return 0;
        }
    if (runs < 1 || runs > RUNS) fail(EXIT_USAGE, "%d logs; " USAGE, runs < 0 ? 0 : runs);
    for (i = 0; i < runs; i++) {
        curves[i] = curve_read(words[2 + i]);
        curve_smooth(&curves[i]);
    }
    draw(words[1], curves, runs, words + 2);
    return 0;
}

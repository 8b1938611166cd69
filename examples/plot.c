/* Loss curves of one or several runs from the trainer's CSV files (train --log FILE).

   cc -O2 examples/plot.c -o plot -lm                          (OUT.svg)
   cc -O2 -DWAVECOH_PNG examples/plot.c -o plot -lm            (OUT.png too; Debian: libstb-dev)
   ./plot OUT run.csv [other.csv ...]

   Thin lines: training loss, a running mean over 1 % of the run. Thick lines: validation loss.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#include "plot.h"

enum { RUNS = 8 };

typedef struct curve {
    double *step, *train, *val_step, *val;
    int count, val_count;
} curve;

static void give_up(const char *path, const char *what)
{
    fprintf(stderr, "plot: %s: %s\n", path, what);
    exit(1);
}

/* Rows "step,train,val,.."; an empty val is none. Other columns are left alone. */
static curve read_csv(const char *path)
{
    FILE *file = fopen(path, "rb");
    char line[512];
    curve c;
    int capacity = 0;
    memset(&c, 0, sizeof c);
    if (!file) give_up(path, "cannot open it");
    if (!fgets(line, sizeof line, file) || strncmp(line, "step,train,val", 14) != 0)
        give_up(path, "it does not begin with step,train,val: it is no log of train");
    while (fgets(line, sizeof line, file)) {
        char *at = line, *end;
        double step = strtod(at, &end), train;
        if (end == at || *end != ',') continue;
        at = end + 1;
        train = strtod(at, &end);
        if (end == at || *end != ',') continue;
        if (c.count == capacity) {
            size_t bytes;
            capacity = capacity ? 2 * capacity : 1024;
            bytes = (size_t)capacity * sizeof(double);
            c.step = (double *)realloc(c.step, bytes);
            c.train = (double *)realloc(c.train, bytes);
            c.val_step = (double *)realloc(c.val_step, bytes);
            c.val = (double *)realloc(c.val, bytes);
            if (!c.step || !c.train || !c.val_step || !c.val) give_up(path, "no memory");
        }
        c.step[c.count] = step;
        c.train[c.count++] = train;
        at = end + 1;
        train = strtod(at, &end);
        if (end == at) continue;
        c.val_step[c.val_count] = step;
        c.val[c.val_count++] = train;
    }
    fclose(file);
    if (c.count == 0) give_up(path, "it has no rows");
    return c;
}

/* Running mean of the training loss, thinned to at most 400 points. */
static void smooth(curve *c)
{
    int window = c->count / 100 + 1, keep = c->count / 400 + 1, i, k, n = 0;
    double *mean = (double *)malloc((size_t)c->count * sizeof(double));
    if (!mean) give_up("smoothing", "no memory");
    for (i = 0; i < c->count; i++) {
        int from = i - window < 0 ? 0 : i - window;
        mean[i] = 0;
        for (k = from; k <= i; k++) mean[i] += c->train[k] / (i - from + 1);
    }
    for (i = 0; i < c->count; i += keep) {
        c->step[n] = c->step[i];
        c->train[n++] = mean[i];
    }
    c->count = n;
    free(mean);
}

static const char *file_part(const char *path)
{
    const char *name = strrchr(path, '/');
    return name ? name + 1 : path;
}

int main(int count, char **words)
{
    curve curves[RUNS];
    plot p;
    plot_frame f;
    double low = 1e300, high = -1e300, last = 0;
    int runs = count - 2, i, k;
    char name[64];
    if (runs < 1 || runs > RUNS) {
        fprintf(stderr, "use: plot OUT run.csv [..., at most %d]\n", RUNS);
        return 2;
    }
    for (i = 0; i < runs; i++) {
        curve *c = &curves[i];
        *c = read_csv(words[2 + i]);
        smooth(c);
        for (k = 0; k < c->count; k++) {
            if (k > 0 || c->count == 1) low = c->train[k] < low ? c->train[k] : low;
            high = c->train[k] > high ? c->train[k] : high;
        }
        for (k = 0; k < c->val_count; k++) low = c->val[k] < low ? c->val[k] : low;
        last = c->step[c->count - 1] > last ? c->step[c->count - 1] : last;
    }
    if (!plot_open(&p, words[1], 900, 520, "Loss over training")) give_up(words[1], "cannot write");
    f = plot_frame_of(&p, 0, last, floor(low * 5) / 5, ceil(high * 5) / 5, 190);
    plot_axes(&p, &f, "step", "loss (nats per token)", 1);
    for (i = 0; i < runs; i++) {
        int colour = plot_colours[i % 8];
        plot_curve(&p, &f, curves[i].step, curves[i].train, curves[i].count, 1, colour);
        plot_curve(&p, &f, curves[i].val_step, curves[i].val, curves[i].val_count, 2.6, colour);
        for (k = 0; k < curves[i].val_count; k++)
            plot_disc(&p, plot_x(&f, curves[i].val_step[k]), plot_y(&f, curves[i].val[k]), 3.2,
                      colour);
        snprintf(name, sizeof name, "%.20s", file_part(words[2 + i]));
        plot_legend(&p, &f, i, name, colour);
    }
    plot_text(&p, f.left + f.width + 14, f.top + 24 + 20 * runs, 12, -1, 0, PLOT_INK,
              "thick: validation");
    plot_text(&p, f.left + f.width + 14, f.top + 40 + 20 * runs, 12, -1, 0, PLOT_INK,
              "thin: training (mean)");
    if (!plot_close(&p)) give_up(words[1], "could not be written");
    return 0;
}

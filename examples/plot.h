/* Pictures for the example programs: curves, bars with their null, heat maps, phase wheels.
   Every picture is written as NAME.svg with no dependency, and as NAME.png too where the program is
   built with -DWAVECOH_PNG and Debian's libstb-dev (stb_image_write.h, stb_easy_font.h).

   A picture is drawn by a few strokes (plot_line, plot_rect, plot_disc, plot_text) in units of
   pixels; charts are built on these. Include it after common.h; it is no part of the library.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef WAVECOH_EXAMPLES_PLOT_H
#define WAVECOH_EXAMPLES_PLOT_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define PLOT_USED __attribute__((__unused__))
#else
#define PLOT_USED
#endif

#ifdef WAVECOH_PNG
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wsign-compare"
#endif
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>
#include <stb/stb_easy_font.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
#endif

enum { PLOT_FINE = 3 }; /* samples a pixel and direction of the PNG */
enum { PLOT_INK = 0x202124, PLOT_GREY = 0x9aa0a6, PLOT_PALE = 0xe4e6ea };

static const int plot_colours[8] = {0x1f6feb, 0xd1495b, 0x2a9d4e, 0xe09f1f,
                                    0x7b4fc9, 0x0f9fb5, 0x8a5a2b, 0x5c6773};

typedef struct plot {
    FILE *svg;
    int width, height;
    char name[512];
    unsigned char *fine; /* [height*FINE, width*FINE, 3] for the PNG */
} plot;

/* Where a chart stands in the picture, and the numbers its edges stand for. */
typedef struct plot_frame {
    double left, top, width, height;
    double x0, x1, y0, y1;
    int log_y; /* y0, y1 are the numbers themselves */
} plot_frame;

/* ---- strokes ------------------------------------------------------------------------------ */

static void plot_rect(plot *p, double x, double y, double w, double h, int colour);

/* Opens NAME.svg; 0 if that fails. */
PLOT_USED static int plot_open(plot *p, const char *name, int width, int height, const char *title);
/* Closes it, writes NAME.png; 0 if something could not be written. */
PLOT_USED static int plot_close(plot *p);

static void plot_fill(plot *p, double x0, double y0, double x1, double y1, int colour)
{
    int x, y, i, fine_width = p->width * PLOT_FINE, fine_height = p->height * PLOT_FINE;
    int from_x = (int)floor(x0 * PLOT_FINE + 0.5), to_x = (int)floor(x1 * PLOT_FINE + 0.5);
    int from_y = (int)floor(y0 * PLOT_FINE + 0.5), to_y = (int)floor(y1 * PLOT_FINE + 0.5);
    if (!p->fine) return;
    for (y = from_y < 0 ? 0 : from_y; y < to_y && y < fine_height; y++)
        for (x = from_x < 0 ? 0 : from_x; x < to_x && x < fine_width; x++)
            for (i = 0; i < 3; i++)
                p->fine[((size_t)y * (size_t)fine_width + (size_t)x) * 3 + (size_t)i] =
                    (unsigned char)(colour >> (16 - 8 * i) & 255);
}

static void plot_rect(plot *p, double x, double y, double w, double h, int colour)
{
    fprintf(p->svg, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"#%06x\"/>\n",
            x, y, w, h, (unsigned)colour);
    plot_fill(p, x, y, x + w, y + h, colour);
}

/* All fine pixels within `radius` of the segment. */
static void plot_stroke(plot *p, double x0, double y0, double x1, double y1, double radius,
                        int colour)
{
    double dx = x1 - x0, dy = y1 - y0, length = dx * dx + dy * dy, step = 1.0 / PLOT_FINE;
    double left = (x0 < x1 ? x0 : x1) - radius, right = (x0 < x1 ? x1 : x0) + radius;
    double top = (y0 < y1 ? y0 : y1) - radius, bottom = (y0 < y1 ? y1 : y0) + radius, x, y;
    if (!p->fine) return;
    for (y = floor(top * PLOT_FINE) / PLOT_FINE + step / 2; y < bottom; y += step)
        for (x = floor(left * PLOT_FINE) / PLOT_FINE + step / 2; x < right; x += step) {
            double t = length > 0 ? ((x - x0) * dx + (y - y0) * dy) / length : 0, ex, ey;
            t = t < 0 ? 0 : t > 1 ? 1 : t;
            ex = x - x0 - t * dx;
            ey = y - y0 - t * dy;
            if (ex * ex + ey * ey <= radius * radius)
                plot_fill(p, x - step / 2, y - step / 2, x + step / 2, y + step / 2, colour);
        }
}

static void plot_line(plot *p, double x0, double y0, double x1, double y1, double thick, int colour)
{
    fprintf(p->svg,
            "<line x1=\"%.2f\" y1=\"%.2f\" x2=\"%.2f\" y2=\"%.2f\" stroke=\"#%06x\" "
            "stroke-width=\"%.2f\" stroke-linecap=\"round\"/>\n",
            x0, y0, x1, y1, (unsigned)colour, thick);
    plot_stroke(p, x0, y0, x1, y1, thick / 2, colour);
}

static void plot_disc(plot *p, double x, double y, double radius, int colour)
{
    fprintf(p->svg, "<circle cx=\"%.2f\" cy=\"%.2f\" r=\"%.2f\" fill=\"#%06x\"/>\n", x, y, radius,
            (unsigned)colour);
    plot_stroke(p, x, y, x, y, radius, colour);
}

/* Text whose anchor (-1 begin, 0 middle, 1 end) is at x on the base line y; `up`: turned to read
   upwards. size: height of a line in pixels. */
static void plot_text(plot *p, double x, double y, double size, int anchor, int up, int colour,
                      const char *text)
{
    static const char *const anchors[3] = {"start", "middle", "end"};
    const char *c;
    fprintf(p->svg,
            "<text x=\"%.2f\" y=\"%.2f\" font-size=\"%.1f\" text-anchor=\"%s\" fill=\"#%06x\"", x,
            y, size, anchors[anchor + 1], (unsigned)colour);
    if (up) fprintf(p->svg, " transform=\"rotate(-90 %.2f %.2f)\"", x, y);
    fputs(">", p->svg);
    for (c = text; *c; c++) {
        if (*c == '<') fputs("&lt;", p->svg);
        else if (*c == '&') fputs("&amp;", p->svg);
        else if ((unsigned char)*c >= 32) fputc(*c, p->svg);
    }
    fputs("</text>\n", p->svg);
#ifdef WAVECOH_PNG
    if (p->fine) {
        static float quads[64 * 1024];
        char copy[256];
        double scale = size / 11.0, wide;
        int count, i;
        for (i = 0; i < 255 && text[i]; i++)
            copy[i] = (char)((unsigned char)text[i] < 127 ? text[i] : '?');
        copy[i] = 0;
        wide = stb_easy_font_width(copy) * scale;
        count = stb_easy_font_print(0, 0, copy, NULL, quads, (int)sizeof quads);
        for (i = 0; i < count; i++) { /* 4 corners of 4 floats each; 7 is the base line */
            const float *q = quads + 16 * i;
            double x0 = (double)q[0] * scale - wide * (anchor + 1) / 2;
            double x1 = (double)q[8] * scale - wide * (anchor + 1) / 2;
            double y0 = ((double)q[1] - 7) * scale, y1 = ((double)q[9] - 7) * scale;
            if (up) plot_fill(p, x + y0, y - x1, x + y1, y - x0, colour);
            else plot_fill(p, x + x0, y + y0, x + x1, y + y1, colour);
        }
    }
#endif
}

static int plot_open(plot *p, const char *name, int width, int height, const char *title)
{
    char path[600];
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "%s", name);
    snprintf(path, sizeof path, "%s.svg", name);
    p->width = width;
    p->height = height;
    p->svg = fopen(path, "wb");
    if (!p->svg) return 0;
#ifdef WAVECOH_PNG
    p->fine = (unsigned char *)malloc((size_t)width * (size_t)height * PLOT_FINE * PLOT_FINE * 3);
#endif
    fprintf(p->svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "viewBox=\"0 0 %d %d\" font-family=\"sans-serif\">\n",
            width, height, width, height);
    plot_rect(p, 0, 0, width, height, 0xffffff);
    plot_text(p, width / 2.0, 26, 17, 0, 0, PLOT_INK, title);
    return 1;
}

static int plot_close(plot *p)
{
    int ok = fputs("</svg>\n", p->svg) >= 0;
    ok = fclose(p->svg) == 0 && ok;
#ifdef WAVECOH_PNG
    if (p->fine) {
        char path[600];
        int x, y, i, dx, dy, wide = p->width * PLOT_FINE;
        for (y = 0; y < p->height; y++) /* the mean of the fine pixels, in place */
            for (x = 0; x < p->width; x++)
                for (i = 0; i < 3; i++) {
                    int sum = 0;
                    for (dy = 0; dy < PLOT_FINE; dy++)
                        for (dx = 0; dx < PLOT_FINE; dx++)
                            sum += p->fine[((size_t)(y * PLOT_FINE + dy) * (size_t)wide +
                                            (size_t)(x * PLOT_FINE + dx)) *
                                               3 +
                                           (size_t)i];
                    p->fine[((size_t)y * (size_t)p->width + (size_t)x) * 3 + (size_t)i] =
                        (unsigned char)(sum / (PLOT_FINE * PLOT_FINE));
                }
        snprintf(path, sizeof path, "%s.png", p->name);
        ok = stbi_write_png(path, p->width, p->height, 3, p->fine, 3 * p->width) && ok;
    }
#endif
    free(p->fine);
    return ok;
}

/* ---- axes --------------------------------------------------------------------------------- */

static double plot_x(const plot_frame *f, double x)
{
    return f->left + (x - f->x0) / (f->x1 - f->x0) * f->width;
}

static double plot_y(const plot_frame *f, double y)
{
    double t = f->log_y ? log(y / f->y0) / log(f->y1 / f->y0) : (y - f->y0) / (f->y1 - f->y0);
    return f->top + f->height * (1 - (t < 0 ? 0 : t > 1 ? 1 : t));
}

/* 1, 2 or 5 times a power of ten, so that about `wanted` steps fill the span. */
static double plot_step(double span, int wanted)
{
    double raw = span / wanted, unit = pow(10, floor(log10(raw))), t = raw / unit;
    return unit * (t < 1.5 ? 1 : t < 3.5 ? 2 : t < 7.5 ? 5 : 10);
}

/* "1.5k" for 1500, as many digits as a step needs. */
static void plot_number(char *text, size_t size, double x, double step)
{
    int digits = step > 0 && step < 1 ? (int)ceil(-log10(step) - 1e-9) : 0;
    if (fabs(x) < step / 1e6) x = 0;
    if (fabs(x) >= 1e6) snprintf(text, size, "%gM", x / 1e6);
    else if (fabs(x) >= 1e4) snprintf(text, size, "%gk", x / 1e3);
    else if (digits > 6) snprintf(text, size, "%.2g", x);
    else snprintf(text, size, "%.*f", digits, x);
}

/* Lines and numbers at decent steps, names of both axes. Draw it before what stands on it.
   x_ticks 0: none (the caller names the places). */
PLOT_USED static void plot_axes(plot *p, const plot_frame *f, const char *x_name,
                                const char *y_name, int x_ticks)
{
    char text[32];
    double step, v, bottom = f->top + f->height;
    step = x_ticks ? plot_step(f->x1 - f->x0, 6) : 0;
    for (v = step > 0 ? ceil(f->x0 / step - 1e-9) * step : f->x1 + 1; v <= f->x1 + step * 1e-6;
         v += step) {
        plot_line(p, plot_x(f, v), f->top, plot_x(f, v), bottom, 1, PLOT_PALE);
        plot_number(text, sizeof text, v, step);
        plot_text(p, plot_x(f, v), bottom + 18, 13, 0, 0, PLOT_INK, text);
    }
    if (f->log_y) {
        for (v = pow(10, ceil(log10(f->y0) - 1e-9)); v <= f->y1 * 1.0001; v *= 10) {
            plot_line(p, f->left, plot_y(f, v), f->left + f->width, plot_y(f, v), 1, PLOT_PALE);
            snprintf(text, sizeof text, v < 0.001 || v >= 1e6 ? "%.0e" : "%g", v);
            plot_text(p, f->left - 7, plot_y(f, v) + 4, 13, 1, 0, PLOT_INK, text);
        }
    } else {
        step = plot_step(f->y1 - f->y0, 6);
        for (v = ceil(f->y0 / step - 1e-9) * step; v <= f->y1 + step * 1e-6; v += step) {
            plot_line(p, f->left, plot_y(f, v), f->left + f->width, plot_y(f, v), 1, PLOT_PALE);
            plot_number(text, sizeof text, v, step);
            plot_text(p, f->left - 7, plot_y(f, v) + 4, 13, 1, 0, PLOT_INK, text);
        }
    }
    plot_line(p, f->left, f->top, f->left, bottom, 1.2, PLOT_INK);
    plot_line(p, f->left, bottom, f->left + f->width, bottom, 1.2, PLOT_INK);
    plot_text(p, f->left + f->width / 2, bottom + 42, 14, 0, 0, PLOT_INK, x_name);
    plot_text(p, f->left - 52, f->top + f->height / 2, 14, 0, 1, PLOT_INK, y_name);
}

/* A frame that leaves room for names on the left and below, and a legend on the right. */
PLOT_USED static plot_frame plot_frame_of(const plot *p, double x0, double x1, double y0, double y1,
                                          int legend)
{
    plot_frame f;
    f.left = 78;
    f.top = 48;
    f.width = p->width - f.left - 24 - legend;
    f.height = p->height - f.top - 62;
    f.x0 = x0;
    f.x1 = x1 > x0 ? x1 : x0 + 1;
    f.y0 = y0;
    f.y1 = y1 > y0 ? y1 : y0 + 1;
    f.log_y = 0;
    return f;
}

PLOT_USED static void plot_legend(plot *p, const plot_frame *f, int row, const char *name,
                                  int colour)
{
    double x = f->left + f->width + 14, y = f->top + 10 + 20 * row;
    plot_line(p, x, y, x + 18, y, 3, colour);
    plot_text(p, x + 24, y + 4, 13, -1, 0, PLOT_INK, name);
}

/* ---- charts ------------------------------------------------------------------------------- */

PLOT_USED static void plot_curve(plot *p, const plot_frame *f, const double *x, const double *y,
                                 int count, double thick, int colour)
{
    int i;
    for (i = 1; i < count; i++)
        plot_line(p, plot_x(f, x[i - 1]), plot_y(f, y[i - 1]), plot_x(f, x[i]), plot_y(f, y[i]),
                  thick, colour);
    if (count == 1) plot_disc(p, plot_x(f, x[0]), plot_y(f, y[0]), thick, colour);
}

/* Bars with the interval that chance gives: a grey box from low to high behind each bar. */
PLOT_USED static void plot_bars(plot *p, const plot_frame *f, const double *values,
                                const double *low, const double *high, int count, int colour)
{
    double slot = f->width / count, zero = plot_y(f, f->y0 > 0 ? f->y0 : f->y1 < 0 ? f->y1 : 0);
    int i;
    for (i = 0; i < count; i++) {
        double x = f->left + slot * i, y = plot_y(f, values[i]);
        char text[16];
        if (low && high)
            plot_rect(p, x + slot * 0.08, plot_y(f, high[i]), slot * 0.84,
                      plot_y(f, low[i]) - plot_y(f, high[i]) + 0.5, 0xcfd4da);
        plot_rect(p, x + slot * 0.27, y < zero ? y : zero, slot * 0.46, fabs(y - zero) + 0.5,
                  colour);
        snprintf(text, sizeof text, "%d", i);
        if (count <= 24 || i % (count / 12) == 0)
            plot_text(p, x + slot / 2, f->top + f->height + 18, 13, 0, 0, PLOT_INK, text);
    }
    plot_line(p, f->left, zero, f->left + f->width, zero, 1.2, PLOT_INK);
}

/* Dark blue over green to yellow, t in 0 .. 1; signed: blue over white to red. */
static int plot_shade(double t, int is_signed)
{
    static const int even[6] = {0x35155a, 0x3b528b, 0x21908c, 0x5dc863, 0xb5de2b, 0xfde725};
    static const int both[5] = {0x2166ac, 0x92c5de, 0xf7f7f7, 0xf4a582, 0xb2182b};
    const int *table = is_signed ? both : even;
    int last = is_signed ? 4 : 5, i, k, colour = 0;
    double at;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    i = (int)(t * last);
    if (i == last) i--;
    at = t * last - i;
    for (k = 16; k >= 0; k -= 8) {
        double a = table[i] >> k & 255, b = table[i + 1] >> k & 255;
        colour |= (int)(a + at * (b - a) + 0.5) << k;
    }
    return colour;
}

/* values [rows, columns], first row on top; the scale low .. high stands beside it, named. A
   diverging scale where low < 0. hidden(row, column) cells are left white: upper triangle of a
   causal map where `causal`. */
PLOT_USED static void plot_heat(plot *p, const plot_frame *f, const double *values, int rows_of,
                                int columns, double low, double high, int causal,
                                const char *scale_name)
{
    double w = f->width / columns, h = f->height / rows_of, bar = f->left + f->width + 18;
    int r, c, i, is_signed = low < 0;
    char text[32];
    for (r = 0; r < rows_of; r++)
        for (c = 0; c < columns; c++) {
            double v = values[(size_t)r * (size_t)columns + (size_t)c];
            if (causal && c > r) continue;
            plot_rect(p, f->left + c * w, f->top + r * h, w + 0.34, h + 0.34,
                      plot_shade((v - low) / (high - low), is_signed));
        }
    for (i = 0; i < 64; i++)
        plot_rect(p, bar, f->top + f->height * (63 - i) / 64, 14, f->height / 64 + 0.5,
                  plot_shade(i / 63.0, is_signed));
    for (i = 0; i <= 4; i++) {
        plot_number(text, sizeof text, low + (high - low) * i / 4, (high - low) / 40);
        plot_text(p, bar + 20, f->top + f->height * (4 - i) / 4 + 4, 12, -1, 0, PLOT_INK, text);
    }
    plot_text(p, bar + 76, f->top + f->height / 2, 13, 0, 1, PLOT_INK, scale_name);
}

/* Names of rows (left) and columns (below) of a heat map, every `each`-th. */
PLOT_USED static void plot_heat_numbers(plot *p, const plot_frame *f, int rows_of, int columns,
                                        const char *x_name, const char *y_name)
{
    int i, each_x = columns > 20 ? (columns + 9) / 10 : 1,
           each_y = rows_of > 20 ? (rows_of + 9) / 10 : 1;
    char text[16];
    for (i = 0; i < columns; i += each_x) {
        snprintf(text, sizeof text, "%d", i);
        plot_text(p, f->left + f->width * (i + 0.5) / columns, f->top + f->height + 18, 12, 0, 0,
                  PLOT_INK, text);
    }
    for (i = 0; i < rows_of; i += each_y) {
        snprintf(text, sizeof text, "%d", i);
        plot_text(p, f->left - 7, f->top + f->height * (i + 0.5) / rows_of + 4, 12, 1, 0, PLOT_INK,
                  text);
    }
    plot_text(p, f->left + f->width / 2, f->top + f->height + 42, 14, 0, 0, PLOT_INK, x_name);
    plot_text(p, f->left - 52, f->top + f->height / 2, 14, 0, 1, PLOT_INK, y_name);
}

/* Phases [count] on a circle, amplitudes as the length of spokes, coloured by index. */
PLOT_USED static void plot_wheel(plot *p, double x, double y, double radius, const double *phases,
                                 const double *amplitudes, int count)
{
    const double turn = 2 * 3.14159265358979323846;
    double largest = 1e-300;
    int i, k;
    char text[16];
    for (k = 1; k <= 2; k++) /* half and full circle */
        for (i = 0; i < 120; i++)
            plot_line(p, x + radius * k / 2 * cos(turn * i / 120),
                      y - radius * k / 2 * sin(turn * i / 120),
                      x + radius * k / 2 * cos(turn * (i + 1) / 120),
                      y - radius * k / 2 * sin(turn * (i + 1) / 120), 1,
                      k == 2 ? PLOT_GREY : PLOT_PALE);
    for (i = 0; i < 12; i++) {
        double c = cos(turn * i / 12), s = sin(turn * i / 12);
        plot_line(p, x + radius * 0.97 * c, y - radius * 0.97 * s, x + radius * 1.03 * c,
                  y - radius * 1.03 * s, 1.2, PLOT_GREY);
        snprintf(text, sizeof text, "%d", 30 * i);
        plot_text(p, x + radius * 1.13 * c, y - radius * 1.13 * s + 4, 12, 0, 0, PLOT_INK, text);
    }
    for (i = 0; i < count; i++)
        if (amplitudes[i] > largest) largest = amplitudes[i];
    for (i = 0; i < count; i++) {
        double r = radius * amplitudes[i] / largest;
        int colour = plot_shade((double)i / (count > 1 ? count - 1 : 1), 0);
        plot_line(p, x, y, x + r * cos(phases[i]), y - r * sin(phases[i]), 1, colour);
        plot_disc(p, x + r * cos(phases[i]), y - r * sin(phases[i]), 3, colour);
    }
}

#endif

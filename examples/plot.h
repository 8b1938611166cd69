/* Pictures for the example programs: curves, bars with their null, heat maps, phase wheels.
   Every picture is written as NAME.svg with no dependency, and as NAME.png too where the program is
   built with -DWAVECOH_PNG and Debian's libstb-dev (stb_image_write.h, stb_easy_font.h).

   A picture is drawn by a few strokes (plot_line, plot_rect, plot_marker, plot_text) in units of
   pixels; charts are built on these. Numbers may be anything: what is not finite is left out, and
   an axis is made fit for what remains. Texts may be anything: they are shortened to their room.
   Colours differ in lightness too (Okabe and Ito 2008), and no two curves by colour alone.

   It needs text.h, and of the library the saving of files; it is no part of it. Include it after
   wavecoh.h.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef WAVECOH_EXAMPLES_PLOT_H
#define WAVECOH_EXAMPLES_PLOT_H

#include "text.h"

#include <float.h>
#include <math.h>
#include <sys/stat.h>

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

enum {
    PLOT_CELLS = 256, /* cells of a heat map in each direction; more are drawn in blocks */
    PLOT_MOST_TICKS = 16,
    PLOT_TITLE = 17, /* pixels */
    PLOT_COLOURS = 7
};
enum { PLOT_INK = 0x202124, PLOT_GREY = 0x9aa0a6, PLOT_PALE = 0xe4e6ea, PLOT_NULL = 0xcfd4da };

static const int plot_colours[PLOT_COLOURS] = {0x0072b2, 0xd55e00, 0x009e73, 0xcc79a7,
                                               0xe69f00, 0x56b4e9, 0x202124};
static const int plot_fineness = 3;    /* samples a pixel and direction of the PNG */
static const int plot_legend_row = 20; /* pixels */
static const double plot_pi = 3.14159265358979323846;

typedef struct plot {
    char *svg; /* [used] what is drawn so far */
    size_t used, room;
    const char *path; /* of the picture without ".svg" */
    int width, height;
    unsigned char *fine; /* [height*fineness, width*fineness, 3] for the PNG */
} plot;

/* The numbers that the ends of an axis stand for: finite, low < high, positive where is_log. */
typedef struct plot_axis {
    double low, high;
    int is_log;
} plot_axis;

/* Where a chart stands in the picture, and what its edges stand for. */
typedef struct plot_frame {
    double left, top, width, height;
    plot_axis x, y;
} plot_frame;

/* How curve i looks: no two of the first 28 are alike, and neighbours differ without colour too. */
typedef struct plot_style {
    int colour, dash, shape;
} plot_style;

COMMON_USED(__unused__)
static plot_style plot_style_of(int i)
{
    plot_style s;
    s.colour = plot_colours[i % PLOT_COLOURS];
    s.dash = s.shape = i % 4;
    return s;
}

static int plot_is_finite(double x) { return x >= -DBL_MAX && x <= DBL_MAX; }

/* ---- the file ----------------------------------------------------------------------------- */

/* Pictures that this program has written: none of them is written twice. */
typedef struct plot_written {
    struct plot_written *next;
    const char *path;
    struct stat file;
} plot_written;

static plot_written *plot_all_written;

static int plot_same_name(const char *a, const char *b)
{
    while (*a && word_letter(*a) == word_letter(*b)) a++, b++;
    return *a == *b;
}

/* 1 if the path leads to a picture of this program: by the name, whose case may not count, or
   because the file system takes two names for one (accents, links). */
static int plot_is_written(const char *path)
{
    const plot_written *w;
    struct stat file;
    int there = stat(path, &file) == 0 && file.st_ino != 0;
    for (w = plot_all_written; w; w = w->next)
        if (plot_same_name(w->path, path) ||
            (there && w->file.st_ino == file.st_ino && w->file.st_dev == file.st_dev))
            return 1;
    return 0;
}

static void plot_remember(const char *path)
{
    plot_written *w = (plot_written *)(void *)text_keep(sizeof *w);
    memset(w, 0, sizeof *w);
    w->path = path;
    if (stat(path, &w->file)) memset(&w->file, 0, sizeof w->file);
    w->next = plot_all_written;
    plot_all_written = w;
}

/* Add to the SVG what printf would print. */
COMMON_USED(__format__(__printf__, 2, 3))
static void plot_put(plot *p, const char *format, ...)
{
    size_t left = p->room - p->used;
    va_list arguments;
    int length;
    va_start(arguments, format);
    length = vsnprintf(left ? p->svg + p->used : NULL, left, format, arguments);
    va_end(arguments);
    if (length < 0) fail(EXIT_FAILED, "%s.svg: what it should show cannot be written", p->path);
    if ((size_t)length >= left) {
        char *more;
        p->room = 2 * p->room + (size_t)length + 4096;
        more = (char *)realloc(p->svg, p->room);
        if (!more) fail(EXIT_FAILED, "%s.svg: no memory for the picture", p->path);
        p->svg = more;
        va_start(arguments, format);
        vsnprintf(p->svg + p->used, p->room - p->used, format, arguments);
        va_end(arguments);
    }
    p->used += (size_t)length;
}

/* Begins PREFIX-NAME.svg (name NULL: PREFIX.svg), NAME made fit for a file; -2, -3 .. is added where
   that would be a picture that this program has written. */
COMMON_USED(__unused__)
static void plot_open(plot *p, const char *prefix, const char *name, int width, int height,
                      const char *title);
/* Puts it in its place: until then nothing there is touched. A failure ends the program. */
COMMON_USED(__unused__)
static void plot_close(plot *p);

/* ---- strokes ------------------------------------------------------------------------------ */

static void plot_fill(plot *p, double x0, double y0, double x1, double y1, int colour)
{
    int x, y, i, fine_width = p->width * plot_fineness, fine_height = p->height * plot_fineness;
    int from_x = (int)floor(x0 * plot_fineness + 0.5), to_x = (int)floor(x1 * plot_fineness + 0.5);
    int from_y = (int)floor(y0 * plot_fineness + 0.5), to_y = (int)floor(y1 * plot_fineness + 0.5);
    if (!p->fine) return;
    for (y = from_y < 0 ? 0 : from_y; y < to_y && y < fine_height; y++)
        for (x = from_x < 0 ? 0 : from_x; x < to_x && x < fine_width; x++)
            for (i = 0; i < 3; i++)
                p->fine[((size_t)y * (size_t)fine_width + (size_t)x) * 3 + (size_t)i] =
                    (unsigned char)(colour >> (16 - 8 * i) & 255);
}

static void plot_rect(plot *p, double x, double y, double w, double h, int colour)
{
    plot_put(p, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"#%06x\"/>\n", x,
             y, w, h, (unsigned)colour);
    plot_fill(p, x, y, x + w, y + h, colour);
}

/* All fine pixels within `radius` of the segment. */
static void plot_stroke(plot *p, double x0, double y0, double x1, double y1, double radius,
                        int colour)
{
    double dx = x1 - x0, dy = y1 - y0, length = dx * dx + dy * dy, step = 1.0 / plot_fineness;
    double left = (x0 < x1 ? x0 : x1) - radius, right = (x0 < x1 ? x1 : x0) + radius;
    double top = (y0 < y1 ? y0 : y1) - radius, bottom = (y0 < y1 ? y1 : y0) + radius, x, y;
    if (!p->fine) return;
    for (y = floor(top * plot_fineness) / plot_fineness + step / 2; y < bottom; y += step)
        for (x = floor(left * plot_fineness) / plot_fineness + step / 2; x < right; x += step) {
            double t = length > 0 ? ((x - x0) * dx + (y - y0) * dy) / length : 0, ex, ey;
            t = t < 0 ? 0 : t > 1 ? 1 : t;
            ex = x - x0 - t * dx;
            ey = y - y0 - t * dy;
            if (ex * ex + ey * ey <= radius * radius)
                plot_fill(p, x - step / 2, y - step / 2, x + step / 2, y + step / 2, colour);
        }
}

/* Pixels of a line and of the gap behind it, twice; 0: a whole line. */
static const double plot_dashes[4][4] = {{0, 0, 0, 0}, {9, 5, 9, 5}, {2, 5, 2, 5}, {11, 5, 2, 5}};

static void plot_dash_svg(plot *p, int dash)
{
    const double *d = plot_dashes[dash];
    if (dash) plot_put(p, " stroke-dasharray=\"%g %g %g %g\"", d[0], d[1], d[2], d[3]);
}

/* One segment of the PNG; *done is the length drawn before it. */
static void plot_stroke_dashed(plot *p, double x0, double y0, double x1, double y1, double thick,
                               int colour, int dash, double *done)
{
    const double *d = plot_dashes[dash];
    double length = hypot(x1 - x0, y1 - y0), from = 0, period = d[0] + d[1] + d[2] + d[3];
    while (from < length) {
        double at = period > 0 ? fmod(*done + from, period) : 0, piece = d[0], to = length;
        int k = 0;
        for (; period > 0 && at >= piece; k++) at -= piece, piece = d[(k + 1) % 4];
        if (period > 0 && from + piece - at < length) to = from + piece - at;
        if (k % 2 == 0)
            plot_stroke(p, x0 + (x1 - x0) * from / length, y0 + (y1 - y0) * from / length,
                        x0 + (x1 - x0) * to / length, y0 + (y1 - y0) * to / length, thick / 2,
                        colour);
        from = to > from + 1e-6 ? to : from + 1e-6;
    }
    *done += length;
}

static void plot_line_dashed(plot *p, double x0, double y0, double x1, double y1, double thick,
                             int colour, int dash)
{
    double done = 0;
    plot_put(p,
             "<line x1=\"%.2f\" y1=\"%.2f\" x2=\"%.2f\" y2=\"%.2f\" stroke=\"#%06x\" "
             "stroke-width=\"%.2f\"",
             x0, y0, x1, y1, (unsigned)colour, thick);
    if (!dash) plot_put(p, " stroke-linecap=\"round\"");
    plot_dash_svg(p, dash);
    plot_put(p, "/>\n");
    if (p->fine) plot_stroke_dashed(p, x0, y0, x1, y1, thick, colour, dash, &done);
}

static void plot_line(plot *p, double x0, double y0, double x1, double y1, double thick, int colour)
{
    plot_line_dashed(p, x0, y0, x1, y1, thick, colour, 0);
}

/* Corners of the shapes in units of the radius: square, diamond, triangle; disc is 0. */
static const double plot_corners[4][4][2] = {
    {{0, 0}, {0, 0}, {0, 0}, {0, 0}},
    {{-0.89, -0.89}, {0.89, -0.89}, {0.89, 0.89}, {-0.89, 0.89}},
    {{0, -1.25}, {1.25, 0}, {0, 1.25}, {-1.25, 0}},
    {{0, -1.3}, {1.2, 0.8}, {-1.2, 0.8}, {-1.2, 0.8}},
};

static int plot_is_inside(int shape, double x, double y)
{
    int i;
    if (!shape) return x * x + y * y <= 1;
    for (i = 0; i < 4; i++) {
        const double *a = plot_corners[shape][i], *b = plot_corners[shape][(i + 1) % 4];
        if ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) < 0) return 0;
    }
    return 1;
}

static void plot_marker(plot *p, double x, double y, double radius, int shape, int colour)
{
    double dx, dy, step = 1.0 / plot_fineness, most = 1.3 * radius;
    int i;
    if (shape) plot_put(p, "<polygon points=\"");
    for (i = 0; shape && i < 4; i++)
        plot_put(p, "%.2f,%.2f ", x + radius * plot_corners[shape][i][0],
                 y + radius * plot_corners[shape][i][1]);
    if (shape) plot_put(p, "\" fill=\"#%06x\"/>\n", (unsigned)colour);
    else
        plot_put(p, "<circle cx=\"%.2f\" cy=\"%.2f\" r=\"%.2f\" fill=\"#%06x\"/>\n", x, y, radius,
                 (unsigned)colour);
    for (dy = -most; p->fine && dy <= most; dy += step)
        for (dx = -most; dx <= most; dx += step)
            if (plot_is_inside(shape, dx / radius, dy / radius))
                plot_fill(p, x + dx - step / 2, y + dy - step / 2, x + dx + step / 2,
                          y + dy + step / 2, colour);
}

static void plot_disc(plot *p, double x, double y, double radius, int colour)
{
    plot_marker(p, x, y, radius, 0, colour);
}

/* ---- text --------------------------------------------------------------------------------- */

/* Width of a character in heights of a line: no font is wider by much, and most are narrower. */
static double plot_char_width(unsigned long point)
{
    if (point >= 0x1100) return point >= 0x2000 && point < 0x2e80 ? 0.85 : 1.05;
    if (point >= 0x80) return 0.72;
    if (strchr("ijl|.,:;!'` ()[]/\\tfrI", (int)point)) return 0.42;
    if (strchr("mwMW@%", (int)point)) return 0.97;
    return point >= 'A' && point <= 'Z' ? 0.75 : 0.63;
}

/* Pixels of text at that size; at most `room` of them: *fit gets the number of characters that stand
   there with room for an ellipsis, or -1 if all do. */
static double plot_text_width_in(const char *text, double size, double room, int *fit)
{
    size_t length = strlen(text), at = 0;
    double width = 0, dots = plot_char_width(0x2026);
    int count = 0, cut = 1;
    while (at < length) {
        unsigned long point = 0xfffd;
        int bytes = utf8_length(text + at, length - at, &point);
        width += plot_char_width(point);
        count++;
        if ((width + dots) * size <= room) cut = count + 1;
        at += bytes ? (size_t)bytes : 1;
    }
    if (cut >= count) cut = count > 2 ? count - 1 : 1;
    *fit = count > 1 && width * size > room ? cut : -1;
    return width * size;
}

static double plot_text_width(const char *text, double size)
{
    int fit;
    return plot_text_width_in(text, size, DBL_MAX, &fit);
}

#ifdef WAVECOH_PNG
/* The font of the PNG is ASCII: what stands for a character there, one '?' where nothing does. */
static const char *plot_ascii(unsigned long point, char one[2])
{
    static const struct {
        unsigned long point;
        const char *text;
    } others[] = {{0x2013, "-"},  {0x2026, "..."},  {0x2265, ">="}, {0xb2, "2"},
                  {0x3c0, " pi"}, {0x3ba, "kappa"}, {0xb0, " deg"}, {0xb1, "+-"}};
    size_t i;
    one[0] = (char)(point < 127 && point >= 32 ? (int)point : '?');
    one[1] = 0;
    for (i = 0; i < sizeof others / sizeof others[0]; i++)
        if (others[i].point == point) return others[i].text;
    return one;
}

/* The same for a text: made fit for a buffer [size]. */
static void plot_text_ascii(char *copy, size_t size, const char *text)
{
    size_t length = strlen(text), at = 0, used = 0;
    char one[2];
    while (at < length) {
        unsigned long point = 0xfffd;
        int bytes = utf8_length(text + at, length - at, &point);
        const char *put = plot_ascii(point, one);
        if (used + strlen(put) >= size) break;
        strcpy(copy + used, put);
        used += strlen(put);
        at += bytes ? (size_t)bytes : 1;
    }
    copy[used] = 0;
}

static void plot_text_fine(plot *p, double x, double y, double size, int anchor, int up, int colour,
                           const char *text)
{
    static float quads[64 * 1024];
    char copy[256];
    double scale = size / 11.0, wide;
    int count, i;
    plot_text_ascii(copy, sizeof copy, text);
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

/* Text of at most `room` pixels, "…" for what goes beyond. Bytes that no text may hold are shown. */
static const char *plot_fit(const char *text, double size, double room)
{
    const char *shown = text_shown(text);
    int fit;
    plot_text_width_in(shown, size, room, &fit);
    return fit > 0 ? text_shortened(shown, fit) : shown;
}

/* Text of at most `room` pixels; `whole` shows under the pointer where it is more than what stands
   there. Its anchor (-1 begin, 0 middle, 1 end) is at x on the base line y; `up`: turned to read
   upwards. size: height of a line in pixels. */
static void plot_text_of(plot *p, double x, double y, double size, int anchor, int up, int colour,
                         double room, const char *text, const char *whole)
{
    static const char *const anchors[3] = {"start", "middle", "end"};
    const char *shown = plot_fit(text, size, room);
    if (!*text) return;
    plot_put(p, "<text x=\"%.2f\" y=\"%.2f\" font-size=\"%.1f\" text-anchor=\"%s\" fill=\"#%06x\"",
             x, y, size, anchors[anchor + 1], (unsigned)colour);
    if (up) plot_put(p, " transform=\"rotate(-90 %.2f %.2f)\"", x, y);
    plot_put(p, ">%s", text_xml(shown));
    whole = text_shown(whole);
    if (strcmp(whole, shown) != 0) plot_put(p, "<title>%s</title>", text_xml(whole));
    plot_put(p, "</text>\n");
#ifdef WAVECOH_PNG
    if (p->fine) plot_text_fine(p, x, y, size, anchor, up, colour, shown);
#endif
}

static void plot_text_in(plot *p, double x, double y, double size, int anchor, int up, int colour,
                         double room, const char *text)
{
    plot_text_of(p, x, y, size, anchor, up, colour, room, text, text);
}

/* A short text in the middle of x, on white that covers what lies below. */
static void plot_text_over(plot *p, double x, double y, double size, int colour, const char *text)
{
    double width = plot_text_width(text, size);
    plot_rect(p, x - width / 2 - 1, y - size, width + 2, size * 1.2, 0xffffff);
    plot_text_in(p, x, y, size, 0, 0, colour, DBL_MAX, text);
}

/* The same between the edges of the picture. */
static void plot_text(plot *p, double x, double y, double size, int anchor, int up, int colour,
                      const char *text)
{
    double at = up ? p->height - y : x, all = up ? p->height : p->width;
    double before = at - 4, behind = all - at - 4;
    double room = anchor < 0   ? behind
                  : anchor > 0 ? before
                               : 2 * (before < behind ? before : behind);
    plot_text_in(p, x, y, size, anchor, up, colour, room, text);
}

static void plot_open(plot *p, const char *prefix, const char *name, int width, int height,
                      const char *title)
{
    const char *base = name ? text_made("%s-%s", prefix, text_file_name(name)) : prefix, *path;
    int i;
    memset(p, 0, sizeof *p);
    p->path = base;
    path = text_made("%s.svg", base);
    for (i = 2; plot_is_written(path); i++) {
        p->path = text_made("%s-%d", base, i);
        path = text_made("%s.svg", p->path);
    }
    p->width = width;
    p->height = height;
#ifdef WAVECOH_PNG
    p->fine = (unsigned char *)malloc((size_t)(width * plot_fineness) *
                                      (size_t)(height * plot_fineness) * 3);
    if (!p->fine) fail(EXIT_FAILED, "%s: no memory for the picture", path);
#endif
    plot_put(p,
             "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
             "viewBox=\"0 0 %d %d\" font-family=\"sans-serif\">\n",
             width, height, width, height);
    plot_rect(p, 0, 0, width, height, 0xffffff);
    plot_text(p, width / 2.0, 26, PLOT_TITLE, 0, 0, PLOT_INK, title);
}

/* A line below the title: what the picture leaves out, or how it is read. */
COMMON_USED(__unused__)
static void plot_subtitle(plot *p, const char *text)
{
    plot_text(p, p->width / 2.0, 44, 12, 0, 0, PLOT_INK, text);
}

#ifdef WAVECOH_PNG
/* The mean of the fine pixels, in place. */
static void plot_coarsen(plot *p)
{
    int x, y, i, dx, dy, wide = p->width * plot_fineness;
    for (y = 0; y < p->height; y++)
        for (x = 0; x < p->width; x++)
            for (i = 0; i < 3; i++) {
                int sum = 0;
                for (dy = 0; dy < plot_fineness; dy++)
                    for (dx = 0; dx < plot_fineness; dx++)
                        sum += p->fine[((size_t)(y * plot_fineness + dy) * (size_t)wide +
                                        (size_t)(x * plot_fineness + dx)) *
                                           3 +
                                       (size_t)i];
                p->fine[((size_t)y * (size_t)p->width + (size_t)x) * 3 + (size_t)i] =
                    (unsigned char)(sum / (plot_fineness * plot_fineness));
            }
}
#endif

static void plot_close(plot *p)
{
    const char *path = text_made("%s.svg", p->path);
    plot_put(p, "</svg>\n");
    file_save(path, p->svg, p->used);
    plot_remember(path);
    free(p->svg);
#ifdef WAVECOH_PNG
    {
        int size = 0;
        unsigned char *png;
        plot_coarsen(p);
        png = stbi_write_png_to_mem(p->fine, 3 * p->width, p->width, p->height, 3, &size);
        path = text_made("%s.png", p->path);
        if (!png) fail(EXIT_FAILED, "%s: no memory for the picture", path);
        file_save(path, png, (size_t)size);
        STBIW_FREE(png);
    }
#endif
    free(p->fine);
}

/* ---- axes --------------------------------------------------------------------------------- */

/* The span that a value adds itself to: begins as low = 1, high = 0, that is empty. */
COMMON_USED(__unused__)
static void plot_span(double *low, double *high, double value)
{
    if (!plot_is_finite(value)) return;
    if (*low > *high) *low = *high = value;
    if (value < *low) *low = value;
    if (value > *high) *high = value;
}

static double plot_within(double x) { return x < -DBL_MAX ? -DBL_MAX : x > DBL_MAX ? DBL_MAX : x; }

/* An axis from low to high. An empty span is 0 to 1; one that is nothing beside its own numbers
   (below 1e-7 of them) grows by 5 % of them on both sides. */
static plot_axis plot_axis_of(double low, double high)
{
    plot_axis a;
    double largest = fmax(fabs(low), fabs(high));
    a.low = low;
    a.high = high;
    a.is_log = 0;
    if (!(low <= high) || !plot_is_finite(largest) || largest < 1e-290) {
        a.low = 0;
        a.high = 1;
    } else if (high / 2 - low / 2 < largest * 0.5e-7) {
        a.low = plot_within(low - 0.05 * largest);
        a.high = plot_within(high + 0.05 * largest);
    }
    return a;
}

/* The same with equal steps for equal ratios; numbers without a logarithm are not on it. */
COMMON_USED(__unused__)
static plot_axis plot_axis_log(double low, double high)
{
    plot_axis a = plot_axis_of(low, high);
    if (a.high < 1e-287) a.high = 1;
    if (a.low < 1e-290) a.low = a.high / 1000;
    a.is_log = 1;
    return a;
}

/* Where v stands, 0 at the low end, 1 at the high one, nothing beyond. */
static double plot_share(const plot_axis *a, double v)
{
    double t;
    if (!a->is_log) t = (v / 2 - a->low / 2) / (a->high / 2 - a->low / 2);
    else t = v > 0 ? (log(v) - log(a->low)) / (log(a->high) - log(a->low)) : 0;
    return t > 0 ? t < 1 ? t : 1 : 0;
}

static double plot_x(const plot_frame *f, double x)
{
    return f->left + f->width * plot_share(&f->x, x);
}

static double plot_y(const plot_frame *f, double y)
{
    return f->top + f->height * (1 - plot_share(&f->y, y));
}

typedef struct plot_ticks {
    int count;
    double at[PLOT_MOST_TICKS];
    char text[PLOT_MOST_TICKS][32];
} plot_ticks;

/* Scientific, without the plus and the zeros of the exponent: 1.5e17. */
static void plot_scientific(char *text, int digits, double v)
{
    char *mark;
    sprintf(text, "%.*e", digits < 0 ? 0 : digits > 12 ? 12 : digits, v);
    mark = strchr(text, 'e');
    if (mark) sprintf(mark, "e%d", (int)strtol(mark + 1, NULL, 10));
}

/* A multiple v of `step` with the digits that tell it from its neighbours; `largest`: on its axis. */
static void plot_number(char *text, double v, double step, double largest)
{
    static const char units[] = "kMGT";
    int place = (int)floor(log10(step) + 1e-9), unit = (int)floor(log10(largest) + 1e-9) / 3;
    if (v == 0) strcpy(text, "0");
    else if (largest >= 1e15 || largest < 1e-3)
        plot_scientific(text, (int)floor(log10(fabs(v)) + 1e-9) - place, v);
    else if (largest < 1e4 || 3 * unit - place > 3)
        sprintf(text, "%.*f", place < 0 ? -place : 0, v);
    else
        sprintf(text, "%.*f%c", place < 3 * unit ? 3 * unit - place : 0, v / pow(1000, unit),
                units[unit - 1]);
}

/* 1, 2 or 5 times a power of ten near `raw`. */
static double plot_step(double raw)
{
    double unit = pow(10, floor(log10(raw))), t = raw / unit;
    return unit * (t < 1.5 ? 1 : t < 3.5 ? 2 : t < 7.5 ? 5 : 10);
}

/* About `wanted` (2 to 8) decent numbers; whole ones where `whole`. */
static plot_ticks plot_ticks_even(const plot_axis *a, int wanted, int whole)
{
    double step = plot_step((a->high / 2 - a->low / 2) / (wanted / 2.0)), k, last;
    plot_ticks t;
    t.count = 0;
    if (whole && step < 1) step = 1;
    last = floor(a->high / step + 1e-9);
    for (k = ceil(a->low / step - 1e-9); k <= last && t.count < PLOT_MOST_TICKS; k++) {
        double v = k == 0 ? 0 : k * step; /* no negative zero */
        plot_number(t.text[t.count], v, step, fmax(fabs(a->low), fabs(a->high)));
        t.at[t.count++] = v;
    }
    return t;
}

/* Powers of ten, every n-th if there are many, 2 and 5 times them if there are few. */
static plot_ticks plot_ticks_log(const plot_axis *a, int wanted)
{
    static const int factors[3] = {1, 2, 5};
    int from = (int)ceil(log10(a->low) - 1e-9), to = (int)floor(log10(a->high) + 1e-9);
    int each = to - from >= wanted ? (to - from) / wanted + 1 : 1, few = to - from < 2, power, i;
    plot_ticks t;
    t.count = 0;
    for (power = from - few; power <= to; power += each)
        for (i = 0; i < (few ? 3 : 1) && t.count < PLOT_MOST_TICKS; i++) {
            double v = factors[i] * pow(10, power);
            if (v < a->low * (1 - 1e-9) || v > plot_within(a->high * (1 + 1e-9))) continue;
            if (power < -3 || power > 4) sprintf(t.text[t.count], "%de%d", factors[i], power);
            else sprintf(t.text[t.count], "%g", v);
            t.at[t.count++] = v;
        }
    return t.count < 2 ? plot_ticks_even(a, wanted, 0) : t;
}

static plot_ticks plot_ticks_of(const plot_axis *a, int wanted, int whole)
{
    return a->is_log ? plot_ticks_log(a, wanted) : plot_ticks_even(a, wanted, whole);
}

static double plot_ticks_width(const plot_ticks *t, double size, int all)
{
    double widest = 0, sum = 0;
    int i;
    for (i = 0; i < t->count; i++) {
        double width = plot_text_width(t->text[i], size);
        widest = width > widest ? width : widest;
        sum += width + size;
    }
    return all ? sum : widest;
}

/* A frame that leaves room for names on the left and below, and `legend` pixels on the right. */
COMMON_USED(__unused__)
static plot_frame plot_frame_of(const plot *p, plot_axis x, plot_axis y, double legend)
{
    plot_frame f;
    plot_ticks ticks = plot_ticks_of(&y, 6, 0);
    f.left = 44 + plot_ticks_width(&ticks, 13, 0);
    f.top = 48;
    f.width = p->width - f.left - 24 - legend;
    f.height = p->height - f.top - 62;
    f.x = x;
    f.y = y;
    return f;
}

/* Names of both axes: y_name upwards, `away` pixels left of the frame. */
static void plot_names(plot *p, const plot_frame *f, const char *x_name, const char *y_name,
                       double away)
{
    plot_text(p, f->left + f->width / 2, f->top + f->height + 42, 14, 0, 0, PLOT_INK, x_name);
    plot_text(p, f->left - away, f->top + f->height / 2, 14, 0, 1, PLOT_INK, y_name);
}

static void plot_tick_x(plot *p, const plot_frame *f, double at, const char *text)
{
    plot_line(p, at, f->top, at, f->top + f->height, 1, PLOT_PALE);
    plot_text(p, at, f->top + f->height + 18, 13, 0, 0, PLOT_INK, text);
}

static void plot_tick_y(plot *p, const plot_frame *f, double at, const char *text)
{
    plot_line(p, f->left, at, f->left + f->width, at, 1, PLOT_PALE);
    plot_text(p, f->left - 7, at + 4, 13, 1, 0, PLOT_INK, text);
}

typedef enum plot_x_ticks {
    PLOT_X_BARE, /* the caller names the places */
    PLOT_X_REAL,
    PLOT_X_WHOLE /* only whole numbers have a meaning */
} plot_x_ticks;

/* Lines and numbers at decent steps, names of both axes. Draw it before what stands on it. */
COMMON_USED(__unused__)
static void plot_axes(plot *p, const plot_frame *f, const char *x_name, const char *y_name,
                      plot_x_ticks x_ticks)
{
    plot_ticks x = plot_ticks_of(&f->x, 6, x_ticks == PLOT_X_WHOLE), y = plot_ticks_of(&f->y, 6, 0);
    double bottom = f->top + f->height;
    int i, wanted;
    for (wanted = 5; wanted >= 2 && plot_ticks_width(&x, 13, 1) > f->width; wanted--)
        x = plot_ticks_of(&f->x, wanted, x_ticks == PLOT_X_WHOLE);
    for (i = 0; x_ticks != PLOT_X_BARE && i < x.count; i++)
        plot_tick_x(p, f, plot_x(f, x.at[i]), x.text[i]);
    for (i = 0; i < y.count; i++) plot_tick_y(p, f, plot_y(f, y.at[i]), y.text[i]);
    plot_line(p, f->left, f->top, f->left, bottom, 1.2, PLOT_INK);
    plot_line(p, f->left, bottom, f->left + f->width, bottom, 1.2, PLOT_INK);
    plot_names(p, f, x_name, y_name, 20 + plot_ticks_width(&y, 13, 0));
}

static double plot_legend_x(const plot_frame *f) { return f->left + f->width + 14; }
static double plot_legend_y(const plot_frame *f, int row)
{
    return f->top + 10 + plot_legend_row * row;
}

/* A line of text in the legend, at x + indent. */
static void plot_note(plot *p, const plot_frame *f, int row, double indent, const char *text)
{
    plot_text(p, plot_legend_x(f) + indent, plot_legend_y(f, row) + 4, 13, -1, 0, PLOT_INK, text);
}

/* Row of the legend: a piece of the curve, its mark where `marked`, its name. */
COMMON_USED(__unused__)
static void plot_legend(plot *p, const plot_frame *f, int row, const char *name, plot_style style,
                        int marked)
{
    double x = plot_legend_x(f), y = plot_legend_y(f, row);
    plot_line_dashed(p, x, y, x + 28, y, 2.6, style.colour, style.dash);
    if (marked) plot_marker(p, x + 14, y, 4, style.shape, style.colour);
    plot_note(p, f, row, 36, name);
}

/* Bytes of the beginning that all names share, in whole words. */
static size_t plot_shared(const char *const *names, int count)
{
    size_t shared = count > 1 ? strlen(names[0]) : 0;
    int i;
    for (i = 1; i < count; i++) {
        size_t k = 0;
        while (k < shared && names[i][k] == names[0][k]) k++;
        shared = k;
    }
    while (shared > 0 && !strchr("-_./ ", names[0][shared - 1])) shared--;
    return shared;
}

/* Rows of the legend for curves with these names [count]. Where one is too long for its row, what all
   begin with is left out, so that the rest tells them apart. */
COMMON_USED(__unused__)
static void plot_legends(plot *p, const plot_frame *f, const char *const *names, int count,
                         int marked)
{
    double x = plot_legend_x(f) + 36, room = p->width - x - 4;
    size_t shared = plot_shared(names, count);
    int i, narrow = 0;
    for (i = 0; i < count; i++) narrow |= plot_text_width(text_shown(names[i]), 13) > room;
    for (i = 0; i < count; i++) {
        plot_legend(p, f, i, "", plot_style_of(i), marked);
        plot_text_of(p, x, plot_legend_y(f, i) + 4, 13, -1, 0, PLOT_INK, room,
                     narrow && shared ? text_made("\342\200\246%s", names[i] + shared) : names[i],
                     names[i]);
    }
}

/* Row of the legend for what is drawn as an area. */
COMMON_USED(__unused__)
static void plot_legend_area(plot *p, const plot_frame *f, int row, const char *name, int colour)
{
    plot_rect(p, plot_legend_x(f) + 8, plot_legend_y(f, row) - 6, 14, 12, colour);
    plot_note(p, f, row, 36, name);
}

/* ---- charts ------------------------------------------------------------------------------- */

/* A curve, interrupted where x or y is not finite; a point alone is a disc that can be seen. */
COMMON_USED(__unused__)
static void plot_curve(plot *p, const plot_frame *f, const double *x, const double *y, int count,
                       double thick, plot_style style)
{
    double done = 0, last_x = 0, last_y = 0;
    int i, run = 0;
    plot_put(p, "<path fill=\"none\" stroke=\"#%06x\" stroke-width=\"%.2f\"",
             (unsigned)style.colour, thick);
    plot_dash_svg(p, style.dash);
    plot_put(p, " stroke-linejoin=\"round\" d=\"M0 0");
    for (i = 0; i < count; i++) {
        double at_x, at_y;
        run = plot_is_finite(x[i]) && plot_is_finite(y[i]) ? run + 1 : 0;
        if (!run) continue;
        at_x = plot_x(f, x[i]);
        at_y = plot_y(f, y[i]);
        plot_put(p, "%s%.2f %.2f", run == 1 ? "\nM" : " L", at_x, at_y);
        if (p->fine && run > 1)
            plot_stroke_dashed(p, last_x, last_y, at_x, at_y, thick, style.colour, style.dash,
                               &done);
        last_x = at_x;
        last_y = at_y;
    }
    plot_put(p, "\"/>\n");
    for (i = 0; i < count; i++) {
        int alone = plot_is_finite(y[i]) && (i == 0 || !plot_is_finite(y[i - 1])) &&
                    (i + 1 == count || !plot_is_finite(y[i + 1]));
        if (alone && plot_is_finite(x[i]))
            plot_disc(p, plot_x(f, x[i]), plot_y(f, y[i]), fmax(thick, 2.2), style.colour);
    }
}

/* Its points. */
COMMON_USED(__unused__)
static void plot_points(plot *p, const plot_frame *f, const double *x, const double *y, int count,
                        double radius, plot_style style)
{
    int i;
    for (i = 0; i < count; i++)
        if (plot_is_finite(x[i]) && plot_is_finite(y[i]))
            plot_marker(p, plot_x(f, x[i]), plot_y(f, y[i]), radius, style.shape, style.colour);
}

/* The area between two curves over x, as chance gives. */
COMMON_USED(__unused__)
static void plot_band(plot *p, const plot_frame *f, const double *x, const double *low,
                      const double *high, int count, int colour)
{
    int i;
    plot_put(p, "<polygon fill=\"#%06x\" points=\"", (unsigned)colour);
    for (i = 0; i < count; i++) plot_put(p, "%.2f,%.2f ", plot_x(f, x[i]), plot_y(f, high[i]));
    for (i = count; i-- > 0;) plot_put(p, "%.2f,%.2f ", plot_x(f, x[i]), plot_y(f, low[i]));
    plot_put(p, "\"/>\n");
    for (i = 1; p->fine && i < count; i++) {
        double at, from = plot_x(f, x[i - 1]), to = plot_x(f, x[i]);
        for (at = from; at < to; at += 1.0 / plot_fineness) {
            double t = (at - from) / (to - from);
            plot_fill(p, at, (1 - t) * plot_y(f, high[i - 1]) + t * plot_y(f, high[i]),
                      at + 1.0 / plot_fineness,
                      (1 - t) * plot_y(f, low[i - 1]) + t * plot_y(f, low[i]), colour);
        }
    }
}

/* Every n-th of `count` places has its number, so that `room` pixels hold them. */
static int plot_each(int count, double room, double needed)
{
    static const int steps[] = {1, 2, 5};
    int unit = 1, i;
    for (;; unit *= 10)
        for (i = 0; i < 3; i++)
            if (unit > 1000000 || (double)count / (unit * steps[i]) * needed <= room)
                return unit * steps[i];
}

/* Bars with the interval that chance gives: a grey box from low to high behind each bar. */
COMMON_USED(__unused__)
static void plot_bars(plot *p, const plot_frame *f, const double *values, const double *low,
                      const double *high, int count, int colour)
{
    double slot = f->width / count, zero = plot_y(f, 0);
    int i, each = plot_each(count, f->width, 30);
    char text[16];
    for (i = 0; i < count; i++) {
        double x = f->left + slot * i, y = plot_y(f, values[i]);
        if (plot_is_finite(low[i]) && plot_is_finite(high[i]))
            plot_rect(p, x + slot * 0.08, plot_y(f, high[i]), slot * 0.84,
                      plot_y(f, low[i]) - plot_y(f, high[i]) + 0.5, PLOT_NULL);
        if (plot_is_finite(values[i]))
            plot_rect(p, x + slot * 0.27, y < zero ? y : zero, slot * 0.46, fabs(y - zero) + 0.5,
                      colour);
        sprintf(text, "%d", i);
        if (i % each == 0)
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
    t = t > 0 ? t < 1 ? t : 1 : 0;
    i = (int)(t * last);
    if (i == last) i--;
    at = t * last - i;
    for (k = 16; k >= 0; k -= 8) {
        double a = table[i] >> k & 255, b = table[i + 1] >> k & 255;
        colour |= (int)(a + at * (b - a) + 0.5) << k;
    }
    return colour;
}

/* What a heat map shows: values [rows, columns], first row on top; NaN is left white, and above the
   diagonal where `causal`. A diverging scale where it begins below 0. */
typedef struct plot_map {
    const double *values;
    int rows, columns, causal;
    plot_axis scale;
    const char *scale_name;
} plot_map;

/* The strongest value of a block of cells, NaN if none is drawn. */
static double plot_block(const plot_map *m, int row, int column, int high, int wide)
{
    double strongest = NAN;
    int r, c;
    for (r = row; r < row + high && r < m->rows; r++)
        for (c = column; c < column + wide && c < m->columns; c++) {
            double v = m->values[(size_t)r * (size_t)m->columns + (size_t)c];
            if ((m->causal && c > r) || !plot_is_finite(v)) continue;
            if (!plot_is_finite(strongest) || fabs(v) > fabs(strongest)) strongest = v;
        }
    return strongest;
}

/* The colours with their numbers, `right` pixels right of the frame. */
static void plot_colour_bar(plot *p, const plot_frame *f, const plot_axis *scale, const char *name,
                            double right)
{
    double bar = f->left + f->width + right;
    plot_ticks ticks = plot_ticks_of(scale, 5, 0);
    int i;
    plot_put(p, "<g shape-rendering=\"crispEdges\">\n");
    for (i = 0; i < 64; i++)
        plot_rect(p, bar, f->top + f->height * (63 - i) / 64, 14, f->height / 64 + 0.5,
                  plot_shade(i / 63.0, scale->low < 0));
    plot_put(p, "</g>\n");
    for (i = 0; i < ticks.count; i++) {
        double y = f->top + f->height * (1 - plot_share(scale, ticks.at[i]));
        plot_line(p, bar + 14, y, bar + 18, y, 1, PLOT_INK);
        plot_text(p, bar + 21, y + 4, 12, -1, 0, PLOT_INK, ticks.text[i]);
    }
    plot_text(p, bar + 38 + plot_ticks_width(&ticks, 12, 0), f->top + f->height / 2, 13, 0, 1,
              PLOT_INK, name);
}

/* The map, and its scale `right` pixels right of it. */
COMMON_USED(__unused__)
static void plot_heat(plot *p, const plot_frame *f, const plot_map *m, double right)
{
    int high = (m->rows + PLOT_CELLS - 1) / PLOT_CELLS, r;
    int wide = (m->columns + PLOT_CELLS - 1) / PLOT_CELLS, c;
    double w = f->width / m->columns, h = f->height / m->rows;
    plot_put(p, "<g shape-rendering=\"crispEdges\">\n"); /* no seams */
    for (r = 0; r < m->rows; r += high)
        for (c = 0; c < m->columns; c += wide) {
            double v = plot_block(m, r, c, high, wide);
            int rows = m->rows - r < high ? m->rows - r : high;
            int columns = m->columns - c < wide ? m->columns - c : wide;
            if (!plot_is_finite(v)) continue;
            plot_rect(p, f->left + c * w, f->top + r * h, columns * w + 0.34, rows * h + 0.34,
                      plot_shade(plot_share(&m->scale, v), m->scale.low < 0));
        }
    plot_put(p, "</g>\n");
    plot_colour_bar(p, f, &m->scale, m->scale_name, right);
    if (high * wide > 1)
        plot_text(p, p->width - 8, p->height - 6, 11, 1, 0, PLOT_INK,
                  text_made("a cell shows the strongest of %d x %d", high, wide));
}

/* Numbers of rows (left) and columns (below) of a heat map. */
COMMON_USED(__unused__)
static void plot_heat_numbers(plot *p, const plot_frame *f, int rows, int columns,
                              const char *x_name, const char *y_name)
{
    int i, each_x = plot_each(columns, f->width, 34), each_y = plot_each(rows, f->height, 17);
    char text[16];
    for (i = 0; i < columns; i += each_x) {
        sprintf(text, "%d", i);
        plot_text(p, f->left + f->width * (i + 0.5) / columns, f->top + f->height + 18, 12, 0, 0,
                  PLOT_INK, text);
    }
    for (i = 0; i < rows && y_name; i += each_y) {
        sprintf(text, "%d", i);
        plot_text(p, f->left - 7, f->top + f->height * (i + 0.5) / rows + 4, 12, 1, 0, PLOT_INK,
                  text);
    }
    plot_names(p, f, x_name, y_name ? y_name : "", 44);
}

static void plot_circle(plot *p, double x, double y, double radius, int colour)
{
    int i;
    plot_put(p, "<circle cx=\"%.2f\" cy=\"%.2f\" r=\"%.2f\" fill=\"none\" stroke=\"#%06x\"/>\n", x,
             y, radius, (unsigned)colour);
    for (i = 0; p->fine && i < 120; i++)
        plot_stroke(p, x + radius * cos(plot_pi * i / 60), y + radius * sin(plot_pi * i / 60),
                    x + radius * cos(plot_pi * (i + 1) / 60),
                    y + radius * sin(plot_pi * (i + 1) / 60), 0.5, colour);
}

/* Degrees round the circle, and circles at decent amplitudes with their numbers. */
static void plot_wheel_grid(plot *p, double x, double y, double radius, const plot_axis *scale)
{
    plot_ticks ticks = plot_ticks_of(scale, 4, 0);
    int i;
    for (i = 0; i < 12; i++) {
        double c = cos(plot_pi * i / 6), s = sin(plot_pi * i / 6);
        plot_line(p, x, y, x + radius * c, y - radius * s, 1, PLOT_PALE);
        plot_text(p, x + radius * 1.1 * c, y - radius * 1.1 * s + 4, 12, 0, 0, PLOT_INK,
                  text_made("%d", 30 * i));
    }
    for (i = 0; i < ticks.count; i++)
        if (ticks.at[i] > 0)
            plot_circle(p, x, y, radius * plot_share(scale, ticks.at[i]), PLOT_PALE);
    plot_circle(p, x, y, radius, PLOT_GREY);
}

/* The numbers of the circles, on a ray that no degree stands on. */
static void plot_wheel_scale(plot *p, double x, double y, double radius, const plot_axis *scale)
{
    plot_ticks ticks = plot_ticks_of(scale, 4, 0);
    double c = cos(plot_pi / 12), s = sin(plot_pi / 12);
    int i;
    for (i = 0; i < ticks.count; i++) {
        double r = radius * plot_share(scale, ticks.at[i]);
        if (ticks.at[i] > 0)
            plot_text_over(p, x + r * c, y - r * s + 4, 11, PLOT_INK, ticks.text[i]);
    }
}

/* Colour of spoke i of `count`. */
static int plot_wheel_colour(int i, int count)
{
    return plot_shade(0.92 * i / (count > 1 ? count - 1 : 1), 0);
}

/* Phases [count] on a circle, amplitudes as the length of spokes from 0 to scale->high, coloured by
   index. */
COMMON_USED(__unused__)
static void plot_wheel(plot *p, double x, double y, double radius, const plot_axis *scale,
                       const double *phases, const double *amplitudes, int count)
{
    int i;
    plot_wheel_grid(p, x, y, radius, scale);
    for (i = 0; i < count; i++) {
        double r = radius * plot_share(scale, amplitudes[i]);
        int colour = plot_wheel_colour(i, count);
        if (!plot_is_finite(amplitudes[i]) || !plot_is_finite(phases[i])) continue;
        plot_line(p, x, y, x + r * cos(phases[i]), y - r * sin(phases[i]), 1.2, colour);
        plot_disc(p, x + r * cos(phases[i]), y - r * sin(phases[i]), 3, colour);
    }
    plot_wheel_scale(p, x, y, radius, scale);
}

#endif

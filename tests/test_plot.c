/* The drawing of examples/plot.h and the smoothing of examples/plot.c, from the inside: axes and
   ticks for any numbers, texts that fit, colours that differ for every eye. What the programs draw
   is tested in test_pictures.py. */
#define main plot_main
#include "../examples/plot.c"
#undef main
#include "test.h"

static unsigned long state = 1;
static double uniform(void) /* 0 .. 1 */
{
    state = (state * 1103515245ul + 12345) & 0x7ffffffful;
    return (double)state / 0x7fffffff;
}

/* What a tick says: "1.5k", "2e-7". */
static double tick_value(const char *text)
{
    static const char units[] = "kMGT";
    char *end;
    double value = strtod(text, &end);
    const char *unit = *end ? strchr(units, *end) : NULL;
    if (unit) value *= pow(1000, (double)(unit - units) + 1), end++;
    CHECK_SAY(*end == 0, "\"%s\" is no number", text);
    return value;
}

static void good_ticks(plot_axis a, const char *about)
{
    plot_ticks t = plot_ticks_of(&a, 6, 0);
    int i;
    CHECK_SAY(a.low < a.high && plot_is_finite(a.low) && plot_is_finite(a.high),
              "%s: the axis %g .. %g", about, a.low, a.high);
    CHECK_SAY(t.count >= 2 && t.count <= PLOT_MOST_TICKS, "%s: %d ticks", about, t.count);
    for (i = 0; i < t.count; i++) {
        double step = i ? t.at[i] - t.at[i - 1] : t.at[1] - t.at[0];
        double share = plot_share(&a, t.at[i]);
        if (!plot_is_finite(step)) step = DBL_MAX; /* from -1e308 to 1e308 */
        CHECK_SAY(fabs(tick_value(t.text[i]) / 2 - t.at[i] / 2) <= step * 1e-6,
                  "%s: \"%s\" stands at %.17g", about, t.text[i], t.at[i]);
        CHECK_SAY(share >= 0 && share <= 1 && (!i || share > plot_share(&a, t.at[i - 1])),
                  "%s: \"%s\" at %g", about, t.text[i], share);
        CHECK_SAY(!i || strcmp(t.text[i], t.text[i - 1]), "%s: \"%s\" twice", about, t.text[i]);
        CHECK_SAY(strcmp(t.text[i], "-0"), "%s: a negative zero", about);
        CHECK_SAY(strlen(t.text[i]) <= 17, "%s: \"%s\" is long", about, t.text[i]);
    }
}

static void any_axis_has_a_few_ticks_that_are_different_words(void)
{
    static const double ends[] = {
        0,     -0.0,      1,       -1,     2.5,    1e17,   1.00000000000000032e17,
        1e308, -1e308,    DBL_MAX, 1e-308, 5e-324, 1e6,    1000050,
        0.1,   0.1000001, 1e-5,    999999, 1e15,   9.9e14, 1e-3};
    size_t count = sizeof ends / sizeof ends[0], i, j;
    char about[80];
    for (i = 0; i < count; i++)
        for (j = 0; j < count; j++) {
            double low = fmin(ends[i], ends[j]), high = fmax(ends[i], ends[j]);
            sprintf(about, "%.17g .. %.17g", low, high);
            good_ticks(plot_axis_of(low, high), about);
            good_ticks(plot_axis_log(low, high), about);
        }
}

static void random_axes_too(void)
{
    int i;
    char about[80];
    for (i = 0; i < 4000; i++) {
        double middle = (uniform() - 0.5) * pow(10, 600 * uniform() - 300);
        double half = fabs(middle) * pow(10, 4 - 12 * uniform());
        sprintf(about, "%.17g +- %.17g", middle, half);
        good_ticks(plot_axis_of(middle - half, middle + half), about);
        good_ticks(plot_axis_log(fabs(middle), fabs(middle) + half), about);
    }
}

static void an_axis_of_what_is_not_finite_or_empty_is_0_to_1(void)
{
    static const double ends[5][2] = {{0, INFINITY}, {-INFINITY, 3}, {1, 0}, {0, 0}, {-0.0, 0}};
    int i;
    for (i = 0; i < 5; i++) {
        plot_axis a = plot_axis_of(ends[i][0], ends[i][1]);
        CHECK(a.low == 0 && a.high == 1);
        good_ticks(plot_axis_log(ends[i][0], ends[i][1]), "log");
    }
    good_ticks(plot_axis_of(NAN, 3), "NaN");
    good_ticks(plot_axis_of(3, NAN), "NaN");
}

static void a_place_is_the_share_of_the_span(void)
{
    plot_axis even = plot_axis_of(-2, 6), huge = plot_axis_of(-1.5e308, 1.5e308);
    plot_axis decades = plot_axis_log(0.1, 1000);
    CHECK(plot_share(&even, -2) == 0 && plot_share(&even, 6) == 1 && plot_share(&even, 0) == 0.25);
    CHECK(plot_share(&even, -9) == 0 && plot_share(&even, INFINITY) == 1);
    CHECK(plot_share(&huge, 0) == 0.5 && plot_share(&huge, 1.5e308) == 1);
    CHECK_NEAR(plot_share(&decades, 0.9), (log10(0.9) + 1) / 4, 1e-12); /* a few roundings */
    CHECK(plot_share(&decades, 0) == 0 && plot_share(&decades, -5) == 0);
}

static void ticks_of_what_is_counted_are_whole(void)
{
    int last, i;
    for (last = 1; last <= 1024; last++) {
        plot_axis a = plot_axis_of(0, last);
        plot_ticks t = plot_ticks_of(&a, 6, 1);
        CHECK(t.count >= 2 && t.at[0] == 0);
        for (i = 0; i < t.count; i++) CHECK(t.at[i] == floor(t.at[i]));
    }
}

static void a_text_ends_in_an_ellipsis_where_it_is_longer_than_its_room(void)
{
    static const char *const texts[] = {"loss", "blocks.11.ffn.maestro_out.squeeze.weight",
                                        "\303\274\303\274\303\274\303\274\303\274\303\274\303\274",
                                        "\345\220\214\344\271\211\345\217\215\344\271\211",
                                        "\377\376x"};
    size_t i;
    double room;
    int fit;
    for (i = 0; i < sizeof texts / sizeof texts[0]; i++)
        for (room = 20; room < 400; room += 7) {
            double whole = plot_text_width_in(texts[i], 12, room, &fit);
            const char *shown = fit > 0 ? text_shortened(texts[i], fit) : texts[i];
            size_t length = strlen(shown);
            CHECK((whole <= room) == (fit < 0));
            if (fit < 0) continue;
            CHECK(length >= 3 && strcmp(shown + length - 3, "\342\200\246") == 0);
            CHECK_SAY(fit == 1 || plot_text_width(shown, 12) <= room, "\"%s\" in %g", shown, room);
        }
}

static void no_two_styles_are_alike_and_neighbours_differ_without_colour(void)
{
    int i, k;
    for (i = 0; i < 28; i++)
        for (k = 0; k < i; k++) {
            plot_style a = plot_style_of(i), b = plot_style_of(k);
            CHECK(a.colour != b.colour || a.dash != b.dash);
            CHECK(i - k > 3 || (a.dash != b.dash && a.shape != b.shape));
        }
}

/* L*, a*, b* of a colour (CIE 1976) as an eye sees it whose channels mix like `eye` in linear light. */
static void lab_of(int colour, const double eye[3][3], double lab[3])
{
    static const double xyz_of[3][3] = {
        {0.4124, 0.3576, 0.1805}, {0.2126, 0.7152, 0.0722}, {0.0193, 0.1192, 0.9505}};
    static const double white[3] = {0.9505, 1, 1.089};
    double linear[3], seen[3], f[3];
    int i, k;
    for (i = 0; i < 3; i++) {
        double c = (colour >> (16 - 8 * i) & 255) / 255.0;
        linear[i] = c <= 0.04045 ? c / 12.92 : pow((c + 0.055) / 1.055, 2.4);
    }
    for (i = 0; i < 3; i++) {
        for (seen[i] = 0, k = 0; k < 3; k++) seen[i] += eye[i][k] * linear[k];
        seen[i] = fmin(1, fmax(0, seen[i]));
    }
    for (i = 0; i < 3; i++) {
        double t = 0;
        for (k = 0; k < 3; k++) t += xyz_of[i][k] * seen[k] / white[i];
        f[i] = t > 0.008856 ? cbrt(t) : 7.787 * t + 16.0 / 116;
    }
    lab[0] = 116 * f[1] - 16;
    lab[1] = 500 * (f[0] - f[1]);
    lab[2] = 200 * (f[1] - f[2]);
}

/* Matrices of Machado, Oliveira and Fernandes 2009, severity 1. A difference of 2.3 is just seen
   side by side; apart, and on thin lines, five times as much. */
static void colours_differ_for_colour_blind_readers(void)
{
    static const double eyes[4][3][3] = {
        {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}},
        {{0.152286, 1.052583, -0.204868},
         {0.114503, 0.786281, 0.099216},
         {-0.003882, -0.048116, 1.051998}},
        {{0.367322, 0.860646, -0.227968},
         {0.280085, 0.672501, 0.047413},
         {-0.011820, 0.042940, 0.968881}},
        {{1.255528, -0.076749, -0.178779},
         {-0.078411, 0.930809, 0.147602},
         {0.004733, 0.691367, 0.303900}},
    };
    int eye, i, k;
    for (eye = 0; eye < 4; eye++)
        for (i = 0; i < PLOT_COLOURS; i++)
            for (k = 0; k < i; k++) {
                double a[3], b[3], d;
                lab_of(plot_colours[i], eyes[eye], a);
                lab_of(plot_colours[k], eyes[eye], b);
                d = hypot(hypot(a[0] - b[0], a[1] - b[1]), a[2] - b[2]);
                CHECK_SAY(d >= 5 * 2.3, "eye %d: colours %d and %d differ by %.1f", eye, k, i, d);
            }
}

/* Dark is little and light is much for every eye: the scale of a map rises in L* alone. */
static void the_scale_of_a_map_rises_in_lightness(void)
{
    static const double eye[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
    double last = -1, lab[3];
    int i;
    for (i = 0; i <= 50; i++) {
        lab_of(plot_shade(i / 50.0, 0), eye, lab);
        CHECK_SAY(lab[0] > last, "at %d of 50: %.2f after %.2f", i, lab[0], last);
        last = lab[0];
    }
}

/* The mean of the finite ones, as it is written. */
static double direct_mean(const double *v, int last, int window)
{
    double sum = 0;
    int i, n = 0;
    for (i = last - window + 1 < 0 ? 0 : last - window + 1; i <= last; i++)
        if (plot_is_finite(v[i])) sum += v[i], n++;
    return n ? sum / n : NAN;
}

static void a_running_mean_is_the_mean_of_its_window(void)
{
    enum { COUNT = 700 };
    static const int windows[] = {1, 2, 3, 7, 100, 699, 700, 701};
    double v[COUNT], mean[COUNT];
    int i, k;
    for (i = 0; i < COUNT; i++) v[i] = uniform() * 5 + 1;
    for (i = 100; i < COUNT; i += 97) v[i] = i % 2 ? NAN : INFINITY;
    for (i = 300; i < 340; i++) v[i] = NAN;
    for (k = 0; k < 8; k++) {
        running_mean(v, COUNT, windows[k], mean);
        for (i = 0; i < COUNT; i++) {
            double wanted = direct_mean(v, i, windows[k]);
            if (isnan(wanted)) CHECK(isnan(mean[i]));
            else CHECK_NEAR(mean[i], wanted, 700 * 6 * DBL_EPSILON); /* a sum of 700 up to 6 */
        }
    }
}

static void a_running_mean_neither_overflows_nor_remembers_what_has_left(void)
{
    double v[6], mean[6];
    int i;
    for (i = 0; i < 6; i++) v[i] = i < 3 ? DBL_MAX : 1;
    running_mean(v, 6, 2, mean);
    CHECK(mean[0] == DBL_MAX && mean[1] == DBL_MAX && mean[2] == DBL_MAX);
    CHECK(mean[3] == DBL_MAX / 2 && mean[4] == 1 && mean[5] == 1);
}

static void thinning_keeps_the_ends(void)
{
    double x[5000], y[5000];
    int count, i, n;
    for (count = 1; count <= 5000; count += 13) {
        for (i = 0; i < count; i++) x[i] = i, y[i] = 2 * i;
        n = thinned(x, y, count);
        CHECK(n >= 1 && n <= PLOTTED + 1 && x[0] == 0 && x[n - 1] == count - 1);
        for (i = 1; i < n; i++) CHECK(x[i] > x[i - 1] && y[i] == 2 * x[i]);
    }
}

int main(void)
{
    RUN(any_axis_has_a_few_ticks_that_are_different_words);
    RUN(random_axes_too);
    RUN(an_axis_of_what_is_not_finite_or_empty_is_0_to_1);
    RUN(a_place_is_the_share_of_the_span);
    RUN(ticks_of_what_is_counted_are_whole);
    RUN(a_text_ends_in_an_ellipsis_where_it_is_longer_than_its_room);
    RUN(no_two_styles_are_alike_and_neighbours_differ_without_colour);
    RUN(colours_differ_for_colour_blind_readers);
    RUN(the_scale_of_a_map_rises_in_lightness);
    RUN(a_running_mean_is_the_mean_of_its_window);
    RUN(a_running_mean_neither_overflows_nor_remembers_what_has_left);
    RUN(thinning_keeps_the_ends);
    return test_end();
}

/* The attention kernels on every instruction set of this machine: against a plain quadratic
   reference in double, chunked against unchunked, streamed against whole, and, compiled in double
   (test_attention_double.c), every gradient against central differences. */
#define WAVECOH_SCALAR
#define WAVECOH_IMPLEMENTATION
#ifndef WAVECOH_HEADER
#define WAVECOH_HEADER "../wavecoh.h"
#endif
#include WAVECOH_HEADER
#include "test.h"
#include "support.h"

/* ---- what the tests share ---------------------------------------------------------------------- */

static wcoh_rng rng;

static double normal(void) { return wcoh_rng_normal(&rng); }

static void *take(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory) exit(3);
    return memory;
}

/* ||a - b|| <= tolerance ||b|| + floor */
static int close_to(const char *what, const double *a, const double *b, int count, double tolerance,
                    double floor)
{
    double difference = 0, norm = 0;
    int i;
    for (i = 0; i < count; i++) {
        difference += (a[i] - b[i]) * (a[i] - b[i]);
        norm += b[i] * b[i];
    }
    return CHECK_SAY(sqrt(difference) <= tolerance * sqrt(norm) + floor, "%s: error %.3g of norm %.3g", what,
                     sqrt(difference), sqrt(norm));
}

/* ---- a layer of coherence attention with its memory --------------------------------------------- */

typedef struct layer {
    wcohi_coherence call;
    wcohi_compute compute;
    int rows, columns, width; /* N, phasor columns, H E */
    wcoh_real *phasor, *value, *out, *aux, *dout, *dphasor, *dvalue;
    double *gain, *carrier, *damping, *harmonic, *dgain, *dcarrier, *ddamping;
    wcohi_pool *pool;
    void *pool_memory;
} layer;

static int forgets, loud, sharp; /* 1: layers bring a damping, a loudness, a gain a row */

static layer layer_open(int batch, int seq, int heads, int width, int shared, double gain)
{
    layer a;
    int i;
    memset(&a, 0, sizeof a);
    a.rows = batch * seq;
    a.columns = (shared ? 2 : 4) * heads + (forgets + loud + sharp) * heads;
    a.width = heads * width;
    a.phasor = (wcoh_real *)take((size_t)(a.rows * a.columns), sizeof *a.phasor);
    a.value = (wcoh_real *)take((size_t)(a.rows * a.width), sizeof *a.value);
    a.out = (wcoh_real *)take((size_t)(a.rows * a.width), sizeof *a.out);
    a.dout = (wcoh_real *)take((size_t)(a.rows * a.width), sizeof *a.dout);
    a.dphasor = (wcoh_real *)take((size_t)(a.rows * a.columns), sizeof *a.dphasor);
    a.dvalue = (wcoh_real *)take((size_t)(a.rows * a.width), sizeof *a.dvalue);
    a.aux = (wcoh_real *)take(wcohi_coherence_aux_count(batch, seq, heads, width), sizeof *a.aux);
    a.gain = (double *)take((size_t)(7 * heads), sizeof(double));
    a.carrier = a.gain + heads, a.damping = a.carrier + heads, a.harmonic = a.damping + heads;
    a.dgain = a.harmonic + heads, a.dcarrier = a.dgain + heads, a.ddamping = a.dcarrier + heads;
    for (i = 0; i < a.rows * a.columns; i++) a.phasor[i] = (wcoh_real)normal();
    for (i = 0; i < a.rows * a.width; i++) a.value[i] = (wcoh_real)normal();
    for (i = 0; i < a.rows * a.width; i++) a.dout[i] = (wcoh_real)normal();
    for (i = 0; i < heads; i++) {
        a.gain[i] = gain * (1 + 0.1 * i / heads);
        a.carrier[i] = 0.5 * (i + 1) / heads;
        a.damping[i] = 0.02 + 0.3 * i / heads;
    }
    a.call.batch = batch, a.call.seq = seq, a.call.heads = heads, a.call.width = width;
    a.call.phasor = a.phasor, a.call.phasor_stride = (size_t)a.columns;
    a.call.key_column = shared ? 0 : (size_t)(2 * heads);
    a.call.forget_column = forgets ? (size_t)(a.columns - (1 + loud + sharp) * heads) : 0;
    a.call.loud_column = loud ? (size_t)(a.columns - (1 + sharp) * heads) : 0;
    a.call.gain_column = sharp ? (size_t)(a.columns - heads) : 0;
    for (i = 0; i < a.rows * heads; i++) { /* dampings about 0.15, loudnesses up to 6 and more */
        wcoh_real *row = a.phasor + i / heads * a.columns + i % heads;
        if (forgets) row[a.call.forget_column] -= 2;
        if (loud) row[a.call.loud_column] *= 3;
        if (sharp)
            row[a.call.gain_column] = (wcoh_real)(gain * (0.7 + 0.4 * normal())); /* some cut */
    }
    a.call.value = a.value, a.call.value_stride = (size_t)a.width;
    a.call.out = a.out, a.call.out_stride = (size_t)a.width;
    a.call.gain = a.gain, a.call.carrier = a.carrier, a.call.damping = a.damping;
    a.call.aux = a.aux;
    a.call.scratch = take(wcohi_coherence_scratch_bytes(batch, seq, heads, width, 8), 1);
    a.call.dout = a.dout, a.call.dout_stride = (size_t)a.width;
    a.call.dphasor = a.dphasor, a.call.dvalue = a.dvalue;
    a.call.slopes[0] = a.dgain, a.call.slopes[1] = a.dcarrier, a.call.slopes[2] = a.ddamping;
    a.compute.kernels = wcohi_kernels_for(WCOH_ISA_SCALAR);
    return a;
}

static void layer_threads(layer *a, int threads)
{
    wcoh_cpu_desc cpu;
    memset(&cpu, 0, sizeof cpu);
    cpu.threads = threads;
    a->pool_memory = take(wcohi_pool_bytes(&cpu), 1);
    CHECK(wcohi_pool_open(&a->pool, a->pool_memory, &cpu, NULL) == WCOH_OK);
    a->compute.pool = a->pool;
}

static void layer_close(layer *a)
{
    if (a->pool) wcohi_pool_close(a->pool);
    free(a->pool_memory);
    free(a->phasor), free(a->value), free(a->out), free(a->dout), free(a->dphasor), free(a->dvalue);
    free(a->aux), free(a->gain), free(a->call.scratch);
}

static void layer_forward(layer *a) { wcohi_attend_coherence(&a->compute, &a->call); }

static void layer_backward(layer *a)
{
    memset(a->dgain, 0, (size_t)(3 * a->call.heads) * sizeof(double));
    for (a->call.part = 0; a->call.part < 2; a->call.part++)
        wcohi_attend_coherence_back(&a->compute, &a->call);
    a->call.part = 0;
}

/* damping of head h in row `row` */
static double damping_of(const wcohi_coherence *c, size_t row, int h)
{
    if (c->forget_column)
        return wcohi_softplus(
            (double)c->phasor[row * c->phasor_stride + c->forget_column + (size_t)h]);
    return c->damping ? c->damping[h] : 0;
}

static double loudness_of(const wcohi_coherence *c, size_t row, int h)
{
    if (!c->loud_column) return 0;
    return 8 * tanh((double)c->phasor[row * c->phasor_stride + c->loud_column + (size_t)h] / 8);
}

/* Of the query in a row; the gain of the head is the most. */
static double gain_of(const wcohi_coherence *c, size_t row, int h)
{
    double gain;
    if (!c->gain_column) return c->gain ? c->gain[h] : 1;
    gain = wcohi_softplus((double)c->phasor[row * c->phasor_stride + c->gain_column + (size_t)h]);
    return WCOHI_MIN(gain, c->gain ? c->gain[h] : 1);
}

/* sum of cos(n(phi - psi) + omega(q - k)) softmax in double: out [N, H E] */
static void reference(const layer *a, double *out)
{
    const wcohi_coherence *c = &a->call;
    int b, h, q, k, e;
    for (b = 0; b < c->batch; b++)
        for (h = 0; h < c->heads; h++)
            for (q = 0; q < c->seq; q++) {
                const wcoh_real *u = c->phasor + (size_t)(b * c->seq + q) * c->phasor_stride + 2 * h;
                double phi = (double)(u[0] * u[0] + u[1] * u[1]) < 1e-12 ? 0 : atan2((double)u[1], (double)u[0]);
                double n = c->harmonic ? c->harmonic[h] : 1, total = 0, faded = 0;
                double *o = out + (size_t)(b * c->seq + q) * (size_t)a->width + (size_t)(h * c->width);
                for (e = 0; e < c->width; e++) o[e] = 0;
                for (k = q; k >= 0; k--) {
                    size_t row = (size_t)(b * c->seq + k);
                    const wcoh_real *w = c->phasor + row * c->phasor_stride + c->key_column + 2 * h;
                    const wcoh_real *v = c->value + row * c->value_stride + (size_t)(h * c->width);
                    double psi = (double)(w[0] * w[0] + w[1] * w[1]) < 1e-12 ? 0 : atan2((double)w[1], (double)w[0]);
                    double gain = gain_of(c, (size_t)(b * c->seq + q), h), age = q - k, s;
                    s = gain * cos(n * (phi - psi) + (c->carrier ? c->carrier[h] : 0) * age);
                    s = exp(s - gain - faded + loudness_of(c, row, h));
                    faded += damping_of(c, row, h);
                    total += s;
                    for (e = 0; e < c->width; e++) o[e] += s * (double)v[e];
                }
                for (e = 0; e < c->width; e++) o[e] /= total;
            }
}

static double worst(const layer *a, const double *expected)
{
    double most = 0;
    int i;
    for (i = 0; i < a->rows * a->width; i++) {
        double d = fabs((double)a->out[i] - expected[i]);
        if (!(d <= most)) most = d;
    }
    return most;
}

/* ---- forward ----------------------------------------------------------------------------------- */

static const int shapes[][4] = {{1, 1, 1, 1}, {1, 2, 1, 3}, {2, 3, 2, 2},  {1, 7, 3, 5},  {3, 17, 1, 8},
                                {1, 65, 2, 12}, {2, 64, 4, 8}, {1, 130, 1, 7}, {1, 33, 17, 1}, {1, 20, 1, 65}};
#define SHAPES ((int)(sizeof shapes / sizeof shapes[0]))

static void forward_equals_the_quadratic_reference_on_every_instruction_set(void)
{
    int i, s, shared;
    EACH_ISA(i) for (s = 0; s < SHAPES; s++) for (shared = 0; shared < 2; shared++) {
        layer a = layer_open(shapes[s][0], shapes[s][1], shapes[s][2], shapes[s][3], shared, 2);
        double *expected = (double *)take((size_t)(a.rows * a.width), sizeof(double)), error;
        a.compute.kernels = wcohi_kernels_for(every_isa[i]);
        layer_forward(&a);
        reference(&a, expected);
        error = worst(&a, expected);
        CHECK_SAY(error < (IN_DOUBLE ? 2e-7 : 3e-6), "%s, shape %d: %.3g", wcoh_isa_name(every_isa[i]), s, error);
        free(expected);
        layer_close(&a);
    }
}

/* Sanitizers take a part of the lengths and gains. */
static int is_short(void) { return getenv("WAVECOH_TEST_SHORT") != NULL; }

static void chunks_give_what_the_whole_gives(void)
{
    static const int lengths[] = {1, 15, 16, 17, 31, 48, 63, 64, 65, 100, 129, 200, 300};
    static const double gains[] = {0.1, 1, 2, 4, 8, 11};
    static const int chunks[] = {16, 24, 33, 64, 0};
    int i, t, g, c;
    EACH_ISA(i) for (t = 0; t < 13; t += is_short() ? 4 : 1) for (g = 0; g < 6; g += is_short() ? 3 : 1) {
        layer a = layer_open(1, lengths[t], 2, 8, 0, gains[g]);
        double *expected = (double *)take((size_t)(a.rows * a.width), sizeof(double));
        a.compute.kernels = wcohi_kernels_for(every_isa[i]);
        reference(&a, expected);
        for (c = 0; c < 5; c++) {
            double error;
            a.call.chunk = chunks[c];
            layer_forward(&a);
            error = worst(&a, expected);
            CHECK_SAY(error < (IN_DOUBLE ? 3e-7 : gains[g] > 4 ? 1e-5 : 4e-6), "%s, T %d, kappa %g, chunk %d: %.3g",
                      wcoh_isa_name(every_isa[i]), lengths[t], gains[g], chunks[c], error);
        }
        free(expected);
        layer_close(&a);
    }
}

static void a_zero_phasor_counts_as_one_and_large_ones_do_no_harm(void)
{
    layer a = layer_open(1, 40, 1, 3, 0, 3);
    double *expected = (double *)take((size_t)(a.rows * a.width), sizeof(double));
    int i;
    for (i = 0; i < 4; i++) a.phasor[5 * a.columns + i] = 0;
    for (i = 0; i < 4; i++) a.phasor[9 * a.columns + i] *= (wcoh_real)1e-8;
    for (i = 0; i < 4; i++) a.phasor[12 * a.columns + i] *= (wcoh_real)1e8;
    a.call.chunk = 16;
    layer_forward(&a);
    reference(&a, expected);
    CHECK(worst(&a, expected) < 1e-5);
    layer_backward(&a);
    for (i = 0; i < 4; i++) CHECK(a.dphasor[5 * a.columns + i] == 0 && a.dphasor[9 * a.columns + i] == 0);
    free(expected);
    layer_close(&a);
}

static void heavy_damping_and_frozen_heads_work(void)
{
    layer a = layer_open(2, 70, 3, 4, 1, 1);
    double *expected = (double *)take((size_t)(a.rows * a.width), sizeof(double));
    int h, i;
    EACH_ISA(i) {
        a.compute.kernels = wcohi_kernels_for(every_isa[i]);
        for (h = 0; h < 3; h++) a.damping[h] = 20.0 * h;
        a.call.chunk = 16;
        layer_forward(&a);
        reference(&a, expected);
        CHECK(worst(&a, expected) < 3e-6);
        for (h = 0; h < 3; h++) a.harmonic[h] = log(1 + 0.5 * (h + 1));
        a.call.harmonic = a.harmonic;
        a.call.gain = a.call.carrier = a.call.damping = NULL;
        layer_forward(&a);
        reference(&a, expected);
        CHECK_SAY(worst(&a, expected) < 3e-6, "%s frozen: %.3g", wcoh_isa_name(every_isa[i]), worst(&a, expected));
        a.call.harmonic = NULL;
        a.call.gain = a.gain, a.call.carrier = a.carrier, a.call.damping = a.damping;
    }
    free(expected);
    layer_close(&a);
}

static void bessel_coefficients_are_the_published_ones(void)
{
    static const double at_one[8] = {1.2660659, 0.5651591, 0.1357477, 0.02216842, 0.002737120,
                                     2.714632e-4, 2.248866e-5, 1.599218e-6};
    double scaled[48], tiny[20];
    int m;
    wcohi_bessel(1, scaled, 48);
    for (m = 0; m < 8; m++) CHECK_NEAR(scaled[m] * exp(1.0) / at_one[m], 1, 3e-7);
    wcohi_bessel(12, scaled, 48);
    CHECK_NEAR(scaled[0] * exp(12.0), 18948.9253, 1e-3);
    wcohi_bessel(1e-9, tiny, 20);
    CHECK_NEAR(tiny[0], 1, 2e-9);
    CHECK_NEAR(tiny[1], 5e-10, 1e-15);
    wcohi_bessel(0, tiny, 20);
    CHECK(tiny[0] == 1 && tiny[1] == 0);
}

/* ---- backward ---------------------------------------------------------------------------------- */

static double loss(layer *a)
{
    double sum = 0;
    int i;
    layer_forward(a);
    for (i = 0; i < a->rows * a->width; i++) sum += (double)a->out[i] * (double)a->dout[i];
    return sum;
}

/* central differences over `count` reals or doubles */
static void differences(layer *a, wcoh_real *x, double *y, int count, double *gradient)
{
    const double step = 1e-5;
    int i;
    for (i = 0; i < count; i++) {
        double up, down, keep = x ? (double)x[i] : y[i];
        if (x) x[i] = (wcoh_real)(keep + step);
        else y[i] = keep + step;
        up = loss(a);
        if (x) x[i] = (wcoh_real)(keep - step);
        else y[i] = keep - step;
        down = loss(a);
        if (x) x[i] = (wcoh_real)keep;
        else y[i] = keep;
        gradient[i] = (up - down) / (2 * step);
    }
}

static void widen(double *to, const wcoh_real *from, int count)
{
    int i;
    for (i = 0; i < count; i++) to[i] = (double)from[i];
}

static void check_gradients(layer *a, const char *name)
{
    int phasors = a->rows * a->columns, values = a->rows * a->width, heads = a->call.heads;
    double *expected = (double *)take((size_t)(phasors + values), sizeof(double));
    double *found = (double *)take((size_t)(phasors + values), sizeof(double));
    char text[96];
    layer_forward(a);
    layer_backward(a);
#define CHECK_PART(part, real, wide, count, gradient)                                              \
    {                                                                                              \
        snprintf(text, sizeof text, "%s: d%s", name, part);                                        \
        differences(a, real, wide, count, expected);                                               \
        gradient;                                                                                  \
        close_to(text, found, expected, count, 1e-6, 1e-8);                                        \
    }
    CHECK_PART("phasor", a->phasor, NULL, phasors, widen(found, a->dphasor, phasors))
    CHECK_PART("value", a->value, NULL, values, widen(found, a->dvalue, values))
    if (a->call.gain && !forgets) {
        CHECK_PART("damping", NULL, a->damping, heads,
                   memcpy(found, a->ddamping, (size_t)heads * sizeof(double)))
    }
    if (a->call.gain) {
        if (!sharp)
            CHECK_PART("gain", NULL, a->gain, heads,
                       memcpy(found, a->dgain, (size_t)heads * sizeof(double)))
        CHECK_PART("carrier", NULL, a->carrier, heads, memcpy(found, a->dcarrier, (size_t)heads * sizeof(double)))
    }
    free(expected);
    free(found);
}

static void gradients_equal_central_differences(void)
{
    static const int sizes[][5] = {{1, 1, 1, 1, 0}, {2, 2, 1, 3, 0}, {1, 7, 2, 2, 0}, {1, 19, 2, 4, 16},
                                   {1, 50, 1, 3, 16}, {1, 37, 1, 9, 17}};
    int s, shared;
    for (s = 0; IN_DOUBLE && s < 6; s++)
        for (shared = 0; shared < 2; shared++) {
            char name[64];
            layer a = layer_open(sizes[s][0], sizes[s][1], sizes[s][2], sizes[s][3], shared, 2.5);
            a.call.chunk = sizes[s][4];
            snprintf(name, sizeof name, "T %d, H %d, chunk %d, shared %d", sizes[s][1], sizes[s][2], sizes[s][4],
                     shared);
            check_gradients(&a, name);
            if (shared) { /* the compatibility form; phasors away from the wrap */
                int i;
                for (i = 0; i < a.rows * a.columns; i += 2) a.phasor[i] = (wcoh_real)fabs((double)a.phasor[i]) + 1;
                for (i = 0; i < a.call.heads; i++) a.harmonic[i] = 0.7 + i;
                a.call.harmonic = a.harmonic;
                a.call.gain = a.call.carrier = a.call.damping = NULL;
                check_gradients(&a, "frozen");
            }
            layer_close(&a);
        }
}

/* All gradients of a layer, one behind the other. */
static int gradients(layer *a, double *all)
{
    int phasors = a->rows * a->columns, values = a->rows * a->width;
    layer_forward(a);
    layer_backward(a);
    widen(all, a->dphasor, phasors);
    widen(all + phasors, a->dvalue, values);
    memcpy(all + phasors + values, a->dgain, (size_t)(3 * a->call.heads) * sizeof(double));
    return phasors + values;
}

static void chunked_gradients_equal_quadratic_ones_on_every_instruction_set(void)
{
    static const double gains[] = {0.5, 2, 5, 10};
    static const int chunks[] = {16, 40, 64, 0};
    int i, g, c;
    EACH_ISA(i) for (g = 0; g < 4; g++) {
        layer a = layer_open(1, 200, 2, 8, 0, gains[g]);
        size_t total = (size_t)(a.rows * (a.columns + a.width) + 3 * a.call.heads);
        double *whole = (double *)take(total, sizeof(double)), *parts = (double *)take(total, sizeof(double));
        double tolerance = IN_DOUBLE ? 1e-6 : 2e-5;
        int count, heads = a.call.heads;
        char text[96];
        a.compute.kernels = wcohi_kernels_for(WCOH_ISA_SCALAR);
        a.call.chunk = 256;
        count = gradients(&a, whole);
        a.compute.kernels = wcohi_kernels_for(every_isa[i]);
        for (c = 0; c < 4; c++) {
            a.call.chunk = chunks[c];
            gradients(&a, parts);
            snprintf(text, sizeof text, "%s, kappa %g, chunk %d", wcoh_isa_name(every_isa[i]), gains[g], chunks[c]);
            close_to(text, parts, whole, count, tolerance, 1e-7);
            if (!sharp) close_to("dgain", parts + count, whole + count, heads, 5 * tolerance, 1e-5);
            close_to("dcarrier", parts + count + heads, whole + count + heads, heads, 5 * tolerance, 1e-5);
            close_to("ddamping", parts + count + 2 * heads, whole + count + 2 * heads, heads, 5 * tolerance, 1e-5);
        }
        free(whole);
        free(parts);
        layer_close(&a);
    }
}

/* Long sequences pass in stretches: however they are cut, the gradient is one, and it is the slope
   along a random direction. */
static void long_gradients_do_not_depend_on_the_chunks(void)
{
    static const int chunks[] = {32, 100, 0};
    int i, c, k;
    EACH_ISA(i) {
        layer a = layer_open(2, 600, 2, 8, 0, 2);
        size_t total = (size_t)(a.rows * (a.columns + a.width) + 3 * a.call.heads);
        double *whole = (double *)take(total, sizeof(double)), *parts = (double *)take(total, sizeof(double));
        int count;
        a.compute.kernels = wcohi_kernels_for(every_isa[i]);
        a.call.chunk = 256;
        count = gradients(&a, whole);
        if (IN_DOUBLE) {
            double up, slope = 0;
            wcoh_real *keep = (wcoh_real *)take((size_t)(a.rows * a.columns), sizeof *keep);
            memcpy(keep, a.phasor, (size_t)(a.rows * a.columns) * sizeof *keep);
            for (k = 0; k < a.rows * a.columns; k++) {
                parts[k] = normal();
                slope += parts[k] * whole[k];
                a.phasor[k] = keep[k] + (wcoh_real)(1e-6 * parts[k]);
            }
            up = loss(&a);
            for (k = 0; k < a.rows * a.columns; k++) a.phasor[k] = keep[k] - (wcoh_real)(1e-6 * parts[k]);
            up -= loss(&a);
            CHECK_NEAR(up / 2e-6, slope, 1e-4 * (1 + fabs(slope)));
            memcpy(a.phasor, keep, (size_t)(a.rows * a.columns) * sizeof *keep);
            free(keep);
        }
        for (c = 0; c < 3; c++) {
            a.call.chunk = chunks[c];
            gradients(&a, parts);
            close_to(wcoh_isa_name(every_isa[i]), parts, whole, count, IN_DOUBLE ? 1e-6 : 1e-5, 1e-7);
            close_to("dgain, dcarrier, ddamping", parts + count, whole + count, 3 * a.call.heads,
                     IN_DOUBLE ? 1e-6 : 3e-5, 1e-5);
        }
        free(whole), free(parts);
        layer_close(&a);
    }
}

/* ---- session ----------------------------------------------------------------------------------- */

/* The states of one stream, outside any model: room for every gain. */
typedef struct memory {
    wcohi_wave_terms terms[17];
    double coefficients[3 * WCOHI_FEATURES * WCOHI_STEP_HEADS]; /* eight heads side by side */
    wcohi_stream stream;
    unsigned char *states;
} memory;

/* Terms of the gains, carriers and dampings of `c` as they are now. */
static void memory_follow(memory *m, const wcohi_coherence *c)
{
    int h, i;
    for (h = 0; h < c->heads; h++) {
        wcohi_wave wave;
        wcohi_wave_parameters(&wave, c, h);
        wcohi_wave_series(&wave);
        m->terms[h].order = wave.order;
        m->terms[h].decay = exp(-wave.damping);
        m->terms[h].turn[0] = cos(wave.carrier);
        m->terms[h].turn[1] = sin(wave.carrier);
        m->terms[h].most = wave.gain;
        for (i = 0; i <= 2 * wave.order; i++)
            m->terms[h].coefficient[i * WCOHI_STEP_HEADS] =
                c->gain_column ? 1 : wave.coefficient[i];
    }
}

static void memory_open(memory *m, wcohi_coherence *c, int reals)
{
    size_t bytes = wcohi_wave_bytes(c->heads, c->width, (size_t)(c->heads * 73), reals);
    int h;
    memset(m, 0, sizeof *m);
    m->states = (unsigned char *)take(bytes, 1);
    for (h = 0; h < c->heads; h++) {
        m->terms[h].room = WCOHI_ORDERS;
        m->terms[h].first = (size_t)(h * 73);
        m->terms[h].coefficient = m->coefficients + h / 8 * 8 * WCOHI_FEATURES + h % 8;
    }
    memory_follow(m, c);
    c->terms = m->terms;
    c->streams = &m->stream;
    c->states = m->states;
    c->real_states = reals;
}

/* Hear the rows of `a` in pieces of `cut` (0: pieces of growing size) and compare with `expected`. */
static double stream(layer *a, int cut, int reals, const double *expected)
{
    wcohi_coherence c = a->call;
    int first, n, step = 0;
    memory m;
    memset(a->out, 0, (size_t)(a->rows * a->width) * sizeof *a->out);
    c.batch = 1;
    c.aux = NULL;
    c.dout = NULL;
    memory_open(&m, &c, reals);
    for (first = 0; first < a->rows; first += n) {
        n = WCOHI_MIN(cut ? cut : 1 + step++ * 5 % 23, a->rows - first);
        c.seq = n;
        c.phasor = a->phasor + (size_t)first * c.phasor_stride;
        c.value = a->value + (size_t)first * c.value_stride;
        c.out = a->out + (size_t)first * c.out_stride;
        wcohi_attend_coherence(&a->compute, &c);
    }
    free(m.states);
    return worst(a, expected);
}

static void a_session_gives_what_the_batch_gives_however_it_is_cut(void)
{
    static const double gains[] = {0.3, 2, 6, 10.9};
    static const int cuts[] = {1, 2, 7, 64, 100, 0};
    int i, g, c, wide;
    EACH_ISA(i) for (g = 0; g < 4; g++) for (wide = 0; wide < 2; wide++) {
        layer a = layer_open(1, 220, wide ? 3 : 17, wide ? 11 : 8, wide, gains[g]);
        double *expected = (double *)take((size_t)(a.rows * a.width), sizeof(double));
        a.compute.kernels = wcohi_kernels_for(every_isa[i]);
        reference(&a, expected);
        for (c = 0; c < 6; c++) {
            double error = stream(&a, cuts[c], 0, expected);
            CHECK_SAY(error < (gains[g] > 8 ? 3e-5 : gains[g] > 4 ? 1e-5 : IN_DOUBLE ? 1e-6 : 4e-6), "%s, kappa %g, cut %d: %.3g",
                      wcoh_isa_name(every_isa[i]), gains[g], cuts[c], error);
        }
        free(expected);
        layer_close(&a);
    }
}

/* 5e-5 is what the setting promises: half a unit in the last place, e^{2 kappa} times, at the
   largest gain that it takes. */
static void states_in_float_are_as_good_as_they_promise(void)
{
    static const int cuts[] = {1, 7, 100, 0};
    int i, c, wide;
    EACH_ISA(i)
        for (wide = 0; wide < 2; wide++) {
            layer a = layer_open(1, 700, wide ? 3 : 17, wide ? 11 : 8, wide, 2.5);
            double *expected = (double *)take((size_t)(a.rows * a.width), sizeof(double));
            a.compute.kernels = wcohi_kernels_for(every_isa[i]);
            reference(&a, expected);
            for (c = 0; c < 4; c++) {
                double error = stream(&a, cuts[c], 1, expected);
                CHECK_SAY(error < 5e-5 && (IN_DOUBLE || error > 0), "%s, cut %d: %.3g",
                          wcoh_isa_name(every_isa[i]), cuts[c], error);
            }
            free(expected);
            layer_close(&a);
        }
}

static void a_long_prefill_equals_the_batch(void)
{
    int i;
    EACH_ISA(i) {
        layer a = layer_open(1, 700, 3, 8, 0, 2);
        double *expected = (double *)take((size_t)(a.rows * a.width), sizeof(double));
        a.compute.kernels = wcohi_kernels_for(every_isa[i]);
        reference(&a, expected);
        CHECK(stream(&a, 700, 0, expected) < 4e-6);
        CHECK(stream(&a, 300, 0, expected) < 4e-6);
        free(expected);
        layer_close(&a);
    }
}

/* The same 200 rows again and again: far out, the answer must be what it was early. */
static void a_session_loses_nothing_with_its_age(void)
{
    layer a = layer_open(1, 200, 2, 4, 0, 3);
    double *early, most = 0;
    int i, round;
    memory m;
    wcohi_coherence c = a.call;
    early = (double *)take((size_t)(a.rows * a.width), sizeof(double));
    c.aux = NULL;
    a.damping[0] = a.damping[1] = 0.2; /* 200 rows back is e^-40: forgotten */
    memory_open(&m, &c, 0);
    a.compute.kernels = wcohi_kernels_for(wcoh_cpu_best_isa());
    for (round = 0; round < (IN_DOUBLE ? 500 : 5000); round++) {
        wcohi_attend_coherence(&a.compute, &c);
        if (round == 1) widen(early, a.out, a.rows * a.width);
    }
    for (i = 0; i < a.rows * a.width; i++) most = WCOHI_MAX(most, fabs((double)a.out[i] - early[i]));
    CHECK_SAY(most < 2e-6, "after a million rows: %.3g", most);
    free(early);
    free(m.states);
    layer_close(&a);
}

static void a_session_follows_a_change_of_gain(void)
{
    layer a = layer_open(1, 60, 2, 4, 0, 1);
    wcohi_coherence c = a.call;
    memory m;
    int i;
    c.aux = NULL;
    memory_open(&m, &c, 0);
    wcohi_attend_coherence(&a.compute, &c);
    a.gain[0] = 9, a.gain[1] = 0.5; /* as after a training step: more harmonics, then fewer */
    memory_follow(&m, &c);
    wcohi_attend_coherence(&a.compute, &c);
    a.gain[0] = 2, a.gain[1] = 6;
    memory_follow(&m, &c);
    wcohi_attend_coherence(&a.compute, &c);
    for (i = 0; i < a.rows * a.width; i++) CHECK(fabs((double)a.out[i]) < 100);
    free(m.states);
    layer_close(&a);
}

static void bits_do_not_depend_on_threads(void)
{
    int threads, i, isa;
    EACH_ISA(isa) {
        wcoh_real *first = NULL;
        double sums[24];
        for (threads = 1; threads <= 8; threads = threads == 3 ? 8 : threads + 1) {
            layer a;
            rng = wcoh_rng_seed(77);
            a = layer_open(3, 300, 8, 8, 0, 2);
            layer_threads(&a, threads);
            a.compute.kernels = wcohi_kernels_for(every_isa[isa]);
            layer_forward(&a);
            layer_backward(&a);
            if (threads == 1) {
                first = (wcoh_real *)take((size_t)(a.rows * a.columns), sizeof *first);
                memcpy(first, a.dphasor, (size_t)(a.rows * a.columns) * sizeof *first);
                memcpy(sums, a.dgain, sizeof sums);
            } else {
                CHECK(memcmp(first, a.dphasor, (size_t)(a.rows * a.columns) * sizeof *first) == 0);
                for (i = 0; i < 24; i++) CHECK(memcmp(&sums[i], &a.dgain[i], sizeof(double)) == 0);
            }
            layer_close(&a);
        }
        free(first);
    }
}

/* ---- dot-product attention --------------------------------------------------------------------- */

typedef struct dots {
    wcohi_dot call;
    wcohi_compute compute;
    int rows, width;
    wcoh_real *qkv, *out, *aux, *dout, *dqkv;
} dots;

static dots dots_open(int batch, int seq, int heads, int width, int rotary)
{
    dots a;
    int i;
    memset(&a, 0, sizeof a);
    a.rows = batch * seq;
    a.width = heads * width;
    a.qkv = (wcoh_real *)take((size_t)(3 * a.rows * a.width), sizeof *a.qkv);
    a.dqkv = (wcoh_real *)take((size_t)(3 * a.rows * a.width), sizeof *a.qkv);
    a.out = (wcoh_real *)take((size_t)(a.rows * a.width), sizeof *a.out);
    a.dout = (wcoh_real *)take((size_t)(a.rows * a.width), sizeof *a.dout);
    a.aux = (wcoh_real *)take(wcohi_dot_aux_count(batch, seq, heads), sizeof *a.aux);
    for (i = 0; i < 3 * a.rows * a.width; i++) a.qkv[i] = (wcoh_real)(1.5 * normal());
    for (i = 0; i < a.rows * a.width; i++) a.dout[i] = (wcoh_real)normal();
    a.call.batch = batch, a.call.seq = seq, a.call.heads = heads;
    a.call.width = a.call.wide_score = a.call.wide_value = width;
    a.call.qkv = a.qkv, a.call.stride = (size_t)(3 * a.width), a.call.rotary = rotary;
    a.call.out = a.out, a.call.out_stride = (size_t)a.width, a.call.aux = a.aux;
    a.call.dout = a.dout, a.call.dout_stride = (size_t)a.width, a.call.dqkv = a.dqkv;
    a.call.scratch = take(wcohi_dot_scratch_bytes(seq, width, width, 0, 4), 1);
    a.compute.kernels = wcohi_kernels_for(WCOH_ISA_SCALAR);
    return a;
}

static void dots_close(dots *a)
{
    free(a->qkv), free(a->dqkv), free(a->out), free(a->dout), free(a->aux), free(a->call.scratch);
}

/* One turned element of query (part 0) or key (part 1). */
static double turned(const dots *a, int part, int b, int t, int h, int e)
{
    const wcoh_real *x = a->qkv + (size_t)(b * a->call.seq + t) * a->call.stride + (size_t)(part * a->width);
    int width = a->call.width, pair = e / 2 * 2;
    double angle = t * pow(10000.0, -(double)pair / width);
    x += h * width;
    if (!a->call.rotary || pair + 1 == width) return (double)x[e];
    return e % 2 ? (double)x[pair] * sin(angle) + (double)x[pair + 1] * cos(angle)
                 : (double)x[pair] * cos(angle) - (double)x[pair + 1] * sin(angle);
}

/* window: keys that a query sees at most, itself included */
static void dots_reference(const dots *a, int window, double *out)
{
    int seq = a->call.seq, width = a->call.width, b, h, q, k, e;
    double *p = (double *)take((size_t)seq, sizeof(double));
    for (b = 0; b < a->call.batch; b++)
        for (h = 0; h < a->call.heads; h++)
            for (q = 0; q < seq; q++) {
                double total = 0, top = -1e300, *o = out + (size_t)(b * seq + q) * (size_t)a->width + h * width;
                int from = WCOHI_MAX(0, q + 1 - window);
                for (k = from; k <= q; k++) {
                    for (p[k] = 0, e = 0; e < width; e++) p[k] += turned(a, 0, b, q, h, e) * turned(a, 1, b, k, h, e);
                    p[k] /= sqrt((double)width);
                    top = WCOHI_MAX(top, p[k]);
                }
                for (k = from; k <= q; k++) total += p[k] = exp(p[k] - top);
                for (e = 0; e < width; e++) o[e] = 0;
                for (k = from; k <= q; k++)
                    for (e = 0; e < width; e++)
                        o[e] += p[k] / total *
                                (double)a->qkv[(size_t)(b * seq + k) * a->call.stride +
                                               (size_t)(2 * a->width + h * width + e)];
            }
    free(p);
}

static const int dot_shapes[][4] = {{1, 1, 1, 1}, {2, 3, 2, 2}, {1, 7, 3, 5},  {2, 64, 2, 32},
                                    {1, 65, 1, 17}, {1, 130, 2, 8}, {1, 150, 1, 12}, {1, 33, 1, 65}};

static void dot_forward_equals_the_reference_on_every_instruction_set(void)
{
    int i, s, rotary, j;
    EACH_ISA(i) for (s = 0; s < 8; s++) for (rotary = 0; rotary < 2; rotary++) {
        dots a = dots_open(dot_shapes[s][0], dot_shapes[s][1], dot_shapes[s][2], dot_shapes[s][3], rotary);
        double *expected = (double *)take((size_t)(a.rows * a.width), sizeof(double)), most = 0;
        a.compute.kernels = wcohi_kernels_for(every_isa[i]);
        wcohi_attend_dot(&a.compute, &a.call);
        dots_reference(&a, 1 << 30, expected);
        for (j = 0; j < a.rows * a.width; j++) most = WCOHI_MAX(most, fabs((double)a.out[j] - expected[j]));
        CHECK_SAY(most < (IN_DOUBLE ? 1e-12 : 1e-5), "%s, shape %d, rotary %d: %.3g", wcoh_isa_name(every_isa[i]), s,
                  rotary, most);
        free(expected);
        dots_close(&a);
    }
}

static double dots_loss(dots *a)
{
    double sum = 0;
    int i;
    wcohi_attend_dot(&a->compute, &a->call);
    for (i = 0; i < a->rows * a->width; i++) sum += (double)a->out[i] * (double)a->dout[i];
    return sum;
}

static void dot_gradients_equal_central_differences(void)
{
    static const int sizes[][4] = {{1, 1, 1, 1}, {2, 3, 2, 2}, {1, 7, 2, 5}, {1, 67, 1, 3}, {1, 20, 1, 17}};
    int s, rotary, i;
    for (s = 0; IN_DOUBLE && s < 5; s++) for (rotary = 0; rotary < 2; rotary++) {
        dots a = dots_open(sizes[s][0], sizes[s][1], sizes[s][2], sizes[s][3], rotary);
        int count = 3 * a.rows * a.width;
        double *expected = (double *)take((size_t)count, sizeof(double));
        double *found = (double *)take((size_t)count, sizeof(double));
        wcohi_attend_dot(&a.compute, &a.call);
        wcohi_attend_dot_back(&a.compute, &a.call);
        widen(found, a.dqkv, count);
        for (i = 0; i < count; i++) {
            wcoh_real keep = a.qkv[i];
            double up;
            a.qkv[i] = keep + (wcoh_real)1e-5;
            up = dots_loss(&a);
            a.qkv[i] = keep - (wcoh_real)1e-5;
            expected[i] = (up - dots_loss(&a)) / 2e-5;
            a.qkv[i] = keep;
        }
        close_to("dqkv", found, expected, count, 1e-6, 1e-8);
        free(expected), free(found);
        dots_close(&a);
    }
}

static void dot_gradients_agree_between_instruction_sets(void)
{
    int i, s, rotary;
    EACH_ISA(i) for (s = 0; s < 8; s++) for (rotary = 0; rotary < 2; rotary++) {
        dots a = dots_open(dot_shapes[s][0], dot_shapes[s][1], dot_shapes[s][2], dot_shapes[s][3], rotary);
        int count = 3 * a.rows * a.width;
        double *expected = (double *)take((size_t)count, sizeof(double));
        double *found = (double *)take((size_t)count, sizeof(double));
        wcohi_attend_dot(&a.compute, &a.call);
        wcohi_attend_dot_back(&a.compute, &a.call);
        widen(expected, a.dqkv, count);
        a.compute.kernels = wcohi_kernels_for(every_isa[i]);
        wcohi_attend_dot(&a.compute, &a.call);
        wcohi_attend_dot_back(&a.compute, &a.call);
        widen(found, a.dqkv, count);
        close_to(wcoh_isa_name(every_isa[i]), found, expected, count, 1e-5, 1e-7);
        free(expected), free(found);
        dots_close(&a);
    }
}

static void a_dot_session_sees_the_last_context_tokens(void)
{
    static const int cuts[] = {1, 7, 100};
    int i, c, first, n, j, rotary;
    EACH_ISA(i) for (rotary = 0; rotary < 2; rotary++) {
        dots a = dots_open(1, 100, 3, 10, rotary);
        double *expected = (double *)take((size_t)(a.rows * a.width), sizeof(double));
        wcoh_real *ring = (wcoh_real *)take(wcohi_dot_ring_count(37, 3, 10, 10), sizeof *ring);
        wcohi_stream from = {0, 0, NULL, NULL};
        wcohi_dot call = a.call;
        a.compute.kernels = wcohi_kernels_for(every_isa[i]);
        dots_reference(&a, 37, expected);
        call.scratch = take(wcohi_dot_scratch_bytes(100, 10, 10, 37, 1), 1);
        call.rings = (unsigned char *)ring, call.streams = &from, call.context = 37,
        call.aux = NULL, call.dout = NULL;
        for (c = 0; c < 3; c++) {
            double most = 0;
            for (first = 0; first < 100; first += n) {
                n = WCOHI_MIN(cuts[c], 100 - first);
                call.seq = n;
                from.position = (uint64_t)first;
                call.qkv = a.qkv + (size_t)first * call.stride;
                call.out = a.out + (size_t)first * call.out_stride;
                wcohi_attend_dot(&a.compute, &call);
            }
            for (j = 0; j < a.rows * a.width; j++) most = WCOHI_MAX(most, fabs((double)a.out[j] - expected[j]));
            CHECK_SAY(most < 1e-5, "%s, rotary %d, cut %d: %.3g", wcoh_isa_name(every_isa[i]), rotary, cuts[c], most);
        }
        free(call.scratch), free(ring), free(expected);
        dots_close(&a);
    }
}

/* The tests above once more with a damping a row, a loudness, a gain, all. */
static void listening_does_all_of_that(void)
{
    int mode;
    for (mode = is_short() ? 7 : 1; mode < 8; mode++) {
        if (mode == 5 || mode == 6) continue;
        forgets = mode & 1, loud = mode / 2 & 1, sharp = mode / 4;
        forward_equals_the_quadratic_reference_on_every_instruction_set();
        chunks_give_what_the_whole_gives();
        gradients_equal_central_differences();
        chunked_gradients_equal_quadratic_ones_on_every_instruction_set();
        a_session_gives_what_the_batch_gives_however_it_is_cut();
        a_long_prefill_equals_the_batch();
        bits_do_not_depend_on_threads();
    }
    forgets = loud = sharp = 0;
}

/* Depths are counted from where they are used: after rows that forget 30 nats each, a long memory is
   as exact as ever, and rows that forget everything leave themselves alone. 4e-6: as without. */
static void a_long_memory_after_a_short_one_is_exact(void)
{
    int i, t, h;
    forgets = 1;
    EACH_ISA(i) {
        layer a = layer_open(1, 700, 2, 8, 0, 2);
        double *expected = (double *)take((size_t)(a.rows * a.width), sizeof(double));
        a.compute.kernels = wcohi_kernels_for(every_isa[i]);
        for (t = 0; t < a.rows; t++)
            for (h = 0; h < 2; h++)
                a.phasor[t * a.columns + a.columns - 2 + h] = (wcoh_real)(t % 350 < 200 ? 30
                                                                          : t % 97 == 3 ? 3000
                                                                                        : -7);
        reference(&a, expected);
        layer_forward(&a);
        CHECK_SAY(worst(&a, expected) < 4e-6, "%s: %.3g", wcoh_isa_name(every_isa[i]),
                  worst(&a, expected));
        CHECK(stream(&a, 1, 0, expected) < 4e-6);
        CHECK(stream(&a, 300, 0, expected) < 4e-6);
        free(expected);
        layer_close(&a);
    }
    forgets = 0;
}

int main(void)
{
    rng = wcoh_rng_seed(1);
    RUN(bessel_coefficients_are_the_published_ones);
    RUN(forward_equals_the_quadratic_reference_on_every_instruction_set);
    RUN(chunks_give_what_the_whole_gives);
    RUN(a_zero_phasor_counts_as_one_and_large_ones_do_no_harm);
    RUN(heavy_damping_and_frozen_heads_work);
    RUN(gradients_equal_central_differences);
    RUN(chunked_gradients_equal_quadratic_ones_on_every_instruction_set);
    RUN(long_gradients_do_not_depend_on_the_chunks);
    RUN(a_session_gives_what_the_batch_gives_however_it_is_cut);
    RUN(states_in_float_are_as_good_as_they_promise);
    RUN(a_long_prefill_equals_the_batch);
    RUN(a_session_loses_nothing_with_its_age);
    RUN(a_session_follows_a_change_of_gain);
    RUN(bits_do_not_depend_on_threads);
    RUN(listening_does_all_of_that);
    RUN(a_long_memory_after_a_short_one_is_exact);
    RUN(dot_forward_equals_the_reference_on_every_instruction_set);
    RUN(dot_gradients_equal_central_differences);
    RUN(dot_gradients_agree_between_instruction_sets);
    RUN(a_dot_session_sees_the_last_context_tokens);
    return test_end();
}

/* The row kernels on every instruction set of this machine against plain formulas in double, the
   published vectors of the oscillators, and, compiled in double (test_kernels_double.c), every
   backward against central differences. Sizes are awkward on purpose. */
#define WAVECOH_SCALAR
#define WAVECOH_IMPLEMENTATION
#ifndef WAVECOH_HEADER
#define WAVECOH_HEADER "../wavecoh.h"
#endif
#include WAVECOH_HEADER
#include "test.h"
#include "support.h"

#define KERNELS(i) wcohi_kernels_for(every_isa[i])
#define SCALAR wcohi_kernels_for(WCOH_ISA_SCALAR)

static const int sizes[] = {1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 65, 129};
#define SIZES ((int)(sizeof sizes / sizeof sizes[0]))

static wcoh_rng rng;

/* count reals of normal numbers, in a block of exactly that size (so that ASan sees every overrun) */
static wcoh_real *reals(int count)
{
    wcoh_real *x = (wcoh_real *)malloc((size_t)(count ? count : 1) * sizeof *x);
    int i;
    if (!x) exit(3);
    for (i = 0; i < count; i++) x[i] = (wcoh_real)wcoh_rng_normal(&rng);
    return x;
}

/* [rows, n] with a deviation above 0.5 in every row: a row of nearly equal numbers, which a random
   one of two may be, is normalised by sqrt(1e-5), on whose scale its derivative turns and its
   rounding grows a hundredfold. */
static wcoh_real *rows_apart(int rows, int n)
{
    wcoh_real *x = reals(rows * n);
    int i;
    for (i = 0; i < rows * n; i++)
        x[i] = (wcoh_real)((i % n % 2 ? 1.5 : -1.5) + tanh((double)x[i]));
    return x;
}

static wcoh_real *copy(const wcoh_real *x, int count)
{
    wcoh_real *y = reals(count);
    memcpy(y, x, (size_t)count * sizeof *y);
    return y;
}

static double distance(const wcoh_real *a, const wcoh_real *b, int count, double *norm)
{
    double d = 0;
    int i;
    for (*norm = 0, i = 0; i < count; i++) {
        d += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        *norm += (double)b[i] * (double)b[i];
    }
    *norm = sqrt(*norm);
    return sqrt(d);
}

static void same(const char *what, int isa, int size, const wcoh_real *a, const wcoh_real *b, int count,
                 double tolerance)
{
    double norm, d = distance(a, b, count, &norm);
    CHECK_SAY(d <= tolerance * norm + 1e-6, "%s, %s, size %d: %.3g of %.3g", what, wcoh_isa_name(every_isa[isa]), size,
              d, norm);
}

/* ---- small kernels ----------------------------------------------------------------------------- */

static void squares_are_summed(void)
{
    int i, s, k;
    EACH_ISA(i) for (s = 0; s < SIZES; s++) {
        int n = sizes[s];
        wcoh_real *x = reals(n);
        double sum = 0;
        for (k = 0; k < n; k++) sum += (double)x[k] * (double)x[k];
        CHECK_NEAR(KERNELS(i)->common->sum_squares(x, (size_t)n), sum, 1e-12 * sum);
        free(x);
    }
}

static void columns_are_summed_with_any_stride(void)
{
    int i, s, r, k;
    EACH_ISA(i) for (s = 0; s < SIZES; s++) for (r = 0; r < SIZES; r++) {
        int n = sizes[s], rows = sizes[r], stride = n + 3, row;
        wcoh_real *g = reals(rows * stride), *sum = reals(n), *expected = copy(sum, n);
        for (row = 0; row < rows; row++)
            for (k = 0; k < n; k++) expected[k] += g[row * stride + k];
        KERNELS(i)->common->column_sums(sum, g, (size_t)stride, rows, n);
        same("column_sums", i, n, sum, expected, n, 1e-5);
        free(g), free(sum), free(expected);
    }
}

static void adamw_follows_its_formula(void)
{
    int i, s, k;
    EACH_ISA(i) for (s = 0; s < SIZES; s++) {
        int n = sizes[s];
        wcoh_real *p = reals(n), *m = reals(n), *v = reals(n), *g = reals(n);
        wcoh_real *q = copy(p, n), *m2 = copy(m, n), *v2 = copy(v, n);
        wcohi_adamw rule;
        rule.lr = (wcoh_real)0.01, rule.beta1 = (wcoh_real)0.9, rule.beta2 = (wcoh_real)0.99;
        rule.epsilon = (wcoh_real)1e-8, rule.decay = (wcoh_real)0.1, rule.scale = (wcoh_real)0.3;
        rule.correction1 = (wcoh_real)(1 / (1 - pow(0.9, 5))), rule.correction2 = (wcoh_real)(1 / (1 - pow(0.99, 5)));
        for (k = 0; k < n; k++) {
            double h = 0.3 * (double)g[k], first, second;
            v[k] = v2[k] = (wcoh_real)fabs((double)v[k]);
            first = 0.9 * (double)m[k] + 0.1 * h;
            second = 0.99 * (double)v[k] + 0.01 * h * h;
            m2[k] = (wcoh_real)first, v2[k] = (wcoh_real)second;
            q[k] = (wcoh_real)((double)q[k] - 0.01 * (first / (1 - pow(0.9, 5)) / (sqrt(second / (1 - pow(0.99, 5))) + 1e-8) +
                                                     0.1 * (double)p[k]));
        }
        KERNELS(i)->adamw->adamw(p, m, v, g, (size_t)n, &rule);
        same("adamw p", i, n, p, q, n, 1e-6), same("adamw m", i, n, m, m2, n, 1e-6), same("adamw v", i, n, v, v2, n, 1e-6);
        free(p), free(m), free(v), free(g), free(q), free(m2), free(v2);
    }
}

/* ---- cross-entropy over chunks of the vocabulary ------------------------------------------------ */

typedef struct vocabulary {
    const wcohi_kernels *kernels;
    int n, chunk, target;
    wcoh_real scale;        /* of the logits */
    wcoh_real maximum, sum; /* what the scan left */
} vocabulary;

/* First walk, as the head makes it. Returns -log softmax(scale x)[target]. */
static double scan_chunks(vocabulary *v, const wcoh_real *x)
{
    int at;
    v->maximum = (wcoh_real)-1e30, v->sum = 0;
    for (at = 0; at < v->n; at += v->chunk)
        v->kernels->softmax->scan(x + at, WCOHI_MIN(v->chunk, v->n - at), v->scale, &v->maximum, &v->sum);
    return log((double)v->sum) + ((double)v->maximum - (double)(v->scale * x[v->target]));
}

/* Second walk: x becomes the gradient times factor. Returns the gradient of the scale. */
static double gradient_of_chunks(const vocabulary *v, wcoh_real *x, wcoh_real factor)
{
    double dscale = 0;
    int at;
    for (at = 0; at < v->n; at += v->chunk) {
        int count = WCOHI_MIN(v->chunk, v->n - at), inside = v->target >= at && v->target < at + count;
        dscale += v->kernels->softmax->gradient(x + at, count, v->scale, v->maximum, 1 / v->sum, factor,
                                           inside ? v->target - at : -1);
    }
    return dscale;
}

static const int vocabulary_chunks[] = {1, 7, 1000};

static void cross_entropy_and_its_gradient_stay_exact_for_any_logits(void)
{
    static const double shifts[] = {0, 2e4, -2e4, 6e4};
    int i, s, k, w, c;
    EACH_ISA(i) for (s = 0; s < SIZES; s++) for (w = 0; w < 4; w++) for (c = 0; c < 3; c++) {
        int n = sizes[s], target = n / 2;
        wcoh_real *x = reals(n), *y;
        double sum = 0, expected;
        vocabulary v;
        v.kernels = KERNELS(i), v.n = n, v.chunk = vocabulary_chunks[c], v.target = target;
        v.scale = (wcoh_real)0.5; /* a power of two: exact */
        for (k = 0; k < n; k++) x[k] = (wcoh_real)((double)x[k] * 8 + shifts[w]);
        y = copy(x, n);
        for (k = 0; k < n; k++) sum += exp(0.5 * ((double)x[k] - (double)x[target]));
        expected = log(sum);
        CHECK_NEAR(scan_chunks(&v, x), expected, IN_DOUBLE ? 1e-9 : 1e-5);
        CHECK(memcmp(x, y, (size_t)n * sizeof *x) == 0);
        gradient_of_chunks(&v, x, 2);
        for (k = 0; k < n; k++)
            CHECK_NEAR(x[k], exp(0.5 * ((double)y[k] - (double)y[target])) / sum - (k == target), 4e-6);
        free(x), free(y);
    }
}

static void a_logit_that_is_not_finite_makes_the_loss_not_finite(void)
{
    int i, c, b;
    EACH_ISA(i) for (c = 0; c < 3; c++) for (b = 0; b < 2; b++) {
        static const uint32_t bits[2] = {0x7fc00000u, 0x7f800000u}; /* NaN, infinity */
        wcoh_real *x = reals(20);
        vocabulary v;
        float bad;
        memcpy(&bad, &bits[b], sizeof bad);
        x[17] = (wcoh_real)bad;
        v.kernels = KERNELS(i), v.n = 20, v.chunk = vocabulary_chunks[c], v.target = 3, v.scale = 1;
        CHECK(!wcohi_is_finite(scan_chunks(&v, x)));
        free(x);
    }
}

/* ---- layer norm, gelu, per band ----------------------------------------------------------------- */

static void norm_gives_mean_zero_and_variance_one(void)
{
    int i, s, k, row;
    EACH_ISA(i) for (s = 1; s < SIZES; s++) {
        int n = sizes[s], rows = 3;
        wcoh_real *x = rows_apart(rows, n), *w = reals(n), *b = reals(n), *y = reals(n * rows),
                  *stats = reals(2 * rows);
        wcoh_real *expected = reals(n * rows);
        for (k = 0; k < n * rows; k++) x[k] += 5;
        for (row = 0; row < rows; row++) {
            double mean = 0, variance = 0;
            for (k = 0; k < n; k++) mean += (double)x[row * n + k] / n;
            for (k = 0; k < n; k++) variance += pow((double)x[row * n + k] - mean, 2) / n;
            for (k = 0; k < n; k++)
                expected[row * n + k] = (wcoh_real)(((double)x[row * n + k] - mean) / sqrt(variance + 1e-5) * (double)w[k] + (double)b[k]);
        }
        KERNELS(i)->norm->forward(y, stats, x, w, b, rows, n);
        same("norm", i, n, y, expected, n * rows, IN_DOUBLE ? 1e-12 : 3e-6);
        free(x), free(w), free(b), free(y), free(stats), free(expected);
    }
}

static void backwards_agree_between_instruction_sets(void)
{
    int i, s;
    EACH_ISA(i) for (s = 0; s < SIZES; s++) {
        int n = sizes[s], rows = 5, all = 2 * n * rows;
        wcoh_real *x = rows_apart(rows, 2 * n), *w = reals(4 * n), *b = reals(2 * n),
                  *y = reals(all), *stats = reals(2 * rows);
        wcoh_real *g = reals(all), *dx = reals(all), *dw = reals(4 * n), *db = reals(2 * n);
        wcoh_real *dx2 = copy(dx, all), *dw2 = copy(dw, 4 * n), *db2 = copy(db, 2 * n);
        SCALAR->norm->forward(y, stats, x, w, b, rows, 2 * n);
        KERNELS(i)->norm->backward(dx, 1, dw, db, g, x, stats, w, rows, 2 * n);
        SCALAR->norm->backward(dx2, 1, dw2, db2, g, x, stats, w, rows, 2 * n);
        same("norm dx", i, n, dx, dx2, all, 3e-6), same("norm dw", i, n, dw, dw2, 4 * n, 3e-6);
        same("norm db", i, n, db, db2, 2 * n, 3e-6);
        KERNELS(i)->common->gelu_backward(dx, g, x, (size_t)all), SCALAR->common->gelu_backward(dx2, g, x, (size_t)all);
        same("gelu", i, n, dx, dx2, all, 3e-6);
        KERNELS(i)->per_band->forward(y, x, w, b, rows, n), SCALAR->per_band->forward(dx2, x, w, b, rows, n);
        same("per band", i, n, y, dx2, all, 3e-6);
        KERNELS(i)->per_band->backward(dx, dw, db, g, x, w, rows, n);
        SCALAR->per_band->backward(dx2, dw2, db2, g, x, w, rows, n);
        same("per band dx", i, n, dx, dx2, all, 3e-6), same("per band dw", i, n, dw, dw2, 4 * n, 3e-6);
        same("per band db", i, n, db, db2, 2 * n, 3e-6);
        free(x), free(w), free(b), free(y), free(stats), free(g), free(dx), free(dw), free(db);
        free(dx2), free(dw2), free(db2);
    }
}

/* ---- gradients --------------------------------------------------------------------------------- */

/* Something with a loss: forward(user) = sum of outputs times fixed weights. */
typedef double (*objective)(void *user);

static void check_gradient(const char *what, objective f, void *user, wcoh_real *x, int count, const double *found)
{
    double error = 0, norm = 0;
    int i;
    for (i = 0; i < count; i++) {
        wcoh_real keep = x[i];
        double up, expected;
        x[i] = keep + (wcoh_real)1e-5;
        up = f(user);
        x[i] = keep - (wcoh_real)1e-5;
        expected = (up - f(user)) / 2e-5;
        x[i] = keep;
        error += (found[i] - expected) * (found[i] - expected);
        norm += expected * expected;
    }
    CHECK_SAY(sqrt(error) <= 1e-6 * sqrt(norm) + 1e-8, "%s: error %.3g of %.3g", what, sqrt(error), sqrt(norm));
}

static void check_real_gradient(const char *what, objective f, void *user, wcoh_real *x, int count, const wcoh_real *found)
{
    double *wide = (double *)malloc((size_t)(count ? count : 1) * sizeof *wide);
    int i;
    if (!wide) exit(3);
    for (i = 0; i < count; i++) wide[i] = (double)found[i];
    check_gradient(what, f, user, x, count, wide);
    free(wide);
}

typedef struct rows_case {
    int rows, n;
    wcoh_real *x, *w, *b, *y, *g, *stats;
} rows_case;

static double weigh(const wcoh_real *y, const wcoh_real *g, int count)
{
    double sum = 0;
    int i;
    for (i = 0; i < count; i++) sum += (double)y[i] * (double)g[i];
    return sum;
}

static double norm_loss(void *user)
{
    rows_case *c = (rows_case *)user;
    SCALAR->norm->forward(c->y, c->stats, c->x, c->w, c->b, c->rows, c->n);
    return weigh(c->y, c->g, c->rows * c->n);
}

static double band_loss(void *user)
{
    rows_case *c = (rows_case *)user;
    SCALAR->per_band->forward(c->y, c->x, c->w, c->b, c->rows, c->n / 2);
    return weigh(c->y, c->g, c->rows * c->n);
}

static double gelu_loss(void *user)
{
    rows_case *c = (rows_case *)user;
    int i;
    for (i = 0; i < c->rows * c->n; i++) c->y[i] = wcohi_scalar_gelu(c->x[i]);
    return weigh(c->y, c->g, c->rows * c->n);
}

/* Of the first row's logits x times the scale w[0]. */
static double cross_entropy_loss(void *user)
{
    rows_case *c = (rows_case *)user;
    vocabulary v;
    v.kernels = SCALAR, v.n = c->n, v.chunk = 7, v.target = c->n - 1, v.scale = c->w[0];
    return scan_chunks(&v, c->x);
}

static void cross_entropy_gradients_equal_central_differences(void)
{
    static const int widths[] = {2, 7, 34};
    int s;
    for (s = 0; IN_DOUBLE && s < 3; s++) {
        rows_case c;
        vocabulary v;
        wcoh_real *dx;
        double dscale;
        memset(&c, 0, sizeof c);
        c.n = widths[s], c.x = reals(c.n), c.w = reals(1), c.w[0] = (wcoh_real)0.7;
        v.kernels = SCALAR, v.n = c.n, v.chunk = 7, v.target = c.n - 1, v.scale = c.w[0];
        dx = copy(c.x, c.n);
        scan_chunks(&v, dx);
        dscale = gradient_of_chunks(&v, dx, 1);
        check_real_gradient("cross-entropy dx", cross_entropy_loss, &c, c.x, c.n, dx);
        check_gradient("cross-entropy dscale", cross_entropy_loss, &c, c.w, 1, &dscale);
        free(c.x), free(c.w), free(dx);
    }
}

static void row_gradients_equal_central_differences(void)
{
    static const int widths[] = {2, 6, 14, 34};
    int s;
    for (s = 0; IN_DOUBLE && s < 4; s++) {
        rows_case c;
        int all;
        wcoh_real *dx, *dw, *db;
        c.rows = 3, c.n = widths[s], all = c.rows * c.n;
        c.x = rows_apart(c.rows, c.n), c.w = reals(2 * c.n), c.b = reals(c.n), c.y = reals(all),
        c.g = reals(all);
        c.stats = reals(2 * c.rows);
        dx = reals(all), dw = reals(2 * c.n), db = reals(c.n);
        memset(dw, 0, (size_t)(2 * c.n) * sizeof *dw), memset(db, 0, (size_t)c.n * sizeof *db);
        norm_loss(&c);
        SCALAR->norm->backward(dx, 0, dw, db, c.g, c.x, c.stats, c.w, c.rows, c.n);
        check_real_gradient("norm dx", norm_loss, &c, c.x, all, dx);
        check_real_gradient("norm dw", norm_loss, &c, c.w, c.n, dw);
        check_real_gradient("norm db", norm_loss, &c, c.b, c.n, db);
        memset(dw, 0, (size_t)(2 * c.n) * sizeof *dw), memset(db, 0, (size_t)c.n * sizeof *db);
        SCALAR->per_band->backward(dx, dw, db, c.g, c.x, c.w, c.rows, c.n / 2);
        check_real_gradient("per band dx", band_loss, &c, c.x, all, dx);
        check_real_gradient("per band dw", band_loss, &c, c.w, 2 * c.n, dw);
        check_real_gradient("per band db", band_loss, &c, c.b, c.n, db);
        SCALAR->common->gelu_backward(dx, c.g, c.x, (size_t)all);
        check_real_gradient("gelu", gelu_loss, &c, c.x, all, dx);
        free(c.x), free(c.w), free(c.b), free(c.y), free(c.g), free(c.stats), free(dx), free(dw), free(db);
    }
}

/* ---- oscillators -------------------------------------------------------------------------------- */

typedef struct oscillators {
    const wcohi_kernels *kernels;
    wcohi_kerr_source source;
    int rows, bands;
    wcoh_real *x, *z, *g, *gamma_raw, *omega, *corrector, *offset, *memory, *scratch;
    wcoh_real strength[2]; /* alpha, beta */
    wcohi_kerr kerr;
} oscillators;

static oscillators oscillators_open(int rows, int bands, wcoh_solver solver, int steps)
{
    oscillators o;
    int k;
    memset(&o, 0, sizeof o);
    o.kernels = SCALAR;
    o.rows = rows, o.bands = bands;
    o.x = reals(2 * rows * bands), o.z = reals(2 * rows * bands), o.g = reals(2 * rows * bands);
    o.gamma_raw = reals(bands), o.omega = reals(bands), o.corrector = reals(bands), o.offset = reals(2 * bands);
    for (k = 0; k < bands; k++) o.gamma_raw[k] = o.gamma_raw[k] / 2 - 2;
    for (k = 0; k < 2 * bands; k++) o.offset[k] /= 3;
    for (k = 0; k < 2 * rows * bands; k++) o.x[k] /= 2; /* a few steps of RK4 overflow soon */
    if (bands > 2) o.gamma_raw[2] = -9; /* gamma 1.2e-4: the series */
    o.memory = reals((int)wcohi_kerr_count(bands));
    o.scratch = reals((int)wcohi_kerr_scratch(bands, steps));
    o.strength[0] = (wcoh_real)0.13, o.strength[1] = (wcoh_real)0.21;
    o.source.bands = bands, o.source.solver = solver, o.source.steps = steps, o.source.time = 1;
    o.source.gamma_raw = o.gamma_raw, o.source.omega = o.omega;
    return o;
}

static void oscillators_close(oscillators *o)
{
    free(o->x), free(o->z), free(o->g), free(o->gamma_raw), free(o->omega), free(o->corrector), free(o->offset);
    free(o->memory), free(o->scratch);
}

static void oscillators_run(oscillators *o)
{
    o->source.alpha = (double)o->strength[0], o->source.beta = (double)o->strength[1];
    wcohi_kerr_prepare(&o->kerr, &o->source, o->memory);
    o->kernels->kerr->forward(o->z, o->x, &o->kerr, o->rows, o->scratch);
}

static double oscillators_loss(void *user)
{
    oscillators *o = (oscillators *)user;
    oscillators_run(o);
    return weigh(o->z, o->g, 2 * o->rows * o->bands);
}

/* The published input through one flow, on every instruction set: z = r + i s. */
static void check_published_vector(wcoh_solver solver, int steps, const double r[8], const double s[8],
                                   double tolerance)
{
    int i, k;
    EACH_ISA(i) {
        oscillators o = oscillators_open(1, 8, solver, steps);
        o.kernels = KERNELS(i);
        for (k = 0; k < 8; k++) {
            o.x[2 * k] = (wcoh_real)cos(1.0 + k), o.x[2 * k + 1] = (wcoh_real)(0.5 * sin(2.0 + 3 * k));
            o.omega[k] = (wcoh_real)((k + 1) / 8.0);
            o.gamma_raw[k] = (wcoh_real)log(expm1(0.1));
        }
        o.strength[0] = o.strength[1] = (wcoh_real)0.1;
        oscillators_run(&o);
        for (k = 0; k < 8; k++) {
            CHECK_NEAR(o.z[2 * k], r[k], tolerance);
            CHECK_NEAR(o.z[2 * k + 1], s[k], tolerance);
        }
        oscillators_close(&o);
    }
}

static void the_exact_flow_gives_the_published_vector(void)
{
    static const double r[8] = {0.335893135, -0.120147132, -0.982359228, -0.055686622,
                                -0.239276021, 0.818092937, -0.056743450, 0.307295873};
    static const double s[8] = {0.543526617, -0.561750860, -0.194282518, -0.742549917,
                                0.457691219, 0.524136512, 0.795435555, -0.263577323};
    check_published_vector(WCOH_SOLVER_EXACT, 1, r, s, IN_DOUBLE ? 1e-9 : 3e-7);
}

static void rk4_with_eight_steps_gives_the_published_vector(void)
{
    static const double r[8] = {0.335893320, -0.120147572, -0.982359570, -0.055688871,
                                -0.239273890, 0.818096341, -0.056738931, 0.307294424};
    static const double s[8] = {0.543526491, -0.561750770, -0.194281290, -0.742549960,
                                0.457692683, 0.524132575, 0.795436693, -0.263579878};
    check_published_vector(WCOH_SOLVER_RK4, 8, r, s, IN_DOUBLE ? 1e-9 : 5e-7);
}

static void the_perturbative_flow_gives_the_published_numbers(void)
{
    int i;
    EACH_ISA(i) {
        oscillators o = oscillators_open(1, 1, WCOH_SOLVER_PERTURBATIVE, 1);
        o.kernels = KERNELS(i);
        o.x[0] = 1, o.x[1] = 0, o.omega[0] = 1, o.gamma_raw[0] = (wcoh_real)log(expm1(0.1));
        o.strength[0] = o.strength[1] = 0;
        oscillators_run(&o);
        CHECK_NEAR(o.z[0], 0.4888857, 1e-6);
        CHECK_NEAR(o.z[1], 0.7613944, 1e-6);
        o.strength[0] = (wcoh_real)0.1;
        oscillators_run(&o);
        CHECK_NEAR(o.z[0], 0.4265480, 1e-6);
        CHECK_NEAR(o.z[1], 0.8014210, 1e-6);
        oscillators_close(&o);
    }
}

static void the_limiter_bends_at_its_knee_and_keeps_the_phase(void)
{
    int i;
    EACH_ISA(i) {
        oscillators o = oscillators_open(1, 4, WCOH_SOLVER_NONE, 1);
        o.kernels = KERNELS(i);
        o.source.ceiling = 5;
        o.x[0] = 7 * (wcoh_real)0.6, o.x[1] = 7 * (wcoh_real)0.8; /* |z| = 7 */
        o.x[2] = 3, o.x[3] = -4;                                  /* 5: untouched */
        o.x[4] = o.x[5] = 0;
        o.x[6] = 0, o.x[7] = -5000; /* far beyond: twice the knee */
        oscillators_run(&o);
        CHECK_NEAR(o.z[0], 6.899745 * 0.6, 3e-6);
        CHECK_NEAR(o.z[1], 6.899745 * 0.8, 3e-6);
        CHECK(o.z[2] == 3 && o.z[3] == -4 && o.z[4] == 0 && o.z[5] == 0);
        CHECK_NEAR(o.z[7], -10, 3e-6);
        oscillators_close(&o);
    }
}

static void the_exact_flow_undoes_itself_and_never_overflows(void)
{
    int i, k;
    EACH_ISA(i) {
        oscillators o = oscillators_open(2, 17, WCOH_SOLVER_EXACT, 1);
        o.kernels = KERNELS(i);
        for (k = 0; k < 68; k++) o.x[k] *= 1000;
        oscillators_run(&o);
        for (k = 0; k < 34; k++) {
            double m = hypot((double)o.x[2 * k], (double)o.x[2 * k + 1]);
            double gamma = wcohi_softplus((double)o.gamma_raw[k % 17]);
            CHECK_NEAR(hypot((double)o.z[2 * k], (double)o.z[2 * k + 1]) / m * exp(gamma), 1, 2e-6);
        }
        oscillators_close(&o);
    }
}

static const wcoh_solver solvers[] = {WCOH_SOLVER_EXACT, WCOH_SOLVER_PERTURBATIVE, WCOH_SOLVER_RK4, WCOH_SOLVER_NONE, WCOH_SOLVER_SPLIT};
static const int some_bands[] = {1, 2, 3, 7, 17, 65};

static void oscillators_agree_between_instruction_sets(void)
{
    int i, s, b, form;
    EACH_ISA(i) for (s = 0; s < 5; s++) for (b = 0; b < 6; b++) for (form = 0; form < 8; form++) {
        int n = some_bands[b], all = 2 * 40 * n;
        oscillators o = oscillators_open(40, n, solvers[s], 4);
        wcoh_real *z, *dx = reals(all), *dx2 = reals(all);
        double sums[2][3][65];
        wcohi_kerr_gradient gradient[2];
        int side;
        if (form & 1) o.source.ceiling = 1.3;
        if (form & 2) o.source.corrector = o.corrector;
        if (form & 4) o.source.offset = o.offset;
        memset(sums, 0, sizeof sums);
        for (side = 0; side < 2; side++) {
            o.kernels = side ? KERNELS(i) : SCALAR;
            gradient[side].gamma = sums[side][0], gradient[side].omega = sums[side][1];
            gradient[side].corrector = sums[side][2], gradient[side].alpha = gradient[side].beta = 0;
            if (side) z = copy(o.z, all);
            oscillators_run(&o);
            o.kernels->kerr->backward(side ? dx : dx2, &gradient[side], o.g, o.x, &o.kerr, 40, o.scratch);
        }
        same("kerr z", i, n, o.z, z, all, 3e-6);
        same("kerr dx", i, n, dx, dx2, all, 1e-5);
        for (side = 0; side < 3 * 65; side++)
            CHECK_NEAR(sums[1][side / 65][side % 65], sums[0][side / 65][side % 65], 1e-5 * (1 + 40 + fabs(sums[0][side / 65][side % 65])));
        CHECK_NEAR(gradient[1].alpha, gradient[0].alpha, 2e-5 * (100 + fabs(gradient[0].alpha)));
        CHECK_NEAR(gradient[1].beta, gradient[0].beta, 2e-5 * (100 + fabs(gradient[0].beta)));
        free(z), free(dx), free(dx2);
        oscillators_close(&o);
    }
}

static void oscillator_gradients_equal_central_differences(void)
{
    int s, b, form, k;
    for (s = 0; IN_DOUBLE && s < 5; s++) for (b = 0; b < 5; b++) for (form = 0; form < 8; form++) {
        int n = some_bands[b], all = 2 * 3 * n;
        oscillators o = oscillators_open(3, n, solvers[s], 3);
        wcoh_real *dx = reals(all);
        double sums[3][17], strength[2];
        wcohi_kerr_gradient gradient;
        char name[64];
        snprintf(name, sizeof name, "solver %d, bands %d, form %d", (int)solvers[s], n, form);
        if (form & 1) o.source.ceiling = 1.3;
        if (form & 2) o.source.corrector = o.corrector;
        if (form & 4) o.source.offset = o.offset;
        memset(sums, 0, sizeof sums);
        gradient.gamma = sums[0], gradient.omega = sums[1], gradient.corrector = sums[2];
        gradient.alpha = gradient.beta = 0;
        oscillators_run(&o);
        o.kernels->kerr->backward(dx, &gradient, o.g, o.x, &o.kerr, 3, o.scratch);
        for (k = 0; k < n; k++) sums[0][k] *= wcohi_sigmoid((double)o.gamma_raw[k]);
        strength[0] = gradient.alpha, strength[1] = gradient.beta;
        check_real_gradient(name, oscillators_loss, &o, o.x, all, dx);
        check_gradient(name, oscillators_loss, &o, o.gamma_raw, n, sums[0]);
        check_gradient(name, oscillators_loss, &o, o.omega, n, sums[1]);
        if (form & 2) check_gradient(name, oscillators_loss, &o, o.corrector, n, sums[2]);
        check_gradient(name, oscillators_loss, &o, o.strength, 2, strength);
        free(dx);
        oscillators_close(&o);
    }
}

static void energy_is_smooth_where_its_series_begins(void)
{
    double below, above, slope;
    wcohi_kerr_energy(0.99999e-3, &below, &slope);
    wcohi_kerr_energy(1.00001e-3, &above, &slope);
    CHECK_NEAR((below - above) / 2e-8, -slope, 1e-5);
    wcohi_kerr_energy(0, &below, &slope);
    CHECK(below == 1 && slope == -1);
}

/* ---- flows with four-wave mixing --------------------------------------------------------------- */

enum { MIXED = 84 };

/* dz/dt of the whole flow, in doubles: oscillators and mixing, quartet by quartet. */
static void mixed_slope(const oscillators *o, double chi, const double *z, double *slope)
{
    int k, j, q;
    for (k = 0; k < o->bands; k++) {
        double gamma = wcohi_softplus((double)o->gamma_raw[k]), phi = (double)o->omega[k];
        for (j = k - 2; j <= k + 2; j++)
            if (j >= 0 && j < o->bands)
                phi += (double)o->strength[j != k] *
                       (z[2 * j] * z[2 * j] + z[2 * j + 1] * z[2 * j + 1]);
        slope[2 * k] = -gamma * z[2 * k] - phi * z[2 * k + 1];
        slope[2 * k + 1] = -gamma * z[2 * k + 1] + phi * z[2 * k];
    }
    for (q = 0; q + 3 < o->bands; q++)
        for (j = 0; j < 4; j++) { /* of the four bands j and 3 - j are a pair */
            const double *a = z + 2 * (q + 3 - j), *b = z + 2 * (q + (j == 0 || j == 3 ? 1 : 0)),
                         *c = z + 2 * (q + (j == 0 || j == 3 ? 2 : 3));
            double r = b[0] * c[0] - b[1] * c[1], s = b[0] * c[1] + b[1] * c[0];
            slope[2 * (q + j)] += chi * (a[0] * s - a[1] * r);
            slope[2 * (q + j) + 1] -= chi * (a[0] * r + a[1] * s);
        }
}

/* Where a row gets to, by RK4 with many steps. */
static void mixed_truth(const oscillators *o, double chi, double *z, int steps)
{
    static const double node[4] = {0, 0.5, 0.5, 1}, weight[4] = {1, 2, 2, 1};
    double at[2 * MIXED], slope[2 * MIXED] = {0}, next[2 * MIXED];
    int step, stage, i, n = 2 * o->bands;
    for (step = 0; step < steps; step++) {
        memcpy(next, z, sizeof next);
        for (stage = 0; stage < 4; stage++) {
            for (i = 0; i < n; i++) at[i] = z[i] + node[stage] / steps * slope[i];
            mixed_slope(o, chi, at, slope);
            for (i = 0; i < n; i++) next[i] += weight[stage] / steps / 6 * slope[i];
        }
        memcpy(z, next, sizeof next);
    }
}

/* |z|^2 of all bands, and the energy of the flow at gamma = 0 */
static double mixed_energy(const oscillators *o, double chi, const double *z, double *squares)
{
    double m[MIXED], energy = 0;
    int k;
    for (*squares = 0, k = 0; k < o->bands; k++) {
        m[k] = z[2 * k] * z[2 * k] + z[2 * k + 1] * z[2 * k + 1];
        *squares += m[k];
        energy += (double)o->omega[k] * m[k] + (double)o->strength[0] / 2 * m[k] * m[k];
        if (k > 0) energy += (double)o->strength[1] * m[k] * m[k - 1];
        if (k > 1) energy += (double)o->strength[1] * m[k] * m[k - 2];
    }
    for (k = 0; k + 3 < o->bands; k++) {
        const double *q = z + 2 * k;
        double r = q[0] * q[6] - q[1] * q[7], s = q[0] * q[7] + q[1] * q[6];
        energy -= 2 * chi * (r * (q[2] * q[4] - q[3] * q[5]) + s * (q[2] * q[5] + q[3] * q[4]));
    }
    return energy;
}

/* The library's: oscillators, mixing, oscillators, `splits` times; o->x -> z. */
static void mixed_flow(oscillators *o, double chi, int splits, double *z)
{
    wcohi_mixing m;
    wcoh_real *planes = (wcoh_real *)calloc(WCOHI_MIXING_PLANES * wcohi_mixing_pitch(o->bands),
                                            sizeof *planes),
              *sum;
    int split, i;
    m.bands = o->bands, m.pitch = wcohi_mixing_pitch(o->bands), m.chi = (wcoh_real)(chi / splits),
    m.w = planes;
    sum = wcohi_mixing_plane(&m, WCOHI_MIXING_SUM);
    memcpy(o->z, o->x, 2 * (size_t)o->bands * sizeof *o->z);
    o->source.alpha = (double)o->strength[0], o->source.beta = (double)o->strength[1];
    o->source.time = 0.5 / splits;
    wcohi_kerr_prepare(&o->kerr, &o->source, o->memory);
    for (split = 0; split < splits; split++) {
        o->kernels->kerr->forward(o->z, o->z, &o->kerr, 1, o->scratch);
        wcohi_mixing_solve(&m, o->z);
        for (i = 0; i < 2 * o->bands; i++)
            o->z[i] = sum[(size_t)(i & 1) * m.pitch + (size_t)(i / 2)];
        o->kernels->kerr->forward(o->z, o->z, &o->kerr, 1, o->scratch);
    }
    for (i = 0; i < 2 * o->bands; i++) z[i] = (double)o->z[i];
    free(planes);
}

/* As the published measurement: unit normal numbers behind a knee at 1, 84 bands. */
static oscillators mixed_open(double gamma, double beta)
{
    oscillators o = oscillators_open(1, MIXED, WCOH_SOLVER_EXACT, 1);
    int k;
    o.strength[0] = (wcoh_real)0.1, o.strength[1] = (wcoh_real)beta;
    for (k = 0; k < MIXED; k++) {
        double r = wcoh_rng_normal(&rng), s = wcoh_rng_normal(&rng), m = hypot(r, s),
               factor = m > 1 ? (1 + tanh(m - 1)) / m : 1;
        o.x[2 * k] = (wcoh_real)(factor * r), o.x[2 * k + 1] = (wcoh_real)(factor * s);
        o.omega[k] = (wcoh_real)((k + 1.0) / MIXED);
        o.gamma_raw[k] = (wcoh_real)(gamma > 0 ? log(expm1(gamma)) : -60);
    }
    return o;
}

/* Strang's splitting is of second order: the mean square error falls to a sixteenth as splits double.
   The bounds are the published 7e-8 .. 7e-7 of 4 splits and 4e-9 .. 4e-8 of 8, twice as large: the
   rows are others. */
static void splits_approach_the_flow_with_mixing(void)
{
    static const double bound[2][2] = {{1.4e-7, 8e-9}, {1.4e-6, 8e-8}};
    double truth[2 * MIXED], z[2 * MIXED], error[4], chi = 0.03;
    int strong, n, i, row;
    for (strong = 0; strong < 2; strong++) {
        memset(error, 0, sizeof error);
        for (row = 0; row < 20; row++) {
            oscillators o = mixed_open(0.1, strong ? 0.2 : 0.1);
            for (i = 0; i < 2 * MIXED; i++) truth[i] = (double)o.x[i];
            mixed_truth(&o, chi, truth, 512);
            for (n = 0; n < 4; n++) {
                mixed_flow(&o, chi, 2 << n, z);
                for (i = 0; i < 2 * MIXED; i++)
                    error[n] += (z[i] - truth[i]) * (z[i] - truth[i]) / (2 * MIXED * 20);
            }
            oscillators_close(&o);
        }
        CHECK_SAY(error[1] < bound[strong][0] && error[2] < bound[strong][1],
                  "beta %d: mean square error of 2, 4, 8, 16 splits: %.1e %.1e %.1e %.1e",
                  strong + 1, error[0], error[1], error[2], error[3]);
        for (n = 0; IN_DOUBLE && n < 3; n++) CHECK_NEAR(error[n] / error[n + 1], 16, 2);
    }
}

/* At gamma = 0 mixing moves energy between bands and loses none: the sum of |z|^2 stays to the error of
   one step of RK4, the energy of the whole flow to that of the splitting, of second order. */
static void mixing_keeps_the_energy(void)
{
    double z[2 * MIXED], before, after, squares, chi = 0.03, drift[2], moved = 0;
    oscillators o = mixed_open(0, 0.1);
    int i, n;
    for (i = 0; i < 2 * MIXED; i++) z[i] = (double)o.x[i];
    before = mixed_energy(&o, chi, z, &squares);
    for (n = 0; n < 2; n++) {
        double now;
        mixed_flow(&o, chi, 4 << n, z);
        after = mixed_energy(&o, chi, z, &now);
        drift[n] = fabs(after - before);
        CHECK_NEAR(now / squares, 1, IN_DOUBLE ? 1e-9 : 1e-6);
        CHECK_NEAR(after / before, 1, 1e-4);
    }
    CHECK_SAY(!IN_DOUBLE || (drift[0] / drift[1] > 3 && drift[0] / drift[1] < 5),
              "drift of 4, 8 splits: %g, %g", drift[0], drift[1]);
    for (i = 0; i < 2 * MIXED; i += 2)
        moved += fabs(hypot(z[i], z[i + 1]) - hypot((double)o.x[i], (double)o.x[i + 1])) / MIXED;
    CHECK_SAY(moved > 0.02, "bands exchange %g", moved);
    oscillators_close(&o);
}

/* The first 9 steps replace the statistics of gain control, later ones blend in; the knee is mean + 3
   deviations within its bounds. */
static void gain_control_follows_its_formula(void)
{
    const wcoh_real x[] = {3, 4, 0, 1, 100, 0, (wcoh_real)NAN, 0}; /* |z| of 5, 1; two that do not count */
    double sums[3] = {0, 0, 0};
    wcoh_real seen[3] = {0, 0, 0}, now[3];
    int i;
    CHECK_NEAR(wcohi_kerr_knee_of(seen, 2), 1.5, 1e-12);
    wcohi_kerr_see(sums, x, 4, 4);
    CHECK(sums[0] == 6 && sums[1] == 26 && sums[2] == 2);
    for (i = 0; i < 3; i++) now[i] = (wcoh_real)(sums[i] / 4);
    for (i = 0; i < 9; i++) {
        wcohi_seen_add(seen, now);
        CHECK(seen[0] == 3 && seen[1] == 4 && (int)seen[2] == i + 1);
    }
    now[0] *= 2; /* mean 6, variance -23: not below 0 */
    wcohi_seen_add(seen, now);
    CHECK_NEAR(seen[0], 0.995 * 3 + 0.005 * 6, 1e-6);
    CHECK_NEAR(seen[1], 0.995 * 4, 1e-6);
    CHECK(seen[2] == 9);
    now[2] = 0; /* nothing counted */
    wcohi_seen_add(seen, now);
    CHECK_NEAR(seen[0], 3.015, 1e-6);
    CHECK_NEAR(wcohi_kerr_knee_of(seen, 20), 3.015 + 3 * sqrt(3.98), 1e-5);
    CHECK(wcohi_kerr_knee_of(seen, 5) == 5);
    seen[0] = seen[1] = 0;
    CHECK_NEAR(wcohi_kerr_knee_of(seen, 5), 1.5, 1e-12);
    CHECK_NEAR(wcohi_kerr_knee_of(seen, 1.2), 0.5, 1e-12);
}

int main(void)
{
    rng = wcoh_rng_seed(5);
    RUN(squares_are_summed);
    RUN(columns_are_summed_with_any_stride);
    RUN(adamw_follows_its_formula);
    RUN(cross_entropy_and_its_gradient_stay_exact_for_any_logits);
    RUN(a_logit_that_is_not_finite_makes_the_loss_not_finite);
    RUN(norm_gives_mean_zero_and_variance_one);
    RUN(backwards_agree_between_instruction_sets);
    RUN(row_gradients_equal_central_differences);
    RUN(cross_entropy_gradients_equal_central_differences);
    RUN(the_exact_flow_gives_the_published_vector);
    RUN(rk4_with_eight_steps_gives_the_published_vector);
    RUN(the_perturbative_flow_gives_the_published_numbers);
    RUN(the_limiter_bends_at_its_knee_and_keeps_the_phase);
    RUN(the_exact_flow_undoes_itself_and_never_overflows);
    RUN(oscillators_agree_between_instruction_sets);
    RUN(oscillator_gradients_equal_central_differences);
    RUN(energy_is_smooth_where_its_series_begins);
    RUN(splits_approach_the_flow_with_mixing);
    RUN(mixing_keeps_the_energy);
    RUN(gain_control_follows_its_formula);
    return test_end();
}

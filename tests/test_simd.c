/* exp, log, tanh, sin, cos, 1/sqrt, gelu and gelu' of every instruction set against double, over
   all floats (every 997th bit pattern; with an argument N every Nth, with `full` all 2^32), and the
   vocabulary itself.
     cc -O2 tests/test_simd.c -o test_simd -lm -pthread */
#define WAVECOH_SCALAR
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"
#include "test.h"
#include "support.h"

#ifndef WAVECOH_TEST_DOUBLE

static uint32_t stride = 997;
static int verbose;

static uint32_t bits_of(float x) { return (uint32_t)wcohi_real_bits(x); }
static float of_bits(uint32_t bits) { return wcohi_bits_real((int32_t)bits); }

/* By the bits: the test itself is compiled with -Ofast too. */
static int is_nan(float x) { return (bits_of(x) & 0x7fffffffu) > 0x7f800000u; }
static int is_infinite(float x) { return (bits_of(x) & 0x7fffffffu) == 0x7f800000u; }
static int is_denormal(float x)
{
    return (bits_of(x) & 0x7f800000u) == 0 && (bits_of(x) & 0x7fffffffu) != 0;
}

/* gcc -Ofast makes the program flush denormals: they then count as 0. */
static int flushes(void)
{
    volatile float tiny = FLT_MIN;
    return bits_of(tiny * 0.5f) == 0;
}

/* Distance in units of the last place of the float nearest to `exact`. */
static double ulps(float y, double exact)
{
    double size = fabs(exact);
    int exponent;
    if (size > FLT_MAX * (1 + 1e-7)) return is_infinite(y) && (y > 0) == (exact > 0) ? 0 : 1e9;
    if (is_nan(y) || is_infinite(y)) return size > FLT_MAX * (1 - 6e-8) ? 0.5 : 1e9;
    if (flushes() && size < FLT_MIN * 1.0001 && fabs((double)y) < FLT_MIN * 1.0001) return 0;
    frexp(size < FLT_MIN ? FLT_MIN : size, &exponent);
    return fabs((double)y - exact) / ldexp(1.0, exponent - 24);
}

static double exact_rsqrt(double x) { return 1 / sqrt(x); }
static double exact_u(double x)
{
    return sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x);
}
static double exact_gelu(double x)
{
    return x < -30 ? 0 : x > 30 ? x : x / (1 + exp(-2 * exact_u(x)));
}
static double exact_gelu_slope(double x)
{
    double s, du = sqrt(2 / 3.14159265358979323846) * (1 + 3 * 0.044715 * x * x);
    if (x < -30 || x > 30) return x > 0;
    s = 1 / (1 + exp(-2 * exact_u(x)));
    return s + x * s * (1 - s) * 2 * du;
}

typedef struct function {
    const char *name;
    double (*exact)(double);
    double bound;    /* in ULP, unless absolute */
    double absolute; /* > 0: |error| <= absolute (1 + |x|) instead */
} function;

enum { EXP, TANH, LOG, RSQRT, GELU, GELU_SLOPE, SIN, COS, FUNCTIONS };
static const function functions[FUNCTIONS] = {
    {"exp", exp, 1.5, 0},           {"tanh", tanh, 3, 0},
    {"log", log, 1.5, 0},           {"rsqrt", exact_rsqrt, 1.5, 0},
    {"gelu", exact_gelu, 0, 4e-7}, {"gelu'", exact_gelu_slope, 0, 8e-7},
    {"sin", sin, 2.5, 0},           {"cos", cos, 2.5, 0},
};

/* -ffast-math may reassociate the polynomials and estimate the scalar root: 2 ULP more. */
#ifdef WCOHI_FAST_MATH
static const double fast_math_slack = 2;
#else
static const double fast_math_slack = 0;
#endif

static double bound_of(int f)
{
    return functions[f].absolute > 0 ? 1 : functions[f].bound + fast_math_slack;
}

enum { CHUNK = 4096 };
static float x_chunk[CHUNK], y_chunk[FUNCTIONS][CHUNK];
static double exact_chunk[FUNCTIONS][CHUNK];
static double worst[ISA_COUNT][FUNCTIONS];
static uint32_t worst_at[ISA_COUNT][FUNCTIONS];

/* y_chunk = every function of x_chunk [count] */
#define EVALUATE(S, isa)                                                                           \
    S##_fn void S##_evaluate(int count)                                                            \
    {                                                                                              \
        int i;                                                                                     \
        for (i = 0; i < count; i += S##_W) {                                                       \
            int n = count - i < S##_W ? count - i : S##_W;                                         \
            S##_v x = S##_load_n(x_chunk + i, n), sine, cosine;                                    \
            S##_store_n(y_chunk[EXP] + i, S##_exp(x), n);                                          \
            S##_store_n(y_chunk[TANH] + i, S##_tanh(x), n);                                        \
            S##_store_n(y_chunk[LOG] + i, S##_log(x), n);                                          \
            S##_store_n(y_chunk[RSQRT] + i, S##_rsqrt(x), n);                                      \
            S##_store_n(y_chunk[GELU] + i, S##_gelu(x), n);                                        \
            S##_store_n(y_chunk[GELU_SLOPE] + i, S##_gelu_slope(x), n);                            \
            S##_sincos(x, &sine, &cosine);                                                         \
            S##_store_n(y_chunk[SIN] + i, sine, n);                                                \
            S##_store_n(y_chunk[COS] + i, cosine, n);                                              \
        }                                                                                          \
    }
WCOHI_EACH_SET(EVALUATE)

static void evaluate(wcoh_isa isa, int count)
{
#define EVALUATE_CASE(S, value)                                                                    \
    if (isa == value) S##_evaluate(count);
    WCOHI_EACH_SET(EVALUATE_CASE)
}

/* Finite x inside the domain: the error in ULP, or as a share of the absolute bound. */
static double error_of(int f, float x, float y, double exact)
{
    if (functions[f].absolute > 0)
        return is_nan(y)
                   ? 1e9
                   : fabs((double)y - exact) / (functions[f].absolute * (1 + fabs((double)x)));
    return ulps(y, exact);
}

static int in_domain(int f, float x)
{
    if (is_nan(x) || is_infinite(x)) return 0;
    if (is_denormal(x) && flushes()) return 0;
#ifdef _WIN32 /* msvcrt's own sin and cos lose their phase past here: no reference */
    if ((f == SIN || f == COS) && fabs((double)x) > 1e5) return 0;
#endif
    return (f != LOG && f != RSQRT) || x > 0;
}

static void scan_chunk(int set, int count)
{
    int f, i;
    for (f = 0; f < FUNCTIONS; f++)
        for (i = 0; i < count; i++) {
            double error;
            if (!in_domain(f, x_chunk[i])) {
                if (is_nan(x_chunk[i]) && !is_nan(y_chunk[f][i])) worst[set][f] = 1e9;
                continue;
            }
            error = error_of(f, x_chunk[i], y_chunk[f][i], exact_chunk[f][i]);
            if (error > worst[set][f]) {
                worst[set][f] = error;
                worst_at[set][f] = bits_of(x_chunk[i]);
            }
        }
}

static void scan_every_isa(int count)
{
    int f, i, s;
    for (f = 0; f < FUNCTIONS; f++)
        for (i = 0; i < count; i++)
            exact_chunk[f][i] =
                in_domain(f, x_chunk[i]) ? functions[f].exact((double)x_chunk[i]) : 0;
    EACH_ISA(s) {
        evaluate(every_isa[s], count);
        scan_chunk(s, count);
    }
}

static void errors_are_bounded_over_all_floats(void)
{
    uint64_t bits = 0;
    int s, f, count = 0;
    memset(worst, 0, sizeof worst);
    for (; bits < 0x100000000ull; bits += stride) {
        x_chunk[count++] = of_bits((uint32_t)bits);
        if (count == CHUNK) scan_every_isa(count), count = 0;
    }
    scan_every_isa(count);
    for (s = 0; s < ISA_COUNT; s++)
        for (f = 0; f < FUNCTIONS; f++) {
            double bound = bound_of(f);
            if (verbose && wcoh_cpu_has_isa(every_isa[s]))
                printf("%-7s %-6s %.3f at %.9g\n", wcoh_isa_name(every_isa[s]), functions[f].name,
                       worst[s][f], (double)of_bits(worst_at[s][f]));
            CHECK_SAY(worst[s][f] <= bound, "%s %s: %.3f > %.3f at %.9g (0x%08x)",
                      wcoh_isa_name(every_isa[s]), functions[f].name, worst[s][f], bound,
                      (double)of_bits(worst_at[s][f]), (unsigned)worst_at[s][f]);
        }
}

/* Where functions are used and where they change their mind: dense samples. */
static void errors_are_bounded_where_it_matters(void)
{
    static const float centers[] = {
        0,           1,           -1,        0.34657359f, 0.69314718f, 0.78539816f, 1.57079633f,
        3.14159265f, 6.28318531f, 10,        -10,         88.7228f,    -87.3365f,   -103.28f,
        -103.97f,    12800,       12867.96f, 8191.5f,     100,         0.70710678f, 1.41421356f,
        5,           -5,          9.0109f,   -16,         16,          3.2e4f};
    int c, i, s, f;
    memset(worst, 0, sizeof worst);
    for (c = 0; c < WCOHI_COUNT(centers); c++) {
        for (i = 0; i < CHUNK; i++)
            x_chunk[i] = centers[c] == 0
                             ? (float)(i - CHUNK / 2) * 1e-3f
                             : of_bits(bits_of(centers[c]) + (uint32_t)(i - CHUNK / 2) * 16u);
        scan_every_isa(CHUNK);
        for (i = 0; i < CHUNK; i++)
            if (centers[c] != 0)
                x_chunk[i] = of_bits(bits_of(centers[c]) + (uint32_t)(i - CHUNK / 2));
        scan_every_isa(CHUNK);
    }
    for (s = 0; s < ISA_COUNT; s++)
        for (f = 0; f < FUNCTIONS; f++)
            CHECK_SAY(worst[s][f] <= bound_of(f), "%s %s: %.3f at %.9g (0x%08x)",
                      wcoh_isa_name(every_isa[s]), functions[f].name, worst[s][f],
                      (double)of_bits(worst_at[s][f]), (unsigned)worst_at[s][f]);
}

/* Multiples of pi/2, as near as floats come, of any size: the hardest reductions. */
static void phases_near_multiples_of_a_right_angle(void)
{
    int e, i, s, count = 0;
    memset(worst, 0, sizeof worst);
    for (e = 1; e < 127; e++)
        for (i = 0; i < 32; i++) {
            double turns = ldexp(1.0 + i / 32.0, e);
            x_chunk[count++] = (float)(floor(turns) * 1.57079632679489661923);
            if (count == CHUNK) scan_every_isa(count), count = 0;
        }
    x_chunk[count++] =
        of_bits(0x6f79be45u); /* 7.7298e28: the float nearest to a multiple of pi/2 */
    x_chunk[count++] = of_bits(0x5922aa80u);
    x_chunk[count++] = FLT_MAX;
    scan_every_isa(count);
    for (s = 0; s < ISA_COUNT; s++)
        CHECK_SAY(worst[s][SIN] <= bound_of(SIN) && worst[s][COS] <= bound_of(COS),
                  "%s: sin %.2f at %08x, cos %.2f at %08x", wcoh_isa_name(every_isa[s]),
                  worst[s][SIN], (unsigned)worst_at[s][SIN], worst[s][COS],
                  (unsigned)worst_at[s][COS]);
}

static int same(float y, float wanted)
{
    return is_nan(wanted) ? is_nan(y) : bits_of(y) == bits_of(wanted);
}

static void edges(void)
{
    enum { INF = 0x7f800000, NAN1 = 0x7fc00000 };
    const float inf = of_bits(INF), minus = of_bits(0x80000000u | INF), nan1 = of_bits(NAN1);
    const float zero = 0, minus_zero = of_bits(0x80000000u);
    struct {
        float x, y[FUNCTIONS];
    } cases[] = {
        {zero, {1, zero, minus, inf, zero, 0.5f, zero, 1}},
        {minus_zero, {1, minus_zero, minus, minus, minus_zero, 0.5f, minus_zero, 1}},
        {inf, {inf, 1, inf, zero, inf, 1, nan1, nan1}},
        {minus, {zero, -1, nan1, nan1, minus_zero, zero, nan1, nan1}},
        {nan1, {nan1, nan1, nan1, nan1, nan1, nan1, nan1, nan1}},
        {of_bits(0xff812345u), {nan1, nan1, nan1, nan1, nan1, nan1, nan1, nan1}},
        {-1, {0, 0, nan1, nan1, 0, 0, 0, 0}},
    };
    int s, c, f, lane;
    EACH_ISA(s) {
        for (c = 0; c < WCOHI_COUNT(cases); c++)
            for (lane = 0; lane < 16; lane += 5) { /* other lanes are harmless */
                int i;
                for (i = 0; i < 19; i++) x_chunk[i] = (float)i * 0.25f + 0.125f;
                x_chunk[lane] = cases[c].x;
                evaluate(every_isa[s], 19);
                for (f = 0; f < FUNCTIONS; f++) {
                    if (c == 6 && f != LOG && f != RSQRT) continue;
                    if (f == RSQRT && c == 1)
                        continue; /* the sign of 1/sqrt(-0) is nobody's concern */
                    /* -x/inf-like edges of gelu may be 0 of either sign or below 1e-30 */
                    CHECK_SAY(
                        same(y_chunk[f][lane], cases[c].y[f]) ||
                            (f == GELU && c == 3 && fabs((double)y_chunk[f][lane]) < 1e-30) ||
                            (f == GELU_SLOPE && c == 3 && fabs((double)y_chunk[f][lane]) < 1e-30),
                        "%s %s(%g) = %g, case %d", wcoh_isa_name(every_isa[s]), functions[f].name,
                        (double)cases[c].x, (double)y_chunk[f][lane], c);
                }
            }
    }
}

/* ---- the vocabulary -------------------------------------------------------------------------- */

/* out [16 blocks of 16] gets one result a block */
#define VOCABULARY(S, isa)                                                                         \
    S##_fn void S##_vocabulary(wcoh_real *out, const wcoh_real *p, const wcoh_real *q, int n)      \
    {                                                                                              \
        S##_v a = S##_load(p), b = S##_load(q);                                                    \
        S##_store(out, S##_fma(a, b, S##_iota()));                                                 \
        S##_store(out + 16, S##_fnma(a, b, S##_set(3)));                                           \
        S##_store(out + 32, S##_select(S##_lt(a, b), a, S##_neg(b)));                              \
        S##_store(out + 48, S##_max(S##_abs(a), S##_min(a, b)));                                   \
        S##_store(out + 64, S##_even(a, b));                                                       \
        S##_store(out + 80, S##_odd(a, b));                                                        \
        S##_store(out + 96, S##_ziplo(S##_even(a, b), S##_odd(a, b)));                             \
        S##_store(out + 112, S##_ziphi(S##_even(a, b), S##_odd(a, b)));                            \
        S##_store(out + 128, S##_load_n(p, n));                                                    \
        S##_store_n(out + 144, a, n);                                                              \
        out[160] = S##_sum(a);                                                                     \
        out[161] = S##_hmax(a);                                                                    \
        out[162] = (wcoh_real)S##_dsum(S##_dadd(S##_dlo(a), S##_dhi(a)));                          \
        S##_store(out + 176, S##_dnarrow(S##_dmul(S##_dlo(a), S##_dset(2)),                        \
                                         S##_dmul(S##_dhi(a), S##_dset(2))));                      \
        S##_store(out + 192, S##_div(S##_sqrt(S##_abs(a)), b));                                    \
        out[208] = (wcoh_real)(S##_any(S##_le(a, b)) != 0);                                        \
        out[209] = (wcoh_real)(S##_any(S##_lt(b, S##_sub(a, S##_set(1000)))) != 0);                \
    }
WCOHI_EACH_SET(VOCABULARY)

static void check_vocabulary(void (*words)(wcoh_real *, const wcoh_real *, const wcoh_real *, int),
                             int lanes, const char *name)
{
    float p[16], q[16], out[256];
    int n, i;
    for (n = 0; n <= lanes; n++) {
        double sum = 0, most = -1e9;
        for (i = 0; i < 16; i++) {
            p[i] = (float)((i * 7 + n) % 11) - 5.5f;
            q[i] = (float)((i * 5 + 3 * n) % 13) - 6.25f;
        }
        for (i = 0; i < 256; i++) out[i] = 777;
        words(out, p, q, n);
        for (i = 0; i < lanes; i++) {
            double a = (double)p[i], b = (double)q[i];
            const float *pair = i < (lanes + 1) / 2 ? p : q;
            int at = 2 * i < lanes ? 2 * i : 2 * i - lanes;
            sum += a;
            most = a > most ? a : most;
            CHECK_NEAR(out[i], a * b + i, 1e-5);
            CHECK_NEAR(out[16 + i], 3 - a * b, 1e-5);
            CHECK_NEAR(out[32 + i], a < b ? a : -b, 0);
            CHECK_NEAR(out[48 + i], fmax(fabs(a), fmin(a, b)), 0);
            if (lanes > 1) {
                CHECK_NEAR(out[64 + i], pair[at], 0);
                CHECK_NEAR(out[80 + i], pair[at + 1], 0);
            }
            CHECK_NEAR(out[96 + i], p[i], 0);
            CHECK_NEAR(out[112 + i], q[i], 0);
            CHECK_NEAR(out[128 + i], i < n ? p[i] : 0, 0);
            CHECK_NEAR(out[144 + i], i < n ? p[i] : 777, 0);
            CHECK_NEAR(out[176 + i], 2 * a, 0);
            CHECK_NEAR(out[192 + i], sqrt(fabs(a)) / b, 1e-6 * fabs(sqrt(fabs(a)) / b));
        }
        CHECK_NEAR(out[160], sum, 1e-5);
        CHECK_NEAR(out[161], most, 0);
        CHECK_NEAR(out[162], sum, 1e-5);
        CHECK_SAY(out[209] == 0, "%s: any", name);
    }
}

static void vocabulary(void)
{
#define CHECK_SET(S, isa)                                                                          \
    if (wcoh_cpu_has_isa(isa)) check_vocabulary(S##_vocabulary, S##_W, #S);
    WCOHI_EACH_SET(CHECK_SET)
}

static void the_best_set_is_there(void)
{
    wcoh_isa isa;
    wcoh_error error;
    CHECK(wcoh_cpu_has_isa(wcoh_cpu_best_isa()));
    CHECK(wcoh_cpu_has_isa(WCOH_ISA_SCALAR));
    CHECK(wcohi_isa_choose(&isa, WCOH_ISA_AUTO, NULL) == WCOH_OK && isa == wcoh_cpu_best_isa());
    CHECK_TEXT(wcoh_isa_name(WCOH_ISA_AVX512), "avx512");
    if (!wcoh_cpu_has_isa(WCOH_ISA_NEON)) {
        CHECK(wcohi_isa_choose(&isa, WCOH_ISA_NEON, &error) == WCOH_E_UNSUPPORTED);
        CHECK_TEXT(error.text, "neon");
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "full")) stride = 1;
    if (argc > 1 && atoi(argv[1]) > 0) stride = (uint32_t)atoi(argv[1]);
    verbose = argc > 1;
    RUN(the_best_set_is_there);
    RUN(vocabulary);
    RUN(edges);
    RUN(errors_are_bounded_where_it_matters);
    RUN(phases_near_multiples_of_a_right_angle);
    RUN(errors_are_bounded_over_all_floats);
    return test_end();
}

#else /* double mode: the functions are libm's */

static void functions_are_those_of_libm(void)
{
    double x[3] = {-1.5, 0.25, 700}, y[3], z[3];
    int i;
    for (i = 0; i < 3; i++) {
        wcohi_scalar_sincos(x[i], &y[i], &z[i]);
        CHECK(y[i] == sin(x[i]) && z[i] == cos(x[i]));
        CHECK(wcohi_scalar_exp(x[i]) == exp(x[i]) && wcohi_scalar_tanh(x[i]) == tanh(x[i]));
    }
    CHECK(wcoh_cpu_best_isa() == WCOH_ISA_SCALAR);
}

int main(void)
{
    RUN(functions_are_those_of_libm);
    return test_end();
}
#endif

/* Matrix products: every layout, epilogue and instruction set at awkward sizes against a double
   reference, and equal bits for every number of threads.
     cc -O2 tests/test_gemm.c -o test_gemm -lm -pthread */
#define WCOHI_SMALL_WORK 0.0 /* split even the smallest products */
#define WAVECOH_SCALAR
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"
#include "test.h"
#include "support.h"

enum { LAYOUT_NN, LAYOUT_NT, LAYOUT_TN, LAYOUT_TT, LAYOUTS };
enum {
    PLAIN,
    BIAS,
    RESIDUAL,
    BIAS_RESIDUAL,
    INPLACE_RESIDUAL,
    ACCUMULATE,
    GELU,
    GELU_PRE,
    EPILOGUES
};

static const wcoh_real untouched = (wcoh_real)12345;
static wcoh_rng rng;

typedef struct matrix {
    int rows, columns;
    size_t ld;
    wcoh_real *at;
} matrix;

/* Rows have a gap of 3 behind them and outputs a row below, where nothing may be written. Inputs
   end with their last element, so that sanitizers see every read past it. */
static matrix matrix_random(int rows, int columns, int output)
{
    matrix a;
    size_t i, count;
    a.rows = rows;
    a.columns = columns;
    a.ld = (size_t)columns + 3;
    count = output ? (size_t)(rows + 1) * a.ld : rows && columns ? (size_t)rows * a.ld - 3 : 0;
    a.at = (wcoh_real *)malloc(count * sizeof *a.at + 1);
    for (i = 0; i < count; i++)
        a.at[i] = i % a.ld < (size_t)columns && i / a.ld < (size_t)rows
                      ? (wcoh_real)(2 * wcoh_rng_uniform(&rng) - 1)
                      : untouched;
    return a;
}

static matrix matrix_copy(const matrix *from)
{
    matrix a = *from;
    size_t bytes = (size_t)(a.rows + 1) * a.ld * sizeof *a.at;
    a.at = (wcoh_real *)malloc(bytes);
    memcpy(a.at, from->at, bytes);
    return a;
}

static double get(const matrix *a, int turned, int i, int j)
{
    return (double)(turned ? a->at[(size_t)j * a->ld + (size_t)i]
                           : a->at[(size_t)i * a->ld + (size_t)j]);
}

static double gelu(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
}

typedef struct problem {
    matrix a, b, c, before, bias, residual, pre;
    wcohi_gemm_args args;
    int layout, epilogue;
} problem;

static problem problem_make(int m, int n, int k, int layout, int epilogue)
{
    problem p;
    wcohi_gemm_args *g = &p.args;
    int ta = layout == LAYOUT_TN || layout == LAYOUT_TT,
        tb = layout == LAYOUT_NT || layout == LAYOUT_TT;
    memset(&p, 0, sizeof p);
    p.layout = layout;
    p.epilogue = epilogue;
    p.a = ta ? matrix_random(k, m, 0) : matrix_random(m, k, 0);
    p.b = tb ? matrix_random(n, k, 0) : matrix_random(k, n, 0);
    p.c = matrix_random(m, n, 1);
    p.before = matrix_copy(&p.c);
    p.bias = matrix_random(1, n, 0);
    p.residual = matrix_random(m, n, 0);
    p.pre = matrix_random(m, n, 1);
    g->m = m, g->n = n, g->k = k;
    g->a = p.a.at, g->lda = p.a.ld, g->ta = ta;
    g->b = p.b.at, g->ldb = p.b.ld, g->tb = tb;
    g->c = p.c.at, g->ldc = p.c.ld;
    g->accumulate = epilogue == ACCUMULATE;
    if (epilogue == BIAS || epilogue >= GELU || epilogue == BIAS_RESIDUAL) g->bias = p.bias.at;
    if (epilogue == RESIDUAL || epilogue == BIAS_RESIDUAL)
        g->residual = p.residual.at, g->ldr = p.residual.ld;
    if (epilogue == INPLACE_RESIDUAL) g->residual = p.c.at, g->ldr = p.c.ld;
    g->gelu = epilogue >= GELU;
    if (epilogue == GELU_PRE) g->pre = p.pre.at;
    return p;
}

static void problem_free(problem *p)
{
    free(p->a.at), free(p->b.at), free(p->c.at), free(p->before.at);
    free(p->bias.at), free(p->residual.at), free(p->pre.at);
}

/* What C [i,j] should be before gelu, and the bound of its error: a sum of k products in any order
   errs by at most (k + 3) eps sum |a||b|, plus eps for each further addition. */
static double expected(const problem *p, int i, int j, double *bound)
{
    const wcohi_gemm_args *g = &p->args;
    double sum = 0, size = 0, eps = sizeof(wcoh_real) == 4 ? FLT_EPSILON : DBL_EPSILON;
    int q;
    for (q = 0; q < g->k; q++) {
        double x = get(&p->a, g->ta, i, q) * get(&p->b, g->tb, q, j);
        sum += x;
        size += fabs(x);
    }
    if (g->bias) sum += get(&p->bias, 0, 0, j), size += 1;
    if (p->epilogue == RESIDUAL || p->epilogue == BIAS_RESIDUAL)
        sum += get(&p->residual, 0, i, j), size += 1;
    if (p->epilogue == ACCUMULATE || p->epilogue == INPLACE_RESIDUAL)
        sum += get(&p->before, 0, i, j), size += 1;
    *bound = (g->k + 3) * eps * size;
    return sum;
}

static int problem_holds(const problem *p)
{
    const wcohi_gemm_args *g = &p->args;
    double eps = sizeof(wcoh_real) == 4 ? FLT_EPSILON : DBL_EPSILON;
    int i, j;
    for (i = 0; i < g->m; i++) {
        for (j = 0; j < g->n; j++) {
            double bound, sum = expected(p, i, j, &bound);
            /* gelu' <= 1.13, and gelu itself is good to 4 eps (1 + |x|) (test_simd) */
            double y = g->gelu ? gelu(sum) : sum,
                   slack = g->gelu ? 1.13 * bound + 4 * eps * (1 + fabs(sum)) : bound;
            if (!test_near(get(&p->c, 0, i, j), y, slack)) return 0;
            if (g->pre && !test_near(get(&p->pre, 0, i, j), sum, bound)) return 0;
        }
        for (j = g->n; j < (int)p->c.ld; j++)
            if (p->c.at[(size_t)i * p->c.ld + (size_t)j] != untouched) return 0;
    }
    for (j = 0; j < (int)p->c.ld; j++)
        if (p->c.at[(size_t)g->m * p->c.ld + (size_t)j] != untouched) return 0;
    return 1;
}

static void one_product(const wcohi_compute *compute, wcoh_isa isa, int m, int n, int k, int layout,
                        int epilogue)
{
    problem p = problem_make(m, n, k, layout, epilogue);
    wcohi_gemm(compute, &p.args);
    CHECK_SAY(problem_holds(&p), "%s: m=%d n=%d k=%d layout %d epilogue %d", wcoh_isa_name(isa), m,
              n, k, layout, epilogue);
    problem_free(&p);
}

static wcohi_compute compute_make(wcoh_isa isa, int slots)
{
    wcohi_compute compute;
    compute.kernels = wcohi_kernels_for(isa);
    compute.pool = NULL;
    compute.pack = (wcoh_real *)malloc(wcohi_pack_count(slots) * sizeof *compute.pack);
    return compute;
}

static void awkward_sizes(void)
{
    static const int sizes[] = {0, 1, 2, 5, 7, 17, 33, 65, 130};
    int s, i, j, k, layout;
    EACH_ISA(s) {
        wcohi_compute compute = compute_make(every_isa[s], 1);
        for (i = 0; i < WCOHI_COUNT(sizes); i++)
            for (j = 0; j < WCOHI_COUNT(sizes); j++)
                for (k = 0; k < WCOHI_COUNT(sizes); k++)
                    for (layout = 0; layout < LAYOUTS; layout++)
                        one_product(&compute, every_isa[s], sizes[i], sizes[j], sizes[k], layout,
                                    (i + j + k + layout) % EPILOGUES);
        free(compute.pack);
    }
}

static void every_epilogue(void)
{
    static const int shapes[][3] = {{1, 65, 130}, {3, 17, 7},    {4, 3, 40},
                                    {29, 65, 33}, {65, 130, 17}, {7, 48, 1}};
    int s, i, layout, epilogue;
    EACH_ISA(s) {
        wcohi_compute compute = compute_make(every_isa[s], 1);
        for (i = 0; i < WCOHI_COUNT(shapes); i++)
            for (layout = 0; layout < LAYOUTS; layout++)
                for (epilogue = 0; epilogue < EPILOGUES; epilogue++)
                    one_product(&compute, every_isa[s], shapes[i][0], shapes[i][1], shapes[i][2],
                                layout, epilogue);
        free(compute.pack);
    }
}

/* Heights 1 .. 30 meet every tile; k past `depth` is cut and summed in pieces. */
static void every_tile_height_and_long_sums(void)
{
    int s, m;
    EACH_ISA(s) {
        wcohi_compute compute = compute_make(every_isa[s], 1);
        for (m = 1; m <= 30; m++)
            one_product(&compute, every_isa[s], m, 40, 21, m % LAYOUTS, m % EPILOGUES);
        for (m = 0; m < EPILOGUES; m++)
            one_product(&compute, every_isa[s], 9, 37, 1100, m % LAYOUTS, m);
        for (m = 0; m < EPILOGUES; m++)
            one_product(&compute, every_isa[s], 2, 37, 1100, LAYOUT_NT, m);
        free(compute.pack);
    }
}

static void bits_with_threads(wcoh_isa isa, int threads, const problem *p, matrix *result)
{
    wcoh_cpu_desc cpu;
    wcohi_compute compute = compute_make(isa, threads);
    wcohi_gemm_args args = p->args;
    void *memory;
    memset(&cpu, 0, sizeof cpu);
    cpu.threads = threads;
    memory = malloc(wcohi_pool_bytes(&cpu));
    CHECK(wcohi_pool_open(&compute.pool, memory, &cpu, NULL) == WCOH_OK);
    *result = matrix_copy(&p->before);
    args.c = result->at;
    wcohi_gemm(&compute, &args);
    wcohi_pool_close(compute.pool);
    free(memory);
    free(compute.pack);
}

static void bits_do_not_depend_on_threads(void)
{
    static const int threads[] = {1, 2, 3, 8};
    static const int shapes[][3] = {{130, 65, 230}, {1, 130, 65}, {65, 17, 130}, {4, 7, 900}};
    int s, i, layout, t;
    EACH_ISA(s) {
        for (i = 0; i < WCOHI_COUNT(shapes) * LAYOUTS; i++) {
            matrix one, many;
            problem p;
            layout = i % LAYOUTS;
            p = problem_make(shapes[i / LAYOUTS][0], shapes[i / LAYOUTS][1], shapes[i / LAYOUTS][2],
                             layout, i % 2 ? ACCUMULATE : GELU);
            bits_with_threads(every_isa[s], 1, &p, &one);
            for (t = 1; t < WCOHI_COUNT(threads); t++) {
                bits_with_threads(every_isa[s], threads[t], &p, &many);
                CHECK_SAY(
                    !memcmp(one.at, many.at, (size_t)(one.rows + 1) * one.ld * sizeof *one.at),
                    "%s: %d threads, shape %d", wcoh_isa_name(every_isa[s]), threads[t], i);
                free(many.at);
            }
            free(one.at);
            problem_free(&p);
        }
    }
}

/* What a crowd does: B packed once and for all, for one row or many, cut along k or not. */
static void kept_panels_change_no_bit(void)
{
    static const int shapes[][3] = {{64, 104, 104}, {1, 65, 104}, {3, 40, 450}, {29, 8, 17}};
    int s, i, row;
    EACH_ISA(s)
        for (i = 0; i < WCOHI_COUNT(shapes); i++) {
            int n = shapes[i][1], k = shapes[i][2];
            wcohi_compute compute = compute_make(every_isa[s], 1);
            problem p = problem_make(shapes[i][0], n, k, LAYOUT_NT, BIAS);
            size_t count = wcohi_panels_count(n, k), at;
            wcoh_real *b = (wcoh_real *)malloc((size_t)n * (size_t)k * sizeof *b),
                      *panels = (wcoh_real *)malloc((count + 1) * sizeof *panels);
            matrix fresh = matrix_copy(&p.c);
            for (row = 0; row < n; row++)
                memcpy(b + row * k, p.b.at + (size_t)row * p.b.ld, (size_t)k * sizeof *b);
            for (at = 0; at <= count; at++) panels[at] = untouched;
            wcohi_gemm_pack(compute.kernels->gemm, panels, b, n, k);
            CHECK(panels[count] == untouched);
            p.args.chains = 1;
            wcohi_gemm(&compute, &p.args);
            p.args.c = fresh.at;
            p.args.panels = panels;
            p.args.b = NULL; /* it is not read */
            wcohi_gemm(&compute, &p.args);
            CHECK_SAY(!memcmp(p.c.at, fresh.at, (size_t)(p.c.rows + 1) * p.c.ld * sizeof *p.c.at),
                      "%s, shape %d", wcoh_isa_name(every_isa[s]), i);
            free(b), free(panels), free(fresh.at), free(compute.pack);
            problem_free(&p);
        }
}

int main(void)
{
    rng = wcoh_rng_seed(1);
    RUN(awkward_sizes);
    RUN(every_epilogue);
    RUN(every_tile_height_and_long_sums);
    RUN(bits_do_not_depend_on_threads);
    RUN(kept_panels_change_no_bit);
    return test_end();
}

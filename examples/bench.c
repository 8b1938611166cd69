/* What this machine can do and what the library makes of it. Every figure stands beside the
   machine's own limit, measured in the same run: compare ratios, not seconds.
   cc -O2 examples/bench.c -o bench -lm -lpthread
   ./bench                  everything (two minutes)
   ./bench gemm math step slices forms session crowd long threads memory profile    some of it; --isa avx2 forces
                            a path
   cc -O2 -DWAVECOH_VULKAN examples/bench.c -o bench -lm -lpthread
   ./bench tune --device vulkan --batch 64 --seq 256 --tuning t.txt
   ./bench profile --device vulkan --batch 64 --seq 256 --tuning t.txt
   SPDX-License-Identifier: Unlicense OR MIT-0 */
#define WAVECOH_IMPLEMENTATION
#ifdef WAVECOH_VULKAN
#include "../wavecoh_vk.h"
#else
#include "../wavecoh.h" /* a bench may look inside: it calls wcohi_gemm and the kernels directly */
#endif

#include "common.h"

#ifndef _WIN32
#include <sys/resource.h>
#endif

static wcoh_error error;
static wcoh_isa forced = WCOH_ISA_AUTO;
static wcoh_device *device; /* of profiles; NULL: the CPU */

/* ---- timing: best and median of many rounds -------------------------------------------------- */

enum { ROUNDS = 31 };

typedef struct timing {
    double best, median;
} timing;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* What one thread works, whoever else does: for comparisons of one thread with itself. */
static double cpu_seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }

static double (*seconds)(void) = wcohi_seconds;

/* Seconds a call of `work`, each round long enough to read a clock by. */
static timing measure(void (*work)(void *), void *context, int rounds)
{
    double rows[ROUNDS], start;
    timing result;
    int calls = 1, round, i;
    work(context);
    for (;; calls *= 2) {
        start = seconds();
        for (i = 0; i < calls; i++) work(context);
        if (seconds() - start > 2e-3 || calls > 1 << 24) break;
    }
    for (round = 0; round < rounds; round++) {
        start = seconds();
        for (i = 0; i < calls; i++) work(context);
        rows[round] = (seconds() - start) / calls;
    }
    qsort(rows, (size_t)rounds, sizeof *rows, by_value);
    result.best = rows[0];
    result.median = rows[rounds / 2];
    return result;
}

/* ---- the machine's own limits ---------------------------------------------------------------- */

/* 10 chains of fused multiply-adds that never leave the registers hide a latency of five on two
   units. Each begins with its own value: the compiler would make equal chains one. */
#define PEAK_STEPS 20000
#define KERNEL_PEAK(S, isa)                                                                        \
    S##_fn wcoh_real S##_peak(wcoh_real seed)                                                      \
    {                                                                                              \
        S##_v x = S##_set(seed), y = S##_set((wcoh_real)1e-9);                                     \
        S##_v a = S##_set(seed + 1), b = S##_set(seed + 2), c = S##_set(seed + 3);                 \
        S##_v d = S##_set(seed + 4), e = S##_set(seed + 5), f = S##_set(seed + 6);                 \
        S##_v g = S##_set(seed + 7), h = S##_set(seed + 8), i = S##_set(seed + 9);                 \
        S##_v j = S##_set(seed + 10);                                                              \
        int step;                                                                                  \
        for (step = 0; step < PEAK_STEPS; step++) {                                                \
            a = S##_fma(a, x, y), b = S##_fma(b, x, y), c = S##_fma(c, x, y);                      \
            d = S##_fma(d, x, y), e = S##_fma(e, x, y), f = S##_fma(f, x, y);                      \
            g = S##_fma(g, x, y), h = S##_fma(h, x, y), i = S##_fma(i, x, y);                      \
            j = S##_fma(j, x, y);                                                                  \
        }                                                                                          \
        a = S##_add(S##_add(a, b), S##_add(c, d)), e = S##_add(S##_add(e, f), S##_add(g, h));      \
        return S##_sum(S##_add(S##_add(a, e), S##_add(i, j)));                                     \
    }
WCOHI_EACH_SET(KERNEL_PEAK)

typedef struct peak_work {
    wcoh_real (*run)(wcoh_real seed);
    int width;
    volatile wcoh_real sink;
} peak_work;

static void peak_call(void *context)
{
    peak_work *work = (peak_work *)context;
    work->sink = work->run((wcoh_real)0.999);
}

#define PEAK_CASE(S, isa_value)                                                                    \
    case isa_value: work.run = S##_peak, work.width = S##_W; break;

/* FLOP/s of one thread on a path. */
static double peak_flops(wcoh_isa isa)
{
    peak_work work;
    memset((void *)&work, 0, sizeof work);
    switch (isa) {
        WCOHI_EACH_SET(PEAK_CASE)
    default: exit(1);
    }
    return 2.0 * 10 * PEAK_STEPS * work.width / measure(peak_call, &work, 9).best;
}

typedef struct read_work {
    const wcoh_real *data;
    size_t count;
    const wcohi_kernels *kernels;
    volatile double sink;
} read_work;

static void read_call(void *context)
{
    read_work *work = (read_work *)context;
    work->sink = work->kernels->common->sum_squares(work->data, work->count);
}

static wcoh_isa path(void) { return forced ? forced : wcoh_cpu_best_isa(); }

/* Bytes a second that one thread reads of an array of `bytes`. */
static double read_rate(size_t bytes)
{
    read_work work;
    double rate;
    wcoh_real *data = (wcoh_real *)calloc(bytes / sizeof(wcoh_real), sizeof(wcoh_real));
    if (!data) return 0;
    memset((void *)&work, 0, sizeof work);
    work.data = data;
    work.count = bytes / sizeof *data;
    work.kernels = wcohi_kernels_for(path());
    rate = (double)bytes / measure(read_call, &work, 9).best;
    free(data);
    return rate;
}

/* ---- gemm ------------------------------------------------------------------------------------ */

typedef struct gemm_work {
    wcohi_compute compute;
    wcohi_gemm_args args;
} gemm_work;

static void gemm_call(void *context)
{
    gemm_work *work = (gemm_work *)context;
    wcohi_gemm(&work->compute, &work->args);
}

static void bench_gemm_shape(wcoh_isa isa, double peak, int m, int n, int k, int ta, int tb)
{
    gemm_work work;
    timing time;
    size_t i, most = (size_t)m * (size_t)k + (size_t)k * (size_t)n + (size_t)m * (size_t)n;
    wcoh_real *data = (wcoh_real *)malloc(most * sizeof *data);
    memset(&work, 0, sizeof work);
    work.compute.kernels = wcohi_kernels_for(isa);
    work.compute.pack = (wcoh_real *)malloc(wcohi_pack_count(1) * sizeof(wcoh_real) + 64);
    if (!data || !work.compute.pack) exit(1);
    for (i = 0; i < most; i++) data[i] = (wcoh_real)((double)(i % 17) * 0.01);
    work.args.m = m, work.args.n = n, work.args.k = k;
    work.args.a = data, work.args.ta = ta, work.args.lda = (size_t)(ta ? m : k);
    work.args.b = data + (size_t)m * (size_t)k, work.args.tb = tb,
    work.args.ldb = (size_t)(tb ? k : n);
    work.args.c = data + (size_t)m * (size_t)k + (size_t)k * (size_t)n, work.args.ldc = (size_t)n;
    time = measure(gemm_call, &work, ROUNDS);
    printf("gemm %-6s %4d x %4d x %4d %c%c  %7.1f GFLOP/s  median %5.1f %% best %5.1f %% of peak\n",
           wcoh_isa_name(isa), m, n, k, ta ? 'T' : 'N', tb ? 'T' : 'N',
           2e-9 * m * n * k / time.best, 200.0 * m * n * k / time.median / peak,
           200.0 * m * n * k / time.best / peak);
    free(work.compute.pack);
    free(data);
}

static void bench_gemm(void)
{
    int isa;
    for (isa = WCOH_ISA_SCALAR; isa <= WCOH_ISA_WASM; isa++) {
        double peak;
        if (!wcoh_cpu_has_isa((wcoh_isa)isa) || (forced && forced != (wcoh_isa)isa)) continue;
        peak = peak_flops((wcoh_isa)isa);
        printf("peak %-6s %.1f GFLOP/s, one thread\n", wcoh_isa_name((wcoh_isa)isa), peak * 1e-9);
        bench_gemm_shape((wcoh_isa)isa, peak, 64, 64, 64, 0, 1);
        bench_gemm_shape((wcoh_isa)isa, peak, 128, 128, 128, 0, 1);
        bench_gemm_shape((wcoh_isa)isa, peak, 256, 256, 256, 0, 1);
        bench_gemm_shape((wcoh_isa)isa, peak, 768, 192, 128, 0,
                         1); /* forward of wave-1 */
        bench_gemm_shape((wcoh_isa)isa, peak, 768, 128, 192, 0, 0); /* its input gradient */
        bench_gemm_shape((wcoh_isa)isa, peak, 192, 128, 768, 1, 0); /* its weight gradient */
        bench_gemm_shape((wcoh_isa)isa, peak, 768, 16, 128, 0, 1);  /* squeeze of a maestro */
    }
}

/* ---- functions ------------------------------------------------------------------------------- */

enum { MATH_COUNT = 4096 };

typedef struct math_work {
    wcoh_real in[MATH_COUNT], out[MATH_COUNT], more[MATH_COUNT];
    wcoh_isa isa;
} math_work;

/* The three functions over an array, on a path: the library has them inside its kernels alone. */
#define MATH_KERNELS(S, isa)                                                                       \
    S##_fn void S##_exp_call(math_work *work)                                                      \
    {                                                                                              \
        int i;                                                                                     \
        for (i = 0; i < MATH_COUNT; i += S##_W)                                                    \
            S##_store(work->out + i, S##_exp(S##_load(work->in + i)));                             \
    }                                                                                              \
    S##_fn void S##_tanh_call(math_work *work)                                                     \
    {                                                                                              \
        int i;                                                                                     \
        for (i = 0; i < MATH_COUNT; i += S##_W)                                                    \
            S##_store(work->out + i, S##_tanh(S##_load(work->in + i)));                            \
    }                                                                                              \
    S##_fn void S##_sincos_call(math_work *work)                                                   \
    {                                                                                              \
        int i;                                                                                     \
        for (i = 0; i < MATH_COUNT; i += S##_W) {                                                  \
            S##_v sine, cosine;                                                                    \
            S##_sincos(S##_load(work->in + i), &sine, &cosine);                                    \
            S##_store(work->out + i, sine);                                                        \
            S##_store(work->more + i, cosine);                                                     \
        }                                                                                          \
    }
WCOHI_EACH_SET(MATH_KERNELS)
#define MATH_CASE(S, value, function)                                                              \
    if (work->isa == value) S##_##function(work);
#define EXP_CASE(S, value) MATH_CASE(S, value, exp_call)
#define TANH_CASE(S, value) MATH_CASE(S, value, tanh_call)
#define SINCOS_CASE(S, value) MATH_CASE(S, value, sincos_call)

static void exp_call(void *context)
{
    math_work *work = (math_work *)context;
    WCOHI_EACH_SET(EXP_CASE)
}

static void tanh_call(void *context)
{
    math_work *work = (math_work *)context;
    WCOHI_EACH_SET(TANH_CASE)
}

static void sincos_call(void *context)
{
    math_work *work = (math_work *)context;
    WCOHI_EACH_SET(SINCOS_CASE)
}

static void bench_math(void)
{
    static math_work work;
    int isa, i;
    for (i = 0; i < MATH_COUNT; i++) work.in[i] = (wcoh_real)(0.01 * (i - MATH_COUNT / 2));
    for (isa = WCOH_ISA_SCALAR; isa <= WCOH_ISA_WASM; isa++) {
        if (!wcoh_cpu_has_isa((wcoh_isa)isa) || (forced && forced != (wcoh_isa)isa)) continue;
        work.isa = (wcoh_isa)isa;
        printf("math %-6s sincos %.2f exp %.2f tanh %.2f ns an element (median)\n",
               wcoh_isa_name((wcoh_isa)isa),
               measure(sincos_call, &work, ROUNDS).median * 1e9 / MATH_COUNT,
               measure(exp_call, &work, ROUNDS).median * 1e9 / MATH_COUNT,
               measure(tanh_call, &work, ROUNDS).median * 1e9 / MATH_COUNT);
    }
}

/* ---- training steps -------------------------------------------------------------------------- */

enum { SYMBOLS = 65, TEXT = 1 << 16 };

/* A text that is neither trivial nor random: letters whose next depends on the last two. */
static uint32_t *make_text(void)
{
    uint32_t *text = (uint32_t *)malloc(TEXT * sizeof *text);
    wcoh_rng rng = wcoh_rng_seed(7);
    int i;
    if (!text) exit(1);
    for (i = 0; i < TEXT; i++)
        text[i] = i > 1 && wcoh_rng_uniform(&rng) < 0.7
                      ? (text[i - 1] * 7 + text[i - 2] * 3 + 1) % SYMBOLS
                      : (uint32_t)(wcoh_rng_next(&rng) % SYMBOLS);
    return text;
}

typedef struct allocations {
    size_t calls, bytes;
} allocations;

static void *counting_alloc(size_t size, void *user)
{
    allocations *count = (allocations *)user;
    count->calls++;
    count->bytes += size;
    return malloc(size);
}

static void counting_release(void *pointer, size_t size, void *user)
{
    (void)size;
    (void)user;
    free(pointer);
}

typedef struct step_work {
    wcoh_model *model;
    wcoh_trainer *trainer;
    allocations count;
} step_work;

/* setting: one of the model or the trainer that differs, "name value"; NULL: none */
static void step_open(step_work *work, const wcoh_model_desc *model, int batch, int seq,
                      int threads, const uint32_t *text, const char *setting)
{
    wcoh_model_desc desc = *model;
    wcoh_trainer_desc training;
    char name[32];
    int length = setting ? (int)strcspn(setting, " ") : 0;
    memset(work, 0, sizeof *work);
    memset(&training, 0, sizeof training);
    snprintf(name, sizeof name, "%.*s", length, setting ? setting : "");
    if (setting && wcoh_field_set(WCOH_DESC_MODEL, &desc, name, setting + length + 1, &error) < 0)
        must(wcoh_field_set(WCOH_DESC_TRAINER, &training, name, setting + length + 1, &error),
             setting, &error);
    training.batch = batch;
    training.seq = seq;
    training.steps = 1000000;
    training.eval_every = -1;
    training.cpu.threads = threads;
    training.cpu.isa = forced;
    training.device = device;
    training.memory.alloc = counting_alloc;
    training.memory.release = counting_release;
    training.memory.user = &work->count;
    desc.memory = training.memory;
    must(wcoh_model_create(&work->model, &desc, &error), NULL, &error);
    must(wcoh_trainer_create(&work->trainer, work->model, &training, &error), NULL, &error);
    must(wcoh_trainer_set_data(work->trainer, text, TEXT, NULL, 0, &error), NULL, &error);
}

static void step_close(step_work *work)
{
    wcoh_trainer_destroy(work->trainer);
    wcoh_model_destroy(work->model);
}

static void step_call(void *context)
{
    must(wcoh_trainer_step(((step_work *)context)->trainer, NULL, &error), NULL, &error);
}

/* Reals in matrices that a token passes through: 6 x them x tokens are a step's flops. */
static double matrix_parameters(const wcoh_model *model)
{
    double sum = 0;
    int i;
    for (i = 0; i < wcoh_model_param_count(model); i++) {
        wcoh_param param;
        must(wcoh_model_param(model, i, &param, &error), NULL, &error);
        if (param.decayed && strcmp(param.name, "embed.weight") &&
            strcmp(param.name, "position.weight"))
            sum += (double)param.count;
    }
    return sum;
}

static double bench_step(const char *name, const wcoh_model_desc *desc, int batch, int seq,
                         int threads, double peak, const uint32_t *text)
{
    step_work work;
    timing time;
    size_t calls;
    step_open(&work, desc, batch, seq, threads, text, NULL);
    step_call(&work);
    calls = work.count.calls;
    time = measure(step_call, &work, ROUNDS);
    printf("step %-14s %2d x %4d, %d thread%s  median %8.3f ms best %8.3f ms  %7.0f tok/s", name,
           batch, seq, threads, threads == 1 ? " " : "s", time.median * 1e3, time.best * 1e3,
           batch * seq / time.median);
    if (peak > 0)
        printf("  %4.1f %% of peak",
               600.0 * matrix_parameters(work.model) * batch * seq / time.median / peak / threads);
    printf("  %lu allocations in steps\n", (unsigned long)(work.count.calls - calls));
    step_close(&work);
    return time.median;
}

static void bench_steps(const uint32_t *text)
{
    double peak = peak_flops(path());
    wcoh_model_desc wave = wcoh_model_preset(WCOH_PRESET_WAVE_1, SYMBOLS),
                    now = wcoh_model_preset(WCOH_PRESET_WAVE, SYMBOLS),
                    gpt = wcoh_model_preset(WCOH_PRESET_GPT, SYMBOLS);
    wcoh_model_desc kerr = wcoh_model_preset(WCOH_PRESET_KERR_ENGINE, SYMBOLS);
    wcoh_model_desc engine = wcoh_model_preset(WCOH_PRESET_WAVE_ENGINE, SYMBOLS);
    bench_step("wave-1", &wave, 12, 64, 1, peak, text);
    bench_step("default", &now, 12, 64, 1, peak, text);
    bench_step("gpt", &gpt, 12, 64, 1, peak, text);
    bench_step("kerr-engine", &kerr, 4, 64, 1, peak, text);
    bench_step("wave-engine", &engine, 4, 64, 2, peak, text);
}

static void bench_threads(const uint32_t *text)
{
    wcoh_model_desc desc = wcoh_model_preset(WCOH_PRESET_WAVE_1, SYMBOLS);
    double one = bench_step("wave-1", &desc, 12, 64, 1, 0, text),
           two = bench_step("wave-1", &desc, 12, 64, 2, 0, text);
    double eight = bench_step("wave-1", &desc, 12, 64, 8, 0, text);
    printf("threads: 2 are %.2f x as fast as 1; 8 take %.2f x the time of 2 (%d CPUs here)\n",
           one / two, eight / two, wcoh_cpu_count());
}

/* What steps with a setting take beyond those without, in pairs: the median, and between which shares
   half of the pairs lie. */
static void bench_form(const char *network, const char *setting, const uint32_t *text)
{
    enum { PAIRS = 101 };
    wcoh_model_desc desc =
        wcoh_model_preset(strcmp(network, "gpt") ? WCOH_PRESET_WAVE_1 : WCOH_PRESET_GPT, SYMBOLS);
    step_work work[2];
    double share[PAIRS], first = 0;
    int pair, i;
    for (i = 0; i < 2; i++) {
        step_open(&work[i], &desc, 12, 64, 1, text, i ? setting : NULL);
        step_call(&work[i]);
    }
    for (pair = 0; pair < PAIRS; pair++) {
        double took[2];
        for (i = 0; i < 2; i++) {
            int which = (pair + i) % 2; /* each goes first as often */
            double start = cpu_seconds();
            step_call(&work[which]);
            took[which] = cpu_seconds() - start;
        }
        share[pair] = (took[1] - took[0]) / took[0];
        first += took[0] / PAIRS;
    }
    qsort(share, PAIRS, sizeof *share, by_value);
    printf("forms %-8s %-15s 12 x 64, 1 thread: a step takes %5.2f (%5.2f to %5.2f) more than its "
           "%.2f ms\n",
           network, setting, share[PAIRS / 2], share[PAIRS / 4], share[3 * PAIRS / 4], first * 1e3);
    step_close(&work[0]);
    step_close(&work[1]);
}

static void bench_forms(const uint32_t *text)
{
    static const char *const forms[] = {"optimizer muon", "gate on",     "value_gate on",
                                        "forgetting on",  "loudness on", "query_gain on",
                                        "taps 3",         "norm rms",    "dropout 0.1"};
    size_t i;
    for (i = 0; i < sizeof forms / sizeof *forms; i++) bench_form("wave-1", forms[i], text);
    bench_form("gpt", "optimizer muon", text);
    bench_form("gpt", "ffn gated_mlp", text);
}

static void bench_long(const uint32_t *text)
{
    wcoh_model_desc desc = wcoh_model_preset(WCOH_PRESET_WAVE_1, SYMBOLS);
    double begin = bench_step("T = 64", &desc, 12, 64, 1, 0, text) / (12 * 64);
    double end = bench_step("T = 8192", &desc, 1, 8192, 1, 0, text) / 8192;
    printf("long: a token costs %.2f x as much at T = 8192 as at T = 64\n", end / begin);
}

/* ---- where a step's time goes ---------------------------------------------------------------- */

/* Prints how the device computes the products of wave-1 fastest, and keeps it in a file. */
static void bench_tune(const char *path, int batch, int seq, double longest)
{
    wcoh_model_desc desc = wcoh_model_preset(WCOH_PRESET_WAVE_1, SYMBOLS);
    wcoh_trainer_desc training;
    const char *text;
    memset(&training, 0, sizeof training);
    training.batch = batch;
    training.seq = seq;
    text = device_tune(device, &desc, &training, longest);
    fputs(text, stdout);
    if (path) tuning_keep(path, text);
}

static void profile(const char *name, const wcoh_model_desc *desc, int batch, int seq,
                    const uint32_t *text)
{
    step_work work;
    step_open(&work, desc, batch, seq, 1, text, NULL);
    printf("profile of %s, %d x %d, %s\n", name, batch, seq, device ? "device" : "1 thread");
    must(profile_print(work.trainer, 10, &error), "profile", &error);
    step_close(&work);
}

static void bench_profile(const uint32_t *text, int batch, int seq)
{
    wcoh_model_desc wave = wcoh_model_preset(WCOH_PRESET_WAVE_1, SYMBOLS),
                    gpt = wcoh_model_preset(WCOH_PRESET_GPT, SYMBOLS);
    gpt.context = gpt.context > seq ? gpt.context : seq;
    profile("wave-1", &wave, batch, seq, text);
    profile("gpt", &gpt, batch, seq, text);
}

/* ---- sessions -------------------------------------------------------------------------------- */

typedef struct session_work {
    wcoh_session *session;
    const uint32_t *text;
    size_t at;
} session_work;

static void session_call(void *context)
{
    session_work *work = (session_work *)context;
    must(wcoh_session_step(work->session, work->text[work->at++ % TEXT], &error), NULL, &error);
}

/* A token from floats and from bytes (wcoh_model_pack). */
static void bench_packed(const char *name, const wcoh_model_desc *model, const uint32_t *text)
{
    session_work work[2];
    wcoh_model *models[2];
    timing took[2];
    wcoh_session_desc desc;
    int i;
    memset(work, 0, sizeof work);
    memset(&desc, 0, sizeof desc);
    desc.cpu.isa = forced;
    seconds = cpu_seconds;
    for (i = 0; i < 2; i++) {
        must(wcoh_model_create(&models[i], model, &error), NULL, &error);
        if (i) must(wcoh_model_pack(models[i], &error), NULL, &error);
        must(wcoh_session_create(&work[i].session, models[i], &desc, &error), NULL, &error);
        work[i].text = text;
        took[i] = measure(session_call, &work[i], ROUNDS);
    }
    printf("session %s, %lu weights: %.0f tok/s (best %.0f), from bytes %.0f (%.0f): %.2f x\n",
           name, (unsigned long)wcoh_model_trained_count(models[0]), 1 / took[0].median,
           1 / took[0].best, 1 / took[1].median, 1 / took[1].best, took[0].median / took[1].median);
    seconds = wcohi_seconds;
    for (i = 0; i < 2; i++) {
        wcoh_session_destroy(work[i].session);
        wcoh_model_destroy(models[i]);
    }
}

/* wave-1 trained for a moment, or the checkpoint at `path_or_null`. */
static void bench_session(const uint32_t *text, const char *checkpoint)
{
    step_work trained;
    session_work work;
    wcoh_session_desc desc;
    wcoh_model_desc model = wcoh_model_preset(WCOH_PRESET_WAVE_1, SYMBOLS);
    wcoh_model *loaded = NULL;
    timing begin, end;
    double weights, l2 = read_rate(512 * 1024);
    int i;
    memset(&work, 0, sizeof work);
    memset(&desc, 0, sizeof desc);
    desc.cpu.isa = forced;
    step_open(&trained, &model, 12, 64, 0, text, NULL);
    for (i = 0; i < 50; i++) step_call(&trained);
    if (checkpoint) must(wcoh_model_load_file(&loaded, checkpoint, NULL, &error), NULL, &error);
    else loaded = trained.model;
    work.text = text;
    weights = matrix_parameters(loaded) * sizeof(wcoh_real);
    must(wcoh_session_create(&work.session, loaded, &desc, &error), NULL, &error);
    for (i = 0; i < 100; i++) session_call(&work);
    begin = measure(session_call, &work, ROUNDS);
    printf("session %s: median %.0f tok/s best %.0f; weights %.1f GB/s, L2 reads %.1f GB/s; %lu "
           "bytes\n",
           checkpoint ? checkpoint : "wave-1", 1 / begin.median, 1 / begin.best,
           weights / begin.median * 1e-9, l2 * 1e-9,
           (unsigned long)wcoh_session_size(loaded, &desc, &error));
    while (wcoh_session_position(work.session) < 1000000)
        must(wcoh_session_prefill(work.session, text, TEXT, &error), NULL, &error);
    end = measure(session_call, &work, ROUNDS);
    printf("session at position %.0f against 100: %.3f x the time a token, the same memory\n",
           (double)wcoh_session_position(work.session), end.median / begin.median);
    wcoh_session_destroy(work.session);
    if (checkpoint) wcoh_model_destroy(loaded);
    step_close(&trained);
    model = wcoh_model_preset(WCOH_PRESET_WAVE, SYMBOLS);
    bench_packed("default", &model, text);
    model.bands = 128, model.layers = 4;
    bench_packed("4 x 128 bands", &model, text);
    model.bands = 256, model.layers = 6;
    bench_packed("6 x 256 bands", &model, text);
}

/* ---- crowds ---------------------------------------------------------------------------------- */

/* The same members as a crowd and as sessions of their own, stepped in turn. */
typedef struct crowd_work {
    wcoh_crowd *crowd;
    wcoh_session **sessions; /* [members] */
    int members, *ids;
    const uint32_t *text;
    size_t at;
} crowd_work;

static void crowd_call(void *context)
{
    crowd_work *work = (crowd_work *)context;
    const uint32_t *heard = work->text + work->at++ % (TEXT - 1024);
    must(wcoh_crowd_step(work->crowd, work->ids, heard, work->members, &error), NULL, &error);
}

static void singles_call(void *context)
{
    crowd_work *work = (crowd_work *)context;
    const uint32_t *heard = work->text + work->at++ % (TEXT - 1024);
    int i;
    for (i = 0; i < work->members; i++)
        must(wcoh_session_step(work->sessions[i], heard[i], &error), NULL, &error);
}

typedef struct copy_work {
    unsigned char *to, *from;
    size_t bytes;
} copy_work;

static void copy_call(void *context)
{
    copy_work *work = (copy_work *)context;
    memcpy(work->to, work->from, work->bytes);
}

/* Bytes a second that one thread copies, of `bytes` in all. */
static double copy_rate(size_t bytes)
{
    copy_work work;
    double rate;
    work.bytes = bytes / 2;
    work.from = (unsigned char *)calloc(bytes, 1);
    if (!work.from) exit(1);
    work.to = work.from + work.bytes;
    rate = (double)work.bytes / measure(copy_call, &work, 9).best;
    free(work.from);
    return rate;
}

static void bench_members(const char *name, wcoh_model *model, int members, wcoh_states states,
                          double peak, const uint32_t *text)
{
    crowd_work work;
    wcoh_crowd_desc desc;
    wcoh_session_desc listening;
    timing crowd, singles;
    double products, moving;
    size_t size;
    int i;
    memset(&work, 0, sizeof work);
    memset(&desc, 0, sizeof desc);
    memset(&listening, 0, sizeof listening);
    desc.members = members;
    desc.states = states; /* sessions in turn: as they are by default */
    listening.prefill = 1;
    desc.cpu.isa = listening.cpu.isa = forced;
    work.members = members;
    work.text = text;
    work.ids = (int *)calloc((size_t)members, sizeof(int));
    work.sessions = (wcoh_session **)calloc((size_t)members, sizeof *work.sessions);
    if (!work.ids || !work.sessions) exit(1);
    must(wcoh_crowd_create(&work.crowd, model, &desc, &error), NULL, &error);
    for (i = 0; i < members; i++) {
        must(wcoh_crowd_join(work.crowd, &work.ids[i], &error), NULL, &error);
        must(wcoh_session_create(&work.sessions[i], model, &listening, &error), NULL, &error);
    }
    singles = measure(singles_call, &work, 9);
    crowd = measure(crowd_call, &work, 9);
    size = wcoh_crowd_member_size(model, &desc, &error);
    products = 2 * matrix_parameters(model) * members / peak;
    moving = (double)size * members / copy_rate((size_t)members * size);
    printf("crowd %-7s %4d members, %-6s states: %6.1f us a member (best %.1f), in turn %6.1f: "
           "%.2f x; %.0f %% of the floor (products %.1f us a member, states copied %.1f, %lu bytes)\n",
           name, members, states ? "float" : "double", crowd.median * 1e6 / members,
           crowd.best * 1e6 / members, singles.median * 1e6 / members,
           singles.median / crowd.median,
           100 * (products > moving ? products : moving) / crowd.median, products * 1e6 / members,
           moving * 1e6 / members, (unsigned long)size);
    for (i = 0; i < members; i++) wcoh_session_destroy(work.sessions[i]);
    wcoh_crowd_destroy(work.crowd);
    free(work.sessions);
    free(work.ids);
}

static void bench_crowd(const uint32_t *text)
{
    double peak;
    wcoh_model_desc desc = wcoh_model_preset(WCOH_PRESET_WAVE_1, SYMBOLS),
                    newest = wcoh_model_preset(WCOH_PRESET_WAVE, SYMBOLS);
    wcoh_model *usual, *model, *small, *tiny;
    int states;
    seconds = cpu_seconds;
    peak = peak_flops(path());
    must(wcoh_model_create(&usual, &newest, &error), NULL, &error);
    must(wcoh_model_create(&model, &desc, &error), NULL, &error);
    desc.bands = 16, desc.layers = 2, desc.heads = 4;
    must(wcoh_model_create(&small, &desc, &error), NULL, &error);
    desc.bands = 4, desc.layers = 1, desc.heads = 1; /* 1.5 MB of states in float: about a second cache */
    must(wcoh_model_create(&tiny, &desc, &error), NULL, &error);
    for (states = WCOH_STATES_DOUBLE; states <= WCOH_STATES_FLOAT; states++) {
        bench_members("default", usual, 64, (wcoh_states)states, peak, text);
        bench_members("default", usual, 1000, (wcoh_states)states, peak, text);
        bench_members("wave-1", model, 64, (wcoh_states)states, peak, text);
        bench_members("wave-1", model, 1000, (wcoh_states)states, peak, text);
        bench_members("small", small, 64, (wcoh_states)states, peak, text);
        bench_members("small", small, 1000, (wcoh_states)states, peak, text);
        bench_members("tiny", tiny, 1000, (wcoh_states)states, peak, text);
    }
    wcoh_model_destroy(usual);
    wcoh_model_destroy(model);
    wcoh_model_destroy(small);
    wcoh_model_destroy(tiny);
    seconds = wcohi_seconds;
}

/* ---- slices ---------------------------------------------------------------------------------- */

enum { SLICES = 3000, SLICE_US = 1000 };

/* What training for 1,000 us at a time really takes, of CPU time: one thread. */
static void bench_slices_of(const char *name, wcoh_preset preset, const uint32_t *text)
{
    static double took[SLICES];
    step_work work;
    wcoh_model_desc desc = wcoh_model_preset(preset, SYMBOLS);
    double sum = 0;
    int i;
    step_open(&work, &desc, 12, 64, 1, text, NULL);
    step_call(&work); /* what each op takes is known from then on */
    for (i = 0; i < SLICES; i++) {
        double start = cpu_seconds();
        must(wcoh_trainer_run(work.trainer, SLICE_US * 1e-3, NULL, &error), NULL, &error);
        took[i] = cpu_seconds() - start;
        sum += took[i];
    }
    qsort(took, SLICES, sizeof *took, by_value);
    printf("slices of %d us, %-7s: mean %.0f us, median %.0f, 99th percentile %.0f, 99.9th %.0f, "
           "worst %.0f (%d slices, CPU time)\n",
           SLICE_US, name, 1e6 * sum / SLICES, 1e6 * took[SLICES / 2],
           1e6 * took[SLICES * 99 / 100], 1e6 * took[SLICES * 999 / 1000], 1e6 * took[SLICES - 1],
           SLICES);
    step_close(&work);
}

static void bench_slices(const uint32_t *text)
{
    bench_slices_of("default", WCOH_PRESET_WAVE, text);
    bench_slices_of("wave-1", WCOH_PRESET_WAVE_1, text);
}

/* ---- memory and start ------------------------------------------------------------------------ */

static void bench_memory(const uint32_t *text, double begun)
{
    step_work work;
    wcoh_model_desc desc = wcoh_model_preset(WCOH_PRESET_WAVE_1, SYMBOLS);
    step_open(&work, &desc, 12, 64, 0, text, NULL);
    step_call(&work);
    printf("start: %.1f ms from the first line of main to the first step done (wave-1, text "
           "included)\n",
           (wcohi_seconds() - begun) * 1e3);
    printf("memory: the model and trainer took %.1f MB in %lu allocations\n",
           (double)work.count.bytes * 1e-6, (unsigned long)work.count.calls);
#ifndef _WIN32
    {
        struct rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        printf("memory: peak resident %.1f MB\n", (double)usage.ru_maxrss / 1024);
    }
#endif
    step_close(&work);
}

/* ---- main ------------------------------------------------------------------------------------ */

#define PARTS "memory gemm math step slices forms threads long session crowd profile tune"
enum { PART_COUNT = 12 };

typedef struct request {
    const char *isa, *model, *device, *tuning;
    long long batch, seq;
    double seconds;
    int part[PART_COUNT], any; /* 1 where the command line names it, in the order of PARTS */
} request;

static void request_read(request *r, int argc, char **argv)
{
    const option options[] = {
        ISA_OPTION(&r->isa),
        {"model", OPTION_TEXT, &r->model, 0, 0, "session: a checkpoint; not given: wave-1"},
        DEVICE_OPTION(&r->device),
        {"batch", OPTION_WHOLE, &r->batch, 1, 65536, "profile, tune: windows of a step"},
        {"seq", OPTION_WHOLE, &r->seq, 1, 1 << 20, "profile, tune: symbols of a window"},
        {"tuning", OPTION_TEXT, &r->tuning, 0, 0, "profile: a text of tune to use; tune: its file"},
        {"seconds", OPTION_REAL, &r->seconds, 0, 1e6, "tune: at most so long"},
    };
    command c;
    int i;
    memset(&c, 0, sizeof c);
    c.usage = "[" PARTS "] [options]\n"
              "Times the library beside the machine's own limits: these parts, or all but tune.";
    c.options = options;
    c.option_count = (int)(sizeof options / sizeof options[0]);
    c.word_limit = PART_COUNT;
    options_read(&c, argc, argv);
    for (i = 0; i < c.word_count; i++)
        r->part[word_choose("a part", c.words[i], PARTS)] = r->any = 1;
    if (r->any && !r->part[word_find("session", PARTS)])
        options_only(&c, argc, argv, "model", "the part session");
    if (!r->part[word_find("profile", PARTS)] && !r->part[word_find("tune", PARTS)])
        options_only(&c, argc, argv, "device batch seq tuning seconds",
                     "the parts profile and tune");
}

static int wanted(const request *r, const char *part)
{
    return !r->any || r->part[word_find(part, PARTS)];
}

int main(int argc, char **argv)
{
    double begun = wcohi_seconds();
    uint32_t *text;
    char *tuning = NULL;
    size_t size;
    request r;
    int tunes;
    program_begin("bench");
    memset(&r, 0, sizeof r);
    r.isa = "auto";
    r.device = "cpu";
    r.batch = 12, r.seq = 64, r.seconds = 20;
    request_read(&r, argc, argv);
    forced = isa_named(r.isa);
    tunes = r.part[word_find("tune", PARTS)];
    text = make_text();
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    if (wanted(&r, "memory")) bench_memory(text, begun);
    if (wanted(&r, "gemm")) bench_gemm();
    if (wanted(&r, "math")) bench_math();
    if (wanted(&r, "step")) bench_steps(text);
    if (wanted(&r, "slices")) bench_slices(text);
    if (wanted(&r, "forms")) bench_forms(text);
    if (wanted(&r, "threads")) bench_threads(text);
    if (wanted(&r, "long")) bench_long(text);
    if (wanted(&r, "session")) bench_session(text, r.model);
    if (wanted(&r, "crowd")) bench_crowd(text);
    if (r.tuning && !tunes) tuning = file_read(r.tuning, &size);
    device = device_tuned(r.device, tuning);
    free(tuning);
    if (wanted(&r, "profile")) bench_profile(text, (int)r.batch, (int)r.seq);
    if (tunes) bench_tune(r.tuning, (int)r.batch, (int)r.seq, r.seconds);
    device_close(device);
    free(text);
    stdout_check();
    return 0;
}

/* What a Vulkan device reaches: matrix products as a share of the device's own multiply-add peak,
   measured in the same run, and training steps with the host's share of their time.
   cc -O2 -o vulkan_bench tests/peers/vulkan_bench.c -lm -lpthread
   ./vulkan_bench [--device N] [--quick]     quick: small sizes, as on a device in software
   ./vulkan_bench [--device N] --windows     what a token costs in windows of 512 and of 8,192
   ./vulkan_bench [--device N] --attention   every way of attention that the tuner knows, forward and backward
   ./vulkan_bench [--device N] --losses FILE [STEPS]   the default on a text, seeds 1 2 3: validation losses with
                                             activations in half floats, with matrix units, and with neither */
#define WAVECOH_VK_TEST_SHADERS
#define WAVECOH_IMPLEMENTATION
#include "../../wavecoh_vk.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static wcoh_error error;

static void must(wcoh_result result)
{
    if (result == WCOH_OK) return;
    fprintf(stderr, "vulkan_bench: %s\n", error.text);
    exit(1);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* ---- single shaders, outside any plan ---- */

typedef struct bench {
    wcohi_vk_exec exec;
    wcohi_vk_recorder r;
    wcohi_vk_recording recording;
} bench;

/* Buffers of `reals` and room for the dispatches that the caller then records. */
static void bench_open(bench *b, wcoh_device *device, size_t reals)
{
    wcohi_gpu_pass pass;
    wcohi_vk *vk = (wcohi_vk *)device;
    memset(b, 0, sizeof *b);
    memset(&pass, 0, sizeof pass);
    b->exec.vk = vk;
    must(wcohi_vk_buffer_take(vk, &b->exec.device_buffer, reals * sizeof(float), 0, &error));
    must(wcohi_vk_fence_take(vk, &b->exec.fence, &error));
    must(wcohi_vk_commands_take(vk, &b->exec.transfer, &error));
    must(wcohi_vk_clear(&b->exec, &error));
    wcohi_vk_recorder_open(&b->r, &b->exec, &pass, &error);
    b->r.base.building = 1;
    must(wcohi_vk_commands_take(vk, &b->recording.commands, &error));
    must(wcohi_vk_pool_take(vk, &b->recording.pool, 16, 256, &error));
    must(wcohi_vk_commands_begin(vk, b->recording.commands, 0, &error));
    b->r.commands = b->recording.commands;
    b->r.pool = b->recording.pool;
}

/* Seconds of one submit of what was recorded: best and median of `rounds`. */
static double bench_time(bench *b, int rounds, double *median)
{
    double seconds[64];
    int i;
    must(b->r.base.result);
    must(wcohi_vk_commands_end(b->exec.vk, b->r.commands, 0, &error));
    for (i = -2; i < rounds; i++) {
        double start = wcohi_seconds();
        must(wcohi_vk_submit_wait(&b->exec, b->recording.commands, &error));
        if (i >= 0) seconds[i] = wcohi_seconds() - start;
    }
    qsort(seconds, (size_t)rounds, sizeof *seconds, by_value);
    *median = seconds[rounds / 2];
    return seconds[0];
}

static void bench_close(bench *b)
{
    wcohi_vk_recording_give(&b->exec, &b->recording);
    wcohi_vk_exec_close(&b->exec.base);
}

/* flop/s of a register-only loop of a shader; `flops` of a workgroup's turn, `reals` it writes */
static double peak(wcoh_device *device, int shader, const uint32_t *specs, double flops,
                   uint32_t reals, uint32_t groups, uint32_t turns)
{
    bench b;
    double best, median;
    wcohi_gpu_view views[1];
    wcoh_push_peak push;
    bench_open(&b, device, (size_t)groups * reals);
    views[0].host = 0;
    views[0].offset = 0;
    views[0].bytes = (size_t)groups * reals * sizeof(float);
    push.turns = turns;
    push.a = 0.999f;
    push.b = 0.001f;
    WCOHI_GPU_DISPATCH(&b.r.base, shader, specs, views, push, groups, 1, 1);
    best = bench_time(&b, 15, &median);
    bench_close(&b);
    return flops * groups * turns / best;
}

/* flop/s of C = A B^T, n x n, `repeat` products in one submit */
static double gemm(wcoh_device *device, uint32_t n, int repeat, double *median)
{
    bench b;
    size_t bytes = (size_t)n * n * sizeof(float);
    double best, work = 2.0 * n * n * n * repeat;
    int i;
    bench_open(&b, device, 3 * (size_t)n * n);
    for (i = 0; i < repeat; i++) {
        wcohi_gpu_view a = {0, 0, 0}, w = {0, 0, 0}, c = {0, 0, 0};
        wcohi_gpu_gemm g;
        a.bytes = w.bytes = c.bytes = bytes;
        w.offset = bytes;
        c.offset = 2 * bytes;
        g = wcohi_gpu_product(c, a, w, n, n, n);
        wcohi_gpu_multiply(&b.r.base, &g);
    }
    best = bench_time(&b, 15, median);
    bench_close(&b);
    *median = work / *median;
    return work / best;
}

/* ---- steps ---- */

static double waited;
static PFN_vkWaitForFences real_wait;

static VKAPI_ATTR VkResult VKAPI_CALL timed_wait(VkDevice device, uint32_t count,
                                                 const VkFence *fences, VkBool32 all, uint64_t time)
{
    double start = wcohi_seconds();
    VkResult result = real_wait(device, count, fences, all, time);
    waited += wcohi_seconds() - start;
    return result;
}

/* When the steps of a run were reported, and what the host had waited by then. */
typedef struct reports {
    double at[80], waited[80];
} reports;

static int report(const wcoh_stats *stats, void *user)
{
    reports *r = (reports *)user;
    r->at[stats->step] = wcohi_seconds();
    r->waited[stats->step] = waited;
    return 0;
}

static void step(wcoh_device *device, const char *name, wcoh_model_desc desc, int batch, int seq,
                 int rounds)
{
    static uint32_t text[100000];
    const int first = 3; /* by then everything is recorded and on its way */
    double seconds[80];
    reports r;
    wcoh_rng rng = wcoh_rng_seed(1);
    wcoh_trainer_desc wanted;
    wcoh_trainer *trainer;
    wcoh_model *model;
    wcohi_vk *vk = (wcohi_vk *)device;
    int i;
    for (i = 0; i < 100000; i++) text[i] = (uint32_t)(wcoh_rng_next(&rng) % (uint64_t)desc.vocab);
    memset(&wanted, 0, sizeof wanted);
    wanted.batch = batch;
    wanted.seq = seq;
    wanted.device = device;
    wanted.steps = first + rounds;
    wanted.progress = report;
    wanted.progress_user = &r;
    must(wcoh_model_create(&model, &desc, &error));
    must(wcoh_trainer_create(&trainer, model, &wanted, &error));
    must(wcoh_trainer_set_data(trainer, text, 100000, NULL, 0, &error));
    real_wait = vk->root.api.WaitForFences;
    vk->root.api.WaitForFences = timed_wait;
    must(wcoh_trainer_run(trainer, -1, NULL, &error));
    vk->root.api.WaitForFences = real_wait;
    for (i = 0; i < rounds; i++) seconds[i] = r.at[first + 1 + i] - r.at[first + i];
    qsort(seconds, (size_t)rounds, sizeof *seconds, by_value);
    printf("bench vulkan step %s batch %d seq %d: median %.3f ms best %.3f ms host %.1f %%\n", name,
           batch, seq, 1e3 * seconds[rounds / 2], 1e3 * seconds[0],
           100 * (1 - (r.waited[first + rounds] - r.waited[first]) /
                          (r.at[first + rounds] - r.at[first])));
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* Seconds of a gradient a token, and of the processor's for a device in software: wave-1 of one layer. */
static void window(wcoh_device *device, int batch, int seq)
{
    static uint32_t tokens[8192];
    wcoh_model_desc desc = wcoh_model_preset(WCOH_PRESET_WAVE_1, 65);
    wcoh_trainer_desc wanted;
    wcoh_trainer *trainer;
    wcoh_model *model;
    double loss, start = 0;
    clock_t clocks = 0;
    int i, count = batch * seq;
    desc.layers = 1;
    for (i = 0; i < count; i++) tokens[i] = (uint32_t)(i * 7 % 65);
    memset(&wanted, 0, sizeof wanted);
    wanted.batch = batch;
    wanted.seq = seq;
    wanted.device = device;
    must(wcoh_model_create(&model, &desc, &error));
    must(wcoh_trainer_create(&trainer, model, &wanted, &error));
    for (i = 0; i < 2; i++) { /* the first makes pipelines */
        start = wcohi_seconds();
        clocks = clock();
        must(wcoh_trainer_gradient(trainer, tokens, tokens, batch, seq, &loss, &error));
    }
    printf("bench vulkan window %d x %d: %.3f us a token, %.3f us of the processors\n", batch, seq,
           1e6 * (wcohi_seconds() - start) / count,
           1e6 * (double)(clock() - clocks) / CLOCKS_PER_SEC / count);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* Where a step's time goes, the slowest rows; on a device that may be tuned. */
static void profile(wcoh_device *device, const char *name, wcoh_model_desc desc, int batch, int seq)
{
    static uint32_t text[100000];
    static wcoh_op_time rows[WCOH_OP_TIMES];
    wcoh_trainer_desc wanted;
    wcoh_trainer *trainer;
    wcoh_model *model;
    double all = 0;
    int i, count;
    for (i = 0; i < 100000; i++) text[i] = (uint32_t)(i * 7 % desc.vocab);
    memset(&wanted, 0, sizeof wanted);
    wanted.batch = batch;
    wanted.seq = seq;
    wanted.device = device;
    must(wcoh_model_create(&model, &desc, &error));
    must(wcoh_trainer_create(&trainer, model, &wanted, &error));
    must(wcoh_trainer_set_data(trainer, text, 100000, NULL, 0, &error));
    must(wcoh_trainer_profile(trainer, 5, rows, &count, &error));
    for (i = 0; i < count; i++) all += rows[i].seconds;
    for (i = 0; i < count && i < 12; i++)
        printf("bench vulkan profile %s %s %s: %.3f ms %.1f %% %.1f GB/s %.1f GFLOP/s\n", name,
               rows[i].op, rows[i].pass, 1e3 * rows[i].seconds, 100 * rows[i].seconds / all,
               1e-9 * rows[i].bytes / rows[i].seconds, 1e-9 * rows[i].flops / rows[i].seconds);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* The same step and profile before and after its products were tuned for `seconds`. */
static void tuned_step(wcoh_vk_desc wanted, wcoh_device *device, const char *name,
                       wcoh_model_desc desc, int batch, int seq, int rounds, double seconds)
{
    static char text[65536], title[64];
    wcoh_trainer_desc training;
    wcoh_vk_bytes bytes;
    wcoh_device *tuned;
    memset(&training, 0, sizeof training);
    training.batch = batch;
    training.seq = seq;
    must(wcoh_vk_trainer_bytes(device, &desc, &training, &bytes, &error));
    printf("bench vulkan bytes %s: %.1f MB, activations %.1f MB (%.1f less in half floats), %u "
           "dispatches a step\n",
           name, 1e-6 * (double)bytes.device, 1e-6 * (double)bytes.activations,
           1e-6 * (double)bytes.half_saves, (unsigned)bytes.dispatches);
    profile(device, name, desc, batch, seq);
    must(wcoh_vk_tune(device, &desc, &training, seconds, text, sizeof text, &error));
    printf("%s", text);
    wanted.tuning = text;
    must(wcoh_vk_device_create(&tuned, &wanted, &error));
    snprintf(title, sizeof title, "%s-tuned", name);
    step(tuned, title, desc, batch, seq, rounds);
    profile(tuned, title, desc, batch, seq);
    wcoh_device_destroy(tuned);
}

static void way_tried(const wcohi_gpu_path *path, double seconds)
{
    const wcohi_gpu_sight *s = &path->sight;
    const wcohi_gpu_way *w = &path->way;
    printf(
        "bench vulkan attention %s E %u heads %u T %u batch %u columns %u chunk %u passes %u: %.3f "
        "ms\n",
        s->coherence ? "coherence" : "dot", (unsigned)s->wide, (unsigned)s->heads, (unsigned)s->seq,
        (unsigned)s->batch, (unsigned)w->columns, (unsigned)w->chunk, (unsigned)w->passes,
        1e3 * seconds / WCOHI_VK_REPEATS);
}

/* The ways of an attention forward and backward, at most `seconds`; the first is the rule's, up to 1,024
   tokens, passes 2 of it what there was before one pass did for both gradients. */
static void attention(wcoh_device *device, const char *kind, int wide, int heads, int batch,
                      int seq, double seconds)
{
    static wcohi_vk_tuner tuner;
    wcoh_model_desc desc = wcoh_model_preset(WCOH_PRESET_WAVE_1, 65);
    wcoh_trainer_desc training;
    wcohi_vk_wish wish;
    wcohi_gpu_layout at;
    memset(&tuner, 0, sizeof tuner);
    memset(&wish, 0, sizeof wish);
    memset(&training, 0, sizeof training);
    must(wcoh_field_set(WCOH_DESC_MODEL, &desc, "attention", kind, &error));
    desc.layers = 1;
    desc.heads = heads;
    desc.bands = heads * wide / 2;
    desc.context = seq;
    training.batch = batch;
    training.seq = seq;
    tuner.until = wcohi_seconds() + seconds;
    tuner.tried = way_tried;
    wish.use = wcohi_vk_tune_attention;
    wish.user = &tuner;
    must(wcohi_vk_trainer_draft(device, &desc, &training, &wish, &at, &error));
}

static void attentions(wcoh_device *device, int quick)
{
    static const int wide[] = {8, 16}, heads[] = {16, 48}, seq[] = {256, 2048};
    int i;
    for (i = 0; i < (quick ? 1 : 8); i++)
        attention(device, "coherence", wide[i & 1], heads[i >> 1 & 1],
                  quick   ? 1
                  : i < 4 ? 64
                          : 8,
                  quick ? 64 : seq[i >> 2], 6);
    attention(device, "dot", 64, quick ? 1 : 12, quick ? 1 : 16, quick ? 64 : 256, 6);
}

/* A text as tokens; the last tenth is for validation. */
typedef struct corpus {
    uint32_t *tokens;
    size_t count;
    int vocab;
} corpus;

static corpus corpus_read(const char *path)
{
    static char bytes[4 << 20];
    corpus c;
    wcoh_tokenizer *tokenizer;
    FILE *stream = fopen(path, "rb");
    size_t size = stream ? fread(bytes, 1, sizeof bytes, stream) : 0;
    if (stream) fclose(stream);
    must(wcoh_tokenizer_create_chars(&tokenizer, bytes, size, NULL, &error));
    c.vocab = wcoh_tokenizer_vocab(tokenizer);
    c.tokens = (uint32_t *)malloc(size * sizeof *c.tokens);
    if (!c.tokens) exit(1);
    must(wcoh_tokenizer_encode(tokenizer, bytes, size, c.tokens, size, &c.count, &error));
    wcoh_tokenizer_destroy(tokenizer);
    return c;
}

/* Validation loss after a run of the default network. */
static double trained(wcoh_device *device, const corpus *c, int seed, int steps, int quick)
{
    wcoh_model_desc desc = wcoh_model_preset(WCOH_PRESET_WAVE, c->vocab);
    wcoh_trainer_desc wanted;
    wcoh_trainer *trainer;
    wcoh_model *model;
    size_t train = c->count / 10 * 9;
    double loss;
    memset(&wanted, 0, sizeof wanted);
    wanted.steps = steps;
    wanted.seed = (uint64_t)seed;
    wanted.eval_every = -1;
    wanted.eval_batches = quick ? 2 : 0;
    wanted.device = device;
    desc.seed = (uint64_t)seed;
    must(wcoh_model_create(&model, &desc, &error));
    must(wcoh_trainer_create(&trainer, model, &wanted, &error));
    must(wcoh_trainer_set_data(trainer, c->tokens, train, c->tokens + train, c->count - train,
                               &error));
    must(wcoh_trainer_run(trainer, -1, NULL, &error));
    must(wcoh_trainer_evaluate(trainer, &loss, &error));
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    return loss;
}

/* Paired by seeds; a way that the device lacks is left out. */
static void losses(wcoh_vk_desc desc, const char *path, int steps, int quick)
{
    static const char *const ways[] = {"floats", "half activations", "matrix units"};
    const corpus c = corpus_read(path);
    double plain[3] = {0, 0, 0}, loss, difference;
    int way, seed;
    for (way = 0; way < 3; way++) {
        wcoh_device *device;
        desc.half_activations = way == 1;
        desc.cooperative = way == 2;
        if (wcoh_vk_device_create(&device, &desc, &error) != WCOH_OK) {
            printf("not run: %s (%s)\n", ways[way], error.text);
            continue;
        }
        for (seed = 1, difference = 0; seed <= 3; seed++) {
            loss = trained(device, &c, seed, steps, quick);
            if (way == 0) plain[seed - 1] = loss;
            difference += (loss - plain[seed - 1]) / 3;
            printf("bench vulkan loss %s seed %d: %.5f\n", ways[way], seed, loss);
        }
        printf("bench vulkan loss %s: mean difference %.5f\n", ways[way], difference);
        wcoh_device_destroy(device);
    }
    free(c.tokens);
}

/* The matrix units: share of what a register-only loop of theirs reaches in the same run. */
static void matrix_units(wcoh_vk_desc desc, const wcoh_model_desc *wide, int quick)
{
    wcoh_device *device;
    double top, rate, median;
    const uint32_t *u;
    uint32_t n, subgroups;
    desc.cooperative = 1;
    if (wcoh_vk_device_create(&device, &desc, &error) != WCOH_OK) {
        printf("not run: cooperative matrices (%s)\n", error.text);
        return;
    }
    u = ((wcohi_vk *)device)->traits.units;
    subgroups = 256 / ((wcohi_vk *)device)->info.subgroup;
    top = peak(device, WCOH_SPV_PEAK_COOPERATIVE, u, 16.0 * u[0] * u[1] * u[2] * subgroups,
               u[0] * u[1] * subgroups, quick ? 16 : 4096, quick ? 256 : 4096);
    printf("bench vulkan peak cooperative %.1f GFLOP/s (register-only, %u x %u x %u)\n", 1e-9 * top,
           u[0], u[1], u[2]);
    for (n = quick ? 256 : 1024; n <= (quick ? 256u : 4096u); n *= 4) {
        rate = gemm(device, n, n > 1024 ? 1 : 8, &median);
        printf(
            "bench vulkan cooperative gemm %lu: best %.1f median %.1f GFLOP/s, %.1f %% of peak\n",
            (unsigned long)n, 1e-9 * rate, 1e-9 * median, 100 * rate / top);
    }
    step(device, "wave-1-cooperative", wcoh_model_preset(WCOH_PRESET_WAVE_1, 65), quick ? 4 : 64,
         quick ? 32 : 256, quick ? 3 : 30);
    if (!quick) step(device, "gpt-768x12-cooperative", *wide, 16, 256, 15);
    wcoh_device_destroy(device);
}

int main(int count, char **words)
{
    static const uint32_t sizes[] = {256, 1024, 4096};
    wcoh_vk_desc desc;
    wcoh_device *device;
    wcoh_model_desc wide = wcoh_model_preset(WCOH_PRESET_GPT, 65), plain;
    wcoh_model_desc engine = wcoh_model_preset(WCOH_PRESET_KERR_ENGINE, 65);
    double top, median, rate;
    const char *text = NULL;
    int i, quick = 0, windows = 0, ways = 0, steps = 2000;
    memset(&desc, 0, sizeof desc);
    for (i = 1; i < count; i++) {
        if (strcmp(words[i], "--device") == 0 && i + 1 < count) {
            desc.index = atoi(words[++i]);
            continue;
        }
        if (strcmp(words[i], "--quick") == 0) quick = 1;
        if (strcmp(words[i], "--windows") == 0) windows = 1;
        if (strcmp(words[i], "--attention") == 0) ways = 1;
        if (strcmp(words[i], "--losses") == 0 && i + 1 < count) text = words[++i];
        else if (text && atoi(words[i]) > 0) steps = atoi(words[i]);
    }
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    if (text) {
        losses(desc, text, steps, quick);
        return 0;
    }
    must(wcoh_vk_device_create(&device, &desc, &error));
    if (((wcohi_vk *)device)->info.software) quick = 1;
    printf("bench vulkan device %s, driver %s\n", ((wcohi_vk *)device)->info.name,
           ((wcohi_vk *)device)->info.driver);
    if (windows) {
        window(device, 16, 512);
        window(device, 1, 8192);
    }
    if (ways) attentions(device, quick);
    if (windows || ways) {
        wcoh_device_destroy(device);
        return 0;
    }
    top =
        peak(device, WCOH_SPV_PEAK, NULL, 128.0 * 256, 256, quick ? 16 : 8192, quick ? 256 : 4096);
    printf("bench vulkan peak fp32 %.1f GFLOP/s (register-only)\n", 1e-9 * top);
    for (i = 0; i < (quick ? 1 : 3); i++) {
        rate = gemm(device, sizes[i], sizes[i] > 1024 ? 1 : 8, &median);
        printf("bench vulkan gemm %lu: best %.1f median %.1f GFLOP/s, %.1f %% of peak\n",
               (unsigned long)sizes[i], 1e-9 * rate, 1e-9 * median, 100 * rate / top);
    }
    for (i = 0; i < 2; i++) {
        const char *name = i ? "default" : "wave-1";
        plain = wcoh_model_preset(i ? WCOH_PRESET_WAVE : WCOH_PRESET_WAVE_1, 65);
        step(device, name, plain, quick ? 4 : 64, quick ? 32 : 256, quick ? 3 : 30);
        tuned_step(desc, device, name, plain, quick ? 4 : 64, quick ? 32 : 256, quick ? 3 : 30,
                   quick ? 2 : 30);
    }
    {
        wcoh_vk_desc half = desc;
        wcoh_device *halved;
        half.half_activations = 1;
        must(wcoh_vk_device_create(&halved, &half, &error));
        step(halved, "wave-1-half", wcoh_model_preset(WCOH_PRESET_WAVE_1, 65), quick ? 4 : 64,
             quick ? 32 : 256, quick ? 3 : 30);
        wcoh_device_destroy(halved);
    }
    if (!quick) {
        window(device, 16, 512);
        window(device, 1, 8192);
    }
    if (quick) {
        wcoh_device_destroy(device);
        matrix_units(desc, &wide, quick);
        return 0;
    }
    wide.bands = 384;
    wide.layers = 12;
    wide.heads = 12;
    wide.context = 256;
    step(device, "gpt-768x12", wide, 16, 256, 15);
    tuned_step(desc, device, "gpt-768x12", wide, 16, 256, 15, 45);
    engine.bands = 384;
    engine.heads = 12;
    step(device, "kerr-engine-768", engine, 4, 64, 15);
    wcoh_device_destroy(device);
    matrix_units(desc, &wide, quick);
    return 0;
}

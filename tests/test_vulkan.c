/* The Vulkan device against the CPU: every op and every setting, forward and every gradient, whole
   models, sessions, checkpoints across both, faults at every call, nothing leaked, and not one
   message of the Khronos validation layer.
   cc -O2 -o test_vulkan tests/test_vulkan.c -lm -lpthread
   ./test_vulkan            any device will do: Mesa's lavapipe (mesa-vulkan-drivers) is one
   ./test_vulkan --full FILE [PRESET]   and 200 steps of each preset, or one, on a text
   ./test_vulkan --fake     only what needs no driver (for sanitizers)
   WAVECOH_VULKAN_DEVICE=N takes device N of the list instead of the default. */
#if defined(__has_include)
#if __has_include(<vulkan/vulkan_core.h>)
#define HAS_VULKAN
#endif
#endif

#ifndef HAS_VULKAN
#include <stdio.h>
int main(void)
{
    puts("not run: no Vulkan headers (Debian: libvulkan-dev)");
    puts("0 passed, 0 failed");
    return 0;
}
#else

#define WAVECOH_SCALAR
#define WAVECOH_VK_TEST_SHADERS
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh_vk.h"
#include "test.h"
#include "support.h"
#include "vulkan_fake.h"

static wcoh_device *gpu;
static int messages; /* of the validation layer */
static int validated;

static void hear(const char *text, void *user)
{
    (void)user;
    if (messages++ < 4) fprintf(stderr, "validation: %.900s\n", text);
}

static wcoh_vk_desc device_desc(void)
{
    wcoh_vk_desc desc;
    const char *number = getenv("WAVECOH_VULKAN_DEVICE");
    memset(&desc, 0, sizeof desc);
    desc.validation = 1;
    desc.message = hear;
    if (number) desc.index = atoi(number);
    return desc;
}

/* What create answers to a desc, which must fail. */
static wcoh_result refusal(const wcoh_vk_desc *desc, wcoh_error *error)
{
    wcoh_device *device = (wcoh_device *)&messages;
    wcoh_result result = wcoh_vk_device_create(&device, desc, error);
    CHECK(device == NULL);
    return result;
}

/* ---- gradients: every op, every setting ------------------------------------------------------ */

static const struct {
    const char *settings;
    int batch, seq;
} cases[] = {
    {"", 3, 37}, /* the default network: 64 bands, 16 heads */
    {"bands=1 heads=1 maestro=1", 1, 1},
    {"bands=5 heads=2 maestro=3 vocab=3", 2, 9},
    {"bands=33 heads=6 maestro=7", 3, 65},
    {"bands=70 heads=4", 2, 33},
    {"bands=65 heads=2", 1, 40},
    {"bands=34 heads=1", 2, 35},
    {"gain=11.5 bands=8 heads=2", 1, 50},
    {"attention=shared bands=35 heads=7", 3, 37},
    {"norm=rms", 3, 37},
    {"norm=rms attention=rotary ffn=mlp bands=34 heads=2 block=sequential", 2, 37},
    {"gate=on", 3, 37},
    {"gate=on maestros=add block=parallel_shared groups=2 bands=34 heads=2", 2, 21},
    {"value_gate=on bands=33 heads=6", 3, 37},
    {"value_gate=on attention=rotary block=sequential gate=on bands=34 heads=2", 2, 21},
    {"ffn=gated_mlp,mlp layers=2 attention=rotary block=sequential bands=34 heads=2", 2, 37},
    {"ffn=gated_mlp bands=13 heads=2 hidden=29", 3, 37},
    {"forgetting=on", 3, 37},
    {"forgetting=on loudness=on bands=33 heads=6", 2, 150},
    {"loudness=on attention=shared bands=35 heads=7", 3, 70},
    {"query_gain=on gain_most=2.5 bands=33 heads=6", 2, 70},
    {"query_gain=on forgetting=on attention=shared bands=35 heads=7", 2, 37},
    {"overtones=2 forgetting=off loudness=off bands=33 heads=6", 2, 70},
    {"overtones=1 attention=shared bands=35 heads=7", 3, 37},
    {"taps=3", 3, 37},
    {"ffn_taps=-1", 3, 37},
    {"taps=4 attention=rotary gate=on block=parallel_shared bands=34 heads=2", 40, 2},
    {"attention=frozen", 3, 37},
    {"attention=frozen block=parallel_shared limiter=on corrector=on bands=27 heads=3", 2, 21},
    {"attention=dot bands=35 heads=2", 3, 37},
    {"attention=dot heads=1 bands=70", 2, 66},
    {"attention=dot heads=2 bands=64", 2, 101},
    {"attention=rotary heads=3 bands=66", 1, 150},
    {"attention=rotary,dot layers=2 key_width=20 bands=44 heads=2", 2, 70},
    {"attention=rotary heads=4", 3, 37},
    {"attention=rotary bands=33 heads=3", 2, 70},
    {"attention=coherence,rotary,frozen ffn=kerr,mlp layers=3 heads=4", 2, 37},
    {"block=sequential", 2, 19},
    {"block=parallel_shared", 2, 19},
    {"solver=perturbative bands=66 heads=4", 3, 37},
    {"solver=perturbative limiter=off corrector=on bands=9 heads=3 alpha=0.01 beta=0.01", 3, 13},
    {"solver=rk4 rk4_steps=3 bands=35 heads=7 alpha=0.01 beta=0.01", 3, 37},
    {"solver=rk4 corrector=on offset=0.3 limiter=on bands=66 heads=4", 2, 11},
    {"solver=rk4 rk4_weights=on rk4_steps=3 bands=67 heads=2 alpha=0.01 beta=0.01", 3, 37},
    {"solver=rk4 rk4_weights=on kerr_trained=off rk4_steps=2 bands=9 heads=3 alpha=0.01 beta=0.01",
     2, 21},
    {"gain_control=on ceiling=1.3 bands=67 heads=2", 3, 37},
    {"gain_control=on solver=rk4 rk4_weights=on corrector=on maestros=add bands=9 heads=3", 3, 21},
    {"mixing=0.1 splits=2 bands=67 heads=2 limiter=on corrector=on offset=0.3", 2, 37},
    {"solver=none limiter=on corrector=on", 2, 19},
    {"solver=split corrector=on offset=0.3 limiter=on bands=67 heads=2", 2, 37},
    {"solver=none", 2, 19},
    {"limiter=on corrector=on offset=0.2 bands=67 heads=2", 3, 37},
    {"maestros=add omega_trained=off", 2, 19},
    {"kerr_trained=off corrector=on", 2, 19},
    {"per_band_first=on bands=67 heads=2", 3, 37},
    {"groups=4 bands=22 heads=4", 3, 37},
    {"ffn=mlp bands=13 heads=2 hidden=29", 3, 37},
    {"head=tied bands=13 heads=2", 3, 37},
    {"head=tied embedding_trained=on position=learned context=40 bands=14 heads=2", 3, 37},
    {"head=low_rank head_rank=7", 3, 37},
    {"head=phase_native bands=13 heads=2", 3, 37},
    {"attention=pope bands=33 heads=3", 2, 70},
    {"attention=pope,rotary,pope layers=3 heads=7 bands=14", 3, 37},
    {"attention=resonance phases=9 phase_input=on position=learned context=70 heads=4", 2, 70},
    {"attention=dot key_width=75 bands=13 heads=2", 3, 37},
    {"attention=dot,rotary layers=2 key_width=2 bands=44 heads=2", 3, 37},
    {"attention=pope,resonance layers=2 phases=3 key_width=5 bands=22 heads=4", 3, 37},
    {"attention=resonance,pope layers=2 phases=3 key_width=21 bands=9 heads=3", 3, 37},
    /* more angles than a row has bands */
    {"attention=rotary key_width=600 bands=3 heads=1", 2, 37},
    {"attention=pope,rotary layers=2 key_width=300 bands=3 heads=1", 2, 37},
    {"phase_input=on phases=5 embedding_trained=on bands=9 heads=3", 5, 27},
    {"head=wave_decode reference_trained=on head_scale=0.3 vocab=300 bands=9 heads=3", 5, 27},
    {"embedding=random embedding_trained=on position=learned bands=9 heads=3", 5, 27},
    {"embedding=circles position=sinusoidal bands=9 heads=3", 5, 27},
    /* windows longer than the table of positions */
    {"position=sinusoidal context=9 bands=9 heads=3", 5, 27},
    {"position=sinusoidal context=9 bands=9 heads=3 phase_input=on phases=4", 5, 27},
    {"vocab=300 bands=9 heads=3", 5, 27},
};

typedef struct pair {
    wcoh_model *model;
    wcoh_trainer *cpu, *gpu;
    uint32_t *tokens, *targets;
    int batch, seq;
} pair;

/* Trainers of one random model on both devices; 1 if all went well. */
static int pair_open(pair *p, const char *settings, const char *training, int batch, int seq)
{
    char all[256];
    wcoh_model_desc desc;
    wcoh_trainer_desc trainer;
    wcoh_error error;
    memset(p, 0, sizeof *p);
    snprintf(all, sizeof all, "vocab=65 layers=1 %s", settings);
    desc = model_desc_of(all);
    if (!(p->model = model_of(&desc))) return 0;
    randomise(p->model, 7);
    memset(&trainer, 0, sizeof trainer);
    settings_apply(WCOH_DESC_TRAINER, &trainer, training);
    trainer.batch = p->batch = batch;
    trainer.seq = p->seq = seq;
    trainer.cpu.threads = 1;
    p->tokens = (uint32_t *)malloc((size_t)(batch * seq) * sizeof *p->tokens);
    p->targets = (uint32_t *)malloc((size_t)(batch * seq) * sizeof *p->targets);
    random_tokens(p->tokens, (size_t)(batch * seq), desc.vocab, 1);
    random_tokens(p->targets, (size_t)(batch * seq), desc.vocab, 2);
    if (!CHECK_SAY(wcoh_trainer_create(&p->cpu, p->model, &trainer, &error) == WCOH_OK, "%s: %s",
                   settings, error.text))
        return 0;
    trainer.device = gpu;
    return CHECK_SAY(wcoh_trainer_create(&p->gpu, p->model, &trainer, &error) == WCOH_OK, "%s: %s",
                     settings, error.text);
}

static void pair_close(pair *p)
{
    wcoh_trainer_destroy(p->cpu);
    wcoh_trainer_destroy(p->gpu);
    wcoh_model_destroy(p->model);
    free(p->tokens);
    free(p->targets);
}

static double norm_of(const float *a, const float *b, size_t count)
{
    double sum = 0;
    size_t i;
    for (i = 0; i < count; i++) {
        double d = (double)a[i] - (b ? (double)b[i] : 0);
        sum += d * d;
    }
    return sqrt(sum);
}

/* |gpu - cpu| of each tensor against its own norm, 1e-5; 2e-5 at the largest gain, which multiplies
   the rounding of scores (each stays within 1e-5 of doubles there). Single numbers (alpha, kappa ..)
   are sums that cancel to a small rest of their terms (two paths of the CPU differ there as much),
   so no norm below 10 % of the whole gradient's counts. */
static void gradients_compare(const pair *p, const char *settings, double most)
{
    int count = wcoh_model_param_count(p->model), i;
    double whole = 0;
    wcoh_param param;
    for (i = 0; i < count; i++) {
        const float *cpu = wcoh_trainer_param_gradient(p->cpu, i);
        wcoh_model_param(p->model, i, &param, NULL);
        if (cpu) whole = sqrt(whole * whole + pow(norm_of(cpu, NULL, param.count), 2));
    }
    for (i = 0; i < count; i++) {
        const float *cpu = wcoh_trainer_param_gradient(p->cpu, i);
        const float *dev = wcoh_trainer_param_gradient(p->gpu, i);
        double norm, error;
        wcoh_model_param(p->model, i, &param, NULL);
        if (!CHECK_SAY(!cpu == !dev, "%s: %s has a gradient on one device", settings, param.name) ||
            !cpu)
            continue;
        norm = norm_of(cpu, NULL, param.count);
        error = norm_of(cpu, dev, param.count) / (norm > 0.1 * whole ? norm : 0.1 * whole);
        CHECK_SAY(error <= most, "%s: d %s: error %.3g of norm %.3g", settings, param.name, error,
                  norm);
    }
}

static void every_setting_has_the_gradients_of_the_cpu(void)
{
    int i;
    for (i = 0; i < (int)(sizeof cases / sizeof cases[0]); i++) {
        pair p;
        double a = 0, b = 0;
        wcoh_error error;
        if (pair_open(&p, cases[i].settings, "", cases[i].batch, cases[i].seq)) {
            CHECK(wcoh_trainer_gradient(p.cpu, p.tokens, p.targets, p.batch, p.seq, &a, &error) ==
                  WCOH_OK);
            CHECK_SAY(wcoh_trainer_gradient(p.gpu, p.tokens, p.targets, p.batch, p.seq, &b,
                                            &error) == WCOH_OK,
                      "%s: %s", cases[i].settings, error.text);
            CHECK_SAY(test_near(a, b, 3e-6 * a), "%s: loss %.9g and %.9g", cases[i].settings, a, b);
            gradients_compare(&p, cases[i].settings,
                              strstr(cases[i].settings, "gain=11.5") ? 2e-5 : 1e-5);
            CHECK(wcoh_trainer_loss(p.gpu, p.tokens, p.targets, 1, p.seq, &b, &error) == WCOH_OK);
            CHECK(wcoh_trainer_loss(p.cpu, p.tokens, p.targets, 1, p.seq, &a, &error) == WCOH_OK);
            CHECK_SAY(test_near(a, b, 3e-6 * a), "%s: smaller batch: loss %.9g and %.9g",
                      cases[i].settings, a, b);
        }
        pair_close(&p);
    }
}

static void targets_that_do_not_count_are_left_out_as_on_the_cpu(void)
{
    static const char *const heads[] = {"", "head=tied embedding_trained=on bands=13 heads=2",
                                        "head=low_rank head_rank=7", "vocab=300 bands=9 heads=3"};
    int i, k;
    for (i = 0; i < 4; i++) {
        pair p;
        double a = 0, b = 0;
        if (pair_open(&p, heads[i], "", 3, 37)) {
            for (k = 0; k < 3 * 37; k += 1 + k % 4) p.targets[k] = WCOH_TARGET_NONE;
            CHECK(wcoh_trainer_gradient(p.cpu, p.tokens, p.targets, 3, 37, &a, NULL) == WCOH_OK);
            CHECK(wcoh_trainer_gradient(p.gpu, p.tokens, p.targets, 3, 37, &b, NULL) == WCOH_OK);
            CHECK_SAY(test_near(a, b, 3e-6 * a), "%s: loss %.9g and %.9g", heads[i], a, b);
            gradients_compare(&p, heads[i], 1e-5);
        }
        pair_close(&p);
    }
}

/* Another mask would be another gradient; and without one both score alike. */
static void masks_are_those_of_the_cpu(void)
{
    static const struct {
        const char *settings, *training;
    } masked[] = {{"", "dropout=0.4"},
                  {"block=parallel_shared", "curriculum=soft steps=3000000"},
                  {"", "phase_noise=0.5"},
                  {"", "attention_dropout=0.3"},
                  {"attention=shared forgetting=on loudness=on", "attention_dropout=0.2"},
                  {"attention=rotary bands=33 heads=3", "attention_dropout=0.3"},
                  {"attention=dot bands=64 heads=2", "attention_dropout=0.3"},
                  {"attention=shared bands=35 heads=7", "phase_noise=0.2"},
                  {"bands=33 heads=6 embedding_trained=on", "embedding_dropout=0.3"},
                  {"attention=rotary ffn=mlp bands=34 heads=2 block=sequential",
                   "dropout=0.2 embedding_dropout=0.2 seed=9"}};
    int i;
    for (i = 0; i < (int)(sizeof masked / sizeof *masked); i++) {
        pair p;
        double a = 0, b = 0;
        if (pair_open(&p, masked[i].settings, masked[i].training, 3, 37)) {
            p.cpu->state.step = p.gpu->state.step = 1234567;
            CHECK(wcoh_trainer_gradient(p.cpu, p.tokens, p.targets, 3, 37, &a, NULL) == WCOH_OK);
            CHECK(wcoh_trainer_gradient(p.gpu, p.tokens, p.targets, 3, 37, &b, NULL) == WCOH_OK);
            CHECK_SAY(test_near(a, b, 3e-6 * a), "%s: loss %.9g and %.9g", masked[i].training, a,
                      b);
            gradients_compare(&p, masked[i].training, 1e-5);
        }
        pair_close(&p);
    }
}

/* A device that takes all windows of coherence attention in linear time, or none. */
static wcoh_device *linear_device(int linear_from, int two_float)
{
    wcoh_vk_desc desc = device_desc();
    wcoh_device *device = NULL;
    wcoh_error error;
    desc.linear_from = linear_from;
    desc.two_float = two_float;
    CHECK_SAY(wcoh_vk_device_create(&device, &desc, &error) == WCOH_OK, "%s", error.text);
    return device;
}

/* Chunks of 32 rows with states between them give what the tiles of all pairs give, as close to the
   CPU as those are; also where weights are differences of sums that span e^24. */
static void states_give_what_pairs_give(void)
{
    static const struct {
        const char *settings;
        int batch, seq, two_float;
    } taken[] = {
        {"forgetting=on loudness=on attention=shared bands=15 heads=3", 2, 101, 0},
        {"gain=11.5 bands=15 heads=3", 1, 131, 0},
        {"loudness=on bands=35 heads=2 gain=4", 1, 97, 1},
    };
    wcoh_device *kept = gpu;
    int i;
    for (i = 0; i < (int)(sizeof taken / sizeof *taken); i++) {
        pair p;
        double a = 0, b = 0;
        gpu = linear_device(1, taken[i].two_float);
        if (gpu && pair_open(&p, taken[i].settings, "", taken[i].batch, taken[i].seq)) {
            CHECK(wcoh_trainer_gradient(p.cpu, p.tokens, p.targets, p.batch, p.seq, &a, NULL) ==
                  WCOH_OK);
            CHECK(wcoh_trainer_gradient(p.gpu, p.tokens, p.targets, p.batch, p.seq, &b, NULL) ==
                  WCOH_OK);
            CHECK_SAY(test_near(a, b, 3e-6 * a), "%s: loss %.9g and %.9g", taken[i].settings, a, b);
            gradients_compare(&p, taken[i].settings, 1e-5);
            pair_close(&p);
        }
        wcoh_device_destroy(gpu);
    }
    gpu = kept;
}

/* From 1,025 tokens on states are taken, 13 dispatches more a layer and nothing else; windows of more
   than 65,536 tokens are taken either way. */
static void long_windows_take_states(void)
{
    static const int seq[] = {1024, 1025, 70001};
    wcoh_model_desc desc = model_desc_of("vocab=65 bands=4 heads=2 layers=1");
    wcoh_device *pairs = linear_device(-1, 0);
    wcoh_trainer_desc wanted;
    int i;
    memset(&wanted, 0, sizeof wanted);
    wanted.batch = 1;
    for (i = 0; pairs && i < 3; i++) {
        wcoh_vk_bytes all, some;
        wcoh_error error;
        wanted.seq = seq[i];
        CHECK(wcoh_vk_trainer_bytes(pairs, &desc, &wanted, &all, NULL) == WCOH_OK);
        CHECK_SAY(wcoh_vk_trainer_bytes(gpu, &desc, &wanted, &some, &error) == WCOH_OK, "%s",
                  error.text);
        CHECK(some.dispatches - all.dispatches == (i ? 13u : 0u));
    }
    wcoh_device_destroy(pairs);
}

/* Short sequences between long ones, steps and evaluations; as far apart as float sums may be. */
static void sequences_train_as_on_the_cpu(void)
{
    static const size_t ends[] = {0, 3, 150, 160, 190, 192};
    static uint32_t tokens[192];
    wcoh_model_desc desc = model_desc_of("vocab=30 bands=9 heads=3 layers=1");
    wcoh_sequences s;
    wcoh_stats stats[2];
    int i;
    random_tokens(tokens, 192, 30, 3);
    s.count = 5;
    s.offsets = ends;
    s.tokens = tokens;
    for (i = 0; i < 2; i++) {
        wcoh_trainer_desc training;
        wcoh_model *model = model_of(&desc);
        wcoh_trainer *trainer = NULL;
        memset(&training, 0, sizeof training);
        training.batch = 4;
        training.seq = 20;
        training.steps = 6;
        training.warmup = -1;
        training.eval_every = 3;
        training.cpu.threads = 1;
        training.device = i ? gpu : NULL;
        CHECK(wcoh_trainer_create(&trainer, model, &training, NULL) == WCOH_OK);
        CHECK(wcoh_trainer_set_sequences(trainer, &s, &s, NULL) == WCOH_OK);
        CHECK(wcoh_trainer_run(trainer, -1, &stats[i], NULL) == WCOH_OK);
        wcoh_trainer_destroy(trainer);
        wcoh_model_destroy(model);
    }
    CHECK(stats[0].step == 6 && stats[0].tokens == stats[1].tokens && stats[0].tokens < 6 * 80);
    CHECK_NEAR(stats[0].train_loss, stats[1].train_loss, 1e-4);
    CHECK_NEAR(stats[0].val_loss, stats[1].val_loss, 1e-4);
}

/* ---- shaders.h ------------------------------------------------------------------------------- */

/* The text of a shader gives a head and whole instructions, no fewer and no more than its row says,
   and no result above the head's bound. */
static void words_are_spirv(const wcoh_spv_row *row, const uint32_t *words)
{
    size_t at = 5, functions = 0;
    CHECK(words[0] == 0x07230203u && words[4] == 0); /* magic number, schema */
    while (at < row->count && words[at] >> 16 > 0) {
        uint32_t op = words[at] & 0xffffu;
        if (op == 61) CHECK(words[at + 1] < words[3] && words[at + 2] < words[3]); /* OpLoad */
        functions += op == 56; /* OpFunctionEnd */
        at += words[at] >> 16;
    }
    CHECK_SAY(at == row->count, "%s: instructions end at word %lu", row->name, (unsigned long)at);
    CHECK_SAY((words[row->count - 1] & 0xffffu) == 56 && functions > 0, "%s ends early", row->name);
}

static void every_shader_unpacks(void)
{
    static uint32_t words[WCOH_SPV_MOST + 1];
    size_t most = 0;
    int i;
    for (i = 0; i < WCOH_SPV_COUNT; i++) {
        const wcoh_spv_row *row = &wcoh_spv_table[i];
        if (!CHECK_SAY(row->count <= WCOH_SPV_MOST, "%s has no room", row->name)) continue;
        words[row->count] = 12345;
        wcohi_vk_words(row, words);
        words_are_spirv(row, words);
        CHECK(words[row->count] == 12345);
        most = WCOHI_MAX(most, row->count);
    }
    CHECK(most == WCOH_SPV_MOST);
}

/* Numbers of one digit and more, and the digit that stands for '?' (two of which begin a trigraph). */
static void numbers_of_the_text_are_read(void)
{
    static const char rows[][5] = {"#$[!", "]#~["};
    const char *text = rows[0];
    CHECK(wcohi_vk_number(&text) == 0);
    CHECK(wcohi_vk_number(&text) == 1);
    CHECK(wcohi_vk_number(&text) == 56);
    CHECK(wcohi_vk_number(&text) == 28);
    CHECK(wcohi_vk_number(&text) == 57); /* over the end of a row */
    CHECK(wcohi_vk_number(&text) == 34 * 57 + 56);
}

/* ---- elementary functions -------------------------------------------------------------------- */

static double ulps(double got, double want)
{
    double unit = ldexp(1.0, (int)floor(log2(fabs(want) > 1e-30 ? fabs(want) : 1e-30)) - 23);
    return fabs(got - want) / unit;
}

enum { POINTS = 4096 };

/* Dispatches outside any plan, on arrays in a host buffer. */
typedef struct alone {
    wcohi_vk_exec exec;
    wcohi_vk_recorder r;
    wcohi_vk_recording recording;
    wcoh_error error;
} alone;

/* What is recorded until alone_run goes into `l`; its buffer is of `reals`. */
static wcoh_result alone_open(alone *l, wcoh_device *device, size_t reals)
{
    wcohi_vk *vk = (wcohi_vk *)device;
    wcohi_gpu_pass pass;
    wcoh_result result;
    memset(l, 0, sizeof *l);
    memset(&pass, 0, sizeof pass);
    l->exec.vk = vk;
    result = wcohi_vk_buffer_take(vk, &l->exec.host_buffer, reals * sizeof(float), 1, &l->error);
    if (!result) result = wcohi_vk_fence_take(vk, &l->exec.fence, &l->error);
    wcohi_vk_recorder_open(&l->r, &l->exec, &pass, &l->error);
    l->r.base.building = 1;
    if (!result) result = wcohi_vk_commands_take(vk, &l->recording.commands, &l->error);
    if (!result) result = wcohi_vk_pool_take(vk, &l->recording.pool, 2, 16, &l->error);
    if (!result) result = wcohi_vk_commands_begin(vk, l->recording.commands, 0, &l->error);
    l->r.commands = l->recording.commands;
    l->r.pool = l->recording.pool;
    return l->r.base.result = result;
}

static wcoh_result alone_run(alone *l)
{
    wcoh_result result = l->r.base.result
                             ? l->r.base.result
                             : wcohi_vk_commands_end(l->exec.vk, l->r.commands, 1, &l->error);
    return result ? result : wcohi_vk_submit_wait(&l->exec, l->recording.commands, &l->error);
}

static void alone_close(alone *l)
{
    wcohi_vk *vk = l->exec.vk;
    wcohi_vk_recording_give(&l->exec, &l->recording);
    if (l->exec.fence) vk->root.api.DestroyFence(vk->device, l->exec.fence, vk->root.allocator);
    wcohi_vk_buffer_give(vk, &l->exec.host_buffer);
}

/* Run elementary.comp on x [POINTS]; y [7,POINTS]. */
static int elementary(const float *x, float *y)
{
    static alone l;
    wcoh_result result = alone_open(&l, gpu, 8 * POINTS);
    size_t bytes = POINTS * sizeof(float);
    if (!result) {
        wcohi_gpu_view views[2] = {{1, 0, 0}, {1, 0, 0}};
        wcoh_push_elementary push;
        push.n = POINTS;
        views[0].bytes = views[1].offset = bytes;
        views[1].bytes = 7 * bytes;
        memcpy(l.exec.host_buffer.mapped, x, bytes);
        WCOHI_GPU_DISPATCH(&l.r.base, WCOH_SPV_ELEMENTARY, NULL, views, push, POINTS / 64, 1, 1);
        result = alone_run(&l);
    }
    if (!result) memcpy(y, l.exec.host_buffer.mapped + bytes, 7 * bytes);
    alone_close(&l);
    return CHECK_SAY(result == WCOH_OK, "%s", l.error.text);
}

static float x_points[POINTS], y_points[7 * POINTS];

/* The worst error in ULP of one function over the points of a range; sines count ULP of 1 near 0.
   */
static double worst_ulps(int function, double (*exact)(double), double floor_at)
{
    double worst = 0;
    int i;
    for (i = 0; i < POINTS; i++) {
        double want = exact((double)x_points[i]), got = (double)y_points[function * POINTS + i];
        double error =
            fabs(want) < floor_at ? fabs(got - want) / ldexp(floor_at, -23) : ulps(got, want);
        if (error > worst) worst = error;
    }
    return worst;
}

static double exact_softplus(double x) { return x > 20 ? x : log1p(exp(x)); }
static double exact_log(double x) { return log(fabs(x)); }
static double exact_angle(double x) { return atan2(1, x); }

static void spread(double low, double high)
{
    int i;
    for (i = 0; i < POINTS; i++) x_points[i] = (float)(low + (high - low) * i / (POINTS - 1));
}

static void elementary_functions_are_accurate(void)
{
    int i;
    spread(-87, 88);
    if (elementary(x_points, y_points)) CHECK(worst_ulps(0, exp, 0) <= 2.5);
    for (i = 0; i < POINTS; i++) x_points[i] = (float)exp(-80 + 160.0 * i / POINTS);
    if (elementary(x_points, y_points)) CHECK(worst_ulps(1, exact_log, 1e-3) <= 3);
    spread(-100, 100);
    if (elementary(x_points, y_points)) {
        CHECK(worst_ulps(2, sin, 0.01) <= 3);
        CHECK(worst_ulps(3, cos, 0.01) <= 3);
        CHECK(worst_ulps(6, exact_angle, 1e-3) <= 4);
    }
    for (i = 0; i < POINTS; i++)
        x_points[i] = (float)(exp(10 + 70.0 * i / POINTS) * (i % 2 ? 1 : -1));
    if (elementary(x_points, y_points)) { /* far outside: reduced exactly */
        CHECK(worst_ulps(2, sin, 0.1) <= 3);
        CHECK(worst_ulps(3, cos, 0.1) <= 3);
    }
    spread(-12, 12);
    if (elementary(x_points, y_points)) {
        CHECK(worst_ulps(4, tanh, 0) <= 4);
        CHECK(worst_ulps(5, exact_softplus, 0) <= 6);
    }
}

/* ---- activations in half floats -------------------------------------------------------------- */

/* What becomes of x [POINTS] in half floats and back, y [POINTS]. */
static int halved(const float *x, float *y)
{
    static alone l;
    wcoh_result result = alone_open(&l, gpu, 3 * POINTS);
    size_t bytes = POINTS * sizeof(float);
    if (!result) {
        const wcohi_gpu_view to[2] = {{1, 0, POINTS * sizeof(float)},
                                      {1, POINTS * sizeof(float), POINTS * sizeof(float) / 2}};
        const wcohi_gpu_view back[2] = {to[1],
                                        {1, 2 * POINTS * sizeof(float), POINTS * sizeof(float)}};
        wcoh_push_halve push;
        push.count = POINTS / 8;
        memcpy(l.exec.host_buffer.mapped, x, bytes);
        WCOHI_GPU_DISPATCH(&l.r.base, WCOH_SPV_HALVE, NULL, to, push, 2, 1, 1);
        WCOHI_GPU_DISPATCH(&l.r.base, WCOH_SPV_WIDEN, NULL, back, push, 2, 1, 1);
        result = alone_run(&l);
    }
    if (!result) memcpy(y, l.exec.host_buffer.mapped + 2 * bytes, bytes);
    alone_close(&l);
    return CHECK_SAY(result == WCOH_OK, "%s", l.error.text);
}

/* The half float nearest to x, ties to even. */
static double nearest_half(double x)
{
    int exponent;
    double unit;
    frexp(x, &exponent);
    unit = ldexp(1.0, (exponent < -13 ? -13 : exponent) - 11);
    x = nearbyint(x / unit) * unit;
    return x > 65504 ? 65504 : x < -65504 ? -65504 : x;
}

static void half_floats_are_the_nearest(void)
{
    static const float ends[] = {0,
                                 65504,
                                 65519,
                                 65520,
                                 1e30f,
                                 5.9604645e-8f,
                                 2.9802322e-8f,
                                 2.99e-8f,
                                 6.1035156e-5f,
                                 6.1005e-5f,
                                 1.00048828125f,
                                 1.00146484375f};
    int i, wrong = 0;
    for (i = 0; i < POINTS; i++)
        x_points[i] = (float)(exp(-18 + 30.0 * i / POINTS) * (i % 2 ? 1 : -1));
    memcpy(x_points, ends, sizeof ends);
    if (!halved(x_points, y_points)) return;
    for (i = 0; i < POINTS; i++)
        wrong += (double)y_points[i] < nearest_half((double)x_points[i]) ||
                 (double)y_points[i] > nearest_half((double)x_points[i]);
    CHECK_SAY(wrong == 0, "%d of %d", wrong, POINTS);
    for (i = 0; i < POINTS; i++) x_points[i] = i % 2 ? (float)HUGE_VAL : -(float)HUGE_VAL;
    x_points[0] = (float)NAN;
    if (!halved(x_points, y_points)) return;
    CHECK(memcmp(x_points + 1, y_points + 1, (POINTS - 1) * sizeof(float)) == 0);
    CHECK(y_points[0] != y_points[0]);
}

/* Losses to the bit, and every gradient to 5e-3 of its norm: a number of the forward is off by 2^-11 = 5e-4
   where the backward reads it, and a gradient is made of products of several such numbers. Fewer bytes, as
   many as was told. */
static void halves_train_as_floats_do(void)
{
    static const struct {
        const char *settings, *training;
    } halves[] = {
        {"solver=rk4 rk4_steps=3 corrector=on limiter=on query_gain=on ffn_taps=3 norm=rms bands=9 "
         "heads=3",
         ""},
        {"gate=on maestros=add block=parallel_shared groups=2 bands=34 heads=2", ""},
        {"attention=rotary ffn=gated_mlp,mlp block=sequential bands=34 heads=2", "dropout=0.1"},
        {"attention=coherence,dot ffn=kerr,mlp layers=3 taps=3 heads=4 value_gate=on "
         "bands=10",
         ""},
    };
    wcoh_device *kept = gpu, *device = NULL;
    wcoh_vk_desc desc = device_desc();
    wcoh_error error;
    int i;
    desc.half_activations = 1;
    if (!CHECK_SAY(wcoh_vk_device_create(&device, &desc, &error) == WCOH_OK, "%s", error.text))
        return;
    for (i = 0; i < (int)(sizeof halves / sizeof *halves); i++) {
        pair whole, half;
        double a = 0, b = 1;
        wcoh_vk_bytes all, some;
        gpu = kept;
        CHECK(pair_open(&whole, halves[i].settings, halves[i].training, 3, 37));
        gpu = device;
        if (CHECK(pair_open(&half, halves[i].settings, halves[i].training, 3, 37))) {
            CHECK(wcoh_trainer_gradient(whole.gpu, whole.tokens, whole.targets, 3, 37, &a, NULL) ==
                  WCOH_OK);
            CHECK(wcoh_trainer_gradient(half.gpu, half.tokens, half.targets, 3, 37, &b, &error) ==
                  WCOH_OK);
            CHECK_SAY(memcmp(&a, &b, sizeof a) == 0, "%s: %.9g %.9g", halves[i].settings, a, b);
            wcoh_trainer_destroy(half.cpu);
            half.cpu = whole.gpu;
            gradients_compare(&half, halves[i].settings, 5e-3);
            half.cpu = NULL;
            CHECK(wcoh_vk_trainer_bytes(kept, wcoh_model_get_desc(whole.model), &whole.gpu->desc,
                                        &all, &error) == WCOH_OK);
            CHECK(wcoh_vk_trainer_bytes(device, wcoh_model_get_desc(whole.model), &whole.gpu->desc,
                                        &some, &error) == WCOH_OK);
            CHECK(some.half_saves == all.half_saves && some.half_saves > all.activations / 20);
            CHECK(some.activations == all.activations - all.half_saves);
            CHECK(some.device < all.device);
        }
        pair_close(&half);
        pair_close(&whole);
    }
    wcoh_device_destroy(device);
    gpu = kept;
}

/* ---- sessions -------------------------------------------------------------------------------- */

enum { HEARD = 150 };

static double logits_error(const wcoh_session *a, const wcoh_session *b, int vocab)
{
    const float *x = wcoh_session_logits(a), *y = wcoh_session_logits(b);
    return x && y ? norm_of(x, y, (size_t)vocab) / norm_of(x, NULL, (size_t)vocab) : 1;
}

static double hidden_error(const wcoh_session *a, const wcoh_session *b, int bands)
{
    const float *x = wcoh_session_hidden(a), *y = wcoh_session_hidden(b);
    size_t width = 2 * (size_t)bands;
    return x && y ? norm_of(x, y, width) / norm_of(x, NULL, width) : 1;
}

static void session_compare(wcoh_device *device, const char *settings)
{
    char all[256];
    wcoh_model_desc desc;
    wcoh_model *model;
    wcoh_session_desc wanted;
    wcoh_session *cpu = NULL, *dev = NULL;
    wcoh_error error;
    uint32_t tokens[HEARD];
    double a = 0, b = 0;
    int i;
    snprintf(all, sizeof all, "vocab=65 layers=2 %s", settings);
    desc = model_desc_of(all);
    if (!(model = model_of(&desc))) return;
    randomise(model, 11);
    random_tokens(tokens, HEARD, 65, 3);
    memset(&wanted, 0, sizeof wanted);
    wanted.gain = 12; /* they change under it */
    CHECK(wcoh_session_create(&cpu, model, &wanted, &error) == WCOH_OK);
    wanted.prefill = 19; /* streams are cut elsewhere than the CPU's */
    wanted.device = device;
    if (CHECK_SAY(wcoh_session_create(&dev, model, &wanted, &error) == WCOH_OK, "%s: %s", settings,
                  error.text)) {
        for (i = 0; i < 12; i++) {
            CHECK(wcoh_session_step(cpu, tokens[i], &error) == WCOH_OK);
            CHECK(wcoh_session_step(dev, tokens[i], &error) == WCOH_OK);
        }
        CHECK_SAY(logits_error(cpu, dev, 65) <= 2e-5, "%s: steps %g", settings,
                  logits_error(cpu, dev, 65));
        CHECK(wcoh_session_prefill(cpu, tokens + 12, 88, &error) == WCOH_OK);
        CHECK(wcoh_session_prefill(dev, tokens + 12, 88, &error) == WCOH_OK);
        CHECK_SAY(logits_error(cpu, dev, 65) <= 2e-5, "%s: prefill %g", settings,
                  logits_error(cpu, dev, 65));
        CHECK_SAY(hidden_error(cpu, dev, wcoh_model_get_desc(model)->bands) <= 2e-5,
                  "%s: hidden row %g", settings,
                  hidden_error(cpu, dev, wcoh_model_get_desc(model)->bands));
        CHECK(wcoh_session_score(cpu, tokens + 100, 50, &a, &error) == WCOH_OK);
        CHECK(wcoh_session_score(dev, tokens + 100, 50, &b, &error) == WCOH_OK);
        CHECK_NEAR(a, b, 1e-5 * a);
        CHECK(wcoh_session_copy(cpu, dev, &error) == WCOH_OK); /* a stream moves to the CPU .. */
        CHECK(wcoh_session_step(cpu, 5, &error) == WCOH_OK);
        CHECK(wcoh_session_step(dev, 5, &error) == WCOH_OK);
        CHECK(logits_error(cpu, dev, 65) <= 2e-5);
        CHECK(wcoh_session_copy(dev, cpu, &error) == WCOH_OK); /* .. and back */
        randomise(model, 12);                                  /* parameters change under it */
        CHECK(wcoh_session_step(cpu, 6, &error) == WCOH_OK);
        CHECK(wcoh_session_step(dev, 6, &error) == WCOH_OK);
        CHECK(logits_error(cpu, dev, 65) <= 2e-5);
        wcoh_session_reset(cpu);
        wcoh_session_reset(dev);
        CHECK(wcoh_session_step(cpu, 7, &error) == WCOH_OK);
        CHECK(wcoh_session_step(dev, 7, &error) == WCOH_OK);
        CHECK(logits_error(cpu, dev, 65) <= 2e-5);
    }
    wcoh_session_destroy(cpu);
    wcoh_session_destroy(dev);
    wcoh_model_destroy(model);
}

static void sessions_compare(wcoh_device *device)
{
    session_compare(device, "");
    session_compare(device,
                    "attention=shared gain=11 bands=35 heads=7 position=sinusoidal context=33");
    session_compare(device, "attention=frozen block=parallel_shared bands=66 heads=2");
    session_compare(device, "bands=65 heads=1 solver=rk4 alpha=0.01 beta=0.01");
    session_compare(device, "solver=rk4 rk4_weights=on gain_control=on bands=9 heads=3");
    session_compare(device, "forgetting=on loudness=on bands=35 heads=7");
    session_compare(device, "loudness=on attention=shared");
    session_compare(device, "overtones=2 forgetting=on bands=35 heads=7");
    session_compare(device, "query_gain=on forgetting=on gain_most=6 bands=35 heads=7");
    session_compare(device, "query_gain=on bands=34 heads=2");
}

static void sessions_hear_what_the_cpu_hears(void)
{
    sessions_compare(gpu);
    session_compare(gpu, "attention=dot context=47 bands=35 heads=2 head=low_rank");
    session_compare(gpu, "attention=rotary context=64 heads=4 head=tied");
    session_compare(gpu, "attention=pope,rotary context=47 heads=4 layers=2");
    session_compare(gpu, "attention=resonance phase_input=on position=learned heads=4");
    session_compare(gpu, "attention=rotary context=47 key_width=600 bands=3 heads=1");
    session_compare(gpu, "phase_input=on position=sinusoidal context=33 heads=4");
    session_compare(gpu, "attention=dot,pope,resonance key_width=9 context=47 heads=4 layers=3");
    session_compare(gpu, "head=phase_native bands=35 heads=7");
    session_compare(gpu, "head=wave_decode bands=35 heads=7");
    session_compare(gpu, "attention=rotary,coherence,dot context=47 heads=4 layers=3 ffn=mlp,kerr");
    session_compare(gpu, "attention=dot position=learned ffn=mlp block=sequential heads=4");
    session_compare(gpu, "taps=4 bands=35 heads=7 value_gate=on");
    session_compare(gpu, "taps=2 attention=rotary context=64 heads=4 gate=on ffn=kerr,gated_mlp");
}

/* ---- matrix products ------------------------------------------------------------------------- */

enum { BIAS = 1, RESIDUAL = 2, GELU = 4, ADD = 8, GRADIENT = 16, PRODUCT_ROWS = 65536 };
enum { IN_A, IN_B, IN_BIAS, IN_RESIDUAL, OUT_C, OUT_PRE, SCRATCH, TURNS, AREAS };
enum { AREA = 1 << 17 }; /* reals */

static const struct product {
    uint32_t m, n, k, groups;
    int ta, tb, flags;
} products[] = {
    {64, 64, 32, 1, 0, 1, 0}, /* the smallest on matrix units */
    {128, 128, 64, 1, 0, 1, 0},
    {130, 67, 33, 1, 0, 1, BIAS},
    {130, 67, 33, 1, 0, 0, RESIDUAL},
    {131, 129, 35, 1, 1, 0, GRADIENT},
    {65, 140, 50, 1, 1, 1, GELU | BIAS},
    {200, 72, 100, 1, 0, 1, BIAS | RESIDUAL | GELU},
    {72, 68, 1000, 1, 1, 0, ADD | GRADIENT}, /* shares of the sum over k */
    {66, 65, 600, 1, 0, 0, ADD},
    {96, 64, 40, 3, 0, 1, BIAS | GELU},
    {64, 68, 257, 2, 1, 0, ADD | GRADIENT},
    {100, 66, 34, 2, 0, 0, ADD | GRADIENT},
};

/* Numbers in -1 .. 1 that half floats hold exactly, the same on every call. */
static void fill_halves(float *x, uint64_t seed)
{
    wcoh_rng rng = wcoh_rng_seed(seed);
    int i;
    for (i = 0; i < AREA; i++) x[i] = (float)((int)(wcoh_rng_next(&rng) % 2049) - 1024) / 1024;
}

/* C and the argument of gelu, and the sum of what its terms are in size. */
static double product_exact(const struct product *q, const float *const *area, uint32_t group,
                            uint32_t row, uint32_t column, double *pre, double *size)
{
    uint32_t lda = q->groups * (q->ta ? q->m : q->k), ldb = q->groups * q->n, i;
    size_t at = (size_t)row * ldb + group * q->n + column;
    double v = 0;
    *size = q->flags & GRADIENT ? 1.0 / (double)PRODUCT_ROWS : 1; /* of the smallest array */
    for (i = 0; i < q->k; i++) {
        double a = (double)(q->ta ? area[IN_A][i * lda + group * q->m + row]
                                  : area[IN_A][row * lda + group * q->k + i]);
        double b = (double)(q->tb ? area[IN_B][(group * q->n + column) * q->k + i]
                                  : area[IN_B][(group * q->k + i) * q->n + column]);
        v += a * b;
        *size += fabs(a * b);
    }
    if (q->flags & BIAS) v += (double)area[IN_BIAS][group * q->n + column];
    *pre = v;
    if (q->flags & GELU) v = 0.5 * v * (1 + tanh(0.7978845608028654 * (v + 0.044715 * v * v * v)));
    if (q->flags & RESIDUAL) v += (double)area[IN_RESIDUAL][at];
    if (q->flags & ADD) v += (double)area[OUT_C][at];
    return v;
}

static wcohi_gpu_gemm product_gemm(const struct product *q, const wcohi_gpu_view *view)
{
    wcohi_gpu_gemm g = wcohi_gpu_product(view[OUT_C], view[IN_A], view[IN_B], q->m, q->n, q->k);
    g.ta = q->ta;
    g.tb = q->tb;
    g.lda = q->groups * (q->ta ? q->m : q->k);
    g.ldb = q->tb ? q->k : q->n;
    g.ldc = q->groups * q->n;
    g.groups = q->groups;
    g.group_a = q->ta ? q->m : q->k;
    g.group_b = q->n * q->k;
    g.group_c = g.group_bias = q->n;
    if (q->flags & BIAS) g.bias = view[IN_BIAS];
    if (q->flags & RESIDUAL) g.residual = view[IN_RESIDUAL];
    if (q->flags & GELU) g.pre = view[OUT_PRE];
    g.gelu = (q->flags & GELU) != 0;
    g.add = (q->flags & ADD) != 0;
    g.gradient = (q->flags & GRADIENT) != 0;
    return g;
}

/* Gradients are as small as the mean over PRODUCT_ROWS rows makes them. Float sums of exact
   products of halves: 1e-6, some ULP, of the sum of their sizes; one term more or less is far
   above that. */
static void product_compare(const struct product *q, const float *const *before,
                            const float *const *after)
{
    double worst = 0;
    uint32_t group, row, column;
    for (group = 0; group < q->groups; group++)
        for (row = 0; row < q->m; row++)
            for (column = 0; column < q->n; column++) {
                size_t at = ((size_t)row * q->groups + group) * q->n + column;
                double pre, size, off;
                double v = product_exact(q, before, group, row, column, &pre, &size);
                off = fabs((double)after[OUT_C][at] - v) / size;
                if (q->flags & GELU)
                    off = WCOHI_MAX(off, fabs((double)after[OUT_PRE][at] - pre) / size);
                worst = off >= worst || off != off ? off : worst;
            }
    CHECK_SAY(worst <= 1e-6, "%u x %u x %u%s%s, %u groups, flags %d: off by %.3g", q->m, q->n, q->k,
              q->ta ? " A^T" : "", q->tb ? " B^T" : "", q->groups, q->flags, worst);
}

/* 1 if it took scratch. */
static int product_run(wcoh_device *device, const struct product *q)
{
    static alone l;
    static float before[AREAS][AREA];
    const float *x[AREAS], *y[AREAS];
    wcohi_gpu_view view[AREAS];
    wcohi_gpu_gemm g;
    wcoh_result result = alone_open(&l, device, AREAS * AREA);
    int i, j;
    for (i = 0; i < AREAS; i++) {
        view[i].host = 1;
        view[i].bytes = sizeof before[i];
        view[i].offset = (size_t)i * sizeof before[i];
        fill_halves(before[i], (uint64_t)i);
        for (j = 0; j < AREA && q->flags & GRADIENT && (i == IN_A || i == OUT_C); j++)
            before[i][j] /= (float)PRODUCT_ROWS;
        x[i] = before[i];
    }
    memset(before[TURNS], 0, sizeof before[TURNS]);
    if (!result) {
        memcpy(l.exec.host_buffer.mapped, before, sizeof before);
        l.exec.at.scratch = view[SCRATCH];
        l.exec.at.turns = view[TURNS];
        l.r.base.rows = PRODUCT_ROWS;
        g = product_gemm(q, view);
        wcohi_gpu_multiply(&l.r.base, &g);
        result = alone_run(&l);
    }
    for (i = 0; i < AREAS; i++)
        y[i] = (const float *)(const void *)l.exec.host_buffer.mapped + (size_t)i * AREA;
    if (CHECK_SAY(result == WCOH_OK, "%s", l.error.text)) product_compare(q, x, y);
    CHECK(memcmp(y[TURNS], before[TURNS], sizeof before[TURNS]) == 0);
    i = memcmp(y[SCRATCH], before[SCRATCH], sizeof before[SCRATCH]) != 0;
    alone_close(&l);
    return i;
}

static void products_are_right(void)
{
    size_t i;
    for (i = 0; i < sizeof products / sizeof products[0]; i++) product_run(gpu, &products[i]);
}

/* Tiles that the tuner may choose, and shares where the product allows them: two with a product of
   their own (--full: every tile with every product, minutes on a device in software). */
static void products_are_right_in_every_tile(int all)
{
    wcohi_vk *vk = (wcohi_vk *)gpu;
    const int count = (int)(sizeof products / sizeof products[0]);
    int i, j;
    for (i = 0; i < WCOHI_COUNT(wcohi_gpu_tiles); i++) {
        int kept = vk->pipeline_count;
        if (!all && i != 15 && i != 22) continue;
        for (j = all ? 0 : i % count; j < (all ? count : i % count + 1); j++) {
            wcohi_gpu_view views[AREAS];
            wcohi_gpu_choice choice;
            wcohi_gpu_gemm g;
            memset(views, 0, sizeof views);
            views[IN_BIAS].bytes = views[IN_RESIDUAL].bytes = 4;
            if (!wcohi_gpu_tile_fits(&wcohi_gpu_tiles[i], &vk->traits)) continue;
            memset(&choice, 0, sizeof choice);
            g = product_gemm(&products[j], views);
            choice.shape = wcohi_gpu_shape_of(&g);
            choice.tile = &wcohi_gpu_tiles[i];
            choice.splits = choice.shape.adds ? 1 + (uint32_t)i % 3 : 1;
            vk->traits.choices = &choice;
            vk->traits.choice_count = 1;
            product_run(gpu, &products[j]);
        }
        vk->traits.choice_count = 0;
        wcohi_vk_pipelines_drop(vk, kept);
    }
}

/* Of the tiles that are left over behind whole waves, shares: of one tile and of several, two shares and eight,
   groups, what follows a product, sums into C. */
static void products_are_right_in_walks(void)
{
    static const struct {
        int product, tile;
        uint32_t walk;
    } walks[] = {{6, 12, 6}, {9, 7, 2}, {8, 2, 8}, {7, 12, 3}, {4, 7, 3}};
    wcohi_vk *vk = (wcohi_vk *)gpu;
    const int kept = vk->pipeline_count;
    wcohi_gpu_choice choice;
    int i;
    for (i = 0; i < (int)(sizeof walks / sizeof *walks); i++) {
        wcohi_gpu_view views[AREAS];
        wcohi_gpu_gemm g;
        memset(views, 0, sizeof views);
        views[IN_BIAS].bytes = views[IN_RESIDUAL].bytes = 4;
        g = product_gemm(&products[walks[i].product], views);
        memset(&choice, 0, sizeof choice);
        choice.shape = wcohi_gpu_shape_of(&g);
        choice.tile = &wcohi_gpu_tiles[walks[i].tile];
        choice.splits = 1;
        choice.walk = walks[i].walk;
        vk->traits.choices = &choice;
        vk->traits.choice_count = 1;
        CHECK_SAY(product_run(gpu, &products[walks[i].product]), "walk %d cut nothing", i);
    }
    vk->traits.choice_count = 0;
    wcohi_vk_pipelines_drop(vk, kept);
}

static void products_are_right_in_other_tiles(void) { products_are_right_in_every_tile(0); }
static void all_products_are_right_in_each_tile(void) { products_are_right_in_every_tile(1); }

/* The gradient of a model with these tuned products and pairs, one parameter after the other; also against the
   CPU's. shapes: its products; dispatches: of its pass. Returns its reals. */
static size_t gradient_with(const char *settings, const wcohi_gpu_choice *choices, int choice_count,
                            const wcohi_gpu_pair *pairs, int pair_count, wcohi_gpu_shapes *shapes,
                            uint32_t *dispatches, float *out)
{
    wcohi_vk *vk = (wcohi_vk *)gpu;
    size_t used = 0;
    double loss;
    pair p;
    vk->traits.choices = choices;
    vk->traits.choice_count = choice_count;
    vk->traits.pairs = pairs;
    vk->traits.pair_count = pair_count;
    if (pair_open(&p, settings, "", 3, 37)) {
        wcohi_vk_exec *exec = (wcohi_vk_exec *)p.gpu->engine.exec;
        wcohi_vk_recorder r;
        wcohi_gpu_pass pass;
        wcoh_param param;
        int i;
        memset(&pass, 0, sizeof pass);
        memset(shapes, 0, sizeof *shapes);
        pass.last = 2 * exec->plan.count;
        pass.batch = p.batch;
        pass.seq = p.seq;
        pass.backward = pass.loss = 1;
        wcohi_vk_recorder_open(&r, exec, &pass, NULL);
        r.base.shapes = shapes;
        wcohi_gpu_record(&r.base);
        *dispatches = r.sets;
        CHECK(wcoh_trainer_gradient(p.cpu, p.tokens, p.targets, 3, 37, &loss, NULL) == WCOH_OK);
        CHECK(wcoh_trainer_gradient(p.gpu, p.tokens, p.targets, 3, 37, &loss, NULL) == WCOH_OK);
        gradients_compare(&p, settings, 1e-5);
        for (i = 0; i < wcoh_model_param_count(p.model); i++) {
            const float *gradient = wcoh_trainer_param_gradient(p.gpu, i);
            wcoh_model_param(p.model, i, &param, NULL);
            if (!gradient || used + param.count > 65536) continue;
            memcpy(out + used, gradient, param.count * sizeof *out);
            used += param.count;
        }
    }
    pair_close(&p);
    vk->traits.choice_count = vk->traits.pair_count = 0;
    return used;
}

/* Both products of an op's backward in one dispatch give the bits that they give in two with the same tiles:
   of one form and of two, with shares of sums and without, in one stage of shared memory and in two, groups,
   gates, gelu's slope, biases. */
static void products_keep_their_bits_in_one_dispatch(void)
{
    static const struct {
        const char *settings;
        int input, weight; /* tiles */
        uint32_t splits;
    } runs[] = {{"bands=33 heads=3", 3, 2, 3},
                {"bands=34 heads=2 groups=2 gate=on", 12, 1, 1},
                {"attention=dot ffn=mlp bands=18 heads=2", 9, 15, 2},
                {"bands=12 heads=2", 20, 4, 1}};
    static wcohi_gpu_shapes shapes, again;
    static float two[65536], one[65536];
    static wcohi_gpu_choice choices[WCOHI_GPU_CHOICES];
    static wcohi_gpu_pair pairs[WCOHI_GPU_JOINED], apart[WCOHI_GPU_JOINED];
    wcohi_vk *vk = (wcohi_vk *)gpu;
    int n, i;
    for (n = 0; n < (int)(sizeof runs / sizeof *runs); n++) {
        const int kept = vk->pipeline_count;
        uint32_t of_two = 0, of_one = 0;
        size_t count = gradient_with(runs[n].settings, NULL, 0, NULL, 0, &shapes, &of_two, two);
        CHECK_SAY(shapes.pair_count > 2, "%s: %d pairs", runs[n].settings, shapes.pair_count);
        memset(choices, 0, sizeof choices);
        memset(pairs, 0, sizeof pairs);
        memset(apart, 0, sizeof apart);
        for (i = 0; i < shapes.pair_count; i++) {
            const wcohi_gpu_gemm *input = &shapes.pairs[i][0], *weight = &shapes.pairs[i][1];
            choices[2 * i].shape = wcohi_gpu_shape_of(input);
            choices[2 * i].tile = pairs[i].input = &wcohi_gpu_tiles[runs[n].input];
            choices[2 * i].splits = 1;
            choices[2 * i + 1].shape = wcohi_gpu_shape_of(weight);
            choices[2 * i + 1].tile = pairs[i].weight = &wcohi_gpu_tiles[runs[n].weight];
            choices[2 * i + 1].splits = pairs[i].splits = runs[n].splits;
            pairs[i].m = apart[i].m = input->m;
            pairs[i].n = apart[i].n = input->n;
            pairs[i].k = apart[i].k = input->k;
            pairs[i].groups = apart[i].groups = input->groups;
        }
        i = shapes.pair_count;
        CHECK(wcohi_gpu_pair_fits(pairs[0].input, pairs[0].weight, &vk->traits));
        CHECK(count ==
              gradient_with(runs[n].settings, choices, 2 * i, apart, i, &again, &of_two, two));
        CHECK(count ==
              gradient_with(runs[n].settings, choices, 2 * i, pairs, i, &again, &of_one, one));
        CHECK_SAY(of_one + 2 < of_two, "%u and %u dispatches", of_one, of_two);
        CHECK_SAY(memcmp(one, two, count * sizeof *one) == 0, "%s", runs[n].settings);
        wcohi_vk_pipelines_drop(vk, kept);
    }
}

/* Forward products in walks: the CPU's gradients, other bits than uncut, and the same again. */
static void walks_keep_their_bits(void)
{
    static const char *const settings = "bands=34 heads=2";
    static wcohi_gpu_shapes shapes;
    static float cut[2][65536], uncut[65536];
    static wcohi_gpu_choice choices[WCOHI_GPU_CHOICES];
    const int kept = ((wcohi_vk *)gpu)->pipeline_count;
    uint32_t dispatches;
    size_t count = gradient_with(settings, NULL, 0, NULL, 0, &shapes, &dispatches, uncut);
    int i, n = 0;
    for (i = 0; i < shapes.count; i++) {
        const wcohi_gpu_shape shape = wcohi_gpu_shape_of(&shapes.product[i]);
        if (shape.adds) continue;
        choices[n].shape = shape;
        choices[n].tile = &wcohi_gpu_tiles[2];
        choices[n].splits = 1;
        choices[n++].walk = 5;
    }
    for (i = 0; i < 2; i++)
        CHECK(count == gradient_with(settings, choices, n, NULL, 0, &shapes, &dispatches, cut[i]));
    CHECK(n > 3 && memcmp(cut[0], uncut, count * sizeof *uncut) != 0);
    CHECK(memcmp(cut[0], cut[1], count * sizeof *uncut) == 0);
    wcohi_vk_pipelines_drop((wcohi_vk *)gpu, kept);
}

/* ---- matrix units ---------------------------------------------------------------------------- */

static wcoh_device *units; /* the same device, with its matrix units in use; NULL: it has none */

/* Refused by name where the device has no matrix units. */
static void matrix_units_open(void)
{
    wcoh_vk_desc desc = device_desc();
    wcoh_error error;
    const uint32_t *u;
    desc.cooperative = 1;
    if (wcoh_vk_device_create(&units, &desc, &error) != WCOH_OK) {
        CHECK(error.code == WCOH_E_UNSUPPORTED);
        CHECK_TEXT(error.text, "cooperative");
        printf("not run: cooperative matrices (%s)\n", error.text);
        return;
    }
    u = ((wcohi_vk *)units)->traits.units;
    printf("matrix units: %u x %u x %u, subgroups make %u x %u\n", u[0], u[1], u[2], u[3], u[4]);
}

static void products_on_matrix_units_are_right(void)
{
    size_t i;
    for (i = 0; units && i < sizeof products / sizeof products[0]; i++)
        product_run(units, &products[i]);
}

/* Parts twice and half as high as the host makes them: subgroups rest, or each takes two. */
static void other_numbers_of_subgroups_do(void)
{
    wcohi_vk *vk = (wcohi_vk *)units;
    uint32_t rows;
    if (!units) return;
    rows = vk->traits.units[3];
    vk->traits.units[3] = 2 * rows;
    product_run(units, &products[2]);
    vk->traits.units[3] = rows / 2;
    if (wcohi_vk_matrix_shared(vk->traits.units) <= vk->limits.maxComputeSharedMemorySize)
        product_run(units, &products[2]);
    else printf("not run: two parts for each subgroup (too little shared memory)\n");
    vk->traits.units[3] = rows;
}

/* Half-float factors: about three digits. The gradient of 4096 rows is of numbers that half floats
   barely hold. */
static void matrix_units_agree_to_half_floats(void)
{
    wcoh_device *kept = gpu;
    wcoh_error error;
    double a = 0, b = 0;
    pair p;
    if (!units) return;
    gpu = units;
    if (pair_open(&p, "bands=34 heads=2", "", 64, 64)) {
        CHECK(wcoh_trainer_gradient(p.cpu, p.tokens, p.targets, p.batch, p.seq, &a, &error) ==
              WCOH_OK);
        CHECK_SAY(wcoh_trainer_gradient(p.gpu, p.tokens, p.targets, p.batch, p.seq, &b, &error) ==
                      WCOH_OK,
                  "%s", error.text);
        CHECK_NEAR(a, b, 1e-3 * a);
        gradients_compare(&p, "cooperative", 5e-3);
    }
    pair_close(&p);
    gpu = kept;
}

static void sessions_in_pairs_of_floats_agree_too(void)
{
    wcoh_vk_desc desc = device_desc();
    wcoh_device *device = NULL;
    wcoh_error error;
    desc.two_float = 1;
    if (!CHECK_SAY(wcoh_vk_device_create(&device, &desc, &error) == WCOH_OK, "%s", error.text))
        return;
    sessions_compare(device);
    wcoh_device_destroy(device);
}

/* ---- crowds ---------------------------------------------------------------------------------- */

enum { MEMBERS = 6 };

static wcoh_crowd *crowd_of(wcoh_model *model, wcoh_device *device, int batch)
{
    wcoh_crowd_desc desc;
    wcoh_crowd *crowd = NULL;
    wcoh_error error;
    int id;
    memset(&desc, 0, sizeof desc);
    desc.members = MEMBERS;
    desc.batch = batch;
    desc.gain = 12;
    desc.device = device;
    CHECK_SAY(wcoh_crowd_create(&crowd, model, &desc, &error) == WCOH_OK, "%s", error.text);
    while (crowd && wcoh_crowd_count(crowd) < MEMBERS - 1) /* a place stays free */
        CHECK(wcoh_crowd_join(crowd, &id, &error) == WCOH_OK);
    return crowd;
}

static double members_error(const wcoh_crowd *a, const wcoh_crowd *b, int id)
{
    const float *x = wcoh_crowd_logits(a, id), *y = wcoh_crowd_logits(b, id);
    return x && y ? norm_of(x, y, 65) / norm_of(x, NULL, 65) : 1;
}

/* The same steps on both, by some of the members in changing orders, and what they then answer. */
static void crowds_step(wcoh_crowd *a, wcoh_crowd *b, int rounds, const char *settings)
{
    static const int order[4][4] = {{2, 0, 4, 1}, {1, 2, 3, 4}, {4, 3, 0, 2}, {0, 1, 2, 3}};
    wcoh_error error;
    int round, i;
    for (round = 0; round < rounds; round++) {
        const int *ids = order[round % 4];
        uint32_t symbols[4];
        for (i = 0; i < 4; i++) symbols[i] = (uint32_t)(round * 31 + ids[i] * 17 + 5) % 65;
        CHECK(wcoh_crowd_step(a, ids, symbols, 4 - round % 3, &error) == WCOH_OK);
        CHECK_SAY(wcoh_crowd_step(b, ids, symbols, 4 - round % 3, &error) == WCOH_OK, "%s",
                  error.text);
    }
    for (i = 0; i < MEMBERS - 1; i++)
        CHECK_SAY(members_error(a, b, i) <= 2e-5, "%s: member %d is off by %g", settings, i,
                  members_error(a, b, i));
}

static void crowd_compare(wcoh_device *device, const char *settings)
{
    char all[256];
    wcoh_model_desc desc;
    wcoh_model *model;
    wcoh_crowd *cpu, *dev;
    wcoh_error error;
    uint32_t prompt[20];
    int id = -1;
    snprintf(all, sizeof all, "vocab=65 layers=2 %s", settings);
    desc = model_desc_of(all);
    if (!(model = model_of(&desc))) return;
    randomise(model, 11);
    random_tokens(prompt, 20, 65, 3);
    cpu = crowd_of(model, NULL, 3);
    if ((dev = crowd_of(model, device, 3)) != NULL) { /* four pass as three and one */
        crowds_step(cpu, dev, 40, settings);
        CHECK(wcoh_crowd_hear(cpu, 3, prompt, 20, &error) == WCOH_OK);
        CHECK(wcoh_crowd_hear(dev, 3, prompt, 20, &error) == WCOH_OK);
        CHECK(wcoh_crowd_copy(cpu, 1, 3, &error) == WCOH_OK);
        CHECK(wcoh_crowd_copy(dev, 1, 3, &error) == WCOH_OK);
        wcoh_crowd_leave(cpu, 2), wcoh_crowd_leave(dev, 2);
        CHECK(wcoh_crowd_join(cpu, &id, &error) == WCOH_OK && id == 2);
        CHECK(wcoh_crowd_join(dev, &id, &error) == WCOH_OK && id == 2);
        crowds_step(cpu, dev, 4, settings);
        randomise(model, 12); /* parameters change under them */
        crowds_step(cpu, dev, 4, settings);
    }
    wcoh_crowd_destroy(cpu);
    wcoh_crowd_destroy(dev);
    wcoh_model_destroy(model);
}

static void crowds_hear_what_those_of_the_cpu_hear(void)
{
    wcoh_vk_desc desc = device_desc();
    wcoh_device *pairs = NULL;
    wcoh_error error;
    crowd_compare(gpu, "forgetting=on query_gain=on taps=3 bands=35 heads=7");
    crowd_compare(gpu, "attention=rotary,coherence,dot context=17 heads=4 layers=3 ffn=mlp,kerr");
    crowd_compare(gpu, "bands=34 heads=2 position=sinusoidal context=9");
    desc.two_float = 1;
    if (!CHECK_SAY(wcoh_vk_device_create(&pairs, &desc, &error) == WCOH_OK, "%s", error.text))
        return;
    crowd_compare(pairs, "attention=coherence,rotary context=17 taps=2 bands=35 heads=7");
    wcoh_device_destroy(pairs);
}

/* Alone in one crowd, among others in another: the same bits; and they go through a file. */
static void company_changes_no_bit_of_a_member(void)
{
    static unsigned char file[1 << 22];
    wcoh_model_desc desc = model_desc_of("vocab=65 layers=2 taps=2 bands=35 heads=7");
    wcoh_model *model = model_of(&desc);
    wcoh_crowd *single = crowd_of(model, gpu, 4), *among = crowd_of(model, gpu, 4), *cpu;
    wcoh_error error;
    wcoh_memory_file memory;
    wcoh_io io;
    int round, i;
    randomise(model, 5);
    for (round = 0; round < 30; round++) {
        static const int ids[4] = {3, 1, 0, 4};
        uint32_t symbols[4];
        for (i = 0; i < 4; i++) symbols[i] = (uint32_t)(round * 7 + i * 13) % 65;
        CHECK(wcoh_crowd_step(single, &ids[2], &symbols[2], 1, &error) == WCOH_OK);
        CHECK(wcoh_crowd_step(among, ids, symbols, 4, &error) == WCOH_OK);
    }
    CHECK(!memcmp(wcoh_crowd_logits(single, 0), wcoh_crowd_logits(among, 0), 65 * sizeof(float)));
    CHECK(wcoh_crowd_logits(single, 1) == NULL); /* nobody else has heard anything */
    memset(&memory, 0, sizeof memory);
    memory.data = file;
    memory.capacity = sizeof file;
    io = wcoh_io_memory(&memory);
    cpu = crowd_of(model, NULL, 4);
    CHECK_SAY(wcoh_crowd_save(among, 0, &io, &error) == WCOH_OK, "%s", error.text);
    CHECK_SAY(wcoh_crowd_load(cpu, 2, &io, &error) == WCOH_OK, "%s", error.text);
    CHECK_SAY(wcoh_crowd_load(single, 2, &io, &error) == WCOH_OK, "%s", error.text);
    for (i = 0; i < 3; i++) {
        static const int two = 2, zero = 0;
        uint32_t symbol = (uint32_t)i;
        CHECK(wcoh_crowd_step(cpu, &two, &symbol, 1, &error) == WCOH_OK);
        CHECK(wcoh_crowd_step(single, &two, &symbol, 1, &error) == WCOH_OK);
        CHECK(wcoh_crowd_step(among, &zero, &symbol, 1, &error) == WCOH_OK);
    }
    CHECK(!memcmp(wcoh_crowd_logits(single, 2), wcoh_crowd_logits(among, 0), 65 * sizeof(float)));
    CHECK_SAY(members_error(cpu, single, 2) <= 2e-5, "by %g", members_error(cpu, single, 2));
    wcoh_crowd_destroy(cpu);
    wcoh_crowd_destroy(single);
    wcoh_crowd_destroy(among);
    wcoh_model_destroy(model);
}

/* ---- wave memory ----------------------------------------------------------------------------- */

enum { WAVES = 2 * 2 * 35 };

/* A memory of random numbers, large enough to be heard. */
static wcoh_wave_memory memory_of(const wcoh_model *model, float *values, uint64_t seed)
{
    wcoh_wave_memory memory;
    wcoh_rng rng = wcoh_rng_seed(seed);
    wcoh_error error;
    int i;
    CHECK_SAY(wcoh_wave_memory_init(&memory, model, values, WAVES, &error) == WCOH_OK, "%s",
              error.text);
    memory.strength = 0.5;
    memory.keep = 0.25;
    for (i = 0; i < 2 * memory.layers * memory.bands; i++) values[i] = (float)wcoh_rng_normal(&rng);
    return memory;
}

/* What is left of a memory when a conversation has moved it: equal to `most` of its length. */
static void impressions_compare(wcoh_session *a, wcoh_session *b, const wcoh_wave_memory *from,
                                const char *settings)
{
    float left[2][WAVES];
    size_t count = 2 * (size_t)from->layers * (size_t)from->bands;
    wcoh_wave_memory memory = *from;
    wcoh_error error;
    int i;
    for (i = 0; i < 2; i++) {
        memory.values = left[i];
        memcpy(left[i], from->values, count * sizeof(float));
        CHECK(wcoh_session_impress(i ? b : a, &memory, &error) == WCOH_OK);
    }
    CHECK_SAY(norm_of(left[0], left[1], count) <= 2e-5 * norm_of(left[0], NULL, count),
              "%s: left %g", settings,
              norm_of(left[0], left[1], count) / norm_of(left[0], NULL, count));
    CHECK(norm_of(left[0], from->values, count) > 0.01 * norm_of(left[0], NULL, count));
}

/* One stream hears with a memory on both devices, with none, and with the half of it; its pieces are
   cut elsewhere on each. */
static void waves_compare(wcoh_device *device, const char *settings)
{
    float values[WAVES];
    uint32_t tokens[HEARD];
    double a = 0, b = 0, gap;
    char all[256];
    wcoh_model_desc desc;
    wcoh_model *model;
    wcoh_session_desc wanted;
    wcoh_session *cpu = NULL, *dev = NULL;
    wcoh_wave_memory memory;
    wcoh_error error;
    snprintf(all, sizeof all, "vocab=65 layers=2 %s", settings);
    desc = model_desc_of(all);
    if (!(model = model_of(&desc))) return;
    randomise(model, 11);
    random_tokens(tokens, HEARD, 65, 3);
    memory = memory_of(model, values, 4);
    memset(&wanted, 0, sizeof wanted);
    wanted.waves = WCOH_SWITCH_ON;
    CHECK(wcoh_session_create(&cpu, model, &wanted, &error) == WCOH_OK);
    wanted.prefill = 19;
    wanted.device = device;
    if (CHECK_SAY(wcoh_session_create(&dev, model, &wanted, &error) == WCOH_OK, "%s: %s", settings,
                  error.text)) {
        CHECK(wcoh_session_prefill(cpu, tokens, 30, &error) == WCOH_OK); /* with none */
        CHECK(wcoh_session_waves(cpu, &memory, &error) == WCOH_OK);
        CHECK(wcoh_session_copy(dev, cpu, &error) ==
              WCOH_OK); /* the memory and the sums go with it */
        CHECK(wcoh_session_prefill(cpu, tokens + 30, 50, &error) == WCOH_OK);
        CHECK(wcoh_session_prefill(dev, tokens + 30, 50, &error) == WCOH_OK);
        gap = logits_error(cpu, dev, 65);
        CHECK_SAY(gap <= 2e-5, "%s: prefill %g", settings, gap);
        CHECK(wcoh_session_score(cpu, tokens + 80, 50, &a, &error) == WCOH_OK);
        CHECK(wcoh_session_score(dev, tokens + 80, 50, &b, &error) == WCOH_OK);
        CHECK_NEAR(a, b, 1e-5 * a);
        impressions_compare(cpu, dev, &memory, settings);
        memory.strength /= 2;
        wcoh_session_reset(cpu), wcoh_session_reset(dev);
        CHECK(wcoh_session_waves(cpu, &memory, &error) == WCOH_OK);
        CHECK(wcoh_session_waves(dev, &memory, &error) == WCOH_OK);
        CHECK(wcoh_session_step(cpu, 7, &error) == WCOH_OK);
        CHECK(wcoh_session_step(dev, 7, &error) == WCOH_OK);
        gap = logits_error(cpu, dev, 65);
        CHECK_SAY(gap <= 2e-5, "%s: half of it %g", settings, gap);
        impressions_compare(cpu, dev, &memory, settings);
    }
    wcoh_session_destroy(cpu);
    wcoh_session_destroy(dev);
    wcoh_model_destroy(model);
}

/* The perturbative solver of a first layer of 2x2 maps has one layer that remembers. */
static void a_wave_memory_is_heard_as_on_the_cpu(void)
{
    waves_compare(gpu, "bands=35 heads=7");
    waves_compare(gpu, "bands=17 heads=2 solver=rk4 alpha=0.01 beta=0.01");
    waves_compare(gpu, "bands=8 heads=2 solver=split block=parallel_shared");
    waves_compare(gpu, "bands=8 heads=2 mixing=0.5 splits=2 ceiling=0.5");
    waves_compare(gpu, "bands=8 heads=2 solver=perturbative per_band_first=on ceiling=1");
}

/* Members with a memory and without, in one step: those without and those whose memory is nothing
   have the bits of a crowd that has no room for one; the others answer as on the CPU. */
static void members_hear_with_memories_of_their_own(void)
{
    float values[WAVES], nothing[WAVES] = {0};
    wcoh_model_desc desc = model_desc_of("vocab=65 layers=2 taps=2 bands=35 heads=7");
    wcoh_model *model = model_of(&desc);
    wcoh_wave_memory memory = memory_of(model, values, 4), none = memory, mean;
    wcoh_crowd *crowd[3]; /* of a CPU, of the device, of the device without room */
    wcoh_error error;
    float left[2][WAVES];
    int i, id;
    randomise(model, 5);
    none.values = nothing;
    for (i = 0; i < 3; i++) {
        wcoh_crowd_desc wanted;
        memset(&wanted, 0, sizeof wanted);
        wanted.members = MEMBERS;
        wanted.batch = 3;
        wanted.waves = i < 2 ? WCOH_SWITCH_ON : WCOH_SWITCH_AUTO;
        wanted.device = i ? gpu : NULL;
        if (!CHECK_SAY(wcoh_crowd_create(&crowd[i], model, &wanted, &error) == WCOH_OK, "%s",
                       error.text))
            return;
        while (wcoh_crowd_count(crowd[i]) < MEMBERS - 1)
            CHECK(wcoh_crowd_join(crowd[i], &id, &error) == WCOH_OK);
        if (i < 2) CHECK(wcoh_crowd_waves(crowd[i], 1, &memory, &error) == WCOH_OK);
        if (i < 2) CHECK(wcoh_crowd_waves(crowd[i], 2, &none, &error) == WCOH_OK);
    }
    crowds_step(crowd[0], crowd[1], 12, "a memory of its own");
    memset(left, 0, sizeof left);
    for (i = 0; i < 2; i++) {
        mean = memory;
        mean.values = left[i];
        CHECK(wcoh_crowd_impress(crowd[i], 3, &mean, &error) == WCOH_OK);
    }
    CHECK(norm_of(left[0], left[1], WAVES) <= 2e-5 * norm_of(left[0], NULL, WAVES));
    for (i = 0; i < 3; i++) wcoh_crowd_reset(crowd[i], 2), wcoh_crowd_reset(crowd[i], 1);
    for (id = 1; id < 3; id++)
        for (i = 1; i < 3; i++) {
            static const uint32_t heard[3] = {7, 1, 40};
            CHECK(wcoh_crowd_hear(crowd[i], id, heard, 3, &error) == WCOH_OK);
        }
    for (id = 1; id < 3; id++)
        CHECK((id == 2) == !memcmp(wcoh_crowd_logits(crowd[1], id), wcoh_crowd_logits(crowd[2], id),
                                   65 * sizeof(float)));
    for (i = 0; i < 3; i++) wcoh_crowd_destroy(crowd[i]);
    wcoh_model_destroy(model);
}

/* ---- whole models ---------------------------------------------------------------------------- */

enum { TEXT = 4096 };

static uint32_t text[TEXT];

/* A text with something to learn. */
static void text_make(void)
{
    int i;
    random_tokens(text, TEXT, 65, 9);
    for (i = 9; i < TEXT; i++)
        if (i % 4) text[i] = (text[i - 1] * 7 + text[i - 9]) % 65;
}

static wcoh_trainer *trainer_of(wcoh_model *model, wcoh_trainer_desc desc, wcoh_device *device,
                                wcoh_isa isa)
{
    wcoh_trainer *trainer = NULL;
    wcoh_error error;
    desc.device = device;
    desc.cpu.isa = isa;
    if (CHECK_SAY(wcoh_trainer_create(&trainer, model, &desc, &error) == WCOH_OK, "%s", error.text))
        CHECK(wcoh_trainer_set_data(trainer, text, TEXT, NULL, 0, &error) == WCOH_OK);
    return trainer;
}

enum { STEPS = 200 };

/* The losses of the first steps of a run. */
static int losses_of_run(const wcoh_model_desc *desc, wcoh_trainer_desc wanted,
                         const uint32_t *tokens, size_t count, int steps, wcoh_device *device,
                         wcoh_isa isa, double *losses)
{
    wcoh_model *model = model_of(desc);
    wcoh_trainer *trainer = model ? trainer_of(model, wanted, device, isa) : NULL;
    wcoh_error error;
    wcoh_stats stats;
    int step, good = trainer != NULL;
    good = good && wcoh_trainer_set_data(trainer, tokens, count, NULL, 0, &error) == WCOH_OK;
    for (step = 0; good && step < steps; step++) {
        good = CHECK_SAY(wcoh_trainer_step(trainer, &stats, &error) == WCOH_OK, "%s", error.text);
        losses[step] = stats.train_loss;
    }
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    return good;
}

/* How far the losses of a run are from `base`: the largest difference, and how many steps differ by
   more than max(1e-3, 3 x what the CPU's scalar path differs at that step). */
typedef struct apart {
    double largest;
    int outside;
} apart;

static apart losses_apart(const double *base, const double *scalar, const double *other, int steps)
{
    apart a = {0, 0};
    int step;
    for (step = 0; step < steps; step++) {
        double off = fabs(other[step] - base[step]), path = fabs(scalar[step] - base[step]);
        a.largest = off > a.largest ? off : a.largest;
        a.outside += !(off <= (3 * path > 1e-3 ? 3 * path : 1e-3));
    }
    return a;
}

static wcoh_isa base_isa(void)
{
    return wcoh_cpu_has_isa(WCOH_ISA_AVX2) ? WCOH_ISA_AVX2 : WCOH_ISA_AUTO;
}

static const struct {
    const char *name, *small;
    wcoh_preset preset;
} presets[] = {
    {"default", "bands=16 heads=4 layers=2", WCOH_PRESET_WAVE_1},
    {"gpt", "bands=16 heads=4 layers=2", WCOH_PRESET_GPT},
    {"kerr_engine", "bands=16 heads=4 layers=2 rk4_steps=4", WCOH_PRESET_KERR_ENGINE},
    {"wave_engine", "bands=18 heads=3 layers=2", WCOH_PRESET_WAVE_ENGINE},
    {"wave_engine_april", "bands=18 heads=3 layers=2 rk4_steps=4 rk4_weights=on",
     WCOH_PRESET_WAVE_ENGINE_APRIL},
};

static void small_presets_train_as_on_the_cpu(void)
{
    double base[STEPS], scalar[STEPS], device[STEPS];
    int i, steps = 40;
    for (i = 0; i < (int)(sizeof presets / sizeof presets[0]); i++) {
        wcoh_model_desc desc = wcoh_model_preset(presets[i].preset, 65);
        wcoh_trainer_desc trainer = wcoh_trainer_preset(presets[i].preset);
        apart paths, gpus;
        settings_apply(WCOH_DESC_MODEL, &desc, presets[i].small);
        trainer.batch = 3;
        trainer.seq = 17;
        trainer.warmup = -1;
        if (!losses_of_run(&desc, trainer, text, TEXT, steps, NULL, base_isa(), base) ||
            !losses_of_run(&desc, trainer, text, TEXT, steps, NULL, WCOH_ISA_SCALAR, scalar) ||
            !losses_of_run(&desc, trainer, text, TEXT, steps, gpu, WCOH_ISA_AUTO, device))
            return;
        paths = losses_apart(base, scalar, scalar, steps);
        gpus = losses_apart(base, scalar, device, steps);
        printf("%s: %d steps, loss %.4f; largest difference %.1e, between the CPU's paths %.1e\n",
               presets[i].name, steps, device[steps - 1], gpus.largest, paths.largest);
        CHECK_SAY(gpus.outside == 0, "%s: %d steps differ", presets[i].name, gpus.outside);
    }
}

/* The text of --full, as tokens of its characters. */
static struct {
    const char *path, *preset; /* NULL: all presets */
    uint32_t *tokens;
    size_t count;
    int vocab;
} real;

static int real_text_read(void)
{
    FILE *stream = fopen(real.path, "rb");
    wcoh_tokenizer *tokenizer = NULL;
    wcoh_error error;
    static char bytes[4 << 20];
    size_t size = stream ? fread(bytes, 1, sizeof bytes, stream) : 0;
    if (stream) fclose(stream);
    if (!CHECK_SAY(size > 0, "%s: cannot be read", real.path)) return 0;
    if (!CHECK_SAY(wcoh_tokenizer_create_chars(&tokenizer, bytes, size, NULL, &error) == WCOH_OK,
                   "%s: %s", real.path, error.text))
        return 0;
    real.tokens = (uint32_t *)malloc(size * sizeof *real.tokens);
    real.vocab = wcoh_tokenizer_vocab(tokenizer);
    CHECK(wcoh_tokenizer_encode(tokenizer, bytes, size, real.tokens, size, &real.count, &error) ==
          WCOH_OK);
    wcoh_tokenizer_destroy(tokenizer);
    return 1;
}

/* Steps of the device from the very states that the CPU's run goes through: without the growth of
   rounding from step to step, each loss must agree to what a float holds of it. */
static void full_steps_from_the_same_state(const wcoh_model_desc *desc, wcoh_trainer_desc wanted,
                                           const char *name)
{
    unsigned char *state;
    size_t capacity;
    wcoh_model *models[2];
    wcoh_trainer *trainers[2];
    wcoh_stats stats[2];
    wcoh_error error;
    double worst = 0, off;
    int i, step;
    for (i = 0; i < 2; i++) {
        models[i] = model_of(desc);
        trainers[i] = trainer_of(models[i], wanted, i ? gpu : NULL, base_isa());
        CHECK(wcoh_trainer_set_data(trainers[i], real.tokens, real.count, NULL, 0, &error) ==
              WCOH_OK);
    }
    capacity = wcoh_trainer_file_size(trainers[0]) + 4096; /* numbers in it grow */
    state = (unsigned char *)malloc(capacity);
    for (step = 0; step < STEPS; step++) {
        wcoh_memory_file block;
        wcoh_io io;
        memset(&block, 0, sizeof block);
        block.data = state;
        block.capacity = capacity;
        io = wcoh_io_memory(&block);
        if (!CHECK_SAY(wcoh_trainer_save(trainers[0], &io, &error) == WCOH_OK &&
                           wcoh_trainer_resume(trainers[1], &io, &error) == WCOH_OK &&
                           wcoh_trainer_step(trainers[0], &stats[0], &error) == WCOH_OK &&
                           wcoh_trainer_step(trainers[1], &stats[1], &error) == WCOH_OK,
                       "%s", error.text))
            break;
        off = fabs(stats[1].train_loss - stats[0].train_loss);
        worst = off > worst || off != off ? off : worst;
    }
    printf("%s: %d steps from the same states: largest difference %.1e\n", name, step, worst);
    CHECK_SAY(worst <= 1e-6, "%s: %g", name, worst);
    free(state);
    for (i = 0; i < 2; i++) {
        wcoh_trainer_destroy(trainers[i]);
        wcoh_model_destroy(models[i]);
    }
}

/* Left alone, runs part: rounding grows wherever training is chaotic (a phasor close to zero), on
   the CPU's own instruction sets as well. The device may be no further from the CPU, and no oftener
   outside the band of losses_apart, than 3 x these. */
static void full_run_left_alone(const wcoh_model_desc *desc, wcoh_trainer_desc wanted,
                                const char *name)
{
    static const wcoh_isa isas[] = {WCOH_ISA_SSE2, WCOH_ISA_AVX512, WCOH_ISA_NEON};
    double base[STEPS], scalar[STEPS], other[STEPS];
    apart most, one;
    int i;
    if (!losses_of_run(desc, wanted, real.tokens, real.count, STEPS, NULL, base_isa(), base) ||
        !losses_of_run(desc, wanted, real.tokens, real.count, STEPS, NULL, WCOH_ISA_SCALAR, scalar))
        return;
    most = losses_apart(base, scalar, scalar, STEPS);
    printf("%s: %d steps: the CPU's scalar path: largest difference %.1e\n", name, STEPS,
           most.largest);
    for (i = 0; i < (int)(sizeof isas / sizeof isas[0]); i++) {
        if (!wcoh_cpu_has_isa(isas[i])) continue;
        losses_of_run(desc, wanted, real.tokens, real.count, STEPS, NULL, isas[i], other);
        one = losses_apart(base, scalar, other, STEPS);
        printf("%s: its %s: largest difference %.1e, %d steps outside\n", name,
               wcoh_isa_name(isas[i]), one.largest, one.outside);
        most.largest = fmax(most.largest, one.largest);
        most.outside = one.outside > most.outside ? one.outside : most.outside;
    }
    if (!losses_of_run(desc, wanted, real.tokens, real.count, STEPS, gpu, WCOH_ISA_AUTO, other))
        return;
    one = losses_apart(base, scalar, other, STEPS);
    printf("%s: the device: loss %.4f, largest difference %.1e, %d steps outside\n", name,
           other[STEPS - 1], one.largest, one.outside);
    CHECK_SAY(one.largest <= fmax(1e-3, 3 * most.largest), "%s: %g", name, one.largest);
    CHECK_SAY(one.outside <= 3 * most.outside, "%s: %d", name, one.outside);
}

static void full_presets_train_as_on_the_cpu(void)
{
    int i;
    if (!real_text_read()) return;
    for (i = 0; i < (int)(sizeof presets / sizeof presets[0]); i++) {
        wcoh_model_desc desc = wcoh_model_preset(presets[i].preset, real.vocab);
        wcoh_trainer_desc trainer = wcoh_trainer_preset(presets[i].preset);
        if (real.preset && strcmp(real.preset, presets[i].name) != 0) continue;
        full_steps_from_the_same_state(&desc, trainer, presets[i].name);
        full_run_left_alone(&desc, trainer, presets[i].name);
    }
    free(real.tokens);
}

/* Rounded factors move a loss in its fourth digit, step after step. */
static void matrix_units_train_as_floats_do(void)
{
    wcoh_model_desc desc = model_desc_of("vocab=65 bands=34 heads=2 layers=1");
    wcoh_trainer_desc wanted;
    wcoh_model *models[2];
    wcoh_trainer *trainers[2];
    wcoh_stats stats[2];
    wcoh_error error;
    double worst = 0, first = 0;
    int i, step;
    if (!units) return;
    memset(&wanted, 0, sizeof wanted);
    wanted.batch = 8;
    wanted.seq = 32;
    wanted.warmup = -1;
    for (i = 0; i < 2; i++) {
        if (!(models[i] = model_of(&desc))) return;
        trainers[i] = trainer_of(models[i], wanted, i ? units : NULL, WCOH_ISA_AUTO);
        if (!trainers[i]) return;
    }
    for (step = 0; step < 20; step++) {
        for (i = 0; i < 2; i++)
            if (!CHECK_SAY(wcoh_trainer_step(trainers[i], &stats[i], &error) == WCOH_OK, "%s",
                           error.text))
                return;
        if (step == 0) first = stats[0].train_loss;
        worst = WCOHI_MAX(worst, fabs(stats[1].train_loss - stats[0].train_loss));
    }
    printf("matrix units: 20 steps, loss %.4f to %.4f; largest difference from the CPU %.1e\n",
           first, stats[1].train_loss, worst);
    CHECK(worst > 0 && worst <= 2e-3); /* 0: the units were not in use */
    CHECK(stats[1].train_loss < first - 0.05);
    for (i = 0; i < 2; i++) {
        wcoh_trainer_destroy(trainers[i]);
        wcoh_model_destroy(models[i]);
    }
}

static wcoh_model_desc small_model(void)
{
    return model_desc_of("vocab=65 bands=9 heads=3 layers=2 maestro=4");
}

static wcoh_trainer_desc small_trainer(void)
{
    wcoh_trainer_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.batch = 2;
    desc.seq = 13;
    desc.warmup = -1;
    desc.accumulate = 2;
    desc.curriculum = WCOH_CURRICULUM_ON;
    desc.steps = 30;
    return desc;
}

/* Losses of `steps` steps, with what a step can have besides: micro-batches and a curriculum. */
static void losses_of(wcoh_device *device, int steps, double *losses)
{
    wcoh_model_desc desc = small_model();
    wcoh_model *model = model_of(&desc);
    wcoh_trainer *trainer = trainer_of(model, small_trainer(), device, WCOH_ISA_AUTO);
    wcoh_stats stats;
    wcoh_error error;
    int i;
    for (i = 0; trainer && i < steps; i++) {
        CHECK_SAY(wcoh_trainer_step(trainer, &stats, &error) == WCOH_OK, "%s", error.text);
        losses[i] = stats.train_loss;
    }
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

static void a_run_gives_the_same_bits_again(void)
{
    double first[24], second[24], cpu[24];
    int i;
    losses_of(gpu, 24, first);
    losses_of(gpu, 24, second);
    losses_of(NULL, 24, cpu);
    CHECK(memcmp(first, second, sizeof first) == 0);
    for (i = 0; i < 24; i++) CHECK_NEAR(first[i], cpu[i], 1e-4);
}

/* Seconds of all rows; what there is besides must be what the CPU says. */
static double profile_compare(const wcoh_op_time *rows, int count, const wcoh_op_time *other,
                              int others)
{
    double sum = 0;
    int i, j;
    CHECK(count == others);
    for (i = 0; i < count; i++) {
        for (j = 0; j < others; j++)
            if (!strcmp(rows[i].op, other[j].op) && !strcmp(rows[i].pass, other[j].pass)) break;
        if (!CHECK_SAY(j < others, "%s %s is on one device", rows[i].op, rows[i].pass)) continue;
        CHECK(rows[i].flops == other[j].flops && rows[i].bytes == other[j].bytes);
        CHECK(rows[i].seconds >= 0 && (i == 0 || rows[i].seconds <= rows[i - 1].seconds));
        sum += rows[i].seconds;
    }
    return sum;
}

/* The table has the same rows on both devices, its times fill the step, and it changes no bit. */
static void a_profile_says_where_the_time_goes(void)
{
    wcoh_model_desc desc = small_model();
    wcoh_op_time rows[2][WCOH_OP_TIMES];
    int i, counts[2] = {0, 0};
    double losses[4], took[2];
    for (i = 0; i < 2; i++) {
        wcoh_model *model = model_of(&desc);
        wcoh_trainer *trainer = trainer_of(model, small_trainer(), i ? gpu : NULL, WCOH_ISA_AUTO);
        wcoh_stats stats;
        wcoh_error error;
        CHECK(wcoh_trainer_profile(trainer, 0, rows[i], &counts[i], &error) == WCOH_E_ARGUMENT);
        took[i] = wcohi_seconds();
        CHECK_SAY(wcoh_trainer_profile(trainer, 2, rows[i], &counts[i], &error) == WCOH_OK, "%s",
                  error.text);
        took[i] = wcohi_seconds() - took[i];
        CHECK(wcoh_trainer_step(trainer, &stats, &error) == WCOH_OK && stats.step == 4);
        losses_of(i ? gpu : NULL, 4, losses);
        CHECK_NEAR(stats.train_loss, losses[3], 0);
        wcoh_trainer_destroy(trainer);
        wcoh_model_destroy(model);
    }
    for (i = 0; i < 2; i++) {
        double sum = profile_compare(rows[i], counts[i], rows[1 - i], counts[1 - i]);
        CHECK_SAY(sum > 0 && sum < took[i], "%g of %g s", sum, took[i]);
    }
}

/* A text is used as it stands, gives the same bits each time, and is refused where it is not of this
   device and these shaders, or damaged. */
static void a_tuning_is_kept_in_a_text(void)
{
    static char text_of[65536], damaged[65536];
    wcoh_model_desc model = small_model();
    wcoh_trainer_desc training = small_trainer();
    wcoh_vk_desc desc = device_desc();
    wcoh_device *device = NULL;
    wcoh_error error;
    double first[3], second[3], ruled[3];
    size_t head;
    int i;
    CHECK_SAY(wcoh_vk_tune(gpu, &model, &training, 1, text_of, sizeof text_of, &error) == WCOH_OK,
              "%s", error.text);
    CHECK(strncmp(text_of, "wavecoh tuning 3\ndevice ", 24) == 0);
    desc.tuning = text_of;
    for (i = 0; i < 2; i++) {
        if (!CHECK_SAY(wcoh_vk_device_create(&device, &desc, &error) == WCOH_OK, "%s", error.text))
            return;
        CHECK(((wcohi_vk *)device)->traits.choice_count + ((wcohi_vk *)device)->traits.path_count >
              0); /* either, on a slow machine */
        losses_of(device, 3, i ? second : first);
        wcoh_device_destroy(device);
    }
    losses_of(gpu, 3, ruled);
    CHECK(memcmp(first, second, sizeof first) == 0);
    for (i = 0; i < 3; i++) CHECK_NEAR(first[i], ruled[i], 1e-5);
    CHECK(wcoh_vk_tune(gpu, &model, &training, HUGE_VAL - HUGE_VAL, damaged, sizeof damaged,
                       &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "no time to end at");
    CHECK(wcoh_vk_tune(gpu, &model, &training, -(HUGE_VAL - HUGE_VAL), damaged, sizeof damaged,
                       NULL) == WCOH_E_ARGUMENT);
    CHECK(wcoh_vk_tune(gpu, &model, &training, 0, text_of, 20, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "size is 20");
    CHECK(wcoh_vk_tune(gpu, &model, &training, 0, damaged, sizeof damaged, &error) == WCOH_OK);
    desc.tuning = damaged; /* no time: a head without choices */
    CHECK(wcoh_vk_device_create(&device, &desc, &error) == WCOH_OK);
    wcoh_device_destroy(device);
    strcat(damaged,
           "backward 9 8 7 1 tile 0 0 0 0 0 0 tile 0 0 0 0 0 0 splits 0\n"); /* two dispatches */
    strcat(damaged, "backward 9 8 6 1 tile 32 32 16 4 4 1 tile 16 128 16 4 8 1 splits 2\n");
    CHECK(wcoh_vk_device_create(&device, &desc, &error) == WCOH_OK);
    CHECK(((wcohi_vk *)device)->traits.pair_count == 2);
    wcoh_device_destroy(device);
    head = strlen(damaged); /* of 64 and of 256 threads */
    strcat(damaged, "backward 9 8 6 1 tile 32 32 16 4 4 1 tile 128 128 16 8 8 1 splits 2\n");
    CHECK(refusal(&desc, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "tuning: line 7 says nothing of use");
    damaged[head] = 0;
    strcat(damaged, "product 9 8 7 0 1 1 0 tile 32 32 16 4 4 1 splits 1 walk 24\n");
    CHECK(wcoh_vk_device_create(&device, &desc, &error) == WCOH_OK);
    CHECK(((wcohi_vk *)device)->choices[0].walk == 24);
    wcoh_device_destroy(device);
    damaged[head] = 0; /* a sum that has shares is not cut */
    strcat(damaged, "product 9 8 7 0 1 1 1 tile 32 32 16 4 4 1 splits 1 walk 24\n");
    CHECK(refusal(&desc, &error) == WCOH_E_ARGUMENT);
    damaged[head] = 0;
    strcat(damaged, "product 1 2 3\n");
    CHECK(refusal(&desc, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "tuning: line 7 says nothing of use");
    damaged[25]++;
    CHECK(refusal(&desc, &error) == WCOH_E_UNSUPPORTED);
    CHECK_TEXT(error.text, "another device, driver or version");
    damaged[3]++;
    CHECK(refusal(&desc, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "no text of wcoh_vk_tune");
}

/* Every way of attention that a tuning can name gives the CPU's gradients; a text names one a line. */
static void every_way_of_attention_is_right(void)
{
    static const struct {
        const char *settings, *line;
        uint32_t chunk, passes; /* what the first op then does; threads of dot_whole.comp, 0 */
    } ways[] = {
        {"forgetting=on bands=33 heads=6", "1 1 2 97 6 11 columns 2 chunk 0 passes 2", 0, 2},
        {"forgetting=on bands=33 heads=6", "1 1 2 97 6 11 columns 2 chunk 32 passes 1", 32, 1},
        {"bands=33 heads=6", "1 0 2 97 6 11 columns 1 chunk 64 passes 2", 64, 2},
        {"attention=shared bands=33 heads=6", "1 0 2 97 6 11 columns 4 chunk 64 passes 1", 64, 1},
        {"bands=60 heads=2", "1 0 2 97 2 60 columns 8 chunk 0 passes 1", 0, 1},
        {"attention=rotary bands=33 heads=3", "0 0 2 97 3 22 columns 2 chunk 0 passes 2", 0, 0},
        {"attention=rotary bands=33 heads=3", "0 0 2 97 3 22 columns 64 chunk 0 passes 2", 0, 0},
        {"attention=dot bands=64 heads=2", "0 0 2 97 2 64 columns 64 chunk 0 passes 2", 128, 0},
        {"attention=dot bands=64 heads=2", "0 0 2 97 2 64 columns 128 chunk 0 passes 2", 64, 0},
        {"attention=dot bands=64 heads=2", "0 0 2 97 2 64 columns 8 chunk 0 passes 2", 0, 0},
        {"attention=rotary bands=18 heads=3", "0 0 2 97 3 12 columns 128 chunk 0 passes 2", 64, 0},
    };
    wcoh_device *kept = gpu;
    int i;
    for (i = 0; i < (int)(sizeof ways / sizeof *ways); i++) {
        char tuning[700];
        wcoh_vk_desc desc = device_desc();
        wcoh_error error;
        double a = 0, b = 0;
        pair p;
        int head = wcohi_vk_tuning_head((wcohi_vk *)kept, tuning, sizeof tuning);
        snprintf(tuning + head, sizeof tuning - (size_t)head, "attention %s\n", ways[i].line);
        desc.tuning = tuning;
        if (!CHECK_SAY(wcoh_vk_device_create(&gpu, &desc, &error) == WCOH_OK, "%s", error.text))
            break;
        if (pair_open(&p, ways[i].settings, "", 2, 97)) {
            wcohi_vk_recorder r;
            wcohi_gpu_pass pass;
            const wcohi_op *op = ((wcohi_vk_exec *)p.gpu->engine.exec)->plan.ops;
            memset(&pass, 0, sizeof pass);
            pass.batch = 2;
            pass.seq = 97;
            wcohi_vk_recorder_open(&r, (wcohi_vk_exec *)p.gpu->engine.exec, &pass, NULL);
            while (op->kind != WCOHI_COHERENCE && op->kind != WCOHI_DOT) op++;
            CHECK_SAY(wcohi_gpu_way_find(&r.base, op) != NULL, "%s", ways[i].line);
            if (op->kind == WCOHI_COHERENCE) {
                wcohi_gpu_attention aux = wcohi_gpu_coherence_aux(&r.base, op);
                wcohi_gpu_pairs t = wcohi_gpu_coherence_pairs(&r.base, op, &aux);
                CHECK(t.push.within == ways[i].chunk && t.passes == ways[i].passes);
            } else {
                wcohi_gpu_attention aux = wcohi_gpu_dot_aux(&r.base, op);
                wcohi_gpu_pairs t = wcohi_gpu_dot_pairs(&r.base, op, &aux);
                uint32_t whole = wcohi_gpu_dot_whole(&r.base, op, &t) ? t.specs[0] : 0;
                CHECK_SAY(whole == ways[i].chunk, "%s: %u threads", ways[i].line, whole);
            }
            CHECK(wcoh_trainer_gradient(p.cpu, p.tokens, p.targets, 2, 97, &a, NULL) == WCOH_OK);
            CHECK(wcoh_trainer_gradient(p.gpu, p.tokens, p.targets, 2, 97, &b, NULL) == WCOH_OK);
            CHECK_SAY(test_near(a, b, 3e-6 * a), "%s: loss %.9g and %.9g", ways[i].line, a, b);
            gradients_compare(&p, ways[i].line, 1e-5);
        }
        pair_close(&p);
        wcoh_device_destroy(gpu);
    }
    gpu = kept;
}

/* What a progress callback heard, and what it did at step `act_at`. */
typedef struct heard {
    wcoh_trainer *trainer;
    wcoh_model *model;
    double losses[32], val;
    int act_at, evaluations;
    int touch; /* 1: doubles a parameter; 0: saves a checkpoint */
    int ahead; /* reports during which the device had work */
    wcoh_io *io;
} heard;

static int hear_step(const wcoh_stats *stats, void *user)
{
    heard *h = (heard *)user;
    const wcohi_vk_exec *exec = (const wcohi_vk_exec *)(void *)h->trainer->engine.exec;
    wcoh_param param;
    wcoh_error error;
    h->ahead += exec->sent > exec->done;
    if (stats->evaluated) {
        h->val = stats->val_loss;
        h->evaluations++;
        return 0;
    }
    h->losses[stats->step - 1] = stats->train_loss;
    if (stats->step != (uint64_t)h->act_at) return 0;
    CHECK_SAY(wcoh_trainer_sync(h->trainer, &error) == WCOH_OK, "%s", error.text);
    if (!h->touch) {
        CHECK_SAY(wcoh_trainer_save(h->trainer, h->io, &error) == WCOH_OK, "%s", error.text);
        return 0;
    }
    wcoh_model_param(h->model, wcoh_model_param_find(h->model, "head.weight"), &param, NULL);
    param.data[0] *= 2;
    wcoh_model_touch(h->model);
    return 0;
}

enum { AT_ONCE, IN_SLICES, STEP_BY_STEP };

/* 12 steps with an evaluation after 5, 10 and the last; the callback acts. */
static void heard_run(heard *h, int how, wcoh_io *io, int touch)
{
    wcoh_model_desc desc = small_model();
    wcoh_trainer_desc wanted = small_trainer();
    wcoh_error error;
    wcoh_result result = WCOH_OK;
    memset(h, 0, sizeof *h);
    wanted.steps = 12;
    wanted.eval_every = 5;
    wanted.eval_batches = 6;
    wanted.progress = hear_step;
    wanted.progress_user = h;
    h->act_at = 7;
    h->touch = touch;
    h->io = io;
    h->model = model_of(&desc);
    h->trainer = trainer_of(h->model, wanted, gpu, WCOH_ISA_AUTO);
    CHECK(wcoh_trainer_set_data(h->trainer, text, TEXT / 2, text + TEXT / 2, TEXT / 2, &error) ==
          WCOH_OK);
    if (how == AT_ONCE) result = wcoh_trainer_run(h->trainer, -1, NULL, &error);
    while (!result && h->evaluations < 3)
        result = how == IN_SLICES ? wcoh_trainer_run(h->trainer, 20, NULL, &error)
                                  : wcoh_trainer_step(h->trainer, NULL, &error);
    CHECK_SAY(result == WCOH_OK, "%s", error.text);
    CHECK(h->evaluations == 3);
    CHECK(how == AT_ONCE ? h->ahead == 9 : how == IN_SLICES || h->ahead == 0);
    wcoh_trainer_destroy(h->trainer);
    wcoh_model_destroy(h->model);
}

static unsigned char file[1 << 20], other_file[1 << 20];

/* The loss of the step after a checkpoint. */
static double resumed_loss(const wcoh_io *io)
{
    wcoh_model *model = NULL;
    wcoh_trainer *trainer;
    wcoh_stats stats;
    wcoh_error error;
    memset(&stats, 0, sizeof stats);
    if (!CHECK_SAY(wcoh_model_load(&model, io, NULL, &error) == WCOH_OK, "%s", error.text))
        return 0;
    trainer = trainer_of(model, small_trainer(), gpu, WCOH_ISA_AUTO);
    CHECK_SAY(wcoh_trainer_resume(trainer, io, &error) == WCOH_OK, "%s", error.text);
    CHECK_SAY(wcoh_trainer_step(trainer, &stats, &error) == WCOH_OK, "%s", error.text);
    CHECK(stats.step == 8);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    return stats.train_loss;
}

/* A run begins the next step before it reports one; what the callback sees, saves and changes is
   that of the step reported, bit for bit. */
static void looking_ahead_shows_in_nothing(void)
{
    static const char *const what[] = {"saving", "changing a parameter"};
    int touch, how;
    for (touch = 0; touch < 2; touch++) {
        wcoh_memory_file blocks[2];
        wcoh_io io[2];
        heard runs[2];
        memset(blocks, 0, sizeof blocks);
        blocks[0].data = file;
        blocks[1].data = other_file;
        blocks[0].capacity = blocks[1].capacity = sizeof file;
        io[0] = wcoh_io_memory(&blocks[0]);
        io[1] = wcoh_io_memory(&blocks[1]);
        heard_run(&runs[0], STEP_BY_STEP, &io[0], touch);
        for (how = AT_ONCE; how <= IN_SLICES; how++) {
            blocks[1].used = 0;
            heard_run(&runs[1], how, &io[1], touch);
            CHECK_SAY(memcmp(runs[0].losses, runs[1].losses, sizeof runs[0].losses) == 0, "%s",
                      what[touch]);
            CHECK_NEAR(runs[0].val, runs[1].val, 0);
            if (!touch) CHECK_NEAR(resumed_loss(&io[0]), resumed_loss(&io[1]), 0);
        }
    }
}

static int halve(wcoh_real *gradient, size_t count, void *user)
{
    size_t i;
    for (i = 0; i < count; i++) gradient[i] *= 0.5f;
    ++*(int *)user;
    return 0;
}

/* Another process's gradient comes in through host memory, before clipping. */
static void gradients_are_reduced_on_the_host(void)
{
    wcoh_model_desc desc = small_model();
    wcoh_stats stats[2];
    int i, calls = 0;
    for (i = 0; i < 2; i++) {
        wcoh_trainer_desc wanted = small_trainer();
        wcoh_model *model = model_of(&desc);
        wcoh_trainer *trainer;
        wcoh_error error;
        wanted.steps = 6;
        wanted.clip = 1e-3;
        wanted.all_reduce = halve;
        wanted.all_reduce_user = &calls;
        trainer = trainer_of(model, wanted, i ? gpu : NULL, WCOH_ISA_AUTO);
        CHECK_SAY(wcoh_trainer_run(trainer, -1, &stats[i], &error) == WCOH_OK, "%s", error.text);
        wcoh_trainer_destroy(trainer);
        wcoh_model_destroy(model);
    }
    CHECK(calls == 12);
    CHECK_NEAR(stats[0].grad_norm, stats[1].grad_norm, 1e-4 * stats[0].grad_norm);
    CHECK_NEAR(stats[0].train_loss, stats[1].train_loss, 1e-5);
}

static int whole_bucket(const wcoh_bucket *bucket, void *user)
{
    int *bad = (int *)user;
    *bad += !bucket->last || bucket->first != 0 || bucket->nats == NULL;
    return 0;
}

/* Micro-batches summed in a tree on the host, and a bucket that holds all: the losses of sums on the
   device, to rounding. */
static void gradients_are_summed_in_a_tree(void)
{
    wcoh_model_desc desc = small_model();
    wcoh_stats stats[3];
    int i, bad = 0;
    for (i = 0; i < 3; i++) {
        wcoh_trainer_desc wanted = small_trainer();
        wcoh_model *model = model_of(&desc);
        wcoh_trainer *trainer;
        wcoh_error error;
        wanted.steps = 5;
        wanted.accumulate = 4;
        if (i) wanted.deterministic = WCOH_SWITCH_ON;
        if (i) wanted.all_reduce_bucket = whole_bucket;
        wanted.all_reduce_user = &bad;
        trainer = trainer_of(model, wanted, i < 2 ? gpu : NULL, WCOH_ISA_AUTO);
        CHECK_SAY(wcoh_trainer_run(trainer, -1, &stats[i], &error) == WCOH_OK, "%s", error.text);
        wcoh_trainer_destroy(trainer);
        wcoh_model_destroy(model);
    }
    CHECK(bad == 0);
    for (i = 0; i < 3; i += 2) {
        CHECK(stats[i].tokens == stats[1].tokens);
        CHECK_NEAR(stats[i].train_loss, stats[1].train_loss, 1e-5);
        CHECK_NEAR(stats[i].grad_norm, stats[1].grad_norm, 1e-4 * stats[1].grad_norm);
    }
}

/* Three steps on `first`, a checkpoint, three more on `second`; the loss of the sixth. */
static double crossing(wcoh_device *first, wcoh_device *second)
{
    wcoh_memory_file block;
    wcoh_io io;
    wcoh_model_desc desc = small_model();
    wcoh_model *model = model_of(&desc), *loaded = NULL;
    wcoh_trainer *trainer = trainer_of(model, small_trainer(), first, WCOH_ISA_AUTO);
    wcoh_stats stats;
    wcoh_error error;
    int i;
    memset(&stats, 0, sizeof stats);
    memset(&block, 0, sizeof block);
    block.data = file;
    block.capacity = sizeof file;
    io = wcoh_io_memory(&block);
    for (i = 0; trainer && i < 3; i++) CHECK(wcoh_trainer_step(trainer, &stats, &error) == WCOH_OK);
    CHECK_SAY(wcoh_trainer_save(trainer, &io, &error) == WCOH_OK, "%s", error.text);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    if (!CHECK_SAY(wcoh_model_load(&loaded, &io, NULL, &error) == WCOH_OK, "%s", error.text))
        return 0;
    trainer = trainer_of(loaded, small_trainer(), second, WCOH_ISA_AUTO);
    CHECK_SAY(wcoh_trainer_resume(trainer, &io, &error) == WCOH_OK, "%s", error.text);
    for (i = 0; trainer && i < 3; i++) CHECK(wcoh_trainer_step(trainer, &stats, &error) == WCOH_OK);
    CHECK(stats.step == 6);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(loaded);
    return stats.train_loss;
}

static void checkpoints_cross_both_ways(void)
{
    double stay = crossing(gpu, gpu), up = crossing(NULL, gpu), down = crossing(gpu, NULL);
    double losses[6];
    losses_of(gpu, 6, losses);
    CHECK_NEAR(stay, losses[5], 0); /* as if never stopped, bit for bit */
    CHECK_NEAR(up, losses[5], 1e-5);
    CHECK_NEAR(down, losses[5], 1e-5);
}

static void parameters_come_back_to_the_host(void)
{
    wcoh_model_desc desc = small_model();
    wcoh_model *cpu = model_of(&desc), *dev = model_of(&desc);
    wcoh_trainer *a = trainer_of(cpu, small_trainer(), NULL, WCOH_ISA_AUTO);
    wcoh_trainer *b = trainer_of(dev, small_trainer(), gpu, WCOH_ISA_AUTO);
    wcoh_eval_desc eval;
    wcoh_error error;
    double x = 0, y = 0;
    size_t scored;
    int i;
    memset(&eval, 0, sizeof eval);
    eval.seq = 13;
    for (i = 0; i < 3; i++) {
        CHECK(wcoh_trainer_step(a, NULL, &error) == WCOH_OK);
        CHECK(wcoh_trainer_step(b, NULL, &error) == WCOH_OK);
    }
    CHECK(wcoh_trainer_sync(b, &error) == WCOH_OK);
    CHECK(wcoh_model_evaluate(dev, &eval, text, 500, &x, &scored, &error) == WCOH_OK);
    eval.device = gpu;
    CHECK(wcoh_model_evaluate(dev, &eval, text, 500, &y, &scored, &error) == WCOH_OK);
    CHECK_NEAR(x, y, 1e-5);
    CHECK(wcoh_model_evaluate(cpu, &eval, text, 500, &y, &scored, &error) == WCOH_OK);
    CHECK_NEAR(x, y, 1e-3);
    wcoh_trainer_destroy(a);
    wcoh_trainer_destroy(b);
    wcoh_model_destroy(cpu);
    wcoh_model_destroy(dev);
}

/* Each token's loss, of an evaluation and of a trainer's: the CPU's to rounding (1e-4: of one token),
   their mean the loss that is told; the total is what it is without them. */
static void losses_of_tokens_are_those_of_the_cpu(void)
{
    static wcoh_real losses[4][500];
    wcoh_model_desc desc = small_model();
    wcoh_model *model = model_of(&desc);
    wcoh_eval_desc eval;
    wcoh_error error;
    double loss[2] = {0, 0}, plain = 0, mean;
    size_t scored, k;
    int i;
    memset(&eval, 0, sizeof eval);
    eval.seq = 13;
    eval.batch = 5;
    eval.device = gpu;
    CHECK(wcoh_model_evaluate(model, &eval, text, 500, &plain, &scored, &error) == WCOH_OK);
    for (i = 0; i < 2; i++) {
        wcoh_trainer *trainer = trainer_of(model, small_trainer(), i ? gpu : NULL, WCOH_ISA_AUTO);
        eval.device = i ? gpu : NULL;
        eval.losses = losses[i];
        eval.loss_count = 500;
        CHECK(wcoh_model_evaluate(model, &eval, text, 500, &loss[i], &scored, &error) == WCOH_OK);
        for (k = 1, mean = 0; k <= scored; k++) mean += (double)losses[i][k] / (double)scored;
        CHECK_NEAR(mean, loss[i], 1e-6);
        CHECK(losses[i][0] == -1 && losses[i][scored + 1] == -1);
        CHECK(wcoh_trainer_set_data(trainer, text, 400, text, 500, &error) == WCOH_OK);
        CHECK(wcoh_trainer_set_losses(trainer, losses[2 + i], 500, &error) == WCOH_OK);
        CHECK(wcoh_trainer_evaluate(trainer, &mean, &error) == WCOH_OK);
        wcoh_trainer_destroy(trainer);
    }
    CHECK(loss[1] == plain);
    for (k = 0; k < 500; k++) {
        CHECK_NEAR((double)losses[1][k], (double)losses[0][k], 1e-4);
        CHECK_NEAR((double)losses[3][k], (double)losses[2][k], 1e-4);
    }
    wcoh_model_destroy(model);
}

/* The mean of the weights is taken on the host: as on the CPU, to the devices' rounding (1e-5, as above);
   lent to the device it is evaluated there, and given back to the bit. */
static void means_are_those_of_the_cpu(void)
{
    wcoh_model_desc desc = small_model();
    double loss[2], own[2];
    int i, step;
    for (i = 0; i < 2; i++) {
        wcoh_model *model = model_of(&desc);
        wcoh_trainer_desc training = small_trainer();
        wcoh_trainer *trainer;
        wcoh_error error;
        training.ema = 4;
        trainer = trainer_of(model, training, i ? gpu : NULL, WCOH_ISA_AUTO);
        CHECK(wcoh_trainer_set_data(trainer, text, 400, text + 400, 99, &error) == WCOH_OK);
        for (step = 0; step < 4; step++) CHECK(wcoh_trainer_step(trainer, NULL, &error) == WCOH_OK);
        CHECK(wcoh_trainer_mean(trainer, 1, &error) == WCOH_OK);
        CHECK(wcoh_trainer_gradient(trainer, text, text + 1, 1, 8, &own[i], &error) == WCOH_OK);
        CHECK(wcoh_trainer_mean(trainer, 1, &error) == WCOH_OK);
        CHECK(wcoh_trainer_sync(trainer, &error) == WCOH_OK);
        CHECK(wcoh_trainer_evaluate(trainer, &loss[i], &error) == WCOH_OK);
        wcoh_trainer_destroy(trainer);
        wcoh_model_destroy(model);
    }
    CHECK_NEAR(loss[1], loss[0], 1e-5);
    CHECK_NEAR(own[1], own[0], 1e-5);
}

/* Square of the gradient and its product with those before: as on the CPU, with AdamW and Muon, clipped
   and not, a layer frozen. Each product is off by a few roundings: to 1e-5 of the square. */
static void noise_is_that_of_the_cpu(void)
{
    int muon, i, step;
    for (muon = 0; muon < 2; muon++) {
        double square[2], along[2], scale[2];
        for (i = 0; i < 2; i++) {
            wcoh_model_desc desc = small_model();
            wcoh_model *model = model_of(&desc);
            wcoh_trainer_desc training = small_trainer();
            wcoh_trainer *trainer;
            wcoh_stats stats;
            wcoh_error error;
            training.optimizer = muon ? WCOH_OPTIMIZER_MUON : WCOH_OPTIMIZER_ADAMW;
            training.clip = muon ? 0.05 : -1;
            training.lr = training.muon_lr = 1e-5; /* where steps lead differs by more */
            CHECK(wcoh_model_freeze(model, "blocks.0.*", 1, &error) == WCOH_OK);
            trainer = trainer_of(model, training, i ? gpu : NULL, WCOH_ISA_AUTO);
            CHECK(wcoh_trainer_set_data(trainer, text, 400, text + 400, 99, &error) == WCOH_OK);
            CHECK(wcoh_trainer_step(trainer, &stats, &error) == WCOH_OK && stats.noise_scale == 0);
            for (step = 0; step < 6; step++)
                CHECK(wcoh_trainer_step(trainer, &stats, &error) == WCOH_OK);
            square[i] = trainer->state.square;
            along[i] = trainer->state.along;
            scale[i] = stats.noise_scale;
            wcoh_trainer_destroy(trainer);
            wcoh_model_destroy(model);
        }
        CHECK(square[0] > 0 && along[0] > 0 && scale[0] > 0);
        CHECK_NEAR(square[1], square[0], 1e-5 * square[0]);
        CHECK_NEAR(along[1], along[0], 1e-5 * square[0]);
        CHECK_NEAR(scale[1], scale[0], 1e-4 * scale[0]);
    }
}

/* What gain control saw in eleven steps of two micro-batches, past the nine that overwrite, and nothing
   where the gradient is not taken: of magnitudes near 1, to 1e-5. */
static void gain_control_sees_what_it_does_on_the_cpu(void)
{
    wcoh_model_desc desc = small_model();
    wcoh_real seen[2][3];
    int i, step;
    settings_apply(WCOH_DESC_MODEL, &desc, "ffn=kerr gain_control=on ceiling=1.2");
    for (i = 0; i < 2; i++) {
        wcoh_model *model = model_of(&desc);
        wcoh_trainer_desc training = small_trainer();
        wcoh_trainer *trainer;
        wcoh_param param;
        wcoh_error error;
        training.accumulate = 2;
        training.lr = 1e-4;
        trainer = trainer_of(model, training, i ? gpu : NULL, WCOH_ISA_AUTO);
        CHECK(wcoh_trainer_set_data(trainer, text, 400, text + 400, 99, &error) == WCOH_OK);
        for (step = 0; step < 11; step++)
            CHECK(wcoh_trainer_step(trainer, NULL, &error) == WCOH_OK);
        CHECK(wcoh_trainer_sync(trainer, &error) == WCOH_OK);
        CHECK(wcoh_model_param(model, wcoh_model_param_find(model, "blocks.0.ffn.seen"), &param,
                               &error) == WCOH_OK);
        memcpy(seen[i], param.data, sizeof seen[i]);
        wcoh_trainer_destroy(trainer);
        wcoh_model_destroy(model);
    }
    CHECK(seen[0][2] == 9 && seen[1][2] == 9 && seen[0][0] > 0.3);
    CHECK_NEAR((double)seen[1][0], (double)seen[0][0], 1e-5);
    CHECK_NEAR((double)seen[1][1], (double)seen[0][1], 1e-5);
}

/* Parameters written on the host are the device's from then on, whenever that is. */
static void parameters_written_on_the_host_count(void)
{
    wcoh_model_desc desc = small_model();
    double after[2];
    int i;
    for (i = 0; i < 2; i++) {
        wcoh_model *model = model_of(&desc);
        wcoh_trainer *trainer = trainer_of(model, small_trainer(), i ? gpu : NULL, WCOH_ISA_AUTO);
        wcoh_param param;
        wcoh_error error;
        double loss;
        float before;
        wcoh_model_param(model, wcoh_model_param_find(model, "head.weight"), &param, NULL);
        before = param.data[1];
        CHECK(before != 0 && wcoh_trainer_sync(trainer, &error) == WCOH_OK); /* before any pass */
        CHECK_NEAR(param.data[1], before, 0);
        CHECK(wcoh_trainer_gradient(trainer, text, text + 1, 2, 13, &loss, &error) == WCOH_OK);
        param.data[1] = 5;
        wcoh_model_touch(model);
        CHECK(wcoh_trainer_update(trainer, NULL, &error) == WCOH_OK);
        CHECK(wcoh_trainer_sync(trainer, &error) == WCOH_OK);
        after[i] = param.data[1];
        CHECK(wcoh_trainer_loss(trainer, text, text + 1, 2, 13, &loss, &error) == WCOH_OK);
        CHECK(wcoh_trainer_gradient(trainer, text, text + 1, 2, 13, &loss, &error) == WCOH_OK);
        wcoh_trainer_destroy(trainer);
        wcoh_model_destroy(model);
    }
    CHECK(after[0] != 5);
    CHECK_NEAR(after[1], after[0], 1e-5);
}

/* A forward pass between a gradient and its update changes nothing, not even if its loss is none. */
static void a_loss_between_gradient_and_update_does_not_count(void)
{
    wcoh_model_desc desc = small_model();
    int i;
    for (i = 0; i < 2; i++) {
        wcoh_model *model = model_of(&desc);
        wcoh_trainer *trainer = trainer_of(model, small_trainer(), i ? gpu : NULL, WCOH_ISA_AUTO);
        uint32_t ones[26];
        wcoh_param param;
        wcoh_error error;
        double loss;
        int k;
        for (k = 0; k < 26; k++) ones[k] = 1;
        wcoh_model_param(model, wcoh_model_param_find(model, "embed.weight"), &param, NULL);
        param.data[2 * desc.bands * 64] = NAN; /* of symbol 64 */
        wcoh_model_touch(model);
        CHECK(wcoh_trainer_gradient(trainer, ones, ones, 2, 13, &loss, &error) == WCOH_OK);
        CHECK(wcohi_is_finite(loss));
        ones[3] = 64;
        wcoh_trainer_loss(trainer, ones, ones, 2, 13, &loss, &error);
        CHECK(!wcohi_is_finite(loss));
        CHECK_SAY(wcoh_trainer_update(trainer, NULL, &error) == WCOH_OK, "%s", error.text);
        wcoh_trainer_destroy(trainer);
        wcoh_model_destroy(model);
    }
}

static void a_gradient_that_is_not_finite_changes_nothing(void)
{
    wcoh_model_desc desc = small_model();
    wcoh_model *model = model_of(&desc);
    wcoh_trainer *trainer = trainer_of(model, small_trainer(), gpu, WCOH_ISA_AUTO);
    wcoh_param param;
    wcoh_stats stats;
    wcoh_error error;
    float before;
    wcoh_model_param(model, wcoh_model_param_find(model, "head.weight"), &param, NULL);
    before = param.data[1];
    param.data[0] = 3e38f;
    wcoh_model_touch(model);
    CHECK(wcoh_trainer_step(trainer, &stats, &error) == WCOH_E_NUMERIC);
    CHECK(stats.step == 0);
    CHECK(wcoh_trainer_sync(trainer, &error) == WCOH_OK);
    CHECK_NEAR(param.data[1], before, 0);
    param.data[0] = 0;
    wcoh_model_touch(model);
    CHECK_SAY(wcoh_trainer_step(trainer, &stats, &error) == WCOH_OK, "%s", error.text);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* A process that sends one huge number in its third gradient. */
static int burst(wcoh_real *gradient, size_t count, void *user)
{
    double *huge = (double *)user;
    (void)count;
    if (huge[0]-- < 1) gradient[0] = (wcoh_real)huge[1];
    return 0;
}

/* Without clipping, one whose square is no float (or almost none) would turn a moment infinite: as on
   the CPU it is refused at its step, and a checkpoint can still be saved. */
static void a_huge_gradient_is_refused(void)
{
    static const double numbers[] = {3e38, -1.5e19, 9.9e18, -3e18};
    wcoh_model_desc desc = small_model();
    size_t i;
    int step;
    for (i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        wcoh_trainer_desc wanted = small_trainer();
        wcoh_model *model = model_of(&desc);
        wcoh_trainer *trainer;
        wcoh_memory_file block;
        wcoh_io io;
        wcoh_stats stats;
        wcoh_error error;
        double huge[2] = {2, 0};
        huge[1] = numbers[i];
        memset(&block, 0, sizeof block);
        block.data = file;
        block.capacity = sizeof file;
        io = wcoh_io_memory(&block);
        wanted.clip = -1;
        wanted.all_reduce = burst;
        wanted.all_reduce_user = huge;
        trainer = trainer_of(model, wanted, gpu, WCOH_ISA_AUTO);
        for (step = 0; step < 2; step++)
            CHECK(wcoh_trainer_step(trainer, &stats, &error) == WCOH_OK);
        CHECK(wcoh_trainer_step(trainer, &stats, &error) == (i < 2 ? WCOH_E_NUMERIC : WCOH_OK));
        if (i < 2) CHECK_TEXT(error.text, "the gradient of step 3 ");
        huge[0] = 100;
        for (step = 0; step < 4; step++)
            CHECK(wcoh_trainer_step(trainer, &stats, &error) == WCOH_OK);
        CHECK(stats.step == (i < 2 ? 6 : 7));
        CHECK_SAY(wcoh_trainer_save(trainer, &io, &error) == WCOH_OK, "%s", error.text);
        wcoh_trainer_destroy(trainer);
        wcoh_model_destroy(model);
    }
}

/* ---- the device's life ----------------------------------------------------------------------- */

static void devices_are_listed(void)
{
    wcoh_vk_info info[8], own;
    wcoh_error error;
    int count = 0;
    CHECK(wcoh_vk_device_list(NULL, info, 8, &count, &error) == WCOH_OK);
    CHECK(count >= 1 && info[0].name[0] && info[0].api_version);
    CHECK(wcoh_vk_device_list(NULL, NULL, 0, &count, &error) == WCOH_OK);
    wcoh_vk_device_info(gpu, &own);
    CHECK(own.usable && own.name[0]);
}

static void failures_say_what_is_missing(void)
{
    wcoh_vk_instance *instance = (wcoh_vk_instance *)(void *)&messages;
    wcoh_vk_desc desc;
    wcoh_error error;
    memset(&desc, 0, sizeof desc);
    desc.library = "/nowhere/libvulkan.so";
    CHECK(refusal(&desc, &error) == WCOH_E_DEVICE);
    CHECK_TEXT(error.text, "/nowhere/libvulkan.so");
    desc.library = NULL;
    desc.index = -1;
    CHECK(refusal(&desc, &error) == WCOH_E_ARGUMENT);
    desc.index = 0;
    desc.queue = &messages;
    CHECK(refusal(&desc, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "all or none");
    memset(&desc, 0, sizeof desc);
    desc.shared = (const wcoh_vk_instance *)(const void *)&messages;
    desc.library = "libvulkan.so.1";
    CHECK(refusal(&desc, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "shared: ");
    CHECK(wcoh_vk_instance_create(NULL, &desc, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_vk_instance_create(&instance, &desc, &error) == WCOH_E_ARGUMENT && !instance);
    wcoh_vk_instance_destroy(NULL);
}

static void a_device_too_small_is_refused_by_name(void)
{
    wcoh_vk_desc desc;
    wcoh_error error;
    memset(&desc, 0, sizeof desc);
    memset(&fake, 0, sizeof fake);
    desc.get_instance_proc = fake_get_instance_proc;
    fake.shared = 16384; /* the least that Vulkan allows */
    CHECK(refusal(&desc, &error) == WCOH_E_UNSUPPORTED);
    CHECK_TEXT(error.text, "16384 bytes of shared memory");
    CHECK(fake.live == 0);
}

static void wrong_choices_say_what_there_is(void)
{
    wcoh_vk_desc desc;
    wcoh_error error;
    memset(&desc, 0, sizeof desc);
    desc.index = 99;
    CHECK(refusal(&desc, &error) == WCOH_E_DEVICE);
    CHECK_TEXT(error.text, "index is 99");
    desc.index = 0;
    desc.name = "no such device";
    CHECK(refusal(&desc, &error) == WCOH_E_DEVICE);
    CHECK_TEXT(error.text, "no such device");
}

static void what_does_not_fit_is_refused(void)
{
    wcoh_model_desc desc = small_model();
    wcoh_model *model = model_of(&desc);
    wcoh_trainer_desc wanted;
    wcoh_trainer *trainer = (wcoh_trainer *)model;
    wcoh_error error;
    wcoh_result result;
    memset(&wanted, 0, sizeof wanted);
    wanted.device = gpu;
    wanted.batch = 1 << 19;
    wanted.seq = 256;
    result = wcoh_trainer_create(&trainer, model, &wanted, &error);
    CHECK(result == WCOH_E_UNSUPPORTED || result == WCOH_E_MEMORY);
    CHECK(trainer == NULL);
    wanted.batch = 2;
    wanted.seq = 8;
    CHECK(wcoh_trainer_create(&trainer, model, &wanted, &error) == WCOH_OK); /* goes on */
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* A limit that is small enough to be tried out: the batch named fits, one more does not. */
static void a_refusal_names_the_largest_batch(void)
{
    wcohi_vk *vk = (wcohi_vk *)gpu;
    uint64_t heap = vk->info.memory;
    uint32_t range = vk->limits.maxStorageBufferRange;
    wcoh_model_desc desc = small_model();
    wcoh_model *model = model_of(&desc);
    int round;
    for (round = 0; round < 2; round++) {
        wcoh_trainer_desc wanted;
        wcoh_trainer *trainer = NULL;
        wcoh_vk_bytes bytes;
        wcoh_error error, same;
        const char *named;
        int fits = 0;
        memset(&wanted, 0, sizeof wanted);
        wanted.device = gpu;
        wanted.batch = 4000;
        wanted.seq = 33;
        if (round) vk->info.memory = 1 << 22;
        else vk->limits.maxStorageBufferRange = 1 << 17;
        CHECK(wcoh_trainer_create(&trainer, model, &wanted, &error) ==
              (round ? WCOH_E_MEMORY : WCOH_E_UNSUPPORTED));
        CHECK(wcoh_vk_trainer_bytes(gpu, &desc, &wanted, &bytes, &same) == error.code);
        CHECK(strcmp(error.text, same.text) == 0);
        named = strstr(error.text, "the largest batch that fits is ");
        if (CHECK_SAY(named != NULL, "%s", error.text)) fits = atoi(named + 31);
        CHECK_SAY(fits > 1, "%s", error.text);
        wanted.batch = fits + 1;
        CHECK(wcoh_trainer_create(&trainer, model, &wanted, &error) != WCOH_OK);
        wanted.batch = fits;
        CHECK(wcoh_trainer_create(&trainer, model, &wanted, &error) == WCOH_OK);
        wcoh_trainer_destroy(trainer);
        vk->info.memory = heap;
        vk->limits.maxStorageBufferRange = range;
    }
    wcoh_model_destroy(model);
}

static uint64_t buffers_made;
static PFN_vkCreateBuffer real_create_buffer;

static VKAPI_ATTR VkResult VKAPI_CALL counted_buffer(VkDevice device,
                                                     const VkBufferCreateInfo *info,
                                                     const VkAllocationCallbacks *allocator,
                                                     VkBuffer *buffer)
{
    buffers_made += info->size;
    return real_create_buffer(device, info, allocator, buffer);
}

static void bytes_are_known_before_anything_is_made(void)
{
    static const char *const settings[] = {
        "", "attention=rotary ffn=mlp bands=34 heads=2 block=sequential",
        "solver=rk4 head=tied embedding_trained=on position=learned context=40 taps=2"};
    wcohi_vk *vk = (wcohi_vk *)gpu;
    static const struct {
        wcoh_preset preset;
        unsigned most; /* dispatches of a step, 64 x 256 */
    } steps[] = {{WCOH_PRESET_WAVE_1, 108}, {WCOH_PRESET_WAVE, 148}};
    wcoh_model_desc preset;
    wcoh_trainer_desc wanted;
    wcoh_vk_bytes bytes;
    wcoh_error error;
    int i;
    memset(&wanted, 0, sizeof wanted);
    real_create_buffer = vk->root.api.CreateBuffer;
    vk->root.api.CreateBuffer = counted_buffer;
    for (i = 0; i < 3; i++) {
        wcoh_model_desc desc = model_desc_of("vocab=65 layers=2");
        wcoh_model *model;
        wcoh_trainer *trainer = NULL;
        settings_apply(WCOH_DESC_MODEL, &desc, settings[i]);
        wanted.batch = 3 + i;
        wanted.seq = 37;
        wanted.dropout = i == 1 ? 0.1 : 0;
        wanted.optimizer = i == 2 ? WCOH_OPTIMIZER_MUON : WCOH_OPTIMIZER_ADAMW;
        wanted.device = NULL; /* it need not be there yet */
        buffers_made = 0;
        CHECK_SAY(wcoh_vk_trainer_bytes(gpu, &desc, &wanted, &bytes, &error) == WCOH_OK, "%s",
                  error.text);
        CHECK(buffers_made == 0 && bytes.activations > 0 && bytes.scratch > 0);
        CHECK(bytes.parameters + bytes.activations + bytes.scratch < bytes.device);
        model = model_of(&desc);
        wanted.device = gpu;
        CHECK(wcoh_trainer_create(&trainer, model, &wanted, &error) == WCOH_OK);
        CHECK_SAY(bytes.device + bytes.host == buffers_made, "%s: %.0f bytes, %.0f made",
                  settings[i], (double)(bytes.device + bytes.host), (double)buffers_made);
        wcoh_trainer_destroy(trainer);
        wcoh_model_destroy(model);
    }
    vk->root.api.CreateBuffer = real_create_buffer;
    memset(&wanted, 0, sizeof wanted);
    wanted.batch = 64;
    wanted.seq = 256;
    for (i = 0; i < (int)(sizeof steps / sizeof *steps); i++) {
        preset = wcoh_model_preset(steps[i].preset, 65);
        CHECK(wcoh_vk_trainer_bytes(gpu, &preset, &wanted, &bytes, &error) == WCOH_OK);
        CHECK_SAY(bytes.dispatches > 100 && bytes.dispatches <= steps[i].most, "%u",
                  bytes.dispatches);
    }
    CHECK(wcoh_vk_trainer_bytes(NULL, NULL, &wanted, &bytes, &error) == WCOH_E_ARGUMENT);
}

/* An allocator for Vulkan that counts; the size stands before each block. */
static VKAPI_ATTR void *VKAPI_CALL host_alloc(void *user, size_t size, size_t align,
                                              VkSystemAllocationScope scope)
{
    size_t pad = align < 32 ? 32 : align;
    unsigned char *raw = (unsigned char *)malloc(size + 2 * pad), *at;
    (void)scope;
    if (!raw) return NULL;
    at = raw + pad;
    at += (pad - (uintptr_t)at % pad) % pad;
    memcpy(at - 8, &raw, sizeof raw);
    memcpy(at - 16, &size, sizeof size);
    ++*(long *)user;
    return at;
}

static VKAPI_ATTR void VKAPI_CALL host_free(void *user, void *memory)
{
    unsigned char *raw;
    if (!memory) return;
    memcpy(&raw, (unsigned char *)memory - 8, sizeof raw);
    --*(long *)user;
    free(raw);
}

static VKAPI_ATTR void *VKAPI_CALL host_realloc(void *user, void *memory, size_t size, size_t align,
                                                VkSystemAllocationScope scope)
{
    size_t old = 0;
    void *moved = size ? host_alloc(user, size, align, scope) : NULL;
    if (memory) memcpy(&old, (unsigned char *)memory - 16, sizeof old);
    if (memory && moved) memcpy(moved, memory, old < size ? old : size);
    if (moved || !size) host_free(user, memory);
    return moved;
}

/* Callbacks that count in `live`. */
static VkAllocationCallbacks host_callbacks(long *live)
{
    VkAllocationCallbacks callbacks;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.pUserData = live;
    callbacks.pfnAllocation = host_alloc;
    callbacks.pfnReallocation = host_realloc;
    callbacks.pfnFree = host_free;
    return callbacks;
}

/* `most` devices, one after the other; shared NULL: each opens Vulkan itself. */
static void devices_come_and_go(const wcoh_vk_instance *shared, int most)
{
    wcoh_vk_desc desc;
    VkAllocationCallbacks callbacks;
    counting host;
    long live = 0;
    int i;
    memset(&desc, 0, sizeof desc);
    memset(&host, 0, sizeof host);
    callbacks = host_callbacks(&live);
    desc.allocator = &callbacks;
    desc.shared = shared;
    desc.memory = counting_memory(&host);
    for (i = 0; i < most; i++) {
        wcoh_device *device;
        wcoh_error error;
        if (!CHECK_SAY(wcoh_vk_device_create(&device, &desc, &error) == WCOH_OK, "device %d: %s", i,
                       error.text))
            break;
        wcoh_device_destroy(device);
    }
    CHECK_SAY(live == 0, "%ld Vulkan allocations live", live);
    CHECK_SAY(host.live == 0 && host.calls == most, "%ld blocks live", host.live);
}

/* A program that restarts, within one process: each time it opens Vulkan, makes a device and trains. */
static void twenty_whole_cycles_leave_nothing(void)
{
    double first[2], losses[2];
    int i;
    for (i = 0; i < 20; i++) {
        wcoh_device *device = NULL;
        wcoh_error error;
        if (!CHECK_SAY(wcoh_vk_device_create(&device, NULL, &error) == WCOH_OK, "cycle %d: %s", i,
                       error.text))
            break;
        if (i % 10 == 0) losses_of(device, 2, i ? losses : first);
        if (i == 10) CHECK(memcmp(losses, first, sizeof first) == 0);
        wcoh_device_destroy(device);
    }
    devices_come_and_go(NULL, 3);
}

/* 1,000 with --full. Two at once give what one gives, and what it lists is what there is. */
static void devices_share_an_instance(int most)
{
    wcoh_vk_desc desc;
    wcoh_vk_instance *shared = NULL;
    VkAllocationCallbacks callbacks;
    wcoh_device *both[2] = {NULL, NULL};
    wcoh_vk_info listed[1], own;
    counting host;
    wcoh_error error;
    double losses[2][2];
    long live = 0;
    int i, count = 0;
    memset(&desc, 0, sizeof desc);
    memset(&host, 0, sizeof host);
    callbacks = host_callbacks(&live);
    desc.allocator = &callbacks;
    desc.memory = counting_memory(&host);
    if (!CHECK_SAY(wcoh_vk_instance_create(&shared, &desc, &error) == WCOH_OK, "%s", error.text))
        return;
    devices_come_and_go(shared, most);
    memset(&desc, 0, sizeof desc);
    desc.shared = shared;
    CHECK(wcoh_vk_device_list(&desc, listed, 1, &count, &error) == WCOH_OK && count >= 1);
    for (i = 0; i < 2; i++)
        CHECK_SAY(wcoh_vk_device_create(&both[i], &desc, &error) == WCOH_OK, "%s", error.text);
    for (i = 0; i < 2; i++) losses_of(both[i], 2, losses[i]);
    CHECK(memcmp(losses[0], losses[1], sizeof losses[0]) == 0);
    wcoh_vk_device_info(both[0], &own);
    CHECK(own.usable && listed[0].name[0]);
    for (i = 0; i < 2; i++) wcoh_device_destroy(both[i]);
    wcoh_vk_instance_destroy(shared);
    CHECK_SAY(live == 0 && host.live == 0, "%ld Vulkan allocations, %ld blocks live", live,
              host.live);
}

static void devices_on_one_instance_leave_nothing(void) { devices_share_an_instance(60); }
static void a_thousand_devices_on_one_instance_leave_nothing(void)
{
    devices_share_an_instance(1000);
}

/* The whole life of a trainer and a session through a program's own objects. */
static void a_host_program_lends_its_device(void)
{
    wcohi_vk *lender = (wcohi_vk *)gpu;
    wcoh_vk_desc desc;
    wcoh_device *own = gpu, *device = NULL;
    wcoh_error error;
    double losses[2], again[2];
    memset(&desc, 0, sizeof desc);
    desc.instance = lender->root.instance;
    desc.physical_device = lender->physical;
    desc.device = lender->device;
    desc.queue = lender->queue;
    desc.family = lender->family;
    if (!CHECK_SAY(wcoh_vk_device_create(&device, &desc, &error) == WCOH_OK, "%s", error.text))
        return;
    losses_of(device, 2, losses);
    wcoh_device_destroy(device);
    losses_of(own, 2, again); /* the lender's still works */
    CHECK(memcmp(losses, again, sizeof losses) == 0);
}

/* ---- faults at every call, through the function table ---------------------------------------- */

/* A device, two steps of a trainer and three more that look ahead, two of a session. The first
   failure, or WCOH_OK. */
static wcoh_result fake_life(wcoh_model *model, counting *host, wcoh_error *error)
{
    wcoh_vk_desc desc;
    wcoh_device *device = NULL;
    wcoh_trainer_desc wanted = small_trainer();
    wcoh_trainer *trainer = NULL;
    wcoh_session_desc asked;
    wcoh_session *session = NULL;
    wcoh_result result;
    int i;
    memset(&desc, 0, sizeof desc);
    memset(&asked, 0, sizeof asked);
    desc.get_instance_proc = fake_get_instance_proc;
    desc.memory = wanted.memory = asked.memory = counting_memory(host);
    result = wcoh_vk_device_create(&device, &desc, error);
    wanted.device = asked.device = device;
    wanted.steps = 5;
    asked.prefill = 3;
    if (!result) result = wcoh_trainer_create(&trainer, model, &wanted, error);
    if (!result) result = wcoh_trainer_set_data(trainer, text, TEXT, NULL, 0, error);
    for (i = 0; !result && i < 2; i++) result = wcoh_trainer_step(trainer, NULL, error);
    if (!result) result = wcoh_trainer_run(trainer, -1, NULL, error);
    if (!result) result = wcoh_trainer_sync(trainer, error);
    if (!result) result = wcoh_session_create(&session, model, &asked, error);
    if (!result) result = wcoh_session_prefill(session, text, 5, error);
    if (!result) result = wcoh_session_step(session, 1, error);
    wcoh_session_destroy(session);
    wcoh_trainer_destroy(trainer);
    wcoh_device_destroy(device);
    return result;
}

static void faults_at_every_call_leave_nothing(void)
{
    static const VkResult codes[] = {VK_ERROR_DEVICE_LOST, VK_ERROR_OUT_OF_DEVICE_MEMORY,
                                     VK_ERROR_OUT_OF_HOST_MEMORY};
    wcoh_model_desc desc = small_model();
    wcoh_model *model = model_of(&desc);
    counting host;
    wcoh_error error;
    long calls, at;
    int c;
    memset(&host, 0, sizeof host);
    memset(&fake, 0, sizeof fake);
    CHECK_SAY(fake_life(model, &host, &error) == WCOH_OK, "%s", error.text);
    CHECK(fake.live == 0 && host.live == 0);
    calls = fake.calls;
    CHECK(calls > 300);
    for (c = 0; c < 3; c++)
        for (at = 1; at <= calls; at++) {
            wcoh_result result;
            memset(&fake, 0, sizeof fake);
            fake.fail_at = at;
            fake.code = codes[c];
            error.text[0] = 0;
            result = fake_life(model, &host, &error);
            CHECK_SAY(fake.hits == 1, "call %ld was not reached", at);
            CHECK_SAY(result != WCOH_OK || fake.optional, "call %ld: its failure went unheard", at);
            CHECK_SAY(result == WCOH_OK || error.text[0], "call %ld: no sentence", at);
            CHECK_SAY(fake.live == 0 && host.live == 0, "call %ld: %ld objects, %ld blocks live",
                      at, fake.live, host.live);
        }
    printf("faults: %ld calls, each failing in %d ways\n", calls, 3);
    wcoh_model_destroy(model);
}

/* An instance, what it lists, two devices on it. */
static wcoh_result fake_shared(counting *host, wcoh_error *error)
{
    wcoh_vk_desc desc;
    wcoh_vk_instance *shared = NULL;
    wcoh_device *devices[2] = {NULL, NULL};
    wcoh_result result;
    int i, count;
    memset(&desc, 0, sizeof desc);
    desc.get_instance_proc = fake_get_instance_proc;
    desc.memory = counting_memory(host);
    result = wcoh_vk_instance_create(&shared, &desc, error);
    CHECK(!result == (shared != NULL));
    desc.get_instance_proc = NULL;
    desc.shared = shared;
    if (!result) result = wcoh_vk_device_list(&desc, NULL, 0, &count, error);
    for (i = 0; i < 2 && !result; i++) result = wcoh_vk_device_create(&devices[i], &desc, error);
    for (i = 0; i < 2; i++) wcoh_device_destroy(devices[i]);
    wcoh_vk_instance_destroy(shared);
    return result;
}

static void faults_on_a_shared_instance_leave_nothing(void)
{
    counting host;
    wcoh_error error;
    long calls, blocks, at;
    memset(&host, 0, sizeof host);
    memset(&fake, 0, sizeof fake);
    CHECK_SAY(fake_shared(&host, &error) == WCOH_OK, "%s", error.text);
    calls = fake.calls;
    blocks = host.calls;
    CHECK(fake.live == 0 && host.live == 0 && calls > 60 && blocks == 3);
    for (at = 1; at <= calls + blocks; at++) {
        memset(&fake, 0, sizeof fake);
        memset(&host, 0, sizeof host);
        fake.fail_at = at <= calls ? at : 0;
        host.fail_at = at > calls ? at - calls : 0;
        fake.code = VK_ERROR_INITIALIZATION_FAILED;
        error.text[0] = 0;
        CHECK_SAY(fake_shared(&host, &error) != WCOH_OK || fake.optional, "%ld went unheard", at);
        CHECK_SAY(fake.optional || error.text[0], "call %ld: no sentence", at);
        CHECK_SAY(fake.live == 0 && host.live == 0, "call %ld: %ld objects, %ld blocks live", at,
                  fake.live, host.live);
    }
}

static void vulkan_results_have_sentences(void)
{
    wcoh_vk_desc desc;
    wcoh_error error;
    int i;
    memset(&desc, 0, sizeof desc);
    desc.get_instance_proc = fake_get_instance_proc;
    for (i = 0; i < WCOHI_COUNT(wcohi_vk_results); i++) {
        wcoh_device *device;
        memset(&fake, 0, sizeof fake);
        fake.fail_at = 5; /* vkCreateInstance, behind three look-ups and a question */
        fake.code = (VkResult)wcohi_vk_results[i].vulkan;
        CHECK(wcoh_vk_device_create(&device, &desc, &error) == wcohi_vk_results[i].ours);
        CHECK_TEXT(error.text, "vkCreateInstance: ");
        CHECK_TEXT(error.text, wcohi_vk_results[i].sentence);
        CHECK(error.text[strlen(error.text) - 1] == ')'); /* the whole of it fits */
    }
    CHECK(wcohi_vk_check((VkResult)-77, "vkThis", &error) == WCOH_E_DEVICE);
    CHECK_TEXT(error.text, "vkThis failed with VkResult -77");
}

/* A clock of 40 bits that runs over in every op, 7 ticks of 2 ns; a device without one says so. */
static void a_profile_of_a_faulty_device(void)
{
    wcoh_model_desc desc = small_model();
    wcoh_model *model = model_of(&desc);
    long at = 0, calls = 0;
    for (; at <= calls + 1; at++) {
        wcoh_op_time rows[WCOH_OP_TIMES];
        wcoh_trainer_desc training = small_trainer();
        wcoh_vk_desc wanted;
        wcoh_device *device = NULL;
        wcoh_trainer *trainer = NULL;
        wcoh_error error;
        wcoh_result result;
        int count = 0;
        memset(&wanted, 0, sizeof wanted);
        memset(&fake, 0, sizeof fake);
        fake.clock_bits = at ? 40 : 0;
        fake.code = VK_ERROR_OUT_OF_HOST_MEMORY;
        wanted.get_instance_proc = fake_get_instance_proc;
        CHECK(wcoh_vk_device_create(&device, &wanted, &error) == WCOH_OK);
        training.device = device;
        CHECK(wcoh_trainer_create(&trainer, model, &training, &error) == WCOH_OK);
        CHECK(wcoh_trainer_set_data(trainer, text, TEXT, NULL, 0, &error) == WCOH_OK);
        CHECK(wcoh_trainer_step(trainer, NULL, &error) == WCOH_OK);
        calls = at < 2 ? -fake.calls : calls;
        fake.fail_at = at > 1 ? fake.calls + at - 1 : 0;
        result = wcoh_trainer_profile(trainer, 1, rows, &count, &error);
        if (at < 2) calls += fake.calls;
        if (at == 0) CHECK(result == WCOH_E_UNSUPPORTED && strstr(error.text, "no timestamps"));
        if (at == 1) CHECK(result == WCOH_OK && count > 9);
        if (at == 1) CHECK_NEAR(rows[count - 1].seconds, 14e-9, 1e-12); /* the update */
        if (at > 1) CHECK_SAY(result == WCOH_E_MEMORY && count == 0, "call %ld", at);
        wcoh_trainer_destroy(trainer);
        wcoh_device_destroy(device);
        CHECK(fake.live == 0);
    }
    CHECK(calls > 20);
    wcoh_model_destroy(model);
}

/* Where an extension tells them, they are what splits and walks go by. */
static void multiprocessors_are_asked_for(void)
{
    wcoh_vk_desc wanted;
    wcoh_device *device = NULL;
    wcoh_vk_info info;
    wcohi_gpu_gemm g;
    memset(&wanted, 0, sizeof wanted);
    memset(&fake, 0, sizeof fake);
    wanted.get_instance_proc = fake_get_instance_proc;
    fake.cores = 46;
    CHECK(wcoh_vk_device_create(&device, &wanted, NULL) == WCOH_OK);
    wcoh_vk_device_info(device, &info);
    CHECK(info.multiprocessors == 46);
    memset(&g, 0, sizeof g);
    g.m = g.n = g.groups = 1;
    g.k = 1 << 20;
    g.add = 1;
    CHECK(wcohi_gpu_splits(&g, &((wcohi_vk *)device)->traits, 4, 1000) == 46 * 2 / 4);
    wcoh_device_destroy(device);
}

/* A time that suffices for one candidate alone leaves a pair of products as the rule has it. */
static void the_rules_pair_is_tried_first(void)
{
    static wcohi_vk_tuner tuner;
    static wcohi_vk_exec exec;
    const wcohi_gpu_view some = {0, 0, 4};
    wcohi_gpu_pair tried, ruled;
    wcoh_vk_desc wanted;
    wcoh_device *device = NULL;
    memset(&wanted, 0, sizeof wanted);
    memset(&fake, 0, sizeof fake);
    memset(&ruled, 0, sizeof ruled);
    wanted.get_instance_proc = fake_get_instance_proc;
    CHECK(wcoh_vk_device_create(&device, &wanted, NULL) == WCOH_OK);
    exec.vk = (wcohi_vk *)device;
    tuner.exec = &exec;
    tuner.product = wcohi_gpu_product_back(some, 0, some, some, 16384, 104, 104, 1);
    tuner.weight = wcohi_gpu_product_weight(some, wcohi_gpu_absent, some, &tuner.product);
    wcohi_gpu_pair_rule(&tuner.product, &tuner.weight, &exec.vk->traits, &ruled);
    CHECK(wcohi_vk_tune_joint(&tuner, 0, &tried) && tried.splits > 1);
    CHECK(ruled.input && tried.input == ruled.input && tried.weight == ruled.weight);
    CHECK(wcohi_vk_tune_joint(&tuner, 1, &tried) && !tried.input);
    CHECK(!wcohi_vk_tune_joint(&tuner, 2 + WCOHI_VK_THREADS, &tried));
    wcoh_device_destroy(device);
}

/* A tuner whose calls fail: nothing of it is left, and the pipelines are those of before. */
static void a_tuning_of_a_faulty_device(void)
{
    wcoh_model_desc model = small_model();
    wcoh_trainer_desc training = small_trainer();
    static char text_of[65536];
    wcoh_vk_desc wanted;
    wcoh_device *device = NULL;
    wcoh_error error;
    long at, live;
    memset(&wanted, 0, sizeof wanted);
    memset(&fake, 0, sizeof fake);
    fake.clock_bits = 40;
    wanted.get_instance_proc = fake_get_instance_proc;
    CHECK(wcoh_vk_device_create(&device, &wanted, &error) == WCOH_OK);
    CHECK(wcoh_vk_tune(device, &model, &training, 60, text_of, sizeof text_of, &error) == WCOH_OK);
    CHECK(strstr(text_of, " tile 64 64 16 4 4 1 splits ") || strstr(text_of, " tile 32 32 16 "));
    CHECK(strstr(text_of, "\nbackward 26 "));
    CHECK(strstr(text_of, "\nattention 1 0 2 13 3 6 columns 1 chunk 0 passes 1\n") ||
          strstr(text_of, "\nattention 1 0 2 13 3 6 columns 1 chunk 0 passes 2\n"));
    live = fake.live;
    for (at = 1; at < 90; at++) {
        fake.fail_at = fake.calls + at;
        fake.code = at % 2 ? VK_ERROR_OUT_OF_DEVICE_MEMORY : VK_ERROR_OUT_OF_HOST_MEMORY;
        CHECK_SAY(wcoh_vk_tune(device, &model, &training, 60, text_of, sizeof text_of, &error) ==
                      WCOH_E_MEMORY,
                  "call %ld", at);
        CHECK_SAY(fake.live == live, "call %ld: %ld objects live", at, fake.live - live);
    }
    fake.fail_at = 0;
    wcoh_device_destroy(device);
    CHECK(fake.live == 0);
}

/* A device that is lost stays lost: no later call takes old memory for a result. */
static void a_lost_device_stays_lost(void)
{
    wcoh_model_desc desc = small_model();
    wcoh_model *model = model_of(&desc);
    wcoh_error error;
    long at;
    int ended = 0;
    for (at = 1; !ended; at++) {
        wcoh_vk_desc wanted;
        wcoh_trainer_desc training = small_trainer();
        wcoh_device *device = NULL;
        wcoh_trainer *trainer = NULL;
        wcoh_stats stats;
        int i;
        memset(&wanted, 0, sizeof wanted);
        memset(&fake, 0, sizeof fake);
        wanted.get_instance_proc = fake_get_instance_proc;
        CHECK(wcoh_vk_device_create(&device, &wanted, &error) == WCOH_OK);
        training.device = device;
        training.steps = 4;
        training.eval_every = 2;
        training.eval_batches = 9;
        CHECK(wcoh_trainer_create(&trainer, model, &training, &error) == WCOH_OK);
        CHECK(wcoh_trainer_set_data(trainer, text, TEXT / 2, text + TEXT / 2, TEXT / 2, &error) ==
              WCOH_OK);
        fake.fail_at = fake.calls + at;
        fake.for_good = 1;
        fake.code = VK_ERROR_DEVICE_LOST;
        ended = wcoh_trainer_run(trainer, -1, &stats, &error) == WCOH_OK;
        CHECK(ended == (fake.hits == 0));
        for (i = 0; !ended && i < 3; i++) {
            wcoh_stats later;
            CHECK_SAY(wcoh_trainer_run(trainer, -1, &later, &error) == WCOH_E_DEVICE,
                      "call %ld, run %d", at, i);
            CHECK(later.step == stats.step && later.val_loss == stats.val_loss);
        }
        wcoh_trainer_destroy(trainer);
        wcoh_device_destroy(device);
        CHECK(fake.live == 0);
    }
    CHECK(at > 50);
    wcoh_model_destroy(model);
}

static void host_memory_may_run_out(void)
{
    wcoh_model_desc desc = small_model();
    wcoh_model *model = model_of(&desc);
    counting host;
    wcoh_error error;
    long calls, at;
    memset(&host, 0, sizeof host);
    memset(&fake, 0, sizeof fake);
    CHECK(fake_life(model, &host, &error) == WCOH_OK);
    calls = host.calls;
    for (at = 1; at <= calls; at++) {
        memset(&host, 0, sizeof host);
        host.fail_at = at;
        CHECK(fake_life(model, &host, &error) == WCOH_E_MEMORY);
        CHECK(fake.live == 0 && host.live == 0);
    }
    wcoh_model_destroy(model);
}

static void validation_is_silent(void)
{
    if (!validated) printf("not run: the Khronos validation layer is not installed\n");
    CHECK_SAY(messages == 0, "%d messages", messages);
}

int main(int count, char **words)
{
    int full = count > 2 && strcmp(words[1], "--full") == 0;
    int only_fake = count > 1 && strcmp(words[1], "--fake") == 0;
    wcoh_vk_desc desc = device_desc();
    wcoh_error error;
    text_make();
    if (full) real.path = words[2];
    if (full && count > 3) real.preset = words[3];
    RUN(numbers_of_the_text_are_read);
    RUN(every_shader_unpacks);
    RUN(failures_say_what_is_missing);
    RUN(a_device_too_small_is_refused_by_name);
    RUN(vulkan_results_have_sentences);
    RUN(faults_on_a_shared_instance_leave_nothing);
    RUN(faults_at_every_call_leave_nothing);
    RUN(a_profile_of_a_faulty_device);
    RUN(multiprocessors_are_asked_for);
    RUN(the_rules_pair_is_tried_first);
    RUN(a_tuning_of_a_faulty_device);
    RUN(a_lost_device_stays_lost);
    RUN(host_memory_may_run_out);
    if (only_fake) return test_end();
    if (wcoh_vk_device_create(&gpu, &desc, &error) != WCOH_OK) {
        printf("not run: no Vulkan device (%s)\n", error.text);
        return test_end();
    }
    printf("%s\n", ((wcohi_vk *)gpu)->info.name);
    /* As strict as Vulkan lets a device be: what begins elsewhere is refused. */
    ((wcohi_vk *)gpu)->limits.minStorageBufferOffsetAlignment = 256;
    validated = wcohi_vk_has_layer(&((wcohi_vk *)gpu)->root);
    RUN(devices_are_listed);
    RUN(wrong_choices_say_what_there_is);
    RUN(elementary_functions_are_accurate);
    RUN(every_setting_has_the_gradients_of_the_cpu);
    RUN(half_floats_are_the_nearest);
    RUN(halves_train_as_floats_do);
    RUN(targets_that_do_not_count_are_left_out_as_on_the_cpu);
    RUN(masks_are_those_of_the_cpu);
    RUN(states_give_what_pairs_give);
    RUN(long_windows_take_states);
    RUN(sequences_train_as_on_the_cpu);
    RUN(sessions_hear_what_the_cpu_hears);
    RUN(sessions_in_pairs_of_floats_agree_too);
    RUN(crowds_hear_what_those_of_the_cpu_hear);
    RUN(company_changes_no_bit_of_a_member);
    RUN(a_wave_memory_is_heard_as_on_the_cpu);
    RUN(members_hear_with_memories_of_their_own);
    RUN(products_are_right);
    if (full) RUN(all_products_are_right_in_each_tile);
    else RUN(products_are_right_in_other_tiles);
    RUN(products_keep_their_bits_in_one_dispatch);
    RUN(products_are_right_in_walks);
    RUN(walks_keep_their_bits);
    RUN(matrix_units_open);
    RUN(products_on_matrix_units_are_right);
    RUN(other_numbers_of_subgroups_do);
    RUN(matrix_units_agree_to_half_floats);
    RUN(matrix_units_train_as_floats_do);
    wcoh_device_destroy(units);
    RUN(small_presets_train_as_on_the_cpu);
    if (full) RUN(full_presets_train_as_on_the_cpu);
    RUN(a_run_gives_the_same_bits_again);
    RUN(a_profile_says_where_the_time_goes);
    RUN(a_tuning_is_kept_in_a_text);
    RUN(every_way_of_attention_is_right);
    RUN(looking_ahead_shows_in_nothing);
    RUN(gradients_are_reduced_on_the_host);
    RUN(gradients_are_summed_in_a_tree);
    RUN(checkpoints_cross_both_ways);
    RUN(parameters_come_back_to_the_host);
    RUN(losses_of_tokens_are_those_of_the_cpu);
    RUN(parameters_written_on_the_host_count);
    RUN(means_are_those_of_the_cpu);
    RUN(noise_is_that_of_the_cpu);
    RUN(gain_control_sees_what_it_does_on_the_cpu);
    RUN(a_loss_between_gradient_and_update_does_not_count);
    RUN(a_gradient_that_is_not_finite_changes_nothing);
    RUN(a_huge_gradient_is_refused);
    RUN(what_does_not_fit_is_refused);
    RUN(a_refusal_names_the_largest_batch);
    RUN(bytes_are_known_before_anything_is_made);
    RUN(a_host_program_lends_its_device);
    wcoh_device_destroy(gpu);
    RUN(validation_is_silent);
    RUN(twenty_whole_cycles_leave_nothing);
    if (full) RUN(a_thousand_devices_on_one_instance_leave_nothing);
    else RUN(devices_on_one_instance_leave_nothing);
    return test_end();
}
#endif

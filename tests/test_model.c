/* The model: its tensors, their start, the desc's messages, memory, determinism, inference.
   cc -O2 -o test_model tests/test_model.c -lm -lpthread && ./test_model
   WAVECOH_TEST_SHORT=1 shortens the long streams (for sanitizers and emulators). */
#include <stddef.h>
static void *test_malloc(size_t size);
static void test_free(void *pointer);
#define WAVECOH_MALLOC(size) test_malloc(size)
#define WAVECOH_FREE(pointer) test_free(pointer)
#define WAVECOH_SCALAR
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"
#include "test.h"
#include "support.h"

#if !defined(_WIN32) && !defined(__EMSCRIPTEN__) && !defined(WAVECOH_NO_THREADS)
#include <pthread.h>
#define TEST_THREADS 1
#endif

/* Whatever does not go through a desc's allocator comes through here, from two threads at times. */
static long libc_calls, libc_live;

static void libc_count(int calls, int live)
{
#ifdef TEST_THREADS
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
#endif
    libc_calls += calls;
    libc_live += live;
#ifdef TEST_THREADS
    pthread_mutex_unlock(&lock);
#endif
}

static void *test_malloc(size_t size)
{
    libc_count(1, 1);
    return malloc(size);
}

static void test_free(void *pointer)
{
    if (pointer) libc_count(0, -1);
    free(pointer);
}

static int is_short(void) { return getenv("WAVECOH_TEST_SHORT") != NULL; }

static wcoh_trainer *trainer_of(wcoh_model *model, const wcoh_trainer_desc *desc)
{
    wcoh_trainer *trainer = NULL;
    wcoh_error error = {WCOH_OK, ""};
    CHECK_SAY(wcoh_trainer_create(&trainer, model, desc, &error) == WCOH_OK, "%s", error.text);
    return trainer;
}

static wcoh_session *session_of(wcoh_model *model, int prefill)
{
    wcoh_session_desc desc;
    wcoh_session *session = NULL;
    wcoh_error error = {WCOH_OK, ""};
    memset(&desc, 0, sizeof desc);
    desc.prefill = prefill;
    CHECK_SAY(wcoh_session_create(&session, model, &desc, &error) == WCOH_OK, "%s", error.text);
    return session;
}

static wcoh_param param_of(const wcoh_model *model, const char *name)
{
    wcoh_param p;
    memset(&p, 0, sizeof p);
    if (CHECK_SAY(wcoh_model_param_find(model, name) >= 0, "there is no %s", name))
        CHECK(wcoh_model_param(model, wcoh_model_param_find(model, name), &p, NULL) == WCOH_OK);
    return p;
}

/* ---- tensors --------------------------------------------------------------------------------- */

static long trained_count(wcoh_preset preset, const char *settings)
{
    wcoh_model_desc desc = wcoh_model_preset(preset, 65);
    wcoh_model *model;
    long count;
    settings_apply(WCOH_DESC_MODEL, &desc, settings);
    model = model_of(&desc);
    if (!model) return -1;
    count = (long)wcoh_model_trained_count(model);
    wcoh_model_destroy(model);
    return count;
}

/* Published counts, and those of the prototypes the design was chosen with. */
static void parameters_are_as_many_as_published(void)
{
    CHECK(trained_count(WCOH_PRESET_WAVE_1, "") == 276424);
    CHECK(trained_count(WCOH_PRESET_WAVE_1, "position=sinusoidal") == 276424);
    CHECK(trained_count(WCOH_PRESET_WAVE_1, "heads=8") == 259816);
    CHECK(trained_count(WCOH_PRESET_WAVE_1, "attention=dot") == 375304);
    CHECK(trained_count(WCOH_PRESET_WAVE_1, "bands=116 heads=8 attention=dot") == 1162688);
    CHECK(trained_count(WCOH_PRESET_WAVE_1, "ffn=mlp") == 702784);
    CHECK(trained_count(WCOH_PRESET_WAVE_1, "solver=none") == 276424 - 4 * (2 * 64 + 2));
    CHECK(trained_count(WCOH_PRESET_GPT, "") == 818176);
    CHECK(trained_count(WCOH_PRESET_GPT, "attention=rotary position=none") == 809984);
    CHECK(trained_count(WCOH_PRESET_GPT, "bands=36 attention=rotary position=none") == 262080);
    CHECK(trained_count(WCOH_PRESET_GPT, "bands=36") == 266688);
    CHECK(trained_count(WCOH_PRESET_KERR_ENGINE, "") == 354358);
    CHECK(trained_count(WCOH_PRESET_WAVE_2, "") == 281368);
    CHECK(trained_count(WCOH_PRESET_WAVE_3, "") == 277024);
    /* test 25: harmonic, frozen, its tied baseline; a transformer, and its phases: V F + D F + D + L H */
    CHECK(trained_count(WCOH_PRESET_HARMONIC_TRANSFORMER, "") == 818176 + 192 * 128);
    CHECK(trained_count(WCOH_PRESET_HARMONIC_TRANSFORMER, "embedding_trained=off") ==
          818176 + 192 * 128 - 65 * 128);
    CHECK(trained_count(WCOH_PRESET_HARMONIC_TRANSFORMER, "embedding=random head=tied") ==
          818176 + 192 * 128 - 65 * 128 + 1);
    CHECK(trained_count(WCOH_PRESET_RESONANCE_TRANSFORMER, "") ==
          818176 + 192 * 128 - 65 * 128 + 1 + (65 + 128) * 32 + 128 + 16);
    /* published: 161,752 without a dense head, with 4 x 336 that learn nothing */
    CHECK(trained_count(WCOH_PRESET_WAVE_ENGINE_APRIL, "") == 161752 + 65 * 168 - 4 * 336);
    CHECK(trained_count(WCOH_PRESET_WAVE, "") == 277024);
    CHECK(trained_count(WCOH_PRESET_WAVE_ENGINE,
                        "bands=64 heads=4 kerr_trained=off corrector=off") == 109568);
}

/* wave-engine's published totals: layers, dense and in six blocks; those of its 24 layers are without a
   head. There each layer has two norms (of which the second does nothing, so our preset shares one)
   and oscillators that are not counted. */
static void wave_engine_has_its_published_totals(void)
{
#define ENGINE "block=parallel kerr_trained=off corrector=off"
    const long head = 65 * 768;
    CHECK(trained_count(WCOH_PRESET_WAVE_ENGINE, ENGINE) == 2628992);
    CHECK(trained_count(WCOH_PRESET_WAVE_ENGINE, ENGINE " block=parallel_shared") ==
          2628992 - 4 * 2 * 768);
    CHECK(trained_count(WCOH_PRESET_WAVE_ENGINE, ENGINE " layers=24 groups=6") == 3670272 + head);
    CHECK(trained_count(WCOH_PRESET_WAVE_ENGINE, ENGINE " layers=24") == 15466752 + head);
#undef ENGINE
}

static size_t counted_by_the_walk(const wcoh_model_desc *desc)
{
    int count = wcohi_walk_rows(desc, NULL).row_count, i;
    wcohi_param_row *rows = (wcohi_param_row *)calloc((size_t)count, sizeof *rows);
    size_t trained = 0;
    if (!CHECK(rows != NULL)) return 0;
    wcohi_walk_rows(desc, rows);
    for (i = 0; i < count; i++) trained += rows[i].trained ? rows[i].count : 0;
    free(rows);
    return trained;
}

/* The Resonance Transformer's and its baseline's; no model is made. Their attention has no biases (ours
   4 D a layer), their tied head no scale. */
static void resonance_transformers_have_their_published_totals(void)
{
#define BASELINE " attention=dot phase_input=off phases=0"
    static const struct {
        const char *settings;
        size_t published;
    } rows[] = {{"layers=12 bands=384 heads=12" BASELINE, 123813120},
                {"layers=12 bands=384 heads=12", 125446832},
                {"layers=8 bands=256 heads=8" BASELINE, 51066368},
                {"layers=8 bands=256 heads=8", 52691552}};
#undef BASELINE
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        wcoh_model_desc desc = wcoh_model_preset(WCOH_PRESET_RESONANCE_TRANSFORMER, 50257);
        wcoh_error error;
        size_t trained;
        settings_apply(WCOH_DESC_MODEL, &desc, rows[i].settings);
        CHECK_SAY(wcoh_model_desc_resolve(&desc, &error) == WCOH_OK, "%s", error.text);
        trained = counted_by_the_walk(&desc);
        CHECK_SAY(trained == rows[i].published + (size_t)(desc.layers * 8 * desc.bands + 1),
                  "%s: %lu", rows[i].settings, (unsigned long)trained);
    }
}

static void tensor_is(const wcoh_model *model, const char *name, int a, int b, int c, int decayed)
{
    wcoh_param p = param_of(model, name);
    int dims = c ? 3 : b ? 2 : 1;
    CHECK_SAY(p.dims == dims && p.shape[0] == a && (!b || p.shape[1] == b) &&
                  (!c || p.shape[2] == c),
              "%s: shape [%d,%d,%d]", name, p.shape[0], p.shape[1], p.shape[2]);
    CHECK_SAY(p.count == (size_t)a * (size_t)(b ? b : 1) * (size_t)(c ? c : 1), "%s: count", name);
    CHECK_SAY(p.trained == 1 && p.decayed == decayed, "%s: trained %d, decayed %d", name, p.trained,
              p.decayed);
}

static void tensors_have_their_names_and_shapes(void)
{
    wcoh_model_desc desc = model_desc_of("vocab=65");
    wcoh_model *model = model_of(&desc);
    wcoh_param outside;
    char name[64];
    int l;
    if (!model) return;
    CHECK(wcoh_model_param_count(model) == 1 + 4 * 29 + 3);
    CHECK(param_of(model, "embed.weight").trained == 0);
    CHECK(wcoh_model_param_find(model, "position.weight") == -1);
    CHECK(wcoh_model_param(model, wcoh_model_param_count(model), &outside, NULL) ==
          WCOH_E_ARGUMENT);
    CHECK(wcoh_model_param(model, -1, &outside, NULL) == WCOH_E_ARGUMENT);
    tensor_is(model, "norm_f.weight", 128, 0, 0, 0);
    tensor_is(model, "head.weight", 65, 128, 0, 1);
    for (l = 0; l < 4; l++) {
#define TENSOR(tail, a, b, decayed)                                                                \
    do {                                                                                           \
        snprintf(name, sizeof name, "blocks.%d.%s", l, tail);                                      \
        tensor_is(model, name, a, b, 0, decayed);                                                  \
    } while (0)
        TENSOR("norm1.weight", 128, 0, 0);
        TENSOR("norm1.bias", 128, 0, 0);
        TENSOR("norm2.weight", 128, 0, 0);
        TENSOR("attn.query_phasor.weight", 32, 128, 1);
        TENSOR("attn.query_phasor.bias", 32, 0, 0);
        TENSOR("attn.key_phasor.weight", 32, 128, 1);
        TENSOR("attn.gain_raw", 16, 0, 0);
        TENSOR("attn.carrier", 16, 0, 0);
        TENSOR("attn.damping_raw", 16, 0, 0);
        TENSOR("attn.value.weight", 128, 128, 1);
        TENSOR("attn.out.weight", 128, 128, 1);
        TENSOR("attn.out.bias", 128, 0, 0);
        TENSOR("ffn.maestro_in.squeeze.weight", 16, 128, 1);
        TENSOR("ffn.maestro_in.squeeze.bias", 16, 0, 0);
        TENSOR("ffn.maestro_in.expand.weight", 128, 16, 1);
        TENSOR("ffn.maestro_out.expand.bias", 128, 0, 0);
        TENSOR("ffn.kerr.gamma_raw", 64, 0, 0);
        TENSOR("ffn.kerr.omega", 64, 0, 0);
        TENSOR("ffn.kerr.alpha", 1, 0, 0);
        TENSOR("ffn.kerr.beta", 1, 0, 0);
        TENSOR("ffn.out.weight", 128, 128, 1);
        TENSOR("ffn.out.bias", 128, 0, 0);
#undef TENSOR
    }
    wcoh_model_destroy(model);
}

/* Decay touches matrices only, whatever the architecture. */
static void only_matrices_decay(void)
{
    static const char *const settings[] = {
        "vocab=9 per_band_first=on corrector=on",
        "vocab=9 attention=shared head=tied embedding_trained=on",
        "vocab=9 attention=dot ffn=mlp position=learned",
        "vocab=9 groups=4 maestros=add head=low_rank"};
    size_t s;
    int i;
    for (s = 0; s < sizeof settings / sizeof *settings; s++) {
        wcoh_model_desc desc = model_desc_of(settings[s]);
        wcoh_model *model = model_of(&desc);
        for (i = 0; model && i < wcoh_model_param_count(model); i++) {
            wcoh_param p;
            wcoh_model_param(model, i, &p, NULL);
            CHECK_SAY(p.decayed == (p.trained && p.dims > 1 && text_ends(p.name, ".weight")),
                      "%s: decayed %d", p.name, p.decayed);
        }
        wcoh_model_destroy(model);
    }
}

/* ---- start values ---------------------------------------------------------------------------- */

typedef struct moments {
    double mean, variance, largest;
} moments;

static moments moments_of(wcoh_param p)
{
    moments m = {0, 0, 0};
    size_t i;
    for (i = 0; i < p.count; i++) m.mean += (double)p.data[i] / (double)p.count;
    for (i = 0; i < p.count; i++) {
        double d = (double)p.data[i] - m.mean;
        m.variance += d * d / (double)p.count;
        if (fabs((double)p.data[i]) > m.largest) m.largest = fabs((double)p.data[i]);
    }
    return m;
}

/* 16,384 draws: the mean is within 5 standard errors, the variance within 5 %. */
static void is_uniform(const wcoh_model *model, const char *name, double bound)
{
    wcoh_param p = param_of(model, name);
    moments m = moments_of(p);
    double variance = bound * bound / 3;
    CHECK_SAY(fabs(m.mean) < 5 * sqrt(variance / (double)p.count), "%s: mean %g", name, m.mean);
    CHECK_SAY(fabs(m.variance / variance - 1) < 6 / sqrt((double)p.count), "%s: variance %g of %g",
              name, m.variance, variance);
    CHECK_SAY(m.largest <= bound * (1 + 1e-6) && m.largest > 0.9 * bound, "%s: largest %g", name,
              m.largest);
}

static void is_constant(const wcoh_model *model, const char *name, double value)
{
    wcoh_param p = param_of(model, name);
    size_t i;
    for (i = 0; i < p.count; i++)
        if (!CHECK_SAY(test_near((double)p.data[i], value, 1e-6), "%s[%d] is %.8g, not %.8g", name,
                       (int)i, (double)p.data[i], value))
            return;
}

static void the_default_starts_as_designed(void)
{
    wcoh_model_desc desc = model_desc_of("vocab=65");
    wcoh_model *model = model_of(&desc);
    wcoh_param p;
    int i;
    if (!model) return;
    is_uniform(model, "blocks.0.attn.value.weight", 1 / sqrt(128.0));
    is_uniform(model, "blocks.1.attn.query_phasor.weight", 1 / sqrt(128.0));
    is_uniform(model, "blocks.2.ffn.maestro_in.expand.weight", 1 / sqrt(16.0));
    is_uniform(model, "blocks.3.ffn.out.bias", 1 / sqrt(128.0));
    is_uniform(model, "head.weight", 1 / sqrt(128.0));
    is_constant(model, "blocks.0.norm1.weight", 1);
    is_constant(model, "blocks.0.norm2.bias", 0);
    is_constant(model, "blocks.0.attn.gain_raw", 1.8545866);       /* softplus gives 2 */
    is_constant(model, "blocks.0.ffn.kerr.gamma_raw", -2.2521685); /* softplus gives 0.1 */
    is_constant(model, "blocks.0.ffn.kerr.alpha", 0.1);
    is_constant(model, "blocks.0.ffn.kerr.beta", 0.2);
    p = param_of(model, "blocks.2.ffn.kerr.omega");
    for (i = 0; i < 64; i++) CHECK_NEAR(p.data[i], (i + 1) / 64.0, 1e-7);
    p = param_of(model, "blocks.2.attn.carrier");
    for (i = 0; i < 16; i++) CHECK_NEAR(p.data[i], 0.5 * i / 15, 1e-7);
    p = param_of(model, "blocks.2.attn.damping_raw");
    for (i = 0; i < 16; i++) CHECK_NEAR(p.data[i], -6 + 6.0 * i / 15, 1e-6);
    wcoh_model_destroy(model);
}

static void presets_start_as_published(void)
{
    wcoh_model_desc desc = wcoh_model_preset(WCOH_PRESET_GPT, 65);
    wcoh_model *model = model_of(&desc);
    moments m;
    wcoh_param p;
    int h;
    if (!model) return;
    m = moments_of(param_of(model, "blocks.0.ffn.up.weight")); /* 65,536 draws of N(0, 0.02^2) */
    CHECK_NEAR(sqrt(m.variance), 0.02, 0.0005);
    CHECK_NEAR(m.mean, 0, 0.0005);
    CHECK(m.largest > 0.07);
    m = moments_of(param_of(model, "position.weight"));
    CHECK_NEAR(sqrt(m.variance), 0.02, 0.001);
    is_constant(model, "blocks.3.attn.qkv.bias", 0);
    wcoh_model_destroy(model);
    desc = wcoh_model_preset(WCOH_PRESET_WAVE_ENGINE, 65);
    desc.layers = 1;
    if ((model = model_of(&desc)) == NULL) return;
    p = param_of(model, "blocks.0.attn.harmonic");
    CHECK(p.count == 12 && p.trained == 0);
    for (h = 0; h < 12; h++) CHECK_NEAR(p.data[h], log(1 + 0.5 * (h + 1)), 1e-6);
    CHECK(param_of(model, "blocks.0.attn.value.weight").shape[1] == 64);
    CHECK(param_of(model, "blocks.0.attn.out.weight").trained == 0);
    is_constant(model, "blocks.0.ffn.maestro_in.squeeze.bias", 0);
    CHECK_NEAR(wcoh_model_get_desc(model)->ceiling, 1.7724539, 1e-6); /* alpha 0.1, beta 0.1 */
    wcoh_model_destroy(model);
    desc = model_desc_of("vocab=9 limiter=on");
    CHECK(wcoh_model_desc_resolve(&desc, NULL) == WCOH_OK);
    CHECK_NEAR(desc.ceiling, 1.3210889, 1e-4); /* alpha 0.1, beta 0.2 */
}

static void the_seed_decides(void)
{
    wcoh_model_desc one = model_desc_of("vocab=11 bands=8 heads=4 seed=1"),
                    two = model_desc_of("vocab=11 bands=8 heads=4 seed=2");
    wcoh_model *a = model_of(&one), *b = model_of(&one), *c = model_of(&two);
    if (a && b && c) {
        CHECK(same_parameters(a, b));
        CHECK(!same_parameters(a, c));
        CHECK(wcoh_model_copy(c, a, NULL) == WCOH_OK);
        CHECK(same_parameters(a, c));
    }
    wcoh_model_destroy(a);
    wcoh_model_destroy(b);
    wcoh_model_destroy(c);
}

static void only_equal_models_are_copied(void)
{
    wcoh_model_desc one = model_desc_of("vocab=11 bands=8 heads=4"),
                    two = model_desc_of("vocab=11 bands=8 heads=8");
    wcoh_model *a = model_of(&one), *b = model_of(&two);
    wcoh_error error = {WCOH_OK, ""};
    if (a && b) CHECK(wcoh_model_copy(a, b, &error) == WCOH_E_MISMATCH && error.text[0]);
    wcoh_model_destroy(a);
    wcoh_model_destroy(b);
}

/* ---- embeddings ------------------------------------------------------------------------------ */

static double row_product(wcoh_param p, int a, int b)
{
    double sum = 0;
    int i, width = p.shape[1];
    for (i = 0; i < width; i++)
        sum += (double)p.data[(size_t)a * (size_t)width + (size_t)i] *
               (double)p.data[(size_t)b * (size_t)width + (size_t)i];
    return sum;
}

/* 65 symbols on 64 bands: any two have inner product -1/64 of their squared norm, which is 64. */
static void one_circle_is_a_simplex(void)
{
    wcoh_model_desc desc = model_desc_of("vocab=65");
    wcoh_model *model = model_of(&desc);
    wcoh_param p;
    int a, b;
    if (!model) return;
    CHECK(wcoh_model_get_desc(model)->embedding == WCOH_EMBEDDING_HARMONIC);
    p = param_of(model, "embed.weight");
    for (a = 0; a < 65; a++)
        for (b = 0; b <= a; b++) CHECK_NEAR(row_product(p, a, b), a == b ? 64 : -1, 2e-5);
    CHECK_NEAR(p.data[2 * 128 + 2 * 4], cos(2 * 3.14159265358979323846 * 2 * 5 / 65),
               1e-7); /* v = 2, n = 5 */
    CHECK_NEAR(p.data[2 * 128 + 2 * 4 + 1], sin(2 * 3.14159265358979323846 * 2 * 5 / 65), 1e-7);
    wcoh_model_destroy(model);
    desc.embedding_unit = WCOH_SWITCH_ON;
    if ((model = model_of(&desc)) == NULL) return;
    CHECK_NEAR(row_product(param_of(model, "embed.weight"), 7, 7), 1, 1e-6);
    wcoh_model_destroy(model);
}

/* Half the squared distance of neighbours on one circle. */
static void neighbours_separate_as_computed(void)
{
    wcoh_model_desc desc = model_desc_of("vocab=65 bands=84 heads=8 layers=1 embedding=harmonic");
    wcoh_model *model = model_of(&desc);
    wcoh_param p;
    if (!model) return;
    p = param_of(model, "embed.weight");
    CHECK_NEAR(84 - row_product(p, 30, 31), 74.66, 0.005);
    wcoh_model_destroy(model);
    desc = model_desc_of("vocab=50000 bands=84 heads=8 layers=1 maestro=1");
    CHECK(wcoh_model_desc_resolve(&desc, NULL) == WCOH_OK);
    CHECK(desc.embedding == WCOH_EMBEDDING_CIRCLES); /* one circle: 0.0016 apart */
    CHECK(desc.modulus1 * desc.modulus2 >= 50000);
}

static void automatic_moduli_are(int vocab, int first, int second)
{
    wcoh_model_desc desc = model_desc_of("embedding=circles");
    desc.vocab = vocab;
    CHECK(wcoh_model_desc_resolve(&desc, NULL) == WCOH_OK);
    CHECK_SAY(desc.modulus1 == first && desc.modulus2 == second, "vocab %d: moduli %d and %d",
              vocab, desc.modulus1, desc.modulus2);
}

static void moduli_are_the_smallest_coprime_pair(void)
{
    wcoh_model_desc desc;
    wcoh_error error = {WCOH_OK, ""};
    automatic_moduli_are(15, 5, 7);
    automatic_moduli_are(65, 9, 11);
    automatic_moduli_are(512, 23, 25);
    automatic_moduli_are(4096, 65, 67);
    automatic_moduli_are(50257, 225, 227);
    desc = model_desc_of("vocab=100 embedding=circles modulus1=10 modulus2=15");
    CHECK(wcoh_model_desc_resolve(&desc, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "coprime");
    desc = model_desc_of("vocab=100 embedding=circles modulus1=7 modulus2=11");
    CHECK(wcoh_model_desc_resolve(&desc, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "77");
    desc = model_desc_of("vocab=100 embedding=circles modulus1=10");
    CHECK(wcoh_model_desc_resolve(&desc, &error) == WCOH_E_ARGUMENT);
    desc = model_desc_of("vocab=9000 embedding=circles circles=4 bands=9 heads=2");
    CHECK(wcoh_model_desc_resolve(&desc, &error) == WCOH_OK);
    CHECK((double)desc.modulus1 * desc.modulus2 * desc.modulus3 * desc.modulus4 >= 9000);
}

/* Rank by Gram-Schmidt in double. */
static int rank_of(wcoh_param p)
{
    int rows = p.shape[0], width = p.shape[1], rank = 0, i, j, k;
    double *basis = (double *)malloc((size_t)width * (size_t)(width + 1) * sizeof *basis), *x;
    if (!basis) return -1;
    x = basis + (size_t)width * (size_t)width;
    for (i = 0; i < rows && rank < width; i++) {
        double norm = 0;
        for (k = 0; k < width; k++) x[k] = (double)p.data[(size_t)i * (size_t)width + (size_t)k];
        for (j = 0; j < 2 * rank; j++) { /* twice is enough */
            const double *b = basis + (size_t)(j % rank) * (size_t)width;
            double dot = 0;
            for (k = 0; k < width; k++) dot += x[k] * b[k];
            for (k = 0; k < width; k++) x[k] -= dot * b[k];
        }
        for (k = 0; k < width; k++) norm += x[k] * x[k];
        if (norm < 1e-6) continue;
        for (k = 0; k < width; k++)
            basis[(size_t)rank * (size_t)width + (size_t)k] = x[k] / sqrt(norm);
        rank++;
    }
    free(basis);
    return rank;
}

/* Rank is at most the sum of the moduli less circles plus one; a shared residue half a likeness. */
static void two_circles_have_bounded_rank(void)
{
    wcoh_model_desc desc = model_desc_of("vocab=65 embedding=circles layers=1");
    wcoh_model *model = model_of(&desc);
    wcoh_param p;
    if (!model) return;
    p = param_of(model, "embed.weight");
    CHECK(rank_of(p) == 9 + 11 - 1);
    CHECK_NEAR(row_product(p, 3, 3), 64, 1e-4);
    CHECK(row_product(p, 3, 12) > 25); /* both are 3 modulo 9 */
    wcoh_model_destroy(model);
    desc = model_desc_of("vocab=65 layers=1");
    if ((model = model_of(&desc)) == NULL) return;
    CHECK(rank_of(param_of(model, "embed.weight")) == 64);
    wcoh_model_destroy(model);
}

static void sinusoids_are_sine_first(void)
{
    wcoh_model_desc desc = model_desc_of("vocab=5 position=sinusoidal context=40 layers=1");
    wcoh_model *model = model_of(&desc);
    wcoh_param p;
    if (!model) return;
    p = param_of(model, "position.weight");
    CHECK(p.trained == 0 && p.shape[0] == 40 && p.shape[1] == 128);
    CHECK_NEAR(p.data[0], 0, 0);
    CHECK_NEAR(p.data[1], 1, 0);
    CHECK_NEAR(p.data[17 * 128 + 2 * 5], sin(17 * pow(10000, -10.0 / 128)), 1e-6);
    CHECK_NEAR(p.data[17 * 128 + 2 * 5 + 1], cos(17 * pow(10000, -10.0 / 128)), 1e-6);
    wcoh_model_destroy(model);
}

/* ---- settings -------------------------------------------------------------------------------- */

enum { DESC_KINDS = WCOH_DESC_RESONANCE_QUERY + 1 };

/* Those that only a call checks: a session, a crowd, an evaluation of the smallest model. */
static wcoh_result resolve_running(wcoh_desc_kind kind, const void *desc, wcoh_error *error)
{
    wcoh_model_desc small = model_desc_of("vocab=2 bands=1 layers=1 heads=1 maestro=1");
    wcoh_model *model = model_of(&small);
    wcoh_session *session;
    wcoh_crowd *crowd;
    uint32_t tokens[80] = {0};
    double loss;
    wcoh_result result;
    if (kind == WCOH_DESC_EVAL) {
        result = wcoh_model_evaluate(model, (const wcoh_eval_desc *)desc, tokens, 80, &loss, NULL,
                                     error);
    } else if (kind == WCOH_DESC_CROWD) {
        result = wcoh_crowd_create(&crowd, model, (const wcoh_crowd_desc *)desc, error);
        wcoh_crowd_destroy(crowd);
    } else {
        result = wcoh_session_create(&session, model, (const wcoh_session_desc *)desc, error);
        wcoh_session_destroy(session);
    }
    wcoh_model_destroy(model);
    return result;
}

static wcoh_result resolve_query(const void *query, wcoh_error *error)
{
    float v[4] = {1, 2, 3, 4};
    wcoh_resonance_desc desc;
    wcoh_resonance_hit hits[1024];
    wcoh_resonance *store;
    wcoh_result result;
    int found;
    memset(&desc, 0, sizeof desc);
    desc.dimensions = 4;
    desc.cpu.threads = 1;
    CHECK(wcoh_resonance_create(&store, &desc, error) == WCOH_OK);
    result = wcoh_resonance_find(store, (const wcoh_resonance_query *)query, v, NULL, hits, &found,
                                 error);
    wcoh_resonance_destroy(store);
    return result;
}

/* Those of the toolkit; the desc gets what the object has made of it. */
static wcoh_result resolve_toolkit(wcoh_desc_kind kind, void *desc, wcoh_error *error)
{
    wcoh_circle *circle;
    wcoh_spectral *spectral;
    wcoh_resonance *store;
    wcoh_result result;
    if (kind == WCOH_DESC_CIRCLE) {
        result = wcoh_circle_create(&circle, (wcoh_circle_desc *)desc, error);
        if (circle) *(wcoh_circle_desc *)desc = *wcoh_circle_get_desc(circle);
        wcoh_circle_destroy(circle);
    } else if (kind == WCOH_DESC_SPECTRAL) {
        result = wcoh_spectral_create(&spectral, (wcoh_spectral_desc *)desc, error);
        if (spectral) *(wcoh_spectral_desc *)desc = *wcoh_spectral_get_desc(spectral);
        wcoh_spectral_destroy(spectral);
    } else {
        result = wcoh_resonance_create(&store, (wcoh_resonance_desc *)desc, error);
        if (store) *(wcoh_resonance_desc *)desc = *wcoh_resonance_get_desc(store);
        wcoh_resonance_destroy(store);
    }
    return result;
}

/* Whoever takes such a desc, takes this one. */
static wcoh_result resolve(wcoh_desc_kind kind, void *desc, wcoh_error *error)
{
    wcoh_tokenizer *tokenizer;
    wcoh_result result;
    switch (kind) {
    case WCOH_DESC_MODEL: return wcoh_model_desc_resolve((wcoh_model_desc *)desc, error);
    case WCOH_DESC_TRAINER:
        return wcoh_trainer_desc_resolve((wcoh_trainer_desc *)desc, NULL, error);
    case WCOH_DESC_SAMPLE: return wcoh_sample_desc_check((const wcoh_sample_desc *)desc, 65, error);
    case WCOH_DESC_SESSION:
    case WCOH_DESC_CROWD:
    case WCOH_DESC_EVAL: return resolve_running(kind, desc, error);
    case WCOH_DESC_TOKENIZER:
        result = wcoh_tokenizer_create(&tokenizer, (const wcoh_tokenizer_desc *)desc, "ab", 2, error);
        wcoh_tokenizer_destroy(tokenizer);
        return result;
    case WCOH_DESC_RESONANCE_QUERY: return resolve_query(desc, error);
    default: return resolve_toolkit(kind, desc, error);
    }
}

static void put(const wcoh_field *field, void *desc, double value)
{
    char *member = (char *)desc + field->offset;
    int integer;
    if (field->kind == WCOH_FIELD_REAL) {
        memcpy(member, &value, sizeof value);
        return;
    }
    integer = (int)value;
    memcpy(member, &integer, sizeof integer);
}

typedef union any_desc {
    wcoh_model_desc model;
    wcoh_trainer_desc trainer;
    wcoh_sample_desc sample;
    wcoh_session_desc session;
    wcoh_eval_desc eval;
    wcoh_tokenizer_desc tokenizer;
    wcoh_circle_desc circle;
    wcoh_spectral_desc spectral;
    wcoh_resonance_desc resonance;
    wcoh_resonance_query query;
} any_desc;

/* All defaults, and 65 for what has none. */
static void start_desc(wcoh_desc_kind kind, any_desc *desc)
{
    int i, count;
    const wcoh_field *fields = wcoh_fields(kind, &count);
    memset(desc, 0, sizeof *desc);
    for (i = 0; i < count; i++)
        if (fields[i].required) put(&fields[i], desc, 65);
}

/* A value outside its range, written straight into the struct: the sentence names both. */
static void field_refuses(wcoh_desc_kind kind, const wcoh_field *field, double value,
                          const char *shown)
{
    any_desc desc;
    wcoh_error error = {WCOH_OK, ""};
    char low[40];
    start_desc(kind, &desc);
    put(field, &desc, value);
    CHECK_SAY(resolve(kind, &desc, &error) == WCOH_E_ARGUMENT, "%s = %g is taken", field->name,
              value);
    CHECK_TEXT(error.text, field->name);
    if (shown) CHECK_TEXT(error.text, shown);
    if (field->kind != WCOH_FIELD_CHOICE) {
        snprintf(low, sizeof low, "%g", field->minimum);
        if (field->minimum >= 1e-4 && field->minimum < 1e5) CHECK_TEXT(error.text, low);
    }
}

static void out_of_range_values_are_named(void)
{
    double infinite = HUGE_VAL;
    int k, i, count;
    for (k = 0; k < DESC_KINDS; k++) {
        wcoh_desc_kind kind = (wcoh_desc_kind)k;
        const wcoh_field *fields = wcoh_fields(kind, &count);
        for (i = 0; i < count; i++) {
            const wcoh_field *f = &fields[i];
            if (f->kind == WCOH_FIELD_SEED) continue;
            if (f->kind == WCOH_FIELD_CHOICE) {
                field_refuses(kind, f, 99, "99");
                field_refuses(kind, f, -1, "-1");
                continue;
            }
            if (f->maximum < 2147483647.0 || f->kind == WCOH_FIELD_REAL)
                field_refuses(kind, f, f->maximum * 2 + 1, NULL);
            if (!f->off) field_refuses(kind, f, -3, "-3");
            if (f->required) field_refuses(kind, f, 0, "is 0");
            if (f->minimum > 1) field_refuses(kind, f, 1, "1");
            if (f->kind != WCOH_FIELD_REAL) continue;
            field_refuses(kind, f, f->minimum / 2, NULL);
            field_refuses(kind, f, infinite, "inf");
            field_refuses(kind, f, infinite - infinite, "nan");
        }
    }
}

/* What 0 becomes is what the row says, also where an object fills its desc in by itself. */
static void defaults_are_those_of_the_table(void)
{
    static const wcoh_desc_kind kinds[] = {WCOH_DESC_MODEL, WCOH_DESC_TRAINER, WCOH_DESC_CIRCLE,
                                           WCOH_DESC_SPECTRAL, WCOH_DESC_RESONANCE};
    int k, i, count, defaults = 0;
    for (k = 0; k < (int)(sizeof kinds / sizeof kinds[0]); k++) {
        const wcoh_field *fields = wcoh_fields(kinds[k], &count);
        any_desc desc;
        wcoh_error error = {WCOH_OK, ""};
        start_desc(kinds[k], &desc);
        CHECK_SAY(resolve(kinds[k], &desc, &error) == WCOH_OK, "%s", error.text);
        for (i = 0; i < count; i++) {
            char text[64], standard[64];
            if (fields[i].standard == 0) continue;
            defaults++;
            snprintf(standard, sizeof standard, "%.15g", fields[i].standard);
            wcoh_field_get(kinds[k], &desc, fields[i].name, text, sizeof text);
            CHECK_SAY(strtod(text, NULL) == strtod(standard, NULL), "%s is %s, not %s",
                      fields[i].name, text, standard);
        }
    }
    CHECK(defaults > 20);
}

static void a_table_that_is_not_there_has_no_rows(void)
{
    int count = 1;
    CHECK(wcoh_fields((wcoh_desc_kind)DESC_KINDS, &count) == NULL && count == 0);
    count = 1;
    CHECK(wcoh_fields((wcoh_desc_kind)-1, &count) == NULL && count == 0);
    CHECK(wcoh_field_set((wcoh_desc_kind)DESC_KINDS, &count, "bands", "1", NULL) ==
          WCOH_E_ARGUMENT);
    CHECK(wcoh_field_get((wcoh_desc_kind)DESC_KINDS, &count, "bands", NULL, 0) == -1);
}

static void related_settings_are_checked(void)
{
    static const struct {
        const char *settings, *part;
    } bad[] = {
        {"", "vocab"},
        {"vocab=65 heads=3", "heads is 3"},
        {"vocab=65 bands=5", "heads is 16: must divide the width 2 x bands = 10"},
        {"vocab=65 bands=8 attention=rotary", "heads is 16: rotary heads need an even width"},
        {"vocab=65 bands=8 attention=dot,rotary", "heads is 16: rotary heads need an even width"},
        {"vocab=65 groups=5", "groups"},
        {"vocab=65 bands=3 heads=6 attention=rotary", "rotary"},
        {"vocab=65 bands=1 heads=1 embedding=circles", "circles"}};
    size_t i;
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        wcoh_model_desc desc = model_desc_of(bad[i].settings);
        wcoh_model *model = (wcoh_model *)&desc; /* must become NULL */
        wcoh_error error = {WCOH_OK, ""};
        CHECK_SAY(wcoh_model_create(&model, &desc, &error) == WCOH_E_ARGUMENT, "\"%s\" is taken",
                  bad[i].settings);
        CHECK(model == NULL);
        CHECK_TEXT(error.text, bad[i].part);
        CHECK(wcoh_model_size(&desc, &error) == 0);
    }
}

/* Heads that nobody gives are about 8 wide whatever the width is, of an even width where they turn. */
static void heads_that_nobody_gives_fit(void)
{
    static const struct {
        int bands, heads, turning;
    } wanted[] = {{52, 13, 13}, {64, 16, 16}, {16, 4, 4}, {1, 1, 1}, {5, 1, 1}, {6, 2, 2},
                  {7, 2, 1},    {65536, 1024, 1024}};
    size_t i;
    for (i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        wcoh_model_desc desc;
        memset(&desc, 0, sizeof desc);
        desc.vocab = 5;
        desc.bands = wanted[i].bands;
        CHECK(wcoh_model_desc_resolve(&desc, NULL) == WCOH_OK);
        CHECK_SAY(desc.heads == wanted[i].heads, "%d bands: %d heads", desc.bands, desc.heads);
        memset(&desc, 0, sizeof desc);
        desc.vocab = 5;
        desc.bands = wanted[i].bands;
        desc.attention = WCOH_ATTENTION_ROTARY;
        CHECK(wcoh_model_desc_resolve(&desc, NULL) == WCOH_OK);
        CHECK_SAY(desc.heads == wanted[i].turning, "%d bands: %d heads", desc.bands, desc.heads);
    }
}

/* A list is cycled over the layers; one kind alone, said once or often, is no pattern. */
static void patterns_are_cycled_over_the_layers(void)
{
    static const struct {
        const char *given, *resolved;
    } good[] = {{"dot", "dot"},
                {"dot,dot", "dot"},
                {"coherence,coherence,rotary", "coherence,coherence,rotary"},
                {"shared,frozen", "shared,frozen"}};
    static const char *const bad[] = {
        "",
        ",",
        "dot,",
        ",dot",
        "dot,,rotary",
        "dot, rotary",
        "dot,rotery",
        "dot rotary",
        ("dot,dot,dot,dot,dot,dot,dot,dot,dot,dot,dot,dot,dot,dot,dot,"
         "dot,rotary")};
    wcoh_error error = {WCOH_OK, ""};
    size_t i;
    for (i = 0; i < sizeof good / sizeof *good; i++) {
        wcoh_model_desc desc = model_desc_of("vocab=5 layers=5");
        char text[200];
        CHECK(wcoh_field_set(WCOH_DESC_MODEL, &desc, "attention", good[i].given, &error) == 0);
        CHECK(wcoh_model_desc_resolve(&desc, &error) == WCOH_OK);
        wcoh_field_get(WCOH_DESC_MODEL, &desc, "attention", text, sizeof text);
        CHECK_SAY(strcmp(text, good[i].resolved) == 0, "%s became %s", good[i].given, text);
    }
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        wcoh_model_desc desc = model_desc_of("vocab=5 attention=shared,frozen"), same = desc;
        CHECK_SAY(wcoh_field_set(WCOH_DESC_MODEL, &desc, "attention", bad[i], &error) ==
                      WCOH_E_ARGUMENT,
                  "\"%s\" is taken", bad[i]);
        CHECK_TEXT(error.text, "attention");
        CHECK(memcmp(&desc, &same, sizeof desc) == 0);
    }
}

/* The rows of a mixed stack are those of its kinds, layer by layer; in C the pattern is a member. */
static void a_mixed_stack_has_the_rows_of_its_kinds(void)
{
    static const char *const rows[] = {
        "blocks.0.attn.gain_raw",      "blocks.0.attn.key_phasor.weight",
        "blocks.1.attn.qkv.weight",    "blocks.2.attn.gain_raw",
        "blocks.3.attn.qkv.bias",      "blocks.0.ffn.up.weight",
        "blocks.1.ffn.kerr.gamma_raw", "blocks.2.ffn.kerr.omega",
        "blocks.3.ffn.down.bias"};
    wcoh_model_desc desc = model_desc_of("vocab=5 layers=4 bands=6 heads=3 maestro=2");
    wcoh_model *model;
    wcoh_error error;
    size_t i;
    desc.attention = WCOH_ATTENTION_FROZEN; /* the pattern stands in its place */
    desc.attention_pattern.count = 2;
    desc.attention_pattern.kinds[1] = WCOH_ATTENTION_ROTARY;
    desc.ffn_pattern.count = 3;
    desc.ffn_pattern.kinds[0] = WCOH_FFN_MLP;
    CHECK_SAY(wcoh_model_create(&model, &desc, &error) == WCOH_OK, "%s", error.text);
    for (i = 0; i < sizeof rows / sizeof *rows; i++)
        CHECK_SAY(wcoh_model_param_find(model, rows[i]) >= 0, "%s is missing", rows[i]);
    CHECK(wcoh_model_param_find(model, "blocks.1.attn.gain_raw") < 0);
    CHECK(wcoh_model_get_desc(model)->attention == WCOH_ATTENTION_COHERENCE);
    wcoh_model_destroy(model);
    desc.ffn_pattern.count = -1;
    CHECK(wcoh_model_create(&model, &desc, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "ffn_pattern.count is -1");
    desc.ffn_pattern.count = 1;
    desc.ffn_pattern.kinds[0] = 3;
    CHECK(wcoh_model_create(&model, &desc, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "ffn is 3: allowed are: kerr mlp gated_mlp");
}

/* Rows of the hidden layer of a block, 0 if it has none; *matrices that they are for Muon. */
static int hidden_rows(const wcoh_model *model, int layer, int *matrices)
{
    char name[40];
    wcoh_param p;
    *matrices = 0;
    snprintf(name, sizeof name, "blocks.%d.ffn.up.weight", layer);
    if (wcoh_model_param_find(model, name) < 0) return 0;
    wcoh_model_param(model, wcoh_model_param_find(model, name), &p, NULL);
    *matrices = p.matrices;
    return p.shape[0];
}

/* Where no width is given each kind of mlp has its own, and about as many parameters: three matrices
   of two thirds of the width. A width that is given is that of both. */
static void a_gated_mlp_has_the_parameters_of_a_plain_one(void)
{
    static const struct {
        const char *settings;
        int hidden, rows[3]; /* gates and values stand one above the other */
    } widths[] = {
        {"bands=36 ffn=mlp", 288, {288, 288, 288}},
        {"bands=36 ffn=gated_mlp", 192, {384, 384, 384}},
        {"bands=64 ffn=gated_mlp", 344, {688, 688, 688}}, /* 341.3 to a multiple of 8 */
        {"bands=1 heads=1 ffn=gated_mlp", 8, {16, 16, 16}},
        {"bands=36 ffn=gated_mlp,kerr", 192, {384, 0, 384}},
        {"bands=36 ffn=gated_mlp,mlp", 0, {384, 288, 384}},
        {"bands=36 ffn=gated_mlp,mlp hidden=40", 40, {80, 40, 80}},
    };
    size_t i, n, count[2] = {0, 0};
    for (i = 0; i < sizeof widths / sizeof *widths; i++) {
        char settings[128];
        wcoh_model_desc desc;
        wcoh_model *model;
        snprintf(settings, sizeof settings, "vocab=5 layers=3 heads=4 %s", widths[i].settings);
        desc = model_desc_of(settings);
        if ((model = model_of(&desc)) == NULL) return;
        CHECK_SAY(wcoh_model_get_desc(model)->hidden == widths[i].hidden, "%s", settings);
        for (n = 0; n < 3; n++) {
            int matrices, rows = hidden_rows(model, (int)n, &matrices);
            CHECK_SAY(rows == widths[i].rows[n], "%s: %d rows", settings, rows);
            CHECK(matrices == (rows == 0 ? 0 : rows == 288 || rows == 40 ? 1 : 2));
        }
        if (i < 2) count[i] = wcoh_model_trained_count(model);
        wcoh_model_destroy(model);
    }
    CHECK(count[1] - count[0] == 3 * 96); /* its biases are 384, the plain one's 288 */
}

/* Each field from text to the struct and back: the same bits. */
static void fields_survive_text(void)
{
    any_desc one, two;
    wcoh_rng rng = wcoh_rng_seed(7);
    int k, i, round, count;
    for (k = 0; k < DESC_KINDS; k++) {
        wcoh_desc_kind kind = (wcoh_desc_kind)k;
        const wcoh_field *fields = wcoh_fields(kind, &count);
        CHECK(count > 0);
        for (i = 0; i < count; i++) {
            const wcoh_field *f = &fields[i];
            wcoh_error error = {WCOH_OK, ""};
            char text[64], again[64];
            CHECK_SAY(f->help && strlen(f->help) > 5, "%s has no help", f->name);
            for (round = 0; round < 20; round++) {
                double share = wcoh_rng_uniform(&rng),
                       value = f->minimum + share * share * share * (f->maximum - f->minimum);
                uint64_t seed = wcoh_rng_next(&rng);
                memset(&one, 0, sizeof one);
                memset(&two, 0, sizeof two);
                if (f->kind == WCOH_FIELD_SEED)
                    memcpy((char *)&one + f->offset, &seed, sizeof seed);
                else if (f->kind == WCOH_FIELD_CHOICE) put(f, &one, round % 2);
                else put(f, &one, f->kind == WCOH_FIELD_INT ? floor(value) : value);
                CHECK(wcoh_field_get(kind, &one, f->name, text, sizeof text) == (int)strlen(text));
                CHECK_SAY(wcoh_field_set(kind, &two, f->name, text, &error) == WCOH_OK, "%s",
                          error.text);
                CHECK_SAY(memcmp(&one, &two, sizeof one) == 0, "%s changes by way of \"%s\"",
                          f->name, text);
                CHECK(wcoh_field_get(kind, &two, f->name, again, sizeof again) > 0 &&
                      strcmp(text, again) == 0);
            }
        }
    }
}

static void only_heads_with_a_gain_listen(void)
{
    static const char *const bad[] = {"forgetting=on attention=rotary", "loudness=on attention=dot",
                                      "overtones=1 attention=dot", "overtones=2 attention=frozen",
                                      "loudness=on attention=frozen",
                                      "query_gain=on attention=dot"};
    wcoh_error error = {WCOH_OK, ""};
    wcoh_model_desc desc;
    size_t i;
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        char name[16];
        desc = model_desc_of(bad[i]);
        desc.vocab = 7;
        CHECK(wcoh_model_desc_resolve(&desc, &error) == WCOH_E_ARGUMENT);
        snprintf(name, sizeof name, "%.6s", bad[i]);
        CHECK_TEXT(error.text, name);
        CHECK_TEXT(error.text, "no layer's attention is coherence or shared");
    }
    desc = model_desc_of("vocab=7 forgetting=on loudness=on attention=dot,shared layers=2");
    CHECK_SAY(wcoh_model_desc_resolve(&desc, &error) == WCOH_OK, "%s", error.text);
}

/* Phases need somebody who hears them, trained references a head that has some. */
static void settings_without_a_reader_are_refused(void)
{
    static const struct {
        const char *settings, *says;
    } dumb[] = {
        {"vocab=7 mixing=0.1 ffn=mlp", "mixing is 0.1: no layer has oscillators"},
        {"vocab=7 mixing=0.1 per_band_first=on layers=1",
         "mixing is 0.1: no layer has oscillators"},
        {"vocab=7 solver=rk4 rk4_weights=on ffn=gated_mlp,mlp layers=2",
         "rk4_weights is on: no layer has oscillators"},
        {"vocab=7 gain_control=on ffn=mlp", "gain_control is on: no layer has oscillators"},
        {"vocab=7 gain_control=on per_band_first=on layers=1",
         "gain_control is on: no layer has oscillators"},
        {"vocab=7 head_scale=3",
         "head_scale is 3: the head is not tied, phase_native or wave_decode"},
        {"vocab=7 head_scale=0.5 head=low_rank", "head_scale is 0.5: the head is not tied"},
    };
    size_t i;
    wcoh_error error = {WCOH_OK, ""};
    wcoh_model_desc desc = model_desc_of("vocab=7 phases=9 attention=dot,pope layers=2");
    CHECK(wcoh_model_desc_resolve(&desc, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "phases is 9: phase_input is off and no layer's attention is resonance");
    desc = model_desc_of("vocab=7 attention=dot,resonance layers=2");
    CHECK(wcoh_model_desc_resolve(&desc, &error) == WCOH_OK && desc.phases == 32);
    desc = model_desc_of("vocab=7 key_width=9 attention=coherence,frozen layers=2");
    CHECK(wcoh_model_desc_resolve(&desc, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text,
               "key_width is 9: no layer's attention is dot, rotary, pope or resonance");
    desc = model_desc_of("vocab=7 key_width=9 attention=dot,rotary layers=2");
    CHECK(wcoh_model_desc_resolve(&desc, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "key_width is 9: rotary heads need an even width");
    desc = model_desc_of("vocab=7 reference_trained=on head=tied");
    CHECK(wcoh_model_desc_resolve(&desc, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "reference_trained is on: the head is not wave_decode");
    for (i = 0; i < sizeof dumb / sizeof *dumb; i++) {
        desc = model_desc_of(dumb[i].settings);
        CHECK(wcoh_model_desc_resolve(&desc, &error) == WCOH_E_ARGUMENT);
        CHECK_TEXT(error.text, dumb[i].says);
    }
    desc = model_desc_of("vocab=7 gain_control=on per_band_first=on layers=2");
    CHECK_SAY(wcoh_model_desc_resolve(&desc, &error) == WCOH_OK, "%s", error.text);
    desc = model_desc_of("vocab=7 head=tied head_scale=3");
    CHECK_SAY(wcoh_model_desc_resolve(&desc, &error) == WCOH_OK, "%s", error.text);
}

/* Rows of an orthogonal table: as long as harmonic ones, 1e-6 of which float leaves of a product. */
static void orthogonal_rows_are_orthogonal(void)
{
    wcoh_model_desc desc = model_desc_of("vocab=30 bands=8 heads=4 embedding=orthogonal");
    wcoh_model *model = model_of(&desc);
    wcoh_param table;
    int a, b, i;
    if (!model) return;
    wcoh_model_param(model, 0, &table, NULL);
    for (a = 0; a < 30; a++)
        for (b = a; b < 30; b++) {
            double dot = 0;
            for (i = 0; i < 16; i++)
                dot += (double)table.data[16 * a + i] * (double)table.data[16 * b + i];
            if (a == b || a / 16 == b / 16) CHECK_NEAR(dot, a == b ? 8 : 0, 8e-6);
        }
    wcoh_model_destroy(model);
}

static void bad_text_is_refused(void)
{
    static const char *const bad[] = {"",   " ",   "1 ",  "x",     "1x",  "--1", "1e",
                                      "0x", "nan", "inf", "1e999", "1,5", "12.5"};
    wcoh_model_desc desc = model_desc_of("bands=9");
    wcoh_error error = {WCOH_OK, ""};
    size_t i;
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_SAY(wcoh_field_set(WCOH_DESC_MODEL, &desc, "bands", bad[i], &error) ==
                      WCOH_E_ARGUMENT,
                  "bands = \"%s\" is taken", bad[i]);
        CHECK_TEXT(error.text, "bands");
    }
    CHECK(desc.bands == 9);
    CHECK(wcoh_field_set(WCOH_DESC_MODEL, &desc, "seed", "18446744073709551615", &error) ==
          WCOH_OK);
    CHECK(desc.seed == 18446744073709551615ull);
    CHECK(wcoh_field_set(WCOH_DESC_MODEL, &desc, "seed", "18446744073709551616", &error) ==
          WCOH_E_ARGUMENT);
    CHECK(wcoh_field_set(WCOH_DESC_MODEL, &desc, "seed", "-1", &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_field_set(WCOH_DESC_MODEL, &desc, "solver", "rk", &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "exact perturbative rk4 none");
    CHECK(wcoh_field_set(WCOH_DESC_MODEL, &desc, "no_such_thing", "1", &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "no_such_thing");
    CHECK(wcoh_field_get(WCOH_DESC_MODEL, &desc, "no_such_thing", NULL, 0) == -1);
    CHECK(wcoh_field_set(WCOH_DESC_MODEL, &desc, "gain", "13", NULL) ==
          WCOH_E_ARGUMENT); /* no error struct */
}

/* The text may come from a file and the sentence go to a terminal. */
static void refused_text_is_harmless_in_its_sentence(void)
{
    static const char *const fields[][2] = {{"bands", "\033[2J\n9"},
                                            {"seed", "\0337\r"},
                                            {"solver", "\033]0;exact\007"},
                                            {"attention", "dot,\033c"},
                                            {"\033[31mbands\177", "1"}};
    wcoh_model_desc desc = model_desc_of("bands=9");
    wcoh_error error;
    const char *c;
    size_t i;
    for (i = 0; i < sizeof fields / sizeof *fields; i++) {
        CHECK(wcoh_field_set(WCOH_DESC_MODEL, &desc, fields[i][0], fields[i][1], &error) ==
              WCOH_E_ARGUMENT);
        CHECK_TEXT(error.text, "\"?");
        for (c = error.text; *c; c++)
            CHECK_SAY((unsigned char)*c >= 0x20 && *c != 0x7f, "%s: a control", fields[i][0]);
    }
}

static void results_have_names_and_sentences(void)
{
    int code;
    for (code = 0; code >= -11; code--) {
        CHECK(strncmp(wcoh_result_name((wcoh_result)code), code ? "WCOH_E_" : "WCOH_OK", 7) == 0);
        CHECK(strlen(wcoh_result_text((wcoh_result)code)) > 4);
    }
    CHECK(wcoh_result_name((wcoh_result)-99) != NULL && wcoh_result_text((wcoh_result)-99) != NULL);
}

/* ---- memory ---------------------------------------------------------------------------------- */

enum { small_batch = 3, small_seq = 10, text_count = 400 };
static uint32_t text[8192];
static const char small[] = "vocab=13 bands=6 heads=3 layers=2 maestro=4 context=64";

static wcoh_trainer_desc small_trainer(void)
{
    wcoh_trainer_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.batch = small_batch;
    desc.seq = small_seq;
    desc.steps = 50;
    desc.warmup = 5;
    desc.eval_every = 4;
    desc.eval_batches = 2;
    desc.cpu.threads = 1;
    return desc;
}

static wcoh_result small_data(wcoh_trainer *trainer)
{
    random_tokens(text, text_count, 13, 9);
    return wcoh_trainer_set_data(trainer, text, 300, text + 300, 100, NULL);
}

/* Objects of each kind through an allocator that counts; fails where `c` says. */
static wcoh_result make_everything(counting *c, wcoh_error *error)
{
    wcoh_model_desc model_desc = model_desc_of(small);
    wcoh_trainer_desc trainer_desc = small_trainer();
    wcoh_session_desc session_desc;
    wcoh_eval_desc eval_desc;
    wcoh_model *model = NULL;
    wcoh_trainer *trainer = NULL;
    wcoh_session *session = NULL;
    wcoh_tokenizer *tokenizer = NULL;
    wcoh_result result;
    double loss;
    size_t scored;
    memset(&session_desc, 0, sizeof session_desc);
    memset(&eval_desc, 0, sizeof eval_desc);
    eval_desc.seq = small_seq;
    model_desc.memory = trainer_desc.memory = session_desc.memory = eval_desc.memory =
        counting_memory(c);
    result =
        wcoh_tokenizer_create_chars(&tokenizer, "abcdefghijklm", 13, &model_desc.memory, error);
    model_desc.tokenizer = tokenizer;
    if (!result) result = wcoh_model_create(&model, &model_desc, error);
    if (!result) result = wcoh_trainer_create(&trainer, model, &trainer_desc, error);
    if (!result) result = wcoh_session_create(&session, model, &session_desc, error);
    if (!result) {
        random_tokens(text, text_count, 13, 9);
        result = wcoh_model_evaluate(model, &eval_desc, text, 300, &loss, &scored, error);
    }
    if (!result) {
        CHECK(small_data(trainer) == WCOH_OK);
        CHECK(wcoh_trainer_step(trainer, NULL, error) == WCOH_OK);
        CHECK(wcoh_session_prefill(session, text, 30, error) == WCOH_OK);
        CHECK(scored == 290 || scored == 300);
    }
    wcoh_session_destroy(session);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    wcoh_tokenizer_destroy(tokenizer);
    return result;
}

static void nothing_leaks(void)
{
    counting c = {0, 0, 0, 0};
    long before = libc_calls;
    wcoh_error error = {WCOH_OK, ""};
    CHECK_SAY(make_everything(&c, &error) == WCOH_OK, "%s", error.text);
    CHECK_SAY(c.live == 0, "%ld blocks are left", c.live);
    CHECK_SAY(libc_calls == before, "%ld allocations past the desc's allocator",
              libc_calls - before);
    CHECK(c.calls >= 5);
}

static void every_failing_allocation_is_an_error(void)
{
    long at, calls;
    counting c = {0, 0, 0, 0};
    make_everything(&c, NULL);
    calls = c.calls;
    for (at = 1; at <= calls; at++) {
        wcoh_error error = {WCOH_OK, ""};
        memset(&c, 0, sizeof c);
        c.fail_at = at;
        CHECK_SAY(make_everything(&c, &error) == WCOH_E_MEMORY, "allocation %ld fails unnoticed",
                  at);
        CHECK_SAY(error.code == WCOH_E_MEMORY && error.text[0], "allocation %ld: no sentence", at);
        CHECK_SAY(c.live == 0, "allocation %ld: %ld blocks are left", at, c.live);
    }
}

/* What the size functions report is what is taken, in one block (making a plan to measure it takes
   another for a moment). */
static void sizes_are_known_before(void)
{
    size_t taken;
    counting c = {0, 0, 0, 0};
    wcoh_model_desc model_desc = model_desc_of(small);
    wcoh_trainer_desc trainer_desc = small_trainer();
    wcoh_session_desc session_desc;
    wcoh_model *model = NULL;
    wcoh_trainer *trainer = NULL;
    wcoh_session *session = NULL;
    memset(&session_desc, 0, sizeof session_desc);
    model_desc.memory = trainer_desc.memory = session_desc.memory = counting_memory(&c);
    CHECK(wcoh_model_create(&model, &model_desc, NULL) == WCOH_OK);
    CHECK(c.calls == 1 && c.live == 1);
    CHECK_SAY(c.bytes == wcoh_model_size(&model_desc, NULL), "model: %d bytes taken", (int)c.bytes);
    CHECK(wcoh_trainer_create(&trainer, model, &trainer_desc, NULL) == WCOH_OK);
    CHECK(c.live == 2);
    taken = c.bytes;
    CHECK_SAY(taken == wcoh_trainer_size(&model_desc, &trainer_desc, NULL),
              "trainer: %d bytes taken", (int)taken);
    CHECK(wcoh_session_create(&session, model, &session_desc, NULL) == WCOH_OK);
    CHECK(c.live == 3);
    taken = c.bytes;
    CHECK_SAY(taken == wcoh_session_size(model, &session_desc, NULL), "session: %d bytes taken",
              (int)taken);
    wcoh_session_destroy(session);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    CHECK(c.live == 0);
}

/* A block of exactly the size, at an odd address, between guards; and one byte too few. */
typedef struct lent {
    unsigned char *bytes;
    size_t size;
} lent;

static wcoh_memory lend(lent *l, size_t size)
{
    wcoh_memory memory;
    memset(&memory, 0, sizeof memory);
    l->size = size;
    l->bytes = (unsigned char *)malloc(size + 34);
    if (!l->bytes) return memory;
    memset(l->bytes, 0xc3, size + 34);
    memory.block = l->bytes + 17;
    memory.block_size = size;
    return memory;
}

static void take_back(lent *l)
{
    int i, touched = 0;
    for (i = 0; l->bytes && i < 17; i++)
        touched += l->bytes[i] != 0xc3 || l->bytes[17 + l->size + (size_t)i] != 0xc3;
    CHECK_SAY(!touched, "%d bytes beside the block are written", touched);
    free(l->bytes);
}

static void blocks_can_be_handed_over(void)
{
    lent a, b, c, few;
    wcoh_model_desc model_desc = model_desc_of(small), poor = model_desc;
    wcoh_trainer_desc trainer_desc = small_trainer();
    wcoh_session_desc session_desc;
    wcoh_model *model = NULL, *none = NULL;
    wcoh_trainer *trainer = NULL;
    wcoh_session *session = NULL;
    wcoh_error error = {WCOH_OK, ""};
    long before;
    memset(&session_desc, 0, sizeof session_desc);
    model_desc.memory = lend(&a, wcoh_model_size(&model_desc, NULL));
    trainer_desc.memory = lend(&b, wcoh_trainer_size(&model_desc, &trainer_desc, NULL));
    poor.memory = lend(&few, a.size - 1);
    CHECK(wcoh_model_create(&none, &poor, &error) == WCOH_E_MEMORY && none == NULL);
    CHECK_TEXT(error.text, "block");
    before = libc_calls;
    CHECK_SAY(wcoh_model_create(&model, &model_desc, &error) == WCOH_OK, "%s", error.text);
    CHECK_SAY(wcoh_trainer_create(&trainer, model, &trainer_desc, &error) == WCOH_OK, "%s",
              error.text);
    CHECK(libc_calls == before);
    session_desc.memory = lend(&c, wcoh_session_size(model, &session_desc, NULL));
    before = libc_calls;
    CHECK_SAY(wcoh_session_create(&session, model, &session_desc, &error) == WCOH_OK, "%s",
              error.text);
    CHECK(small_data(trainer) == WCOH_OK);
    CHECK(wcoh_trainer_step(trainer, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_session_prefill(session, text, 50, NULL) == WCOH_OK);
    wcoh_session_destroy(session);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    CHECK(libc_calls == before);
    take_back(&a);
    take_back(&b);
    take_back(&c);
    take_back(&few);
}

/* The bytes of a block that somebody lives in. */
static unsigned char *bytes_of(const lent *l)
{
    unsigned char *copy = (unsigned char *)malloc(l->size);
    if (copy) memcpy(copy, l->bytes + 17, l->size);
    return copy;
}

static void check_untouched(const lent *l, unsigned char *before, const char *what)
{
    CHECK_SAY(before && memcmp(before, l->bytes + 17, l->size) == 0, "%s writes into the block",
              what);
    free(before);
}

/* A size that is asked for again, and a profile, find somebody in the block that the desc names. */
static void who_lives_in_a_block_is_left_alone(void)
{
    static wcoh_op_time rows[WCOH_OP_TIMES];
    lent a, b, c;
    wcoh_model_desc model_desc = model_desc_of(small);
    wcoh_trainer_desc trainer_desc = small_trainer(), plain = trainer_desc;
    wcoh_session_desc session_desc;
    wcoh_crowd_desc crowd_desc;
    wcoh_model *model = model_of(&model_desc), *other = model_of(&model_desc);
    wcoh_trainer *trainer = NULL, *same = trainer_of(other, &plain);
    wcoh_session *session = NULL;
    wcoh_crowd *crowd = NULL;
    wcoh_stats stats[2];
    unsigned char *before;
    size_t size, member;
    int count = 0, i;
    memset(&session_desc, 0, sizeof session_desc);
    memset(&crowd_desc, 0, sizeof crowd_desc);
    crowd_desc.members = 3;
    member = wcoh_crowd_member_size(model, &crowd_desc, NULL);
    trainer_desc.memory = lend(&a, wcoh_trainer_size(&model_desc, &trainer_desc, NULL));
    session_desc.memory = lend(&b, wcoh_session_size(model, &session_desc, NULL));
    crowd_desc.memory = lend(&c, wcoh_crowd_size(model, &crowd_desc, NULL));
    CHECK(wcoh_trainer_create(&trainer, model, &trainer_desc, NULL) == WCOH_OK);
    CHECK(wcoh_session_create(&session, model, &session_desc, NULL) == WCOH_OK);
    CHECK(wcoh_crowd_create(&crowd, model, &crowd_desc, NULL) == WCOH_OK);
    before = bytes_of(&a);
    size = wcoh_trainer_size(&model_desc, &trainer_desc, NULL);
    CHECK(size == a.size);
    check_untouched(&a, before, "wcoh_trainer_size");
    before = bytes_of(&b);
    size = wcoh_session_size(model, &session_desc, NULL);
    CHECK(size == b.size);
    check_untouched(&b, before, "wcoh_session_size");
    before = bytes_of(&c);
    size = wcoh_crowd_size(model, &crowd_desc, NULL);
    CHECK(size == c.size && wcoh_crowd_member_size(model, &crowd_desc, NULL) == member);
    check_untouched(&c, before, "wcoh_crowd_size or wcoh_crowd_member_size");
    CHECK(small_data(trainer) == WCOH_OK && small_data(same) == WCOH_OK);
    CHECK(wcoh_trainer_profile(trainer, 2, rows, &count, NULL) == WCOH_OK && count > 0);
    for (i = 0; i < 3; i++) CHECK(wcoh_trainer_step(same, &stats[0], NULL) == WCOH_OK);
    wcoh_trainer_stats(trainer, &stats[1]);
    CHECK(stats[0].step == stats[1].step && stats[0].train_loss == stats[1].train_loss);
    wcoh_crowd_destroy(crowd);
    wcoh_session_destroy(session);
    wcoh_trainer_destroy(trainer);
    wcoh_trainer_destroy(same);
    wcoh_model_destroy(model);
    wcoh_model_destroy(other);
    take_back(&a);
    take_back(&b);
    take_back(&c);
}

static void steps_allocate_nothing(void)
{
    static const char *const settings[] = {
        small, "vocab=13 bands=6 heads=3 layers=2 attention=rotary ffn=mlp",
        "vocab=13 bands=6 heads=3 layers=2 solver=rk4 attention=frozen per_band_first=on"};
    size_t s;
    for (s = 0; s < sizeof settings / sizeof *settings; s++) {
        counting c = {0, 0, 0, 0};
        wcoh_model_desc desc = model_desc_of(settings[s]);
        wcoh_trainer_desc trainer_desc = small_trainer();
        wcoh_model *model;
        wcoh_trainer *trainer;
        wcoh_session *session;
        long calls, libc;
        int i;
        desc.memory = trainer_desc.memory = counting_memory(&c);
        model = model_of(&desc);
        trainer = trainer_of(model, &trainer_desc);
        session = session_of(model, 0);
        CHECK(small_data(trainer) == WCOH_OK);
        calls = c.calls;
        libc = libc_calls;
        for (i = 0; i < 9; i++) CHECK(wcoh_trainer_step(trainer, NULL, NULL) == WCOH_OK);
        CHECK(wcoh_trainer_run(trainer, 1, NULL, NULL) == WCOH_OK);
        CHECK(wcoh_session_prefill(session, text, 100, NULL) == WCOH_OK);
        for (i = 0; i < 100; i++) CHECK(wcoh_session_step(session, text[i], NULL) == WCOH_OK);
        CHECK_SAY(c.calls == calls && libc_calls == libc, "%ld allocations",
                  c.calls - calls + libc_calls - libc);
        wcoh_session_destroy(session);
        wcoh_trainer_destroy(trainer);
        wcoh_model_destroy(model);
    }
}

/* ---- training -------------------------------------------------------------------------------- */

static void learns_a_pattern(void)
{
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_trainer_desc trainer_desc = small_trainer();
    wcoh_model *model = model_of(&desc);
    wcoh_trainer *trainer;
    wcoh_stats stats;
    double first = 0;
    size_t i;
    int step;
    trainer_desc.steps = 300;
    trainer_desc.lr = 0.01;
    trainer = trainer_of(model, &trainer_desc);
    for (i = 0; i < text_count; i++) text[i] = (uint32_t)((i % 12) * (i % 12) % 13);
    CHECK(wcoh_trainer_set_data(trainer, text, 300, text + 300, 100, NULL) == WCOH_OK);
    for (step = 0; step < 300; step++) {
        CHECK(wcoh_trainer_step(trainer, &stats, NULL) == WCOH_OK);
        if (!step) first = stats.train_loss;
    }
    CHECK(first > 1.5);
    CHECK_SAY(stats.train_loss < 0.3 && stats.val_loss < 0.3, "train %g, val %g", stats.train_loss,
              stats.val_loss);
    CHECK(stats.step == 300 && stats.done && stats.tokens == 300 * small_batch * small_seq);
    CHECK(stats.best_val <= stats.val_loss);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* The batch's gradient is the mean of its halves' gradients. */
static void gradients_are_means_over_windows(void)
{
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_trainer_desc trainer_desc = small_trainer();
    wcoh_model *model = model_of(&desc);
    wcoh_trainer *trainer;
    double whole, half[2], *sum = NULL;
    const wcoh_real *g;
    int part, index = model ? wcoh_model_param_find(model, "blocks.0.attn.value.weight") : 0;
    size_t i;
    trainer_desc.batch = 4;
    trainer = trainer_of(model, &trainer_desc);
    random_tokens(text, 8 * small_seq, 13, 21);
    sum = (double *)calloc(144, sizeof *sum);
    for (part = 0; sum && part < 2; part++) {
        CHECK(wcoh_trainer_gradient(trainer, text + part * 2 * small_seq,
                                    text + (4 + part * 2) * small_seq, 2, small_seq, &half[part],
                                    NULL) == WCOH_OK);
        g = wcoh_trainer_param_gradient(trainer, index);
        for (i = 0; g && i < 144; i++) sum[i] += 0.5 * (double)g[i];
    }
    CHECK(wcoh_trainer_gradient(trainer, text, text + 4 * small_seq, 4, small_seq, &whole, NULL) ==
          WCOH_OK);
    CHECK_NEAR(whole, (half[0] + half[1]) / 2, 1e-6);
    g = wcoh_trainer_param_gradient(trainer, index);
    for (i = 0; g && sum && i < 144; i++) CHECK_NEAR(g[i], sum[i], 1e-7);
    free(sum);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* Windows are drawn one by one, and dropped elements are those of the whole batch: two batches of two
   are the same work as one of four. */
static void accumulation_is_a_larger_batch_with(const char *training)
{
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_trainer_desc trainer_desc = small_trainer();
    wcoh_stats stats[2];
    int i;
    memset(stats, 0, sizeof stats);
    settings_apply(WCOH_DESC_TRAINER, &trainer_desc, training);
    for (i = 0; i < 2; i++) {
        wcoh_model *model = model_of(&desc);
        wcoh_trainer *trainer;
        trainer_desc.batch = i ? 2 : 4;
        trainer_desc.accumulate = i ? 2 : 1;
        trainer = trainer_of(model, &trainer_desc);
        CHECK(small_data(trainer) == WCOH_OK);
        CHECK(wcoh_trainer_step(trainer, &stats[i], NULL) == WCOH_OK);
        wcoh_trainer_destroy(trainer);
        wcoh_model_destroy(model);
    }
    CHECK_NEAR(stats[0].train_loss, stats[1].train_loss, 1e-6);
    CHECK_NEAR(stats[0].grad_norm, stats[1].grad_norm, 1e-5 * stats[0].grad_norm);
    CHECK(stats[0].tokens == stats[1].tokens && stats[0].tokens == 4 * small_seq);
}

static void accumulation_is_a_larger_batch(void)
{
    accumulation_is_a_larger_batch_with("");
    accumulation_is_a_larger_batch_with("dropout=0.3");
    accumulation_is_a_larger_batch_with("embedding_dropout=0.3");
    accumulation_is_a_larger_batch_with("phase_noise=0.3");
    accumulation_is_a_larger_batch_with("attention_dropout=0.3");
}

/* Three updates against the formula in double: moments, bias correction, decay of matrices, clip at
   the global norm, warm-up. 2e-6 is some float32 units of parameters near 1. */
static void updates_are_adamw(void)
{
    static const char *const names[] = {"head.weight", "norm_f.bias", "blocks.0.ffn.kerr.omega",
                                        "blocks.1.attn.damping_raw", "blocks.1.ffn.out.weight"};
    enum { tensors = 5, most = 200 };
    static double p[tensors][most], m[tensors][most], v[tensors][most], g[tensors][most];
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_trainer_desc trainer_desc = small_trainer();
    wcoh_model *model = model_of(&desc);
    wcoh_trainer *trainer;
    wcoh_stats stats;
    double loss;
    int t, i, step;
    trainer_desc.clip = 0.05;
    trainer_desc.decay = 0.3;
    trainer_desc.lr = 0.01;
    trainer = trainer_of(model, &trainer_desc);
    random_tokens(text, 100, 13, 3);
    memset(m, 0, sizeof m);
    memset(v, 0, sizeof v);
    for (step = 1; step <= 3; step++) {
        CHECK(wcoh_trainer_gradient(trainer, text, text + 40, 3, small_seq, &loss, NULL) ==
              WCOH_OK);
        for (t = 0; t < tensors; t++) {
            wcoh_param param = param_of(model, names[t]);
            const wcoh_real *given =
                wcoh_trainer_param_gradient(trainer, wcoh_model_param_find(model, names[t]));
            for (i = 0; given && i < (int)param.count; i++) {
                p[t][i] = (double)param.data[i];
                g[t][i] = (double)given[i];
            }
        }
        CHECK(wcoh_trainer_update(trainer, &stats, NULL) == WCOH_OK);
        CHECK_NEAR(stats.lr, 0.01 * step / 5, 1e-12);
        CHECK(stats.grad_norm > 0.05); /* so that the clip is at work */
        for (t = 0; t < tensors; t++) {
            wcoh_param param = param_of(model, names[t]);
            for (i = 0; i < (int)param.count; i++) {
                double clipped = g[t][i] * 0.05 / stats.grad_norm, expected;
                m[t][i] = 0.9 * m[t][i] + 0.1 * clipped;
                v[t][i] = 0.99 * v[t][i] + 0.01 * clipped * clipped;
                expected =
                    m[t][i] / (1 - pow(0.9, step)) / (sqrt(v[t][i] / (1 - pow(0.99, step))) + 1e-8);
                expected = p[t][i] - stats.lr * (expected + (param.decayed ? 0.3 : 0) * p[t][i]);
                if (!CHECK_SAY(test_near((double)param.data[i], expected, 2e-6),
                               "step %d: %s[%d] is %.8g, not %.8g", step, names[t], i,
                               (double)param.data[i], expected))
                    break;
            }
        }
    }
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* Linear warm-up to lr, then a cosine that ends near lr_end of it. */
static void the_rate_follows_its_schedule(void)
{
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_trainer_desc trainer_desc = small_trainer();
    wcoh_model *model = model_of(&desc);
    wcoh_trainer *trainer;
    wcoh_stats stats;
    int step;
    trainer_desc.steps = 20;
    trainer_desc.warmup = 4;
    trainer_desc.lr = 0.008;
    trainer = trainer_of(model, &trainer_desc);
    CHECK(small_data(trainer) == WCOH_OK);
    for (step = 0; step < 20; step++) {
        double share = (step - 4) / 16.0, expected = 0.002 * (step + 1);
        if (step >= 4)
            expected = 0.008 * (0.1 + 0.9 * 0.5 * (1 + cos(3.14159265358979323846 * share)));
        CHECK(wcoh_trainer_step(trainer, &stats, NULL) == WCOH_OK);
        CHECK_NEAR(stats.lr, expected, 1e-12);
    }
    CHECK(stats.done);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* In the first third of the run only the first 8 bands are heard, and learn. */
static void the_curriculum_opens_the_bands(void)
{
    wcoh_model_desc desc =
        model_desc_of("vocab=13 bands=32 heads=4 layers=1 embedding=random embedding_trained=on");
    wcoh_trainer_desc trainer_desc = small_trainer();
    wcoh_model *model = model_of(&desc), *before = model_of(&desc);
    wcoh_trainer *trainer;
    wcoh_param now = param_of(model, "embed.weight"), then = param_of(before, "embed.weight");
    int step, changed[64], i, v;
    static const int opened[3] = {16, 24, 64}; /* columns: 8, 12 and 32 bands */
    trainer_desc.curriculum = WCOH_CURRICULUM_ON;
    trainer_desc.decay = -1;
    trainer_desc.steps = 9;
    trainer = trainer_of(model, &trainer_desc);
    CHECK(small_data(trainer) == WCOH_OK);
    for (step = 0; step < 9; step++) {
        CHECK(wcoh_trainer_step(trainer, NULL, NULL) == WCOH_OK);
        memset(changed, 0, sizeof changed);
        for (i = 0; i < 64; i++)
            for (v = 0; v < 13; v++) changed[i] |= now.data[v * 64 + i] != then.data[v * 64 + i];
        for (i = 0; i < 64; i++)
            if (!CHECK_SAY(changed[i] == (i < opened[step / 3]), "step %d, column %d", step + 1, i))
                break;
    }
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    wcoh_model_destroy(before);
}

/* The soft one: of 32 bands feed-forward hears 8, 8, 16 and 32 from 0, 0.2, 0.45 and 0.7 of the run on;
   new ones grow over 200 steps from 0.01, where those to come are. A loss by hand has them all. */
static void the_soft_curriculum_opens_what_feed_forward_hears(void)
{
    wcoh_model_desc desc = model_desc_of("vocab=13 bands=32 heads=4 layers=1 per_band_first=on");
    wcoh_trainer_desc trainer_desc = small_trainer();
    wcoh_model *model = model_of(&desc);
    wcoh_trainer *trainer, *plain;
    double here = 0, there = 1;
    int index = wcoh_model_param_find(model, "blocks.0.ffn.per_band.weight"), step, i;
    static const int begin[5] = {0, 4, 9, 14, 20}, open[4] = {8, 8, 8, 16}, opening[4] = {8, 8, 16, 32};
    trainer_desc.steps = 20;
    trainer_desc.eval_every = 20;
    plain = trainer_of(model, &trainer_desc);
    trainer_desc.curriculum = WCOH_CURRICULUM_SOFT;
    trainer = trainer_of(model, &trainer_desc);
    CHECK(small_data(trainer) == WCOH_OK);
    for (step = 0; step < 19; step++) { /* an evaluation follows the last */
        const wcohi_run *run = &trainer->run;
        double heard = 0, barely = 0;
        const wcoh_real *g;
        int stage = 0;
        while (step >= begin[stage + 1]) stage++;
        CHECK(wcoh_trainer_step(trainer, NULL, NULL) == WCOH_OK);
        CHECK(run->open == open[stage] && run->opening == opening[stage] && run->active_bands == 32);
        CHECK_NEAR(run->share, 0.01 + 0.99 * (step - begin[stage]) / 200, 1e-12);
        g = wcoh_trainer_param_gradient(trainer, index);
        for (i = 0; i < 32; i++) heard += fabs((double)g[i]), barely += fabs((double)g[4 * 24 + i]);
        CHECK_SAY(barely > 0 && barely < 0.12 * heard, "step %d: %g of %g", step, barely, heard);
    }
    CHECK(wcoh_trainer_loss(trainer, text, text + 1, 1, 10, &here, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_loss(plain, text, text + 1, 1, 10, &there, NULL) == WCOH_OK);
    CHECK(here == there);
    wcoh_trainer_destroy(plain);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

static void evaluating_by_hand_gives_the_same(void)
{
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_trainer_desc trainer_desc = small_trainer();
    wcoh_model *model = model_of(&desc);
    wcoh_trainer *trainer;
    wcoh_stats stats;
    double val = 0;
    int step;
    trainer_desc.eval_every = 3;
    trainer = trainer_of(model, &trainer_desc);
    CHECK(small_data(trainer) == WCOH_OK);
    for (step = 0; step < 3; step++) CHECK(wcoh_trainer_step(trainer, &stats, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_evaluate(trainer, &val, NULL) == WCOH_OK);
    CHECK(val == stats.val_loss && val > 0);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

static void bad_training_calls_are_errors(void)
{
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_trainer_desc trainer_desc = small_trainer();
    wcoh_model *model = model_of(&desc);
    wcoh_trainer *trainer = trainer_of(model, &trainer_desc);
    wcoh_error error = {WCOH_OK, ""};
    double loss;
    CHECK(wcoh_trainer_step(trainer, NULL, &error) == WCOH_E_DATA);
    CHECK(wcoh_trainer_evaluate(trainer, &loss, &error) == WCOH_E_DATA);
    random_tokens(text, text_count, 13, 9);
    CHECK(wcoh_trainer_set_data(trainer, text, small_seq, NULL, 0, &error) == WCOH_E_DATA);
    text[17] = 13;
    CHECK(wcoh_trainer_set_data(trainer, text, 300, NULL, 0, &error) == WCOH_E_TOKEN);
    CHECK_TEXT(error.text, "17");
    CHECK_TEXT(error.text, "13");
    CHECK(wcoh_trainer_gradient(trainer, text, text, 2, small_seq, &loss, &error) == WCOH_E_TOKEN);
    text[17] = 0;
    CHECK(wcoh_trainer_gradient(trainer, text, text, small_batch + 1, small_seq, &loss, &error) ==
          WCOH_E_ARGUMENT);
    CHECK(wcoh_trainer_gradient(trainer, text, text, 1, small_seq + 1, &loss, &error) ==
          WCOH_E_ARGUMENT);
    CHECK(wcoh_trainer_gradient(trainer, text, text, 0, 1, &loss, &error) == WCOH_E_ARGUMENT);
    text[40] = text[41] = WCOH_TARGET_NONE;
    CHECK(wcoh_trainer_gradient(trainer, text, text + 40, 1, 2, &loss, &error) == WCOH_E_DATA);
    CHECK_TEXT(error.text, "no target of the batch counts");
    CHECK(wcoh_trainer_loss(trainer, text, text + 40, 1, 3, &loss, &error) == WCOH_OK);
    text[42] = 13;
    CHECK(wcoh_trainer_loss(trainer, text, text + 40, 1, 3, &loss, &error) == WCOH_E_TOKEN);
    CHECK_TEXT(error.text, "target token 2 is 13");
    random_tokens(text, text_count, 13, 9);
    CHECK(wcoh_trainer_set_data(trainer, text, 300, NULL, 0, &error) == WCOH_OK);
    CHECK(wcoh_trainer_step(trainer, NULL, &error) ==
          WCOH_OK); /* no validation data: no evaluation */
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    desc = model_desc_of("vocab=13 bands=6 heads=3 context=8 position=learned");
    model = model_of(&desc);
    trainer = NULL;
    CHECK(wcoh_trainer_create(&trainer, model, &trainer_desc, &error) == WCOH_E_ARGUMENT &&
          trainer == NULL);
    CHECK_TEXT(error.text, "seq");
    wcoh_model_destroy(model);
}

/* A loss that is not finite leaves the parameters as they were. */
static void numeric_failure_changes_nothing(void)
{
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_trainer_desc trainer_desc = small_trainer();
    wcoh_model *model = model_of(&desc), *before = model_of(&desc);
    wcoh_trainer *trainer = trainer_of(model, &trainer_desc);
    wcoh_param p = param_of(model, "blocks.1.ffn.out.bias");
    wcoh_error error = {WCOH_OK, ""};
    CHECK(small_data(trainer) == WCOH_OK);
    p.data[3] = (wcoh_real)HUGE_VAL;
    wcoh_model_touch(model);
    CHECK(wcoh_model_copy(before, model, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_step(trainer, NULL, &error) == WCOH_E_NUMERIC);
    CHECK(same_parameters(model, before));
    p.data[3] = 0;
    wcoh_model_touch(model);
    CHECK(wcoh_trainer_step(trainer, NULL, &error) == WCOH_OK);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    wcoh_model_destroy(before);
}

/* After each step softplus(gain_raw) is at most 12. */
static void the_gain_stays_bounded(void)
{
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_trainer_desc trainer_desc = small_trainer();
    wcoh_model *model;
    wcoh_trainer *trainer;
    wcoh_param p;
    int step, h;
    desc.gain = 11.99;
    model = model_of(&desc);
    trainer_desc.lr = 0.5;
    trainer_desc.warmup = -1;
    trainer = trainer_of(model, &trainer_desc);
    CHECK(small_data(trainer) == WCOH_OK);
    p = param_of(model, "blocks.0.attn.gain_raw");
    for (step = 0; step < 10; step++) {
        CHECK(wcoh_trainer_step(trainer, NULL, NULL) == WCOH_OK);
        for (h = 0; h < 3; h++)
            CHECK_SAY(log1p(exp((double)p.data[h])) <= 12 + 1e-5, "gain %g",
                      log1p(exp((double)p.data[h])));
    }
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* One huge number in the gradient of the third step, the others as they are. */
static int burst(wcoh_real *gradient, size_t count, void *user)
{
    double *huge = (double *)user;
    (void)count;
    if (huge[0]-- < 1) gradient[0] = (wcoh_real)huge[1];
    return 0;
}

/* Without clipping a gradient whose square is no float is refused at its step, before a moment of it
   can become infinite: all stands as before, and the run goes on. One just below is taken, and so
   is the huge one where it is clipped; moments are finite, for they can be saved. */
static void a_huge_gradient_is_refused(void)
{
    static const struct {
        double number, clip;
        wcoh_result result;
    } bursts[] = {
        {3e38, -1, WCOH_E_NUMERIC}, {-1.5e19, -1, WCOH_E_NUMERIC}, {9.9e18, -1, WCOH_OK},
        {-3e38, 1, WCOH_OK},        {1.5e19, 1e9, WCOH_OK},
    };
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_model *before = model_of(&desc);
    wcoh_error error = {WCOH_OK, ""};
    size_t i;
    int step;
    for (i = 0; i < sizeof bursts / sizeof *bursts; i++) {
        wcoh_trainer_desc burst_desc = small_trainer();
        wcoh_model *model = model_of(&desc);
        wcoh_trainer *trainer;
        wcoh_memory_file block;
        wcoh_io io;
        wcoh_stats then, stats;
        double huge[2] = {2, 0};
        huge[1] = bursts[i].number;
        burst_desc.clip = bursts[i].clip;
        burst_desc.all_reduce = burst;
        burst_desc.all_reduce_user = huge;
        trainer = trainer_of(model, &burst_desc);
        block.capacity = 8 * wcoh_model_file_size(model) + 65536;
        block.data = (unsigned char *)malloc(block.capacity);
        block.used = 0;
        io = wcoh_io_memory(&block);
        CHECK(small_data(trainer) == WCOH_OK);
        for (step = 0; step < 2; step++) CHECK(wcoh_trainer_step(trainer, &then, NULL) == WCOH_OK);
        CHECK(wcoh_model_copy(before, model, NULL) == WCOH_OK);
        CHECK_SAY(wcoh_trainer_step(trainer, &stats, &error) == bursts[i].result, "%g: %s",
                  bursts[i].number, error.text);
        if (bursts[i].result) {
            CHECK_TEXT(error.text, "the gradient of step 3 has norm ");
            CHECK(stats.step == 2 && stats.grad_norm == then.grad_norm && stats.lr == then.lr);
            CHECK(same_parameters(model, before));
        }
        huge[0] = 100;
        for (step = 0; step < 20; step++)
            CHECK(wcoh_trainer_step(trainer, &stats, NULL) == WCOH_OK);
        CHECK(stats.step == (bursts[i].result ? 22 : 23));
        CHECK_SAY(wcoh_trainer_save(trainer, &io, &error) == WCOH_OK, "%g: %s", bursts[i].number,
                  error.text);
        free(block.data);
        wcoh_trainer_destroy(trainer);
        wcoh_model_destroy(model);
    }
    wcoh_model_destroy(before);
}

/* The same where the caller makes the gradient: wcoh_trainer_update refuses it. */
static void a_huge_gradient_of_ones_own_is_refused(void)
{
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_trainer_desc unclipped = small_trainer();
    wcoh_model *model = model_of(&desc), *before = model_of(&desc);
    wcoh_trainer *trainer;
    wcoh_error error = {WCOH_OK, ""};
    double huge[2] = {0, 2e25};
    wcoh_stats stats;
    unclipped.clip = -1;
    unclipped.all_reduce = burst;
    unclipped.all_reduce_user = huge;
    trainer = trainer_of(model, &unclipped);
    random_tokens(text, text_count, 13, 9);
    CHECK(wcoh_trainer_gradient(trainer, text, text + 40, 2, small_seq, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_update(trainer, &stats, &error) == WCOH_E_NUMERIC);
    CHECK_TEXT(error.text, "allowed without clipping is 1e19");
    CHECK(stats.step == 0 && same_parameters(model, before));
    huge[0] = 100;
    CHECK(wcoh_trainer_gradient(trainer, text, text + 40, 2, small_seq, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_update(trainer, &stats, &error) == WCOH_OK && stats.step == 1);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    wcoh_model_destroy(before);
}

typedef struct reduction {
    int calls;
    size_t count;
} reduction;

static int reduce(wcoh_real *gradient, size_t count, void *user)
{
    reduction *r = (reduction *)user;
    (void)gradient;
    r->calls++;
    r->count = count;
    return r->calls == 3;
}

static void all_reduce_sees_each_step_once(void)
{
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_trainer_desc trainer_desc = small_trainer();
    wcoh_model *model = model_of(&desc);
    wcoh_trainer *trainer;
    reduction r = {0, 0};
    trainer_desc.accumulate = 2;
    trainer_desc.all_reduce = reduce;
    trainer_desc.all_reduce_user = &r;
    trainer = trainer_of(model, &trainer_desc);
    CHECK(small_data(trainer) == WCOH_OK);
    CHECK(wcoh_trainer_step(trainer, NULL, NULL) == WCOH_OK && r.calls == 1);
    CHECK(r.count >= wcoh_model_trained_count(model));
    CHECK(wcoh_trainer_step(trainer, NULL, NULL) == WCOH_OK && r.calls == 2);
    CHECK(wcoh_trainer_step(trainer, NULL, NULL) == WCOH_E_DEVICE);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* ---- a run that is split over processes, here threads ---------------------------------------- */

typedef struct bucket_record {
    int calls, lasts, bad;
    size_t from; /* where the step's buckets begin so far; 0: none yet */
} bucket_record;

static int bucket_seen(const wcoh_bucket *bucket, void *user)
{
    bucket_record *r = (bucket_record *)user;
    r->calls++;
    r->bad += r->from != 0 && bucket->first + bucket->count != r->from;
    r->bad += (bucket->first == 0) != bucket->last || (bucket->nats != NULL) != bucket->last;
    r->lasts += bucket->last;
    r->from = bucket->first;
    return r->lasts == 4;
}

/* From the end to the beginning, while the backward goes on; the bits are those of no buckets. */
static void buckets_cover_the_gradient_as_it_is_finished(void)
{
    wcoh_model_desc desc = model_desc_of("vocab=13");
    wcoh_trainer_desc trainer_desc = small_trainer();
    wcoh_model *plain = model_of(&desc), *model = model_of(&desc);
    wcoh_trainer *trainers[2];
    wcoh_stats stats[2];
    bucket_record r = {0, 0, 0, 0};
    trainer_desc.accumulate = 2;
    trainers[0] = trainer_of(plain, &trainer_desc);
    trainer_desc.all_reduce_bucket = bucket_seen;
    trainer_desc.all_reduce_user = &r;
    trainers[1] = trainer_of(model, &trainer_desc);
    CHECK(small_data(trainers[0]) == WCOH_OK && small_data(trainers[1]) == WCOH_OK);
    CHECK(wcoh_trainer_step(trainers[0], &stats[0], NULL) == WCOH_OK);
    CHECK(wcoh_trainer_step(trainers[1], &stats[1], NULL) == WCOH_OK);
    CHECK_SAY(r.calls >= 4 && r.lasts == 1 && r.bad == 0, "%d calls, %d last, %d bad", r.calls,
              r.lasts, r.bad);
    CHECK(stats[0].train_loss == stats[1].train_loss && same_parameters(plain, model));
    for (r.lasts = 1; r.lasts < 3; r.calls = 0) /* interrupted anywhere, they are the same */
        CHECK(wcoh_trainer_run(trainers[1], 0, NULL, NULL) == WCOH_OK);
    wcoh_trainer_step(trainers[0], NULL, NULL);
    wcoh_trainer_step(trainers[0], NULL, NULL);
    CHECK(r.bad == 0 && same_parameters(plain, model));
    CHECK(wcoh_trainer_step(trainers[1], NULL, NULL) == WCOH_E_DEVICE && r.lasts == 4);
    CHECK(same_parameters(plain, model));
    wcoh_trainer_destroy(trainers[0]);
    wcoh_trainer_destroy(trainers[1]);
    wcoh_model_destroy(plain);
    wcoh_model_destroy(model);
}

static void bad_splits_are_refused(void)
{
    static const struct {
        int accumulate, rank, ranks, bucket, plain, fixed;
        const char *sentence;
    } cases[] = {
        {4, 4, 4, 1, 0, 0,
         "rank is 4, ranks is 4: allowed are ranks from 1 and rank from 0 below it"},
        {4, 0, -2, 1, 0, 0,
         "rank is 0, ranks is -2: allowed are ranks from 1 and rank from 0 below it"},
        {4, 0, 4, 0, 0, 0, "ranks is 4: that needs all_reduce_bucket"},
        {4, 0, 1, 1, 1, 0, "all_reduce and all_reduce_bucket exclude each other"},
        {6, 0, 4, 1, 0, 0, "accumulate is 6: it must be a multiple of the 4 processes"},
        {6, 0, 3, 1, 0, 1, "deterministic is on with 3 processes: it needs 1, 2, 4, 8 .."},
    };
    int i;
    for (i = 0; i < (int)(sizeof cases / sizeof cases[0]); i++) {
        wcoh_trainer_desc desc = small_trainer();
        wcoh_error error;
        desc.accumulate = cases[i].accumulate;
        desc.rank = cases[i].rank;
        desc.ranks = cases[i].ranks;
        if (cases[i].bucket) desc.all_reduce_bucket = bucket_seen;
        if (cases[i].plain) desc.all_reduce = reduce;
        if (cases[i].fixed) desc.deterministic = WCOH_SWITCH_ON;
        CHECK(wcoh_trainer_desc_resolve(&desc, NULL, &error) == WCOH_E_ARGUMENT);
        CHECK_SAY(strcmp(error.text, cases[i].sentence) == 0, "%s", error.text);
    }
}

#ifdef TEST_THREADS
enum { TEAM = 4 };

typedef struct team team;
typedef struct member {
    team *team;
    wcoh_trainer_desc desc;
    wcoh_model *model;
    wcoh_trainer *trainer;
    wcoh_bucket bucket; /* of the call under way */
    wcoh_stats stats;
    wcoh_result result;
} member;

struct team {
    pthread_mutex_t lock;
    pthread_cond_t all;
    int ranks, waiting, turn, bad;
    member members[TEAM];
};

static void team_meets(team *t)
{
    int turn;
    pthread_mutex_lock(&t->lock);
    turn = t->turn;
    if (++t->waiting == t->ranks) {
        t->waiting = 0;
        t->turn++;
        pthread_cond_broadcast(&t->all);
    }
    while (turn == t->turn) pthread_cond_wait(&t->all, &t->lock);
    pthread_mutex_unlock(&t->lock);
}

/* ((0 + 1) + (2 + 3)), as the library promises bits for */
static wcoh_real team_sum(const team *t, int first, int count, size_t i)
{
    if (count == 1) return t->members[first].bucket.gradient[i];
    return team_sum(t, first, count / 2, i) + team_sum(t, first + count / 2, count / 2, i);
}

static double team_nats(const team *t, int first, int count)
{
    if (count == 1) return *t->members[first].bucket.nats;
    return team_nats(t, first, count / 2) + team_nats(t, first + count / 2, count / 2);
}

static int team_reduce(const wcoh_bucket *bucket, void *user)
{
    member *m = (member *)user;
    team *t = m->team;
    wcoh_real *sum = (wcoh_real *)malloc(bucket->count * sizeof *sum);
    double nats = 0;
    size_t i;
    m->bucket = *bucket;
    team_meets(t);
    if (bucket->first != t->members[0].bucket.first) t->bad = 1;
    for (i = 0; i < bucket->count; i++) sum[i] = team_sum(t, 0, t->ranks, i);
    if (bucket->last) nats = team_nats(t, 0, t->ranks);
    team_meets(t);
    memcpy(bucket->gradient, sum, bucket->count * sizeof *sum);
    if (bucket->last) *bucket->nats = nats;
    free(sum);
    return 0;
}

static void *team_member(void *user)
{
    member *m = (member *)user;
    m->result = wcoh_trainer_run(m->trainer, -1, &m->stats, NULL);
    return NULL;
}

/* Five steps in `ranks` processes; what the first one has then. */
static wcoh_stats team_run(wcoh_model *model, wcoh_trainer_desc desc, int ranks)
{
    static const size_t ends[] = {0, 100, 106, 300}; /* windows that are short, too */
    wcoh_sequences train;
    wcoh_stats stats;
    pthread_t threads[TEAM];
    team t;
    int i;
    memset(&t, 0, sizeof t);
    train.count = 3;
    train.offsets = ends;
    train.tokens = text;
    pthread_mutex_init(&t.lock, NULL);
    pthread_cond_init(&t.all, NULL);
    t.ranks = desc.ranks = ranks;
    desc.steps = 5;
    desc.cpu.threads = 1;
    desc.all_reduce_bucket = team_reduce;
    for (i = 0; i < ranks; i++) {
        member *m = &t.members[i];
        m->team = &t;
        desc.rank = i;
        desc.all_reduce_user = m;
        m->model = i ? model_of(wcoh_model_get_desc(model)) : model;
        m->trainer = trainer_of(m->model, &desc);
        CHECK(wcoh_trainer_set_sequences(m->trainer, &train, NULL, NULL) == WCOH_OK);
    }
    for (i = 0; i < ranks; i++) pthread_create(&threads[i], NULL, team_member, &t.members[i]);
    for (i = 0; i < ranks; i++) pthread_join(threads[i], NULL);
    stats = t.members[0].stats;
    CHECK(!t.bad);
    for (i = 0; i < ranks; i++) {
        member *m = &t.members[i];
        CHECK(m->result == WCOH_OK && m->stats.step == 5 && m->stats.tokens == stats.tokens);
        CHECK(m->stats.train_loss == stats.train_loss && same_parameters(m->model, model));
        wcoh_trainer_destroy(m->trainer);
        if (i) wcoh_model_destroy(m->model);
    }
    pthread_mutex_destroy(&t.lock);
    pthread_cond_destroy(&t.all);
    return stats;
}

static double parameters_apart(const wcoh_model *a, const wcoh_model *b)
{
    double most = 0;
    int i;
    size_t j;
    for (i = 0; i < wcoh_model_param_count(a); i++) {
        wcoh_param p, q;
        wcoh_model_param(a, i, &p, NULL);
        wcoh_model_param(b, i, &q, NULL);
        for (j = 0; j < p.count; j++) most = fmax(most, fabs((double)(p.data[j] - q.data[j])));
    }
    return most;
}

/* Windows, masks and phases of a step are those of one process; with the fixed tree so are all bits.
   Without it sums are rounded in another order: 1e-6 of a loss of 2.5, and 1e-4 of a parameter, as
   five steps of AdamW make it of a gradient near 0 (each moves it by the rate 1e-3, whichever way). */
static void a_split_run_is_the_run(void)
{
    static const int micros[] = {4, 12};
    wcoh_model_desc desc = model_desc_of(small);
    int fixed, i, ranks;
    random_tokens(text, text_count, 13, 9);
    for (i = 0; i < 4; i++) {
        wcoh_trainer_desc trainer = small_trainer();
        wcoh_model *one = model_of(&desc), *plain = model_of(&desc);
        wcoh_stats alone;
        settings_apply(WCOH_DESC_TRAINER, &trainer,
                       "dropout=0.1 embedding_dropout=0.1 attention_dropout=0.1 phase_noise=0.1 "
                       "lr=0.001 warmup=-1");
        fixed = i / 2;
        trainer.accumulate = micros[i % 2];
        if (fixed) trainer.deterministic = WCOH_SWITCH_ON;
        alone = team_run(one, trainer, 1);
        for (ranks = 2; ranks <= TEAM; ranks *= 2) {
            wcoh_model *model = model_of(&desc);
            wcoh_stats stats = team_run(model, trainer, ranks);
            CHECK(stats.tokens == alone.tokens);
            CHECK_NEAR(stats.train_loss, alone.train_loss, 2.5e-6);
            CHECK(parameters_apart(model, one) < 1e-4);
            CHECK(!fixed || stats.train_loss == alone.train_loss);
            CHECK(!fixed || same_parameters(model, one));
            wcoh_model_destroy(model);
        }
        CHECK(parameters_apart(one, plain) > 1e-3);
        wcoh_model_destroy(one);
        wcoh_model_destroy(plain);
    }
}
#endif

static void patience_and_target_stop_early(void)
{
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_trainer_desc trainer_desc = small_trainer();
    wcoh_model *model = model_of(&desc);
    wcoh_trainer *trainer;
    wcoh_stats stats;
    trainer_desc.steps = 1000;
    trainer_desc.eval_every = 2;
    trainer_desc.patience = 2;
    trainer_desc.lr = 1e-9; /* no progress to speak of on noise */
    trainer = trainer_of(model, &trainer_desc);
    CHECK(small_data(trainer) == WCOH_OK);
    CHECK(wcoh_trainer_run(trainer, -1, &stats, NULL) == WCOH_OK);
    CHECK_SAY(stats.done && stats.step <= 1000, "step %d", (int)stats.step);
    wcoh_trainer_destroy(trainer);
    trainer_desc.patience = 0;
    trainer_desc.target_val = 50;
    trainer = trainer_of(model, &trainer_desc);
    CHECK(small_data(trainer) == WCOH_OK);
    CHECK(wcoh_trainer_run(trainer, -1, &stats, NULL) == WCOH_OK);
    CHECK_SAY(stats.done && stats.step == 2 && stats.val_loss < 50, "step %d", (int)stats.step);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* ---- runs without end, and settings that change ---------------------------------------------- */

static const double pi = 3.14159265358979323846;

/* A trainer of `small` with a warm-up of 4 steps to a rate of 0.008, which ends at a tenth. */
static wcoh_trainer *rated_trainer(wcoh_model *model, int steps)
{
    wcoh_trainer_desc desc = small_trainer();
    wcoh_trainer *trainer;
    desc.steps = steps;
    desc.warmup = 4;
    desc.lr = 0.008;
    trainer = trainer_of(model, &desc);
    CHECK(small_data(trainer) == WCOH_OK);
    return trainer;
}

/* The rate of the next step, which is made. */
static double next_rate(wcoh_trainer *trainer)
{
    wcoh_stats stats;
    memset(&stats, 0, sizeof stats);
    CHECK(wcoh_trainer_step(trainer, &stats, NULL) == WCOH_OK);
    return stats.lr;
}

/* The tolerance is some units of a double near 0.01. */
static void next_rate_is(wcoh_trainer *trainer, double expected)
{
    double rate = next_rate(trainer);
    CHECK_NEAR(rate, expected, 1e-17);
}

/* from at share 0, to at share 1 */
static double half_cosine(double from, double to, double share)
{
    return to + (from - to) * 0.5 * (1 + cos(pi * share));
}

/* The next call does nothing and says so. */
static int is_over(wcoh_trainer *trainer, wcoh_model *model)
{
    wcoh_model *before = model_of(wcoh_model_get_desc(model));
    wcoh_error untouched = {WCOH_OK, "nothing"};
    wcoh_stats stats, then;
    int over;
    wcoh_trainer_stats(trainer, &then);
    CHECK(wcoh_model_copy(before, model, NULL) == WCOH_OK);
    over = wcoh_trainer_step(trainer, &stats, &untouched) == WCOH_DONE &&
           wcoh_trainer_run(trainer, 2, &stats, &untouched) == WCOH_DONE &&
           wcoh_trainer_run(trainer, -1, NULL, NULL) == WCOH_DONE && WCOH_DONE == 1;
    CHECK(stats.done && stats.step == then.step && same_parameters(model, before));
    CHECK(strcmp(untouched.text, "nothing") == 0);
    wcoh_model_destroy(before);
    return over;
}

/* Warm-up, as long as one likes at the rate, and half a cosine to its tenth. */
static void a_run_without_end_ends_with_a_decay(void)
{
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_model *model = model_of(&desc);
    wcoh_trainer *trainer = rated_trainer(model, -7);
    int step;
    CHECK(wcoh_trainer_get_desc(trainer)->steps == -1);
    for (step = 0; step < 30; step++) next_rate_is(trainer, step < 4 ? 0.002 * (step + 1) : 0.008);
    CHECK(wcoh_trainer_finish(trainer, 8, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_get_desc(trainer)->steps == 38);
    for (step = 0; step < 8; step++) next_rate_is(trainer, half_cosine(0.008, 0.0008, step / 8.0));
    CHECK(is_over(trainer, model));
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* In the warm-up, in a cosine and in a decay under way the final one begins where the rate is; 0 is a
   tenth of the steps made. Without lr_end the rate stays. */
static void a_decay_begins_where_the_rate_is(void)
{
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_model *model = model_of(&desc);
    wcoh_trainer *trainer = rated_trainer(model, -1);
    wcoh_error error = {WCOH_OK, ""};
    int step;
    for (step = 0; step < 2; step++) next_rate(trainer);
    CHECK(wcoh_trainer_finish(trainer, 4, NULL) == WCOH_OK); /* the third step would have 0.006 */
    next_rate_is(trainer, 0.006);
    next_rate_is(trainer, half_cosine(0.006, 0.0008, 0.25));
    CHECK(wcoh_trainer_finish(trainer, 2, NULL) == WCOH_OK);
    next_rate_is(trainer, half_cosine(0.006, 0.0008, 0.5));
    next_rate_is(trainer, (half_cosine(0.006, 0.0008, 0.5) + 0.0008) / 2);
    CHECK(is_over(trainer, model));
    wcoh_trainer_destroy(trainer);
    trainer = rated_trainer(model, 100);
    for (step = 0; step < 52; step++) next_rate(trainer);
    CHECK(wcoh_trainer_finish(trainer, 0, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_get_desc(trainer)->steps == 57);
    next_rate_is(trainer, half_cosine(0.008, 0.0008, 0.5));
    CHECK(wcoh_trainer_set(trainer, "lr_end", "-1", NULL) == WCOH_OK);
    next_rate_is(trainer, half_cosine(0.008, 0.0008, 0.5));
    CHECK(wcoh_trainer_finish(trainer, -1, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "finish is -1");
    CHECK(wcoh_trainer_finish(trainer, 2147483647, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_trainer_finish(NULL, 1, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_trainer_get_desc(trainer)->steps == 57);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* What an endless run learnt is what a finite one learns at the same rates. */
static void the_end_of_a_run_changes_nothing_before_it(void)
{
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_model *endless = model_of(&desc), *finite = model_of(&desc);
    wcoh_trainer_desc constant = small_trainer();
    wcoh_trainer *a = rated_trainer(endless, -1), *b;
    int step;
    constant.warmup = 4;
    constant.lr = 0.008;
    constant.lr_end = -1;
    b = trainer_of(finite, &constant);
    CHECK(small_data(b) == WCOH_OK);
    for (step = 0; step < 12; step++) CHECK(next_rate(a) == next_rate(b));
    CHECK(same_parameters(endless, finite));
    wcoh_trainer_destroy(a);
    wcoh_trainer_destroy(b);
    wcoh_model_destroy(endless);
    wcoh_model_destroy(finite);
}

/* A new rate is warmed up to from the one at hand; what is fixed or out of range changes nothing. */
static void settings_change_in_mid_run(void)
{
    static const char *const fixed[] = {"batch", "seq",        "accumulate", "eval_batches",
                                        "beta1", "curriculum", "seed"};
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_model *model = model_of(&desc);
    wcoh_trainer *trainer = rated_trainer(model, -1);
    wcoh_trainer_desc before;
    wcoh_error error = {WCOH_OK, ""};
    wcoh_stats stats;
    double val;
    size_t i;
    int step;
    for (step = 0; step < 6; step++) next_rate(trainer);
    CHECK(wcoh_trainer_set(trainer, "lr", "0.004", &error) == WCOH_OK);
    for (step = 0; step < 6; step++)
        next_rate_is(trainer, step < 4 ? 0.008 - 0.001 * (step + 1) : 0.004);
    CHECK(wcoh_trainer_set(trainer, "warmup", "-1", &error) == WCOH_OK);
    CHECK(wcoh_trainer_set(trainer, "lr", "0.002", &error) == WCOH_OK);
    next_rate_is(trainer, 0.002);
    CHECK(wcoh_trainer_set(trainer, "clip", "0.01", &error) == WCOH_OK);
    CHECK(wcoh_trainer_set(trainer, "decay", "-1", &error) == WCOH_OK);
    CHECK(wcoh_trainer_get_desc(trainer)->decay < 0);
    CHECK(wcoh_trainer_set(trainer, "eval_every", "1", &error) == WCOH_OK);
    CHECK(wcoh_trainer_step(trainer, &stats, NULL) == WCOH_OK && stats.step == 14);
    CHECK(wcoh_trainer_evaluate(trainer, &val, NULL) == WCOH_OK && val == stats.val_loss);
    CHECK(wcoh_trainer_set(trainer, "target_val", "50", &error) == WCOH_OK);
    CHECK(is_over(trainer, model)); /* the last evaluation is below that */
    CHECK(wcoh_trainer_set(trainer, "target_val", "0", &error) == WCOH_OK);
    next_rate_is(trainer, 0.002);
    before = *wcoh_trainer_get_desc(trainer);
    for (i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        CHECK(wcoh_trainer_set(trainer, fixed[i], "2", &error) == WCOH_E_ARGUMENT);
        CHECK_TEXT(error.text, fixed[i]);
        CHECK_TEXT(error.text, "cannot change");
    }
    CHECK(wcoh_trainer_set(trainer, "lr", "11", &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_trainer_set(trainer, "lr", "fast", &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_trainer_set(trainer, "rate", "1", &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_trainer_set(NULL, "lr", "1", &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_trainer_set(trainer, NULL, "1", &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_trainer_set(trainer, "lr", NULL, &error) == WCOH_E_ARGUMENT);
    CHECK(memcmp(&before, wcoh_trainer_get_desc(trainer), sizeof before) == 0);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* A run that made its steps keeps the rate it ended with when it gets more, and a new one is warmed
   up to; thirds of an endless run there are none. */
static void a_finished_run_goes_on_without_a_jump(void)
{
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_model *model = model_of(&desc);
    wcoh_trainer *trainer = rated_trainer(model, 20);
    wcoh_trainer_desc thirds = small_trainer();
    wcoh_error error = {WCOH_OK, ""};
    wcoh_stats stats;
    int step;
    CHECK(wcoh_trainer_run(trainer, -1, &stats, NULL) == WCOH_OK && stats.done);
    CHECK(is_over(trainer, model));
    CHECK(wcoh_trainer_set(trainer, "steps", "40", NULL) == WCOH_OK);
    for (step = 20; step < 30; step++) next_rate_is(trainer, 0.0008);
    CHECK(wcoh_trainer_set(trainer, "lr", "0.002", NULL) == WCOH_OK);
    for (step = 0; step < 4; step++) next_rate_is(trainer, 0.0008 + 0.0003 * (step + 1));
    for (step = 0; step < 6; step++) next_rate_is(trainer, half_cosine(0.002, 0.0002, step / 6.0));
    CHECK(is_over(trainer, model));
    CHECK(wcoh_trainer_set(trainer, "steps", "-1", NULL) == WCOH_OK);
    for (step = 0; step < 5; step++) next_rate_is(trainer, 0.0002);
    CHECK(wcoh_trainer_set(trainer, "steps", "3", NULL) == WCOH_OK); /* long past */
    CHECK(is_over(trainer, model));
    wcoh_trainer_destroy(trainer);
    thirds.steps = -1;
    thirds.curriculum = WCOH_CURRICULUM_ON;
    CHECK(wcoh_trainer_create(&trainer, model, &thirds, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "curriculum");
    wcoh_model_destroy(model);
}

/* A new peak may come before the new number of steps, and once more: the last one counts, from where
   the rate was. */
static void settings_may_come_in_any_order(void)
{
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_model *model = model_of(&desc);
    wcoh_trainer *trainer = rated_trainer(model, 20);
    int step;
    CHECK(wcoh_trainer_run(trainer, -1, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_set(trainer, "lr", "0.006", NULL) == WCOH_OK);
    CHECK(wcoh_trainer_set(trainer, "lr", "0.004", NULL) == WCOH_OK);
    CHECK(is_over(trainer, model));
    CHECK(wcoh_trainer_set(trainer, "steps", "-1", NULL) == WCOH_OK);
    for (step = 0; step < 7; step++)
        next_rate_is(trainer, step < 4 ? 0.0008 + 0.0008 * (step + 1) : 0.004);
    CHECK(wcoh_trainer_set(trainer, "lr", "0.002", NULL) == WCOH_OK);
    CHECK(wcoh_trainer_finish(trainer, 2, NULL) == WCOH_OK); /* on the way: 0.0035 is next */
    next_rate_is(trainer, 0.0035);
    next_rate_is(trainer, (0.0035 + 0.0002) / 2);
    CHECK(is_over(trainer, model));
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* The patience is spent, but the decay is still made: it begins anew. */
static void a_run_that_lost_patience_can_be_finished(void)
{
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_model *model = model_of(&desc);
    wcoh_trainer_desc impatient = small_trainer();
    wcoh_trainer *trainer;
    wcoh_stats stats;
    uint64_t ended;
    impatient.steps = -1;
    impatient.eval_every = 2;
    impatient.patience = 2;
    impatient.lr = 1e-9;
    trainer = trainer_of(model, &impatient);
    CHECK(small_data(trainer) == WCOH_OK);
    CHECK(wcoh_trainer_run(trainer, -1, &stats, NULL) == WCOH_OK && stats.done);
    ended = stats.step;
    CHECK(wcoh_trainer_finish(trainer, 1, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_run(trainer, -1, &stats, NULL) == WCOH_OK);
    CHECK(stats.done && stats.step == ended + 1);
    CHECK(is_over(trainer, model));
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* After the end another text goes on too, and losses on the old one are no measure for it. */
static void new_data_after_the_end_are_learnt(void)
{
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_model *model = model_of(&desc);
    wcoh_trainer *trainer = rated_trainer(model, 8);
    wcoh_stats stats;
    size_t i;
    CHECK(wcoh_trainer_notice(trainer) == NULL);
    CHECK(wcoh_trainer_run(trainer, -1, &stats, NULL) == WCOH_OK && stats.best_val > 0);
    CHECK(small_data(trainer) == WCOH_OK && wcoh_trainer_notice(trainer) == NULL);
    wcoh_trainer_stats(trainer, &stats);
    CHECK(stats.best_val > 0); /* the same text */
    for (i = 0; i < text_count; i++) text[i] = (uint32_t)(i % 3);
    CHECK(wcoh_trainer_set_data(trainer, text, 300, text + 300, 90, NULL) == WCOH_OK);
    if (CHECK(wcoh_trainer_notice(trainer) != NULL)) {
        CHECK_TEXT(wcoh_trainer_notice(trainer), "the training text has other tokens");
        CHECK_TEXT(wcoh_trainer_notice(trainer), "the validation text has 90 tokens");
        CHECK_TEXT(wcoh_trainer_notice(trainer), "before had 100");
    }
    wcoh_trainer_stats(trainer, &stats);
    CHECK(stats.done && stats.val_loss < 0 && stats.best_val < 0 && stats.best_step == 0);
    CHECK(is_over(trainer, model));
    CHECK(wcoh_trainer_set(trainer, "steps", "300", NULL) == WCOH_OK);
    CHECK(wcoh_trainer_set(trainer, "lr", "0.01", NULL) == WCOH_OK);
    CHECK(wcoh_trainer_run(trainer, -1, &stats, NULL) == WCOH_OK);
    CHECK_SAY(stats.done && stats.step == 300 && stats.train_loss < 0.3, "train %g",
              stats.train_loss);
    CHECK(wcoh_trainer_set_data(trainer, text, 300, NULL, 0, NULL) == WCOH_OK);
    wcoh_trainer_stats(trainer, &stats);
    CHECK(stats.best_val > 0 && wcoh_trainer_notice(trainer) == NULL); /* nothing else to compare */
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* What a callback heard, and at which report it stops the call. */
typedef struct listener {
    int reports, stop_at;
    wcoh_trainer *trainer;
} listener;

static int listen(const wcoh_stats *stats, void *user)
{
    listener *l = (listener *)user;
    (void)stats;
    return ++l->reports == l->stop_at;
}

/* A call that the callback stops returns there, and the run goes on as if it had not. */
static void the_callback_stops_a_call(void)
{
    static const int stops[] = {3, 5, 6}; /* a step, the evaluation of step 4, step 5 */
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_model *whole = model_of(&desc), *model;
    wcoh_trainer_desc heard = small_trainer();
    wcoh_trainer *trainer = trainer_of(whole, &heard);
    wcoh_stats stats;
    size_t i;
    CHECK(small_data(trainer) == WCOH_OK);
    CHECK(wcoh_trainer_run(trainer, -1, NULL, NULL) == WCOH_OK);
    wcoh_trainer_destroy(trainer);
    for (i = 0; i < sizeof stops / sizeof *stops; i++) {
        listener l = {0, 0, NULL};
        l.stop_at = stops[i];
        heard.progress = listen;
        heard.progress_user = &l;
        model = model_of(&desc);
        trainer = trainer_of(model, &heard);
        CHECK(small_data(trainer) == WCOH_OK);
        CHECK(wcoh_trainer_run(trainer, -1, &stats, NULL) == WCOH_OK);
        CHECK(l.reports == stops[i] && !stats.done && (int)stats.step == (i == 0 ? 3 : (int)i + 3));
        CHECK(wcoh_trainer_run(trainer, -1, &stats, NULL) == WCOH_OK && stats.done);
        CHECK(same_parameters(model, whole));
        wcoh_trainer_destroy(trainer);
        wcoh_model_destroy(model);
    }
    wcoh_model_destroy(whole);
}

/* A callback may change the run, call for a step of its own, and end it. */
static int meddle(const wcoh_stats *stats, void *user)
{
    listener *l = (listener *)user;
    l->reports++;
    if (stats->step == 3 && !stats->evaluated)
        CHECK(wcoh_trainer_set(l->trainer, "lr", "0.001", NULL) == WCOH_OK);
    if (stats->step == 6 && !stats->evaluated)
        CHECK(wcoh_trainer_finish(l->trainer, 2, NULL) == WCOH_OK);
    if (l->stop_at-- == 1) {
        CHECK(wcoh_trainer_step(l->trainer, NULL, NULL) == WCOH_OK); /* stopped by nobody */
        return 1;
    }
    return 0;
}

static void the_callback_changes_the_run(void)
{
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_model *model = model_of(&desc);
    wcoh_trainer_desc heard = small_trainer();
    listener l = {0, 2, NULL};
    wcoh_stats stats;
    heard.steps = -1;
    heard.eval_every = -1;
    heard.warmup = -1;
    heard.progress = meddle;
    heard.progress_user = &l;
    l.trainer = trainer_of(model, &heard);
    CHECK(small_data(l.trainer) == WCOH_OK);
    CHECK(wcoh_trainer_run(l.trainer, -1, &stats, NULL) == WCOH_OK);
    CHECK(stats.step == 3 && l.reports == 3);
    CHECK(wcoh_trainer_step(l.trainer, &stats, NULL) == WCOH_OK);
    CHECK_NEAR(stats.lr, 0.001, 1e-15);
    CHECK(wcoh_trainer_run(l.trainer, -1, &stats, NULL) == WCOH_OK);
    CHECK(stats.done && stats.step == 8);
    CHECK(is_over(l.trainer, model));
    wcoh_trainer_destroy(l.trainer);
    wcoh_model_destroy(model);
}

/* ---- determinism ----------------------------------------------------------------------------- */

enum { track_steps = 8 };
typedef struct track {
    double loss[track_steps], norm[track_steps], val[track_steps];
} track;

static int record(const wcoh_stats *stats, void *user)
{
    track *t = (track *)user;
    if (stats->step < 1 || stats->step > track_steps) return 0;
    t->loss[stats->step - 1] = stats->train_loss;
    t->norm[stats->step - 1] = stats->grad_norm;
    if (stats->evaluated) t->val[stats->step - 1] = stats->val_loss;
    return 0;
}

static const char *const track_settings[] = {
    "vocab=65 bands=20 heads=5 layers=2",
    "vocab=65 bands=20 heads=5 layers=2 attention=dot ffn=mlp position=learned",
    "vocab=65 bands=20 heads=5 layers=2 solver=rk4 rk4_weights=on attention=frozen groups=4 corrector=on "
    "offset=0.1",
    "vocab=300 bands=20 heads=5 layers=2 head=tied embedding_trained=on attention=shared "
    "block=sequential solver=perturbative gain_control=on",
    "vocab=65 bands=20 heads=5 layers=2 forgetting=on loudness=on query_gain=on "
    "attention=coherence,shared",
    "vocab=65 bands=20 heads=5 layers=2 attention=coherence,rotary groups=4 mixing=0.02 splits=2"};

/* Settings of their trainers: one mixed stack is trained with noise. */
static const char *track_training(size_t s)
{
    return strstr(track_settings[s], "coherence,rotary")
               ? "dropout=0.2 embedding_dropout=0.1 phase_noise=0.1 attention_dropout=0.2"
               : "";
}

static wcoh_trainer_desc track_trainer(size_t s, int threads)
{
    wcoh_trainer_desc desc = small_trainer();
    settings_apply(WCOH_DESC_TRAINER, &desc, track_training(s));
    desc.batch = is_short() ? 3 : 9;
    desc.seq = is_short() ? 17 : 65;
    desc.steps = track_steps;
    desc.accumulate = 2;
    desc.eval_every = 3;
    desc.cpu.threads = threads;
    return desc;
}

static void track_data(wcoh_trainer *trainer, int vocab)
{
    random_tokens(text, 4000, vocab, 5);
    CHECK(wcoh_trainer_set_data(trainer, text, 3000, text + 3000, 1000, NULL) == WCOH_OK);
}

/* Losses of a whole run; milliseconds > 0: in slices of that length. */
static track track_of(const char *settings, const wcoh_trainer_desc *trainer_desc,
                      double milliseconds, wcoh_model **kept)
{
    wcoh_model_desc desc = model_desc_of(settings);
    wcoh_trainer_desc recorded = *trainer_desc;
    wcoh_model *model = model_of(&desc);
    wcoh_trainer *trainer;
    wcoh_stats stats;
    track t;
    memset(&t, 0, sizeof t);
    memset(&stats, 0, sizeof stats);
    recorded.progress = record;
    recorded.progress_user = &t;
    trainer = trainer_of(model, &recorded);
    track_data(trainer, desc.vocab);
    while (!stats.done)
        if (!CHECK((milliseconds > 0 ? wcoh_trainer_run(trainer, milliseconds, &stats, NULL)
                                     : wcoh_trainer_step(trainer, &stats, NULL)) == WCOH_OK))
            break;
    wcoh_trainer_destroy(trainer);
    if (kept) *kept = model;
    else wcoh_model_destroy(model);
    return t;
}

static int same_track(const track *a, const track *b) { return memcmp(a, b, sizeof *a) == 0; }

static void threads_change_no_bit(void)
{
    static const int threads[] = {2, 3, 8};
    size_t s, i;
    for (s = 0; s < sizeof track_settings / sizeof *track_settings; s++) {
        wcoh_trainer_desc desc = track_trainer(s, 1);
        wcoh_model *model = NULL, *other = NULL;
        track one = track_of(track_settings[s], &desc, 0, &model);
        CHECK(one.loss[0] > 1 && one.loss[track_steps - 1] > 0 && one.loss[0] != one.loss[1]);
        for (i = 0; i < 3; i++) {
            track many;
            desc = track_trainer(s, threads[i]);
            many = track_of(track_settings[s], &desc, 0, &other);
            CHECK_SAY(same_track(&one, &many), "%s: %d threads: loss %.17g, one thread %.17g",
                      track_settings[s], threads[i], many.loss[track_steps - 1],
                      one.loss[track_steps - 1]);
            CHECK(model && other && same_parameters(model, other));
            wcoh_model_destroy(other);
        }
        wcoh_model_destroy(model);
    }
}

static void backwards_for(int count, wcoh_task task, void *task_user, void *user)
{
    int i;
    ++*(int *)user;
    for (i = count - 1; i >= 0; i--) task(i, task_user);
}

static void a_lent_job_system_changes_no_bit(void)
{
    wcoh_trainer_desc desc = track_trainer(0, 1);
    track one = track_of(track_settings[0], &desc, 0, NULL), lent_track;
    int calls = 0;
    desc = track_trainer(0, 4);
    desc.cpu.parallel_for = backwards_for;
    desc.cpu.parallel_user = &calls;
    lent_track = track_of(track_settings[0], &desc, 0, NULL);
    CHECK(calls > 0);
    CHECK(same_track(&one, &lent_track));
}

/* Slices of a millisecond, and of the shortest time there is: one op each. */
static void slices_change_no_bit(void)
{
    size_t s;
    for (s = 0; s < sizeof track_settings / sizeof *track_settings; s++) {
        wcoh_trainer_desc desc = track_trainer(s, 2);
        wcoh_model *a = NULL, *b = NULL, *c = NULL;
        track whole = track_of(track_settings[s], &desc, 0, &a),
              slices = track_of(track_settings[s], &desc, 1, &b),
              ops = track_of(track_settings[s], &desc, 1e-6, &c);
        CHECK_SAY(same_track(&whole, &slices), "%s: slices of 1 ms", track_settings[s]);
        CHECK_SAY(same_track(&whole, &ops), "%s: slices of one op", track_settings[s]);
        CHECK(a && b && c && same_parameters(a, b) && same_parameters(a, c));
        wcoh_model_destroy(a);
        wcoh_model_destroy(b);
        wcoh_model_destroy(c);
    }
}

/* Save after four steps or in the middle of the fifth, load, and go on. */
static track resumed_track(size_t s, int half_done, wcoh_model **kept)
{
    wcoh_model_desc desc = model_desc_of(track_settings[s]);
    wcoh_trainer_desc trainer_desc = track_trainer(s, 2), read_desc;
    wcoh_model *model = model_of(&desc);
    wcoh_trainer *trainer;
    wcoh_memory_file block;
    wcoh_io io;
    wcoh_error error = {WCOH_OK, ""};
    track t;
    int step;
    memset(&t, 0, sizeof t);
    trainer_desc.progress = record;
    trainer_desc.progress_user = &t;
    trainer = trainer_of(model, &trainer_desc);
    block.capacity = 8 * wcoh_model_file_size(model) + 65536;
    block.data = (unsigned char *)malloc(block.capacity);
    block.used = 0;
    io = wcoh_io_memory(&block);
    track_data(trainer, desc.vocab);
    for (step = 0; step < 4; step++) CHECK(wcoh_trainer_step(trainer, NULL, NULL) == WCOH_OK);
    if (half_done) CHECK(wcoh_trainer_run(trainer, 1e-6, NULL, NULL) == WCOH_OK);
    CHECK_SAY(wcoh_trainer_save(trainer, &io, &error) == WCOH_OK, "%s", error.text);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    model = NULL;
    memset(&read_desc, 0, sizeof read_desc);
    CHECK_SAY(wcoh_trainer_read_desc(&read_desc, &io, &error) == WCOH_OK, "%s", error.text);
    CHECK(read_desc.steps == track_steps && read_desc.batch == trainer_desc.batch &&
          read_desc.accumulate == 2);
    read_desc.cpu.threads = 3;
    read_desc.progress = record;
    read_desc.progress_user = &t;
    CHECK_SAY(wcoh_model_load(&model, &io, NULL, &error) == WCOH_OK, "%s", error.text);
    trainer = model ? trainer_of(model, &read_desc) : NULL;
    if (trainer &&
        CHECK_SAY(wcoh_trainer_resume(trainer, &io, &error) == WCOH_OK, "%s", error.text)) {
        track_data(trainer, desc.vocab);
        for (; step < track_steps; step++) CHECK(wcoh_trainer_step(trainer, NULL, NULL) == WCOH_OK);
    }
    wcoh_trainer_destroy(trainer);
    free(block.data);
    *kept = model;
    return t;
}

static void resuming_changes_no_bit(void)
{
    size_t s;
    int half_done;
    for (s = 0; s < sizeof track_settings / sizeof *track_settings; s++) {
        wcoh_trainer_desc desc = track_trainer(s, 2);
        wcoh_model *a = NULL, *b = NULL;
        track whole = track_of(track_settings[s], &desc, 0, &a);
        for (half_done = 0; half_done < 2; half_done++) {
            track resumed = resumed_track(s, half_done, &b);
            CHECK_SAY(same_track(&whole, &resumed), "%s: %.17g after resuming, %.17g without",
                      track_settings[s], resumed.loss[track_steps - 1],
                      whole.loss[track_steps - 1]);
            CHECK(a && b && same_parameters(a, b));
            wcoh_model_destroy(b);
        }
        wcoh_model_destroy(a);
    }
}

/* ---- what training drops --------------------------------------------------------------------- */

/* The mean and the worst of a row's and a column's shares of dropped elements lie where chance puts
   them, and two masks agree as often as independent ones: 5 deviations of a binomial. */
static void masks_look_drawn(void)
{
    enum { ROWS = 96, WIDTH = 128, SEQ = 32, MASKS = 4 };
    static const uint32_t keys[MASKS][3] = {{7, 9, 0}, {7, 9, 1}, {8, 9, 0}, {7, 10, 0}};
    static unsigned char dropped[MASKS][ROWS][WIDTH];
    const double rate = 0.1, spread = sqrt(rate * (1 - rate));
    wcohi_noise noise = {1, {0, 0}, 0};
    int mask, row, i, sum = 0;
    for (mask = 0; mask < MASKS; mask++)
        for (row = 0; row < ROWS; row++) {
            uint32_t key;
            noise.key[0] = keys[mask][0];
            noise.key[1] = keys[mask][1];
            key = wcohi_noise_row(&noise, keys[mask][2], (size_t)row, SEQ);
            for (i = 0; i < WIDTH; i++)
                dropped[mask][row][i] =
                    wcohi_hash32(key + (uint32_t)i) < wcohi_noise_drop(&noise, rate);
        }
    for (mask = 0; mask < MASKS; mask++) {
        int all = 0, both = 0, beside = 0, below = 0;
        for (row = 1; row < ROWS; row++)
            for (i = 1; i < WIDTH; i++) {
                int here = dropped[mask][row][i];
                all += here;
                both += here && dropped[(mask + 1) % MASKS][row][i];
                beside += here && dropped[mask][row][i - 1];
                below += here && dropped[mask][row - 1][i];
            }
        sum = (ROWS - 1) * (WIDTH - 1);
        CHECK_NEAR(all, rate * sum, 5 * spread * sqrt(sum));
        CHECK_NEAR(both, rate * rate * sum, 5 * rate * sqrt(sum));
        CHECK_NEAR(beside, rate * rate * sum, 5 * rate * sqrt(sum));
        CHECK_NEAR(below, rate * rate * sum, 5 * rate * sqrt(sum));
    }
    noise.window = 2; /* rows of the third window on: the same elements of the whole batch */
    noise.key[0] = keys[0][0];
    noise.key[1] = keys[0][1];
    for (i = 0; i < WIDTH; i++)
        CHECK((wcohi_hash32(wcohi_noise_row(&noise, 0, 5, SEQ) + (uint32_t)i) <
               wcohi_noise_drop(&noise, rate)) == dropped[0][2 * SEQ + 5][i]);
    noise.on = 0;
    CHECK(wcohi_noise_drop(&noise, rate) == 0 && wcohi_noise_scale(&noise, rate) == 1);
}

/* A model of the first track setting, and its loss and gradient under a mask. */
static double masked_loss(wcoh_model *model, const char *training, int steps)
{
    wcoh_trainer_desc desc = track_trainer(0, 1);
    wcoh_trainer *trainer;
    double loss = 0;
    settings_apply(WCOH_DESC_TRAINER, &desc, training);
    trainer = trainer_of(model, &desc);
    random_tokens(text, 200, 65, 3);
    trainer->state.step = (uint64_t)steps;
    CHECK(wcoh_trainer_gradient(trainer, text, text + 100, 2, 15, &loss, NULL) == WCOH_OK);
    wcoh_trainer_destroy(trainer);
    return loss;
}

static void each_step_and_seed_has_masks_of_its_own(void)
{
    wcoh_model_desc desc = model_desc_of(track_settings[0]);
    wcoh_model *model = model_of(&desc);
    double whole = masked_loss(model, "", 0), masked = masked_loss(model, "dropout=0.3", 0);
    CHECK(whole == masked_loss(model, "", 1) && whole == masked_loss(model, "seed=5", 0));
    CHECK(masked != whole && masked == masked_loss(model, "dropout=0.3", 0));
    CHECK(masked != masked_loss(model, "dropout=0.3", 1));
    CHECK(masked != masked_loss(model, "dropout=0.3 seed=5", 0));
    CHECK(masked != masked_loss(model, "dropout=0.4", 0));
    CHECK(masked_loss(model, "embedding_dropout=0.3", 0) != whole);
    CHECK(masked_loss(model, "phase_noise=0.3", 0) != whole);
    CHECK(masked_loss(model, "attention_dropout=0.3", 0) != whole);
    wcoh_model_destroy(model);
}

/* Angles have mean 0 and deviation 1 once they are multiplied by the root of six: 5 deviations. */
static void angles_have_their_deviation(void)
{
    double sum = 0, squares = 0, count = 40000;
    uint32_t i;
    for (i = 0; i < 40000; i++) {
        double a = WCOHI_ROOT_6 * (double)wcohi_noise_angle(wcohi_hash32(i));
        sum += a / count;
        squares += a * a / count;
    }
    CHECK_NEAR(sum, 0, 5 / sqrt(count));
    CHECK_NEAR(squares, 1, 5 * sqrt(1.4 / count)); /* the fourth moment of a triangle is 2.4 */
    CHECK(wcohi_noise_angle(0) == -wcohi_noise_angle(0xffffffffu));
}

/* What trainers drop is not part of the network: their evaluation is the model's own. */
static void evaluations_drop_nothing(void)
{
    wcoh_model_desc desc = model_desc_of(track_settings[0]);
    wcoh_trainer_desc training = track_trainer(0, 1);
    wcoh_model *model = model_of(&desc);
    wcoh_trainer *plain = trainer_of(model, &training), *dropping;
    double expected = 0, loss = 0;
    settings_apply(WCOH_DESC_TRAINER, &training, "dropout=0.5 embedding_dropout=0.5 phase_noise=1");
    dropping = trainer_of(model, &training);
    track_data(plain, desc.vocab);
    track_data(dropping, desc.vocab);
    CHECK(wcoh_trainer_evaluate(plain, &expected, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_evaluate(dropping, &loss, NULL) == WCOH_OK);
    CHECK_NEAR(loss, expected, 1e-6 * expected); /* a sum is rounded once more */
    wcoh_trainer_destroy(plain);
    wcoh_trainer_destroy(dropping);
    wcoh_model_destroy(model);
}

/* Noise of phases wants phases: phasors, or oscillators that turn. */
static void phase_noise_without_phases_is_refused(void)
{
    static const char *const with[] = {"",
                                       "attention=dot",
                                       "ffn=mlp",
                                       "attention=dot,coherence ffn=mlp",
                                       "solver=none",
                                       "attention=dot per_band_first=on layers=2"};
    static const char *const without[] = {"attention=dot ffn=mlp", "attention=rotary solver=none",
                                          "attention=dot,rotary ffn=mlp,gated_mlp",
                                          "attention=dot per_band_first=on layers=1"};
    wcoh_trainer_desc training;
    wcoh_error error;
    size_t i;
    for (i = 0; i < sizeof with / sizeof *with + sizeof without / sizeof *without; i++) {
        int has = i < sizeof with / sizeof *with;
        wcoh_model_desc desc =
            model_desc_of(has ? with[i] : without[i - sizeof with / sizeof *with]);
        desc.vocab = 5;
        CHECK(wcoh_model_desc_resolve(&desc, &error) == WCOH_OK);
        memset(&training, 0, sizeof training);
        training.phase_noise = 0.1;
        CHECK(wcoh_trainer_desc_resolve(&training, &desc, &error) ==
              (has ? WCOH_OK : WCOH_E_ARGUMENT));
        if (!has) CHECK_TEXT(error.text, "no layer of the model has phasors or oscillators");
    }
}

/* One device for two trainers that take turns, and a session between them. */
static void a_shared_device_changes_no_bit(void)
{
    wcoh_trainer_desc desc = track_trainer(0, 1);
    wcoh_session_desc session_desc;
    track alone[2], shared[2];
    wcoh_model *models[2] = {NULL, NULL};
    wcoh_trainer *trainers[2] = {NULL, NULL};
    wcoh_session *session = NULL;
    wcoh_device *device = NULL;
    int i, step;
    memset(shared, 0, sizeof shared);
    memset(&session_desc, 0, sizeof session_desc);
    for (i = 0; i < 2; i++) alone[i] = track_of(track_settings[i], &desc, 0, NULL);
    desc.cpu.threads = 3;
    if (!CHECK(wcoh_cpu_device_create(&device, &desc.cpu, NULL, NULL) == WCOH_OK)) return;
    for (i = 0; i < 2; i++) {
        wcoh_model_desc model_desc = model_desc_of(track_settings[i]);
        models[i] = model_of(&model_desc);
        desc.device = device;
        desc.progress = record;
        desc.progress_user = &shared[i];
        trainers[i] = trainer_of(models[i], &desc);
        track_data(trainers[i], model_desc.vocab);
    }
    session_desc.device = device;
    CHECK(wcoh_session_create(&session, models[0], &session_desc, NULL) == WCOH_OK);
    for (step = 0; step < track_steps; step++)
        for (i = 0; i < 2; i++) {
            CHECK(wcoh_trainer_step(trainers[i], NULL, NULL) == WCOH_OK);
            CHECK(wcoh_session_step(session, text[step], NULL) == WCOH_OK);
        }
    CHECK(same_track(&alone[0], &shared[0]) && same_track(&alone[1], &shared[1]));
    wcoh_session_destroy(session);
    for (i = 0; i < 2; i++) {
        wcoh_trainer_destroy(trainers[i]);
        wcoh_model_destroy(models[i]);
    }
    wcoh_device_destroy(device);
}

#ifdef TEST_THREADS
static void *train_alone(void *user)
{
    wcoh_trainer_desc desc = track_trainer(0, 2);
    *(track *)user = track_of(track_settings[0], &desc, 0, NULL);
    return NULL;
}

static void *train_another(void *user)
{
    wcoh_trainer_desc desc = track_trainer(0, 1);
    *(track *)user = track_of(track_settings[0], &desc, 0, NULL);
    return NULL;
}

/* The checks inside count from both threads: a lost count can only hide a success. `text` is the
   same on both. */
static void two_models_train_in_two_threads(void)
{
    wcoh_trainer_desc desc = track_trainer(0, 1);
    track alone = track_of(track_settings[0], &desc, 0, NULL), results[2];
    pthread_t threads[2];
    memset(results, 0, sizeof results);
    if (!CHECK(pthread_create(&threads[0], NULL, train_alone, &results[0]) == 0)) return;
    if (!CHECK(pthread_create(&threads[1], NULL, train_another, &results[1]) == 0)) return;
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    CHECK(same_track(&alone, &results[0]));
    CHECK(same_track(&alone, &results[1]));
}
#endif

/* ---- inference ------------------------------------------------------------------------------- */

/* The batched path's logits of every position, in double: the trainer leaves the normed last row of
   each position in its activations, and the dense head is a product. [seq, vocab], to be freed. */
static double *batched_logits(wcoh_model *model, const uint32_t *tokens, int seq)
{
    wcoh_trainer_desc desc;
    wcoh_trainer *trainer;
    const wcohi_cpu_exec *exec;
    const wcoh_real *rows;
    wcoh_param head = param_of(model, "head.weight");
    int vocab = head.shape[0], width = head.shape[1], t, v, i;
    double *logits = (double *)malloc((size_t)seq * (size_t)vocab * sizeof *logits), loss;
    memset(&desc, 0, sizeof desc);
    desc.batch = 1;
    desc.seq = seq;
    trainer = trainer_of(model, &desc);
    if (!trainer || !logits) return logits;
    CHECK(wcoh_trainer_loss(trainer, tokens, tokens, 1, seq, &loss, NULL) == WCOH_OK);
    exec = (const wcohi_cpu_exec *)trainer->engine.exec;
    rows = wcohi_tensor_data(exec, trainer->engine.plan.ops[trainer->engine.plan.count - 1].in);
    for (t = 0; t < seq; t++)
        for (v = 0; v < vocab; v++) {
            double sum = 0;
            for (i = 0; i < width; i++)
                sum += (double)rows[(size_t)t * (size_t)width + (size_t)i] *
                       (double)head.data[(size_t)v * (size_t)width + (size_t)i];
            logits[(size_t)t * (size_t)vocab + (size_t)v] = sum;
        }
    wcoh_trainer_destroy(trainer);
    return logits;
}

static double distance(const wcoh_session *session, const double *logits, int vocab)
{
    const wcoh_real *ours = wcoh_session_logits(session);
    double largest = 0;
    int v;
    if (!ours) return 1e9;
    for (v = 0; v < vocab; v++) {
        double d = fabs((double)ours[v] - logits[v]);
        if (!(d <= largest)) largest = d;
    }
    return largest;
}

/* 1e-4 is the promise: float32 rows on both sides, states in double (exact to 2e-6 at gain 12). */
static const double session_tolerance = 1e-4;

static void stream_equals_batch(const char *settings, int seq, double gain)
{
    static const int splits[] = {1, 2, 63, 64, 65, 127, 128, 129, 1000, 2048, 3000, 4095};
    wcoh_model_desc desc = model_desc_of(settings);
    wcoh_model *model;
    wcoh_session *session, *whole;
    wcoh_param p;
    double *logits, worst = 0;
    char name[64];
    int t, l, h;
    size_t s, v;
    model = model_of(&desc);
    if (!model) return;
    randomise(model, 3);
    for (l = 0; gain > 0 && l < wcoh_model_get_desc(model)->layers; l++) {
        snprintf(name, sizeof name, "blocks.%d.attn.gain_raw", l);
        p = param_of(model, name);
        for (h = 0; h < (int)p.count; h++)
            p.data[h] = (wcoh_real)log(expm1(gain * (h + 1) / (double)p.count));
    }
    wcoh_model_touch(model);
    random_tokens(text, (size_t)seq, desc.vocab, 31);
    logits = batched_logits(model, text, seq);
    v = (size_t)desc.vocab;
    session = session_of(model, 0);
    whole = session_of(model, 700);
    for (t = 0; t < seq && logits; t++) {
        double d;
        if (!CHECK(wcoh_session_step(session, text[t], NULL) == WCOH_OK)) break;
        d = distance(session, logits + (size_t)t * v, desc.vocab);
        if (!(d <= worst)) worst = d;
        if (!CHECK_SAY(d <= session_tolerance, "%s: position %d is off by %.3g", settings, t, d))
            break;
    }
    CHECK(wcoh_session_position(session) == (uint64_t)seq);
    for (s = 0; s < sizeof splits / sizeof *splits && logits; s++) {
        wcoh_session *split = s % 2 ? whole : session;
        int first = splits[s];
        double d;
        if (first >= seq) continue;
        wcoh_session_reset(split);
        CHECK(wcoh_session_logits(split) == NULL && wcoh_session_position(split) == 0);
        CHECK(wcoh_session_prefill(split, text, (size_t)first, NULL) == WCOH_OK);
        d = distance(split, logits + (size_t)(first - 1) * v, desc.vocab);
        CHECK_SAY(d <= session_tolerance, "%s: prefill of %d is off by %.3g", settings, first, d);
        for (t = first; t < seq && t < first + 3; t++)
            CHECK(wcoh_session_step(split, text[t], NULL) == WCOH_OK);
        d = distance(split, logits + (size_t)(t - 1) * v, desc.vocab);
        CHECK_SAY(d <= session_tolerance, "%s: steps after a prefill of %d are off by %.3g",
                  settings, first, d);
        CHECK(wcoh_session_prefill(split, text + t, (size_t)(seq - t), NULL) == WCOH_OK);
        d = distance(split, logits + (size_t)(seq - 1) * v, desc.vocab);
        CHECK_SAY(d <= session_tolerance, "%s: prefills of %d and %d are off by %.3g", settings,
                  first, seq - t, d);
    }
    if (getenv("VERBOSE")) printf("%s gain %g: largest difference %.3g\n", settings, gain, worst);
    free(logits);
    wcoh_session_destroy(session);
    wcoh_session_destroy(whole);
    wcoh_model_destroy(model);
}

static void streams_equal_batches(void)
{
    int seq = is_short() ? 150 : 4096;
    stream_equals_batch("vocab=13 bands=8 heads=4 layers=2 maestro=4", seq, 2);
    stream_equals_batch("vocab=13 bands=8 heads=4 layers=2 maestro=4", seq, 12);
    stream_equals_batch("vocab=13 bands=6 heads=3 layers=2 maestro=4 attention=shared", seq, 8);
    stream_equals_batch("vocab=13 bands=6 heads=3 layers=2 maestro=4 forgetting=on loudness=on",
                        seq, 2);
    stream_equals_batch("vocab=13 bands=6 heads=3 layers=2 maestro=4 overtones=2 forgetting=on", seq,
                        2);
    stream_equals_batch("vocab=13 bands=6 heads=3 layers=2 maestro=4 query_gain=on forgetting=on",
                        seq, 2);
    stream_equals_batch("vocab=13 bands=6 heads=3 layers=2 maestro=4 attention=frozen",
                        is_short() ? 150 : 1500, 0);
    stream_equals_batch("vocab=13 bands=6 heads=3 layers=2 maestro=4 attention=pope,resonance "
                        "phases=5 phase_input=on",
                        150, 0);
    stream_equals_batch("vocab=13 bands=6 heads=3 layers=3 maestro=4 attention=dot,rotary,pope "
                        "key_width=22",
                        150, 0);
    stream_equals_batch("vocab=13 bands=6 heads=2 layers=2 maestro=4 attention=resonance,dot "
                        "phases=2 key_width=1",
                        150, 0);
}

/* Their matrices start at 0 and take no number from the generator: to rounding of the sums. */
static void a_new_network_that_listens_is_the_one_that_does_not(void)
{
    wcoh_model_desc plain = model_desc_of("vocab=65 seed=3"), listens = plain;
    wcoh_model *a, *b;
    double *x, *y;
    int i;
    listens.forgetting = listens.loudness = listens.query_gain = WCOH_SWITCH_ON;
    a = model_of(&plain);
    b = model_of(&listens);
    CHECK(wcoh_model_trained_count(b) - wcoh_model_trained_count(a) == 4 * 16 * (128 + 129 + 128));
    CHECK(param_of(b, "blocks.3.attn.forgetting.weight").count == 16 * 128);
    CHECK(param_of(b, "blocks.3.attn.damping_raw").count == 16);
    CHECK(param_of(b, "blocks.3.attn.loudness.bias").count == 16);
    random_tokens(text, 300, 65, 4);
    x = batched_logits(a, text, 300);
    y = batched_logits(b, text, 300);
    for (i = 0; x && y && i < 300 * 65; i++)
        if (!CHECK_SAY(fabs(x[i] - y[i]) < 2e-5, "logit %d: %g, %g", i, x[i], y[i])) break;
    free(x), free(y);
    wcoh_model_destroy(a);
    wcoh_model_destroy(b);
}

static void settings_stream_as_they_train(void)
{
    static const char *const settings[] = {
        "attention=dot context=200",
        "attention=rotary context=200 ffn=mlp",
        "attention=coherence,dot,shared layers=3 context=200 ffn=mlp,kerr",
        "position=learned context=200 attention=dot",
        "position=sinusoidal context=100",
        "solver=perturbative corrector=on offset=0.2",
        "solver=rk4 groups=4",
        "maestros=add per_band_first=on block=sequential",
        "solver=none block=parallel_shared",
        "ffn=mlp",
        "gate=on value_gate=on ffn=kerr,gated_mlp",
        "taps=4 mixing=0.02",
        "solver=split gain_control=on",
        "taps=2 attention=rotary,coherence context=200 layers=3 gate=on",
        "attention=frozen position=sinusoidal context=200 embedding_unit=on"};
    char full[256];
    size_t s;
    for (s = 0; s < sizeof settings / sizeof *settings; s++) {
        snprintf(full, sizeof full, "vocab=13 bands=6 heads=3 layers=2 maestro=4 %s", settings[s]);
        stream_equals_batch(full, is_short() ? 60 : 200, 0);
    }
}

/* With the default sizes, at the default start. */
static void the_default_streams_as_it_trains(void)
{
    stream_equals_batch("vocab=65", is_short() ? 40 : 600, 2);
}

static void scores_add_up(void)
{
    static const char *const settings[] = {
        small, "vocab=13 bands=6 heads=3 layers=1 head=tied",
        "vocab=13 bands=6 heads=3 layers=1 head=low_rank head_rank=2",
        "vocab=700 bands=6 heads=3 layers=1"};
    size_t s;
    for (s = 0; s < sizeof settings / sizeof *settings; s++) {
        wcoh_model_desc desc = model_desc_of(settings[s]);
        wcoh_trainer_desc trainer_desc = small_trainer();
        wcoh_model *model = model_of(&desc);
        wcoh_trainer *trainer;
        wcoh_session *session = session_of(model, 16);
        double loss, nats, sum = 0;
        int t, v;
        randomise(model, 8);
        trainer_desc.batch = 1;
        trainer_desc.seq = 50;
        trainer = trainer_of(model, &trainer_desc);
        random_tokens(text, 51, desc.vocab, 6);
        CHECK(wcoh_trainer_loss(trainer, text, text + 1, 1, 50, &loss, NULL) == WCOH_OK);
        CHECK(wcoh_session_score(session, text, 51, &nats, NULL) == WCOH_OK);
        CHECK_NEAR(nats / 50, loss, 1e-5);
        CHECK(wcoh_session_position(session) == 50);
        wcoh_session_reset(session);
        for (t = 0; t < 50; t++) {
            const wcoh_real *logits;
            double total = 0;
            CHECK(wcoh_session_step(session, text[t], NULL) == WCOH_OK);
            logits = wcoh_session_logits(session);
            for (v = 0; v < desc.vocab; v++) total += exp((double)logits[v]);
            sum += log(total) - (double)logits[text[t + 1]];
        }
        CHECK_NEAR(sum / 50, loss, 1e-5);
        wcoh_session_destroy(session);
        wcoh_trainer_destroy(trainer);
        wcoh_model_destroy(model);
    }
}

static void evaluation_equals_the_trainers_loss(void)
{
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_trainer_desc trainer_desc = small_trainer();
    wcoh_eval_desc eval_desc;
    wcoh_model *model = model_of(&desc);
    wcoh_trainer *trainer = trainer_of(model, &trainer_desc);
    wcoh_error error = {WCOH_OK, ""};
    double loss, sum = 0, window;
    size_t scored = 0;
    int w;
    memset(&eval_desc, 0, sizeof eval_desc);
    eval_desc.seq = small_seq;
    eval_desc.batch = 4;
    random_tokens(text, text_count, 13, 9);
    CHECK(wcoh_model_evaluate(model, &eval_desc, text, 10 * small_seq + 7, &loss, &scored,
                              &error) == WCOH_OK);
    CHECK(scored == 10 * small_seq); /* the eleventh window is incomplete */
    for (w = 0; w < 10; w++) {
        CHECK(wcoh_trainer_loss(trainer, text + w * small_seq, text + w * small_seq + 1, 1,
                                small_seq, &window, NULL) == WCOH_OK);
        sum += window / 10;
    }
    CHECK_NEAR(loss, sum, 1e-6);
    CHECK(wcoh_model_evaluate(model, &eval_desc, text, small_seq, &loss, &scored, &error) ==
          WCOH_E_DATA);
    text[5] = 99;
    CHECK(wcoh_model_evaluate(model, &eval_desc, text, 200, &loss, &scored, &error) ==
          WCOH_E_TOKEN);
    CHECK_TEXT(error.text, "99");
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* A copy, and a state saved and loaded into another session, go on with the same bits. */
static void copies_and_saved_states_continue_exactly(void)
{
    static const char *const settings[] = {
        small, "vocab=13 bands=6 heads=3 layers=2 attention=rotary context=20 ffn=mlp",
        "vocab=13 bands=6 heads=3 layers=2 attention=frozen position=sinusoidal context=20"};
    static unsigned char bytes[1 << 20];
    size_t s;
    for (s = 0; s < sizeof settings / sizeof *settings; s++) {
        wcoh_model_desc desc = model_desc_of(settings[s]);
        wcoh_model *model = model_of(&desc);
        wcoh_session *a, *b, *c;
        wcoh_memory_file block;
        wcoh_io io;
        wcoh_error error = {WCOH_OK, ""};
        int t;
        randomise(model, 4);
        a = session_of(model, 0);
        b = session_of(model, 0);
        c = session_of(model, 0);
        random_tokens(text, 200, 13, 2);
        CHECK(wcoh_session_prefill(a, text, 37, NULL) == WCOH_OK);
        CHECK(wcoh_session_step(b, 3, NULL) == WCOH_OK);
        CHECK(wcoh_session_copy(b, a, NULL) == WCOH_OK);
        block.data = bytes;
        block.capacity = sizeof bytes;
        block.used = 0;
        io = wcoh_io_memory(&block);
        CHECK_SAY(wcoh_session_save(a, &io, &error) == WCOH_OK, "%s", error.text);
        CHECK_SAY(wcoh_session_load(c, &io, &error) == WCOH_OK, "%s", error.text);
        for (t = 37; t < 120; t++) {
            size_t size = 13 * sizeof(wcoh_real);
            CHECK(wcoh_session_step(a, text[t], NULL) == WCOH_OK &&
                  wcoh_session_step(b, text[t], NULL) == WCOH_OK &&
                  wcoh_session_step(c, text[t], NULL) == WCOH_OK);
            CHECK(memcmp(wcoh_session_logits(a), wcoh_session_logits(b), size) == 0);
            CHECK(memcmp(wcoh_session_logits(a), wcoh_session_logits(c), size) == 0);
        }
        CHECK(wcoh_session_position(b) == 120 && wcoh_session_position(c) == 120);
        wcoh_session_destroy(a);
        wcoh_session_destroy(b);
        wcoh_session_destroy(c);
        wcoh_model_destroy(model);
    }
}

static void bad_tokens_leave_a_session_as_it_was(void)
{
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_model *model = model_of(&desc);
    wcoh_session *session = session_of(model, 0);
    wcoh_error error = {WCOH_OK, ""};
    wcoh_real before[13];
    random_tokens(text, 40, 13, 2);
    CHECK(wcoh_session_logits(session) == NULL);
    CHECK(wcoh_session_prefill(session, text, 20, NULL) == WCOH_OK);
    memcpy(before, wcoh_session_logits(session), sizeof before);
    CHECK(wcoh_session_step(session, 13, &error) == WCOH_E_TOKEN);
    CHECK_TEXT(error.text, "13");
    text[30] = 77;
    CHECK(wcoh_session_prefill(session, text + 20, 20, &error) == WCOH_E_TOKEN);
    CHECK_TEXT(error.text, "77");
    CHECK(wcoh_session_position(session) == 20);
    CHECK(memcmp(before, wcoh_session_logits(session), sizeof before) == 0);
    wcoh_session_destroy(session);
    wcoh_model_destroy(model);
}

static void learned_positions_end(void)
{
    wcoh_model_desc desc =
        model_desc_of("vocab=13 bands=6 heads=3 layers=1 position=learned context=8");
    wcoh_model *model = model_of(&desc);
    wcoh_session *session = session_of(model, 0);
    wcoh_error error = {WCOH_OK, ""};
    random_tokens(text, 40, 13, 2);
    CHECK(wcoh_session_prefill(session, text, 9, &error) == WCOH_E_CONTEXT);
    CHECK(wcoh_session_position(session) == 0);
    CHECK(wcoh_session_prefill(session, text, 8, NULL) == WCOH_OK);
    CHECK(wcoh_session_step(session, 1, &error) == WCOH_E_CONTEXT);
    CHECK_TEXT(error.text, "8");
    CHECK(wcoh_session_position(session) == 8);
    wcoh_session_reset(session);
    CHECK(wcoh_session_step(session, 1, NULL) == WCOH_OK);
    wcoh_session_destroy(session);
    wcoh_model_destroy(model);
}

/* Rotary attention past its context sees the last `context` tokens: the batched path on just these
   gives the same, since rotation is relative. One layer: deeper ones see further back. */
static void the_ring_keeps_the_last_tokens(void)
{
    wcoh_model_desc desc =
        model_desc_of("vocab=13 bands=6 heads=3 layers=1 attention=rotary context=24");
    wcoh_model *model = model_of(&desc);
    wcoh_session *session = session_of(model, 10);
    double *logits;
    randomise(model, 4);
    random_tokens(text, 500, 13, 2);
    CHECK(wcoh_session_prefill(session, text, 333, NULL) == WCOH_OK);
    logits = batched_logits(model, text + 333 - 24, 24);
    if (logits) CHECK_NEAR(distance(session, logits + 23 * 13, 13), 0, session_tolerance);
    free(logits);
    CHECK(wcoh_session_step(session, text[333], NULL) == WCOH_OK);
    logits = batched_logits(model, text + 334 - 24, 24);
    if (logits) CHECK_NEAR(distance(session, logits + 23 * 13, 13), 0, session_tolerance);
    free(logits);
    wcoh_session_destroy(session);
    wcoh_model_destroy(model);
}

/* A session sees what a trainer or a hand wrote, without being told which. */
static void sessions_follow_their_model(void)
{
    wcoh_model_desc desc = model_desc_of(small);
    wcoh_trainer_desc trainer_desc = small_trainer();
    wcoh_model *model = model_of(&desc), *copy = model_of(&desc);
    wcoh_trainer *trainer = trainer_of(model, &trainer_desc);
    wcoh_session *session = session_of(model, 0), *fresh;
    int i;
    CHECK(small_data(trainer) == WCOH_OK);
    CHECK(wcoh_session_prefill(session, text, 5, NULL) == WCOH_OK);
    for (i = 0; i < 3; i++) CHECK(wcoh_trainer_step(trainer, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_model_copy(copy, model, NULL) == WCOH_OK);
    fresh = session_of(copy, 0);
    wcoh_session_reset(session);
    CHECK(wcoh_session_prefill(session, text, 5, NULL) == WCOH_OK);
    CHECK(wcoh_session_prefill(fresh, text, 5, NULL) == WCOH_OK);
    CHECK(memcmp(wcoh_session_logits(session), wcoh_session_logits(fresh),
                 13 * sizeof(wcoh_real)) == 0);
    wcoh_session_destroy(session);
    wcoh_session_destroy(fresh);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    wcoh_model_destroy(copy);
}

/* ---- plans ----------------------------------------------------------------------------------- */

/* A plan by itself; *memory is to be freed. */
static wcohi_plan plan_of(const wcoh_model_desc *desc, wcohi_mode mode, void **memory)
{
    wcohi_arena arena = {NULL, 0};
    wcohi_plan plan;
    memset(&plan, 0, sizeof plan);
    wcohi_plan_layout(&plan, &arena, desc, mode);
    *memory = calloc(1, arena.used);
    if (!*memory) abort();
    arena.base = (unsigned char *)*memory;
    arena.used = 0;
    wcohi_plan_layout(&plan, &arena, desc, mode);
    wcohi_plan_build(&plan, desc, NULL, 2, 6, mode);
    return plan;
}

static int tensors_collide(const wcohi_tensor *a, const wcohi_tensor *b)
{
    int together = a->first <= b->last && b->first <= a->last;
    return together && a->offset < b->offset + b->count && b->offset < a->offset + a->count;
}

/* Reals in use at the busiest time: no layout can do with less. */
static size_t busiest(const wcohi_plan *plan)
{
    size_t most = 0;
    int time, i;
    for (time = 0; time < 2 * plan->count; time++) {
        size_t sum = 0;
        for (i = 0; i < plan->tensor_count; i++) {
            const wcohi_tensor *tensor = &plan->tensors[i];
            if (tensor->first <= time && time <= tensor->last) sum += wcohi_place_size(tensor);
        }
        if (sum > most) most = sum;
    }
    return most;
}

static const char *const planned[] = {
    "vocab=7",
    "vocab=7 attention=frozen block=parallel_shared",
    "vocab=7 attention=shared block=sequential maestros=add",
    "vocab=7 attention=dot ffn=mlp block=sequential",
    "vocab=7 ffn=mlp block=parallel per_band_first=on",
    "vocab=7 per_band_first=on layers=7 head=low_rank head_rank=3",
    "vocab=7 layers=1 head=tied solver=none",
    "vocab=7 gate=on value_gate=on taps=3 block=parallel_shared ffn=kerr,gated_mlp"};

static void tensors_in_use_share_no_memory(void)
{
    size_t n;
    int mode, i, j, collisions = 0;
    for (n = 0; n < sizeof planned / sizeof *planned; n++) {
        for (mode = WCOHI_MODE_TRAIN; mode <= WCOHI_MODE_SESSION; mode++) {
            wcoh_model_desc desc = model_desc_of(planned[n]);
            void *memory;
            wcohi_plan plan;
            CHECK(wcoh_model_desc_resolve(&desc, NULL) == WCOH_OK);
            plan = plan_of(&desc, (wcohi_mode)mode, &memory);
            for (i = 0; i < plan.tensor_count; i++) {
                const wcohi_tensor *tensor = &plan.tensors[i];
                if (tensor->last < 0) continue; /* the gradient of nothing */
                CHECK(tensor->offset + tensor->count <= plan.activations);
                for (j = 0; j < i; j++) collisions += tensors_collide(tensor, &plan.tensors[j]);
            }
            CHECK_SAY(collisions == 0, "%s, mode %d: %d collisions", planned[n], mode, collisions);
            /* first fit leaves holes: a quarter more than what is in use at once is the bound */
            CHECK_SAY(4 * plan.activations <= 5 * busiest(&plan), "%s, mode %d: %lu for %lu",
                      planned[n], mode, (unsigned long)plan.activations,
                      (unsigned long)busiest(&plan));
            free(memory);
        }
    }
}

/* Every op has the rows that its kind names, and every row has an op. */
static void parameters_meet_their_ops(void)
{
    size_t n;
    for (n = 0; n < sizeof planned / sizeof *planned; n++) {
        wcoh_model_desc desc = model_desc_of(planned[n]);
        wcoh_model *model = model_of(&desc);
        void *memory;
        wcohi_plan plan = plan_of(&model->desc, WCOHI_MODE_TRAIN, &memory);
        int i, p, norms = 0;
        CHECK(plan.row_count == model->row_count && plan.trained_reals == model->trained_reals);
        for (i = 0; i < plan.count; i++) {
            const wcohi_op *op = &plan.ops[i];
            for (p = 0; p < WCOHI_OP_PARAMS; p++) {
                int row = op->param[p];
                char layer[32];
                if (row < 0) continue;
                snprintf(layer, sizeof layer, "blocks.%d.", op->layer);
                if (!CHECK(row < model->row_count)) continue;
                CHECK_SAY(op->layer < 0 ? strncmp(model->rows[row].name, "blocks.", 7) != 0
                                        : strncmp(model->rows[row].name, layer, strlen(layer)) == 0,
                          "an op of layer %d reads %s", op->layer, model->rows[row].name);
            }
            if (op->kind != WCOHI_NORM) continue;
            norms++;
            CHECK(text_ends(model->rows[op->param[WCOHI_NORM_WEIGHT]].name, "weight"));
            CHECK(text_ends(model->rows[op->param[WCOHI_NORM_BIAS]].name, "bias"));
        }
        CHECK(norms > 1);
        free(memory);
        wcoh_model_destroy(model);
    }
}

/* Holes that giving out the places of so many layers looks at. */
static size_t place_steps(int layers, wcohi_mode mode)
{
    wcoh_model_desc desc = model_desc_of("bands=2 heads=1 maestro=1 vocab=4");
    void *memory;
    wcohi_plan plan;
    size_t steps;
    desc.layers = layers;
    CHECK(wcoh_model_desc_resolve(&desc, NULL) == WCOH_OK);
    plan = plan_of(&desc, mode, &memory);
    steps = wcohi_plan_place(&plan);
    free(memory);
    return steps;
}

static void deep_networks_take_linear_work(void)
{
    int mode;
    for (mode = WCOHI_MODE_TRAIN; mode <= WCOHI_MODE_SESSION; mode++) {
        size_t some = place_steps(128, (wcohi_mode)mode),
               many = place_steps(1024, (wcohi_mode)mode);
        CHECK_SAY(many <= 8 * some + 64, "mode %d: %lu steps for 128 layers, %lu for 1,024", mode,
                  (unsigned long)some, (unsigned long)many);
    }
}

static void a_thousand_layers_train_and_stream(void)
{
    static const uint32_t fours[] = {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3};
    wcoh_model_desc desc = model_desc_of("bands=2 heads=1 maestro=1 vocab=4 layers=1024");
    wcoh_model *model = model_of(&desc);
    wcoh_trainer_desc training;
    wcoh_trainer *trainer;
    wcoh_session *session = session_of(model, 4);
    wcoh_error error = {WCOH_OK, ""};
    memset(&training, 0, sizeof training);
    training.batch = 1;
    training.seq = 4;
    training.steps = 1;
    trainer = trainer_of(model, &training);
    CHECK(wcoh_trainer_set_data(trainer, fours, 16, NULL, 0, &error) == WCOH_OK);
    CHECK_SAY(wcoh_trainer_run(trainer, -1, NULL, &error) >= 0, "%s", error.text);
    CHECK_SAY(wcoh_session_step(session, 1, &error) == WCOH_OK, "%s", error.text);
    CHECK(wcohi_is_finite((double)wcoh_session_logits(session)[0]));
    wcoh_session_destroy(session);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

int main(void)
{
    RUN(parameters_are_as_many_as_published);
    RUN(tensors_have_their_names_and_shapes);
    RUN(only_matrices_decay);
    RUN(the_default_starts_as_designed);
    RUN(presets_start_as_published);
    RUN(the_seed_decides);
    RUN(only_equal_models_are_copied);
    RUN(one_circle_is_a_simplex);
    RUN(neighbours_separate_as_computed);
    RUN(wave_engine_has_its_published_totals);
    RUN(resonance_transformers_have_their_published_totals);
    RUN(moduli_are_the_smallest_coprime_pair);
    RUN(two_circles_have_bounded_rank);
    RUN(sinusoids_are_sine_first);
    RUN(out_of_range_values_are_named);
    RUN(defaults_are_those_of_the_table);
    RUN(a_table_that_is_not_there_has_no_rows);
    RUN(related_settings_are_checked);
    RUN(heads_that_nobody_gives_fit);
    RUN(fields_survive_text);
    RUN(patterns_are_cycled_over_the_layers);
    RUN(a_mixed_stack_has_the_rows_of_its_kinds);
    RUN(a_gated_mlp_has_the_parameters_of_a_plain_one);
    RUN(settings_without_a_reader_are_refused);
    RUN(orthogonal_rows_are_orthogonal);
    RUN(bad_text_is_refused);
    RUN(only_heads_with_a_gain_listen);
    RUN(a_new_network_that_listens_is_the_one_that_does_not);
    RUN(refused_text_is_harmless_in_its_sentence);
    RUN(results_have_names_and_sentences);
    RUN(nothing_leaks);
    RUN(every_failing_allocation_is_an_error);
    RUN(sizes_are_known_before);
    RUN(blocks_can_be_handed_over);
    RUN(who_lives_in_a_block_is_left_alone);
    RUN(steps_allocate_nothing);
    RUN(learns_a_pattern);
    RUN(gradients_are_means_over_windows);
    RUN(accumulation_is_a_larger_batch);
    RUN(updates_are_adamw);
    RUN(the_rate_follows_its_schedule);
    RUN(the_curriculum_opens_the_bands);
    RUN(the_soft_curriculum_opens_what_feed_forward_hears);
    RUN(evaluating_by_hand_gives_the_same);
    RUN(bad_training_calls_are_errors);
    RUN(numeric_failure_changes_nothing);
    RUN(the_gain_stays_bounded);
    RUN(a_huge_gradient_is_refused);
    RUN(a_huge_gradient_of_ones_own_is_refused);
    RUN(all_reduce_sees_each_step_once);
    RUN(buckets_cover_the_gradient_as_it_is_finished);
    RUN(bad_splits_are_refused);
#ifdef TEST_THREADS
    RUN(a_split_run_is_the_run);
#endif
    RUN(patience_and_target_stop_early);
    RUN(a_run_without_end_ends_with_a_decay);
    RUN(a_decay_begins_where_the_rate_is);
    RUN(the_end_of_a_run_changes_nothing_before_it);
    RUN(settings_change_in_mid_run);
    RUN(a_finished_run_goes_on_without_a_jump);
    RUN(settings_may_come_in_any_order);
    RUN(a_run_that_lost_patience_can_be_finished);
    RUN(new_data_after_the_end_are_learnt);
    RUN(the_callback_stops_a_call);
    RUN(the_callback_changes_the_run);
    RUN(threads_change_no_bit);
    RUN(a_lent_job_system_changes_no_bit);
    RUN(a_shared_device_changes_no_bit);
    RUN(slices_change_no_bit);
    RUN(resuming_changes_no_bit);
    RUN(masks_look_drawn);
    RUN(each_step_and_seed_has_masks_of_its_own);
    RUN(phase_noise_without_phases_is_refused);
    RUN(angles_have_their_deviation);
    RUN(evaluations_drop_nothing);
#ifdef TEST_THREADS
    RUN(two_models_train_in_two_threads);
#else
    printf("not run: two models in two threads (no pthreads here)\n");
#endif
    RUN(streams_equal_batches);
    RUN(settings_stream_as_they_train);
    RUN(the_default_streams_as_it_trains);
    RUN(scores_add_up);
    RUN(evaluation_equals_the_trainers_loss);
    RUN(copies_and_saved_states_continue_exactly);
    RUN(bad_tokens_leave_a_session_as_it_was);
    RUN(learned_positions_end);
    RUN(the_ring_keeps_the_last_tokens);
    RUN(sessions_follow_their_model);
    RUN(tensors_in_use_share_no_memory);
    RUN(parameters_meet_their_ops);
    RUN(deep_networks_take_linear_work);
    RUN(a_thousand_layers_train_and_stream);
    CHECK(libc_live == 0);
    return test_end();
}

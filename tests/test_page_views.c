/* What examples/page.c shows of the oscillators, against the library: where feed-forward is bent so
   that it adds just what the oscillators hear, the stream after a block shows that. */
#define main page_main
#include "../examples/page.c"
#undef main
#include "test.h"

enum { ROOM = 1024 };
typedef struct stream {
    int layer;
    float row[256]; /* the last one before that layer */
} stream;

static wcoh_real *parameter(int layer, const char *name, size_t *count)
{
    wcoh_param param;
    char full[64];
    snprintf(full, sizeof full, "blocks.%d.%s", layer, name);
    if (wcoh_model_param(p.model, wcoh_model_param_find(p.model, full), &param, NULL) < 0) return NULL;
    *count = param.count;
    return param.data;
}

/* All of it is `value`; of a square matrix the diagonal is. */
static void set(int layer, const char *name, int square, double value)
{
    size_t count = 0, i, width = (size_t)(2 * p.desc.bands);
    wcoh_real *data = parameter(layer, name, &count);
    for (i = 0; i < count; i++)
        data[i] = !square || i % (width + 1) == 0 ? (wcoh_real)value : 0;
}

static void keep(int layer, const wcoh_real *hidden, const float *maps, void *user)
{
    stream *s = (stream *)user;
    size_t width = (size_t)(2 * p.desc.bands);
    (void)maps;
    if (layer == s->layer)
        memcpy(s->row, hidden + (size_t)(p.heard - 1) * width, width * sizeof *s->row);
}

static stream stream_before(int layer)
{
    stream s;
    memset(&s, 0, sizeof s);
    s.layer = layer;
    CHECK(wcoh_model_inspect(p.model, p.symbols, p.heard, NULL, NULL, keep, &s, &error) == WCOH_OK);
    return s;
}

/* Oscillators, gate and output projection pass on what comes in, times `share`. */
static void bend(int layer, double share)
{
    static const char *const none[] = {
        "ffn.kerr.omega", "ffn.kerr.alpha", "ffn.kerr.beta", "ffn.maestro_out.expand.weight",
        "ffn.maestro_out.expand.bias", "ffn.gate.weight", "ffn.out.bias"};
    size_t i;
    for (i = 0; i < sizeof none / sizeof *none; i++) set(layer, none[i], 0, 0);
    set(layer, "ffn.kerr.gamma_raw", 0, -30);
    set(layer, "ffn.gate.bias", 0, 1);
    set(layer, "ffn.out.weight", 1, share);
}

/* Numbers that no start gives: taps, norms and biases are not what they were at the start. */
static void scatter(void)
{
    wcoh_rng rng = wcoh_rng_seed(11);
    wcoh_param param;
    size_t i;
    int t;
    for (t = 0; t < wcoh_model_param_count(p.model); t++)
        if (wcoh_model_param(p.model, t, &param, NULL) == WCOH_OK)
            for (i = 0; param.trained && i < param.count; i++)
                param.data[i] += (wcoh_real)(0.4 * wcoh_rng_uniform(&rng) - 0.2);
}

static void energies_are_what_the_oscillators_hear(wcoh_model_desc desc)
{
    static const char heard[] = "rows of the drum, rows of the sea";
    const int length = (int)sizeof heard - 1;
    int layer, k;
    desc.bands = 6, desc.heads = 3, desc.layers = 2;
    p.desc = desc;
    for (k = 0; k < 10; k++) memcpy(page_room(ROOM) + k * length, heard, (size_t)length);
    CHECK(page_open((size_t)(10 * length)) > 0);
    if (!CHECK_SAY(page_start() == WCOH_OK, "%s", page_error())) return;
    scatter();
    for (layer = 0; layer < 2; layer++) {
        float energies[6];
        stream with, without;
        memcpy(page_room(ROOM), heard, (size_t)length);
        CHECK(page_listen((size_t)length) == length);
        memcpy(energies, page_view(VIEW_BEFORE) + 6 * layer, sizeof energies);
        bend(layer, 1);
        with = stream_before(layer + 1);
        bend(layer, 0);
        without = stream_before(layer + 1);
        for (k = 0; k < 6; k++) {
            double r = with.row[2 * k] - without.row[2 * k];
            double s = with.row[2 * k + 1] - without.row[2 * k + 1];
            CHECK_NEAR(energies[k], r * r + s * s, 1e-4 * (1 + r * r + s * s)); /* float */
        }
    }
}

static void of_the_default_network(void)
{
    wcoh_model_desc desc = wcoh_model_preset(WCOH_PRESET_WAVE, 0);
    energies_are_what_the_oscillators_hear(desc);
    desc.taps = desc.ffn_taps = -1;
    energies_are_what_the_oscillators_hear(desc);
}

static void of_parallel_blocks(void)
{
    wcoh_model_desc desc = wcoh_model_preset(WCOH_PRESET_WAVE_1, 0);
    energies_are_what_the_oscillators_hear(desc);
    desc.ffn_taps = 2;
    desc.norm = WCOH_NORM_RMS;
    energies_are_what_the_oscillators_hear(desc);
    desc.block = WCOH_BLOCK_PARALLEL_SHARED;
    desc.ffn_taps = 4;
    energies_are_what_the_oscillators_hear(desc);
}

int main(void)
{
    page_main();
    RUN(of_the_default_network);
    RUN(of_parallel_blocks);
    return test_end();
}

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

/* What is bent by a limiter, or stands beside an offset, is shown so. */
static void of_limiter_and_offset(void)
{
    wcoh_model_desc desc = wcoh_model_preset(WCOH_PRESET_WAVE_1, 0);
    desc.limiter = WCOH_SWITCH_ON;
    desc.ceiling = 0.4;
    energies_are_what_the_oscillators_hear(desc);
    desc.offset = 0.3;
    energies_are_what_the_oscillators_hear(desc);
    desc.limiter = WCOH_SWITCH_OFF;
    energies_are_what_the_oscillators_hear(desc);
}

/* ---- texts and networks that come in any order ----------------------------------------------------- */

static int open_text(const char *text)
{
    size_t size = strlen(text);
    memcpy(page_room(size), text, size);
    return page_open(size);
}

static int set_to(int of_trainer, const char *name, const char *value)
{
    char *room = (char *)page_room(strlen(name) + strlen(value) + 2);
    strcpy(room, name);
    strcpy(room + strlen(name) + 1, value);
    return page_set(of_trainer);
}

/* A small network that learns 600 letters of `letters`, over and over. */
static void begin_with(const char *letters)
{
    char text[601];
    int i, size = (int)strlen(letters);
    for (i = 0; i < 600; i++) text[i] = letters[i % size];
    text[600] = 0;
    p.desc = wcoh_model_preset(WCOH_PRESET_WAVE_1, 0);
    memset(&p.training, 0, sizeof p.training);
    p.desc.bands = 4, p.desc.heads = 2, p.desc.layers = 1;
    p.training.batch = 2, p.training.seq = 16, p.training.cpu.threads = 1;
    p.loaded = 0;
    CHECK_SAY(open_text(text) == size, "%s", page_error());
    CHECK_SAY(page_start() == WCOH_OK, "%s", page_error());
}

static int load_saved(const unsigned char *file, int size)
{
    memcpy(page_room((size_t)size), file, (size_t)size);
    return page_load((size_t)size);
}

/* Do the tokens at hand spell the text for this tokenizer? */
static int tokens_spell(const wcoh_tokenizer *tokenizer)
{
    size_t i;
    for (i = 0; i < p.train + p.val; i++) {
        char letter[8];
        if (wcoh_tokenizer_decode(tokenizer, p.tokens[i], letter, sizeof letter) != 1 ||
            letter[0] != p.text[i])
            return 0;
    }
    return p.train + p.val == p.text_size;
}

static void a_new_network_after_a_loaded_one_hears_the_text_by_its_own_letters(void)
{
    unsigned char file[1 << 17];
    int size;
    begin_with("abcdefgh");
    CHECK((size = page_save()) > 0 && size < (int)sizeof file);
    memcpy(file, page_out(), (size_t)size);
    begin_with("bdfh");
    CHECK(load_saved(file, size) == 1 && tokens_spell(wcoh_model_tokenizer(p.model)));
    CHECK(p.tokens[0] == 1); /* b is the second of eight letters */
    CHECK(set_to(0, "bands", "4") == WCOH_OK && set_to(0, "heads", "3") == WCOH_OK);
    CHECK(page_start() < 0 &&
          tokens_spell(wcoh_model_tokenizer(p.model))); /* and the run goes on */
    CHECK(p.trainer != NULL);
    CHECK(set_to(0, "heads", "2") == WCOH_OK);
    CHECK_SAY(page_start() == WCOH_OK, "%s", page_error());
    CHECK(p.desc.vocab == 4 && p.tokens[0] == 0 && tokens_spell(wcoh_model_tokenizer(p.model)));
    /* the same where there was no text before the network */
    free(p.text), free(p.tokens);
    p.text = NULL, p.tokens = NULL;
    wcoh_tokenizer_destroy(p.tokenizer);
    p.tokenizer = NULL;
    CHECK(page_start() < 0);
    CHECK_TEXT(page_error(), "a text to learn from is needed first");
    CHECK(load_saved(file, size) == 0);
    CHECK(open_text("hfdbhfdbhfdbhfdbhfdbhfdbhfdbhfdbhfdb") == 8);
    CHECK_SAY(page_start() == WCOH_OK, "%s", page_error());
    CHECK(p.desc.vocab == 4 && tokens_spell(wcoh_model_tokenizer(p.model)));
}

static void a_loss_is_of_the_text_that_the_network_learns(void)
{
    unsigned char file[1 << 17];
    int size;
    begin_with("abcdefgh");
    CHECK((size = page_save()) > 0 && size < (int)sizeof file);
    memcpy(file, page_out(), (size_t)size);
    begin_with("uvwxyz"); /* six letters, none of them among those eight */
    CHECK(load_saved(file, size) == 0);
    CHECK(page_evaluate() < 0);
    CHECK_TEXT(page_error(), "a text that it learns");
    begin_with("abcdefgh");
    CHECK(open_text("uvwxyzuvwxyzuvwxyz") == 6); /* and no network for it yet */
    CHECK(page_evaluate() < 0);
}

/* A network that comes is there, also where the text at hand is too short for its windows. */
static void a_short_text_keeps_no_network_out(void)
{
    static const char *const texts[] = {"abcdefgh", "hgfedcbaabcdefgh"};
    unsigned char file[1 << 17];
    int size, i;
    begin_with("abcdefgh");
    CHECK((size = page_save()) > 0 && size < (int)sizeof file);
    memcpy(file, page_out(), (size_t)size);
    for (i = 0; i < 2; i++) {
        p.loaded = 0;
        CHECK(open_text(texts[i]) == 8);
        CHECK_SAY(load_saved(file, size) == 0, "%s", page_error());
        CHECK(p.loaded && page_write(1, 20, 1, 0) == 20);
        CHECK(page_run(1) < 0 && page_evaluate() < 0); /* there is nothing to train */
    }
}

static void a_text_that_is_refused_leaves_the_one_before(void)
{
    static const char *const bad[] = {"", "a", "aaaaaaaaaaaaaaaaaaaaaaaaaa", "\357\273\277"};
    size_t i;
    begin_with("abcd");
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(open_text(bad[i]) < 0);
        CHECK(p.text_size == 600 && tokens_spell(p.tokenizer));
        CHECK(p.trainer != NULL && page_run(1) >= 0);
        CHECK_SAY(page_start() == WCOH_OK && p.desc.vocab == 4, "%s", page_error());
    }
}

/* Past its end such a network hears the last half of its table again. */
static void learned_positions_have_an_end_and_the_page_goes_on(void)
{
    static const int contexts[] = {16, 40};
    int i, count;
    begin_with("abcdefgh");
    for (i = 0; i < 2; i++) {
        p.desc.position = WCOH_POSITION_LEARNED;
        p.desc.context = contexts[i];
        CHECK_SAY(page_start() == WCOH_OK, "%s", page_error());
        memset(page_room(100), 'c', 100);
        count = page_write(1, 200, 1, 100);
        CHECK_SAY(count == 200, "%d %s", count, page_error());
        memset(page_room(100), 'c', 100);
        count = page_listen(100);
        CHECK_SAY(count == contexts[i], "%d %s", count, page_error());
    }
}

static void settings_that_are_live_change_the_run(void)
{
    char pattern[16 * 10 + 3] = "";
    int i;
    begin_with("abcd");
    CHECK(set_to(1, "patience", "7") == WCOH_OK);
    CHECK(wcoh_trainer_get_desc(p.trainer)->patience == 7);
    CHECK(set_to(1, "patience", "0") == WCOH_OK);
    CHECK(wcoh_trainer_get_desc(p.trainer)->patience == 0);
    CHECK(set_to(1, "lr", "0.01") == WCOH_OK && set_to(1, "lr", "0") == WCOH_OK);
    CHECK_NEAR(wcoh_trainer_get_desc(p.trainer)->lr, 0.0045, 1e-12); /* the default */
    for (i = 0; i < 16; i++) strcat(pattern, i ? ",coherence" : "coherence");
    CHECK(set_to(0, "attention", pattern) == WCOH_OK);
    strcat(pattern, "\"}");
    CHECK(strstr(page_settings(), pattern) != NULL);
    CHECK(set_to(0, "attention", "coherence") == WCOH_OK);
}

int main(void)
{
    page_main();
    RUN(a_new_network_after_a_loaded_one_hears_the_text_by_its_own_letters);
    RUN(a_loss_is_of_the_text_that_the_network_learns);
    RUN(a_short_text_keeps_no_network_out);
    RUN(a_text_that_is_refused_leaves_the_one_before);
    RUN(learned_positions_have_an_end_and_the_page_goes_on);
    RUN(settings_that_are_live_change_the_run);
    RUN(of_the_default_network);
    RUN(of_parallel_blocks);
    RUN(of_limiter_and_offset);
    return test_end();
}

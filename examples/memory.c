/* Is a wave memory worth anything? Loss on the second half of conversations, heard anew, with what the
   first half left in the oscillators, and with memories that know nothing of it.

   cc -O2 examples/memory.c -o memory -lm -lpthread
   ./memory my.safetensors my.txt --from 800000

   A conversation is a stretch of the text. Its first half is heard; the mean of what the oscillators
   returned is its memory. Its second half is scored by a session that starts blank,
     none       without a memory: the others are told as differences from this loss,
     real       with that of the first half,
     other      with that of the conversation before (of the first: of the last),
     shuffled   with the real one, its bands in another order in each layer,
     flipped    with the real one times -1,
     random     with random directions, in each layer as long as the real one: --draws of them.
   ./memory --census memory.kwmf tells what stands in a file: lengths, bands that stick out, and how
   often two bands stand at a named angle, beside how often chance has that.
   ./memory my.safetensors my.txt --waves my.kwds leaves kerr-engine's set of training waves (KWDS): for
   each symbol but the last the row that the network hears, then for each the next symbol's own.
   An interval holds the true mean difference with 95 %, over conversations. A memory that tells of its
   conversation has to be below none and other, and below nearly all random ones.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"

#include "common.h"
#include "bytes.h"
#include "statistics.h"

enum { NONE, REAL, OTHER, SHUFFLED, FLIPPED, RANDOM };
static const char *const names[] = {"none", "real", "other", "shuffled", "flipped"};

typedef struct request {
    const char *model, *out, *census, *waves;
    const char **files;
    int file_count;
    choice unknown;
    long long from, to, length, conversations, draws, seed;
    double strength;
} request;

static void request_read(request *r, int argc, char **argv)
{
    const option options[] = {
        {"from", OPTION_WHOLE, &r->from, 0, 9e15, "first byte of each text to take"},
        {"to", OPTION_WHOLE, &r->to, 0, 9e15, "byte after the last one; 0: the end"},
        {"length", OPTION_WHOLE, &r->length, 2, 1e6, "symbols of half a conversation"},
        {"conversations", OPTION_WHOLE, &r->conversations, 2, 1e6,
         "the most of a text, evenly spaced"},
        {"draws", OPTION_WHOLE, &r->draws, 1, 10000, "random memories"},
        {"strength", OPTION_REAL, &r->strength, -1e3, 1e3,
         "by which a memory is multiplied where it is added"},
        {"seed", OPTION_WHOLE, &r->seed, 0, 9e15, "of the random memories and the orders"},
        {"census", OPTION_TEXT, &r->census, 0, 0,
         "tell of a KWMF file; needs neither model nor text"},
        {"waves", OPTION_TEXT, &r->waves, 0, 0,
         "leave the first text's training waves (KWDS), and measure nothing"},
        {"out", OPTION_TEXT, &r->out, 0, 0,
         "leave a KWMF file: all first halves, merged one after the other"},
        UNKNOWN_OPTION(&r->unknown),
    };
    command c;
    memset(&c, 0, sizeof c);
    c.usage = "MODEL TEXT [TEXT ..] [options] | --census FILE\n"
              "Measures what a wave memory does to the loss of texts that the model has not seen.";
    c.options = options;
    c.option_count = (int)(sizeof options / sizeof options[0]);
    c.word_limit = argc;
    options_read(&c, argc, argv);
    if (r->census && c.word_count) fail(EXIT_USAGE, "--census stands alone");
    if (r->census)
        options_only(&c, argc, argv,
                     "from to length conversations draws strength seed waves out unknown",
                     "a model and a text (without --census)");
    if (r->census) return;
    if (r->waves)
        options_only(&c, argc, argv, "length conversations draws strength seed out",
                     "what is measured (without --waves)");
    if (c.word_count < 2) fail(EXIT_USAGE, "a model and a text are needed; --help explains");
    if (r->to && r->to <= r->from)
        fail(EXIT_USAGE, "--to %.0f is not after --from %.0f", (double)r->to, (double)r->from);
    path_not_read(r->out, c.words, c.word_count);
    path_not_read(r->waves, c.words, c.word_count);
    r->model = c.words[0];
    r->files = c.words + 1;
    r->file_count = c.word_count - 1;
}

/* ---- what stands in a file ------------------------------------------------------------------- */

enum { NAMED = 11 };

/* Angles between two bands and how far off they may be, in degrees; the first that fits counts. One
   turn has two sides: 240 is not 120. */
static const struct {
    double angle, within;
    const char *name;
} named_angles[NAMED] = {{0, 8, "conjunction"}, {180, 8, "opposition"}, {120, 8, "trine"},
                         {90, 7, "square"},     {72, 2, "quintile"},    {60, 6, "sextile"},
                         {45, 2, "octile"},     {30, 2, "semisextile"}, {150, 2, "quincunx"},
                         {135, 2, "trioctile"}, {144, 2, "biquintile"}};

/* Energy of the bands z [bands, 2] -> e; returns their sum. */
static double energies(const float *z, int bands, double *e)
{
    double sum = 0;
    int k;
    for (k = 0; k < bands; k++) {
        e[k] = (double)z[2 * k] * (double)z[2 * k] + (double)z[2 * k + 1] * (double)z[2 * k + 1];
        sum += e[k];
    }
    return sum;
}

/* A band sticks out if its energy is so many times the mean of the others' that one memory of noise
   in a hundred has such a band: energies of noise have exponential tails. Returns how many do. */
static int census_bands(int layer, int layers, int bands, const double *e, double sum)
{
    double limit = log(100.0 * layers * bands);
    int k, alarms = 0;
    for (k = 0; k < bands && bands > 1; k++) {
        double mean = (sum - e[k]) / (bands - 1);
        if (!(e[k] > limit * mean)) continue;
        alarms++;
        printf("  layer %d band %d sticks out: %.1f times the energy of the others, the limit is "
               "%.1f\n",
               layer, k, mean > 0 ? e[k] / mean : HUGE_VAL, limit);
    }
    return alarms;
}

/* Pairs of bands at each angle -> counts [NAMED], added to; returns the pairs. */
static double census_angles(const float *z, int bands, double *counts)
{
    double pairs = 0, turn = 360, degrees = turn / 6.283185307179586;
    int i, j, n;
    for (i = 0; i < bands; i++)
        for (j = i + 1; j < bands; j++, pairs++) {
            double a = degrees * (atan2((double)z[2 * j + 1], (double)z[2 * j]) -
                                  atan2((double)z[2 * i + 1], (double)z[2 * i]));
            for (n = 0; n < NAMED; n++)
                if (fabs(remainder(a - named_angles[n].angle, turn)) <= named_angles[n].within)
                    break;
            if (n < NAMED) counts[n]++;
        }
    return pairs;
}

static void census(const char *path)
{
    wcoh_wave_memory memory;
    wcoh_error error;
    double counts[NAMED] = {0}, pairs = 0, *e;
    size_t size;
    int layer, bands, n, alarms = 0;
    memset(&memory, 0, sizeof memory);
    must(wcoh_wave_memory_load_file(&memory, 0, path, &error), NULL, &error);
    bands = memory.bands;
    size = 2 * (size_t)memory.layers * (size_t)bands;
    memory.values = (float *)calloc(size, sizeof *memory.values);
    e = (double *)calloc((size_t)memory.bands, sizeof *e);
    if (!memory.values || !e) fail(EXIT_FAILED, "no memory for %lu numbers", (unsigned long)size);
    must(wcoh_wave_memory_load_file(&memory, size, path, &error), NULL, &error);
    if (memory.bands != bands) fail(EXIT_FAILED, "%s: it became another file meanwhile", path);
    printf("layers %d bands %d conversations %lu strength %g keep %g decay %g\n", memory.layers,
           memory.bands, (unsigned long)memory.conversations, memory.strength, memory.keep,
           memory.decay);
    for (layer = 0; layer < memory.layers; layer++) {
        const float *z = memory.values + 2 * (size_t)layer * (size_t)memory.bands;
        double sum = energies(z, memory.bands, e);
        printf("layer %d energy %.6g\n", layer, sum);
        alarms += census_bands(layer, memory.layers, memory.bands, e, sum);
        if (sum > 0) pairs += census_angles(z, memory.bands, counts);
    }
    printf("%d bands stick out\n", alarms);
    for (n = 0; n < NAMED && pairs > 0; n++) {
        double p = named_angles[n].within / 180, off = counts[n] - pairs * p;
        printf("%-11s %3g +- %g: %5.2f %% of pairs, by chance %.2f, %+.1f deviations\n",
               named_angles[n].name, named_angles[n].angle, named_angles[n].within,
               100 * counts[n] / pairs, 100 * p, off / sqrt(pairs * p * (1 - p)));
    }
    free(memory.values);
    free(e);
}

/* ---- conversations --------------------------------------------------------------------------- */

/* All that one text needs; `values` of a memory are [size]. */
typedef struct trial {
    const request *ask;
    wcoh_model *model;
    wcoh_session *session;
    wcoh_wave_memory memory; /* layers, bands, strength; its values are whose turn it is */
    size_t size;
    const uint32_t *tokens;
    size_t count;
    int conversations, conditions;
    float *real;    /* [conversations, size] */
    float *ways;    /* [draws, size] directions of the random ones */
    float *turn;    /* [size] */
    double *losses; /* [conditions, conversations] */
} trial;

static void *room(size_t count, size_t size)
{
    void *made = calloc(count ? count : 1, size);
    if (!made) fail(EXIT_FAILED, "no memory for %lu numbers", (unsigned long)count);
    return made;
}

/* Where conversation c begins. */
static const uint32_t *conversation(const trial *t, int c)
{
    size_t whole = 2 * (size_t)t->ask->length, left = t->count - whole;
    return t->tokens + (size_t)((double)left * c / (t->conversations - 1) + 0.5);
}

/* What the first half leaves; without a memory in the way. */
static void remember(trial *t, int c)
{
    wcoh_error error;
    t->memory.values = t->real + (size_t)c * t->size;
    t->memory.keep = 0;
    wcoh_session_reset(t->session);
    must(wcoh_session_waves(t->session, NULL, &error), NULL, &error);
    must(wcoh_session_prefill(t->session, conversation(t, c), (size_t)t->ask->length, &error), NULL,
         &error);
    must(wcoh_session_impress(t->session, &t->memory, &error), t->ask->model, &error);
}

static double score(trial *t, int c, const float *values)
{
    size_t half = (size_t)t->ask->length;
    wcoh_error error;
    double nats;
    t->memory.values = t->turn;
    if (values) memcpy(t->turn, values, t->size * sizeof *values);
    wcoh_session_reset(t->session);
    must(wcoh_session_waves(t->session, values ? &t->memory : NULL, &error), NULL, &error);
    must(wcoh_session_score(t->session, conversation(t, c) + half, half, &nats, &error), NULL,
         &error);
    return nats / (double)(half - 1);
}

/* The real memory with the bands of each layer in a random order. */
static void shuffle(const trial *t, float *to, const float *real, wcoh_rng *rng)
{
    size_t bands = (size_t)t->memory.bands, layer, k;
    memcpy(to, real, t->size * sizeof *to);
    for (layer = 0; layer < (size_t)t->memory.layers; layer++)
        for (k = bands - 1; k > 0; k--) {
            float *a = to + 2 * (layer * bands + k), band[2];
            float *b = to + 2 * (layer * bands + (size_t)(wcoh_rng_uniform(rng) * (double)(k + 1)));
            memcpy(band, a, sizeof band);
            memmove(a, b, sizeof band);
            memcpy(b, band, sizeof band);
        }
}

/* A direction, in each layer as long as the real memory. */
static void lengthen(const trial *t, float *to, const float *way, const float *real)
{
    size_t width = 2 * (size_t)t->memory.bands, at, i;
    for (at = 0; at < t->size; at += width) {
        double own = 0, wanted = 0;
        for (i = at; i < at + width; i++) {
            own += (double)way[i] * (double)way[i];
            wanted += (double)real[i] * (double)real[i];
        }
        for (i = at; i < at + width; i++)
            to[i] = (float)((double)way[i] * sqrt(wanted / own));
    }
}

static void score_all(trial *t, int c, wcoh_rng *rng)
{
    const float *real = t->real + (size_t)c * t->size;
    float *made = (float *)room(t->size, sizeof *made);
    double *losses = t->losses + c;
    size_t step = (size_t)t->conversations, i;
    int draw, before = c ? c - 1 : t->conversations - 1;
    losses[NONE * step] = score(t, c, NULL);
    losses[REAL * step] = score(t, c, real);
    losses[OTHER * step] = score(t, c, t->real + (size_t)before * t->size);
    shuffle(t, made, real, rng);
    losses[SHUFFLED * step] = score(t, c, made);
    for (i = 0; i < t->size; i++) made[i] = -real[i];
    losses[FLIPPED * step] = score(t, c, made);
    for (draw = 0; draw < t->ask->draws && !interrupted; draw++) {
        lengthen(t, made, t->ways + (size_t)draw * t->size, real);
        losses[(size_t)(RANDOM + draw) * step] = score(t, c, made);
    }
    free(made);
}

/* ---- what came out --------------------------------------------------------------------------- */

static stat_difference against_none(const trial *t, int condition)
{
    return stat_paired(t->losses + (size_t)condition * (size_t)t->conversations, t->losses,
                       t->conversations, 0.95);
}

static void report(const trial *t, const char *name)
{
    double least = 1e30, most = -1e30, sum = 0, real = against_none(t, REAL).mean;
    int condition, below = 0, draws = (int)t->ask->draws;
    printf("text %s: %d conversations, %.0f symbols scored, strength %g: loss %.6f without memory\n",
           name, t->conversations, (double)t->conversations * (double)(t->ask->length - 1),
           t->memory.strength, stat_mean(t->losses, t->conversations));
    for (condition = REAL; condition < RANDOM; condition++) {
        stat_difference d = against_none(t, condition);
        printf("%-9s %+.6f  interval %+.6f to %+.6f\n", names[condition], d.mean, d.mean - d.reach,
               d.mean + d.reach);
    }
    for (condition = RANDOM; condition < RANDOM + draws; condition++) {
        double mean = against_none(t, condition).mean;
        least = mean < least ? mean : least;
        most = mean > most ? mean : most;
        sum += mean;
        below += real < mean;
    }
    printf("random    %+.6f  %d draws from %+.6f to %+.6f\n", sum / draws, draws, least, most);
    printf("the real memory is below %d of %d random ones\n", below, draws);
}

/* ---- a text ---------------------------------------------------------------------------------- */

static void trial_open(trial *t)
{
    const request *r = t->ask;
    size_t whole = 2 * (size_t)r->length, i;
    wcoh_session_desc desc;
    wcoh_error error;
    wcoh_rng rng = wcoh_rng_seed((uint64_t)r->seed);
    memset(&desc, 0, sizeof desc);
    desc.waves = WCOH_SWITCH_ON;
    desc.prefill = 256;
    must(wcoh_session_create(&t->session, t->model, &desc, &error), r->model, &error);
    t->size = 2 * (size_t)wcoh_model_get_desc(t->model)->layers *
              (size_t)wcoh_model_get_desc(t->model)->bands;
    t->turn = (float *)room(t->size, sizeof *t->turn);
    must(wcoh_wave_memory_init(&t->memory, t->model, t->turn, t->size, &error), r->model, &error);
    t->memory.strength = r->strength;
    t->conversations = (int)(t->count / whole);
    if (t->conversations > r->conversations) t->conversations = (int)r->conversations;
    t->conditions = RANDOM + (int)r->draws;
    t->real = (float *)room((size_t)t->conversations * t->size, sizeof *t->real);
    t->ways = (float *)room((size_t)r->draws * t->size, sizeof *t->ways);
    t->losses =
        (double *)room((size_t)t->conditions * (size_t)t->conversations, sizeof *t->losses);
    for (i = 0; i < (size_t)r->draws * t->size; i++) t->ways[i] = (float)wcoh_rng_normal(&rng);
}

static void trial_close(trial *t)
{
    wcoh_session_destroy(t->session);
    free(t->turn);
    free(t->real);
    free(t->ways);
    free(t->losses);
}

/* All memories of the text in one, as a server would have merged them. */
static void merge(trial *t, float *merged, uint32_t *conversations)
{
    size_t i;
    int c;
    for (c = 0; c < t->conversations; c++)
        for (i = 0; i < t->size; i++)
            merged[i] = 0.95f * merged[i] + 0.05f * t->real[(size_t)c * t->size + i];
    *conversations += (uint32_t)t->conversations;
}

/* The symbols of a text's part -> t->tokens; the caller frees what is returned. */
static uint32_t *text_open(trial *t, const char *path)
{
    const request *r = t->ask;
    const wcoh_tokenizer *tokenizer = wcoh_model_tokenizer(t->model);
    const char *name = file_named(path);
    size_t size, from = (size_t)r->from, to;
    char *bytes = file_read(path, &size);
    uint32_t *tokens;
    to = r->to ? (size_t)r->to : size;
    if (!tokenizer)
        fail(EXIT_FAILED, "%s: it has no tokenizer: its symbols are not those of a text", r->model);
    if (r->from >= (long long)size || r->to > (long long)size)
        fail(EXIT_FAILED, "%s: it has %lu bytes: --from %lld --to %lld is outside", name,
             (unsigned long)size, r->from, r->to ? r->to : (long long)size);
    size = text_plain_for(tokenizer, bytes + from, to - from);
    tokens = text_encode(r->unknown.index, tokenizer, bytes + from, size, name, from, &t->count);
    t->tokens = tokens;
    free(bytes);
    return tokens;
}

/* ---- training waves -------------------------------------------------------------------------- */

/* Row `index` of a table, or nothing where there is none, added to x [width]. */
static void row_add(const wcoh_model *model, const char *table, size_t index, double *x, int width)
{
    wcoh_param param;
    int i;
    if (wcoh_model_param(model, wcoh_model_param_find(model, table), &param, NULL) < 0) return;
    for (i = 0; i < width; i++)
        x[i] += (double)param.data[index % (size_t)param.shape[0] * (size_t)width + (size_t)i];
}

/* KWDS: a head of 32 bytes, then floats [count - 1, width] of symbols with their positions, and
   [count - 1, width] of the symbols behind them without. */
static void waves_write(trial *t)
{
    enum { HEAD = 32 };
    const wcoh_model_desc *desc = wcoh_model_get_desc(t->model);
    int width = 2 * desc->bands, i;
    size_t half = (t->count - 1) * (size_t)width, size = HEAD + 8 * half, p;
    bytes_out out;
    double *x = (double *)room((size_t)width, sizeof *x);
    memset(&out, 0, sizeof out);
    out.bytes = (unsigned char *)room(size, 1);
    memcpy(out.bytes, "SDWK\1", 5);
    out.used = 8;
    put_whole(&out, t->count - 1, 8);
    put_whole(&out, (unsigned long long)desc->bands, 4);
    put_whole(&out, (unsigned long long)width, 4);
    out.used = HEAD;
    for (p = 0; p < 2 * (t->count - 1); p++) {
        int target = p >= t->count - 1;
        size_t at = target ? p - (t->count - 1) : p;
        memset(x, 0, (size_t)width * sizeof *x);
        row_add(t->model, "embed.weight", t->tokens[at + (size_t)target], x, width);
        if (!target) row_add(t->model, "position.weight", at, x, width);
        for (i = 0; i < width; i++) put_float(&out, (float)x[i]);
    }
    file_save(t->ask->waves, out.bytes, out.used);
    printf("waves %lu of %d bands in %s\n", (unsigned long)t->count - 1, desc->bands,
           file_named(t->ask->waves));
    free(out.bytes);
    free(x);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void text_run(trial *t, const char *path, float *merged, uint32_t *conversations)
{
    const request *r = t->ask;
    const char *name = file_named(path);
    uint32_t *tokens = text_open(t, path);
    wcoh_rng rng = wcoh_rng_seed((uint64_t)r->seed + 1);
    int c;
    if (t->count < 4 * (size_t)r->length)
        fail(EXIT_FAILED, "%s: %lu symbols are too few for two conversations of 2 x %lu", name,
             (unsigned long)t->count, (unsigned long)r->length);
    trial_open(t);
    for (c = 0; c < t->conversations && !interrupted; c++) remember(t, c);
    for (c = 0; c < t->conversations && !interrupted; c++) score_all(t, c, &rng);
    if (interrupted) fail(EXIT_FAILED, "interrupted: nothing is told of %s", name);
    report(t, name);
    merge(t, merged, conversations);
    trial_close(t);
    free(tokens);
}

int main(int argc, char **argv)
{
    request r;
    trial t;
    wcoh_error error;
    wcoh_wave_memory merged;
    float *values;
    size_t size;
    int i;
    program_begin("memory");
    memset(&r, 0, sizeof r);
    memset(&t, 0, sizeof t);
    r.unknown.words = UNKNOWN_WORDS;
    r.length = 1000;
    r.conversations = 1000000;
    r.draws = 50;
    r.strength = 0.05;
    request_read(&r, argc, argv);
    if (r.census) {
        census(r.census);
        stdout_check();
        return 0;
    }
    catch_interrupts();
    t.ask = &r;
    must(wcoh_model_load_file(&t.model, r.model, NULL, &error), NULL, &error);
    if (r.out) must(wcoh_path_check(r.out, &error), NULL, &error); /* before all is measured */
    if (r.waves) {
        uint32_t *tokens = text_open(&t, r.files[0]);
        if (t.count < 2) fail(EXIT_FAILED, "%s: waves need two symbols", file_named(r.files[0]));
        waves_write(&t);
        free(tokens);
        wcoh_model_destroy(t.model);
        stdout_check();
        return 0;
    }
    size = 2 * (size_t)wcoh_model_get_desc(t.model)->layers *
           (size_t)wcoh_model_get_desc(t.model)->bands;
    values = (float *)room(size, sizeof *values);
    must(wcoh_wave_memory_init(&merged, t.model, values, size, &error), r.model, &error);
    merged.strength = r.strength;
    for (i = 0; i < r.file_count; i++) text_run(&t, r.files[i], values, &merged.conversations);
    if (r.out) must(wcoh_wave_memory_save_file(&merged, r.out, &error), NULL, &error);
    free(values);
    wcoh_model_destroy(t.model);
    stdout_check();
    return 0;
}

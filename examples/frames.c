/* What a game does, without a window: 60 frames a second. In each the characters act, a crowd hears
   what they did and says what they will do next, and 2 ms go into learning from what was done.
   cc -O2 examples/frames.c -o frames -lm -lpthread
   ./frames                   ten seconds
   ./frames --fast            as fast as it can
   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* nanosleep */
#endif
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"

#include "common.h"

enum { ACTS = 8, MOTIF = 6, LEARNT = 256, BINS = 8 };

/* Characters repeat a few acts of their own, and now and then do something else. */
typedef struct character {
    int motif[MOTIF], length, at;
    int id;            /* in the crowd */
    uint32_t foreseen; /* what the crowd says it will do */
} character;

typedef struct game {
    long long characters, frames;
    int fast; /* 1: no waiting */
    character *cast;
    uint32_t *acts;     /* [characters] of this frame */
    int *ids;           /* [characters] */
    uint32_t *log;      /* [characters, LEARNT] their last acts, as a trainer's sequences */
    size_t *offsets;    /* [characters + 1] */
    uint32_t *learning; /* [characters, LEARNT] what the trainer looks at */
    wcoh_model *model;
    wcoh_trainer *trainer;
    wcoh_crowd *crowd;
    wcoh_rng rng;
    long long played;       /* frames that were: Ctrl-C ends the game */
    long right[2], told[2]; /* foresights in the first and the last fifth of the time */
    long bins[BINS];        /* frames by their milliseconds */
    double worst, total;
    size_t bytes;
} game;

static const double edges[BINS - 1] = {1, 2, 2.5, 3, 4, 8, 1000.0 / 60};
static wcoh_error error;

/* A crowd that stays while the model learns has room for any gain (12 is the most there is). */
static void open_minds(game *g)
{
    wcoh_model_desc desc = wcoh_model_preset(WCOH_PRESET_WAVE_1, ACTS); /* the fastest */
    wcoh_trainer_desc training;
    wcoh_crowd_desc minds;
    int i;
    memset(&training, 0, sizeof training);
    memset(&minds, 0, sizeof minds);
    desc.bands = 16, desc.layers = 2, desc.heads = 4, desc.maestro = 8;
    training.batch = 8, training.seq = 32;
    training.steps = -1; /* as long as the game goes */
    training.warmup = 10;
    training.cpu.threads = 1;
    minds.members = (int)g->characters;
    minds.gain = 12;
    must(wcoh_model_create(&g->model, &desc, &error), NULL, &error);
    must(wcoh_trainer_create(&g->trainer, g->model, &training, &error), NULL, &error);
    must(wcoh_crowd_create(&g->crowd, g->model, &minds, &error), NULL, &error);
    for (i = 0; i < g->characters; i++)
        must(wcoh_crowd_join(g->crowd, &g->cast[i].id, &error), NULL, &error);
    g->bytes = wcoh_model_size(&desc, &error) + wcoh_trainer_size(&desc, &training, &error) +
               wcoh_crowd_size(g->model, &minds, &error);
}

static void open_cast(game *g)
{
    size_t n = (size_t)g->characters, i;
    int k;
    g->cast = (character *)calloc(n, sizeof *g->cast);
    g->acts = (uint32_t *)calloc(n, sizeof *g->acts);
    g->ids = (int *)calloc(n, sizeof *g->ids);
    g->log = (uint32_t *)calloc(n * LEARNT, sizeof *g->log);
    g->learning = (uint32_t *)calloc(n * LEARNT, sizeof *g->learning);
    g->offsets = (size_t *)calloc(n + 1, sizeof *g->offsets);
    if (!g->cast || !g->acts || !g->ids || !g->log || !g->learning || !g->offsets)
        fail(EXIT_FAILED, "no memory for %lld characters", g->characters);
    g->rng = wcoh_rng_seed(7);
    for (i = 0; i < n; i++) {
        g->cast[i].length = 3 + (int)(wcoh_rng_next(&g->rng) % (MOTIF - 2));
        for (k = 0; k < MOTIF; k++) g->cast[i].motif[k] = (int)(wcoh_rng_next(&g->rng) % ACTS);
    }
}

/* Everybody does something: 19 times in 20 what comes next in the motif. */
static void act(game *g, long frame)
{
    size_t i;
    int part = frame < g->frames / 5 ? 0 : frame >= g->frames * 4 / 5 ? 1 : -1;
    for (i = 0; i < (size_t)g->characters; i++) {
        character *c = &g->cast[i];
        int usual = c->motif[c->at++ % c->length], any = (int)(wcoh_rng_next(&g->rng) % ACTS);
        g->acts[i] = (uint32_t)(wcoh_rng_uniform(&g->rng) < 0.95 ? usual : any);
        g->ids[i] = c->id;
        if (part >= 0 && frame > 0) g->told[part]++, g->right[part] += c->foreseen == g->acts[i];
        memmove(g->log + i * LEARNT, g->log + i * LEARNT + 1, (LEARNT - 1) * sizeof *g->log);
        g->log[i * LEARNT + LEARNT - 1] = g->acts[i];
    }
}

/* All minds hear at once; the likeliest next act of each. */
static void listen(game *g)
{
    wcoh_sample_desc likeliest;
    long long i;
    memset(&likeliest, 0, sizeof likeliest);
    must(wcoh_crowd_step(g->crowd, g->ids, g->acts, (int)g->characters, &error), NULL, &error);
    for (i = 0; i < g->characters; i++)
        must(wcoh_crowd_sample(g->crowd, g->cast[i].id, &likeliest, NULL, &g->cast[i].foreseen,
                               &error),
             NULL, &error);
}

/* Once a second the trainer gets to see what was done since. */
static void remember(game *g, long frame)
{
    wcoh_sequences done;
    size_t i, count = frame + 1 < (long)LEARNT ? (size_t)frame + 1 : (size_t)LEARNT;
    for (i = 0; i < (size_t)g->characters; i++) {
        memcpy(g->learning + i * count, g->log + (i + 1) * LEARNT - count,
               count * sizeof *g->learning);
        g->offsets[i + 1] = (i + 1) * count;
    }
    done.count = (size_t)g->characters;
    done.offsets = g->offsets;
    done.tokens = g->learning;
    must(wcoh_trainer_set_sequences(g->trainer, &done, NULL, &error), NULL, &error);
}

/* A character leaves the level and is met again: its mind goes through a file. */
static void save_and_load(game *g)
{
    wcoh_memory_file file;
    wcoh_io io;
    memset(&file, 0, sizeof file);
    file.capacity = wcoh_crowd_file_size(g->crowd, g->cast[0].id);
    file.data = (unsigned char *)malloc(file.capacity);
    if (!file.data) fail(EXIT_FAILED, "no memory for a file");
    io = wcoh_io_memory(&file);
    must(wcoh_crowd_save(g->crowd, g->cast[0].id, &io, &error), NULL, &error);
    wcoh_crowd_leave(g->crowd, g->cast[0].id);
    must(wcoh_crowd_join(g->crowd, &g->cast[0].id, &error), NULL, &error);
    must(wcoh_crowd_load(g->crowd, g->cast[0].id, &io, &error), NULL, &error);
    printf("a mind of %lu bytes was saved and loaded\n", (unsigned long)file.used);
    free(file.data);
}

/* A game waits for the screen. Sleep comes back late, by a millisecond now and then: the last two are
   waited out awake. */
static void wait_until(double next)
{
    double left;
    while ((left = next - seconds_now()) > 0 && !interrupted) {
#ifdef _WIN32
        if (left > 0.003) Sleep((DWORD)(1e3 * left) - 2);
#else
        struct timespec time = {0, 0};
        time.tv_nsec = (long)(1e9 * (left - 0.002));
        if (left > 0.002 && left < 0.5) nanosleep(&time, NULL);
#endif
    }
}

static void play(game *g)
{
    long frame;
    double next = seconds_now();
    for (frame = 0; frame < g->frames && !interrupted; frame++, g->played++) {
        double began = seconds_now(), spent;
        int bin = 0;
        act(g, frame);
        listen(g);
        if (frame % 60 == 59) remember(g, frame);
        if (frame >= 60) must(wcoh_trainer_run(g->trainer, 2.0, NULL, &error), NULL, &error);
        if (frame == g->frames / 2) save_and_load(g);
        spent = (seconds_now() - began) * 1e3;
        while (bin < BINS - 1 && spent >= edges[bin]) bin++;
        g->bins[bin]++;
        g->total += spent;
        if (spent > g->worst) g->worst = spent;
        next += 1.0 / 60;
        if (!g->fast) wait_until(next);
    }
}

/* Of the foresights in one of the two parts; a game that ended early may have none. */
static const char *share(const game *g, int part)
{
    if (!g->told[part]) return "none";
    return text_made("%.1f %%", 100.0 * (double)g->right[part] / (double)g->told[part]);
}

static void tell_acts(const game *g)
{
    wcoh_stats stats;
    int bin;
    wcoh_trainer_stats(g->trainer, &stats);
    printf("%lld characters, %lld frames: %.2f ms a frame, the longest %.2f\n", g->characters,
           g->played, g->total / (double)(g->played ? g->played : 1), g->worst);
    for (bin = 0; bin < BINS; bin++)
        printf("  %4.1f ms %-10s %6ld\n", bin ? edges[bin - 1] : 0.0,
               bin < BINS - 1 ? text_made("to %4.1f", edges[bin]) : "and more", g->bins[bin]);
    printf("acts foreseen: %s in the first fifth of the time, %s in the last, after %lu steps\n",
           share(g, 0), share(g, 1), (unsigned long)stats.step);
    printf("%lu bytes hold the model, its trainer and all minds\n", (unsigned long)g->bytes);
}

int main(int argc, char **argv)
{
    static game g;
    long long seconds = 10;
    const option options[] = {
        {"characters", OPTION_WHOLE, &g.characters, 1, 100000, "how many there are"},
        {"seconds", OPTION_WHOLE, &seconds, 1, 3600, "how long they play, 60 frames each"},
        {"fast", OPTION_FLAG, &g.fast, 0, 0, "do not wait for the next frame"},
    };
    command c;
    program_begin("frames");
    g.characters = 64;
    memset(&c, 0, sizeof c);
    c.usage =
        "[options]\nThe frame loop of a game whose characters are foreseen by a crowd that learns.";
    c.options = options;
    c.option_count = (int)(sizeof options / sizeof options[0]);
    options_read(&c, argc, argv);
    catch_interrupts();
    g.frames = seconds * 60;
    open_cast(&g);
    open_minds(&g);
    play(&g);
    tell_acts(&g);
    wcoh_crowd_destroy(g.crowd);
    wcoh_trainer_destroy(g.trainer);
    wcoh_model_destroy(g.model);
    free(g.cast), free(g.acts), free(g.ids), free(g.log), free(g.learning), free(g.offsets);
    stdout_check();
    return 0;
}

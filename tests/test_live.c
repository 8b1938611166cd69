/* Learning while it runs: what is fed, in a ring with boundaries; what is learnt at once; what is
   frozen.
   cc -O2 -o test_live tests/test_live.c -lm -lpthread */
#define WCOHI_STRETCH_WORK 1.0 /* even the smallest products have all stretches that they can */
#define WAVECOH_SCALAR
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"
#include "test.h"
#include "support.h"

enum { VOCAB = 11, SEQ = 6, BATCH = 3, TOKENS = 300 };
static const char small[] = "vocab=11 bands=6 heads=3 layers=2 maestro=4 seed=3";
static uint32_t tokens[TOKENS];
static wcoh_error error;

static wcoh_trainer_desc small_trainer(int replay)
{
    wcoh_trainer_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.batch = BATCH;
    desc.seq = SEQ;
    desc.steps = 12;
    desc.warmup = 2;
    desc.replay = replay;
    desc.cpu.threads = 1;
    return desc;
}

typedef struct pupil {
    wcoh_model *model;
    wcoh_trainer *trainer;
} pupil;

static pupil pupil_with(const char *settings, const wcoh_trainer_desc *desc)
{
    pupil p;
    wcoh_model_desc model = model_desc_of(settings);
    p.model = model_of(&model);
    p.trainer = NULL;
    CHECK_SAY(wcoh_trainer_create(&p.trainer, p.model, desc, &error) == WCOH_OK, "%s", error.text);
    return p;
}

static pupil pupil_of(const wcoh_trainer_desc *desc) { return pupil_with(small, desc); }

static void pupil_close(pupil *p)
{
    wcoh_trainer_destroy(p->trainer);
    wcoh_model_destroy(p->model);
}

static void feed(wcoh_trainer *trainer, const uint32_t *symbols, size_t count)
{
    CHECK_SAY(wcoh_trainer_feed(trainer, symbols, count, &error) == WCOH_OK, "%s", error.text);
}

static void run(wcoh_trainer *trainer)
{
    CHECK_SAY(wcoh_trainer_run(trainer, -1, NULL, &error) == WCOH_OK, "%s", error.text);
}

/* ---- equal bits ------------------------------------------------------------------------------ */

/* Piece by piece or at once, with a ring that is just long enough or longer. */
static void a_fed_text_is_a_text_to_the_bit(void)
{
    int replay;
    for (replay = TOKENS; replay <= 1000; replay += 700) {
        wcoh_trainer_desc given = small_trainer(0), desc = small_trainer(replay);
        pupil a = pupil_of(&given), b = pupil_of(&desc);
        size_t at;
        CHECK(wcoh_trainer_set_data(a.trainer, tokens, TOKENS, NULL, 0, NULL) == WCOH_OK);
        for (at = 0; at < TOKENS; at += 25) feed(b.trainer, tokens + at, 25);
        CHECK(wcoh_trainer_fed(b.trainer) == TOKENS);
        run(a.trainer);
        run(b.trainer);
        CHECK(same_parameters(a.model, b.model));
        pupil_close(&a);
        pupil_close(&b);
    }
}

/* What is older than the ring is forgotten, wherever in it the newest token stands. */
static void a_full_ring_is_its_last_tokens(void)
{
    wcoh_trainer_desc given = small_trainer(0), desc = small_trainer(70);
    pupil a = pupil_of(&given), b = pupil_of(&desc), c = pupil_of(&desc);
    CHECK(wcoh_trainer_set_data(a.trainer, tokens + TOKENS - 70, 70, NULL, 0, NULL) == WCOH_OK);
    feed(b.trainer, tokens, 123);
    feed(b.trainer, tokens + 123, TOKENS - 123);
    feed(c.trainer, tokens, TOKENS); /* much more than there is room for at once */
    CHECK(wcoh_trainer_fed(b.trainer) == 70 && wcoh_trainer_fed(c.trainer) == 70);
    run(a.trainer);
    run(b.trainer);
    run(c.trainer);
    CHECK(same_parameters(a.model, b.model) && same_parameters(a.model, c.model));
    pupil_close(&a);
    pupil_close(&b);
    pupil_close(&c);
}

static void fed_sequences_are_sequences_to_the_bit(void)
{
    static const size_t ends[] = {0, 2, 42, 48, 55, 63, 66, 161, TOKENS};
    enum { COUNT = sizeof ends / sizeof *ends - 1 };
    wcoh_trainer_desc given = small_trainer(0), desc = small_trainer(512);
    pupil a = pupil_of(&given), b = pupil_of(&desc);
    wcoh_sequences s;
    size_t i;
    s.count = COUNT;
    s.offsets = ends;
    s.tokens = tokens;
    CHECK(wcoh_trainer_set_sequences(a.trainer, &s, NULL, NULL) == WCOH_OK);
    for (i = 0; i < COUNT; i++) {
        feed(b.trainer, tokens + ends[i], ends[i + 1] - ends[i]);
        wcoh_trainer_feed_end(b.trainer);
        wcoh_trainer_feed_end(b.trainer); /* of nothing */
    }
    run(a.trainer);
    run(b.trainer);
    CHECK(same_parameters(a.model, b.model));
    pupil_close(&a);
    pupil_close(&b);
}

/* The latest of the two calls says what is learnt; validation stays. */
static void data_set_after_feeding_counts(void)
{
    wcoh_trainer_desc given = small_trainer(0), desc = small_trainer(100);
    pupil a = pupil_of(&given), b = pupil_of(&desc);
    double x = 0, y = 0;
    CHECK(wcoh_trainer_set_data(a.trainer, tokens, 99, tokens + 99, 99, NULL) == WCOH_OK);
    feed(b.trainer, tokens + 7, 50);
    CHECK(wcoh_trainer_set_data(b.trainer, tokens, 99, tokens + 99, 99, NULL) == WCOH_OK);
    run(a.trainer);
    run(b.trainer);
    CHECK(same_parameters(a.model, b.model));
    feed(b.trainer, tokens + 57, 50);
    CHECK(wcoh_trainer_fed(b.trainer) == 100);
    CHECK(wcoh_trainer_evaluate(a.trainer, &x, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_evaluate(b.trainer, &y, NULL) == WCOH_OK);
    CHECK(x == y && x > 0);
    pupil_close(&a);
    pupil_close(&b);
}

/* ---- the ring -------------------------------------------------------------------------------- */

/* The same rules with lists: sequences [n] of lengths, all tokens behind each other. */
typedef struct plain {
    uint32_t tokens[4096];
    size_t lengths[4096], count, size;
    int open;
} plain;

static void plain_drop(plain *p, size_t some)
{
    memmove(p->tokens, p->tokens + some, (p->size - some) * sizeof *p->tokens);
    p->size -= some;
    p->lengths[0] -= some;
    if (p->lengths[0] > 0) return;
    memmove(p->lengths, p->lengths + 1, --p->count * sizeof *p->lengths);
}

static void plain_put(plain *p, uint32_t token, size_t capacity)
{
    if (p->size == capacity)
        plain_drop(p, p->lengths[0] > 2 || (p->count == 1 && p->open) ? 1 : p->lengths[0]);
    if (!p->open && p->count == capacity / 8 + 2) plain_drop(p, p->lengths[0]);
    if (!p->open) p->lengths[p->count++] = 0;
    p->open = 1;
    p->lengths[p->count - 1]++;
    p->tokens[p->size++] = token;
}

static void plain_end(plain *p)
{
    if (p->open && p->lengths[p->count - 1] == 1) p->count--, p->size--;
    p->open = 0;
}

/* Every window that can be drawn is one of the lists. */
static int same_ring(wcoh_trainer *trainer, const plain *p)
{
    const wcohi_replay *r = &trainer->replay;
    const wcohi_data *data = &trainer->train;
    size_t i, at, count = p->count;
    if (count > 0 && p->lengths[count - 1] < 2) count--;
    if (wcoh_trainer_fed(trainer) != p->size || data->sequences.count != count) return 0;
    for (i = at = 0; i < count; at += p->lengths[i++])
        if (data->sequences.offsets[i] - data->sequences.offsets[0] != at) return 0;
    if (count > 0 &&
        (data->size != at || data->sequences.offsets[count] - data->sequences.offsets[0] != at))
        return 0;
    for (i = 0; i < p->size; i++) {
        size_t place = (r->next + r->capacity - p->size + i) % r->capacity;
        if ((r->tokens[place] & ~WCOHI_REPLAY_FIRST) != p->tokens[i]) return 0;
    }
    return 1;
}

static void the_ring_keeps_the_last_of_whatever_comes(void)
{
    static const int capacities[] = {16, 17, 40, 200};
    static plain p;
    int k, i;
    for (k = 0; k < 4; k++) {
        wcoh_trainer_desc desc = small_trainer(capacities[k]);
        pupil a = pupil_of(&desc);
        wcoh_rng rng = wcoh_rng_seed((uint64_t)k);
        memset(&p, 0, sizeof p);
        for (i = 0; i < 4000; i++) {
            uint32_t token = (uint32_t)(wcoh_rng_next(&rng) % VOCAB);
            /* sometimes many short ones, sometimes none ends for long */
            int often = i / 500 % 2 ? 3 : 40;
            feed(a.trainer, &token, 1);
            plain_put(&p, token, (size_t)capacities[k]);
            if (wcoh_rng_next(&rng) % (uint64_t)often == 0) {
                wcoh_trainer_feed_end(a.trainer);
                plain_end(&p);
            }
            if (!CHECK_SAY(same_ring(a.trainer, &p), "%d tokens, %d fed", capacities[k], i)) break;
            if (i > 40 && !CHECK(a.trainer->train.size >= 2)) break;
        }
        pupil_close(&a);
    }
}

/* ---- how windows are drawn ------------------------------------------------------------------- */

/* 2000 tokens that count up from 0 by 7 modulo 11, in sequences of 500: a window is a run of them, none
   goes on over an end, and half of the ages of its last tokens lie within the half life: 0.5 of the
   draws, over 1 - 2^-10 of them all. Six deviations of a binomial. */
static void newer_windows_come_as_often_as_the_half_life_says(void)
{
    enum { DRAWS = 40000, LENGTH = 500, ALL = 2000, HALF = 200 };
    wcoh_trainer_desc desc = small_trainer(ALL);
    const uint32_t *in, *out;
    int i, wrong = 0, recent = 0, older = 0;
    double share = 0.5 / (1 - pow(0.5, 10)), deviation = sqrt(DRAWS * share * (1 - share));
    pupil a;
    desc.half_life = HALF;
    a = pupil_of(&desc);
    in = a.trainer->tokens, out = a.trainer->targets;
    for (i = 0; i < ALL; i++) {
        uint32_t token = (uint32_t)((i % LENGTH) * 7 % VOCAB);
        feed(a.trainer, &token, 1);
        if (i % LENGTH == LENGTH - 1) wcoh_trainer_feed_end(a.trainer);
    }
    for (i = 0; i < DRAWS; i++) {
        size_t there = 0, k,
               place = wcohi_window_recent(&a.trainer->train, SEQ, HALF, &a.trainer->rng, &there);
        wrong += there != SEQ || place / LENGTH != (place + there) / LENGTH;
        recent += place + there >= ALL - HALF;
        older += place + there >= ALL - 2 * HALF;
        place = wcohi_trainer_draw(a.trainer, &there);
        wcohi_replay_window(a.trainer, 0, place, there);
        for (k = 0; k < there; k++) wrong += out[k] != (in[k] + 7) % VOCAB;
    }
    CHECK_SAY(wrong == 0, "%d wrong windows", wrong);
    CHECK_NEAR(recent, DRAWS * share, 6 * deviation);
    CHECK_NEAR(older, DRAWS * share * 1.5, 6 * deviation);
    CHECK(wcoh_trainer_set(a.trainer, "half_life", "10", &error) == WCOH_OK); /* in mid-run */
    for (recent = i = 0; i < DRAWS; i++) {
        size_t there;
        recent += wcohi_window_recent(&a.trainer->train, SEQ, 10, &a.trainer->rng, &there) + SEQ >=
                  ALL - 10;
    }
    CHECK_NEAR(recent, DRAWS * 0.5, 6 * sqrt(DRAWS * 0.25));
    pupil_close(&a);
}

/* A half life far above what there is weighs all alike: every last token from SEQ on as often. */
static void short_sequences_are_drawn_whole(void)
{
    enum { DRAWS = 20000 };
    wcoh_trainer_desc desc = small_trainer(64);
    pupil a;
    int i, wrong = 0, counts[3] = {0, 0, 0};
    const uint32_t *in, *out;
    desc.half_life = 1e6;
    a = pupil_of(&desc);
    in = a.trainer->tokens, out = a.trainer->targets;
    feed(a.trainer, tokens, 2);
    wcoh_trainer_feed_end(a.trainer);
    feed(a.trainer, tokens + 2, 4);
    wcoh_trainer_feed_end(a.trainer);
    feed(a.trainer, tokens + 6, 14);
    for (i = 0; i < DRAWS; i++) {
        size_t there, place = wcohi_trainer_draw(a.trainer, &there);
        wcohi_replay_window(a.trainer, 0, place, there);
        counts[there == 1 ? 0 : there == 3 ? 1 : 2]++;
        wrong += there != 1 && there != 3 && there != SEQ;
        wrong += there < SEQ && out[there] != WCOH_TARGET_NONE;
        if (there == 3) wrong += in[0] != tokens[2] || out[2] != tokens[5];
    }
    CHECK(wrong == 0);
    for (i = 0; i < 3; i++) {
        double share = (i == 0 ? 2 : i == 1 ? 4 : 14) / 20.0;
        CHECK_NEAR(counts[i], DRAWS * share, 6 * sqrt(DRAWS * share * (1 - share)));
    }
    pupil_close(&a);
}

/* ---- at once --------------------------------------------------------------------------------- */

/* By hand: the gradient of the caller's own batch, and an update. */
static void learning_now_is_a_gradient_and_an_update(void)
{
    wcoh_trainer_desc desc = small_trainer(0);
    pupil a = pupil_of(&desc), b = pupil_of(&desc);
    uint32_t in[2 * SEQ] = {0}, out[2 * SEQ];
    wcoh_stats stats;
    double loss = 0, last = 0;
    int i;
    CHECK(wcoh_trainer_learn(a.trainer, tokens, 5, 3, &stats, &error) == WCOH_OK);
    for (i = 0; i < 3; i++) {
        CHECK(wcoh_trainer_gradient(b.trainer, tokens, tokens + 1, 1, 4, &last, NULL) == WCOH_OK);
        CHECK(wcoh_trainer_update(b.trainer, NULL, NULL) == WCOH_OK);
        if (i == 0) loss = last;
    }
    CHECK(same_parameters(a.model, b.model));
    CHECK(stats.step == 3 && stats.tokens == 12 && stats.train_loss == last && last < loss);
    CHECK(wcoh_trainer_learn(a.trainer, tokens, SEQ + 4, 1, NULL, &error) == WCOH_OK);
    memcpy(in, tokens, (SEQ + 3) * sizeof *in);
    for (i = 0; i < 2 * SEQ; i++) out[i] = i < SEQ + 3 ? tokens[i + 1] : WCOH_TARGET_NONE;
    CHECK(wcoh_trainer_gradient(b.trainer, in, out, 2, SEQ, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_update(b.trainer, NULL, NULL) == WCOH_OK);
    CHECK(same_parameters(a.model, b.model));
    pupil_close(&a);
    pupil_close(&b);
}

/* A run goes on around it: the half-done step begins again, the run is over after its steps. */
static void a_run_goes_on_around_it(void)
{
    wcoh_trainer_desc desc = small_trainer(64);
    pupil a = pupil_of(&desc), b = pupil_of(&desc);
    wcoh_stats stats;
    feed(a.trainer, tokens, 60);
    feed(b.trainer, tokens, 60);
    CHECK(wcoh_trainer_run(a.trainer, 0, &stats, &error) == WCOH_OK);
    CHECK(wcoh_trainer_run(a.trainer, 0, &stats, &error) == WCOH_OK && stats.step == 0);
    CHECK(wcoh_trainer_learn(a.trainer, tokens + 9, 7, 2, NULL, &error) == WCOH_OK);
    CHECK(wcoh_trainer_learn(b.trainer, tokens + 9, 7, 2, NULL, &error) == WCOH_OK);
    run(a.trainer);
    run(b.trainer);
    CHECK(same_parameters(a.model, b.model));
    wcoh_trainer_stats(a.trainer, &stats);
    CHECK(stats.step == 12 && stats.done);
    pupil_close(&a);
    pupil_close(&b);
}

/* Slices that end wherever they can, and a step that is given up within an op, change no bit. */
static void a_slice_ends_within_a_long_op(void)
{
    wcoh_trainer_desc desc = small_trainer(64);
    pupil a = pupil_of(&desc), b = pupil_of(&desc);
    int i, within = 0;
    feed(a.trainer, tokens, 60);
    feed(b.trainer, tokens, 60);
    for (i = 0; i < 3000 && !a.trainer->engine.exec->part; i++)
        CHECK(wcoh_trainer_run(a.trainer, 0, NULL, &error) == WCOH_OK);
    CHECK(a.trainer->engine.exec->part == 1 && a.trainer->state.step == 0);
    CHECK(wcoh_trainer_learn(a.trainer, tokens + 7, 15, 1, NULL, &error) == WCOH_OK);
    CHECK(wcoh_trainer_learn(b.trainer, tokens + 7, 15, 1, NULL, &error) == WCOH_OK);
    CHECK(same_parameters(a.model, b.model));
    for (i = 0; i < 3000 && !a.trainer->state.done; i++) {
        CHECK(wcoh_trainer_run(a.trainer, 0, NULL, &error) >= 0);
        within += a.trainer->engine.exec->part;
        if (i % 50 == 49)
            CHECK(wcoh_trainer_step(a.trainer, NULL, &error) >= 0); /* the rest of it */
    }
    CHECK(wcoh_trainer_run(b.trainer, -1, NULL, &error) >= 0);
    CHECK(a.trainer->state.done && within > 20);
    CHECK(same_parameters(a.model, b.model));
    pupil_close(&a);
    pupil_close(&b);
}

/* The products of a wide layer's backward, each cut into its stretches (of columns that are no whole
   number of panels, in groups, added to what is there), every slice one of them; now and then what is
   left of the step at once, with any number of threads. */
static void slices_end_between_the_stretches_of_a_product(void)
{
    static const char *const wide[] = {
        "vocab=11 bands=52 heads=4 layers=1 maestro=4 seed=3",
        "vocab=11 bands=70 heads=7 layers=1 maestro=40 groups=2 seed=3",
        "vocab=11 bands=36 heads=2 layers=2 attention=dot ffn=mlp context=16 seed=3"};
    int i, k, unit;
    EACH_ISA(i)
        for (k = 0; k < (int)(sizeof wide / sizeof *wide); k++) {
            wcoh_trainer_desc desc = small_trainer(64);
            pupil whole, cut;
            int most = 0;
            desc.steps = 3;
            desc.cpu.isa = every_isa[i];
            whole = pupil_with(wide[k], &desc);
            desc.cpu.threads = 1 + k;
            cut = pupil_with(wide[k], &desc);
            feed(whole.trainer, tokens, 60);
            feed(cut.trainer, tokens, 60);
            run(whole.trainer);
            for (unit = 0; unit < 5000 && !cut.trainer->state.done; unit++) {
                CHECK(wcoh_trainer_run(cut.trainer, 0, NULL, &error) >= 0);
                most = WCOHI_MAX(most, cut.trainer->engine.exec->part);
                if (cut.trainer->state.step == 1 && cut.trainer->engine.exec->part == 3)
                    CHECK(wcoh_trainer_step(cut.trainer, NULL, &error) >= 0);
            }
            CHECK(cut.trainer->state.done && most >= 5);
            CHECK_SAY(same_parameters(whole.model, cut.model), "%s, %s",
                      wcoh_isa_name(every_isa[i]), wide[k]);
            pupil_close(&whole);
            pupil_close(&cut);
        }
}

/* What would end behind the time that there is waits for the next call: one unit a call here. */
static void a_slice_ends_before_what_is_too_long(void)
{
    wcoh_trainer_desc desc = small_trainer(64);
    pupil a = pupil_of(&desc);
    int i, k;
    feed(a.trainer, tokens, 60);
    for (i = 0; i < 5; i++) {
        for (k = 0; k < WCOHI_COSTS; k++) a.trainer->costs[k] = 1e6f;
        CHECK(wcoh_trainer_run(a.trainer, 1000, NULL, &error) == WCOH_OK);
        CHECK(a.trainer->time == i && a.trainer->phase == WCOHI_PHASE_PASS);
    }
    CHECK(wcoh_trainer_run(a.trainer, 1e12, NULL, &error) == WCOH_OK); /* there is time for all */
    CHECK(a.trainer->state.done);
    pupil_close(&a);
}

/* ---- files ----------------------------------------------------------------------------------- */

static unsigned char bytes[1 << 18];

static wcoh_io file_open(wcoh_memory_file *file)
{
    file->data = bytes;
    file->capacity = sizeof bytes;
    file->used = 0;
    return wcoh_io_memory(file);
}

/* Half-way, with an open sequence: fed on, both come to the same bits. */
static void checkpoints_hold_what_was_fed(void)
{
    wcoh_trainer_desc desc = small_trainer(90), read;
    pupil a, b;
    wcoh_memory_file file;
    wcoh_io io = file_open(&file);
    wcoh_model *loaded = NULL;
    size_t i;
    desc.half_life = 30;
    a = pupil_of(&desc);
    b = pupil_of(&desc);
    for (i = 0; i < 5; i++) {
        feed(a.trainer, tokens + 27 * i, 27);
        if (i % 2) wcoh_trainer_feed_end(a.trainer);
    }
    CHECK(wcoh_trainer_step(a.trainer, NULL, &error) == WCOH_OK);
    feed(b.trainer, tokens + 50, 30); /* of another life */
    CHECK_SAY(wcoh_trainer_save(a.trainer, &io, &error) == WCOH_OK, "%s", error.text);
    CHECK(file.used <= wcoh_trainer_file_size(a.trainer));
    CHECK_SAY(wcoh_trainer_resume(b.trainer, &io, &error) == WCOH_OK, "%s", error.text);
    CHECK(wcoh_trainer_notice(b.trainer) == NULL);
    CHECK(wcoh_trainer_fed(b.trainer) == wcoh_trainer_fed(a.trainer));
    feed(a.trainer, tokens + 200, 13);
    feed(b.trainer, tokens + 200, 13);
    run(a.trainer);
    run(b.trainer);
    CHECK(same_parameters(a.model, b.model));
    CHECK(wcoh_trainer_read_desc(&read, &io, &error) == WCOH_OK);
    CHECK(read.replay == 90 && read.half_life == 30);
    CHECK_SAY(wcoh_model_load(&loaded, &io, NULL, &error) == WCOH_OK, "%s", error.text);
    wcoh_model_destroy(loaded);
    pupil_close(&a);
    pupil_close(&b);
}

/* A ring of another size, or none, is said to be left out; a file without a ring leaves the one at
   hand as it is. */
static void a_ring_of_another_size_is_not_kept(void)
{
    wcoh_trainer_desc desc = small_trainer(90), other = small_trainer(91), none = small_trainer(0);
    pupil a = pupil_of(&desc), b = pupil_of(&other), c = pupil_of(&none);
    wcoh_memory_file file;
    wcoh_io io = file_open(&file);
    feed(a.trainer, tokens, 40);
    feed(b.trainer, tokens, 33);
    CHECK(wcoh_trainer_save(a.trainer, &io, &error) == WCOH_OK);
    CHECK_SAY(wcoh_trainer_resume(b.trainer, &io, &error) == WCOH_OK, "%s", error.text);
    CHECK_TEXT(wcoh_trainer_notice(b.trainer),
               "what was fed is not kept: replay is 91 here and 90 in the file");
    CHECK(wcoh_trainer_fed(b.trainer) == 33);
    CHECK(wcoh_trainer_resume(c.trainer, &io, &error) == WCOH_OK);
    CHECK_TEXT(wcoh_trainer_notice(c.trainer), "replay is 0 here and 90 in the file");
    io = file_open(&file);
    CHECK(wcoh_trainer_save(c.trainer, &io, &error) == WCOH_OK);
    CHECK(wcoh_trainer_resume(a.trainer, &io, &error) == WCOH_OK);
    CHECK(wcoh_trainer_fed(a.trainer) == 40 && wcoh_trainer_notice(a.trainer) == NULL);
    pupil_close(&a);
    pupil_close(&b);
    pupil_close(&c);
}

/* Replace the first `from` in the file by `to`, of the same length, and the checksum's key by another. */
static void edit(const char *from, const char *to, size_t used)
{
    static const char *const seal[2] = {"wavecoh.checksum", "wavecoh.chacksum"};
    const char *wanted[2], *now[2];
    size_t i, k;
    wanted[0] = from, wanted[1] = seal[0];
    now[0] = to, now[1] = seal[1];
    for (k = 0; k < 2; k++)
        for (i = 0; i + strlen(wanted[k]) <= used; i++)
            if (memcmp(bytes + i, wanted[k], strlen(wanted[k])) == 0) {
                memcpy(bytes + i, now[k], strlen(wanted[k]));
                break;
            }
}

static void bad_rings_are_refused(void)
{
    static const struct {
        const char *from, *to, *says;
    } bad[] = {
        {"\"replay.next\":\"40\"", "\"replay.next\":\"90\"", "replay.next in the file is more"},
        {"\"replay.held\":\"40\"", "\"replay.held\":\"91\"", "replay.held in the file is more"},
        {"\"replay.open\":\"1\"", "\"replay.open\":\"2\"", "replay.open in the file is more"},
        {"\"replay.drawn\":", "\"replay.dravn\":", "the metadata have no replay.drawn"},
    };
    wcoh_trainer_desc desc = small_trainer(90);
    pupil a = pupil_of(&desc), b = pupil_of(&desc);
    wcoh_memory_file file;
    wcoh_io io;
    int i;
    feed(a.trainer, tokens, 40);
    for (i = 0; i < 4; i++) {
        io = file_open(&file);
        CHECK(wcoh_trainer_save(a.trainer, &io, &error) == WCOH_OK);
        edit(bad[i].from, bad[i].to, file.used);
        CHECK(wcoh_trainer_resume(b.trainer, &io, &error) == WCOH_E_FORMAT);
        CHECK_TEXT(error.text, bad[i].says);
    }
    a.trainer->replay.tokens[5] = VOCAB;
    io = file_open(&file);
    CHECK(wcoh_trainer_save(a.trainer, &io, &error) == WCOH_OK);
    CHECK(wcoh_trainer_resume(b.trainer, &io, &error) == WCOH_E_FORMAT);
    CHECK_TEXT(error.text, "replay.ring: not what this model makes");
    for (i = 0; i < 90; i++)
        a.trainer->replay.tokens[i] = WCOHI_REPLAY_FIRST; /* none of two tokens */
    io = file_open(&file);
    CHECK(wcoh_trainer_save(a.trainer, &io, &error) == WCOH_OK);
    CHECK(wcoh_trainer_resume(b.trainer, &io, &error) == WCOH_OK);
    CHECK(wcoh_trainer_fed(b.trainer) == 1);
    CHECK(wcoh_trainer_step(b.trainer, NULL, &error) == WCOH_E_DATA);
    CHECK(same_parameters(a.model, b.model));
    pupil_close(&a);
    pupil_close(&b);
}

/* ---- freezing -------------------------------------------------------------------------------- */

static void patterns_match_whole_names(void)
{
    static const struct {
        const char *name, *pattern;
        int matches;
    } all[] = {{"head.weight", "head.weight", 1},
               {"head.weight", "head.weigh", 0},
               {"head.weight", "ead.weight", 0},
               {"head.weight", "*", 1},
               {"head.weight", "head.*", 1},
               {"head.weight", "*.weight", 1},
               {"head.weight", "*.weighs", 0},
               {"head.weight", "h?ad.*t", 1},
               {"blocks.1.ffn.a", "blocks.*.a", 1},
               {"blocks.1.ffn.a", "blocks.?.ffn.*", 1},
               {"blocks.12.ffn.a", "blocks.?.*", 0},
               {"aab", "*ab", 1},
               {"abab", "*ab", 1},
               {"abac", "*ab", 0},
               {"a", "a**", 1},
               {"a", "", 0},
               {"", "*", 1},
               {"", "?", 0}};
    size_t i;
    for (i = 0; i < sizeof all / sizeof *all; i++)
        CHECK_SAY(wcohi_name_matches(all[i].name, all[i].pattern) == all[i].matches, "%s %s",
                  all[i].name, all[i].pattern);
}

static int is_of_a_block(const wcoh_param *p) { return strncmp(p->name, "blocks.", 7) == 0; }

/* Of all trained rows: how many of the blocks' have changed, and of the others. */
static void changes(const wcoh_model *a, const wcoh_model *b, int *blocks, int *others)
{
    int i;
    *blocks = *others = 0;
    for (i = 0; i < wcoh_model_param_count(a); i++) {
        wcoh_param p, q;
        wcoh_model_param(a, i, &p, NULL);
        wcoh_model_param(b, i, &q, NULL);
        if (memcmp(p.data, q.data, p.count * sizeof *p.data) == 0) continue;
        ++*(is_of_a_block(&p) ? blocks : others);
    }
}

/* The head alone, from the start and after steps that left moments, with decay; the norm is that of what
   learns: 1e-6, floats in another order. */
static void what_is_frozen_stays_and_counts_nothing(void)
{
    int muon, i, blocks, others;
    size_t k;
    for (muon = 0; muon < 2; muon++) {
        wcoh_trainer_desc desc = small_trainer(0);
        pupil a, start;
        double sum = 0;
        wcoh_stats stats;
        wcoh_param p;
        desc.optimizer = muon ? WCOH_OPTIMIZER_MUON : WCOH_OPTIMIZER_ADAMW;
        desc.decay = 0.3;
        a = pupil_of(&desc);
        start = pupil_of(&desc);
        CHECK(wcoh_trainer_set_data(a.trainer, tokens, TOKENS, NULL, 0, NULL) == WCOH_OK);
        CHECK(wcoh_model_freeze(a.model, "blocks.*", 1, &error) == WCOH_OK);
        for (i = 0; i < 3; i++) CHECK(wcoh_trainer_step(a.trainer, NULL, NULL) == WCOH_OK);
        changes(a.model, start.model, &blocks, &others);
        CHECK(blocks == 0 && others == 3); /* the norm's two and the head */
        CHECK(wcoh_trainer_gradient(a.trainer, tokens, tokens + 1, 1, 6, NULL, NULL) == WCOH_OK);
        for (i = 0; i < wcoh_model_param_count(a.model); i++) {
            const wcoh_real *g = wcoh_trainer_param_gradient(a.trainer, i);
            wcoh_model_param(a.model, i, &p, NULL);
            CHECK(p.frozen == (p.trained && is_of_a_block(&p)));
            for (k = 0; g && !p.frozen && k < p.count; k++) sum += (double)g[k] * (double)g[k];
        }
        CHECK(wcoh_trainer_update(a.trainer, &stats, NULL) == WCOH_OK);
        CHECK_NEAR(stats.grad_norm, sqrt(sum), 1e-6 * sqrt(sum));
        CHECK(wcoh_model_freeze(a.model, "blocks.1.*", 0, &error) == WCOH_OK);
        CHECK(wcoh_trainer_step(a.trainer, NULL, NULL) == WCOH_OK);
        changes(a.model, start.model, &blocks, &others);
        CHECK(blocks > 5);
        CHECK(wcoh_model_freeze(a.model, "*", 1, &error) ==
              WCOH_OK); /* in motion: moments are not 0 */
        CHECK(wcoh_model_copy(start.model, a.model, NULL) == WCOH_OK);
        CHECK(wcoh_trainer_step(a.trainer, &stats, NULL) == WCOH_OK);
        CHECK(same_parameters(a.model, start.model) && stats.grad_norm == 0);
        pupil_close(&a);
        pupil_close(&start);
    }
    {
        pupil a;
        wcoh_trainer_desc desc = small_trainer(0);
        a = pupil_of(&desc);
        CHECK(wcoh_model_freeze(a.model, "block.*", 1, &error) == WCOH_E_ARGUMENT);
        CHECK_TEXT(error.text, "no trained parameter has a name like \"block.*\"");
        CHECK(wcoh_model_freeze(a.model, "embed.weight", 1, &error) == WCOH_E_ARGUMENT);
        pupil_close(&a);
    }
}

static void checkpoints_know_what_is_frozen(void)
{
    wcoh_trainer_desc desc = small_trainer(0);
    pupil a = pupil_of(&desc), b = pupil_of(&desc), c = pupil_of(&desc);
    wcoh_memory_file file;
    wcoh_io io = file_open(&file);
    CHECK(wcoh_trainer_set_data(a.trainer, tokens, TOKENS, NULL, 0, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_set_data(b.trainer, tokens, TOKENS, NULL, 0, NULL) == WCOH_OK);
    CHECK(wcoh_model_freeze(a.model, "*.attn.*", 1, &error) == WCOH_OK);
    CHECK(wcoh_trainer_step(a.trainer, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_save(a.trainer, &io, &error) == WCOH_OK);
    CHECK(file.used <= wcoh_trainer_file_size(a.trainer));
    CHECK_SAY(wcoh_trainer_resume(b.trainer, &io, &error) == WCOH_OK, "%s", error.text);
    run(a.trainer);
    run(b.trainer);
    CHECK(same_parameters(a.model, b.model));
    edit("frozen.blocks.0.attn.carrier", "frozen.blocks.0.attn.carriex", file.used);
    CHECK(wcoh_trainer_resume(c.trainer, &io, &error) == WCOH_E_FORMAT);
    CHECK_TEXT(error.text,
               "frozen.blocks.0.attn.carriex in the file: the model trains no such one");
    pupil_close(&a);
    pupil_close(&b);
    pupil_close(&c);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void bad_input_is_refused_and_loses_nothing(void)
{
    wcoh_trainer_desc desc = small_trainer(16), none = small_trainer(0);
    pupil a = pupil_of(&desc), b = pupil_of(&none);
    wcoh_trainer *trainer = NULL;
    uint32_t bad[3] = {1, VOCAB, 2};
    CHECK(wcoh_trainer_feed(b.trainer, tokens, 3, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "replay is 0");
    CHECK(wcoh_trainer_step(a.trainer, NULL, &error) == WCOH_E_DATA);
    feed(a.trainer, tokens, 1);
    CHECK(wcoh_trainer_step(a.trainer, NULL, &error) == WCOH_E_DATA); /* it takes two */
    feed(a.trainer, tokens + 1, 1);
    CHECK(wcoh_trainer_step(a.trainer, NULL, &error) == WCOH_OK);
    CHECK(wcoh_trainer_feed(a.trainer, bad, 3, &error) == WCOH_E_TOKEN);
    CHECK_TEXT(error.text, "fed token 1 is 11: the vocabulary has 11 symbols");
    CHECK(wcoh_trainer_fed(a.trainer) == 2);
    CHECK(wcoh_trainer_learn(a.trainer, tokens, 1, 1, NULL, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "count is 1: allowed are 2 to batch x seq + 1, 19");
    CHECK(wcoh_trainer_learn(a.trainer, tokens, 20, 1, NULL, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_trainer_learn(a.trainer, tokens, 19, 1, NULL, &error) == WCOH_OK);
    CHECK(wcoh_trainer_learn(a.trainer, tokens, 2, -1, NULL, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_trainer_learn(a.trainer, bad, 3, 1, NULL, &error) == WCOH_E_TOKEN);
    CHECK(wcoh_trainer_set(a.trainer, "replay", "32", &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "replay cannot change");
    { /* a budget of 0/0 ms would never end */
        wcoh_stats before, after;
        double none_at_all = -nan("");
        wcoh_trainer_stats(a.trainer, &before);
        CHECK(wcoh_trainer_run(a.trainer, nan(""), &after, &error) == WCOH_E_ARGUMENT);
        CHECK_TEXT(error.text, "milliseconds is nan");
        CHECK(wcoh_trainer_run(a.trainer, none_at_all, NULL, &error) == WCOH_E_ARGUMENT);
        CHECK(wcoh_trainer_run(a.trainer, -0.0, &after, &error) == WCOH_OK);
        CHECK(after.step <= before.step + 1);
        CHECK(wcoh_trainer_set(a.trainer, "steps", "30", &error) == WCOH_OK);
        CHECK(wcoh_trainer_run(a.trainer, HUGE_VAL, &after, &error) == WCOH_OK && after.step == 30);
    }
    desc.seq = 16;
    CHECK(wcoh_trainer_create(&trainer, a.model, &desc, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "replay is 16: one window of seq 16 needs 17 tokens");
    pupil_close(&a);
    pupil_close(&b);
}

int main(void)
{
    random_tokens(tokens, TOKENS, VOCAB, 5);
    RUN(a_fed_text_is_a_text_to_the_bit);
    RUN(a_full_ring_is_its_last_tokens);
    RUN(fed_sequences_are_sequences_to_the_bit);
    RUN(data_set_after_feeding_counts);
    RUN(the_ring_keeps_the_last_of_whatever_comes);
    RUN(newer_windows_come_as_often_as_the_half_life_says);
    RUN(short_sequences_are_drawn_whole);
    RUN(learning_now_is_a_gradient_and_an_update);
    RUN(a_run_goes_on_around_it);
    RUN(a_slice_ends_before_what_is_too_long);
    RUN(a_slice_ends_within_a_long_op);
    RUN(slices_end_between_the_stretches_of_a_product);
    RUN(checkpoints_hold_what_was_fed);
    RUN(a_ring_of_another_size_is_not_kept);
    RUN(bad_rings_are_refused);
    RUN(patterns_match_whole_names);
    RUN(what_is_frozen_stays_and_counts_nothing);
    RUN(checkpoints_know_what_is_frozen);
    RUN(bad_input_is_refused_and_loses_nothing);
    return test_end();
}

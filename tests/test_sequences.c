/* Several texts as sequences: no window crosses from one into the next, short ones are whole and
   padded with what does not count, one long one is a plain text. */
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"
#include "test.h"
#include "support.h"

enum { VOCAB = 11, SEQ = 6, BATCH = 3 };
static const char small[] = "vocab=11 bands=6 heads=3 layers=2 maestro=4 seed=3";

/* Sequences of these lengths; the tokens are random. */
static const size_t lengths[] = {2, 40, 6, 7, 8, 3, 95, 21};
enum { COUNT = sizeof lengths / sizeof *lengths, TOKENS = 2 + 40 + 6 + 7 + 8 + 3 + 95 + 21 };
static size_t offsets[COUNT + 1];
static uint32_t tokens[TOKENS];

static wcoh_sequences several(void)
{
    wcoh_sequences s;
    size_t i;
    for (i = 0; i < COUNT; i++) offsets[i + 1] = offsets[i] + lengths[i];
    random_tokens(tokens, TOKENS, VOCAB, 5);
    s.count = COUNT;
    s.offsets = offsets;
    s.tokens = tokens;
    return s;
}

static wcoh_sequences sequences_of(const uint32_t *text, const size_t *ends, size_t count)
{
    wcoh_sequences s;
    s.count = count;
    s.offsets = ends;
    s.tokens = text;
    return s;
}

static wcoh_trainer_desc small_trainer(void)
{
    wcoh_trainer_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.batch = BATCH;
    desc.seq = SEQ;
    desc.steps = 12;
    desc.warmup = 2;
    desc.eval_every = 4;
    desc.eval_batches = 2;
    desc.cpu.threads = 1;
    return desc;
}

typedef struct pupil {
    wcoh_model *model;
    wcoh_trainer *trainer;
} pupil;

static pupil pupil_of(const wcoh_trainer_desc *desc)
{
    pupil p;
    wcoh_model_desc model = model_desc_of(small);
    wcoh_error error;
    p.model = model_of(&model);
    p.trainer = NULL;
    CHECK_SAY(wcoh_trainer_create(&p.trainer, p.model, desc, &error) == WCOH_OK, "%s", error.text);
    return p;
}

static void pupil_close(pupil *p)
{
    wcoh_trainer_destroy(p->trainer);
    wcoh_model_destroy(p->model);
}

/* ---- windows --------------------------------------------------------------------------------- */

/* Of many draws: each window within its sequence, and every target as often as the weights say. Six
   deviations of a binomial, for 174 targets. */
static void drawn_windows_cross_no_boundary_and_reach_all_alike(void)
{
    enum { DRAWS = 400000 };
    static double drawn[TOKENS];
    wcoh_sequences s = several();
    wcohi_data data;
    wcoh_trainer_desc desc = {0}; /* windows by chance */
    wcoh_rng rng = wcoh_rng_seed(9);
    double all = 0;
    size_t i, k, there;
    int draw, wrong = 0;
    desc.seq = SEQ;
    wcohi_data_texts(&data, &s, SEQ);
    for (draw = 0; draw < DRAWS; draw++) {
        size_t at = wcohi_window_place(&data, &desc, &rng, &there), of = wcohi_sequence_at(&s, at);
        wrong += at + there >= offsets[of + 1] || there < 1 || there > SEQ;
        wrong += there < SEQ && (at != offsets[of] || there != lengths[of] - 1);
        for (k = 1; k <= there; k++) drawn[at + k]++;
    }
    CHECK(wrong == 0);
    for (i = 0; i < COUNT; i++) all += lengths[i] - 1 > SEQ ? (double)lengths[i] - 1 : SEQ;
    for (i = 0; i < COUNT; i++) {
        size_t n = lengths[i], starts = n > SEQ ? n - SEQ : 1;
        for (k = 1; k < n; k++) {
            size_t first = k > SEQ ? k - SEQ : 0, last = k - 1 < starts - 1 ? k - 1 : starts - 1;
            double share = (n - 1 > SEQ ? (double)n - 1 : SEQ) / all * (double)(last - first + 1) /
                           (double)starts;
            double expected = DRAWS * share, deviation = sqrt(expected * (1 - share));
            CHECK_SAY(test_near(drawn[offsets[i] + k], expected, 6 * deviation),
                      "target %d of sequence %d: %.0f draws, expected %.0f", (int)k, (int)i,
                      drawn[offsets[i] + k], expected);
        }
        CHECK(drawn[offsets[i]] == 0); /* the first token of a sequence is nobody's target */
    }
}

static void followed_windows_cover_each_target_once(void)
{
    wcoh_sequences s = several();
    wcohi_cursor cursor = {0, 0};
    int seen[TOKENS] = {0}, wrong = 0;
    size_t window, windows = wcohi_windows_of(&s, SEQ), there, k, i;
    for (window = 0; window < windows; window++) {
        const uint32_t *text = wcohi_cursor_at(&cursor, &s, SEQ, window, &there);
        for (k = 1; k <= there; k++) seen[(size_t)(text - tokens) + k]++;
    }
    for (i = 0; i < COUNT; i++)
        for (k = 0; k < lengths[i]; k++) wrong += seen[offsets[i] + k] != (k > 0);
    CHECK(wrong == 0);
}

/* ---- one sequence is a text ------------------------------------------------------------------ */

static void one_long_sequence_is_a_text_to_the_bit(void)
{
    static const size_t ends[2] = {0, TOKENS}, val_ends[2] = {30, TOKENS};
    wcoh_trainer_desc desc = small_trainer();
    pupil a = pupil_of(&desc), b = pupil_of(&desc);
    wcoh_sequences all = several(), train = sequences_of(all.tokens, ends, 1),
                   val = sequences_of(all.tokens, val_ends, 1);
    wcoh_stats x, y;
    CHECK(wcoh_trainer_set_data(a.trainer, tokens, TOKENS, tokens + 30, TOKENS - 30, NULL) ==
          WCOH_OK);
    CHECK(wcoh_trainer_set_sequences(b.trainer, &train, &val, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_run(a.trainer, -1, &x, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_run(b.trainer, -1, &y, NULL) == WCOH_OK);
    CHECK(same_parameters(a.model, b.model));
    CHECK(x.step == 12 && x.train_loss == y.train_loss && x.val_loss == y.val_loss);
    CHECK(x.tokens == y.tokens && x.tokens == 12 * BATCH * SEQ);
    pupil_close(&a);
    pupil_close(&b);
}

/* ---- short sequences ------------------------------------------------------------------------- */

/* Steps on copies of one short sequence are steps on a batch of that length. 1e-6: the same sums in
   another order, in floats. */
static void a_short_sequence_is_learnt_as_a_batch_of_its_length(void)
{
    enum { SHORT = 5 };
    static const uint32_t text[2 * SHORT] = {1, 7, 3, 9, 2, 1, 7, 3, 9, 2};
    static const size_t ends[3] = {0, SHORT, 2 * SHORT};
    uint32_t heard[BATCH * (SHORT - 1)], wanted[BATCH * (SHORT - 1)];
    wcoh_sequences twice = sequences_of(text, ends, 2);
    wcoh_trainer_desc desc = small_trainer();
    pupil a, b;
    wcoh_stats x, y;
    double loss = 0;
    int i, step, k;
    desc.accumulate = 2;
    a = pupil_of(&desc);
    b = pupil_of(&desc);
    for (i = 0; i < BATCH * (SHORT - 1); i++) {
        heard[i] = text[i % (SHORT - 1)];
        wanted[i] = text[i % (SHORT - 1) + 1];
    }
    CHECK(wcoh_trainer_set_sequences(a.trainer, &twice, NULL, NULL) == WCOH_OK);
    for (step = 0; step < 3; step++) {
        CHECK(wcoh_trainer_step(a.trainer, &x, NULL) == WCOH_OK);
        CHECK(wcoh_trainer_gradient(b.trainer, heard, wanted, BATCH, SHORT - 1, &loss, NULL) ==
              WCOH_OK);
        CHECK(wcoh_trainer_update(b.trainer, &y, NULL) == WCOH_OK);
        CHECK_NEAR(x.train_loss, loss, 1e-6);
        CHECK_NEAR(x.grad_norm, y.grad_norm, 1e-5 * y.grad_norm);
    }
    CHECK(x.tokens == 3 * 2 * BATCH * (SHORT - 1)); /* those that count */
    for (i = 0; i < wcoh_model_param_count(a.model); i++) {
        wcoh_param p, q;
        wcoh_model_param(a.model, i, &p, NULL);
        wcoh_model_param(b.model, i, &q, NULL);
        for (k = 0; k < (int)p.count; k += 7) CHECK_NEAR(p.data[k], q.data[k], 2e-5);
    }
    pupil_close(&a);
    pupil_close(&b);
}

/* ---- evaluation ------------------------------------------------------------------------------ */

/* -log p of the targets of a window, by a session that begins with it. */
static double heard_alone(wcoh_session *session, const uint32_t *text, size_t targets)
{
    double nats = 0;
    wcoh_session_reset(session);
    CHECK(wcoh_session_score(session, text, targets + 1, &nats, NULL) == WCOH_OK);
    return nats;
}

/* What a session hears from the beginning of each window alone. 1e-5: sessions and windows round
   differently. */
static void evaluation_is_that_of_each_sequence_alone(void)
{
    wcoh_sequences s = several();
    wcoh_trainer_desc training = small_trainer();
    wcoh_session_desc listening;
    wcoh_eval_desc desc;
    wcoh_session *session = NULL;
    pupil p;
    double nats = 0, loss = 0, trained = 0;
    size_t i, at, scored = 0;
    memset(&listening, 0, sizeof listening);
    memset(&desc, 0, sizeof desc);
    desc.seq = SEQ;
    desc.batch = 4;
    desc.cpu.threads = 1;
    training.eval_batches = 100; /* all windows */
    p = pupil_of(&training);
    randomise(p.model, 4);
    CHECK(wcoh_session_create(&session, p.model, &listening, NULL) == WCOH_OK);
    for (i = 0; i < COUNT; i++)
        for (at = 0; at + 1 < lengths[i]; at += SEQ)
            nats += heard_alone(session, tokens + offsets[i] + at,
                                lengths[i] - 1 - at < SEQ ? lengths[i] - 1 - at : SEQ);
    CHECK(wcoh_model_evaluate_sequences(p.model, &desc, &s, &loss, &scored, NULL) == WCOH_OK);
    CHECK(scored == TOKENS - COUNT);
    CHECK_NEAR(loss, nats / (TOKENS - COUNT), 1e-5);
    CHECK(wcoh_trainer_set_sequences(p.trainer, &s, &s, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_evaluate(p.trainer, &trained, NULL) == WCOH_OK);
    CHECK_NEAR(trained, loss, 1e-6);
    wcoh_session_destroy(session);
    pupil_close(&p);
}

/* Windows of one sequence: those of a text, and the rest that a text's evaluation drops. */
static void no_rest_is_dropped(void)
{
    static const size_t ends[2] = {0, 3 * SEQ + 1 + 2};
    wcoh_sequences all = several(), one = sequences_of(all.tokens, ends, 1);
    wcoh_trainer_desc training = small_trainer();
    pupil p = pupil_of(&training);
    wcoh_eval_desc desc;
    double whole = 0, rest = 0, both = 0;
    size_t scored = 0;
    memset(&desc, 0, sizeof desc);
    desc.seq = SEQ;
    desc.cpu.threads = 1;
    CHECK(wcoh_model_evaluate(p.model, &desc, tokens, 3 * SEQ + 1 + 2, &whole, &scored, NULL) ==
          WCOH_OK);
    CHECK(scored == 3 * SEQ);
    CHECK(wcoh_trainer_loss(p.trainer, tokens + 3 * SEQ, tokens + 3 * SEQ + 1, 1, 2, &rest, NULL) ==
          WCOH_OK);
    CHECK(wcoh_model_evaluate_sequences(p.model, &desc, &one, &both, &scored, NULL) == WCOH_OK);
    CHECK(scored == 3 * SEQ + 2);
    CHECK_NEAR(both, (whole * 3 * SEQ + rest * 2) / (3 * SEQ + 2), 1e-6);
    pupil_close(&p);
}

/* ---- the loss of each token ------------------------------------------------------------------ */

/* Mean of those that are scored, and how many they are. */
static double mean_of(const wcoh_real *losses, size_t count, size_t *scored)
{
    double sum = 0;
    size_t i;
    *scored = 0;
    for (i = 0; i < count; i++) {
        if (losses[i] == -1) continue;
        sum += (double)losses[i];
        ++*scored;
    }
    return sum / (double)*scored;
}

/* The losses of two evaluations: the same floats. */
static int same_losses(const wcoh_real *a, const wcoh_real *b, size_t count)
{
    return memcmp(a, b, count * sizeof *a) == 0;
}

/* Each token has what a session that begins with its window finds (1e-4: they round differently, here
   of one token), their mean is the loss that was always told, whatever the threads and the batch. */
static void each_token_has_its_loss(void)
{
    static wcoh_real losses[2][TOKENS + 1];
    wcoh_sequences s = several();
    wcoh_trainer_desc training = small_trainer();
    wcoh_session_desc listening;
    wcoh_session *session = NULL;
    wcoh_eval_desc desc;
    pupil p = pupil_of(&training);
    double nats[SEQ + 1], loss = 0, plain = 0;
    size_t i, at, k, scored = 0, told = 0;
    int threads, batch;
    memset(&listening, 0, sizeof listening);
    memset(&desc, 0, sizeof desc);
    desc.seq = SEQ;
    desc.batch = 4;
    desc.cpu.threads = 1;
    randomise(p.model, 4);
    CHECK(wcoh_model_evaluate_sequences(p.model, &desc, &s, &plain, &scored, NULL) == WCOH_OK);
    desc.losses = losses[0];
    desc.loss_count = TOKENS;
    losses[0][TOKENS] = 77;
    CHECK(wcoh_model_evaluate_sequences(p.model, &desc, &s, &loss, &scored, NULL) == WCOH_OK);
    CHECK(loss == plain && losses[0][TOKENS] == 77);
    CHECK_NEAR(mean_of(losses[0], TOKENS, &told), loss, 1e-6);
    CHECK(told == scored && scored == TOKENS - COUNT);
    CHECK(wcoh_session_create(&session, p.model, &listening, NULL) == WCOH_OK);
    for (i = 0; i < COUNT; i++) {
        CHECK(losses[0][offsets[i]] == -1);
        for (at = 0; at + 1 < lengths[i]; at += SEQ) {
            size_t there = lengths[i] - 1 - at < SEQ ? lengths[i] - 1 - at : SEQ;
            wcoh_session_reset(session);
            CHECK(wcoh_session_surprise(session, tokens + offsets[i] + at, there + 1, nats, NULL) ==
                  WCOH_OK);
            for (k = 1; k <= there; k++)
                CHECK_NEAR((double)losses[0][offsets[i] + at + k], nats[k], 1e-4);
        }
    }
    desc.losses = losses[1];
    for (threads = 1; threads <= 3; threads++)
        for (batch = 1; batch <= 9; batch += 4) {
            desc.cpu.threads = threads;
            desc.batch = batch;
            CHECK(wcoh_model_evaluate_sequences(p.model, &desc, &s, &loss, NULL, NULL) == WCOH_OK);
            for (i = 0; i < TOKENS; i++)
                CHECK_NEAR((double)losses[1][i], (double)losses[0][i], 1e-5);
            CHECK(batch != 4 || same_losses(losses[0], losses[1], TOKENS));
            CHECK_NEAR(mean_of(losses[1], TOKENS, &told), loss, 1e-6);
        }
    wcoh_session_destroy(session);
    pupil_close(&p);
}

/* Of a text: its first token and the rest of its last window are not scored; sequences that begin behind
   the first token leave what is before them. */
static void what_is_not_scored_has_no_loss(void)
{
    static const size_t ends[3] = {4, 20, 33};
    static wcoh_real losses[TOKENS];
    wcoh_sequences all = several(), some = sequences_of(all.tokens, ends, 2);
    wcoh_trainer_desc training = small_trainer();
    pupil p = pupil_of(&training);
    wcoh_eval_desc desc;
    wcoh_error error;
    double loss = 0;
    size_t scored = 0, i;
    memset(&desc, 0, sizeof desc);
    desc.seq = SEQ;
    desc.losses = losses;
    desc.loss_count = 3 * SEQ + 4;
    CHECK(wcoh_model_evaluate(p.model, &desc, tokens, 3 * SEQ + 4, &loss, &scored, NULL) ==
          WCOH_OK);
    CHECK(losses[0] == -1);
    for (i = 1; i < 3 * SEQ + 4; i++) CHECK((losses[i] == -1) == (i > 3 * SEQ));
    desc.loss_count = 33;
    CHECK(wcoh_model_evaluate_sequences(p.model, &desc, &some, &loss, &scored, NULL) == WCOH_OK);
    for (i = 0; i < 33; i++) CHECK((losses[i] == -1) == (i <= 4 || i == 20));
    losses[5] = 55;
    desc.loss_count = 29; /* as many as there are, but not as many as their places */
    CHECK(wcoh_model_evaluate_sequences(p.model, &desc, &some, &loss, &scored, &error) ==
          WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "there is room for 29 losses, and for 33 tokens");
    CHECK(wcoh_model_evaluate(p.model, &desc, tokens, 30, &loss, &scored, &error) ==
          WCOH_E_ARGUMENT);
    CHECK(losses[5] == 55);
    pupil_close(&p);
}

/* A loss that is not finite is an error, and the array shows where. */
static void losses_show_what_is_not_finite(void)
{
    static wcoh_real losses[TOKENS];
    wcoh_trainer_desc training = small_trainer();
    pupil p = pupil_of(&training);
    wcoh_eval_desc desc;
    wcoh_param embedding;
    double loss = 0;
    size_t i, first = 0;
    int broken = 0;
    several();
    memset(&desc, 0, sizeof desc);
    desc.seq = SEQ;
    desc.losses = losses;
    desc.loss_count = TOKENS;
    CHECK(wcoh_model_param(p.model, wcoh_model_param_find(p.model, "embed.weight"), &embedding,
                           NULL) == WCOH_OK);
    while (first < 30 || tokens[first] == tokens[0]) first++;
    embedding.data[(size_t)tokens[first] * (embedding.count / VOCAB)] = (wcoh_real)NAN;
    wcoh_model_touch(p.model);
    CHECK(wcoh_model_evaluate(p.model, &desc, tokens, TOKENS, &loss, NULL, NULL) == WCOH_E_NUMERIC);
    for (i = 0; i < TOKENS; i++) {
        size_t window = i ? (i - 1) / SEQ * SEQ : 0, k; /* where its window begins */
        int heard = 0, there = 0, nan = losses[i] != losses[i];
        for (k = window; k < window + SEQ && k < TOKENS; k++) there |= tokens[k] == tokens[first];
        for (k = window; k < i; k++) heard |= tokens[k] == tokens[first];
        if (i == 0 || i > (TOKENS - 1) / SEQ * SEQ) CHECK(losses[i] == -1);
        else CHECK(nan ? there : !heard); /* 0 NaN may reach back in a window */
        broken += nan;
    }
    CHECK(broken > 0 && broken < TOKENS);
    pupil_close(&p);
}

typedef struct witness {
    const wcoh_real *losses;
    size_t count;
    int evaluations;
} witness;

/* When an evaluation is told its losses are there, and are those of the loss that is told. */
static int on_evaluation(const wcoh_stats *stats, void *user)
{
    witness *w = (witness *)user;
    size_t scored;
    if (!stats->evaluated) return 0;
    w->evaluations++;
    CHECK_NEAR(mean_of(w->losses, w->count, &scored), stats->val_loss, 1e-6);
    CHECK(scored > 0);
    return 0;
}

/* Of a run in whole and in slices, on a text and on sequences, with all windows and with some: the same
   losses, to the bit, and the run is the one without them. */
static void a_trainers_evaluations_leave_their_losses(void)
{
    static const size_t ends[2] = {0, TOKENS};
    static wcoh_real losses[2][TOKENS];
    int form, i;
    for (form = 0; form < 4; form++) {
        wcoh_sequences all = several(), one = sequences_of(all.tokens, ends, 1);
        const wcoh_sequences *s = form % 2 ? &all : &one;
        wcoh_trainer_desc desc = small_trainer();
        pupil plain = pupil_of(&desc), told, sliced;
        wcoh_stats x, y, z;
        witness w;
        double loss = 0;
        size_t scored = 0;
        if (form > 1) desc.eval_batches = 100;
        desc.ema = 3;
        pupil_close(&plain);
        plain = pupil_of(&desc);
        sliced = pupil_of(&desc);
        w.losses = losses[0];
        w.count = TOKENS;
        w.evaluations = 0;
        desc.progress = on_evaluation;
        desc.progress_user = &w;
        told = pupil_of(&desc);
        CHECK(wcoh_trainer_set_sequences(plain.trainer, s, s, NULL) == WCOH_OK);
        CHECK(wcoh_trainer_set_sequences(told.trainer, s, s, NULL) == WCOH_OK);
        CHECK(wcoh_trainer_set_sequences(sliced.trainer, s, s, NULL) == WCOH_OK);
        CHECK(wcoh_trainer_set_losses(told.trainer, losses[0], TOKENS, NULL) == WCOH_OK);
        CHECK(wcoh_trainer_set_losses(sliced.trainer, losses[1], TOKENS, NULL) == WCOH_OK);
        CHECK(wcoh_trainer_run(plain.trainer, -1, &x, NULL) == WCOH_OK);
        CHECK(wcoh_trainer_run(told.trainer, -1, &y, NULL) == WCOH_OK);
        for (i = 0, z.done = 0; i < 100000 && !z.done; i++)
            CHECK(wcoh_trainer_run(sliced.trainer, 0, &z, NULL) == WCOH_OK);
        CHECK(z.done && w.evaluations == 3);
        CHECK(same_parameters(plain.model, told.model) && x.val_loss == y.val_loss);
        CHECK(same_losses(losses[0], losses[1], TOKENS));
        CHECK(wcoh_trainer_set_losses(told.trainer, NULL, 0, NULL) == WCOH_OK);
        losses[0][1] = 66;
        CHECK(wcoh_trainer_evaluate(told.trainer, &loss, NULL) == WCOH_OK);
        CHECK(losses[0][1] == 66 && loss == y.val_loss); /* no more */
        CHECK(wcoh_trainer_set_losses(told.trainer, losses[0], TOKENS, NULL) == WCOH_OK);
        CHECK(wcoh_trainer_evaluate(told.trainer, &loss, NULL) == WCOH_OK);
        CHECK(same_losses(losses[0], losses[1], TOKENS));
        CHECK_NEAR(mean_of(losses[0], TOKENS, &scored), loss, 1e-6);
        CHECK(form < 2 ? scored <= 2 * BATCH * SEQ
                       : scored == (form == 2 ? (TOKENS - 1) / SEQ * SEQ : TOKENS - COUNT));
        CHECK(wcoh_trainer_set_sequences(told.trainer, s, s, NULL) == WCOH_OK);
        losses[0][1] = 66;
        CHECK(wcoh_trainer_evaluate(told.trainer, &loss, NULL) == WCOH_OK);
        CHECK(losses[0][1] == 66); /* forgotten with the data */
        pupil_close(&plain);
        pupil_close(&told);
        pupil_close(&sliced);
    }
}

static void room_for_other_losses_is_refused(void)
{
    static wcoh_real losses[TOKENS];
    wcoh_sequences s = several();
    wcoh_trainer_desc desc = small_trainer();
    pupil p = pupil_of(&desc);
    wcoh_error error;
    CHECK(wcoh_trainer_set_losses(p.trainer, losses, TOKENS, &error) == WCOH_E_DATA);
    CHECK(wcoh_trainer_set_sequences(p.trainer, &s, &s, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_set_losses(p.trainer, losses, TOKENS - 1, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "losses, and for");
    CHECK(wcoh_trainer_set_losses(p.trainer, NULL, 3, &error) == WCOH_OK);
    pupil_close(&p);
}

/* ---- runs ------------------------------------------------------------------------------------ */

static void a_run_over_sequences_is_one_in_slices_and_resumed(void)
{
    static unsigned char bytes[1 << 18];
    wcoh_memory_file block = {bytes, sizeof bytes, 0};
    wcoh_io io = wcoh_io_memory(&block);
    wcoh_sequences s = several();
    wcoh_trainer_desc desc = small_trainer();
    pupil whole = pupil_of(&desc), part = pupil_of(&desc);
    wcoh_trainer *resumed = NULL;
    wcoh_model *model = NULL;
    wcoh_stats x, y;
    int i;
    CHECK(wcoh_trainer_set_sequences(whole.trainer, &s, &s, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_set_sequences(part.trainer, &s, &s, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_run(whole.trainer, -1, &x, NULL) == WCOH_OK);
    for (i = 0; i < 137; i++) CHECK(wcoh_trainer_run(part.trainer, 0, &y, NULL) == WCOH_OK);
    CHECK(y.step > 0 && y.step < 12);
    CHECK(wcoh_trainer_save(part.trainer, &io, NULL) == WCOH_OK);
    CHECK(wcoh_model_load(&model, &io, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_create(&resumed, model, &desc, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_set_sequences(resumed, &s, &s, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_resume(resumed, &io, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_notice(resumed) == NULL);
    CHECK(wcoh_trainer_run(resumed, -1, &y, NULL) == WCOH_OK);
    CHECK(same_parameters(model, whole.model));
    CHECK(x.val_loss == y.val_loss && x.train_loss == y.train_loss && x.tokens == y.tokens);
    wcoh_trainer_destroy(resumed);
    wcoh_model_destroy(model);
    pupil_close(&whole);
    pupil_close(&part);
}

/* The same tokens with other boundaries are other data. */
static void other_boundaries_are_noticed(void)
{
    static const size_t ends[3] = {0, 90, TOKENS};
    wcoh_sequences s = several(), other = sequences_of(s.tokens, ends, 2);
    wcoh_trainer_desc desc = small_trainer();
    pupil p = pupil_of(&desc);
    CHECK(wcoh_trainer_set_sequences(p.trainer, &s, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_step(p.trainer, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_set_sequences(p.trainer, &s, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_notice(p.trainer) == NULL);
    CHECK(wcoh_trainer_set_sequences(p.trainer, &other, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_notice(p.trainer) != NULL);
    pupil_close(&p);
}

/* What is learnt: a start symbol, then each text its own rule; where the texts meet nothing is. */
static void the_start_symbol_opens_each_sequence_and_nothing_joins_them(void)
{
    enum { START = 10, TEXT = 30 };
    static uint32_t text[2 * (TEXT + 1)];
    static const size_t ends[3] = {0, TEXT + 1, 2 * (TEXT + 1)};
    wcoh_sequences two = sequences_of(text, ends, 2);
    wcoh_trainer_desc desc = small_trainer();
    wcoh_session_desc listening;
    wcoh_session *session = NULL;
    const wcoh_real *logits;
    pupil p;
    int i, best = 0;
    memset(&listening, 0, sizeof listening);
    for (i = 0; i < TEXT; i++) { /* 0 1 0 1 .. ends in 1; 2 3 4 2 3 4 .. */
        text[1 + i] = (uint32_t)(i % 2);
        text[TEXT + 2 + i] = (uint32_t)(2 + i % 3);
    }
    text[0] = text[TEXT + 1] = START;
    desc.steps = 300;
    desc.batch = 8;
    desc.warmup = 20;
    p = pupil_of(&desc);
    CHECK(wcoh_trainer_set_sequences(p.trainer, &two, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_run(p.trainer, -1, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_session_create(&session, p.model, &listening, NULL) == WCOH_OK);
    CHECK(wcoh_session_step(session, START, NULL) == WCOH_OK);
    logits = wcoh_session_logits(session);
    for (i = 1; i < VOCAB; i++)
        if (logits[i] > logits[best]) best = i;
    CHECK(best == 0 || best == 2); /* the first symbols of both */
    for (i = 0; i < VOCAB; i++) CHECK(i == 0 || i == 2 || logits[i] < logits[0] - 2);
    CHECK(wcoh_session_step(session, 0, NULL) == WCOH_OK);
    CHECK(wcoh_session_step(session, 1, NULL) == WCOH_OK);
    logits = wcoh_session_logits(session);
    CHECK(logits[0] > logits[START] + 3); /* the end of a text never leads to the start */
    wcoh_session_destroy(session);
    pupil_close(&p);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void refused(const wcoh_sequences *s, wcoh_result code, const char *part)
{
    wcoh_trainer_desc training = small_trainer();
    wcoh_sequences good = several();
    wcoh_eval_desc desc;
    pupil p = pupil_of(&training);
    wcoh_error error;
    double loss;
    memset(&desc, 0, sizeof desc);
    error.text[0] = 0;
    CHECK(wcoh_trainer_set_sequences(p.trainer, s, NULL, &error) == code);
    CHECK_TEXT(error.text, part);
    CHECK_TEXT(error.text, "training");
    CHECK(wcoh_trainer_step(p.trainer, NULL, NULL) == WCOH_E_DATA); /* it has none */
    CHECK(wcoh_trainer_set_sequences(p.trainer, &good, s, &error) == code);
    CHECK_TEXT(error.text, "validation");
    CHECK(wcoh_model_evaluate_sequences(p.model, &desc, s, &loss, NULL, &error) == code);
    CHECK_TEXT(error.text, part);
    pupil_close(&p);
}

static void bad_sequences_are_refused_by_name(void)
{
    static const size_t lone[4] = {0, 5, 6, 9}, empty[3] = {4, 4, 9}, falling[3] = {0, 8, 4};
    static const size_t fine[3] = {0, 4, 8};
    static uint32_t text[9] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    wcoh_sequences s = sequences_of(text, lone, 3);
    refused(&s, WCOH_E_DATA, "sequence 1 has 1 tokens: it takes two to predict one");
    s = sequences_of(text, empty, 2);
    refused(&s, WCOH_E_DATA, "sequence 0 has 0 tokens");
    s = sequences_of(text, falling, 2);
    refused(&s, WCOH_E_ARGUMENT, "sequence 1 ends before it begins");
    s = sequences_of(text, fine, 0);
    refused(&s, WCOH_E_DATA, "there is no");
    s = sequences_of(NULL, fine, 2);
    refused(&s, WCOH_E_ARGUMENT, "tokens are NULL");
    s = sequences_of(text, NULL, 2);
    refused(&s, WCOH_E_ARGUMENT, "offsets are NULL");
    s = sequences_of(text, fine, 2);
    text[6] = VOCAB;
    refused(&s, WCOH_E_TOKEN, "token 6 is 11");
}

/* ---- stages ---------------------------------------------------------------------------------- */

enum { PART = 60 };

/* Three texts of their own symbols: 0 to 2, 3 to 5, 6 to 8. */
static wcoh_sequences three_texts(void)
{
    static const size_t ends[] = {0, PART, 2 * PART, 3 * PART};
    static uint32_t text[3 * PART];
    int i;
    for (i = 0; i < 3 * PART; i++) text[i] = (uint32_t)(i / PART * 3 + i * i % 3);
    return sequences_of(text, ends, 3);
}

static const wcoh_stage stages[] = {{0.25, 0, 1, 0}, {0.25, 1, 1, 0}, {0.5, 2, 1, 0.4}};

/* Steps 1 to 3 of 12 learn the first text, 4 to 6 the second, the rest the third, with 0.4 of the
   windows from the other two: of 3 x 200 draws 240 +- 73, six deviations of a binomial. */
static void a_stage_draws_from_its_texts_alone(void)
{
    wcoh_sequences s = three_texts();
    wcoh_trainer_desc desc = small_trainer();
    pupil p = pupil_of(&desc);
    int step, i, own = 0, others[2] = {0, 0};
    CHECK(wcoh_trainer_set_stages(p.trainer, stages, 3, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_set_sequences(p.trainer, &s, NULL, NULL) == WCOH_OK);
    for (step = 0; step < 6; step++) {
        CHECK(wcoh_trainer_step(p.trainer, NULL, NULL) == WCOH_OK);
        for (i = 0; i < BATCH * SEQ; i++)
            CHECK_SAY((int)p.trainer->tokens[i] / 3 == step / 3, "step %d: symbol %d", step + 1,
                      (int)p.trainer->tokens[i]);
    }
    CHECK(wcoh_trainer_set(p.trainer, "steps", "24", NULL) ==
          WCOH_OK); /* the second begins with 7 */
    CHECK(wcoh_trainer_step(p.trainer, NULL, NULL) == WCOH_OK && p.trainer->tokens[0] / 3 == 1);
    CHECK(wcoh_trainer_set(p.trainer, "steps", "14", NULL) == WCOH_OK);
    for (step = 0; step < 600; step++) {
        size_t there, place = wcohi_trainer_draw(p.trainer, &there);
        CHECK(there == SEQ && place / PART == (place + SEQ) / PART);
        if (place / PART == 2) own++;
        else others[place / PART]++;
    }
    CHECK_SAY(others[0] + others[1] > 240 - 73 && others[0] + others[1] < 240 + 73, "%d", own);
    CHECK(others[0] > 60 && others[1] > 60);
    pupil_close(&p);
}

/* The checksum of the file would be the first to say so. */
static void checksum_removed(wcoh_memory_file *block)
{
    size_t at;
    for (at = 0; at + 16 < block->used; at++)
        if (memcmp(block->data + at, "wavecoh.checksum", 16) == 0) block->data[at] = 'W';
}

/* What stands in the file, what stands there instead, and the sentence for that. */
static void other_stages_in_files_are_refused(wcoh_trainer *trainer, wcoh_memory_file *block,
                                              const wcoh_sequences *s)
{
    static const char *const cases[][3] = {
        {"0.25 0 1 0", "0.25 0 1 x", "stages.0 in the file is \"0.25 0 1 x\""},
        {"0.25 0 1 0", "0.25 0  1 ", "stages.0 in the file is \"0.25 0  1 \""},
        {"0.25 0 1 0", "0.26 0 1 0",
         "stages in the file: the shares of the stages are 1.01 in all"},
        {"0.25 0 1 0", "0.25 0 0 0", "stages in the file: stage 0 has no sequences"},
        {"0.25 1 1 0", "0.25 1 7 0", "stage 1 is of 7 sequences from number 1 on: there are 3"},
    };
    static const wcoh_stage one[] = {{1, 0, 3, 0}};
    wcoh_io io = wcoh_io_memory(block);
    wcoh_error error;
    size_t at;
    int i;
    checksum_removed(block);
    for (i = 0; i < 5; i++) {
        for (at = 0; at + 10 < block->used; at++)
            if (memcmp(block->data + at, cases[i][0], 10) == 0) break;
        memcpy(block->data + at, cases[i][1], 10);
        CHECK(wcoh_trainer_set_stages(trainer, NULL, 0, NULL) == WCOH_OK);
        CHECK(wcoh_trainer_resume(trainer, &io, &error) ==
              (i == 4 ? WCOH_E_ARGUMENT : WCOH_E_FORMAT));
        CHECK_TEXT(error.text, cases[i][2]);
        memcpy(block->data + at, cases[i][0], 10);
    }
    for (i = 0; i < 2;
         i++) { /* a run without stages, and one of a library that did not note them */
        CHECK(wcoh_trainer_set_stages(trainer, one, i, NULL) == WCOH_OK);
        CHECK(wcoh_trainer_set_sequences(trainer, s, NULL, NULL) == WCOH_OK);
        block->used = 0;
        CHECK(wcoh_trainer_save(trainer, &io, NULL) == WCOH_OK);
        checksum_removed(block);
        for (at = 0; i && at + 8 < block->used; at++)
            if (memcmp(block->data + at, "stages.0", 8) == 0) block->data[at] = 'S';
        CHECK(wcoh_trainer_set_stages(trainer, one, 1, NULL) == WCOH_OK);
        CHECK(wcoh_trainer_resume(trainer, &io, &error) == (i ? WCOH_OK : WCOH_E_ARGUMENT));
        if (i == 0) CHECK_TEXT(error.text, "the run in the file has no such stages");
    }
}

/* A checkpoint in the middle of a stage goes on to the bit, whether it is told its stages or not. */
static void stages_are_resumed(void)
{
    static const wcoh_stage others[] = {{0.5, 0, 1, 0}, {0.5, 1, 1, 0}};
    wcoh_stage got[WCOH_STAGES_MAX];
    wcoh_error error;
    static unsigned char bytes[1 << 18];
    wcoh_memory_file block = {bytes, sizeof bytes, 0};
    wcoh_io io = wcoh_io_memory(&block);
    wcoh_sequences s = three_texts();
    wcoh_trainer_desc desc = small_trainer();
    pupil whole = pupil_of(&desc), part = pupil_of(&desc);
    wcoh_trainer *resumed = NULL;
    wcoh_model *model = NULL;
    int i;
    for (i = 0; i < 2; i++) {
        wcoh_trainer *trainer = i ? part.trainer : whole.trainer;
        CHECK(wcoh_trainer_set_stages(trainer, stages, 3, NULL) == WCOH_OK);
        CHECK(wcoh_trainer_set_sequences(trainer, &s, &s, NULL) == WCOH_OK);
    }
    CHECK(wcoh_trainer_run(whole.trainer, -1, NULL, NULL) == WCOH_OK);
    for (i = 0; i < 8; i++) CHECK(wcoh_trainer_step(part.trainer, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_save(part.trainer, &io, NULL) == WCOH_OK);
    CHECK(wcoh_model_load(&model, &io, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_create(&resumed, model, &desc, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_set_sequences(resumed, &s, &s, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_set_stages(resumed, others, 2, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_resume(resumed, &io, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "the run in the file has other stages: it goes on in them alone");
    CHECK(wcoh_trainer_get_stages(resumed, got) == 2 && got[1].count == 1); /* nothing is lost */
    for (i = 0; i < 3; i++) { /* told the same, told nothing, before there is a text */
        if (i == 2) wcoh_trainer_destroy(resumed);
        if (i == 2) CHECK(wcoh_trainer_create(&resumed, model, &desc, NULL) == WCOH_OK);
        CHECK(wcoh_trainer_set_stages(resumed, stages, i ? 0 : 3, NULL) == WCOH_OK);
        CHECK(wcoh_trainer_resume(resumed, &io, NULL) == WCOH_OK);
        if (i == 2) CHECK(wcoh_trainer_set_sequences(resumed, &s, &s, NULL) == WCOH_OK);
        CHECK(wcoh_trainer_notice(resumed) == NULL);
        CHECK(wcoh_trainer_get_stages(resumed, got) == 3 && got[2].earlier == stages[2].earlier);
        CHECK(wcoh_trainer_run(resumed, -1, NULL, NULL) == WCOH_OK);
        CHECK(same_parameters(model, whole.model));
    }
    other_stages_in_files_are_refused(resumed, &block, &s);
    wcoh_trainer_destroy(resumed);
    wcoh_model_destroy(model);
    pupil_close(&whole);
    pupil_close(&part);
}

static void bad_stages_are_refused_by_name(void)
{
    static const struct {
        wcoh_stage stages[2];
        const char *sentence;
    } cases[] = {
        {{{0.5, 0, 1, 0}, {0.4, 1, 1, 0}}, "the shares of the stages are 0.9 in all, not 1"},
        {{{0, 0, 1, 0}, {1, 1, 1, 0}}, "share of stage 0 is 0: allowed is above 0 to 1"},
        {{{0.5, 0, 1, 0.1}, {0.5, 1, 1, 0}},
         "earlier of stage 0 is 0.1: allowed is 0 to below 1, and 0 where nothing is before it"},
        {{{0.5, 0, 1, 0}, {0.5, 1, 1, 1}},
         "earlier of stage 1 is 1: allowed is 0 to below 1, and 0 where nothing is before it"},
        {{{0.5, 0, 1, 0}, {0.5, 1, 0, 0}}, "stage 1 has no sequences"},
    };
    static const wcoh_stage beyond[] = {{0.5, 0, 1, 0}, {0.5, 2, 2, 0}};
    wcoh_sequences s = three_texts();
    wcoh_trainer_desc desc = small_trainer();
    pupil p = pupil_of(&desc);
    wcoh_error error;
    int i;
    for (i = 0; i < (int)(sizeof cases / sizeof cases[0]); i++) {
        CHECK(wcoh_trainer_set_stages(p.trainer, cases[i].stages, 2, &error) == WCOH_E_ARGUMENT);
        CHECK_TEXT(error.text, cases[i].sentence);
    }
    CHECK(wcoh_trainer_set_stages(p.trainer, beyond, 17, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "17 stages: allowed are 0 to 16");
    CHECK(wcoh_trainer_set_stages(p.trainer, beyond, 2, &error) == WCOH_OK);
    CHECK(wcoh_trainer_set_sequences(p.trainer, &s, NULL, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "stage 1 is of 2 sequences from number 2 on: there are 3");
    CHECK(wcoh_trainer_set_data(p.trainer, s.tokens, PART, NULL, 0, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_trainer_set_stages(p.trainer, NULL, 0, &error) == WCOH_OK);
    CHECK(wcoh_trainer_set_sequences(p.trainer, &s, NULL, &error) == WCOH_OK);
    pupil_close(&p);
    desc.steps = -1;
    p = pupil_of(&desc);
    CHECK(wcoh_trainer_set_stages(p.trainer, beyond, 2, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "stages go by shares of steps, which is negative");
    pupil_close(&p);
}

/* Stages that come after the data are held against them: what there is not is never read. */
static void stages_after_the_data_are_checked(void)
{
    static const wcoh_stage beyond[] = {{0.5, 0, 1, 0}, {0.5, 2, 2, 0.2}};
    wcoh_stage got[WCOH_STAGES_MAX];
    wcoh_sequences s = three_texts();
    wcoh_trainer_desc desc = small_trainer();
    pupil p = pupil_of(&desc);
    wcoh_error error;
    int i;
    for (i = 0; i < 2; i++) {
        if (i) CHECK(wcoh_trainer_set_sequences(p.trainer, &s, NULL, &error) == WCOH_OK);
        else
            CHECK(wcoh_trainer_set_data(p.trainer, s.tokens, 3 * PART, NULL, 0, &error) == WCOH_OK);
        CHECK(wcoh_trainer_set_stages(p.trainer, beyond, 2, &error) == WCOH_E_ARGUMENT);
        CHECK_TEXT(error.text, i ? "stage 1 is of 2 sequences from number 2 on: there are 3"
                                 : "stage 1 is of 2 sequences from number 2 on: there are 1");
        CHECK(wcoh_trainer_get_stages(p.trainer, got) == 0);
        CHECK(wcoh_trainer_step(p.trainer, NULL, &error) == WCOH_OK);
    }
    CHECK(wcoh_trainer_set_stages(p.trainer, stages, 3, &error) == WCOH_OK);
    /* a run without end has no shares, and its checkpoint could not go on */
    CHECK(wcoh_trainer_set(p.trainer, "steps", "-1", &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "stages go by shares of steps, which is negative");
    CHECK(wcoh_trainer_get_desc(p.trainer)->steps == desc.steps);
    CHECK(wcoh_trainer_set(p.trainer, "steps", "20", &error) == WCOH_OK);
    CHECK(wcoh_trainer_set_stages(p.trainer, NULL, 0, &error) == WCOH_OK);
    CHECK(wcoh_trainer_set(p.trainer, "steps", "-1", &error) == WCOH_OK);
    pupil_close(&p);
}

/* What is fed has no stages: they come and go, also with a checkpoint, and it is drawn from as before. */
static void stages_leave_what_is_fed_alone(void)
{
    static unsigned char bytes[1 << 18];
    wcoh_memory_file block = {bytes, sizeof bytes, 0};
    wcoh_io io = wcoh_io_memory(&block);
    wcoh_sequences s = three_texts();
    wcoh_trainer_desc desc = small_trainer();
    pupil staged, fed;
    wcoh_stage got[WCOH_STAGES_MAX];
    wcoh_error error;
    uint32_t loud[40];
    int i, k, at;
    for (i = 0; i < 40; i++) loud[i] = 8;
    desc.replay = 90;
    staged = pupil_of(&desc);
    CHECK(wcoh_trainer_set_stages(staged.trainer, stages, 3, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_set_sequences(staged.trainer, &s, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_step(staged.trainer, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_save(staged.trainer, &io, NULL) == WCOH_OK);
    for (k = 0; k < 4; k++) {
        desc.replay = k == 3 ? 80 : 90; /* the ring of the file, or another one */
        fed = pupil_of(&desc);
        for (i = 0; i < 30; i++) CHECK(wcoh_trainer_feed(fed.trainer, loud, 40, &error) == WCOH_OK);
        if (k == 0) CHECK(wcoh_trainer_set_stages(fed.trainer, NULL, 0, &error) == WCOH_OK);
        if (k == 1) CHECK(wcoh_trainer_set_stages(fed.trainer, stages, 3, &error) == WCOH_OK);
        if (k > 1) CHECK(wcoh_trainer_resume(fed.trainer, &io, &error) == WCOH_OK);
        CHECK(wcoh_trainer_get_stages(fed.trainer, got) == (k ? 3 : 0));
        if (k == 2) { /* the file's ring is empty */
            CHECK(wcoh_trainer_fed(fed.trainer) == 0);
            CHECK(wcoh_trainer_step(fed.trainer, NULL, &error) == WCOH_E_DATA);
            CHECK(wcoh_trainer_feed(fed.trainer, loud, 40, &error) == WCOH_OK);
        }
        CHECK(wcoh_trainer_step(fed.trainer, NULL, &error) == WCOH_OK);
        for (at = 0; at < BATCH * SEQ; at++) CHECK(fed.trainer->tokens[at] == 8);
        if (k)
            CHECK(wcoh_trainer_set_data(fed.trainer, s.tokens, PART, NULL, 0, &error) ==
                  WCOH_E_ARGUMENT);
        CHECK(wcoh_trainer_set_sequences(fed.trainer, &s, NULL, &error) == WCOH_OK);
        CHECK(wcoh_trainer_step(fed.trainer, NULL, &error) == WCOH_OK);
        for (at = 0; k && at < BATCH * SEQ; at++) CHECK(fed.trainer->tokens[at] < 3);
        pupil_close(&fed);
    }
    pupil_close(&staged);
}

int main(void)
{
    RUN(drawn_windows_cross_no_boundary_and_reach_all_alike);
    RUN(followed_windows_cover_each_target_once);
    RUN(one_long_sequence_is_a_text_to_the_bit);
    RUN(a_short_sequence_is_learnt_as_a_batch_of_its_length);
    RUN(evaluation_is_that_of_each_sequence_alone);
    RUN(no_rest_is_dropped);
    RUN(each_token_has_its_loss);
    RUN(what_is_not_scored_has_no_loss);
    RUN(losses_show_what_is_not_finite);
    RUN(a_trainers_evaluations_leave_their_losses);
    RUN(room_for_other_losses_is_refused);
    RUN(a_run_over_sequences_is_one_in_slices_and_resumed);
    RUN(other_boundaries_are_noticed);
    RUN(the_start_symbol_opens_each_sequence_and_nothing_joins_them);
    RUN(bad_sequences_are_refused_by_name);
    RUN(a_stage_draws_from_its_texts_alone);
    RUN(stages_are_resumed);
    RUN(bad_stages_are_refused_by_name);
    RUN(stages_after_the_data_are_checked);
    RUN(stages_leave_what_is_fed_alone);
    return test_end();
}

/* What must work on every compiler, option and machine: train, save, load, sample, in a second;
   without training: load, sample, score.
   cc -O2 -o smoke tests/smoke.c -lm -lpthread && ./smoke
   tests/build_matrix.sh builds it in all the ways; it also compiles as C++11. */
#include <stddef.h>

#ifdef WAVECOH_MALLOC /* then it is test_malloc, and this is the only way to memory */
#include <stdlib.h>
static void *test_malloc(size_t size) { return malloc(size); }
static void test_free(void *pointer) { free(pointer); }
#endif

#define WAVECOH_SCALAR
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"
#include "test.h"

static uint32_t text[600];
static unsigned char file[1 << 18];

static const wcoh_isa isas[] = {WCOH_ISA_SCALAR, WCOH_ISA_SSE2, WCOH_ISA_AVX2,
                                WCOH_ISA_AVX512, WCOH_ISA_NEON, WCOH_ISA_WASM};
static wcoh_isa isa;

static wcoh_model_desc small_desc(void)
{
    wcoh_model_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.vocab = 7;
    desc.bands = 5;
    desc.heads = 2;
    desc.layers = 2;
    desc.maestro = 3;
    desc.context = 32;
    return desc;
}

#ifndef WAVECOH_NO_TRAINING
static wcoh_trainer *small_trainer(wcoh_model *model, int threads)
{
    wcoh_trainer_desc desc;
    wcoh_trainer *trainer = NULL;
    wcoh_error error = {WCOH_OK, ""};
    size_t i;
    memset(&desc, 0, sizeof desc);
    desc.batch = 4;
    desc.seq = 17;
    desc.steps = 150;
    desc.warmup = 10;
    desc.lr = 0.01;
    desc.eval_every = 50;
    desc.eval_batches = 2;
    desc.cpu.threads = threads;
    desc.cpu.isa = isa;
    CHECK_SAY(wcoh_trainer_create(&trainer, model, &desc, &error) == WCOH_OK, "%s", error.text);
    for (i = 0; i < 600; i++) text[i] = (uint32_t)(i % 6 * (i % 6) % 7);
    if (trainer)
        CHECK(wcoh_trainer_set_data(trainer, text, 500, text + 500, 100, &error) == WCOH_OK);
    return trainer;
}

/* A greedy session goes on with the pattern. */
static void check_continuation(wcoh_model *model)
{
    wcoh_session_desc desc;
    wcoh_sample_desc greedy;
    wcoh_session *session = NULL;
    wcoh_error error = {WCOH_OK, ""};
    wcoh_rng rng = wcoh_rng_seed(1);
    uint32_t token = 0;
    int i, right = 0;
    memset(&desc, 0, sizeof desc);
    memset(&greedy, 0, sizeof greedy);
    desc.cpu.isa = isa;
    if (!CHECK_SAY(wcoh_session_create(&session, model, &desc, &error) == WCOH_OK, "%s",
                   error.text))
        return;
    CHECK(wcoh_session_prefill(session, text, 24, &error) == WCOH_OK);
    for (i = 24; i < 84; i++) {
        CHECK(wcoh_session_sample(session, &greedy, &rng, &token, &error) == WCOH_OK);
        right += token == text[i];
        CHECK(wcoh_session_step(session, token, &error) == WCOH_OK);
    }
    CHECK_SAY(right == 60, "%d of 60 symbols are right", right);
    wcoh_session_destroy(session);
}

static void check_file(const wcoh_model *model)
{
    wcoh_memory_file block;
    wcoh_io io;
    wcoh_model *again = NULL;
    wcoh_error error = {WCOH_OK, ""};
    wcoh_param p, q;
    int i;
    block.data = file;
    block.capacity = sizeof file;
    block.used = 0;
    io = wcoh_io_memory(&block);
    CHECK_SAY(wcoh_model_save(model, &io, &error) == WCOH_OK, "%s", error.text);
    CHECK(block.used > 1000 && block.used <= wcoh_model_file_size(model));
    if (!CHECK_SAY(wcoh_model_load(&again, &io, NULL, &error) == WCOH_OK, "%s", error.text)) return;
    CHECK(wcoh_model_param_count(again) == wcoh_model_param_count(model));
    for (i = 0; i < wcoh_model_param_count(model); i++) {
        CHECK(wcoh_model_param(model, i, &p, NULL) == WCOH_OK &&
              wcoh_model_param(again, i, &q, NULL) == WCOH_OK);
        CHECK_SAY(p.count == q.count && memcmp(p.data, q.data, p.count * sizeof *p.data) == 0,
                  "%s changed", p.name);
    }
    check_continuation(again);
    wcoh_model_destroy(again);
    file[block.used - 5] ^= 1;
    CHECK(wcoh_model_load(&again, &io, NULL, &error) != WCOH_OK && again == NULL && error.text[0]);
}

static void trains_saves_loads_and_samples(void)
{
    wcoh_model_desc desc = small_desc();
    wcoh_model *model = NULL;
    wcoh_trainer *trainer;
    wcoh_error error = {WCOH_OK, ""};
    wcoh_stats stats;
    if (!CHECK_SAY(wcoh_model_create(&model, &desc, &error) == WCOH_OK, "%s", error.text)) return;
    trainer = small_trainer(model, 1);
    if (!trainer) return;
    CHECK_SAY(wcoh_trainer_run(trainer, -1, &stats, &error) == WCOH_OK, "%s", error.text);
    CHECK(stats.done && stats.step == 150);
    CHECK_SAY(stats.train_loss < 0.2 && stats.val_loss < 0.2 && stats.val_loss > 0,
              "train %g, val %g", stats.train_loss, stats.val_loss);
    check_continuation(model);
    check_file(model);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* The first losses with 1 and with 3 threads, bit for bit. */
static void threads_agree(void)
{
    double losses[2][5];
    int run, step;
    memset(losses, 0, sizeof losses);
    for (run = 0; run < 2; run++) {
        wcoh_model_desc desc = small_desc();
        wcoh_model *model = NULL;
        wcoh_trainer *trainer;
        wcoh_stats stats;
        desc.bands = 40;
        if (!CHECK(wcoh_model_create(&model, &desc, NULL) == WCOH_OK)) return;
        trainer = small_trainer(model, run ? 3 : 1);
        if (!trainer) return;
        for (step = 0; step < 5; step++) {
            CHECK(wcoh_trainer_step(trainer, &stats, NULL) == WCOH_OK);
            losses[run][step] = stats.train_loss;
        }
        wcoh_trainer_destroy(trainer);
        wcoh_model_destroy(model);
    }
    CHECK(losses[0][0] > 1.0);
    CHECK(memcmp(losses[0], losses[1], sizeof losses[0]) == 0);
}

#ifdef SMOKE_BESIDE /* for the thread sanitizer: needs POSIX threads */
#include <pthread.h>

/* A trainer that is fed and learns, and a crowd on a copy of its model, each with threads of its own.
   `left` is where the trainer leaves its weights between two calls, and the crowd fetches them. */
typedef struct beside {
    wcoh_model *learnt, *left, *heard;
    pthread_mutex_t guard;
    int news; /* 1: `left` is newer than what the crowd has */
    int over;
} beside;

static wcoh_trainer *fed_trainer(wcoh_model *model)
{
    wcoh_trainer_desc desc;
    wcoh_trainer *trainer = NULL;
    memset(&desc, 0, sizeof desc);
    desc.batch = 4, desc.seq = 17, desc.steps = -1, desc.eval_every = -1;
    desc.replay = 400;
    desc.cpu.threads = 3;
    CHECK(wcoh_trainer_create(&trainer, model, &desc, NULL) == WCOH_OK);
    return trainer;
}

static void *learns(void *user)
{
    beside *b = (beside *)user;
    wcoh_trainer *trainer = fed_trainer(b->learnt);
    int round;
    CHECK(wcoh_model_freeze(b->learnt, "*.attn.*", 1, NULL) == WCOH_OK);
    for (round = 0; round < 12; round++) {
        CHECK(wcoh_trainer_feed(trainer, text + 40 * round, 40, NULL) == WCOH_OK);
        if (round % 3 == 2) wcoh_trainer_feed_end(trainer);
        CHECK(wcoh_trainer_learn(trainer, text + 40 * round, 30, 1, NULL, NULL) == WCOH_OK);
        CHECK(wcoh_trainer_run(trainer, 2, NULL, NULL) == WCOH_OK);
        pthread_mutex_lock(&b->guard);
        CHECK(wcoh_model_copy(b->left, b->learnt, NULL) == WCOH_OK);
        b->news = 1;
        b->over = round == 11;
        pthread_mutex_unlock(&b->guard);
    }
    wcoh_trainer_destroy(trainer);
    return NULL;
}

enum { MINDS = 20 };

static wcoh_crowd *full_crowd(wcoh_model *model, int ids[MINDS])
{
    wcoh_crowd_desc desc;
    wcoh_crowd *crowd = NULL;
    int i;
    memset(&desc, 0, sizeof desc);
    desc.members = MINDS;
    desc.gain = 4;
    desc.cpu.threads = 3;
    if (!CHECK(wcoh_crowd_create(&crowd, model, &desc, NULL) == WCOH_OK)) exit(1);
    for (i = 0; i < MINDS; i++) CHECK(wcoh_crowd_join(crowd, &ids[i], NULL) == WCOH_OK);
    return crowd;
}

/* What the last weights make of the text in a crowd that has heard with all those before is what they
   make of it in a new one over the trainer's own model: nothing of theirs is left, to the bit. */
static void a_crowd_lives_beside_a_trainer(void)
{
    wcoh_model_desc desc = small_desc();
    beside b;
    pthread_t trainer;
    wcoh_crowd *crowd, *fresh;
    int ids[MINDS], others[MINDS], over = 0, at = 0, i;
    memset(&b, 0, sizeof b);
    pthread_mutex_init(&b.guard, NULL);
    desc.bands = 40;
    CHECK(wcoh_model_create(&b.learnt, &desc, NULL) == WCOH_OK);
    CHECK(wcoh_model_create(&b.left, &desc, NULL) == WCOH_OK);
    CHECK(wcoh_model_create(&b.heard, &desc, NULL) == WCOH_OK);
    for (i = 0; i < 600; i++) text[i] = (uint32_t)(i % 6 * (i % 6) % 7);
    crowd = full_crowd(b.heard, ids);
    if (pthread_create(&trainer, NULL, learns, &b)) exit(1);
    while (!over) {
        pthread_mutex_lock(&b.guard);
        if (b.news) CHECK(wcoh_model_copy(b.heard, b.left, NULL) == WCOH_OK);
        b.news = 0;
        over = b.over;
        pthread_mutex_unlock(&b.guard);
        CHECK(wcoh_crowd_step(crowd, ids, text + at++ % 500, MINDS, NULL) == WCOH_OK);
    }
    pthread_join(trainer, NULL);
    fresh = full_crowd(b.learnt, others);
    for (i = 0; i < MINDS; i++) wcoh_crowd_reset(crowd, ids[i]);
    for (i = 0; i < 5; i++) {
        CHECK(wcoh_crowd_step(crowd, ids, text + i, MINDS, NULL) == WCOH_OK);
        CHECK(wcoh_crowd_step(fresh, others, text + i, MINDS, NULL) == WCOH_OK);
    }
    for (i = 0; i < MINDS; i++)
        CHECK(memcmp(wcoh_crowd_logits(crowd, ids[i]), wcoh_crowd_logits(fresh, others[i]),
                     7 * sizeof(wcoh_real)) == 0);
    wcoh_crowd_destroy(crowd);
    wcoh_crowd_destroy(fresh);
    wcoh_model_destroy(b.learnt);
    wcoh_model_destroy(b.left);
    wcoh_model_destroy(b.heard);
    pthread_mutex_destroy(&b.guard);
}
#endif

#else
/* The symbols that a greedy session says after a prompt. */
static void say(wcoh_model *model, uint32_t said[30])
{
    wcoh_session_desc desc;
    wcoh_sample_desc greedy;
    wcoh_session *session = NULL;
    wcoh_error error = {WCOH_OK, ""};
    int i;
    memset(&desc, 0, sizeof desc);
    memset(&greedy, 0, sizeof greedy);
    desc.cpu.isa = isa;
    if (!CHECK_SAY(wcoh_session_create(&session, model, &desc, &error) == WCOH_OK, "%s",
                   error.text))
        return;
    CHECK(wcoh_session_prefill(session, text, 24, &error) == WCOH_OK);
    for (i = 0; i < 30; i++) {
        CHECK(wcoh_session_sample(session, &greedy, NULL, &said[i], &error) == WCOH_OK);
        CHECK(wcoh_session_step(session, said[i], &error) == WCOH_OK);
    }
    wcoh_session_destroy(session);
}

static double score(wcoh_model *model, int threads)
{
    wcoh_eval_desc desc;
    wcoh_error error = {WCOH_OK, ""};
    double loss = 0;
    size_t scored = 0;
    memset(&desc, 0, sizeof desc);
    desc.seq = 17;
    desc.cpu.threads = threads;
    desc.cpu.isa = isa;
    CHECK_SAY(wcoh_model_evaluate(model, &desc, text, 600, &loss, &scored, &error) == WCOH_OK,
              "%s", error.text);
    CHECK(scored == 595);
    return loss;
}

static void a_saved_model_says_and_scores_the_same(void)
{
    wcoh_model_desc desc = small_desc();
    wcoh_model *model = NULL, *again = NULL;
    wcoh_error error = {WCOH_OK, ""};
    wcoh_memory_file block;
    wcoh_io io = wcoh_io_memory(&block);
    uint32_t said[2][30] = {{0}, {0}};
    double loss;
    size_t i;
    block.data = file;
    block.capacity = sizeof file;
    block.used = 0;
    for (i = 0; i < 600; i++) text[i] = (uint32_t)(i % 6 * (i % 6) % 7);
    if (!CHECK_SAY(wcoh_model_create(&model, &desc, &error) == WCOH_OK, "%s", error.text)) return;
    CHECK(wcoh_model_save(model, &io, &error) == WCOH_OK);
    if (!CHECK_SAY(wcoh_model_load(&again, &io, NULL, &error) == WCOH_OK, "%s", error.text)) return;
    say(model, said[0]);
    say(again, said[1]);
    CHECK(memcmp(said[0], said[1], sizeof said[0]) == 0);
    loss = score(model, 1);
    CHECK(loss > 1 && loss < 3); /* near ln 7: nothing was learnt */
    CHECK(score(again, 3) == loss);
    wcoh_model_destroy(again);
    wcoh_model_destroy(model);
    file[block.used - 5] ^= 1;
    CHECK(wcoh_model_load(&again, &io, NULL, &error) != WCOH_OK && again == NULL && error.text[0]);
}
#endif

static void tokenizers_go_there_and_back(void)
{
    static const char words[] = "wave \xc3\xa9\xe2\x88\x9e";
    wcoh_tokenizer *tokenizer = NULL;
    wcoh_error error = {WCOH_OK, ""};
    uint32_t tokens[16];
    char bytes[4];
    size_t count = 0, i, at = 0;
    int length;
    CHECK(wcoh_tokenizer_create_chars(&tokenizer, words, sizeof words - 1, NULL, &error) ==
          WCOH_OK);
    CHECK(wcoh_tokenizer_vocab(tokenizer) == 7);
    CHECK(wcoh_tokenizer_encode(tokenizer, words, sizeof words - 1, tokens, 16, &count, &error) ==
          WCOH_OK);
    CHECK(count == 7);
    for (i = 0; i < count; i++, at += (size_t)length) {
        length = wcoh_tokenizer_decode(tokenizer, tokens[i], bytes, sizeof bytes);
        CHECK(length > 0 && memcmp(bytes, words + at, (size_t)length) == 0);
    }
    CHECK(at == sizeof words - 1);
    wcoh_tokenizer_destroy(tokenizer);
}

int main(void)
{
    size_t i;
    char label[80];
    for (i = 0; i < sizeof isas / sizeof *isas; i++) {
        if (!wcoh_cpu_has_isa(isas[i])) continue;
        isa = isas[i];
#ifdef WAVECOH_NO_TRAINING
        sprintf(label, "a saved model says and scores the same on %s", wcoh_isa_name(isa));
        test_run(a_saved_model_says_and_scores_the_same, label);
#else
        sprintf(label, "trains, saves, loads and samples on %s", wcoh_isa_name(isa));
        test_run(trains_saves_loads_and_samples, label);
        test_run(threads_agree, "threads agree");
#endif
    }
#ifdef SMOKE_BESIDE
    RUN(a_crowd_lives_beside_a_trainer);
#endif
    RUN(tokenizers_go_there_and_back);
    return test_end();
}

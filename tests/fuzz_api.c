/* Fuzzer of the API: any value in every field of every desc, by the field tables, patterns beside
   them, then a short life of what can be made: a few steps, settings changed on the way, saved,
   loaded, compared, freed. Each call succeeds or says one sentence; memory is bounded and given back.
   clang -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ=use_training -o fuzz tests/fuzz_api.c -lm -lpthread
   clang -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ=use_inference -o fuzz tests/fuzz_api.c -lm -lpthread
   clang -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ=use_toolkit -o fuzz tests/fuzz_api.c -lm -lpthread
   ./fuzz -max_len=1000 -rss_limit_mb=2048 -max_total_time=60
   Without -DFUZZ: cc -o once tests/fuzz_api.c -lm -lpthread && ./once -t 60 training (or FILE ..) */
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"
#include "fuzz.h"

enum { ROOM = 1 << 22, TEXT = 600 };

/* ---- memory: bounded, counted ----------------------------------------------------------------- */

static size_t live, most = ROOM;

static void *bounded_alloc(size_t size, void *user)
{
    void *memory = size <= most - live ? malloc(size) : NULL;
    (void)user;
    if (memory) live += size;
    return memory;
}

static void bounded_release(void *memory, size_t size, void *user)
{
    (void)user;
    REQUIRE(live >= size);
    live -= size;
    free(memory);
}

static wcoh_memory bounded(void)
{
    wcoh_memory memory;
    memset(&memory, 0, sizeof memory);
    memory.alloc = bounded_alloc;
    memory.release = bounded_release;
    return memory;
}

/* ---- results: success, or a sentence ----------------------------------------------------------- */

static wcoh_error error;

static void error_clear(void)
{
    error.code = WCOH_OK;
    error.text[0] = 0;
}

/* The result again, after a look at the sentence. */
static wcoh_result told(wcoh_result result)
{
    const char *c;
    REQUIRE(strcmp(wcoh_result_name(result), "WCOH_E_UNKNOWN") != 0);
    if (result < 0) {
        REQUIRE(error.code == result && strlen(error.text) > 8);
        for (c = error.text; *c; c++) REQUIRE((unsigned char)*c >= 0x20 && *c != 0x7f);
    }
    error_clear();
    return result;
}

/* ---- descs -------------------------------------------------------------------------------------- */

static double any_real(input *in)
{
    uint64_t bits = take(in, 8);
    double real;
    memcpy(&real, &bits, sizeof real);
    return real;
}

static int words_of(const char *list)
{
    int count = *list != 0;
    for (; *list; list++) count += *list == ' ';
    return count;
}

/* Between the bounds, small ones more often. */
static double within(input *in, const wcoh_field *field)
{
    double share = (double)take(in, 2) / 65535, low = field->minimum, high = field->maximum;
    if (low <= 0 || high / low < 4) return low + share * (high - low);
    return low * pow(high / low, share * share);
}

static void put_number(input *in, const wcoh_field *field, void *desc, int wild)
{
    uint64_t how = take(in, 1) % 16;
    double value = 0;
    if (how < 6) return;
    if (how < 11)
        value = field->kind == WCOH_FIELD_INT ? (double)(take(in, 1) % 13) : within(in, field);
    else if (how < 13) value = field->off ? -(double)(how - 10) : within(in, field);
    else if (how == 13) value = wild ? field->maximum : 1;
    else if (how == 14) value = wild ? field->maximum * 2 + 1 : field->minimum;
    else if (wild)
        value = field->kind == WCOH_FIELD_INT ? (double)(int32_t)take(in, 4) : any_real(in);
    if (field->kind == WCOH_FIELD_INT && !(fabs(value) < 2147483647)) value = 2147483647;
    wcohi_field_put(field, desc, value);
}

static void put_choice(input *in, const wcoh_field *field, void *desc, int wild)
{
    uint64_t how = take(in, 1);
    int words = words_of(field->choices), i;
    wcoh_pattern *pattern = wcohi_pattern_of(field, desc);
    if (how >= 128) wcohi_field_put(field, desc, (double)(how % (uint64_t)(words + wild)));
    if (wild && how == 127) wcohi_field_put(field, desc, (double)(int32_t)take(in, 4));
    if (!pattern || how % 4) return;
    pattern->count = (int)(take(in, 1) % 6);
    if (wild && how % 8) pattern->count = (int)(int32_t)take(in, 4) % 20;
    for (i = 0; i < WCOH_PATTERN_MAX; i++)
        pattern->kinds[i] = (int)(take(in, 1) % (uint64_t)(words + wild));
}

/* What a member is as text sets the same member of another desc to the same bits. */
static void text_returns(wcoh_desc_kind kind, const wcoh_field *field, const void *desc)
{
    char text[WCOHI_FIELD_TEXT + 40], again[WCOHI_FIELD_TEXT + 40];
    union {
        wcoh_model_desc model;
        wcoh_trainer_desc trainer;
        wcoh_spectral_desc spectral;
    } other; /* large enough for each */
    memset(&other, 0, sizeof other);
    REQUIRE(wcoh_field_get(kind, desc, field->name, text, sizeof text) < (int)sizeof text);
    if (told(wcoh_field_set(kind, &other, field->name, text, &error)) < 0) return;
    wcoh_field_get(kind, &other, field->name, again, sizeof again);
    REQUIRE(strcmp(text, again) == 0);
}

static void put_text(input *in, wcoh_desc_kind kind, const wcoh_field *field, void *desc)
{
    char text[40];
    size_t size = (size_t)take(in, 1) % sizeof text, i;
    for (i = 0; i < size; i++) text[i] = (char)take(in, 1);
    text[i < sizeof text ? i : sizeof text - 1] = 0;
    told(wcoh_field_set(kind, desc, field->name, text, &error));
}

/* Every field of the table; `wild`: values beyond the bounds too. */
static void desc_fill(input *in, wcoh_desc_kind kind, void *desc, int wild)
{
    int count, i;
    const wcoh_field *fields = wcoh_fields(kind, &count);
    for (i = 0; i < count; i++) {
        const wcoh_field *field = &fields[i];
        uint64_t seed;
        if (field->kind == WCOH_FIELD_SEED) {
            seed = take(in, 2);
            memcpy((unsigned char *)desc + field->offset, &seed, sizeof seed);
        } else if (field->kind == WCOH_FIELD_CHOICE) put_choice(in, field, desc, wild);
        else put_number(in, field, desc, wild);
        if (wild && take(in, 1) % 32 == 31) put_text(in, kind, field, desc);
        text_returns(kind, field, desc);
    }
}

static wcoh_cpu_desc any_cpu(input *in, int wild)
{
    wcoh_cpu_desc cpu;
    uint64_t how = take(in, 1);
    memset(&cpu, 0, sizeof cpu);
    cpu.threads = how < 250 ? 1 : how < 254 ? 2 : wild ? (int)(int16_t)take(in, 2) % 300 : 1;
    cpu.isa = how % 16 ? WCOH_ISA_AUTO : (wcoh_isa)(how / 16 % (uint64_t)(2 + 6 * wild));
    if (!wild && !wcoh_cpu_has_isa(cpu.isa)) cpu.isa = WCOH_ISA_AUTO;
    return cpu;
}

/* ---- models ------------------------------------------------------------------------------------- */

static wcoh_model_desc any_model_desc(input *in, int wild)
{
    wcoh_model_desc desc;
    uint64_t how = take(in, 1);
    memset(&desc, 0, sizeof desc);
    if (how < 9) desc = wcoh_model_preset((wcoh_preset)(how % 9), (int)take(in, 1));
    if (how < 9) return desc;
    desc_fill(in, WCOH_DESC_MODEL, &desc, wild);
    if (desc.vocab == 0) desc.vocab = 2 + (int)(how % 60); /* the good defaults are large: */
    if (desc.bands == 0) desc.bands = 2 + 2 * (int)(how / 64);
    if (desc.heads == 0) desc.heads = 1 + (int)(how % 2);
    if (desc.layers == 0) desc.layers = 1 + (int)(how % 3);
    if (!wild && desc.heads > 0 && desc.bands > 0 && 2 * desc.bands % desc.heads) desc.heads = 2;
    return desc;
}

static wcoh_model *any_model(input *in, int wild)
{
    wcoh_model_desc desc = any_model_desc(in, wild), resolved;
    wcoh_model *model = NULL;
    wcoh_result result;
    size_t size, before = live;
    desc.memory = bounded();
    resolved = desc;
    size = wcoh_model_size(&desc, &error);
    REQUIRE(size || error.text[0]);
    error_clear();
    result = told(wcoh_model_desc_resolve(&resolved, &error));
    REQUIRE(result == WCOH_OK || size == 0);
    result = told(wcoh_model_create(&model, &desc, &error));
    REQUIRE((result == WCOH_OK) == (model != NULL));
    REQUIRE(result != WCOH_OK || (live - before <= size && size > 0));
    REQUIRE(result == WCOH_OK || live == before);
    REQUIRE(size == 0 || size > most - before || result == WCOH_OK);
    if (model) REQUIRE(wcoh_model_size(wcoh_model_get_desc(model), NULL) == size);
    return model;
}

static unsigned char file_space[3][2 * ROOM];

static wcoh_io file_in(wcoh_memory_file *block, int which, size_t used)
{
    block->data = file_space[which];
    block->capacity = sizeof file_space[which];
    block->used = used;
    return wcoh_io_memory(block);
}

static int equal_parameters(const wcoh_model *a, const wcoh_model *b)
{
    int i;
    for (i = 0; i < wcoh_model_param_count(a); i++) {
        wcoh_param p, q;
        REQUIRE(!wcoh_model_param(a, i, &p, NULL) && !wcoh_model_param(b, i, &q, NULL));
        if (p.count != q.count || memcmp(p.data, q.data, p.count * sizeof *p.data)) return 0;
    }
    return 1;
}

static wcoh_model *model_again(const wcoh_io *io, const wcoh_model *model)
{
    wcoh_memory memory = bounded();
    wcoh_model *again = NULL;
    wcoh_result result = told(wcoh_model_load(&again, io, &memory, &error));
    REQUIRE(result == WCOH_OK || result == WCOH_E_MEMORY);
    if (again) REQUIRE(equal_parameters(model, again));
    return again;
}

static size_t any_tokens(input *in, uint32_t *tokens, int vocab, int wild)
{
    size_t count = (size_t)take(in, 2) % TEXT, i;
    wcoh_rng rng = wcoh_rng_seed(take(in, 1));
    uint64_t limit = (uint64_t)vocab + (uint64_t)(wild && take(in, 1) % 16 == 0);
    for (i = 0; i < count; i++) tokens[i] = (uint32_t)(wcoh_rng_next(&rng) % limit);
    return count;
}

/* ---- training ------------------------------------------------------------------------------------ */

typedef struct trained {
    input in;
    wcoh_trainer *trainer;
} trained;

static int on_progress(const wcoh_stats *stats, void *user)
{
    trained *t = (trained *)user;
    REQUIRE(stats->step > 0 && stats->seconds >= 0);
    return take(&t->in, 1) % 16 == 15;
}

static int on_reduce(wcoh_real *gradient, size_t count, void *user)
{
    static const double odd[] = {0, 1e-30, 1e30, 3e38};
    trained *t = (trained *)user;
    uint64_t how = take(&t->in, 1);
    if (how < 240) return 0;
    gradient[how % count] = how % 8 < 4 ? (wcoh_real)odd[how % 4] : (wcoh_real)any_real(&t->in);
    return how == 255;
}

/* A live setting by any text of numbers, or a decay begun. */
static void change(input *in, wcoh_trainer *trainer)
{
    static const char *const texts[] = {"0",    "1",     "-1",  "3",   "0.001", "2147483647",
                                        "1e-9", "1e300", "nan", "0.5", "",      "-5"};
    static const char *const names[] = {"lr",       "lr_end",     "warmup", "steps",
                                        "decay",    "clip",       "seed",   "eval_every",
                                        "patience", "target_val", "batch",  ""};
    wcoh_result result =
        told(wcoh_trainer_set(trainer, names[take(in, 1) % 12], texts[take(in, 1) % 12], &error));
    REQUIRE(result == WCOH_OK || result == WCOH_E_ARGUMENT);
    if (take(in, 1) % 4) return;
    told(wcoh_trainer_finish(trainer, (int)(int8_t)take(in, 1), &error));
}

static void work(input *in, wcoh_trainer *trainer)
{
    static const double budgets[] = {0, 0, 0.2, 1, -0.0, 0.01};
    int slices = 1 + (int)(take(in, 1) % 24);
    wcoh_stats stats;
    while (slices-- > 0) {
        wcoh_result result =
            told(wcoh_trainer_run(trainer, budgets[take(in, 1) % 6], &stats, &error));
        if (result == WCOH_DONE || result == WCOH_E_DATA) break;
        REQUIRE(result == WCOH_OK || result == WCOH_E_NUMERIC || result == WCOH_E_DEVICE);
        if (take(in, 1) % 4 == 0) change(in, trainer);
    }
    wcoh_trainer_stats(trainer, &stats);
    REQUIRE(stats.lr >= 0 && stats.lr <= WCOHI_RATE_MOST);
    REQUIRE(stats.best_val < 0 || wcohi_is_finite(stats.best_val));
    REQUIRE(stats.best_step <= stats.step);
}

/* A step is small enough to be made whole. */
static int is_small(const wcoh_trainer_desc *desc)
{
    return (double)desc->batch * desc->seq * desc->accumulate < 2000 &&
           (desc->eval_every < 0 || (double)desc->batch * desc->seq * desc->eval_batches < 4000);
}

/* Two trainers of one state make the same step. */
static void same_step(wcoh_trainer *a, wcoh_model *model, wcoh_trainer *b, wcoh_model *again)
{
    wcoh_stats one, other;
    wcoh_result result;
    if (!is_small(wcoh_trainer_get_desc(a))) return;
    result = told(wcoh_trainer_step(a, &one, &error));
    REQUIRE(told(wcoh_trainer_step(b, &other, &error)) == result);
    REQUIRE(one.step == other.step && one.tokens == other.tokens && one.done == other.done);
    REQUIRE(one.lr == other.lr && one.best_step == other.best_step);
    REQUIRE(memcmp(&one.train_loss, &other.train_loss, sizeof(double)) == 0);
    REQUIRE(equal_parameters(model, again));
}

/* Saved, loaded, resumed: the same run. */
static void resume(wcoh_trainer *trainer, wcoh_model *model, const wcoh_trainer_desc *desc,
                   const uint32_t *tokens, size_t count, size_t val)
{
    wcoh_memory_file block;
    wcoh_io io = file_in(&block, 0, 0);
    wcoh_trainer_desc read = *desc;
    wcoh_trainer *second = NULL;
    wcoh_model *again;
    size_t room = wcoh_trainer_file_size(trainer);
    wcoh_result result = told(wcoh_trainer_save(trainer, &io, &error));
    REQUIRE(result == WCOH_OK || result == WCOH_E_NUMERIC || room > block.capacity);
    if (result < 0) return;
    REQUIRE(block.used <= room);
    again = model_again(&io, model);
    if (again) {
        result = told(wcoh_trainer_read_desc(&read, &io, &error));
        REQUIRE(result == WCOH_OK || result == WCOH_E_MEMORY);
        read.memory = bounded();
        read.cpu = desc->cpu;
        result = told(wcoh_trainer_create(&second, again, &read, &error));
        REQUIRE(result == WCOH_OK || result == WCOH_E_MEMORY);
    }
    if (second) {
        REQUIRE(wcoh_trainer_set_data(second, tokens, count - val,
                                      val ? tokens + count - val : NULL, val, NULL) == WCOH_OK);
        result = told(wcoh_trainer_resume(second, &io, &error));
        REQUIRE(result == WCOH_OK || result == WCOH_E_MEMORY);
        if (!result && !desc->all_reduce && !desc->progress)
            same_step(trainer, model, second, again);
    }
    wcoh_trainer_destroy(second);
    wcoh_model_destroy(again);
}

static void train(input *in, wcoh_model *model, int wild)
{
    static uint32_t tokens[TEXT];
    wcoh_trainer_desc desc;
    wcoh_trainer *trainer = NULL;
    wcoh_result result;
    trained t;
    size_t size, before = live, count, val;
    memset(&desc, 0, sizeof desc);
    desc_fill(in, WCOH_DESC_TRAINER, &desc, wild);
    desc.cpu = any_cpu(in, wild);
    desc.memory = bounded();
    t.in = *in;
    if (take(in, 1) % 8 == 7) desc.progress = on_progress, desc.progress_user = &t;
    if (take(in, 1) % 8 == 7) desc.all_reduce = on_reduce, desc.all_reduce_user = &t;
    size = wcoh_trainer_size(wcoh_model_get_desc(model), &desc, &error);
    REQUIRE(size || error.text[0]);
    error_clear();
    result = told(wcoh_trainer_create(&trainer, model, &desc, &error));
    REQUIRE((result == WCOH_OK) == (trainer != NULL) && (trainer || live == before));
    if (!trainer) return;
    REQUIRE(live - before <= size);
    count = any_tokens(in, tokens, wcoh_model_get_desc(model)->vocab, wild);
    val = take(in, 1) % 4 ? count / 4 : 0;
    result = told(wcoh_trainer_set_data(trainer, tokens, count - val,
                                        val ? tokens + count - val : NULL, val, &error));
    work(in, trainer);
    if (result == WCOH_OK) resume(trainer, model, &desc, tokens, count, val);
    wcoh_trainer_destroy(trainer);
    REQUIRE(live == before);
}

static void use_training(const uint8_t *data, size_t size)
{
    input in = input_of(data, size);
    int wild = take(&in, 1) % 4 == 0;
    wcoh_model *model;
    most = ROOM;
    error_clear();
    model = any_model(&in, wild);
    if (model) train(&in, model, wild);
    wcoh_model_destroy(model);
    REQUIRE(live == 0);
}

/* ---- inference ----------------------------------------------------------------------------------- */

static wcoh_sample_desc any_sample(input *in, wcoh_logit_bias bias[3], int vocab, int wild)
{
    wcoh_sample_desc desc;
    int i;
    memset(&desc, 0, sizeof desc);
    desc_fill(in, WCOH_DESC_SAMPLE, &desc, wild);
    for (i = 0; i < 3; i++) {
        bias[i].token = (uint32_t)(take(in, 1) % (uint64_t)(vocab + wild));
        bias[i].bias = (float)take(in, 1);
        if (wild && i == 2) { /* any float: a double need not fit */
            uint32_t bits = (uint32_t)take(in, 4);
            memcpy(&bias[i].bias, &bits, sizeof bits);
        }
    }
    desc.bias = bias;
    desc.bias_count = (int)(take(in, 1) % 4) - wild;
    return desc;
}

static void draw(input *in, wcoh_session *session, int vocab, int wild)
{
    wcoh_logit_bias bias[3];
    wcoh_sample_desc desc = any_sample(in, bias, vocab, wild);
    wcoh_rng rng = wcoh_rng_seed(take(in, 1));
    uint32_t token = 0;
    wcoh_result result = told(wcoh_session_sample(session, &desc, &rng, &token, &error));
    wcoh_result checked = told(wcoh_sample_desc_check(&desc, vocab, &error));
    REQUIRE(result < 0 || token < (uint32_t)vocab);
    REQUIRE(result < 0 ||
            checked == WCOH_OK); /* a session may have heard nothing, or remember less */
}

/* A session that took over the state of another says what that says. */
static void same_words(wcoh_session *session, wcoh_session *other, int vocab)
{
    wcoh_memory_file block;
    wcoh_io io = file_in(&block, 0, 0);
    const wcoh_real *a, *b;
    wcoh_result result = told(wcoh_session_save(session, &io, &error));
    if (result < 0) return;
    REQUIRE(block.used <= wcoh_session_file_size(session));
    result = told(wcoh_session_load(other, &io, &error));
    REQUIRE(result == WCOH_OK || result == WCOH_E_MEMORY);
    if (result < 0) return;
    REQUIRE(wcoh_session_position(other) == wcoh_session_position(session));
    result = told(wcoh_session_step(session, 1, &error));
    REQUIRE(told(wcoh_session_step(other, 1, &error)) == result);
    a = wcoh_session_logits(session);
    b = wcoh_session_logits(other);
    REQUIRE((a == NULL) == (b == NULL));
    if (a) REQUIRE(memcmp(a, b, (size_t)vocab * sizeof *a) == 0);
}

static void listen(input *in, wcoh_model *model, int wild)
{
    static uint32_t tokens[TEXT];
    int vocab = wcoh_model_get_desc(model)->vocab, i;
    wcoh_session_desc desc;
    wcoh_session *sessions[2] = {NULL, NULL};
    size_t count = any_tokens(in, tokens, vocab, wild), cut = count / 3, size, before = live;
    double nats = 0;
    memset(&desc, 0, sizeof desc);
    desc_fill(in, WCOH_DESC_SESSION, &desc, wild);
    desc.cpu = any_cpu(in, wild);
    desc.memory = bounded();
    for (i = 0; i < 2; i++) {
        size = wcoh_session_size(model, &desc, NULL);
        if (told(wcoh_session_create(&sessions[i], model, &desc, &error)) < 0) break;
        REQUIRE(live - before <= size);
        before = live;
    }
    if (sessions[0]) {
        told(wcoh_session_prefill(sessions[0], tokens, cut, &error));
        for (i = 0; i < 3 && (size_t)i < count; i++)
            told(wcoh_session_step(sessions[0], tokens[i], &error));
        draw(in, sessions[0], vocab, wild);
        told(wcoh_session_score(sessions[0], tokens, count - cut, &nats, &error));
        if (sessions[1]) same_words(sessions[0], sessions[1], vocab);
        if (take(in, 1) % 2) wcoh_session_reset(sessions[0]);
        draw(in, sessions[0], vocab, wild);
    }
    wcoh_session_destroy(sessions[0]);
    wcoh_session_destroy(sessions[1]);
}

/* Members come, hear, draw, are saved into each other and go, named rightly or not. */
static void crowd_works(input *in, wcoh_crowd *crowd, int vocab, int wild)
{
    static uint32_t tokens[TEXT];
    int ids[4] = {0, 1, 2, 3}, joined[4], i, count;
    wcoh_memory_file block;
    wcoh_io io = file_in(&block, 0, 0);
    wcoh_logit_bias bias[3];
    wcoh_sample_desc sample = any_sample(in, bias, vocab, wild);
    size_t heard = any_tokens(in, tokens, vocab, wild);
    uint32_t token = 0;
    for (i = 0; i < 4; i++) told(wcoh_crowd_join(crowd, &joined[i], &error));
    count = wcoh_crowd_count(crowd);
    for (i = 0; i < 12; i++) {
        int id = (int)(take(in, 1) % 5) - wild, other = (int)(take(in, 1) % 5);
        uint64_t what = take(in, 1) % 8;
        if (what == 0) told(wcoh_crowd_hear(crowd, id, tokens, heard, &error));
        else if (what == 1) wcoh_crowd_leave(crowd, id);
        else if (what == 2) told(wcoh_crowd_copy(crowd, other, id, &error));
        else if (what == 3) told(wcoh_crowd_sample(crowd, id, &sample, NULL, &token, &error));
        else if (what == 4 && !told(wcoh_crowd_save(crowd, id, &io, &error))) {
            REQUIRE(block.used <= wcoh_crowd_file_size(crowd, id));
            told(wcoh_crowd_load(crowd, other, &io, &error));
            block.used = 0;
        } else if (what == 5) wcoh_crowd_reset(crowd, id);
        else {
            if (wild) ids[take(in, 1) % 4] = id;
            told(wcoh_crowd_step(crowd, ids, tokens, WCOHI_MIN(count, 4), &error));
        }
    }
}

static void gather(input *in, wcoh_model *model, int wild)
{
    wcoh_crowd_desc desc;
    wcoh_crowd *crowd = NULL;
    size_t size, before = live;
    memset(&desc, 0, sizeof desc);
    desc_fill(in, WCOH_DESC_CROWD, &desc, wild);
    if (desc.members == 0 || !wild) desc.members = 1 + (int)(take(in, 1) % 5);
    desc.cpu = any_cpu(in, wild);
    desc.memory = bounded();
    size = wcoh_crowd_size(model, &desc, NULL);
    if (told(wcoh_crowd_create(&crowd, model, &desc, &error)) < 0) return;
    REQUIRE(live - before <= size);
    crowd_works(in, crowd, wcoh_model_get_desc(model)->vocab, wild);
    wcoh_crowd_destroy(crowd);
    REQUIRE(live == before);
}

static void score(input *in, wcoh_model *model, int wild)
{
    static uint32_t tokens[TEXT];
    static wcoh_real losses[TEXT];
    size_t count = any_tokens(in, tokens, wcoh_model_get_desc(model)->vocab, wild), scored = 0;
    size_t offsets[4];
    wcoh_sequences texts;
    wcoh_eval_desc desc;
    double loss = 0;
    memset(&desc, 0, sizeof desc);
    desc_fill(in, WCOH_DESC_EVAL, &desc, wild);
    desc.cpu = any_cpu(in, wild);
    desc.memory = bounded();
    if (take(in, 1) % 2) {
        desc.losses = losses;
        desc.loss_count = wild ? (size_t)take(in, 1) : count;
    }
    if (told(wcoh_model_evaluate(model, &desc, tokens, count, &loss, &scored, &error)) == WCOH_OK)
        REQUIRE(scored > 0 && scored < count);
    desc.losses = NULL;
    offsets[0] = wild ? (size_t)take(in, 1) % 2 : 0;
    offsets[1] = (size_t)take(in, 1);
    offsets[2] = wild ? (size_t)take(in, 1) * 2 : count;
    offsets[3] = count;
    if (offsets[1] > count || offsets[2] > count) return;
    texts.count = 1 + (size_t)(take(in, 1) % 3);
    texts.offsets = offsets;
    texts.tokens = tokens;
    if (!told(wcoh_model_evaluate_sequences(model, &desc, &texts, &loss, &scored, &error)))
        REQUIRE(scored == offsets[texts.count] - offsets[0] - texts.count);
}

static void on_layer(int layer, const wcoh_real *hidden, const float *maps, void *user)
{
    REQUIRE(layer >= 0 && hidden != NULL && user != NULL);
    /* the first query sees itself alone; a stream that overflowed sees nothing */
    if (maps && wcohi_is_finite((double)maps[0])) REQUIRE(maps[0] > 0.99f && maps[0] < 1.01f);
}

static void use_inference(const uint8_t *data, size_t size)
{
    input in = input_of(data, size);
    int wild = take(&in, 1) % 4 == 0;
    uint32_t tokens[16];
    wcoh_memory_file block;
    wcoh_io io = file_in(&block, 1, 0);
    wcoh_memory memory = bounded();
    wcoh_model *model, *again = NULL;
    most = ROOM;
    error_clear();
    model = any_model(&in, wild);
    if (model) {
        wcoh_result result = told(wcoh_model_save(model, &io, &error));
        REQUIRE(result == WCOH_OK || wcoh_model_file_size(model) > block.capacity);
        if (result == WCOH_OK) again = model_again(&io, model);
        listen(&in, again ? again : model, wild);
        score(&in, model, wild);
        gather(&in, model, wild);
        memset(tokens, 0, sizeof tokens);
        told(wcoh_model_inspect(model, tokens, (int)(take(&in, 1) % 16) - wild, NULL, &memory,
                                on_layer, &in, &error));
    }
    wcoh_model_destroy(again);
    wcoh_model_destroy(model);
    REQUIRE(live == 0);
}

/* ---- the toolkit --------------------------------------------------------------------------------- */

static float vectors[1 << 12]; /* random, some extreme */

static void any_vectors(input *in, int wild)
{
    wcoh_rng rng = wcoh_rng_seed(take(in, 1));
    double scale = wild ? pow(10, (double)(take(in, 1) % 80) - 40) : 1;
    size_t i;
    for (i = 0; i < sizeof vectors / sizeof *vectors; i++)
        vectors[i] = (float)(scale * wcoh_rng_normal(&rng));
    if (wild) vectors[take(in, 1)] = (float)any_real(in);
}

static void use_any_circle(input *in, int wild)
{
    wcoh_circle_desc desc;
    wcoh_circle_query query;
    wcoh_circle *circle;
    double phases[2];
    size_t count = 0;
    int i;
    memset(&desc, 0, sizeof desc);
    desc_fill(in, WCOH_DESC_CIRCLE, &desc, wild);
    desc.memory = bounded();
    if (told(wcoh_circle_create(&circle, &desc, &error)) < 0) return;
    for (i = 0; i < 8; i++) {
        phases[0] = any_real(in);
        phases[1] = (double)take(in, 1);
        told(wcoh_circle_insert(circle, phases, NULL, &error));
    }
    query.harmonic[0] = (int)(int16_t)take(in, 2);
    query.harmonic[1] = (int)take(in, 1);
    query.phase[0] = query.threshold[0] = phases[1];
    query.phase[1] = any_real(in);
    query.threshold[1] = any_real(in);
    if (!told(wcoh_circle_find(circle, &query, NULL, 0, &count, NULL, &error)))
        REQUIRE(count <= wcoh_circle_count(circle));
    wcoh_circle_destroy(circle);
}

static void use_any_spectral(input *in, int wild)
{
    static wcoh_figure bands[4 * WCOHI_BANDS];
    wcoh_pair_figures each[4], mean;
    wcoh_spectral_desc desc;
    wcoh_spectral *spectral;
    uint32_t pairs[8];
    size_t rows;
    int i;
    memset(&desc, 0, sizeof desc);
    desc_fill(in, WCOH_DESC_SPECTRAL, &desc, wild);
    if (desc.draws > 50) desc.draws = 50; /* what they cost is known */
    desc.cpu = any_cpu(in, wild);
    desc.memory = bounded();
    if (told(wcoh_spectral_create(&spectral, &desc, &error)) < 0) return;
    rows = sizeof vectors / sizeof *vectors / (size_t)desc.dimensions;
    for (i = 0; i < 8; i++) pairs[i] = (uint32_t)(take(in, 1) % (rows + (size_t)wild + !rows));
    if (rows)
        told(wcoh_spectral_pairs(spectral, vectors, rows, pairs, 4, each, bands, &mean, bands,
                                 &error));
    if (rows) told(wcoh_spectral_energy(spectral, vectors, rows, bands, &error));
    wcoh_spectral_destroy(spectral);
}

static void use_any_resonance(input *in, int wild)
{
    static wcoh_resonance_hit hits[WCOHI_TOP];
    static uint8_t mask[1 << 13];
    wcoh_resonance_desc desc;
    wcoh_resonance_query query;
    wcoh_resonance *store;
    const float *phases;
    size_t rows, i;
    int found = 0;
    memset(&desc, 0, sizeof desc);
    desc_fill(in, WCOH_DESC_RESONANCE, &desc, wild);
    desc.cpu = any_cpu(in, wild);
    desc.memory = bounded();
    if (told(wcoh_resonance_create(&store, &desc, &error)) < 0) return;
    rows = sizeof vectors / sizeof *vectors / (size_t)desc.dimensions;
    phases = desc.packet == WCOH_PACKET_PHASES ? vectors : NULL;
    if (phases)
        for (i = 0; i < sizeof vectors / sizeof *vectors; i++) vectors[i] = (float)fabs(vectors[i]);
    told(wcoh_resonance_add(store, vectors, phases, WCOHI_MIN(rows, 5), &error));
    memset(&query, 0, sizeof query);
    desc_fill(in, WCOH_DESC_RESONANCE_QUERY, &query, wild);
    if (take(in, 1) % 2 && wcoh_resonance_bins(store) <= (int)sizeof mask) query.mask = mask;
    for (i = 0; i < sizeof mask; i++) mask[i] = (uint8_t)(i % 3 == 0);
    if (rows && !told(wcoh_resonance_find(store, &query, vectors, phases, hits, &found, &error)))
        REQUIRE(found >= 0 && (uint64_t)found <= wcoh_resonance_count(store));
    wcoh_resonance_destroy(store);
}

static void use_any_tokenizer(input *in, int wild)
{
    wcoh_tokenizer_desc desc;
    wcoh_tokenizer *tokenizer;
    wcoh_model_desc model_desc;
    wcoh_model *model = NULL;
    memset(&desc, 0, sizeof desc);
    memset(&model_desc, 0, sizeof model_desc);
    desc_fill(in, WCOH_DESC_TOKENIZER, &desc, wild);
    desc.memory = model_desc.memory = bounded();
    if (told(wcoh_tokenizer_create(&tokenizer, &desc, (const char *)in->at,
                                   (size_t)(in->end - in->at), &error)) < 0)
        return;
    model_desc.vocab = wcoh_tokenizer_vocab(tokenizer) + (wild ? (int)(take(in, 1) % 3) - 1 : 0);
    model_desc.bands = 2;
    model_desc.heads = 1;
    model_desc.tokenizer = tokenizer;
    told(wcoh_model_create(&model, &model_desc, &error));
    wcoh_model_destroy(model);
    wcoh_tokenizer_destroy(tokenizer);
}

static void use_toolkit(const uint8_t *data, size_t size)
{
    input in = input_of(data, size);
    int wild = take(&in, 1) % 4 == 0;
    most = 4 * ROOM; /* a store grows by 2 MB */
    error_clear();
    any_vectors(&in, wild);
    use_any_circle(&in, wild);
    use_any_spectral(&in, wild);
    use_any_resonance(&in, wild);
    use_any_tokenizer(&in, wild);
    REQUIRE(live == 0);
}

FUZZ_UNUSED static const fuzz_target targets[] = {
    {"training", use_training}, {"inference", use_inference}, {"toolkit", use_toolkit}};

#ifndef FUZZ
int main(int argc, char **argv) { return fuzz_main(targets, 3, argc, argv); }
#endif

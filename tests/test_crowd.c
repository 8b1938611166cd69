/* Crowds: many sessions over one model; small states, what they hold and when they say no.
   cc -O2 -o test_crowd tests/test_crowd.c -lm -lpthread */
#define WAVECOH_SCALAR
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"
#include "test.h"
#include "support.h"

static wcoh_error error;

static const struct {
    const char *settings;
    int vocab;
} models[] = {
    {"vocab=13 bands=8 heads=2 layers=2 maestro=3", 13},
    {"vocab=13 bands=24 heads=4 layers=1 maestro=3 loudness=on",
     13}, /* heads of width 12: no whole vectors */
    {"vocab=13 bands=10 heads=4 layers=1 maestro=3 attention=shared gain=2.4 groups=2", 13},
    {"vocab=13 bands=8 heads=2 layers=2 maestro=3 forgetting=on loudness=on", 13},
    {"vocab=13 bands=6 heads=3 layers=2 attention=frozen position=sinusoidal context=9 head=tied",
     13},
    {"vocab=13 bands=12 heads=3 layers=2 attention=rotary context=7 ffn=mlp block=sequential", 13},
    {"vocab=13 bands=6 heads=3 layers=2 attention=coherence,dot context=11 norm=rms", 13},
    {"vocab=13 bands=6 heads=2 layers=2 position=learned context=64 head=low_rank head_rank=3", 13},
    {"vocab=13 bands=17 heads=17 layers=1 per_band_first=on corrector=on limiter=on", 13},
    {"vocab=300 bands=8 heads=2 layers=1 maestros=add embedding=circles", 300},
    {"vocab=13 bands=9 heads=2 layers=2 maestro=3 taps=4 gate=on value_gate=on", 13},
    {"vocab=13 bands=10 heads=10 layers=1 maestro=3 query_gain=on gain_most=2.4", 13},
};
#define MODELS ((int)(sizeof models / sizeof *models))
enum { MEMBERS = 21, HEARD = 40 };

static wcoh_model *model_number(int i)
{
    wcoh_model_desc desc = model_desc_of(models[i].settings);
    wcoh_model *model = model_of(&desc);
    wcoh_param gain;
    int p, k;
    randomise(model, 3);
    for (p = 0; p < wcoh_model_param_count(model); p++) /* float states take gains up to 2.5 */
        if (wcoh_model_param(model, p, &gain, NULL) == WCOH_OK && text_ends(gain.name, ".gain_raw"))
            for (k = 0; k < (int)gain.count; k++)
                gain.data[k] = WCOHI_MIN(gain.data[k], (wcoh_real)2.4);
    wcoh_model_touch(model);
    return model;
}

static wcoh_crowd_desc crowd_desc(int members, wcoh_isa isa)
{
    wcoh_crowd_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.members = members;
    desc.cpu.isa = isa;
    return desc;
}

static wcoh_crowd *crowd_of(wcoh_model *model, const wcoh_crowd_desc *desc)
{
    wcoh_crowd *crowd = NULL;
    CHECK_SAY(wcoh_crowd_create(&crowd, model, desc, &error) == WCOH_OK, "%s", error.text);
    return crowd;
}

static wcoh_session *session_of(wcoh_model *model, wcoh_isa isa)
{
    wcoh_session_desc desc;
    wcoh_session *session = NULL;
    memset(&desc, 0, sizeof desc);
    desc.cpu.isa = isa;
    CHECK_SAY(wcoh_session_create(&session, model, &desc, &error) == WCOH_OK, "%s", error.text);
    return session;
}

/* What member m hears at time t. */
static uint32_t symbol_of(int m, int t, int vocab)
{ return (uint32_t)((m * 7 + t * t * 3 + t) % vocab); }

static double apart(const wcoh_real *a, const wcoh_real *b, int vocab)
{
    double most = 0;
    int v;
    for (v = 0; v < vocab; v++) most = WCOHI_MAX(most, fabs((double)a[v] - (double)b[v]));
    return most;
}

static int same(const wcoh_real *a, const wcoh_real *b, int vocab)
{ return a && b && memcmp(a, b, (size_t)vocab * sizeof *a) == 0; }

/* All of them, one step after the other: member m is in step t if (m + t) % 3. */
static void walk(wcoh_crowd *crowd, int from, int to, int vocab)
{
    int ids[MEMBERS], m, t, count;
    uint32_t symbols[MEMBERS];
    for (t = from; t < to; t++) {
        for (m = count = 0; m < MEMBERS; m++)
            if ((m + t) % 3) {
                ids[count] = m;
                symbols[count++] = symbol_of(m, t, vocab);
            }
        CHECK_SAY(wcoh_crowd_step(crowd, ids, symbols, count, &error) == WCOH_OK, "%s", error.text);
    }
}

static void join_all(wcoh_crowd *crowd)
{
    int m, id;
    for (m = 0; m < MEMBERS; m++) CHECK(wcoh_crowd_join(crowd, &id, &error) == WCOH_OK && id == m);
}

/* 1e-6 of the largest logit: products are summed in another order. */
static void a_member_is_a_session(void)
{
    int i, k, m, t;
    EACH_ISA(i)
        for (k = 0; k < MODELS; k++) {
            wcoh_model *model = model_number(k);
            wcoh_crowd_desc desc = crowd_desc(MEMBERS, every_isa[i]);
            wcoh_crowd *crowd;
            desc.batch = 8;
            crowd = crowd_of(model, &desc);
            join_all(crowd);
            walk(crowd, 0, HEARD, models[k].vocab);
            for (m = 0; m < MEMBERS; m += 5) {
                wcoh_session *session = session_of(model, every_isa[i]);
                double most = 0;
                int v;
                for (t = 0; t < HEARD; t++)
                    if ((m + t) % 3)
                        CHECK(wcoh_session_step(session, symbol_of(m, t, models[k].vocab), NULL) ==
                              WCOH_OK);
                for (v = 0; v < models[k].vocab; v++)
                    most = WCOHI_MAX(most, fabs((double)wcoh_session_logits(session)[v]));
                most = apart(wcoh_session_logits(session), wcoh_crowd_logits(crowd, m),
                             models[k].vocab) /
                       WCOHI_MAX(most, 1);
                CHECK_SAY(most < 1e-6 * 4, "%s, %s: %.3g", wcoh_isa_name(every_isa[i]),
                          models[k].settings, most);
                CHECK(wcoh_session_position(session) == wcoh_crowd_position(crowd, m));
                wcoh_session_destroy(session);
            }
            wcoh_crowd_destroy(crowd);
            wcoh_model_destroy(model);
        }
}

/* To the bit: alone, in other company, in other batches, on other threads, in either type. */
static void bits_do_not_depend_on_the_company(void)
{
    int i, k, m, t, reals;
    EACH_ISA(i)
        for (k = 0; k < MODELS; k++)
            for (reals = 0; reals < 2; reals++) {
                wcoh_model *model = model_number(k);
                wcoh_crowd_desc desc = crowd_desc(MEMBERS, every_isa[i]);
                wcoh_crowd *crowd, *threaded;
                desc.states = reals ? WCOH_STATES_FLOAT : WCOH_STATES_DOUBLE;
                crowd = crowd_of(model, &desc);
                desc.batch = 6;
                desc.cpu.threads = 3;
                threaded = crowd_of(model, &desc);
                join_all(crowd);
                join_all(threaded);
                walk(crowd, 0, HEARD, models[k].vocab);
                walk(threaded, 0, HEARD, models[k].vocab);
                desc = crowd_desc(2, every_isa[i]);
                desc.states = reals ? WCOH_STATES_FLOAT : WCOH_STATES_DOUBLE;
                for (m = 0; m < MEMBERS; m++) {
                    wcoh_crowd *alone = m % 6 ? NULL : crowd_of(model, &desc);
                    int id;
                    CHECK_SAY(same(wcoh_crowd_logits(crowd, m), wcoh_crowd_logits(threaded, m),
                                   models[k].vocab),
                              "%s, %s: threads", wcoh_isa_name(every_isa[i]), models[k].settings);
                    if (!alone) continue;
                    wcoh_crowd_join(alone, &id, NULL);
                    for (t = 0; t < HEARD; t++) {
                        uint32_t symbol = symbol_of(m, t, models[k].vocab);
                        if ((m + t) % 3)
                            CHECK(wcoh_crowd_hear(alone, id, &symbol, 1, NULL) == WCOH_OK);
                    }
                    CHECK_SAY(same(wcoh_crowd_logits(crowd, m), wcoh_crowd_logits(alone, id),
                                   models[k].vocab),
                              "%s, %s: member %d alone", wcoh_isa_name(every_isa[i]),
                              models[k].settings, m);
                    wcoh_crowd_destroy(alone);
                }
                wcoh_crowd_destroy(crowd);
                wcoh_crowd_destroy(threaded);
                wcoh_model_destroy(model);
            }
}

static unsigned char bytes[1 << 20];

static wcoh_io file_open(wcoh_memory_file *file)
{
    file->data = bytes;
    file->capacity = sizeof bytes;
    file->used = 0;
    return wcoh_io_memory(file);
}

/* One leaves in the middle, another takes the number; copies and files go on with the same bits. */
static void members_come_and_go_and_are_saved(void)
{
    int k, reals;
    for (k = 0; k < MODELS; k++)
        for (reals = 0; reals < 2; reals++) {
            int vocab = models[k].vocab, id, t, ids[3] = {4, 9, 2};
            wcoh_model *model = model_number(k);
            wcoh_crowd_desc desc = crowd_desc(MEMBERS + 2, WCOH_ISA_AUTO);
            wcoh_crowd *crowd, *other;
            int bands = wcoh_model_get_desc(model)->bands;
            wcoh_memory_file file;
            wcoh_io io;
            desc.states = reals ? WCOH_STATES_FLOAT : WCOH_STATES_DOUBLE;
            crowd = crowd_of(model, &desc);
            other = crowd_of(model, &desc);
            join_all(crowd);
            join_all(other);
            walk(crowd, 0, 14, vocab);
            wcoh_crowd_leave(crowd, 9);
            CHECK(wcoh_crowd_count(crowd) == MEMBERS - 1 && wcoh_crowd_logits(crowd, 9) == NULL);
            CHECK(wcoh_crowd_join(crowd, &id, &error) == WCOH_OK && id == 9);
            CHECK(wcoh_crowd_position(crowd, 9) == 0 && wcoh_crowd_logits(crowd, 9) == NULL);
            CHECK(wcoh_crowd_copy(crowd, 9, 4, &error) == WCOH_OK);
            io = file_open(&file);
            CHECK_SAY(wcoh_crowd_save(crowd, 4, &io, &error) == WCOH_OK, "%s", error.text);
            CHECK(file.used <= wcoh_crowd_file_size(crowd, 4));
            CHECK_SAY(wcoh_crowd_load(crowd, 2, &io, &error) == WCOH_OK, "%s", error.text);
            CHECK_SAY(wcoh_crowd_load(other, 7, &io, &error) == WCOH_OK, "%s", error.text);
            CHECK(same(wcoh_crowd_hidden(crowd, 4), wcoh_crowd_hidden(other, 7), 2 * bands));
            for (t = 14; t < 30; t++) {
                uint32_t s = symbol_of(4, t, vocab), symbols[3];
                symbols[0] = symbols[1] = symbols[2] = s;
                CHECK(wcoh_crowd_step(crowd, ids, symbols, 3, &error) == WCOH_OK);
                CHECK(wcoh_crowd_hear(other, 7, &s, 1, &error) == WCOH_OK);
            }
            CHECK(same(wcoh_crowd_logits(crowd, 4), wcoh_crowd_logits(crowd, 9), vocab));
            CHECK(same(wcoh_crowd_logits(crowd, 4), wcoh_crowd_logits(crowd, 2), vocab));
            CHECK(same(wcoh_crowd_logits(crowd, 4), wcoh_crowd_logits(other, 7), vocab));
            CHECK(same(wcoh_crowd_hidden(crowd, 4), wcoh_crowd_hidden(crowd, 9), 2 * bands));
            CHECK(same(wcoh_crowd_hidden(crowd, 4), wcoh_crowd_hidden(other, 7), 2 * bands));
            wcoh_crowd_destroy(crowd);
            wcoh_crowd_destroy(other);
            wcoh_model_destroy(model);
        }
}

/* A session loads what a member saved, and the other way round. */
static void files_of_members_are_files_of_sessions(void)
{
    wcoh_model *model = model_number(0);
    wcoh_crowd_desc desc = crowd_desc(3, WCOH_ISA_AUTO);
    wcoh_crowd *crowd = crowd_of(model, &desc);
    wcoh_session *session = session_of(model, WCOH_ISA_AUTO);
    wcoh_memory_file file;
    wcoh_io io = file_open(&file);
    uint32_t symbols[3] = {1, 5, 7}, next = 2;
    int id;
    wcoh_crowd_join(crowd, &id, NULL);
    CHECK(wcoh_crowd_hear(crowd, id, symbols, 3, &error) == WCOH_OK);
    CHECK(wcoh_crowd_save(crowd, id, &io, &error) == WCOH_OK);
    CHECK_SAY(wcoh_session_load(session, &io, &error) == WCOH_OK, "%s", error.text);
    CHECK(same(wcoh_session_logits(session), wcoh_crowd_logits(crowd, id), 13));
    CHECK(wcoh_session_step(session, next, &error) == WCOH_OK);
    CHECK(wcoh_crowd_hear(crowd, id, &next, 1, &error) == WCOH_OK);
    CHECK(apart(wcoh_session_logits(session), wcoh_crowd_logits(crowd, id), 13) < 4e-6);
    io = file_open(&file);
    CHECK(wcoh_session_save(session, &io, &error) == WCOH_OK);
    wcoh_crowd_join(crowd, &id, NULL);
    CHECK_SAY(wcoh_crowd_load(crowd, id, &io, &error) == WCOH_OK, "%s", error.text);
    CHECK(wcoh_crowd_position(crowd, id) == 4);
    wcoh_session_destroy(session);
    wcoh_crowd_destroy(crowd);
    wcoh_model_destroy(model);
}

static void bad_steps_say_so_and_change_nothing(void)
{
    wcoh_model *model = model_number(7); /* 64 learned positions */
    wcoh_crowd_desc desc = crowd_desc(2, WCOH_ISA_AUTO);
    wcoh_crowd *crowd = crowd_of(model, &desc);
    int ids[3] = {0, 1, 1}, id, i;
    uint32_t symbols[64] = {3, 4, 5};
    CHECK(wcoh_crowd_step(crowd, ids, symbols, 1, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "0 is no member of this crowd: 0 of 2 have joined");
    CHECK(wcoh_crowd_join(crowd, &id, &error) == WCOH_OK);
    CHECK(wcoh_crowd_join(crowd, &id, &error) == WCOH_OK);
    CHECK(wcoh_crowd_join(crowd, &id, &error) == WCOH_E_MEMORY);
    CHECK_TEXT(error.text, "the crowd is full: it was made for 2 members");
    CHECK(wcoh_crowd_step(crowd, ids, symbols, 3, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "ids[2] is 1: named twice in one step");
    CHECK(wcoh_crowd_step(crowd, ids, symbols, -1, &error) == WCOH_E_ARGUMENT);
    symbols[1] = 13;
    CHECK(wcoh_crowd_step(crowd, ids, symbols, 2, &error) == WCOH_E_TOKEN);
    CHECK_TEXT(error.text, "input token 1 is 13");
    symbols[1] = 4;
    CHECK(wcoh_crowd_position(crowd, 0) == 0 && wcoh_crowd_logits(crowd, 0) == NULL);
    for (i = 0; i < 64; i++) CHECK(wcoh_crowd_hear(crowd, 1, symbols, 1, &error) == WCOH_OK);
    CHECK(wcoh_crowd_step(crowd, ids, symbols, 2, &error) == WCOH_E_CONTEXT);
    CHECK_TEXT(error.text, "position 65: the model has 64 learned positions");
    CHECK(wcoh_crowd_position(crowd, 0) == 0);
    CHECK(wcoh_crowd_hear(crowd, 0, symbols, 65, &error) == WCOH_E_CONTEXT);
    CHECK(wcoh_crowd_step(crowd, NULL, NULL, 0, &error) == WCOH_OK);
    wcoh_crowd_destroy(crowd);
    wcoh_model_destroy(model);
}

/* A device that is no CPU. */
static void another_device_is_refused(void)
{
    wcoh_model *model = model_number(0);
    wcoh_crowd_desc desc = crowd_desc(2, WCOH_ISA_AUTO);
    wcoh_session_desc listening;
    wcohi_device_table table = wcohi_cpu_table;
    wcoh_device device;
    wcoh_crowd *crowd;
    wcoh_session *session;
    memset(&device, 0, sizeof device);
    memset(&listening, 0, sizeof listening);
    table.name = "toy";
    table.crowds = 0;
    device.table = &table;
    desc.device = listening.device = &device;
    CHECK(wcoh_crowd_create(&crowd, model, &desc, &error) == WCOH_E_UNSUPPORTED);
    CHECK_TEXT(error.text, "a toy device steps no crowds: leave `device` NULL for the CPU");
    CHECK(wcoh_crowd_size(model, &desc, &error) == 0);
    listening.states = WCOH_STATES_FLOAT;
    CHECK(wcoh_session_create(&session, model, &listening, &error) == WCOH_E_UNSUPPORTED);
    CHECK_TEXT(error.text, "states=float is for a CPU: a toy device keeps them in double");
    wcoh_model_destroy(model);
}

static void set_gains(wcoh_model *model, double gain)
{
    wcoh_param p;
    int index;
    size_t i;
    for (index = 0; index < wcoh_model_param_count(model); index++)
        if (wcoh_model_param(model, index, &p, NULL) == WCOH_OK && text_ends(p.name, ".gain_raw"))
            for (i = 0; i < p.count; i++) p.data[i] = (wcoh_real)log(expm1(gain));
    wcoh_model_touch(model);
}

/* Sum over heads (2M+1)(E+1) numbers and 10 KB, whatever the gains are. */
static void states_hold_just_their_terms(void)
{
    static const struct {
        const char *settings;
        double gain;
        int terms, heads, width;
        size_t most[2]; /* bytes in double, in float */
    } rows[] = {
        {"vocab=65", 2, 11, 64, 8, {120 * 1024, 70 * 1024}},
        {"vocab=65 bands=16 layers=2 heads=4", 2, 11, 8, 8, {14 * 1024, 8 * 1024}},
        {"vocab=65", 4, 16, 64, 8, {0, 0}},
        {"vocab=65 heads=32", 6, 21, 128, 4, {0, 0}},
        {"vocab=65", 12, 35, 64, 8, {0, 0}},
    };
    size_t i, k;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        wcoh_model_desc settings = model_desc_of(rows[i].settings);
        wcoh_model *model = model_of(&settings);
        set_gains(model, rows[i].gain - 1e-5);
        for (k = 0; k < (rows[i].most[1] ? 2u : 1u); k++) {
            wcoh_crowd_desc desc = crowd_desc(200, WCOH_ISA_AUTO);
            size_t numbers = (size_t)(2 * rows[i].terms + 1) * (size_t)(rows[i].width + 1), size,
                   more;
            desc.states = k ? WCOH_STATES_FLOAT : WCOH_STATES_DOUBLE;
            size = wcoh_crowd_member_size(model, &desc, &error);
            more = wcoh_crowd_size(model, &desc, &error);
            desc.members = 1200;
            more = wcoh_crowd_size(model, &desc, &error) - more;
            CHECK_SAY(size > 0 && more / 1000 <= size + 40 && size <= more / 1000 + 40,
                      "%s: a member takes %.0f, said are %.0f", rows[i].settings,
                      (double)more / 1000, (double)size);
            numbers *= (size_t)rows[i].heads * (k && !IN_DOUBLE ? 4 : 8);
            CHECK_SAY(size <= numbers + 10 * 1024, "%s: %.0f", rows[i].settings, (double)size);
            if (rows[i].most[k])
                CHECK_SAY(size <= rows[i].most[k], "%s: %.0f", rows[i].settings, (double)size);
        }
        wcoh_model_destroy(model);
    }
}

/* Over a model that learns on: a sentence, nothing lost; or room from the start. */
static void gains_that_grow_find_room_or_say_so(void)
{
    wcoh_model *model = model_number(0);
    wcoh_session_desc desc;
    wcoh_session *tight, *roomy;
    wcoh_real before[13];
    memset(&desc, 0, sizeof desc);
    set_gains(model, 2);
    tight = session_of(model, WCOH_ISA_AUTO);
    desc.gain = 5;
    CHECK(wcoh_session_create(&roomy, model, &desc, &error) == WCOH_OK);
    CHECK(wcoh_session_step(tight, 3, &error) == WCOH_OK);
    CHECK(wcoh_session_step(roomy, 3, &error) == WCOH_OK);
    memcpy(before, wcoh_session_logits(tight), sizeof before);
    set_gains(model, 4.5);
    CHECK(wcoh_session_step(tight, 4, &error) == WCOH_E_MISMATCH);
    CHECK_TEXT(error.text,
               "head 0 of layer 0 has a gain of 4.5 by now, for which these states have "
               "no room: make them anew, or with a larger `gain`");
    CHECK(wcoh_session_step(tight, 4, &error) == WCOH_E_MISMATCH);
    CHECK(wcoh_session_position(tight) == 1 && same(before, wcoh_session_logits(tight), 13));
    CHECK(wcoh_session_step(roomy, 4, &error) == WCOH_OK);
    CHECK(wcoh_session_copy(tight, roomy, &error) == WCOH_OK); /* as many terms as fit */
    set_gains(model, 1.5);
    CHECK(wcoh_session_step(tight, 5, &error) == WCOH_OK);
    CHECK(wcoh_session_step(roomy, 5, &error) == WCOH_OK);
    CHECK(same(wcoh_session_logits(roomy), wcoh_session_logits(tight), 13));
    wcoh_session_destroy(tight);
    wcoh_session_destroy(roomy);
    wcoh_model_destroy(model);
}

static void float_states_keep_their_promise(void)
{
    int k, t;
    for (k = 0; k < MODELS; k++) {
        wcoh_model *model = model_number(k);
        wcoh_session_desc desc;
        wcoh_session *full = session_of(model, WCOH_ISA_AUTO), *half;
        double most = 0;
        memset(&desc, 0, sizeof desc);
        desc.states = WCOH_STATES_FLOAT;
        CHECK_SAY(wcoh_session_create(&half, model, &desc, &error) == WCOH_OK, "%s", error.text);
        for (t = 0; t < 60; t++) {
            uint32_t symbol = symbol_of(1, t, models[k].vocab);
            CHECK(wcoh_session_step(full, symbol, NULL) == WCOH_OK);
            CHECK(wcoh_session_step(half, symbol, NULL) == WCOH_OK);
            most = WCOHI_MAX(
                most, apart(wcoh_session_logits(full), wcoh_session_logits(half), models[k].vocab));
        }
        CHECK_SAY(most < 1e-4, "%s: %.3g", models[k].settings, most); /* 3e-5, through the layers */
        wcoh_session_destroy(full);
        wcoh_session_destroy(half);
        wcoh_model_destroy(model);
    }
}

static void float_states_refuse_large_gains(void)
{
    wcoh_model *model = model_number(0);
    wcoh_crowd_desc desc = crowd_desc(2, WCOH_ISA_AUTO);
    wcoh_crowd *crowd;
    int id;
    uint32_t symbol = 1;
    desc.states = WCOH_STATES_FLOAT;
    set_gains(model, 3);
    CHECK(wcoh_crowd_create(&crowd, model, &desc, &error) == WCOH_E_UNSUPPORTED);
    CHECK_TEXT(error.text, "states=float is for gains up to 2.5: head 0 of layer 0 has 3");
    CHECK(crowd == NULL);
    set_gains(model, 2.4);
    desc.gain = 12;
    CHECK(wcoh_crowd_create(&crowd, model, &desc, &error) == WCOH_OK);
    wcoh_crowd_join(crowd, &id, NULL);
    set_gains(model, 2.6);
    CHECK(wcoh_crowd_hear(crowd, id, &symbol, 1, &error) == WCOH_E_UNSUPPORTED);
    CHECK(wcoh_crowd_position(crowd, id) == 0);
    wcoh_crowd_destroy(crowd);
    wcoh_model_destroy(model);
}

static void nothing_is_allocated_after_creation(void)
{
    wcoh_model *model = model_number(0);
    wcoh_crowd_desc desc = crowd_desc(MEMBERS, WCOH_ISA_AUTO);
    wcoh_sample_desc drawing;
    wcoh_crowd *crowd;
    counting count;
    uint32_t token;
    long calls;
    size_t taken;
    memset(&count, 0, sizeof count);
    memset(&drawing, 0, sizeof drawing);
    desc.memory = counting_memory(&count);
    crowd = crowd_of(model, &desc);
    taken = count.bytes;
    CHECK(count.live == 1 && taken == wcoh_crowd_size(model, &desc, &error));
    calls = count.calls;
    join_all(crowd);
    walk(crowd, 0, 9, 13);
    wcoh_crowd_leave(crowd, 3);
    CHECK(wcoh_crowd_copy(crowd, 4, 5, &error) == WCOH_OK);
    CHECK(wcoh_crowd_sample(crowd, 4, &drawing, NULL, &token, &error) == WCOH_OK);
    calls = count.calls - calls - 2; /* wcoh_crowd_size made a plan, */
    CHECK_SAY(calls <= 0, "%ld allocations", calls);
    wcoh_crowd_destroy(crowd);
    CHECK(count.live == 0);
    wcoh_model_destroy(model);
}

/* Own generators: by seed and number, and they travel with the file. */
static void members_draw_by_themselves(void)
{
    wcoh_model *model = model_number(0);
    wcoh_crowd_desc desc = crowd_desc(2, WCOH_ISA_AUTO);
    wcoh_crowd *a, *b;
    wcoh_sample_desc drawing;
    wcoh_memory_file file;
    wcoh_io io = file_open(&file);
    uint32_t symbol = 2, x, y, differ = 0;
    int id, i;
    memset(&drawing, 0, sizeof drawing);
    drawing.temperature = 2;
    desc.seed = 5;
    a = crowd_of(model, &desc);
    desc.seed = 77;
    b = crowd_of(model, &desc);
    for (i = 0; i < 2; i++) {
        wcoh_crowd_join(a, &id, NULL);
        CHECK(wcoh_crowd_hear(a, id, &symbol, 1, &error) == WCOH_OK);
    }
    wcoh_crowd_join(b, &id, NULL);
    for (i = 0; i < 40; i++) {
        CHECK(wcoh_crowd_sample(a, 0, &drawing, NULL, &x, &error) == WCOH_OK);
        CHECK(wcoh_crowd_sample(a, 1, &drawing, NULL, &y, &error) == WCOH_OK);
        differ += x != y;
    }
    CHECK(differ > 10);
    CHECK(wcoh_crowd_save(a, 1, &io, &error) == WCOH_OK);
    CHECK(wcoh_crowd_load(b, id, &io, &error) == WCOH_OK);
    for (i = 0; i < 40; i++) {
        CHECK(wcoh_crowd_sample(a, 1, &drawing, NULL, &x, &error) == WCOH_OK);
        CHECK(wcoh_crowd_sample(b, id, &drawing, NULL, &y, &error) == WCOH_OK);
        CHECK(x == y);
    }
    wcoh_crowd_destroy(a);
    wcoh_crowd_destroy(b);
    wcoh_model_destroy(model);
}

/* The ring is as long as the setting says, and a longer look back is refused, not shortened. */
static void the_window_is_as_long_as_it_says(void)
{
    wcoh_model *model = model_number(0);
    wcoh_session_desc desc;
    wcoh_session *session, *longer;
    wcoh_sample_desc drawing;
    wcoh_memory_file file;
    wcoh_io io = file_open(&file);
    uint32_t symbols[30], token, heard[WCOHI_RECENT];
    int i;
    memset(&desc, 0, sizeof desc);
    memset(&drawing, 0, sizeof drawing);
    desc.repetition_window = 5;
    CHECK(wcoh_session_create(&session, model, &desc, &error) == WCOH_OK);
    desc.repetition_window = 1024;
    CHECK(wcoh_session_create(&longer, model, &desc, &error) == WCOH_OK);
    for (i = 0; i < 30; i++) symbols[i] = (uint32_t)(i % 13);
    CHECK(wcoh_session_prefill(session, symbols, 30, &error) == WCOH_OK);
    CHECK(wcoh_crowd_position(&session->crowd, 0) == 30);
    CHECK(wcohi_crowd_heard(&session->crowd, 0, heard, 9) == 5);
    for (i = 0; i < 5; i++) CHECK(heard[i] == symbols[25 + i]);
    drawing.repetition_window = 6;
    CHECK(wcoh_session_sample(session, &drawing, NULL, &token, &error) == WCOH_OK); /* no penalty */
    drawing.repetition_penalty = 1.5;
    CHECK(wcoh_session_sample(session, &drawing, NULL, &token, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "repetition_window is 6: 5 symbols are remembered here");
    drawing.repetition_window = 5;
    CHECK(wcoh_session_sample(session, &drawing, NULL, &token, &error) == WCOH_OK);
    CHECK(wcoh_session_save(session, &io, &error) == WCOH_OK);
    CHECK(wcoh_session_load(longer, &io, &error) == WCOH_OK); /* no more than the file knows */
    CHECK(wcohi_crowd_heard(&longer->crowd, 0, heard, 1024) == 5 && heard[0] == symbols[25]);
    CHECK(wcoh_session_prefill(longer, symbols, 3, &error) == WCOH_OK);
    CHECK(wcohi_crowd_heard(&longer->crowd, 0, heard, 1024) == 8 && heard[7] == symbols[2]);
    CHECK(wcoh_session_copy(session, longer, &error) == WCOH_OK);
    CHECK(wcohi_crowd_heard(&session->crowd, 0, heard, 1024) == 5 && heard[4] == symbols[2]);
    wcoh_session_destroy(session);
    wcoh_session_destroy(longer);
    wcoh_model_destroy(model);
}

/* Surprises add up to what wcoh_session_score says, and are the logs of the probabilities. */
static void surprises_are_logs_of_probabilities(void)
{
    wcoh_model *model = model_number(0);
    wcoh_session *a = session_of(model, WCOH_ISA_AUTO), *b = session_of(model, WCOH_ISA_AUTO);
    wcoh_real p[13];
    uint32_t tokens[30], next = 4;
    double nats[30], sum = 0, score, total = 0;
    int i;
    random_tokens(tokens, 30, 13, 8);
    CHECK(wcoh_session_probabilities(a, p, &error) == WCOH_E_DATA);
    CHECK_TEXT(error.text, "nothing was heard yet");
    CHECK(wcoh_session_surprise(a, tokens, 30, nats, &error) == WCOH_OK);
    CHECK(wcoh_session_position(a) == 30);
    CHECK_NEAR(nats[0], log(13.0), 1e-12);
    for (i = 1; i < 30; i++) sum += nats[i];
    CHECK(wcoh_session_score(b, tokens, 30, &score, &error) == WCOH_OK);
    CHECK_NEAR(sum, score, 1e-5 * score); /* the score is summed over rows of products at once */
    CHECK(wcoh_session_probabilities(a, p, &error) == WCOH_OK);
    for (i = 0; i < 13; i++) total += (double)p[i];
    CHECK_NEAR(total, 1, 1e-6);
    CHECK(wcoh_session_surprise(a, &next, 1, nats, &error) == WCOH_OK);
    CHECK_NEAR(nats[0], -log((double)p[4]), 1e-6);
    tokens[2] = 13;
    CHECK(wcoh_session_surprise(a, tokens, 3, nats, &error) == WCOH_E_TOKEN);
    CHECK(wcoh_session_position(a) == 31);
    wcoh_session_destroy(a);
    wcoh_session_destroy(b);
    wcoh_model_destroy(model);
}

/* The largest distance between logits and the products of the hidden row with the head's weights, as
   a share of the largest logit. */
static double head_error(wcoh_model *model, const wcoh_real *hidden, const wcoh_real *logits)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(model);
    int width = 2 * desc->bands, rank = desc->head_rank, v, i, r;
    double most = 0, top = 0, scale = 1;
    wcoh_param weight, down;
    if (!hidden || !logits) return 1;
    memset(&weight, 0, sizeof weight);
    memset(&down, 0, sizeof down);
    for (i = 0; i < wcoh_model_param_count(model); i++) {
        wcoh_param p;
        wcoh_model_param(model, i, &p, NULL);
        if (strcmp(p.name, "head.down.weight") == 0) down = p;
        else if (strcmp(p.name, "head.scale") == 0) scale = (double)p.data[0];
        else if (strcmp(p.name, "head.weight") == 0 || strcmp(p.name, "head.up.weight") == 0 ||
                 (desc->head == WCOH_HEAD_TIED && strcmp(p.name, "embed.weight") == 0))
            weight = p;
    }
    for (v = 0; v < desc->vocab; v++) {
        double sum = 0;
        for (r = 0; down.data && r < rank; r++)
            for (i = 0; i < width; i++)
                sum += (double)weight.data[v * rank + r] * (double)down.data[r * width + i] *
                       (double)hidden[i];
        for (i = 0; !down.data && i < width; i++)
            sum += scale * (double)weight.data[v * width + i] * (double)hidden[i];
        most = WCOHI_MAX(most, fabs(sum - (double)logits[v]));
        top = WCOHI_MAX(top, fabs((double)logits[v]));
    }
    return most / top;
}

/* Float products of up to 48 terms. */
static void logits_are_made_of_the_hidden_row(void)
{
    int k;
    for (k = 0; k < MODELS; k++) {
        wcoh_model *model = model_number(k);
        wcoh_crowd_desc desc = crowd_desc(MEMBERS, WCOH_ISA_AUTO);
        wcoh_crowd *crowd = crowd_of(model, &desc);
        wcoh_session *session = session_of(model, WCOH_ISA_AUTO);
        uint32_t tokens[30];
        int width = 2 * wcoh_model_get_desc(model)->bands;
        random_tokens(tokens, 30, models[k].vocab, 8);
        CHECK(wcoh_session_hidden(session) == NULL);
        CHECK(wcoh_session_prefill(session, tokens, 30, &error) == WCOH_OK);
        CHECK_SAY(head_error(model, wcoh_session_hidden(session), wcoh_session_logits(session)) <
                      3e-6,
                  "%s", models[k].settings);
        join_all(crowd);
        CHECK(wcoh_crowd_hidden(crowd, 3) == NULL && wcoh_crowd_hidden(crowd, MEMBERS) == NULL);
        walk(crowd, 0, 7, models[k].vocab);
        CHECK(head_error(model, wcoh_crowd_hidden(crowd, 3), wcoh_crowd_logits(crowd, 3)) < 3e-6);
        CHECK(head_error(model, wcoh_crowd_hidden(crowd, 20), wcoh_crowd_logits(crowd, 20)) < 3e-6);
        wcoh_crowd_reset(crowd, 3);
        CHECK(wcoh_crowd_hidden(crowd, 3) == NULL);
        CHECK(wcoh_crowd_hear(crowd, 3, tokens, 30, &error) == WCOH_OK);
        CHECK(apart(wcoh_crowd_hidden(crowd, 3), wcoh_session_hidden(session), width) < 1e-5);
        wcoh_session_destroy(session);
        wcoh_crowd_destroy(crowd);
        wcoh_model_destroy(model);
    }
}

/* The files of version 0.2.0: what is not in them is not there, until it is heard anew. */
static void a_file_without_a_hidden_row_loads(void)
{
    wcoh_model *model = model_number(0);
    wcoh_session *a = session_of(model, WCOH_ISA_AUTO), *b = session_of(model, WCOH_ISA_AUTO);
    wcohi_engine *engine = &a->crowd.engine;
    uint32_t tokens[9], recent[WCOHI_RECENT] = {0};
    wcohi_member_view view;
    wcohi_contents contents;
    wcoh_memory_file file;
    wcoh_io io = file_open(&file);
    random_tokens(tokens, 9, 13, 8);
    CHECK(wcoh_session_prefill(a, tokens, 9, &error) == WCOH_OK);
    CHECK(wcoh_session_step(b, 3, &error) == WCOH_OK);
    wcohi_member_contents(&a->crowd, 0, &view, &contents);
    contents.count--;
    view.states = (unsigned char *)malloc(wcohi_plan_saved(&engine->plan));
    view.recent = recent;
    engine->device->table->save_states(engine->exec, 0, view.states, NULL);
    CHECK_SAY(wcohi_save(&io, &contents, &error) == WCOH_OK, "%s", error.text);
    CHECK_SAY(wcoh_session_load(b, &io, &error) == WCOH_OK, "%s", error.text);
    CHECK(same(wcoh_session_logits(a), wcoh_session_logits(b), 13));
    CHECK(wcoh_session_hidden(b) == NULL);
    CHECK(wcoh_session_step(a, 3, &error) == WCOH_OK && wcoh_session_step(b, 3, NULL) == WCOH_OK);
    CHECK(same(wcoh_session_hidden(a), wcoh_session_hidden(b), 16));
    free(view.states);
    wcoh_session_destroy(a);
    wcoh_session_destroy(b);
    wcoh_model_destroy(model);
}

/* Rules of a game: what is not allowed is never drawn, greedy or not. */
static void only_what_is_allowed_is_drawn(void)
{
    wcoh_model *model = model_number(0);
    wcoh_crowd_desc desc = crowd_desc(1, WCOH_ISA_AUTO);
    wcoh_crowd *crowd = crowd_of(model, &desc);
    wcoh_sample_desc drawing;
    unsigned char allowed[13] = {0};
    uint32_t symbol = 3, token, seen = 0;
    int id, i;
    memset(&drawing, 0, sizeof drawing);
    wcoh_crowd_join(crowd, &id, NULL);
    CHECK(wcoh_crowd_hear(crowd, id, &symbol, 1, &error) == WCOH_OK);
    CHECK(wcoh_crowd_sample(crowd, id, &drawing, NULL, &symbol, &error) == WCOH_OK);
    drawing.allowed = allowed;
    CHECK(wcoh_crowd_sample(crowd, id, &drawing, NULL, &token, &error) == WCOH_E_NUMERIC);
    CHECK_TEXT(error.text, "none of the 13 logits is finite and allowed");
    allowed[(symbol + 1) % 13] = allowed[(symbol + 5) % 13] = 1;
    CHECK(wcoh_crowd_sample(crowd, id, &drawing, NULL, &token, &error) == WCOH_OK);
    CHECK(allowed[token]);
    drawing.temperature = 5;
    for (i = 0; i < 100; i++) {
        CHECK(wcoh_crowd_sample(crowd, id, &drawing, NULL, &token, &error) == WCOH_OK);
        if (!CHECK(token < 13 && allowed[token])) break;
        seen |= 1u << token;
    }
    CHECK(seen == (1u << (symbol + 1) % 13 | 1u << (symbol + 5) % 13)); /* and each of them is */
    wcoh_crowd_destroy(crowd);
    wcoh_model_destroy(model);
}

int main(void)
{
    RUN(a_member_is_a_session);
    RUN(bits_do_not_depend_on_the_company);
    RUN(members_come_and_go_and_are_saved);
    RUN(files_of_members_are_files_of_sessions);
    RUN(bad_steps_say_so_and_change_nothing);
    RUN(another_device_is_refused);
    RUN(states_hold_just_their_terms);
    RUN(gains_that_grow_find_room_or_say_so);
    RUN(float_states_keep_their_promise);
    RUN(float_states_refuse_large_gains);
    RUN(nothing_is_allocated_after_creation);
    RUN(members_draw_by_themselves);
    RUN(the_window_is_as_long_as_it_says);
    RUN(surprises_are_logs_of_probabilities);
    RUN(logits_are_made_of_the_hidden_row);
    RUN(a_file_without_a_hidden_row_loads);
    RUN(only_what_is_allowed_is_drawn);
    return test_end();
}

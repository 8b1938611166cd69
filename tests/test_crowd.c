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
    {"vocab=300 bands=8 heads=2 layers=1 maestros=add embedding=circles solver=split", 300},
    {"vocab=13 bands=9 heads=2 layers=2 maestro=3 taps=4 gate=on value_gate=on mixing=0.02", 13},
    {"vocab=13 bands=6 heads=3 layers=2 maestro=3 attention=dot,rotary key_width=22 context=11", 13},
    {"vocab=13 bands=9 heads=3 layers=2 maestro=3 attention=pope,resonance phases=5 key_width=1 "
     "context=11",
     13},
    {"vocab=13 bands=10 heads=10 layers=1 maestro=3 query_gain=on gain_most=2.4", 13},
    {"vocab=13 bands=10 heads=5 layers=1 maestro=3 overtones=2 forgetting=on gain=1.2", 13},
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
    for (p = 0; p < wcoh_model_param_count(model); p++) { /* float states take gains up to 2.5 */
        if (wcoh_model_param(model, p, &gain, NULL) != WCOH_OK) continue;
        for (k = 0; text_ends(gain.name, ".gain_raw") && k < (int)gain.count; k++)
            gain.data[k] = WCOHI_MIN(gain.data[k], (wcoh_real)2.4);
        for (k = 0; text_ends(gain.name, ".overtone_raw") && k < (int)gain.count; k++)
            gain.data[k] = WCOHI_CLAMP(gain.data[k], (wcoh_real)-0.4, (wcoh_real)0.4);
    }
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
                wcoh_session *session = session_on(model, every_isa[i]);
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
    wcoh_session *session = session_on(model, WCOH_ISA_AUTO);
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
static void float_states_are_for_the_cpu(void)
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
    table.lean = 0;
    device.table = &table;
    desc.device = listening.device = &device;
    desc.states = listening.states = WCOH_STATES_FLOAT;
    CHECK(wcoh_crowd_create(&crowd, model, &desc, &error) == WCOH_E_UNSUPPORTED);
    CHECK_TEXT(error.text, "states=float is for a CPU: a toy device keeps them in double");
    CHECK(wcoh_crowd_size(model, &desc, &error) == 0);
    CHECK(wcoh_session_create(&session, model, &listening, &error) == WCOH_E_UNSUPPORTED);
    CHECK_TEXT(error.text, "states=float is for a CPU: a toy device keeps them in double");
    wcoh_model_destroy(model);
}

/* Between two steps every weight changes, as training does it: what the crowd keeps of them follows. */
static void a_crowd_follows_its_model(void)
{
    int i, k, p, t;
    EACH_ISA(i)
        for (k = 0; k < MODELS; k++) {
            wcoh_model *model = model_number(k);
            wcoh_crowd_desc desc = crowd_desc(MEMBERS, every_isa[i]);
            wcoh_crowd *crowd;
            wcoh_session *session;
            double most = 1;
            int v;
            desc.gain = 3;
            crowd = crowd_of(model, &desc);
            session = session_on(model, every_isa[i]);
            join_all(crowd);
            for (t = 0; t < 12; t++) {
                wcoh_param param;
                size_t at;
                walk(crowd, t, t + 1, models[k].vocab);
                if ((5 + t) % 3)
                    CHECK(wcoh_session_step(session, symbol_of(5, t, models[k].vocab), NULL) ==
                          WCOH_OK);
                for (p = 0; p < wcoh_model_param_count(model); p++) {
                    if (wcoh_model_param(model, p, &param, NULL) != WCOH_OK) continue;
                    for (at = 0; param.dims == 2 && at < param.count; at++)
                        param.data[at] = (wcoh_real)-0.9 * param.data[at];
                }
                wcoh_model_touch(model);
            }
            for (v = 0; v < models[k].vocab; v++)
                most = WCOHI_MAX(most, fabs((double)wcoh_session_logits(session)[v]));
            most =
                apart(wcoh_session_logits(session), wcoh_crowd_logits(crowd, 5), models[k].vocab) /
                most;
            CHECK_SAY(most < 1e-6 * 4, "%s, %s: %.3g", wcoh_isa_name(every_isa[i]),
                      models[k].settings, most);
            wcoh_session_destroy(session);
            wcoh_crowd_destroy(crowd);
            wcoh_model_destroy(model);
        }
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
    tight = session_on(model, WCOH_ISA_AUTO);
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
        wcoh_session *full = session_on(model, WCOH_ISA_AUTO), *half;
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
        CHECK_SAY(most < 1e-4, "%s: %.3g", models[k].settings, most); /* 5e-5, through the layers */
        wcoh_session_destroy(full);
        wcoh_session_destroy(half);
        wcoh_model_destroy(model);
    }
}

/* The overtones of a head count as its gain does. */
static void float_states_refuse_large_overtones(void)
{
    wcoh_model *model = model_number(MODELS - 1);
    wcoh_crowd_desc desc = crowd_desc(2, WCOH_ISA_AUTO);
    wcoh_crowd *crowd;
    wcoh_param overtone;
    int p;
    desc.states = WCOH_STATES_FLOAT;
    for (p = 0; p < wcoh_model_param_count(model); p++) /* tanh: no more than 2 in all */
        if (wcoh_model_param(model, p, &overtone, NULL) == WCOH_OK &&
            text_ends(overtone.name, ".overtone_raw"))
            overtone.data[0] = -40;
    wcoh_model_touch(model);
    CHECK(wcoh_crowd_create(&crowd, model, &desc, &error) == WCOH_E_UNSUPPORTED && crowd == NULL);
    CHECK_TEXT(error.text, "states=float is for gains up to 2.5: head 0 of layer 0 has 3");
    CHECK_TEXT(error.text, " with its overtones");
    desc.states = WCOH_STATES_DOUBLE;
    crowd = crowd_of(model, &desc);
    wcoh_crowd_destroy(crowd);
    wcoh_model_destroy(model);
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
    wcoh_session *a = session_on(model, WCOH_ISA_AUTO), *b = session_on(model, WCOH_ISA_AUTO);
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
        wcoh_session *session = session_on(model, WCOH_ISA_AUTO);
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

/* A file that has no hidden row, loaded by one that has heard, saved and loaded once more: it still has
   none, with room for a wave memory or without. */
static void saved_again_without(wcoh_model *model, const wcoh_io *old, int waves)
{
    wcoh_session_desc desc;
    wcoh_session *one = NULL, *two = NULL;
    wcoh_memory_file file;
    wcoh_io io = wcoh_io_memory(&file);
    memset(&desc, 0, sizeof desc);
    if (waves) desc.waves = WCOH_SWITCH_ON;
    CHECK(wcoh_session_create(&one, model, &desc, &error) == WCOH_OK);
    CHECK(wcoh_session_create(&two, model, &desc, &error) == WCOH_OK);
    CHECK(wcoh_session_step(one, 5, &error) == WCOH_OK);
    CHECK(wcoh_session_step(two, 5, &error) == WCOH_OK);
    file.used = 0;
    file.capacity = wcoh_session_file_size(one);
    file.data = (unsigned char *)malloc(file.capacity);
    CHECK_SAY(wcoh_session_load(one, old, &error) == WCOH_OK, "%s", error.text);
    CHECK_SAY(wcoh_session_save(one, &io, &error) == WCOH_OK, "%s", error.text);
    CHECK_SAY(wcoh_session_load(two, &io, &error) == WCOH_OK, "%s", error.text);
    CHECK(wcoh_session_hidden(one) == NULL && wcoh_session_hidden(two) == NULL);
    CHECK(same(wcoh_session_logits(one), wcoh_session_logits(two), 13));
    CHECK(wcoh_session_step(one, 3, NULL) == WCOH_OK && wcoh_session_step(two, 3, NULL) == WCOH_OK);
    CHECK(same(wcoh_session_hidden(one), wcoh_session_hidden(two), 16));
    free(file.data);
    wcoh_session_destroy(one);
    wcoh_session_destroy(two);
}

/* The files of version 0.2.0: what is not in them is not there, until it is heard anew. */
static void a_file_without_a_hidden_row_loads(void)
{
    wcoh_model *model = model_number(0);
    wcoh_session *a = session_on(model, WCOH_ISA_AUTO), *b = session_on(model, WCOH_ISA_AUTO);
    wcohi_engine *engine = &a->crowd.engine;
    uint32_t tokens[9], recent[WCOHI_RECENT] = {0};
    wcohi_member_view view;
    wcohi_contents contents;
    wcoh_memory_file file;
    wcoh_io io = file_open(&file);
    random_tokens(tokens, 9, 13, 8);
    CHECK(wcoh_session_prefill(a, tokens, 9, &error) == WCOH_OK);
    CHECK(wcoh_session_step(b, 3, &error) == WCOH_OK);
    wcohi_member_contents(&a->crowd, 0, 0, &view, &contents);
    view.states = (unsigned char *)malloc(wcohi_plan_saved(&engine->plan));
    view.recent = recent;
    engine->device->table->save_states(engine->exec, 0, view.states, NULL);
    CHECK_SAY(wcohi_save(&io, &contents, &error) == WCOH_OK, "%s", error.text);
    CHECK_SAY(wcoh_session_load(b, &io, &error) == WCOH_OK, "%s", error.text);
    CHECK(same(wcoh_session_logits(a), wcoh_session_logits(b), 13));
    CHECK(wcoh_session_hidden(b) == NULL);
    CHECK(wcoh_session_step(a, 3, &error) == WCOH_OK && wcoh_session_step(b, 3, NULL) == WCOH_OK);
    CHECK(same(wcoh_session_hidden(a), wcoh_session_hidden(b), 16));
    saved_again_without(model, &io, 0);
    saved_again_without(model, &io, 1);
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

/* ---- wave memories --------------------------------------------------------------------------- */

enum { WAVE_NUMBERS = 2 * 2 * 8 };

/* A session over `model` that hears HEARD symbols, with a memory or NULL; its logits stay valid. */
static wcoh_session *waves_session(wcoh_model *model, const wcoh_wave_memory *memory)
{
    wcoh_session_desc desc;
    wcoh_session *session = NULL;
    uint32_t symbols[HEARD];
    int t;
    memset(&desc, 0, sizeof desc);
    desc.waves = WCOH_SWITCH_ON;
    desc.prefill = 7;
    CHECK_SAY(wcoh_session_create(&session, model, &desc, &error) == WCOH_OK, "%s", error.text);
    for (t = 0; t < HEARD; t++) symbols[t] = symbol_of(1, t, 13);
    CHECK_SAY(wcoh_session_waves(session, memory, &error) == WCOH_OK, "%s", error.text);
    CHECK(wcoh_session_prefill(session, symbols, HEARD, &error) == WCOH_OK);
    return session;
}

static wcoh_wave_memory waves_random(const wcoh_model *model, float *values, size_t room, int seed)
{
    wcoh_wave_memory memory;
    wcoh_rng rng = wcoh_rng_seed((uint64_t)seed);
    size_t i;
    CHECK_SAY(wcoh_wave_memory_init(&memory, model, values, room, &error) == WCOH_OK, "%s",
              error.text);
    CHECK(memory.strength == 0.05 && memory.keep == 0.95 && memory.conversations == 0);
    for (i = 0; i < 2 * (size_t)memory.layers * (size_t)memory.bands; i++)
        values[i] = (float)wcoh_rng_normal(&rng);
    return memory;
}

static void a_memory_of_nothing_changes_no_bit(void)
{
    wcoh_model *model = model_number(0);
    float values[WAVE_NUMBERS];
    wcoh_wave_memory memory = waves_random(model, values, WAVE_NUMBERS, 1);
    wcoh_session *plain = session_on(model, WCOH_ISA_AUTO), *sessions[4];
    uint32_t symbols[HEARD];
    int t, i;
    for (t = 0; t < HEARD; t++) symbols[t] = symbol_of(1, t, 13);
    CHECK(wcoh_session_prefill(plain, symbols, HEARD, &error) == WCOH_OK);
    sessions[0] = waves_session(model, NULL);
    sessions[3] = waves_session(model, &memory);
    memory.strength = 0;
    sessions[1] = waves_session(model, &memory);
    memory.strength = 0.05;
    memset(values, 0, sizeof values);
    sessions[2] = waves_session(model, &memory);
    wcoh_session_reset(plain); /* its pieces, as those of the others */
    for (t = 0; t < HEARD; t += 7)
        wcoh_session_prefill(plain, symbols + t, (size_t)WCOHI_MIN(7, HEARD - t), &error);
    for (i = 0; i < 4; i++) {
        int alike = same(wcoh_session_logits(sessions[i]), wcoh_session_logits(plain), 13);
        CHECK_SAY(alike == (i < 3), "session %d", i);
        wcoh_session_destroy(sessions[i]);
    }
    wcoh_session_destroy(plain);
    wcoh_model_destroy(model);
}

/* With alpha = beta = 0 a band only turns and decays, so M moves what the first layer returns by
   e^-gamma e^{i omega} a M: 3e-7 of it, a float's rounding of numbers around 1. */
static void oscillators_start_with_strength_times_the_memory(void)
{
    wcoh_model *model = model_number(0);
    float values[WAVE_NUMBERS], with[WAVE_NUMBERS], without[WAVE_NUMBERS];
    wcoh_wave_memory memory = waves_random(model, values, WAVE_NUMBERS, 2), mean = memory;
    wcoh_session *session;
    wcoh_param p, gamma, omega;
    int i, k;
    for (i = 0; i < wcoh_model_param_count(model); i++)
        if (!wcoh_model_param(model, i, &p, NULL) &&
            (text_ends(p.name, ".alpha") || text_ends(p.name, ".beta")))
            p.data[0] = 0;
    wcoh_model_touch(model);
    i = wcoh_model_param_find(model, "blocks.0.ffn.kerr.gamma_raw");
    CHECK(wcoh_model_param(model, i, &gamma, &error) == WCOH_OK);
    i = wcoh_model_param_find(model, "blocks.0.ffn.kerr.omega");
    CHECK(wcoh_model_param(model, i, &omega, &error) == WCOH_OK);
    mean.keep = 0; /* replaces it */
    for (i = 0; i < 2; i++) {
        session = waves_session(model, i ? &memory : NULL);
        mean.values = i ? with : without;
        memset(mean.values, 0, sizeof with);
        CHECK(wcoh_session_impress(session, &mean, &error) == WCOH_OK);
        CHECK(mean.conversations == (uint32_t)i + 1);
        wcoh_session_destroy(session);
    }
    for (k = 0; k < 8; k++) {
        double raw = (double)gamma.data[k], turn = (double)omega.data[k];
        double factor = 0.05 * exp(-log1p(exp(raw))), re = values[2 * k], im = values[2 * k + 1];
        CHECK_NEAR(with[2 * k] - without[2 * k], factor * (re * cos(turn) - im * sin(turn)), 3e-7);
        CHECK_NEAR(with[2 * k + 1] - without[2 * k + 1], factor * (re * sin(turn) + im * cos(turn)),
                   3e-7);
    }
    wcoh_model_destroy(model);
}

/* The same conversation again and again: M = (1 - b^n) mean, whatever it is; so the energy grows as was
   published of twenty different ones (in percent, read off to a whole one, below 10 to a tenth). */
static void a_memory_approaches_the_mean(void)
{
    static const double published[] = {296, 123, 76, 55, 43, 35, 29, 25, 22, 20,
                                       18,  16,  15, 14, 13, 12, 11, 10, 9.7};
    double energy = 0, last;
    wcoh_model *model = model_number(0);
    float values[WAVE_NUMBERS] = {0}, mean[WAVE_NUMBERS], still[WAVE_NUMBERS];
    wcoh_wave_memory memory = waves_random(model, values, WAVE_NUMBERS, 3);
    wcoh_session *session = waves_session(model, NULL);
    int n, i, t;
    memory.values = mean;
    memory.keep = 0;
    CHECK(wcoh_session_impress(session, &memory, &error) == WCOH_OK);
    CHECK(wcoh_session_impress(session, &memory, &error) == WCOH_E_DATA);
    CHECK_TEXT(error.text, "nothing was heard yet");
    memset(values, 0, sizeof values);
    memory.values = values;
    memory.keep = 0.99;
    for (n = 1; n <= 20; n++) {
        wcoh_session_reset(session);
        for (t = 0; t < HEARD; t++) /* one by one: the means differ by their rounding */
            CHECK(wcoh_session_step(session, symbol_of(1, t, 13), &error) == WCOH_OK);
        CHECK(wcoh_session_impress(session, &memory, &error) == WCOH_OK);
        for (i = 0, last = energy, energy = 0; i < WAVE_NUMBERS; i++)
            energy += (double)values[i] * (double)values[i];
        if (n > 1) CHECK_NEAR(100 * (energy / last - 1), published[n - 2], n < 20 ? 0.6 : 0.06);
    }
    for (i = 0; i < WAVE_NUMBERS; i++)
        CHECK_NEAR(values[i], 0.18209306 * mean[i], 2e-6); /* 1 - 0.99^20; |mean| below 4 */
    memcpy(still, values, sizeof still);
    memory.keep = 1;
    CHECK(wcoh_session_step(session, 1, &error) == WCOH_OK);
    CHECK(wcoh_session_impress(session, &memory, &error) == WCOH_OK);
    CHECK(memcmp(values, still, sizeof still) == 0 && memory.conversations == 22);
    wcoh_session_destroy(session);
    wcoh_model_destroy(model);
}

/* Members with and without memories, in one step: each has the bits it has alone, and leaves the mean
   that a session leaves; a copy goes on as its original. */
static void members_have_memories_of_their_own(void)
{
    wcoh_model *model = model_number(0);
    wcoh_crowd_desc desc = crowd_desc(MEMBERS, WCOH_ISA_AUTO);
    float values[2][WAVE_NUMBERS], left[3][WAVE_NUMBERS];
    wcoh_wave_memory memories[2], mean;
    wcoh_crowd *crowd, *alone;
    wcoh_session *session;
    int m, id, t;
    desc.waves = WCOH_SWITCH_ON;
    CHECK(wcoh_crowd_member_size(model, &desc, NULL) > 12 * WAVE_NUMBERS);
    crowd = crowd_of(model, &desc);
    alone = crowd_of(model, &desc);
    for (m = 0; m < 2; m++) memories[m] = waves_random(model, values[m], WAVE_NUMBERS, 4 + m);
    join_all(crowd);
    for (m = 0; m < MEMBERS; m++)
        if (m % 3 < 2) CHECK(wcoh_crowd_waves(crowd, m, &memories[m % 3], &error) == WCOH_OK);
    walk(crowd, 0, HEARD, 13);
    for (m = 0; m < 3; m++) {
        CHECK(wcoh_crowd_join(alone, &id, &error) == WCOH_OK);
        if (m < 2) CHECK(wcoh_crowd_waves(alone, id, &memories[m], &error) == WCOH_OK);
        for (t = 0; t < HEARD; t++) {
            uint32_t symbol = symbol_of(m, t, 13);
            if ((m + t) % 3) wcoh_crowd_hear(alone, id, &symbol, 1, &error);
        }
        CHECK(same(wcoh_crowd_logits(crowd, m), wcoh_crowd_logits(alone, id), 13));
        CHECK(!m || !same(wcoh_crowd_logits(crowd, m), wcoh_crowd_logits(crowd, 0), 13));
    }
    session = waves_session(model, &memories[0]);
    wcoh_session_reset(session);
    for (t = 0; t < HEARD; t++)
        if (t % 3) wcoh_session_step(session, symbol_of(0, t, 13), &error);
    CHECK(apart(wcoh_crowd_logits(crowd, 0), wcoh_session_logits(session), 13) < 1e-5);
    CHECK(wcoh_crowd_copy(crowd, 5, 0, &error) == WCOH_OK);
    mean = memories[0];
    mean.keep = 0;
    for (m = 0; m < 3; m++) {
        mean.values = left[m];
        memset(left[m], 0, sizeof left[m]);
        if (m < 2) CHECK(wcoh_crowd_impress(crowd, m ? 5 : 0, &mean, &error) == WCOH_OK);
        else CHECK(wcoh_session_impress(session, &mean, &error) == WCOH_OK);
    }
    CHECK(memcmp(left[0], left[1], sizeof left[0]) == 0);
    for (t = 0; t < WAVE_NUMBERS; t++) CHECK_NEAR(left[0][t], left[2][t], 2e-6);
    walk(crowd, HEARD, HEARD + 1, 13);
    CHECK(!same(wcoh_crowd_logits(crowd, 1), wcoh_crowd_logits(alone, 1), 13));
    wcoh_session_destroy(session);
    wcoh_crowd_destroy(alone);
    wcoh_crowd_destroy(crowd);
    wcoh_model_destroy(model);
}

/* A file goes on as its session would: the memory it hears with and the mean so far are in it. */
static void a_file_holds_the_memory(void)
{
    static unsigned char saved[2][1 << 17];
    wcoh_model *model = model_number(0);
    float values[WAVE_NUMBERS], left[2][WAVE_NUMBERS];
    wcoh_wave_memory memory = waves_random(model, values, WAVE_NUMBERS, 5), mean = memory;
    wcoh_session *first = waves_session(model, &memory), *other = waves_session(model, NULL),
                 *plain = session_on(model, WCOH_ISA_AUTO);
    wcoh_memory_file blocks[2];
    wcoh_io io[2];
    int i;
    for (i = 0; i < 2; i++) {
        memset(&blocks[i], 0, sizeof blocks[i]);
        blocks[i].data = saved[i];
        blocks[i].capacity = sizeof saved[i];
        io[i] = wcoh_io_memory(&blocks[i]);
    }
    CHECK(wcoh_session_step(plain, 3, &error) == WCOH_OK);
    CHECK(wcoh_session_save(plain, &io[1], &error) == WCOH_OK);
    CHECK_SAY(wcoh_session_save(first, &io[0], &error) == WCOH_OK, "%s", error.text);
    CHECK(blocks[0].used <= wcoh_session_file_size(first));
    CHECK(wcoh_session_load(plain, &io[0], &error) == WCOH_E_MISMATCH);
    CHECK_TEXT(error.text, "the session in the file hears with a wave memory: this one was made "
                           "without waves");
    CHECK_SAY(wcoh_session_load(other, &io[0], &error) == WCOH_OK, "%s", error.text);
    mean.keep = 0;
    for (i = 0; i < 2; i++) {
        wcoh_session *session = i ? other : first;
        CHECK(wcoh_session_step(session, 4, &error) == WCOH_OK);
        mean.values = left[i];
        memset(left[i], 0, sizeof left[i]);
        CHECK(wcoh_session_impress(session, &mean, &error) == WCOH_OK);
    }
    CHECK(same(wcoh_session_logits(first), wcoh_session_logits(other), 13));
    CHECK(memcmp(left[0], left[1], sizeof left[0]) == 0);
    /* One that knows of no memory leaves the session's own, and nothing is summed up yet; and one
       whose memory is none can be loaded anywhere. */
    CHECK_SAY(wcoh_session_load(other, &io[1], &error) == WCOH_OK, "%s", error.text);
    CHECK(wcoh_session_impress(other, &mean, &error) == WCOH_E_DATA);
    CHECK(wcoh_session_waves(other, NULL, &error) == WCOH_OK);
    CHECK(wcoh_session_load(other, &io[1], &error) == WCOH_OK);
    blocks[0].used = 0;
    CHECK(wcoh_session_save(other, &io[0], &error) == WCOH_OK);
    CHECK_SAY(wcoh_session_load(plain, &io[0], &error) == WCOH_OK, "%s", error.text);
    CHECK(wcoh_session_step(other, 4, &error) == WCOH_OK);
    CHECK(wcoh_session_step(plain, 4, &error) == WCOH_OK);
    CHECK(same(wcoh_session_logits(plain), wcoh_session_logits(other), 13));
    wcoh_session_destroy(first);
    wcoh_session_destroy(other);
    wcoh_session_destroy(plain);
    wcoh_model_destroy(model);
}

/* Who takes the place of one with a memory hears with none, and so does who is loaded from its file:
   a number that is free again, and a session that another one is copied into. */
static void a_memory_goes_with_who_had_it(void)
{
    static unsigned char saved[1 << 17];
    wcoh_model *model = model_number(0);
    wcoh_crowd_desc desc = crowd_desc(2, WCOH_ISA_AUTO);
    float values[WAVE_NUMBERS];
    wcoh_wave_memory memory = waves_random(model, values, WAVE_NUMBERS, 7);
    wcoh_session *plain = session_on(model, WCOH_ISA_AUTO), *other = waves_session(model, NULL),
                 *session = waves_session(model, &memory);
    wcoh_memory_file block = {saved, sizeof saved, 0};
    wcoh_io io = wcoh_io_memory(&block);
    wcoh_crowd *crowd;
    uint32_t symbol = 3;
    int id, i;
    desc.waves = WCOH_SWITCH_ON;
    crowd = crowd_of(model, &desc);
    CHECK(wcoh_crowd_join(crowd, &id, &error) == WCOH_OK);
    CHECK(wcoh_crowd_waves(crowd, id, &memory, &error) == WCOH_OK);
    wcoh_crowd_leave(crowd, id);
    CHECK(wcoh_crowd_join(crowd, &id, &error) == WCOH_OK);
    CHECK(wcoh_crowd_hear(crowd, id, &symbol, 1, &error) == WCOH_OK);
    CHECK(wcoh_session_step(plain, symbol, &error) == WCOH_OK);
    CHECK(wcoh_session_copy(session, plain, &error) == WCOH_OK);
    for (i = 0; i < 2; i++) {
        block.used = 0;
        CHECK((i ? wcoh_session_save(session, &io, &error)
                 : wcoh_crowd_save(crowd, id, &io, &error)) == WCOH_OK);
        CHECK_SAY(wcoh_session_load(other, &io, &error) == WCOH_OK, "%s", error.text);
        CHECK(wcoh_session_step(other, 4, &error) == WCOH_OK);
        if (i == 0) CHECK(wcoh_session_step(plain, 4, &error) == WCOH_OK);
        CHECK(apart(wcoh_session_logits(plain), wcoh_session_logits(other), 13) < 1e-5);
    }
    wcoh_session_destroy(plain);
    wcoh_session_destroy(other);
    wcoh_session_destroy(session);
    wcoh_crowd_destroy(crowd);
    wcoh_model_destroy(model);
}

static void memories_that_do_not_belong_are_refused(void)
{
    wcoh_model *model = model_number(0), *other = model_number(1), *none;
    wcoh_model_desc desc = model_desc_of("vocab=13 bands=8 heads=2 layers=1 solver=none");
    float values[2 * 24 + WAVE_NUMBERS];
    wcoh_wave_memory memory = waves_random(other, values, sizeof values / sizeof *values, 6);
    wcoh_session *plain = session_on(model, WCOH_ISA_AUTO), *session = waves_session(model, NULL);
    wcoh_session_desc listening;
    unsigned char made[256];
    wcoh_memory_file block = {made, sizeof made, 0};
    wcoh_io io = wcoh_io_memory(&block);
    CHECK(wcoh_session_waves(session, &memory, &error) == WCOH_E_MISMATCH);
    CHECK_TEXT(error.text, "the wave memory has 1 layers of 24 bands, the model 2 of 8");
    CHECK(wcoh_wave_memory_init(&memory, model, values, WAVE_NUMBERS - 1, &error) ==
          WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "values has room for 31 numbers: 32 are needed");
    memory = waves_random(model, values, WAVE_NUMBERS, 6);
    CHECK(wcoh_session_waves(plain, &memory, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "it was made without room for a wave memory: set `waves`");
    CHECK(wcoh_session_waves(session, &memory, &error) == WCOH_OK);
    CHECK(wcoh_session_copy(plain, session, &error) == WCOH_E_MISMATCH);
    values[5] = (float)HUGE_VAL;
    CHECK(wcoh_session_waves(session, &memory, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "number 5 of the wave memory is not finite");
    values[5] = 3e38f;
    memory.strength = -1e10;
    CHECK(wcoh_session_waves(session, &memory, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "number 5 of the wave memory times its strength is not finite");
    memory.strength = 0.05;
    values[5] = 0;
    memory.keep = 1.5;
    CHECK(wcoh_session_impress(session, &memory, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "keep is 1.5: allowed are 0 to 1");
    memory.keep = 0.95;
    memory.strength = 1e39; /* a file would hold an infinity */
    CHECK(wcoh_session_waves(session, &memory, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "strength of the wave memory is no finite float");
    memory.strength = 0.05;
    memory.decay = -1e300;
    CHECK(wcoh_wave_memory_save(&memory, &io, &error) == WCOH_E_ARGUMENT && block.used == 0);
    CHECK_TEXT(error.text, "decay of the wave memory is no finite float");
    none = model_of(&desc);
    memset(&listening, 0, sizeof listening);
    listening.waves = WCOH_SWITCH_ON;
    CHECK(wcoh_session_size(none, &listening, &error) == 0);
    CHECK_TEXT(error.text, "a wave memory is for layers with oscillators: the model has none");
    wcoh_session_destroy(plain);
    wcoh_session_destroy(session);
    wcoh_model_destroy(none);
    wcoh_model_destroy(other);
    wcoh_model_destroy(model);
}

/* kerr-engine's files: 1,568 bytes for 3 layers of 64 bands; what is broken changes nothing. */
static void kwmf_files_come_back_and_are_believed_in_nothing(void)
{
    static unsigned char made[1600], again[1600];
    static float values[384], read[384];
    wcoh_memory_file block = {made, sizeof made, 0}, twin = {again, sizeof again, 0};
    wcoh_io io = wcoh_io_memory(&block), out = wcoh_io_memory(&twin);
    wcoh_wave_memory memory, loaded, before;
    static const struct {
        int at, value, size;
        const char *sentence;
    } broken[] = {
        {0, 'X', 1568, "it is no wave memory: it does not begin with KWMF"},
        {4, 2, 1568, "version 2 of KWMF is not known, version 1 is"},
        {8, 4, 1568, "it has 1568 bytes: 4 layers of 64 bands take 2080"},
        {8, 0, 1568, "0 layers of 64 bands: allowed are 1 to 1024 and 1 to 65536"},
        {0, 'K', 1567, "it has 1567 bytes: 3 layers of 64 bands take 1568"},
        {0, 'K', 31, "it has 31 bytes: a wave memory has 32 and more"},
        {27, 0x7f, 1568, "strength, decay or keep in the file is no number of a wave memory"},
        {1567, 0x7f, 1568, "number 383 in the file is not finite"},
    };
    size_t i;
    memset(&memory, 0, sizeof memory);
    memory.layers = 3;
    memory.bands = 64;
    memory.strength = 0.25;
    memory.decay = 0.5;
    memory.keep = 0.75;
    memory.conversations = 7;
    memory.values = values;
    for (i = 0; i < 384; i++) values[i] = (float)i;
    values[383] = -1.9921875f; /* 0xbfff0000: with 0x7f at the end it is no number */
    CHECK(wcoh_wave_memory_save(&memory, &io, &error) == WCOH_OK && block.used == 1568);
    CHECK(memcmp(made, "KWMF\1\0\0\0\3\0\0\0\100\0\0\0\0\0\200>\0\0\0?\0\0@?\7\0\0\0", 32) == 0);
    /* real parts first: number 1 is the real part of band 1, which stands third in memory */
    CHECK(memcmp(made + 36, "\0\0\0@", 4) == 0 && memcmp(made + 32 + 256, "\0\0\200?", 4) == 0);
    memset(&loaded, 0, sizeof loaded);
    CHECK(wcoh_wave_memory_load(&loaded, 0, &io, &error) == WCOH_OK); /* the header alone */
    CHECK(loaded.layers == 3 && loaded.bands == 64 && loaded.conversations == 7);
    loaded.values = read;
    CHECK(wcoh_wave_memory_load(&loaded, 383, &io, &error) == WCOH_E_MISMATCH);
    CHECK(wcoh_wave_memory_load(&loaded, 384, &io, &error) == WCOH_OK);
    CHECK(loaded.strength == 0.25 && loaded.decay == 0.5 && loaded.keep == 0.75);
    CHECK(memcmp(values, read, sizeof values) == 0);
    CHECK(wcoh_wave_memory_save(&loaded, &out, &error) == WCOH_OK && twin.used == 1568);
    CHECK(memcmp(made, again, 1568) == 0);
    before = loaded;
    for (i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        memcpy(made, again, 1568);
        made[broken[i].at] = (unsigned char)broken[i].value;
        block.used = (size_t)broken[i].size;
        CHECK(wcoh_wave_memory_load(&loaded, 384, &io, &error) == WCOH_E_FORMAT);
        CHECK_TEXT(error.text, broken[i].sentence);
        CHECK(memcmp(&loaded, &before, sizeof loaded) == 0);
        CHECK(memcmp(values, read, sizeof values) == 0);
    }
    memory.keep = -1;
    twin.used = 0;
    CHECK(wcoh_wave_memory_save(&memory, &out, &error) == WCOH_E_ARGUMENT && twin.used == 0);
}

/* A crowd with a member 0 who has heard something, and `more` free numbers. */
static wcoh_crowd *heard_something(wcoh_model *model, int more)
{
    wcoh_crowd_desc desc = crowd_desc(1 + more, WCOH_ISA_AUTO);
    wcoh_crowd *crowd;
    uint32_t symbols[] = {1, 5, 2, 7, 7, 3};
    int id;
    desc.batch = 8;
    crowd = crowd_of(model, &desc);
    CHECK(wcoh_crowd_join(crowd, &id, NULL) == WCOH_OK && id == 0);
    CHECK(wcoh_crowd_hear(crowd, 0, symbols, 6, NULL) == WCOH_OK);
    return crowd;
}

/* -log p of symbols, of one after the other. */
static double nats_of(wcoh_crowd *crowd, const uint32_t *symbols, int count)
{
    double nats = 0;
    wcoh_real p[13];
    int id, i;
    CHECK(wcoh_crowd_join(crowd, &id, NULL) == WCOH_OK);
    CHECK(wcoh_crowd_copy(crowd, id, 0, NULL) == WCOH_OK);
    for (i = 0; i < count; i++) {
        CHECK(wcoh_crowd_probabilities(crowd, id, p, NULL) == WCOH_OK);
        nats -= log((double)p[symbols[i]]);
        CHECK(wcoh_crowd_hear(crowd, id, symbols + i, 1, NULL) == WCOH_OK);
    }
    wcoh_crowd_leave(crowd, id);
    return nats;
}

/* As wide as there are pairs of symbols it finds them all: each once, the likeliest first, with the
   probabilities that steps one by one give (1e-5: floats), which make 1. */
static void a_wide_beam_finds_every_continuation(void)
{
    int k;
    for (k = 0; k < 9; k += 2) {
        wcoh_model *model = model_number(k);
        wcoh_crowd *crowd = heard_something(model, 170);
        static uint32_t symbols[169][2];
        static wcoh_continuation found[169];
        unsigned char seen[169] = {0};
        wcoh_real before[13];
        wcoh_beam_desc desc;
        double sum = 0;
        int i, count = 0, wrong = 0;
        memset(&desc, 0, sizeof desc);
        desc.width = 169;
        desc.length = 2;
        memcpy(before, wcoh_crowd_logits(crowd, 0), sizeof before);
        CHECK_SAY(wcoh_crowd_continue(crowd, 0, &desc, symbols[0], found, &count, &error) ==
                      WCOH_OK,
                  "%s", error.text);
        CHECK(count == 169);
        for (i = 0; i < count; i++) {
            sum += exp(-found[i].nats);
            wrong += found[i].length != 2 || found[i].stopped;
            wrong += i > 0 && found[i].nats < found[i - 1].nats;
            wrong += seen[symbols[i][0] * 13 + symbols[i][1]]++;
            if (i % 20 == 0) CHECK_NEAR(found[i].nats, nats_of(crowd, symbols[i], 2), 1e-5);
        }
        CHECK(wrong == 0);
        CHECK_NEAR(sum, 1, 1e-5);
        CHECK(wcoh_crowd_count(crowd) == 1 && wcoh_crowd_position(crowd, 0) == 6);
        CHECK(same(before, wcoh_crowd_logits(crowd, 0), 13));
        wcoh_crowd_destroy(crowd);
        wcoh_model_destroy(model);
    }
}

/* A narrow one goes the greedy way; a wider one's best is no worse, and what it says of each is so. */
static void beams_tell_the_truth(void)
{
    wcoh_model *model = model_number(0);
    wcoh_crowd *crowd = heard_something(model, 6);
    uint32_t symbols[5][9], token = 0;
    wcoh_continuation found[5];
    wcoh_beam_desc desc;
    wcoh_sample_desc greedy;
    double narrow;
    int id, i, count = 0;
    memset(&desc, 0, sizeof desc);
    memset(&greedy, 0, sizeof greedy);
    desc.width = 1;
    desc.length = 9;
    CHECK(wcoh_crowd_continue(crowd, 0, &desc, symbols[0], found, &count, &error) == WCOH_OK);
    wcoh_crowd_join(crowd, &id, NULL);
    CHECK(wcoh_crowd_copy(crowd, id, 0, NULL) == WCOH_OK);
    for (i = 0; i < 9; i++) {
        CHECK(wcoh_crowd_sample(crowd, id, &greedy, NULL, &token, NULL) == WCOH_OK);
        CHECK(count == 1 && token == symbols[0][i]);
        CHECK(wcoh_crowd_hear(crowd, id, &token, 1, NULL) == WCOH_OK);
    }
    CHECK(wcoh_crowd_ends_with(crowd, id, symbols[0], 9));
    CHECK(wcoh_crowd_ends_with(crowd, id, symbols[0] + 7, 2));
    CHECK(!wcoh_crowd_ends_with(crowd, id, symbols[0], 8) || symbols[0][0] == symbols[0][1]);
    CHECK(!wcoh_crowd_ends_with(crowd, id, symbols[0], 0));
    wcoh_crowd_leave(crowd, id);
    narrow = found[0].nats;
    CHECK_NEAR(narrow, nats_of(crowd, symbols[0], 9), 1e-5 * narrow);
    desc.width = 5;
    CHECK(wcoh_crowd_continue(crowd, 0, &desc, symbols[0], found, &count, &error) == WCOH_OK);
    CHECK(count == 5 && found[0].nats <= narrow + 1e-6);
    for (i = 0; i < 5; i++) CHECK_NEAR(found[i].nats, nats_of(crowd, symbols[i], 9), 1e-5 * narrow);
    wcoh_crowd_destroy(crowd);
    wcoh_model_destroy(model);
}

/* A stop sequence of the two symbols that the greedy way begins with ends one after them. */
static void continuations_stop_and_keep_the_rules(void)
{
    wcoh_model *model = model_number(0);
    wcoh_crowd *crowd = heard_something(model, 4);
    uint32_t symbols[4][6], stop[2];
    wcoh_continuation found[4];
    unsigned char allowed[13];
    wcoh_beam_desc desc;
    int i, k, stopped = 0, count = 0, wrong = 0;
    memset(&desc, 0, sizeof desc);
    memset(allowed, 0, sizeof allowed);
    desc.width = 4;
    desc.length = 6;
    CHECK(wcoh_crowd_continue(crowd, 0, &desc, symbols[0], found, &count, &error) == WCOH_OK);
    memcpy(stop, symbols[0], sizeof stop);
    desc.stop = stop;
    desc.stop_count = 2;
    CHECK(wcoh_crowd_continue(crowd, 0, &desc, symbols[0], found, &count, &error) == WCOH_OK);
    for (i = 0; i < count; i++) {
        stopped += found[i].stopped;
        for (k = 1; k < found[i].length; k++)
            if (symbols[i][k - 1] == stop[0] && symbols[i][k] == stop[1])
                wrong += !found[i].stopped || k + 1 != found[i].length;
        wrong += !found[i].stopped && found[i].length != 6;
    }
    CHECK(wrong == 0 && stopped > 0);
    CHECK(found[0].stopped && found[0].length == 2); /* more symbols are never likelier */
    allowed[3] = allowed[8] = 1;
    desc.stop_count = 0;
    desc.length = 1;
    desc.allowed = allowed;
    CHECK(wcoh_crowd_continue(crowd, 0, &desc, symbols[0], found, &count, &error) == WCOH_OK);
    CHECK(count == 2 && symbols[0][0] + symbols[0][1] == 11); /* rows of one symbol */
    wcoh_crowd_destroy(crowd);
    wcoh_model_destroy(model);
}

static void bad_beams_are_refused(void)
{
    wcoh_model *model = model_number(7); /* 64 learned positions */
    wcoh_crowd *crowd = heard_something(model, 4);
    static uint32_t symbols[4 * 90];
    wcoh_continuation found[4];
    unsigned char none[13] = {0};
    uint32_t stop = 13;
    wcoh_beam_desc desc;
    int id = 0, count = 0;
    memset(&desc, 0, sizeof desc);
    desc.length = 3;
    CHECK(wcoh_crowd_continue(crowd, 0, &desc, symbols, found, &count, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "width is 0: allowed are 1 to 256");
    desc.width = 5;
    CHECK(wcoh_crowd_continue(crowd, 0, &desc, symbols, found, &count, &error) == WCOH_E_MEMORY);
    CHECK_TEXT(error.text, "width is 5: of the crowd's 5 numbers 4 are free");
    desc.width = 4;
    desc.length = 0;
    CHECK(wcoh_crowd_continue(crowd, 0, &desc, symbols, found, &count, &error) == WCOH_E_ARGUMENT);
    desc.length = 90;
    CHECK(wcoh_crowd_continue(crowd, 0, &desc, symbols, found, &count, &error) == WCOH_E_CONTEXT);
    CHECK(wcoh_crowd_count(crowd) == 1);
    desc.length = 3;
    desc.allowed = none;
    CHECK(wcoh_crowd_continue(crowd, 0, &desc, symbols, found, &count, &error) == WCOH_E_NUMERIC);
    CHECK_TEXT(error.text, "no symbol is allowed");
    desc.allowed = NULL;
    desc.stop = &stop;
    desc.stop_count = 1;
    CHECK(wcoh_crowd_continue(crowd, 0, &desc, symbols, found, &count, &error) == WCOH_E_TOKEN);
    desc.stop_count = 0;
    CHECK(wcoh_crowd_continue(crowd, 2, &desc, symbols, found, &count, &error) == WCOH_E_ARGUMENT);
    wcoh_crowd_join(crowd, &id, NULL);
    desc.width = 3;
    CHECK(wcoh_crowd_continue(crowd, id, &desc, symbols, found, &count, &error) == WCOH_E_DATA);
    CHECK(wcoh_crowd_continue(crowd, 0, &desc, symbols, found, &count, &error) == WCOH_OK);
    wcoh_crowd_destroy(crowd);
    wcoh_model_destroy(model);
}

int main(void)
{
    RUN(a_member_is_a_session);
    RUN(bits_do_not_depend_on_the_company);
    RUN(a_crowd_follows_its_model);
    RUN(members_come_and_go_and_are_saved);
    RUN(files_of_members_are_files_of_sessions);
    RUN(bad_steps_say_so_and_change_nothing);
    RUN(float_states_are_for_the_cpu);
    RUN(states_hold_just_their_terms);
    RUN(gains_that_grow_find_room_or_say_so);
    RUN(float_states_keep_their_promise);
    RUN(float_states_refuse_large_gains);
    RUN(float_states_refuse_large_overtones);
    RUN(nothing_is_allocated_after_creation);
    RUN(members_draw_by_themselves);
    RUN(the_window_is_as_long_as_it_says);
    RUN(surprises_are_logs_of_probabilities);
    RUN(logits_are_made_of_the_hidden_row);
    RUN(a_file_without_a_hidden_row_loads);
    RUN(only_what_is_allowed_is_drawn);
    RUN(a_wide_beam_finds_every_continuation);
    RUN(beams_tell_the_truth);
    RUN(continuations_stop_and_keep_the_rules);
    RUN(bad_beams_are_refused);
    RUN(a_memory_of_nothing_changes_no_bit);
    RUN(oscillators_start_with_strength_times_the_memory);
    RUN(a_memory_approaches_the_mean);
    RUN(members_have_memories_of_their_own);
    RUN(a_file_holds_the_memory);
    RUN(a_memory_goes_with_who_had_it);
    RUN(memories_that_do_not_belong_are_refused);
    RUN(kwmf_files_come_back_and_are_believed_in_nothing);
    return test_end();
}

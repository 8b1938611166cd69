/* NULL in every place of every public function: a pointer that a call needs is WCOH_E_ARGUMENT, one
   that may be left out is left out, a function without a result answers as for no elements. The
   list of functions comes from the headers: one that is not walked here, or a pointer of it that
   was never NULL, fails. */
#if defined(__has_include)
#if __has_include(<vulkan/vulkan_core.h>)
#define HAS_VULKAN
#endif
#endif

#define WAVECOH_IMPLEMENTATION
#ifdef HAS_VULKAN
#include "../wavecoh_vk.h"
#else
#include "../wavecoh.h"
#endif
#include "test.h"
#include "support.h"

/* ---- what was called ------------------------------------------------------------------------- */

enum { MOST_CALLS = 2000 };
static struct {
    const char *function, *arguments; /* as they stand in this file */
} calls[MOST_CALLS];
static int call_count;

static void note(const char *function, const char *arguments)
{
    if (!CHECK(call_count < MOST_CALLS)) return;
    calls[call_count].function = function;
    calls[call_count++].arguments = arguments;
}

/* The call, whatever it returns, and a note of it. */
#define CALL(function, ...) (note(#function, #__VA_ARGS__), function(__VA_ARGS__))

static wcoh_error error;

/* WCOH_E_ARGUMENT with a sentence that says what is missing, and without a place for the sentence.
   The wcoh_error is not among the arguments here. */
#define REFUSE(function, ...)                                                                      \
    do {                                                                                           \
        memset(&error, 0, sizeof error);                                                           \
        note(#function, #__VA_ARGS__);                                                             \
        CHECK_SAY(function(__VA_ARGS__, &error) == WCOH_E_ARGUMENT, "%s(%s): %s", #function,       \
                  #__VA_ARGS__, error.text);                                                       \
        CHECK(error.code == WCOH_E_ARGUMENT && *error.text);                                       \
        CHECK(function(__VA_ARGS__, NULL) == WCOH_E_ARGUMENT);                                     \
    } while (0)

/* What may be left out. */
#define ALLOW(function, ...)                                                                       \
    do {                                                                                           \
        memset(&error, 0, sizeof error);                                                           \
        note(#function, #__VA_ARGS__);                                                             \
        CHECK_SAY(function(__VA_ARGS__, &error) == WCOH_OK, "%s(%s): %s", #function, #__VA_ARGS__, \
                  error.text);                                                                     \
    } while (0)

/* ---- what there is to call ------------------------------------------------------------------- */

static char *header_text(const char *name)
{
    static char text[1 << 22];
    char path[512];
    const char *slash = strrchr(__FILE__, '/');
    FILE *file;
    size_t size;
    snprintf(path, sizeof path, "%.*s../%s", slash ? (int)(slash + 1 - __FILE__) : 0, __FILE__,
             name);
    file = fopen(path, "rb");
    if (!CHECK_SAY(file != NULL, "%s cannot be opened", path)) return NULL;
    size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = 0;
    return text;
}

/* Blanks in place of comments, so that declarations alone are left. */
static void drop_comments(char *text)
{
    char *end;
    while ((text = strstr(text, "/*")) != NULL && (end = strstr(text, "*/")) != NULL)
        memset(text, ' ', (size_t)(end + 2 - text)), text = end + 2;
}

static const char *skip_blanks(const char *text) { return text + strspn(text, " \n"); }

/* Item `index` of a list "a, f(b, c), d"; its length, 0 past the end. */
static int list_item(const char *list, int index, const char **item)
{
    int depth = 0;
    *item = list = skip_blanks(list);
    for (; *list && depth >= 0; list++) {
        if (*list == '(') depth++;
        if (*list == ')') depth--;
        if (depth == 0 && *list == ',') {
            if (index-- == 0) return (int)(list - *item);
            *item = skip_blanks(list + 1);
        }
    }
    if (index > 0) return 0;
    return (int)(list - *item) - (depth < 0);
}

static int item_has(const char *item, int length, const char *part)
{
    const char *found = strstr(item, part);
    return found && found < item + length;
}

/* A pointer to be given, or not: all but the wcoh_error and what is handed on unseen. */
static int is_pointer(const char *parameter, int length)
{
    if (item_has(parameter, length, "wcoh_error *") || item_has(parameter, length, "void *user"))
        return 0;
    return item_has(parameter, length, "*") || item_has(parameter, length, "[") ||
           item_has(parameter, length, "wcoh_inspector");
}

static int was_null(const char *function, int index)
{
    const char *item;
    int i;
    for (i = 0; i < call_count; i++)
        if (strcmp(calls[i].function, function) == 0 &&
            list_item(calls[i].arguments, index, &item) == 4 && memcmp(item, "NULL", 4) == 0)
            return 1;
    return 0;
}

/* A declaration from its name on: every pointer of it must have been NULL in some call. */
static void check_walked(const char *declaration)
{
    char name[128];
    const char *list = strchr(declaration, '('), *parameter;
    int i, length;
    snprintf(name, sizeof name, "%.*s", (int)(list - declaration), declaration);
    for (i = 0; (length = list_item(list + 1, i, &parameter)) > 0; i++)
        if (is_pointer(parameter, length))
            CHECK_SAY(was_null(name, i), "%s: no call here with NULL for \"%.*s\"", name, length,
                      parameter);
}

/* Walk what `header` declares before the line `end`; how many functions. */
static int check_header(const char *header, const char *end)
{
    static const char mark[] = "\nWCOH_API ";
    char *text = header_text(header), *stop = text ? strstr(text, end) : NULL;
    int count = 0;
    if (!CHECK(stop != NULL)) return 0;
    *stop = 0;
    drop_comments(text);
    while ((text = strstr(text, mark)) != NULL) {
        const char *name;
        text += sizeof mark - 1;
        name = strchr(text, '(');
        while (name && name > text && name[-1] != ' ' && name[-1] != '*') name--;
        if (CHECK(name != NULL)) check_walked(name);
        count++;
    }
    return count;
}

/* ---- what the calls need --------------------------------------------------------------------- */

static wcoh_model *model;
static wcoh_trainer *trainer;
static wcoh_session *session;
static uint32_t tokens[64], token;
static const size_t ends[2] = {0, 64};
static const char path[] = "test_null.safetensors";
static unsigned char bytes[1 << 18];
static wcoh_memory_file block = {bytes, sizeof bytes, 0};
static wcoh_io file; /* of block */

static void open_objects(void)
{
    wcoh_model_desc desc = model_desc_of("vocab=7 bands=4 layers=1 heads=2 maestro=2");
    wcoh_trainer_desc training;
    wcoh_session_desc listening;
    memset(&training, 0, sizeof training);
    memset(&listening, 0, sizeof listening);
    training.batch = 2;
    training.seq = 4;
    training.cpu.threads = 1;
    listening.waves = WCOH_SWITCH_ON;
    model = model_of(&desc);
    random_tokens(tokens, 64, 7, 1);
    CHECK(wcoh_trainer_create(&trainer, model, &training, &error) == WCOH_OK);
    CHECK(wcoh_trainer_set_data(trainer, tokens, 64, tokens, 64, &error) == WCOH_OK);
    CHECK(wcoh_session_create(&session, model, &listening, &error) == WCOH_OK);
    file = wcoh_io_memory(&block);
}

static void close_objects(void)
{
    wcoh_session_destroy(session);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    remove(path);
}

/* An io without one of the functions that the call needs. */
static wcoh_io io_without(int reading)
{
    wcoh_io io = file;
    if (reading) io.read = NULL;
    else io.write = NULL;
    return io;
}

/* ---- the walk -------------------------------------------------------------------------------- */

static void settings_need_their_pointers(void)
{
    wcoh_model_desc desc = model_desc_of("vocab=7");
    char text[8];
    CHECK(CALL(wcoh_fields, WCOH_DESC_MODEL, NULL) != NULL);
    REFUSE(wcoh_field_set, WCOH_DESC_MODEL, NULL, "bands", "4");
    REFUSE(wcoh_field_set, WCOH_DESC_MODEL, &desc, NULL, "4");
    REFUSE(wcoh_field_set, WCOH_DESC_MODEL, &desc, "bands", NULL);
    CHECK(CALL(wcoh_field_get, WCOH_DESC_MODEL, NULL, "vocab", text, 8) == -1);
    CHECK(CALL(wcoh_field_get, WCOH_DESC_MODEL, &desc, NULL, text, 8) == -1);
    CHECK(CALL(wcoh_field_get, WCOH_DESC_MODEL, &desc, "vocab", NULL, 8) == -1);
    CHECK(CALL(wcoh_field_get, WCOH_DESC_MODEL, &desc, "vocab", NULL, 0) == 1);
}

static void model_calls_need_their_pointers(void)
{
    wcoh_model_desc desc = model_desc_of("vocab=7");
    wcoh_model *made = model;
    wcoh_param param;
    REFUSE(wcoh_model_desc_resolve, NULL);
    CHECK(CALL(wcoh_model_size, NULL, &error) == 0 && error.code == WCOH_E_ARGUMENT);
    CHECK(CALL(wcoh_model_size, NULL, NULL) == 0);
    REFUSE(wcoh_model_create, NULL, &desc);
    REFUSE(wcoh_model_create, &made, NULL);
    CHECK(made == NULL);
    CALL(wcoh_model_destroy, NULL);
    CHECK(CALL(wcoh_model_get_desc, NULL) == NULL);
    CHECK(CALL(wcoh_model_tokenizer, NULL) == NULL);
    CHECK(CALL(wcoh_model_param_count, NULL) == 0);
    REFUSE(wcoh_model_param, NULL, 0, &param);
    REFUSE(wcoh_model_param, model, 0, NULL);
    CHECK(CALL(wcoh_model_param_find, NULL, "embed.weight") == -1);
    CHECK(CALL(wcoh_model_param_find, model, NULL) == -1);
    CHECK(CALL(wcoh_model_trained_count, NULL) == 0);
    REFUSE(wcoh_model_copy, NULL, model);
    REFUSE(wcoh_model_copy, model, NULL);
    CALL(wcoh_model_touch, NULL);
    CHECK(CALL(wcoh_model_pack, NULL, &error) == WCOH_E_ARGUMENT);
}

static void device_calls_need_their_pointers(void)
{
    wcoh_device *device = NULL;
    wcoh_cpu_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.threads = 1;
    REFUSE(wcoh_cpu_device_create, NULL, &desc, NULL);
    REFUSE(wcoh_cpu_device_create, &device, NULL, NULL);
    CHECK(device == NULL);
    ALLOW(wcoh_cpu_device_create, &device, &desc, NULL);
    wcoh_device_destroy(device);
    CALL(wcoh_device_destroy, NULL);
}

static void trainer_calls_need_their_pointers(void)
{
    static const wcoh_stage stage = {1, 0, 1, 0};
    const wcoh_model_desc *desc = wcoh_model_get_desc(model);
    const wcoh_sequences sequences = {1, ends, tokens};
    wcoh_trainer_desc training;
    wcoh_trainer *made = trainer;
    wcoh_stats stats;
    wcoh_op_time took;
    double loss;
    int count;
    memset(&training, 0, sizeof training);
    REFUSE(wcoh_trainer_desc_resolve, NULL, desc);
    ALLOW(wcoh_trainer_desc_resolve, &training, NULL);
    CHECK(CALL(wcoh_trainer_size, NULL, &training, &error) == 0 && error.code == WCOH_E_ARGUMENT);
    CHECK(CALL(wcoh_trainer_size, desc, NULL, NULL) == 0);
    REFUSE(wcoh_trainer_create, NULL, model, &training);
    REFUSE(wcoh_trainer_create, &made, NULL, &training);
    REFUSE(wcoh_trainer_create, &made, model, NULL);
    CHECK(made == NULL);
    CALL(wcoh_trainer_destroy, NULL);
    CHECK(CALL(wcoh_trainer_get_desc, NULL) == NULL);
    REFUSE(wcoh_trainer_set_data, NULL, tokens, 64, tokens, 64);
    REFUSE(wcoh_trainer_set_data, trainer, NULL, 64, tokens, 64);
    ALLOW(wcoh_trainer_set_data, trainer, tokens, 64, NULL, 0);
    REFUSE(wcoh_trainer_set_stages, NULL, &stage, 1);
    REFUSE(wcoh_trainer_set_stages, trainer, NULL, 1);
    ALLOW(wcoh_trainer_set_stages, trainer, NULL, 0);
    CHECK(CALL(wcoh_trainer_get_stages, NULL, NULL) == 0);
    CHECK(CALL(wcoh_trainer_get_stages, trainer, NULL) == 0);
    REFUSE(wcoh_trainer_set_sequences, NULL, &sequences, &sequences);
    REFUSE(wcoh_trainer_set_sequences, trainer, NULL, &sequences);
    ALLOW(wcoh_trainer_set_sequences, trainer, &sequences, NULL);
    REFUSE(wcoh_model_freeze, NULL, "*", 0);
    REFUSE(wcoh_model_freeze, model, NULL, 1);
    REFUSE(wcoh_trainer_feed, NULL, tokens, 4);
    REFUSE(wcoh_trainer_feed, trainer, NULL, 4);
    CALL(wcoh_trainer_feed_end, NULL);
    CHECK(CALL(wcoh_trainer_fed, NULL) == 0);
    REFUSE(wcoh_trainer_learn, NULL, tokens, 4, 1, &stats);
    REFUSE(wcoh_trainer_learn, trainer, NULL, 4, 1, &stats);
    ALLOW(wcoh_trainer_learn, trainer, tokens, 4, 0, NULL);
    REFUSE(wcoh_trainer_step, NULL, &stats);
    REFUSE(wcoh_trainer_profile, NULL, 1, &took, &count);
    REFUSE(wcoh_trainer_profile, trainer, 1, NULL, &count);
    REFUSE(wcoh_trainer_profile, trainer, 1, &took, NULL);
    ALLOW(wcoh_trainer_step, trainer, NULL);
    REFUSE(wcoh_trainer_run, NULL, 1.0, &stats);
    ALLOW(wcoh_trainer_run, trainer, 0.1, NULL);
    REFUSE(wcoh_trainer_gradient, NULL, tokens, tokens, 1, 4, &loss);
    REFUSE(wcoh_trainer_gradient, trainer, NULL, tokens, 1, 4, &loss);
    REFUSE(wcoh_trainer_gradient, trainer, tokens, NULL, 1, 4, &loss);
    ALLOW(wcoh_trainer_gradient, trainer, tokens, tokens, 1, 4, NULL);
    REFUSE(wcoh_trainer_update, NULL, &stats);
    ALLOW(wcoh_trainer_update, trainer, NULL);
    REFUSE(wcoh_trainer_loss, NULL, tokens, tokens, 1, 4, &loss);
    REFUSE(wcoh_trainer_loss, trainer, NULL, tokens, 1, 4, &loss);
    REFUSE(wcoh_trainer_loss, trainer, tokens, NULL, 1, 4, &loss);
    REFUSE(wcoh_trainer_loss, trainer, tokens, tokens, 1, 4, NULL);
    CHECK(CALL(wcoh_trainer_param_gradient, NULL, 0) == NULL);
    CHECK(wcoh_trainer_set_data(trainer, tokens, 64, tokens, 64, &error) == WCOH_OK);
    REFUSE(wcoh_trainer_evaluate, NULL, &loss);
    REFUSE(wcoh_trainer_evaluate, trainer, NULL);
    REFUSE(wcoh_trainer_set, NULL, "lr", "0.001");
    REFUSE(wcoh_trainer_set, trainer, NULL, "0.001");
    REFUSE(wcoh_trainer_set, trainer, "lr", NULL);
    REFUSE(wcoh_trainer_finish, NULL, 5);
    CALL(wcoh_trainer_best_kept, NULL);
    CHECK(CALL(wcoh_trainer_notice, NULL) == NULL);
    CALL(wcoh_trainer_stats, trainer, NULL);
    CALL(wcoh_trainer_stats, NULL, &stats);
    CHECK(stats.step == 0);
    REFUSE(wcoh_trainer_set_losses, NULL, NULL, 0);
    REFUSE(wcoh_trainer_sync, NULL);
    REFUSE(wcoh_trainer_mean, NULL, 1);
}

static void evaluation_needs_its_pointers(void)
{
    const wcoh_sequences sequences = {1, ends, tokens};
    wcoh_eval_desc desc;
    double loss;
    size_t scored;
    memset(&desc, 0, sizeof desc);
    desc.seq = 4;
    REFUSE(wcoh_model_evaluate, NULL, &desc, tokens, 64, &loss, &scored);
    REFUSE(wcoh_model_evaluate, model, NULL, tokens, 64, &loss, &scored);
    REFUSE(wcoh_model_evaluate, model, &desc, NULL, 64, &loss, &scored);
    REFUSE(wcoh_model_evaluate, model, &desc, tokens, 64, NULL, &scored);
    ALLOW(wcoh_model_evaluate, model, &desc, tokens, 64, &loss, NULL);
    REFUSE(wcoh_model_evaluate_sequences, NULL, &desc, &sequences, &loss, &scored);
    REFUSE(wcoh_model_evaluate_sequences, model, NULL, &sequences, &loss, &scored);
    REFUSE(wcoh_model_evaluate_sequences, model, &desc, NULL, &loss, &scored);
    REFUSE(wcoh_model_evaluate_sequences, model, &desc, &sequences, NULL, &scored);
    ALLOW(wcoh_model_evaluate_sequences, model, &desc, &sequences, &loss, NULL);
}

static void session_calls_need_their_pointers(void)
{
    wcoh_session_desc desc;
    wcoh_sample_desc sampling;
    wcoh_rng rng = wcoh_rng_seed(1);
    wcoh_session *made = session;
    wcoh_real chances[7];
    double nats, surprises[4];
    memset(&desc, 0, sizeof desc);
    memset(&sampling, 0, sizeof sampling);
    CHECK(CALL(wcoh_session_size, NULL, &desc, &error) == 0 && error.code == WCOH_E_ARGUMENT);
    CHECK(CALL(wcoh_session_size, model, NULL, NULL) == 0);
    REFUSE(wcoh_session_create, NULL, model, &desc);
    REFUSE(wcoh_session_create, &made, NULL, &desc);
    REFUSE(wcoh_session_create, &made, model, NULL);
    CHECK(made == NULL);
    CALL(wcoh_session_destroy, NULL);
    CALL(wcoh_session_reset, NULL);
    REFUSE(wcoh_session_step, NULL, 0);
    REFUSE(wcoh_session_prefill, NULL, tokens, 4);
    REFUSE(wcoh_session_prefill, session, NULL, 4);
    ALLOW(wcoh_session_prefill, session, NULL, 0);
    REFUSE(wcoh_session_score, NULL, tokens, 4, &nats);
    REFUSE(wcoh_session_score, session, NULL, 4, &nats);
    REFUSE(wcoh_session_score, session, tokens, 4, NULL);
    CHECK(wcoh_session_position(session) == 0);
    CHECK(CALL(wcoh_session_logits, NULL) == NULL);
    CHECK(CALL(wcoh_session_hidden, NULL) == NULL);
    CHECK(CALL(wcoh_session_position, NULL) == 0);
    REFUSE(wcoh_session_probabilities, NULL, chances);
    REFUSE(wcoh_session_probabilities, session, NULL);
    REFUSE(wcoh_session_surprise, NULL, tokens, 4, surprises);
    REFUSE(wcoh_session_surprise, session, NULL, 4, surprises);
    REFUSE(wcoh_session_surprise, session, tokens, 4, NULL);
    ALLOW(wcoh_session_surprise, session, NULL, 0, NULL);
    REFUSE(wcoh_session_copy, NULL, session);
    REFUSE(wcoh_session_copy, session, NULL);
    CHECK(wcoh_session_step(session, 1, &error) == WCOH_OK);
    REFUSE(wcoh_session_sample, NULL, &sampling, &rng, &token);
    REFUSE(wcoh_session_sample, session, NULL, &rng, &token);
    REFUSE(wcoh_session_sample, session, &sampling, &rng, NULL);
    ALLOW(wcoh_session_sample, session, &sampling, NULL, &token);
    sampling.temperature = 1;
    REFUSE(wcoh_session_sample, session, &sampling, NULL, &token);
}

static void wave_calls_need_their_pointers(wcoh_crowd *crowd, int id)
{
    float values[8];
    wcoh_wave_memory waves;
    REFUSE(wcoh_wave_memory_init, NULL, model, values, 8);
    REFUSE(wcoh_wave_memory_init, &waves, NULL, values, 8);
    REFUSE(wcoh_wave_memory_init, &waves, model, NULL, 8);
    CHECK(wcoh_wave_memory_init(&waves, model, values, 8, &error) == WCOH_OK);
    REFUSE(wcoh_session_waves, NULL, &waves);
    ALLOW(wcoh_session_waves, session, NULL);
    REFUSE(wcoh_crowd_waves, NULL, id, &waves);
    ALLOW(wcoh_crowd_waves, crowd, id, NULL);
    REFUSE(wcoh_session_impress, NULL, &waves);
    REFUSE(wcoh_session_impress, session, NULL);
    REFUSE(wcoh_crowd_impress, NULL, id, &waves);
    REFUSE(wcoh_crowd_impress, crowd, id, NULL);
    block.used = 0;
    REFUSE(wcoh_wave_memory_save, NULL, &file);
    REFUSE(wcoh_wave_memory_save, &waves, NULL);
    block.used = 0;
    CHECK(wcoh_wave_memory_save(&waves, &file, &error) == WCOH_OK);
    REFUSE(wcoh_wave_memory_load, NULL, 8, &file);
    REFUSE(wcoh_wave_memory_load, &waves, 8, NULL);
#ifndef WAVECOH_NO_STDIO
    REFUSE(wcoh_wave_memory_save_file, NULL, path);
    REFUSE(wcoh_wave_memory_save_file, &waves, NULL);
    REFUSE(wcoh_wave_memory_load_file, NULL, 8, path);
    REFUSE(wcoh_wave_memory_load_file, &waves, 8, NULL);
#endif
}

static void beams_need_their_pointers(wcoh_crowd *crowd, int id)
{
    wcoh_beam_desc beam;
    wcoh_continuation found;
    uint32_t symbol;
    int count = 0;
    memset(&beam, 0, sizeof beam);
    beam.width = beam.length = 1;
    CHECK(CALL(wcoh_session_ends_with, NULL, tokens, 1) == 0);
    CHECK(CALL(wcoh_session_ends_with, session, NULL, 1) == 0);
    CHECK(CALL(wcoh_crowd_ends_with, NULL, id, tokens, 1) == 0);
    CHECK(CALL(wcoh_crowd_ends_with, crowd, id, NULL, 1) == 0);
    CHECK(wcoh_crowd_hear(crowd, id, tokens, 1, &error) == WCOH_OK);
    REFUSE(wcoh_crowd_continue, NULL, id, &beam, &symbol, &found, &count);
    REFUSE(wcoh_crowd_continue, crowd, id, NULL, &symbol, &found, &count);
    REFUSE(wcoh_crowd_continue, crowd, id, &beam, NULL, &found, &count);
    REFUSE(wcoh_crowd_continue, crowd, id, &beam, &symbol, NULL, &count);
    REFUSE(wcoh_crowd_continue, crowd, id, &beam, &symbol, &found, NULL);
}

static void crowd_calls_need_their_pointers(void)
{
    wcoh_crowd_desc desc;
    wcoh_sample_desc sampling;
    wcoh_rng rng = wcoh_rng_seed(1);
    wcoh_crowd *crowd, *made;
    wcoh_real chances[7];
    int id = 0;
    memset(&desc, 0, sizeof desc);
    memset(&sampling, 0, sizeof sampling);
    desc.members = 2;
    desc.waves = WCOH_SWITCH_ON;
    CHECK(wcoh_crowd_create(&crowd, model, &desc, &error) == WCOH_OK);
    made = crowd;
    CHECK(CALL(wcoh_crowd_size, NULL, &desc, &error) == 0 && error.code == WCOH_E_ARGUMENT);
    CHECK(CALL(wcoh_crowd_size, model, NULL, NULL) == 0);
    CHECK(CALL(wcoh_crowd_member_size, NULL, &desc, NULL) == 0);
    CHECK(CALL(wcoh_crowd_member_size, model, NULL, NULL) == 0);
    REFUSE(wcoh_crowd_create, NULL, model, &desc);
    REFUSE(wcoh_crowd_create, &made, NULL, &desc);
    REFUSE(wcoh_crowd_create, &made, model, NULL);
    CHECK(made == NULL);
    CALL(wcoh_crowd_destroy, NULL);
    REFUSE(wcoh_crowd_join, NULL, &id);
    REFUSE(wcoh_crowd_join, crowd, NULL);
    CALL(wcoh_crowd_leave, NULL, 0);
    CALL(wcoh_crowd_reset, NULL, 0);
    CHECK(CALL(wcoh_crowd_count, NULL) == 0);
    CHECK(wcoh_crowd_join(crowd, &id, &error) == WCOH_OK);
    REFUSE(wcoh_crowd_step, NULL, &id, tokens, 1);
    REFUSE(wcoh_crowd_step, crowd, NULL, tokens, 1);
    REFUSE(wcoh_crowd_step, crowd, &id, NULL, 1);
    REFUSE(wcoh_crowd_hear, NULL, id, tokens, 1);
    REFUSE(wcoh_crowd_hear, crowd, id, NULL, 1);
    ALLOW(wcoh_crowd_hear, crowd, id, NULL, 0);
    CHECK(CALL(wcoh_crowd_logits, NULL, 0) == NULL);
    CHECK(CALL(wcoh_crowd_hidden, NULL, 0) == NULL);
    CHECK(CALL(wcoh_crowd_position, NULL, 0) == 0);
    beams_need_their_pointers(crowd, id);
    REFUSE(wcoh_crowd_probabilities, NULL, id, chances);
    REFUSE(wcoh_crowd_probabilities, crowd, id, NULL);
    REFUSE(wcoh_crowd_copy, NULL, 0, 0);
    CHECK(wcoh_crowd_hear(crowd, id, tokens, 1, &error) == WCOH_OK);
    wave_calls_need_their_pointers(crowd, id);
    REFUSE(wcoh_crowd_sample, NULL, id, &sampling, &rng, tokens);
    REFUSE(wcoh_crowd_sample, crowd, id, NULL, &rng, tokens);
    REFUSE(wcoh_crowd_sample, crowd, id, &sampling, &rng, NULL);
    ALLOW(wcoh_crowd_sample, crowd, id, &sampling, NULL, tokens);
    block.used = 0;
    REFUSE(wcoh_crowd_save, NULL, id, &file);
    REFUSE(wcoh_crowd_save, crowd, id, NULL);
    CHECK(wcoh_crowd_save(crowd, id, &file, &error) == WCOH_OK);
    REFUSE(wcoh_crowd_load, NULL, id, &file);
    REFUSE(wcoh_crowd_load, crowd, id, NULL);
    CHECK(CALL(wcoh_crowd_file_size, NULL, id) == 0);
    REFUSE(wcoh_crowd_save_file, NULL, id, path);
    REFUSE(wcoh_crowd_save_file, crowd, id, NULL);
    REFUSE(wcoh_crowd_load_file, NULL, id, path);
    REFUSE(wcoh_crowd_load_file, crowd, id, NULL);
    block.used = 0;
    wcoh_crowd_destroy(crowd);
}

static void sampling_needs_its_pointers(void)
{
    const wcoh_real logits[2] = {1, 2};
    const uint32_t recent[1] = {0};
    float scratch[4];
    wcoh_sample_desc desc;
    memset(&desc, 0, sizeof desc);
    CHECK(CALL(wcoh_rng_next, NULL) == 0);
    CHECK(CALL(wcoh_rng_uniform, NULL) == 0);
    CHECK(CALL(wcoh_rng_normal, NULL) == 0);
    REFUSE(wcoh_sample_desc_check, NULL, 2);
    REFUSE(wcoh_sample, NULL, NULL, logits, 2, recent, 1, scratch, &token);
    REFUSE(wcoh_sample, &desc, NULL, NULL, 2, recent, 1, scratch, &token);
    REFUSE(wcoh_sample, &desc, NULL, logits, 2, NULL, 1, scratch, &token);
    REFUSE(wcoh_sample, &desc, NULL, logits, 2, recent, 1, NULL, &token);
    REFUSE(wcoh_sample, &desc, NULL, logits, 2, recent, 1, scratch, NULL);
    ALLOW(wcoh_sample, &desc, NULL, logits, 2, NULL, 0, scratch, &token);
    desc.bias_count = 1; /* and no bias */
    REFUSE(wcoh_sample_desc_check, &desc, 2);
}

static void tokenizer_calls_need_their_pointers(void)
{
    wcoh_tokenizer *tokenizer = NULL;
    wcoh_tokenizer_desc desc;
    size_t count = 9;
    char letter[4];
    wcoh_decoder decoder;
    wcoh_tokenizer *none = NULL;
    memset(&decoder, 0, sizeof decoder);
    memset(&desc, 0, sizeof desc);
    REFUSE(wcoh_tokenizer_create, NULL, &desc, "ab", 2);
    REFUSE(wcoh_tokenizer_create, &tokenizer, NULL, "ab", 2);
    ALLOW(wcoh_tokenizer_create, &tokenizer, &desc, NULL, 0); /* bytes need no text */
    wcoh_tokenizer_destroy(tokenizer);
    REFUSE(wcoh_tokenizer_create_bytes, NULL, NULL);
    REFUSE(wcoh_tokenizer_create_chars, NULL, "ab", 2, NULL);
    REFUSE(wcoh_tokenizer_create_chars, &tokenizer, NULL, 2, NULL);
    CHECK(tokenizer == NULL);
    ALLOW(wcoh_tokenizer_create_chars, &tokenizer, "ab", 2, NULL);
    CALL(wcoh_tokenizer_destroy, NULL);
    CHECK(CALL(wcoh_tokenizer_get_kind, NULL) == WCOH_TOKENIZER_BYTES);
    CHECK(CALL(wcoh_tokenizer_vocab, NULL) == 0);
    CHECK(CALL(wcoh_tokenizer_characters, NULL) == 0);
    CHECK(CALL(wcoh_tokenizer_start, NULL) == -1);
    REFUSE(wcoh_tokenizer_encode, NULL, "ab", 2, tokens, 2, &count);
    REFUSE(wcoh_tokenizer_encode, tokenizer, NULL, 2, tokens, 2, &count);
    REFUSE(wcoh_tokenizer_encode, tokenizer, "ab", 2, NULL, 2, &count);
    CHECK(count == 0);
    ALLOW(wcoh_tokenizer_encode, tokenizer, "ab", 2, tokens, 2, NULL);
    ALLOW(wcoh_tokenizer_encode, tokenizer, "ab", 2, NULL, 0, &count);
    CHECK(count == 2);
    CHECK(CALL(wcoh_tokenizer_decode, NULL, 0, letter, 4) == 0);
    CHECK(CALL(wcoh_tokenizer_decode, tokenizer, 0, NULL, 4) == 0);
    CHECK(CALL(wcoh_tokenizer_decode, tokenizer, 0, NULL, 0) == 1);
    CHECK(CALL(wcoh_tokenizer_longest, NULL) == 0);
    REFUSE(wcoh_tokenizer_create_json, NULL, "{}", 2, NULL);
    REFUSE(wcoh_tokenizer_create_json, &none, NULL, 2, NULL);
    CHECK(none == NULL);
    CHECK(CALL(wcoh_tokenizer_json, NULL, &count) == NULL && count == 0);
    CHECK(CALL(wcoh_tokenizer_json, tokenizer, NULL) == NULL);
    CHECK(CALL(wcoh_tokenizer_find, NULL, "a", 1) == -1);
    CHECK(CALL(wcoh_tokenizer_find, tokenizer, NULL, 1) == -1);
    CHECK(CALL(wcoh_tokenizer_find, tokenizer, "b", 1) == 1);
    CHECK(CALL(wcoh_tokenizer_special, NULL, 0) == 0);
    CHECK(CALL(wcoh_decoder_next, NULL, tokenizer, 0, letter, 4) == 0);
    CHECK(CALL(wcoh_decoder_next, &decoder, NULL, 0, letter, 4) == 0);
    CHECK(CALL(wcoh_decoder_next, &decoder, tokenizer, 0, NULL, 4) == 0);
    CHECK(CALL(wcoh_decoder_end, NULL, letter, 4) == 0);
    CHECK(CALL(wcoh_decoder_end, &decoder, NULL, 4) == 0);
    wcoh_tokenizer_destroy(tokenizer);
}

static void files_of_models_need_their_pointers(void)
{
    wcoh_io blank = CALL(wcoh_io_memory, NULL), unread = io_without(1), unwritten = io_without(0);
    wcoh_model *made = model;
    CHECK(!blank.read && !blank.write && !blank.size);
    REFUSE(wcoh_model_save, NULL, &file);
    REFUSE(wcoh_model_save, model, NULL);
    REFUSE(wcoh_model_save, model, &unwritten);
    REFUSE(wcoh_model_save_as, NULL, WCOH_WEIGHTS_I8, &file);
    REFUSE(wcoh_model_save_as, model, WCOH_WEIGHTS_I8, NULL);
    CHECK(CALL(wcoh_model_size_as, NULL, WCOH_WEIGHTS_I8) == 0);
    REFUSE(wcoh_model_save_note, NULL, "note", &file);
    REFUSE(wcoh_model_save_note, model, NULL, &file);
    REFUSE(wcoh_model_save_note, model, "note", NULL);
    CHECK(wcoh_model_save(model, &file, &error) == WCOH_OK);
    REFUSE(wcoh_model_load, NULL, &file, NULL);
    REFUSE(wcoh_model_load, &made, NULL, NULL);
    REFUSE(wcoh_model_load, &made, &unread, NULL);
    REFUSE(wcoh_model_load, &made, &blank, NULL);
    CHECK(made == NULL);
    ALLOW(wcoh_model_load, &made, &file, NULL);
    wcoh_model_destroy(made);
    REFUSE(wcoh_model_read, NULL, &file);
    REFUSE(wcoh_model_read, model, NULL);
    CHECK(CALL(wcoh_model_file_size, NULL) == 0);
    block.used = 0;
}

static void files_of_trainers_and_sessions_need_their_pointers(void)
{
    wcoh_trainer_desc desc;
    REFUSE(wcoh_trainer_save, NULL, &file);
    REFUSE(wcoh_trainer_save, trainer, NULL);
    CHECK(wcoh_trainer_save(trainer, &file, &error) == WCOH_OK);
    REFUSE(wcoh_trainer_resume, NULL, &file);
    REFUSE(wcoh_trainer_resume, trainer, NULL);
    REFUSE(wcoh_trainer_read_desc, NULL, &file);
    REFUSE(wcoh_trainer_read_desc, &desc, NULL);
    CHECK(CALL(wcoh_trainer_file_size, NULL) == 0);
    block.used = 0;
    REFUSE(wcoh_session_save, NULL, &file);
    REFUSE(wcoh_session_save, session, NULL);
    CHECK(wcoh_session_save(session, &file, &error) == WCOH_OK);
    REFUSE(wcoh_session_load, NULL, &file);
    REFUSE(wcoh_session_load, session, NULL);
    CHECK(CALL(wcoh_session_file_size, NULL) == 0);
    block.used = 0;
}

static void paths_need_their_pointers(void)
{
    wcoh_model *made = model;
    wcoh_trainer_desc desc;
    REFUSE(wcoh_path_check, NULL);
    REFUSE(wcoh_path_save, NULL, "text", 4);
    REFUSE(wcoh_path_save, path, NULL, 4);
    REFUSE(wcoh_model_save_file, NULL, path);
    REFUSE(wcoh_model_save_file, model, NULL);
    REFUSE(wcoh_model_save_as_file, NULL, WCOH_WEIGHTS_I8, path);
    REFUSE(wcoh_model_save_as_file, model, WCOH_WEIGHTS_I8, NULL);
    REFUSE(wcoh_model_save_note_file, NULL, "note", path);
    REFUSE(wcoh_model_save_note_file, model, NULL, path);
    REFUSE(wcoh_model_save_note_file, model, "note", NULL);
    REFUSE(wcoh_model_save_as_file, NULL, WCOH_WEIGHTS_I8, path);
    REFUSE(wcoh_model_save_as_file, model, WCOH_WEIGHTS_I8, NULL);
    REFUSE(wcoh_model_load_file, NULL, path, NULL);
    REFUSE(wcoh_model_load_file, &made, NULL, NULL);
    CHECK(made == NULL);
    REFUSE(wcoh_model_read_file, NULL, path);
    REFUSE(wcoh_model_read_file, model, NULL);
    REFUSE(wcoh_trainer_save_file, NULL, path);
    REFUSE(wcoh_trainer_save_file, trainer, NULL);
    REFUSE(wcoh_trainer_resume_file, NULL, path);
    REFUSE(wcoh_trainer_resume_file, trainer, NULL);
    REFUSE(wcoh_trainer_read_desc_file, NULL, path);
    REFUSE(wcoh_trainer_read_desc_file, &desc, NULL);
    REFUSE(wcoh_session_save_file, NULL, path);
    REFUSE(wcoh_session_save_file, session, NULL);
    REFUSE(wcoh_session_load_file, NULL, path);
    REFUSE(wcoh_session_load_file, session, NULL);
}

static void tensors_need_their_pointers(void)
{
    wcoh_tensors *tensors = NULL;
    wcoh_tensor_info info;
    float values[8];
    CHECK(wcoh_model_save_file(model, path, &error) == WCOH_OK);
    CHECK(wcoh_model_save(model, &file, &error) == WCOH_OK);
    REFUSE(wcoh_tensors_open, NULL, &file, NULL);
    REFUSE(wcoh_tensors_open, &tensors, NULL, NULL);
    REFUSE(wcoh_tensors_open_file, NULL, path, NULL);
    REFUSE(wcoh_tensors_open_file, &tensors, NULL, NULL);
    CHECK(tensors == NULL);
    ALLOW(wcoh_tensors_open_file, &tensors, path, NULL);
    CALL(wcoh_tensors_close, NULL);
    CHECK(CALL(wcoh_tensors_count, NULL) == 0);
    REFUSE(wcoh_tensors_info, NULL, 0, &info);
    REFUSE(wcoh_tensors_info, tensors, 0, NULL);
    CHECK(CALL(wcoh_tensors_find, NULL, "head.weight") == -1);
    CHECK(CALL(wcoh_tensors_find, tensors, NULL) == -1);
    REFUSE(wcoh_tensors_read, NULL, 0, 0, 1, values);
    REFUSE(wcoh_tensors_read, tensors, 0, 0, 1, NULL);
    CHECK(CALL(wcoh_tensors_metadata, NULL, "model.bands") == NULL);
    CHECK(CALL(wcoh_tensors_metadata, tensors, NULL) == NULL);
    wcoh_tensors_close(tensors);
    block.used = 0;
}

static void relations_of_nothing_are_nothing(void)
{
    const uint64_t moduli[1] = {3};
    const double phases[2] = {0, 1};
    wcoh_grids grids;
    CHECK(CALL(wcoh_reach, 0.0, 1.0, NULL, 3, 0.5) == 0);
    CHECK(CALL(wcoh_conjunction, NULL, 3) == 1); /* the product of none */
    CALL(wcoh_sweep, 0.0, 1.0, NULL, 3);
    CHECK(CALL(wcoh_profile, NULL, 3, 1, 0.5).max_abs == 0);
    CHECK(CALL(wcoh_fundamental, NULL, 3, 4, 0.5) == 0);
    CHECK(CALL(wcoh_resultant, NULL, 3, 1, NULL) == 0);
    CHECK_NEAR(CALL(wcoh_resultant, phases, 2, 1, NULL), cos(0.5), 1e-15);
    CALL(wcoh_harmonic_vector, 1.0, NULL, 3);
    REFUSE(wcoh_grids_of, NULL, moduli, 1);
    REFUSE(wcoh_grids_of, &grids, NULL, 1);
}

static void circle_calls_need_their_pointers(void)
{
    const double phase = 1;
    wcoh_circle *circle = NULL, *loaded = NULL;
    wcoh_circle_query query;
    wcoh_circle_hit hit;
    wcoh_circle_desc desc;
    uint64_t slot;
    size_t count, examined;
    double phases[2];
    memset(&query, 0, sizeof query);
    memset(&desc, 0, sizeof desc);
    REFUSE(wcoh_circle_create, NULL, &desc);
    ALLOW(wcoh_circle_create, &circle, NULL);
    CALL(wcoh_circle_destroy, NULL);
    REFUSE(wcoh_circle_insert, NULL, &phase, &slot);
    REFUSE(wcoh_circle_insert, circle, NULL, &slot);
    ALLOW(wcoh_circle_insert, circle, &phase, NULL);
    CHECK(CALL(wcoh_circle_remove, NULL, 0) == 0);
    REFUSE(wcoh_circle_update, NULL, 0, &phase);
    REFUSE(wcoh_circle_update, circle, 0, NULL);
    CHECK(CALL(wcoh_circle_count, NULL) == 0);
    CHECK(CALL(wcoh_circle_slots, NULL) == 0);
    CHECK(CALL(wcoh_circle_get_desc, NULL) == NULL);
    CHECK(CALL(wcoh_circle_phases, NULL, 0, phases) == 0);
    CHECK(CALL(wcoh_circle_phases, circle, 0, NULL) == 0);
    REFUSE(wcoh_circle_find, NULL, &query, &hit, 1, &count, &examined);
    REFUSE(wcoh_circle_find, circle, NULL, &hit, 1, &count, &examined);
    ALLOW(wcoh_circle_find, circle, &query, NULL, 1, NULL, NULL);
    REFUSE(wcoh_circle_save, NULL, &file);
    REFUSE(wcoh_circle_save, circle, NULL);
    REFUSE(wcoh_circle_save_file, NULL, path);
    REFUSE(wcoh_circle_save_file, circle, NULL);
    CHECK(wcoh_circle_save(circle, &file, &error) == WCOH_OK);
    REFUSE(wcoh_circle_load, NULL, &file, NULL);
    REFUSE(wcoh_circle_load, &loaded, NULL, NULL);
    REFUSE(wcoh_circle_load_file, NULL, path, NULL);
    REFUSE(wcoh_circle_load_file, &loaded, NULL, NULL);
    CHECK(loaded == NULL);
    wcoh_circle_destroy(circle);
    block.used = 0;
}

static void dft_calls_need_their_pointers(void)
{
    const float vector[2] = {1, 2};
    double x[2] = {1, 2}, amplitude[2], phase[2];
    wcoh_complex bins[2];
    wcoh_dft *dft = NULL;
    REFUSE(wcoh_dft_create, NULL, 2, NULL);
    ALLOW(wcoh_dft_create, &dft, 2, NULL);
    CALL(wcoh_dft_destroy, NULL);
    CHECK(CALL(wcoh_dft_length, NULL) == 0);
    CHECK(CALL(wcoh_dft_bins, NULL) == 0);
    CALL(wcoh_dft_forward, NULL, x, bins);
    CALL(wcoh_dft_forward, dft, NULL, bins);
    CALL(wcoh_dft_forward, dft, x, NULL);
    CALL(wcoh_dft_inverse, NULL, bins, x);
    CALL(wcoh_dft_inverse, dft, NULL, x);
    CALL(wcoh_dft_inverse, dft, bins, NULL);
    CALL(wcoh_packet_dft, NULL, vector, amplitude, phase);
    CALL(wcoh_packet_dft, dft, NULL, amplitude, phase);
    CALL(wcoh_packet_dft, dft, vector, NULL, phase);
    CALL(wcoh_packet_dft, dft, vector, amplitude, NULL);
    wcoh_dft_destroy(dft);
}

static void spectral_calls_need_their_pointers(void)
{
    const float vectors[8] = {1, 2, 3, 4, 4, 3, 2, 1};
    const uint32_t pairs[2] = {0, 1};
    wcoh_spectral_desc desc;
    wcoh_spectral *spectral = NULL;
    wcoh_figure bands[2];
    memset(&desc, 0, sizeof desc);
    desc.dimensions = 4;
    desc.bands = 2;
    desc.draws = 2;
    desc.cpu.threads = 1;
    REFUSE(wcoh_spectral_create, NULL, &desc);
    REFUSE(wcoh_spectral_create, &spectral, NULL);
    CHECK(wcoh_spectral_create(&spectral, &desc, &error) == WCOH_OK);
    CALL(wcoh_spectral_destroy, NULL);
    CHECK(CALL(wcoh_spectral_get_desc, NULL) == NULL);
    REFUSE(wcoh_spectral_pairs, NULL, vectors, 2, pairs, 1, NULL, bands, NULL, NULL);
    REFUSE(wcoh_spectral_pairs, spectral, NULL, 2, pairs, 1, NULL, bands, NULL, NULL);
    REFUSE(wcoh_spectral_pairs, spectral, vectors, 2, NULL, 1, NULL, bands, NULL, NULL);
    ALLOW(wcoh_spectral_pairs, spectral, vectors, 2, pairs, 1, NULL, NULL, NULL, NULL);
    REFUSE(wcoh_spectral_energy, NULL, vectors, 2, bands);
    REFUSE(wcoh_spectral_energy, spectral, NULL, 2, bands);
    REFUSE(wcoh_spectral_energy, spectral, vectors, 2, NULL);
    wcoh_spectral_destroy(spectral);
}

static void packets_of_nothing_are_nothing(void)
{
    const float vector[2] = {1, 2};
    double a[2] = {1, 2}, b[2] = {0, 0}, order[2];
    uint8_t mask[2];
    CHECK(CALL(wcoh_packet_resonance, NULL, b, a, b, 2, NULL) == 0);
    CHECK(CALL(wcoh_packet_resonance, a, NULL, a, b, 2, NULL) == 0);
    CHECK(CALL(wcoh_packet_resonance, a, b, NULL, b, 2, NULL) == 0);
    CHECK(CALL(wcoh_packet_resonance, a, b, a, NULL, 2, NULL) == 0);
    CALL(wcoh_packet_sign, NULL, 2, a, b);
    CALL(wcoh_packet_sign, vector, 2, NULL, b);
    CALL(wcoh_packet_sign, vector, 2, a, NULL);
    CHECK(CALL(wcoh_packet_strongest, NULL, 2, 50.0, order, mask) == 0);
    CHECK(CALL(wcoh_packet_strongest, a, 2, 50.0, NULL, mask) == 0);
    CHECK(CALL(wcoh_packet_strongest, a, 2, 50.0, order, NULL) == 0);
}

static void resonance_calls_need_their_pointers(void)
{
    const float vector[4] = {1, 2, 3, 4};
    wcoh_resonance_desc desc;
    wcoh_resonance *store = NULL, *loaded = NULL;
    wcoh_resonance_query query;
    wcoh_resonance_hit hits[10];
    double amplitude[4], phase[4];
    int found;
    memset(&desc, 0, sizeof desc);
    memset(&query, 0, sizeof query);
    desc.dimensions = 4;
    desc.cpu.threads = 1;
    REFUSE(wcoh_resonance_create, NULL, &desc);
    REFUSE(wcoh_resonance_create, &store, NULL);
    CHECK(wcoh_resonance_create(&store, &desc, &error) == WCOH_OK);
    CALL(wcoh_resonance_destroy, NULL);
    CHECK(CALL(wcoh_resonance_get_desc, NULL) == NULL);
    CHECK(CALL(wcoh_resonance_count, NULL) == 0);
    CHECK(CALL(wcoh_resonance_bins, NULL) == 0);
    CHECK(CALL(wcoh_resonance_bytes, NULL) == 0);
    REFUSE(wcoh_resonance_add, NULL, vector, NULL, 1);
    REFUSE(wcoh_resonance_add, store, NULL, NULL, 1);
    ALLOW(wcoh_resonance_add, store, vector, NULL, 1);
    REFUSE(wcoh_resonance_find, NULL, &query, vector, NULL, hits, &found);
    REFUSE(wcoh_resonance_find, store, &query, NULL, NULL, hits, &found);
    REFUSE(wcoh_resonance_find, store, &query, vector, NULL, NULL, &found);
    REFUSE(wcoh_resonance_find, store, &query, vector, NULL, hits, NULL);
    ALLOW(wcoh_resonance_find, store, NULL, vector, NULL, hits, &found);
    REFUSE(wcoh_resonance_get, NULL, 0, amplitude, phase);
    REFUSE(wcoh_resonance_get, store, 0, NULL, phase);
    REFUSE(wcoh_resonance_get, store, 0, amplitude, NULL);
    REFUSE(wcoh_resonance_save, NULL, &file);
    REFUSE(wcoh_resonance_save, store, NULL);
    REFUSE(wcoh_resonance_save_file, NULL, path);
    REFUSE(wcoh_resonance_save_file, store, NULL);
    CHECK(wcoh_resonance_save(store, &file, &error) == WCOH_OK);
    CHECK(wcoh_resonance_save_file(store, path, &error) == WCOH_OK);
    REFUSE(wcoh_resonance_load, NULL, &file, 0, 0, NULL, NULL);
    REFUSE(wcoh_resonance_load, &loaded, NULL, 0, 0, NULL, NULL);
    REFUSE(wcoh_resonance_load_file, NULL, path, 0, 0, NULL, NULL);
    REFUSE(wcoh_resonance_load_file, &loaded, NULL, 0, 0, NULL, NULL);
    CHECK(loaded == NULL);
    ALLOW(wcoh_resonance_load, &loaded, &file, 0, 0, NULL, NULL);
    wcoh_resonance_destroy(loaded);
    ALLOW(wcoh_resonance_load_file, &loaded, path, 0, 0, NULL, NULL);
    wcoh_resonance_destroy(loaded);
    wcoh_resonance_destroy(store);
    block.used = 0;
}

static void heard(int layer, const wcoh_real *hidden, const float *maps, void *user)
{
    (void)layer, (void)hidden, (void)maps, (void)user;
}

static void measures_need_their_pointers(void)
{
    const float map[4] = {1, 0, 0.5f, 0.5f};
    wcoh_map_figures map_figures;
    wcoh_matrix_figures figures;
    wcoh_wave wave;
    double centroids[2];
    REFUSE(wcoh_map_measure, NULL, map, 2, WCOH_MAP_CAUSAL, NULL, centroids);
    REFUSE(wcoh_map_measure, &map_figures, NULL, 2, WCOH_MAP_CAUSAL, NULL, centroids);
    ALLOW(wcoh_map_measure, &map_figures, map, 2, WCOH_MAP_CAUSAL, NULL, NULL);
    CHECK(CALL(wcoh_heads_measure, NULL, 1, 2, NULL).rows == 0);
    CHECK(CALL(wcoh_collapse_of, NULL, 3).layer == -1);
    REFUSE(wcoh_model_wave, NULL, 0, 0, &wave);
    REFUSE(wcoh_model_wave, model, 0, 0, NULL);
    REFUSE(wcoh_model_inspect, NULL, tokens, 4, NULL, NULL, heard, NULL);
    REFUSE(wcoh_model_inspect, model, NULL, 4, NULL, NULL, heard, NULL);
    REFUSE(wcoh_model_inspect, model, tokens, 4, NULL, NULL, NULL, NULL);
    ALLOW(wcoh_model_inspect, model, tokens, 4, NULL, NULL, heard, NULL);
    REFUSE(wcoh_model_inspect_oscillators, NULL, tokens, 4, NULL, NULL, heard, NULL);
    REFUSE(wcoh_model_inspect_oscillators, model, NULL, 4, NULL, NULL, heard, NULL);
    REFUSE(wcoh_model_inspect_oscillators, model, tokens, 4, NULL, NULL, NULL, NULL);
    ALLOW(wcoh_model_inspect_oscillators, model, tokens, 4, NULL, NULL, heard, NULL);
    REFUSE(wcoh_matrix_measure, NULL, map, 2, 2, NULL, NULL);
    REFUSE(wcoh_matrix_measure, &figures, NULL, 2, 2, NULL, NULL);
    ALLOW(wcoh_matrix_measure, &figures, map, 2, 2, NULL, NULL);
}

#ifdef HAS_VULKAN
static void vulkan_calls_need_their_pointers(void) /* no driver is opened */
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(model);
    wcoh_trainer_desc training;
    wcoh_vk_bytes needed;
    wcoh_vk_info info;
    char text[64];
    int count;
    memset(&training, 0, sizeof training);
    REFUSE(wcoh_vk_device_list, NULL, &info, 1, NULL);
    REFUSE(wcoh_vk_device_list, NULL, NULL, 1, &count);
    REFUSE(wcoh_vk_device_create, NULL, NULL);
    REFUSE(wcoh_vk_instance_create, NULL, NULL);
    CALL(wcoh_vk_instance_destroy, NULL);
    REFUSE(wcoh_vk_trainer_bytes, NULL, desc, &training, &needed);
    REFUSE(wcoh_vk_tune, NULL, desc, &training, 1.0, text, sizeof text);
    CALL(wcoh_vk_device_info, NULL, NULL);
    memset(&info, 0xff, sizeof info);
    CALL(wcoh_vk_device_info, NULL, &info);
    CHECK(info.usable == 0 && info.name[0] == 0);
}

static void nothing_is_known_of_a_device_that_is_not_vulkans(void)
{
    wcoh_device *device = NULL;
    wcoh_cpu_desc desc;
    wcoh_trainer_desc training;
    wcoh_vk_bytes needed;
    wcoh_vk_info info;
    char text[64];
    memset(&desc, 0, sizeof desc);
    memset(&training, 0, sizeof training);
    desc.threads = 1;
    CHECK(wcoh_cpu_device_create(&device, &desc, NULL, &error) == WCOH_OK);
    REFUSE(wcoh_vk_trainer_bytes, device, NULL, &training, &needed);
    REFUSE(wcoh_vk_trainer_bytes, device, wcoh_model_get_desc(model), NULL, &needed);
    REFUSE(wcoh_vk_trainer_bytes, device, wcoh_model_get_desc(model), &training, NULL);
    REFUSE(wcoh_vk_trainer_bytes, device, wcoh_model_get_desc(model), &training, &needed);
    REFUSE(wcoh_vk_tune, device, NULL, &training, 1.0, text, sizeof text);
    REFUSE(wcoh_vk_tune, device, wcoh_model_get_desc(model), NULL, 1.0, text, sizeof text);
    REFUSE(wcoh_vk_tune, device, wcoh_model_get_desc(model), &training, 1.0, NULL, 0);
    REFUSE(wcoh_vk_tune, device, wcoh_model_get_desc(model), &training, 1.0, text, sizeof text);
    wcoh_vk_device_info(device, &info);
    CHECK(info.usable == 0 && info.name[0] == 0);
    wcoh_device_destroy(device);
}
#endif

/* The last to run. */
static void every_pointer_of_every_function_was_null(void)
{
    CHECK(check_header("wavecoh.h", "#endif /* WAVECOH_H */") > 150);
#ifdef HAS_VULKAN
    CHECK(check_header("wavecoh_vk.h", "#endif /* WAVECOH_VK_H */") == 7);
#else
    puts("not run: NULL for the functions of wavecoh_vk.h (Debian: libvulkan-dev)");
#endif
}

int main(void)
{
    open_objects();
    RUN(settings_need_their_pointers);
    RUN(model_calls_need_their_pointers);
    RUN(device_calls_need_their_pointers);
    RUN(trainer_calls_need_their_pointers);
    RUN(evaluation_needs_its_pointers);
    RUN(session_calls_need_their_pointers);
    RUN(crowd_calls_need_their_pointers);
    RUN(sampling_needs_its_pointers);
    RUN(tokenizer_calls_need_their_pointers);
    RUN(files_of_models_need_their_pointers);
    RUN(files_of_trainers_and_sessions_need_their_pointers);
    RUN(paths_need_their_pointers);
    RUN(tensors_need_their_pointers);
    RUN(relations_of_nothing_are_nothing);
    RUN(circle_calls_need_their_pointers);
    RUN(dft_calls_need_their_pointers);
    RUN(spectral_calls_need_their_pointers);
    RUN(packets_of_nothing_are_nothing);
    RUN(resonance_calls_need_their_pointers);
    RUN(measures_need_their_pointers);
#ifdef HAS_VULKAN
    RUN(vulkan_calls_need_their_pointers);
    RUN(nothing_is_known_of_a_device_that_is_not_vulkans);
#endif
    RUN(every_pointer_of_every_function_was_null);
    close_objects();
    return test_end();
}

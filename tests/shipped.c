/* What a shipped game does with models that somebody trained: load, listen, sample, evaluate.
   tests/test_shipped.sh builds it with everything, to train and save checkpoints and for the right
   answers, and without training and toolkit, which must give the same.

   shipped make NAME          trains a little; a trainer's checkpoint of each preset in NAME.0, ..
   shipped use NAME [scalar]  prints symbols and losses of the models in them */
#include <stdio.h>
#include <stdlib.h>
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"

enum { PRESETS = WCOH_PRESET_WAVE_3 + 1, VOCAB = 11, COUNT = 500, SEQ = 24 };

static uint32_t text[COUNT];
static unsigned char file[1 << 20];

static void must(wcoh_result result, const wcoh_error *error)
{
    if (result == WCOH_OK) return;
    fprintf(stderr, "shipped: %s\n", error->text);
    exit(1);
}

static FILE *open_preset(const char *name, int preset, const char *mode)
{
    char path[600];
    FILE *f;
    snprintf(path, sizeof path, "%s.%d", name, preset);
    f = fopen(path, mode);
    if (f) return f;
    fprintf(stderr, "shipped: %s: cannot open it\n", path);
    exit(1);
}

static wcoh_io file_io(wcoh_memory_file *block)
{
    block->data = file;
    block->capacity = sizeof file;
    block->used = 0;
    return wcoh_io_memory(block);
}

#ifndef WAVECOH_NO_TRAINING
static void make(const char *name, int preset)
{
    wcoh_model_desc desc = wcoh_model_preset((wcoh_preset)preset, VOCAB);
    wcoh_trainer_desc training = wcoh_trainer_preset((wcoh_preset)preset);
    wcoh_model *model;
    wcoh_trainer *trainer;
    wcoh_error error;
    wcoh_memory_file block;
    wcoh_io io = file_io(&block);
    FILE *f;
    desc.bands = 12;
    desc.layers = 2;
    desc.heads = 4;
    desc.context = SEQ;
    training.seq = SEQ;
    training.batch = 4;
    training.steps = 30;
    training.cpu.threads = 1;
    must(wcoh_model_create(&model, &desc, &error), &error);
    must(wcoh_trainer_create(&trainer, model, &training, &error), &error);
    must(wcoh_trainer_set_data(trainer, text, COUNT, NULL, 0, &error), &error);
    must(wcoh_trainer_run(trainer, -1, NULL, &error), &error);
    must(wcoh_trainer_save(trainer, &io, &error), &error);
    f = open_preset(name, preset, "wb");
    if (fwrite(file, 1, block.used, f) != block.used || fclose(f)) exit(1);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}
#endif

/* A prompt heard at once, symbols drawn, and the state of the session saved half-way. */
static void sample(wcoh_model *model, wcoh_isa isa)
{
    wcoh_session_desc listening;
    wcoh_sample_desc drawing;
    wcoh_session *session;
    wcoh_error error;
    wcoh_rng rng = wcoh_rng_seed(5);
    static unsigned char state[1 << 18];
    wcoh_memory_file block;
    wcoh_io io = wcoh_io_memory(&block);
    uint32_t token;
    int i;
    block.data = state;
    block.capacity = sizeof state;
    block.used = 0;
    memset(&listening, 0, sizeof listening);
    memset(&drawing, 0, sizeof drawing);
    listening.cpu.isa = isa;
    drawing.temperature = 0.9;
    drawing.top_k = 7;
    must(wcoh_session_create(&session, model, &listening, &error), &error);
    must(wcoh_session_prefill(session, text, SEQ / 2, &error), &error);
    for (i = 0; i < SEQ / 2; i++) {
        must(wcoh_session_sample(session, &drawing, &rng, &token, &error), &error);
        must(wcoh_session_step(session, token, &error), &error);
        printf("%lu ", (unsigned long)token);
        if (i != 4) continue;
        must(wcoh_session_save(session, &io, &error), &error);
        wcoh_session_reset(session);
        must(wcoh_session_load(session, &io, &error), &error);
    }
    wcoh_session_destroy(session);
}

static void use(const char *name, int preset, wcoh_isa isa)
{
    wcoh_eval_desc windows;
    wcoh_model *model;
    wcoh_error error;
    wcoh_memory_file block;
    wcoh_io io = file_io(&block);
    FILE *f = open_preset(name, preset, "rb");
    double loss = 0;
    size_t scored = 0;
    block.used = fread(file, 1, sizeof file, f);
    fclose(f);
    must(wcoh_model_load(&model, &io, NULL, &error), &error);
    memset(&windows, 0, sizeof windows);
    windows.seq = SEQ;
    windows.cpu.isa = isa;
    must(wcoh_model_evaluate(model, &windows, text, COUNT, &loss, &scored, &error), &error);
    sample(model, isa);
    printf("loss %.17g of %lu\n", loss, (unsigned long)scored);
    wcoh_model_destroy(model);
}

int main(int count, char **words)
{
    wcoh_isa isa = count > 3 && strcmp(words[3], "scalar") == 0 ? WCOH_ISA_SCALAR : WCOH_ISA_AUTO;
    int i;
    if (count < 3) return 2;
    for (i = 0; i < COUNT; i++) text[i] = (uint32_t)(i % 9 * (i % 9) % VOCAB);
    for (i = 0; i < PRESETS; i++) {
#ifndef WAVECOH_NO_TRAINING
        if (strcmp(words[1], "make") == 0) make(words[2], i);
#endif
        if (strcmp(words[1], "use") == 0) use(words[2], i, isa);
    }
    return 0;
}

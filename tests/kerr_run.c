/* A run of kerr-engine, its batches drawn by its own generator, through the library's trainer.
   kerr_run MODEL TEXT LR STATE STEPS [TO]   prints the loss of each step, the validation loss by the engine's
   sampler and the state of the generator at the end; TO becomes a checkpoint. A MODEL that is one is resumed.
   The model has the text's alphabet; batches are 4 x 32.
   SPDX-License-Identifier: Unlicense OR MIT-0 */
#define WAVECOH_NO_TOOLKIT
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"

#include <stdio.h>
#include <stdlib.h>

enum { BATCH = 4, SEQ = 32, TEXT = 20000, TRAINED = 18000 };

static wcoh_error error;

static void must(wcoh_result result)
{
    if (result >= 0) return;
    fprintf(stderr, "%s\n", error.text);
    exit(1);
}

/* xorshift64, 13 7 17 */
static uint64_t draw(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void batch(const uint32_t *text, int count, uint64_t *state, uint32_t *tokens,
                  uint32_t *targets)
{
    int b, i;
    for (b = 0; b < BATCH; b++) {
        const uint32_t *from = text + draw(state) % (uint64_t)(count - SEQ - 1);
        for (i = 0; i < SEQ; i++) *tokens++ = from[i], *targets++ = from[i + 1];
    }
}

static double validation(wcoh_trainer *trainer, const uint32_t *text)
{
    uint32_t tokens[BATCH * SEQ], targets[BATCH * SEQ];
    uint64_t state = 9999;
    double sum = 0, loss;
    int i;
    for (i = 0; i < 8; i++) {
        batch(text + TRAINED, TEXT - TRAINED, &state, tokens, targets);
        must(wcoh_trainer_loss(trainer, tokens, targets, BATCH, SEQ, &loss, &error));
        sum += loss / 8;
    }
    return sum;
}

int main(int argc, char **argv)
{
    static char letters[TEXT];
    static uint32_t text[TEXT];
    uint32_t tokens[BATCH * SEQ], targets[BATCH * SEQ];
    wcoh_trainer_desc desc = wcoh_trainer_preset(WCOH_PRESET_KERR_ENGINE);
    wcoh_model *model = NULL;
    wcoh_trainer *trainer = NULL;
    uint64_t state;
    size_t count;
    FILE *file;
    int step, steps;
    if (argc < 6 || argc > 7 || !(file = fopen(argv[2], "rb"))) return 2;
    if (fread(letters, 1, TEXT, file) != TEXT) return 2;
    fclose(file);
    must(wcoh_model_load_file(&model, argv[1], NULL, &error));
    must(wcoh_tokenizer_encode(wcoh_model_tokenizer(model), letters, TEXT, text, TEXT, &count,
                               &error));
    desc.lr = atof(argv[3]);
    desc.seq = SEQ;
    desc.cpu.threads = 1;
    must(wcoh_trainer_create(&trainer, model, &desc, &error));
    if (wcoh_trainer_resume_file(trainer, argv[1], &error) < 0 && error.code != WCOH_E_MISMATCH)
        must(error.code); /* weights alone: a new run */
    state = (uint64_t)strtoull(argv[4], NULL, 10);
    steps = atoi(argv[5]);
    for (step = 0; step < steps; step++) {
        double loss;
        batch(text, TRAINED, &state, tokens, targets);
        must(wcoh_trainer_gradient(trainer, tokens, targets, BATCH, SEQ, &loss, &error));
        must(wcoh_trainer_update(trainer, NULL, &error));
        printf("%.6f\n", loss);
    }
    printf("val %.6f\nstate %llu\n", validation(trainer, text), (unsigned long long)state);
    if (argc > 6) must(wcoh_trainer_save_file(trainer, argv[6], &error));
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    return 0;
}

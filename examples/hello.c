/* The smallest program: make a model, train it for a second, print what it writes.
   cc -O2 examples/hello.c -o hello -lm -lpthread
   SPDX-License-Identifier: Unlicense OR MIT-0 */
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"
#include <stdio.h>

#define TRY(call)                                                                                  \
    if ((call) < 0) return fprintf(stderr, "hello: %s\n", error.text), 1
static const char text[] = "the moon pulls the tide, the tide pulls the sand, "
                           "the sand keeps the waves that the wind wrote by hand; ";
enum { COUNT = sizeof text - 1 };

int main(void)
{
    wcoh_model_desc desc = {0}; /* zero is the default, in every field */
    wcoh_trainer_desc training = {0};
    wcoh_session_desc listening = {0};
    wcoh_sample_desc greedy = {0};
    wcoh_model *model = NULL;
    wcoh_trainer *trainer = NULL;
    wcoh_session *session = NULL;
    wcoh_error error;
    uint32_t tokens[COUNT], token;
    int i;

    for (i = 0; i < COUNT; i++) tokens[i] = (uint32_t)text[i]; /* any symbols below vocab */
    desc.vocab = 128;
    desc.bands = 32;
    desc.layers = 2;
    training.batch = 4;
    training.seq = 32;
    training.warmup = 10;
    TRY(wcoh_model_create(&model, &desc, &error));
    TRY(wcoh_trainer_create(&trainer, model, &training, &error));
    TRY(wcoh_trainer_set_data(trainer, tokens, COUNT, NULL, 0, &error));
    TRY(wcoh_trainer_run(trainer, 1000, NULL, &error)); /* milliseconds */

    TRY(wcoh_session_create(&session, model, &listening, &error));
    for (i = 0, token = tokens[0]; i < 200; i++) {
        putchar((int)token);
        TRY(wcoh_session_step(session, token, &error));
        TRY(wcoh_session_sample(session, &greedy, NULL, &token, &error));
    }
    putchar('\n');
    wcoh_session_destroy(session);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    return 0;
}

/* The gradient of every trained tensor of every setting against central differences, in float64.
   cc -O2 -DWAVECOH_TEST_DOUBLE -o test_gradients tests/test_gradients.c -lm -lpthread
   The macro makes the library's one scalar type double: the text that is checked is the text that
   is shipped. */
#ifndef WAVECOH_TEST_DOUBLE
#define WAVECOH_TEST_DOUBLE
#endif
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"
#include "test.h"
#include "support.h"
#include "cases.h"

static wcoh_trainer *trainer;
static uint32_t tokens[1024], targets[1024];
static int current;
static int left_out; /* every so many targets do not count; 0: all do */
static const char *training; /* settings of the trainer */

static double loss_at(wcoh_model *model, wcoh_real *x, double value)
{
    double loss = 0;
    wcoh_real before = *x;
    *x = (wcoh_real)value;
    wcoh_model_touch(model);
    CHECK(wcoh_trainer_loss(trainer, tokens, targets, cases[current].batch, cases[current].seq,
                            &loss, NULL) == WCOH_OK);
    *x = before;
    return loss;
}

/* Four points: the error is h^4 f'''''/30, and rounding of the loss is 1e-15/h. Couplings
   multiply a sum over bands and carriers a distance: their derivatives want a smaller h. */
static double central_difference(wcoh_model *model, wcoh_real *x, const char *name)
{
    int steep =
        text_ends(name, ".alpha") || text_ends(name, ".beta") || text_ends(name, ".carrier");
    double at = (double)*x, h = (steep ? 1e-5 : 5e-5) * (fabs(at) > 1 ? fabs(at) : 1);
    return (8 * (loss_at(model, x, at + h) - loss_at(model, x, at - h)) -
            (loss_at(model, x, at + 2 * h) - loss_at(model, x, at - 2 * h))) /
           (12 * h);
}

static double squares(const wcoh_real *values, size_t count)
{
    double sum = 0;
    size_t i;
    for (i = 0; i < count; i++) sum += (double)values[i] * (double)values[i];
    return sum;
}

/* ||g - difference|| <= 1e-6 ||difference|| + 1e-9 for every tensor. A tensor of more than `most`
   elements is checked at that many of them, spread evenly. */
static void check_tensor(wcoh_model *model, int index, size_t most)
{
    wcoh_param p;
    double off = 0, norm = 0;
    const wcoh_real *gradient = wcoh_trainer_param_gradient(trainer, index);
    size_t i, step, seen = 0;
    wcoh_model_param(model, index, &p, NULL);
    CHECK_SAY((gradient != NULL) == p.trained, "%s: gradient buffer", p.name);
    if (!gradient || !p.trained) return;
    step = p.count / most + 1;
    for (i = 0; i < p.count; i += step, seen++) {
        double expected = central_difference(model, &p.data[i], p.name),
               d = (double)gradient[i] - expected;
        off += d * d;
        norm += expected * expected;
    }
    CHECK_SAY(sqrt(off) <= 1e-6 * sqrt(norm) + 1e-9, "%s: gradient of %s is off by %.3g of %.3g",
              cases[current].name, p.name, sqrt(off), sqrt(norm));
    /* rows that no token used are rightly zero, and so is much of a network of one band (its norm
       knows but two directions, and it has no neighbours); nothing else is */
    if (cases[current].seq > 3 && strncmp(p.name, "embed", 5) != 0 &&
        wcoh_model_get_desc(model)->bands > 1)
        CHECK_SAY(squares(gradient, p.count) > 0, "%s: gradient of %s is all zero",
                  cases[current].name, p.name);
}

/* By its name: what is added before a case moves none of its numbers (a limiter has an edge, and near
   it no difference is a derivative). */
static uint64_t case_seed(void)
{
    const char *c;
    uint64_t seed = 1;
    for (c = cases[current].name; *c; c++) seed = seed * 31 + (uint64_t)*c;
    return seed;
}

/* The model of the current case, away from its start, with tokens and targets of a batch. */
static wcoh_model *case_open(void)
{
    char settings[512];
    wcoh_model_desc desc;
    wcoh_model *model;
    int rows = cases[current].batch * cases[current].seq, i;
    snprintf(settings, sizeof settings, "%s%s", case_base, cases[current].settings);
    desc = model_desc_of(settings);
    model = model_of(&desc);
    if (!model) return NULL;
    randomise(model, case_seed());
    random_tokens(tokens, (size_t)rows, desc.vocab, 3);
    random_tokens(targets, (size_t)rows, desc.vocab, 4);
    for (i = 0; left_out && i < rows; i += left_out) targets[i] = WCOH_TARGET_NONE;
    return model;
}

static void gradient_is_the_derivative(void)
{
    wcoh_trainer_desc trainer_desc;
    wcoh_model *model = case_open();
    wcoh_error error = {WCOH_OK, ""};
    double loss = 0;
    int i, batch = cases[current].batch, seq = cases[current].seq;
    size_t most = getenv("WAVECOH_TEST_SHORT") ? 2 : seq > 100 ? 24 : 120;
    if (!model) return;
    memset(&trainer_desc, 0, sizeof trainer_desc);
    settings_apply(WCOH_DESC_TRAINER, &trainer_desc, training);
    trainer_desc.batch = batch + 1; /* the gradient may be asked for less than the desc's shape */
    if (strstr(cases[current].name, "in chunks"))
        trainer_desc.batch = 300; /* the head's are small then */
    trainer_desc.seq = seq + 2 < wcoh_model_get_desc(model)->context ? seq + 2 : seq;
    trainer_desc.cpu.threads = 1;
    if (CHECK_SAY(wcoh_trainer_create(&trainer, model, &trainer_desc, &error) == WCOH_OK, "%s",
                  error.text)) {
        CHECK_SAY(wcoh_trainer_gradient(trainer, tokens, targets, batch, seq, &loss, &error) ==
                      WCOH_OK,
                  "%s", error.text);
        for (i = 0; i < wcoh_model_param_count(model); i++) check_tensor(model, i, most);
        wcoh_trainer_destroy(trainer);
    }
    wcoh_model_destroy(model);
}

/* Rows of a batch made longer by any token whose target does not count: the loss and the gradient of
   the batch as it was. 1e-12: sums of the same numbers in another order. */
static void what_does_not_count_changes_nothing(void)
{
    static uint32_t longer[1024], counted[1024];
    wcoh_trainer_desc desc;
    wcoh_model *model = case_open();
    int row, i, batch = cases[current].batch, seq = cases[current].seq;
    double loss = 0, same = 0;
    wcoh_param p;
    size_t k;
    if (!model) return;
    for (row = 0; row < batch; row++)
        for (i = 0; i <= seq; i++) {
            longer[row * (seq + 1) + i] = tokens[row * seq + (i < seq ? i : 0)];
            counted[row * (seq + 1) + i] = i < seq ? targets[row * seq + i] : WCOH_TARGET_NONE;
        }
    memset(&desc, 0, sizeof desc);
    settings_apply(WCOH_DESC_TRAINER, &desc, training);
    desc.batch = batch;
    desc.seq = seq + 1;
    desc.cpu.threads = 1;
    CHECK(wcoh_trainer_create(&trainer, model, &desc, NULL) == WCOH_OK);
    for (i = 0; i < wcoh_model_param_count(model); i++) {
        const wcoh_real *gradient;
        double off = 0, norm = 0;
        static wcoh_real kept[1 << 14];
        wcoh_model_param(model, i, &p, NULL);
        if (!p.trained || !CHECK(p.count <= sizeof kept / sizeof *kept)) continue;
        CHECK(wcoh_trainer_gradient(trainer, tokens, targets, batch, seq, &loss, NULL) == WCOH_OK);
        memcpy(kept, wcoh_trainer_param_gradient(trainer, i), p.count * sizeof *kept);
        CHECK(wcoh_trainer_gradient(trainer, longer, counted, batch, seq + 1, &same, NULL) ==
              WCOH_OK);
        gradient = wcoh_trainer_param_gradient(trainer, i);
        for (k = 0; k < p.count; k++) {
            off += (double)(gradient[k] - kept[k]) * (double)(gradient[k] - kept[k]);
            norm += (double)kept[k] * (double)kept[k];
        }
        CHECK_SAY(sqrt(off) <= 1e-12 * (1 + sqrt(norm)), "%s: gradient of %s is off by %.3g of %.3g",
                  cases[current].name, p.name, sqrt(off), sqrt(norm));
    }
    CHECK_NEAR(same, loss, 1e-12);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}

/* Under the masks of a step the loss is a function like any other. */
static void check_masked(void)
{
    static const char *const dropping[] = {"default",
                                           "attention shared",
                                           "embedding random trained",
                                           "position learned",
                                           "two groups",
                                           "rms norm",
                                           "one shared norm",
                                           "gpt",
                                           "kerr-engine",
                                           "wave-engine",
                                           "33 rows"};
    static const char *const all[] = {"dropout=0.3", "embedding_dropout=0.4",
                                      "dropout=0.2 embedding_dropout=0.1", "phase_noise=0.4",
                                      "attention_dropout=0.3"};
    size_t i, k;
    char label[96];
    for (i = 0; i < sizeof dropping / sizeof *dropping; i++) {
        if (strcmp(dropping[i], cases[current].name) != 0) continue;
        for (k = 0; k < sizeof all / sizeof *all; k++) {
            training = all[k];
            if (strstr(training, "phase_noise") && strcmp(dropping[i], "gpt") == 0)
                continue; /* it has no phases: refused, see test_model.c */
            snprintf(label, sizeof label, "gradients, %s: %s", training, cases[current].name);
            test_run(gradient_is_the_derivative, label);
            snprintf(label, sizeof label, "no target at the end, %s: %s", training,
                     cases[current].name);
            test_run(what_does_not_count_changes_nothing, label);
        }
    }
    training = "";
}

int main(int count, char **arguments)
{
    static const char *const heads[] = {"default", "head tied to a trained table", "head low rank",
                                        "a vocabulary in chunks", "a tied vocabulary in chunks"};
    size_t i;
    int total = (int)(sizeof cases / sizeof *cases);
    char label[96];
    training = "";
    for (current = 0; current < total; current++) {
        if (count > 1 && !strstr(cases[current].name, arguments[1])) continue;
        snprintf(label, sizeof label, "gradients: %s", cases[current].name);
        test_run(gradient_is_the_derivative, label);
        if (cases[current].seq > 100 || strstr(cases[current].name, "at full context")) continue;
        snprintf(label, sizeof label, "no target at the end: %s", cases[current].name);
        test_run(what_does_not_count_changes_nothing, label);
        check_masked();
        for (i = 0, left_out = 3; i < sizeof heads / sizeof *heads; i++) {
            if (strcmp(heads[i], cases[current].name) != 0) continue;
            snprintf(label, sizeof label, "gradients, targets left out: %s", heads[i]);
            test_run(gradient_is_the_derivative, label);
        }
        left_out = 0;
    }
    return test_end();
}

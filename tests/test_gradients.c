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

static void gradient_is_the_derivative(void)
{
    static const char base[] = "bands=6 heads=3 layers=2 maestro=4 vocab=7 context=320 seed=5 ";
    char settings[512];
    wcoh_model_desc desc;
    wcoh_trainer_desc trainer_desc;
    wcoh_model *model;
    wcoh_error error = {WCOH_OK, ""};
    double loss = 0;
    int i, batch = cases[current].batch, seq = cases[current].seq;
    size_t most = getenv("WAVECOH_TEST_SHORT") ? 6 : seq > 100 ? 24 : 120;
    snprintf(settings, sizeof settings, "%s%s", base, cases[current].settings);
    desc = model_desc_of(settings);
    model = model_of(&desc);
    if (!model) return;
    randomise(model, 17 + (uint64_t)current);
    random_tokens(tokens, (size_t)(batch * seq), desc.vocab, 3);
    random_tokens(targets, (size_t)(batch * seq), desc.vocab, 4);
    memset(&trainer_desc, 0, sizeof trainer_desc);
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

int main(int count, char **arguments)
{
    int total = (int)(sizeof cases / sizeof *cases);
    char label[96];
    for (current = 0; current < total; current++) {
        if (count > 1 && !strstr(cases[current].name, arguments[1])) continue;
        snprintf(label, sizeof label, "gradients: %s", cases[current].name);
        test_run(gradient_is_the_derivative, label);
    }
    return test_end();
}

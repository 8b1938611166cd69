/* The gradient of every trained tensor of every setting against central differences, in float64.
   cc -O2 -DWAVECOH_TEST_DOUBLE -o test_gradients tests/test_gradients.c -lm -lpthread
   The macro makes the library's one scalar type double: the text that is checked is the text that
   is shipped.
   ./test_gradients PART          the cases whose names contain PART
   ./test_gradients --fuzz SEED COUNT    so many networks of random settings in place of the cases:
   gradients, and what a session hears. One that fails is told by its settings. */
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
static char fuzz_settings[2048]; /* of a random network; empty: a case is tested */
static double nearer = 1;        /* factor of a difference's h */

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
    double at = (double)*x, h = nearer * (steep ? 1e-5 : 5e-5) * (fabs(at) > 1 ? fabs(at) : 1);
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

/* ||g - difference||, and the norm of the difference, at every `step`th element of a tensor. */
static double off_by(wcoh_model *model, const wcoh_param *p, const wcoh_real *gradient, size_t step,
                     double *norm)
{
    double off = 0;
    size_t i;
    *norm = 0;
    for (i = 0; i < p->count; i += step) {
        double expected = central_difference(model, &p->data[i], p->name),
               d = (double)gradient[i] - expected;
        off += d * d;
        *norm += expected * expected;
    }
    *norm = sqrt(*norm);
    return sqrt(off);
}

/* ||g - difference|| <= 1e-6 ||difference|| + 1e-9 for every tensor. A tensor of more than `most`
   elements is checked at that many of them, spread evenly. Where settings are random, an edge (a gain
   that is cut, a knee) may lie within h: nearer by there is none. */
static void check_tensor(wcoh_model *model, int index, size_t most)
{
    wcoh_param p;
    double off, norm;
    const wcoh_real *gradient = wcoh_trainer_param_gradient(trainer, index);
    wcoh_model_param(model, index, &p, NULL);
    CHECK_SAY((gradient != NULL) == p.trained, "%s: gradient buffer", p.name);
    if (!gradient || !p.trained) return;
    off = off_by(model, &p, gradient, p.count / most + 1, &norm);
    while (*fuzz_settings && nearer > 0.002 && !(off <= 1e-6 * norm + 1e-9 / nearer)) {
        nearer *= 0.1;
        off = off_by(model, &p, gradient, p.count / most + 1, &norm);
    }
    CHECK_SAY(off <= 1e-6 * norm + 1e-9 / nearer, "%s: gradient of %s is off by %.3g of %.3g",
              cases[current].name, p.name, off, norm);
    nearer = 1;
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

/* ---- random settings -------------------------------------------------------------------------- */

/* " name=value" of a setting behind `text`: a choice takes a word of its table (a list where layers may
   differ), a number one of a few that differ and converge. */
static void random_setting(char *text, const wcoh_field *field, wcoh_rng *rng)
{
    static const struct {
        const char *name, *values[4];
    } numbers[] = {
        {"phases", {"0", "1", "3", "5"}},         {"gain", {"0.3", "2", "5", "2"}},
        {"gain_most", {"5.2", "6", "7", "5.2"}},  {"overtones", {"0", "0", "1", "2"}},
        {"taps", {"-1", "2", "3", "4"}},          {"rk4_steps", {"1", "2", "3", "5"}},
        {"mixing", {"0", "0", "0", "0.01"}},      {"splits", {"1", "2", "3", "1"}},
        {"ceiling", {"0", "0.7", "1.2", "0"}},    {"gamma", {"0.1", "0.0003", "2", "0.1"}},
        {"alpha", {"0.05", "-1", "0.1", "0.02"}}, {"beta", {"0.05", "-1", "0.1", "0.02"}},
        {"offset", {"0", "0", "0.2", "0.5"}},     {"hidden", {"0", "1", "5", "8"}},
        {"head_rank", {"1", "2", "3", "5"}},      {"head_scale", {"0", "0.3", "1.5", "0"}},
        {"maestro", {"1", "2", "3", "5"}},        {"embedding_deviation", {"0", "0.5", "1", "0"}},
        {"key_width", {"0", "0", "3", "6"}}};
    const char *from = field->choices;
    size_t i;
    for (i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (strcmp(numbers[i].name, field->name) == 0)
            sprintf(text + strlen(text), " %s=%s", field->name,
                    numbers[i].values[wcoh_rng_next(rng) % 4]);
    if (!from || wcoh_rng_next(rng) % 3 == 0) return; /* the default */
    sprintf(text + strlen(text), " %s=", field->name);
    do {
        int words = 1, word;
        for (i = 0; from[i]; i++) words += from[i] == ' ';
        for (word = (int)(wcoh_rng_next(rng) % (uint64_t)words); word > 0; word--)
            from = strchr(from, ' ') + 1;
        strncat(text, from, strcspn(from, " "));
        from = field->choices;
    } while (field->pattern && wcoh_rng_next(rng) % 2 && strcat(text, ","));
}

/* The mean loss of the first sequence as a session hears it; 1e-6: states are cut where the rest is
   1e-7 of a weight. */
static void check_heard(wcoh_model *model, int seq)
{
    wcoh_session_desc desc;
    wcoh_session *session = NULL;
    wcoh_error error;
    double loss = 0, sum = 0;
    int t, v, vocab = wcoh_model_get_desc(model)->vocab;
    memset(&desc, 0, sizeof desc);
    CHECK(wcoh_trainer_loss(trainer, tokens, targets, 1, seq, &loss, &error) == WCOH_OK);
    if (!CHECK_SAY(wcoh_session_create(&session, model, &desc, &error) == WCOH_OK, "%s",
                   error.text))
        return;
    for (t = 0; t < seq; t++) {
        const wcoh_real *logits;
        double all = 0;
        CHECK(wcoh_session_step(session, tokens[t], &error) == WCOH_OK);
        logits = wcoh_session_logits(session);
        for (v = 0; v < vocab; v++) all += exp((double)(logits[v] - logits[targets[t]]));
        sum += log(all) / seq;
    }
    CHECK_SAY(fabs(sum - loss) <= 1e-6, "a session's loss is %.9f, a batch's %.9f", sum, loss);
    wcoh_session_destroy(session);
}

static void random_network_is_right(void)
{
    wcoh_model_desc desc = model_desc_of(fuzz_settings);
    wcoh_model *model = model_of(&desc);
    wcoh_trainer_desc training_desc;
    wcoh_error error;
    double loss;
    int i, batch = 2, seq = 5;
    if (!model) return;
    randomise(model, desc.seed);
    random_tokens(tokens, (size_t)(batch * seq), desc.vocab, desc.seed + 1);
    random_tokens(targets, (size_t)(batch * seq), desc.vocab, desc.seed + 2);
    memset(&training_desc, 0, sizeof training_desc);
    training_desc.batch = batch;
    training_desc.seq = seq;
    training_desc.cpu.threads = 1;
    if (CHECK_SAY(wcoh_trainer_create(&trainer, model, &training_desc, &error) == WCOH_OK, "%s",
                  error.text)) {
        CHECK(wcoh_trainer_gradient(trainer, tokens, targets, batch, seq, &loss, &error) ==
              WCOH_OK);
        for (i = 0; i < wcoh_model_param_count(model); i++) check_tensor(model, i, 4);
        check_heard(model, seq);
        wcoh_trainer_destroy(trainer);
    }
    wcoh_model_destroy(model);
}

/* `count` networks that are not refused; refusals must be of a setting, in a sentence. */
static int fuzz(uint64_t seed, int count)
{
    static const int shapes[6][2] = {{6, 3}, {5, 2}, {4, 4},
                                     {9, 3}, {2, 1}, {8, 2}}; /* bands, heads */
    wcoh_rng rng = wcoh_rng_seed(seed);
    const wcoh_field *fields;
    int made = 0, refused = 0, total, i;
    fields = wcoh_fields(WCOH_DESC_MODEL, &total);
    while (made < count) {
        const int *shape = shapes[wcoh_rng_next(&rng) % 6];
        wcoh_model_desc desc;
        wcoh_model *model = NULL;
        wcoh_error error;
        sprintf(fuzz_settings, "vocab=7 context=9 seed=%d layers=%d bands=%d heads=%d groups=%d",
                (int)(wcoh_rng_next(&rng) % 10000) + 1, (int)(wcoh_rng_next(&rng) % 3) + 1,
                shape[0], shape[1], wcoh_rng_next(&rng) % 4 ? 1 : 2);
        for (i = 0; i < total; i++) random_setting(fuzz_settings, &fields[i], &rng);
        if (strstr(fuzz_settings, "=rk4") || strstr(fuzz_settings, "mixing=0."))
            strcat(fuzz_settings, " limiter=on ceiling=1"); /* few steps: they diverge else */
        desc = model_desc_of(fuzz_settings);
        if (wcoh_model_create(&model, &desc, &error) != WCOH_OK) {
            CHECK_SAY(error.code == WCOH_E_ARGUMENT && ++refused < 1000 * count, "%s: %s",
                      fuzz_settings, error.text);
            continue;
        }
        wcoh_model_destroy(model);
        current = 0; /* its name stands in sentences */
        test_run(random_network_is_right, fuzz_settings);
        made++;
    }
    printf("%d networks, %d refused\n", made, refused);
    return test_end();
}

int main(int count, char **arguments)
{
    static const char *const heads[] = {"default", "head tied to a trained table", "head low rank",
                                        "a vocabulary in chunks", "a tied vocabulary in chunks"};
    size_t i;
    int total = (int)(sizeof cases / sizeof *cases);
    char label[96];
    training = "";
    if (count == 4 && strcmp(arguments[1], "--fuzz") == 0)
        return fuzz((uint64_t)strtoul(arguments[2], NULL, 10), atoi(arguments[3]));
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

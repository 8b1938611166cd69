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

/* Runge-Kutta with few steps diverges at the default couplings: they are weaker there. */
/* What differs from a small default: 6 bands, 3 heads, 2 layers, maestro 4, 7 symbols. */
static const struct {
    const char *name, *settings;
    int batch, seq;
} cases[] = {
    {"default", "", 2, 5},
    {"one row", "vocab=3", 1, 1},
    {"one head", "heads=1", 2, 4},
    {"three bands", "bands=3 heads=1 maestro=1", 1, 6},
    {"one band", "bands=1 heads=1 maestro=1", 2, 4},
    {"heads of width one", "bands=3 heads=6", 1, 5},
    {"17 bands", "bands=17 heads=2 layers=1 maestro=3", 1, 3},
    {"33 rows", "bands=2 heads=2 layers=1", 3, 11},
    {"embedding circles trained", "embedding=circles embedding_trained=on", 2, 5},
    {"embedding random frozen", "embedding=random", 2, 5},
    {"embedding random trained", "embedding=random embedding_trained=on", 2, 5},
    {"embedding unit trained", "embedding_unit=on embedding_trained=on", 2, 5},
    {"position sinusoidal", "position=sinusoidal", 2, 5},
    {"position learned", "position=learned context=9", 2, 5},
    {"position learned at full context", "position=learned context=5 embedding_trained=on", 2, 5},
    {"attention shared", "attention=shared", 2, 6},
    {"attention frozen", "attention=frozen", 2, 6},
    {"attention dot", "attention=dot", 2, 6},
    {"attention rotary", "attention=rotary", 2, 6},
    {"gain near its bound", "gain=11.5", 1, 8},
    {"low gain", "gain=0.05", 1, 8},
    {"shared gain", "gain=6 attention=shared", 1, 8},
    {"solver perturbative", "solver=perturbative", 2, 5},
    {"perturbative without limiter", "solver=perturbative limiter=off", 2, 5},
    {"solver rk4-1", "solver=rk4 rk4_steps=1 alpha=0.02 beta=0.02", 2, 5},
    {"solver rk4-3", "solver=rk4 rk4_steps=3 alpha=0.05 beta=0.03", 2, 5},
    {"solver rk4-8 with limiter", "solver=rk4 rk4_steps=8 limiter=on layers=1", 1, 4},
    {"solver none", "solver=none", 2, 5},
    {"solver none with limiter", "solver=none limiter=on", 2, 5},
    {"exact with limiter", "limiter=on", 2, 5},
    {"low ceiling", "limiter=on ceiling=0.4", 2, 5},
    {"corrector", "corrector=on", 2, 5},
    {"corrector without oscillators", "corrector=on solver=none", 2, 5},
    {"perturbative, corrector, offset", "solver=perturbative corrector=on offset=0.3", 2, 5},
    {"rk4-3, corrector, offset, limiter",
     "solver=rk4 rk4_steps=3 alpha=0.05 beta=0.03 corrector=on offset=0.3 limiter=on ceiling=1", 2,
     5},
    {"oscillators frozen", "kerr_trained=off", 2, 5},
    {"oscillators frozen, omega trained", "kerr_trained=off omega_trained=on", 2, 5},
    {"omega frozen", "omega_trained=off", 2, 5},
    {"alpha off", "alpha=-1 beta=0.3", 2, 5},
    {"weak damping", "gamma=0.0002", 2, 5},
    {"strong damping", "gamma=15", 2, 5},
    {"maestros add", "maestros=add", 2, 5},
    {"maestros add, rk4, per band first",
     "maestros=add solver=rk4 rk4_steps=2 per_band_first=on alpha=0.03 beta=0.03", 2, 5},
    {"maestros add, corrector, limiter", "maestros=add corrector=on limiter=on", 2, 5},
    {"per band first", "per_band_first=on", 2, 5},
    {"two groups", "groups=2", 2, 5},
    {"groups of width one", "bands=3 heads=2 groups=6", 2, 5},
    {"mlp", "ffn=mlp", 2, 5},
    {"mlp of odd width", "ffn=mlp hidden=7", 2, 5},
    {"one shared norm", "block=parallel_shared", 2, 5},
    {"one shared norm, mlp, dot", "block=parallel_shared ffn=mlp attention=dot", 2, 5},
    {"sequential", "block=sequential", 2, 5},
    {"sequential, shared, add", "block=sequential attention=shared maestros=add", 2, 5},
    {"head tied", "head=tied", 2, 5},
    {"head tied to a trained table", "head=tied embedding_trained=on", 2, 5},
    {"head low rank", "head=low_rank head_rank=3", 2, 5},
    {"a vocabulary in chunks", "vocab=301 layers=1 bands=4 heads=2", 2, 5},
    {"a tied vocabulary in chunks",
     "vocab=301 layers=1 bands=4 heads=2 head=tied embedding_trained=on", 2, 5},
    {"a low rank vocabulary in chunks",
     "vocab=301 layers=1 bands=4 heads=2 head=low_rank head_rank=2", 2, 5},
    {"many symbols", "vocab=301 layers=1 bands=4 heads=2", 2, 5},
    {"gpt",
     "attention=dot ffn=mlp block=sequential position=learned embedding=random "
     "embedding_trained=on init=normal",
     2, 5},
    {"kerr-engine",
     "attention=dot block=sequential maestros=add solver=rk4 rk4_steps=8 per_band_first=on "
     "embedding_unit=on position=sinusoidal init=uniform_zero layers=3",
     1, 5},
    {"wave-engine",
     "attention=frozen block=parallel_shared solver=perturbative corrector=on limiter=on "
     "omega_trained=off position=sinusoidal init=uniform_zero groups=3",
     2, 5},
    {"long", "bands=2 heads=2 layers=1 maestro=1 vocab=4", 1, 300},
    {"long, high gain", "bands=2 heads=2 layers=1 maestro=1 vocab=4 gain=10", 1, 200},
    {"long shared", "bands=2 heads=1 layers=1 maestro=1 vocab=4 attention=shared", 2, 150},
    {"long frozen", "bands=2 heads=2 layers=1 maestro=1 vocab=4 attention=frozen", 1, 150},
    {"long rotary", "bands=2 heads=2 layers=1 maestro=1 vocab=4 attention=rotary", 1, 150},
};

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

/* Losses, logits and gradients against PyTorch autograd (tests/reference/make_reference.py).
   cc -O2 -o test_reference tests/test_reference.c -lm -lpthread && ./test_reference [FOLDER]
   Runs every configuration on every instruction set of this machine; with -DWAVECOH_TEST_DOUBLE in
   float64, where only the reference's own rounding to float32 is left. */
#define WAVECOH_SCALAR
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"
#include "test.h"
#include "support.h"

static const char *const reference_names[] = {
    "default",
    "shared",
    "frozen",
    "dot",
    "rotary",
    "gpt",
    "kerr_engine",
    "wave_engine_rk4",
    "rk4_3",
    "perturbative",
    "exact_limited",
    "per_band_dual",
    "solver_none",
    "tied",
    "tied_frozen_table",
    "add_exact",
    "one_row",
    "one_head",
    "one_band",
    "narrow_heads",
    "silent_phasor",
    "small_damping",
    "long",
    "listening",
    "mixing",
    "split",
    "rk4_weights",
    "gates",
    "gated_mlp",
    "long_listening",
    "pope",
    "resonance",
    "phase_native",
    "wave_decode",
    "long_rotary",
    "overtones",
    "gain_control",
    "curriculum",
    "soft_curriculum",
    "mixed",
    "split_frozen",
    "resonance_frozen",
    "key_width",
};

#ifdef WAVECOH_TEST_DOUBLE
/* The reference is stored as float32: half a unit in its last place is 6e-8 of each value. */
static const double loss_tolerance = 2e-7, logit_tolerance = 3e-6, gradient_tolerance = 1e-6;
static const double gradient_floor = 1e-7;
#else
/* float32 keeps 24 bits and a gradient passes some 2 layers x 20 roundings of rows that cancel:
   norm-wise 1e-4 holds for tensors of ordinary size; the floor, as a share of the whole gradient's
   norm, is for tensors whose own gradient is a small difference of large terms. */
static const double loss_tolerance = 1e-5, logit_tolerance = 1e-4, gradient_tolerance = 1e-4;
static const double gradient_floor = 1e-6;
#endif

/* A norm over the two numbers of a single band passes only what its epsilon leaves: the gradient
   behind it is the rounding of a difference that all but vanishes. */
static double floor_of(const char *name)
{
    return strcmp(name, "one_band") == 0 ? 100 * gradient_floor : gradient_floor;
}

static const char *folder = "tests/reference";

typedef struct reference {
    const char *name;
    unsigned char *bytes;
    wcoh_memory_file block;
    wcoh_io io;
    wcoh_tensors *tensors;
    wcoh_model *model;
    uint32_t *tokens, *targets; /* [batch, seq] */
    float *logits;              /* [batch*seq, vocab] */
    double loss;
    double gradient_norm; /* over all trained tensors */
    int batch, seq, vocab;
    int steps; /* of a curriculum, before; what sessions hear has none */
} reference;

/* A tensor's elements in a block of the caller's to free; NULL with a failed check. */
static float *read_tensor(const wcoh_tensors *tensors, const char *name, wcoh_tensor_info *info)
{
    wcoh_error error = {WCOH_OK, ""};
    int index = wcoh_tensors_find(tensors, name);
    float *values;
    if (!CHECK_SAY(index >= 0, "the file has no %s", name)) return NULL;
    if (!CHECK(wcoh_tensors_info(tensors, index, info, &error) == WCOH_OK)) return NULL;
    values = (float *)malloc((size_t)(info->count + 1) * sizeof *values);
    if (!values) return NULL;
    if (CHECK_SAY(wcoh_tensors_read(tensors, index, 0, (size_t)info->count, values, &error) ==
                      WCOH_OK,
                  "%s: %s", name, error.text))
        return values;
    free(values);
    return NULL;
}

static uint32_t *read_tokens(const wcoh_tensors *tensors, const char *name, wcoh_tensor_info *info)
{
    float *values = read_tensor(tensors, name, info);
    uint32_t *tokens = values ? (uint32_t *)malloc((size_t)info->count * sizeof *tokens) : NULL;
    size_t i;
    for (i = 0; tokens && i < info->count; i++) tokens[i] = (uint32_t)values[i];
    free(values);
    return tokens;
}

static int read_bytes(reference *r)
{
    char path[512];
    FILE *file;
    long size;
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, r->name);
    file = fopen(path, "rb");
    if (!CHECK_SAY(file != NULL, "cannot open %s", path)) return 0;
    fseek(file, 0, SEEK_END);
    size = ftell(file);
    fseek(file, 0, SEEK_SET);
    r->bytes = (unsigned char *)malloc((size_t)size + 1);
    r->block.data = r->bytes;
    r->block.used = r->bytes ? fread(r->bytes, 1, (size_t)size, file) : 0;
    fclose(file);
    r->io = wcoh_io_memory(&r->block);
    return CHECK(r->block.used == (size_t)size);
}

/* The settings of a desc that the file has, under "model." or "trainer.". */
static void desc_from_metadata(const wcoh_tensors *tensors, wcoh_desc_kind kind, void *desc)
{
    wcoh_error error = {WCOH_OK, ""};
    int i, count;
    const wcoh_field *fields = wcoh_fields(kind, &count);
    for (i = 0; i < count; i++) {
        char key[80];
        const char *text;
        snprintf(key, sizeof key, "%s.%s", kind == WCOH_DESC_MODEL ? "model" : "trainer",
                 fields[i].name);
        text = wcoh_tensors_metadata(tensors, key);
        if (text)
            CHECK_SAY(wcoh_field_set(kind, desc, fields[i].name, text, &error) == WCOH_OK, "%s",
                      error.text);
    }
}

static wcoh_model *model_from_metadata(const wcoh_tensors *tensors)
{
    wcoh_model_desc desc = model_desc_of("");
    desc_from_metadata(tensors, WCOH_DESC_MODEL, &desc);
    return model_of(&desc);
}

/* The file's parameters into the model: the same names, shapes, trained tensors on both sides. */
static void set_parameters(reference *r)
{
    int i, found = 0, count = wcoh_model_param_count(r->model);
    double sum = 0;
    size_t j;
    for (i = 0; i < count; i++) {
        wcoh_param p;
        wcoh_tensor_info info;
        char name[96];
        float *values;
        if (!CHECK(wcoh_model_param(r->model, i, &p, NULL) == WCOH_OK)) return;
        values = read_tensor(r->tensors, p.name, &info);
        if (!values) continue;
        found++;
        CHECK_SAY(info.count == p.count && info.dims == p.dims, "%s: shapes differ", p.name);
        for (j = 0; j < p.count && j < info.count; j++) p.data[j] = (wcoh_real)values[j];
        free(values);
        snprintf(name, sizeof name, "grad.%s", p.name);
        CHECK_SAY((wcoh_tensors_find(r->tensors, name) >= 0) == p.trained, "%s: trained here %d",
                  p.name, p.trained);
        values = p.trained ? read_tensor(r->tensors, name, &info) : NULL;
        for (j = 0; values && j < info.count; j++) sum += (double)values[j] * values[j];
        found += values != NULL;
        free(values);
    }
    r->gradient_norm = sqrt(sum);
    CHECK_SAY(found + 4 == wcoh_tensors_count(r->tensors),
              "the file has %d tensors, the model takes %d", wcoh_tensors_count(r->tensors) - 4,
              found);
    wcoh_model_touch(r->model);
}

static int reference_open(reference *r, const char *name)
{
    wcoh_error error = {WCOH_OK, ""};
    wcoh_tensor_info info;
    const char *steps;
    float *loss;
    memset(r, 0, sizeof *r);
    r->name = name;
    if (!read_bytes(r)) return 0;
    if (!CHECK_SAY(wcoh_tensors_open(&r->tensors, &r->io, NULL, &error) == WCOH_OK, "%s",
                   error.text))
        return 0;
    steps = wcoh_tensors_metadata(r->tensors, "test.steps");
    r->steps = steps ? atoi(steps) : 0;
    r->model = model_from_metadata(r->tensors);
    if (!r->model) return 0;
    set_parameters(r);
    r->tokens = read_tokens(r->tensors, "tokens", &info);
    if (!r->tokens) return 0;
    r->batch = (int)info.shape[0];
    r->seq = (int)info.shape[1];
    r->targets = read_tokens(r->tensors, "targets", &info);
    r->logits = read_tensor(r->tensors, "logits", &info);
    r->vocab = (int)info.shape[1];
    loss = read_tensor(r->tensors, "loss", &info);
    r->loss = loss ? loss[0] : 0;
    free(loss);
    return r->targets && r->logits && info.count == 1;
}

static void reference_close(reference *r)
{
    wcoh_model_destroy(r->model);
    wcoh_tensors_close(r->tensors);
    free(r->bytes);
    free(r->tokens);
    free(r->targets);
    free(r->logits);
}

/* ||ours - theirs|| against ||theirs||, tensor by tensor. */
static void check_gradients(const reference *r, wcoh_trainer *trainer, const char *isa)
{
    int i;
    for (i = 0; i < wcoh_model_param_count(r->model); i++) {
        wcoh_param p;
        wcoh_tensor_info info;
        char name[96];
        float *theirs;
        const wcoh_real *ours;
        double difference = 0, norm = 0, allowed;
        size_t j;
        wcoh_model_param(r->model, i, &p, NULL);
        ours = wcoh_trainer_param_gradient(trainer, i);
        CHECK_SAY((ours != NULL) == p.trained, "%s %s: gradient buffer", r->name, p.name);
        if (!ours || !p.trained) continue;
        snprintf(name, sizeof name, "grad.%s", p.name);
        theirs = read_tensor(r->tensors, name, &info);
        for (j = 0; theirs && j < p.count; j++) {
            double d = (double)ours[j] - (double)theirs[j];
            difference += d * d;
            norm += (double)theirs[j] * theirs[j];
        }
        free(theirs);
        difference = sqrt(difference);
        norm = sqrt(norm);
        allowed = gradient_tolerance * norm + floor_of(r->name) * r->gradient_norm;
        if (getenv("VERBOSE"))
            printf("%s %s %s %.1e of own norm, %.1e of all\n", r->name, isa, p.name,
                   difference / (norm + 1e-300), difference / r->gradient_norm);
        CHECK_SAY(difference <= allowed,
                  "%s on %s: gradient of %s is off by %.3g of %.3g (allowed %.3g)", r->name, isa,
                  p.name, difference, norm, allowed);
    }
}

/* The loss of a step that `steps` others precede, on a text of one window: a curriculum goes by steps.
   The rate is so small that they leave the parameters as they are. */
static double loss_of_step(const reference *r, wcoh_trainer *trainer)
{
    uint32_t text[64];
    wcoh_error error = {WCOH_OK, ""};
    wcoh_stats stats;
    int step;
    memcpy(text, r->tokens, (size_t)r->seq * sizeof *text);
    text[r->seq] = r->targets[r->seq - 1];
    CHECK(r->batch == 1 &&
          wcoh_trainer_set_data(trainer, text, (size_t)r->seq + 1, NULL, 0, &error) == WCOH_OK);
    memset(&stats, 0, sizeof stats);
    for (step = 0; step <= r->steps; step++)
        CHECK_SAY(wcoh_trainer_step(trainer, &stats, &error) == WCOH_OK, "%s", error.text);
    return stats.train_loss;
}

static void check_training(const reference *r, wcoh_isa isa)
{
    wcoh_trainer_desc desc;
    wcoh_trainer *trainer = NULL;
    wcoh_error error = {WCOH_OK, ""};
    double loss = 0;
    memset(&desc, 0, sizeof desc);
    desc_from_metadata(r->tensors, WCOH_DESC_TRAINER, &desc);
    desc.batch = r->batch;
    desc.seq = r->seq;
    desc.lr = 1e-9;
    desc.decay = -1;
    desc.cpu.isa = isa;
    desc.cpu.threads = 2;
    if (!CHECK_SAY(wcoh_trainer_create(&trainer, r->model, &desc, &error) == WCOH_OK, "%s",
                   error.text))
        return;
    if (r->steps) loss = loss_of_step(r, trainer);
    else
        CHECK_SAY(wcoh_trainer_gradient(trainer, r->tokens, r->targets, r->batch, r->seq, &loss,
                                        &error) == WCOH_OK,
                  "%s", error.text);
    CHECK_SAY(test_near(loss, r->loss, loss_tolerance), "%s on %s: loss %.8f, reference %.8f",
              r->name, wcoh_isa_name(isa), loss, r->loss);
    check_gradients(r, trainer, wcoh_isa_name(isa));
    loss = 0;
    CHECK(wcoh_trainer_loss(trainer, r->tokens, r->targets, r->batch, r->seq, &loss, &error) ==
          WCOH_OK);
    if (!r->steps) CHECK_NEAR(loss, r->loss, loss_tolerance);
    wcoh_trainer_destroy(trainer);
}

/* Largest difference of the session's logits from the reference's at row `row`. */
static double logits_distance(const reference *r, const wcoh_session *session, int row)
{
    const wcoh_real *logits = wcoh_session_logits(session);
    double largest = 0;
    int i;
    if (!logits) return 1e9;
    for (i = 0; i < r->vocab; i++) {
        double d =
            fabs((double)logits[i] - (double)r->logits[(size_t)row * (size_t)r->vocab + (size_t)i]);
        if (!(d <= largest)) largest = d;
    }
    return largest;
}

/* Sequence b, the first `split` tokens by prefill and the others one by one. */
static void check_session(const reference *r, wcoh_session *session, int b, int split,
                          const char *isa)
{
    wcoh_error error = {WCOH_OK, ""};
    const uint32_t *tokens = r->tokens + (size_t)b * (size_t)r->seq;
    int t;
    wcoh_session_reset(session);
    if (split > 0) {
        CHECK_SAY(wcoh_session_prefill(session, tokens, (size_t)split, &error) == WCOH_OK, "%s",
                  error.text);
        CHECK_SAY(logits_distance(r, session, b * r->seq + split - 1) <= logit_tolerance,
                  "%s on %s: prefill of %d tokens is off by %.3g", r->name, isa, split,
                  logits_distance(r, session, b * r->seq + split - 1));
    }
    for (t = split; t < r->seq; t++) {
        if (!CHECK_SAY(wcoh_session_step(session, tokens[t], &error) == WCOH_OK, "%s", error.text))
            return;
        if (!CHECK_SAY(logits_distance(r, session, b * r->seq + t) <= logit_tolerance,
                       "%s on %s: step %d after a prefill of %d is off by %.3g", r->name, isa, t,
                       split, logits_distance(r, session, b * r->seq + t)))
            return;
    }
}

static void check_inference(const reference *r, wcoh_isa isa)
{
    wcoh_session_desc desc;
    wcoh_session *session = NULL;
    wcoh_error error = {WCOH_OK, ""};
    int b, split;
    memset(&desc, 0, sizeof desc);
    desc.prefill = 5; /* so that a prefill here takes several pieces */
    desc.cpu.isa = isa;
    if (!CHECK_SAY(wcoh_session_create(&session, r->model, &desc, &error) == WCOH_OK, "%s",
                   error.text))
        return;
    for (b = 0; b < r->batch; b++)
        for (split = 0; split <= r->seq; split += r->seq > 20 ? r->seq / 5 : 1)
            check_session(r, session, b, split, wcoh_isa_name(isa));
    wcoh_session_destroy(session);
}

static wcoh_isa current_isa;
static const char *current_name;

static void agrees_with_pytorch(void)
{
    reference r;
    if (reference_open(&r, current_name)) {
        check_training(&r, current_isa);
        if (!r.steps) check_inference(&r, current_isa);
    }
    reference_close(&r);
}

int main(int count, char **arguments)
{
    int i;
    size_t j;
    char label[80];
    if (count > 1) folder = arguments[1];
    for (i = 0; i < ISA_COUNT; i++) {
        if (!wcoh_cpu_has_isa(every_isa[i])) {
            if (sizeof(wcoh_real) == sizeof(float))
                printf("not run: %s is not on this machine or in this build\n",
                       wcoh_isa_name(every_isa[i]));
            continue;
        }
        current_isa = every_isa[i];
        for (j = 0; j < sizeof reference_names / sizeof *reference_names; j++) {
            current_name = reference_names[j];
            snprintf(label, sizeof label, "reference %s on %s", current_name,
                     wcoh_isa_name(every_isa[i]));
            test_run(agrees_with_pytorch, label);
        }
    }
    return test_end();
}

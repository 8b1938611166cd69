/* Every op of every kind of network against its formula in plain C (wcohi_<op>_plain), op by op:
   the scalar set in float64, and in float every instruction set of this machine. */
#define WAVECOH_SCALAR
#define WAVECOH_PLAIN
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"
#include "test.h"
#include "support.h"
#include "cases.h"

static wcoh_model *model;
static wcohi_engine engine;
static wcohi_allocation block;
static wcohi_plain plain;
static uint32_t tokens[512], targets[512];
static wcohi_rates rates; /* what is dropped; then the plan is one that trains */

/* A plan that scores, or trains, on one instruction set. */
static int engine_ready(wcoh_isa isa, int batch, int seq)
{
    wcohi_engine_desc wanted;
    wcohi_arena arena = {NULL, 0};
    wcoh_cpu_desc cpu;
    wcoh_error error = {WCOH_OK, ""};
    memset(&wanted, 0, sizeof wanted);
    memset(&cpu, 0, sizeof cpu);
    memset(&engine, 0, sizeof engine);
    cpu.threads = 1;
    cpu.isa = isa;
    wanted.model = wcoh_model_get_desc(model);
    wanted.batch = batch;
    wanted.seq = seq;
    wanted.mode = rates.branch > 0 ? WCOHI_MODE_TRAIN : WCOHI_MODE_SCORE;
    wanted.rates = rates;
    wanted.cpu = &cpu;
    if (!CHECK_SAY(wcohi_engine_measure(&wanted, &error) == WCOH_OK, "%s", error.text)) return 0;
    wcohi_engine_layout(&engine, &arena, &wanted);
    if (!CHECK(wcohi_allocation_take(&block, &arena, NULL, arena.used, "test", &error) == WCOH_OK))
        return 0;
    wcohi_engine_layout(&engine, &arena, &wanted);
    return CHECK_SAY(wcohi_engine_open(&engine, &wanted, model, &error) == WCOH_OK, "%s",
                     error.text);
}

static void *taken(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory) exit(3);
    return memory;
}

static void plain_open(int batch, int seq)
{
    const wcohi_plan *plan = &engine.plan;
    size_t widest = 0;
    int i;
    memset(&plain, 0, sizeof plain);
    plain.plan = plan;
    plain.params = model->params;
    plain.rows = (size_t)batch * (size_t)seq;
    plain.seq = (size_t)seq;
    plain.tokens = tokens;
    plain.targets = targets;
    plain.noise.on = rates.branch > 0;
    plain.noise.key[0] = 77;
    plain.noise.key[1] = 4000000000u;
    plain.noise.window = 4294967295u;
    plain.tensors = (double **)taken((size_t)plan->tensor_count, sizeof *plain.tensors);
    for (i = 0; i < plan->tensor_count; i++) {
        size_t width = (size_t)plan->tensors[i].width;
        plain.tensors[i] = (double *)taken(plain.rows * width, sizeof(double));
        if (width > widest) widest = width;
    }
    plain.room = (double *)taken(8 * widest, sizeof(double));
}

static void plain_close(void)
{
    int i;
    for (i = 0; i < engine.plan.tensor_count; i++) free(plain.tensors[i]);
    free(plain.tensors);
    free(plain.room);
}

/* |what the op wrote - what the formula says| against the norm of the latter. The formula goes on
   from what the op wrote, so that only its own rounding counts. Float: 3e-5 is what a norm loses
   whose rows hardly deviate from their mean. Double: series are cut at 1e-7 of the least weight. */
static void same_rows(const char *name, const wcohi_op *op, wcoh_isa isa)
{
    const wcoh_real *got = wcohi_tensor_data((const wcohi_cpu_exec *)(void *)engine.exec, op->out);
    double *want = plain.tensors[op->out], norm = 0, error = 0, most = IN_DOUBLE ? 1e-8 : 3e-5;
    size_t i;
    for (i = 0; i < plain.rows * (size_t)op->wide_out; i++) {
        norm += want[i] * want[i];
        error += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        want[i] = (double)got[i];
    }
    CHECK_SAY(sqrt(error) <= most * sqrt(norm), "%s: %s, op %s of layer %d: error %.3g of %.3g",
              wcoh_isa_name(isa), name, wcohi_op_names[op->kind], op->layer, sqrt(error),
              sqrt(norm));
}

static void run_case(int index, wcoh_isa isa)
{
    wcohi_run run;
    wcoh_error error;
    double nats = 0;
    int i, batch = cases[index].batch, seq = cases[index].seq;
    if (!engine_ready(isa, batch, seq)) return;
    plain_open(batch, seq);
    memset(&run, 0, sizeof run);
    run.tokens = tokens;
    run.targets = targets;
    run.batch = batch;
    run.seq = seq;
    run.scale = 1;
    run.active_bands = wcoh_model_get_desc(model)->bands;
    run.noise = plain.noise;
    for (i = 0; i < engine.plan.count; i++) {
        const wcohi_op *op = &engine.plan.ops[i];
        CHECK(engine.device->table->run(engine.exec, &run, i, i + 1, &error) == WCOH_OK);
        wcohi_plain_ops[op->kind](&plain, op);
        if (op->out >= 0) same_rows(cases[index].name, op, isa);
    }
    CHECK(engine.device->table->loss(engine.exec, &nats, &error) == WCOH_OK);
    CHECK_SAY(test_near(nats, plain.nats, (IN_DOUBLE ? 1e-9 : 1e-5) * plain.nats),
              "%s: %s: loss %.9g, by its formula %.9g", wcoh_isa_name(isa), cases[index].name, nats,
              plain.nats);
    plain_close();
    wcohi_engine_close(&engine);
    wcohi_allocation_give(&block);
}

static int current;

static void every_op_computes_its_formula(void)
{
    int rows = cases[current].batch * cases[current].seq, isa, i;
    wcoh_model_desc desc;
    char settings[512];
    snprintf(settings, sizeof settings, "%s%s", case_base, cases[current].settings);
    desc = model_desc_of(settings);
    if ((model = model_of(&desc)) == NULL) return;
    randomise(model, 29 + (uint64_t)current);
    random_tokens(tokens, (size_t)rows, desc.vocab, 5);
    random_tokens(targets, (size_t)rows, desc.vocab, 6);
    for (i = 2; i < rows; i += 3) targets[i] = WCOH_TARGET_NONE;
    EACH_ISA(isa) run_case(current, every_isa[isa]);
    wcoh_model_destroy(model);
}

/* Networks of a few kinds while they train. */
static void dropping_computes_its_formula(void)
{
    rates.branch = 0.3;
    rates.embed = 0.2;
    rates.phase = 0.5;
    rates.weight = 0.3;
    every_op_computes_its_formula();
    memset(&rates, 0, sizeof rates);
}

int main(void)
{
    char label[96];
    for (current = 0; current < (int)(sizeof cases / sizeof cases[0]); current++) {
        snprintf(label, sizeof label, "formulas: %s", cases[current].name);
        test_run(every_op_computes_its_formula, label);
        if (current % 8 || cases[current].seq > 100) continue;
        snprintf(label, sizeof label, "formulas, dropping: %s", cases[current].name);
        test_run(dropping_computes_its_formula, label);
    }
    return test_end();
}

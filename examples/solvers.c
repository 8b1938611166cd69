/* How far ways of solving the oscillators are from their flow, on what a trained network gives them.

   cc -O2 examples/solvers.c -o solvers -lm -lpthread
   ./solvers my.safetensors my.txt

   The flow is dz_k/dt = (-gamma_k + i phi_k) z_k, phi_k = omega_k + alpha |z_k|^2 + beta (the energies of
   the four neighbours), from t = 0 to 1. What oscillators are given is taken from a pass over the text;
   it is solved in doubles by classical Runge-Kutta in 1024 steps, the measure, and by
     exact          the closed form,
     split          neighbours' energies as they are at the start of each half,
     perturbative   first order in the shift of phase; limited: behind the soft knee it has by default,
     RK4-4, -8, -16 Runge-Kutta in so many steps.
   The error of a row z [2 K] is |z - measure| / |measure|: its mean and largest over the rows of each
   layer. Square is the mean of (z - measure)^2 over all numbers, as it was published. Loss and seconds
   are of the library with that solver and the same weights, over the text in windows.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"

#include "common.h"

enum { MEASURE_STEPS = 1024, WAYS = 7, LAYERS = 64 };

typedef struct way {
    const char *name;
    wcoh_solver solver;
    int steps; /* of RK4 */
    int limited;
} way;

static const way ways[WAYS] = {
    {"exact", WCOH_SOLVER_EXACT, 0, 0},
    {"split", WCOH_SOLVER_SPLIT, 0, 0},
    {"perturbative", WCOH_SOLVER_PERTURBATIVE, 0, 0},
    {"perturbative, limited", WCOH_SOLVER_PERTURBATIVE, 0, 1},
    {"RK4-4", WCOH_SOLVER_RK4, 4, 0},
    {"RK4-8", WCOH_SOLVER_RK4, 8, 0},
    {"RK4-16", WCOH_SOLVER_RK4, 16, 0},
};

typedef struct request {
    const char *model, *text;
    long long tokens, score, from, threads;
    choice unknown;
    int json;
} request;

static void request_read(request *r, int argc, char **argv)
{
    const option options[] = {
        {"tokens", OPTION_WHOLE, &r->tokens, 2, 4096, "rows of each layer to solve"},
        {"score", OPTION_WHOLE, &r->score, 2, 1e9, "tokens that the losses are of"},
        {"from", OPTION_WHOLE, &r->from, 0, 9e15, "first byte of the text"},
        UNKNOWN_OPTION(&r->unknown),
        THREADS_OPTION(&r->threads),
        {"json", OPTION_FLAG, &r->json, 0, 0, "print JSON"},
    };
    command c;
    memset(&c, 0, sizeof c);
    c.usage = "MODEL TEXT [options]\nErrors of solvers on what a network's oscillators are given.";
    c.options = options;
    c.option_count = (int)(sizeof options / sizeof options[0]);
    c.word_limit = 2;
    options_read(&c, argc, argv);
    if (c.word_count < 2) fail(EXIT_USAGE, "a model and a text are needed; --help explains");
    r->model = c.words[0];
    r->text = c.words[1];
}

/* ---- the flow, in doubles -------------------------------------------------------------------- */

/* Oscillators of a layer; z [2 K] is pairs of real and imaginary part. */
typedef struct oscillators {
    int bands;
    double *gamma, *omega, *energy, *shift; /* [K] */
    double alpha, beta, knee;
} oscillators;

/* shift_k = omega_k + alpha own_k + beta (others of the four neighbours) */
static void flow_shift(const oscillators *o, const double *own, const double *others)
{
    int k, d;
    for (k = 0; k < o->bands; k++) {
        double near_by = 0;
        for (d = -2; d <= 2; d++)
            if (d && k + d >= 0 && k + d < o->bands) near_by += others[k + d];
        o->shift[k] = o->omega[k] + o->alpha * own[k] + o->beta * near_by;
    }
}

static void flow_energies(const oscillators *o, const double *z)
{
    int k;
    for (k = 0; k < o->bands; k++) o->energy[k] = z[2 * k] * z[2 * k] + z[2 * k + 1] * z[2 * k + 1];
}

/* z_k *= e^(-damping_k + i angle_k) */
static void band_turn(double *z, double damping, double angle)
{
    double by = exp(-damping), re = z[0], im = z[1];
    z[0] = by * (cos(angle) * re - sin(angle) * im);
    z[1] = by * (sin(angle) * re + cos(angle) * im);
}

/* (1 - e^(-2 gamma t)) / (2 gamma): the integral of an energy over a time */
static double faded(double gamma, double time)
{
    return gamma > 0 ? -expm1(-2 * gamma * time) / (2 * gamma) : time;
}

/* The closed form: energies fall by themselves, so that phases are integrals of them. */
static void flow_exact(const oscillators *o, double *z)
{
    int k;
    flow_energies(o, z);
    for (k = 0; k < o->bands; k++) o->energy[k] *= faded(o->gamma[k], 1);
    flow_shift(o, o->energy, o->energy);
    for (k = 0; k < o->bands; k++) band_turn(z + 2 * k, o->gamma[k], o->shift[k]);
}

static void flow_split(const oscillators *o, double *z, double *own)
{
    int half, k;
    for (half = 0; half < 2; half++) {
        flow_energies(o, z);
        for (k = 0; k < o->bands; k++) {
            own[k] = o->energy[k] * faded(o->gamma[k], 0.5);
            o->energy[k] *= 0.5;
        }
        flow_shift(o, own, o->energy);
        for (k = 0; k < o->bands; k++)
            band_turn(z + 2 * k, 0.5 * o->gamma[k], o->shift[k] - 0.5 * o->omega[k]);
    }
}

/* The linear part, then (1 + i shift) times it. */
static void flow_perturbative(const oscillators *o, double *z)
{
    int k;
    for (k = 0; k < o->bands; k++) band_turn(z + 2 * k, o->gamma[k], o->omega[k]);
    flow_energies(o, z);
    flow_shift(o, o->energy, o->energy);
    for (k = 0; k < o->bands; k++) {
        double re = z[2 * k], im = z[2 * k + 1], shift = o->shift[k] - o->omega[k];
        z[2 * k] = re - shift * im;
        z[2 * k + 1] = im + shift * re;
    }
}

/* room [3, 2 K] */
static void flow_rk4(const oscillators *o, double *z, int steps, double *room)
{
    static const double node[4] = {0, 0.5, 0.5, 1}, weight[4] = {1, 2, 2, 1};
    int width = 2 * o->bands, step, stage, i, k;
    double *slope = room, *at = room + width, *next = at + width, h = 1.0 / steps;
    for (step = 0; step < steps; step++) {
        memcpy(next, z, (size_t)width * sizeof *z);
        memset(slope, 0, (size_t)width * sizeof *z);
        for (stage = 0; stage < 4; stage++) {
            for (i = 0; i < width; i++) at[i] = z[i] + h * node[stage] * slope[i];
            flow_energies(o, at);
            flow_shift(o, o->energy, o->energy);
            for (k = 0; k < o->bands; k++) {
                double re = at[2 * k], im = at[2 * k + 1];
                slope[2 * k] = -o->gamma[k] * re - o->shift[k] * im;
                slope[2 * k + 1] = -o->gamma[k] * im + o->shift[k] * re;
            }
            for (i = 0; i < width; i++) next[i] += h / 6 * weight[stage] * slope[i];
        }
        memcpy(z, next, (size_t)width * sizeof *z);
    }
}

/* |z_k| up to the knee as it is, then bent so that it stays below twice the knee. */
static void flow_limit(const oscillators *o, double *z)
{
    int k;
    for (k = 0; k < o->bands; k++) {
        double m = hypot(z[2 * k], z[2 * k + 1]), c = o->knee;
        double by = m > c ? (c + c * tanh((m - c) / c)) / m : 1;
        z[2 * k] *= by;
        z[2 * k + 1] *= by;
    }
}

static void flow_solve(const oscillators *o, const way *w, double *z, double *room)
{
    if (w->solver == WCOH_SOLVER_EXACT) flow_exact(o, z);
    if (w->solver == WCOH_SOLVER_SPLIT) flow_split(o, z, room);
    if (w->solver == WCOH_SOLVER_PERTURBATIVE) flow_perturbative(o, z);
    if (w->solver == WCOH_SOLVER_RK4) flow_rk4(o, z, w->steps, room);
}

/* ---- errors, layer by layer ------------------------------------------------------------------ */

/* Of a way in a layer. */
typedef struct error_sum {
    double mean, most, square;
} error_sum;

typedef struct look {
    wcoh_model *model;
    int rows;
    oscillators o;
    double *room;                       /* [6, 2 K] */
    double size[LAYERS], phase[LAYERS]; /* mean |z_k|^2; mean shift of phase past omega, radians */
    error_sum errors[LAYERS][WAYS];
    int seen[LAYERS];
} look;

/* Numbers of a layer's parameter, or NULL. */
static const wcoh_real *layer_param(const look *k, int layer, const char *name)
{
    wcoh_param p;
    char full[64];
    sprintf(full, "blocks.%d.ffn.%s", layer, name);
    return wcoh_model_param(k->model, wcoh_model_param_find(k->model, full), &p, NULL) < 0 ? NULL
                                                                                           : p.data;
}

static void oscillators_read(look *k, int layer)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(k->model);
    const wcoh_real *gamma = layer_param(k, layer, "kerr.gamma_raw"),
                    *omega = layer_param(k, layer, "kerr.omega");
    oscillators *o = &k->o;
    int i;
    for (i = 0; i < o->bands; i++) {
        o->gamma[i] = log1p(exp((double)gamma[i]));
        o->omega[i] = (double)omega[i];
    }
    o->alpha = (double)*layer_param(k, layer, "kerr.alpha");
    o->beta = (double)*layer_param(k, layer, "kerr.beta");
    o->knee = desc->ceiling;
}

/* What a layer's oscillators are given of a row, behind the limiter or not. */
static void row_given(const look *k, const wcoh_real *offset, const wcoh_real *row, int limited,
                      double *given)
{
    int width = 2 * k->o.bands, i;
    for (i = 0; i < width; i++) given[i] = (double)row[i];
    if (limited) flow_limit(&k->o, given);
    for (i = 0; offset && i < width; i++) given[i] += (double)offset[i];
}

/* A row of what a layer's oscillators are given, solved in every way. */
static void row_look(look *k, int layer, const wcoh_real *row)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(k->model);
    const wcoh_real *offset = layer_param(k, layer, "offset");
    int width = 2 * k->o.bands, limited = desc->limiter == WCOH_SWITCH_ON, i, w;
    double *given = k->room, *measure = given + width, *z = measure + width, *room = z + width,
           all = 0;
    row_given(k, offset, row, limited, given);
    for (i = 0; i < width; i++) k->size[layer] += given[i] * given[i] / k->o.bands / k->rows;
    memcpy(z, given, (size_t)width * sizeof *z);
    flow_exact(&k->o, z);
    for (i = 0; i < k->o.bands; i++)
        k->phase[layer] += fabs(k->o.shift[i] - k->o.omega[i]) / k->o.bands / k->rows;
    memcpy(measure, given, (size_t)width * sizeof *z);
    flow_rk4(&k->o, measure, MEASURE_STEPS, room);
    for (i = 0; i < width; i++) all += measure[i] * measure[i];
    for (w = 0; w < WAYS; w++) {
        error_sum *e = &k->errors[layer][w];
        double off = 0;
        row_given(k, offset, row, limited || ways[w].limited, z);
        flow_solve(&k->o, &ways[w], z, room);
        for (i = 0; i < width; i++) off += (z[i] - measure[i]) * (z[i] - measure[i]);
        e->square += off / width / k->rows;
        off = sqrt(off / all);
        e->mean += off / k->rows;
        if (e->most == e->most && !(off <= e->most)) e->most = off; /* NaN stays */
    }
}

static void layer_look(int layer, const wcoh_real *hidden, const float *maps, void *user)
{
    look *k = (look *)user;
    int row;
    (void)maps;
    if (layer >= LAYERS) return;
    k->seen[layer] = 1;
    oscillators_read(k, layer);
    for (row = 0; row < k->rows; row++)
        row_look(k, layer, hidden + (size_t)row * (size_t)(2 * k->o.bands));
}

static void look_open(look *k, wcoh_model *model, int rows)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(model);
    size_t bands = (size_t)desc->bands;
    memset(k, 0, sizeof *k);
    k->model = model;
    k->rows = rows;
    k->o.bands = desc->bands;
    k->o.gamma = (double *)memory_of(4 * bands, sizeof(double));
    k->o.omega = k->o.gamma + bands;
    k->o.energy = k->o.omega + bands;
    k->o.shift = k->o.energy + bands;
    k->room = (double *)memory_of(12 * bands, sizeof(double));
}

/* ---- loss with another solver and the same weights ------------------------------------------- */

static void params_copy(wcoh_model *to, const wcoh_model *from)
{
    wcoh_param here, there;
    int i;
    for (i = 0; i < wcoh_model_param_count(from); i++) {
        int at;
        if (wcoh_model_param(from, i, &here, NULL) < 0) continue;
        at = wcoh_model_param_find(to, here.name);
        if (at >= 0 && wcoh_model_param(to, at, &there, NULL) >= 0 && there.count == here.count)
            memcpy(there.data, here.data, here.count * sizeof *here.data);
    }
    wcoh_model_touch(to);
}

/* Mean over the windows that the tokens fill, *scored of them; a short text is one. */
static double way_loss(const wcoh_model *model, const way *w, const uint32_t *tokens, size_t count,
                       int threads, size_t *scored, double *seconds)
{
    wcoh_model_desc desc = *wcoh_model_get_desc(model);
    wcoh_eval_desc eval;
    wcoh_model *other;
    wcoh_error error;
    double loss = NAN, begun;
    desc.solver = w->solver;
    if (w->steps) desc.rk4_steps = w->steps;
    if (w->limited) desc.limiter = WCOH_SWITCH_ON;
    must(wcoh_model_create(&other, &desc, &error), w->name, &error);
    params_copy(other, model);
    memset(&eval, 0, sizeof eval);
    eval.cpu.threads = threads;
    eval.seq = desc.context < 64 ? desc.context : 64;
    if ((size_t)eval.seq >= count) eval.seq = (int)count - 1;
    *scored = (count - 1) / (size_t)eval.seq * (size_t)eval.seq;
    begun = seconds_now();
    if (wcoh_model_evaluate(other, &eval, tokens, count, &loss, NULL, &error) < 0) {
        if (error.code != WCOH_E_NUMERIC) must(error.code, w->name, &error);
        loss = NAN;
    }
    *seconds = seconds_now() - begun;
    wcoh_model_destroy(other);
    return loss;
}

/* ---- the report ------------------------------------------------------------------------------ */

static const char *number_text(double value)
{
    return value - value == 0 ? text_made("%.1e", value) : "overflows";
}

static void print_errors(const look *k)
{
    int layers = wcoh_model_get_desc(k->model)->layers, layer, w;
    printf("errors of solvers, %d rows a layer (mean and largest |error| / |z|; mean square)\n",
           k->rows);
    for (layer = 0; layer < layers && layer < LAYERS; layer++) {
        if (!k->seen[layer]) continue;
        printf("  layer %d: mean |z|^2 %.3g, mean turn by energies %.3g radians\n", layer + 1,
               k->size[layer], k->phase[layer]);
        for (w = 0; w < WAYS; w++) {
            const error_sum *e = &k->errors[layer][w];
            printf("    %-22s %10s %10s %10s\n", ways[w].name, number_text(e->mean),
                   number_text(e->most), number_text(e->square));
        }
    }
}

static void json_number(double value)
{
    if (value - value == 0) printf("%.9g", value);
    else printf("null");
}

static void json_errors(const look *k)
{
    int layer, w, shown = 0;
    printf("{\"rows\":%d,\"layers\":[", k->rows);
    for (layer = 0; layer < LAYERS; layer++) {
        if (!k->seen[layer]) continue;
        printf("%s\n{\"layer\":%d,\"size\":", shown++ ? "," : "", layer + 1);
        json_number(k->size[layer]);
        printf(",\"turn\":");
        json_number(k->phase[layer]);
        printf(",\"errors\":[");
        for (w = 0; w < WAYS; w++) {
            printf("%s{\"solver\":\"%s\",\"mean\":", w ? "," : "", ways[w].name);
            json_number(k->errors[layer][w].mean);
            printf(",\"most\":");
            json_number(k->errors[layer][w].most);
            printf(",\"square\":");
            json_number(k->errors[layer][w].square);
            printf("}");
        }
        printf("]}");
    }
    printf("],\n\"losses\":[");
}

static void report_losses(const wcoh_model *model, const uint32_t *tokens, size_t count,
                          const request *r)
{
    int w;
    for (w = 0; w < WAYS; w++) {
        size_t scored;
        double seconds,
            loss = way_loss(model, &ways[w], tokens, count, (int)r->threads, &scored, &seconds);
        char number[32];
        if (!r->json && w == 0)
            printf("loss with the same weights, %lu tokens (seconds of the pass)\n",
                   (unsigned long)scored);
        if (!r->json) {
            printf("    %-22s %10s %10.2f\n", ways[w].name, loss_text(loss, 4, number), seconds);
            continue;
        }
        printf("%s{\"solver\":\"%s\",\"loss\":", w ? "," : "", ways[w].name);
        json_number(loss);
        printf(",\"tokens\":%lu,\"seconds\":%.3f}", (unsigned long)scored, seconds);
    }
    if (r->json) printf("]}\n");
}

static void model_check(const wcoh_model *model, const char *path)
{
    const wcoh_model_desc *desc = wcoh_model_get_desc(model);
    const char *reason = NULL;
    if (!wcoh_model_tokenizer(model)) reason = "it has no tokenizer";
    if (desc->mixing > 0) reason = "its waves are mixed: that flow has no closed form";
    if (desc->gain_control == WCOH_SWITCH_ON) reason = "its limiter has learned (gain_control)";
    if (desc->rk4_weights == WCOH_SWITCH_ON) reason = "its Runge-Kutta weights are learned";
    if (reason) fail(EXIT_FAILED, "%s: %s", path, reason);
}

int main(int argc, char **argv)
{
    request r;
    wcoh_model *model;
    wcoh_error error;
    wcoh_cpu_desc cpu;
    uint32_t *tokens;
    size_t size, count;
    char *text;
    look k;
    int i, any = 0;
    program_begin("solvers");
    memset(&r, 0, sizeof r);
    memset(&cpu, 0, sizeof cpu);
    r.tokens = 256;
    r.score = 32768;
    r.unknown.words = UNKNOWN_WORDS;
    request_read(&r, argc, argv);
    cpu.threads = (int)r.threads;
    must(wcoh_model_load_file(&model, r.model, NULL, &error), NULL, &error);
    model_check(model, r.model);
    text = file_read(r.text, &size);
    if ((size_t)r.from >= size) fail(EXIT_USAGE, "--from is behind the end of %s", r.text);
    size = text_plain_for(wcoh_model_tokenizer(model), text + r.from, size - (size_t)r.from);
    tokens = text_encode(r.unknown.index, wcoh_model_tokenizer(model), text + r.from, size,
                         file_named(r.text), (size_t)r.from, &count);
    if (count < 2) fail(EXIT_FAILED, "%s: two tokens are needed", r.text);
    if (count > (size_t)r.score) count = (size_t)r.score;
    look_open(&k, model, count < (size_t)r.tokens ? (int)count : (int)r.tokens);
    must(wcoh_model_inspect_oscillators(model, tokens, k.rows, &cpu, NULL, layer_look, &k, &error),
         r.text, &error);
    for (i = 0; i < LAYERS; i++) any |= k.seen[i];
    if (!any) fail(EXIT_FAILED, "%s: it has no oscillators", r.model);
    if (wcoh_model_get_desc(model)->layers > LAYERS)
        say("%s: errors are those of its first %d layers", r.model, (int)LAYERS);
    if (r.json) json_errors(&k);
    else print_errors(&k);
    report_losses(model, tokens, count, &r);
    wcoh_model_destroy(model);
    free(k.o.gamma);
    free(k.room);
    free(tokens);
    free(text);
    stdout_check();
    return 0;
}

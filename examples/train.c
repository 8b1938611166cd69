/* Train a wave-coherence network on a text; `./train` alone learns this library's own source.

   cc -O2 examples/train.c -o train -lm -lpthread
   cc -O2 -DWAVECOH_VULKAN examples/train.c -o train -lm -lpthread     (adds --device vulkan[:N])

   Lines on stdout, for scripts: first, in bytes,
       split train 0..1003854 val 1003854..1115394
   at each evaluation (train is the mean since the line before; val is nan without evaluation)
       step 200 train 2.3012 val 2.3102 lr 3.0e-03 tok/s 38000 eta 00:12
   and at the end, with a sample between them that has "| " before each of its lines,
       best val 1.7285 step 2000 file model.best.safetensors
       done val 1.7285 steps 2000 seconds 14.2 params 276424

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#define WAVECOH_IMPLEMENTATION
#ifdef WAVECOH_VULKAN
#include "../wavecoh_vk.h"
#else
#include "../wavecoh.h"
#endif

#include "common.h"

#include <signal.h>

/* ---- what was asked for ---------------------------------------------------------------------- */

typedef struct request {
    const char *data, *out, *resume, *preset, *tokenizer, *device, *isa, *log;
    long long threads, sample;
    double seconds;
    wcoh_model_desc model;
    wcoh_trainer_desc trainer;
    int seq;   /* tokens a window, its default filled in */
    int paced; /* 1: steps are chosen so that the run takes `seconds` */
    int own_warmup, own_evals, own_windows; /* 1: given, so that pacing leaves them alone */
} request;

static const char usage[] =
    "[--data FILE] [options]\n"
    "Learns a text and leaves a checkpoint; without --data it learns wavecoh.h for ten seconds.\n"
    "Ctrl-C saves and ends. --help after --preset NAME shows that preset's settings.";

static wcoh_preset preset_named(const char *name)
{
    static const char *const names[] = {"wave", "gpt", "kerr_engine", "wave_engine"};
    int i;
    for (i = 0; i < 4; i++)
        if (option_is(names[i], name, strlen(name))) return (wcoh_preset)i;
    fail(EXIT_USAGE, "--preset is \"%s\": allowed are wave gpt kerr-engine wave-engine", name);
    return WCOH_PRESET_WAVE;
}

/* Presets and checkpoints set fields that other options then change, wherever they stand. */
static void request_base(request *r, const command *c, int argc, char **argv, wcoh_model **model)
{
    wcoh_error error;
    const char *preset = option_given(c, argc, argv, "preset");
    const char *resume = option_given(c, argc, argv, "resume");
    if (preset && resume) fail(EXIT_USAGE, "--preset and --resume exclude each other");
    if (preset) {
        r->model = wcoh_model_preset(preset_named(preset), 0);
        r->trainer = wcoh_trainer_preset(preset_named(preset));
    }
    if (!resume) return;
    must(wcoh_model_load_file(model, resume, NULL, &error), NULL, &error);
    must(wcoh_trainer_read_desc_file(&r->trainer, resume, &error), NULL, &error);
    r->model = *wcoh_model_get_desc(*model);
}

static void request_check(request *r, const command *c, int argc, char **argv)
{
    char spelled[32];
    wcoh_trainer_desc resolved;
    wcoh_error error;
    int steps = option_given(c, argc, argv, "steps") != NULL;
    int seconds = option_given(c, argc, argv, "seconds") != NULL;
    if (r->resume && c->descs[0].first)
        fail(EXIT_USAGE, "--%s is fixed in %s; with --resume only trainer options may change",
             option_spelled(c->descs[0].first, spelled), r->resume);
    if (r->resume && option_given(c, argc, argv, "tokenizer"))
        fail(EXIT_USAGE, "--tokenizer is fixed in %s", r->resume);
    if (r->resume && !r->data)
        fail(EXIT_USAGE, "--resume needs --data, the text that it goes on with");
    if (seconds && (steps || r->resume))
        fail(EXIT_USAGE,
             "--seconds chooses the steps itself: it goes with neither --steps nor --resume");
    if (!r->out) r->out = r->resume ? r->resume : "model.safetensors";
    r->paced = seconds || (!r->data && !steps);
    r->own_warmup = option_given(c, argc, argv, "warmup") != NULL;
    r->own_evals = option_given(c, argc, argv, "eval_every") != NULL;
    r->own_windows = option_given(c, argc, argv, "eval_batches") != NULL;
    r->trainer.cpu.threads = (int)r->threads;
    r->trainer.cpu.isa = isa_named(r->isa);
    resolved = r->trainer;
    if (wcoh_trainer_desc_resolve(&resolved, NULL, &error)) fail(EXIT_USAGE, "%s", error.text);
    r->seq = resolved.seq;
}

static void request_read(request *r, int argc, char **argv, wcoh_model **model)
{
    const option options[] = {
        {"data", OPTION_TEXT, &r->data, 0, 0, "the text to learn; wavecoh.h if not given"},
        {"out", OPTION_TEXT, &r->out, 0, 0,
         "checkpoint to leave; model.safetensors, or the one resumed"},
        {"resume", OPTION_TEXT, &r->resume, 0, 0, "checkpoint to go on from"},
        {"preset", OPTION_TEXT, &r->preset, 0, 0,
         "start from other defaults: wave gpt kerr-engine wave-engine"},
        {"tokenizer", OPTION_TEXT, &r->tokenizer, 0, 0,
         "chars, bytes; auto: chars up to 512 different ones"},
        {"seconds", OPTION_REAL, &r->seconds, 0.1, 1e6,
         "choose the steps so that it takes that long; without --data: 10"},
        THREADS_OPTION(&r->threads),
        ISA_OPTION(&r->isa),
        DEVICE_OPTION(&r->device),
        {"log", OPTION_TEXT, &r->log, 0, 0, "write a CSV file with one row a step"},
        {"sample", OPTION_WHOLE, &r->sample, 0, 1e9, "symbols to write at the end; 0: none"},
    };
    wcoh_model_desc model_shown;
    wcoh_trainer_desc trainer_shown;
    settings descs[2];
    command c;
    memset(descs, 0, sizeof descs);
    memset(&c, 0, sizeof c);
    c.usage = usage;
    c.options = options;
    c.option_count = (int)(sizeof options / sizeof options[0]);
    request_base(r, &c, argc, argv, model);
    model_shown = r->model;
    trainer_shown = r->trainer;
    if (!model_shown.vocab) model_shown.vocab = 65;
    wcoh_model_desc_resolve(&model_shown, NULL);
    wcoh_trainer_desc_resolve(&trainer_shown, NULL, NULL);
    descs[0].title = "model";
    descs[0].kind = WCOH_DESC_MODEL;
    descs[0].desc = &r->model;
    descs[0].shown = &model_shown;
    descs[0].skip = "vocab"; /* the text's alphabet gives it */
    descs[1].title = "trainer";
    descs[1].kind = WCOH_DESC_TRAINER;
    descs[1].desc = &r->trainer;
    descs[1].shown = &trainer_shown;
    c.descs = descs;
    c.desc_count = 2;
    options_read(&c, argc, argv);
    request_check(r, &c, argc, argv);
}

/* ---- the text -------------------------------------------------------------------------------- */

typedef struct corpus {
    char *text;
    size_t size, cut; /* bytes; validation begins at `cut` */
    uint32_t *train, *val;
    size_t train_count, val_count;
    wcoh_tokenizer *made; /* for this text; NULL: the resumed model's is used */
} corpus;

static const char *find_own_source(void)
{
    static const char *const places[] = {"wavecoh.h", "../wavecoh.h"};
    int i;
    for (i = 0; i < 2; i++) {
        FILE *file = fopen(places[i], "rb");
        if (!file) continue;
        fclose(file);
        return places[i];
    }
    fail(EXIT_USAGE, "wavecoh.h is neither here nor one folder up: give a text with --data");
    return NULL;
}

/* The tokenizer that was asked for, or that suits the text. */
static wcoh_tokenizer *choose_tokenizer(const request *r, const corpus *text)
{
    wcoh_tokenizer *tokenizer = NULL;
    wcoh_error error;
    int bytes = strcmp(r->tokenizer, "bytes") == 0, chars = strcmp(r->tokenizer, "chars") == 0;
    if (!bytes && !chars && strcmp(r->tokenizer, "auto") != 0)
        fail(EXIT_USAGE, "--tokenizer is \"%s\": allowed are auto chars bytes", r->tokenizer);
    if (!bytes) {
        wcoh_result result =
            wcoh_tokenizer_create_chars(&tokenizer, text->text, text->size, NULL, &error);
        if (chars || result == WCOH_E_MEMORY) must(result, r->data, &error);
        if (!result && (chars || wcoh_tokenizer_vocab(tokenizer) <= 512)) return tokenizer;
        wcoh_tokenizer_destroy(tokenizer);
    }
    must(wcoh_tokenizer_create_bytes(&tokenizer, NULL, &error), NULL, &error);
    return tokenizer;
}

/* Nine tenths to learn from, the rest to validate; a character of UTF-8 is not cut. */
static void corpus_split(corpus *text, const wcoh_tokenizer *tokenizer, const request *r)
{
    size_t n = text->size, seq = (size_t)r->seq;
    int evaluated = r->trainer.eval_every >= 0;
    text->cut = evaluated ? n / 10 * 9 + n % 10 * 9 / 10 : n;
    if (wcoh_tokenizer_get_kind(tokenizer) == WCOH_TOKENIZER_CHARS)
        while (text->cut > 0 && text->cut < n &&
               ((unsigned char)text->text[text->cut] & 0xc0) == 0x80)
            text->cut--;
    text->train = text_encode(tokenizer, text->text, text->cut, r->data, 0, &text->train_count);
    text->val = text_encode(tokenizer, text->text + text->cut, n - text->cut, r->data, text->cut,
                            &text->val_count);
    if (text->train_count < seq + 1)
        fail(EXIT_FAILED,
             "%s: %lu tokens to learn from are too few for a window of %lu and the one after it",
             r->data, (unsigned long)text->train_count, (unsigned long)seq);
    if (evaluated && text->val_count < seq + 1)
        fail(EXIT_FAILED,
             "%s: its last tenth, %lu tokens, is too short for a window of %lu (--seq) and the one "
             "after it; --eval-every -1 trains without validation",
             r->data, (unsigned long)text->val_count, (unsigned long)seq);
}

/* Read, choose an alphabet unless `model` has one, split and encode. */
static void corpus_open(corpus *text, request *r, const wcoh_model *model)
{
    const wcoh_tokenizer *tokenizer = model ? wcoh_model_tokenizer(model) : NULL;
    if (model && !tokenizer)
        fail(EXIT_FAILED, "%s: it has no tokenizer: its symbols are not those of a text",
             r->resume);
    text->text = file_read(r->data, &text->size);
    if (!model) tokenizer = text->made = choose_tokenizer(r, text);
    corpus_split(text, tokenizer, r);
    r->model.tokenizer = tokenizer;
    r->model.vocab = wcoh_tokenizer_vocab(tokenizer);
}

static void corpus_close(corpus *text)
{
    wcoh_tokenizer_destroy(text->made);
    free(text->train);
    free(text->val);
    free(text->text);
}

/* ---- the run --------------------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    interrupted = 1;
    signal(signal_number, SIG_DFL); /* the second one ends the program at once */
}

typedef struct run {
    const request *ask;
    const corpus *text;
    wcoh_model *model;
    wcoh_trainer *trainer;
    wcoh_device *device;
    FILE *log;
    char best[1024];         /* path of the best weights */
    wcoh_stats last;         /* of the last step or evaluation */
    int evaluated, improved; /* by the unit of work just done */
    int unlogged;            /* 1: `last` is a step whose row waits for its validation loss */
    double started;          /* seconds_now() when training began */
    double marked;           /* and when the last step or evaluation ended */
    uint64_t first_step;
    double step_seconds; /* since the last line, without evaluation and saving */
    double loss_sum;     /* since the last line */
    long loss_count;
    double shown; /* when the live line was drawn last; negative: there is none */
} run;

static const char *loss_text(double loss, char text[32])
{
    if (loss < 0) strcpy(text, "nan");
    else sprintf(text, "%.4f", loss);
    return text;
}

static const char *eta_text(double seconds, char text[32])
{
    unsigned long s = seconds < 3.6e8 ? (unsigned long)(seconds + 0.5) : 360000000ul;
    if (s < 3600) sprintf(text, "%02lu:%02lu", s / 60, s % 60);
    else sprintf(text, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
    return text;
}

static double eta_seconds(const run *r)
{
    uint64_t done = r->last.step - r->first_step;
    uint64_t all = (uint64_t)wcoh_trainer_get_desc(r->trainer)->steps;
    if (done == 0 || r->last.step >= all) return 0;
    return (seconds_now() - r->started) / (double)done * (double)(all - r->last.step);
}

/* The line on a terminal that time rewrites; nothing of it is left in a file. */
static void live_line(run *r)
{
    char eta[32];
    double now = seconds_now();
    if (r->last.step == 0 || (r->shown >= 0 && now - r->shown < 0.2)) return;
    r->shown = now;
    fprintf(stderr, "\rstep %lu of %d  train %.4f  eta %s   ", (unsigned long)r->last.step,
            wcoh_trainer_get_desc(r->trainer)->steps, r->last.train_loss,
            eta_text(eta_seconds(r), eta));
    fflush(stderr);
}

static void live_clear(run *r)
{
    if (r->shown >= 0) fprintf(stderr, "\r%60s\r", "");
    r->shown = -1;
}

static void log_row(run *r, double val)
{
    const wcoh_stats *s = &r->last;
    char text[32] = "";
    if (val >= 0) sprintf(text, "%.6f", val);
    if (r->unlogged && r->log)
        fprintf(r->log, "%lu,%.6f,%s,%.6e,%.6f,%lu,%.3f\n", (unsigned long)s->step, s->train_loss,
                text, s->lr, s->grad_norm, (unsigned long)s->tokens, s->seconds);
    r->unlogged = 0;
}

/* The library calls this after each step and after each evaluation. */
static void on_progress(const wcoh_stats *stats, void *user)
{
    run *r = (run *)user;
    double now = seconds_now();
    if (stats->evaluated) {
        log_row(r, stats->val_loss);
    } else {
        log_row(r, -1);
        r->unlogged = 1;
        r->loss_sum += stats->train_loss;
        r->loss_count++;
        r->step_seconds += now - r->marked;
    }
    r->last = *stats;
    r->evaluated = stats->evaluated;
    r->improved = stats->improved;
    r->marked = now;
}

static void step_line(run *r)
{
    const wcoh_trainer_desc *desc = wcoh_trainer_get_desc(r->trainer);
    char train[32], val[32], eta[32];
    double tokens = (double)r->loss_count * desc->batch * desc->seq * desc->accumulate;
    live_clear(r);
    printf("step %lu train %s val %s lr %.1e tok/s %.0f eta %s\n", (unsigned long)r->last.step,
           loss_text(r->loss_count ? r->loss_sum / (double)r->loss_count : -1, train),
           loss_text(r->evaluated ? r->last.val_loss : -1, val), r->last.lr,
           r->step_seconds > 0 ? tokens / r->step_seconds : 0.0, eta_text(eta_seconds(r), eta));
    r->loss_sum = r->step_seconds = 0;
    r->loss_count = 0;
}

/* ---- saving ---------------------------------------------------------------------------------- */

/* Before anything is computed: the checkpoint will have a place. Devices and pipes are written as
   they are, without a file beside them. */
static void check_out(const char *path)
{
    char probe[1024];
    FILE *file;
    if (strlen(path) + 32 > sizeof probe) fail(EXIT_FAILED, "--out: the path is too long");
    if (path_is_special(path)) return;
    sprintf(probe, "%s.probe", path);
    file = path_is_folder(path) ? NULL : fopen(probe, "wb");
    if (!file)
        fail(EXIT_FAILED, "%s: cannot save there: %s", path,
             path_is_folder(path) ? "it is a folder" : strerror(errno));
    fclose(file);
    remove(probe);
}

/* model.safetensors -> model.best.safetensors */
static void best_path(run *r)
{
    static const char end[] = ".safetensors";
    const char *out = r->ask->out;
    size_t length = strlen(out), cut = sizeof end - 1;
    if (path_is_special(out)) return;
    if (length > cut && strcmp(out + length - cut, end) == 0) length -= cut;
    sprintf(r->best, "%.*s.best.safetensors", (int)length, out);
}

static int save_failed(run *r, const wcoh_error *error, int last)
{
    live_clear(r);
    say("%s%s", error->text, last ? "" : "; the next evaluation tries again");
    return 0;
}

/* The checkpoint, and the weights alone where they are the best so far. `last`: there will be no
   other chance. */
static int save(run *r, int last)
{
    wcoh_error error;
    if (wcoh_trainer_save_file(r->trainer, r->ask->out, &error))
        return save_failed(r, &error, last);
    if (!r->improved || !*r->best) return 1;
    if (wcoh_trainer_sync(r->trainer, &error)) return save_failed(r, &error, last);
    if (wcoh_model_save_file(r->model, r->best, &error)) return save_failed(r, &error, last);
    return 1;
}

/* ---- training -------------------------------------------------------------------------------- */

static void open_trainer(run *r, const wcoh_trainer_desc *desc)
{
    wcoh_error error;
    wcoh_result result = wcoh_trainer_create(&r->trainer, r->model, desc, &error);
    const corpus *t = r->text;
    if (result == WCOH_E_ARGUMENT) fail(EXIT_USAGE, "%s", error.text);
    must(result, NULL, &error);
    must(wcoh_trainer_set_data(r->trainer, t->train, t->train_count, t->val_count ? t->val : NULL,
                               t->val_count, &error),
         r->ask->data, &error);
}

static void open_model(run *r)
{
    wcoh_error error;
    wcoh_result result = wcoh_model_create(&r->model, &r->ask->model, &error);
    if (result == WCOH_E_ARGUMENT) fail(EXIT_USAGE, "%s", error.text);
    must(result, NULL, &error);
}

/* Choose steps, warm-up and evaluations so that training takes about `seconds`: a second of trial
   on a model that is then thrown away. */
static void pace(run *r, wcoh_trainer_desc *desc)
{
    const request *ask = r->ask;
    wcoh_error error;
    wcoh_stats stats;
    double start = seconds_now(), began, step_time, eval_time = 0, left, val;
    const int evaluations = 5;
    if (!ask->own_windows) desc->eval_batches = 8;
    open_trainer(r, desc);
    must(wcoh_trainer_step(r->trainer, &stats, &error), NULL, &error); /* the first one is slow */
    began = seconds_now();
    do must(wcoh_trainer_step(r->trainer, &stats, &error), NULL, &error);
    while (seconds_now() - began < 0.1 * ask->seconds && !interrupted);
    step_time = (seconds_now() - began) / (double)(stats.step - 1);
    if (r->text->val_count) {
        began = seconds_now();
        must(wcoh_trainer_evaluate(r->trainer, &val, &error), NULL, &error);
        eval_time = seconds_now() - began;
    }
    left = ask->seconds - (seconds_now() - start) - evaluations * eval_time;
    desc->steps = left > 10 * step_time ? (int)(left / step_time) : 10;
    if (!ask->own_evals) desc->eval_every = (desc->steps + evaluations - 1) / evaluations;
    if (!ask->own_warmup) desc->warmup = desc->steps < 1000 ? (desc->steps + 9) / 10 : 100;
    wcoh_trainer_destroy(r->trainer);
    wcoh_model_destroy(r->model);
    open_model(r);
}

static void open_log(run *r)
{
    const char *path = r->ask->log;
    if (!path) return;
    r->log = fopen(path, r->ask->resume ? "ab" : "wb");
    if (!r->log) fail(EXIT_FAILED, "%s: cannot write it: %s", path, strerror(errno));
    fseek(r->log, 0, SEEK_END);
    if (ftell(r->log) <= 0) fputs("step,train,val,lr,grad_norm,tokens,seconds\n", r->log);
}

/* Lines and rows so far are where they belong; else all that can be kept is kept, and it ends. */
static void check_outputs(run *r)
{
    int log_failed = r->log && (fflush(r->log) != 0 || ferror(r->log));
    if (stdout_is_well() && !log_failed) return;
    if (!save(r, 1)) exit(EXIT_FAILED);
    fail(EXIT_FAILED, "cannot write %s; the model of step %lu is saved in %s",
         log_failed ? r->ask->log : "to stdout", (unsigned long)r->last.step, r->ask->out);
}

/* What follows a unit of work that ended a step or an evaluation. */
static void after_unit(run *r)
{
    int silent = !r->text->val_count && r->last.step % 100 == 0 && r->loss_count > 0;
    if (!r->evaluated && !silent) return;
    step_line(r);
    r->evaluated = 0;
    if (!r->last.done) { /* the end saves anyway */
        save(r, 0);
        r->improved = 0;
    }
    check_outputs(r);
    r->marked = seconds_now();
}

/* Work until the run is done or interrupted; 0 after a failure of the numbers. */
static int train(run *r)
{
    wcoh_error error;
    wcoh_stats stats;
    int terminal = stderr_is_terminal();
    wcoh_trainer_stats(r->trainer, &stats);
    r->last = stats;
    r->first_step = stats.step;
    r->started = r->marked = seconds_now();
    while (!stats.done && !interrupted) {
        wcoh_result result = wcoh_trainer_run(r->trainer, 0, &stats, &error); /* one unit of work */
        if (result) {
            live_clear(r);
            if (save(r, 1))
                say("%s; %s holds the model as it was after step %lu", error.text, r->ask->out,
                    (unsigned long)stats.step);
            return 0;
        }
        r->last.done = stats.done;
        after_unit(r);
        if (terminal) live_line(r);
    }
    live_clear(r);
    return 1;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void write_sample(run *r)
{
    const wcoh_tokenizer *tokenizer = wcoh_model_tokenizer(r->model);
    wcoh_session_desc session;
    wcoh_sample_desc sample;
    writer w;
    uint32_t token = first_token(r->model);
    long long i;
    int j, length, line_start = 1;
    char bytes[4];
    memset(&session, 0, sizeof session);
    memset(&sample, 0, sizeof sample);
    session.device = r->device;
    session.cpu.isa = r->ask->trainer.cpu.isa;
    sample.temperature = 0.8;
    writer_open(&w, r->model, &session, &sample);
    writer_hear(&w, &token, 1);
    for (i = 0; i < r->ask->sample && !interrupted; i++) {
        length = wcoh_tokenizer_decode(tokenizer, writer_next(&w), bytes);
        for (j = 0; j < length; j++) {
            if (line_start) fputs("| ", stdout);
            putchar(bytes[j]);
            line_start = bytes[j] == '\n';
        }
    }
    if (!line_start) putchar('\n');
    writer_close(&w);
}

static int finish(run *r)
{
    wcoh_error error;
    wcoh_stats stats;
    char val[32];
    double seconds = seconds_now() - r->started;
    int saved;
    log_row(r, -1);
    saved = save(r, 1);
    wcoh_trainer_stats(r->trainer, &stats);
    if (interrupted && saved)
        say("interrupted: step %lu is saved; go on with --resume %s --data %s",
            (unsigned long)stats.step, r->ask->out, r->ask->data);
    if (stats.best_val >= 0 && *r->best)
        printf("best val %.4f step %lu file %s\n", stats.best_val, (unsigned long)stats.best_step,
               r->best);
    must(wcoh_trainer_sync(r->trainer, &error), NULL, &error);
    if (r->ask->sample > 0 && !interrupted) write_sample(r);
    printf("done val %s steps %lu seconds %.1f params %lu\n", loss_text(stats.val_loss, val),
           (unsigned long)stats.step, seconds, (unsigned long)wcoh_model_trained_count(r->model));
    check_outputs(r);
    return saved ? 0 : EXIT_FAILED;
}

/* From the request to a trainer that is ready for its next step. */
static void run_open(run *r, const request *ask, const corpus *text)
{
    wcoh_trainer_desc desc = ask->trainer;
    wcoh_error error;
    r->ask = ask;
    r->text = text;
    r->shown = -1;
    best_path(r);
    if (!r->model) open_model(r);
    r->device = device_named(ask->device);
    desc.device = r->device;
    signal(SIGINT, on_interrupt);
    signal(SIGTERM, on_interrupt);
    if (ask->paced) pace(r, &desc);
    desc.progress = on_progress;
    desc.progress_user = r;
    open_trainer(r, &desc);
    if (ask->resume) must(wcoh_trainer_resume_file(r->trainer, ask->resume, &error), NULL, &error);
    open_log(r);
    printf("split train 0..%lu val %lu..%lu\n", (unsigned long)text->cut, (unsigned long)text->cut,
           (unsigned long)text->size);
    check_outputs(r);
}

/* Returns `status`, or a failure of the log's last bytes. */
static int run_close(run *r, int status)
{
    if (r->log && fclose(r->log) && !status) {
        say("%s: cannot write it: %s", r->ask->log, strerror(errno));
        status = EXIT_FAILED;
    }
    wcoh_trainer_destroy(r->trainer);
    wcoh_model_destroy(r->model);
    device_close(r->device);
    return status;
}

int main(int argc, char **argv)
{
    request ask;
    corpus text;
    run r;
    int status;
    program_name = "train";
    memset(&ask, 0, sizeof ask);
    memset(&text, 0, sizeof text);
    memset(&r, 0, sizeof r);
    ask.tokenizer = ask.isa = "auto";
    ask.device = "cpu";
    ask.seconds = 10;
    ask.sample = 300;
    request_read(&ask, argc, argv, &r.model);
    if (!ask.data) ask.data = find_own_source();
    check_out(ask.out);
    corpus_open(&text, &ask, r.model);
    run_open(&r, &ask, &text);
    status = run_close(&r, train(&r) ? finish(&r) : EXIT_FAILED);
    corpus_close(&text);
    return status;
}

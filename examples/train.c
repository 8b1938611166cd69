/* Train a wave-coherence network on a text; `./train` alone learns this library's own source.

   cc -O2 examples/train.c -o train -lm -lpthread
   cc -O2 -DWAVECOH_VULKAN examples/train.c -o train -lm -lpthread     (adds --device vulkan[:N])

   Lines on stdout, for scripts: first, in bytes, and what the letters are (of several texts a line
   each, with "file NAME" at its end), what --dropout auto comes to, and what --freeze holds
       split train 0..1003854 val 1003854..1115394
       tokenizer chars: 65 different characters
       dropout 0.00 of 1.5 passes over the text, 0.28 parameters a symbol
       frozen 270056 of 277024 parameters
   at each evaluation (train is the mean since the line before; without validation there is no val,
   without end no eta)
       step 200 train 2.3012 val 2.3102 lr 3.0e-03 tok/s 38000 eta 00:12
   with --profile first where the time of the first steps went,
       profile linear     backward  12 ops     5.123 ms  30.2 %     10.1 GB/s      85.3 GFLOP/s
   at the end of a stage, the loss of each validation text,
       stage 1 step 600 val 1.9312 easy.txt val 3.1034 hard.txt
   and at the end, with a sample of the best weights between them that has "| " before each line,
       best val 1.6158 step 2000 file model.best.safetensors
       done val 1.6158 steps 2000 seconds 301.2 params 277024

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#define WAVECOH_IMPLEMENTATION
#ifdef WAVECOH_VULKAN
#include "../wavecoh_vk.h"
#else
#include "../wavecoh.h"
#endif

#include "corpus.h"
#include "team.h"

#include <math.h>

/* ---- what was asked for ---------------------------------------------------------------------- */

typedef struct request {
    corpus_desc corpus;
    const char *out, *resume, *from, *preset, *device, *isa, *log;
    text_list frozen;   /* patterns of names */
    const char *stages; /* "0.3,0.3,0.4", or NULL */
    double mix;
    wcoh_stage stage[WCOH_STAGES_MAX]; /* of it, one a text */
    long long threads, sample, finish;
    double seconds;
    int no_replace, profile, tune;
    wcoh_model_desc model;
    wcoh_trainer_desc trainer;
    int paced; /* 1: steps are chosen so that the run takes `seconds` */
    int drops; /* 1: --dropout auto */
    int own_warmup, own_evals, own_windows; /* 1: given, so that pacing leaves them alone */
} request;

static const char usage[] =
    "[--data FILE] [options]\n"
    "Learns a text and leaves a checkpoint; without --data it learns wavecoh.h for ten seconds.\n"
    "Ctrl-C saves and ends. --help after --preset NAME shows that preset's settings.\n"
    "--dropout auto: " DROPOUT_AUTO_IS;

/* Presets and checkpoints set fields that other options then change, wherever they stand. */
static void request_base(request *r, const command *c, int argc, char **argv, wcoh_model **model)
{
    wcoh_error error;
    const char *preset = option_given(c, argc, argv, "preset");
    const char *resume = option_given(c, argc, argv, "resume");
    const char *from = option_given(c, argc, argv, "from");
    if (preset && resume) fail(EXIT_USAGE, "--preset and --resume exclude each other");
    if (from && resume) fail(EXIT_USAGE, "--from and --resume exclude each other");
    if (preset && from) fail(EXIT_USAGE, "--preset and --from exclude each other");
    if (preset) preset_take(c, preset, &r->model, &r->trainer);
    if (!resume && !from) return;
    must(wcoh_model_load_file(model, resume ? resume : from, NULL, &error), NULL, &error);
    if (resume) must(wcoh_trainer_read_desc_file(&r->trainer, resume, &error), NULL, &error);
    r->model = *wcoh_model_get_desc(*model);
}

/* One stage for each text, in their order. */
static void request_stages(request *r)
{
    const char *at = r->stages;
    char *end;
    int i, count = r->corpus.data.count;
    if (count < 2 || count > WCOH_STAGES_MAX)
        fail(EXIT_USAGE, "--stages goes by 2 to %d texts (--data)", WCOH_STAGES_MAX);
    for (i = 0; i < count; i++, at = end + (*end == ',')) {
        r->stage[i].share = strtod(at, &end);
        r->stage[i].first = (size_t)i;
        r->stage[i].count = 1;
        r->stage[i].earlier = i ? r->mix : 0;
        if (end == at || (*end && *end != ',') || (*end == 0) != (i + 1 == count))
            fail(EXIT_USAGE,
                 "--stages is \"%s\": it needs %d numbers with commas between, one for "
                 "each --data",
                 r->stages, count);
    }
}

/* What several processes cannot do together. */
static void request_team(request *r, int own_accumulate)
{
    int i;
    team_join(&r->trainer, own_accumulate);
    if (team_size() == 1) return;
    if (r->paced) fail(EXIT_USAGE, "--seconds is for one process: give --steps");
    if (r->profile || r->tune) fail(EXIT_USAGE, "--profile and --tune are for one process");
    for (i = 0; i < r->corpus.data.count; i++)
        if (strcmp(r->corpus.data.items[i], "-") == 0)
            fail(EXIT_USAGE, "--data -: standard input goes to one process alone");
}

static void request_check(request *r, const command *c, int argc, char **argv)
{
    char spelled[32];
    const char *fixed = r->resume ? r->resume : r->from;
    wcoh_trainer_desc resolved;
    wcoh_error error;
    int steps = option_given(c, argc, argv, "steps") != NULL;
    int seconds = option_given(c, argc, argv, "seconds") != NULL;
    if (fixed && c->descs[0].first && !(r->from && strcmp(c->descs[0].first, "seed") == 0))
        fail(EXIT_USAGE, "--%s is fixed in %s; with --%s only trainer options may change",
             option_spelled(c->descs[0].first, spelled), fixed, r->resume ? "resume" : "from");
    if (fixed && option_given(c, argc, argv, "tokenizer"))
        fail(EXIT_USAGE, "--tokenizer is fixed in %s", fixed);
    if (fixed && r->corpus.start) fail(EXIT_USAGE, "--start is fixed in %s", fixed);
    if (fixed && !r->corpus.data.count)
        fail(EXIT_USAGE, "--%s needs --data, the text that it goes on with",
             r->resume ? "resume" : "from");
    if (r->corpus.val.count && option_given(c, argc, argv, "val_share"))
        fail(EXIT_USAGE, "--val is a text of its own: --val-share goes without it");
    if (r->trainer.eval_every < 0)
        options_only(c, argc, argv, "patience target_val val val_share", "runs that are evaluated");
    if (seconds && (steps || r->resume))
        fail(EXIT_USAGE,
             "--seconds chooses the steps itself: it goes with neither --steps nor --resume");
    if (option_given(c, argc, argv, "finish") && (!r->resume || steps))
        fail(EXIT_USAGE,
             "--finish ends a run that is resumed: it goes with --resume, without --steps");
    if (!r->out) r->out = r->resume ? r->resume : "model.safetensors";
    r->paced = seconds || (!r->corpus.data.count && !steps);
    r->own_warmup = option_given(c, argc, argv, "warmup") != NULL;
    r->own_evals = option_given(c, argc, argv, "eval_every") != NULL;
    r->own_windows = option_given(c, argc, argv, "eval_batches") != NULL;
    r->trainer.cpu.threads = (int)r->threads;
    r->trainer.cpu.isa = isa_named(r->isa);
    request_team(r, option_given(c, argc, argv, "accumulate") || r->resume);
    if (r->stages) request_stages(r);
    else options_only(c, argc, argv, "mix", "runs in stages (--stages)");
    resolved = r->trainer;
    if (wcoh_trainer_desc_resolve(&resolved, NULL, &error) < 0) fail(EXIT_USAGE, "%s", error.text);
    r->corpus.seq = resolved.seq;
}

static void request_read(request *r, int argc, char **argv, wcoh_model **model)
{
    const option options[] = {
        {"data", OPTION_LIST, &r->corpus.data, 0, 0,
         "the text to learn, - for standard input; again for more texts; wavecoh.h if not given"},
        VAL_OPTION(&r->corpus),
        VAL_SHARE_OPTION(&r->corpus),
        START_OPTION(&r->corpus),
        {"stages", OPTION_TEXT, &r->stages, 0, 0,
         "shares of the steps, one a --data, such as 0.3,0.7: one text after the other"},
        {"mix", OPTION_REAL, &r->mix, 0, 0.99,
         "with --stages: share of the windows that earlier texts keep giving"},
        {"out", OPTION_TEXT, &r->out, 0, 0,
         "checkpoint to leave; model.safetensors, or the one resumed"},
        {"resume", OPTION_TEXT, &r->resume, 0, 0, "checkpoint to go on from"},
        {"from", OPTION_TEXT, &r->from, 0, 0,
         "begin with the weights of that file: any checkpoint, best weights too"},
        {"finish", OPTION_WHOLE, &r->finish, 1, 2147483647,
         "with --resume: end after so many steps more, in which the rate falls to its end"},
        {"freeze", OPTION_LIST, &r->frozen, 0, 0,
         "leave parameters of such names as they are: \"blocks.*\" tunes the head alone; again for "
         "more"},
        {"no_replace", OPTION_FLAG, &r->no_replace, 0, 0,
         "end where a file of an earlier run would be moved aside"},
        {"preset", OPTION_TEXT, &r->preset, 0, 0, "start from other defaults: " PRESET_WORDS},
        TOKENIZER_OPTION(&r->corpus),
        UNKNOWN_OPTION(&r->corpus.unknown),
        {"seconds", OPTION_REAL, &r->seconds, 0.1, 1e6,
         "choose the steps so that it takes that long; without --data: 10"},
        THREADS_OPTION(&r->threads),
        ISA_OPTION(&r->isa),
        DEVICE_OPTION(&r->device),
        {"log", OPTION_TEXT, &r->log, 0, 0, "write a CSV file with one row a step"},
        {"sample", OPTION_WHOLE, &r->sample, 0, 1e9, "symbols to write at the end; 0: none"},
        {"tune", OPTION_FLAG, &r->tune, 0, 0,
         "on Vulkan: use NAME.tuning.txt beside the checkpoint, made first by trying half a "
         "minute"},
        {"profile", OPTION_FLAG, &r->profile, 0, 0,
         "print where the time of the first eleven steps went"},
    };
    wcoh_model_desc model_shown;
    wcoh_trainer_desc trainer_shown;
    settings descs[2];
    command c;
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
    /* the text's alphabet gives vocab */
    descs[0] = settings_of("model", WCOH_DESC_MODEL, &r->model, "vocab");
    descs[0].shown = &model_shown;
    descs[1] = settings_of("trainer", WCOH_DESC_TRAINER, &r->trainer, NULL);
    descs[1].shown = &trainer_shown;
    c.descs = descs;
    c.desc_count = 2;
    r->drops = dropout_asked(&c, argc, argv);
    options_read(&c, argc, argv);
    request_check(r, &c, argc, argv);
}

/* ---- the text -------------------------------------------------------------------------------- */

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

/* Read the texts, in the letters of `model` if there is one. */
static void request_texts(request *r, corpus *text, const wcoh_model *model)
{
    const wcoh_tokenizer *tokenizer = model ? wcoh_model_tokenizer(model) : NULL;
    if (model && !tokenizer)
        fail(EXIT_FAILED, "%s: it has no tokenizer: its symbols are not those of a text",
             r->resume ? r->resume : r->from);
    r->corpus.evaluated = r->trainer.eval_every >= 0;
    tokenizer = corpus_open(text, &r->corpus, tokenizer);
    r->model.tokenizer = tokenizer;
    r->model.vocab = wcoh_tokenizer_vocab(tokenizer);
}

/* The first lines of the output. */
static void corpus_lines(const corpus *text, const request *r)
{
    int i, several = r->corpus.data.count > 1 || r->corpus.val.count > 1;
    for (i = 0; i < r->corpus.data.count; i++) {
        const source *s = &text->data[i];
        printf("split train 0..%lu", (unsigned long)s->cut);
        if (!r->corpus.val.count)
            printf(" val %lu..%lu", (unsigned long)s->cut, (unsigned long)s->size);
        else if (!several) printf(" val 0..%lu", (unsigned long)text->val[0].size);
        if (several) printf(" file %s", s->name);
        putchar('\n');
    }
    for (i = 0; several && i < r->corpus.val.count; i++)
        printf("split val 0..%lu file %s\n", (unsigned long)text->val[i].size, text->val[i].name);
    if (team_size() > 1)
        printf("processes %d micro-batches %d a step\n", team_size(), r->trainer.accumulate);
    if (!text->made) return;
    printf(
        "tokenizer %s: %s%s\n",
        strcmp(r->corpus.tokenizer, "words") == 0
            ? "words"
            : word_at(TOKENIZER_WORDS, TOKENIZER_FIRST + (int)wcoh_tokenizer_get_kind(text->made)),
        text->why, r->corpus.start ? " and a start symbol" : "");
}

/* ---- the run --------------------------------------------------------------------------------- */

typedef struct run {
    const request *ask;
    const corpus *text;
    wcoh_model *model;
    wcoh_trainer *trainer;
    wcoh_device *device;
    wcoh_stage stage[WCOH_STAGES_MAX]; /* [stages] of --stages, or of the run that goes on */
    int stages;
    FILE *log;
    const char *drops;       /* the line about --dropout auto, or NULL */
    const char *best;        /* path of the best weights; NULL: --out is a device or a pipe */
    int best_there;          /* 1: the file holds them */
    int best_lost;           /* 1: it did once, and has to again */
    wcoh_model *kept;        /* the best weights while they could not be written, or NULL */
    const char *note;        /* about the best weights: what the file says of itself */
    wcoh_stats last;         /* of the last step or evaluation */
    int evaluated;           /* by the unit of work just done */
    int unlogged;            /* 1: `last` is a step whose row waits for its validation loss */
    double started;          /* seconds_now() when training began */
    double marked;           /* and when the last step or evaluation ended */
    uint64_t first_step, line_tokens; /* at the beginning, and at the last line */
    uint64_t told;                    /* the stage that ended with that step, or none did */
    double step_seconds; /* since the last line, without evaluation and saving */
    double loss_sum;     /* since the last line */
    long loss_count;
    double line_loss, lowest_loss; /* mean training loss of the last line and of the lowest one */
    double loss_before;            /* and of the line before the last */
    double shown;                  /* when the live line was drawn last; negative: there is none */
} run;

/* " val 1.7285", or nothing where there is none */
static const char *named_loss(const char *name, double loss, char text[64])
{
    char number[32];
    text[0] = 0;
    if (!(loss < 0)) sprintf(text, " %s %s", name, loss_text(loss, 4, number));
    return text;
}

/* " eta 00:12", or nothing where there is no end */
static const char *eta_text(const run *r, char text[64])
{
    uint64_t done = r->last.step - r->first_step, all;
    int steps = wcoh_trainer_get_desc(r->trainer)->steps;
    double left = 0;
    unsigned long s;
    text[0] = 0;
    if (steps < 0) return text;
    all = (uint64_t)steps;
    if (done > 0 && r->last.step < all)
        left = (seconds_now() - r->started) / (double)done * (double)(all - r->last.step);
    s = left < 3.6e8 ? (unsigned long)(left + 0.5) : 360000000ul;
    if (s < 3600) sprintf(text, " eta %02lu:%02lu", s / 60, s % 60);
    else sprintf(text, " eta %lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
    return text;
}

/* The line on a terminal that time rewrites; nothing of it is left in a file. */
static void live_line(run *r)
{
    char eta[64], all[32] = "";
    double now = seconds_now();
    int steps = wcoh_trainer_get_desc(r->trainer)->steps;
    if (r->last.step == 0 || (r->shown >= 0 && now - r->shown < 0.2)) return;
    r->shown = now;
    if (steps > 0) sprintf(all, " of %d", steps);
    fprintf(stderr, "\rstep %lu%s  train %.4f %s   ", (unsigned long)r->last.step, all,
            r->last.train_loss, eta_text(r, eta));
    fflush(stderr);
}

static void live_clear(run *r)
{
    if (r->shown >= 0) fprintf(stderr, "\r%60s\r", "");
    r->shown = -1;
}

static void log_row(run *r, double val)
{
    if (r->unlogged && r->log) log_step(r->log, &r->last, val);
    r->unlogged = 0;
}

/* The library calls this after each step and after each evaluation. */
static int on_progress(const wcoh_stats *stats, void *user)
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
    r->marked = now;
    return 0;
}

static void step_line(run *r)
{
    char train[64], val[64], eta[64];
    double tokens = (double)(r->last.tokens - r->line_tokens);
    live_clear(r);
    if (r->loss_count) {
        r->loss_before = r->line_loss;
        r->line_loss = r->loss_sum / (double)r->loss_count;
    }
    if (r->lowest_loss <= 0 || r->line_loss < r->lowest_loss) r->lowest_loss = r->line_loss;
    printf("step %lu%s%s lr %.1e tok/s %.0f%s\n", (unsigned long)r->last.step,
           named_loss("train", r->loss_count ? r->line_loss : -1, train),
           named_loss("val", r->evaluated ? r->last.val_loss : -1, val), r->last.lr,
           r->step_seconds > 0 ? tokens / r->step_seconds : 0.0, eta_text(r, eta));
    r->loss_sum = r->step_seconds = 0;
    r->loss_count = 0;
    r->line_tokens = r->last.tokens;
}

/* ---- saving ---------------------------------------------------------------------------------- */

/* model.safetensors -> model.NAME */
static const char *beside(const char *out, const char *name)
{
    static const char end[] = ".safetensors";
    size_t length = strlen(out), cut = sizeof end - 1;
    if (length > cut && strcmp(out + length - cut, end) == 0) length -= cut;
    return text_made("%.*s.%s", (int)length, out, name);
}

/* model.safetensors -> model.best.safetensors; NULL for a device or a pipe */
static const char *best_path(const char *out)
{
    return path_is_special(out) ? NULL : beside(out, "best.safetensors");
}

/* A file that will be written: its option, and its path or NULL. */
typedef struct target {
    const char *option, *path;
} target;

enum { TARGETS = 3 };

static void targets_of(const request *r, target targets[TARGETS])
{
    targets[0].option = "--out";
    targets[0].path = r->out;
    targets[1].option = "the best weights' file";
    targets[1].path = best_path(r->out);
    targets[2].option = "--log";
    targets[2].path = r->log;
}

/* The end where a file to write is one to read. */
static void check_source(const target *t, const char *reader, const char *path)
{
    if (!path || !t->path || path_is_special(t->path) || strcmp(path, "-") == 0) return;
    if (path_same(t->path, path))
        fail(EXIT_USAGE, "%s is %s, the file of %s: it would be overwritten", t->option, t->path,
             reader);
}

static void check_sources(const target *t, const char *reader, const text_list *paths)
{
    int i;
    for (i = 0; i < paths->count; i++) check_source(t, reader, paths->items[i]);
}

/* Before anything is computed: every file has a place, and none is another one. Nothing that stands
   there is touched. */
static void check_targets(const request *r)
{
    target targets[TARGETS];
    wcoh_error error;
    int i;
    targets_of(r, targets);
    for (i = 0; i < TARGETS && team_leads(); i++) {
        const char *path = targets[i].path, *reason;
        if (path && !*path) fail(EXIT_USAGE, "%s needs the name of a file", targets[i].option);
        if (!path || path_is_special(path)) continue;
        if (path_is_folder(path)) fail(EXIT_FAILED, "%s: cannot save there: it is a folder", path);
        /* a log that goes on is only appended to, which needs no place beside it */
        if (!(i == 2 && r->resume && path_exists(path)) && wcoh_path_check(path, &error) < 0) {
            reason = strrchr(error.text, ':');
            fail(EXIT_FAILED, "%s: cannot save there%s", path, reason ? reason : "");
        }
        check_sources(&targets[i], "--data", &r->corpus.data);
        check_sources(&targets[i], "--val", &r->corpus.val);
        if (tokenizer_is_file(r->corpus.tokenizer))
            check_source(&targets[i], "--tokenizer", r->corpus.tokenizer);
        check_source(&targets[i], "--from", i ? r->from : NULL); /* that one may move aside */
        check_source(&targets[i], "--resume", i ? r->resume : NULL);
        if (i > 0) check_source(&targets[i], targets[0].option, targets[0].path);
        if (i > 1) check_source(&targets[i], targets[1].option, targets[1].path);
    }
}

/* What earlier runs left where this one will write is moved aside, and told; a run that goes on in
   its own files leaves them. */
static void clear_targets(const request *r)
{
    target targets[TARGETS];
    int i, own = r->resume && path_same(r->resume, r->out);
    targets_of(r, targets);
    for (i = 0; i < TARGETS && team_leads(); i++) {
        const char *path = targets[i].path;
        if (!path || path_is_special(path) || !path_exists(path)) continue;
        if (own || (i == 2 && r->resume)) continue; /* a log goes on */
        if (r->no_replace)
            fail(EXIT_FAILED, "%s: a file stands there already (--no-replace)", path);
        path_aside(path, "a file of an earlier run");
    }
}

static int save_failed(run *r, const wcoh_error *error, int last)
{
    live_clear(r);
    say("%s%s", error->text, last ? "" : "; the next evaluation tries again");
    return 0;
}

/* The best weights could not be written: keep them until they can. */
static void best_keep(run *r)
{
    wcoh_error error;
    wcoh_result result = WCOH_OK;
    if (!r->kept) result = wcoh_model_create(&r->kept, wcoh_model_get_desc(r->model), &error);
    if (!result) result = wcoh_model_copy(r->kept, r->model, &error);
    if (!result) return;
    say("the best weights cannot be kept: %s", error.text);
    wcoh_model_destroy(r->kept);
    r->kept = NULL;
}

static const char *best_note(const wcoh_stats *s)
{
    return text_made("step %lu val %.17g", (unsigned long)s->best_step, s->best_val);
}

/* The weights alone where they are the best so far and wait to be kept: the model has them, or
   r->kept where they could not be written before it went on. */
static int save_best(run *r, int last)
{
    wcoh_error error;
    wcoh_stats stats;
    int here, written;
    wcoh_trainer_stats(r->trainer, &stats);
    here = stats.best_step == stats.step;
    if (!r->best || (!stats.best_pending && !r->best_lost) || (!here && !r->kept)) return 1;
    if (here) {
        r->note = best_note(&stats);
        r->best_there = 0;
        if (wcoh_trainer_mean(r->trainer, 1, &error) < 0 ||
            wcoh_trainer_sync(r->trainer, &error) < 0)
            return save_failed(r, &error, last);
    }
    written = wcoh_model_save_note_file(here ? r->model : r->kept, r->note, r->best, &error) == 0;
    if (!written && here) best_keep(r);
    if (!written) save_failed(r, &error, last);
    if (here && wcoh_trainer_mean(r->trainer, 0, &error) < 0) return save_failed(r, &error, last);
    if (!written) return 0;
    wcoh_model_destroy(r->kept);
    r->kept = NULL;
    r->best_there = 1;
    r->best_lost = 0;
    wcoh_trainer_best_kept(r->trainer);
    return 1;
}

/* The checkpoint, and the best weights even where it failed: they are smaller. `last`: there will be
   no other chance. */
static int save(run *r, int last)
{
    wcoh_error error;
    int saved = 1;
    if (!team_leads()) return 1;
    if (wcoh_trainer_save_file(r->trainer, r->ask->out, &error) < 0)
        saved = save_failed(r, &error, last);
    else team_saved(r->ask->out, r->last.step);
    return save_best(r, last) && saved;
}

/* 1 if the file holds the weights that the note tells of. */
static int best_is(const char *path, const char *note)
{
    wcoh_tensors *tensors = NULL;
    const char *found;
    int is;
    if (wcoh_tensors_open_file(&tensors, path, NULL, NULL) < 0) return 0;
    found = wcoh_tensors_metadata(tensors, "note");
    is = found && strcmp(found, note) == 0;
    wcoh_tensors_close(tensors);
    return is;
}

/* Best weights that stand beside the resumed checkpoint, for a run that goes on under another name. */
static int best_copy(run *r)
{
    const char *from = best_path(r->ask->resume);
    wcoh_error error;
    if (!from || !best_is(from, r->note)) return 0;
    if (wcoh_model_load_file(&r->kept, from, NULL, &error) < 0) return save_failed(r, &error, 0);
    save_best(r, 0);
    return 1;
}

/* After resuming: the file of the best weights is this run's, or is made again from the state where
   that is the best one, or is said to be lost. */
static void best_find(run *r)
{
    wcoh_stats stats;
    wcoh_trainer_stats(r->trainer, &stats);
    if (!r->best) return;
    r->note = stats.best_val < 0 ? NULL : best_note(&stats);
    r->best_there = r->note && best_is(r->best, r->note);
    if (r->best_there) wcoh_trainer_best_kept(r->trainer);
    if (r->best_there) return;
    if (path_exists(r->best) && r->ask->no_replace)
        fail(EXIT_FAILED, "%s: a file without this run's best weights stands there (--no-replace)",
             r->best);
    if (path_exists(r->best)) path_aside(r->best, "a file without this run's best weights");
    if (!r->note) return; /* there are none */
    r->best_lost = 1;
    if (stats.best_step == stats.step) {
        save_best(r, 0);
    } else if (!best_copy(r)) {
        say("%s: the best weights, of step %lu, are not there, and %s, of step %lu, cannot give "
            "them "
            "back: the next improvement writes new ones",
            r->best, (unsigned long)stats.best_step, r->ask->resume, (unsigned long)stats.step);
        r->best_lost = 0;
    }
}

/* ---- training -------------------------------------------------------------------------------- */

static size_t frozen_count(const wcoh_model *model)
{
    wcoh_param param;
    size_t count = 0;
    int i;
    for (i = 0; i < wcoh_model_param_count(model); i++)
        if (!wcoh_model_param(model, i, &param, NULL) && param.frozen) count += param.count;
    return count;
}

/* What --freeze names stays as it is; what the checkpoint of --resume froze stays so besides. */
static void freeze(wcoh_model *model, const text_list *patterns)
{
    wcoh_error error;
    int i;
    for (i = 0; i < patterns->count; i++)
        if (wcoh_model_freeze(model, patterns->items[i], 1, &error) < 0)
            fail(EXIT_USAGE, "--freeze: %s", error.text);
    if (i && frozen_count(model) == wcoh_model_trained_count(model))
        fail(EXIT_USAGE, "--freeze: every parameter is frozen: there is nothing to learn");
}

static void open_trainer(run *r, const wcoh_trainer_desc *desc)
{
    wcoh_error error;
    wcoh_result result;
    freeze(r->model, &r->ask->frozen);
    result = wcoh_trainer_create(&r->trainer, r->model, desc, &error);
    if (!result && r->ask->stages)
        result =
            wcoh_trainer_set_stages(r->trainer, r->ask->stage, r->ask->corpus.data.count, &error);
    if (result == WCOH_E_ARGUMENT) fail(EXIT_USAGE, "%s", error.text);
    must(result, NULL, &error);
    must(corpus_give(r->text, r->trainer, &error), r->text->data[0].name, &error);
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
    double start = seconds_now(), began, step = 1, eval_time = 0, left, val;
    const int evaluations = 5;
    if (!ask->own_windows) desc->eval_batches = 8;
    open_trainer(r, desc);
    must(step_time(r->trainer, 0.1 * ask->seconds, &step, &error), NULL, &error);
    if (r->text->validate.count) {
        began = seconds_now();
        must(wcoh_trainer_evaluate(r->trainer, &val, &error), NULL, &error);
        eval_time = seconds_now() - began;
    }
    left = ask->seconds - (seconds_now() - start) - evaluations * eval_time;
    desc->steps = !(left > 10 * step)          ? 10
                  : left / step < 2147483647.0 ? (int)(left / step)
                                               : 2147483647;
    if (!ask->own_evals) desc->eval_every = (desc->steps - 1) / evaluations + 1;
    if (!ask->own_warmup) desc->warmup = desc->steps < 1000 ? (desc->steps + 9) / 10 : 100;
    wcoh_trainer_destroy(r->trainer);
    wcoh_model_destroy(r->model);
    if (ask->from) must(wcoh_model_load_file(&r->model, ask->from, NULL, &error), NULL, &error);
    else open_model(r);
}

/* Bytes of a log up to the last whole row that is not after `step`. */
static size_t log_kept(const char *text, size_t size, uint64_t step)
{
    size_t at = strcspn(text, "\n") + 1, kept = at;
    unsigned long before = 0;
    int commas;
    for (; at < size; kept = at) {
        char *end;
        unsigned long row = strtoul(text + at, &end, 10);
        if (*end != ',' || row <= before || row > step) break;
        for (commas = 0; at < size && text[at] != '\n'; at++) commas += text[at] == ',';
        if (at++ == size || commas != 6) break;
        before = row;
    }
    return kept;
}

/* Where the last row of a log [size] begins, if it is that of `step` and has no validation loss: the
   run may have ended before the evaluation did. Else size. */
static size_t log_waits(const char *text, size_t size, uint64_t step)
{
    size_t at = size - 1, comma;
    while (at > 0 && text[at - 1] != '\n') at--;
    if (at == 0 || strtoul(text + at, NULL, 10) != step) return size;
    comma = at + strcspn(text + at, ",") + 1;
    comma += strcspn(text + comma, ",");
    return text[comma + 1] == ',' ? at : size;
}

/* A run that goes on writes after the row of its step: what a killed run wrote beyond it, or half,
   is cut. Returns 1 where that row is to be written again. */
static int log_cut(const char *path, uint64_t step)
{
    size_t size, kept, waits;
    char *text = file_read(path, &size);
    const char *head = LOG_HEAD "\n";
    if (strncmp(text, head, strlen(head)) != 0)
        fail(EXIT_FAILED, "%s: it does not begin with %s: it is no log of train", path, LOG_HEAD);
    kept = log_kept(text, size, step);
    waits = log_waits(text, kept, step);
    free(text);
    if (waits < size && path_cut(path, waits))
        fail(EXIT_FAILED, "%s: cannot cut it: %s", path, strerror(errno));
    if (kept < size)
        say("%s: the rows after step %lu are cut: the run goes on from there", path,
            (unsigned long)step);
    return waits < kept;
}

static void open_log(run *r)
{
    const char *path = r->ask->log;
    struct stat about;
    wcoh_stats stats;
    if (!path || !team_leads()) return;
    wcoh_trainer_stats(r->trainer, &stats);
    if (stat(path, &about) == 0 && S_ISREG(about.st_mode) && about.st_size > 0)
        r->unlogged = log_cut(path, stats.step);
    r->log = fopen(path, "ab");
    if (!r->log) fail(EXIT_FAILED, "%s: cannot write it: %s", path, strerror(errno));
    fseek(r->log, 0, SEEK_END);
    if (ftell(r->log) <= 0) fputs(LOG_HEAD "\n", r->log);
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

/* The stage that ends with this step, from 1, or 0. */
static int stage_ended(const run *r, uint64_t step)
{
    double end = 0, steps = (double)wcoh_trainer_get_desc(r->trainer)->steps;
    int i;
    for (i = 0; i < r->stages; i++) {
        end += r->stage[i].share;
        if (floor(end * steps + 0.5) == (double)step) return i + 1;
    }
    return 0;
}

/* As `must`, where a run would be lost: it is saved first. */
static void must_or_save(run *r, wcoh_result result, const char *about, const wcoh_error *error)
{
    if (result < 0) save(r, 1);
    must(result, about, error);
}

/* At the end of a stage the loss of each validation text, over as many windows as an evaluation has. */
static void stage_line(run *r, int stage)
{
    const wcoh_trainer_desc *own = wcoh_trainer_get_desc(r->trainer);
    wcoh_sequences all = texts_sequences(&r->text->validate), one = all;
    size_t i, ends[2], most = 1 + (size_t)own->eval_batches * (size_t)own->batch * (size_t)own->seq;
    wcoh_eval_desc desc;
    wcoh_error error;
    double loss;
    live_clear(r);
    memset(&desc, 0, sizeof desc);
    desc.seq = own->seq;
    desc.batch = own->batch;
    desc.cpu = own->cpu;
    one.count = 1;
    one.offsets = ends;
    must_or_save(r, wcoh_trainer_sync(r->trainer, &error), NULL, &error);
    must_or_save(r, wcoh_trainer_mean(r->trainer, 1, &error), NULL, &error); /* as evaluations do */
    printf("stage %d step %lu", stage, (unsigned long)r->last.step);
    for (i = 0; i < all.count; i++) {
        size_t length = all.offsets[i + 1] - all.offsets[i];
        ends[0] = all.offsets[i];
        ends[1] = ends[0] + (length < most ? length : most);
        must_or_save(r, wcoh_model_evaluate_sequences(r->model, &desc, &one, &loss, NULL, &error),
                     r->text->named[i], &error);
        printf(" val %.4f %s", loss, r->text->named[i]);
    }
    putchar('\n');
    must_or_save(r, wcoh_trainer_mean(r->trainer, 0, &error), NULL, &error);
    r->marked = seconds_now();
}

/* What follows a unit of work that ended a step or an evaluation. */
static void after_unit(run *r)
{
    int silent = !r->text->validate.count && r->last.step % 100 == 0 && r->loss_count > 0;
    int stage = r->told < r->last.step ? stage_ended(r, r->last.step) : 0;
    r->told = r->last.step;
    if (stage && team_leads()) stage_line(r, stage);
    if (!r->evaluated && !silent) return;
    step_line(r);
    r->evaluated = 0;
    team_same("weights", r->model, NULL, 0);
    if (!r->last.done) save(r, 0); /* the end saves anyway */
    check_outputs(r);
    r->marked = seconds_now();
}

/* "; a lower rate may help: --lr 0.00225" */
static const char *lower_rate(const run *r)
{
    return text_made("; a lower rate may help: --lr %.3g",
                     wcoh_trainer_get_desc(r->trainer)->lr / 2);
}

/* 1 if the training loss ends a quarter and a tenth of a nat above its lowest, or that far above
   guessing all symbols alike: neither is noise. In its first line a run may still be on its way
   down from a bad start. */
static int diverged(const run *r)
{
    double guessing = log((double)wcoh_model_get_desc(r->model)->vocab);
    double lowest = r->lowest_loss < guessing ? r->lowest_loss : guessing;
    return r->loss_before > 0 && r->line_loss > 1.25 * lowest + 0.1;
}

/* 1 if the run had its full rate for a hundred steps, its loss falls no more, and it ends no better
   than counting letters does: `counted` nats. */
static int stalled(const run *r, double counted)
{
    int warmup = wcoh_trainer_get_desc(r->trainer)->warmup;
    uint64_t made = r->last.step - r->first_step;
    return made >= 100 + (uint64_t)(warmup > 0 ? warmup : 0) && r->loss_before > 0 &&
           r->line_loss > r->loss_before - 0.02 && r->line_loss > counted - 0.02;
}

/* What a run that went wrong is told at its end. */
static void judge(const run *r)
{
    double counted = texts_entropy(&r->text->train, wcoh_model_get_desc(r->model)->vocab);
    if (diverged(r))
        say("the run diverged: its training loss ends at %.4f, after %.4f%s", r->line_loss,
            r->lowest_loss, lower_rate(r));
    else if (stalled(r, counted))
        say("the run learnt no more than how often each letter stands: its training loss ends at "
            "%.4f, counting letters gives %.4f%s",
            r->line_loss, counted, lower_rate(r));
}

/* Work until the run is done or interrupted; 0 after a failure of the numbers. */
static int train(run *r)
{
    wcoh_error error;
    wcoh_stats stats;
    int terminal = stderr_is_terminal();
    wcoh_trainer_stats(r->trainer, &stats);
    r->last = stats;
    r->first_step = r->told = stats.step;
    r->line_tokens = stats.tokens;
    r->started = r->marked = seconds_now();
    if (r->ask->profile) {
        must(profile_print(r->trainer, 10, &error), "profile", &error);
        wcoh_trainer_stats(r->trainer, &stats);
        after_unit(r);
    }
    while (!stats.done && !team_stops()) {
        wcoh_result result = wcoh_trainer_run(r->trainer, 0, &stats, &error); /* one unit of work */
        if (result < 0) {
            live_clear(r);
            if (save(r, 1))
                say("%s; %s holds the model as it was after step %lu%s", error.text, r->ask->out,
                    (unsigned long)stats.step, result == WCOH_E_NUMERIC ? lower_rate(r) : "");
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
    text_flow flow;
    speller spelled;
    int j, length, line_start = 1;
    memset(&spelled, 0, sizeof spelled);
    memset(&flow, 0, sizeof flow);
    flow.tame = 1;
    memset(&session, 0, sizeof session);
    memset(&sample, 0, sizeof sample);
    session.device = r->device;
    session.cpu.isa = r->ask->trainer.cpu.isa;
    sample.temperature = 0.8;
    writer_open(&w, r->model, &session, &sample);
    writer_hear(&w, &token, 1);
    for (i = 0; i < r->ask->sample && !interrupted; i++) {
        length = speller_next(&spelled, tokenizer, writer_next(&w));
        for (j = 0; j < length; j++) {
            if (line_start) fputs("| ", stdout);
            flow_write(&flow, spelled.text + j, 1, stdout);
            line_start = spelled.text[j] == '\n';
        }
    }
    flow_write(&flow, spelled.text, speller_end(&spelled), stdout);
    if (!line_start) putchar('\n');
    writer_close(&w);
}

/* The model's parameters become the best ones where those are others; all is saved before. */
static void take_best(run *r, const wcoh_stats *stats)
{
    wcoh_error error;
    must(wcoh_trainer_mean(r->trainer, 1, &error), NULL, &error);
    must(wcoh_trainer_sync(r->trainer, &error), NULL, &error);
    if (stats->best_val < 0 || stats->best_step == stats->step) return;
    if (r->kept) must(wcoh_model_copy(r->model, r->kept, &error), NULL, &error);
    else if (r->best_there) must(wcoh_model_read_file(r->model, r->best, &error), NULL, &error);
}

/* A word as a shell takes it: in quotes where it has to be. */
static const char *shell_word(const char *word)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+./:,=@%";
    const char *quoted = "'";
    size_t length;
    if (*word && strspn(word, plain) == strlen(word)) return word;
    for (; *word; word += length) {
        length = strcspn(word, "'");
        quoted = text_made("%s%.*s%s", quoted, (int)length, word, word[length] ? "'\\''" : "");
        length += word[length] == '\'';
    }
    return text_made("%s'", quoted);
}

static const char *with_words(const char *text, const char *name, const text_list *words)
{
    int i;
    for (i = 0; i < words->count; i++)
        text = text_made("%s --%s %s", text, name, shell_word(words->items[i]));
    return text;
}

/* "--resume a.safetensors --data a.txt --val b.txt": all that the checkpoint does not know. */
static const char *resume_options(const request *r)
{
    const char *text = text_made("--resume %s", shell_word(r->out));
    text = with_words(text, "data", &r->corpus.data);
    text = with_words(text, "val", &r->corpus.val);
    if (r->corpus.val_share != 0.1)
        text = text_made("%s --val-share %.15g", text, r->corpus.val_share);
    if (r->corpus.unknown.index != UNKNOWN_REFUSE)
        text = text_made("%s --unknown %s", text, word_at(UNKNOWN_WORDS, r->corpus.unknown.index));
    if (strcmp(r->device, "cpu")) text = text_made("%s --device %s", text, r->device);
    if (r->log) text = text_made("%s --log %s", text, shell_word(r->log));
    return text;
}

static int finish(run *r)
{
    wcoh_stats stats;
    char val[64];
    double seconds = seconds_now() - r->started;
    int saved;
    log_row(r, -1);
    saved = save(r, 1);
    wcoh_trainer_stats(r->trainer, &stats);
    if (interrupted && saved)
        say("interrupted: step %lu is saved; go on with %s", (unsigned long)stats.step,
            resume_options(r->ask));
    else if (stats.step == r->first_step && !interrupted)
        say("nothing to do: %s",
            stats.step < (uint64_t)wcoh_trainer_get_desc(r->trainer)->steps
                ? "the run ended early, by its patience or its target"
                : text_made("steps is %d", wcoh_trainer_get_desc(r->trainer)->steps));
    judge(r);
    if (stats.best_val >= 0 && r->best_there)
        printf("best val %.4f step %lu file %s\n", stats.best_val, (unsigned long)stats.best_step,
               r->best);
    team_line(stats.step - r->first_step);
    if (r->ask->sample > 0 && !interrupted && team_leads()) {
        take_best(r, &stats);
        write_sample(r);
    }
    printf("done%s steps %lu seconds %.1f params %lu\n", named_loss("val", stats.val_loss, val),
           (unsigned long)stats.step, seconds, (unsigned long)wcoh_model_trained_count(r->model));
    check_outputs(r);
    return saved ? 0 : EXIT_FAILED;
}

/* Take up the run of the checkpoint, with what was asked to be other now. */
static void go_on(run *r)
{
    const request *ask = r->ask;
    wcoh_error error;
    const char *notice;
    must(wcoh_trainer_resume_file(r->trainer, ask->resume, &error), NULL, &error);
    notice = wcoh_trainer_notice(r->trainer);
    if (notice) say("%s: %s", ask->resume, notice);
    if (ask->finish)
        must(wcoh_trainer_finish(r->trainer, (int)ask->finish, &error), "--finish", &error);
}

static void choose_dropout(run *r, wcoh_trainer_desc *desc)
{
    wcoh_trainer_desc d = *desc;
    wcoh_trainer_desc_resolve(&d, NULL, NULL);
    desc->dropout = dropout_of(
        r->text, d.steps < 0 ? HUGE_VAL : (double)d.steps * d.batch * d.seq * d.accumulate,
        (double)wcoh_model_trained_count(r->model), &r->drops);
}

/* The device anew with a tuning: that of the file beside the checkpoint, which is made where none is. */
static void tune(run *r, const wcoh_trainer_desc *desc)
{
    const char *path = path_is_special(r->ask->out) ? NULL : beside(r->ask->out, "tuning.txt");
    const char *text;
    char *read = NULL;
    size_t size;
    if (path && path_exists(path)) {
        text = read = file_read(path, &size);
    } else {
        text = device_tune(r->device, wcoh_model_get_desc(r->model), desc, 30);
        if (path) tuning_keep(path, text);
    }
    device_close(r->device);
    r->device = device_tuned(r->ask->device, text);
    free(read);
}

/* From the request to a trainer that is ready for its next step. */
static void run_open(run *r, const request *ask, const corpus *text)
{
    wcoh_trainer_desc desc = ask->trainer;
    size_t frozen;
    r->ask = ask;
    r->text = text;
    r->shown = -1;
    r->best = best_path(ask->out);
    if (!r->model) open_model(r);
    r->device = device_named(ask->device);
    if (ask->tune) tune(r, &desc);
    desc.device = r->device;
    catch_interrupts();
    if (ask->paced) pace(r, &desc);
    if (ask->drops) choose_dropout(r, &desc);
    desc.progress = on_progress;
    desc.progress_user = r;
    open_trainer(r, &desc);
    if (ask->resume) go_on(r);
    r->stages = wcoh_trainer_get_stages(r->trainer, r->stage);
    team_same("weights or texts", r->model, text->train.tokens, texts_size(&text->train));
    team_agree(0);
    clear_targets(ask);
    if (ask->resume && team_leads()) best_find(r);
    open_log(r);
    team_agree(1);
    corpus_lines(text, ask);
    if (r->drops) puts(r->drops);
    if ((frozen = frozen_count(r->model)) > 0)
        printf("frozen %lu of %lu parameters\n", (unsigned long)frozen,
               (unsigned long)wcoh_model_trained_count(r->model));
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
    wcoh_model_destroy(r->kept);
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
    program_begin(TEAM_NAME);
    team_begin(&argc, &argv);
    memset(&ask, 0, sizeof ask);
    memset(&text, 0, sizeof text);
    memset(&r, 0, sizeof r);
    ask.isa = "auto";
    ask.corpus = corpus_standard();
    ask.device = "cpu";
    ask.seconds = 10;
    ask.sample = 300;
    request_read(&ask, argc, argv, &r.model);
    if (!ask.corpus.data.count) list_add(&ask.corpus.data, find_own_source());
    check_targets(&ask);
    request_texts(&ask, &text, r.model);
    run_open(&r, &ask, &text);
    status = run_close(&r, train(&r) ? finish(&r) : EXIT_FAILED);
    corpus_close(&text, &ask.corpus);
    return team_end(status);
}

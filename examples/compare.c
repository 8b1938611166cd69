/* Compare networks and settings: a plan's grid of training runs, its table, and what proves it.

   cc -O2 examples/compare.c -o compare -lm -lpthread
   cc -O2 -DWAVECOH_VULKAN examples/compare.c -o compare -lm -lpthread     (adds --device vulkan[:N])

   ./compare plan.txt        makes the runs that plan.csv lacks, and prints the table

   A plan is a text. A line with a colon is a contender and its settings, spelled as options of train:

       data shakespeare.txt            # what all of them learn
       budget steps 2000               # or: tokens 1.5e6, or: seconds 60
       seeds 1 2 3                     # of parameters and batches
       lr 3e-3 4.5e-3                  # rates for those that name none: the best mean counts
       all: --batch 12 --seq 64        # settings of every contender
       wave:
       gpt: --preset gpt --attention rotary --position none --lr 3e-3

   A run that is finished stands in the CSV file and is never made again. One under way is kept beside
   it (plan.csv.*.part) at Ctrl-C, and every half minute or so against a kill or a power failure; it
   goes on there, bit for bit (with a budget of seconds it begins again). Each line of the file carries
   its settings, the hash of its text and a check of itself; a line of the plan that has changed since
   is told, and is run anew. What a run loses on each part of the validation text stands beside it
   (plan.csv.losses).

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#define WAVECOH_IMPLEMENTATION
#ifdef WAVECOH_VULKAN
#include "../wavecoh_vk.h"
#else
#include "../wavecoh.h"
#endif

#include "corpus.h"
#include "losses.h"
#include "plot.h"
#include "prepare.h"

#ifndef _WIN32
#include <pthread.h>
#endif

/* ---- threads: a few runs side by side -------------------------------------------------------- */

#ifdef _WIN32
typedef HANDLE thread;
typedef CRITICAL_SECTION lock;
#define THREAD_MAIN(name, user) static DWORD WINAPI name(LPVOID user)
#define THREAD_END 0
static void lock_open(lock *l) { InitializeCriticalSection(l); }
static void lock_take(lock *l) { EnterCriticalSection(l); }
static void lock_give(lock *l) { LeaveCriticalSection(l); }
static int thread_start(thread *t, LPTHREAD_START_ROUTINE work, void *user)
{
    *t = CreateThread(NULL, 0, work, user, 0, NULL);
    return *t != NULL;
}
static void thread_wait(thread t)
{
    WaitForSingleObject(t, INFINITE);
    CloseHandle(t);
}
#else
typedef pthread_t thread;
typedef pthread_mutex_t lock;
#define THREAD_MAIN(name, user) static void *name(void *user)
#define THREAD_END NULL
static void lock_open(lock *l) { pthread_mutex_init(l, NULL); }
static void lock_take(lock *l) { pthread_mutex_lock(l); }
static void lock_give(lock *l) { pthread_mutex_unlock(l); }
static int thread_start(thread *t, void *(*work)(void *), void *user)
{
    return pthread_create(t, NULL, work, user) == 0;
}
static void thread_wait(thread t) { pthread_join(t, NULL); }
#endif

/* ---- what is compared ------------------------------------------------------------------------ */

/* What a run loses on each block of the validation text, [blocks]: sums of the tokens that are scored. NULL
   where it is not known. */
typedef struct parts {
    int blocks;
    double *tokens;     /* how many these are */
    double *end, *best; /* of the evaluation that gave val, and of the best one */
} parts;

/* What a run came to. */
typedef struct outcome {
    uint64_t steps, tokens, best_step;
    double val;     /* of the weights at the end, over the whole validation text; NaN: it failed */
    double best;    /* the lowest of its evaluations, NaN: none was finite */
    double train;   /* mean of the steps since the evaluation before the last */
    double seconds; /* of its steps, without evaluations */
    char *curve;    /* "250:2.103400 500:1.990000 ..": step and loss of each evaluation */
    parts text;
} outcome;

typedef enum trial_state { TRIAL_WAITS, TRIAL_IS_DONE, TRIAL_FAILED } trial_state;

/* One run: a contender with a rate and a seed. */
typedef struct trial {
    const struct contender *of;
    const char *rate, *seed;   /* as wcoh_field_get spells them */
    const char *settings;      /* all others, "bands=64 layers=4 ..", defaults too */
    wcoh_model_desc model;     /* resolved */
    wcoh_trainer_desc trainer; /* likewise; steps is 2^31-1 where the budget is in seconds */
    const char *part;          /* file of the run under way, where it is kept; NULL: never */
    struct trial *same;        /* an earlier one of the same settings, rate and seed, or NULL */
    trial_state state;
    outcome got;
} trial;

typedef struct contender {
    const char *name, *place, *options; /* "plan.txt: line 3: wave: ", and what is told there */
    wcoh_model_desc model;
    wcoh_trainer_desc trainer;
    choice prepare; /* a word of PREPARE_WORDS */
    int own_rate;   /* 1: its settings name one */
    int drops;      /* 1: --dropout auto, */
    const char *dropped; /* and the line about it, else NULL */
    size_t parameters;
    int rate_count, seed_count;
    trial *trials; /* [rate_count, seed_count] */
    int taken;     /* the rate with the best mean; -1: none has one yet */
} contender;

#define BUDGET_WORDS "steps tokens seconds"
enum { BUDGET_STEPS, BUDGET_TOKENS, BUDGET_SECONDS };
#define SCORE_WORDS "end best"
enum { SCORE_END, SCORE_BEST };
enum { SEEDS = 64, RATES = 32, CONTENDERS = 256 };

/* The words of a plan, in the order of plan_options. */
enum {
    PLAN_DATA,
    PLAN_VAL,
    PLAN_VAL_SHARE,
    PLAN_START,
    PLAN_TOKENIZER,
    PLAN_UNKNOWN,
    PLAN_BUDGET,
    PLAN_SEEDS,
    PLAN_RATES,
    PLAN_SCORE,
    PLAN_AGAINST,
    PLAN_OPTIONS
};

typedef struct plan {
    const char *path;
    corpus_desc corpus;
    text_list budget_words, seed_words, rate_words;
    int budget; /* a word of BUDGET_WORDS, and how much of it */
    double amount;
    const char *seeds[SEEDS], *rates[RATES]; /* spelled as wcoh_field_get does */
    choice score;
    const char *against;
    wcoh_eval_desc eval;
    const char *eval_place; /* of its line, or NULL: the trainer's own evaluation counts */
    const char *all_place;
    text_list all;
    unsigned long lines[PLAN_OPTIONS]; /* where each word of the plan stands; 0: nowhere */
    contender *list;                   /* [count] */
    int count;
} plan;

typedef struct request {
    const char *plan, *csv, *plots, *device, *isa_name;
    text_list data;
    long long jobs, threads;
    double keep;
    int dry;
    wcoh_isa isa;
} request;

/* ---- the plan -------------------------------------------------------------------------------- */

static void plan_options(plan *p, option options[PLAN_OPTIONS])
{
    const option list[PLAN_OPTIONS] = {
        {"data", OPTION_LIST, &p->corpus.data, 0, 0, "texts to learn"},
        VAL_OPTION(&p->corpus),
        VAL_SHARE_OPTION(&p->corpus),
        START_OPTION(&p->corpus),
        TOKENIZER_OPTION(&p->corpus),
        UNKNOWN_OPTION(&p->corpus.unknown),
        {"budget", OPTION_LIST, &p->budget_words, 0, 0,
         "steps N, tokens N or seconds X: how long each run is; steps 2000"},
        {"seeds", OPTION_LIST, &p->seed_words, 0, 0, "whole numbers, a run each; 1 2 3"},
        {"lr", OPTION_LIST, &p->rate_words, 0, 0,
         "rates to try for each contender that names none; the best mean counts"},
        {"score", OPTION_CHOICE, &p->score, 0, 0,
         "what is compared: the loss at the end, or the best of all evaluations"},
        {"against", OPTION_TEXT, &p->against, 0, 0,
         "the contender from whose losses the others' are taken; the first one"},
    };
    memcpy(options, list, sizeof list);
}

/* Index of the option with that name, or -1. */
static int plan_option_index(const option *options, const char *name)
{
    int i;
    for (i = 0; i < PLAN_OPTIONS; i++)
        if (option_is(options[i].name, name, strlen(name))) return i;
    return -1;
}

/* Words of a line up to its comment, blanks between them; "two words" in quotes are one. */
static text_list line_words(const char *place, const char *line)
{
    text_list words;
    memset(&words, 0, sizeof words);
    while (*(line += strspn(line, " \t")) && *line != '#') {
        const char *from = line + (*line == '"');
        size_t length = *line == '"' ? strcspn(from, "\"") : strcspn(line, " \t");
        if (*line == '"' && !from[length]) fail(EXIT_USAGE, "%sa quote is not closed", place);
        list_add(&words, text_made("%.*s", (int)length, from));
        line = from + length + (*line == '"');
    }
    return words;
}

/* Bytes of the name before a colon that ends a word, or 0 where there is none. */
static size_t line_name(const char *line)
{
    size_t i;
    for (i = 0; line[i] && line[i] != '#' && line[i] != '"'; i++)
        if (line[i] == ':' && (!line[i + 1] || strchr(" \t", line[i + 1]))) return i;
    return 0;
}

/* "plan.txt: line 3: " */
static const char *plan_place(const plan *p, unsigned long line)
{
    return text_made("%s: line %lu: ", file_named(p->path), line);
}

/* A line of values: "seeds 1 2 3". */
static void plan_values(plan *p, const option *options, unsigned long line, const text_list *words)
{
    int at = plan_option_index(options, words->items[0]), i, count = words->count - 1;
    const option *o = at < 0 ? NULL : &options[at];
    const char *place = plan_place(p, line);
    command c;
    word_guess guess;
    if (!o) {
        memset(&guess, 0, sizeof guess);
        guess.given = words->items[0];
        guess.length = strlen(guess.given);
        for (i = 0; i < PLAN_OPTIONS; i++)
            guess_try(&guess, options[i].name, strlen(options[i].name));
        fail(EXIT_USAGE,
             "%s\"%s\" is neither a word of a plan nor a contender, which has a colon%s", place,
             guess.given, guess_text(&guess, ""));
    }
    memset(&c, 0, sizeof c);
    c.place = place;
    if (p->lines[at] && at != PLAN_DATA && at != PLAN_VAL) /* these may go on */
        fail(EXIT_USAGE, "%s%s stands in line %lu already", place, o->name, p->lines[at]);
    p->lines[at] = line;
    if (o->kind == OPTION_FLAG ? count != 0 : o->kind == OPTION_LIST ? count == 0 : count != 1)
        fail(EXIT_USAGE, "%s%s takes %s, here are %d", place, o->name,
             o->kind == OPTION_FLAG   ? "no value"
             : o->kind == OPTION_LIST ? "one value or more"
                                      : "one value",
             count);
    if (o->kind == OPTION_FLAG) option_set(&c, o, "");
    for (i = 1; i <= count; i++) option_set(&c, o, words->items[i]);
}

/* Settings that the plan gives in another way, and how. */
static void settings_refuse(const char *place, const text_list *words)
{
    static const char *const fixed[][2] = {
        {"steps", "the line \"budget\" gives them"},
        {"seed", "the line \"seeds\" gives it"},
        {"eval_batches", "every evaluation takes the whole validation text"},
        {"data", "the line \"data\" gives it, the same to all"},
        {"val", "the line \"val\" gives it, the same to all"},
        {"threads", "it is an option of compare"},
        {"device", "it is an option of compare"},
    };
    int i;
    size_t k;
    for (i = 0; i < words->count; i++)
        for (k = 0; k < sizeof fixed / sizeof fixed[0]; k++) {
            const char *word = words->items[i];
            if (strncmp(word, "--", 2) != 0) continue;
            if (option_is(fixed[k][0], word + 2, strcspn(word + 2, "=")))
                fail(EXIT_USAGE, "%s%s is no setting of one contender: %s", place, word,
                     fixed[k][1]);
        }
}

static const char MODEL_SKIPS[] = "vocab seed", TRAINER_SKIPS[] = "steps seed eval_batches";

/* What a contender has beside the library's settings. */
#define CONTENDER_OPTIONS(preset, prepare)                                                         \
    {                                                                                              \
        {"preset", OPTION_TEXT, preset, 0, 0, "start from other defaults: " PRESET_WORDS},         \
        {                                                                                          \
            "prepare", OPTION_CHOICE, prepare, 0, 0,                                               \
                "before the first step: phases by rhymes of words, those dealt out at random, "    \
                "bands in a random order, or maestros that are 0 and stay so"                      \
        }                                                                                          \
    }

/* Settings of `all` and then those of the line itself; a preset is taken first. */
static void contender_settings(contender *c, const text_list *all, const text_list *own)
{
    const char *preset = NULL;
    const option options[] = CONTENDER_OPTIONS(&preset, &c->prepare);
    int count = 1 + (all ? all->count : 0) + own->count, i;
    char **words = (char **)(void *)text_keep((size_t)count * sizeof *words);
    settings descs[2];
    command command_line;
    words[0] = text_made("plan");
    for (i = 1; i < count; i++)
        words[i] =
            text_made("%s", i <= count - 1 - own->count ? all->items[i - 1]
                                                        : own->items[i - (count - own->count)]);
    descs[0] = settings_of("model", WCOH_DESC_MODEL, &c->model, MODEL_SKIPS);
    descs[1] = settings_of("trainer", WCOH_DESC_TRAINER, &c->trainer, TRAINER_SKIPS);
    memset(&command_line, 0, sizeof command_line);
    command_line.place = c->place;
    command_line.options = options;
    command_line.option_count = 2;
    command_line.descs = descs;
    command_line.desc_count = 2;
    c->prepare.words = PREPARE_WORDS;
    settings_refuse(c->place, own);
    preset = option_given(&command_line, count, words, "preset");
    if (preset) preset_take(&command_line, preset, &c->model, &c->trainer);
    c->drops = dropout_asked(&command_line, count, words);
    options_read(&command_line, count, words);
    c->own_rate = option_given(&command_line, count, words, "lr") != NULL;
}

/* The line "eval: --seq 256". */
static void eval_settings(plan *p, const char *place, const text_list *own)
{
    char **words = (char **)(void *)text_keep((size_t)(own->count + 1) * sizeof *words);
    settings desc = settings_of("evaluation", WCOH_DESC_EVAL, &p->eval, NULL);
    command c;
    int i;
    memset(&c, 0, sizeof c);
    c.place = place;
    c.descs = &desc;
    c.desc_count = 1;
    words[0] = text_made("plan");
    for (i = 0; i < own->count; i++) words[i + 1] = text_made("%s", own->items[i]);
    options_read(&c, own->count + 1, words);
    p->eval_place = place;
}

/* A line with a colon: "all: ..", "eval: ..", or a contender, whose settings wait for all of `all`. */
static void plan_settings(plan *p, const char *place, const char *line, size_t length)
{
    const char *name, *rest = line + length + 1;
    contender *c;
    int i;
    while (length > 0 && strchr(" \t", line[length - 1])) length--;
    name = text_made("%.*s", (int)length, line);
    if (strcmp(text_shown(name), name) != 0)
        fail(EXIT_USAGE, "%sa name holds a control character or a broken one: %s", place, name);
    place = text_made("%s%s: ", place, name);
    rest += strspn(rest, " \t");
    if (strcmp(name, "eval") == 0 || strcmp(name, "all") == 0) {
        text_list words = line_words(place, rest);
        if (*name == 'e' ? p->eval_place != NULL : p->all_place != NULL)
            fail(EXIT_USAGE, "%sthat line stands there already", place);
        if (*name == 'e') {
            eval_settings(p, place, &words);
        } else {
            contender tried; /* so that what is wrong is told of this line */
            memset(&tried, 0, sizeof tried);
            tried.place = p->all_place = place;
            p->all = words;
            contender_settings(&tried, NULL, &words);
        }
        return;
    }
    for (i = 0; i < p->count; i++)
        if (strcmp(p->list[i].name, name) == 0)
            fail(EXIT_USAGE, "%sa contender of that name stands there already", place);
    if (p->count == CONTENDERS) fail(EXIT_USAGE, "%smore than %d contenders", place, CONTENDERS);
    c = &p->list[p->count++];
    c->name = name;
    c->place = place;
    c->options = rest;
}

static void plan_budget(plan *p)
{
    const char *called = text_made("%sbudget", plan_place(p, p->lines[PLAN_BUDGET]));
    char *end;
    p->amount = 2000;
    if (!p->budget_words.count) return;
    p->budget = word_choose(called, p->budget_words.items[0], BUDGET_WORDS);
    if (p->budget_words.count != 2)
        fail(EXIT_USAGE, "%s takes two values, as in budget steps 2000", called);
    p->amount = strtod(p->budget_words.items[1], &end);
    if (*end || !(p->amount > 0) || p->amount > (p->budget == BUDGET_TOKENS ? 1e15 : 2147483647) ||
        (p->budget == BUDGET_STEPS && p->amount != (double)(long long)p->amount))
        fail(EXIT_USAGE, "%s %s is \"%s\": allowed are %s", called,
             word_at(BUDGET_WORDS, p->budget), p->budget_words.items[1],
             p->budget == BUDGET_STEPS    ? "whole numbers from 1 to 2147483647"
             : p->budget == BUDGET_TOKENS ? "numbers above 0, up to 1e15"
                                          : "numbers above 0, up to 2147483647");
}

static void plan_seeds(plan *p)
{
    const char *place = plan_place(p, p->lines[PLAN_SEEDS]);
    char text[32];
    wcoh_trainer_desc desc;
    wcoh_error error;
    int i, k;
    for (i = 1; !p->seed_words.count && i <= 3; i++) list_add(&p->seed_words, text_made("%d", i));
    if (p->seed_words.count > SEEDS) fail(EXIT_USAGE, "%smore than %d seeds", place, SEEDS);
    memset(&desc, 0, sizeof desc);
    for (i = 0; i < p->seed_words.count; i++) {
        if (wcoh_field_set(WCOH_DESC_TRAINER, &desc, "seed", p->seed_words.items[i], &error) < 0)
            fail(EXIT_USAGE, "%s%s", place, error.text);
        wcoh_field_get(WCOH_DESC_TRAINER, &desc, "seed", text, sizeof text);
        p->seeds[i] = text_made("%s", text);
        for (k = 0; k < i; k++)
            if (strcmp(p->seeds[k], text) == 0)
                fail(EXIT_USAGE, "%sseed %s stands there twice", place, p->seed_words.items[i]);
    }
}

/* A rate as it is always spelled, so that equal ones are equal texts. */
static const char *rate_text(const wcoh_trainer_desc *desc)
{
    char text[64];
    wcoh_field_get(WCOH_DESC_TRAINER, desc, "lr", text, sizeof text);
    return text_made("%s", text);
}

static void plan_rates(plan *p)
{
    const char *place = plan_place(p, p->lines[PLAN_RATES]);
    wcoh_trainer_desc desc;
    wcoh_error error;
    int i, k;
    if (p->rate_words.count > RATES) fail(EXIT_USAGE, "%smore than %d rates", place, RATES);
    memset(&desc, 0, sizeof desc);
    for (i = 0; i < p->rate_words.count; i++) {
        if (wcoh_field_set(WCOH_DESC_TRAINER, &desc, "lr", p->rate_words.items[i], &error) < 0)
            fail(EXIT_USAGE, "%s%s", place, error.text);
        if (desc.lr == 0) fail(EXIT_USAGE, "%slr is 0: a rate to try is a number above it", place);
        p->rates[i] = rate_text(&desc);
        for (k = 0; k < i; k++)
            if (strcmp(p->rates[k], p->rates[i]) == 0)
                fail(EXIT_USAGE, "%slr %s stands there twice", place, p->rates[i]);
    }
}

/* The contender with that name, or the end. */
static int plan_against(const plan *p)
{
    word_guess guess;
    int i;
    if (!p->against) return 0;
    memset(&guess, 0, sizeof guess);
    guess.given = p->against;
    guess.length = strlen(p->against);
    for (i = 0; i < p->count; i++) {
        if (strcmp(p->list[i].name, p->against) == 0) return i;
        guess_try(&guess, p->list[i].name, strlen(p->list[i].name));
    }
    fail(EXIT_USAGE, "%sagainst \"%s\": there is no such contender%s",
         plan_place(p, p->lines[PLAN_AGAINST]), p->against, guess_text(&guess, ""));
    return 0;
}

/* What can be wrong with a contender before its text is known. */
static void contender_check(const contender *c, int *seq)
{
    wcoh_model_desc model = c->model;
    wcoh_trainer_desc trainer = c->trainer;
    wcoh_error error;
    model.vocab = 256;
    if (wcoh_model_desc_resolve(&model, &error) < 0) fail(EXIT_USAGE, "%s%s", c->place, error.text);
    if (wcoh_trainer_desc_resolve(&trainer, &model, &error) < 0)
        fail(EXIT_USAGE, "%s%s", c->place, error.text);
    if (trainer.seq > *seq) *seq = trainer.seq;
}

/* Words of the plan that nothing would heed. */
static void plan_unheeded(const plan *p)
{
    int i, searched = 0;
    for (i = 0; i < p->count; i++) searched |= !p->list[i].own_rate;
    if (p->rate_words.count && !searched)
        fail(EXIT_USAGE,
             "%slr: every contender names a rate of its own, so that none of these is tried",
             plan_place(p, p->lines[PLAN_RATES]));
    if (p->corpus.val.count && p->lines[PLAN_VAL_SHARE])
        fail(EXIT_USAGE, "%sval is a text of its own: val-share goes without it",
             plan_place(p, p->lines[PLAN_VAL_SHARE]));
}

static void plan_read(plan *p, const request *r)
{
    option options[PLAN_OPTIONS];
    size_t count, i;
    char **lines = file_lines(p->path, &count);
    int k;
    p->list = (contender *)(void *)text_keep(CONTENDERS * sizeof *p->list);
    memset(p->list, 0, CONTENDERS * sizeof *p->list);
    plan_options(p, options);
    for (i = 0; i < count; i++) {
        const char *line = lines[i] + strspn(lines[i], " \t");
        const char *place = plan_place(p, (unsigned long)i + 1);
        text_list words;
        size_t length = line_name(line);
        if (length) {
            plan_settings(p, place, line, length);
            continue;
        }
        words = line_words(place, line);
        if (words.count) plan_values(p, options, (unsigned long)i + 1, &words);
    }
    if (r->data.count) p->corpus.data = r->data;
    if (!p->count)
        fail(EXIT_USAGE, "%s: it has no contender, a line such as wave: --bands 64", p->path);
    if (!p->corpus.data.count) fail(EXIT_USAGE, "%s: it has no line data FILE", p->path);
    plan_budget(p);
    plan_seeds(p);
    plan_rates(p);
    plan_against(p);
    if (p->eval_place && p->score.index == SCORE_BEST)
        fail(EXIT_USAGE, "%sscore best is the trainer's own evaluation: it goes without this line",
             p->eval_place);
    for (k = 0; k < p->count; k++) {
        text_list words = line_words(p->list[k].place, p->list[k].options);
        int i_word;
        p->list[k].options = "";
        for (i_word = 0; i_word < words.count; i_word++)
            p->list[k].options =
                text_made("%s%s%s", p->list[k].options, i_word ? " " : "", words.items[i_word]);
        contender_settings(&p->list[k], &p->all, &words);
        contender_check(&p->list[k], &p->corpus.seq);
    }
    plan_unheeded(p);
}

/* ---- runs of the plan ------------------------------------------------------------------------ */

/* FNV-1a, 64 bits. */
static uint64_t hash_more(uint64_t hash, const void *bytes, size_t size)
{
    const unsigned char *b = (const unsigned char *)bytes;
    size_t i;
    for (i = 0; i < size; i++) hash = (hash ^ b[i]) * 1099511628211ull;
    return hash;
}
static const uint64_t HASH_START = 14695981039346656037ull;

static const char *hash_text(uint64_t hash)
{
    return text_made("%08lx%08lx", (unsigned long)(hash >> 32),
                     (unsigned long)(hash & 0xffffffffu));
}

static uint64_t hash_texts(uint64_t hash, const texts *t)
{
    size_t i;
    for (i = 0; t->count && i <= t->count; i++) {
        unsigned char bytes[8];
        int k;
        for (k = 0; k < 8; k++)
            bytes[k] = (unsigned char)((uint64_t)t->offsets[i] >> (8 * k) & 255);
        hash = hash_more(hash, bytes, 8);
    }
    for (i = 0; i < texts_size(t); i++) {
        unsigned char bytes[4];
        int k;
        for (k = 0; k < 4; k++) bytes[k] = (unsigned char)(t->tokens[i] >> (8 * k) & 255);
        hash = hash_more(hash, bytes, 4);
    }
    return hash;
}

/* Tokens of all texts, where they end, and the size of the alphabet: what the runs see. */
static const char *corpus_hash(const corpus *text, int vocab)
{
    unsigned char size[3];
    size[0] = (unsigned char)(vocab & 255);
    size[1] = (unsigned char)(vocab >> 8 & 255);
    size[2] = (unsigned char)(vocab >> 16 & 255);
    return hash_text(
        hash_texts(hash_texts(hash_more(HASH_START, size, 3), &text->train), &text->validate));
}

/* "bands=64 layers=4 ..": every field but those that have columns of their own. */
static const char *settings_text(wcoh_desc_kind kind, const void *desc, const char *skip,
                                 const char *before)
{
    const char *text = before;
    char value[256];
    int i, count;
    const wcoh_field *fields = wcoh_fields(kind, &count);
    for (i = 0; i < count; i++) {
        if (word_stands(skip, fields[i].name)) continue;
        wcoh_field_get(kind, desc, fields[i].name, value, sizeof value);
        text = text_made("%s%s%s=%s", text, *text ? " " : "", fields[i].name, value);
    }
    return text;
}

static const char *trial_settings(const plan *p, const trial *t)
{
    const char *text = settings_text(WCOH_DESC_MODEL, &t->model, MODEL_SKIPS, "");
    const char *skip =
        p->budget == BUDGET_SECONDS ? "steps seed lr eval_batches" : "seed lr eval_batches";
    text = settings_text(WCOH_DESC_TRAINER, &t->trainer, skip, text);
    if (p->budget == BUDGET_SECONDS) text = text_made("%s budget_seconds=%.17g", text, p->amount);
    if (p->eval_place)
        text = text_made("%s eval_seq=%d eval_batch=%d", text, p->eval.seq, p->eval.batch);
    if (t->of->prepare.index)
        text = text_made("%s prepare=%s", text, word_at(PREPARE_WORDS, t->of->prepare.index));
    return text;
}

static double tokens_a_step(const wcoh_trainer_desc *desc)
{
    return (double)desc->batch * desc->seq * desc->accumulate;
}

/* Steps of the budget for these batches. */
static int budget_steps(const plan *p, const trial *t)
{
    double each = tokens_a_step(&t->trainer), steps;
    if (p->budget == BUDGET_SECONDS) return 2147483647;
    steps = p->budget == BUDGET_STEPS ? p->amount : floor(p->amount / each + 0.5);
    if (steps > 2147483647)
        fail(EXIT_USAGE, "%sthe budget is %.0f steps: 2147483647 are the most", t->of->place,
             steps);
    return steps < 1 ? 1 : (int)steps;
}

static void trial_open(const plan *p, trial *t, contender *c, const request *r, int rate, int seed,
                       const corpus *text, int vocab)
{
    wcoh_error error;
    t->of = c;
    t->model = c->model;
    t->trainer = c->trainer;
    t->model.vocab = vocab;
    t->seed = p->seeds[seed];
    wcoh_field_set(WCOH_DESC_MODEL, &t->model, "seed", t->seed, NULL);
    wcoh_field_set(WCOH_DESC_TRAINER, &t->trainer, "seed", t->seed, NULL);
    if (!c->own_rate && p->rate_words.count)
        wcoh_field_set(WCOH_DESC_TRAINER, &t->trainer, "lr", p->rates[rate], NULL);
    t->trainer.eval_batches = 1048576;
    t->trainer.cpu.threads = (int)r->threads;
    t->trainer.cpu.isa = r->isa;
    if (wcoh_model_desc_resolve(&t->model, &error) < 0)
        fail(EXIT_USAGE, "%s%s", c->place, error.text);
    if (wcoh_trainer_desc_resolve(&t->trainer, &t->model, &error) < 0)
        fail(EXIT_USAGE, "%s%s", c->place, error.text);
    t->trainer.steps = budget_steps(p, t);
    if (c->drops)
        t->trainer.dropout = dropout_of(text, (double)t->trainer.steps * tokens_a_step(&t->trainer),
                                        (double)c->parameters, &c->dropped);
    t->rate = rate_text(&t->trainer);
    t->settings = trial_settings(p, t);
}

static int trial_is(const trial *t, const trial *other)
{
    return strcmp(t->seed, other->seed) == 0 && strcmp(t->rate, other->rate) == 0 &&
           strcmp(t->settings, other->settings) == 0;
}

/* The first trial before contender `before` that is the same run, or NULL. */
static trial *trial_before(const plan *p, int before, const trial *t)
{
    int i, k;
    for (i = 0; i < before; i++)
        for (k = 0; k < p->list[i].rate_count * p->list[i].seed_count; k++)
            if (trial_is(t, &p->list[i].trials[k])) return &p->list[i].trials[k];
    return NULL;
}

/* Can the line "eval: .." be heeded, with this network and text? One window tells, before any run. */
static void eval_check(const plan *p, const contender *c, wcoh_model *model, const corpus *text)
{
    wcoh_eval_desc desc = p->eval;
    wcoh_sequences s = texts_sequences(&text->validate);
    size_t window = (size_t)(desc.seq ? desc.seq : 64) + 1, size = s.offsets[1], ends[2] = {0, 0};
    double loss;
    wcoh_error error;
    wcoh_result result;
    ends[1] = size < window ? size : window;
    desc.cpu.threads = 1;
    if (s.count > 1 || text->train.count > 1) {
        s.count = 1;
        s.offsets = ends;
        result = wcoh_model_evaluate_sequences(model, &desc, &s, &loss, NULL, &error);
    } else {
        result = wcoh_model_evaluate(model, &desc, s.tokens, ends[1], &loss, NULL, &error);
    }
    if (result < 0 && result != WCOH_E_NUMERIC)
        fail(EXIT_USAGE, "%s%s: %s", p->eval_place, text_shown(c->name), error.text);
}

/* Its parameters, from a network that is made for that and goes. */
static void contender_count(const plan *p, contender *c, const corpus *text,
                            const wcoh_tokenizer *tokenizer)
{
    wcoh_model_desc desc = c->model;
    const char *reason;
    wcoh_model *model;
    wcoh_error error;
    desc.vocab = wcoh_tokenizer_vocab(tokenizer);
    if (wcoh_model_create(&model, &desc, &error) < 0)
        fail(EXIT_FAILED, "%s%s", c->place, error.text);
    reason = network_prepare(c->prepare.index, model, tokenizer);
    if (reason) fail(EXIT_USAGE, "%s%s", c->place, reason);
    c->parameters = learning_count(model);
    if (c->prepare.index == PREPARE_RHYMES || c->prepare.index == PREPARE_MIXED_RHYMES)
        printf("%s: %s\n", text_shown(c->name), rhymes_text(tokenizer));
    if (p->eval_place) eval_check(p, c, model, text);
    wcoh_model_destroy(model);
}

static void contender_open(const plan *p, int at, const request *r, const corpus *text,
                           const wcoh_tokenizer *tokenizer)
{
    contender *c = &p->list[at];
    int i, k, count;
    if (c->drops && p->budget == BUDGET_SECONDS)
        fail(EXIT_USAGE,
             "%s--dropout auto counts passes over the text: the budget must be steps or tokens",
             c->place);
    c->rate_count = c->own_rate || !p->rate_words.count ? 1 : p->rate_words.count;
    c->seed_count = p->seed_words.count;
    count = c->rate_count * c->seed_count;
    c->trials = (trial *)(void *)text_keep((size_t)count * sizeof *c->trials);
    memset(c->trials, 0, (size_t)count * sizeof *c->trials);
    contender_count(p, c, text, tokenizer);
    for (i = 0; i < c->rate_count; i++)
        for (k = 0; k < c->seed_count; k++) {
            trial *t = &c->trials[i * c->seed_count + k];
            trial_open(p, t, c, r, i, k, text, wcoh_tokenizer_vocab(tokenizer));
            t->same = trial_before(p, at, t);
            while (t->same && t->same->same) t->same = t->same->same;
        }
    if (c->dropped) printf("%s: %s\n", text_shown(c->name), c->dropped);
}

/* ---- the CSV file ---------------------------------------------------------------------------- */

#define CSV_HEAD                                                                                   \
    "contender,seed,lr,parameters,steps,tokens,val,best,best_step,train,seconds,curve,text,isa,"   \
    "settings,check"
enum {
    CSV_NAME,
    CSV_SEED,
    CSV_RATE,
    CSV_PARAMETERS,
    CSV_STEPS,
    CSV_TOKENS,
    CSV_VAL,
    CSV_BEST,
    CSV_BEST_STEP,
    CSV_TRAIN,
    CSV_SECONDS,
    CSV_CURVE,
    CSV_TEXT,
    CSV_ISA,
    CSV_SETTINGS,
    CSV_CHECK,
    CSV_FIELDS
};

/* A finished run as it stands in the file. */
typedef struct row {
    const char *field[CSV_FIELDS];
    unsigned long line;
    outcome got;
    int used; /* 1: it is a run of this plan */
} row;

typedef struct results {
    const char *path;
    row *rows; /* [count] */
    size_t count;
    text_list waiting; /* lines that could not be written yet */
    const char *losses_path;
    int losses_new;                   /* 1: that file is still to be made */
    text_list losses, losses_waiting; /* its lines; those that could not be written yet */
} results;

/* As a field of CSV: in quotes where it has to be. */
static const char *csv_field(const char *text)
{
    char *quoted;
    size_t used = 0;
    if (!strpbrk(text, ",\"")) return text;
    quoted = text_keep(2 * strlen(text) + 2);
    quoted[used++] = '"';
    for (; *text; text++) {
        if (*text == '"') quoted[used++] = '"';
        quoted[used++] = *text;
    }
    quoted[used++] = '"';
    quoted[used] = 0;
    return quoted;
}

static const char *csv_loss(double loss)
{
    return loss - loss == 0 ? text_made("%.17g", loss) : "nan";
}

/* The line of a run, with the check of all before it. device: what computed it, where not the CPU */
static const char *csv_line(const trial *t, const char *text_hash, const char *device)
{
    wcoh_isa isa = t->trainer.cpu.isa ? t->trainer.cpu.isa : wcoh_cpu_best_isa();
    const outcome *o = &t->got;
    const char *line = text_made(
        "%s,%s,%s,%lu,%.0f,%.0f,%s,%s,%.0f,%s,%.3f,%s,%s,%s,%s,", csv_field(t->of->name), t->seed,
        t->rate, (unsigned long)t->of->parameters, (double)o->steps, (double)o->tokens,
        csv_loss(o->val), csv_loss(o->best), (double)o->best_step, csv_loss(o->train), o->seconds,
        csv_field(o->curve), text_hash,
        strcmp(device, "cpu") ? csv_field(device) : wcoh_isa_name(isa), csv_field(t->settings));
    return text_made("%s%s\n", line, hash_text(hash_more(HASH_START, line, strlen(line))));
}

/* Cut a line into its fields, in place; returns their number, at most one more than there may be. */
static int csv_cut(char *line, const char *fields[CSV_FIELDS])
{
    int count = 0;
    while (count < CSV_FIELDS) {
        char *to = line;
        fields[count++] = to;
        if (*line == '"') {
            for (line++; *line && !(*line == '"' && line[1] != '"'); line++) {
                line += *line == '"';
                *to++ = *line;
            }
            line += *line == '"';
        } else {
            to = line += strcspn(line, ",");
        }
        if (*line != ',') {
            int whole = !*line;
            *to = 0;
            return whole ? count : CSV_FIELDS + 1;
        }
        line++;
        *to = 0;
    }
    return CSV_FIELDS + 1;
}

/* A number of a row, at least `least`; a loss may be nan. */
static double csv_number(const results *r, const row *w, int field, double least)
{
    static const char head[] = CSV_HEAD;
    const char *text = w->field[field], *name = head;
    char *end;
    double value = strtod(text, &end);
    int i, loss = field == CSV_VAL || field == CSV_BEST || field == CSV_TRAIN;
    for (i = 0; i < field; i++) name += strcspn(name, ",") + 1;
    if (*text && !*end && value - value == 0 && value >= least) return value;
    if (loss && strcmp(text, "nan") == 0) return NAN;
    fail(EXIT_FAILED, "%s: line %lu: its %.*s is \"%s\", which is none", r->path, w->line,
         (int)strcspn(name, ","), name, text);
    return 0;
}

/* 1 if the line ends with the check of what stands before it. */
static int csv_is_whole(const char *line)
{
    const char *last = strrchr(line, ',');
    size_t size = last ? (size_t)(last + 1 - line) : 0;
    return last && strcmp(last + 1, hash_text(hash_more(HASH_START, line, size))) == 0;
}

static void row_read(results *r, row *w, char *line, unsigned long number)
{
    int count;
    w->line = number;
    if (!csv_is_whole(line))
        fail(EXIT_FAILED,
             "%s: line %lu is not as it was written: its check does not fit; put back what stood "
             "there or take the line out",
             r->path, number);
    count = csv_cut(line, w->field);
    if (count != CSV_FIELDS)
        fail(EXIT_FAILED, "%s: line %lu has not the %d fields of the first line", r->path, number,
             (int)CSV_FIELDS);
    w->got.steps = (uint64_t)csv_number(r, w, CSV_STEPS, 0);
    w->got.tokens = (uint64_t)csv_number(r, w, CSV_TOKENS, 0);
    w->got.best_step = (uint64_t)csv_number(r, w, CSV_BEST_STEP, 0);
    w->got.val = csv_number(r, w, CSV_VAL, 0);
    w->got.best = csv_number(r, w, CSV_BEST, 0);
    w->got.train = csv_number(r, w, CSV_TRAIN, 0);
    w->got.seconds = csv_number(r, w, CSV_SECONDS, 0);
    csv_number(r, w, CSV_RATE, 0);
    csv_number(r, w, CSV_PARAMETERS, 0);
    w->got.curve = text_made("%s", w->field[CSV_CURVE]);
}

/* Append, and see it on the disk; 0 with errno where that failed, and the file is as it was. */
static int file_append(const char *path, const char *text)
{
    FILE *file = fopen(path, "ab");
    struct stat about;
    size_t size = strlen(text);
    int well, reason, known = stat(path, &about) == 0;
    if (!file) return 0;
    setvbuf(file, NULL, _IONBF, 0); /* in one piece: another process may append too */
    well = fwrite(text, 1, size, file) == size && fflush(file) == 0;
#ifndef _WIN32
    well = well && fsync(fileno(file)) == 0;
#endif
    reason = errno;
    well = fclose(file) == 0 && well;
    if (!well && known) path_cut(path, (size_t)about.st_size);
    errno = reason;
    return well;
}

/* What a kill or a power failure left of a last line is cut; one that only lacks its end gets it. */
static void results_mend(const results *r, const char *text, size_t size, int touch)
{
    size_t kept = size;
    while (kept > 0 && text[kept - 1] != '\n') kept--;
    if (kept == size || kept == 0) return;
    if (csv_is_whole(text + kept)) {
        if (touch && !file_append(r->path, "\n"))
            fail(EXIT_FAILED, "%s: cannot write it: %s", r->path, strerror(errno));
        return;
    }
    say("%s: its last line is cut off and left out: that run is made again", r->path);
    if (touch && path_cut(r->path, kept))
        fail(EXIT_FAILED, "%s: cannot cut it: %s", r->path, strerror(errno));
}

/* Read what there is; `touch`: make the file, or mend it. */
static void results_read(results *r, int touch)
{
    size_t size, count, i;
    char *text, **lines;
    struct stat about;
    if (stat(r->path, &about) || (S_ISREG(about.st_mode) && about.st_size == 0)) {
        if (touch) file_save(r->path, CSV_HEAD "\n", sizeof CSV_HEAD);
        return;
    }
    if (!S_ISREG(about.st_mode)) fail(EXIT_FAILED, "%s: it is no file", r->path);
    text = file_read(r->path, &size);
    lines = file_lines(r->path, &count);
    if (strcmp(lines[0], CSV_HEAD) != 0)
        fail(EXIT_FAILED,
             "%s: it does not begin with contender,seed,lr,..: it is no file of compare", r->path);
    results_mend(r, text, size, touch);
    if (text[size - 1] != '\n' && !csv_is_whole(lines[count - 1])) count--;
    free(text);
    r->rows = (row *)(void *)text_keep(count * sizeof *r->rows);
    memset(r->rows, 0, count * sizeof *r->rows);
    for (i = 1; i < count; i++)
        if (*lines[i]) row_read(r, &r->rows[r->count++], lines[i], (unsigned long)i + 1);
}

/* Append the lines that wait, each on the disk before the next; 0 and why if some wait on. */
static int lines_write(const char *path, text_list *waiting, wcoh_error *error)
{
    int i, done = 0;
    while (done < waiting->count && file_append(path, waiting->items[done])) done++;
    for (i = done; i < waiting->count; i++) waiting->items[i - done] = waiting->items[i];
    waiting->count -= done;
    if (waiting->count)
        snprintf(error->text, sizeof error->text, "%s: cannot write it: %s", path, strerror(errno));
    return waiting->count == 0;
}

/* ---- losses over the text, in a file beside the CSV file --------------------------------------

   A line belongs to the run whose line in the CSV file has its first field as check, and is written
   before that one. What is not there, or is not as it was written, is no fault: the runs count all the
   same, and the table says that it knows no more of them. */

#define LOSSES_HEAD "run,tokens,end,best,check"
enum { LOSSES_RUN, LOSSES_TOKENS, LOSSES_END, LOSSES_BEST, LOSSES_CHECK, LOSSES_FIELDS };

/* "256 256 ..", each as it is; "" of NULL. */
static const char *numbers_text(const double *numbers, int count)
{
    char *text = text_keep((size_t)count * 32 + 1);
    size_t used = 0;
    int i;
    *text = 0;
    for (i = 0; numbers && i < count; i++)
        used += (size_t)sprintf(text + used, "%s%.17g", i ? " " : "", numbers[i]);
    return text;
}

/* The same back, [count], for the caller to free; NULL where it is anything else. */
static double *numbers_of(const char *text, int count)
{
    double *numbers = (double *)memory_of((size_t)count, sizeof *numbers);
    int i;
    for (i = 0; i < count; i++) {
        char *end;
        numbers[i] = strtod(text, &end);
        if (end == text || !stat_is_finite(numbers[i]) || *end != (i + 1 < count ? ' ' : 0)) {
            free(numbers);
            return NULL;
        }
        text = end + 1;
    }
    return numbers;
}

/* The line of a run that has this check in the CSV file. */
static const char *losses_line(const parts *text, const char *run)
{
    const char *line =
        text_made("%s,%s,%s,%s,", run, numbers_text(text->tokens, text->blocks),
                  numbers_text(text->end, text->blocks), numbers_text(text->best, text->blocks));
    return text_made("%s%s\n", line, hash_text(hash_more(HASH_START, line, strlen(line))));
}

/* What the file has of that run. */
static parts losses_find(const results *r, const char *run, int blocks)
{
    const char *field[CSV_FIELDS];
    parts text;
    int i;
    memset(&text, 0, sizeof text);
    text.blocks = blocks;
    for (i = 0; i < r->losses.count; i++) {
        if (strncmp(r->losses.items[i], run, strlen(run)) != 0) continue;
        if (csv_cut(text_made("%s", r->losses.items[i]), field) != LOSSES_FIELDS) continue;
        text.tokens = numbers_of(field[LOSSES_TOKENS], blocks);
        text.end = text.tokens ? numbers_of(field[LOSSES_END], blocks) : NULL;
        text.best = text.tokens ? numbers_of(field[LOSSES_BEST], blocks) : NULL;
        return text;
    }
    return text;
}

/* 1 if the file has its first line, which is written where no other process has made it meanwhile. */
static int losses_begin(results *r, wcoh_error *error)
{
    struct stat about;
    if (r->losses_new && (stat(r->losses_path, &about) || about.st_size == 0) &&
        wcoh_path_save(r->losses_path, LOSSES_HEAD "\n", sizeof LOSSES_HEAD, error) < 0)
        return 0;
    r->losses_new = 0;
    return 1;
}

/* As lines_write, of these. */
static int losses_write(results *r, wcoh_error *error)
{
    return losses_begin(r, error) && lines_write(r->losses_path, &r->losses_waiting, error);
}

/* Read what there is, and cut what a kill left of a last line. */
static void losses_read(results *r)
{
    size_t size, count, i;
    char *text, **lines;
    struct stat about;
    if (stat(r->losses_path, &about) || (S_ISREG(about.st_mode) && about.st_size == 0)) {
        r->losses_new = 1;
        return;
    }
    if (!S_ISREG(about.st_mode)) fail(EXIT_FAILED, "%s: it is no file", r->losses_path);
    text = file_read(r->losses_path, &size);
    lines = file_lines(r->losses_path, &count);
    if (strcmp(lines[0], LOSSES_HEAD) != 0)
        fail(EXIT_FAILED, "%s: it does not begin with %s: it is no file of compare", r->losses_path,
             LOSSES_HEAD);
    if (text[size - 1] != '\n') {
        while (size > 0 && text[size - 1] != '\n') size--;
        count--;
        if (size == 0 || path_cut(r->losses_path, size))
            fail(EXIT_FAILED, "%s: cannot cut its last line", r->losses_path);
    }
    free(text);
    for (i = 1; i < count; i++)
        if (csv_is_whole(lines[i])) list_add(&r->losses, lines[i]);
        else if (*lines[i])
            say("%s: line %lu is not as it was written and is left out", r->losses_path,
                (unsigned long)i + 1);
}

/* ---- which lines are runs of the plan -------------------------------------------------------- */

/* The value [*length] of a setting in "bands=64 layers=4 ..", or NULL. */
static const char *setting_find(const char *text, const char *name, size_t size, size_t *length)
{
    for (; *(text += strspn(text, " ")); text += strcspn(text, " "))
        if (strncmp(text, name, size) == 0 && text[size] == '=') {
            *length = strcspn(text + size + 1, " ");
            return text + size + 1;
        }
    return NULL;
}

static void field_clear(const wcoh_field *f, void *desc)
{
    char *member = (char *)desc;
    size_t size = f->kind == WCOH_FIELD_REAL   ? sizeof(double)
                  : f->kind == WCOH_FIELD_SEED ? sizeof(uint64_t)
                                               : sizeof(int);
    memset(member + f->offset, 0, size);
    if (f->pattern) memset(member + f->pattern, 0, sizeof(wcoh_pattern));
}

/* 1 if the value is what the setting has by default: then lines from before it existed fit. */
static int setting_is_standard(const trial *t, const char *name, size_t size, const char *value,
                               size_t length)
{
    wcoh_model_desc model = t->model;
    wcoh_trainer_desc trainer = t->trainer;
    settings descs[2];
    char text[256];
    int i;
    descs[0] = settings_of("", WCOH_DESC_MODEL, &model, NULL);
    descs[1] = settings_of("", WCOH_DESC_TRAINER, &trainer, NULL);
    for (i = 0; i < 2; i++) {
        const wcoh_field *f = field_find(&descs[i], name, size);
        if (!f) continue;
        field_clear(f, descs[i].desc);
        if (wcoh_model_desc_resolve(&model, NULL) < 0 ||
            wcoh_trainer_desc_resolve(&trainer, &model, NULL) < 0)
            return 0;
        wcoh_field_get(descs[i].kind, descs[i].desc, f->name, text, sizeof text);
        return strlen(text) == length && memcmp(text, value, length) == 0;
    }
    return 0;
}

/* NULL where the line's settings are those of the run, else what differs first. */
static const char *settings_differ(const trial *t, const char *there)
{
    const char *at = t->settings, *value;
    size_t length;
    if (strcmp(at, there) == 0) return NULL;
    for (; *(at += strspn(at, " ")); at += strcspn(at, " ")) {
        size_t size = strcspn(at, "="), own = strcspn(at + size + 1, " ");
        value = setting_find(there, at, size, &length);
        if (value && length == own && memcmp(value, at + size + 1, own) == 0) continue;
        if (value)
            return text_made("%.*s was %.*s and is %.*s", (int)size, at, (int)length, value,
                             (int)own, at + size + 1);
        if (!setting_is_standard(t, at, size, at + size + 1, own))
            return text_made("%.*s was not told and is %.*s", (int)size, at, (int)own,
                             at + size + 1);
    }
    for (at = there; *(at += strspn(at, " ")); at += strcspn(at, " "))
        if (!setting_find(t->settings, at, strcspn(at, "="), &length))
            return text_made("%.*s was told and is not", (int)strcspn(at, "="), at);
    return NULL;
}

/* Give a trial the outcome of its line, where there is one; a second one must say the same. */
static void trial_find(trial *t, results *r, const char *text_hash, int blocks)
{
    size_t i;
    unsigned long line = 0;
    for (i = 0; i < r->count; i++) {
        row *w = &r->rows[i];
        if (strcmp(w->field[CSV_SEED], t->seed) != 0 || strcmp(w->field[CSV_RATE], t->rate) != 0 ||
            strcmp(w->field[CSV_TEXT], text_hash) != 0 ||
            settings_differ(t, w->field[CSV_SETTINGS]))
            continue;
        w->used = 1;
        if (!line) {
            line = w->line;
            t->got = w->got;
            t->got.text = losses_find(r, w->field[CSV_CHECK], blocks);
            t->state = TRIAL_IS_DONE;
        } else if (memcmp(&t->got.val, &w->got.val, sizeof t->got.val) != 0) {
            say("%s: line %lu is the run of line %lu with another loss: the first one counts",
                r->path, w->line, line);
        }
    }
}

/* Why a line is no run of the contender that has its name. */
static const char *row_reason(const row *w, const contender *c, const char *text_hash)
{
    const char *reason = NULL;
    int i, count = c->rate_count * c->seed_count;
    if (strcmp(w->field[CSV_TEXT], text_hash) != 0) return "the text was another one";
    reason = settings_differ(&c->trials[0], w->field[CSV_SETTINGS]);
    if (reason) return reason;
    for (i = 0; i < count; i++)
        if (strcmp(c->trials[i].seed, w->field[CSV_SEED]) == 0)
            return text_made("its lr %s is not tried any more", w->field[CSV_RATE]);
    return text_made("its seed %s is none of the plan", w->field[CSV_SEED]);
}

/* Lines that are no runs of this plan stay where they are; a sentence a name says so. */
static void results_others(results *r, const plan *p, const char *text_hash)
{
    size_t i, k;
    int c;
    for (i = 0; i < r->count; i++) {
        const char *name = r->rows[i].field[CSV_NAME], *reason = "the plan has no such contender";
        unsigned long same = 0;
        if (r->rows[i].used) continue;
        for (c = 0; c < p->count; c++)
            if (strcmp(p->list[c].name, name) == 0)
                reason = row_reason(&r->rows[i], &p->list[c], text_hash);
        for (k = i; k < r->count; k++) {
            if (r->rows[k].used || strcmp(r->rows[k].field[CSV_NAME], name) != 0) continue;
            r->rows[k].used = 1;
            same++;
        }
        say("%s: line %lu, %s, does not count: %s%s", r->path, r->rows[i].line, name, reason,
            same > 1 ? text_made("; %lu more lines of it do not", same - 1) : "");
    }
}

/* ---- a run ----------------------------------------------------------------------------------- */

/* What all runs share. The lock is for everything below it, and for stdout and all text_ functions. */
typedef struct race {
    const plan *p;
    const corpus *text;
    const char *text_hash, *device;
    trial **todo; /* [count] */
    int count;
    lock guard;
    int next, finished, failed, unsaved, unkept;
    double started, keep;
    results *into;
} race;

typedef struct runner {
    race *of;
    wcoh_device *device;
    thread handle;
} runner;

/* What the callbacks of a trainer gather. */
typedef struct watch {
    outcome *got;
    double marked, loss; /* sum of training losses since the last evaluation */
    long loss_count;
    char *curve;
    size_t used, room;
    int evaluated; /* 1: an evaluation has just ended */
    double kept;   /* when the run under way was kept last, or began */
    wcoh_real *losses; /* [size] of each token of the validation text, by the evaluation at hand */
    size_t size;
} watch;

/* What they come to, block by block. */
static void watch_sum(const watch *w, double **sums)
{
    parts *text = &w->got->text;
    if (!text->tokens)
        text->tokens = (double *)memory_of((size_t)text->blocks, sizeof *text->tokens);
    if (!*sums) *sums = (double *)memory_of((size_t)text->blocks, sizeof **sums);
    losses_sum(w->losses, w->size, *sums, text->tokens);
}

static void watch_point(watch *w, const wcoh_stats *s)
{
    char *longer;
    if (w->used + 64 > w->room) {
        longer = (char *)realloc(w->curve, 2 * w->room + 256);
        if (!longer) return; /* a point less in a picture */
        w->curve = longer;
        w->room = 2 * w->room + 256;
    }
    w->used += (size_t)sprintf(w->curve + w->used, "%s%.0f:", w->used ? " " : "", (double)s->step);
    if (stat_is_finite(s->val_loss))
        w->used += (size_t)sprintf(w->curve + w->used, "%.9g", s->val_loss);
    else w->used += (size_t)sprintf(w->curve + w->used, "nan");
}

static int on_progress(const wcoh_stats *stats, void *user)
{
    watch *w = (watch *)user;
    double now = seconds_now();
    if (stats->evaluated) {
        watch_point(w, stats);
        if (stats->best_step == stats->step) watch_sum(w, &w->got->text.best);
        if (w->loss_count) w->got->train = w->loss / (double)w->loss_count;
        w->loss = 0;
        w->loss_count = 0;
        w->evaluated = 1;
        now = seconds_now();
    } else {
        w->got->seconds += now - w->marked;
        w->loss += stats->train_loss;
        w->loss_count++;
    }
    w->marked = now;
    return 0;
}

/* Steps that take the budget's seconds: a trial on a model that is then thrown away. */
static wcoh_result trial_pace(const race *all, const trial *t, wcoh_trainer_desc *desc,
                              wcoh_error *error)
{
    wcoh_trainer_desc trial_desc = *desc;
    wcoh_model *model = NULL;
    wcoh_trainer *trainer = NULL;
    double each = 1, steps;
    wcoh_result result = wcoh_model_create(&model, &t->model, error);
    trial_desc.eval_every = -1;
    if (!result) result = wcoh_trainer_create(&trainer, model, &trial_desc, error);
    if (!result) result = corpus_give(all->text, trainer, error);
    if (!result) result = step_time(trainer, 0.1 * all->p->amount, &each, error);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    steps = all->p->amount / each;
    desc->steps = steps < 1 ? 1 : steps < 2147483647 ? (int)steps : 2147483647;
    return result;
}

/* The loss of the line "eval: ..": of the weights at the end, in windows of its own. */
static wcoh_result trial_evaluate(const race *all, wcoh_model *model, wcoh_trainer *trainer,
                                  watch *w, wcoh_error *error)
{
    double *loss = &w->got->val;
    wcoh_eval_desc desc = all->p->eval;
    wcoh_sequences s = texts_sequences(&all->text->validate);
    wcoh_result result = wcoh_trainer_mean(trainer, 1, error);
    if (!result) result = wcoh_trainer_sync(trainer, error);
    desc.cpu = wcoh_trainer_get_desc(trainer)->cpu;
    desc.device = wcoh_trainer_get_desc(trainer)->device;
    desc.losses = w->losses;
    desc.loss_count = w->size;
    if (result) return result;
    free(w->got->text.best); /* its windows are others */
    w->got->text.best = NULL;
    if (s.count > 1 || all->text->train.count > 1)
        return wcoh_model_evaluate_sequences(model, &desc, &s, loss, NULL, error);
    return wcoh_model_evaluate(model, &desc, s.tokens, s.offsets[1], loss, NULL, error);
}

/* ---- a run under way that is kept: its checkpoint, and what the trainer does not know --------- */

static const char *part_notes(const trial *t) { return text_made("%s.txt", t->part); }

static void part_remove(const trial *t)
{
    if (!t->part) return;
    remove(t->part);
    remove(part_notes(t));
}

/* Two files, each whole or the one before; part_take sees whether they are of one step. */
static void part_write(race *all, const trial *t, wcoh_trainer *trainer, watch *w)
{
    wcoh_stats stats;
    const char *notes;
    wcoh_result result;
    wcoh_trainer_stats(trainer, &stats);
    w->kept = seconds_now();
    if (!t->part || stats.step == 0) return;
    lock_take(&all->guard);
    notes = text_made("%.0f %.17g %ld %.17g %.17g %s\n%s\n%s\n", (double)stats.step, w->loss,
                      w->loss_count, w->got->train, w->got->seconds, w->curve ? w->curve : "",
                      numbers_text(w->got->text.tokens, w->got->text.blocks),
                      numbers_text(w->got->text.best, w->got->text.blocks));
    result = wcoh_path_save(part_notes(t), notes, strlen(notes), NULL);
    lock_give(&all->guard);
    if (!result)
        wcoh_trainer_save_file(trainer, t->part, NULL); /* else it costs the run, no more */
}

/* A line of as many numbers, for the caller to free; NULL where there is none. */
static double *part_numbers(FILE *file, int count)
{
    char line[LOSS_BLOCKS * 32];
    if (!fgets(line, sizeof line, file)) return NULL;
    line[strcspn(line, "\n")] = 0;
    return numbers_of(line, count);
}

/* Read the notes into the watch; returns the step that they are of, 0 without any. */
static double part_read(const trial *t, watch *w)
{
    char text[256];
    FILE *file = fopen(part_notes(t), "rb");
    double step = 0;
    int at = 0, got;
    if (!file) return 0;
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    if (sscanf(text, "%lf %lf %ld %lf %lf %n", &step, &w->loss, &w->loss_count, &w->got->train,
               &w->got->seconds, &at) != 5 ||
        at == 0)
        step = 0;
    fseek(file, at, SEEK_SET);
    while (step > 0 && (got = fgetc(file)) > ' ' - 1) {
        if (w->used + 2 > w->room) {
            char *longer = (char *)realloc(w->curve, 2 * w->room + 256);
            if (!longer) break;
            w->curve = longer;
            w->room = 2 * w->room + 256;
        }
        w->curve[w->used++] = (char)got;
        w->curve[w->used] = 0;
    }
    w->got->text.tokens = part_numbers(file, w->got->text.blocks);
    w->got->text.best = part_numbers(file, w->got->text.blocks);
    fclose(file);
    return step;
}

/* 1 if model, trainer and watch are now as they were when the run was kept; else nothing is made. */
static int part_take(race *all, const trial *t, const wcoh_trainer_desc *desc, wcoh_model **model,
                     wcoh_trainer **trainer, watch *w)
{
    wcoh_stats stats;
    double step = 0;
    int same = 0;
    if (!t->part) return 0;
    lock_take(&all->guard);
    if (path_exists(t->part)) step = part_read(t, w);
    if (step > 0 && wcoh_model_load_file(model, t->part, NULL, NULL) >= 0)
        same = strcmp(settings_text(WCOH_DESC_MODEL, wcoh_model_get_desc(*model), "", ""),
                      settings_text(WCOH_DESC_MODEL, &t->model, "", "")) == 0;
    lock_give(&all->guard);
    if (same && wcoh_trainer_create(trainer, *model, desc, NULL) >= 0 &&
        corpus_give(all->text, *trainer, NULL) >= 0 &&
        wcoh_trainer_resume_file(*trainer, t->part, NULL) >= 0) {
        wcoh_trainer_stats(*trainer, &stats);
        if ((double)stats.step == step && !wcoh_trainer_notice(*trainer)) {
            lock_take(&all->guard);
            printf("on %s seed %s lr %s from step %.0f\n", text_shown(t->of->name), t->seed,
                   t->rate, step);
            lock_give(&all->guard);
            return 1;
        }
    }
    wcoh_trainer_destroy(*trainer);
    wcoh_model_destroy(*model);
    *trainer = NULL;
    *model = NULL;
    w->loss = w->got->seconds = 0;
    w->loss_count = 0;
    w->used = 0;
    if (w->curve) *w->curve = 0;
    w->got->train = NAN;
    free(w->got->text.tokens);
    free(w->got->text.best);
    w->got->text.tokens = w->got->text.best = NULL;
    return 0;
}

/* ---- a run, from its beginning or from where it was kept -------------------------------------- */

/* Train to the end; a loss that is not finite ends it too, and is its outcome. */
static wcoh_result trial_train(race *all, const trial *t, wcoh_model *model, wcoh_trainer *trainer,
                               watch *w, wcoh_error *error)
{
    outcome *got = w->got;
    wcoh_stats stats;
    wcoh_result result = WCOH_OK;
    wcoh_trainer_stats(trainer, &stats);
    w->marked = w->kept = seconds_now();
    while (result == WCOH_OK && !stats.done && !interrupted) {
        result = wcoh_trainer_run(trainer, 0, &stats, error); /* one unit of work */
        if (result == WCOH_OK && w->evaluated && !stats.done &&
            seconds_now() - w->kept >= all->keep) {
            part_write(all, t, trainer, w);
            w->marked = seconds_now();
        }
        w->evaluated = 0;
    }
    if (interrupted && !stats.done && result >= 0) {
        part_write(all, t, trainer, w);
        return WCOH_DONE;
    }
    if (result < 0 && result != WCOH_E_NUMERIC) return result;
    got->val = NAN;
    if (result >= 0 && wcoh_trainer_get_desc(trainer)->eval_every < 0) {
        result = wcoh_trainer_evaluate(trainer, &got->val, error);
        wcoh_trainer_stats(trainer, &stats);
    } else if (result >= 0) {
        got->val = stats.val_loss;
    }
    got->steps = stats.step;
    got->tokens = stats.tokens;
    got->best = stats.best_val < 0 ? NAN : stats.best_val;
    got->best_step = stats.best_step;
    if (w->loss_count) got->train = w->loss / (double)w->loss_count;
    if (wcoh_trainer_get_desc(trainer)->eval_every < 0 && stat_is_finite(got->val)) {
        got->best = got->val; /* of one evaluation */
        got->best_step = got->steps;
        watch_sum(w, &got->text.best);
    }
    if (result >= 0 && all->p->eval_place) result = trial_evaluate(all, model, trainer, w, error);
    if (result >= 0 && stat_is_finite(got->val)) watch_sum(w, &got->text.end);
    return result == WCOH_E_NUMERIC ? WCOH_OK : result;
}

/* Make the run: WCOH_OK, WCOH_DONE where it was interrupted, or an error. *curve is the caller's. */
static wcoh_result trial_run(race *all, const trial *t, wcoh_device *device, outcome *got,
                             wcoh_error *error)
{
    wcoh_trainer_desc desc = t->trainer;
    wcoh_model *model = NULL;
    wcoh_trainer *trainer = NULL;
    wcoh_result result = WCOH_OK;
    watch w;
    memset(&w, 0, sizeof w);
    memset(got, 0, sizeof *got);
    got->train = NAN;
    got->text.blocks = losses_blocks(texts_size(&all->text->validate));
    w.got = got;
    w.size = texts_size(&all->text->validate);
    w.losses = (wcoh_real *)memory_of(w.size, sizeof *w.losses);
    desc.device = device;
    if (all->p->budget == BUDGET_SECONDS) result = trial_pace(all, t, &desc, error);
    if (result == WCOH_E_NUMERIC) { /* it cannot even be timed */
        got->val = got->best = NAN;
        free(w.losses);
        return WCOH_OK;
    }
    desc.progress = on_progress;
    desc.progress_user = &w;
    if (result >= 0 && !part_take(all, t, &desc, &model, &trainer, &w)) {
        result = wcoh_model_create(&model, &t->model, error);
        if (!result) network_prepare(t->of->prepare.index, model, all->text->made);
        if (!result) result = wcoh_trainer_create(&trainer, model, &desc, error);
        if (!result) result = corpus_give(all->text, trainer, error);
    }
    if (!result) result = wcoh_trainer_set_losses(trainer, w.losses, w.size, error);
    if (!result) result = trial_train(all, t, model, trainer, &w, error);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
    free(w.losses);
    got->curve = w.curve;
    return result;
}

/* ---- all runs -------------------------------------------------------------------------------- */

static const char *time_text(double seconds)
{
    unsigned long s = seconds < 3.6e8 ? (unsigned long)(seconds + 0.5) : 360000000ul;
    return s < 3600 ? text_made("%02lu:%02lu", s / 60, s % 60)
                    : text_made("%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
}

/* "run wave seed 1 lr 0.0045 val 1.6970 steps 2000 seconds 21.3, 3 of 21, eta 02:10" */
static void trial_line(const race *all, const trial *t)
{
    char val[32];
    double left = (seconds_now() - all->started) / all->finished * (all->count - all->finished);
    printf("run %s seed %s lr %s val %s steps %.0f seconds %.1f, %d of %d, eta %s\n",
           text_shown(t->of->name), t->seed, t->rate, loss_text(t->got.val, 4, val),
           (double)t->got.steps, t->got.seconds, all->finished, all->count, time_text(left));
    fflush(stdout);
}

/* The lines of a run that has ended, its losses' first. */
static void trial_write(race *all, const trial *t)
{
    results *into = all->into;
    wcoh_error error;
    const char *line = csv_line(t, all->text_hash, all->device), *check = strrchr(line, ',') + 1;
    if (t->got.text.end || t->got.text.best)
        list_add(&into->losses_waiting,
                 losses_line(&t->got.text, text_made("%.*s", (int)strcspn(check, "\n"), check)));
    if (into->losses_waiting.count && !losses_write(into, &error) && !all->unkept++)
        say("%s; each run that ends tries again", error.text);
    list_add(&into->waiting, line);
    if (!lines_write(into->path, &into->waiting, &error) && !all->unsaved++)
        say("%s; each run that ends tries again", error.text);
}

static void trial_settle(race *all, trial *t, outcome *got, wcoh_result result,
                         const wcoh_error *error)
{
    char *curve = got->curve;
    t->got = *got;
    t->got.curve = text_made("%s", curve ? curve : "");
    free(curve);
    if (result == WCOH_DONE) return;
    if (result < 0) {
        t->state = TRIAL_FAILED;
        all->failed++;
        say("%sseed %s, lr %s: %s", t->of->place, t->seed, t->rate, error->text);
        return;
    }
    t->state = TRIAL_IS_DONE;
    all->finished++;
    trial_write(all, t);
    if (!all->into->waiting.count) part_remove(t);
    trial_line(all, t);
}

THREAD_MAIN(runner_main, user)
{
    runner *self = (runner *)user;
    race *all = self->of;
    for (;;) {
        trial *t = NULL;
        outcome got;
        wcoh_error error;
        wcoh_result result;
        lock_take(&all->guard);
        if (all->next < all->count && !interrupted) t = all->todo[all->next++];
        lock_give(&all->guard);
        if (!t) return THREAD_END;
        result = trial_run(all, t, self->device, &got, &error);
        lock_take(&all->guard);
        trial_settle(all, t, &got, result, &error);
        lock_give(&all->guard);
    }
}

static void race_run(race *all, const request *r)
{
    int jobs = r->jobs ? (int)r->jobs : wcoh_cpu_count() / (int)r->threads, i, made;
    runner *runners;
    if (jobs > all->count) jobs = all->count;
    if (jobs < 1) jobs = 1;
    runners = (runner *)(void *)text_keep((size_t)jobs * sizeof *runners);
    memset(runners, 0, (size_t)jobs * sizeof *runners);
    lock_open(&all->guard);
    for (i = 0; i < jobs; i++) {
        runners[i].of = all;
        runners[i].device = device_named(r->device);
    }
    all->started = seconds_now();
    catch_interrupts();
    for (made = 0; made < jobs; made++)
        if (!thread_start(&runners[made].handle, runner_main, &runners[made])) break;
    if (made == 0) runner_main(&runners[0]);
    for (i = 0; i < made; i++) thread_wait(runners[i].handle);
    for (i = 0; i < jobs; i++) device_close(runners[i].device);
}

/* ---- the table ------------------------------------------------------------------------------- */

enum { COLUMNS = 9 };

/* Cells of text, [rows, columns], the heads first; printed as Markdown that reads well as it is. */
typedef struct table {
    int columns, rows;
    const char *right; /* a letter a column: 'r' for numbers, 'l' for words */
    const char **cells;
} table;

static table table_of(int columns, int most_rows, const char *right)
{
    table t;
    t.columns = columns;
    t.rows = 0;
    t.right = right;
    t.cells = (const char **)(void *)text_keep((size_t)(columns * most_rows) * sizeof *t.cells);
    return t;
}

/* '|' would end a cell. */
static const char *cell_text(const char *text)
{
    const char *shown = text_shown(text), *bar = strchr(shown, '|');
    return bar ? text_made("%.*s\\|%s", (int)(bar - shown), shown, cell_text(bar + 1)) : shown;
}

static void table_row(table *t, const char *const *cells)
{
    int i;
    for (i = 0; i < t->columns; i++) t->cells[t->rows * t->columns + i] = cell_text(cells[i]);
    t->rows++;
}

/* Characters of a text. */
static int text_width(const char *text)
{
    int width = 0;
    for (; *text; text++) width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void table_print(const table *t)
{
    int wide[COLUMNS], i, k;
    for (k = 0; k < t->columns; k++) {
        wide[k] = 3;
        for (i = 0; i < t->rows; i++) {
            int width = text_width(t->cells[i * t->columns + k]);
            if (width > wide[k]) wide[k] = width;
        }
    }
    for (i = 0; i < t->rows; i++) {
        for (k = 0; k < t->columns; k++) {
            const char *cell = t->cells[i * t->columns + k];
            int blanks = wide[k] - text_width(cell), right = t->right[k] == 'r';
            printf("| %*s%s%*s ", right ? blanks : 0, "", cell, right ? 0 : blanks, "");
        }
        printf("|\n");
        for (k = 0; i == 0 && k < t->columns; k++)
            printf("| %.*s%s ", wide[k] - 1,
                   "----------------------------------------------------------"
                   "-------------------------------------------------------------------------------"
                   "---",
                   t->right[k] == 'r' ? ":" : "-");
        if (i == 0) printf("|\n");
    }
}

/* 1 if its best evaluation counts; a run of an older version that was evaluated at its end alone tells
   of none. */
static int trial_best_counts(const plan *p, const trial *t)
{
    return p->score.index == SCORE_BEST && stat_is_finite(t->got.best);
}

/* The loss that counts; NaN where the run is not there or failed. */
static double trial_score(const plan *p, const trial *t)
{
    if (t->state != TRIAL_IS_DONE) return NAN;
    return trial_best_counts(p, t) ? t->got.best : t->got.val;
}

/* Losses of a rate, a seed each; returns how many runs are there. */
static int rate_scores(const plan *p, const contender *c, int rate, double scores[SEEDS])
{
    int i, there = 0;
    for (i = 0; i < c->seed_count; i++) {
        const trial *t = &c->trials[rate * c->seed_count + i];
        scores[i] = trial_score(p, t);
        there += t->state == TRIAL_IS_DONE;
    }
    return there;
}

/* Take the rate with the lowest mean over all seeds; of one rate alone whatever there is. */
static void contender_take(const plan *p, contender *c)
{
    double scores[SEEDS], mean, lowest = 0;
    int i;
    c->taken = c->rate_count == 1 ? 0 : -1;
    for (i = 0; i < c->rate_count && c->rate_count > 1; i++) {
        if (rate_scores(p, c, i, scores) < c->seed_count) continue;
        mean = stat_mean(scores, c->seed_count);
        if (!stat_is_finite(mean) || (c->taken >= 0 && mean >= lowest)) continue;
        lowest = mean;
        c->taken = i;
    }
}

static const char *score_list(const plan *p, const contender *c)
{
    const char *text = "";
    char number[32];
    int i;
    for (i = 0; i < c->seed_count; i++) {
        const trial *t = &c->trials[c->taken * c->seed_count + i];
        text = text_made("%s%s%s", text, i ? " " : "",
                         t->state == TRIAL_IS_DONE ? loss_text(trial_score(p, t), 4, number) : "-");
    }
    return text;
}

/* " (2 of 3)" behind a figure of fewer runs, or pairs of them, than there should be. */
static const char *part_text(int there, int count)
{
    return there < count ? text_made(" (%d of %d)", there, count) : "";
}

/* Mean of the runs that are there, and their deviation. */
static const char *mean_text(const double *scores, int count)
{
    double there[SEEDS];
    char number[32];
    int i, n = 0;
    for (i = 0; i < count; i++)
        if (stat_is_finite(scores[i])) there[n++] = scores[i];
    if (n == 0) return "-";
    loss_text(stat_mean(there, n), 4, number);
    return n < 2 ? text_made("%s%s", number, part_text(n, count))
                 : text_made("%s \302\261 %.4f%s", number, stat_deviation(there, n),
                             part_text(n, count));
}

static const char *difference_text(const double *scores, const double *against, int count)
{
    stat_difference d = stat_paired(scores, against, count, 0.95);
    const char *part = part_text(d.count, count);
    if (!d.count) return "-";
    if (d.count < 2) return text_made("%+.4f%s", d.mean, part);
    return text_made("%+.4f \302\261 %.4f%s", d.mean, d.reach, part);
}

/* What the run loses on each block, by the evaluation that is compared; or NULL. */
static const double *trial_sums(const plan *p, const trial *t)
{
    return trial_best_counts(p, t) ? t->got.text.best : t->got.text.end;
}

/* 1 if the run is there with a loss, whose parts are not known. */
static int trial_lacks(const plan *p, const trial *t)
{
    return stat_is_finite(trial_score(p, t)) && !trial_sums(p, t);
}

/* The differences of runs of the same seed, in one, and the interval over blocks of the text. */
static const char *over_text(const plan *p, const contender *c, const contender *against)
{
    double sums[2][LOSS_BLOCKS] = {{0}}, counts[2][LOSS_BLOCKS] = {{0}};
    const stat_sums a = {sums[0], counts[0]}, b = {sums[1], counts[1]};
    stat_difference d;
    int i, k, side, blocks = 0, pairs = 0;
    for (i = 0; i < c->seed_count; i++) {
        const trial *pair[2];
        pair[0] = &c->trials[c->taken * c->seed_count + i];
        pair[1] = &against->trials[against->taken * against->seed_count + i];
        for (side = 0; side < 2; side++)
            if (!stat_is_finite(trial_score(p, pair[side])) || !trial_sums(p, pair[side])) break;
        if (side < 2) continue;
        pairs++;
        blocks = pair[0]->got.text.blocks;
        for (side = 0; side < 2; side++)
            for (k = 0; k < blocks; k++) {
                sums[side][k] += trial_sums(p, pair[side])[k];
                counts[side][k] += pair[side]->got.text.tokens[k];
            }
    }
    d = stat_paired_blocks(a, b, blocks, 0.95);
    if (!d.count) return "-";
    if (d.count < 2) return text_made("%+.4f%s", d.mean, part_text(pairs, c->seed_count));
    return text_made("%+.4f \302\261 %.4f%s", d.mean, d.reach, part_text(pairs, c->seed_count));
}

static double mean_seconds(const contender *c)
{
    double sum = 0;
    int i, n = 0;
    for (i = 0; i < c->seed_count; i++) {
        const trial *t = &c->trials[c->taken * c->seed_count + i];
        if (t->state == TRIAL_IS_DONE) sum += t->got.seconds, n++;
    }
    return n ? sum / n : NAN;
}

static const char *count_text(double count)
{
    const char *text = text_made("%.0f", count);
    size_t length = strlen(text), group;
    for (group = length; group > 3; group -= 3)
        text = text_made("%.*s,%s", (int)(group - 3), text, text + group - 3);
    return text;
}

static void contender_row(const plan *p, const contender *c, const contender *against, table *t)
{
    double scores[SEEDS], others[SEEDS], seconds;
    const char *cells[COLUMNS];
    int i;
    cells[0] = c->name;
    cells[1] = *c->options ? text_made("`%s`", c->options) : "";
    cells[2] = count_text((double)c->parameters);
    for (i = 3; i < COLUMNS; i++) cells[i] = "-";
    if (c->taken >= 0) {
        rate_scores(p, c, c->taken, scores);
        seconds = mean_seconds(c);
        cells[3] = c->trials[c->taken * c->seed_count].rate;
        cells[4] = score_list(p, c);
        cells[5] = mean_text(scores, c->seed_count);
        if (c != against && against->taken >= 0) {
            rate_scores(p, against, against->taken, others);
            cells[6] = difference_text(scores, others, c->seed_count);
            cells[7] = over_text(p, c, against);
        }
        if (stat_is_finite(seconds)) cells[8] = text_made("%.1f", seconds);
    }
    table_row(t, cells);
}

/* "rates of gpt: 0.003 1.7261 (taken), 0.0045 1.7302 .." */
static void rates_line(const plan *p, const contender *c)
{
    double scores[SEEDS];
    char number[32];
    int i;
    if (c->rate_count < 2) return;
    printf("rates of %s:", text_shown(c->name));
    for (i = 0; i < c->rate_count; i++) {
        int there = rate_scores(p, c, i, scores);
        printf("%s %s %s%s", i ? "," : "", c->trials[i * c->seed_count].rate,
               there < c->seed_count ? "-" : loss_text(stat_mean(scores, c->seed_count), 4, number),
               i == c->taken ? " (taken)" : "");
    }
    if (c->taken >= 0) { /* rates stand in any order */
        double taken = c->trials[c->taken * c->seed_count].trainer.lr;
        int below = 0, above = 0;
        for (i = 0; i < c->rate_count; i++) {
            below += c->trials[i * c->seed_count].trainer.lr < taken;
            above += c->trials[i * c->seed_count].trainer.lr > taken;
        }
        if (!below) printf("; it is the lowest one tried");
        if (!above) printf("; it is the highest one tried");
    }
    putchar('\n');
}

/* What was chosen by the losses of the table looks better there than it is. */
static void chosen_line(const plan *p)
{
    int i, rates = 0, best = p->score.index == SCORE_BEST;
    for (i = 0; i < p->count; i++) rates |= p->list[i].rate_count > 1;
    if (rates || best)
        printf("%s chosen by the losses that stand here: on a text that nothing was chosen by they "
               "would be a little higher\n",
               rates && best ? "rates and evaluations are"
               : rates       ? "rates are"
                             : "evaluations are");
}

/* What the column over the text says, and of which runs it cannot. */
static void over_text_lines(const plan *p, const results *r, size_t tokens)
{
    int i, k, unknown = 0;
    for (i = 0; i < p->count; i++) {
        const contender *c = &p->list[i];
        for (k = 0; c->taken >= 0 && k < c->seed_count; k++)
            unknown += trial_lacks(p, &c->trials[c->taken * c->seed_count + k]);
    }
    if (p->count > 1 && losses_blocks(tokens) < 2)
        printf("over the text: the differences of the same runs; %s tokens are too few for an "
               "interval, which takes two blocks of %d\n",
               count_text((double)tokens), (int)LOSS_BLOCK);
    else if (p->count > 1)
        printf("over the text: the differences of the same runs, the interval over its %d blocks "
               "of %s tokens; what another seed would change is not in it\n",
               losses_blocks(tokens), count_text(floor((double)tokens / losses_blocks(tokens))));
    if (p->count > 1 && unknown)
        printf("over the text: %s does not have the losses of %d of these runs, which are left out "
               "there\n",
               text_shown(r->losses_path), unknown);
}

static void results_table(plan *p, const results *r, const corpus *text, int there, int all)
{
    static const char *const heads[] = {
        "contender",        "settings", "parameters",           "lr",     "loss, by seed",
        "mean \302\261 sd", "",         "over the text (95 %)", "seconds"};
    const char *cells[COLUMNS];
    int i, against = plan_against(p), several = text->validate.count > 1 || text->train.count > 1;
    table t = table_of(COLUMNS, p->count + 1, "llrrllrrr");
    memcpy(cells, heads, sizeof cells);
    cells[6] = text_made("minus %s (95 %%)", p->list[against].name);
    table_row(&t, cells);
    for (i = 0; i < p->count; i++) contender_take(p, &p->list[i]);
    for (i = 0; i < p->count; i++) contender_row(p, &p->list[i], &p->list[against], &t);
    putchar('\n');
    table_print(&t);
    putchar('\n');
    for (i = 0; i < p->count; i++) rates_line(p, &p->list[i]);
    chosen_line(p);
    over_text_lines(p, r, texts_size(&text->validate));
    printf("budget %s %.15g; loss %s, nats a token, over all %s%s tokens to validate on; %d of %d "
           "runs\n",
           word_at(BUDGET_WORDS, p->budget), p->amount,
           p->score.index == SCORE_BEST ? "of the best evaluation" : "at the end",
           p->eval_place && !several ? "whole windows of the " : "",
           count_text((double)texts_size(&text->validate)), there, all);
}

/* ---- --dry ----------------------------------------------------------------------------------- */

static void dry_table(const plan *p)
{
    static const char *const heads[] = {"contender", "settings", "parameters",
                                        "lr",        "steps",    "runs done"};
    const char *cells[6];
    int i, k;
    table t = table_of(6, p->count + 1, "llrlrr");
    table_row(&t, heads);
    for (i = 0; i < p->count; i++) {
        const contender *c = &p->list[i];
        int done = 0, all = c->rate_count * c->seed_count;
        cells[0] = c->name;
        cells[1] = *c->options ? text_made("`%s`", c->options) : "";
        cells[2] = count_text((double)c->parameters);
        cells[3] = "";
        for (k = 0; k < c->rate_count; k++)
            cells[3] =
                text_made("%s%s%s", cells[3], k ? " " : "", c->trials[k * c->seed_count].rate);
        cells[4] = p->budget == BUDGET_SECONDS ? "?" : count_text(c->trials[0].trainer.steps);
        for (k = 0; k < all; k++) done += c->trials[k].state == TRIAL_IS_DONE;
        cells[5] = text_made("%d of %d", done, all);
        table_row(&t, cells);
    }
    table_print(&t);
}

/* ---- pictures -------------------------------------------------------------------------------- */

enum { CURVE_POINTS = 4096 };

/* Mean over the seeds of the losses under way, where all of them have one: tokens seen and loss [CURVE_POINTS];
   returns how many. */
static int curve_mean(const contender *c, double *tokens, double *losses)
{
    const char *at[SEEDS];
    int i, n = 0, seeds = 0;
    const trial *first = &c->trials[c->taken * c->seed_count];
    double each = tokens_a_step(&first->trainer);
    for (i = 0; i < c->seed_count; i++)
        if (first[i].state == TRIAL_IS_DONE) at[seeds++] = first[i].got.curve;
    for (; seeds > 0 && n < CURVE_POINTS; n++) {
        double step = 0, sum = 0;
        for (i = 0; i < seeds; i++) {
            char *end;
            double here = strtod(at[i], &end);
            if (*end != ':' || (i > 0 && here != step)) return n;
            step = here;
            sum += strtod(end + 1, &end) / seeds;
            at[i] = end;
        }
        tokens[n] = step * each;
        losses[n] = sum;
    }
    return n;
}

/* Pixels of a legend with these names. */
static double legend_width(const plan *p, const char **names)
{
    double widest = 0;
    int i;
    for (i = 0; i < p->count; i++) {
        names[i] = p->list[i].name;
        widest = fmax(widest, plot_text_width(text_shown(names[i]), 13));
    }
    return fmax(200, fmin(320, widest + 58));
}

static int picture_height(const plan *p) { return p->count > 18 ? 140 + 20 * p->count : 520; }

/* Losses under way, a curve a contender. */
static void plot_learning(const plan *p, const char *out)
{
    double *tokens[CONTENDERS], *losses[CONTENDERS], low = 1, high = 0, most = 0, legend;
    const char *names[CONTENDERS];
    int points[CONTENDERS], i, k;
    plot picture;
    plot_frame f;
    legend = legend_width(p, names);
    for (i = 0; i < p->count; i++) {
        tokens[i] = (double *)(void *)text_keep(2 * CURVE_POINTS * sizeof(double));
        losses[i] = tokens[i] + CURVE_POINTS;
        points[i] = p->list[i].taken < 0 ? 0 : curve_mean(&p->list[i], tokens[i], losses[i]);
        for (k = 0; k < points[i]; k++) {
            plot_span(&low, &high, losses[i][k]);
            most = fmax(most, tokens[i][k]);
        }
    }
    plot_open(&picture, out, "curves", (int)(700 + legend), picture_height(p),
              "Validation loss over training, mean over seeds");
    f = plot_frame_of(&picture, plot_axis_of(0, most),
                      plot_axis_of(low - 0.03 * (high - low), high + 0.03 * (high - low)), legend);
    plot_axes(&picture, &f, "tokens", "loss (nats per token)", PLOT_X_WHOLE);
    for (i = 0; i < p->count; i++) {
        plot_curve(&picture, &f, tokens[i], losses[i], points[i], 2, plot_style_of(i));
        plot_points(&picture, &f, tokens[i], losses[i], points[i], 3, plot_style_of(i));
    }
    plot_legends(&picture, &f, names, p->count, 1);
    plot_close(&picture);
}

/* Losses that are compared: a column a contender, a pale line a seed, a bar the mean. */
static void plot_losses(const plan *p, const char *out)
{
    double scores[CONTENDERS][SEEDS], x[CONTENDERS], seed[CONTENDERS], low = 1, high = 0, legend;
    const char *names[CONTENDERS];
    plot picture;
    plot_frame f;
    int i, k, seeds = p->seed_words.count;
    legend = legend_width(p, names);
    for (i = 0; i < p->count; i++) {
        x[i] = i + 1;
        for (k = 0; k < seeds; k++) scores[i][k] = NAN;
        if (p->list[i].taken >= 0) rate_scores(p, &p->list[i], p->list[i].taken, scores[i]);
        for (k = 0; k < seeds; k++) plot_span(&low, &high, scores[i][k]);
    }
    plot_open(&picture, out, "losses", (int)(500 + legend), picture_height(p),
              p->score.index == SCORE_BEST ? "Loss of the best evaluation, by contender"
                                           : "Loss at the end, by contender");
    f = plot_frame_of(&picture, plot_axis_of(0.5, p->count + 0.5),
                      plot_axis_of(low - 0.05 * (high - low), high + 0.05 * (high - low)), legend);
    plot_axes(&picture, &f, "pale lines join runs of one seed; bars are means",
              "loss (nats per token)", PLOT_X_BARE);
    for (k = 0; k < seeds; k++) {
        plot_style pale = plot_style_of(0);
        pale.colour = PLOT_NULL;
        for (i = 0; i < p->count; i++) seed[i] = scores[i][k];
        plot_curve(&picture, &f, x, seed, p->count, 1.2, pale);
    }
    for (i = 0; i < p->count; i++) {
        plot_style style = plot_style_of(i);
        double mean = stat_mean(scores[i], seeds);
        for (k = 0; k < seeds; k++) plot_points(&picture, &f, &x[i], &scores[i][k], 1, 4, style);
        if (stat_is_finite(mean))
            plot_line(&picture, plot_x(&f, x[i] - 0.25), plot_y(&f, mean), plot_x(&f, x[i] + 0.25),
                      plot_y(&f, mean), 2.6, style.colour);
    }
    plot_legends(&picture, &f, names, p->count, 1);
    plot_close(&picture);
}

/* ---- the program ----------------------------------------------------------------------------- */

static const char usage[] =
    "PLAN [options]\n"
    "Makes the training runs of a plan that its CSV file lacks, some side by side, and prints a "
    "table:\n"
    "loss by seed, mean and deviation, paired differences with Student's interval over seeds and,\n"
    "of the same runs, over the text (at most 16 blocks; what another seed would change is not in\n"
    "it), parameters, seconds of the steps; (2 of 3): of so many runs, or pairs. Rates and best\n"
    "evaluations are chosen by these losses. Ctrl-C ends it; the same command goes on. Status 0:\n"
    "all runs are there, 1: some are not, 2: the plan or an option is wrong.\n"
    "\n"
    "A line of a plan is a contender, NAME: --setting value .., or one of the words below; all: "
    "is\n"
    "settings of every contender, eval: a last evaluation in windows of its own, # begins a "
    "comment.\n"
    "--dropout auto: " DROPOUT_AUTO_IS;

enum { OPTIONS = 9 };

static void request_options(request *r, option options[OPTIONS])
{
    const option list[OPTIONS] = {
        {"csv", OPTION_TEXT, &r->csv, 0, 0, "finished runs; PLAN with .csv in place of .txt"},
        {"plots", OPTION_TEXT, &r->plots, 0, 0, "pictures: OUT-curves.svg, OUT-losses.svg"},
        {"dry", OPTION_FLAG, &r->dry, 0, 0, "list what would run, and run nothing"},
        {"data", OPTION_LIST, &r->data, 0, 0, "texts to learn, in place of the plan's"},
        {"keep", OPTION_REAL, &r->keep, 0, 1e9,
         "seconds after which a run under way is kept too, at its next evaluation; never with a "
         "budget of seconds"},
        {"jobs", OPTION_WHOLE, &r->jobs, 0, 256, "runs side by side; 0: CPUs / threads"},
        {"threads", OPTION_WHOLE, &r->threads, 1, 256, "threads of each run"},
        ISA_OPTION(&r->isa_name),
        DEVICE_OPTION(&r->device),
    };
    memcpy(options, list, sizeof list);
}

/* The options, the words of a plan, and the settings of its contenders. */
static void help(const command *c, plan *p)
{
    option words[PLAN_OPTIONS];
    const char *preset = NULL;
    choice prepare = {PREPARE_WORDS, 0};
    const option own[] = CONTENDER_OPTIONS(&preset, &prepare);
    wcoh_model_desc model, model_shown;
    wcoh_trainer_desc trainer;
    settings descs[3];
    int i;
    option_help(c, 0);
    plan_options(p, words);
    help_head(0, "words of a plan");
    for (i = 0; i < PLAN_OPTIONS; i++) {
        char spelled[32];
        const choice *chosen =
            words[i].kind == OPTION_CHOICE ? (const choice *)words[i].target : NULL;
        printf("  %-24s %-12s", option_spelled(words[i].name, spelled),
               chosen ? word_at(chosen->words, chosen->index) : "");
        help_text(words[i].help, chosen ? chosen->words : "");
    }
    help_head(0, "settings of a contender");
    for (i = 0; i < 2; i++) help_option(&own[i], 0);
    memset(&model, 0, sizeof model);
    memset(&trainer, 0, sizeof trainer);
    model_shown = model;
    model_shown.vocab = 65;
    wcoh_model_desc_resolve(&model_shown, NULL);
    descs[0] = settings_of("model", WCOH_DESC_MODEL, &model, MODEL_SKIPS);
    descs[0].shown = &model_shown;
    descs[1] = settings_of("trainer", WCOH_DESC_TRAINER, &trainer, TRAINER_SKIPS);
    descs[2] = settings_of("eval:", WCOH_DESC_EVAL, &p->eval, NULL);
    for (i = 0; i < 3; i++) help_settings(&descs[i], 0);
}

/* plan.txt -> plan.csv */
static const char *csv_path(const request *r)
{
    size_t length = strlen(r->plan);
    if (r->csv) return r->csv;
    if (strcmp(r->plan, "-") == 0) fail(EXIT_USAGE, "a plan from standard input needs --csv FILE");
    if (length > 4 && strcmp(r->plan + length - 4, ".txt") == 0) length -= 4;
    return text_made("%.*s.csv", (int)length, r->plan);
}

static void request_read(request *r, plan *p, int argc, char **argv)
{
    option options[OPTIONS];
    command c;
    int i;
    request_options(r, options);
    memset(&c, 0, sizeof c);
    c.usage = usage;
    c.options = options;
    c.option_count = OPTIONS;
    c.word_limit = 1;
    for (i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            help(&c, p);
            stdout_check();
            exit(0);
        }
    options_read(&c, argc, argv);
    if (!c.word_count) fail(EXIT_USAGE, "a plan is needed; --help explains");
    r->plan = p->path = c.words[0];
    r->csv = csv_path(r);
    r->isa = isa_named(r->isa_name);
    if (r->dry && r->plots) fail(EXIT_USAGE, "--plots is for runs: --dry draws nothing");
}

/* What is written is nothing that is read. */
static void csv_check(const char *called, const char *path, const plan *p)
{
    int i;
    if (path_same(path, p->path)) fail(EXIT_USAGE, "%s is %s, the plan itself", called, path);
    for (i = 0; i < p->corpus.data.count; i++)
        if (path_same(path, p->corpus.data.items[i]))
            fail(EXIT_USAGE, "%s is %s, a text to learn", called, path);
    for (i = 0; i < p->corpus.val.count; i++)
        if (path_same(path, p->corpus.val.items[i]))
            fail(EXIT_USAGE, "%s is %s, a text to validate on", called, path);
}

/* All trials that are no repetition, seed by seed, so that what is there soon can be compared. */
static trial **plan_trials(const plan *p, int *count)
{
    int i, k, rate, room = 0;
    trial **list;
    for (i = 0; i < p->count; i++) room += p->list[i].rate_count * p->list[i].seed_count;
    list = (trial **)(void *)text_keep((size_t)room * sizeof *list);
    *count = 0;
    for (k = 0; k < p->seed_words.count; k++)
        for (i = 0; i < p->count; i++)
            for (rate = 0; rate < p->list[i].rate_count; rate++) {
                trial *t = &p->list[i].trials[rate * p->list[i].seed_count + k];
                if (!t->same) list[(*count)++] = t;
            }
    return list;
}

static int trials_done(trial *const *list, int count)
{
    int i, done = 0;
    for (i = 0; i < count; i++) done += list[i]->state == TRIAL_IS_DONE;
    return done;
}

/* A repetition came to what the first one did. */
static void trials_repeat(const plan *p)
{
    int i, k;
    for (i = 0; i < p->count; i++)
        for (k = 0; k < p->list[i].rate_count * p->list[i].seed_count; k++) {
            trial *t = &p->list[i].trials[k];
            if (!t->same) continue;
            t->state = t->same->state;
            t->got = t->same->got;
        }
}

/* Where a run under way is kept: a name that no other run has. */
static const char *part_path(const char *csv, const trial *t, const char *text_hash)
{
    const char *all = text_made("%s %s %s %s", t->settings, t->rate, t->seed, text_hash);
    return text_made("%s.%s.part", csv, hash_text(hash_more(HASH_START, all, strlen(all))));
}

/* The end before the first run where no picture could be written behind the last one. */
static void plots_check(const char *plots)
{
    static const char *const names[] = {"curves", "losses"};
    wcoh_error error;
    int i;
    for (i = 0; i < 2; i++)
        if (wcoh_path_check(text_made("%s-%s.svg", plots, names[i]), &error) < 0)
            fail(EXIT_FAILED, "cannot write %s", error.text);
}

/* Make what is missing and tell what there is; returns the exit status. */
static int compare(plan *p, const request *r, const corpus *text, const char *text_hash)
{
    results found;
    race all;
    trial **list;
    int count, done, i;
    memset(&found, 0, sizeof found);
    memset(&all, 0, sizeof all);
    found.path = r->csv;
    found.losses_path = text_made("%s.losses", r->csv);
    csv_check("--csv", found.path, p);
    csv_check("the file of losses beside --csv", found.losses_path, p);
    if (r->plots) plots_check(r->plots);
    results_read(&found, !r->dry);
    if (!r->dry) losses_read(&found);
    list = plan_trials(p, &count);
    for (i = 0; i < count; i++)
        trial_find(list[i], &found, text_hash, losses_blocks(texts_size(&text->validate)));
    results_others(&found, p, text_hash);
    all.p = p;
    all.text = text;
    all.text_hash = text_hash;
    all.device = r->device;
    all.into = &found;
    all.keep = r->keep;
    all.todo = (trial **)(void *)text_keep((size_t)count * sizeof *all.todo);
    for (i = 0; i < count; i++) {
        if (p->budget != BUDGET_SECONDS) list[i]->part = part_path(found.path, list[i], text_hash);
        if (list[i]->state != TRIAL_IS_DONE) all.todo[all.count++] = list[i];
    }
    printf("plan %s: %d contenders, %d runs, %d of them in %s\n", text_shown(file_named(p->path)),
           p->count, count, count - all.count, text_shown(found.path));
    stdout_check();
    if (!r->dry && all.count) {
        losses_begin(&found, NULL); /* where that fails, each run that ends tries again */
        race_run(&all, r);
    }
    trials_repeat(p);
    done = trials_done(list, count);
    if (r->dry) dry_table(p);
    else results_table(p, &found, text, done, count);
    if (r->plots && !r->dry) {
        plot_learning(p, r->plots);
        plot_losses(p, r->plots);
    }
    if (interrupted)
        say("interrupted: %d of %d runs are in %s; the same command goes on", done, count,
            found.path);
    if (found.waiting.count)
        say("%s: %d runs could not be written and will be made again", found.path,
            found.waiting.count);
    if (found.losses_waiting.count)
        say("%s: losses of %d runs could not be written", found.losses_path,
            found.losses_waiting.count);
    return r->dry || (done == count && !found.waiting.count) ? 0 : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    request r;
    plan p;
    corpus text;
    const wcoh_tokenizer *tokenizer;
    int status, i;
    program_begin("compare");
    memset(&r, 0, sizeof r);
    memset(&p, 0, sizeof p);
    memset(&text, 0, sizeof text);
    r.threads = 1;
    r.keep = 30;
    r.device = "cpu";
    r.isa_name = "auto";
    p.corpus = corpus_standard();
    p.score.words = SCORE_WORDS;
    request_read(&r, &p, argc, argv);
    plan_read(&p, &r);
    tokenizer = corpus_open(&text, &p.corpus, NULL);
    for (i = 0; i < p.count; i++) contender_open(&p, i, &r, &text, tokenizer);
    status = compare(&p, &r, &text, corpus_hash(&text, wcoh_tokenizer_vocab(tokenizer)));
    corpus_close(&text, &p.corpus);
    stdout_check();
    return status;
}

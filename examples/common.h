/* What the example programs share: one way to fail, files, and options that come from the
   library's own tables of settings. Include it after wavecoh.h; it is no part of the library.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef WAVECOH_EXAMPLES_COMMON_H
#define WAVECOH_EXAMPLES_COMMON_H

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/stat.h>
#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#ifndef S_ISREG
#define S_ISREG(mode) (((mode)&S_IFMT) == S_IFREG)
#define S_ISDIR(mode) (((mode)&S_IFMT) == S_IFDIR)
#endif
#else
#include <unistd.h>
#endif

#if defined(__GNUC__) || defined(__clang__)
#define COMMON_USED(attribute) __attribute__((__unused__, attribute))
#else
#define COMMON_USED(attribute)
#endif

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* ---- failing --------------------------------------------------------------------------------- */

static const char *program_name = "example";

/* One sentence on stderr, "train: ...". */
COMMON_USED(__format__(__printf__, 1, 2))
static void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", program_name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

/* One sentence and the end: EXIT_USAGE for a wrong command line, EXIT_FAILED for all else. */
COMMON_USED(__format__(__printf__, 2, 3))
static void fail(int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", program_name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(status);
}

/* A library call that must succeed; `about` (a path, or NULL) opens the sentence. */
COMMON_USED(__unused__)
static void must(wcoh_result result, const char *about, const wcoh_error *error)
{
    if (result) fail(EXIT_FAILED, "%s%s%s", about ? about : "", about ? ": " : "", error->text);
}

/* 1 if everything printed so far has left the program. */
COMMON_USED(__unused__)
static int stdout_is_well(void) { return fflush(stdout) == 0 && !ferror(stdout); }

COMMON_USED(__unused__)
static void stdout_check(void)
{
    if (!stdout_is_well()) fail(EXIT_FAILED, "cannot write to stdout: %s", strerror(errno));
}

/* ---- time and terminal ----------------------------------------------------------------------- */

/* Seconds from some fixed moment: by the clock on the wall where C11 gives it, else of the CPU. */
COMMON_USED(__unused__)
static double seconds_now(void)
{
#ifdef TIME_UTC
    struct timespec now;
    if (timespec_get(&now, TIME_UTC) == TIME_UTC)
        return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
#endif
    return (double)clock() / CLOCKS_PER_SEC;
}

/* 1 if stderr is a terminal: then a line may be rewritten while time passes. */
COMMON_USED(__unused__)
static int stderr_is_terminal(void)
{
#ifdef _WIN32
    return _isatty(2) != 0;
#else
    return isatty(2) != 0;
#endif
}

/* Text comes and goes as the bytes it is (Windows would change line ends). */
COMMON_USED(__unused__)
static void binary_stdout(void)
{
#ifdef _WIN32
    _setmode(1, _O_BINARY);
#endif
}

/* ---- files ----------------------------------------------------------------------------------- */

/* 1 if there is a folder, or a device or pipe, under that name. */
COMMON_USED(__unused__)
static int path_is_folder(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

COMMON_USED(__unused__)
static int path_is_special(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && !S_ISDIR(about.st_mode) && !S_ISREG(about.st_mode);
}

/* The whole file, with a NUL after its *size bytes; the caller frees it. Fails with a sentence. */
COMMON_USED(__unused__)
static char *file_read(const char *path, size_t *size)
{
    size_t capacity = 1 << 16, used = 0, got;
    char *text = (char *)malloc(capacity + 1);
    FILE *file = fopen(path, "rb");
    if (!file) fail(EXIT_FAILED, "%s: cannot open it: %s", path, strerror(errno));
    while (text && (got = fread(text + used, 1, capacity - used, file)) > 0) {
        used += got;
        if (used < capacity) continue;
        capacity *= 2;
        text = (char *)realloc(text, capacity + 1);
    }
    if (!text) fail(EXIT_FAILED, "%s: no memory for %lu bytes", path, (unsigned long)capacity);
    if (ferror(file)) fail(EXIT_FAILED, "%s: cannot read it: %s", path, strerror(errno));
    fclose(file);
    if (used == 0) fail(EXIT_FAILED, "%s: the file is empty", path);
    text[used] = 0;
    *size = used;
    return text;
}

/* Tokens of text [size], *count of them; the caller frees them. `from` is where the text lies in
   the file `path`, for the sentence of a failure. */
COMMON_USED(__unused__)
static uint32_t *text_encode(const wcoh_tokenizer *tokenizer, const char *text, size_t size,
                             const char *path, size_t from, size_t *count)
{
    wcoh_error error;
    uint32_t *tokens = (uint32_t *)malloc((size ? size : 1) * sizeof *tokens);
    if (!tokens) fail(EXIT_FAILED, "%s: no memory for its tokens", path);
    if (wcoh_tokenizer_encode(tokenizer, text, size, tokens, size, count, &error)) {
        if (from > 0)
            fail(EXIT_FAILED, "%s from byte %lu: %s", path, (unsigned long)from, error.text);
        fail(EXIT_FAILED, "%s: %s", path, error.text);
    }
    return tokens;
}

/* ---- options --------------------------------------------------------------------------------- */

/* An option of the program itself. */
typedef enum option_kind { OPTION_TEXT, OPTION_FLAG, OPTION_WHOLE, OPTION_REAL } option_kind;
typedef struct option {
    const char *name; /* "out"; '-' and '_' mean the same in all names */
    option_kind kind;
    void *target;     /* const char *, int, long long or double; what stands there is shown as
                             the default */
    double low, high; /* of numbers */
    const char *help;
} option;

/* Options that several programs have. */
#define THREADS_OPTION(target)                                                                     \
    {                                                                                              \
        "threads", OPTION_WHOLE, target, 0, 1024, "threads; 0: one for each CPU of this process"   \
    }
#define ISA_OPTION(target)                                                                         \
    {                                                                                              \
        "isa", OPTION_TEXT, target, 0, 0, "instruction set: auto scalar sse2 avx2 avx512 neon"     \
    }
#define DEVICE_OPTION(target)                                                                      \
    {                                                                                              \
        "device", OPTION_TEXT, target, 0, 0,                                                       \
            "cpu; vulkan, or vulkan:N (N from 1), in a build that has it"                          \
    }

/* A desc whose every field is an option, by the library's table. */
typedef struct settings {
    const char *title; /* of its part in --help */
    wcoh_desc_kind kind;
    void *desc;        /* set by the options */
    const void *shown; /* the same with all defaults filled in, for --help */
    const char *skip;  /* a field that is no option here, or NULL */
    const char *first; /* the first field that the command line set, or NULL */
} settings;

typedef struct command {
    const char *usage; /* what follows the program's name, and a line on what it does */
    const option *options;
    int option_count;
    settings *descs;
    int desc_count;
    const char *words[4]; /* arguments that are no options */
    int word_count, word_limit;
} command;

/* "--eval-every" and "eval_every" name the same. */
static int option_is(const char *name, const char *given, size_t length)
{
    size_t i;
    for (i = 0; i < length; i++)
        if (name[i] != given[i] && !(name[i] == '_' && given[i] == '-')) return 0;
    return name[length] == 0;
}

static const char *option_spelled(const char *name, char spelled[32])
{
    size_t i;
    for (i = 0; i < 31 && name[i]; i++) spelled[i] = name[i] == '_' ? '-' : name[i];
    spelled[i] = 0;
    return spelled;
}

static const option *option_find(const command *c, const char *given, size_t length)
{
    int i;
    for (i = 0; i < c->option_count; i++)
        if (option_is(c->options[i].name, given, length)) return &c->options[i];
    return NULL;
}

static const wcoh_field *field_find(const settings *s, const char *given, size_t length)
{
    int i, count;
    const wcoh_field *fields = wcoh_fields(s->kind, &count);
    for (i = 0; i < count; i++)
        if (option_is(fields[i].name, given, length))
            return s->skip && strcmp(s->skip, fields[i].name) == 0 ? NULL : &fields[i];
    return NULL;
}

static void option_set(const option *o, const char *text)
{
    char *end = NULL, spelled[32];
    double real;
    if (o->kind == OPTION_FLAG) {
        *(int *)o->target = 1;
        return;
    }
    if (o->kind == OPTION_TEXT) {
        *(const char **)o->target = text;
        return;
    }
    real = strtod(text, &end);
    if (!*text || *end || !(real >= o->low && real <= o->high) ||
        (o->kind == OPTION_WHOLE && real != (double)(long long)real))
        fail(EXIT_USAGE, "--%s is \"%s\": allowed are %s from %.15g to %.15g",
             option_spelled(o->name, spelled), text,
             o->kind == OPTION_WHOLE ? "whole numbers" : "numbers", o->low, o->high);
    if (o->kind == OPTION_WHOLE) *(long long *)o->target = (long long)real;
    else *(double *)o->target = real;
}

/* Argument *i -> its name [*length] and value, and *i moves on; returns 0 where it is a word. */
static int option_next(const command *c, int argc, char **argv, int *i, const char **name,
                       size_t *length, const char **value)
{
    const char *argument = argv[(*i)++];
    const option *o;
    *name = argument;
    *value = NULL;
    if (argument[0] != '-' || !argument[1]) return 0;
    if (argument[1] != '-') fail(EXIT_USAGE, "there is no option %s; --help lists them", argument);
    *name = argument + 2;
    *length = strcspn(*name, "=");
    o = option_find(c, *name, *length);
    if ((*name)[*length] == '=') *value = *name + *length + 1;
    else if (!(o && o->kind == OPTION_FLAG) && *i < argc) *value = argv[(*i)++];
    return 1;
}

static void option_help(const command *c, int markdown);

/* The value that an option will get, before anything is set; NULL if it is not given. */
COMMON_USED(__unused__)
static const char *option_given(const command *c, int argc, char **argv, const char *wanted)
{
    const char *name, *value, *found = NULL;
    size_t length = 0;
    int i = 1;
    while (i < argc)
        if (option_next(c, argc, argv, &i, &name, &length, &value) &&
            option_is(wanted, name, length))
            found = value ? value : "";
    return found;
}

/* Set what is named [length] in every place that knows the name. */
static void option_apply(command *c, const char *name, size_t length, const char *value)
{
    const option *o = option_find(c, name, length);
    wcoh_error error;
    int i, known = o != NULL;
    if (o && o->kind == OPTION_FLAG && value)
        fail(EXIT_USAGE, "--%.*s takes no value", (int)length, name);
    for (i = 0; i < c->desc_count; i++) known |= field_find(&c->descs[i], name, length) != NULL;
    if (!known) fail(EXIT_USAGE, "there is no option --%s; --help lists them", name);
    if (!value && !(o && o->kind == OPTION_FLAG)) fail(EXIT_USAGE, "--%s needs a value", name);
    if (o) option_set(o, value);
    for (i = 0; i < c->desc_count; i++) {
        settings *s = &c->descs[i];
        const wcoh_field *field = field_find(s, name, length);
        if (!field) continue;
        if (!s->first) s->first = field->name;
        if (wcoh_field_set(s->kind, s->desc, field->name, value, &error))
            fail(EXIT_USAGE, "%s", error.text);
    }
}

/* Read the command line into the targets and descs of `c`; --help prints and ends. */
static void options_read(command *c, int argc, char **argv)
{
    const char *name, *value;
    size_t length = 0;
    int i = 1;
    while (i < argc) {
        if (!option_next(c, argc, argv, &i, &name, &length, &value)) {
            if (c->word_count >= c->word_limit)
                fail(EXIT_USAGE, "\"%s\" is one argument too many; --help explains", name);
            c->words[c->word_count++] = name;
        } else if (option_is("help", name, length) || option_is("help_markdown", name, length)) {
            option_help(c, !option_is("help", name, length));
            stdout_check();
            exit(0);
        } else {
            option_apply(c, name, length, value);
        }
    }
}

/* ---- --help ---------------------------------------------------------------------------------- */

/* Words of `text`, and `more` in brackets, between the columns 40 and 100. */
static void help_text(const char *text, const char *more)
{
    char line[512];
    const char *word;
    int column = 40;
    sprintf(line, "%.250s%s%.240s%s", text, *more ? " [" : "", more, *more ? "]" : "");
    for (word = line; *word;) {
        int length = (int)strcspn(word, " ");
        if (column > 40 && column + length > 100) column = printf("\n%39s", "");
        column += printf("%s%.*s", column > 40 ? " " : "", length, word);
        word += length;
        word += strspn(word, " ");
    }
    putchar('\n');
}

static void help_row(int markdown, const char *name, const char *unit, const char *value,
                     const char *allowed, const char *help)
{
    char spelled[32], left[64];
    option_spelled(name, spelled);
    if (markdown) {
        printf("| `--%s` | %s | %s | %s |\n", spelled, value, allowed, help);
        return;
    }
    sprintf(left, "--%s %s", spelled, unit);
    printf("  %-24s %-12s", left, value);
    help_text(help, allowed);
}

static void help_head(int markdown, const char *title)
{
    if (markdown)
        printf("\n| %s | default | allowed | meaning |\n| --- | --- | --- | --- |\n", title);
    else printf("\n%s\n", title);
}

static void help_option(const option *o, int markdown)
{
    static const char *const units[] = {"TEXT", "", "N", "X"}; /* in the order of option_kind */
    char value[64] = "", allowed[64] = "";
    const char *text = value;
    if (o->kind == OPTION_TEXT && *(const char **)o->target) text = *(const char **)o->target;
    if (o->kind == OPTION_WHOLE) sprintf(value, "%ld", (long)*(long long *)o->target);
    if (o->kind == OPTION_REAL) sprintf(value, "%.6g", *(double *)o->target);
    if (markdown && (o->kind == OPTION_WHOLE || o->kind == OPTION_REAL))
        sprintf(allowed, "%.10g to %.10g", o->low, o->high);
    help_row(markdown, o->name, units[o->kind], text, allowed, o->help);
}

static void help_field(const settings *s, const wcoh_field *field, int markdown)
{
    static const char *const units[] = {"N", "X", "N", "NAME"}; /* in that of wcoh_field_kind */
    char value[64] = "", allowed[256] = "";
    wcoh_field_get(s->kind, s->shown, field->name, value, sizeof value);
    if (field->kind == WCOH_FIELD_REAL) sprintf(value, "%.6g", strtod(value, NULL));
    if (field->kind == WCOH_FIELD_CHOICE) sprintf(allowed, "%.240s", field->choices);
    else if (markdown && field->kind == WCOH_FIELD_SEED) sprintf(allowed, "0 to 2^64 - 1");
    else if (markdown)
        sprintf(allowed, "%.10g to %.10g%s", field->minimum, field->maximum,
                field->off ? ", negative: off" : "");
    help_row(markdown, field->name, units[field->kind], value, allowed, field->help);
}

/* All options with their defaults, from the tables: to read, or as the README's table. */
static void option_help(const command *c, int markdown)
{
    int i, j, count;
    if (!markdown) printf("usage: %s %s\n", program_name, c->usage);
    if (c->option_count) help_head(markdown, program_name);
    for (i = 0; i < c->option_count; i++) help_option(&c->options[i], markdown);
    for (j = 0; j < c->desc_count; j++) {
        const settings *s = &c->descs[j];
        const wcoh_field *fields = wcoh_fields(s->kind, &count);
        help_head(markdown, s->title);
        for (i = 0; i < count; i++)
            if (!s->skip || strcmp(s->skip, fields[i].name) != 0)
                help_field(s, &fields[i], markdown);
    }
}

/* ---- device ---------------------------------------------------------------------------------- */

/* --isa NAME as the library spells it. */
COMMON_USED(__unused__)
static wcoh_isa isa_named(const char *name)
{
    int isa;
    if (strcmp(name, "auto") == 0) return WCOH_ISA_AUTO;
    for (isa = WCOH_ISA_SCALAR; isa <= WCOH_ISA_NEON; isa++) {
        if (strcmp(name, wcoh_isa_name((wcoh_isa)isa)) != 0) continue;
        if (wcoh_cpu_has_isa((wcoh_isa)isa)) return (wcoh_isa)isa;
        fail(EXIT_FAILED, "--isa %s: this machine or this build lacks it%s", name,
             isa == WCOH_ISA_SCALAR ? "; compile with -DWAVECOH_SCALAR" : "");
    }
    fail(EXIT_USAGE, "--isa is \"%s\": allowed are auto scalar sse2 avx2 avx512 neon", name);
    return WCOH_ISA_AUTO;
}

/* --device cpu|vulkan[:N], N from 1: NULL stands for the CPU. */
COMMON_USED(__unused__)
static wcoh_device *device_named(const char *name)
{
    wcoh_device *device = NULL;
    const char *rest = name + 6;
    int vulkan = strncmp(name, "vulkan", 6) == 0 &&
                 (!*rest || (*rest == ':' && rest[1] >= '0' && rest[1] <= '9'));
    if (strcmp(name, "cpu") == 0) return NULL;
    if (!vulkan) fail(EXIT_USAGE, "--device is \"%s\": allowed are cpu, vulkan and vulkan:N", name);
#ifdef WAVECOH_VULKAN
    {
        wcoh_vk_desc desc;
        wcoh_error error;
        memset(&desc, 0, sizeof desc);
        if (*rest) desc.index = atoi(rest + 1);
        must(wcoh_vk_device_create(&device, &desc, &error), name, &error);
    }
#else
    fail(EXIT_USAGE,
         "--device %s: this program was built for the CPU alone; its first comment gives the line "
         "that adds Vulkan",
         name);
#endif
    return device;
}

COMMON_USED(__unused__)
static void device_close(wcoh_device *device)
{
#ifdef WAVECOH_VULKAN
    wcoh_device_destroy(device);
#else
    (void)device;
#endif
}

/* ---- writing with a session ------------------------------------------------------------------ */

/* A session and what it has heard, so that a model with a table of learned positions can go on past
   its end: then it hears the last half of its context again. */
typedef struct writer {
    wcoh_session *session;
    wcoh_rng rng;
    wcoh_sample_desc sample;
    uint32_t *heard; /* [half] the last tokens, oldest first */
    size_t half, count;
    int starts; /* how often it began again */
} writer;

COMMON_USED(__unused__)
static void writer_open(writer *w, wcoh_model *model, const wcoh_session_desc *desc,
                        const wcoh_sample_desc *sample)
{
    wcoh_error error;
    memset(w, 0, sizeof *w);
    w->sample = *sample;
    w->rng = wcoh_rng_seed(sample->seed);
    w->half = ((size_t)wcoh_model_get_desc(model)->context + 1) / 2;
    w->heard = (uint32_t *)malloc(w->half * sizeof *w->heard);
    if (!w->heard) fail(EXIT_FAILED, "no memory for %lu tokens", (unsigned long)w->half);
    must(wcoh_session_create(&w->session, model, desc, &error), NULL, &error);
}

COMMON_USED(__unused__)
static void writer_close(writer *w)
{
    wcoh_session_destroy(w->session);
    free(w->heard);
}

static void writer_remember(writer *w, const uint32_t *tokens, size_t count)
{
    size_t keep = count < w->half ? w->half - count : 0;
    if (count > w->half) tokens += count - w->half, count = w->half;
    if (keep > w->count) keep = w->count;
    memmove(w->heard, w->heard + w->count - keep, keep * sizeof *w->heard);
    memcpy(w->heard + keep, tokens, count * sizeof *tokens);
    w->count = keep + count;
}

COMMON_USED(__unused__)
static void writer_hear(writer *w, const uint32_t *tokens, size_t count)
{
    wcoh_error error;
    wcoh_result result = wcoh_session_prefill(w->session, tokens, count, &error);
    writer_remember(w, tokens, count);
    if (result == WCOH_E_CONTEXT) {
        w->starts++;
        wcoh_session_reset(w->session);
        result = wcoh_session_prefill(w->session, w->heard, w->count, &error);
    }
    must(result, NULL, &error);
}

/* The next token, drawn and heard. */
COMMON_USED(__unused__)
static uint32_t writer_next(writer *w)
{
    wcoh_error error;
    uint32_t token = 0;
    must(wcoh_session_sample(w->session, &w->sample, &w->rng, &token, &error), NULL, &error);
    writer_hear(w, &token, 1);
    return token;
}

/* What a model hears before its first word: the end of a line, else its first symbol. */
COMMON_USED(__unused__)
static uint32_t first_token(const wcoh_model *model)
{
    const wcoh_tokenizer *tokenizer = wcoh_model_tokenizer(model);
    uint32_t token = 0;
    if (tokenizer && wcoh_tokenizer_encode(tokenizer, "\n", 1, &token, 1, NULL, NULL)) token = 0;
    return token;
}

#endif

/* What the example programs share beside text.h: files, and options that come from the library's own
   tables of settings. Include it after wavecoh.h; it is no part of the library.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef WAVECOH_EXAMPLES_COMMON_H
#define WAVECOH_EXAMPLES_COMMON_H

#include "text.h"

#include <math.h>
#include <signal.h>
#include <time.h>
#include <fcntl.h>
#include <sys/stat.h>
#ifdef _WIN32
#include <io.h>
#ifndef S_ISREG
#define S_ISREG(mode) (((mode)&S_IFMT) == S_IFREG)
#define S_ISDIR(mode) (((mode)&S_IFMT) == S_IFDIR)
#endif
#else
#include <unistd.h>
#if defined(__STRICT_ANSI__) && !defined(__cplusplus) /* strict C99 hides these */
extern int fsync(int handle);
extern char *realpath(const char *path, char *real);
extern int truncate(const char *path, off_t size);
extern ssize_t readlink(const char *path, char *target, size_t size);
#endif
#endif

/* A library call that must succeed; `about` (a path, or NULL) opens the sentence. */
COMMON_USED(__unused__)
static void must(wcoh_result result, const char *about, const wcoh_error *error)
{
    if (result < 0) fail(EXIT_FAILED, "%s%s%s", about ? about : "", about ? ": " : "", error->text);
}

COMMON_USED(__unused__)
static void *memory_of(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory) fail(EXIT_FAILED, "no memory for %lu bytes", (unsigned long)(count * size));
    return memory;
}

/* a b; the end where that is no size. */
COMMON_USED(__unused__)
static size_t count_of(size_t a, size_t b)
{
    if (b && a > (size_t)-1 / b) fail(EXIT_FAILED, "a table is too large for this machine");
    return a * b;
}

/* ---- time and terminal ----------------------------------------------------------------------- */

/* Seconds on a clock that only goes forward, from some fixed moment. Strict C99 hides its name, the
   label finds it. */
#if !defined(_WIN32) && !defined(CLOCK_MONOTONIC)
typedef struct common_time {
    long seconds, nanoseconds;
} common_time;
extern int common_clock_gettime(int clock, common_time *now) __asm__("clock_gettime");
#endif

COMMON_USED(__unused__)
static double seconds_now(void)
{
#if defined(_WIN32)
    LARGE_INTEGER ticks, rate; /* wavecoh.h brought windows.h */
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&rate);
    return (double)ticks.QuadPart / (double)rate.QuadPart;
#elif defined(CLOCK_MONOTONIC)
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
#else
    common_time now;
    common_clock_gettime(1, &now);
    return (double)now.seconds + 1e-9 * (double)now.nanoseconds;
#endif
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

/* 1 if stdout is a terminal: then what a model writes must not steer it. */
COMMON_USED(__unused__)
static int stdout_is_terminal(void)
{
#ifdef _WIN32
    return _isatty(1) != 0;
#else
    return isatty(1) != 0;
#endif
}

/* 1 after Ctrl-C or a request to end, once catch_interrupts was called. */
static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    interrupted = 1;
    signal(signal_number, SIG_DFL); /* the second one ends the program at once */
}

COMMON_USED(__unused__)
static void catch_interrupts(void)
{
    signal(SIGINT, on_interrupt);
    signal(SIGTERM, on_interrupt);
#ifdef SIGHUP /* the terminal has gone; who was started to outlive it (nohup) does */
    if (signal(SIGHUP, on_interrupt) == SIG_IGN) signal(SIGHUP, SIG_IGN);
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

COMMON_USED(__unused__)
static int path_exists(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0;
}

/* Where links lead to in the end; the path itself where there is none, or nothing there. */
static const char *path_real(const char *path)
{
#ifdef _WIN32
    char *real = _fullpath(NULL, path, 0);
#else
    char *real = realpath(path, NULL);
#endif
    const char *kept = text_made("%s", real ? real : path);
    free(real);
    return kept;
}

/* "-" is what standard input comes from. */
static int path_is_there(const char *path, struct stat *about)
{
    return (strcmp(path, "-") == 0 ? fstat(0, about) : stat(path, about)) == 0;
}

/* 1 if two names stand for one file, through links too, whether it is there yet or not. */
COMMON_USED(__unused__)
static int path_same(const char *a, const char *b)
{
    struct stat first, second;
    const char *names[2], *folders[2];
    int i, there = path_is_there(a, &first);
    if (there != path_is_there(b, &second)) return 0;
#ifndef _WIN32
    if (there) return first.st_dev == second.st_dev && first.st_ino == second.st_ino;
#endif
    for (i = 0; i < 2; i++) {
        const char *path = i ? b : a, *slash = strrchr(path, '/');
        names[i] = slash ? slash + 1 : path;
        folders[i] = path_real(slash ? text_made("%.*s/", (int)(slash - path), path) : ".");
    }
    return strcmp(names[0], names[1]) == 0 && strcmp(folders[0], folders[1]) == 0;
}

/* What is to be read is never written. */
COMMON_USED(__unused__)
static void path_not_read(const char *out, const char *const *inputs, int count)
{
    int i;
    for (i = 0; out && i < count; i++)
        if (path_exists(out) && !path_is_special(out) && path_same(out, inputs[i]))
            fail(EXIT_USAGE, "%s is to be read and cannot be written as well",
                 strcmp(inputs[i], "-") ? inputs[i] : out);
}

/* Move what stands at `path` to the first of PATH.old, PATH.old2 .. that is free, and say so. */
COMMON_USED(__unused__)
static void path_aside(const char *path, const char *what)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *folder = slash ? text_made("%.*s/", (int)(slash - path), path) : ".";
    const char *real = path_real(path), *old;
    int i;
    if (strcmp(real, text_made("%s/%s", path_real(folder), name)) == 0) real = path; /* no link */
    old = text_made("%s.old", real);
    for (i = 2; path_exists(old) && i < 10000; i++) old = text_made("%s.old%d", real, i);
    if (path_exists(old) || rename(real, old))
        fail(EXIT_FAILED, "%s: %s stands there and cannot be moved to %s", path, what, old);
    say("%s: %s stood there and is now %s", path, what, old);
}

/* Cut a file to `size` bytes; 0 if that went well. */
COMMON_USED(__unused__)
static int path_cut(const char *path, size_t size)
{
#ifdef _WIN32
    int handle = _open(path, _O_RDWR | _O_BINARY), bad = handle < 0 || _chsize(handle, (long)size);
    if (handle >= 0) _close(handle);
    return bad;
#else
    return truncate(path, (off_t)size);
#endif
}

/* ---- logs of training -------------------------------------------------------------------------- */

/* A loss with that many digits behind the point, in few characters whatever it is. */
COMMON_USED(__unused__)
static const char *loss_text(double loss, int digits, char text[32])
{
    if (loss != loss) strcpy(text, "nan"); /* "-nan" on some systems */
    else if (loss < 1e9) sprintf(text, "%.*f", digits, loss);
    else sprintf(text, "%.*g", digits, loss);
    return text;
}

/* A log is a CSV file with a row for every step; plot draws it. */
#define LOG_HEAD "step,train,val,lr,grad_norm,tokens,seconds"

#ifndef WAVECOH_NO_TRAINING
/* The row of a step; val is negative where it was not evaluated. */
COMMON_USED(__unused__)
static void log_step(FILE *log, const wcoh_stats *s, double val)
{
    char text[32] = "";
    if (!(val < 0)) loss_text(val, 6, text);
    fprintf(log, "%lu,%.6f,%s,%.6e,%.6f,%lu,%.3f\n", (unsigned long)s->step, s->train_loss, text,
            s->lr, s->grad_norm, (unsigned long)s->tokens, s->seconds);
}

/* Seconds of a step: the mean of those that are made in `trial` seconds, two or more. The trainer is
   to be thrown away. */
COMMON_USED(__unused__)
static wcoh_result step_time(wcoh_trainer *trainer, double trial, double *seconds,
                             wcoh_error *error)
{
    wcoh_stats stats;
    double began;
    wcoh_result result = wcoh_trainer_step(trainer, &stats, error); /* the first one is slow */
    began = seconds_now();
    while (result == WCOH_OK) {
        result = wcoh_trainer_step(trainer, &stats, error);
        if (seconds_now() - began >= trial || interrupted) break;
    }
    if (result >= 0) *seconds = (seconds_now() - began) / (double)(stats.step - 1);
    return result;
}
#endif

/* ---- texts as tokens ------------------------------------------------------------------------- */

/* What to do with letters that a model lacks. */
#define UNKNOWN_WORDS "refuse skip replace"
enum { UNKNOWN_REFUSE, UNKNOWN_SKIP, UNKNOWN_REPLACE };
#define UNKNOWN_OPTION(target)                                                                     \
    {                                                                                              \
        "unknown", OPTION_CHOICE, target, 0, 0,                                                    \
            "letters that the model lacks: end there, leave them out, or take its blank instead"   \
    }

/* A letter that stands for what the model lacks -> blank [4]; its bytes, 0 where there is none. */
static size_t blank_letter(const wcoh_tokenizer *tokenizer, char *blank)
{
    static const char *const blanks[] = {UTF8_BROKEN, " ", "_", "?", "\n"};
    uint32_t token[16];
    size_t size = 0;
    int i;
    for (i = 0; i < 5 && size == 0; i++)
        if (wcoh_tokenizer_encode(tokenizer, blanks[i], strlen(blanks[i]), token, 16, NULL, NULL) ==
            WCOH_OK)
            memcpy(blank, blanks[i], size = strlen(blanks[i]));
    i = size ? 0 : wcoh_tokenizer_decode(tokenizer, 0, blank, 4); /* else its first letter */
    return i > 0 && i <= 4 ? (size_t)i : size;
}

/* The letters of a text that a model lacks: how many, and the first kinds of them to show. */
typedef struct lacking {
    size_t count;
    const char *kinds; /* blank-separated, the first few */
    int shown;
} lacking;

static void lacking_add(lacking *l, const char *letter, int length)
{
    const char *one = *letter == ' ' ? "U+0020" : text_written(write_shown, letter, (size_t)length);
    l->count++;
    if (l->shown >= 20 || word_stands(l->kinds, one)) return;
    l->kinds = text_made("%s%s%s", l->kinds, *l->kinds ? " " : "", one);
    l->shown++;
}

/* The letters of a text that the model has, in known [*size]; the others are left out or replaced, and
   noted in l (or NULL). The caller frees it; NULL: no memory. What is left is encoded as a whole: so
   subwords join over the gap, and no letter is mistaken for the beginning of a text. */
static char *letters_known(const wcoh_tokenizer *tokenizer, const char *text, size_t *size,
                           int replace, lacking *l)
{
    char blank[4] = {0}, *known, *more;
    size_t blank_size = replace ? blank_letter(tokenizer, blank) : 0, room = *size + 64, at,
           used = 0;
    known = (char *)malloc(room);
    for (at = 0; known && at < *size;) {
        unsigned long point;
        int length = utf8_length(text + at, *size - at, &point), step = length ? length : 1;
        wcoh_result result = length ? wcoh_tokenizer_encode(tokenizer, text + at, (size_t)length,
                                                            NULL, 0, NULL, NULL)
                                    : WCOH_E_FORMAT;
        if (used + 4 > room) { /* blanks are longer than what they stand for */
            more = (char *)realloc(known, room *= 2);
            if (!more) free(known);
            known = more;
            if (!known) break;
        }
        if (result == WCOH_OK || result == WCOH_E_MEMORY) { /* tokens, for which no room was */
            memcpy(known + used, text + at, (size_t)length);
            used += (size_t)length;
        } else {
            if (l) lacking_add(l, text + at, step);
            memcpy(known + used, blank, blank_size);
            used += blank_size;
        }
        at += (size_t)step;
    }
    *size = used;
    return known;
}

/* Tokens of a text into a new block, behind `before` others; *count of the text's. */
static uint32_t *encode_whole(const wcoh_tokenizer *tokenizer, const char *text, size_t size,
                              const char *name, size_t before, size_t *count, wcoh_result *result,
                              wcoh_error *error)
{
    size_t room = size + 1;
    uint32_t *tokens = NULL, *more;
    do { /* a second time where a normalizer makes more of a text than it was */
        *count = 0;
        if (room > (size_t)-1 / sizeof *tokens - before) room = 0;
        more = room ? (uint32_t *)realloc(tokens, (before + room) * sizeof *tokens) : NULL;
        if (!more) fail(EXIT_FAILED, "%s: no memory for its tokens", name);
        tokens = more;
        *result = wcoh_tokenizer_encode(tokenizer, text, size, tokens + before, room, count, error);
    } while (*result == WCOH_E_MEMORY && *count > room && (room = *count) > 0);
    return tokens;
}

/* Tokens of a text by the word of --unknown, behind `before` others; says what was left out or
   replaced. `name` is the text's, with the place where it begins in its file. The caller frees them. */
static uint32_t *encode_as(int unknown, const wcoh_tokenizer *tokenizer, const char *text,
                           size_t size, const char *name, size_t before, size_t *count)
{
    wcoh_error error;
    wcoh_result result;
    char *known;
    lacking l;
    uint32_t *tokens = encode_whole(tokenizer, text, size, name, before, count, &result, &error);
    if (!result) return tokens;
    if (result != WCOH_E_TOKEN && (unknown == UNKNOWN_REFUSE || result != WCOH_E_FORMAT))
        fail(EXIT_FAILED, "%s: %s", name, error.text);
    memset(&l, 0, sizeof l);
    l.kinds = "";
    known = letters_known(tokenizer, text, &size, unknown == UNKNOWN_REPLACE, &l);
    if (!known) fail(EXIT_FAILED, "%s: no memory for its letters", name);
    if (unknown == UNKNOWN_REFUSE)
        fail(EXIT_FAILED,
             "%s: %s; it has %lu letters that the model lacks, of these kinds: %s%s; "
             "--unknown skip leaves them out, --unknown replace puts a blank there",
             name, error.text, (unsigned long)l.count, l.kinds, l.shown == 20 ? " .." : "");
    say("%s: %lu letters that the model lacks are %s: %s%s", name, (unsigned long)l.count,
        unknown == UNKNOWN_SKIP ? "left out" : "replaced by its blank", l.kinds,
        l.shown == 20 ? " .." : "");
    free(tokens);
    tokens = encode_whole(tokenizer, known, size, name, before, count, &result, &error);
    if (result) fail(EXIT_FAILED, "%s: %s", name, error.text);
    free(known);
    return tokens;
}

/* Tokens of text [size], which begins at byte `from` of the file `path`; *count of them, the caller
   frees them. A text from its beginning opens with the start symbol, where the model has one. */
COMMON_USED(__unused__)
static uint32_t *text_encode(int unknown, const wcoh_tokenizer *tokenizer, const char *text,
                             size_t size, const char *path, size_t from, size_t *count)
{
    int start = wcoh_tokenizer_start(tokenizer), opens = start >= 0 && from == 0;
    const char *name = from ? text_made("%s from byte %lu", path, (unsigned long)from) : path;
    uint32_t *tokens = encode_as(unknown, tokenizer, text, size, name, (size_t)opens, count);
    if (opens) tokens[0] = (uint32_t)start;
    *count += (size_t)opens;
    return tokens;
}

/* 1 if the alphabet has the end of a line of Windows in it. */
static int tokenizer_has_return(const wcoh_tokenizer *tokenizer)
{
    uint32_t token;
    return wcoh_tokenizer_encode(tokenizer, "\r", 1, &token, 1, NULL, NULL) == WCOH_OK &&
           token < (uint32_t)wcoh_tokenizer_characters(tokenizer);
}

/* Text as an alphabet of characters means it, in place: no byte-order mark at its start, and CR LF
   are one end of line. Returns the size. */
COMMON_USED(__unused__)
static size_t text_plain(char *text, size_t size)
{
    size_t from = size >= 3 && memcmp(text, "\357\273\277", 3) == 0 ? 3 : 0, to = 0;
    for (; from < size; from++)
        if (!(text[from] == '\r' && from + 1 < size && text[from + 1] == '\n'))
            text[to++] = text[from];
    return to;
}

/* The same where the model's alphabet asks for it: bytes, and an alphabet that has learnt CR, take
   the text as it is. */
COMMON_USED(__unused__)
static size_t text_plain_for(const wcoh_tokenizer *tokenizer, char *text, size_t size)
{
    wcoh_tokenizer_kind kind = wcoh_tokenizer_get_kind(tokenizer);
    if (kind == WCOH_TOKENIZER_BYTES || kind == WCOH_TOKENIZER_SUBWORDS) return size;
    return tokenizer_has_return(tokenizer) ? size : text_plain(text, size);
}

/* Texts one behind the other, as the library takes sequences. All zero is none. */
typedef struct texts {
    uint32_t *tokens;
    size_t *offsets; /* [count + 1] */
    size_t count, room, offset_room;
} texts;

/* Append a text of two tokens or more, and free it. */
COMMON_USED(__unused__)
static void texts_add(texts *t, uint32_t *tokens, size_t count)
{
    size_t used = t->count ? t->offsets[t->count] : 0;
    if (t->count + 2 > t->offset_room) {
        t->offset_room = 2 * t->offset_room + 16;
        t->offsets = (size_t *)realloc(t->offsets, t->offset_room * sizeof *t->offsets);
    }
    if (used + count > t->room) {
        t->room = t->count ? 2 * (used + count) : count;
        t->tokens = (uint32_t *)realloc(t->tokens, t->room * sizeof *t->tokens);
    }
    if (!t->offsets || !t->tokens)
        fail(EXIT_FAILED, "no memory for %lu tokens", (unsigned long)t->room);
    memcpy(t->tokens + used, tokens, count * sizeof *tokens);
    free(tokens);
    t->offsets[0] = 0;
    t->offsets[++t->count] = used + count;
}

/* Tokens of all of them. */
COMMON_USED(__unused__)
static size_t texts_size(const texts *t) { return t->count ? t->offsets[t->count] : 0; }

/* Nats a token of what knows only how often each of `vocab` symbols stands in them. */
COMMON_USED(__unused__)
static double texts_entropy(const texts *t, int vocab)
{
    size_t *counts = (size_t *)calloc((size_t)vocab, sizeof *counts), all = texts_size(t), i;
    double nats = 0;
    if (!counts) fail(EXIT_FAILED, "no memory for %d counts", vocab);
    for (i = 0; i < all; i++) counts[t->tokens[i]]++;
    for (i = 0; i < (size_t)vocab; i++)
        if (counts[i])
            nats -= (double)counts[i] / (double)all * log((double)counts[i] / (double)all);
    free(counts);
    return nats;
}

COMMON_USED(__unused__)
static wcoh_sequences texts_sequences(const texts *t)
{
    wcoh_sequences s;
    s.count = t->count;
    s.offsets = t->offsets;
    s.tokens = t->tokens;
    return s;
}

COMMON_USED(__unused__)
static void texts_free(texts *t)
{
    free(t->tokens);
    free(t->offsets);
}

/* ---- options --------------------------------------------------------------------------------- */

/* An option of the program itself. */
typedef enum option_kind {
    OPTION_TEXT,
    OPTION_LIST,
    OPTION_FLAG,
    OPTION_WHOLE,
    OPTION_REAL,
    OPTION_CHOICE
} option_kind;

/* The target of an OPTION_CHOICE: `words` are those allowed, blanks between them, and `index` counts
   them from 0; both are set before the options are read, index to the default. */
typedef struct choice {
    const char *words;
    int index;
} choice;

/* The target of an OPTION_LIST, which may be given again and again. All zero is empty. */
typedef struct text_list {
    const char **items;
    int count;
} text_list;

typedef struct option {
    const char *name; /* "out"; '-' and '_' mean the same in all names */
    option_kind kind;
    void *target;     /* const char *, text_list, int, long long, double or choice; what stands
                         there is shown as the default */
    double low, high; /* of numbers */
    const char *help;
} option;

/* The words of wcoh_preset, in the order of its enum. */
#define PRESET_WORDS                                                                               \
    "wave gpt kerr-engine wave-engine wave-2 harmonic-transformer resonance-transformer "          \
    "wave-engine-april wave-1 wave-3"

/* Options that several programs have. */
#define THREADS_OPTION(target)                                                                     \
    {                                                                                              \
        "threads", OPTION_WHOLE, target, 0, 256, "threads; 0: one for each CPU of this process"    \
    }
#define ISA_OPTION(target)                                                                         \
    {                                                                                              \
        "isa", OPTION_TEXT, target, 0, 0,                                                          \
            "instruction set: auto scalar sse2 avx2 avx512 neon wasm"                              \
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
    const void *shown; /* for --help: the same with defaults that the table does not know filled in,
                          or NULL */
    const char *skip;  /* fields that are no options here, blanks between them, or NULL */
    const char
        *first; /* the first field that the command line set, "seed" only if alone, or NULL */
} settings;

COMMON_USED(__unused__)
static settings settings_of(const char *title, wcoh_desc_kind kind, void *desc, const char *skip)
{
    settings s;
    memset(&s, 0, sizeof s);
    s.title = title;
    s.kind = kind;
    s.desc = desc;
    s.skip = skip;
    return s;
}

typedef struct command {
    const char *usage; /* what follows the program's name, and a line on what it does */
    const option *options;
    int option_count;
    settings *descs;
    int desc_count;
    const char **words; /* arguments that are no options; NULL behind the last ones */
    int word_count, word_limit;
    const char *place; /* where options stand in a file, without dashes: "plan.txt: line 3: ", opens
                          the sentences; NULL: the command line */
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

/* How a sentence names what was given: "--lr", or "plan.txt: line 3: lr". */
static const char *option_called(const command *c, const char *name, size_t length)
{
    return text_made("%s%.*s", c->place ? c->place : "--", (int)length, name);
}

static const option *option_find(const command *c, const char *given, size_t length)
{
    int i;
    for (i = 0; i < c->option_count; i++)
        if (option_is(c->options[i].name, given, length)) return &c->options[i];
    return NULL;
}

static int field_is_option(const settings *s, const wcoh_field *field)
{
    return !s->skip || !word_stands(s->skip, field->name);
}

static const wcoh_field *field_find(const settings *s, const char *given, size_t length)
{
    int i, count;
    const wcoh_field *fields = wcoh_fields(s->kind, &count);
    for (i = 0; i < count; i++)
        if (option_is(fields[i].name, given, length))
            return field_is_option(s, &fields[i]) ? &fields[i] : NULL;
    return NULL;
}

/* The array doubles where it is full: at every power of two. */
COMMON_USED(__unused__)
static void list_add(text_list *list, const char *item)
{
    int count = list->count++;
    const char **longer;
    if ((count & (count - 1)) == 0) {
        longer = (const char **)(void *)text_keep((count ? 2 * (size_t)count : 1) * sizeof *longer);
        if (count) memcpy(longer, list->items, (size_t)count * sizeof *longer);
        list->items = longer;
    }
    list->items[count] = item;
}

static void option_set(const command *c, const option *o, const char *text)
{
    char *end = NULL, spelled[32];
    const char *called = option_called(c, option_spelled(o->name, spelled), strlen(o->name));
    double real;
    if (o->kind == OPTION_FLAG) {
        *(int *)o->target = 1;
        return;
    }
    if (o->kind == OPTION_TEXT) {
        *(const char **)o->target = text;
        return;
    }
    if (o->kind == OPTION_LIST) {
        list_add((text_list *)o->target, text);
        return;
    }
    if (o->kind == OPTION_CHOICE) {
        choice *chosen = (choice *)o->target;
        chosen->index = word_choose(called, text, chosen->words);
        return;
    }
    real = strtod(text, &end);
    if (!*text || *end || !(real >= o->low && real <= o->high) ||
        (o->kind == OPTION_WHOLE && real != (double)(long long)real))
        fail(EXIT_USAGE, "%s is \"%s\": allowed are %s from %.15g to %.15g", called, text,
             o->kind == OPTION_WHOLE ? "whole numbers" : "numbers", o->low, o->high);
    if (o->kind == OPTION_WHOLE) *(long long *)o->target = (long long)real;
    else *(double *)o->target = real;
}

/* No option has that name: the end, with the nearest one that has. */
static void option_unknown(const command *c, const char *name, size_t length, const char *dashes)
{
    word_guess guess;
    int i, j, count;
    memset(&guess, 0, sizeof guess);
    guess.given = name;
    guess.length = length;
    for (i = 0; i < c->option_count; i++)
        guess_try(&guess, c->options[i].name, strlen(c->options[i].name));
    if (!c->place) guess_list(&guess, "help");
    for (i = 0; i < c->desc_count; i++) {
        const wcoh_field *fields = wcoh_fields(c->descs[i].kind, &count);
        for (j = 0; j < count; j++)
            if (field_is_option(&c->descs[i], &fields[j]))
                guess_try(&guess, fields[j].name, strlen(fields[j].name));
    }
    if (c->place)
        fail(EXIT_USAGE, "%sthere is no setting %.*s%s", c->place, (int)length, name,
             guess_text(&guess, ""));
    fail(EXIT_USAGE, "there is no option %s%.*s; --help lists them%s", dashes, (int)length, name,
         guess_text(&guess, "--"));
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
    if (strcmp(argument, "-h") == 0) argument = "--help";
    if (argument[1] != '-') option_unknown(c, argument + 1, strlen(argument + 1), "-");
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

/* The end where one of these options (blanks between them) is given: `what` alone would heed it. */
COMMON_USED(__unused__)
static void options_only(const command *c, int argc, char **argv, const char *names,
                         const char *what)
{
    char spelled[32];
    int i;
    for (i = 0; *word_at(names, i); i++)
        if (option_given(c, argc, argv, word_at(names, i)))
            fail(EXIT_USAGE, "--%s is for %s alone", option_spelled(word_at(names, i), spelled),
                 what);
}

/* "; did you mean exact?" after a word that a field does not know, else "". */
static const char *field_guess(const wcoh_field *field, const char *value)
{
    word_guess guess;
    size_t length = strlen(value);
    while (field->pattern &&
           value[length = strcspn(value, ",")] && /* the first unknown of a list */
           word_stands(field->choices, text_made("%.*s", (int)length, value)))
        value += length + 1;
    memset(&guess, 0, sizeof guess);
    guess.given = value;
    guess.length = length;
    if (field->kind == WCOH_FIELD_CHOICE) guess_list(&guess, field->choices);
    return guess_text(&guess, "");
}

/* Set what is named [length] in every place that knows the name. */
static void option_apply(command *c, const char *name, size_t length, const char *value)
{
    const option *o = option_find(c, name, length);
    wcoh_error error;
    int i, known = o != NULL;
    if (o && o->kind == OPTION_FLAG && value)
        fail(EXIT_USAGE, "%s takes no value", option_called(c, name, length));
    for (i = 0; i < c->desc_count; i++) known |= field_find(&c->descs[i], name, length) != NULL;
    if (!known) option_unknown(c, name, length, "--");
    if (!value && !(o && o->kind == OPTION_FLAG))
        fail(EXIT_USAGE, "%s needs a value", option_called(c, name, length));
    if (o) option_set(c, o, value);
    for (i = 0; i < c->desc_count; i++) {
        settings *s = &c->descs[i];
        const wcoh_field *field = field_find(s, name, length);
        if (!field) continue;
        if (!s->first || strcmp(s->first, "seed") == 0) s->first = field->name;
        if (wcoh_field_set(s->kind, s->desc, field->name, value, &error) < 0)
            fail(EXIT_USAGE, "%s%s%s", c->place ? c->place : "", error.text,
                 field_guess(field, value));
    }
}

/* Read the command line into the targets and descs of `c`; --help prints and ends. */
COMMON_USED(__unused__)
static void options_read(command *c, int argc, char **argv)
{
    const char *name, *value;
    size_t length = 0, room = ((size_t)argc + 8) * sizeof *c->words;
    int i = 1;
    c->words = (const char **)(void *)text_keep(room);
    memset(c->words, 0, room);
    while (i < argc) {
        if (!option_next(c, argc, argv, &i, &name, &length, &value)) {
            if (c->place)
                fail(EXIT_USAGE, "%s\"%s\" is no setting: those begin with --", c->place, name);
            if (c->word_count >= c->word_limit)
                fail(EXIT_USAGE, "\"%s\" is one argument too many; --help explains", name);
            c->words[c->word_count++] = name;
        } else if (!c->place &&
                   (option_is("help", name, length) || option_is("help_markdown", name, length))) {
            option_help(c, !option_is("help", name, length));
            stdout_check();
            exit(0);
        } else {
            option_apply(c, name, length, value);
        }
    }
}

/* ---- settings of a model --------------------------------------------------------------------- */

#ifndef WAVECOH_NO_TRAINING
/* --preset NAME gives the settings that other options then change, wherever they stand. */
COMMON_USED(__unused__)
static void preset_take(const command *c, const char *name, wcoh_model_desc *model,
                        wcoh_trainer_desc *trainer)
{
    wcoh_preset preset =
        (wcoh_preset)word_choose(option_called(c, "preset", 6), name, PRESET_WORDS);
    *model = wcoh_model_preset(preset, 0);
    *trainer = wcoh_trainer_preset(preset);
}
#endif

/* ---- --help ---------------------------------------------------------------------------------- */

/* Words of `text`, and `more` in brackets, between the columns 40 and 100. */
static void help_text(const char *text, const char *more)
{
    const char *word = text_made("%s%s%s%s", text, *more ? " [" : "", more, *more ? "]" : "");
    int column = 40;
    while (*word) {
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
    char spelled[32];
    option_spelled(name, spelled);
    if (markdown) {
        printf("| `--%s` | %s | %s | %s |\n", spelled, value, allowed, help);
        return;
    }
    printf("  %-24s %-12s", text_made("--%s %s", spelled, unit), value);
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
    /* in the order of option_kind */
    static const char *const units[] = {"TEXT", "TEXT", "", "N", "X", "NAME"};
    const char *value = "", *allowed = "";
    if (o->kind == OPTION_TEXT && *(const char **)o->target) value = *(const char **)o->target;
    if (o->kind == OPTION_WHOLE) value = text_made("%ld", (long)*(long long *)o->target);
    if (o->kind == OPTION_REAL) value = text_made("%.6g", *(double *)o->target);
    if (o->kind == OPTION_CHOICE) {
        const choice *c = (const choice *)o->target;
        value = word_at(c->words, c->index);
        allowed = c->words;
    }
    if (markdown && (o->kind == OPTION_WHOLE || o->kind == OPTION_REAL))
        allowed = text_made("%.10g to %.10g", o->low, o->high);
    help_row(markdown, o->name, units[o->kind], value, allowed, o->help);
}

static void help_field(const settings *s, const wcoh_field *field, int markdown)
{
    static const char *const units[] = {"N", "X", "N", "NAME"}; /* in that of wcoh_field_kind */
    char value[192] = "";                                       /* a pattern is the longest */
    const char *allowed = "";
    wcoh_field_get(s->kind, s->shown ? s->shown : s->desc, field->name, value, sizeof value);
    if (strcmp(value, "0") == 0 && field->standard != 0) sprintf(value, "%.15g", field->standard);
    if (field->kind == WCOH_FIELD_REAL) sprintf(value, "%.6g", strtod(value, NULL));
    if (field->kind == WCOH_FIELD_CHOICE) allowed = field->choices;
    else if (markdown && field->kind == WCOH_FIELD_SEED) allowed = "0 to 2^64 - 1";
    else if (markdown)
        allowed = text_made("%.10g to %.10g%s", field->minimum, field->maximum,
                            field->off ? ", negative: off" : "");
    help_row(markdown, field->name, units[field->kind], value, allowed, field->help);
}

/* All settings of a desc, each with its default. */
static void help_settings(const settings *s, int markdown)
{
    int i, count;
    const wcoh_field *fields = wcoh_fields(s->kind, &count);
    help_head(markdown, s->title);
    for (i = 0; i < count; i++)
        if (field_is_option(s, &fields[i])) help_field(s, &fields[i], markdown);
}

/* All options with their defaults, from the tables: to read, or as the README's table. */
static void option_help(const command *c, int markdown)
{
    int i;
    if (!markdown) printf("usage: %s %s\n", program_name, c->usage);
    if (c->option_count) help_head(markdown, program_name);
    for (i = 0; i < c->option_count; i++) help_option(&c->options[i], markdown);
    for (i = 0; i < c->desc_count; i++) help_settings(&c->descs[i], markdown);
}

/* ---- device ---------------------------------------------------------------------------------- */

/* --isa NAME as the library spells it. */
COMMON_USED(__unused__)
static wcoh_isa isa_named(const char *name)
{
    /* in the order of the enum */
    wcoh_isa isa = (wcoh_isa)word_choose("--isa", name, "auto scalar sse2 avx2 avx512 neon wasm");
    if (isa != WCOH_ISA_AUTO && !wcoh_cpu_has_isa(isa))
        fail(EXIT_FAILED, "--isa %s: this machine or this build lacks it%s", name,
             isa == WCOH_ISA_SCALAR ? "; compile with -DWAVECOH_SCALAR" : "");
    return isa;
}

/* --device cpu|vulkan[:N], N from 1: NULL stands for the CPU. tuning: a text of wcoh_vk_tune, or NULL */
COMMON_USED(__unused__)
static wcoh_device *device_tuned(const char *name, const char *tuning)
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
        desc.tuning = tuning;
        must(wcoh_vk_device_create(&device, &desc, &error), name, &error);
    }
#else
    (void)tuning;
    fail(EXIT_USAGE,
         "--device %s: this program was built for the CPU alone; its first comment gives the line "
         "that adds Vulkan",
         name);
#endif
    return device;
}

COMMON_USED(__unused__)
static wcoh_device *device_named(const char *name) { return device_tuned(name, NULL); }

/* How this device computes such a trainer's products fastest, as a text; on a Vulkan device alone. */
COMMON_USED(__unused__)
static const char *device_tune(wcoh_device *device, const wcoh_model_desc *model,
                               const wcoh_trainer_desc *trainer, double seconds)
{
#ifdef WAVECOH_VULKAN
    static char text[65536];
    wcoh_error error;
    if (device) {
        must(wcoh_vk_tune(device, model, trainer, seconds, text, sizeof text, &error), "tune",
             &error);
        return text;
    }
#else
    (void)device, (void)model, (void)trainer, (void)seconds;
#endif
    fail(EXIT_USAGE, "tuning is for a Vulkan device: --device vulkan");
    return NULL;
}

/* Keep a tuning as a file, or end. */
COMMON_USED(__unused__)
static void tuning_keep(const char *path, const char *text) { file_save(path, text, strlen(text)); }

COMMON_USED(__unused__)
static void device_close(wcoh_device *device)
{
#ifdef WAVECOH_VULKAN
    wcoh_device_destroy(device);
#else
    (void)device;
#endif
}

/* ---- where a step's time goes ---------------------------------------------------------------- */

/* Makes 1 + steps steps and prints a line for each op kind and pass. A run with fewer has no table. */
COMMON_USED(__unused__)
static wcoh_result profile_print(wcoh_trainer *trainer, int steps, wcoh_error *error)
{
    static wcoh_op_time rows[WCOH_OP_TIMES];
    double all = 0;
    int i, count = 0;
    wcoh_result result = wcoh_trainer_profile(trainer, steps, rows, &count, error);
    for (i = 0; i < count; i++) all += rows[i].seconds;
    for (i = 0; i < count; i++) {
        double s = rows[i].seconds > 0 ? rows[i].seconds : 1e-9;
        printf("profile %-10s %-8s %3d ops %9.3f ms %5.1f %% %8.2f GB/s", rows[i].op, rows[i].pass,
               rows[i].ops, s * 1e3, 100 * s / all, rows[i].bytes / s * 1e-9);
        if (rows[i].flops > 0) printf(" %9.2f GFLOP/s", rows[i].flops / s * 1e-9);
        putchar('\n');
    }
    if (count) printf("profile all %.3f ms a step, mean of %d\n", all * 1e3, steps);
    else if (result >= 0) say("profile: the run has fewer than %d steps", steps + 2);
    return result;
}

/* ---- writing with a session ------------------------------------------------------------------ */

/* A session and what it has heard, so that a model with a table of learned positions can go on past
   its end: then it hears the last half of its context again. */
typedef struct writer {
    wcoh_session *session;
    wcoh_rng rng;
    wcoh_sample_desc sample;
    wcoh_logit_bias never; /* the start symbol stands before all texts, and in none */
    uint32_t *heard; /* [half] the last tokens, oldest first */
    size_t half, count;
    int starts; /* how often it began again */
} writer;

/* What tokens spell, in whole characters, as they come. All zero is the start. */
typedef struct speller {
    wcoh_decoder decoder;
    char *text;
    int room;
} speller;

/* Bytes of s->text that may be shown now that `token` has come. */
COMMON_USED(__unused__)
static int speller_next(speller *s, const wcoh_tokenizer *tokenizer, uint32_t token)
{
    if (!s->text) {
        s->room = 3 * (wcoh_tokenizer_longest(tokenizer) + 4);
        s->text = text_keep((size_t)s->room);
    }
    return wcoh_decoder_next(&s->decoder, tokenizer, token, s->text, (size_t)s->room);
}

/* The same of what is left at the end. */
COMMON_USED(__unused__)
static int speller_end(speller *s)
{
    return s->text ? wcoh_decoder_end(&s->decoder, s->text, (size_t)s->room) : 0;
}

COMMON_USED(__unused__)
static void writer_open(writer *w, wcoh_model *model, const wcoh_session_desc *desc,
                        const wcoh_sample_desc *sample)
{
    wcoh_error error;
    wcoh_session_desc listening = *desc;
    int start = wcoh_tokenizer_start(wcoh_model_tokenizer(model));
    memset(w, 0, sizeof *w);
    w->sample = *sample;
    listening.repetition_window = sample->repetition_window;
    if (start >= 0) {
        w->never.token = (uint32_t)start;
        w->never.bias = (float)-HUGE_VAL;
        w->sample.bias = &w->never;
        w->sample.bias_count = 1;
    }
    w->rng = wcoh_rng_seed(sample->seed);
    w->half = ((size_t)wcoh_model_get_desc(model)->context + 1) / 2;
    w->heard = (uint32_t *)malloc(w->half * sizeof *w->heard);
    if (!w->heard) fail(EXIT_FAILED, "no memory for %lu tokens", (unsigned long)w->half);
    must(wcoh_session_create(&w->session, model, &listening, &error), NULL, &error);
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

/* What a model hears before its first word: the start symbol, else the end of a line, else its first
   symbol. */
COMMON_USED(__unused__)
static uint32_t first_token(const wcoh_model *model)
{
    const wcoh_tokenizer *tokenizer = wcoh_model_tokenizer(model);
    uint32_t token = 0;
    if (wcoh_tokenizer_start(tokenizer) >= 0) return (uint32_t)wcoh_tokenizer_start(tokenizer);
    if (tokenizer && wcoh_tokenizer_encode(tokenizer, "\n", 1, &token, 1, NULL, NULL) < 0)
        token = 0;
    return token;
}

#endif

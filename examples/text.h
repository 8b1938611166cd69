/* Text that goes into and comes out of the example programs: sentences of failure, texts of any
   length, what a file holds made fit for a terminal, a file name, JSON or XML, lines of a file, and
   words of a list with the nearest one for a misspelt one. It needs nothing of the library
   (behind wavecoh.h it has the saving of files too) and is no part of it; common.h includes it.

   Text from a file is data: it goes through text_shown before it is printed, through text_file_name
   before it names a file. What the text_ functions make stays until the program ends; nobody frees
   it, and nothing is ever cut to fit.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef WAVECOH_EXAMPLES_TEXT_H
#define WAVECOH_EXAMPLES_TEXT_H

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define COMMON_USED(attribute) __attribute__((__unused__, attribute))
#else
#define COMMON_USED(attribute)
#endif

#if !defined(_WIN32) && defined(__STRICT_ANSI__) && !defined(__cplusplus) /* strict C99 hides it */
extern int fileno(FILE *file);
#endif

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* ---- the program ------------------------------------------------------------------------------- */

static const char *program_name = "example";

/* The first line of main. A standard stream that is closed gets a place that cannot be written to:
   else the next file opened would take its number, and with it all that is printed. */
COMMON_USED(__unused__)
static void program_begin(const char *name)
{
#ifndef _WIN32
    FILE *file;
    do file = fopen("/dev/null", "rb");
    while (file && fileno(file) < 3);
    if (file) fclose(file);
#endif
    program_name = name;
}

/* ---- memory until the end -------------------------------------------------------------------- */

typedef struct text_block {
    struct text_block *next;
} text_block;

static text_block *text_blocks; /* so that whoever looks for leaks sees that they are kept */

/* `size` bytes and a NUL behind them, for the rest of the program. */
static char *text_keep(size_t size)
{
    text_block *block = NULL;
    if (size < (size_t)-1 - sizeof *block) block = (text_block *)malloc(sizeof *block + size + 1);
    if (!block) {
        fprintf(stderr, "%s: no memory for a text of %lu bytes\n", program_name,
                (unsigned long)size);
        exit(EXIT_FAILED);
    }
    block->next = text_blocks;
    text_blocks = block;
    ((char *)(block + 1))[size] = 0;
    return (char *)(block + 1);
}

COMMON_USED(__format__(__printf__, 1, 0))
static char *text_made_of(const char *format, va_list arguments)
{
    va_list again;
    char *text;
    int length;
    va_copy(again, arguments);
    length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    text = text_keep(length > 0 ? (size_t)length : 0);
    if (length > 0) vsnprintf(text, (size_t)length + 1, format, arguments);
    return text;
}

/* What printf would print, whatever its length: paths, titles, labels. */
COMMON_USED(__format__(__printf__, 1, 2))
static char *text_made(const char *format, ...)
{
    va_list arguments;
    char *text;
    va_start(arguments, format);
    text = text_made_of(format, arguments);
    va_end(arguments);
    return text;
}

/* ---- characters ------------------------------------------------------------------------------ */

/* Bytes of the UTF-8 character that begins text [size], 1..4, and its code point; 0 where none
   does: a stray or missing byte, a longer form than needed, a surrogate, beyond U+10FFFF. */
static int utf8_length(const char *text, size_t size, unsigned long *point)
{
    static const unsigned long least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *bytes = (const unsigned char *)text;
    int length, i;
    if (size == 0) return 0;
    *point = bytes[0];
    if (bytes[0] < 0x80) return 1;
    length = bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : 2;
    if (bytes[0] < 0xc2 || bytes[0] > 0xf4 || (size_t)length > size) return 0;
    *point = bytes[0] & (0x7fu >> length);
    for (i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80) return 0;
        *point = *point << 6 | (bytes[i] & 0x3fu);
    }
    if (*point < least[length] || *point > 0x10ffff || (*point >= 0xd800 && *point < 0xe000))
        return 0;
    return length;
}

#define UTF8_BROKEN "\357\277\275" /* U+FFFD, what stands for bytes that are no character */

/* 1 for what steers a terminal or turns the order of letters round, and is seen by nobody. */
static int point_is_control(unsigned long point)
{
    return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x200e || point == 0x200f ||
           (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069) ||
           point == 0xfeff;
}

/* How one character [length] with its code point, or a broken byte (length 0), is written into
   `out`: returns the bytes there, at most 6 for each byte that came in. */
typedef int (*text_writer)(char *out, const char *in, int length, unsigned long point);

static char *text_written(text_writer write_one, const char *text, size_t size)
{
    char *made = text_keep(size < (size_t)-1 / 8 ? 6 * size + 8 : (size_t)-1);
    size_t used = 0, at = 0;
    while (at < size) {
        unsigned long point = 0;
        int length = utf8_length(text + at, size - at, &point);
        used += (size_t)write_one(made + used, text + at, length, point);
        at += length ? (size_t)length : 1;
    }
    made[used] = 0;
    return made;
}

static int write_copy(char *out, const char *in, int length)
{
    memcpy(out, in, (size_t)length);
    return length;
}

static int write_shown(char *out, const char *in, int length, unsigned long point)
{
    if (length == 0) return sprintf(out, "\\x%02x", (unsigned)(unsigned char)*in);
    if (!point_is_control(point)) return write_copy(out, in, length);
    return sprintf(out, point < 0x80 ? "\\x%02lx" : "\\u%04lx", point);
}

static int write_json(char *out, const char *in, int length, unsigned long point)
{
    if (length == 0) return write_copy(out, UTF8_BROKEN, 3);
    if (point == '"' || point == '\\') return sprintf(out, "\\%c", (int)point);
    if (point_is_control(point))
        return sprintf(out, "\\u%04lx", point); /* JSON goes to terminals too */
    return write_copy(out, in, length);
}

static int write_xml(char *out, const char *in, int length, unsigned long point)
{
    if (point == '&') return write_copy(out, "&amp;", 5);
    if (point == '<') return write_copy(out, "&lt;", 4);
    if (point == '>') return write_copy(out, "&gt;", 4);
    if (point == '"') return write_copy(out, "&quot;", 6);
    if (point == '\'') return write_copy(out, "&#39;", 5);
    if (length == 0 || point_is_control(point) || (point & 0xfffe) == 0xfffe)
        return write_copy(out, UTF8_BROKEN, 3); /* most of these no XML may hold, escaped or not */
    return write_copy(out, in, length);
}

static int write_file_name(char *out, const char *in, int length, unsigned long point)
{
    int i, used = 0, plain = point < 0x80 && strchr("-_.", (int)point) && point;
    plain |= (point >= '0' && point <= '9') || (point >= 'a' && point <= 'z') ||
             (point >= 'A' && point <= 'Z') || (point > 0xa0 && !point_is_control(point));
    if (length && plain) return write_copy(out, in, length);
    for (i = 0; i < (length ? length : 1); i++)
        used += sprintf(out + used, "%%%02x", (unsigned)(unsigned char)in[i]);
    return used;
}

/* For a terminal: escape sequences, other controls and broken UTF-8 stand as \x1b, \u202e, \xff. */
COMMON_USED(__unused__)
static char *text_shown(const char *text) { return text_written(write_shown, text, strlen(text)); }

/* Inside the quotes of a JSON string, or as text or attribute of XML: always valid UTF-8. */
COMMON_USED(__unused__)
static char *text_json(const char *text) { return text_written(write_json, text, strlen(text)); }

COMMON_USED(__unused__)
static char *text_xml(const char *text) { return text_written(write_xml, text, strlen(text)); }

/* As part of a file's name: letters, digits and "-_." stay, all else is %xx, so two names differ
   where the texts do. Long ones end in a hash instead. Never empty, never a hidden file. */
COMMON_USED(__unused__)
static char *text_file_name(const char *text)
{
    enum { LONGEST = 120, KEPT = 100 };
    char *name = text_written(write_file_name, text, strlen(text));
    unsigned long low = 0x811c9dc5ul, high = 0x9747b28cul; /* FNV-1a over two starts */
    size_t length = strlen(name), cut = KEPT;
    if (length == 0) return text_made("%%");
    if (*name == '.') name = text_made("%%2e%s", name + 1), length += 2;
    if (length <= LONGEST) return name;
    for (; *text; text++) {
        low = ((low ^ (unsigned char)*text) * 16777619ul) & 0xfffffffful;
        high = ((high ^ (unsigned char)*text) * 16777619ul) & 0xfffffffful;
    }
    while (((unsigned char)name[cut] & 0xc0) == 0x80) cut--;
    return text_made("%.*s~%08lx%08lx", (int)cut, name, high, low);
}

/* At most `most` characters (1 or more); where some had to go, the last one is "…". */
COMMON_USED(__unused__)
static char *text_shortened(const char *text, int most)
{
    size_t size = strlen(text), at = 0, cut = 0;
    int seen = 0;
    while (at < size) {
        unsigned long point;
        int length = utf8_length(text + at, size - at, &point);
        if (seen == most - 1) cut = at;
        if (seen++ == most) return text_made("%.*s\342\200\246", (int)cut, text);
        at += length ? (size_t)length : 1;
    }
    return text_made("%s", text);
}

/* ---- text on its way out --------------------------------------------------------------------- */

/* Text that comes byte by byte and leaves in whole characters. `tame`: controls but the ends of
   lines and tabs become U+FFFD too, for a terminal. All zero is the start. */
typedef struct text_flow {
    char held[4];
    int count, tame;
} text_flow;

/* 1 if more bytes can still make a character of what is held. */
static int flow_can_grow(const text_flow *flow)
{
    static const char low[] = {'\200', '\220', '\240', '\277'}; /* each kind of next byte */
    unsigned long point;
    char tried[4];
    int i, k;
    for (i = 0; i < 4 && flow->count < 4; i++) {
        memcpy(tried, flow->held, 4);
        for (k = flow->count; k < 4; k++) tried[k] = k == flow->count ? low[i] : '\200';
        for (k = flow->count + 1; k <= 4; k++)
            if (utf8_length(tried, (size_t)k, &point) == k) return 1;
    }
    return 0;
}

static void flow_character(const text_flow *flow, int length, unsigned long point, FILE *file)
{
    int control = point_is_control(point) && point != '\n' && point != '\t' && point != '\r';
    if (length == 0 || (flow->tame && control)) fwrite(UTF8_BROKEN, 1, 3, file);
    else fwrite(flow->held, 1, (size_t)length, file);
}

/* Write what is held as far as it is certain; `all`: to the last byte, no more will come. One mark
   stands for the bytes that could have begun a character. */
static void flow_out(text_flow *flow, int all, FILE *file)
{
    while (flow->count > 0) {
        unsigned long point = 0;
        int length = utf8_length(flow->held, (size_t)flow->count, &point), gone = length;
        int grows = length == 0 && flow_can_grow(flow);
        if (grows && !all) return;
        if (length == 0) gone = grows || flow->count == 1 ? flow->count : flow->count - 1;
        flow_character(flow, length, point, file);
        flow->count -= gone;
        memmove(flow->held, flow->held + gone, (size_t)flow->count);
    }
}

COMMON_USED(__unused__)
static void flow_write(text_flow *flow, const char *bytes, int count, FILE *file)
{
    int i;
    for (i = 0; i < count; i++) {
        flow->held[flow->count++] = bytes[i];
        flow_out(flow, 0, file);
    }
}

/* ---- failing --------------------------------------------------------------------------------- */

static void sentence(const char *text)
{
    fprintf(stderr, "%s: %s\n", program_name, text_shown(text));
}

/* One sentence on stderr, "train: ...". */
COMMON_USED(__format__(__printf__, 1, 2))
static void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    sentence(text_made_of(format, arguments));
    va_end(arguments);
}

/* What a program does in the place of that end, where it is one process of several. */
static void (*program_failed)(int status, const char *text);

/* One sentence and the end: EXIT_USAGE for a wrong command line, EXIT_FAILED for all else. */
COMMON_USED(__format__(__printf__, 2, 3))
static void fail(int status, const char *format, ...)
{
    const char *text;
    va_list arguments;
    va_start(arguments, format);
    text = text_made_of(format, arguments);
    va_end(arguments);
    if (program_failed) program_failed(status, text);
    sentence(text);
    exit(status);
}

static int stdout_reason; /* errno when it was first seen that something printed was lost */

/* 1 if everything printed so far has left the program. */
COMMON_USED(__unused__)
static int stdout_is_well(void)
{
    if (!stdout_reason && (fflush(stdout) || ferror(stdout))) stdout_reason = errno ? errno : EIO;
    return !stdout_reason;
}

COMMON_USED(__unused__)
static void stdout_check(void)
{
    if (!stdout_is_well()) fail(EXIT_FAILED, "cannot write to stdout: %s", strerror(stdout_reason));
}

/* ---- files of text --------------------------------------------------------------------------- */

/* How a sentence names a file; "-" is standard input. */
static const char *file_named(const char *path)
{
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

/* The whole file, with a NUL after its *size bytes; the caller frees it. Fails with a sentence. */
COMMON_USED(__unused__)
static char *file_read(const char *path, size_t *size)
{
    size_t capacity = 1 << 16, used = 0, got;
    char *text = (char *)malloc(capacity + 1);
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    path = file_named(path);
    if (!file) fail(EXIT_FAILED, "%s: cannot open it: %s", path, strerror(errno));
    while (text && (got = fread(text + used, 1, capacity - used, file)) > 0) {
        used += got;
        if (used < capacity) continue;
        capacity *= 2;
        text = (char *)realloc(text, capacity + 1);
    }
    if (!text) fail(EXIT_FAILED, "%s: no memory for %lu bytes", path, (unsigned long)capacity);
    if (ferror(file)) fail(EXIT_FAILED, "%s: cannot read it: %s", path, strerror(errno));
    if (file != stdin) fclose(file);
    if (used == 0) fail(EXIT_FAILED, "%s: the file is empty", path);
    text[used] = 0;
    *size = used;
    return text;
}

/* Bytes of the mark that some editors put before a text. UTF-16 is refused: it is another text. */
COMMON_USED(__unused__)
static size_t text_mark(const char *path, const char *text, size_t size)
{
    if (size >= 2 && (memcmp(text, "\377\376", 2) == 0 || memcmp(text, "\376\377", 2) == 0))
        fail(EXIT_FAILED, "%s: it is a text in UTF-16; save it as UTF-8", file_named(path));
    return size >= 3 && memcmp(text, "\357\273\277", 3) == 0 ? 3 : 0;
}

/* The lines of a small file of text: line i of the file is [i - 1], blank ones too, without the
   ends of lines (LF or CR LF, missing after the last one or not) and without a byte-order mark. A
   NUL is refused. Kept until the program ends. */
COMMON_USED(__unused__)
static char **file_lines(const char *path, size_t *count)
{
    size_t size, i, line = 0, from;
    char *read = file_read(path, &size), *text = text_keep(size), **lines;
    memcpy(text, read, size);
    free(read);
    from = text_mark(path, text, size);
    for (i = from, *count = 0; i < size; i++) *count += text[i] == '\n' || i + 1 == size;
    if (*count >= (size_t)-1 / sizeof *lines)
        fail(EXIT_FAILED, "%s: too many lines", file_named(path));
    lines = (char **)(void *)text_keep((*count + 1) * sizeof *lines);
    for (i = from; i < size; i++) {
        if (i == from || text[i - 1] == 0) lines[line++] = text + i;
        if (text[i] == 0)
            fail(EXIT_FAILED, "%s: line %lu has a NUL byte: it is no text", file_named(path),
                 (unsigned long)line);
        if (text[i] != '\n') continue;
        if (i > from && text[i - 1] == '\r') text[i - 1] = 0;
        text[i] = 0;
    }
    return lines;
}

/* ---- words of a list ------------------------------------------------------------------------- */

/* Letters as they are compared: '-' and '_' are one, and so are a capital and its small letter. */
static char word_letter(char c)
{
    return c == '_' ? '-' : c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Letters to change, insert, leave out or swap with their neighbour until a [m] is b [n]; words
   beyond 40 letters are far from all. */
static int word_distance(const char *a, size_t m, const char *b, size_t n)
{
    enum { MOST = 40 };
    int rows[3][MOST + 1], *last = rows[0], *row = rows[1], *next = rows[2], *spare;
    size_t i, j;
    if (m > MOST || n > MOST) return 1000;
    for (j = 0; j <= n; j++) row[j] = (int)j;
    for (i = 1; i <= m; i++) {
        next[0] = (int)i;
        for (j = 1; j <= n; j++) {
            char x = word_letter(a[i - 1]), y = word_letter(b[j - 1]);
            int best = row[j - 1] + (x != y);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (next[j - 1] + 1 < best) best = next[j - 1] + 1;
            if (i > 1 && j > 1 && x == word_letter(b[j - 2]) && word_letter(a[i - 2]) == y &&
                last[j - 2] + 1 < best)
                best = last[j - 2] + 1;
            next[j] = best;
        }
        spare = last, last = row, row = next, next = spare;
    }
    return row[n];
}

/* The nearest of the words shown to it, for "did you mean ..?" */
typedef struct word_guess {
    const char *given; /* [length] */
    size_t length;
    const char *nearest; /* [nearest_length], or NULL: none is near */
    size_t nearest_length;
    int distance;
} word_guess;

static void guess_try(word_guess *guess, const char *word, size_t length)
{
    int distance = word_distance(guess->given, guess->length, word, length);
    int limit = guess->length < 4 ? 1 : guess->length < 9 ? 2 : 3;
    if (guess->length >= 3 && guess->length < length && /* its beginning is near too */
        word_distance(guess->given, guess->length, word, guess->length) == 0)
        distance = 1;
    if (distance > limit || distance >= (int)guess->length) return;
    if (guess->nearest && distance >= guess->distance) return;
    guess->nearest = word;
    guess->nearest_length = length;
    guess->distance = distance;
}

/* "; did you mean --stream?", or ""; `dashes` is "--" before options, whose '_' are shown as '-'. */
static const char *guess_text(const word_guess *guess, const char *dashes)
{
    char *word;
    size_t i;
    if (!guess->nearest) return "";
    word = text_made("%.*s", (int)guess->nearest_length, guess->nearest);
    for (i = 0; *dashes && word[i]; i++)
        if (word[i] == '_') word[i] = '-';
    return text_made("; did you mean %s%s?", dashes, word);
}

static void guess_list(word_guess *guess, const char *words)
{
    while (*(words += strspn(words, " "))) {
        size_t length = strcspn(words, " ");
        guess_try(guess, words, length);
        words += length;
    }
}

/* The place, from 0, of `given` in the blank-separated `words`, or -1. */
static int word_find(const char *given, const char *words)
{
    size_t size = strlen(given);
    int index = 0;
    for (; *(words += strspn(words, " ")); index++) {
        size_t length = strcspn(words, " ");
        if (length == size && word_distance(given, size, words, length) == 0) return index;
        words += length;
    }
    return -1;
}

/* Word `index` of the list, "" beyond its end. */
COMMON_USED(__unused__)
static const char *word_at(const char *words, int index)
{
    words += strspn(words, " ");
    for (; index > 0 && *words; index--) {
        words += strcspn(words, " ");
        words += strspn(words, " ");
    }
    return text_made("%.*s", (int)strcspn(words, " "), words);
}

/* 1 if the blank-separated `words` hold exactly that word. */
COMMON_USED(__unused__)
static int word_stands(const char *words, const char *word)
{
    size_t size = strlen(word);
    while (*(words += strspn(words, " "))) {
        size_t length = strcspn(words, " ");
        if (length == size && memcmp(words, word, size) == 0) return 1;
        words += length;
    }
    return 0;
}

/* word_find where it must be there: "--score is "resonace": allowed are cosine resonance; did you
   mean resonance?" ends the program. `what` is the option with its dashes. */
COMMON_USED(__unused__)
static int word_choose(const char *what, const char *given, const char *words)
{
    word_guess guess;
    int index = word_find(given, words);
    if (index >= 0) return index;
    memset(&guess, 0, sizeof guess);
    guess.given = given;
    guess.length = strlen(given);
    guess_list(&guess, words);
    fail(EXIT_USAGE, "%s is \"%s\": allowed are %s%s", what, given, words, guess_text(&guess, ""));
    return -1;
}

#ifdef WAVECOH_H
/* Save what a program keeps beside models with a model's care, or end with a sentence. */
COMMON_USED(__unused__)
static void file_save(const char *path, const void *bytes, size_t size)
{
    wcoh_error error;
    if (wcoh_path_save(path, bytes, size, &error) < 0)
        fail(EXIT_FAILED, "cannot write %s", error.text);
}
#endif

#endif

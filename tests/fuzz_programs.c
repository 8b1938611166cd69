/* Fuzzer of the example programs with every text and file that they read: logs (plot), names and
   pairs (embed_report), maps and weights of any file (inspect), texts, and logs that go on (train),
   plans and finished runs (compare), checkpoints of other programs (convert).
   A whole program runs on each input: it ends with a status of its own, a failure is one sentence, its
   JSON is whole, its pictures are XML, everything printed is UTF-8 that steers no terminal.
   clang -g -O1 -fsanitize=fuzzer,address,undefined -DPLOT -DFUZZ=use_plot -o fuzz tests/fuzz_programs.c -lm
   -DREPORT -DFUZZ=use_names (or use_pairs), -DINSPECT -DFUZZ=use_maps (or use_weights), -DTRAIN
   -DFUZZ=use_text (or use_log), -DCOMPARE -DFUZZ=use_plan (or use_runs), -DCONVERT
   -DFUZZ=use_engine: those with -lpthread
   ./fuzz -max_len=4000 -max_total_time=60                 in a folder of its own: it writes files there
   Without -DFUZZ: cc -DPLOT -o once tests/fuzz_programs.c -lm && ./once -t 60 plot a.csv (or FILE ..) */
#define _POSIX_C_SOURCE 200809L /* open_memstream */
#define _XOPEN_SOURCE 700       /* realpath */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>
#ifndef PLOT
#include <pthread.h>
#endif

/* ---- what a program takes and leaves: memory, files, output --------------------------------------- */

enum { BLOCKS = 1 << 18, FILES = 64 };

static void *fuzz_blocks[BLOCKS]; /* not yet freed */
static size_t block_count;

static void *kept(void *memory)
{
    REQUIRE(block_count < BLOCKS);
    if (memory) fuzz_blocks[block_count++] = memory;
    return memory;
}

/* 1 if it was one of those. */
static int forgotten(const void *memory)
{
    size_t i;
    for (i = block_count; i > 0; i--)
        if (fuzz_blocks[i - 1] == memory) {
            fuzz_blocks[i - 1] = fuzz_blocks[--block_count];
            return 1;
        }
    return 0;
}

static void *program_malloc(size_t size) { return size < 1u << 28 ? kept(malloc(size)) : NULL; }

FUZZ_UNUSED static void *program_calloc(size_t count, size_t size)
{
    return !size || count < (1u << 28) / size ? kept(calloc(count, size)) : NULL;
}

static void *program_realloc(void *memory, size_t size)
{
    void *longer = size < 1u << 28 ? realloc(memory, size) : NULL;
    if (longer) {
        if (memory) forgotten(memory);
        kept(longer);
    }
    return longer;
}

static void program_free(void *memory)
{
    if (memory) forgotten(memory); /* realpath's are none of ours */
    free(memory);
}

/* A picture goes into memory, and is looked at when it is closed. */
typedef struct program_file {
    FILE *file;
    char *text; /* of what is written; NULL: the file is read */
    size_t size;
} program_file;

static program_file opened[FILES];
static char *out_text, *err_text;
static size_t out_size, err_size;
static FILE *program_out, *program_err;

static FILE *program_open(const char *path, const char *mode)
{
    int i = 0, picture = strlen(path) > 4 && !strcmp(path + strlen(path) - 4, ".svg");
    while (i < FILES && opened[i].file) i++;
    REQUIRE(i < FILES);
    opened[i].text = NULL;
    opened[i].file = picture ? open_memstream(&opened[i].text, &opened[i].size) : fopen(path, mode);
    return opened[i].file;
}

static int is_plain_text(const char *text, size_t size);
static int is_xml(const char *text);

static int program_close(FILE *file)
{
    int i = 0, result;
    while (i < FILES && opened[i].file != file) i++;
    REQUIRE(i < FILES);
    result = fclose(file);
    if (opened[i].text)
        REQUIRE(is_plain_text(opened[i].text, opened[i].size) && is_xml(opened[i].text));
    free(opened[i].text);
    opened[i].file = NULL;
    return result;
}

static jmp_buf program_end;
#define exit(status) longjmp(program_end, 1 + (status))
#define malloc(size) program_malloc(size)
#define calloc(count, size) program_calloc(count, size)
#define realloc(memory, size) program_realloc(memory, size)
#define free(memory) program_free(memory)
#define fopen(path, mode) program_open(path, mode)
#define fclose(file) program_close(file)
#define printf(...) fprintf(program_out, __VA_ARGS__)
#define putchar(c) fputc(c, program_out)
#undef stdout
#undef stderr
#define stdout program_out
#define stderr program_err
#define main program_main
#ifdef PLOT
#include "../examples/plot.c"
#elif defined(REPORT)
#include "../examples/embed_report.c"
#elif defined(INSPECT)
#include "../examples/inspect.c"
#elif defined(TRAIN)
#include "../examples/train.c"
#elif defined(COMPARE)
#include "../examples/compare.c"
#elif defined(CONVERT)
#include "../examples/convert.c"
#endif
#undef main
#undef stdout
#undef stderr
#undef printf
#undef fclose
#undef fopen
#undef free
#undef exit
extern FILE *stderr;

/* ---- what must hold of all that is printed --------------------------------------------------------- */

static int is_plain_text(const char *text, size_t size)
{
    size_t at = 0;
    while (at < size) {
        unsigned long point;
        int length = utf8_length(text + at, size - at, &point);
        if (!length || (point_is_control(point) && point != '\n' && point != '\r' && point != '\t'))
            return 0;
        at += (size_t)length;
    }
    return 1;
}

/* Tags open and close in pairs, attributes are quoted, '&' begins a reference. */
FUZZ_UNUSED static int is_xml(const char *text)
{
    const char *open[64];
    int depth = 0;
    if (!strncmp(text, "<?", 2)) text = strstr(text, "?>") + 2;
    for (; *text; text++) {
        const char *name = text + 1, *end;
        if (*text == '&' && !strchr("alqg#", text[1])) return 0;
        if (*text == '>') return 0;
        if (*text != '<') continue;
        for (end = name; *end && *end != '>'; end++)
            if (*end == '<' || (*end == '"' && !(end = strpbrk(end + 1, "\"<"))) || *end == '<')
                return 0;
        if (!*end) return 0;
        if (*name == '/') {
            size_t size = (size_t)(end - name) - 1;
            if (depth == 0 || strncmp(open[--depth], name + 1, size)) return 0;
        } else if (end[-1] != '/') {
            if (depth == 64) return 0;
            open[depth++] = name;
        }
        text = end;
    }
    return depth == 0;
}

/* Brackets pair outside strings, and something stands there. */
FUZZ_UNUSED static int is_json(const char *text)
{
    char open[64];
    int depth = 0, any = 0;
    for (; *text; text++) {
        if (*text == '"') {
            for (text++; *text && *text != '"'; text++)
                if ((unsigned char)*text < 0x20 || (*text == '\\' && !*++text)) return 0;
            if (!*text) return 0;
        } else if (*text == '{' || *text == '[') {
            if (depth == 64) return 0;
            open[depth++] = *text == '{' ? '}' : ']';
            any = 1;
        } else if (*text == '}' || *text == ']') {
            if (!depth || open[--depth] != *text) return 0;
        } else if (!strncmp(text, "nan", 3) || !strncmp(text, "inf", 3)) {
            return 0; /* no numbers of JSON */
        }
    }
    return any && !depth;
}

static void output_open(void)
{
    program_out = open_memstream(&out_text, &out_size);
    program_err = open_memstream(&err_text, &err_size);
    REQUIRE(program_out && program_err);
}

/* All that a program that was left in the middle had open. */
static void leave(int first_handle)
{
    int i;
    for (i = 0; i < FILES; i++) {
        if (!opened[i].file) continue;
        fclose(opened[i].file);
        free(opened[i].text);
        opened[i].file = NULL;
    }
    while (block_count > 0) free(fuzz_blocks[--block_count]);
    text_blocks = NULL;
#ifdef WAVECOH_EXAMPLES_PLOT_H
    plot_all_written = NULL;
#endif
    for (i = first_handle; i < first_handle + 16; i++) close(i);
}

/* Run the program; returns its exit status. `json`: that is what it prints. */
static int run_program(int count, char **words, int json)
{
    int handle = dup(0), status;
    close(handle);
    output_open();
    status = setjmp(program_end);
    if (status) status--;
    else status = program_main(count, words);
    fclose(program_out);
    fclose(program_err);
    if (getenv("FUZZ_TELL")) fprintf(stderr, "%d\n%s%s", status, out_text, err_text);
    REQUIRE(status >= 0 && status <= 2);
    REQUIRE(is_plain_text(err_text, err_size) && is_plain_text(out_text, out_size));
    REQUIRE(status == 0 || (err_size > 0 && err_text[err_size - 1] == '\n'));
    REQUIRE(status != 0 || !json || is_json(out_text));
    leave(handle);
    free(out_text);
    free(err_text);
    return status;
}

FUZZ_UNUSED static void write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    REQUIRE(file && fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

/* A .npy file of [rows, columns] numbers. */
FUZZ_UNUSED static void write_vectors(const char *path, int rows_of, int columns)
{
    char file[4096];
    float value;
    int i, at = 128;
    memset(file, ' ', sizeof file);
    memcpy(file, "\223NUMPY\001\000\166\000", 10);
    at = 10 + sprintf(file + 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }",
                      rows_of, columns);
    file[at] = ' ';
    file[127] = '\n';
    for (i = 0, at = 128; i < rows_of * columns; i++, at += 4) {
        value = (float)((i * 7919 + 13) % 101 - 50);
        memcpy(file + at, &value, 4);
    }
    write_file(path, file, (size_t)at);
}

/* ---- the programs ---------------------------------------------------------------------------------- */

#ifdef PLOT

/* As a whole log, and as the rows below a head that is right. */
static void use_plot(const uint8_t *data, size_t size)
{
    static const char head[] = "step,train,val,lr,grad_norm,tokens,seconds\n";
    static char text[1 << 17];
    char *words[] = {"plot", "fuzz", "fuzz.csv", NULL};
    if (size + sizeof head > sizeof text) return;
    write_file("fuzz.csv", data, size);
    run_program(3, words, 0);
    memcpy(text, head, sizeof head - 1);
    memcpy(text + sizeof head - 1, data, size);
    write_file("fuzz.csv", text, size + sizeof head - 1);
    run_program(3, words, 0);
}

FUZZ_UNUSED static const fuzz_target targets[] = {{"plot", use_plot}};

#elif defined(REPORT)

static void report(const char *what, const char *path, int json)
{
    char *words[] = {"embed_report",
                     "fuzz.npy",
                     "--draws",
                     "2",
                     "--plots",
                     "fuzz",
                     "--threads",
                     "1",
                     (char *)(uintptr_t)what,
                     (char *)(uintptr_t)path,
                     json ? "--json" : "--list",
                     NULL};
    run_program(11, words, json);
}

/* As the names of as many rows as they have lines. */
static void use_names(const uint8_t *data, size_t size)
{
    size_t i, rows_of = size && data[size - 1] != '\n';
    for (i = 0; i < size; i++) rows_of += data[i] == '\n';
    write_vectors("fuzz.npy", rows_of < 2 ? 2 : rows_of > 100 ? 100 : (int)rows_of, 5);
    write_file("fuzz.txt", data, size);
    report("--names", "fuzz.txt", size % 2);
}

static void use_pairs(const uint8_t *data, size_t size)
{
    write_vectors("fuzz.npy", 12, 8);
    write_file("fuzz.txt", data, size);
    report("--pairs", "fuzz.txt", size % 2);
}

FUZZ_UNUSED static const fuzz_target targets[] = {{"names", use_names}, {"pairs", use_pairs}};

#elif defined(INSPECT)

/* The last byte chooses options. */
static void inspect(const char *what, const uint8_t *data, size_t size, int maps)
{
    char *words[] = {
        "inspect", (char *)(uintptr_t)what, "fuzz.st", "--plots", "fuzz", "--json", "--causal",
        NULL};
    int options = size ? data[size - 1] % 4 : 0;
    write_file("fuzz.st", data, size);
    if (!(options & 1)) words[5] = words[6];
    run_program(options == 0            ? 5
                : options == 3 && maps  ? 7
                : options == 2 && !maps ? 5
                                        : 6,
                words, options & 1);
}

static void use_maps(const uint8_t *data, size_t size) { inspect("--maps", data, size, 1); }

static void use_weights(const uint8_t *data, size_t size) { inspect("--weights", data, size, 0); }

FUZZ_UNUSED static const fuzz_target targets[] = {{"maps", use_maps}, {"weights", use_weights}};

#elif defined(TRAIN)

/* A text of any bytes, the last of which chooses alphabet and unknown letters. */
static void use_text(const uint8_t *data, size_t size)
{
    static char *kinds[] = {"auto", "bytes", "chars", "chars+bytes"};
    char *words[] = {"train",
                     "--data",
                     "fuzz.txt",
                     "--out",
                     "fuzz.safetensors",
                     "--bands",
                     "2",
                     "--heads",
                     "1",
                     "--layers",
                     "1",
                     "--maestro",
                     "1",
                     "--batch",
                     "1",
                     "--seq",
                     "2",
                     "--steps",
                     "2",
                     "--threads",
                     "1",
                     "--eval-batches",
                     "1",
                     "--sample",
                     "9",
                     "--tokenizer",
                     "auto",
                     "--start",
                     NULL};
    int last = size ? data[size - 1] : 0, count = 27 + last / 4 % 2;
    words[26] = kinds[last % 4];
    remove("fuzz.safetensors");
    remove("fuzz.best.safetensors");
    write_file("fuzz.txt", data, size);
    run_program(count, words, 0);
}

/* A log of any bytes is cut to whole rows of steps that rise, and nothing else of it changes. */
static void use_log(const uint8_t *data, size_t size)
{
    static const char head[] = LOG_HEAD "\n";
    static char text[1 << 17];
    size_t length = sizeof head - 1 + size, kept_size;
    if (length >= sizeof text) return;
    memcpy(text, head, sizeof head - 1);
    memcpy(text + sizeof head - 1, data, size);
    text[length] = 0;
    kept_size = log_kept(text, length, size ? data[0] : 0);
    REQUIRE(kept_size >= sizeof head - 1 && kept_size <= length && text[kept_size - 1] == '\n');
    text[kept_size] = 0;
    REQUIRE(log_kept(text, kept_size, size ? data[0] : 0) == kept_size);
}

FUZZ_UNUSED static const fuzz_target targets[] = {{"text", use_text}, {"log", use_log}};

#elif defined(COMPARE)

static void compare_files(void)
{
    char *words[] = {"compare", "fuzz.plan", "--csv", "fuzz.runs",
                     "--data",  "fuzz.txt",  "--dry", NULL};
    write_file("fuzz.txt", "the calm and the rough sea, and then the calm one again, and again",
               66);
    run_program(7, words, 0);
}

static void use_plan(const uint8_t *data, size_t size)
{
    remove("fuzz.runs");
    write_file("fuzz.plan", data, size);
    compare_files();
}

/* Rows below a head that is right. */
static void use_runs(const uint8_t *data, size_t size)
{
    static const char lines[] = "budget steps 3\nseeds 1 2\nall: --batch 1 --seq 4 --layers 1\na: "
                                "--bands 8\nb: --bands 16 --lr 0.1\n";
    static char text[1 << 17];
    if (size + sizeof CSV_HEAD > sizeof text - 2) return;
    write_file("fuzz.plan", lines, sizeof lines - 1);
    memcpy(text, CSV_HEAD "\n", sizeof CSV_HEAD);
    memcpy(text + sizeof CSV_HEAD, data, size);
    write_file("fuzz.runs", text, sizeof CSV_HEAD + size);
    compare_files();
}

FUZZ_UNUSED static const fuzz_target targets[] = {{"plan", use_plan}, {"runs", use_runs}};

#elif defined(CONVERT)

/* What was read is a model that is written back; of a file that was cut nothing is. */
static void convert_both_ways(const uint8_t *data, size_t size, int moments)
{
    char *there[] = {"convert", "fuzz.kchk", "fuzz.st", "--moments", NULL};
    char *back[] = {"convert", "fuzz.st", "fuzz.back", NULL};
    int status;
    write_file("fuzz.kchk", data, size);
    remove("fuzz.st");
    remove("fuzz.back");
    status = run_program(3 + moments, there, 0);
    REQUIRE(!fuzz_is_cut || status == 1);
    if (status == 0) run_program(3, back, 0);
}

static void use_engine(const uint8_t *data, size_t size) { convert_both_ways(data, size, 0); }

static void use_moments(const uint8_t *data, size_t size) { convert_both_ways(data, size, 1); }

FUZZ_UNUSED static const fuzz_target targets[] = {{"engine", use_engine}, {"moments", use_moments}};

#endif

#ifndef FUZZ
int main(int argc, char **argv)
{
    return fuzz_main(targets, (int)(sizeof targets / sizeof *targets), argc, argv);
}
#endif

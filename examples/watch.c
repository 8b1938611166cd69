/* Marks the lines of a stream that surprise a network which learns the stream as it comes.
   cc -O2 examples/watch.c -o watch -lm -lpthread
   journalctl -f | ./watch                      lines that surprise it, and what in them does
   ./watch < app.log --save app.watch           leaves what it has learnt; --load app.watch goes on
   ./watch --measure                            a log made by a rule, with planted lines

   A line is a sequence of bytes. The network foresees each from those before it in its line, and a
   byte is odd by so many bits as it surprises the network more than that expects to be surprised
   (-log2 p, less the entropy of what was foreseen: the digits of a random number are not odd).
   Beside the network there are counts of what stood at the byte's place (places.h), and bits of the
   same kind by them: they forget nothing that a step of learning would, the network hears more than
   one word. A byte is as odd as the mean of both, a line as odd as its oddest byte, and it is
   marked where that is far above what is usual: above Q95 + margin max(Q95 - Q50, 2.5 bits) of the
   last lines (running quantiles, in which the last 1,000 lines or so weigh most). Then the line is
   counted, and the network learns: the line goes into a ring of those last seen
   (wcoh_trainer_feed), from which each step draws eight.

   Time a line and memory are bounded: of a longer line the first 1,000 bytes are heard.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"

#include "common.h"
#include "places.h"
#include "statistics.h"

#ifndef _WIN32
#include <poll.h>
#endif

enum {
    HEARD = 1000,     /* bytes of a line */
    REPLAY = 1 << 18, /* tokens in the ring */
    EAGER = 2000,     /* lines with a step each; later every fourth has one */
    BINS = 300,       /* of surprises, a tenth of a bit each */
    USUAL = 1000      /* lines after which a surprise weighs 1/e in the quantiles */
};

static const double RATE = 0.004, RATE_HALVES = 1000, SPREAD_LEAST = 2.5;

/* ---- the watcher --------------------------------------------------------------------------------- */

typedef struct watcher {
    wcoh_model *model;
    wcoh_trainer *trainer;
    wcoh_session *session;
    places *seen;
    double bins[BINS], weight; /* surprises of lines, and their sum */
    double lines, marked;      /* whole numbers: 2^53 lines and no more */
    double margin, quiet;
    uint32_t tokens[HEARD + 2]; /* an end of line, the line, and its end */
} watcher;

/* Who finds a byte odd. */
enum { BY_NETWORK, BY_PLACES, BY_BOTH, JUDGES };

/* What a line was to the watcher. */
typedef struct verdict {
    double bits[JUDGES], limit; /* of its oddest byte; above which it is marked, by both */
    int at;                     /* that byte; the line's length stands for its end */
    int marked;
} verdict;

static void watcher_listen(watcher *w)
{
    wcoh_session_desc listening;
    wcoh_error error;
    memset(&listening, 0, sizeof listening);
    listening.gain = 12;
    must(wcoh_session_create(&w->session, w->model, &listening, &error), NULL, &error);
}

static watcher *watcher_new(double margin, double quiet)
{
    watcher *w = (watcher *)calloc(1, sizeof *w);
    if (w) w->seen = (places *)malloc(sizeof *w->seen);
    if (!w || !w->seen) fail(EXIT_FAILED, "no memory for a watcher");
    places_open(w->seen);
    w->margin = margin;
    w->quiet = quiet;
    return w;
}

static watcher *watcher_open(double margin, double quiet, uint64_t seed)
{
    watcher *w = watcher_new(margin, quiet);
    wcoh_model_desc model = wcoh_model_preset(WCOH_PRESET_WAVE_1, 256);
    wcoh_trainer_desc training;
    wcoh_error error;
    memset(&training, 0, sizeof training);
    model.bands = 24, model.layers = 2, model.heads = 4, model.maestro = 8, model.seed = seed;
    training.batch = 8, training.seq = 64, training.steps = -1, training.seed = seed;
    training.lr = RATE, training.warmup = 20, training.replay = REPLAY;
    training.cpu.threads = 1;
    must(wcoh_model_create(&w->model, &model, &error), NULL, &error);
    must(wcoh_trainer_create(&w->trainer, w->model, &training, &error), NULL, &error);
    watcher_listen(w);
    return w;
}

static void watcher_close(watcher *w)
{
    wcoh_session_destroy(w->session);
    wcoh_trainer_destroy(w->trainer);
    wcoh_model_destroy(w->model);
    free(w->seen);
    free(w);
}

/* The surprise below which that share of the lines was. */
static double quantile(const watcher *w, double share)
{
    double sum = 0, wanted = share * w->weight;
    int i;
    for (i = 0; i < BINS - 1 && sum + w->bins[i] < wanted; i++) sum += w->bins[i];
    return 0.1 * (i + (w->bins[i] > 0 ? (wanted - sum) / w->bins[i] : 0));
}

static void quantile_add(watcher *w, double bits)
{
    int i, bin = bits < 0.1 * (double)BINS ? (int)(10 * bits) : BINS - 1;
    for (i = 0; i < BINS; i++) w->bins[i] *= 1 - 1.0 / (double)USUAL;
    w->weight = w->weight * (1 - 1.0 / (double)USUAL) + 1;
    w->bins[bin] += 1;
}

static void watcher_learn(watcher *w, size_t count)
{
    wcoh_error error;
    char rate[32];
    must(wcoh_trainer_feed(w->trainer, w->tokens, count, &error), NULL, &error);
    wcoh_trainer_feed_end(w->trainer);
    if (w->lines >= (double)EAGER && fmod(w->lines, 4) != 0) return;
    if (fmod(w->lines, 100) == 0) {
        sprintf(rate, "%.6g", RATE / sqrt(1 + w->lines / RATE_HALVES));
        must(wcoh_trainer_set(w->trainer, "lr", rate, &error), NULL, &error);
    }
    must(wcoh_trainer_step(w->trainer, NULL, &error), NULL, &error);
}

/* Bits by which `token` surprises more than the network expects to be surprised: -log2 p(token) - H,
   where H is the entropy of what it foresees. Where it knows that anything may come, nothing is odd. */
static double excess(const wcoh_real *logits, uint32_t token)
{
    double high = logits[0], sum = 0, mean = 0;
    int i;
    for (i = 1; i < 256; i++)
        if (logits[i] > high) high = logits[i];
    for (i = 0; i < 256; i++) {
        double p = exp(logits[i] - high);
        sum += p;
        mean += p * logits[i];
    }
    return (mean / sum - logits[token]) / log(2.0);
}

/* The most surprising byte of w->tokens [count] after the first. */
static void watcher_listens(watcher *w, size_t count, verdict *v)
{
    place_cursor cursor;
    wcoh_error error;
    size_t i;
    int k;
    memset(&cursor, 0, sizeof cursor);
    wcoh_session_reset(w->session);
    for (i = 1; i < count; i++) {
        unsigned char byte = (unsigned char)w->tokens[i];
        double bits[JUDGES];
        must(wcoh_session_step(w->session, w->tokens[i - 1], &error), NULL, &error);
        bits[BY_NETWORK] = excess(wcoh_session_logits(w->session), byte);
        bits[BY_PLACES] = place_excess(w->seen, place_key(&cursor), byte);
        bits[BY_BOTH] = (fmax(bits[BY_NETWORK], 0) + fmax(bits[BY_PLACES], 0)) / 2;
        if (bits[BY_BOTH] > v->bits[BY_BOTH]) v->at = (int)i - 1;
        for (k = 0; k < JUDGES; k++) v->bits[k] = fmax(v->bits[k], bits[k]);
        place_pass(&cursor, byte);
    }
}

/* The same bytes, counted at their places. */
static void watcher_counts(watcher *w, size_t count)
{
    place_cursor cursor;
    size_t i;
    memset(&cursor, 0, sizeof cursor);
    for (i = 1; i < count; i++) {
        place_count(w->seen, place_key(&cursor), (unsigned char)w->tokens[i]);
        place_pass(&cursor, (unsigned char)w->tokens[i]);
    }
}

/* A line [length], its end not in it: what it is, and learn it. */
static verdict watcher_hear(watcher *w, const char *line, size_t length)
{
    double high = quantile(w, 0.95), spread = fmax(high - quantile(w, 0.5), SPREAD_LEAST);
    size_t i;
    verdict v;
    if (length > HEARD) length = HEARD;
    w->tokens[0] = '\n';
    for (i = 0; i < length; i++) w->tokens[i + 1] = (unsigned char)line[i];
    w->tokens[length + 1] = '\n';
    memset(&v, 0, sizeof v);
    watcher_listens(w, length + 2, &v);
    v.limit = high + w->margin * spread;
    v.marked = w->lines >= w->quiet && v.bits[BY_BOTH] > v.limit;
    w->lines++;
    w->marked += v.marked;
    quantile_add(w, v.bits[BY_BOTH]);
    watcher_counts(w, length + 2);
    watcher_learn(w, length + 2);
    return v;
}

/* ---- saving: a line with the watcher's own figures, its places, then the trainer's checkpoint ------ */

static const char first_words[] = "wavecoh watch 2";

static void watcher_save(watcher *w, const char *path)
{
    wcoh_memory_file file;
    wcoh_error error;
    wcoh_io io;
    size_t room = 64 + 32 * (size_t)(BINS + 3) + places_room(w->seen), used;
    int i;
    memset(&file, 0, sizeof file);
    file.capacity = room + wcoh_trainer_file_size(w->trainer);
    file.data = (unsigned char *)malloc(file.capacity);
    if (!file.data) fail(EXIT_FAILED, "%s: no memory for it", path);
    used = (size_t)sprintf((char *)file.data, "%s %.0f %.0f %.17g", first_words, w->lines,
                           w->marked, w->weight);
    for (i = 0; i < BINS; i++)
        used += (size_t)sprintf((char *)file.data + used, " %.17g", w->bins[i]);
    file.data[used++] = '\n';
    used += places_write(w->seen, (char *)file.data + used);
    file.used = 0;
    file.data += used;
    file.capacity -= used;
    io = wcoh_io_memory(&file);
    must(wcoh_trainer_save(w->trainer, &io, &error), path, &error);
    file.data -= used;
    file_save(path, file.data, used + file.used);
    free(file.data);
}

/* Numbers of the first line, then the places. Returns what stands behind them, or NULL where they are not
   what watcher_save writes. */
static const char *watcher_figures(watcher *w, const char *text)
{
    double figures[3 + BINS];
    char *end;
    int i;
    for (i = 0; i < 3 + BINS; i++, text = end) {
        if (*text != ' ' || !((text[1] >= '0' && text[1] <= '9'))) return NULL;
        figures[i] = strtod(text, &end);
        if (!(figures[i] >= 0 && figures[i] < 9e15)) return NULL;
    }
    w->lines = floor(figures[0]), w->marked = floor(figures[1]), w->weight = figures[2];
    memcpy(w->bins, figures + 3, sizeof w->bins);
    return *text == '\n' ? places_read(w->seen, text + 1) : NULL;
}

static watcher *watcher_load(const char *path, double margin, double quiet)
{
    watcher *w = watcher_new(margin, quiet);
    wcoh_trainer_desc training;
    wcoh_memory_file file;
    wcoh_error error;
    wcoh_io io;
    size_t size, opening = strlen(first_words);
    char *text = file_read(path, &size);
    const char *rest =
        strncmp(text, first_words, opening) ? NULL : watcher_figures(w, text + opening);
    if (!rest) fail(EXIT_FAILED, "%s: it is no file of this program", path);
    memset(&file, 0, sizeof file);
    file.data = (unsigned char *)text + (rest - text);
    file.used = size - (size_t)(rest - text);
    io = wcoh_io_memory(&file);
    must(wcoh_model_load(&w->model, &io, NULL, &error), path, &error);
    if (wcoh_model_get_desc(w->model)->vocab != 256)
        fail(EXIT_FAILED, "%s: its model does not hear bytes", path);
    must(wcoh_trainer_read_desc(&training, &io, &error), path, &error);
    training.cpu.threads = 1;
    if (training.replay != REPLAY) fail(EXIT_FAILED, "%s: its trainer has no such ring", path);
    must(wcoh_trainer_create(&w->trainer, w->model, &training, &error), path, &error);
    must(wcoh_trainer_resume(w->trainer, &io, &error), path, &error);
    watcher_listen(w);
    free(text);
    return w;
}

/* ---- lines that come ------------------------------------------------------------------------------ */

/* The first HEARD bytes of each line; the rest of a longer one is passed over. */
typedef struct stream {
    char buffer[1 << 16];
    size_t used, at;
    char line[HEARD];
    size_t length, passed; /* bytes of the line that are kept, and that are not */
    int fault;             /* errno of input that cannot be read */
} stream;

/* More bytes; 0 at the end, or where a signal came. */
static int stream_fill(stream *s)
{
#ifdef _WIN32
    int got = _read(0, s->buffer, sizeof s->buffer);
#else
    struct pollfd input;
    ssize_t got = -1;
    input.fd = 0;
    input.events = POLLIN;
    while (!interrupted && got < 0) {
        int ready = poll(&input, 1, 200);
        if (ready > 0) got = read(0, s->buffer, sizeof s->buffer);
        if ((ready < 0 || (ready > 0 && got < 0)) && errno != EINTR && errno != EAGAIN) {
            s->fault = errno; /* EIO: the terminal is gone */
            break;
        }
    }
#endif
    s->at = 0;
    s->used = got > 0 ? (size_t)got : 0;
    return s->used > 0;
}

/* The next line; 0 when there are no more. One without an end is a line. */
static int stream_line(stream *s)
{
    s->length = s->passed = 0;
    for (;;) {
        if (s->at == s->used && !stream_fill(s)) return !interrupted && s->length + s->passed > 0;
        for (; s->at < s->used; s->at++) {
            char byte = s->buffer[s->at];
            if (byte == '\n') {
                s->at++;
                return 1;
            }
            if (s->length < HEARD) s->line[s->length++] = byte;
            else s->passed++;
        }
    }
}

/* ---- what is printed ------------------------------------------------------------------------------ */

/* Bytes for a terminal. Nothing is kept: a stream has no end. */
static void print_bytes(const char *bytes, size_t size)
{
    size_t at = 0;
    while (at < size) {
        char out[32];
        unsigned long point = 0;
        int length = utf8_length(bytes + at, size - at, &point);
        fwrite(out, 1, (size_t)write_shown(out, bytes + at, length, point), stdout);
        at += length ? (size_t)length : 1;
    }
}

/* The word around a byte. */
static void print_word(const char *line, size_t length, size_t at)
{
    size_t from = at, to = at;
    if (at >= length) {
        printf("its end");
        return;
    }
    while (from > 0 && line[from - 1] != ' ') from--;
    while (to < length && line[to] != ' ') to++;
    if (line[at] == ' ') from = at, to = at + 1;
    printf("\"");
    print_bytes(line + from, to - from);
    printf("\"");
}

static void print_line(const watcher *w, const stream *s, const verdict *v, int all)
{
    if (!v->marked && !all) return;
    if (all) printf("%c ", v->marked ? '!' : ' ');
    if (v->marked) {
        printf("%.0f: %.1f bits, %.1f are usual, at ", w->lines, v->bits[BY_BOTH], v->limit);
        print_word(s->line, s->length, (size_t)v->at);
        printf(": ");
    }
    print_bytes(s->line, s->length);
    if (s->passed) printf(" .. and %lu bytes", (unsigned long)s->passed);
    printf("\n");
}

/* ---- the measurement: a log made by a rule ---------------------------------------------------------- */

/* What may be wrong with a line. */
enum { SOUND, UNSEEN_WORD, WRONG_ORDER, OUT_OF_RANGE, CROSSED, KINDS };

static const char *const kind_names[KINDS] = {"sound", "unseen word", "wrong order", "out of range",
                                              "crossed"};

static uint64_t below(wcoh_rng *rng, int count) { return wcoh_rng_next(rng) % (uint64_t)count; }

static const char *one_of(wcoh_rng *rng, const char *words)
{
    int count = 1, i;
    const char *at;
    for (at = words; *at; at++) count += *at == ' ';
    for (i = (int)below(rng, count), at = words; i > 0; at++) i -= *at == ' ';
    return at;
}

/* A word of the list, or, where one is to be unseen, one that no list has. */
static void put_word(wcoh_rng *rng, const char *words, int unseen, char *out)
{
    static const char vowels[] = "aeiou", others[] = "bdfgklmnprstvz";
    const char *word = one_of(rng, words);
    int i, length = 4 + (int)below(rng, 4);
    if (!unseen) {
        sprintf(out, "%.*s", (int)strcspn(word, " "), word);
        return;
    }
    for (i = 0; i < length; i++) out[i] = i % 2 ? vowels[below(rng, 5)] : others[below(rng, 14)];
    out[length] = 0;
}

/* A line of one of six forms: names from lists, numbers from ranges, some identities of no range. */
static void rule_line(wcoh_rng *rng, int kind, char *out)
{
    static const char pages[] = "index about search basket orders images prices status";
    static const char users[] = "anna boris clara david emma felix",
                      jobs[] = "backup rotate report index";
    static const char tables[] = "orders prices users events";
    int form = (int)below(rng, 6), unseen = kind == UNSEEN_WORD, beyond = kind == OUT_OF_RANGE;
    char a[16], b[16];
    if (beyond) form = form % 2 ? 0 : 2;
    if (form == 0) {
        put_word(rng, pages, unseen, a);
        sprintf(out, "web worker %d get /%s status 200 took %d us", 1 + (int)below(rng, 4), a,
                beyond ? 5000 + (int)below(rng, 5000) : 1000 + (int)below(rng, 4000));
    } else if (form == 1) {
        put_word(rng, tables, unseen, a);
        sprintf(out, "db request %04x on table %s returned %d rows", (unsigned)below(rng, 65536), a,
                (int)below(rng, 100));
    } else if (form == 2) {
        put_word(rng, "sda sdb sdc", unseen, a);
        sprintf(out, "disk %s temperature %d C", a,
                beyond ? 60 + (int)below(rng, 40) : 30 + (int)below(rng, 20));
    } else if (form < 5) {
        put_word(rng, jobs, unseen, a);
        put_word(rng, users, 0, b);
        if (form == 3) sprintf(out, "cron job %s started by %s", a, b);
        else sprintf(out, "cron job %s finished in %d s", a, 1 + (int)below(rng, 59));
    } else {
        put_word(rng, users, unseen, a);
        sprintf(out, "auth user %s logged in from 10.0.%d.%d", a, (int)below(rng, 4),
                (int)below(rng, 256));
    }
}

/* The words of a line, which is cut into them. */
static int words_of(char *line, char *words[16])
{
    int count = 0;
    for (; count < 16; line++) {
        words[count++] = line;
        line = strchr(line, ' ');
        if (!line) break;
        *line = 0;
    }
    return count;
}

/* Two neighbouring words change places. */
static void swap_words(wcoh_rng *rng, char *line)
{
    char copy[128], *words[16], *word;
    int count, i, at;
    strcpy(copy, line);
    count = words_of(copy, words);
    at = (int)below(rng, count - 1);
    word = words[at], words[at] = words[at + 1], words[at + 1] = word;
    for (*line = 0, i = 0; i < count; i++) {
        if (i) strcat(line, " ");
        strcat(line, words[i]);
    }
}

/* A line that goes over into one of another form at a word that both have: each word follows the one
   before it as it may ("disk sda temperature 41 s"). */
static void cross_lines(wcoh_rng *rng, char *line)
{
    char one[128], other[128], end[128], *words[16], *others[16];
    int i, k, count, other_count;
    for (;;) {
        rule_line(rng, SOUND, line);
        rule_line(rng, SOUND, end);
        strcpy(one, line), strcpy(other, end);
        count = words_of(one, words), other_count = words_of(other, others);
        if (strcmp(words[0], others[0]) == 0) continue;
        for (i = 1; i < count; i++)
            for (k = 1; k < other_count; k++)
                if (strcmp(words[i], others[k]) == 0 && (i < count - 1 || k < other_count - 1)) {
                    strcpy(line + (words[i] - one), end + (others[k] - other));
                    return;
                }
    }
}

static void made_line(wcoh_rng *rng, int kind, char *out)
{
    if (kind == CROSSED) {
        cross_lines(rng, out);
        return;
    }
    rule_line(rng, kind, out);
    if (kind == WRONG_ORDER) swap_words(rng, out);
}

/* ---- the baseline: how often words, and pairs of words, stood in the log --------------------------- */

enum { SLOTS = 1 << 16 };

/* Counts by hash; `masked`: each digit is read as 0, as tools for logs do. */
typedef struct frequencies {
    double pairs[SLOTS], words[SLOTS];
    int masked;
} frequencies;

static uint32_t word_hash(const frequencies *f, uint32_t hash, const char *word, size_t length)
{
    size_t i;
    for (i = 0; i < length; i++) {
        int digit = f->masked && word[i] >= '0' && word[i] <= '9';
        hash = (hash ^ (digit ? (uint32_t)'0' : (unsigned char)word[i])) * 16777619u;
    }
    return hash;
}

/* The bits of the rarest word after the word before it, (n(pair) + 1/2) / (n(word) + 1); then count. */
static double frequencies_hear(frequencies *f, const char *line)
{
    uint32_t before = 1;
    double most = 0;
    while (*line) {
        size_t length = strcspn(line, " ");
        uint32_t pair = word_hash(f, (before ^ 0x5bd1e995u) * 16777619u, line, length);
        double *n = &f->pairs[pair >> 16 ^ (pair & 0xffff)],
               *all = &f->words[before >> 16 ^ (before & 0xffff)];
        double bits = log((*all + 1) / (*n + 0.5)) / log(2.0);
        if (bits > most) most = bits;
        *n += 1, *all += 1;
        before = word_hash(f, 2166136261u, line, length);
        line += length + (line[length] == ' ');
    }
    return most;
}

/* ---- the measurement's table ------------------------------------------------------------------------ */

enum { PAIRS = JUDGES, MASKED, WATCHERS };

typedef struct measure {
    long long lines, seeds, seed, quiet;
    double margin, planted;
    double *scores[WATCHERS]; /* [lines] of one seed */
    unsigned char *kinds, *marked;
    double recall[WATCHERS][KINDS][64], alarms[64], found[KINDS][64]; /* by seed, in percent */
} measure;

static int descending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* The score that a thousandth of the sound lines reach. */
static double measure_limit(const measure *m, int watcher_index)
{
    double *sound = (double *)malloc((size_t)m->lines * sizeof *sound), limit;
    long long i, count = 0;
    if (!sound) fail(EXIT_FAILED, "no memory for the scores");
    for (i = m->quiet; i < m->lines; i++)
        if (m->kinds[i] == SOUND) sound[count++] = m->scores[watcher_index][i];
    qsort(sound, (size_t)count, sizeof *sound, descending);
    limit = sound[count / 1000];
    free(sound);
    return limit;
}

static void measure_seed(measure *m, int seed)
{
    double limits[WATCHERS], count[KINDS] = {0};
    long long i;
    int k;
    for (k = 0; k < WATCHERS; k++) limits[k] = measure_limit(m, k);
    for (i = m->quiet; i < m->lines; i++) {
        int kind = m->kinds[i];
        count[kind]++;
        m->found[kind][seed] += m->marked[i];
        for (k = 0; k < WATCHERS; k++) m->recall[k][kind][seed] += m->scores[k][i] > limits[k];
    }
    for (k = 0; k < KINDS; k++) {
        int j;
        if (count[k] < 1) fail(EXIT_FAILED, "too few lines: none with %s", kind_names[k]);
        for (j = 0; j < WATCHERS; j++) m->recall[j][k][seed] *= 100 / count[k];
        m->found[k][seed] *= 100 / count[k];
    }
}

static void measure_log(measure *m, int seed)
{
    watcher *w = watcher_open(m->margin, (double)m->quiet, (uint64_t)(m->seed + seed));
    frequencies *pairs = (frequencies *)calloc(2, sizeof *pairs);
    wcoh_rng rng = wcoh_rng_seed((uint64_t)(m->seed + seed));
    int planted = 0, k;
    long long i;
    char line[128];
    if (!pairs) fail(EXIT_FAILED, "no memory for the frequencies");
    pairs[1].masked = 1;
    for (i = 0; i < m->lines && !interrupted; i++) {
        int wrong = i >= m->quiet && wcoh_rng_uniform(&rng) < m->planted;
        int kind = wrong ? 1 + planted++ % (KINDS - 1) : SOUND; /* in turn */
        verdict v;
        made_line(&rng, kind, line);
        v = watcher_hear(w, line, strlen(line));
        m->kinds[i] = (unsigned char)kind;
        m->marked[i] = (unsigned char)v.marked;
        for (k = 0; k < JUDGES; k++) m->scores[k][i] = v.bits[k];
        m->scores[PAIRS][i] = frequencies_hear(&pairs[0], line);
        m->scores[MASKED][i] = frequencies_hear(&pairs[1], line);
    }
    free(pairs);
    watcher_close(w);
}

static void measure_row(const char *name, double (*shares)[64], int seeds, int alarms)
{
    int k;
    printf("| %s |", name);
    for (k = 1; k < KINDS; k++) {
        printf(" %.1f", stat_mean(shares[k], seeds));
        if (seeds > 1) printf(" ± %.1f", stat_deviation(shares[k], seeds));
        printf(" |");
    }
    if (alarms) printf(" %.3f |\n", stat_mean(shares[SOUND], seeds));
    else printf(" 0.1 |\n");
}

static void measure_run(measure *m)
{
    static const char *const watchers[WATCHERS] = {"the network alone", "bytes at places alone",
                                                   "both", "pairs of words",
                                                   "pairs of words, digits masked"};
    clock_t began = clock();
    int k, seed;
    m->kinds = (unsigned char *)calloc((size_t)m->lines, 2);
    m->marked = m->kinds ? m->kinds + m->lines : NULL;
    for (k = 0; k < WATCHERS; k++) {
        m->scores[k] = (double *)calloc((size_t)m->lines, sizeof(double));
        if (!m->scores[k] || !m->kinds) fail(EXIT_FAILED, "no memory for the scores");
    }
    for (seed = 0; seed < m->seeds && !interrupted; seed++) {
        measure_log(m, seed);
        if (!interrupted) measure_seed(m, seed);
    }
    if (interrupted) fail(EXIT_FAILED, "interrupted: no table");
    printf("| found of 100 |");
    for (k = 1; k < KINDS; k++) printf(" %s |", kind_names[k]);
    printf(" false alarms of 100 |\n|");
    for (k = 0; k <= KINDS; k++) printf(" --- |");
    printf("\n");
    measure_row("watch, by its own limit", m->found, (int)m->seeds, 1);
    for (k = WATCHERS; k-- > 0;) measure_row(watchers[k], m->recall[k], (int)m->seeds, 0);
    say("%lld lines, %lld seeds, %.2f ms of CPU time a line", m->lines, m->seeds,
        1e3 * (double)(clock() - began) / CLOCKS_PER_SEC / (double)(m->lines * m->seeds));
    for (k = 0; k < WATCHERS; k++) free(m->scores[k]);
    free(m->kinds);
}

/* ---- the program ---------------------------------------------------------------------------------- */

typedef struct request {
    const char *save, *load;
    int all, measured;
    long long quiet, seed;
    measure m;
    double margin;
} request;

static void request_read(request *r, int argc, char **argv)
{
    const option options[] = {
        {"quiet_first", OPTION_WHOLE, &r->quiet, 0, 1e15,
         "lines at the start that are learnt and not marked"},
        {"margin", OPTION_REAL, &r->margin, 0, 100,
         "how far above the usual a line must be to be marked"},
        {"all", OPTION_FLAG, &r->all, 0, 0, "print every line, ! before those that are marked"},
        {"save", OPTION_TEXT, &r->save, 0, 0, "leave what is learnt there at the end"},
        {"load", OPTION_TEXT, &r->load, 0, 0, "go on from there"},
        {"seed", OPTION_WHOLE, &r->seed, 0, 1e15, "of the network, and the first of --measure"},
        {"measure", OPTION_FLAG, &r->measured, 0, 0,
         "a log made by a rule, with planted lines: what is found"},
        {"lines", OPTION_WHOLE, &r->m.lines, 2000, 1e8, "measure: lines"},
        {"seeds", OPTION_WHOLE, &r->m.seeds, 1, 64, "measure: logs"},
        {"planted", OPTION_REAL, &r->m.planted, 0.001, 0.5,
         "measure: share of lines that are planted"},
    };
    command c;
    memset(&c, 0, sizeof c);
    c.usage =
        "[options] < LOG\nMarks the lines that surprise a network which learns them as they come.";
    c.options = options;
    c.option_count = (int)(sizeof options / sizeof options[0]);
    options_read(&c, argc, argv);
    if (!r->measured) options_only(&c, argc, argv, "lines seeds planted", "--measure");
    else if (r->save || r->load || r->all)
        fail(EXIT_USAGE, "--measure makes its own log: it saves, loads and prints none");
    if (r->measured && r->quiet > r->m.lines - 1000)
        fail(EXIT_USAGE, "--quiet-first leaves fewer than 1000 of --lines to measure");
    if (r->load && option_given(&c, argc, argv, "seed"))
        fail(EXIT_USAGE, "--seed is in the file that --load names");
}

static void watch(const request *r)
{
    static const char *const log = "-";
    stream *s = (stream *)calloc(1, sizeof *s);
    wcoh_error error;
    watcher *w;
    if (!s) fail(EXIT_FAILED, "no memory for a stream");
#ifndef _WIN32
    signal(SIGPIPE, SIG_IGN); /* what it has learnt is saved when nobody reads on: stdout_is_well tells */
#endif
    path_not_read(r->save, &log, 1);
    if (r->save) must(wcoh_path_check(r->save, &error), NULL, &error);
    w = r->load ? watcher_load(r->load, r->margin, (double)r->quiet)
                : watcher_open(r->margin, (double)r->quiet, (uint64_t)r->seed);
    while (stream_line(s)) {
        verdict v = watcher_hear(w, s->line, s->length);
        print_line(w, s, &v, r->all);
        if ((v.marked || r->all) && !stdout_is_well()) break;
    }
    if (r->save) watcher_save(w, r->save); /* what it has learnt is kept, however the stream ended */
    if (s->fault) fail(EXIT_FAILED, "cannot read standard input: %s", strerror(s->fault));
    stdout_check();
    say("%.0f lines, %.0f marked", w->lines, w->marked);
    watcher_close(w);
    free(s);
}

int main(int argc, char **argv)
{
    static request r;
    program_begin("watch");
    r.quiet = 1000;
    r.margin = 1;
    r.seed = 1;
    r.m.lines = 10000;
    r.m.seeds = 3;
    r.m.planted = 0.01;
    request_read(&r, argc, argv);
    catch_interrupts();
    binary_stdout();
    r.m.margin = r.margin, r.m.quiet = r.quiet, r.m.seed = r.seed;
    if (r.measured) measure_run(&r.m);
    else watch(&r);
    stdout_check();
    return 0;
}

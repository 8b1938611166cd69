/* A resonance memory: build it from vectors, ask it, and measure it against exhaustive cosine.

   cc -O2 examples/recall.c -o recall -lm -lpthread
   ./recall build STORE vectors.npy          (or .safetensors; --packet sign|dft)
   ./recall ask STORE vectors.npy --row 7    (best packets for row 7; --first-bin, --bins, --top)
   ./recall bench                            (random packets: search against one read of memory)

   --json prints the answers as JSON. The first row of the vectors file is row 0.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"

#include "common.h"
#include "vectors.h"

#ifndef _WIN32
#include <pthread.h>
#endif

enum { BUILD, ASK, BENCH }; /* actions */

typedef struct request {
    const char *store, *file, *tensor;
    int action;
    long long row, threads, packets, dimensions, repeats;
    wcoh_resonance_desc desc;
    wcoh_resonance_query query;
    int json;
} request;

static void request_read(request *r, int argc, char **argv)
{
    const option options[] = {
        {"row", OPTION_WHOLE, &r->row, 0, 1e15, "ask: the row of the vectors file to ask with"},
        {"tensor", OPTION_TEXT, &r->tensor, 0, 0, "name of the matrix in a safetensors file"},
        THREADS_OPTION(&r->threads),
        {"packets", OPTION_WHOLE, &r->packets, 64, 1e9, "bench: packets"},
        {"dimensions", OPTION_WHOLE, &r->dimensions, 1, 1048576, "bench: floats a packet"},
        {"repeats", OPTION_WHOLE, &r->repeats, 1, 1000, "bench: trials; the best counts"},
        {"json", OPTION_FLAG, &r->json, 0, 0, "print JSON"},
    };
    settings descs[2];
    command c;
    descs[0] = settings_of("store: build, bench", WCOH_DESC_RESONANCE, &r->desc, "dimensions");
    descs[1] = settings_of("query: ask, bench", WCOH_DESC_RESONANCE_QUERY, &r->query, NULL);
    memset(&c, 0, sizeof c);
    c.usage = "build STORE VECTORS | ask STORE VECTORS | bench [options]\n"
              "Builds, asks and measures a store of wave packets.";
    c.options = options;
    c.option_count = (int)(sizeof options / sizeof options[0]);
    c.descs = descs;
    c.desc_count = 2;
    c.word_limit = 3;
    options_read(&c, argc, argv);
    if (r->desc.packet == WCOH_PACKET_PHASES)
        fail(EXIT_USAGE, "packet is \"phases\": a file of vectors has none, allowed are sign dft");
    r->desc.cpu.threads = (int)r->threads;
    r->action = word_choose("the action", c.word_count ? c.words[0] : "", "build ask bench");
    r->store = c.word_count > 1 ? c.words[1] : NULL;
    r->file = c.word_count > 2 ? c.words[2] : NULL;
    if (r->action == BENCH && r->store)
        fail(EXIT_USAGE, "bench makes its own packets: \"%s\" is too much", r->store);
    if (r->action != BENCH && !r->file)
        fail(EXIT_USAGE, "build or ask, a store and a file of vectors are needed; --help explains");
    if (r->action == BUILD && path_same(r->store, r->file))
        fail(EXIT_USAGE, "the store is %s, the file of vectors: it would be overwritten", r->store);
    if (r->action != ASK) options_only(&c, argc, argv, "row", "ask");
    if (r->action != BENCH) options_only(&c, argc, argv, "packets dimensions repeats", "bench");
    if (r->action == BENCH) options_only(&c, argc, argv, "tensor", "build and ask");
    if (r->action == ASK) options_only(&c, argc, argv, "packet", "build and bench");
    if (r->action == BUILD)
        options_only(&c, argc, argv, "top score first_bin bins", "ask and bench");
}

/* ---- build and ask ------------------------------------------------------------------------ */

/* A store is made anew in its place; anything else that stands there is moved aside. */
static void make_room(const request *r)
{
    wcoh_resonance *old = NULL;
    if (!path_exists(r->store) || path_is_special(r->store) || path_is_folder(r->store)) return;
    if (wcoh_resonance_load_file(&old, r->store, 0, 1, NULL, NULL, NULL) < 0)
        path_aside(r->store, "a file that is no store");
    wcoh_resonance_destroy(old);
}

static void build(const request *r)
{
    vectors v = vectors_read(r->file, r->tensor);
    wcoh_resonance_desc desc = r->desc;
    wcoh_resonance *store;
    wcoh_error error;
    double start = seconds_now();
    desc.dimensions = v.n;
    must(wcoh_resonance_create(&store, &desc, &error), NULL, &error);
    must(wcoh_resonance_add(store, v.values, NULL, v.count, &error), r->file, &error);
    make_room(r);
    must(wcoh_resonance_save_file(store, r->store, &error), NULL, &error);
    printf(r->json ? "{\"packets\":%.0f,\"bins\":%d,\"bytes\":%.0f,\"seconds\":%.3f}\n"
                   : "%.0f packets of %d bins, %.0f bytes, in %.3f s\n",
           (double)wcoh_resonance_count(store), wcoh_resonance_bins(store),
           (double)wcoh_resonance_bytes(store), seconds_now() - start);
    wcoh_resonance_destroy(store);
    free(v.values);
}

static void ask(const request *r)
{
    vectors v = vectors_read(r->file, r->tensor);
    wcoh_resonance_hit hits[1024];
    wcoh_resonance *store;
    wcoh_error error;
    int found, i;
    must(wcoh_resonance_load_file(&store, r->store, 0, 0, &r->desc.cpu, NULL, &error), NULL,
         &error);
    if (wcoh_resonance_get_desc(store)->dimensions != v.n)
        fail(EXIT_FAILED, "%s: vectors of %d dimensions, the store has %d", r->file, v.n,
             wcoh_resonance_get_desc(store)->dimensions);
    if (r->row >= (long long)v.count)
        fail(EXIT_USAGE, "--row is %.0f: the file has %lu", (double)r->row, (unsigned long)v.count);
    must(wcoh_resonance_find(store, &r->query, v.values + (size_t)r->row * (size_t)v.n, NULL, hits,
                             &found, &error),
         NULL, &error);
    if (r->json) printf("[");
    for (i = 0; i < found; i++)
        printf(r->json ? "%s{\"packet\":%.0f,\"score\":%.8f}" : "%s%10.0f  %.8f\n",
               r->json && i ? "," : "", (double)hits[i].index, hits[i].score);
    if (r->json) printf("]\n");
    wcoh_resonance_destroy(store);
    free(v.values);
}

/* ---- bench: the search against one read of the same memory -------------------------------- */

/* The store's allocator, which remembers every large piece. */
typedef struct pieces {
    struct {
        const uint64_t *words;
        size_t count;
    } piece[1 << 16];
    int count;
} pieces;

static void *piece_alloc(size_t size, void *user)
{
    pieces *all = (pieces *)user;
    void *memory = malloc(size);
    if (memory && size > 200000 && all->count < 1 << 16) {
        all->piece[all->count].words = (const uint64_t *)memory;
        all->piece[all->count++].count = size / 8;
    }
    return memory;
}

static void piece_release(void *memory, size_t size, void *user)
{
    (void)size;
    (void)user;
    free(memory);
}

/* A reader takes every `step`-th piece from `first` on. */
typedef struct reader {
    const pieces *all;
    int first, step;
    uint64_t sum;
} reader;

static void *read_pieces(void *user)
{
    reader *r = (reader *)user;
    uint64_t a = 0, b = 0, c = 0, d = 0;
    int i;
    size_t k;
    for (i = r->first; i < r->all->count; i += r->step) {
        const uint64_t *w = r->all->piece[i].words;
        for (k = 0; k + 8 <= r->all->piece[i].count; k += 8) {
            a += w[k] ^ w[k + 1];
            b += w[k + 2] ^ w[k + 3];
            c += w[k + 4] ^ w[k + 5];
            d += w[k + 6] ^ w[k + 7];
        }
    }
    r->sum = a + b + c + d;
    return NULL;
}

enum { THREADS = 256 }; /* as many as a search takes */

/* Seconds of one read of all pieces by that many threads. */
static double read_once(const pieces *all, int threads)
{
    reader readers[THREADS];
    double start = seconds_now();
    uint64_t sum = 0;
    int i;
#ifndef _WIN32
    pthread_t made[THREADS];
    for (i = 1; i < threads; i++) {
        readers[i].all = all;
        readers[i].first = i;
        readers[i].step = threads;
        if (pthread_create(&made[i], NULL, read_pieces, &readers[i])) fail(1, "no thread");
    }
#else
    threads = 1;
#endif
    readers[0].all = all;
    readers[0].first = 0;
    readers[0].step = threads;
    read_pieces(&readers[0]);
#ifndef _WIN32
    for (i = 1; i < threads; i++) pthread_join(made[i], NULL);
#endif
    for (i = 0; i < threads; i++) sum += readers[i].sum;
    return seconds_now() - start + (sum == 1 ? 1e-9 : 0);
}

static double find_once(wcoh_resonance *store, const wcoh_resonance_query *query,
                        const float *vector, wcoh_resonance_hit *hits)
{
    wcoh_error error;
    int found;
    double start = seconds_now();
    must(wcoh_resonance_find(store, query, vector, NULL, hits, &found, &error), NULL, &error);
    return seconds_now() - start;
}

static void bench(const request *r)
{
    static pieces all;
    int n = (int)r->dimensions, threads = r->threads ? (int)r->threads : wcoh_cpu_count(), i, k;
    size_t count = (size_t)r->packets, row;
    float *block = (float *)memory_of((size_t)n * 1024, sizeof(float)), *vector = block;
    double read = 1e9, full = 1e9, quarter = 1e9, build_start, build_time;
    wcoh_resonance_query whole = r->query, part = whole;
    wcoh_resonance_desc desc = r->desc;
    wcoh_resonance *store;
    wcoh_resonance_hit hits[1024];
    wcoh_rng rng = wcoh_rng_seed(1);
    wcoh_error error;
    threads = threads > THREADS ? THREADS : threads;
    desc.dimensions = n;
    desc.cpu.threads = threads;
    desc.memory.alloc = piece_alloc;
    desc.memory.release = piece_release;
    desc.memory.user = &all;
    must(wcoh_resonance_create(&store, &desc, &error), NULL, &error);
    for (k = 0; k < n * 1024; k++) block[k] = (float)(wcoh_rng_uniform(&rng) - 0.5);
    build_start = seconds_now();
    for (row = 0; row < count; row += 1024) {
        block[row / 1024 % (size_t)(n * 1024)] += 0.25f; /* no two blocks alike */
        must(
            wcoh_resonance_add(store, block, NULL, count - row < 1024 ? count - row : 1024, &error),
            NULL, &error);
    }
    build_time = seconds_now() - build_start;
    if (!whole.bins && whole.first_bin < wcoh_resonance_bins(store))
        whole.bins = wcoh_resonance_bins(store) - whole.first_bin;
    part.first_bin = whole.first_bin;
    part.bins = (whole.bins + 3) / 4;
    for (i = 0; i < (int)r->repeats; i++) {
        double t = read_once(&all, threads);
        read = t < read ? t : read;
        t = find_once(store, &whole, vector, hits);
        full = t < full ? t : full;
        t = find_once(store, &part, vector, hits);
        quarter = t < quarter ? t : quarter;
    }
    printf(r->json ? "{\"packets\":%.0f,\"dimensions\":%d,\"threads\":%d,\"isa\":\"%s\","
                     "\"bytes\":%.0f,\"build_s\":%.3f,\"read_s\":%.5f,\"bins\":%d,\"find_s\":%.5f,"
                     "\"find_over_read\":%.3f,\"quarter_s\":%.5f,\"quarter_over_full\":%.3f}\n"
                   : "packets %.0f of %d floats, %d threads, %s, %.0f bytes, built in %.2f s\n"
                     "one read of that memory  %.5f s\n"
                     "search over %-6d bins  %.5f s   %.3f of a read\n"
                     "search over a quarter    %.5f s   %.3f of that\n",
           (double)count, n, threads, wcoh_isa_name(wcoh_cpu_best_isa()),
           (double)wcoh_resonance_bytes(store), build_time, read, whole.bins, full, full / read,
           quarter, quarter / full);
    wcoh_resonance_destroy(store);
    free(block);
}

int main(int argc, char **argv)
{
    request r;
    program_begin("recall");
    memset(&r, 0, sizeof r);
    r.desc.packet = WCOH_PACKET_DFT;
    r.query.score = WCOH_SCORE_COSINE;
    r.packets = 1000000;
    r.dimensions = 384;
    r.repeats = 10;
    request_read(&r, argc, argv);
    if (r.action == BUILD) build(&r);
    else if (r.action == ASK) ask(&r);
    else bench(&r);
    stdout_check();
    return 0;
}

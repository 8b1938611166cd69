/* The thread pool: every index once, slots never shared, any number of threads, a lent job system,
   no thread at one, and no collapse when threads outnumber the CPUs.
     cc -O2 tests/test_threads.c -o test_threads -lm -pthread */
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"
#include "test.h"

enum { MOST = 2000 };

typedef struct record {
    wcohi_pool *pool;
    int count;
    unsigned char times[MOST]; /* each index is written by its own call alone */
    int slot[MOST];
    int inside[WCOHI_MAX_THREADS]; /* 1 while a call uses the slot */
    int clash[WCOHI_MAX_THREADS];
    double value[MOST];
} record;

static void note(int index, int slot, void *user)
{
    record *r = (record *)user;
    double x = index;
    int i;
    if (slot < 0 || slot >= wcohi_pool_slots(r->pool))
        return; /* the index stays unvisited: a failure */
    if (r->inside[slot]) r->clash[slot] = 1;
    r->inside[slot] = 1;
    for (i = 0; i < 50; i++) x = x * 0.5 + 1;
    r->times[index]++;
    r->slot[index] = slot;
    r->value[index] = x;
    r->inside[slot] = 0;
}

static int run_holds(record *r, int count, double work)
{
    wcohi_pool *pool = r->pool;
    int i, slots = wcohi_pool_slots(pool);
    memset(r, 0, sizeof *r);
    r->pool = pool;
    wcohi_pool_run(pool, count, work, note, r);
    for (i = 0; i < MOST; i++)
        if (r->times[i] != (i < count)) return 0;
    for (i = 0; i < slots; i++)
        if (r->clash[i] || r->inside[i]) return 0;
    return 1;
}

typedef struct opened {
    wcohi_pool *pool;
    void *memory;
    wcoh_result result;
    wcoh_error error;
} opened;

static opened open_pool(const wcoh_cpu_desc *cpu)
{
    opened o;
    memset(&o, 0, sizeof o);
    o.memory = malloc(wcohi_pool_bytes(cpu));
    o.result = wcohi_pool_open(&o.pool, o.memory, cpu, &o.error);
    return o;
}

static void close_pool(opened *o)
{
    wcohi_pool_close(o->pool);
    free(o->memory);
}

static wcoh_cpu_desc threads_desc(int threads)
{
    wcoh_cpu_desc cpu;
    memset(&cpu, 0, sizeof cpu);
    cpu.threads = threads;
    return cpu;
}

static void every_index_runs_once_on_any_number_of_threads(void)
{
    static record r;
    int threads, round;
    for (threads = 1; threads <= 8; threads++) {
        wcoh_cpu_desc cpu = threads_desc(threads);
        opened o = open_pool(&cpu);
        r.pool = o.pool;
        if (!CHECK(o.result == WCOH_OK)) return;
        for (round = 0; round < 300; round++)
            CHECK_SAY(run_holds(&r, (round * 37) % 90, 1e9), "%d threads, round %d", threads,
                      round);
        CHECK(run_holds(&r, MOST, 1e9));
        close_pool(&o);
    }
}

static void little_work_stays_on_the_caller(void)
{
    static record r;
    wcoh_cpu_desc cpu = threads_desc(4);
    opened o = open_pool(&cpu);
    int i, elsewhere = 0;
    r.pool = o.pool;
    CHECK(run_holds(&r, 100, 1000));
    for (i = 0; i < 100; i++) elsewhere += r.slot[i] != 0;
    CHECK(elsewhere == 0);
    close_pool(&o);
}

/* Helpers that sleep between runs are woken again. */
static void work_after_a_pause_is_done_too(void)
{
    static record r;
    wcoh_cpu_desc cpu = threads_desc(3);
    opened o = open_pool(&cpu);
    int round;
    r.pool = o.pool;
    for (round = 0; round < 5; round++) {
        double start = wcohi_seconds();
        while (wcohi_seconds() - start < 0.01) {}
        CHECK(run_holds(&r, 64, 1e9));
    }
    close_pool(&o);
}

static void opening_and_closing_at_once(void)
{
    int i;
    for (i = 0; i < 30; i++) {
        wcoh_cpu_desc cpu = threads_desc(1 + i % 5);
        opened o = open_pool(&cpu);
        CHECK(o.result == WCOH_OK);
        close_pool(&o);
    }
}

static void a_pool_of_none_is_the_caller(void)
{
    static record r;
    r.pool = NULL;
    CHECK(wcohi_pool_slots(NULL) == 1);
    CHECK(run_holds(&r, 10, 1e9));
    wcohi_pool_close(NULL);
}

static void bad_thread_counts_are_refused(void)
{
    wcoh_cpu_desc cpu = threads_desc(-1);
    opened o = open_pool(&cpu);
    wcoh_device *device;
    wcoh_error error;
    CHECK(o.result == WCOH_E_ARGUMENT && !o.pool);
    CHECK_TEXT(o.error.text, "cpu.threads");
    CHECK_TEXT(o.error.text, "-1");
    free(o.memory);
    cpu = threads_desc(WCOHI_MAX_THREADS + 1);
    CHECK(wcoh_cpu_device_create(&device, &cpu, NULL, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "threads is 257: allowed are 1 to 256, 0 for");
}

static int thread_count(void) /* of this process; 0 where we cannot tell */
{
    int count = 0;
#ifdef __linux__
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    if (!file) return 0;
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, "Threads:", 8)) count = atoi(line + 8);
    fclose(file);
#endif
    return count;
}

/* A joined thread may stand in the list for a moment longer. */
static int settles_at(int wanted)
{
    double start = wcohi_seconds();
    while (thread_count() != wanted)
        if (wcohi_seconds() - start > 2) return 0;
    return 1;
}

static void one_thread_creates_none(void)
{
    wcoh_cpu_desc one = threads_desc(1), four = threads_desc(4);
    int before;
    opened o = open_pool(&four); /* sanitizers start a thread of their own with the first one */
    double start = wcohi_seconds();
    close_pool(&o);
    while (wcohi_seconds() - start < 0.05) {}
    before = thread_count();
    o = open_pool(&one);
    CHECK(thread_count() == before);
    close_pool(&o);
    o = open_pool(&four);
#ifndef WAVECOH_NO_THREADS
    CHECK(before == 0 || thread_count() >= before + 3);
#else
    CHECK(thread_count() == before);
#endif
    close_pool(&o);
    CHECK(settles_at(before));
}

#if (defined(__x86_64__) || defined(__aarch64__)) && defined(__GNUC__) && !defined(__TINYC__)
static void halve_the_smallest(int index, int slot, void *user)
{
    volatile float x = FLT_MIN;
    double wait = wcohi_seconds();
    (void)slot;
    x = x * 0.5f;
    ((float *)user)[index] = x;
    while (wcohi_seconds() - wait < 1e-4) {}
}

/* A caller that flushes denormals gets the same bits from every helper, and the other way round. */
static void helpers_take_over_the_float_mode(void)
{
    wcoh_cpu_desc cpu = threads_desc(3);
    opened o = open_pool(&cpu);
    unsigned int before = wcohi_float_mode(), flush, round, i;
#ifdef __x86_64__
    flush = 0x8040u;
#else
    flush = 1u << 24;
#endif
    for (round = 0; round < 6; round++) {
        float value[40];
        unsigned int mode = round % 2 ? before | flush : before & ~flush, zeros = 0;
        wcohi_float_mode_set(mode);
        wcohi_pool_run(o.pool, 40, 1e9, halve_the_smallest, value);
        wcohi_float_mode_set(before);
        for (i = 0; i < 40; i++) {
            uint32_t bits;
            memcpy(&bits, &value[i], sizeof bits);
            zeros += bits == 0;
        }
        CHECK_SAY(zeros == (round % 2 ? 40u : 0u), "%u of 40 are zero in round %u", zeros, round);
    }
    close_pool(&o);
}
#endif

/* ---- a lent job system ----------------------------------------------------------------------- */

typedef struct lent {
    int calls;
    wcoh_task task;
    void *task_user;
    int from, to;
} lent;

static void serial_for(int count, wcoh_task task, void *task_user, void *user)
{
    int i;
    ((lent *)user)->calls++;
    for (i = count - 1; i >= 0; i--) task(i, task_user); /* any order is allowed */
}

static void a_lent_job_system_serves_all(void)
{
    static record r;
    lent system;
    wcoh_cpu_desc cpu = threads_desc(3);
    opened o;
    int before = thread_count();
    memset(&system, 0, sizeof system);
    cpu.parallel_for = serial_for;
    cpu.parallel_user = &system;
    o = open_pool(&cpu);
    r.pool = o.pool;
    CHECK(thread_count() == before);
    CHECK(run_holds(&r, 500, 1e9));
#ifndef __TINYC__
    CHECK(system.calls == 1);
#endif
    close_pool(&o);
}

#if !defined(WAVECOH_NO_THREADS) && !defined(_WIN32)
static void *lent_worker(void *user)
{
    lent *l = (lent *)user;
    int i;
    for (i = l->from; i < l->to; i++) l->task(i, l->task_user);
    return NULL;
}

static void threaded_for(int count, wcoh_task task, void *task_user, void *user)
{
    enum { WORKERS = 5 };
    pthread_t threads[WORKERS];
    lent parts[WORKERS];
    int i;
    (void)user;
    for (i = 0; i < WORKERS; i++) {
        parts[i].task = task;
        parts[i].task_user = task_user;
        parts[i].from = count * i / WORKERS;
        parts[i].to = count * (i + 1) / WORKERS;
        if (pthread_create(&threads[i], NULL, lent_worker, &parts[i])) exit(1);
    }
    for (i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
}

/* Five threads on three slots: the slots are still never shared. */
static void lent_threads_never_share_a_slot(void)
{
    static record r;
    wcoh_cpu_desc cpu = threads_desc(3);
    opened o;
    int round;
    cpu.parallel_for = threaded_for;
    o = open_pool(&cpu);
    r.pool = o.pool;
    for (round = 0; round < 20; round++) CHECK(run_holds(&r, 1000, 1e9));
    close_pool(&o);
}
#endif

/* ---- many threads on few CPUs ---------------------------------------------------------------- */

static void spin_job(int index, int slot, void *user)
{
    volatile double x = index;
    int i;
    (void)slot, (void)user;
    for (i = 0; i < 2000; i++) x = x * 0.5 + 1;
}

static double seconds_with(int threads, int rounds)
{
    wcoh_cpu_desc cpu = threads_desc(threads);
    opened o = open_pool(&cpu);
    double start, best = 1e9;
    int i, attempt;
    for (attempt = 0; attempt < 3; attempt++) {
        start = wcohi_seconds();
        for (i = 0; i < rounds; i++) wcohi_pool_run(o.pool, 16, 1e9, spin_job, NULL);
        best = WCOHI_MIN(best, wcohi_seconds() - start);
    }
    close_pool(&o);
    return best;
}

/* Not a benchmark: a pool that spins needs a thousand times as long here. */
static void eight_threads_on_two_cpus_do_not_collapse(void)
{
    double two = seconds_with(2, 200), eight = seconds_with(8, 200);
    if (getenv("WAVECOH_TEST_VERBOSE"))
        printf("1, 2, 8 threads: %.2f %.2f %.2f ms\n", 1e3 * seconds_with(1, 200), 1e3 * two,
               1e3 * eight);
    CHECK_SAY(eight < 20 * two + 1, "2 threads %g s, 8 threads %g s", two, eight);
}

static void the_cpus_are_counted(void)
{
    CHECK(wcoh_cpu_count() >= 1);
    CHECK(wcoh_cpu_count() <= 8192);
}

#ifdef __linux__
#include <sys/syscall.h>
extern long syscall(long number, ...);

static int cpus_grow; /* above 0: in the place of the system's answer as many, and one more each time */

int wcohi_sched_getaffinity(int process, size_t size, unsigned long *mask)
{
    int i, cpus = cpus_grow;
    if (cpus == 0) return (int)syscall(SYS_sched_getaffinity, (long)process, size, mask);
    cpus_grow += cpus_grow < 32;
    memset(mask, 0, size);
    for (i = 0; i < cpus; i++) *mask |= 1ul << i;
    return 0;
}

/* Between two looks an affinity or a quota may change: an object is laid out for as many threads as it
   has. */
static void the_cpus_are_counted_once_an_object(void)
{
    uint32_t tokens[64];
    wcoh_model_desc model_desc;
    wcoh_trainer_desc training;
    wcoh_eval_desc scoring;
    wcoh_spectral_desc comparing;
    wcoh_cpu_desc cpu;
    wcoh_model *model = NULL;
    wcoh_trainer *trainer = NULL;
    wcoh_spectral *spectral = NULL;
    wcoh_device *device = NULL;
    double loss = 0, alone = 1;
    size_t i, scored = 0;
    memset(&model_desc, 0, sizeof model_desc);
    memset(&training, 0, sizeof training);
    memset(&scoring, 0, sizeof scoring);
    memset(&comparing, 0, sizeof comparing);
    memset(&cpu, 0, sizeof cpu);
    for (i = 0; i < 64; i++) tokens[i] = (uint32_t)(i * i % 7);
    model_desc.vocab = 7, model_desc.bands = 8, model_desc.heads = 2, model_desc.layers = 1;
    training.batch = 2, training.seq = 8;
    scoring.seq = 8, scoring.batch = 2;
    comparing.dimensions = 16;
    CHECK(wcoh_model_create(&model, &model_desc, NULL) == WCOH_OK);
    cpus_grow = 1;
    CHECK(wcoh_trainer_create(&trainer, model, &training, NULL) == WCOH_OK);
    CHECK(((wcohi_cpu *)(void *)trainer->engine.device)->slot_count ==
          wcoh_trainer_get_desc(trainer)->cpu.threads);
    CHECK(wcoh_trainer_set_data(trainer, tokens, 64, NULL, 0, NULL) == WCOH_OK);
    CHECK(wcoh_trainer_step(trainer, NULL, NULL) == WCOH_OK);
    cpus_grow = 1;
    CHECK(wcoh_model_evaluate(model, &scoring, tokens, 64, &loss, &scored, NULL) == WCOH_OK);
    cpus_grow = 1;
    CHECK(wcoh_spectral_create(&spectral, &comparing, NULL) == WCOH_OK);
    CHECK(wcohi_pool_slots(spectral->pool) == wcoh_spectral_get_desc(spectral)->cpu.threads);
    cpus_grow = 1;
    CHECK(wcoh_cpu_device_create(&device, &cpu, NULL, NULL) == WCOH_OK);
    CHECK(((wcohi_cpu *)(void *)device)->slot_count <= 2); /* of the first look; the pool asks again how
                                                         many it may wake */
    cpus_grow = 0;
    scoring.cpu.threads = 1;
    CHECK(wcoh_model_evaluate(model, &scoring, tokens, 64, &alone, &scored, NULL) == WCOH_OK);
    CHECK(loss == alone);
    wcoh_device_destroy(device);
    wcoh_spectral_destroy(spectral);
    wcoh_trainer_destroy(trainer);
    wcoh_model_destroy(model);
}
#endif

static void the_clock_goes_forward(void)
{
    double last = wcohi_seconds(), now, start = last;
    do {
        now = wcohi_seconds();
        CHECK(now >= last);
        last = now;
    } while (now - start < 0.002);
}

#if defined(__linux__) && !defined(WAVECOH_NO_STDIO)
static void quotas_are_read(void)
{
    CHECK(wcohi_quota("max 100000\n") == 0);
    CHECK(wcohi_quota("200000 100000\n") == 2);
    CHECK(wcohi_quota("150000 100000\n") == 2); /* one and a half: two threads still help */
    CHECK(wcohi_quota("1000 100000\n") == 1);
    CHECK(wcohi_quota("-1\n100000\n") == 0);
    CHECK(wcohi_quota("") == 0);
    CHECK(wcohi_quota("5") == 0);
}
#endif

int main(void)
{
    RUN(the_clock_goes_forward);
    RUN(the_cpus_are_counted);
#ifdef __linux__
    RUN(the_cpus_are_counted_once_an_object);
#endif
#if defined(__linux__) && !defined(WAVECOH_NO_STDIO)
    RUN(quotas_are_read);
#endif
    RUN(one_thread_creates_none);
    RUN(every_index_runs_once_on_any_number_of_threads);
    RUN(little_work_stays_on_the_caller);
    RUN(work_after_a_pause_is_done_too);
    RUN(opening_and_closing_at_once);
    RUN(a_pool_of_none_is_the_caller);
#if (defined(__x86_64__) || defined(__aarch64__)) && defined(__GNUC__) && !defined(__TINYC__)
    RUN(helpers_take_over_the_float_mode);
#endif
    RUN(bad_thread_counts_are_refused);
    RUN(a_lent_job_system_serves_all);
#if !defined(WAVECOH_NO_THREADS) && !defined(_WIN32)
    RUN(lent_threads_never_share_a_slot);
#endif
    RUN(eight_threads_on_two_cpus_do_not_collapse);
    return test_end();
}

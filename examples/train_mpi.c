/* train in several processes, on one machine or many: every step's micro-batches are shared out, the
   gradient is summed over MPI while the backward pass goes on. Debian: openmpi-bin libopenmpi-dev

   mpicc -O2 examples/train_mpi.c -o train_mpi -lm -lpthread
   mpirun -n 4 ./train_mpi --data my.txt --batch 3 --accumulate 4

   All options, lines and files are those of train, of which this is a part; the first process prints
   and writes. --accumulate counts the micro-batches of all processes: one each unless given. A run
   goes on in any number of processes that divides it. Two lines are new:
       processes 4 micro-batches 4 a step
       mpi bytes 1105712 a step in 5 buckets, waited 0.41 ms of 12.30

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#define TEAM_MPI
#include <mpi.h>
#include "train.c"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/select.h>

enum { REQUESTS = 64 };

static struct {
    int rank, ranks;
    int together;   /* 1: all are at work, a failure of one is the end of all */
    int over;       /* 1: MPI is finalized */
    int own_stderr; /* where a process that does not lead could print */
    int fixed;      /* 1: sums in a fixed tree */
    int stop;       /* 1: all know that the run is to be interrupted */
    int under_way;  /* the first so many: */
    MPI_Request requests[REQUESTS];
    float *received; /* [room] of the other half of the tree */
    size_t room;
    const char *path; /* of the last checkpoint, and its step */
    uint64_t saved_step;
    double bytes, buckets; /* given so far */
    double waited;         /* seconds */
    double began;          /* seconds_now() at the first step */
} team;

/* ---- one sentence for all -------------------------------------------------------------------- */

static void team_exit(int status)
{
    team.over = 1;
    MPI_Finalize();
    exit(status);
}

/* Where all meet: `status` 0 goes on if nobody failed. The lowest process that failed prints. */
static void team_meet(int status, const char *text)
{
    int own[2], all[2];
    own[0] = status ? team.rank : team.ranks;
    own[1] = -status;
    MPI_Allreduce(own, all, 2, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    if (all[0] == team.ranks) return;
    if (all[0] == team.rank) {
        dup2(team.own_stderr, 2);
        sentence(text);
    }
    team_exit(-all[1]);
}

/* In place of fail's end. */
static void team_failed(int status, const char *text)
{
    if (!team.together) team_meet(status, text);
    dup2(team.own_stderr, 2);
    sentence(team.rank ? text_made("process %d: %s", team.rank, text) : text);
    fflush(stderr);
    team.over = 1;
    MPI_Abort(MPI_COMM_WORLD, status);
}

/* An end that neither fail nor main made: --help is everybody's. */
static void team_left(void)
{
    if (team.over) return;
    team.over = 1;
    if (team.together) MPI_Abort(MPI_COMM_WORLD, EXIT_FAILED);
    MPI_Finalize();
}

static void team_begin(int *argc, char ***argv)
{
    MPI_Init(argc, argv);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &team.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &team.ranks);
    program_failed = team_failed;
    atexit(team_left);
    team.own_stderr = dup(2);
    if (team.rank) {
        int nowhere = open("/dev/null", O_WRONLY);
        dup2(nowhere, 1);
        dup2(nowhere, 2);
        close(nowhere);
    }
}

static int team_size(void) { return team.ranks; }
static int team_leads(void) { return team.rank == 0; }

static void team_agree(int last)
{
    team_meet(0, NULL);
    team.together = last;
}

/* Hashes of 64 bits (FNV-1a over words) of what all must have alike. */
static uint64_t team_hash(uint64_t hash, const void *data, size_t words)
{
    const uint32_t *word = (const uint32_t *)data;
    size_t i;
    for (i = 0; i < words; i++) hash = (hash ^ word[i]) * 0x100000001b3u;
    return hash;
}

static void team_same(const char *what, const wcoh_model *model, const uint32_t *tokens,
                      size_t count)
{
    uint64_t hash = team_hash(0xcbf29ce484222325u, tokens, count);
    uint64_t *all = (uint64_t *)text_keep((size_t)team.ranks * sizeof *all);
    wcoh_param param;
    int i;
    if (!team.together) team_meet(0, NULL); /* who has failed already is not waited for */
    for (i = 0; i < wcoh_model_param_count(model); i++) {
        wcoh_model_param(model, i, &param, NULL);
        hash = team_hash(hash, param.data, param.count);
    }
    MPI_Allgather(&hash, 1, MPI_UINT64_T, all, 1, MPI_UINT64_T, MPI_COMM_WORLD);
    for (i = 1; i < team.ranks; i++) {
        if (all[i] == all[0]) continue;
        if (!team.together || team.rank == 0)
            fail(EXIT_FAILED, "process %d has other %s than process 0", i, what);
        MPI_Barrier(MPI_COMM_WORLD); /* process 0 ends the job */
    }
}

/* ---- the gradient ---------------------------------------------------------------------------- */

/* A process is gone: the launcher ends the job, and the sums never come. */
static void team_orphaned(void)
{
    if (team.rank) fail(EXIT_FAILED, "another process is gone and the job ends");
    if (team.path)
        fail(EXIT_FAILED, "another process is gone and the job ends; %s holds step %lu", team.path,
             (unsigned long)team.saved_step);
    fail(EXIT_FAILED, "another process is gone and the job ends; nothing was saved yet");
}

/* Wait for all that is under way; 0 if that went well. An interrupt is waited out for a moment: the
   others hear of it at the end of the step, unless they are gone. */
static int team_wait(void)
{
    double start = seconds_now(), told = 0, now;
    struct timeval moment;
    int done = 0, bad = 0;
    while (!done) {
        bad = MPI_Testall(team.under_way, team.requests, &done, MPI_STATUSES_IGNORE);
        if (bad) break;
        if (done) break;
        now = seconds_now();
        if (interrupted && told <= 0) told = now;
        /* process 0 speaks first, and its end is that of the others */
        if (interrupted && now - told > (team.rank ? 0.8 : 0.4)) team_orphaned();
        moment.tv_sec = 0;
        moment.tv_usec = 20;
        if (now - start > 2e-4) select(0, NULL, NULL, NULL, &moment);
        else sched_yield();
    }
    team.waited += seconds_now() - start;
    team.under_way = 0;
    return bad;
}

/* a [count] becomes the sum over all processes: with its neighbour, with the neighbours' neighbours ..
   Both of a pair add the same two numbers, so all have the same bits. */
static int team_tree(void *a, size_t count, int real)
{
    MPI_Datatype type = real ? MPI_FLOAT : MPI_DOUBLE;
    double *wide = (double *)a;
    float *narrow = (float *)a;
    int step, bad = 0;
    size_t i;
    for (step = 1; step < team.ranks && !bad; step *= 2) {
        const double *other = (const double *)(void *)team.received;
        bad = MPI_Irecv(team.received, (int)count, type, team.rank ^ step, step, MPI_COMM_WORLD,
                        &team.requests[0]);
        bad |= MPI_Isend(a, (int)count, type, team.rank ^ step, step, MPI_COMM_WORLD,
                         &team.requests[1]);
        team.under_way = 2;
        bad |= team_wait();
        for (i = 0; i < count && real; i++) narrow[i] += team.received[i];
        for (i = 0; i < count && !real; i++) wide[i] += other[i];
    }
    return bad;
}

static int team_sum(void *a, size_t count, int real)
{
    if (team.fixed) return team_tree(a, count, real);
    if (team.under_way == REQUESTS && team_wait()) return 1;
    return MPI_Iallreduce(MPI_IN_PLACE, a, (int)count, real ? MPI_FLOAT : MPI_DOUBLE, MPI_SUM,
                          MPI_COMM_WORLD, &team.requests[team.under_way++]);
}

/* The library calls this with each part of the gradient that is done. */
static int team_reduce(const wcoh_bucket *bucket, void *user)
{
    double told[2];
    int bad;
    (void)user;
    if (team.ranks == 1) return 0;
    if (bucket->count > INT_MAX / 2) return 1;
    if (team.fixed && team.room < bucket->count + 4) {
        free(team.received);
        team.room = bucket->count + 4;
        team.received = (float *)malloc(team.room * sizeof *team.received);
        if (!team.received) return 1;
    }
    if (team.began <= 0) team.began = seconds_now();
    team.bytes += (double)bucket->count * sizeof *bucket->gradient;
    team.buckets += 1;
    bad = team_sum(bucket->gradient, bucket->count, 1);
    if (bad || !bucket->last) return bad;
    told[0] = *bucket->nats;
    told[1] = interrupted ? 1 : 0;
    team.bytes += sizeof told;
    bad = team_sum(told, 2, 0);
    if (!bad && !team.fixed) bad = team_wait();
    *bucket->nats = told[0];
    if (told[1] > 0) interrupted = team.stop = 1;
    return bad;
}

static void team_join(wcoh_trainer_desc *desc, int own_accumulate)
{
    if (!own_accumulate) desc->accumulate = team.ranks;
    team.fixed = desc->deterministic == WCOH_SWITCH_ON;
    desc->rank = team.rank;
    desc->ranks = team.ranks;
    desc->all_reduce_bucket = team_reduce;
}

/* Sums that are under way move on meanwhile. */
static int team_stops(void)
{
    int done;
    if (team.under_way) MPI_Testall(team.under_way, team.requests, &done, MPI_STATUSES_IGNORE);
    return team.ranks > 1 ? team.stop : interrupted;
}

static void team_saved(const char *path, uint64_t step)
{
    team.path = path;
    team.saved_step = step;
}

static void team_line(uint64_t steps)
{
    double n = (double)steps;
    if (team.ranks == 1 || steps == 0) return;
    printf("mpi bytes %.0f a step in %.0f buckets, waited %.2f ms of %.2f\n", team.bytes / n,
           team.buckets / n, 1e3 * team.waited / n, 1e3 * (seconds_now() - team.began) / n);
}

static int team_end(int status)
{
    free(team.received);
    fflush(stdout);
    team.over = 1;
    MPI_Finalize();
    return status;
}

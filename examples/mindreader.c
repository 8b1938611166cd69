/* Shannon's mind-reading machine with this library as the mind: you choose, it has already guessed.
   cc -O2 examples/mindreader.c -o mindreader -lm -lpthread
   ./mindreader                        left or right: press l or r, q ends
   ./mindreader --choices 3            rock, paper, scissors; up to 9 choices
   ./mindreader --save me.game         leaves the game there; --load me.game goes on
   ./mindreader --selfplay             the league: 10,000 rounds against each opponent, 20 seeds

   It starts from nothing. Four small networks hear the game in four ways, as streams of symbols. At
   first each learns after every round, later in turn, from windows of what it heard (the last one,
   and older ones again); each says what you will do next. They vote with weights that shrink with
   their mistakes (exponential weights, Littlestone and Warmuth 1994; Herbster and Warmuth 1998 for the share
   that is given back).

   Rivals and opponents, from their descriptions:
   - C. E. Shannon, A Mind-Reading (?) Machine, Bell Laboratories memorandum, 18 March 1953;
   - D. W. Hagelbarger, SEER, a sequence extrapolating robot, IRE Transactions on Electronic
     Computers 5 (1956) 1-7;
   - people who try to be random change too often, about 6 times in 10 (Falk and Konold, Making sense
     of randomness, Psychological Review 104 (1997) 301-318).

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#define WAVECOH_IMPLEMENTATION
#include "../wavecoh.h"

#include "common.h"
#include "statistics.h"

#ifdef _WIN32
#include <conio.h>
#else
#include <poll.h>
#include <pthread.h>
#include <termios.h>
#endif

enum { CHOICES = 9, LEFT = 0, RIGHT = 1 };

static int coin(wcoh_rng *rng) { return (int)(wcoh_rng_next(rng) >> 63); }

/* ---- rivals: they predict left or right --------------------------------------------------------- */

typedef enum rival_kind { SHANNON, HAGELBARGER, MARKOV } rival_kind;

enum {
    ORDERS = 8,
    RIVALS = 2 + ORDERS
}; /* the two machines, and Markov predictors of order 1 .. 8 */

typedef struct rival {
    rival_kind kind;
    int order; /* of MARKOV */
    long rounds;
    int last, last_won, situation; /* the player's: of his last two plays, one of eight */
    struct {
        int same,
            repeated; /* SHANNON: what he did the last time, and whether he did so before too */
        int seen;
        int balance;       /* HAGELBARGER: times he stayed less times he changed, -3 .. 3 */
        int right, before; /* 1: the machine was right in the last plays of this situation */
    } cell[8];
    unsigned recent; /* MARKOV: the last moves, a bit each */
    unsigned counts[1 << ORDERS][2];
    int guess, certain; /* the last prediction; 0: chance had a part in it */
    wcoh_rng rng;
} rival;

static void rival_open(rival *r, int index, uint64_t seed)
{
    memset(r, 0, sizeof *r);
    r->kind = index < 2 ? (rival_kind)index : MARKOV;
    r->order = index < 2 ? 0 : index - 1;
    r->rng = wcoh_rng_seed(seed * 100 + (uint64_t)index);
}

/* "Until patterns have been found, or if an assumed pattern is not repeated at least twice by the
   player, the machine chooses its move at random." */
static int shannon_stays(const rival *r, int *certain)
{
    *certain = r->cell[r->situation].repeated;
    return r->cell[r->situation].same;
}

/* Right both last times in this situation: as the balance says; once: so 3 times in 4; never: at
   random. (These odds, and the balance's limit of 3, are as later rebuilders of SEER give them.) */
static int hagelbarger_stays(rival *r, int *certain)
{
    int s = r->situation, right = r->cell[s].right + r->cell[s].before;
    int stays = r->cell[s].balance > 0;
    *certain = right == 2 && r->cell[s].balance != 0;
    if (right == 0 || r->cell[s].balance == 0) return coin(&r->rng);
    return right == 2 || wcoh_rng_uniform(&r->rng) < 0.75 ? stays : !stays;
}

static int rival_guess(rival *r)
{
    int stays, random = coin(&r->rng), certain = 0;
    if (r->kind == MARKOV) {
        const unsigned *count = r->counts[r->recent & ((1u << r->order) - 1)];
        r->certain = count[LEFT] != count[RIGHT];
        return r->guess = r->certain ? count[RIGHT] > count[LEFT] : random;
    }
    r->guess = random;
    if (r->rounds >= 2) {
        stays = r->kind == SHANNON ? shannon_stays(r, &certain) : hagelbarger_stays(r, &certain);
        if (certain || r->kind == HAGELBARGER) r->guess = stays ? r->last : !r->last;
    }
    r->certain = certain;
    return r->guess;
}

/* The player's move, after rival_guess. */
static void rival_hear(rival *r, int move)
{
    int same = move == r->last, won = move != r->guess, s = r->situation;
    if (r->rounds >= 2) {
        r->cell[s].repeated = r->cell[s].seen && r->cell[s].same == same;
        r->cell[s].same = same;
        r->cell[s].seen = 1;
        r->cell[s].balance += same ? r->cell[s].balance < 3 : -(r->cell[s].balance > -3);
        r->cell[s].before = r->cell[s].right;
        r->cell[s].right = !won;
    }
    if (r->rounds >= r->order) r->counts[r->recent & ((1u << r->order) - 1)][move]++;
    r->recent = r->recent << 1 | (unsigned)move;
    r->situation = 4 * r->last_won + 2 * same + won;
    r->last = move;
    r->last_won = won;
    r->rounds++;
}

/* ---- opponents ----------------------------------------------------------------------------------- */

typedef enum opponent_kind {
    BY_CHANCE,
    BY_TABLE,
    BY_PERIOD,
    BY_RESULT,
    BY_CHANGE,
    BY_MACHINE
} opponent_kind;

typedef struct opponent_row {
    const char *name;
    opponent_kind kind;
    int size;     /* moves looked back, or in the pattern; which machine */
    double habit; /* how often it does as it uses to: nobody can foresee more; 0: not known */
    const char *about;
} opponent_row;

static const opponent_row opponents[] = {
    {"random", BY_CHANCE, 0, 0.5, "a fair coin"},
    {"order-1", BY_TABLE, 1, 0.85, "its last move chooses by a table, heeded 85 times in 100"},
    {"order-2", BY_TABLE, 2, 0.85, "its last 2 moves do"},
    {"order-3", BY_TABLE, 3, 0.85, "its last 3 moves do"},
    {"order-5", BY_TABLE, 5, 0.85, "its last 5 moves do"},
    {"period-5", BY_PERIOD, 5, 0.95, "a pattern of 5 moves, 5 % noise"},
    {"period-12", BY_PERIOD, 12, 0.95, "a pattern of 12 moves, 5 % noise"},
    {"win-stay", BY_RESULT, 0, 0.9, "stays after a win, changes after a loss, 10 % noise"},
    {"changer", BY_CHANGE, 0, 0.6, "changes 6 times in 10, as people do"},
    {"shannon", BY_MACHINE, SHANNON, 0, "Shannon's machine foresees the guess and does the other"},
    {"hagelbarger", BY_MACHINE, HAGELBARGER, 0, "Hagelbarger's machine likewise"},
};

enum { OPPONENTS = sizeof opponents / sizeof opponents[0], PATTERN_LENGTH = 32 };

typedef struct opponent {
    const opponent_row *row;
    int plan[PATTERN_LENGTH]; /* the table, or the pattern */
    unsigned recent;
    long rounds;
    int last, won;
    rival machine; /* reads the guesser as the guesser reads it */
    wcoh_rng rng;
} opponent;

static void opponent_open(opponent *o, const opponent_row *row, uint64_t seed)
{
    int i;
    memset(o, 0, sizeof *o);
    o->row = row;
    o->rng = wcoh_rng_seed(seed * 1000 + (uint64_t)(row - opponents));
    for (i = 0; i < PATTERN_LENGTH; i++) o->plan[i] = coin(&o->rng);
    if (row->kind == BY_MACHINE) rival_open(&o->machine, row->size, seed + 1000000);
}

/* What it uses to do now. */
static int opponent_habit(const opponent *o)
{
    switch (o->row->kind) {
    case BY_TABLE: return o->plan[o->recent & ((1u << o->row->size) - 1)];
    case BY_PERIOD: return o->plan[o->rounds % o->row->size];
    case BY_RESULT: return o->won ? o->last : !o->last;
    case BY_CHANGE: return !o->last;
    default: return LEFT;
    }
}

static int opponent_move(opponent *o)
{
    int habit = opponent_habit(o);
    if (o->row->kind == BY_MACHINE) return !rival_guess(&o->machine);
    return wcoh_rng_uniform(&o->rng) < o->row->habit ? habit : !habit;
}

static void opponent_hear(opponent *o, int move, int guess)
{
    o->recent = o->recent << 1 | (unsigned)move;
    o->last = move;
    o->won = move != guess;
    o->rounds++;
    if (o->row->kind == BY_MACHINE) rival_hear(&o->machine, guess);
}

/* ---- the mind ------------------------------------------------------------------------------------ */

/* A round as an ear hears it is a digit; its symbol is the last few digits, the latest first. */
typedef enum ear_kind {
    MOVES,  /* the move */
    ROUNDS, /* the move and the guess */
    MIRROR /* what I did in the last three situations like this, seen with his eyes, and whether I was
               right: an opponent who reads me looks at that */
} ear_kind;

enum {
    EARS = 4,
    MEMORY = 4096,     /* rounds that are learnt from again */
    WINDOW = 64,       /* rounds a window, */
    WINDOW_FIRST = 32, /* while all ears learn after each round: */
    EAGER = 1000,      /* so many rounds (then after each round one of them does), */
    TWICE = 300,       /* and in two steps after each of so many first ones */
    WINDOWS = 4,       /* windows a step */
    SYMBOLS_MOST = 81, /* of MOVES and ROUNDS */
    SITUATIONS = 8
};

static const double RATE = 0.012, RATE_HALVES = 400, HARSHNESS = 0.1, GIVEN_BACK = 0.002;

typedef struct ear {
    ear_kind kind;
    const char *name;
    int base, symbols;          /* digits and symbols there are */
    uint32_t symbol;            /* now */
    uint32_t heard[2 * MEMORY]; /* symbols, */
    uint32_t next[2 * MEMORY];  /* and the move that followed each */
    wcoh_model *model;
    wcoh_trainer *trainer;
    wcoh_session *session;
    double p[CHOICES], weight;
    long right;
} ear;

typedef struct mind {
    int choices;
    ear ears[EARS];
    long rounds, kept;
    int mirror[SITUATIONS], situation, my_last, right_before;
    double p[CHOICES];
    int guess;
    wcoh_rng rng;
    uint32_t tokens[WINDOWS * WINDOW], targets[WINDOWS * WINDOW];
} mind;

/* Most digits, up to `most`, of which no more than SYMBOLS_MOST symbols can be made. */
static int symbols_of(int base, int most)
{
    int symbols = base;
    while (--most > 0 && symbols * base <= SYMBOLS_MOST) symbols *= base;
    return symbols;
}

/* Wider networks want less, and the rate falls with the root of the rounds. */
static double ear_rate(const ear *e, long rounds)
{
    double width = wcoh_model_get_desc(e->model)->bands / 8.0;
    return RATE / sqrt(width * (1 + (double)rounds / RATE_HALVES));
}

static void ear_networks(ear *e, uint64_t seed)
{
    wcoh_model_desc model = wcoh_model_preset(WCOH_PRESET_WAVE_1, e->symbols);
    wcoh_trainer_desc training;
    wcoh_session_desc listening;
    wcoh_error error;
    memset(&training, 0, sizeof training);
    memset(&listening, 0, sizeof listening);
    for (model.bands = 8; model.bands < 32 && 2 * model.bands < e->symbols;) model.bands *= 2;
    model.layers = 1, model.heads = 4, model.maestro = 8, model.seed = seed;
    training.batch = WINDOWS, training.seq = WINDOW, training.steps = -1, training.seed = seed;
    training.warmup = 10, training.decay = -1;
    training.dropout = 0.2, training.embedding_dropout = 0.1, training.attention_dropout = 0.2;
    training.cpu.threads = 1;
    listening.gain = 12;
    listening.prefill = WINDOW;
    must(wcoh_model_create(&e->model, &model, &error), NULL, &error);
    training.lr = ear_rate(e, 0);
    must(wcoh_trainer_create(&e->trainer, e->model, &training, &error), NULL, &error);
    must(wcoh_session_create(&e->session, e->model, &listening, &error), NULL, &error);
}

static void mind_vote(mind *m);

static mind *mind_open(int choices, uint64_t seed)
{
    static const char *const names[EARS] = {"your last moves", "your moves", "moves and guesses",
                                            "how you read me"};
    mind *m = (mind *)calloc(1, sizeof *m);
    int i, k;
    if (!m) fail(EXIT_FAILED, "no memory for a mind");
    m->choices = choices;
    m->rng = wcoh_rng_seed(seed);
    for (i = 0; i < EARS; i++) {
        ear *e = &m->ears[i];
        e->kind = i < 2 ? MOVES : i == 2 ? ROUNDS : MIRROR;
        e->name = names[i];
        e->base = e->kind == MOVES ? choices : e->kind == ROUNDS ? choices * choices : 64 * choices;
        e->symbols = e->kind == MIRROR ? e->base : symbols_of(e->base, i == 1 ? 6 : 2);
        ear_networks(e, seed * 10 + (uint64_t)i);
        e->weight = 1.0 / (double)EARS;
        for (k = 0; k < choices; k++) e->p[k] = 1.0 / choices;
    }
    mind_vote(m);
    return m;
}

static void mind_close(mind *m)
{
    int i;
    for (i = 0; i < EARS; i++) {
        wcoh_session_destroy(m->ears[i].session);
        wcoh_trainer_destroy(m->ears[i].trainer);
        wcoh_model_destroy(m->ears[i].model);
    }
    free(m);
}

static int likeliest(const double *p, int count)
{
    int i, best = 0;
    for (i = 1; i < count; i++)
        if (p[i] > p[best]) best = i;
    return best;
}

/* The guess: the likeliest move of the weighted mean. Where all are alike, chance decides. */
static void mind_vote(mind *m)
{
    int i, k;
    for (k = 0; k < m->choices; k++) m->p[k] = 0;
    for (i = 0; i < EARS; i++)
        for (k = 0; k < m->choices; k++) m->p[k] += m->ears[i].weight * m->ears[i].p[k];
    m->guess = m->rounds ? likeliest(m->p, m->choices)
                         : (int)(wcoh_rng_next(&m->rng) % (uint64_t)m->choices);
}

/* weight <- (1 - s) weight e^(-h mistake) / sum + s / EARS */
static void mind_weigh(mind *m, int move)
{
    double sum = 0;
    int i;
    for (i = 0; i < EARS; i++) {
        ear *e = &m->ears[i];
        int right = likeliest(e->p, m->choices) == move;
        e->right += right;
        e->weight *= right ? 1 : exp(-HARSHNESS);
        sum += e->weight;
    }
    for (i = 0; i < EARS; i++)
        m->ears[i].weight = (1 - GIVEN_BACK) * m->ears[i].weight / sum + GIVEN_BACK / (double)EARS;
}

/* My last guess among what I did after situations like this, with his eyes. */
static int mind_mirror(mind *m, int move)
{
    int right = m->guess == move, same = m->guess == m->my_last;
    int *past = &m->mirror[m->situation];
    *past = (*past * 4 + 2 * same + right) % 64;
    m->situation = 4 * m->right_before + 2 * same + right;
    m->right_before = right;
    m->my_last = m->guess;
    return m->mirror[m->situation] * m->choices + m->guess;
}

static void ear_hear(ear *e, long at, int digit, int move)
{
    if (at > 0) e->next[at - 1] = (uint32_t)move;
    e->symbol = (uint32_t)(digit * (e->symbols / e->base)) + e->symbol / (uint32_t)e->base;
    e->heard[at] = e->symbol;
}

/* Rounds of a window, of `heard` that there are. */
static long mind_window(const mind *m, long heard)
{
    long window = m->rounds < EAGER ? WINDOW_FIRST : WINDOW;
    return heard < window ? heard : window;
}

/* One step on the last window and on older ones, newer ones more often. Only the move is a target:
   nothing is spent on foreseeing guesses. */
static void ear_learn(mind *m, ear *e)
{
    long pairs = m->kept - 1, length = mind_window(m, pairs);
    wcoh_error error;
    int w;
    for (w = 0; w < WINDOWS; w++) {
        double u = w ? wcoh_rng_uniform(&m->rng) : 0;
        long first = pairs - length - (long)((w & 1 ? u * u : u) * (double)(pairs - length + 1));
        memcpy(m->tokens + w * length, e->heard + first, (size_t)length * sizeof *m->tokens);
        memcpy(m->targets + w * length, e->next + first, (size_t)length * sizeof *m->targets);
    }
    must(wcoh_trainer_gradient(e->trainer, m->tokens, m->targets, WINDOWS, (int)length, NULL,
                               &error),
         NULL, &error);
    must(wcoh_trainer_update(e->trainer, NULL, &error), NULL, &error);
}

/* What follows: an ear that has learnt hears the last window again, by the weights of now. */
static void ear_foresee(const mind *m, ear *e, int learnt)
{
    long length = learnt ? mind_window(m, m->kept) : 1;
    const wcoh_real *logits;
    wcoh_error error;
    double sum = 0;
    int k;
    if (learnt) wcoh_session_reset(e->session);
    must(wcoh_session_prefill(e->session, e->heard + m->kept - length, (size_t)length, &error),
         NULL, &error);
    logits = wcoh_session_logits(e->session);
    for (k = 0; k < m->choices; k++) sum += e->p[k] = exp((double)(logits[k] - logits[0]));
    for (k = 0; k < m->choices; k++) e->p[k] /= sum;
}

/* The oldest half is forgotten when the memory is full. */
static void mind_forget(mind *m)
{
    int i;
    if (m->kept < 2 * MEMORY) return;
    for (i = 0; i < EARS; i++) {
        ear *e = &m->ears[i];
        memcpy(e->heard, e->heard + MEMORY, MEMORY * sizeof *e->heard);
        memcpy(e->next, e->next + MEMORY, MEMORY * sizeof *e->next);
    }
    m->kept = MEMORY;
}

static void mind_rate(mind *m)
{
    wcoh_error error;
    char rate[32];
    int i;
    if (m->rounds % 100) return;
    for (i = 0; i < EARS; i++) {
        sprintf(rate, "%.6g", ear_rate(&m->ears[i], m->rounds));
        must(wcoh_trainer_set(m->ears[i].trainer, "lr", rate, &error), NULL, &error);
    }
}

/* A round is over: `move` was done, m->guess was said. Then the next guess is made. */
static void mind_hear(mind *m, int move)
{
    int i, mirror = mind_mirror(m, move);
    mind_weigh(m, move);
    mind_forget(m);
    for (i = 0; i < EARS; i++) {
        ear *e = &m->ears[i];
        int digit = e->kind == MOVES    ? move
                    : e->kind == ROUNDS ? move * m->choices + m->guess
                                        : mirror;
        ear_hear(e, m->kept, digit, move);
    }
    m->rounds++;
    m->kept++;
    mind_rate(m);
    for (i = 0; i < EARS; i++) {
        int learns = m->kept > 2 && (m->rounds < EAGER || m->rounds % EARS == i);
        if (learns) ear_learn(m, &m->ears[i]);
        if (learns && m->rounds < TWICE) ear_learn(m, &m->ears[i]);
        ear_foresee(m, &m->ears[i], learns);
    }
    mind_vote(m);
}

/* ---- the league ---------------------------------------------------------------------------------- */

enum { PLAYERS = 1 + RIVALS, SEEDS = 1000 };

typedef struct league {
    long long rounds, seeds, threads, seed;
    int chosen[OPPONENTS], rows; /* opponents that play */
    double *shares;              /* [rows, PLAYERS, seeds] of right guesses, in percent */
    int next;                    /* the job that nobody has taken */
#ifndef _WIN32
    pthread_mutex_t lock;
#endif
} league;

/* Right guesses of player 0, the mind, or of a rival, in percent. */
static double match(const league *l, const opponent_row *row, int player, uint64_t seed)
{
    mind *m = player ? NULL : mind_open(2, seed);
    long long round, right = 0;
    opponent o;
    rival r;
    opponent_open(&o, row, seed);
    rival_open(&r, player ? player - 1 : 0, seed);
    for (round = 0; round < l->rounds && !interrupted; round++) {
        int guess = m ? m->guess : rival_guess(&r), move = opponent_move(&o);
        right += guess == move;
        opponent_hear(&o, move, guess);
        if (m) mind_hear(m, move);
        else rival_hear(&r, move);
    }
    if (m) mind_close(m);
    return 100.0 * (double)right / (double)l->rounds;
}

static void league_job(league *l, int job)
{
    int seed = job / l->rows, row = job % l->rows, player;
    for (player = 0; player < PLAYERS; player++)
        l->shares[(row * PLAYERS + player) * l->seeds + seed] =
            match(l, &opponents[l->chosen[row]], player, (uint64_t)(l->seed + seed));
}

static void *league_work(void *user)
{
    league *l = (league *)user;
    for (;;) {
        int job;
#ifndef _WIN32
        pthread_mutex_lock(&l->lock);
#endif
        job = l->next++;
#ifndef _WIN32
        pthread_mutex_unlock(&l->lock);
#endif
        if (job >= l->rows * (int)l->seeds || interrupted) return NULL;
        league_job(l, job);
    }
}

static void league_run(league *l)
{
#ifdef _WIN32
    league_work(l);
#else
    pthread_t made[256];
    int threads = l->threads ? (int)l->threads : wcoh_cpu_count(), i;
    if (threads > 256) threads = 256;
    pthread_mutex_init(&l->lock, NULL);
    for (i = 1; i < threads; i++)
        if (pthread_create(&made[i], NULL, league_work, l)) fail(EXIT_FAILED, "no thread");
    league_work(l);
    for (i = 1; i < threads; i++) pthread_join(made[i], NULL);
    pthread_mutex_destroy(&l->lock);
#endif
}

/* Opponent, ceiling, the mind's mean and deviation, the rivals' means. */
static void league_row(const league *l, int row)
{
    const opponent_row *o = &opponents[l->chosen[row]];
    const double *shares = l->shares + row * PLAYERS * l->seeds;
    int player, seeds = (int)l->seeds;
    printf("| %s |", o->name);
    if (o->habit > 0) printf(" %.1f |", 100 * o->habit);
    else printf("  |");
    printf(" %.1f", stat_mean(shares, seeds));
    if (seeds > 1) printf(" ± %.1f", stat_deviation(shares, seeds));
    for (player = 1; player < PLAYERS; player++)
        printf(" | %.1f", stat_mean(shares + player * seeds, seeds));
    printf(" |\n");
}

static void league_table(const league *l)
{
    int row, player, k;
    printf("| opponent | ceiling | mind | Shannon | Hagelbarger |");
    for (k = 1; k <= ORDERS; k++) printf(" %d |", k);
    printf("\n|");
    for (k = 0; k < 5 + ORDERS; k++) printf(" --- |");
    printf("\n");
    for (row = 0; row < l->rows; row++) league_row(l, row);
    printf("| mean |  |");
    for (player = 0; player < PLAYERS; player++) {
        double sum = 0;
        for (row = 0; row < l->rows; row++)
            sum += stat_mean(l->shares + (row * PLAYERS + player) * l->seeds, (int)l->seeds);
        printf(" %.1f |", sum / l->rows);
    }
    printf("\n");
}

static void league_play(league *l)
{
    clock_t began = clock();
    double games = (double)l->rows * (double)l->seeds;
    l->shares = (double *)calloc((size_t)games * PLAYERS, sizeof *l->shares);
    if (!l->shares) fail(EXIT_FAILED, "no memory for the table");
    league_run(l);
    if (interrupted) fail(EXIT_FAILED, "interrupted: no table");
    league_table(l);
    say("%lld rounds, %lld seeds, %.2f ms of CPU time a round", l->rounds, l->seeds,
        1e3 * (double)(clock() - began) / CLOCKS_PER_SEC / ((double)l->rounds * games));
    free(l->shares);
}

/* ---- what the rivals would have guessed ----------------------------------------------------------- */

/* --judge: a line for each rival; small letters where chance decided. */
static void judge(const char *moves, uint64_t seed)
{
    size_t length = strlen(moves), i;
    int index;
    rival r;
    if (!length || strspn(moves, "LRlr") != length)
        fail(EXIT_USAGE, "--judge is \"%s\": it takes moves, L and R", moves);
    for (index = 0; index < RIVALS; index++) {
        rival_open(&r, index, seed);
        if (r.kind == MARKOV) printf("order %d: ", r.order);
        else printf("%s: ", r.kind == SHANNON ? "Shannon" : "Hagelbarger");
        for (i = 0; i < length; i++) {
            int guess = rival_guess(&r);
            putchar((r.certain ? "LR" : "lr")[guess]);
            rival_hear(&r, moves[i] == 'R' || moves[i] == 'r');
        }
        putchar('\n');
    }
}

/* ---- the keys ------------------------------------------------------------------------------------ */

static int keys_fault; /* errno of input that cannot be read */

enum { KEY_END = -1, KEY_OTHER = -2, KEY_ASK = -3, KEY_QUIT = -4 };

#ifdef _WIN32

static void keys_open(void) {}

static int key_byte(void)
{
    int key = _isatty(0) ? _getch() : getchar();
    return key == 3 || key == 26 ? EOF : key;
}

#else

static struct termios keys_before;
static int keys_raw;

static void keys_close(void)
{
    if (keys_raw) tcsetattr(0, TCSANOW, &keys_before);
    keys_raw = 0;
}

/* Keys come one by one and are not shown, where there is a terminal; it is as it was at the end. */
static void keys_open(void)
{
    struct termios raw;
    signal(SIGQUIT, on_interrupt);
    signal(SIGPIPE, SIG_IGN); /* stdout_is_well tells */
    if (!isatty(0) || tcgetattr(0, &keys_before)) return;
    raw = keys_before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    atexit(keys_close);
    keys_raw = 1;
    if (tcsetattr(0, TCSANOW, &raw)) keys_raw = 0;
}

/* The next byte, or EOF: the input is over or cannot be read, or a signal came. */
static int key_byte(void)
{
    struct pollfd input;
    unsigned char byte;
    ssize_t got = -1;
    input.fd = 0;
    input.events = POLLIN;
    while (!interrupted && got < 0) {
        int ready = poll(&input, 1, 200);
        if (ready > 0) got = read(0, &byte, 1);
        if ((ready < 0 || (ready > 0 && got < 0)) && errno != EINTR && errno != EAGAIN) {
            keys_fault = errno; /* EIO: the terminal is gone */
            return EOF;
        }
    }
    return got == 1 ? byte : EOF;
}

#endif

/* The names of the choices; their keys are the first letters, or 1 .. 9. */
static const char *choice_name(int choices, int move)
{
    static const char *const two[] = {"left", "right"}, *const three[] = {"rock", "paper",
                                                                          "scissors"};
    return choices == 2 ? two[move] : choices == 3 ? three[move] : text_made("%d", move + 1);
}

/* A choice, or one of the KEY_ values. The arrows are ESC [ D and ESC [ C. */
static int key_read(int choices)
{
    int byte = key_byte(), k;
    if (byte == EOF) return KEY_END;
    if (byte == 27 && (byte = key_byte()) == '[') {
        int arrow = key_byte();
        return choices == 2 && (arrow == 'D' || arrow == 'C') ? arrow == 'C' : (int)KEY_OTHER;
    }
    if (byte == 'q' || byte == 'Q' || byte == 4) return KEY_QUIT;
    if (byte == '?') return KEY_ASK;
    if (byte > '0' && byte <= '0' + choices) return byte - '1';
    for (k = 0; k < choices && choices <= 3; k++)
        if ((byte | 32) == choice_name(choices, k)[0]) return k;
    return KEY_OTHER;
}

/* ---- the game ------------------------------------------------------------------------------------ */

typedef struct game {
    mind *m;
    int choices;
    uint64_t seed;
    unsigned char *record; /* [room] a byte a round: the move, and 16 times the guess */
    size_t rounds, room;
    long mine, yours;
    double slowest; /* CPU seconds of a round */
    /* of rounds after a result (it was right, it was wrong): how many, and how likely it thought that
       you would do the same again */
    long after[2];
    double stays[2];
    int last, last_right;
} game;

enum { RECORD_MOST = 1000000 };       /* then the game is over */
static const double SEED_MOST = 1e15; /* 16 digits in a file */

/* Who wins: rock, paper, scissors has draws, for it plays what beats what it foresees. */
static int game_result(const game *g, int move, int guess)
{
    if (guess == move) return 1;
    if (g->choices == 3) return move == (guess + 1) % 3 ? 0 : -1;
    return -1;
}

static void game_round(game *g, int move)
{
    mind *m = g->m;
    clock_t began = clock();
    int result = game_result(g, move, m->guess);
    double spent;
    if (g->rounds) g->after[g->last_right]++, g->stays[g->last_right] += m->p[g->last];
    if (g->rounds == g->room) {
        g->room = 2 * g->room + 1024;
        g->record = (unsigned char *)realloc(g->record, g->room);
        if (!g->record) fail(EXIT_FAILED, "no memory for %lu rounds", (unsigned long)g->room);
    }
    g->record[g->rounds++] = (unsigned char)(move + 16 * m->guess);
    g->mine += result > 0;
    g->yours += result < 0;
    g->last = move;
    g->last_right = move == m->guess;
    mind_hear(m, move);
    spent = (double)(clock() - began) / CLOCKS_PER_SEC;
    if (spent > g->slowest) g->slowest = spent;
}

/* What the mind has found out, by its own figures. */
static void game_findings(const game *g)
{
    int i, best = 0;
    for (i = 1; i < EARS; i++)
        if (g->m->ears[i].weight > g->m->ears[best].weight) best = i;
    printf("  I listen most to %s (%.0f %% of my vote, right %.0f times in 100)\n",
           g->m->ears[best].name, 100 * g->m->ears[best].weight,
           100.0 * (double)g->m->ears[best].right / (double)(g->rounds ? g->rounds : 1));
    for (i = 1; i >= 0; i--)
        if (g->after[i])
            printf("  when I was %s I expect you to do the same again: %.0f %%\n",
                   i ? "right" : "wrong", 100 * g->stays[i] / (double)g->after[i]);
}

static void game_tell(const game *g, int move, int guess, double sure)
{
    printf("%5lu  you: %-8s I foresaw: %-8s %3.0f %% sure", (unsigned long)g->rounds,
           choice_name(g->choices, move), choice_name(g->choices, guess), 100 * sure);
    if (g->choices == 3) printf("  I play %s", choice_name(3, (guess + 1) % 3));
    printf("  I %ld : %ld you\n", g->mine, g->yours);
}

static void game_play(game *g)
{
    int k;
    keys_open();
    printf("I have guessed. Choose:");
    for (k = 0; k < g->choices; k++)
        printf(" %s (%c)", choice_name(g->choices, k),
               g->choices > 3 ? '1' + k : choice_name(g->choices, k)[0]);
    printf("; ? tells what I know, q ends\n");
    while (g->rounds < RECORD_MOST && stdout_is_well()) {
        int guess = g->m->guess, key = key_read(g->choices);
        double sure = g->m->p[guess];
        if (key == KEY_END || key == KEY_QUIT) break;
        if (key == KEY_ASK) game_findings(g);
        if (key < 0) continue;
        game_round(g, key);
        game_tell(g, key, guess, sure);
    }
}

/* ---- saving: the game itself, which is played through again to go on ------------------------------ */

static void game_save(const game *g, const char *path)
{
    size_t i, used;
    char *text = text_keep(2 * g->rounds + 64);
    used =
        (size_t)sprintf(text, "mindreader 1 choices %d seed %.0f\n", g->choices, (double)g->seed);
    for (i = 0; i < g->rounds; i++) {
        text[used++] = (char)('1' + g->record[i] % 16);
        text[used++] = (char)('1' + g->record[i] / 16);
    }
    text[used++] = '\n';
    file_save(path, text, used);
}

/* The rounds behind the first line: pairs of digits, the move and the guess. */
static void game_replay(game *g, const char *path, const char *text, size_t size)
{
    size_t i;
    while (size && (text[size - 1] == '\n' || text[size - 1] == '\r')) size--;
    if (size % 2) fail(EXIT_FAILED, "%s: its last round is half", path);
    if (size / 2 > RECORD_MOST) fail(EXIT_FAILED, "%s: more than %d rounds", path, RECORD_MOST);
    for (i = 0; i < size && !interrupted; i += 2) {
        int move = text[i] - '1', guess = text[i + 1] - '1';
        if (move < 0 || move >= g->choices || guess < 0 || guess >= g->choices)
            fail(EXIT_FAILED, "%s: round %lu is no pair of choices from 1 to %d", path,
                 (unsigned long)(i / 2 + 1), g->choices);
        g->m->guess = guess;
        game_round(g, move);
    }
}

static void game_load(game *g, const char *path)
{
    size_t size, line;
    char *text = file_read(path, &size);
    double seed = -1;
    int choices = 0, length = 0;
    for (line = 0; line < size && text[line] != '\n';) line++;
    if (sscanf(text, "mindreader 1 choices %1d seed %16lf%n", &choices, &seed, &length) != 2 ||
        (size_t)(length + (text[length] == '\r')) != line || choices < 2 || choices > CHOICES ||
        !(seed >= 0 && seed <= SEED_MOST) || seed != floor(seed))
        fail(EXIT_FAILED, "%s: it is no game of this program", path);
    g->choices = choices;
    g->seed = (uint64_t)seed;
    g->m = mind_open(choices, g->seed);
    game_replay(g, path, text + line + (line < size), size - line - (line < size));
    if (interrupted) fail(EXIT_FAILED, "interrupted before %s was played through", path);
    g->slowest = 0;
    free(text);
}

/* ---- the program --------------------------------------------------------------------------------- */

typedef struct request {
    long long choices, seed;
    int selfplay;
    const char *save, *load, *judge;
    text_list against;
    league l;
} request;

static void request_opponents(request *r)
{
    const char *names = "";
    int i;
    for (i = 0; i < OPPONENTS; i++) names = text_made("%s%s%s", names, i ? " " : "", opponents[i].name);
    for (i = 0; i < r->against.count; i++) {
        int chosen = word_choose("--against", r->against.items[i], names), k;
        for (k = 0; k < i; k++)
            if (r->l.chosen[k] == chosen)
                fail(EXIT_USAGE, "--against %s is given twice", opponents[chosen].name);
        r->l.chosen[i] = chosen;
    }
    r->l.rows = i;
    for (i = 0; i < OPPONENTS && !r->against.count; i++) r->l.chosen[r->l.rows++] = i;
}

static void request_read(request *r, int argc, char **argv)
{
    const option options[] = {
        {"choices", OPTION_WHOLE, &r->choices, 2, CHOICES,
         "2: left, right; 3: rock, paper, scissors; more: numbers"},
        {"seed", OPTION_WHOLE, &r->seed, 0, SEED_MOST, "of the mind, and the first of the league"},
        {"save", OPTION_TEXT, &r->save, 0, 0, "leave the game there at the end"},
        {"load", OPTION_TEXT, &r->load, 0, 0, "go on with a game: it has its choices and its seed"},
        {"selfplay", OPTION_FLAG, &r->selfplay, 0, 0,
         "the league: mind, machines and Markov predictors of order 1 to 8 against opponents"},
        {"against", OPTION_LIST, &r->against, 0, 0,
         "selfplay: an opponent (order-2 ..), again for more; all if not given"},
        {"rounds", OPTION_WHOLE, &r->l.rounds, 1, 1e9, "selfplay: rounds against each"},
        {"seeds", OPTION_WHOLE, &r->l.seeds, 1, SEEDS, "selfplay: games against each"},
        THREADS_OPTION(&r->l.threads),
        {"judge", OPTION_TEXT, &r->judge, 0, 0,
         "print what the rivals guess on these moves (LRRL..), small where chance decides"},
    };
    command c;
    memset(&c, 0, sizeof c);
    c.usage = "[options]\nYou choose left or right; it has already guessed.";
    c.options = options;
    c.option_count = (int)(sizeof options / sizeof options[0]);
    options_read(&c, argc, argv);
    if (!r->selfplay) options_only(&c, argc, argv, "against rounds seeds threads", "--selfplay");
    if (r->judge && (r->selfplay || r->save || r->load || r->choices != 2))
        fail(EXIT_USAGE, "--judge is about moves to the left and right, and plays no game");
    if (r->load && (option_given(&c, argc, argv, "seed") || option_given(&c, argc, argv, "choices")))
        fail(EXIT_USAGE, "--choices and --seed are in the file that --load names");
    if (r->selfplay && (r->save || r->load || r->choices != 2))
        fail(EXIT_USAGE, "--selfplay is about left and right, and leaves no game");
    request_opponents(r);
    r->l.seed = r->seed;
}

static void request_game(const request *r)
{
    static const char *const keys = "-";
    game g;
    wcoh_error error;
    memset(&g, 0, sizeof g);
    g.choices = (int)r->choices;
    g.seed = (uint64_t)r->seed;
    path_not_read(r->save, &keys, 1);
    if (r->save) must(wcoh_path_check(r->save, &error), NULL, &error);
    if (r->load) game_load(&g, r->load);
    else g.m = mind_open(g.choices, g.seed);
    game_play(&g);
    if (g.rounds) {
        printf("%lu rounds: I %ld, you %ld; I foresaw what you did %.1f %% of the time\n",
               (unsigned long)g.rounds, g.mine, g.yours, 100.0 * (double)g.mine / (double)g.rounds);
        game_findings(&g);
        printf("  a round took at most %.1f ms of CPU time\n", 1e3 * g.slowest);
    }
    if (r->save) game_save(&g, r->save);
    mind_close(g.m);
    free(g.record);
    if (keys_fault) fail(EXIT_FAILED, "cannot read standard input: %s", strerror(keys_fault));
}

int main(int argc, char **argv)
{
    static request r;
    program_begin("mindreader");
    r.choices = 2;
    r.seed = 1;
    r.l.rounds = 10000;
    r.l.seeds = 20;
    request_read(&r, argc, argv);
    catch_interrupts();
    if (r.judge) judge(r.judge, (uint64_t)r.seed);
    else if (r.selfplay) league_play(&r.l);
    else request_game(&r);
    stdout_check();
    return 0;
}

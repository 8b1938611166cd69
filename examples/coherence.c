/* The published experiments of "Wave Coherence as a Computational Primitive", run again: one row a
   number, with the published value, ours, and whether they agree to the printed digit. Notes say
   where a number is right and its conclusion does not follow.

   cc -O2 examples/coherence.c -o coherence -lm -lpthread
   ./coherence          a table
   ./coherence --json   the same rows as JSON

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef WAVECOH_IMPLEMENTATION
#define WAVECOH_IMPLEMENTATION
#endif
#include "../wavecoh.h"

#include "common.h"

#include <math.h>

/* ---- the table ---------------------------------------------------------------------------- */

typedef struct row {
    int test;
    char what[72], published[48], ours[48];
    int agrees;
    const char *note; /* NULL: none */
} row;

static row rows[512];
static int row_count;

static row *row_text(int test, const char *what, const char *published, const char *ours)
{
    row *r = &rows[row_count < 511 ? row_count++ : 511];
    memset(r, 0, sizeof *r);
    r->test = test;
    snprintf(r->what, sizeof r->what, "%s", what);
    snprintf(r->published, sizeof r->published, "%s", published);
    snprintf(r->ours, sizeof r->ours, "%s", ours);
    r->agrees = strcmp(r->published, r->ours) == 0;
    return r;
}

/* Numbers are compared as printed: `digits` after the point. */
static row *row_real(int test, const char *what, double published, double ours, int digits)
{
    char a[48], b[48];
    double zero = 0.5 * pow(10, -digits);
    if (fabs(ours) < zero) ours = 0; /* no "-0.000" */
    snprintf(a, sizeof a, "%.*f", digits, published);
    snprintf(b, sizeof b, "%.*f", digits, ours);
    return row_text(test, what, a, b);
}

static row *row_count_of(int test, const char *what, double published, double ours)
{
    return row_real(test, what, published, ours, 0);
}

static double degrees(double d) { return wcoh_phase_degrees(d); }
static double to_degrees(double phase) { return phase * 180 / 3.14159265358979323846; }

/* ---- an index and its full scan ----------------------------------------------------------- */

static const double golden_angle = 137.50776405003785; /* degrees */
static int mismatches; /* queries whose answer was not that of a full scan */

static wcoh_circle *circle_of(int buckets, int axes)
{
    wcoh_circle_desc desc;
    wcoh_circle *circle;
    wcoh_error error;
    memset(&desc, 0, sizeof desc);
    desc.buckets = buckets;
    desc.axes = axes;
    must(wcoh_circle_create(&circle, &desc, &error), NULL, &error);
    return circle;
}

static uint64_t put(wcoh_circle *circle, double x_degrees, double y_degrees)
{
    double phases[2];
    uint64_t slot = 0;
    wcoh_error error;
    phases[0] = degrees(x_degrees);
    phases[1] = degrees(y_degrees);
    must(wcoh_circle_insert(circle, phases, &slot, &error), NULL, &error);
    return slot;
}

/* N entities at i times the golden angle (and, on a torus, i times y_step). */
static wcoh_circle *golden_circle(int count, int buckets, int axes, double y_step)
{
    wcoh_circle *circle = circle_of(buckets, axes);
    int i;
    for (i = 0; i < count; i++) put(circle, fmod(i * golden_angle, 360), fmod(i * y_step, 360));
    return circle;
}

typedef struct answer {
    size_t count, examined;
    wcoh_circle_hit hits[1024];
} answer;

static int by_slot(const void *a, const void *b)
{
    uint64_t x = ((const wcoh_circle_hit *)a)->slot, y = ((const wcoh_circle_hit *)b)->slot;
    return x < y ? -1 : x > y;
}

static wcoh_circle_query query_of(double x, int nx, double tx, double y, int ny, double ty)
{
    wcoh_circle_query query;
    query.phase[0] = degrees(x);
    query.harmonic[0] = nx;
    query.threshold[0] = tx;
    query.phase[1] = degrees(y);
    query.harmonic[1] = ny;
    query.threshold[1] = ty;
    return query;
}

/* The index's answer in order of slots; counted as a mismatch if a full scan gives another. */
static answer *ask(const wcoh_circle *circle, wcoh_circle_query query)
{
    static answer a;
    wcoh_error error;
    uint64_t slot;
    int axes = wcoh_circle_get_desc(circle)->axes, axis;
    size_t k = 0;
    must(wcoh_circle_find(circle, &query, a.hits, 1024, &a.count, &a.examined, &error), NULL,
         &error);
    qsort(a.hits, a.count < 1024 ? a.count : 1024, sizeof a.hits[0], by_slot);
    for (slot = 0; slot < wcoh_circle_slots(circle); slot++) {
        double phases[2];
        volatile double score = 1; /* a double, with however many digits the machine multiplies */
        int keep = wcoh_circle_phases(circle, slot, phases);
        for (axis = 0; keep && axis < axes; axis++) {
            double c = wcoh_coherence_harmonic(phases[axis], query.phase[axis],
                                               query.harmonic[axis] ? query.harmonic[axis] : 1);
            keep = c >= query.threshold[axis];
            score *= c;
        }
        if (!keep) continue;
        if (k >= a.count || a.hits[k].slot != slot || a.hits[k].score != score) mismatches++;
        k++;
    }
    if (k != a.count) mismatches++;
    return &a;
}

/* "0 120 240": the phases that answer, in whole degrees. */
static const char *ask_degrees(const wcoh_circle *circle, double target, int n, double threshold)
{
    static char text[256];
    const answer *a = ask(circle, query_of(target, n, threshold, 0, 0, -1));
    size_t i, used = 0;
    text[0] = 0;
    for (i = 0; i < a->count && used < sizeof text - 8; i++) {
        double phases[2];
        wcoh_circle_phases(circle, a->hits[i].slot, phases);
        used += (size_t)snprintf(text + used, sizeof text - used, i ? " %.0f" : "%.0f",
                                 to_degrees(phases[0]));
    }
    return text;
}

static wcoh_circle *circle_at(const double *angles, int count, int buckets)
{
    wcoh_circle *circle = circle_of(buckets, 1);
    int i;
    for (i = 0; i < count; i++) put(circle, angles[i], 0);
    return circle;
}

/* ---- relations that are no geometry: cycles, pair tables, amplification ------------------- */

/* Directed cycle: depth + 1 nodes from `node`, `step` apart, modulo `size`, as text. */
static const char *cycle_text(int size, int node, int step, int depth)
{
    static char text[32];
    int d;
    for (d = 0; d <= depth; d++) text[d] = (char)('0' + ((node + d * step) % size + size) % size);
    text[d] = 0;
    return text;
}

/* The relation of an ordered pair on the 5-cycle: generates +1, overrides +2, weakens -1,
   controls -2; 0 for a node with itself. */
static int cycle_relation(int from, int to)
{
    static const int relation[5] = {0, 1, 2, -2, -1};
    return relation[((to - from) % 5 + 5) % 5];
}

static const int ring_pairs[6][2] = {{0, 1}, {2, 11}, {3, 10}, {4, 9}, {5, 8}, {6, 7}};

static int pair_partner(int node)
{
    int i;
    for (i = 0; i < 6; i++) {
        if (ring_pairs[i][0] == node) return ring_pairs[i][1];
        if (ring_pairs[i][1] == node) return ring_pairs[i][0];
    }
    return -1;
}

/* A score grows where one names the other (1.2) or both do (1.5). */
static double amplify(double score, int a_names_b, int b_names_a)
{
    return score * (a_names_b && b_names_a ? 1.5 : a_names_b || b_names_a ? 1.2 : 1.0);
}

/* ---- tests 1 to 7 ------------------------------------------------------------------------- */

static void test_1_to_3(void)
{
    static const double published[12] = {-0.866, -1, -0.866, -0.5, 0, 0.5,
                                         0.866,  1,  0.866,  0.5,  0, -0.5};
    wcoh_circle *circle = circle_of(12, 1);
    char what[64];
    int i;
    for (i = 0; i < 12; i++) {
        put(circle, 30.0 * i, 0);
        snprintf(what, sizeof what, "coherence of value %d with 7, 12 buckets", i);
        row_real(1, what, published[i],
                 wcoh_coherence(wcoh_phase_id((uint64_t)i, 12), wcoh_phase_id(7, 12)), 3);
    }
    row_text(1, "C >= 0.99 finds", "210", ask_degrees(circle, 210, 1, 0.99));
    row_text(2, "triad of 0 (n = 3, t 0.95)", "0 120 240", ask_degrees(circle, 0, 3, 0.95));
    row_real(2, "C_3 at 60 degrees", -1, wcoh_coherence_harmonic(0, degrees(60), 3), 3);
    row_text(3, "opposition of 0 (n = 2)", "0 180", ask_degrees(circle, 0, 2, 0.95));
    wcoh_circle_destroy(circle);
}

static void test_4_5(void)
{
    static const double angle[5] = {120, 118, 125, 130, 90}, fuzzy[5] = {1, 0.9239, 0.5556, 0, 0};
    static const double entity[4][2] = {{30, 120}, {30, 240}, {30, 120}, {200, 120}};
    static const double both[4] = {1, -0.5, 1, -0.9848};
    char what[64];
    int i;
    for (i = 0; i < 5; i++) {
        snprintf(what, sizeof what, "fuzzy 120, orb 8, at %.0f degrees", angle[i]);
        row_real(4, what, fuzzy[i], wcoh_fuzzy(0, degrees(angle[i]), degrees(120), degrees(8)), 4);
    }
    for (i = 0; i < 4; i++) {
        double scores[2];
        scores[0] = wcoh_coherence(degrees(entity[i][0]), degrees(30));
        scores[1] = wcoh_coherence(degrees(entity[i][1]), degrees(120));
        snprintf(what, sizeof what, "vendor AND category of entity %c", 'A' + i);
        row_real(5, what, both[i], wcoh_conjunction(scores, 2), 4);
    }
}

static void test_6_7(void)
{
    static const int partner[3][2] = {{0, 1}, {2, 11}, {3, 10}};
    static const double distance[6] = {30, 90, 150, 150, 90, 30};
    char what[64];
    int i;
    row_text(6, "5-cycle from 0, step +1", "0123", cycle_text(5, 0, 1, 3));
    row_text(6, "5-cycle from 0, step +2", "0241", cycle_text(5, 0, 2, 3));
    row_text(6, "5-cycle from 3, step +1", "340", cycle_text(5, 3, 1, 2));
    row_text(6, "5-cycle from 0, step -1", "04321", cycle_text(5, 0, -1, 4));
    row_text(6, "5-cycle from 0, step -2", "03142", cycle_text(5, 0, -2, 4));
    for (i = 0; i < 3; i++) {
        snprintf(what, sizeof what, "partner of %d on the 12-ring", partner[i][0]);
        row_count_of(7, what, partner[i][1], pair_partner(partner[i][0]));
    }
    for (i = 0; i < 6; i++) {
        snprintf(what, sizeof what, "degrees between %d and %d", ring_pairs[i][0],
                 ring_pairs[i][1]);
        row_count_of(7, what, distance[i],
                     to_degrees(wcoh_angle(wcoh_phase_id((uint64_t)ring_pairs[i][0], 12),
                                           wcoh_phase_id((uint64_t)ring_pairs[i][1], 12))));
    }
    row_count_of(7, "is 4 the partner of 0", 0, pair_partner(0) == 4);
}

/* ---- tests 8 to 16 ------------------------------------------------------------------------ */

static void test_8_9(void)
{
    static const double centre[4] = {0, 90, 120, 240}, published[4] = {25, 0, 25, 25};
    wcoh_circle *circle = circle_of(100, 1);
    int i, equal = 0, hits[4] = {0, 0, 0, 0};
    double lowest = 1;
    char what[64];
    const answer *a;
    size_t k;
    for (i = 0; i < 1000; i++) {
        int value = (37 * i + 13) % 100;
        double phase = wcoh_phase_id((uint64_t)value, 100);
        wcoh_error error;
        must(wcoh_circle_insert(circle, &phase, NULL, &error), NULL, &error);
        equal += value == 42;
    }
    a = ask(circle, query_of(360 * 42 / 100.0, 1, 0.9999, 0, 0, -1));
    row_count_of(8, "value == 42 by C >= 0.9999 (of 1000)", 10, (double)a->count);
    row_count_of(8, "value == 42 by comparison", 10, equal);
    a = ask(circle, query_of(360 * 42 / 100.0, 1, 0.99, 0, 0, -1));
    row_count_of(8, "hits at C >= 0.99: neighbours too", 50, (double)a->count);
    wcoh_circle_destroy(circle);
    circle = circle_of(360, 1);
    for (i = 0; i < 100; i++) put(circle, centre[i / 25] + (i % 25 - 12) * 0.2, 0);
    a = ask(circle, query_of(3, 3, 0.85, 0, 0, -1));
    for (k = 0; k < a->count; k++) {
        hits[a->hits[k].slot / 25]++;
        if (a->hits[k].score < lowest) lowest = a->hits[k].score;
    }
    for (i = 0; i < 4; i++) {
        snprintf(what, sizeof what, "\"join\": hits in the group at %.0f degrees", centre[i]);
        row_count_of(9, what, published[i], hits[i]);
    }
    row_real(9, "lowest score of a hit", 0.960, lowest, 3)->note =
        "the relation is in where the groups were placed beforehand, not in the query";
    wcoh_circle_destroy(circle);
}

static void test_10_to_12(void)
{
    static const double broad[3] = {60, 180, 270}, pairs[3][2] = {{5, 7}, {10, 11}, {10, 10.1}};
    static const double first[3] = {13, 26, 259}, value[3] = {0.898794, 0.898794, 0.899558};
    double list[3], one, close = wcoh_coherence(degrees(30), degrees(35));
    int i, n, reach = 0, narrow = 0;
    char what[64];
    for (i = 0; i < 3; i++) list[i] = degrees(broad[i]);
    one = degrees(180);
    for (i = 0; i < 12; i++) {
        reach += wcoh_reach(0, degrees(30.0 * i), list, 3, degrees(8)) > 0;
        narrow += wcoh_reach(0, degrees(30.0 * i), &one, 1, degrees(8)) > 0;
    }
    row_count_of(10, "broad type {60,180,270} finds", 3, reach);
    row_count_of(10, "narrow type {180} finds", 1, narrow);
    for (i = 0; i < 3; i++) {
        double a = degrees(pairs[i][0]), b = degrees(pairs[i][1]);
        for (n = 1; wcoh_coherence_harmonic(a, b, n) >= 0.9; n++) continue;
        snprintf(what, sizeof what, "%g and %g degrees first differ (t 0.9) at n", pairs[i][0],
                 pairs[i][1]);
        row_count_of(11, what, first[i], n);
        row_count_of(11, "  by ceil(acos t / angle)", first[i], wcoh_fingerprint(a, b, 0.9));
        row_real(11, "  C_n there", value[i], wcoh_coherence_harmonic(a, b, n), 6);
    }
    row_real(12, "30 and 35 degrees, no reference", 0.996195, amplify(close, 0, 0), 6);
    row_real(12, "  one names the other", 1.195434, amplify(close, 1, 0), 6);
    row_real(12, "  both do", 1.494292, amplify(close, 1, 1), 6);
}

static void test_13_14(void)
{
    static const double angles[10] = {0, 60, 72, 90, 120, 180, 240, 270, 288, 300};
    wcoh_circle *circle = circle_at(angles, 10, 360);
    int a, b, type, count[5] = {0, 0, 0, 0, 0}, total = 0;
    char what[64];
    for (a = 0; a < 5; a++)
        for (b = 0; b < 5; b++) {
            if (a == b) continue;
            count[cycle_relation(a, b) + 2]++;
            total++;
        }
    row_count_of(13, "ordered pairs of 5 nodes with a relation", 20, total - count[2]);
    for (type = -2; type <= 2; type++) {
        if (!type) continue;
        snprintf(what, sizeof what, "  of type %+d", type);
        row_count_of(13, what, 5, count[type + 2]);
    }
    row_text(14, "n = 3 from 0, t 0.95", "0 120 240", ask_degrees(circle, 0, 3, 0.95));
    row_text(14, "n = 4", "0 90 180 270", ask_degrees(circle, 0, 4, 0.95));
    row_text(14, "n = 5", "0 72 288", ask_degrees(circle, 0, 5, 0.95));
    row_text(14, "n = 6", "0 60 120 180 240 300", ask_degrees(circle, 0, 6, 0.95));
    wcoh_circle_destroy(circle);
}

static void test_15_16(void)
{
    static const double angles[8] = {357, 358, 359, 0, 1, 2, 3, 180};
    double a = degrees(1), b = degrees(359), t = wcoh_threshold_safe(360);
    int i, matched = 0, wrong = 0;
    wcoh_circle *circle = circle_of(360, 1);
    for (i = 0; i < 8; i++) matched += wcoh_fuzzy(0, degrees(angles[i]), 0, degrees(5)) > 0;
    row_count_of(15, "within 5 degrees of 0 across the wrap (of 8)", 7, matched);
    row_real(15, "degrees between 1 and 359", 2, to_degrees(wcoh_angle(a, b)), 6);
    row_real(15, "their coherence", 0.999391, wcoh_coherence(a, b), 6);
    row_real(15, "fuzzy 0, orb 8, at 1 degree", 0.980785, wcoh_fuzzy(0, a, 0, degrees(8)), 6);
    row_real(15, "  at 359 degrees", 0.980785, wcoh_fuzzy(0, b, 0, degrees(8)), 6);
    row_real(15, "directed from 1 to 359", 358, to_degrees(wcoh_angle_directed(a, b)), 6);
    row_real(15, "directed from 359 to 1", 2, to_degrees(wcoh_angle_directed(b, a)), 6);
    for (i = 0; i < 360; i++) put(circle, i, 0);
    for (i = 0; i < 360; i++) {
        const answer *found = ask(circle, query_of(i, 1, t, 0, 0, -1));
        wrong += found->count != 1 || found->hits[0].slot != (uint64_t)i;
    }
    row_real(16, "safe threshold of 360 buckets", 0.999924, t, 6);
    row_count_of(16, "of 360 exact queries not exactly itself", 0, wrong);
    row_count_of(16, "hits of n = 3 at t 0.99", 15,
                 (double)ask(circle, query_of(0, 3, 0.99, 0, 0, -1))->count);
    row_count_of(16, "hits of n = 4 at t 0.99", 20,
                 (double)ask(circle, query_of(0, 4, 0.99, 0, 0, -1))->count);
    wcoh_circle_destroy(circle);
}

/* ---- tests 17 to 20: density and the index ------------------------------------------------ */

static void test_17(void)
{
    static const struct {
        int n, buckets;
        double separation;
        int harmonic;
        const char *exact;
        int triad;
        double collision;
    } t[8] = {{7, 12, 32.461, 1, "ok", 1, 82.6},    {9, 27, 20.062, 2, "ok", 2, 73.6},
              {12, 12, 20.062, 2, "FAIL", 2, 99.6}, {20, 60, 12.399, 3, "ok", 3, 95.8},
              {50, 360, 4.736, 6, "ok", 10, 96.7},  {100, 360, 1.809, 15, "ok", 19, 100},
              {200, 360, 1.118, 24, "ok", 36, 100}, {360, 360, 0.691, 38, "FAIL", 66, 100}};
    int i, a, b;
    for (i = 0; i < 8; i++) {
        wcoh_circle *circle = golden_circle(t[i].n, t[i].buckets, 1, 0);
        double separation = 7, exact = wcoh_threshold_safe((uint64_t)t[i].buckets);
        double pairs = t[i].n * (t[i].n - 1) / 2.0;
        int failed = 0;
        char what[64];
        for (a = 0; a < t[i].n; a++) {
            for (b = 0; b < a; b++) {
                double d = wcoh_angle(degrees(a * golden_angle), degrees(b * golden_angle));
                if (d < separation) separation = d;
            }
            failed += ask(circle, query_of(a * golden_angle, 1, exact, 0, 0, -1))->count != 1;
        }
        snprintf(what, sizeof what, "%d golden on %d: least separation, degrees", t[i].n,
                 t[i].buckets);
        row_real(17, what, t[i].separation, to_degrees(separation), 3);
        row_count_of(17, "  harmonic that tells them apart (t 0.9)", t[i].harmonic,
                     wcoh_fingerprint(0, separation, 0.9));
        row_text(17, "  exact match", t[i].exact, failed ? "FAIL" : "ok");
        row_count_of(17, "  triad hits of object 0 (t 0.85)", t[i].triad,
                     (double)ask(circle, query_of(0, 3, 0.85, 0, 0, -1))->count);
        row_real(17, "  collision estimate, % (N(N-1)/2B)", t[i].collision,
                 100 * (1 - exp(-pairs / t[i].buckets)), 1);
        wcoh_circle_destroy(circle);
    }
}

static void test_18(void)
{
    static const double exact_t[3] = {0.95, 0.99, 0.999}, exact_found[3] = {101, 46, 14};
    static const double exact_examined[3] = {107, 53, 20};
    static const int harmonic[5] = {2, 3, 4, 6, 12};
    static const double found[5] = {144, 143, 144, 143, 142};
    static const double examined[5] = {150, 158, 167, 185, 234};
    wcoh_circle *circle = golden_circle(1000, 360, 1, 0);
    char what[64];
    int i;
    for (i = 0; i < 3; i++) {
        const answer *a = ask(circle, query_of(45, 1, exact_t[i], 0, 0, -1));
        snprintf(what, sizeof what, "1000 golden, exact at 45, t %g: found", exact_t[i]);
        row_count_of(18, what, exact_found[i], (double)a->count);
        row_count_of(18, "  examined", exact_examined[i], (double)a->examined);
    }
    for (i = 0; i < 5; i++) {
        const answer *a = ask(circle, query_of(0, harmonic[i], 0.9, 0, 0, -1));
        snprintf(what, sizeof what, "harmonic %d at 0, t 0.9: found", harmonic[i]);
        row_count_of(18, what, found[i], (double)a->count);
        row_count_of(18, "  examined", examined[i], (double)a->examined);
    }
    wcoh_circle_destroy(circle);
}

static void test_19(void)
{
    static const double ee[4][2] = {{45, 100}, {180, 270}, {0, 0}, {200, 50}};
    static const double ee_found[4] = {0, 0, 50, 0}, ee_examined[4] = {0, 0, 66, 0};
    static const double eh[3][2] = {{0, 0}, {120, 60}, {270, 180}};
    static const double eh_found[3] = {30, 0, 0}, eh_examined[3] = {43, 0, 16};
    static const double independent[4] = {7, 4, 6, 5};
    wcoh_circle *torus = golden_circle(500, 60, 2, 222.49223594996215);
    wcoh_circle *other = golden_circle(500, 60, 2, 360 * (sqrt(2.0) - 1));
    wcoh_circle *ring = golden_circle(500, 60, 1, 0);
    char what[64];
    int i;
    for (i = 0; i < 4; i++) {
        const answer *a = ask(torus, query_of(ee[i][0], 1, 0.95, ee[i][1], 1, 0.95));
        snprintf(what, sizeof what, "torus, exact+exact at (%.0f,%.0f): found", ee[i][0], ee[i][1]);
        row_count_of(19, what, ee_found[i], (double)a->count);
        row_count_of(19, "  examined", ee_examined[i], (double)a->examined);
    }
    for (i = 0; i < 3; i++) {
        const answer *a = ask(torus, query_of(eh[i][0], 1, 0.95, eh[i][1], 3, 0.85));
        snprintf(what, sizeof what, "torus, exact+triad at (%.0f,%.0f): found", eh[i][0], eh[i][1]);
        row_count_of(19, what, eh_found[i], (double)a->count);
        row_count_of(19, "  examined", eh_examined[i], (double)a->examined);
    }
    row_count_of(19, "ring of the first attribute, at 45: examined", 76,
                 (double)ask(ring, query_of(45, 1, 0.95, 0, 0, -1))->examined)
        ->note =
        "the second attribute is minus the first, so all entities lie on one line of the torus and "
        "most targets are empty; the next rows take an independent second attribute";
    for (i = 0; i < 4; i++) {
        const answer *a = ask(other, query_of(ee[i][0], 1, 0.95, ee[i][1], 1, 0.95));
        snprintf(what, sizeof what, "  independent, at (%.0f,%.0f): found", ee[i][0], ee[i][1]);
        row_count_of(19, what, independent[i], (double)a->count);
    }
    wcoh_circle_destroy(torus);
    wcoh_circle_destroy(other);
    wcoh_circle_destroy(ring);
}

static void test_20(void)
{
    wcoh_circle *circle = golden_circle(200, 60, 1, 0);
    uint64_t slot;
    int i, before = mismatches, target;
    row_count_of(20, "active after building", 200, (double)wcoh_circle_count(circle));
    for (slot = 0; slot < 200; slot += 4) wcoh_circle_remove(circle, slot);
    row_count_of(20, "active after removing every fourth", 150, (double)wcoh_circle_count(circle));
    row_count_of(20, "removing one of them again succeeds", 0, wcoh_circle_remove(circle, 4));
    for (i = 0; i < 30; i++) put(circle, i * 11.7 + 0.3, 0);
    row_count_of(20, "active after inserting 30", 180, (double)wcoh_circle_count(circle));
    for (slot = 1; slot < 40; slot += 2) {
        double phase = degrees((double)slot * 7.3);
        wcoh_circle_update(circle, slot, &phase, NULL);
    }
    row_count_of(20, "active after moving 20", 180, (double)wcoh_circle_count(circle));
    for (target = 0; target < 360; target += 15) {
        ask(circle, query_of(target, 1, 0.95, 0, 0, -1));
        ask(circle, query_of(target, 3, 0.85, 0, 0, -1));
    }
    row_count_of(20, "queries that differ from a full scan", 0, mismatches - before);
    wcoh_circle_destroy(circle);
}

/* ---- tests 21 to 23: harmonics ------------------------------------------------------------ */

static const double letters[8] = {0, 120, 180, 90, 60, 72, 37, 143}; /* A .. H */

/* Cosine of the vectors (cos theta, .., cos 12 theta) of two angles. */
static double cosine_12(double a, double b)
{
    double aa = 0, ab = 0, bb = 0;
    int n;
    for (n = 1; n <= 12; n++) {
        double x = cos(n * a), y = cos(n * b);
        aa += x * x;
        ab += x * y;
        bb += y * y;
    }
    return ab / sqrt(aa * bb);
}

static void test_21(void)
{
    static const double cosine[5] = {0, 0, 0, 0, -0.0602};
    static const double mean[12] = {.5840, .6038, .5857, .6230, .6200, .7269,
                                    .5951, .6200, .6312, .7603, .5941, .6156};
    static const double above[12] = {1, 3, 6, 3, 3, 10, 1, 3, 6, 6, 1, 10};
    static const int fires[5] = {3, 2, 4, 6, 5};
    double phases[8], loudest = 0;
    char what[64];
    int i, n;
    for (i = 0; i < 8; i++) phases[i] = degrees(letters[i]);
    for (i = 1; i <= 5; i++) {
        double scores[12];
        snprintf(what, sizeof what, "cosine of A and %c", 'A' + i);
        row_real(21, what, cosine[i - 1], cosine_12(phases[0], phases[i]), 4);
        wcoh_sweep(phases[0], phases[i], scores, 12);
        for (n = 1; n <= 12 && scores[n - 1] <= 0.999; n++) continue;
        row_count_of(21, "  first harmonic above 0.999", fires[i - 1], n);
    }
    for (i = 6; i <= 7; i++)
        for (n = 1; n <= 6; n++) {
            double c = wcoh_coherence_harmonic(phases[0], phases[i], n);
            if (c > loudest) loudest = c;
        }
    row_count_of(21, "controls G, H above 0.999 for n <= 6", 0, loudest > 0.999)->note =
        "the pairs are exact by construction; at t 0.95 the controls fire too (|C_5| = .996), and "
        "with enough harmonics nearly every angle does";
    for (n = 1; n <= 12; n++) {
        wcoh_profile_row p = wcoh_profile(phases, 8, n, 0.999);
        snprintf(what, sizeof what, "profile: mean |C_%d|", n);
        row_real(21, what, mean[n - 1], p.mean_abs, 4);
        row_count_of(21, "  pairs above 0.999", above[n - 1], (double)p.above);
    }
}

/* Least principal minor of order 2 and 3 of the Gram matrix of C_n over three angles. */
static double least_minor(double ab, double ac, double bc)
{
    double two = 1 - ab * ab, three = 1 + 2 * ab * ac * bc - ab * ab - ac * ac - bc * bc;
    return two < three ? two : three;
}

static void test_22(void)
{
    static const double angles[13] = {0, 30, 45, 60, 72, 90, 120, 137.5, 180, 210, 270, 315, 359};
    static const int harmonic[8] = {1, 2, 3, 4, 5, 6, 8, 12};
    int symmetric = 0, normal = 0, violations = 0, i, a, b, c;
    double width = 7;
    for (i = 0; i < 8; i++) {
        int n = harmonic[i];
        if (wcoh_threshold_width(0.95, n) > width) violations++;
        width = wcoh_threshold_width(0.95, n);
        for (a = 0; a < 13; a++) {
            double x = degrees(angles[a]);
            normal += fabs(wcoh_coherence_harmonic(x, x, n) - 1) <= 1e-10;
            for (b = a + 1; b < 13; b++) {
                double y = degrees(angles[b]), xy = wcoh_coherence_harmonic(x, y, n);
                symmetric += fabs(xy - wcoh_coherence_harmonic(y, x, n)) <= 1e-10;
                for (c = b + 1; c < 13; c++) {
                    double z = degrees(angles[c]);
                    violations += least_minor(xy, wcoh_coherence_harmonic(x, z, n),
                                              wcoh_coherence_harmonic(y, z, n)) < -1e-10;
                }
            }
        }
    }
    row_count_of(22, "symmetry checks passed", 624, symmetric);
    row_count_of(22, "normalisation checks passed", 104, normal);
    row_count_of(22, "violations of positivity or resolution", 0, violations);
}

static void test_23(void)
{
    static const double sets[4][4] = {
        {0, 120, 240, 0}, {0, 180, 0, 0}, {0, 90, 180, 270}, {0, 37, 143, 211}};
    static const int sizes[4] = {3, 2, 4, 4}, fundamental[4] = {3, 2, 4, 0};
    double phases[4], largest = -1;
    int i, k, n, at = 0;
    char what[64];
    for (i = 0; i < 4; i++) {
        for (k = 0; k < sizes[i]; k++) phases[k] = degrees(sets[i][k]);
        snprintf(what, sizeof what, "fundamental of set %d (0: none)", i + 1);
        row_count_of(23, what, fundamental[i],
                     wcoh_fundamental(phases, (size_t)sizes[i], 12, 0.95));
    }
    for (n = 1; n <= 12; n++) {
        double mean = wcoh_profile(phases, 4, n, 0.999).mean;
        if (mean > largest) {
            largest = mean;
            at = n;
        }
    }
    row_real(23, "noise set: largest signed mean", 0.803, largest, 3);
    row_count_of(23, "  at n", 10, at);
}

/* ---- several grids, and the interval map -------------------------------------------------- */

static void more_grids(void)
{
    static const uint64_t sets[3][3] = {{12, 10, 0}, {12, 10, 27}, {12, 24, 0}};
    static const int sizes[3] = {2, 3, 2};
    static const double positions[3] = {22, 49, 36}, harmonic[3] = {30, 270, 12};
    static const double distinct[3] = {20, 44, 24};
    int i;
    char what[64];
    for (i = 0; i < 3; i++) {
        wcoh_grids g;
        wcoh_error error;
        must(wcoh_grids_of(&g, sets[i], sizes[i], &error), NULL, &error);
        snprintf(what, sizeof what, "grids, set %d: positions", i + 1);
        row_count_of(0, what, positions[i], (double)g.positions);
        row_count_of(0, "  highest harmonic", harmonic[i], (double)g.harmonic);
        row_count_of(0, "  different positions (not published)", distinct[i], (double)g.distinct);
    }
}

/* Channels a, b: their ratio folded into an octave, the nearest of 13 just intervals, its rank of
   consonance: 0..5 consonant, 6..9 mild, 10.. dissonant. */
static int interval_rank(int a, int b)
{
    static const double ratio[13] = {1,      16 / 15., 9 / 8., 6 / 5.,  5 / 4.,  4 / 3., 45 / 32.,
                                     3 / 2., 8 / 5.,   5 / 3., 16 / 9., 15 / 8., 2};
    static const int rank[13] = {0, 11, 8, 5, 4, 3, 12, 2, 7, 6, 9, 10, 1};
    double r = a > b ? (double)a / b : (double)b / a;
    int i, best = 0;
    while (r > 2) r /= 2;
    for (i = 1; i < 13; i++)
        if (fabs(ratio[i] - r) < fabs(ratio[best] - r)) best = i;
    return rank[best];
}

static void more_intervals(void)
{
    static const int channels[2] = {16, 64};
    static const double published[2][3] = {{62, 34, 24}, {874, 608, 534}};
    static const char *const names[3] = {"consonant", "mild", "dissonant"};
    int i, k, a, b;
    char what[64];
    for (i = 0; i < 2; i++) {
        int count[3] = {0, 0, 0};
        for (a = 1; a <= channels[i]; a++)
            for (b = a + 1; b <= channels[i]; b++) {
                int rank = interval_rank(a, b);
                count[rank <= 5 ? 0 : rank <= 9 ? 1 : 2]++;
            }
        for (k = 0; k < 3; k++) {
            snprintf(what, sizeof what, "%s pairs of channels 1..%d", names[k], channels[i]);
            row_count_of(0, what, published[i][k], count[k]);
        }
    }
}

/* ---- output ------------------------------------------------------------------------------- */

static void run_experiments(void)
{
    row_count = mismatches = 0;
    test_1_to_3();
    test_4_5();
    test_6_7();
    test_8_9();
    test_10_to_12();
    test_13_14();
    test_15_16();
    test_17();
    test_18();
    test_19();
    test_20();
    test_21();
    test_22();
    test_23();
    more_grids();
    more_intervals();
}

#ifndef COHERENCE_NO_MAIN
static void print_json(void)
{
    int i;
    printf("{\"rows\":[");
    for (i = 0; i < row_count; i++) {
        printf(
            "%s\n{\"test\":%d,\"what\":\"%s\",\"published\":\"%s\",\"ours\":\"%s\",\"agrees\":%s",
            i ? "," : "", rows[i].test, text_json(rows[i].what), text_json(rows[i].published),
            text_json(rows[i].ours), rows[i].agrees ? "true" : "false");
        if (rows[i].note) printf(",\"note\":\"%s\"", text_json(rows[i].note));
        printf("}");
    }
    printf("],\n\"queries_unlike_a_full_scan\":%d}\n", mismatches);
}

static void print_table(void)
{
    int i, agree = 0;
    printf("test  %-50s %22s %22s\n", "what", "published", "ours");
    for (i = 0; i < row_count; i++) {
        agree += rows[i].agrees;
        if (rows[i].test) printf("%4d  ", rows[i].test);
        else printf("   -  ");
        printf("%-50s %22s %22s  %s\n", rows[i].what, rows[i].published, rows[i].ours,
               rows[i].agrees ? "agrees" : "DIFFERS");
        if (rows[i].note) printf("      note: %s\n", rows[i].note);
    }
    printf("%d of %d numbers agree; %d index queries differ from a full scan\n", agree, row_count,
           mismatches);
}

static int json_wanted(int argc, char **argv)
{
    int json = 0;
    const option options[] = {{"json", OPTION_FLAG, &json, 0, 0, "print JSON"}};
    command c;
    memset(&c, 0, sizeof c);
    c.usage = "[--json]\nThe published experiments again: each number beside the published one.";
    c.options = options;
    c.option_count = 1;
    options_read(&c, argc, argv);
    return json;
}

int main(int argc, char **argv)
{
    int i, bad = 0, json;
    program_begin("coherence");
    json = json_wanted(argc, argv);
    run_experiments();
    if (json) print_json();
    else print_table();
    stdout_check();
    for (i = 0; i < row_count; i++) bad += !rows[i].agrees;
    return bad || mismatches ? 1 : 0;
}
#endif

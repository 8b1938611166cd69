/* The coherence toolkit: the published experiments to the printed digit, the index against full
   scans, the transform against direct sums, nulls that behave like nulls, retrieval against
   exhaustive cosine, closed forms of attention and matrices, and hostile files.
   cc -O2 tests/test_toolkit.c -o test_toolkit -lm -lpthread */
#define COHERENCE_NO_MAIN
#define WAVECOH_SCALAR
#include "../examples/coherence.c"

#include "test.h"

static void *must_have(void *pointer)
{
    if (pointer) return pointer;
    fprintf(stderr, "the test has no memory\n");
    exit(1);
}

#define NEW(type, count) ((type *)must_have(calloc((size_t)(count), sizeof(type))))

/* ---- relations on the circle -------------------------------------------------------------- */

static void published_experiments_agree_to_the_printed_digit(void)
{
    int i;
    run_experiments();
    CHECK(row_count > 200);
    CHECK(mismatches == 0);
    for (i = 0; i < row_count; i++)
        CHECK_SAY(rows[i].agrees, "test %d, %s: published %s, ours %s", rows[i].test, rows[i].what,
                  rows[i].published, rows[i].ours);
}

static void encodings_lie_in_one_turn(void)
{
    double turn = 2 * 3.14159265358979323846;
    CHECK_NEAR(wcoh_phase_id(7, 12), 7 * turn / 12, 1e-15);
    CHECK(wcoh_phase_id(19, 12) == wcoh_phase_id(7, 12));
    CHECK(wcoh_phase_id(5, 0) == 0);
    CHECK_NEAR(wcoh_phase_fraction(-0.5, 10), turn * 0.95, 1e-14);
    CHECK(wcoh_phase_fraction(3, 0) == 0);
    CHECK_NEAR(wcoh_phase_degrees(-90), turn * 0.75, 1e-15);
    CHECK_NEAR(wcoh_phase_degrees(1e6), turn * 280 / 360, 1e-9);
    CHECK(wcoh_phase_wrap(-1e-300) == 0);
    CHECK(wcoh_phase_wrap(-1.0) > 0 && wcoh_phase_wrap(1e300) < turn);
    CHECK_NEAR(wcoh_phase_fraction(1.5e308, 1.75e308), turn * (1.5 / 1.75), 1e-14);
    CHECK_NEAR(wcoh_phase_fraction(-4 * 4.9406564584124654e-324, 16 * 4.9406564584124654e-324),
               turn * 0.75, 1e-14);
    CHECK(wcoh_phase_fraction(1, HUGE_VAL) == 0 && wcoh_phase_fraction(HUGE_VAL, 3) == 0);
}

static void thresholds_have_their_closed_forms(void)
{
    int n;
    CHECK_NEAR(wcoh_threshold_floor(12, 1), 0.8660, 5e-5);
    CHECK_NEAR(wcoh_threshold_floor(60, 1), 0.9945, 5e-5);
    CHECK_NEAR(wcoh_threshold_floor(100, 1), 0.9980, 5e-5);
    CHECK_NEAR(wcoh_threshold_floor(360, 1), 0.99985, 5e-6);
    CHECK_NEAR(wcoh_threshold_floor(360, 3), 0.998630, 5e-7);
    CHECK_NEAR(wcoh_threshold_floor(360, 12), 0.978148, 5e-7);
    CHECK_NEAR(wcoh_threshold_safe(360), 0.999924, 5e-7);
    CHECK(wcoh_threshold_buckets(wcoh_threshold_floor(360, 3) + 1e-9, 3) >= 360);
    CHECK_NEAR(wcoh_threshold_width(0.9, 3), acos(0.9) / 3, 1e-15);
    CHECK(wcoh_threshold_width(0.9, 0) == 0);
    CHECK(wcoh_threshold_floor(0, 1) == 0 && wcoh_threshold_safe(0) == 0);
    CHECK(wcoh_threshold_buckets(1, 1) == 0 && wcoh_fingerprint(1, 1, 0.9) == 0);
    CHECK(wcoh_fuzzy(0, 1, 1, 0) == 0);
    CHECK(wcoh_fuzzy(0, 1, HUGE_VAL, HUGE_VAL) == 0 && wcoh_fuzzy(0, 1, 1, HUGE_VAL) == 1);
    CHECK_NEAR(wcoh_threshold_floor(360, 1500000000), cos(2 * acos(-1) * (1500000000 % 360) / 360),
               1e-6);
    CHECK_NEAR(wcoh_threshold_floor(UINT64_MAX, INT_MIN), 1, 1e-15);
    for (n = 1; n < 1000; n++) { /* the least above: 2 pi n / acos is a whole number here */
        CHECK(wcoh_threshold_buckets(0, n) == 4 * n + 1);
        CHECK(wcoh_threshold_buckets(-1, n) == 2 * n + 1);
        CHECK(wcoh_threshold_buckets(0.5, n) == 6 * n + 1);
    }
    CHECK(wcoh_threshold_buckets(0.51, 1) == 7 && wcoh_threshold_buckets(0.49, 1) == 6);
    CHECK(wcoh_threshold_buckets(0, -1) == 0);
}

/* <e(a), e(b)> = (1/N) sum_n cos n(a - b): true for cosine and sine pairs. */
static void harmonic_vectors_have_the_dirichlet_kernel(void)
{
    float a[128], b[128];
    double dot = 0, norm = 0, kernel = 0;
    int i, n;
    wcoh_harmonic_vector(0.7, a, 64);
    wcoh_harmonic_vector(2.9, b, 64);
    for (i = 0; i < 128; i++) {
        dot += (double)a[i] * (double)b[i];
        norm += (double)a[i] * (double)a[i];
    }
    for (n = 1; n <= 64; n++) kernel += wcoh_coherence_harmonic(0.7, 2.9, n) / 64;
    CHECK_NEAR(norm, 1, 1e-6);
    CHECK_NEAR(dot, kernel, 1e-6);
}

static void resultant_finds_a_common_offset(void)
{
    double d[3] = {0.4, 0.4 + 2 * 3.14159265358979323846 / 3, 0.4 - 2 * 3.14159265358979323846 / 3};
    double offset, equal[600];
    int count, n;
    CHECK_NEAR(wcoh_resultant(d, 3, 3, &offset), 1, 1e-12);
    CHECK_NEAR(offset, 0.4, 1e-12);
    CHECK_NEAR(wcoh_resultant(d, 3, 1, NULL), 0, 1e-12);
    CHECK(wcoh_resultant(d, 0, 1, NULL) == 0);
    CHECK(wcoh_fundamental(d, 1, 12, 0.5) == 0);
    for (count = 1; count < 600; count++) { /* equal ones: no longer than 1, to the last bit */
        equal[count - 1] = 0.7;
        for (n = 1; n < 4; n++) {
            double length = wcoh_resultant(equal, (size_t)count, n, NULL);
            CHECK(length <= 1 && length > 1 - 1e-12);
        }
    }
}

static void grids_refuse_what_overflows(void)
{
    uint64_t large[3] = {(uint64_t)1 << 40, ((uint64_t)1 << 40) - 1, 5}, zero[1] = {0};
    wcoh_grids grids;
    wcoh_error error;
    CHECK(wcoh_grids_of(&grids, large, 3, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "overflow");
    CHECK(wcoh_grids_of(&grids, zero, 1, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_grids_of(&grids, zero, 0, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_grids_of(&grids, large, 17, NULL) == WCOH_E_ARGUMENT);
    large[2] = ((uint64_t)1 << 58) + 1;
    CHECK(wcoh_grids_of(&grids, large + 2, 1, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "modulus 0 is outside 1..2^58");
    CHECK(wcoh_grids_of(&grids, large + 1, 2, NULL) == WCOH_E_ARGUMENT);
    CHECK(grids.positions == 0 && grids.lcm == 0); /* nothing is left half made */
}

/* Against 60 digits of 2 pi; the tolerance is two steps of a double near 2 pi. */
static void phases_fold_by_the_true_turn(void)
{
    static const double t[9][2] = {{7, 0.7168146928204135},
                                   {1e6, 5.925621140093852},
                                   {1e12, 5.6255605480428},
                                   {63000000000000.25, 2.801937324639558},
                                   {1e15, 2.1096981170701126},
                                   {9007199254740992.0, 4.15554243060254},
                                   {-1, 5.283185307179586},
                                   {-1e15, 4.173487190109474},
                                   {-9007199254740992.0, 2.1276428765770463}};
    int i;
    for (i = 0; i < 9; i++) {
        double folded = wcoh_phase_wrap(t[i][0]);
        CHECK_NEAR(folded, t[i][1], 2e-15);
        CHECK(wcoh_phase_wrap(folded) == folded);
        CHECK_NEAR(wcoh_coherence(t[i][0], 0.25), cos(t[i][1] - 0.25), 4e-15);
        CHECK_NEAR(wcoh_coherence_harmonic(t[i][0], -t[i][0], 5), cos(10 * t[i][1]), 4e-14);
    }
    CHECK(wcoh_phase_wrap(HUGE_VAL) == 0 && wcoh_phase_wrap(-HUGE_VAL) == 0);
}

/* ---- the circle as an index --------------------------------------------------------------- */

/* ask() counts every answer that is not the full scan's. */
static void random_mutations_keep_index_and_scan_equal(void)
{
    static const int buckets[4] = {1, 7, 60, 360};
    wcoh_rng rng = wcoh_rng_seed(20);
    int round, axes, step;
    for (round = 0; round < 4; round++)
        for (axes = 1; axes <= 2; axes++) {
            wcoh_circle *circle = circle_of(buckets[round], axes);
            uint64_t alive = 0;
            for (step = 0; step < 600; step++) {
                double p[2];
                uint64_t slot = wcoh_rng_next(&rng) % (wcoh_circle_slots(circle) + 1);
                double what = wcoh_rng_uniform(&rng), grid = step % 3 ? 1 : 3.14159265358979 / 180;
                int there = wcoh_circle_phases(circle, slot, p);
                p[0] = floor(wcoh_rng_normal(&rng) * 40) * grid;
                p[1] = wcoh_rng_uniform(&rng) * 6.3;
                if (what < 0.6) {
                    CHECK(wcoh_circle_insert(circle, p, NULL, NULL) == WCOH_OK);
                    alive++;
                } else if (what < 0.8) {
                    CHECK(wcoh_circle_remove(circle, slot) == there);
                    CHECK(wcoh_circle_remove(circle, slot) == 0);
                    alive -= (uint64_t)there;
                } else {
                    CHECK((wcoh_circle_update(circle, slot, p, NULL) == WCOH_OK) == (there != 0));
                }
                CHECK(wcoh_circle_count(circle) == alive);
                if (step % 10 == 0) {
                    int n = 1 + (int)(wcoh_rng_next(&rng) % 40);
                    ask(circle, query_of(wcoh_rng_uniform(&rng) * 800 - 400, n,
                                         1 - 1.9 * wcoh_rng_uniform(&rng),
                                         floor(wcoh_rng_uniform(&rng) * 24) * 15, n % 5, 0.5));
                }
            }
            wcoh_circle_destroy(circle);
        }
    CHECK(mismatches == 0);
}

/* Matches that sit on the edge of a bucket, thresholds that are whole buckets wide. */
static void edges_of_buckets_lose_nothing(void)
{
    wcoh_circle *circle = circle_of(360, 1);
    int i, width, n;
    for (i = 0; i < 360; i++) put(circle, i, 0);
    for (width = 0; width < 12; width++)
        for (n = 1; n < 8; n++)
            for (i = 0; i < 360; i += 7)
                ask(circle, query_of(i, n, cos(width * n * 3.14159265358979323846 / 180), 0, 0, 0));
    ask(circle, query_of(0, 1, -1, 0, 0, 0));
    ask(circle, query_of(0, 1 << 20, 1, 0, 0, 0));
    wcoh_circle_destroy(circle);
    CHECK(mismatches == 0);
}

/* Phases of every size up to 2^53, asked with targets of every size. */
static void large_phases_are_found_as_a_full_scan_finds_them(void)
{
    static const int buckets[3] = {7, 360, 1 << 20};
    wcoh_rng rng = wcoh_rng_seed(16);
    double bad = 9.1e15;
    int round, axes, i;
    for (round = 0; round < 3; round++)
        for (axes = 1; axes <= 1 + (round < 2); axes++) {
            wcoh_circle *circle = circle_of(buckets[round], axes);
            for (i = 0; i < 500; i++) {
                double p[2];
                p[0] = (wcoh_rng_uniform(&rng) - 0.5) * pow(10, i % 16) * 18;
                p[1] = (wcoh_rng_uniform(&rng) - 0.5) * pow(10, i % 16) * 18;
                CHECK(wcoh_circle_insert(circle, p, NULL, NULL) == WCOH_OK);
            }
            for (i = 0; i < 400; i++) {
                wcoh_circle_query query =
                    query_of(0, 1 + i % 9, 1 - 0.5 * wcoh_rng_uniform(&rng), 0, 1 + i % 4, -0.5);
                query.phase[0] = (wcoh_rng_uniform(&rng) - 0.5) * pow(10, i % 16) * 18;
                query.phase[1] = (wcoh_rng_uniform(&rng) - 0.5) * pow(10, i % 16) * 18;
                ask(circle, query);
            }
            CHECK(wcoh_circle_insert(circle, &bad, NULL, NULL) == WCOH_E_ARGUMENT);
            wcoh_circle_destroy(circle);
        }
    CHECK(mismatches == 0);
}

/* A cosine near 1 is known to 1e-16, its angle i widths apart only to 1e-16 / sin: entities that lie
   behind the arc by less still answer, and the target sits on a bucket's edge. */
static void rounded_cosines_at_the_edge_are_found(void)
{
    wcoh_circle *circle = circle_of(1 << 24, 1);
    double width = 2 * 3.14159265358979323846 / (1 << 24), target = 2670177 * width;
    int i, k;
    for (i = -40; i <= 40; i++)
        for (k = -5; k <= 5; k++) {
            double phase = target + i * width + k * 1e-11 / (abs(i) + 1);
            CHECK(wcoh_circle_insert(circle, &phase, NULL, NULL) == WCOH_OK);
        }
    for (i = 1; i <= 40; i++) {
        wcoh_circle_query query = query_of(0, 1, cos(i * width), 0, 0, 0);
        query.phase[0] = target;
        ask(circle, query);
    }
    wcoh_circle_destroy(circle);
    CHECK(mismatches == 0);
}

/* A million places where a harmonic is 1 lie in the buckets that there are: a torus of 4096 x 4096
   is asked in a tenth of a second, and took 40 when every place was walked for every bucket. */
static void high_harmonics_cost_no_more_than_all_buckets(void)
{
    wcoh_circle *circle = circle_of(4096, 2);
    double phases[2] = {1, 2};
    wcoh_circle_query query = query_of(0, 1 << 20, 0.5, 0, 1 << 20, 0.5);
    size_t count = 0;
    clock_t before;
    CHECK(wcoh_circle_insert(circle, phases, NULL, NULL) == WCOH_OK);
    query.phase[0] = 1;
    query.phase[1] = 2;
    before = clock();
    CHECK(wcoh_circle_find(circle, &query, NULL, 0, &count, NULL, NULL) == WCOH_OK && count == 1);
    CHECK((double)(clock() - before) / CLOCKS_PER_SEC < 5);
    wcoh_circle_destroy(circle);
}

static void circle_refuses_what_it_cannot_hold(void)
{
    wcoh_circle_desc desc;
    wcoh_circle *circle;
    wcoh_circle_query query = query_of(0, 1, 0.9, 0, 1, 0.9);
    wcoh_error error;
    double bad = HUGE_VAL;
    size_t count;
    memset(&desc, 0, sizeof desc);
    desc.buckets = -1;
    CHECK(wcoh_circle_create(&circle, &desc, &error) == WCOH_E_ARGUMENT && !circle);
    CHECK_TEXT(error.text, "buckets is -1");
    desc.buckets = 5000;
    desc.axes = 2;
    CHECK(wcoh_circle_create(&circle, &desc, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "buckets is 5000: allowed on two axes are 1 to 4096");
    desc.axes = 3;
    CHECK(wcoh_circle_create(&circle, &desc, NULL) == WCOH_E_ARGUMENT);
    CHECK(wcoh_circle_create(&circle, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_circle_get_desc(circle)->buckets == 360);
    CHECK(wcoh_circle_insert(circle, &bad, NULL, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_circle_update(circle, 0, &bad, &error) == WCOH_E_ARGUMENT);
    CHECK(wcoh_circle_remove(circle, 3) == 0);
    query.harmonic[0] = -2;
    CHECK(wcoh_circle_find(circle, &query, NULL, 0, &count, NULL, &error) == WCOH_E_ARGUMENT);
    query.harmonic[0] = 1;
    query.threshold[0] = bad;
    CHECK(wcoh_circle_find(circle, &query, NULL, 0, &count, NULL, &error) == WCOH_E_ARGUMENT);
    wcoh_circle_destroy(circle);
    wcoh_circle_destroy(NULL);
}

/* A counting allocator that fails at the n-th request. */
static int alloc_left;
static long alloc_open;

static void *alloc_counted(size_t size, void *user)
{
    (void)user;
    if (alloc_left-- <= 0) return NULL;
    alloc_open++;
    return malloc(size);
}

static void release_counted(void *pointer, size_t size, void *user)
{
    (void)size;
    (void)user;
    alloc_open--;
    free(pointer);
}

static wcoh_memory memory_that_fails(int after)
{
    wcoh_memory memory;
    memset(&memory, 0, sizeof memory);
    memory.alloc = alloc_counted;
    memory.release = release_counted;
    alloc_left = after;
    return memory;
}

static void circle_survives_every_failing_allocation(void)
{
    int after;
    for (after = 0; after < 12; after++) {
        wcoh_circle_desc desc;
        wcoh_circle *circle;
        int i, failed = 0;
        memset(&desc, 0, sizeof desc);
        desc.memory = memory_that_fails(after);
        if (wcoh_circle_create(&circle, &desc, NULL) == WCOH_OK) {
            for (i = 0; i < 3000; i++) {
                double phase = i * 0.01;
                uint64_t before = wcoh_circle_count(circle);
                if (wcoh_circle_insert(circle, &phase, NULL, NULL) == WCOH_OK) continue;
                failed = 1;
                CHECK(wcoh_circle_count(circle) == before);
                break;
            }
            CHECK(failed || after > 3);
            ask(circle, query_of(10, 3, 0.9, 0, 0, 0));
            wcoh_circle_destroy(circle);
        }
        CHECK(alloc_open == 0);
    }
    CHECK(mismatches == 0);
}

static void circle_lives_in_a_block_until_it_is_full(void)
{
    size_t size = 400000;
    wcoh_circle_desc desc;
    wcoh_circle *circle;
    double phase = 0;
    memset(&desc, 0, sizeof desc);
    desc.memory.block = must_have(malloc(size));
    desc.memory.block_size = size;
    CHECK(wcoh_circle_create(&circle, &desc, NULL) == WCOH_OK);
    while (wcoh_circle_insert(circle, &phase, NULL, NULL) == WCOH_OK) phase += 0.37;
    CHECK(wcoh_circle_count(circle) > 1000);
    ask(circle, query_of(10, 3, 0.999, 0, 0, 0));
    CHECK(mismatches == 0);
    wcoh_circle_destroy(circle);
    desc.memory.block_size = 100;
    CHECK(wcoh_circle_create(&circle, &desc, NULL) == WCOH_E_MEMORY);
    free(desc.memory.block);
}

typedef struct file {
    wcoh_memory_file block;
    wcoh_io io;
} file;

static file *file_of(size_t capacity)
{
    file *f = NEW(file, 1);
    f->block.data = NEW(unsigned char, capacity + 1);
    f->block.capacity = capacity;
    f->io = wcoh_io_memory(&f->block);
    return f;
}

static void file_free(file *f)
{
    free(f->block.data);
    free(f);
}

static void circle_file_brings_back_every_bit(void)
{
    int axes;
    for (axes = 1; axes <= 2; axes++) {
        wcoh_circle *circle = golden_circle(2500, 60, axes, 149.07), *back;
        file *f = file_of(200000);
        uint64_t slot;
        for (slot = 0; slot < 2500; slot += 3) wcoh_circle_remove(circle, slot);
        CHECK(wcoh_circle_save(circle, &f->io, NULL) == WCOH_OK);
        if (CHECK(wcoh_circle_load(&back, &f->io, NULL, NULL) == WCOH_OK)) {
            CHECK(wcoh_circle_count(back) == wcoh_circle_count(circle));
            CHECK(wcoh_circle_slots(back) == 2500);
            CHECK(wcoh_circle_get_desc(back)->buckets == 60);
            for (slot = 0; slot < 2500; slot++) {
                double a[2] = {0, 0}, b[2] = {0, 0};
                CHECK(wcoh_circle_phases(circle, slot, a) == wcoh_circle_phases(back, slot, b));
                CHECK(a[0] == b[0] && a[1] == b[1]);
            }
            wcoh_circle_destroy(back);
        }
        wcoh_circle_destroy(circle);
        file_free(f);
    }
}

/* ---- discrete Fourier transform ----------------------------------------------------------- */

static wcoh_dft *dft_of(int n)
{
    wcoh_dft *dft = NULL;
    wcoh_error error;
    CHECK_SAY(wcoh_dft_create(&dft, n, NULL, &error) == WCOH_OK, "%d: %s", n, error.text);
    return dft;
}

/* Bin k of x [n] by the sum, the angle reduced exactly. */
static wcoh_complex direct_bin(const double *x, int n, int k)
{
    wcoh_complex sum = {0, 0};
    int j;
    for (j = 0; j < n; j++) {
        double angle = 2 * 3.14159265358979323846 * (double)((int64_t)j * k % n) / n;
        sum.re += x[j] * cos(angle);
        sum.im -= x[j] * sin(angle);
    }
    return sum;
}

/* Largest error of the bins, every `stride`-th, relative to the norm of x; round trip; Parseval. */
static void check_dft(int n, int stride)
{
    wcoh_dft *dft = dft_of(n);
    wcoh_complex *bins = NEW(wcoh_complex, n / 2 + 1);
    double *x = NEW(double, n), *back = NEW(double, n), norm = 0, power = 0, worst = 0, trip = 0;
    wcoh_rng rng = wcoh_rng_seed((uint64_t)n);
    int k;
    for (k = 0; k < n; k++) {
        x[k] = wcoh_rng_normal(&rng);
        norm += x[k] * x[k];
    }
    wcoh_dft_forward(dft, x, bins);
    wcoh_dft_inverse(dft, bins, back);
    for (k = 0; k < n; k++)
        if (fabs(back[k] - x[k]) > trip) trip = fabs(back[k] - x[k]);
    for (k = 0; k <= n / 2; k++) {
        double once = k == 0 || 2 * k == n ? 1 : 2;
        power += once * (bins[k].re * bins[k].re + bins[k].im * bins[k].im);
        if (k % stride) continue;
        {
            wcoh_complex d = direct_bin(x, n, k);
            double e = fabs(d.re - bins[k].re) + fabs(d.im - bins[k].im);
            if (e > worst) worst = e;
        }
    }
    CHECK(wcoh_dft_length(dft) == n && wcoh_dft_bins(dft) == n / 2 + 1);
    CHECK_SAY(worst <= 1e-12 * sqrt(norm * n), "length %d: error %g", n, worst);
    CHECK_SAY(trip <= 1e-12, "length %d: round trip %g", n, trip);
    CHECK_SAY(fabs(power / n - norm) <= 1e-11 * norm, "length %d: Parseval", n);
    wcoh_dft_destroy(dft);
    free(bins);
    free(x);
    free(back);
}

static void dft_equals_direct_sums_at_every_length(void)
{
    int n;
    for (n = 1; n <= 512; n++) check_dft(n, 1);
}

static void dft_equals_direct_sums_at_primes(void)
{
    int n, d, prime;
    for (n = 521; n <= 4099; n++) {
        for (prime = 1, d = 2; prime && d * d <= n; d++) prime = n % d != 0;
        if (prime) check_dft(n, n / 16);
    }
    check_dft(2 * 4099, 999);
    check_dft(64 * 67, 97);
    check_dft(1 << 16, 4099);
}

static void dft_refuses_lengths_out_of_range(void)
{
    wcoh_dft *dft;
    wcoh_memory memory = memory_that_fails(0);
    CHECK(wcoh_dft_create(&dft, 0, NULL, NULL) == WCOH_E_ARGUMENT && !dft);
    CHECK(wcoh_dft_create(&dft, -5, NULL, NULL) == WCOH_E_ARGUMENT);
    CHECK(wcoh_dft_create(&dft, INT_MAX, NULL, NULL) == WCOH_E_ARGUMENT);
    CHECK(wcoh_dft_create(&dft, 67, &memory, NULL) == WCOH_E_MEMORY);
    wcoh_dft_destroy(NULL);
}

/* ---- spectral coherence and its nulls ----------------------------------------------------- */

static float *random_vectors(int count, int n, uint64_t seed)
{
    float *v = NEW(float, count *n);
    wcoh_rng rng = wcoh_rng_seed(seed);
    int i;
    for (i = 0; i < count * n; i++) v[i] = (float)wcoh_rng_normal(&rng);
    return v;
}

/* Rows 2i and 2i+1 random, of unit length and the given cosine. */
static float *pairs_of_cosine(int pairs, int n, double cosine, uint64_t seed)
{
    float *v = random_vectors(2 * pairs, n, seed);
    int i, k;
    for (i = 0; i < pairs; i++) {
        float *a = v + 2 * i * n, *b = a + n;
        double aa = 0, ab = 0, bb = 0;
        for (k = 0; k < n; k++) aa += (double)a[k] * (double)a[k];
        for (k = 0; k < n; k++) a[k] = (float)((double)a[k] / sqrt(aa));
        for (k = 0; k < n; k++) ab += (double)a[k] * (double)b[k];
        for (k = 0; k < n; k++) b[k] = (float)((double)b[k] - ab * (double)a[k]);
        for (k = 0; k < n; k++) bb += (double)b[k] * (double)b[k];
        for (k = 0; k < n; k++)
            b[k] = (float)(cosine * (double)a[k] +
                           sqrt(1 - cosine * cosine) * (double)b[k] / sqrt(bb));
    }
    return v;
}

static uint32_t *consecutive_pairs(int count)
{
    uint32_t *pairs = NEW(uint32_t, 2 * count);
    int i;
    for (i = 0; i < 2 * count; i++) pairs[i] = (uint32_t)i;
    return pairs;
}

static wcoh_spectral_desc spectral_desc(int n, int draws)
{
    wcoh_spectral_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.dimensions = n;
    desc.draws = draws;
    desc.seed = 1;
    desc.cpu.threads = 2;
    return desc;
}

static wcoh_spectral *spectral_of(const wcoh_spectral_desc *desc)
{
    wcoh_spectral *s = NULL;
    wcoh_error error;
    CHECK_SAY(wcoh_spectral_create(&s, desc, &error) == WCOH_OK, "%s", error.text);
    return s;
}

/* Band coherences and variance by the formula, from direct sums. */
static void band_coherence_equals_direct_sums(void)
{
    static const int sizes[6] = {1, 2, 3, 37, 128, 384};
    int i, k, band;
    for (i = 0; i < 6; i++) {
        int n = sizes[i], bins = n / 2 + 1;
        float *v = random_vectors(2, n, (uint64_t)n);
        double *a = NEW(double, n), *b = NEW(double, n), mean = 0, variance = 0, coherence[8];
        uint32_t pair[2] = {0, 1};
        wcoh_spectral_desc desc = spectral_desc(n, -1);
        wcoh_spectral *s = spectral_of(&desc);
        wcoh_pair_figures each;
        wcoh_figure bands[8];
        int count = wcoh_spectral_get_desc(s)->bands;
        CHECK(wcoh_spectral_pairs(s, v, 2, pair, 1, &each, bands, NULL, NULL, NULL) == WCOH_OK);
        for (k = 0; k < n; k++) {
            a[k] = (double)v[k];
            b[k] = (double)v[n + k];
        }
        for (band = 0; band < count; band++) {
            int from = band * (bins / count), to = band + 1 < count ? from + bins / count : bins;
            double aa = 0, ab = 0, bb = 0;
            for (k = from; k < to; k++) {
                wcoh_complex x = direct_bin(a, n, k), y = direct_bin(b, n, k);
                aa += x.re * x.re + x.im * x.im;
                bb += y.re * y.re + y.im * y.im;
                ab += x.re * y.re + x.im * y.im;
            }
            coherence[band] = ab / sqrt(aa * bb);
            CHECK_NEAR(bands[band].value, coherence[band], 1e-11);
            mean += coherence[band] / count;
        }
        for (band = 0; band < count; band++)
            variance += (coherence[band] - mean) * (coherence[band] - mean) / count;
        CHECK_NEAR(each.variance.value, variance, 1e-11);
        CHECK(each.variance.z == 0 && each.variance.deviation == 0);
        wcoh_spectral_destroy(s);
        free(v);
        free(a);
        free(b);
    }
}

static double share_within(const wcoh_pair_figures *each, int count, double z)
{
    int i, inside = 0;
    for (i = 0; i < count; i++) inside += fabs(each[i].variance.z) <= z;
    return (double)inside / count;
}

/* Random pairs are their own null: z within +-2 in 92 to 98 % of 2,000, percentiles even. */
static void null_of_random_pairs_is_calibrated(int split, int null, double cosine, int n)
{
    int count = 2000, i, low = 0;
    float *v = pairs_of_cosine(count, n, cosine, 77);
    uint32_t *pairs = consecutive_pairs(count);
    wcoh_pair_figures *each = NEW(wcoh_pair_figures, count), mean;
    wcoh_spectral_desc desc = spectral_desc(n, 200);
    wcoh_spectral *s;
    double inside;
    desc.split = (wcoh_split)split;
    desc.null = (wcoh_null)null;
    s = spectral_of(&desc);
    CHECK(wcoh_spectral_pairs(s, v, (size_t)(2 * count), pairs, (size_t)count, each, NULL, &mean,
                              NULL, NULL) == WCOH_OK);
    inside = share_within(each, count, 2);
    for (i = 0; i < count; i++) low += each[i].variance.percentile < 50;
    CHECK_SAY(inside >= 0.92 && inside <= 0.98, "split %d null %d cosine %g: %.4f within 2", split,
              null, cosine, inside);
    CHECK_SAY(abs(low - count / 2) < 110, "split %d null %d cosine %g: %d of %d below the median",
              split, null, cosine, low, count);
    CHECK_SAY(fabs(mean.variance.z) < 4 && fabs(mean.positive.z) < 4, "group: z %g %g",
              mean.variance.z, mean.positive.z);
    CHECK_NEAR(mean.cosine, cosine, 1e-6);
    wcoh_spectral_destroy(s);
    free(v);
    free(pairs);
    free(each);
}

static void nulls_are_calibrated(void)
{
    null_of_random_pairs_is_calibrated(WCOH_SPLIT_DFT, WCOH_NULL_ROTATION, 0.6, 384);
    null_of_random_pairs_is_calibrated(WCOH_SPLIT_DFT, WCOH_NULL_ROTATION, 0.05, 97);
    null_of_random_pairs_is_calibrated(WCOH_SPLIT_BLOCKS, WCOH_NULL_ROTATION, 0.6, 384);
    null_of_random_pairs_is_calibrated(WCOH_SPLIT_DFT, WCOH_NULL_PERMUTATION, 0.6, 96);
    null_of_random_pairs_is_calibrated(WCOH_SPLIT_BLOCKS, WCOH_NULL_PERMUTATION, 0.6, 96);
}

/* What the published groups' cosines alone predict, four pairs a group: COHERENCE's own control. */
static void published_variances_are_what_random_pairs_give(void)
{
    static const double cosine[4] = {0.81, 0.6375, 0.5789, 0.1};
    static const double expected[4] = {0.0023, 0.0067, 0.0088, 0.018};
    int i;
    for (i = 0; i < 4; i++) {
        int count = 1000;
        float *v = pairs_of_cosine(count, 384, cosine[i], 5);
        uint32_t *pairs = consecutive_pairs(count);
        wcoh_pair_figures mean;
        wcoh_spectral_desc desc = spectral_desc(384, -1);
        wcoh_spectral *s = spectral_of(&desc);
        wcoh_spectral_pairs(s, v, (size_t)(2 * count), pairs, (size_t)count, NULL, NULL, &mean,
                            NULL, NULL);
        CHECK_NEAR(mean.variance.value, expected[i], 0.1 * expected[i]);
        wcoh_spectral_destroy(s);
        free(v);
        free(pairs);
    }
}

/* A pair whose bands really differ is found. */
static void null_finds_planted_structure(void)
{
    int n = 384, k;
    float *v = random_vectors(2, n, 9);
    uint32_t pair[2] = {0, 1};
    wcoh_pair_figures each;
    wcoh_spectral_desc desc = spectral_desc(n, 500);
    wcoh_spectral *s;
    desc.split = WCOH_SPLIT_BLOCKS;
    s = spectral_of(&desc);
    for (k = 0; k < n / 2; k++) v[n + k] = v[k]; /* first half equal, second half independent */
    CHECK(wcoh_spectral_pairs(s, v, 2, pair, 1, &each, NULL, NULL, NULL, NULL) == WCOH_OK);
    CHECK(each.variance.z > 10 && each.variance.percentile == 100);
    wcoh_spectral_destroy(s);
    free(v);
}

/* Equal in exact arithmetic: rounding noise is neither below nor above. */
static void ties_with_the_null_count_half(void)
{
    static const float factors[4] = {1, 3, -0.7f, 1e-3f};
    int n = 384, null, split, i, k;
    float *v = random_vectors(5, n, 4);
    uint32_t pairs[8] = {0, 1, 0, 2, 0, 3, 0, 4};
    for (i = 0; i < 4; i++)
        for (k = 0; k < n; k++) v[(i + 1) * n + k] = factors[i] * v[k];
    for (split = 0; split < 2; split++)
        for (null = 0; null < 2; null++) {
            wcoh_spectral_desc desc = spectral_desc(n, 200);
            wcoh_spectral *s;
            wcoh_pair_figures each[4], mean;
            wcoh_figure bands[4 * 8], profile[8];
            desc.split = (wcoh_split)split;
            desc.null = (wcoh_null)null;
            s = spectral_of(&desc);
            CHECK(wcoh_spectral_pairs(s, v, 5, pairs, 4, each, bands, &mean, profile, NULL) ==
                  WCOH_OK);
            for (i = 0; i < 4; i++) {
                CHECK(each[i].variance.z == 0 && each[i].variance.percentile == 50);
                CHECK(each[i].cancellation.z == 0 && each[i].cancellation.percentile == 50);
                CHECK(each[i].positive.z == 0 && each[i].positive.percentile == 50);
            }
            for (i = 0; i < 4 * 8; i++) CHECK(bands[i].z == 0 && bands[i].percentile == 50);
            for (i = 0; i < 8; i++) CHECK(profile[i].z == 0 && profile[i].percentile == 50);
            CHECK(mean.variance.z == 0 && mean.variance.percentile == 50);
            wcoh_spectral_destroy(s);
        }
    free(v);
}

/* A difference well above rounding is no tie, however near the vectors are: a copy in which one
   number is a ten-thousandth larger has a variance below 1e-12, above nearly all of its null. */
static void small_true_differences_are_no_ties(void)
{
    int n = 384, k;
    float *v = random_vectors(2, n, 4);
    uint32_t pair[2] = {0, 1};
    wcoh_spectral_desc desc = spectral_desc(n, 500);
    wcoh_spectral *s;
    wcoh_pair_figures each;
    desc.split = WCOH_SPLIT_BLOCKS;
    s = spectral_of(&desc);
    for (k = 0; k < n; k++) v[n + k] = v[k];
    for (k = 0; k < 12; k++) v[n + k] += k % 2 ? 0.004f : -0.004f; /* all within one band */
    CHECK(wcoh_spectral_pairs(s, v, 2, pair, 1, &each, NULL, NULL, NULL, NULL) == WCOH_OK);
    CHECK(each.variance.value > 0 && each.variance.value < 1e-9);
    CHECK(each.variance.percentile > 95 && each.variance.z > 2);
    wcoh_spectral_destroy(s);
    free(v);
}

static void spectral_figures_do_not_depend_on_threads(void)
{
    int count = 70, n = 100, threads;
    float *v = pairs_of_cosine(count, n, 0.4, 3);
    uint32_t *pairs = consecutive_pairs(count);
    wcoh_pair_figures *one = NEW(wcoh_pair_figures, count), *two = NEW(wcoh_pair_figures, count);
    wcoh_pair_figures mean[2];
    wcoh_figure profile[2][8], energy[2][8];
    memset(mean, 0, sizeof mean);
    for (threads = 1; threads <= 2; threads++) {
        wcoh_spectral_desc desc = spectral_desc(n, 20);
        wcoh_spectral *s;
        desc.cpu.threads = threads == 1 ? 1 : 3;
        s = spectral_of(&desc);
        CHECK(wcoh_spectral_pairs(s, v, (size_t)(2 * count), pairs, (size_t)count,
                                  threads == 1 ? one : two, NULL, &mean[threads - 1],
                                  profile[threads - 1], NULL) == WCOH_OK);
        CHECK(wcoh_spectral_energy(s, v, (size_t)(2 * count), energy[threads - 1], NULL) ==
              WCOH_OK);
        wcoh_spectral_destroy(s);
    }
    CHECK(memcmp(one, two, (size_t)count * sizeof *one) == 0);
    CHECK(memcmp(&mean[0], &mean[1], sizeof mean[0]) == 0);
    CHECK(memcmp(profile[0], profile[1], sizeof profile[0]) == 0);
    CHECK(memcmp(energy[0], energy[1], sizeof energy[0]) == 0);
    free(v);
    free(pairs);
    free(one);
    free(two);
}

/* Rows of zeros, as tables of embeddings have them for what stands for nothing. */
static void vectors_without_direction_move_no_figure(void)
{
    enum { N = 48, COUNT = 20 };
    float *v = pairs_of_cosine(COUNT / 2, N, 0.3, 6), *padded = NEW(float, 3 * COUNT * N);
    uint32_t *pairs = consecutive_pairs(COUNT / 2), nothing[4] = {COUNT, 0, COUNT, COUNT + 1};
    wcoh_pair_figures one[2], mean;
    wcoh_figure some[8], all[8], profile[8];
    int null, split, i, k;
    memcpy(padded, v, COUNT * N * sizeof *v);
    for (split = 0; split < 2; split++)
        for (null = 0; null < 2; null++) {
            wcoh_spectral_desc desc = spectral_desc(N, 50);
            wcoh_spectral *s;
            desc.split = (wcoh_split)split;
            desc.null = (wcoh_null)null;
            s = spectral_of(&desc);
            CHECK(wcoh_spectral_energy(s, v, COUNT, some, NULL) == WCOH_OK);
            CHECK(wcoh_spectral_energy(s, padded, 3 * COUNT, all, NULL) == WCOH_OK);
            for (i = 0; i < 8; i++) {
                CHECK_NEAR(all[i].value, some[i].value, 1e-14);
                CHECK_NEAR(all[i].deviation, some[i].deviation, 1e-14);
                CHECK_NEAR(all[i].z, some[i].z, 1e-10);
            }
            CHECK(wcoh_spectral_pairs(s, padded, 3 * COUNT, nothing, 2, one, NULL, &mean, profile,
                                      NULL) == WCOH_OK);
            for (k = 0; k < 3; k++) {
                const wcoh_pair_figures *f = k < 2 ? &one[k] : &mean;
                CHECK(f->variance.value == 0 && f->variance.mean == 0 && f->variance.z == 0);
                CHECK(f->cancellation.z == 0 && f->cancellation.percentile == 50);
                CHECK(f->positive.mean == 0 && f->positive.deviation == 0);
            }
            for (i = 0; i < 8; i++) CHECK(profile[i].value == 0 && profile[i].z == 0);
            CHECK(wcoh_spectral_energy(s, padded + COUNT * N, COUNT, all, NULL) == WCOH_OK);
            CHECK(all[0].value == 0 && all[0].z == 0 && all[0].mean > 0);
            wcoh_spectral_destroy(s);
        }
    free(v);
    free(padded);
    free(pairs);
}

/* A constant vector has its first bin alone, one of alternating signs its last: what a transform of any
   length rounds to in the other bands has no direction, whatever stands beside it. Of blocks nothing is
   rounded, so that the smallest numbers count. */
static void empty_bands_have_no_coherence(void)
{
    static const int lengths[] = {7, 30, 45, 384, 1000};
    uint32_t pairs[6] = {0, 1, 2, 3, 0, 4};
    int at, null, i, k;
    for (at = 0; at < 5; at++)
        for (null = 0; null < 2; null++) {
            int n = lengths[at], bands = n / 2 + 1 < 8 ? n / 2 + 1 : 8;
            float *v = random_vectors(5, n, 4);
            wcoh_spectral_desc desc = spectral_desc(n, 20);
            wcoh_pair_figures each[3];
            wcoh_figure band[3 * 8];
            wcoh_spectral *s;
            double share = 1.0 / bands;
            desc.bands = bands;
            desc.null = (wcoh_null)null;
            s = spectral_of(&desc);
            for (k = 0; k < n; k++) {
                v[k] = 0.3f;
                v[n + k] = -17;
                v[2 * n + k] = k % 2 ? 1.1f : -1.1f;
                v[3 * n + k] = k % 2 ? 5.3f : -5.3f;
            }
            CHECK(wcoh_spectral_pairs(s, v, 5, pairs, 3, each, band, NULL, NULL, NULL) == WCOH_OK);
            CHECK_NEAR(band[0].value, -1, 1e-14);
            for (i = 1; i < bands; i++) CHECK(band[i].value == 0);
            CHECK_NEAR(each[0].variance.value, share * (1 - share), 1e-14);
            if (null == WCOH_NULL_PERMUTATION) CHECK(each[0].variance.percentile == 50);
            if (n % 2 == 0) {
                for (i = 0; i < bands - 1; i++) CHECK(band[bands + i].value == 0);
                CHECK_NEAR(band[2 * bands - 1].value, 1, 1e-14);
            }
            CHECK(band[2 * bands].value != 0); /* both have a mean */
            for (i = 1; i < bands; i++) CHECK(band[2 * bands + i].value == 0);
            wcoh_spectral_destroy(s);
            free(v);
        }
}

static void small_blocks_count(void)
{
    enum { N = 32 };
    uint32_t pair[2] = {0, 1};
    wcoh_spectral_desc desc = spectral_desc(N, 20);
    wcoh_figure band[8];
    wcoh_spectral *s;
    float v[2 * N];
    int i;
    desc.split = WCOH_SPLIT_BLOCKS;
    s = spectral_of(&desc);
    for (i = 0; i < 2 * N; i++) v[i] = i % N < N / 2 ? 1.0f : 1e-18f;
    CHECK(wcoh_spectral_pairs(s, v, 2, pair, 1, NULL, band, NULL, NULL, NULL) == WCOH_OK);
    for (i = 0; i < 8; i++) CHECK_NEAR(band[i].value, 1, 1e-14);
    wcoh_spectral_destroy(s);
}

/* One transform serves both vectors of a pair: the rounding of a long one must not hide a short one. */
static void figures_do_not_depend_on_lengths(void)
{
    enum { N = 45, COUNT = 6 };
    float *v = pairs_of_cosine(COUNT / 2, N, 0.3, 6), *scaled = NEW(float, COUNT *N);
    uint32_t *pairs = consecutive_pairs(COUNT / 2);
    wcoh_pair_figures one[COUNT / 2], other[COUNT / 2];
    wcoh_figure energy[2][8], bands[2][COUNT / 2 * 8];
    int i, null;
    for (i = 0; i < COUNT * N; i++) scaled[i] = (float)ldexp((double)v[i], i / N % 2 ? 60 : -90);
    for (null = 0; null < 2; null++) {
        wcoh_spectral_desc desc = spectral_desc(N, 20);
        wcoh_spectral *s;
        desc.null = (wcoh_null)null;
        s = spectral_of(&desc);
        memset(one, 0, sizeof one);
        memset(other, 0, sizeof other);
        CHECK(wcoh_spectral_pairs(s, v, COUNT, pairs, COUNT / 2, one, bands[0], NULL, NULL, NULL) ==
              WCOH_OK);
        CHECK(wcoh_spectral_pairs(s, scaled, COUNT, pairs, COUNT / 2, other, bands[1], NULL, NULL,
                                  NULL) == WCOH_OK);
        CHECK(wcoh_spectral_energy(s, v, COUNT, energy[0], NULL) == WCOH_OK);
        CHECK(wcoh_spectral_energy(s, scaled, COUNT, energy[1], NULL) == WCOH_OK);
        CHECK(memcmp(one, other, sizeof one) == 0);
        CHECK(memcmp(bands[0], bands[1], sizeof bands[0]) == 0);
        CHECK(memcmp(energy[0], energy[1], sizeof energy[0]) == 0);
        wcoh_spectral_destroy(s);
    }
    free(v);
    free(scaled);
    free(pairs);
}

static void energy_of_random_vectors_is_its_null(void)
{
    int n = 385, i;
    float *v = random_vectors(4000, n, 4);
    wcoh_spectral_desc desc = spectral_desc(n, -1);
    wcoh_spectral *s = spectral_of(&desc);
    wcoh_figure bands[8];
    double sum = 0;
    CHECK(wcoh_spectral_energy(s, v, 4000, bands, NULL) == WCOH_OK);
    for (i = 0; i < 8; i++) {
        CHECK_SAY(fabs(bands[i].z) < 4, "band %d: z %g", i, bands[i].z);
        sum += bands[i].value;
    }
    CHECK_NEAR(sum, 1, 1e-9);
    wcoh_spectral_destroy(s);
    free(v);
}

static void spectral_refuses_bad_input(void)
{
    wcoh_spectral *s;
    wcoh_spectral_desc desc = spectral_desc(0, 0);
    float v[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint32_t pair[2] = {0, 2};
    wcoh_pair_figures mean;
    wcoh_figure bands[3];
    wcoh_error error;
    CHECK(wcoh_spectral_create(&s, &desc, &error) == WCOH_E_ARGUMENT && !s);
    CHECK_TEXT(error.text, "dimensions is 0");
    CHECK(wcoh_spectral_create(&s, NULL, &error) == WCOH_E_ARGUMENT && !s);
    desc.dimensions = 4;
    desc.bands = 4;
    CHECK(wcoh_spectral_create(&s, &desc, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "bands is 4: vectors of 4 dimensions have 3 bins, allowed are 1 to 3");
    desc.bands = 0;
    desc.draws = 10001;
    CHECK(wcoh_spectral_create(&s, &desc, NULL) == WCOH_E_ARGUMENT);
    desc.draws = 10;
    desc.memory = memory_that_fails(0);
    CHECK(wcoh_spectral_create(&s, &desc, NULL) == WCOH_E_MEMORY);
    memset(&desc.memory, 0, sizeof desc.memory);
    s = spectral_of(&desc);
    CHECK(wcoh_spectral_pairs(s, v, 2, pair, 1, NULL, NULL, &mean, NULL, &error) ==
          WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "names vector 2 of 2");
    CHECK(wcoh_spectral_pairs(s, v, 2, pair, 0, NULL, NULL, &mean, NULL, NULL) == WCOH_E_ARGUMENT);
    pair[1] = 1;
    CHECK(wcoh_spectral_pairs(s, v, 2, pair, 1, NULL, NULL, NULL, NULL, NULL) == WCOH_OK);
    v[5] = (float)HUGE_VAL;
    CHECK(wcoh_spectral_pairs(s, v, 2, pair, 1, NULL, NULL, &mean, NULL, &error) ==
          WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "vector 1, dimension 1 is not finite");
    CHECK(wcoh_spectral_energy(s, v, 0, bands, NULL) == WCOH_E_ARGUMENT);
    memset(v, 0, sizeof v); /* zero vectors: figures of 0 */
    CHECK(wcoh_spectral_pairs(s, v, 2, pair, 1, NULL, NULL, &mean, NULL, NULL) == WCOH_OK);
    CHECK(mean.cosine == 0 && mean.cancellation.value == 0);
    wcoh_spectral_destroy(s);
    wcoh_spectral_destroy(NULL);
}

/* ---- wave packets and resonance memory ---------------------------------------------------- */

static double cosine_of(const float *a, const float *b, int n)
{
    double aa = 0, ab = 0, bb = 0;
    int i;
    for (i = 0; i < n; i++) {
        aa += (double)a[i] * (double)a[i];
        ab += (double)a[i] * (double)b[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

static wcoh_resonance *store_of(int n, wcoh_packet packet, int threads)
{
    wcoh_resonance_desc desc;
    wcoh_resonance *store = NULL;
    wcoh_error error;
    memset(&desc, 0, sizeof desc);
    desc.dimensions = n;
    desc.packet = packet;
    desc.cpu.threads = threads;
    CHECK_SAY(wcoh_resonance_create(&store, &desc, &error) == WCOH_OK, "%s", error.text);
    return store;
}

/* So it is in a memory: a range of bins in which a vector has nothing finds nothing, at any scale. */
static void empty_ranges_find_nothing(void)
{
    static const int lengths[] = {9, 30, 384};
    static const double scales[] = {1, 1e-25, 1e25};
    int at, size, i, k;
    for (at = 0; at < 3; at++)
        for (size = 0; size < 3; size++) {
            int n = lengths[at], found = 0;
            float *v = random_vectors(4, n, 4);
            wcoh_resonance *store = store_of(n, WCOH_PACKET_DFT, 1);
            wcoh_resonance_query query;
            wcoh_resonance_hit hits[4];
            memset(&query, 0, sizeof query);
            query.score = WCOH_SCORE_COSINE;
            for (k = 0; k < n; k++) {
                v[k] = 0.3f, v[n + k] = -17;
                v[2 * n + k] = (float)(0.3 + 1e-3 * cos(6 * 3.141592653589793 * k / n));
            }
            for (i = 0; i < 4 * n; i++) v[i] = (float)(scales[size] * (double)v[i]);
            CHECK(wcoh_resonance_add(store, v, NULL, 4, NULL) == WCOH_OK);
            query.first_bin = 1;
            for (i = 0; i < 2; i++) {
                CHECK(wcoh_resonance_find(store, &query, v + i * n, NULL, hits, &found, NULL) ==
                      WCOH_OK);
                CHECK(found == 4);
                for (k = 0; k < found; k++) CHECK(hits[k].score == 0);
            }
            query.first_bin = 3, query.bins = 1; /* a small wave is none of that */
            CHECK(wcoh_resonance_find(store, &query, v + 2 * n, NULL, hits, &found, NULL) ==
                  WCOH_OK);
            CHECK(hits[0].index == 2);
            CHECK_NEAR(hits[0].score, 1, 1e-6);
            wcoh_resonance_destroy(store);
            free(v);
        }
}

static wcoh_resonance_query top_query(int top, wcoh_score score)
{
    wcoh_resonance_query query;
    memset(&query, 0, sizeof query);
    query.top = top;
    query.score = score;
    return query;
}

static void resonance_score_has_its_closed_forms(void)
{
    double a[4] = {1, 2, 0.5, 0}, p[4] = {0, 1, 2, 0}, q[4], b[4], d;
    double x[2] = {1, 0}, y[2] = {0, 1}, zero[2] = {0, 0};
    int i, k;
    for (i = 0; i < 4; i++) q[i] = p[i] + 3.14159265358979323846;
    CHECK_NEAR(wcoh_packet_resonance(a, p, a, p, 4, &d), 1, 1e-15);
    CHECK_NEAR(d, 0, 1e-15);
    CHECK_NEAR(wcoh_packet_resonance(a, p, a, q, 4, &d), 0, 1e-15);
    CHECK_NEAR(fabs(d), 3.14159265358979323846, 1e-12);
    CHECK_NEAR(wcoh_packet_resonance(x, zero, y, zero, 2, &d), 0.5, 1e-15);
    CHECK(d == 0);
    CHECK(wcoh_packet_resonance(zero, p, a, p, 2, NULL) == 0);
    for (i = 0; i < 4; i++) b[i] = 2 * a[i]; /* energies 1 : 4 */
    CHECK_NEAR(wcoh_packet_resonance(a, p, b, p, 4, NULL), 0.5 * (9 / 5.) * (4 / 5.), 1e-15);
    for (i = 0; i < 4; i++) q[i] = p[i] + 0.25;
    wcoh_packet_resonance(a, p, a, q, 4, &d);
    CHECK_NEAR(d, 0.25, 1e-12);
    for (k = 0; k < 5; k++) { /* of any size, the squares beyond a double or not */
        static const double sizes[5] = {1e-300, 1e-200, 1e153, 1e200, 1e307};
        for (i = 0; i < 4; i++) q[i] = a[i] * sizes[k], b[i] = 2 * q[i];
        CHECK_NEAR(wcoh_packet_resonance(q, p, b, p, 4, &d), 0.5 * (9 / 5.) * (4 / 5.), 1e-14);
        CHECK_NEAR(wcoh_packet_resonance(q, p, q, p, 4, &d), 1, 1e-14);
    }
}

/* Sign-phase packets: S = (1 + cosine) / 2 for equal energies. */
static void sign_packets_resonate_as_half_of_one_plus_cosine(void)
{
    float *v = pairs_of_cosine(50, 64, 0.3, 8);
    double a[64], p[64], b[64], q[64];
    int i;
    for (i = 0; i < 50; i++) {
        wcoh_packet_sign(v + 128 * i, 64, a, p);
        wcoh_packet_sign(v + 128 * i + 64, 64, b, q);
        CHECK_NEAR(wcoh_packet_resonance(a, p, b, q, 64, NULL), 0.65, 1e-6);
    }
    free(v);
}

/* Score of every packet by the store's own search: top = count. */
static void resonance_over_all_bins_is_the_cosine(void)
{
    static const int sizes[6] = {1, 2, 7, 48, 385, 384};
    static const wcoh_packet packets[2] = {WCOH_PACKET_SIGN, WCOH_PACKET_DFT};
    int i, k, kind;
    for (i = 0; i < 6; i++)
        for (kind = 0; kind < 2; kind++) {
            int n = sizes[i], count = 200, found;
            float *v = random_vectors(count + 1, n, 31);
            wcoh_resonance *store = store_of(n, packets[kind], 2);
            wcoh_resonance_hit hits[256];
            wcoh_resonance_query query = top_query(256, WCOH_SCORE_COSINE);
            CHECK(wcoh_resonance_add(store, v + n, NULL, (size_t)count, NULL) == WCOH_OK);
            CHECK(wcoh_resonance_find(store, &query, v, NULL, hits, &found, NULL) == WCOH_OK);
            CHECK(found == count);
            for (k = 0; k < found; k++) {
                CHECK_NEAR(hits[k].score, cosine_of(v, v + n * (int)(hits[k].index + 1), n), 1e-6);
                CHECK(k == 0 || hits[k].score <= hits[k - 1].score);
            }
            wcoh_resonance_destroy(store);
            free(v);
        }
}

/* Given phases: R and S against wcoh_packet_resonance and the definition. */
static void given_phases_score_as_defined(void)
{
    enum { N = 19, COUNT = 100 };
    float *a = random_vectors(COUNT + 1, N, 1), *p = random_vectors(COUNT + 1, N, 2);
    wcoh_resonance *store = store_of(N, WCOH_PACKET_PHASES, 1);
    wcoh_resonance_hit hits[COUNT];
    wcoh_resonance_query query = top_query(COUNT, WCOH_SCORE_RESONANCE);
    int i, k, found;
    for (i = 0; i < (COUNT + 1) * N; i++) a[i] = (float)fabs((double)a[i]);
    CHECK(wcoh_resonance_add(store, a + N, p + N, COUNT, NULL) == WCOH_OK);
    CHECK(wcoh_resonance_find(store, &query, a, p, hits, &found, NULL) == WCOH_OK);
    for (k = 0; k < found; k++) {
        double x[N], y[N], s[N], t[N];
        for (i = 0; i < N; i++) {
            int at = ((int)hits[k].index + 1) * N + i;
            x[i] = (double)a[i];
            y[i] = (double)p[i];
            s[i] = (double)a[at];
            t[i] = (double)p[at];
        }
        CHECK_NEAR(hits[k].score, wcoh_packet_resonance(x, y, s, t, N, NULL), 1e-6);
    }
    CHECK(found == COUNT);
    CHECK(wcoh_resonance_find(store, &query, a, NULL, hits, &found, NULL) == WCOH_E_ARGUMENT);
    a[N] = -1;
    CHECK(wcoh_resonance_add(store, a + N, p + N, 1, NULL) == WCOH_E_ARGUMENT);
    wcoh_resonance_destroy(store);
    free(a);
    free(p);
}

/* Selective loading as published: zero the other bins, go back, compare by cosine. */
static double masked_cosine(wcoh_dft *dft, const float *a, const float *b, const uint8_t *mask)
{
    int n = wcoh_dft_length(dft), k, side;
    double *x = NEW(double, n);
    float *y = NEW(float, 2 * n), result;
    wcoh_complex *bins = NEW(wcoh_complex, n / 2 + 1);
    for (side = 0; side < 2; side++) {
        const float *v = side ? b : a;
        for (k = 0; k < n; k++) x[k] = (double)v[k];
        wcoh_dft_forward(dft, x, bins);
        for (k = 0; k <= n / 2; k++)
            if (!mask[k]) bins[k].re = bins[k].im = 0;
        wcoh_dft_inverse(dft, bins, x);
        for (k = 0; k < n; k++) y[side * n + k] = (float)x[k];
    }
    result = (float)cosine_of(y, y + n, n);
    free(x);
    free(y);
    free(bins);
    return (double)result;
}

static void band_limited_resonance_is_cosine_after_the_inverse(void)
{
    int n = 384, count = 64, k, found, range;
    static const int first[4] = {0, 48, 144, 0}, bins[4] = {48, 96, 49, 0};
    float *v = random_vectors(count + 1, n, 5);
    wcoh_dft *dft = dft_of(n);
    wcoh_resonance *store = store_of(n, WCOH_PACKET_DFT, 2);
    wcoh_resonance_hit hits[64];
    uint8_t mask[193];
    double amplitude[193], phase[193], order[193];
    wcoh_resonance_add(store, v + n, NULL, (size_t)count, NULL);
    wcoh_packet_dft(dft, v, amplitude, phase);
    for (range = 0; range < 4; range++) {
        wcoh_resonance_query query = top_query(64, WCOH_SCORE_COSINE);
        query.first_bin = first[range];
        query.bins = bins[range];
        for (k = 0; k < 193; k++) mask[k] = k >= first[range] && k < first[range] + bins[range];
        if (range == 3) { /* amplitude-chosen */
            CHECK(wcoh_packet_strongest(amplitude, 193, 75, order, mask) == 49);
            query.mask = mask;
        }
        CHECK(wcoh_resonance_find(store, &query, v, NULL, hits, &found, NULL) == WCOH_OK);
        for (k = 0; k < found; k++)
            CHECK_NEAR(hits[k].score, masked_cosine(dft, v, v + n * (int)(hits[k].index + 1), mask),
                       2e-6);
    }
    wcoh_dft_destroy(dft);
    wcoh_resonance_destroy(store);
    free(v);
}

static void packets_come_back(void)
{
    int n, k;
    for (n = 6; n <= 7; n++) {
        float *v = random_vectors(70, n, 3);
        wcoh_dft *dft = dft_of(n);
        wcoh_resonance *store = store_of(n, WCOH_PACKET_DFT, 1);
        double a[8], p[8], b[8], q[8];
        wcoh_resonance_add(store, v, NULL, 70, NULL);
        CHECK(wcoh_resonance_get(store, 66, a, p, NULL) == WCOH_OK);
        wcoh_packet_dft(dft, v + 66 * n, b, q);
        for (k = 0; k < wcoh_resonance_bins(store); k++) {
            CHECK_NEAR(a[k], b[k] / sqrt(n), 1e-6);
            CHECK_NEAR(wcoh_angle(p[k], q[k]), 0, 1e-5);
        }
        CHECK(wcoh_resonance_get(store, 70, a, p, NULL) == WCOH_E_ARGUMENT);
        wcoh_dft_destroy(dft);
        wcoh_resonance_destroy(store);
        free(v);
    }
}

/* Exhaustive cosine in double against every instruction set and several threads. */
static void search_is_the_same_for_threads_and_instruction_sets(void)
{
    enum { N = 50, COUNT = 9000, TOP = 17 };
    float *v = random_vectors(COUNT + 1, N, 6);
    wcoh_resonance_hit first[TOP], hits[TOP];
    wcoh_resonance_query query = top_query(TOP, WCOH_SCORE_COSINE);
    int isa, threads, i, found, have_first = 0;
    for (i = 0; i < N; i++)
        v[(size_t)(77 + 1) * N + (size_t)i] = v[(size_t)(5000 + 1) * N + (size_t)i];
    for (isa = WCOH_ISA_SCALAR; isa <= WCOH_ISA_WASM; isa++)
        for (threads = 1; threads <= 3; threads += 2) {
            wcoh_resonance_desc desc;
            wcoh_resonance *store;
            memset(&desc, 0, sizeof desc);
            desc.dimensions = N;
            desc.packet = WCOH_PACKET_DFT;
            desc.cpu.threads = threads;
            desc.cpu.isa = (wcoh_isa)isa;
            if (!wcoh_cpu_has_isa((wcoh_isa)isa)) {
                CHECK(wcoh_resonance_create(&store, &desc, NULL) == WCOH_E_UNSUPPORTED);
                continue;
            }
            CHECK(wcoh_resonance_create(&store, &desc, NULL) == WCOH_OK);
            CHECK(wcoh_resonance_add(store, v + N, NULL, COUNT, NULL) == WCOH_OK);
            CHECK(wcoh_resonance_find(store, &query, v, NULL, hits, &found, NULL) == WCOH_OK);
            CHECK(found == TOP);
            if (!have_first) memcpy(first, hits, sizeof hits);
            have_first = 1;
            for (i = 0; i < TOP; i++) CHECK(hits[i].index == first[i].index);
            for (i = 0; i < TOP; i++) CHECK_NEAR(hits[i].score, first[i].score, 1e-12);
            wcoh_resonance_destroy(store);
        }
    for (i = 0; i < COUNT; i++) { /* nothing outside is better than the last inside */
        double c = cosine_of(v, v + (size_t)(i + 1) * N, N);
        int inside = 0, k;
        for (k = 0; k < TOP; k++) inside |= first[k].index == (uint64_t)i;
        CHECK(inside || c <= first[TOP - 1].score + 1e-7);
    }
    free(v);
}

/* Best hits of random vectors, each packet times its scale, the query times another; scores and order
   must be those of exhaustive cosine in double. */
static void check_scales(wcoh_packet kind, double low, double high, double query_scale,
                         wcoh_resonance_query query)
{
    enum { N = 61, COUNT = 700, TOP = 12 };
    float *v = random_vectors(COUNT + 1, N, 14), *phases = random_vectors(COUNT + 1, N, 15);
    float *one = NEW(float, N);
    wcoh_resonance *store = store_of(N, kind, 2), *plain = store_of(N, kind, 2);
    wcoh_resonance_hit a[TOP], b[TOP];
    wcoh_rng rng = wcoh_rng_seed(9);
    int i, k, found_a, found_b, given = kind == WCOH_PACKET_PHASES;
    for (i = 0; given && i < (COUNT + 1) * N; i++) v[i] = (float)fabs((double)v[i]);
    for (i = 1; i <= COUNT; i++) {
        double scale = low * pow(high / low, wcoh_rng_uniform(&rng));
        const float *p = given ? phases + i * N : NULL;
        for (k = 0; k < N; k++) one[k] = (float)((double)v[i * N + k] * scale);
        CHECK(wcoh_resonance_add(store, one, p, 1, NULL) == WCOH_OK);
        CHECK(wcoh_resonance_add(plain, v + i * N, p, 1, NULL) == WCOH_OK);
    }
    for (k = 0; k < N; k++) one[k] = (float)((double)v[k] * query_scale);
    query.top = TOP;
    CHECK(wcoh_resonance_find(store, &query, one, given ? phases : NULL, a, &found_a, NULL) ==
          WCOH_OK);
    CHECK(wcoh_resonance_find(plain, &query, v, given ? phases : NULL, b, &found_b, NULL) ==
          WCOH_OK);
    CHECK(found_a == TOP && found_b == TOP);
    for (i = 0; i < TOP; i++) {
        CHECK_SAY(a[i].index == b[i].index, "scales %g..%g, query %g: hit %d", low, high,
                  query_scale, i);
        CHECK_NEAR(a[i].score, b[i].score, 1e-6);
    }
    wcoh_resonance_destroy(store);
    wcoh_resonance_destroy(plain);
    free(v);
    free(phases);
    free(one);
}

static void cosines_do_not_depend_on_scale(void)
{
    static const double scales[5] = {1e-30, 1e-18, 1e-7, 1e18, 1e30};
    static const wcoh_packet kinds[3] = {WCOH_PACKET_SIGN, WCOH_PACKET_DFT, WCOH_PACKET_PHASES};
    int kind, i;
    for (kind = 0; kind < 3; kind++)
        for (i = 0; i < 5; i++) {
            wcoh_resonance_query query = top_query(0, WCOH_SCORE_COSINE);
            check_scales(kinds[kind], scales[i], scales[i], scales[i], query);
            check_scales(kinds[kind], scales[i], scales[i], scales[4 - i], query);
            check_scales(kinds[kind], 1e-30, 1e30, scales[i], query); /* side by side */
            query.first_bin = 3;
            query.bins = 20;
            check_scales(kinds[kind], 1e-30, 1e30, scales[i], query);
            query.score = WCOH_SCORE_RESONANCE; /* all alike: as at scale 1 */
            check_scales(kinds[kind], scales[i], scales[i], scales[i], query);
        }
}

/* A part that holds 1e-40 of the energy has its cosine all the same. */
static void faint_parts_have_their_cosine(void)
{
    enum { N = 32 };
    float *v = random_vectors(101, N, 3);
    wcoh_resonance *store = store_of(N, WCOH_PACKET_SIGN, 1);
    wcoh_resonance_query query = top_query(100, WCOH_SCORE_COSINE);
    wcoh_resonance_hit hits[100];
    int i, k, found;
    for (i = 0; i <= 100; i++)
        for (k = 0; k < 8; k++) v[i * N + k] *= 1e-20f;
    CHECK(wcoh_resonance_add(store, v + N, NULL, 100, NULL) == WCOH_OK);
    query.bins = 8;
    CHECK(wcoh_resonance_find(store, &query, v, NULL, hits, &found, NULL) == WCOH_OK);
    CHECK(found == 100);
    for (i = 0; i < found; i++)
        CHECK_NEAR(hits[i].score, cosine_of(v, v + (int)(hits[i].index + 1) * N, 8), 1e-6);
    query.score = (wcoh_score)7;
    CHECK(wcoh_resonance_find(store, &query, v, NULL, hits, &found, NULL) == WCOH_E_ARGUMENT);
    wcoh_resonance_destroy(store);
    free(v);
}

/* What a mask leaves out does not fade the rest, however large it is. */
static void masked_parts_have_their_cosine(void)
{
    enum { N = 32 };
    float *v = random_vectors(102, N, 3);
    wcoh_resonance *store = store_of(N, WCOH_PACKET_SIGN, 1);
    wcoh_resonance_query query = top_query(5, WCOH_SCORE_COSINE);
    wcoh_resonance_hit hits[5];
    uint8_t mask[N];
    int i, k, found, best = 1;
    for (k = 0; k < N; k++) mask[k] = k != 3;
    for (i = 0; i <= 100; i++) v[i * N + 3] = 0;
    CHECK(wcoh_resonance_add(store, v + N, NULL, 100, NULL) == WCOH_OK);
    for (i = 2; i <= 100; i++)
        if (cosine_of(v, v + i * N, N) > cosine_of(v, v + best * N, N)) best = i;
    for (k = 0; k < N; k++) v[k] *= 1e-28f;
    v[3] = 1e30f;
    query.mask = mask;
    CHECK(wcoh_resonance_find(store, &query, v, NULL, hits, &found, NULL) == WCOH_OK);
    CHECK(found == 5 && hits[0].index == (uint64_t)(best - 1));
    v[3] = 0;
    for (i = 0; i < found; i++)
        CHECK_NEAR(hits[i].score, cosine_of(v, v + (int)(hits[i].index + 1) * N, N), 1e-6);
    wcoh_resonance_destroy(store);
    free(v);
}

static void numbers_that_are_none_choose_no_bin(void)
{
    double amplitude[4] = {1, 2, 3, 4}, order[4], none = HUGE_VAL - HUGE_VAL;
    uint8_t mask[4] = {7, 7, 7, 7};
    int k;
    CHECK(wcoh_packet_strongest(amplitude, 4, 50, order, mask) == 2);
    CHECK(wcoh_packet_strongest(amplitude, 4, none, order, mask) == 0);
    for (k = 0; k < 4; k++) CHECK(mask[k] == 0);
    CHECK(wcoh_packet_strongest(amplitude, 4, HUGE_VAL, order, mask) == 1);
    CHECK(wcoh_packet_strongest(amplitude, 4, -HUGE_VAL, order, mask) == 4);
    amplitude[1] = none;
    CHECK(wcoh_packet_strongest(amplitude, 4, 100, order, mask) == 0);
    amplitude[1] = HUGE_VAL;
    CHECK(wcoh_packet_strongest(amplitude, 4, 50, order, mask) == 0);
}

/* The spectrum of an impulse is flat: every bin is at its 75th percentile. */
static void equal_amplitudes_go_together(void)
{
    enum { N = 97 };
    float v[N];
    double amplitude[N], phase[N], order[N];
    uint8_t mask[N];
    wcoh_dft *dft = dft_of(N);
    memset(v, 0, sizeof v);
    v[5] = 1;
    wcoh_packet_dft(dft, v, amplitude, phase);
    CHECK(wcoh_packet_strongest(amplitude, N / 2 + 1, 75, order, mask) == N / 2 + 1);
    wcoh_dft_destroy(dft);
}

static void equal_scores_come_by_index(void)
{
    float v[3] = {1, 2, 3};
    wcoh_resonance *store = store_of(3, WCOH_PACKET_SIGN, 2);
    wcoh_resonance_hit hits[10];
    int i, found;
    CHECK(wcoh_resonance_find(store, NULL, v, NULL, hits, &found, NULL) == WCOH_OK && found == 0);
    for (i = 0; i < 300; i++) wcoh_resonance_add(store, v, NULL, 1, NULL);
    CHECK(wcoh_resonance_find(store, NULL, v, NULL, hits, &found, NULL) == WCOH_OK);
    CHECK(found == 10);
    for (i = 0; i < 10; i++) CHECK(hits[i].index == (uint64_t)i);
    CHECK_NEAR(hits[0].score, 1, 1e-7);
    v[0] = v[1] = v[2] = 0;
    CHECK(wcoh_resonance_find(store, NULL, v, NULL, hits, &found, NULL) == WCOH_OK);
    CHECK(found == 10 && hits[0].score == 0);
    wcoh_resonance_destroy(store);
}

static void store_file_brings_back_all_or_a_part(void)
{
    enum { N = 96, COUNT = 5000 };
    float *v = random_vectors(COUNT, N, 12);
    wcoh_resonance *store = store_of(N, WCOH_PACKET_DFT, 2), *back, *part;
    wcoh_resonance_query query = top_query(20, WCOH_SCORE_COSINE);
    wcoh_resonance_hit a[20], b[20];
    wcoh_error error;
    file *f = file_of((size_t)(N + 2) * (COUNT + 1024) * sizeof(wcoh_real)), *g = file_of(1 << 21);
    int i, found;
    wcoh_resonance_add(store, v, NULL, COUNT, NULL);
    CHECK_SAY(wcoh_resonance_save(store, &f->io, &error) == WCOH_OK, "%s", error.text);
    CHECK_SAY(wcoh_resonance_load(&back, &f->io, 0, 0, NULL, NULL, &error) == WCOH_OK, "%s",
              error.text);
    CHECK(wcoh_resonance_count(back) == COUNT);
    wcoh_resonance_find(store, &query, v, NULL, a, &found, NULL);
    wcoh_resonance_find(back, &query, v, NULL, b, &found, NULL);
    CHECK(found == 20 && memcmp(a, b, sizeof a) == 0);
    CHECK_SAY(wcoh_resonance_load(&part, &f->io, 12, 13, NULL, NULL, &error) == WCOH_OK, "%s",
              error.text);
    CHECK(wcoh_resonance_bytes(part) * 7 < wcoh_resonance_bytes(store) * 2);
    query.first_bin = 12;
    query.bins = 13;
    wcoh_resonance_find(store, &query, v, NULL, a, &found, NULL);
    query.first_bin = query.bins = 0;
    wcoh_resonance_find(part, &query, v, NULL, b, &found, NULL);
    for (i = 0; i < 20; i++) CHECK(a[i].index == b[i].index);
    for (i = 0; i < 20; i++) CHECK_NEAR(a[i].score, b[i].score, 1e-12);
    CHECK(wcoh_resonance_add(part, v, NULL, 1, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "13 of 49 bins");
    CHECK(wcoh_resonance_save(part, &g->io, NULL) == WCOH_OK);
    wcoh_resonance_destroy(back);
    CHECK(wcoh_resonance_load(&back, &g->io, 14, 2, NULL, NULL, NULL) == WCOH_OK);
    wcoh_resonance_destroy(back);
    CHECK(wcoh_resonance_load(&back, &g->io, 11, 2, NULL, NULL, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "bins 12..24");
    CHECK(wcoh_resonance_load(&back, &g->io, INT_MIN, INT_MAX, NULL, NULL, NULL) ==
          WCOH_E_ARGUMENT);
    CHECK(wcoh_resonance_load(&back, &g->io, 12, INT_MAX, NULL, NULL, NULL) == WCOH_E_ARGUMENT);
    wcoh_resonance_destroy(part);
    wcoh_resonance_destroy(store);
    file_free(f);
    file_free(g);
    free(v);
}

static void store_refuses_bad_input_and_survives_no_memory(void)
{
    wcoh_resonance_desc desc;
    wcoh_resonance *store;
    wcoh_resonance_query query = top_query(1025, WCOH_SCORE_COSINE);
    wcoh_resonance_hit hits[10];
    wcoh_error error;
    float *v = random_vectors(3000, 100, 7);
    int after, found;
    memset(&desc, 0, sizeof desc);
    CHECK(wcoh_resonance_create(&store, &desc, &error) == WCOH_E_ARGUMENT && !store);
    CHECK(wcoh_resonance_create(&store, NULL, &error) == WCOH_E_ARGUMENT && !store);
    desc.dimensions = 100;
    desc.cpu.threads = -1;
    CHECK(wcoh_resonance_create(&store, &desc, NULL) == WCOH_E_ARGUMENT);
    desc.packet = (wcoh_packet)7;
    CHECK(wcoh_resonance_create(&store, &desc, NULL) == WCOH_E_ARGUMENT);
    desc.packet = WCOH_PACKET_DFT;
    desc.cpu.threads = 1;
    for (after = 0; after < 8; after++) {
        desc.memory = memory_that_fails(after);
        if (wcoh_resonance_create(&store, &desc, NULL) == WCOH_OK) {
            wcoh_result result = wcoh_resonance_add(store, v, NULL, 3000, &error);
            CHECK(result == WCOH_OK || result == WCOH_E_MEMORY);
            CHECK(wcoh_resonance_find(store, NULL, v, NULL, hits, &found, NULL) == WCOH_OK);
            CHECK(found == (wcoh_resonance_count(store) ? 10 : 0));
            wcoh_resonance_destroy(store);
        }
        CHECK(alloc_open == 0);
    }
    store = store_of(100, WCOH_PACKET_SIGN, 1);
    CHECK(wcoh_resonance_find(store, &query, v, NULL, hits, &found, &error) == WCOH_E_ARGUMENT);
    CHECK_TEXT(error.text, "top is 1025");
    query.top = 10;
    query.first_bin = 100;
    CHECK(wcoh_resonance_find(store, &query, v, NULL, hits, &found, NULL) == WCOH_E_ARGUMENT);
    query.first_bin = 1;
    query.bins = INT_MAX;
    CHECK(wcoh_resonance_find(store, &query, v, NULL, hits, &found, NULL) == WCOH_E_ARGUMENT);
    CHECK(wcoh_resonance_add(store, v, v, 1, NULL) == WCOH_E_ARGUMENT);
    v[3] = 2e38f; /* its norm is above 1e38 */
    CHECK(wcoh_resonance_add(store, v, NULL, 1, NULL) == WCOH_E_ARGUMENT);
    v[3] = (float)HUGE_VAL;
    CHECK(wcoh_resonance_add(store, v, NULL, 1, NULL) == WCOH_E_ARGUMENT);
    CHECK(wcoh_resonance_find(store, NULL, v, NULL, hits, &found, NULL) == WCOH_E_ARGUMENT);
    CHECK(wcoh_resonance_count(store) == 0);
    wcoh_resonance_destroy(store);
    wcoh_resonance_destroy(NULL);
    free(v);
}

/* ---- attention ---------------------------------------------------------------------------- */

static void uniform_rows_have_the_known_means(void)
{
    static const int tokens[4] = {5, 8, 16, 64};
    static const double r[4] = {0.519672, 0.539445, 0.561515, 0.581891};
    static const double h[4] = {0.957498, 1.325575, 1.916991, 3.205753};
    float *map = NEW(float, 64 * 64);
    int i, k;
    for (i = 0; i < 4; i++) {
        wcoh_map_figures f;
        double centroids[64];
        for (k = 0; k < tokens[i] * tokens[i]; k++) map[k] = 0.25f; /* rows are renormalised */
        CHECK(wcoh_map_measure(&f, map, tokens[i], WCOH_MAP_CAUSAL, NULL, centroids, NULL) ==
              WCOH_OK);
        CHECK_NEAR(f.all.concentration, r[i], 5e-7);
        CHECK_NEAR(f.all.entropy, h[i], 5e-7);
        CHECK_NEAR(f.all_uniform.concentration, r[i], 5e-7);
        CHECK_NEAR(f.all_uniform.entropy, h[i], 5e-7);
        CHECK(f.all.undefined == 1); /* the last row closes the circle */
        CHECK(centroids[tokens[i] - 1] == 4.0 && fabs(centroids[0]) < 1e-12);
        CHECK_NEAR(f.rest.entropy, f.rest_uniform.entropy, 1e-7);
        CHECK(f.rest.rows == (uint64_t)tokens[i] - 1 && f.rest.first == 0);
    }
    free(map);
}

static void one_hot_two_point_and_random_rows(void)
{
    enum { N = 12 };
    float map[N * N];
    double centroids[N], angle = 2 * 3.14159265358979323846 / N;
    wcoh_map_figures f;
    wcoh_rng rng = wcoh_rng_seed(4);
    int q, k;
    memset(map, 0, sizeof map);
    for (q = 0; q < N; q++) map[q * N + q] = 1;
    CHECK(wcoh_map_measure(&f, map, N, WCOH_MAP_CAUSAL, NULL, centroids, NULL) == WCOH_OK);
    CHECK_NEAR(f.all.entropy, 0, 1e-12);
    CHECK_NEAR(f.all.concentration, 1, 1e-12);
    for (q = 0; q < N; q++) CHECK_NEAR(wcoh_angle(centroids[q], angle * q), 0, 1e-12);
    CHECK_NEAR(f.all.first, 1.0 / N, 1e-12);
    memset(map, 0, sizeof map); /* two keys d apart: entropy ln 2, R = cos(d/2) */
    for (q = 0; q < N; q++) map[q * N] = map[q * N + q / 2] = 0.5f;
    CHECK(wcoh_map_measure(&f, map, N, WCOH_MAP_CAUSAL, NULL, centroids, NULL) == WCOH_OK);
    {
        double entropy = 0, r = 0;
        for (q = 0; q < N; q++) {
            entropy += q / 2 ? log(2) : 0;
            r += fabs(cos(angle * (q / 2) / 2));
        }
        CHECK_NEAR(f.all.entropy, entropy / N, 1e-9);
        CHECK_NEAR(f.all.concentration, r / N, 1e-9);
        CHECK(f.rest.rows == N - 2 && f.rest.entropy == 0);
    }
    for (k = 0; k < N * N; k++) map[k] = (float)wcoh_rng_uniform(&rng);
    CHECK(wcoh_map_measure(&f, map, N, WCOH_MAP_CAUSAL, NULL, NULL, NULL) == WCOH_OK);
    CHECK(f.all.entropy > 0 && f.all.entropy < f.all_uniform.entropy);
    map[5 * N + 3] = -0.1f;
    CHECK(wcoh_map_measure(&f, map, N, WCOH_MAP_CAUSAL, NULL, NULL, NULL) == WCOH_E_ARGUMENT);
    map[5 * N + 3] = 0;
    map[5 * N + 7] = (float)HUGE_VAL; /* a key after the query is not looked at */
    CHECK(wcoh_map_measure(&f, map, N, WCOH_MAP_CAUSAL, NULL, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_map_measure(&f, map, 0, WCOH_MAP_CAUSAL, NULL, NULL, NULL) == WCOH_E_ARGUMENT);
}

/* An encoder's map: nothing is dropped, and its baseline is uniform over all keys. */
static void maps_of_encoders_are_measured_whole(void)
{
    enum { N = 8 };
    float map[N * N];
    wcoh_map_figures f, g;
    int q, k;
    for (q = 0; q < N; q++)
        for (k = 0; k < N; k++) map[q * N + k] = k == (q + 1) % N ? 0.75f : k == q ? 0.25f : 0;
    CHECK(wcoh_map_measure(&f, map, N, WCOH_MAP_ALL, NULL, NULL, NULL) == WCOH_OK);
    CHECK_NEAR(f.all.entropy, -0.75 * log(0.75) - 0.25 * log(0.25), 1e-12);
    CHECK_NEAR(f.all_uniform.entropy, log(N), 1e-12);
    CHECK_NEAR(f.all_uniform.concentration, 0, 1e-12);
    CHECK(f.all_uniform.undefined == N && f.all.rows == N && f.rest.rows == N);
    CHECK_NEAR(f.rest_uniform.entropy, log(N - 1), 1e-12);
    CHECK_NEAR(f.rest.entropy, (N - 2) * f.all.entropy / N, 1e-12); /* rows 0 and 7 keep one key */
    CHECK(wcoh_map_measure(&g, map, N, WCOH_MAP_CAUSAL, NULL, NULL, NULL) == WCOH_OK);
    CHECK(g.all.entropy < 0.1);
    map[1] = -1; /* after query 0: looked at now */
    CHECK(wcoh_map_measure(&g, map, N, WCOH_MAP_CAUSAL, NULL, NULL, NULL) == WCOH_OK);
    CHECK(wcoh_map_measure(&g, map, N, WCOH_MAP_ALL, NULL, NULL, NULL) == WCOH_E_ARGUMENT);
    CHECK(wcoh_map_measure(&g, map, N, (wcoh_map_keys)2, NULL, NULL, NULL) == WCOH_E_ARGUMENT);
    map[1] = 1;
    CHECK(wcoh_map_measure(&g, map, 1, WCOH_MAP_ALL, NULL, NULL, NULL) == WCOH_OK);
    CHECK(g.rest.rows == 0 && g.all.rows == 1);
}

static void heads_in_step_and_opposed(void)
{
    double c[3 * 4] = {0.1, 0.2, 0.3, 4.0, 0.1, 0.2, 0.3, 1.0, 0.1, 0.2, 0.3, 1.0};
    double alignment[9], pi = 3.14159265358979323846;
    double opposed[4] = {0, 0, pi, pi};
    wcoh_heads_figures f = wcoh_heads_measure(c, 3, 4, alignment);
    CHECK_NEAR(f.synchronisation, 1, 1e-12);
    CHECK_NEAR(f.dispersion, 0, 1e-5);
    CHECK(f.rows == 4);
    CHECK_NEAR(alignment[1], 1, 1e-12);
    f = wcoh_heads_measure(opposed, 2, 2, alignment);
    CHECK_NEAR(f.synchronisation, 0, 1e-12);
    CHECK(f.dispersion > 5);
    CHECK_NEAR(alignment[1], -1, 1e-12);
    CHECK_NEAR(alignment[3], 1, 1e-12);
    opposed[0] = HUGE_VAL - HUGE_VAL; /* no centroid: as 4.0 */
    opposed[3] = -HUGE_VAL;
    f = wcoh_heads_measure(opposed, 2, 2, alignment);
    CHECK(f.rows == 0 && f.synchronisation == 0 && f.dispersion == 9);
    CHECK(alignment[0] == 1 && alignment[1] == 0 && alignment[3] == 1);
    f = wcoh_heads_measure(opposed, 2, -1, alignment);
    CHECK(f.rows == 0 && alignment[0] == 0);
}

static void collapse_names_drop_and_runner_up(void)
{
    double falls[5] = {3, 2.5, 2.6, 1, 0.9}, rises[3] = {1, 2, 3};
    double equal[4] = {0.1 + 0.2, 0.3, 0.1 + 0.2, 0.3};
    wcoh_collapse c = wcoh_collapse_of(falls, 5);
    CHECK(c.layer == 3 && c.runner_up == 1);
    CHECK_NEAR(c.drop, 1.6, 1e-12);
    CHECK_NEAR(c.runner_up_drop, 0.5, 1e-12);
    c = wcoh_collapse_of(rises, 3);
    CHECK(c.layer == -1 && c.runner_up == -1 && c.drop == 0);
    c = wcoh_collapse_of(equal, 4); /* 0.1 + 0.2 and 0.3: the same but for rounding */
    CHECK(c.layer == -1 && c.runner_up == -1);
}

/* What wcoh_model_inspect handed over of a model of one layer, T tokens, D = 16, H = 4. */
enum { T = 9, D = 16, H = 4, E = 4 };

typedef struct inspected {
    double before[T * D], after[T * D], maps[H * T * T];
    int calls;
} inspected;

static void inspector(int layer, const wcoh_real *hidden, const float *maps, void *user)
{
    inspected *seen = (inspected *)user;
    int i;
    seen->calls++;
    for (i = 0; i < T * D; i++) (layer ? seen->after : seen->before)[i] = (double)hidden[i];
    CHECK((maps != NULL) == (layer == 0));
    for (i = 0; maps && i < H * T * T; i++) seen->maps[i] = (double)maps[i];
}

static wcoh_real *param_of(const wcoh_model *model, const char *name, size_t *count)
{
    wcoh_param p;
    if (wcoh_model_param(model, wcoh_model_param_find(model, name), &p, NULL) < 0) return NULL;
    if (count) *count = p.count;
    return p.data;
}

/* With W_out = 1, no feed-forward and values V: after - before must be map times V. */
static void check_inspection(wcoh_attention attention, wcoh_block_form block, wcoh_switch listens)
{
    static const char *const ffn[2] = {"blocks.0.ffn.out.weight", "blocks.0.ffn.out.bias"};
    wcoh_model_desc desc;
    wcoh_model *model;
    wcoh_error error;
    wcoh_rng rng = wcoh_rng_seed(5);
    uint32_t tokens[T];
    inspected seen;
    const char *value_name = attention == WCOH_ATTENTION_DOT || attention == WCOH_ATTENTION_ROTARY
                                 ? "blocks.0.attn.qkv"
                                 : "blocks.0.attn.value";
    char name[64];
    wcoh_real *out, *weight, *bias;
    size_t count, k;
    int i, q, d, j, first;
    desc = wcoh_model_preset(WCOH_PRESET_WAVE_1, 11);
    memset(&seen, 0, sizeof seen);
    desc.bands = D / 2;
    desc.layers = 1;
    desc.heads = H;
    desc.attention = attention;
    desc.block = block;
    desc.forgetting = desc.loudness = desc.query_gain = listens;
    desc.overtones = attention <= WCOH_ATTENTION_SHARED && listens != WCOH_SWITCH_ON ? 2 : 0;
    if (!CHECK_SAY(wcoh_model_create(&model, &desc, &error) == WCOH_OK, "%s", error.text)) return;
    for (i = 0; i < wcoh_model_param_count(model); i++) {
        wcoh_param p;
        wcoh_model_param(model, i, &p, NULL);
        if (!strstr(p.name, "attn")) continue;
        for (k = 0; k < p.count && !strstr(p.name, "harmonic"); k++)
            p.data[k] += (wcoh_real)(0.5 * wcoh_rng_normal(&rng));
    }
    for (i = 0; i < 2; i++) {
        out = param_of(model, ffn[i], &count);
        if (out) memset(out, 0, count * sizeof *out);
    }
    out = param_of(model, "blocks.0.attn.out.weight", &count);
    for (k = 0; k < count; k++) out[k] = k % (D + 1) == 0;
    out = param_of(model, "blocks.0.attn.out.bias", &count);
    for (k = 0; out && k < count; k++) out[k] = 0;
    wcoh_model_touch(model);
    for (i = 0; i < T; i++) tokens[i] = (uint32_t)(i * i % 11);
    CHECK_SAY(wcoh_model_inspect(model, tokens, T, NULL, NULL, inspector, &seen, &error) == WCOH_OK,
              "%s", error.text);
    CHECK(seen.calls == 2);
    snprintf(name, sizeof name, "%s.weight", value_name);
    weight = param_of(model, name, &count);
    snprintf(name, sizeof name, "%s.bias", value_name);
    bias = param_of(model, name, NULL);
    first = count == 3 * D * D ? 2 * D : 0; /* values stand last in qkv */
    for (q = 0; q < T; q++)
        for (d = 0; d < D; d++) {
            const double *weights = seen.maps + (d / E * T + q) * T;
            double sum = 0, total = 0;
            for (j = 0; j < T; j++) {
                const double *h = seen.before + j * D;
                double mean = 0, variance = 0, value = bias ? (double)bias[first + d] : 0;
                for (i = 0; i < D; i++) mean += h[i] / D;
                for (i = 0; i < D; i++) variance += (h[i] - mean) * (h[i] - mean) / D;
                for (i = 0; i < D; i++) {
                    double w = count == H * E * E
                                   ? (i / E == d / E ? (double)weight[d * E + i % E] : 0)
                                   : (double)weight[(first + d) * D + i];
                    value += w * (h[i] - mean) / sqrt(variance + 1e-5);
                }
                sum += weights[j] * value;
                total += weights[j];
                CHECK(j <= q || weights[j] == 0);
            }
            CHECK_NEAR(total, 1, 1e-6);
            CHECK_SAY(fabs(seen.after[q * D + d] - seen.before[q * D + d] - sum) < 2e-5,
                      "attention %d block %d, query %d, dimension %d: %g, by the map %g", attention,
                      block, q, d, seen.after[q * D + d] - seen.before[q * D + d], sum);
        }
    tokens[3] = 11;
    CHECK(wcoh_model_inspect(model, tokens, T, NULL, NULL, inspector, &seen, NULL) == WCOH_E_TOKEN);
    CHECK(wcoh_model_inspect(model, tokens, 0, NULL, NULL, inspector, &seen, NULL) ==
          WCOH_E_ARGUMENT);
    wcoh_model_destroy(model);
}

static void inspected_maps_are_the_models_own(void)
{
    check_inspection(WCOH_ATTENTION_COHERENCE, WCOH_BLOCK_PARALLEL, WCOH_SWITCH_OFF);
    check_inspection(WCOH_ATTENTION_SHARED, WCOH_BLOCK_SEQUENTIAL, WCOH_SWITCH_OFF);
    check_inspection(WCOH_ATTENTION_COHERENCE, WCOH_BLOCK_PARALLEL, WCOH_SWITCH_ON);
    check_inspection(WCOH_ATTENTION_FROZEN, WCOH_BLOCK_PARALLEL_SHARED, WCOH_SWITCH_OFF);
    check_inspection(WCOH_ATTENTION_DOT, WCOH_BLOCK_PARALLEL, WCOH_SWITCH_OFF);
    check_inspection(WCOH_ATTENTION_ROTARY, WCOH_BLOCK_SEQUENTIAL, WCOH_SWITCH_OFF);
}

typedef struct flow_seen {
    double given[2][T * D];
    int calls, layers[3];
} flow_seen;

static void flow_inspector(int layer, const wcoh_real *hidden, const float *maps, void *user)
{
    flow_seen *seen = (flow_seen *)user;
    int i;
    CHECK(maps == NULL && seen->calls < 2);
    for (i = 0; i < T * D; i++) seen->given[seen->calls][i] = (double)hidden[i];
    seen->layers[seen->calls++] = layer;
}

/* Maestros before the oscillators that add nothing: those of the first layer are given its norm. */
static void oscillators_are_given_what_stands_before_them(wcoh_real mixing)
{
    wcoh_model_desc desc = wcoh_model_preset(WCOH_PRESET_WAVE_1, 11);
    wcoh_model *model;
    uint32_t tokens[T];
    flow_seen seen;
    inspected stream;
    size_t count, k;
    int i, q;
    memset(&seen, 0, sizeof seen);
    memset(&stream, 0, sizeof stream);
    desc.bands = D / 2;
    desc.layers = 1;
    desc.heads = H;
    desc.mixing = (double)mixing;
    if (!CHECK(wcoh_model_create(&model, &desc, NULL) == WCOH_OK)) return;
    for (i = 0; i < 2; i++) {
        wcoh_real *expand = param_of(model,
                                     i ? "blocks.0.ffn.maestro_in.expand.weight"
                                       : "blocks.0.ffn.maestro_in.expand.bias",
                                     &count);
        for (k = 0; expand && k < count; k++) expand[k] = 0;
    }
    wcoh_model_touch(model);
    for (i = 0; i < T; i++) tokens[i] = (uint32_t)(i * i % 11);
    CHECK(wcoh_model_inspect(model, tokens, T, NULL, NULL, inspector, &stream, NULL) == WCOH_OK);
    CHECK(wcoh_model_inspect_oscillators(model, tokens, T, NULL, NULL, flow_inspector, &seen,
                                         NULL) == WCOH_OK);
    CHECK(seen.calls == 1 && seen.layers[0] == 0);
    for (q = 0; q < T; q++) {
        const double *h = stream.before + q * D;
        double mean = 0, variance = 0;
        for (i = 0; i < D; i++) mean += h[i] / D;
        for (i = 0; i < D; i++) variance += (h[i] - mean) * (h[i] - mean) / D;
        for (i = 0; i < D; i++)
            CHECK_NEAR(seen.given[0][q * D + i], (h[i] - mean) / sqrt(variance + 1e-5), 1e-5);
    }
    wcoh_model_destroy(model);
}

static void oscillators_are_inspected(void)
{
    wcoh_model_desc desc = wcoh_model_preset(WCOH_PRESET_WAVE_1, 11);
    wcoh_model *model;
    uint32_t tokens[T] = {0};
    flow_seen seen;
    oscillators_are_given_what_stands_before_them(0);
    oscillators_are_given_what_stands_before_them((wcoh_real)0.03);
    desc.bands = D / 2;
    desc.layers = 2;
    desc.heads = H;
    desc.per_band_first = WCOH_SWITCH_ON; /* the first layer has none */
    memset(&seen, 0, sizeof seen);
    if (!CHECK(wcoh_model_create(&model, &desc, NULL) == WCOH_OK)) return;
    CHECK(wcoh_model_inspect_oscillators(model, tokens, 0, NULL, NULL, flow_inspector, &seen,
                                         NULL) == WCOH_E_ARGUMENT);
    CHECK(seen.calls == 0);
    CHECK(wcoh_model_inspect_oscillators(model, tokens, T, NULL, NULL, flow_inspector, &seen,
                                         NULL) == WCOH_OK);
    CHECK(seen.calls == 1 && seen.layers[0] == 1);
    wcoh_model_destroy(model);
}

static void waves_of_a_new_model_are_as_documented(void)
{
    wcoh_model_desc desc;
    wcoh_model *model;
    wcoh_wave wave;
    desc = wcoh_model_preset(WCOH_PRESET_WAVE_1, 65);
    CHECK(wcoh_model_create(&model, &desc, NULL) == WCOH_OK);
    CHECK(wcoh_model_wave(model, 0, 0, &wave, NULL) == WCOH_OK);
    CHECK_NEAR(wave.gain, 2, 1e-6);
    CHECK(wave.carrier == 0 && wave.wavelength == 0);
    CHECK_NEAR(wave.damping, log1p(exp(-6)), 1e-6);
    CHECK_NEAR(wave.reach, 1 / wave.damping, 1e-6);
    CHECK(wcoh_model_wave(model, 3, 15, &wave, NULL) == WCOH_OK);
    CHECK_NEAR(wave.carrier, 0.5, 1e-6);
    CHECK_NEAR(wave.wavelength, 4 * 3.14159265358979, 1e-4);
    CHECK_NEAR(wave.damping, log(2), 1e-6);
    CHECK(wcoh_model_wave(model, 0, 16, &wave, NULL) == WCOH_E_ARGUMENT);
    CHECK(wcoh_model_wave(model, -1, 0, &wave, NULL) == WCOH_E_ARGUMENT);
    wcoh_model_destroy(model);
    desc.attention = WCOH_ATTENTION_DOT;
    CHECK(wcoh_model_create(&model, &desc, NULL) == WCOH_OK);
    CHECK(wcoh_model_wave(model, 0, 0, &wave, NULL) == WCOH_E_UNSUPPORTED);
    wcoh_model_destroy(model);
}

/* ---- weights ------------------------------------------------------------------------------ */

/* A = Q1 diag(s) Q2^T from two random rotations by Gram and Schmidt. */
static void orthonormal(double *q, int n, int k, uint64_t seed)
{
    wcoh_rng rng = wcoh_rng_seed(seed);
    int i, j, c, pass;
    for (i = 0; i < n * k; i++) q[i] = wcoh_rng_normal(&rng);
    for (c = 0; c < k; c++)
        for (pass = 0; pass < 2; pass++) {
            double norm = 0;
            for (j = 0; j < c; j++) {
                double dot = 0;
                for (i = 0; i < n; i++) dot += q[j * n + i] * q[c * n + i];
                for (i = 0; i < n; i++) q[c * n + i] -= dot * q[j * n + i];
            }
            for (i = 0; i < n; i++) norm += q[c * n + i] * q[c * n + i];
            for (i = 0; i < n; i++) q[c * n + i] /= sqrt(norm);
        }
}

static void singular_values_of_known_matrices(void)
{
    static const int shapes[6][2] = {{1, 1}, {1, 9}, {9, 1}, {24, 24}, {40, 13}, {13, 40}};
    int i, r, c, k;
    for (i = 0; i < 6; i++) {
        int rows_of = shapes[i][0], columns = shapes[i][1];
        int n = rows_of < columns ? rows_of : columns;
        double *p = NEW(double, rows_of *n), *q = NEW(double, columns *n), values[32];
        float *matrix = NEW(float, rows_of *columns);
        wcoh_matrix_figures f;
        orthonormal(p, rows_of, n, 1);
        orthonormal(q, columns, n, 2);
        for (r = 0; r < rows_of; r++)
            for (c = 0; c < columns; c++) {
                double sum = 0;
                for (k = 0; k < n; k++)
                    sum += pow(0.7, k) * p[k * rows_of + r] * q[k * columns + c];
                matrix[r * columns + c] = (float)sum;
            }
        CHECK(wcoh_matrix_measure(&f, matrix, rows_of, columns, values, NULL, NULL) == WCOH_OK);
        for (k = 0; k < n; k++) CHECK_NEAR(values[k], pow(0.7, k), 1e-6);
        CHECK_NEAR(f.largest, values[0], 0);
        CHECK_NEAR(f.thirds[0] + f.thirds[1] + f.thirds[2], 1, 1e-9);
        CHECK_NEAR(f.thirds_random[0] + f.thirds_random[1] + f.thirds_random[2], 1, 1e-12);
        CHECK((f.identity >= 0) == (rows_of == columns));
        free(p);
        free(q);
        free(matrix);
    }
}

static void matrix_figures_have_their_closed_forms(void)
{
    enum { N = 32 };
    float *matrix = NEW(float, 300 * 300);
    double values[300];
    wcoh_matrix_figures f;
    wcoh_rng rng = wcoh_rng_seed(3);
    int i;
    for (i = 0; i < N; i++) matrix[i * N + i] = 1;
    CHECK(wcoh_matrix_measure(&f, matrix, N, N, values, NULL, NULL) == WCOH_OK);
    CHECK_NEAR(f.effective_rank, N, 1e-9);
    CHECK_NEAR(f.stable_rank, N, 1e-9);
    CHECK_NEAR(f.norm, sqrt(N), 1e-12);
    CHECK_NEAR(f.identity, 0, 1e-12);
    CHECK_NEAR(f.identity_random, sqrt(2), 1e-12);
    for (i = 0; i < N * N; i++) matrix[i] = (float)((i / N + 1) * (i % N + 1));
    CHECK(wcoh_matrix_measure(&f, matrix, N, N, values, NULL, NULL) == WCOH_OK);
    CHECK_NEAR(f.effective_rank, 1, 1e-9);
    CHECK(values[1] < 1e-12 * values[0]);
    memset(matrix, 0, N * N * sizeof *matrix);
    CHECK(wcoh_matrix_measure(&f, matrix, N, N, values, NULL, NULL) == WCOH_OK);
    CHECK(f.effective_rank == 0 && f.largest == 0 && f.stable_rank == 0);
    for (i = 0; i < 300 * 300; i++) matrix[i] = (float)wcoh_rng_normal(&rng);
    CHECK(wcoh_matrix_measure(&f, matrix, 300, 300, values, NULL, NULL) == WCOH_OK);
    CHECK_NEAR(f.effective_rank, f.random_rank, 0.02 * f.random_rank);
    CHECK_NEAR(f.largest, 2 * sqrt(300), 1);
    CHECK(wcoh_matrix_measure(&f, matrix, 300, 100, values, NULL, NULL) == WCOH_OK);
    CHECK_NEAR(f.effective_rank, f.random_rank, 0.02 * f.random_rank);
    CHECK_NEAR(f.thirds[0], f.thirds_random[0], 0.02);
    matrix[77] = (float)HUGE_VAL;
    CHECK(wcoh_matrix_measure(&f, matrix, 300, 100, NULL, NULL, NULL) == WCOH_E_ARGUMENT);
    CHECK(wcoh_matrix_measure(&f, matrix, 0, 100, NULL, NULL, NULL) == WCOH_E_ARGUMENT);
    for (i = 0; i < N; i++) matrix[i] = (float)(i % 2 ? -1 : 1); /* all energy at Nyquist */
    CHECK(wcoh_matrix_measure(&f, matrix, 1, N, NULL, NULL, NULL) == WCOH_OK);
    CHECK_NEAR(f.thirds[2], 1, 1e-12);
    CHECK(f.random_rank == 1 && f.effective_rank == 1); /* a row has one value */
    free(matrix);
}

/* Tiny and huge entries: scaled, never overflowing. */
static void singular_values_survive_extreme_scales(void)
{
    static const float scales[3] = {1e-38f, 1e-20f, 1e38f};
    float matrix[6];
    double values[2], base[2];
    wcoh_matrix_figures f;
    int i, k;
    for (i = 0; i < 6; i++) matrix[i] = (float)(i * i - 7);
    CHECK(wcoh_matrix_measure(&f, matrix, 2, 3, base, NULL, NULL) == WCOH_OK);
    for (k = 0; k < 3; k++) {
        for (i = 0; i < 6; i++) matrix[i] = (float)(i * i - 7) / 32 * scales[k];
        CHECK(wcoh_matrix_measure(&f, matrix, 2, 3, values, NULL, NULL) == WCOH_OK);
        CHECK_NEAR(values[0] * 32 / (double)scales[k], base[0], 1e-5 * base[0]);
        CHECK_NEAR(values[1] * 32 / (double)scales[k], base[1], 1e-5 * base[0]);
    }
}

static void ignore(int layer, const wcoh_real *hidden, const float *maps, void *user)
{
    (void)layer;
    (void)hidden;
    (void)maps;
    *(int *)user += 1;
}

/* What takes one block and gives it back within the call: no memory is an error, nothing leaks. */
static void short_lived_blocks_come_and_go(void)
{
    float matrix[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3};
    uint32_t tokens[4] = {1, 2, 3, 4};
    wcoh_matrix_figures f;
    wcoh_map_figures g;
    wcoh_model_desc desc;
    wcoh_model *model;
    int after, calls = 0;
    memset(&desc, 0, sizeof desc);
    desc.vocab = 11;
    desc.bands = 8;
    desc.layers = 1;
    desc.heads = 4;
    CHECK(wcoh_model_create(&model, &desc, NULL) == WCOH_OK);
    for (after = 0; after < 3; after++) {
        wcoh_memory memory = memory_that_fails(after);
        wcoh_result wanted = after ? WCOH_OK : WCOH_E_MEMORY;
        CHECK(wcoh_matrix_measure(&f, matrix, 4, 3, NULL, &memory, NULL) == wanted);
        memory = memory_that_fails(after);
        CHECK(wcoh_map_measure(&g, matrix, 3, WCOH_MAP_CAUSAL, &memory, NULL, NULL) == wanted);
        memory = memory_that_fails(after);
        wanted = after > 1 ? WCOH_OK : WCOH_E_MEMORY; /* the plan's, then the pass's */
        CHECK(wcoh_model_inspect(model, tokens, 4, NULL, &memory, ignore, &calls, NULL) == wanted);
        CHECK(alloc_open == 0);
    }
    CHECK(calls == 2);
    wcoh_model_destroy(model);
}

/* ---- files: .npy -------------------------------------------------------------------------- */

/* A .npy file of that version, header and data. */
static file *npy_of(int version, const char *header, const void *data, size_t size)
{
    file *f = file_of(strlen(header) + size + 12);
    size_t length = strlen(header), start = version == 1 ? 10 : 12;
    unsigned char *p = f->block.data;
    memcpy(p, "\223NUMPY", 6);
    p[6] = (unsigned char)version;
    wcohi_put_le(p + 8, length, version == 1 ? 2 : 4);
    memcpy(p + start, header, length);
    if (size) memcpy(p + start + length, data, size);
    f->block.used = start + length + size;
    return f;
}

/* The file opened, its one tensor described; NULL with a failed check. */
static wcoh_tensors *open_one(const file *f, wcoh_tensor_info *info)
{
    wcoh_tensors *t;
    wcoh_error error;
    if (!CHECK_SAY(wcoh_tensors_open(&t, &f->io, NULL, &error) == WCOH_OK, "%s", error.text))
        return NULL;
    CHECK(wcoh_tensors_count(t) == 1 && wcoh_tensors_find(t, "array") == 0);
    CHECK(wcoh_tensors_info(t, 0, info, NULL) == WCOH_OK);
    return t;
}

static void npy_types_orders_and_shapes(void)
{
    static const struct {
        const char *descr;
        int size;
        unsigned char bytes[16];
    } t[] = {{"<f4", 4, {0, 0, 128, 63, 0, 0, 0, 192}},
             {">f4", 4, {63, 128, 0, 0, 192, 0, 0, 0}},
             {"<f8", 8, {0, 0, 0, 0, 0, 0, 240, 63, 0, 0, 0, 0, 0, 0, 0, 192}},
             {"<f2", 2, {0, 60, 0, 192}},
             {"<i2", 2, {1, 0, 254, 255}},
             {">i4", 4, {0, 0, 0, 1, 255, 255, 255, 254}},
             {"<i8", 8, {1, 0, 0, 0, 0, 0, 0, 0, 254, 255, 255, 255, 255, 255, 255, 255}},
             {"|i1", 1, {1, 254}},
             {">f2", 2, {60, 0, 192, 0}},
             {"<i1", 1, {1, 254}}};
    char header[128];
    size_t i;
    int version;
    for (i = 0; i < sizeof t / sizeof t[0]; i++)
        for (version = 1; version <= 3; version++) {
            float values[2] = {0, 0};
            wcoh_tensor_info info;
            wcoh_tensors *tensors;
            file *f;
            snprintf(header, sizeof header,
                     "{'descr': '%s', 'fortran_order': False, 'shape': (2,), }   \n", t[i].descr);
            f = npy_of(version, header, t[i].bytes, 2 * (size_t)t[i].size);
            tensors = open_one(f, &info);
            if (tensors) {
                CHECK(info.dims == 1 && info.shape[0] == 2 && info.count == 2);
                CHECK(wcoh_tensors_read(tensors, 0, 0, 2, values, NULL) == WCOH_OK);
                CHECK_SAY(values[0] == 1 && values[1] == -2, "%s: %g %g", header, (double)values[0],
                          (double)values[1]);
                CHECK(wcoh_tensors_read(tensors, 0, 1, 2, values, NULL) == WCOH_E_ARGUMENT);
                wcoh_tensors_close(tensors);
            }
            file_free(f);
        }
}

/* "=" and no sign are this machine's order, whatever it is; unsigned types reach above signed ones. */
static void npy_native_and_unsigned_types_are_read(void)
{
    static const struct {
        const char *descr, *dtype;
    } t[] = {{"=f4", "F32"}, {"f4", "F32"},  {"=f8", "F64"}, {"|u1", "U8"},  {"<u1", "U8"},
             {"=u2", "U16"}, {"=u4", "U32"}, {"=u8", "U64"}, {"|b1", "BOOL"}};
    size_t i;
    for (i = 0; i < sizeof t / sizeof t[0]; i++) {
        unsigned char data[8];
        float value = 0, single = 200;
        double real = 200;
        uint64_t u8 = 200;
        uint32_t u4 = 200;
        uint16_t u2 = 200;
        char header[128];
        wcoh_tensor_info info;
        wcoh_tensors *tensors;
        size_t width = (size_t)(t[i].descr[strlen(t[i].descr) - 1] - '0');
        file *f;
        memset(data, 200, sizeof data);
        if (strstr(t[i].descr, "f4")) memcpy(data, &single, 4);
        if (strstr(t[i].descr, "f8")) memcpy(data, &real, 8);
        if (strstr(t[i].descr, "u2")) memcpy(data, &u2, 2);
        if (strstr(t[i].descr, "u4")) memcpy(data, &u4, 4);
        if (strstr(t[i].descr, "u8")) memcpy(data, &u8, 8);
        sprintf(header, "{'descr': '%s', 'fortran_order': False, 'shape': (), }\n", t[i].descr);
        f = npy_of(1, header, data, width);
        tensors = open_one(f, &info);
        if (tensors) {
            CHECK_SAY(strcmp(info.dtype, t[i].dtype) == 0, "%s is %s", t[i].descr, info.dtype);
            CHECK(info.dims == 0 && info.count == 1);
            CHECK(wcoh_tensors_read(tensors, 0, 0, 1, &value, NULL) == WCOH_OK);
            CHECK_SAY(value == 200, "%s: %g", t[i].descr, (double)value);
            wcoh_tensors_close(tensors);
        }
        file_free(f);
    }
}

/* NumPy pads headers as it likes, and a record type may be long. */
static void npy_headers_of_any_length_are_read(void)
{
    static const size_t lengths[] = {64, 4097, 5060, 9060, 65535, 300000};
    size_t i;
    for (i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        int version = lengths[i] > 65535 ? 3 : 1;
        char *header = (char *)malloc(lengths[i] + 1);
        unsigned char data[2] = {7, 9};
        float values[2] = {0, 0};
        wcoh_tensor_info info;
        wcoh_tensors *t;
        file *f;
        memset(header, ' ', lengths[i]);
        memcpy(header, "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }", 57);
        header[lengths[i] - 1] = '\n';
        header[lengths[i]] = 0;
        f = npy_of(version, header, data, 2);
        t = open_one(f, &info);
        if (t) CHECK(wcoh_tensors_read(t, 0, 0, 2, values, NULL) == WCOH_OK);
        CHECK_SAY(values[0] == 7 && values[1] == 9, "a header of %lu bytes",
                  (unsigned long)lengths[i]);
        wcoh_tensors_close(t);
        file_free(f);
        free(header);
    }
}

static void npy_fortran_order_reads_as_c(void)
{
    unsigned char data[24];
    float values[24], one;
    wcoh_tensor_info info;
    wcoh_tensors *t;
    file *f;
    int i, j, k;
    for (i = 0; i < 24; i++) data[i] = (unsigned char)i; /* a[i,j,k] = i + 2 j + 6 k */
    f = npy_of(1, "{'shape': (2L, 3L, 4L), 'fortran_order': True, 'descr': '|u1'}\n", data, 24);
    t = open_one(f, &info);
    if (!t) return;
    CHECK(info.dims == 3 && wcoh_tensors_read(t, 0, 0, 24, values, NULL) == WCOH_OK);
    for (i = 0; i < 2; i++)
        for (j = 0; j < 3; j++)
            for (k = 0; k < 4; k++) {
                CHECK(values[(i * 3 + j) * 4 + k] == (float)(i + 2 * j + 6 * k));
                CHECK(wcoh_tensors_read(t, 0, (uint64_t)((i * 3 + j) * 4 + k), 1, &one, NULL) ==
                      WCOH_OK);
                CHECK(one == (float)(i + 2 * j + 6 * k));
            }
    wcoh_tensors_close(t);
    file_free(f);
}

/* Rows, parts of rows and the whole of a tall matrix: by single numbers and by going through. */
static void npy_fortran_parts_equal_the_whole(void)
{
    enum { R = 300, C = 7 };
    static const size_t parts[][2] = {{0, R * C}, {0, C},         {11, 3},   {R * C - 1, 1},
                                      {C - 1, 2}, {5, R * C - 9}, {R * C, 0}};
    static float values[R * C];
    static unsigned char data[4 * R * C];
    wcoh_tensor_info info;
    wcoh_tensors *t;
    file *f;
    size_t i, k;
    for (i = 0; i < R * C; i++) { /* big-endian a[r,c] = 1000 r + c */
        uint32_t number = (uint32_t)(1000 * (i % R) + i / R);
        for (k = 0; k < 4; k++) data[4 * i + k] = (unsigned char)(number >> (24 - 8 * k));
    }
    f = npy_of(2, "{'shape': (300, 7), 'fortran_order': True, 'descr': '>i4'}", data, sizeof data);
    t = open_one(f, &info);
    if (!t) return;
    for (k = 0; k < sizeof parts / sizeof parts[0]; k++) {
        size_t first = parts[k][0], count = parts[k][1];
        memset(values, 0, sizeof values);
        CHECK(wcoh_tensors_read(t, 0, first, count, values, NULL) == WCOH_OK);
        for (i = 0; i < count; i++)
            CHECK((size_t)values[i] == 1000 * ((first + i) / C) + (first + i) % C);
        if (count < R * C) CHECK(values[count] == 0);
    }
    wcoh_tensors_close(t);
    file_free(f);
}

static void npy_errors_name_what_is_wrong(void)
{
    static const struct {
        const char *header;
        size_t size;
        wcoh_result result;
        const char *text;
    } t[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", 8, WCOH_E_FORMAT,
         "shape needs"},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (2,)}", 8, WCOH_E_FORMAT,
         "shape needs"},
        {"{'descr': [('a','<f4'), 'fortran_order': False, 'shape': (1,)}", 4, WCOH_E_FORMAT,
         "record type does not end"},
        {"{'descr': '<f4, 'fortran_order': False, 'shape': (1,)}", 4, WCOH_E_FORMAT, "closed"},
        {"{'descr': <f4, 'fortran_order': False, 'shape': (1,)}", 4, WCOH_E_FORMAT, "quoted"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,", 4, WCOH_E_FORMAT, "side"},
        {"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,)}", 4, WCOH_E_FORMAT, "fortran"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2)}", 8, WCOH_E_FORMAT, "tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", 4, WCOH_E_FORMAT, "side"},
        {"{'descr': '<f4', 'fortran_order': False}", 4, WCOH_E_FORMAT, "missing"},
        {"{'descr': '<f4', 'descr': '<f4', 'shape': (1,)}", 4, WCOH_E_FORMAT, "twice"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x", 4, WCOH_E_FORMAT, "behind"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4294967296)}",
         4, WCOH_E_FORMAT, "overflows"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", 4,
         WCOH_E_FORMAT, "too large"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}", 4, WCOH_E_FORMAT,
         "8 dimensions"},
    };
    size_t i;
    unsigned char zero[16] = {0};
    wcoh_tensors *tensors;
    wcoh_error error;
    wcoh_io none;
    file *f;
    for (i = 0; i < sizeof t / sizeof t[0]; i++) {
        f = npy_of(1, t[i].header, zero, t[i].size);
        CHECK_SAY(wcoh_tensors_open(&tensors, &f->io, NULL, &error) == t[i].result, "%s",
                  t[i].header);
        CHECK_TEXT(error.text, t[i].text);
        file_free(f);
    }
    memset(&none, 0, sizeof none);
    CHECK(wcoh_tensors_open(&tensors, &none, NULL, NULL) == WCOH_E_ARGUMENT);
    f = npy_of(4, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", zero, 4);
    CHECK(wcoh_tensors_open(&tensors, &f->io, NULL, &error) == WCOH_E_UNSUPPORTED);
    CHECK_TEXT(error.text, "version 4, 1 to 3 are read");
    file_free(f);
}

/* Types that are not numbers: the array is described, and its reading refused. */
static void npy_of_other_types_is_described_and_not_read(void)
{
    static const struct {
        const char *descr, *dtype;
    } t[] = {{"'<c8'", "C64"},
             {"'|O'", "|O"},
             {"'<U2'", "<U2"},
             {"'<f16'", "<f16"},
             {"[('a','<f4'), (\"b]\",'<f4')]", "[('a','<f4')..."},
             {"('<f4', (2,))", "('<f4', (2,)..."},
             {"''", ""}};
    unsigned char zero[16] = {0};
    char header[160];
    size_t i;
    for (i = 0; i < sizeof t / sizeof t[0]; i++) {
        float value;
        wcoh_tensor_info info;
        wcoh_tensors *tensors;
        wcoh_error error;
        file *f;
        sprintf(header, "{'descr': %s, 'fortran_order': False, 'shape': (1,)}", t[i].descr);
        f = npy_of(1, header, zero, 8);
        tensors = open_one(f, &info);
        if (tensors) {
            CHECK_SAY(strcmp(info.dtype, t[i].dtype) == 0, "%s is %s", t[i].descr, info.dtype);
            CHECK(info.count == 1);
            CHECK(wcoh_tensors_read(tensors, 0, 0, 1, &value, &error) == WCOH_E_UNSUPPORTED);
            CHECK_TEXT(error.text, "array: numbers of type");
            wcoh_tensors_close(tensors);
        }
        file_free(f);
    }
}

/* ---- hostile files ------------------------------------------------------------------------ */

typedef void (*opener)(const wcoh_io *io);

static void open_tensors(const wcoh_io *io)
{
    wcoh_tensors *t;
    wcoh_tensor_info info;
    float values[16];
    int i;
    if (wcoh_tensors_open(&t, io, NULL, NULL) != WCOH_OK) return;
    for (i = 0; i < wcoh_tensors_count(t); i++)
        if (wcoh_tensors_info(t, i, &info, NULL) == WCOH_OK)
            wcoh_tensors_read(t, i, 0, info.count < 16 ? (size_t)info.count : 16, values, NULL);
    wcoh_tensors_close(t);
}

static void open_circle(const wcoh_io *io)
{
    wcoh_circle *circle;
    if (wcoh_circle_load(&circle, io, NULL, NULL) == WCOH_OK) wcoh_circle_destroy(circle);
}

static void open_store(const wcoh_io *io)
{
    wcoh_resonance *store;
    wcoh_cpu_desc cpu;
    memset(&cpu, 0, sizeof cpu);
    cpu.threads = 1;
    if (wcoh_resonance_load(&store, io, 0, 0, &cpu, NULL, NULL) == WCOH_OK)
        wcoh_resonance_destroy(store);
    if (wcoh_resonance_load(&store, io, 1, 1, &cpu, NULL, NULL) == WCOH_OK)
        wcoh_resonance_destroy(store);
}

/* Every truncation and every flipped bit: an error or a sound object, never a crash. `exact`: the
   bytes are copied to a block of just their size, so that a sanitizer sees any overrun. */
static void open_every_damage(const file *f, opener open, size_t stride)
{
    size_t size = f->block.used, cut, bit;
    for (cut = 0; cut <= size; cut++) {
        wcoh_memory_file block;
        wcoh_io io;
        block.data = (unsigned char *)must_have(malloc(cut + 1));
        memcpy(block.data, f->block.data, cut);
        block.capacity = block.used = cut;
        io = wcoh_io_memory(&block);
        open(&io);
        free(block.data);
    }
    for (bit = 0; bit < 8 * size; bit += bit < 8 * 600 ? 1 : stride) {
        file copy = *f;
        copy.io = wcoh_io_memory(&copy.block);
        f->block.data[bit / 8] ^= (unsigned char)(1u << (bit & 7));
        open(&copy.io);
        f->block.data[bit / 8] ^= (unsigned char)(1u << (bit & 7));
    }
}

/* Take the checksum out, so that damage reaches the parser behind it. */
static void without_checksum(file *f)
{
    unsigned char *p = f->block.data;
    size_t i;
    for (i = 0; i + 16 < f->block.used; i++)
        if (memcmp(p + i, "wavecoh.checksum", 16) == 0) memcpy(p + i, "wavecoh.chucksum", 16);
}

static void damaged_files_give_errors_and_no_crash(void)
{
    float data[6] = {1, 2, 3, 4, 5, 6}, *v = random_vectors(5, 3, 1);
    file *f = npy_of(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", data, 24);
    wcoh_circle *circle = golden_circle(5, 12, 1, 0);
    wcoh_resonance *store = store_of(3, WCOH_PACKET_DFT, 1);
    open_every_damage(f, open_tensors, 1);
    file_free(f);
    f = file_of(40000);
    CHECK(wcoh_circle_save(circle, &f->io, NULL) == WCOH_OK);
    open_every_damage(f, open_tensors, 1);
    open_every_damage(f, open_circle, 1);
    without_checksum(f);
    open_every_damage(f, open_circle, 1);
    file_free(f);
    f = file_of(40000);
    wcoh_resonance_add(store, v, NULL, 5, NULL);
    CHECK(wcoh_resonance_save(store, &f->io, NULL) == WCOH_OK);
    open_every_damage(f, open_store, 17);
    without_checksum(f);
    open_every_damage(f, open_store, 17);
    file_free(f);
    wcoh_circle_destroy(circle);
    wcoh_resonance_destroy(store);
    free(v);
}

static void files_of_another_kind_are_a_mismatch(void)
{
    wcoh_circle *circle = golden_circle(5, 12, 1, 0), *back;
    wcoh_resonance *store;
    wcoh_error error;
    file *f = file_of(40000);
    CHECK(wcoh_circle_save(circle, &f->io, NULL) == WCOH_OK);
    CHECK(wcoh_resonance_load(&store, &f->io, 0, 0, NULL, NULL, &error) == WCOH_E_MISMATCH);
    CHECK_TEXT(error.text, "no resonance store");
    wcoh_circle_destroy(circle);
    store = store_of(3, WCOH_PACKET_DFT, 1);
    f->block.used = 0;
    CHECK(wcoh_resonance_save(store, &f->io, NULL) == WCOH_OK);
    CHECK(wcoh_circle_load(&back, &f->io, NULL, &error) == WCOH_E_MISMATCH && !back);
    wcoh_resonance_destroy(store);
    f->block.used = 0;
    f->block.capacity = 50;
    store = store_of(3, WCOH_PACKET_DFT, 1);
    CHECK(wcoh_resonance_save(store, &f->io, NULL) == WCOH_E_IO);
    wcoh_resonance_destroy(store);
    file_free(f);
}

static void files_by_path_come_back_or_say_why(void)
{
    static const char *const path = "test_toolkit.tmp.safetensors";
    float *v = random_vectors(10, 6, 2);
    wcoh_circle *circle = golden_circle(50, 60, 2, 3), *back;
    wcoh_resonance *store = store_of(6, WCOH_PACKET_DFT, 1), *again;
    wcoh_error error;
    CHECK_SAY(wcoh_circle_save_file(circle, path, &error) == WCOH_OK, "%s", error.text);
    CHECK(wcoh_circle_load_file(&back, path, NULL, NULL) == WCOH_OK);
    CHECK(back && wcoh_circle_count(back) == 50);
    wcoh_circle_destroy(back);
    CHECK(wcoh_resonance_add(store, v, NULL, 10, NULL) == WCOH_OK);
    CHECK(wcoh_resonance_save_file(store, path, NULL) == WCOH_OK);
    CHECK(wcoh_resonance_load_file(&again, path, 1, 2, NULL, NULL, NULL) == WCOH_OK);
    CHECK(again && wcoh_resonance_count(again) == 10);
    wcoh_resonance_destroy(again);
    CHECK(wcoh_circle_load_file(&back, path, NULL, &error) == WCOH_E_MISMATCH && !back);
    CHECK_TEXT(error.text, path);
    CHECK(remove(path) == 0);
    CHECK(wcoh_resonance_load_file(&again, path, 0, 0, NULL, NULL, &error) == WCOH_E_IO && !again);
    CHECK_TEXT(error.text, path);
    CHECK(wcoh_circle_save_file(circle, "no/such/folder/x", &error) == WCOH_E_IO);
    wcoh_circle_destroy(circle);
    wcoh_resonance_destroy(store);
    free(v);
}

/* ---- NULL ----------------------------------------------------------------------------------- */

#define REFUSED(call) CHECK((call) == WCOH_E_ARGUMENT)

static void null_is_refused_by_every_function_that_can_fail(void)
{
    wcoh_circle *circle = circle_of(12, 1), *none;
    wcoh_resonance *store = store_of(3, WCOH_PACKET_SIGN, 1);
    wcoh_spectral_desc desc = spectral_desc(4, 2);
    wcoh_spectral *s = spectral_of(&desc);
    wcoh_circle_query query = query_of(0, 1, 0.9, 0, 1, 0.9);
    wcoh_resonance_hit hits[10];
    wcoh_map_figures map;
    wcoh_matrix_figures matrix;
    wcoh_wave wave;
    wcoh_grids grids;
    wcoh_figure bands[3];
    uint64_t modulus = 3;
    uint32_t pair[2] = {0, 1}, token = 0;
    float v[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    double phase = 1, amplitude[3], phases[3];
    int found, calls = 0;
    REFUSED(wcoh_grids_of(NULL, &modulus, 1, NULL));
    REFUSED(wcoh_grids_of(&grids, NULL, 1, NULL));
    REFUSED(wcoh_circle_create(NULL, NULL, NULL));
    REFUSED(wcoh_circle_insert(NULL, &phase, NULL, NULL));
    REFUSED(wcoh_circle_insert(circle, NULL, NULL, NULL));
    REFUSED(wcoh_circle_update(NULL, 0, &phase, NULL));
    REFUSED(wcoh_circle_update(circle, 0, NULL, NULL));
    REFUSED(wcoh_circle_find(NULL, &query, NULL, 0, NULL, NULL, NULL));
    REFUSED(wcoh_circle_find(circle, NULL, NULL, 0, NULL, NULL, NULL));
    REFUSED(wcoh_circle_save(NULL, NULL, NULL));
    REFUSED(wcoh_circle_save(circle, NULL, NULL));
    REFUSED(wcoh_circle_load(NULL, NULL, NULL, NULL));
    REFUSED(wcoh_circle_load(&none, NULL, NULL, NULL));
    REFUSED(wcoh_circle_save_file(NULL, "x", NULL));
    REFUSED(wcoh_circle_load_file(NULL, "x", NULL, NULL));
    REFUSED(wcoh_dft_create(NULL, 4, NULL, NULL));
    REFUSED(wcoh_spectral_create(NULL, &desc, NULL));
    REFUSED(wcoh_spectral_pairs(NULL, v, 2, pair, 1, NULL, NULL, NULL, NULL, NULL));
    REFUSED(wcoh_spectral_pairs(s, NULL, 2, pair, 1, NULL, NULL, NULL, NULL, NULL));
    REFUSED(wcoh_spectral_pairs(s, v, 2, NULL, 1, NULL, NULL, NULL, NULL, NULL));
    REFUSED(wcoh_spectral_energy(NULL, v, 2, bands, NULL));
    REFUSED(wcoh_spectral_energy(s, NULL, 2, bands, NULL));
    REFUSED(wcoh_spectral_energy(s, v, 2, NULL, NULL));
    REFUSED(wcoh_resonance_create(NULL, NULL, NULL));
    REFUSED(wcoh_resonance_add(NULL, v, NULL, 1, NULL));
    REFUSED(wcoh_resonance_add(store, NULL, NULL, 1, NULL));
    REFUSED(wcoh_resonance_find(NULL, NULL, v, NULL, hits, &found, NULL));
    REFUSED(wcoh_resonance_find(store, NULL, NULL, NULL, hits, &found, NULL));
    REFUSED(wcoh_resonance_find(store, NULL, v, NULL, NULL, &found, NULL));
    REFUSED(wcoh_resonance_find(store, NULL, v, NULL, hits, NULL, NULL));
    CHECK(wcoh_resonance_add(store, v, NULL, 1, NULL) == WCOH_OK);
    REFUSED(wcoh_resonance_get(NULL, 0, amplitude, phases, NULL));
    REFUSED(wcoh_resonance_get(store, 0, NULL, phases, NULL));
    REFUSED(wcoh_resonance_get(store, 0, amplitude, NULL, NULL));
    REFUSED(wcoh_resonance_save(NULL, NULL, NULL));
    REFUSED(wcoh_resonance_save(store, NULL, NULL));
    REFUSED(wcoh_resonance_load(NULL, NULL, 0, 0, NULL, NULL, NULL));
    REFUSED(wcoh_resonance_save_file(NULL, "x", NULL));
    REFUSED(wcoh_resonance_load_file(NULL, "x", 0, 0, NULL, NULL, NULL));
    REFUSED(wcoh_map_measure(NULL, v, 2, WCOH_MAP_CAUSAL, NULL, NULL, NULL));
    REFUSED(wcoh_map_measure(&map, NULL, 2, WCOH_MAP_CAUSAL, NULL, NULL, NULL));
    REFUSED(wcoh_matrix_measure(NULL, v, 2, 2, NULL, NULL, NULL));
    REFUSED(wcoh_matrix_measure(&matrix, NULL, 2, 2, NULL, NULL, NULL));
    REFUSED(wcoh_model_wave(NULL, 0, 0, &wave, NULL));
    REFUSED(wcoh_model_inspect(NULL, &token, 1, NULL, NULL, ignore, &calls, NULL));
    REFUSED(wcoh_model_inspect_oscillators(NULL, &token, 1, NULL, NULL, ignore, &calls, NULL));
    CHECK(calls == 0);
    wcoh_circle_destroy(circle);
    wcoh_resonance_destroy(store);
    wcoh_spectral_destroy(s);
}

/* Those that cannot fail give 0, or do nothing. */
static void null_gives_nothing_elsewhere(void)
{
    double x = 1;
    float v = 1;
    uint8_t mask;
    wcoh_complex bin;
    wcoh_dft *dft = dft_of(1);
    CHECK(wcoh_reach(0, 1, NULL, 3, 1) == 0 && wcoh_fundamental(NULL, 3, 3, 0.5) == 0);
    CHECK(wcoh_profile(NULL, 3, 1, 0.5).mean == 0 && wcoh_resultant(NULL, 3, 1, NULL) == 0);
    CHECK(wcoh_circle_count(NULL) == 0 && wcoh_circle_slots(NULL) == 0);
    CHECK(wcoh_circle_remove(NULL, 0) == 0 && wcoh_circle_phases(NULL, 0, &x) == 0);
    CHECK(!wcoh_circle_get_desc(NULL) && !wcoh_spectral_get_desc(NULL));
    CHECK(!wcoh_resonance_get_desc(NULL) && wcoh_resonance_count(NULL) == 0);
    CHECK(wcoh_resonance_bins(NULL) == 0 && wcoh_resonance_bytes(NULL) == 0);
    CHECK(wcoh_dft_length(NULL) == 0 && wcoh_dft_bins(NULL) == 0);
    CHECK(wcoh_packet_resonance(NULL, &x, &x, &x, 1, NULL) == 0);
    CHECK(wcoh_packet_strongest(NULL, 1, 50, &x, &mask) == 0);
    CHECK(wcoh_heads_measure(NULL, 2, 2, NULL).rows == 0 && wcoh_collapse_of(NULL, 3).layer == -1);
    wcoh_sweep(0, 1, NULL, 3);
    wcoh_harmonic_vector(0, NULL, 3);
    wcoh_packet_sign(NULL, 1, &x, &x);
    wcoh_packet_dft(NULL, &v, &x, &x);
    wcoh_dft_forward(NULL, &x, &bin);
    wcoh_dft_forward(dft, NULL, &bin);
    wcoh_dft_inverse(dft, NULL, &x);
    CHECK(wcoh_conjunction(NULL, 3) == 1 && x == 1);
    wcoh_dft_destroy(dft);
}

int main(void)
{
    RUN(published_experiments_agree_to_the_printed_digit);
    RUN(encodings_lie_in_one_turn);
    RUN(phases_fold_by_the_true_turn);
    RUN(thresholds_have_their_closed_forms);
    RUN(harmonic_vectors_have_the_dirichlet_kernel);
    RUN(resultant_finds_a_common_offset);
    RUN(grids_refuse_what_overflows);
    RUN(random_mutations_keep_index_and_scan_equal);
    RUN(edges_of_buckets_lose_nothing);
    RUN(large_phases_are_found_as_a_full_scan_finds_them);
    RUN(rounded_cosines_at_the_edge_are_found);
    RUN(high_harmonics_cost_no_more_than_all_buckets);
    RUN(circle_refuses_what_it_cannot_hold);
    RUN(circle_survives_every_failing_allocation);
    RUN(circle_lives_in_a_block_until_it_is_full);
    RUN(circle_file_brings_back_every_bit);
    RUN(dft_equals_direct_sums_at_every_length);
    RUN(dft_equals_direct_sums_at_primes);
    RUN(dft_refuses_lengths_out_of_range);
    RUN(band_coherence_equals_direct_sums);
    RUN(nulls_are_calibrated);
    RUN(published_variances_are_what_random_pairs_give);
    RUN(null_finds_planted_structure);
    RUN(ties_with_the_null_count_half);
    RUN(small_true_differences_are_no_ties);
    RUN(spectral_figures_do_not_depend_on_threads);
    RUN(vectors_without_direction_move_no_figure);
    RUN(figures_do_not_depend_on_lengths);
    RUN(empty_bands_have_no_coherence);
    RUN(small_blocks_count);
    RUN(empty_ranges_find_nothing);
    RUN(energy_of_random_vectors_is_its_null);
    RUN(spectral_refuses_bad_input);
    RUN(resonance_score_has_its_closed_forms);
    RUN(sign_packets_resonate_as_half_of_one_plus_cosine);
    RUN(resonance_over_all_bins_is_the_cosine);
    RUN(given_phases_score_as_defined);
    RUN(band_limited_resonance_is_cosine_after_the_inverse);
    RUN(packets_come_back);
    RUN(search_is_the_same_for_threads_and_instruction_sets);
    RUN(cosines_do_not_depend_on_scale);
    RUN(faint_parts_have_their_cosine);
    RUN(masked_parts_have_their_cosine);
    RUN(numbers_that_are_none_choose_no_bin);
    RUN(equal_amplitudes_go_together);
    RUN(equal_scores_come_by_index);
    RUN(store_file_brings_back_all_or_a_part);
    RUN(store_refuses_bad_input_and_survives_no_memory);
    RUN(uniform_rows_have_the_known_means);
    RUN(one_hot_two_point_and_random_rows);
    RUN(maps_of_encoders_are_measured_whole);
    RUN(heads_in_step_and_opposed);
    RUN(collapse_names_drop_and_runner_up);
    RUN(inspected_maps_are_the_models_own);
    RUN(oscillators_are_inspected);
    RUN(waves_of_a_new_model_are_as_documented);
    RUN(singular_values_of_known_matrices);
    RUN(matrix_figures_have_their_closed_forms);
    RUN(singular_values_survive_extreme_scales);
    RUN(short_lived_blocks_come_and_go);
    RUN(npy_types_orders_and_shapes);
    RUN(npy_native_and_unsigned_types_are_read);
    RUN(npy_headers_of_any_length_are_read);
    RUN(npy_fortran_order_reads_as_c);
    RUN(npy_fortran_parts_equal_the_whole);
    RUN(npy_of_other_types_is_described_and_not_read);
    RUN(npy_errors_name_what_is_wrong);
    RUN(damaged_files_give_errors_and_no_crash);
    RUN(files_of_another_kind_are_a_mismatch);
    RUN(files_by_path_come_back_or_say_why);
    RUN(null_is_refused_by_every_function_that_can_fail);
    RUN(null_gives_nothing_elsewhere);
    return test_end();
}

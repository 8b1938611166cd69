/* The figures of examples/compare.c (examples/statistics.h), against numbers from books. */
#include "../examples/statistics.h"
#include "test.h"

/* Student's own example (Biometrika 6, 1908): hours of sleep that ten patients gained by two drugs. */
static const double first_drug[10] = {0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0};
static const double second_drug[10] = {1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4};

static void mean_and_deviation_are_those_of_a_sample(void)
{
    static const double values[4] = {2, 4, 4, 6}; /* squares of differences: 4 + 0 + 0 + 4 */
    CHECK_NEAR(stat_mean(values, 4), 4, 0);
    CHECK_NEAR(stat_deviation(values, 4), sqrt(8.0 / 3), 1e-15);
    CHECK_NEAR(stat_mean(first_drug, 10), 0.75, 1e-15);
    CHECK_NEAR(stat_deviation(first_drug, 10), 1.789010, 1e-6); /* six digits are printed */
}

static void too_few_values_have_no_figure(void)
{
    double one = 3;
    CHECK(!stat_is_finite(stat_mean(&one, 0)));
    CHECK_NEAR(stat_mean(&one, 1), 3, 0);
    CHECK(!stat_is_finite(stat_deviation(&one, 1)));
}

/* Tables of Student's t, two-sided, print three digits behind the point. */
static void limits_of_t_are_those_of_the_tables(void)
{
    static const struct {
        int freedom;
        double at_90, at_95, at_99;
    } table[] = {{1, 6.314, 12.706, 63.657}, {2, 2.920, 4.303, 9.925},  {3, 2.353, 3.182, 5.841},
                 {4, 2.132, 2.776, 4.604},   {5, 2.015, 2.571, 4.032},  {9, 1.833, 2.262, 3.250},
                 {10, 1.812, 2.228, 3.169},  {30, 1.697, 2.042, 2.750}, {120, 1.658, 1.980, 2.617}};
    size_t i;
    for (i = 0; i < sizeof table / sizeof table[0]; i++) {
        CHECK_NEAR(stat_t_limit(0.90, table[i].freedom), table[i].at_90, 0.0005001);
        CHECK_NEAR(stat_t_limit(0.95, table[i].freedom), table[i].at_95, 0.0005001);
        CHECK_NEAR(stat_t_limit(0.99, table[i].freedom), table[i].at_99, 0.0005001);
    }
}

/* Without degrees of freedom to speak of it is the normal distribution: erf(t / sqrt 2). */
static void with_many_degrees_of_freedom_t_is_normal(void)
{
    CHECK_NEAR(stat_t_within(1, 1000000), erf(1 / sqrt(2.0)), 1e-6); /* it goes with 1 / freedom */
    CHECK_NEAR(stat_t_limit(0.95, 1000000), 1.959964, 3e-6);
}

static void one_and_two_degrees_of_freedom_have_closed_forms(void)
{
    double t;
    for (t = 0; t < 40; t += 0.7) {
        CHECK_NEAR(stat_t_within(t, 1), 2 / acos(-1.0) * atan(t), 1e-14);
        CHECK_NEAR(stat_t_within(t, 2), t / sqrt(2 + t * t), 1e-14);
    }
}

static void the_interval_of_students_sleepers_is_his(void)
{
    stat_difference d = stat_paired(first_drug, second_drug, 10, 0.95);
    CHECK(d.count == 10);
    CHECK_NEAR(d.mean, -1.58, 1e-14);
    CHECK_NEAR(d.mean - d.reach, -2.4598858, 1e-7); /* seven digits are printed in the textbooks */
    CHECK_NEAR(d.mean + d.reach, -0.7001142, 1e-7);
}

static void what_both_share_does_not_widen_the_interval(void)
{
    double a[5], b[5];
    int i;
    for (i = 0; i < 5; i++) a[i] = 1000 * i, b[i] = 1000 * i + 0.25;
    CHECK_NEAR(stat_paired(a, b, 5, 0.95).mean, -0.25, 0);
    CHECK_NEAR(stat_paired(a, b, 5, 0.95).reach, 0, 0);
}

static void pairs_that_are_not_finite_are_left_out_and_counted(void)
{
    double a[6] = {1, NAN, 3, 5, HUGE_VAL, 2}, b[6] = {0, 1, 1, 2, 1, NAN};
    stat_difference d = stat_paired(a, b, 6, 0.95); /* 1, 2, 3 are left: sd 1 */
    CHECK(d.count == 3);
    CHECK_NEAR(d.mean, 2, 0);
    CHECK_NEAR(d.reach, stat_t_limit(0.95, 2) / sqrt(3.0), 1e-14);
    a[0] = a[2] = NAN;
    d = stat_paired(a, b, 6, 0.95);
    CHECK(d.count == 1);
    CHECK_NEAR(d.mean, 3, 0);
    CHECK(!stat_is_finite(d.reach));
    a[3] = NAN;
    CHECK(stat_paired(a, b, 6, 0.95).count == 0);
    CHECK(!stat_is_finite(stat_paired(a, b, 6, 0.95).mean));
}

/* Blocks of one size: the interval of their means. */
static void equal_blocks_are_pairs(void)
{
    static const double sixes[10] = {6, 6, 6, 6, 6, 6, 6, 6, 6, 6};
    double a[10], b[10];
    stat_sums x, y;
    stat_difference d, pairs = stat_paired(first_drug, second_drug, 10, 0.95);
    int i;
    for (i = 0; i < 10; i++) a[i] = 6 * first_drug[i], b[i] = 6 * second_drug[i];
    x.sums = a;
    y.sums = b;
    x.counts = y.counts = sixes;
    d = stat_paired_blocks(x, y, 10, 0.95);
    CHECK(d.count == 10);
    CHECK_NEAR(d.mean, pairs.mean, 1e-14);
    CHECK_NEAR(d.reach, pairs.reach, 1e-14);
    d = stat_paired_blocks(x, x, 10, 0.95);
    CHECK_NEAR(d.mean, 0, 0);
    CHECK_NEAR(d.reach, 0, 0);
}

/* The mean is that of all values, whatever their blocks' sizes; a block that one of them lacks or that is
   not finite counts in neither. By hand: means 10/5 and 9/6, parts (4 - 2 x 2) / 5 - (3 - 1.5 x 3) / 6
   = 0.25 and (6 - 2 x 3) / 5 - (6 - 1.5 x 3) / 6 = -0.25. */
static void blocks_of_any_size_have_the_mean_of_all(void)
{
    static const double a[4] = {4, 6, 100, NAN}, na[4] = {2, 3, 0, 2};
    static const double b[4] = {3, 6, 100, 5}, nb[4] = {3, 3, 4, 2};
    stat_sums x, y;
    stat_difference d;
    x.sums = a;
    x.counts = na;
    y.sums = b;
    y.counts = nb;
    d = stat_paired_blocks(x, y, 4, 0.95);
    CHECK(d.count == 2);
    CHECK_NEAR(d.mean, 0.5, 1e-15);
    CHECK_NEAR(d.reach, stat_t_limit(0.95, 1) * 0.5, 1e-9);
    d = stat_paired_blocks(x, y, 1, 0.95);
    CHECK(d.count == 1);
    CHECK_NEAR(d.mean, 1, 0);
    CHECK(!stat_is_finite(d.reach));
    CHECK(!stat_is_finite(stat_paired_blocks(x, y, 0, 0.95).mean));
}

int main(void)
{
    RUN(mean_and_deviation_are_those_of_a_sample);
    RUN(too_few_values_have_no_figure);
    RUN(limits_of_t_are_those_of_the_tables);
    RUN(with_many_degrees_of_freedom_t_is_normal);
    RUN(one_and_two_degrees_of_freedom_have_closed_forms);
    RUN(the_interval_of_students_sleepers_is_his);
    RUN(what_both_share_does_not_widen_the_interval);
    RUN(pairs_that_are_not_finite_are_left_out_and_counted);
    RUN(equal_blocks_are_pairs);
    RUN(blocks_of_any_size_have_the_mean_of_all);
    return test_end();
}

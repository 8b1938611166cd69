/* What a comparison over seeds needs: mean, deviation, and the interval of a mean difference. It is
   no part of the library and needs nothing of it.

   Values that are not finite never enter silently: a figure of numbers among which one is not finite
   is not finite, and stat_paired counts the pairs that it leaves out.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef WAVECOH_EXAMPLES_STATISTICS_H
#define WAVECOH_EXAMPLES_STATISTICS_H

#include <math.h>

#if defined(__GNUC__) || defined(__clang__)
#define STAT_USED __attribute__((__unused__))
#else
#define STAT_USED
#endif

STAT_USED static int stat_is_finite(double x) { return x - x == 0; }

/* NaN where count is 0. */
STAT_USED static double stat_mean(const double *values, int count)
{
    double sum = 0;
    int i;
    for (i = 0; i < count; i++) sum += values[i];
    return count > 0 ? sum / count : NAN;
}

/* Standard deviation of the population that the values are drawn from (n - 1); NaN below 2 values. */
STAT_USED static double stat_deviation(const double *values, int count)
{
    double mean = stat_mean(values, count), sum = 0;
    int i;
    for (i = 0; i < count; i++) sum += (values[i] - mean) * (values[i] - mean);
    return count > 1 ? sqrt(sum / (count - 1)) : NAN;
}

/* P(|T| <= t) of Student's distribution, t >= 0, with `freedom` >= 1 degrees of freedom: the finite
   sums for whole numbers of them (Abramowitz and Stegun 26.7.3 and 26.7.4). */
STAT_USED static double stat_t_within(double t, int freedom)
{
    double angle = atan(t / sqrt((double)freedom)), cosine = cos(angle), sum = 0;
    int k = freedom % 2;
    double term = k ? cosine : 1;
    for (; k <= freedom - 2; k += 2) {
        sum += term;
        term *= cosine * cosine * (k + 1) / (k + 2);
    }
    return freedom % 2 ? (angle + sin(angle) * sum) / acos(0.0) : sin(angle) * sum;
}

/* The t with P(|T| <= t) = share, 0 < share < 1: 2.776 for 0.95 and 4 degrees of freedom. */
STAT_USED static double stat_t_limit(double share, int freedom)
{
    double low = 0, high = 1, middle;
    int i;
    while (high < 1e12 && stat_t_within(high, freedom) < share) high *= 2;
    for (i = 0; i < 100; i++) {
        middle = low + (high - low) / 2;
        *(stat_t_within(middle, freedom) < share ? &low : &high) = middle;
    }
    return low + (high - low) / 2;
}

/* The mean of the differences a[i] - b[i], and the half width of the interval that holds the true one
   with probability `share`, if the differences are drawn from a normal distribution. */
typedef struct stat_difference {
    int count;    /* pairs of finite values; the others are left out */
    double mean;  /* NaN without a pair */
    double reach; /* the interval is mean - reach .. mean + reach; NaN below two pairs */
} stat_difference;

STAT_USED static stat_difference stat_paired(const double *a, const double *b, int count,
                                             double share)
{
    stat_difference d;
    double sum = 0;
    int i;
    d.count = 0;
    d.reach = NAN;
    for (i = 0; i < count; i++) d.count += stat_is_finite(a[i] - b[i]);
    for (i = 0; i < count; i++)
        if (stat_is_finite(a[i] - b[i])) sum += a[i] - b[i];
    d.mean = d.count ? sum / d.count : NAN;
    if (d.count < 2) return d;
    for (i = 0, sum = 0; i < count; i++)
        if (stat_is_finite(a[i] - b[i])) sum += (a[i] - b[i] - d.mean) * (a[i] - b[i] - d.mean);
    d.reach = stat_t_limit(share, d.count - 1) * sqrt(sum / (d.count - 1) / d.count);
    return d;
}

/* Sums and how many values each is of, in blocks that a and b share, [blocks]. */
typedef struct stat_sums {
    const double *sums, *counts;
} stat_sums;

/* 1 if both have values in the block, and finite ones. */
STAT_USED static int stat_in_both(stat_sums a, stat_sums b, int i)
{
    return a.counts[i] > 0 && b.counts[i] > 0 && stat_is_finite(a.sums[i] - b.sums[i]);
}

/* The mean of all values of a less that of b, and Student's interval over blocks, as if these were drawn
   one by one; count: of the blocks that both have. Means over blocks of different sizes are ratios:
   what a block adds to their difference is taken to first order (Cochran, Sampling Techniques, on
   ratio estimators). Of blocks of one size it is stat_paired of their means. */
STAT_USED static stat_difference stat_paired_blocks(stat_sums a, stat_sums b, int blocks,
                                                    double share)
{
    double sum_a = 0, sum_b = 0, count_a = 0, count_b = 0, squares = 0;
    stat_difference d;
    int i;
    d.count = 0;
    d.mean = d.reach = NAN;
    for (i = 0; i < blocks; i++) {
        if (!stat_in_both(a, b, i)) continue;
        sum_a += a.sums[i];
        sum_b += b.sums[i];
        count_a += a.counts[i];
        count_b += b.counts[i];
        d.count++;
    }
    if (d.count) d.mean = sum_a / count_a - sum_b / count_b;
    if (d.count < 2) return d;
    for (i = 0; i < blocks; i++) {
        double part_a = (a.sums[i] - sum_a / count_a * a.counts[i]) / count_a,
               part_b = (b.sums[i] - sum_b / count_b * b.counts[i]) / count_b;
        if (stat_in_both(a, b, i)) squares += (part_a - part_b) * (part_a - part_b);
    }
    d.reach = stat_t_limit(share, d.count - 1) * sqrt(squares / (d.count - 1) * d.count);
    return d;
}

#endif

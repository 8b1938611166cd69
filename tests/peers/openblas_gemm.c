/* OpenBLAS sgemm on one thread, square sizes: GFLOP/s, best and median of many.
   cc -O2 -o openblas_gemm tests/peers/openblas_gemm.c -lopenblas -lm
   OPENBLAS_NUM_THREADS=1 OPENBLAS_CORETYPE=SkylakeX ./openblas_gemm [N ...]
   Needs libopenblas-dev. Prints `peer openblas sgemm 128 median 95.1 best 97.0 gflops`. */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* The Fortran interface: there whatever the name of the package's header. */
extern void sgemm_(const char *ta, const char *tb, const int *m, const int *n, const int *k,
                   const float *alpha, const float *a, const int *lda, const float *b, const int *ldb,
                   const float *beta, float *c, const int *ldc);

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Row-major C [n,n] = A B^T, the layout of a linear layer, is column-major C^T = B^T' A'. */
static void multiply(int n, const float *a, const float *b, float *c)
{
    const float one = 1, zero = 0;
    sgemm_("T", "N", &n, &n, &n, &one, b, &n, a, &n, &zero, c, &n);
}

static void measure(int n)
{
    enum { repeats = 41 };
    size_t count = (size_t)n * (size_t)n, i;
    float *a = (float *)malloc(3 * count * sizeof *a), *b = a + count, *c = b + count;
    double times[repeats], flops = 2.0 * n * n * n;
    int r, j, inner = (int)(2e7 / flops) + 1;
    if (!a) return;
    for (i = 0; i < 3 * count; i++) a[i] = (float)(i % 17) * 0.01f - 0.08f;
    for (j = 0; j < inner; j++) multiply(n, a, b, c);
    for (r = 0; r < repeats; r++) {
        double start = seconds();
        for (j = 0; j < inner; j++) multiply(n, a, b, c);
        times[r] = (seconds() - start) / inner;
    }
    qsort(times, repeats, sizeof *times, ascending);
    printf("peer openblas sgemm %d median %.1f best %.1f gflops\n", n, flops / times[repeats / 2] * 1e-9,
           flops / times[0] * 1e-9);
    free(a);
}

int main(int count, char **arguments)
{
    static const int standard[] = {64, 128, 256, 512};
    int i;
    for (i = 1; i < count; i++) measure(atoi(arguments[i]) > 0 ? atoi(arguments[i]) : 64);
    for (i = 0; count == 1 && i < 4; i++) measure(standard[i]);
    return 0;
}

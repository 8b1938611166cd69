/* The smallest harness that reads well. A test program is a list of behaviours:

       static void sten_is_symmetric(void) { CHECK(...); CHECK_NEAR(a, b, 1e-6); }
       int main(void) { RUN(sten_is_symmetric); return test_end(); }

   A behaviour passes when none of its checks fails; the first failures are printed with file and
   line. test_end prints `N passed, N failed` and returns the exit status. Checks that stand outside
   RUN count one by one. */
#ifndef WAVECOH_TEST_H
#define WAVECOH_TEST_H

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define TEST_UNUSED __attribute__((unused))
#define TEST_PRINTF(at, first) __attribute__((__format__(__printf__, at, first)))
#else
#define TEST_UNUSED
#define TEST_PRINTF(at, first)
#endif

static int test_passed, test_failed;
static int test_inside; /* within RUN */
static int test_bad;    /* failed checks of the running behaviour */
static const char *test_name = "";

TEST_UNUSED static int test_check(int ok, const char *file, int line, const char *format, ...)
    TEST_PRINTF(4, 5);

TEST_UNUSED static int test_check(int ok, const char *file, int line, const char *format, ...)
{
    if (!test_inside) ok ? test_passed++ : test_failed++;
    if (ok) return 1;
    if (test_bad++ < 12) {
        va_list arguments;
        va_start(arguments, format);
        fprintf(stderr, "%s:%d: %s%s", file, line, test_name, *test_name ? ": " : "");
        vfprintf(stderr, format, arguments);
        fputc('\n', stderr);
        va_end(arguments);
    }
    return 0;
}

TEST_UNUSED static void test_run(void (*behaviour)(void), const char *name)
{
    test_name = name;
    test_inside = 1;
    test_bad = 0;
    behaviour();
    test_inside = 0;
    test_bad ? test_failed++ : test_passed++;
    if (test_bad) fprintf(stderr, "FAILED %s (%d checks)\n", name, test_bad);
    test_name = "";
    test_bad = 0;
}

TEST_UNUSED static int test_near(double a, double b, double tolerance)
{
    double difference = a > b ? a - b : b - a;
    return difference <= tolerance; /* false for NaN */
}

TEST_UNUSED static int test_end(void)
{
    printf("%d passed, %d failed\n", test_passed, test_failed);
    return test_failed != 0;
}

/* Each returns 1 if it holds, so that a test can stop where going on makes no sense. */
#define CHECK(condition) test_check((condition) ? 1 : 0, __FILE__, __LINE__, "%s", #condition)
#define CHECK_NEAR(a, b, tolerance)                                                                \
    test_check(test_near((double)(a), (double)(b), (double)(tolerance)), __FILE__, __LINE__,       \
               "%s = %.9g, %s = %.9g, tolerance %.3g", #a, (double)(a), #b, (double)(b),           \
               (double)(tolerance))
#define CHECK_TEXT(text, part)                                                                     \
    test_check(strstr((text), (part)) != NULL, __FILE__, __LINE__, "\"%s\" does not hold \"%s\"",  \
               (text), (part))
/* CHECK_SAY(ok, "tensor %s: error %g", name, error) */
#define CHECK_SAY(ok, ...) test_check((ok) ? 1 : 0, __FILE__, __LINE__, __VA_ARGS__)
#define RUN(behaviour) test_run(behaviour, #behaviour)

#endif

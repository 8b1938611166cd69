/* The row kernels' text in float64: every backward against central differences. */
#define WAVECOH_TEST_DOUBLE
#include "test_kernels.c"

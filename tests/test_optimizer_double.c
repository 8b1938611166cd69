/* The same in float64: what rounding hides in float does not pass here. */
#define WAVECOH_TEST_DOUBLE
#include "test_optimizer.c"

/* The products' text in float64, which the gradient checks rely on. */
#define WAVECOH_TEST_DOUBLE
#include "test_gemm.c"

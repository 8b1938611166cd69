/* The attention kernels' text in float64: every gradient against central differences. */
#define WAVECOH_TEST_DOUBLE
#include "test_attention.c"

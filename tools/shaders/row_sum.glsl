/* The sum of one value of each of 64 threads, in every thread; `sums` [64] is shared. */
float row_sum(float v)
{
    uint tid = gl_LocalInvocationID.x, step;
    float total;
    sums[tid] = v;
    barrier();
    for (step = 32u; step > 0u; step /= 2u) {
        if (tid < step) sums[tid] += sums[tid + step];
        barrier();
    }
    total = sums[0];
    barrier();
    return total;
}

#version 450
/* variants: coherence_carry_double=WIDE_DOUBLE coherence_carry_pairs= */
#include "far.glsl"
/* A chunk's own sums become what stands before it (of keys) or behind it (of queries). A thread an
   element; grid: elements, heads, sequences. */
layout(set = 0, binding = 4, std430) buffer States { wide states[]; };

void main()
{
    uint chunks = (p.seq + p.chunk - 1u) / p.chunk, i = gl_WorkGroupID.x * 64u + tid, n, c;
    wide sum = wide_of(0.0), own;
    if (i >= (2u * order_of(head) + 1u) * (p.wide_ + 1u)) return;
    for (n = 0u; n < chunks; n++) {
        c = QUERIES != 0u ? chunks - 1u - n : n;
        own = states[state_of(c) + i];
        states[state_of(c) + i] = sum;
        sum = wide_add(own, wide_scale(sum, keep(c)));
    }
}

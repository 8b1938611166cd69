#version 450
/* variants: coherence_gather_double=WIDE_DOUBLE coherence_gather_pairs= */
#include "far.glsl"
#include "far_features.glsl"
#include "far_given.glsl"
/* states of every chunk = sum over its own rows of F x. Grid: chunks, heads * column groups, sequences. */
layout(set = 0, binding = 7, std430) writeonly buffer States { wide states[]; };

void main()
{
    uint groups = (p.wide_ + COLUMNS) / COLUMNS, c0 = gl_WorkGroupID.y % groups * COLUMNS, i, k, t0;
    wide sum[20]; /* of elements tid, tid + 64 .. of [features, COLUMNS] */
    head = gl_WorkGroupID.y / groups;
    uint order = order_of(head), count = (2u * order + 1u) * COLUMNS, at;
    [[unroll]] for (i = 0u; i < 20u; i++) sum[i] = wide_of(0.0);
    for (t0 = chunk * p.chunk; t0 < min((chunk + 1u) * p.chunk, p.seq); t0 += ROWS) {
        make_scales(t0);
        make_features(t0, order);
        barrier();
        make_given(t0, c0);
        barrier();
        for (k = 0u; k < ROWS; k++) [[unroll]] for (i = 0u; i < 20u; i++)
            {
                uint o = tid + 64u * i;
                if (64u * i < FEATURES * COLUMNS && o < count)
                    sum[i] = wide_add(sum[i], wide_scale(features[k * 74u + o / COLUMNS],
                                                         x[k * 17u + o % COLUMNS]));
            }
        barrier();
    }
    at = state_of(chunk) + c0;
    [[unroll]] for (i = 0u; i < 20u; i++)
    {
        uint o = tid + 64u * i;
        if (64u * i < FEATURES * COLUMNS && o < count && c0 + o % COLUMNS <= p.wide_)
            states[at + o / COLUMNS * (p.wide_ + 1u) + o % COLUMNS] = sum[i];
    }
}

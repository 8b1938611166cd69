#version 450
/* part: training */
#define DOT
#define FRAME 7
#include "attend_back.glsl"
/* dq = sum_k dscore k / sqrt(wide_score). Grid: query tiles, heads * column chunks, sequences. */
layout(set = 0, binding = 6, std430) writeonly buffer Dqueries { float dqueries[]; };

void main()
{
    uint chunks = (p.wide_key + 8u * CW - 1u) / (8u * CW), q0 = gl_WorkGroupID.x * 32u, k0, i, j, k;
    uint c0 = gl_WorkGroupID.y % chunks * 8u * CW;
    float sum[32]; /* 4 CW of them */
    head = gl_WorkGroupID.y / chunks;
    first = gl_WorkGroupID.z * p.seq;
    [[unroll]] for (i = 0u; i < 4u * CW; i++) sum[i] = 0.0;
    for (k0 = 0u; k0 <= q0; k0 += 32u) {
        float block[16], d[16];
        pair_scores(q0, k0, block);
        pair_values(q0, k0, d);
        pair_gradient(q0, k0, block, d);
        barrier();
        [[unroll]] for (i = 0u; i < 16u; i++) scores[(4u * ty + i / 4u) * 33u + 4u * tx + i % 4u] =
            d[i];
        LOAD_TILE_OF(p.wide_key, right, 8u * CW + 1u, keys, k0, p.key_stride,
                     p.key_column + head * p.wide_key, c0, 8u * CW)
        barrier();
        for (k = 0u; k < 32u; k++) [[unroll]] for (i = 0u; i < 4u; i++)
            {
                float w = scores[(4u * ty + i) * 33u + k];
                [[unroll]] for (j = 0u; j < CW; j++) sum[i * CW + j] =
                    fma(w, right[k * (8u * CW + 1u) + tx + 8u * j], sum[i * CW + j]);
            }
        barrier();
    }
    [[unroll]] for (i = 0u; i < 4u; i++)
    {
        uint t = q0 + 4u * ty + i;
        if (t < p.seq)
            for (j = 0u; j < CW; j++) {
                uint e = c0 + tx + 8u * j;
                if (e < p.wide_key)
                    dqueries[(first + t) * p.stride + p.column + head * p.wide_key + e] =
                        sum[i * CW + j] / sqrt(float(p.wide_score));
            }
    }
}

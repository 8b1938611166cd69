#version 450
/* part: training */
#define DOT
#define FRAME 8
#include "attend_back.glsl"
/* dv_k = sum_q weight dO_q, dk = sum_q dscore q / sqrt(wide_score). Grid: key tiles, heads * column
   chunks, sequences. */
layout(set = 0, binding = 6, std430) writeonly buffer Dvalues { float dvalues[]; };
layout(set = 0, binding = 7, std430) writeonly buffer Dkeys { float dkeys[]; };
shared float other[32 * 33];

void main()
{
    uint columns = max(p.wide, p.wide_key);
    uint chunks = (columns + 8u * CW - 1u) / (8u * CW), k0 = gl_WorkGroupID.x * 32u, q0, i, j;
    uint c0 = gl_WorkGroupID.y % chunks * 8u * CW;
    float sum[32], keys_sum[32]; /* 4 CW of them */
    head = gl_WorkGroupID.y / chunks;
    first = gl_WorkGroupID.z * p.seq;
    [[unroll]] for (i = 0u; i < 4u * CW; i++) sum[i] = keys_sum[i] = 0.0;
    for (q0 = k0; q0 < near_end(k0); q0 += 32u) {
        float block[16], d[16];
        pair_scores(q0, k0, block);
        pair_values(q0, k0, d);
        pair_gradient(q0, k0, block, d);
        [[unroll]] for (i = 0u; i < 16u; i++)
        {
            uint at = (4u * ty + i / 4u) * 33u + 4u * tx + i % 4u;
            scores[at] = block[i];
            other[at] = d[i];
        }
        barrier();
        LOAD_TILE(right, 8u * CW + 1u, dout, q0, p.heads * p.wide, head * p.wide, c0, 8u * CW)
        barrier();
        MULTIPLY_TILE(scores, right, sum)
        barrier();
        LOAD_TILE_OF(p.wide_key, right, 8u * CW + 1u, queries, q0, p.key_stride, head * p.wide_key,
                     c0, 8u * CW)
        barrier();
        MULTIPLY_TILE(other, right, keys_sum)
        barrier();
    }
    [[unroll]] for (i = 0u; i < 4u; i++)
    {
        uint t = k0 + 4u * ty + i;
        if (t < p.seq)
            for (j = 0u; j < CW; j++) {
                uint e = c0 + tx + 8u * j;
                if (e < p.wide)
                    dvalues[(first + t) * p.value_stride + p.value_column + head * p.wide + e] =
                        sum[i * CW + j];
                if (e < p.wide_key)
                    dkeys[(first + t) * p.stride + p.column + head * p.wide_key + e] =
                        keys_sum[i * CW + j] / sqrt(float(p.wide_score));
            }
    }
}

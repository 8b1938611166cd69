#version 450
/* part: training */
/* variants: coherence_back_key=COHERENCE dot_back_key=DOT */
#define DEPTHS 9
#ifdef COHERENCE
#define FRAME 11
#else
#define FRAME 8
#endif
#include "attend_back.glsl"
/* dv_k = sum_q weight dO_q, and dpsi_k = -sum_q t (COHERENCE) or dk = sum_q dscore q / sqrt(E)
   (DOT). Grid: key tiles, heads * column chunks, sequences; with chunks, the phase is of the first.
   */
#ifdef COHERENCE
#include "coherence_keys.glsl"
#else
layout(set = 0, binding = 6, std430) writeonly buffer Dvalues { float dvalues[]; };
layout(set = 0, binding = 7, std430) writeonly buffer Dkeys { float dkeys[]; };
shared float other[32 * 33];
#endif

void main()
{
#ifdef DOT
    uint columns = max(p.wide, p.wide_key);
#else
    uint columns = p.wide;
#endif
    uint chunks = (columns + 8u * CW - 1u) / (8u * CW), k0 = gl_WorkGroupID.x * 32u, q0, i, j;
    uint c0 = gl_WorkGroupID.y % chunks * 8u * CW;
    float sum[32], keys_sum[32]; /* 4 CW of them */
#ifdef COHERENCE
    float phase[4], slope[4], kappa;
#endif
    head = gl_WorkGroupID.y / chunks;
    first = gl_WorkGroupID.z * p.seq;
    [[unroll]] for (i = 0u; i < 4u * CW; i++) sum[i] = keys_sum[i] = 0.0;
    if (tid < 32u) row_a[tid] = row_b[tid] = 0.0;
#ifdef COHERENCE
    kappa = LISTENS > 2u ? 1.0 : coefficients[head].x; /* sines have the overtones' already */
    [[unroll]] for (i = 0u; i < 4u; i++) phase[i] = slope[i] = 0.0;
#endif
#ifdef COHERENCE
    if (p.near != 0u) take_far(k0, c0, sum);
#endif
    for (q0 = k0; q0 < near_end(k0); q0 += 32u) {
        float block[16], d[16];
#ifdef COHERENCE
        float cosine[16], sine[16];
        load_phasors(q0, k0);
        pair_values(q0, k0, d);
        pair_scores(q0, k0, block, cosine, sine);
        pair_gradient(q0, k0, block, d);
        [[unroll]] for (i = 0u; i < 16u; i++)
        {
            scores[(4u * ty + i / 4u) * 33u + 4u * tx + i % 4u] = block[i];
            phase[i % 4u] += kappa * sine[i] * d[i];
            slope[i % 4u] += d[i];
        }
        if (p.wide > EDGE) { /* else dO stands in left */
            barrier();
            LOAD_TILE(right, 8u * CW + 1u, dout, q0, p.heads * p.wide, head * p.wide, c0, 8u * CW)
        }
        barrier();
        if (p.wide > EDGE) MULTIPLY_TILE(scores, right, sum)
        else MULTIPLY_TILE(scores, left, sum)
#else
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
#endif
        barrier();
    }
#ifdef COHERENCE
    add_phases(phase, slope);
    write_values(k0, c0, sum);
    if (c0 == 0u) write_phases(k0);
#else
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
                        keys_sum[i * CW + j] / sqrt(float(p.wide));
            }
    }
#endif
}

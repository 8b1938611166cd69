#version 450
/* part: training */
#define COHERENCE
#define DEPTHS 9
#define FRAME 11
#include "attend_back.glsl"
/* dv_k = sum_q weight dO_q, and dpsi_k = -sum_q t. Grid: key tiles, heads * column chunks, sequences; with
   chunks, the phase is of the first. */
#include "coherence_keys.glsl"

void main()
{
    uint chunks = (p.wide + 8u * CW - 1u) / (8u * CW), k0 = gl_WorkGroupID.x * 32u, q0, i;
    uint c0 = gl_WorkGroupID.y % chunks * 8u * CW;
    float sum[32]; /* 4 CW of them */
    float phase[4], slope[4], kappa;
    head = gl_WorkGroupID.y / chunks;
    first = gl_WorkGroupID.z * p.seq;
    [[unroll]] for (i = 0u; i < 4u * CW; i++) sum[i] = 0.0;
    if (tid < 32u) row_a[tid] = row_b[tid] = 0.0;
    kappa = LISTENS > 2u ? 1.0 : coefficients[head].x; /* sines have the overtones' already */
    [[unroll]] for (i = 0u; i < 4u; i++) phase[i] = slope[i] = 0.0;
    if (p.within != 0u) take_far(k0, c0, sum);
    for (q0 = k0; q0 < near_end(k0); q0 += 32u) {
        float block[16], d[16];
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
        barrier();
    }
    add_phases(phase, slope);
    write_values(k0, c0, sum);
    if (c0 == 0u) write_phases(k0);
}

#version 450
/* variants: coherence_forward=COHERENCE dot_forward=DOT */
#define DEPTHS 5
#ifdef COHERENCE
#define FRAME 6
#define REST 7
#else
#define FRAME 5
#endif
#include "attend.glsl"
/* out [N, H E]: sum_k weight v_k / sum_k weight; logsum [N,H]: ln of the sum of the weights. Grid:
   query tiles, heads * column chunks, sequences. */
#ifdef COHERENCE
layout(set = 0, binding = 3, std430) buffer Out { float out_[]; };
layout(set = 0, binding = REST, std430) readonly buffer Rest { float rest[]; }; /* far sums of weights */
#else
layout(set = 0, binding = 3, std430) writeonly buffer Out { float out_[]; };
#endif
layout(set = 0, binding = 4, std430) writeonly buffer Logsum { float logsum[]; };

#ifdef COHERENCE
/* Weights of the tile that load_phasors loaded into `scores`, and their sums into total [4]. */
void weigh(uint q0, uint k0, inout float total[4])
{
    float block[16], cosine[16], sine[16];
    pair_scores(q0, k0, block, cosine, sine);
    [[unroll]] for (uint i = 0u; i < 16u; i++)
    {
        float w = seen(q0, k0, i) ? exp_(block[i]) : 0.0;
        total[i / 4u] += w;
        scores[(4u * ty + i / 4u) * 33u + 4u * tx + i % 4u] = w * mask(q0, k0, i);
    }
}

/* row_b += the shares of total [4] that 8 threads have of a query. */
void add_totals(float total[4])
{
    [[unroll]] for (uint i = 0u; i < 4u; i++) scores[(4u * ty + i) * 33u + tx] = total[i];
    barrier();
    if (tid < 32u)
        for (uint i = 0u; i < 8u; i++) row_b[tid] += scores[tid * 33u + i];
    barrier();
}
#else
/* Weights of the tile into `scores`; row_a: running maximum, row_b: running sum, row_c: factor by
   which what was summed before shrinks. */
void weigh(uint q0, uint k0)
{
    float block[16];
    pair_scores(q0, k0, block);
    [[unroll]] for (uint i = 0u; i < 16u; i++) scores[(4u * ty + i / 4u) * 33u + 4u * tx + i % 4u] =
        seen(q0, k0, i) ? block[i] : -1e30;
    barrier();
    if (tid < 32u) {
        float top = row_a[tid];
        for (uint k = 0u; k < 32u; k++) top = max(top, scores[tid * 33u + k]);
        row_c[tid] = exp_(row_a[tid] - top);
        row_a[tid] = top;
    }
    barrier();
    [[unroll]] for (uint i = 0u; i < 16u; i++)
    {
        uint at = (4u * ty + i / 4u) * 33u + 4u * tx + i % 4u;
        scores[at] = seen(q0, k0, i) ? exp_(block[i] - row_a[4u * ty + i / 4u]) : 0.0;
    }
    barrier();
    if (tid < 32u) {
        float s = 0.0;
        for (uint k = 0u; k < 32u; k++) s += scores[tid * 33u + k];
        row_b[tid] = row_b[tid] * row_c[tid] + s;
    }
    if (p.drop != 0u) {
        barrier();
        [[unroll]] for (uint i = 0u; i < 16u; i++) scores[(4u * ty + i / 4u) * 33u + 4u * tx + i % 4u] *=
            mask(q0, k0, i);
    }
}
#endif

#ifdef COHERENCE
/* sum [4][CW] and row_b of the queries from q0: what keys of other chunks gave. */
void take_far(uint q0, uint c0, inout float sum[32])
{
    [[unroll]] for (uint i = 0u; i < 4u; i++) [[unroll]] for (uint j = 0u; j < CW; j++)
        {
            uint t = q0 + 4u * ty + i, e = c0 + tx + 8u * j;
            if (t < p.seq && e < p.wide) sum[i * CW + j] = out_[((first + t) * p.heads + head) * p.wide + e];
        }
    if (tid < 32u && q0 + tid < p.seq) row_b[tid] = rest[(first + q0 + tid) * p.heads + head];
}
#endif

void main()
{
    uint chunks = (p.wide + 8u * CW - 1u) / (8u * CW), q0 = gl_WorkGroupID.x * 32u, k0, i, j, k;
    uint c0 = gl_WorkGroupID.y % chunks * 8u * CW;
    float sum[32]; /* 4 CW of them */
#ifdef COHERENCE
    float total[4] = float[4](0.0, 0.0, 0.0, 0.0);
#endif
    head = gl_WorkGroupID.y / chunks;
    first = gl_WorkGroupID.z * p.seq;
    [[unroll]] for (i = 0u; i < 4u * CW; i++) sum[i] = 0.0;
    if (tid < 32u) {
        row_a[tid] = -1e30;
        row_b[tid] = 0.0;
        row_c[tid] = 1.0;
    }
#ifdef COHERENCE
    if (p.within != 0u) take_far(q0, c0, sum);
#endif
    barrier();
    for (k0 = near_first(q0); k0 <= q0; k0 += 32u) {
#ifdef COHERENCE
        load_phasors(q0, k0);
#else
        weigh(q0, k0);
#endif
        LOAD_TILE(right, 8u * CW + 1u, values, k0, p.value_stride, p.value_column + head * p.wide,
                  c0, 8u * CW)
        barrier();
#ifdef COHERENCE
        weigh(q0, k0, total);
        barrier();
#else
        [[unroll]] for (i = 0u; i < 4u; i++) [[unroll]] for (j = 0u; j < CW; j++) sum[i * CW + j] *=
            row_c[4u * ty + i];
#endif
        for (k = 0u; k < 32u; k++) [[unroll]] for (i = 0u; i < 4u; i++)
            {
                float w = scores[(4u * ty + i) * 33u + k];
                [[unroll]] for (j = 0u; j < CW; j++) sum[i * CW + j] =
                    fma(w, right[k * (8u * CW + 1u) + tx + 8u * j], sum[i * CW + j]);
            }
        barrier();
    }
#ifdef COHERENCE
    add_totals(total);
#endif
    [[unroll]] for (i = 0u; i < 4u; i++)
    {
        uint t = q0 + 4u * ty + i;
        if (t < p.seq) {
            float total = row_b[4u * ty + i];
            for (j = 0u; j < CW; j++) {
                uint e = c0 + tx + 8u * j;
                if (e < p.wide)
                    out_[((first + t) * p.heads + head) * p.wide + e] = sum[i * CW + j] / total;
            }
#ifdef COHERENCE
            if (tx == 0u && c0 == 0u) logsum[(first + t) * p.heads + head] = log_(total);
#else
            if (tx == 0u && c0 == 0u)
                logsum[(first + t) * p.heads + head] = row_a[4u * ty + i] + log_(total);
#endif
        }
    }
}

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
layout(set = 0, binding = 6, std430) buffer Dvalues { float dvalues[]; };
layout(set = 0, binding = 12, std430) readonly buffer Far { vec2 far[]; }; /* slopes of other chunks' pairs */
layout(set = 0, binding = 7, std430) readonly buffer Raw { float raw[]; };
layout(set = 0, binding = 8, std430) buffer Draw { float draw[]; };
layout(set = 0, binding = 10, std430) writeonly buffer Slopes { float slopes[]; };
#else
layout(set = 0, binding = 6, std430) writeonly buffer Dvalues { float dvalues[]; };
layout(set = 0, binding = 7, std430) writeonly buffer Dkeys { float dkeys[]; };
shared float other[32 * 33];
#endif

/* sum[4][CW] += (tile^T rows 4 ty + i) matrix: tile is [query][key], matrix [query][8 CW columns] */
#define MULTIPLY_TILE(tile, matrix, sum)                                                           \
    for (uint q = 0u; q < 32u; q++) [[unroll]] for (i = 0u; i < 4u; i++)                           \
        {                                                                                          \
            float w = tile[q * 33u + 4u * ty + i];                                                 \
            [[unroll]] for (j = 0u; j < CW; j++) sum[i * CW + j] =                                 \
                fma(w, matrix[q * (8u * CW + 1u) + tx + 8u * j], sum[i * CW + j]);                 \
        }

#ifdef COHERENCE
/* row_a, row_b += the shares of phase [4] and slope [4] that 8 threads have of a key. */
void add_phases(float phase[4], float slope[4])
{
    [[unroll]] for (uint i = 0u; i < 4u; i++)
    {
        scores[(4u * tx + i) * 33u + ty] = phase[i];
        scores[(4u * tx + i) * 33u + 8u + ty] = slope[i];
    }
    barrier();
    if (tid < 32u)
        for (uint i = 0u; i < 8u; i++) {
            row_a[tid] += scores[tid * 33u + i];
            row_b[tid] += scores[tid * 33u + 8u + i];
        }
}

/* sum [4][CW], row_a, row_b of the keys from k0: what queries of other chunks gave. */
void take_far(uint k0, uint c0, inout float sum[32])
{
    [[unroll]] for (uint i = 0u; i < 4u; i++) [[unroll]] for (uint j = 0u; j < CW; j++)
        {
            uint t = k0 + 4u * ty + i, e = c0 + tx + 8u * j;
            if (t < p.seq && e < p.wide)
                sum[i * CW + j] =
                    dvalues[(first + t) * p.value_stride + p.value_column + head * p.wide + e];
        }
    if (tid < 32u && k0 + tid < p.seq) {
        vec2 s = far[(first + k0 + tid) * p.heads + head];
        row_a[tid] = s.x;
        row_b[tid] = s.y;
    }
}

void write_phases(uint k0)
{
    if (tid >= 32u || k0 + tid >= p.seq) return;
    uint at = (first + k0 + tid) * p.stride + p.column + 2u * head;
    vec2 z = vec2(raw[at], raw[at + 1u]);
    float r2 = z.x * z.x + z.y * z.y, g = coefficients[head].z * row_a[tid] / r2;
    bool add = (p.flags & ADD) != 0u;
    if (sqrt(r2) < 1e-6) g = 0.0;
    draw[at] = (add ? draw[at] : 0.0) - z.y * g;
    draw[at + 1u] = (add ? draw[at + 1u] : 0.0) + z.x * g;
    if (LISTENS != 0u) slopes[(first + k0 + tid) * p.heads + head] = row_b[tid];
}
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
#endif
    [[unroll]] for (i = 0u; i < 4u; i++)
    {
        uint t = k0 + 4u * ty + i;
        if (t < p.seq)
            for (j = 0u; j < CW; j++) {
                uint e = c0 + tx + 8u * j;
                if (e < p.wide)
                    dvalues[(first + t) * p.value_stride + p.value_column + head * p.wide + e] =
                        sum[i * CW + j];
#ifdef DOT
                if (e < p.wide_key)
                    dkeys[(first + t) * p.stride + p.column + head * p.wide_key + e] =
                        keys_sum[i * CW + j] / sqrt(float(p.wide));
#endif
            }
    }
#ifdef COHERENCE
    if (c0 == 0u) write_phases(k0);
#endif
}

/* Backward of a tile: weight = e^{score - logsum}, dscore = weight (dO_q . v_k - delta_q). */
#include "attend.glsl"
layout(set = 0, binding = 3, std430) readonly buffer Dout { float dout[]; };
layout(set = 0, binding = 4, std430) readonly buffer Logsum { float logsum[]; };
#ifdef ROW_DELTA /* made of O, or what it is made of: by the workgroup, which keeps the tile's in row_c */
layout(set = 0, binding = 5, std430) readonly buffer Delta { float delta[]; };
#define DELTA(at, row) row_c[row]
#elif defined(OWN_DELTA) /* made here, by the workgroup of the rows, which keeps its own in row_c */
layout(set = 0, binding = 5, std430) buffer Delta { float delta[]; };
layout(set = 0, binding = 12, std430) readonly buffer Out { float out_[]; };
#define DELTA(at, row) row_c[row]
#else
layout(set = 0, binding = 5, std430) readonly buffer Delta { float delta[]; };
#define DELTA(at, row) delta[at]
#endif

/* d = dO_q . v_k of the pairs of a tile. Whoever loads into left or right next makes a barrier first. */
void pair_values(uint q0, uint k0, out float d[16])
{
    [[unroll]] for (uint i = 0u; i < 16u; i++) d[i] = 0.0;
    for (uint c0 = 0u; c0 < p.wide; c0 += EDGE) {
        if (c0 > 0u) barrier();
        LOAD_TILE(left, PITCH, dout, q0, p.heads * p.wide, head * p.wide, c0, EDGE)
        LOAD_TILE(right, PITCH, values, k0, p.value_stride, p.value_column + head * p.wide, c0, EDGE)
        barrier();
        multiply_rows(d);
    }
}

/* block holds scores; leaves weights there, those dropped as 0, and dscore in `d` */
void pair_gradient(uint q0, uint k0, inout float block[16], inout float d[16])
{
    [[unroll]] for (uint i = 0u; i < 16u; i++)
    {
        uint at = (first + min(q0 + 4u * ty + i / 4u, p.seq - 1u)) * p.heads + head;
        block[i] = seen(q0, k0, i) ? exp_(block[i] - logsum[at]) : 0.0;
        float m = mask(q0, k0, i);
        d[i] = block[i] * (d[i] * m - DELTA(at, 4u * ty + i / 4u));
        block[i] *= m;
    }
}

/* sum[4][CW] += (tile^T rows 4 ty + i) matrix: tile is [query][key], matrix [query][8 CW columns] */
#define MULTIPLY_TILE(tile, matrix, sum)                                                           \
    for (uint q = 0u; q < 32u; q++) [[unroll]] for (uint i = 0u; i < 4u; i++)                      \
        {                                                                                          \
            float w = tile[q * 33u + 4u * ty + i];                                                 \
            [[unroll]] for (uint j = 0u; j < CW; j++) sum[i * CW + j] =                            \
                fma(w, matrix[q * (8u * CW + 1u) + tx + 8u * j], sum[i * CW + j]);                 \
        }

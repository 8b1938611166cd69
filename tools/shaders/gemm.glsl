/* What both matrix products share: their arrays, their push block, and reading tiles of A and B
   four reals at a time. Needs THREADS, BM, BN and BK. VEC: rows begin at multiples of 4. */
#include "math.glsl"
#include "gate_form.glsl"
layout(constant_id = 6) const uint TRANSPOSED_A = 0;
layout(constant_id = 7) const uint TRANSPOSED_B = 0;
layout(constant_id = 8) const uint VEC = 0;

layout(set = 0, binding = 0, std430) readonly buffer A4 { vec4 a4[]; };
layout(set = 0, binding = 0, std430) readonly buffer A1 { float a1[]; };
layout(set = 0, binding = 1, std430) readonly buffer B4 { vec4 b4[]; };
layout(set = 0, binding = 1, std430) readonly buffer B1 { float b1[]; };
layout(set = 0, binding = 2, std430) readonly buffer Bias { float bias[]; };
layout(set = 0, binding = 3, std430) readonly buffer Residual { float residual[]; };
layout(set = 0, binding = 4, std430) buffer C1 { float c1[]; };
layout(set = 0, binding = 5, std430) buffer Pre { float pre[]; };

/* SLOPE: the product is the gradient of what gelu made of `pre`. GATE: it is the s of v f(s), v stands in
   `residual`. GATE_BACK: it is the gradient of v f(s), s stands in `bias` as ds in C, v as dv in `pre`. */
const uint HAS_BIAS = 1u, HAS_RESIDUAL = 2u, HAS_PRE = 4u, GELU = 8u, ACCUMULATE = 16u, SLOPE = 32u;
const uint GATE = 64u, GATE_BACK = 128u;
#ifndef FLAGS /* a constant of the pipeline, whose other cases are no code then */
#define FLAGS p.flags
#endif

layout(push_constant) uniform Gemm
{
    uint m, n, k;
    uint lda, ldb, ldc;
    uint group_a, group_b, group_c; /* reals from one group to the next */
    uint group_bias;
    uint splits, chunk; /* chunk: part of k that a split sums, a multiple of BK */
    uint split_c;       /* reals from one partial product to the next */
    uint first_a;       /* where A begins */
    uint flags;
    uint shift; /* matrix units: A times 2^shift is rounded to half floats */
    uint ldv, first_v, form; /* of v, and of the gate */
}
p;

const uint PM = BM / 4u, PN = BN / 4u;
const uint LOADS_A = (BM * BK / 4u + THREADS - 1u) / THREADS;
const uint LOADS_B = (BN * BK / 4u + THREADS - 1u) / THREADS;

/* Four reals at (row, column..column+3) of a matrix [rows, columns], 0 outside; its array is bound
   both as fours and as ones. */
#define FETCH(name, fours, ones)                                                                   \
    vec4 name(uint base, uint ld, uint rows, uint columns, uint row, uint column)                  \
    {                                                                                              \
        vec4 v = vec4(0.0);                                                                        \
        uint at = base + row * ld + column;                                                        \
        if (row >= rows || column >= columns) return v;                                            \
        if (VEC != 0u) return fours[at / 4u];                                                      \
        v.x = ones[at];                                                                            \
        if (column + 1u < columns) v.y = ones[at + 1u];                                            \
        if (column + 2u < columns) v.z = ones[at + 2u];                                            \
        if (column + 3u < columns) v.w = ones[at + 3u];                                            \
        return v;                                                                                  \
    }
FETCH(fetch_a, a4, a1)
FETCH(fetch_b, b4, b1)

#include "gemm_load.glsl"

/* dv into `pre`; returns ds */
float gate_back(uint at, uint at_v, float v)
{
    vec2 f = gate(p.form, bias[at]);
    pre[at_v] = v * f.x;
    return v * residual[at_v] * f.y;
}

/* What becomes of v on its way to C. */
#define THROUGH(at, at_v, at_bias, v)                                                              \
    if ((FLAGS & HAS_BIAS) != 0u) v += bias[at_bias];                                              \
    if ((FLAGS & HAS_PRE) != 0u) pre[at] = v;                                                      \
    if ((FLAGS & GELU) != 0u) v = gelu(v);                                                         \
    if ((FLAGS & GATE) != 0u) v = residual[at_v] * gate(p.form, v).x;                              \
    if ((FLAGS & GATE_BACK) != 0u) v = gate_back(at, at_v, v);                                     \
    if ((FLAGS & SLOPE) != 0u) v *= gelu_slope(pre[at]);                                           \
    if ((FLAGS & HAS_RESIDUAL) != 0u) v += residual[at];

void finish(uint row, uint column, uint group, uint split, float v)
{
    uint at = group * p.group_c + split * p.split_c + row * p.ldc + column;
    uint at_v = row * p.ldv + p.first_v + column;
    if (row >= p.m || column >= p.n) return;
    THROUGH(at, at_v, group * p.group_bias + column, v)
    if ((FLAGS & ACCUMULATE) != 0u) v += c1[at];
    c1[at] = v;
}

#ifdef FOURS
layout(set = 0, binding = 4, std430) buffer C4 { vec4 c4[]; };

/* Four of a row; FOURS: those of C begin at multiples of 4. */
void finish_four(uint row, uint column, uint group, uint split, vec4 v)
{
    uint at = group * p.group_c + split * p.split_c + row * p.ldc + column;
    uint at_v = row * p.ldv + p.first_v + column, at_bias = group * p.group_bias + column;
    if (FOURS == 0u) {
        [[unroll]] for (uint j = 0u; j < 4u; j++) finish(row, column + j, group, split, v[j]);
        return;
    }
    if (row >= p.m || column >= p.n) return;
    [[unroll]] for (uint j = 0u; j < 4u; j++)
    {
        float lane = v[j];
        THROUGH(at + j, at_v + j, at_bias + j, lane)
        v[j] = lane;
    }
    if ((FLAGS & ACCUMULATE) != 0u) v += c4[at / 4u];
    c4[at / 4u] = v;
}
#endif

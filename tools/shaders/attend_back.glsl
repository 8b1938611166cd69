/* Backward of a tile: weight = e^{score - logsum}, dscore = weight (dO_q . v_k - delta_q). */
#include "attend.glsl"
layout(set = 0, binding = 3, std430) readonly buffer Dout { float dout[]; };
layout(set = 0, binding = 4, std430) readonly buffer Logsum { float logsum[]; };
layout(set = 0, binding = 5, std430) readonly buffer Delta { float delta[]; };

/* block holds scores; leaves weights there, those dropped as 0, and dscore in `d` */
void pair_gradient(uint q0, uint k0, inout float block[16], out float d[16])
{
    [[unroll]] for (uint i = 0u; i < 16u; i++) d[i] = 0.0;
    for (uint c0 = 0u; c0 < p.wide; c0 += 32u) {
        LOAD_TILE(left, 33u, dout, q0, p.heads * p.wide, head * p.wide, c0, 32u)
        LOAD_TILE(right, 33u, values, k0, p.value_stride, p.value_column + head * p.wide, c0, 32u)
        barrier();
        multiply_rows(d);
        barrier();
    }
    [[unroll]] for (uint i = 0u; i < 16u; i++)
    {
        uint at = (first + min(q0 + 4u * ty + i / 4u, p.seq - 1u)) * p.heads + head;
        block[i] = seen(q0, k0, i) ? exp_(block[i] - logsum[at]) : 0.0;
        float m = mask(q0, k0, i);
        d[i] = block[i] * (d[i] * m - delta[at]);
        block[i] *= m;
    }
}

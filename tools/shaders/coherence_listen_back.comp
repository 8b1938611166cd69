#version 450
/* part: training */
#include "math.glsl"
/* With s_k [N,H] the sum of dscore over the queries of key k: draw of the raw loudness = s_k (1 -
   tanh^2), of the raw damping = sigmoid times the sum of s from its row to the end. A workgroup a head
   and sequence: from its last 64 rows to its first. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer Raw { float raw[]; };
layout(set = 0, binding = 1, std430) readonly buffer Slopes { float slopes[]; };
layout(set = 0, binding = 2, std430) writeonly buffer Draw { float draw[]; };
layout(push_constant) uniform CoherenceListenBack
{
    uint seq, heads, stride, forget_column, loud_column;
}
p;

shared float sums[64];

void main()
{
    uint tid = gl_LocalInvocationID.x, head = gl_WorkGroupID.x, first = gl_WorkGroupID.y * p.seq, i;
    uint parts = (p.seq + 63u) / 64u;
    float later = 0.0;
    for (; parts > 0u; parts--) {
        uint t = (parts - 1u) * 64u + tid, row = first + min(t, p.seq - 1u);
        uint at = row * p.stride + head;
        float slope = t < p.seq ? slopes[row * p.heads + head] : 0.0, y, sum;
        sums[tid] = slope;
        barrier();
        for (i = 1u; i < 64u; i *= 2u) {
            sum = sums[tid] + (tid + i < 64u ? sums[tid + i] : 0.0);
            barrier();
            sums[tid] = sum;
            barrier();
        }
        sum = later + sums[tid];
        later += sums[0];
        if (t < p.seq && p.forget_column != 0u)
            draw[at + p.forget_column] = sum * sigmoid(raw[at + p.forget_column]);
        if (t < p.seq && p.loud_column != 0u) {
            y = tanh_(raw[at + p.loud_column] * 0.125);
            draw[at + p.loud_column] = slope * (1.0 - y * y);
        }
        barrier();
    }
}

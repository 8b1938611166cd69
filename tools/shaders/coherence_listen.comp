#version 450
#include "math.glsl"
#include "two_float.glsl"
/* What rows say of themselves: depths [N,H,4] = (depth, lift), each as two floats: depth_t = lambda_0 +
   .. + lambda_t, lambda = softplus of the row's raw damping or lambda of the head, lift = depth + 8
   tanh(raw loudness / 8). Columns 0: there is none. A workgroup a head and sequence: sums over 64 rows
   at a time. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer Raw { float raw[]; };
layout(set = 0, binding = 1, std430) readonly buffer Coefficients { vec4 coefficients[]; };
layout(set = 0, binding = 2, std430) writeonly buffer Depths { vec4 depths[]; };
layout(push_constant) uniform CoherenceListen
{
    uint seq, heads, stride, forget_column, loud_column;
}
p;

shared vec2 sums[64];

void main()
{
    uint tid = gl_LocalInvocationID.x, head = gl_WorkGroupID.x, first = gl_WorkGroupID.y * p.seq, t, i;
    vec2 before = vec2(0.0);
    for (t = 0u; t < p.seq; t += 64u) {
        uint row = first + min(t + tid, p.seq - 1u), at = row * p.stride + head;
        vec2 depth, lift;
        sums[tid] = vec2(p.forget_column != 0u ? softplus(raw[at + p.forget_column])
                                               : coefficients[head].y,
                         0.0);
        barrier();
        for (i = 1u; i < 64u; i *= 2u) {
            depth = sums[tid];
            if (tid >= i) depth = two_add(depth, sums[tid - i]);
            barrier();
            sums[tid] = depth;
            barrier();
        }
        depth = two_add(before, sums[tid]);
        before = two_add(before, sums[63]);
        lift = depth;
        if (p.loud_column != 0u)
            lift = two_add_float(depth, 8.0 * tanh_(raw[at + p.loud_column] * 0.125));
        if (t + tid < p.seq) depths[row * p.heads + head] = vec4(depth, lift);
        barrier();
    }
}

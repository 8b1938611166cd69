#version 450
/* part: training */
#include "two_float.glsl"
/* partial [workgroups] (pairs of floats) = sum of g^2 over a workgroup's stretch */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer G { float g[]; };
layout(set = 0, binding = 1, std430) writeonly buffer Partial { vec2 partial[]; };
layout(push_constant) uniform SumSquares { uint count, chunk; }
p;
shared vec2 sums[64];

void main()
{
    uint tid = gl_LocalInvocationID.x, i, step;
    uint first = gl_WorkGroupID.x * p.chunk, last = min(first + p.chunk, p.count);
    vec2 total = vec2(0.0);
    for (i = first + tid; i < last; i += 1024u) { /* 16 squares in plain floats, then exactly */
        float s = 0.0;
        for (uint j = 0u; j < 16u && i + 64u * j < last; j++) s += g[i + 64u * j] * g[i + 64u * j];
        total = two_add_float(total, s);
    }
    sums[tid] = total;
    barrier();
    for (step = 32u; step > 0u; step /= 2u) {
        if (tid < step) sums[tid] = two_add(sums[tid], sums[tid + step]);
        barrier();
    }
    if (tid == 0u) partial[gl_WorkGroupID.x] = sums[0];
}

#version 450
/* to [count] = or += scale from; with `partial_sums`, partial[workgroup] = sum of from x over its
   stretch */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer From { float from[]; };
layout(set = 0, binding = 1, std430) readonly buffer Scale { float scale[]; };
layout(set = 0, binding = 2, std430) readonly buffer X { float x[]; };
layout(set = 0, binding = 3, std430) buffer To { float to[]; };
layout(set = 0, binding = 4, std430) writeonly buffer Partial { float partial[]; };
layout(push_constant) uniform Tied { uint count, chunk, add, partial_sums; }
p;
shared float sums[64];
#include "row_sum.glsl"

void main()
{
    uint tid = gl_LocalInvocationID.x, i;
    uint first = gl_WorkGroupID.x * p.chunk, last = min(first + p.chunk, p.count);
    float s = 0.0;
    for (i = first + tid; i < last; i += 64u) {
        if (p.partial_sums != 0u) s += from[i] * x[i];
        to[i] = p.add != 0u ? to[i] + scale[0] * from[i] : scale[0] * from[i];
    }
    s = row_sum(s);
    if (tid == 0u && p.partial_sums != 0u) partial[gl_WorkGroupID.x] = s;
}

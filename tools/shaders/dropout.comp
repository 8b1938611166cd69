#version 450
/* part: training */
#define FRAME 3
#include "frame.glsl"
#include "noise.glsl"
/* y [N,D] = x m: m is 0 where the bits of an element are below `drop`, else `scale`. add: 1 y += that,
   2 y = residual + that */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer X { float x[]; };
layout(set = 0, binding = 1, std430) readonly buffer Residual { float residual[]; };
layout(set = 0, binding = 2, std430) buffer Y { float y[]; };
layout(push_constant) uniform Dropout
{
    uint count, width, seq, stream, drop;
    float scale;
    uint add;
}
p;

void main()
{
    uint i = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, stride = gl_NumWorkGroups.x * 64u;
    for (; i < p.count; i += stride) {
        uint bits = hash32(noise_row(p.stream, i / p.width, p.seq) + i % p.width);
        float v = bits < p.drop ? 0.0 : x[i] * p.scale;
        if (p.add == 1u) v += y[i];
        if (p.add == 2u) v += residual[i];
        y[i] = v;
    }
}

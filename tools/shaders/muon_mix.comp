#version 450
/* part: training */
#define FRAME 4
#include "frame.glsl"
/* x[to + i] = h + mu (mu m + h), h = the clipped gradient: what Muon makes orthogonal. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) writeonly buffer Mixed { float x[]; };
layout(set = 0, binding = 1, std430) readonly buffer First { float m[]; };
layout(set = 0, binding = 2, std430) readonly buffer Gradient { float g[]; };
layout(set = 0, binding = 3, std430) readonly buffer Result { float result[]; };
layout(push_constant) uniform MuonMix { uint count, from, to; }
p;

void main()
{
    uint i = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, stride = gl_NumWorkGroups.x * 64u;
    for (; i < p.count; i += stride) {
        float h = g[p.from + i] * result[4];
        x[p.to + i] = h + frame.momentum * (frame.momentum * m[p.from + i] + h);
    }
}

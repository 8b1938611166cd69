#version 450
/* part: training */
#include "math.glsl"
/* g *= gelu'(pre), in place */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer Pre { float pre[]; };
layout(set = 0, binding = 1, std430) buffer G { float g[]; };
layout(push_constant) uniform GeluBack { uint count; }
p;

void main()
{
    uint i = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, stride = gl_NumWorkGroups.x * 64u;
    for (; i < p.count; i += stride) g[i] *= gelu_slope(pre[i]);
}

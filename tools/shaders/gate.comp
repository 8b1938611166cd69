#version 450
#include "math.glsl"
#include "gate.glsl"
/* y = v f(s);  y [N,D], s [N,D] of stride lds, v [N,D] of stride ldv from column `column` on */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer S { float s[]; };
layout(set = 0, binding = 1, std430) readonly buffer V { float v[]; };
layout(set = 0, binding = 2, std430) writeonly buffer Y { float y[]; };

void main()
{
    uint i = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, stride = gl_NumWorkGroups.x * 64u;
    for (; i < p.count; i += stride) {
        uint row = i / p.width, d = i - row * p.width;
        y[i] = v[row * p.ldv + p.column + d] * gate(p.form, s[row * p.lds + d]).x;
    }
}

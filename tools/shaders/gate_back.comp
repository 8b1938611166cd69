#version 450
/* part: training */
#include "math.glsl"
#include "gate.glsl"
/* ds = dy v f'(s), dv = dy f(s);  shapes as gate.comp; both gradients may be parts of one row */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer Dy { float dy[]; };
layout(set = 0, binding = 1, std430) readonly buffer S { float s[]; };
layout(set = 0, binding = 2, std430) readonly buffer V { float v[]; };
layout(set = 0, binding = 3, std430) buffer Ds { float ds[]; };
layout(set = 0, binding = 4, std430) buffer Dv { float dv[]; };

void main()
{
    uint i = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, stride = gl_NumWorkGroups.x * 64u;
    for (; i < p.count; i += stride) {
        uint row = i / p.width, d = i - row * p.width, at = row * p.ldv + p.column + d;
        vec2 f = gate(p.form, s[row * p.lds + d]);
        ds[row * p.lds + d] = dy[i] * v[at] * f.y;
        dv[at] = dy[i] * f.x;
    }
}

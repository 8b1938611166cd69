#version 450
#include "math.glsl"
/* table [V,D] = w_k (cos, sin) of phases [V,K]; w [K] */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer Phases { float phases[]; };
layout(set = 0, binding = 1, std430) readonly buffer Bands { float bands[]; };
layout(set = 0, binding = 2, std430) writeonly buffer Table { float table[]; };
layout(push_constant) uniform PhaseTable { uint count, bands; }
p;

void main()
{
    uint i = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, stride = gl_NumWorkGroups.x * 64u;
    for (; i < p.count; i += stride) {
        vec2 sc = sincos_(phases[i]);
        table[2u * i] = bands[i % p.bands] * sc.y;
        table[2u * i + 1u] = bands[i % p.bands] * sc.x;
    }
}

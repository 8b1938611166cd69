#version 450
/* part: tests */
#include "math.glsl"
/* For tests alone: y [7,n] = e^x, ln |x|, sin x, cos x, tanh x, softplus x, the angle of (x, 1). */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer X { float x[]; };
layout(set = 0, binding = 1, std430) writeonly buffer Y { float y[]; };
layout(push_constant) uniform Elementary { uint n; }
p;

void main()
{
    uint i = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x;
    vec2 sc;
    if (i >= p.n) return;
    sc = sincos_(x[i]);
    y[i] = exp_(x[i]);
    y[p.n + i] = log_(abs(x[i]));
    y[2u * p.n + i] = sc.x;
    y[3u * p.n + i] = sc.y;
    y[4u * p.n + i] = tanh_(x[i]);
    y[5u * p.n + i] = softplus(x[i]);
    y[6u * p.n + i] = atan2_(1.0, x[i]);
}

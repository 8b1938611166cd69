#version 450
/* part: training */
#define FRAME 2
#include "frame.glsl"
#include "math.glsl"
#include "noise.glsl"
/* y [N,D] = or += x, of which the first `turned` reals of each row are pairs that are multiplied by
   e^{i deviation a}, a from a triangle from -1 to 1 */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer X { float x[]; };
layout(set = 0, binding = 1, std430) buffer Y { float y[]; };
layout(push_constant) uniform Phases
{
    uint count, width, turned, seq, stream;
    float deviation;
    uint add;
}
p;

void main()
{
    uint i = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, stride = gl_NumWorkGroups.x * 64u;
    for (; i < p.count; i += stride) {
        uint d = i % p.width;
        float v = x[i];
        if (d < p.turned) {
            uint bits = hash32(noise_row(p.stream, i / p.width, p.seq) + d / 2u);
            float a = float(int(bits & 65535u) + int(bits >> 16) - 65535) * (1.0 / 65536.0);
            vec2 sc = sincos_(p.deviation * a);
            v = v * sc.y + (d % 2u == 0u ? -x[i + 1u] : x[i - 1u]) * sc.x;
        }
        y[i] = p.add != 0u ? y[i] + v : v;
    }
}

#version 450
#include "two_float.glsl"
/* result[0..1] = or += sum of nats [n] as an unevaluated sum of two floats; with a gradient also
   result[6..7]. One workgroup. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer Nats { float nats[]; };
layout(set = 0, binding = 1, std430) buffer Result { float result[]; };
layout(push_constant) uniform Loss { uint n, add, gradient; }
p;
shared vec2 sums[64];

void main()
{
    uint tid = gl_LocalInvocationID.x, i, step;
    vec2 s = vec2(0.0);
    for (i = tid; i < p.n; i += 64u) s = two_add_float(s, nats[i]);
    sums[tid] = s;
    barrier();
    for (step = 32u; step > 0u; step /= 2u) {
        if (tid < step) sums[tid] = two_add(sums[tid], sums[tid + step]);
        barrier();
    }
    if (tid == 0u) {
        if (p.add != 0u) sums[0] = two_add(sums[0], vec2(result[0], result[1]));
        result[0] = sums[0].x;
        result[1] = sums[0].y;
        if (p.gradient != 0u) {
            result[6] = sums[0].x;
            result[7] = sums[0].y;
        }
    }
}

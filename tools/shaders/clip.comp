#version 450
/* part: training */
#define FRAME 2
#include "math.glsl"
#include "two_float.glsl"
#include "frame.glsl"
/* result[2..3] = squared norm, [4] = factor by which the gradient is clipped, [5] = 1 if the loss
   in result[6] is finite and the clipped gradient so small that moments of it are (else no parameter
   may change: wcohi_gradient_fits in wavecoh.h), [8..9] = the product with the mean of the gradients
   before, times that factor, [10] = 1 if there were any. One workgroup. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer Partial { vec4 partial[]; };
layout(set = 0, binding = 1, std430) buffer Result { float result[]; };
layout(push_constant) uniform Clip { uint count; }
p;
shared vec4 sums[64];

vec4 add(vec4 a, vec4 b) { return vec4(two_add(a.xy, b.xy), two_add(a.zw, b.zw)); }

void main()
{
    uint tid = gl_LocalInvocationID.x, i, step;
    vec4 s = vec4(0.0);
    for (i = tid; i < p.count; i += 64u) s = add(s, partial[i]);
    sums[tid] = s;
    barrier();
    for (step = 32u; step > 0u; step /= 2u) {
        if (tid < step) sums[tid] = add(sums[tid], sums[tid + step]);
        barrier();
    }
    if (tid == 0u) {
        float norm = sqrt(sums[0].x), factor = 1.0;
        if (frame.clip > 0.0 && norm > frame.clip) factor = frame.clip / norm;
        result[2] = sums[0].x;
        result[3] = sums[0].y;
        result[4] = factor;
        result[5] = finite(sums[0].x) && finite(result[6]) && norm * factor <= 1e19 ? 1.0 : 0.0;
        result[8] = sums[0].z * factor;
        result[9] = sums[0].w * factor;
        result[10] = frame.along > 0.0 ? 1.0 : 0.0;
    }
}

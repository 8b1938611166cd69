#version 450
/* part: training */
#define FRAME 4
#include "two_float.glsl"
#include "frame.glsl"
/* partial [workgroups] = sums over a workgroup's stretch, pairs of floats: of g^2, and of g times the
   mean of the gradients before it, which is its moment m by a factor (wcohi_along_job in wavecoh.h).
   rules as in adamw.comp. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer G { float g[]; };
layout(set = 0, binding = 1, std430) writeonly buffer Partial { vec4 partial[]; };
layout(set = 0, binding = 2, std430) readonly buffer First { float m[]; };
layout(set = 0, binding = 3, std430) readonly buffer Rules { vec2 rules[]; };
layout(push_constant) uniform SumSquares { uint count, chunk; }
p;
shared vec4 sums[64];

float product(uint i)
{
    float rule = rules[i / 16u].x;
    return rule >= 4.0 ? 0.0 : g[i] * m[i] * (rule >= 2.0 ? frame.along_muon : frame.along);
}

void main()
{
    uint tid = gl_LocalInvocationID.x, i, step;
    uint first = gl_WorkGroupID.x * p.chunk, last = min(first + p.chunk, p.count);
    vec2 total = vec2(0.0), along = vec2(0.0);
    for (i = first + tid; i < last; i += 1024u) { /* 16 numbers in plain floats, then exactly */
        float s = 0.0, t = 0.0;
        for (uint j = 0u; j < 16u && i + 64u * j < last; j++) {
            s += g[i + 64u * j] * g[i + 64u * j];
            t += product(i + 64u * j);
        }
        total = two_add_float(total, s);
        along = two_add_float(along, t);
    }
    sums[tid] = vec4(total, along);
    barrier();
    for (step = 32u; step > 0u; step /= 2u) {
        if (tid < step)
            sums[tid] = vec4(two_add(sums[tid].xy, sums[tid + step].xy),
                             two_add(sums[tid].zw, sums[tid + step].zw));
        barrier();
    }
    if (tid == 0u) partial[gl_WorkGroupID.x] = sums[0];
}

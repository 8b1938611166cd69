#version 450
/* part: training */
/* What gain control sees of `count` bands z, `chunk` to a workgroup: partial [chunks,3] = the sum of |z|, the
   sum of |z|^2, the number of those that count: below 2 c. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer X { vec2 x[]; };
layout(set = 0, binding = 1, std430) writeonly buffer Partial { float partial[]; };
layout(push_constant) uniform KerrSee
{
    uint count, chunk;
    float ceiling;
}
p;
shared vec3 sums[64];

void main()
{
    uint tid = gl_LocalInvocationID.x, group = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    uint end = min((group + 1u) * p.chunk, p.count), i, step;
    vec3 sum = vec3(0.0);
    for (i = group * p.chunk + tid; i < end; i += 64u) {
        float m2 = x[i].x * x[i].x + x[i].y * x[i].y;
        if (m2 < 4.0 * p.ceiling * p.ceiling) sum += vec3(sqrt(m2), m2, 1.0);
    }
    sums[tid] = sum;
    barrier();
    for (step = 32u; step > 0u; step /= 2u) {
        if (tid < step) sums[tid] += sums[tid + step];
        barrier();
    }
    if (tid < 3u && group * p.chunk < p.count) partial[group * 3u + tid] = sums[0][tid];
}

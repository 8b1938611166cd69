#version 450
/* part: training */
/* Partial sums over a chunk of rows: partial [chunks, taps D] = sum of g_t x_{t-j} */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer G { float g[]; };
layout(set = 0, binding = 1, std430) readonly buffer X { float x[]; };
layout(set = 0, binding = 2, std430) writeonly buffer Partial { float partial[]; };
layout(push_constant) uniform TapsBackWeight { uint rows, width, seq, taps, chunk; }
p;

void main()
{
    uint i = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, d = i % p.width, j = i / p.width;
    uint first = gl_WorkGroupID.y * p.chunk, last = min(first + p.chunk, p.rows), r;
    float s = 0.0;
    if (j >= p.taps) return;
    for (r = first; r < last; r++)
        if (r % p.seq >= j) s += g[r * p.width + d] * x[(r - j) * p.width + d];
    partial[gl_WorkGroupID.y * p.taps * p.width + i] = s;
}

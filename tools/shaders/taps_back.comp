#version 450
/* part: training */
/* dx_t = or += sum over j < taps of w_j g_{t+j} within the sequence; partial [chunks, taps D], sums over a
   chunk of rows of g_t x_{t-j}. Grid: 64 of the taps D; the chunks, and behind them those of dx. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer G { float g[]; };
layout(set = 0, binding = 1, std430) readonly buffer Weight { float weight[]; };
layout(set = 0, binding = 2, std430) buffer Dx { float dx[]; };
layout(set = 0, binding = 3, std430) readonly buffer X { float x[]; };
layout(set = 0, binding = 4, std430) writeonly buffer Partial { float partial[]; };
layout(push_constant) uniform TapsBack { uint rows, width, seq, taps, add, chunk, chunks; }
p;

void sum_weight(uint i)
{
    uint d = i % p.width, j = i / p.width, r;
    uint first = gl_WorkGroupID.y * p.chunk, last = min(first + p.chunk, p.rows);
    float s = 0.0;
    if (j >= p.taps) return;
    for (r = first; r < last; r++)
        if (r % p.seq >= j) s += g[r * p.width + d] * x[(r - j) * p.width + d];
    partial[gl_WorkGroupID.y * p.taps * p.width + i] = s;
}

void main()
{
    uint wide = gl_NumWorkGroups.x * 64u, i = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, j;
    if (gl_WorkGroupID.y < p.chunks) {
        sum_weight(i);
        return;
    }
    for (i += (gl_WorkGroupID.y - p.chunks) * wide; i < p.rows * p.width;
         i += (gl_NumWorkGroups.y - p.chunks) * wide) {
        uint d = i % p.width, t = i / p.width % p.seq;
        float s = p.add != 0u ? dx[i] : 0.0;
        for (j = 0u; j < p.taps && t + j < p.seq; j++)
            s += weight[j * p.width + d] * g[i + j * p.width];
        dx[i] = s;
    }
}

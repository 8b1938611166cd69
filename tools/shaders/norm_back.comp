#version 450
/* part: training */
/* dx = or += (h - mean(h) - xh mean(h xh)) rstd, with h = g weight, xh = (x - mean) rstd;
   not centred (RMS): without mean(h). And the sums over a chunk of rows that the weight's and the
   bias's gradients are made of: partial [chunks, 2D] = (sum g xh, sum g). A workgroup takes a chunk,
   16 rows at a time: first the means of each, then column by column. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer G { float g[]; };
layout(set = 0, binding = 1, std430) readonly buffer X { float x[]; };
layout(set = 0, binding = 2, std430) readonly buffer Stats { float stats[]; };
layout(set = 0, binding = 3, std430) readonly buffer Weight { float weight[]; };
layout(set = 0, binding = 4, std430) buffer Dx { float dx[]; };
layout(set = 0, binding = 5, std430) buffer Partial { float partial[]; };
layout(push_constant) uniform NormBack { uint rows, width, add, centred, chunk; }
p;
shared float sums[64];
#include "row_sum.glsl"
shared vec4 row_stats[16]; /* mean, rstd, mean(h), mean(h xh) */

void means(uint row, uint slot)
{
    uint tid = gl_LocalInvocationID.x, at = row * p.width, d;
    float mean = stats[2u * row], rstd = stats[2u * row + 1u], s = 0.0, t = 0.0;
    for (d = tid; d < p.width; d += 64u) {
        float h = g[at + d] * weight[d];
        s += h;
        t += h * (x[at + d] - mean) * rstd;
    }
    s = p.centred != 0u ? row_sum(s) / float(p.width) : 0.0;
    t = row_sum(t) / float(p.width);
    if (tid == 0u) row_stats[slot] = vec4(mean, rstd, s, t);
}

void column(uint d, uint first, uint count)
{
    uint place = gl_WorkGroupID.x * 2u * p.width + d, i;
    bool begun = first > gl_WorkGroupID.x * p.chunk;
    vec2 sum = begun ? vec2(partial[place], partial[place + p.width]) : vec2(0.0);
    float w = weight[d];
    for (i = 0u; i < count; i++) {
        uint at = (first + i) * p.width + d;
        vec4 r = row_stats[i];
        float v = g[at], xh = (x[at] - r.x) * r.y, out_ = (v * w - r.z - xh * r.w) * r.y;
        sum += vec2(v * xh, v);
        dx[at] = p.add != 0u ? dx[at] + out_ : out_;
    }
    partial[place] = sum.x;
    partial[place + p.width] = sum.y;
}

void main()
{
    uint first = gl_WorkGroupID.x * p.chunk, last = min(first + p.chunk, p.rows), i, d;
    for (; first < last; first += 16u) {
        uint count = min(16u, last - first);
        for (i = 0u; i < count; i++) means(first + i, i);
        barrier();
        for (d = gl_LocalInvocationID.x; d < p.width; d += 64u) column(d, first, count);
        barrier();
    }
}

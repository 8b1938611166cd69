#version 450
/* part: training */
/* dx = or += (h - mean(h) - xh mean(h xh)) rstd, with h = g weight, xh = (x - mean) rstd;
   not centred (RMS): without mean(h) */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer G { float g[]; };
layout(set = 0, binding = 1, std430) readonly buffer X { float x[]; };
layout(set = 0, binding = 2, std430) readonly buffer Stats { float stats[]; };
layout(set = 0, binding = 3, std430) readonly buffer Weight { float weight[]; };
layout(set = 0, binding = 4, std430) buffer Dx { float dx[]; };
layout(push_constant) uniform NormBack { uint rows, width, add, centred; }
p;
shared float sums[64];
#include "row_sum.glsl"

void main()
{
    uint tid = gl_LocalInvocationID.x, row, d;
    for (row = gl_WorkGroupID.x; row < p.rows; row += gl_NumWorkGroups.x) {
        uint at = row * p.width;
        float mean = stats[2u * row], rstd = stats[2u * row + 1u], s = 0.0, t = 0.0;
        for (d = tid; d < p.width; d += 64u) {
            float h = g[at + d] * weight[d];
            s += h;
            t += h * (x[at + d] - mean) * rstd;
        }
        s = p.centred != 0u ? row_sum(s) / float(p.width) : 0.0;
        t = row_sum(t) / float(p.width);
        for (d = tid; d < p.width; d += 64u) {
            float v = (g[at + d] * weight[d] - s - (x[at + d] - mean) * rstd * t) * rstd;
            dx[at + d] = p.add != 0u ? dx[at + d] + v : v;
        }
    }
}

#version 450
/* y = (x - mean) rstd weight + bias over each row of D; stats [N,2] = (mean, rstd), eps 1e-5. Not
   centred (RMS): mean and bias are 0. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer X { float x[]; };
layout(set = 0, binding = 1, std430) readonly buffer Weight { float weight[]; };
layout(set = 0, binding = 2, std430) readonly buffer Bias { float bias[]; };
layout(set = 0, binding = 3, std430) writeonly buffer Y { float y[]; };
layout(set = 0, binding = 4, std430) writeonly buffer Stats { float stats[]; };
layout(push_constant) uniform Norm { uint rows, width, centred; }
p;
shared float sums[64];
#include "row_sum.glsl"

void main()
{
    uint tid = gl_LocalInvocationID.x, row, d;
    for (row = gl_WorkGroupID.x; row < p.rows; row += gl_NumWorkGroups.x) {
        uint at = row * p.width;
        float s = 0.0, mean, rstd;
        for (d = tid; d < p.width; d += 64u) s += x[at + d];
        mean = p.centred != 0u ? row_sum(s) / float(p.width) : 0.0;
        s = 0.0;
        for (d = tid; d < p.width; d += 64u) s += (x[at + d] - mean) * (x[at + d] - mean);
        rstd = 1.0 / sqrt(row_sum(s) / float(p.width) + 1e-5);
        for (d = tid; d < p.width; d += 64u)
            y[at + d] = (x[at + d] - mean) * rstd * weight[d] + (p.centred != 0u ? bias[d] : 0.0);
        if (tid == 0u) {
            stats[2u * row] = mean;
            stats[2u * row + 1u] = rstd;
        }
    }
}

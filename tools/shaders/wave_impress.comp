#version 450
/* What a pass leaves in the mean: sums over the `seq` rows z of each stream, a thread a column. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer Z { float z[]; };
layout(set = 0, binding = 1, std430) writeonly buffer Sum { float sum[]; };
layout(push_constant) uniform WaveImpress { uint width, seq, wide, first; }
p;

void main()
{
    uint d = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, b = gl_WorkGroupID.y, t;
    float s = 0.0;
    if (d >= p.width) return;
    for (t = 0u; t < p.seq; t++) s += z[(b * p.seq + t) * p.width + d];
    sum[b * p.wide + p.first + d] = s;
}

#version 450
/* part: training */
/* dx_t = or += sum over j < taps of w_j g_{t+j} within the sequence */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer G { float g[]; };
layout(set = 0, binding = 1, std430) readonly buffer Weight { float weight[]; };
layout(set = 0, binding = 2, std430) buffer Dx { float dx[]; };
layout(push_constant) uniform TapsBack { uint count, width, seq, taps, add; }
p;

void main()
{
    uint i = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, stride = gl_NumWorkGroups.x * 64u, j;
    for (; i < p.count; i += stride) {
        uint d = i % p.width, t = i / p.width % p.seq;
        float s = p.add != 0u ? dx[i] : 0.0;
        for (j = 0u; j < p.taps && t + j < p.seq; j++)
            s += weight[j * p.width + d] * g[i + j * p.width];
        dx[i] = s;
    }
}

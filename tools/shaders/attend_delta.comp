#version 450
/* part: training */
/* delta [N,H] = dO . O of each row and head: what the softmax backward subtracts */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer Out { float out_[]; };
layout(set = 0, binding = 1, std430) readonly buffer Dout { float dout[]; };
layout(set = 0, binding = 2, std430) writeonly buffer Delta { float delta[]; };
layout(push_constant) uniform AttendDelta { uint count, wide; }
p;

void main()
{
    uint i = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, stride = gl_NumWorkGroups.x * 64u, e;
    for (; i < p.count; i += stride) {
        float s = 0.0;
        for (e = 0u; e < p.wide; e++) s += out_[i * p.wide + e] * dout[i * p.wide + e];
        delta[i] = s;
    }
}

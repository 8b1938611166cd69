#version 450
#define MEMBERS 4
#include "members.glsl"
/* y_t = sum over j < taps of w_j x_{t-j}, number by number; w [taps,D]. x is 0 before a sequence; in
   a session it is what the member heard before: heard [taps - 1, D], the latest last, from `first`
   on among its `member` numbers. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer X { float x[]; };
layout(set = 0, binding = 1, std430) readonly buffer Weight { float weight[]; };
layout(set = 0, binding = 2, std430) readonly buffer Heard { float heard[]; };
layout(set = 0, binding = 3, std430) writeonly buffer Y { float y[]; };
layout(push_constant) uniform Taps { uint count, width, seq, taps, session, first, member; }
p;

void main()
{
    uint i = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, stride = gl_NumWorkGroups.x * 64u, j;
    for (; i < p.count; i += stride) {
        uint d = i % p.width, t = i / p.width % p.seq, slot = members[i / p.width / p.seq].slot;
        float s = 0.0;
        for (j = 0u; j < p.taps; j++) {
            float v = 0.0;
            if (j <= t) v = x[i - j * p.width];
            else if (p.session != 0u && slot != ABSENT)
                v = heard[slot * p.member + p.first + (p.taps - 1u + t - j) * p.width + d];
            s += weight[j * p.width + d] * v;
        }
        y[i] = s;
    }
}
